/* The databases: key to value, with exact expiry, bounded memory, cursors and key versions.
 *
 *     struct keyspace
 *       db[0] -> table of values, timer wheel of 32-bit hash references, watched keys
 *       db[1] -> ...
 *
 * Everything takes the time (unix ms) from its caller. An expired key is never visible: lookups
 * remove it on sight, and the wheel removes it within milliseconds of its moment even when nobody
 * looks. Values leave through one door (removal), which tells the hook why, so that logs, replicas
 * and notifications learn of expiry and eviction as of any write. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/rng.h"
#include "base/slice.h"
#include "base/work.h"
#include "ds/table.h"
#include "types/value.h"

struct db;
struct keyspace;

enum key_removal { KEY_EXPIRED, KEY_EVICTED };

/* Called before the key goes; `key` and `value` are still there. Only expiry and eviction call it:
 * commands report their own changes. */
typedef void (*keyspace_removal_fn)(void *context, struct db *db, struct slice key,
                                    const struct value *value, enum key_removal why);

/* Fields of a hash expire. PART_EXPIRED comes for each field before it goes, then PARTS_EXPIRED
 * once, then PARTS_GONE when the key goes with them; `field` is empty in the latter two. */
enum part_news { PART_EXPIRED, PARTS_EXPIRED, PARTS_GONE };
typedef void (*keyspace_part_fn)(void *context, struct db *db, struct slice key, struct slice field,
                                 enum part_news news);

enum eviction_policy {
    EVICT_NONE,
    EVICT_ALL_LRU,
    EVICT_ALL_LFU,
    EVICT_ALL_RANDOM,
    EVICT_VOLATILE_LRU,
    EVICT_VOLATILE_LFU,
    EVICT_VOLATILE_RANDOM,
    EVICT_VOLATILE_TTL,
};

/* Filled by the composition root and changed at run time through keyspace_configure. */
struct keyspace_config {
    uint64_t memory_max; /* Bytes for the data set; 0 is unlimited. */
    enum eviction_policy policy;
    unsigned sample_count; /* maxmemory-samples */
    unsigned lfu_log_factor;
    unsigned lfu_decay_minutes;
    unsigned eviction_tenacity; /* 0..100, share of time that eviction may take. */
    bool is_defragmenting;      /* activedefrag */
};

struct keyspace_options {
    unsigned db_count;
    uint64_t hash_seed;
    struct rng *rng;         /* Borrowed for the keyspace's life. */
    struct work_queue *work; /* Large frees go here. Borrowed. */
    int64_t now_ms; /* Unix time at start, where the timer wheels begin; 0 works, slower. */
    keyspace_removal_fn on_removal;
    void *removal_context;
};

struct keyspace_stats {
    uint64_t hits, misses;
    uint64_t expired, evicted;
    uint64_t expired_fields;            /* Of hashes. */
    uint64_t expired_stale_percent_e2;  /* INFO expired_stale_perc x 100. */
    uint64_t expire_cycle_us;           /* CPU spent in active expiry. */
    uint64_t eviction_exceeded_us;      /* Time spent over the limit. */
    uint64_t defrag_moved, defrag_kept; /* Values that were moved, and that were looked at only. */
    uint64_t defrag_us;                 /* CPU spent in moving them. */
};

struct keyspace *keyspace_new(const struct keyspace_options *options);
void keyspace_free(struct keyspace *keyspace);
void keyspace_configure(struct keyspace *keyspace, const struct keyspace_config *config);
const struct keyspace_config *keyspace_config(const struct keyspace *keyspace);
struct keyspace_stats *keyspace_stats(struct keyspace *keyspace);
uint64_t keyspace_hash_seed(const struct keyspace *keyspace);

unsigned keyspace_db_count(const struct keyspace *keyspace);
struct db *keyspace_db(struct keyspace *keyspace, unsigned index); /* index < count */
unsigned db_index(const struct db *db);
struct keyspace *db_keyspace(struct db *db);

/* ---- One key ---- */

/* The hash that everything below takes; computed once per command so that it can be prefetched. */
uint64_t db_hash(const struct db *db, struct slice key);

/* A key that will be looked up. */
struct db_look {
    const struct db *db;
    uint64_t hash;
};

/* Begins to load the values of keys: up to DB_LOOKS_MAX at once, and the more the better, for their
 * misses overlap. */
enum { DB_LOOKS_MAX = 32 };
void db_prefetch(const struct db_look *looks, unsigned count);

/* For whoever looks ahead one key at a time: begins to load the bucket, and, a little later, the
 * value. */
void db_prefetch_bucket(const struct db *db, uint64_t hash);
void db_prefetch_value(const struct db *db, uint64_t hash);

enum find_flag {
    FIND_READ = 1 << 0,     /* Counts a hit or miss. */
    FIND_NO_TOUCH = 1 << 1, /* Leaves the access time alone (OBJECT, TYPE, CLIENT NO-TOUCH). */
    FIND_EXPIRED = 1 << 2,  /* Also what has expired (commands that come from a primary). */
};

