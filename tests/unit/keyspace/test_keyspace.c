/* The keyspace as a whole: databases, swap, figures. */
#include "tests/unit/keyspace/keyspace_fixture.h"

#define NOW FIXTURE_NOW

TEST(keyspace, databases_know_their_place)
{
    struct fixture fixture;
    fixture_open(&fixture);
    CHECK(keyspace_db_count(fixture.keyspace) == 4);
    for (unsigned i = 0; i < 4; i++) {
        struct db *db = keyspace_db(fixture.keyspace, i);
        CHECK(db_index(db) == i && db_keyspace(db) == fixture.keyspace);
    }
    CHECK(keyspace_hash_seed(fixture.keyspace) == test_seed() * 77);
    fixture_close(&fixture);
}

TEST(keyspace, databases_do_not_see_each_others_keys)
{
    struct fixture fixture;
    fixture_open(&fixture);
    fixture_set(fixture.db, "a", "0", -1, NOW);
    CHECK(!fixture_has(keyspace_db(fixture.keyspace, 1), "a", NOW));
    fixture_close(&fixture);
}

TEST(keyspace, swap_exchanges_keys_and_their_expiry)
{
    struct fixture fixture;
    fixture_open(&fixture);
    struct db *other = keyspace_db(fixture.keyspace, 3);
    fixture_set(fixture.db, "a", "zero", NOW + 10, NOW);
    fixture_set(other, "a", "three", -1, NOW);
    keyspace_swap(fixture.keyspace, 0, 3);
    keyspace_swap(fixture.keyspace, 1, 1);
    fixture_check(&fixture);
    CHECK(fixture_holds(fixture.db, "a", "three", NOW) && fixture_holds(other, "a", "zero", NOW));
    CHECK(db_volatile_count(fixture.db) == 0 && db_volatile_count(other) == 1);
    CHECK(keyspace_next_expiry_ms(fixture.keyspace) <= NOW + 11);
    while (keyspace_expire_step(fixture.keyspace, NOW + 11, INT64_MAX)) {
    }
    CHECK(db_count(other) == 0 && db_count(fixture.db) == 1);
    fixture_close(&fixture);
}

TEST(keyspace, figures_follow_the_contents)
{
    struct fixture fixture;
    fixture_open(&fixture);
    size_t before = keyspace_memory(fixture.keyspace);
    CHECK(db_table_memory(fixture.db) == 0 && db_expiry_memory(fixture.db) == 0);
    fixture_fill(fixture.db,
                 (struct fixture_fill){.prefix = "k", .count = 1000, .expire_ms = NOW + 10000},
                 NOW);
    CHECK(db_table_memory(fixture.db) >= 8000 && db_table_memory(fixture.db) < 20000);
    CHECK(db_expiry_memory(fixture.db) >= 4000);
    CHECK(keyspace_memory(fixture.keyspace) > before + 40000);
    CHECK(db_flush(fixture.db, true) == 1000);
    CHECK(keyspace_memory(fixture.keyspace) == before);
    fixture_close(&fixture);
}
