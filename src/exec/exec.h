/* The contract of a command: registry, gates, execution, effects and statistics. One struct exec
 * per server.
 *
 *     net: resp_parse -> exec_plan (look up the row, hash the first key)
 *                     -> exec_prefetch (of a window: prefetch the keys' buckets, then values)
 *                     -> exec_run (gates, handler, effects, statistics)
 *
 * Gates are rules that may refuse a command before its handler runs: authentication, memory,
 * loading, read-only. Each row is given the bits of the gates that concern it once, at
 * registration; a gate that is not active costs nothing: the hot path tests
 * entry->gate_bits & (exec->active_gates | session->gate_bits). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/rng.h"
#include "base/work.h"
#include "exec/call.h"
#include "exec/command.h"
#include "exec/effect.h"
#include "exec/session.h"
#include "keyspace/keyspace.h"

/* Asked in the order of their bits, which is the order in which Redis checks. */
enum gate_bit {
    GATE_AUTH = 1 << 0,    /* Everything but CMD_NO_AUTH; set per session. Exec's own. */
    GATE_ACCESS = 1 << 1,  /* ACL of a user that is not all-powerful; per session. */
    GATE_CLUSTER = 1 << 2, /* Everything. */
    GATE_MEMORY = 1 << 3,  /* Every command while maxmemory is set; refuses CMD_DENY_OOM. */
    /* CMD_WRITE, and EXEC, of which multi_call_flags tells whether it writes: read-only replica, or
     * writes stopped by a failed save. */
    GATE_READ_ONLY = 1 << 4,
    GATE_PUBSUB = 1 << 5,  /* RESP2 subscribed mode; per session. */
    GATE_STALE = 1 << 6,   /* Everything but CMD_STALE. */
    GATE_LOADING = 1 << 7, /* Everything but CMD_LOADING. */
    GATE_BUSY = 1 << 8,    /* Everything but CMD_ALLOW_BUSY. */
    GATE_MONITOR = 1 << 9, /* Whatever uses keys, of a session that watches (MONITOR). */
    GATE_PAUSE = 1 << 10,  /* CLIENT PAUSE. Exec's own. */
    GATE_MULTI = 1 << 11,  /* Queueing; per session. Exec's own. */
    GATE_PINNED = 1 << 12, /* What may change keys that a long command reads. Exec's own. */
    /* Whatever looks at keys, while one changes in slices. Exec's own. */
    GATE_EDITED = 1 << 13,
    GATE_COUNT = 14,
};

/* GATE_PASS: go on. GATE_REFUSED: the error is in the reply (call_refuse). GATE_TAKEN: the gate
 * dealt with the call (queued it, replied). GATE_LATER: do not execute now; the session was
 * suspended and the command's bytes stay pending. */
enum gate_result { GATE_PASS, GATE_REFUSED, GATE_TAKEN, GATE_LATER };
typedef enum gate_result (*gate_fn)(void *context, struct call *call);

/* Eight buckets per power of two of nanoseconds. */
enum { COMMAND_HISTOGRAM_BUCKETS = 64 * 8 };

struct command_stats {
    uint64_t calls, usec_e3 /* nanoseconds */, rejected, failed;
    uint32_t *histogram; /* NULL until the first call, or when tracking is off. */
};

/* A registered command. Its address is its identity until the server ends. */
struct command_entry {
    command_run_fn run; /* row->run */
    void *family;
    const struct command *row;
    uint32_t gate_bits;
    uint32_t flags;      /* row->flags and what follows from them. */
    int32_t arity;       /* row->arity */
    uint16_t first_key;  /* Index of the first key when it is at a fixed place, else 0. */
    uint16_t index;      /* 0 .. exec_command_count; of a subcommand, within its container. */
    uint32_t categories; /* row->categories and what the flags imply. */
    unsigned subcommand_count;
    struct command_stats stats;
    const char *full_name;        /* "client|id" */
    struct command_entry *parent; /* The container, or NULL. */
    struct command_entry *subcommands;
    bool is_removed; /* rename-command to "": COMMAND does not show it. */
};

struct exec_stats {
    uint64_t commands_count;
    uint64_t errors_count;
    uint64_t dirty; /* Changes since the last save. */
};

struct exec_options {
    struct keyspace *keyspace;   /* Borrowed. */
    struct work_queue *work;     /* Borrowed. */
    struct rng *rng;             /* Borrowed. */
    const struct clock_now *now; /* Borrowed; the composition root refreshes it once per turn. */
};

