/* The allocator's door: thin wrappers over jemalloc, and the figures that INFO and maxmemory need.
 *
 * Accounting. jemalloc keeps two 64-bit counters per thread, bytes ever allocated and bytes ever
 * freed, in usable bytes (size classes included). A thread that registers hands in the addresses
 * of both; the memory in use is the sum of their differences:
 *
 *     slot 0 (core thread)    [ *allocated | *deallocated ]     used = sum(allocated - deallocated)
 *     slot 1 (helper)         [ *allocated | *deallocated ]
 *
 * A block that one thread allocates and another frees moves the two differences in opposite
 * directions, so the sum stays right though one difference may be negative.
 *
 * Costs. mem_alloc is malloc and a predictable branch: about 10 ns. `malloc` and not `mallocx`,
 * because only the former has jemalloc's inlined thread-cache fast path; `sdallocx` has it too and
 * saves the size lookup that `free` needs. mem_used is two loads per registered thread.
 *
 * Invariants:
 *   1. Slots below slot_count are registered; one with a NULL pointer belongs to a thread that
 * left.
 *   2. What a thread that left still had in use is kept in `departed`, so the sum never jumps.
 *   3. Only mem_try_ calls count down to an injected failure.
 *
 * Slabs. jemalloc cuts pages into slabs of blocks of one size, and a slab's pages go back to the
 * kernel only when all its blocks are free. It can tell for a block how many of its slab's blocks
 * are free and how many of all slabs of that size; new blocks come from one slab until it is full,
 * then from the oldest that has room. So moving blocks out of what is emptier than the average
 * fills the old slabs and empties the young ones.
 *
 * Rejected: a header in front of each block (8 bytes per item break the memory budget) and
 * stats.allocated (it needs an epoch refresh, which walks the arenas). */
#include "base/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"

#ifdef OURO_LIBC_MALLOC
#include <malloc.h>
#else
#include <jemalloc/jemalloc.h>
#endif

/* The next mem_try_ call that reaches 0 fails; 0 is off. */
static unsigned fail_countdown;

/* Bytes of regions in use; wraps for a moment when two threads count in another order. */
static size_t region_bytes;

void mem_count_region(int64_t bytes)
{
    __atomic_add_fetch(&region_bytes, (size_t)bytes, __ATOMIC_RELAXED);
}

static _Noreturn void mem_on_exhausted(size_t size)
{
    char text[96];
    snprintf(text, sizeof(text), "Out of memory: could not allocate %zu bytes.\n", size);
    log_raw(text);
    assert_failed("memory is available", __FILE__, __LINE__);
}

bool mem_try_fails(void)
{
    if (__builtin_expect(fail_countdown == 0, 1)) {
        return false;
    }
    fail_countdown--;
    return fail_countdown == 0;
}

void mem_fail_after(unsigned countdown)
{
    fail_countdown = countdown;
}

