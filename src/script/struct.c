/* struct for scripts: Lua values to bytes by a format and back.
 *
 *     < >         little, big endian (at first the machine's)
 *     !n          align to n at most (8 without n); at first nothing is aligned
 *     b B h H l L T i In   integers of 1, 1, 2, 2, 8, 8, 8, 4, n bytes; capitals are unsigned
 *     f d         a float, a double
 *     s           a string and a NUL
 *     cn          n bytes of a string; c0: all of it, or as many as the number read before
 *     x           a byte of padding
 *
 * The format's letters and the texts of errors are those of Roberto Ierusalimschy's library. */
#include <ctype.h>
#include <limits.h>
#include <string.h>

#include "script/script_internal.h"
#include "script/text.h"

enum {
    ALIGN_DEFAULT = 8,
    INTEGER_SIZE_MAX = 32,
};

struct format {
    const char *at;
    bool is_little;
    size_t align;
};

static struct format format_begin(const char *text)
{
    bool is_little = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__;
    return (struct format){.at = text, .is_little = is_little, .align = 1};
}

/* Digits of the format, or what holds without them. */
static int take_digits(lua_State *lua, struct format *format, int preset)
{
    if (!isdigit((unsigned char)*format->at)) {
        return preset;
    }
    int number = 0;
    while (isdigit((unsigned char)*format->at)) {
        int digit = *format->at++ - '0';
        if (number > (INT_MAX - digit) / 10) {
            luaL_error(lua, "integral size overflow");
        }
        number = number * 10 + digit;
    }
    return number;
}

/* Bytes that a letter stands for; 0 for those that do not say. */
static size_t take_size(lua_State *lua, struct format *format, char letter)
{
    switch (letter) {
    case 'B':
    case 'b':
    case 'x':
        return 1;
    case 'H':
    case 'h':
        return sizeof(short);
    case 'L':
    case 'l':
        return sizeof(long);
    case 'T':
        return sizeof(size_t);
    case 'f':
        return sizeof(float);
    case 'd':
        return sizeof(double);
    case 'c':
        return (size_t)take_digits(lua, format, 1);
    case 'i':
    case 'I': {
        int size = take_digits(lua, format, sizeof(int));
        if (size > INTEGER_SIZE_MAX) {
            luaL_error(lua, "integral size %d is larger than limit of %d", size, INTEGER_SIZE_MAX);
        }
        return (size_t)size;
    }
    default:
        return 0;
    }
}

static size_t padding_of(const struct format *format, size_t position, char letter, size_t size)
{
    if (size == 0 || letter == 'c') {
        return 0;
    }
    size = size > format->align ? format->align : size;
    return (size - (position & (size - 1))) & (size - 1);
}

/* Letters that say how to go on. */
static void take_control(lua_State *lua, struct format *format, char letter)
{
    switch (letter) {
    case ' ':
        break;
    case '>':
        format->is_little = false;
        break;
    case '<':
        format->is_little = true;
        break;
    case '!': {
        int align = take_digits(lua, format, ALIGN_DEFAULT);
        if (align <= 0 || (align & (align - 1)) != 0) {
            luaL_error(lua, "alignment %d is not a power of 2", align);
        }
        format->align = (size_t)align;
        break;
    }
    default:
        luaL_argerror(lua, 1, lua_pushfstring(lua, "invalid format option '%c'", letter));
    }
}

static bool is_integer(char letter)
{
    return strchr("bBhHlLTiI", letter) != NULL;
}

/* ---- pack ------------------------------------------------------------------------------------ */

static void put_integer(lua_State *lua, struct text *out, const struct format *format, int argument,
                        size_t size)
{
    double number = luaL_checknumber(lua, argument);
    uint64_t bits;
    if (number < 0) {
        bits = number >= -9223372036854775808.0 ? (uint64_t)(int64_t)number : UINT64_C(1) << 63;
    } else {
        bits = number < 18446744073709551616.0 ? (uint64_t)number : 0;
    }
    unsigned char bytes[INTEGER_SIZE_MAX];
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)(i < sizeof(bits) ? bits >> 8 * i & 0xFF : 0);
        bytes[format->is_little ? i : size - 1 - i] = byte;
    }
    text_append(lua, out, bytes, size);
}

