/* Values to bytes of the dump format and back.
 *
 *     | type u8 | what the kind makes of it |
 *     string    text
 *     list      count, texts                          set   count, texts
 *     hash      count, field and value texts in turn  zset  count, texts and doubles in turn
 *     stream    see codec_stream.c
 *     hash with fields that expire    moment u64, count, { ttl, field text, value text } in turn
 *
 * How lengths and texts look is told in codec_bytes.c, the packed forms that are read besides in
 * codec_packed.c. A writer can stop after any element and go on, which is what lets a snapshot
 * write a large collection between commands.
 *
 * The moment (little endian, unix ms) is not after that of any field; the ttl, a length, is 0 for a
 * field that stays, else its moment minus that one, plus 1.
 *
 * A DUMP payload is a value, the version of the format (u16) and the CRC-64 of all before it, both
 * little endian. The version is the lowest that has the form, so that only who would lose something
 * refuses a payload.
 *
 * What is read is put together by the kinds' own functions, element by element, so that whatever
 * the bytes are the value is one that commands could have made. That costs a few times what copying
 * a packed form would; the gain is that no bytes from outside ever become part of a structure.
 *
 * Rejected: writing packed forms. They would be shorter, but every version of Redis has its own. */
#include "types/codec/codec.h"

#include <endian.h>

#include "base/assert.h"
#include "base/crc.h"
#include "types/codec/codec_internal.h"
#include "types/string/string.h"

/* ---- Writing ---- */

void codec_write_begin(struct codec_writer *writer, const struct value *value)
{
    *writer = (struct codec_writer){.value = value};
}

unsigned codec_version_of(const struct value *value)
{
    bool has_moments = value_kind(value) == VALUE_HASH && hash_has_expiring_fields(value);
    return has_moments ? CODEC_VERSION_MOMENTS : CODEC_VERSION;
}

static void write_string(struct codec_writer *writer, struct codec_out *out)
{
    struct string_scratch scratch;
    struct blob *blob = string_blob(writer->value);
    if (blob != NULL) {
        codec_out_blob(out, blob);
    } else {
        codec_out_text(out, string_get(writer->value, &scratch));
    }
}

/* Aims the walk at the first element; the type of the collection. */
static enum codec_type write_begin(struct codec_writer *writer)
{
    switch (value_kind(writer->value)) {
    case VALUE_LIST:
        write_list_begin(writer);
        return TYPE_LIST;
    case VALUE_SET:
        write_set_begin(writer);
        return TYPE_SET;
    case VALUE_ZSET:
        write_zset_begin(writer);
        return TYPE_ZSET_2;
    case VALUE_HASH:
        write_hash_begin(writer);
        return writer->has_moments ? TYPE_HASH_MOMENTS : TYPE_HASH;
    case VALUE_STREAM:
        write_stream_begin(writer);
        return TYPE_STREAM_2;
    default:
        break;
    }
    ASSERT(value_kind(writer->value) == VALUE_STRING); /* There is no other kind yet. */
    return TYPE_STRING;
}

static void write_element(struct codec_writer *writer, struct codec_out *out)
{
    switch (value_kind(writer->value)) {
    case VALUE_LIST:
        write_list_step(writer, out);
        return;
    case VALUE_SET:
        write_set_step(writer, out);
        return;
    case VALUE_ZSET:
        write_zset_step(writer, out);
        return;
    default:
        write_hash_step(writer, out);
        return;
    }
}

static bool write_stream(struct codec_writer *writer, struct codec_out *out, uint64_t count)
{
    bool is_done = false;
    while (count > 0 && !is_done && !out->is_failed) {
        uint64_t elements = stream_part_elements(writer->stream.part);
        is_done = write_stream_step(writer, out);
        count -= count < elements ? count : elements;
    }
    return is_done || out->is_failed;
}

void codec_write_type(struct codec_writer *writer, struct codec_out *out)
{
    writer->type = (uint8_t)write_begin(writer);
    writer->is_typed = true;
    codec_out_bytes(out, slice_of(&writer->type, 1));
}

