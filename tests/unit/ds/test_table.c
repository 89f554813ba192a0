/* The table: lookup, growth, shrinkage, cursors, samples and equal hashes. */
#include "ds/table.h"

#include "tests/unit/test.h"

/* Entries of these tests: numbers in an array, their hash chosen by the test. */
struct item {
    uint64_t hash;
    uint64_t key;
    uint32_t seen;
};

static uint64_t item_hash(const void *entry, const void *context)
{
    (void)context;
    return ((const struct item *)entry)->hash;
}

static bool item_equal(const void *entry, const void *key)
{
    return ((const struct item *)entry)->key == *(const uint64_t *)key;
}

static const struct table_kind item_kind = {.hash_of = item_hash};

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 31) * 0x9e3779b97f4a7c15ULL;
    x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9ULL;
    return x ^ x >> 32;
}

static struct item *items_new(size_t count)
{
    struct item *items = calloc(count, sizeof(*items));
    for (size_t i = 0; i < count; i++) {
        items[i] = (struct item){.key = i, .hash = mix(i + 1)};
    }
    return items;
}

static void insert_all(struct table *table, struct item *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        CHECK(table_slot_entry(table_insert(table, items[i].hash, &items[i])) == &items[i]);
    }
}

static struct item *find(const struct table *table, const struct item *item)
{
    return table_find(table, item->hash, &item->key, item_equal);
}

static void on_visit(void *context, void *entry)
{
    struct item *item = entry;
    item->seen++;
    *(size_t *)context += 1;
}

TEST(table, empty_table_finds_and_visits_nothing)
{
    struct table table;
    struct rng rng;
    struct item item = {.hash = 5};
    void *out[2];
    size_t visits = 0;
    rng_seed(&rng, 1);
    table_init(&table, &item_kind);
    table_check(&table);
    CHECK(find(&table, &item) == NULL);
    CHECK(table_remove(&table, 5, &item.key, item_equal) == NULL);
    CHECK(table_random(&table, &rng) == NULL);
    CHECK(table_sample(&table, &rng, out, 2) == 0);
    struct table_walk walk = {on_visit, &visits, 10, 10};
    CHECK(table_scan(&table, 0, &walk) == 0);
    CHECK(table_scan(&table, 77, &walk) == 0);
    table_find_prefix(&table, 0, on_visit, &visits);
    table_prefetch(&table, 5);
    CHECK(table_prefetch_entry(&table, 5));
    table_prefetch_beyond(&table, 5);
    CHECK(visits == 0 && table_memory(&table) == 0);
    table_deinit(&table);
}

/* Of entries that are not in their home bucket the prefetch says so, for they take a step more. */
TEST(table, a_prefetch_tells_who_lives_behind_the_home_bucket)
{
    enum { COUNT = 20000 };
    struct item *items = items_new(COUNT);
    struct table table;
    size_t home_count = 0, told_count = 0;
    table_init(&table, &item_kind);
    insert_all(&table, items, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        struct table_probe probe = table_probe_at(&table, items[i].hash);
        const struct table_bucket *home = &probe.first[probe.home];
        const uint64_t *slot = table_find_slot(&table, items[i].hash, &items[i].key, item_equal);
        bool is_home = slot >= home->slots && slot < home->slots + TABLE_SLOTS;
        bool is_done = table_prefetch_entry(&table, items[i].hash);
        CHECK(is_done || !is_home);
        home_count += is_home;
        told_count += !is_done;
        table_prefetch_beyond(&table, items[i].hash);
    }
    CHECK(home_count > COUNT / 2 && home_count < COUNT);
    CHECK(told_count + home_count >= COUNT - COUNT / 1000); /* A namesake at home is rare. */
    table_deinit(&table);
    free(items);
}

TEST(table, entries_are_found_until_removed)
{
    enum { COUNT = 20000 };
    struct item *items = items_new(COUNT);
    struct table table;
    table_init(&table, &item_kind);
    insert_all(&table, items, COUNT);
    table_check(&table);
    CHECK(table_count(&table) == COUNT);
    for (size_t i = 0; i < COUNT; i += 2) {
        CHECK(table_remove(&table, items[i].hash, &items[i].key, item_equal) == &items[i]);
    }
    table_check(&table);
    for (size_t i = 0; i < COUNT; i++) {
        CHECK(find(&table, &items[i]) == (i % 2 == 0 ? NULL : &items[i]));
    }
    for (size_t i = 1; i < COUNT; i += 2) {
        CHECK(table_remove(&table, items[i].hash, &items[i].key, item_equal) == &items[i]);
    }
    table_check(&table);
    CHECK(table_count(&table) == 0 && table_memory(&table) == 0);
    free(items);
}

