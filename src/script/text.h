/* Bytes that a function of C collects for a script. They belong to Lua's collector, so that nothing
 * is lost when an error is raised, and count as the scripts' memory. Never included from outside
 * src/script/. */
#pragma once

#include <lua.h>
#include <stddef.h>

#include "base/slice.h"

struct text {
    char *data;
    size_t len, cap;
};

/* Pushes an empty one. It stays valid while it is on the stack. */
struct text *text_push(lua_State *lua);

/* Appends; raises when there is no memory. */
void text_append(lua_State *lua, struct text *text, const void *bytes, size_t len);
void text_append_byte(lua_State *lua, struct text *text, int byte);

/* Pushes what was collected as a string and lets go of the bytes. */
void text_push_string(lua_State *lua, struct text *text);
