/* The face of the ring: fills operations in, keeps the timers, and hands the rest to an engine.
 *
 *     ring_send ... ring_fsync --> op_begin --> engine->start        (queues, no system call)
 *     ring_turn --> engine->turn (submit, wait, call back)
 *               --> finished list (results known without the kernel)
 *               --> timers that are due
 *
 * Timers are a binary heap of pointers to operations, each of which knows its place, so that
 * starting and cancelling cost O(log n) and looking at the next costs nothing. A wheel would be
 * cheaper for thousands of timers, but a ring has a handful (keys expire in a wheel of their own).
 *
 * The table of descriptors names the reader and the writer in flight on each: 24 bytes per
 * descriptor. It makes closing cheap: an io_uring can also cancel by descriptor, but then it walks
 * everything that is in flight, which for ten thousand connections that close together is a hundred
 * million steps.
 *
 * Invariants:
 *   1. heap[i]->heap_index == i, and no entry is due before its parent (heap[(i - 1) / 2]).
 *   2. An operation in flight is known in exactly one place: the heap, the finished list, or
 *      the engine.
 *   3. fds[fd].reader and .writer are in flight on fd, or NULL.
 *   4. A turn calls back only what was there when its delivery began; what callbacks add waits for
 *      the next turn, so that a turn always ends. */
#include "ring/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "ring/ring_internal.h"

/* ---- Timers ---- */

static void heap_set(struct ring *ring, uint32_t index, struct ring_op *op)
{
    ring->heap[index] = op;
    op->heap_index = index;
}

static void heap_sift_up(struct ring *ring, uint32_t index, struct ring_op *op)
{
    while (index > 0) {
        uint32_t parent = (index - 1) / 2;
        if (ring->heap[parent]->due_mono_us <= op->due_mono_us) {
            break;
        }
        heap_set(ring, index, ring->heap[parent]);
        index = parent;
    }
    heap_set(ring, index, op);
}

static void heap_sift_down(struct ring *ring, uint32_t index, struct ring_op *op)
{
    for (;;) {
        uint32_t child = index * 2 + 1;
        if (child >= ring->heap_count) {
            break;
        }
        if (child + 1 < ring->heap_count &&
            ring->heap[child + 1]->due_mono_us < ring->heap[child]->due_mono_us) {
            child++;
        }
        if (ring->heap[child]->due_mono_us >= op->due_mono_us) {
            break;
        }
        heap_set(ring, index, ring->heap[child]);
        index = child;
    }
    heap_set(ring, index, op);
}

static void heap_push(struct ring *ring, struct ring_op *op)
{
    if (ring->heap_count == ring->heap_cap) {
        ring->heap_cap = ring->heap_cap == 0 ? 16 : ring->heap_cap * 2;
        ring->heap = mem_realloc(ring->heap, ring->heap_cap * sizeof(*ring->heap));
    }
    heap_sift_up(ring, ring->heap_count++, op);
}

static void heap_remove(struct ring *ring, struct ring_op *op)
{
    uint32_t index = op->heap_index;
    ASSERT(index < ring->heap_count && ring->heap[index] == op);
    struct ring_op *last = ring->heap[--ring->heap_count];
    if (last == op) {
        return;
    }
    if (last->due_mono_us < op->due_mono_us) {
        heap_sift_up(ring, index, last);
    } else {
        heap_sift_down(ring, index, last);
    }
}

int64_t ring_timer_next_us(const struct ring *ring)
{
    return ring->heap_count == 0 ? INT64_MAX : ring->heap[0]->due_mono_us;
}

static unsigned timers_run(struct ring *ring)
{
    if (ring->heap_count == 0) {
        return 0;
    }
    int64_t now_us = ring_mono_us(ring);
    unsigned count = 0;
    /* The bound keeps a callback that starts a timer due at once from running for ever. */
    for (uint32_t left = ring->heap_count; left > 0 && ring_timer_next_us(ring) <= now_us; left--) {
        struct ring_op *op = ring->heap[0];
        heap_remove(ring, op);
        op->in_flight = false;
        op->done(op, 0);
        count++;
    }
    return count;
}

