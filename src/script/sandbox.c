/* The world that a script sees: what Lua may do here, and what nobody may change.
 *
 * Lua's own libraries are opened into a table that no script ever reaches. What is allowed is
 * copied from there by name: what is not on the lists below does not exist (no io, os, debug,
 * package, no print, dofile, getfenv, newproxy).
 *
 * Scripts of all clients share one state, so what they share must be read-only. Lua 5.1 has no
 * read-only tables, so each shared table is reached through an empty one, a guard:
 *
 *     script's globals: guard ---__index--> real globals ---__index--> error: no such global
 *                         '-__newindex--> error        | string ---> guard ---__index--> real
 * string | redis ----> guard ---__index--> real redis
 *
 * An assignment finds nothing in the guard and meets __newindex. What would write without asking
 * for it (rawset, table.insert) and what would show the metatable or the real table (getmetatable,
 * setmetatable, next, pairs) is replaced by functions that know a guard when they see one: its
 * metatable holds a key that only this file has.
 *
 * Further functions are replaced because Lua 5.1's own can be made to crash or to hang the server:
 *
 *     unpack                       a count that overflows
 *     find, match, gmatch, gsub    one level of C recursion per pattern item, without a bound
 *     string.rep, table.insert     loops of billions of rounds that no hook interrupts
 *     load, loadstring             binary chunks; collection while compiling
 *     bit.tohex                    the absolute value of the smallest integer
 *     pcall                        errors of commands are tables; scripts expect their text
 *     xpcall                       its handler would run where no hook sees it, for ever
 *     next, table.remove, insert,  one call walks millions of empty or filled slots: who was long
 *       concat, maxn               looks at the clock behind it
 *     table.sort                   the same between comparisons
 *     collectgarbage               settings that outlive the script
 *     math.random, randomseed      the same numbers on every system
 *
 * Costs: a global is two table lookups more than in plain Lua, about 20 ns. */
#include <lualib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "script/script_internal.h"

#include <lua-bitop.h> /* Needs lua.h before it. */

enum {
    PATTERN_LEN_MAX = 10000,    /* Bytes of a pattern: about 2 MiB of stack at the worst. */
    INSERT_SHIFT_MAX = 1 << 24, /* Elements that one table.insert moves. */
    LONG_TICKS = 500 * 1000,    /* A call that took so long is worth a look at the clock. */
    SORT_QUICK_MAX = 20 * 1000, /* Elements that are sorted without looks. */
};

/* Its address is the key in the metatables of guards. */
static const char guard_key = 'g';

/* In the registry: the real globals; those while a library is loaded; and the metatable of the
 * guard that scripts see, whose __index is one of the two. */
static const char globals_name[] = "ouro.globals";
static const char loading_name[] = "ouro.loading";
static const char meta_name[] = "ouro.meta";

/* ---- Guards ---------------------------------------------------------------------------------- */

int sandbox_refuse(lua_State *lua)
{
    return luaL_error(lua, "Attempt to modify a readonly table");
}

/* The same without a place, as Lua's core says it in functions of C. */
static int refuse_plainly(lua_State *lua)
{
    lua_pushliteral(lua, "Attempt to modify a readonly table");
    return lua_error(lua);
}

/* Replaces the table on top of the stack by a guard. */
static void guard(lua_State *lua)
{
    lua_newtable(lua);
    lua_createtable(lua, 0, 3);
    lua_pushvalue(lua, -3);
    lua_setfield(lua, -2, "__index");
    lua_pushcfunction(lua, sandbox_refuse);
    lua_setfield(lua, -2, "__newindex");
    lua_pushlightuserdata(lua, (void *)(uintptr_t)&guard_key);
    lua_pushboolean(lua, 1);
    lua_rawset(lua, -3);
    lua_setmetatable(lua, -2);
    lua_remove(lua, -2);
}

/* Whether the value at `index` is a guard; then pushes the table behind it. */
static bool push_guarded(lua_State *lua, int index)
{
    if (!lua_istable(lua, index) || !lua_getmetatable(lua, index)) {
        return false;
    }
    lua_pushlightuserdata(lua, (void *)(uintptr_t)&guard_key);
    lua_rawget(lua, -2);
    bool is_guard = lua_toboolean(lua, -1);
    lua_pop(lua, 1);
    if (!is_guard) {
        lua_pop(lua, 1);
        return false;
    }
    lua_getfield(lua, -1, "__index");
    lua_remove(lua, -2);
    return true;
}

