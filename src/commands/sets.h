/* What the files of set commands share. */
#pragma once

#include "exec/call.h"
#include "exec/exec.h"
#include "exec/sliced.h"
#include "types/set/set.h"

/* The limits that the family was registered with, and the server's hash. */
static inline struct set_rules sets_rules(const struct call *call)
{
    return (struct set_rules){.limits = call->family,
                              .hash_seed = keyspace_hash_seed(exec_keyspace(call->exec))};
}

/* A member as a bulk. */
static inline void sets_reply_item(struct reply *out, const struct set_item *item)
{
    struct set_scratch scratch;
    reply_bulk(out, set_item_text(item, &scratch));
}

/* All members, without a header. */
static inline void sets_reply_members(struct call *call, const struct value *value)
{
    struct set_walk walk;
    struct set_item item;
    unsigned left;
    set_walk_begin(&walk, value);
    do {
        left = SLICED_STEP;
        for (; left > 0 && set_walk_next(&walk, &item); left--) {
            sets_reply_item(call->out, &item);
        }
    } while (left == 0 && call_yield_sending(call));
}

/* Reports that members left the key at `index`, and removes it when none are left: `event`, then
 * perhaps "del". */
static inline void sets_lost_members(struct call *call, uint32_t index, struct place place,
                                     const char *event)
{
    bool is_empty = set_count(place.value) == 0;
    if (is_empty) {
        call_remove(call, index, place);
    }
    call_changed(call, index, event);
    if (is_empty) {
        call_event(call, call->db, call->args.at[index], "del");
    }
}
