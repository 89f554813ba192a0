/* Strings in all their forms, their edits, their sharing and their failures. */
#include "types/string/string.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/region.h"
#include "tests/unit/test.h"

static const char key_text[] = "some:key";

static struct slice key_slice(void)
{
    return slice_from_text(key_text);
}

static struct place new_place(struct slice text)
{
    struct place place = {.value = string_try_new(key_slice(), text, false)};
    CHECK(place.value != NULL);
    return place;
}

static struct place new_text(const char *text)
{
    return new_place(slice_from_text(text));
}

static void check_is(const struct place *place, struct slice text)
{
    struct string_scratch scratch;
    string_ops.check(place->value);
    CHECK(slice_equal(string_get(place->value, &scratch), text));
    CHECK(string_len(place->value) == text.len);
    CHECK(slice_equal(value_key(place->value), key_slice()));
    CHECK(mem_usable(place->value) == mem_good_size(value_block_len(place->value)));
}

static void check_text(const struct place *place, const char *text)
{
    check_is(place, slice_from_text(text));
}

static bool has_encoding(const struct place *place, const char *name)
{
    return strcmp(string_ops.encoding_name(place->value), name) == 0;
}

static void release(struct place *place)
{
    value_free(place->value, NULL);
    place->value = NULL;
}

/* `len` bytes that are no integer; freed by the caller. */
static struct slice new_bytes(size_t len)
{
    char *bytes = mem_alloc(len + 1);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (char)('A' + i % 53);
    }
    return slice_of(bytes, len);
}

static void free_bytes(struct slice bytes)
{
    mem_free((void *)(uintptr_t)bytes.data);
}

TEST(string, canonical_integers_are_integers)
{
    static const char *const integers[] = {"0", "-1", "42", "9223372036854775807",
                                           "-9223372036854775808"};
    static const char *const texts[] = {"",   "-0", "01",  "+1", " 1",
                                        "1 ", "1a", "1.0", "-",  "9223372036854775808"};
    for (size_t i = 0; i < sizeof(integers) / sizeof(integers[0]); i++) {
        struct place place = new_text(integers[i]);
        int64_t number;
        CHECK(has_encoding(&place, "int") && string_get_i64(place.value, &number));
        check_text(&place, integers[i]);
        release(&place);
    }
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct place place = new_text(texts[i]);
        int64_t number;
        CHECK(has_encoding(&place, "embstr") && !string_get_i64(place.value, &number));
        check_text(&place, texts[i]);
        release(&place);
    }
}

TEST(string, names_of_encodings_follow_length_and_edits)
{
    struct slice bytes = new_bytes(45);
    struct place place = new_place(slice_part(bytes, 0, 44));
    CHECK(has_encoding(&place, "embstr"));
    release(&place);
    place = new_place(bytes);
    CHECK(has_encoding(&place, "raw"));
    release(&place);
    place = new_text("abc");
    CHECK(string_try_append(&place, slice_from_text("d")));
    CHECK(has_encoding(&place, "raw"));
    CHECK(string_try_set(&place, slice_from_text("abcde"), false));
    CHECK(has_encoding(&place, "embstr"));
    release(&place);
    free_bytes(bytes);
}

TEST(string, every_length_comes_back)
{
    static const size_t lens[] = {0,   1,   8,    44,   45,    127,   128,   129,
                                  255, 256, 1000, 5000, 32767, 32768, 32769, 100000};
    enum { COUNT = sizeof(lens) / sizeof(lens[0]) };
    struct slice bytes = new_bytes(100000);
    for (size_t i = 0; i < COUNT * COUNT * 4; i++) {
        struct slice from = slice_part(bytes, 0, lens[i % COUNT]);
        struct slice to = slice_part(bytes, 0, lens[i / COUNT % COUNT]);
        bool had = (i / COUNT / COUNT & 1) != 0;
        bool has = (i / COUNT / COUNT & 2) != 0;
        struct place place = {.value = string_try_new(key_slice(), from, had)};
        if (had) {
            value_set_expire(place.value, 99, 3);
        }
        check_is(&place, from);
        CHECK((string_blob(place.value) != NULL) == (from.len >= BLOB_LEN_MIN));
        CHECK(string_try_set(&place, to, has));
        check_is(&place, to);
        CHECK(value_has_expire(place.value) == has);
        CHECK(!had || !has || value_expire_ms(place.value) == 99);
        release(&place);
    }
    free_bytes(bytes);
}