static bool is_guard(lua_State *lua, int index)
{
    bool is_one = push_guarded(lua, index);
    if (is_one) {
        lua_pop(lua, 1);
    }
    return is_one;
}

/* __index of the real globals. */
static int refuse_absent(lua_State *lua)
{
    const char *name = lua_tostring(lua, 2);
    return luaL_error(lua, "Script attempted to access nonexistent global variable '%s'",
                      name != NULL ? name : luaL_typename(lua, 2));
}

void sandbox_push_globals(lua_State *lua)
{
    lua_getfield(lua, LUA_REGISTRYINDEX, globals_name);
}

void sandbox_set_loading(lua_State *lua, bool is_loading)
{
    lua_getfield(lua, LUA_REGISTRYINDEX, meta_name);
    lua_getfield(lua, LUA_REGISTRYINDEX, is_loading ? loading_name : globals_name);
    lua_setfield(lua, -2, "__index");
    lua_pop(lua, 1);
}

/* ---- Functions that know guards -------------------------------------------------------------- */

/* Calls the function that this one replaces, with the same arguments and in the same frame, so that
 * its errors name the right argument. */
static int go_on(lua_State *lua)
{
    return lua_tocfunction(lua, lua_upvalueindex(1))(lua);
}

static int safe_rawset(lua_State *lua)
{
    return is_guard(lua, 1) ? refuse_plainly(lua) : go_on(lua);
}

static int safe_setmetatable(lua_State *lua)
{
    return is_guard(lua, 1) ? refuse_plainly(lua) : go_on(lua);
}

/* The second upvalue is the guard of what strings have, the third that of what the globals have. */
static int safe_getmetatable(lua_State *lua)
{
    luaL_checkany(lua, 1);
    if (lua_type(lua, 1) == LUA_TSTRING) {
        lua_pushvalue(lua, lua_upvalueindex(2));
        return 1;
    }
    if (is_guard(lua, 1)) {
        if (lua_rawequal(lua, 1, LUA_GLOBALSINDEX)) {
            lua_pushvalue(lua, lua_upvalueindex(3));
        } else {
            lua_pushnil(lua);
        }
        return 1;
    }
    return go_on(lua);
}

/* The same for functions that may walk a large table. */
static int go_on_timed(lua_State *lua)
{
    uint64_t before = clock_ticks();
    int count = go_on(lua);
    if (clock_ticks() - before > LONG_TICKS) {
        run_look(lua);
    }
    return count;
}

/* rawget and the like: what they read lies behind the guard. */
static int safe_read(lua_State *lua)
{
    if (push_guarded(lua, 1)) {
        lua_replace(lua, 1);
    }
    return go_on(lua);
}

static int safe_next(lua_State *lua)
{
    if (push_guarded(lua, 1)) {
        lua_replace(lua, 1);
    }
    return go_on_timed(lua);
}

/* The second upvalue is next. */
static int safe_pairs(lua_State *lua)
{
    if (!is_guard(lua, 1)) {
        lua_pushvalue(lua, lua_upvalueindex(1));
        lua_insert(lua, 1);
        lua_call(lua, lua_gettop(lua) - 1, LUA_MULTRET);
        return lua_gettop(lua);
    }
    lua_pushvalue(lua, lua_upvalueindex(2));
    lua_pushvalue(lua, 1);
    lua_pushnil(lua);
    return 3;
}

static int safe_insert(lua_State *lua)
{
    if (is_guard(lua, 1)) {
        return refuse_plainly(lua);
    }
    if (lua_gettop(lua) == 3 && lua_istable(lua, 1) && lua_isnumber(lua, 2) &&
        (double)lua_objlen(lua, 1) - lua_tonumber(lua, 2) > INSERT_SHIFT_MAX) {
        return luaL_argerror(lua, 2, "position out of bounds");
    }
    return lua_gettop(lua) == 3 ? go_on_timed(lua) : go_on(lua);
}

/* The comparison that table.sort makes by itself, with looks at the clock. */
static int sort_compare(lua_State *lua)
{
    enum { COMPARISONS = 10 * 1000 };
    if (++vm_of(lua)->comparisons % COMPARISONS == 0) {
        run_look(lua);
    }
    lua_pushboolean(lua, lua_lessthan(lua, 1, 2));
    return 1;
}

