/* DEBUG: what tests of servers and clients need and nobody else should use. Refused unless
 * enable-debug-command allows it.
 *
 * Subcommands are one table, not rows of the registry: Redis shows DEBUG to COMMAND as one command,
 * and tells a wrong subcommand and a wrong number of arguments with the same error. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "base/assert.h"
#include "base/glob.h"
#include "base/log.h"
#include "base/mem.h"
#include "repl/repl.h"
#include "server/server.h"
#include "types/string/string.h"

enum {
    SLEEP_SECONDS_MAX = 3600 * 24,
    PREFIX_LEN_MAX = 1024,
    VALUE_TEXT_MAX = 32, /* "value:18446744073709551615" */
};

typedef void (*debug_fn)(struct call *call);

/* A word of an argument as C reads it: a number at its beginning, else 0. */
static double number_at(const struct call *call, uint32_t index)
{
    char text[64];
    struct slice part = slice_part(call->args.at[index], 0, sizeof(text) - 1);
    snprintf(text, sizeof(text), "%.*s", (int)part.len, part.data);
    return strtod(text, NULL);
}

/* ---- Crashes --------------------------------------------------------------------------------- */

static void debug_segfault(struct call *call)
{
    (void)call;
    char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *(volatile char *)page = 'x';
}

static void debug_panic(struct call *call)
{
    (void)call;
    assert_failed("DEBUG PANIC was called", __FILE__, __LINE__);
}

static void debug_assert(struct call *call)
{
    (void)call;
    assert_failed("1 == 2", __FILE__, __LINE__);
}

static void debug_oom(struct call *call)
{
    volatile size_t size = SIZE_MAX / 4; /* Volatile: compilers know that this cannot be had. */
    mem_free(mem_alloc(size));
    reply_ok(call->out);
}

/* ---- Time ------------------------------------------------------------------------------------ */

static void debug_sleep(struct call *call)
{
    double seconds = number_at(call, 2);
    if (seconds > 0) {
        seconds = seconds < SLEEP_SECONDS_MAX ? seconds : SLEEP_SECONDS_MAX;
        struct timespec wait = {.tv_sec = (time_t)seconds};
        wait.tv_nsec = (long)((seconds - (double)wait.tv_sec) * 1e9);
        nanosleep(&wait, NULL);
    }
    reply_ok(call->out);
}

static void debug_active_expire(struct call *call)
{
    struct server *server = call->family;
    server->is_expiry_off = (int)number_at(call, 2) == 0;
    server_update_expiry(server);
    reply_ok(call->out);
}

/* DEBUG CHANGE-REPL-ID */
static void debug_change_repl_id(struct call *call)
{
    struct server *server = call->family;
    log_write(LOG_WARNING, "Changing replication IDs after receiving change-repl-id");
    repl_change_id(server->repl);
    reply_ok(call->out);
}

static void debug_pause_cron(struct call *call)
{
    struct server *server = call->family;
    server->is_cron_paused = (int)number_at(call, 2) != 0;
    reply_ok(call->out);
}

/* DEBUG PAUSE-SLICES <0|1> */
static void debug_pause_slices(struct call *call)
{
    exec_hold_slices(call->exec, (int)number_at(call, 2) != 0);
    reply_ok(call->out);
}

/* Accepted because Redis's tests switch it; there is nothing to switch here. */
static void debug_accept(struct call *call)
{
    reply_ok(call->out);
}

/* ---- Words ----------------------------------------------------------------------------------- */

static void debug_error(struct call *call)
{
    struct slice text = slice_part(call->args.at[2], 0, REPLY_ERROR_LEN_MAX - 1);
    reply_errorf(call->out, "%.*s", (int)text.len, text.data);
}

static void debug_log(struct call *call)
{
    struct slice text = slice_part(call->args.at[2], 0, 1024);
    log_write(LOG_WARNING, "DEBUG LOG: %.*s", (int)text.len, text.data);
    reply_ok(call->out);
}

static void debug_match(struct call *call)
{
    reply_integer(call->out, glob_match(call->args.at[2], call->args.at[3]));
}

/* ---- Reply types ----------------------------------------------------------------------------- */

static void protocol_integers(struct call *call)
{
    for (int64_t i = 0; i < 3; i++) {
        reply_integer(call->out, i);
    }
}

static void protocol_map(struct call *call)
{
    reply_map(call->out, 3);
    for (int64_t i = 0; i < 3; i++) {
        reply_integer(call->out, i);
        reply_bool(call->out, i == 1);
    }
}

