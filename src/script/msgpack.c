/* cmsgpack for scripts: MessagePack from Lua values and back, as lua-cmsgpack 0.4 does it.
 *
 *     whole numbers     the shortest integer form
 *     other numbers     4 bytes when that loses nothing, else 8
 *     strings           str; bin is unknown
 *     tables            an array when the keys are 1 to n (an empty one as well), else a map
 *     nesting           16 levels are written; what lies deeper becomes nil
 *     all else          nil
 *
 * Format: the MessagePack specification, without its extension types. */
#include <math.h>
#include <string.h>

#include "script/script_internal.h"
#include "script/text.h"

enum { NESTING_MAX = 16 };

/* ---- Writing --------------------------------------------------------------------------------- */

struct packer {
    lua_State *lua;
    struct text *text;
};

static void pack_value(struct packer *packer, int level);

/* A head byte and a number of that many bytes, highest first. */
static void put_head(struct packer *packer, unsigned head, uint64_t number, unsigned bytes)
{
    unsigned char out[9];
    out[0] = (unsigned char)head;
    for (unsigned i = 0; i < bytes; i++) {
        out[1 + i] = (unsigned char)(number >> 8 * (bytes - 1 - i));
    }
    text_append(packer->lua, packer->text, out, 1 + bytes);
}

static void put_integer(struct packer *packer, int64_t number)
{
    uint64_t bits = (uint64_t)number;
    if (number >= 0) {
        if (number <= 127) {
            put_head(packer, (unsigned)number, 0, 0);
        } else if (number <= 0xFF) {
            put_head(packer, 0xCC, bits, 1);
        } else if (number <= 0xFFFF) {
            put_head(packer, 0xCD, bits, 2);
        } else if (number <= 0xFFFFFFFF) {
            put_head(packer, 0xCE, bits, 4);
        } else {
            put_head(packer, 0xCF, bits, 8);
        }
    } else if (number >= -32) {
        put_head(packer, (unsigned)(number & 0xFF), 0, 0);
    } else if (number >= INT8_MIN) {
        put_head(packer, 0xD0, bits, 1);
    } else if (number >= INT16_MIN) {
        put_head(packer, 0xD1, bits, 2);
    } else if (number >= INT32_MIN) {
        put_head(packer, 0xD2, bits, 4);
    } else {
        put_head(packer, 0xD3, bits, 8);
    }
}

static void put_real(struct packer *packer, double number)
{
    float narrow = (float)number;
    uint32_t bits32;
    uint64_t bits64;
    if ((double)narrow == number) {
        memcpy(&bits32, &narrow, sizeof(bits32));
        put_head(packer, 0xCA, bits32, 4);
    } else {
        memcpy(&bits64, &number, sizeof(bits64));
        put_head(packer, 0xCB, bits64, 8);
    }
}

static void put_number(struct packer *packer)
{
    double number = lua_tonumber(packer->lua, -1);
    bool fits = number >= -9223372036854775808.0 && number < 9223372036854775808.0;
    if (fits && (double)(int64_t)number == number) {
        put_integer(packer, (int64_t)number);
    } else {
        put_real(packer, number);
    }
}

static void put_string(struct packer *packer)
{
    size_t len;
    const char *text = lua_tolstring(packer->lua, -1, &len);
    if (len < 32) {
        put_head(packer, (unsigned)(0xA0 | len), 0, 0);
    } else if (len <= 0xFF) {
        put_head(packer, 0xD9, len, 1);
    } else if (len <= 0xFFFF) {
        put_head(packer, 0xDA, len, 2);
    } else {
        put_head(packer, 0xDB, len, 4);
    }
    text_append(packer->lua, packer->text, text, len);
}

/* Whether the keys of the table on top of the stack are 1 to n; `*count` is how many there are. */
static bool is_array(lua_State *lua, size_t *count)
{
    double highest = 0;
    bool is_one = true;
    *count = 0;
    for (lua_pushnil(lua); lua_next(lua, -2) != 0; lua_pop(lua, 1)) {
        double key = lua_type(lua, -2) == LUA_TNUMBER ? lua_tonumber(lua, -2) : 0;
        is_one = is_one && key > 0 && floor(key) == key;
        highest = key > highest ? key : highest;
        (*count)++;
    }
    return is_one && highest == (double)*count;
}

static void put_array(struct packer *packer, size_t count, int level)
{
    if (count <= 15) {
        put_head(packer, (unsigned)(0x90 | count), 0, 0);
    } else if (count <= 0xFFFF) {
        put_head(packer, 0xDC, count, 2);
    } else {
        put_head(packer, 0xDD, count, 4);
    }
    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(packer->lua, -1, (int)i);
        pack_value(packer, level + 1);
    }
}

