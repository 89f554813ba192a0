/* Packs: byte strings in a row.
 *
 * The first byte of an item tells what it is and how long:
 *
 *     0nnnnnnn                 n bytes of text follow, 0 to 127
 *     10nnnnnn                 the integer n, 0 to 63
 *     110nnnnn  nnnnnnnn       an integer of 13 bits, -4096 to 4095, high bits first
 *     1110wwww  w bytes        an integer of w bytes (2 to 8), least significant byte first
 *     1111wwww  w bytes  text  its length in w bytes (1, 2 or 4), least significant first; then it
 *     11111111  6 bytes  item  a stamp, least significant byte first, and the item that carries it
 *
 * So the pack of "name", "ouro", "age", "7" is 4 n a m e 4 o u r o 3 a g e 0x87: 15 bytes.
 *
 * Costs. A text of up to 127 bytes has 1 byte of overhead, up to 255 two, up to 65,535 three. An
 * integer takes 1 to 9 bytes whatever its digits. Walking is about 2 ns per item; a search compares
 * encoded bytes, so that an integer is found without printing what is there.
 *
 * Invariants (pack_check_bytes tells whether they hold):
 *   1. Items follow each other without gaps and end with the pack.
 *   2. What reads as a canonical decimal integer of 64 bits is stored as an integer.
 *   3. Each item has the shortest form that can hold it. With 2, equal strings have equal bytes.
 *
 * Rejected. Redis's listpack stores each item's length a second time behind it for backward walks,
 * and a header with total length and count: 1 byte more per item and 7 per collection. Packs are
 * short, a walk from the front costs less than a cache miss, and whoever holds a pack knows its
 * length. Four bits of length and four of kind (as in RDB) would make every text above 15 bytes pay
 * a second byte. */
#include "ds/pack.h"

#include <string.h>

#include "base/assert.h"
#include "base/pieces.h"

enum {
    PACK_TEXT_SHORT_MAX = 127,
    PACK_SMALL_TAG = 0x80, /* 10nnnnnn */
    PACK_SMALL_MAX = 63,
    PACK_MIDDLE_TAG = 0xc0, /* 110nnnnn nnnnnnnn */
    PACK_MIDDLE_MIN = -4096,
    PACK_MIDDLE_MAX = 4095,
    PACK_WIDE_TAG = 0xe0, /* 1110wwww */
    PACK_TEXT_TAG = 0xf0, /* 1111wwww */
    PACK_STAMP_TAG = 0xff,
};

/* ---- Little-endian numbers of some bytes ---- */

static uint64_t pack_load(const uint8_t *from, unsigned width)
{
    uint64_t word = 0;
    for (unsigned i = 0; i < width; i++) {
        word |= (uint64_t)from[i] << (8 * i);
    }
    return word;
}

static void pack_store(char *to, uint64_t word, unsigned width)
{
    for (unsigned i = 0; i < width; i++) {
        to[i] = (char)(word >> (8 * i));
    }
}

/* Bytes that hold a number in two's complement, at least 2. */
static unsigned pack_width_i64(int64_t number)
{
    uint64_t magnitude = (uint64_t)(number < 0 ? ~number : number);
    unsigned bits = magnitude == 0 ? 1 : 65 - (unsigned)__builtin_clzll(magnitude);
    return bits <= 16 ? 2 : (bits + 7) / 8;
}

/* Bytes of a long text's length. */
static unsigned pack_width_len(size_t len)
{
    return len <= UINT8_MAX ? 1 : len <= UINT16_MAX ? 2 : 4;
}

/* ---- Reading ---- */

