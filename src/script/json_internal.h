/* What the two directions of cjson share: json.c writes, json_read.c reads. */
#pragma once

#include <lua.h>

/* What becomes of numbers that JSON does not have. */
enum { INVALID_OFF, INVALID_ON, INVALID_NULL };

/* Of one table of cjson's functions: cjson.new gives others. */
struct json_settings {
    int sparse_convert, sparse_ratio, sparse_safe;
    int encode_depth_max, decode_depth_max;
    int encode_invalid, decode_invalid;
    int precision;
    int is_keeping;
};

/* The settings of the function that runs: its first upvalue. */
static inline struct json_settings *json_settings_of(lua_State *lua)
{
    return lua_touserdata(lua, lua_upvalueindex(1));
}

/* cjson.decode(text): the value. Raises. */
int json_decode(lua_State *lua);
