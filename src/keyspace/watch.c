/* Versions of watched keys: what WATCH compares.
 *
 * Only keys that somebody watches have a version, in a small table beside the database's own, keyed
 * by the key itself so that a key need not exist to be watched:
 *
 *     db.watches -> | references u64 | version u64 | key_len u64 | key ... |
 *
 * A change of a key costs one test while nothing is watched, else one lookup. A watch belongs to a
 * database's index: when contents are swapped it stays, and changes when what it names does.
 *
 * Invariants:
 *   1. A watch is in its db's table exactly while its references are at least 1.
 *   2. There is at most one watch per key.
 *
 * Rejected: a version in each value. It costs 8 bytes per key for what one key in a million uses,
 * and a key that does not exist has nowhere to put it. */
#include "base/assert.h"
#include "base/mem.h"
#include "keyspace/keyspace_internal.h"

struct watch {
    uint64_t references;
    uint64_t version;
    size_t key_len;
    char key[];
};

struct slice db_watch_key(const struct watch *watch)
{
    return slice_of(watch->key, watch->key_len);
}

static bool watch_key_is(const void *entry, const void *key)
{
    return slice_equal(db_watch_key(entry), *(const struct slice *)key);
}

static uint64_t watch_hash_of(const void *entry, const void *context)
{
    const uint64_t *seed = context;
    return hash_bytes(*seed, db_watch_key(entry));
}

void watch_init(struct keyspace *keyspace)
{
    keyspace->watch_kind =
        (struct table_kind){.hash_of = watch_hash_of, .context = &keyspace->hash_seed};
}

static void watch_free(struct watch *watch)
{
    mem_free_sized(watch, sizeof(*watch) + watch->key_len);
}

struct watch *db_try_watch(struct db *db, struct slice key)
{
    uint64_t hash = db_hash(db, key);
    struct watch *watch = table_find(&db->watches, hash, &key, watch_key_is);
    if (watch != NULL) {
        watch->references++;
        return watch;
    }
    watch = mem_try_alloc(sizeof(*watch) + key.len);
    if (watch == NULL) {
        return NULL;
    }
    watch->references = 1;
    watch->version = 0;
    watch->key_len = key.len;
    if (key.len > 0) {
        memcpy(watch->key, key.data, key.len);
    }
    table_insert(&db->watches, hash, watch);
    return watch;
}

void db_unwatch(struct db *db, struct watch *watch)
{
    ASSERT(watch->references > 0);
    watch->references--;
    if (watch->references > 0) {
        return;
    }
    struct slice key = db_watch_key(watch);
    struct watch *removed = table_remove(&db->watches, db_hash(db, key), &key, watch_key_is);
    ASSERT(removed == watch);
    watch_free(watch);
}

uint64_t db_watch_version(const struct watch *watch)
{
    return watch->version;
}

static struct watch *watch_find(const struct db *db, struct slice key)
{
    if (__builtin_expect(table_count(&db->watches) == 0, 1)) {
        return NULL;
    }
    return table_find(&db->watches, db_hash(db, key), &key, watch_key_is);
}

void db_bump(struct db *db, struct slice key)
{
    struct watch *watch = watch_find(db, key);
    if (watch != NULL) {
        watch->version++;
    }
}

static bool watch_value_has_key(const void *entry, const void *key)
{
    return slice_equal(value_key(entry), *(const struct slice *)key);
}

static bool watch_is_key_in(const struct db *db, struct slice key)
{
    return table_find(&db->table, db_hash(db, key), &key, watch_value_has_key) != NULL;
}

void watch_bump_all(struct db *db, struct db *other)
{
    struct table_iterator iterator;
    table_iterate(&db->watches, &iterator);
    for (struct watch *watch = table_next(&iterator); watch != NULL;
         watch = table_next(&iterator)) {
        struct slice key = db_watch_key(watch);
        if (watch_is_key_in(db, key) || (other != NULL && watch_is_key_in(other, key))) {
            watch->version++;
        }
    }
}

static void watch_on_drain(void *context, void *entry)
{
    (void)context;
    watch_free(entry);
}

void watch_free_all(struct db *db)
{
    struct table_drain drain;
    table_drain_begin(&drain, &db->watches);
    while (!table_drain_step(&drain, watch_on_drain, NULL, 1024)) {
    }
}
