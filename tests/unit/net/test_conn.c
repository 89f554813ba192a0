/* The life of a connection: ends of all kinds, and large values. */
#include "tests/unit/net/bed.h"

ON_EVERY_ENGINE(quit_answers_and_closes)
{
    struct client client = {0};
    client_open(&client, bed);
    client_send(&client, "log a\r\nquit\r\nlog b\r\n");
    client_expect(&client, ":1\r\n+OK\r\n");
    client_expect_end(&client);
    CHECK(bed->log.len == 1 && bed->closed == 1 && net_stats(bed->net)->clients == 0);
    client_close(&client);
}

ON_EVERY_ENGINE(a_protocol_error_is_told_before_the_end)
{
    struct client client = {0};
    client_open(&client, bed);
    client_send(&client, "log a\r\n*1\r\nx\r\nlog b\r\n");
    client_expect(&client, ":1\r\n-ERR Protocol error: expected '$', got 'x'\r\n");
    client_expect_end(&client);
    CHECK(bed->log.len == 1 && net_stats(bed->net)->protocol_errors == 1);
    client_close(&client);
}

/* Input that keeps coming behind an error is read and dropped, so that nothing resets the reply. */
ON_EVERY_ENGINE(the_end_waits_for_input_on_its_way)
{
    struct client client = {0};
    client_open(&client, bed);
    client_send(&client, "*x\r\n");
    for (int i = 0; i < 20; i++) {
        client_send(&client, "01234567890123456789012345678901234567890123456789\r\n");
        bed_pump(bed);
    }
    client_expect(&client, "-ERR Protocol error: invalid multibulk length\r\n");
    bed_settle(bed);
    for (int i = 0; i < 10 && !client.is_ended; i++) {
        net_tick(bed->net);
        bed_settle(bed);
    }
    client_expect_end(&client);
    client_close(&client);
}

ON_EVERY_ENGINE(http_is_cut_without_a_reply)
{
    struct client client = {0};
    client_open(&client, bed);
    client_send(&client, "POST / HTTP/1.1\r\nHost: x\r\n\r\n");
    client_expect_end(&client);
    client_close(&client);
}

ON_EVERY_ENGINE(a_client_may_close_itself_and_others_in_a_window)
{
    struct client clients[3] = {0};
    for (int i = 0; i < 3; i++) {
        client_open(&clients[i], bed);
    }
    client_send(&clients[1], "hello\r\n");
    client_expect(&clients[1], ":2\r\n");
    client_send(&clients[0], "kill 2\r\nlog a\r\nkill 0\r\nlog b\r\n");
    client_send(&clients[1], "echo x\r\n");
    client_send(&clients[2], "log c\r\n");
    client_expect(&clients[2], ":");
    for (int i = 0; i < PUMPS_MAX && !(clients[0].is_ended && clients[1].is_ended); i++) {
        bed_pump(bed);
    }
    CHECK(clients[0].is_ended && clients[1].is_ended && bed->log.len == 2 && bed->closed == 2);
    CHECK(memchr(bed->log.data, 'b', bed->log.len) == NULL);
    for (int i = 0; i < 3; i++) {
        client_close(&clients[i]);
    }
}

ON_EVERY_ENGINE(a_client_that_goes_while_it_blocks_is_cancelled)
{
    struct client client = {0};
    client_open(&client, bed);
    client_send(&client, "block\r\nlog a\r\n");
    bed_settle(bed);
    CHECK(bed->suspended != NULL);
    client_close(&client);
    bed_settle(bed);
    CHECK(bed->cancelled == 1 && bed->closed == 1 && net_stats(bed->net)->clients == 0);
    CHECK(bed->log.len == 0);
}

ON_EVERY_ENGINE(clients_leave_in_the_middle_of_everything)
{
    static const char *const TEXTS[] = {
        "*2\r\n$4\r\nECHO\r\n$5\r\nab",
        "*",
        "*2\r\n$4\r\nECHO\r\n$100000\r\nxxx",
        "fill 300000\r\n",
        "blob 300000\r\n",
        "wait\r\nlog a\r\n",
        "*100\r\n$1\r\na\r\n$1\r\n",
        "",
    };
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        for (int pumps = 0; pumps < 4; pumps++) {
            struct client client = {.is_deaf = pumps % 2 == 1};
            client_open(&client, bed);
            client_send(&client, TEXTS[i]);
            for (int pump = 0; pump < pumps; pump++) {
                bed_pump(bed);
            }
            client_close(&client);
            if (bed->suspended != NULL) {
                bed_resume(bed, "late");
            }
            bed_settle(bed);
            if (bed->suspended != NULL) {
                bed_resume(bed, "later");
                bed_settle(bed);
            }
            CHECK(net_stats(bed->net)->clients == 0);
        }
    }
    CHECK(bed->closed == 4 * sizeof TEXTS / sizeof *TEXTS);
}

