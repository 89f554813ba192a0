/* CLIENT PAUSE as exec does it: who waits, and who goes on when. */
#include "exec/exec.h"

#include "exec/multi.h"
#include "tests/unit/exec/fixture.h"

static void ok_run(struct call *call)
{
    reply_ok(call->out);
}

#define PAUSE_TEXTS .run = ok_run, .arity = 1, .since = "1.0.0", .summary = "x", .group = "test"

static const struct command pause_rows[] = {
    {.name = "read", .flags = CMD_READONLY, PAUSE_TEXTS},
    {.name = "write", .flags = CMD_WRITE, PAUSE_TEXTS},
    {.name = "exec", .flags = CMD_NOT_QUEUED, PAUSE_TEXTS},
};

static void pause_init(struct fixture *fixture)
{
    fixture_init(fixture);
    exec_register(fixture->exec, pause_rows, 3, NULL);
}

TEST(pause, writes_wait_until_the_deadline)
{
    struct fixture fixture;
    pause_init(&fixture);
    int64_t start_ms = fixture.now.wall_ms;
    exec_pause(fixture.exec, PAUSE_BY_CLIENT, PAUSE_WRITE, start_ms + 100);
    CHECK_SAY(&fixture, "read", "+OK\r\n");
    CHECK_SAY(&fixture, "write", "(later)");
    CHECK(fixture.client.session.commands_count == 1);
    CHECK((fixture.client.session.flags & SESSION_SUSPENDED) != 0);
    fixture.now.wall_ms = start_ms + 99;
    exec_tick(fixture.exec);
    CHECK(fixture.client.wake_count == 0 && exec_pause_mode(fixture.exec) == PAUSE_WRITE);
    fixture.now.wall_ms = start_ms + 100;
    exec_tick(fixture.exec);
    CHECK(fixture.client.wake_count == 1 && exec_pause_mode(fixture.exec) == PAUSE_NONE);
    CHECK_SAY(&fixture, "write", "+OK\r\n");
    fixture_deinit(&fixture);
}

TEST(pause, all_and_exec_and_the_exempt)
{
    struct fixture fixture;
    struct fake_client replica;
    struct fake_client other;
    pause_init(&fixture);
    fake_open(&fixture, &replica, "1.1.1.1:1");
    fake_open(&fixture, &other, "1.1.1.1:2");
    replica.session.flags |= SESSION_REPLICA;
    CHECK(multi_begin(&other.session));
    CHECK(is_text(say_as(&fixture, &other, "write"), "+QUEUED\r\n"));
    exec_pause(fixture.exec, PAUSE_BY_CLIENT, PAUSE_WRITE, fixture.now.wall_ms + 100);
    CHECK(is_text(say_as(&fixture, &other, "exec"), "(later)"));
    exec_pause(fixture.exec, PAUSE_BY_CLIENT, PAUSE_ALL, fixture.now.wall_ms + 10);
    CHECK_SAY(&fixture, "read", "(later)");
    CHECK(is_text(say_as(&fixture, &replica, "write"), "+OK\r\n"));
    fixture.now.wall_ms += 50; /* A shorter pause does not shorten the first. */
    exec_tick(fixture.exec);
    CHECK(exec_pause_mode(fixture.exec) == PAUSE_ALL);
    exec_unpause(fixture.exec, PAUSE_BY_CLIENT);
    CHECK(fixture.client.wake_count == 1 && other.wake_count == 1 && replica.wake_count == 0);
    fake_shut(&replica);
    fake_shut(&other);
    fixture_deinit(&fixture);
}

TEST(pause, a_session_that_closes_is_forgotten)
{
    struct fixture fixture;
    struct fake_client client;
    pause_init(&fixture);
    fake_open(&fixture, &client, "1.1.1.1:1");
    exec_pause(fixture.exec, PAUSE_BY_CLIENT, PAUSE_ALL, fixture.now.wall_ms + 10);
    CHECK(is_text(say_as(&fixture, &client, "read"), "(later)"));
    fake_shut(&client);
    exec_unpause(fixture.exec, PAUSE_BY_CLIENT);
    fixture_deinit(&fixture);
}

TEST(pause, reasons_stand_beside_each_other)
{
    struct fixture fixture;
    pause_init(&fixture);
    int64_t start_ms = fixture.now.wall_ms;
    exec_pause(fixture.exec, PAUSE_BY_FAILOVER, PAUSE_WRITE, INT64_MAX);
    exec_pause(fixture.exec, PAUSE_BY_CLIENT, PAUSE_ALL, start_ms + 10);
    CHECK_SAY(&fixture, "read", "(later)");
    fixture.now.wall_ms = start_ms + 10;
    exec_tick(fixture.exec); /* The strict one is over, the long one is not. */
    CHECK(fixture.client.wake_count == 1 && exec_pause_mode(fixture.exec) == PAUSE_WRITE);
    CHECK_SAY(&fixture, "write", "(later)");
    exec_unpause(fixture.exec, PAUSE_BY_CLIENT);
    CHECK(fixture.client.wake_count == 1 && exec_pause_mode(fixture.exec) == PAUSE_WRITE);
    exec_unpause(fixture.exec, PAUSE_BY_FAILOVER);
    CHECK(fixture.client.wake_count == 2 && exec_pause_mode(fixture.exec) == PAUSE_NONE);
    fixture_deinit(&fixture);
}
