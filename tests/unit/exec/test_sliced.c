/* Long calls in slices: who waits for whom, and what becomes of them. */
#include "exec/sliced.h"

#include "base/clock.h"
#include "exec/exec.h"
#include "exec/multi.h"
#include "keyspace/pin.h"
#include "tests/unit/exec/fixture.h"
#include "types/string/string.h"

enum { ROUNDS = 4, SPIN_US = 60 };

/* What the test commands tell. */
struct trace {
    unsigned steps, ended, given_up, effects, units;
};

/* Longer than a slice. */
static void spin(void)
{
    int64_t end_us = clock_mono_us() + SPIN_US;
    while (clock_mono_us() < end_us) {
    }
}

/* Replies with the value so many times, and may stop after each. False: given up. */
static bool walk(struct call *call, const struct value *value)
{
    struct trace *trace = call->family;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct string_scratch scratch;
        reply_bulk(call->out, string_get(value, &scratch));
        trace->steps++;
        spin();
        if (!call_yield_sending(call)) {
            trace->given_up++;
            return false;
        }
    }
    trace->ended++;
    return true;
}

/* WALK key */
static void walk_run(struct call *call)
{
    struct value *value = call_peek(call, 1, FIND_READ);
    if (call_slice(call, SIZE_MAX)) {
        return;
    }
    reply_array(call->out, ROUNDS);
    walk(call, value);
}

/* KEEP source destination: a walk whose result is stored. */
static void keep_run(struct call *call)
{
    struct value *value = call_peek(call, 1, FIND_READ);
    if (call_slice(call, SIZE_MAX)) {
        return;
    }
    if (walk(call, value)) {
        call_insert(call, 2, string_try_new(call->args.at[2], slice_from_text("kept"), false));
        call_changed(call, 2, NULL);
    }
}

/* EDIT key */
static void edit_run(struct call *call)
{
    struct place place = call_peek_place(call, 1, 0);
    CHECK(place.value == NULL || !value_is_pinned(place.value));
    if (place.value != NULL) {
        CHECK(string_try_set(&place, slice_from_text("edited"), false));
        call_changed(call, 1, NULL);
    }
    reply_ok(call->out);
}

/* GONE key */
static void gone_run(struct call *call)
{
    struct place place = call_peek_place(call, 1, 0);
    if (place.value != NULL) {
        call_remove(call, 1, place);
        call_changed(call, 1, NULL);
    }
    reply_ok(call->out);
}

/* CHANGE key: replaces the text step by step; its last effects are long. */
static void change_run(struct call *call)
{
    struct trace *trace = call->family;
    struct place place;
    if (!call_find_place(call, 1, VALUE_STRING, &place) || call_slice_editing(call, SIZE_MAX)) {
        return;
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        string_try_edit(&place, 4)[i] = 'X';
        trace->steps++;
        spin();
        (void)call_yield(call);
    }
    struct slice effect[] = {slice_from_text("SET"), call->args.at[1]};
    for (unsigned i = 0; i < ROUNDS; i++) {
        call_effect(call, effect, 2);
        spin();
        (void)call_yield(call);
    }
    if (call_edit_done(call, 1, &place)) {
        CHECK(!value_is_pinned(place.value));
        CHECK(string_try_append(&place, slice_from_text("!")));
        call_changed(call, 1, NULL);
    }
    trace->ended++;
    reply_ok(call->out);
}

/* GROW key: longer in each step, so that its block moves; or a new one, stored at the end. */
static void grow_run(struct call *call)
{
    struct trace *trace = call->family;
    struct place place;
    if (!call_find_place(call, 1, VALUE_STRING, &place) || call_slice_editing(call, SIZE_MAX)) {
        return;
    }
    bool is_new = place.value == NULL;
    if (is_new) {
        place.value = string_try_new(call->args.at[1], slice_from_text("new"), false);
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        CHECK(string_try_append(&place, slice_from_text("and more and more and more and more")));
        trace->steps++;
        spin();
        if (!call_edit_yield(call, 1, &place)) {
            CHECK(place.value == NULL);
            break;
        }
        CHECK(is_new || value_is_pinned(place.value));
    }
    if (is_new) {
        call_insert(call, 1, place.value);
    } else if (!call_edit_done(call, 1, &place)) {
        trace->given_up++;
    } else {
        CHECK(!value_is_pinned(place.value));
        call_changed(call, 1, NULL);
    }
    trace->ended++;
    reply_ok(call->out);
}

