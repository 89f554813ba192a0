/* Eviction: each policy takes what it should, and the limit is kept. */
#include "tests/unit/keyspace/keyspace_fixture.h"

#include "keyspace/keyspace_internal.h"

#define NOW FIXTURE_NOW

static const struct keyspace_config config_base = {
    .sample_count = 5, .lfu_log_factor = 10, .lfu_decay_minutes = 1, .eviction_tenacity = 10};

/* Sets a policy and a limit of `bytes` less than is used now. */
static void limit(struct fixture *fixture, enum eviction_policy policy, size_t bytes)
{
    struct keyspace_config config = config_base;
    config.policy = policy;
    config.memory_max = keyspace_memory(fixture->keyspace) - bytes;
    keyspace_configure(fixture->keyspace, &config);
}

static void set_policy(struct fixture *fixture, enum eviction_policy policy)
{
    struct keyspace_config config = config_base;
    config.policy = policy;
    keyspace_configure(fixture->keyspace, &config);
}

static enum evict_result evict(struct fixture *fixture, int64_t now_ms)
{
    return keyspace_evict_step(fixture->keyspace, now_ms, INT64_MAX);
}

/* Touches keys "<prefix><from>" to "<prefix><to - 1>". */
static void touch(struct db *db, const char *prefix, unsigned from, unsigned to, int64_t now_ms)
{
    for (unsigned i = from; i < to; i++) {
        char key[64];
        snprintf(key, sizeof(key), "%s%u", prefix, i);
        struct slice name = slice_from_text(key);
        db_find(db, name, db_hash(db, name), now_ms, 0);
    }
}

static unsigned count_present(struct db *db, const char *prefix, unsigned from, unsigned to)
{
    unsigned count = 0;
    for (unsigned i = from; i < to; i++) {
        char key[64];
        snprintf(key, sizeof(key), "%s%u", prefix, i);
        count += fixture_has(db, key, NOW);
    }
    return count;
}

TEST(evict, no_limit_and_a_kept_limit_fit)
{
    struct fixture fixture;
    fixture_open(&fixture);
    CHECK(evict(&fixture, NOW) == EVICT_FITS);
    struct keyspace_config config = config_base;
    config.memory_max = keyspace_memory(fixture.keyspace) + 1000;
    keyspace_configure(fixture.keyspace, &config);
    CHECK(evict(&fixture, NOW) == EVICT_FITS);
    CHECK(keyspace_config(fixture.keyspace)->memory_max == config.memory_max);
    fixture_close(&fixture);
}

TEST(evict, without_a_policy_nothing_goes)
{
    struct fixture fixture;
    fixture_open(&fixture);
    fixture_fill(fixture.db, (struct fixture_fill){.prefix = "k", .count = 100, .expire_ms = -1},
                 NOW);
    limit(&fixture, EVICT_NONE, 1000);
    CHECK(evict(&fixture, NOW) == EVICT_FULL && db_count(fixture.db) == 100);
    limit(&fixture, EVICT_VOLATILE_LRU, 1000);
    CHECK(evict(&fixture, NOW) == EVICT_FULL && db_count(fixture.db) == 100);
    fixture_close(&fixture);
}

TEST(evict, every_policy_frees_what_is_over_the_limit)
{
    for (enum eviction_policy policy = EVICT_ALL_LRU; policy <= EVICT_VOLATILE_TTL; policy++) {
        struct fixture fixture;
        fixture_open(&fixture);
        for (unsigned i = 0; i < 4; i += 2) {
            fixture_fill(
                keyspace_db(fixture.keyspace, i),
                (struct fixture_fill){.prefix = "k", .count = 1000, .expire_ms = NOW + 100000},
                NOW);
        }
        limit(&fixture, policy, 30000);
        CHECK(evict(&fixture, NOW) == EVICT_FITS);
        CHECK(keyspace_memory(fixture.keyspace) <= keyspace_config(fixture.keyspace)->memory_max);
        CHECK(fixture.evicted > 100 && fixture.evicted < 1900);
        CHECK(keyspace_stats(fixture.keyspace)->evicted == fixture.evicted);
        CHECK(db_count(keyspace_db(fixture.keyspace, 0)) < 1000);
        CHECK(db_count(keyspace_db(fixture.keyspace, 2)) < 1000);
        fixture_close(&fixture);
    }
}

