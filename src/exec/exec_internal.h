/* What exec's own files share. Never included from outside src/exec/. */
#pragma once

#include "ds/table.h"
#include "exec/exec.h"
#include "exec/sliced.h"

struct aside;
struct key_set;

enum { EXEC_NAME_LEN_MAX = 64, EXEC_NAME_WORDS = EXEC_NAME_LEN_MAX / 8 };

/* A name in lower case, eight bytes to a word, zero padded. */
struct exec_name {
    uint64_t words[EXEC_NAME_WORDS];
    uint32_t len;
};

/* One slot of the name table: 32 bytes, two to a cache line. Most names fit in `first`. */
struct exec_slot {
    uint64_t first; /* The name's first word. */
    const struct exec_name *name;
    struct command_entry *entry; /* NULL: free. */
    uint32_t len;
};

struct exec_hook {
    exec_session_fn fn;
    void *context;
};

struct exec_hooks {
    struct exec_hook at[EXEC_HOOKS_MAX];
    unsigned count;
};

/* What is to be done when a unit has ended. */
enum {
    AFTERMATH_READY = 1 << 0, /* Keys may serve blocked sessions. */
    AFTERMATH_UNIT = 1 << 1,  /* Sinks were told that a unit of effects began. */
};

/* Who waits for what; see block.c. */
struct blocking {
    struct table keys; /* Of struct block_key. */
    struct table_kind kind;
    struct list ready; /* struct block_key.ready_link */
    struct block **heap;
    size_t heap_count, heap_cap;
    uint64_t session_count;
    uint64_t removal_count; /* Keys with a waiter that wants to know of their removal. */
    bool is_serving;
    bool is_pending; /* The job goes on with those who are ready. */
    struct work_job serve_job;
};

/* Long calls; see sliced.c. */
struct exec_sliced {
    struct list waiting, running; /* Of struct sliced. */
    struct list held;             /* Of struct held: sessions that wait for a pin to go. */
    struct work_job start_job;
    struct sliced *teller;           /* Whose effects are a unit that is still open; or NULL. */
    struct sliced *unit;             /* The transaction of a primary that is under way; or NULL. */
    const struct key_set *unit_keys; /* With it: the keys that it names. */
    struct sliced *crowd;            /* The call that holds a set of keys; or NULL. */
    bool is_start_barred;            /* Until those who were held have had their turn. */
    bool is_stepping;                /* Calls that write rest after their first slice. */
    bool has_due;                    /* Fields of hashes; see exec_note_due. */
};

struct exec {
    /* Hot. */
    const struct clock_now *now;
    struct exec_slot *slots;
    uint32_t slot_mask;
    uint32_t active_gates;
    uint64_t last_tick;   /* End of the previous command, or start of the turn. */
    uint64_t ns_per_tick; /* 32.32 fixed point. */
    uint64_t watch_ns;    /* Commands that take this long concern a hook. */
    exec_monitor_fn monitor;
    exec_read_fn reader;
    const struct call *current;   /* The innermost call being executed. */
    const struct call *outermost; /* The one that a connection sent; NULL: `current`, if any. */
    uint32_t aftermath;           /* AFTERMATH_..., or-ed. */
    bool is_tracking;             /* Histograms. */
    bool is_watched;              /* There is a monitor or a reader. */
    uint8_t command_sink_count, change_sink_count;
    uint8_t command_sinks_all; /* Whomever commands are meant for. */
    uint8_t audience;          /* Whom they are meant for now: enum effect_audience. */
    uint32_t event_classes;    /* Of events that some sink wants. */
    struct exec_stats stats;

    struct keyspace *keyspace;
    struct work_queue *work;
    struct rng *rng;

    struct {
        gate_fn fn;
        void *context;
    } gates[GATE_COUNT];

    struct effect_sink sinks[EXEC_SINKS_MAX];
    unsigned sink_count;
    uint64_t unit_counts[EXEC_SINKS_MAX]; /* Commands told to each in the unit under way. */
    struct session *unit_client; /* While its end is told: who caused it; NULL: nobody known. */

    struct exec_hooks close_hooks, reset_hooks;
    exec_slow_fn slow;
    void *slow_context;
    int64_t slow_us;
    void *monitor_context;
    void *reader_context;
    struct reply pushes; /* To the session being executed; valid with its SESSION_PUSHED. */
    exec_latency_fn latency;
    void *latency_context;
    int64_t latency_us;
    struct exec_auth auth;

    struct command_entry **entries;
    unsigned entry_count, entry_cap;
    void **blocks; /* Allocations that live as long as exec. */
    unsigned block_count, block_cap;
    const struct command_entry *exec_entry; /* EXEC, whose refusals read differently. */

    struct exec_sliced sliced;

    uint64_t tick_origin; /* Calibration: ticks and monotonic time at the start. */
    int64_t tick_origin_us;
    int64_t tick_refresh_us;

    enum pause_mode pause_mode; /* The strictest of `pauses`. */
    struct pause {
        enum pause_mode mode;
        int64_t until_ms;
    } pauses[PAUSE_REASONS];

    struct blocking blocking;
    uint64_t watching_sessions, watched_keys; /* WATCH */
    struct aside *aside;                      /* NULL until something ran aside. */

    struct list sessions;
    struct list session_walks; /* struct session_walk.link: walks under way. */
    uint64_t session_count;
    uint64_t session_next_id;

    struct error_stat errors[EXEC_ERROR_CODES_MAX];
    unsigned error_code_count;
};