static void ok_run(struct call *call)
{
    reply_ok(call->out);
}

#define TEXTS .since = "1.0.0", .summary = "x", .group = "test"

static const struct command rows[] = {
    {.name = "walk",
     .run = walk_run,
     .arity = 2,
     .flags = CMD_READONLY,
     .keys = {{.first = 1, .access = KEY_RO}},
     TEXTS},
    {.name = "keep",
     .run = keep_run,
     .arity = 3,
     .flags = CMD_WRITE,
     .keys = {{.first = 1, .access = KEY_RO}, {.first = 2, .access = KEY_OW}},
     TEXTS},
    {.name = "edit",
     .run = edit_run,
     .arity = 2,
     .flags = CMD_WRITE,
     .keys = {{.first = 1, .access = KEY_RW}},
     TEXTS},
    {.name = "look",
     .run = ok_run,
     .arity = 2,
     .flags = CMD_READONLY,
     .keys = {{.first = 1}},
     TEXTS},
    {.name = "change",
     .run = change_run,
     .arity = 2,
     .flags = CMD_WRITE,
     .keys = {{.first = 1, .access = KEY_RW}},
     TEXTS},
    {.name = "grow",
     .run = grow_run,
     .arity = 2,
     .flags = CMD_WRITE,
     .keys = {{.first = 1, .access = KEY_RW}},
     TEXTS},
    {.name = "save", .run = ok_run, .arity = 1, .flags = CMD_WHOLE, TEXTS},
    {.name = "gone",
     .run = gone_run,
     .arity = 2,
     .flags = CMD_WRITE,
     .keys = {{.first = 1, .access = KEY_RM}},
     TEXTS},
    {.name = "clear", .run = ok_run, .arity = 1, .flags = CMD_WRITE, TEXTS},
    {.name = "exec", .run = multi_run, .arity = 1, .flags = CMD_NOT_QUEUED, TEXTS},
    {.name = "count", .run = ok_run, .arity = 1, .flags = CMD_READONLY, TEXTS},
    {.name = "role", .run = ok_run, .arity = 1, .flags = CMD_AFTER_WRITES, TEXTS},
    {.name = "script", .run = ok_run, .arity = 1, .flags = CMD_NO_SCRIPT | CMD_MAY_PARK, TEXTS},
};

struct bed {
    struct fixture fixture;
    struct fake_client other;
    struct trace trace;
};

static void on_command(void *context, const struct effect *effect)
{
    struct trace *trace = context;
    (void)effect;
    trace->effects++;
    spin();
}

static void on_end(void *context, uint64_t count)
{
    struct trace *trace = context;
    (void)count;
    trace->units++;
}

static void bed_set(struct bed *bed, const char *key)
{
    struct db *db = keyspace_db(bed->fixture.keyspace, 0);
    struct slice name = slice_from_text(key);
    db_insert(db, db_hash(db, name), string_try_new(name, slice_from_text("text"), false));
}

static void bed_init(struct bed *bed)
{
    memset(&bed->trace, 0, sizeof(bed->trace));
    fixture_init(&bed->fixture);
    exec_register(bed->fixture.exec, rows, sizeof(rows) / sizeof(rows[0]), &bed->trace);
    exec_add_sink(
        bed->fixture.exec,
        &(struct effect_sink){.on_command = on_command, .on_end = on_end, .context = &bed->trace});
    fake_open(&bed->fixture, &bed->other, "127.0.0.1:2000");
    bed_set(bed, "a");
}

static void bed_deinit(struct bed *bed)
{
    fake_shut(&bed->other);
    fixture_deinit(&bed->fixture);
}

static const char *other_says(struct bed *bed, const char *line)
{
    return say_as(&bed->fixture, &bed->other, line);
}

/* One step of one job. */
static void step(struct bed *bed)
{
    work_run(&bed->fixture.work, INT64_MIN);
}

