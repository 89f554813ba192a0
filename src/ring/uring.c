/* The io_uring engine: one system call per turn.
 *
 *     owner: ring_send, ring_receive ...          ring_turn
 *                |                                    |
 *                v                                    v
 *     SQ  [send][send][cancel][close] --> io_uring_enter(submit all, wait for one) --> CQ
 *                                                                                      |
 *     buffer ring [ 16 KiB ][ 16 KiB ] ... <-- posted before the enter                 v
 *                                          <-- released by owners <-- op->done(op, result)
 *
 * Identity: the user_data of an entry is the address of its operation, which its owner keeps until
 * the last completion; 0 marks the engine's own entries (cancel and close), whose success is
 * silent.
 *
 * What is asked of the kernel, and from which version on:
 *   5.19  rings of provided buffers, multishot accept, cancel of everything (the least that will
 * do) 6.0   multishot receive (else a receive is armed again after each completion), SINGLE_ISSUER
 *   6.1   DEFER_TASKRUN: completions are worked off inside our own enter, in one batch, instead of
 *         interrupting the thread for each; partial sends are reported, which patience needs
 *
 * Waiting. A reply is sent in the same enter that waits for the next request. The completion of
 * that send is there at once, so the enter would never wait: each turn that answered something
 * would be followed by an empty one. Hence patient sends: they are issued so that they cannot block
 * (MSG_DONTWAIT) and so that their success is silent (CQE_SKIP_SUCCESS, where MSG_WAITALL makes a
 * short send a failure). Once the submission is over, those that left no completion have succeeded.
 * One that fell short does end the wait, and goes on as an ordinary send.
 *
 * Ordinary sends carry MSG_WAITALL: the kernel itself continues them when they fall short.
 *
 * Receive buffers are posted up to a target that follows demand: it starts at 64 and doubles when a
 * turn used three quarters of them or ran dry. Buffers beyond it stay on the pool's stack, so a
 * light load cycles through 64 warm buffers however many there once were.
 *
 * Invariants:
 *   1. posted + free in the pool + held by owners == pool.count.
 *   2. Entries reach the kernel in the order in which they were made: once one is spilled, all are,
 *      until the spill is empty.
 *   3. in_kernel counts operations with a completion still to come; closing waits for it to reach
 * 0, because the kernel may write to their memory until then.
 *
 * Rejected: registered files (a table update per connection, and a slot that is still registered
 * keeps the socket open after close); zero-copy sends (loses below about 10 KiB, and needs a second
 * completion per send). */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/prefetch.h"
#include "ring/ring_internal.h"

enum {
    URING_ENTRIES = 1024,   /* A turn that starts more enters the kernel early. */
    URING_CQ_FACTOR = 8,    /* Completions that fit for each submission entry. */
    URING_POSTED_MIN = 64,  /* Receive buffers posted from the start. */
    URING_GROUP = 0,        /* The name of the buffer ring. */
    URING_CLOSE_TURNS = 50, /* Waits of 20 ms for what is in flight at the close. */
};

struct uring {
    struct ring ring; /* First: the public pointer is this one. */
    struct io_uring kernel;
    unsigned sq_tail;     /* Entries made; the kernel's own tail follows at the enter. */
    unsigned enter_flags; /* Passed with each enter. */
    bool has_multishot_receive;
    bool has_patience;     /* Linux 6.1: see above. */
    struct list patient;   /* Patient sends whose failure would be in the queue after the enter. */
    bool is_patient_stuck; /* Their outcome was not known after the last enter. */
    uint64_t in_kernel;

    struct ring_pool pool;
    struct io_uring_buf_ring *posted_ring;
    size_t posted_ring_len; /* Bytes mapped. */
    uint16_t posted_tail;
    uint16_t posted_mask;
    uint32_t posted;        /* Buffers that the kernel may still take. */
    uint32_t posted_target; /* How many to have posted before an enter. */
    struct list starved;    /* Receives that found no buffer. */