static int safe_sort(lua_State *lua)
{
    if (lua_istable(lua, 1) && lua_isnoneornil(lua, 2) && lua_objlen(lua, 1) > SORT_QUICK_MAX) {
        lua_settop(lua, 1);
        lua_pushcfunction(lua, sort_compare);
    }
    return go_on(lua);
}

/* What a script tells the collector holds for this script. */
static int safe_collectgarbage(lua_State *lua)
{
    vm_of(lua)->pause = 0;
    return go_on(lua);
}

/* ---- Functions that would crash or hang ------------------------------------------------------ */

static int safe_unpack(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TTABLE);
    int first = luaL_optint(lua, 2, 1);
    int last = luaL_opt(lua, luaL_checkint, 3, (int)lua_objlen(lua, 1));
    if (first > last) {
        return 0;
    }
    int64_t count = (int64_t)last - first + 1;
    if (count >= INT32_MAX || !lua_checkstack(lua, (int)count)) {
        return luaL_error(lua, "too many results to unpack");
    }
    for (int64_t i = first; i <= last; i++) {
        lua_rawgeti(lua, 1, (int)i);
    }
    return (int)count;
}

static int safe_pattern(lua_State *lua)
{
    static const char special[] = "^$*+?.([%-";
    size_t len = 0;
    const char *pattern = lua_tolstring(lua, 2, &len);
    bool is_plain = lua_toboolean(lua, 4) && lua_isstring(lua, 2);
    if (pattern != NULL && len > PATTERN_LEN_MAX && !is_plain) {
        for (size_t i = 0; i < len; i++) {
            if (pattern[i] != '\0' && strchr(special, pattern[i]) != NULL) {
                return luaL_error(lua, "pattern too long");
            }
        }
    }
    return go_on(lua);
}

static int safe_rep(lua_State *lua)
{
    size_t len;
    luaL_checklstring(lua, 1, &len);
    double count = luaL_checknumber(lua, 2);
    if (len == 0 || !(count >= 1)) {
        lua_pushliteral(lua, "");
        return 1;
    }
    if ((double)len * count > (double)vm_of(lua)->script->options.memory_max) {
        return luaL_error(lua, "resulting string too large");
    }
    return go_on(lua);
}

static int safe_tohex(lua_State *lua)
{
    if (lua_gettop(lua) >= 2 && lua_isnumber(lua, 2)) {
        /* The library takes numbers modulo 2^32. */
        double digits = fmod(lua_tonumber(lua, 2), 4294967296.0);
        if (digits == -2147483648.0 || digits == 2147483648.0) {
            lua_pushinteger(lua, -8);
            lua_replace(lua, 2);
        }
    }
    return go_on(lua);
}

/* Compiles the text at `index`: the function, or nil and the message. */
static int compile(lua_State *lua, int index, const char *chunk_name)
{
    size_t len;
    const char *text = lua_tolstring(lua, index, &len);
    if (len != 0 && *text == LUA_SIGNATURE[0]) {
        lua_pushnil(lua);
        lua_pushliteral(lua, "attempt to load a binary chunk");
        return 2;
    }
    lua_gc(lua, LUA_GCSTOP, 0);
    int result = luaL_loadbuffer(lua, text, len, chunk_name);
    lua_gc(lua, LUA_GCRESTART, 0);
    if (result == 0) {
        return 1;
    }
    lua_pushnil(lua);
    lua_insert(lua, -2);
    return 2;
}

static int safe_loadstring(lua_State *lua)
{
    const char *text = luaL_checkstring(lua, 1);
    return compile(lua, 1, luaL_optstring(lua, 2, text));
}

/* Collects all pieces first, for the pieces' function may do anything, collecting garbage included.
 */
static int safe_load(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TFUNCTION);
    const char *chunk_name = luaL_optstring(lua, 2, "=(load)");
    lua_settop(lua, 2);
    lua_newtable(lua);
    lua_pushliteral(lua, "");
    for (int count = 1;; count++) {
        lua_pushvalue(lua, 1);
        lua_call(lua, 0, 1);
        if (lua_isnil(lua, -1)) {
            break;
        }
        if (!lua_isstring(lua, -1)) {
            return luaL_error(lua, "reader function must return a string");
        }
        if (lua_objlen(lua, -1) == 0) {
            break;
        }
        lua_concat(lua, 2);
    }
    lua_pop(lua, 1);
    return compile(lua, -1, chunk_name);
}

