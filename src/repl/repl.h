/* Replication, as the server sees it. One struct repl per server: it is the primary of any number
 * of replicas, or a replica of one primary, and then may have replicas of its own.
 *
 *     one turn:  net_drain -> repl_drain (what the primary sent is executed)
 *                -> ... repl_step (full synchronisations) ...
 *                -> repl_pump (what was written goes to replicas) -> net_flush
 *
 * README.md says which file does what. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "exec/exec.h"
#include "net/net.h"
#include "persist/saver.h"
#include "ring/ring.h"

struct codec_out;
struct load_figures;
struct load_options;
struct repl;

enum {
    REPL_ID_LEN = 40,
    REPL_HOST_LEN_MAX = 255, /* As Redis's NET_HOST_STR_LEN. */
};

/* What only the server can do. */
struct repl_host {
    void *context;
    /* The role changed: letter of the log, HELLO's role, gates, who expires keys. */
    void (*on_role)(void *context, bool is_replica);
    /* Whether writes are refused (repl_refuses_writes) has changed. */
    void (*on_gate)(void *context);
    /* Writes libraries of functions before the databases of a snapshot; see walk_options. */
    unsigned (*write_more)(void *context, struct codec_out *out);

    /* As a replica: all libraries of functions go. */
    void (*forget_functions)(void *context);
    /* All keys are gone and others come: commands are refused until the end. Fills in what a loader
     * needs. */
    void (*load_begins)(void *context, struct load_options *options);
    /* Loads the snapshot of a primary, in the background; its end is told to repl_on_loaded. The
     * path is borrowed until then. NULL, or why it cannot begin. */
    const char *(*load)(void *context, const char *path);
    /* A snapshot was loaded without the server. */
    void (*note_loaded)(void *context, const struct load_figures *figures);
    void (*load_ended)(void *context);
};

struct repl_options {
    struct exec *exec; /* Borrowed, as the following. */
    struct ring *ring;
    struct net *net;
    size_t *lent_bytes; /* net_lent_bytes: where blobs are counted that only replies refer to. */
    struct saver *saver;
    struct repl_host host; /* Copied. */
    struct slice speaks;   /* The version of Redis that is spoken; lives as long as repl. */
    bool is_threaded;      /* Snapshots are packed by a thread; else by the core thread. */
};

enum repl_load { REPL_LOAD_DISABLED, REPL_LOAD_EMPTY, REPL_LOAD_SWAP, REPL_LOAD_FLUSH };

/* The directives; texts are copied by repl_configure. */
struct repl_config {
    /* As a primary. */
    int64_t backlog_size;           /* repl-backlog-size */
    int64_t backlog_ttl_s;          /* repl-backlog-ttl; 0: for ever. */
    int64_t ping_period_s;          /* repl-ping-replica-period */
    int64_t timeout_s;              /* repl-timeout, of both roles. */
    bool is_diskless;               /* repl-diskless-sync */
    int64_t diskless_delay_s;       /* repl-diskless-sync-delay */
    int64_t diskless_replicas_max;  /* repl-diskless-sync-max-replicas; 0: no bound. */
    int64_t replicas_min;           /* min-replicas-to-write */
    int64_t lag_max_s;              /* min-replicas-max-lag */
    bool has_packing, has_checksum; /* rdbcompression, rdbchecksum: of snapshots sent. */
    struct output_limit output;     /* client-output-buffer-limit replica */
    bool is_nodelay_off;            /* repl-disable-tcp-nodelay */
    int keepalive_s;                /* tcp-keepalive */
    int64_t guard_timeout_s;        /* empty-primary-guard-timeout; 0: no guard. */

    /* As a replica. */
    enum repl_load load;         /* repl-diskless-load */
    bool serves_stale;           /* replica-serve-stale-data */
    bool is_read_only;           /* replica-read-only */
    bool ignores_memory;         /* replica-ignore-maxmemory */
    bool is_announced;           /* replica-announced */
    int64_t priority;            /* replica-priority */
    const char *announce_ip;     /* replica-announce-ip; "": what the primary sees. */
    int64_t announce_port;       /* replica-announce-port; 0: `port`. */
    int64_t port;                /* Where this server listens. */
    const char *user, *password; /* masteruser, masterauth; "": none. */
    const char *dir, *file_name; /* Where a snapshot that was received goes. */
    bool removes_files; /* It goes when it is loaded: rdb-del-sync-files without persistence. */
};