    struct io_uring_sqe *spill; /* Entries that found the queue full. */
    unsigned spill_count, spill_cap;
};

static struct uring *uring_of(struct ring *ring)
{
    return (struct uring *)(void *)ring;
}

/* ---- Submission ---- */

static unsigned sq_pending(const struct uring *uring)
{
    return uring->sq_tail - io_uring_smp_load_acquire(uring->kernel.sq.khead);
}

static bool sq_has_room(const struct uring *uring)
{
    return sq_pending(uring) < uring->kernel.sq.ring_entries;
}

static int uring_enter(struct uring *uring, unsigned wait_count, unsigned flags,
                       struct io_uring_getevents_arg *arg)
{
    io_uring_smp_store_release(uring->kernel.sq.ktail, uring->sq_tail);
    flags |= uring->enter_flags;
    size_t arg_len = 0;
    if (arg != NULL) {
        flags |= IORING_ENTER_EXT_ARG;
        arg_len = sizeof(*arg);
    }
    return io_uring_enter2((unsigned)uring->kernel.enter_ring_fd, sq_pending(uring), wait_count,
                           flags, (sigset_t *)(void *)arg, arg_len);
}

static struct io_uring_sqe *spill_push(struct uring *uring)
{
    if (uring->spill_count == uring->spill_cap) {
        uring->spill_cap = uring->spill_cap == 0 ? 64 : uring->spill_cap * 2;
        uring->spill = mem_realloc(uring->spill, uring->spill_cap * sizeof(*uring->spill));
    }
    return &uring->spill[uring->spill_count++];
}

static void spill_drain(struct uring *uring)
{
    unsigned moved = 0;
    if (uring->spill_count == 0) {
        return;
    }
    while (moved < uring->spill_count && sq_has_room(uring)) {
        unsigned index = uring->sq_tail++ & uring->kernel.sq.ring_mask;
        uring->kernel.sq.sqes[index] = uring->spill[moved++];
    }
    uring->spill_count -= moved;
    memmove(uring->spill, uring->spill + moved, uring->spill_count * sizeof(*uring->spill));
}

/* The next entry, to be filled in at once. When the queue is full it is submitted early; when the
 * kernel takes nothing (too many completions wait), entries are kept here until the next turn. */
static inline struct io_uring_sqe *next_sqe(struct uring *uring)
{
    if (__builtin_expect(uring->spill_count > 0, 0)) {
        return spill_push(uring);
    }
    if (__builtin_expect(!sq_has_room(uring), 0)) {
        (void)uring_enter(uring, 0, 0, NULL);
        if (!sq_has_room(uring)) {
            return spill_push(uring);
        }
    }
    return &uring->kernel.sq.sqes[uring->sq_tail++ & uring->kernel.sq.ring_mask];
}

static uint32_t chunk_len(size_t len)
{
    return len > INT_MAX ? INT_MAX : (uint32_t)len;
}

static void submit_receive(struct uring *uring, struct ring_op *op)
{
    *next_sqe(uring) = (struct io_uring_sqe){
        .opcode = IORING_OP_RECV,
        .flags = IOSQE_BUFFER_SELECT,
        .ioprio = uring->has_multishot_receive ? IORING_RECV_MULTISHOT : 0,
        .fd = op->fd,
        .buf_group = URING_GROUP,
        .user_data = (uintptr_t)op,
    };
}

static void submit_send(struct uring *uring, struct ring_op *op, bool is_patient)
{
    uint32_t flags = MSG_NOSIGNAL | MSG_WAITALL | (is_patient ? MSG_DONTWAIT : 0);
    bool has_parts = op->kind == RING_OP_SEND_PARTS;
    *next_sqe(uring) = (struct io_uring_sqe){
        .opcode = has_parts ? IORING_OP_SENDMSG : IORING_OP_SEND,
        .flags = is_patient ? IOSQE_CQE_SKIP_SUCCESS : 0,
        .fd = op->fd,
        .addr = has_parts ? (uintptr_t)&op->message : (uintptr_t)op->data,
        .len = has_parts ? 1 : chunk_len(op->len),
        .msg_flags = flags,
        .user_data = (uintptr_t)op,
    };
}

