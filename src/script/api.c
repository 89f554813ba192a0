/* What scripts know as `redis`: calling commands, error and status objects, the log.
 *
 * redis.call runs a command as EXEC does, in a session of its own that has the caller's database
 * and no connection. The reply is written as for any client and read back into values; short ones,
 * which is nearly all, lie in one piece of memory that stays warm between calls.
 *
 * An error of a command is a table {err = text} that redis.pcall returns and redis.call raises. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/log.h"
#include "base/num.h"
#include "script/script_internal.h"

enum {
    ARGUMENTS_WARM = 32, /* Arguments of a command that need no memory of their own. */
    LOG_LEN_MAX = 1024,  /* Bytes of a script's line in the log. */
    NUMBER_LEN_MAX = 40, /* "%.17g" */
};

#define ERR_ARGUMENTS "ERR Lua redis lib command arguments must be strings or integers"

/* What may refuse a script's command, besides what this file says itself. */
enum { SCRIPT_GATES = GATE_ACCESS | GATE_READ_ONLY | GATE_STALE };

/* ---- Arguments ------------------------------------------------------------------------------- */

/* Numbers become their text in place on the Lua stack, which keeps them alive. */
static bool read_argument(lua_State *lua, int index, struct slice *out)
{
    if (lua_type(lua, index) == LUA_TNUMBER) {
        char text[NUMBER_LEN_MAX];
        lua_Number number = lua_tonumber(lua, index);
        int64_t whole = number >= -1e15 && number <= 1e15 ? (int64_t)number : 0;
        size_t len;
        if ((lua_Number)whole == number && (whole != 0 || !signbit(number))) {
            len = num_format_i64(text, whole);
        } else {
            len = (size_t)snprintf(text, sizeof(text), "%.17g", number);
        }
        lua_pushlstring(lua, text, len);
        lua_replace(lua, index);
    } else if (lua_type(lua, index) != LUA_TSTRING) {
        return false;
    }
    size_t len;
    const char *text = lua_tolstring(lua, index, &len);
    *out = slice_of(text, len);
    return true;
}

/* Room for the arguments: on the caller's stack when they are few, else owned by Lua, which frees
 * it whatever is raised. */
static struct slice *arguments_room(lua_State *lua, int count, struct slice *warm)
{
    if (count <= ARGUMENTS_WARM) {
        return warm;
    }
    struct slice *room = lua_newuserdata(lua, (size_t)count * sizeof(*room));
    lua_insert(lua, 1);
    return room;
}

/* ---- Replies --------------------------------------------------------------------------------- */

/* All bytes of the reply in one piece. */
static struct slice reply_flat(struct script *script)
{
    struct iovec parts[16];
    size_t total;
    unsigned count = reply_peek(&script->reply, parts, 16, &total);
    if (count <= 1) {
        return count == 0 ? slice_of("", 0) : slice_of(parts[0].iov_base, parts[0].iov_len);
    }
    buf_clear(&script->flat);
    buf_reserve(&script->flat, reply_len(&script->reply));
    while (count != 0) {
        for (unsigned i = 0; i < count; i++) {
            buf_append(&script->flat, slice_of(parts[i].iov_base, parts[i].iov_len));
        }
        reply_sent(&script->reply, total);
        count = reply_peek(&script->reply, parts, 16, &total);
    }
    return buf_slice(&script->flat);
}

/* A buffer that a rare long reply has blown up is not kept. */
static void reply_forget(struct script *script)
{
    enum { FLAT_KEPT_MAX = 1024 * 1024 };
    reply_deinit(&script->reply);
    if (script->flat.cap > FLAT_KEPT_MAX) {
        buf_deinit(&script->flat);
        buf_init(&script->flat);
    }
}

/* ---- Commands -------------------------------------------------------------------------------- */