static void protocol_attribute(struct call *call)
{
    if (call->out->protocol == 3) {
        reply_attribute(call->out, 1);
        reply_bulk_text(call->out, "key-popularity");
        reply_array(call->out, 2);
        reply_bulk_text(call->out, "key:123");
        reply_integer(call->out, 90);
    }
    reply_bulk_text(call->out, "Some real reply following the attribute");
}

static void protocol_push(struct call *call)
{
    if (call->out->protocol == 2) {
        reply_error(call->out, "ERR RESP2 is not supported by this command");
        return;
    }
    reply_push(call->out, 2);
    reply_bulk_text(call->out, "server-cpu-usage");
    reply_integer(call->out, 42);
    reply_bulk_text(call->out, "Some real reply following the push reply");
}

static void debug_protocol(struct call *call)
{
    static const char digits[] = "1234567999999999999999999999999999999";
    static const char verbatim[] = "This is a verbatim\nstring";
    struct reply *out = call->out;
    if (call_is(call, 2, "string")) {
        reply_bulk_text(out, "Hello World");
    } else if (call_is(call, 2, "integer")) {
        reply_integer(out, 12345);
    } else if (call_is(call, 2, "double")) {
        reply_double(out, 3.141);
    } else if (call_is(call, 2, "null")) {
        reply_null(out);
    } else if (call_is(call, 2, "array")) {
        reply_array(out, 3);
        protocol_integers(call);
    } else if (call_is(call, 2, "set")) {
        reply_set(out, 3);
        protocol_integers(call);
    } else if (call_is(call, 2, "map")) {
        protocol_map(call);
    } else if (call_is(call, 2, "attrib")) {
        protocol_attribute(call);
    } else if (call_is(call, 2, "push")) {
        protocol_push(call);
    } else if (call_is(call, 2, "verbatim")) {
        reply_verbatim(out, "txt", slice_from_text(verbatim));
    } else if (call_is(call, 2, "true") || call_is(call, 2, "false")) {
        reply_bool(out, call_is(call, 2, "true"));
    } else if (call_is(call, 2, "bignum")) {
        reply_big_number(out, slice_from_text(digits));
    } else {
        reply_error(out, "ERR Wrong protocol type name. Please use one of the following: "
                         "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|"
                         "true|false");
    }
}

/* ---- Keys ------------------------------------------------------------------------------------ */

enum { SERIALIZED_SAMPLES = 64 }; /* Elements of a large value that are looked at. */

/* Bytes that the value takes in an RDB file, uncompressed; of a collection about as many. */
static size_t serialized_len(const struct value *value)
{
    int64_t number;
    if (value_kind(value) != VALUE_STRING) {
        return value_ops_of(value)->memory(value, SERIALIZED_SAMPLES);
    }
    if (string_get_i64(value, &number) && number >= INT32_MIN && number <= INT32_MAX) {
        return number >= INT8_MIN && number <= INT8_MAX     ? 2
               : number >= INT16_MIN && number <= INT16_MAX ? 3
                                                            : 5;
    }
    size_t len = string_len(value);
    return len + (len < 64 ? 1 : len < 16384 ? 2 : 5);
}

static void debug_object(struct call *call)
{
    const struct server *server = call->family;
    const struct value *value = call_peek(call, 2, FIND_NO_TOUCH);
    if (value == NULL) {
        reply_error(call->out, ERR_NO_KEY);
        return;
    }
    char text[256];
    int64_t idle_s = keyspace_idle_s(server->keyspace, value, call->now->wall_ms);
    snprintf(text, sizeof(text),
             "Value at:%p refcount:1 encoding:%s serializedlength:%zu lru:%lld "
             "lru_seconds_idle:%lld",
             (const void *)value, value_ops_of(value)->encoding_name(value), serialized_len(value),
             (long long)((call->now->wall_ms / 1000 - idle_s) % (1 << 24)), (long long)idle_s);
    reply_status(call->out, text);
}

/* A value of `len` bytes that begins with `text`, zeros behind it. */
static struct value *padded_new(struct slice key, struct slice text, size_t len)
{
    struct buf bytes;
    buf_init(&bytes);
    memset(buf_reserve(&bytes, len), 0, len);
    bytes.len = len;
    memcpy(bytes.data, text.data, text.len < len ? text.len : len);
    struct value *value = string_try_new(key, buf_slice(&bytes), false);
    buf_deinit(&bytes);
    return value;
}