static void submit_plain(struct uring *uring, struct ring_op *op, uint8_t opcode)
{
    *next_sqe(uring) = (struct io_uring_sqe){
        .opcode = opcode,
        .fd = op->fd,
        .addr = (uintptr_t)op->data,
        .len = chunk_len(op->len),
        .off = (uint64_t)op->offset,
        .user_data = (uintptr_t)op,
    };
}

static void submit_socket_op(struct uring *uring, struct ring_op *op)
{
    struct io_uring_sqe *sqe = next_sqe(uring);
    *sqe = (struct io_uring_sqe){.fd = op->fd, .user_data = (uintptr_t)op};
    if (op->kind == RING_OP_ACCEPT) {
        sqe->opcode = IORING_OP_ACCEPT;
        sqe->ioprio = IORING_ACCEPT_MULTISHOT;
        sqe->accept_flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
        return;
    }
    sqe->addr = (uintptr_t)op->data;
    if (op->kind == RING_OP_CONNECT) {
        sqe->opcode = IORING_OP_CONNECT;
        sqe->off = op->len;
    } else {
        sqe->opcode = IORING_OP_RECV;
        sqe->len = chunk_len(op->len);
    }
}

static void submit_file_op(struct uring *uring, struct ring_op *op)
{
    struct io_uring_sqe *sqe = next_sqe(uring);
    *sqe = (struct io_uring_sqe){
        .fd = AT_FDCWD, .addr = (uintptr_t)op->data, .user_data = (uintptr_t)op};
    if (op->kind == RING_OP_OPEN) {
        sqe->opcode = IORING_OP_OPENAT;
        sqe->len = (uint32_t)op->len;
        sqe->open_flags = (uint32_t)op->offset;
    } else if (op->kind == RING_OP_RENAME) {
        sqe->opcode = IORING_OP_RENAMEAT;
        sqe->len = (uint32_t)AT_FDCWD;
        sqe->addr2 = (uint64_t)op->offset;
    } else if (op->kind == RING_OP_UNLINK) {
        sqe->opcode = IORING_OP_UNLINKAT;
    } else {
        sqe->opcode = IORING_OP_FSYNC;
        sqe->fd = op->fd;
        sqe->addr = 0;
        sqe->fsync_flags = op->len != 0 ? IORING_FSYNC_DATASYNC : 0;
    }
}

static void uring_start(struct ring *ring, struct ring_op *op)
{
    struct uring *uring = uring_of(ring);
    uring->in_kernel++;
    switch ((enum ring_op_kind)op->kind) {
    case RING_OP_SEND:
    case RING_OP_SEND_PARTS:
        if (op->is_patient && uring->has_patience) {
            list_push_back(&uring->patient, &op->link);
            submit_send(uring, op, true);
        } else {
            submit_send(uring, op, false);
        }
        break;
    case RING_OP_RECEIVE:
        submit_receive(uring, op);
        break;
    case RING_OP_READ:
        submit_plain(uring, op, IORING_OP_READ);
        break;
    case RING_OP_WRITE:
        submit_plain(uring, op, IORING_OP_WRITE);
        break;
    case RING_OP_ACCEPT:
    case RING_OP_CONNECT:
    case RING_OP_RECEIVE_INTO:
        submit_socket_op(uring, op);
        break;
    default:
        submit_file_op(uring, op);
        break;
    }
}

static void submit_cancel(struct uring *uring, const struct ring_op *op)
{
    *next_sqe(uring) = (struct io_uring_sqe){
        .opcode = IORING_OP_ASYNC_CANCEL,
        .flags = IOSQE_CQE_SKIP_SUCCESS,
        .fd = -1,
        .addr = (uintptr_t)op,
    };
}

