/* Tests of base/mem.c. */
#include "base/mem.h"

#include <pthread.h>

#include "tests/unit/test.h"

TEST(mem, used_follows_what_is_allocated_and_freed)
{
    mem_thread_enter();
    size_t before = mem_used();
    char *block = mem_alloc(100000);
    size_t usable = mem_usable(block);
    CHECK(usable >= 100000);
    CHECK(mem_used() == before + usable);
    block = mem_realloc(block, 300000);
    CHECK(mem_used() == before + mem_usable(block));
    mem_free_sized(block, 300000);
    CHECK(mem_used() == before);
}

TEST(mem, a_request_occupies_its_good_size)
{
    for (size_t size = 0; size < 5000; size += 7) {
        void *block = mem_alloc(size);
        CHECK(mem_usable(block) == mem_good_size(size));
        mem_free_sized(block, size);
    }
}

TEST(mem, zalloc_clears)
{
    for (int round = 0; round < 3; round++) {
        unsigned char *block = mem_zalloc(5000);
        for (int i = 0; i < 5000; i++) {
            CHECK(block[i] == 0);
        }
        memset(block, 0xff, 5000);
        mem_free(block);
    }
}

TEST(mem, aligned_blocks_are_aligned_and_can_be_freed_by_size)
{
    mem_thread_enter();
    size_t before = mem_used();
    for (size_t align = 1; align <= 4096; align *= 2) {
        void *one = mem_alloc_aligned(align, align * 3);
        void *two = mem_alloc_aligned(align, align * 3);
        CHECK(((uintptr_t)one & (align - 1)) == 0 && ((uintptr_t)two & (align - 1)) == 0);
        mem_free_sized(one, align * 3);
        mem_free(two);
    }
    CHECK(mem_used() == before);
}

TEST(mem, sizes_of_zero_are_usable)
{
    mem_free_sized(mem_alloc(0), 0);
    mem_free_sized(mem_zalloc(0), 0);
    mem_free_sized(mem_try_alloc(0), 0);
    mem_free_sized(mem_realloc(mem_alloc(10), 0), 0);
    mem_free(mem_try_realloc(NULL, 0));
    mem_free(NULL);
}

TEST(mem, the_nth_try_fails_and_only_that_one)
{
    mem_fail_after(2);
    char *first = mem_try_alloc(10);
    CHECK(first != NULL);
    memcpy(first, "kept", 5);
    mem_free(mem_alloc(10)); /* Does not count. */
    CHECK(mem_try_realloc(first, 1000) == NULL);
    CHECK(strcmp(first, "kept") == 0);
    first = mem_try_realloc(first, 1000);
    CHECK(first != NULL && strcmp(first, "kept") == 0);
    mem_free(first);
    mem_fail_after(1);
    mem_fail_after(0);
    first = mem_try_alloc(1);
    CHECK(first != NULL);
    mem_free(first);
}

#ifndef OURO_LIBC_MALLOC
TEST(mem, an_impossible_try_returns_null)
{
    volatile size_t huge = (size_t)1 << 62;
    CHECK(mem_try_alloc(huge) == NULL);
}
#endif

static void *thread_main(void *out)
{
    mem_thread_enter();
    *(void **)out = mem_alloc(1 << 20);
    mem_thread_leave();
    return NULL;
}

TEST(mem, a_block_of_a_thread_that_left_still_counts)
{
    mem_thread_enter();
    size_t before = mem_used();
    pthread_t thread;
    void *block = NULL;
    CHECK(pthread_create(&thread, NULL, thread_main, &block) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    /* The thread's own start-up may have allocated a little on either side. */
    CHECK(mem_used() >= before + (1 << 20) && mem_used() < before + (1 << 20) + 65536);
    mem_free(block);
    CHECK(mem_used() < before + 65536);
}

TEST(mem, more_threads_than_slots_may_come_and_go)
{
    for (int i = 0; i < MEM_THREADS_MAX * 2; i++) {
        pthread_t thread;
        void *block = NULL;
        CHECK(pthread_create(&thread, NULL, thread_main, &block) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
        mem_free(block);
    }
}

TEST(mem, stats_are_plausible)
{
    char *volatile block = mem_alloc(8 << 20);
    for (int i = 0; i < 8 << 20; i += 1024) {
        *(volatile char *)(block + i) = 1;
    }
    struct mem_stats stats;
    mem_stats_read(&stats);
    CHECK(stats.allocated >= 8 << 20);
    CHECK(stats.active >= stats.allocated);
    CHECK(stats.rss >= 8 << 20 && stats.resident > 0);
    mem_free(block);
    mem_purge();
    CHECK(strncmp(mem_allocator_name(), "jemalloc-", 9) == 0 ||
          strcmp(mem_allocator_name(), "libc") == 0);
}
