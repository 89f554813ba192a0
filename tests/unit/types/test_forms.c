/* The bytes that docs/types.md draws, each drawing beside the value that it is of. A drawing is
 * written as there: pairs of hexadecimal digits, ".." for a byte that may be any, 'c' for the byte
 * of a character; blanks and bars are for the reader. Who changes a form changes both. */

#include "ds/bits.h"
#include "ds/hll.h"
#include "ds/pack.h"
#include "tests/unit/test.h"
#include "types/hash/hash.h"
#include "types/list/list.h"
#include "types/set/set.h"
#include "types/string/string.h"
#include "types/zset/zset.h"

static unsigned digit_of(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* Whether the bytes are what is drawn, all of them and no more. */
static bool is_drawn(const void *bytes, size_t len, const char *drawing)
{
    const unsigned char *at = bytes;
    const unsigned char *end = at + len;
    while (*drawing != '\0') {
        if (*drawing == ' ' || *drawing == '|') {
            drawing++;
            continue;
        }
        if (at == end) {
            return false;
        }
        bool is_text = *drawing == '\'';
        bool is_any = *drawing == '.';
        unsigned wanted = is_text  ? (unsigned char)drawing[1]
                          : is_any ? *at
                                   : digit_of(drawing[0]) * 16 + digit_of(drawing[1]);
        if (*at++ != wanted) {
            return false;
        }
        drawing += is_text ? 3 : 2;
    }
    return at == end;
}

static bool is_block(const struct value *value, const char *drawing)
{
    return is_drawn(value, value_block_len(value), drawing);
}

static bool is_payload(const struct value *value, const char *drawing)
{
    return is_drawn(value_payload_const(value), value->len, drawing);
}

static struct slice key(void)
{
    return slice_of("k", 1);
}

TEST(forms, block_of_an_integer)
{
    struct value *value = string_try_new(key(), slice_from_text("12"), false);
    CHECK(is_block(value, "00 00 08 00 .. .. .. 01 | 'k' | 0c 00 00 00 00 00 00 00"));
    CHECK(value_block_len(value) == 17);
    value_free(value, NULL);
}

TEST(forms, block_of_a_text_with_an_expiry)
{
    struct value *value = string_try_new(key(), slice_from_text("ouro"), true);
    value_set_expire(value, 0x0102030405, 0x0a0b);
    CHECK(
        is_block(value, "10 01 04 00 .. .. .. 01 | 05 04 03 02 01 00 0b 0a | 'k' | 'o''u''r''o'"));
    value_free(value, NULL);
}

TEST(forms, items_of_packs)
{
    static const struct {
        const char *text, *drawing;
    } rows[] = {
        {"ouro", "04 6f 75 72 6f"},
        {"7", "87"},
        {"-1", "df ff"},
        {"70000", "e3 70 11 01"},
        {"007", "03 30 30 37"},
        {"63", "bf"},
        {"64", "c0 40"},
        {"4095", "cf ff"},
        {"-4096", "d0 00"},
        {"4096", "e2 00 10"},
        {"-0", "02 2d 30"},
        {"", "00"},
    };
    char bytes[32];
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t len = pack_write(bytes, slice_from_text(rows[i].text));
        CHECK(is_drawn(bytes, len, rows[i].drawing));
        CHECK(len == pack_size(slice_from_text(rows[i].text)));
    }
    char text[300] = {0};
    char item[303];
    CHECK(pack_write(item, slice_of(text, 300)) == 303);
    CHECK(is_drawn(item, 3, "f2 2c 01"));
    CHECK(pack_write(item, slice_of(text, 128)) == 130);
    CHECK(is_drawn(item, 2, "f1 80"));
}

TEST(forms, bits_and_registers)
{
    char bits[2] = {0};
    bits_assign(bits, 1, true);
    bits_assign(bits, 15, true);
    CHECK(is_drawn(bits, 2, "40 01"));
    char hll[HLL_NEW_LEN];
    hll_write_new(hll);
    CHECK(is_drawn(hll, HLL_NEW_LEN, "'H''Y''L''L' 01 00 00 00 | .. .. .. .. .. .. .. .. | 7f ff"));
    CHECK(HLL_DENSE_LEN == 12304);
    hll_forget(hll);
    CHECK(((unsigned char)hll[15] & 0x80) != 0);
}