/* The error that scripts alone get, or NULL. */
static const char *refusal_of(const struct script_run *run, const struct command_entry *entry,
                              uint32_t count)
{
    if (entry == NULL || (entry->subcommand_count != 0 && count > 1)) {
        return "ERR Unknown Redis command called from script";
    }
    if (entry->arity > 0 ? count != (uint32_t)entry->arity : count < (uint32_t)-entry->arity) {
        return "ERR Wrong number of args calling Redis command from script";
    }
    if (entry->run == NULL) {
        return "ERR Wrong number of args calling Redis command from script";
    }
    if ((entry->flags & CMD_NO_SCRIPT) != 0) {
        return "ERR This Redis command is not allowed from script";
    }
    bool is_writing = (entry->flags & CMD_WRITE) != 0;
    if (run->is_read_only && (is_writing || (entry->flags & CMD_MAY_REPLICATE) != 0)) {
        return "ERR Write commands are not allowed from read-only scripts.";
    }
    if (run->was_full && !run->has_written && (run->flags & SCRIPT_ALLOW_OOM) == 0 &&
        (entry->flags & CMD_DENY_OOM) != 0) {
        return "OOM command not allowed when used memory > 'maxmemory'.";
    }
    return NULL;
}

static void push_text_error(lua_State *lua, const char *text)
{
    value_push_error(lua, slice_from_text(text));
}

/* Runs the command; pushes its reply's value, or an error object. */
static void run_command(lua_State *lua, struct script_run *run, struct slice *args, uint32_t count)
{
    struct script *script = run->script;
    struct command_entry *entry = exec_lookup(script->exec, args, count);
    const char *refusal = refusal_of(run, entry, count);
    if (refusal != NULL) {
        push_text_error(lua, refusal);
        return;
    }
    if ((entry->flags & CMD_WRITE) != 0) {
        run->has_written = true;
    }
    reply_forget(script); /* What an error raised in the middle of a reply may have left. */
    exec_run_entry(script->exec, &script->session, entry,
                   &(struct args){.at = args, .count = count}, SCRIPT_GATES);
    struct slice bytes = reply_flat(script);
    int top = lua_gettop(lua);
    bool is_read = value_push_reply(lua, &bytes, script->reply.protocol);
    reply_forget(script);
    if (!is_read) {
        lua_settop(lua, top);
        push_text_error(lua, "ERR the reply has too many levels for a script");
    }
}

/* Pushes the value, an error as an object. */
static void call_command(lua_State *lua)
{
    struct script_run *run = vm_of(lua)->script->run;
    struct slice warm[ARGUMENTS_WARM];
    int count = lua_gettop(lua);
    if (count == 0) {
        push_text_error(lua, "ERR Please specify at least one argument for this redis lib call");
        return;
    }
    luaL_checkstack(lua, 8, "too many arguments");
    struct slice *args = arguments_room(lua, count, warm);
    int first = lua_gettop(lua) - count + 1;
    for (int i = 0; i < count; i++) {
        if (!read_argument(lua, first + i, &args[i])) {
            push_text_error(lua, ERR_ARGUMENTS);
            return;
        }
    }
    run_command(lua, run, args, (uint32_t)count);
}

/* Whether the value on top of the stack is an error object. */
static bool is_error(lua_State *lua)
{
    if (!lua_istable(lua, -1)) {
        return false;
    }
    lua_pushliteral(lua, "err");
    lua_rawget(lua, -2);
    bool is_one = lua_isstring(lua, -1);
    lua_pop(lua, 1);
    return is_one;
}

static int api_call(lua_State *lua)
{
    call_command(lua);
    return is_error(lua) ? lua_error(lua) : 1;
}

static int api_pcall(lua_State *lua)
{
    call_command(lua);
    return 1;
}

/* ---- Objects and settings -------------------------------------------------------------------- */

/* Raises an error object, so that the text comes without a place. */
static int raise(lua_State *lua, const char *text)
{
    value_push_error(lua, slice_from_text(text));
    return lua_error(lua);
}

