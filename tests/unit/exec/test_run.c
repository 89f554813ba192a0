/* Running commands: refusals and their order, gates, reply modes, statistics. */
#include "exec/exec.h"

#include "exec/multi.h"
#include "tests/unit/exec/fixture.h"

/* A family of rows that do as little as can be told apart. */
struct probe {
    int run_count;
    uint32_t first_key;
    uint64_t hash;
};

static void probe_run(struct call *call)
{
    struct probe *probe = call->family;
    probe->run_count++;
    probe->first_key = call->first_key;
    probe->hash = call->first_key != 0 ? call_hash(call, call->first_key) : 0;
    reply_ok(call->out);
}

static void fail_run(struct call *call)
{
    reply_error(call->out, "WRONGTYPE probe");
    reply_error(call->out, "WRONGTYPE probe");
}

static void edit_run(struct call *call)
{
    call_changed(call, 1, "set");
    reply_ok(call->out);
}

static void quiet_edit_run(struct call *call)
{
    call_changed(call, 1, NULL);
    call_no_effect(call);
    reply_ok(call->out);
}

static void canonical_run(struct call *call)
{
    call_changed(call, 1, "incrby");
    struct slice effect[] = {slice_from_text("SET"), call->args.at[1], slice_from_text("1")};
    call_effect(call, effect, 3);
    reply_ok(call->out);
}

static void inner_run(struct call *call)
{
    struct slice args[] = {slice_from_text("edit"), call->args.at[1]};
    CHECK(exec_current_call(call->exec) == call);
    exec_run_inner(call->exec, call->session, args, 2, 0);
    CHECK(exec_current_call(call->exec) == call);
    exec_run_inner(call->exec, call->session, args, 1, 0);
    exec_run_inner(call->exec, call->session, args + 1, 1, 0);
}

#define PROBE_TEXTS .since = "1.0.0", .summary = "Probes.", .group = "test"

static const struct command probe_subcommands[] = {
    {.name = "one", .run = probe_run, .arity = 2, .flags = CMD_LOADING, PROBE_TEXTS},
    {.name = "two", .run = probe_run, .arity = -3, .keys = {{.first = 2}}, PROBE_TEXTS},
};

static const struct command probe_rows[] = {
    {.name = "probe", .run = probe_run, .arity = -1, .flags = CMD_FAST, PROBE_TEXTS},
    {.name = "keyed", .run = probe_run, .arity = 3, .keys = {{.first = 1}}, PROBE_TEXTS},
    {.name = "fail", .run = fail_run, .arity = 1, PROBE_TEXTS},
    {.name = "open", .run = probe_run, .arity = 1, .flags = CMD_NO_AUTH, PROBE_TEXTS},
    {.name = "exec", .run = probe_run, .arity = 1, PROBE_TEXTS},
    {.name = "edit", .run = edit_run, .arity = 2, .flags = CMD_WRITE, PROBE_TEXTS},
    {.name = "quiet", .run = quiet_edit_run, .arity = 2, .flags = CMD_WRITE, PROBE_TEXTS},
    {.name = "canonical", .run = canonical_run, .arity = 2, .flags = CMD_WRITE, PROBE_TEXTS},
    {.name = "outer", .run = inner_run, .arity = 2, .flags = CMD_MAY_REPLICATE, PROBE_TEXTS},
    {.name = "averyveryverylongcommandname", .run = probe_run, .arity = 1, PROBE_TEXTS},
    {.name = "box",
     .arity = -2,
     .subcommands = probe_subcommands,
     .subcommand_count = 2,
     PROBE_TEXTS},
};

struct bench {
    struct fixture fixture;
    struct probe probe;
};

static void bench_init(struct bench *bench)
{
    fixture_init(&bench->fixture);
    bench->probe = (struct probe){0};
    exec_register(bench->fixture.exec, probe_rows, sizeof(probe_rows) / sizeof(probe_rows[0]),
                  &bench->probe);
    exec_check(bench->fixture.exec);
}

static struct command_entry *entry_of(struct bench *bench, const char *name)
{
    return exec_lookup_name(bench->fixture.exec, slice_from_text(name));
}

