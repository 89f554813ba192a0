/* CLIENT and its subcommands, spoken by fake clients. */
#include "commands/commands.h"

#include "tests/unit/exec/fixture.h"

static void pong_run(struct call *call)
{
    reply_status(call->out, "PONG");
}

static const struct command pong_rows[] = {
    {.name = "ping", .run = pong_run, .arity = 1, .since = "1.0.0", .summary = "x", .group = "x"},
};

struct room {
    struct fixture fixture;
    struct fake_client other;
};

static void room_init(struct room *room)
{
    fixture_init(&room->fixture);
    commands_register_client(room->fixture.exec);
    exec_register(room->fixture.exec, pong_rows, 1, NULL);
    exec_check(room->fixture.exec);
    fake_open(&room->fixture, &room->other, "2.2.2.2:2");
}

static void room_deinit(struct room *room)
{
    fake_shut(&room->other);
    fixture_deinit(&room->fixture);
}

TEST(client, names_and_libraries)
{
    struct room room;
    room_init(&room);
    CHECK_SAY(&room.fixture, "client id", ":1\r\n");
    CHECK_SAY(&room.fixture, "client getname", "$-1\r\n");
    CHECK_SAY(&room.fixture, "client setname me", "+OK\r\n");
    CHECK_SAY(&room.fixture, "client getname", "$2\r\nme\r\n");
    CHECK_SAY(&room.fixture, "client setname a\n",
              "-ERR Client names cannot contain spaces, newlines or special characters.\r\n");
    CHECK_SAY(&room.fixture, "client setname ", "+OK\r\n");
    CHECK_SAY(&room.fixture, "client getname", "$-1\r\n");
    CHECK_SAY(&room.fixture, "client setinfo LIB-NAME x", "+OK\r\n");
    CHECK_SAY(&room.fixture, "client setinfo lib-ver a\tb",
              "-ERR lib-ver cannot contain spaces, newlines or special characters.\r\n");
    CHECK_SAY(&room.fixture, "client setinfo foo x", "-ERR Unrecognized option 'foo'\r\n");
    CHECK(strcmp(room.fixture.client.session.lib_name, "x") == 0);
    room_deinit(&room);
}

TEST(client, list_and_its_filters)
{
    struct room room;
    room_init(&room);
    const char *text = say_through(&room.fixture, "client list");
    CHECK(strstr(text, "id=1 addr=127.0.0.1:1000 ") != NULL);
    CHECK(strstr(text, " cmd=client|list ") != NULL);
    CHECK(strstr(text, "\nid=2 addr=2.2.2.2:2 ") != NULL);
    text = say_through(&room.fixture, "client list id 2 9");
    CHECK(strstr(text, "id=1 ") == NULL && strstr(text, "id=2 ") != NULL);
    room.other.session.channel_count = 1;
    text = say_through(&room.fixture, "client list type pubsub");
    CHECK(strstr(text, "id=1 ") == NULL && strstr(text, "id=2 ") != NULL);
    CHECK_THROUGH(&room.fixture, "client list type replica", "$0\r\n\r\n");
    CHECK_THROUGH(&room.fixture, "client list type foo", "-ERR Unknown client type 'foo'\r\n");
    CHECK_THROUGH(&room.fixture, "client list id", "-ERR syntax error\r\n");
    CHECK_THROUGH(&room.fixture, "client list id a", "-ERR Invalid client ID\r\n");
    CHECK_THROUGH(&room.fixture, "client list foo", "-ERR syntax error\r\n");
    room.fixture.client.reply.protocol = 3;
    CHECK_THROUGH(&room.fixture, "client list id 99", "=4\r\ntxt:\r\n");
    CHECK(strncmp(say(&room.fixture, "client info"), "=", 1) == 0);
    room_deinit(&room);
}

TEST(client, kill_by_address)
{
    struct room room;
    room_init(&room);
    CHECK_THROUGH(&room.fixture, "client kill 1.2.3.4:5", "-ERR No such client\r\n");
    CHECK_THROUGH(&room.fixture, "client kill 2.2.2.2:2", "+OK\r\n");
    CHECK(room.other.close_count == 1 && !room.other.is_closed_after_replies);
    CHECK_THROUGH(&room.fixture, "client kill 2.2.2.2:2", "-ERR No such client\r\n");
    CHECK_THROUGH(&room.fixture, "client kill 127.0.0.1:1000", "+OK\r\n");
    CHECK(room.fixture.client.close_count == 1 && room.fixture.client.is_closed_after_replies);
    room_deinit(&room);
}

TEST(client, kill_by_filters)
{
    struct room room;
    room_init(&room);
    CHECK_THROUGH(&room.fixture, "client kill id 9", ":0\r\n");
    CHECK_THROUGH(&room.fixture, "client kill id 1", ":0\r\n"); /* Oneself, by default spared. */
    CHECK_THROUGH(&room.fixture, "client kill id 2 addr 9.9.9.9:9", ":0\r\n");
    CHECK_THROUGH(&room.fixture, "client kill type normal laddr 127.0.0.1:6379 user default",
                  ":1\r\n");
    CHECK(room.other.close_count == 1 && room.fixture.client.close_count == 0);
    CHECK_THROUGH(&room.fixture, "client kill id 1 skipme no", ":1\r\n");
    CHECK(room.fixture.client.close_count == 1 && room.fixture.client.is_closed_after_replies);
    room_deinit(&room);
}

