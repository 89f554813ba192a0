/* cjson for scripts: JSON from Lua values and back, with the names, settings, limits and error
 * texts of lua-cjson 2.1, which Redis has.
 *
 *     Lua                             JSON
 *     {1, 2, nil, 4}                  [1,2,null,4]      keys are positive whole numbers
 *     {a = 1}, {}                     {"a":1}, {}       everything else; so does an empty array
 *     cjson.null (a null pointer)     null
 *     1/3                             0.33333333333333  14 digits, as tostring
 *
 * A table counts as an array when its keys are positive whole numbers; one with large gaps is an
 * error, since it would be written with millions of nulls.
 *
 * It is our own because the library ends the process when a result grows over 2 GiB, which a small
 * table that refers to itself often enough reaches, and takes its memory past the limit of scripts.
 *
 * Both directions recurse; settings and the Lua stack (8,000 values) bound how deep. This file
 * writes, and holds the settings and the table of functions; json_read.c reads. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "script/json_internal.h"
#include "script/script_internal.h"
#include "script/text.h"

static const struct json_settings presets = {
    .sparse_ratio = 2,
    .sparse_safe = 10,
    .encode_depth_max = 1000,
    .decode_depth_max = 1000,
    .encode_invalid = INVALID_OFF,
    .decode_invalid = INVALID_ON,
    .precision = 14,
    .is_keeping = 1,
};

/* ---- Writing --------------------------------------------------------------------------------- */

struct writer {
    lua_State *lua;
    const struct json_settings *settings;
    struct text *text;
};

static void write_value(struct writer *writer, int depth);

static void refuse_type(lua_State *lua, int index, const char *reason)
{
    luaL_error(lua, "Cannot serialise %s: %s", luaL_typename(lua, index), reason);
}

static void put(struct writer *writer, const char *bytes, size_t len)
{
    text_append(writer->lua, writer->text, bytes, len);
}

/* The letter behind the backslash, or 0. */
static char short_escape(unsigned char byte)
{
    switch (byte) {
    case '"':
    case '\\':
    case '/':
        return (char)byte;
    case '\b':
        return 'b';
    case '\t':
        return 't';
    case '\n':
        return 'n';
    case '\f':
        return 'f';
    case '\r':
        return 'r';
    default:
        return 0;
    }
}

static void put_escape(struct writer *writer, unsigned char byte)
{
    char escape[8];
    char letter = short_escape(byte);
    if (letter != 0) {
        escape[0] = '\\';
        escape[1] = letter;
        put(writer, escape, 2);
    } else {
        put(writer, escape, (size_t)snprintf(escape, sizeof(escape), "\\u%04x", byte));
    }
}

static void put_string(struct writer *writer, int index)
{
    size_t len;
    const char *text = lua_tolstring(writer->lua, index, &len);
    put(writer, "\"", 1);
    for (size_t from = 0; from < len;) {
        size_t to = from;
        while (to < len && (unsigned char)text[to] >= ' ' && text[to] != 127 &&
               short_escape((unsigned char)text[to]) == 0) {
            to++;
        }
        put(writer, text + from, to - from);
        if (to < len) {
            put_escape(writer, (unsigned char)text[to]);
            to++;
        }
        from = to;
    }
    put(writer, "\"", 1);
}

static void put_invalid(struct writer *writer, double number, int index)
{
    if (writer->settings->encode_invalid == INVALID_OFF) {
        refuse_type(writer->lua, index, "must not be NaN or Inf");
    }
    const char *word = isnan(number) ? "nan" : number > 0 ? "inf" : "-inf";
    if (writer->settings->encode_invalid == INVALID_NULL) {
        word = "null";
    }
    put(writer, word, strlen(word));
}

static void put_number(struct writer *writer, int index)
{
    char digits[64];
    double number = lua_tonumber(writer->lua, index);
    if (isnan(number) || isinf(number)) {
        put_invalid(writer, number, index);
        return;
    }
    int len = snprintf(digits, sizeof(digits), "%.*g", writer->settings->precision, number);
    put(writer, digits, (size_t)len);
}

