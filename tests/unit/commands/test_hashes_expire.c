/* Fields that expire: replies, effects and events, and what is visible when. */
#include "tests/unit/commands/family.h"

#include "base/clock.h"

/* The fixture's clock stands at 1,000,000 ms. */

static void at(struct family *family, int64_t ms)
{
    family->fixture.now.wall_ms = ms;
}

static void check_replies(size_t entries)
{
    struct family family;
    family_init(&family);
    family.limits.hash_entries = entries;
    family_say(&family, "hset h a 1 b 2 c 3");
    CHECK_DOES(&family, "hexpire h 10 fields 2 a x", "*2\r\n:1\r\n:-2\r\n",
               "HPEXPIREAT h 1010000 FIELDS 1 a;", "hexpire:h;");
    CHECK_ANSWERS(&family, "httl h fields 3 a b x", "*3\r\n:10\r\n:-1\r\n:-2\r\n");
    CHECK_ANSWERS(&family, "hpttl h fields 1 a", "*1\r\n:10000\r\n");
    CHECK_ANSWERS(&family, "hexpiretime h fields 1 a", "*1\r\n:1010\r\n");
    CHECK_ANSWERS(&family, "hpexpiretime h fields 1 a", "*1\r\n:1010000\r\n");
    CHECK_ANSWERS(&family, "hpexpire h 5 gt fields 2 a b", "*2\r\n:0\r\n:0\r\n");
    CHECK_DOES(&family, "hpexpire h 5 lt fields 2 a b", "*2\r\n:1\r\n:1\r\n",
               "HPEXPIREAT h 1000005 FIELDS 2 a b;", "hexpire:h;");
    CHECK_ANSWERS(&family, "hpexpire h 5 nx fields 1 a", "*1\r\n:0\r\n");
    CHECK_ANSWERS(&family, "hpexpire h 5 xx fields 1 c", "*1\r\n:0\r\n");
    CHECK_DOES(&family, "hpersist h fields 3 a c x", "*3\r\n:1\r\n:-1\r\n:-2\r\n",
               "HPERSIST h FIELDS 1 a;", "hpersist:h;");
    CHECK_DOES(&family, "hexpireat h 1 fields 1 a", "*1\r\n:2\r\n", "HDEL h a;", "hdel:h;");
    CHECK_ANSWERS(&family, "hget h b", "$1\r\n2\r\n");
    at(&family, 1000006);
    CHECK_ANSWERS(&family, "hget h b", "$-1\r\n");
    CHECK_ANSWERS(&family, "hlen h", ":1\r\n");
    CHECK_DOES(&family, "hpexpireat h 0 fields 1 c", "*1\r\n:2\r\n", "HDEL h c;", "hdel:h;del:h;");
    CHECK_ANSWERS(&family, "httl h fields 1 c", "*1\r\n:-2\r\n");
    family_deinit(&family);
}

TEST(hashes_expire, every_field_gets_its_answer_while_packed)
{
    check_replies(512);
}

TEST(hashes_expire, every_field_gets_its_answer_in_a_table)
{
    check_replies(0);
}

/* Field a expired, and its removal is not allowed: it is there, but nobody sees it. */
static void check_hidden(size_t entries)
{
    struct family family;
    family_init(&family);
    family.limits.hash_entries = entries;
    family_say(&family, "hset h a 1 b 2");
    family_say(&family, "hpexpire h 5 fields 1 a");
    family_say(&family, "sadd s h");
    keyspace_set_expiry(family.fixture.keyspace, false, true);
    at(&family, 1000005);
    CHECK_ANSWERS(&family, "hget h a", "$1\r\n1\r\n"); /* Its last millisecond. */
    at(&family, 1000006);
    CHECK_ANSWERS(&family, "hget h a", "$-1\r\n");
    CHECK_ANSWERS(&family, "hmget h a b", "*2\r\n$-1\r\n$1\r\n2\r\n");
    CHECK_ANSWERS(&family, "hexists h a", ":0\r\n");
    CHECK_ANSWERS(&family, "hstrlen h a", ":0\r\n");
    CHECK_ANSWERS(&family, "hgetall h", "*2\r\n$1\r\nb\r\n$1\r\n2\r\n");
    CHECK_ANSWERS(&family, "hkeys h", "*1\r\n$1\r\nb\r\n");
    CHECK_ANSWERS(&family, "hvals h", "*1\r\n$1\r\n2\r\n");
    CHECK_ANSWERS(&family, "hscan h 0", "*2\r\n$1\r\n0\r\n*2\r\n$1\r\nb\r\n$1\r\n2\r\n");
    CHECK_ANSWERS(&family, "hrandfield h", "$1\r\nb\r\n");
    CHECK_ANSWERS(&family, "hrandfield h 5", "*1\r\n$1\r\nb\r\n");
    CHECK_ANSWERS(&family, "hrandfield h -2", "*2\r\n$1\r\nb\r\n$1\r\nb\r\n");
    CHECK_ANSWERS(&family, "hpttl h fields 2 a b", "*2\r\n:-2\r\n:-1\r\n");
    CHECK_ANSWERS(&family, "hpersist h fields 1 a", "*1\r\n:-2\r\n");
    CHECK_ANSWERS(&family, "hgetex h fields 1 a", "*1\r\n$-1\r\n");
    CHECK_ANSWERS(&family, "sort s by nosort get *->a get *->b", "*2\r\n$-1\r\n$1\r\n2\r\n");
    CHECK_ANSWERS(&family, "hlen h", ":2\r\n"); /* As Redis counts. */
    CHECK_DOES(&family, "hincrby h a 5", ":5\r\n", "hincrby h a 5;", "hincrby:h;");
    CHECK_ANSWERS(&family, "httl h fields 1 a", "*1\r\n:-1\r\n");
    family_say(&family, "hpexpire h 5 fields 2 a b");
    at(&family, 2000000);
    CHECK_ANSWERS(&family, "hrandfield h", "$-1\r\n");
    CHECK_ANSWERS(&family, "hrandfield h -3", "*0\r\n");
    CHECK_ANSWERS(&family, "hgetall h", "*0\r\n");
    CHECK_ANSWERS(&family, "exists h", ":1\r\n");
    keyspace_set_expiry(family.fixture.keyspace, true, true);
    CHECK(is_text(family_say(&family, "exists h"), ":0\r\n"));
    family_deinit(&family);
}

