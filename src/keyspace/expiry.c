/* Removing keys when their time has come, and tidying the wheel.
 *
 * The wheel hands over batches of references: 32 hash bits each, all from one place. For each the
 * table is asked for a value with these hash bits that remembers this place:
 *
 *     wheel -> { 0x9a3f10c2, 0x01b7.., ... } of place 131
 *                   |
 *                   v  pass 1: prefetch buckets; pass 2: prefetch values; pass 3: decide
 *               value.expire = | place 131 | ms |      ms has passed: remove
 *                                                      else: file again, one level further down
 *               no such value: the reference was stale
 *
 * One reference deals with one value, so two keys that share hash bits and place are dealt with by
 * their two references. The same lookup tells living references from stale ones in a compaction.
 *
 * Costs. A removal is about one cache miss for the bucket and one for the value, both overlapped
 * over a batch of 16; the clock is read once per EXPIRE_REFS references. A step with nothing due
 * reads no clock.
 *
 * Invariants:
 *   1. For a value that is filed there is one reference that is not stale, in the place it
 * remembers.
 *   2. While this server may not remove expired keys, the wheel stands still; it catches up later.
 *
 * Rejected: removing every value that a reference matches. It would save a lookup in one case of
 * millions, and stale references could no longer be counted exactly. */
#include "base/assert.h"
#include "base/clock.h"
#include "base/prefetch.h"
#include "keyspace/keyspace_internal.h"

enum {
#ifdef OURO_HOSTILE
    EXPIRE_REFS = 2,
    COMPACT_REFS = 1,
#else
    EXPIRE_REFS = 32,  /* References between two looks at the clock: about 10 us. */
    COMPACT_REFS = 64, /* The same for a compaction. */
#endif
    EXPIRE_KEPT_MS = 10, /* Between two looks at an expired key that somebody keeps. */
};

/* --- References ---------------------------------------------------------------------------------
 */

struct reference_search {
    const struct db *db;
    uint32_t ref;
    uint16_t place;
    struct value *found;
};

static void reference_on_value(void *context, void *entry)
{
    struct reference_search *search = context;
    struct value *value = entry;
    if (search->found == NULL && value_has_expire(value) &&
        value_wheel_place(value) == search->place &&
        db_wheel_ref(db_value_hash(search->db, value)) == search->ref) {
        search->found = value;
    }
}

struct value *db_find_reference(const struct db *db, uint32_t ref, uint16_t place)
{
    struct reference_search search = {.db = db, .ref = ref, .place = place};
    table_find_prefix(&db->table, ref, reference_on_value, &search);
    return search.found;
}

static void expire_on_prefetch(void *context, void *entry)
{
    (void)context;
    prefetch(entry);
}

static void db_prefetch_references(const struct db *db, const uint32_t *refs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        table_prefetch(&db->table, (uint64_t)refs[i] << 32);
    }
    for (size_t i = 0; i < count; i++) {
        table_find_prefix(&db->table, refs[i], expire_on_prefetch, NULL);
    }
}

/* --- Expiry -------------------------------------------------------------------------------------
 */

struct expire_step {
    struct db *db;
    int64_t now_ms;
};

/* The value's reference has left the wheel. */
static void db_on_due(struct db *db, struct value *value, int64_t now_ms)
{
    uint64_t hash = db_value_hash(db, value);
    bool has_expired = db_is_expired(value, now_ms);
    if (has_expired && !pin_keeps(db->keyspace, value)) {
        db_remove_for(db, hash, db_place_of(db, hash, value), KEY_EXPIRED, false);
        return;
    }
    int64_t expire_ms = value_expire_ms(value);
    int64_t due_ms = has_expired ? now_ms + EXPIRE_KEPT_MS : db_due_ms(expire_ms);
    value_set_expire(value, expire_ms, wheel_add(&db->wheel, db_wheel_ref(hash), due_ms));
}

static size_t expire_on_references(void *context, const uint32_t *refs, size_t count,
                                   uint16_t place)
{
    struct expire_step *step = context;
    size_t stale = 0;
    db_prefetch_references(step->db, refs, count);
    for (size_t i = 0; i < count; i++) {
        struct value *value = db_find_reference(step->db, refs[i], place);
        if (value == NULL) {
            stale++;
        } else {
            db_on_due(step->db, value, step->now_ms);
        }
    }
    return stale;
}

/* --- Compaction ---------------------------------------------------------------------------------
 */

static bool compact_keeps(void *context, uint32_t ref, uint16_t place)
{
    return db_find_reference(context, ref, place) != NULL;
}

static bool db_wants_compaction(const struct db *db)
{
    return db->is_compacting || wheel_wants_compaction(&db->wheel);
}

static bool db_wants_parts_compaction(const struct db *db)
{
    return db->is_compacting_parts || wheel_wants_compaction(&db->parts);
}

static void db_compact_step(struct db *db)
{
    db->is_compacting = !wheel_compact_step(&db->wheel, compact_keeps, db, COMPACT_REFS);
}

/* --- Steps --------------------------------------------------------------------------------------
 */

static bool db_has_due(const struct db *db, int64_t now_ms)
{
    return wheel_next_ms(&db->wheel) <= now_ms;
}

