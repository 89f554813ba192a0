/* A stream as it was at one moment, told part by part while it changes.
 *
 * In the dump a stream is its nodes in order, some figures, and the groups with what is pending.
 * Any of the three may be large, and each changes in its own way:
 *
 *     nodes    |##########|  live   live   kept   live  |  new  new
 *               told   cursor                    live_end
 *
 * A node is told as a whole. IDs only rise, so what is in the stream up to the base `live_end` is
 * of the picture and what is above it is new: no list of nodes is needed. Before the first change
 * of a node that has not been told a copy of it is kept; a node that leaves the stream unchanged is
 * taken over instead of being freed. The tail is a node like others: of it, too, a copy is kept
 * before the first entry is added to it, once.
 *
 *     groups   [told] [being told] [touched: side] [as it was] [new]
 *     in it    pending:   told | told ahead | as it was | new
 *              consumers: [told] [being told: side] [touched: side] [as it was] [new]
 *
 * Entries of a group stand in the dump twice, under the group with their figures and under their
 * consumer by ID alone, and in either place their order is free. So the rule of all pictures
 * applies: what is about to change and has not been told is told first, into a side of the group
 * (figures) or of the consumer (ID). A mark in each pending entry says whether it is told in either
 * place, and is good for one picture only, because it has the picture's number. The mark costs
 * nothing, as it lies in bytes that malloc would round up to. What is new is marked as told.
 *
 * The side of a group holds what the group was when it was touched first: that is what it was at
 * the beginning. A group that is destroyed, and a consumer that is removed, become the picture's.
 *
 * Costs. O(1) to begin. A change costs a test; the first change in a node a copy of it (4 KiB: 1
 * us), the first in a pending entry 32 bytes and 16, in a consumer 100, in a group 200.
 *
 * Invariants:
 *   1. Nodes of the stream with a base in (cursor, live_end], those in `gone` and those of `taken`
 *      up to live_end are all that is still to be told; what `kept` has of them is told instead.
 *   2. A group or consumer with this picture's number and no side is told or new; with a side its
 *      name and its tree are still there, in the stream or in the picture.
 *   3. A pending entry of an untold group is as it was, unless it has this picture's number.
 *
 * Rejected. The addresses of all nodes, as pictures of lists have them: a list's chunks may be put
 * in anywhere, nodes may not, and collecting them is a step that grows with the stream. Old figures
 * of pending entries in a tree by ID, to be merged with what is there when the walk comes by: three
 * trees and their merging, for what one mark does. */
#include "base/assert.h"
#include "base/mem.h"
#include "types/stream/stream_internal.h"

enum {
#ifdef OURO_HOSTILE
    NODES_FEW = 1,
    GROUPS_FEW = 1,
    PIECES_FEW = 3,
#else
    NODES_FEW = 4,
    GROUPS_FEW = 4,
    PIECES_FEW = 64, /* Consumers and pending entries of all groups. */
#endif
    BYTES_PER_ENTRY = 1024, /* Of a node weigh as much as an entry. */
    RUN_BYTES_MIN = 64,
    RUN_BYTES_MAX = 8192,
};

/* ---- Runs: items that wait, in blocks that double ---- */

struct run_block {
    struct run_block *next;
    uint32_t cap, first, end; /* Bytes. */
    char bytes[];
};

struct run {
    struct run_block *first, *last;
};

static void run_push(struct stream_picture *picture, struct run *run, const void *item, size_t size)
{
    struct run_block *last = run->last;
    if (last == NULL || last->cap - last->end < size) {
        size_t cap = last == NULL ? RUN_BYTES_MIN : last->cap * 2;
        cap = cap < RUN_BYTES_MAX ? cap : RUN_BYTES_MAX;
        struct run_block *block = mem_alloc(sizeof(*block) + cap);
        *block = (struct run_block){.cap = (uint32_t)cap};
        picture->held += sizeof(*block) + cap;
        if (last == NULL) {
            run->first = block;
        } else {
            last->next = block;
        }
        run->last = last = block;
    }
    memcpy(last->bytes + last->end, item, size);
    last->end += (uint32_t)size;
}

static void run_drop_block(struct stream_picture *picture, struct run *run)
{
    struct run_block *block = run->first;
    run->first = block->next;
    if (run->first == NULL) {
        run->last = NULL;
    }
    picture->held -= sizeof(*block) + block->cap;
    mem_free_sized(block, sizeof(*block) + block->cap);
}