TEST(hashes_expire, what_may_not_be_removed_is_hidden_in_a_pack)
{
    check_hidden(512);
}

TEST(hashes_expire, what_may_not_be_removed_is_hidden_in_a_table)
{
    check_hidden(0);
}

FAMILY_TEST(hashes_expire, changes_keep_or_drop_the_expiry)
{
    family_say(family, "hset h a 1 b 2");
    family_say(family, "hexpire h 10 fields 2 a b");
    CHECK(is_text(family_say(family, "object encoding h"), "$10\r\nlistpackex\r\n"));
    family_say(family, "hincrby h a 5");
    CHECK_ANSWERS(family, "httl h fields 1 a", "*1\r\n:10\r\n");
    CHECK_DOES(family, "hincrbyfloat h a 0.5", "$3\r\n6.5\r\n",
               "HSET h a 6.5;HPEXPIREAT h 1010000 FIELDS 1 a;", "hincrbyfloat:h;");
    family_say(family, "hset h a 1");
    CHECK_ANSWERS(family, "httl h fields 2 a b", "*2\r\n:-1\r\n:10\r\n");
    family_say(family, "copy h g");
    family_say(family, "rename h k");
    at(family, 1010001);
    CHECK_ANSWERS(family, "hgetall k", "*2\r\n$1\r\na\r\n$1\r\n1\r\n");
    CHECK_ANSWERS(family, "hgetall g", "*2\r\n$1\r\na\r\n$1\r\n1\r\n");
    CHECK(is_text(family_say(family, "object encoding k"), "$8\r\nlistpack\r\n"));
}

FAMILY_TEST(hashes_expire, hsetex_sets_under_conditions)
{
    CHECK_ANSWERS(family, "hsetex h fxx fields 1 a 1", ":0\r\n");
    CHECK_ANSWERS(family, "exists h", ":0\r\n");
    CHECK_DOES(family, "hsetex h ex 10 fields 2 a 1 b 2", ":1\r\n",
               "HSET h a 1 b 2;HPEXPIREAT h 1010000 FIELDS 2 a b;", "hset:h;hexpire:h;");
    CHECK_ANSWERS(family, "hsetex h fnx fields 2 c 1 b 2", ":0\r\n");
    CHECK_DOES(family, "hsetex h keepttl fxx fields 1 a 3", ":1\r\n",
               "HSET h a 3;HPEXPIREAT h 1010000 FIELDS 1 a;", "hset:h;");
    CHECK_ANSWERS(family, "httl h fields 2 a b", "*2\r\n:10\r\n:10\r\n");
    CHECK_DOES(family, "hsetex h fields 1 a 4", ":1\r\n", "HSET h a 4;", "hset:h;");
    CHECK_ANSWERS(family, "httl h fields 1 a", "*1\r\n:-1\r\n");
    CHECK_DOES(family, "hsetex h pxat 1 fields 2 a 4 b 5", ":1\r\n", "HDEL h a b;",
               "hset:h;hdel:h;del:h;");
    CHECK_ANSWERS(family, "hsetex h fields 2 a 4",
                  "-ERR wrong number of arguments for 'hsetex' command\r\n");
    CHECK_ANSWERS(family, "hsetex h nx fields 1 a 4", "-ERR unknown argument: nx\r\n");
    CHECK_ANSWERS(family, "hsetex h fields x a 4", "-ERR invalid number of fields\r\n");
    CHECK_ANSWERS(family, "hsetex h ex 1 keepttl fields 1 a 4",
                  "-ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified\r\n");
}

