/* The keyspace as a whole: its databases, its configuration and its figures. See README.md for the
 * files of this room in reading order.
 *
 * Invariants:
 *   1. A struct db keeps its address and index for the keyspace's life; a swap exchanges contents.
 *   2. Watches belong to the index, not to the contents.
 *   3. Whatever changes how scores are computed empties the pool of eviction candidates. */
#include "keyspace/keyspace.h"

#include "base/assert.h"
#include "base/mem.h"
#include "keyspace/keyspace_internal.h"

/* Redis's defaults; maxmemory is off. */
static const struct keyspace_config keyspace_config_default = {
    .policy = EVICT_NONE,
    .sample_count = 5,
    .lfu_log_factor = 10,
    .lfu_decay_minutes = 1,
    .eviction_tenacity = 10,
};

static uint64_t keyspace_hash_of(const void *entry, const void *context)
{
    const uint64_t *seed = context;
    return hash_bytes(*seed, value_key(entry));
}

static void db_init(struct db *db, struct keyspace *keyspace, unsigned index, int64_t now_ms)
{
    db->keyspace = keyspace;
    db->hash_seed = keyspace->hash_seed;
    db->index = index;
    table_init(&db->table, &keyspace->value_kind);
    table_init(&db->watches, &keyspace->watch_kind);
    wheel_init(&db->wheel, now_ms);
    wheel_init(&db->parts, now_ms);
}

struct keyspace *keyspace_new(const struct keyspace_options *options)
{
    ASSERT(options->db_count > 0);
    struct keyspace *keyspace = mem_zalloc(sizeof(*keyspace));
    keyspace->db_count = options->db_count;
    keyspace->hash_seed = options->hash_seed;
    keyspace->rng = options->rng;
    keyspace->work = options->work;
    keyspace->on_removal = options->on_removal;
    keyspace->removal_context = options->removal_context;
    keyspace->may_remove = keyspace->wants_removal = true;
    keyspace->is_active = true;
    keyspace->config = keyspace_config_default;
    keyspace->value_kind =
        (struct table_kind){.hash_of = keyspace_hash_of, .context = &keyspace->hash_seed};
    watch_init(keyspace);
    pins_init(keyspace);
    parts_init(keyspace);
    keyspace_frees_init(keyspace);
    pressure_init(keyspace);
    access_see(keyspace, options->now_ms);
    keyspace->dbs = mem_zalloc(options->db_count * sizeof(struct db));
    for (unsigned i = 0; i < options->db_count; i++) {
        db_init(&keyspace->dbs[i], keyspace, i, options->now_ms);
    }
    return keyspace;
}

void keyspace_free(struct keyspace *keyspace)
{
    parts_deinit(keyspace);
    for (unsigned i = 0; i < keyspace->db_count; i++) {
        struct db *db = &keyspace->dbs[i];
        watch_free_all(db);
        db_flush(db, true);
        table_deinit(&db->table);
        table_deinit(&db->watches);
        wheel_deinit(&db->wheel);
        wheel_deinit(&db->parts);
    }
    pins_deinit(keyspace);
    keyspace_frees_deinit(keyspace);
    mem_free(keyspace->dbs);
    mem_free(keyspace);
}

static bool keyspace_policy_is_lfu(enum eviction_policy policy)
{
    return policy == EVICT_ALL_LFU || policy == EVICT_VOLATILE_LFU;
}

void keyspace_configure(struct keyspace *keyspace, const struct keyspace_config *config)
{
    keyspace->config = *config;
    keyspace->is_lfu = keyspace_policy_is_lfu(config->policy);
    keyspace->pool.count = 0;
}

const struct keyspace_config *keyspace_config(const struct keyspace *keyspace)
{
    return &keyspace->config;
}

struct keyspace_stats *keyspace_stats(struct keyspace *keyspace)
{
    return &keyspace->stats;
}

uint64_t keyspace_hash_seed(const struct keyspace *keyspace)
{
    return keyspace->hash_seed;
}

unsigned keyspace_db_count(const struct keyspace *keyspace)
{
    return keyspace->db_count;
}

struct db *keyspace_db(struct keyspace *keyspace, unsigned index)
{
    ASSERT(index < keyspace->db_count);
    return &keyspace->dbs[index];
}

unsigned db_index(const struct db *db)
{
    return db->index;
}

struct keyspace *db_keyspace(struct db *db)
{
    return db->keyspace;
}

static void db_swap_contents(struct db *a, struct db *b)
{
    struct db old = *a;
    table_swap(&a->table, &b->table);
    a->wheel = b->wheel;
    a->parts = b->parts;
    a->volatile_count = b->volatile_count;
    a->stream_count = b->stream_count;
    a->is_compacting = b->is_compacting;
    a->is_compacting_parts = b->is_compacting_parts;
    b->wheel = old.wheel;
    b->parts = old.parts;
    b->volatile_count = old.volatile_count;
    b->stream_count = old.stream_count;
    b->is_compacting = old.is_compacting;
    b->is_compacting_parts = old.is_compacting_parts;
}

void keyspace_swap(struct keyspace *keyspace, unsigned a, unsigned b)
{
    struct db *first = keyspace_db(keyspace, a);
    struct db *second = keyspace_db(keyspace, b);
    if (first == second) {
        return;
    }
    watch_bump_all(first, second);
    watch_bump_all(second, first);
    db_swap_contents(first, second);
    keyspace->pool.count = 0;
}

void keyspace_set_expiry(struct keyspace *keyspace, bool may_remove, bool is_active)
{
    keyspace->wants_removal = may_remove;
    keyspace->may_remove = may_remove && !keyspace->is_frozen;
    keyspace->is_active = is_active;
}

void keyspace_show_expired(struct keyspace *keyspace, bool is_shown)
{
    keyspace->shows_expired = is_shown;
}

bool keyspace_shows_expired(const struct keyspace *keyspace)
{
    return keyspace->shows_expired;
}

void keyspace_freeze(struct keyspace *keyspace, bool is_frozen)
{
    keyspace->is_frozen = is_frozen;
    keyspace->may_remove = keyspace->wants_removal && !is_frozen;
}

void keyspace_set_overhead(struct keyspace *keyspace, keyspace_overhead_fn fn, void *context)
{
    keyspace->overhead = fn;
    keyspace->overhead_context = context;
}

size_t keyspace_memory(const struct keyspace *keyspace)
{
    size_t used = mem_used();
    size_t overhead =
        keyspace->overhead == NULL ? 0 : keyspace->overhead(keyspace->overhead_context);
    return used > overhead ? used - overhead : 0;
}

size_t db_count(const struct db *db)
{
    return table_count(&db->table);
}

size_t db_volatile_count(const struct db *db)
{
    return db->volatile_count;
}

bool db_has_volatile_fields(const struct db *db)
{
    return wheel_count(&db->parts) > 0;
}

size_t db_stream_count(const struct db *db)
{
    return db->stream_count;
}

size_t db_table_memory(const struct db *db)
{
    return table_memory(&db->table);
}

size_t db_expiry_memory(const struct db *db)
{
    return wheel_memory(&db->wheel) + wheel_memory(&db->parts);
}
