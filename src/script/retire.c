/* Freeing what SCRIPT FLUSH and FUNCTION FLUSH have thrown away: a Lua state of up to
 * script-memory-max bytes, in blocks of some 40 bytes, and the list of what was kept in it.
 *
 *     retire --> a fiber: free the pieces, lua_close
 *                   |   ^
 *       40 us over: |   | the next slice (base/work.h)
 *                   v   |
 *                 parked                     at the end: whoever waits for it is answered
 *
 * lua_close is one call, but each block that it frees comes through the state's allocator, and this
 * is where the fiber lets go. So a state is freed in slices without Lua's knowledge, and nobody
 * else can reach it any more.
 *
 * There may be some at a time, the oldest first on script.retired. A flush that finds more than
 * script-memory-max bytes of them, its own included, or RETIRED_MAX, frees the oldest to their end
 * first: so a client that fills and flushes faster than a state is freed holds up others, as it
 * does in Redis, and twice the limit bounds what scripts hold.
 *
 * Measured: docs/decisions/0063.
 *
 * Rejected: steps of the collector before closing (its atomic phase and the resizing of the table
 * of strings are not cut, and the sweep costs twice); a thread (the allocator's counters and the
 * hook of assertions would have to know it). */
#include <stddef.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/fiber.h"
#include "base/mem.h"
#include "script/library.h"

enum {
#ifdef OURO_HOSTILE
    SLICE_US = 0,
    LOOK_PIECES = 3,
#else
    SLICE_US = 40,
    LOOK_PIECES = 64, /* Freed between two looks at the clock: about 5 us. */
#endif
    RETIRED_MAX = 8,        /* Each has a stack. */
    STACK_LEN = 256 * 1024, /* lua_close is shallow; the sanitizers are not. */
};

struct retired {
    struct vm vm; /* First: Lua's `ud` is the vm. */
    struct work_job job;
    struct list link; /* Of script.retired. */
    struct script *script;
    struct fiber *fiber; /* NULL: no memory for one, so that nothing parks. */
    struct flushed flushed;
    struct session *waiter; /* Is told when it is over, or NULL. */
    int64_t until_us;       /* End of the slice. */
    unsigned looks;         /* Pieces freed. */
};
static_assert(offsetof(struct retired, vm) == 0, "vm_of finds the vm");

void retire_breathe(struct retired *retired)
{
    if (retired != NULL && retired->fiber != NULL && ++retired->looks % LOOK_PIECES == 0 &&
        clock_mono_us() >= retired->until_us) {
        fiber_park(retired->fiber);
    }
}

/* The allocator of a state that is being closed. It grows only for the calls of finalizers. */
static void *closing_alloc(void *context, void *block, size_t old_size, size_t size)
{
    struct retired *retired = context;
    retired->vm.memory -= block != NULL ? old_size : 0;
    retired->vm.memory += size;
    if (size != 0) {
        return mem_realloc(block, size);
    }
    if (block != NULL) {
        mem_free_sized(block, old_size);
        retire_breathe(retired);
    }
    return NULL;
}

static void free_all(void *context)
{
    struct retired *retired = context;
    if (retired->flushed.cache != NULL) {
        cache_free(retired->flushed.cache, retired);
    }
    if (retired->flushed.libraries != NULL) {
        libraries_free(retired->flushed.libraries, retired);
    }
    retired->flushed.pieces = 0;
    if (retired->vm.lua != NULL) {
        lua_close(retired->vm.lua);
    }
}

/* Everything is freed but the struct itself. */
static void end(struct retired *retired)
{
    ASSERT(retired->vm.memory == 0);
    list_remove(&retired->link);
    retired->script->retired_count--;
    if (retired->waiter != NULL) {
        reply_ok(retired->waiter->out);
        session_resume(retired->waiter);
    }
    if (retired->fiber != NULL) {
        fiber_free(retired->fiber);
    }
    mem_free(retired);
}

static bool step(struct work_job *job)
{
    struct retired *retired = LIST_OWNER(job, struct retired, job);
    retired->until_us = clock_mono_us() + SLICE_US;
    if (!fiber_resume(retired->fiber)) {
        return false;
    }
    end(retired);
    return true;
}

static void finish(struct retired *retired)
{
    work_cancel(exec_work(retired->script->exec), &retired->job);
    retired->until_us = INT64_MAX;
    bool is_finished = fiber_resume(retired->fiber);
    ASSERT(is_finished);
    end(retired);
}

static struct retired *oldest(const struct script *script)
{
    return list_is_empty(&script->retired) ? NULL
                                           : LIST_OWNER(script->retired.next, struct retired, link);
}

/* For so many bytes more. */
static void make_room(struct script *script, size_t bytes)
{
    while (script->retired_count > 0 &&
           (script->retired_count >= RETIRED_MAX ||
            retire_memory(script) + bytes > script->options.memory_max)) {
        finish(oldest(script));
    }
}

void retire(struct script *script, struct vm *vm, const struct flushed *take_flushed)
{
    make_room(script, vm->memory + take_flushed->pieces);
    struct retired *retired = mem_zalloc(sizeof(*retired));
    retired->script = script;
    retired->vm = *vm;
    retired->flushed = *take_flushed;
    retired->fiber = fiber_try_new(STACK_LEN);
    *vm = (struct vm){.script = script};
    if (retired->vm.lua != NULL) {
        lua_setallocf(retired->vm.lua, closing_alloc, retired);
        lua_sethook(retired->vm.lua, NULL, 0, 0);
    }
    list_init(&retired->link);
    list_push_back(&script->retired, &retired->link);
    script->retired_count++;
    retired->until_us = clock_mono_us() + SLICE_US;
    if (retired->fiber == NULL) {
        free_all(retired);
        end(retired);
    } else if (fiber_run(retired->fiber, free_all, retired)) {
        end(retired);
    } else {
        work_add(exec_work(script->exec), &retired->job, step);
    }
}

void retire_finish(struct script *script)
{
    while (script->retired_count > 0) {
        finish(oldest(script));
    }
}

size_t retire_memory(const struct script *script)
{
    const struct list *head = &script->retired;
    size_t memory = 0;
    for (const struct list *node = head->next; node != head; node = node->next) {
        const struct retired *retired = LIST_OWNER(node, struct retired, link);
        memory += retired->vm.memory + retired->flushed.pieces;
    }
    return memory;
}

/* The client went. */
static void on_cancel(struct session *session, void *context)
{
    (void)session;
    ((struct retired *)context)->waiter = NULL;
}

void retire_reply(struct call *call, bool is_patient)
{
    const struct script *script = call->family;
    struct retired *retired =
        script->retired_count == 0 ? NULL : LIST_OWNER(script->retired.prev, struct retired, link);
    bool may_wait = !call->is_inner && call->session->ops != NULL &&
                    (call->session->flags & (SESSION_INTERNAL | SESSION_PRIMARY)) == 0;
    if (retired == NULL || retired->waiter != NULL || !is_patient || !may_wait) {
        reply_ok(call->out);
        return;
    }
    retired->waiter = call->session;
    session_suspend(call->session, on_cancel, retired);
}
