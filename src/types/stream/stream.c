/* Streams: nodes of entries in the order of their IDs, and groups of consumers.
 *
 *     value --> | count, IDs, entries_added | tail | nodes | groups |
 *                                              |       |       |
 *                      newest node <-----------+       |       v
 *     counted tree (ds/order.h) of all older nodes <---+     counted tree of groups by name
 *         [node 1,000-0 ..] [node 1,900-3 ..] ...              pending, consumers: stream_group.c
 *
 * A node holds up to stream-node-max-entries entries in stream-node-max-bytes bytes, packed as told
 * in stream_node.c: an entry with one short value takes about 8 bytes. What is added goes to the
 * tail; when that is full it is cut to size and joins the tree. So adding never searches, a small
 * stream has no tree at all, and reading the newest entries looks at one node.
 *
 * IDs only rise. Deleting an entry takes its bytes out of its node; the stream remembers the
 * highest ID that was deleted, because from then on the number of entries up to some ID is no
 * longer known for IDs below (stream_count_until).
 *
 * Costs. Adding O(bytes); finding an ID O(log nodes) and the entries of a node; trimming O(1) per
 * node that goes as a whole. A stream costs 160 bytes and its nodes, a node 72 bytes and one slot
 * of the tree (9 bytes).
 *
 * Invariants, asserted by the kind's check:
 *   1. IDs rise strictly along the nodes, the last is at most last_id, none is 0-0.
 *   2. There is a tail exactly when there are entries; no node is empty.
 *   3. count is the sum of the nodes' counts, first_id the first entry's ID, or 0-0 without any.
 *   4. A pending entry is in its group's order and in that of exactly one of the group's consumers.
 *
 * Rejected. A radix tree over the 16 bytes of an ID, as Redis has it: two to three cache misses
 * more per descent. The tail inside the tree: each entry added would descend it, and a stream of
 * three entries would pay for a leaf of 512 bytes. Tombstones inside nodes: a queue that is
 * consumed by XDEL would keep all its bytes until whole nodes are gone. */
#include "types/stream/stream.h"

#include "base/fiber.h"
#include "base/mem.h"
#include "base/work.h"
#include "types/stream/stream_internal.h"

enum { FREE_STEP = 64 }; /* Nodes that one step of a job frees: about 10 us. */

/* ---- IDs ---- */

bool stream_id_try_next(struct stream_id *id)
{
    if (id->seq == UINT64_MAX && id->ms == UINT64_MAX) {
        return false;
    }
    id->seq++;
    id->ms += id->seq == 0;
    return true;
}

bool stream_id_try_previous(struct stream_id *id)
{
    if (stream_id_is_zero(*id)) {
        return false;
    }
    id->ms -= id->seq == 0;
    id->seq--;
    return true;
}

size_t stream_id_format(char *out, struct stream_id id)
{
    size_t len = num_format_u64(out, id.ms);
    out[len++] = '-';
    return len + num_format_u64(out + len, id.seq);
}

/* ---- The order of nodes ---- */

static uint64_t node_hint(const void *entry)
{
    return stream_id_hint(((const struct stream_node *)entry)->base);
}

static bool node_is_before(const void *entry, const void *key)
{
    const struct stream_node *node = entry;
    return stream_id_compare(node->base, ((const struct stream_node *)key)->base) < 0;
}

static bool node_begins_until(const void *entry, const void *key)
{
    return stream_id_compare(((const struct stream_node *)entry)->base,
                             *(const struct stream_id *)key) <= 0;
}

const struct order_kind nodes_order_kind = {.hint_of = node_hint, .is_before = node_is_before};

size_t nodes_until(const struct order *nodes, struct stream_id id)
{
    struct order_probe probe = {
        .hint = stream_id_hint(id), .is_before = node_begins_until, .key = &id};
    return order_rank(nodes, &probe);
}

