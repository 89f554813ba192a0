/* The counted B+ tree: order, ranks, bounds, walks and sliced destruction. */
#include "ds/order.h"

#include "base/rng.h"
#include "tests/unit/test.h"

enum {
    ITEMS = 20000,
#ifdef OURO_HOSTILE
    IS_TINY = 1, /* Nodes of a few slots cannot be that full. */
#else
    IS_TINY = 0,
#endif
};

static uint64_t item_hint(const void *entry)
{
    return *(const uint64_t *)entry / 4;
}

static bool item_before(const void *entry, const void *key)
{
    return *(const uint64_t *)entry < *(const uint64_t *)key;
}

static bool item_not_after(const void *entry, const void *key)
{
    return *(const uint64_t *)entry <= *(const uint64_t *)key;
}

static const struct order_kind item_kind = {.hint_of = item_hint, .is_before = item_before};

static uint64_t *items_new(void)
{
    uint64_t *items = calloc(ITEMS, sizeof(*items));
    for (uint64_t i = 0; i < ITEMS; i++) {
        items[i] = i * 2;
    }
    return items;
}

static void shuffle(uint64_t *items, uint64_t seed)
{
    struct rng rng;
    rng_seed(&rng, seed);
    for (uint64_t i = ITEMS; i > 1; i--) {
        uint64_t j = rng_below(&rng, i);
        uint64_t held = items[i - 1];
        items[i - 1] = items[j];
        items[j] = held;
    }
}

TEST(order, empty_tree_has_no_ranks)
{
    struct order order;
    struct order_cursor cursor;
    uint64_t item = 1;
    order_init(&order, &item_kind);
    order_check(&order);
    struct order_probe probe = {0, item_before, &item};
    CHECK(order_rank(&order, &probe) == 0);
    CHECK(order_at(&order, 0) == NULL);
    CHECK(order_seek(&order, 0, &cursor) == NULL && order_next(&cursor) == NULL);
    order_insert(&order, &item);
    order_remove(&order, &item);
    CHECK(order_count(&order) == 0 && order_memory(&order) == 0);
    order_deinit(&order);
}

TEST(order, bounds_before_and_after_equal_keys)
{
    uint64_t *items = items_new();
    struct order order;
    order_init(&order, &item_kind);
    for (int i = 0; i < ITEMS; i++) {
        order_append(&order, &items[i]);
    }
    order_check(&order);
    for (uint64_t key = 0; key < 2 * ITEMS; key += 7) {
        struct order_probe lower = {key / 4, item_before, &key};
        struct order_probe upper = {key / 4, item_not_after, &key};
        CHECK(order_rank(&order, &lower) == (key + 1) / 2);
        CHECK(order_rank(&order, &upper) == key / 2 + 1);
    }
    for (size_t rank = 0; rank < ITEMS; rank += 13) {
        CHECK(order_at(&order, rank) == &items[rank]);
        CHECK(order_rank_of(&order, &items[rank]) == rank);
    }
    order_deinit(&order);
    free(items);
}

static double fill(const uint64_t *items, bool is_falling)
{
    struct order order;
    order_init(&order, &item_kind);
    for (int i = 0; i < ITEMS; i++) {
        order_insert(&order, (void *)(uintptr_t)&items[is_falling ? ITEMS - 1 - i : i]);
    }
    order_check(&order);
    double bytes = (double)order_memory(&order) / ITEMS;
    order_deinit(&order);
    return bytes;
}

TEST(order, nodes_are_full_after_sorted_and_nearly_after_random_insertion)
{
    uint64_t *items = items_new();
    double rising = fill(items, false);
    double falling = fill(items, true);
    shuffle(items, 3);
    double random = fill(items, false);
    fprintf(stderr, "bytes per entry: rising %.2f falling %.2f random %.2f\n", rising, falling,
            random);
    CHECK(IS_TINY || (rising < 8.8 && falling < 8.8 && random < 10.3));
    free(items);
}

TEST(order, nodes_are_nearly_full_when_many_runs_grow_side_by_side)
{
    uint64_t *items = items_new();
    uint64_t *mixed = items_new();
    for (uint64_t runs = 2; runs <= 2000; runs *= 10) {
        for (uint64_t is_falling = 0; is_falling < 2; is_falling++) {
            uint64_t len = ITEMS / runs;
            for (uint64_t i = 0; i < ITEMS; i++) {
                uint64_t step = i / runs;
                mixed[i] = items[i % runs * len + (is_falling ? len - 1 - step : step)];
            }
            double bytes = fill(mixed, false);
            CHECK(bytes < 11 || IS_TINY);
        }
    }
    for (uint64_t i = 0; i < ITEMS; i++) {
        mixed[i] = items[i * 7919 % ITEMS];
    }
    double strided = fill(mixed, false);
    CHECK(strided < 11 || IS_TINY);
    free(mixed);
    free(items);
}

TEST(order, a_drain_frees_every_node_in_steps)
{
    uint64_t *items = items_new();
    struct order order;
    struct order_drain drain;
    order_init(&order, &item_kind);
    order_drain_begin(&drain, &order);
    CHECK(order_drain_step(&drain, 1));
    for (int i = 0; i < ITEMS; i++) {
        order_append(&order, &items[i]);
    }
    order_drain_begin(&drain, &order);
    CHECK(order_count(&order) == 0 && order_memory(&order) == 0);
    size_t steps = 0;
    while (!order_drain_step(&drain, 10)) {
        steps++;
    }
    CHECK(steps > 10);
    free(items);
}

TEST(order, removal_gives_the_memory_back)
{
    uint64_t *items = items_new();
    shuffle(items, 5);
    struct order order;
    order_init(&order, &item_kind);
    for (int i = 0; i < ITEMS; i++) {
        order_insert(&order, &items[i]);
    }
    size_t full = order_memory(&order);
    for (int i = 0; i < ITEMS * 3 / 4; i++) {
        order_remove(&order, &items[i]);
    }
    order_check(&order);
    CHECK(order_memory(&order) < full / 2);
    while (order_count(&order) > 0) {
        order_remove_at(&order, order_count(&order) / 2);
    }
    CHECK(order_memory(&order) == 0);
    free(items);
}
