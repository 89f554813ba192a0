/* Values between Lua and the protocol.
 *
 *     reply               Lua (RESP2)              Lua (RESP3, after redis.setresp(3))
 *     :5                  5                        5
 *     $2 ab               "ab"                     "ab"
 *     +OK                 {ok="OK"}                {ok="OK"}
 *     -ERR no             {err="ERR no"}           {err="ERR no"}
 *     *2 ...              {..., ...}               {..., ...}
 *     null                false                    nil
 *     %1 k v              -                        {map={k=v}}
 *     ~1 a                -                        {set={a=true}}
 *     ,1.5                -                        {double=1.5}
 *     #t                  -                        true
 *     (123                -                        {big_number="123"}
 *     =txt:ab             -                        {verbatim_string={format="txt", string="ab"}}
 *
 * and back the same way, where a number loses its fraction, true is 1, false and nil are null, and
 * an array ends before its first nil. Attributes are skipped. Both directions recurse, as deep as
 * the Lua stack goes: 8,000 values, so some thousand levels. */
#include "resp/reply_read.h"

#include <string.h>

#include "script/script_internal.h"

enum { STACK_PER_LEVEL = 6 };

/* ---- From replies ---------------------------------------------------------------------------- */

static void push_slice(lua_State *lua, struct slice text)
{
    lua_pushlstring(lua, text.len != 0 ? text.data : "", text.len);
}

/* {name = text} */
static void push_labelled(lua_State *lua, const char *name, struct slice text)
{
    lua_createtable(lua, 0, 1);
    push_slice(lua, text);
    lua_setfield(lua, -2, name);
}

static bool push_array(lua_State *lua, struct slice *rest, int64_t count, int protocol)
{
    /* Every element takes a byte at least, so that a count that lies costs nothing. */
    lua_createtable(lua, (int)((uint64_t)count < rest->len ? count : (int64_t)rest->len), 0);
    for (int64_t i = 1; i <= count; i++) {
        if (!value_push_reply(lua, rest, protocol)) {
            return false;
        }
        lua_rawseti(lua, -2, (int)i);
    }
    return true;
}

/* {map = {...}} or {set = {...}} */
static bool push_keyed(lua_State *lua, struct slice *rest, const struct reply_item *item,
                       int protocol)
{
    bool is_map = item->kind == REPLY_MAP;
    lua_createtable(lua, 0, 1);
    lua_newtable(lua);
    for (int64_t i = 0; i < item->number; i++) {
        if (!value_push_reply(lua, rest, protocol)) {
            return false;
        }
        if (!is_map) {
            lua_pushboolean(lua, 1);
        } else if (!value_push_reply(lua, rest, protocol)) {
            return false;
        }
        lua_rawset(lua, -3);
    }
    lua_setfield(lua, -2, is_map ? "map" : "set");
    return true;
}

static bool skip_attribute(lua_State *lua, struct slice *rest, int64_t pairs, int protocol)
{
    for (int64_t i = 0; i < 2 * pairs; i++) {
        if (!value_push_reply(lua, rest, protocol)) {
            return false;
        }
        lua_pop(lua, 1);
    }
    return true;
}

static void push_verbatim(lua_State *lua, const struct reply_item *item)
{
    lua_createtable(lua, 0, 1);
    lua_createtable(lua, 0, 2);
    push_slice(lua, item->text);
    lua_setfield(lua, -2, "string");
    lua_pushstring(lua, item->format);
    lua_setfield(lua, -2, "format");
    lua_setfield(lua, -2, "verbatim_string");
}

static void push_error_reply(lua_State *lua, struct slice text)
{
    lua_createtable(lua, 0, 2);
    push_slice(lua, text);
    lua_setfield(lua, -2, "err");
    lua_pushboolean(lua, 1);
    lua_setfield(lua, -2, "ignore_error_stats_update");
}

static void push_null(lua_State *lua, int protocol)
{
    if (protocol == 2) {
        lua_pushboolean(lua, 0);
    } else {
        lua_pushnil(lua);
    }
}

