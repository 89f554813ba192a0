/* Strings: the canonical effects of each command, its events, and what happens without memory. */
#include "tests/unit/commands/family.h"

#include "base/mem.h"

/* The fixture's clock stands at 1,000,000 ms. */

FAMILY_TEST(strings, set_tells_its_canonical_form)
{
    CHECK_DOES(family, "set k v", "+OK\r\n", "set k v;", "set:k;");
    CHECK_DOES(family, "SET k v EX 10", "+OK\r\n", "SET k v PXAT 1010000;", "set:k;expire:k;");
    CHECK_DOES(family, "set k w get px 5", "$1\r\nv\r\n", "SET k w PXAT 1000005;",
               "set:k;expire:k;");
    CHECK_DOES(family, "set k x keepttl", "+OK\r\n", "SET k x KEEPTTL;", "set:k;");
    CHECK_DOES(family, "set k y xx", "+OK\r\n", "SET k y;", "set:k;");
    CHECK_ANSWERS(family, "set k z nx", "$-1\r\n");
    CHECK_ANSWERS(family, "set k z ifeq q", "$-1\r\n");
    CHECK_DOES(family, "set k z ifeq y get", "$1\r\ny\r\n", "SET k z;", "set:k;");
    CHECK_DOES(family, "setex k 1 v", "+OK\r\n", "SET k v PXAT 1001000;", "set:k;expire:k;");
    CHECK_DOES(family, "psetex k 1 v", "+OK\r\n", "SET k v PXAT 1000001;", "set:k;expire:k;");
    CHECK_DOES(family, "getset k a", "$1\r\nv\r\n", "SET k a;", "set:k;");
    CHECK_ANSWERS(family, "setnx k b", ":0\r\n");
    CHECK_DOES(family, "setnx n b", ":1\r\n", "setnx n b;", "set:n;");
}

FAMILY_TEST(strings, one_change_is_reported_per_key)
{
    family_say(family, "mset a 1 b 2 c 3");
    CHECK(family->record.change_count == 3);
    family_say(family, "set a 1 ex 5");
    CHECK(family->record.change_count == 1);
    family_say(family, "get a");
    CHECK(family->record.change_count == 0);
}

FAMILY_TEST(strings, reading_with_a_change_tells_the_change_alone)
{
    say(&family->fixture, "set k v");
    CHECK_ANSWERS(family, "getex k", "$1\r\nv\r\n");
    CHECK_DOES(family, "getex k ex 1", "$1\r\nv\r\n", "PEXPIREAT k 1001000;", "expire:k;");
    CHECK_DOES(family, "getex k persist", "$1\r\nv\r\n", "PERSIST k;", "persist:k;");
    CHECK_ANSWERS(family, "getex k persist", "$1\r\nv\r\n");
    CHECK_DOES(family, "getex k exat 1", "$1\r\nv\r\n", "DEL k;", "del:k;");
    say(&family->fixture, "set k v");
    CHECK_DOES(family, "getdel k", "$1\r\nv\r\n", "DEL k;", "del:k;");
    CHECK_ANSWERS(family, "getdel k", "$-1\r\n");
}

FAMILY_TEST(strings, removal_under_a_condition_is_a_del)
{
    say(&family->fixture, "set k v");
    CHECK_ANSWERS(family, "delifeq k w", ":0\r\n");
    CHECK_DOES(family, "delifeq k v", ":1\r\n", "DEL k;", "del:k;");
    say(&family->fixture, "set k v");
    CHECK_ANSWERS(family, "delex k ifne v", ":0\r\n");
    CHECK_DOES(family, "delex k ifne w", ":1\r\n", "DEL k;", "del:k;");
    CHECK_ANSWERS(family, "delex k ifeq", "-ERR syntax error\r\n");
    say(&family->fixture, "set k v");
    CHECK_SAY(&family->fixture, "digest k", "$16\r\nf7042be43fb80714\r\n");
}

