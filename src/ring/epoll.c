/* The epoll engine: the same face over system calls that do not block, for kernels and containers
 * that deny io_uring.
 *
 *     turn:  started ops -> try each send once        (completions go to `finished`)
 *            epoll_pwait2                             (no wait when something is finished or
 * unread) edges -> go on with sends, accept; readable descriptors -> `unread` unread -> recv into a
 * pooled buffer -> op->done finished -> op->done                     (ring.c)
 *
 * A descriptor is made known to epoll once, edge-triggered and for both directions; from then on
 * its entry remembers what the edges said. That costs one epoll_ctl per connection in its life,
 * where level-triggered watching costs two more for every send that falls short and for every
 * pause.
 *
 * A receive that comes back shorter than its buffer has emptied the socket, so the read that would
 * only return EAGAIN is saved: a request and its reply cost one recv, one send and their share of
 * one epoll_wait. After an edge that announced the end of the stream reads go on until they return
 * 0, because no other edge will come.
 *
 * Fairness: a descriptor gets at most EPOLL_READS_MAX buffers per turn and then goes to the back of
 * `unread`.
 *
 * Invariants:
 *   1. An operation in flight is on `started`, on `unread`, on `finished`, with the file helper, or
 * it waits for an edge and is on no list.
 *   2. Nothing is called back before the wait: a turn submits first.
 *   3. A reader on `unread` is on a descriptor with is_readable set.
 *
 * Rejected: one event structure per descriptor with pointers inside it (stale events after a close;
 * descriptors are looked up in the table instead, and an edge of a closed descriptor finds nobody).
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "ring/files.h"

enum {
    EPOLL_EVENTS_MAX = 512, /* Edges taken per turn; the rest comes with the next. */
#ifdef OURO_HOSTILE
    EPOLL_READS_MAX = 2,
#else
    EPOLL_READS_MAX = 4, /* 64 KiB per descriptor and turn. */
#endif
    EPOLL_ACCEPTS_MAX = 64, /* Per listener and turn. */
};

struct epoll {
    struct ring ring; /* First: the public pointer is this one. */
    int fd;
    bool has_pwait2;     /* Linux 5.11: waits in nanoseconds. */
    struct list started; /* Operations not tried yet. */
    struct list unread;  /* Readers that have something to read. */
    struct ring_pool pool;
    struct files *files;
    struct epoll_event events[EPOLL_EVENTS_MAX];
};

static struct epoll *epoll_of(struct ring *ring)
{
    return (struct epoll *)(void *)ring;
}

/* ---- Sending ---- */

/* Tries once. Returns true when the operation has a result, which is then in op->result. */
static bool send_try(struct ring_op *op)
{
    for (;;) {
        ssize_t moved = op->kind == RING_OP_SEND_PARTS
                            ? sendmsg(op->fd, &op->message, MSG_DONTWAIT | MSG_NOSIGNAL)
                            : send(op->fd, op->data, op->len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (moved < 0 && errno == EINTR) {
            continue;
        }
        if (moved < 0) {
            op->result = -errno;
            return errno != EAGAIN;
        }
        if (ring_op_advance(op, (size_t)moved)) {
            op->result = (int)op->done_len;
            return true;
        }
    }
}

static bool connect_try(struct ring_op *op)
{
    int failed = connect(op->fd, (const struct sockaddr *)(void *)op->data, (socklen_t)op->len);
    op->result = failed != 0 && errno != EISCONN ? -errno : 0;
    return op->result != -EINPROGRESS && op->result != -EALREADY;
}

/* After an edge: the outcome of a connect that was in progress. */
static bool connect_check(struct ring_op *op)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(op->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) {
        error = errno;
    }
    if (error == 0) { /* A writable socket that is not connected has not been tried yet. */
        struct sockaddr_storage peer;
        socklen_t peer_len = sizeof(peer);
        if (getpeername(op->fd, (struct sockaddr *)&peer, &peer_len) != 0) {
            return connect_try(op);
        }
    }
    op->result = -error;
    return true;
}

