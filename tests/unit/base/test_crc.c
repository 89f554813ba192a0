/* Tests of base/crc.c against the definition, bit by bit. */
#include "base/crc.h"

#include "base/rng.h"
#include "tests/unit/test.h"

static uint64_t crc64_by_bits(uint64_t crc, const unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x95ac9329ac4bc9b5 : 0);
        }
    }
    return crc;
}

static uint16_t crc16_by_bits(const unsigned char *bytes, size_t len)
{
    unsigned crc = 0;
    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned)bytes[i] << 8;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc << 1) ^ ((crc & 0x8000) != 0 ? 0x1021U : 0U);
        }
    }
    return (uint16_t)crc;
}

TEST(crc, has_the_published_check_values)
{
    CHECK(crc64(0, slice_from_text("123456789")) == 0xe9c6d914c4b8d9ca);
    CHECK(crc16(slice_from_text("123456789")) == 0x31c3);
    CHECK(crc64(0, slice_of(NULL, 0)) == 0);
    CHECK(crc16(slice_of(NULL, 0)) == 0);
}

/* A byte at each distance from the end uses each entry of each of the eight tables. */
TEST(crc, every_table_entry_is_right)
{
    for (int place = 0; place < 8; place++) {
        for (int byte = 0; byte < 256; byte++) {
            unsigned char bytes[8] = {0};
            bytes[place] = (unsigned char)byte;
            CHECK(crc64(0, slice_of(bytes, 8)) == crc64_by_bits(0, bytes, 8));
            CHECK(crc64(0, slice_of(bytes + place, 1)) == crc64_by_bits(0, bytes + place, 1));
            CHECK(crc16(slice_of(bytes + place, 1)) == crc16_by_bits(bytes + place, 1));
        }
    }
}

TEST(crc, pieces_chain_to_the_whole_at_any_alignment)
{
    struct rng rng;
    rng_seed(&rng, test_seed());
    unsigned char bytes[300];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (unsigned char)rng_next(&rng);
    }
    for (int round = 0; round < 1000; round++) {
        size_t from = rng_below(&rng, sizeof(bytes));
        size_t len = rng_below(&rng, sizeof(bytes) - from + 1);
        size_t cut = rng_below(&rng, len + 1);
        uint64_t whole = crc64_by_bits(5, bytes + from, len);
        CHECK(crc64(5, slice_of(bytes + from, len)) == whole);
        uint64_t first = crc64(5, slice_of(bytes + from, cut));
        CHECK(crc64(first, slice_of(bytes + from + cut, len - cut)) == whole);
        CHECK(crc16(slice_of(bytes + from, len)) == crc16_by_bits(bytes + from, len));
    }
}
