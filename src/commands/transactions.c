/* Transactions: MULTI, EXEC, DISCARD, WATCH, UNWATCH. The mechanism is exec/multi.h. */
#include "commands/commands.h"
#include "exec/exec.h"
#include "exec/multi.h"
#include "exec/sliced.h"

static void multi_command_run(struct call *call)
{
    if (multi_is_on(call->session)) {
        reply_error(call->out, "ERR MULTI calls can not be nested");
    } else if (!multi_begin(call->session)) {
        reply_error(call->out, ERR_NO_MEMORY);
    } else {
        reply_ok(call->out);
    }
}

static void exec_command_run(struct call *call)
{
    struct session *session = call->session;
    if (!multi_is_on(session)) {
        reply_error(call->out, "ERR EXEC without MULTI");
        return;
    }
    switch (multi_verdict(session, call->now->wall_ms)) {
    case MULTI_FREE:
        multi_run(call);
        break;
    case MULTI_SPOILED:
        reply_error(call->out, "EXECABORT Transaction discarded because of previous errors.");
        multi_end(session);
        break;
    case MULTI_CHANGED:
        reply_null_array(call->out);
        multi_end(session);
        break;
    }
}

static void discard_run(struct call *call)
{
    if (!multi_is_on(call->session)) {
        reply_error(call->out, "ERR DISCARD without MULTI");
        return;
    }
    multi_end(call->session);
    reply_ok(call->out);
}

/* WATCH key [key ...] */
static void watch_run(struct call *call)
{
    if (multi_is_on(call->session)) {
        reply_error(call->out, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    if (call_slice_bare(call, call->args.count)) {
        return; /* Each key is watched from its own moment on. */
    }
    for (uint32_t i = 1; i < call->args.count; i++) {
        if (!multi_watch(call->session, call->args.at[i], call->now->wall_ms)) {
            reply_error(call->out, ERR_NO_MEMORY);
            return;
        }
        if (!call_yield_at(call, i)) {
            return;
        }
    }
    reply_ok(call->out);
}

static void unwatch_run(struct call *call)
{
    multi_unwatch(call->session);
    reply_ok(call->out);
}

enum {
    SHORT_FLAGS = CMD_NO_SCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_ALLOW_BUSY,
};

static const struct command transactions_rows[] = {
    {.name = "multi",
     .run = multi_command_run,
     .arity = 1,
     .flags = SHORT_FLAGS | CMD_NOT_QUEUED,
     .categories = ACL_TRANSACTION,
     .since = "1.2.0",
     .group = "transactions",
     .complexity = "O(1)",
     .summary = "Begins a transaction: the commands that follow are queued."},
    {.name = "exec",
     .run = exec_command_run,
     .arity = 1,
     .flags = CMD_NO_SCRIPT | CMD_LOADING | CMD_STALE | CMD_SKIP_SLOWLOG | CMD_NOT_QUEUED,
     .categories = ACL_TRANSACTION,
     .since = "1.2.0",
     .group = "transactions",
     .complexity = "That of the queued commands.",
     .summary = "Runs the queued commands as one, unless a watched key has changed."},
    {.name = "discard",
     .run = discard_run,
     .arity = 1,
     .flags = SHORT_FLAGS | CMD_NOT_QUEUED,
     .categories = ACL_TRANSACTION,
     .since = "2.0.0",
     .group = "transactions",
     .complexity = "O(1); the memory of a long queue is freed later, in slices.",
     .summary = "Ends a transaction without running it."},
    {.name = "watch",
     .run = watch_run,
     .arity = -2,
     .flags = SHORT_FLAGS | CMD_NOT_QUEUED,
     .categories = ACL_TRANSACTION,
     .keys = {{.first = 1, .last = -1, .access = KEY_RO}},
     .since = "2.2.0",
     .group = "transactions",
     .complexity = "O(1) for each key.",
     .summary = "Watches keys: when one changes, the next transaction is not executed.",
     .syntax = "key ..."},
    {.name = "unwatch",
     .run = unwatch_run,
     .arity = 1,
     .flags = SHORT_FLAGS,
     .categories = ACL_TRANSACTION,
     .since = "2.2.0",
     .group = "transactions",
     .complexity = "O(1) for each key that is watched.",
     .summary = "Forgets all watched keys."},
};

void commands_register_transactions(struct exec *exec)
{
    exec_register(exec, transactions_rows, sizeof(transactions_rows) / sizeof(transactions_rows[0]),
                  NULL);
}