static bool run_pop(struct stream_picture *picture, struct run *run, void *item, size_t size)
{
    struct run_block *block = run->first;
    if (block == NULL) {
        return false;
    }
    memcpy(item, block->bytes + block->first, size);
    block->first += (uint32_t)size;
    if (block->first == block->end) {
        run_drop_block(picture, run);
    }
    return true;
}

static void run_drop(struct stream_picture *picture, struct run *run)
{
    while (run->first != NULL) {
        run_drop_block(picture, run);
    }
}

/* ---- Sides ---- */

/* An entry of a group as it was. */
struct pending_was {
    struct stream_id id;
    int64_t delivered_ms;
    uint64_t delivery_count;
};

struct stream_consumer_side {
    struct list link; /* Of the group's consumers or gone. */
    struct stream_consumer *consumer;
    bool is_gone;    /* The consumer is the picture's. */
    int64_t seen_ms; /* At the beginning, as all that follows. */
    uint64_t count;  /* Its pending entries. */
    uint64_t told;   /* Of them. */
    struct run ids;  /* Told ahead: struct stream_id. */
};

struct stream_group_side {
    struct list link; /* Of the picture's sides or sides_gone. */
    struct stream_group *group;
    bool is_gone; /* The group is the picture's. */
    struct stream_id last_id;
    int64_t entries_read;
    uint64_t pending_count, consumer_count;
    uint64_t pending_told, consumers_told;
    struct run pending;       /* Told ahead: struct pending_was. */
    struct list consumers;    /* Sides of consumers that were touched, and */
    struct list gone;         /* of those that were removed. */
    struct stream_id next_id; /* Where to go on among the entries of the group or consumer. */
    struct stream_consumer_side *current;  /* The consumer that is being told. */
    struct stream_consumer *next_consumer; /* In the group; NULL: none, or not that far. */
};

/* NULL: the group is told or new. */
static struct stream_group_side *group_side(struct stream_picture *picture,
                                            struct stream_group *group)
{
    if (group->picture == picture->number) {
        return group->side;
    }
    struct stream_group_side *side = mem_alloc(sizeof(*side));
    *side = (struct stream_group_side){.group = group,
                                       .last_id = group->last_id,
                                       .entries_read = group->entries_read,
                                       .pending_count = order_count(&group->pending),
                                       .consumer_count = order_count(&group->consumers)};
    list_init(&side->consumers);
    list_init(&side->gone);
    list_push_back(&picture->sides, &side->link);
    picture->held += sizeof(*side);
    group->picture = picture->number;
    group->side = side;
    return side;
}

/* NULL: the consumer is told or new. */
static struct stream_consumer_side *consumer_side(struct stream_picture *picture,
                                                  struct stream_group_side *group,
                                                  struct stream_consumer *consumer)
{
    if (consumer->picture == picture->number) {
        return consumer->side;
    }
    struct stream_consumer_side *side = mem_alloc(sizeof(*side));
    *side = (struct stream_consumer_side){.consumer = consumer,
                                          .seen_ms = consumer->seen_ms,
                                          .count = order_count(&consumer->pending)};
    list_push_back(&group->consumers, &side->link);
    picture->held += sizeof(*side);
    consumer->picture = picture->number;
    consumer->side = side;
    return side;
}

static void consumer_side_free(struct stream_picture *picture, struct stream_consumer_side *side)
{
    run_drop(picture, &side->ids);
    side->consumer->side = NULL;
    if (side->is_gone) {
        consumer_free(side->consumer);
    }
    list_remove(&side->link);
    picture->held -= sizeof(*side);
    mem_free_sized(side, sizeof(*side));
}

static void consumer_sides_free(struct stream_picture *picture, struct list *sides)
{
    while (!list_is_empty(sides)) {
        consumer_side_free(picture, LIST_OWNER(sides->next, struct stream_consumer_side, link));
    }
}

static void group_side_free(struct stream_picture *picture, struct stream_group_side *side)
{
    consumer_sides_free(picture, &side->consumers);
    consumer_sides_free(picture, &side->gone);
    run_drop(picture, &side->pending);
    side->group->side = NULL;
    if (side->is_gone) {
        group_free(side->group, &picture->frees);
    }
    list_remove(&side->link);
    picture->held -= sizeof(*side);
    mem_free_sized(side, sizeof(*side));
}

static void group_sides_free(struct stream_picture *picture, struct list *sides)
{
    while (!list_is_empty(sides)) {
        group_side_free(picture, LIST_OWNER(sides->next, struct stream_group_side, link));
    }
}

