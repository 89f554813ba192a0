/* Hashes: small ones as a pack inside the value's block, large ones as a table of entries.
 *
 *     encoding   payload                                  OBJECT ENCODING
 *     PACKED     field, value, field, value, ...          listpack
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
};

/* ---- Reading ---- */

size_t hash_count(const struct value *value);  /* Fields. O(fields) while packed, then O(1). */
bool hash_is_empty(const struct value *value); /* O(1). */

/* False: there is no such field. O(fields) while packed, then O(1). */
bool hash_find(const struct value *value, struct slice field, struct hash_pair *pair);

/* Bytes of an item's text. */
size_t hash_text_len(const struct pack_item *item);

/* Iteration in one go: the hash must not change until it ends. Packed ones in order of insertion.
 */
struct hash_walk {
    const struct value *value;
    size_t at; /* Of the next pair of a pack. */
    struct table_iterator iterator;
};
struct hash_walk hash_walk(const struct value *value);
bool hash_walk_next(struct hash_walk *walk, struct hash_pair *pair); /* False: the end. */

/* HSCAN: visits about `count` fields from `cursor` on and returns the cursor to go on with, 0 at
 * the end. A packed hash is visited as a whole. What is there throughout is visited. */
typedef void (*hash_visit_fn)(void *context, const struct hash_pair *pair);
uint64_t hash_scan(const struct value *value, uint64_t cursor, size_t count, hash_visit_fn visit,
                   void *context);

/* Picks from a hash that is not empty: several picks share what a packed one costs (O(fields) once,
 * 4 bytes per field). */
struct hash_picker {
    const struct value *value;
    struct rng *rng;   /* Borrowed. */
    uint32_t *offsets; /* Of the pairs of a pack, owned; NULL for a table. */
    size_t count;      /* Fields. */
};
struct hash_picker hash_picker_open(const struct value *value, struct rng *rng);
void hash_picker_close(struct hash_picker *picker);

/* A uniformly random pair. Expected O(1). */
void hash_pick(const struct hash_picker *picker, struct hash_pair *pair);

/* Visits `count` distinct random pairs, `count` not more than there are. O(count) when that is less
 * than a third of the fields, else O(fields). */
void hash_pick_distinct(const struct hash_picker *picker, size_t count, hash_visit_fn visit,
                        void *context);

/* ---- Changing ---- */

/* An empty hash, packed. NULL: no memory. */
struct value *hash_try_new(struct slice key, bool has_expire) __attribute__((warn_unused_result));

/* HASH_NO_MEMORY: nothing has changed. */
enum hash_put_result { HASH_NO_MEMORY, HASH_ADDED, HASH_REPLACED };

/* Sets a field, which with its value is not part of the hash. May convert a packed hash. */
enum hash_put_result hash_try_put(struct place *place, struct slice field, struct slice text,
                                  const struct hash_rules *rules)
    __attribute__((warn_unused_result));

/* Removes a field; false: there was none. The hash may be empty then. Cannot fail. */
bool hash_remove(struct place *place, struct slice field);

extern const struct value_ops hash_ops;
