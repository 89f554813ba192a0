/* Effects: what a command changed, for those who must know. A sink is a function pointer filled in
 * once at start: the append log, the replicas, keyspace notifications, client-side caching, tests.
 *
 *     handler -> call_changed --> version bump, event -----> sinks that want events
 *             -> call_effect  --> canonical command -------> sinks that want commands
 *
 * A command that changed something and set no effect is passed on verbatim, after its handler.
 * Expired and evicted keys come as DEL (expired, evicted events) through the keyspace's removal
 * hook.
 *
 * Units. What one command of a client changes belongs together, and so does what one EXEC or one
 * script changes: whoever repeats it must not be seen between the first and the last. So the
 * commands that a sink is told are bracketed:
 *
 *     on_begin  on_command  on_command ...  on_end(count)
 *
 * No sink is told of a unit without a command in it, and units do not nest. A sink that writes a
 * log wraps a unit in MULTI and EXEC when its count is at least 2. Units:
 *
 *     a command of a client, what expires while it looks at keys included
 *     EXEC, a script: all their commands together
 *     each blocked command that is served; it comes after the unit that served it
 *     each key or field that expires or is evicted outside of commands
 *     what a sliced command changes in one step, until exec_settle or the end of the turn
 *
 * Audiences. A script may keep what it changes from the log, the replicas, or both
 * (redis.set_repl). Sinks say which of them they are; what expires is told to all whatever a script
 * says, for nobody else would remove it there. */
#pragma once

#include <stdint.h>

#include "base/slice.h"

struct db;
struct call;

/* Classes of events; the letters of notify-keyspace-events. */
enum event_class {
    EVENT_GENERIC = 1 << 0, /* g */
    EVENT_STRING = 1 << 1,  /* $ */
    EVENT_LIST = 1 << 2,    /* l */
    EVENT_SET = 1 << 3,     /* s */
    EVENT_HASH = 1 << 4,    /* h */
    EVENT_ZSET = 1 << 5,    /* z */
    EVENT_EXPIRED = 1 << 6, /* x */
    EVENT_EVICTED = 1 << 7, /* e */
    EVENT_STREAM = 1 << 8,  /* t */
    EVENT_MISS = 1 << 9,    /* m */
    EVENT_MODULE = 1 << 10, /* d */
    EVENT_NEW = 1 << 11,    /* n */
    EVENT_CLASSES_ALL = (1 << 12) - 1,
};

/* The class that an event's name implies: "lpush" is of lists, "expire" is generic. Every name that
 * Redis gives to an event is known. */
enum event_class event_class_of(const char *event);

/* Whom commands are meant for; the numbers of redis.set_repl. */
enum effect_audience {
    EFFECT_FOR_LOG = 1 << 0,
    EFFECT_FOR_REPLICAS = 1 << 1,
    EFFECT_FOR_ALL = EFFECT_FOR_LOG | EFFECT_FOR_REPLICAS,
};

struct effect {
    struct db *db;
    const struct slice *args; /* Borrowed for the call. */
    uint32_t count;
    struct call *call; /* Whose effect it is; NULL: a key or field that expired or was evicted. */
};

typedef void (*effect_command_fn)(void *context, const struct effect *effect);
typedef void (*effect_change_fn)(void *context, struct db *db, struct slice key,
                                 const struct call *call);

struct effect_sink {
    /* Around the commands of a unit; `count` is how many there were. NULL: not interested. */
    void (*on_begin)(void *context);
    void (*on_end)(void *context, uint64_t count);
    /* A canonical command that changed `db`. NULL: not interested. */
    effect_command_fn on_command;
    uint32_t audience; /* Of on_command (enum effect_audience); 0 at first: all. */
    /* Something happened to a key. NULL: not interested. */
    void (*on_event)(void *context, struct db *db, struct slice key, const char *event,
                     enum event_class event_class);
    uint32_t event_classes; /* Those that on_event wants (enum event_class); 0 at first: all. */
    /* A key changed, event or not (client-side caching); `call` is NULL for a removal. NULL: not
     * interested. */
    effect_change_fn on_change;
    /* All keys of a database are gone, or of all databases (`db` NULL). NULL: not interested. */
    void (*on_flush)(void *context, struct db *db);
    void *context;
};
