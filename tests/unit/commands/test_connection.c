/* PING, ECHO, SELECT, AUTH, HELLO, QUIT and RESET. */
#include "commands/commands.h"

#include "tests/unit/exec/fixture.h"

static const struct connection_family family = {
    .version = "7.2.0", .mode = "standalone", .role = "master"};

static void connection_init(struct fixture *fixture)
{
    fixture_init(fixture);
    commands_register_connection(fixture->exec, &family);
    exec_check(fixture->exec);
}

static bool secret_check(void *context, struct slice user, struct slice password)
{
    (void)context;
    return slice_is(user, "default") && slice_is(password, "secret");
}

static const struct exec_auth secret = {.check = secret_check, .is_required = true};

#define HELLO_TAIL(version, id)                                                                    \
    "$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.2.0\r\n$5\r\nproto\r\n:" version      \
    "\r\n$2\r\nid\r\n:" id "\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster"     \
    "\r\n$7\r\nmodules\r\n*0\r\n"

TEST(connection, ping_and_echo)
{
    struct fixture fixture;
    connection_init(&fixture);
    CHECK_SAY(&fixture, "ping", "+PONG\r\n");
    CHECK_SAY(&fixture, "ping hi", "$2\r\nhi\r\n");
    CHECK_SAY(&fixture, "ping a b", "-ERR wrong number of arguments for 'ping' command\r\n");
    CHECK_SAY(&fixture, "echo hi", "$2\r\nhi\r\n");
    fixture.client.session.flags |= SESSION_PUBSUB;
    CHECK_SAY(&fixture, "ping", "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    CHECK_SAY(&fixture, "ping x", "*2\r\n$4\r\npong\r\n$1\r\nx\r\n");
    fixture_deinit(&fixture);
}

TEST(connection, select_checks_its_range)
{
    struct fixture fixture;
    connection_init(&fixture);
    CHECK_SAY(&fixture, "select 3", "+OK\r\n");
    CHECK(db_index(fixture.client.session.db) == 3);
    CHECK_SAY(&fixture, "select 4", "-ERR DB index is out of range\r\n");
    CHECK_SAY(&fixture, "select -1", "-ERR DB index is out of range\r\n");
    CHECK_SAY(&fixture, "select abc", "-ERR value is not an integer or out of range\r\n");
    CHECK_SAY(&fixture, "select 99999999999",
              "-ERR value is out of range, value must between -2147483648 and 2147483647\r\n");
    CHECK(db_index(fixture.client.session.db) == 3);
    fixture_deinit(&fixture);
}

TEST(connection, auth_without_a_password_set)
{
    struct fixture fixture;
    connection_init(&fixture);
    CHECK_SAY(&fixture, "auth x",
              "-ERR AUTH <password> called without any password configured for the default user. "
              "Are you sure your configuration is correct?\r\n");
    CHECK_SAY(&fixture, "auth default x", "+OK\r\n");
    CHECK_SAY(&fixture, "auth foo bar",
              "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    CHECK_SAY(&fixture, "auth a b c", "-ERR syntax error\r\n");
    fixture_deinit(&fixture);
}

TEST(connection, auth_opens_a_session_and_reset_shuts_it)
{
    struct fixture fixture;
    struct fake_client client;
    connection_init(&fixture);
    exec_set_auth(fixture.exec, &secret);
    fake_open(&fixture, &client, "1.1.1.1:1");
    CHECK(is_text(say_as(&fixture, &client, "ping"), "-NOAUTH Authentication required.\r\n"));
    CHECK(is_text(say_as(&fixture, &client, "auth nope"),
                  "-WRONGPASS invalid username-password pair or user is disabled.\r\n"));
    CHECK(
        is_text(say_as(&fixture, &client, "hello 9"), "-NOPROTO unsupported protocol version\r\n"));
    CHECK(strncmp(say_as(&fixture, &client, "hello 2"), "-NOAUTH HELLO must be called", 28) == 0);
    CHECK(is_text(say_as(&fixture, &client, "auth secret"), "+OK\r\n"));
    CHECK(is_text(say_as(&fixture, &client, "ping"), "+PONG\r\n"));
    CHECK(is_text(say_as(&fixture, &client, "reset"), "+RESET\r\n"));
    CHECK(is_text(say_as(&fixture, &client, "ping"), "-NOAUTH Authentication required.\r\n"));
    CHECK(is_text(say_as(&fixture, &client, "hello 2 auth default secret"),
                  "*14\r\n" HELLO_TAIL("2", "2")));
    fake_shut(&client);
    fixture_deinit(&fixture);
}

TEST(connection, hello_changes_all_or_nothing)
{
    struct fixture fixture;
    connection_init(&fixture);
    CHECK_SAY(&fixture, "hello abc", "-ERR Protocol version is not an integer or out of range\r\n");
    CHECK_SAY(&fixture, "hello 1", "-NOPROTO unsupported protocol version\r\n");
    CHECK_SAY(&fixture, "hello 3 SETNAME", "-ERR Syntax error in HELLO option 'SETNAME'\r\n");
    CHECK_SAY(&fixture, "hello 3 setname a\tb",
              "-ERR Client names cannot contain spaces, newlines or special characters.\r\n");
    CHECK_SAY(&fixture, "hello 3 setname x auth nouser x",
              "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    CHECK(fixture.client.session.name == NULL && fixture.client.reply.protocol == 2);
    CHECK_SAY(&fixture, "hello 3 setname me", "%7\r\n" HELLO_TAIL("3", "1"));
    CHECK(strcmp(fixture.client.session.name, "me") == 0);
    CHECK_SAY(&fixture, "hello", "%7\r\n" HELLO_TAIL("3", "1"));
    fixture_deinit(&fixture);
}

TEST(connection, quit_closes_after_its_reply)
{
    struct fixture fixture;
    connection_init(&fixture);
    CHECK_SAY(&fixture, "quit now", "+OK\r\n");
    CHECK(fixture.client.close_count == 1 && fixture.client.is_closed_after_replies);
    fixture_deinit(&fixture);
}
