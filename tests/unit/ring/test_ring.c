/* One suite for three engines: what ring.h promises, each case run on io_uring, epoll and the
 * simulated world. Both ends of each connection live on the ring under test. */
#include "ring/ring.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "ring/sim.h"
#include "tests/unit/test.h"

struct bed {
    struct ring *ring;
    struct sim_world *world; /* NULL on the kernel's engines. */
    char dir[64];
};

/* One end of a connection, or a listener: what it got and how it ended. */
struct end {
    struct ring_op receive, send;
    struct ring *ring;
    int fd;
    char *bytes; /* Received. */
    size_t len, cap;
    int receive_result; /* Of the last completion that ended it. */
    int send_result;
    unsigned receive_ends, send_ends;
    int accepted[64];
    unsigned accepted_count;
    bool is_holding; /* Keeps buffers instead of giving them back. */
    struct ring_buffer held[256];
    unsigned held_count;
};

enum { TURN_US = 20000, TURNS_MAX = 1000 };

static bool bed_open(struct bed *bed, const char *engine, const struct ring_options *wanted)
{
    *bed = (struct bed){0};
    (void)snprintf(bed->dir, sizeof(bed->dir), "/tmp/ouro-ring-XXXXXX");
    if (strcmp(engine, "sim") == 0) {
        bed->world = sim_world_new(&(struct sim_options){.seed = test_seed()});
        bed->ring = sim_node_start(bed->world, 0);
        return true;
    }
    CHECK(mkdtemp(bed->dir) != NULL);
    struct ring_options options = *wanted;
    options.engine = engine;
    int error = ring_open(&bed->ring, &options);
    if (error != 0) {
        CHECK(strcmp(engine, "uring") == 0 && (error == -EPERM || error == -ENOSYS));
        printf("skipped: io_uring is not available\n");
        (void)rmdir(bed->dir);
        return false;
    }
    return true;
}

static void bed_close(struct bed *bed)
{
    if (bed->world != NULL) {
        sim_world_free(bed->world);
        return;
    }
    ring_close(bed->ring);
    CHECK(rmdir(bed->dir) == 0);
}

