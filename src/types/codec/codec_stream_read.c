/* Streams from bytes: see codec_stream.c for the form.
 *
 * The bytes may be anyone's. Entries are taken out of the listpacks and added one by one, with IDs
 * that must rise; the number of entries must be the one told; every pending entry must belong to
 * exactly one consumer; no name may come twice. Listpacks are read with every length checked, and
 * nothing of them is kept.
 *
 * Reading stops after any node, pending entry or consumer and goes on: what is read is one part of
 * the stream, and when its bytes are not all there nothing has changed. */
#include <endian.h>

#include "base/mem.h"
#include "base/num.h"
#include "types/codec/codec_internal.h"

enum {
    FLAG_DELETED = 1,
    FLAG_SAME_FIELDS = 2,
    FIXED_ELEMENTS = 3, /* flags, ms, seq */
    PAIRS_FEW = 8,
};

/* ---- Nodes ---- */

/* A listpack on its way into a stream. */
struct node_reading {
    struct packed packed;
    struct stream_id base;
    struct codec_text *fields; /* The node's; texts of integers lie inside. */
    uint64_t field_count;
    struct codec_text *items; /* Of one entry: fields and values in turn. */
    struct slice *texts;      /* The same as slices. */
    uint64_t item_cap;
    uint64_t live; /* Entries added. */
};

static bool take_text(struct node_reading *node, struct codec_text *text)
{
    bool has_item;
    return packed_next(&node->packed, text, &has_item) == CODEC_OK && has_item;
}

static bool take_number(struct node_reading *node, int64_t *number)
{
    struct codec_text text;
    return take_text(node, &text) && num_parse_i64(text.text, number);
}

/* A number of elements that may be there. */
static bool take_count(struct node_reading *node, uint64_t *count)
{
    int64_t number;
    if (!take_number(node, &number) || number < 1 || number > node->packed.end - node->packed.at) {
        return false;
    }
    *count = (uint64_t)number;
    return true;
}

/* Room for the items of one entry. */
static bool reserve_items(struct node_reading *node, uint64_t count)
{
    if (count <= node->item_cap) {
        return true;
    }
    mem_free(node->items);
    mem_free(node->texts);
    node->item_cap = count;
    node->items = mem_try_alloc(count * sizeof(*node->items));
    node->texts = mem_try_alloc(count * sizeof(*node->texts));
    if (node->items == NULL || node->texts == NULL) {
        node->item_cap = 0;
        return false;
    }
    return true;
}

/* The node's head up to its 0. */
static enum codec_result read_node_head(struct node_reading *node, int64_t *count)
{
    int64_t deleted, zero;
    if (!take_number(node, count) || !take_number(node, &deleted) || *count < 0 || deleted < 0 ||
        !take_count(node, &node->field_count)) {
        return CODEC_BAD;
    }
    node->fields = mem_try_alloc(node->field_count * sizeof(*node->fields));
    if (node->fields == NULL) {
        return CODEC_NO_MEMORY;
    }
    for (uint64_t i = 0; i < node->field_count; i++) {
        if (!take_text(node, &node->fields[i])) {
            return CODEC_BAD;
        }
    }
    return take_number(node, &zero) && zero == 0 ? CODEC_OK : CODEC_BAD;
}

/* The fields and values of one entry. */
static enum codec_result read_items(struct node_reading *node, bool is_same, uint64_t *pairs)
{
    *pairs = node->field_count;
    if (!is_same && !take_count(node, pairs)) {
        return CODEC_BAD;
    }
    if (*pairs * 2 > UINT32_MAX || !reserve_items(node, *pairs * 2)) {
        return CODEC_NO_MEMORY;
    }
    for (uint64_t i = 0; i < *pairs * 2; i++) {
        bool is_shared = is_same && i % 2 == 0;
        if (!is_shared && !take_text(node, &node->items[i])) {
            return CODEC_BAD;
        }
        node->texts[i] = is_shared ? node->fields[i / 2].text : node->items[i].text;
    }
    return CODEC_OK;
}

