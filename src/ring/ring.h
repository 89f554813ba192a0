/* Completion-style input and output: the one face behind which sockets, files and timers live.
 *
 * An operation is a struct ring_op embedded in its owner. The owner starts it, the engine owns it
 * while it is in flight, and each completion calls op->done(op, result) from inside ring_turn.
 * Nothing here waits but ring_turn.
 *
 *                 ring_accept ... ring_send          one system call submits and waits
 *      owner  ------------------------------>  ring  ------------------------------>  kernel
 *             <------------------------------        <------------------------------
 *                 op->done(op, result)                 completions
 *
 * Three engines give the same semantics: io_uring, epoll, and a simulated world for tests
 * (ring/sim.h).
 *
 * Rules that hold for every engine:
 *   1. `result` is the operation's own result, or a negative errno. Cancelled operations end with
 *      -ECANCELED (or with their result when they were quicker).
 *   2. op->in_flight is true from the start of an operation until its last completion; it is
 *      already false when `done` is called for that last one. An owner may be freed only when none
 *      of its operations is in flight. An operation is zeroed once, before its first start.
 *   3. `done` may start, cancel and release anything, but never calls ring_turn or ring_close.
 *   4. Multishot operations (accept, receive) complete many times; when one ends (in_flight is
 *      false in `done`) the owner decides whether to start it again. The engine re-arms by itself
 *      after a transient end (ENOBUFS). Bytes never come with the last completion of a receive:
 *      that one is 0 or an error, so a cancelled receive hands over what it had and then ends.
 *   5. Closing goes through ring_close_fd, which first cancels what is in flight on the descriptor,
 *      so that the peer sees its FIN at once. A send started before it is tried once.
 *   6. Sends complete only when everything was sent or an error struck: the engine continues short
 *      sends itself.
 *   7. A descriptor has at most one reading operation (accept, receive, receive_into) and one
 *      writing operation (send, connect) in flight.
 *   8. The thread that opens a ring is the only one that uses it, and it does not fork afterwards.
 *
 * An owner that lags pauses a receive with ring_cancel and starts it again later: while it is in
 * flight the kernel may fill one buffer after the other, though no connection gets more than a
 * bounded number of them in one turn.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/list.h"

struct ring;
struct ring_op;

typedef void (*ring_done_fn)(struct ring_op *op, int result);

/* Bytes received into one of the ring's own buffers. Borrowed from the ring until
 * ring_buffer_release. */
struct ring_buffer {
    char *data;
    uint32_t len; /* Bytes received. */
    uint32_t id;  /* The engine's name for the buffer. */
};

enum ring_op_kind {
    RING_OP_NONE,
    RING_OP_ACCEPT,
    RING_OP_RECEIVE,
    RING_OP_RECEIVE_INTO,
    RING_OP_SEND,
    RING_OP_SEND_PARTS,
    RING_OP_CONNECT,
    RING_OP_READ,
    RING_OP_WRITE,
    RING_OP_FSYNC,
    RING_OP_OPEN,
    RING_OP_RENAME,
    RING_OP_UNLINK,
    RING_OP_TIMER,
};

struct ring_op {
    ring_done_fn done;         /* Set by the owner before the start; never NULL. */
    struct ring_buffer buffer; /* RECEIVE, result > 0: the bytes, the callee's until released. */
    bool in_flight;            /* Read-only for owners. */

    /* SEND, SEND_PARTS: set by the owner before each start. The owner does not wait for this
     * completion, so it alone does not end the wait of ring_turn (it comes with the next thing that
     * does). This saves a system call for each reply after which nothing else is to be sent. */
    bool is_patient;

    /* The rest belongs to the engine. */
    uint8_t kind; /* enum ring_op_kind */
    bool cancelled;
    bool is_finished; /* `result` is known; waits to be called back. */
    union {
        int fd;
        uint32_t heap_index; /* Timers: place in the ring's heap. */
    };
    int result;
    int64_t due_mono_us; /* Timers. */
    char *data;          /* The unsent or unread part. */
    size_t len;
    size_t done_len; /* Bytes already moved by earlier short transfers. */
    union {
        int64_t offset;        /* Files; -1 for whatever else has `data`. */
        struct msghdr message; /* SEND_PARTS. */
    };
    struct list link; /* Engine queues. */
    void *engine;     /* Engine-private. */
};

struct ring_options {
    const char *engine;   /* "auto", "uring" or "epoll". */
    unsigned entries;     /* Submission queue size; 0 is the default. */
    unsigned buffer_len;  /* Bytes of one receive buffer; 0 is 16 KiB (hostile builds: 13). */
    unsigned buffers_max; /* Most receive buffers, made as needed; 0 is the default. */
};

/* Opens the engine asked for; "auto" tries io_uring and falls back to epoll on EPERM, ENOSYS,
 * EACCES and ENOMEM, logging why in one line. Returns 0 or negative errno. */
int ring_open(struct ring **out, const struct ring_options *options)
    __attribute__((warn_unused_result));

/* Cancels whatever is still in flight without calling back, and frees the ring. Descriptors stay
 * open. */
void ring_close(struct ring *ring);

const char *ring_engine_name(const struct ring *ring); /* "uring", "epoll" or "sim" */

/* Bytes of receive buffers, whoever holds them. O(1). */
size_t ring_buffers_memory(const struct ring *ring);

/* Submits everything started since the last turn (one system call), waits for a completion until
 * `until_mono_us` (0: does not wait, INT64_MAX: for ever), then calls back every completion that is
 * there and every timer that is due. Returns how many were called back. A signal ends the wait
 * early. */
unsigned ring_turn(struct ring *ring, int64_t until_mono_us);

