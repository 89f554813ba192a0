/* Streams: entries of fields and values under rising IDs, and groups of consumers that share them.
 *
 * A stored stream may be empty: it then still knows its last ID and its groups. The value's block
 * holds a pointer that never changes, so that a stream is changed through its value alone. */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/num.h"
#include "base/slice.h"
#include "base/work.h"
#include "ds/order.h"
#include "types/limits.h"
#include "types/value.h"

struct stream;
struct stream_consumer_side;
struct stream_group_side;
struct stream_node;

/* ---- IDs ---- */

struct stream_id {
    uint64_t ms, seq; /* Ordered by milliseconds, then by sequence. */
};
#define STREAM_ID_MIN ((struct stream_id){0, 0})
#define STREAM_ID_MAX ((struct stream_id){UINT64_MAX, UINT64_MAX})

enum { STREAM_ID_TEXT_MAX = 2 * NUM_I64_TEXT_MAX + 1 }; /* "18446744073709551615-1844..." */

static inline int stream_id_compare(struct stream_id a, struct stream_id b)
{
    if (a.ms != b.ms) {
        return a.ms < b.ms ? -1 : 1;
    }
    return (a.seq > b.seq) - (a.seq < b.seq);
}

static inline bool stream_id_is_zero(struct stream_id id)
{
    return id.ms == 0 && id.seq == 0;
}

/* The neighbours of an ID. False: there is none, the ID is as it was. */
bool stream_id_try_next(struct stream_id *id);
bool stream_id_try_previous(struct stream_id *id);

/* "ms-seq" without NUL; returns the length, at most STREAM_ID_TEXT_MAX. */
size_t stream_id_format(char *out, struct stream_id id);

/* ---- The stream ---- */

struct stream_meta {
    uint64_t count;                  /* Entries. */
    struct stream_id first_id;       /* Of the first entry; zero when there are none. */
    struct stream_id last_id;        /* The highest there ever was. */
    struct stream_id max_deleted_id; /* The highest that was deleted, not trimmed. */
    uint64_t entries_added;          /* Ever; from `count` to STREAM_COUNT_MAX. */
};

/* Clients may set counters to what they like, and counters are told as signed numbers: at this one
 * they stop, or what is told of them, files included, could not be read again. */
#define STREAM_COUNT_MAX INT64_MAX

/* An empty stream. NULL: no memory. */
struct value *stream_try_new(struct slice key, bool has_expire) __attribute__((warn_unused_result));

/* Borrowed; O(1). */
const struct stream_meta *stream_meta(const struct value *value);
size_t stream_node_count(const struct value *value);

/* What XSETID and loading set. `last_id` is not below the last entry's; `entries_added` is put
 * within its bounds. */
void stream_set_last_id(struct value *value, struct stream_id last_id);
void stream_set_counters(struct value *value, uint64_t entries_added,
                         struct stream_id max_deleted_id);

/* What to add: fields and values in turn. */
struct stream_add {
    struct stream_id id; /* Above the last ID. */
    const struct slice *texts;
    uint32_t count;   /* Of texts: even, at least 2. */
    bool starts_node; /* In a node of its own whatever the limits: for what was so elsewhere. */
    /* Not NULL: the blob that holds exactly texts[index], with a reference for the stream, or NULL.
     * Asked only for texts from BLOB_LEN_MIN on. */
    struct blob *(*take_blob)(void *context, uint32_t index);
    void *context;
    const struct type_limits *limits;
};

/* Adds an entry at the end. Amortised O(bytes). False: no memory, or more than 1 GiB without blobs;
 * nothing changed. */
bool stream_try_add(struct value *value, const struct stream_add *add)
    __attribute__((warn_unused_result));

/* Removes the entry with this ID, which becomes a tombstone; false when there is none.
 * O(log n + bytes of a node). */
bool stream_delete(struct value *value, struct stream_id id);

/* Removes the oldest entries. */
struct stream_trim {
    bool is_by_id;
    uint64_t count_max;      /* Entries to keep; or */
    struct stream_id min_id; /* the lowest ID to keep. */
    bool is_approximate;     /* Whole nodes only. */
    uint64_t limit;          /* Entries that may go at most; 0: any number. */
};

