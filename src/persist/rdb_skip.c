/* Stepping over values.
 *
 *     stream    nodes of (id text, listpack text); length, last id; [first id, greatest deleted id,
 *               added]; groups of (name, last id, [read], pending of (id 16, ms 8, count),
 *               consumers of (name, seen 8, [active 8], ids 16))
 *     module    id; then words, each with its kind in front: integer, float, double, text, end
 *     hash with fields that expire      [least ms 8] count of (ms, field, value), or a listpack
 *
 * Counts and moments without a number of bytes are lengths. What is in brackets came with a later
 * type. Texts are checked as they are stepped over; what listpacks hold is not looked at. */
#include "persist/rdb_skip.h"

#include "types/codec/codec.h"

enum {
    TYPE_MODULE_OLD = 6,
    TYPE_MODULE = 7,
    TYPE_STREAM = 15,
    TYPE_STREAM_2 = 19,
    TYPE_STREAM_3 = 21,
    TYPE_HASH_EXPIRING_OLD = 22,
    TYPE_HASH_EXPIRING_PACK_OLD = 23,
    TYPE_HASH_EXPIRING = 24,
    TYPE_HASH_EXPIRING_PACK = 25,
};

enum { STREAM_ID_LEN = 16, MOMENT_LEN = 8 };

/* Kinds of a module's words. */
enum { MODULE_END, MODULE_SIGNED, MODULE_UNSIGNED, MODULE_FLOAT, MODULE_DOUBLE, MODULE_TEXT };

const char *rdb_type_name(unsigned type)
{
    switch (type) {
    case TYPE_MODULE_OLD:
        return "value of a module in a form of release candidates";
    case TYPE_MODULE:
        return "value of a module";
    case TYPE_STREAM:
    case TYPE_STREAM_2:
    case TYPE_STREAM_3:
        return "stream";
    case TYPE_HASH_EXPIRING_OLD:
    case TYPE_HASH_EXPIRING_PACK_OLD:
    case TYPE_HASH_EXPIRING:
    case TYPE_HASH_EXPIRING_PACK:
        return "hash with fields that expire";
    default:
        return "value of an unknown type";
    }
}

void rdb_module_name(uint64_t id, char name[RDB_MODULE_NAME_LEN + 1])
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    id >>= 10; /* The version of its data. */
    for (int i = RDB_MODULE_NAME_LEN - 1; i >= 0; i--) {
        name[i] = letters[id & 63];
        id >>= 6;
    }
    name[RDB_MODULE_NAME_LEN] = '\0';
}

/* ---- Letters ---- */

static bool skip_bytes(struct codec_reader *reader, uint64_t len)
{
    uint64_t left = (uint64_t)(reader->end - reader->at);
    if (len > left) {
        reader->missing = len - left;
        return false;
    }
    reader->at += len;
    return true;
}

static bool skip_lens(struct codec_reader *reader, unsigned count)
{
    uint64_t len;
    for (; count > 0; count--) {
        if (!codec_read_len(reader, &len)) {
            return false;
        }
    }
    return true;
}

static bool skip_text(struct codec_reader *reader)
{
    struct codec_text text;
    if (codec_read_text(reader, &text) != CODEC_OK) {
        return false;
    }
    codec_text_deinit(&text);
    return true;
}

static bool skip_texts(struct codec_reader *reader, unsigned count)
{
    for (; count > 0; count--) {
        if (!skip_text(reader)) {
            return false;
        }
    }
    return true;
}

/* ---- Modules ---- */

enum codec_result rdb_skip_module(struct codec_reader *reader)
{
    uint64_t kind;
    for (;;) {
        bool is_good = codec_read_len(reader, &kind);
        if (!is_good) {
            return CODEC_BAD;
        }
        switch (kind) {
        case MODULE_END:
            return CODEC_OK;
        case MODULE_SIGNED:
        case MODULE_UNSIGNED:
            is_good = skip_lens(reader, 1);
            break;
        case MODULE_FLOAT:
            is_good = skip_bytes(reader, sizeof(float));
            break;
        case MODULE_DOUBLE:
            is_good = skip_bytes(reader, sizeof(double));
            break;
        case MODULE_TEXT:
            is_good = skip_text(reader);
            break;
        default:
            return CODEC_BAD;
        }
        if (!is_good) {
            return CODEC_BAD;
        }
    }
}

/* ---- Streams ---- */

static bool skip_pending(struct codec_reader *reader)
{
    uint64_t count;
    if (!codec_read_len(reader, &count)) {
        return false;
    }
    for (; count > 0; count--) {
        if (!skip_bytes(reader, STREAM_ID_LEN + MOMENT_LEN) || !skip_lens(reader, 1)) {
            return false;
        }
    }
    return true;
}

static bool skip_consumers(struct codec_reader *reader, unsigned type)
{
    uint64_t count;
    if (!codec_read_len(reader, &count)) {
        return false;
    }
    for (; count > 0; count--) {
        uint64_t pending;
        if (!skip_text(reader) ||
            !skip_bytes(reader, type == TYPE_STREAM_3 ? 2 * MOMENT_LEN : MOMENT_LEN) ||
            !codec_read_len(reader, &pending) || pending > UINT64_MAX / STREAM_ID_LEN ||
            !skip_bytes(reader, pending * STREAM_ID_LEN)) {
            return false;
        }
    }
    return true;
}

static bool skip_stream(struct codec_reader *reader, unsigned type)
{
    uint64_t nodes;
    uint64_t groups;
    if (!codec_read_len(reader, &nodes)) {
        return false;
    }
    for (; nodes > 0; nodes--) {
        if (!skip_texts(reader, 2)) {
            return false;
        }
    }
    /* Length and last id; the first, the greatest deleted and how many were added. */
    if (!skip_lens(reader, type == TYPE_STREAM ? 3 : 8) || !codec_read_len(reader, &groups)) {
        return false;
    }
    for (; groups > 0; groups--) {
        if (!skip_text(reader) || !skip_lens(reader, type == TYPE_STREAM ? 2 : 3) ||
            !skip_pending(reader) || !skip_consumers(reader, type)) {
            return false;
        }
    }
    return true;
}

/* ---- Hashes with fields that expire ---- */

static bool skip_expiring_fields(struct codec_reader *reader)
{
    uint64_t count;
    if (!codec_read_len(reader, &count)) {
        return false;
    }
    for (; count > 0; count--) {
        if (!skip_lens(reader, 1) || !skip_texts(reader, 2)) {
            return false;
        }
    }
    return true;
}

enum codec_result rdb_skip_value(struct codec_reader *reader, unsigned type)
{
    switch (type) {
    case TYPE_MODULE:
        return skip_lens(reader, 1) ? rdb_skip_module(reader) : CODEC_BAD;
    case TYPE_STREAM:
    case TYPE_STREAM_2:
    case TYPE_STREAM_3:
        return skip_stream(reader, type) ? CODEC_OK : CODEC_BAD;
    case TYPE_HASH_EXPIRING_OLD:
        return skip_expiring_fields(reader) ? CODEC_OK : CODEC_BAD;
    case TYPE_HASH_EXPIRING:
        return skip_bytes(reader, MOMENT_LEN) && skip_expiring_fields(reader) ? CODEC_OK
                                                                              : CODEC_BAD;
    case TYPE_HASH_EXPIRING_PACK_OLD:
        return skip_text(reader) ? CODEC_OK : CODEC_BAD;
    case TYPE_HASH_EXPIRING_PACK:
        return skip_bytes(reader, MOMENT_LEN) && skip_text(reader) ? CODEC_OK : CODEC_BAD;
    default:
        return CODEC_BAD;
    }
}