/* ---- The shared part ---- */

void ring_init(struct ring *ring, const struct ring_engine *engine)
{
    *ring = (struct ring){.engine = engine};
    list_init(&ring->finished);
}

void ring_deinit(struct ring *ring)
{
    for (uint32_t index = 0; index < ring->heap_count; index++) {
        ring->heap[index]->in_flight = false;
    }
    while (!list_is_empty(&ring->finished)) {
        struct ring_op *op = LIST_OWNER(ring->finished.next, struct ring_op, link);
        list_remove(&op->link);
        op->in_flight = false;
    }
    mem_free(ring->heap);
    mem_free(ring->fds);
}

struct ring_fd *ring_fd_grow(struct ring *ring, unsigned index)
{
    unsigned count = ring->fd_count == 0 ? 64 : ring->fd_count;
    ASSERT(index < INT_MAX / 2);
    while (count <= index) {
        count *= 2;
    }
    ring->fds = mem_realloc(ring->fds, count * sizeof(*ring->fds));
    memset(&ring->fds[ring->fd_count], 0, (count - ring->fd_count) * sizeof(*ring->fds));
    ring->fd_count = count;
    return &ring->fds[index];
}

static bool parts_advance(struct ring_op *op, size_t moved)
{
    struct msghdr *message = &op->message;
    while (message->msg_iovlen > 0 && moved >= message->msg_iov->iov_len) {
        moved -= message->msg_iov->iov_len;
        message->msg_iov++;
        message->msg_iovlen--;
    }
    if (message->msg_iovlen == 0) {
        return true;
    }
    message->msg_iov->iov_base = (char *)message->msg_iov->iov_base + moved;
    message->msg_iov->iov_len -= moved;
    return false;
}

bool ring_op_advance(struct ring_op *op, size_t moved)
{
    op->done_len += moved;
    if (op->kind == RING_OP_SEND_PARTS) {
        return parts_advance(op, moved);
    }
    op->data += moved;
    op->len -= moved;
    if (op->offset >= 0) {
        op->offset += (int64_t)moved;
    }
    return op->len == 0;
}

static bool is_worth_epoll(int error)
{
    return error == -EPERM || error == -ENOSYS || error == -EACCES || error == -ENOMEM;
}

int ring_open(struct ring **out, const struct ring_options *options)
{
    if (strcmp(options->engine, "uring") == 0) {
        return uring_open(out, options);
    }
    if (strcmp(options->engine, "epoll") == 0) {
        return epoll_open(out, options);
    }
    if (strcmp(options->engine, "auto") != 0) {
        return -EINVAL;
    }
    int error = uring_open(out, options);
    if (is_worth_epoll(error)) {
        log_write(LOG_NOTICE, "io_uring is not available here (%s); using epoll", strerror(-error));
        error = epoll_open(out, options);
    }
    return error;
}

void ring_close(struct ring *ring)
{
    ring->engine->close(ring);
}

const char *ring_engine_name(const struct ring *ring)
{
    return ring->engine->name;
}

size_t ring_buffers_memory(const struct ring *ring)
{
    const struct ring_pool *pool = ring->pool;
    uint32_t blocks = (pool->count + RING_POOL_STEP - 1) / RING_POOL_STEP;
    return (size_t)blocks * RING_POOL_STEP * pool->buffer_len;
}

static unsigned finished_run(struct ring *ring)
{
    if (list_is_empty(&ring->finished)) {
        return 0;
    }
    unsigned count = 0;
    struct list now; /* The whole list moves over, so that new ones wait for the next turn. */
    list_push_front(&ring->finished, &now);
    list_remove(&ring->finished);
    while (!list_is_empty(&now)) {
        struct ring_op *op = LIST_OWNER(now.next, struct ring_op, link);
        list_remove(&op->link);
        ring_op_end(ring, op, op->result);
        count++;
    }
    return count;
}