static void uring_cancel(struct ring *ring, struct ring_op *op)
{
    struct uring *uring = uring_of(ring);
    if (op->kind == RING_OP_RECEIVE && list_is_linked(&op->link)) {
        /* Starved: the kernel does not have it. */
        list_remove(&op->link);
        uring->in_kernel--;
        ring_op_finish(ring, op, -ECANCELED);
        return;
    }
    submit_cancel(uring, op);
}

static void uring_close_fd(struct ring *ring, int fd)
{
    struct uring *uring = uring_of(ring);
    struct ring_fd *entry = ring_fd_at(ring, fd);
    struct ring_op *ops[] = {entry->reader, entry->writer};
    *entry = (struct ring_fd){0};
    for (unsigned index = 0; index < 2; index++) {
        if (ops[index] != NULL) {
            ring_cancel(ring, ops[index]);
        }
    }
    *next_sqe(uring) = (struct io_uring_sqe){
        .opcode = IORING_OP_CLOSE,
        .flags = IOSQE_CQE_SKIP_SUCCESS,
        .fd = fd,
    };
}

/* ---- Receive buffers ---- */

static void uring_release(struct ring *ring, const struct ring_buffer *buffer)
{
    ring_pool_put(&uring_of(ring)->pool, buffer->id);
}

/* Posts free buffers up to the target, the warmest first, and publishes them with one store. */
static void buffers_post(struct uring *uring)
{
    uint32_t id;
    while (uring->posted < uring->posted_target && ring_pool_take(&uring->pool, &id)) {
        struct io_uring_buf *slot =
            &uring->posted_ring->bufs[uring->posted_tail & uring->posted_mask];
        slot->addr = (uintptr_t)ring_pool_data(&uring->pool, id);
        slot->len = uring->pool.buffer_len;
        slot->bid = (uint16_t)id;
        uring->posted_tail++;
        uring->posted++;
    }
    io_uring_smp_store_release(&uring->posted_ring->tail, uring->posted_tail);
}

static void target_raise(struct uring *uring)
{
    uint32_t target = uring->posted_target * 2;
    uring->posted_target = target > uring->pool.max ? uring->pool.max : target;
}

static void buffers_prepare(struct uring *uring)
{
    if (uring->posted < uring->posted_target / 4 && uring->posted_target < uring->pool.max) {
        target_raise(uring);
    }
    if (uring->posted < uring->posted_target) {
        buffers_post(uring);
    }
    while (uring->posted > 0 && !list_is_empty(&uring->starved)) {
        struct ring_op *op = LIST_OWNER(uring->starved.next, struct ring_op, link);
        list_remove(&op->link);
        submit_receive(uring, op);
    }
}

static bool posted_ring_open(struct uring *uring)
{
    uint32_t entries = 1;
    while (entries < uring->pool.max) {
        entries *= 2;
    }
    uring->posted_ring_len = entries * sizeof(struct io_uring_buf);
    void *memory = mmap(NULL, uring->posted_ring_len, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return false;
    }
    uring->posted_ring = memory;
    uring->posted_mask = (uint16_t)(entries - 1);
    struct io_uring_buf_reg reg = {
        .ring_addr = (uintptr_t)memory, .ring_entries = entries, .bgid = URING_GROUP};
    return io_uring_register_buf_ring(&uring->kernel, &reg, 0) == 0;
}

/* ---- Completion ---- */

static void op_end(struct uring *uring, struct ring_op *op, int result)
{
    uring->in_kernel--;
    ring_op_end(&uring->ring, op, result);
}

static void on_receive_bytes(struct uring *uring, struct ring_op *op, int result, unsigned flags)
{
    uint32_t id = flags >> IORING_CQE_BUFFER_SHIFT;
    uring->posted--;
    op->buffer = (struct ring_buffer){
        .data = ring_pool_data(&uring->pool, id), .len = (uint32_t)result, .id = id};
    if (__builtin_expect((flags & IORING_CQE_F_MORE) == 0, 0)) {
        if (op->cancelled) {
            uring->in_kernel--;
            ring_op_finish(&uring->ring, op, -ECANCELED);
        } else {
            submit_receive(uring, op);
        }
    }
    op->done(op, result);
}