static void put_map(struct packer *packer, size_t count, int level)
{
    lua_State *lua = packer->lua;
    if (count <= 15) {
        put_head(packer, (unsigned)(0x80 | count), 0, 0);
    } else if (count <= 0xFFFF) {
        put_head(packer, 0xDE, count, 2);
    } else {
        put_head(packer, 0xDF, count, 4);
    }
    for (lua_pushnil(lua); lua_next(lua, -2) != 0;) {
        lua_pushvalue(lua, -2);
        pack_value(packer, level + 1);
        pack_value(packer, level + 1);
    }
}

static void put_table(struct packer *packer, int level)
{
    size_t count;
    luaL_checkstack(packer->lua, 8, "too many levels");
    if (is_array(packer->lua, &count)) {
        put_array(packer, count, level);
    } else {
        put_map(packer, count, level);
    }
}

/* Writes the value on top of the stack and pops it. */
static void pack_value(struct packer *packer, int level)
{
    enum { NIL = 0xC0, FALSE = 0xC2, TRUE = 0xC3 };
    int type = lua_type(packer->lua, -1);
    if (type == LUA_TTABLE && level == NESTING_MAX) {
        type = LUA_TNIL;
    }
    switch (type) {
    case LUA_TSTRING:
        put_string(packer);
        break;
    case LUA_TBOOLEAN:
        put_head(packer, lua_toboolean(packer->lua, -1) ? TRUE : FALSE, 0, 0);
        break;
    case LUA_TNUMBER:
        put_number(packer);
        break;
    case LUA_TTABLE:
        put_table(packer, level);
        break;
    default:
        put_head(packer, NIL, 0, 0);
        break;
    }
    lua_pop(packer->lua, 1);
}

static int msgpack_pack(lua_State *lua)
{
    int count = lua_gettop(lua);
    if (count == 0) {
        return luaL_argerror(lua, 0, "MessagePack pack needs input.");
    }
    luaL_checkstack(lua, LUA_MINSTACK, "too many arguments");
    struct packer packer = {.lua = lua, .text = text_push(lua)};
    lua_insert(lua, 1);
    for (int i = 2; i <= count + 1; i++) {
        lua_pushvalue(lua, i);
        pack_value(&packer, 0);
    }
    text_push_string(lua, packer.text);
    return 1;
}

/* ---- Reading --------------------------------------------------------------------------------- */

struct unpacker {
    lua_State *lua;
    const unsigned char *at, *end;
};

static void unpack_value(struct unpacker *unpacker);

static void refuse_end(struct unpacker *unpacker)
{
    luaL_error(unpacker->lua, "Missing bytes in input.");
}

/* A number of that many bytes, highest first. */
static uint64_t take_number(struct unpacker *unpacker, unsigned bytes)
{
    uint64_t number = 0;
    if ((size_t)(unpacker->end - unpacker->at) < bytes) {
        refuse_end(unpacker);
    }
    for (unsigned i = 0; i < bytes; i++) {
        number = number << 8 | *unpacker->at++;
    }
    return number;
}

static void take_string(struct unpacker *unpacker, uint64_t len)
{
    if ((uint64_t)(unpacker->end - unpacker->at) < len) {
        refuse_end(unpacker);
    }
    lua_pushlstring(unpacker->lua, (const char *)unpacker->at, (size_t)len);
    unpacker->at += len;
}

static void take_array(struct unpacker *unpacker, uint64_t count)
{
    luaL_checkstack(unpacker->lua, 8, "too many levels");
    lua_newtable(unpacker->lua);
    for (uint64_t i = 1; i <= count; i++) {
        unpack_value(unpacker);
        lua_rawseti(unpacker->lua, -2, (int)i);
    }
}

static void take_map(struct unpacker *unpacker, uint64_t count)
{
    luaL_checkstack(unpacker->lua, 8, "too many levels");
    lua_newtable(unpacker->lua);
    for (uint64_t i = 0; i < count; i++) {
        unpack_value(unpacker);
        unpack_value(unpacker);
        lua_settable(unpacker->lua, -3);
    }
}

static void take_real(struct unpacker *unpacker, unsigned bytes)
{
    uint64_t bits = take_number(unpacker, bytes);
    if (bytes == 4) {
        uint32_t bits32 = (uint32_t)bits;
        float narrow;
        memcpy(&narrow, &bits32, sizeof(narrow));
        lua_pushnumber(unpacker->lua, (double)narrow);
    } else {
        double number;
        memcpy(&number, &bits, sizeof(number));
        lua_pushnumber(unpacker->lua, number);
    }
}

static void take_signed(struct unpacker *unpacker, unsigned bytes)
{
    unsigned unused = 64 - 8 * bytes;
    int64_t number = (int64_t)(take_number(unpacker, bytes) << unused) >> unused;
    lua_pushnumber(unpacker->lua, (double)number);
}

