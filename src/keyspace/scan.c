/* Walks over a database: SCAN, and the random key.
 *
 * A cursor is a position in the order of hashes (see ds/table.c), so a full scan visits what was
 * there throughout exactly once, whatever the table does meanwhile.
 *
 * A random key must be fair: table_random is, and rejecting expired keys keeps it so, because every
 * live key is as likely as before. When nearly all keys are expired, rejection could go on for
 * long; after RANDOM_TRIES the first live key from a random position on is taken, and when
 * RANDOM_BUCKETS hold none the search starts once more at the beginning, so that a small database
 * always yields its last key. */
#include "base/assert.h"
#include "keyspace/keyspace_internal.h"

enum {
#ifdef OURO_HOSTILE
    RANDOM_TRIES = 2,
#else
    RANDOM_TRIES = 128,
#endif
    RANDOM_BUCKETS = 2048,
    SCAN_BUCKETS_PER_KEY = 4, /* How sparse a table may be before a step ends without its count. */
};

/* --- Scan ---------------------------------------------------------------------------------------
 */

struct scan {
    db_visit_fn visit;
    void *context;
    int64_t now_ms;
};

static void scan_on_value(void *context, void *entry)
{
    struct scan *scan = context;
    const struct value *value = entry;
    if (!db_is_expired(value, scan->now_ms)) {
        scan->visit(scan->context, value_key(value), value);
    }
}

uint64_t db_scan(struct db *db, uint64_t cursor, size_t count, int64_t now_ms, db_visit_fn visit,
                 void *context)
{
    struct scan scan = {.visit = visit, .context = context, .now_ms = now_ms};
    struct table_walk walk = {
        .visit = scan_on_value,
        .context = &scan,
        .entries_max = count,
        .buckets_max =
            count > SIZE_MAX / SCAN_BUCKETS_PER_KEY ? SIZE_MAX : count * SCAN_BUCKETS_PER_KEY,
    };
    return table_scan(&db->table, cursor, &walk);
}

/* --- Random -------------------------------------------------------------------------------------
 */

struct random_search {
    int64_t now_ms;
    struct value *found;
};

static void random_on_value(void *context, void *entry)
{
    struct random_search *search = context;
    if (search->found == NULL && !db_is_expired(entry, search->now_ms)) {
        search->found = entry;
    }
}

/* The first live value at or behind `cursor`, if it is not far. */
static struct value *db_find_live(struct db *db, uint64_t cursor, int64_t now_ms)
{
    struct random_search search = {.now_ms = now_ms};
    struct table_walk walk = {
        .visit = random_on_value, .context = &search, .entries_max = 1, .buckets_max = 1};
    for (unsigned i = 0; i < RANDOM_BUCKETS && search.found == NULL; i++) {
        cursor = table_scan(&db->table, cursor, &walk);
        if (cursor == 0) {
            break;
        }
    }
    return search.found;
}

struct value *db_random(struct db *db, int64_t now_ms)
{
    struct rng *rng = db->keyspace->rng;
    for (unsigned try = 0; try < RANDOM_TRIES; try++) {
        struct value *value = table_random(&db->table, rng);
        if (value == NULL || !db_is_expired(value, now_ms)) {
            return value;
        }
        if (db->keyspace->may_remove) {
            uint64_t hash = db_value_hash(db, value);
            db_remove_for(db, hash, db_place_of(db, hash, value), KEY_EXPIRED, true);
        }
    }
    struct value *value = db_find_live(db, rng_next(rng) >> 16, now_ms);
    return value != NULL ? value : db_find_live(db, 0, now_ms);
}
