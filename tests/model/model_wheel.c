/* Random operations on a wheel and on a naive twin: an array of keys with their deadlines, several
 * of which share a reference, each remembering its place as entries of the keyspace do. After each
 * step wheel_check holds; a key expires exactly when the owner's clock has reached its deadline and
 * the wheel is not behind. */
#include "ds/wheel.h"

#include "base/rng.h"
#include "tests/unit/test.h"

enum { KEYS = 400, REFS = 300, STEPS = 30000, PLACE_NONE = WHEEL_PLACES };

struct twin {
    struct wheel wheel;
    struct rng rng;
    int64_t now;
    int64_t deadlines[KEYS]; /* INT64_MAX when the key is absent. */
    uint16_t places[KEYS];
    size_t expired;
};

/* Keys i and i + REFS share a reference. */
static uint32_t twin_ref(size_t key)
{
    return (uint32_t)(key % REFS) * 2654435761U;
}

static size_t twin_on_refs(void *context, const uint32_t *refs, size_t count, uint16_t place)
{
    struct twin *twin = context;
    size_t stale = 0;
    CHECK(count > 0 && count <= WHEEL_BATCH_MAX);
    for (size_t i = 0; i < count; i++) {
        bool is_stale = true;
        for (size_t key = 0; key < KEYS; key++) {
            if (twin_ref(key) != refs[i] || twin->places[key] != place) {
                continue;
            }
            is_stale = false;
            if (twin->deadlines[key] <= twin->now) {
                twin->deadlines[key] = INT64_MAX;
                twin->places[key] = PLACE_NONE;
                twin->expired++;
            } else {
                twin->places[key] = wheel_add(&twin->wheel, refs[i], twin->deadlines[key]);
                CHECK(twin->places[key] != place);
            }
        }
        stale += is_stale;
    }
    return stale;
}

static bool twin_keep(void *context, uint32_t ref, uint16_t place)
{
    struct twin *twin = context;
    for (size_t key = 0; key < KEYS; key++) {
        if (twin_ref(key) == ref && twin->places[key] == place) {
            return true;
        }
    }
    return false;
}

static int64_t twin_deadline(struct twin *twin)
{
    uint64_t bits = rng_below(&twin->rng, 64);
    int64_t delay = (int64_t)(rng_next(&twin->rng) >> 1 >> bits);
    if (rng_below(&twin->rng, 2) == 0) {
        delay &= 0xffff;
    }
    return delay > INT64_MAX - 1 - twin->now ? INT64_MAX - 1 : twin->now + delay - 3;
}

static void twin_remove(struct twin *twin, size_t key)
{
    if (twin->places[key] != PLACE_NONE) {
        wheel_note_stale(&twin->wheel);
        twin->places[key] = PLACE_NONE;
        twin->deadlines[key] = INT64_MAX;
    }
}

/* As the keyspace does: the reference stays if it would go to the same place. */
static void twin_set(struct twin *twin, size_t key)
{
    int64_t deadline = twin_deadline(twin);
    uint16_t place = wheel_place_of(&twin->wheel, deadline);
    if (twin->places[key] != place) {
        twin_remove(twin, key);
        twin->places[key] = wheel_add(&twin->wheel, twin_ref(key), deadline);
        CHECK(twin->places[key] == place);
    }
    twin->deadlines[key] = deadline;
}

static void twin_advance(struct twin *twin)
{
    uint64_t dice = rng_below(&twin->rng, 100);
    if (dice < 60) {
        twin->now += (int64_t)rng_below(&twin->rng, 3);
    } else if (dice < 95) {
        twin->now += (int64_t)rng_below(&twin->rng, 2000);
    } else if (twin->now < INT64_C(1) << 47) {
        twin->now += (int64_t)(rng_next(&twin->rng) >> (18 + rng_below(&twin->rng, 46)));
    }
    size_t max = rng_below(&twin->rng, 4) == 0 ? rng_below(&twin->rng, 20) : SIZE_MAX;
    wheel_advance(&twin->wheel, twin->now, twin_on_refs, twin, max);
    CHECK(max != SIZE_MAX || !wheel_is_behind(&twin->wheel));
}

static void twin_check(const struct twin *twin)
{
    wheel_check(&twin->wheel);
    size_t present = 0;
    bool is_behind = wheel_is_behind(&twin->wheel);
    int64_t next = wheel_next_ms(&twin->wheel);
    for (size_t key = 0; key < KEYS; key++) {
        if (twin->places[key] == PLACE_NONE) {
            continue;
        }
        present++;
        int64_t deadline = twin->deadlines[key];
        CHECK(is_behind || deadline > twin->now || next == twin->now + 1);
        CHECK(next <= (deadline < WHEEL_MS_MAX ? deadline : WHEEL_MS_MAX) || next <= twin->now + 1);
    }
    CHECK(wheel_count(&twin->wheel) >= (present > 100 ? present - 100 : 0));
    CHECK(present == 0 || wheel_count(&twin->wheel) > 0);
}

TEST(wheel_model, keys_expire_exactly)
{
    struct twin *twin = calloc(1, sizeof(*twin));
    rng_seed(&twin->rng, test_seed());
    twin->now = INT64_C(1700000000000);
    wheel_init(&twin->wheel, twin->now);
    for (size_t key = 0; key < KEYS; key++) {
        twin->deadlines[key] = INT64_MAX;
        twin->places[key] = PLACE_NONE;
    }
    for (size_t step = 0; step < STEPS; step++) {
        size_t key = rng_below(&twin->rng, KEYS);
        uint64_t dice = rng_below(&twin->rng, 100);
        if (dice < 50) {
            twin_set(twin, key);
        } else if (dice < 60) {
            twin_remove(twin, key);
        } else if (dice < 85) {
            twin_advance(twin);
        } else {
            wheel_compact_step(&twin->wheel, twin_keep, twin, rng_below(&twin->rng, 60));
        }
        twin_check(twin);
    }
    CHECK(twin->expired > 100);
    while (!wheel_compact_step(&twin->wheel, twin_keep, twin, 50)) {
        wheel_check(&twin->wheel);
    }
    wheel_compact_step(&twin->wheel, twin_keep, twin, SIZE_MAX);
    CHECK(wheel_count(&twin->wheel) <= 2 * KEYS);
    wheel_deinit(&twin->wheel);
    free(twin);
}
