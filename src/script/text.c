/* A growing buffer that Lua's collector owns: a userdata with the memory of the buffer behind it,
 * taken and counted by the state's own allocator. */
#include "script/text.h"

#include <lauxlib.h>
#include <string.h>

enum { TEXT_CAP_MIN = 64 };

static const char text_kind[] = "ouro.text";

static void resize(lua_State *lua, struct text *text, size_t cap)
{
    void *context;
    lua_Alloc alloc = lua_getallocf(lua, &context);
    char *data = alloc(context, text->data, text->cap, cap);
    if (data == NULL && cap != 0) {
        luaL_error(lua, "not enough memory");
    }
    text->data = data;
    text->cap = cap;
}

static int text_collect(lua_State *lua)
{
    struct text *text = lua_touserdata(lua, 1);
    resize(lua, text, 0);
    return 0;
}

struct text *text_push(lua_State *lua)
{
    struct text *text = lua_newuserdata(lua, sizeof(*text));
    *text = (struct text){0};
    if (luaL_newmetatable(lua, text_kind)) {
        lua_pushcfunction(lua, text_collect);
        lua_setfield(lua, -2, "__gc");
    }
    lua_setmetatable(lua, -2);
    return text;
}

void text_append(lua_State *lua, struct text *text, const void *bytes, size_t len)
{
    if (text->cap - text->len < len) {
        size_t cap = text->cap * 2 > TEXT_CAP_MIN ? text->cap * 2 : TEXT_CAP_MIN;
        resize(lua, text, cap < text->len + len ? text->len + len : cap);
    }
    if (len != 0) {
        memcpy(text->data + text->len, bytes, len);
        text->len += len;
    }
}

void text_append_byte(lua_State *lua, struct text *text, int byte)
{
    char single = (char)byte;
    text_append(lua, text, &single, 1);
}

void text_push_string(lua_State *lua, struct text *text)
{
    lua_pushlstring(lua, text->len != 0 ? text->data : "", text->len);
    text->len = 0;
    resize(lua, text, 0);
}
