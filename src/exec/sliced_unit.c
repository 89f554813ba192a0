/* Transactions of a primary, in slices.
 *
 * EXEC runs its queue in one step, but for that of a primary, whose long ones are
 * what scripts and commands with many effects have become: they run command by command. Whoever
 * names a key of such a transaction waits for its end before his handler, and whoever looks at all
 * keys: nobody sees the middle. It needs no pins, for between two of its commands every value is
 * whole.
 *
 * Invariant: there is at most one such transaction under way, and it is a call that runs. */
#include "exec/key_set.h"
#include "exec/sliced_internal.h"

bool exec_unit_bars(const struct exec *exec, uint64_t hash)
{
    return exec->sliced.unit != NULL && key_set_has(exec->sliced.unit_keys, hash);
}

static void unit_set(struct exec *exec, struct sliced *unit, const struct key_set *keys)
{
    exec->sliced.unit = unit;
    exec->sliced.unit_keys = keys;
    exec_sliced_freeze(exec);
    exec_held_refresh(exec);
}

/* Others may look again. */
void sliced_unit_end(struct sliced *sliced)
{
    if (sliced->exec->sliced.unit == sliced) {
        unit_set(sliced->exec, NULL, NULL);
        exec_held_release(sliced->exec);
    }
}

void exec_sliced_finish_unit(struct exec *exec)
{
    if (exec->sliced.unit != NULL) {
        sliced_finish(exec->sliced.unit);
    }
}

bool call_slice_unit(struct call *call, const struct key_set *keys)
{
    struct exec *exec = call->exec;
    if (call->sliced != NULL || exec->sliced.unit != NULL) {
        return false;
    }
    struct fiber *fiber = fiber_try_new(SLICED_STACK_LEN);
    struct sliced *sliced = fiber != NULL ? sliced_try_new(call) : NULL;
    if (sliced == NULL) {
        if (fiber != NULL) {
            fiber_free(fiber);
        }
        return false;
    }
    sliced->mode = SLICE_EDITS;
    sliced->fiber = fiber;
    call->sliced = sliced;
    session_suspend(call->session, sliced_on_cancel, sliced);
    unit_set(exec, sliced, keys);
    list_push_back(&exec->sliced.running, &sliced->link);
    work_add(exec->work, &sliced->job, sliced_on_step);
    return true;
}