/* Adds one key unless it is there. False: no memory. */
static bool populate_one(struct call *call, struct slice prefix, int64_t number, int64_t len)
{
    char key_text[PREFIX_LEN_MAX + 32], text[VALUE_TEXT_MAX];
    int key_len = snprintf(key_text, sizeof(key_text), "%.*s:%lld", (int)prefix.len, prefix.data,
                           (long long)number);
    int text_len = snprintf(text, sizeof(text), "value:%lld", (long long)number);
    struct slice key = slice_of(key_text, (size_t)key_len);
    struct slice content = slice_of(text, (size_t)text_len);
    uint64_t hash = db_hash(call->db, key);
    if (db_find(call->db, key, hash, call->now->wall_ms, FIND_NO_TOUCH) != NULL) {
        return true;
    }
    struct value *value =
        len > 0 ? padded_new(key, content, (size_t)len) : string_try_new(key, content, false);
    if (value == NULL) {
        return false;
    }
    db_insert(call->db, hash, value);
    return true;
}

static void debug_populate(struct call *call)
{
    static const char error[] = "ERR value is out of range, must be positive";
    struct slice prefix = slice_from_text("key");
    int64_t count, len = 0;
    if (!call_range_i64(call, 2, 0, INT64_MAX, &count, error)) {
        return;
    }
    if (call->args.count > 3) {
        prefix = slice_part(call->args.at[3], 0, PREFIX_LEN_MAX);
    }
    if (call->args.count > 4 && !call_range_i64(call, 4, 0, VALUE_KEY_LEN_MAX, &len, error)) {
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        if (!populate_one(call, prefix, i, len)) {
            reply_error(call->out, ERR_NO_MEMORY);
            return;
        }
    }
    reply_ok(call->out);
}

static void debug_htstats(struct call *call)
{
    struct server *server = call->family;
    int64_t index;
    if (!call_i64(call, 2, &index, NULL)) {
        return;
    }
    if (index < 0 || index >= keyspace_db_count(server->keyspace)) {
        reply_error(call->out, "ERR Out of range database");
        return;
    }
    const struct db *db = keyspace_db(server->keyspace, (unsigned)index);
    size_t count = db_count(db), memory = db_table_memory(db);
    size_t slots = memory / sizeof(struct table_bucket) * TABLE_SLOTS;
    struct buf text;
    buf_init(&text);
    buf_printf(&text, "[Dictionary HT]\nHash table 0 stats (main hash table):\n");
    buf_printf(&text, " table size: %zu\n number of elements: %zu\n bytes: %zu\n fill: %.2f%%\n",
               slots, count, memory, slots > 0 ? (double)count * 100 / (double)slots : 0);
    buf_printf(&text, "[Expires HT]\n number of elements: %zu\n bytes: %zu\n",
               db_volatile_count(db), db_expiry_memory(db));
    reply_verbatim(call->out, "txt", buf_slice(&text));
    buf_deinit(&text);
}

/* Who asked closes before the end. */
static void reload_on_cancel(struct session *session, void *context)
{
    (void)session;
    ((struct reload_request *)context)->session = NULL;
}

/* RELOAD [MERGE] [NOFLUSH] [NOSAVE]: the loop does it when the turn's commands have run. */
static void debug_reload(struct call *call)
{
    struct server *server = call->family;
    struct reload_request request = {.is_requested = true, .has_save = true, .has_flush = true};
    for (uint32_t i = 2; i < call->args.count; i++) {
        if (call_is(call, i, "MERGE")) {
            request.is_merge = true;
        } else if (call_is(call, i, "NOFLUSH")) {
            request.has_flush = false;
        } else if (call_is(call, i, "NOSAVE")) {
            request.has_save = false;
        } else {
            reply_error(call->out, "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE "
                                   "options.");
            return;
        }
    }
    if (call->is_inner || call->session->ops == NULL || server->reload.is_requested) {
        reply_error(call->out, "ERR DEBUG RELOAD is not possible here");
        return;
    }
    request.session = call->session;
    server->reload = request;
    session_suspend(call->session, reload_on_cancel, &server->reload);
}

/* ---- Dispatch -------------------------------------------------------------------------------- */