TEST(evict, lru_keeps_what_was_used)
{
    struct fixture fixture;
    fixture_open(&fixture);
    set_policy(&fixture, EVICT_ALL_LRU);
    fixture_fill(fixture.db, (struct fixture_fill){.prefix = "k", .count = 2000, .expire_ms = -1},
                 NOW);
    touch(fixture.db, "k", 1000, 2000, NOW + 100000);
    limit(&fixture, EVICT_ALL_LRU, 20000);
    CHECK(evict(&fixture, NOW + 200000) == EVICT_FITS);
    unsigned lost_used = 1000 - count_present(fixture.db, "k", 1000, 2000);
    CHECK(fixture.evicted > 200 && lost_used * 20 < fixture.evicted);
    fixture_close(&fixture);
}

TEST(evict, lfu_keeps_what_is_used_often)
{
    struct fixture fixture;
    fixture_open(&fixture);
    set_policy(&fixture, EVICT_ALL_LFU);
    fixture_fill(fixture.db, (struct fixture_fill){.prefix = "k", .count = 2000, .expire_ms = -1},
                 NOW);
    for (unsigned i = 0; i < 30; i++) {
        touch(fixture.db, "k", 1000, 2000, NOW);
    }
    limit(&fixture, EVICT_ALL_LFU, 20000);
    CHECK(evict(&fixture, NOW) == EVICT_FITS);
    unsigned lost_used = 1000 - count_present(fixture.db, "k", 1000, 2000);
    CHECK(fixture.evicted > 200 && lost_used * 20 < fixture.evicted);
    fixture_close(&fixture);
}

TEST(evict, ttl_takes_what_would_go_first)
{
    struct fixture fixture;
    fixture_open(&fixture);
    fixture_fill(fixture.db,
                 (struct fixture_fill){
                     .prefix = "k", .count = 2000, .expire_ms = NOW + 1000000, .step_ms = 1000},
                 NOW);
    limit(&fixture, EVICT_VOLATILE_TTL, 20000);
    CHECK(evict(&fixture, NOW) == EVICT_FITS);
    unsigned lost_early = 1000 - count_present(fixture.db, "k", 0, 1000);
    CHECK(fixture.evicted > 200 && lost_early * 10 > fixture.evicted * 9);
    fixture_close(&fixture);
}

TEST(evict, volatile_policies_spare_other_keys_even_when_few_are_volatile)
{
    for (enum eviction_policy policy = EVICT_VOLATILE_LRU; policy <= EVICT_VOLATILE_TTL; policy++) {
        struct fixture fixture;
        fixture_open(&fixture);
        fixture_fill(fixture.db,
                     (struct fixture_fill){.prefix = "p", .count = 20000, .expire_ms = -1}, NOW);
        fixture_fill(fixture.db,
                     (struct fixture_fill){
                         .prefix = "v", .count = 100, .expire_ms = NOW + 100000, .step_ms = 7000},
                     NOW);
        limit(&fixture, policy, 500);
        CHECK(evict(&fixture, NOW) == EVICT_FITS);
        CHECK(fixture.evicted > 0 && fixture.last_key[0] == 'v');
        limit(&fixture, policy, 100000);
        enum evict_result result = EVICT_BUSY;
        for (unsigned i = 0; i < 1000 && result == EVICT_BUSY; i++) {
            result = evict(&fixture, NOW);
        }
        CHECK(result == EVICT_FULL && db_volatile_count(fixture.db) == 0);
        CHECK(db_count(fixture.db) == 20000 && fixture.evicted == 100);
        fixture_close(&fixture);
    }
}

TEST(evict, expired_keys_are_reported_as_expired)
{
    struct fixture fixture;
    fixture_open(&fixture);
    fixture_fill(fixture.db,
                 (struct fixture_fill){.prefix = "k", .count = 100, .expire_ms = NOW + 10}, NOW);
    limit(&fixture, EVICT_ALL_RANDOM, 1000);
    CHECK(evict(&fixture, NOW + 20) == EVICT_FITS);
    CHECK(fixture.expired > 0 && fixture.evicted == 0);
    fixture_close(&fixture);
}

