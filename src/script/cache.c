/* The scripts that EVALSHA finds, and the commands EVAL, EVALSHA and SCRIPT.
 *
 *     slots: power of two          newest <---- recency ----> oldest      (EVAL's alone)
 *     [ ]-> script -> script       script <-> script <-> script
 *     [ ]-> script
 *
 * A script is found by the first 8 bytes of its SHA-1, which are as good as a hash. Scripts that
 * SCRIPT LOAD brought stay until SCRIPT FLUSH; of those that EVAL alone brought the newest 500 stay
 * (as in Redis 7.4), so that clients which paste values into their scripts do not fill the memory.
 *
 * The text is not kept: EVALSHA needs the compiled function, and effects replicate, not scripts.
 * Costs: a lookup, about 20 ns; EVAL besides, the SHA-1 of its text.
 *
 * Invariants:
 *   1. `recency` links exactly the scripts that are not pinned, newest first, at most
 *      EVAL_SCRIPTS_MAX.
 *   2. Each script keeps one function in the vm of EVAL. */
#include <ctype.h>
#include <string.h>

#include "base/assert.h"
#include "base/list.h"
#include "base/mem.h"
#include "script/script_internal.h"

enum {
    EVAL_SCRIPTS_MAX = 500,
    SLOTS_FIRST = 64,
    BODY_OVERHEAD = 64,
};

struct cached {
    struct cached *next; /* In its slot. */
    struct list recency;
    bool is_pinned; /* By SCRIPT LOAD. */
    uint32_t flags; /* enum script_flag */
    int function;   /* Kept in the vm. */
    char sha[SCRIPT_SHA_LEN + 1];
};

struct cache {
    struct cached **slots;
    size_t slot_count, count;
    struct list recency; /* Newest first. */
    size_t unpinned;
    uint64_t evicted;
};

/* ---- The table ------------------------------------------------------------------------------- */

struct cache *cache_new(void)
{
    struct cache *cache = mem_zalloc(sizeof(*cache));
    cache->slot_count = SLOTS_FIRST;
    cache->slots = mem_zalloc(SLOTS_FIRST * sizeof(struct cached *));
    list_init(&cache->recency);
    return cache;
}

static struct cached **slot_of(const struct cache *cache, const char *sha)
{
    uint64_t hash;
    memcpy(&hash, sha, sizeof(hash));
    hash *= UINT64_C(0x9E3779B97F4A7C15); /* Digits alone are sparse. */
    return &cache->slots[(hash >> 32) & (cache->slot_count - 1)];
}

static struct cached *find(const struct cache *cache, const char *sha)
{
    struct cached *script = *slot_of(cache, sha);
    while (script != NULL && memcmp(script->sha, sha, SCRIPT_SHA_LEN) != 0) {
        script = script->next;
    }
    return script;
}

static void grow(struct cache *cache)
{
    struct cached **old = cache->slots;
    size_t old_count = cache->slot_count;
    cache->slot_count = old_count * 2;
    cache->slots = mem_zalloc(cache->slot_count * sizeof(struct cached *));
    for (size_t i = 0; i < old_count; i++) {
        struct cached *next;
        for (struct cached *script = old[i]; script != NULL; script = next) {
            struct cached **slot = slot_of(cache, script->sha);
            next = script->next;
            script->next = *slot;
            *slot = script;
        }
    }
    mem_free(old);
}

static void drop(struct script *script, struct cached *cached)
{
    struct cache *cache = script->cache;
    struct cached **link = slot_of(cache, cached->sha);
    while (*link != cached) {
        link = &(*link)->next;
    }
    *link = cached->next;
    if (!cached->is_pinned) {
        list_remove(&cached->recency);
        cache->unpinned--;
    }
    cache->count--;
    script->pieces -= sizeof(*cached);
    vm_unkeep(&script->eval, cached->function);
    mem_free(cached);
}

static void trim(struct script *script)
{
    struct cache *cache = script->cache;
    while (cache->unpinned > EVAL_SCRIPTS_MAX) {
        drop(script, LIST_OWNER(cache->recency.prev, struct cached, recency));
        script->stats.evicted_count++;
    }
}

void cache_free(struct cache *take_cache, struct retired *breath)
{
    for (size_t i = 0; i < take_cache->slot_count; i++) {
        struct cached *next;
        for (struct cached *script = take_cache->slots[i]; script != NULL; script = next) {
            next = script->next;
            mem_free(script);
            retire_breathe(breath);
        }
    }
    mem_free(take_cache->slots);
    mem_free(take_cache);
}

