/* Wasted pages count against the limit: first values move, then keys go, within bounds. */
#include "tests/unit/keyspace/keyspace_fixture.h"

#include "keyspace/keyspace_internal.h"

#define NOW FIXTURE_NOW

enum { COUNT = 4000 };

static void configure(struct fixture *fixture, enum eviction_policy policy, bool is_defragmenting)
{
    struct keyspace_config config = {.sample_count = 5,
                                     .policy = policy,
                                     .is_defragmenting = is_defragmenting,
                                     .memory_max = keyspace_memory(fixture->keyspace) + 1000};
    keyspace_configure(fixture->keyspace, &config);
}

static void open_filled(struct fixture *fixture, enum eviction_policy policy, bool is_defragmenting)
{
    fixture_open(fixture);
    for (unsigned i = 0; i < COUNT; i++) {
        char key[64], text[128];
        snprintf(key, sizeof(key), "key%u", i);
        memset(text, 'x', sizeof(text));
        text[i % 100 + 20] = '\0';
        fixture_set(fixture->db, key, text, -1, NOW);
    }
    configure(fixture, policy, is_defragmenting);
}

/* Removes three keys of four, so that slabs are sparse. Returns how many are left. */
static unsigned thin_out(struct fixture *fixture)
{
    for (unsigned i = 0; i < COUNT; i++) {
        char key[64];
        snprintf(key, sizeof(key), "key%u", i);
        if (i % 4 != 0) {
            fixture_remove(fixture->db, key, NOW);
        }
    }
    configure(fixture, EVICT_ALL_LRU, true);
    return COUNT / 4;
}

/* As a look at a heap that wastes this much would leave it. */
static void waste(struct fixture *fixture, size_t excess)
{
    fixture->keyspace->pressure.excess = excess;
    fixture->keyspace->pressure.look_at = UINT64_MAX;
}

static enum evict_result evict(struct fixture *fixture)
{
    return keyspace_evict_step(fixture->keyspace, NOW, INT64_MAX);
}

TEST(pressure, nothing_happens_while_data_and_waste_fit)
{
    struct fixture fixture;
    open_filled(&fixture, EVICT_ALL_LRU, true);
    waste(&fixture, 1000);
    CHECK(keyspace_fits(fixture.keyspace) && evict(&fixture) == EVICT_FITS);
    CHECK(fixture.evicted == 0 && keyspace_stats(fixture.keyspace)->defrag_moved == 0);
    fixture_close(&fixture);
}

TEST(pressure, values_move_before_any_key_goes)
{
    struct fixture fixture;
    open_filled(&fixture, EVICT_ALL_LRU, true);
    const struct keyspace_stats *stats = keyspace_stats(fixture.keyspace);
    unsigned left = thin_out(&fixture);
    waste(&fixture, 2000);
    CHECK(!keyspace_fits(fixture.keyspace));
    while (stats->defrag_moved == 0 && stats->defrag_kept < left) {
        CHECK(keyspace_evict_step(fixture.keyspace, NOW, 0) == EVICT_BUSY);
    }
    CHECK(stats->defrag_moved > 0 && fixture.evicted == 0 && db_count(fixture.db) == left);
    fixture_close(&fixture);
}

TEST(pressure, keys_go_when_a_whole_pass_was_in_vain)
{
    struct fixture fixture;
    open_filled(&fixture, EVICT_ALL_LRU, true);
    waste(&fixture, 50000);
    fixture.keyspace->pressure.retry_at = UINT64_MAX;
    fixture.keyspace->pressure.vain_excess = 50000;
    CHECK(evict(&fixture) == EVICT_FITS);
    CHECK(fixture.evicted > 0 && keyspace_stats(fixture.keyspace)->defrag_moved == 0);
    size_t max = keyspace_config(fixture.keyspace)->memory_max;
    CHECK(keyspace_memory(fixture.keyspace) + 50000 <= max);
    CHECK(keyspace_memory(fixture.keyspace) + 50000 > max - 2000); /* And no more than needed. */
    fixture_close(&fixture);
}

TEST(pressure, a_pass_in_vain_is_not_repeated_at_once)
{
    struct fixture fixture;
    open_filled(&fixture, EVICT_ALL_LRU, true);
    struct keyspace *keyspace = fixture.keyspace;
    keyspace->pressure.look_at = UINT64_MAX;
    db_flush(fixture.db, true);        /* Nothing to move: every pass is in vain. */
    for (unsigned i = 0; i < 4; i++) { /* To the end of the last database. */
        CHECK(pressure_relieve(keyspace));
    }
    CHECK(keyspace->pressure.retry_at > mem_turnover() && !pressure_relieve(keyspace));
    keyspace->pressure.excess = keyspace_config(keyspace)->memory_max / 8;
    keyspace->pressure.retry_at = UINT64_MAX;
    CHECK(pressure_relieve(keyspace)); /* Much more is wasted now. */
    fixture_close(&fixture);
}

TEST(pressure, it_is_for_caches_that_may_move_values)
{
    for (unsigned i = 0; i < 2; i++) {
        struct fixture fixture;
        open_filled(&fixture, i == 0 ? EVICT_NONE : EVICT_ALL_LRU, i == 0);
        waste(&fixture, 100000);
        CHECK(keyspace_fits(fixture.keyspace) && evict(&fixture) == EVICT_FITS);
        CHECK(db_count(fixture.db) == COUNT);
        fixture_close(&fixture);
    }
}

TEST(pressure, looks_follow_what_was_allocated)
{
    struct fixture fixture;
    open_filled(&fixture, EVICT_ALL_LRU, true);
    (void)keyspace_fits(fixture.keyspace);
    uint64_t look_at = fixture.keyspace->pressure.look_at;
    CHECK(look_at > mem_turnover());
    (void)keyspace_fits(fixture.keyspace);
    CHECK(fixture.keyspace->pressure.look_at == look_at);
    while (mem_turnover() < look_at) {
        mem_free(mem_alloc(100000));
    }
    (void)keyspace_fits(fixture.keyspace);
    CHECK(fixture.keyspace->pressure.look_at > look_at);
    fixture_close(&fixture);
}