static void debug_help(struct call *call)
{
    static const char *const lines[] = {
        "ASSERT",
        "    Crash by assertion failed.",
        "CHANGE-REPL-ID",
        "    Change the replication IDs of the instance: no replica can go on with its history.",
        "CLIENT-ENFORCE-REPLY-LIST <0|1>",
        "    Accepted, changes nothing.",
        "DIGEST",
        "    Output a hex signature representing the current DB content.",
        "DIGEST-VALUE <key> [<key> ...]",
        "    Output a hex signature of the values of all the specified keys.",
        "ERROR <string>",
        "    Return a protocol error with <string> as message.",
        "HTSTATS <dbid>",
        "    Return hash table statistics of the specified database.",
        "LOG <message>",
        "    Write <message> to the server log.",
        "OBJECT <key>",
        "    Show low level info about `key` and associated value.",
        "OOM",
        "    Crash the server simulating an out-of-memory error.",
        "PANIC",
        "    Crash the server simulating a panic.",
        "PAUSE-CRON <0|1>",
        "    Stop periodic cron job processing.",
        "PAUSE-SLICES <0|1>",
        "    Have commands that write in slices rest after their first slice.",
        "POPULATE <count> [<prefix>] [<size>]",
        "    Create <count> string keys named key:<num>, or <prefix>:<num>.",
        "PROTOCOL <type>",
        "    Reply with a test value of the specified type. <type> can be: string,",
        "    integer, double, bignum, null, array, set, map, attrib, push, verbatim,",
        "    true, false.",
        "RELOAD [option ...]",
        "    Save the RDB on disk and reload it back to memory. Valid <option> values:",
        "    * MERGE: keys that exist are replaced by those of the file.",
        "    * NOFLUSH: the databases are not emptied before.",
        "    * NOSAVE: the file is loaded as it is.",
        "SEGFAULT",
        "    Crash the server with sigsegv.",
        "SET-ACTIVE-EXPIRE <0|1>",
        "    Setting it to 0 disables expiring keys in background when they are not",
        "    accessed. Setting it to 1 reenables it.",
        "SET-DISABLE-DENY-SCRIPTS <0|1>",
        "    Accepted, changes nothing.",
        "SLEEP <seconds>",
        "    Stop the server for <seconds>. Decimals allowed.",
        "STRINGMATCH-LEN <pattern> <string>",
        "    Tell whether <string> matches the glob-style <pattern>.",
        NULL,
    };
    call_help(call, lines);
}

static const struct {
    const char *name;
    debug_fn run;
    uint32_t count_min, count_max; /* Arguments, DEBUG and the subcommand included. */
} debug_table[] = {
    {"help", debug_help, 2, 2},
    {"segfault", debug_segfault, 2, UINT32_MAX},
    {"panic", debug_panic, 2, UINT32_MAX},
    {"assert", debug_assert, 2, UINT32_MAX},
    {"oom", debug_oom, 2, UINT32_MAX},
    {"sleep", debug_sleep, 3, 3},
    {"reload", debug_reload, 2, UINT32_MAX},
    {"set-active-expire", debug_active_expire, 3, 3},
    {"pause-cron", debug_pause_cron, 3, 3},
    {"pause-slices", debug_pause_slices, 3, 3},
    {"change-repl-id", debug_change_repl_id, 2, 2},
    {"set-disable-deny-scripts", debug_accept, 3, 3},
    {"client-enforce-reply-list", debug_accept, 3, 3},
    {"error", debug_error, 3, 3},
    {"log", debug_log, 3, 3},
    {"stringmatch-len", debug_match, 4, 4},
    {"protocol", debug_protocol, 3, 3},
    {"digest", debug_digest, 2, 2},
    {"digest-value", debug_digest_value, 3, UINT32_MAX},
    {"object", debug_object, 3, 3},
    {"populate", debug_populate, 3, 5},
    {"htstats", debug_htstats, 3, 3},
};

static bool is_allowed(const struct call *call)
{
    const struct server *server = call->family;
    int64_t guard = server->config->enable_debug;
    return guard == GUARD_YES || (guard == GUARD_LOCAL && session_is_local(call->session));
}

static void debug_run(struct call *call)
{
    if (!is_allowed(call)) {
        reply_error(call->out,
                    "ERR DEBUG command not allowed. If the enable-debug-command option is set to "
                    "\"local\", you can run it from a local connection, otherwise you need to set "
                    "this option in the configuration file, and then restart the server.");
        return;
    }
    uint32_t count = call->args.count;
    for (size_t i = 0; i < sizeof(debug_table) / sizeof(debug_table[0]); i++) {
        if (call_is(call, 1, debug_table[i].name) && count >= debug_table[i].count_min &&
            count <= debug_table[i].count_max) {
            debug_table[i].run(call);
            return;
        }
    }
    call_subcommand_syntax_error(call);
}

static const struct command debug_row = {
    .name = "debug",
    .run = debug_run,
    .arity = -2,
    .flags = CMD_ADMIN | CMD_NO_SCRIPT | CMD_LOADING | CMD_STALE | CMD_WHOLE,
    .since = "1.0.0",
    .group = "server",
    .complexity = "Depends on subcommand.",
    .summary = "A container for commands that tests need.",
};

void server_register_debug(struct server *server)
{
    exec_register(server->exec, &debug_row, 1, server);
}
