/* The access field: idle time and frequency. */
#include "tests/unit/keyspace/keyspace_fixture.h"

#define NOW FIXTURE_NOW

static void set_policy(struct fixture *fixture, enum eviction_policy policy)
{
    struct keyspace_config config = *keyspace_config(fixture->keyspace);
    config.policy = policy;
    keyspace_configure(fixture->keyspace, &config);
}

static struct value *look(struct fixture *fixture, const char *key_text, int64_t now_ms,
                          unsigned flags)
{
    struct slice key = slice_from_text(key_text);
    return db_find(fixture->db, key, db_hash(fixture->db, key), now_ms, flags);
}

TEST(access, idle_time_counts_from_the_last_touch)
{
    struct fixture fixture;
    fixture_open(&fixture);
    fixture_set(fixture.db, "a", "1", -1, NOW);
    struct value *value = look(&fixture, "a", NOW + 30000, FIND_NO_TOUCH);
    CHECK(keyspace_idle_s(fixture.keyspace, value, NOW + 30000) == 30);
    look(&fixture, "a", NOW + 40000, 0);
    CHECK(keyspace_idle_s(fixture.keyspace, value, NOW + 40000) == 0);
    CHECK(keyspace_idle_s(fixture.keyspace, value, NOW + 45000) == 5);
    fixture_close(&fixture);
}

TEST(access, idle_time_survives_the_wrap_of_24_bits)
{
    struct fixture fixture;
    fixture_open(&fixture);
    int64_t wrap_ms = (INT64_C(102) << 24) * 1000;
    fixture_set(fixture.db, "a", "1", -1, wrap_ms - 5000);
    struct value *value = look(&fixture, "a", wrap_ms + 5000, FIND_NO_TOUCH);
    CHECK(keyspace_idle_s(fixture.keyspace, value, wrap_ms + 5000) == 10);
    fixture_close(&fixture);
}

TEST(access, frequency_begins_at_five_rises_and_decays)
{
    struct fixture fixture;
    fixture_open(&fixture);
    set_policy(&fixture, EVICT_ALL_LFU);
    fixture_set(fixture.db, "a", "1", -1, NOW);
    struct value *value = look(&fixture, "a", NOW, FIND_NO_TOUCH);
    CHECK(keyspace_frequency(fixture.keyspace, value, NOW) == 5);
    look(&fixture, "a", NOW, 0);
    CHECK(keyspace_frequency(fixture.keyspace, value, NOW) == 6);
    for (unsigned i = 0; i < 2000; i++) {
        look(&fixture, "a", NOW, 0);
    }
    unsigned frequency = keyspace_frequency(fixture.keyspace, value, NOW);
    CHECK(frequency > 15 && frequency < 60);
    CHECK(keyspace_frequency(fixture.keyspace, value, NOW + 3 * 60000) == frequency - 3);
    CHECK(keyspace_frequency(fixture.keyspace, value, NOW + 300 * 60000) == 0);
    fixture_close(&fixture);
}

TEST(access, without_decay_a_frequency_stays)
{
    struct fixture fixture;
    fixture_open(&fixture);
    struct keyspace_config config = *keyspace_config(fixture.keyspace);
    config.policy = EVICT_VOLATILE_LFU;
    config.lfu_decay_minutes = 0;
    config.lfu_log_factor = 0;
    keyspace_configure(fixture.keyspace, &config);
    fixture_set(fixture.db, "a", "1", -1, NOW);
    struct value *value = NULL;
    for (unsigned i = 0; i < 300; i++) {
        value = look(&fixture, "a", NOW, 0);
    }
    CHECK(keyspace_frequency(fixture.keyspace, value, NOW + 1000 * 60000) == 255);
    fixture_close(&fixture);
}

TEST(access, it_can_be_set_as_restore_does)
{
    struct fixture fixture;
    fixture_open(&fixture);
    struct value *value = fixture_set(fixture.db, "a", "1", -1, NOW).value;
    keyspace_set_access(fixture.keyspace, value, 100, 7, NOW);
    CHECK(keyspace_idle_s(fixture.keyspace, value, NOW) == 100);
    keyspace_set_access(fixture.keyspace, value, -1, 9, NOW);
    CHECK(keyspace_idle_s(fixture.keyspace, value, NOW) == 100);
    set_policy(&fixture, EVICT_ALL_LFU);
    keyspace_set_access(fixture.keyspace, value, 100, 7, NOW);
    CHECK(keyspace_frequency(fixture.keyspace, value, NOW) == 7);
    keyspace_set_access(fixture.keyspace, value, 100, 1000, NOW);
    CHECK(keyspace_frequency(fixture.keyspace, value, NOW) == 255);
    fixture_close(&fixture);
}