TEST(table, slot_can_be_replaced_in_place)
{
    struct item *items = items_new(2);
    struct table table;
    table_init(&table, &item_kind);
    items[1] = items[0];
    uint64_t *slot = table_insert(&table, items[0].hash, &items[0]);
    table_slot_set(slot, &items[1]);
    CHECK(find(&table, &items[0]) == &items[1]);
    table_check(&table);
    table_deinit(&table);
    free(items);
}

TEST(table, shrinking_gives_memory_back)
{
    enum { COUNT = 50000, KEPT = 50 };
    struct item *items = items_new(COUNT);
    struct table table;
    table_init(&table, &item_kind);
    insert_all(&table, items, COUNT);
    size_t full = table_memory(&table);
    CHECK(full < COUNT * 24);
    for (size_t i = KEPT; i < COUNT; i++) {
        CHECK(table_remove(&table, items[i].hash, &items[i].key, item_equal) == &items[i]);
        if (i % 5000 == 0) {
            table_check(&table);
            CHECK(table_memory(&table) < table_count(&table) * 40);
        }
    }
    table_check(&table);
    CHECK(table_memory(&table) < KEPT * 64);
    for (size_t i = 0; i < KEPT; i++) {
        CHECK(find(&table, &items[i]) == &items[i]);
    }
    table_deinit(&table);
    free(items);
}

TEST(table, equal_hashes_are_confined)
{
    enum { COUNT = 20000, OTHERS = 20000 };
    struct item *items = items_new(COUNT + OTHERS);
    struct table table;
    table_init(&table, &item_kind);
    for (size_t i = 0; i < COUNT; i++) {
        items[i].hash = 0x123456789abcdef0ULL;
    }
    insert_all(&table, items, COUNT);
    table_check(&table);
    CHECK(table.depth < 14 && table_memory(&table) < COUNT * 16);
    insert_all(&table, items + COUNT, OTHERS);
    table_check(&table);
    CHECK(table_memory(&table) < (COUNT + OTHERS) * 24);
    for (size_t i = 0; i < COUNT + OTHERS; i += 97) {
        CHECK(find(&table, &items[i]) == &items[i]);
    }
    size_t visits = 0;
    struct table_walk walk = {on_visit, &visits, 100, 100};
    uint64_t cursor = 0;
    do {
        cursor = table_scan(&table, cursor, &walk);
    } while (cursor != 0);
    CHECK(visits == COUNT + OTHERS);
    for (size_t i = COUNT + OTHERS; i-- > 0;) {
        uint64_t *slot = table_find_slot(&table, items[i].hash, &items[i].key, item_equal);
        table_remove_slot(&table, items[i].hash, slot);
        if (i % 4001 == 0) {
            table_check(&table);
        }
    }
    CHECK(table_memory(&table) == 0);
    free(items);
}

static uint32_t reach_at(const struct table *table, uint64_t hash)
{
    struct table_probe probe = table_probe_at(table, hash);
    if (probe.first == NULL) {
        return UINT32_MAX;
    }
    return table_bucket_reach(&probe.first[probe.home], probe.buckets);
}

TEST(table, lookups_go_as_far_as_the_farthest_entry_of_their_home)
{
    enum { COUNT = 60 };
    struct item *items = items_new(COUNT);
    struct table table;
    table_init(&table, &item_kind);
    for (size_t i = 0; i < COUNT; i++) {
        items[i].hash &= UINT32_MAX; /* One home for all: the first bucket. */
        table_insert(&table, items[i].hash, &items[i]);
        CHECK(reach_at(&table, 0) == i / TABLE_SLOTS);
    }
    table_check(&table);
    CHECK(table_remove(&table, items[0].hash, &items[0].key, item_equal) == &items[0]);
    CHECK(reach_at(&table, 0) == (COUNT - 1) / TABLE_SLOTS); /* It was near. */
    table_insert(&table, items[0].hash, &items[0]);
    CHECK(reach_at(&table, 0) == (COUNT - 1) / TABLE_SLOTS);
    for (size_t i = COUNT; --i > 0;) {
        CHECK(table_remove(&table, items[i].hash, &items[i].key, item_equal) == &items[i]);
        CHECK(reach_at(&table, 0) == (i - 1) / TABLE_SLOTS);
        table_check(&table);
    }
    CHECK(find(&table, &items[0]) == &items[0]);
    table_deinit(&table);
    free(items);
}

