/* Tests of repl/primary.c, replicas.c and wait.c: replicas come, keep up or do not, and go. */
#include "repl/repl_internal.h"

#include "tests/unit/repl/bed.h"

/* A client that has become a replica which goes on at `next`. */
static void attach(struct repl_bed *bed, struct fake_client *client, int64_t next)
{
    char line[128];
    char wanted[128];
    fake_open(&bed->fixture, client, "10.0.0.1:5000");
    CHECK(is_text(say_as(&bed->fixture, client, "replconf listening-port 7002"), "+OK\r\n"));
    CHECK(is_text(say_as(&bed->fixture, client, "REPLCONF capa eof capa psync2"), "+OK\r\n"));
    snprintf(line, sizeof line, "PSYNC %s %lld", bed->repl->id, (long long)next);
    snprintf(wanted, sizeof wanted, "+CONTINUE %s\r\n", bed->repl->id);
    CHECK(is_text(say_as(&bed->fixture, client, line), wanted));
}

/* What it is sent, as words. */
static const char *received(struct repl_bed *bed, struct fake_client *client)
{
    repl_pump(bed->repl);
    const char *bytes = fixture_take_reply(&bed->fixture, &client->reply);
    return bed_words(bed, slice_from_text(bytes));
}

static void ack(struct repl_bed *bed, struct fake_client *client)
{
    char line[64];
    snprintf(line, sizeof line, "REPLCONF ACK %lld", (long long)backlog_end(&bed->repl->backlog));
    (void)say_as(&bed->fixture, client, line); /* Takes what it was sent before, too. */
}

static struct replica *replica_in(struct fake_client *client)
{
    return client->session.slots[SESSION_SLOT_REPL];
}

static bool has_line(struct repl_bed *bed, const char *line)
{
    struct buf info;
    buf_init(&info);
    repl_info(bed->repl, &info);
    buf_append_byte(&info, '\0');
    bool is_there = strstr(info.data, line) != NULL;
    if (!is_there) {
        fprintf(stderr, "%s\nlacks %s\n", info.data, line);
    }
    buf_deinit(&info);
    return is_there;
}

TEST(primary, a_replica_goes_on_where_it_was)
{
    struct repl_bed bed;
    struct fake_client replica;
    bed_open(&bed);
    bed_begin(&bed);
    (void)say(&bed.fixture, "set a 1");
    int64_t next = backlog_end(&bed.repl->backlog) + 1;
    (void)say(&bed.fixture, "set b 1");
    attach(&bed, &replica, next);
    CHECK(is_text(received(&bed, &replica), "set b 1"));
    (void)say(&bed.fixture, "set c 1");
    CHECK(is_text(received(&bed, &replica), "set c 1"));
    CHECK(is_text(received(&bed, &replica), ""));
    CHECK(session_kind(&replica.session) == SESSION_KIND_REPLICA);
    CHECK(has_line(&bed, "connected_slaves:1\r\n"));
    CHECK(has_line(&bed, "slave0:ip=10.0.0.1,port=7002,state=online,offset=0,lag=0\r\n"));
    CHECK(is_text(say_as(&bed.fixture, &replica, "ping"), "")); /* Nothing but the stream. */
    ack(&bed, &replica);
    bed_pass_ms(&bed, 2000);
    CHECK(has_line(&bed, ",state=online,offset=104,lag=2\r\n"));
    fake_shut(&replica);
    CHECK(has_line(&bed, "connected_slaves:0\r\n"));
    bed_shut(&bed);
}

