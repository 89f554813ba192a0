/* Versions of watched keys. */
#include "tests/unit/keyspace/keyspace_fixture.h"

#define NOW FIXTURE_NOW

TEST(watch, a_bump_changes_the_version_of_that_key_alone)
{
    struct fixture fixture;
    fixture_open(&fixture);
    db_bump(fixture.db, slice_from_text("a"));
    struct watch *a = db_try_watch(fixture.db, slice_from_text("a"));
    struct watch *b = db_try_watch(fixture.db, slice_from_text("b"));
    uint64_t a_version = db_watch_version(a);
    uint64_t b_version = db_watch_version(b);
    db_bump(fixture.db, slice_from_text("a"));
    db_bump(keyspace_db(fixture.keyspace, 1), slice_from_text("b"));
    db_bump(fixture.db, slice_from_text("c"));
    CHECK(db_watch_version(a) != a_version && db_watch_version(b) == b_version);
    db_unwatch(fixture.db, a);
    db_unwatch(fixture.db, b);
    fixture_close(&fixture);
}

TEST(watch, watchers_of_a_key_share_it)
{
    struct fixture fixture;
    fixture_open(&fixture);
    struct watch *first = db_try_watch(fixture.db, slice_from_text("a"));
    struct watch *second = db_try_watch(fixture.db, slice_from_text("a"));
    CHECK(first == second);
    db_unwatch(fixture.db, first);
    uint64_t version = db_watch_version(second);
    db_bump(fixture.db, slice_from_text("a"));
    CHECK(db_watch_version(second) != version);
    db_unwatch(fixture.db, second);
    db_bump(fixture.db, slice_from_text("a"));
    fixture_close(&fixture);
}

TEST(watch, expiry_and_eviction_are_changes)
{
    struct fixture fixture;
    fixture_open(&fixture);
    fixture_set(fixture.db, "a", "1", NOW + 10, NOW);
    fixture_set(fixture.db, "b", "1", NOW + 10, NOW);
    struct watch *a = db_try_watch(fixture.db, slice_from_text("a"));
    struct watch *b = db_try_watch(fixture.db, slice_from_text("b"));
    uint64_t a_version = db_watch_version(a);
    uint64_t b_version = db_watch_version(b);
    CHECK(!fixture_has(fixture.db, "a", NOW + 11));
    CHECK(db_watch_version(a) != a_version && db_watch_version(b) == b_version);
    while (keyspace_expire_step(fixture.keyspace, NOW + 11, INT64_MAX)) {
    }
    CHECK(db_watch_version(b) != b_version);
    db_unwatch(fixture.db, a);
    db_unwatch(fixture.db, b);
    fixture_close(&fixture);
}

TEST(watch, a_flush_changes_keys_that_exist)
{
    struct fixture fixture;
    fixture_open(&fixture);
    fixture_set(fixture.db, "a", "1", -1, NOW);
    struct watch *a = db_try_watch(fixture.db, slice_from_text("a"));
    struct watch *absent = db_try_watch(fixture.db, slice_from_text("absent"));
    uint64_t a_version = db_watch_version(a);
    uint64_t absent_version = db_watch_version(absent);
    db_flush(fixture.db, false);
    CHECK(db_watch_version(a) != a_version && db_watch_version(absent) == absent_version);
    db_unwatch(fixture.db, a);
    db_unwatch(fixture.db, absent);
    fixture_close(&fixture);
}

TEST(watch, a_swap_changes_keys_that_exist_on_either_side)
{
    struct fixture fixture;
    fixture_open(&fixture);
    struct db *other = keyspace_db(fixture.keyspace, 1);
    fixture_set(fixture.db, "here", "1", -1, NOW);
    fixture_set(other, "there", "1", -1, NOW);
    static const char *const keys[] = {"here", "there", "nowhere"};
    for (unsigned i = 0; i < 6; i++) {
        struct db *db = i % 2 == 0 ? fixture.db : other;
        struct watch *watch = db_try_watch(db, slice_from_text(keys[i / 2]));
        uint64_t version = db_watch_version(watch);
        keyspace_swap(fixture.keyspace, 0, 1);
        CHECK((db_watch_version(watch) != version) == (i / 2 < 2));
        version = db_watch_version(watch);
        db_bump(db, slice_from_text(keys[i / 2]));
        CHECK(db_watch_version(watch) != version);
        db_unwatch(db, watch);
    }
    fixture_close(&fixture);
}

TEST(watch, watches_that_are_left_end_with_the_keyspace)
{
    struct fixture fixture;
    fixture_open(&fixture);
    db_try_watch(fixture.db, slice_from_text("a"));
    db_try_watch(fixture.db, slice_from_text(""));
    fixture_close(&fixture);
}