TEST(evict, memory_on_its_way_is_freed_before_more_goes)
{
    struct fixture fixture;
    fixture_open(&fixture);
    fixture_fill(keyspace_db(fixture.keyspace, 1),
                 (struct fixture_fill){.prefix = "k", .count = 1000, .expire_ms = -1}, NOW);
    fixture_fill(fixture.db, (struct fixture_fill){.prefix = "k", .count = 100, .expire_ms = -1},
                 NOW);
    CHECK(db_flush(keyspace_db(fixture.keyspace, 1), false) == 1000);
    limit(&fixture, EVICT_ALL_LRU, 20000);
    CHECK(evict(&fixture, NOW) == EVICT_FITS);
    CHECK(fixture.evicted == 0 && db_count(fixture.db) == 100);
    fixture_close(&fixture);
}

TEST(evict, a_passed_deadline_ends_the_step_as_busy)
{
    struct fixture fixture;
    fixture_open(&fixture);
    fixture_fill(fixture.db, (struct fixture_fill){.prefix = "k", .count = 1000, .expire_ms = -1},
                 NOW);
    limit(&fixture, EVICT_ALL_LRU, 30000);
    CHECK(keyspace_evict_step(fixture.keyspace, NOW, INT64_MIN) == EVICT_BUSY);
    CHECK(fixture.evicted > 0 && fixture.evicted <= 16);
    CHECK(evict(&fixture, NOW) == EVICT_FITS);
    fixture_close(&fixture);
}

static size_t overhead_of_test(void *context)
{
    return *(const size_t *)context;
}

TEST(evict, overhead_is_not_data)
{
    struct fixture fixture;
    fixture_open(&fixture);
    fixture_fill(fixture.db, (struct fixture_fill){.prefix = "k", .count = 1000, .expire_ms = -1},
                 NOW);
    size_t overhead = 0;
    keyspace_set_overhead(fixture.keyspace, overhead_of_test, &overhead);
    size_t before = keyspace_memory(fixture.keyspace);
    overhead = 10000;
    CHECK(keyspace_memory(fixture.keyspace) == before - 10000);
    overhead = SIZE_MAX;
    CHECK(keyspace_memory(fixture.keyspace) == 0);
    fixture_close(&fixture);
}

TEST(evict, candidates_that_changed_are_passed_over)
{
    struct fixture fixture;
    fixture_open(&fixture);
    set_policy(&fixture, EVICT_ALL_LRU);
    fixture_fill(fixture.db, (struct fixture_fill){.prefix = "k", .count = 50, .expire_ms = -1},
                 NOW);
    struct keyspace_config config = config_base;
    config.policy = EVICT_ALL_LRU;
    config.memory_max = keyspace_memory(fixture.keyspace) - 1;
    keyspace_configure(fixture.keyspace, &config);
    CHECK(evict(&fixture, NOW + 10000) == EVICT_FITS);
    CHECK(fixture.keyspace->pool.count > 0);
    unsigned evicted = fixture.evicted;
    db_flush(fixture.db, true);
    fixture_fill(fixture.db, (struct fixture_fill){.prefix = "n", .count = 200, .expire_ms = -1},
                 NOW + 20000);
    CHECK(evict(&fixture, NOW + 20000) == EVICT_FITS);
    CHECK(fixture.evicted > evicted);
    fixture_close(&fixture);
}

TEST(evict, the_budget_follows_tenacity)
{
    struct fixture fixture;
    fixture_open(&fixture);
    struct keyspace_config config = config_base;
    keyspace_configure(fixture.keyspace, &config);
    CHECK(keyspace_evict_budget_us(fixture.keyspace) == 500);
    config.eviction_tenacity = 0;
    keyspace_configure(fixture.keyspace, &config);
    CHECK(keyspace_evict_budget_us(fixture.keyspace) == 0);
    config.eviction_tenacity = 11;
    keyspace_configure(fixture.keyspace, &config);
    CHECK(keyspace_evict_budget_us(fixture.keyspace) == 575);
    config.eviction_tenacity = 100;
    keyspace_configure(fixture.keyspace, &config);
    CHECK(keyspace_evict_budget_us(fixture.keyspace) == INT64_MAX);
    fixture_close(&fixture);
}
