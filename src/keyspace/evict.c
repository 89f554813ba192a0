/* Eviction: making room when the data set is over its limit.
 *
 * Redis's approximation, with its eight policies: a few keys are sampled from each database, the
 * best of all samples so far stay in a small pool, and the best of the pool goes.
 *
 *     table_sample --> score (idle time, rarity, nearness of expiry) --> pool of 16 --> remove the
 * best | score | hash | db |
 *
 * The pool names keys by hash, so it never holds a pointer that may dangle. What is chosen is
 * looked up and scored again: a key that is gone or was used meanwhile is passed over.
 *
 * Volatile policies must find keys with an expiry even when there are few. While at least one key
 * in VOLATILE_SPARSE is volatile, table samples are searched for them: a sample lies in a few
 * neighbouring cache lines. Otherwise the wheel's compaction is taken a step further with a visitor
 * that remembers the keys it keeps: it goes round through all volatile keys and drops stale
 * references on its way.
 *
 * Costs. A key evicted costs samples of a few cache misses per database with keys, overlapped by
 * prefetching. Below the limit a step costs a handful of loads.
 *
 * Pages that are mostly empty count as well, beyond an allowance: pressure.c.
 *
 * Memory that waits to be freed counts as used, since it is; a step frees before it evicts, so that
 * the slices of one large value that goes do not cost thousands of small ones their place.
 *
 * Invariants:
 *   1. The pool is ascending by score, and holds a (db, hash) once.
 *   2. Every candidate was scored under the current policy.
 *
 * Rejected: a linked list in order of use (16 bytes per key and writes to three cache lines per
 * read).
 *
 * Sources: Redis's evict.c for the policies and the pool; measured there, a pool of 16 with 5
 * samples comes close to true LRU. */
#include "base/assert.h"
#include "base/clock.h"
#include "base/prefetch.h"
#include "keyspace/keyspace_internal.h"

enum {
    EVICT_SAMPLE_MAX = 64,  /* maxmemory-samples above this adds nothing. */
    VOLATILE_SPARSE = 32,   /* One volatile key in so many is worth a search of table samples. */
    VOLATILE_ROUNDS = 16,   /* Table samples per search. */
    VOLATILE_STEPS = 4,     /* Steps through the wheel per search. */
    EVICT_CLOCK_EVERY = 16, /* Evictions between two looks at the clock: about 20 us. */
    FAR_OVER_SHARE = 128,   /* How far over the limit is far. */
    EVICT_TRIES = 8,        /* Refills of the pool before a step says that it is busy. */
};

/* --- Policies -----------------------------------------------------------------------------------
 */

static bool policy_is_volatile(enum eviction_policy policy)
{
    return policy == EVICT_VOLATILE_LRU || policy == EVICT_VOLATILE_LFU ||
           policy == EVICT_VOLATILE_RANDOM || policy == EVICT_VOLATILE_TTL;
}

static bool policy_is_random(enum eviction_policy policy)
{
    return policy == EVICT_ALL_RANDOM || policy == EVICT_VOLATILE_RANDOM;
}

/* How much the value deserves to go. */
static uint64_t evict_score(const struct keyspace *keyspace, const struct value *value,
                            int64_t now_ms)
{
    switch (keyspace->config.policy) {
    case EVICT_ALL_LRU:
    case EVICT_VOLATILE_LRU:
        return (uint64_t)keyspace_idle_s(keyspace, value, now_ms);
    case EVICT_ALL_LFU:
    case EVICT_VOLATILE_LFU:
        return 255 - keyspace_frequency(keyspace, value, now_ms);
    case EVICT_VOLATILE_TTL:
        return (uint64_t)(VALUE_EXPIRE_MS_MAX - value_expire_ms(value));
    case EVICT_NONE:
    case EVICT_ALL_RANDOM:
    case EVICT_VOLATILE_RANDOM:
        break;
    }
    return 0;
}

