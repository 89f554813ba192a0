/* Keys one at a time: lookup, insertion, replacement, removal, expiry times. */
#include "tests/unit/keyspace/keyspace_fixture.h"

#define NOW FIXTURE_NOW

TEST(db, what_is_inserted_is_found_until_removed)
{
    struct fixture fixture;
    fixture_open(&fixture);
    struct db *db = fixture.db;
    CHECK(!fixture_has(db, "a", NOW));
    fixture_set(db, "a", "1", -1, NOW);
    fixture_set(db, "b", "two", -1, NOW);
    CHECK(fixture_holds(db, "a", "1", NOW) && fixture_holds(db, "b", "two", NOW));
    CHECK(db_count(db) == 2 && db_volatile_count(db) == 0);
    fixture_set(db, "a", "a value that does not fit where the old one was", -1, NOW);
    CHECK(fixture_holds(db, "a", "a value that does not fit where the old one was", NOW));
    fixture_remove(db, "a", NOW);
    CHECK(!fixture_has(db, "a", NOW) && db_count(db) == 1);
    CHECK(fixture.expired == 0 && fixture.evicted == 0);
    fixture_close(&fixture);
}

TEST(db, prefetching_is_harmless)
{
    struct fixture fixture;
    fixture_open(&fixture);
    db_prefetch_bucket(fixture.db, 12345);
    db_prefetch_value(fixture.db, 12345);
    fixture_fill(fixture.db, (struct fixture_fill){.prefix = "k", .count = 100, .expire_ms = -1},
                 NOW);
    uint64_t hash = db_hash(fixture.db, slice_from_text("k7"));
    db_prefetch_bucket(fixture.db, hash);
    db_prefetch_value(fixture.db, hash);
    CHECK(fixture_has(fixture.db, "k7", NOW));
    fixture_close(&fixture);
}

TEST(db, only_reads_count_hits_and_misses)
{
    struct fixture fixture;
    fixture_open(&fixture);
    fixture_set(fixture.db, "a", "1", -1, NOW);
    const struct keyspace_stats *stats = keyspace_stats(fixture.keyspace);
    CHECK(stats->hits == 0 && stats->misses == 0);
    CHECK(fixture_holds(fixture.db, "a", "1", NOW));
    CHECK(!fixture_holds(fixture.db, "b", "1", NOW));
    CHECK(!fixture_has(fixture.db, "b", NOW));
    CHECK(stats->hits == 1 && stats->misses == 1);
    fixture_close(&fixture);
}

TEST(db, a_key_lives_through_its_last_millisecond)
{
    struct fixture fixture;
    fixture_open(&fixture);
    fixture_set(fixture.db, "a", "1", NOW + 50, NOW);
    CHECK(fixture_has(fixture.db, "a", NOW + 50));
    CHECK(db_volatile_count(fixture.db) == 1);
    CHECK(!fixture_has(fixture.db, "a", NOW + 51));
    CHECK(fixture.expired == 1 && strcmp(fixture.last_key, "a") == 0);
    CHECK(db_count(fixture.db) == 0 && db_volatile_count(fixture.db) == 0);
    CHECK(keyspace_stats(fixture.keyspace)->expired == 1);
    fixture_close(&fixture);
}

TEST(db, an_expiry_can_be_set_moved_and_cleared)
{
    struct fixture fixture;
    fixture_open(&fixture);
    struct db *db = fixture.db;
    struct place place = fixture_set(db, "a", "text", -1, NOW);
    uint64_t hash = db_hash(db, slice_from_text("a"));
    CHECK(!db_clear_expire(db, &place));
    CHECK(db_set_expire(db, hash, &place, NOW + 1000));
    CHECK(db_set_expire(db, hash, &place, NOW + 100000));
    CHECK(db_set_expire(db, hash, &place, NOW + 10));
    CHECK(value_expire_ms(place.value) == NOW + 10 && db_volatile_count(db) == 1);
    db_check(db);
    CHECK(db_clear_expire(db, &place));
    CHECK(!value_has_expire(place.value) && db_volatile_count(db) == 0);
    db_check(db);
    CHECK(fixture_holds(db, "a", "text", NOW + 1000000));
    fixture_close(&fixture);
}

TEST(db, expiry_times_are_clamped)
{
    struct fixture fixture;
    fixture_open(&fixture);
    struct place place = fixture_set(fixture.db, "a", "text", -1, NOW);
    uint64_t hash = db_hash(fixture.db, slice_from_text("a"));
    CHECK(db_set_expire(fixture.db, hash, &place, INT64_MAX));
    CHECK(value_expire_ms(place.value) == VALUE_EXPIRE_MS_MAX);
    CHECK(db_set_expire(fixture.db, hash, &place, INT64_MIN));
    CHECK(value_expire_ms(place.value) == 0);
    CHECK(!fixture_has(fixture.db, "a", NOW));
    fixture_close(&fixture);
}

