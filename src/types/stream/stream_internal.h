/* Inside streams: nodes of packed entries, and what a value points at. See stream.c for the whole
 * picture. */
#pragma once

#include "base/assert.h"
#include "types/stream/stream.h"

#ifdef OURO_HOSTILE
enum { NODE_LEN_MIN = 64, NODE_LEN_MAX = 512, STREAM_FREE_DIRECT_MAX = 2 };
#else
enum {
    NODE_LEN_MIN = 128,          /* Bytes of a stream's first node, its header included. */
    NODE_LEN_MAX = 64 * 1024,    /* A node that is longer takes no further entry. */
    STREAM_FREE_DIRECT_MAX = 64, /* Nodes, groups and pending entries that are freed at once. */
};
#endif

/* Longest entry, blobs not counted. */
enum { ENTRY_LEN_MAX = 1 << 30 };

/* The fields of the first entry, then the entries from first to end. */
struct stream_node {
    struct stream_id base; /* Of the first entry that there was. */
    struct stream_id last; /* Of the last entry that there was: it may be gone. */
    uint32_t cap;          /* Bytes owned behind the header. */
    uint32_t first, end;   /* Entries lie in bytes[first..end). */
    uint32_t count;        /* Entries. */
    uint32_t removed;      /* Entries that were here. */
    uint32_t blob_count;   /* Pointers to blobs, those among the fields included. */
    uint64_t blob_len;     /* Bytes of these blobs. */
    uint32_t pair_count;   /* Fields. */
    uint32_t fields_len;   /* Bytes of the fields, at bytes[0]. */
    char bytes[];
};

struct stream {
    struct stream_meta meta;
    struct stream_node *tail; /* The newest node; NULL when there are no entries. */
    struct order nodes;       /* All others, by base. */
    struct order groups;      /* struct stream_group by name. */

    struct stream_picture *picture; /* NULL, or who is shown what is about to change. */
    uint32_t picture_count;         /* There were so far. */
};

static inline struct stream *stream_of(const struct value *value)
{
    return (struct stream *)(uintptr_t)value_word(value);
}

/* A number that never falls along IDs, for order_kind.hint_of: 47 bits of milliseconds (year 6429)
 * and 17 of the sequence, what is above as high as it goes. */
static inline uint64_t stream_id_hint(struct stream_id id)
{
    if (id.ms >> 47 != 0) {
        return UINT64_MAX;
    }
    uint64_t seq = id.seq < (1U << 17) - 1 ? id.seq : (1U << 17) - 1;
    return id.ms << 17 | seq;
}

/* ---- stream.c ---- */

extern const struct order_kind nodes_order_kind;

/* How many nodes of the tree begin at or before `id`. */
size_t nodes_until(const struct order *nodes, struct stream_id id);

/* Frees the tree with its nodes: at once, or as a job when there are many and `work` is not NULL.
 * The tree is empty afterwards. */
void nodes_free(struct order *nodes, struct work_queue *work);
void stream_free_all(struct stream *stream, struct work_queue *work);

/* A walk over the entries of this node alone. */
void stream_walk_begin_node(struct stream_walk *walk, const struct stream_node *node);

/* ---- stream_picture.c: nodes; call these only for a stream that has a picture ---- */

/* The node is about to change. */
void picture_show_node(struct stream *stream, const struct stream_node *node);

/* The node has left the stream as it was. True: the picture has taken it over. */
bool picture_takes_node(struct stream *stream, struct stream_node *node);

/* All nodes are about to go. True: the picture has taken them over, and the stream has none. */
bool picture_takes_nodes(struct stream *stream);

/* The stream has another tail, which was there before, or none. */
void picture_note_tail(struct stream *stream);

/* The stream's value is gone. True: the picture has taken the stream over. */
bool picture_takes_stream(struct stream *stream);

/* ---- stream_picture.c: groups; likewise ---- */

void picture_show_group(struct stream_group *group);
void picture_show_consumer(struct stream_group *group, struct stream_consumer *consumer);

/* The entry is about to change; with `moves` it is about to leave its consumer. */
void picture_show_pending(struct stream_group *group, struct stream_pending *pending, bool moves);

/* These have just been added to a group that was shown before. */
void picture_note_new_group(struct stream_group *group);
void picture_note_new_consumer(struct stream_group *group, struct stream_consumer *consumer);
void picture_note_new_pending(struct stream_group *group, struct stream_pending *pending);

/* This is about to leave its tree. True: what it is made of is the picture's from then on. */
bool picture_takes_group(struct stream_group *group);
bool picture_takes_consumer(struct stream_group *group, struct stream_consumer *consumer);

static inline bool stream_has_picture(const struct stream *stream)
{
    return __builtin_expect(stream->picture != NULL, 0);
}

/* ---- stream_node.c ---- */

/* A node for the entry, which is its first. NULL: no memory. */
struct stream_node *node_try_new(const struct stream_add *add);

/* Adds an entry. The node may move. False: no memory. */
bool node_try_append(struct stream_node **node, const struct stream_add *add);

/* Whether the entry must go into another node. */
bool node_is_full(const struct stream_node *node, const struct stream_add *add);

/* Gives back what is not used; the node may move. */
struct stream_node *node_shrink(struct stream_node *node);
void node_free(struct stream_node *node);
struct stream_node *node_try_copy(const struct stream_node *node);
size_t node_size(const struct stream_node *node);
void node_check(const struct stream_node *node);

/* Reads the entry at `at`; returns the offset behind it. */
uint32_t node_read(const struct stream_node *node, uint32_t at, struct stream_entry *entry);

/* The offset of the entry that ends at `end`. */
uint32_t node_before(const struct stream_node *node, uint32_t end);

/* The offset of the first entry that is not before `id`; end: there is none. */
uint32_t node_seek(const struct stream_node *node, struct stream_id id);

/* Removes the entry at `at`. */
void node_remove(struct stream_node *node, uint32_t at);

/* The ID of the last entry. */
struct stream_id node_last_id(const struct stream_node *node);

/* Reads a field or value; returns where the next begins. */
const char *item_read(const char *at, struct stream_item *item);

/* ---- stream_group.c ---- */

static inline bool stream_goes_on(const struct stream_pauses *pauses)
{
    return pauses == NULL || pauses->goes_on(pauses->context);
}

void groups_free(struct order *groups, struct work_queue *work);

/* A group that nothing refers to any more; a consumer without pending entries. */
void group_free(struct stream_group *group, struct work_queue *work);
void consumer_free(struct stream_consumer *consumer);

bool groups_try_copy(struct stream *to, const struct order *from,
                     const struct stream_pauses *pauses);
size_t groups_memory(const struct order *groups, size_t samples);
size_t groups_effort(const struct order *groups);
void groups_check(const struct order *groups);
extern const struct order_kind groups_order_kind;
