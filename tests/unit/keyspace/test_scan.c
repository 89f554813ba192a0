/* Cursors and random keys. */
#include "tests/unit/keyspace/keyspace_fixture.h"

#define NOW FIXTURE_NOW

struct seen {
    unsigned count;
    unsigned char keys[4096]; /* Times that "k<i>" was visited. */
};

static void on_visit(void *context, struct slice key, const struct value *value)
{
    struct seen *seen = context;
    CHECK(slice_equal(key, value_key(value)));
    seen->count++;
    seen->keys[atoi(key.data + 1)]++;
}

TEST(scan, a_full_scan_visits_each_live_key_once)
{
    struct fixture fixture;
    fixture_open(&fixture);
    fixture_fill(fixture.db, (struct fixture_fill){.prefix = "k", .count = 3000, .expire_ms = -1},
                 NOW);
    for (unsigned i = 0; i < 500; i++) {
        char key[32];
        snprintf(key, sizeof(key), "k%u", i);
        fixture_set(fixture.db, key, "soon gone", NOW + 10, NOW);
    }
    struct seen seen = {0};
    uint64_t cursor = 0;
    unsigned calls = 0;
    do {
        unsigned before = seen.count;
        cursor = db_scan(fixture.db, cursor, 10, NOW + 20, on_visit, &seen);
        CHECK(seen.count - before < 64);
        calls++;
    } while (cursor != 0);
    CHECK(seen.count == 2500 && calls > 100);
    for (unsigned i = 0; i < 3000; i++) {
        CHECK(seen.keys[i] == (i >= 500));
    }
    fixture_close(&fixture);
}

TEST(scan, keys_that_stay_are_seen_while_others_come_and_go)
{
    struct fixture fixture;
    fixture_open(&fixture);
    fixture_fill(fixture.db, (struct fixture_fill){.prefix = "k", .count = 1000, .expire_ms = -1},
                 NOW);
    struct seen seen = {0};
    uint64_t cursor = 0;
    unsigned next = 1000;
    do {
        cursor = db_scan(fixture.db, cursor, 5, NOW, on_visit, &seen);
        for (unsigned i = 0; i < 20 && next < 4000; i++, next++) {
            char key[32];
            snprintf(key, sizeof(key), "k%u", next);
            fixture_set(fixture.db, key, "new", -1, NOW);
        }
    } while (cursor != 0);
    for (unsigned i = 0; i < 4000; i++) {
        CHECK(i < 1000 ? seen.keys[i] == 1 : seen.keys[i] <= 1);
    }
    fixture_close(&fixture);
}

TEST(scan, odd_cursors_and_counts_are_harmless)
{
    struct fixture fixture;
    fixture_open(&fixture);
    struct seen seen = {0};
    CHECK(db_scan(fixture.db, 0, 10, NOW, on_visit, &seen) == 0);
    fixture_fill(fixture.db, (struct fixture_fill){.prefix = "k", .count = 100, .expire_ms = -1},
                 NOW);
    CHECK(db_scan(fixture.db, UINT64_MAX, 10, NOW, on_visit, &seen) == 0);
    db_scan(fixture.db, 12345678901234, 0, NOW, on_visit, &seen);
    seen = (struct seen){0};
    CHECK(db_scan(fixture.db, 0, SIZE_MAX, NOW, on_visit, &seen) == 0 && seen.count == 100);
    fixture_close(&fixture);
}

TEST(scan, random_keys_are_fair)
{
    struct fixture fixture;
    fixture_open(&fixture);
    CHECK(db_random(fixture.db, NOW) == NULL);
    fixture_fill(fixture.db, (struct fixture_fill){.prefix = "k", .count = 20, .expire_ms = -1},
                 NOW);
    unsigned counts[20] = {0};
    for (unsigned i = 0; i < 20000; i++) {
        counts[atoi(value_key(db_random(fixture.db, NOW)).data + 1)]++;
    }
    for (unsigned i = 0; i < 20; i++) {
        CHECK(counts[i] > 800 && counts[i] < 1200);
    }
    fixture_close(&fixture);
}

TEST(scan, the_last_live_key_among_expired_ones_is_found)
{
    for (int may_remove = 0; may_remove < 2; may_remove++) {
        struct fixture fixture;
        fixture_open(&fixture);
        keyspace_set_expiry(fixture.keyspace, may_remove != 0, false);
        fixture_fill(fixture.db,
                     (struct fixture_fill){.prefix = "k", .count = 2000, .expire_ms = NOW + 10},
                     NOW);
        fixture_set(fixture.db, "live", "1", -1, NOW);
        struct value *value = db_random(fixture.db, NOW + 20);
        CHECK(value != NULL && slice_equal(value_key(value), slice_from_text("live")));
        CHECK((db_count(fixture.db) < 2001) == (may_remove != 0));
        keyspace_set_expiry(fixture.keyspace, true, true);
        fixture_remove(fixture.db, "live", NOW);
        CHECK(db_random(fixture.db, NOW + 20) == NULL);
        fixture_close(&fixture);
    }
}