/* The forms with a head byte of their own: 0xC0 to 0xDF. */
static void take_headed(struct unpacker *unpacker, unsigned head)
{
    switch (head) {
    case 0xC0:
        lua_pushnil(unpacker->lua);
        break;
    case 0xC2:
    case 0xC3:
        lua_pushboolean(unpacker->lua, head == 0xC3);
        break;
    case 0xCA:
    case 0xCB:
        take_real(unpacker, 4U << (head - 0xCA));
        break;
    case 0xCC:
    case 0xCD:
    case 0xCE:
        lua_pushnumber(unpacker->lua, (double)take_number(unpacker, 1U << (head - 0xCC)));
        break;
    case 0xCF: /* By way of a signed number, as the library of Debian has it. */
        lua_pushnumber(unpacker->lua, (double)(int64_t)take_number(unpacker, 8));
        break;
    case 0xD0:
    case 0xD1:
    case 0xD2:
    case 0xD3:
        take_signed(unpacker, 1U << (head - 0xD0));
        break;
    case 0xD9:
    case 0xDA:
    case 0xDB:
        take_string(unpacker, take_number(unpacker, 1U << (head - 0xD9)));
        break;
    case 0xDC:
    case 0xDD:
        take_array(unpacker, take_number(unpacker, 2U << (head - 0xDC)));
        break;
    case 0xDE:
    case 0xDF:
        take_map(unpacker, take_number(unpacker, 2U << (head - 0xDE)));
        break;
    default:
        luaL_error(unpacker->lua, "Bad data format in input.");
    }
}

/* Pushes the next value. */
static void unpack_value(struct unpacker *unpacker)
{
    luaL_checkstack(unpacker->lua, 4, "too many levels");
    unsigned head = (unsigned)take_number(unpacker, 1);
    if (head <= 0x7F) {
        lua_pushnumber(unpacker->lua, head);
    } else if (head >= 0xE0) {
        lua_pushnumber(unpacker->lua, (int)head - 256);
    } else if (head <= 0x8F) {
        take_map(unpacker, head & 0x0F);
    } else if (head <= 0x9F) {
        take_array(unpacker, head & 0x0F);
    } else if (head <= 0xBF) {
        take_string(unpacker, head & 0x1F);
    } else {
        take_headed(unpacker, head);
    }
}

/* Pushes up to `limit` values from `offset` on; 0 and 0: all. Otherwise where to go on, or -1,
 * comes first. */
static int unpack(lua_State *lua, int limit, int offset)
{
    size_t len;
    const char *bytes = luaL_checklstring(lua, 1, &len);
    bool is_all = limit == 0 && offset == 0;
    if (offset < 0 || limit < 0) {
        return luaL_error(lua, "Invalid request to unpack with offset of %d and limit of %d.",
                          offset, (int)len);
    }
    if ((size_t)offset > len) {
        return luaL_error(lua, "Start offset %d greater than input length %d.", offset, (int)len);
    }
    struct unpacker unpacker = {.lua = lua,
                                .at = (const unsigned char *)bytes + offset,
                                .end = (const unsigned char *)bytes + len};
    int count = 0;
    lua_settop(lua, 1);
    while (unpacker.at != unpacker.end && (is_all || count < limit)) {
        unpack_value(&unpacker);
        count++;
    }
    if (is_all) {
        return count;
    }
    bool is_end = unpacker.at == unpacker.end;
    lua_pushinteger(lua, is_end ? -1 : unpacker.at - (const unsigned char *)bytes);
    lua_insert(lua, 2);
    return count + 1;
}

static int msgpack_unpack(lua_State *lua)
{
    return unpack(lua, 0, 0);
}

static int msgpack_unpack_one(lua_State *lua)
{
    int offset = luaL_optint(lua, 2, 0);
    return unpack(lua, 1, offset);
}

static int msgpack_unpack_limit(lua_State *lua)
{
    int limit = luaL_checkint(lua, 2);
    int offset = luaL_optint(lua, 3, 0);
    return unpack(lua, limit, offset);
}

int msgpack_open(lua_State *lua)
{
    static const luaL_Reg functions[] = {
        {"pack", msgpack_pack},
        {"unpack", msgpack_unpack},
        {"unpack_one", msgpack_unpack_one},
        {"unpack_limit", msgpack_unpack_limit},
        {NULL, NULL},
    };
    lua_newtable(lua);
    for (const luaL_Reg *function = functions; function->name != NULL; function++) {
        lua_pushcfunction(lua, function->func);
        lua_setfield(lua, -2, function->name);
    }
    lua_pushliteral(lua, "cmsgpack");
    lua_setfield(lua, -2, "_NAME");
    lua_pushliteral(lua, "lua-cmsgpack 0.4.0");
    lua_setfield(lua, -2, "_VERSION");
    lua_pushliteral(lua, "Copyright (C) 2012, Salvatore Sanfilippo");
    lua_setfield(lua, -2, "_COPYRIGHT");
    lua_pushliteral(lua, "MessagePack C implementation for Lua");
    lua_setfield(lua, -2, "_DESCRIPTION");
    return 1;
}
