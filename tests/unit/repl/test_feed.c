/* Tests of repl/feed.c: which bytes the stream gets. */
#include "repl/repl_internal.h"

#include "tests/unit/repl/bed.h"

TEST(feed, is_off_until_there_is_a_history)
{
    struct repl_bed bed;
    bed_open(&bed);
    CHECK_SAY(&bed.fixture, "set a 1", "+OK\r\n");
    CHECK(backlog_end(&bed.repl->backlog) == 0);
    bed_begin(&bed);
    CHECK_EFFECT(&bed, "set a 1", "SELECT 0 | set a 1");
    CHECK(backlog_end(&bed.repl->backlog) == 23 + 27);
    backlog_cursor_close(&bed.reader);
    repl_lose_backlog(bed.repl, "test");
    int64_t end = backlog_end(&bed.repl->backlog);
    CHECK_SAY(&bed.fixture, "set a 1", "+OK\r\n");
    CHECK(backlog_end(&bed.repl->backlog) == end);
    bed_shut(&bed);
}

TEST(feed, selects_a_database_only_when_it_changes)
{
    struct repl_bed bed;
    bed_open(&bed);
    bed_begin(&bed);
    CHECK_EFFECT(&bed, "set a 1", "SELECT 0 | set a 1");
    CHECK_EFFECT(&bed, "set b 1", "set b 1");
    CHECK_EFFECT(&bed, "select 3", "");
    CHECK_EFFECT(&bed, "get a", "");
    CHECK_EFFECT(&bed, "set c 1", "SELECT 3 | set c 1");
    CHECK_EFFECT(&bed, "move c 1", "move c 1");
    feed_forget_db(bed.repl);
    CHECK_EFFECT(&bed, "set c 1", "SELECT 3 | set c 1");
    bed_shut(&bed);
}

TEST(feed, tells_results_instead_of_conditions)
{
    struct repl_bed bed;
    bed_open(&bed);
    bed_begin(&bed);
    CHECK_EFFECT(&bed, "set a 1 EX 10", "SELECT 0 | SET a 1 PXAT 1010000");
    CHECK_EFFECT(&bed, "set a 1 NX", "");
    CHECK_EFFECT(&bed, "incrbyfloat a 1.5", "SET a 2.5 KEEPTTL");
    CHECK_EFFECT(&bed, "expire a 5", "PEXPIREAT a 1005000");
    CHECK_EFFECT(&bed, "getdel a", "DEL a");
    CHECK_EFFECT(&bed, "del a", "");
    CHECK_EFFECT(&bed, "sadd s x", "sadd s x");
    CHECK_EFFECT(&bed, "sadd s x", "");
    CHECK_EFFECT(&bed, "spop s", "SREM s x");
    CHECK_EFFECT(&bed, "RPush l a b c", "RPush l a b c");
    CHECK_EFFECT(&bed, "lmpop 1 l LEFT COUNT 2", "LPOP l 2");
    bed_shut(&bed);
}

TEST(feed, wraps_several_commands_of_a_unit)
{
    struct repl_bed bed;
    bed_open(&bed);
    bed_begin(&bed);
    CHECK_EFFECT(&bed, "multi", "");
    CHECK_EFFECT(&bed, "set a 1", "");
    CHECK_EFFECT(&bed, "get a", "");
    CHECK_EFFECT(&bed, "exec", "SELECT 0 | set a 1");
    (void)say(&bed.fixture, "multi");
    (void)say(&bed.fixture, "set a 2");
    (void)say(&bed.fixture, "select 1");
    (void)say(&bed.fixture, "incr b");
    CHECK_EFFECT(&bed, "exec", "MULTI | set a 2 | SELECT 1 | incr b | EXEC");
    (void)say(&bed.fixture, "multi");
    (void)say(&bed.fixture, "select 2");
    (void)say(&bed.fixture, "set a 1");
    (void)say(&bed.fixture, "set a 2");
    (void)say(&bed.fixture, "set a 3");
    CHECK_EFFECT(&bed, "exec", "SELECT 2 | MULTI | set a 1 | set a 2 | set a 3 | EXEC");
    (void)say(&bed.fixture, "multi");
    CHECK_EFFECT(&bed, "exec", "");
    bed_shut(&bed);
}

TEST(feed, what_old_replicas_do_not_know_stands_outside_of_transactions)
{
    struct repl_bed bed;
    bed_open(&bed);
    bed_begin(&bed);
    CHECK_EFFECT(&bed, "hsetex h EX 10 fields 1 f v",
                 "SELECT 0 | HSET h f v | HPEXPIREAT h 1010000 FIELDS 1 f");
    (void)say(&bed.fixture, "multi");
    (void)say(&bed.fixture, "set a 1");
    (void)say(&bed.fixture, "set b 1");
    (void)say(&bed.fixture, "hpersist h fields 1 f");
    (void)say(&bed.fixture, "hexpire h 20 fields 1 f");
    (void)say(&bed.fixture, "set c 1");
    CHECK_EFFECT(&bed, "exec",
                 "MULTI | set a 1 | set b 1 | EXEC | HPERSIST h FIELDS 1 f | "
                 "HPEXPIREAT h 1020000 FIELDS 1 f | set c 1");
    (void)say(&bed.fixture, "multi");
    (void)say(&bed.fixture, "select 1");
    (void)say(&bed.fixture, "hset h f v");
    (void)say(&bed.fixture, "select 0");
    (void)say(&bed.fixture, "hexpire h 30 fields 1 f");
    (void)say(&bed.fixture, "del a");
    (void)say(&bed.fixture, "del b");
    CHECK_EFFECT(&bed, "exec",
                 "SELECT 1 | hset h f v | SELECT 0 | HPEXPIREAT h 1030000 FIELDS 1 f | "
                 "MULTI | del a | del b | EXEC");
    bed_shut(&bed);
}