/* The value, or NULL when there is none or it has expired (then it is removed, or only hidden when
 * expiry is not this server's to decide). Such a removal makes other places of this db invalid. */
struct value *db_find(struct db *db, struct slice key, uint64_t hash, int64_t now_ms,
                      unsigned flags);

/* The same with its place, for changing it; place.value is NULL when absent. A picture of the
 * database is told before: whoever changes a value has found its place here, in this command. */
struct place db_find_place(struct db *db, struct slice key, uint64_t hash, int64_t now_ms,
                           unsigned flags);

/* Fields of hashes that expired before this moment are there but must not be seen: lookups have
 * left them, as their removal is not this server's to decide, or as the hash is pinned. 0: lookups
 * remove what has expired.
 */
int64_t db_hidden_ms(const struct db *db, int64_t now_ms);

/* Stores a value whose key (value_key) is absent. Sets its access time. Returns its place. */
struct place db_insert(struct db *db, uint64_t hash, struct value *take_value);

/* Replaces the value at `place` (same key): the old one is freed, in slices when it is large. When
 * the new block has room for an expiry, db_set_expire must follow before the next lookup; otherwise
 * the key has none. The same holds for db_insert. */
void db_replace(struct db *db, struct place *place, struct value *take_value);

/* Removes; the value is freed (in slices when large). */
void db_remove(struct db *db, uint64_t hash, struct place place);

/* Removes and hands over; expiry bookkeeping is undone, the block still has its key. For RENAME and
 * MOVE. */
struct value *db_take(struct db *db, uint64_t hash, struct place place);

/* Sets the expiry (unix ms, clamped to VALUE_EXPIRE_MS_MAX), growing the block when it has no room.
 * False: no memory. */
bool db_set_expire(struct db *db, uint64_t hash, struct place *place, int64_t expire_ms)
    __attribute__((warn_unused_result));

/* Drops the expiry; true when there was one. */
bool db_clear_expire(struct db *db, struct place *place);

/* Called by code that changed the value at `place` so that its block has lost the expiry room that
 * it had (string_try_set without expiry): keeps the count of volatile keys right. */
void db_note_expire_lost(struct db *db, struct place *place);

/* Called by code that gave fields of the hash at `place` an expiry. */
void db_note_parts(struct db *db, uint64_t hash, struct place place);

/* Called for each key that db_insert adds, which it must not change; NULL: nobody wants to know. */
typedef void (*keyspace_insert_fn)(void *context, struct db *db, struct slice key);
void keyspace_set_insert_hook(struct keyspace *keyspace, keyspace_insert_fn fn, void *context);

/* Whom expired fields are told to; one for the keyspace. */
void keyspace_set_part_hook(struct keyspace *keyspace, keyspace_part_fn fn, void *context);

/* ---- Pictures: see ds/picture.h ---- */

/* The table of values, which a picture may guard. Its contents may move to another database or to
 * deferred work; the guard goes with them. */
struct table *db_table(struct db *db);

/* False: a picture has not been told the key, which must not have changed since. */
bool db_has_told(const struct db *db, struct slice key);

/* Whether there may be hashes with fields that expire. */
bool db_has_volatile_fields(const struct db *db);
size_t db_stream_count(const struct db *db); /* Keys that hold a stream. */

/* Jobs that waited for a picture to end (table_guard.parked) go to the queue of what is to be
 * freed. */
void keyspace_unpark(struct keyspace *keyspace, struct list *parked);

/* ---- Whole databases ---- */

size_t db_count(const struct db *db); /* Keys, expired but not yet reclaimed ones included. */
size_t db_volatile_count(const struct db *db);                  /* Keys with an expiry. */
int64_t db_average_ttl_ms(const struct db *db, int64_t now_ms); /* Sampled; 0 when none. */
size_t db_table_memory(const struct db *db);
size_t db_expiry_memory(const struct db *db);

/* Empties a database in O(1) and frees its contents as deferred work (or at once). Returns how many
 * keys there were. */
size_t db_flush(struct db *db, bool is_now);
void keyspace_swap(struct keyspace *keyspace, unsigned a, unsigned b);

/* Makes room in an empty database; see table_reserve_step. */
bool db_reserve_step(struct db *db, struct table_reservation *reservation)
    __attribute__((warn_unused_result));

/* SCAN: visits live keys from `cursor` on and returns the next cursor, 0 at the end. At least one
 * bucket, then until `count` keys were visited. The visitor must not change the database. Keys
 * present throughout a full scan are visited, each exactly once. */
typedef void (*db_visit_fn)(void *context, struct slice key, const struct value *value);
uint64_t db_scan(struct db *db, uint64_t cursor, size_t count, int64_t now_ms, db_visit_fn visit,
                 void *context);

/* A uniformly random live key; NULL when there is none. */
struct value *db_random(struct db *db, int64_t now_ms);