/* Returns how many went. O(nodes), and the bytes of one node. */
uint64_t stream_trim(struct value *value, const struct stream_trim *trim, struct work_queue *work);

/* The same in steps of about `nodes` nodes: true when all is done; `*removed` is 0 at first and
 * counts what went. And about how many nodes a trim concerns. */
bool stream_trim_step(struct value *value, const struct stream_trim *trim, size_t nodes,
                      struct work_queue *work, uint64_t *removed);
size_t stream_trim_effort(const struct value *value, const struct stream_trim *trim);

/* ---- Reading ---- */

/* A field or value as it is held, borrowed until the stream changes. */
struct stream_item {
    const char *data; /* NULL: an integer, see number. */
    size_t len;       /* Bytes at data. */
    int64_t number;
    struct blob *blob; /* Not NULL: data is all of this blob. */
};

/* Room to print an integer in. */
struct stream_scratch {
    char text[NUM_I64_TEXT_MAX + 1];
};
struct slice stream_item_text(const struct stream_item *item, struct stream_scratch *scratch);

/* An entry that a walk stands on. */
struct stream_entry {
    struct stream_id id;
    uint32_t pair_count; /* Fields with their values. */
    uint32_t pairs_left; /* Private, as all below: what stream_entry_next has still to give. */
    const char *fields;  /* The next field of the node's; NULL: fields stand before their values. */
    const char *values;
};

/* The next field and its value; false when all were given. */
bool stream_entry_next(struct stream_entry *entry, struct stream_item *field,
                       struct stream_item *value);

/* The entries from `first` to `last`, both included, or backwards. The stream must not change
 * meanwhile. Fields are private; nothing to close. */
struct stream_walk {
    struct order_cursor cursor;
    const struct stream_node *node; /* NULL: at the end. */
    const struct stream_node *tail;
    const struct order *order;
    uint32_t at;
    bool is_backward;
    struct stream_id first, last;
};
void stream_walk_begin(struct stream_walk *walk, const struct value *value, struct stream_id first,
                       struct stream_id last, bool is_backward);
bool stream_walk_next(struct stream_walk *walk, struct stream_entry *entry);

/* The node that the next entry of a forward walk lies in, when the walk has just begun or has given
 * all entries of the node before; false at the end. For writing nodes elsewhere. */
struct stream_node_view {
    struct stream_id base; /* Not above the first entry's ID. */
    uint32_t count;        /* Entries, at least 1. */
    uint32_t field_count;  /* Fields that entries may share. */
    const char *fields;    /* For stream_view_field. */
};
bool stream_walk_node(struct stream_walk *walk, struct stream_node_view *view);

/* Reads one of the node's fields; returns where the next one is. */
const char *stream_view_field(const char *at, struct stream_item *field);

/* Whether an entry, just read, has exactly the fields of its node. */
static inline bool stream_entry_shares_fields(const struct stream_entry *entry)
{
    return entry->fields != NULL;
}

/* About how many entries lie between two IDs, from the number of nodes. O(log nodes). */
uint64_t stream_count_between(const struct value *value, struct stream_id first,
                              struct stream_id last);

bool stream_has(const struct value *value, struct stream_id id);

/* The ID of the last entry; zero when there are none. O(1). */
struct stream_id stream_last_entry_id(const struct value *value);

/* How many entries were ever added up to and including `id`; -1 when deletions hide it. */
enum { STREAM_COUNT_UNKNOWN = -1 };
int64_t stream_count_until(const struct value *value, struct stream_id id);

/* Whether an entry at or after `first` may have been deleted. */
bool stream_has_tombstone_from(const struct value *value, struct stream_id first);

/* ---- Groups ---- */

/* An entry that was delivered and not acknowledged yet. In the order of its group and of its
 * consumer. */
struct stream_pending {
    struct stream_id id;              /* The entry may be gone. */
    int64_t delivered_ms;             /* Wall clock of the last delivery. */
    uint64_t delivery_count;          /* At most STREAM_COUNT_MAX. */
    struct stream_consumer *consumer; /* Never NULL in a finished group. */

