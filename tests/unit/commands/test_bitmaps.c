/* Bitmap commands: what they answer, change and tell. */
#include "tests/unit/commands/family.h"

FAMILY_TEST(bitmaps, a_bit_that_stays_as_it_is_changes_nothing)
{
    CHECK_DOES(family, "setbit b 7 1", ":0\r\n", "setbit b 7 1;", "setbit:b;");
    CHECK_ANSWERS(family, "setbit b 7 1", ":1\r\n");
    CHECK_DOES(family, "setbit b 7 0", ":1\r\n", "setbit b 7 0;", "setbit:b;");
    CHECK_DOES(family, "setbit b 100 0", ":0\r\n", "setbit b 100 0;", "setbit:b;");
    CHECK_SAY(&family->fixture, "strlen b", ":13\r\n");
    CHECK_SAY(&family->fixture, "setbit b 4294967296 1",
              "-ERR bit offset is not an integer or out of range\r\n");
    CHECK_SAY(&family->fixture, "setbit b 1 2", "-ERR bit is not an integer or out of range\r\n");
}

FAMILY_TEST(bitmaps, ranges_are_of_bytes_or_bits)
{
    say(&family->fixture, "set b foobar");
    CHECK_THROUGH(&family->fixture, "bitcount b", ":26\r\n");
    CHECK_THROUGH(&family->fixture, "bitcount b 1 1", ":6\r\n");
    CHECK_THROUGH(&family->fixture, "bitcount b 5 30 BIT", ":17\r\n");
    CHECK_THROUGH(&family->fixture, "bitcount b -1 -2", ":0\r\n");
    CHECK_THROUGH(&family->fixture, "bitcount b 0", "-ERR syntax error\r\n");
    CHECK_THROUGH(&family->fixture, "bitpos b 1 7 15 BIT", ":9\r\n");
    CHECK_THROUGH(&family->fixture, "bitpos b 1 9", ":-1\r\n");
    say(&family->fixture, "setrange o 0 \xff\xff");
    CHECK_THROUGH(&family->fixture, "bitpos o 0", ":16\r\n");
    CHECK_THROUGH(&family->fixture, "bitpos o 0 0 -1", ":-1\r\n");
    CHECK_THROUGH(&family->fixture, "bitpos none 0", ":0\r\n");
}

FAMILY_TEST(bitmaps, combination_pads_with_zeros)
{
    say(&family->fixture, "set a abc");
    say(&family->fixture, "set b ab");
    CHECK_DOES(family, "bitop and d a b", ":3\r\n", "bitop and d a b;", "set:d;");
    CHECK_SAY(&family->fixture, "bitcount d 2 2", ":0\r\n");
    CHECK_DOES(family, "bitop xor d d d", ":3\r\n", "bitop xor d d d;", "set:d;");
    CHECK_SAY(&family->fixture, "bitcount d", ":0\r\n");
    CHECK_DOES(family, "bitop or d none", ":0\r\n", "bitop or d none;", "del:d;");
    CHECK_ANSWERS(family, "bitop or d none", ":0\r\n");
    CHECK_SAY(&family->fixture, "bitop not d a b",
              "-ERR BITOP NOT must be called with a single source key.\r\n");
}

FAMILY_TEST(bitmaps, fields_overflow_by_their_rule)
{
    CHECK_DOES(family, "bitfield f set u8 0 250 incrby u8 0 10", "*2\r\n:0\r\n:4\r\n",
               "bitfield f set u8 0 250 incrby u8 0 10;", "setbit:f;");
    CHECK_SAY(&family->fixture, "bitfield f overflow sat incrby u8 0 1000", "*1\r\n:255\r\n");
    CHECK_ANSWERS(family, "bitfield f overflow fail incrby u8 0 1", "*1\r\n$-1\r\n");
    CHECK_SAY(&family->fixture, "bitfield f get i8 0 get u4 #1 get u8 100",
              "*3\r\n:-1\r\n:15\r\n:0\r\n");
    CHECK_SAY(&family->fixture,
              "bitfield f set i64 0 -5 overflow sat incrby i64 0 "
              "-9223372036854775808",
              "*2\r\n:-72057594037927936\r\n:-9223372036854775808\r\n");
    CHECK_SAY(&family->fixture, "bitfield_ro f set u8 0 1",
              "-ERR BITFIELD_RO only supports the GET subcommand\r\n");
    CHECK_SAY(&family->fixture, "bitfield f set u8 0 1 foo", "-ERR syntax error\r\n");
    CHECK_SAY(&family->fixture, "bitfield_ro f get i64 0", "*1\r\n:-9223372036854775808\r\n");
}

