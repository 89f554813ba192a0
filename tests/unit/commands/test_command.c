/* COMMAND: what it tells of rows, keys and arguments. */
#include "commands/commands.h"

#include "tests/unit/exec/fixture.h"

static void ok_run(struct call *call)
{
    reply_ok(call->out);
}

/* As the row of SET has it: what happens to the key depends on GET. */
static const struct key_spec *set_refine(const struct slice *args, uint32_t count)
{
    static const struct key_spec reads = {
        .first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_UPDATE};
    static const struct key_spec writes = {.first = 1, .access = KEY_OW, .use = KEY_USE_UPDATE};
    for (uint32_t i = 3; i < count; i++) {
        if (slice_is(args[i], "get")) {
            return &reads;
        }
    }
    return &writes;
}

#define TEXTS .run = ok_run, .since = "1.0.0", .summary = "Text.", .group = "test"

static const struct command known_rows[] = {
    {.name = "get",
     .arity = 2,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_STRING,
     .keys = {{1, 1, 1, .use = KEY_USE_ACCESS}},
     .complexity = "O(1)",
     .syntax = "key",
     TEXTS},
    {.name = "set",
     .arity = -3,
     .flags = CMD_WRITE,
     .keys = {{1, 1, 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_UPDATE, .notes = "Note.",
               .refine = set_refine}},
     TEXTS},
    {.name = "eval",
     .arity = -3,
     .flags = CMD_NO_MANDATORY_KEYS,
     .categories = ACL_SCRIPTING,
     .keys = {{2, .is_counted = true}},
     TEXTS},
    {.name = "zunion",
     .arity = -3,
     .flags = CMD_READONLY,
     .keys = {{1, .is_counted = true}},
     TEXTS},
    {.name = "substr",
     .arity = 4,
     .deprecated = "2.0.0 `GETRANGE`",
     .history = "1.1.0 One.\n1.2.0 Two words.",
     .tips = "a b",
     TEXTS},
};

static void command_init(struct fixture *fixture)
{
    fixture_init(fixture);
    commands_register_command(fixture->exec);
    exec_register(fixture->exec, known_rows, sizeof(known_rows) / sizeof(known_rows[0]), NULL);
    exec_check(fixture->exec);
}

TEST(command, info_tells_a_row_in_both_protocols)
{
    struct fixture fixture;
    command_init(&fixture);
    CHECK_SAY(&fixture, "command info get nosuch",
              "*2\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n"
              "*3\r\n+@read\r\n+@string\r\n+@fast\r\n*0\r\n*1\r\n*6\r\n$5\r\nflags\r\n*2\r\n+RO"
              "\r\n+access\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\n"
              "spec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\n"
              "range\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\n"
              "limit\r\n:0\r\n*0\r\n$-1\r\n");
    fixture.client.reply.protocol = 3;
    CHECK_SAY(&fixture, "command info eval",
              "*1\r\n*10\r\n$4\r\neval\r\n:-3\r\n~2\r\n+no_mandatory_keys\r\n+movablekeys\r\n:0"
              "\r\n:0\r\n:0\r\n~2\r\n+@slow\r\n+@scripting\r\n~0\r\n~1\r\n%3\r\n$5\r\nflags\r\n~1"
              "\r\n+RO\r\n$12\r\nbegin_search\r\n%2\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec"
              "\r\n%1\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_keys\r\n%2\r\n$4\r\ntype\r\n$6\r\nkeynum"
              "\r\n$4\r\nspec\r\n%3\r\n$9\r\nkeynumidx\r\n:0\r\n$8\r\nfirstkey\r\n:1\r\n$7\r\n"
              "keystep\r\n:1\r\n~0\r\n");
    CHECK(strstr(say(&fixture, "command info set"), "+variable_flags\r\n") != NULL);
    CHECK_SAY(&fixture, "command info command|count",
              "*1\r\n*10\r\n$13\r\ncommand|count\r\n:2\r\n~2\r\n+loading\r\n+stale\r\n:0\r\n:0\r\n"
              ":0\r\n~2\r\n+@slow\r\n+@connection\r\n~0\r\n~0\r\n~0\r\n");
    fixture_deinit(&fixture);
}

