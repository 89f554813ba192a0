/* Looking ahead over a command's many keys, so that their cache misses overlap:
 *
 *     hash   x 16  ->  prefetch buckets, then values   x 16  ->  use   x 16 */
#pragma once

#include "exec/call.h"

enum { AHEAD_KEYS = 16 };

/* Called before each key is used, `first` being the index of the first of them and `step` the
 * distance between two: at every AHEAD_KEYS-th it asks for that one and those that follow. */
static inline void keys_look_ahead(const struct call *call, uint32_t index, uint32_t first,
                                   uint32_t step, uint32_t end)
{
    struct db_look looks[AHEAD_KEYS];
    unsigned count = 0;
    if ((index - first) % (AHEAD_KEYS * step) != 0 || index + step >= end) {
        return;
    }
    for (; index < end && count < AHEAD_KEYS; index += step, count++) {
        looks[count] = (struct db_look){.db = call->db, .hash = call_hash(call, index)};
    }
    db_prefetch(looks, count);
}