static bool db_has_due_parts(const struct db *db, int64_t now_ms)
{
    return wheel_next_ms(&db->parts) <= now_ms;
}

/* One small piece of work on `db`, which has some. */
static void db_expire_piece(struct db *db, int64_t now_ms)
{
    const struct keyspace *keyspace = db->keyspace;
    bool may_expire = keyspace->may_remove && keyspace->is_active;
    if (may_expire && db_has_due_parts(db, now_ms)) {
        db_parts_step(db, now_ms, 1);
    } else if (db_wants_parts_compaction(db)) {
        db_parts_compact(db, COMPACT_REFS);
    }
    if (may_expire && db_has_due(db, now_ms)) {
        struct expire_step step = {.db = db, .now_ms = now_ms};
        wheel_advance(&db->wheel, now_ms, expire_on_references, &step, EXPIRE_REFS);
    } else if (db_wants_compaction(db)) {
        db_compact_step(db);
    }
}

static bool db_has_expire_work(const struct db *db, int64_t now_ms, bool may_expire)
{
    if (wheel_count(&db->wheel) > 0 &&
        ((may_expire && db_has_due(db, now_ms)) || db_wants_compaction(db))) {
        return true;
    }
    return wheel_count(&db->parts) > 0 &&
           ((may_expire && db_has_due_parts(db, now_ms)) || db_wants_parts_compaction(db));
}

/* The next database, from `expire_db` on, that has work; NULL when none has. */
static struct db *keyspace_find_expire_work(struct keyspace *keyspace, int64_t now_ms)
{
    bool may_expire = keyspace->may_remove && keyspace->is_active;
    for (unsigned i = 0; i < keyspace->db_count; i++) {
        unsigned index = keyspace->expire_db + i;
        index -= index >= keyspace->db_count ? keyspace->db_count : 0;
        struct db *db = &keyspace->dbs[index];
        if (db_has_expire_work(db, now_ms, may_expire)) {
            keyspace->expire_db = index;
            return db;
        }
    }
    return NULL;
}

/* An idle wheel follows the time too: new references then land at the lowest level that fits. */
static void keyspace_follow_time(struct keyspace *keyspace, int64_t now_ms)
{
    for (unsigned i = 0; i < keyspace->db_count; i++) {
        struct db *db = &keyspace->dbs[i];
        struct expire_step step = {.db = db, .now_ms = now_ms};
        wheel_advance(&db->wheel, now_ms, expire_on_references, &step, EXPIRE_REFS);
        db_parts_step(db, now_ms, 1);
    }
}

bool keyspace_expire_step(struct keyspace *keyspace, int64_t now_ms, int64_t deadline_mono_us)
{
    access_see(keyspace, now_ms);
    struct db *db = keyspace_find_expire_work(keyspace, now_ms);
    if (db == NULL) {
        if (keyspace->may_remove && keyspace->is_active) {
            keyspace_follow_time(keyspace, now_ms);
        }
        return false;
    }
    int64_t begin_us = clock_mono_us();
    int64_t end_us = begin_us;
    while (db != NULL) {
        db_expire_piece(db, now_ms);
        keyspace->expire_db = (db->index + 1) % keyspace->db_count;
        end_us = clock_mono_us();
        if (end_us >= deadline_mono_us) {
            break;
        }
        db = keyspace_find_expire_work(keyspace, now_ms);
    }
    keyspace->stats.expire_cycle_us += (uint64_t)(end_us - begin_us);
    return keyspace_find_expire_work(keyspace, now_ms) != NULL;
}

int64_t keyspace_next_expiry_ms(const struct keyspace *keyspace)
{
    int64_t next_ms = INT64_MAX;
    if (!keyspace->may_remove || !keyspace->is_active) {
        return next_ms;
    }
    for (unsigned i = 0; i < keyspace->db_count; i++) {
        const struct wheel *wheels[] = {&keyspace->dbs[i].wheel, &keyspace->dbs[i].parts};
        for (unsigned j = 0; j < 2; j++) {
            if (wheel_count(wheels[j]) > 0) { /* Most hold nothing: this is asked every turn. */
                int64_t wheel_ms = wheel_next_ms(wheels[j]);
                next_ms = wheel_ms < next_ms ? wheel_ms : next_ms;
            }
        }
    }
    return next_ms;
}

/* --- Average ------------------------------------------------------------------------------------
 */

enum { TTL_ROUNDS = 8, TTL_SAMPLE = 32 };

int64_t db_average_ttl_ms(const struct db *db, int64_t now_ms)
{
    int64_t sum_ms = 0;
    int64_t count = 0;
    for (unsigned round = 0; round < TTL_ROUNDS && db->volatile_count > 0; round++) {
        void *sample[TTL_SAMPLE];
        size_t found = table_sample(&db->table, db->keyspace->rng, sample, TTL_SAMPLE);
        for (size_t i = 0; i < found; i++) {
            const struct value *value = sample[i];
            if (value_has_expire(value) && value_expire_ms(value) > now_ms) {
                sum_ms += value_expire_ms(value) - now_ms;
                count++;
            }
        }
    }
    return count == 0 ? 0 : sum_ms / count;
}