/* The node that holds `id` if any does, or NULL. */
static struct stream_node *stream_node_for(const struct stream *stream, struct stream_id id)
{
    if (stream->tail == NULL || node_begins_until(stream->tail, &id)) {
        return stream->tail;
    }
    size_t count = nodes_until(&stream->nodes, id);
    return count == 0 ? NULL : order_at(&stream->nodes, count - 1);
}

static struct stream_node *stream_head(const struct stream *stream)
{
    return order_count(&stream->nodes) > 0 ? order_at(&stream->nodes, 0) : stream->tail;
}

/* ---- New, free, copy ---- */

static struct stream *stream_try_alloc(void)
{
    struct stream *stream = mem_try_alloc(sizeof(*stream));
    if (stream != NULL) {
        *stream = (struct stream){.tail = NULL};
        order_init(&stream->nodes, &nodes_order_kind);
        order_init(&stream->groups, &groups_order_kind);
    }
    return stream;
}

struct value *stream_try_new(struct slice key, bool has_expire)
{
    struct value *value =
        value_try_new(&(struct value_form){.kind = VALUE_STREAM,
                                           .has_expire = has_expire,
                                           .key = key,
                                           .payload_len = sizeof(struct stream *)});
    if (value == NULL) {
        return NULL;
    }
    struct stream *stream = stream_try_alloc();
    if (stream == NULL) {
        value_free_block(value);
        return NULL;
    }
    value_set_word(value, (uint64_t)(uintptr_t)stream);
    return value;
}

/* Nodes on their way out. */
struct nodes_job {
    struct work_job job;
    struct order nodes;
    struct order_drain drain;
    struct order_cursor cursor;
    struct stream_node *next; /* NULL: only the tree's own nodes are left. */
};

static bool nodes_job_on_step(struct work_job *work_job)
{
    struct nodes_job *job = LIST_OWNER(work_job, struct nodes_job, job);
    for (unsigned i = 0; i < FREE_STEP && job->next != NULL; i++) {
        struct stream_node *node = job->next;
        job->next = order_next(&job->cursor);
        node_free(node);
        if (job->next == NULL) {
            order_drain_begin(&job->drain, &job->nodes);
            return false;
        }
    }
    if (job->next != NULL || !order_drain_step(&job->drain, FREE_STEP)) {
        return false;
    }
    mem_free_sized(job, sizeof(*job));
    return true;
}

void nodes_free(struct order *nodes, struct work_queue *work)
{
    if (order_count(nodes) == 0) {
        return;
    }
    bool is_now = work == NULL || order_count(nodes) <= STREAM_FREE_DIRECT_MAX;
    struct nodes_job *job = mem_alloc(sizeof(*job));
    job->nodes = *nodes;
    order_init(nodes, &nodes_order_kind);
    job->next = order_seek(&job->nodes, 0, &job->cursor);
    if (!is_now) {
        list_init(&job->job.link);
        work_add(work, &job->job, nodes_job_on_step);
        return;
    }
    while (!nodes_job_on_step(&job->job)) {
    }
}

void stream_free_all(struct stream *stream, struct work_queue *work)
{
    if (stream->tail != NULL) {
        node_free(stream->tail);
    }
    nodes_free(&stream->nodes, work);
    groups_free(&stream->groups, work);
    mem_free_sized(stream, sizeof(*stream));
}

static void stream_free(struct value *value, struct work_queue *work)
{
    struct stream *stream = stream_of(value);
    if (!stream_has_picture(stream) || !picture_takes_stream(stream)) {
        stream_free_all(stream, work);
    }
    value_free_block(value);
}

static bool nodes_try_copy(struct stream *copy, const struct stream *stream,
                           const struct stream_pauses *pauses)
{
    struct order_cursor cursor;
    const struct stream_node *node = order_seek(&stream->nodes, 0, &cursor);
    for (; node != NULL; node = order_next(&cursor)) {
        struct stream_node *twin = node_try_copy(node);
        if (twin == NULL) {
            return false;
        }
        order_append(&copy->nodes, twin);
        if (!stream_goes_on(pauses)) {
            return false;
        }
    }
    if (stream->tail != NULL) {
        copy->tail = node_try_copy(stream->tail);
    }
    return copy->tail != NULL || stream->tail == NULL;
}