/* ---- What is shown: nodes ---- */

/* The first node of a tree behind `base`. */
static struct stream_node *node_behind(const struct order *nodes, struct stream_id base)
{
    return order_at(nodes, nodes_until(nodes, base));
}

static bool node_is_kept(const struct stream_picture *picture, const struct stream_node *node)
{
    size_t until = nodes_until(&picture->kept, node->base);
    const struct stream_node *found = until == 0 ? NULL : order_at(&picture->kept, until - 1);
    return found != NULL && stream_id_compare(found->base, node->base) == 0;
}

/* Whether the node is of the picture, as it was, and not told. */
static bool node_is_wanted(const struct stream_picture *picture, const struct stream_node *node)
{
    return picture->phase == STREAM_PHASE_NODES && picture->has_live &&
           stream_id_compare(node->base, picture->live_end) <= 0 &&
           stream_id_compare(node->base, picture->cursor) > 0 && !node_is_kept(picture, node);
}

void picture_show_node(struct stream *stream, const struct stream_node *node)
{
    struct stream_picture *picture = stream->picture;
    if (node_is_wanted(picture, node)) {
        struct stream_node *copy = node_try_copy(node);
        ASSERT(copy != NULL);
        order_insert(&picture->kept, copy);
        picture->held += node_size(copy);
    }
}

bool picture_takes_node(struct stream *stream, struct stream_node *node)
{
    struct stream_picture *picture = stream->picture;
    bool is_wanted = node_is_wanted(picture, node);
    if (is_wanted) {
        order_insert(&picture->gone, node);
    }
    return is_wanted;
}

bool picture_takes_nodes(struct stream *stream)
{
    struct stream_picture *picture = stream->picture;
    if (picture->phase != STREAM_PHASE_NODES || !picture->has_live) {
        return false;
    }
    picture->has_live = false;
    picture->taken = stream->nodes;
    order_append(&picture->taken, stream->tail);
    order_init(&stream->nodes, &nodes_order_kind);
    stream->tail = NULL;
    return true;
}

void picture_note_tail(struct stream *stream)
{
    struct stream_picture *picture = stream->picture;
    if (!picture->has_live) {
        return;
    }
    if (stream->tail == NULL) {
        picture->has_live = false;
    } else if (stream_id_compare(stream->tail->base, picture->live_end) < 0) {
        picture->live_end = stream->tail->base;
    }
}

bool picture_takes_stream(struct stream *stream)
{
    stream->picture->owns_stream = true;
    return true;
}

/* ---- What is shown: groups ---- */

void picture_show_group(struct stream_group *group)
{
    group_side(group->stream->picture, group);
}

void picture_show_consumer(struct stream_group *group, struct stream_consumer *consumer)
{
    struct stream_picture *picture = group->stream->picture;
    struct stream_group_side *side = group_side(picture, group);
    if (side != NULL) {
        consumer_side(picture, side, consumer);
    }
}

/* The marks of an entry that may have been of no picture, or of an earlier one. */
static void pending_mark(const struct stream_picture *picture, struct stream_pending *pending)
{
    if (pending->picture != picture->number) {
        pending->picture = picture->number;
        pending->is_told = pending->is_owner_told = false;
    }
}

void picture_show_pending(struct stream_group *group, struct stream_pending *pending, bool moves)
{
    struct stream_picture *picture = group->stream->picture;
    struct stream_group_side *side = group_side(picture, group);
    if (side == NULL) {
        return;
    }
    pending_mark(picture, pending);
    if (!pending->is_told) {
        const struct pending_was was = {.id = pending->id,
                                        .delivered_ms = pending->delivered_ms,
                                        .delivery_count = pending->delivery_count};
        run_push(picture, &side->pending, &was, sizeof(was));
        pending->is_told = true;
    }
    if (moves && !pending->is_owner_told) {
        struct stream_consumer_side *owner = consumer_side(picture, side, pending->consumer);
        ASSERT(owner != NULL);
        run_push(picture, &owner->ids, &pending->id, sizeof(pending->id));
        pending->is_owner_told = true;
    }
}

void picture_note_new_group(struct stream_group *group)
{
    group->picture = group->stream->picture->number;
    group->side = NULL;
}

void picture_note_new_consumer(struct stream_group *group, struct stream_consumer *consumer)
{
    consumer->picture = group->stream->picture->number;
    consumer->side = NULL;
}

