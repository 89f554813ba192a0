/* What clients may occupy, and for how long. */
#include "tests/unit/net/bed.h"

ON_EVERY_ENGINE(a_query_buffer_has_a_limit)
{
    struct client client = {0};
    bed->config.query_buffer_max = 20000;
    bed_configure(bed);
    client_open(&client, bed);
    client_send(&client, "*2\r\n$4\r\nECHO\r\n$30000\r\n");
    for (int i = 0; i < 600; i++) {
        client_send(&client, "01234567890123456789012345678901234567890123456789");
    }
    client_expect_end(&client);
    CHECK(net_stats(bed->net)->query_limit_closed == 1);
    client_close(&client);
}

ON_EVERY_ENGINE(a_client_over_its_hard_output_limit_is_cut_off)
{
    struct client client = {.is_deaf = true};
    bed->config.output[CLIENT_CLASS_NORMAL].hard_bytes = 1000000;
    bed_configure(bed);
    client_open(&client, bed);
    for (int i = 0; i < 20; i++) {
        buf_append_text(&client.out, "fill 600000\r\nlog a\r\n");
    }
    client_send_more(&client);
    bed_settle(bed);
    CHECK(net_stats(bed->net)->output_limit_closed == 1 && net_stats(bed->net)->clients == 0);
    CHECK(bed->log.len < 20);
    client_close(&client);
}

ON_EVERY_ENGINE(a_soft_output_limit_gives_time)
{
    struct client client = {.is_deaf = true};
    bed->config.output[CLIENT_CLASS_NORMAL].soft_bytes = 1000000;
    bed->config.output[CLIENT_CLASS_NORMAL].soft_seconds = 3;
    bed_configure(bed);
    client_open(&client, bed);
    client_send(&client, "fill 9000000\r\n");
    bed_settle(bed);
    bed->now.mono_us += 2900000;
    net_tick(bed->net);
    CHECK(net_stats(bed->net)->clients == 1);
    bed->now.mono_us += 200000;
    net_tick(bed->net);
    CHECK(net_stats(bed->net)->clients == 0);
    CHECK(net_stats(bed->net)->output_limit_closed == 1);
    client_close(&client);
}

/* Without limits a client that does not read is not executed for ever, and is not cut off. */
ON_EVERY_ENGINE(a_client_that_does_not_read_waits)
{
    enum { COUNT = 200 };
    struct client client = {.is_deaf = true};
    client_open(&client, bed);
    for (int i = 0; i < COUNT; i++) {
        buf_append_text(&client.out, "blob 700000\r\nlog a\r\n");
    }
    client_send_more(&client);
    bed_settle(bed);
    CHECK(bed->log.len > 0 && bed->log.len < COUNT);
    client_listen(&client);
    for (int i = 0; i < COUNT; i++) {
        client_expect_fill(&client, 700000);
        struct buf text;
        buf_init(&text);
        buf_printf(&text, ":%d\r\n", i + 1);
        client_expect_bytes(&client, buf_slice(&text));
        buf_deinit(&text);
    }
    CHECK(bed->log.len == COUNT);
    client_close(&client);
}

/* Received but not executed: bounded while the session waits. */
ON_EVERY_ENGINE(a_suspended_client_cannot_fill_memory)
{
#ifdef OURO_HOSTILE
    enum { COUNT = 3000 };
#else
    enum { COUNT = 100000 };
#endif
    struct client client = {0};
    client_open(&client, bed);
    buf_append_text(&client.out, "wait\r\n");
    for (int i = 0; i < COUNT; i++) {
        buf_printf(&client.out, "log %0100d\r\n", i);
    }
    client_send_more(&client);
    bed_settle(bed);
    /* Twice the bound, and what one turn brings before the receive has ended. */
    CHECK(net_stats(bed->net)->memory_normal < 5000000);
    bed_resume(bed, "on");
    size_t before = bed->log.len;
    for (int i = 0; i < PUMPS_MAX && bed->log.len < COUNT * 100; i++) {
        bed_pump(bed);
        i = bed->log.len > before ? 0 : i;
        before = bed->log.len;
    }
    CHECK(bed->log.len == COUNT * 100);
    client_close(&client);
}

ON_EVERY_ENGINE(idle_clients_are_closed)
{
    struct client client = {0};
    bed->config.timeout_s = 10;
    bed_configure(bed);
    client_open(&client, bed);
    bed_settle(bed);
    bed->now.wall_ms += 10000;
    net_tick(bed->net);
    CHECK(net_stats(bed->net)->clients == 1);
    bed->now.wall_ms += 1;
    net_tick(bed->net);
    client_expect_end(&client);
    CHECK(net_stats(bed->net)->timeout_closed == 1);
    client_close(&client);
}

ON_EVERY_ENGINE(the_largest_client_is_evicted_unless_it_may_not)
{
    struct client clients[3] = {0};
    for (int i = 0; i < 3; i++) {
        clients[i].is_deaf = true;
        client_open(&clients[i], bed);
        client_send(&clients[i], i == 0 ? "hello\r\n" : "echo a\r\n");
        bed_settle(bed);
    }
    bed->speaker->flags |= SESSION_NO_EVICT;
    client_send(&clients[0], "fill 30000000\r\n");
    client_send(&clients[1], "fill 20000000\r\n");
    client_send(&clients[2], "fill 10000000\r\n");
    bed_settle(bed);
    uint64_t memory = net_stats(bed->net)->memory_normal;
    CHECK(memory > 40000000);
    bed->config.clients_memory_max = memory - 1000000;
    bed_configure(bed);
    bed_settle(bed);
    CHECK(net_stats(bed->net)->clients == 2 && net_stats(bed->net)->clients_evicted == 1);
    CHECK(net_stats(bed->net)->memory_normal > 30000000); /* The second went. */
    for (int i = 0; i < 3; i++) {
        client_close(&clients[i]);
    }
}