static void on_receive_end(struct uring *uring, struct ring_op *op, int result, unsigned flags)
{
    if ((flags & IORING_CQE_F_BUFFER) != 0) { /* Taken, but nothing came. */
        uring->posted--;
        ring_pool_put(&uring->pool, flags >> IORING_CQE_BUFFER_SHIFT);
    }
    if (result == -ENOBUFS && !op->cancelled) {
        if (uring->posted_target < uring->pool.max) {
            target_raise(uring);
        }
        list_push_back(&uring->starved, &op->link);
    } else if (result == -EINVAL && uring->has_multishot_receive) {
        uring->has_multishot_receive = false;
        submit_receive(uring, op);
    } else {
        op_end(uring, op, result == -ENOBUFS ? -ECANCELED : result);
    }
}

static void on_accept(struct uring *uring, struct ring_op *op, int result, unsigned flags)
{
    if ((flags & IORING_CQE_F_MORE) != 0) {
        op->done(op, result);
    } else if (result < 0) {
        op_end(uring, op, result);
    } else {
        if (op->cancelled) {
            uring->in_kernel--;
            ring_op_finish(&uring->ring, op, -ECANCELED);
        } else {
            submit_socket_op(uring, op);
        }
        op->done(op, result);
    }
}

static void on_send(struct uring *uring, struct ring_op *op, int result)
{
    list_remove(&op->link); /* A patient one has spoken up. */
    bool is_short = result >= 0 && !ring_op_advance(op, (size_t)result);
    if (__builtin_expect(result >= 0 && !is_short, 1)) {
        op_end(uring, op, (int)op->done_len);
    } else if (op->cancelled) {
        op_end(uring, op, -ECANCELED);
    } else if (is_short || result == -EAGAIN) {
        submit_send(uring, op, false);
    } else {
        op_end(uring, op, result);
    }
}

static void on_write(struct uring *uring, struct ring_op *op, int result)
{
    if (result <= 0) {
        op_end(uring, op, result == 0 ? -EIO : result);
    } else if (ring_op_advance(op, (size_t)result)) {
        op_end(uring, op, (int)op->done_len);
    } else {
        submit_plain(uring, op, IORING_OP_WRITE);
    }
}

static inline void on_completion(struct uring *uring, struct ring_op *op, int result,
                                 unsigned flags)
{
    switch ((enum ring_op_kind)op->kind) {
    case RING_OP_RECEIVE:
        if (result > 0) {
            on_receive_bytes(uring, op, result, flags);
        } else {
            on_receive_end(uring, op, result, flags);
        }
        break;
    case RING_OP_SEND:
    case RING_OP_SEND_PARTS:
        on_send(uring, op, result);
        break;
    case RING_OP_ACCEPT:
        on_accept(uring, op, result, flags);
        break;
    case RING_OP_WRITE:
        on_write(uring, op, result);
        break;
    default:
        op_end(uring, op, result);
        break;
    }
}

/* Calls back what is in the completion queue now. */
static unsigned reap(struct uring *uring)
{
    struct io_uring_cq *cq = &uring->kernel.cq;
    unsigned mask = cq->ring_mask;
    unsigned head = *cq->khead;
    unsigned tail = io_uring_smp_load_acquire(cq->ktail);
    unsigned count = 0;
    for (; head != tail; head++) {
        const struct io_uring_cqe *cqe = &cq->cqes[head & mask];
        struct ring_op *op = (struct ring_op *)(uintptr_t)cqe->user_data;
        if (op == NULL) {
            continue;
        }
        /* With thousands of connections the next operation is not in the cache. */
        prefetch((const void *)(uintptr_t)cq->cqes[(head + 1) & mask].user_data);
        on_completion(uring, op, cqe->res, cqe->flags);
        count++;
    }
    io_uring_smp_store_release(cq->khead, head);
    return count;
}

