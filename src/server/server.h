/* The composition root: owns one of everything, wires the seams, and turns the loop. Only this
 * folder knows struct server.
 *
 *     one turn:  net_drain (execute)  ->  expiry, deferred work, timers: a slice of each
 *                ->  net_flush  ->  ring_turn (submit, sleep, reap)  ->  read the clock
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/rng.h"
#include "base/work.h"
#include "commands/commands.h"
#include "exec/exec.h"
#include "keyspace/keyspace.h"
#include "net/net.h"
#include "persist/saver.h"
#include "ring/ring.h"
#include "server/config.h"
#include "types/limits.h"

#define OURO_VERSION "0.1.0"

/* What INFO and HELLO answer for compatibility: the Redis version whose commands and replies are
 * spoken. */
#define OURO_REDIS_VERSION "7.2.0"

struct slowlog;
struct latency;
struct monitor;
struct pubsub;
struct tracking;
struct script;
struct repl;
struct codec_out;

enum { SERVER_RUN_ID_LEN = 40 };

/* How SHUTDOWN or a signal wants the end. */
struct shutdown_request {
    bool is_requested;
    bool is_now, is_forced;
    bool must_save, must_not_save; /* Neither: as the save points say. */
    struct session *session;       /* Who asked and waits; NULL: a signal, or it has gone. */
};

/* DEBUG RELOAD, which the loop carries out between two turns. */
struct reload_request {
    bool is_requested;
    bool has_save, has_flush, is_merge;
    struct session *session; /* Who waits; NULL: it has gone. */
};

struct server_sample {
    int64_t at_us;
    uint64_t value, per_second;
};

enum server_rate {
    RATE_COMMANDS,
    RATE_BYTES_IN,
    RATE_BYTES_OUT,
    RATE_REPL_IN,
    RATE_REPL_OUT,
    RATE_COUNT
};

struct load_file;
struct blob;

/* The snapshot that is loaded at start; see loading.c. */
struct server_loading {
    struct load_file *file;                               /* NULL: nothing is being loaded. */
    bool has_failed;                                      /* The server ends. */
    int64_t next_log_us;                                  /* Monotonic; of progress. */
    uint64_t keys_loaded, keys_expired, functions_loaded; /* By the last loading. */
    struct blob **functions;                              /* Code of libraries that files held. */
    unsigned function_count;
};

struct server {
    struct config *config;
    struct config_source *source;
    struct rng rng;
    struct work_queue work;
    struct clock_now now;
    struct keyspace *keyspace;
    struct exec *exec;
    struct ring *ring;
    struct net *net;
    struct saver *saver;
    struct slowlog *slowlog;
    struct latency *latency;
    struct monitor *monitor;
    struct pubsub *pubsub;
    struct tracking *tracking;
    struct script *script;
    struct repl *repl;
    struct connection_family identity; /* What HELLO tells of us. */
    struct type_limits limits;         /* What commands of collections convert by. */

    char run_id[SERVER_RUN_ID_LEN + 1];
    char executable[1024];
    char *argv_text;     /* The command line, for INFO and the crash report. */
    int64_t started_ms;  /* Unix ms. */
    int64_t started_us;  /* Monotonic. */
    size_t start_memory; /* Bytes in use before the first client. */
    size_t memory_peak;  /* Highest mem_used seen by cron. */
    uint64_t cron_count;
    uint64_t turn_count;
    uint64_t evict_turn;     /* The turn in which a writer last evicted. */
    int64_t turn_longest_us; /* Longest time between two ring turns since the last reset. */
    int64_t next_cron_us;    /* Monotonic. */
    struct server_sample rates[RATE_COUNT];
    struct shutdown_request shutdown;
    struct reload_request reload;
    struct server_loading loading;
    bool is_auth_set;    /* requirepass is not empty. */
    bool is_cron_paused; /* DEBUG PAUSE-CRON. */
    bool is_expiry_off;  /* DEBUG SET-ACTIVE-EXPIRE 0. */
    int listen_error;    /* Negative errno of the last failed listen. */
};

/* Builds everything from a loaded configuration, which the server then owns. False: `error` says
 * why. */
struct server *server_new(struct config *take_config, struct config_source *take_source,
                          struct buf *error);
void server_free(struct server *server);

/* Opens the listeners of the configuration and closes all others. False: `error` says why, and
 * those that were open still are. */