/* Monotonic microseconds, as this ring sees time (the simulated engine has its own). */
int64_t ring_mono_us(const struct ring *ring);

/* ---- Sockets ---- */

struct ring_listen_options {
    const char *address; /* IPv4 or IPv6 text, or a path for a unix socket. */
    uint16_t port;       /* 0 with is_unix. */
    int backlog;
    unsigned unix_mode; /* Permissions of a unix socket's file; 0 leaves the umask's. */
    bool is_unix;
    bool is_ipv6_only; /* So that "::" and "0.0.0.0" can both be bound. */
    bool is_shared;    /* May overlap with listeners that ring_share_port has opened to it. */
};

/* Opens a listening, non-blocking socket. Returns the descriptor or negative errno. */
int ring_listen(struct ring *ring, const struct ring_listen_options *options)
    __attribute__((warn_unused_result));

/* Lets a listener with is_shared be opened on addresses that this one of the same process has, or
 * lets it no longer. Both then listen; meant for the moment in which one takes over from the other.
 * Returns 0 or negative errno. */
int ring_share_port(struct ring *ring, int listen_fd, bool is_shared)
    __attribute__((warn_unused_result));

/* Opens a non-blocking socket (AF_INET, AF_INET6, AF_UNIX) for ring_connect; `source` (may be
 * NULL) is the address to bind to. Returns the descriptor or negative errno. */
int ring_socket(struct ring *ring, int family, const char *source)
    __attribute__((warn_unused_result));

/* Options that sockets of connections get. keepalive_s 0 switches probes off. Returns 0 or negative
 * errno; a unix socket takes them silently. */
int ring_socket_tune(struct ring *ring, int fd, bool no_delay, int keepalive_s);

enum { RING_ADDRESS_TEXT_MAX = 128 };

/* "127.0.0.1:6379", "[::1]:6379" or "/path:0" of the peer (or of this end; a peer on a unix
 * socket is named by the path it connected to). Always terminates `out`, "?:0" when unknown. */
void ring_peer_text(struct ring *ring, int fd, char out[RING_ADDRESS_TEXT_MAX]);
void ring_local_text(struct ring *ring, int fd, char out[RING_ADDRESS_TEXT_MAX]);

/* True for a peer on the loopback interface or a unix socket: what protected mode lets in. */
bool ring_peer_is_local(struct ring *ring, int fd);

/* True when the peer has sent its end or a reset, though bytes before it may not have been
 * received. One system call: for sockets that nothing is received from. */
bool ring_peer_has_ended(struct ring *ring, int fd);

/* Multishot: result is a new non-blocking, close-on-exec descriptor. Ends on errors such as
 * EMFILE. */
void ring_accept(struct ring *ring, struct ring_op *op, int listen_fd);

/* Multishot: result > 0 comes with op->buffer; 0 is the end of the stream (and ends the
 * operation). */
void ring_receive(struct ring *ring, struct ring_op *op, int fd);
void ring_buffer_release(struct ring *ring, const struct ring_buffer *buffer);

/* Once: up to `len` bytes straight into `data`; completes with what was there (at least 1 byte),
 * 0 at the end. The memory stays the caller's and must live until completion. Not while a
 * ring_receive is in flight on the same descriptor. */
void ring_receive_into(struct ring *ring, struct ring_op *op, int fd, void *data, size_t len);

/* Sends everything; result is the total, which is at most INT_MAX. `data`, or `parts` and what they
 * point at, must live until completion; `parts` is used up on the way. At most one send per
 * descriptor at a time. part_count is at most RING_PARTS_MAX. */
enum { RING_PARTS_MAX = 64 };
void ring_send(struct ring *ring, struct ring_op *op, int fd, const void *data, size_t len);
void ring_send_parts(struct ring *ring, struct ring_op *op, int fd, struct iovec *parts,
                     unsigned part_count);

/* `address` must live until completion. */
void ring_connect(struct ring *ring, struct ring_op *op, int fd, struct sockaddr *address,
                  socklen_t len);

/* Shuts both directions down now; operations in flight then end by themselves. */
void ring_shutdown(struct ring *ring, int fd);

/* Cancels what is in flight on `fd` and closes it. Operations still complete, later, with
 * -ECANCELED or their own result. Do not close a file whose reads or writes are still in flight. */
void ring_close_fd(struct ring *ring, int fd);

/* Asks for an early end; the operation's `done` still comes. Harmless when it is not in flight. */
void ring_cancel(struct ring *ring, struct ring_op *op);

/* ---- Files ---- */

/* Paths must live until completion. ring_open_file's result is a descriptor. Reads and writes
 * complete with bytes moved (writes: all of them, or an error; -EIO for a file that takes
 * nothing); offset -1 uses and moves the file position. The order of operations in flight
 * together is not defined. */
void ring_open_file(struct ring *ring, struct ring_op *op, const char *path, int flags,
                    unsigned mode);
void ring_read(struct ring *ring, struct ring_op *op, int fd, void *data, size_t len,
               int64_t offset);
void ring_write(struct ring *ring, struct ring_op *op, int fd, const void *data, size_t len,
                int64_t offset);
void ring_fsync(struct ring *ring, struct ring_op *op, int fd, bool is_data_only);
void ring_rename(struct ring *ring, struct ring_op *op, const char *from, const char *to);
void ring_unlink(struct ring *ring, struct ring_op *op, const char *path);

/* ---- Timers ---- */

/* Once, at or after `due_mono_us`; result is 0, or -ECANCELED after ring_cancel. */
void ring_timer(struct ring *ring, struct ring_op *op, int64_t due_mono_us);
