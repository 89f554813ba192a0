/* The replica's side: what link.c, transfer.c, apply.c, role.c, failover.c and guard.c share. Never
 * included outside this folder.
 *
 *     role.c: REPLICAOF --> link.c: connect, handshake --+-- +FULLRESYNC --> transfer.c --> load
 *        ^                     ^                         |                                   |
 *        |                     '--- the link breaks      +-- +CONTINUE ------------> apply.c <-'
 *     failover.c                                                                    executes
 *
 * A struct link lives as long as its struct repl. Each connection to a primary is a struct wire,
 * which is freed when nothing of it is in flight any more. */
#pragma once

#include <netdb.h>
#include <sys/socket.h>

#include "persist/load_file.h"
#include "repl/repl_internal.h"
#include "resp/parse.h"

enum {
#ifdef OURO_HOSTILE
    WIRE_CAP_MIN = 128,   /* Bytes of a wire's smallest buffer. */
    WIRE_ROOM_MIN = 13,   /* Room for one receive. */
    APPLY_WINDOW_MAX = 3, /* Commands parsed ahead. */
    SPOOL_BLOCK_LEN = 128,
#else
    WIRE_CAP_MIN = 256 << 10,
    WIRE_ROOM_MIN = 16 << 10,
    APPLY_WINDOW_MAX = 32,
    SPOOL_BLOCK_LEN = 1 << 20,
#endif
    WIRE_CAP_KEPT = 4 << 20,       /* A larger buffer that is empty is given back. */
    HANDSHAKE_LINE_MAX = 64 << 10, /* Longest answer of a primary. */
    EOF_MARK_LEN = 40,
    LINK_PATH_MAX = 4096 + 256,
};

enum link_state {
    LINK_NONE,       /* We are the primary. */
    LINK_WAITING,    /* Connects when next_try_us has come. */
    LINK_CONNECTING, /* Looks the host's name up, or waits for its socket. */
    LINK_PING,       /* This state and the following await the answer to a command. */
    LINK_AUTH,
    LINK_PORT,
    LINK_IP,
    LINK_CAPA,
    LINK_PSYNC,
    LINK_TRANSFER, /* The snapshot comes; see transfer.c. */
    LINK_CONNECTED,
};

/* A connection to a primary. */
struct wire {
    struct list node; /* Of link.wires. */
    struct repl *repl;
    int fd;
    bool is_closed; /* Waits until nothing of it is in flight or works for its session. */
    bool has_session;
    bool has_ended;     /* The primary has sent its end, or an error. */
    bool is_doomed;     /* To be dropped between commands (CLIENT KILL). */
    bool is_ready;      /* There may be something to execute. */
    bool is_working;    /* The command before `at` is being executed, in slices. */
    int end_error;      /* Negative errno, 0: the end of the stream. */
    struct spool *lent; /* Into whose block `receive` goes, while it is in flight. */
    struct sockaddr_storage address;
    struct ring_op receive, send, connect;
    struct buf out, sending;

    /* What has been received.
     *
     *     in: | applied ..... | executed | parsed | .......... | free |
     *         0               ^ shown    ^ at     ^ parse_at   ^ len  ^ cap
     *
     * Up to `shown` it is in the backlog; `at` is where the first command begins that was not
     * executed; up to `parse_at` the parser has taken what belongs to that command. */
    char *in;
    size_t cap, len, at, parse_at;
    size_t shown, committed; /* `committed`: up to the last command outside of MULTI. */
    size_t wanted;           /* No use in parsing before there are so many bytes. */
    struct resp_parser parser;
    struct session session;
    struct reply reply;
    struct buf work;      /* The command that is being executed, or had an error: for the log. */
    uint64_t work_errors; /* Of `reply` before it. */
};

