/* A second stack that one function runs on, so that it can be left in the middle and gone on with
 * later: for code that cannot be cut into steps, because it calls back through a library. One
 * thread; nothing here is seen by the kernel, and a switch costs a few nanoseconds. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct fiber;

typedef void (*fiber_fn)(void *context);

/* A stack of at least `stack_len` bytes, with a guard page below it; pages that are never touched
 * cost no memory. NULL when there is no memory. */
struct fiber *fiber_try_new(size_t stack_len) __attribute__((warn_unused_result));

/* Nothing may be left in the middle. */
void fiber_free(struct fiber *fiber);

/* Runs `fn(context)` on the fiber's stack until it returns (true) or parks (false). The fiber must
 * be idle: nothing runs on it and nothing is left in the middle. */
bool fiber_run(struct fiber *fiber, fiber_fn fn, void *context) __attribute__((warn_unused_result));

/* Called on the fiber's stack: goes back to whoever ran or resumed it. Returns when it is resumed.
 */
void fiber_park(struct fiber *fiber);

/* Goes on behind fiber_park. True: the function has returned; false: it parked again. */
bool fiber_resume(struct fiber *fiber) __attribute__((warn_unused_result));

/* What fiber_breathe calls on this fiber; NULL: nothing. */
void fiber_set_breath(struct fiber *fiber, fiber_fn breathe, void *context);

/* Called in the middle of something long, wherever that is (base/pieces.h): whoever runs the fiber
 * that the caller is on may let others go on. Does nothing elsewhere. */
void fiber_breathe(void);

#ifdef OURO_HOSTILE
enum { BREATH_STEPS = 2 };
#else
enum { BREATH_STEPS = 64 }; /* Some 5 us, when each is a cache miss. */
#endif

/* The same behind each of many short steps: at every BREATH_STEPS-th. */
static inline void fiber_breathe_at(size_t step)
{
    if (step % BREATH_STEPS == 0) {
        fiber_breathe();
    }
}

/* Whether the caller is on the fiber's stack; and whether a function is parked on it. */
bool fiber_is_inside(const struct fiber *fiber);
bool fiber_is_parked(const struct fiber *fiber);
