/* What the files of net/ share: the connection, the listener, and who may call what. Never included
 * outside this folder.
 *
 *     listener.c -> conn.c -> input.c        sockets become connections, connections hold bytes
 *     drain.c    -> input.c, conn.c          bytes become commands
 *     flush.c    -> conn.c                   replies become sends
 *     limits.c   -> conn.c                   what a client may occupy
 *     net.c      -> all of them              the public face */
#pragma once

#include "base/blob.h"
#include "base/list.h"
#include "base/log.h"
#include "net/net.h"
#include "resp/parse.h"

#ifdef OURO_HOSTILE
enum {
    WINDOW_MAX = 3,          /* Commands parsed ahead. */
    ROUND_MAX = 5,           /* Commands of one connection before others get their turn. */
    BRIDGE_LEN_MIN = 1,      /* Bytes first joined to an incomplete command. */
    HELD_CAP_MIN = 16,       /* Bytes of the smallest buffer of a connection's own. */
    PENDING_MAX = 512,       /* Unprocessed bytes at which receiving pauses. */
    RECEIVE_INTO_MIN = 64,   /* Missing bytes of a large bulk worth a receive of their own. */
    RECEIVE_INTO_MAX = 3000, /* Bytes of one such receive. */
    SEND_BYTES_MAX = 999,    /* Bytes of one send. */
    FLUSH_MAX = 7,           /* Sends started in one turn. */
    REAP_MAX = 3,            /* Doomed connections closed in one turn. */
};
#else
enum {
    WINDOW_MAX = 32,
    ROUND_MAX = 64,
    BRIDGE_LEN_MIN = 512,
    HELD_CAP_MIN = 256,
    PENDING_MAX = 256 * 1024,
    RECEIVE_INTO_MIN = 64 * 1024,
    /* Copied by the kernel within our turn, to pages that it zeroes first: some 100 us. Unbounded,
     * a receive takes what the socket holds, 3 ms and more. */
    RECEIVE_INTO_MAX = 256 * 1024,
    SEND_BYTES_MAX = 1 << 20, /* Each that completes shows that the client reads. */
    FLUSH_MAX = 256,          /* Each takes the kernel about 4 us. */
    REAP_MAX = 64,            /* Each takes some 2 us. */
};
#endif

enum {
    INPUT_POOL_MAX = 256,   /* Nodes of received buffers kept warm. */
    SENDING_POOL_MAX = 128, /* Sends kept warm: about 150 KiB. */
    REJECTS_MAX = 256,      /* Refused clients that are being told why. */
};

/* Unsent replies at which a client without a hard output limit is not executed further, until half
 * of them are sent. Generous, because a client that writes a whole pipeline before it reads would
 * wait for ever. */
#ifdef OURO_HOSTILE
static const size_t OUTPUT_PAUSE = 1024 * 1024;
#else
static const size_t OUTPUT_PAUSE = (size_t)64 * 1024 * 1024;
#endif

/* A received buffer that is not parsed yet. */
struct input {
    struct ring_buffer buffer; /* Borrowed from the ring. */
    struct input *next;
};

/* A connection's own bytes: an incomplete command, or what waits while it may not execute.
 *
 *     bytes: | done |  own bytes   | copies of the head input's first bytes |  free |
 *                   ^ at           ^ len - bridged                          ^ len   ^ cap */
struct held {
    size_t cap, at, len;
    size_t bridged;
    char bytes[];
};

/* A send in flight; conn->sending points at it. */
struct sending {
    struct ring_op op;
    struct conn *conn;
    struct sending *next; /* In the pool. */
    struct iovec parts[RING_PARTS_MAX];
};

enum conn_flag {
    CONN_CLOSED = 1 << 0,          /* The session is gone; waits for what is in flight. */
    CONN_DOOMED = 1 << 1,          /* On the doomed list: closes before the next command. */
    CONN_EOF = 1 << 2,             /* The peer has sent all it will. */
    CONN_HUNGRY = 1 << 3,          /* The pending bytes are no complete command. */
    CONN_CHOKED = 1 << 5,          /* Too much unsent: executes nothing. */
    CONN_PARSED = 1 << 6,          /* The parser holds a command that was told to come later. */
    CONN_FAILED = 1 << 7,          /* Broke the protocol: its input may still be on the way. */
    CONN_STRAGGLED = 1 << 8,       /* Input came after the last command it will be granted. */
    CONN_LINGERS = 1 << 9,         /* All is sent; closes when no more input comes. */
    CONN_IN_WINDOW = 1 << 4,       /* Visited by the window: not to be made ready. */
    CONN_SOFT_OVER = 1 << 10,      /* Above the soft output limit since soft_since_us. */
    CONN_AWAITS_RELEASE = 1 << 11, /* Closes once its session is no longer held. */
};