TEST(run, names_are_found_in_any_case)
{
    struct bench bench;
    bench_init(&bench);
    CHECK_SAY(&bench.fixture, "probe", "+OK\r\n");
    CHECK_SAY(&bench.fixture, "PrObE x", "+OK\r\n");
    CHECK_SAY(&bench.fixture, "AVERYVERYVERYLONGCOMMANDNAME", "+OK\r\n");
    CHECK_SAY(&bench.fixture, "BOX ONE", "+OK\r\n");
    CHECK(bench.probe.run_count == 4);
    CHECK(bench.fixture.client.session.commands_count == 4);
    CHECK(bench.fixture.client.session.last_command == entry_of(&bench, "box|one"));
    fixture_deinit(&bench.fixture);
}

TEST(run, unknown_commands_are_quoted_up_to_their_limits)
{
    struct bench bench;
    bench_init(&bench);
    CHECK_SAY(&bench.fixture, "foo", "-ERR unknown command 'foo', with args beginning with: \r\n");
    CHECK_SAY(&bench.fixture, "FOO a b",
              "-ERR unknown command 'FOO', with args beginning with: 'a' 'b' \r\n");
    char line[400] = "foo ";
    memset(line + 4, 'y', 200);
    line[204] = ' ';
    memset(line + 205, 'z', 100);
    const char *text = say(&bench.fixture, line);
    CHECK(strlen(text) == strlen("-ERR unknown command 'foo', with args beginning with: ") + 128 +
                              strlen("'' \r\n"));
    CHECK(strchr(text, 'z') == NULL);
    struct slice odd[] = {slice_of("a\0b\r\n", 5), slice_of("", 0)};
    CHECK(fixture_run(&bench.fixture, &bench.fixture.client, odd, 2) == EXEC_DONE);
    CHECK(is_text(fixture_take_reply(&bench.fixture, &bench.fixture.client.reply),
                  "-ERR unknown command 'a', with args beginning with: '' \r\n"));
    fixture_deinit(&bench.fixture);
}

TEST(run, empty_and_overlong_names_are_unknown)
{
    struct bench bench;
    bench_init(&bench);
    struct slice empty = slice_of("", 0);
    CHECK(exec_lookup(bench.fixture.exec, &empty, 1) == NULL);
    char name[100];
    memset(name, 'p', sizeof(name));
    struct slice overlong = slice_of(name, sizeof(name));
    CHECK(exec_lookup(bench.fixture.exec, &overlong, 1) == NULL);
    for (size_t len = 1; len <= 64; len++) {
        struct slice some = slice_of(name, len);
        CHECK(exec_lookup(bench.fixture.exec, &some, 1) == NULL);
    }
    fixture_deinit(&bench.fixture);
}

TEST(run, arity_and_subcommands_are_checked)
{
    struct bench bench;
    bench_init(&bench);
    CHECK_SAY(&bench.fixture, "keyed a", "-ERR wrong number of arguments for 'keyed' command\r\n");
    CHECK_SAY(&bench.fixture, "box", "-ERR wrong number of arguments for 'box' command\r\n");
    CHECK_SAY(&bench.fixture, "box one x",
              "-ERR wrong number of arguments for 'box|one' command\r\n");
    CHECK_SAY(&bench.fixture, "box two",
              "-ERR wrong number of arguments for 'box|two' command\r\n");
    CHECK_SAY(&bench.fixture, "bOx Three", "-ERR unknown subcommand 'Three'. Try BOX HELP.\r\n");
    CHECK_SAY(&bench.fixture, "exec x",
              "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' "
              "command\r\n");
    CHECK(bench.probe.run_count == 0);
    CHECK(entry_of(&bench, "box|two")->stats.rejected == 1);
    fixture_deinit(&bench.fixture);
}

TEST(run, first_key_is_hashed_ahead)
{
    struct bench bench;
    bench_init(&bench);
    CHECK_SAY(&bench.fixture, "keyed k v", "+OK\r\n");
    CHECK(bench.probe.first_key == 1);
    CHECK(bench.probe.hash == db_hash(bench.fixture.client.session.db, slice_from_text("k")));
    CHECK_SAY(&bench.fixture, "box two k", "+OK\r\n");
    CHECK(bench.probe.first_key == 2);
    CHECK_SAY(&bench.fixture, "probe k", "+OK\r\n");
    CHECK(bench.probe.first_key == 0);
    fixture_deinit(&bench.fixture);
}

