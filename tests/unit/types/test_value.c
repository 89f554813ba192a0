/* Blocks of values: their form, their reshaping, and what happens when memory does not suffice. */
#include "types/value.h"

#include "base/mem.h"
#include "tests/unit/test.h"
#include "types/string/string.h"

static struct value *new_block(struct slice key, bool has_expire, size_t payload_len)
{
    struct value_form form = {.kind = VALUE_STRING,
                              .encoding = STRING_INLINE,
                              .has_expire = has_expire,
                              .key = key,
                              .payload_len = payload_len};
    struct value *value = value_try_new(&form);
    CHECK(value != NULL);
    for (size_t i = 0; i < payload_len; i++) {
        value_payload(value)[i] = (char)('a' + i % 26);
    }
    return value;
}

static bool has_pattern(const struct value *value, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (value_payload_const(value)[i] != (char)('a' + i % 26)) {
            return false;
        }
    }
    return true;
}

TEST(value, a_new_block_has_the_form_it_was_asked_for)
{
    struct slice key = slice_from_text("0123456789abcdef");
    struct value *value = new_block(key, false, 8);
    CHECK(value_kind(value) == VALUE_STRING && value_encoding(value) == STRING_INLINE);
    CHECK(slice_equal(value_key(value), key));
    CHECK(value->len == 8 && value->access == 0 && !value_has_expire(value));
    CHECK(value_expire_ms(value) == -1);
    CHECK(value_block_len(value) == 32);
    value_free_block(value);
}

TEST(value, a_new_expiry_is_zero_and_not_filed)
{
    struct value *value = new_block(slice_from_text("k"), true, 3);
    CHECK(value_expire_ms(value) == 0);
    CHECK(value_wheel_place(value) == VALUE_WHEEL_NONE);
    value_set_expire(value, VALUE_EXPIRE_MS_MAX, 511);
    CHECK(value_expire_ms(value) == VALUE_EXPIRE_MS_MAX && value_wheel_place(value) == 511);
    CHECK(slice_equal(value_key(value), slice_from_text("k")) && has_pattern(value, 3));
    value_free_block(value);
}

TEST(value, keys_of_any_length_are_kept)
{
    static const size_t lens[] = {0, 1, 254, 255, 256, 70000};
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        char *bytes = mem_alloc(lens[i] + 1);
        memset(bytes, 'k', lens[i]);
        struct slice key = slice_of(bytes, lens[i]);
        for (int has_expire = 0; has_expire < 2; has_expire++) {
            struct value *value = new_block(key, has_expire != 0, 5);
            CHECK(slice_equal(value_key(value), key));
            CHECK(has_pattern(value, 5));
            CHECK(mem_usable(value) == mem_good_size(value_block_len(value)));
            value_free_block(value);
        }
        mem_free(bytes);
    }
}

TEST(value, reshape_keeps_what_both_forms_have)
{
    static const size_t lens[] = {0, 1, 7, 8, 9, 40, 1000};
    enum { COUNT = sizeof(lens) / sizeof(lens[0]) };
    char long_key[300];
    memset(long_key, 'x', sizeof(long_key));
    for (size_t i = 0; i < COUNT * COUNT * 8; i++) {
        size_t from = lens[i % COUNT];
        size_t to = lens[i / COUNT % COUNT];
        size_t kept = from < to ? from : to;
        size_t bits = i / COUNT / COUNT;
        bool had = (bits & 1) != 0;
        bool has = (bits & 2) != 0;
        struct slice key =
            (bits & 4) != 0 ? slice_of(long_key, sizeof(long_key)) : slice_from_text("key");
        struct place place = {.value = new_block(key, had, from)};
        place.value->access = 0x123456;
        place.value->flags |= VALUE_WAS_EDITED;
        if (had) {
            value_set_expire(place.value, 77, 5);
        }
        CHECK(
            value_try_reshape(&place, (struct value_change){.payload_len = to, .has_expire = has}));
        CHECK(place.value->len == to && value_has_expire(place.value) == has);
        CHECK(slice_equal(value_key(place.value), key));
        CHECK(has_pattern(place.value, kept));
        CHECK(place.value->access == 0x123456);
        CHECK((place.value->flags & VALUE_WAS_EDITED) != 0);
        CHECK(value_expire_ms(place.value) == (!has ? -1 : had ? 77 : 0));
        CHECK(!has || value_wheel_place(place.value) == (had ? 5 : VALUE_WHEEL_NONE));
        value_free_block(place.value);
    }
}

