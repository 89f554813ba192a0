/* Tests of base/rng.c. */
#include "base/rng.h"

#include "tests/unit/test.h"

TEST(rng, follows_the_published_sequence)
{
    /* xoshiro256** from the state 1, 2, 3, 4. */
    struct rng rng = {.state = {1, 2, 3, 4}};
    static const uint64_t expected[] = {11520U, 0U, 1509978240U, 1215971899390074240U};
    for (int i = 0; i < 4; i++) {
        CHECK(rng_next(&rng) == expected[i]);
    }
}

TEST(rng, a_seed_replays_and_another_differs)
{
    struct rng a;
    struct rng b;
    struct rng c;
    rng_seed(&a, 7);
    rng_seed(&b, 7);
    rng_seed(&c, 8);
    int same = 0;
    for (int i = 0; i < 100; i++) {
        uint64_t next = rng_next(&a);
        CHECK(next == rng_next(&b));
        same += next == rng_next(&c);
    }
    CHECK(same == 0);
}

TEST(rng, below_stays_below_and_reaches_everything)
{
    struct rng rng;
    rng_seed(&rng, 1);
    int hits[10] = {0};
    for (int i = 0; i < 10000; i++) {
        uint64_t value = rng_below(&rng, 10);
        CHECK(value < 10);
        hits[value]++;
    }
    for (int i = 0; i < 10; i++) {
        CHECK(hits[i] > 850 && hits[i] < 1150);
    }
    CHECK(rng_below(&rng, 1) == 0);
    for (int i = 0; i < 1000; i++) {
        CHECK(rng_below(&rng, UINT64_MAX) < UINT64_MAX);
        CHECK(rng_below(&rng, (UINT64_C(1) << 63) + 1) <= UINT64_C(1) << 63);
    }
}

TEST(rng, unit_lies_in_its_interval)
{
    struct rng rng;
    rng_seed(&rng, 0);
    double sum = 0;
    for (int i = 0; i < 10000; i++) {
        double value = rng_unit(&rng);
        CHECK(value >= 0 && value < 1);
        sum += value;
    }
    CHECK(sum > 4800 && sum < 5200);
}

TEST(rng, the_kernel_gives_bytes)
{
    unsigned char a[1024] = {0};
    unsigned char b[1024] = {0};
    CHECK(rng_system_bytes(a, sizeof(a)) == 0);
    CHECK(rng_system_bytes(b, sizeof(b)) == 0);
    CHECK(memcmp(a, b, sizeof(a)) != 0);
    CHECK(rng_system_bytes(a, 0) == 0);
}