struct value *stream_try_copy(const struct value *value, struct slice key, bool has_expire,
                              const struct stream_pauses *pauses)
{
    const struct stream *stream = stream_of(value);
    struct value *copy = value_try_rekey(value, key, has_expire);
    if (copy == NULL) {
        return NULL;
    }
    struct stream *twin = stream_try_alloc();
    if (twin == NULL) {
        value_free_block(copy);
        return NULL;
    }
    twin->meta = stream->meta;
    if (!nodes_try_copy(twin, stream, pauses) || !groups_try_copy(twin, &stream->groups, pauses)) {
        stream_free_all(twin, NULL);
        value_free_block(copy);
        return NULL;
    }
    value_set_word(copy, (uint64_t)(uintptr_t)twin);
    return copy;
}

static struct value *stream_copy(const struct value *value, struct slice key, bool has_expire)
{
    return stream_try_copy(value, key, has_expire, NULL);
}

/* ---- Facts ---- */

const struct stream_meta *stream_meta(const struct value *value)
{
    return &stream_of(value)->meta;
}

size_t stream_node_count(const struct value *value)
{
    const struct stream *stream = stream_of(value);
    return order_count(&stream->nodes) + (stream->tail != NULL);
}

const struct order *stream_groups(const struct value *value)
{
    return &stream_of(value)->groups;
}

void stream_set_last_id(struct value *value, struct stream_id last_id)
{
    stream_of(value)->meta.last_id = last_id;
}

void stream_set_counters(struct value *value, uint64_t entries_added,
                         struct stream_id max_deleted_id)
{
    struct stream_meta *meta = &stream_of(value)->meta;
    entries_added = entries_added < STREAM_COUNT_MAX ? entries_added : STREAM_COUNT_MAX;
    meta->entries_added = entries_added > meta->count ? entries_added : meta->count;
    meta->max_deleted_id = max_deleted_id;
}

int64_t stream_count_until(const struct value *value, struct stream_id id)
{
    const struct stream_meta *meta = stream_meta(value);
    if (meta->entries_added == 0) {
        return 0;
    }
    int to_last = stream_id_compare(id, meta->last_id);
    if (to_last == 0 || (meta->count == 0 && to_last < 0)) {
        return (int64_t)meta->entries_added;
    }
    if (to_last > 0) {
        return STREAM_COUNT_UNKNOWN; /* Of entries that are still to come. */
    }
    if (!stream_id_is_zero(meta->max_deleted_id) &&
        stream_id_compare(meta->max_deleted_id, meta->first_id) >= 0) {
        return STREAM_COUNT_UNKNOWN;
    }
    int to_first = stream_id_compare(id, meta->first_id);
    if (to_first > 0) {
        return STREAM_COUNT_UNKNOWN; /* Somewhere inside: counting would be O(n). */
    }
    return (int64_t)(meta->entries_added - meta->count + (to_first == 0));
}

bool stream_has_tombstone_from(const struct value *value, struct stream_id first)
{
    const struct stream_meta *meta = stream_meta(value);
    return meta->count > 0 && stream_id_compare(meta->first_id, meta->max_deleted_id) <= 0 &&
           stream_id_compare(first, meta->max_deleted_id) <= 0;
}

/* ---- Change ---- */

