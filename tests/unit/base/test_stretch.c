/* Tests of base/stretch.c: what is written stays as an array grows from the allocator's blocks into
 * a region, which does not move; counting; running out of memory. */
#include "base/stretch.h"

#include <string.h>

#include "base/mem.h"
#include "base/region.h"
#include "tests/unit/test.h"

static void fill(struct stretch *stretch, size_t from)
{
    for (size_t i = from; i < stretch->len; i++) {
        ((char *)stretch->bytes)[i] = (char)(i * 7);
    }
}

static bool is_filled(const struct stretch *stretch, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (((const char *)stretch->bytes)[i] != (char)(i * 7)) {
            return false;
        }
    }
    return true;
}

TEST(stretch, keeps_its_bytes_however_it_grows)
{
    struct stretch stretch = {.bytes = NULL};
    for (size_t len = 1; len <= (size_t)REGION_LEN_MIN * 4; len = len * 2 + len / 3 + 1) {
        size_t before = stretch.len;
        CHECK(stretch_try_grow(&stretch, len) && stretch.len == len);
        CHECK(is_filled(&stretch, before));
        fill(&stretch, before);
    }
    stretch_deinit(&stretch);
    CHECK(stretch.bytes == NULL && stretch.len == 0);
    stretch_deinit(&stretch);
    region_settle();
}

TEST(stretch, does_not_move_once_it_is_long)
{
    struct stretch stretch = {.bytes = NULL};
    CHECK(stretch_try_grow(&stretch, 100) && !stretch.is_region);
    CHECK(stretch_memory(&stretch) == 100);
    CHECK(stretch_try_grow(&stretch, REGION_LEN_MIN) && stretch.is_region);
    const void *bytes = stretch.bytes;
    for (size_t len = REGION_LEN_MIN; len <= REGION_LEN_MAX; len *= 2) {
        CHECK(len == REGION_LEN_MIN || stretch_try_grow(&stretch, len));
        CHECK(stretch.bytes == bytes && stretch_memory(&stretch) == len);
    }
    stretch_deinit(&stretch);
    region_settle();
}

/* Whichever way it would have grown. */
TEST(stretch, without_memory_is_as_it_was)
{
    static const size_t LENS[] = {10, 1000, REGION_LEN_MIN, (size_t)REGION_LEN_MIN * 2};
    struct stretch stretch = {.bytes = NULL};
    for (size_t i = 0; i < sizeof(LENS) / sizeof(LENS[0]); i++) {
        struct stretch before = stretch;
        mem_fail_after(1);
        CHECK(!stretch_try_grow(&stretch, LENS[i]));
        mem_fail_after(0);
        CHECK(stretch.bytes == before.bytes && stretch.len == before.len &&
              is_filled(&stretch, stretch.len));
        CHECK(stretch_try_grow(&stretch, LENS[i]));
        fill(&stretch, before.len);
    }
    stretch_deinit(&stretch);
    region_settle();
}

TEST(stretch, counts_as_used_until_it_is_freed)
{
    mem_thread_enter();
    struct stretch stretch = {.bytes = NULL};
    size_t before = mem_used();
    CHECK(stretch_try_grow(&stretch, 1000));
    CHECK(stretch_try_grow(&stretch, (size_t)REGION_LEN_MIN + 1));
    CHECK(mem_used() == before + stretch_memory(&stretch));
    stretch_deinit(&stretch);
    CHECK(mem_used() == before);
    region_settle();
}
