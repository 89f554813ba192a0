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
#include <stdlib.h>
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

static void free_all(struct script *script)
{
    struct cache *cache = script->cache;
    for (size_t i = 0; i < cache->slot_count; i++) {
        while (cache->slots[i] != NULL) {
            drop(script, cache->slots[i]);
        }
    }
}

void cache_free(struct script *script)
{
    free_all(script);
    mem_free(script->cache->slots);
    mem_free(script->cache);
    script->cache = NULL;
}

/* The vm is made anew, so that nothing of a script outlives it. */
void cache_flush(struct script *script)
{
    free_all(script);
    vm_close(&script->eval);
    bool is_open = vm_open(&script->eval, script);
    (void)is_open; /* Without memory EVAL says so. */
}

size_t cache_count(const struct cache *cache)
{
    return cache->count;
}

/* ---- The first line -------------------------------------------------------------------------- */

static const char *const flag_names[] = {"no-writes", "allow-oom", "allow-stale", "no-cluster",
                                         "allow-cross-slot-keys"};
enum { FLAG_COUNT = sizeof(flag_names) / sizeof(flag_names[0]) };

uint32_t script_flag_of(struct slice name)
{
    for (unsigned i = 0; i < FLAG_COUNT; i++) {
        if (slice_equal(name, slice_from_text(flag_names[i]))) {
            return (uint32_t)1 << i;
        }
    }
    return 0;
}

const char *script_flag_name(unsigned index)
{
    return index < FLAG_COUNT ? flag_names[index] : NULL;
}

/* Takes the next word off `rest`; words are parted by spaces. */
static bool next_word(struct slice *rest, struct slice *word)
{
    size_t from = 0;
    while (from < rest->len && isspace((unsigned char)rest->data[from])) {
        from++;
    }
    size_t to = from;
    while (to < rest->len && !isspace((unsigned char)rest->data[to])) {
        to++;
    }
    *word = slice_part(*rest, from, to - from);
    *rest = slice_part(*rest, to, SIZE_MAX);
    return word->len != 0;
}

static bool starts_with(struct slice text, const char *prefix)
{
    size_t len = strlen(prefix);
    return text.len >= len && memcmp(text.data, prefix, len) == 0;
}

static bool read_flags(struct slice list, struct shebang *out, struct buf *error)
{
    for (size_t from = 0; from <= list.len;) {
        size_t to = from;
        while (to < list.len && list.data[to] != ',') {
            to++;
        }
        struct slice name = slice_part(list, from, to - from);
        uint32_t flag = script_flag_of(name);
        if (flag == 0) {
            buf_printf(error, "ERR Unexpected flag in script shebang: %.*s", (int)name.len,
                       name.data);
            return false;
        }
        out->flags |= flag;
        from = to + 1;
    }
    return true;
}

static bool read_script_word(struct slice word, struct shebang *out, struct buf *error)
{
    if (starts_with(word, "flags=")) {
        return word.len == 6 || read_flags(slice_part(word, 6, SIZE_MAX), out, error);
    }
    buf_printf(error, "ERR Unknown lua shebang option: %.*s", (int)word.len, word.data);
    return false;
}

static bool read_library_word(struct slice word, struct shebang *out, struct buf *error)
{
    if (word.len < 5 || !slice_is(slice_part(word, 0, 5), "name=")) {
        buf_printf(error, "ERR Invalid metadata value given: %.*s", (int)word.len, word.data);
        return false;
    }
    if (out->name.data != NULL) {
        buf_append_text(error,
                        "ERR Invalid metadata value, name argument was given multiple times");
        return false;
    }
    out->name = slice_part(word, 5, SIZE_MAX);
    return true;
}

/* The engine's name behind "#!". */
static bool check_engine(struct slice word, bool is_library, struct buf *error)
{
    if (!is_library && !slice_equal(word, slice_from_text("#!lua"))) {
        buf_printf(error, "ERR Unexpected engine in script shebang: %.*s", (int)word.len,
                   word.data);
        return false;
    }
    struct slice engine = slice_part(word, 2, SIZE_MAX);
    if (is_library && !slice_is(engine, "lua")) {
        buf_printf(error, "ERR Engine '%.*s' not found", (int)engine.len, engine.data);
        return false;
    }
    return true;
}