FAMILY_TEST(hashes_expire, hgetex_and_hgetdel_return_what_was_there)
{
    family_say(family, "hset h a 1 b 2");
    CHECK_ANSWERS(family, "hgetex h fields 2 a x", "*2\r\n$1\r\n1\r\n$-1\r\n");
    CHECK_DOES(family, "hgetex h px 500 fields 2 a x", "*2\r\n$1\r\n1\r\n$-1\r\n",
               "HPEXPIREAT h 1000500 FIELDS 1 a;", "hexpire:h;");
    CHECK_DOES(family, "hgetex h persist fields 2 a b", "*2\r\n$1\r\n1\r\n$1\r\n2\r\n",
               "HPERSIST h FIELDS 1 a;", "hpersist:h;");
    CHECK_DOES(family, "hgetex h exat 1 fields 1 a", "*1\r\n$1\r\n1\r\n", "HDEL h a;", "hdel:h;");
    CHECK_DOES(family, "hgetdel h fields 2 b b", "*2\r\n$1\r\n2\r\n$-1\r\n", "HDEL h b;",
               "hdel:h;del:h;");
    CHECK_ANSWERS(family, "hgetdel h fields 1 b", "*1\r\n$-1\r\n");
    CHECK_ANSWERS(family, "hgetex h fields 2 a",
                  "-ERR The `numfields` parameter must match "
                  "the number of arguments\r\n");
    CHECK_ANSWERS(family, "hgetdel h x 1 a",
                  "-ERR Mandatory argument FIELDS is missing or "
                  "not at the right position\r\n");
    CHECK_ANSWERS(family, "httl h fields 0 a",
                  "-ERR Number of fields must be a positive integer\r\n");
    CHECK_ANSWERS(family, "hexpire h 1 fields 0 a",
                  "-ERR Parameter `numFields` should be greater than 0\r\n");
    CHECK_ANSWERS(family, "hexpire h -1 fields 1 a", "-ERR invalid expire time, must be >= 0\r\n");
    CHECK_ANSWERS(family, "hpexpire h 70368744177664 fields 1 a",
                  "-ERR invalid expire time in 'hpexpire' command\r\n");
}

/* Random expiries; the wheel alone removes what is due, and nothing else. */
static void check_wheel(size_t entries)
{
    struct family family;
    family_init(&family);
    family.limits.hash_entries = entries;
    struct keyspace *keyspace = family.fixture.keyspace;
    enum { FIELDS = 200 };
    int64_t expiry[FIELDS];
    char line[128];
    for (unsigned i = 0; i < FIELDS; i++) {
        snprintf(line, sizeof(line), "hset h f%u %u", i, i);
        family_say(&family, line);
        expiry[i] = INT64_MAX;
    }
    struct rng rng;
    rng_seed(&rng, test_seed());
    for (int64_t now_ms = 1000000; now_ms < 1003000; now_ms += 7) {
        at(&family, now_ms);
        unsigned i = (unsigned)rng_below(&rng, FIELDS);
        int64_t moment = now_ms + 1 + (int64_t)rng_below(&rng, 2000);
        snprintf(line, sizeof(line), "hpexpireat h %lld fields 1 f%u", (long long)moment, i);
        bool is_set = strcmp(family_say(&family, line), "*1\r\n:1\r\n") == 0;
        CHECK(is_set == (expiry[i] >= now_ms));
        expiry[i] = is_set ? moment : expiry[i];
        while (keyspace_expire_step(keyspace, now_ms, clock_mono_us() + 1000)) {
        }
        db_check(keyspace_db(keyspace, 0));
        int64_t left = 0;
        for (unsigned k = 0; k < FIELDS; k++) {
            left += expiry[k] >= now_ms;
        }
        keyspace_set_expiry(keyspace, false, false); /* Lookups remove nothing: the wheel did. */
        snprintf(line, sizeof(line), ":%lld\r\n", (long long)left);
        CHECK(is_text(family_say(&family, "hlen h"), line));
        keyspace_set_expiry(keyspace, true, true);
    }
    family_deinit(&family);
}

TEST(hashes_expire, the_wheel_removes_what_is_due_from_a_pack)
{
    check_wheel(512);
}

TEST(hashes_expire, the_wheel_removes_what_is_due_from_a_table)
{
    check_wheel(0);
}

FAMILY_TEST(hashes_expire, the_key_goes_with_its_last_field)
{
    family_say(family, "hset h a 1 b 2");
    family_say(family, "hpexpire h 5 fields 2 a b");
    family_say(family, "hset g a 1");
    family_say(family, "hpexpire g 5 fields 1 a");
    family_say(family, "flushdb");
    family_say(family, "hset h a 1 b 2");
    family_say(family, "hpexpire h 5 fields 2 a b");
    at(family, 1000005);
    CHECK_ANSWERS(family, "exists h", ":1\r\n");
    at(family, 1000006);
    CHECK_ANSWERS(family, "exists h", ":0\r\n");
    CHECK_ANSWERS(family, "dbsize", ":0\r\n");
}
