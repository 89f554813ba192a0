/* Moving values out of sparse slabs. */
#include "tests/unit/keyspace/keyspace_fixture.h"

#include "keyspace/keyspace_internal.h"

#define NOW FIXTURE_NOW

static void key_of(char key[32], unsigned i)
{
    snprintf(key, 32, "key%u", i);
}

static void text_of(char text[128], unsigned i)
{
    memset(text, 'a' + (int)(i % 26), 127);
    text[i % 90] = '\0';
}

/* Every third with an expiry, every fifth gone again: half-empty slabs of several sizes. */
static void fill(struct fixture *fixture, unsigned count)
{
    char key[32], text[128];
    for (unsigned i = 0; i < count; i++) {
        key_of(key, i);
        text_of(text, i);
        struct db *db = keyspace_db(fixture->keyspace, i % 2);
        fixture_set(db, key, text, i % 3 == 0 ? NOW + 1000 + i : -1, NOW);
    }
    for (unsigned i = 0; i < count; i++) {
        key_of(key, i);
        if (i % 5 != 0) {
            fixture_remove(keyspace_db(fixture->keyspace, i % 2), key, NOW);
        }
    }
}

static void check_filled(struct fixture *fixture, unsigned count)
{
    char key[32], text[128];
    for (unsigned i = 0; i < count; i++) {
        key_of(key, i);
        text_of(text, i);
        struct db *db = keyspace_db(fixture->keyspace, i % 2);
        struct place place = fixture_place(db, key, NOW);
        CHECK((place.value != NULL) == (i % 5 == 0));
        if (place.value != NULL) {
            CHECK(fixture_holds(db, key, text, NOW));
            CHECK(value_expire_ms(place.value) == (i % 3 == 0 ? NOW + 1000 + i : -1));
        }
    }
}

TEST(defrag, moved_values_keep_their_bytes_expiry_and_memory)
{
    struct fixture fixture;
    fixture_open(&fixture);
    enum { COUNT = 20000 };
    fill(&fixture, COUNT);
    size_t used = mem_used();
    keyspace_defrag_all(fixture.keyspace);
    const struct keyspace_stats *stats = keyspace_stats(fixture.keyspace);
    CHECK(stats->defrag_moved > 0);
    CHECK(stats->defrag_moved + stats->defrag_kept == COUNT / 5);
    CHECK(mem_used() == used);
    fixture_check(&fixture);
    check_filled(&fixture, COUNT);
    while (keyspace_expire_step(fixture.keyspace, NOW + 1000 + COUNT + 1, INT64_MAX)) {
    }
    CHECK(db_volatile_count(fixture.db) == 0 && fixture.expired == (COUNT + 14) / 15);
    fixture_close(&fixture);
}

TEST(defrag, slices_go_on_where_they_stopped)
{
    struct fixture fixture;
    fixture_open(&fixture);
    enum { COUNT = 5000 };
    fill(&fixture, COUNT);
    struct keyspace_config config = *keyspace_config(fixture.keyspace);
    CHECK(keyspace_defrag_due_us(fixture.keyspace) == INT64_MAX);
    config.is_defragmenting = true;
    keyspace_configure(fixture.keyspace, &config);
    CHECK(keyspace_defrag_due_us(fixture.keyspace) == 0);
    struct defrag *defrag = &fixture.keyspace->defrag;
    defrag->is_running = true;
    defrag->share = 25;
    defrag->look_us = INT64_MAX;
    unsigned slices = 0;
    do {
        keyspace_defrag_step(fixture.keyspace, clock_mono_us(), 0);
        CHECK(keyspace_defrag_due_us(fixture.keyspace) != INT64_MAX);
        if (slices++ % 16 == 0) {
            fixture_check(&fixture);
        }
    } while (defrag->pass_moved + defrag->pass_kept > 0);
    CHECK(slices > COUNT / 5 / 64);
    const struct keyspace_stats *stats = keyspace_stats(fixture.keyspace);
    CHECK(stats->defrag_moved + stats->defrag_kept == COUNT / 5);
    check_filled(&fixture, COUNT);
    fixture_close(&fixture);
}

TEST(defrag, a_small_or_dense_heap_is_left_alone)
{
    struct fixture fixture;
    fixture_open(&fixture);
    fill(&fixture, 100);
    struct keyspace_config config = *keyspace_config(fixture.keyspace);
    config.is_defragmenting = true;
    keyspace_configure(fixture.keyspace, &config);
    keyspace_defrag_step(fixture.keyspace, 5, 100);
#ifndef OURO_HOSTILE
    CHECK(keyspace_defrag_share(fixture.keyspace) == 0);
    CHECK(keyspace_defrag_due_us(fixture.keyspace) > 5);
    CHECK(keyspace_stats(fixture.keyspace)->defrag_kept == 0);
#else
    CHECK(keyspace_defrag_share(fixture.keyspace) > 0);
#endif
    fixture_close(&fixture);
}
