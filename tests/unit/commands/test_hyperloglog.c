/* HyperLogLog commands: what they answer, change and tell. */
#include "tests/unit/commands/family.h"

FAMILY_TEST(hyperloglog, adding_tells_whether_the_estimate_may_change)
{
    CHECK_DOES(family, "pfadd h a b", ":1\r\n", "pfadd h a b;", "pfadd:h;");
    CHECK_ANSWERS(family, "pfadd h a", ":0\r\n");
    CHECK_DOES(family, "pfadd empty", ":1\r\n", "pfadd empty;", "pfadd:empty;");
    CHECK_ANSWERS(family, "pfadd empty", ":0\r\n");
    CHECK_ANSWERS(family, "pfcount h", ":2\r\n");
    CHECK_SAY(&family->fixture, "pfcount h empty none", ":2\r\n");
    CHECK_SAY(&family->fixture, "pfcount none", ":0\r\n");
    CHECK_SAY(&family->fixture, "object encoding h", "$3\r\nraw\r\n");
}

FAMILY_TEST(hyperloglog, merging_changes_the_destination)
{
    say_through(&family->fixture, "pfadd a 1 2 3");
    say_through(&family->fixture, "pfadd b 3 4 5");
    CHECK_DOES(family, "pfmerge d a b", "+OK\r\n", "pfmerge d a b;", "pfadd:d;");
    CHECK_SAY(&family->fixture, "pfcount d", ":5\r\n");
    CHECK_SAY(&family->fixture, "pfcount a b", ":5\r\n");
    CHECK_SAY(&family->fixture, "pfdebug encoding d", "+sparse\r\n");
    CHECK_SAY(&family->fixture, "pfdebug todense d", ":1\r\n");
    CHECK_SAY(&family->fixture, "pfdebug todense d", ":0\r\n");
    CHECK_SAY(&family->fixture, "pfmerge e d", "+OK\r\n");
    CHECK_SAY(&family->fixture, "strlen e", ":12304\r\n");
    CHECK_THROUGH(&family->fixture, "pfadd e 9", ":1\r\n");
    CHECK_SAY(&family->fixture, "pfcount e", ":6\r\n");
    CHECK_SAY(&family->fixture, "pfselftest", "+OK\r\n");
}

FAMILY_TEST(hyperloglog, strings_of_another_form_are_refused)
{
    static const char *const lines[] = {"pfadd s x",   "pfcount s",      "pfcount s none",
                                        "pfmerge d s", "pfmerge s none", "pfdebug encoding s"};
    for (int round = 0; round < 2; round++) {
        say(&family->fixture, round == 0 ? "set s text" : "set s 12345");
        for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
            CHECK_ANSWERS(family, lines[i],
                          "-WRONGTYPE Key is not a valid HyperLogLog string value.\r\n");
        }
    }
    CHECK_SAY(&family->fixture, "exists d", ":0\r\n");
}

FAMILY_TEST(hyperloglog, without_memory_nothing_changes)
{
    say_through(&family->fixture, "pfadd h a b");
    for (unsigned countdown = 1; countdown <= 2; countdown++) {
        mem_fail_after(countdown);
        CHECK_ANSWERS(family, "pfadd new x", "-ERR out of memory\r\n");
        mem_fail_after(countdown);
        CHECK_ANSWERS(family, "pfmerge new h", "-ERR out of memory\r\n");
        mem_fail_after(0);
    }
    CHECK_SAY(&family->fixture, "exists new", ":0\r\n");
    CHECK_SAY(&family->fixture, "pfcount h", ":2\r\n");
}
