/* Libraries of functions: what FUNCTION LOAD brings and FCALL finds.
 *
 *     libraries, by name            functions of all of them, by name in lower case
 *     [ lib a ][ lib b ]            [ f ][ g ][ h ]
 *       |  code                       |
 *       |  functions: f, h <----------'  name, description, flags, a function kept in the vm
 *
 * A library is a program that registers functions while it is loaded; then it sees nothing but
 * `redis.register_function` and the log (sandbox.c). It is built aside and put in place at one
 * moment: a library that fails leaves everything as it was.
 *
 * Both lists are sorted arrays: libraries come rarely, FCALL searches in O(log n).
 *
 * Invariants:
 *   1. Names of functions are unique over all libraries, without regard to case.
 *   2. The list of functions holds exactly the functions of the listed libraries. */
#include "script/library.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"

enum {
    LOAD_MS_MAX = 500, /* A library that takes longer to load is refused. */
    LOOK_INSTRUCTIONS = 100 * 1000,
};

static const char bad_name[] = "Library names can only contain letters, numbers, or underscores(_) "
                               "and must be at least one character long";

/* What FUNCTION LOAD builds, while its code runs. */
struct library_load {
    struct library *library;
    int64_t deadline_us;
};

/* ---- One library ----------------------------------------------------------------------------- */

static char *copy_text(struct slice text)
{
    char *copy = mem_alloc(text.len + 1);
    if (text.len != 0) {
        memcpy(copy, text.data, text.len);
    }
    copy[text.len] = '\0';
    return copy;
}

/* Without the functions in Lua. */
static void library_free_pieces(struct library *library)
{
    while (library->functions != NULL) {
        struct function *function = library->functions;
        library->functions = function->next;
        mem_free(function->name);
        mem_free(function->description);
        mem_free(function);
    }
    mem_free(library->name);
    mem_free(library->code);
    mem_free(library);
}

void library_free(struct script *script, struct library *library)
{
    for (const struct function *at = library->functions; at != NULL; at = at->next) {
        vm_unkeep(&script->functions, at->reference);
    }
    library_free_pieces(library);
}

static bool is_name(struct slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (!isalnum((unsigned char)name.data[i]) && name.data[i] != '_') {
            return false;
        }
    }
    return name.len != 0;
}

static struct function *function_in(const struct library *library, const char *name)
{
    struct function *function = library->functions;
    while (function != NULL && strcasecmp(function->name, name) != 0) {
        function = function->next;
    }
    return function;
}

static size_t library_memory(const struct library *library)
{
    size_t memory = sizeof(*library) + library->code_len;
    for (const struct function *at = library->functions; at != NULL; at = at->next) {
        memory += sizeof(*at) + strlen(at->name);
    }
    return memory;
}

static void note_memory(struct script *script, ptrdiff_t more)
{
    script->pieces += (size_t)more;
    script->library_pieces += (size_t)more;
}

/* ---- Registering ----------------------------------------------------------------------------- */

static int raise(lua_State *lua, const char *text)
{
    lua_createtable(lua, 0, 1);
    lua_pushfstring(lua, "ERR %s", text);
    lua_setfield(lua, -2, "err");
    return lua_error(lua);
}

/* What register_function was told, on the Lua stack: 0 is absent. */
struct registration {
    int name, callback, description, flags;
};

static uint32_t read_flags(lua_State *lua, int index)
{
    uint32_t flags = 0;
    for (int i = 1;; i++) {
        lua_rawgeti(lua, index, i);
        if (lua_isnil(lua, -1)) {
            lua_pop(lua, 1);
            return flags;
        }
        size_t len = 0;
        const char *name = lua_tolstring(lua, -1, &len);
        uint32_t flag = name != NULL ? script_flag_of(slice_of(name, len)) : 0;
        if (flag == 0) {
            raise(lua, "unknown flag given");
        }
        flags |= flag;
        lua_pop(lua, 1);
    }
}

