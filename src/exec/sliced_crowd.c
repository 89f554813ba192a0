/* Calls that name very many keys, in slices: crowds.
 *
 *     handler --call_slice_keys--> waiting: its keys are hashed into a set, a few at a time
 *                                     |
 *                                     | the set is whole, and nobody holds a key of it
 *                                     v
 *                                  running: the handler goes from key to key --> its reply, effect
 *
 * A pin for each of a hundred thousand keys would take longer than the command itself. Instead the
 * keys are a set of hashes (exec/key_set.h), made before anything else is done, and whoever names a
 * key is asked for it while the crowd runs (exec/held.c):
 *
 *     the crowd reads      who changes or replaces a key of it waits, and who writes and names none
 *     the crowd writes     who names a key of it waits, and who looks at all keys or writes and
 *                          names none
 *
 * Two keys of one hash are as good as one, in whichever database: somebody waits in vain, no more.
 * Before a crowd begins it looks in turn at what is pinned, which is little, and waits for what is
 * in its way. Meanwhile nothing expires and nothing is evicted (keyspace_freeze): the crowd lasts
 * as long as its arguments are many, and those of set algebra large, not as long as some client
 * takes to read, since it never rests for that. When writers go far over the limit of memory
 * meanwhile, it is finished at once.
 *
 * One crowd runs at a time. Others wait their turn, behind each other, as they would in one step.
 *
 * Costs: 16 to 32 bytes per key, which is what its argument costs, and some 30 ns to fill it in.
 *
 * Invariants:
 *   1. exec.sliced.crowd is a call that runs, and its set holds all keys that it names.
 *   2. What a crowd changed is seen by nobody, and told to nobody but those who keep copies or wait
 *      for keys, before its end. */
#include "base/clock.h"
#include "exec/sliced_internal.h"
#include "keyspace/pin.h"

#ifdef OURO_HOSTILE
enum { FILL_STEP = 2 };
#else
enum { FILL_STEP = 64 }; /* Keys between looks at the clock: some 3 us. */
#endif

/* ---- The set ---- */

static uint32_t run_count(const struct key_row *run)
{
    uint32_t span = run->end > run->first ? run->end - run->first : 0;
    return (span + run->step - 1) / run->step + (run->also != 0);
}

bool sliced_is_filled(const struct sliced *sliced)
{
    return !sliced->is_crowd || sliced->run.first >= sliced->run.end;
}

/* Some more keys. True: that was all. */
static bool fill_some(struct sliced *sliced)
{
    struct key_row *run = &sliced->run;
    if (!key_set_clear_some(&sliced->keys)) {
        return false;
    }
    for (unsigned i = 0; i < FILL_STEP && run->first < run->end; i++, run->first += run->step) {
        key_set_add(&sliced->keys, call_hash(&sliced->call, run->first));
    }
    if (run->also != 0) {
        key_set_add(&sliced->keys, call_hash(&sliced->call, run->also));
        run->also = 0;
    }
    return sliced_is_filled(sliced);
}

static bool fill_on_step(struct work_job *job)
{
    struct sliced *sliced = LIST_OWNER(job, struct sliced, job);
    int64_t deadline_us = clock_mono_us() + SLICE_US;
    do {
        if (fill_some(sliced)) {
            exec_sliced_start_later(sliced->exec);
            return true;
        }
    } while (clock_mono_us() < deadline_us);
    return false;
}

static void fill_all(struct sliced *sliced)
{
    work_cancel(sliced->exec->work, &sliced->job);
    while (!fill_some(sliced)) {
    }
}

/* ---- Beginning and end ---- */

bool call_slice_keys_slow(struct call *call, const struct key_row *run)
{
    struct key_set keys = {.hashes = NULL};
    if (!sliced_is_possible(call)) {
        return false;
    }
    bool has_room = key_set_try_reserve(&keys, run_count(run));
    struct sliced *sliced = has_room ? sliced_try_new(call) : NULL;
    if (sliced == NULL) {
        key_set_deinit(&keys);
        reply_error(call->out, ERR_NO_MEMORY);
        return true;
    }
    sliced->is_crowd = true;
    sliced->is_hurried = true;
    sliced->keys = keys;
    sliced->run = *run;
    sliced->stage = SLICED_GOING; /* The handler's first run looked nothing up. */
    bool is_write = (call->command->flags & CMD_WRITE) != 0;
    sliced_await(sliced, call, is_write ? SLICE_EDITS : SLICE_READS);
    work_add(call->exec->work, &sliced->job, fill_on_step);
    return true;
}

/* What others may not hold of its keys where a crowd begins. */
static unsigned barring_modes(const struct sliced *sliced)
{
    return PIN_EDIT | PIN_TAKE | (sliced_is_write(sliced) ? PIN_KEEP : 0);
}

static bool is_of_set(const void *context, uint64_t hash)
{
    return key_set_has(context, hash);
}

bool sliced_crowd_is_barred(struct sliced *sliced)
{
    const struct exec *exec = sliced->exec;
    fill_all(sliced);
    return exec->sliced.crowd != NULL || exec->sliced.unit != NULL ||
           keyspace_hurry_set(exec->keyspace, is_of_set, &sliced->keys, barring_modes(sliced));
}

static void crowd_set(struct exec *exec, struct sliced *crowd)
{
    exec->sliced.crowd = crowd;
    exec_sliced_freeze(exec);
    exec_held_refresh(exec);
}

void sliced_crowd_begin(struct sliced *sliced)
{
    crowd_set(sliced->exec, sliced);
}

void sliced_crowd_end(struct sliced *sliced)
{
    if (sliced->exec->sliced.crowd == sliced) {
        crowd_set(sliced->exec, NULL);
        exec_held_release(sliced->exec);
    }
}

/* ---- For those who wait ---- */

bool exec_crowd_writes(const struct exec *exec)
{
    return exec->sliced.crowd != NULL && sliced_is_write(exec->sliced.crowd);
}

bool exec_crowd_bars(const struct exec *exec, uint64_t hash, bool is_reading)
{
    const struct sliced *crowd = exec->sliced.crowd;
    return crowd != NULL && (!is_reading || sliced_is_write(crowd)) &&
           key_set_has(&crowd->keys, hash);
}

void exec_finish_crowd(struct exec *exec)
{
    if (exec->sliced.crowd != NULL) {
        sliced_finish(exec->sliced.crowd);
    }
}