static size_t db_evictable_count(const struct db *db)
{
    bool is_volatile = policy_is_volatile(db->keyspace->config.policy);
    return is_volatile ? db->volatile_count : table_count(&db->table);
}

/* --- Samples ------------------------------------------------------------------------------------
 */

struct evict_sample {
    struct db *db;
    size_t count, max;
    struct value *values[EVICT_SAMPLE_MAX];
};

/* Entries at a random place of the table, their headers on the way to the cache. */
static size_t sample_table(struct db *db, void **out, size_t max)
{
    size_t count = table_sample(&db->table, db->keyspace->rng, out, max);
    for (size_t i = 0; i < count; i++) {
        prefetch(out[i]);
    }
    return count;
}

static void sample_volatile_in_table(struct evict_sample *sample)
{
    for (unsigned round = 0; round < VOLATILE_ROUNDS && sample->count < sample->max; round++) {
        void *entries[EVICT_SAMPLE_MAX];
        size_t count = sample_table(sample->db, entries, EVICT_SAMPLE_MAX);
        for (size_t i = 0; i < count && sample->count < sample->max; i++) {
            struct value *value = entries[i];
            if (value_has_expire(value)) {
                sample->values[sample->count++] = value;
            }
        }
    }
}

/* A visitor of the wheel's compaction that remembers what it keeps. */
static bool sample_keeps(void *context, uint32_t ref, uint16_t place)
{
    struct evict_sample *sample = context;
    struct value *value = db_find_reference(sample->db, ref, place);
    if (value != NULL && sample->count < sample->max) {
        sample->values[sample->count++] = value;
    }
    return value != NULL;
}

static void sample_volatile_in_wheel(struct evict_sample *sample)
{
    struct db *db = sample->db;
    for (unsigned step = 0; step < VOLATILE_STEPS && sample->count == 0; step++) {
        if (wheel_compact_step(&db->wheel, sample_keeps, sample, sample->max)) {
            db->is_compacting = false;
        }
    }
}

/* Some values of `db` that the policy may evict; none only when there are none within reach. */
static void sample_db(struct evict_sample *sample, struct db *db, size_t max)
{
    sample->db = db;
    sample->count = 0;
    sample->max = max < EVICT_SAMPLE_MAX ? max : EVICT_SAMPLE_MAX;
    if (!policy_is_volatile(db->keyspace->config.policy)) {
        void *entries[EVICT_SAMPLE_MAX];
        sample->count = sample_table(db, entries, sample->max);
        memcpy(sample->values, entries, sample->count * sizeof(entries[0]));
        return;
    }
    if (db->volatile_count >= table_count(&db->table) / VOLATILE_SPARSE) {
        sample_volatile_in_table(sample);
    }
    if (sample->count == 0) {
        sample_volatile_in_wheel(sample);
    }
}

/* --- Pool ---------------------------------------------------------------------------------------
 */

static void pool_remove(struct evict_pool *pool, unsigned index)
{
    pool->count--;
    memmove(&pool->at[index], &pool->at[index + 1],
            (pool->count - index) * sizeof(struct evict_candidate));
}

/* Adds a candidate in its order; the worst one makes room. A repeated one keeps only its new score.
 */
static void pool_offer(struct evict_pool *pool, struct evict_candidate candidate)
{
    for (unsigned i = 0; i < pool->count; i++) {
        if (pool->at[i].hash == candidate.hash && pool->at[i].db_index == candidate.db_index) {
            pool_remove(pool, i);
            break;
        }
    }
    if (pool->count == EVICT_POOL_CAP) {
        if (candidate.score <= pool->at[0].score) {
            return;
        }
        pool_remove(pool, 0);
    }
    unsigned at = pool->count;
    while (at > 0 && pool->at[at - 1].score > candidate.score) {
        pool->at[at] = pool->at[at - 1];
        at--;
    }
    pool->at[at] = candidate;
    pool->count++;
}

