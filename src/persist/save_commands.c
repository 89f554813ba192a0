/* SAVE, BGSAVE and LASTSAVE, and the gate that refuses writes after a save that failed.
 *
 * SAVE is BGSAVE with an answer at the end: its caller waits, everybody else goes on. In Redis
 * nobody does; but what is saved is in both the state at the moment of the command, and whoever
 * sent it learns of the end in both, so nothing that a client can rely on is lost. */
#include "base/log.h"
#include "base/mem.h"
#include "persist/saver_internal.h"

#define ERR_IN_PROGRESS "ERR Background save already in progress"
#define ERR_MISCONF                                                                                \
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to "  \
    "disk. Commands that may modify the data set are disabled, because this instance is "          \
    "configured to report errors during writes if RDB snapshotting fails "                         \
    "(stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB " \
    "error."

/* ---- SAVE ---- */

/* A session that waits for the save under way. */
struct sync_caller {
    struct list link; /* Of saver.sync_callers. */
    struct session *session;
};

static void caller_free(struct sync_caller *caller)
{
    list_remove(&caller->link);
    mem_free_sized(caller, sizeof(*caller));
}

static void caller_on_cancel(struct session *session, void *context)
{
    (void)session;
    caller_free(context);
}

void saver_answer(struct saver *saver, bool is_good)
{
    while (!list_is_empty(&saver->sync_callers)) {
        struct sync_caller *caller = LIST_OWNER(saver->sync_callers.next, struct sync_caller, link);
        struct session *session = caller->session;
        caller_free(caller);
        if (is_good) {
            reply_status(session->out, "OK");
        } else {
            reply_error(session->out, "ERR");
        }
        session_resume(session);
    }
}

static bool may_answer_later(const struct call *call)
{
    const struct session *session = call->session;
    return !call->is_inner && session->ops != NULL &&
           (session->flags & (SESSION_INTERNAL | SESSION_PRIMARY)) == 0;
}

static void save_run(struct call *call)
{
    struct saver *saver = call->family;
    if (saver_is_busy(saver)) {
        reply_error(call->out, ERR_IN_PROGRESS);
        return;
    }
    if (!may_answer_later(call) || !saver_begin(saver)) {
        reply_error(call->out, "ERR");
        return;
    }
    struct sync_caller *caller = mem_zalloc(sizeof(*caller));
    caller->session = call->session;
    list_push_back(&saver->sync_callers, &caller->link);
    session_suspend(call->session, caller_on_cancel, caller);
}

/* ---- BGSAVE, LASTSAVE ---- */

static void bgsave_run(struct call *call)
{
    struct saver *saver = call->family;
    bool has_schedule = call->args.count == 2 && call_is(call, 1, "SCHEDULE");
    if (call->args.count > 1 && !has_schedule) {
        reply_error(call->out, ERR_SYNTAX);
    } else if (saver_is_busy(saver)) {
        reply_error(call->out, ERR_IN_PROGRESS);
    } else if (call->is_inner) {
        /* Within a transaction: after it. */
        saver->is_scheduled = true;
        reply_status(call->out, "Background saving scheduled");
    } else if (saver_begin(saver)) {
        log_write(LOG_NOTICE, "Background saving started");
        reply_status(call->out, "Background saving started");
    } else {
        reply_error(call->out, "ERR");
    }
}

static void lastsave_run(struct call *call)
{
    const struct saver *saver = call->family;
    reply_integer(call->out, saver->stats.last_save_s);
}

/* ---- The gate ---- */

const char *saver_refusal(const struct saver *saver)
{
    return saver_refuses_writes(saver) ? ERR_MISCONF : NULL;
}

enum gate_result saver_gate(void *context, struct call *call)
{
    const char *refusal = saver_refusal(context);
    if (refusal == NULL || (call->session->flags & SESSION_PRIMARY) != 0) {
        return GATE_PASS;
    }
    call_refuse(call, refusal);
    return GATE_REFUSED;
}

static const struct command save_rows[] = {
    {.name = "save",
     .run = save_run,
     .arity = 1,
     .flags = CMD_ADMIN | CMD_NO_SCRIPT | CMD_NO_ASYNC_LOADING | CMD_NO_MULTI | CMD_WHOLE,
     .since = "1.0.0",
     .group = "server",
     .complexity = "O(N) where N is the total number of keys in all databases",
     .summary = "Saves the data set to disk and answers when that is done; other clients go on."},
    {.name = "bgsave",
     .run = bgsave_run,
     .arity = -1,
     .flags = CMD_ADMIN | CMD_NO_SCRIPT | CMD_NO_ASYNC_LOADING | CMD_WHOLE,
     .since = "1.0.0",
     .group = "server",
     .complexity = "O(1)",
     .syntax = "[SCHEDULE]@3.2.2",
     .history = "3.2.2 Added the `SCHEDULE` option.",
     .summary = "Begins to save the data set to disk, in slices between commands."},
    {.name = "lastsave",
     .run = lastsave_run,
     .arity = 1,
     .flags = CMD_LOADING | CMD_STALE | CMD_FAST,
     .categories = ACL_ADMIN | ACL_DANGEROUS,
     .since = "1.0.0",
     .group = "server",
     .complexity = "O(1)",
     .tips = "nondeterministic_output",
     .summary = "Returns the Unix time of the last save that succeeded."},
};

void saver_register(struct saver *saver)
{
    exec_register(saver->options.exec, save_rows, sizeof(save_rows) / sizeof(save_rows[0]), saver);
}
