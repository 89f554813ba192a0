/* What the tests of net/ lie on: a server without a data set, whose commands are the tests' own,
 * and clients that live on the same ring, so that each case runs on io_uring, epoll and the
 * simulated world. */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "net/net.h"
#include "ring/sim.h"
#include "tests/unit/test.h"

enum { PUMPS_MAX = 4000, WAIT_US = 5000 };

enum { BED_ROWS_COUNT = 11 };

struct bed {
    struct command rows[BED_ROWS_COUNT];
    struct sim_world *world; /* NULL on the kernel's engines. */
    struct ring *ring;
    struct rng rng;
    struct work_queue work;
    struct clock_now now; /* The server's clock: moves only when a test moves it. */
    struct keyspace *keyspace;
    struct exec *exec;
    struct net *net;
    struct net_config config;
    uint16_t port;
    struct buf log;            /* What LOG was told, in order. */
    struct session *suspended; /* By WAIT or BLOCK, and not resumed. */
    unsigned cancelled;        /* Suspended sessions that closed. */
    unsigned closed;           /* Runs of the close hook. */
    struct session *speaker;   /* Who said HELLO last. */
};

/* ---- Commands ---- */

static inline void echo_run(struct call *call)
{
    reply_bulk(call->out, call->args.at[call->args.count - 1]);
}

static inline void log_run(struct call *call)
{
    struct bed *bed = call->family;
    buf_append(&bed->log, call->args.at[1]);
    reply_count(call->out, bed->log.len);
}

/* FILL n: a bulk of n bytes. BLOB n: the same by reference. */
static inline void fill_run(struct call *call)
{
    int64_t len = 0;
    if (!call_i64(call, 1, &len, NULL)) {
        return;
    }
    struct blob *blob = blob_try_new((size_t)len);
    CHECK(blob != NULL);
    blob->len = (size_t)len;
    memset(blob->bytes, 'x', blob->len);
    if (slice_is(call->args.at[0], "blob")) {
        reply_bulk_blob(call->out, blob, 0, blob->len);
    } else {
        reply_bulk(call->out, blob_slice(blob));
    }
    blob_drop(blob);
}

/* SUM bytes: their sum, and whether they came as a blob. */
static inline void sum_run(struct call *call)
{
    struct slice bytes = call->args.at[1];
    struct blob *blob = call_take_blob(call, 1);
    uint64_t sum = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        sum = sum * 31 + (unsigned char)bytes.data[i];
    }
    reply_integer(call->out, (int64_t)(sum & INT32_MAX) * (blob != NULL ? -1 : 1));
    if (blob != NULL) {
        blob_drop(blob);
    }
}

static inline void on_cancel(struct session *session, void *context)
{
    struct bed *bed = context;
    CHECK(bed->suspended == session);
    bed->suspended = NULL;
    bed->cancelled++;
}

static inline void wait_run(struct call *call)
{
    struct bed *bed = call->family;
    bed->suspended = call->session;
    session_suspend(call->session, on_cancel, bed);
}

static inline void bed_resume(struct bed *bed, const char *status)
{
    struct session *session = bed->suspended;
    CHECK(session != NULL);
    bed->suspended = NULL;
    reply_status(session->out, status);
    session_resume(session);
}

static inline void quit_run(struct call *call)
{
    reply_ok(call->out);
    session_close(call->session, true);
}

/* KILL id: 0 is oneself. */
static inline void kill_run(struct call *call)
{
    int64_t id = 0;
    CHECK(call_i64(call, 1, &id, NULL));
    struct session *victim = id == 0 ? call->session : exec_session_by_id(call->exec, (uint64_t)id);
    session_close(victim, false);
    reply_ok(call->out);
}

static inline void hello_run(struct call *call)
{
    struct bed *bed = call->family;
    bed->speaker = call->session;
    reply_integer(call->out, (int64_t)call->session->id);
}

static inline void auth_run(struct call *call)
{
    session_authenticate(call->session, slice_from_text("default"));
    reply_ok(call->out);
}

static inline struct command bed_row(const char *name, command_run_fn run, int arity,
                                     uint32_t flags)
{
    return (struct command){.name = name,
                            .run = run,
                            .arity = arity,
                            .flags = flags,
                            .since = "1.0.0",
                            .summary = "For tests.",
                            .group = "generic"};
}

static inline void bed_rows(struct command *rows)
{
    rows[0] = bed_row("echo", echo_run, -2, 0);
    rows[1] = bed_row("log", log_run, 2, 0);
    rows[2] = bed_row("fill", fill_run, 2, 0);
    rows[3] = bed_row("blob", fill_run, 2, 0);
    rows[4] = bed_row("sum", sum_run, 2, 0);
    rows[5] = bed_row("wait", wait_run, 1, 0);
    rows[6] = bed_row("block", wait_run, 1, CMD_BLOCKING);
    rows[7] = bed_row("quit", quit_run, 1, 0);
    rows[8] = bed_row("kill", kill_run, 2, 0);
    rows[9] = bed_row("hello", hello_run, 1, 0);
    rows[10] = bed_row("auth", auth_run, 1, CMD_NO_AUTH);
}