struct repl *repl_new(const struct repl_options *options);

/* The end comes in two steps. repl_stop, while net and ring still live, lets go of all that needs
 * them; repl_free follows when the net's sessions are closed. Both take NULL. */
void repl_stop(struct repl *repl);
void repl_free(struct repl *repl);
void repl_configure(struct repl *repl, const struct repl_config *config);

/* PSYNC, SYNC, REPLCONF, REPLICAOF, SLAVEOF, ROLE, WAIT, FAILOVER. */
void repl_register(struct repl *repl);

/* ---- The turn ---- */

/* Executes what the primary sent until `deadline_mono_us`; true: more is left. */
bool repl_drain(struct repl *repl, int64_t deadline_mono_us);

/* Whether repl_drain has something to do now: a command of the primary may have ended since. */
bool repl_is_ready(const struct repl *repl);

/* Hands replicas what is new in the stream. Before net_flush. */
void repl_pump(struct repl *repl);

/* Full synchronisations: their next slice, and when it is due (monotonic us; INT64_MAX: none). */
void repl_step(struct repl *repl);
int64_t repl_due_us(const struct repl *repl);

/* Ten times a second or so: pings, timeouts, limits, reconnection. */
void repl_tick(struct repl *repl);

/* ---- Who we are ---- */

/* Whether these bytes may name a host: none that would end a line or a field of what is printed
 * about it (INFO, ROLE, the configuration file), and at most as many as Redis takes. Whether there
 * is such a host is another question. */
bool repl_is_host(struct slice text);

bool repl_is_replica(const struct repl *repl);

/* Where the stream stands, for files that are saved and loaded. */
struct repl_facts {
    char id[REPL_ID_LEN + 1];
    int64_t offset;
    int db; /* That the stream has selected; -1: the next command selects one. */
};

/* False: there is no history worth saving. */
bool repl_facts(const struct repl *repl, struct repl_facts *facts);

/* Writes them, if there are any, as what stands at the beginning of a snapshot. */
void repl_write_facts(const struct repl *repl, struct codec_out *out);
/* At start, before anything is loaded: `replicaof`. */
void repl_follow(struct repl *repl, struct slice host, int port);

/* What the file that was loaded at start said. */
void repl_restore(struct repl *repl, const struct repl_facts *facts);

/* The start is over: from now on a primary is connected to. has_data: keys or functions were
 * loaded; a primary without them does not wipe replicas that have some (guard.c). */
void repl_open(struct repl *repl, bool has_data);

/* DEBUG CHANGE-REPL-ID: nobody can go on with our history. */
void repl_change_id(struct repl *repl);

/* Whom we follow; NULL: nobody. */
const char *repl_primary(const struct repl *repl, int *port);

/* The snapshot of the primary is loaded, or an error says why not. `stream_db`: what the file says
 * of the database that the stream has selected; -1: nothing. */
void repl_on_loaded(struct repl *repl, const char *error, int64_t stream_db);

/* What forbids this client to write, or to be answered to its PING; NULL: nothing. And whether
 * there is anything that might be refused at all. */
const char *repl_refuses(const struct repl *repl, const struct session *session, bool is_write);
bool repl_may_refuse(const struct repl *repl);

/* The link to the primary is up, or there is none to be had: we are the primary. */
bool repl_is_fresh(const struct repl *repl);

/* While the keys of the primary come in the place of ours. The figures are those of a snapshot that
 * is loaded straight from the wire. */
bool repl_is_loading(const struct repl *repl, struct load_figures *figures);

/* ---- Gates: each NULL, or the text of the refusal ---- */

/* min-replicas-to-write. */
const char *repl_refuses_writes(const struct repl *repl);

/* ---- Figures ---- */

/* The lines of INFO replication. */
void repl_info(const struct repl *repl, struct buf *out);

struct repl_stats {
    uint64_t sync_full, sync_partial_ok, sync_partial_err;
    uint64_t bytes_in, bytes_out;           /* total_net_repl_... */
    uint64_t replica_count, waiting_count;  /* Replicas; clients in WAIT. */
    size_t backlog_memory, replicas_memory; /* mem_replication_backlog, mem_clients_slaves */
};
void repl_stats(const struct repl *repl, struct repl_stats *stats);
void repl_reset_stats(struct repl *repl);

/* Bytes that replication occupies: backlog, snapshots under way, the link. Never counted as data.
 */
size_t repl_memory(const struct repl *repl);