bool shebang_read(struct slice text, bool is_library, struct shebang *out, struct slice *code,
                  struct buf *error)
{
    *out = (struct shebang){.flags = SCRIPT_IS_COMPAT};
    *code = text;
    if (!starts_with(text, "#!")) {
        if (is_library) {
            buf_append_text(error, "ERR Missing library metadata");
        }
        return !is_library;
    }
    const char *end = memchr(text.data, '\n', text.len);
    if (end == NULL) {
        buf_append_text(error,
                        is_library ? "ERR Invalid library metadata" : "ERR Invalid script shebang");
        return false;
    }
    struct slice line = slice_of(text.data, (size_t)(end - text.data)), word;
    *code = slice_part(text, line.len, SIZE_MAX);
    out->flags = 0;
    next_word(&line, &word);
    bool is_good = check_engine(word, is_library, error);
    while (is_good && next_word(&line, &word)) {
        is_good =
            is_library ? read_library_word(word, out, error) : read_script_word(word, out, error);
    }
    return is_good;
}

/* ---- Compiling ------------------------------------------------------------------------------- */

static void reply_buf(struct call *call, struct buf *error)
{
    buf_append_byte(error, '\0');
    reply_error(call->out, error->data);
}

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
        reply_buf(call, &error);
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

static bool read_key_count(struct call *call, uint32_t *count)
{
    int64_t number;
    if (!call_i64(call, 2, &number, NULL)) {
        return false;
    }
    if (number > (int64_t)call->args.count - 3) {
        reply_error(call->out, "ERR Number of keys can't be greater than number of args");
        return false;
    }
    if (number < 0) {
        reply_error(call->out, "ERR Number of keys can't be negative");
        return false;
    }
    *count = (uint32_t)number;
    return true;
}

static void eval_generic(struct call *call, bool is_read_only)
{
    struct script *script = call->family;
    uint32_t key_count;
    if (!read_key_count(call, &key_count)) {
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
    if (call->args.at[1].len == SCRIPT_SHA_LEN && !read_key_count(call, &key_count)) {
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
    bool is_good =
        call->args.count == 2 ||
        (call->args.count == 3 && (call_is(call, 2, "async") || call_is(call, 2, "sync")));
    if (!is_good) {
        reply_error(call->out, "ERR SCRIPT FLUSH only support SYNC|ASYNC option");
        return;
    }
    cache_flush(call->family);
    reply_ok(call->out);
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

#define EVAL_FLAGS                                                                                 \
    (CMD_NO_SCRIPT | CMD_STALE | CMD_SKIP_MONITOR | CMD_NO_MANDATORY_KEYS | CMD_MAY_PARK)
#define EVAL_NOTES_RW                                                                              \
    "We cannot tell how the keys will be used so we assume the worst, RW and UPDATE"
#define EVAL_NOTES_RO                                                                              \
    "We cannot tell how the keys will be used so we assume the worst, RO and ACCESS"

static const struct command eval_rows[] = {
    {.name = "eval",
     .run = eval_run,
     .arity = -3,
     .flags = EVAL_FLAGS,
     .categories = ACL_SCRIPTING,
     .keys = {{.first = 2,
               .is_counted = true,
               .access = KEY_RW,
               .use = KEY_USE_ACCESS | KEY_USE_UPDATE,
               .notes = EVAL_NOTES_RW}},
     .since = "2.6.0",
     .group = "scripting",
     .complexity = "Depends on the script that is executed.",
     .syntax = "script numkeys:integer [key ...] [arg ...]",
     .summary = "Executes a Lua script."},
    {.name = "evalsha",
     .run = evalsha_run,
     .arity = -3,
     .flags = EVAL_FLAGS,
     .categories = ACL_SCRIPTING,
     .keys = {{.first = 2,
               .is_counted = true,
               .access = KEY_RW,
               .use = KEY_USE_ACCESS | KEY_USE_UPDATE}},
     .since = "2.6.0",
     .group = "scripting",
     .complexity = "Depends on the script that is executed.",
     .syntax = "sha1 numkeys:integer [key ...] [arg ...]",
     .summary = "Executes a cached Lua script, named by its SHA-1."},
    {.name = "eval_ro",
     .run = eval_ro_run,
     .arity = -3,
     .flags = EVAL_FLAGS | CMD_READONLY,
     .categories = ACL_SCRIPTING,
     .keys = {{.first = 2,
               .is_counted = true,
               .access = KEY_RO,
               .use = KEY_USE_ACCESS,
               .notes = EVAL_NOTES_RO}},
     .since = "7.0.0",
     .group = "scripting",
     .complexity = "Depends on the script that is executed.",
     .syntax = "script numkeys:integer [key ...] [arg ...]",
     .summary = "Executes a Lua script that may not write."},
    {.name = "evalsha_ro",
     .run = evalsha_ro_run,
     .arity = -3,
     .flags = EVAL_FLAGS | CMD_READONLY,
     .categories = ACL_SCRIPTING,
     .keys = {{.first = 2, .is_counted = true, .access = KEY_RO, .use = KEY_USE_ACCESS}},
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