static enum codec_result add_entry(struct reading *reading, struct node_reading *node,
                                   struct stream_id id, uint64_t pairs)
{
    const struct stream_meta *meta = stream_meta(reading->place.value);
    if (stream_id_compare(id, meta->last_id) <= 0) {
        return CODEC_BAD;
    }
    const struct stream_add add = {.id = id,
                                   .texts = node->texts,
                                   .count = (uint32_t)(pairs * 2),
                                   .starts_node = node->live == 0,
                                   .limits = reading->rules->limits};
    node->live++;
    return stream_try_add(reading->place.value, &add) ? CODEC_OK : CODEC_NO_MEMORY;
}

static enum codec_result read_entry(struct reading *reading, struct node_reading *node)
{
    int64_t flags, ms, seq, elements;
    uint64_t pairs;
    if (!take_number(node, &flags) || !take_number(node, &ms) || !take_number(node, &seq) ||
        (flags & ~(FLAG_DELETED | FLAG_SAME_FIELDS)) != 0) {
        return CODEC_BAD;
    }
    bool is_same = (flags & FLAG_SAME_FIELDS) != 0;
    enum codec_result result = read_items(node, is_same, &pairs);
    if (result != CODEC_OK) {
        return result;
    }
    uint64_t wanted = is_same ? pairs + FIXED_ELEMENTS : pairs * 2 + FIXED_ELEMENTS + 1;
    if (!take_number(node, &elements) || (uint64_t)elements != wanted) {
        return CODEC_BAD;
    }
    if ((flags & FLAG_DELETED) != 0) {
        return CODEC_OK;
    }
    struct stream_id id = {node->base.ms + (uint64_t)ms, node->base.seq + (uint64_t)seq};
    return add_entry(reading, node, id, pairs);
}

static enum codec_result read_listpack(struct reading *reading, struct stream_id base,
                                       struct slice bytes)
{
    struct node_reading node = {.base = base};
    int64_t count = 0;
    if (!packed_open(&node.packed, PACKED_LISTPACK, bytes)) {
        return CODEC_BAD;
    }
    enum codec_result result = read_node_head(&node, &count);
    while (result == CODEC_OK && node.packed.end - node.packed.at > 1) {
        result = read_entry(reading, &node);
    }
    struct codec_text text;
    bool has_item = false;
    if (result == CODEC_OK) {
        result = packed_next(&node.packed, &text, &has_item);
    }
    if (result == CODEC_OK && (has_item || (uint64_t)count != node.live)) {
        result = CODEC_BAD;
    }
    mem_free(node.fields);
    mem_free(node.items);
    mem_free(node.texts);
    return result;
}

static struct stream_id id_of_bytes(const char *bytes)
{
    uint64_t words[2];
    memcpy(words, bytes, sizeof(words));
    return (struct stream_id){be64toh(words[0]), be64toh(words[1])};
}

static enum codec_result read_node(struct reading *reading)
{
    struct codec_text id, pack;
    enum codec_result result = codec_read_text(reading->reader, &id);
    if (result != CODEC_OK) {
        return result;
    }
    result = codec_read_text(reading->reader, &pack);
    if (result == CODEC_OK) {
        result = id.text.len == sizeof(struct stream_id)
                     ? read_listpack(reading, id_of_bytes(id.text.data), pack.text)
                     : CODEC_BAD;
        codec_text_deinit(&pack);
    }
    codec_text_deinit(&id);
    return result;
}

/* ---- The stream itself ---- */

static bool read_id(struct codec_reader *reader, struct stream_id *id)
{
    return codec_read_len(reader, &id->ms) && codec_read_len(reader, &id->seq);
}

static bool read_raw_id(struct codec_reader *reader, struct stream_id *id)
{
    if (!reader_has(reader, sizeof(*id))) {
        return false;
    }
    *id = id_of_bytes(reader->at);
    reader->at += sizeof(*id);
    return true;
}

static enum codec_result read_meta(struct reading *reading, struct codec_stream_reader *stream)
{
    struct codec_reader *reader = reading->reader;
    struct value *value = reading->place.value;
    const struct stream_meta *meta = stream_meta(value);
    struct stream_id last_id, first_id;
    struct stream_id max_deleted_id = STREAM_ID_MIN;
    uint64_t count, entries_added, group_count;
    if (!codec_read_len(reader, &count) || !read_id(reader, &last_id)) {
        return CODEC_BAD;
    }
    entries_added = count;
    if (reading->type != TYPE_STREAM &&
        (!read_id(reader, &first_id) || !read_id(reader, &max_deleted_id) ||
         !codec_read_len(reader, &entries_added))) {
        return CODEC_BAD;
    }
    if (!codec_read_len(reader, &group_count) || count != meta->count ||
        stream_id_compare(last_id, meta->last_id) < 0) {
        return CODEC_BAD;
    }
    stream_set_last_id(value, last_id);
    stream_set_counters(value, entries_added, max_deleted_id);
    stream->groups_left = group_count;
    return CODEC_OK;
}