struct exec *exec_new(const struct exec_options *options);

/* All connected sessions must be closed before; internal ones need not. */
void exec_free(struct exec *exec);

/* Once per turn, after the wait and before commands are drained: the clock that commands are
 * measured with starts here, and a pause whose time has come ends. */
void exec_tick(struct exec *exec);

/* Whether hashes have fields due that the keyspace has not got round to (keyspace_lead_parts): then
 * commands are held back that would remove thousands of them. Told once per turn. */
void exec_note_due(struct exec *exec, bool has_due);

struct keyspace *exec_keyspace(struct exec *exec);
struct work_queue *exec_work(struct exec *exec);
struct rng *exec_rng(struct exec *exec);
const struct clock_now *exec_now(const struct exec *exec);
struct exec_stats *exec_stats(struct exec *exec);

/* ---- Registry ---- */

/* Adds a family's rows (borrowed for exec's life) with the state its handlers will find in
 * call->family. Asserts on duplicates and inconsistent rows. */
void exec_register(struct exec *exec, const struct command *rows, unsigned count, void *family);

/* Adds subcommands to a container that another family registered, at start. */
void exec_register_subcommands(struct exec *exec, const char *container, const struct command *rows,
                               unsigned count, void *family);

/* Walks all rows and asserts what registration does not: that syntax and history can be read. */
void exec_check(struct exec *exec);

/* rename-command: "" removes. Returns 0, -ENOENT (no such command), -EEXIST or -ENAMETOOLONG. */
int exec_rename(struct exec *exec, struct slice old_name, struct slice new_name)
    __attribute__((warn_unused_result));

/* The entry for a command's name and, for containers, its subcommand; NULL when unknown. A
 * container alone (count 1) is itself. Case-insensitive. */
struct command_entry *exec_lookup(struct exec *exec, const struct slice *args, uint32_t count);

/* The same for "name" or "container|subcommand" in one text. */
struct command_entry *exec_lookup_name(struct exec *exec, struct slice name);

unsigned exec_command_count(const struct exec *exec); /* Containers, not subcommands. */
struct command_entry *exec_command_at(struct exec *exec, unsigned index);

/* Lower-case name of category bit `index` without "@" ("keyspace"), index < ACL_CATEGORY_COUNT;
 * and the bit for a name, 0 when unknown. */
const char *command_category_name(unsigned index);
uint32_t command_category_find(struct slice name);

/* Indices of the arguments that are keys, per the row's key specs. Returns how many there are (at
 * most `max` are stored), or -1 when the arguments do not make sense. */
struct key_position {
    uint32_t index;
    const struct key_spec *spec; /* What happens to it; already refined. */
};
int exec_find_keys(const struct command *row, const struct slice *args, uint32_t count,
                   struct key_position *out, uint32_t max);

/* First, last and step as COMMAND tells them; all 0 when there are no keys at fixed places. */
struct key_range {
    int first, last, step;
    bool is_movable; /* They do not tell everything. */
};
struct key_range command_key_range(const struct command *row);

/* ---- Execution ---- */

/* What net prepares for each parsed command of its window. */
struct exec_plan {
    struct command_entry *entry; /* NULL: unknown command. */
    struct slice *args;          /* Borrowed until exec_run. */
    uint32_t count;              /* At least 1. */
    uint32_t first_key;
    uint64_t first_hash;
};

/* The session's database may change before the plan is run (a SELECT ahead of it): hashes are the
 * same in all databases, only the prefetch is wasted. */
void exec_plan(struct exec *exec, struct session *session, struct slice *args, uint32_t count,
               struct exec_plan *plan);

/* The first keys of a window of commands: set `count` to 0, add plans (those beyond DB_LOOKS_MAX
 * are not looked at), and begin to load what they hold before the first is run. */
struct exec_ahead {
    uint32_t count;
    struct db_look looks[DB_LOOKS_MAX];
};
void exec_look_ahead(struct exec_ahead *ahead, const struct session *session,
                     const struct exec_plan *plan);
void exec_prefetch(const struct exec_ahead *ahead);

enum exec_result {
    EXEC_DONE,  /* Executed or refused; the reply, if any, is in session->out. */
    EXEC_LATER, /* Not executed; the session is suspended, keep the bytes. */
};

/* Afterwards the caller looks at session->flags (closing, suspended) before it runs more. */
enum exec_result exec_run(struct exec *exec, struct session *session, struct exec_plan *plan,
                          struct resp_parser *parser);