static bool write_try(struct ring_op *op)
{
    return op->kind == RING_OP_CONNECT ? connect_try(op) : send_try(op);
}

/* ---- Receiving ---- */

/* Notes what a read of `asked` bytes said about the rest. */
static void entry_note_read(struct ring_fd *entry, ssize_t got, size_t asked)
{
    if (got < 0 && errno == EAGAIN) {
        entry->is_readable = false;
        entry->is_ended = false; /* It was the hang-up of a socket that had yet to connect. */
    } else if (got > 0 && (size_t)got < asked && !entry->is_ended) {
        entry->is_readable = false;
    }
}

static bool is_readable(struct ring *ring, int fd)
{
    return ring_fd_at(ring, fd)->is_readable;
}

/* One buffer. Returns true when the operation may go on reading now. */
static bool receive_once(struct epoll *epoll, struct ring_op *op)
{
    uint32_t id;
    if (!ring_pool_take(&epoll->pool, &id)) {
        list_push_back(&epoll->unread, &op->link); /* Until an owner gives a buffer back. */
        return false;
    }
    char *data = ring_pool_data(&epoll->pool, id);
    size_t len = epoll->pool.buffer_len;
    ssize_t got = recv(op->fd, data, len, MSG_DONTWAIT);
    int error = got < 0 ? errno : 0;
    entry_note_read(ring_fd_at(&epoll->ring, op->fd), got, len);
    if (got > 0) {
        op->buffer = (struct ring_buffer){.data = data, .len = (uint32_t)got, .id = id};
        op->done(op, (int)got);
        return op->in_flight && !op->cancelled && is_readable(&epoll->ring, op->fd);
    }
    ring_pool_put(&epoll->pool, id);
    if (error != EAGAIN && error != EINTR) {
        ring_op_end(&epoll->ring, op, -error);
        return false;
    }
    return error == EINTR;
}

static unsigned receive_run(struct epoll *epoll, struct ring_op *op)
{
    unsigned count = 0;
    while (count < EPOLL_READS_MAX) {
        count++;
        if (!receive_once(epoll, op)) {
            return count;
        }
    }
    list_push_back(&epoll->unread, &op->link);
    return count;
}

