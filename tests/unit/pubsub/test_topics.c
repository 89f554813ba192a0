/* Topics, subscriptions and fan-outs on an exec without a server. */
#include "pubsub/pubsub_internal.h"
#include "tests/unit/exec/fixture.h"

enum { CROWD = 40 };

struct room {
    struct fixture fixture;
    struct pubsub *pubsub;
    struct fake_client crowd[CROWD];
};

static void get_run(struct call *call)
{
    reply_null(call->out);
}

static const struct command get_row = {.name = "get",
                                       .run = get_run,
                                       .arity = 2,
                                       .flags = CMD_READONLY | CMD_FAST,
                                       .since = "1.0.0",
                                       .group = "string",
                                       .summary = "Says nothing."};

static void room_init(struct room *room)
{
    fixture_init(&room->fixture);
    room->pubsub = pubsub_new(room->fixture.exec, 7);
    pubsub_register(room->fixture.exec, room->pubsub);
    exec_register(room->fixture.exec, &get_row, 1, NULL);
    exec_check(room->fixture.exec);
    for (int i = 0; i < CROWD; i++) {
        fake_open(&room->fixture, &room->crowd[i], "127.0.0.1:2000");
    }
}

static void room_deinit(struct room *room)
{
    for (int i = 0; i < CROWD; i++) {
        fake_shut(&room->crowd[i]);
    }
    struct fake_client *client = &room->fixture.client;
    session_deinit(&client->session);
    reply_deinit(&client->reply);
    work_drain(&room->fixture.work);
    pubsub_check(room->pubsub);
    CHECK(room->pubsub->memory == 0);
    pubsub_free(room->pubsub);
    fake_open(&room->fixture, client, "127.0.0.1:1000"); /* For the fixture to close. */
    fixture_deinit(&room->fixture);
}

/* Runs everything that is deferred and takes what the client was answered. */
static const char *answer_of(struct room *room, struct fake_client *client)
{
    work_drain(&room->fixture.work);
    pubsub_check(room->pubsub);
    return fixture_take_reply(&room->fixture, &client->reply);
}

TEST(pubsub, a_session_is_subscribed_once_to_each_name)
{
    struct room room;
    room_init(&room);
    struct session *session = &room.fixture.client.session;
    struct slice name = slice_from_text("c");
    CHECK(topic_subscribe(room.pubsub, session, TOPIC_CHANNEL, name) == TOPIC_ADDED);
    CHECK(topic_subscribe(room.pubsub, session, TOPIC_CHANNEL, name) == TOPIC_OLD);
    CHECK(topic_subscribe(room.pubsub, session, TOPIC_PATTERN, name) == TOPIC_ADDED);
    CHECK(session->channel_count == 1 && session->pattern_count == 1);
    CHECK((session->flags & SESSION_PUBSUB) != 0 && (session->gate_bits & GATE_PUBSUB) != 0);
    CHECK(topic_unsubscribe(room.pubsub, session, TOPIC_CHANNEL, name));
    CHECK(!topic_unsubscribe(room.pubsub, session, TOPIC_CHANNEL, name));
    CHECK(topic_find(room.pubsub, TOPIC_CHANNEL, name) == NULL);
    CHECK(topic_unsubscribe(room.pubsub, session, TOPIC_PATTERN, name));
    CHECK((session->flags & SESSION_PUBSUB) == 0 && session->slots[SESSION_SLOT_PUBSUB] == NULL);
    room_deinit(&room);
}

TEST(pubsub, random_subscriptions_agree_with_a_twin)
{
    enum { NAMES = 6, STEPS = 4000 };
    struct room room;
    room_init(&room);
    bool twin[CROWD][TOPIC_KIND_COUNT][NAMES] = {0};
    for (int step = 0; step < STEPS; step++) {
        uint64_t who = rng_below(&room.fixture.rng, CROWD);
        uint64_t kind = rng_below(&room.fixture.rng, TOPIC_KIND_COUNT);
        uint64_t what = rng_below(&room.fixture.rng, NAMES);
        struct session *session = &room.crowd[who].session;
        char text[8];
        int len = snprintf(text, sizeof(text), "name%d", (int)what);
        struct slice name = slice_of(text, (size_t)len);
        bool *is_there = &twin[who][kind][what];
        if (rng_below(&room.fixture.rng, 50) == 0) {
            subscriber_end(room.pubsub, session);
            memset(twin[who], 0, sizeof(twin[who]));
        } else if (rng_below(&room.fixture.rng, 2) == 0) {
            enum topic_result result =
                topic_subscribe(room.pubsub, session, (enum topic_kind)kind, name);
            CHECK((result == TOPIC_OLD) == *is_there);
            *is_there = true;
        } else {
            CHECK(topic_unsubscribe(room.pubsub, session, (enum topic_kind)kind, name) ==
                  *is_there);
            *is_there = false;
        }
        uint32_t count = 0;
        for (int i = 0; i < CROWD; i++) {
            count += twin[i][kind][what];
        }
        struct topic *topic = topic_find(room.pubsub, (enum topic_kind)kind, name);
        CHECK(topic_live_count(room.pubsub, topic) == count);
        if (step % 7 == 0) {
            pubsub_check(room.pubsub);
        }
        if (step % 97 == 0) {
            work_drain(&room.fixture.work);
        }
    }
    room_deinit(&room);
}

