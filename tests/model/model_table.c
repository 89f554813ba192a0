/* Random operations on a table and on a naive twin, an array of flags, with table_check after each
 * step. Hashes are mixed at first, then take turns with bad ones: few different values, long common
 * prefixes. */
#include "ds/table.h"

#include "tests/unit/test.h"

enum { KEYS = 1500, STEPS = 6000 };

struct entry {
    uint64_t hash;
    uint32_t key;
    uint32_t seen;
};

struct twin {
    struct table table;
    struct entry entries[2][KEYS]; /* Two allocations of each key, for replacement in place. */
    struct entry *present[KEYS];
    size_t count;
    struct rng rng;
};

static uint64_t entry_hash(const void *entry, const void *context)
{
    (void)context;
    return ((const struct entry *)entry)->hash;
}

static bool entry_equal(const void *entry, const void *key)
{
    return ((const struct entry *)entry)->key == *(const uint32_t *)key;
}

static const struct table_kind entry_kind = {.hash_of = entry_hash};

static void twin_init(struct twin *twin, uint64_t seed, int badness)
{
    memset(twin, 0, sizeof(*twin));
    rng_seed(&twin->rng, seed);
    table_init(&twin->table, &entry_kind);
    for (uint32_t key = 0; key < KEYS; key++) {
        uint64_t hash = rng_next(&twin->rng);
        if (badness == 1) {
            hash = (hash % 40) * 0x0123456789abcdefULL;
        } else if (badness == 2) {
            hash >>= rng_below(&twin->rng, 64);
        } else if (badness == 3) {
            hash &= 0x00ffffff00ULL;
        }
        for (int copy = 0; copy < 2; copy++) {
            twin->entries[copy][key] = (struct entry){.hash = hash, .key = key};
        }
    }
}

static void twin_put(struct twin *twin, uint32_t key)
{
    struct entry *old = twin->present[key];
    struct entry *entry = &twin->entries[rng_below(&twin->rng, 2)][key];
    if (old == NULL) {
        uint64_t *slot = table_insert(&twin->table, entry->hash, entry);
        CHECK(table_slot_entry(slot) == entry);
        twin->count++;
    } else {
        uint64_t *slot = table_find_slot(&twin->table, entry->hash, &key, entry_equal);
        CHECK(slot != NULL && table_slot_entry(slot) == old);
        table_slot_set(slot, entry);
    }
    twin->present[key] = entry;
}

static void twin_remove(struct twin *twin, uint32_t key)
{
    uint64_t hash = twin->entries[0][key].hash;
    CHECK(table_remove(&twin->table, hash, &key, entry_equal) == twin->present[key]);
    twin->count -= twin->present[key] != NULL;
    twin->present[key] = NULL;
}

static void on_entry(void *context, void *entry)
{
    *(size_t *)context += 1;
    ((struct entry *)entry)->seen++;
}

/* Whole walks, by cursor and by iterator, see exactly what is present. */
static void twin_walk(struct twin *twin)
{
    size_t visits = 0;
    uint64_t cursor = 0;
    struct table_walk walk = {on_entry, &visits, rng_below(&twin->rng, 50), 20};
    do {
        cursor = table_scan(&twin->table, cursor, &walk);
    } while (cursor != 0);
    CHECK(visits == twin->count);
    struct table_iterator iterator;
    table_iterate(&twin->table, &iterator);
    for (struct entry *entry; (entry = table_next(&iterator)) != NULL;) {
        entry->seen++;
    }
    for (uint32_t key = 0; key < KEYS; key++) {
        if (twin->present[key] != NULL) {
            CHECK(twin->present[key]->seen == 2);
            twin->present[key]->seen = 0;
        }
    }
}

static void twin_prefix(struct twin *twin, uint32_t key)
{
    size_t visits = 0;
    uint32_t prefix = (uint32_t)(twin->entries[0][key].hash >> 32);
    table_find_prefix(&twin->table, prefix, on_entry, &visits);
    for (uint32_t i = 0; i < KEYS; i++) {
        struct entry *entry = twin->present[i];
        if (entry != NULL) {
            bool must = entry->hash >> 32 == prefix;
            CHECK(entry->seen == 1 || (entry->seen == 0 && !must));
            entry->seen = 0;
        }
    }
}

static void twin_draw(struct twin *twin)
{
    struct entry *entry = table_random(&twin->table, &twin->rng);
    CHECK((entry != NULL) == (twin->count > 0));
    CHECK(entry == NULL || twin->present[entry->key] == entry);
    void *out[8];
    size_t count = table_sample(&twin->table, &twin->rng, out, 8);
    CHECK((count > 0) == (twin->count > 0));
    for (size_t i = 0; i < count; i++) {
        entry = out[i];
        CHECK(twin->present[entry->key] == entry);
    }
}

static void twin_drain(struct twin *twin)
{
    struct table_drain drain;
    size_t visits = 0;
    table_drain_begin(&drain, &twin->table);
    while (!table_drain_step(&drain, on_entry, &visits, 1 + rng_below(&twin->rng, 99))) {
        CHECK(visits <= twin->count);
    }
    CHECK(visits == twin->count);
    for (uint32_t key = 0; key < KEYS; key++) {
        if (twin->present[key] != NULL) {
            CHECK(twin->present[key]->seen == 1);
            twin->present[key]->seen = 0;
            twin->present[key] = NULL;
        }
    }
    twin->count = 0;
}

static void twin_step(struct twin *twin, uint64_t growing)
{
    uint32_t key = (uint32_t)rng_below(&twin->rng, KEYS);
    uint64_t dice = rng_below(&twin->rng, 1000);
    if (dice < 940) {
        if (rng_below(&twin->rng, 10) < (growing ? 8 : 2)) {
            twin_put(twin, key);
        } else {
            twin_remove(twin, key);
        }
    } else if (dice < 960) {
        twin_prefix(twin, key);
    } else if (dice < 980) {
        twin_draw(twin);
    } else if (dice < 999) {
        twin_walk(twin);
    } else if (rng_below(&twin->rng, 4) == 0) {
        twin_drain(twin);
        table_reserve(&twin->table, rng_below(&twin->rng, 4000));
    }
    uint32_t probe = (uint32_t)rng_below(&twin->rng, KEYS);
    uint64_t hash = twin->entries[0][probe].hash;
    table_prefetch(&twin->table, hash);
    if (!table_prefetch_entry(&twin->table, hash)) {
        table_prefetch_beyond(&twin->table, hash);
    }
    CHECK(table_find(&twin->table, hash, &probe, entry_equal) == twin->present[probe]);
    CHECK(table_count(&twin->table) == twin->count);
    table_check(&twin->table);
}

static void run(int badness)
{
    struct twin *twin = malloc(sizeof(*twin));
    twin_init(twin, test_seed() + (uint64_t)badness, badness);
    for (uint64_t step = 0; step < STEPS; step++) {
        twin_step(twin, step / 1500 % 2 == 0);
    }
    table_deinit(&twin->table);
    free(twin);
}

TEST(table_model, mixed_hashes)
{
    run(0);
}

TEST(table_model, forty_different_hashes)
{
    run(1);
}

TEST(table_model, common_prefixes)
{
    run(2);
}

TEST(table_model, few_high_bits)
{
    run(3);
}