/* Errors of commands are tables with the text in `err`; who catches one gets the text. */
static int safe_pcall(lua_State *lua)
{
    luaL_checkany(lua, 1);
    lua_pushboolean(lua, 1);
    lua_insert(lua, 1);
    if (lua_pcall(lua, lua_gettop(lua) - 2, LUA_MULTRET, 0) == 0) {
        return lua_gettop(lua);
    }
    lua_pushboolean(lua, 0);
    lua_replace(lua, 1);
    if (lua_istable(lua, -1)) {
        lua_pushliteral(lua, "err");
        lua_rawget(lua, -2);
        if (lua_isstring(lua, -1)) {
            lua_replace(lua, -2);
        } else {
            lua_pop(lua, 1);
        }
    }
    return 2;
}

/* Lua's own calls the handler where the error is raised; if that is in the hook of a script to be
 * killed, no hook stops the handler. Here it is called when the function has been left. */
static int safe_xpcall(lua_State *lua)
{
    luaL_checkany(lua, 2);
    lua_settop(lua, 2);
    lua_insert(lua, 1); /* The handler. */
    int status = lua_pcall(lua, 0, LUA_MULTRET, 0);
    if (status == 0) {
        lua_pushboolean(lua, 1);
        lua_replace(lua, 1);
        return lua_gettop(lua);
    }
    if (status != LUA_ERRMEM && (!lua_isfunction(lua, 1) || lua_pcall(lua, 1, 1, 0) != 0)) {
        lua_pushliteral(lua, "error in error handling");
    }
    lua_pushboolean(lua, 0);
    lua_insert(lua, -2);
    return 2;
}

/* ---- Numbers by chance ----------------------------------------------------------------------- */

static int random_next(lua_State *lua)
{
    double part = (double)(nrand48(vm_of(lua)->random) % INT32_MAX) / (double)INT32_MAX;
    int count = lua_gettop(lua);
    if (count == 0) {
        lua_pushnumber(lua, part);
        return 1;
    }
    if (count > 2) {
        return luaL_error(lua, "wrong number of arguments");
    }
    int low = count == 2 ? luaL_checkint(lua, 1) : 1;
    int high = luaL_checkint(lua, count);
    luaL_argcheck(lua, low <= high, count, "interval is empty");
    lua_pushnumber(lua, floor(part * ((double)high - low + 1)) + low);
    return 1;
}

static int random_seed(lua_State *lua)
{
    unsigned seed = (unsigned)luaL_checkint(lua, 1);
    unsigned short *random = vm_of(lua)->random;
    random[0] = 0x330E;
    random[1] = (unsigned short)(seed & 0xFFFF);
    random[2] = (unsigned short)(seed >> 16);
    return 0;
}

/* ---- Building -------------------------------------------------------------------------------- */

static const char *const base_names[] = {
    "_VERSION", "assert",     "collectgarbage", "coroutine",    "error",    "gcinfo",   "ipairs",
    "load",     "loadstring", "getmetatable",   "next",         "pairs",    "pcall",    "rawequal",
    "rawget",   "rawset",     "select",         "setmetatable", "tonumber", "tostring", "type",
    "unpack",   "xpcall",     "math",           "string",       "table",    "bit",      NULL,
};

struct replacement {
    const char *table; /* NULL: a global. */
    const char *name;
    lua_CFunction fn;
};

static const struct replacement replacements[] = {
    {NULL, "collectgarbage", safe_collectgarbage},
    {NULL, "rawset", safe_rawset},
    {NULL, "setmetatable", safe_setmetatable},
    {NULL, "next", safe_next},
    {NULL, "rawget", safe_read},
    {"table", "foreach", safe_read},
    {NULL, "unpack", safe_unpack},
    {NULL, "load", safe_load},
    {NULL, "loadstring", safe_loadstring},
    {NULL, "pcall", safe_pcall},
    {NULL, "xpcall", safe_xpcall},
    {"table", "insert", safe_insert},
    {"table", "remove", go_on_timed},
    {"table", "concat", go_on_timed},
    {"table", "maxn", go_on_timed},
    {"table", "sort", safe_sort},
    {"string", "find", safe_pattern},
    {"string", "match", safe_pattern},
    {"string", "gmatch", safe_pattern},
    {"string", "gfind", safe_pattern},
    {"string", "gsub", safe_pattern},
    {"string", "rep", safe_rep},
    {"bit", "tohex", safe_tohex},
    {"math", "random", random_next},
    {"math", "randomseed", random_seed},
};

static void open_library(lua_State *lua, lua_CFunction open, const char *name)
{
    lua_pushcfunction(lua, open);
    lua_pushstring(lua, name);
    lua_call(lua, 1, 0);
}

