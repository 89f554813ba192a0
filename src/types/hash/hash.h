/* Hashes: small ones as a pack inside the value's block, large ones as a table of entries.
 *
 *     encoding   payload                                  OBJECT ENCODING
 *     PACKED     field, value, field, value, ...          listpack
 *     VOLATILE   the same, behind the earliest expiry     listpackex
 *     TABLE      pointer to a table of entries            hashtable
 *
 * A hash is packed until a limit is passed (types/limits.h), and stays a table from then on.
 * Reading and changing know nothing of commands: who removes the last field removes the key. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"
#include "base/slice.h"
#include "ds/pack.h"
#include "ds/table.h"
#include "types/limits.h"
#include "types/value.h"

/* What changes need to know. */
struct hash_rules {
    const struct type_limits *limits;
    uint64_t seed; /* For the hash function of a table that begins now. */
};

/* A field and its value, borrowed until the hash changes; pack_text gives the text of either. */
struct hash_pair {
    struct pack_item field, text;
    int64_t expire_ms; /* Unix ms; HASH_NO_EXPIRE: it stays. */
};
enum { HASH_NO_EXPIRE = -1 };

/* Where fields whose time is over stay for a while (on a replica they are the primary's to remove),
 * readers hide them: every field whose last millisecond is before `hidden_ms`. 0 hides nothing. */
static inline bool hash_pair_is_hidden(const struct hash_pair *pair, int64_t hidden_ms)
{
    return pair->expire_ms >= 0 && pair->expire_ms < hidden_ms;
}

/* ---- Reading ---- */

size_t hash_count(const struct value *value);  /* Fields. O(fields) while packed, then O(1). */
bool hash_is_empty(const struct value *value); /* O(1). */

/* Fields that are not hidden. O(fields) when some are, else as hash_count. */
size_t hash_count_shown(const struct value *value, int64_t hidden_ms);

/* False: there is no such field. O(fields) while packed, then O(1). */
bool hash_find(const struct value *value, struct slice field, struct hash_pair *pair);

/* The same for readers of the value alone: a field that is hidden is not there, and of another the
 * expiry is not told. */
bool hash_find_shown(const struct value *value, struct slice field, int64_t hidden_ms,
                     struct hash_pair *pair);

/* Bytes of an item's text. */
size_t hash_text_len(const struct pack_item *item);

/* Iteration in one go: the hash must not change until it ends. Packed ones in order of insertion.
 */
struct hash_walk {
    const struct value *value;
    size_t at;         /* Of the next pair of a pack. */
    int64_t hidden_ms; /* May be set before the first step; 0: all fields are visited. */
    struct table_iterator iterator;
};
struct hash_walk hash_walk(const struct value *value);
bool hash_walk_next(struct hash_walk *walk, struct hash_pair *pair); /* False: the end. */

/* HSCAN: visits about `count` fields from `cursor` on and returns the cursor to go on with, 0 at
 * the end. A packed hash is visited as a whole. What is there throughout is visited. */
typedef void (*hash_visit_fn)(void *context, const struct hash_pair *pair);
struct hash_scan {
    hash_visit_fn visit;
    void *context;
    int64_t hidden_ms; /* As in a walk. Expiries are not told. */
};
uint64_t hash_scan(const struct value *value, uint64_t cursor, size_t count,
                   const struct hash_scan *scan);

/* Picks from the fields that are not hidden: several picks share what a packed hash costs, and one
 * of which most is hidden (O(fields) once, 8 bytes per field). Nothing to pick from: count is 0. */
struct hash_picker {
    const struct value *value;
    struct rng *rng;      /* Borrowed. */
    const char **entries; /* What to pick from, owned; NULL: the table itself. */
    size_t count;         /* Fields to pick from. */
    int64_t hidden_ms;
};
struct hash_picker hash_picker_open(const struct value *value, struct rng *rng, int64_t hidden_ms);
void hash_picker_close(struct hash_picker *picker);

/* A uniformly random pair; there is one. Expected O(1). Its expiry is told if fields are hidden. */
void hash_pick(const struct hash_picker *picker, struct hash_pair *pair);