#ifndef OURO_HOSTILE /* Which has tiny segments. */
TEST(table, an_entry_takes_less_than_twelve_bytes)
{
    enum { COUNT = 200000, LEAST = 20000, STEP = 500 };
    struct item *items = items_new(COUNT);
    struct table table;
    size_t sum = 0;
    table_init(&table, &item_kind);
    for (size_t i = 0; i < COUNT; i++) {
        table_insert(&table, items[i].hash, &items[i]);
        if (i + 1 >= LEAST && (i + 1) % STEP == 0) {
            CHECK(table_memory(&table) < (i + 1) * 12);
            sum += table_memory(&table) * 100 / (i + 1);
        }
    }
    CHECK(sum / ((COUNT - LEAST) / STEP + 1) < 1110); /* On average less than 11.1. */
    table_deinit(&table);
    free(items);
}
#endif

TEST(table, hashes_with_a_long_common_prefix_do_not_blow_up_the_directory)
{
    enum { COUNT = 20000 };
    struct item *items = items_new(COUNT);
    struct table table;
    table_init(&table, &item_kind);
    for (size_t i = 0; i < COUNT; i++) {
        items[i].hash = i % 2 == 0 ? items[i].hash >> 28 : items[i].hash >> (i % 48);
    }
    insert_all(&table, items, COUNT);
    table_check(&table);
    CHECK(table_memory(&table) < COUNT * 40);
    for (size_t i = 0; i < COUNT; i++) {
        CHECK(find(&table, &items[i]) == &items[i]);
    }
    table_deinit(&table);
    free(items);
}

TEST(table, scan_sees_every_lasting_entry_exactly_once_while_the_table_changes)
{
    enum { LASTING = 2000, PASSING = 6000 };
    struct item *items = items_new(LASTING + PASSING);
    struct table table;
    struct rng rng;
    rng_seed(&rng, test_seed());
    table_init(&table, &item_kind);
    insert_all(&table, items, LASTING);
    bool is_growing = true;
    size_t passing = 0, visits = 0;
    for (int round = 0; round < 40; round++) {
        uint64_t cursor = 0;
        for (size_t i = 0; i < LASTING; i++) {
            items[i].seen = 0;
        }
        do {
            struct table_walk walk = {on_visit, &visits, rng_below(&rng, 40),
                                      1 + rng_below(&rng, 9)};
            uint64_t next = table_scan(&table, cursor, &walk);
            CHECK(next == 0 || (next > cursor && next >> 48 == 0));
            cursor = next;
            for (uint64_t n = rng_below(&rng, 200); n > 0; n--) {
                if (passing == 0 || passing == PASSING) {
                    is_growing = passing == 0;
                }
                passing -= !is_growing;
                struct item *item = &items[LASTING + passing];
                if (is_growing) {
                    table_insert(&table, item->hash, item);
                } else {
                    CHECK(table_remove(&table, item->hash, &item->key, item_equal) == item);
                }
                passing += is_growing;
            }
        } while (cursor != 0);
        for (size_t i = 0; i < LASTING; i++) {
            CHECK(items[i].seen == 1);
        }
    }
    table_check(&table);
    table_deinit(&table);
    free(items);
}

TEST(table, scan_bounds_its_work_and_takes_any_cursor)
{
    struct item *items = items_new(5000);
    struct table table;
    size_t visits = 0;
    table_init(&table, &item_kind);
    insert_all(&table, items, 5000);
    struct table_walk one = {on_visit, &visits, 1000, 1};
    CHECK(table_scan(&table, 0, &one) != 0);
    CHECK(visits < 64);
    visits = 0;
    struct table_walk ten = {on_visit, &visits, 10, SIZE_MAX};
    CHECK(table_scan(&table, 0, &ten) != 0);
    CHECK(visits >= 10 && visits < 100);
    visits = 0;
    CHECK(table_scan(&table, (uint64_t)1 << 48, &ten) == 0);
    CHECK(table_scan(&table, UINT64_MAX, &ten) == 0);
    CHECK(visits == 0);
    CHECK(table_scan(&table, ((uint64_t)1 << 48) - 1, &ten) == 0);
    table_deinit(&table);
    free(items);
}

TEST(table, scan_from_within_a_window_leaves_out_what_lies_before)
{
    struct item *items = items_new(2);
    struct table table;
    size_t visits = 0;
    table_init(&table, &item_kind);
    items[0].hash = 0x1234000000100000ULL; /* The same 16 bits are stored of both. */
    items[1].hash = 0x1234000000200000ULL;
    insert_all(&table, items, 2);
    struct table_walk walk = {on_visit, &visits, 100, 100};
    CHECK(table_scan(&table, items[1].hash >> 16, &walk) == 0);
    CHECK(visits == 1 && items[1].seen == 1);
    CHECK(table_scan(&table, (items[1].hash >> 16) + 1, &walk) == 0);
    CHECK(visits == 1);
    CHECK(table_scan(&table, items[0].hash >> 16, &walk) == 0);
    CHECK(visits == 3);
    table_deinit(&table);
    free(items);
}

