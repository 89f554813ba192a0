/* The hash commands: replies, effects and events, shapes in both protocols, failures. */
#include "tests/unit/commands/family.h"

#include "base/mem.h"

FAMILY_TEST(hashes, setting_tells_what_is_new)
{
    CHECK_DOES(family, "hset h a 1 b 2", ":2\r\n", "hset h a 1 b 2;", "hset:h;");
    CHECK_DOES(family, "hset h a 3 c 2", ":1\r\n", "hset h a 3 c 2;", "hset:h;");
    CHECK_ANSWERS(family, "hmset h a 4 d",
                  "-ERR wrong number of arguments for 'hmset' command\r\n");
    CHECK_DOES(family, "hmset h a 4 d 5", "+OK\r\n", "hmset h a 4 d 5;", "hset:h;");
    CHECK_ANSWERS(family, "hsetnx h a 9", ":0\r\n");
    CHECK_DOES(family, "hsetnx h e 9", ":1\r\n", "hsetnx h e 9;", "hset:h;");
    CHECK_ANSWERS(family, "hlen h", ":5\r\n");
    CHECK_ANSWERS(family, "hset h a 1 b", "-ERR wrong number of arguments for 'hset' command\r\n");
}

FAMILY_TEST(hashes, getting_finds_what_is_there)
{
    family_say(family, "hset h a 1 b text");
    CHECK_ANSWERS(family, "hget h a", "$1\r\n1\r\n");
    CHECK_ANSWERS(family, "hget h x", "$-1\r\n");
    CHECK_ANSWERS(family, "hget n x", "$-1\r\n");
    CHECK_ANSWERS(family, "hmget h b x a", "*3\r\n$4\r\ntext\r\n$-1\r\n$1\r\n1\r\n");
    CHECK_ANSWERS(family, "hmget n b", "*1\r\n$-1\r\n");
    CHECK_ANSWERS(family, "hexists h a", ":1\r\n");
    CHECK_ANSWERS(family, "hexists n a", ":0\r\n");
    CHECK_ANSWERS(family, "hstrlen h b", ":4\r\n");
    CHECK_ANSWERS(family, "hstrlen h a", ":1\r\n");
    CHECK_ANSWERS(family, "hstrlen h x", ":0\r\n");
    CHECK_ANSWERS(family, "hgetall h", "*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$4\r\ntext\r\n");
    CHECK_ANSWERS(family, "hkeys h", "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    CHECK_ANSWERS(family, "hvals h", "*2\r\n$1\r\n1\r\n$4\r\ntext\r\n");
    CHECK_ANSWERS(family, "hgetall n", "*0\r\n");
    CHECK_ANSWERS(family, "hlen n", ":0\r\n");
    family->fixture.client.reply.protocol = 3;
    CHECK_ANSWERS(family, "hgetall h", "%2\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$4\r\ntext\r\n");
    CHECK_ANSWERS(family, "hgetall n", "%0\r\n");
    CHECK_ANSWERS(family, "hvals n", "*0\r\n");
}

FAMILY_TEST(hashes, the_last_field_takes_the_key_along)
{
    family_say(family, "hset h a 1 b 2 c 3");
    CHECK_ANSWERS(family, "hdel h x y", ":0\r\n");
    CHECK_DOES(family, "hdel h a x a", ":1\r\n", "hdel h a x a;", "hdel:h;");
    CHECK_DOES(family, "hdel h b c d", ":2\r\n", "hdel h b c d;", "hdel:h;del:h;");
    CHECK_ANSWERS(family, "exists h", ":0\r\n");
    CHECK_ANSWERS(family, "hdel h b", ":0\r\n");
}

FAMILY_TEST(hashes, counting_tells_results)
{
    CHECK_DOES(family, "hincrby h n 5", ":5\r\n", "hincrby h n 5;", "hincrby:h;");
    CHECK_DOES(family, "hincrby h n -7", ":-2\r\n", "hincrby h n -7;", "hincrby:h;");
    CHECK_DOES(family, "hincrbyfloat h n 0.5", "$4\r\n-1.5\r\n", "HSET h n -1.5;",
               "hincrbyfloat:h;");
    CHECK_ANSWERS(family, "hincrby h n 1", "-ERR hash value is not an integer\r\n");
    CHECK_ANSWERS(family, "hincrby h n x", "-ERR value is not an integer or out of range\r\n");
    family_say(family, "hset h t text m 9223372036854775807");
    CHECK_ANSWERS(family, "hincrbyfloat h t 1", "-ERR hash value is not a float\r\n");
    CHECK_ANSWERS(family, "hincrbyfloat h t x", "-ERR value is not a valid float\r\n");
    CHECK_ANSWERS(family, "hincrbyfloat h t inf", "-ERR value is NaN or Infinity\r\n");
    CHECK_ANSWERS(family, "hincrby h m 1", "-ERR increment or decrement would overflow\r\n");
}

FAMILY_TEST(hashes, other_types_are_refused_and_left_alone)
{
    family_say(family, "set s v");
    static const char *const lines[] = {
        "hset s a 1",     "hsetnx s a 1", "hmset s a 1",   "hget s a",           "hmget s a",
        "hgetall s",      "hdel s a",     "hlen s",        "hexists s a",        "hkeys s",
        "hvals s",        "hstrlen s a",  "hincrby s a 1", "hincrbyfloat s a 1", "hrandfield s",
        "hrandfield s 1", "hscan s 0"};
    for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        CHECK_ANSWERS(family, lines[i],
                      "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
    }
}

FAMILY_TEST(hashes, random_fields_come_in_the_shape_of_the_protocol)
{
    family_say(family, "hset h a 1");
    CHECK_ANSWERS(family, "hrandfield h", "$1\r\na\r\n");
    CHECK_ANSWERS(family, "hrandfield n", "$-1\r\n");
    CHECK_ANSWERS(family, "hrandfield n 3", "*0\r\n");
    CHECK_ANSWERS(family, "hrandfield h 0", "*0\r\n");
    CHECK_ANSWERS(family, "hrandfield h 3", "*1\r\n$1\r\na\r\n");
    CHECK_ANSWERS(family, "hrandfield h -2", "*2\r\n$1\r\na\r\n$1\r\na\r\n");
    CHECK_ANSWERS(family, "hrandfield h 1 withvalues", "*2\r\n$1\r\na\r\n$1\r\n1\r\n");
    CHECK_ANSWERS(family, "hrandfield h 1 values", "-ERR syntax error\r\n");
    CHECK_ANSWERS(family, "hrandfield h x", "-ERR value is not an integer or out of range\r\n");
    CHECK_ANSWERS(family, "hrandfield h 9223372036854775807 withvalues",
                  "-ERR value is out of range\r\n");
    family->fixture.client.reply.protocol = 3;
    CHECK_ANSWERS(family, "hrandfield h 1 withvalues", "*1\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n");
    CHECK_ANSWERS(family, "hrandfield h -1 withvalues", "*1\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n");
}

FAMILY_TEST(hashes, a_scan_filters_and_may_omit_values)
{
    family_say(family, "hset h ab 1 ac 2 bc 3");
    CHECK_ANSWERS(family, "hscan h 0 match a* count 1",
                  "*2\r\n$1\r\n0\r\n*4\r\n$2\r\nab\r\n$1\r\n1\r\n$2\r\nac\r\n$1\r\n2\r\n");
    CHECK_ANSWERS(family, "hscan h 0 match *c novalues",
                  "*2\r\n$1\r\n0\r\n*2\r\n$2\r\nac\r\n$2\r\nbc\r\n");
    CHECK_ANSWERS(family, "hscan n 0 nonsense", "*2\r\n$1\r\n0\r\n*0\r\n");
    CHECK_ANSWERS(family, "hscan h 0 nonsense", "-ERR syntax error\r\n");
    CHECK_ANSWERS(family, "hscan h 0 count 0", "-ERR syntax error\r\n");
    CHECK_ANSWERS(family, "hscan h x", "-ERR invalid cursor\r\n");
}

FAMILY_TEST(hashes, limits_are_live)
{
    family->limits.hash_entries = 2;
    family_say(family, "hset h a 1 b 2");
    CHECK(is_text(family_say(family, "object encoding h"), "$8\r\nlistpack\r\n"));
    family_say(family, "hset h c 3");
    CHECK(is_text(family_say(family, "object encoding h"), "$9\r\nhashtable\r\n"));
    family->limits.hash_value = 3;
    family_say(family, "hset g a 1234");
    CHECK(is_text(family_say(family, "object encoding g"), "$9\r\nhashtable\r\n"));
}

FAMILY_TEST(hashes, without_memory_nothing_half_done_is_left)
{
    for (unsigned nth = 1; nth <= 2; nth++) {
        mem_fail_after(nth);
        CHECK_ANSWERS(family, "hset h a 1 b 2", "-ERR out of memory\r\n");
        mem_fail_after(0);
        CHECK_ANSWERS(family, "exists h", ":0\r\n");
    }
    family->limits.hash_entries = 0;
    family_say(family, "hset h z 1");
    bool is_half_done = false;
    for (unsigned nth = 1; !is_half_done; nth++) {
        mem_fail_after(nth);
        CHECK(is_text(family_say(family, "hset h a 1 b 2"), "-ERR out of memory\r\n"));
        mem_fail_after(0);
        is_half_done = family->record.effects.len != 0;
        CHECK(record_is(&family->record.effects, is_half_done ? "hset h a 1;" : ""));
        CHECK(record_is(&family->record.events, is_half_done ? "hset:h;" : ""));
        CHECK_ANSWERS(family, "hlen h", is_half_done ? ":2\r\n" : ":1\r\n");
    }
}
