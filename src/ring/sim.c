/* The simulated engine: time, rings and the order of things.
 *
 * Nothing happens between turns. Each operation in flight has a time before which it does not
 * happen (op->due_mono_us, drawn when it starts and after each partial result); whether it can
 * happen is computed from the state of the world: is there a segment that has arrived, room in the
 * window, a stream in the backlog? The next moment of the world is the least of these times and of
 * the timers.
 *
 *     sim_turn: ready operations --shuffle--> run each --> op->done
 *               none ready: clock to the next moment (unless the world is stepped)
 *
 * Costs O(operations in flight) per turn, which is fine for tests and keeps the state so simple
 * that it is plainly deterministic.
 *
 * Invariants: 1. The clock never goes back. 2. Every choice is drawn from the world's generator, in
 * an order that depends on nothing but earlier choices. 3. An operation in flight is in its ring's
 * `ops`, in the list of the turn that is running it, or finished. */
#include "ring/sim.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "ring/sim_internal.h"

enum { SIM_DELAY_US = 200, SIM_WINDOW_BYTES = 64 * 1024, SIM_PORT_FIRST = 40000 };

int64_t sim_delay_us(struct sim_world *world)
{
    return (int64_t)rng_below(&world->rng, (uint64_t)world->options.delay_us_max + 1);
}

size_t sim_piece(struct sim_world *world, size_t len)
{
    size_t most = len < world->options.piece_max ? len : world->options.piece_max;
    /* Half of the pieces are as large as can be, or nothing would ever end. */
    return rng_below(&world->rng, 2) == 0 ? most : 1 + rng_below(&world->rng, most);
}

/* ---- Descriptors ---- */

int sim_fd_new(struct sim_world *world, unsigned node, struct sim_handle *handle)
{
    struct sim_handle **handles = world->nodes[node].handles;
    for (int index = 0; index < SIM_FDS_MAX; index++) {
        if (handles[index] == NULL) {
            handles[index] = handle;
            return SIM_FD_BASE + index;
        }
    }
    return -EMFILE;
}

struct sim_handle *sim_handle_at(const struct sim_ring *sim, int fd)
{
    int index = fd - SIM_FD_BASE;
    if (index < 0 || index >= SIM_FDS_MAX) {
        return NULL;
    }
    return sim->world->nodes[sim->node].handles[index];
}

static void handle_close(struct sim_world *world, struct sim_handle *handle, bool is_crash)
{
    if (handle->kind == SIM_FILE) {
        sim_file_close(handle);
        mem_free(handle);
        return;
    }
    sim_socket_free(world, handle, is_crash);
}

/* ---- The engine ---- */

static int64_t op_next_us(struct sim_ring *sim, struct ring_op *op)
{
    return op->kind <= RING_OP_CONNECT ? sim_socket_next_us(sim, op) : op->due_mono_us;
}

static int64_t ring_next_us(struct sim_ring *sim)
{
    int64_t next_us = ring_timer_next_us(&sim->ring);
    if (!list_is_empty(&sim->ring.finished)) {
        return sim->world->now_us;
    }
    for (struct list *node = sim->ops.next; node != &sim->ops; node = node->next) {
        int64_t op_us = op_next_us(sim, LIST_OWNER(node, struct ring_op, link));
        next_us = op_us < next_us ? op_us : next_us;
    }
    return next_us;
}

static void op_run(struct sim_ring *sim, struct ring_op *op)
{
    if (op->kind <= RING_OP_CONNECT) {
        list_push_back(&sim->ops, &op->link);
        if (sim_socket_next_us(sim, op) <= sim->world->now_us) {
            sim_socket_run(sim, op);
        }
        return;
    }
    ring_op_end(&sim->ring, op, sim_file_op_run(sim, op));
}