TEST(pubsub, a_message_is_one_blob_for_all_of_a_protocol)
{
    struct room room;
    room_init(&room);
    for (int i = 0; i < 4; i++) {
        say_as(&room.fixture, &room.crowd[i], "subscribe c");
    }
    for (int i = 0; i < 2; i++) {
        room.crowd[i].reply.protocol = 3;
    }
    say(&room.fixture, "publish c hello");
    work_drain(&room.fixture.work);
    const struct blob *old = room.crowd[2].reply.first->blob;
    const struct blob *new = room.crowd[0].reply.first->blob;
    CHECK(old != NULL && new != NULL &&old != new);
    CHECK(old->refs == 2 && new->refs == 2);
    CHECK(room.crowd[3].reply.first->blob == old && room.crowd[1].reply.first->blob == new);
    CHECK(is_text(answer_of(&room, &room.crowd[0]),
                  ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nhello\r\n"));
    CHECK(is_text(answer_of(&room, &room.crowd[3]),
                  "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nhello\r\n"));
    room_deinit(&room);
}

/* The publisher is answered when all were served, whatever happens to them meanwhile. */
TEST(pubsub, a_fan_out_in_slices_serves_each_who_stays_once)
{
    struct room room;
    room_init(&room);
    struct fake_client *publisher = &room.fixture.client;
    struct topic *topic;
    for (int i = 0; i < CROWD; i++) {
        say_as(&room.fixture, &room.crowd[i], "subscribe c");
    }
    topic = topic_find(room.pubsub, TOPIC_CHANNEL, slice_from_text("c"));
    bool is_sliced = topic->count > FANOUT_DIRECT_MAX;
    say(&room.fixture, "publish c one");
    CHECK(((publisher->session.flags & SESSION_SUSPENDED) != 0) == is_sliced);
    if (is_sliced) {
        for (int i = 0; i < 10; i++) {
            (void)work_run(&room.fixture.work, 0);
            CHECK(room.pubsub->passing == topic);
            say_as(&room.fixture, &room.crowd[i * 4], "unsubscribe c");
            pubsub_check(room.pubsub);
        }
    }
    const char *text = answer_of(&room, publisher);
    CHECK(text[0] == (is_sliced ? ':' : '\0')); /* `say` took it when it came at once. */
    int served = 0;
    for (int i = 0; i < CROWD; i++) {
        text = answer_of(&room, &room.crowd[i]);
        const char *first = strstr(text, "message");
        CHECK(first == NULL || strstr(first + 1, "message") == NULL);
        CHECK(first != NULL || (is_sliced && i % 4 == 0));
        served += first != NULL;
    }
    CHECK(served >= CROWD - 10);
    room_deinit(&room);
}

TEST(pubsub, a_publisher_that_leaves_does_not_stop_its_message)
{
    struct room room;
    room_init(&room);
    for (int i = 0; i < CROWD; i++) {
        say_as(&room.fixture, &room.crowd[i], "psubscribe c*");
    }
    say(&room.fixture, "publish channel one");
    fake_shut(&room.fixture.client);
    work_drain(&room.fixture.work);
    CHECK(strstr(answer_of(&room, &room.crowd[CROWD - 1]), "pmessage") != NULL);
    fake_open(&room.fixture, &room.fixture.client, "127.0.0.1:1000");
    room_deinit(&room);
}

TEST(pubsub, resp2_subscribers_may_not_use_other_commands)
{
    struct room room;
    room_init(&room);
    CHECK_SAY(&room.fixture, "subscribe c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    CHECK_SAY(&room.fixture, "get k",
              "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
              "RESET are allowed in this context\r\n");
    room.fixture.client.reply.protocol = 3;
    CHECK_SAY(&room.fixture, "get k", "_\r\n");
    CHECK_SAY(&room.fixture, "publish c m", ":1\r\n>3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n");
    CHECK_SAY(&room.fixture, "unsubscribe", ">3\r\n$11\r\nunsubscribe\r\n$1\r\nc\r\n:0\r\n");
    room_deinit(&room);
}

TEST(pubsub, a_message_too_large_for_memory_is_refused_politely)
{
    struct room room;
    room_init(&room);
    say_as(&room.fixture, &room.crowd[0], "subscribe c");
    mem_fail_after(1);
    CHECK_SAY(&room.fixture, "publish c m", "-ERR out of memory\r\n");
    mem_fail_after(0);
    CHECK_SAY(&room.fixture, "publish c m", ":1\r\n");
    room_deinit(&room);
}

TEST(pubsub, events_are_told_by_key_and_by_name)
{
    struct room room;
    room_init(&room);
    struct pubsub_events events = {.classes = EVENT_STRING, .is_by_key = true, .is_by_event = true};
    say_as(&room.fixture, &room.crowd[0], "psubscribe __key*__:*");
    fixture_take_reply(&room.fixture, &room.crowd[0].reply);
    struct db *db = keyspace_db(room.fixture.keyspace, 2);
    exec_report_removal(room.fixture.exec, db, slice_from_text("k"), "expired", EVENT_EXPIRED);
    pubsub_set_events(room.pubsub, &events);
    exec_report_removal(room.fixture.exec, db, slice_from_text("k"), "expired", EVENT_EXPIRED);
    CHECK(reply_is_empty(&room.crowd[0].reply));
    events.classes = EVENT_EXPIRED;
    pubsub_set_events(room.pubsub, &events);
    exec_report_removal(room.fixture.exec, db, slice_from_text("k"), "expired", EVENT_EXPIRED);
    CHECK(is_text(answer_of(&room, &room.crowd[0]),
                  "*4\r\n$8\r\npmessage\r\n$10\r\n__key*__:*\r\n$16\r\n__keyspace@2__:k\r\n$7\r\n"
                  "expired\r\n*4\r\n$8\r\npmessage\r\n$10\r\n__key*__:*\r\n$22\r\n"
                  "__keyevent@2__:expired\r\n$1\r\nk\r\n"));
    room_deinit(&room);
}