TEST(value, reshape_moves_the_slot_along)
{
    uint64_t slot = UINT64_C(0xabcd) << 48;
    struct place place = {.slot = &slot, .value = new_block(slice_from_text("k"), false, 1)};
    table_slot_set(&slot, place.value);
    CHECK(value_try_reshape(&place, (struct value_change){.payload_len = 500}));
    CHECK(table_slot_entry(&slot) == place.value && slot >> 48 == 0xabcd);
    value_free_block(place.value);
}

TEST(value, failed_reshape_changes_nothing)
{
    struct place place = {.value = new_block(slice_from_text("k"), false, 10)};
    struct value *before = place.value;
    mem_fail_after(1);
    CHECK(
        !value_try_reshape(&place, (struct value_change){.payload_len = 500, .has_expire = true}));
    mem_fail_after(0);
    CHECK(place.value == before && before->len == 10 && !value_has_expire(before));
    CHECK(has_pattern(before, 10));
    value_free_block(before);
}

TEST(value, failed_new_is_null)
{
    struct value_form form = {.kind = VALUE_STRING, .payload_len = 8};
    mem_fail_after(1);
    CHECK(value_try_new(&form) == NULL);
    mem_fail_after(0);
}

TEST(value, dropping_the_expiry_cannot_fail)
{
    for (unsigned fails = 0; fails < 2; fails++) {
        struct place place = {.value = new_block(slice_from_text("0123456789abcdef"), true, 8)};
        mem_fail_after(fails);
        value_drop_expire(&place);
        mem_fail_after(0);
        CHECK(!value_has_expire(place.value) && has_pattern(place.value, 8));
        CHECK(slice_equal(value_key(place.value), slice_from_text("0123456789abcdef")));
        CHECK(mem_usable(place.value) == mem_good_size(value_block_len(place.value)));
        value_drop_expire(&place);
        value_free_block(place.value);
    }
}

TEST(value, rekey_keeps_tag_flags_payload_and_time)
{
    struct value *value = new_block(slice_from_text("old"), true, 20);
    value->flags |= VALUE_WAS_EDITED;
    value_set_expire(value, 1234, 9);
    struct value *other = value_try_rekey(value, slice_from_text("a new key"), true);
    CHECK(slice_equal(value_key(other), slice_from_text("a new key")));
    CHECK(value_expire_ms(other) == 1234 && value_wheel_place(other) == VALUE_WHEEL_NONE);
    CHECK(other->tag == value->tag && other->flags == value->flags && has_pattern(other, 20));
    struct value *third = value_try_rekey(value, slice_from_text(""), false);
    CHECK(!value_has_expire(third) && has_pattern(third, 20));
    value_free_block(value);
    value_free_block(other);
    value_free_block(third);
}

TEST(value, kinds_have_redis_names_and_operations)
{
    CHECK(strcmp(value_kind_name(VALUE_STRING), "string") == 0);
    CHECK(strcmp(value_kind_name(VALUE_ZSET), "zset") == 0);
    CHECK(strcmp(value_kind_name(VALUE_STREAM), "stream") == 0);
    struct value *value = new_block(slice_from_text("k"), false, 1);
    CHECK(value_ops_of(value) == &string_ops);
    value_free(value, NULL);
}