bool stream_try_add(struct value *value, const struct stream_add *add)
{
    struct stream *stream = stream_of(value);
    DEBUG_ASSERT(stream_id_compare(add->id, stream->meta.last_id) > 0);
    if (stream->tail == NULL || add->starts_node || node_is_full(stream->tail, add)) {
        struct stream_node *node = node_try_new(add);
        if (node == NULL) {
            return false;
        }
        if (stream->tail != NULL) {
            order_append(&stream->nodes, node_shrink(stream->tail));
        }
        stream->tail = node;
    } else {
        if (stream_has_picture(stream)) {
            picture_show_node(stream, stream->tail);
        }
        if (!node_try_append(&stream->tail, add)) {
            return false;
        }
    }
    if (stream->meta.count == 0) {
        stream->meta.first_id = add->id;
    }
    stream->meta.count++;
    stream->meta.entries_added += stream->meta.entries_added < STREAM_COUNT_MAX;
    stream->meta.last_id = add->id;
    return true;
}

/* The first ID after entries went. */
static void stream_find_first(struct stream *stream)
{
    const struct stream_node *head = stream_head(stream);
    struct stream_entry entry = {.id = STREAM_ID_MIN};
    if (head != NULL) {
        node_read(head, head->first, &entry);
    }
    stream->meta.first_id = entry.id;
}

/* The newest of the other nodes becomes the tail. */
static void stream_next_tail(struct stream *stream)
{
    size_t count = order_count(&stream->nodes);
    stream->tail = count == 0 ? NULL : order_remove_at(&stream->nodes, count - 1);
    if (stream_has_picture(stream)) {
        picture_note_tail(stream);
    }
}

/* Takes out a node that has no entries left, or gives back what it does not need any more. */
static void stream_tidy_node(struct stream *stream, struct stream_node *node)
{
    bool is_tail = node == stream->tail;
    if (node->count == 0) {
        if (is_tail) {
            stream_next_tail(stream);
        } else {
            order_remove(&stream->nodes, node);
        }
        node_free(node);
        return;
    }
    size_t used = sizeof(*node) + node->fields_len + (node->end - node->first);
    if (is_tail || mem_good_size(used) > node_size(node) / 2) {
        return;
    }
    order_remove(&stream->nodes, node);
    order_insert(&stream->nodes, node_shrink(node));
}

bool stream_delete(struct value *value, struct stream_id id)
{
    struct stream *stream = stream_of(value);
    struct stream_node *node = stream_node_for(stream, id);
    struct stream_entry entry;
    if (node == NULL) {
        return false;
    }
    uint32_t at = node_seek(node, id);
    if (at == node->end) {
        return false;
    }
    node_read(node, at, &entry);
    if (stream_id_compare(entry.id, id) != 0) {
        return false;
    }
    if (stream_has_picture(stream)) {
        picture_show_node(stream, node);
    }
    node_remove(node, at);
    stream_tidy_node(stream, node);
    stream->meta.count--;
    if (stream_id_compare(id, stream->meta.first_id) == 0) {
        stream_find_first(stream);
    }
    if (stream_id_compare(id, stream->meta.max_deleted_id) > 0) {
        stream->meta.max_deleted_id = id;
    }
    return true;
}

/* Whether no entry of the node is to be kept. With ~ an entry that was deleted at a node's end
 * still holds it, as in Redis. */
static bool trim_takes_node(const struct stream *stream, const struct stream_trim *trim,
                            const struct stream_node *node)
{
    if (trim->is_by_id) {
        struct stream_id last = trim->is_approximate ? node->last : node_last_id(node);
        return stream_id_compare(last, trim->min_id) < 0;
    }
    return stream->meta.count >= node->count && stream->meta.count - node->count >= trim->count_max;
}

static bool trim_takes_entry(const struct stream *stream, const struct stream_trim *trim,
                             const struct stream_node *node)
{
    struct stream_entry entry;
    if (!trim->is_by_id) {
        return stream->meta.count > trim->count_max;
    }
    node_read(node, node->first, &entry);
    return stream_id_compare(entry.id, trim->min_id) < 0;
}

/* Removes entries of the oldest node, of which some stay. */
static uint64_t trim_inside(struct stream *stream, const struct stream_trim *trim,
                            struct stream_node *node)
{
    uint64_t count = 0;
    if (stream_has_picture(stream)) {
        picture_show_node(stream, node);
    }
    for (; trim_takes_entry(stream, trim, node); count++) {
        node_remove(node, node->first);
        stream->meta.count--;
    }
    return count;
}

