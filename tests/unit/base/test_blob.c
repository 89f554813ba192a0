/* Tests of base/blob.c. */
#include "base/blob.h"

#include "base/mem.h"
#include "tests/unit/test.h"

TEST(blob, lives_until_its_last_reference_is_dropped)
{
    mem_thread_enter();
    size_t before = mem_used();
    struct blob *blob = blob_try_new(100);
    CHECK(blob != NULL && blob->refs == 1 && blob->len == 0 && blob->cap == 100);
    memcpy(blob->bytes, "hello", 5);
    blob->len = 5;
    CHECK(blob_share(blob) == blob && blob->refs == 2);
    blob_drop(blob);
    CHECK(slice_equal(blob_slice(blob), slice_from_text("hello")));
    blob_drop(blob);
    CHECK(mem_used() == before);
}

TEST(blob, keeps_its_bytes_when_resized)
{
    struct blob *blob = blob_try_new(4);
    CHECK(blob != NULL);
    memcpy(blob->bytes, "abcd", 4);
    blob->len = 4;
    blob = blob_try_resize(blob, 10000);
    CHECK(blob != NULL && blob->cap == 10000);
    CHECK(slice_equal(blob_slice(blob), slice_from_text("abcd")));
    blob = blob_try_resize(blob, 4);
    CHECK(blob != NULL && blob->cap == 4);
    CHECK(slice_equal(blob_slice(blob), slice_from_text("abcd")));
    blob_drop(blob);
}

TEST(blob, failing_memory_leaves_it_as_it_was)
{
    mem_fail_after(1);
    CHECK(blob_try_new(10) == NULL);
    struct blob *blob = blob_try_new(10);
    CHECK(blob != NULL);
    mem_fail_after(1);
    CHECK(blob_try_resize(blob, 1000) == NULL);
    CHECK(blob->cap == 10 && blob->refs == 1);
    blob_drop(blob);
}

TEST(blob, a_size_that_would_wrap_is_refused)
{
    CHECK(blob_try_new(SIZE_MAX) == NULL);
    CHECK(blob_try_new(SIZE_MAX - 8) == NULL);
    struct blob *blob = blob_try_new(0);
    CHECK(blob != NULL);
    CHECK(blob_try_resize(blob, SIZE_MAX - 1) == NULL);
    blob_drop(blob);
}