#define ON_EVERY_ENGINE(sentence, ...)                                                             \
    static void sentence(struct bed *bed);                                                         \
    static void run_##sentence(const char *engine)                                                 \
    {                                                                                              \
        struct bed bed;                                                                            \
        if (bed_open(&bed, engine, &(struct ring_options){__VA_ARGS__})) {                         \
            sentence(&bed);                                                                        \
            bed_close(&bed);                                                                       \
        }                                                                                          \
    }                                                                                              \
    TEST(ring, uring_##sentence)                                                                   \
    {                                                                                              \
        run_##sentence("uring");                                                                   \
    }                                                                                              \
    TEST(ring, epoll_##sentence)                                                                   \
    {                                                                                              \
        run_##sentence("epoll");                                                                   \
    }                                                                                              \
    TEST(ring, sim_##sentence)                                                                     \
    {                                                                                              \
        run_##sentence("sim");                                                                     \
    }                                                                                              \
    static void sentence(struct bed *bed)

static void on_receive(struct ring_op *op, int result)
{
    struct end *end = (struct end *)(void *)op;
    CHECK(result <= 0 || op->in_flight || op->kind != RING_OP_RECEIVE);
    if (!op->in_flight) {
        end->receive_ends++;
        end->receive_result = result;
    }
    if (result <= 0 || op->kind != RING_OP_RECEIVE) {
        return;
    }
    if (end->len + (size_t)result > end->cap) {
        end->cap = 2 * (end->len + (size_t)result);
        end->bytes = mem_realloc(end->bytes, end->cap);
    }
    memcpy(end->bytes + end->len, op->buffer.data, op->buffer.len);
    CHECK(op->buffer.len == (uint32_t)result);
    end->len += (size_t)result;
    if (end->is_holding) {
        CHECK(end->held_count < 256);
        end->held[end->held_count++] = op->buffer;
    } else {
        ring_buffer_release(end->ring, &op->buffer);
    }
}

static void on_send(struct ring_op *op, int result)
{
    struct end *end = (struct end *)(void *)((char *)op - offsetof(struct end, send));
    CHECK(!op->in_flight);
    end->send_ends++;
    end->send_result = result;
}

static void on_accept(struct ring_op *op, int result)
{
    struct end *end = (struct end *)(void *)op;
    if (result >= 0) {
        CHECK(end->accepted_count < 64);
        end->accepted[end->accepted_count++] = result;
    }
    if (!op->in_flight) {
        end->receive_ends++;
        end->receive_result = result;
    }
}

static struct end end_of(struct bed *bed, int fd)
{
    return (struct end){
        .ring = bed->ring, .fd = fd, .receive.done = on_receive, .send.done = on_send};
}

/* Turns until the counter reaches what is wanted; a bound keeps a failure from hanging. */
static bool turn_until(struct bed *bed, const unsigned *counter, unsigned wanted)
{
    for (unsigned turn = 0; turn < TURNS_MAX && *counter < wanted; turn++) {
        ring_turn(bed->ring, ring_mono_us(bed->ring) + TURN_US);
    }
    return *counter >= wanted;
}

static bool turn_until_len(struct bed *bed, const struct end *end, size_t len)
{
    for (size_t turn = 0; turn < 100000 + len && end->len < len; turn++) {
        ring_turn(bed->ring, ring_mono_us(bed->ring) + TURN_US);
    }
    return end->len == len;
}

/* Two turns that do not wait, and one that does for a moment: what was going to happen has. */
static void settle(struct bed *bed)
{
    for (unsigned turn = 0; turn < 5; turn++) {
        ring_turn(bed->ring, ring_mono_us(bed->ring) + 2000);
    }
}

static int listen_any(struct bed *bed, struct sockaddr_in *address)
{
    int fd = ring_listen(bed->ring,
                         &(struct ring_listen_options){.address = "127.0.0.1", .backlog = 64});
    CHECK(fd >= 0);
    char text[RING_ADDRESS_TEXT_MAX];
    ring_local_text(bed->ring, fd, text);
    CHECK(strncmp(text, "127.0.0.1:", 10) == 0);
    *address = (struct sockaddr_in){.sin_family = AF_INET,
                                    .sin_port = htons((uint16_t)atoi(text + 10)),
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return fd;
}

static int connect_to(struct bed *bed, struct sockaddr *address, socklen_t len, int *result)
{
    struct end end = end_of(bed, ring_socket(bed->ring, address->sa_family, NULL));
    CHECK(end.fd >= 0);
    ring_connect(bed->ring, &end.send, end.fd, address, len);
    CHECK(end.send.in_flight);
    CHECK(turn_until(bed, &end.send_ends, 1));
    *result = end.send_result;
    return end.fd;
}

/* A connection: `near` is the accepted end. The listener is gone afterwards. */
static void pair_open(struct bed *bed, struct end *near, struct end *far)
{
    struct sockaddr_in address;
    struct end listener = end_of(bed, listen_any(bed, &address));
    listener.receive.done = on_accept;
    ring_accept(bed->ring, &listener.receive, listener.fd);
    int result;
    int fd = connect_to(bed, (struct sockaddr *)&address, sizeof(address), &result);
    CHECK(result == 0);
    CHECK(turn_until(bed, &listener.accepted_count, 1));
    ring_close_fd(bed->ring, listener.fd);
    CHECK(turn_until(bed, &listener.receive_ends, 1));
    CHECK(listener.receive_result == -ECANCELED);
    *near = end_of(bed, listener.accepted[0]);
    *far = end_of(bed, fd);
    CHECK(ring_socket_tune(bed->ring, near->fd, true, 300) == 0);
}

static void pair_close(struct bed *bed, struct end *near, struct end *far)
{
    if (near->fd >= 0) {
        ring_close_fd(bed->ring, near->fd);
    }
    if (far->fd >= 0) {
        ring_close_fd(bed->ring, far->fd);
    }
    for (unsigned turn = 0; turn < TURNS_MAX; turn++) {
        if (!near->receive.in_flight && !near->send.in_flight && !far->receive.in_flight &&
            !far->send.in_flight) {
            break;
        }
        ring_turn(bed->ring, ring_mono_us(bed->ring) + TURN_US);
    }
    CHECK(!near->receive.in_flight && !near->send.in_flight);
    CHECK(!far->receive.in_flight && !far->send.in_flight);
    ring_turn(bed->ring, 0);
    mem_free(near->bytes);
    mem_free(far->bytes);
}

static char *pattern(size_t len)
{
    char *bytes = mem_alloc(len);
    for (size_t index = 0; index < len; index++) {
        bytes[index] = (char)(index * 31 + index / 257);
    }
    return bytes;
}

ON_EVERY_ENGINE(bytes_arrive_as_they_were_sent)
{
    struct end near, far;
    pair_open(bed, &near, &far);
    ring_receive(bed->ring, &near.receive, near.fd);
    ring_receive(bed->ring, &far.receive, far.fd);
    for (unsigned round = 1; round <= 20; round++) {
        ring_send(bed->ring, &far.send, far.fd, "PING\r\n", 6);
        CHECK(turn_until_len(bed, &near, round * 6));
        CHECK(turn_until(bed, &far.send_ends, round) && far.send_result == 6);
        near.send.is_patient = round % 2 == 0;
        ring_send(bed->ring, &near.send, near.fd, "+PONG\r\n", 7);
        CHECK(turn_until_len(bed, &far, round * 7));
        CHECK(turn_until(bed, &near.send_ends, round) && near.send_result == 7);
    }
    CHECK(memcmp(near.bytes, "PING\r\nPING\r\n", 12) == 0);
    CHECK(memcmp(far.bytes, "+PONG\r\n+PONG\r\n", 14) == 0);
    pair_close(bed, &near, &far);
}

ON_EVERY_ENGINE(addresses_have_text)
{
    struct end near, far;
    pair_open(bed, &near, &far);
    char near_peer[RING_ADDRESS_TEXT_MAX], far_local[RING_ADDRESS_TEXT_MAX];
    ring_peer_text(bed->ring, near.fd, near_peer);
    ring_local_text(bed->ring, far.fd, far_local);
    CHECK(strcmp(near_peer, far_local) == 0);
    CHECK(strncmp(near_peer, "127.0.0.1:", 10) == 0);
    CHECK(ring_peer_is_local(bed->ring, near.fd));
    ring_peer_text(bed->ring, -1, near_peer);
    CHECK(strcmp(near_peer, "?:0") == 0);
    pair_close(bed, &near, &far);
}

ON_EVERY_ENGINE(a_big_send_waits_for_a_slow_reader)
{
    enum { LEN = 24 * 1024 * 1024 }; /* More than the sockets of both ends hold. */
    struct end near, far;
    pair_open(bed, &near, &far);
    char *bytes = pattern(LEN);
    near.send.is_patient = true;
    ring_send(bed->ring, &near.send, near.fd, bytes, LEN);
    settle(bed);
    CHECK(near.send_ends == 0); /* Nobody reads yet. */
    ring_receive(bed->ring, &far.receive, far.fd);
    CHECK(turn_until_len(bed, &far, LEN));
    CHECK(turn_until(bed, &near.send_ends, 1) && near.send_result == LEN);
    CHECK(memcmp(far.bytes, bytes, LEN) == 0);
    mem_free(bytes);
    pair_close(bed, &near, &far);
}

ON_EVERY_ENGINE(a_patient_send_that_falls_short_goes_on_by_itself)
{
    enum { LEN = 24 * 1024 * 1024 };
    struct end near, far;
    pair_open(bed, &near, &far);
    char *bytes = pattern(LEN);
    struct iovec parts[2] = {{.iov_base = bytes, .iov_len = 1000},
                             {.iov_base = bytes + 1000, .iov_len = LEN - 1000}};
    near.send.is_patient = true;
    ring_receive(bed->ring, &far.receive, far.fd);
    ring_send_parts(bed->ring, &near.send, near.fd, parts, 2);
    /* Without a time limit: if nothing but the time ended a wait, this would hang. */
    for (size_t turn = 0; turn < 100000 + LEN && far.len < LEN; turn++) {
        ring_turn(bed->ring, INT64_MAX);
    }
    CHECK(far.len == LEN && memcmp(far.bytes, bytes, LEN) == 0);
    CHECK(turn_until(bed, &near.send_ends, 1) && near.send_result == LEN);
    parts[0] = (struct iovec){.iov_base = bytes, .iov_len = 7};
    parts[1] = (struct iovec){.iov_base = bytes, .iov_len = 5};
    ring_send_parts(bed->ring, &near.send, near.fd, parts, 2);
    CHECK(turn_until(bed, &near.send_ends, 2) && near.send_result == 12);
    mem_free(bytes);
    pair_close(bed, &near, &far);
}

ON_EVERY_ENGINE(parts_are_sent_in_order_however_they_are_cut)
{
    enum { LEN = 3 * 1024 * 1024 };
    struct end near, far;
    pair_open(bed, &near, &far);
    char *bytes = pattern(LEN);
    struct iovec parts[RING_PARTS_MAX];
    size_t at = 0;
    for (size_t index = 0; index < RING_PARTS_MAX; index++) {
        size_t len = index == RING_PARTS_MAX - 1 ? LEN - at : index * 1000;
        parts[index] = (struct iovec){.iov_base = bytes + at, .iov_len = len};
        at += len;
    }
    ring_send_parts(bed->ring, &near.send, near.fd, parts, RING_PARTS_MAX);
    settle(bed);
    ring_receive(bed->ring, &far.receive, far.fd);
    CHECK(turn_until_len(bed, &far, LEN));
    CHECK(turn_until(bed, &near.send_ends, 1) && near.send_result == LEN);
    CHECK(memcmp(far.bytes, bytes, LEN) == 0);
    ring_send_parts(bed->ring, &near.send, near.fd, parts, 0);
    CHECK(turn_until(bed, &near.send_ends, 2) && near.send_result == 0);
    mem_free(bytes);
    pair_close(bed, &near, &far);
}

ON_EVERY_ENGINE(cancelled_operations_end)
{
    enum { LEN = 32 * 1024 * 1024 };
    struct end near, far;
    pair_open(bed, &near, &far);
    ring_cancel(bed->ring, &near.receive); /* Harmless: it is not in flight. */
    ring_receive(bed->ring, &near.receive, near.fd);
    settle(bed);
    CHECK(near.receive_ends == 0);
    ring_cancel(bed->ring, &near.receive);
    ring_cancel(bed->ring, &near.receive);
    CHECK(turn_until(bed, &near.receive_ends, 1) && near.receive_result == -ECANCELED);
    char *bytes = pattern(LEN);
    ring_send(bed->ring, &near.send, near.fd, bytes, LEN);
    settle(bed);
    CHECK(near.send_ends == 0);
    ring_cancel(bed->ring, &near.send);
    CHECK(turn_until(bed, &near.send_ends, 1) && near.send_result == -ECANCELED);
    mem_free(bytes);
    pair_close(bed, &near, &far);
}

ON_EVERY_ENGINE(an_operation_cancelled_before_the_turn_ends_too)
{
    struct end near, far;
    pair_open(bed, &near, &far);
    ring_receive(bed->ring, &near.receive, near.fd);
    ring_cancel(bed->ring, &near.receive);
    CHECK(near.receive.in_flight && near.receive_ends == 0);
    CHECK(turn_until(bed, &near.receive_ends, 1) && near.receive_result == -ECANCELED);
    pair_close(bed, &near, &far);
}

ON_EVERY_ENGINE(closing_with_a_receive_pending_shows_the_peer_its_end)
{
    struct end near, far;
    pair_open(bed, &near, &far);
    ring_receive(bed->ring, &near.receive, near.fd);
    ring_receive(bed->ring, &far.receive, far.fd);
    settle(bed);
    ring_close_fd(bed->ring, near.fd);
    CHECK(turn_until(bed, &far.receive_ends, 1) && far.receive_result == 0);
    CHECK(turn_until(bed, &near.receive_ends, 1) && near.receive_result == -ECANCELED);
    near.fd = -1;
    pair_close(bed, &near, &far);
}

ON_EVERY_ENGINE(what_was_sent_just_before_the_close_arrives)
{
    struct end near, far;
    pair_open(bed, &near, &far);
    ring_receive(bed->ring, &near.receive, near.fd);
    ring_receive(bed->ring, &far.receive, far.fd);
    settle(bed);
    ring_send(bed->ring, &near.send, near.fd, "+OK\r\n", 5);
    CHECK(turn_until(bed, &near.send_ends, 1));
    ring_close_fd(bed->ring, near.fd);
    near.fd = -1;
    CHECK(turn_until(bed, &far.receive_ends, 1) && far.receive_result == 0);
    CHECK(far.len == 5 && memcmp(far.bytes, "+OK\r\n", 5) == 0);
    pair_close(bed, &near, &far);
}

ON_EVERY_ENGINE(shutdown_ends_what_is_in_flight)
{
    struct end near, far;
    pair_open(bed, &near, &far);
    ring_receive(bed->ring, &near.receive, near.fd);
    ring_receive(bed->ring, &far.receive, far.fd);
    settle(bed);
    ring_shutdown(bed->ring, near.fd);
    CHECK(turn_until(bed, &near.receive_ends, 1) && near.receive_result == 0);
    CHECK(turn_until(bed, &far.receive_ends, 1) && far.receive_result == 0);
    pair_close(bed, &near, &far);
}

ON_EVERY_ENGINE(held_buffers_stop_receiving_until_they_are_given_back, .buffers_max = 8,
                .buffer_len = 512)
{
    enum { LEN = 64 * 1024 };
    if (bed->world != NULL) {
        return; /* The world's rings have the usual number of buffers. */
    }
    struct end near, far;
    pair_open(bed, &near, &far);
    near.is_holding = true;
    ring_receive(bed->ring, &near.receive, near.fd);
    char *bytes = pattern(LEN);
    ring_send(bed->ring, &far.send, far.fd, bytes, LEN);
    CHECK(turn_until(bed, &near.held_count, 8));
    settle(bed);
    CHECK(near.held_count == 8 && near.receive.in_flight && near.len == (size_t)8 * 512);
    near.is_holding = false;
    for (unsigned index = 0; index < 8; index++) {
        ring_buffer_release(bed->ring, &near.held[index]);
    }
    CHECK(turn_until_len(bed, &near, LEN));
    CHECK(memcmp(near.bytes, bytes, LEN) == 0);
    CHECK(near.receive_ends == 0);
    mem_free(bytes);
    pair_close(bed, &near, &far);
}

ON_EVERY_ENGINE(a_starved_receive_can_be_cancelled_and_closed, .buffers_max = 4, .buffer_len = 64)
{
    if (bed->world != NULL) {
        return;
    }
    struct end near, far;
    pair_open(bed, &near, &far);
    near.is_holding = true;
    char *bytes = pattern(4096);
    for (unsigned round = 1; round <= 2; round++) {
        ring_receive(bed->ring, &near.receive, near.fd);
        ring_send(bed->ring, &far.send, far.fd, bytes, 4096);
        CHECK(turn_until(bed, &near.held_count, 4));
        settle(bed);
        if (round == 1) {
            ring_cancel(bed->ring, &near.receive);
        } else {
            ring_close_fd(bed->ring, near.fd);
            near.fd = -1;
        }
        CHECK(turn_until(bed, &near.receive_ends, round));
        CHECK(near.receive_result == -ECANCELED);
    }
    mem_free(bytes);
    pair_close(bed, &near, &far);
}

ON_EVERY_ENGINE(receive_into_follows_a_cancelled_receive)
{
    enum { LEN = 300 * 1024 };
    struct end near, far;
    pair_open(bed, &near, &far);
    ring_receive(bed->ring, &near.receive, near.fd);
    ring_send(bed->ring, &far.send, far.fd, "head", 4);
    CHECK(turn_until_len(bed, &near, 4));
    CHECK(turn_until(bed, &far.send_ends, 1));
    ring_cancel(bed->ring, &near.receive);
    CHECK(turn_until(bed, &near.receive_ends, 1) && near.receive_result == -ECANCELED);
    char *bytes = pattern(LEN);
    char *out = mem_zalloc(LEN);
    ring_send(bed->ring, &far.send, far.fd, bytes, LEN);
    size_t got = 0;
    for (unsigned round = 2; got < LEN; round++) {
        ring_receive_into(bed->ring, &near.receive, near.fd, out + got, LEN - got);
        CHECK(turn_until(bed, &near.receive_ends, round));
        CHECK(near.receive_result > 0);
        got += (size_t)near.receive_result;
    }
    CHECK(memcmp(out, bytes, LEN) == 0);
    CHECK(turn_until(bed, &far.send_ends, 2));
    unsigned ends = near.receive_ends;
    ring_receive(bed->ring, &near.receive, near.fd);
    ring_send(bed->ring, &far.send, far.fd, "tail", 4);
    CHECK(turn_until_len(bed, &near, 8));
    CHECK(memcmp(near.bytes, "headtail", 8) == 0 && near.receive_ends == ends);
    mem_free(bytes);
    mem_free(out);
    pair_close(bed, &near, &far);
}

ON_EVERY_ENGINE(bytes_sent_while_nobody_receives_are_not_lost)
{
    struct end near, far;
    pair_open(bed, &near, &far);
    ring_receive(bed->ring, &near.receive, near.fd);
    settle(bed);
    ring_cancel(bed->ring, &near.receive);
    CHECK(turn_until(bed, &near.receive_ends, 1));
    ring_send(bed->ring, &far.send, far.fd, "later", 5);
    CHECK(turn_until(bed, &far.send_ends, 1));
    settle(bed);
    CHECK(near.len == 0);
    ring_close_fd(bed->ring, far.fd);
    far.fd = -1;
    settle(bed);
    ring_receive(bed->ring, &near.receive, near.fd);
    CHECK(turn_until(bed, &near.receive_ends, 2) && near.receive_result == 0);
    CHECK(near.len == 5 && memcmp(near.bytes, "later", 5) == 0);
    pair_close(bed, &near, &far);
}

ON_EVERY_ENGINE(sending_to_a_closed_peer_fails)
{
    struct end near, far;
    pair_open(bed, &near, &far);
    ring_close_fd(bed->ring, far.fd);
    far.fd = -1;
    settle(bed);
    for (unsigned round = 1; round <= 3 && near.send_result >= 0; round++) {
        ring_send(bed->ring, &near.send, near.fd, "x", 1);
        CHECK(turn_until(bed, &near.send_ends, round));
        settle(bed);
    }
    CHECK(near.send_result == -EPIPE || near.send_result == -ECONNRESET);
    pair_close(bed, &near, &far);
}

ON_EVERY_ENGINE(many_connections_share_the_ring)
{
    enum { COUNT = 48 };
    struct sockaddr_in address;
    struct end listener = end_of(bed, listen_any(bed, &address));
    listener.receive.done = on_accept;
    ring_accept(bed->ring, &listener.receive, listener.fd);
    struct end *ends = mem_zalloc(2 * COUNT * sizeof(*ends));
    for (unsigned index = 0; index < COUNT; index++) {
        int result;
        ends[COUNT + index] =
            end_of(bed, connect_to(bed, (struct sockaddr *)&address, sizeof(address), &result));
        CHECK(result == 0);
    }
    CHECK(turn_until(bed, &listener.accepted_count, COUNT));
    for (unsigned index = 0; index < COUNT; index++) {
        ends[index] = end_of(bed, listener.accepted[index]);
        ring_receive(bed->ring, &ends[index].receive, ends[index].fd);
    }
    for (unsigned index = COUNT; index < 2 * COUNT; index++) {
        ring_send(bed->ring, &ends[index].send, ends[index].fd, "abc", 3);
    }
    for (unsigned index = 0; index < COUNT; index++) {
        CHECK(turn_until_len(bed, &ends[index], 3));
    }
    for (unsigned index = 0; index < COUNT; index++) {
        pair_close(bed, &ends[index], &ends[COUNT + index]);
    }
    ring_close_fd(bed->ring, listener.fd);
    CHECK(turn_until(bed, &listener.receive_ends, 1));
    mem_free(ends);
}

ON_EVERY_ENGINE(more_starts_than_the_queue_holds_are_all_done, .entries = 8)
{
    enum { COUNT = 40 };
    struct end near, far;
    pair_open(bed, &near, &far);
    struct end *timers = mem_zalloc(COUNT * sizeof(*timers));
    for (unsigned index = 0; index < COUNT; index++) {
        timers[index] = end_of(bed, -1);
        ring_unlink(bed->ring, &timers[index].send, "/nonexistent-dir/x");
    }
    for (unsigned index = 0; index < COUNT; index++) {
        CHECK(turn_until(bed, &timers[index].send_ends, 1));
        CHECK(timers[index].send_result == -ENOENT);
    }
    mem_free(timers);
    pair_close(bed, &near, &far);
}

ON_EVERY_ENGINE(connecting_to_nobody_is_refused)
{
    struct sockaddr_in address;
    int listen_fd = listen_any(bed, &address);
    ring_close_fd(bed->ring, listen_fd);
    settle(bed);
    int result;
    int fd = connect_to(bed, (struct sockaddr *)&address, sizeof(address), &result);
    CHECK(result == -ECONNREFUSED);
    ring_close_fd(bed->ring, fd);
    settle(bed);
}

ON_EVERY_ENGINE(unix_sockets_work_and_have_their_mode)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", bed->dir);
    struct ring_listen_options options = {
        .address = address.sun_path, .backlog = 8, .unix_mode = 0600, .is_unix = true};
    struct end listener = end_of(bed, ring_listen(bed->ring, &options));
    CHECK(listener.fd >= 0);
    if (bed->world == NULL) {
        struct stat stat_of_path;
        CHECK(stat(address.sun_path, &stat_of_path) == 0);
        CHECK((stat_of_path.st_mode & 0777) == 0600);
    }
    listener.receive.done = on_accept;
    ring_accept(bed->ring, &listener.receive, listener.fd);
    int result;
    struct end far =
        end_of(bed, connect_to(bed, (struct sockaddr *)&address, sizeof(address), &result));
    CHECK(result == 0);
    CHECK(turn_until(bed, &listener.accepted_count, 1));
    struct end near = end_of(bed, listener.accepted[0]);
    char text[RING_ADDRESS_TEXT_MAX], wanted[RING_ADDRESS_TEXT_MAX];
    (void)snprintf(wanted, sizeof(wanted), "%.100s:0", address.sun_path);
    ring_peer_text(bed->ring, near.fd, text);
    CHECK(strcmp(text, wanted) == 0);
    CHECK(ring_peer_is_local(bed->ring, near.fd));
    CHECK(ring_socket_tune(bed->ring, near.fd, true, 60) == 0);
    ring_receive(bed->ring, &near.receive, near.fd);
    ring_send(bed->ring, &far.send, far.fd, "hello", 5);
    CHECK(turn_until_len(bed, &near, 5));
    pair_close(bed, &near, &far);
    ring_close_fd(bed->ring, listener.fd);
    CHECK(turn_until(bed, &listener.receive_ends, 1));
    CHECK(bed->world != NULL || unlink(address.sun_path) == 0);
}

ON_EVERY_ENGINE(running_out_of_descriptors_ends_an_accept)
{
    struct sockaddr_in address;
    struct end listener = end_of(bed, listen_any(bed, &address));
    listener.receive.done = on_accept;
    struct end far = end_of(bed, ring_socket(bed->ring, AF_INET, NULL));
    struct rlimit before;
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    struct rlimit low = {.rlim_cur = 64, .rlim_max = before.rlim_max};
    CHECK(setrlimit(RLIMIT_NOFILE, &low) == 0);
    int *taken = mem_alloc(5000 * sizeof(*taken));
    unsigned taken_count = 0;
    for (int fd; (fd = ring_socket(bed->ring, AF_INET, NULL)) >= 0;) {
        CHECK(taken_count < 5000);
        taken[taken_count++] = fd;
    }
    ring_accept(bed->ring, &listener.receive, listener.fd);
    ring_connect(bed->ring, &far.send, far.fd, (struct sockaddr *)&address, sizeof(address));
    CHECK(turn_until(bed, &listener.receive_ends, 1));
    CHECK(listener.receive_result == -EMFILE && listener.accepted_count == 0);
    CHECK(turn_until(bed, &far.send_ends, 1) && far.send_result == 0);
    for (unsigned index = 0; index < taken_count; index++) {
        ring_close_fd(bed->ring, taken[index]);
    }
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    settle(bed);
    ring_accept(bed->ring, &listener.receive, listener.fd);
    CHECK(turn_until(bed, &listener.accepted_count, 1)); /* It had stayed in the backlog. */
    struct end near = end_of(bed, listener.accepted[0]);
    ring_close_fd(bed->ring, listener.fd);
    CHECK(turn_until(bed, &listener.receive_ends, 2));
    pair_close(bed, &near, &far);
    mem_free(taken);
}

/* ---- Timers ---- */

struct timers {
    struct ring_op ops[64];
    unsigned order[64];
    int results[64];
    unsigned count;
};

/* A timer knows its place among the 64 by what its owner left in `fd`'s stead: its address. */
static struct timers *timers_under_test;

static void on_timer(struct ring_op *op, int result)
{
    struct timers *timers = timers_under_test;
    timers->order[timers->count] = (unsigned)(op - timers->ops);
    timers->results[timers->count++] = result;
}

ON_EVERY_ENGINE(timers_come_in_order_and_can_be_cancelled)
{
    struct timers timers = {0};
    timers_under_test = &timers;
    int64_t start_us = ring_mono_us(bed->ring);
    for (unsigned index = 0; index < 64; index++) {
        timers.ops[index].done = on_timer;
        ring_timer(bed->ring, &timers.ops[index], start_us + 2000 + (index * 37 % 64) * 100);
    }
    for (unsigned index = 0; index < 64; index += 4) {
        ring_cancel(bed->ring, &timers.ops[index]);
    }
    CHECK(timers.count == 0);
    CHECK(turn_until(bed, &timers.count, 64));
    CHECK(ring_mono_us(bed->ring) >= start_us + 2000 + 63 * 100);
    unsigned rung = 0;
    int64_t last_us = 0;
    for (unsigned index = 0; index < 64; index++) {
        if (timers.results[index] == -ECANCELED) {
            CHECK(timers.order[index] % 4 == 0);
            continue;
        }
        CHECK(timers.results[index] == 0);
        CHECK(timers.ops[timers.order[index]].due_mono_us >= last_us);
        last_us = timers.ops[timers.order[index]].due_mono_us;
        rung++;
    }
    CHECK(rung == 48);
}

ON_EVERY_ENGINE(a_turn_without_time_does_not_wait)
{
    struct timers timers = {0};
    timers_under_test = &timers;
    timers.ops[0].done = on_timer;
    ring_timer(bed->ring, &timers.ops[0], ring_mono_us(bed->ring) + 3600LL * 1000000);
    int64_t start_us = ring_mono_us(bed->ring);
    CHECK(ring_turn(bed->ring, 0) == 0);
    CHECK(ring_turn(bed->ring, start_us - 5) == 0);
    CHECK(ring_mono_us(bed->ring) - start_us < 60LL * 1000000);
    CHECK(timers.ops[0].in_flight);
    ring_cancel(bed->ring, &timers.ops[0]);
    CHECK(ring_turn(bed->ring, INT64_MAX) == 1 && timers.results[0] == -ECANCELED);
}

/* ---- Files ---- */

static int wait_for(struct bed *bed, struct end *end)
{
    unsigned wanted = end->send_ends + 1;
    CHECK(turn_until(bed, &end->send_ends, wanted));
    return end->send_result;
}

ON_EVERY_ENGINE(files_are_written_synced_renamed_and_read)
{
    enum { LEN = 256 * 1024 };
    char from[80], to[80];
    (void)snprintf(from, sizeof(from), "%s/temp", bed->dir);
    (void)snprintf(to, sizeof(to), "%s/final", bed->dir);
    struct end end = end_of(bed, -1);
    ring_open_file(bed->ring, &end.send, to, O_RDONLY, 0);
    CHECK(wait_for(bed, &end) == -ENOENT);
    ring_open_file(bed->ring, &end.send, from, O_RDWR | O_CREAT | O_EXCL, 0644);
    int fd = wait_for(bed, &end);
    CHECK(fd >= 0);
    char *bytes = pattern(LEN);
    char *out = mem_zalloc(LEN);
    ring_write(bed->ring, &end.send, fd, bytes, LEN, -1);
    CHECK(wait_for(bed, &end) == LEN);
    ring_write(bed->ring, &end.send, fd, "tail", 4, -1);
    CHECK(wait_for(bed, &end) == 4);
    ring_write(bed->ring, &end.send, fd, "HEAD", 4, 0);
    CHECK(wait_for(bed, &end) == 4);
    ring_write(bed->ring, &end.send, fd, "", 0, 0);
    CHECK(wait_for(bed, &end) == 0);
    ring_fsync(bed->ring, &end.send, fd, true);
    CHECK(wait_for(bed, &end) == 0);
    ring_fsync(bed->ring, &end.send, fd, false);
    CHECK(wait_for(bed, &end) == 0);
    ring_rename(bed->ring, &end.send, from, to);
    CHECK(wait_for(bed, &end) == 0);
    ring_rename(bed->ring, &end.send, from, to);
    CHECK(wait_for(bed, &end) == -ENOENT);
    ring_read(bed->ring, &end.send, fd, out, LEN, 0);
    CHECK(wait_for(bed, &end) == LEN);
    CHECK(memcmp(out, "HEAD", 4) == 0 && memcmp(out + 4, bytes + 4, LEN - 4) == 0);
    ring_read(bed->ring, &end.send, fd, out, LEN, LEN);
    CHECK(wait_for(bed, &end) == 4 && memcmp(out, "tail", 4) == 0);
    ring_read(bed->ring, &end.send, fd, out, LEN, -1);
    CHECK(wait_for(bed, &end) == 0);
    ring_close_fd(bed->ring, fd);
    ring_unlink(bed->ring, &end.send, to);
    CHECK(wait_for(bed, &end) == 0);
    ring_unlink(bed->ring, &end.send, to);
    CHECK(wait_for(bed, &end) == -ENOENT);
    mem_free(bytes);
    mem_free(out);
}

ON_EVERY_ENGINE(operations_in_flight_are_let_go_when_the_ring_closes)
{
    struct end near, far;
    pair_open(bed, &near, &far);
    ring_receive(bed->ring, &near.receive, near.fd);
    char *bytes = pattern(1024);
    ring_receive_into(bed->ring, &far.receive, far.fd, bytes, 1024);
    struct ring_op timer = {.done = on_timer};
    ring_timer(bed->ring, &timer, INT64_MAX - 1);
    settle(bed);
    if (bed->world != NULL) {
        sim_node_stop(bed->world, 0, false);
        CHECK(!near.receive.in_flight && !far.receive.in_flight && !timer.in_flight);
        bed->ring = sim_node_start(bed->world, 0);
        mem_free(bytes);
        return;
    }
    ring_close(bed->ring);
    CHECK(!near.receive.in_flight && !far.receive.in_flight && !timer.in_flight);
    CHECK(near.receive_ends == 0 && far.receive_ends == 0);
    mem_free(bytes);
    CHECK(close(near.fd) == 0 && close(far.fd) == 0);
    CHECK(ring_open(&bed->ring, &(struct ring_options){.engine = "auto"}) == 0);
}

TEST(ring, unknown_engines_are_refused)
{
    struct ring *ring;
    CHECK(ring_open(&ring, &(struct ring_options){.engine = "kqueue"}) == -EINVAL);
}