TEST(primary, what_is_not_ours_is_not_continued)
{
    struct repl_bed bed;
    struct fake_client stranger;
    char line[128];
    const char *other = "1234567890123456789012345678901234567890";
    bed_open(&bed);
    bed_begin(&bed);
    (void)say(&bed.fixture, "set a 1");
    long long end = (long long)backlog_end(&bed.repl->backlog);
    fake_open(&bed.fixture, &stranger, "10.0.0.2:5000");
    snprintf(line, sizeof line, "PSYNC %s 1", other);
    CHECK(strncmp(say_as(&bed.fixture, &stranger, line), "+CONTINUE", 9) != 0);
    fake_shut(&stranger);
    fake_open(&bed.fixture, &stranger, "10.0.0.2:5000");
    snprintf(line, sizeof line, "PSYNC %s %lld", bed.repl->id, end + 2);
    CHECK(strncmp(say_as(&bed.fixture, &stranger, line), "+CONTINUE", 9) != 0);
    CHECK(bed.repl->stats.sync_partial_ok == 0 && bed.repl->stats.sync_partial_err == 2);
    fake_shut(&stranger);
    bed_shut(&bed);
}

TEST(primary, the_second_id_is_good_up_to_the_promotion)
{
    struct repl_bed bed;
    struct fake_client replica;
    char line[128];
    char wanted[64];
    bed_open(&bed);
    bed_begin(&bed);
    (void)say(&bed.fixture, "set a 1");
    char old[REPL_ID_LEN + 1];
    memcpy(old, bed.repl->id, sizeof old);
    repl_shift_id(bed.repl);
    feed_forget_db(bed.repl);
    long long next = (long long)backlog_end(&bed.repl->backlog) + 1;
    (void)say(&bed.fixture, "set b 1");
    fake_open(&bed.fixture, &replica, "10.0.0.1:5000");
    snprintf(line, sizeof line, "PSYNC %s %lld", old, next + 1);
    CHECK(strncmp(say_as(&bed.fixture, &replica, line), "+CONTINUE", 9) != 0);
    fake_shut(&replica);
    fake_open(&bed.fixture, &replica, "10.0.0.1:5000");
    snprintf(line, sizeof line, "PSYNC %s %lld", old, next);
    snprintf(wanted, sizeof wanted, "+CONTINUE\r\n"); /* It did not say that it takes ids. */
    CHECK(is_text(say_as(&bed.fixture, &replica, line), wanted));
    CHECK(is_text(received(&bed, &replica), "SELECT 0 | set b 1"));
    fake_shut(&replica);
    bed_shut(&bed);
}

TEST(primary, replconf_is_answered_as_redis_answers_it)
{
    struct repl_bed bed;
    bed_open(&bed);
    CHECK_SAY(&bed.fixture, "replconf", "+OK\r\n");
    CHECK_SAY(&bed.fixture, "replconf capa", "-ERR syntax error\r\n");
    CHECK_SAY(&bed.fixture, "replconf what ever", "-ERR Unrecognized REPLCONF option: what\r\n");
    CHECK_SAY(&bed.fixture, "replconf listening-port x",
              "-ERR value is not an integer or out of range\r\n");
    CHECK_SAY(&bed.fixture, "replconf capa nobody-knows", "+OK\r\n");
    CHECK_SAY(&bed.fixture, "replconf ip-address 10.0.0.7", "+OK\r\n");
    CHECK_SAY(&bed.fixture, "replconf ack 5", "");
    CHECK_SAY(&bed.fixture, "replconf getack *", "");
    CHECK_SAY(&bed.fixture, "replconf rdb-filter-only keys",
              "-ERR Unsupported rdb-filter-only option: keys\r\n");
    CHECK_SAY(&bed.fixture, "replconf rdb-filter-only functions rdb-only 1", "+OK\r\n");
    CHECK(replica_in(&bed.fixture.client)->is_rdb_only);
    CHECK(replica_in(&bed.fixture.client)->excluded == REPLICA_NO_DATA);
    bed_shut(&bed);
}