/* A pinned value would give no memory back now; its holder hears that it is wanted. */
static bool evict_is_spared(const struct keyspace *keyspace, const struct value *value)
{
    if (!value_is_pinned(value)) {
        return false;
    }
    pin_hurry(keyspace, value);
    return true;
}

static void pool_fill(struct keyspace *keyspace, int64_t now_ms)
{
    struct evict_sample sample;
    unsigned wanted = keyspace->config.sample_count > 0 ? keyspace->config.sample_count : 1;
    for (unsigned i = 0; i < keyspace->db_count; i++) {
        struct db *db = &keyspace->dbs[i];
        if (db_evictable_count(db) == 0) {
            continue;
        }
        sample_db(&sample, db, wanted);
        for (size_t j = 0; j < sample.count; j++) {
            if (evict_is_spared(keyspace, sample.values[j])) {
                continue;
            }
            struct evict_candidate candidate = {
                .score = evict_score(keyspace, sample.values[j], now_ms),
                .hash = db_value_hash(db, sample.values[j]),
                .db_index = i,
            };
            pool_offer(&keyspace->pool, candidate);
        }
    }
}

struct hash_search {
    const struct db *db;
    uint64_t hash;
};

static bool db_has_hash(const void *entry, const void *key)
{
    const struct hash_search *search = key;
    return db_value_hash(search->db, entry) == search->hash;
}

/* Takes the best candidate that is still what it was; NULL when the pool runs out. */
static struct value *pool_take(struct keyspace *keyspace, int64_t now_ms, struct db **db)
{
    struct evict_pool *pool = &keyspace->pool;
    bool is_volatile = policy_is_volatile(keyspace->config.policy);
    while (pool->count > 0) {
        struct evict_candidate best = pool->at[--pool->count];
        *db = &keyspace->dbs[best.db_index];
        struct hash_search search = {.db = *db, .hash = best.hash};
        struct value *value = table_find(&(*db)->table, best.hash, &search, db_has_hash);
        if (value != NULL && (!is_volatile || value_has_expire(value)) && !value_is_pinned(value) &&
            evict_score(keyspace, value, now_ms) >= best.score) {
            return value;
        }
    }
    return NULL;
}

/* --- Choice -------------------------------------------------------------------------------------
 */

static struct value *evict_choose_scored(struct keyspace *keyspace, int64_t now_ms, struct db **db)
{
    for (unsigned try = 0; try < EVICT_TRIES; try++) {
        pool_fill(keyspace, now_ms);
        struct value *value = pool_take(keyspace, now_ms, db);
        if (value != NULL) {
            return value;
        }
    }
    return NULL;
}

static struct value *db_choose_random(struct db *db)
{
    struct rng *rng = db->keyspace->rng;
    if (!policy_is_volatile(db->keyspace->config.policy)) {
        return table_random(&db->table, rng);
    }
    struct evict_sample sample;
    sample_db(&sample, db, EVICT_SAMPLE_MAX / 4);
    return sample.count == 0 ? NULL : sample.values[rng_below(rng, sample.count)];
}

/* The databases take turns, as in Redis. */
static struct value *evict_choose_random(struct keyspace *keyspace, struct db **db)
{
    for (unsigned i = 0; i < keyspace->db_count; i++) {
        keyspace->evict_db = (keyspace->evict_db + 1) % keyspace->db_count;
        *db = &keyspace->dbs[keyspace->evict_db];
        struct value *value = db_evictable_count(*db) == 0 ? NULL : db_choose_random(*db);
        if (value != NULL && !evict_is_spared(keyspace, value)) {
            return value;
        }
    }
    return NULL;
}