/* Moves what is ready from the ring's list to `now`, in an order drawn by lot. */
static unsigned take_ready(struct sim_ring *sim, struct list *now)
{
    struct ring_op **ready = NULL;
    unsigned count = 0, cap = 0;
    for (struct list *node = sim->ops.next; node != &sim->ops; node = node->next) {
        struct ring_op *op = LIST_OWNER(node, struct ring_op, link);
        if (op_next_us(sim, op) > sim->world->now_us) {
            continue;
        }
        if (count == cap) {
            cap = cap == 0 ? 16 : cap * 2;
            ready = mem_realloc(ready, cap * sizeof(struct ring_op *));
        }
        ready[count++] = op;
    }
    for (unsigned left = count; left > 0; left--) {
        unsigned pick = (unsigned)rng_below(&sim->world->rng, left);
        list_remove(&ready[pick]->link);
        list_push_back(now, &ready[pick]->link);
        ready[pick] = ready[left - 1];
    }
    mem_free(ready);
    return count;
}

static unsigned run_ready(struct sim_ring *sim)
{
    struct list now;
    list_init(&now);
    unsigned count = take_ready(sim, &now);
    while (!list_is_empty(&now)) {
        struct ring_op *op = LIST_OWNER(now.next, struct ring_op, link);
        list_remove(&op->link);
        op_run(sim, op);
    }
    return count;
}

static unsigned sim_turn(struct ring *ring, int64_t until_mono_us)
{
    struct sim_ring *sim = sim_ring_of(ring);
    struct sim_world *world = sim->world;
    unsigned count = run_ready(sim);
    while (count == 0 && !world->options.is_stepped && until_mono_us > world->now_us) {
        int64_t next_us = ring_next_us(sim);
        if (next_us == INT64_MAX && until_mono_us == INT64_MAX) {
            break; /* Nothing will ever happen. */
        }
        world->now_us = next_us < until_mono_us ? next_us : until_mono_us;
        count = run_ready(sim);
    }
    return count;
}

static void sim_start(struct ring *ring, struct ring_op *op)
{
    struct sim_ring *sim = sim_ring_of(ring);
    op->due_mono_us = sim->world->now_us + sim_delay_us(sim->world);
    if (op->kind == RING_OP_FSYNC) {
        op->due_mono_us += sim->world->nodes[sim->node].disk.fsync_us;
    }
    list_push_back(&sim->ops, &op->link);
}

static void sim_cancel(struct ring *ring, struct ring_op *op)
{
    bool is_too_late = op->kind > RING_OP_CONNECT && rng_below(&sim_ring_of(ring)->world->rng, 2);
    if (!is_too_late) {
        list_remove(&op->link);
        ring_op_finish(ring, op, -ECANCELED);
    }
}

static void sim_close_fd(struct ring *ring, int fd)
{
    struct sim_ring *sim = sim_ring_of(ring);
    struct sim_handle *handle = sim_handle_at(sim, fd);
    struct ring_fd *entry = ring_fd_at(ring, fd);
    struct ring_op *ops[] = {entry->reader, entry->writer};
    *entry = (struct ring_fd){0};
    for (unsigned index = 0; index < 2; index++) {
        if (ops[index] != NULL) {
            ring_cancel(ring, ops[index]);
        }
    }
    if (handle != NULL) {
        sim->world->nodes[sim->node].handles[fd - SIM_FD_BASE] = NULL;
        handle_close(sim->world, handle, false);
    }
}

static void sim_release(struct ring *ring, const struct ring_buffer *buffer)
{
    ring_pool_put(&sim_ring_of(ring)->pool, buffer->id);
}

static int64_t sim_mono_us(const struct ring *ring)
{
    return ((const struct sim_ring *)(const void *)ring)->world->now_us;
}

static void sim_close(struct ring *ring)
{
    struct sim_ring *sim = sim_ring_of(ring);
    while (!list_is_empty(&sim->ops)) {
        struct ring_op *op = LIST_OWNER(sim->ops.next, struct ring_op, link);
        list_remove(&op->link);
        op->in_flight = false;
    }
    sim->world->nodes[sim->node].ring = NULL;
    ring_pool_deinit(&sim->pool);
    ring_deinit(ring);
    mem_free(sim);
}

static const struct ring_engine sim_engine = {
    .name = "sim",
    .start = sim_start,
    .cancel = sim_cancel,
    .release = sim_release,
    .close_fd = sim_close_fd,
    .turn = sim_turn,
    .close = sim_close,
    .mono_us = sim_mono_us,
    .listen = sim_listen,
    .share_port = sim_share_port,
    .socket = sim_socket,
    .tune = sim_tune,
    .address_text = sim_address_text,
    .peer_is_local = sim_peer_is_local,
    .peer_has_ended = sim_peer_has_ended,
    .shutdown = sim_shutdown,
};

