/* HyperLogLogs: their bytes, their estimates, and bytes that are none. */
#include "ds/hll.h"

#include "base/mem.h"
#include "base/rng.h"
#include "tests/unit/test.h"

struct fixture {
    char bytes[HLL_SPARSE_LEN_MAX + HLL_SPARE];
    struct hll_edit edit;
};

enum { SPARSE_MAX = 3000 };

static void fixture_init(struct fixture *fixture)
{
    hll_write_new(fixture->bytes);
    fixture->edit = (struct hll_edit){.bytes = fixture->bytes,
                                      .len = HLL_NEW_LEN,
                                      .cap = sizeof(fixture->bytes),
                                      .sparse_max = SPARSE_MAX};
}

static struct slice bytes_of(const struct fixture *fixture)
{
    return slice_of(fixture->edit.bytes, fixture->edit.len);
}

static enum hll_result add_number(struct fixture *fixture, uint64_t number)
{
    return hll_raise(&fixture->edit, hll_rank_of(slice_of(&number, sizeof(number))));
}

static uint64_t estimate_of(const struct fixture *fixture)
{
    uint8_t registers[HLL_REGISTERS] = {0};
    CHECK(hll_merge(registers, bytes_of(fixture)));
    return hll_estimate(registers);
}

TEST(hll, five_elements_make_the_bytes_that_redis_makes)
{
    static const char wanted[] = "HYLL\x01\0\0\0\0\0\0\0\0\0\0\0"
                                 "j\x87\x84"
                                 "C\r\x84"
                                 "A\x03\x84"
                                 "N\xb9\x84@\xf4\x84"
                                 "A\xb1";
    static const char *const elements[] = {"e1", "e2", "e3", "e4", "e5"};
    struct fixture fixture;
    fixture_init(&fixture);
    for (size_t i = 0; i < 5; i++) {
        CHECK(hll_raise(&fixture.edit, hll_rank_of(slice_from_text(elements[i]))) == HLL_CHANGED);
        CHECK(hll_raise(&fixture.edit, hll_rank_of(slice_from_text(elements[i]))) == HLL_UNCHANGED);
    }
    CHECK(slice_equal(bytes_of(&fixture), slice_of(wanted, sizeof(wanted) - 1)));
    CHECK(estimate_of(&fixture) == 5);
}

TEST(hll, sparse_and_dense_hold_the_same_registers)
{
    struct fixture sparse;
    struct fixture dense;
    fixture_init(&sparse);
    fixture_init(&dense);
    CHECK(hll_densify(&dense.edit) && dense.edit.len == HLL_DENSE_LEN);
    bool was_sparse = false;
    for (uint64_t i = 0; i < 5000; i++) {
        CHECK(add_number(&sparse, i) == add_number(&dense, i));
        was_sparse |= i > 500 && !hll_is_dense(bytes_of(&sparse));
        CHECK(sparse.edit.len <= SPARSE_MAX || hll_is_dense(bytes_of(&sparse)));
        if (i % 100 == 0) {
            uint8_t left[HLL_REGISTERS] = {0};
            uint8_t right[HLL_REGISTERS] = {0};
            CHECK(hll_merge(left, bytes_of(&sparse)) && hll_merge(right, bytes_of(&dense)));
            CHECK(memcmp(left, right, sizeof(left)) == 0);
        }
    }
    CHECK(was_sparse && hll_is_dense(bytes_of(&sparse)));
    CHECK(hll_is_valid(bytes_of(&sparse)));
}

TEST(hll, a_sparse_one_becomes_dense_where_it_would_pass_the_limit)
{
    static const uint64_t limits[] = {0, HLL_NEW_LEN, 100, HLL_DENSE_LEN, UINT64_MAX};
    for (unsigned i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        struct fixture fixture;
        fixture_init(&fixture);
        fixture.edit.sparse_max = limits[i];
        size_t most = 0;
        for (uint64_t number = 0; number < 100000; number++) {
            CHECK(add_number(&fixture, number) != HLL_CORRUPT);
            if (!hll_is_dense(bytes_of(&fixture))) {
                CHECK(fixture.edit.len <= limits[i] || fixture.edit.len == HLL_NEW_LEN);
                most = fixture.edit.len > most ? fixture.edit.len : most;
            }
        }
        CHECK(hll_is_valid(bytes_of(&fixture)) && estimate_of(&fixture) > 95000);
        CHECK(limits[i] > HLL_DENSE_LEN ||
              (hll_is_dense(bytes_of(&fixture)) && most <= limits[i]) || limits[i] == 0);
        CHECK(limits[i] <= HLL_DENSE_LEN || most > HLL_DENSE_LEN);
    }
}

TEST(hll, estimates_stay_within_a_few_standard_errors)
{
    struct fixture fixture;
    fixture_init(&fixture);
    for (uint64_t i = 1; i <= 200000; i++) {
        add_number(&fixture, i * 7919);
        if ((i & (i - 1)) == 0 || i == 200000) {
            uint64_t estimate = estimate_of(&fixture);
            CHECK(estimate * 1000 + 1000 >= i * 967 && estimate * 1000 <= i * 1033 + 1000);
        }
    }
}

TEST(hll, a_stored_estimate_holds_until_it_is_forgotten)
{
    struct fixture fixture;
    uint64_t estimate;
    fixture_init(&fixture);
    CHECK(hll_cached(bytes_of(&fixture), &estimate) && estimate == 0);
    hll_cache(fixture.bytes, 123456789);
    CHECK(hll_cached(bytes_of(&fixture), &estimate) && estimate == 123456789);
    hll_forget(fixture.bytes);
    CHECK(!hll_cached(bytes_of(&fixture), &estimate));
}

TEST(hll, corrupt_bytes_are_refused_and_never_overrun)
{
    struct rng rng;
    rng_seed(&rng, test_seed());
    CHECK(!hll_is_valid(slice_of("HYLL", 4)));
    CHECK(!hll_is_valid(slice_of("HYLX\x01\0\0\0\0\0\0\0\0\0\0\0\x7f\xff", 18)));
    CHECK(!hll_is_valid(slice_of("HYLL\0\0\0\0\0\0\0\0\0\0\0\0\x7f\xff", 18)));
    CHECK(!hll_is_valid(slice_of("HYLL\x02\0\0\0\0\0\0\0\0\0\0\0\x7f\xff", 18)));
    for (int step = 0; step < 20000; step++) {
        size_t len = HLL_HEAD_LEN + rng_below(&rng, 40);
        static const uint64_t limits[] = {0, 50, SPARSE_MAX, UINT64_MAX};
        uint64_t sparse_max = limits[rng_below(&rng, 4)];
        struct hll_edit edit = {
            .len = len, .cap = hll_edit_cap(len, sparse_max), .sparse_max = sparse_max};
        edit.bytes = mem_alloc(edit.cap);
        hll_write_new(edit.bytes);
        for (size_t i = HLL_HEAD_LEN; i < len; i++) {
            edit.bytes[i] = (char)rng_next(&rng);
        }
        uint8_t registers[HLL_REGISTERS] = {0};
        bool is_whole = hll_merge(registers, slice_of(edit.bytes, len));
        struct hll_rank rank = {.index = (uint32_t)rng_below(&rng, HLL_REGISTERS),
                                .value = (uint8_t)(1 + rng_below(&rng, 40))};
        enum hll_result result = hll_raise(&edit, rank);
        CHECK(!is_whole || result != HLL_CORRUPT);
        mem_free(edit.bytes);
    }
}
