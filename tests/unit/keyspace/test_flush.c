/* Emptying databases, at once and in slices. */
#include "tests/unit/keyspace/keyspace_fixture.h"

#include "keyspace/keyspace_internal.h"

#define NOW FIXTURE_NOW

TEST(flush, an_empty_database_needs_no_work)
{
    struct fixture fixture;
    fixture_open(&fixture);
    CHECK(db_flush(fixture.db, false) == 0 && work_is_idle(&fixture.work));
    fixture_close(&fixture);
}

TEST(flush, deferred_work_gives_all_memory_back_in_slices)
{
    struct fixture fixture;
    fixture_open(&fixture);
    size_t before = mem_used();
    fixture_fill(
        fixture.db,
        (struct fixture_fill){.prefix = "k", .count = 5000, .expire_ms = NOW + 1000, .step_ms = 77},
        NOW);
    size_t filled = mem_used();
    CHECK(db_flush(fixture.db, false) == 5000);
    CHECK(mem_used() >= filled && db_count(fixture.db) == 0);
    CHECK(db_volatile_count(fixture.db) == 0);
    CHECK(keyspace_next_expiry_ms(fixture.keyspace) == INT64_MAX);
    fixture_set(fixture.db, "k7", "again", NOW + 1000, NOW);
    unsigned steps = 0;
    while (work_run(&fixture.work, INT64_MIN)) {
        steps++;
        if (steps % 16 == 0) {
            db_check(fixture.db);
        }
    }
    CHECK(steps >= 5000 / 256);
    CHECK(fixture_holds(fixture.db, "k7", "again", NOW));
    fixture_remove(fixture.db, "k7", NOW);
    db_flush(fixture.db, true);
    CHECK(mem_used() == before);
    fixture_close(&fixture);
}

TEST(flush, several_flushes_are_worked_off_together)
{
    struct fixture fixture;
    fixture_open(&fixture);
    size_t before = mem_used();
    for (unsigned i = 0; i < 4; i++) {
        struct db *db = keyspace_db(fixture.keyspace, i);
        fixture_fill(db, (struct fixture_fill){.prefix = "k", .count = 300, .expire_ms = -1}, NOW);
        CHECK(db_flush(db, false) == 300);
    }
    CHECK(fixture.work.job_count == 1);
    work_drain(&fixture.work);
    CHECK(mem_used() == before);
    fixture_close(&fixture);
}

TEST(flush, eviction_may_finish_what_the_queue_began)
{
    struct fixture fixture;
    fixture_open(&fixture);
    fixture_fill(fixture.db, (struct fixture_fill){.prefix = "k", .count = 600, .expire_ms = -1},
                 NOW);
    db_flush(fixture.db, false);
    work_run(&fixture.work, INT64_MIN);
    while (keyspace_free_step(fixture.keyspace)) {
    }
    CHECK(!work_run(&fixture.work, INT64_MIN));
    fixture_set(fixture.db, "a", "1", -1, NOW);
    db_flush(fixture.db, false);
    CHECK(!work_is_idle(&fixture.work));
    fixture_close(&fixture);
}
