/* Running aside: what cannot be cut into steps (a script, a transaction with scripts in it) runs on
 * a stack of its own. When it takes too long it parks: the command's client waits suspended, the
 * loop turns, and the rest is done in slices. One at a time, for what runs aside excludes all other
 * commands: while it is parked, GATE_BUSY is active and says who may still do what. */
#pragma once

#include <stdbool.h>

#include "base/fiber.h"

struct call;
struct exec;

/* Runs `fn(context)` aside on behalf of `call`, a copy of which is what exec_current_call tells
 * meanwhile. True: it has finished. False: it parked; the session is suspended and resumed when
 * `fn` has returned, and until then it is not freed, so that `fn` may write to its reply even when
 * the client has gone. `context` has to live as long; arguments of the call do not.
 *
 * Called while something already runs aside (a script in a transaction), or for a call that has to
 * be answered at once, it calls `fn` straight away. Without memory for a stack too. */
bool aside_run(struct call *call, fiber_fn fn, void *context) __attribute__((warn_unused_result));

/* Whether the caller runs aside, and may park. */
bool aside_may_park(const struct exec *exec);

/* Parks the caller for a turn of the loop. GATE_BUSY is active from the first park until `fn`
 * returns, and nothing expires or is evicted. */
void aside_park(struct exec *exec);

/* Whether something is parked: nothing then may begin that needs the data to be between commands.
 */
bool aside_is_parked(const struct exec *exec);

/* Goes on with what is parked until it has finished: for shutdown. */
void aside_finish(struct exec *exec);