void picture_note_new_pending(struct stream_group *group, struct stream_pending *pending)
{
    pending->picture = group->stream->picture->number;
    pending->is_told = pending->is_owner_told = true;
}

/* The neighbour in a tree that `entry` is in. */
static void *order_behind(const struct order *order, const void *entry)
{
    return order_at(order, order_rank_of(order, entry) + 1);
}

bool picture_takes_group(struct stream_group *group)
{
    struct stream_picture *picture = group->stream->picture;
    struct stream_group_side *side = group_side(picture, group);
    if (picture->next_group == group) {
        picture->next_group = order_behind(&picture->stream->groups, group);
    }
    if (side == NULL) {
        return false;
    }
    side->is_gone = true;
    if (side != picture->current) {
        list_remove(&side->link);
        list_push_back(&picture->sides_gone, &side->link);
    }
    return true;
}

bool picture_takes_consumer(struct stream_group *group, struct stream_consumer *consumer)
{
    struct stream_picture *picture = group->stream->picture;
    struct stream_group_side *side = group_side(picture, group);
    if (side == NULL) {
        return false;
    }
    struct stream_consumer_side *own = consumer_side(picture, side, consumer);
    if (side->next_consumer == consumer) {
        side->next_consumer = order_behind(&group->consumers, consumer);
    }
    if (own == NULL) {
        return false;
    }
    own->is_gone = true;
    if (own != side->current) {
        list_remove(&own->link);
        list_push_back(&side->gone, &own->link);
    }
    return true;
}

void stream_group_will_change(struct stream_group *group)
{
    if (stream_has_picture(group->stream)) {
        picture_show_group(group);
    }
}

void stream_consumer_will_change(struct stream_group *group, struct stream_consumer *consumer)
{
    if (stream_has_picture(group->stream)) {
        picture_show_consumer(group, consumer);
    }
}

void stream_pending_will_change(struct stream_group *group, struct stream_pending *pending)
{
    if (stream_has_picture(group->stream)) {
        picture_show_pending(group, pending, false);
    }
}

/* ---- Telling ---- */

struct telling {
    struct stream_picture *picture;
    stream_tell_fn tell;
    void *context;
    size_t left; /* Weight. */
};

static void tell(struct telling *telling, const struct stream_part *part, size_t weight)
{
    telling->left -= weight < telling->left ? weight : telling->left;
    telling->tell(telling->context, part);
}

/* The next node that is still where it was, or was taken over with all others. */
static struct stream_node *next_live(const struct stream_picture *picture)
{
    struct stream_node *node = node_behind(&picture->taken, picture->cursor);
    if (node == NULL && picture->has_live) {
        node = node_behind(&picture->stream->nodes, picture->cursor);
        node = node == NULL ? picture->stream->tail : node;
    }
    bool is_ours = node != NULL && stream_id_compare(node->base, picture->cursor) > 0 &&
                   stream_id_compare(node->base, picture->live_end) <= 0;
    return is_ours ? node : NULL;
}

static struct stream_node *lower_node(struct stream_node *one, struct stream_node *other)
{
    if (one == NULL || other == NULL) {
        return one == NULL ? other : one;
    }
    return stream_id_compare(one->base, other->base) <= 0 ? one : other;
}

static void tell_node(struct telling *telling)
{
    struct stream_picture *picture = telling->picture;
    struct stream_node *kept = order_at(&picture->kept, 0);
    struct stream_node *gone = order_at(&picture->gone, 0);
    struct stream_node *node = lower_node(kept, lower_node(gone, next_live(picture)));
    if (node == NULL) {
        ASSERT(picture->nodes_told == picture->node_count);
        picture->phase = STREAM_PHASE_META;
        return;
    }
    struct stream_walk walk;
    stream_walk_begin_node(&walk, node);
    picture->cursor = node->base;
    picture->nodes_told++;
    tell(telling, &(struct stream_part){.kind = STREAM_TOLD_NODE, .walk = &walk},
         node->count + (node_size(node) + node->blob_len) / BYTES_PER_ENTRY);
    if (node == kept || node == gone) {
        order_remove_at(node == kept ? &picture->kept : &picture->gone, 0);
        picture->held -= node == kept ? node_size(node) : 0;
        node_free(node);
    }
}

static void tell_meta(struct telling *telling)
{
    struct stream_picture *picture = telling->picture;
    picture->next_group = order_at(&picture->stream->groups, 0);
    picture->phase = STREAM_PHASE_GROUP;
    tell(telling,
         &(struct stream_part){
             .kind = STREAM_TOLD_META, .meta = &picture->meta, .count = picture->group_count},
         1);
}