/* ---- Gates ---- */

struct gate_log {
    char order[8];
    size_t count;
    enum gate_result result;
};

static enum gate_result memory_gate(void *context, struct call *call)
{
    struct gate_log *log = context;
    log->order[log->count++] = 'm';
    if (log->result == GATE_REFUSED) {
        call_refuse(call, "OOM no room");
    }
    return log->result;
}

static enum gate_result loading_gate(void *context, struct call *call)
{
    struct gate_log *log = context;
    (void)call;
    log->order[log->count++] = 'l';
    return GATE_PASS;
}

TEST(run, gates_are_asked_by_bit_and_only_when_active)
{
    struct bench bench;
    struct gate_log log = {.result = GATE_PASS};
    bench_init(&bench);
    exec_set_gate(bench.fixture.exec, GATE_LOADING, loading_gate, &log);
    exec_set_gate(bench.fixture.exec, GATE_MEMORY, memory_gate, &log);
    CHECK_SAY(&bench.fixture, "probe", "+OK\r\n");
    CHECK(log.count == 0);
    exec_activate_gate(bench.fixture.exec, GATE_LOADING, true);
    exec_activate_gate(bench.fixture.exec, GATE_MEMORY, true);
    CHECK_SAY(&bench.fixture, "probe", "+OK\r\n");
    CHECK(strcmp(log.order, "ml") == 0);
    CHECK_SAY(&bench.fixture, "box one", "+OK\r\n"); /* CMD_LOADING: no loading gate. */
    CHECK(strcmp(log.order, "mlm") == 0);
    log.result = GATE_REFUSED;
    CHECK_SAY(&bench.fixture, "probe", "-OOM no room\r\n");
    CHECK_SAY(&bench.fixture, "exec",
              "-EXECABORT Transaction discarded because of: OOM no room\r\n");
    CHECK(strcmp(log.order, "mlmmm") == 0);
    CHECK(entry_of(&bench, "probe")->stats.rejected == 1);
    log.result = GATE_TAKEN;
    CHECK_SAY(&bench.fixture, "probe", "");
    CHECK(bench.probe.run_count == 3);
    fixture_deinit(&bench.fixture);
}

TEST(run, unauthenticated_sessions_may_only_show_who_they_are)
{
    struct bench bench;
    bench_init(&bench);
    exec_set_auth(bench.fixture.exec, &(struct exec_auth){.is_required = true});
    struct fake_client client;
    fake_open(&bench.fixture, &client, "1.2.3.4:5");
    CHECK(
        is_text(say_as(&bench.fixture, &client, "probe"), "-NOAUTH Authentication required.\r\n"));
    CHECK(is_text(say_as(&bench.fixture, &client, "keyed"),
                  "-ERR wrong number of arguments for 'keyed' command\r\n"));
    CHECK(is_text(say_as(&bench.fixture, &client, "open"), "+OK\r\n"));
    session_authenticate(&client.session, slice_from_text("default"));
    CHECK(is_text(say_as(&bench.fixture, &client, "probe"), "+OK\r\n"));
    CHECK_SAY(&bench.fixture, "probe", "+OK\r\n"); /* It was there before. */
    fake_shut(&client);
    fixture_deinit(&bench.fixture);
}

TEST(run, refusals_spoil_a_transaction)
{
    struct bench bench;
    bench_init(&bench);
    struct session *session = &bench.fixture.client.session;
    CHECK(multi_begin(session));
    CHECK(multi_verdict(session, 0) == MULTI_FREE);
    CHECK_SAY(&bench.fixture, "fail", "+QUEUED\r\n");
    CHECK(multi_verdict(session, 0) == MULTI_FREE);
    (void)say(&bench.fixture, "nosuch");
    CHECK(multi_verdict(session, 0) == MULTI_SPOILED);
    multi_end(session);
    CHECK(multi_begin(session));
    CHECK(multi_verdict(session, 0) == MULTI_FREE);
    (void)say(&bench.fixture, "keyed");
    CHECK(multi_verdict(session, 0) == MULTI_SPOILED);
    fixture_deinit(&bench.fixture);
}

