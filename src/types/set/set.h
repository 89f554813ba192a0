/* Sets: few integers as sorted integers, few short members as a pack, everything else as a table.
 *
 *     OBJECT ENCODING   payload
 *     intset            sorted integers of 2, 4 or 8 bytes, inside the block
 *     listpack          a pack of the members in order of their addition, inside the block
 *     hashtable         pointer to a table; members that are short or integers live in its slots
 *
 * A set only ever moves down this list. It may be empty in between: whoever empties one removes its
 * key. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"
#include "base/slice.h"
#include "ds/table.h"
#include "types/limits.h"
#include "types/value.h"

/* ---- Members ---- */

/* One member in canonical form, as it is looked up and as a walk tells it. Borrows its bytes: from
 * whoever gave the text, or from the set until that changes. */
struct set_item {
    const char *data; /* The text; NULL: it is in `number` or in `word`. */
    size_t len;       /* Of data. */
    int64_t number;   /* When is_integer. */
    uint64_t word;    /* The member as a table slot holds it; 0: too long for that. */
    bool is_integer;  /* Its text is a canonical integer. */
};

enum { SET_SCRATCH_LEN = 24 };
struct set_scratch {
    char text[SET_SCRATCH_LEN];
};

struct set_item set_item_of(struct slice text);
struct set_item set_item_of_i64(int64_t number);

/* The member's text; written to `scratch` when it stands nowhere. */
struct slice set_item_text(const struct set_item *item, struct set_scratch *scratch);

/* ---- Sets ---- */

/* What decides the form of a set. */
struct set_rules {
    const struct type_limits *limits; /* Borrowed. */
    uint64_t hash_seed;               /* Of the tables of large sets: the keyspace's. */
};

/* An empty set in the form that suits `first` and `expected` members. NULL: no memory. */
struct value *set_try_new(struct slice key, const struct set_item *first, size_t expected,
                          const struct set_rules *rules) __attribute__((warn_unused_result));

size_t set_count(const struct value *value); /* O(1); of a pack, O(members). */

/* Prepares for `more` members that are about to be added. False: no memory, nothing changed. */
bool set_try_expect(struct place *place, size_t more, const struct set_rules *rules)
    __attribute__((warn_unused_result));

enum set_result { SET_CHANGED, SET_UNCHANGED, SET_NO_MEMORY };

/* Adds a member, which is not part of the set. The set may take another form, and its block may
 * move. */
enum set_result set_try_add(struct place *place, const struct set_item *item,
                            const struct set_rules *rules) __attribute__((warn_unused_result));

/* Removes a member, which may be borrowed from the set; false when it is not there. */
bool set_remove(struct place *place, const struct set_item *item);

bool set_has(const struct value *value, const struct set_item *item);

/* Keeps those of `count` items that are in the set (or that are not, when `is_in` is false), in
 * their order, and returns how many. The cache misses of a group are taken together. */
size_t set_keep(const struct value *value, struct set_item *items, size_t count, bool is_in);

/* About how many comparisons a lookup costs. */
size_t set_lookup_cost(const struct value *value);

/* A uniformly random member of a set that is not empty. Expected O(1); of a pack, O(members). */
struct set_item set_random(const struct value *value, struct rng *rng);

/* All members, one after the other: the set must not change meanwhile. Nothing to close. */
struct set_walk {
    const struct value *value;
    size_t at; /* Index of an integer, or offset in a pack. */
    struct table_iterator iterator;
};
void set_walk_begin(struct set_walk *walk, const struct value *value);
bool set_walk_next(struct set_walk *walk, struct set_item *item); /* False at the end. */

/* Fills `items` with up to `max` of them; returns how many, 0 at the end. */
size_t set_walk_batch(struct set_walk *walk, struct set_item *items, size_t max);

/* SSCAN: visits members from `cursor` on, about `count` of them, and returns the next cursor, 0 at
 * the end. A small set is told whole. Members that are there throughout are told, whatever happens
 * to the set in between. */
typedef void (*set_visit_fn)(void *context, const struct set_item *item);
struct set_visitor {
    set_visit_fn visit;
    void *context;
};
uint64_t set_scan(const struct value *value, uint64_t cursor, size_t count,
                  const struct set_visitor *visitor);

/* The table of a large set, for pictures (ds/picture.h), and the member that is an entry of it;
 * NULL while it is small. The table outlives the set while it has a guard. */
struct table *set_table_of(const struct value *value);
struct set_item set_item_of_entry(const void *entry);

extern const struct value_ops set_ops;