TEST(client, kill_filters_are_read_strictly)
{
    struct room room;
    room_init(&room);
    CHECK_THROUGH(&room.fixture, "client kill id abc",
                  "-ERR client-id should be greater than 0\r\n");
    CHECK_THROUGH(&room.fixture, "client kill id -5",
                  "-ERR client-id should be greater than 0\r\n");
    CHECK_THROUGH(&room.fixture, "client kill type foo", "-ERR Unknown client type 'foo'\r\n");
    CHECK_THROUGH(&room.fixture, "client kill user nouser", "-ERR No such user 'nouser'\r\n");
    CHECK_THROUGH(&room.fixture, "client kill skipme maybe", "-ERR syntax error\r\n");
    CHECK_THROUGH(&room.fixture, "client kill foo bar", "-ERR syntax error\r\n");
    CHECK_THROUGH(&room.fixture, "client kill id 1 addr", "-ERR syntax error\r\n");
    CHECK(room.other.close_count == 0 && room.fixture.client.close_count == 0);
    room_deinit(&room);
}

TEST(client, reply_off_and_skip)
{
    struct room room;
    room_init(&room);
    CHECK_SAY(&room.fixture, "client reply skip", "");
    CHECK_SAY(&room.fixture, "ping", "");
    CHECK_SAY(&room.fixture, "ping", "+PONG\r\n");
    CHECK_SAY(&room.fixture, "client reply off", "");
    CHECK_SAY(&room.fixture, "ping", "");
    CHECK_SAY(&room.fixture, "client reply skip", "");
    CHECK_SAY(&room.fixture, "ping", "");
    CHECK_SAY(&room.fixture, "client reply on", "+OK\r\n");
    CHECK_SAY(&room.fixture, "ping", "+PONG\r\n");
    CHECK_SAY(&room.fixture, "client reply foo", "-ERR syntax error\r\n");
    room_deinit(&room);
}

TEST(client, pause_and_unpause)
{
    struct room room;
    room_init(&room);
    CHECK_SAY(&room.fixture, "client pause abc",
              "-ERR timeout is not an integer or out of range\r\n");
    CHECK_SAY(&room.fixture, "client pause -1", "-ERR timeout is negative\r\n");
    CHECK_SAY(&room.fixture, "client pause 10 foo",
              "-ERR CLIENT PAUSE mode must be WRITE or ALL\r\n");
    CHECK_SAY(&room.fixture, "client pause 1 write x",
              "-ERR unknown subcommand or wrong number of arguments for 'pause'. Try CLIENT "
              "HELP.\r\n");
    CHECK_SAY(&room.fixture, "client pause 9223372036854775807", "+OK\r\n");
    CHECK_SAY(&room.fixture, "client pause 100 write", "+OK\r\n");
    CHECK_SAY(&room.fixture, "ping", "+PONG\r\n");
    CHECK(exec_pause_mode(room.fixture.exec) == PAUSE_WRITE);
    CHECK_SAY(&room.fixture, "client unpause", "+OK\r\n");
    CHECK_SAY(&room.fixture, "client pause 100", "+OK\r\n");
    CHECK_SAY(&room.fixture, "ping", "(later)");
    exec_unpause(room.fixture.exec, PAUSE_BY_CLIENT);
    CHECK_SAY(&room.fixture, "ping", "+PONG\r\n");
    room_deinit(&room);
}

static void answer_unblock(struct session *session, bool is_error)
{
    reply_status(session->out, is_error ? "error" : "timeout");
    session_resume(session);
}

TEST(client, unblock_ends_the_wait_of_a_blocked_client)
{
    struct room room;
    room_init(&room);
    CHECK_SAY(&room.fixture, "client unblock abc",
              "-ERR value is not an integer or out of range\r\n");
    CHECK_SAY(&room.fixture, "client unblock 2 foo",
              "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR\r\n");
    CHECK_SAY(&room.fixture, "client unblock 2", ":0\r\n");
    session_suspend(&room.other.session, NULL, NULL);
    room.other.session.on_unblock = answer_unblock;
    CHECK_SAY(&room.fixture, "client unblock 2 error", ":1\r\n");
    CHECK(is_text(fixture_take_reply(&room.fixture, &room.other.reply), "+error\r\n"));
    CHECK_SAY(&room.fixture, "client unblock 2", ":0\r\n");
    room_deinit(&room);
}

TEST(client, modes_and_help)
{
    struct room room;
    room_init(&room);
    CHECK_SAY(&room.fixture, "client no-evict foo", "-ERR syntax error\r\n");
    CHECK_SAY(&room.fixture, "client no-evict on", "+OK\r\n");
    CHECK_SAY(&room.fixture, "client no-touch on", "+OK\r\n");
    CHECK(room.fixture.client.session.flags == (SESSION_NO_EVICT | SESSION_NO_TOUCH));
    CHECK_SAY(&room.fixture, "client no-touch off", "+OK\r\n");
    CHECK(strstr(say(&room.fixture, "client help"),
                 "+CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n") != NULL);
    room_deinit(&room);
}
