/* What the files of this room share. Never included from outside src/script/. */
#pragma once

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "exec/call.h"
#include "exec/exec.h"
#include "exec/session.h"
#include "resp/reply.h"
#include "script/script.h"

struct retired;

enum { SCRIPT_SHA_LEN = 40 }; /* Hexadecimal digits of a SHA-1. */

/* What a script's first line, or a function's registration, may promise. */
enum script_flag {
    SCRIPT_NO_WRITES = 1 << 0,
    SCRIPT_ALLOW_OOM = 1 << 1,
    SCRIPT_ALLOW_STALE = 1 << 2,
    SCRIPT_NO_CLUSTER = 1 << 3,
    SCRIPT_ALLOW_CROSS_SLOT = 1 << 4,
    SCRIPT_IS_COMPAT = 1 << 5, /* No first line: nothing is promised, much is allowed. */
};

/* One Lua state: EVAL has one, functions have another. It is the `ud` of its allocator. */
struct vm {
    lua_State *lua;
    struct script *script;
    size_t memory;            /* Bytes that it holds. */
    size_t charge;            /* Bytes of large blocks since the last look at the clock. */
    int enter;                /* Kept: the function that prepares and calls scripts. */
    unsigned short random[3]; /* Of math.random: 48 bits, lowest first. */
    unsigned rounds;          /* Of the collector, that were asked for. */
    unsigned comparisons;     /* Of long sorts. */
    int pause;                /* Of the collector, in percent; 0: a script may have set it. */
};

/* A script being executed. */
struct script_run {
    struct script *script;
    struct vm *vm;
    struct session *caller;
    struct reply *out;
    const char *name;        /* Of the script in errors: its SHA-1, or the function's name. */
    const char *label;       /* What the log calls it. */
    const char *command;     /* "eval", "fcall_ro", ... */
    uint32_t flags;          /* enum script_flag */
    int function;            /* Kept in the vm. */
    struct slice *arguments; /* Keys, then the others; read before the first park. */
    uint32_t key_count, argument_count; /* The latter counts the keys too. */
    bool is_function;                   /* FCALL; else EVAL. */
    bool is_read_only;
    bool was_full; /* At its start the data set was above maxmemory. */
    bool has_written;
    bool is_slow; /* Over the threshold: others are told BUSY. */
    bool is_killed;
    bool is_failed;    /* What it left on the Lua stack is an error. */
    bool has_audience; /* It said whom its effects are meant for. */
    int64_t start_us;  /* Monotonic, of the first look at the clock; 0: there was none. */
    int64_t look_us;   /* Of the last one. */
    int64_t slice_us;  /* When it was last gone on with. */
};

struct script {
    struct exec *exec;
    struct script_options options;
    struct vm eval, functions;
    size_t pieces;         /* What the cache and the libraries take besides. */
    size_t library_pieces; /* The libraries' part. */
    size_t lasting;        /* Bytes in Lua that the last collection of all garbage has left. */
    bool is_unbounded;     /* The limit is off: a reply is being made of values. */

    /* Where a script's commands run and their replies go. */
    struct session session;
    struct reply_pool pool;
    struct reply reply;
    struct buf flat;

    struct script_run *run; /* &storage, or NULL: none is executed. */
    struct script_run storage;
    struct buf slow_words; /* The slow run's command, each word as a bulk. */
    uint32_t slow_count;
    struct cache *cache;
    struct libraries *libraries;
    struct list retired; /* What was flushed and is being freed, the oldest first. */
    unsigned retired_count;
    struct library_load *loading; /* FUNCTION LOAD under way, or NULL. */
    struct script_stats stats;
};

/* ---- vm.c ---- */

/* Makes the state ready with its sandbox. False: no memory. */
bool vm_open(struct vm *vm, struct script *script);
void vm_close(struct vm *vm);
struct vm *vm_of(lua_State *lua);

/* Compiles text (never binary chunks); the function, or the error message, is pushed. */
bool vm_compile(struct vm *vm, struct slice code, const char *chunk_name);

/* Has the collector go on as it is meant to, whatever scripts before have told it. */
void vm_pace(struct vm *vm);

/* Collects a little garbage while the states hold more than half of what they may. True: enough, or
 * two rounds of the collector found no more (the first may have begun before things became
 * garbage). vm_collect goes on until then. */
bool vm_collect_step(struct vm *vm);
void vm_collect(struct vm *vm);

/* Keeps the value on top of the stack, which is popped; vm_unkeep lets it go. */
int vm_keep(struct vm *vm);
void vm_unkeep(struct vm *vm, int reference);

/* 40 lower-case digits and a NUL. */
void script_sha(struct slice text, char out[SCRIPT_SHA_LEN + 1]);

/* ---- sandbox.c ---- */

/* Builds the globals that scripts see. May raise. */
void sandbox_build(lua_State *lua);

/* Whether scripts see what a library sees while it is loaded, or all that functions see. */
void sandbox_set_loading(lua_State *lua, bool is_loading);

/* Pushes the table of globals behind the protection. */
void sandbox_push_globals(lua_State *lua);

/* Raises Redis's error about tables that are read-only. */
int sandbox_refuse(lua_State *lua);

