/* Set commands: what they change and tell. */
#include "tests/unit/commands/family.h"

#include "types/set/set.h"

FAMILY_TEST(sets, adding_and_removing_tell_what_changed)
{
    CHECK_DOES(family, "sadd s 1 2 2", ":2\r\n", "sadd s 1 2 2;", "sadd:s;");
    CHECK(family->record.change_count == 1);
    CHECK_ANSWERS(family, "sadd s 1", ":0\r\n");
    CHECK_ANSWERS(family, "srem s 9 8", ":0\r\n");
    CHECK_DOES(family, "srem s 1 9", ":1\r\n", "srem s 1 9;", "srem:s;");
    CHECK_DOES(family, "srem s 2", ":1\r\n", "srem s 2;", "srem:s;del:s;");
    CHECK_THROUGH(&family->fixture, "exists s", ":0\r\n");
    CHECK_ANSWERS(family, "srem s 2", ":0\r\n");
}

FAMILY_TEST(sets, moving_a_member_changes_two_keys)
{
    say_through(&family->fixture, "sadd s 1 x y");
    CHECK_DOES(family, "smove s d x", ":1\r\n", "smove s d x;", "srem:s;sadd:d;");
    CHECK(family->record.change_count == 2);
    CHECK_ANSWERS(family, "smove s d x", ":0\r\n");
    CHECK_ANSWERS(family, "smove s s 1", ":1\r\n");
    CHECK_ANSWERS(family, "smove s s 5", ":0\r\n");
    CHECK_ANSWERS(family, "smove none d x", ":0\r\n");
    say_through(&family->fixture, "sadd d 1");
    CHECK_DOES(family, "smove s d 1", ":1\r\n", "smove s d 1;", "srem:s;");
    CHECK_DOES(family, "smove s d y", ":1\r\n", "smove s d y;", "srem:s;del:s;sadd:d;");
    CHECK_THROUGH(&family->fixture, "scard d", ":3\r\n");
    CHECK_THROUGH(&family->fixture, "exists s", ":0\r\n");
}

FAMILY_TEST(sets, popping_is_told_as_removal)
{
    say_through(&family->fixture, "sadd s only");
    CHECK_DOES(family, "spop s", "$4\r\nonly\r\n", "SREM s only;", "spop:s;del:s;");
    CHECK_ANSWERS(family, "spop s", "$-1\r\n");
    CHECK_ANSWERS(family, "spop s 3", "*0\r\n");
    say_through(&family->fixture, "sadd s a b");
    CHECK_ANSWERS(family, "spop s 0", "*0\r\n");
    CHECK_DOES(family, "spop s 5", "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "DEL s;", "spop:s;del:s;");
    CHECK_THROUGH(&family->fixture, "exists s", ":0\r\n");
}

/* Adds member:0 to member:(count-1). */
static void add_members(struct family *family, const char *key, int count)
{
    for (int i = 0; i < count; i++) {
        char line[64];
        snprintf(line, sizeof(line), "sadd %s member:%d", key, i);
        say(&family->fixture, line);
    }
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part)) {
        count++;
    }
    return count;
}

FAMILY_TEST(sets, many_popped_members_are_named_in_few_effects)
{
    add_members(family, "s", 500);
    const char *reply = family_say(family, "spop s 200");
    CHECK(strncmp(reply, "*200\r\n", 6) == 0 && count_of(reply, "member:") == 200);
    buf_append_byte(&family->record.effects, '\0');
    CHECK(count_of(family->record.effects.data, "SREM s ") == 4);
    CHECK(count_of(family->record.effects.data, "member:") == 200);
    CHECK_THROUGH(&family->fixture, "scard s", ":300\r\n");
}

