/* Lists as a type: forms, sizes, and what happens at their limits. */
#include "base/mem.h"
#include "base/work.h"
#include "tests/unit/test.h"
#include "types/list/list.h"

struct bed {
    struct work_queue work;
    struct type_limits limits;
    struct place place;
};

static void bed_init(struct bed *bed)
{
    work_queue_init(&bed->work);
    bed->limits = type_limits_default();
    bed->place = (struct place){.value = list_try_new(slice_of("k", 1), false)};
}

static void bed_deinit(struct bed *bed)
{
    value_free(bed->place.value, &bed->work);
    work_drain(&bed->work);
}

static bool push(struct bed *bed, const char *text)
{
    return list_try_push(&bed->place, LIST_TAIL, slice_from_text(text), NULL, &bed->limits);
}

static bool is_at(const struct bed *bed, size_t index, const char *text)
{
    struct list_scratch scratch;
    struct list_item item = list_get(bed->place.value, index);
    return slice_equal(list_item_text(&item, &scratch), slice_from_text(text));
}

static const char *encoding(const struct bed *bed)
{
    return value_ops_of(bed->place.value)->encoding_name(bed->place.value);
}

TEST(list, short_one_lives_in_its_block)
{
    struct bed bed;
    bed_init(&bed);
    CHECK(push(&bed, "a") && push(&bed, "12") && push(&bed, ""));
    CHECK(list_len(bed.place.value) == 3);
    CHECK(is_at(&bed, 0, "a") && is_at(&bed, 1, "12") && is_at(&bed, 2, ""));
    CHECK(strcmp(encoding(&bed), "listpack") == 0);
    CHECK(value_ops_of(bed.place.value)->effort(bed.place.value) == 1);
    CHECK(value_block_len(bed.place.value) <= 48);
    bed_deinit(&bed);
}

TEST(list, integers_and_texts_keep_their_bytes)
{
    static const char *const texts[] = {"0",
                                        "-1",
                                        "127",
                                        "128",
                                        "-128",
                                        "-129",
                                        "32768",
                                        "007",
                                        "-0",
                                        "+1",
                                        "1.0",
                                        "65536",
                                        "9223372036854775807",
                                        "9223372036854775808",
                                        "a123",
                                        "1 ",
                                        " 1",
                                        "16777216",
                                        "-2147483649",
                                        "-9223372036854775808"};
    enum { TEXT_COUNT = sizeof(texts) / sizeof(texts[0]) };
    struct bed bed;
    bed_init(&bed);
    for (size_t i = 0; i < TEXT_COUNT; i++) {
        CHECK(push(&bed, texts[i]));
    }
    for (size_t i = 0; i < TEXT_COUNT; i++) {
        CHECK(is_at(&bed, i, texts[i]));
    }
    bed_deinit(&bed);
}

TEST(list, limit_of_entries_makes_chunks_of_so_many)
{
    struct bed bed;
    bed_init(&bed);
    bed.limits.list_size = 2;
    CHECK(push(&bed, "a") && push(&bed, "b"));
    CHECK(strcmp(encoding(&bed), "listpack") == 0);
    CHECK(push(&bed, "c"));
    CHECK(strcmp(encoding(&bed), "quicklist") == 0);
    CHECK(value_ops_of(bed.place.value)->effort(bed.place.value) == 2);
    bed_deinit(&bed);
}

TEST(list, long_element_is_the_blob_that_came)
{
    struct bed bed;
    bed_init(&bed);
    struct blob *blob = blob_try_new(LIST_INLINE_MAX + 1);
    blob->len = LIST_INLINE_MAX + 1;
    memset(blob->bytes, 'x', blob->len);
    CHECK(list_try_push(&bed.place, LIST_HEAD, blob_slice(blob), blob, &bed.limits));
    CHECK(blob->refs == 1);
    CHECK(list_get(bed.place.value, 0).blob == blob);
    blob_share(blob);
    list_drop(&bed.place, LIST_TAIL, 1, &bed.work);
    CHECK(blob->refs == 1);
    CHECK(list_len(bed.place.value) == 0);
    blob_drop(blob);
    bed_deinit(&bed);
}

TEST(list, large_one_is_freed_in_slices)
{
    struct bed bed;
    bed_init(&bed);
    for (unsigned i = 0; i < 100000; i++) {
        CHECK(push(&bed, "an element of some length"));
    }
    CHECK(value_ops_of(bed.place.value)->effort(bed.place.value) > 200);
    list_drop(&bed.place, LIST_HEAD, 90000, &bed.work);
    CHECK(!work_is_idle(&bed.work));
    CHECK(list_len(bed.place.value) == 10000);
    value_ops_of(bed.place.value)->check(bed.place.value);
    work_drain(&bed.work);
    bed_deinit(&bed);
}

TEST(list, little_that_is_left_goes_back_into_the_block)
{
    struct bed bed;
    bed_init(&bed);
    for (unsigned i = 0; i < 5000; i++) {
        CHECK(push(&bed, "element"));
    }
    CHECK(strcmp(encoding(&bed), "quicklist") == 0);
    list_drop(&bed.place, LIST_TAIL, 4999, &bed.work);
    CHECK(strcmp(encoding(&bed), "listpack") == 0);
    CHECK(value_ops_of(bed.place.value)->memory(bed.place.value, 0) < 100);
    CHECK(is_at(&bed, 0, "element"));
    bed_deinit(&bed);
}

TEST(list, without_memory_nothing_changes)
{
    struct bed bed;
    char text[LIST_INLINE_MAX + 2];
    memset(text, 'x', sizeof(text));
    bed_init(&bed);
    CHECK(push(&bed, "a"));
    for (unsigned failure = 1; failure <= 4; failure++) {
        mem_fail_after(failure);
        bool is_done =
            list_try_push(&bed.place, LIST_TAIL, slice_of(text, sizeof(text)), NULL, &bed.limits);
        mem_fail_after(0);
        CHECK(!is_done && list_len(bed.place.value) == 1 && is_at(&bed, 0, "a"));
        value_ops_of(bed.place.value)->check(bed.place.value);
    }
    bed_deinit(&bed);
}
