/* Moments of fields by their refs: what is set is found, what is due is told, and what it costs. */
#include "types/hash/hash_moments.h"

#include "base/mem.h"
#include "base/rng.h"
#include "tests/unit/test.h"

enum { REFS = 3000, ROUNDS = 12, BATCH = 5 };

#define FAR_MS ((INT64_C(1) << 48) - 1)

/* What each ref of a fixed choice has; -1: nothing. */
struct twin {
    uint32_t refs[REFS];
    int64_t moments[REFS];
    size_t count;
    struct rng rng;
    struct hash_moments moments_of;
};

/* Another number for each, as a hash would be (the end of MurmurHash3). */
static uint32_t mixed(uint32_t word)
{
    word = (word ^ word >> 16) * UINT32_C(0x85ebca6b);
    word = (word ^ word >> 13) * UINT32_C(0xc2b2ae35);
    return word ^ word >> 16;
}

static struct twin *twin_new(uint64_t seed)
{
    struct twin *twin = mem_zalloc(sizeof(*twin));
    rng_seed(&twin->rng, seed);
    uint32_t offset = (uint32_t)rng_next(&twin->rng);
    for (unsigned i = 0; i < REFS; i++) {
        twin->refs[i] = mixed(offset + i);
        twin->moments[i] = -1;
    }
    return twin;
}

static void twin_free(struct twin *twin)
{
    while (!hash_moments_free_step(&twin->moments_of)) {
    }
    CHECK(hash_moments_memory(&twin->moments_of) == 0);
    mem_free(twin);
}

static void twin_set(struct twin *twin, unsigned index, int64_t moment_ms)
{
    hash_moments_set(&twin->moments_of, twin->refs[index], moment_ms);
    twin->count += twin->moments[index] < 0;
    twin->moments[index] = moment_ms;
}

static void twin_remove(struct twin *twin, unsigned index)
{
    if (twin->moments[index] >= 0) {
        hash_moments_remove(&twin->moments_of, twin->refs[index]);
        twin->moments[index] = -1;
        twin->count--;
    }
}

static void twin_check(const struct twin *twin)
{
    int64_t earliest_ms = INT64_MAX;
    hash_moments_check(&twin->moments_of);
    for (unsigned i = 0; i < REFS; i++) {
        int64_t moment_ms = twin->moments[i];
        CHECK(hash_moments_find(&twin->moments_of, twin->refs[i]) == moment_ms);
        earliest_ms = moment_ms >= 0 && moment_ms < earliest_ms ? moment_ms : earliest_ms;
    }
    CHECK(twin->moments_of.count == twin->count);
    int64_t next_ms = hash_moments_next_ms(&twin->moments_of);
    CHECK(twin->count == 0 ? next_ms == -1 : next_ms <= earliest_ms);
}

TEST(hash_moments, what_is_set_is_found_while_they_grow_and_shrink)
{
    struct twin *twin = twin_new(test_seed());
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned sets = round % 3 == 2 ? 10 : 70; /* Of 100. */
        for (unsigned i = 0; i < REFS; i++) {
            unsigned index = (unsigned)rng_below(&twin->rng, REFS);
            if (rng_below(&twin->rng, 100) < sets) {
                twin_set(twin, index, (int64_t)rng_below(&twin->rng, (uint64_t)FAR_MS + 1));
            } else {
                twin_remove(twin, index);
            }
        }
        twin_check(twin);
    }
    for (unsigned i = 0; i < REFS; i++) {
        twin_remove(twin, i);
        hash_moments_check(&twin->moments_of);
    }
    CHECK(hash_moments_next_ms(&twin->moments_of) == -1);
    twin->refs[0] = 0;
    twin->refs[1] = UINT32_MAX;
    twin_set(twin, 0, 0);
    twin_set(twin, 1, FAR_MS);
    twin_check(twin);
    twin_free(twin);
}

/* Removes all that is due; returns how many those were. */
static size_t twin_expire(struct twin *twin, int64_t now_ms)
{
    size_t expired = 0;
    while (twin->count > 0 && hash_moments_next_ms(&twin->moments_of) < now_ms) {
        uint32_t refs[BATCH];
        size_t due = hash_moments_take_due(&twin->moments_of, now_ms, refs, BATCH);
        for (size_t k = 0; k < due; k++) {
            unsigned index = 0;
            while (twin->refs[index] != refs[k]) {
                index++;
            }
            CHECK(twin->moments[index] >= 0 && twin->moments[index] < now_ms);
            twin_remove(twin, index);
            expired++;
        }
        hash_moments_check(&twin->moments_of);
    }
    return expired;
}

