/* A hash set of pointers to entries. An entry holds its own key; the table knows nothing of its
 * form and asks through `struct table_kind` for its hash. The essay is in table.c; lookups
 * (table_find, table_find_slot, table_prefetch) are in table_lookup.h, inline so that the caller's
 * comparison is inlined too. Entries' addresses fit in 48 bits and are never NULL.
 *
 * Hashes must be well mixed in all 64 bits (XXH3): the top bits choose the segment and the bucket,
 * the low 8 are the tag. Positions in the table ("cursors") are hash >> 16: below 2^48, and valid
 * whatever its size. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/rng.h"
#include "ds/table_lookup.h"

/* `kind` is borrowed. Allocates nothing. */
void table_init(struct table *table, const struct table_kind *kind);

/* Frees segments and directory at once, not the entries; the table is then empty and usable. For
 * large tables see table_drain_begin. */
void table_deinit(struct table *table);

static inline size_t table_count(const struct table *table)
{
    return table->count;
}

/* Bytes of segments and directory, without the struct itself. O(1). */
static inline size_t table_memory(const struct table *table)
{
    return table->memory;
}

/* --- Change ---------------------------------------------------------------------------------- */

/* Adds an entry whose key is known to be absent; returns its slot. Amortised O(1); the worst call
 * splits one segment (about 1,400 entries, whose hashes are read again). Does not fail. */
uint64_t *table_insert(struct table *table, uint64_t hash, void *entry);

/* Removes what `slot` holds; `hash` is that entry's. The entry itself is the caller's to free.
 * Amortised O(1); may shrink or merge segments. */
void table_remove_slot(struct table *table, uint64_t hash, uint64_t *slot);

/* Removes and returns the matching entry, or NULL. */
static inline __attribute__((always_inline)) void *
table_remove(struct table *table, uint64_t hash, const void *key, table_equal_fn equal)
{
    uint64_t *slot = table_find_slot(table, hash, key, equal);
    if (slot == NULL) {
        return NULL;
    }
    void *entry = table_slot_entry(slot);
    table_remove_slot(table, hash, slot);
    return entry;
}

/* Prepares an empty table for `count` entries, as far as a bounded amount of work (about a megabyte
 * of segments) goes; on a table with entries it does nothing. */
void table_reserve(struct table *table, size_t count);

/* The same for all of them, however long it takes. For an owner that
 * inserts in order of hash, as one who copies another table does: without room that is slow,
 * because every split of the way leaves all entries on one side. */
void table_reserve_all(struct table *table, size_t count);

/* The same in steps of some 30 us. Zero it, set `count`, and step until true is returned; entries
 * that come in between end it. */
struct table_reservation {
    size_t count;   /* Of entries. */
    uint64_t at;    /* Private: hash of the next segment. */
    uint32_t level; /* Private: depth that segments are being brought to. */
};
bool table_reserve_step(struct table *table, struct table_reservation *reservation)
    __attribute__((warn_unused_result));

/* --- Guards ---------------------------------------------------------------------------------- */

/* Somebody who must see what is about to change: a picture (ds/picture.h). A table has at most one,
 * which outlives its stay. */
struct table_guard {
    struct table *table; /* Where the contents are, wherever they are moved by this file. */
    /* The entry with this hash is about to be added, removed, or changed in place. Must not change
     * the table. */
    void (*before)(struct table_guard *guard, uint64_t hash);
    /* Whether a change at this hash no longer concerns the guard. */
    bool (*has_passed)(const struct table_guard *guard, uint64_t hash);
    struct list parked; /* Jobs that free the contents, once the guard has gone (work_park). */
};

void table_set_guard(struct table *table, struct table_guard *guard);
void table_clear_guard(struct table_guard *guard);

/* Whoever changes an entry in place says so before. Insertion and removal do it themselves. */
static inline void table_will_change(struct table *table, uint64_t hash)
{
    if (__builtin_expect(table->guard != NULL, 0)) {
        table->guard->before(table->guard, hash);
    }
}

/* Exchanges the contents, guards included. */
void table_swap(struct table *one, struct table *other);

/* --- Walks ----------------------------------------------------------------------------------- */

/* Must not modify the table. */
typedef void (*table_visit_fn)(void *context, void *entry);

struct table_walk {
    table_visit_fn visit;
    void *context;
    size_t entries_max; /* No further bucket is begun once so many entries were visited. */
    size_t buckets_max; /* At most so many buckets; at least one is always visited. */
};

/* Visits entries in order of hash from `cursor` on and returns the cursor to go on with; 0 is start
 * and end. The table may change between calls in any way: what is present throughout the walk is
 * visited exactly once. An entry inserted meanwhile is visited if and only if its hash >> 16 is not
 * below the cursor at that time. A cursor from a client may be any number; values of 2^48 and more
 * end the walk. */
uint64_t table_scan(const struct table *table, uint64_t cursor, const struct table_walk *walk);

/* The range of cursors [first, end) of the bucket where `hash` lives; end is 1 << 48 for the last.
 * An empty table is one range. */
struct table_range {
    uint64_t first, end;
};
struct table_range table_home_range(const struct table *table, uint64_t hash);

/* Visits every entry whose hash has `prefix` in its top 32 bits, and, while the table is small
 * enough that it does not store all of those bits, perhaps a few others: the visitor checks. About
 * one bucket. */
void table_find_prefix(const struct table *table, uint32_t prefix, table_visit_fn visit,
                       void *context);

/* Iteration in one go: the table must not change until it ends. No allocation, nothing to close. */
struct table_iterator {
    const struct table *table;
    uint64_t word_index; /* Next directory word. */
    struct table_bucket *bucket, *bucket_end;
    uint32_t slot;
};
void table_iterate(const struct table *table, struct table_iterator *iterator);
void *table_next(struct table_iterator *iterator); /* NULL at the end. */

/* A uniformly random entry, NULL when there is none. Expected O(1). */
void *table_random(const struct table *table, struct rng *rng);

/* Up to `max` distinct entries that lie together at a random place: a few cache lines for a whole
 * sample, so not quite fair. Returns how many; at least 1 when the table has entries and max > 0.
 */
size_t table_sample(const struct table *table, struct rng *rng, void **out, size_t max);

/* --- Destruction in slices ------------------------------------------------------------------- */

/* Contents that were taken from a table, on their way to be freed. */
struct table_drain {
    struct table table;  /* Private. */
    uint64_t word_index; /* Directory word of the segment being emptied. */
    uint32_t bucket;     /* Next bucket in it. */
};

/* Moves everything out of `table`, its guard included; it is empty afterwards. O(1). */
void table_drain_begin(struct table_drain *drain, struct table *table);

/* Hands over about `entries_max` entries to `visit`, which owns them (it may free them), and frees
 * segments as they are finished. Returns true when all is gone. Not while there is a guard. */
bool table_drain_step(struct table_drain *drain, table_visit_fn visit, void *context,
                      size_t entries_max);

/* Entries not yet handed over. */
static inline size_t table_drain_count(const struct table_drain *drain)
{
    return drain->table.count;
}

/* Asserts the invariants listed in table.c. O(n), reads every entry's hash. */
void table_check(const struct table *table);