static void trim_drop_head(struct stream *stream, struct stream_node *node)
{
    stream->meta.count -= node->count;
    if (node == stream->tail) {
        stream->tail = NULL;
    } else {
        order_remove_at(&stream->nodes, 0);
    }
    if (!stream_has_picture(stream)) {
        node_free(node);
        return;
    }
    if (!picture_takes_node(stream, node)) {
        node_free(node);
    }
    if (stream->tail == NULL) {
        picture_note_tail(stream);
    }
}

/* Everything goes: the tree is handed over as a whole. */
static uint64_t trim_all(struct stream *stream, struct work_queue *work)
{
    uint64_t count = stream->meta.count;
    if (!stream_has_picture(stream) || !picture_takes_nodes(stream)) {
        node_free(stream->tail);
        stream->tail = NULL;
        nodes_free(&stream->nodes, work);
    }
    stream->meta.count = 0;
    stream->meta.first_id = STREAM_ID_MIN;
    return count;
}

bool stream_trim_step(struct value *value, const struct stream_trim *trim, size_t nodes,
                      struct work_queue *work, uint64_t *removed)
{
    struct stream *stream = stream_of(value);
    if (stream->tail == NULL || (!trim->is_by_id && stream->meta.count <= trim->count_max)) {
        return true;
    }
    bool is_all = trim->is_by_id ? stream_id_compare(stream->tail->last, trim->min_id) < 0
                                 : trim->count_max == 0;
    if (is_all && trim->limit == 0) {
        *removed += trim_all(stream, work);
        return true;
    }
    bool is_done = true;
    for (struct stream_node *head = stream_head(stream); head != NULL; head = stream_head(stream)) {
        if (!trim->is_by_id && stream->meta.count <= trim->count_max) {
            break;
        }
        if (trim->limit != 0 && *removed + head->count > trim->limit) {
            break;
        }
        if (!trim_takes_node(stream, trim, head)) {
            *removed += trim->is_approximate ? 0 : trim_inside(stream, trim, head);
            break;
        }
        if (nodes-- == 0) {
            is_done = false;
            break;
        }
        *removed += head->count;
        trim_drop_head(stream, head);
    }
    stream_find_first(stream);
    return is_done;
}

uint64_t stream_trim(struct value *value, const struct stream_trim *trim, struct work_queue *work)
{
    uint64_t removed = 0;
    while (!stream_trim_step(value, trim, SIZE_MAX, work, &removed)) {
    }
    return removed;
}

size_t stream_trim_effort(const struct value *value, const struct stream_trim *trim)
{
    const struct stream *stream = stream_of(value);
    uint64_t count = stream->meta.count;
    uint64_t gone = trim->is_by_id ? stream_count_between(value, STREAM_ID_MIN, trim->min_id)
                    : count > trim->count_max ? count - trim->count_max
                                              : 0;
    gone = trim->limit != 0 && gone > trim->limit ? trim->limit : gone;
    return count == 0 ? 0
                      : (size_t)((double)gone / (double)count * (double)stream_node_count(value));
}

/* ---- Reading ---- */

struct slice stream_item_text(const struct stream_item *item, struct stream_scratch *scratch)
{
    if (item->data != NULL) {
        return slice_of(item->data, item->len);
    }
    return slice_of(scratch->text, num_format_i64(scratch->text, item->number));
}

bool stream_entry_next(struct stream_entry *entry, struct stream_item *field,
                       struct stream_item *value)
{
    if (entry->pairs_left == 0) {
        return false;
    }
    entry->pairs_left--;
    if (entry->fields != NULL) {
        entry->fields = item_read(entry->fields, field);
    } else {
        entry->values = item_read(entry->values, field);
    }
    entry->values = item_read(entry->values, value);
    return true;
}

