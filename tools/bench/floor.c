/* The floor: the least work that a server of this protocol can do. It reads RESP frames through
 * io_uring, counts the commands and answers each with a constant: "+OK", or 64 bytes for a command
 * whose name starts with G. It stores nothing. Figures of the real server are quoted as multiples
 * of this one.
 *
 * For messages it does the least too: a connection that says SU(BSCRIBE) is one that hears, and
 * whoever says PU(BLISH) makes it send a constant of the length that PUBLISH of 64 bytes to a
 * channel "c" has, from one place to each that hears. The answer to both is "+OK".
 *
 *     usage: floor PORT [UNIX-PATH]
 *
 * It talks to liburing directly, with the idioms of src/ring/uring.c: multishot accept and receive,
 * a ring of provided buffers, one enter per turn that submits and waits, sends that cannot block
 * (MSG_DONTWAIT) and whose completions do not end the wait. What it leaves out: timers, limits,
 * closing with operations in flight, more than FDS_MAX descriptors, and every command. */
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    ENTRIES = 1024,
    BUFFER_LEN = 16 * 1024,
    BUFFER_COUNT = 64,
    FDS_MAX = 65536,
};

enum kind { KIND_ACCEPT, KIND_RECEIVE, KIND_SEND };

/* Where in a frame the parser stands: frames may be split anywhere. */
enum state { STATE_STAR, STATE_COUNT, STATE_DOLLAR, STATE_LEN, STATE_BODY };

struct conn {
    int fd;
    enum state state;
    bool is_get; /* The command that is being read answers with the constant. */
    bool is_subscribe, is_publish;
    bool hears;      /* It has subscribed. */
    bool is_name;    /* The argument that is being read is the first. */
    uint32_t args;   /* Still to come. */
    uint64_t number; /* Being read. */
    uint64_t skip;   /* Bytes of the argument still to come, with its CR and LF. */
    char *out;       /* Replies that wait for the send in flight. */
    size_t out_len, out_cap;
    char *sending;    /* In flight, */
    const char *from; /* or what is instead. */
    size_t sending_len, sending_cap, sent;
    bool is_silent; /* The send in flight is. */
};

struct server {
    struct io_uring ring;
    struct io_uring_buf_ring *buffers;
    char *memory;
    int silent[2 * FDS_MAX]; /* Sends that have succeeded unless a completion says otherwise. */
    unsigned silent_count;
    struct conn *conns[FDS_MAX];
    int hearing[FDS_MAX];
    unsigned hearing_count;
};

static const char reply_ok[] = "+OK\r\n";
static const char message[] =
    "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n"
    "$64\r\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n";
static const char reply_get[] =
    "$64\r\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n";

static void fail(const char *what, int error)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(error));
    exit(1);
}

static struct io_uring_sqe *next_sqe(struct server *server)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&server->ring);
    while (sqe == NULL) {
        (void)io_uring_submit(&server->ring);
        sqe = io_uring_get_sqe(&server->ring);
    }
    return sqe;
}

static uint64_t data_of(enum kind kind, int fd)
{
    return ((uint64_t)kind << 32) | (uint32_t)fd;
}

static void start_accept(struct server *server, int fd)
{
    struct io_uring_sqe *sqe = next_sqe(server);
    io_uring_prep_multishot_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC);
    sqe->user_data = data_of(KIND_ACCEPT, fd);
}

static void start_receive(struct server *server, int fd)
{
    struct io_uring_sqe *sqe = next_sqe(server);
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    sqe->user_data = data_of(KIND_RECEIVE, fd);
}

static void start_send(struct server *server, struct conn *conn, bool is_first)
{
    struct io_uring_sqe *sqe = next_sqe(server);
    int flags = MSG_NOSIGNAL | MSG_WAITALL | (is_first ? MSG_DONTWAIT : 0);
    io_uring_prep_send(sqe, conn->fd, conn->from + conn->sent, conn->sending_len - conn->sent,
                       flags);
    sqe->user_data = data_of(KIND_SEND, conn->fd);
    conn->is_silent = is_first;
    if (is_first) {
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
        server->silent[server->silent_count++] = conn->fd;
    }
}

/* Sends what has gathered, unless a send is in flight. */
static void flush(struct server *server, struct conn *conn)
{
    if (conn->sending_len > 0 || conn->out_len == 0) {
        return;
    }
    char *swap = conn->sending;
    size_t swap_cap = conn->sending_cap;
    conn->sending = conn->out;
    conn->sending_cap = conn->out_cap;
    conn->sending_len = conn->out_len;
    conn->from = conn->sending;
    conn->sent = 0;
    conn->out = swap;
    conn->out_cap = swap_cap;
    conn->out_len = 0;
    start_send(server, conn, true);
}

