/* Packs: sizes of every form, searches, splices, and bytes that are none. */
#include "ds/pack.h"

#include "base/rng.h"
#include "tests/unit/test.h"

enum { ROOM = 1024 * 1024 };

/* A pack in a buffer of its own. */
struct box {
    char *data;
    size_t len;
};

static void box_open(struct box *box)
{
    box->data = malloc(ROOM);
    box->len = 0;
}

static void box_close(struct box *box)
{
    free(box->data);
}

static struct slice box_pack(const struct box *box)
{
    return slice_of(box->data, box->len);
}

static void box_append(struct box *box, struct slice text)
{
    size_t size = pack_size(text);
    CHECK(pack_write(box->data + box->len, text) == size);
    box->len += size;
}

static void box_append_text(struct box *box, const char *text)
{
    box_append(box, slice_from_text(text));
}

/* The item at `at` as text. */
static bool item_is(const struct box *box, size_t at, struct slice text)
{
    char digits[PACK_DIGITS];
    struct pack_item item;
    size_t next = pack_next(box_pack(box), at, &item);
    return slice_equal(pack_text(&item, digits), text) && pack_is(box_pack(box), at, text) &&
           next - at == pack_size(text);
}

static bool is_valid(const struct box *box, size_t wanted_count)
{
    size_t count;
    return pack_check_bytes(box_pack(box), &count) && count == wanted_count;
}

/* One item holds the text in `size` bytes. */
static bool takes(const char *text, size_t size)
{
    struct box box;
    box_open(&box);
    box_append_text(&box, text);
    bool is_right = box.len == size && item_is(&box, 0, slice_from_text(text)) && is_valid(&box, 1);
    box_close(&box);
    return is_right;
}

TEST(pack, integers_take_one_to_nine_bytes)
{
    CHECK(takes("0", 1) && takes("63", 1));
    CHECK(takes("64", 2) && takes("-1", 2) && takes("4095", 2) && takes("-4096", 2));
    CHECK(takes("4096", 3) && takes("-4097", 3) && takes("32767", 3) && takes("-32768", 3));
    CHECK(takes("32768", 4) && takes("-32769", 4) && takes("8388607", 4));
    CHECK(takes("8388608", 5) && takes("2147483647", 5) && takes("-2147483648", 5));
    CHECK(takes("2147483648", 6) && takes("549755813887", 6));
    CHECK(takes("549755813888", 7) && takes("140737488355328", 8));
    CHECK(takes("36028797018963967", 8) && takes("36028797018963968", 9));
    CHECK(takes("9223372036854775807", 9) && takes("-9223372036854775808", 9));
}

TEST(pack, what_is_not_a_canonical_integer_stays_text)
{
    CHECK(takes("", 1) && takes("-", 2) && takes("-0", 3) && takes("007", 4) && takes("+1", 3));
    CHECK(takes("1.5", 4) && takes(" 1", 3) && takes("9223372036854775808", 20));
}

TEST(pack, long_texts_pay_for_their_length)
{
    static const size_t lens[] = {127, 128, 255, 256, 65535, 65536, 200000};
    static const size_t heads[] = {1, 2, 2, 3, 3, 5, 5};
    char *text = malloc(200000);
    memset(text, 'x', 200000);
    for (unsigned i = 0; i < 7; i++) {
        struct box box;
        box_open(&box);
        box_append_text(&box, "before");
        box_append(&box, slice_of(text, lens[i]));
        box_append_text(&box, "17");
        CHECK(box.len == 7 + heads[i] + lens[i] + 1 && is_valid(&box, 3));
        CHECK(item_is(&box, 7, slice_of(text, lens[i])));
        CHECK(pack_find(box_pack(&box), 0, slice_of(text, lens[i]), 1, NULL) == 7);
        CHECK(pack_find(box_pack(&box), 0, slice_of(text, lens[i] - 1), 1, NULL) == PACK_NONE);
        box_close(&box);
    }
    free(text);
}

TEST(pack, a_search_looks_at_every_stride_and_counts_them)
{
    struct box box;
    box_open(&box);
    const char *words[] = {"f", "1", "1", "f", "g", "2"};
    for (unsigned i = 0; i < 6; i++) {
        box_append_text(&box, words[i]);
    }
    size_t index;
    CHECK(pack_find(box_pack(&box), 0, slice_from_text("1"), 2, &index) == 3 && index == 1);
    CHECK(pack_find(box_pack(&box), 0, slice_from_text("1"), 1, &index) == 2 && index == 1);
    CHECK(pack_find(box_pack(&box), 0, slice_from_text("2"), 2, &index) == PACK_NONE && index == 3);
    CHECK(pack_find(box_pack(&box), 3, slice_from_text("f"), 2, NULL) == PACK_NONE);
    CHECK(pack_find(slice_of("", 0), 0, slice_from_text("f"), 2, &index) == PACK_NONE &&
          index == 0);
    CHECK(pack_skip(box_pack(&box), 0, 4) == 6 && pack_skip(box_pack(&box), 0, 99) == box.len);
    CHECK(pack_count(box_pack(&box), 0) == 6 && pack_count(box_pack(&box), 6) == 2);
    box_close(&box);
}

