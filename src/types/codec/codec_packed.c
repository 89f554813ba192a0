/* The packed forms that Redis writes small collections in: read, never written.
 *
 *     listpack | bytes u32 | count u16 | entry ... | 255 |
 *              entry: head and bytes, then their length in 7-bit groups
 *     ziplist  | bytes u32 | offset of the last u32 | count u16 | entry ... | 255 |
 *              entry: length of the entry before, head, bytes
 *     intset   | width u32 | count u32 | integers, ascending |
 *     zipmap   | count u8 | (len key len free value free bytes) ... | 255 |
 *
 * Integers are little endian. The bytes may be anyone's: every step checks that it stays inside,
 * and the whole must end where it says. Counts are only hints, as Redis treats them. */
#include <endian.h>

#include "base/num.h"
#include "types/codec/codec_internal.h"

enum {
    PACKED_END = 255,
    LISTPACK_HEAD_LEN = 6,
    ZIPLIST_HEAD_LEN = 10,
    INTSET_HEAD_LEN = 8,
    LONG_LEN = 254, /* ziplist and zipmap: four bytes of length follow. */
};

static uint32_t read_u32(const unsigned char *at)
{
    uint32_t word;
    memcpy(&word, at, 4);
    return le32toh(word);
}

/* An integer of `width` bytes. */
static int64_t read_int(const unsigned char *at, unsigned width)
{
    uint64_t word = 0;
    memcpy(&word, at, width);
    unsigned shift = 64 - width * 8;
    return (int64_t)(le64toh(word) << shift) >> shift;
}

static size_t left_of(const struct packed *packed)
{
    return (size_t)(packed->end - packed->at);
}

static void text_set_number(struct codec_text *text, int64_t number)
{
    text->text = slice_of(text->digits, num_format_i64(text->digits, number));
}

bool packed_open(struct packed *packed, enum packed_form form, struct slice bytes)
{
    const unsigned char *at = (const unsigned char *)bytes.data;
    *packed = (struct packed){.form = form, .at = at, .end = at + bytes.len};
    switch (form) {
    case PACKED_LISTPACK:
        packed->at += LISTPACK_HEAD_LEN;
        return bytes.len > LISTPACK_HEAD_LEN && read_u32(at) == bytes.len;
    case PACKED_ZIPLIST:
        packed->at += ZIPLIST_HEAD_LEN;
        return bytes.len > ZIPLIST_HEAD_LEN && read_u32(at) == bytes.len;
    case PACKED_ZIPMAP:
        packed->at += 1;
        return bytes.len > 1;
    case PACKED_INTSET:
        break;
    }
    if (bytes.len < INTSET_HEAD_LEN) {
        return false;
    }
    packed->at += INTSET_HEAD_LEN;
    packed->width = read_u32(at);
    return (packed->width == 2 || packed->width == 4 || packed->width == 8) &&
           left_of(packed) == (uint64_t)packed->width * read_u32(at + 4);
}

/* ---- Elements: the length of head and bytes, or 0 when they are bad ---- */

/* Takes the text of `len` bytes behind a head of `head_len`. */
static size_t take_text(const struct packed *packed, size_t head_len, size_t len,
                        struct codec_text *text)
{
    if (left_of(packed) < head_len || left_of(packed) - head_len < len) {
        return 0;
    }
    text->text = slice_of(packed->at + head_len, len);
    return head_len + len;
}

static size_t take_int(const struct packed *packed, unsigned width, struct codec_text *text)
{
    if (left_of(packed) < 1 + (size_t)width) {
        return 0;
    }
    text_set_number(text, read_int(packed->at + 1, width));
    return 1 + (size_t)width;
}

static size_t listpack_take(const struct packed *packed, struct codec_text *text)
{
    unsigned head = packed->at[0];
    unsigned next = left_of(packed) > 1 ? packed->at[1] : 0;
    if (head < 0x80) {
        text_set_number(text, head);
        return 1;
    }
    if (head < 0xc0) {
        return take_text(packed, 1, head & 0x3f, text);
    }
    if (head < 0xe0) { /* 13 bits, signed. */
        if (left_of(packed) < 2) {
            return 0;
        }
        int64_t number = (int64_t)((head & 0x1fU) << 8 | next);
        text_set_number(text, number >= 1 << 12 ? number - (1 << 13) : number);
        return 2;
    }
    if (head < 0xf0) {
        return take_text(packed, 2, (head & 0x0fU) << 8 | next, text);
    }
    if (head == 0xf0) {
        return left_of(packed) < 5 ? 0 : take_text(packed, 5, read_u32(packed->at + 1), text);
    }
    static const unsigned char widths[] = {0, 2, 3, 4, 8};
    return head <= 0xf4 ? take_int(packed, widths[head - 0xf0], text) : 0;
}

/* Checks the length that stands behind an element and returns how many bytes it takes; 0: bad. */
static size_t listpack_back(const unsigned char *at, size_t left, size_t len)
{
    size_t bytes = len <= 127 ? 1 : len < 16383 ? 2 : len < 2097151 ? 3 : len < 268435455 ? 4 : 5;
    if (left < bytes) {
        return 0;
    }
    for (size_t i = 0; i < bytes; i++) {
        unsigned group = (unsigned)(len >> (7 * (bytes - 1 - i))) & 127U;
        if (at[i] != (i == 0 ? group : (group | 128U))) {
            return 0;
        }
    }
    return bytes;
}

