/* Private to the room: what the files of keyspace/ share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ds/table.h"
#include "ds/wheel.h"
#include "keyspace/keyspace.h"
#include "keyspace/pin.h"
#include "types/hash/hash.h"

enum { EVICT_POOL_CAP = 16 };

/* A key that looked worth evicting. It is named by its hash, not by a pointer: it may be gone by
 * the time that it is chosen. */
struct evict_candidate {
    uint64_t score; /* Higher goes first. */
    uint64_t hash;
    unsigned db_index;
};

/* The best candidates seen so far, ascending by score. */
struct evict_pool {
    struct evict_candidate at[EVICT_POOL_CAP];
    unsigned count;
};

/* Where moving values stands; see defrag.c. */
struct defrag {
    bool is_running;
    unsigned db_index;
    unsigned share;      /* Percent of the time. */
    uint64_t cursor;     /* In that database's table. */
    uint64_t pass_moved; /* In this pass. */
    uint64_t pass_kept;
    bool is_pass_vain; /* The last pass hardly moved anything. */
    size_t vain_waste; /* What the heap wasted after it. */
    int64_t look_us;   /* When the heap is to be looked at again. */
    int64_t due_us;    /* When the next slice is due. */
};

/* What the limit adds for wasted pages; see pressure.c. */
struct pressure {
    uint64_t look_at;   /* The turnover at which the heap is to be looked at again. */
    uint64_t retry_at;  /* Moving values does not help until this turnover ... */
    size_t vain_excess; /* ... or until there is clearly more than this excess. */
    size_t excess;      /* Bytes wasted beyond the allowance, as of the last look. */
    size_t base;        /* Bytes wasted before there was any data. */
};

struct db {
    struct keyspace *keyspace;
    uint64_t hash_seed;    /* The keyspace's, close at hand. */
    struct table table;    /* Of struct value. */
    struct table watches;  /* Of struct watch. */
    struct wheel wheel;    /* Of the top 32 bits of hashes. */
    struct wheel parts;    /* The same, of hashes with volatile fields. */
    size_t volatile_count; /* Values with an expiry that is filed in the wheel. */
    size_t stream_count;   /* Values that are streams. */
    unsigned index;
    bool is_compacting; /* A round of the wheel's compaction is under way. */
    bool is_compacting_parts;
};

struct keyspace {
    struct db *dbs;
    unsigned db_count;
    bool may_remove;    /* Expired keys may be removed; else they are hidden. */
    bool shows_expired; /* Or are as good as others, for a while. */
    bool is_frozen;     /* Nothing may be removed, for a while. */
    bool wants_removal; /* may_remove when not frozen. */
    bool is_active;     /* The wheel runs. */
    bool is_lfu;        /* The access field holds minutes and a counter. */
    uint32_t now_s;     /* Unix seconds of the last lookup: the access time of new values. */
    struct keyspace_stats stats;
    uint64_t hash_seed;
    struct table_kind value_kind, watch_kind, pin_kind;
    struct table pins; /* Of struct pin_entry. */
    size_t pin_count, edit_count;
    keyspace_pin_fn on_pin; /* May be NULL. */
    void *pin_context;
    struct rng *rng;
    keyspace_removal_fn on_removal; /* May be NULL. */
    void *removal_context;
    keyspace_part_fn on_part; /* May be NULL. */
    void *part_context;
    keyspace_insert_fn on_insert; /* May be NULL. */
    void *insert_context;
    keyspace_overhead_fn overhead; /* May be NULL. */
    void *overhead_context;
    struct keyspace_config config;

    /* Frees in slices have a queue of their own, so that eviction knows what is on its way; one job
     * in the server's queue steps through it. */
    struct work_queue *work;
    struct work_queue frees;
    struct work_job frees_job;
    bool is_frees_job_queued;

    struct list parts_edits; /* Of struct parts_edit; see parts.c. */

    unsigned expire_db;        /* Where the next expiry step begins. */
    unsigned evict_db;         /* Where the next random eviction looks. */
    int64_t exceeded_since_us; /* Monotonic time when the limit was passed; 0: below it. */
    struct evict_pool pool;
    struct defrag defrag;
    struct pressure pressure;
};

/* --- db.c --- */

static inline uint32_t db_wheel_ref(uint64_t hash)
{
    return (uint32_t)(hash >> 32);
}