/* Begins and does a little of the walk that the first client asked for. */
static void begin(struct bed *bed)
{
    step(bed);
    step(bed);
    CHECK(bed->trace.steps > 0 && bed->trace.steps < ROUNDS);
}

static bool is_suspended(const struct fake_client *client)
{
    return (client->session.flags & SESSION_SUSPENDED) != 0;
}

static bool is_answered(struct bed *bed, const char *wanted)
{
    return is_text(fixture_take_reply(&bed->fixture, &bed->fixture.client.reply), wanted);
}

#define WALKED "*4\r\n$4\r\ntext\r\n$4\r\ntext\r\n$4\r\ntext\r\n$4\r\ntext\r\n"

TEST(sliced, a_walk_is_done_a_little_at_a_time)
{
    struct bed bed;
    bed_init(&bed);
    CHECK_SAY(&bed.fixture, "walk a", "");
    CHECK(is_suspended(&bed.fixture.client) && bed.trace.steps == 0);
    begin(&bed);
    CHECK(keyspace_pin_count(bed.fixture.keyspace) == 1);
    CHECK(is_text(other_says(&bed, "clear"), "+OK\r\n"));
    work_drain(&bed.fixture.work);
    CHECK(!is_suspended(&bed.fixture.client) && bed.trace.ended == 1);
    CHECK(is_answered(&bed, WALKED));
    CHECK(keyspace_pin_count(bed.fixture.keyspace) == 0);
    CHECK(keyspace_stats(bed.fixture.keyspace)->hits == 1);
    CHECK(exec_lookup_name(bed.fixture.exec, slice_from_text("walk"))->stats.calls == 1);
    bed_deinit(&bed);
}

TEST(sliced, what_would_change_the_value_waits_and_what_removes_it_does_not)
{
    struct bed bed;
    bed_init(&bed);
    say(&bed.fixture, "walk a");
    begin(&bed);
    CHECK(is_text(other_says(&bed, "edit a"), "(later)"));
    CHECK(is_suspended(&bed.other));
    work_drain(&bed.fixture.work);
    CHECK(!is_suspended(&bed.other) && is_text(other_says(&bed, "edit a"), "+OK\r\n"));
    CHECK(is_answered(&bed, WALKED));
    bed.trace.steps = 0;
    exec_tick(bed.fixture.exec);
    say(&bed.fixture, "walk a");
    begin(&bed);
    CHECK(is_text(other_says(&bed, "gone a"), "+OK\r\n"));
    work_drain(&bed.fixture.work);
    CHECK(bed.trace.ended == 2);
    bed_deinit(&bed);
}

TEST(sliced, what_is_read_for_a_result_stays_until_it_is_stored)
{
    struct bed bed;
    bed_init(&bed);
    say(&bed.fixture, "keep a b");
    begin(&bed);
    CHECK(is_text(other_says(&bed, "gone a"), "(later)"));
    CHECK(bed.trace.effects == 0);
    work_drain(&bed.fixture.work);
    CHECK(bed.trace.effects == 1 && !is_suspended(&bed.other));
    CHECK(is_text(other_says(&bed, "gone a"), "+OK\r\n") && bed.trace.effects == 2);
    bed_deinit(&bed);
}

TEST(sliced, commands_without_keys_wait_for_writers_only_and_scripts_for_all)
{
    struct bed bed;
    bed_init(&bed);
    say(&bed.fixture, "walk a");
    begin(&bed);
    CHECK(is_text(other_says(&bed, "clear"), "+OK\r\n"));
    CHECK(is_text(other_says(&bed, "script"), "(later)"));
    work_drain(&bed.fixture.work);
    CHECK(is_text(other_says(&bed, "script"), "+OK\r\n"));
    bed.trace.steps = 0;
    exec_tick(bed.fixture.exec);
    say(&bed.fixture, "keep a b");
    begin(&bed);
    CHECK(is_text(other_says(&bed, "clear"), "(later)"));
    work_drain(&bed.fixture.work);
    CHECK(is_text(other_says(&bed, "clear"), "+OK\r\n"));
    bed_deinit(&bed);
}

