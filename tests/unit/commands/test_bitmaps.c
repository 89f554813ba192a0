/* Bitmap commands: what they answer, change and tell. */
#include "tests/unit/commands/family.h"

TEST(bitmaps, a_bit_that_stays_as_it_is_changes_nothing)
{
    struct family family;
    family_init(&family);
    CHECK(family_does(&family, "setbit b 7 1", ":0\r\n", "setbit b 7 1;", "setbit:b;"));
    CHECK(family_does(&family, "setbit b 7 1", ":1\r\n", "", ""));
    CHECK(family_does(&family, "setbit b 7 0", ":1\r\n", "setbit b 7 0;", "setbit:b;"));
    CHECK(family_does(&family, "setbit b 100 0", ":0\r\n", "setbit b 100 0;", "setbit:b;"));
    CHECK_SAY(&family.fixture, "strlen b", ":13\r\n");
    CHECK_SAY(&family.fixture, "setbit b 4294967296 1",
              "-ERR bit offset is not an integer or out of range\r\n");
    CHECK_SAY(&family.fixture, "setbit b 1 2", "-ERR bit is not an integer or out of range\r\n");
    family_deinit(&family);
}

TEST(bitmaps, ranges_are_of_bytes_or_bits)
{
    struct family family;
    family_init(&family);
    say(&family.fixture, "set b foobar");
    CHECK_THROUGH(&family.fixture, "bitcount b", ":26\r\n");
    CHECK_THROUGH(&family.fixture, "bitcount b 1 1", ":6\r\n");
    CHECK_THROUGH(&family.fixture, "bitcount b 5 30 BIT", ":17\r\n");
    CHECK_THROUGH(&family.fixture, "bitcount b -1 -2", ":0\r\n");
    CHECK_THROUGH(&family.fixture, "bitcount b 0", "-ERR syntax error\r\n");
    CHECK_THROUGH(&family.fixture, "bitpos b 1 7 15 BIT", ":9\r\n");
    CHECK_THROUGH(&family.fixture, "bitpos b 1 9", ":-1\r\n");
    say(&family.fixture, "setrange o 0 \xff\xff");
    CHECK_THROUGH(&family.fixture, "bitpos o 0", ":16\r\n");
    CHECK_THROUGH(&family.fixture, "bitpos o 0 0 -1", ":-1\r\n");
    CHECK_THROUGH(&family.fixture, "bitpos none 0", ":0\r\n");
    family_deinit(&family);
}

TEST(bitmaps, combination_pads_with_zeros)
{
    struct family family;
    family_init(&family);
    say(&family.fixture, "set a abc");
    say(&family.fixture, "set b ab");
    CHECK(family_does(&family, "bitop and d a b", ":3\r\n", "bitop and d a b;", "set:d;"));
    CHECK_SAY(&family.fixture, "bitcount d 2 2", ":0\r\n");
    CHECK(family_does(&family, "bitop xor d d d", ":3\r\n", "bitop xor d d d;", "set:d;"));
    CHECK_SAY(&family.fixture, "bitcount d", ":0\r\n");
    CHECK(family_does(&family, "bitop or d none", ":0\r\n", "bitop or d none;", "del:d;"));
    CHECK(family_does(&family, "bitop or d none", ":0\r\n", "", ""));
    CHECK_SAY(&family.fixture, "bitop not d a b",
              "-ERR BITOP NOT must be called with a single source key.\r\n");
    family_deinit(&family);
}

TEST(bitmaps, fields_overflow_by_their_rule)
{
    struct family family;
    family_init(&family);
    CHECK(family_does(&family, "bitfield f set u8 0 250 incrby u8 0 10", "*2\r\n:0\r\n:4\r\n",
                      "bitfield f set u8 0 250 incrby u8 0 10;", "setbit:f;"));
    CHECK_SAY(&family.fixture, "bitfield f overflow sat incrby u8 0 1000", "*1\r\n:255\r\n");
    CHECK(family_does(&family, "bitfield f overflow fail incrby u8 0 1", "*1\r\n$-1\r\n", "", ""));
    CHECK_SAY(&family.fixture, "bitfield f get i8 0 get u4 #1 get u8 100",
              "*3\r\n:-1\r\n:15\r\n:0\r\n");
    CHECK_SAY(&family.fixture,
              "bitfield f set i64 0 -5 overflow sat incrby i64 0 "
              "-9223372036854775808",
              "*2\r\n:-72057594037927936\r\n:-9223372036854775808\r\n");
    CHECK_SAY(&family.fixture, "bitfield_ro f set u8 0 1",
              "-ERR BITFIELD_RO only supports the GET subcommand\r\n");
    CHECK_SAY(&family.fixture, "bitfield f set u8 0 1 foo", "-ERR syntax error\r\n");
    CHECK_SAY(&family.fixture, "bitfield_ro f get i64 0", "*1\r\n:-9223372036854775808\r\n");
    family_deinit(&family);
}

TEST(bitmaps, without_memory_nothing_changes)
{
    static const char *const lines[] = {"setbit b 3000 1", "setbit none 3000 1", "bitop not d b",
                                        "bitfield b set u8 3000 1"};
    struct family family;
    family_init(&family);
    say(&family.fixture, "set b text");
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        mem_fail_after(1);
        CHECK(family_does(&family, lines[i], "-ERR out of memory\r\n", "", ""));
        mem_fail_after(0);
    }
    CHECK_SAY(&family.fixture, "strlen b", ":4\r\n");
    CHECK_SAY(&family.fixture, "exists none d", ":0\r\n");
    family_deinit(&family);
}
