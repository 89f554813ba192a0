/* Scripts and functions: Lua programs that run inside the server, each as one step that no other
 * command sees the middle of. One struct script per server. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct exec;
struct script;
struct session;

/* What a script says of itself in its first line. */
struct script_wish {
    bool has_flags;    /* There is such a line; else it is an EVAL that promises nothing. */
    bool is_writing;   /* It may write. */
    bool allows_stale; /* It may run where reads of old data are refused. */
};

struct script_options {
    const char *version; /* What redis.REDIS_VERSION says; borrowed. */

    /* Whether the data set is above maxmemory and nothing can be evicted; asked once per script. */
    bool (*is_memory_full)(void *context);

    /* What forbids to run a script at all for this client, as an error; NULL: nothing. May be NULL.
     */
    const char *(*refuses)(void *context, const struct session *client,
                           const struct script_wish *wish);
    void *context;

    int64_t threshold_ms; /* busy-reply-threshold; 0 or less: others are never told BUSY. */
    size_t memory_max;    /* script-memory-max: bytes that all scripts together may hold. */
};

struct script_stats {
    size_t eval_memory, function_memory; /* Bytes of Lua's states. */
    size_t cache_memory, library_memory; /* Bytes of what is kept besides. */
    size_t script_count;                 /* Cached scripts. */
    size_t library_count, function_count;
    uint64_t evicted_count; /* Scripts that left the cache for newer ones. */
};

/* Registers EVAL, SCRIPT, FUNCTION, FCALL and theirs with `exec`, and GATE_BUSY. */
struct script *script_new(struct exec *exec, const struct script_options *options);

/* No script may be parked: see script_abort. */
void script_free(struct script *script);

void script_configure(struct script *script, int64_t threshold_ms, size_t memory_max);

/* Ends a script that is parked, whatever it has done: for shutdown. */
void script_abort(struct script *script);

/* What others are told while a script is busy; NULL when none is. */
const char *script_busy_error(const struct script *script);

struct script_stats script_stats(const struct script *script);

/* Bytes that scripts hold: not data. O(1). */
size_t script_memory(const struct script *script);

/* The code of library `index`, in order of names, for snapshots; false behind the last. */
bool script_library_at(const struct script *script, size_t index, struct slice *code);

/* Loads a library as FUNCTION LOAD does, when a snapshot is read or a primary sends it. NULL, or
 * why not; the text is valid until the next call. */
const char *script_load_library(struct script *script, struct slice code, bool may_replace);

/* Drops all libraries. */
void script_flush_libraries(struct script *script);