bool value_push_reply(lua_State *lua, struct slice *rest, int protocol)
{
    struct reply_item item;
    if (!lua_checkstack(lua, STACK_PER_LEVEL) || !reply_read(rest, &item)) {
        return false;
    }
    switch (item.kind) {
    case REPLY_STATUS:
        push_labelled(lua, "ok", item.text);
        return true;
    case REPLY_ERROR:
        push_error_reply(lua, item.text);
        return true;
    case REPLY_INTEGER:
        lua_pushnumber(lua, (lua_Number)item.number);
        return true;
    case REPLY_BULK:
        push_slice(lua, item.text);
        return true;
    case REPLY_NULL:
        push_null(lua, protocol);
        return true;
    case REPLY_DOUBLE:
        lua_createtable(lua, 0, 1);
        lua_pushnumber(lua, item.real);
        lua_setfield(lua, -2, "double");
        return true;
    case REPLY_BOOL:
        lua_pushboolean(lua, item.number != 0);
        return true;
    case REPLY_BIG_NUMBER:
        push_labelled(lua, "big_number", item.text);
        return true;
    case REPLY_VERBATIM:
        push_verbatim(lua, &item);
        return true;
    case REPLY_MAP:
    case REPLY_SET:
        return push_keyed(lua, rest, &item, protocol);
    case REPLY_ATTRIBUTE:
        return skip_attribute(lua, rest, item.number, protocol) &&
               value_push_reply(lua, rest, protocol);
    case REPLY_ARRAY:
    case REPLY_PUSH:
    default:
        return push_array(lua, rest, item.number, protocol);
    }
}

/* ---- To replies ------------------------------------------------------------------------------ */

static struct slice slice_at(lua_State *lua, int index)
{
    size_t len;
    const char *text = lua_tolstring(lua, index, &len);
    return slice_of(text, len);
}

/* Pushes the field of the table on top of the stack. True: it has that type; else it is popped. */
static bool push_field(lua_State *lua, const char *name, int type)
{
    lua_pushstring(lua, name);
    lua_rawget(lua, -2);
    if (lua_type(lua, -1) == type) {
        return true;
    }
    lua_pop(lua, 1);
    return false;
}

/* The string on top of the stack as a line: CR and LF become spaces, and a NUL ends it, as in
 * everything that is a line in Redis. */
static void reply_line(lua_State *lua, struct reply *out,
                       void (*write)(struct reply *, const char *))
{
    const char *text = lua_tostring(lua, -1);
    if (strpbrk(text, "\r\n") == NULL) {
        write(out, text);
        return;
    }
    struct buf line;
    buf_init(&line);
    for (const char *at = text; *at != '\0'; at++) {
        buf_append_byte(&line, *at == '\r' || *at == '\n' ? ' ' : *at);
    }
    buf_append_byte(&line, '\0');
    write(out, line.data);
    buf_deinit(&line);
}

static size_t count_pairs(lua_State *lua, int table)
{
    size_t count = 0;
    for (lua_pushnil(lua); lua_next(lua, table) != 0; lua_pop(lua, 1)) {
        count++;
    }
    return count;
}

/* The table on top of the stack as a map or a set of its keys. */
static void reply_keyed(lua_State *lua, struct reply *out, bool is_map, int protocol)
{
    int table = lua_gettop(lua);
    size_t count = count_pairs(lua, table);
    if (is_map) {
        reply_map(out, count);
    } else {
        reply_set(out, count);
    }
    for (lua_pushnil(lua); lua_next(lua, table) != 0;) {
        /* stack: table, key, value; the key stays for lua_next. */
        if (!is_map) {
            lua_pop(lua, 1);
            lua_pushvalue(lua, -1);
            value_reply(lua, out, protocol);
            continue;
        }
        lua_pushvalue(lua, -2);
        value_reply(lua, out, protocol);
        value_reply(lua, out, protocol);
    }
}

static void reply_sequence(lua_State *lua, struct reply *out, int protocol)
{
    struct reply_mark mark;
    size_t count = 0;
    reply_begin(out, &mark, '*');
    for (int i = 1;; i++) {
        lua_rawgeti(lua, -1, i);
        if (lua_isnil(lua, -1)) {
            lua_pop(lua, 1);
            break;
        }
        value_reply(lua, out, protocol);
        count++;
    }
    reply_end(out, &mark, count);
}

