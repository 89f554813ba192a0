/* Streams as bytes: writing. Redis keeps them in the dump as it keeps them in memory:
 *
 *     nodes  { id, 16 bytes big endian, as a text | listpack as a text } ...
 *     count | last ID | [first ID | highest deleted ID | entries added]
 *     groups { name | last ID | [entries read] |
 *              pending   { id, 16 bytes | delivered, u64 ms | deliveries } ... |
 *              consumers { name | seen, u64 ms | [active, u64 ms] | pending { id } ... } ... } ...
 *
 * where nodes, groups, pending and consumers are each a count and so many of what stands in braces,
 * and an ID that is not 16 bytes is two lengths. Type 15 (Redis 5) lacks what is in brackets, type
 * 19 (Redis 7.0) has it but for `active`, type 21 (Redis 7.2) has all.
 *
 * Written is type 19, which Redis 7.0 reads; what it lacks is when a consumer was last active, and
 * who reads it takes the moment when it was last seen. Pending entries, consumers and groups may
 * stand in any order, and do when a snapshot tells some of them ahead. The listpack of a node holds
 *
 *     count, deleted, n, field 1 ... field n, 0
 *     flags, ms, seq, [n, fields with their] values, elements of this entry        for each entry
 *
 * with the ID as the difference to the node's. What is written here is what XADD would have made
 * there, but that deleted entries are never in it.
 *
 * A writer stops after any node, pending entry or consumer, and goes on. */
#include <endian.h>

#include "types/codec/codec_internal.h"

enum {
    LISTPACK_HEAD_LEN = 6,
    LISTPACK_COUNT_MAX = 65535, /* From here on the count is not told. */
    LISTPACK_END = 255,
    FLAG_SAME_FIELDS = 2,
    FIXED_ELEMENTS = 3, /* flags, ms, seq */
};

/* ---- Listpacks ---- */

struct listpack {
    struct codec_out out;
    uint32_t count;
};

static void out_u8(struct codec_out *out, unsigned byte)
{
    char bytes = (char)byte;
    codec_out_bytes(out, slice_of(&bytes, 1));
}

/* The length of an element, once more behind it: in groups of seven bits, the highest first. */
static void out_back(struct codec_out *out, size_t len)
{
    size_t bytes = len <= 127 ? 1 : len < 16383 ? 2 : len < 2097151 ? 3 : len < 268435455 ? 4 : 5;
    for (size_t i = 0; i < bytes; i++) {
        unsigned group = (unsigned)(len >> (7 * (bytes - 1 - i))) & 127U;
        out_u8(out, i == 0 ? group : (group | 128U));
    }
}

static void pack_number(struct listpack *pack, int64_t number)
{
    static const unsigned char widths[] = {2, 3, 4, 8};
    struct codec_out *out = &pack->out;
    pack->count++;
    if (number >= 0 && number <= 127) {
        out_u8(out, (unsigned)number);
        out_back(out, 1);
        return;
    }
    if (number >= -4096 && number <= 4095) {
        out_u8(out, 0xc0 | ((unsigned)((uint64_t)number >> 8) & 0x1f));
        out_u8(out, (unsigned)number & 255);
        out_back(out, 2);
        return;
    }
    unsigned step = 0;
    while (step < 3 && (number < -(INT64_C(1) << (widths[step] * 8 - 1)) ||
                        number >= INT64_C(1) << (widths[step] * 8 - 1))) {
        step++;
    }
    uint64_t word = htole64((uint64_t)number);
    out_u8(out, 0xf1 + step);
    codec_out_bytes(out, slice_of(&word, widths[step]));
    out_back(out, 1 + (size_t)widths[step]);
}

static void pack_item(struct listpack *pack, const struct stream_item *item)
{
    struct codec_out *out = &pack->out;
    if (item->data == NULL) {
        pack_number(pack, item->number);
        return;
    }
    size_t head_len = 1;
    pack->count++;
    if (item->len < 64) {
        out_u8(out, 0x80 | (unsigned)item->len);
    } else if (item->len < 4096) {
        out_u8(out, 0xe0 | (unsigned)(item->len >> 8));
        out_u8(out, (unsigned)item->len & 255);
        head_len = 2;
    } else {
        uint32_t len = htole32((uint32_t)item->len);
        out_u8(out, 0xf0);
        codec_out_bytes(out, slice_of(&len, sizeof(len)));
        head_len = 5;
    }
    codec_out_bytes(out, slice_of(item->data, item->len));
    out_back(out, head_len + item->len);
}

