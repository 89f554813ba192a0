/* What the files of repl/ share: struct repl, struct replica, and who may call what. Never included
 * outside this folder. */
#pragma once

#include "base/list.h"
#include "repl/backlog.h"
#include "repl/repl.h"

struct link;
struct sync;

/* ---- As a primary: the replicas ---- */

/*     REPLCONF        PSYNC, SYNC          sync.c: its snapshot begins     it is sent
 *   --> HANDSHAKE ---------> WAIT_SYNC -----------------------> SENDING --------------> ONLINE
 *            '------------------ PSYNC: partial ------------------------------------------^    */
enum replica_state {
    REPLICA_HANDSHAKE, /* It has told something of itself; not a replica yet. */
    REPLICA_WAIT_SYNC, /* Wants a full synchronisation. */
    REPLICA_SENDING,   /* Its snapshot is under way; the cursor stands at the snapshot's moment. */
    REPLICA_ONLINE,    /* Gets the stream. */
};

enum replica_capability {
    REPLICA_CAPA_EOF = 1 << 0,    /* Takes snapshots of a length that is not told ahead. */
    REPLICA_CAPA_PSYNC2 = 1 << 1, /* Takes +CONTINUE with an id. */
};

struct replica {
    struct list link; /* Of repl->replicas, unless HANDSHAKE. */
    struct repl *repl;
    struct session *session;
    enum replica_state state;
    unsigned capabilities; /* enum replica_capability */
    bool is_plain;         /* Came by SYNC: acknowledges nothing and is answered without a line. */
    bool is_rdb_only;      /* Wants the snapshot alone (redis-cli --rdb). */
    unsigned excluded;     /* REPLCONF rdb-filter-only: enum replica_excluded. */
    bool is_eof_form;      /* Its snapshot is sent in the $EOF form. */
    bool awaits_ack;       /* The stream begins with its first acknowledgement ($EOF form). */
    bool is_cut_off;       /* Is being closed. */
    char *seen_ip;         /* Where it came from; owned, or NULL. Not asked for later: a connection
                            * that was reset does not know. */
    char *announced_ip;    /* REPLCONF ip-address; owned, or NULL. */
    int announced_port;    /* REPLCONF listening-port. */
    bool has_acked;   /* What it got at first, it has: it has acknowledged something, or went on. */
    int64_t acked;    /* Offset of the last acknowledgement; 0: none. */
    int64_t acked_us; /* When it was last heard, or came online; monotonic. */
    uint64_t heard_bytes;         /* Of its session, when it was last heard. */
    int64_t soft_since_us;        /* Above the soft output limit since then; 0: it is not. */
    struct backlog_cursor cursor; /* Open from SENDING on. */

    /* sync.c's own. */
    struct list sync_link;
    void *sync_state;
};

enum replica_excluded {
    REPLICA_NO_DATA = 1 << 0,
    REPLICA_NO_FUNCTIONS = 1 << 1,
};

struct feed {
    int db;              /* That the stream has selected; -1: none. */
    bool is_on;          /* Commands are told and encoded. */
    bool is_in_unit;     /* Something of a unit is in the backlog, and not shown yet. */
    int64_t part_at;     /* Offset before the first command of what MULTI and EXEC will enclose. */
    uint64_t part_count; /* Commands of it so far. */
};

struct wait_list {
    struct list waiting; /* Of struct wait. */
    uint64_t count;
    int64_t due_us; /* When the first may time out; monotonic. */
    bool wants_ack; /* GETACK goes into the stream at the end of the turn. */
};

struct repl {
    struct repl_options options;
    struct exec *exec;
    const struct clock_now *now;
    struct repl_config config; /* Texts owned. */

    bool is_replica;
    char id[REPL_ID_LEN + 1];
    char id2[REPL_ID_LEN + 1]; /* "000...": none. */
    int64_t id2_offset;        /* Up to which id2 is ours; -1: none. */
    struct backlog backlog;
    struct feed feed;

    /* As a primary. */
    struct list replicas; /* Of struct replica, oldest first; those in HANDSHAKE are not on it. */
    unsigned replica_count;
    unsigned good_count; /* min_slaves_good_slaves; kept while min-replicas-to-write is set. */
    int64_t next_ping_us;
    int64_t alone_since_us; /* Since when there is no replica; for repl-backlog-ttl. */
    struct wait_list waits;
    struct sync *sync;
    struct repl_stats stats;

    /* As a replica. */
    struct link *upstream;
};

/* ---- repl.c ---- */

void repl_draw_id(struct repl *repl); /* A new id. */
void repl_forget_id2(struct repl *repl);

/* Promotion: the id so far becomes the second, up to the end; a new one is drawn. */
void repl_shift_id(struct repl *repl);

/* Opens the backlog, where it is closed, for a history of our own: with a new id. */
void repl_open_backlog(struct repl *repl);

/* Drops all replicas, closes the backlog and draws a new id: the history has a hole. */
void repl_lose_backlog(struct repl *repl, const char *why);