size_t pack_next(struct slice pack, size_t at, struct pack_item *item)
{
    DEBUG_ASSERT(at < pack.len);
    const uint8_t *from = (const uint8_t *)pack.data + at;
    unsigned head = from[0];
    if (head <= PACK_TEXT_SHORT_MAX) {
        *item = (struct pack_item){.data = (const char *)from + 1, .len = head};
        return at + 1 + head;
    }
    if (head < PACK_MIDDLE_TAG) {
        *item = (struct pack_item){.number = head & PACK_SMALL_MAX};
        return at + 1;
    }
    if (head < PACK_WIDE_TAG) {
        int number = (int)((head & 0x1f) << 8 | from[1]);
        *item = (struct pack_item){.number = number > PACK_MIDDLE_MAX ? number - 8192 : number};
        return at + 2;
    }
    if (head == PACK_STAMP_TAG) {
        return pack_next(pack, at + PACK_STAMP_LEN, item);
    }
    unsigned width = head & 15;
    uint64_t word = pack_load(from + 1, width);
    if (head < PACK_TEXT_TAG) {
        unsigned shift = 64 - 8 * width;
        *item = (struct pack_item){.number = (int64_t)(word << shift) >> shift};
        return at + 1 + width;
    }
    *item = (struct pack_item){.data = (const char *)from + 1 + width, .len = word};
    return at + 1 + width + word;
}

/* Bytes of the item that begins here. */
static size_t pack_item_len(const uint8_t *from)
{
    unsigned head = from[0];
    if (head <= PACK_TEXT_SHORT_MAX) {
        return 1 + head;
    }
    if (head < PACK_WIDE_TAG) {
        return head < PACK_MIDDLE_TAG ? 1 : 2;
    }
    if (head == PACK_STAMP_TAG) {
        return PACK_STAMP_LEN + pack_item_len(from + PACK_STAMP_LEN);
    }
    unsigned width = head & 15;
    return 1 + width + (head < PACK_TEXT_TAG ? 0 : pack_load(from + 1, width));
}

size_t pack_skip(struct slice pack, size_t at, size_t count)
{
    for (; count > 0 && at < pack.len; count--) {
        at += pack_item_len((const uint8_t *)pack.data + at);
    }
    return at;
}

size_t pack_count(struct slice pack, size_t at)
{
    size_t count = 0;
    for (; at < pack.len; count++) {
        at += pack_item_len((const uint8_t *)pack.data + at);
    }
    return count;
}

struct slice pack_text(const struct pack_item *item, char digits[PACK_DIGITS])
{
    if (item->data != NULL) {
        return slice_of(item->data, item->len);
    }
    return slice_of(digits, num_format_i64(digits, item->number));
}

/* ---- Writing ---- */

static bool pack_is_integer(struct slice text, int64_t *number)
{
    return text.len > 0 && text.len <= NUM_I64_TEXT_MAX && (unsigned char)text.data[0] <= '9' &&
           num_parse_i64(text, number);
}

size_t pack_size_i64(int64_t number)
{
    if (number >= PACK_MIDDLE_MIN && number <= PACK_MIDDLE_MAX) {
        return number >= 0 && number <= PACK_SMALL_MAX ? 1 : 2;
    }
    return 1 + pack_width_i64(number);
}

size_t pack_size(struct slice text)
{
    int64_t number;
    if (pack_is_integer(text, &number)) {
        return pack_size_i64(number);
    }
    return 1 + text.len + (text.len <= PACK_TEXT_SHORT_MAX ? 0 : pack_width_len(text.len));
}

size_t pack_write_i64(char *to, int64_t number)
{
    if (number >= 0 && number <= PACK_SMALL_MAX) {
        to[0] = (char)(PACK_SMALL_TAG | number);
        return 1;
    }
    if (number >= PACK_MIDDLE_MIN && number <= PACK_MIDDLE_MAX) {
        to[0] = (char)(PACK_MIDDLE_TAG | ((uint64_t)number >> 8 & 0x1f));
        to[1] = (char)number;
        return 2;
    }
    unsigned width = pack_width_i64(number);
    to[0] = (char)(PACK_WIDE_TAG | width);
    pack_store(to + 1, (uint64_t)number, width);
    return 1 + width;
}

/* The header of a text that is no integer. */
static size_t pack_write_head(char *to, size_t len)
{
    if (len <= PACK_TEXT_SHORT_MAX) {
        to[0] = (char)len;
        return 1;
    }
    unsigned width = pack_width_len(len);
    to[0] = (char)(PACK_TEXT_TAG | width);
    pack_store(to + 1, len, width);
    return 1 + width;
}

