/* A pull parser for RDB files. The words are in rdb_format.h.
 *
 *            feed                          next
 *     file ---------> | window of bytes | --------> items: a key and its value, an AUX field, ...
 *                      ^used  ^at     ^end
 *
 * The window is the caller's memory. A record (an opcode and what belongs to it) that does not lie
 * in the window whole is not begun: the reader stays before it and asks for more. There is one
 * exception: the elements of a large value are read as they come (types/codec/codec_build.c), so a
 * list of a gigabyte needs a window no larger than its longest element. Between feeds nothing of
 * the window is remembered but places in it.
 *
 * Expiry and hints are records of their own in front of a key; they are kept until it comes.
 *
 * Lies. No length is believed. The reader allocates nothing on its own account; the codec makes
 * values from bytes that are there. A length beyond the end of the file, where that is known, is
 * refused at once instead of asking for bytes that will not come.
 *
 * Costs. The checksum is 0.2 to 0.8 ns per byte, taken once per feed over what was used; a key of a
 * short string is some 60 ns of letters and its block.
 *
 * Invariants:
 *   1. `summed` is never behind a place to which the reader may go back.
 *   2. At RDB_NEEDS_BYTES the reader stands at the beginning of a record, or of an element.
 *   3. While is_building the builder's value has at least one element, so its key is safe in it. */
#include "persist/rdb_read.h"

#include <endian.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/crc.h"
#include "persist/rdb_format.h"
#include "persist/rdb_skip.h"

enum {
    PHASE_HEAD,
    PHASE_BODY,
    PHASE_FOOT,
    PHASE_END,
    PHASE_FAILED,
};

enum {
    VERSION_WITH_SUM = 5, /* Since when a checksum follows the end. */
    TYPE_MODULE = 7,
    KEY_SHOWN_MAX = 64, /* Bytes of a key in an error. */
    MODULE_WORD_UNSIGNED = 2,
};

/* What a record made of itself: an item, or no item yet. */
enum { RECORD_IS_ATTRIBUTE = -1, RECORD_IS_BAD = -2 };

/* ---- Life ---- */

void rdb_reader_init(struct rdb_reader *reader, const struct rdb_reader_options *options)
{
    *reader = (struct rdb_reader){.options = *options, .phase = PHASE_HEAD};
    reader->expire_ms = reader->idle_s = reader->frequency = -1;
}

static void drop_texts(struct rdb_reader *reader)
{
    codec_text_deinit(&reader->first);
    codec_text_deinit(&reader->second);
}

void rdb_reader_deinit(struct rdb_reader *reader)
{
    drop_texts(reader);
    if (reader->is_building) {
        codec_build_drop(&reader->builder);
        reader->is_building = false;
    }
}

static void sum_up(struct rdb_reader *reader)
{
    if (reader->options.is_summing && reader->in.at != reader->summed) {
        reader->sum =
            crc64(reader->sum, slice_of(reader->summed, (size_t)(reader->in.at - reader->summed)));
    }
    reader->summed = reader->in.at;
}

void rdb_reader_feed(struct rdb_reader *reader, struct slice bytes)
{
    drop_texts(reader); /* They may lie in the old window. */
    sum_up(reader);
    reader->window_offset = rdb_reader_offset(reader);
    reader->window = reader->summed = reader->in.at = bytes.data;
    reader->in.end = bytes.data + bytes.len;
}

/* ---- Failure ---- */

static uint64_t offset_of(const struct rdb_reader *reader, const char *at)
{
    return reader->window_offset + (uint64_t)(at - reader->window);
}