TEST(string, setting_the_same_length_stays_in_place)
{
    struct place place = new_text("value:01");
    struct value *before = place.value;
    mem_fail_after(1);
    CHECK(string_try_set(&place, slice_from_text("value:02"), false));
    CHECK(string_try_set(&place, slice_from_text("12345"), false));
    CHECK(string_try_set_i64(&place, -7, false));
    CHECK(string_try_set(&place, slice_from_text("value:03"), false));
    mem_fail_after(0);
    CHECK(place.value == before);
    check_text(&place, "value:03");
    release(&place);
}

TEST(string, blobs_are_taken_and_shared_by_copies)
{
    struct slice bytes = new_bytes(BLOB_LEN_MIN + 10);
    struct blob *blob = blob_try_new(bytes.len);
    memcpy(blob->bytes, bytes.data, bytes.len);
    blob->len = bytes.len;
    struct place place = new_text("short");
    CHECK(string_try_set_blob(&place, blob_share(blob), false));
    CHECK(blob->refs == 2 && string_blob(place.value) == blob);
    struct place copy = {.value = string_ops.copy(place.value, key_slice(), false)};
    CHECK(blob->refs == 3);
    CHECK(string_try_append(&copy, slice_from_text("!")));
    CHECK(blob->refs == 2);
    check_is(&place, bytes);
    CHECK(string_len(copy.value) == bytes.len + 1);
    char *edited = string_try_edit(&place, 0);
    edited[0] = '#';
    CHECK(blob->refs == 1 && blob->bytes[0] == bytes.data[0]);
    CHECK(string_try_set_i64(&place, 5, false));
    check_text(&place, "5");
    release(&place);
    release(&copy);
    blob_drop(blob);
    free_bytes(bytes);
}

TEST(string, a_large_value_of_its_own_is_overwritten_in_place)
{
    struct slice bytes = new_bytes(BLOB_LEN_MIN * 2);
    struct place place = new_place(bytes);
    struct blob *before = string_blob(place.value);
    mem_fail_after(1);
    CHECK(string_try_set(&place, slice_part(bytes, 1, bytes.len - 1), false));
    mem_fail_after(0);
    CHECK(string_blob(place.value) == before);
    check_is(&place, slice_part(bytes, 1, bytes.len - 1));
    release(&place);
    free_bytes(bytes);
}

TEST(string, append_grows_through_all_forms)
{
    struct place place = new_text("12");
    struct slice bytes = new_bytes(BLOB_LEN_MIN * 3);
    CHECK(string_try_append(&place, slice_from_text("")));
    CHECK(has_encoding(&place, "raw"));
    check_text(&place, "12");
    char *twin = mem_alloc(bytes.len + 100);
    memcpy(twin, "12", 2);
    size_t len = 2;
    for (size_t step = 1; len + step < bytes.len; step += 7) {
        CHECK(string_try_append(&place, slice_part(bytes, len, step)));
        memcpy(twin + len, bytes.data + len, step);
        len += step;
        check_is(&place, slice_of(twin, len));
    }
    CHECK(string_blob(place.value) != NULL);
    mem_free(twin);
    release(&place);
    free_bytes(bytes);
}

TEST(string, appending_to_a_blob_is_amortised)
{
    struct slice bytes = new_bytes(BLOB_LEN_MIN);
    struct place place = new_place(bytes);
    CHECK(string_try_append(&place, slice_from_text("x")));
    struct blob *blob = string_blob(place.value);
    CHECK(blob->cap >= 2 * (size_t)BLOB_LEN_MIN);
    mem_fail_after(1);
    for (unsigned i = 0; i < BLOB_LEN_MIN / 2; i++) {
        CHECK(string_try_append(&place, slice_from_text("y")));
    }
    mem_fail_after(0);
    CHECK(string_blob(place.value) == blob);
    release(&place);
    free_bytes(bytes);
}

TEST(string, set_range_pads_with_zero_bytes)
{
    struct place place = new_text("42");
    CHECK(string_try_set_range(&place, 5, slice_from_text("")));
    CHECK(has_encoding(&place, "int"));
    CHECK(string_try_set_range(&place, 5, slice_from_text("ab")));
    check_is(&place, slice_of("42\0\0\0ab", 7));
    CHECK(string_try_set_range(&place, 1, slice_from_text("Z")));
    check_is(&place, slice_of("4Z\0\0\0ab", 7));
    CHECK(string_try_set_range(&place, BLOB_LEN_MIN + 3, slice_from_text("end")));
    CHECK(string_len(place.value) == BLOB_LEN_MIN + 6);
    struct string_scratch scratch;
    struct slice all = string_get(place.value, &scratch);
    CHECK(memcmp(all.data, "4Z\0\0\0ab\0", 8) == 0 && all.data[BLOB_LEN_MIN + 2] == 0);
    CHECK(memcmp(all.data + BLOB_LEN_MIN + 3, "end", 3) == 0);
    release(&place);
}