TEST(sliced, nobody_looks_at_a_value_that_is_half_changed)
{
    struct bed bed;
    bed_init(&bed);
    bed_set(&bed, "b");
    say(&bed.fixture, "change a");
    begin(&bed);
    CHECK(!exec_is_whole(bed.fixture.exec));
    CHECK(is_text(other_says(&bed, "look b"), "+OK\r\n"));
    CHECK(is_text(other_says(&bed, "edit b"), "+OK\r\n"));
    CHECK(is_text(other_says(&bed, "look a"), "(later)"));
    work_drain(&bed.fixture.work);
    CHECK(is_text(other_says(&bed, "look a"), "+OK\r\n"));
    CHECK(bed.trace.ended == 1 && exec_is_whole(bed.fixture.exec) && is_answered(&bed, "+OK\r\n"));
    bed_deinit(&bed);
}

static bool holds(struct bed *bed, const char *key, size_t len)
{
    struct db *db = keyspace_db(bed->fixture.keyspace, 0);
    struct slice name = slice_from_text(key);
    struct value *value = db_find(db, name, db_hash(db, name), 0, FIND_NO_TOUCH);
    db_check(db);
    return value != NULL && string_len(value) == len;
}

TEST(sliced, a_value_may_move_while_it_is_changed)
{
    struct bed bed;
    bed_init(&bed);
    say(&bed.fixture, "grow a");
    begin(&bed);
    CHECK(is_text(other_says(&bed, "look a"), "(later)"));
    for (unsigned i = 0; i < 2000; i++) { /* Others come, and the table grows: slots move. */
        char key[20];
        snprintf(key, sizeof(key), "key:%u", i);
        bed_set(&bed, key);
    }
    work_drain(&bed.fixture.work);
    CHECK(bed.trace.ended == 1 && is_answered(&bed, "+OK\r\n"));
    CHECK(holds(&bed, "a", 4 + ROUNDS * 35));
    CHECK(is_text(other_says(&bed, "look a"), "+OK\r\n"));
    CHECK(keyspace_pin_count(bed.fixture.keyspace) == 0);
    bed_deinit(&bed);
}

TEST(sliced, a_new_value_is_stored_when_it_is_complete)
{
    struct bed bed;
    bed_init(&bed);
    say(&bed.fixture, "grow new");
    begin(&bed);
    CHECK(!holds(&bed, "new", 3 + ROUNDS * 35));
    CHECK(is_text(other_says(&bed, "edit new"), "(later)"));
    work_drain(&bed.fixture.work);
    CHECK(bed.trace.ended == 1 && holds(&bed, "new", 3 + ROUNDS * 35));
    bed_deinit(&bed);
}

TEST(sliced, a_value_that_goes_while_it_is_changed_is_left_alone)
{
    struct bed bed;
    bed_init(&bed);
    say(&bed.fixture, "grow a");
    begin(&bed);
    db_flush(keyspace_db(bed.fixture.keyspace, 0), false);
    work_drain(&bed.fixture.work);
    CHECK(bed.trace.ended == 1 && bed.trace.given_up == 1 && is_answered(&bed, "+OK\r\n"));
    CHECK(keyspace_pin_count(bed.fixture.keyspace) == 0);
    bed_deinit(&bed);
}

/* Its moment comes between its beginning and its first look. */
TEST(sliced, what_is_there_when_it_begins_does_not_expire_before_its_end)
{
    struct bed bed;
    bed_init(&bed);
    struct db *db = keyspace_db(bed.fixture.keyspace, 0);
    struct slice key = slice_from_text("a");
    struct place place = db_find_place(db, key, db_hash(db, key), bed.fixture.now.wall_ms, 0);
    CHECK(db_set_expire(db, db_hash(db, key), &place, bed.fixture.now.wall_ms + 1));
    say(&bed.fixture, "grow a");
    step(&bed);
    CHECK(keyspace_pin_count(bed.fixture.keyspace) == 1 && bed.trace.steps == 0);
    bed.fixture.now.wall_ms += 2;
    work_drain(&bed.fixture.work);
    CHECK(bed.trace.ended == 1 && bed.trace.given_up == 0);
    CHECK(db_count(db) == 1);
    CHECK(db_find(db, key, db_hash(db, key), bed.fixture.now.wall_ms, 0) == NULL);
    CHECK(db_count(db) == 0);
    bed_deinit(&bed);
}