const char *stream_view_field(const char *at, struct stream_item *field)
{
    return item_read(at, field);
}

/* Goes on in the neighbour; the tail is the last of all. */
static void walk_next_node(struct stream_walk *walk)
{
    if (walk->is_backward) {
        walk->node = walk->node == walk->tail
                         ? order_seek(walk->order, order_count(walk->order) - 1, &walk->cursor)
                         : order_previous(&walk->cursor);
        walk->at = walk->node == NULL ? 0 : walk->node->end;
        return;
    }
    if (walk->node == walk->tail) {
        walk->node = NULL;
        return;
    }
    walk->node = order_next(&walk->cursor);
    if (walk->node == NULL) {
        walk->node = walk->tail;
    }
    walk->at = walk->node->first;
}

/* Stands on the node at `rank`; beyond the tree stands the tail. */
static void walk_seek(struct stream_walk *walk, size_t rank)
{
    walk->node =
        rank < order_count(walk->order) ? order_seek(walk->order, rank, &walk->cursor) : walk->tail;
}

void stream_walk_begin(struct stream_walk *walk, const struct value *value, struct stream_id first,
                       struct stream_id last, bool is_backward)
{
    const struct stream *stream = stream_of(value);
    struct stream_id edge = is_backward ? last : first;
    walk->node = NULL;
    walk->tail = stream->tail;
    walk->order = &stream->nodes;
    walk->is_backward = is_backward;
    walk->first = first;
    walk->last = last;
    if (stream->tail == NULL || stream_id_compare(first, last) > 0) {
        return;
    }
    size_t count = node_begins_until(stream->tail, &edge) ? order_count(&stream->nodes) + 1
                                                          : nodes_until(&stream->nodes, edge);
    if (count == 0 && is_backward) {
        return;
    }
    walk_seek(walk, count == 0 ? 0 : count - 1);
    walk->at = is_backward ? walk->node->end : walk->node->first;
    if (!is_backward && count > 0) {
        walk->at = node_seek(walk->node, first);
    }
}

void stream_walk_begin_node(struct stream_walk *walk, const struct stream_node *node)
{
    walk->node = walk->tail = node;
    walk->order = NULL;
    walk->at = node->first;
    walk->is_backward = false;
    walk->first = STREAM_ID_MIN;
    walk->last = STREAM_ID_MAX;
}

static bool walk_next_backward(struct stream_walk *walk, struct stream_entry *entry)
{
    while (walk->node != NULL) {
        if (walk->at == walk->node->first) {
            walk_next_node(walk);
            continue;
        }
        walk->at = node_before(walk->node, walk->at);
        node_read(walk->node, walk->at, entry);
        if (stream_id_compare(entry->id, walk->first) < 0) {
            walk->node = NULL;
        } else if (stream_id_compare(entry->id, walk->last) <= 0) {
            return true;
        }
    }
    return false;
}

bool stream_walk_next(struct stream_walk *walk, struct stream_entry *entry)
{
    if (walk->is_backward) {
        return walk_next_backward(walk, entry);
    }
    while (walk->node != NULL && walk->at == walk->node->end) {
        walk_next_node(walk);
    }
    if (walk->node == NULL) {
        return false;
    }
    walk->at = node_read(walk->node, walk->at, entry);
    if (stream_id_compare(entry->id, walk->last) > 0) {
        walk->node = NULL;
        return false;
    }
    return true;
}

bool stream_walk_node(struct stream_walk *walk, struct stream_node_view *view)
{
    if (walk->node != NULL && walk->at == walk->node->end) {
        walk_next_node(walk);
    }
    const struct stream_node *node = walk->node;
    if (node == NULL) {
        return false;
    }
    *view = (struct stream_node_view){.base = node->base,
                                      .count = node->count,
                                      .field_count = node->pair_count,
                                      .fields = node->bytes};
    return true;
}