/* A half-closed client still reads. Only the kernel's sockets can be shut one way here. */
ON_EVERY_ENGINE(a_client_that_has_sent_all_gets_its_replies)
{
    struct client client = {0};
    client_open(&client, bed);
    client_send(&client, "log a\r\nwait\r\nfill 100000\r\n*1\r\n$9\r\nincomp");
    if (bed->world == NULL) {
        while (client.send.in_flight) {
            bed_pump(bed);
        }
        CHECK(shutdown(client.fd, SHUT_WR) == 0);
    }
    client_expect(&client, ":1\r\n");
    bed_settle(bed);
    bed_resume(bed, "done");
    client_expect(&client, "+done\r\n");
    client_expect_fill(&client, 100000);
    if (bed->world == NULL) {
        client_expect_end(&client);
    }
    client_close(&client);
}

static void send_sum(struct client *client, const char *bytes, size_t len)
{
    buf_printf(&client->out, "*2\r\n$3\r\nSUM\r\n$%zu\r\n", len);
    buf_append(&client->out, slice_of(bytes, len));
    buf_append_text(&client->out, "\r\n");
    client_send_more(client);
}

/* Sizes around the bounds at which values become blobs and get receives of their own. */
ON_EVERY_ENGINE(large_values_arrive_whole)
{
    static const size_t LENS[] = {100,   127,   128,   200,   5000,   32767,
                                  32768, 40000, 65536, 98304, 150000, 300001};
    char *bytes = mem_alloc(300001);
    for (size_t i = 0; i < 300001; i++) {
        bytes[i] = (char)(i * 7 + i / 253);
    }
    struct client client = {0};
    client_open(&client, bed);
    for (size_t i = 0; i < sizeof LENS / sizeof *LENS; i++) {
        uint64_t sum = 0;
        for (size_t at = 0; at < LENS[i]; at++) {
            sum = sum * 31 + (unsigned char)bytes[at];
        }
        sum &= INT32_MAX;
        buf_append_text(&client.out, "echo before\r\n");
        send_sum(&client, bytes, LENS[i]);
        client_send(&client, "echo after\r\n");
        client_expect(&client, "$6\r\nbefore\r\n:");
        struct buf reply;
        buf_init(&reply);
        for (int pump = 0; pump < PUMPS_MAX && client.in.len == 0; pump++) {
            bed_pump(bed);
        }
        bool is_blob = client.in.data[0] == '-';
        buf_printf(&reply, "%s%llu\r\n$5\r\nafter\r\n", is_blob ? "-" : "",
                   (unsigned long long)sum);
        client_expect_bytes(&client, buf_slice(&reply));
        CHECK(!is_blob || LENS[i] >= BLOB_LEN_MIN);
        CHECK(is_blob || LENS[i] < 100000);
        buf_deinit(&reply);
    }
    mem_free(bytes);
    client_close(&client);
}

/* Ending a connection takes microseconds, and one command may end thousands. */
ON_EVERY_ENGINE(connections_that_are_killed_together_end_over_turns)
{
    enum { COUNT = 90, AT_ONCE = 64 };
    struct client clients[COUNT + 1] = {0};
    for (int i = 0; i <= COUNT; i++) {
        client_open(&clients[i], bed);
        client_send(&clients[i], "hello\r\n");
        for (int pump = 0; pump < PUMPS_MAX && clients[i].in.len == 0; pump++) {
            bed_pump(bed);
        }
        CHECK(bed->speaker->id == (uint64_t)i + 1);
    }
    for (int i = 1; i <= COUNT; i++) {
        buf_printf(&clients[0].out, "kill %d\r\n", i + 1);
    }
    client_send(&clients[0], "hello\r\n");
    for (int pump = 0; pump < PUMPS_MAX && bed->closed < COUNT; pump++) {
        unsigned before = bed->closed;
        bed_pump(bed);
        CHECK(bed->closed - before <= AT_ONCE);
    }
    CHECK(bed->closed == COUNT);
    for (int i = 1; i <= COUNT; i++) {
        client_close(&clients[i]);
    }
    client_close(&clients[0]);
}

