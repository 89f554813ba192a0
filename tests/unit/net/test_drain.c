/* The drain: order, cuts, windows, suspension and fairness. */
#include "tests/unit/net/bed.h"

ON_EVERY_ENGINE(a_command_is_answered)
{
    struct client client = {0};
    client_open(&client, bed);
    client_send(&client, "*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n");
    client_expect(&client, "$2\r\nhi\r\n");
    client_send(&client, "echo inline\r\n");
    client_expect(&client, "$6\r\ninline\r\n");
    CHECK(net_stats(bed->net)->clients == 1 && net_stats(bed->net)->bytes_out == 20);
    client_close(&client);
}

ON_EVERY_ENGINE(a_pipeline_split_at_every_byte_runs_in_order)
{
    static const char TEXT[] = "*2\r\n$3\r\nLOG\r\n$1\r\na\r\n\r\n*2\r\n$3\r\nLOG\r\n$2\r\nbc\r\n"
                               "log d\r\n*0\r\n*2\r\n$3\r\nlog\r\n$0\r\n\r\n*2\r\n$3\r\nLOG\r\n"
                               "$1\r\ne\r\n";
    static const char REPLY[] = ":1\r\n:3\r\n:4\r\n:4\r\n:5\r\n";
    struct client client = {0};
    client_open(&client, bed);
    for (size_t cut = 0; cut < sizeof TEXT; cut++) {
        size_t len = sizeof TEXT - 1;
        buf_clear(&bed->log);
        client_send_bytes(&client, slice_of(TEXT, cut < len ? cut : len));
        bed_pump(bed);
        bed_pump(bed);
        client_send_bytes(&client, slice_part(slice_of(TEXT, len), cut, len));
        client_expect(&client, REPLY);
        CHECK(slice_equal(buf_slice(&bed->log), slice_from_text("abcde")));
    }
    client_close(&client);
}

ON_EVERY_ENGINE(a_pipeline_of_single_bytes_runs_in_order)
{
    static const char TEXT[] = "*3\r\n$4\r\nECHO\r\n$1\r\na\r\n$2\r\nbc\r\necho d\r\n";
    struct client client = {0};
    client_open(&client, bed);
    for (size_t i = 0; i < sizeof TEXT - 1; i++) {
        client_send_bytes(&client, slice_of(TEXT + i, 1));
        bed_pump(bed);
    }
    client_expect(&client, "$2\r\nbc\r\n$1\r\nd\r\n");
    client_close(&client);
}

/* Long enough for many windows, rounds and received buffers. */
ON_EVERY_ENGINE(a_long_pipeline_keeps_its_order)
{
    enum { COUNT = 5000 };
    struct client client = {0};
    struct buf replies;
    buf_init(&replies);
    client_open(&client, bed);
    struct rng rng;
    rng_seed(&rng, test_seed());
    for (unsigned i = 0; i < COUNT; i++) {
        unsigned width = (unsigned)rng_below(&rng, i % 100 == 0 ? 3000 : 20) + 5;
        buf_printf(&client.out, "*2\r\n$4\r\nECHO\r\n$%u\r\n%0*u\r\n", width, (int)width, i);
        buf_printf(&replies, "$%u\r\n%0*u\r\n", width, (int)width, i);
    }
    client_send_more(&client);
    client_expect_bytes(&client, buf_slice(&replies));
    CHECK(client.in.len == 0);
    buf_deinit(&replies);
    client_close(&client);
}

/* More arguments than the window keeps room for: they live in the parser. */
ON_EVERY_ENGINE(commands_with_many_arguments_run_between_others)
{
    enum { ARGS = 300 };
    struct client client = {0};
    client_open(&client, bed);
    client_send(&client, "log a\r\n");
    buf_printf(&client.out, "log b\r\n*%d\r\n$4\r\nECHO\r\n", ARGS);
    for (int i = 2; i < ARGS; i++) {
        buf_append_text(&client.out, "$3\r\nany\r\n");
    }
    buf_append_text(&client.out, "$4\r\nlast\r\nlog c\r\n");
    client_send_more(&client);
    client_expect(&client, ":1\r\n:2\r\n$4\r\nlast\r\n:3\r\n");
    client_close(&client);
}