TEST(pack, texts_with_a_shared_beginning_are_told_apart)
{
    struct box box;
    box_open(&box);
    box_append(&box, slice_of("a\0b", 3));
    box_append(&box, slice_of("a\0c", 3));
    CHECK(pack_find(box_pack(&box), 0, slice_of("a\0c", 3), 1, NULL) == 4);
    CHECK(pack_find(box_pack(&box), 0, slice_of("a\0", 2), 1, NULL) == PACK_NONE);
    box_close(&box);
}

TEST(pack, a_splice_moves_the_rest_either_way)
{
    struct box box;
    box_open(&box);
    box_append_text(&box, "one");
    box_append_text(&box, "two");
    box_append_text(&box, "three");
    pack_splice(box.data, box.len, 4, 4, pack_size(slice_from_text("twelve")));
    box.len += 3;
    pack_write(box.data + 4, slice_from_text("twelve"));
    CHECK(is_valid(&box, 3) && item_is(&box, 11, slice_from_text("three")));
    pack_splice(box.data, box.len, 0, 4, 0);
    box.len -= 4;
    CHECK(is_valid(&box, 2) && item_is(&box, 0, slice_from_text("twelve")));
    pack_splice(box.data, box.len, 7, 6, 0);
    box.len -= 6;
    CHECK(is_valid(&box, 1));
    box_close(&box);
}

TEST(pack, bytes_that_are_no_pack_are_refused)
{
    static const struct slice bad[] = {
        {"\x03"
         "ab",
         3},                 /* Text cut off. */
        {"\xc1", 1},         /* Integer cut off. */
        {"\xe4\x01\x02", 3}, /* The same. */
        {"\xe0", 1},         /* Widths that do not exist. */
        {"\xe1\x01", 2},
        {"\xe9"
         "123456789",
         10},
        {"\xf0", 1},
        {"\xf3\x01\x01\x01", 4},
        {"\xff"
         "aaaaaaaaaaaaaaaa",
         17},
        {"\xf4\xff\xff\xff\xff"
         "a",
         6}, /* Longer than what is there. */
        {"\xf1\x01"
         "a",
         3}, /* Forms that are not the shortest. */
        {"\xc0\x01", 2},
        {"\xe2\x01\x00", 3},
        {"\xe3\x00\x40\x00", 4},
        {"\x01"
         "7",
         2}, /* An integer as text. */
    };
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        size_t count;
        CHECK(!pack_check_bytes(bad[i], &count));
    }
}

TEST(pack, any_bytes_can_be_checked)
{
    struct rng rng;
    rng_seed(&rng, test_seed());
    unsigned valid = 0;
    for (unsigned round = 0; round < 20000; round++) {
        char bytes[24];
        size_t len = (size_t)rng_below(&rng, sizeof(bytes) + 1);
        for (size_t i = 0; i < len; i++) {
            bytes[i] = (char)rng_below(&rng, 256);
        }
        char *exact = malloc(len + (len == 0)); /* A sanitizer sees what is read behind it. */
        memcpy(exact, bytes, len);
        size_t count;
        valid += pack_check_bytes(slice_of(exact, len), &count);
        free(exact);
    }
    CHECK(valid > 0 && valid < 20000);
}

TEST(pack, random_integers_come_back)
{
    struct rng rng;
    rng_seed(&rng, test_seed() + 1);
    struct box box;
    box_open(&box);
    for (unsigned i = 0; i < 20000; i++) {
        int64_t number = (int64_t)(rng_next(&rng) >> rng_below(&rng, 64));
        number = rng_below(&rng, 2) == 0 ? number : (int64_t)(0 - (uint64_t)number);
        char digits[PACK_DIGITS];
        struct slice text = slice_of(digits, num_format_i64(digits, number));
        box.len = 0;
        box_append(&box, text);
        struct pack_item item;
        int64_t back = 0;
        CHECK(pack_next(box_pack(&box), 0, &item) == box.len && pack_item_i64(&item, &back));
        CHECK(back == number && box.len == pack_size_i64(number) && is_valid(&box, 1));
    }
    box_close(&box);
}