/* After an enter: takes the patient sends that the kernel has dealt with. The failed ones among
 * them leave the list when their completions are reaped. */
static void patient_take(struct uring *uring, struct list *taken)
{
    list_init(taken);
    if (list_is_empty(&uring->patient)) {
        return;
    }
    uring->is_patient_stuck =
        uring->spill_count > 0 || sq_pending(uring) > 0 || io_uring_cq_has_overflow(&uring->kernel);
    if (!uring->is_patient_stuck) {
        list_push_front(&uring->patient, taken);
        list_remove(&uring->patient);
    }
}

/* What is left of them has been sent. */
static unsigned patient_run(struct uring *uring, struct list *taken)
{
    unsigned count = 0;
    while (!list_is_empty(taken)) {
        struct ring_op *op = LIST_OWNER(taken->next, struct ring_op, link);
        list_remove(&op->link);
        int total = (int)op->len;
        if (op->kind == RING_OP_SEND_PARTS) {
            total = 0;
            for (size_t index = 0; index < op->message.msg_iovlen; index++) {
                total += (int)op->message.msg_iov[index].iov_len;
            }
        }
        op_end(uring, op, total);
        count++;
    }
    return count;
}

static unsigned uring_turn(struct ring *ring, int64_t until_mono_us)
{
    struct uring *uring = uring_of(ring);
    spill_drain(uring);
    buffers_prepare(uring);
    /* What the kernel has not taken yet must not be waited for. */
    bool is_waiting = until_mono_us != 0 && uring->spill_count == 0 && !uring->is_patient_stuck;
    struct __kernel_timespec timeout = {0};
    struct io_uring_getevents_arg arg = {.ts = (uintptr_t)&timeout};
    bool has_timeout = is_waiting && until_mono_us != INT64_MAX;
    if (has_timeout) {
        int64_t left_us = until_mono_us - clock_mono_us();
        if (left_us <= 0) {
            is_waiting = false;
            has_timeout = false;
        } else {
            timeout.tv_sec = left_us / 1000000;
            timeout.tv_nsec = left_us % 1000000 * 1000;
        }
    }
    /* Nothing to do about failures here: a signal or the time ends the wait, and a kernel that
     * is short of memory or of room for completions takes the rest in a later turn. */
    (void)uring_enter(uring, is_waiting, IORING_ENTER_GETEVENTS, has_timeout ? &arg : NULL);
    struct list patient;
    patient_take(uring, &patient);
    unsigned count = reap(uring);
    return count + patient_run(uring, &patient);
}

/* ---- Opening and closing ---- */

static int queue_open(struct io_uring *kernel, const struct ring_options *options)
{
    static const unsigned attempts[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN,
        IORING_SETUP_COOP_TASKRUN,
        0,
    };
    unsigned entries = options->entries != 0 ? options->entries : URING_ENTRIES;
    int error = -EINVAL;
    for (unsigned index = 0; error == -EINVAL && index < sizeof(attempts) / sizeof(attempts[0]);
         index++) {
        struct io_uring_params params = {
            .flags = attempts[index] | IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL |
                     IORING_SETUP_CQSIZE,
            .cq_entries = entries * URING_CQ_FACTOR,
        };
        error = io_uring_queue_init_params(entries, kernel, &params);
        if (error == 0 && (params.features & IORING_FEAT_EXT_ARG) == 0) {
            io_uring_queue_exit(kernel);
            error = -ENOSYS;
        }
    }
    return error == -EINVAL ? -ENOSYS : error;
}

static void uring_free(struct uring *uring)
{
    io_uring_queue_exit(&uring->kernel);
    if (uring->posted_ring != NULL) {
        (void)munmap(uring->posted_ring, uring->posted_ring_len);
    }
    ring_pool_deinit(&uring->pool);
    ring_deinit(&uring->ring);
    mem_free(uring->spill);
    mem_free(uring);
}