/* Visits `count` distinct random pairs, `count` not more than there are. O(count) when that is less
 * than a third of the fields, else O(fields). */
void hash_pick_distinct(const struct hash_picker *picker, size_t count, hash_visit_fn visit,
                        void *context);

/* The table of a large hash, for pictures (ds/picture.h), and what an entry of it holds; NULL while
 * it is packed. The table's contents outlive the hash while it has a guard, whose `table` says
 * where they are. */
struct table *hash_table_of(const struct value *value);
void hash_pair_of(const struct table *table, const void *entry, struct hash_pair *pair);

/* ---- Changing ---- */

/* An empty hash, packed. NULL: no memory. */
struct value *hash_try_new(struct slice key, bool has_expire) __attribute__((warn_unused_result));

/* HASH_NO_MEMORY: nothing has changed. */
enum hash_put_result { HASH_NO_MEMORY, HASH_ADDED, HASH_REPLACED };

/* Sets a field, which with its value is not part of the hash. May convert a packed hash. */
enum hash_put_result hash_try_put(struct place *place, struct slice field, struct slice text,
                                  const struct hash_rules *rules)
    __attribute__((warn_unused_result));

/* The same with an expiry (unix ms below 2^48, or HASH_NO_EXPIRE). The field then stays until
 * hash_expire is called with a later time: whoever stores the hash sees to that. */
enum hash_put_result hash_try_put_until(struct place *place, struct slice field, struct slice text,
                                        int64_t expire_ms, const struct hash_rules *rules)
    __attribute__((warn_unused_result));

/* A field, its value and its expiry, from elsewhere. */
struct hash_pair_text {
    struct slice field, text;
    int64_t expire_ms;
};

/* What the builder of a hash knows of the fields that it has put. Zeroed it knows of none. */
struct hash_fields {
    uint32_t *hashes; /* An open table of them, owned; NULL while they are few. */
    uint32_t cap;
    uint32_t count;
};
void hash_fields_deinit(struct hash_fields *fields);

/* hash_try_put_until for one who builds a hash from what should hold each field once: expected
 * O(1), where a packed hash is not searched for a field that cannot be there. `fields` knows of all
 * that were put, and of nothing else. */
enum hash_put_result hash_try_append(struct place *place, const struct hash_pair_text *pair,
                                     struct hash_fields *fields, const struct hash_rules *rules)
    __attribute__((warn_unused_result));

/* Gives a field that is there another expiry. False: no memory. */
bool hash_try_set_expire(struct place *place, struct slice field, int64_t expire_ms,
                         const struct hash_rules *rules) __attribute__((warn_unused_result));

/* Removes a field; false: there was none. The hash may be empty then. Cannot fail. */
bool hash_remove(struct place *place, struct slice field);

/* ---- Expiry of fields; for hashes with VALUE_HAS_VOLATILE_PARTS ---- */

static inline bool hash_is_volatile(const struct value *value)
{
    return (value->flags & VALUE_HAS_VOLATILE_PARTS) != 0;
}

/* Whether any field has an expiry: a volatile hash may have lost them all. O(fields) while packed,
 * then O(1). */
bool hash_has_expiring_fields(const struct value *value);

/* A moment before which no field expires (unix ms), and the place in the owner's timer wheel: both
 * in one word that the hash keeps for its owner. */
int64_t hash_next_expiry_ms(const struct value *value);
uint16_t hash_wheel_place(const struct value *value);
void hash_set_wheel_place(struct value *value, uint16_t wheel_place);

/* Removes at most `max` fields whose last millisecond has passed; `on_field` is called before each
 * goes. True: no such field is left, and hash_next_expiry_ms is later than `now_ms` or the hash is
 * volatile no more. The hash may be empty then. */
typedef void (*hash_expire_fn)(void *context, struct slice field);
bool hash_expire(struct place *place, int64_t now_ms, size_t max, hash_expire_fn on_field,
                 void *context);

extern const struct value_ops hash_ops;
