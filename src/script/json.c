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
 * Both directions recurse; settings and the Lua stack (8,000 values) bound how deep. */
#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "script/script_internal.h"
#include "script/text.h"

enum { INVALID_OFF, INVALID_ON, INVALID_NULL };

struct settings {
    int sparse_convert, sparse_ratio, sparse_safe;
    int encode_depth_max, decode_depth_max;
    int encode_invalid, decode_invalid;
    int precision;
    int is_keeping;
};

static const struct settings presets = {
    .sparse_ratio = 2,
    .sparse_safe = 10,
    .encode_depth_max = 1000,
    .decode_depth_max = 1000,
    .encode_invalid = INVALID_OFF,
    .decode_invalid = INVALID_ON,
    .precision = 14,
    .is_keeping = 1,
};

static struct settings *settings_of(lua_State *lua)
{
    return lua_touserdata(lua, lua_upvalueindex(1));
}

/* ---- Writing --------------------------------------------------------------------------------- */

struct writer {
    lua_State *lua;
    const struct settings *settings;
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
    const struct settings *settings = writer->settings;
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
    struct writer writer = {.lua = lua, .settings = settings_of(lua), .text = text_push(lua)};
    lua_insert(lua, 1);
    write_value(&writer, 0);
    text_push_string(lua, writer.text);
    return 1;
}

/* ---- Reading: tokens ------------------------------------------------------------------------- */

enum token_kind {
    TOKEN_OBJECT_BEGIN,
    TOKEN_OBJECT_END,
    TOKEN_ARRAY_BEGIN,
    TOKEN_ARRAY_END,
    TOKEN_STRING,
    TOKEN_NUMBER,
    TOKEN_BOOLEAN,
    TOKEN_NULL,
    TOKEN_COLON,
    TOKEN_COMMA,
    TOKEN_END,
    TOKEN_ERROR,
};

static const char *const token_names[] = {
    "T_OBJ_BEGIN", "T_OBJ_END", "T_ARR_BEGIN", "T_ARR_END", "T_STRING", "T_NUMBER",
    "T_BOOLEAN",   "T_NULL",    "T_COLON",     "T_COMMA",   "T_END",
};

struct token {
    enum token_kind kind;
    size_t index; /* Of its first byte, or of the error. */
    double number;
    bool boolean;
    const char *error;
};

struct parser {
    lua_State *lua;
    const struct settings *settings;
    const char *start, *at; /* NUL-terminated, as all of Lua's strings. */
    struct text *text;      /* Of the string token at hand. */
    int depth;
};

static void fail_token(struct parser *parser, struct token *token, const char *error)
{
    token->kind = TOKEN_ERROR;
    token->index = (size_t)(parser->at - parser->start);
    token->error = error;
}

/* Four hexadecimal digits, or -1. */
static int read_hex4(const char *at)
{
    int code = 0;
    for (int i = 0; i < 4; i++) {
        if (!isxdigit((unsigned char)at[i])) {
            return -1;
        }
        int digit = isdigit((unsigned char)at[i]) ? at[i] - '0' : (at[i] | 0x20) - 'a' + 10;
        code = code << 4 | digit;
    }
    return code;
}