/* Deep check of every invariant; asserts. O(keys). */
void db_check(struct db *db);

/* ---- Time and memory ---- */

/* Whether expired keys may be removed (a replica only hides them) and whether DEBUG SET-ACTIVE-
 * EXPIRE left the wheel running. */
void keyspace_set_expiry(struct keyspace *keyspace, bool may_remove, bool is_active);

/* While they are shown, keys and fields whose time has come are as good as others: for what a
 * primary sends, which alone says what expires. Only where expired keys may not be removed. */
void keyspace_show_expired(struct keyspace *keyspace, bool is_shown);
bool keyspace_shows_expired(const struct keyspace *keyspace);

/* While it is frozen nothing expires or is evicted: keys whose time has come are only hidden. */
void keyspace_freeze(struct keyspace *keyspace, bool is_frozen);

/* Removes expired keys until `deadline_mono_us` and tidies the timer wheels. Returns true when work
 * is left that is worth another step soon. */
bool keyspace_expire_step(struct keyspace *keyspace, int64_t now_ms, int64_t deadline_mono_us);

/* Looks at a few hashes whose fields are due, before the commands of a turn: see parts.c. Cheap
 * when there are none. True: more are due, so whoever is about to name a key calls db_lead_parts.
 */
bool keyspace_lead_parts(struct keyspace *keyspace, int64_t now_ms);

/* If the key's hash has more fields due than one step removes, they go in steps from now on, and it
 * is pinned meanwhile. */
void db_lead_parts(struct db *db, struct slice key, uint64_t hash, int64_t now_ms);

/* The next unix ms at which something expires; INT64_MAX for never. */
int64_t keyspace_next_expiry_ms(const struct keyspace *keyspace);

/* Bytes of the data set: allocated bytes minus what the composition root says is not data (buffers,
 * replication, scripts, start-up). */
typedef size_t (*keyspace_overhead_fn)(void *context);
void keyspace_set_overhead(struct keyspace *keyspace, keyspace_overhead_fn fn, void *context);
size_t keyspace_memory(const struct keyspace *keyspace);

/* Whether the data set, and what it wastes of its pages beyond an allowance, is within the limit. A
 * few loads; now and then a look at the heap, 10 us. */
bool keyspace_fits(struct keyspace *keyspace);

/* Whether all that is over the limit by more than a 128th. */
bool keyspace_is_far_over(struct keyspace *keyspace);

/* Evicts, and moves values out of sparse pages, until the data set fits or `deadline_mono_us` has
 * passed. Memory that waits to be freed is freed first. EVICT_FITS: below the limit. EVICT_BUSY:
 * still above, more can go. EVICT_FULL: nothing may be evicted, writes that need memory must be
 * refused. */
enum evict_result { EVICT_FITS, EVICT_BUSY, EVICT_FULL };
enum evict_result keyspace_evict_step(struct keyspace *keyspace, int64_t now_ms,
                                      int64_t deadline_mono_us);

/* Microseconds that one eviction step may take, by the configured tenacity; INT64_MAX: no limit. */
int64_t keyspace_evict_budget_us(const struct keyspace *keyspace);

/* Moves values out of sparsely filled pages, so that the pages can go back to the kernel. Called
 * between commands, when keyspace_defrag_due_us has come: looks now and then whether the heap
 * wastes enough, and if so works for at most `budget_us`. Places become invalid. */
void keyspace_defrag_step(struct keyspace *keyspace, int64_t now_mono_us, int64_t budget_us);

/* When the next step is due; INT64_MAX when switched off. */
int64_t keyspace_defrag_due_us(const struct keyspace *keyspace);

/* Percent of the time that moving takes now; 0 while it rests. */
unsigned keyspace_defrag_share(const struct keyspace *keyspace);

/* Moves what is sparse in one go, whatever the heap looks like: for tests. */
void keyspace_defrag_all(struct keyspace *keyspace);

/* Access clocks for OBJECT. idle in seconds; frequency 0..255 decayed to now. */
int64_t keyspace_idle_s(const struct keyspace *keyspace, const struct value *value, int64_t now_ms);
unsigned keyspace_frequency(const struct keyspace *keyspace, const struct value *value,
                            int64_t now_ms);
void keyspace_set_access(struct keyspace *keyspace, struct value *value, int64_t idle_s,
                         int frequency, int64_t now_ms);

/* ---- Key versions: what WATCH compares ---- */

/* Watched keys alone have versions, so that an unwatched key pays one test per change. A watch is a
 * reference to (db, key); the version changes with every change of the key, its expiry included,
 * and with flushes and swaps that affect it. */
struct watch;
struct watch *db_try_watch(struct db *db, struct slice key); /* NULL: no memory. */
struct slice db_watch_key(const struct watch *watch);
void db_unwatch(struct db *db, struct watch *watch);
uint64_t db_watch_version(const struct watch *watch);

/* Tells that a key changed; called by exec for every change. Cheap when nothing is watched. */
void db_bump(struct db *db, struct slice key);