/* What a socket holds may be megabytes, and the kernel copies what it is asked for in one go. */
ON_EVERY_ENGINE(a_large_value_is_received_a_part_at_a_time)
{
#ifdef OURO_HOSTILE
    enum { LEN = 1 << 20, PART = 3000 };
#else
    enum { LEN = 4 << 20, PART = 256 << 10 };
#endif
    char *bytes = mem_zalloc(LEN);
    struct client client = {0};
    client_open(&client, bed);
    bed_settle(bed);
    uint64_t reads = net_stats(bed->net)->reads;
    send_sum(&client, bytes, LEN);
    for (int pump = 0; pump < PUMPS_MAX && client.in.len == 0; pump++) {
        uint64_t before = net_stats(bed->net)->bytes_in;
        uint64_t reads_before = net_stats(bed->net)->reads;
        bed_pump(bed);
        const struct net_stats *stats = net_stats(bed->net);
        CHECK(stats->bytes_in - before <= (stats->reads - reads_before) * PART);
    }
    CHECK(net_stats(bed->net)->reads - reads >= LEN / PART);
    client_expect(&client, ":0\r\n");
    mem_free(bytes);
    client_close(&client);
}

ON_EVERY_ENGINE(no_memory_for_a_large_value_is_an_error)
{
    struct client client = {0};
    client_open(&client, bed);
    client_send(&client, "*2\r\n$3\r\nSUM\r\n$500000000\r\n");
    bed_settle(bed);
    client_close(&client);
    client_open(&client, bed);
    mem_fail_after(1);
    client_send(&client, "*2\r\n$3\r\nSUM\r\n$500000\r\nabc");
    while (!client.is_ended) {
        net_tick(bed->net);
        bed_pump(bed);
    }
    mem_fail_after(0);
    /* Without memory for even the first few bytes there is only the end. */
    if (client.in.len > 0) {
        client_expect(&client, "-ERR Protocol error: out of memory for the request\r\n");
    }
    client_expect_end(&client);
    client_close(&client);
}

ON_EVERY_ENGINE(large_replies_arrive_whole)
{
    struct client client = {0};
    client_open(&client, bed);
    client_send(&client, "blob 100000\r\necho a\r\nfill 200000\r\nblob 50000\r\nblob 40000\r\n");
    client_expect_fill(&client, 100000);
    client_expect(&client, "$1\r\na\r\n");
    client_expect_fill(&client, 200000);
    client_expect_fill(&client, 50000);
    client_expect_fill(&client, 40000);
    client_close(&client);
}

ON_EVERY_ENGINE(replies_written_outside_a_command_are_sent)
{
    struct client client = {0};
    client_open(&client, bed);
    client_send(&client, "hello\r\n");
    client_expect(&client, ":1\r\n");
    reply_status(bed->speaker->out, "pushed");
    bed->speaker->ops->wake(bed->speaker);
    client_expect(&client, "+pushed\r\n");
    client_close(&client);
}

ON_EVERY_ENGINE(an_idle_client_owns_no_buffers)
{
    struct client client = {0};
    client_open(&client, bed);
    bed_settle(bed);
    size_t idle = net_stats(bed->net)->memory_normal;
    CHECK(idle <= 1000);
    client_send(&client, "fill 50000\r\n*2\r\n$4\r\necho\r\n$50");
    client_expect_fill(&client, 50000);
    CHECK(net_stats(bed->net)->memory_normal > idle);
    client_send(&client, "00\r\n");
    char zeros[5002] = {0};
    client_send_bytes(&client, slice_of(zeros, 5000));
    client_send(&client, "\r\n");
    client_expect(&client, "$5000\r\n");
    client_expect_bytes(&client, slice_of(zeros, 5000));
    client_expect(&client, "\r\n");
    bed_settle(bed);
    CHECK(net_stats(bed->net)->memory_normal == idle);
    client_close(&client);
}