TEST(hash_moments, what_is_due_comes_and_nothing_else)
{
    struct twin *twin = twin_new(test_seed() + 1);
    for (int64_t now_ms = 0; now_ms < 3000; now_ms += 100) {
        for (unsigned i = 0; i < 300; i++) {
            unsigned index = (unsigned)rng_below(&twin->rng, REFS);
            twin_set(twin, index, now_ms + (int64_t)rng_below(&twin->rng, 1000));
        }
        size_t due = 0;
        for (unsigned i = 0; i < REFS; i++) {
            due += twin->moments[i] >= 0 && twin->moments[i] < now_ms;
        }
        CHECK(twin_expire(twin, now_ms) == due);
        twin_check(twin);
    }
    twin_expire(twin, FAR_MS);
    CHECK(twin->count == 0);
    twin_free(twin);
}

TEST(hash_moments, a_moment_that_was_renewed_in_time_is_not_due)
{
    struct twin *twin = twin_new(test_seed() + 2);
    for (unsigned i = 0; i < REFS; i++) {
        twin_set(twin, i, 1000 + i);
    }
    for (unsigned i = 0; i < REFS; i++) {
        twin_set(twin, i, 100000 + i);
    }
    CHECK(hash_moments_next_ms(&twin->moments_of) >= 1000);
    CHECK(twin_expire(twin, 50000) == 0);
    CHECK(hash_moments_next_ms(&twin->moments_of) == 100000);
    twin_check(twin);
    CHECK(twin_expire(twin, 100001) == 1 && twin_expire(twin, 200000) == REFS - 1);
    twin_free(twin);
}

TEST(hash_moments, a_copy_is_its_own)
{
    struct twin *twin = twin_new(test_seed() + 3);
    for (unsigned count = 0; count < REFS; count += 1 + count / 2) {
        for (unsigned i = 0; i < count; i++) {
            twin_set(twin, i, i);
        }
        struct hash_moments copy;
        hash_moments_copy(&copy, &twin->moments_of);
        hash_moments_check(&copy);
        CHECK(hash_moments_memory(&copy) == hash_moments_memory(&twin->moments_of));
        CHECK(hash_moments_next_ms(&copy) == hash_moments_next_ms(&twin->moments_of));
        if (count > 0) {
            hash_moments_remove(&copy, twin->refs[0]);
            CHECK(hash_moments_find(&copy, twin->refs[count - 1]) ==
                  (int64_t)count - 1 - (count == 1));
        }
        twin_check(twin);
        while (!hash_moments_free_step(&copy)) {
        }
    }
    twin_free(twin);
}

/* The promise of 16 bytes, at every number from a few on and after removals. */
TEST(hash_moments, a_ref_costs_less_than_sixteen_bytes)
{
#ifndef OURO_HOSTILE
    struct hash_moments moments = {.segments = 0};
    struct rng rng;
    uint32_t *refs = mem_alloc(200000 * sizeof(uint32_t));
    rng_seed(&rng, test_seed());
    for (unsigned i = 0; i < 200000; i++) {
        refs[i] = (uint32_t)rng_next(&rng);
        hash_moments_set(&moments, refs[i], i);
        CHECK(moments.count < 100 || hash_moments_memory(&moments) < (size_t)moments.count * 13);
        CHECK(hash_moments_memory(&moments) <= (size_t)moments.count * 16);
        CHECK(i < 3000 || hash_moments_memory(&moments) < (size_t)moments.count * 12);
    }
    hash_moments_check(&moments); /* Of several pages. */
    for (unsigned i = 0; i < 200000 && moments.count > 100; i++) {
        if (hash_moments_find(&moments, refs[i]) >= 0) {
            hash_moments_remove(&moments, refs[i]);
        }
        CHECK(hash_moments_memory(&moments) < (size_t)moments.count * 16);
    }
    hash_moments_check(&moments);
    while (!hash_moments_free_step(&moments)) {
    }
    mem_free(refs);
#endif
}
