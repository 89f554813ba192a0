/* The simulated network: listeners by port, streams as queues of segments.
 *
 *     send on A:  piece --> [segment, ready at now + delay] --> B's inbox --> receive on B
 *                           at most window_bytes in an inbox, then A's send waits
 *
 * A segment is ready no earlier than the one before it: a stream keeps its order whatever the
 * delays. Between nodes that are apart segments stay where they are. An end is a segment too, so it
 * comes after the bytes. A reset is seen at once and drops what was on the way. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/mem.h"
#include "ring/sim_internal.h"

static struct sim_handle *handle_new(enum sim_handle_kind kind, unsigned node)
{
    struct sim_handle *handle = mem_zalloc(sizeof(*handle));
    handle->kind = kind;
    handle->node = node;
    list_init(&handle->backlog);
    list_init(&handle->backlog_link);
    list_init(&handle->inbox);
    return handle;
}

static int handle_bind(struct sim_world *world, struct sim_handle *handle)
{
    int fd = sim_fd_new(world, handle->node, handle);
    if (fd < 0) {
        mem_free(handle);
    }
    return fd;
}

static void inbox_push(struct sim_world *world, struct sim_handle *to, const void *data,
                       uint32_t len)
{
    struct sim_segment *segment = mem_alloc(sizeof(*segment) + len);
    int64_t ready_us = world->now_us + sim_delay_us(world);
    to->inbox_last_us = ready_us > to->inbox_last_us ? ready_us : to->inbox_last_us;
    *segment =
        (struct sim_segment){.ready_us = to->inbox_last_us, .len = len, .is_end = data == NULL};
    if (len > 0) {
        memcpy(segment->data, data, len);
    }
    to->inbox_bytes += len;
    list_push_back(&to->inbox, &segment->link);
}

static void inbox_clear(struct sim_handle *handle)
{
    while (!list_is_empty(&handle->inbox)) {
        struct sim_segment *segment = LIST_OWNER(handle->inbox.next, struct sim_segment, link);
        list_remove(&segment->link);
        mem_free(segment);
    }
}

static void stream_leave(struct sim_world *world, struct sim_handle *stream, bool is_crash)
{
    struct sim_handle *peer = stream->peer;
    if (peer == NULL) {
        return;
    }
    peer->peer = NULL;
    stream->peer = NULL;
    if (is_crash || stream->is_reset) {
        peer->is_reset = true;
    } else if (!stream->is_shut) {
        inbox_push(world, peer, NULL, 0);
    }
}

void sim_socket_free(struct sim_world *world, struct sim_handle *handle, bool is_crash)
{
    while (!list_is_empty(&handle->backlog)) {
        struct sim_handle *stream =
            LIST_OWNER(handle->backlog.next, struct sim_handle, backlog_link);
        list_remove(&stream->backlog_link);
        sim_socket_free(world, stream, true);
    }
    stream_leave(world, handle, is_crash);
    inbox_clear(handle);
    mem_free(handle);
}

/* ---- Opening and naming ---- */

static struct sim_handle *find_listener(struct sim_world *world, unsigned node, unsigned port,
                                        const char *path)
{
    for (unsigned index = 0; index < SIM_FDS_MAX; index++) {
        struct sim_handle *handle = world->nodes[node].handles[index];
        if (handle == NULL || handle->kind != SIM_LISTENER) {
            continue;
        }
        if (path != NULL ? handle->is_unix && strcmp(handle->local, path) == 0
                         : !handle->is_unix && handle->port == port) {
            return handle;
        }
    }
    return NULL;
}

int sim_listen(struct ring *ring, const struct ring_listen_options *options)
{
    struct sim_ring *sim = sim_ring_of(ring);
    struct sim_handle *handle = handle_new(SIM_LISTENER, sim->node);
    handle->is_unix = options->is_unix;
    handle->backlog_max = options->backlog > 0 ? (unsigned)options->backlog : 1;
    if (options->is_unix) {
        (void)snprintf(handle->local, sizeof(handle->local), "%.100s:0", options->address);
    } else {
        handle->port =
            options->port != 0 ? options->port : sim->world->nodes[sim->node].next_port++;
        (void)snprintf(handle->local, sizeof(handle->local), "%.100s:%u", options->address,
                       handle->port);
        const struct sim_handle *other = find_listener(sim->world, sim->node, handle->port, NULL);
        if (other != NULL && !(options->is_shared && other->is_shared)) {
            mem_free(handle);
            return -EADDRINUSE;
        }
    }
    return handle_bind(sim->world, handle);
}