unsigned ring_turn(struct ring *ring, int64_t until_mono_us)
{
    int64_t next_us = ring_timer_next_us(ring);
    int64_t until_us = until_mono_us < next_us ? until_mono_us : next_us;
    if (!list_is_empty(&ring->finished) || until_us < 0) {
        until_us = 0;
    }
    unsigned count = ring->engine->turn(ring, until_us);
    count += finished_run(ring);
    return count + timers_run(ring);
}

int64_t ring_mono_us(const struct ring *ring)
{
    return ring->engine->mono_us(ring);
}

/* ---- Sockets ---- */

int ring_listen(struct ring *ring, const struct ring_listen_options *options)
{
    return ring->engine->listen(ring, options);
}

int ring_share_port(struct ring *ring, int listen_fd, bool is_shared)
{
    return ring->engine->share_port(ring, listen_fd, is_shared);
}

int ring_socket(struct ring *ring, int family, const char *source)
{
    return ring->engine->socket(ring, family, source);
}

int ring_socket_tune(struct ring *ring, int fd, bool no_delay, int keepalive_s)
{
    return ring->engine->tune(ring, fd, no_delay, keepalive_s);
}

void ring_peer_text(struct ring *ring, int fd, char out[RING_ADDRESS_TEXT_MAX])
{
    ring->engine->address_text(ring, fd, true, out);
}

void ring_local_text(struct ring *ring, int fd, char out[RING_ADDRESS_TEXT_MAX])
{
    ring->engine->address_text(ring, fd, false, out);
}

bool ring_peer_has_ended(struct ring *ring, int fd)
{
    return ring->engine->peer_has_ended(ring, fd);
}

bool ring_peer_is_local(struct ring *ring, int fd)
{
    return ring->engine->peer_is_local(ring, fd);
}

/* Fills in what every kind has. The fields of other kinds keep what they had: clearing 160 bytes
 * for each send is what this avoids. */
static inline void op_begin(struct ring_op *op, enum ring_op_kind kind, int fd)
{
    ASSERT(!op->in_flight && op->done != NULL);
    op->in_flight = true;
    op->cancelled = false;
    op->is_finished = false;
    op->kind = (uint8_t)kind;
    op->fd = fd;
    op->done_len = 0;
    list_init(&op->link);
}

static inline void op_set_data(struct ring_op *op, const void *data, size_t len)
{
    op->data = (char *)(uintptr_t)data;
    op->len = len;
    op->offset = -1;
}

static void start_reader(struct ring *ring, struct ring_op *op)
{
    struct ring_fd *entry = ring_fd_at(ring, op->fd);
    ASSERT(entry->reader == NULL);
    entry->reader = op;
    ring->engine->start(ring, op);
}

static void start_writer(struct ring *ring, struct ring_op *op)
{
    struct ring_fd *entry = ring_fd_at(ring, op->fd);
    ASSERT(entry->writer == NULL);
    entry->writer = op;
    ring->engine->start(ring, op);
}

void ring_accept(struct ring *ring, struct ring_op *op, int listen_fd)
{
    op_begin(op, RING_OP_ACCEPT, listen_fd);
    start_reader(ring, op);
}

void ring_receive(struct ring *ring, struct ring_op *op, int fd)
{
    op_begin(op, RING_OP_RECEIVE, fd);
    start_reader(ring, op);
}

void ring_buffer_release(struct ring *ring, const struct ring_buffer *buffer)
{
    ring->engine->release(ring, buffer);
}

void ring_receive_into(struct ring *ring, struct ring_op *op, int fd, void *data, size_t len)
{
    op_begin(op, RING_OP_RECEIVE_INTO, fd);
    op_set_data(op, data, len > INT_MAX ? INT_MAX : len);
    start_reader(ring, op);
}