static struct value *list_of(unsigned count, const struct slice *texts)
{
    struct type_limits limits = type_limits_default();
    struct place place = {.value = list_try_new(key(), false)};
    for (unsigned i = 0; i < count; i++) {
        CHECK(list_try_push(&place, LIST_TAIL, texts[i], NULL, &limits));
    }
    return place.value;
}

TEST(forms, list_in_its_block)
{
    const struct slice texts[] = {slice_from_text("hello"), slice_from_text("42")};
    struct value *value = list_of(2, texts);
    /* Room for more may follow. */
    CHECK(is_drawn(value_payload_const(value), 14,
                   "02 00 | 0a 00 | 05 'h''e''l''l''o' 06 | e1 2a 02"));
    value_free(value, NULL);
}

#ifndef OURO_HOSTILE /* Whose blobs begin at 41 bytes. */
TEST(forms, longer_elements_of_a_list)
{
    char text[300];
    memset(text, 'x', sizeof(text));
    const struct slice texts[] = {slice_of(text, 300)};
    struct value *value = list_of(1, texts);
    const char *payload = value_payload_const(value);
    CHECK(is_drawn(payload, 8, "01 00 | 32 01 | f0 2c 01 'x'"));
    CHECK(is_drawn(payload + 4 + 303, 3, "2f 01 ff"));
    value_free(value, NULL);
}
#endif

TEST(forms, hash_as_a_pack_and_with_an_expiry)
{
    struct type_limits limits = type_limits_default();
    struct hash_rules rules = {.limits = &limits, .seed = 1};
    struct place place = {.value = hash_try_new(key(), false)};
    struct slice name = slice_from_text("name");
    CHECK(hash_try_put(&place, name, slice_from_text("ouro"), &rules) == HASH_ADDED);
    CHECK(hash_try_put(&place, slice_from_text("age"), slice_from_text("7"), &rules) == HASH_ADDED);
    CHECK(is_payload(place.value, "04 'n''a''m''e' | 04 'o''u''r''o' | 03 'a''g''e' | 87"));
    CHECK(hash_try_set_expire(&place, name, 0x010203040506, &rules));
    CHECK(is_payload(place.value, "06 05 04 03 02 01 .. .. | 04 'n''a''m''e' |"
                                  "ff 06 05 04 03 02 01 | 04 'o''u''r''o' | 03 'a''g''e' | 87"));
    value_free(place.value, NULL);
}

static struct value *set_of(unsigned count, const char *const *texts)
{
    struct type_limits limits = type_limits_default();
    struct set_rules rules = {.limits = &limits, .hash_seed = 1};
    struct set_item first = set_item_of(slice_from_text(texts[0]));
    struct place place = {.value = set_try_new(key(), &first, count, &rules)};
    for (unsigned i = 0; i < count; i++) {
        struct set_item item = set_item_of(slice_from_text(texts[i]));
        CHECK(set_try_add(&place, &item, &rules) == SET_CHANGED);
    }
    return place.value;
}

TEST(forms, sets_of_integers_and_of_texts)
{
    static const char *const integers[] = {"900", "1", "2"};
    static const char *const texts[] = {"a", "b", "2"};
    struct value *value = set_of(3, integers);
    CHECK(is_payload(value, "01 00 | 02 00 | 84 03"));
    value_free(value, NULL);
    value = set_of(3, texts);
    CHECK(is_payload(value, "01 61 | 01 62 | 82"));
    value_free(value, NULL);
}

TEST(forms, sorted_set_as_a_pack)
{
    struct type_limits limits = type_limits_default();
    struct zset_rules rules = {.limits = &limits, .hash_seed = 1};
    struct place place = {.value = zset_try_new(key(), 2, 1, &rules)};
    struct zset_put b = {.member = slice_from_text("b"), .score = 3};
    struct zset_put a = {.member = slice_from_text("a"), .score = 1.5};
    CHECK(zset_try_put(&place, &b, &rules) == ZSET_ADDED);
    CHECK(zset_try_put(&place, &a, &rules) == ZSET_ADDED);
    CHECK(is_payload(place.value, "01 61 | 09 ff 00 00 00 00 00 00 f8 3f | 01 62 | 83"));
    struct zset_put zero = {.member = slice_from_text("b"), .score = -0.0};
    CHECK(zset_try_put(&place, &zero, &rules) == ZSET_CHANGED);
    CHECK(is_payload(place.value, "01 62 | 80 | 01 61 | 09 ff 00 00 00 00 00 00 f8 3f"));
    value_free(place.value, NULL);
}