TEST(primary, pings_go_into_the_stream)
{
    struct repl_bed bed;
    struct fake_client replica;
    bed_open(&bed);
    bed_begin(&bed);
    attach(&bed, &replica, 1);
    bed_pass_ms(&bed, 10000);
    CHECK(is_text(received(&bed, &replica), "ping"));
    bed_pass_ms(&bed, 9000);
    CHECK(is_text(received(&bed, &replica), ""));
    bed_pass_ms(&bed, 1000);
    CHECK(is_text(received(&bed, &replica), "ping"));
    fake_shut(&replica);
    bed_shut(&bed);
}

TEST(primary, a_silent_replica_is_let_go)
{
    struct repl_bed bed;
    struct fake_client silent, speaking;
    bed_open(&bed);
    bed_begin(&bed);
    attach(&bed, &silent, 1);
    attach(&bed, &speaking, 1);
    for (unsigned i = 0; i < 61; i++) {
        ack(&bed, &speaking);
        bed_pass_ms(&bed, 1000);
    }
    CHECK(silent.close_count == 1 && speaking.close_count == 0);
    CHECK(!backlog_cursor_is_open(&replica_in(&silent)->cursor));
    bed_pass_ms(&bed, 1000);
    CHECK(silent.close_count == 1);
    fake_shut(&silent);
    fake_shut(&speaking);
    bed_shut(&bed);
}

TEST(primary, newlines_alone_are_signs_of_life)
{
    struct repl_bed bed;
    struct fake_client loading;
    bed_open(&bed);
    bed_begin(&bed);
    attach(&bed, &loading, 1);
    for (unsigned i = 0; i < 200; i++) {
        loading.session.bytes_in++;
        bed_pass_ms(&bed, 1000);
    }
    CHECK(loading.close_count == 0 && replica_in(&loading)->acked == 0);
    fake_shut(&loading);
    bed_shut(&bed);
}

/* Writes so many KiB. */
static void write_kib(struct repl_bed *bed, unsigned kib)
{
    char line[1100];
    memset(line, 'v', sizeof line);
    memcpy(line, "set k ", 6);
    line[1000] = '\0';
    for (unsigned i = 0; i < kib; i++) {
        (void)say(&bed->fixture, line);
    }
}

TEST(primary, a_slow_replica_is_cut_off_alone)
{
    struct repl_bed bed;
    struct fake_client slow, quick;
    bed_open(&bed);
    bed.config.output = (struct output_limit){.hard_bytes = 3 << 20};
    repl_configure(bed.repl, &bed.config);
    bed_begin(&bed);
    backlog_cursor_close(&bed.reader);
    attach(&bed, &slow, 1);
    attach(&bed, &quick, 1);
    for (unsigned i = 0; i < 40; i++) {
        write_kib(&bed, 100);
        CHECK(slow.close_count == (i > 31 ? 1 : 0) || i == 30 || i == 31);
        (void)received(&bed, &quick);
        CHECK(reply_len(&slow.reply) <= 300 * 1024); /* The rest lies in the backlog. */
    }
    CHECK(slow.close_count == 1 && quick.close_count == 0);
    for (unsigned i = 0; i < 50; i++) {
        bed_pass_ms(&bed, 10);
        (void)received(&bed, &quick);
    }
    while (backlog_trim(&bed.repl->backlog)) {
    }
    int64_t kept = backlog_end(&bed.repl->backlog) - backlog_first(&bed.repl->backlog);
    CHECK(kept < (2 << 20)); /* Nobody holds the history back any more. */
    fake_shut(&slow);
    fake_shut(&quick);
    bed_shut(&bed);
}

TEST(primary, the_soft_limit_takes_its_time)
{
    struct repl_bed bed;
    struct fake_client slow;
    bed_open(&bed);
    bed.config.output = (struct output_limit){.soft_bytes = 100000, .soft_seconds = 5};
    repl_configure(bed.repl, &bed.config);
    bed_begin(&bed);
    backlog_cursor_close(&bed.reader);
    attach(&bed, &slow, 1);
    write_kib(&bed, 600);
    bed_pass_ms(&bed, 100);
    bed_pass_ms(&bed, 4000);
    CHECK(slow.close_count == 0);
    bed_pass_ms(&bed, 2000);
    CHECK(slow.close_count == 1);
    fake_shut(&slow);
    bed_shut(&bed);
}