/* Any group that is left; NULL: none, or *is_new: what was looked at was none of the picture. */
static struct stream_group_side *choose_group(struct stream_picture *picture, bool *is_new)
{
    struct stream_group *group = picture->next_group;
    *is_new = false;
    if (group != NULL) {
        struct stream_group_side *side = group_side(picture, group);
        picture->next_group = order_behind(&picture->stream->groups, group);
        *is_new = side == NULL;
        return side;
    }
    return list_is_empty(&picture->sides_gone)
               ? NULL
               : LIST_OWNER(picture->sides_gone.next, struct stream_group_side, link);
}

static void tell_group(struct telling *telling)
{
    struct stream_picture *picture = telling->picture;
    bool is_new;
    struct stream_group_side *side = choose_group(picture, &is_new);
    telling->left--;
    if (side == NULL) {
        picture->phase = is_new ? STREAM_PHASE_GROUP : STREAM_PHASE_END;
        ASSERT(is_new || picture->groups_told == picture->group_count);
        return;
    }
    picture->current = side;
    picture->groups_told++;
    picture->phase = STREAM_PHASE_PENDING;
    side->next_id = STREAM_ID_MIN;
    tell(telling,
         &(struct stream_part){.kind = STREAM_TOLD_GROUP,
                               .name = stream_group_name(side->group),
                               .id = side->last_id,
                               .entries_read = side->entries_read,
                               .count = side->pending_count},
         1);
}

static void tell_pending_was(struct telling *telling, const struct pending_was *was)
{
    telling->picture->current->pending_told++;
    tell(telling,
         &(struct stream_part){.kind = STREAM_TOLD_PENDING,
                               .id = was->id,
                               .moment_ms = was->delivered_ms,
                               .count = was->delivery_count},
         1);
}

static void tell_consumers(struct telling *telling, struct stream_group_side *side)
{
    ASSERT(side->pending_told == side->pending_count);
    side->next_consumer = order_at(&side->group->consumers, 0);
    telling->picture->phase = STREAM_PHASE_CONSUMER;
    tell(telling,
         &(struct stream_part){.kind = STREAM_TOLD_CONSUMERS, .count = side->consumer_count}, 1);
}

/* What was told ahead, then what is where it was. */
static void tell_pending(struct telling *telling)
{
    struct stream_picture *picture = telling->picture;
    struct stream_group_side *side = picture->current;
    struct pending_was was;
    struct order_cursor cursor;
    while (telling->left > 0 && run_pop(picture, &side->pending, &was, sizeof(was))) {
        tell_pending_was(telling, &was);
    }
    if (telling->left == 0) {
        return;
    }
    struct stream_pending *pending =
        stream_pending_seek(&side->group->pending, side->next_id, &cursor);
    for (; pending != NULL && telling->left > 0; pending = order_next(&cursor)) {
        pending_mark(picture, pending);
        if (pending->is_told) {
            telling->left--;
            continue;
        }
        pending->is_told = true;
        was = (struct pending_was){.id = pending->id,
                                   .delivered_ms = pending->delivered_ms,
                                   .delivery_count = pending->delivery_count};
        tell_pending_was(telling, &was);
    }
    if (pending == NULL) {
        tell_consumers(telling, side);
    } else {
        side->next_id = pending->id;
    }
}

/* As choose_group. */
static struct stream_consumer_side *choose_consumer(struct stream_picture *picture, bool *is_new)
{
    struct stream_group_side *group = picture->current;
    struct stream_consumer *consumer = group->next_consumer;
    *is_new = false;
    if (consumer != NULL) {
        struct stream_consumer_side *side = consumer_side(picture, group, consumer);
        group->next_consumer = order_behind(&group->group->consumers, consumer);
        *is_new = side == NULL;
        return side;
    }
    return list_is_empty(&group->gone)
               ? NULL
               : LIST_OWNER(group->gone.next, struct stream_consumer_side, link);
}

static void tell_consumer(struct telling *telling)
{
    struct stream_picture *picture = telling->picture;
    struct stream_group_side *group = picture->current;
    bool is_new;
    struct stream_consumer_side *side = choose_consumer(picture, &is_new);
    telling->left--;
    if (side == NULL && is_new) {
        return;
    }
    if (side == NULL) {
        ASSERT(group->consumers_told == group->consumer_count);
        picture->current = NULL;
        picture->phase = STREAM_PHASE_GROUP;
        group_side_free(picture, group);
        return;
    }
    group->current = side;
    group->consumers_told++;
    group->next_id = STREAM_ID_MIN;
    picture->phase = STREAM_PHASE_OWNED;
    tell(telling,
         &(struct stream_part){.kind = STREAM_TOLD_CONSUMER,
                               .name = stream_consumer_name(side->consumer),
                               .moment_ms = side->seen_ms,
                               .count = side->count},
         1);
}