static void put_real(lua_State *lua, struct text *out, const struct format *format, double number,
                     size_t size)
{
    unsigned char bytes[sizeof(double)];
    float narrow = (float)number;
    bool is_native = format->is_little == (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
    if (size == sizeof(float)) {
        memcpy(bytes, &narrow, size);
    } else {
        memcpy(bytes, &number, size);
    }
    for (size_t i = 0; !is_native && i < size / 2; i++) {
        unsigned char byte = bytes[i];
        bytes[i] = bytes[size - 1 - i];
        bytes[size - 1 - i] = byte;
    }
    text_append(lua, out, bytes, size);
}

static void put_string(lua_State *lua, struct text *out, char letter, int argument, size_t size)
{
    size_t len;
    const char *text = luaL_checklstring(lua, argument, &len);
    size = size == 0 ? len : size;
    luaL_argcheck(lua, len >= size, argument + 1, "string too short");
    text_append(lua, out, text, size);
    if (letter == 's') {
        text_append_byte(lua, out, 0);
    }
}

static void put_padding(lua_State *lua, struct text *out, size_t count)
{
    while (count-- > 0) {
        text_append_byte(lua, out, 0);
    }
}

static int struct_pack(lua_State *lua)
{
    struct format format = format_begin(luaL_checkstring(lua, 1));
    int argument = 2;
    lua_pushnil(lua); /* What a format with too few arguments finds. */
    struct text *out = text_push(lua);
    lua_replace(lua, lua_upvalueindex(1)); /* Not on the stack, where it would be an argument. */
    while (*format.at != '\0') {
        char letter = *format.at++;
        size_t size = take_size(lua, &format, letter);
        put_padding(lua, out, padding_of(&format, out->len, letter, size));
        if (is_integer(letter)) {
            put_integer(lua, out, &format, argument++, size);
        } else if (letter == 'x') {
            text_append_byte(lua, out, 0);
        } else if (letter == 'f' || letter == 'd') {
            put_real(lua, out, &format, luaL_checknumber(lua, argument++), size);
        } else if (letter == 'c' || letter == 's') {
            put_string(lua, out, letter, argument++, size);
        } else {
            take_control(lua, &format, letter);
        }
    }
    text_push_string(lua, out);
    return 1;
}

/* ---- unpack ---------------------------------------------------------------------------------- */

static double get_integer(const struct format *format, const char *bytes, size_t size,
                          bool is_signed)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < size; i++) {
        size_t at = format->is_little ? size - 1 - i : i;
        bits = bits << 8 | (unsigned char)bytes[at];
    }
    if (!is_signed) {
        return (double)bits;
    }
    if (size > 0 && size < sizeof(bits) && (bits >> (8 * size - 1) & 1) != 0) {
        bits |= UINT64_MAX << 8 * size;
    }
    return (double)(int64_t)bits;
}