/* Replaces fields of the table of globals at `globals`; each function keeps the one it replaces. */
static void replace_functions(lua_State *lua, int globals)
{
    for (size_t i = 0; i < sizeof(replacements) / sizeof(replacements[0]); i++) {
        const struct replacement *what = &replacements[i];
        if (what->table != NULL) {
            lua_getfield(lua, globals, what->table);
        } else {
            lua_pushvalue(lua, globals);
        }
        lua_getfield(lua, -1, what->name);
        lua_pushcclosure(lua, what->fn, 1);
        lua_setfield(lua, -2, what->name);
        lua_pop(lua, 1);
    }
}

/* pairs and getmetatable keep more than what they replace. */
static void replace_readers(lua_State *lua, int globals)
{
    lua_getfield(lua, globals, "pairs");
    lua_getfield(lua, globals, "next");
    lua_pushcclosure(lua, safe_pairs, 2);
    lua_setfield(lua, globals, "pairs");

    lua_getfield(lua, globals, "getmetatable");
    lua_newtable(lua); /* What strings have: __index alone. */
    lua_getfield(lua, globals, "string");
    lua_setfield(lua, -2, "__index");
    guard(lua);
    lua_newtable(lua);
    guard(lua);
    lua_pushcclosure(lua, safe_getmetatable, 3);
    lua_setfield(lua, globals, "getmetatable");
}

static void guard_tables(lua_State *lua, int globals)
{
    static const char *const names[] = {"coroutine", "math",  "string",   "table",  "bit",
                                        "cjson",     "redis", "cmsgpack", "struct", NULL};
    for (const char *const *name = names; *name != NULL; name++) {
        lua_getfield(lua, globals, *name);
        guard(lua);
        lua_setfield(lua, globals, *name);
    }
}

/* Copies what is allowed from Lua's own globals into a new table on top of the stack. */
static void copy_allowed(lua_State *lua)
{
    lua_newtable(lua);
    for (const char *const *name = base_names; *name != NULL; name++) {
        lua_getfield(lua, LUA_GLOBALSINDEX, *name);
        lua_setfield(lua, -2, *name);
    }
}

/* Gives the table on top of the stack the error about what it has not. */
static void refuse_what_is_absent(lua_State *lua)
{
    lua_createtable(lua, 0, 1);
    lua_pushcfunction(lua, refuse_absent);
    lua_setfield(lua, -2, "__index");
    lua_setmetatable(lua, -2);
}

/* While a library is loaded there is `redis` alone, with what registers and logs. */
static void build_loading(lua_State *lua)
{
    lua_newtable(lua);
    api_open_loading(lua);
    refuse_what_is_absent(lua);
    guard(lua);
    lua_setfield(lua, -2, "redis");
    refuse_what_is_absent(lua);
    lua_setfield(lua, LUA_REGISTRYINDEX, loading_name);
}

static void open_libraries(lua_State *lua, int globals)
{
    json_open(lua);
    lua_setfield(lua, globals, "cjson");
    msgpack_open(lua);
    lua_setfield(lua, globals, "cmsgpack");
    struct_open(lua);
    lua_setfield(lua, globals, "struct");
    api_open(lua);
    lua_setfield(lua, globals, "redis");
}

void sandbox_build(lua_State *lua)
{
    open_library(lua, luaopen_base, "");
    open_library(lua, luaopen_table, LUA_TABLIBNAME);
    open_library(lua, luaopen_string, LUA_STRLIBNAME);
    open_library(lua, luaopen_math, LUA_MATHLIBNAME);
    open_library(lua, luaopen_bit, "bit");
    copy_allowed(lua);
    int globals = lua_gettop(lua);
    open_libraries(lua, globals);
    replace_functions(lua, globals);
    guard_tables(lua, globals);
    replace_readers(lua, globals);
    build_loading(lua);
    refuse_what_is_absent(lua);
    lua_pushvalue(lua, globals);
    lua_setfield(lua, LUA_REGISTRYINDEX, globals_name);
    guard(lua);
    lua_getmetatable(lua, -1);
    lua_setfield(lua, LUA_REGISTRYINDEX, meta_name);
    sandbox_push_globals(lua);
    lua_pushvalue(lua, -2);
    lua_setfield(lua, -2, "_G");
    lua_pop(lua, 1);
    lua_replace(lua, LUA_GLOBALSINDEX);
}
