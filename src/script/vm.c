/* A Lua state: its memory, its compiler, its life.
 *
 * All memory of a state comes through one function, which counts it and refuses what is above the
 * limit; Lua then collects garbage or raises "not enough memory", which is an error like any other
 * for the script. So a script cannot take more than script-memory-max, whatever it builds.
 *
 * The compiler is given text alone: the first byte of a binary chunk is refused before Lua sees it,
 * for nothing checks byte code, and made-up byte code reads and writes any memory. The collector
 * rests while text is compiled: Lua 5.1 does not keep the chunk's name alive meanwhile.
 *
 * Whatever the server itself does with a state outside of a protected call is done with the limit
 * off: an error raised there ends the process, or leaves a half-written reply. It takes a few
 * hundred bytes, so that the limit may be exceeded by as much.
 *
 * Lua 5.1 does not collect when an allocation fails, and its collector waits until the heap has
 * doubled. So garbage at the limit would stay there and fail every script to come: above half of
 * the limit it is collected when a script has ended.
 *
 * Rejected: LuaJIT (docs/decisions/0041). */
#include <openssl/sha.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "script/script_internal.h"

enum {
    LARGE_MIN = 16 * 1024,        /* Bytes of a block that is charged. */
    CHARGE_MAX = 4 * 1024 * 1024, /* Bytes between two looks at the clock: about a millisecond. */

    /* The collector begins a round when the state has grown to so many percent of what the last one
     * left, and then goes so many times as fast as the script allocates. All of a small state is
     * marked for little garbage: it may grow longer, but not out of the caches. */
    PAUSE = 200,
    SMALL_PAUSE = 500,
    SMALL_MAX = 512 * 1024, /* Bytes of a small state. */
    STEP_PERCENT = 200,
};

/* Whoever asks for a large block is about to fill it, which no hook sees. False: the script is to
 * end. */
static bool charge(struct vm *vm, size_t size)
{
    vm->charge += size;
    if (vm->charge < CHARGE_MAX) {
        return true;
    }
    vm->charge = 0;
    return run_breathe(vm->script);
}

static void *vm_alloc(void *context, void *block, size_t old_size, size_t size)
{
    struct vm *vm = context;
    const struct script *script = vm->script;
    if (size == 0) {
        if (block != NULL) {
            vm->memory -= old_size;
            mem_free_sized(block, old_size);
        }
        return NULL;
    }
    size_t held = block != NULL ? old_size : 0;
    size_t all = script->eval.memory + script->functions.memory;
    bool is_bounded = !script->is_unbounded;
    if (is_bounded && size > held && all + (size - held) > script->options.memory_max) {
        return NULL;
    }
    if (is_bounded && size >= LARGE_MIN && !charge(vm, size)) {
        return NULL;
    }
    void *grown = is_bounded ? mem_try_realloc(block, size) : mem_realloc(block, size);
    if (grown != NULL) {
        vm->memory += size - held;
    }
    return grown;
}

struct vm *vm_of(lua_State *lua)
{
    void *context = NULL;
    lua_getallocf(lua, &context);
    return context;
}

static int build(lua_State *lua)
{
    sandbox_build(lua);
    run_push_enter(lua);
    vm_of(lua)->enter = luaL_ref(lua, LUA_REGISTRYINDEX);
    return 0;
}

bool vm_open(struct vm *vm, struct script *script)
{
    *vm = (struct vm){.script = script, .random = {0x330E, 0xABCD, 0x1234}};
    vm->lua = lua_newstate(vm_alloc, vm);
    if (vm->lua == NULL) {
        return false;
    }
    if (lua_cpcall(vm->lua, build, NULL) != 0) {
        vm_close(vm);
        return false;
    }
    return true;
}

void vm_close(struct vm *vm)
{
    if (vm->lua != NULL) {
        lua_close(vm->lua);
        vm->lua = NULL;
    }
}

bool vm_compile(struct vm *vm, struct slice code, const char *chunk_name)
{
    if (code.len != 0 && *code.data == LUA_SIGNATURE[0]) {
        vm->script->is_unbounded = true;
        lua_pushfstring(vm->lua, "%s: a binary chunk is no script", chunk_name + 1);
        vm->script->is_unbounded = false;
        return false;
    }
    lua_gc(vm->lua, LUA_GCSTOP, 0);
    int result = luaL_loadbuffer(vm->lua, code.len != 0 ? code.data : "", code.len, chunk_name);
    lua_gc(vm->lua, LUA_GCRESTART, 0);
    return result == 0;
}

int vm_keep(struct vm *vm)
{
    vm->script->is_unbounded = true;
    int reference = luaL_ref(vm->lua, LUA_REGISTRYINDEX);
    vm->script->is_unbounded = false;
    return reference;
}

void vm_pace(struct vm *vm)
{
    int wanted = vm->memory < SMALL_MAX ? SMALL_PAUSE : PAUSE;
    if (vm->pause == wanted) {
        return;
    }
    if (vm->pause == 0) {
        lua_gc(vm->lua, LUA_GCRESTART, 0); /* Begins a round at once, so not each time. */
        lua_gc(vm->lua, LUA_GCSETSTEPMUL, STEP_PERCENT);
    }
    vm->pause = wanted;
    lua_gc(vm->lua, LUA_GCSETPAUSE, wanted);
}

bool vm_collect_step(struct vm *vm)
{
    enum { STEP_KB = 100 };
    const struct script *script = vm->script;
    size_t held = script->eval.memory + script->functions.memory;
    size_t max = script->options.memory_max;
    vm->script->lasting = held < script->lasting ? held : script->lasting;
    size_t slack = script->lasting < max ? (max - script->lasting) / 2 : 0;
    if (held <= max / 2 || held <= script->lasting + slack / 2) {
        return true;
    }
    vm->script->is_unbounded = true; /* A finalizer may need room for its call. */
    bool is_round = lua_gc(vm->lua, LUA_GCSTEP, STEP_KB) != 0;
    vm->script->is_unbounded = false;
    if (!is_round || ++vm->rounds % 2 != 0) {
        return false;
    }
    vm->script->lasting = script->eval.memory + script->functions.memory;
    return true;
}

void vm_collect(struct vm *vm)
{
    while (!vm_collect_step(vm)) {
    }
}

void vm_unkeep(struct vm *vm, int reference)
{
    luaL_unref(vm->lua, LUA_REGISTRYINDEX, reference);
}

void script_sha(struct slice text, char out[SCRIPT_SHA_LEN + 1])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char sum[SHA_DIGEST_LENGTH];
    static_assert(2 * SHA_DIGEST_LENGTH == SCRIPT_SHA_LEN, "two digits to a byte");
    SHA1((const unsigned char *)(text.len != 0 ? text.data : ""), text.len, sum);
    for (unsigned i = 0; i < SHA_DIGEST_LENGTH; i++) {
        out[2 * i] = digits[sum[i] >> 4];
        out[2 * i + 1] = digits[sum[i] & 15];
    }
    out[SCRIPT_SHA_LEN] = '\0';
}
