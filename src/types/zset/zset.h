/* Sorted sets: members with scores, in order of score and then of the member's bytes.
 *
 *     OBJECT ENCODING   payload
 *     listpack          a pack of member, score, member, score ..., inside the block, in order
 *     skiplist          pointer to a table and a counted tree over the same entries (the name is
 *                       Redis's for its large sorted sets)
 *
 * A sorted set only ever moves down this list. It may be empty in between: whoever empties one
 * removes its key.
 *
 * Everything that is a range (by rank, by score, by member) becomes a range of ranks first, and is
 * then counted, walked or removed as such. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "ds/order.h"
#include "ds/pack.h"
#include "ds/table.h"
#include "types/limits.h"
#include "types/value.h"

/* What decides the form of a sorted set. */
struct zset_rules {
    const struct type_limits *limits; /* Borrowed. */
    uint64_t hash_seed;               /* Of the tables of large ones: the keyspace's. */
};

/* An empty sorted set in the form that suits `expected` members of at most `member_len_max` bytes.
 * NULL: no memory. */
struct value *zset_try_new(struct slice key, size_t expected, size_t member_len_max,
                           const struct zset_rules *rules) __attribute__((warn_unused_result));

size_t zset_count(const struct value *value); /* O(1); of a pack, O(members). */

/* ---- Members ---- */

enum zset_condition {
    ZSET_NX = 1 << 0,   /* Only add. */
    ZSET_XX = 1 << 1,   /* Only change what is there. */
    ZSET_GT = 1 << 2,   /* Change only to a higher score. */
    ZSET_LT = 1 << 3,   /* Change only to a lower score. */
    ZSET_INCR = 1 << 4, /* The score is added to the old one. */
};

struct zset_put {
    struct slice member;
    double score;        /* Not NaN. After the call: the member's score, unless refused. */
    unsigned conditions; /* enum zset_condition, or-ed. */
};

enum zset_result {
    ZSET_ADDED,
    ZSET_CHANGED,
    ZSET_SAME,      /* It had that score already. */
    ZSET_REFUSED,   /* By a condition; nothing changed. */
    ZSET_NAN,       /* The sum is no number; nothing changed. */
    ZSET_NO_MEMORY, /* Nothing changed. */
};

/* Adds a member, which is not part of the set, or changes its score. The set may take another form,
 * and its block may move. O(log n). */
enum zset_result zset_try_put(struct place *place, struct zset_put *put,
                              const struct zset_rules *rules) __attribute__((warn_unused_result));

/* Removes a member; false when it is not there. */
bool zset_remove(struct place *place, struct slice member);

/* The score of a member; false when it is not there. O(1); of a pack, O(members). */
bool zset_score(const struct value *value, struct slice member, double *score);

/* How many members are before it, and its score. False when it is not there. O(log n). */
bool zset_rank(const struct value *value, struct slice member, size_t *rank, double *score);

/* ---- Ranges ---- */

/* Ranks first .. end - 1. */
struct zset_ranks {
    size_t first, end;
};

struct zset_score_range {
    double min, max;
    bool is_min_open, is_max_open; /* The bound itself is outside. */
};
struct zset_ranks zset_ranks_of_scores(const struct value *value,
                                       const struct zset_score_range *range);

/* A bound in the order of members' bytes. */
enum zset_edge { ZSET_EDGE_BEFORE_ALL, ZSET_EDGE_CLOSED, ZSET_EDGE_OPEN, ZSET_EDGE_AFTER_ALL };
struct zset_lex_bound {
    enum zset_edge edge;
    struct slice text; /* Of a CLOSED or OPEN edge. */
};
struct zset_lex_range {
    struct zset_lex_bound min, max;
};

/* Meant for sets whose scores are all equal; of others, whatever comes out is a legal range. */
struct zset_ranks zset_ranks_of_members(const struct value *value,
                                        const struct zset_lex_range *range);

/* Removes ranks first .. end - 1, end not above the count. O(log n) each. */
void zset_remove_ranks(struct place *place, struct zset_ranks ranks);

/* ---- Walks ---- */

/* One member, as a walk tells it. It may point into itself, so it is not copied; the bytes hold
 * until the set changes or the item is told anew. */
struct zset_item {
    struct slice member;
    double score;
    char digits[PACK_DIGITS];
};

/* Offsets of members of a pack that are held at a time. */
enum { ZSET_WALK_BLOCK = 128 };

/* Members one after the other from a rank on: the set must not change meanwhile. Nothing to close.
 */
struct zset_walk {
    const struct value *value;
    bool is_reverse;
    size_t rank;  /* Of the next member, in a pack. */
    size_t count; /* Members of the pack. */
    union {
        struct {
            size_t first; /* Rank of the first member whose offset is held. */
            size_t held;
            uint16_t offsets[ZSET_WALK_BLOCK];
        } pack;
        struct {
            struct order_cursor cursor;
            const void *entry; /* The next one, or NULL. */
        } tree;
    };
};
void zset_walk_begin(struct zset_walk *walk, const struct value *value, size_t rank,
                     bool is_reverse);
bool zset_walk_next(struct zset_walk *walk, struct zset_item *item); /* False at the end. */

/* Tells the member at any rank below the count, with whatever the walk has at hand; the walk's own
 * place is then undefined. Cheap for small packs, O(log n) else. */
void zset_walk_at(struct zset_walk *walk, size_t rank, struct zset_item *item);

/* ZSCAN: visits members from `cursor` on, about `count` of them, in no order, and returns the next
 * cursor, 0 at the end. A small set is told whole. Members that are there throughout are told,
 * whatever happens to the set in between. */
typedef void (*zset_visit_fn)(void *context, const struct zset_item *item);
struct zset_visitor {
    zset_visit_fn visit;
    void *context;
};
uint64_t zset_scan(const struct value *value, uint64_t cursor, size_t count,
                   const struct zset_visitor *visitor);

/* The table of a large sorted set, for pictures (ds/picture.h), and what an entry of it holds; NULL
 * while it is packed. The table outlives the set while it has a guard. */
struct table *zset_table_of(const struct value *value);
void zset_item_of_entry(const void *entry, struct zset_item *item);

extern const struct value_ops zset_ops;
