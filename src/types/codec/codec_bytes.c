/* The letters of the dump format: lengths and strings.
 *
 *     00xxxxxx                      a length below 64
 *     01xxxxxx xxxxxxxx             below 16,384
 *     10000000 u32 big endian       10000001 u64 big endian
 *     11000000 i8                   strings only: an integer in 1, 2 or 4 bytes, little endian
 *     11000001 i16
 *     11000010 i32
 *     11000011 len len bytes        LZF: packed length, length, packed bytes
 *
 * A string is a length and its bytes, or one of the last four. Integers are written in their short
 * form where Redis does so; nothing is compressed.
 *
 * Nothing that is read is believed: a length is at most what is left, and what LZF unpacks to at
 * most what so many packed bytes can make. */
#include <endian.h>
#include <lzf.h>

#include "base/fiber.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/pieces.h"
#include "types/codec/codec_internal.h"

enum {
    LZF_RATIO_MAX = 264,   /* Three bytes make at most 264. */
    INT_TEXT_LEN_MAX = 11, /* "-2147483648" */
    OUT_CAP_MIN = 64,
};

/* ---- Writing ---- */

void codec_out_deinit(struct codec_out *out)
{
    if (out->blob != NULL) {
        blob_drop(out->blob);
        out->blob = NULL;
    }
}

static bool out_reserve(struct codec_out *out, size_t more)
{
    struct blob *blob = out->blob;
    if (out->is_failed) {
        return false;
    }
    size_t len = blob == NULL ? 0 : blob->len;
    if (blob != NULL && blob->cap - len >= more) {
        return true;
    }
    size_t cap = len + more;
    cap += cap / 2 + OUT_CAP_MIN;
    blob = blob == NULL ? blob_try_new(cap) : blob_try_resize(blob, cap);
    if (blob == NULL) {
        out->is_failed = true;
        return false;
    }
    out->blob = blob;
    return true;
}

void codec_out_bytes(struct codec_out *out, struct slice bytes)
{
    if (out->sink != NULL) {
        out->sink->bytes(out->sink, bytes);
        return;
    }
    if (bytes.len > 0 && out_reserve(out, bytes.len)) {
        pieces_copy(out->blob->bytes + out->blob->len, bytes.data, bytes.len);
        out->blob->len += bytes.len;
    }
}

size_t codec_put_len(char to[CODEC_LEN_MAX], uint64_t len)
{
    if (len < 64) {
        to[0] = (char)len;
        return 1;
    }
    if (len < 16384) {
        to[0] = (char)(0x40 | len >> 8);
        to[1] = (char)len;
        return 2;
    }
    if (len <= UINT32_MAX) {
        uint32_t word = htobe32((uint32_t)len);
        to[0] = (char)0x80;
        memcpy(to + 1, &word, 4);
        return 5;
    }
    uint64_t word = htobe64(len);
    to[0] = (char)0x81;
    memcpy(to + 1, &word, 8);
    return 9;
}

void codec_out_len(struct codec_out *out, uint64_t len)
{
    char bytes[CODEC_LEN_MAX];
    codec_out_bytes(out, slice_of(bytes, codec_put_len(bytes, len)));
}

void codec_out_u64(struct codec_out *out, uint64_t word)
{
    word = htole64(word);
    codec_out_bytes(out, slice_of(&word, sizeof(word)));
}

static void out_integer(struct codec_out *out, int64_t number)
{
    unsigned step = number >= INT8_MIN && number <= INT8_MAX     ? 0
                    : number >= INT16_MIN && number <= INT16_MAX ? 1
                                                                 : 2;
    uint32_t word = htole32((uint32_t)number);
    char bytes[5] = {(char)(0xc0 | step)};
    memcpy(bytes + 1, &word, 4);
    codec_out_bytes(out, slice_of(bytes, 1 + ((size_t)1 << step)));
}

void codec_out_text(struct codec_out *out, struct slice text)
{
    int64_t number;
    if (text.len <= INT_TEXT_LEN_MAX && num_parse_i64(text, &number) && number >= INT32_MIN &&
        number <= INT32_MAX) {
        out_integer(out, number);
        return;
    }
    if (out->sink != NULL && text.len > CODEC_TEXT_SHORT_MAX) {
        out->sink->text(out->sink, text, NULL);
        return;
    }
    codec_out_len(out, text.len);
    codec_out_bytes(out, text);
}

void codec_out_blob(struct codec_out *out, struct blob *blob)
{
    if (out->sink != NULL && blob->len > CODEC_TEXT_SHORT_MAX) {
        out->sink->text(out->sink, blob_slice(blob), blob);
    } else {
        codec_out_text(out, blob_slice(blob));
    }
}

/* ---- Reading ---- */

static bool read_bytes(struct codec_reader *reader, void *to, size_t len)
{
    if (!reader_has(reader, len)) {
        return false;
    }
    memcpy(to, reader->at, len);
    reader->at += len;
    return true;
}

bool codec_read_u64(struct codec_reader *reader, uint64_t *word)
{
    bool is_read = read_bytes(reader, word, sizeof(*word));
    *word = is_read ? le64toh(*word) : 0;
    return is_read;
}