/* ---- Groups ---- */

/* What was read is good. */
static enum codec_result make_group(struct reading *reading, struct codec_stream_reader *stream,
                                    const struct stream_group *group, struct slice name)
{
    struct value *value = reading->place.value;
    if (group->entries_read < STREAM_COUNT_UNKNOWN || stream_group_find(value, name) != NULL) {
        return CODEC_BAD;
    }
    stream->group = stream_group_try_add(value, name, group->last_id, group->entries_read);
    return stream->group == NULL ? CODEC_NO_MEMORY : CODEC_OK;
}

static enum codec_result read_group(struct reading *reading, struct codec_stream_reader *stream)
{
    struct codec_reader *reader = reading->reader;
    struct stream_group group;
    struct codec_text name;
    uint64_t entries_read = 0;
    uint64_t pending_count;
    enum codec_result result = codec_read_text(reader, &name);
    if (result != CODEC_OK) {
        return result;
    }
    bool is_good = read_id(reader, &group.last_id) &&
                   (reading->type == TYPE_STREAM || codec_read_len(reader, &entries_read)) &&
                   codec_read_len(reader, &pending_count);
    if (is_good) {
        group.entries_read = reading->type == TYPE_STREAM
                                 ? stream_count_until(reading->place.value, group.last_id)
                                 : (int64_t)entries_read;
        stream->pending_left = pending_count;
        stream->unowned = pending_count;
        result = make_group(reading, stream, &group, name.text);
    }
    codec_text_deinit(&name);
    return is_good ? result : CODEC_BAD;
}

/* Most writers tell them in order, so the last is looked at first. */
static bool has_pending(const struct stream_group *group, struct stream_id id)
{
    size_t count = order_count(&group->pending);
    const struct stream_pending *last = count == 0 ? NULL : order_at(&group->pending, count - 1);
    return last != NULL && stream_id_compare(last->id, id) >= 0 &&
           stream_pending_find(&group->pending, id) != NULL;
}

static enum codec_result read_pending(struct reading *reading, struct codec_stream_reader *stream)
{
    struct stream_id id;
    uint64_t delivered_ms, delivery_count;
    if (!read_raw_id(reading->reader, &id) || !codec_read_u64(reading->reader, &delivered_ms) ||
        !codec_read_len(reading->reader, &delivery_count)) {
        return CODEC_BAD;
    }
    if (delivered_ms > INT64_MAX || has_pending(stream->group, id)) {
        return CODEC_BAD;
    }
    struct stream_pending *pending = stream_pending_try_add(stream->group, NULL, id);
    if (pending == NULL) {
        return CODEC_NO_MEMORY;
    }
    pending->delivered_ms = (int64_t)delivered_ms;
    pending->delivery_count = delivery_count < STREAM_COUNT_MAX ? delivery_count : STREAM_COUNT_MAX;
    stream->pending_left--;
    return CODEC_OK;
}

static enum codec_result make_consumer(struct codec_stream_reader *stream, struct slice name,
                                       uint64_t seen_ms, uint64_t active_ms)
{
    if (seen_ms > INT64_MAX || (active_ms > INT64_MAX && active_ms != UINT64_MAX) ||
        stream_consumer_find(stream->group, name) != NULL) {
        return CODEC_BAD;
    }
    stream->consumer = stream_consumer_try_add(stream->group, name, (int64_t)seen_ms);
    if (stream->consumer == NULL) {
        return CODEC_NO_MEMORY;
    }
    stream->consumer->active_ms = (int64_t)active_ms;
    stream->consumers_left--;
    return CODEC_OK;
}