TEST(table, home_ranges_tile_the_space_of_cursors)
{
    struct item *items = items_new(5000);
    struct table table;
    table_init(&table, &item_kind);
    struct table_range range = table_home_range(&table, 12345);
    CHECK(range.first == 0 && range.end == (uint64_t)1 << 48);
    insert_all(&table, items, 5000);
    uint64_t cursor = 0;
    while (cursor >> 48 == 0) {
        range = table_home_range(&table, cursor << 16);
        CHECK(range.first == cursor && range.end > cursor);
        struct table_range same = table_home_range(&table, (range.end << 16) - 1);
        CHECK(same.first == cursor && same.end == range.end);
        cursor = range.end;
    }
    table_deinit(&table);
    free(items);
}

TEST(table, prefix_finds_the_entries_that_have_it)
{
    enum { COUNT = 9000 };
    struct item *items = items_new(COUNT);
    struct table table;
    table_init(&table, &item_kind);
    for (size_t i = 1; i < COUNT; i += 3) {
        items[i].hash = (items[i - 1].hash >> 32 << 32) | (uint32_t)items[i].hash;
    }
    insert_all(&table, items, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        size_t visits = 0;
        items[i].seen = 0;
        table_find_prefix(&table, (uint32_t)(items[i].hash >> 32), on_visit, &visits);
        CHECK(items[i].seen == 1 && visits < 20);
    }
    table_deinit(&table);
    free(items);
}

/* Many evenly spread entries allow a large directory; as many below one 12-bit prefix then use it,
 * so that with tiny segments the prefix of 32 bits covers many windows. */
TEST(table, prefix_is_found_in_deep_segments)
{
    enum { COUNT = 300000, EVEN = COUNT / 2 };
    struct item *items = items_new(COUNT);
    struct table table;
    table_init(&table, &item_kind);
    for (size_t i = EVEN; i < COUNT; i++) {
        items[i].hash >>= 12;
    }
    insert_all(&table, items, COUNT);
    table_check(&table);
#ifdef OURO_HOSTILE
    CHECK(table.depth > 16);
#endif
    size_t walked = 0;
    struct table_walk walk = {on_visit, &walked, SIZE_MAX, SIZE_MAX};
    CHECK(table_scan(&table, 0, &walk) == 0 && walked == COUNT);
    for (size_t i = 0; i < COUNT; i += 13) {
        size_t visits = 0;
        table_find_prefix(&table, (uint32_t)(items[i].hash >> 32), on_visit, &visits);
        CHECK(items[i].seen >= 2 && visits < 20); /* Neighbours may have seen it as well. */
    }
    table_deinit(&table);
    free(items);
}

TEST(table, iterator_yields_each_entry_once)
{
    enum { COUNT = 7000 };
    struct item *items = items_new(COUNT);
    struct table table;
    table_init(&table, &item_kind);
    for (size_t count = 0; count < COUNT; count++) {
        if (count % 997 == 0) {
            struct table_iterator iterator;
            size_t yields = 0;
            table_iterate(&table, &iterator);
            for (struct item *item; (item = table_next(&iterator)) != NULL; yields++) {
                item->seen++;
            }
            CHECK(yields == count);
            for (size_t i = 0; i < count; i++) {
                CHECK(items[i].seen == 1);
                items[i].seen = 0;
            }
        }
        table_insert(&table, items[count].hash, &items[count]);
    }
    table_deinit(&table);
    free(items);
}

/* Chi-squared of `draws` random entries over `count`; fair draws give about count. */
static double unfairness(struct table *table, struct item *items, size_t count, struct rng *rng)
{
    size_t draws = count * 100;
    for (size_t i = 0; i < count; i++) {
        items[i].seen = 0;
    }
    for (size_t i = 0; i < draws; i++) {
        ((struct item *)table_random(table, rng))->seen++;
    }
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        double off = (double)items[i].seen - 100.0;
        sum += off * off / 100.0;
    }
    return sum / (double)count;
}

