/* What SRANDMEMBER, HRANDFIELD and ZRANDMEMBER with a negative count have in common: a client asks
 * a small key for as many elements as it likes, so the reply has a bound of its own.
 *
 *     repeats_begin(&repeats, call, count);
 *     while (repeats_next(&repeats)) {
 *         ... writes one element to &repeats.found ...
 *     }
 *     if (repeats_are_whole(&repeats, call)) {
 *         ... writes the header to call->out, then splices repeats.found ...
 *     } */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "exec/call.h"
#include "exec/sliced.h"

enum {
    REPEAT_BYTES_MAX = 512 << 20, /* Of one reply, as of one string. */
    REPEAT_ELEMENT_BYTES = 6,     /* The least that an element takes: an empty bulk. */
};

struct repeats {
    struct reply found;
    struct call *call;
    size_t left; /* Elements to come. */
};

static inline void repeats_begin(struct repeats *repeats, struct call *call, size_t count)
{
    repeats->call = call;
    reply_init(&repeats->found, call->out->pool);
    repeats->found.protocol = call->out->protocol;
    repeats->left = count;
}

/* Whether another element is wanted and may be. May yield. */
static inline bool repeats_next(struct repeats *repeats)
{
    size_t room = REPEAT_BYTES_MAX / REPEAT_ELEMENT_BYTES;
    if (repeats->left == 0 || repeats->left > room ||
        reply_len(&repeats->found) > REPEAT_BYTES_MAX) {
        return false;
    }
    if (repeats->left % SLICED_STEP == 0 && !call_yield(repeats->call)) {
        return false;
    }
    repeats->left--;
    return true;
}

/* False: there were too many, what was found is dropped and the error is in the reply. */
static inline bool repeats_are_whole(struct repeats *repeats, struct call *call)
{
    if (repeats->left == 0) {
        return true;
    }
    reply_deinit(&repeats->found);
    reply_error(call->out, ERR_NO_MEMORY);
    return false;
}