int sim_share_port(struct ring *ring, int fd, bool is_shared)
{
    struct sim_handle *handle = sim_handle_at(sim_ring_of(ring), fd);
    if (handle == NULL || handle->kind != SIM_LISTENER) {
        return -EBADF;
    }
    handle->is_shared = is_shared;
    return 0;
}

int sim_socket(struct ring *ring, int family, const char *source)
{
    (void)family;
    (void)source;
    struct sim_ring *sim = sim_ring_of(ring);
    return handle_bind(sim->world, handle_new(SIM_SOCKET, sim->node));
}

int sim_tune(struct ring *ring, int fd, bool no_delay, int keepalive_s)
{
    (void)no_delay;
    (void)keepalive_s;
    return sim_handle_at(sim_ring_of(ring), fd) == NULL ? -EBADF : 0;
}

void sim_address_text(struct ring *ring, int fd, bool is_peer, char *out)
{
    const struct sim_handle *handle = sim_handle_at(sim_ring_of(ring), fd);
    const char *name = "?:0";
    if (handle != NULL && handle->kind != SIM_FILE) {
        name = is_peer ? handle->peer_name : handle->local;
    }
    (void)snprintf(out, RING_ADDRESS_TEXT_MAX, "%s", name[0] != '\0' ? name : "?:0");
}

bool sim_peer_is_local(struct ring *ring, int fd)
{
    const struct sim_handle *handle = sim_handle_at(sim_ring_of(ring), fd);
    return handle != NULL && handle->is_local;
}

bool sim_peer_has_ended(struct ring *ring, int fd)
{
    struct sim_ring *sim = sim_ring_of(ring);
    const struct sim_handle *handle = sim_handle_at(sim, fd);
    if (handle == NULL || handle->is_reset || list_is_empty(&handle->inbox)) {
        return handle == NULL || handle->is_reset;
    }
    const struct sim_segment *last = LIST_OWNER(handle->inbox.prev, struct sim_segment, link);
    return last->is_end && last->ready_us <= ring_mono_us(ring);
}

void sim_shutdown(struct ring *ring, int fd)
{
    struct sim_ring *sim = sim_ring_of(ring);
    struct sim_handle *handle = sim_handle_at(sim, fd);
    if (handle == NULL || handle->kind != SIM_STREAM || handle->is_shut) {
        return;
    }
    if (handle->peer != NULL) {
        inbox_push(sim->world, handle->peer, NULL, 0);
    }
    handle->is_shut = true;
}

/* ---- When ---- */

static bool is_apart(const struct sim_world *world, const struct sim_handle *handle)
{
    return handle->peer != NULL && world->is_apart[handle->node][handle->peer->node];
}

static int64_t later(int64_t a_us, int64_t b_us)
{
    return a_us > b_us ? a_us : b_us;
}

static int64_t receive_next_us(const struct sim_ring *sim, const struct ring_op *op,
                               const struct sim_handle *handle)
{
    if (handle->kind != SIM_STREAM || handle->is_reset || handle->is_shut) {
        return op->due_mono_us;
    }
    const struct ring_pool *pool = &sim->pool;
    bool has_buffer = pool->free_count > 0 || pool->count < pool->max;
    if (list_is_empty(&handle->inbox) || is_apart(sim->world, handle) ||
        (op->kind == RING_OP_RECEIVE && !has_buffer)) {
        return INT64_MAX;
    }
    return later(op->due_mono_us,
                 LIST_OWNER(handle->inbox.next, struct sim_segment, link)->ready_us);
}

static int64_t send_next_us(const struct sim_ring *sim, const struct ring_op *op,
                            const struct sim_handle *handle)
{
    bool is_over = handle->kind != SIM_STREAM || handle->is_reset || handle->is_shut ||
                   handle->peer == NULL || handle->peer->is_shut;
    /* A third of the window must be free, as in life, or streams end up in crumbs. */
    uint32_t enough = sim->world->options.window_bytes / 3 * 2;
    bool has_room = !is_over && handle->peer->inbox_bytes <= enough;
    return is_over || has_room ? op->due_mono_us : INT64_MAX;
}