/* The highest index of the table on top of the stack; -1: it is no array. */
static int array_len(struct writer *writer)
{
    lua_State *lua = writer->lua;
    const struct json_settings *settings = writer->settings;
    double highest = 0;
    double items = 0;
    for (lua_pushnil(lua); lua_next(lua, -2) != 0; lua_pop(lua, 1)) {
        double key = lua_type(lua, -2) == LUA_TNUMBER ? lua_tonumber(lua, -2) : 0;
        if (!(key > 0) || floor(key) != key) {
            lua_pop(lua, 2);
            return -1;
        }
        highest = key > highest ? key : highest;
        items++;
    }
    if (settings->sparse_ratio > 0 && highest > items * settings->sparse_ratio &&
        highest > settings->sparse_safe) {
        if (!settings->sparse_convert) {
            refuse_type(lua, -1, "excessively sparse array");
        }
        return -1;
    }
    return highest < INT_MAX ? (int)highest : -1;
}

static void put_array(struct writer *writer, int len, int depth)
{
    put(writer, "[", 1);
    for (int i = 1; i <= len; i++) {
        if (i > 1) {
            put(writer, ",", 1);
        }
        lua_rawgeti(writer->lua, -1, i);
        write_value(writer, depth);
        lua_pop(writer->lua, 1);
    }
    put(writer, "]", 1);
}

/* The key below the value on top of the stack. */
static void put_key(struct writer *writer)
{
    int type = lua_type(writer->lua, -2);
    if (type == LUA_TNUMBER) {
        put(writer, "\"", 1);
        put_number(writer, -2);
        put(writer, "\":", 2);
    } else if (type == LUA_TSTRING) {
        put_string(writer, -2);
        put(writer, ":", 1);
    } else {
        luaL_error(writer->lua, "Cannot serialise table: table key must be a number or string");
    }
}

static void put_object(struct writer *writer, int depth)
{
    lua_State *lua = writer->lua;
    bool is_first = true;
    put(writer, "{", 1);
    for (lua_pushnil(lua); lua_next(lua, -2) != 0; lua_pop(lua, 1)) {
        if (!is_first) {
            put(writer, ",", 1);
        }
        is_first = false;
        put_key(writer);
        write_value(writer, depth);
    }
    put(writer, "}", 1);
}

static void put_table(struct writer *writer, int depth)
{
    if (depth > writer->settings->encode_depth_max || !lua_checkstack(writer->lua, 8)) {
        luaL_error(writer->lua, "Cannot serialise, excessive nesting (%d)", depth);
    }
    int len = array_len(writer);
    if (len > 0) {
        put_array(writer, len, depth);
    } else {
        put_object(writer, depth);
    }
}

/* Writes the value on top of the stack. */
static void write_value(struct writer *writer, int depth)
{
    lua_State *lua = writer->lua;
    switch (lua_type(lua, -1)) {
    case LUA_TSTRING:
        put_string(writer, -1);
        break;
    case LUA_TNUMBER:
        put_number(writer, -1);
        break;
    case LUA_TBOOLEAN:
        if (lua_toboolean(lua, -1)) {
            put(writer, "true", 4);
        } else {
            put(writer, "false", 5);
        }
        break;
    case LUA_TTABLE:
        put_table(writer, depth + 1);
        break;
    case LUA_TNIL:
        put(writer, "null", 4);
        break;
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(lua, -1) == NULL) {
            put(writer, "null", 4);
            break;
        }
        refuse_type(lua, -1, "type not supported");
        break;
    default:
        refuse_type(lua, -1, "type not supported");
    }
}

static int json_encode(lua_State *lua)
{
    luaL_argcheck(lua, lua_gettop(lua) == 1, 1, "expected 1 argument");
    struct writer writer = {.lua = lua, .settings = json_settings_of(lua), .text = text_push(lua)};
    lua_insert(lua, 1);
    write_value(&writer, 0);
    text_push_string(lua, writer.text);
    return 1;
}

/* ---- Settings -------------------------------------------------------------------------------- */

/* Sets from the argument, when there is one, and pushes what holds now. */
static int set_integer(lua_State *lua, int index, int *setting, int min, int max)
{
    if (!lua_isnoneornil(lua, index)) {
        char error[64];
        int value = luaL_checkint(lua, index);
        snprintf(error, sizeof(error), "expected integer between %d and %d", min, max);
        luaL_argcheck(lua, min <= value && value <= max, 1, error); /* Sic, as in the library. */
        *setting = value;
    }
    lua_pushinteger(lua, *setting);
    return 1;
}

