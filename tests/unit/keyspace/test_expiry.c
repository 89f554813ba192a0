/* The wheel at work: exact removal, one reference per key, slices, compaction. */
#include "tests/unit/keyspace/keyspace_fixture.h"

#include "keyspace/keyspace_internal.h"

#define NOW FIXTURE_NOW

static void expire_all(struct fixture *fixture, int64_t now_ms)
{
    while (keyspace_expire_step(fixture->keyspace, now_ms, INT64_MAX)) {
    }
}

TEST(expiry, keys_go_at_their_moment_without_being_looked_at)
{
    struct fixture fixture;
    fixture_open(&fixture);
    fixture_set(fixture.db, "soon", "1", NOW + 5, NOW);
    fixture_set(fixture.db, "later", "1", NOW + 5000, NOW);
    fixture_set(fixture.db, "much later", "1", NOW + 500000000, NOW);
    fixture_set(fixture.db, "never", "1", -1, NOW);
    expire_all(&fixture, NOW + 5);
    CHECK(db_count(fixture.db) == 4);
    expire_all(&fixture, NOW + 6);
    CHECK(db_count(fixture.db) == 3 && strcmp(fixture.last_key, "soon") == 0);
    expire_all(&fixture, NOW + 5000);
    CHECK(db_count(fixture.db) == 3);
    expire_all(&fixture, NOW + 5001);
    CHECK(db_count(fixture.db) == 2 && strcmp(fixture.last_key, "later") == 0);
    expire_all(&fixture, NOW + 500000000);
    CHECK(db_count(fixture.db) == 2);
    expire_all(&fixture, NOW + 500000001);
    CHECK(db_count(fixture.db) == 1 && fixture.expired == 3);
    CHECK(keyspace_next_expiry_ms(fixture.keyspace) == INT64_MAX);
    fixture_close(&fixture);
}

TEST(expiry, following_the_next_moments_reaches_each_key_on_time)
{
    struct fixture fixture;
    fixture_open(&fixture);
    fixture_set(fixture.db, "a", "1", NOW + 77777, NOW);
    unsigned turns = 0;
    while (db_count(fixture.db) > 0) {
        int64_t next_ms = keyspace_next_expiry_ms(fixture.keyspace);
        CHECK(next_ms <= NOW + 77778);
        expire_all(&fixture, next_ms);
        CHECK((next_ms == NOW + 77778) == (db_count(fixture.db) == 0));
        turns++;
    }
    CHECK(turns <= WHEEL_LEVELS);
    fixture_close(&fixture);
}

TEST(expiry, a_burst_is_removed_in_slices)
{
    struct fixture fixture;
    fixture_open(&fixture);
    fixture_fill(fixture.db,
                 (struct fixture_fill){.prefix = "k", .count = 1000, .expire_ms = NOW + 10}, NOW);
    unsigned steps = 1;
    while (keyspace_expire_step(fixture.keyspace, NOW + 11, INT64_MIN)) {
        CHECK(db_count(fixture.db) + steps * 64 >= 1000);
        steps++;
    }
    CHECK(steps > 10 && db_count(fixture.db) == 0 && fixture.expired == 1000);
    CHECK(db_expiry_memory(fixture.db) < 8192);
    fixture_close(&fixture);
}

TEST(expiry, all_databases_get_their_turn)
{
    struct fixture fixture;
    fixture_open(&fixture);
    for (unsigned i = 0; i < 4; i++) {
        fixture_fill(keyspace_db(fixture.keyspace, i),
                     (struct fixture_fill){.prefix = "k", .count = 200, .expire_ms = NOW + 10},
                     NOW);
    }
    for (unsigned i = 0; i < 8; i++) {
        keyspace_expire_step(fixture.keyspace, NOW + 11, INT64_MIN);
    }
    for (unsigned i = 0; i < 4; i++) {
        CHECK(db_count(keyspace_db(fixture.keyspace, i)) < 200);
    }
    expire_all(&fixture, NOW + 11);
    CHECK(fixture.expired == 800);
    fixture_close(&fixture);
}

TEST(expiry, extending_keeps_the_one_reference)
{
    struct fixture fixture;
    fixture_open(&fixture);
    struct place place = fixture_set(fixture.db, "a", "1", NOW + 100, NOW);
    uint64_t hash = db_hash(fixture.db, slice_from_text("a"));
    for (unsigned i = 0; i < 1000; i++) {
        CHECK(db_set_expire(fixture.db, hash, &place, NOW + 100 + i));
    }
    CHECK(wheel_count(&fixture.db->wheel) == 1 && fixture.db->wheel.stale == 0);
    expire_all(&fixture, NOW + 1000);
    CHECK(db_count(fixture.db) == 1 && wheel_count(&fixture.db->wheel) == 1);
    db_check(fixture.db);
    expire_all(&fixture, NOW + 1100);
    CHECK(db_count(fixture.db) == 0);
    fixture_close(&fixture);
}

TEST(expiry, shortening_moves_the_key_and_leaves_a_stale_reference)
{
    struct fixture fixture;
    fixture_open(&fixture);
    struct place place = fixture_set(fixture.db, "a", "1", NOW + 1000000, NOW);
    uint64_t hash = db_hash(fixture.db, slice_from_text("a"));
    CHECK(db_set_expire(fixture.db, hash, &place, NOW + 20));
    CHECK(wheel_count(&fixture.db->wheel) == 2 && fixture.db->wheel.stale == 1);
    expire_all(&fixture, NOW + 21);
    CHECK(db_count(fixture.db) == 0 && fixture.expired == 1);
    expire_all(&fixture, NOW + 2000000);
    CHECK(wheel_count(&fixture.db->wheel) == 0 && fixture.db->wheel.stale == 0);
    CHECK(fixture.expired == 1);
    fixture_close(&fixture);
}