/* Named arguments: each known field of the table at 1 is pushed. */
static void read_named(lua_State *lua, struct registration *out)
{
    if (!lua_istable(lua, 1)) {
        raise(lua, "calling redis.register_function with a single argument is only applicable to "
                   "Lua table (representing named arguments).");
    }
    for (lua_pushnil(lua); lua_next(lua, 1) != 0;) {
        luaL_checkstack(lua, LUA_MINSTACK, "too many arguments");
        const char *key = lua_type(lua, -2) == LUA_TSTRING ? lua_tostring(lua, -2) : "";
        int *place = NULL;
        if (strcasecmp(key, "function_name") == 0) {
            place = &out->name;
        } else if (strcasecmp(key, "description") == 0) {
            place = &out->description;
        } else if (strcasecmp(key, "callback") == 0) {
            place = &out->callback;
        } else if (strcasecmp(key, "flags") == 0) {
            place = &out->flags;
        } else {
            raise(lua, "unknown argument given to redis.register_function");
            return;
        }
        lua_insert(lua, -2); /* The value stays, below the key that lua_next goes on with. */
        *place = lua_gettop(lua) - 1;
    }
}

static void check_named(lua_State *lua, const struct registration *given)
{
    if (given->name != 0 && !lua_isstring(lua, given->name)) {
        raise(lua, "function_name argument given to redis.register_function must be a string");
    }
    if (given->description != 0 && !lua_isstring(lua, given->description)) {
        raise(lua, "description argument given to redis.register_function must be a string");
    }
    if (given->callback != 0 && !lua_isfunction(lua, given->callback)) {
        raise(lua, "callback argument given to redis.register_function must be a function");
    }
    if (given->flags != 0 && !lua_istable(lua, given->flags)) {
        raise(lua, "flags argument to redis.register_function must be a table representing "
                   "function flags");
    }
    if (given->name == 0) {
        raise(lua, "redis.register_function must get a function name argument");
    }
    if (given->callback == 0) {
        raise(lua, "redis.register_function must get a callback argument");
    }
}

static void read_registration(lua_State *lua, struct registration *out)
{
    int count = lua_gettop(lua);
    *out = (struct registration){0};
    if (count < 1 || count > 2) {
        raise(lua, "wrong number of arguments to redis.register_function");
    }
    if (count == 1) {
        read_named(lua, out);
        check_named(lua, out);
        return;
    }
    if (!lua_isstring(lua, 1)) {
        raise(lua, "first argument to redis.register_function must be a string");
    }
    if (!lua_isfunction(lua, 2)) {
        raise(lua, "second argument to redis.register_function must be a function");
    }
    out->name = 1;
    out->callback = 2;
}

int library_register_function(lua_State *lua)
{
    struct script *script = vm_of(lua)->script;
    struct library_load *load = script->loading;
    if (load == NULL) {
        return raise(lua, "redis.register_function can only be called on FUNCTION LOAD command");
    }
    struct registration given;
    read_registration(lua, &given);
    size_t len;
    const char *name = lua_tolstring(lua, given.name, &len);
    uint32_t flags = given.flags != 0 ? read_flags(lua, given.flags) : 0;
    if (!is_name(slice_of(name, len))) {
        return raise(lua, bad_name);
    }
    if (function_in(load->library, name) != NULL) {
        return raise(lua, "Function already exists in the library");
    }
    lua_pushvalue(lua, given.callback);
    int reference = luaL_ref(lua, LUA_REGISTRYINDEX);
    /* Nothing below raises. */
    struct function *function = mem_zalloc(sizeof(*function));
    function->name = copy_text(slice_of(name, len));
    if (given.description != 0) {
        size_t text_len;
        const char *text = lua_tolstring(lua, given.description, &text_len);
        function->description = copy_text(slice_of(text, text_len));
    }
    function->flags = flags;
    function->reference = reference;
    function->library = load->library;
    function->next = load->library->functions;
    load->library->functions = function;
    load->library->function_count++;
    return 0;
}

/* ---- Loading --------------------------------------------------------------------------------- */

static void load_hook(lua_State *lua, lua_Debug *where)
{
    (void)where;
    const struct library_load *load = vm_of(lua)->script->loading;
    if (load != NULL && clock_mono_us() >= load->deadline_us) {
        raise(lua, "FUNCTION LOAD timeout");
    }
}