void ring_send(struct ring *ring, struct ring_op *op, int fd, const void *data, size_t len)
{
    ASSERT(len <= INT_MAX);
    op_begin(op, RING_OP_SEND, fd);
    op_set_data(op, data, len);
    if (len == 0) {
        ring_op_finish(ring, op, 0);
        return;
    }
    start_writer(ring, op);
}

void ring_send_parts(struct ring *ring, struct ring_op *op, int fd, struct iovec *parts,
                     unsigned part_count)
{
    ASSERT(part_count <= RING_PARTS_MAX);
    op_begin(op, RING_OP_SEND_PARTS, fd);
    op->message = (struct msghdr){.msg_iov = parts, .msg_iovlen = part_count};
    if (parts_advance(op, 0)) {
        ring_op_finish(ring, op, 0);
        return;
    }
    start_writer(ring, op);
}

void ring_connect(struct ring *ring, struct ring_op *op, int fd, struct sockaddr *address,
                  socklen_t len)
{
    op_begin(op, RING_OP_CONNECT, fd);
    op->data = (char *)address;
    op->len = len;
    start_writer(ring, op);
}

void ring_shutdown(struct ring *ring, int fd)
{
    ring->engine->shutdown(ring, fd);
}

void ring_close_fd(struct ring *ring, int fd)
{
    ring->engine->close_fd(ring, fd);
}

void ring_cancel(struct ring *ring, struct ring_op *op)
{
    if (!op->in_flight || op->cancelled || op->is_finished) {
        return;
    }
    op->cancelled = true;
    if (op->kind == RING_OP_TIMER) {
        heap_remove(ring, op);
        ring_op_finish(ring, op, -ECANCELED);
        return;
    }
    ring->engine->cancel(ring, op);
}

/* ---- Files ---- */

void ring_open_file(struct ring *ring, struct ring_op *op, const char *path, int flags,
                    unsigned mode)
{
    op_begin(op, RING_OP_OPEN, -1);
    op->data = (char *)(uintptr_t)path;
    op->len = mode;
    op->offset = flags | O_CLOEXEC;
    ring->engine->start(ring, op);
}

void ring_read(struct ring *ring, struct ring_op *op, int fd, void *data, size_t len,
               int64_t offset)
{
    op_begin(op, RING_OP_READ, fd);
    op_set_data(op, data, len > INT_MAX ? INT_MAX : len);
    op->offset = offset;
    ring->engine->start(ring, op);
}

void ring_write(struct ring *ring, struct ring_op *op, int fd, const void *data, size_t len,
                int64_t offset)
{
    ASSERT(len <= INT_MAX);
    op_begin(op, RING_OP_WRITE, fd);
    op_set_data(op, data, len);
    op->offset = offset;
    if (len == 0) {
        ring_op_finish(ring, op, 0);
        return;
    }
    ring->engine->start(ring, op);
}

void ring_fsync(struct ring *ring, struct ring_op *op, int fd, bool is_data_only)
{
    op_begin(op, RING_OP_FSYNC, fd);
    op->len = is_data_only;
    ring->engine->start(ring, op);
}

void ring_rename(struct ring *ring, struct ring_op *op, const char *from, const char *to)
{
    op_begin(op, RING_OP_RENAME, -1);
    op->data = (char *)(uintptr_t)from;
    op->offset = (int64_t)(intptr_t)to;
    ring->engine->start(ring, op);
}

void ring_unlink(struct ring *ring, struct ring_op *op, const char *path)
{
    op_begin(op, RING_OP_UNLINK, -1);
    op->data = (char *)(uintptr_t)path;
    ring->engine->start(ring, op);
}

/* ---- Timers ---- */

void ring_timer(struct ring *ring, struct ring_op *op, int64_t due_mono_us)
{
    op_begin(op, RING_OP_TIMER, -1);
    op->due_mono_us = due_mono_us;
    heap_push(ring, op);
}