/* The vm is made anew, so that nothing of a script outlives it. */
static void flush(struct script *script)
{
    struct flushed flushed = {.cache = script->cache,
                              .pieces = script->pieces - script->library_pieces};
    script->pieces = script->library_pieces;
    script->cache = cache_new();
    retire(script, &script->eval, &flushed);
    bool is_open = vm_open(&script->eval, script);
    (void)is_open; /* Without memory EVAL says so. */
}

size_t cache_count(const struct cache *cache)
{
    return cache->count;
}

/* ---- Compiling ------------------------------------------------------------------------------- */

/* Compiles and caches. NULL: the error is in the reply. */
static struct cached *add(struct call *call, struct slice text, const char *sha, bool is_pinned)
{
    struct script *script = call->family;
    struct cache *cache = script->cache;
    struct shebang shebang;
    struct slice code;
    struct buf error;
    buf_init(&error);
    if (!shebang_read(text, false, &shebang, &code, &error)) {
        script_reply_error(call, &error);
        buf_deinit(&error);
        return NULL;
    }
    buf_deinit(&error);
    if (script->eval.lua == NULL && !vm_open(&script->eval, script)) {
        reply_error(call->out, ERR_NO_MEMORY);
        return NULL;
    }
    if (!vm_compile(&script->eval, code, "@user_script")) {
        reply_errorf(call->out, "ERR Error compiling script (new function): %s",
                     lua_tostring(script->eval.lua, -1));
        lua_settop(script->eval.lua, 0);
        vm_collect(&script->eval);
        return NULL;
    }
    int function = vm_keep(&script->eval);
    struct cached *cached = mem_zalloc(sizeof(*cached));
    cached->flags = shebang.flags;
    cached->function = function;
    cached->is_pinned = is_pinned;
    memcpy(cached->sha, sha, sizeof(cached->sha));
    if (cache->count == cache->slot_count) {
        grow(cache);
    }
    struct cached **slot = slot_of(cache, sha);
    cached->next = *slot;
    *slot = cached;
    cache->count++;
    script->pieces += sizeof(*cached);
    list_init(&cached->recency);
    if (!is_pinned) {
        list_push_front(&cache->recency, &cached->recency);
        cache->unpinned++;
        trim(script);
    }
    return cached;
}

static void touch(struct cache *cache, struct cached *cached)
{
    if (!cached->is_pinned && cache->recency.next != &cached->recency) {
        list_remove(&cached->recency);
        list_push_front(&cache->recency, &cached->recency);
    }
}

static void pin(struct cache *cache, struct cached *cached)
{
    if (!cached->is_pinned) {
        cached->is_pinned = true;
        list_remove(&cached->recency);
        cache->unpinned--;
    }
}

/* ---- EVAL ------------------------------------------------------------------------------------ */

/* NULL: it is no SHA-1 of a cached script, in either case of letters. */
static struct cached *find_text(const struct cache *cache, struct slice text)
{
    char sha[SCRIPT_SHA_LEN + 1];
    if (text.len != SCRIPT_SHA_LEN) {
        return NULL;
    }
    struct cached *script = find(cache, text.data);
    if (script != NULL) {
        return script;
    }
    for (unsigned i = 0; i < SCRIPT_SHA_LEN; i++) {
        sha[i] = (char)tolower((unsigned char)text.data[i]);
    }
    return find(cache, sha);
}

static void run_cached(struct call *call, const struct cached *cached, uint32_t key_count,
                       bool is_read_only)
{
    struct script *script = call->family;
    struct script_run run = {
        .script = script,
        .vm = &script->eval,
        .name = cached->sha,
        .command = call->command->name,
        .flags = cached->flags,
        .function = cached->function,
        .arguments = call->args.at + 3,
        .key_count = key_count,
        .argument_count = call->args.count - 3,
        .is_read_only = is_read_only || (cached->flags & SCRIPT_NO_WRITES) != 0,
    };
    if (run_is_allowed(call, &run)) {
        run_start(call, &run);
    }
}