TEST(feed, whoever_is_served_comes_after_what_served_him)
{
    struct repl_bed bed;
    struct fake_client blocked;
    bed_open(&bed);
    bed_begin(&bed);
    fake_open(&bed.fixture, &blocked, "127.0.0.1:2000");
    CHECK(is_text(say_as(&bed.fixture, &blocked, "blpop l 0"), ""));
    CHECK_EFFECT(&bed, "rpush l x", "SELECT 0 | rpush l x | LPOP l");
    CHECK(blocked.session.write_offset == backlog_end(&bed.repl->backlog));
    CHECK(bed.fixture.client.session.write_offset < blocked.session.write_offset);
    fake_shut(&blocked);
    bed_shut(&bed);
}

TEST(feed, own_commands_wait_for_the_end_of_a_unit)
{
    struct repl_bed bed;
    bed_open(&bed);
    bed_begin(&bed);
    bed.repl->feed.is_in_unit = true; /* As while a script is parked. */
    CHECK(!feed_own(bed.repl, slice_from_text("*1\r\n$4\r\nPING\r\n")));
    bed.repl->feed.is_in_unit = false;
    CHECK(feed_own(bed.repl, slice_from_text("*1\r\n$4\r\nPING\r\n")));
    CHECK(is_text(bed_stream(&bed), "PING"));
    bed_shut(&bed);
}

/* Values of all lengths around what fits into the room of the backlog. */
TEST(feed, long_commands_are_whole)
{
    struct repl_bed bed;
    enum { LEN_MAX = 70000 };
    char *value = mem_alloc(LEN_MAX);
    bed_open(&bed);
    bed_begin(&bed);
    CHECK_EFFECT(&bed, "set warm up", "SELECT 0 | set warm up");
    for (size_t len = 0; len <= LEN_MAX; len += len < 3000 ? 37 : 9001) {
        memset(value, 'v', len);
        struct slice args[] = {slice_from_text("set"), slice_from_text("k"), slice_of(value, len)};
        CHECK(fixture_run(&bed.fixture, &bed.fixture.client, args, 3) == EXEC_DONE);
        (void)fixture_take_reply(&bed.fixture, &bed.fixture.client.reply);
        const char *text = bed_stream(&bed);
        CHECK(strlen(text) == len + 6 && memcmp(text, "set k ", 6) == 0);
        CHECK(len == 0 || memcmp(text + 6, value, len) == 0);
        backlog_check(&bed.repl->backlog);
    }
    mem_free(value);
    bed_shut(&bed);
}

/* A value that lies in a blob is in the stream by reference. */
TEST(feed, large_values_are_lent)
{
    struct repl_bed bed;
    struct blob *blob = blob_try_new(100000);
    bed_open(&bed);
    bed_begin(&bed);
    CHECK(blob != NULL);
    memset(blob->bytes, 'b', 100000);
    blob->len = 100000;
    struct slice args[] = {slice_from_text("SET"), slice_from_text("k"), blob_slice(blob)};
    struct blob *blobs[] = {NULL, NULL, blob};
    struct call call = {.args = {.at = args, .count = 3},
                        .blobs = blobs,
                        .db = keyspace_db(bed.fixture.keyspace, 0),
                        .exec = bed.fixture.exec};
    call_effect(&call, args, 3);
    exec_settle(bed.fixture.exec);
    CHECK(blob->lent == 1 && blob->refs == 2);
    const char *text = bed_stream(&bed);
    CHECK(strlen(text) == strlen("SELECT 0 | SET k ") + 100000);
    blob_drop(blob);
    bed_shut(&bed);
}

TEST(feed, without_memory_the_history_is_given_up)
{
    struct repl_bed bed;
    char id[REPL_ID_LEN + 1];
    bed_open(&bed);
    repl_open_backlog(bed.repl);
    memcpy(id, bed.repl->id, sizeof id);
    bed.repl->backlog.is_broken = true;
    CHECK_SAY(&bed.fixture, "set a 1", "+OK\r\n");
    CHECK_SAY(&bed.fixture, "spop nokey", "$-1\r\n");
    repl_pump(bed.repl);
    CHECK(!backlog_is_open(&bed.repl->backlog) && strcmp(id, bed.repl->id) != 0);
    CHECK_SAY(&bed.fixture, "set a 2", "+OK\r\n");
    bed_shut(&bed);
}