/* ---- The world ---- */

struct sim_world *sim_world_new(const struct sim_options *options)
{
    struct sim_world *world = mem_zalloc(sizeof(*world));
    world->options = *options;
    if (world->options.delay_us_max == 0) {
        world->options.delay_us_max = SIM_DELAY_US;
    }
    if (world->options.window_bytes == 0) {
        world->options.window_bytes = SIM_WINDOW_BYTES;
    }
    if (world->options.piece_max == 0) {
        world->options.piece_max = world->options.window_bytes;
    }
    world->now_us = 1000000;
    rng_seed(&world->rng, options->seed);
    for (unsigned node = 0; node < SIM_NODES_MAX; node++) {
        list_init(&world->nodes[node].files);
        world->nodes[node].disk.capacity_bytes = UINT64_MAX;
        world->nodes[node].next_port = SIM_PORT_FIRST;
    }
    return world;
}

void sim_world_free(struct sim_world *world)
{
    for (unsigned node = 0; node < SIM_NODES_MAX; node++) {
        sim_node_stop(world, node, false);
        sim_disk_free(&world->nodes[node]);
    }
    mem_free(world);
}

int64_t sim_world_now_us(const struct sim_world *world)
{
    return world->now_us;
}

struct ring *sim_world_step(struct sim_world *world, int64_t until_us)
{
    struct sim_ring *due[SIM_NODES_MAX];
    unsigned due_count = 0;
    int64_t best_us = until_us;
    for (unsigned node = 0; node < SIM_NODES_MAX; node++) {
        struct sim_ring *sim = world->nodes[node].ring;
        int64_t next_us = sim != NULL ? ring_next_us(sim) : INT64_MAX;
        next_us = next_us < world->now_us ? world->now_us : next_us;
        if (sim == NULL || next_us >= INT64_MAX || next_us > best_us) {
            continue;
        }
        due_count = next_us < best_us ? 0 : due_count;
        best_us = next_us;
        due[due_count++] = sim;
    }
    if (best_us != INT64_MAX && best_us > world->now_us) {
        world->now_us = best_us;
    }
    return due_count == 0 ? NULL : &due[rng_below(&world->rng, due_count)]->ring;
}

struct ring *sim_node_start(struct sim_world *world, unsigned node)
{
    ASSERT(node < SIM_NODES_MAX && world->nodes[node].ring == NULL);
    struct sim_ring *sim = mem_zalloc(sizeof(*sim));
    ring_init(&sim->ring, &sim_engine);
    sim->ring.fd_base = SIM_FD_BASE;
    sim->world = world;
    sim->node = node;
    list_init(&sim->ops);
    ring_pool_init(&sim->pool, &(struct ring_options){0});
    sim->ring.pool = &sim->pool;
    world->nodes[node].ring = sim;
    return &sim->ring;
}

void sim_node_stop(struct sim_world *world, unsigned node, bool is_crash)
{
    struct sim_node *stopped = &world->nodes[node];
    if (stopped->ring != NULL) {
        ring_close(&stopped->ring->ring);
    }
    for (unsigned index = 0; index < SIM_FDS_MAX; index++) {
        struct sim_handle *handle = stopped->handles[index];
        stopped->handles[index] = NULL;
        if (handle != NULL) {
            handle_close(world, handle, is_crash);
        }
    }
    if (is_crash) {
        sim_disk_crash(world, stopped);
    }
}

void sim_world_part(struct sim_world *world, unsigned node, unsigned other, bool is_apart)
{
    world->is_apart[node][other] = is_apart;
    world->is_apart[other][node] = is_apart;
}

void sim_world_cut(struct sim_world *world, unsigned node, unsigned other)
{
    for (unsigned index = 0; index < SIM_FDS_MAX; index++) {
        struct sim_handle *handle = world->nodes[node].handles[index];
        if (handle != NULL && handle->kind == SIM_STREAM && handle->peer != NULL &&
            handle->peer->node == other) {
            handle->is_reset = true;
            handle->peer->is_reset = true;
        }
    }
}

struct sim_disk *sim_node_disk(struct sim_world *world, unsigned node)
{
    return &world->nodes[node].disk;
}