/* Calls the compiled code on top of the stack. False: the error object is there. */
static int enter_load(lua_State *lua)
{
    lua_pushcfunction(lua, run_on_error);
    lua_insert(lua, 1);
    sandbox_set_loading(lua, true);
    bool is_good = lua_pcall(lua, 0, 0, 1) == 0;
    lua_pushboolean(lua, is_good);
    lua_insert(lua, 2);
    return is_good ? 1 : 2;
}

static void append_error(lua_State *lua, struct buf *error)
{
    const char *text = lua_tostring(lua, -1);
    if (lua_istable(lua, -1)) {
        lua_getfield(lua, -1, "err");
        text = lua_tostring(lua, -1);
    }
    buf_printf(error, "ERR Error registering functions: %s", text != NULL ? text : "unknown error");
}

/* Runs the code of `library`. */
static bool run_load(struct script *script, struct library *library, struct slice code,
                     struct buf *error)
{
    struct vm *vm = &script->functions;
    if (!vm_compile(vm, code, "@user_function")) {
        buf_printf(error, "ERR Error compiling function: %s", lua_tostring(vm->lua, -1));
        lua_settop(vm->lua, 0);
        vm_collect(vm);
        return false;
    }
    struct library_load load = {.library = library,
                                .deadline_us = clock_mono_us() + LOAD_MS_MAX * 1000};
    script->loading = &load;
    lua_sethook(vm->lua, load_hook, LUA_MASKCOUNT, LOOK_INSTRUCTIONS);
    vm_pace(vm);
    script->is_unbounded = true;
    lua_pushcfunction(vm->lua, enter_load);
    script->is_unbounded = false;
    lua_insert(vm->lua, 1);
    bool is_good = lua_pcall(vm->lua, 1, LUA_MULTRET, 0) == 0 && lua_toboolean(vm->lua, 1);
    script->loading = NULL;
    script->is_unbounded = true;
    if (!is_good) {
        append_error(vm->lua, error);
    }
    lua_settop(vm->lua, 0);
    sandbox_set_loading(vm->lua, false);
    script->is_unbounded = false;
    vm_collect(vm);
    return is_good;
}

struct library *library_build(struct script *script, struct slice text, struct buf *error)
{
    struct shebang shebang;
    struct slice code;
    if (!shebang_read(text, true, &shebang, &code, error)) {
        return NULL;
    }
    if (script->functions.lua == NULL && !vm_open(&script->functions, script)) {
        buf_append_text(error, ERR_NO_MEMORY);
        return NULL;
    }
    struct library *library = mem_zalloc(sizeof(*library));
    library->name = copy_text(shebang.name);
    library->code = copy_text(text);
    library->code_len = text.len;
    bool is_good = run_load(script, library, code, error);
    if (is_good && library->functions == NULL) {
        buf_append_text(error, "ERR No functions registered");
        is_good = false;
    }
    if (!is_good) {
        library_free(script, library);
        return NULL;
    }
    return library;
}

bool library_read_name(struct slice text, struct slice *name, struct buf *error)
{
    struct shebang shebang;
    struct slice code;
    if (!shebang_read(text, true, &shebang, &code, error)) {
        return false;
    }
    if (shebang.name.data == NULL) {
        buf_append_text(error, "ERR Library name was not given");
        return false;
    }
    if (!is_name(shebang.name)) {
        buf_printf(error, "ERR %s", bad_name);
        return false;
    }
    *name = shebang.name;
    return true;
}

/* ---- The lists ------------------------------------------------------------------------------- */

struct libraries *libraries_new(void)
{
    return mem_zalloc(sizeof(struct libraries));
}