static size_t utf8_of(int code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xE0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

/* "\uXXXX", perhaps two that belong together. False: it is none. */
static bool read_unicode(struct parser *parser)
{
    enum { HIGH = 0xD800, LOW = 0xDC00 };
    char bytes[4];
    int code = read_hex4(parser->at + 2);
    size_t len = 6;
    if (code < 0) {
        return false;
    }
    if ((code & 0xF800) == HIGH) {
        if ((code & LOW) == LOW || parser->at[6] != '\\' || parser->at[7] != 'u') {
            return false;
        }
        int low = read_hex4(parser->at + 8);
        if (low < 0 || (low & 0xFC00) != LOW) {
            return false;
        }
        code = 0x10000 + ((code & 0x3FF) << 10) + (low & 0x3FF);
        len = 12;
    }
    text_append(parser->lua, parser->text, bytes, utf8_of(code, bytes));
    parser->at += len;
    return true;
}

static char escaped_byte(char letter)
{
    switch (letter) {
    case '"':
    case '\\':
    case '/':
        return letter;
    case 'b':
        return '\b';
    case 't':
        return '\t';
    case 'n':
        return '\n';
    case 'f':
        return '\f';
    case 'r':
        return '\r';
    default:
        return 0;
    }
}

/* At a backslash. False: the token is an error. */
static bool read_escape(struct parser *parser, struct token *token)
{
    if (parser->at[1] == 'u') {
        if (!read_unicode(parser)) {
            fail_token(parser, token, "invalid unicode escape code");
            return false;
        }
        return true;
    }
    char byte = escaped_byte(parser->at[1]);
    if (byte == 0) {
        fail_token(parser, token, "invalid escape code");
        return false;
    }
    text_append_byte(parser->lua, parser->text, byte);
    parser->at += 2;
    return true;
}

static void read_string(struct parser *parser, struct token *token)
{
    parser->text->len = 0;
    parser->at++;
    for (;;) {
        size_t plain = strcspn(parser->at, "\"\\");
        text_append(parser->lua, parser->text, parser->at, plain);
        parser->at += plain;
        if (*parser->at == '\0') {
            fail_token(parser, token, "unexpected end of string");
            return;
        }
        if (*parser->at == '"') {
            parser->at++;
            token->kind = TOKEN_STRING;
            return;
        }
        if (!read_escape(parser, token)) {
            return;
        }
    }
}

/* Numbers that C reads and JSON does not know. */
static bool is_invalid_number(const char *at)
{
    if (*at == '+') {
        return true;
    }
    at += *at == '-';
    if (*at == '0') {
        return (at[1] | 0x20) == 'x' || isdigit((unsigned char)at[1]);
    }
    return *at > '9' && (strncasecmp(at, "inf", 3) == 0 || strncasecmp(at, "nan", 3) == 0);
}

static void read_number(struct parser *parser, struct token *token)
{
    char *end;
    token->number = strtod(parser->at, &end);
    if (end == parser->at) {
        fail_token(parser, token, "invalid number");
        return;
    }
    token->kind = TOKEN_NUMBER;
    parser->at = end;
}

static bool take_word(struct parser *parser, const char *word)
{
    size_t len = strlen(word);
    if (strncmp(parser->at, word, len) != 0) {
        return false;
    }
    parser->at += len;
    return true;
}

static void read_word(struct parser *parser, struct token *token)
{
    bool allows_invalid = parser->settings->decode_invalid != INVALID_OFF;
    if (*parser->at == '-' || isdigit((unsigned char)*parser->at)) {
        if (!allows_invalid && is_invalid_number(parser->at)) {
            fail_token(parser, token, "invalid number");
        } else {
            read_number(parser, token);
        }
    } else if (take_word(parser, "true") || take_word(parser, "false")) {
        token->kind = TOKEN_BOOLEAN;
        token->boolean = parser->at[-2] == 'u';
    } else if (take_word(parser, "null")) {
        token->kind = TOKEN_NULL;
    } else if (allows_invalid && is_invalid_number(parser->at)) {
        read_number(parser, token);
    } else {
        fail_token(parser, token, "invalid token");
    }
}

static void next_token(struct parser *parser, struct token *token)
{
    static const char single[] = "{}[]:,";
    static const enum token_kind kinds[] = {TOKEN_OBJECT_BEGIN, TOKEN_OBJECT_END, TOKEN_ARRAY_BEGIN,
                                            TOKEN_ARRAY_END,    TOKEN_COLON,      TOKEN_COMMA};
    parser->at += strspn(parser->at, " \t\n\r");
    token->index = (size_t)(parser->at - parser->start);
    if (*parser->at == '\0') {
        token->kind = TOKEN_END;
        return;
    }
    const char *found = strchr(single, *parser->at);
    if (found != NULL) {
        token->kind = kinds[found - single];
        parser->at++;
    } else if (*parser->at == '"') {
        read_string(parser, token);
    } else {
        read_word(parser, token);
    }
}

/* ---- Reading: values ------------------------------------------------------------------------- */

static void read_value(struct parser *parser, struct token *token);

static void refuse_token(struct parser *parser, const char *wanted, const struct token *token)
{
    const char *found = token->kind == TOKEN_ERROR ? token->error : token_names[token->kind];
    luaL_error(parser->lua, "Expected %s but found %s at character %d", wanted, found,
               (int)token->index + 1);
}

static void descend(struct parser *parser)
{
    parser->depth++;
    if (parser->depth > parser->settings->decode_depth_max ||
        !lua_checkstack(parser->lua, LUA_MINSTACK)) {
        luaL_error(parser->lua, "Found too many nested data structures (%d) at character %d",
                   parser->depth, (int)(parser->at - parser->start));
    }
}

static void push_text(struct parser *parser)
{
    lua_pushlstring(parser->lua, parser->text->len != 0 ? parser->text->data : "",
                    parser->text->len);
}

static void read_object(struct parser *parser)
{
    struct token token = {.kind = TOKEN_END};
    descend(parser);
    lua_newtable(parser->lua);
    next_token(parser, &token);
    if (token.kind == TOKEN_OBJECT_END) {
        parser->depth--;
        return;
    }
    for (;;) {
        if (token.kind != TOKEN_STRING) {
            refuse_token(parser, "object key string", &token);
        }
        push_text(parser);
        next_token(parser, &token);
        if (token.kind != TOKEN_COLON) {
            refuse_token(parser, "colon", &token);
        }
        next_token(parser, &token);
        read_value(parser, &token);
        lua_rawset(parser->lua, -3);
        next_token(parser, &token);
        if (token.kind == TOKEN_OBJECT_END) {
            parser->depth--;
            return;
        }
        if (token.kind != TOKEN_COMMA) {
            refuse_token(parser, "comma or object end", &token);
        }
        next_token(parser, &token);
    }
}

static void read_array(struct parser *parser)
{
    struct token token = {.kind = TOKEN_END};
    descend(parser);
    lua_newtable(parser->lua);
    next_token(parser, &token);
    if (token.kind == TOKEN_ARRAY_END) {
        parser->depth--;
        return;
    }
    for (int i = 1;; i++) {
        read_value(parser, &token);
        lua_rawseti(parser->lua, -2, i);
        next_token(parser, &token);
        if (token.kind == TOKEN_ARRAY_END) {
            parser->depth--;
            return;
        }
        if (token.kind != TOKEN_COMMA) {
            refuse_token(parser, "comma or array end", &token);
        }
        next_token(parser, &token);
    }
}

/* Pushes the value that the token is or begins. */
static void read_value(struct parser *parser, struct token *token)
{
    switch (token->kind) {
    case TOKEN_STRING:
        push_text(parser);
        break;
    case TOKEN_NUMBER:
        lua_pushnumber(parser->lua, token->number);
        break;
    case TOKEN_BOOLEAN:
        lua_pushboolean(parser->lua, token->boolean);
        break;
    case TOKEN_NULL:
        lua_pushlightuserdata(parser->lua, NULL);
        break;
    case TOKEN_OBJECT_BEGIN:
        read_object(parser);
        break;
    case TOKEN_ARRAY_BEGIN:
        read_array(parser);
        break;
    default:
        refuse_token(parser, "value", token);
    }
}

static int json_decode(lua_State *lua)
{
    luaL_argcheck(lua, lua_gettop(lua) == 1, 1, "expected 1 argument");
    size_t len;
    const char *json = luaL_checklstring(lua, 1, &len);
    if (len >= 2 && (json[0] == '\0' || json[1] == '\0')) {
        return luaL_error(lua, "JSON parser does not support UTF-16 or UTF-32");
    }
    struct parser parser = {
        .lua = lua,
        .settings = settings_of(lua),
        .start = json,
        .at = json,
        .text = text_push(lua),
    };
    struct token token = {.kind = TOKEN_END};
    next_token(&parser, &token);
    read_value(&parser, &token);
    next_token(&parser, &token);
    if (token.kind != TOKEN_END) {
        refuse_token(&parser, "the end", &token);
    }
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

static struct settings *begin_setting(lua_State *lua, int count_max)
{
    luaL_argcheck(lua, lua_gettop(lua) <= count_max, count_max + 1, "found too many arguments");
    lua_settop(lua, count_max);
    return settings_of(lua);
}

static int json_encode_sparse_array(lua_State *lua)
{
    struct settings *settings = begin_setting(lua, 3);
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
    struct settings *settings = lua_newuserdata(lua, sizeof(*settings));
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