size_t pack_write(char *to, struct slice text)
{
    int64_t number;
    if (pack_is_integer(text, &number)) {
        return pack_write_i64(to, number);
    }
    size_t head_len = pack_write_head(to, text.len);
    if (text.len > 0) {
        pieces_copy(to + head_len, text.data, text.len);
    }
    return head_len + text.len;
}

void pack_splice(char *data, size_t len, size_t at, size_t old_len, size_t new_len)
{
    DEBUG_ASSERT(at <= len && old_len <= len - at);
    size_t rest = len - at - old_len;
    if (rest > 0 && old_len != new_len) {
        memmove(data + at + new_len, data + at + old_len, rest);
    }
}

/* ---- Searching: what is wanted is encoded once, then bytes are compared ---- */

struct pack_wanted pack_want(struct slice text)
{
    struct pack_wanted wanted = {.text = text};
    int64_t number;
    if (pack_is_integer(text, &number)) {
        wanted.head_len = (uint8_t)pack_write_i64(wanted.head, number);
        wanted.text.len = 0;
    } else {
        wanted.head_len = (uint8_t)pack_write_head(wanted.head, text.len);
    }
    return wanted;
}

size_t pack_find(struct slice pack, size_t at, struct slice text, size_t stride, size_t *index)
{
    struct pack_wanted wanted = pack_want(text);
    size_t walked = 0;
    size_t found = PACK_NONE;
    while (at < pack.len) {
        if (pack_matches(pack.data + at, &wanted)) {
            found = at;
            break;
        }
        at = pack_skip(pack, at, stride);
        walked++;
    }
    if (index != NULL) {
        *index = walked;
    }
    return found;
}

bool pack_is(struct slice pack, size_t at, struct slice text)
{
    struct pack_wanted wanted = pack_want(text);
    return pack_matches(pack.data + at, &wanted);
}

/* ---- Stamps ---- */

int64_t pack_stamp(struct slice pack, size_t at)
{
    const uint8_t *from = (const uint8_t *)pack.data + at;
    return from[0] == PACK_STAMP_TAG ? (int64_t)pack_load(from + 1, PACK_STAMP_LEN - 1) : -1;
}

void pack_write_stamp(char *to, int64_t stamp)
{
    to[0] = (char)PACK_STAMP_TAG;
    pack_store(to + 1, (uint64_t)stamp, PACK_STAMP_LEN - 1);
}

/* ---- Checking ---- */

/* Whether the item that begins at `at` ends within the pack. */
static bool pack_item_fits(struct slice pack, size_t at)
{
    const uint8_t *from = (const uint8_t *)pack.data + at;
    size_t rest = pack.len - at;
    unsigned head = from[0];
    if (head < PACK_WIDE_TAG) {
        return pack_item_len(from) <= rest;
    }
    unsigned width = head & 15;
    bool is_known =
        head < PACK_TEXT_TAG ? width >= 2 && width <= 8 : width == 1 || width == 2 || width == 4;
    return is_known && 1 + width <= rest && pack_item_len(from) <= rest;
}

/* Whether this is the form in which the item's text would be written. */
static bool pack_item_is_canonical(const char *from, const struct pack_item *item)
{
    char head[2 * PACK_HEAD_MAX]; /* Half would do; gcc 12 cannot see it. */
    int64_t number;
    size_t head_len;
    if (item->data == NULL) {
        head_len = pack_write_i64(head, item->number);
    } else if (pack_is_integer(slice_of(item->data, item->len), &number)) {
        return false;
    } else {
        head_len = pack_write_head(head, item->len);
    }
    return memcmp(from, head, head_len) == 0;
}

bool pack_check_bytes(struct slice pack, size_t *count)
{
    *count = 0;
    for (size_t at = 0; at < pack.len;) {
        if ((uint8_t)pack.data[at] == PACK_STAMP_TAG) {
            at += PACK_STAMP_LEN;
        }
        if (at >= pack.len || !pack_item_fits(pack, at)) {
            return false;
        }
        struct pack_item item;
        size_t next = pack_next(pack, at, &item);
        if (!pack_item_is_canonical(pack.data + at, &item)) {
            return false;
        }
        at = next;
        *count += 1;
    }
    return true;
}