FAMILY_TEST(strings, numbers_tell_commands_and_floats_results)
{
    CHECK_DOES(family, "incr k", ":1\r\n", "incr k;", "incrby:k;");
    CHECK_DOES(family, "decrby k 3", ":-2\r\n", "decrby k 3;", "incrby:k;");
    CHECK_DOES(family, "incrbyfloat k 0.5", "$4\r\n-1.5\r\n", "SET k -1.5 KEEPTTL;",
               "incrbyfloat:k;");
    CHECK_ANSWERS(family, "incr k", "-ERR value is not an integer or out of range\r\n");
    CHECK_DOES(family, "append k x", ":5\r\n", "append k x;", "append:k;");
    CHECK_DOES(family, "setrange k 1 zz", ":5\r\n", "setrange k 1 zz;", "setrange:k;");
}

FAMILY_TEST(strings, several_keys_with_one_expiry_are_told_as_sets)
{
    CHECK_DOES(family, "msetex 2 a 1 b 2 px 7", ":1\r\n",
               "SET a 1 PXAT 1000007;SET b 2 PXAT 1000007;", "set:a;expire:a;set:b;expire:b;");
    CHECK_ANSWERS(family, "msetex 2 a 1 c 2 nx", ":0\r\n");
    CHECK_ANSWERS(family, "msetnx c 1 a 2", ":0\r\n");
    CHECK_DOES(family, "msetnx c 1 d 2", ":1\r\n", "msetnx c 1 d 2;", "set:c;set:d;");
    CHECK_ANSWERS(family, "msetex 3 a 1", "-ERR wrong number of key-value pairs\r\n");
}

/* Makes each allocation of a line fail in turn, until it succeeds; the key stays what it was. */
static void check_without_memory(const char *before, const char *line)
{
    struct family family;
    family_init(&family);
    say(&family.fixture, before);
    char old[64];
    snprintf(old, sizeof(old), "%s", say(&family.fixture, "get k"));
    for (unsigned countdown = 1;; countdown++) {
        mem_fail_after(countdown);
        const char *reply = family_say(&family, line);
        mem_fail_after(0);
        if (reply[0] != '-') {
            break;
        }
        CHECK(is_text(reply, "-ERR out of memory\r\n"));
        CHECK(record_is(&family.record.effects, ""));
        CHECK(is_text(say(&family.fixture, "get k"), old));
        db_check(family.fixture.client.session.db);
        CHECK(countdown < 10);
    }
    family_deinit(&family);
}

TEST(strings, without_memory_nothing_changes)
{
    static const char *const lines[] = {
        "set k a-longer-value-than-before-it-was",
        "set k a-longer-value-than-before-it-was ex 100",
        "set k a-longer-value-than-before-it-was get",
        "set k a-longer-value-than-before-it-was get ex 100",
        "getset k a-longer-value-than-before-it-was",
        "append k a-longer-value-than-before-it-was",
        "setrange k 100 tail",
        "mset k a-longer-value-than-before-it-was",
        "incrbyfloat k 0.0000000000000001",
        "getex k ex 100",
        "expire k 100",
        "rename k another-name-that-is-longer",
        "copy k another-name-that-is-longer",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        check_without_memory("set k 5", lines[i]);
        check_without_memory("set k 5 ex 50", lines[i]);
    }
    check_without_memory("del k", "set k v ex 1");
    check_without_memory("del k", "append k v");
    check_without_memory("del k", "setrange k 5 v");
    check_without_memory("del k", "incr k");
}

FAMILY_TEST(strings, several_keys_half_set_are_told_as_far_as_they_went)
{
    static const char *const TOLD[] = {"", "MSET a 1;", "MSET a 1 b 2;"};
    static const char *const THERE[] = {":0\r\n", ":1\r\n", ":2\r\n"};
    unsigned seen = 0;
    for (unsigned allocations = 1;; allocations++) {
        mem_fail_after(allocations);
        const char *reply = family_say(family, "mset a 1 b 2 c 3");
        mem_fail_after(0);
        if (reply[0] == '+') {
            break;
        }
        CHECK(is_text(reply, "-ERR out of memory\r\n"));
        buf_append_byte(&family->record.effects, '\0');
        unsigned count = 0;
        while (count < 2 && strcmp(family->record.effects.data, TOLD[count]) != 0) {
            count++;
        }
        CHECK(is_text(family->record.effects.data, TOLD[count]));
        CHECK_THROUGH(&family->fixture, "exists a b c", THERE[count]);
        CHECK_THROUGH(&family->fixture, "del a b c", THERE[count]);
        seen |= 1U << count;
    }
    CHECK(seen == 7);
}