/* ---- The server ---- */

static inline uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, len) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
    (void)close(fd);
    return ntohs(address.sin_port);
}

static inline bool bed_open_ring(struct bed *bed, const char *engine)
{
    if (strcmp(engine, "sim") == 0) {
        bed->world = sim_world_new(&(struct sim_options){.seed = test_seed(), .piece_max = 4000});
        bed->ring = sim_node_start(bed->world, 0);
        bed->port = 6379;
        return true;
    }
    bed->port = free_port();
    return ring_open(&bed->ring, &(struct ring_options){.engine = engine}) == 0;
}

static inline void bed_on_close(void *context, struct session *session)
{
    struct bed *bed = context;
    (void)session;
    bed->closed++;
}

static inline void bed_configure(struct bed *bed)
{
    net_configure(bed->net, &bed->config);
}

static inline bool bed_open(struct bed *bed, const char *engine)
{
    log_configure(&(struct log_config){.level = LOG_NOTHING, .path = "", .role = 'M'});
    *bed = (struct bed){.now = {.wall_ms = 1000000, .wall_us = 1000000000, .mono_us = 1000000}};
    if (!bed_open_ring(bed, engine)) {
        return false;
    }
    rng_seed(&bed->rng, test_seed());
    work_queue_init(&bed->work);
    buf_init(&bed->log);
    bed->keyspace = keyspace_new(
        &(struct keyspace_options){.db_count = 1, .rng = &bed->rng, .work = &bed->work});
    bed->exec = exec_new(&(struct exec_options){
        .keyspace = bed->keyspace, .work = &bed->work, .rng = &bed->rng, .now = &bed->now});
    bed_rows(bed->rows);
    exec_register(bed->exec, bed->rows, BED_ROWS_COUNT, bed);
    exec_add_close_hook(bed->exec, bed_on_close, bed);
    bed->net = net_new(bed->ring, bed->exec);
    bed->config = (struct net_config){.query_buffer_max = 1 << 30,
                                      .bulk_len_max = 512 << 20,
                                      .clients_max = 100,
                                      .keepalive_s = 300};
    bed_configure(bed);
    CHECK(net_listen(bed->net, &(struct ring_listen_options){.address = "127.0.0.1",
                                                             .port = bed->port,
                                                             .backlog = 100}) == 0);
    return true;
}

static inline void bed_close(struct bed *bed)
{
    net_free(bed->net);
    exec_free(bed->exec);
    keyspace_free(bed->keyspace);
    buf_deinit(&bed->log);
    ring_close(bed->ring);
    if (bed->world != NULL) {
        sim_world_free(bed->world);
    }
}

/* One turn, as the server does it. */
static inline void bed_pump(struct bed *bed)
{
    (void)ring_turn(bed->ring, ring_mono_us(bed->ring) + WAIT_US);
    (void)net_drain(bed->net, INT64_MAX);
    net_flush(bed->net);
}

/* Turns until nothing more can be expected to happen. */
static inline void bed_settle(struct bed *bed)
{
    for (int quiet = 0, pumps = 0; quiet < 3 && pumps < PUMPS_MAX; pumps++) {
        unsigned count = ring_turn(bed->ring, ring_mono_us(bed->ring) + WAIT_US);
        (void)net_drain(bed->net, INT64_MAX);
        net_flush(bed->net);
        quiet = count == 0 ? quiet + 1 : 0;
    }
}

/* ---- Clients ---- */

struct client {
    struct bed *bed;
    struct ring_op connect, send, receive;
    struct sockaddr_in address;
    int fd;
    struct buf in;          /* Received and not expected yet. */
    struct buf out, flying; /* To be sent, being sent. */
    bool is_connected, is_ended, is_closed;
    bool is_deaf;  /* Does not read. */
    bool is_reset; /* Ended by an error. */
};

static inline void client_send_more(struct client *client)
{
    if (client->send.in_flight || client->out.len == 0 || !client->is_connected ||
        client->is_closed) {
        return;
    }
    struct buf spare = client->flying;
    client->flying = client->out;
    client->out = spare;
    buf_clear(&client->out);
    ring_send(client->bed->ring, &client->send, client->fd, client->flying.data,
              client->flying.len);
}

static inline void client_on_sent(struct ring_op *op, int result)
{
    struct client *client = LIST_OWNER(op, struct client, send);
    if (result >= 0) {
        client_send_more(client);
    }
}

static inline void client_listen(struct client *client)
{
    client->is_deaf = false;
    ring_receive(client->bed->ring, &client->receive, client->fd);
}