static void pack_entry(struct listpack *pack, struct stream_entry *entry, struct stream_id base)
{
    struct stream_item field, value;
    bool is_same = stream_entry_shares_fields(entry);
    int64_t pairs = entry->pair_count;
    pack_number(pack, is_same ? FLAG_SAME_FIELDS : 0);
    pack_number(pack, (int64_t)(entry->id.ms - base.ms));
    pack_number(pack, (int64_t)(entry->id.seq - base.seq));
    if (!is_same) {
        pack_number(pack, pairs);
    }
    while (stream_entry_next(entry, &field, &value)) {
        if (!is_same) {
            pack_item(pack, &field);
        }
        pack_item(pack, &value);
    }
    pack_number(pack, is_same ? pairs + FIXED_ELEMENTS : pairs * 2 + FIXED_ELEMENTS + 1);
}

/* The end byte, and the head. */
static void pack_finish(struct listpack *pack)
{
    out_u8(&pack->out, LISTPACK_END);
    if (pack->out.is_failed) {
        return;
    }
    uint32_t len = htole32((uint32_t)pack->out.blob->len);
    uint32_t known = pack->count < LISTPACK_COUNT_MAX ? pack->count : LISTPACK_COUNT_MAX;
    uint16_t count = htole16((uint16_t)known);
    memcpy(pack->out.blob->bytes, &len, sizeof(len));
    memcpy(pack->out.blob->bytes + sizeof(len), &count, sizeof(count));
}

/* ---- Parts ---- */

static void out_raw_id(struct codec_out *out, struct stream_id id)
{
    const uint64_t words[2] = {htobe64(id.ms), htobe64(id.seq)};
    codec_out_bytes(out, slice_of(words, sizeof(words)));
}

static void out_id(struct codec_out *out, struct stream_id id)
{
    codec_out_len(out, id.ms);
    codec_out_len(out, id.seq);
}

/* The node that the walk has just come to. */
static void write_node(struct stream_walk *walk, struct codec_out *out)
{
    static const char head[LISTPACK_HEAD_LEN];
    struct listpack pack = {.count = 0};
    struct stream_node_view view = {.count = 0};
    struct stream_entry entry;
    struct stream_item field;
    stream_walk_node(walk, &view);
    codec_out_bytes(&pack.out, slice_of(head, sizeof(head)));
    pack_number(&pack, view.count);
    pack_number(&pack, 0);
    pack_number(&pack, view.field_count);
    for (uint32_t i = 0; i < view.field_count; i++) {
        view.fields = stream_view_field(view.fields, &field);
        pack_item(&pack, &field);
    }
    pack_number(&pack, 0);
    for (uint32_t i = 0; i < view.count; i++) {
        stream_walk_next(walk, &entry);
        pack_entry(&pack, &entry, view.base);
    }
    pack_finish(&pack);
    codec_out_len(out, 2 * sizeof(uint64_t));
    out_raw_id(out, view.base);
    if (pack.out.is_failed) {
        out->is_failed = true;
    } else {
        codec_out_len(out, pack.out.blob->len);
        codec_out_bytes(out, blob_slice(pack.out.blob));
    }
    codec_out_deinit(&pack.out);
}

static void write_meta(const struct stream_meta *meta, uint64_t group_count, struct codec_out *out)
{
    codec_out_len(out, meta->count);
    out_id(out, meta->last_id);
    out_id(out, meta->first_id);
    out_id(out, meta->max_deleted_id);
    codec_out_len(out, meta->entries_added);
    codec_out_len(out, group_count);
}

void codec_form_part(const struct stream_part *part, struct codec_out *out)
{
    switch (part->kind) {
    case STREAM_TOLD_NODE:
        write_node(part->walk, out);
        return;
    case STREAM_TOLD_META:
        write_meta(part->meta, part->count, out);
        return;
    case STREAM_TOLD_GROUP:
        codec_out_text(out, part->name);
        out_id(out, part->id);
        codec_out_len(out, (uint64_t)part->entries_read);
        codec_out_len(out, part->count);
        return;
    case STREAM_TOLD_PENDING:
        out_raw_id(out, part->id);
        codec_out_u64(out, (uint64_t)part->moment_ms);
        codec_out_len(out, part->count);
        return;
    case STREAM_TOLD_CONSUMERS:
        codec_out_len(out, part->count);
        return;
    case STREAM_TOLD_CONSUMER:
        codec_out_text(out, part->name);
        codec_out_u64(out, (uint64_t)part->moment_ms);
        codec_out_len(out, part->count);
        return;
    case STREAM_TOLD_OWNED:
        out_raw_id(out, part->id);
        return;
    }
}