static int compare_text(const void *a, const void *b)
{
    const struct library *const *left = a, *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

static int compare_function(const void *a, const void *b)
{
    const struct function *const *left = a, *const *right = b;
    return strcasecmp((*left)->name, (*right)->name);
}

struct library *libraries_find(const struct libraries *libraries, struct slice name)
{
    for (size_t i = 0; i < libraries->count; i++) {
        if (slice_equal(slice_from_text(libraries->at[i]->name), name)) {
            return libraries->at[i];
        }
    }
    return NULL;
}

struct function *libraries_find_function(const struct libraries *libraries, struct slice name)
{
    size_t low = 0, high = libraries->function_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct function *function = libraries->functions[middle];
        size_t len = strlen(function->name);
        int order = strncasecmp(name.data, function->name, name.len < len ? name.len : len);
        if (order == 0) {
            order = (name.len > len) - (name.len < len);
        }
        if (order == 0) {
            return function;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

/* Makes the list of functions anew. */
static void index_functions(struct script *script)
{
    struct libraries *libraries = script->libraries;
    size_t count = 0, filled = 0;
    for (size_t i = 0; i < libraries->count; i++) {
        count += libraries->at[i]->function_count;
    }
    libraries->functions =
        mem_realloc(libraries->functions, (count + 1) * sizeof(struct function *));
    for (size_t i = 0; i < libraries->count; i++) {
        for (struct function *at = libraries->at[i]->functions; at != NULL; at = at->next) {
            libraries->functions[filled++] = at;
        }
    }
    ASSERT(filled == count);
    libraries->function_count = count;
    qsort(libraries->functions, count, sizeof(struct function *), compare_function);
}

void libraries_add(struct script *script, struct library *const *take_libraries, size_t count)
{
    struct libraries *libraries = script->libraries;
    size_t all = libraries->count + count;
    libraries->at = mem_realloc(libraries->at, (all + 1) * sizeof(struct library *));
    for (size_t i = 0; i < count; i++) {
        libraries->at[libraries->count++] = take_libraries[i];
        note_memory(script, (ptrdiff_t)library_memory(take_libraries[i]));
    }
    qsort(libraries->at, all, sizeof(struct library *), compare_text);
    index_functions(script);
}

void libraries_take(struct script *script, struct library *library)
{
    struct libraries *libraries = script->libraries;
    size_t index = 0;
    while (libraries->at[index] != library) {
        index++;
    }
    memmove(&libraries->at[index], &libraries->at[index + 1],
            (libraries->count - index - 1) * sizeof(struct library *));
    libraries->count--;
    note_memory(script, -(ptrdiff_t)library_memory(library));
    index_functions(script);
}

void libraries_flush(struct script *script)
{
    struct flushed flushed = {.libraries = script->libraries, .pieces = script->library_pieces};
    note_memory(script, -(ptrdiff_t)script->library_pieces);
    script->libraries = libraries_new();
    retire(script, &script->functions, &flushed);
}

void libraries_clear(struct script *script)
{
    struct libraries *libraries = script->libraries;
    for (size_t i = 0; i < libraries->count; i++) {
        library_free(script, libraries->at[i]);
    }
    note_memory(script, -(ptrdiff_t)script->library_pieces);
    libraries->count = 0;
    index_functions(script);
}

void libraries_free(struct libraries *take_libraries, struct retired *breath)
{
    for (size_t i = 0; i < take_libraries->count; i++) {
        library_free_pieces(take_libraries->at[i]);
        retire_breathe(breath);
    }
    mem_free(take_libraries->at);
    mem_free(take_libraries->functions);
    mem_free(take_libraries);
}

/* The first of its functions whose name another library has, `but` not counted; or NULL. */
static const struct function *collision_of(const struct libraries *libraries,
                                           const struct library *library, const struct library *but)
{
    for (const struct function *at = library->functions; at != NULL; at = at->next) {
        const struct function *other =
            libraries_find_function(libraries, slice_from_text(at->name));
        if (other != NULL && other->library != but) {
            return at;
        }
    }
    return NULL;
}

bool libraries_load(struct script *script, struct slice text, bool may_replace, struct buf *error)
{
    struct slice name;
    if (!library_read_name(text, &name, error)) {
        return false;
    }
    struct library *old = libraries_find(script->libraries, name);
    if (old != NULL && !may_replace) {
        buf_printf(error, "ERR Library '%s' already exists", old->name);
        return false;
    }
    struct library *library = library_build(script, text, error);
    if (library == NULL) {
        return false;
    }
    const struct function *collision = collision_of(script->libraries, library, old);
    if (collision != NULL) {
        buf_printf(error, "ERR Function %s already exists", collision->name);
        library_free(script, library);
        return false;
    }
    if (old != NULL) {
        libraries_take(script, old);
        library_free(script, old);
    }
    libraries_add(script, &library, 1);
    return true;
}