TEST(sliced, who_has_to_tell_is_finished_while_another_tells)
{
    struct bed bed;
    bed_init(&bed);
    bed_set(&bed, "b");
    other_says(&bed, "change b");
    while (bed.trace.steps < ROUNDS) {
        step(&bed);
    }
    say(&bed.fixture, "change a");
    while (bed.trace.effects == 0) {
        step(&bed);
    }
    CHECK(bed.trace.units == 0 && bed.trace.steps > ROUNDS);
    exec_make_whole(bed.fixture.exec);
    CHECK(bed.trace.ended == 2 && exec_is_whole(bed.fixture.exec));
    work_drain(&bed.fixture.work);
    CHECK(bed.trace.ended == 2 && bed.trace.units == 2);
    bed_deinit(&bed);
}

TEST(sliced, what_needs_whole_data_waits_for_a_change)
{
    struct bed bed;
    bed_init(&bed);
    say(&bed.fixture, "change a");
    begin(&bed);
    CHECK(is_text(other_says(&bed, "save"), "(later)"));
    exec_make_whole(bed.fixture.exec);
    CHECK(bed.trace.ended == 1 && exec_is_whole(bed.fixture.exec));
    CHECK(is_text(other_says(&bed, "save"), "+OK\r\n"));
    bed_deinit(&bed);
}

TEST(sliced, effects_are_gathered_while_others_write)
{
    struct bed bed;
    bed_init(&bed);
    bed_set(&bed, "b");
    say(&bed.fixture, "change a");
    while (bed.trace.steps < ROUNDS) {
        step(&bed);
    }
    step(&bed);
    CHECK(bed.trace.effects == 0);
    CHECK(is_text(other_says(&bed, "edit b"), "+OK\r\n"));
    CHECK(bed.trace.effects == 1 && bed.trace.units == 1);
    CHECK(is_text(other_says(&bed, "edit a"), "(later)"));
    work_drain(&bed.fixture.work);
    CHECK(bed.trace.effects == 1 + ROUNDS && bed.trace.units == 2);
    bed_deinit(&bed);
}

TEST(sliced, a_teller_is_one_unit_and_holds_writers)
{
    struct bed bed;
    bed_init(&bed);
    bed_set(&bed, "b");
    say(&bed.fixture, "change a");
    while (bed.trace.effects == 0) {
        step(&bed);
    }
    CHECK(bed.trace.effects < ROUNDS && bed.trace.units == 0);
    CHECK(is_text(other_says(&bed, "look b"), "+OK\r\n"));
    CHECK(is_text(other_says(&bed, "edit b"), "(later)"));
    work_drain(&bed.fixture.work);
    CHECK(bed.trace.effects == ROUNDS && bed.trace.units == 1);
    CHECK(is_text(other_says(&bed, "edit b"), "+OK\r\n") && bed.trace.units == 2);
    bed_deinit(&bed);
}

TEST(sliced, what_cannot_wait_has_the_holder_finish_first)
{
    struct bed bed;
    bed_init(&bed);
    say(&bed.fixture, "walk a");
    begin(&bed);
    struct slice args[] = {slice_from_text("edit"), slice_from_text("a")};
    exec_run_inner(bed.fixture.exec, &bed.other.session, args, 2, 0);
    CHECK(bed.trace.ended == 1 && !is_suspended(&bed.fixture.client));
    CHECK(is_answered(&bed, WALKED));
    exec_tick(bed.fixture.exec);
    bed.trace.steps = 0;
    say(&bed.fixture, "keep a b");
    begin(&bed);
    args[0] = slice_from_text("clear");
    exec_run_inner(bed.fixture.exec, &bed.other.session, args, 1, 0);
    CHECK(bed.trace.ended == 2);
    bed_deinit(&bed);
}

TEST(sliced, a_primary_waits_as_others_do)
{
    struct bed bed;
    bed_init(&bed);
    bed.other.session.flags |= SESSION_PRIMARY;
    say(&bed.fixture, "walk a");
    begin(&bed);
    CHECK(is_text(other_says(&bed, "edit a"), "(later)") && is_suspended(&bed.other));
    work_drain(&bed.fixture.work);
    CHECK(bed.trace.ended == 1 && !is_suspended(&bed.other));
    CHECK(is_text(other_says(&bed, "edit a"), "+OK\r\n"));
    bed_deinit(&bed);
}