static bool listpack_next(struct packed *packed, struct codec_text *text)
{
    size_t len = listpack_take(packed, text);
    if (len == 0) {
        return false;
    }
    size_t back_len = listpack_back(packed->at + len, left_of(packed) - len, len);
    packed->at += len + back_len;
    return back_len != 0;
}

static size_t ziplist_take(const struct packed *packed, struct codec_text *text)
{
    if (left_of(packed) == 0) {
        return 0;
    }
    unsigned head = packed->at[0];
    unsigned next = left_of(packed) > 1 ? packed->at[1] : 0;
    switch (head >> 6) {
    case 0:
        return take_text(packed, 1, head & 0x3f, text);
    case 1:
        return take_text(packed, 2, (head & 0x3fU) << 8 | next, text);
    case 2:
        if (left_of(packed) < 5) {
            return 0;
        }
        return take_text(packed, 5, be32toh(htole32(read_u32(packed->at + 1))), text);
    default:
        break;
    }
    switch (head) {
    case 0xc0:
        return take_int(packed, 2, text);
    case 0xd0:
        return take_int(packed, 4, text);
    case 0xe0:
        return take_int(packed, 8, text);
    case 0xf0:
        return take_int(packed, 3, text);
    case 0xfe:
        return take_int(packed, 1, text);
    default:
        break;
    }
    if (head < 0xf1 || head > 0xfd) {
        return 0;
    }
    text_set_number(text, (int64_t)(head & 0x0f) - 1);
    return 1;
}

static bool ziplist_next(struct packed *packed, struct codec_text *text)
{
    const unsigned char *entry = packed->at;
    uint32_t before = *packed->at++;
    if (before == LONG_LEN) {
        if (left_of(packed) < 4) {
            return false;
        }
        before = read_u32(packed->at);
        packed->at += 4;
    }
    if (before != packed->entry_len) {
        return false;
    }
    size_t len = ziplist_take(packed, text);
    packed->at += len;
    packed->entry_len = (uint32_t)(packed->at - entry);
    return len != 0;
}

static bool zipmap_next(struct packed *packed, struct codec_text *text)
{
    uint32_t len = *packed->at++;
    if (len == LONG_LEN) {
        if (left_of(packed) < 4) {
            return false;
        }
        len = read_u32(packed->at);
        packed->at += 4;
    }
    uint32_t free_len = 0;
    if (packed->is_value) {
        if (left_of(packed) == 0) {
            return false;
        }
        free_len = *packed->at++;
    }
    packed->is_value = !packed->is_value;
    if (left_of(packed) < (uint64_t)len + free_len) {
        return false;
    }
    text->text = slice_of(packed->at, len);
    packed->at += len + free_len;
    return true;
}

static bool intset_next(struct packed *packed, struct codec_text *text)
{
    int64_t number = read_int(packed->at, packed->width);
    bool is_ascending = !packed->has_last || number > packed->last_number;
    packed->at += packed->width;
    packed->has_last = true;
    packed->last_number = number;
    text_set_number(text, number);
    return is_ascending;
}

enum codec_result packed_next(struct packed *packed, struct codec_text *text, bool *has_item)
{
    text->owned = NULL;
    *has_item = false;
    if (packed->form == PACKED_INTSET) {
        if (packed->at == packed->end) {
            return CODEC_OK;
        }
        *has_item = true;
        return intset_next(packed, text) ? CODEC_OK : CODEC_BAD;
    }
    if (packed->at >= packed->end) {
        return CODEC_BAD;
    }
    if (*packed->at == PACKED_END) {
        return packed->end - packed->at == 1 && !packed->is_value ? CODEC_OK : CODEC_BAD;
    }
    *has_item = true;
    bool is_good = packed->form == PACKED_LISTPACK  ? listpack_next(packed, text)
                   : packed->form == PACKED_ZIPLIST ? ziplist_next(packed, text)
                                                    : zipmap_next(packed, text);
    return is_good ? CODEC_OK : CODEC_BAD;
}

/* ---- Sources ---- */

enum codec_result source_open_plain(struct source *source, struct codec_reader *reader,
                                    uint64_t per_count)
{
    *source = (struct source){.reader = reader};
    uint64_t count;
    if (!codec_read_len(reader, &count) || count == 0 || count > UINT64_MAX / per_count) {
        return CODEC_BAD;
    }
    source->left = count * per_count;
    return CODEC_OK;
}

enum codec_result source_open_packed(struct source *source, struct codec_reader *reader,
                                     enum packed_form form)
{
    *source = (struct source){.reader = reader, .is_packed = true};
    enum codec_result result = codec_read_text(reader, &source->holder);
    if (result == CODEC_OK && !packed_open(&source->packed, form, source->holder.text)) {
        result = CODEC_BAD;
    }
    return result;
}

void source_close(struct source *source)
{
    codec_text_deinit(&source->holder);
}

enum codec_result source_next(struct source *source, struct codec_text *text, bool *has_item)
{
    if (source->is_packed) {
        return packed_next(&source->packed, text, has_item);
    }
    text->owned = NULL;
    *has_item = source->left > 0;
    if (!*has_item) {
        return CODEC_OK;
    }
    source->left--;
    return codec_read_text(source->reader, text);
}

enum codec_result source_need(struct source *source, struct codec_text *text)
{
    bool has_item;
    enum codec_result result = source_next(source, text, &has_item);
    return result == CODEC_OK && !has_item ? CODEC_BAD : result;
}
