/* What the files of sorted-set and geo commands share. */
#pragma once

#include "exec/call.h"
#include "exec/exec.h"
#include "exec/sliced.h"
#include "types/zset/zset.h"

#define ERR_SCORE_NAN "ERR resulting score is not a number (NaN)"
#define ERR_NOT_POSITIVE "ERR value is out of range, must be positive"

/* The limits that the family was registered with, and the server's hash. */
static inline struct zset_rules zsets_rules(const struct call *call)
{
    return (struct zset_rules){.limits = call->family,
                               .hash_seed = keyspace_hash_seed(exec_keyspace(call->exec))};
}

/* Reports that members left the key at `index`, and removes it when none are left: `event`, then
 * perhaps "del". */
void zsets_lost_members(struct call *call, uint32_t index, struct place place, const char *event);

/* Whether removing so many members will be done in slices; asked before anything is replied. */
static inline bool zsets_remove_later(struct call *call, size_t count)
{
    return call_slice_editing(call, count);
}

/* Removes members, fewer than all, from the set of the argument at `index`. May yield; `place` is
 * valid afterwards. False: the set has gone, there is nothing to report. */
bool zsets_remove_ranks(struct call *call, uint32_t index, struct place *place,
                        struct zset_ranks ranks);

/* Header of an array of `count` members, with their scores when `with_scores`: RESP3 then nests
 * pairs. */
static inline void zsets_reply_header(struct reply *out, size_t count, bool with_scores)
{
    reply_array(out, with_scores && out->protocol < 3 ? count * 2 : count);
}

static inline void zsets_reply_item(struct reply *out, struct slice member, double score,
                                    bool with_scores)
{
    if (with_scores && out->protocol >= 3) {
        reply_array(out, 2);
    }
    reply_bulk(out, member);
    if (with_scores) {
        reply_double(out, score);
    }
}

/* The members of the ranks first .. end - 1, from the last on when `is_reverse`. May yield. */
void zsets_reply_ranks(struct call *call, const struct value *value, struct zset_ranks ranks,
                       bool is_reverse, bool with_scores);

/* Puts a member into a set that is being built. False: no memory, the error is in the reply. */
bool zsets_collect(struct call *call, struct place *place, struct slice member, double score);

/* Stores a set that was built for the key at `index` over what is there and reports `event`, or,
 * when it has no members, removes what is there and reports "del". Replies with its count. */
void zsets_store(struct call *call, uint32_t index, struct value *take_value, const char *event);

/* What ZADD does with its arguments: for commands that rewrite theirs to such. */
void zsets_add(struct call *call);

/* ---- Popping ---- */

enum zsets_pop_shape {
    POP_FLAT,   /* [member, score, member, score ...] */
    POP_NESTED, /* [[member, score], [member, score] ...] */
    POP_BARE,   /* member, score ..., without a header */
};
struct zsets_pop {
    bool is_max;
    size_t count; /* At least 1. */
    enum zsets_pop_shape shape;
};

/* Tells and removes members from one end of the set of the argument at `index`, which is at `place`
 * and not empty, and reports the change. A set of which nothing is left goes with its key. Returns
 * how many there were. */
size_t zsets_pop(struct call *call, uint32_t index, struct place place,
                 const struct zsets_pop *wish);

/* numkeys key [key ...] MIN|MAX [COUNT count], from argument `at` on; else the error is in the
 * reply. */
struct zsets_mpop {
    uint32_t first_key, key_count;
    bool is_max;
    int64_t count;
};
bool zsets_mpop_parse(struct call *call, uint32_t at, struct zsets_mpop *mpop);

/* Pops from the first of the sets that is there. False: there is none, nothing was replied. */
bool zsets_mpop(struct call *call, const struct zsets_mpop *mpop);