TEST(sliced, what_a_primary_says_is_done_in_slices_and_not_answered)
{
    struct bed bed;
    bed_init(&bed);
    bed.other.session.flags |= SESSION_PRIMARY;
    other_says(&bed, "change a");
    begin(&bed);
    CHECK_SAY(&bed.fixture, "look a", "(later)");
    work_drain(&bed.fixture.work);
    CHECK(!is_suspended(&bed.other) && bed.trace.ended == 1);
    CHECK(reply_is_empty(&bed.other.reply) && bed.other.wake_count > 0);
    CHECK_SAY(&bed.fixture, "look a", "+OK\r\n");
    bed_deinit(&bed);
}

/* A transaction of a primary, of so many long commands. */
static void begin_unit(struct bed *bed, const char *line, unsigned count)
{
    bed->other.session.flags |= SESSION_PRIMARY;
    CHECK(multi_begin(&bed->other.session));
    for (unsigned i = 0; i < count; i++) {
        CHECK(is_text(other_says(bed, line), "+QUEUED\r\n"));
    }
    CHECK(is_text(other_says(bed, "exec"), ""));
    CHECK(is_suspended(&bed->other) && bed->trace.ended == 0);
    step(bed);
    CHECK(bed->trace.ended > 0 && bed->trace.ended < count);
}

TEST(sliced, a_transaction_of_a_primary_is_done_command_by_command_and_seen_as_one)
{
    struct bed bed;
    bed_init(&bed);
    bed_set(&bed, "b");
    begin_unit(&bed, "change a", 40);
    CHECK(!exec_is_whole(bed.fixture.exec));
    CHECK_SAY(&bed.fixture, "look b", "+OK\r\n");
    CHECK_SAY(&bed.fixture, "edit b", "+OK\r\n");
    CHECK_SAY(&bed.fixture, "look a", "(later)");
    work_drain(&bed.fixture.work);
    CHECK(bed.trace.ended == 40 && bed.trace.units == 1 && !is_suspended(&bed.other));
    CHECK(!multi_is_on(&bed.other.session) && exec_is_whole(bed.fixture.exec));
    CHECK_SAY(&bed.fixture, "look a", "+OK\r\n");
    bed_deinit(&bed);
}

TEST(sliced, what_looks_at_all_keys_waits_for_a_transaction_of_a_primary)
{
    struct bed bed;
    bed_init(&bed);
    begin_unit(&bed, "change a", 40);
    CHECK_SAY(&bed.fixture, "count", "(later)");
    work_drain(&bed.fixture.work);
    CHECK_SAY(&bed.fixture, "count", "+OK\r\n");
    bed_deinit(&bed);
}

TEST(sliced, what_cannot_wait_has_a_transaction_of_a_primary_done_at_once)
{
    struct bed bed;
    bed_init(&bed);
    begin_unit(&bed, "change a", 40);
    struct slice args[] = {slice_from_text("edit"), slice_from_text("a")};
    exec_run_inner(bed.fixture.exec, &bed.fixture.client.session, args, 2, 0);
    CHECK(bed.trace.ended == 40 && !is_suspended(&bed.other));
    bed.trace.ended = 0;
    begin_unit(&bed, "change a", 40);
    CHECK(exec_finish_session(bed.fixture.exec, &bed.other.session));
    CHECK(bed.trace.ended == 40);
    bed_deinit(&bed);
}

TEST(sliced, what_a_primary_said_is_finished_or_was_never_begun)
{
    struct bed bed;
    bed_init(&bed);
    bed.other.session.flags |= SESSION_PRIMARY;
    other_says(&bed, "keep a b");
    CHECK(!exec_finish_session(bed.fixture.exec, &bed.other.session));
    fake_shut(&bed.other);
    work_drain(&bed.fixture.work);
    CHECK(bed.trace.steps == 0 && bed.trace.effects == 0);
    fake_open(&bed.fixture, &bed.other, "127.0.0.1:2000");
    bed.other.session.flags |= SESSION_PRIMARY;
    other_says(&bed, "keep a b");
    begin(&bed);
    CHECK(exec_finish_session(bed.fixture.exec, &bed.other.session));
    CHECK(bed.trace.ended == 1 && !is_suspended(&bed.other));
    bed_deinit(&bed);
}