/* Flags with which a connection, or a session, executes nothing. */
enum {
    CONN_STOPS = CONN_CLOSED | CONN_DOOMED | CONN_CHOKED | CONN_LINGERS | CONN_AWAITS_RELEASE,
    SESSION_STOPS = SESSION_CLOSE_AFTER_REPLY | SESSION_CLOSE_NOW | SESSION_SUSPENDED,
};

struct conn {
    struct session session;
    struct reply reply;
    uint32_t flags; /* enum conn_flag */
    int fd;
    uint16_t round_count;  /* Commands since it last went to the back of the ready list. */
    uint16_t linger_ticks; /* Ticks spent lingering. */
    uint32_t head_at;      /* Bytes of the first input that are done. */
    struct input *first, *last;
    size_t input_len;  /* Bytes in inputs, less head_at. */
    struct held *held; /* NULL when nothing is half received. */
    struct resp_parser parser;
    struct list ready_link; /* Ready list, or doomed list. */
    struct list dirty_link; /* Has replies, or is to close when they are sent. */
    struct list link;       /* All connections, or those that wait to be freed. */
    struct ring_op receive;
    struct sending *sending; /* NULL: nothing in flight. */
    struct blob *big;        /* A large bulk being received; its wanted length is parser.big_len. */
    struct net *net;
    size_t memory;      /* As last added to net->memory. */
    size_t kept_memory; /* As last added to net->kept_memory. */
    int64_t soft_since_us;
};

/* What net_relisten_end does with a listener. */
enum listener_fate {
    LISTENER_STAYS,
    LISTENER_GOES,  /* Open before, and not asked for again so far: closed if all goes well. */
    LISTENER_IS_NEW /* Opened since net_relisten_begin: closed if something fails. */
};

struct listener {
    struct list link;
    struct ring_op accept;
    struct net *net;
    int fd;
    char *address; /* As it was asked for; owned. */
    uint16_t port;
    enum listener_fate fate;
    bool is_unix, is_closing;
    bool needs_retry; /* The accept ended with an error. */
};

/* A refused client that is being told why. */
struct reject {
    struct ring_op send;
    struct net *net;
    int fd;
};

struct visit {
    struct conn *conn;
    size_t executed;   /* Bytes of the region whose commands were executed. */
    bool has_commands; /* Some of the window's commands are its. */
    bool is_whole;     /* Every command of the visit was executed. */
    bool has_special;  /* Parsing stopped at `special`, to be dealt with afterwards. */
    enum resp_result special;
};

struct window_command {
    struct exec_plan plan;
    size_t end; /* In the region: where the command ends. */
    uint32_t visit;
};

struct window {
    uint32_t count, visit_count, arg_count;
    struct exec_ahead ahead;
    struct window_command commands[WINDOW_MAX];
    struct visit visits[WINDOW_MAX];
    struct slice args[WINDOW_MAX * RESP_ARGS_INLINE];
};

struct net {
    struct ring *ring;
    struct exec *exec;
    struct net_config config;
    struct net_stats stats;
    struct list ready, dirty, doomed;
    struct list conns; /* Open; the one that net_tick looks at next is first. */
    struct list dead;  /* Closed, freed at the end of the drain or by their last completion. */
    struct list listeners;
    struct reply_pool replies;
    struct input *input_pool;
    uint32_t input_pool_count;
    struct sending *sending_pool;
    uint32_t sending_pool_count;
    uint32_t reject_count;
    uint32_t dead_count;
    uint32_t reaped_count;  /* Doomed connections closed in this turn. */
    uint32_t sending_count; /* Sends in flight. */
    size_t memory;          /* Bytes of connections, as their limits count them. */
    size_t kept_memory;     /* Without replies and what lies in the ring's buffers. */
    size_t output_check;    /* Reply memory above which limits are looked at. */
    size_t futile_memory;   /* net->memory when nobody was left to evict. */
    uint64_t peak_query[2], peak_output[2]; /* This period's and the last one's. */
    uint32_t tick_count;
    bool is_draining;
    bool is_relistening;
    bool is_accept_failing; /* Said so in the log. */
    struct window window;
};

/* ---- conn.c ---- */

/* Makes a connection of an accepted descriptor and starts to receive. */
void conn_open(struct net *net, int fd, bool is_unix);

/* Ends a connection: hooks, descriptor, buffers. Never from inside a command. The struct lives
 * until its operations have completed and the drain's window is done. */
void conn_shut(struct conn *conn);

/* The same a little later, safe from inside a command: it executes nothing any more, and is ended
 * before the next command, or in a later turn when there are more than REAP_MAX. */