uint64_t stream_count_between(const struct value *value, struct stream_id first,
                              struct stream_id last)
{
    const struct stream *stream = stream_of(value);
    size_t nodes = stream_node_count(value);
    if (nodes == 0 || stream_id_compare(first, last) > 0) {
        return 0;
    }
    size_t from = nodes_until(&stream->nodes, first);
    size_t until = nodes_until(&stream->nodes, last) + node_begins_until(stream->tail, &last);
    uint64_t between = until - from + 1;
    return (between < nodes ? between : nodes) * (stream->meta.count / nodes + 1);
}

bool stream_has(const struct value *value, struct stream_id id)
{
    struct stream_walk walk;
    struct stream_entry entry;
    stream_walk_begin(&walk, value, id, id, false);
    return stream_walk_next(&walk, &entry);
}

struct stream_id stream_last_entry_id(const struct value *value)
{
    const struct stream_node *tail = stream_of(value)->tail;
    return tail == NULL ? STREAM_ID_MIN : node_last_id(tail);
}

/* ---- What every kind provides ---- */

static const char *stream_encoding_name(const struct value *value)
{
    (void)value;
    return "stream";
}

static size_t stream_memory(const struct value *value, size_t samples)
{
    const struct stream *stream = stream_of(value);
    size_t bytes = mem_good_size(value_block_len(value)) + mem_good_size(sizeof(*stream)) +
                   order_memory(&stream->nodes) + groups_memory(&stream->groups, samples);
    size_t sampled = 0;
    size_t sampled_bytes = 0;
    struct order_cursor cursor;
    const struct stream_node *node = order_seek(&stream->nodes, 0, &cursor);
    for (; node != NULL && (samples == 0 || sampled < samples); node = order_next(&cursor)) {
        sampled_bytes += node_size(node) + node->blob_len;
        fiber_breathe_at(++sampled);
    }
    if (sampled > 0) {
        bytes +=
            (size_t)((double)sampled_bytes / (double)sampled * (double)order_count(&stream->nodes));
    }
    return bytes + (stream->tail == NULL ? 0 : node_size(stream->tail) + stream->tail->blob_len);
}

static size_t stream_effort(const struct value *value)
{
    const struct stream *stream = stream_of(value);
    return stream_node_count(value) + groups_effort(&stream->groups) + 1;
}

static void stream_check(const struct value *value)
{
    const struct stream *stream = stream_of(value);
    uint64_t count = 0;
    struct stream_id last = STREAM_ID_MIN;
    struct order_cursor cursor;
    ASSERT(value->len == sizeof(struct stream *));
    ASSERT(stream->tail != NULL || order_count(&stream->nodes) == 0);
    order_check(&stream->nodes);
    const struct stream_node *node = order_seek(&stream->nodes, 0, &cursor);
    for (bool is_tail = false; !is_tail; node = order_next(&cursor)) {
        is_tail = node == NULL;
        node = is_tail ? stream->tail : node;
        if (node == NULL) {
            break;
        }
        struct stream_entry entry;
        node_check(node);
        node_read(node, node->first, &entry);
        ASSERT(stream_id_compare(last, node->base) < 0 && stream_id_compare(last, entry.id) < 0);
        ASSERT(count > 0 || stream_id_compare(entry.id, stream->meta.first_id) == 0);
        last = node_last_id(node);
        count += node->count;
        if (is_tail) {
            break;
        }
    }
    ASSERT(count == stream->meta.count && count <= stream->meta.entries_added);
    ASSERT(stream->meta.entries_added <= STREAM_COUNT_MAX);
    ASSERT(count > 0 || stream_id_is_zero(stream->meta.first_id));
    ASSERT(stream_id_compare(last, stream->meta.last_id) <= 0);
    groups_check(&stream->groups);
}

const struct value_ops stream_ops = {.free = stream_free,
                                     .copy = stream_copy,
                                     .encoding_name = stream_encoding_name,
                                     .memory = stream_memory,
                                     .effort = stream_effort,
                                     .check = stream_check};