/* The rest of a command whose beginning came before, taken in but not executed. */
static void client_deliver(struct client *client, const char *text)
{
    struct bed *bed = client->bed;
    uint64_t bytes_in = net_stats(bed->net)->bytes_in + strlen(text);
    client_send(client, text);
    while (net_stats(bed->net)->bytes_in < bytes_in) {
        (void)ring_turn(bed->ring, ring_mono_us(bed->ring) + WAIT_US);
    }
}

/* Those that came in pieces are kept by their parsers, the others are the window's. */
ON_EVERY_ENGINE(commands_that_arrive_in_one_turn_run_in_their_order)
{
    enum { COUNT = 6 };
    static const char *const begins[COUNT] = {
        "*2\r\n$3\r\nlo", "*2\r\n$3\r\nl", "", "*2\r\n$3\r\nlog", "", "*2\r\n$3"};
    static const char *const ends[COUNT] = {"g\r\n$1\r\na\r\n", "og\r\n$1\r\nb\r\n",
                                            "log c\r\n",        "\r\n$1\r\nd\r\n",
                                            "log e\r\n",        "\r\nlog\r\n$1\r\nf\r\n"};
    struct client clients[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        clients[i] = (struct client){0};
        client_open(&clients[i], bed);
        client_deliver(&clients[i], begins[i]);
        bed_settle(bed);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        client_deliver(&clients[i], ends[i]);
    }
    bed_settle(bed);
    CHECK(slice_equal(buf_slice(&bed->log), slice_from_text("abcdef")));
    for (unsigned i = 0; i < COUNT; i++) {
        client_close(&clients[i]);
    }
}

ON_EVERY_ENGINE(a_suspended_session_keeps_its_bytes)
{
    struct client client = {0};
    client_open(&client, bed);
    client_send(&client, "log a\r\nwait\r\nlog b\r\nlog c\r\n*2\r\n$3\r\nlog\r\n$1");
    client_expect(&client, ":1\r\n");
    bed_settle(bed);
    CHECK(bed->suspended != NULL && client.in.len == 0);
    client_send(&client, "\r\nd\r\nlog e\r\n");
    bed_settle(bed);
    CHECK(client.in.len == 0 && bed->log.len == 1);
    bed_resume(bed, "resumed");
    client_expect(&client, "+resumed\r\n:2\r\n:3\r\n:4\r\n:5\r\n");
    CHECK(slice_equal(buf_slice(&bed->log), slice_from_text("abcde")));
    client_close(&client);
}

/* What stood behind the command that suspended was parsed ahead and must be parsed again. */
ON_EVERY_ENGINE(parsing_ahead_of_a_suspension_is_undone)
{
    struct client client = {0};
    client_open(&client, bed);
    buf_printf(&client.out, "wait\r\n*%d\r\n$4\r\nECHO\r\n", 200);
    for (int i = 2; i < 200; i++) {
        buf_append_text(&client.out, "$1\r\n1\r\n");
    }
    client_send_more(&client);
    bed_settle(bed);
    CHECK(bed->suspended != NULL);
    client_send(&client, "$3\r\nend\r\n!\r\n");
    bed_settle(bed);
    bed_resume(bed, "go");
    client_expect(&client, "+go\r\n$3\r\nend\r\n-ERR unknown command '!'");
    client_close(&client);
}