/* Removes one key; false when none was found. */
static bool evict_one(struct keyspace *keyspace, int64_t now_ms)
{
    struct db *db = NULL;
    struct value *value = policy_is_random(keyspace->config.policy)
                              ? evict_choose_random(keyspace, &db)
                              : evict_choose_scored(keyspace, now_ms, &db);
    if (value == NULL) {
        return false;
    }
    bool has_expired = keyspace->may_remove && db_is_expired(value, now_ms);
    uint64_t hash = db_value_hash(db, value);
    db_remove_for(db, hash, db_place_of(db, hash, value), has_expired ? KEY_EXPIRED : KEY_EVICTED,
                  true);
    return true;
}

/* --- Steps --------------------------------------------------------------------------------------
 */

bool keyspace_fits(struct keyspace *keyspace)
{
    return keyspace->config.memory_max == 0 ||
           keyspace_memory(keyspace) + pressure_excess(keyspace) <= keyspace->config.memory_max;
}

bool keyspace_is_far_over(struct keyspace *keyspace)
{
    size_t max = keyspace->config.memory_max;
    return keyspace_memory(keyspace) + pressure_excess(keyspace) > max + max / FAR_OVER_SHARE;
}

/* Makes some room; `is_slice`: it took long enough to look at the clock. False: nothing was found.
 */
static bool evict_some(struct keyspace *keyspace, int64_t now_ms, bool *is_slice)
{
    bool is_data = keyspace_memory(keyspace) > keyspace->config.memory_max;
    *is_slice = !is_data && pressure_relieve(keyspace);
    return *is_slice || evict_one(keyspace, now_ms);
}

static bool keyspace_can_evict(const struct keyspace *keyspace)
{
    if (keyspace->config.policy == EVICT_NONE) {
        return false;
    }
    for (unsigned i = 0; i < keyspace->db_count; i++) {
        if (db_evictable_count(&keyspace->dbs[i]) > 0) {
            return true;
        }
    }
    return false;
}

/* Keeps the time that was spent above the limit. */
static void evict_note_fit(struct keyspace *keyspace, bool fits)
{
    if (fits == (keyspace->exceeded_since_us == 0)) {
        return;
    }
    int64_t now_us = clock_mono_us();
    if (!fits) {
        keyspace->exceeded_since_us = now_us;
        return;
    }
    keyspace->stats.eviction_exceeded_us += (uint64_t)(now_us - keyspace->exceeded_since_us);
    keyspace->exceeded_since_us = 0;
}

enum evict_result keyspace_evict_step(struct keyspace *keyspace, int64_t now_ms,
                                      int64_t deadline_mono_us)
{
    bool fits = keyspace_fits(keyspace);
    evict_note_fit(keyspace, fits);
    if (fits || keyspace->is_frozen) {
        return EVICT_FITS;
    }
    access_see(keyspace, now_ms);
    for (unsigned i = 1;; i++) {
        bool has_freed = keyspace_free_step(keyspace);
        if (!has_freed && !keyspace_can_evict(keyspace)) {
            return EVICT_FULL;
        }
        bool is_slice = has_freed;
        if (!has_freed && !evict_some(keyspace, now_ms, &is_slice)) {
            return EVICT_BUSY;
        }
        if (keyspace_fits(keyspace)) {
            evict_note_fit(keyspace, true);
            return EVICT_FITS;
        }
        if ((is_slice || i % EVICT_CLOCK_EVERY == 0) && clock_mono_us() >= deadline_mono_us) {
            return EVICT_BUSY;
        }
    }
}

/* Redis's scale: up to 10 linear, 500 us at its default of 10, then 15 % more per point. */
int64_t keyspace_evict_budget_us(const struct keyspace *keyspace)
{
    unsigned tenacity = keyspace->config.eviction_tenacity;
    if (tenacity <= 10) {
        return 50 * (int64_t)tenacity;
    }
    if (tenacity >= 100) {
        return INT64_MAX;
    }
    double budget_us = 500;
    for (unsigned i = 10; i < tenacity; i++) {
        budget_us *= 1.15;
    }
    return (int64_t)budget_us;
}