/* Which step the reception of a snapshot is at. */
enum transfer_step {
    TRANSFER_NONE,
    TRANSFER_HEAD,    /* Awaits "$..." */
    TRANSFER_BYTES,   /* To the file. */
    TRANSFER_DIRECT,  /* Into the loader, as it comes. */
    TRANSFER_SYNCING, /* fsync */
    TRANSFER_RENAMING,
    TRANSFER_LOADING, /* The server loads the file. */
};

struct spool_block {
    char *bytes;
    size_t len;     /* Filled. */
    size_t to_file; /* Of them to be written now; 0: not handed to the file. */
};

struct spool;  /* The file, and what is on its way there; transfer.c. */
struct direct; /* Loading straight from the wire; direct.c. */

struct transfer {
    enum transfer_step step;
    bool is_eof_form;
    char mark[EOF_MARK_LEN];
    int64_t size;             /* -1: not told. */
    int64_t got;              /* Bytes of the snapshot so far. */
    char id[REPL_ID_LEN + 1]; /* Of the history that it begins. */
    int64_t offset;
    int64_t started_us;
    bool has_flushed;   /* The old keys are gone, and the server refuses commands: it loads. */
    bool is_started;    /* The loader has begun. */
    int64_t flushed_us; /* Monotonic. */
    struct load_options options;
    struct spool *spool;
    struct direct *direct;
};

enum failover_state { FAILOVER_NONE, FAILOVER_WAIT_SYNC, FAILOVER_IN_PROGRESS };

struct failover {
    enum failover_state state;
    char *host; /* The replica that is to take over; owned, NULL: whoever catches up first. */
    int port;
    bool is_forced;
    int64_t end_ms; /* Wall clock; 0: no end. */
};

enum guard_state { GUARD_OFF, GUARD_ARMED, GUARD_ON };

struct guard {
    enum guard_state state;
    int64_t end_us; /* While GUARD_ON. */
};

/* A name that is being looked up. */
struct lookup {
    struct gaicb request;
    struct addrinfo hints;
    char port[8];
    char host[];
};

enum { APPLY_ARGS_MAX = APPLY_WINDOW_MAX * RESP_ARGS_INLINE };

struct apply_command {
    struct exec_plan plan; /* count 0: an empty line. */
    size_t end;            /* In the wire's buffer. */
};

struct apply_window {
    uint32_t count, arg_count;
    struct exec_ahead ahead;
    struct apply_command commands[APPLY_WINDOW_MAX];
    struct slice args[APPLY_ARGS_MAX];
};

struct link {
    struct repl *repl;
    char *host; /* Owned; NULL: we are the primary. */
    int port;
    enum link_state state;
    struct wire *wire; /* The one in use, or NULL. */
    struct list wires; /* All, closed ones included. */
    struct lookup *lookup;
    bool is_open; /* What is loaded at start is loaded. */
    bool is_ending;
    /* Our id and the end of our backlog tell where the stream of a primary could go on. */
    bool has_history;
    int stream_db; /* That the stream had selected when it ended. */
    unsigned attempts;
    int64_t next_try_us;
    int64_t patience_us; /* Waited for before the next try, after a failure that may come again. */
    int64_t last_io_us;
    int64_t next_ack_us;
    int64_t next_newline_us;
    int64_t down_since_s; /* Unix time; 0: never was up. */
    struct transfer transfer;
    unsigned spool_count;  /* Spools that still need the ring. */
    unsigned spool_number; /* For names of files. */
    struct failover failover;
    struct guard guard;
    struct reply_pool replies; /* Of what the primary's commands answer; nobody reads it. */
    struct session flusher;    /* Runs FLUSHALL. */
    struct reply flusher_reply;
    struct apply_window *window;
};

static inline struct link *link_of(const struct repl *repl)
{
    return repl->upstream;
}

/* ---- link.c ---- */

/* Breaks the connection, if there is one, and tries again after `wait_us`. */
void link_drop(struct link *link, int64_t wait_us);

/* The same after a failure that is likely to come again: waits twice as long as the last time. */
void link_drop_patiently(struct link *link);