    uint32_t picture;   /* Private, as all below: the picture that these are of; 0: none. */
    bool is_told;       /* As an entry of its group. */
    bool is_owner_told; /* As one of its consumer. */
};
static_assert(sizeof(struct stream_pending) == 48, "the marks lie where malloc rounds up to");

struct stream_consumer {
    struct order pending;              /* struct stream_pending by ID. */
    int64_t seen_ms;                   /* When it last tried to do something. */
    int64_t active_ms;                 /* When it last got something; -1: never. */
    struct stream_consumer_side *side; /* Private: of the picture. NULL: told, or new. */
    uint32_t picture;                  /* Private: the picture that `side` is of. */
    uint32_t name_len;
    char name[];
};

struct stream_group {
    struct order pending;           /* struct stream_pending by ID; the group's own. */
    struct order consumers;         /* struct stream_consumer by name. */
    struct stream_id last_id;       /* Of the last entry delivered. */
    int64_t entries_read;           /* Entries up to last_id, or STREAM_COUNT_UNKNOWN. */
    struct stream *stream;          /* Private, as all below: whose it is. */
    struct stream_group_side *side; /* Of the picture. NULL: told, or new. */
    uint32_t picture;               /* The picture that `side` is of. */
    uint32_t name_len;
    char name[];
};

/* Whoever changes a field of these calls the one that fits before (pictures, see below); adding,
 * removing and assigning do so themselves. */
void stream_group_will_change(struct stream_group *group);
void stream_consumer_will_change(struct stream_group *group, struct stream_consumer *consumer);
void stream_pending_will_change(struct stream_group *group, struct stream_pending *pending);

/* It was delivered once more. */
static inline void stream_pending_count(struct stream_pending *pending)
{
    pending->delivery_count += pending->delivery_count < STREAM_COUNT_MAX;
}

static inline struct slice stream_group_name(const struct stream_group *group)
{
    return slice_of(group->name, group->name_len);
}

static inline struct slice stream_consumer_name(const struct stream_consumer *consumer)
{
    return slice_of(consumer->name, consumer->name_len);
}

/* All groups by name (struct stream_group); borrowed. */
const struct order *stream_groups(const struct value *value);

struct stream_group *stream_group_find(const struct value *value, struct slice name);

/* A group whose name is new. NULL: no memory. */
struct stream_group *stream_group_try_add(struct value *value, struct slice name,
                                          struct stream_id last_id, int64_t entries_read)
    __attribute__((warn_unused_result));

/* Frees a group with its consumers and pending entries, in slices when there are many. */
void stream_group_remove(struct value *value, struct stream_group *group, struct work_queue *work);

/* Entries that the group has still to read; negative when entries_read was set too high. */
#define STREAM_LAG_UNKNOWN INT64_MIN
int64_t stream_group_lag(const struct value *value, const struct stream_group *group);

struct stream_consumer *stream_consumer_find(const struct stream_group *group, struct slice name);

/* A consumer whose name is new, seen now and never active. NULL: no memory. */
struct stream_consumer *stream_consumer_try_add(struct stream_group *group, struct slice name,
                                                int64_t now_ms) __attribute__((warn_unused_result));

/* Removes a consumer, and what it has pending from the group; returns how many that were.
 * O(pending x log n). */
size_t stream_consumer_remove(struct stream_group *group, struct stream_consumer *consumer);

/* Removes up to `max` of what it has pending, from the group too; true when nothing is left. */
bool stream_consumer_clear_step(struct stream_group *group, struct stream_consumer *consumer,
                                size_t max);

/* The first pending entry at or after `id` and a cursor on it (order_next goes on); NULL: none.
 * `pending` is a group's or a consumer's. */
struct stream_pending *stream_pending_seek(const struct order *pending, struct stream_id id,
                                           struct order_cursor *cursor);
struct stream_pending *stream_pending_find(const struct order *pending, struct stream_id id);

/* Adds an entry that is not pending. `consumer` NULL: to be given later. NULL: no memory. */
struct stream_pending *stream_pending_try_add(struct stream_group *group,
                                              struct stream_consumer *consumer, struct stream_id id)
    __attribute__((warn_unused_result));

/* Gives it to another consumer of the group. */
void stream_pending_assign(struct stream_group *group, struct stream_pending *pending,
                           struct stream_consumer *consumer);