static unsigned connect_node(const struct sim_ring *sim, const struct ring_op *op)
{
    const struct sockaddr_in *v4 = (const void *)op->data;
    if (v4->sin_family == AF_INET && ntohl(v4->sin_addr.s_addr) >> 24 == 10) {
        return (ntohl(v4->sin_addr.s_addr) - 1) % SIM_NODES_MAX;
    }
    return sim->node;
}

int64_t sim_socket_next_us(struct sim_ring *sim, struct ring_op *op)
{
    const struct sim_handle *handle = sim_handle_at(sim, op->fd);
    if (handle == NULL || op->due_mono_us > sim->world->now_us) {
        return op->due_mono_us;
    }
    switch ((enum ring_op_kind)op->kind) {
    case RING_OP_ACCEPT:
        if (handle->kind != SIM_LISTENER) {
            return op->due_mono_us;
        }
        return list_is_empty(&handle->backlog)
                   ? INT64_MAX
                   : LIST_OWNER(handle->backlog.next, struct sim_handle, backlog_link)->ready_us;
    case RING_OP_RECEIVE:
    case RING_OP_RECEIVE_INTO:
        return receive_next_us(sim, op, handle);
    case RING_OP_CONNECT:
        return sim->world->is_apart[sim->node][connect_node(sim, op)] ? INT64_MAX : op->due_mono_us;
    default:
        return send_next_us(sim, op, handle);
    }
}

/* ---- What ---- */

static void op_end(struct sim_ring *sim, struct ring_op *op, int result)
{
    list_remove(&op->link);
    ring_op_end(&sim->ring, op, result);
}

static void accept_run(struct sim_ring *sim, struct ring_op *op, struct sim_handle *listener)
{
    if (listener->kind != SIM_LISTENER) {
        op_end(sim, op, -EINVAL);
        return;
    }
    struct sim_handle *stream = LIST_OWNER(listener->backlog.next, struct sim_handle, backlog_link);
    int fd = sim_fd_new(sim->world, sim->node, stream);
    if (fd < 0) {
        op_end(sim, op, fd);
        return;
    }
    list_remove(&stream->backlog_link);
    listener->backlog_count--;
    op->due_mono_us = sim->world->now_us + sim_delay_us(sim->world);
    op->done(op, fd);
}

/* Takes bytes of the first segment. Returns how many; 0 at the end of the stream, which stays. */
static int inbox_take(struct sim_world *world, struct sim_handle *handle, char *out, size_t cap)
{
    struct sim_segment *segment = LIST_OWNER(handle->inbox.next, struct sim_segment, link);
    if (segment->is_end) {
        return 0;
    }
    uint32_t left = segment->len - segment->pos;
    uint32_t take = (uint32_t)sim_piece(world, left < cap ? left : cap);
    memcpy(out, segment->data + segment->pos, take);
    segment->pos += take;
    handle->inbox_bytes -= take;
    if (segment->pos == segment->len) {
        list_remove(&segment->link);
        mem_free(segment);
    }
    return (int)take;
}

static void receive_run(struct sim_ring *sim, struct ring_op *op, struct sim_handle *handle)
{
    if (handle->kind != SIM_STREAM || handle->is_reset || handle->is_shut) {
        int result = handle->is_shut ? 0 : -ECONNRESET;
        op_end(sim, op, handle->kind == SIM_STREAM ? result : -ENOTCONN);
        return;
    }
    if (op->kind == RING_OP_RECEIVE_INTO) {
        op_end(sim, op, inbox_take(sim->world, handle, op->data, op->len));
        return;
    }
    uint32_t id;
    bool has_buffer = ring_pool_take(&sim->pool, &id);
    ASSERT(has_buffer);
    char *data = ring_pool_data(&sim->pool, id);
    int got = inbox_take(sim->world, handle, data, sim->pool.buffer_len);
    if (got == 0) {
        ring_pool_put(&sim->pool, id);
        op_end(sim, op, 0);
        return;
    }
    op->buffer = (struct ring_buffer){.data = data, .len = (uint32_t)got, .id = id};
    op->due_mono_us = sim->world->now_us + sim_delay_us(sim->world);
    op->done(op, got);
}