static void append(struct conn *conn, const char *text, size_t len)
{
    if (conn->out_len + len > conn->out_cap) {
        conn->out_cap = conn->out_cap == 0 ? 4096 : conn->out_cap * 2;
        conn->out = realloc(conn->out, conn->out_cap);
        if (conn->out == NULL) {
            fail("realloc", ENOMEM);
        }
    }
    memcpy(conn->out + conn->out_len, text, len);
    conn->out_len += len;
}

static void reply(struct conn *conn)
{
    if (conn->is_get) {
        append(conn, reply_get, sizeof(reply_get) - 1);
    } else {
        append(conn, reply_ok, sizeof(reply_ok) - 1);
    }
}

/* Sends the message from where it lies, or behind what is in flight. */
static void tell(struct server *server, struct conn *conn)
{
    if (conn->sending_len > 0) {
        append(conn, message, sizeof(message) - 1);
        return;
    }
    conn->from = message;
    conn->sending_len = sizeof(message) - 1;
    conn->sent = 0;
    start_send(server, conn, true);
}

/* What the commands of a connection asked for. */
static void tell_all(struct server *server, struct conn *conn)
{
    if (conn->is_subscribe && !conn->hears) {
        conn->hears = true;
        server->hearing[server->hearing_count++] = conn->fd;
    }
    for (unsigned i = 0; conn->is_publish && i < server->hearing_count; i++) {
        if (server->conns[server->hearing[i]] != NULL) {
            tell(server, server->conns[server->hearing[i]]);
        }
    }
    conn->is_publish = conn->is_subscribe = false;
}

/* Reads a number up to its LF. Returns true when it is complete. */
static bool read_number(struct conn *conn, const char **at, const char *end)
{
    const char *byte = *at;
    uint64_t number = conn->number;
    for (; byte < end && *byte != '\n'; byte++) {
        if (*byte >= '0' && *byte <= '9') {
            number = number * 10 + (uint64_t)(*byte - '0');
        }
    }
    conn->number = number;
    *at = byte < end ? byte + 1 : byte;
    return byte < end;
}

static void end_argument(struct conn *conn)
{
    conn->is_name = false;
    conn->state = STATE_DOLLAR;
    if (--conn->args == 0) {
        reply(conn);
        conn->state = STATE_STAR;
    }
}

/* Takes the bytes of an argument that are there. */
static const char *read_body(struct conn *conn, const char *at, const char *end)
{
    if (conn->is_name && at < end) {
        conn->is_get = (*at | 0x20) == 'g';
        bool is_second_u = at + 1 < end && (at[1] | 0x20) == 'u';
        conn->is_subscribe |= (*at | 0x20) == 's' && is_second_u;
        conn->is_publish |= (*at | 0x20) == 'p' && is_second_u;
        conn->is_name = false;
    }
    uint64_t there = (uint64_t)(end - at);
    uint64_t take = there < conn->skip ? there : conn->skip;
    conn->skip -= take;
    if (conn->skip == 0) {
        end_argument(conn);
    }
    return at + take;
}

static void parse(struct conn *conn, const char *at, const char *end)
{
    while (at < end) {
        switch (conn->state) {
        case STATE_STAR:
            at++;
            conn->number = 0;
            conn->state = STATE_COUNT;
            break;
        case STATE_COUNT:
            if (read_number(conn, &at, end)) {
                conn->args = (uint32_t)conn->number;
                conn->is_name = true;
                conn->state = conn->args > 0 ? STATE_DOLLAR : STATE_STAR;
            }
            break;
        case STATE_DOLLAR:
            at++;
            conn->number = 0;
            conn->state = STATE_LEN;
            break;
        case STATE_LEN:
            if (read_number(conn, &at, end)) {
                conn->skip = conn->number + 2;
                conn->state = STATE_BODY;
            }
            break;
        case STATE_BODY:
            at = read_body(conn, at, end);
            break;
        }
    }
}

static void buffer_give(struct server *server, unsigned id)
{
    io_uring_buf_ring_add(server->buffers, server->memory + (size_t)id * BUFFER_LEN, BUFFER_LEN,
                          (unsigned short)id, BUFFER_COUNT - 1, 0);
    io_uring_buf_ring_advance(server->buffers, 1);
}

