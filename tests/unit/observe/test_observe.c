/* The slow log, latency events and watchers on an exec without a server. */
#include "observe/observe_internal.h"
#include "tests/unit/exec/fixture.h"

struct room {
    struct fixture fixture;
    struct slowlog *slowlog;
    struct latency *latency;
    struct monitor *monitor;
};

static bool begins_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static void echo_run(struct call *call)
{
    reply_ok(call->out);
}

static const struct command test_rows[] = {
    {.name = "auth",
     .run = echo_run,
     .arity = -2,
     .flags = CMD_FAST,
     .since = "1.0.0",
     .group = "connection",
     .summary = "Says OK."},
    {.name = "touch",
     .run = echo_run,
     .arity = -1,
     .flags = CMD_READONLY | CMD_FAST,
     .since = "1.0.0",
     .group = "generic",
     .summary = "Says OK."},
    {.name = "secret",
     .run = echo_run,
     .arity = -1,
     .flags = CMD_SKIP_SLOWLOG | CMD_ADMIN,
     .since = "1.0.0",
     .group = "server",
     .summary = "Says OK."},
};

static void room_init(struct room *room)
{
    fixture_init(&room->fixture);
    struct exec *exec = room->fixture.exec;
    room->slowlog = slowlog_new(exec);
    room->latency = latency_new(exec);
    room->monitor = monitor_new(exec);
    observe_register(exec, room->slowlog, room->latency, room->monitor);
    exec_register(exec, test_rows, 3, NULL);
    exec_check(exec);
}

static void room_deinit(struct room *room)
{
    monitor_free(room->monitor);
    latency_free(room->latency);
    slowlog_free(room->slowlog);
    fixture_deinit(&room->fixture);
}

TEST(slowlog, keeps_the_newest_entries_and_counts_on_after_a_reset)
{
    struct room room;
    room_init(&room);
    slowlog_configure(room.slowlog, 0, 2);
    for (int i = 0; i < 5; i++) {
        say(&room.fixture, "touch k");
    }
    slowlog_configure(room.slowlog, -1, 2);
    CHECK_SAY(&room.fixture, "slowlog len", ":2\r\n");
    CHECK(begins_with(say(&room.fixture, "slowlog get 1"), "*1\r\n*6\r\n:4\r\n:1000\r\n"));
    CHECK_SAY(&room.fixture, "slowlog reset", "+OK\r\n");
    CHECK_SAY(&room.fixture, "slowlog get", "*0\r\n");
    slowlog_configure(room.slowlog, 0, 2);
    say(&room.fixture, "touch k");
    slowlog_configure(room.slowlog, -1, 2);
    CHECK(begins_with(say(&room.fixture, "slowlog get"), "*1\r\n*6\r\n:5\r\n"));
    room_deinit(&room);
}

TEST(slowlog, hides_passwords_and_skips_commands_that_ask_for_it)
{
    struct room room;
    room_init(&room);
    slowlog_configure(room.slowlog, 0, 10);
    say(&room.fixture, "auth user hunter2");
    say(&room.fixture, "secret hunter2");
    slowlog_configure(room.slowlog, -1, 10);
    CHECK_SAY(&room.fixture, "slowlog len", ":1\r\n");
    const char *text = say(&room.fixture, "slowlog get");
    CHECK(strstr(text, "hunter2") == NULL && strstr(text, "(redacted)") != NULL);
    CHECK(strstr(text, "127.0.0.1:1000") != NULL);
    room_deinit(&room);
}

TEST(latency, keeps_the_longest_of_a_second_and_160_seconds)
{
    struct room room;
    room_init(&room);
    struct exec *exec = room.fixture.exec;
    latency_configure(room.latency, 10);
    exec_note_latency(exec, "expire-cycle", 9999);
    CHECK_SAY(&room.fixture, "latency latest", "*0\r\n");
    exec_note_latency(exec, "expire-cycle", 30000);
    exec_note_latency(exec, "expire-cycle", 20000);
    CHECK_SAY(&room.fixture, "latency history expire-cycle", "*1\r\n*2\r\n:1000\r\n:30\r\n");
    for (int i = 0; i < 200; i++) {
        room.fixture.now.wall_ms += 1000;
        exec_note_latency(exec, "expire-cycle", 15000);
    }
    CHECK(
        begins_with(say(&room.fixture, "latency history expire-cycle"), "*160\r\n*2\r\n:1041\r\n"));
    CHECK_SAY(&room.fixture, "latency latest",
              "*1\r\n*4\r\n$12\r\nexpire-cycle\r\n:1200\r\n:15\r\n:30\r\n");
    CHECK_SAY(&room.fixture, "latency reset none", ":0\r\n");
    CHECK_SAY(&room.fixture, "latency reset", ":1\r\n");
    room_deinit(&room);
}

TEST(monitor, shows_commands_of_others_with_passwords_hidden)
{
    struct room room;
    struct fake_client watcher;
    room_init(&room);
    fake_open(&room.fixture, &watcher, "127.0.0.1:2000");
    CHECK(is_text(say_as(&room.fixture, &watcher, "monitor"), "+OK\r\n"));
    CHECK(is_text(say_as(&room.fixture, &watcher, "monitor"), ""));
    say(&room.fixture, "touch a\"b");
    say(&room.fixture, "auth hunter2");
    say(&room.fixture, "secret x");
    CHECK(is_text(fixture_take_reply(&room.fixture, &watcher.reply),
                  "+1000.000000 [0 127.0.0.1:1000] \"touch\" \"a\\\"b\"\r\n"
                  "+1000.000000 [0 127.0.0.1:1000] \"auth\" \"(redacted)\"\r\n"));
    CHECK(watcher.wake_count == 2);
    fake_shut(&watcher);
    say(&room.fixture, "touch k");
    room_deinit(&room);
}

TEST(monitor, a_watcher_may_use_no_keys_until_it_is_reset)
{
    struct room room;
    room_init(&room);
    CHECK_SAY(&room.fixture, "monitor", "+OK\r\n");
    CHECK_SAY(&room.fixture, "touch k", "-ERR Replica can't interact with the keyspace\r\n");
    session_reset(&room.fixture.client.session);
    CHECK_SAY(&room.fixture, "touch k", "+OK\r\n");
    room_deinit(&room);
}

TEST(monitor, a_watcher_that_never_reads_is_closed)
{
    struct room room;
    struct fake_client watcher;
    room_init(&room);
    fake_open(&room.fixture, &watcher, "127.0.0.1:2000");
    say_as(&room.fixture, &watcher, "monitor");
    size_t len = 1024 * 1024;
    char *big = mem_zalloc(len);
    memset(big, 'x', len);
    struct slice args[] = {slice_from_text("touch"), slice_of(big, len)};
    for (int i = 0; i < 80; i++) {
        fixture_run(&room.fixture, &room.fixture.client, args, 2);
        fixture_take_reply(&room.fixture, &room.fixture.client.reply);
    }
    CHECK(watcher.close_count == 1 && !watcher.is_closed_after_replies);
    CHECK(watcher.reply.memory < (size_t)80 * 1024 * 1024);
    mem_free(big);
    fake_shut(&watcher);
    room_deinit(&room);
}
