/* Tests of base/region.c: growing in place, zeros that nobody wrote, counting, giving back. */
#include "base/region.h"

#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/blob.h"
#include "base/mem.h"
#include "tests/unit/test.h"

static bool is_zero(const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != 0) {
            return false;
        }
    }
    return true;
}

TEST(region, grows_where_it_is_and_is_zero_where_nobody_wrote)
{
    size_t len = REGION_LEN_MIN;
    char *region = region_try_new(len);
    CHECK(region != NULL && is_zero(region, len));
    memset(region, 7, len);
    CHECK(region_try_grow(region, len, len * 3 + 5));
    CHECK(region[0] == 7 && region[len - 1] == 7 && is_zero(region + len, len * 2 + 5));
    CHECK(region_try_grow(region, len * 3 + 5, len * 3 + 6));
    CHECK(region_try_grow(region, len * 3 + 6, REGION_LEN_MAX));
    region[REGION_LEN_MAX - 1] = 1;
    CHECK(region[REGION_LEN_MAX - 2] == 0);
    CHECK(!region_try_grow(region, REGION_LEN_MAX, (size_t)REGION_LEN_MAX + 1));
    region_free(region, REGION_LEN_MAX);
    region_settle();
}

TEST(region, counts_as_used_until_it_is_freed)
{
    mem_thread_enter();
    size_t before = mem_used();
    char *region = region_try_new((size_t)REGION_LEN_MIN + 1);
    CHECK(mem_used() == before + region_good_size((size_t)REGION_LEN_MIN + 1));
    CHECK(region_try_grow(region, (size_t)REGION_LEN_MIN + 1, (size_t)REGION_LEN_MIN * 2));
    CHECK(mem_used() == before + region_good_size((size_t)REGION_LEN_MIN * 2));
    region_free(region, (size_t)REGION_LEN_MIN * 2);
    CHECK(mem_used() == before);
    region_settle();
}

TEST(region, what_is_short_or_too_long_is_left_to_the_allocator)
{
    CHECK(region_try_new((size_t)REGION_LEN_MIN - 1) == NULL);
    CHECK(region_try_new((size_t)REGION_LEN_MAX + 1) == NULL);
}

/* One more of the shortest length than there may be. */
TEST(region, the_more_there_are_the_longer_one_has_to_be)
{
    enum { MANY = 4096 };
    static char *regions[MANY];
    for (size_t i = 0; i < MANY; i++) {
        regions[i] = region_try_new(REGION_LEN_MIN);
        CHECK(regions[i] != NULL);
    }
    CHECK(region_try_new(REGION_LEN_MIN) == NULL);
    char *longer = region_try_new((size_t)REGION_LEN_MIN * 2);
    CHECK(longer != NULL);
    struct blob *blob = blob_try_new_growing((size_t)REGION_LEN_MIN + 100);
    CHECK(blob != NULL && !blob->is_region);
    blob_drop(blob);
    region_free(longer, (size_t)REGION_LEN_MIN * 2);
    for (size_t i = 0; i < MANY; i++) {
        region_free(regions[i], REGION_LEN_MIN);
    }
    region_settle();
}

TEST(region, a_blob_moves_into_one_when_it_grows_and_then_stays)
{
    struct blob *blob = blob_try_new(100);
    CHECK(blob != NULL && !blob->is_region);
    memcpy(blob->bytes, "hello", 5);
    blob->len = 5;
    CHECK(!blob_grows_in_place(blob, REGION_LEN_MIN));
    blob = blob_try_resize(blob, REGION_LEN_MIN);
    CHECK(blob != NULL && blob->is_region && blob->cap == REGION_LEN_MIN && blob->refs == 1);
    CHECK(blob_grows_in_place(blob, 512 << 20));
    ASSERT(blob != NULL);
    struct blob *same = blob_try_resize(blob, 512 << 20);
    CHECK(same == blob && blob->cap == 512 << 20 && slice_is(blob_slice(blob), "hello"));
    blob_extend(blob, 512 << 20);
    CHECK(blob->len == 512 << 20 && is_zero(blob->bytes + 5, 100000));
    CHECK(blob->bytes[blob->len - 1] == 0);
    CHECK(blob_memory(blob) == region_good_size((512 << 20) + sizeof(*blob)));
    mem_fail_after(1);
    CHECK(blob_try_resize(blob, (512 << 20) + 100) == NULL);
    blob_drop(blob);
}

TEST(region, a_blob_that_outgrows_every_region_leaves_it)
{
    struct blob *blob = blob_try_new_growing(REGION_LEN_MIN);
    CHECK(blob != NULL && blob->is_region);
    memcpy(blob->bytes, "hello", 5);
    blob->len = 5;
    CHECK(!blob_grows_in_place(blob, REGION_LEN_MAX));
    blob = blob_try_resize(blob, REGION_LEN_MAX);
    ASSERT(blob != NULL);
    CHECK(!blob->is_region && slice_is(blob_slice(blob), "hello"));
    CHECK(blob->cap == REGION_LEN_MAX);
    blob_drop(blob);
}

TEST(region, memory_that_is_missing_is_told)
{
    mem_fail_after(1);
    CHECK(blob_try_new_growing(REGION_LEN_MIN) == NULL);
    mem_fail_after(1);
    CHECK(blob_try_new(BLOB_REGION_MIN) == NULL);
    mem_fail_after(0);
}