/* Leaves the primary: state NONE, without a connection. */
void link_leave(struct link *link);

/* Begins to follow link->host: connects in this turn if it may. */
void link_start(struct link *link);

/* REPLCONF ACK with the end of the backlog. */
void link_acknowledge(struct link *link);

/* The primary has ended the connection, and all that came before is executed. */
void link_lost(struct link *link);

/* The stream begins or goes on: state CONNECTED, its session is opened. */
void link_establish(struct link *link);

void link_on_connect(struct ring_op *op, int result); /* Of a wire's `connect`. */

/* ---- wire.c ---- */

struct wire *wire_new(struct link *link, int fd);
void wire_close(struct wire *wire);
extern const struct session_ops wire_session_ops;

/* Room for `room` bytes more. False: no memory. */
bool wire_reserve(struct wire *wire, size_t room);

/* Frees a closed wire when nothing needs it any more: for completions that are not link.c's. */
void wire_release(struct wire *wire);

/* Takes the next line off the buffer, with a NUL in the place of its end; NULL: there is none. */
const char *wire_next_line(struct wire *wire);

/* Bytes before `at` leave the buffer. */
void wire_forget_done(struct wire *wire);

/* Starts to receive, with room for what is wanted. False: no memory, the link was dropped. */
bool wire_receive(struct wire *wire);

/* Sends a command, as an array of bulks; NULL ends the words. */
void wire_say(struct wire *wire, const char *word, ...) __attribute__((sentinel));

/* Sends bytes. */
void wire_send(struct wire *wire, struct slice bytes);

static inline bool link_is_up(const struct link *link)
{
    return link->state == LINK_CONNECTED;
}

/* ---- handshake.c ---- */

void handshake_on_bytes(struct link *link);

/* ---- transfer.c ---- */

/* After +FULLRESYNC: what the wire has received behind it belongs to the transfer. */
void transfer_begin(struct link *link, const char *id, int64_t offset);

/* Bytes have come to the wire's own buffer while the head was awaited. */
void transfer_on_bytes(struct link *link);
void transfer_on_wire_end(struct link *link); /* The wire was closed or has ended. */
void transfer_abort(struct link *link);       /* Forgets what has come so far. */
size_t transfer_memory(const struct link *link);
void transfer_deinit(struct link *link); /* At the end of the server. */

/* The server is executing nothing else: keys of the old history go, the new ones come. */
bool transfer_wants_turn(const struct link *link);

/* All keys and functions go, and with them what we knew of any history. */
void transfer_forget_data(struct link *link);

void transfer_turn(struct link *link);

/* ---- direct.c ---- */

void direct_begin(struct link *link);
void direct_on_bytes(struct link *link); /* Or the end. */
void direct_stop(struct link *link);     /* Drops what was loaded so far. */
struct load_figures direct_figures(const struct link *link);

/* ---- apply.c ---- */

/* What was executed goes to the backlog. */
void apply_commit(struct link *link);

/* Executes what there is until the deadline; true: more is left. */
bool apply_run(struct link *link, int64_t deadline_mono_us);

/* Something happened to a wire's session: the command that it worked at may have ended. */
void apply_on_wake(struct wire *wire);

/* Does the rest of the command that is being executed, so that the data and the offset agree: the
 * link is about to end. One that has not begun is left alone, for it will be sent again. */
void apply_settle(struct link *link);

/* ---- role.c ---- */

/* Follows another primary, or the first. `host` is copied. */
void role_follow(struct repl *repl, struct slice host, int port);

/* ---- failover.c ---- */

void failover_run(struct call *call);
void failover_tick(struct repl *repl);
void failover_on_psync(struct repl *repl, bool is_accepted);
void failover_abort(struct repl *repl, const char *why);

void failover_deinit(struct link *link);

/* ---- guard.c ---- */

void guard_lift(struct repl *repl); /* Somebody who knows has decided. */
void guard_tick(struct repl *repl);