/* The same for a choice of words, where true and false stand for "on" and "off". */
static int set_choice(lua_State *lua, int index, int *setting, const char *const *words)
{
    if (!lua_isnoneornil(lua, index)) {
        *setting = lua_isboolean(lua, index) ? lua_toboolean(lua, index)
                                             : luaL_checkoption(lua, index, NULL, words);
    }
    if (*setting <= INVALID_ON) {
        lua_pushboolean(lua, *setting);
    } else {
        lua_pushstring(lua, words[*setting]);
    }
    return 1;
}

static const char *const off_on[] = {"off", "on", NULL};
static const char *const off_on_null[] = {"off", "on", "null", NULL};

static struct json_settings *begin_setting(lua_State *lua, int count_max)
{
    luaL_argcheck(lua, lua_gettop(lua) <= count_max, count_max + 1, "found too many arguments");
    lua_settop(lua, count_max);
    return json_settings_of(lua);
}

static int json_encode_sparse_array(lua_State *lua)
{
    struct json_settings *settings = begin_setting(lua, 3);
    set_choice(lua, 1, &settings->sparse_convert, off_on);
    set_integer(lua, 2, &settings->sparse_ratio, 0, INT_MAX);
    set_integer(lua, 3, &settings->sparse_safe, 0, INT_MAX);
    return 3;
}

static int json_encode_max_depth(lua_State *lua)
{
    return set_integer(lua, 1, &begin_setting(lua, 1)->encode_depth_max, 1, INT_MAX);
}

static int json_decode_max_depth(lua_State *lua)
{
    return set_integer(lua, 1, &begin_setting(lua, 1)->decode_depth_max, 1, INT_MAX);
}

static int json_encode_number_precision(lua_State *lua)
{
    return set_integer(lua, 1, &begin_setting(lua, 1)->precision, 1, 14);
}

/* There is no buffer to keep: accepted, so that scripts that ask for it run. */
static int json_encode_keep_buffer(lua_State *lua)
{
    return set_choice(lua, 1, &begin_setting(lua, 1)->is_keeping, off_on);
}

static int json_encode_invalid_numbers(lua_State *lua)
{
    return set_choice(lua, 1, &begin_setting(lua, 1)->encode_invalid, off_on_null);
}

static int json_decode_invalid_numbers(lua_State *lua)
{
    return set_choice(lua, 1, &begin_setting(lua, 1)->decode_invalid, off_on);
}

/* ---- The table ------------------------------------------------------------------------------- */

static int json_new(lua_State *lua)
{
    return json_open(lua);
}

int json_open(lua_State *lua)
{
    static const luaL_Reg functions[] = {
        {"encode", json_encode},
        {"decode", json_decode},
        {"encode_sparse_array", json_encode_sparse_array},
        {"encode_max_depth", json_encode_max_depth},
        {"decode_max_depth", json_decode_max_depth},
        {"encode_number_precision", json_encode_number_precision},
        {"encode_keep_buffer", json_encode_keep_buffer},
        {"encode_invalid_numbers", json_encode_invalid_numbers},
        {"decode_invalid_numbers", json_decode_invalid_numbers},
        {"new", json_new},
        {NULL, NULL},
    };
    lua_newtable(lua);
    struct json_settings *settings = lua_newuserdata(lua, sizeof(*settings));
    *settings = presets;
    for (const luaL_Reg *function = functions; function->name != NULL; function++) {
        lua_pushvalue(lua, -1);
        lua_pushcclosure(lua, function->func, 1);
        lua_setfield(lua, -3, function->name);
    }
    lua_pop(lua, 1);
    lua_pushlightuserdata(lua, NULL);
    lua_setfield(lua, -2, "null");
    lua_pushliteral(lua, "cjson");
    lua_setfield(lua, -2, "_NAME");
    lua_pushliteral(lua, "2.1.0");
    lua_setfield(lua, -2, "_VERSION");
    return 1;
}