static enum rdb_event fail_at(struct rdb_reader *reader, const char *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static enum rdb_event fail_at(struct rdb_reader *reader, const char *at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(reader->error, sizeof(reader->error), format, args);
    va_end(args);
    reader->error_offset = offset_of(reader, at);
    reader->phase = PHASE_FAILED;
    return RDB_FAILED;
}

/* The key in quotes, cut where it is long. */
static void quote_key(struct buf *text, struct slice key)
{
    buf_init(text);
    buf_append_quoted(text, slice_part(key, 0, KEY_SHOWN_MAX));
    buf_append_text(text, key.len > KEY_SHOWN_MAX ? "..." : "");
    buf_append_byte(text, '\0');
}

static enum rdb_event fail_key(struct rdb_reader *reader, const char *at, struct slice key,
                               const char *reason)
{
    struct buf text;
    quote_key(&text, key);
    fail_at(reader, at, "%s, in the value of key %s", reason, text.data);
    buf_deinit(&text);
    return RDB_FAILED;
}

/* The key of the record that the reader stands before, when it is one of a key and that is there.
 */
static bool peek_key(const struct rdb_reader *reader, struct codec_text *text)
{
    struct codec_reader in = reader->in;
    if (reader->phase != PHASE_BODY || in.at == in.end ||
        (unsigned char)*in.at++ >= RDB_OP_SLOT_INFO) {
        return false;
    }
    return codec_read_text(&in, text) == CODEC_OK;
}

enum rdb_event rdb_reader_end_early(struct rdb_reader *reader)
{
    struct codec_text text = {.owned = NULL};
    struct buf key;
    if (reader->phase == PHASE_FAILED) {
        return RDB_FAILED;
    }
    bool has_key = reader->is_building;
    if (has_key) {
        text.text = value_key(reader->builder.place.value);
    } else {
        has_key = peek_key(reader, &text);
    }
    quote_key(&key, has_key ? text.text : slice_of("", 0));
    const char *what = has_key                       ? "key "
                       : reader->phase == PHASE_HEAD ? "the magic word"
                       : reader->phase == PHASE_FOOT ? "the checksum"
                                                     : "a record";
    fail_at(reader, reader->in.at,
            "the file ends early, at least %llu bytes too soon, inside of %s%s",
            (unsigned long long)(reader->in.missing > 0 ? reader->in.missing : 1), what,
            has_key ? key.data : "");
    codec_text_deinit(&text);
    buf_deinit(&key);
    return RDB_FAILED;
}

/* More bytes are needed; fails when it is known that they do not come. */
static enum rdb_event ask(struct rdb_reader *reader)
{
    uint64_t have = offset_of(reader, reader->in.end);
    if (reader->options.len != 0 &&
        (have >= reader->options.len || reader->in.missing > reader->options.len - have)) {
        return rdb_reader_end_early(reader);
    }
    return RDB_NEEDS_BYTES;
}

/* ---- Letters ---- */

static bool has(struct rdb_reader *reader, uint64_t len)
{
    uint64_t left = (uint64_t)(reader->in.end - reader->in.at);
    if (len <= left) {
        return true;
    }
    reader->in.missing = len - left;
    return false;
}

static bool read_u64(struct rdb_reader *reader, uint64_t *word)
{
    if (!has(reader, sizeof(*word))) {
        return false;
    }
    memcpy(word, reader->in.at, sizeof(*word));
    *word = le64toh(*word);
    reader->in.at += sizeof(*word);
    return true;
}

static bool read_text(struct rdb_reader *reader, struct codec_text *text, struct slice *out)
{
    if (codec_read_text(&reader->in, text) != CODEC_OK) {
        return false;
    }
    *out = text->text;
    return true;
}

/* ---- Records: an event, RECORD_IS_ATTRIBUTE, or RECORD_IS_BAD (also when it is not whole) ---- */

static int read_expiry(struct rdb_reader *reader, bool is_ms)
{
    uint64_t word = 0;
    if (is_ms) {
        if (!read_u64(reader, &word)) {
            return RECORD_IS_BAD;
        }
        reader->expire_ms = (int64_t)word < 0 ? 0 : (int64_t)word;
        return RECORD_IS_ATTRIBUTE;
    }
    uint32_t seconds;
    if (!has(reader, sizeof(seconds))) {
        return RECORD_IS_BAD;
    }
    memcpy(&seconds, reader->in.at, sizeof(seconds));
    reader->in.at += sizeof(seconds);
    int32_t signed_seconds = (int32_t)le32toh(seconds);
    reader->expire_ms = signed_seconds < 0 ? 0 : (int64_t)signed_seconds * 1000;
    return RECORD_IS_ATTRIBUTE;
}

static int read_frequency(struct rdb_reader *reader)
{
    if (!has(reader, 1)) {
        return RECORD_IS_BAD;
    }
    reader->frequency = (unsigned char)*reader->in.at++;
    return RECORD_IS_ATTRIBUTE;
}

static int read_idle(struct rdb_reader *reader)
{
    uint64_t idle_s;
    if (!codec_read_len(&reader->in, &idle_s)) {
        return RECORD_IS_BAD;
    }
    reader->idle_s = idle_s > INT64_MAX ? INT64_MAX : (int64_t)idle_s;
    return RECORD_IS_ATTRIBUTE;
}

static int read_numbers(struct rdb_reader *reader, struct rdb_item *item, unsigned count, int event)
{
    for (unsigned i = 0; i < count; i++) {
        if (!codec_read_len(&reader->in, &item->numbers[i])) {
            return RECORD_IS_BAD;
        }
    }
    return event;
}

static int read_module(struct rdb_reader *reader, struct rdb_item *item)
{
    const char *start = reader->in.at - 1;
    uint64_t id;
    uint64_t when;
    if (!codec_read_len(&reader->in, &id) || !codec_read_len(&reader->in, &when)) {
        return RECORD_IS_BAD;
    }
    rdb_module_name(id, reader->module_name);
    if (!reader->options.skips_foreign) {
        return (int)fail_at(reader, start, "data of the module '%s', which does not exist here",
                            reader->module_name);
    }
    if (when != MODULE_WORD_UNSIGNED || !codec_read_len(&reader->in, &when) ||
        rdb_skip_module(&reader->in) != CODEC_OK) {
        return RECORD_IS_BAD;
    }
    item->name = slice_from_text(reader->module_name);
    return RDB_MODULE_AUX;
}

static int read_opcode(struct rdb_reader *reader, struct rdb_item *item, unsigned opcode)
{
    const char *start = reader->in.at - 1;
    switch (opcode) {
    case RDB_OP_EXPIRE_MS:
    case RDB_OP_EXPIRE_S:
        return read_expiry(reader, opcode == RDB_OP_EXPIRE_MS);
    case RDB_OP_FREQ:
        return read_frequency(reader);
    case RDB_OP_IDLE:
        return read_idle(reader);
    case RDB_OP_AUX:
        return read_text(reader, &reader->first, &item->name) &&
                       read_text(reader, &reader->second, &item->text)
                   ? RDB_AUX
                   : RECORD_IS_BAD;
    case RDB_OP_SELECT_DB:
        return read_numbers(reader, item, 1, RDB_DB);
    case RDB_OP_RESIZE_DB:
        return read_numbers(reader, item, 2, RDB_DB_SIZE);
    case RDB_OP_SLOT_INFO:
        return read_numbers(reader, item, 3, RDB_SLOT);
    case RDB_OP_FUNCTION:
        return read_text(reader, &reader->first, &item->text) ? RDB_FUNCTION : RECORD_IS_BAD;
    case RDB_OP_FUNCTION_OLD:
        return (int)fail_at(reader, start,
                            "a function in a form that only release candidates of 7.0 wrote");
    case RDB_OP_MODULE_AUX:
        return read_module(reader, item);
    default:
        DEBUG_ASSERT(opcode == RDB_OP_EOF);
        reader->phase = PHASE_FOOT;
        return RECORD_IS_ATTRIBUTE;
    }
}

/* ---- Values ---- */

/* The key's own bytes end here: whatever was said of it is said. */
static void forget_entry(struct rdb_reader *reader)
{
    reader->expire_ms = reader->idle_s = reader->frequency = -1;
    reader->has_entry = false;
}

static void describe(struct rdb_reader *reader, struct rdb_item *item)
{
    item->expire_ms = reader->expire_ms;
    item->idle_s = reader->idle_s;
    item->frequency = reader->frequency;
    item->type = reader->builder.type;
    item->offset = reader->entry_offset;
    item->len = rdb_reader_offset(reader) - reader->entry_offset;
    forget_entry(reader);
}

/* A type that the codec does not read: steps over it, or refuses it by name. `start` is where its
 * type stands and `at` where its value does. */
static int read_foreign(struct rdb_reader *reader, struct rdb_item *item, struct slice key,
                        const char *start)
{
    unsigned type = reader->builder.type;
    const char *at = reader->in.at;
    item->name = slice_from_text(rdb_type_name(type));
    if (reader->options.skips_foreign) {
        if (rdb_skip_value(&reader->in, type) != CODEC_OK) {
            if (reader->in.missing == 0) {
                fail_key(reader, start, key, item->name.data);
            }
            return RECORD_IS_BAD;
        }
        item->key = key;
        describe(reader, item);
        return RDB_SKIPPED;
    }
    struct buf text;
    uint64_t id = 0;
    quote_key(&text, key);
    if (type == TYPE_MODULE && !codec_read_len(&reader->in, &id)) {
        buf_deinit(&text);
        return RECORD_IS_BAD;
    }
    reader->in.at = at;
    rdb_module_name(id, reader->module_name);
    bool is_module = type == TYPE_MODULE;
    fail_at(reader, start, "key %s is a %s%s%s (type %u), which does not exist here", text.data,
            item->name.data, is_module ? " named " : "", is_module ? reader->module_name : "",
            type);
    buf_deinit(&text);
    return RDB_FAILED;
}

/* One step of the builder. `start` is where the key's type stands; `key` is empty when the value
 * has elements already. */
static int build(struct rdb_reader *reader, struct rdb_item *item, struct slice key,
                 const char *start)
{
    uint64_t count = reader->options.elements_max == 0 ? UINT64_MAX : reader->options.elements_max;
    const char *value_at = reader->in.at;
    reader->in.is_type_foreign = false;
    enum codec_build built =
        codec_build_step(&reader->builder, &reader->in, key, count, &item->value);
    reader->is_building = reader->builder.place.value != NULL;
    switch (built) {
    case CODEC_BUILT:
        item->key = value_key(item->value);
        describe(reader, item);
        return RDB_VALUE;
    case CODEC_GOES_ON:
        return RDB_PAUSED;
    case CODEC_SHORT:
        return RECORD_IS_BAD;
    case CODEC_FULL:
        return (int)fail_key(reader, start, key, "memory does not suffice");
    case CODEC_BROKEN:
        break;
    }
    if (reader->in.is_type_foreign) {
        reader->in.at = value_at;
        return read_foreign(reader, item, key, start);
    }
    return (int)fail_key(reader, reader->in.at, key, "bytes that make no sense");
}

static int begin_value(struct rdb_reader *reader, struct rdb_item *item, unsigned type)
{
    const char *start = reader->in.at - 1;
    struct slice key;
    if (!reader->has_entry) {
        reader->entry_offset = offset_of(reader, start);
    }
    if (!read_text(reader, &reader->first, &key)) {
        return RECORD_IS_BAD;
    }
    if (key.len > VALUE_KEY_LEN_MAX) {
        return (int)fail_at(reader, start, "a key of %zu bytes", key.len);
    }
    reader->options.rules.has_expire = reader->expire_ms >= 0;
    reader->builder =
        (struct codec_builder){.rules = &reader->options.rules, .type = (uint8_t)type};
    return build(reader, item, key, start);
}

/* The elements of a value that goes on. The key lies in the value, which a failure drops. */
static enum rdb_event go_on(struct rdb_reader *reader, struct rdb_item *item)
{
    char copy[KEY_SHOWN_MAX + 1];
    struct slice key = slice_part(value_key(reader->builder.place.value), 0, sizeof(copy));
    memcpy(copy, key.data, key.len);
    int event = build(reader, item, slice_of(copy, key.len), reader->in.at);
    return event == RECORD_IS_BAD ? ask(reader) : (enum rdb_event)event;
}

/* ---- The three parts of a file ---- */

static enum rdb_event read_head(struct rdb_reader *reader)
{
    const char *at = reader->in.at;
    if (!has(reader, RDB_HEAD_LEN)) {
        return ask(reader);
    }
    if (memcmp(at, "VALKEY", 6) == 0) {
        return fail_at(reader, at,
                       "format %.*s of Valkey 9 and later cannot be read; save it with an older "
                       "version",
                       RDB_HEAD_LEN, at);
    }
    if (memcmp(at, RDB_MAGIC, RDB_MAGIC_LEN) != 0) {
        return fail_at(reader, at, "Wrong signature trying to load DB from file");
    }
    int version = 0;
    for (int i = RDB_MAGIC_LEN; i < RDB_HEAD_LEN; i++) {
        if (at[i] < '0' || at[i] > '9') {
            return fail_at(reader, at + i, "a version that is no number");
        }
        version = version * 10 + at[i] - '0';
    }
    if (version < 1 || version > RDB_VERSION_MAX) {
        return fail_at(reader, at, "Can't handle RDB format version %d (1 to %d can be read)",
                       version, RDB_VERSION_MAX);
    }
    reader->version = version;
    reader->in.at += RDB_HEAD_LEN;
    reader->phase = PHASE_BODY;
    return RDB_PAUSED;
}

/* One record; when it is not whole the reader stays before it. */
static enum rdb_event read_record(struct rdb_reader *reader, struct rdb_item *item)
{
    int event = RECORD_IS_ATTRIBUTE;
    while (event == RECORD_IS_ATTRIBUTE && reader->phase == PHASE_BODY) {
        const char *start = reader->in.at;
        reader->in.missing = 0;
        if (!has(reader, 1)) {
            return ask(reader);
        }
        unsigned opcode = (unsigned char)*reader->in.at++;
        drop_texts(reader);
        event = opcode >= RDB_OP_SLOT_INFO ? read_opcode(reader, item, opcode)
                                           : begin_value(reader, item, opcode);
        if (event == RECORD_IS_ATTRIBUTE && !reader->has_entry) {
            reader->has_entry = true;
            reader->entry_offset = offset_of(reader, start);
        }
        if (event == RECORD_IS_BAD && reader->in.missing != 0) {
            if (!reader->is_building) {
                reader->in.at = start;
            }
            return ask(reader);
        }
        if (event == RECORD_IS_BAD && reader->phase != PHASE_FAILED) {
            return fail_at(reader, start, "a record (0x%02x) that makes no sense", opcode);
        }
        if (event >= 0 && event != RDB_VALUE && event != RDB_SKIPPED) {
            item->offset = offset_of(reader, start);
            item->len = (uint64_t)(reader->in.at - start);
        }
    }
    return reader->phase == PHASE_FAILED  ? RDB_FAILED
           : event == RECORD_IS_ATTRIBUTE ? RDB_PAUSED
                                          : (enum rdb_event)event;
}

static enum rdb_event read_foot(struct rdb_reader *reader)
{
    uint64_t stored = 0;
    if (reader->version < VERSION_WITH_SUM) {
        reader->phase = PHASE_END;
        return RDB_END;
    }
    reader->in.missing = 0;
    if (!has(reader, RDB_CRC_LEN)) {
        return ask(reader);
    }
    sum_up(reader);
    const char *at = reader->in.at;
    read_u64(reader, &stored);
    reader->summed = reader->in.at;
    if (reader->options.is_summing && stored != 0 && stored != reader->sum) {
        return fail_at(reader, at, "Wrong RDB checksum expected: (%llx) but got (%llx)",
                       (unsigned long long)stored, (unsigned long long)reader->sum);
    }
    reader->phase = PHASE_END;
    return RDB_END;
}

enum rdb_event rdb_reader_next(struct rdb_reader *reader, struct rdb_item *item)
{
    *item = (struct rdb_item){.expire_ms = -1, .idle_s = -1, .frequency = -1};
    reader->in.missing = 0;
    enum rdb_event event = RDB_PAUSED;
    if (reader->phase == PHASE_HEAD) {
        event = read_head(reader);
        if (event != RDB_PAUSED) {
            return event;
        }
    }
    if (reader->phase == PHASE_BODY) {
        event = reader->is_building ? go_on(reader, item) : read_record(reader, item);
        if (reader->phase == PHASE_BODY) {
            return event;
        }
    }
    if (reader->phase == PHASE_FOOT) {
        return read_foot(reader);
    }
    return reader->phase == PHASE_END ? RDB_END : RDB_FAILED;
}