/* The moment at which the wheel hands a key over: a key lives through its last millisecond. */
static inline int64_t db_due_ms(int64_t expire_ms)
{
    return expire_ms + 1;
}

static inline bool db_is_expired(const struct value *value, int64_t now_ms)
{
    return value_has_expire(value) && value_expire_ms(value) < now_ms;
}

/* The hash that a stored value was inserted with. */
static inline uint64_t db_value_hash(const struct db *db, const struct value *value)
{
    return hash_bytes(db->hash_seed, value_key(value));
}

/* Where this very value is stored. */
struct place db_place_of(struct db *db, uint64_t hash, struct value *value);

/* Removes for `why`, through the hook. is_filed: if it is volatile, its reference is in the wheel.
 */
void db_remove_for(struct db *db, uint64_t hash, struct place place, enum key_removal why,
                   bool is_filed);

/* --- flush.c --- */

void keyspace_frees_init(struct keyspace *keyspace);
void keyspace_frees_deinit(struct keyspace *keyspace);

/* Frees a value that is stored nowhere, in slices when it is large. */
void keyspace_free_value(struct keyspace *keyspace, struct value *value);

/* One slice of what waits to be freed; false when there was nothing. */
bool keyspace_free_step(struct keyspace *keyspace);

/* --- defrag.c --- */

/* Moves what is sparse among a few values; false at the end of a pass over all that moved few.
 * About 10 us. */
bool defrag_push(struct keyspace *keyspace);

/* --- pressure.c --- */

void pressure_init(struct keyspace *keyspace);

/* Bytes by which wasted pages bring the limit nearer. Looks at the heap when enough has changed. */
size_t pressure_excess(struct keyspace *keyspace);

/* A slice of work against it: about 10 us. False: only eviction helps. */
bool pressure_relieve(struct keyspace *keyspace);

/* --- expiry.c --- */

/* Whether the reference belongs to a value that remembers it; that value or NULL. */
struct value *db_find_reference(const struct db *db, uint32_t ref, uint16_t place);

/* --- parts.c --- */

static inline bool db_has_parts(const struct value *value)
{
    return (value->flags & VALUE_HAS_VOLATILE_PARTS) != 0;
}

/* All for values with volatile fields. */
void db_file_parts(struct db *db, uint64_t hash, struct value *value);
void db_unfile_parts(struct db *db, struct value *value);
struct value *db_find_parts(const struct db *db, uint32_t ref, uint16_t place);

/* Removes at most `max` expired fields. False: the key went with the last. */
bool db_expire_parts(struct db *db, uint64_t hash, struct place *place, int64_t now_ms, size_t max);

void db_parts_step(struct db *db, int64_t now_ms, size_t refs_max);
void db_parts_compact(struct db *db, size_t refs_max);
void parts_init(struct keyspace *keyspace);
void parts_deinit(struct keyspace *keyspace); /* Jobs that are left are given up. */

/* --- access.c --- */

/* Notes the time of a lookup. */
static inline void access_see(struct keyspace *keyspace, int64_t now_ms)
{
    uint32_t now_s = (uint32_t)(now_ms / 1000);
    if (keyspace->now_s != now_s) {
        keyspace->now_s = now_s;
    }
}

uint32_t access_first(const struct keyspace *keyspace);
void access_touch_lfu(struct keyspace *keyspace, struct value *value);

/* Writes only what changes: most touches of a hot key within a second write nothing. */
static inline void access_touch(struct keyspace *keyspace, struct value *value)
{
    if (__builtin_expect(keyspace->is_lfu, 0)) {
        access_touch_lfu(keyspace, value);
        return;
    }
    uint32_t now = keyspace->now_s & 0xffffff;
    if (value->access != now) {
        value->access = now & 0xffffff;
    }
}

/* --- pin.c --- */

void pins_init(struct keyspace *keyspace);
void pins_deinit(struct keyspace *keyspace);

/* All for pinned values. A stored one has lost its key: it is kept aside. */
void pin_detach(struct keyspace *keyspace, struct value *value);
void pin_hurry(const struct keyspace *keyspace, const struct value *value);

/* Whether the key must stay; for any value. */
bool pin_keeps(const struct keyspace *keyspace, const struct value *value);

/* --- watch.c --- */

/* For every watched key of `db` that is in it or, when given, in `other`. */
void watch_bump_all(struct db *db, struct db *other);
void watch_free_all(struct db *db);
void watch_init(struct keyspace *keyspace);