static void on_accept(struct server *server, const struct io_uring_cqe *cqe, int listen_fd)
{
    if (cqe->res >= 0 && cqe->res < FDS_MAX) {
        int one = 1;
        (void)setsockopt(cqe->res, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        struct conn *conn = calloc(1, sizeof(*conn));
        if (conn == NULL) {
            fail("calloc", ENOMEM);
        }
        conn->fd = cqe->res;
        server->conns[cqe->res] = conn;
        start_receive(server, cqe->res);
    }
    if ((cqe->flags & IORING_CQE_F_MORE) == 0) {
        start_accept(server, listen_fd);
    }
}

static void conn_close(struct server *server, struct conn *conn)
{
    server->conns[conn->fd] = NULL;
    (void)close(conn->fd);
    free(conn->out);
    free(conn->sending);
    free(conn);
}

static void on_receive(struct server *server, const struct io_uring_cqe *cqe, struct conn *conn)
{
    if ((cqe->flags & IORING_CQE_F_BUFFER) != 0) {
        unsigned id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
        const char *bytes = server->memory + (size_t)id * BUFFER_LEN;
        if (cqe->res > 0) {
            parse(conn, bytes, bytes + cqe->res);
            tell_all(server, conn);
        }
        buffer_give(server, id);
    }
    if (cqe->res <= 0 && cqe->res != -ENOBUFS) {
        conn_close(server, conn);
        return;
    }
    if ((cqe->flags & IORING_CQE_F_MORE) == 0) {
        start_receive(server, conn->fd);
    }
    flush(server, conn);
}

static void on_send(struct server *server, const struct io_uring_cqe *cqe, struct conn *conn)
{
    conn->is_silent = false;
    if (cqe->res < 0 && cqe->res != -EAGAIN) {
        return; /* The receive ends too, and closes. */
    }
    conn->sent += cqe->res > 0 ? (size_t)cqe->res : 0;
    if (conn->sent < conn->sending_len) {
        start_send(server, conn, false);
        return;
    }
    conn->sending_len = 0;
    flush(server, conn);
}

static void on_completion(struct server *server, const struct io_uring_cqe *cqe)
{
    int fd = (int)(uint32_t)cqe->user_data;
    enum kind kind = (enum kind)(cqe->user_data >> 32);
    if (kind == KIND_ACCEPT) {
        on_accept(server, cqe, fd);
        return;
    }
    struct conn *conn = server->conns[fd];
    if (conn == NULL) {
        return; /* Its connection is closed. */
    }
    if (kind == KIND_RECEIVE) {
        on_receive(server, cqe, conn);
    } else {
        on_send(server, cqe, conn);
    }
}

static int listen_at(struct sockaddr *address, socklen_t len)
{
    int one = 1;
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        fail("socket", errno);
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, address, len) != 0 || listen(fd, 511) != 0) {
        fail("listen", errno);
    }
    return fd;
}

static void server_open(struct server *server)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE |
                 IORING_SETUP_SUBMIT_ALL,
        .cq_entries = ENTRIES * 8,
    };
    int error = io_uring_queue_init_params(ENTRIES, &server->ring, &params);
    if (error != 0) {
        fail("io_uring", -error);
    }
    (void)io_uring_register_ring_fd(&server->ring);
    server->memory = aligned_alloc(4096, (size_t)BUFFER_COUNT * BUFFER_LEN);
    server->buffers = aligned_alloc(4096, 4096);
    if (server->memory == NULL || server->buffers == NULL) {
        fail("aligned_alloc", ENOMEM);
    }
    io_uring_buf_ring_init(server->buffers);
    struct io_uring_buf_reg reg = {.ring_addr = (uintptr_t)server->buffers,
                                   .ring_entries = BUFFER_COUNT};
    error = io_uring_register_buf_ring(&server->ring, &reg, 0);
    if (error != 0) {
        fail("buffer ring", -error);
    }
    for (unsigned id = 0; id < BUFFER_COUNT; id++) {
        buffer_give(server, id);
    }
}

/* The first `count` silent sends were submitted; those that did not speak up have been sent. */
static void end_silent(struct server *server, unsigned count)
{
    for (unsigned index = 0; index < count; index++) {
        struct conn *conn = server->conns[server->silent[index]];
        if (conn != NULL && conn->is_silent) {
            conn->is_silent = false;
            conn->sending_len = 0;
            flush(server, conn); /* Appends behind `count`. */
        }
    }
    server->silent_count -= count;
    memmove(server->silent, server->silent + count,
            server->silent_count * sizeof(server->silent[0]));
}

static void server_run(struct server *server)
{
    for (;;) {
        unsigned silent_count = server->silent_count;
        (void)io_uring_submit_and_wait(&server->ring, 1);
        struct io_uring_cqe *cqe;
        unsigned head;
        unsigned count = 0;
        io_uring_for_each_cqe(&server->ring, head, cqe)
        {
            on_completion(server, cqe);
            count++;
        }
        io_uring_cq_advance(&server->ring, count);
        end_silent(server, silent_count);
    }
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: floor PORT [UNIX-PATH]\n");
        return 2;
    }
    struct server *server = calloc(1, sizeof(*server));
    if (server == NULL) {
        fail("calloc", ENOMEM);
    }
    server_open(server);
    struct sockaddr_in tcp = {.sin_family = AF_INET,
                              .sin_port = htons((uint16_t)atoi(argv[1])),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    start_accept(server, listen_at((struct sockaddr *)&tcp, sizeof(tcp)));
    if (argc > 2) {
        struct sockaddr_un local = {.sun_family = AF_UNIX};
        (void)snprintf(local.sun_path, sizeof(local.sun_path), "%s", argv[2]);
        (void)unlink(argv[2]);
        start_accept(server, listen_at((struct sockaddr *)&local, sizeof(local)));
    }
    server_run(server);
}