/* Takes completions without calling back, until nothing is left in the kernel. */
static void reap_silently(struct uring *uring)
{
    struct io_uring_cqe *cqe;
    unsigned head;
    unsigned count = 0;
    io_uring_for_each_cqe(&uring->kernel, head, cqe)
    {
        struct ring_op *op = (struct ring_op *)(uintptr_t)cqe->user_data;
        count++;
        if (op == NULL) {
            continue;
        }
        if ((op->kind == RING_OP_ACCEPT || op->kind == RING_OP_OPEN) && cqe->res >= 0) {
            (void)close(cqe->res); /* Nobody will ever hear of it. */
        }
        if ((cqe->flags & IORING_CQE_F_MORE) == 0 && op->in_flight) {
            list_remove(&op->link);
            op->in_flight = false;
            uring->in_kernel--;
        }
    }
    io_uring_cq_advance(&uring->kernel, count);
}

static void drop_all(struct uring *uring, struct list *ops)
{
    while (!list_is_empty(ops)) {
        struct ring_op *op = LIST_OWNER(ops->next, struct ring_op, link);
        list_remove(&op->link);
        op->in_flight = false;
        uring->in_kernel--;
    }
}

static void uring_close(struct ring *ring)
{
    struct uring *uring = uring_of(ring);
    drop_all(uring, &uring->starved);
    for (unsigned turn = 0; uring->in_kernel > 0 && turn < URING_CLOSE_TURNS; turn++) {
        spill_drain(uring);
        *next_sqe(uring) = (struct io_uring_sqe){
            .opcode = IORING_OP_ASYNC_CANCEL,
            .fd = -1,
            .cancel_flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL,
        };
        struct __kernel_timespec timeout = {.tv_nsec = 20 * 1000 * 1000};
        struct io_uring_getevents_arg arg = {.ts = (uintptr_t)&timeout};
        unsigned wait_count = turn == 0 ? 1 : 2; /* The cancel itself completes too. */
        (void)uring_enter(uring, wait_count, IORING_ENTER_GETEVENTS, &arg);
        reap_silently(uring);
        if (uring->spill_count == 0 && sq_pending(uring) == 0) {
            drop_all(uring, &uring->patient);
        }
    }
    if (uring->in_kernel > 0) {
        log_write(LOG_WARNING, "%llu operations did not end when the ring was closed",
                  (unsigned long long)uring->in_kernel);
    }
    uring_free(uring);
}

static const struct ring_engine uring_engine = {
    .name = "uring",
    .start = uring_start,
    .cancel = uring_cancel,
    .release = uring_release,
    .close_fd = uring_close_fd,
    .turn = uring_turn,
    .close = uring_close,
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

int uring_open(struct ring **out, const struct ring_options *options)
{
    struct io_uring kernel;
    int error = queue_open(&kernel, options);
    if (error != 0) {
        return error;
    }
    struct uring *uring = mem_zalloc(sizeof(*uring));
    ring_init(&uring->ring, &uring_engine);
    uring->kernel = kernel;
    list_init(&uring->starved);
    list_init(&uring->patient);
    uring->has_patience = (kernel.flags & IORING_SETUP_DEFER_TASKRUN) != 0;
    ring_pool_init(&uring->pool, options);
    uring->ring.pool = &uring->pool;
    uring->has_multishot_receive = true;
    uring->posted_target = uring->pool.max < URING_POSTED_MIN ? uring->pool.max : URING_POSTED_MIN;
    if (!posted_ring_open(uring)) {
        uring_free(uring);
        return -ENOSYS;
    }
    if (io_uring_register_ring_fd(&uring->kernel) == 1) {
        uring->enter_flags = IORING_ENTER_REGISTERED_RING;
    }
    /* The queue's indirection stays the identity for good: entry i is in slot i. */
    for (unsigned index = 0; index < uring->kernel.sq.ring_entries; index++) {
        uring->kernel.sq.array[index] = index;
    }
    *out = &uring->ring;
    return 0;
}