FAMILY_TEST(sets, what_is_popped_in_slices_is_one_unit)
{
    add_members(family, "s", 4000);
    family->record.has_units = true;
    const char *reply = family_say(family, "spop s 3000");
    CHECK(strncmp(reply, "*3000\r\n", 7) == 0 && count_of(reply, "member:") == 3000);
    buf_append_byte(&family->record.effects, '\0');
    const char *effects = family->record.effects.data;
    CHECK(effects[0] == '[' && count_of(effects, "[") == 1 && count_of(effects, "]47;") == 1);
    CHECK(count_of(effects, "SREM s ") == 47 && count_of(effects, "member:") == 3000);
    CHECK(record_is(&family->record.events, "spop:s;"));
    CHECK_THROUGH(&family->fixture, "scard s", ":1000\r\n");
    family_say(family, "spop s 1001");
    CHECK(record_is(&family->record.effects, "[DEL s]1;"));
    CHECK(record_is(&family->record.events, "spop:s;del:s;"));
    CHECK_THROUGH(&family->fixture, "exists s", ":0\r\n");
}

FAMILY_TEST(sets, random_members_are_distinct_unless_the_count_is_negative)
{
    add_members(family, "s", 400);
    static const int counts[] = {1, 50, 99, 101, 300, 399, 400, 1000};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        char line[64];
        snprintf(line, sizeof(line), "srandmember s %d", counts[i]);
        char *reply = strdup(family_say(family, line));
        size_t wanted = counts[i] < 400 ? (size_t)counts[i] : 400;
        CHECK(count_of(reply, "member:") == wanted);
        for (char *at = strstr(reply, "member:"); at != NULL; at = strstr(at + 1, "member:")) {
            char name[32];
            size_t len = strcspn(at, "\r") + 2;
            snprintf(name, sizeof(name), "%.*s", (int)len, at);
            CHECK(count_of(reply, name) == 1);
        }
        free(reply);
    }
    CHECK(count_of(family_say(family, "srandmember s -1000"), "member:") == 1000);
    CHECK_THROUGH(&family->fixture, "srandmember s -99999999999", "-ERR out of memory\r\n");
    CHECK_THROUGH(&family->fixture, "scard s", ":400\r\n");
}

FAMILY_TEST(sets, stored_results_replace_or_remove_the_destination)
{
    say_through(&family->fixture, "sadd a 1 2 3");
    say_through(&family->fixture, "sadd b 2 3 4");
    say_through(&family->fixture, "set d text ex 100");
    CHECK_DOES(family, "sinterstore d a b", ":2\r\n", "sinterstore d a b;", "sinterstore:d;");
    CHECK_THROUGH(&family->fixture, "ttl d", ":-1\r\n");
    CHECK_THROUGH(&family->fixture, "smembers d", "*2\r\n$1\r\n2\r\n$1\r\n3\r\n");
    CHECK_DOES(family, "sunionstore d d a b", ":4\r\n", "sunionstore d d a b;", "sunionstore:d;");
    CHECK_DOES(family, "sdiffstore d d b", ":1\r\n", "sdiffstore d d b;", "sdiffstore:d;");
    CHECK_DOES(family, "sdiffstore d d d", ":0\r\n", "sdiffstore d d d;", "del:d;");
    CHECK_ANSWERS(family, "sinterstore d a none", ":0\r\n");
    CHECK_THROUGH(&family->fixture, "exists d", ":0\r\n");
    CHECK_THROUGH(&family->fixture, "object encoding a", "$6\r\nintset\r\n");
}