/* A length, or with *is_special the number of a string's special form. */
static bool read_len(struct codec_reader *reader, uint64_t *len, bool *is_special)
{
    unsigned char head[2];
    *is_special = false;
    if (!read_bytes(reader, head, 1)) {
        return false;
    }
    unsigned low = head[0] & 0x3fU;
    switch (head[0] >> 6) {
    case 0:
        *len = low;
        return true;
    case 1:
        *len = low << 8;
        if (!read_bytes(reader, head + 1, 1)) {
            return false;
        }
        *len |= head[1];
        return true;
    case 3:
        *len = low;
        *is_special = true;
        return true;
    default:
        break;
    }
    uint64_t word = 0;
    if (head[0] == 0x80) {
        uint32_t half;
        if (!read_bytes(reader, &half, 4)) {
            return false;
        }
        *len = be32toh(half);
        return true;
    }
    if (head[0] != 0x81 || !read_bytes(reader, &word, 8)) {
        return false;
    }
    *len = be64toh(word);
    return true;
}

bool codec_read_len(struct codec_reader *reader, uint64_t *len)
{
    bool is_special;
    return read_len(reader, len, &is_special) && !is_special;
}

static enum codec_result read_integer(struct codec_reader *reader, unsigned step,
                                      struct codec_text *text)
{
    uint32_t word = 0;
    unsigned len = 1U << step;
    if (!read_bytes(reader, &word, len)) {
        return CODEC_BAD;
    }
    unsigned shift = 32 - len * 8;
    int32_t number = (int32_t)(le32toh(word) << shift) >> shift;
    text->text = slice_of(text->digits, num_format_i64(text->digits, number));
    return CODEC_OK;
}

/* A long text: what lzf_decompress does, with breaths in between. False: the bytes are bad.
 *
 *     000nnnnn  n + 1 bytes as they are         lllddddd [more] dd   l + 2 bytes from d + 1 back */
static bool unpack_long(struct slice packed, char *bytes, size_t len)
{
    const unsigned char *from = (const unsigned char *)packed.data;
    const unsigned char *end = from + packed.len;
    size_t at = 0;
    size_t breath = PIECE_LEN;
    while (from < end) {
        size_t control = *from++;
        if (control < 32) {
            size_t count = control + 1;
            if (count > (size_t)(end - from) || count > len - at) {
                return false;
            }
            memcpy(bytes + at, from, count);
            from += count;
            at += count;
            continue;
        }
        size_t count = control >> 5;
        if ((size_t)(end - from) < (count == 7 ? 2U : 1U)) {
            return false;
        }
        count += 2U + (count == 7 ? *from++ : 0U);
        size_t back = ((control & 31) << 8) + *from++ + 1U;
        if (back > at || count > len - at) {
            return false;
        }
        for (; count > 0; count--, at++) { /* They may overlap. */
            bytes[at] = bytes[at - back];
        }
        if (at >= breath) {
            breath = at + PIECE_LEN;
            fiber_breathe();
        }
    }
    return at == len;
}

static bool unpack(struct slice packed, char *bytes, size_t len)
{
    if (len > PIECE_LEN) {
        return unpack_long(packed, bytes, len);
    }
    return lzf_decompress(packed.data, (unsigned)packed.len, bytes, (unsigned)len) == len;
}

static enum codec_result read_lzf(struct codec_reader *reader, struct codec_text *text)
{
    uint64_t packed_len;
    uint64_t len;
    if (!codec_read_len(reader, &packed_len) || !codec_read_len(reader, &len)) {
        return CODEC_BAD;
    }
    if (packed_len == 0 || len == 0 || packed_len > UINT32_MAX ||
        len > packed_len * LZF_RATIO_MAX || len > UINT32_MAX || !reader_has(reader, packed_len)) {
        return CODEC_BAD;
    }
    char *bytes = mem_try_alloc(len);
    if (bytes == NULL) {
        return CODEC_NO_MEMORY;
    }
    if (!unpack(slice_of(reader->at, packed_len), bytes, len)) {
        mem_free(bytes);
        return CODEC_BAD;
    }
    reader->at += packed_len;
    text->owned = bytes;
    text->text = slice_of(bytes, len);
    return CODEC_OK;
}

enum codec_result codec_read_text(struct codec_reader *reader, struct codec_text *text)
{
    uint64_t len;
    bool is_special;
    text->owned = NULL;
    if (!read_len(reader, &len, &is_special)) {
        return CODEC_BAD;
    }
    if (is_special) {
        if (len < 3) {
            return read_integer(reader, (unsigned)len, text);
        }
        return len == 3 ? read_lzf(reader, text) : CODEC_BAD;
    }
    if (!reader_has(reader, len)) {
        return CODEC_BAD;
    }
    text->text = slice_of(reader->at, len);
    reader->at += len;
    return CODEC_OK;
}

void codec_text_deinit(struct codec_text *text)
{
    mem_free(text->owned);
    text->owned = NULL;
}
