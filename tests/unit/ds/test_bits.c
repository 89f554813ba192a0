/* Bits in bytes, against a bit by bit twin. */
#include "ds/bits.h"

#include "base/rng.h"
#include "tests/unit/test.h"

enum { LEN = 3000, BITS = LEN * 8 };

struct fixture {
    struct rng rng;
    char bytes[LEN];
};

/* Random bytes with long runs of zeros and ones. */
static void fill(struct fixture *fixture)
{
    rng_seed(&fixture->rng, test_seed());
    for (size_t i = 0; i < LEN; i++) {
        uint64_t draw = rng_next(&fixture->rng);
        char kind = i / 400 % 3 == 0 ? 0 : i / 400 % 3 == 1 ? (char)-1 : (char)draw;
        fixture->bytes[i] = draw >> 32 & 127 ? kind : (char)draw;
    }
}

static struct slice all(const struct fixture *fixture)
{
    return slice_of(fixture->bytes, LEN);
}

TEST(bits, the_top_bit_of_a_byte_comes_first)
{
    struct slice bytes = slice_of("\x80\x01", 2);
    CHECK(bits_is_set(bytes, 0) && !bits_is_set(bytes, 1) && bits_is_set(bytes, 15));
    CHECK(!bits_is_set(bytes, 16) && !bits_is_set(bytes, 1000));
    CHECK(bits_count(bytes.data, 0, 16) == 2 && bits_count(bytes.data, 1, 15) == 0);
    CHECK(bits_find(bytes.data, 1, 16, true) == 15 && bits_find(bytes.data, 0, 16, false) == 1);
    CHECK(bits_get(bytes, 0, 16) == 0x8001 && bits_get(bytes, 8, 16) == 0x100);
}

TEST(bits, counts_and_finds_agree_with_a_walk)
{
    struct fixture fixture;
    fill(&fixture);
    for (int step = 0; step < 3000; step++) {
        size_t from = rng_below(&fixture.rng, BITS);
        size_t to = from + rng_below(&fixture.rng, step % 3 == 0 ? BITS - from + 1 : 1);
        to = step % 3 == 1 && from + 80 < BITS ? from + rng_below(&fixture.rng, 80) : to;
        size_t count = 0;
        size_t first[2] = {to, to};
        for (size_t i = to; i-- > from;) {
            bool is_set = bits_is_set(all(&fixture), i);
            count += is_set;
            first[is_set] = i;
        }
        CHECK(bits_count(fixture.bytes, from, to) == count);
        CHECK(bits_find(fixture.bytes, from, to, true) == first[1]);
        CHECK(bits_find(fixture.bytes, from, to, false) == first[0]);
    }
}

TEST(bits, numbers_are_read_as_they_were_written)
{
    struct fixture fixture;
    fill(&fixture);
    for (int step = 0; step < 5000; step++) {
        unsigned width = 1 + (unsigned)rng_below(&fixture.rng, 64);
        size_t at = rng_below(&fixture.rng, BITS - width);
        uint64_t number = rng_next(&fixture.rng) >> (64 - width);
        size_t outside = at == 0 ? at + width : at - 1;
        bool before = bits_is_set(all(&fixture), outside);
        bits_put(fixture.bytes, at, width, number);
        CHECK(bits_get(all(&fixture), at, width) == number);
        CHECK(bits_is_set(all(&fixture), at) == (number >> (width - 1)));
        CHECK(bits_is_set(all(&fixture), outside) == before);
    }
    CHECK(bits_get(slice_of("\xff", 1), 4, 64) == UINT64_C(0xf) << 60);
    CHECK(bits_get(slice_of("\xff", 1), 9, 64) == 0);
}

TEST(bits, strings_combine_byte_by_byte)
{
    struct fixture left;
    struct fixture right;
    char result[LEN];
    fill(&left);
    fill(&right);
    memmove(right.bytes, right.bytes + 1, LEN - 1);
    for (enum bits_operation operation = BITS_AND; operation <= BITS_XOR; operation++) {
        memcpy(result, left.bytes, LEN);
        bits_combine(result, right.bytes, LEN - 5, operation);
        for (size_t i = 0; i < LEN; i++) {
            int a = left.bytes[i];
            int b = right.bytes[i];
            int wanted = operation == BITS_AND ? a & b : operation == BITS_OR ? a | b : a ^ b;
            CHECK(result[i] == (i < LEN - 5 ? (char)wanted : (char)a));
        }
    }
    bits_invert(result, LEN);
    CHECK(result[LEN - 1] == (char)~left.bytes[LEN - 1]);
}