TEST(sliced, who_decides_on_roles_waits_for_writers_unless_they_are_paused)
{
    struct bed bed;
    bed_init(&bed);
    say(&bed.fixture, "keep a b");
    begin(&bed);
    CHECK(is_text(other_says(&bed, "role"), "(later)"));
    work_drain(&bed.fixture.work);
    CHECK(bed.trace.ended == 1 && is_text(other_says(&bed, "role"), "+OK\r\n"));
    exec_tick(bed.fixture.exec);
    bed.trace.steps = 0;
    say(&bed.fixture, "keep a b");
    begin(&bed);
    exec_pause(bed.fixture.exec, PAUSE_BY_CLIENT, PAUSE_WRITE, bed.fixture.now.wall_ms + 100);
    CHECK(is_text(other_says(&bed, "role"), "+OK\r\n"));
    exec_unpause(bed.fixture.exec, PAUSE_BY_CLIENT);
    work_drain(&bed.fixture.work);
    bed_deinit(&bed);
}

TEST(sliced, no_long_command_begins_while_somebody_is_held_back)
{
    struct bed bed;
    struct fake_client third;
    bed_init(&bed);
    fake_open(&bed.fixture, &third, "127.0.0.1:3000");
    say(&bed.fixture, "walk a");
    begin(&bed);
    other_says(&bed, "edit a");
    say_as(&bed.fixture, &third, "walk a");
    work_drain(&bed.fixture.work);
    CHECK(bed.trace.ended == 1 && is_suspended(&third) && !is_suspended(&bed.other));
    CHECK(is_text(other_says(&bed, "edit a"), "+OK\r\n"));
    exec_tick(bed.fixture.exec);
    work_drain(&bed.fixture.work);
    CHECK(bed.trace.ended == 2 && !is_suspended(&third));
    fake_shut(&third);
    bed_deinit(&bed);
}

TEST(sliced, two_that_would_change_what_the_other_reads_run_one_after_the_other)
{
    struct bed bed;
    bed_init(&bed);
    bed_set(&bed, "b");
    say(&bed.fixture, "keep a b");
    other_says(&bed, "keep b a");
    begin(&bed);
    CHECK(is_suspended(&bed.other));
    work_drain(&bed.fixture.work);
    CHECK(bed.trace.ended == 2 && bed.trace.effects == 2 && !is_suspended(&bed.other));
    bed_deinit(&bed);
}

TEST(sliced, a_reader_that_goes_gives_up_and_a_writer_goes_on)
{
    struct bed bed;
    bed_init(&bed);
    other_says(&bed, "walk a");
    begin(&bed);
    fake_shut(&bed.other);
    work_drain(&bed.fixture.work);
    CHECK(bed.trace.given_up == 1 && bed.trace.ended == 0);
    CHECK(keyspace_pin_count(bed.fixture.keyspace) == 0);
    fake_open(&bed.fixture, &bed.other, "127.0.0.1:2000");
    other_says(&bed, "walk a"); /* Goes before it began. */
    fake_shut(&bed.other);
    fake_open(&bed.fixture, &bed.other, "127.0.0.1:2000");
    bed.trace.steps = 0;
    other_says(&bed, "keep a b");
    begin(&bed);
    fake_shut(&bed.other);
    work_drain(&bed.fixture.work);
    CHECK(bed.trace.ended == 1 && bed.trace.effects == 1);
    fake_open(&bed.fixture, &bed.other, "127.0.0.1:2000");
    bed_deinit(&bed);
}

TEST(sliced, a_held_session_may_close)
{
    struct bed bed;
    bed_init(&bed);
    say(&bed.fixture, "walk a");
    begin(&bed);
    other_says(&bed, "edit a");
    fake_shut(&bed.other);
    work_drain(&bed.fixture.work);
    CHECK(bed.trace.ended == 1);
    fake_open(&bed.fixture, &bed.other, "127.0.0.1:2000");
    bed_deinit(&bed);
}