TEST(string, edit_gives_at_least_the_length_and_keeps_the_expiry)
{
    struct place place = {.value = string_try_new_i64(key_slice(), 1234567, true)};
    value_set_expire(place.value, 55, 7);
    char *bytes = string_try_edit(&place, 3);
    CHECK(bytes != NULL && string_len(place.value) == 7);
    bytes[0] = 'x';
    check_text(&place, "x234567");
    bytes = string_try_edit(&place, 20);
    CHECK(bytes != NULL && bytes[19] == 0 && string_len(place.value) == 20);
    bytes = string_try_edit(&place, BLOB_LEN_MIN);
    CHECK(bytes != NULL && bytes[1] == '2' && bytes[BLOB_LEN_MIN - 1] == 0);
    CHECK(value_expire_ms(place.value) == 55 && value_wheel_place(place.value) == 7);
    release(&place);
}

TEST(string, an_edited_integer_is_text_but_still_reads_as_integer)
{
    struct place place = new_text("1");
    CHECK(string_try_append(&place, slice_from_text("2")));
    int64_t number = 0;
    CHECK(string_get_i64(place.value, &number) && number == 12);
    CHECK(has_encoding(&place, "raw"));
    struct place copy = {.value = string_ops.copy(place.value, key_slice(), true)};
    CHECK(has_encoding(&copy, "raw") && value_has_expire(copy.value));
    check_text(&copy, "12");
    release(&copy);
    release(&place);
}

TEST(string, memory_counts_block_and_blob)
{
    struct slice bytes = new_bytes(BLOB_LEN_MIN);
    struct place place = new_place(bytes);
    CHECK(string_ops.memory(place.value, 0) ==
          mem_good_size(value_block_len(place.value)) +
              mem_good_size(sizeof(struct blob) + string_blob(place.value)->cap));
    CHECK(string_ops.effort(place.value) == 1);
    release(&place);
    place = new_text("x");
    CHECK(string_ops.memory(place.value, 5) == mem_usable(place.value));
    release(&place);
    free_bytes(bytes);
}

/* Every operation is repeated with its first, second, ... allocation failing until it succeeds;
 * after each failure the string is what it was. */
typedef bool (*operation_fn)(struct place *place, struct slice bytes);

static bool set_long(struct place *place, struct slice bytes)
{
    return string_try_set(place, bytes, true);
}

static bool set_short(struct place *place, struct slice bytes)
{
    return string_try_set(place, slice_part(bytes, 0, 100), true);
}

static bool set_integer(struct place *place, struct slice bytes)
{
    (void)bytes;
    return string_try_set_i64(place, 17, true);
}

static bool append_long(struct place *place, struct slice bytes)
{
    return string_try_append(place, bytes);
}

static bool set_range_far(struct place *place, struct slice bytes)
{
    return string_try_set_range(place, bytes.len * 3, slice_part(bytes, 0, 10));
}

static bool edit_long(struct place *place, struct slice bytes)
{
    return string_try_edit(place, bytes.len) != NULL;
}

static void check_failures(operation_fn operation, struct slice start, struct slice bytes)
{
    struct place place = new_place(start);
    unsigned failures = 0;
    for (;; failures++) {
        mem_fail_after(failures + 1);
        bool has_succeeded = operation(&place, bytes);
        mem_fail_after(0);
        if (has_succeeded) {
            break;
        }
        struct string_scratch scratch;
        string_ops.check(place.value);
        CHECK(slice_equal(string_get(place.value, &scratch), start));
    }
    string_ops.check(place.value);
    release(&place);
}