/* ---- feed.c ---- */

void feed_init(struct repl *repl);

/* Switches the feed on or off as role and backlog want it. */
void feed_update(struct repl *repl);

/* The next command of the stream is preceded by SELECT. */
void feed_forget_db(struct repl *repl);

/* A command of the server's own: PING, REPLCONF GETACK. False: in the middle of a unit, later. */
bool feed_own(struct repl *repl, struct slice encoded);

/* ---- primary.c ---- */

void primary_register(struct repl *repl); /* REPLCONF, PSYNC, SYNC. */

/* sync.c: this replica gets a snapshot that was taken when the stream ended at `offset`: opens its
 * cursor behind it, answers +FULLRESYNC (nothing to SYNC). State SENDING. False, and nothing has
 * happened: the stream since then is not kept. */
bool replica_snapshot_begins(struct replica *replica, bool is_eof_form, int64_t offset);

/* ---- replicas.c ---- */

/* sync.c: all of the snapshot was handed to its connection. One that wanted nothing else is closed
 * when it is sent. */
void replica_online(struct replica *replica);

/* Closes its connection, with a line in the log: `why`, a colon and its name. Its cursor is closed
 * at once. */
void replica_drop(struct replica *replica, const char *why);
void replicas_drop_all(struct repl *repl, const char *why);

/* "127.0.0.1:7002": as logs name it; and its address, announced or seen. */
enum { REPLICA_NAME_MAX = REPL_HOST_LEN_MAX + 33 };
const char *replica_name(const struct replica *replica, char name[REPLICA_NAME_MAX]);
const char *replica_ip(const struct replica *replica, char ip[REPLICA_NAME_MAX]);

/* Counts those that were heard of lately, for min-replicas-to-write. */
void replicas_count_good(struct repl *repl);
void replicas_tick(struct repl *repl);

/* Bytes of their connections. */
size_t replicas_memory(const struct repl *repl);

/* ---- report.c ---- */

void report_register(struct repl *repl); /* ROLE. */

/* ---- wait.c ---- */

void waits_init(struct repl *repl);
void waits_register(struct repl *repl); /* WAIT. */
void waits_step(struct repl *repl);     /* An acknowledgement came, or time passed. */
int64_t waits_due_us(const struct repl *repl);
void waits_ask(struct repl *repl); /* Before the stream is handed out: GETACK, if it is wanted. */

/* The role changes: nobody waits any longer. */
void waits_cancel_all(struct repl *repl, const char *error);

/* ---- sync.c ---- */

struct sync *sync_new(struct repl *repl);
void sync_free(struct sync *sync); /* Its replicas are gone; the ring must still turn. */

/* A replica wants a full synchronisation (state WAIT_SYNC). When its snapshot's moment has come,
 * replica_snapshot_begins is called, which may be at once; and replica_online when it was sent. */
void sync_add(struct sync *sync, struct replica *replica);

/* It has gone, in whatever state. Called for every replica, before it is freed. */
void sync_remove(struct sync *sync, struct replica *replica);

/* It is online and has acknowledged something: its snapshot was good. */
void sync_acked(struct sync *sync, struct replica *replica);

/* Ends what is under way and drops those who get it, who may come again: the data set becomes
 * another, or a save cannot wait. Those who wait go on waiting. */
void sync_abort(struct sync *sync, const char *why);

/* The walk's next slice, and what is due by the clock; and when that is. */
void sync_step(struct sync *sync);
int64_t sync_due_us(const struct sync *sync);

/* Hands connections what they have room for; once per turn. */
void sync_pump(struct sync *sync);

size_t sync_memory(const struct sync *sync);

/* ---- link.c and role.c ---- */

void link_new(struct repl *repl);
void link_tick(struct repl *repl);
bool link_drain(struct repl *repl, int64_t deadline_mono_us);
bool link_is_ready(const struct repl *repl); /* There is something to execute, and it can be. */
void link_info(const struct repl *repl, struct buf *out); /* Fields of a replica. */
void link_stop(struct repl *repl); /* Leaves the primary, while the ring still turns. */
void link_free(struct repl *repl);
size_t link_memory(const struct repl *repl);
void role_register(struct repl *repl); /* REPLICAOF, SLAVEOF, FAILOVER. */
void role_promote(struct repl *repl);

/* "connect", "handshake", "sync", "connected": as ROLE names them; its reply. */
const char *link_state_name(const struct repl *repl);
void link_role(const struct repl *repl, struct reply *out);
int link_db(const struct repl *repl); /* That the primary's stream has selected. */

const char *failover_state_name(const struct repl *repl);
bool failover_is_on(const struct repl *repl); /* The stream must not move. */

/* Why PSYNC from a replica with this history is refused by an empty primary, and why this client's
 * write or PING is; NULL: it is not. */
const char *guard_refuses_psync(struct repl *repl, struct slice id, int64_t offset);
const char *guard_refuses(const struct repl *repl, const struct session *session, bool is_write);
bool guard_is_on(const struct repl *repl);
