/* Running aside: a fiber, a job on the work queue, and a session that waits.
 *
 *     aside_run --fn returns--> true                        the common case: two switches of stacks
 *         |
 *         '--fn parks--> false; session suspended and held
 *                          |   ^
 *             work queue:  v   | parks again
 *                        step: fiber_resume --fn returns--> session released and resumed
 *
 * The session is held while it waits: net closes a connection whose client has gone, but frees it
 * only when the hold ends (SESSION_KEPT). So what runs aside may write replies and read the session
 * as if nothing had happened.
 *
 * Between parks the keyspace is frozen and for what runs aside the time stands still, for a key
 * that expired in the middle of a script would be seen by its first half only.
 *
 * Invariants:
 *   1. At most one function is aside; `session` is its session, and it is SESSION_KEPT exactly
 *      while the function is parked.
 *   2. GATE_BUSY is active exactly while the function is parked.
 *
 * Rejected: a nested loop inside the long command, which would make net and all that it calls
 * re-entrant; stopping the script and starting it anew, which repeats its effects. */
#include "exec/aside.h"

#include "base/assert.h"
#include "base/mem.h"
#include "exec/exec_internal.h"

/* Room for Lua's deepest recursion, 200 levels of at most 9 KiB each, and for a command's handler
 * at the end of it. Untouched pages cost nothing. */
enum { ASIDE_STACK_LEN = 8 * 1024 * 1024 };

struct aside {
    struct work_job job;
    struct exec *exec;
    struct fiber *fiber;
    struct call call;        /* On whose behalf. */
    struct clock_now now;    /* When it began: the time stands still for what runs aside. */
    struct session *session; /* While parked. */
};

/* ---- Parking ---- */

static void note_parked(struct aside *aside)
{
    struct session *session = aside->call.session;
    aside->session = session;
    session->flags |= SESSION_KEPT;
    session_suspend(session, NULL, NULL);
    keyspace_freeze(aside->exec->keyspace, true);
    exec_activate_gate(aside->exec, GATE_BUSY, true);
}

static void note_finished(struct aside *aside)
{
    struct exec *exec = aside->exec;
    struct session *session = aside->session;
    aside->session = NULL;
    exec_activate_gate(exec, GATE_BUSY, false);
    exec_sliced_freeze(exec);
    session->flags &= ~(uint32_t)SESSION_KEPT;
    session_resume(session);
    exec_settle_for(exec, session);
    exec_sliced_on_unpause(exec);
}

static bool aside_step(struct work_job *job)
{
    struct aside *aside = LIST_OWNER(job, struct aside, job);
    if (!fiber_resume(aside->fiber)) {
        return false;
    }
    note_finished(aside);
    return true;
}

/* ---- Use ---- */

/* NULL: no memory for a stack. */
static struct aside *aside_of(struct exec *exec)
{
    if (exec->aside == NULL) {
        struct fiber *fiber = fiber_try_new(ASIDE_STACK_LEN);
        if (fiber == NULL) {
            return NULL;
        }
        exec->aside = mem_zalloc(sizeof(*exec->aside));
        exec->aside->exec = exec;
        exec->aside->fiber = fiber;
    }
    return exec->aside;
}

bool aside_run(struct call *call, fiber_fn fn, void *context)
{
    struct exec *exec = call->exec;
    struct aside *aside = call->is_inner ? NULL : aside_of(exec);
    if (aside == NULL || fiber_is_inside(aside->fiber)) {
        fn(context);
        return true;
    }
    aside->call = *call;
    aside->now = *call->now;
    aside->call.now = &aside->now;
    exec->current = &aside->call;
    bool is_finished = fiber_run(aside->fiber, fn, context);
    exec->current = call;
    if (!is_finished) {
        note_parked(aside);
        work_add(exec->work, &aside->job, aside_step);
    }
    return is_finished;
}

bool aside_may_park(const struct exec *exec)
{
    return exec->aside != NULL && fiber_is_inside(exec->aside->fiber);
}

void aside_park(struct exec *exec)
{
    ASSERT(aside_may_park(exec));
    const struct call *current = exec->current, *outermost = exec->outermost;
    exec->current = exec->outermost = NULL;
    fiber_park(exec->aside->fiber);
    exec->current = current;
    exec->outermost = outermost;
}

bool aside_is_parked(const struct exec *exec)
{
    return exec->aside != NULL && fiber_is_parked(exec->aside->fiber);
}

void aside_finish(struct exec *exec)
{
    if (!aside_is_parked(exec)) {
        return;
    }
    work_cancel(exec->work, &exec->aside->job);
    while (!aside_step(&exec->aside->job)) {
    }
}

void exec_aside_free(struct exec *exec)
{
    if (exec->aside == NULL) {
        return;
    }
    ASSERT(!fiber_is_parked(exec->aside->fiber));
    fiber_free(exec->aside->fiber);
    mem_free(exec->aside);
    exec->aside = NULL;
}