static void eval_generic(struct call *call, bool is_read_only)
{
    struct script *script = call->family;
    uint32_t key_count;
    if (!script_read_key_count(call, NULL, &key_count)) {
        return;
    }
    char sha[SCRIPT_SHA_LEN + 1];
    script_sha(call->args.at[1], sha);
    struct cached *cached = find(script->cache, sha);
    if (cached == NULL) {
        cached = add(call, call->args.at[1], sha, false);
    } else {
        touch(script->cache, cached);
    }
    if (cached != NULL) {
        run_cached(call, cached, key_count, is_read_only);
    }
}

static void evalsha_generic(struct call *call, bool is_read_only)
{
    struct script *script = call->family;
    struct cached *cached = find_text(script->cache, call->args.at[1]);
    uint32_t key_count = 0;
    if (call->args.at[1].len == SCRIPT_SHA_LEN && !script_read_key_count(call, NULL, &key_count)) {
        return;
    }
    if (cached == NULL) {
        reply_error(call->out, "NOSCRIPT No matching script. Please use EVAL.");
        return;
    }
    touch(script->cache, cached);
    run_cached(call, cached, key_count, is_read_only);
}

static void eval_run(struct call *call)
{
    eval_generic(call, false);
}

static void eval_ro_run(struct call *call)
{
    eval_generic(call, true);
}

static void evalsha_run(struct call *call)
{
    evalsha_generic(call, false);
}

static void evalsha_ro_run(struct call *call)
{
    evalsha_generic(call, true);
}

/* ---- SCRIPT ---------------------------------------------------------------------------------- */

static void script_load_run(struct call *call)
{
    struct script *script = call->family;
    char sha[SCRIPT_SHA_LEN + 1];
    script_sha(call->args.at[2], sha);
    struct cached *cached = find(script->cache, sha);
    if (cached == NULL) {
        cached = add(call, call->args.at[2], sha, true);
    } else {
        pin(script->cache, cached);
    }
    if (cached != NULL) {
        reply_bulk_text(call->out, cached->sha);
    }
}

static void script_exists_run(struct call *call)
{
    const struct script *script = call->family;
    reply_array(call->out, call->args.count - 2);
    for (uint32_t i = 2; i < call->args.count; i++) {
        reply_integer(call->out, find_text(script->cache, call->args.at[i]) != NULL);
    }
}

static void script_flush_run(struct call *call)
{
    static const char error[] = "ERR SCRIPT FLUSH only support SYNC|ASYNC option";
    bool is_patient;
    if (script_read_flush(call, error, &is_patient)) {
        flush(call->family);
        retire_reply(call, is_patient);
    }
}

static void script_kill_run(struct call *call)
{
    run_kill(call, false);
}

/* The debugger of Redis forks; a script that is debugged here would hold up everybody. */
static void script_debug_run(struct call *call)
{
    if (call_is(call, 2, "no")) {
        reply_ok(call->out);
    } else if (call_is(call, 2, "yes") || call_is(call, 2, "sync")) {
        reply_error(call->out, "ERR the script debugger is not supported");
    } else {
        reply_error(call->out, "ERR Use SCRIPT DEBUG YES/SYNC/NO");
    }
}

static void script_help_run(struct call *call)
{
    static const char *const lines[] = {
        "DEBUG (YES|SYNC|NO)",
        "    Set the debug mode for subsequent scripts executed; only NO is supported.",
        "EXISTS <sha1> [<sha1> ...]",
        "    Tell which of the scripts are cached.",
        "FLUSH [ASYNC|SYNC]",
        "    Empty the script cache.",
        "KILL",
        "    End the script that is being executed, when it has not written.",
        "LOAD <script>",
        "    Cache a script without executing it.",
        NULL,
    };
    call_help(call, lines);
}

/* ---- Rows ------------------------------------------------------------------------------------ */