TEST(string, running_out_of_memory_changes_nothing)
{
    static const operation_fn operations[] = {set_long,    set_short,     set_integer,
                                              append_long, set_range_far, edit_long};
    struct slice bytes = new_bytes(BLOB_LEN_MIN * 2);
    struct slice starts[] = {slice_from_text("7"), slice_from_text("embedded"),
                             slice_part(bytes, 0, BLOB_LEN_MIN - 1), bytes};
    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
        for (size_t j = 0; j < sizeof(starts) / sizeof(starts[0]); j++) {
            check_failures(operations[i], starts[j], bytes);
        }
    }
    for (unsigned failure = 1; failure <= 2; failure++) {
        mem_fail_after(failure);
        CHECK(string_try_new(key_slice(), bytes, false) == NULL);
        mem_fail_after(0);
    }
    struct place place = new_place(bytes);
    mem_fail_after(1);
    CHECK(string_ops.copy(place.value, key_slice(), false) == NULL);
    mem_fail_after(0);
    CHECK(string_blob(place.value)->refs == 1);
    release(&place);
    free_bytes(bytes);
}

TEST(string, only_bytes_of_the_same_length_are_overwritten_in_place)
{
    struct slice text = slice_from_text("a text of thirty bytes, really");
    struct value *value = string_try_new(slice_from_text("key"), text, false);
    struct string_scratch scratch;
    CHECK(value != NULL);
    CHECK(!string_overwrite(value, slice_from_text("shorter")));
    CHECK(!string_overwrite(value, slice_from_text("a text of thirty-one bytes, eh?")));
    CHECK(slice_equal(string_get(value, &scratch), text));
    CHECK(string_overwrite(value, slice_from_text("another one of thirty bytes...")));
    CHECK(slice_equal(string_get(value, &scratch),
                      slice_from_text("another one of thirty bytes...")));
    value->flags |= VALUE_WAS_EDITED; /* The name of its encoding would have to change. */
    CHECK(!string_overwrite(value, text));
    value_free_block(value);
}

TEST(string, a_long_string_grows_without_moving_and_costs_nothing)
{
    struct slice bytes = new_bytes(REGION_LEN_MIN + 10);
    struct place place = new_place(bytes);
    CHECK(string_edit_cost(place.value, bytes.len) == 0);       /* It has that room already. */
    CHECK(string_try_edit(&place, REGION_LEN_MIN * 2) != NULL); /* From now on it is a region. */
    struct blob *blob = string_blob(place.value);
    CHECK(blob->is_region && string_edit_cost(place.value, 512 << 20) == 0);
    char *edited = string_try_edit_in_place(place.value, 512 << 20);
    CHECK(edited == blob->bytes && string_blob(place.value) == blob && blob->len == 512 << 20);
    CHECK(memcmp(edited, bytes.data, bytes.len) == 0);
    CHECK(edited[bytes.len] == 0 && edited[(512 << 20) - 1] == 0);
    blob_share(blob);
    CHECK(string_edit_cost(place.value, 1) == 512 << 20); /* Shared: it has to be copied. */
    blob_drop(blob);
    string_ops.check(place.value);
    release(&place);
    place = new_place(slice_from_text("short"));
    CHECK(string_edit_cost(place.value, 512 << 20) == 5);
    release(&place);
    free_bytes(bytes);
}

TEST(string, zero_bytes_behind_a_long_string_stay_zero)
{
    struct slice bytes = new_bytes(BLOB_REGION_MIN + 10);
    struct place place = new_place(bytes);
    CHECK(string_blob(place.value)->is_region);
    struct slice shorter = slice_part(bytes, 0, BLOB_REGION_MIN - 10);
    CHECK(string_try_set(&place, shorter, false));
    char *edited = string_try_edit(&place, bytes.len);
    ASSERT(edited != NULL);
    CHECK(memcmp(edited, shorter.data, shorter.len) == 0);
    for (size_t i = shorter.len; i < bytes.len; i++) {
        CHECK(edited[i] == 0);
    }
    string_ops.check(place.value);
    release(&place);
    free_bytes(bytes);
}

TEST(string, what_was_edited_apart_takes_the_place_of_any_form)
{
    struct slice bytes = new_bytes(BLOB_LEN_MIN * 2);
    struct slice olds[] = {slice_from_text("7"), slice_from_text("text"), bytes};
    struct slice news[] = {slice_from_text("12"), slice_part(bytes, 0, BLOB_LEN_MIN)};
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < 2; j++) {
            struct place place = new_place(olds[i]);
            struct blob *own = string_try_new_room(news[j].len);
            memcpy(own->bytes, news[j].data, news[j].len);
            own->len = news[j].len;
            CHECK(string_try_put_edited(&place, own));
            struct string_scratch scratch;
            CHECK(slice_equal(string_get(place.value, &scratch), news[j]));
            CHECK(strcmp(string_ops.encoding_name(place.value), "raw") == 0);
            string_ops.check(place.value);
            release(&place);
        }
    }
    free_bytes(bytes);
}