TEST(expiry, a_key_that_comes_back_is_not_hit_by_its_old_reference)
{
    struct fixture fixture;
    fixture_open(&fixture);
    fixture_set(fixture.db, "a", "1", NOW + 100, NOW);
    fixture_remove(fixture.db, "a", NOW);
    fixture_set(fixture.db, "a", "2", -1, NOW);
    expire_all(&fixture, NOW + 200);
    CHECK(fixture_holds(fixture.db, "a", "2", NOW + 200) && fixture.expired == 0);
    fixture_set(fixture.db, "a", "3", NOW + 1000, NOW + 200);
    fixture_remove(fixture.db, "a", NOW + 200);
    fixture_set(fixture.db, "a", "4", NOW + 1000, NOW + 200);
    CHECK(wheel_count(&fixture.db->wheel) == 2 && fixture.db->wheel.stale == 1);
    expire_all(&fixture, NOW + 1000);
    CHECK(fixture_holds(fixture.db, "a", "4", NOW + 1000));
    expire_all(&fixture, NOW + 1001);
    CHECK(db_count(fixture.db) == 0 && fixture.expired == 1);
    CHECK(fixture.db->wheel.stale == 0);
    fixture_set(fixture.db, "a", "5", NOW + 2000, NOW + 1001);
    fixture_remove(fixture.db, "a", NOW + 1001);
    struct place place = fixture_set(fixture.db, "a", "6", NOW + 900000, NOW + 1001);
    uint16_t filed_at = value_wheel_place(place.value);
    expire_all(&fixture, NOW + 2001);
    CHECK(value_wheel_place(fixture_place(fixture.db, "a", NOW + 2001).value) == filed_at);
    CHECK(wheel_count(&fixture.db->wheel) == 1 && fixture.db->wheel.stale == 0);
    fixture_close(&fixture);
}

TEST(expiry, stale_references_are_compacted_in_slices)
{
    struct fixture fixture;
    fixture_open(&fixture);
    fixture_fill(fixture.db,
                 (struct fixture_fill){
                     .prefix = "k", .count = 5000, .expire_ms = NOW + 1000000, .step_ms = 1000},
                 NOW);
    for (unsigned i = 0; i < 4500; i++) {
        char key[32];
        snprintf(key, sizeof(key), "k%u", i);
        fixture_remove(fixture.db, key, NOW);
    }
    CHECK(wheel_count(&fixture.db->wheel) == 5000);
    size_t memory = db_expiry_memory(fixture.db);
    unsigned steps = 0;
    while (keyspace_expire_step(fixture.keyspace, NOW + 1, INT64_MIN)) {
        steps++;
    }
    CHECK(steps > 20);
    CHECK(wheel_count(&fixture.db->wheel) == 500 && db_expiry_memory(fixture.db) < memory / 2);
    db_check(fixture.db);
    expire_all(&fixture, NOW + 100000000);
    CHECK(fixture.expired == 500);
    fixture_close(&fixture);
}

TEST(expiry, switched_off_the_wheel_stands_still_but_lookups_expire)
{
    struct fixture fixture;
    fixture_open(&fixture);
    keyspace_set_expiry(fixture.keyspace, true, false);
    fixture_set(fixture.db, "a", "1", NOW + 10, NOW);
    fixture_set(fixture.db, "b", "1", NOW + 10, NOW);
    expire_all(&fixture, NOW + 100);
    CHECK(db_count(fixture.db) == 2);
    CHECK(!fixture_has(fixture.db, "a", NOW + 100) && db_count(fixture.db) == 1);
    keyspace_set_expiry(fixture.keyspace, true, true);
    expire_all(&fixture, NOW + 100);
    CHECK(db_count(fixture.db) == 0 && fixture.expired == 2);
    fixture_close(&fixture);
}

TEST(expiry, a_clock_that_begins_at_zero_works)
{
    struct fixture fixture;
    fixture_open(&fixture);
    struct keyspace_options options = {
        .db_count = 1, .hash_seed = 5, .rng = &fixture.rng, .work = &fixture.work};
    struct keyspace *keyspace = keyspace_new(&options);
    struct db *db = keyspace_db(keyspace, 0);
    fixture_set(db, "a", "1", NOW + 1, NOW);
    fixture_set(db, "b", "1", NOW + 1000, NOW);
    while (keyspace_expire_step(keyspace, NOW + 2, INT64_MAX)) {
    }
    CHECK(db_count(db) == 1);
    db_check(db);
    keyspace_free(keyspace);
    fixture_close(&fixture);
}

TEST(expiry, the_average_is_that_of_live_volatile_keys)
{
    struct fixture fixture;
    fixture_open(&fixture);
    CHECK(db_average_ttl_ms(fixture.db, NOW) == 0);
    fixture_fill(fixture.db, (struct fixture_fill){.prefix = "p", .count = 20, .expire_ms = -1},
                 NOW);
    fixture_fill(fixture.db,
                 (struct fixture_fill){.prefix = "v", .count = 20, .expire_ms = NOW + 5000}, NOW);
    CHECK(db_average_ttl_ms(fixture.db, NOW) == 5000);
    CHECK(db_average_ttl_ms(fixture.db, NOW + 1000) == 4000);
    fixture_close(&fixture);
}