static unsigned receive_into_run(struct epoll *epoll, struct ring_op *op)
{
    ssize_t got;
    do {
        got = recv(op->fd, op->data, op->len, MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    int result = got < 0 ? -errno : (int)got;
    entry_note_read(ring_fd_at(&epoll->ring, op->fd), got, op->len);
    if (result == -EAGAIN) {
        return 0;
    }
    ring_op_end(&epoll->ring, op, result);
    return 1;
}

static unsigned accept_run(struct epoll *epoll, struct ring_op *op)
{
    for (unsigned count = 1; count <= EPOLL_ACCEPTS_MAX; count++) {
        int fd = accept4(op->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && errno == EAGAIN) {
            ring_fd_at(&epoll->ring, op->fd)->is_readable = false;
            return count - 1;
        }
        if (fd < 0) {
            ring_op_end(&epoll->ring, op, -errno);
            return count;
        }
        op->done(op, fd);
        if (!op->in_flight || op->cancelled) {
            return count;
        }
    }
    list_push_back(&epoll->unread, &op->link);
    return EPOLL_ACCEPTS_MAX;
}

static unsigned read_run(struct epoll *epoll, struct ring_op *op)
{
    switch ((enum ring_op_kind)op->kind) {
    case RING_OP_ACCEPT:
        return accept_run(epoll, op);
    case RING_OP_RECEIVE:
        return receive_run(epoll, op);
    default:
        return receive_into_run(epoll, op);
    }
}

static unsigned unread_run(struct epoll *epoll)
{
    if (list_is_empty(&epoll->unread)) {
        return 0;
    }
    unsigned count = 0;
    struct list now; /* The whole list moves over, so that each gets one share per turn. */
    list_push_front(&epoll->unread, &now);
    list_remove(&epoll->unread);
    while (!list_is_empty(&now)) {
        struct ring_op *op = LIST_OWNER(now.next, struct ring_op, link);
        list_remove(&op->link);
        count += read_run(epoll, op);
    }
    return count;
}

/* ---- Starting ---- */

static int watch(struct epoll *epoll, int fd)
{
    struct ring_fd *entry = ring_fd_at(&epoll->ring, fd);
    if (entry->is_watched) {
        return 0;
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.fd = fd};
    if (epoll_ctl(epoll->fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        return -errno;
    }
    entry->is_watched = true;
    return 0;
}

static void epoll_start(struct ring *ring, struct ring_op *op)
{
    struct epoll *epoll = epoll_of(ring);
    if (op->kind > RING_OP_CONNECT) {
        files_start(epoll->files, op);
        return;
    }
    int error = watch(epoll, op->fd);
    if (error != 0) {
        ring_op_finish(ring, op, error);
    } else if (op->kind >= RING_OP_SEND) {
        list_push_back(&epoll->started, &op->link);
    } else if (is_readable(ring, op->fd)) {
        list_push_back(&epoll->unread, &op->link);
    }
}

/* Sends, before the wait. Returns true when one that somebody waits for has its result. */
static bool started_run(struct epoll *epoll)
{
    bool is_awaited = false;
    while (!list_is_empty(&epoll->started)) {
        struct ring_op *op = LIST_OWNER(epoll->started.next, struct ring_op, link);
        list_remove(&op->link);
        if (write_try(op)) {
            ring_op_finish(&epoll->ring, op, op->result);
            is_awaited = is_awaited || !op->is_patient || op->kind == RING_OP_CONNECT;
        }
    }
    return is_awaited;
}

static void epoll_cancel(struct ring *ring, struct ring_op *op)
{
    struct epoll *epoll = epoll_of(ring);
    if (op->kind > RING_OP_CONNECT && !files_cancel(epoll->files, op)) {
        return; /* It is being done, and completes with its result. */
    }
    list_remove(&op->link);
    ring_op_finish(ring, op, -ECANCELED);
}

static void epoll_close_fd(struct ring *ring, int fd)
{
    struct ring_fd *entry = ring_fd_at(ring, fd);
    struct ring_op *reader = entry->reader;
    struct ring_op *writer = entry->writer;
    *entry = (struct ring_fd){0};
    if (reader != NULL) {
        ring_cancel(ring, reader);
    }
    if (writer != NULL && list_is_linked(&writer->link) && write_try(writer)) {
        list_remove(&writer->link); /* Started in this turn: it had not been tried yet. */
        ring_op_finish(ring, writer, writer->result);
    } else if (writer != NULL) {
        ring_cancel(ring, writer);
    }
    (void)close(fd);
}

static void epoll_release(struct ring *ring, const struct ring_buffer *buffer)
{
    ring_pool_put(&epoll_of(ring)->pool, buffer->id);
}

/* ---- The turn ---- */

static bool can_read(const struct epoll *epoll)
{
    return epoll->pool.free_count > 0 || epoll->pool.count < epoll->pool.max;
}

static int wait_for_edges(struct epoll *epoll, int64_t until_mono_us)
{
    int64_t left_us = 0;
    if (until_mono_us == INT64_MAX) {
        return epoll_wait(epoll->fd, epoll->events, EPOLL_EVENTS_MAX, -1);
    }
    if (until_mono_us != 0) {
        left_us = until_mono_us - clock_mono_us();
    }
    if (left_us <= 0) {
        return epoll_wait(epoll->fd, epoll->events, EPOLL_EVENTS_MAX, 0);
    }
    if (epoll->has_pwait2) {
        struct timespec timeout = {.tv_sec = left_us / 1000000,
                                   .tv_nsec = left_us % 1000000 * 1000};
        int count = epoll_pwait2(epoll->fd, epoll->events, EPOLL_EVENTS_MAX, &timeout, NULL);
        if (count >= 0 || (errno != ENOSYS && errno != EPERM)) {
            return count;
        }
        epoll->has_pwait2 = false;
    }
    int64_t left_ms = (left_us + 999) / 1000; /* Up: waking early would only spin. */
    return epoll_wait(epoll->fd, epoll->events, EPOLL_EVENTS_MAX,
                      left_ms > INT32_MAX ? INT32_MAX : (int)left_ms);
}

static void on_edge(struct epoll *epoll, int fd, uint32_t events)
{
    if (fd == files_event_fd(epoll->files)) {
        (void)files_collect(epoll->files, &epoll->ring);
        return;
    }
    struct ring_fd *entry = ring_fd_at(&epoll->ring, fd);
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        entry->is_ended = true;
        entry->is_readable = true;
    }
    if ((events & EPOLLIN) != 0) {
        entry->is_readable = true;
    }
    struct ring_op *reader = entry->reader;
    if (reader != NULL && entry->is_readable && !list_is_linked(&reader->link)) {
        list_push_back(&epoll->unread, &reader->link);
    }
    struct ring_op *writer = entry->writer;
    if (writer != NULL && (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0 &&
        !list_is_linked(&writer->link)) {
        bool is_done = writer->kind == RING_OP_CONNECT ? connect_check(writer) : send_try(writer);
        if (is_done) {
            ring_op_finish(&epoll->ring, writer, writer->result);
        }
    }
}

static unsigned epoll_turn(struct ring *ring, int64_t until_mono_us)
{
    struct epoll *epoll = epoll_of(ring);
    bool is_awaited = started_run(epoll);
    bool has_unread = !list_is_empty(&epoll->unread) && can_read(epoll);
    int count = wait_for_edges(epoll, is_awaited || has_unread ? 0 : until_mono_us);
    for (int index = 0; index < count; index++) {
        on_edge(epoll, epoll->events[index].data.fd, epoll->events[index].events);
    }
    return unread_run(epoll);
}

/* ---- Opening and closing ---- */

static void epoll_close(struct ring *ring)
{
    struct epoll *epoll = epoll_of(ring);
    for (unsigned index = 0; index < ring->fd_count; index++) {
        struct ring_op *ops[] = {ring->fds[index].reader, ring->fds[index].writer};
        for (unsigned which = 0; which < 2; which++) {
            if (ops[which] != NULL) {
                ops[which]->in_flight = false;
            }
        }
    }
    files_close(epoll->files);
    (void)close(epoll->fd);
    ring_pool_deinit(&epoll->pool);
    ring_deinit(ring);
    mem_free(epoll);
}

static const struct ring_engine epoll_engine = {
    .name = "epoll",
    .start = epoll_start,
    .cancel = epoll_cancel,
    .release = epoll_release,
    .close_fd = epoll_close_fd,
    .turn = epoll_turn,
    .close = epoll_close,
    .mono_us = ring_kernel_mono_us,
    .listen = ring_kernel_listen,
    .share_port = ring_kernel_share_port,
    .socket = ring_kernel_socket,
    .tune = ring_kernel_tune,
    .address_text = ring_kernel_address_text,
    .peer_is_local = ring_kernel_peer_is_local,
    .peer_has_ended = ring_kernel_peer_has_ended,
    .shutdown = ring_kernel_shutdown,
};

static int watch_files(int epoll_fd, struct files *files)
{
    int event_fd = files_event_fd(files);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = event_fd};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event_fd, &event) == 0 ? 0 : -errno;
}

int epoll_open(struct ring **out, const struct ring_options *options)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    struct files *files = NULL;
    int error = files_open(&files);
    if (error == 0) {
        error = watch_files(fd, files);
        if (error != 0) {
            files_close(files);
        }
    }
    if (error != 0) {
        (void)close(fd);
        return error;
    }
    struct epoll *epoll = mem_zalloc(sizeof(*epoll));
    ring_init(&epoll->ring, &epoll_engine);
    epoll->fd = fd;
    epoll->files = files;
    epoll->has_pwait2 = true;
    list_init(&epoll->started);
    list_init(&epoll->unread);
    ring_pool_init(&epoll->pool, options);
    epoll->ring.pool = &epoll->pool;
    *out = &epoll->ring;
    return 0;
}