/* ---- Statistics ---- */

TEST(run, errors_are_counted_by_code)
{
    struct bench bench;
    const struct error_stat *errors;
    bench_init(&bench);
    (void)say(&bench.fixture, "fail");
    (void)say(&bench.fixture, "nosuch");
    (void)say(&bench.fixture, "probe");
    CHECK(exec_error_stats(bench.fixture.exec, &errors) == 2);
    CHECK(strcmp(errors[0].code, "WRONGTYPE") == 0 && errors[0].count == 2);
    CHECK(strcmp(errors[1].code, "ERR") == 0 && errors[1].count == 1);
    CHECK(entry_of(&bench, "fail")->stats.failed == 1);
    CHECK(entry_of(&bench, "fail")->stats.calls == 1);
    CHECK(exec_stats(bench.fixture.exec)->commands_count == 2);
    CHECK(exec_stats(bench.fixture.exec)->errors_count == 3);
    CHECK(entry_of(&bench, "probe")->stats.histogram != NULL);
    exec_reset_stats(bench.fixture.exec);
    CHECK(exec_error_stats(bench.fixture.exec, &errors) == 0);
    CHECK(entry_of(&bench, "fail")->stats.calls == 0);
    CHECK(entry_of(&bench, "probe")->stats.histogram == NULL);
    fixture_deinit(&bench.fixture);
}

static void note_slow(void *context, struct call *call, int64_t duration_us)
{
    (void)call;
    CHECK(duration_us >= 0);
    ++*(int *)context;
}

TEST(run, slow_hook_sees_every_command_at_threshold_zero)
{
    struct bench bench;
    int count = 0;
    bench_init(&bench);
    exec_set_slow_hook(bench.fixture.exec, note_slow, &count, 0);
    (void)say(&bench.fixture, "probe");
    exec_set_slow_hook(bench.fixture.exec, note_slow, &count, -1);
    (void)say(&bench.fixture, "probe");
    CHECK(count == 1);
    fixture_deinit(&bench.fixture);
}

/* ---- Effects ---- */

struct sink_log {
    struct buf text;
};

static void sink_command(void *context, const struct effect *effect)
{
    struct sink_log *log = context;
    buf_printf(&log->text, "%u:", db_index(effect->db));
    for (uint32_t i = 0; i < effect->count; i++) {
        buf_append(&log->text, effect->args[i]);
        buf_append_byte(&log->text, ' ');
    }
}

static void sink_event(void *context, struct db *db, struct slice key, const char *event,
                       enum event_class event_class)
{
    struct sink_log *log = context;
    (void)db;
    buf_printf(&log->text, "<%s %.*s %d>", event, (int)key.len, key.data, (int)event_class);
}

TEST(run, effects_are_verbatim_canonical_or_none)
{
    struct bench bench;
    struct sink_log log;
    bench_init(&bench);
    buf_init(&log.text);
    exec_add_sink(bench.fixture.exec, &(struct effect_sink){.on_command = sink_command,
                                                            .on_event = sink_event,
                                                            .event_classes = EVENT_CLASSES_ALL,
                                                            .context = &log});
    (void)say(&bench.fixture, "EDIT k");
    (void)say(&bench.fixture, "quiet k");
    (void)say(&bench.fixture, "canonical k");
    (void)say(&bench.fixture, "probe k");
    exec_report_removal(bench.fixture.exec, bench.fixture.client.session.db, slice_from_text("k"),
                        "expired", EVENT_EXPIRED);
    buf_append_byte(&log.text, '\0');
    CHECK(is_text(log.text.data, "<set k 2>0:EDIT k <incrby k 2>0:SET k 1 0:DEL k <expired k 64>"));
    CHECK(exec_stats(bench.fixture.exec)->dirty == 4);
    buf_deinit(&log.text);
    fixture_deinit(&bench.fixture);
}

static void sink_begin(void *context)
{
    buf_append_text(&((struct sink_log *)context)->text, "[");
}

static void sink_end(void *context, uint64_t count)
{
    buf_printf(&((struct sink_log *)context)->text, "%d]", (int)count);
}