TEST(primary, alone_it_forgets_its_history_in_the_end)
{
    struct repl_bed bed;
    struct fake_client replica;
    char id[REPL_ID_LEN + 1];
    bed_open(&bed);
    bed_begin(&bed);
    backlog_cursor_close(&bed.reader);
    attach(&bed, &replica, 1);
    (void)say(&bed.fixture, "set a 1");
    memcpy(id, bed.repl->id, sizeof id);
    int64_t end = backlog_end(&bed.repl->backlog);
    fake_shut(&replica);
    bed_pass_ms(&bed, 3600 * 1000);
    CHECK(backlog_is_open(&bed.repl->backlog));
    bed_pass_ms(&bed, 1000);
    CHECK(!backlog_is_open(&bed.repl->backlog) && backlog_end(&bed.repl->backlog) == end);
    CHECK(strcmp(id, bed.repl->id) != 0 && has_line(&bed, "repl_backlog_active:0\r\n"));
    bed_shut(&bed);
}

/* ---- WAIT ---- */

TEST(wait, tells_how_many_have_what_was_written)
{
    struct repl_bed bed;
    struct fake_client one, two;
    bed_open(&bed);
    bed_begin(&bed);
    CHECK_SAY(&bed.fixture, "wait 0 0", ":0\r\n");
    attach(&bed, &one, 1);
    attach(&bed, &two, 1);
    CHECK_SAY(&bed.fixture, "wait 2 0", ":2\r\n"); /* It has written nothing. */
    (void)say(&bed.fixture, "set a 1");
    ack(&bed, &one);
    CHECK_SAY(&bed.fixture, "wait 1 0", ":1\r\n");
    CHECK_SAY(&bed.fixture, "wait 2 0", "");
    CHECK((bed.fixture.client.session.flags & SESSION_SUSPENDED) != 0);
    CHECK(is_text(received(&bed, &two), "SELECT 0 | set a 1 | REPLCONF GETACK *"));
    ack(&bed, &one);
    CHECK((bed.fixture.client.session.flags & SESSION_SUSPENDED) != 0);
    ack(&bed, &two);
    CHECK((bed.fixture.client.session.flags & SESSION_SUSPENDED) == 0);
    CHECK(is_text(fixture_take_reply(&bed.fixture, &bed.fixture.client.reply), ":2\r\n"));
    fake_shut(&one);
    fake_shut(&two);
    bed_shut(&bed);
}

TEST(wait, what_others_write_is_not_waited_for)
{
    struct repl_bed bed;
    struct fake_client replica, other;
    bed_open(&bed);
    bed_begin(&bed);
    attach(&bed, &replica, 1);
    fake_open(&bed.fixture, &other, "127.0.0.1:2000");
    (void)say(&bed.fixture, "set a 1");
    ack(&bed, &replica);
    (void)say_as(&bed.fixture, &other, "set b 1");
    CHECK_SAY(&bed.fixture, "wait 1 0", ":1\r\n");
    CHECK(is_text(say_as(&bed.fixture, &other, "wait 1 0"), ""));
    ack(&bed, &replica);
    CHECK(is_text(fixture_take_reply(&bed.fixture, &other.reply), ":1\r\n"));
    fake_shut(&other);
    fake_shut(&replica);
    bed_shut(&bed);
}

