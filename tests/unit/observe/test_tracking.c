/* Client-side caching on an exec without a server. */
#include "observe/tracking_internal.h"
#include "tests/unit/exec/fixture.h"

enum { CROWD = 12 };

struct room {
    struct fixture fixture;
    struct tracking *tracking;
    struct fake_client crowd[CROWD];
};

static void read_run(struct call *call)
{
    reply_ok(call->out);
}

static void write_run(struct call *call)
{
    for (uint32_t i = 1; i < call->args.count; i++) {
        call_changed(call, i, NULL);
    }
    call_no_effect(call);
    reply_ok(call->out);
}

static const struct command nothing_row = {
    .name = "id",
    .run = read_run,
    .arity = 2,
    .since = "1.0.0",
    .group = "connection",
    .summary = "Says OK.",
};

static const struct command test_rows[] = {
    {.name = "client",
     .arity = -2,
     .since = "1.0.0",
     .group = "connection",
     .summary = "Holds subcommands.",
     .subcommands = &nothing_row,
     .subcommand_count = 1},
    {.name = "get",
     .run = read_run,
     .arity = -2,
     .flags = CMD_READONLY | CMD_FAST,
     .keys = {{.first = 1, .last = -1}},
     .since = "1.0.0",
     .group = "string",
     .summary = "Says OK."},
    {.name = "set",
     .run = write_run,
     .arity = -2,
     .flags = CMD_WRITE,
     .keys = {{.first = 1, .last = -1}},
     .since = "1.0.0",
     .group = "string",
     .summary = "Changes keys."},
};

static void room_init(struct room *room)
{
    fixture_init(&room->fixture);
    struct exec *exec = room->fixture.exec;
    exec_register(exec, test_rows, 3, NULL);
    room->tracking = tracking_new(exec, 7);
    tracking_register(exec, room->tracking);
    exec_check(exec);
    for (int i = 0; i < CROWD; i++) {
        fake_open(&room->fixture, &room->crowd[i], "127.0.0.1:2000");
        room->crowd[i].reply.protocol = 3;
    }
}

static void room_deinit(struct room *room)
{
    for (int i = 0; i < CROWD; i++) {
        fake_shut(&room->crowd[i]);
    }
    struct fixture *fixture = &room->fixture;
    fake_shut(&fixture->client);
    work_drain(&fixture->work);
    CHECK(room->tracking->memory == 0);
    struct tracking_counts counts = tracking_counts(room->tracking);
    CHECK(counts.clients == 0 && counts.keys == 0 && counts.items == 0 && counts.prefixes == 0);
    tracking_free(room->tracking);
    exec_free(fixture->exec); /* What fixture_deinit does, without a client. */
    work_drain(&fixture->work);
    keyspace_free(fixture->keyspace);
    reply_pool_deinit(&fixture->pool);
    buf_deinit(&fixture->text);
}

static const char *heard(struct room *room, int who)
{
    work_drain(&room->fixture.work);
    tracking_flush(room->tracking);
    work_drain(&room->fixture.work);
    return fixture_take_reply(&room->fixture, &room->crowd[who].reply);
}

static const char *as(struct room *room, int who, const char *line)
{
    return say_as(&room->fixture, &room->crowd[who], line);
}

