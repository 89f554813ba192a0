/* What long calls tell of their changes: the teller.
 *
 * The effects of a call are one unit, told when its handler has returned: until then they are
 * gathered (exec/gather.h). They are told in slices too: from call_tell_begin on, or when more than
 * GATHER_BYTES_MAX are gathered, it is the teller, and whatever would change anything is held back
 * until it ends, so that the unit may stay open over turns. While there is a teller, or a value
 * half changed, no snapshot begins.
 *
 * Invariant: the teller is a call that runs, and there is at most one. */
#include "base/assert.h"
#include "exec/aside.h"
#include "exec/sliced_internal.h"

/* The keyspace rests while something needs it to. */
void exec_sliced_freeze(struct exec *exec)
{
    bool is_frozen = exec->pause_mode != PAUSE_NONE || aside_is_parked(exec) ||
                     exec->sliced.teller != NULL || exec->sliced.unit != NULL ||
                     exec->sliced.crowd != NULL;
    keyspace_freeze(exec->keyspace, is_frozen);
}

/* Nobody else may change anything until this call has ended. */
void sliced_become_teller(struct sliced *sliced)
{
    struct exec *exec = sliced->exec;
    if (exec->sliced.teller != NULL && exec->sliced.teller != sliced) {
        sliced_finish(
            exec->sliced.teller); /* We run although there is one: somebody cannot wait. */
        ASSERT(exec->sliced.teller == NULL);
    }
    exec->sliced.teller = sliced;
    exec_sliced_freeze(exec);
    exec_held_refresh(exec);
}

static void tell_effect(void *context, const struct slice *args, uint32_t count)
{
    exec_emit_of(context, args, count);
}

void call_tell_begin(struct call *call)
{
    struct sliced *sliced = call->sliced;
    if (sliced == NULL || !call_wants_effects(call)) {
        return;
    }
    sliced_become_teller(sliced);
    while (!gather_is_empty(&sliced->effects)) {
        gather_tell_one(&sliced->effects, tell_effect, call);
        (void)call_yield(call);
    }
}

static bool has_long_word(const struct slice *args, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (args[i].len >= BLOB_REGION_MIN) {
            return true;
        }
    }
    return false;
}

/* A long word is not copied: whoever is told now may refer to its blob. */
bool exec_sliced_gather(struct call *call, const struct slice *args, uint32_t count)
{
    struct sliced *sliced = call->sliced;
    bool is_telling = sliced == NULL ||
                      (sliced->exec->sliced.teller == sliced && gather_is_empty(&sliced->effects));
    return !is_telling && !has_long_word(args, count) &&
           gather_try_add(&sliced->effects, args, count);
}

/* What was told is a unit; others may change things again. */
void sliced_teller_end(struct sliced *sliced)
{
    struct exec *exec = sliced->exec;
    if (exec->sliced.teller == sliced) {
        exec->sliced.teller = NULL;
        exec_sliced_freeze(exec);
        exec_held_refresh(exec);
        exec_held_release(exec);
        exec_sliced_on_unpause(exec);
    }
}