bool codec_write_step(struct codec_writer *writer, struct codec_out *out, uint64_t count)
{
    if (!writer->is_typed) {
        codec_write_type(writer, out);
    }
    if (!writer->is_begun) {
        writer->is_begun = true;
        if (writer->type == TYPE_STRING) {
            write_string(writer, out);
            return true;
        }
        if (writer->type == TYPE_HASH_MOMENTS) {
            write_hash_moment(writer, out);
        }
        codec_out_len(out, writer->left);
    }
    if (value_kind(writer->value) == VALUE_STREAM) {
        return write_stream(writer, out, count);
    }
    for (; count > 0 && writer->left > 0 && !out->is_failed; count--) {
        write_element(writer, out);
        writer->left--;
    }
    return writer->left == 0 || out->is_failed;
}

/* ---- Reading ---- */

enum codec_result read_kind(struct reading *reading)
{
    switch (reading->type) {
    case TYPE_STRING:
        return read_string(reading);
    case TYPE_LIST:
    case TYPE_LIST_ZIPLIST:
    case TYPE_LIST_QUICKLIST:
    case TYPE_LIST_QUICKLIST_2:
        return read_list(reading);
    case TYPE_SET:
    case TYPE_SET_INTSET:
    case TYPE_SET_LISTPACK:
        return read_set(reading);
    case TYPE_ZSET:
    case TYPE_ZSET_2:
    case TYPE_ZSET_ZIPLIST:
    case TYPE_ZSET_LISTPACK:
        return read_zset(reading);
    case TYPE_HASH:
    case TYPE_HASH_ZIPMAP:
    case TYPE_HASH_ZIPLIST:
    case TYPE_HASH_LISTPACK:
    case TYPE_HASH_MOMENTS_RC:
    case TYPE_HASH_TRIPLES_RC:
    case TYPE_HASH_MOMENTS:
    case TYPE_HASH_TRIPLES:
        return read_hash(reading);
    case TYPE_STREAM:
    case TYPE_STREAM_2:
    case TYPE_STREAM_3:
        return read_stream(reading);
    }
    reading->reader->is_type_foreign = true;
    return CODEC_BAD;
}

enum codec_result codec_read_value(struct codec_reader *reader, struct slice key,
                                   const struct codec_rules *rules, struct value **value)
{
    *value = NULL;
    if (reader->at == reader->end) {
        return CODEC_BAD;
    }
    struct reading reading = {.reader = reader,
                              .type = (enum codec_type)(unsigned char)*reader->at++,
                              .key = key,
                              .rules = rules};
    enum codec_result result = read_kind(&reading);
    if (result == CODEC_OK) {
        *value = reading.place.value;
    } else if (reading.place.value != NULL) {
        value_free(reading.place.value, rules->work);
    }
    return result;
}

/* ---- Payloads ---- */

struct blob *codec_dump(const struct value *value)
{
    struct codec_out out = {.blob = NULL};
    struct codec_writer writer;
    codec_write_begin(&writer, value);
    codec_write_step(&writer, &out, UINT64_MAX);
    uint16_t version = htole16((uint16_t)codec_version_of(value));
    codec_out_bytes(&out, slice_of(&version, sizeof(version)));
    if (!out.is_failed) {
        uint64_t crc = htole64(crc64(0, blob_slice(out.blob)));
        codec_out_bytes(&out, slice_of(&crc, sizeof(crc)));
    }
    if (out.is_failed) {
        codec_out_deinit(&out);
    }
    return out.blob;
}

bool codec_payload_open(struct slice payload, struct slice *checked, uint64_t *crc)
{
    if (payload.len < CODEC_FOOTER_LEN) {
        return false;
    }
    const unsigned char *footer =
        (const unsigned char *)payload.data + payload.len - CODEC_FOOTER_LEN;
    unsigned version = footer[0] | (unsigned)footer[1] << 8;
    memcpy(crc, footer + 2, sizeof(*crc));
    *crc = le64toh(*crc);
    *checked = slice_of(payload.data, payload.len - sizeof(*crc));
    return version <= CODEC_VERSION_MAX;
}

bool codec_payload_is_whole(struct slice payload)
{
    struct slice checked;
    uint64_t crc;
    return codec_payload_open(payload, &checked, &crc) && crc64(0, checked) == crc;
}

enum codec_result codec_restore(struct slice payload, struct slice key,
                                const struct codec_rules *rules, struct value **value)
{
    struct codec_reader reader = {.at = payload.data,
                                  .end = payload.data + payload.len - CODEC_FOOTER_LEN};
    enum codec_result result = codec_read_value(&reader, key, rules, value);
    if (result == CODEC_OK && reader.at != reader.end) {
        value_free(*value, rules->work);
        *value = NULL;
        return CODEC_BAD;
    }
    return result;
}
