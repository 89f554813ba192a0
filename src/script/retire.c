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
 * One at a time: a flush that finds another under way frees that to its end first. So a client that
 * fills and flushes in turn holds up others, as it does in Redis, and twice the limit bounds what
 * scripts hold.
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
    STACK_LEN = 256 * 1024, /* lua_close is shallow; the sanitizers are not. */
};

struct retired {
    struct vm vm; /* First: Lua's `ud` is the vm. */
    struct work_job job;
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
    retired->script->retired = NULL;
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

void retire(struct script *script, struct vm *vm, const struct flushed *take_flushed)
{
    retire_finish(script);
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
    script->retired = retired;
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
    struct retired *retired = script->retired;
    if (retired == NULL) {
        return;
    }
    work_cancel(exec_work(script->exec), &retired->job);
    retired->until_us = INT64_MAX;
    bool is_finished = fiber_resume(retired->fiber);
    ASSERT(is_finished);
    end(retired);
}

size_t retire_memory(const struct script *script)
{
    const struct retired *retired = script->retired;
    return retired != NULL ? retired->vm.memory + retired->flushed.pieces : 0;
}

/* The client went. */
static void on_cancel(struct session *session, void *context)
{
    (void)session;
    ((struct retired *)context)->waiter = NULL;
}

void retire_reply(struct call *call, bool is_patient)
{
    struct retired *retired = ((struct script *)call->family)->retired;
    bool may_wait = !call->is_inner && call->session->ops != NULL &&
                    (call->session->flags & (SESSION_INTERNAL | SESSION_PRIMARY)) == 0;
    if (retired == NULL || !is_patient || !may_wait) {
        reply_ok(call->out);
        return;
    }
    retired->waiter = call->session;
    session_suspend(call->session, on_cancel, retired);
}