TEST(sliced, writers_rest_during_a_pause)
{
    struct bed bed;
    bed_init(&bed);
    say(&bed.fixture, "keep a b");
    begin(&bed);
    exec_pause(bed.fixture.exec, PAUSE_BY_CLIENT, PAUSE_WRITE, bed.fixture.now.wall_ms + 100);
    work_drain(&bed.fixture.work);
    CHECK(bed.trace.ended == 0 && is_suspended(&bed.fixture.client));
    exec_unpause(bed.fixture.exec, PAUSE_BY_CLIENT);
    work_drain(&bed.fixture.work);
    CHECK(bed.trace.ended == 1 && bed.trace.effects == 1);
    bed_deinit(&bed);
}

/* A reader comes while a store rests for a pause; `blocked` is what another client has asked for
 * before the pause. */
static void read_in_a_pause(const char *blocked)
{
    struct bed bed;
    struct fake_client third;
    bed_init(&bed);
    bed_set(&bed, "b");
    fake_open(&bed.fixture, &third, "127.0.0.1:3000");
    say(&bed.fixture, "keep a b");
    begin(&bed);
    other_says(&bed, blocked);
    CHECK(is_suspended(&bed.other));
    exec_pause(bed.fixture.exec, PAUSE_BY_CLIENT, PAUSE_WRITE, bed.fixture.now.wall_ms + 100);
    say_as(&bed.fixture, &third, "walk a");
    work_drain(&bed.fixture.work);
    CHECK(!is_suspended(&third) && bed.trace.ended == 1);
    CHECK(is_suspended(&bed.fixture.client)); /* The other may have been told to try again. */
    exec_unpause(bed.fixture.exec, PAUSE_BY_CLIENT);
    work_drain(&bed.fixture.work);
    exec_tick(bed.fixture.exec);
    work_drain(&bed.fixture.work);
    CHECK(!is_suspended(&bed.fixture.client) && !is_suspended(&bed.other));
    fake_shut(&third);
    bed_deinit(&bed);
}

TEST(sliced, in_a_pause_readers_pass_by_a_writer_that_is_held_back)
{
    read_in_a_pause("edit a");
}

TEST(sliced, in_a_pause_readers_pass_by_a_store_that_has_not_begun)
{
    read_in_a_pause("keep b a");
}

TEST(sliced, in_a_pause_readers_pass_by_as_many_stores_as_may_run)
{
    enum { STORES = 20 };
    struct bed bed;
    struct fake_client clients[STORES];
    bed_init(&bed);
    for (unsigned i = 0; i < STORES; i++) {
        char line[32];
        snprintf(line, sizeof(line), "keep a k%u", i);
        fake_open(&bed.fixture, &clients[i], "127.0.0.1:3000");
        say_as(&bed.fixture, &clients[i], line);
    }
    step(&bed);
    exec_pause(bed.fixture.exec, PAUSE_BY_CLIENT, PAUSE_WRITE, bed.fixture.now.wall_ms + 100);
    CHECK_SAY(&bed.fixture, "walk a", "");
    work_drain(&bed.fixture.work);
    CHECK(!is_suspended(&bed.fixture.client) && bed.trace.ended == 1);
    exec_unpause(bed.fixture.exec, PAUSE_BY_CLIENT);
    work_drain(&bed.fixture.work);
    CHECK(bed.trace.ended == 1 + STORES);
    for (unsigned i = 0; i < STORES; i++) {
        fake_shut(&clients[i]);
    }
    bed_deinit(&bed);
}

TEST(sliced, what_is_left_at_the_end_is_given_up)
{
    struct bed bed;
    bed_init(&bed);
    say(&bed.fixture, "keep a b");
    begin(&bed);
    other_says(&bed, "keep a c");
    fake_shut(&bed.other);
    fake_shut(&bed.fixture.client);
    exec_free(bed.fixture.exec);
    CHECK(bed.trace.given_up == 1 && bed.trace.effects == 0);
    work_drain(&bed.fixture.work);
    keyspace_free(bed.fixture.keyspace);
    reply_pool_deinit(&bed.fixture.pool);
    buf_deinit(&bed.fixture.text);
}