static bool has_one_text(lua_State *lua)
{
    return lua_gettop(lua) == 1 && lua_type(lua, 1) == LUA_TSTRING;
}

static int api_error_reply(lua_State *lua)
{
    if (!has_one_text(lua)) {
        value_push_error(lua, slice_from_text("ERR wrong number or type of arguments"));
        return 1;
    }
    size_t len;
    const char *text = lua_tolstring(lua, 1, &len);
    value_push_error(lua, slice_of(text, len));
    return 1;
}

static int api_status_reply(lua_State *lua)
{
    if (!has_one_text(lua)) {
        value_push_error(lua, slice_from_text("ERR wrong number or type of arguments"));
        return 1;
    }
    lua_createtable(lua, 0, 1);
    lua_pushvalue(lua, 1);
    lua_setfield(lua, -2, "ok");
    return 1;
}

static int api_sha1hex(lua_State *lua)
{
    if (lua_gettop(lua) != 1) {
        return raise(lua, "ERR wrong number of arguments");
    }
    size_t len;
    const char *text = lua_tolstring(lua, 1, &len);
    char sha[SCRIPT_SHA_LEN + 1];
    script_sha(slice_of(text, text != NULL ? len : 0), sha);
    lua_pushstring(lua, sha);
    return 1;
}

static int api_setresp(lua_State *lua)
{
    if (lua_gettop(lua) != 1) {
        return raise(lua, "ERR redis.setresp() requires one argument.");
    }
    double version = lua_tonumber(lua, 1);
    if (version != 2 && version != 3) {
        return raise(lua, "ERR RESP version must be 2 or 3.");
    }
    vm_of(lua)->script->reply.protocol = (uint8_t)version;
    return 0;
}

static int api_set_repl(lua_State *lua)
{
    if (lua_gettop(lua) != 1) {
        return raise(lua, "ERR redis.set_repl() requires two arguments.");
    }
    double flags = trunc(lua_tonumber(lua, 1));
    if (!(flags >= 0 && flags <= EFFECT_FOR_ALL)) {
        return raise(lua, "ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or "
                          "REPL_NONE.");
    }
    struct script_run *run = vm_of(lua)->script->run;
    run->has_audience = true;
    exec_set_audience(run->script->exec, (uint32_t)flags);
    return 0;
}

static int api_replicate_commands(lua_State *lua)
{
    lua_pushboolean(lua, 1);
    return 1;
}

static int api_breakpoint(lua_State *lua)
{
    lua_pushboolean(lua, 0);
    return 1;
}

static int api_debug(lua_State *lua)
{
    (void)lua;
    return 0;
}

static int api_acl_check_cmd(lua_State *lua)
{
    struct slice warm[ARGUMENTS_WARM];
    int count = lua_gettop(lua);
    if (count == 0) {
        return raise(lua, "ERR Please specify at least one argument for this redis lib call");
    }
    luaL_checkstack(lua, 8, "too many arguments");
    struct slice *args = arguments_room(lua, count, warm);
    int first = lua_gettop(lua) - count + 1;
    for (int i = 0; i < count; i++) {
        if (!read_argument(lua, first + i, &args[i])) {
            return raise(lua, ERR_ARGUMENTS);
        }
    }
    struct script *script = vm_of(lua)->script;
    if (exec_lookup(script->exec, args, (uint32_t)count) == NULL) {
        return raise(lua, "ERR Invalid command passed to redis.acl_check_cmd()");
    }
    lua_pushboolean(lua, 1); /* The default user may do everything. */
    return 1;
}