static inline void client_on_received(struct ring_op *op, int result)
{
    struct client *client = LIST_OWNER(op, struct client, receive);
    if (result > 0) {
        buf_append(&client->in, slice_of(op->buffer.data, op->buffer.len));
        ring_buffer_release(client->bed->ring, &op->buffer);
    } else {
        client->is_ended = true;
        client->is_reset = result < 0;
    }
    if (!op->in_flight && !client->is_ended && !client->is_closed) {
        client_listen(client);
    }
}

static inline void client_on_connected(struct ring_op *op, int result)
{
    struct client *client = LIST_OWNER(op, struct client, connect);
    CHECK(result == 0);
    client->is_connected = true;
    if (!client->is_deaf) {
        client_listen(client);
    }
    client_send_more(client);
}

static inline void client_open(struct client *client, struct bed *bed)
{
    bool is_deaf = client->is_deaf;
    *client = (struct client){.bed = bed,
                              .connect.done = client_on_connected,
                              .send.done = client_on_sent,
                              .receive.done = client_on_received,
                              .is_deaf = is_deaf};
    client->address = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(bed->port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    client->fd = ring_socket(bed->ring, AF_INET, NULL);
    CHECK(client->fd >= 0);
    ring_connect(bed->ring, &client->connect, client->fd, (struct sockaddr *)&client->address,
                 sizeof client->address);
    for (int i = 0; i < PUMPS_MAX && !client->is_connected; i++) {
        bed_pump(bed);
    }
    CHECK(client->is_connected);
}

static inline void client_close(struct client *client)
{
    client->is_closed = true;
    ring_close_fd(client->bed->ring, client->fd);
    for (int i = 0; i < PUMPS_MAX && (client->send.in_flight || client->receive.in_flight); i++) {
        bed_pump(client->bed);
    }
    CHECK(!client->send.in_flight && !client->receive.in_flight);
    buf_deinit(&client->in);
    buf_deinit(&client->out);
    buf_deinit(&client->flying);
}

static inline void client_send_bytes(struct client *client, struct slice bytes)
{
    buf_append(&client->out, bytes);
    client_send_more(client);
}

static inline void client_send(struct client *client, const char *text)
{
    client_send_bytes(client, slice_from_text(text));
}

/* Turns until exactly these bytes came next. */
static inline void client_expect_bytes(struct client *client, struct slice bytes)
{
    size_t before = client->in.len;
    for (int i = 0; i < PUMPS_MAX && client->in.len < bytes.len && !client->is_ended; i++) {
        bed_pump(client->bed);
        i = client->in.len > before ? 0 : i;
        before = client->in.len;
    }
    if (client->in.len < bytes.len || memcmp(client->in.data, bytes.data, bytes.len) != 0) {
        fprintf(stderr, "got %zu bytes: %.*s\n", client->in.len, (int)client->in.len % 1000,
                client->in.data);
        CHECK(false);
    }
    memmove(client->in.data, client->in.data + bytes.len, client->in.len - bytes.len);
    client->in.len -= bytes.len;
}

static inline void client_expect(struct client *client, const char *text)
{
    client_expect_bytes(client, slice_from_text(text));
}

/* Turns until the server has closed, with nothing more to read. */
static inline void client_expect_end(struct client *client)
{
    for (int i = 0; i < PUMPS_MAX && !client->is_ended; i++) {
        bed_pump(client->bed);
        net_tick(client->bed->net); /* It may linger. */
    }
    CHECK(client->is_ended && client->in.len == 0);
}

/* A bulk of `len` bytes x, as FILL answers. */
static inline void client_expect_fill(struct client *client, size_t len)
{
    struct buf bytes;
    buf_init(&bytes);
    buf_printf(&bytes, "$%zu\r\n", len);
    memset(buf_reserve(&bytes, len), 'x', len);
    bytes.len += len;
    buf_append_text(&bytes, "\r\n");
    client_expect_bytes(client, buf_slice(&bytes));
    buf_deinit(&bytes);
}

#define ON_EVERY_ENGINE(sentence)                                                                  \
    static void sentence(struct bed *bed);                                                         \
    static void run_##sentence(const char *engine)                                                 \
    {                                                                                              \
        struct bed bed;                                                                            \
        if (bed_open(&bed, engine)) {                                                              \
            sentence(&bed);                                                                        \
            bed_close(&bed);                                                                       \
        }                                                                                          \
    }                                                                                              \
    TEST(net, sentence##_on_epoll)                                                                 \
    {                                                                                              \
        run_##sentence("epoll");                                                                   \
    }                                                                                              \
    TEST(net, sentence##_on_uring)                                                                 \
    {                                                                                              \
        run_##sentence("uring");                                                                   \
    }                                                                                              \
    TEST(net, sentence##_on_sim)                                                                   \
    {                                                                                              \
        run_##sentence("sim");                                                                     \
    }                                                                                              \
    static void sentence(struct bed *bed)