bool server_listen(struct server *server, struct buf *error);

/* One turn of the loop; waits for at most `wait_us_max`. */
void server_turn(struct server *server, int64_t wait_us_max);

/* When a loop that waits for at most so long has to be awake again though nothing comes from
 * outside: monotonic microseconds. */
int64_t server_wake_us(const struct server *server, int64_t wait_us_max);

/* Puts the directives with these effects into force (enum config_effect). NULL, or the error text.
 */
const char *server_apply(struct server *server, unsigned effects);

/* CONFIG RESETSTAT. */
void server_reset_stats(struct server *server);

/* Bytes that are not the data set: clients and what the server occupied at start. */
size_t server_overhead(const struct server *server);

/* ---- loading.c ---- */

void loading_init(struct server *server);

/* Begins to load the configured file, if there is one. At the end clients are let in, or
 * server->loading.has_failed is set. */
void loading_begin(struct server *server);

/* DEBUG RELOAD: loads the configured file in one go, with is_flushing in the place of all keys,
 * else beside them. `replaces`: the file wins over keys that exist. False: the log says why, and
 * nothing was flushed where the file cannot be opened. */
bool loading_reload(struct server *server, bool is_flushing, bool replaces);

/* For the replica's side of replication (struct repl_host), with the server as their context. */
struct load_options;
struct load_figures;
void loading_begins(void *context, struct load_options *options);
const char *loading_receive(void *context, const char *path);
void loading_note(void *context, const struct load_figures *figures);
void loading_ended(void *context);
void loading_forget_functions(void *context);

/* Gives up; loading_deinit follows when the ring is closed. */
void loading_stop(struct server *server);
void loading_deinit(struct server *server);

bool server_is_loading(const struct server *server);

void loading_tick(struct server *server); /* Once per cron: progress in the log. */

/* While something is loaded: INFO's fields on it. */
void loading_info(const struct server *server, struct buf *out);

/* ---- saving.c ---- */

void server_init_saver(struct server *server, bool is_threaded);
void server_apply_saver(struct server *server);

/* Asked to end: saves if that is wanted, with all commands held back. False: the save failed and
 * the end was not forced; whoever asked has been told, and the server goes on. */
bool server_save_at_end(struct server *server);

/* Saves, empties the databases and loads what was saved, as server->reload says; answers who asked.
 * Nobody else is served meanwhile. */
void server_reload(struct server *server);

/* Libraries of functions before the databases of a snapshot; see walk_options. */
unsigned server_write_functions(void *context, struct codec_out *out);

/* ---- replication.c ---- */

void server_init_repl(struct server *server, bool is_threaded);
void server_apply_repl(struct server *server);

/* Begins to follow whom the configuration names, if it does: before anything is loaded. */
void server_follow_configured(struct server *server);

/* Whether keys expire, and by whom: the role has changed, or a loading begins or ends. */
void server_update_expiry(struct server *server);

/* For script_options. */
struct script_wish;
const char *server_refuses_script(void *context, const struct session *client,
                                  const struct script_wish *wish);

/* Who refuses writes has changed. */
void server_update_write_gate(void *context);

/* ---- Families of commands that need the whole server (one file each) ---- */

void server_register_config(struct server *server); /* CONFIG */
void server_register_info(struct server *server);   /* INFO */
void server_register_admin(struct server *server);  /* SHUTDOWN, TIME, LOLWUT */
void server_register_debug(struct server *server);  /* DEBUG */
void server_register_memory(struct server *server); /* MEMORY */

/* INFO's text for one section ("server", "default", "all", "everything"); for the command and for
 * the crash report. */
void server_info(struct server *server, const struct slice *names, uint32_t count, struct buf *out);

/* ---- digest.c: what DEBUG DIGEST and DEBUG DIGEST-VALUE answer; O(data) in one step ---- */

void debug_digest(struct call *call);
void debug_digest_value(struct call *call);

/* ---- signals.c ---- */

/* Signals that ask for the end, so far. */
struct signals_pending {
    volatile sig_atomic_t count;
    volatile sig_atomic_t last; /* Number of the last: SIGTERM or SIGINT. */
};

/* Installs handlers for SIGTERM and SIGINT, which `pending` counts, and for crashes; ignores
 * SIGPIPE, SIGXFSZ and SIGHUP. */
void signals_install(struct server *server, struct signals_pending *pending);
