/* Random operations on an ordered tree and on a naive twin, a sorted array, with order_check after
 * each step. Entries have few hints, so that comparisons must read them. */
#include "ds/order.h"

#include "base/rng.h"
#include "tests/unit/test.h"

enum { KEYS = 3000, STEPS = 12000, CHECK_EVERY = 16 };

struct entry {
    uint32_t key;
    uint32_t hint_shift;
};

struct twin {
    struct order order;
    struct entry entries[KEYS];
    bool is_present[KEYS];
    size_t count;
    struct rng rng;
};

static uint64_t entry_hint(const void *entry)
{
    const struct entry *e = entry;
    return e->key >> e->hint_shift;
}

static bool entry_before(const void *entry, const void *key)
{
    return ((const struct entry *)entry)->key < ((const struct entry *)key)->key;
}

static const struct order_kind entry_kind = {.hint_of = entry_hint, .is_before = entry_before};

static size_t twin_rank(const struct twin *twin, uint32_t key)
{
    size_t rank = 0;
    for (uint32_t i = 0; i < key; i++) {
        rank += twin->is_present[i];
    }
    return rank;
}

static void twin_toggle(struct twin *twin, uint32_t key)
{
    struct entry *entry = &twin->entries[key];
    if (!twin->is_present[key]) {
        order_insert(&twin->order, entry);
        twin->count++;
    } else if (rng_below(&twin->rng, 2) == 0) {
        order_remove(&twin->order, entry);
        twin->count--;
    } else {
        CHECK(order_remove_at(&twin->order, twin_rank(twin, key)) == entry);
        twin->count--;
    }
    twin->is_present[key] = !twin->is_present[key];
}

static void twin_walk(struct twin *twin, uint32_t key)
{
    struct order_probe probe = {.hint = entry_hint(&twin->entries[key]),
                                .is_before = entry_before,
                                .key = &twin->entries[key]};
    size_t rank = order_rank(&twin->order, &probe);
    struct order_cursor cursor;
    CHECK(rank == twin_rank(twin, key));
    struct entry *entry = order_seek(&twin->order, rank, &cursor);
    struct order_cursor back = cursor;
    for (uint32_t i = key; i < KEYS; i++) {
        if (twin->is_present[i]) {
            CHECK(entry == &twin->entries[i]);
            entry = order_next(&cursor);
        }
    }
    CHECK(entry == NULL);
    if (rank < twin->count) {
        for (uint32_t i = key; i-- > 0;) {
            if (twin->is_present[i]) {
                CHECK(order_previous(&back) == &twin->entries[i]);
            }
        }
        CHECK(order_previous(&back) == NULL);
    }
}

static uint32_t twin_pick(struct twin *twin, unsigned phase, unsigned long step)
{
    switch (phase) {
    case 0:
        return (uint32_t)(step % KEYS); /* Rising. */
    case 1:
        return (uint32_t)(KEYS - 1 - step % KEYS);
    case 2:
        return (uint32_t)rng_below(&twin->rng, KEYS);
    default:
        return (uint32_t)(KEYS / 2 + rng_below(&twin->rng, 200)); /* All in one place. */
    }
}

static void twin_run(uint64_t seed, uint32_t hint_shift)
{
    static struct twin twin;
    memset(&twin, 0, sizeof(twin));
    rng_seed(&twin.rng, seed);
    order_init(&twin.order, &entry_kind);
    for (uint32_t key = 0; key < KEYS; key++) {
        twin.entries[key] = (struct entry){.key = key, .hint_shift = hint_shift};
    }
    unsigned phase = 2;
    unsigned long steps = test_steps(STEPS);
    for (unsigned long step = 0; step < steps; step++) {
        if (step % 1000 == 0) {
            phase = (unsigned)rng_below(&twin.rng, 4);
        }
        twin_toggle(&twin, twin_pick(&twin, phase, step));
        CHECK(order_count(&twin.order) == twin.count);
        if (step % CHECK_EVERY == 0) {
            order_check(&twin.order);
        }
        if (step % 256 == 0) {
            twin_walk(&twin, (uint32_t)rng_below(&twin.rng, KEYS));
        }
    }
    order_deinit(&twin.order);
    order_check(&twin.order);
}

TEST(order, agrees_with_a_sorted_array)
{
    for (uint32_t shift = 0; shift < 13; shift += 4) {
        twin_run(test_seed() + shift, shift);
    }
}
