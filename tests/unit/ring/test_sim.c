/* What only the simulated world does: nodes apart, cuts, crashes, full disks, and runs that repeat.
 */
#include "ring/sim.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>

#include "tests/unit/test.h"

struct trace {
    struct ring_op accept, receive, connect, send, file;
    struct ring *near, *far;
    int listen_fd, near_fd, far_fd;
    int result;
    unsigned count;    /* Completions of `connect`, `send` and `file`. */
    uint64_t checksum; /* Of everything that was seen, in its order. */
    size_t received;
    int receive_end; /* 1 while it goes on. */
};

static struct trace *trace; /* Of the case that is running. */

static void note(int result)
{
    trace->checksum = trace->checksum * 1099511628211u + (uint64_t)result;
}

static void on_done(struct ring_op *op, int result)
{
    (void)op;
    note(result);
    trace->result = result;
    trace->count++;
}

static void on_receive(struct ring_op *op, int result)
{
    note(result);
    if (result > 0) {
        trace->received += (size_t)result;
        ring_buffer_release(trace->near, &op->buffer);
    }
    if (!op->in_flight) {
        trace->receive_end = result;
    }
}

static void on_accept(struct ring_op *op, int result)
{
    (void)op;
    note(result);
    if (result >= 0) {
        trace->near_fd = result;
        ring_receive(trace->near, &trace->receive, result);
    }
}

/* Steps the world until the count is reached or the time is over. */
static bool step_until(struct sim_world *world, unsigned count, int64_t until_us)
{
    struct ring *ring;
    while (trace->count < count && (ring = sim_world_step(world, until_us)) != NULL) {
        ring_turn(ring, 0);
    }
    return trace->count >= count;
}

static void step_all(struct sim_world *world, int64_t for_us)
{
    (void)step_until(world, UINT32_MAX, sim_world_now_us(world) + for_us);
}

static struct sim_world *open_two(struct trace *out, uint64_t seed)
{
    struct sim_world *world =
        sim_world_new(&(struct sim_options){.seed = seed, .is_stepped = true, .piece_max = 700});
    *out = (struct trace){.accept.done = on_accept,
                          .receive.done = on_receive,
                          .connect.done = on_done,
                          .send.done = on_done,
                          .file.done = on_done,
                          .near_fd = -1,
                          .receive_end = 1};
    trace = out;
    out->near = sim_node_start(world, 0);
    out->far = sim_node_start(world, 1);
    return world;
}

static void connect_two(struct sim_world *world)
{
    trace->listen_fd = ring_listen(
        trace->near,
        &(struct ring_listen_options){.address = "0.0.0.0", .port = 6379, .backlog = 9});
    CHECK(trace->listen_fd >= 0);
    ring_accept(trace->near, &trace->accept, trace->listen_fd);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(6379), .sin_addr.s_addr = htonl(0x0a000001)};
    trace->far_fd = ring_socket(trace->far, AF_INET, NULL);
    ring_connect(trace->far, &trace->connect, trace->far_fd, (struct sockaddr *)&address,
                 sizeof(address));
    CHECK(step_until(world, 1, INT64_MAX) && trace->result == 0);
    step_all(world, 10000);
    CHECK(trace->near_fd >= 0);
}

static uint64_t run_once(uint64_t seed)
{
    struct trace mine;
    struct sim_world *world = open_two(&mine, seed);
    connect_two(world);
    char bytes[5000] = {0};
    ring_send(mine.far, &mine.send, mine.far_fd, bytes, sizeof(bytes));
    CHECK(step_until(world, 2, INT64_MAX) && mine.result == (int)sizeof(bytes));
    step_all(world, 100000);
    CHECK(mine.received == sizeof(bytes));
    uint64_t checksum = mine.checksum;
    sim_world_free(world);
    return checksum;
}

TEST(sim, the_same_seed_gives_the_same_run)
{
    uint64_t seed = test_seed();
    CHECK(run_once(seed) == run_once(seed));
    CHECK(run_once(seed) != run_once(seed + 1));
}

TEST(sim, nodes_that_are_apart_get_their_bytes_later)
{
    struct trace mine;
    struct sim_world *world = open_two(&mine, test_seed());
    connect_two(world);
    sim_world_part(world, 0, 1, true);
    ring_send(mine.far, &mine.send, mine.far_fd, "abc", 3);
    CHECK(step_until(world, 2, INT64_MAX));
    step_all(world, 1000000);
    CHECK(mine.received == 0);
    sim_world_part(world, 0, 1, false);
    step_all(world, 1000000);
    CHECK(mine.received == 3);
    sim_world_free(world);
}