TEST(wait, its_time_ends)
{
    struct repl_bed bed;
    bed_open(&bed);
    CHECK_SAY(&bed.fixture, "wait 1 -1", "-ERR timeout is negative\r\n");
    CHECK_SAY(&bed.fixture, "wait x 1", "-ERR value is not an integer or out of range\r\n");
    CHECK_SAY(&bed.fixture, "wait 1 x", "-ERR timeout is not an integer or out of range\r\n");
    CHECK_SAY(&bed.fixture, "wait 1 100", "");
    CHECK(repl_due_us(bed.repl) == bed.fixture.now.mono_us + 100000);
    bed_pass_ms(&bed, 99);
    CHECK((bed.fixture.client.session.flags & SESSION_SUSPENDED) != 0);
    bed_pass_ms(&bed, 1);
    CHECK(is_text(fixture_take_reply(&bed.fixture, &bed.fixture.client.reply), ":0\r\n"));
    CHECK(repl_due_us(bed.repl) == INT64_MAX);
    bed_shut(&bed);
}

TEST(wait, others_may_end_it)
{
    struct repl_bed bed;
    struct fake_client waiting;
    char line[64];
    bed_open(&bed);
    fake_open(&bed.fixture, &waiting, "127.0.0.1:2000");
    snprintf(line, sizeof line, "client unblock %llu", (unsigned long long)waiting.session.id);
    CHECK(is_text(say_as(&bed.fixture, &waiting, "wait 1 0"), ""));
    CHECK_SAY(&bed.fixture, line, ":1\r\n");
    CHECK(is_text(fixture_take_reply(&bed.fixture, &waiting.reply), ":0\r\n"));
    CHECK(is_text(say_as(&bed.fixture, &waiting, "wait 1 0"), ""));
    snprintf(line, sizeof line, "client unblock %llu ERROR",
             (unsigned long long)waiting.session.id);
    CHECK_SAY(&bed.fixture, line, ":1\r\n");
    CHECK(is_text(fixture_take_reply(&bed.fixture, &waiting.reply),
                  "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"));
    CHECK(is_text(say_as(&bed.fixture, &waiting, "wait 1 0"), ""));
    waits_cancel_all(bed.repl, "UNBLOCKED test");
    CHECK(is_text(fixture_take_reply(&bed.fixture, &waiting.reply), "-UNBLOCKED test\r\n"));
    CHECK(is_text(say_as(&bed.fixture, &waiting, "wait 1 0"), ""));
    fake_shut(&waiting); /* It goes while it waits. */
    CHECK(bed.repl->waits.count == 0);
    bed_shut(&bed);
}

TEST(wait, inside_a_transaction_it_does_not_wait)
{
    struct repl_bed bed;
    bed_open(&bed);
    (void)say(&bed.fixture, "multi");
    (void)say(&bed.fixture, "wait 1 0");
    CHECK_SAY(&bed.fixture, "exec", "*1\r\n:0\r\n");
    bed_shut(&bed);
}

/* ---- min-replicas-to-write ---- */

TEST(wait, writes_need_replicas_that_were_heard_of)
{
    struct repl_bed bed;
    struct fake_client replica;
    bed_open(&bed);
    bed_begin(&bed);
    CHECK(repl_refuses_writes(bed.repl) == NULL);
    bed.config.replicas_min = 1;
    repl_configure(bed.repl, &bed.config);
    CHECK(strcmp(repl_refuses_writes(bed.repl), "NOREPLICAS Not enough good replicas to write.") ==
          0);
    CHECK(has_line(&bed, "min_slaves_good_slaves:0\r\n"));
    unsigned changes = bed.gate_changes;
    attach(&bed, &replica, 1);
    CHECK(repl_refuses_writes(bed.repl) == NULL && bed.gate_changes == changes + 1);
    bed_pass_ms(&bed, 10 * 1000);
    CHECK(repl_refuses_writes(bed.repl) == NULL);
    bed_pass_ms(&bed, 1000);
    CHECK(repl_refuses_writes(bed.repl) != NULL && bed.gate_changes == changes + 2);
    ack(&bed, &replica);
    CHECK(repl_refuses_writes(bed.repl) == NULL);
    fake_shut(&replica);
    CHECK(repl_refuses_writes(bed.repl) != NULL);
    bed_shut(&bed);
}
