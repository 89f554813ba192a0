/* Sorted sets that are waited for: BZPOPMIN, BZPOPMAX, BZMPOP.
 *
 * As lists_block.c does it for lists: the plain form when there is something to take, else a wait;
 * log and replicas are told the plain form. */
#include "commands/commands.h"
#include "commands/zsets.h"
#include "exec/block.h"

/* Pops from the first set that is there. False: there is none. */
static bool pop_first(struct call *call, int is_max)
{
    struct block_keys keys = call_keys_to_try(call, 1, call->args.count - 2);
    for (uint32_t key = keys.first; key < keys.end; key++) {
        struct place place;
        if (!call_find_place(call, key, VALUE_ZSET, &place)) {
            return true;
        }
        if (place.value != NULL) {
            struct slice effect[] = {slice_from_text(is_max ? "ZPOPMAX" : "ZPOPMIN"),
                                     call->args.at[key]};
            reply_array(call->out, 3);
            reply_bulk(call->out, call->args.at[key]);
            zsets_pop(call, key, place,
                      &(struct zsets_pop){.is_max = is_max != 0, .count = 1, .shape = POP_BARE});
            call_effect(call, effect, 2);
            return true;
        }
    }
    return false;
}

/* BZPOPMIN key [key ...] timeout */
static void bzpopmin_run(struct call *call)
{
    call_try_or_block(call, VALUE_ZSET, pop_first, false);
}

/* BZPOPMAX key [key ...] timeout */
static void bzpopmax_run(struct call *call)
{
    call_try_or_block(call, VALUE_ZSET, pop_first, true);
}

/* BZMPOP timeout numkeys key [key ...] MIN|MAX [COUNT count] */
static void bzmpop_run(struct call *call)
{
    struct zsets_mpop mpop;
    int64_t timeout_ms;
    if (!zsets_mpop_parse(call, 2, &mpop) || !call_timeout_s(call, 1, &timeout_ms) ||
        zsets_mpop(call, &mpop)) {
        return;
    }
    call_block_or_null(call, &(struct block_wish){.first_key = mpop.first_key,
                                                  .key_count = mpop.key_count,
                                                  .timeout_ms = timeout_ms,
                                                  .kind = VALUE_ZSET});
}

static const struct command zsets_block_rows[] = {
    {.name = "bzpopmin",
     .run = bzpopmin_run,
     .arity = -3,
     .flags = CMD_WRITE | CMD_NO_SCRIPT | CMD_BLOCKING | CMD_FAST,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .last = -2, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_DELETE}},
     .since = "5.0.0",
     .group = "sorted-set",
     .complexity = "O(log(N)) for a set of N members.",
     .summary = "Removes and returns the member with the lowest score from the first of several "
                "sorted sets that has any, or waits for one.",
     .syntax = "key ... timeout:double",
     .history = "6.0.0 Takes fractions of seconds as `timeout`."},
    {.name = "bzpopmax",
     .run = bzpopmax_run,
     .arity = -3,
     .flags = CMD_WRITE | CMD_NO_SCRIPT | CMD_BLOCKING | CMD_FAST,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .last = -2, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_DELETE}},
     .since = "5.0.0",
     .group = "sorted-set",
     .complexity = "O(log(N)) for a set of N members.",
     .summary = "Removes and returns the member with the highest score from the first of several "
                "sorted sets that has any, or waits for one.",
     .syntax = "key ... timeout:double",
     .history = "6.0.0 Takes fractions of seconds as `timeout`."},
    {.name = "bzmpop",
     .run = bzmpop_run,
     .arity = -5,
     .flags = CMD_WRITE | CMD_BLOCKING,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 2,
               .is_counted = true,
               .access = KEY_RW,
               .use = KEY_USE_ACCESS | KEY_USE_DELETE}},
     .since = "7.0.0",
     .group = "sorted-set",
     .complexity = "O(K+M*log(N)) for K keys and M members that are removed.",
     .summary = "Removes and returns members from one end of the first sorted set that has any, or "
                "waits for them.",
     .syntax = "timeout:double numkeys:integer key... (where: MIN | MAX) [COUNT count:integer]"},
};

void commands_register_zsets_block(struct exec *exec, struct type_limits *limits)
{
    exec_register(exec, zsets_block_rows, sizeof(zsets_block_rows) / sizeof(zsets_block_rows[0]),
                  limits);
}