/* Runs a command on behalf of another room (scripts, EXEC, loading) in `session`. No gates but
 * those in `gates`, where they are active. */
void exec_run_inner(struct exec *exec, struct session *session, struct slice *args, uint32_t count,
                    uint32_t gates);

/* The same for a command that was found by exec_lookup, and whose arguments are as many as it
 * takes.
 */
void exec_run_entry(struct exec *exec, struct session *session, struct command_entry *entry,
                    const struct args *args, uint32_t gates);

/* The call being executed, or NULL: for the crash report. */
const struct call *exec_current_call(const struct exec *exec);

/* Whether the data are between two commands, and not in the middle of a script or of a command that
 * changes them in slices: a snapshot may begin. The second has such commands do the rest at once;
 * scripts stay where they are. */
bool exec_is_whole(const struct exec *exec);
void exec_make_whole(struct exec *exec);

/* Has the command that holds very many keys, if there is one, do the rest at once: for who replaces
 * values without a command. It may have pointers to them. */
void exec_finish_crowd(struct exec *exec);

/* While it is on, calls that write in slices rest after their first one, unless somebody has them
 * do the rest at once. For tests, which would else have to be quick to meet one in its middle. */
void exec_hold_slices(struct exec *exec, bool is_on);

/* At the end, when all sessions have closed: gives up what is still under way in slices, and what
 * has not begun. */
void exec_end_slices(struct exec *exec);

/* Does the rest of every long command that writes, those included that have not begun: for a change
 * of role, after which this server's clients may write no more. */
void exec_finish_writes(struct exec *exec);

/* The same for the long command of one session, if it has begun. False: the session is suspended
 * still, for its command has not begun or is none that can be finished. */
bool exec_finish_session(struct exec *exec, struct session *session)
    __attribute__((warn_unused_result));

/* ---- Seams, filled in at start ---- */

void exec_set_gate(struct exec *exec, enum gate_bit bit, gate_fn fn, void *context);
void exec_activate_gate(struct exec *exec, enum gate_bit bit, bool is_active);

enum { EXEC_SINKS_MAX = 8, EXEC_HOOKS_MAX = 16 };
void exec_add_sink(struct exec *exec, const struct effect_sink *sink);

/* Changes what the sink with this context wants, for those who do not listen all the time: classes
 * of events; changes of keys (NULL: none); commands (NULL: none). */
void exec_set_event_classes(struct exec *exec, const void *context, uint32_t classes);
void exec_set_change_sink(struct exec *exec, const void *context, effect_change_fn on_change);
void exec_set_command_sink(struct exec *exec, const void *context, effect_command_fn on_command);

/* Whom commands are meant for from now on (enum effect_audience; 0: nobody): for scripts that say
 * so (redis.set_repl). All sinks go on hearing of events and changes of keys. */
void exec_set_audience(struct exec *exec, uint32_t audience);

/* Hooks called when a session closes, or is reset, in order of addition. */
typedef void (*exec_session_fn)(void *context, struct session *session);
void exec_add_close_hook(struct exec *exec, exec_session_fn fn, void *context);
void exec_add_reset_hook(struct exec *exec, exec_session_fn fn, void *context);

/* After each command that took at least `threshold_us` (0: each, negative: none). */
typedef void (*exec_slow_fn)(void *context, struct call *call, int64_t duration_us);
void exec_set_slow_hook(struct exec *exec, exec_slow_fn fn, void *context, int64_t threshold_us);

/* After each command, while set (MONITOR); NULL switches off. */
typedef void (*exec_monitor_fn)(void *context, struct call *call);
void exec_set_monitor_hook(struct exec *exec, exec_monitor_fn fn, void *context);

/* After each command that reads keys, or before the later run of one in slices, while set
 * (client-side caching); NULL switches off. `client` is the session that sent it, also when a
 * script or EXEC executes it. */
typedef void (*exec_read_fn)(void *context, struct session *client, const struct call *call);
void exec_set_read_hook(struct exec *exec, exec_read_fn fn, void *context);

/* A latency event of the given name ("command", "expire-cycle"); dropped when no hook is set or it
 * is below the threshold. Threshold 0 or less: none. */
typedef void (*exec_latency_fn)(void *context, const char *event, int64_t duration_us);
void exec_set_latency_hook(struct exec *exec, exec_latency_fn fn, void *context,
                           int64_t threshold_us);
void exec_note_latency(struct exec *exec, const char *event, int64_t duration_us);