/* Resident bytes from the kernel's page counts; 0 when /proc is not there. */
static size_t mem_read_rss(void)
{
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    ssize_t len = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (len <= 0) {
        return 0;
    }
    text[len] = '\0';
    unsigned long long pages = 0;
    if (sscanf(text, "%*u %llu", &pages) != 1) {
        return 0;
    }
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

#ifdef OURO_LIBC_MALLOC

/* Under a sanitizer the C library's allocator is the sanitizer's, whose usable size is the size
 * asked for. That lets mem_free_sized check the size it is given, which jemalloc would take on
 * trust. */
static size_t libc_used;
static uint64_t libc_turnover;

static void libc_count(void *block)
{
    size_t size = malloc_usable_size(block);
    __atomic_add_fetch(&libc_used, size, __ATOMIC_RELAXED);
    __atomic_add_fetch(&libc_turnover, size, __ATOMIC_RELAXED);
}

static void libc_uncount(void *block)
{
    __atomic_sub_fetch(&libc_used, malloc_usable_size(block), __ATOMIC_RELAXED);
}

static void *raw_alloc(size_t size)
{
    void *block = malloc(size);
    if (block != NULL) {
        libc_count(block);
    }
    return block;
}

static void *raw_zalloc(size_t size)
{
    void *block = calloc(1, size);
    if (block != NULL) {
        libc_count(block);
    }
    return block;
}

static void *raw_realloc(void *block, size_t size)
{
    size_t old_size = block == NULL ? 0 : malloc_usable_size(block);
    void *moved = realloc(block, size);
    if (moved != NULL) {
        __atomic_sub_fetch(&libc_used, old_size, __ATOMIC_RELAXED);
        libc_count(moved);
    }
    return moved;
}

static void *raw_alloc_aligned(size_t align, size_t size)
{
    void *block = NULL;
    size_t least = align < sizeof(void *) ? sizeof(void *) : align;
    if (posix_memalign(&block, least, size) != 0) {
        return NULL;
    }
    libc_count(block);
    return block;
}

void mem_free(void *block)
{
    if (block != NULL) {
        libc_uncount(block);
        free(block);
    }
}

void mem_free_sized(void *block, size_t size)
{
    ASSERT(malloc_usable_size(block) == (size == 0 ? 1 : size));
    mem_free(block);
}

size_t mem_good_size(size_t size)
{
    return size == 0 ? 1 : size;
}

size_t mem_usable(const void *block)
{
    return malloc_usable_size((void *)block);
}

void mem_thread_enter(void)
{
}

void mem_thread_leave(void)
{
}

size_t mem_used(void)
{
    return __atomic_load_n(&libc_used, __ATOMIC_RELAXED) +
           __atomic_load_n(&region_bytes, __ATOMIC_RELAXED);
}

void mem_stats_read(struct mem_stats *stats)
{
    size_t used = mem_used(); /* Regions among it. */
    size_t rss = mem_read_rss();
    *stats = (struct mem_stats){
        .allocated = used, .active = used, .resident = rss, .mapped = rss, .rss = rss};
}

void mem_pages_read(struct mem_pages *pages)
{
    size_t used = mem_used();
    *pages = (struct mem_pages){.allocated = used, .active = used, .resident = used};
}

void mem_purge_dirty(void)
{
}

uint64_t mem_turnover(void)
{
    return __atomic_load_n(&libc_turnover, __ATOMIC_RELAXED);
}

/* By the address alone, so that it is as arbitrary as an allocator's answer and repeats itself. */
bool mem_is_sparse(const void *block)
{
    return ((uintptr_t)block >> 4) % 3 == 0;
}

void *mem_move(void *block, size_t size)
{
    void *moved = raw_alloc(size);
    if (moved == NULL) {
        return NULL;
    }
    memcpy(moved, block, size);
    mem_free_sized(block, size);
    return moved;
}

void mem_purge(void)
{
}

void mem_purge_in_background(void)
{
}

const char *mem_allocator_name(void)
{
    return "libc";
}

#else

/* Read by jemalloc before main. One thread allocates nearly everything, so helper threads share its
 * arena instead of each holding free pages of their own; dirty pages go back after a second rather
 * than ten, so that resident memory follows used memory (mem_purge_in_background has the rest).
 * Blocks of 8 MiB and more get no arena of their own, which would purge at once. None of it changes
 * the speed measurably. Huge pages stay off: they cost 4 to 8 % of resident memory on small items.
 *
 * Each slab has a record of 128 bytes. Slabs of up to 128 bytes a block are made as large as they
 * may be, 512 blocks (8 to 64 KiB): by itself jemalloc makes those of 96 bytes for 128 blocks, and
 * those of 128 bytes for 32, which is 1 and 4 bytes a block for records. */
const char *malloc_conf = "narenas:1,dirty_decay_ms:1000,muzzy_decay_ms:0,background_thread:false,"
                          "oversize_threshold:0,slab_sizes:1-128:16";

struct thread_slot {
    const uint64_t *allocated; /* The thread's counter of bytes ever allocated; NULL: free slot. */
    const uint64_t *deallocated; /* Bytes ever freed. */
};

static struct thread_slot thread_slots[MEM_THREADS_MAX];
/* Where jemalloc keeps the query about a block's slab, looked up once. */
enum { MEM_QUERY_DEPTH = 3 };
static size_t query_path[MEM_QUERY_DEPTH];

static unsigned slot_count; /* Slots ever used; grows only. */
static uint64_t departed;   /* Bytes in use that threads left behind; wraps when negative. */

static void *raw_alloc(size_t size)
{
    return malloc(size);
}

static void *raw_zalloc(size_t size)
{
    return calloc(1, size);
}

static void *raw_realloc(void *block, size_t size)
{
    return realloc(block, size);
}

static void *raw_alloc_aligned(size_t align, size_t size)
{
    return mallocx(size == 0 ? 1 : size, MALLOCX_ALIGN(align));
}

void mem_free(void *block)
{
    free(block);
}

void mem_free_sized(void *block, size_t size)
{
    sdallocx(block, size, 0);
}

size_t mem_good_size(size_t size)
{
    return nallocx(size == 0 ? 1 : size, 0);
}

size_t mem_usable(const void *block)
{
    return sallocx(block, 0);
}

static const uint64_t *thread_counter(const char *name)
{
    uint64_t *counter = NULL;
    size_t size = sizeof(counter);
    int error = mallctl(name, (void *)&counter, &size, NULL, 0);
    ASSERT(error == 0 && counter != NULL);
    return counter;
}

/* Claims a slot that no other thread claims at the same time; a registered thread keeps its own. */
void mem_thread_enter(void)
{
    const uint64_t *allocated = thread_counter("thread.allocatedp");
    const uint64_t *deallocated = thread_counter("thread.deallocatedp");
    for (unsigned i = 0; i < MEM_THREADS_MAX; i++) {
        if (__atomic_load_n(&thread_slots[i].allocated, __ATOMIC_RELAXED) == allocated) {
            return;
        }
    }
    for (unsigned i = 0; i < MEM_THREADS_MAX; i++) {
        const uint64_t *none = NULL;
        if (!__atomic_compare_exchange_n(&thread_slots[i].allocated, &none, allocated, false,
                                         __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
            continue;
        }
        __atomic_store_n(&thread_slots[i].deallocated, deallocated, __ATOMIC_RELEASE);
        unsigned count = __atomic_load_n(&slot_count, __ATOMIC_RELAXED);
        while (count < i + 1 && !__atomic_compare_exchange_n(&slot_count, &count, i + 1, false,
                                                             __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
        }
        return;
    }
    assert_failed("at most MEM_THREADS_MAX threads are registered", __FILE__, __LINE__);
}

void mem_thread_leave(void)
{
    const uint64_t *allocated = thread_counter("thread.allocatedp");
    for (unsigned i = 0; i < MEM_THREADS_MAX; i++) {
        struct thread_slot *slot = &thread_slots[i];
        if (__atomic_load_n(&slot->allocated, __ATOMIC_RELAXED) != allocated) {
            continue;
        }
        __atomic_add_fetch(&departed, *allocated - *slot->deallocated, __ATOMIC_RELAXED);
        __atomic_store_n(&slot->deallocated, NULL, __ATOMIC_RELEASE);
        __atomic_store_n(&slot->allocated, NULL, __ATOMIC_RELEASE);
        return;
    }
}

/* The owner's stores are plain 64-bit writes, which are never torn on the machines that Ouro runs
 * on. */
size_t mem_used(void)
{
    uint64_t used = __atomic_load_n(&departed, __ATOMIC_RELAXED) +
                    __atomic_load_n(&region_bytes, __ATOMIC_RELAXED);
    unsigned count = __atomic_load_n(&slot_count, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < count; i++) {
        const uint64_t *deallocated =
            __atomic_load_n(&thread_slots[i].deallocated, __ATOMIC_ACQUIRE);
        const uint64_t *allocated = __atomic_load_n(&thread_slots[i].allocated, __ATOMIC_ACQUIRE);
        if (allocated == NULL || deallocated == NULL) {
            continue;
        }
        used += __atomic_load_n(allocated, __ATOMIC_RELAXED);
        used -= __atomic_load_n(deallocated, __ATOMIC_RELAXED);
    }
    return (int64_t)used < 0 ? 0 : (size_t)used;
}

static size_t stat_read(const char *name)
{
    size_t value = 0;
    size_t size = sizeof(value);
    return mallctl(name, &value, &size, NULL, 0) == 0 ? value : 0;
}

/* jemalloc's figures are snapshots; advancing the epoch takes a new one. */
static void stats_refresh(void)
{
    uint64_t epoch = 1;
    size_t size = sizeof(epoch);
    (void)mallctl("epoch", &epoch, &size, &epoch, size);
}

/* 4096 is MALLCTL_ARENAS_ALL, which is a name only for the preprocessor of mallctlbymib. */
void mem_pages_read(struct mem_pages *pages)
{
    enum { PAGE = 4096 }; /* jemalloc's, as it is built for these machines. */
    stats_refresh();
    *pages = (struct mem_pages){.allocated = stat_read("stats.allocated"),
                                .active = stat_read("stats.active"),
                                .resident = stat_read("stats.resident"),
                                .dirty = stat_read("stats.arenas.4096.pdirty") * PAGE};
}

void mem_purge_dirty(void)
{
    (void)mallctl("arena.4096.purge", NULL, NULL, NULL, 0);
}

/* The first slot is the core thread's, which is the one that asks. */
uint64_t mem_turnover(void)
{
    const uint64_t *allocated = thread_slots[0].allocated;
    return allocated == NULL ? 0 : *allocated;
}

void mem_stats_read(struct mem_stats *stats)
{
    stats_refresh();
    size_t regions = __atomic_load_n(&region_bytes, __ATOMIC_RELAXED);
    *stats = (struct mem_stats){.allocated = stat_read("stats.allocated") + regions,
                                .active = stat_read("stats.active") + regions,
                                .resident = stat_read("stats.resident") + regions,
                                .retained = stat_read("stats.retained"),
                                .metadata = stat_read("stats.metadata"),
                                .mapped = stat_read("stats.mapped") + regions,
                                .rss = mem_read_rss()};
}

/* jemalloc's answer about one block, in its order. */
struct slab_query {
    void *current; /* The slab that new blocks of this size come from. */
    size_t free_count, count;
    size_t bytes; /* Of the slab. */
    size_t bin_free_count, bin_count;
};

/* How full the slabs of one size must be for moving blocks to be worth nothing: 31/32. */
enum { SPARSE_SHARE_MIN = 32 };

bool mem_is_sparse(const void *block)
{
    if (query_path[0] == 0 && query_path[1] == 0) {
        size_t depth = MEM_QUERY_DEPTH;
        (void)mallctlnametomib("experimental.utilization.query", query_path, &depth);
    }
    struct slab_query query;
    size_t size = sizeof(query);
    if (mallctlbymib(query_path, MEM_QUERY_DEPTH, &query, &size, &block, sizeof(block)) != 0) {
        return false;
    }
    bool is_current = (uintptr_t)block - (uintptr_t)query.current < query.bytes;
    return query.free_count > 0 && !is_current &&
           query.bin_free_count * SPARSE_SHARE_MIN > query.bin_count &&
           query.free_count * query.bin_count >= query.bin_free_count * query.count;
}

void *mem_move(void *block, size_t size)
{
    void *moved = mallocx(size, MALLOCX_TCACHE_NONE);
    if (moved == NULL) {
        return NULL;
    }
    memcpy(moved, block, size);
    sdallocx(block, size, MALLOCX_TCACHE_NONE);
    return moved;
}

void mem_purge(void)
{
    (void)mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
    mem_purge_dirty();
}

/* Blocks of 8 MiB and more are left to that thread too: the thread that frees one would give its
 * pages back at once, 1 ms for 10 MiB. The option of that name comes too late for the first arena.
 */
void mem_purge_in_background(void)
{
    bool is_on = true;
    size_t none = SIZE_MAX;
    (void)mallctl("background_thread", NULL, NULL, &is_on, sizeof(is_on));
    (void)mallctl("arena.0.oversize_threshold", NULL, NULL, &none, sizeof(none));
}

#define MEM_TEXT(x) #x
#define MEM_VERSION(major, minor, patch)                                                           \
    "jemalloc-" MEM_TEXT(major) "." MEM_TEXT(minor) "." MEM_TEXT(patch)

const char *mem_allocator_name(void)
{
    return MEM_VERSION(JEMALLOC_VERSION_MAJOR, JEMALLOC_VERSION_MINOR, JEMALLOC_VERSION_BUGFIX);
}

#endif

void *mem_alloc(size_t size)
{
    void *block = raw_alloc(size);
    if (__builtin_expect(block == NULL, 0)) {
        mem_on_exhausted(size);
    }
    return block;
}

void *mem_zalloc(size_t size)
{
    void *block = raw_zalloc(size);
    if (__builtin_expect(block == NULL, 0)) {
        mem_on_exhausted(size);
    }
    return block;
}

/* realloc(block, 0) may free, so 0 is made 1. */
void *mem_realloc(void *block, size_t size)
{
    void *moved = raw_realloc(block, size == 0 ? 1 : size);
    if (__builtin_expect(moved == NULL, 0)) {
        mem_on_exhausted(size);
    }
    return moved;
}

void *mem_try_alloc(size_t size)
{
    return mem_try_fails() ? NULL : raw_alloc(size == 0 ? 1 : size);
}

void *mem_try_realloc(void *block, size_t size)
{
    return mem_try_fails() ? NULL : raw_realloc(block, size == 0 ? 1 : size);
}

void *mem_alloc_aligned(size_t align, size_t size)
{
    void *block = raw_alloc_aligned(align, size);
    if (__builtin_expect(block == NULL, 0)) {
        mem_on_exhausted(size);
    }
    return block;
}
