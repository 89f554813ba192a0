/* Members of sets, in one canonical form whatever holds them.
 *
 * An item is an integer exactly when its text is a canonical integer (no plus, no leading zero, 64
 * bits), so an integer of a sorted array, a number of a pack and the text of an argument compare as
 * numbers. What is short or a small integer also has a word, which is how a table slot holds it
 * without an allocation:
 *
 *     bit  0      1, which no address has
 *     bit  1      0: integer              1: text
 *     bits 2..47  the integer, signed     bits 2..4 the length (0 to 5), bits 8..47 the bytes
 *
 * Two members are equal exactly when their words are, or when both have none and their texts are
 * equal. */
#include "types/set/set_internal.h"

#include "base/assert.h"
#include "base/num.h"

enum {
    WORD_MARK = 1,
    WORD_TEXT = 2,
    WORD_INT_SHIFT = 2,
    WORD_INT_BITS = 46,
    WORD_TEXT_MAX = 5, /* Bytes of a text. */
    WORD_ENTRY_BITS = 48,
};

static_assert((int)SET_SCRATCH_LEN > (int)NUM_I64_TEXT_MAX, "an integer's text fits");

uint64_t set_word_of_i64(int64_t number)
{
    if (number < -(INT64_C(1) << (WORD_INT_BITS - 1)) || number >= INT64_C(1)
                                                                       << (WORD_INT_BITS - 1)) {
        return 0;
    }
    uint64_t bits = (uint64_t)number << (64 - WORD_INT_BITS) >> (64 - WORD_INT_BITS);
    return bits << WORD_INT_SHIFT | WORD_MARK;
}

uint64_t set_word_of_text(struct slice text)
{
    if (text.len > WORD_TEXT_MAX) {
        return 0;
    }
    uint64_t word = (uint64_t)text.len << 2 | WORD_TEXT | WORD_MARK;
    for (size_t i = 0; i < text.len; i++) {
        word |= (uint64_t)(unsigned char)text.data[i] << (8 * (i + 1));
    }
    return word;
}

bool set_word_is_integer(uint64_t word)
{
    return (word & WORD_TEXT) == 0;
}

int64_t set_word_number(uint64_t word)
{
    return (int64_t)(word << (64 - WORD_ENTRY_BITS)) >> (64 - WORD_INT_BITS);
}

struct slice set_word_text(uint64_t word, struct set_scratch *scratch)
{
    size_t len = (size_t)(word >> 2) & 7;
    for (size_t i = 0; i < len; i++) {
        scratch->text[i] = (char)(unsigned char)(word >> (8 * (i + 1)));
    }
    return slice_of(scratch->text, len);
}

struct set_item set_item_of(struct slice text)
{
    struct set_item item = {.data = text.data, .len = text.len};
    if (item.data == NULL) {
        item.data = "";
    }
    if (text.len <= NUM_I64_TEXT_MAX && num_parse_i64(text, &item.number)) {
        item.is_integer = true;
        item.word = set_word_of_i64(item.number);
    } else {
        item.word = set_word_of_text(text);
    }
    return item;
}

struct set_item set_item_of_i64(int64_t number)
{
    return (struct set_item){.number = number, .is_integer = true, .word = set_word_of_i64(number)};
}

struct slice set_item_text(const struct set_item *item, struct set_scratch *scratch)
{
    if (item->data != NULL) {
        return slice_of(item->data, item->len);
    }
    if (item->is_integer) {
        return slice_of(scratch->text, num_format_i64(scratch->text, item->number));
    }
    DEBUG_ASSERT(item->word != 0);
    return set_word_text(item->word, scratch);
}
