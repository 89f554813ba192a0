/* Keys and walks over them: effects, events, and replies that come later. */
#include "tests/unit/commands/family.h"

FAMILY_TEST(keys, removal_and_renaming_tell_what_happened)
{
    say_through(&family->fixture, "mset a 1 b 2");
    CHECK_DOES(family, "del a none b", ":2\r\n", "del a none b;", "del:a;del:b;");
    CHECK_ANSWERS(family, "unlink a", ":0\r\n");
    say_through(&family->fixture, "set a 1");
    CHECK_DOES(family, "rename a b", "+OK\r\n", "rename a b;", "rename_from:a;rename_to:b;");
    CHECK_ANSWERS(family, "rename b b", "+OK\r\n");
    CHECK_DOES(family, "copy b c", ":1\r\n", "copy b c;", "copy_to:c;");
    CHECK_DOES(family, "move c 1", ":1\r\n", "move c 1;", "move_from:c;move_to:c;");
    CHECK_ANSWERS(family, "move none 1", ":0\r\n");
}

FAMILY_TEST(keys, expiry_is_told_as_a_moment_or_as_del)
{
    say_through(&family->fixture, "set k v");
    CHECK_DOES(family, "expire k 10", ":1\r\n", "PEXPIREAT k 1010000;", "expire:k;");
    CHECK_DOES(family, "pexpire k 20000 gt", ":1\r\n", "PEXPIREAT k 1020000;", "expire:k;");
    CHECK_ANSWERS(family, "expireat k 1015 gt", ":0\r\n");
    CHECK_THROUGH(&family->fixture, "pttl k", ":20000\r\n");
    CHECK_DOES(family, "persist k", ":1\r\n", "persist k;", "persist:k;");
    CHECK_ANSWERS(family, "persist k", ":0\r\n");
    CHECK_DOES(family, "pexpireat k 1000000", ":1\r\n", "DEL k;", "del:k;");
    CHECK_ANSWERS(family, "expire k 10", ":0\r\n");
}

FAMILY_TEST(keys, a_replica_waits_for_its_primary_to_remove)
{
    say_through(&family->fixture, "set k v");
    family->fixture.client.session.flags |= SESSION_PRIMARY;
    CHECK_DOES(family, "pexpireat k 1", ":1\r\n", "PEXPIREAT k 1;", "expire:k;");
    family->fixture.client.session.flags &= ~(uint32_t)SESSION_PRIMARY;
}

FAMILY_TEST(keys, flushes_and_swaps_are_told_as_they_came)
{
    say_through(&family->fixture, "mset a 1 b 2");
    uint64_t dirty = exec_stats(family->fixture.exec)->dirty;
    CHECK_DOES(family, "swapdb 0 1", "+OK\r\n", "swapdb 0 1;", "");
    CHECK_THROUGH(&family->fixture, "dbsize", ":0\r\n");
    CHECK_DOES(family, "flushall", "+OK\r\n", "flushall;", "");
    CHECK(exec_stats(family->fixture.exec)->dirty == dirty + 3);
    CHECK_DOES(family, "flushdb sync", "+OK\r\n", "flushdb sync;", "");
    CHECK_ANSWERS(family, "flushdb now", "-ERR syntax error\r\n");
}

/* ---- Walks that answer later ---- */

static void fill(struct family *family, unsigned count)
{
    char line[64];
    for (unsigned i = 0; i < count; i++) {
        snprintf(line, sizeof(line), "set key:%u v", i);
        say_through(&family->fixture, line);
    }
}

/* As a command that came from a connection. */
static void start(struct family *family, const char *name, const char *argument)
{
    struct slice args[] = {slice_from_text(name), slice_from_text(argument),
                           slice_from_text("COUNT"), slice_from_text("100000")};
    struct exec_plan plan;
    struct session *session = &family->fixture.client.session;
    uint32_t count = strcmp(name, "scan") == 0 ? 4 : 2;
    exec_plan(family->fixture.exec, session, args, count, &plan);
    CHECK(exec_run(family->fixture.exec, session, &plan, NULL) == EXEC_DONE);
}

FAMILY_TEST(keys, a_long_walk_suspends_and_answers_later)
{
    fill(family, 1500);
    struct fake_client *client = &family->fixture.client;
    start(family, "keys", "key:149?");
    CHECK((client->session.flags & SESSION_SUSPENDED) != 0);
    CHECK(reply_is_empty(&client->reply));
    work_drain(&family->fixture.work);
    CHECK((client->session.flags & SESSION_SUSPENDED) == 0 && client->wake_count == 1);
    CHECK(strncmp(fixture_take_reply(&family->fixture, &client->reply), "*10\r\n$8\r\nkey:149",
                  16) == 0);
    start(family, "scan", "0");
    work_drain(&family->fixture.work);
    CHECK(strncmp(fixture_take_reply(&family->fixture, &client->reply),
                  "*2\r\n$1\r\n0\r\n*1500\r\n", 18) == 0);
}

FAMILY_TEST(keys, a_walk_ends_with_its_session)
{
    struct fake_client other;
    fill(family, 1500);
    fake_open(&family->fixture, &other, "127.0.0.1:2000");
    struct slice args[] = {slice_from_text("keys"), slice_from_text("*")};
    struct exec_plan plan;
    exec_plan(family->fixture.exec, &other.session, args, 2, &plan);
    CHECK(exec_run(family->fixture.exec, &other.session, &plan, NULL) == EXEC_DONE);
    CHECK(!work_is_idle(&family->fixture.work));
    fake_shut(&other);
    CHECK(work_is_idle(&family->fixture.work));
}

FAMILY_TEST(keys, what_another_command_runs_is_answered_at_once)
{
    fill(family, 1500);
    struct fake_client *client = &family->fixture.client;
    struct slice args[] = {slice_from_text("keys"), slice_from_text("*")};
    exec_run_inner(family->fixture.exec, &client->session, args, 2, 0);
    CHECK(strncmp(fixture_take_reply(&family->fixture, &client->reply), "*1500\r\n", 7) == 0);
    CHECK(work_is_idle(&family->fixture.work));
}

FAMILY_TEST(keys, a_cursor_is_read_as_strtoul_does)
{
    CHECK_THROUGH(&family->fixture, "scan 0", "*2\r\n$1\r\n0\r\n*0\r\n");
    CHECK_THROUGH(&family->fixture, "scan +0", "*2\r\n$1\r\n0\r\n*0\r\n");
    CHECK_THROUGH(&family->fixture, "scan -1", "*2\r\n$1\r\n0\r\n*0\r\n");
    CHECK_THROUGH(&family->fixture, "scan 18446744073709551616", "-ERR invalid cursor\r\n");
    CHECK_THROUGH(&family->fixture, "scan 1x", "-ERR invalid cursor\r\n");
    CHECK_THROUGH(&family->fixture, "scan -", "-ERR invalid cursor\r\n");
}