static double get_real(const struct format *format, const char *bytes, size_t size)
{
    char native[sizeof(double)] = {0};
    bool is_native = format->is_little == (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
    for (size_t i = 0; i < size; i++) {
        native[i] = bytes[is_native ? i : size - 1 - i];
    }
    float narrow = 0;
    double number = 0;
    if (size == sizeof(float)) {
        memcpy(&narrow, native, size);
        return (double)narrow;
    }
    memcpy(&number, native, size);
    return number;
}

/* What unpack reads and what it has pushed. */
struct unpacking {
    lua_State *lua;
    struct format format;
    const char *data;
    size_t len, position;
    int count;
};

static void check_room(const struct unpacking *unpacking, size_t size)
{
    bool fits = size <= unpacking->len && unpacking->position <= unpacking->len - size;
    luaL_argcheck(unpacking->lua, fits, 2, "data string too short");
}

/* Bytes of a string whose length is `size`, or the number read before. Returns the length. */
static size_t get_chars(struct unpacking *unpacking, size_t size)
{
    lua_State *lua = unpacking->lua;
    if (size == 0) {
        if (unpacking->count == 0 || !lua_isnumber(lua, -1)) {
            luaL_error(lua, "format 'c0' needs a previous size");
        }
        double wanted = lua_tonumber(lua, -1);
        luaL_argcheck(lua, wanted >= 0 && wanted <= (double)unpacking->len, 2,
                      "data string too short");
        size = (size_t)wanted;
        lua_pop(lua, 1);
        unpacking->count--;
        check_room(unpacking, size);
    }
    lua_pushlstring(lua, unpacking->data + unpacking->position, size);
    unpacking->count++;
    return size;
}

static size_t get_string(struct unpacking *unpacking)
{
    const char *start = unpacking->data + unpacking->position;
    const char *end = memchr(start, '\0', unpacking->len - unpacking->position);
    if (end == NULL) {
        luaL_error(unpacking->lua, "unfinished string in data");
    }
    size_t len = (size_t)(end - start);
    lua_pushlstring(unpacking->lua, start, len);
    unpacking->count++;
    return len + 1;
}

/* Reads what one letter stands for; returns how many bytes it took. */
static size_t unpack_letter(struct unpacking *unpacking, char letter, size_t size)
{
    lua_State *lua = unpacking->lua;
    const char *at = unpacking->data + unpacking->position;
    if (is_integer(letter)) {
        bool is_signed = islower((unsigned char)letter) != 0;
        lua_pushnumber(lua, get_integer(&unpacking->format, at, size, is_signed));
        unpacking->count++;
    } else if (letter == 'f' || letter == 'd') {
        lua_pushnumber(lua, get_real(&unpacking->format, at, size));
        unpacking->count++;
    } else if (letter == 'c') {
        return get_chars(unpacking, size);
    } else if (letter == 's') {
        return get_string(unpacking);
    } else if (letter != 'x') {
        take_control(lua, &unpacking->format, letter);
    }
    return size;
}

static int struct_unpack(lua_State *lua)
{
    struct unpacking unpacking = {.lua = lua, .format = format_begin(luaL_checkstring(lua, 1))};
    unpacking.data = luaL_checklstring(lua, 2, &unpacking.len);
    lua_Integer position = luaL_optinteger(lua, 3, 1);
    luaL_argcheck(lua, position > 0, 3, "offset must be 1 or greater");
    unpacking.position = (size_t)position - 1;
    while (*unpacking.format.at != '\0') {
        char letter = *unpacking.format.at++;
        size_t size = take_size(lua, &unpacking.format, letter);
        unpacking.position += padding_of(&unpacking.format, unpacking.position, letter, size);
        check_room(&unpacking, size);
        luaL_checkstack(lua, 2, "too many results");
        unpacking.position += unpack_letter(&unpacking, letter, size);
    }
    lua_pushinteger(lua, (lua_Integer)unpacking.position + 1);
    return unpacking.count + 1;
}

/* ---- size ------------------------------------------------------------------------------------ */

static int struct_size(lua_State *lua)
{
    struct format format = format_begin(luaL_checkstring(lua, 1));
    size_t position = 0;
    while (*format.at != '\0') {
        char letter = *format.at++;
        size_t size = take_size(lua, &format, letter);
        position += padding_of(&format, position, letter, size);
        if (letter == 's') {
            return luaL_argerror(lua, 1, "option 's' has no fixed size");
        }
        if (letter == 'c' && size == 0) {
            return luaL_argerror(lua, 1, "option 'c0' has no fixed size");
        }
        if (!isalnum((unsigned char)letter)) {
            take_control(lua, &format, letter);
        }
        position += size;
    }
    lua_pushinteger(lua, (lua_Integer)position);
    return 1;
}

int struct_open(lua_State *lua)
{
    lua_newtable(lua);
    lua_pushnil(lua);
    lua_pushcclosure(lua, struct_pack, 1);
    lua_setfield(lua, -2, "pack");
    lua_pushcfunction(lua, struct_unpack);
    lua_setfield(lua, -2, "unpack");
    lua_pushcfunction(lua, struct_size);
    lua_setfield(lua, -2, "size");
    return 1;
}