TEST(tracking, a_key_is_told_once_to_each_who_read_it)
{
    struct room room;
    room_init(&room);
    for (int i = 0; i < CROWD; i++) {
        CHECK(is_text(as(&room, i, "client tracking on"), "+OK\r\n"));
        as(&room, i, "get a b");
        as(&room, i, "get a");
    }
    CHECK(tracking_counts(room.tracking).keys == 2);
    CHECK(tracking_counts(room.tracking).items == (size_t)2 * CROWD);
    say(&room.fixture, "set a");
    say(&room.fixture, "set a");
    for (int i = 0; i < CROWD; i++) {
        CHECK(is_text(heard(&room, i), ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n"));
    }
    CHECK(tracking_counts(room.tracking).items == CROWD);
    room_deinit(&room);
}

TEST(tracking, ids_of_clients_that_have_gone_do_not_pile_up)
{
    struct room room;
    room_init(&room);
    as(&room, 0, "client tracking on");
    for (int i = 0; i < 200; i++) {
        fake_shut(&room.crowd[1]);
        fake_open(&room.fixture, &room.crowd[1], "127.0.0.1:2000");
        room.crowd[1].reply.protocol = 3;
        as(&room, 1, "client tracking on");
        as(&room, 1, "get k");
        CHECK(tracking_counts(room.tracking).items <= 8);
    }
    say(&room.fixture, "set k");
    CHECK(strstr(heard(&room, 1), "invalidate") != NULL);
    CHECK(tracking_counts(room.tracking).items == 0);
    room_deinit(&room);
}

TEST(tracking, the_number_of_keys_is_bounded)
{
    enum { KEYS = 300, LIMIT = 20 };
    struct room room;
    room_init(&room);
    tracking_configure(room.tracking, LIMIT);
    as(&room, 0, "client tracking on");
    for (int i = 0; i < KEYS; i++) {
        char line[32];
        snprintf(line, sizeof(line), "get key:%d", i);
        as(&room, 0, line);
        CHECK(tracking_counts(room.tracking).keys <= LIMIT);
    }
    tracking_configure(room.tracking, 3);
    work_drain(&room.fixture.work);
    CHECK(tracking_counts(room.tracking).keys == 3);
    room_deinit(&room);
}

TEST(tracking, random_reads_and_changes_agree_with_a_twin)
{
    enum { KEYS = 5, STEPS = 3000 };
    struct room room;
    room_init(&room);
    bool twin[CROWD][KEYS] = {0};  /* Must hear of the key; */
    bool stale[CROWD][KEYS] = {0}; /* may, for it read the key before it switched off. */
    bool is_on[CROWD] = {0};
    as(&room, 0, "client tracking on"); /* Somebody always tracks. */
    is_on[0] = true;
    for (int step = 0; step < STEPS; step++) {
        int who = 1 + (int)rng_below(&room.fixture.rng, CROWD - 1);
        int key = (int)rng_below(&room.fixture.rng, KEYS);
        char line[32];
        switch (rng_below(&room.fixture.rng, 8)) {
        case 0:
            as(&room, who, is_on[who] ? "client tracking off" : "client tracking on");
            is_on[who] = !is_on[who];
            for (int i = 0; i < KEYS; i++) {
                stale[who][i] |= twin[who][i];
                twin[who][i] = false;
            }
            break;
        case 1:
        case 2:
            snprintf(line, sizeof(line), "set key:%d", key);
            say(&room.fixture, line);
            for (int i = 0; i < CROWD; i++) {
                bool has_heard = strstr(heard(&room, i), line + 4) != NULL;
                CHECK(!has_heard || (is_on[i] && (twin[i][key] || stale[i][key])));
                CHECK(has_heard || !twin[i][key]);
                twin[i][key] = stale[i][key] = false;
            }
            break;
        default:
            snprintf(line, sizeof(line), "get key:%d", key);
            as(&room, who, line);
            twin[who][key] |= is_on[who];
        }
    }
    room_deinit(&room);
}

TEST(tracking, broadcasts_are_gathered_and_sorted)
{
    struct room room;
    room_init(&room);
    as(&room, 0, "client tracking on bcast prefix a prefix b noloop");
    as(&room, 1, "client tracking on bcast");
    as(&room, 0, "set b1");
    say(&room.fixture, "set a2 a1 c a2");
    CHECK(is_text(heard(&room, 0), ">2\r\n$10\r\ninvalidate\r\n*2\r\n$2\r\na1\r\n$2\r\na2\r\n"));
    CHECK(is_text(heard(&room, 1), ">2\r\n$10\r\ninvalidate\r\n*4\r\n$2\r\na1\r\n$2\r\na2\r\n"
                                   "$2\r\nb1\r\n$1\r\nc\r\n"));
    CHECK(tracking_counts(room.tracking).prefixes == 3);
    session_reset(&room.crowd[0].session);
    say(&room.fixture, "set a3");
    CHECK(is_text(heard(&room, 0), ""));
    room_deinit(&room);
}

TEST(tracking, without_memory_for_a_key_everything_is_invalid)
{
    struct room room;
    room_init(&room);
    as(&room, 0, "client tracking on");
    mem_fail_after(1);
    CHECK(is_text(as(&room, 0, "get k"), "+OK\r\n>2\r\n$10\r\ninvalidate\r\n_\r\n"));
    mem_fail_after(0);
    CHECK(tracking_counts(room.tracking).keys == 0);
    room_deinit(&room);
}