TEST(command, docs_tell_deprecation_history_and_arguments)
{
    struct fixture fixture;
    command_init(&fixture);
    CHECK_SAY(&fixture, "command docs nosuch substr",
              "*2\r\n$6\r\nsubstr\r\n*14\r\n$7\r\nsummary\r\n$5\r\nText.\r\n$5\r\nsince\r\n$5\r\n"
              "1.0.0\r\n$5\r\ngroup\r\n$4\r\ntest\r\n$9\r\ndoc_flags\r\n*1\r\n+deprecated\r\n$16"
              "\r\ndeprecated_since\r\n$5\r\n2.0.0\r\n$11\r\nreplaced_by\r\n$10\r\n`GETRANGE`\r\n"
              "$7\r\nhistory\r\n*2\r\n*2\r\n$5\r\n1.1.0\r\n$4\r\nOne.\r\n*2\r\n$5\r\n1.2.0\r\n$10"
              "\r\nTwo words.\r\n");
    fixture.client.reply.protocol = 3;
    CHECK_SAY(&fixture, "command docs get",
              "%1\r\n$3\r\nget\r\n%5\r\n$7\r\nsummary\r\n$5\r\nText.\r\n$5\r\nsince\r\n$5\r\n"
              "1.0.0\r\n$5\r\ngroup\r\n$4\r\ntest\r\n$10\r\ncomplexity\r\n$4\r\nO(1)\r\n$9\r\n"
              "arguments\r\n*1\r\n%3\r\n$4\r\nname\r\n$3\r\nkey\r\n$4\r\ntype\r\n$3\r\nkey\r\n$14"
              "\r\nkey_spec_index\r\n:0\r\n");
    fixture_deinit(&fixture);
}

TEST(command, list_and_its_filters)
{
    struct fixture fixture;
    command_init(&fixture);
    CHECK_SAY(&fixture, "command count", ":6\r\n");
    const char *list = say(&fixture, "command list"); /* Subcommands have names too. */
    CHECK(strncmp(list, "*13\r\n$7\r\ncommand\r\n", 18) == 0);
    CHECK(strstr(list, "$13\r\ncommand|count\r\n") != NULL);
    CHECK(strstr(list, "\r\n$3\r\nget\r\n") != NULL);
    CHECK(strncmp(say(&fixture, "command"), "*6\r\n", 4) == 0);
    CHECK(strncmp(say(&fixture, "command info"), "*6\r\n", 4) == 0);
    CHECK(strncmp(say(&fixture, "command docs"), "*12\r\n", 5) == 0);
    CHECK_SAY(&fixture, "command list filterby pattern COMMAND|getkeys*",
              "*2\r\n$15\r\ncommand|getkeys\r\n$23\r\ncommand|getkeysandflags\r\n");
    CHECK_SAY(&fixture, "command list filterby aclcat scripting", "*1\r\n$4\r\neval\r\n");
    CHECK_SAY(&fixture, "command list filterby aclcat nosuch", "*0\r\n");
    CHECK_SAY(&fixture, "command list filterby module x", "*0\r\n");
    CHECK_SAY(&fixture, "command list filterby foo x", "-ERR syntax error\r\n");
    CHECK_SAY(&fixture, "command list filterby aclcat", "-ERR syntax error\r\n");
    CHECK(exec_rename(fixture.exec, slice_from_text("get"), slice_from_text("")) == 0);
    CHECK_SAY(&fixture, "command count", ":5\r\n");
    CHECK(strncmp(say(&fixture, "command"), "*5\r\n", 4) == 0);
    fixture_deinit(&fixture);
}

TEST(command, getkeys_finds_keys_and_what_happens_to_them)
{
    struct fixture fixture;
    command_init(&fixture);
    CHECK_SAY(&fixture, "command getkeys get a", "*1\r\n$1\r\na\r\n");
    CHECK_SAY(&fixture, "command getkeysandflags set a b",
              "*1\r\n*2\r\n$1\r\na\r\n*2\r\n+OW\r\n+update\r\n");
    CHECK_SAY(&fixture, "command getkeysandflags set a b GET",
              "*1\r\n*2\r\n$1\r\na\r\n*3\r\n+RW\r\n+access\r\n+update\r\n");
    CHECK_SAY(&fixture, "command getkeys eval s 2147483647 a", "*0\r\n");
    CHECK_SAY(&fixture, "command getkeys zunion 9 a",
              "-ERR Invalid arguments specified for command\r\n");
    CHECK_SAY(&fixture, "command getkeys nosuch a", "-ERR Invalid command specified\r\n");
    CHECK_SAY(&fixture, "command getkeys substr a", "-ERR The command has no key arguments\r\n");
    CHECK_SAY(&fixture, "command getkeys set a",
              "-ERR Invalid number of arguments specified for command\r\n");
    CHECK_SAY(&fixture, "command foo", "-ERR unknown subcommand 'foo'. Try COMMAND HELP.\r\n");
    fixture_deinit(&fixture);
}