FAMILY_TEST(sets, large_sets_agree_on_what_they_share)
{
    for (int i = 0; i < 3000; i++) {
        char line[96];
        snprintf(line, sizeof(line), "sadd %s n:%d %d", i < 2000 ? "low" : "high", i, i);
        say_through(&family->fixture, line);
        if (i >= 1000 && i < 2500) {
            snprintf(line, sizeof(line), "sadd middle n:%d %d", i, i);
            say_through(&family->fixture, line);
        }
    }
    CHECK_THROUGH(&family->fixture, "sinterstore d low middle", ":2000\r\n");
    CHECK_THROUGH(&family->fixture, "sinterstore d low middle high", ":0\r\n");
    CHECK_THROUGH(&family->fixture, "sunionstore d low middle high", ":6000\r\n");
    CHECK_THROUGH(&family->fixture, "sdiffstore d low middle", ":2000\r\n");
    CHECK_THROUGH(&family->fixture, "sdiffstore d low middle high none", ":2000\r\n");
    CHECK_THROUGH(&family->fixture, "sintercard 2 low middle", ":2000\r\n");
    CHECK_THROUGH(&family->fixture, "sintercard 2 low middle limit 150", ":150\r\n");
    say_through(&family->fixture, "sadd tiny n:1 n:2 n:2999 nothing");
    CHECK(strncmp(say_through(&family->fixture, "sunion low middle high tiny"), "*6001\r\n", 7) ==
          0);
    CHECK(strncmp(say_through(&family->fixture, "sunion low middle high tiny low low low low low"),
                  "*6001\r\n", 7) == 0);
    CHECK(strncmp(say_through(&family->fixture, "sdiff low tiny"), "*3998\r\n", 7) == 0);
    CHECK(strncmp(say_through(&family->fixture,
                              "sdiff low tiny tiny tiny tiny tiny tiny tiny tiny tiny"),
                  "*3998\r\n", 7) == 0);
    CHECK_THROUGH(&family->fixture, "sinter tiny high", "*1\r\n$6\r\nn:2999\r\n");
}

FAMILY_TEST(sets, scan_tells_every_member_once)
{
    add_members(family, "s", 1000);
    size_t told = 0;
    char cursor[32] = "0";
    do {
        char line[96];
        snprintf(line, sizeof(line), "sscan s %s match member:* count 50", cursor);
        const char *reply = say_through(&family->fixture, line);
        told += count_of(reply, "member:");
        const char *at = strchr(reply + 4, '\n') + 1;
        snprintf(cursor, sizeof(cursor), "%.*s", (int)strcspn(at, "\r"), at);
    } while (strcmp(cursor, "0") != 0);
    CHECK(told == 1000);
    CHECK_THROUGH(&family->fixture, "sscan s x", "-ERR invalid cursor\r\n");
    CHECK_THROUGH(&family->fixture, "sscan none 0 foo", "*2\r\n$1\r\n0\r\n*0\r\n");
    CHECK_THROUGH(&family->fixture, "sscan s 0 count 0", "-ERR syntax error\r\n");
}

FAMILY_TEST(sets, without_memory_an_error_is_all_that_is_told)
{
    say_through(&family->fixture, "sadd s 1 2 3");
    say_through(&family->fixture, "sadd t 2 3 4");
    static const char *const lines[] = {"sadd s some-longer-text", "sadd new some-longer-text",
                                        "smove s other 1", "sunionstore d s t"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        mem_fail_after(1);
        CHECK_ANSWERS(family, lines[i], "-ERR out of memory\r\n");
        mem_fail_after(0);
        CHECK(family->record.change_count == 0);
    }
    CHECK_THROUGH(&family->fixture, "scard s", ":3\r\n");
    CHECK_THROUGH(&family->fixture, "exists new other d", ":0\r\n");
}

FAMILY_TEST(sets, a_wrong_type_is_refused_wherever_it_stands)
{
    static const char *const lines[] = {
        "sadd str x",        "srem str x",          "sismember str x",    "smismember str x",
        "scard str",         "smembers str",        "spop str",           "spop str 1",
        "srandmember str",   "srandmember str 1",   "smove str s x",      "smove s str 1",
        "sinter s str",      "sinter none str",     "sunion str",         "sdiff none str",
        "sinterstore d str", "sunionstore d s str", "sdiffstore d str s", "sintercard 1 str",
        "sscan str 0"};
    say_through(&family->fixture, "set str x");
    say_through(&family->fixture, "sadd s 1");
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        CHECK_ANSWERS(family, lines[i],
                      "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
    }
}