void conn_doom(struct conn *conn);
void net_reap_doomed(struct net *net);

/* An operation of a closed connection has completed: frees it when that was the last. */
void conn_release(struct conn *conn);

/* Frees closed connections with nothing in flight. */
void net_reap_dead(struct net *net);

/* Starts or ends receiving as the state of the connection wants it. */
void conn_update_receive(struct conn *conn);

/* Nothing is left to send and it is to close: does so, or lingers while input is on its way. */
void conn_finish(struct conn *conn);

/* Replies what is wrong with the protocol and lets the connection end. */
void conn_fail(struct conn *conn, const char *error);

/* Replies were written, or an end was decided. */
static inline void conn_set_dirty(struct conn *conn)
{
    if (!list_is_linked(&conn->dirty_link) && (conn->flags & CONN_CLOSED) == 0) {
        list_push_back(&conn->net->dirty, &conn->dirty_link);
    }
}

/* There may be something to execute. */
static inline void conn_set_ready(struct conn *conn)
{
    const uint32_t bars = CONN_CLOSED | CONN_DOOMED | CONN_IN_WINDOW;
    if (!list_is_linked(&conn->ready_link) && (conn->flags & bars) == 0) {
        conn->round_count = 0;
        list_push_back(&conn->net->ready, &conn->ready_link);
    }
}

/* True when the connection must not execute now. */
static inline bool conn_is_stopped(const struct conn *conn)
{
    return (conn->session.flags & SESSION_STOPS) != 0 || (conn->flags & CONN_STOPS) != 0;
}

/* ---- input.c ---- */

/* Appends a buffer just received. */
void input_push(struct conn *conn, const struct ring_buffer *buffer);

/* Gives back every received buffer and the connection's own. */
void input_drop(struct conn *conn);

/* The bytes to parse next: the connection's own, or those of the first received buffer. */
static inline struct slice input_region(const struct conn *conn)
{
    if (conn->held != NULL) {
        return slice_of(conn->held->bytes + conn->held->at, conn->held->len - conn->held->at);
    }
    if (conn->first != NULL) {
        return slice_of(conn->first->buffer.data + conn->head_at,
                        conn->first->buffer.len - conn->head_at);
    }
    return slice_of(NULL, 0);
}

/* Of the region, the bytes behind which parsing must stop, because what follows are copies. */
static inline size_t input_region_limit(const struct conn *conn, struct slice region)
{
    return conn->held != NULL ? region.len - conn->held->bridged : region.len;
}

/* Steps over the first `len` bytes of the region and gives back what is done. */
void input_advance(struct conn *conn, size_t len);

/* Joins some bytes of the next received buffer to the connection's own. False: out of memory. */
bool input_bridge(struct conn *conn);

/* Copies the rest of the first received buffer (all: of every one) to the connection's own bytes
 * and gives the buffers back. False: out of memory. */
bool input_hold_first(struct conn *conn);
bool input_hold_all(struct conn *conn);

static inline bool input_is_empty(const struct conn *conn)
{
    return conn->held == NULL && conn->first == NULL;
}

/* Unprocessed bytes. */
size_t input_pending(const struct conn *conn);

/* Starts to receive a large bulk after RESP_BIG (`consumed` is dropped already), and goes on with
 * it. False: the connection was failed or closed. */
bool big_begin(struct conn *conn);
bool big_fill(struct conn *conn);

/* ---- flush.c ---- */

void conn_flush(struct conn *conn);

/* ---- drain.c ---- */

/* Waits for something that may never come, as BLPOP does; not for a pause, a pinned key or deferred
 * work. */
bool conn_is_blocking(const struct conn *conn);

/* ---- limits.c ---- */

/* Brings the account of the connection's memory up to date, and closes it when its query buffer is
 * too large. O(1). */
void conn_account(struct conn *conn);

/* Looks at output limits: closes the connection, or chokes or unchokes it. */
void conn_check_output(struct conn *conn);

/* Closes the largest clients while all of them together occupy too much. */
void net_evict_clients(struct net *net);

/* Recomputes what depends on the configuration. */
void limits_configure(struct net *net);

/* Looks at one connection now and then. */
void conn_tick(struct conn *conn);
void limits_rotate_peaks(struct net *net);

/* True when no operation of the connection is in flight. */
static inline bool conn_is_quiet(const struct conn *conn)
{
    return !conn->receive.in_flight && conn->sending == NULL;
}

/* ---- listener.c ---- */

void listeners_retry(struct net *net);
bool listeners_are_gone(const struct net *net);

/* Logs a line about a client as CLIENT LIST shows it, between two texts. */
void conn_log(struct conn *conn, enum log_level level, const char *before, const char *after);