static int send_error(struct sim_world *world, struct sim_handle *handle)
{
    if (handle->kind != SIM_STREAM) {
        return -ENOTCONN;
    }
    if (rng_below(&world->rng, 1000000) < world->options.cuts_per_million) {
        handle->is_reset = true;
        if (handle->peer != NULL) {
            handle->peer->is_reset = true;
        }
    }
    if (handle->is_reset) {
        return -ECONNRESET;
    }
    bool is_over = handle->is_shut || handle->peer == NULL || handle->peer->is_shut;
    return is_over ? -EPIPE : 0;
}

static void send_run(struct sim_ring *sim, struct ring_op *op, struct sim_handle *handle)
{
    struct sim_world *world = sim->world;
    int error = send_error(world, handle);
    if (error != 0) {
        op_end(sim, op, error);
        return;
    }
    const char *data = op->data;
    size_t len = op->len;
    if (op->kind == RING_OP_SEND_PARTS) {
        data = op->message.msg_iov->iov_base;
        len = op->message.msg_iov->iov_len;
    }
    size_t room = world->options.window_bytes - handle->peer->inbox_bytes;
    size_t piece = sim_piece(world, len < room ? len : room);
    inbox_push(world, handle->peer, data, (uint32_t)piece);
    if (ring_op_advance(op, piece)) {
        op_end(sim, op, (int)op->done_len);
        return;
    }
    op->due_mono_us = world->now_us + sim_delay_us(world);
}

static struct sim_handle *connect_target(struct sim_ring *sim, struct ring_op *op)
{
    const struct sockaddr *address = (const void *)op->data;
    if (address->sa_family == AF_UNIX) {
        char path[RING_ADDRESS_TEXT_MAX];
        ring_address_text(address, (socklen_t)op->len, path);
        return find_listener(sim->world, sim->node, 0, path);
    }
    in_port_t port = address->sa_family == AF_INET
                         ? ((const struct sockaddr_in *)(const void *)op->data)->sin_port
                         : ((const struct sockaddr_in6 *)(const void *)op->data)->sin6_port;
    return find_listener(sim->world, connect_node(sim, op), ntohs(port), NULL);
}

static void connect_run(struct sim_ring *sim, struct ring_op *op, struct sim_handle *handle)
{
    struct sim_handle *listener = connect_target(sim, op);
    if (listener == NULL || listener->backlog_count >= listener->backlog_max) {
        op_end(sim, op, -ECONNREFUSED);
        return;
    }
    struct sim_world *world = sim->world;
    struct sim_handle *remote = handle_new(SIM_STREAM, listener->node);
    handle->kind = SIM_STREAM;
    handle->peer = remote;
    remote->peer = handle;
    remote->is_local = handle->is_local = listener->node == sim->node;
    ring_address_text((const struct sockaddr *)(const void *)op->data, (socklen_t)op->len,
                      handle->peer_name);
    memcpy(remote->local, handle->peer_name, sizeof(remote->local));
    if (listener->is_unix) {
        memcpy(handle->local, listener->local, sizeof(handle->local));
    } else {
        const char *host = remote->is_local ? "127.0.0.1" : "10.0.0.";
        unsigned port = world->nodes[sim->node].next_port++;
        (void)(remote->is_local
                   ? snprintf(handle->local, sizeof(handle->local), "%s:%u", host, port)
                   : snprintf(handle->local, sizeof(handle->local), "%s%u:%u", host, sim->node + 1,
                              port));
    }
    memcpy(remote->peer_name, handle->local, sizeof(remote->peer_name));
    remote->ready_us = world->now_us + sim_delay_us(world);
    list_push_back(&listener->backlog, &remote->backlog_link);
    listener->backlog_count++;
    op_end(sim, op, 0);
}

void sim_socket_run(struct sim_ring *sim, struct ring_op *op)
{
    struct sim_handle *handle = sim_handle_at(sim, op->fd);
    if (handle == NULL) {
        op_end(sim, op, -EBADF);
        return;
    }
    switch ((enum ring_op_kind)op->kind) {
    case RING_OP_ACCEPT:
        accept_run(sim, op, handle);
        break;
    case RING_OP_RECEIVE:
    case RING_OP_RECEIVE_INTO:
        receive_run(sim, op, handle);
        break;
    case RING_OP_CONNECT:
        connect_run(sim, op, handle);
        break;
    default:
        send_run(sim, op, handle);
        break;
    }
}
