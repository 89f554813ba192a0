/* Commands about the server as a process: SHUTDOWN, TIME, LOLWUT. */
#include "script/script.h"
#include "server/server.h"

/* ---- SHUTDOWN -------------------------------------------------------------------------------- */

enum shutdown_word {
    SHUTDOWN_NOSAVE = 1 << 0,
    SHUTDOWN_SAVE = 1 << 1,
    SHUTDOWN_NOW = 1 << 2,
    SHUTDOWN_FORCE = 1 << 3,
    SHUTDOWN_ABORT = 1 << 4,
};

static unsigned shutdown_word(const struct call *call, uint32_t index)
{
    static const char *const words[] = {"NOSAVE", "SAVE", "NOW", "FORCE", "ABORT"};
    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (call_is(call, index, words[i])) {
            return 1U << i;
        }
    }
    return 0;
}

/* The options as bits; false with the error replied. */
static bool shutdown_words(struct call *call, unsigned *out)
{
    unsigned words = 0;
    bool is_valid = true;
    for (uint32_t i = 1; i < call->args.count; i++) {
        unsigned word = shutdown_word(call, i);
        words |= word;
        is_valid = is_valid && word != 0;
    }
    bool is_contrary = (words & SHUTDOWN_SAVE) != 0 && (words & SHUTDOWN_NOSAVE) != 0;
    bool is_mixed = (words & SHUTDOWN_ABORT) != 0 && words != SHUTDOWN_ABORT;
    if (!is_valid || is_contrary || is_mixed) {
        reply_error(call->out, ERR_SYNTAX);
        return false;
    }
    *out = words;
    return true;
}

/* Who asked closes before the end: nobody is to be told how it went. */
static void shutdown_on_cancel(struct session *session, void *context)
{
    struct shutdown_request *shutdown = context;
    (void)session;
    shutdown->session = NULL;
}

/* Nothing is replied when it succeeds: the connection closes. When the data set cannot be saved the
 * server goes on, and the error is the reply. Nothing delays the end but that and replies that are
 * on their way, so there is never a shutdown in progress that could be aborted. */
static void shutdown_run(struct call *call)
{
    struct server *server = call->family;
    unsigned words;
    if (!shutdown_words(call, &words)) {
        return;
    }
    if ((words & SHUTDOWN_ABORT) != 0) {
        reply_error(call->out, "ERR No shutdown in progress.");
        return;
    }
    const char *busy = script_busy_error(server->script);
    if (busy != NULL && (words & SHUTDOWN_NOSAVE) == 0) {
        reply_error(call->out, busy);
        return;
    }
    struct shutdown_request *shutdown = &server->shutdown;
    bool is_first = !shutdown->is_requested;
    shutdown->is_requested = true;
    shutdown->is_now = (words & SHUTDOWN_NOW) != 0;
    shutdown->is_forced = (words & SHUTDOWN_FORCE) != 0;
    shutdown->must_save = (words & SHUTDOWN_SAVE) != 0;
    shutdown->must_not_save = (words & SHUTDOWN_NOSAVE) != 0;
    if (is_first && call->session->ops != NULL) {
        shutdown->session = call->session;
        session_suspend(call->session, shutdown_on_cancel, shutdown);
    }
}

/* ---- TIME ------------------------------------------------------------------------------------ */

static void time_run(struct call *call)
{
    reply_array(call->out, 2);
    reply_bulk_integer(call->out, call->now->wall_us / 1000000);
    reply_bulk_integer(call->out, call->now->wall_us % 1000000);
}

/* ---- LOLWUT ---------------------------------------------------------------------------------- */

/* A version may be named, but there is one picture for all; what follows it are its options. */
static void lolwut_run(struct call *call)
{
    static const char picture[] = "        .-=-=-=-=-=-.\n"
                                  "     .=-             -=.\n"
                                  "   .=    .-=-=-=-.     =.\n"
                                  "  =-   .=         =.    -=\n"
                                  "  -=   -           -    =-\n"
                                  "  =-   =.         .=   -=\n"
                                  "   =.    -=-=:=-=-    .=\n"
                                  "     -=.   <o )     .=-\n"
                                  "        -=-=-'  =-=-\n"
                                  "\n"
                                  "Ouro eats its tail, one turn at a time.\n"
                                  "Redis ver. " OURO_REDIS_VERSION "\n";
    int64_t version;
    if (call->args.count >= 3 && call_is(call, 1, "VERSION") &&
        !call_i64(call, 2, &version, NULL)) {
        return;
    }
    reply_verbatim(call->out, "txt", slice_from_text(picture));
}

static const struct command admin_rows[] = {
    {.name = "shutdown",
     .run = shutdown_run,
     .arity = -1,
     .flags = CMD_ADMIN | CMD_NO_SCRIPT | CMD_LOADING | CMD_STALE | CMD_NO_MULTI | CMD_ALLOW_BUSY |
              CMD_WHOLE,
     .since = "1.0.0",
     .group = "server",
     .complexity = "O(N) when saving, where N is the total number of keys in all databases when "
                   "saving data, otherwise O(1)",
     .syntax = "[NOSAVE | SAVE] [NOW]@7.0.0 [FORCE]@7.0.0 [ABORT]@7.0.0",
     .history = "7.0.0 Added the `NOW`, `FORCE` and `ABORT` modifiers.",
     .summary = "Ends the server after the replies that are on their way."},
    {.name = "time",
     .run = time_run,
     .arity = 1,
     .flags = CMD_LOADING | CMD_STALE | CMD_FAST,
     .since = "2.6.0",
     .group = "server",
     .complexity = "O(1)",
     .tips = "nondeterministic_output",
     .summary = "Returns the server's clock: Unix seconds, and microseconds."},
    {.name = "lolwut",
     .run = lolwut_run,
     .arity = -1,
     .flags = CMD_READONLY | CMD_FAST,
     .since = "5.0.0",
     .group = "server",
     .syntax = "[VERSION version:integer]",
     .summary = "Draws a picture and tells the Redis version that is spoken."},
};

void server_register_admin(struct server *server)
{
    exec_register(server->exec, admin_rows, sizeof(admin_rows) / sizeof(admin_rows[0]), server);
}
