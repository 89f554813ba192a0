/* Calls that are run in slices: a command that would take long is done on a stack of its own, a
 * little per turn of the loop, while other clients are served.
 *
 *     if (call_slice(call, set_count(value))) {
 *         return;                                 the same handler is run again, in slices
 *     }
 *     while (... the next 64 members ...) {
 *         ...
 *         if (!call_yield(call)) {                may stop here, for others; false: give up
 *             break;
 *         }
 *     }
 *
 * A handler is written as one piece. The keys that its row names are pinned while it runs in
 * slices (keyspace/pin.h): what it has looked up stays readable and as it is. Places do not stay
 * valid over a yield; results are put in place behind the last one. All lookups of operands come
 * before the first.
 *
 * A command that changes a value in place asks call_slice_editing instead, and ends with
 * call_edit_done. One that puts into it or takes out of it what its arguments name (SADD of a
 * hundred thousand members) does so with call_edit_yield between its steps: its value may move. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "exec/call.h"

#ifdef OURO_HOSTILE
enum { SLICED_SIZE_MIN = 4, SLICED_STEP = 2 };
#else
enum {
    SLICED_SIZE_MIN = 1000, /* Elements that are dealt with in one step. */
    SLICED_STEP = 64,       /* Elements between two calls of call_yield: some 5 us. */
};
#endif

/* What a call does to its keys while it goes on; in rising order. */
enum slice_mode {
    SLICE_READS,
    SLICE_WRITES, /* Builds its result aside. */
    SLICE_EDITS,  /* Changes what it names as KEY_RW in steps: nobody else sees that meanwhile. */
    SLICE_NONE,   /* More than any. */
};

bool call_slice_slow(struct call *call, enum slice_mode mode);
bool call_slice_bare_slow(struct call *call);
bool call_yield_slow(struct call *call, bool may_send);
bool call_edit_yield_slow(struct call *call, uint32_t index, struct place *place);

/* Asked before a command deals with `size` elements, when nothing is replied or changed yet. True:
 * it will be run later, or an error was replied; return. False: go on now, because it is short,
 * because it may not wait (inside EXEC and the like), or because this is the later run. */
static inline bool call_slice(struct call *call, size_t size)
{
    return __builtin_expect(size > SLICED_SIZE_MIN, 0) &&
           call_slice_slow(call,
                           (call->command->flags & CMD_WRITE) != 0 ? SLICE_WRITES : SLICE_READS);
}

/* The same for a command of which others may see, and change, anything between two steps: it holds
 * none of its keys. */
static inline bool call_slice_bare(struct call *call, size_t size)
{
    return __builtin_expect(size > SLICED_SIZE_MIN, 0) && call_slice_bare_slow(call);
}

/* The same for a command that changes its keys in place, a step at a time. Nothing that it replies
 * is sent before its end. */
static inline bool call_slice_editing(struct call *call, size_t size)
{
    return __builtin_expect(size > SLICED_SIZE_MIN, 0) && call_slice_slow(call, SLICE_EDITS);
}

/* Between two steps of such a command, which names one key: may stop here, for others. The steps
 * may have moved the value at `place`; afterwards `place` is valid again. A value that is stored
 * nowhere yet (no slot) stays the caller's. False: the value has gone with its database, and
 * place->value is NULL: there is nothing left to do. */
static inline bool call_edit_yield(struct call *call, uint32_t index, struct place *place)
{
    return call->sliced == NULL || call_edit_yield_slow(call, index, place);
}

/* The same behind each of many short steps: it looks only at every SLICED_STEP-th. */
static inline bool call_edit_yield_at(struct call *call, uint32_t index, struct place *place,
                                      size_t step)
{
    return step % SLICED_STEP != 0 || call_edit_yield(call, index, place);
}

/* Keys among the arguments: at `first`, every `step`-th after it below `end`; and one more, unless
 * `also` is 0. */
struct key_row {
    uint32_t first, step, end, also;
};

bool call_slice_keys_slow(struct call *call, const struct key_row *run);

/* Asked before a command that names many keys looks at any of them; its row is CMD_SLICES_KEYS. The
 * answer is that of call_slice. In the later run nobody else changes one of the keys, nor sees one
 * that has been changed, and none of them expires, until the handler returns: it may yield between
 * any two. */
static inline bool call_slice_keys(struct call *call, struct key_row run)
{
    return __builtin_expect(call->args.count > SLICED_SIZE_MIN, 0) &&
           call_slice_keys_slow(call, &run);
}

struct key_set;

/* Runs EXEC in slices on behalf of a primary: until it ends nobody else sees one of `keys`, which
 * must stay until then. False: it cannot; do it in one step. */
bool call_slice_unit(struct call *call, const struct key_set *keys);

/* Behind the last yield of such a command: lets go of its keys, so that the value at `place` may
 * move, and makes `place` valid again. False: the value has gone with its database (an order from a
 * primary that could not wait): there is nothing left to do. */
bool call_edit_done(struct call *call, uint32_t index, struct place *place)
    __attribute__((warn_unused_result));

/* Before a call tells many effects: it may yield between them, and they are one unit all the same,
 * because until it returns nobody else may change anything. */
void call_tell_begin(struct call *call);

/* The same for a command that may write but will not, as SORT without STORE. */
static inline bool call_slice_reading(struct call *call, size_t size)
{
    return __builtin_expect(size > SLICED_SIZE_MIN, 0) && call_slice_slow(call, SLICE_READS);
}

/* A reading call has copied what it needs: nobody waits for its keys any more. What it looked up
 * is invalid. */
void call_release_keys(struct call *call);

/* Lets others go on when the slice is over. False: nobody wants the result any more, clean up and
 * return without a reply or a change. */
static inline bool call_yield(struct call *call)
{
    return call->sliced == NULL || call_yield_slow(call, false);
}

/* The same behind each of many short steps. */
static inline bool call_yield_at(struct call *call, size_t step)
{
    return step % SLICED_STEP != 0 || call_yield(call);
}

/* Between two of the keys that a command names: stops only where it has said call_slice_keys. */
static inline bool call_yield_keys_at(struct call *call, size_t step)
{
    return call->args.count <= SLICED_SIZE_MIN || call_yield_at(call, step);
}

/* Whether what follows may also stop in the middle of copying, comparing or summing up something
 * long (base/pieces.h): as a yield, so no place may be held. */
void call_breathe(struct call *call, bool is_allowed);

/* The same where all that was replied so far may be sent: not between reply_begin and reply_end.
 * Waits for the client to read when much is unsent and nobody waits for the keys. */
static inline bool call_yield_sending(struct call *call)
{
    return call->sliced == NULL || call_yield_slow(call, true);
}

/* The same behind each of many short steps. */
static inline bool call_yield_sending_at(struct call *call, size_t step)
{
    return step % SLICED_STEP != 0 || call_yield_sending(call);
}