/* ---- The log --------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    enum log_level level;
} log_levels[] = {
    {"LOG_DEBUG", LOG_DEBUG},
    {"LOG_VERBOSE", LOG_VERBOSE},
    {"LOG_NOTICE", LOG_NOTICE},
    {"LOG_WARNING", LOG_WARNING},
};
enum { LOG_LEVEL_COUNT = sizeof(log_levels) / sizeof(log_levels[0]) };

static int api_log(lua_State *lua)
{
    int count = lua_gettop(lua);
    if (count < 2) {
        return raise(lua, "ERR redis.log() requires two arguments or more.");
    }
    if (!lua_isnumber(lua, 1)) {
        return raise(lua, "ERR First argument must be a number (log level).");
    }
    double level = lua_tonumber(lua, 1);
    if (!(level >= 0 && level < LOG_LEVEL_COUNT)) {
        return raise(lua, "ERR Invalid debug level.");
    }
    enum log_level wanted = log_levels[(int)level].level;
    if (!log_is_on(wanted)) {
        return 0;
    }
    char line[LOG_LEN_MAX];
    size_t used = 0;
    for (int i = 2; i <= count && used < sizeof(line); i++) {
        size_t len = 0;
        const char *text = lua_tolstring(lua, i, &len);
        size_t part = len < sizeof(line) - used ? len : sizeof(line) - used;
        if (part != 0) {
            memcpy(line + used, text, part);
            used += part;
        }
    }
    log_write(wanted, "%.*s", (int)used, line);
    return 0;
}

/* ---- The tables ------------------------------------------------------------------------------ */

static const luaL_Reg api_functions[] = {
    {"call", api_call},
    {"pcall", api_pcall},
    {"log", api_log},
    {"setresp", api_setresp},
    {"error_reply", api_error_reply},
    {"status_reply", api_status_reply},
    {"set_repl", api_set_repl},
    {"replicate_commands", api_replicate_commands},
    {"breakpoint", api_breakpoint},
    {"debug", api_debug},
    {"sha1hex", api_sha1hex},
    {"acl_check_cmd", api_acl_check_cmd},
    {NULL, NULL},
};

static const luaL_Reg loading_functions[] = {
    {"register_function", library_register_function},
    {"log", api_log},
    {NULL, NULL},
};

static void set_number(lua_State *lua, const char *name, int number)
{
    lua_pushinteger(lua, number);
    lua_setfield(lua, -2, name);
}

static void set_functions(lua_State *lua, const luaL_Reg *functions)
{
    for (const luaL_Reg *function = functions; function->name != NULL; function++) {
        lua_pushcfunction(lua, function->func);
        lua_setfield(lua, -2, function->name);
    }
}

/* The version that INFO tells, "7.2.0", as one number: 0x070200. */
static void set_version(lua_State *lua)
{
    const char *version = vm_of(lua)->script->options.version;
    int number = 0;
    char *at = (char *)(uintptr_t)version;
    for (int i = 0; i < 3; i++) {
        number = number << 8 | (int)strtol(at, &at, 10);
        at += *at == '.';
    }
    lua_pushstring(lua, version);
    lua_setfield(lua, -2, "REDIS_VERSION");
    set_number(lua, "REDIS_VERSION_NUM", number);
}

static void set_log_levels(lua_State *lua)
{
    for (int i = 0; i < LOG_LEVEL_COUNT; i++) {
        set_number(lua, log_levels[i].name, i);
    }
}

void api_open(lua_State *lua)
{
    lua_newtable(lua);
    set_functions(lua, api_functions);
    set_log_levels(lua);
    set_number(lua, "REPL_NONE", 0);
    set_number(lua, "REPL_AOF", EFFECT_FOR_LOG);
    set_number(lua, "REPL_REPLICA", EFFECT_FOR_REPLICAS);
    set_number(lua, "REPL_SLAVE", EFFECT_FOR_REPLICAS);
    set_number(lua, "REPL_ALL", EFFECT_FOR_ALL);
    set_version(lua);
}

void api_open_loading(lua_State *lua)
{
    lua_newtable(lua);
    set_functions(lua, loading_functions);
    set_log_levels(lua);
    set_version(lua);
}
