/* Lists that are waited for: BLPOP, BRPOP, BLMOVE, BRPOPLPUSH, BLMPOP.
 *
 * Each does what its plain form does when there is something to take, and waits otherwise
 * (exec/block.h). When a key became ready the same handler runs once more and looks at that key
 * alone. Log and replicas are told the plain form: they never wait.
 *
 * Inside EXEC nothing waits: the reply is what it would be when the time is up, but for the moves,
 * whose reply is then a null bulk and not a null array. So it is in Redis. */
#include "commands/commands.h"
#include "commands/lists.h"
#include "exec/block.h"

/* ---- BLPOP, BRPOP ---- */

/* The plain pop that took the element of the argument at `key`. */
static void pop_effect(struct call *call, uint32_t key, enum list_end end)
{
    struct slice args[] = {slice_from_text(end == LIST_HEAD ? "LPOP" : "RPOP"), call->args.at[key]};
    call_effect(call, args, 2);
}

/* Pops from the first list that is there. False: there is none. */
static bool pop_first(struct call *call, int which)
{
    enum list_end end = (enum list_end)which;
    struct block_keys keys = call_keys_to_try(call, 1, call->args.count - 2);
    for (uint32_t key = keys.first; key < keys.end; key++) {
        struct place place;
        if (!call_find_place(call, key, VALUE_LIST, &place)) {
            return true;
        }
        if (place.value != NULL) {
            reply_array(call->out, 2);
            reply_bulk(call->out, call->args.at[key]);
            lists_pop_one(call, key, place, end);
            pop_effect(call, key, end);
            return true;
        }
    }
    return false;
}

/* BLPOP key [key ...] timeout */
static void blpop_run(struct call *call)
{
    call_try_or_block(call, VALUE_LIST, pop_first, LIST_HEAD);
}

/* BRPOP key [key ...] timeout */
static void brpop_run(struct call *call)
{
    call_try_or_block(call, VALUE_LIST, pop_first, LIST_TAIL);
}

/* ---- BLMOVE, BRPOPLPUSH ---- */

/* Moves, or waits for the source; the timeout is the last argument. True: an element was moved or
 * an error replied. */
static void move_or_wait(struct call *call, struct lists_move move)
{
    int64_t timeout_ms;
    if (!call_timeout_s(call, call->args.count - 1, &timeout_ms) || lists_move(call, move)) {
        return;
    }
    if (!call_may_block(call)) {
        reply_null(call->out);
        return;
    }
    call_block(call,
               &(struct block_wish){
                   .first_key = 1, .key_count = 1, .timeout_ms = timeout_ms, .kind = VALUE_LIST});
}

/* BLMOVE source destination LEFT|RIGHT LEFT|RIGHT timeout */
static void blmove_run(struct call *call)
{
    struct lists_move move;
    if (!lists_end(call, 3, &move.from) || !lists_end(call, 4, &move.to)) {
        return;
    }
    move_or_wait(call, move);
    if (call->change_count != 0) {
        struct slice args[] = {slice_from_text("LMOVE"), call->args.at[1], call->args.at[2],
                               call->args.at[3], call->args.at[4]};
        call_effect(call, args, 5);
    }
}

/* BRPOPLPUSH source destination timeout */
static void brpoplpush_run(struct call *call)
{
    move_or_wait(call, (struct lists_move){.from = LIST_TAIL, .to = LIST_HEAD});
    if (call->change_count != 0) {
        struct slice args[] = {slice_from_text("RPOPLPUSH"), call->args.at[1], call->args.at[2]};
        call_effect(call, args, 3);
    }
}

/* ---- BLMPOP ---- */

/* BLMPOP timeout numkeys key [key ...] LEFT|RIGHT [COUNT count] */
static void blmpop_run(struct call *call)
{
    struct lists_mpop mpop;
    int64_t timeout_ms;
    if (!lists_mpop_parse(call, 2, &mpop) || !call_timeout_s(call, 1, &timeout_ms) ||
        lists_mpop(call, &mpop)) {
        return;
    }
    call_block_or_null(call, &(struct block_wish){.first_key = mpop.first_key,
                                                  .key_count = mpop.key_count,
                                                  .timeout_ms = timeout_ms,
                                                  .kind = VALUE_LIST});
}

#define DOUBLE_HISTORY "6.0.0 Takes fractions of seconds as `timeout`."

static const struct command lists_block_rows[] = {
    {.name = "blpop",
     .run = blpop_run,
     .arity = -3,
     .flags = CMD_WRITE | CMD_NO_SCRIPT | CMD_BLOCKING,
     .categories = ACL_LIST,
     .keys = {{.first = 1, .last = -2, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_DELETE}},
     .since = "2.0.0",
     .group = "list",
     .complexity = "O(N) where N is the number of keys.",
     .summary = "Takes an element off the head of the first of several lists that has some, or "
                "waits for one.",
     .syntax = "key ... timeout:double",
     .history = DOUBLE_HISTORY},
    {.name = "brpop",
     .run = brpop_run,
     .arity = -3,
     .flags = CMD_WRITE | CMD_NO_SCRIPT | CMD_BLOCKING,
     .categories = ACL_LIST,
     .keys = {{.first = 1, .last = -2, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_DELETE}},
     .since = "2.0.0",
     .group = "list",
     .complexity = "O(N) where N is the number of keys.",
     .summary = "Takes an element off the tail of the first of several lists that has some, or "
                "waits for one.",
     .syntax = "key ... timeout:double",
     .history = DOUBLE_HISTORY},
    {.name = "blmove",
     .run = blmove_run,
     .arity = 6,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_NO_SCRIPT | CMD_BLOCKING,
     .categories = ACL_LIST,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_DELETE},
              {.first = 2, .access = KEY_RW, .use = KEY_USE_INSERT}},
     .since = "6.2.0",
     .group = "list",
     .complexity = "O(1)",
     .summary = "Takes an element off one list, adds it to another and returns it; waits for one.",
     .syntax = "source:key destination:key (wherefrom: LEFT | RIGHT) (whereto: LEFT | RIGHT) "
               "timeout:double"},
    {.name = "brpoplpush",
     .run = brpoplpush_run,
     .arity = 4,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_NO_SCRIPT | CMD_BLOCKING,
     .categories = ACL_LIST,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_DELETE},
              {.first = 2, .access = KEY_RW, .use = KEY_USE_INSERT}},
     .since = "2.2.0",
     .group = "list",
     .complexity = "O(1)",
     .summary = "Takes the last element off one list, adds it at the head of another and returns "
                "it; waits for one.",
     .syntax = "source:key destination:key timeout:double",
     .deprecated = "6.2.0 `BLMOVE` with the `RIGHT` and `LEFT` arguments",
     .history = DOUBLE_HISTORY},
    {.name = "blmpop",
     .run = blmpop_run,
     .arity = -5,
     .flags = CMD_WRITE | CMD_BLOCKING,
     .categories = ACL_LIST,
     .keys = {{.first = 2,
               .is_counted = true,
               .access = KEY_RW,
               .use = KEY_USE_ACCESS | KEY_USE_DELETE}},
     .since = "7.0.0",
     .group = "list",
     .complexity = "O(N+M) where N is the number of keys and M that of elements returned.",
     .summary = "Takes elements off the first of several lists that has some, or waits for them.",
     .syntax =
         "timeout:double numkeys:integer key ... (where: LEFT | RIGHT) [COUNT count:integer]"},
};

void commands_register_lists_block(struct exec *exec, struct type_limits *limits)
{
    exec_register(exec, lists_block_rows, sizeof(lists_block_rows) / sizeof(lists_block_rows[0]),
                  limits);
}