/* Passwords and users: `check` says whether they match, `has_user` (NULL: there is only "default")
 * whether there is such a user. is_required: whether new sessions must authenticate; without it
 * the default user takes any password. */
struct exec_auth {
    bool (*check)(void *context, struct slice user, struct slice password);
    bool (*has_user)(void *context, struct slice user);
    bool is_required;
    void *context;
};
void exec_set_auth(struct exec *exec, const struct exec_auth *auth);
const struct exec_auth *exec_auth(const struct exec *exec);

/* Reports that the keyspace removes a key that expired or is evicted: events, and `DEL key` to
 * command sinks. That its version moves is the keyspace's part. */
void exec_report_removal(struct exec *exec, struct db *db, struct slice key, const char *event,
                         enum event_class event_class);

/* A key was inserted, or looked up for reading in vain: its event ("new", "keymiss"), if somebody
 * wants it. */
void exec_report_insert(struct exec *exec, struct db *db, struct slice key);
void exec_report_miss(struct exec *exec, struct db *db, struct slice key);

/* All keys of a database were removed, or of all databases (`db` NULL). */
void exec_report_flush(struct exec *exec, struct db *db);

/* Ends the unit of effects under way, and serves who waits for what changed. Commands need not call
 * it: exec_run does. For those who change keys outside of it. */
void exec_settle(struct exec *exec);

/* For a sink's on_end: the client whose command, transaction or script made the unit; NULL when it
 * is not known, or nobody did. */
struct session *exec_unit_client(const struct exec *exec);

/* A field of a hash expired: its effect is HDEL. Then, once for the hash, the event ("hexpired", or
 * "del" when the key went with it). */
void exec_report_part(struct exec *exec, struct db *db, struct slice key, struct slice field);
void exec_report_parts(struct exec *exec, struct db *db, struct slice key, const char *event);

/* ---- Pauses ---- */

enum pause_mode { PAUSE_NONE, PAUSE_WRITE, PAUSE_ALL };

/* Who wants it. Pauses of several reasons stand beside each other. */
enum pause_reason {
    PAUSE_BY_CLIENT,
    PAUSE_BY_FAILOVER,
    PAUSE_BY_SAVE,
    PAUSE_BY_END,
    PAUSE_REASONS
};

/* Holds back commands until `until_ms` (wall clock). A pause under way for the same reason is only
 * prolonged and made stricter. */
void exec_pause(struct exec *exec, enum pause_reason reason, enum pause_mode mode,
                int64_t until_ms);
/* Ends that for this reason. */
void exec_unpause(struct exec *exec, enum pause_reason reason);

/* The strictest that there is. While it is not PAUSE_NONE nothing may expire or be evicted either.
 */
enum pause_mode exec_pause_mode(const struct exec *exec);

/* ---- Statistics ---- */

void exec_reset_stats(struct exec *exec);

/* Errors by code, for INFO errorstats; at most EXEC_ERROR_CODES_MAX are told apart. */
enum { EXEC_ERROR_CODES_MAX = 128 };
struct error_stat {
    char code[24];
    uint64_t count;
};
unsigned exec_error_stats(const struct exec *exec, const struct error_stat **out);
void exec_set_latency_tracking(struct exec *exec, bool is_on);

/* Value in nanoseconds below which `percent` of the calls of an entry stayed; 0 when none. */
uint64_t command_stats_percentile_ns(const struct command_stats *stats, double percent);

/* Bucket of a duration, and the longest duration that falls into a bucket. */
unsigned command_histogram_bucket(uint64_t ns);
uint64_t command_histogram_bound_ns(unsigned bucket);

/* ---- Sessions ---- */

uint64_t exec_session_count(const struct exec *exec);
struct session *exec_session_by_id(struct exec *exec, uint64_t id); /* O(sessions) */

/* A walk over the sessions that were there at its beginning, oldest first. It may last over turns:
 * one that goes meanwhile is passed over. */
struct session_walk {
    struct list link;  /* Of the walks under way. */
    struct list *next; /* The link of the next session, or the list's head. */
    uint64_t id_end;   /* Of the first session that came too late. */
};
void exec_walk_begin(struct exec *exec, struct session_walk *walk);
struct session *exec_walk_next(struct exec *exec, struct session_walk *walk); /* NULL: the end. */
void exec_walk_end(struct session_walk *walk);

/* The session whose command is being executed, whoever executes on its behalf (EXEC, a script); or
 * NULL. */
struct session *exec_client(const struct exec *exec);