/* Acknowledged, or gone: takes it out of group and consumer and frees it. */
void stream_pending_remove(struct stream_group *group, struct stream_pending *pending);

/* ---- Copies ---- */

/* Asked between the nodes and pending entries of a copy under way. False: give up. */
struct stream_pauses {
    bool (*goes_on)(void *context);
    void *context;
};

/* The same as the copy of its value_ops, with pauses. The stream must not change meanwhile. NULL:
 * no memory, or given up. */
struct value *stream_try_copy(const struct value *value, struct slice key, bool has_expire,
                              const struct stream_pauses *pauses)
    __attribute__((warn_unused_result));

/* ---- Pictures: a stream as it was at one moment, told in slices while it goes on changing ---- */

/* What is told, in the order in which it is told:
 *
 *     node ...  meta  { group  pending ...  consumers  { consumer  owned ... } ... } ... */
enum stream_told {
    STREAM_TOLD_NODE,
    STREAM_TOLD_META,
    STREAM_TOLD_GROUP,
    STREAM_TOLD_PENDING,   /* An entry of the group. */
    STREAM_TOLD_CONSUMERS, /* How many there are. */
    STREAM_TOLD_CONSUMER,
    STREAM_TOLD_OWNED, /* An entry of the consumer. */
};

struct stream_part {
    enum stream_told kind;
    struct stream_walk *walk;       /* Of a node: it has just begun there. */
    const struct stream_meta *meta; /* Of the stream. */
    struct slice name;              /* Of a group or consumer. */
    struct stream_id id;            /* Of an entry; the last that a group has delivered. */
    int64_t entries_read;           /* By a group. */
    int64_t moment_ms;              /* When an entry was delivered, or a consumer seen. */
    uint64_t count; /* Groups, a group's entries, consumers, a consumer's entries, deliveries. */
};
typedef void (*stream_tell_fn)(void *context, const struct stream_part *part);

enum stream_phase {
    STREAM_PHASE_NODES,
    STREAM_PHASE_META,
    STREAM_PHASE_GROUP,
    STREAM_PHASE_PENDING,
    STREAM_PHASE_CONSUMER,
    STREAM_PHASE_OWNED,
    STREAM_PHASE_END,
};

/* Embedded in its owner, which must not move it. */
struct stream_picture {
    struct stream *stream; /* NULL: there is no picture. */
    bool owns_stream;      /* Its value is gone. */
    uint32_t number;       /* Among the pictures of this stream, from 1 on. */
    enum stream_phase phase;
    struct stream_meta meta;          /* At the beginning, as the counts. */
    uint64_t node_count, group_count; /* Of them, told: */
    uint64_t nodes_told, groups_told;

    bool has_live;             /* There are nodes of the picture in the stream. */
    struct stream_id live_end; /* The base of the last of them. */
    struct stream_id cursor;   /* Nodes up to this base are told. */
    struct order kept;         /* Copies of nodes that changed; */
    struct order gone;         /* nodes that went one by one; */
    struct order taken; /* and those that went all at once, with some that are none of ours. */

    struct list sides;                 /* Of groups that are being told, or were touched; */
    struct list sides_gone;            /* and those of groups that were destroyed. */
    struct stream_group_side *current; /* The group that is being told. */
    struct stream_group *next_group;   /* In the stream; NULL: none, or not that far. */
    size_t held;                       /* Bytes of what is kept. */
    struct work_queue frees;           /* Jobs that free what it took over; it does not run them. */
};

/* Whether writing it whole would take more than about 100 us. O(1), or O(a few groups). */
bool stream_is_large(const struct value *value);

/* Takes the picture: O(1). The stream has no other. */
void stream_picture_begin(struct stream_picture *picture, const struct value *value);

/* Tells parts that weigh about `weight`: a node as many as it has entries and KiB, all others 1.
 * True: there are no more. */
bool stream_picture_step(struct stream_picture *picture, size_t weight, stream_tell_fn tell,
                         void *context);

/* Ends it, early or not; harmless for a zeroed one. The jobs in `frees` are then the caller's to
 * move to a queue that runs. */
void stream_picture_end(struct stream_picture *picture);

extern const struct value_ops stream_ops;