TEST(db, setting_an_expiry_can_fail_and_change_nothing)
{
    struct fixture fixture;
    fixture_open(&fixture);
    struct place place = fixture_set(fixture.db, "a", "12345678", -1, NOW);
    uint64_t hash = db_hash(fixture.db, slice_from_text("a"));
    CHECK(string_try_set(&place, slice_from_text("0123456789abcdef0123456789abcde"), false));
    mem_fail_after(1);
    CHECK(!db_set_expire(fixture.db, hash, &place, NOW + 1000) || value_has_expire(place.value));
    mem_fail_after(0);
    db_check(fixture.db);
    CHECK(fixture_has(fixture.db, "a", NOW));
    fixture_close(&fixture);
}

TEST(db, overwriting_without_expiry_loses_it)
{
    struct fixture fixture;
    fixture_open(&fixture);
    fixture_set(fixture.db, "a", "1", NOW + 10, NOW);
    fixture_set(fixture.db, "a", "2", -1, NOW);
    CHECK(db_volatile_count(fixture.db) == 0);
    db_check(fixture.db);
    CHECK(fixture_holds(fixture.db, "a", "2", NOW + 1000));
    fixture_close(&fixture);
}

TEST(db, replace_takes_the_new_value_and_undoes_the_old_expiry)
{
    struct fixture fixture;
    fixture_open(&fixture);
    struct db *db = fixture.db;
    struct slice key = slice_from_text("a");
    uint64_t hash = db_hash(db, key);
    struct place place = fixture_set(db, "a", "1", NOW + 10, NOW);
    db_replace(db, &place, string_try_new(key, slice_from_text("new"), false));
    CHECK(db_volatile_count(db) == 0 && fixture_holds(db, "a", "new", NOW + 100));
    db_replace(db, &place, string_try_new(key, slice_from_text("newer"), true));
    CHECK(db_set_expire(db, hash, &place, NOW + 500));
    CHECK(db_volatile_count(db) == 1 && fixture_holds(db, "a", "newer", NOW + 100));
    CHECK(!fixture_has(db, "a", NOW + 501));
    fixture_close(&fixture);
}

TEST(db, take_hands_the_value_over_for_another_key)
{
    struct fixture fixture;
    fixture_open(&fixture);
    struct db *db = fixture.db;
    struct place place = fixture_set(db, "a", "text", NOW + 10, NOW);
    struct value *value = db_take(db, db_hash(db, slice_from_text("a")), place);
    CHECK(db_count(db) == 0 && db_volatile_count(db) == 0);
    CHECK(value_expire_ms(value) == NOW + 10);
    struct slice key = slice_from_text("other");
    struct value *renamed = value_try_rekey(value, key, true);
    value_free_block(value);
    place = db_insert(db, db_hash(db, key), renamed);
    CHECK(db_set_expire(db, db_hash(db, key), &place, value_expire_ms(renamed)));
    CHECK(fixture_holds(db, "other", "text", NOW + 10));
    CHECK(!fixture_has(db, "other", NOW + 11));
    fixture_close(&fixture);
}

TEST(db, a_hidden_key_is_out_of_sight_but_kept)
{
    struct fixture fixture;
    fixture_open(&fixture);
    struct db *db = fixture.db;
    keyspace_set_expiry(fixture.keyspace, false, true);
    fixture_set(db, "a", "1", NOW + 10, NOW);
    CHECK(!fixture_has(db, "a", NOW + 11));
    CHECK(db_count(db) == 1 && fixture.expired == 0);
    struct slice key = slice_from_text("a");
    CHECK(db_find(db, key, db_hash(db, key), NOW + 11, FIND_EXPIRED) != NULL);
    CHECK(keyspace_next_expiry_ms(fixture.keyspace) == INT64_MAX);
    CHECK(!keyspace_expire_step(fixture.keyspace, NOW + 100, INT64_MAX));
    CHECK(db_count(db) == 1);
    fixture_set(db, "a", "2", -1, NOW + 11);
    CHECK(db_count(db) == 1 && fixture_holds(db, "a", "2", NOW + 12));
    fixture_set(db, "b", "3", NOW + 20, NOW + 12);
    keyspace_set_expiry(fixture.keyspace, true, true);
    while (keyspace_expire_step(fixture.keyspace, NOW + 100, INT64_MAX)) {
    }
    CHECK(db_count(db) == 1 && fixture.expired == 1);
    fixture_close(&fixture);
}

TEST(db, long_keys_and_empty_keys_work)
{
    struct fixture fixture;
    fixture_open(&fixture);
    char key[600];
    memset(key, 'k', sizeof(key));
    key[599] = '\0';
    fixture_set(fixture.db, key, "long", NOW + 10, NOW);
    fixture_set(fixture.db, "", "empty", -1, NOW);
    CHECK(fixture_holds(fixture.db, key, "long", NOW) &&
          fixture_holds(fixture.db, "", "empty", NOW));
    db_check(fixture.db);
    CHECK(!fixture_has(fixture.db, key, NOW + 11) && fixture_has(fixture.db, "", NOW + 11));
    fixture_close(&fixture);
}