static bool reply_verbatim_table(lua_State *lua, struct reply *out)
{
    bool is_one = false;
    if (push_field(lua, "format", LUA_TSTRING)) {
        lua_insert(lua, -2);
        if (push_field(lua, "string", LUA_TSTRING)) {
            char format[4] = "   ";
            struct slice name = slice_at(lua, -3);
            memcpy(format, name.data, name.len < 3 ? name.len : 3);
            reply_verbatim(out, format, slice_at(lua, -1));
            lua_pop(lua, 1);
            is_one = true;
        }
        lua_remove(lua, -2);
    }
    return is_one;
}

/* The forms that say what they are. The table stays on the stack. False: it is a sequence. */
static bool reply_labelled(lua_State *lua, struct reply *out, int protocol)
{
    bool is_done = true;
    if (push_field(lua, "err", LUA_TSTRING)) {
        reply_line(lua, out, reply_error);
    } else if (push_field(lua, "ok", LUA_TSTRING)) {
        reply_line(lua, out, reply_status);
    } else if (push_field(lua, "double", LUA_TNUMBER)) {
        reply_double(out, lua_tonumber(lua, -1));
    } else if (push_field(lua, "map", LUA_TTABLE)) {
        reply_keyed(lua, out, true, protocol);
    } else if (push_field(lua, "set", LUA_TTABLE)) {
        reply_keyed(lua, out, false, protocol);
    } else if (push_field(lua, "big_number", LUA_TSTRING)) {
        reply_big_number(out, slice_at(lua, -1));
    } else if (push_field(lua, "verbatim_string", LUA_TTABLE)) {
        is_done = reply_verbatim_table(lua, out);
    } else {
        return false;
    }
    lua_pop(lua, 1);
    return is_done;
}

/* The nearest integer towards zero; what has none is the smallest, as conversion gives it in C on
 * the processors that Redis runs on. */
static int64_t integer_of(lua_Number number)
{
    bool has_one = number >= -9223372036854775808.0 && number < 9223372036854775808.0;
    return has_one ? (int64_t)number : INT64_MIN;
}

static void reply_boolean(struct reply *out, bool value, int protocol)
{
    if (protocol == 3) {
        reply_bool(out, value);
    } else if (value) {
        reply_integer(out, 1);
    } else {
        reply_null(out);
    }
}

void value_reply(lua_State *lua, struct reply *out, int protocol)
{
    if (!lua_checkstack(lua, STACK_PER_LEVEL)) {
        reply_error(out, "ERR reached lua stack limit");
        lua_pop(lua, 1);
        return;
    }
    switch (lua_type(lua, -1)) {
    case LUA_TSTRING:
        reply_bulk(out, slice_at(lua, -1));
        break;
    case LUA_TBOOLEAN:
        reply_boolean(out, lua_toboolean(lua, -1) != 0, protocol);
        break;
    case LUA_TNUMBER:
        reply_integer(out, integer_of(lua_tonumber(lua, -1)));
        break;
    case LUA_TTABLE:
        if (!reply_labelled(lua, out, protocol)) {
            reply_sequence(lua, out, protocol);
        }
        break;
    default:
        reply_null(out);
        break;
    }
    lua_pop(lua, 1);
}

/* ---- Error objects --------------------------------------------------------------------------- */

/* "-CODE text" and "CODE text" are taken as they are, one word alone is the text of an ERR. */
void value_push_error(lua_State *lua, struct slice text)
{
    lua_createtable(lua, 0, 1);
    if (text.len != 0 && *text.data == '-') {
        text = slice_part(text, 1, SIZE_MAX);
    }
    while (text.len != 0 && (text.data[text.len - 1] == '\r' || text.data[text.len - 1] == '\n')) {
        text.len--;
    }
    bool has_code = text.len != 0 && memchr(text.data, ' ', text.len) != NULL;
    if (has_code) {
        push_slice(lua, text);
    } else {
        lua_pushliteral(lua, "ERR ");
        push_slice(lua, text);
        lua_concat(lua, 2);
    }
    lua_setfield(lua, -2, "err");
}