static const struct command eval_rows[] = {
    {.name = "eval",
     .run = eval_run,
     .arity = -3,
     .flags = SCRIPT_RUN_FLAGS,
     .categories = ACL_SCRIPTING,
     .keys = {{SCRIPT_KEYS_RW, .notes = SCRIPT_NOTES_RW}},
     .since = "2.6.0",
     .group = "scripting",
     .complexity = "Depends on the script that is executed.",
     .syntax = "script numkeys:integer [key ...] [arg ...]",
     .summary = "Executes a Lua script."},
    {.name = "evalsha",
     .run = evalsha_run,
     .arity = -3,
     .flags = SCRIPT_RUN_FLAGS,
     .categories = ACL_SCRIPTING,
     .keys = {{SCRIPT_KEYS_RW}},
     .since = "2.6.0",
     .group = "scripting",
     .complexity = "Depends on the script that is executed.",
     .syntax = "sha1 numkeys:integer [key ...] [arg ...]",
     .summary = "Executes a cached Lua script, named by its SHA-1."},
    {.name = "eval_ro",
     .run = eval_ro_run,
     .arity = -3,
     .flags = SCRIPT_RUN_FLAGS | CMD_READONLY,
     .categories = ACL_SCRIPTING,
     .keys = {{SCRIPT_KEYS_RO, .notes = SCRIPT_NOTES_RO}},
     .since = "7.0.0",
     .group = "scripting",
     .complexity = "Depends on the script that is executed.",
     .syntax = "script numkeys:integer [key ...] [arg ...]",
     .summary = "Executes a Lua script that may not write."},
    {.name = "evalsha_ro",
     .run = evalsha_ro_run,
     .arity = -3,
     .flags = SCRIPT_RUN_FLAGS | CMD_READONLY,
     .categories = ACL_SCRIPTING,
     .keys = {{SCRIPT_KEYS_RO}},
     .since = "7.0.0",
     .group = "scripting",
     .complexity = "Depends on the script that is executed.",
     .syntax = "sha1 numkeys:integer [key ...] [arg ...]",
     .summary = "Executes a cached Lua script that may not write."},
};

static const struct command script_subcommands[] = {
    {.name = "debug",
     .run = script_debug_run,
     .arity = 3,
     .flags = CMD_NO_SCRIPT,
     .categories = ACL_SCRIPTING,
     .since = "3.2.0",
     .group = "scripting",
     .complexity = "O(1)",
     .syntax = "mode: YES | SYNC | NO",
     .summary = "Sets the debug mode of scripts; only NO is supported."},
    {.name = "exists",
     .run = script_exists_run,
     .arity = -3,
     .flags = CMD_NO_SCRIPT,
     .categories = ACL_SCRIPTING,
     .since = "2.6.0",
     .group = "scripting",
     .complexity = "O(N) where N is the number of scripts asked for",
     .syntax = "sha1 ...",
     .tips = "request_policy:all_shards response_policy:agg_logical_and",
     .summary = "Tells which scripts are cached."},
    {.name = "flush",
     .run = script_flush_run,
     .arity = -2,
     .flags = CMD_NO_SCRIPT,
     .categories = ACL_SCRIPTING,
     .since = "2.6.0",
     .group = "scripting",
     .complexity = "O(N) where N is the number of cached scripts",
     .syntax = "[async: ASYNC | SYNC]@6.2.0",
     .history = "6.2.0 Added the `ASYNC` and `SYNC` flushing mode modifiers.",
     .tips = "request_policy:all_nodes response_policy:all_succeeded",
     .summary = "Empties the script cache."},
    {.name = "help",
     .run = script_help_run,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .categories = ACL_SCRIPTING,
     .since = "5.0.0",
     .group = "scripting",
     .complexity = "O(1)",
     .summary = "Describes the subcommands."},
    {.name = "kill",
     .run = script_kill_run,
     .arity = 2,
     .flags = CMD_NO_SCRIPT | CMD_ALLOW_BUSY,
     .categories = ACL_SCRIPTING,
     .since = "2.6.0",
     .group = "scripting",
     .complexity = "O(1)",
     .tips = "request_policy:all_shards response_policy:one_succeeded",
     .summary = "Ends the script that is being executed, when it has not written."},
    {.name = "load",
     .run = script_load_run,
     .arity = 3,
     .flags = CMD_NO_SCRIPT | CMD_STALE,
     .categories = ACL_SCRIPTING,
     .since = "2.6.0",
     .group = "scripting",
     .complexity = "O(N) where N is the length of the script",
     .syntax = "script",
     .tips = "request_policy:all_nodes response_policy:all_succeeded",
     .summary = "Caches a script without executing it."},
};

static const struct command script_row = {
    .name = "script",
    .arity = -2,
    .since = "2.6.0",
    .group = "scripting",
    .complexity = "Depends on subcommand.",
    .subcommands = script_subcommands,
    .subcommand_count = sizeof(script_subcommands) / sizeof(script_subcommands[0]),
    .summary = "A container for commands of the script cache.",
};

void eval_register(struct script *script)
{
    exec_register(script->exec, eval_rows, sizeof(eval_rows) / sizeof(eval_rows[0]), script);
    exec_register(script->exec, &script_row, 1, script);
}
