/* A function on a stack of its own, which can stop in the middle and go on later: how work that is
 * written as one piece is done in slices.
 *
 *     loop:   fiber_resume ----> run ... fiber_yield --+
 *                ^                                     |
 *                '-------------------------------------'     and so on, until run returns
 *
 * A fiber may be resumed from anywhere, another fiber included; it yields to whoever resumed it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct fiber;

/* Nothing runs yet. NULL: no memory for a stack. */
struct fiber *fiber_try_new(void (*run)(void *context), void *context)
    __attribute__((warn_unused_result));

/* Goes on until the next fiber_yield or the end. True: `run` has returned. */
bool fiber_resume(struct fiber *fiber);

/* Back to whoever resumed it. Called from inside only. */
void fiber_yield(struct fiber *fiber);

/* Only before it was first resumed or after its end. */
void fiber_free(struct fiber *fiber);