TEST(table, random_entry_is_fair_in_uneven_segments)
{
    enum { COUNT = 3000 };
    struct item *items = items_new(COUNT);
    struct table table;
    struct rng rng;
    rng_seed(&rng, 42);
    table_init(&table, &item_kind);
    for (size_t i = 0; i < COUNT / 2; i++) {
        items[i].hash >>= 3;
    }
    insert_all(&table, items, COUNT);
    CHECK(table.depth > 0);
    double off = unfairness(&table, items, COUNT, &rng);
    CHECK(off > 0.85 && off < 1.15);
    table_deinit(&table);
    free(items);
}

TEST(table, random_entry_of_a_sparse_table_is_found)
{
    struct item *items = items_new(3);
    struct table table;
    struct rng rng;
    rng_seed(&rng, 42);
    table_init(&table, &item_kind);
    table_reserve(&table, 100000000);
    insert_all(&table, items, 3);
    CHECK(unfairness(&table, items, 3, &rng) < 5);
    table_deinit(&table);
    free(items);
}

TEST(table, sample_is_distinct_and_never_empty)
{
    struct item *items = items_new(4000);
    struct table table;
    struct rng rng;
    rng_seed(&rng, test_seed());
    table_init(&table, &item_kind);
    for (size_t count = 0; count < 4000; count++) {
        table_insert(&table, items[count].hash, &items[count]);
        if (count > 50 && count % 100 != 0) {
            continue;
        }
        void *out[40];
        size_t max = 1 + rng_below(&rng, 40);
        size_t sampled = table_sample(&table, &rng, out, max);
        CHECK(sampled >= 1 && sampled <= max && sampled <= count + 1);
        for (size_t i = 0; i < sampled; i++) {
            for (size_t k = 0; k < i; k++) {
                CHECK(out[i] != out[k]);
            }
            CHECK(find(&table, out[i]) == out[i]);
        }
    }
    table_deinit(&table);
    free(items);
}

TEST(table, drain_hands_over_everything_in_steps)
{
    enum { COUNT = 8000 };
    for (size_t count = 0; count <= COUNT; count += 1 + count / 2) {
        struct item *items = items_new(COUNT);
        struct table table;
        struct table_drain drain;
        size_t visits = 0;
        table_init(&table, &item_kind);
        insert_all(&table, items, count);
        table_drain_begin(&drain, &table);
        table_check(&table);
        CHECK(table_count(&table) == 0 && table_drain_count(&drain) == count);
        while (!table_drain_step(&drain, on_visit, &visits, 100)) {
            CHECK(visits + table_drain_count(&drain) == count);
        }
        CHECK(visits == count && table_memory(&drain.table) == 0);
        for (size_t i = 0; i < count; i++) {
            CHECK(items[i].seen == 1);
        }
        free(items);
    }
}

TEST(table, reserve_makes_room_ahead)
{
    for (size_t count = 1; count < 300000; count *= 3) {
        struct item *items = items_new(count);
        struct table table;
        table_init(&table, &item_kind);
        table_reserve(&table, count);
        size_t reserved = table_memory(&table);
        CHECK(reserved > 0 && reserved < 1000 * 1024);
        table_check(&table);
        insert_all(&table, items, count);
        table_check(&table);
#ifndef OURO_HOSTILE
        if (count < 60000) {
            CHECK(table_memory(&table) == reserved);
        }
#endif
        table_reserve(&table, 1000000);
        CHECK(table_count(&table) == count);
        table_deinit(&table);
        free(items);
    }
}

TEST(table, room_for_everything_can_be_made_in_steps)
{
    for (size_t count = 1; count < 300000; count *= 3) {
        struct item *items = items_new(count);
        struct table table;
        struct table_reservation reservation = {.count = count};
        table_init(&table, &item_kind);
        while (!table_reserve_step(&table, &reservation)) {
            table_check(&table);
        }
        size_t reserved = table_memory(&table);
        table_check(&table);
        insert_all(&table, items, count);
        table_check(&table);
        CHECK(table_memory(&table) <= reserved + reserved / 4);
        reservation = (struct table_reservation){.count = 1000000};
        CHECK(table_reserve_step(&table, &reservation));
        table_deinit(&table);
        free(items);
    }
}

TEST(table, room_is_made_in_a_table_that_was_emptied)
{
    struct item *items = items_new(5000);
    struct table table;
    struct table_reservation reservation = {.count = 20000};
    table_init(&table, &item_kind);
    for (size_t used = 1; used <= 5000; used *= 5) {
        insert_all(&table, items, used);
        for (size_t i = 0; i < used; i++) {
            CHECK(table_remove(&table, items[i].hash, &items[i].key, item_equal) == &items[i]);
        }
        reservation = (struct table_reservation){.count = 20000};
        while (!table_reserve_step(&table, &reservation)) {
            table_check(&table);
        }
    }
    table_deinit(&table);
    free(items);
}