FAMILY_TEST(bitmaps, without_memory_nothing_changes)
{
    static const char *const lines[] = {"setbit b 3000 1", "setbit none 3000 1", "bitop not d b",
                                        "bitfield b set u8 3000 1"};
    say(&family->fixture, "set b text");
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        mem_fail_after(1);
        CHECK_ANSWERS(family, lines[i], "-ERR out of memory\r\n");
        mem_fail_after(0);
    }
    CHECK_SAY(&family->fixture, "strlen b", ":4\r\n");
    CHECK_SAY(&family->fixture, "exists none d", ":0\r\n");
}

/* Half a million bytes are copied in slices; in the hostile build some tens are. */
FAMILY_TEST(bitmaps, a_shared_string_is_copied_in_slices_and_changed_as_if_at_once)
{
    struct fixture *fixture = &family->fixture;
    CHECK_THROUGH(fixture, "setrange a 1500000 end", ":1500003\r\n");
    static const char *const lines[][3] = {
        {"setbit b 7 1", ":0\r\n", "setbit:b;"},
        {"setbit b 7 0", ":1\r\n", "setbit:b;"},
        {"setbit b 7 0", ":0\r\n", ""},
        {"append b +tail", ":1500008\r\n", "append:b;"},
        {"setrange b 1499999 12345", ":1500008\r\n", "setrange:b;"},
        {"setrange b 1600000 x", ":1600001\r\n", "setrange:b;"},
        {"bitfield b set u8 0 65 incrby u8 8 1", "*2\r\n:0\r\n:1\r\n", "setbit:b;"},
        {"bitfield b overflow fail set u8 0 256", "*1\r\n$-1\r\n", ""},
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        say_through(fixture, "del b");
        say_through(fixture, "copy a b");
        if (i == 1) {
            say_through(fixture, "setbit b 7 1");
            say_through(fixture, "copy b c");
        }
        if (i == 4 || i == 5) {
            say_through(fixture, "append b +tail");
        }
        buf_clear(&family->record.events);
        CHECK_THROUGH(fixture, lines[i][0], lines[i][1]);
        buf_append_byte(&family->record.events, '\0');
        CHECK(is_text(family->record.events.data, lines[i][2]));
        CHECK_THROUGH(fixture, "getrange a 1499998 -1", "$5\r\n\0\0end\r\n");
    }
    CHECK_SAY(fixture, "strlen a", ":1500003\r\n");
    CHECK_THROUGH(fixture, "bitcount a 0 7", ":0\r\n");
}

FAMILY_TEST(bitmaps, thousands_of_fields_are_dealt_with_in_slices)
{
    struct fixture *fixture = &family->fixture;
    CHECK_THROUGH(fixture, "bitfield f set u8 0 1 incrby u8 0 255 get u8 0 set u8 #3 7 get i8 #3",
                  "*5\r\n:0\r\n:0\r\n:0\r\n:0\r\n:7\r\n");
    CHECK_THROUGH(fixture, "bitfield f get u8 0 get u8 8 get u8 16 get u8 24",
                  "*4\r\n:0\r\n:0\r\n:0\r\n:7\r\n");
    CHECK_THROUGH(fixture, "bitfield_ro f get u8 0 get u8 8 get u8 16 get u8 24",
                  "*4\r\n:0\r\n:0\r\n:0\r\n:7\r\n");
    CHECK_THROUGH(fixture, "bitfield f get u8 0 get u8 8 get u8 16 get u8 24 set u8 1 x",
                  "-ERR value is not an integer or out of range\r\n");
    CHECK_SAY(fixture, "strlen f", ":4\r\n");
}

FAMILY_TEST(bitmaps, a_last_bit_far_away_is_set_at_once)
{
    struct fixture *fixture = &family->fixture;
    CHECK_THROUGH(fixture, "setbit b 4294967295 1", ":0\r\n");
    CHECK_SAY(fixture, "strlen b", ":536870912\r\n");
    CHECK_SAY(fixture, "getbit b 4294967295", ":1\r\n");
    CHECK_SAY(fixture, "getbit b 4294967294", ":0\r\n");
    CHECK_THROUGH(fixture, "append b x",
                  "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n");
    CHECK_THROUGH(fixture, "setrange b 536870911 x", ":536870912\r\n");
    CHECK_THROUGH(fixture, "setrange c 536870911 x", ":536870912\r\n");
    CHECK_THROUGH(fixture, "setrange c 536870912 x",
                  "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n");
}
