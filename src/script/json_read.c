/* JSON to Lua values, for cjson.decode: the essay is in json.c.
 *
 *     bytes --next_token--> { [ "text" 1e3 true null : , --read_value--> on the Lua stack
 *
 * A text is collected in parser.text, one at a time, since its bytes become a Lua string before the
 * next token is read. Errors name what was expected, what was found and where, in the library's
 * words. Numbers are read as it reads them, by strtod: hexadecimal ones, leading zeros and
 * infinities too, unless decode_invalid_numbers is off. */
#include <ctype.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "script/json_internal.h"
#include "script/text.h"

/* ---- Tokens ---------------------------------------------------------------------------------- */

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
    const struct json_settings *settings;
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

/* ---- Values ---------------------------------------------------------------------------------- */

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

int json_decode(lua_State *lua)
{
    luaL_argcheck(lua, lua_gettop(lua) == 1, 1, "expected 1 argument");
    size_t len;
    const char *json = luaL_checklstring(lua, 1, &len);
    if (len >= 2 && (json[0] == '\0' || json[1] == '\0')) {
        return luaL_error(lua, "JSON parser does not support UTF-16 or UTF-32");
    }
    struct parser parser = {
        .lua = lua,
        .settings = json_settings_of(lua),
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