TEST(sim, a_cut_resets_both_ends)
{
    struct trace mine;
    struct sim_world *world = open_two(&mine, test_seed());
    connect_two(world);
    sim_world_cut(world, 0, 1);
    step_all(world, 10000);
    CHECK(mine.receive_end == -ECONNRESET);
    ring_send(mine.far, &mine.send, mine.far_fd, "abc", 3);
    CHECK(step_until(world, 2, INT64_MAX) && mine.result == -ECONNRESET);
    sim_world_free(world);
}

TEST(sim, a_node_that_crashes_resets_its_peers)
{
    struct trace mine;
    struct sim_world *world = open_two(&mine, test_seed());
    connect_two(world);
    sim_node_stop(world, 1, true);
    step_all(world, 10000);
    CHECK(mine.receive_end == -ECONNRESET);
    mine.far = sim_node_start(world, 1);
    sim_world_free(world);
}

static int finish(struct sim_world *world)
{
    unsigned wanted = trace->count + 1;
    CHECK(step_until(world, wanted, INT64_MAX));
    return trace->result;
}

TEST(sim, a_crash_keeps_what_was_synced_and_a_piece_of_the_rest)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct trace mine;
        struct sim_world *world = open_two(&mine, seed);
        ring_open_file(mine.near, &mine.file, "log", O_WRONLY | O_CREAT | O_APPEND, 0600);
        int fd = finish(world);
        CHECK(fd >= 0);
        ring_write(mine.near, &mine.file, fd, "0123456789", 10, -1);
        CHECK(finish(world) == 10);
        ring_fsync(mine.near, &mine.file, fd, true);
        CHECK(finish(world) == 0);
        ring_write(mine.near, &mine.file, fd, "abcdef", 6, -1);
        CHECK(finish(world) == 6);
        sim_node_stop(world, 0, true);
        size_t len;
        const char *data = sim_file_peek(world, 0, "log", &len);
        CHECK(data != NULL && len >= 10 && len <= 16);
        CHECK(memcmp(data, "0123456789abcdef", len) == 0);
        sim_world_free(world);
    }
}

TEST(sim, disks_fill_up_and_fail)
{
    struct trace mine;
    struct sim_world *world = open_two(&mine, test_seed());
    struct sim_disk *disk = sim_node_disk(world, 0);
    disk->capacity_bytes = 12;
    ring_open_file(mine.near, &mine.file, "log", O_WRONLY | O_CREAT, 0600);
    int fd = finish(world);
    ring_write(mine.near, &mine.file, fd, "0123456789", 10, -1);
    CHECK(finish(world) == 10);
    ring_write(mine.near, &mine.file, fd, "0123456789", 10, -1);
    CHECK(finish(world) == -ENOSPC);
    disk->capacity_bytes = UINT64_MAX;
    disk->write_failures = 1;
    ring_write(mine.near, &mine.file, fd, "0123456789", 10, -1);
    CHECK(finish(world) == -EIO);
    disk->fsync_failures = 1;
    ring_fsync(mine.near, &mine.file, fd, false);
    CHECK(finish(world) == -EIO);
    disk->fsync_us = 50000;
    int64_t before_us = sim_world_now_us(world);
    ring_fsync(mine.near, &mine.file, fd, false);
    CHECK(finish(world) == 0 && sim_world_now_us(world) >= before_us + 50000);
    sim_world_free(world);
}

TEST(sim, a_rename_before_a_sync_loses_the_contents)
{
    struct trace mine;
    struct sim_world *world = open_two(&mine, 7);
    sim_file_put(world, 0, "dump", "old", 3);
    ring_open_file(mine.near, &mine.file, "temp", O_WRONLY | O_CREAT, 0600);
    int fd = finish(world);
    char bytes[1000] = {0};
    ring_write(mine.near, &mine.file, fd, bytes, sizeof(bytes), 0);
    CHECK(finish(world) == 1000);
    ring_rename(mine.near, &mine.file, "temp", "dump");
    CHECK(finish(world) == 0);
    sim_node_stop(world, 0, true);
    size_t len;
    CHECK(sim_file_peek(world, 0, "dump", &len) != NULL && len < 1000);
    CHECK(sim_file_peek(world, 0, "temp", &len) == NULL);
    sim_world_free(world);
}