ON_EVERY_ENGINE(a_command_held_back_is_executed_later)
{
    struct client client = {0};
    struct client other = {0};
    client_open(&client, bed);
    client_open(&other, bed);
    exec_pause(bed->exec, PAUSE_BY_CLIENT, PAUSE_ALL, INT64_MAX);
    client_send(&client, "log a\r\nlog b\r\n");
    buf_printf(&other.out, "*%d\r\n$4\r\nECHO\r\n", 101);
    for (int i = 0; i < 100; i++) {
        buf_printf(&other.out, "$2\r\n%02d\r\n", i);
    }
    buf_append_text(&other.out, "echo more\r\n");
    client_send_more(&other);
    bed_settle(bed);
    client_send(&other, "echo even more\r\n");
    bed_settle(bed);
    CHECK(bed->log.len == 0 && client.in.len == 0 && other.in.len == 0);
    exec_unpause(bed->exec, PAUSE_BY_CLIENT);
    client_expect(&client, ":1\r\n:2\r\n");
    client_expect(&other, "$2\r\n99\r\n$4\r\nmore\r\n$4\r\nmore\r\n");
    client_close(&client);
    client_close(&other);
}

ON_EVERY_ENGINE(limits_hold_until_a_client_has_authenticated)
{
    struct client client = {0};
    exec_set_auth(bed->exec, &(struct exec_auth){.is_required = true});
    client_open(&client, bed);
    client_send(&client, "auth\r\n*12\r\n$4\r\nECHO\r\n");
    for (int i = 0; i < 11; i++) {
        client_send(&client, "$1\r\nx\r\n");
    }
    client_expect(&client, "+OK\r\n$1\r\nx\r\n");
    client_close(&client);
    client_open(&client, bed);
    client_send(&client, "*12\r\n$4\r\nECHO\r\n");
    client_expect(&client, "-ERR Protocol error: unauthenticated multibulk length\r\n");
    client_expect_end(&client);
    client_close(&client);
}

static bool has_logged(const struct bed *bed, char byte)
{
    return bed->log.len > 0 && memchr(bed->log.data, byte, bed->log.len) != NULL;
}

ON_EVERY_ENGINE(an_endless_pipeline_does_not_hold_up_others)
{
    struct client greedy = {0};
    struct client modest = {0};
    client_open(&greedy, bed);
    client_open(&modest, bed);
    for (int i = 0; i < 1000; i++) {
        buf_append_text(&greedy.out, "log g\r\n");
    }
    size_t sent = greedy.out.len + strlen("log m\r\n");
    client_send_more(&greedy);
    client_send(&modest, "log m\r\n");
    /* Both are there before anything runs; tiny limits stop the greedy one earlier. */
    unsigned turns = 1;
    while (net_stats(bed->net)->bytes_in < sent && turns > 0) {
        turns = ring_turn(bed->ring, ring_mono_us(bed->ring) + WAIT_US);
    }
    while (!has_logged(bed, 'm')) {
        (void)ring_turn(bed->ring, ring_mono_us(bed->ring) + WAIT_US);
        bool is_left = true; /* One window at a time. */
        while (is_left && !has_logged(bed, 'm')) {
            is_left = net_drain(bed->net, 0);
        }
        net_flush(bed->net);
        CHECK(bed->log.len < 900);
    }
    client_close(&greedy);
    client_close(&modest);
}

ON_EVERY_ENGINE(a_deadline_leaves_work_for_the_next_drain)
{
    struct client client = {0};
    client_open(&client, bed);
    for (int i = 0; i < 200; i++) {
        buf_append_text(&client.out, "log x\r\n");
    }
    client_send_more(&client);
    size_t steps = 0;
    for (int i = 0; i < PUMPS_MAX && bed->log.len < 200; i++) {
        size_t before = bed->log.len;
        (void)ring_turn(bed->ring, ring_mono_us(bed->ring) + WAIT_US);
        (void)net_drain(bed->net, 0);
        CHECK(bed->log.len - before <= 32);
        steps += bed->log.len > before;
        net_flush(bed->net);
    }
    CHECK(bed->log.len == 200 && steps >= 7);
    client_close(&client);
}