static enum codec_result read_consumer(struct reading *reading, struct codec_stream_reader *stream)
{
    struct codec_reader *reader = reading->reader;
    struct codec_text name;
    uint64_t seen_ms, active_ms, count;
    enum codec_result result = codec_read_text(reader, &name);
    if (result != CODEC_OK) {
        return result;
    }
    bool is_good = codec_read_u64(reader, &seen_ms);
    active_ms = seen_ms;
    is_good = is_good && (reading->type != TYPE_STREAM_3 || codec_read_u64(reader, &active_ms)) &&
              codec_read_len(reader, &count);
    if (is_good) {
        stream->owned_left = count;
        result = make_consumer(stream, name.text, seen_ms, active_ms);
    }
    codec_text_deinit(&name);
    return is_good ? result : CODEC_BAD;
}

static enum codec_result read_owned(struct reading *reading, struct codec_stream_reader *stream)
{
    struct stream_id id;
    if (!read_raw_id(reading->reader, &id)) {
        return CODEC_BAD;
    }
    struct stream_pending *pending = stream_pending_find(&stream->group->pending, id);
    if (pending == NULL || pending->consumer != NULL) {
        return CODEC_BAD;
    }
    stream_pending_assign(stream->group, pending, stream->consumer);
    stream->owned_left--;
    stream->unowned--;
    return CODEC_OK;
}

/* ---- Parts ---- */

static enum codec_result begin(struct reading *reading, struct codec_stream_reader *stream)
{
    if (!codec_read_len(reading->reader, &stream->nodes_left)) {
        return CODEC_BAD;
    }
    reading->place.value = stream_try_new(reading->key, reading->rules->has_expire);
    return reading->place.value == NULL ? CODEC_NO_MEMORY : CODEC_OK;
}

/* Where to go on behind a consumer's entries: every entry of a group has an owner at its end. */
static enum codec_result after_owned(struct codec_stream_reader *stream)
{
    if (stream->owned_left > 0) {
        return CODEC_OK;
    }
    if (stream->consumers_left > 0) {
        stream->part = STREAM_PART_CONSUMER;
        return CODEC_OK;
    }
    stream->groups_left--;
    stream->part = stream->groups_left > 0 ? STREAM_PART_GROUP : STREAM_PART_END;
    return stream->unowned == 0 ? CODEC_OK : CODEC_BAD;
}

/* The number of consumers stands behind the group's entries. */
static enum codec_result read_consumer_count(struct reading *reading,
                                             struct codec_stream_reader *stream)
{
    if (!codec_read_len(reading->reader, &stream->consumers_left)) {
        return CODEC_BAD;
    }
    stream->part = STREAM_PART_OWNED;
    stream->owned_left = 0;
    return after_owned(stream);
}

enum codec_result read_stream_part(struct reading *reading, struct codec_stream_reader *stream)
{
    enum codec_result result = CODEC_OK;
    if (reading->place.value == NULL) {
        return begin(reading, stream);
    }
    switch (stream->part) {
    case STREAM_PART_NODES:
        if (stream->nodes_left > 0) {
            result = read_node(reading);
            stream->nodes_left -= result == CODEC_OK;
            break;
        }
        result = read_meta(reading, stream);
        if (result == CODEC_OK) {
            stream->part = stream->groups_left > 0 ? STREAM_PART_GROUP : STREAM_PART_END;
        }
        break;
    case STREAM_PART_GROUP:
        result = read_group(reading, stream);
        if (result == CODEC_OK) {
            stream->part = STREAM_PART_PENDING;
        }
        break;
    case STREAM_PART_PENDING:
        result = stream->pending_left > 0 ? read_pending(reading, stream)
                                          : read_consumer_count(reading, stream);
        break;
    case STREAM_PART_CONSUMER:
        result = read_consumer(reading, stream);
        if (result == CODEC_OK) {
            stream->part = STREAM_PART_OWNED;
            result = after_owned(stream);
        }
        break;
    case STREAM_PART_OWNED:
        result = read_owned(reading, stream);
        if (result == CODEC_OK) {
            result = after_owned(stream);
        }
        break;
    case STREAM_PART_END:
        break;
    }
    return result;
}

enum codec_result read_stream(struct reading *reading)
{
    struct codec_stream_reader stream = {.part = STREAM_PART_NODES};
    enum codec_result result = CODEC_OK;
    while (result == CODEC_OK && stream.part != STREAM_PART_END) {
        result = read_stream_part(reading, &stream);
    }
    return result;
}