static void add_audience(struct exec *exec, uint32_t audience, struct sink_log *log)
{
    buf_init(&log->text);
    exec_add_sink(exec, &(struct effect_sink){.on_begin = sink_begin,
                                              .on_command = sink_command,
                                              .on_end = sink_end,
                                              .audience = audience,
                                              .context = log});
}

static bool log_holds(struct sink_log *log, const char *wanted)
{
    buf_append_byte(&log->text, '\0');
    bool is_same = is_text(log->text.data, wanted);
    buf_deinit(&log->text);
    return is_same;
}

TEST(run, effects_reach_the_audience_that_they_are_meant_for)
{
    struct bench bench;
    struct sink_log log, replicas, both;
    bench_init(&bench);
    struct exec *exec = bench.fixture.exec;
    add_audience(exec, EFFECT_FOR_LOG, &log);
    add_audience(exec, EFFECT_FOR_REPLICAS, &replicas);
    add_audience(exec, 0, &both);
    exec_set_audience(exec, EFFECT_FOR_LOG);
    (void)say(&bench.fixture, "edit l");
    exec_set_audience(exec, EFFECT_FOR_REPLICAS);
    (void)say(&bench.fixture, "edit r");
    exec_set_audience(exec, 0);
    (void)say(&bench.fixture, "edit nobody");
    exec_report_removal(exec, bench.fixture.client.session.db, slice_from_text("k"), "expired",
                        EVENT_EXPIRED);
    exec_set_audience(exec, EFFECT_FOR_ALL);
    (void)say(&bench.fixture, "edit all");
    CHECK(log_holds(&log, "[0:edit l 1][0:DEL k 1][0:edit all 1]"));
    CHECK(log_holds(&replicas, "[0:edit r 1][0:DEL k 1][0:edit all 1]"));
    CHECK(log_holds(&both, "[0:edit l 1][0:edit r 1][0:DEL k 1][0:edit all 1]"));
    fixture_deinit(&bench.fixture);
}

TEST(run, changes_move_the_versions_of_watched_keys)
{
    struct bench bench;
    bench_init(&bench);
    struct db *db = bench.fixture.client.session.db;
    struct watch *watch = db_try_watch(db, slice_from_text("k"));
    uint64_t version = db_watch_version(watch);
    (void)say(&bench.fixture, "edit other");
    CHECK(db_watch_version(watch) == version);
    (void)say(&bench.fixture, "edit k");
    CHECK(db_watch_version(watch) != version);
    db_unwatch(db, watch);
    fixture_deinit(&bench.fixture);
}

TEST(run, inner_commands_report_their_own_errors)
{
    struct bench bench;
    bench_init(&bench);
    CHECK_SAY(&bench.fixture, "outer k",
              "+OK\r\n-ERR wrong number of arguments for 'edit' command\r\n"
              "-ERR unknown command 'k', with args beginning with: \r\n");
    CHECK(entry_of(&bench, "edit")->stats.calls == 1);
    CHECK(exec_current_call(bench.fixture.exec) == NULL);
    fixture_deinit(&bench.fixture);
}

/* ---- Renaming ---- */

TEST(run, renamed_commands_answer_to_the_new_name_alone)
{
    struct bench bench;
    bench_init(&bench);
    struct exec *exec = bench.fixture.exec;
    const char *hex = "b840fc02d524045429941cc15f59e41cb7be6c52";
    CHECK(exec_rename(exec, slice_from_text("nosuch"), slice_from_text("x")) == -2);
    CHECK(exec_rename(exec, slice_from_text("probe"), slice_from_text("KEYED")) == -17);
    CHECK(exec_rename(exec, slice_from_text("PROBE"), slice_from_text(hex)) == 0);
    CHECK_SAY(&bench.fixture, hex, "+OK\r\n");
    CHECK_SAY(&bench.fixture, "probe",
              "-ERR unknown command 'probe', with args beginning with: \r\n");
    CHECK(exec_rename(exec, slice_from_text("keyed"), slice_from_text("")) == 0);
    CHECK_SAY(&bench.fixture, "keyed a b",
              "-ERR unknown command 'keyed', with args beginning with: 'a' 'b' \r\n");
    CHECK_SAY(&bench.fixture, "fail", "-WRONGTYPE probe\r\n-WRONGTYPE probe\r\n");
    fixture_deinit(&bench.fixture);
}