static void tell_owned_id(struct telling *telling, struct stream_consumer_side *side,
                          struct stream_id id)
{
    side->told++;
    tell(telling, &(struct stream_part){.kind = STREAM_TOLD_OWNED, .id = id}, 1);
}

static void tell_owned(struct telling *telling)
{
    struct stream_picture *picture = telling->picture;
    struct stream_group_side *group = picture->current;
    struct stream_consumer_side *side = group->current;
    struct order_cursor cursor;
    struct stream_id id;
    while (telling->left > 0 && run_pop(picture, &side->ids, &id, sizeof(id))) {
        tell_owned_id(telling, side, id);
    }
    if (telling->left == 0) {
        return;
    }
    struct stream_pending *pending =
        stream_pending_seek(&side->consumer->pending, group->next_id, &cursor);
    for (; pending != NULL && telling->left > 0; pending = order_next(&cursor)) {
        pending_mark(picture, pending);
        if (pending->is_owner_told) {
            telling->left--;
            continue;
        }
        pending->is_owner_told = true;
        tell_owned_id(telling, side, pending->id);
    }
    if (pending != NULL) {
        group->next_id = pending->id;
        return;
    }
    ASSERT(side->told == side->count);
    group->current = NULL;
    picture->phase = STREAM_PHASE_CONSUMER;
    consumer_side_free(picture, side);
}

/* ---- The picture ---- */

bool stream_is_large(const struct value *value)
{
    const struct order *groups = stream_groups(value);
    return stream_node_count(value) > NODES_FEW || order_count(groups) > GROUPS_FEW ||
           groups_effort(groups) > PIECES_FEW;
}

void stream_picture_begin(struct stream_picture *picture, const struct value *value)
{
    struct stream *stream = stream_of(value);
    ASSERT(stream->picture == NULL);
    *picture = (struct stream_picture){.stream = stream,
                                       .number = ++stream->picture_count,
                                       .meta = stream->meta,
                                       .node_count = stream_node_count(value),
                                       .group_count = order_count(&stream->groups),
                                       .has_live = stream->tail != NULL};
    if (stream->tail != NULL) {
        picture->live_end = stream->tail->base;
    }
    order_init(&picture->kept, &nodes_order_kind);
    order_init(&picture->gone, &nodes_order_kind);
    order_init(&picture->taken, &nodes_order_kind);
    list_init(&picture->sides);
    list_init(&picture->sides_gone);
    work_queue_init(&picture->frees);
    stream->picture = picture;
}

bool stream_picture_step(struct stream_picture *picture, size_t weight, stream_tell_fn tell_part,
                         void *context)
{
    struct telling telling = {
        .picture = picture, .tell = tell_part, .context = context, .left = weight};
    while (telling.left > 0 && picture->phase != STREAM_PHASE_END) {
        switch (picture->phase) {
        case STREAM_PHASE_NODES:
            tell_node(&telling);
            break;
        case STREAM_PHASE_META:
            tell_meta(&telling);
            break;
        case STREAM_PHASE_GROUP:
            tell_group(&telling);
            break;
        case STREAM_PHASE_PENDING:
            tell_pending(&telling);
            break;
        case STREAM_PHASE_CONSUMER:
            tell_consumer(&telling);
            break;
        case STREAM_PHASE_OWNED:
            tell_owned(&telling);
            break;
        case STREAM_PHASE_END:
            break;
        }
    }
    return picture->phase == STREAM_PHASE_END;
}

void stream_picture_end(struct stream_picture *picture)
{
    struct stream *stream = picture->stream;
    if (stream == NULL) {
        return;
    }
    group_sides_free(picture, &picture->sides);
    group_sides_free(picture, &picture->sides_gone);
    nodes_free(&picture->kept, &picture->frees);
    nodes_free(&picture->gone, &picture->frees);
    nodes_free(&picture->taken, &picture->frees);
    stream->picture = NULL;
    picture->stream = NULL;
    if (picture->owns_stream) {
        stream_free_all(stream, &picture->frees);
    }
}