/* ---- Steps ---- */

void write_stream_begin(struct codec_writer *writer)
{
    writer->stream.part = STREAM_PART_NODES;
    writer->left = stream_node_count(writer->value);
    stream_walk_begin(&writer->stream.walk, writer->value, STREAM_ID_MIN, STREAM_ID_MAX, false);
}

static void write_stream_meta(struct codec_writer *writer, struct codec_out *out)
{
    struct codec_stream_writer *stream = &writer->stream;
    const struct order *groups = stream_groups(writer->value);
    write_meta(stream_meta(writer->value), order_count(groups), out);
    stream->group = order_seek(groups, 0, &stream->groups);
    stream->part = stream->group != NULL ? STREAM_PART_GROUP : STREAM_PART_END;
}

static void write_group(struct codec_stream_writer *stream, struct codec_out *out)
{
    const struct stream_group *group = stream->group;
    const struct stream_part part = {.kind = STREAM_TOLD_GROUP,
                                     .name = stream_group_name(group),
                                     .id = group->last_id,
                                     .entries_read = group->entries_read,
                                     .count = order_count(&group->pending)};
    codec_form_part(&part, out);
    stream->pending = order_seek(&group->pending, 0, &stream->cursor);
    stream->part = STREAM_PART_PENDING;
}

/* Goes on to the next consumer, else to the next group, else to the end. */
static void next_consumer(struct codec_stream_writer *stream)
{
    if (stream->consumer != NULL) {
        stream->part = STREAM_PART_CONSUMER;
        return;
    }
    stream->group = order_next(&stream->groups);
    stream->part = stream->group != NULL ? STREAM_PART_GROUP : STREAM_PART_END;
}

/* An entry of the group; after the last its consumers follow. */
static void write_pending(struct codec_stream_writer *stream, struct codec_out *out)
{
    const struct stream_pending *pending = stream->pending;
    struct stream_part part = {.kind = STREAM_TOLD_CONSUMERS};
    if (pending == NULL) {
        const struct order *consumers = &stream->group->consumers;
        part.count = order_count(consumers);
        stream->consumer = order_seek(consumers, 0, &stream->consumers);
        next_consumer(stream);
    } else {
        part = (struct stream_part){.kind = STREAM_TOLD_PENDING,
                                    .id = pending->id,
                                    .moment_ms = pending->delivered_ms,
                                    .count = pending->delivery_count};
        stream->pending = order_next(&stream->cursor);
    }
    codec_form_part(&part, out);
}

static void write_consumer(struct codec_stream_writer *stream, struct codec_out *out)
{
    const struct stream_consumer *consumer = stream->consumer;
    const struct stream_part part = {.kind = STREAM_TOLD_CONSUMER,
                                     .name = stream_consumer_name(consumer),
                                     .moment_ms = consumer->seen_ms,
                                     .count = order_count(&consumer->pending)};
    codec_form_part(&part, out);
    stream->pending = order_seek(&consumer->pending, 0, &stream->cursor);
    stream->part = STREAM_PART_OWNED;
}

static void write_owned(struct codec_stream_writer *stream, struct codec_out *out)
{
    if (stream->pending == NULL) {
        stream->consumer = order_next(&stream->consumers);
        next_consumer(stream);
        return;
    }
    out_raw_id(out, stream->pending->id);
    stream->pending = order_next(&stream->cursor);
}

bool write_stream_step(struct codec_writer *writer, struct codec_out *out)
{
    struct codec_stream_writer *stream = &writer->stream;
    switch (stream->part) {
    case STREAM_PART_NODES:
        if (writer->left == 0) {
            write_stream_meta(writer, out);
        } else {
            write_node(&stream->walk, out);
            writer->left--;
        }
        break;
    case STREAM_PART_GROUP:
        write_group(stream, out);
        break;
    case STREAM_PART_PENDING:
        write_pending(stream, out);
        break;
    case STREAM_PART_CONSUMER:
        write_consumer(stream, out);
        break;
    case STREAM_PART_OWNED:
        write_owned(stream, out);
        break;
    case STREAM_PART_END:
        break;
    }
    return stream->part == STREAM_PART_END;
}