/* ---- api.c, json.c, msgpack.c, struct.c: push a table of functions ---- */

void api_open(lua_State *lua);
void api_open_loading(lua_State *lua); /* What there is while a library is loaded. */
int json_open(lua_State *lua);
int msgpack_open(lua_State *lua);
int struct_open(lua_State *lua);

/* ---- values.c ---- */

/* Pushes the value of one reply. False: the bytes are no reply, or the Lua stack is full. */
bool value_push_reply(lua_State *lua, struct slice *rest, int protocol);

/* Writes the value on top of the stack as a reply and pops it. */
void value_reply(lua_State *lua, struct reply *out, int script_protocol);

/* Pushes {err = text}, where `text` may lack its code. */
void value_push_error(lua_State *lua, struct slice text);

/* ---- run.c ---- */

/* Calls the run's function and answers the caller, perhaps in a later turn. The run is copied. */
void run_start(struct call *call, const struct script_run *run);

/* Puts the run's flags against the state of the server. False: the refusal is in the reply. */
bool run_is_allowed(struct call *call, const struct script_run *run);

/* For functions of C that may take long, about once per millisecond: does what the hook does
 * between instructions. May raise. */
void run_look(lua_State *lua);

/* The same where nothing may be raised. False: the script is to end. */
bool run_breathe(struct script *script);

/* SCRIPT KILL and FUNCTION KILL. */
void run_kill(struct call *call, bool is_function);

/* The refusal of GATE_BUSY. */
enum gate_result run_refuse_busy(void *context, struct call *call);

/* Pushes the function that prepares and calls the run that is its argument; kept in each vm. */
void run_push_enter(lua_State *lua);

/* The error handler of scripts: gives an error its text, source and line. */
int run_on_error(lua_State *lua);

/* ---- cache.c ---- */

struct cache *cache_new(void);
size_t cache_count(const struct cache *cache);
void eval_register(struct script *script);

/* Frees a cache whose state goes with it, breathing if `breath` is not NULL. */
void cache_free(struct cache *take_cache, struct retired *breath);

/* ---- retire.c ---- */

/* What was flushed, and is freed in slices. Both cache and libraries may be NULL. */
struct flushed {
    struct cache *cache;
    struct libraries *libraries;
    size_t pieces; /* Bytes of the two. */
};

/* Takes over a state, which is then closed, and what belonged to it. If an earlier one is still
 * being freed, that is brought to its end first. */
void retire(struct script *script, struct vm *vm, const struct flushed *take_flushed);

/* Lets the call's client wait for the last retired state, if there is one left: it is answered OK
 * when the state is gone, else at once. */
void retire_reply(struct call *call, bool is_patient);

/* Brings to its end what is being freed. */
void retire_finish(struct script *script);

/* Bytes that are still to be freed. */
size_t retire_memory(const struct script *script);

/* Between two pieces that are freed: goes on later when the slice is over. */
void retire_breathe(struct retired *retired);

/* ---- arguments.c ---- */

/* What EVAL and FCALL, and their kin, have in common. */
#define SCRIPT_RUN_FLAGS                                                                           \
    (CMD_NO_SCRIPT | CMD_STALE | CMD_SKIP_MONITOR | CMD_NO_MANDATORY_KEYS | CMD_MAY_PARK)
#define SCRIPT_KEYS_RW                                                                             \
    .first = 2, .is_counted = true, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_UPDATE
#define SCRIPT_KEYS_RO .first = 2, .is_counted = true, .access = KEY_RO, .use = KEY_USE_ACCESS
#define SCRIPT_NOTES_RW                                                                            \
    "We cannot tell how the keys will be used so we assume the worst, RW and UPDATE"
#define SCRIPT_NOTES_RO                                                                            \
    "We cannot tell how the keys will be used so we assume the worst, RO and ACCESS"

/* Answers with the error that was collected. */
void script_reply_error(struct call *call, struct buf *error);

/* The number of keys at args.at[2]. False: the error is in the reply; `no_number` is that of what
 * is none (NULL: as for any integer). */
bool script_read_key_count(struct call *call, const char *no_number, uint32_t *count);

/* [ASYNC|SYNC] at args.at[2]: whether the client waits until all is freed, as it does when it says
 * nothing. False: `error` is in the reply. */
bool script_read_flush(struct call *call, const char *error, bool *is_patient);

/* ---- shebang.c ---- */

/* Reads the first line of a script. `*code` begins behind it (its line end is kept). False: the
 * error is in `error`. */
struct shebang {
    uint32_t flags;
    struct slice name; /* Of a library. */
};
bool shebang_read(struct slice text, bool is_library, struct shebang *out, struct slice *code,
                  struct buf *error);

/* The flag of that name, or 0. */
uint32_t script_flag_of(struct slice name);
const char *script_flag_name(unsigned index); /* NULL behind the last. */

/* ---- library.c, function_commands.c ---- */

struct libraries *libraries_new(void);

/* The same of libraries. */
void libraries_free(struct libraries *take_libraries, struct retired *breath);
int library_register_function(lua_State *lua);
void function_register(struct script *script);