/* registry.c */
struct command_entry *exec_registry_find(const struct exec *exec, struct slice name);
void exec_registry_free(struct exec *exec);

/* effect.c */
void exec_emit(struct exec *exec, const struct effect *effect);
void exec_emit_of(struct call *call, const struct slice *args, uint32_t count);
void exec_emit_event(struct exec *exec, struct db *db, struct slice key, const char *event,
                     enum event_class event_class);

/* session.c */
void session_push_flush(struct session *session);

/* stats.c */
void exec_note_errors(struct exec *exec, const struct reply *out, uint64_t count);
void exec_stats_record(struct command_entry *entry, uint64_t ns, bool is_tracking);

/* run.c */
struct exec_again {
    struct command_entry *entry;
    struct args args;
    uint32_t ready_key;
};
/* Runs the command of a blocked session once more. */
void exec_run_again(struct exec *exec, struct session *session, const struct exec_again *again);

struct multi_command;
/* Runs a command that was queued: no gates but that of access rights. */
void exec_run_queued(struct exec *exec, struct session *session,
                     const struct multi_command *queued);

/* multi.c */
enum gate_result multi_gate(void *context, struct call *call);
void multi_spoil(struct session *session);

/* effect.c: tells sinks that a unit of effects, if one has begun, is over; and the same of a unit
 * that `session` caused. */
void exec_unit_end(struct exec *exec);
void exec_unit_end_for(struct exec *exec, struct session *session);
void exec_settle_for(struct exec *exec, struct session *session);

/* exec.c: a session goes; walks that are at it go on behind it. */
void exec_forget_session(struct exec *exec, struct session *session);

/* session.c: moves CLIENT REPLY's state on after a command. */
void session_reply_moved(struct session *session);

/* block.c */
void blocks_init(struct exec *exec);
void blocks_deinit(struct exec *exec);
void block_note(struct exec *exec, struct db *db, struct slice name);
bool block_is_woken_by(const char *event);
void block_serve(struct exec *exec);
void block_serve_rest(struct exec *exec); /* What a job is at, at once. */
bool block_is_pending(const struct exec *exec);
void block_tick(struct exec *exec);

/* Notes who waits for a key to which this happened. `event` may be NULL. */
static inline void exec_wake_key(struct exec *exec, struct db *db, struct slice key,
                                 const char *event)
{
    if (__builtin_expect(table_count(&exec->blocking.keys) != 0, 0) && block_is_woken_by(event)) {
        block_note(exec, db, key);
    }
}

/* A command changed a key: tells whom that concerns. */
static inline void exec_note_key(struct exec *exec, struct db *db, struct slice key,
                                 const char *event)
{
    db_bump(db, key);
    exec_wake_key(exec, db, key, event);
}
/* aside.c */
void exec_aside_free(struct exec *exec);

/* What follows a handler: effect, statistics, hooks. `ns` is how long it took. */
void exec_call_ended(struct exec *exec, struct call *call, uint64_t ns, uint64_t error_count);

/* Tells the read hook, if there is one and the command reads. */
void exec_note_read(struct exec *exec, struct session *client, const struct call *call);
uint64_t exec_ticks_to_ns(const struct exec *exec, uint64_t ticks);

/* sliced.c */
void exec_sliced_init(struct exec *exec);
void exec_sliced_deinit(struct exec *exec); /* Gives up what is left. */
void exec_sliced_on_unpause(struct exec *exec);
void exec_sliced_start_later(struct exec *exec);

/* Of those whose mode is `least` or above: whether there are any, and has them do the rest at once,
 * but for those inside which this is called. */
bool exec_sliced_is_any(const struct exec *exec, enum slice_mode least);
void exec_sliced_finish_all(struct exec *exec, enum slice_mode least);

/* A call in slices wants to wait for keys: its handler is run once more, in one step, when it has
 * returned. */
void exec_sliced_block(struct call *call);

/* Those that wait for their clients make room for others. */
void exec_sliced_hurry_all(struct exec *exec);

/* sliced_tell.c: keeps an effect of a call in slices until its end. False: it is to be told now. */
bool exec_sliced_gather(struct call *call, const struct slice *args, uint32_t count);
void exec_sliced_freeze(struct exec *exec);

/* sliced_crowd.c: whether a call changes very many keys; whether one that holds very many keeps
 * others from this. */
bool exec_crowd_writes(const struct exec *exec);
bool exec_crowd_bars(const struct exec *exec, uint64_t hash, bool is_reading);

/* sliced_unit.c: whether the transaction of a primary keeps others from a key. */
bool exec_unit_bars(const struct exec *exec, uint64_t hash);

/* Has the transaction of a primary do the rest at once. */
void exec_sliced_finish_unit(struct exec *exec);

/* held.c */
void exec_held_init(struct exec *exec);
void exec_held_deinit(struct exec *exec);
void exec_held_refresh(struct exec *exec);
void exec_held_release(struct exec *exec); /* Something that bars keys has ended. */
void exec_sliced_tick(struct exec *exec);

/* The keys of a command; `*more` is owned when it is not NULL. Returns how many. */
enum { EXEC_KEYS_INLINE = 16 };
uint32_t exec_find_pins(const struct call *call, struct key_position few[EXEC_KEYS_INLINE],
                        struct key_position **more);

/* Has whoever bars the keys of a call that cannot wait do the rest at once. */
void exec_sliced_settle(struct exec *exec, const struct call *call);

/* pause.c */
enum gate_result exec_pause_gate(void *context, struct call *call);
void exec_pause_tick(struct exec *exec);
