/* The primary's stream is executed.
 *
 *     wire.in:  | shown | .. MULTI SET SET | EXEC SET GET | SE
 *               0       ^ shown            ^ at           ^ parse_at
 *
 * A window of commands is parsed and planned, its buckets and values are asked for, then it is run:
 * the same as net/drain.c does for clients. The commands pass the same gates as theirs; those that
 * would refuse a write know the session by SESSION_PRIMARY. What a client would be told to try
 * later waits here: the session is suspended (CLIENT PAUSE), or nothing is executed while a script
 * is parked. Then the bytes stay in the buffer and are parsed again.
 *
 * The stream is passed on as it came. What was executed goes to our own backlog byte for byte, at
 * the end of each run, so that offsets are the primary's and replicas of ours see what we saw. A
 * command that is executed in slices (exec/sliced.h) goes there in the step that ends it; until
 * then the session is suspended, and what comes behind the command waits. A transaction goes there
 * when its EXEC was executed: a link that breaks in the middle of it asks for it again from MULTI
 * on.
 *
 * While the stream is executed, keys and fields that have expired are as good as others: only the
 * primary says what expires, and a command of its may come behind the moment.
 *
 * Trouble. A command that we do not know, or whose number of arguments is not ours, ends the link:
 * whoever skipped it would hold other data than the primary and not know it. The next try comes a
 * second later, then two, up to a minute, and each says in the log what is missing. So does a
 * SELECT of a database that we have not. Any other error reply is logged and passed over, as in
 * Redis: the primary executed the command, and so the data of the two differs already.
 *
 * Invariants:
 *   1. shown <= committed <= at <= parse_at <= len; between two runs shown == committed.
 *   2. backlog_end is the offset of the byte before in[shown].
 *   3. No receive is in flight while commands are executed: their arguments point into the buffer.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "exec/aside.h"
#include "repl/link.h"

enum { QUOTED_MAX = 128 };

/* ---- The backlog ---- */

void apply_commit(struct link *link)
{
    struct wire *wire = link->wire;
    struct backlog *backlog = &link->repl->backlog;
    size_t len = wire->committed - wire->shown;
    if (len == 0) {
        return;
    }
    int64_t end = backlog_end(backlog) + (int64_t)len;
    backlog_append(backlog, slice_of(wire->in + wire->shown, len));
    if (backlog->is_broken) {
        replicas_drop_all(link->repl, "no memory for the backlog");
        backlog_close(backlog);
        backlog_open(backlog, end);
    } else {
        backlog_show(backlog);
    }
    wire->shown = wire->committed;
    link->patience_us = 0;
}

/* What is in the backlog leaves the buffer. */
static void compact(struct wire *wire)
{
    size_t done = wire->shown;
    if (done == 0) {
        return;
    }
    memmove(wire->in, wire->in + done, wire->len - done);
    wire->len -= done;
    wire->at -= done;
    wire->parse_at -= done;
    wire->committed -= done;
    wire->wanted -= wire->wanted > done ? done : wire->wanted;
    wire->shown = 0;
    if (wire->len == 0 && wire->cap > WIRE_CAP_KEPT) {
        mem_free(wire->in);
        wire->in = NULL;
        wire->cap = 0;
    }
}

/* ---- Trouble ---- */

/* A command, or the beginning of a long one, as the log shows it. */
static void quote(struct buf *text, const struct exec_plan *plan)
{
    buf_clear(text);
    for (uint32_t i = 0; i < plan->count && text->len < QUOTED_MAX; i++) {
        buf_append_text(text, i == 0 ? "" : " ");
        buf_append_quoted(text, slice_part(plan->args[i], 0, QUOTED_MAX / 2));
    }
}

static void log_command(const char *before, const struct exec_plan *plan, const char *after)
{
    struct buf text;
    buf_init(&text);
    quote(&text, plan);
    log_write(LOG_WARNING, "%s%.*s%s", before, (int)text.len, text.data, after);
    buf_deinit(&text);
}

/* Whether the command is one that this server can execute at all. */
static bool is_known(const struct exec_plan *plan)
{
    const struct command_entry *entry = plan->entry;
    if (entry == NULL || entry->run == NULL || entry->subcommand_count != 0) {
        return false; /* Or a container, whose subcommand is not known. */
    }
    return entry->arity > 0 ? plan->count == (uint32_t)entry->arity
                            : plan->count >= (uint32_t)-entry->arity;
}

static void refuse(struct link *link, const struct exec_plan *plan)
{
    char at[128];
    snprintf(at, sizeof(at), ", at offset %lld of the stream. The link is closed.",
             (long long)backlog_end(&link->repl->backlog) + 1);
    log_command("CRITICAL: the master sent a command that this server cannot execute: ", plan, at);
    link_drop_patiently(link);
}

static void log_error(const struct wire *wire, const struct buf *command)
{
    log_write(LOG_WARNING,
              "== CRITICAL == This replica is sending an error to its master: '%s' after "
              "processing the command %.*s",
              wire->reply.error_code, (int)command->len, command->data);
}

/* Nobody reads the answer; errors are told. */
static void drop_answer(struct wire *wire, const struct exec_plan *plan, uint64_t errors_before)
{
    if (__builtin_expect(wire->reply.error_count != errors_before, 0)) {
        quote(&wire->work, plan);
        log_error(wire, &wire->work);
    }
    reply_sent(&wire->reply, reply_len(&wire->reply));
}

/* ---- Work in slices ---- */

/* The command before `at` goes on in slices. */
static void note_work(struct wire *wire, const struct exec_plan *plan, uint64_t errors_before)
{
    quote(&wire->work, plan);
    wire->is_working = true;
    wire->work_errors = errors_before;
}

/* It has been executed, and is told with that, before anything else may happen: whoever looks at
 * the data sees it in them and in the offset, or in neither. */
static void end_work(struct link *link)
{
    struct wire *wire = link->wire;
    wire->is_working = false;
    if (wire->reply.error_count != wire->work_errors) {
        log_error(wire, &wire->work);
    }
    reply_sent(&wire->reply, reply_len(&wire->reply));
    if ((wire->session.flags & SESSION_MULTI) == 0) {
        wire->committed = wire->at;
    }
    apply_commit(link);
}

void apply_on_wake(struct wire *wire)
{
    struct link *link = link_of(wire->repl);
    if (wire->is_working && link->wire == wire && (wire->session.flags & SESSION_SUSPENDED) == 0) {
        end_work(link);
    }
}

void apply_settle(struct link *link)
{
    struct wire *wire = link->wire;
    if (!wire->is_working || exec_finish_session(link->repl->exec, &wire->session)) {
        return; /* Its end was told. */
    }
    if ((wire->session.flags & SESSION_KEPT) != 0) {
        end_work(link); /* A script, which goes on to its end whatever becomes of us. */
    }
}

/* ---- One command ---- */

/* REPLCONF GETACK *: the answer tells the offset before it. */
static bool is_getack(const struct exec_plan *plan)
{
    return plan->count == 3 && plan->args[0].len == 8 && slice_is(plan->args[0], "replconf") &&
           slice_is(plan->args[1], "getack");
}

enum ran { RAN, RAN_LATER, RAN_NO_MORE };

/* Executes a command that ends at `end` of the buffer. */
static enum ran run_one(struct link *link, struct exec_plan *plan, size_t end,
                        struct resp_parser *parser)
{
    struct wire *wire = link->wire;
    struct session *session = &wire->session;
    if (plan->count == 0) {
        wire->at = end;
    } else if (is_getack(plan)) {
        apply_commit(link);
        link_acknowledge(link);
        wire->at = end;
    } else if (!is_known(plan)) {
        refuse(link, plan);
        return RAN_NO_MORE;
    } else {
        uint64_t errors_before = wire->reply.error_count;
        if (exec_run(link->repl->exec, session, plan, parser) == EXEC_LATER) {
            return RAN_LATER;
        }
        if (wire->reply.error_count != errors_before && slice_is(plan->args[0], "select")) {
            refuse(link, plan); /* What follows would go to another database. */
            return RAN_NO_MORE;
        }
        wire->at = end;
        if ((session->flags & SESSION_SUSPENDED) != 0) {
            note_work(wire, plan, errors_before);
            return RAN_NO_MORE;
        }
        drop_answer(wire, plan, errors_before);
    }
    if ((session->flags & SESSION_MULTI) == 0) {
        wire->committed = wire->at;
    }
    bool goes_on =
        (session->flags & SESSION_SUSPENDED) == 0 && !wire->is_doomed && link->wire == wire;
    return goes_on ? RAN : RAN_NO_MORE;
}

/* ---- Windows ---- */

static const struct resp_limits limits = {
    .bulk_len_max = INT64_MAX / 4, /* Whatever a primary could store. */
    .args_max = RESP_ARGS_MAX,
    .is_authenticated = true,
};

/* Parses commands; what it stops at is returned, RESP_COMMAND without a kept one: the window is
 * full. */
static enum resp_result window_fill(struct link *link, bool *is_kept)
{
    struct apply_window *window = link->window;
    struct wire *wire = link->wire;
    struct resp_parser *parser = &wire->parser;
    window->count = window->arg_count = window->ahead.count = 0;
    *is_kept = false;
    while (window->count < APPLY_WINDOW_MAX) {
        struct slice rest = slice_of(wire->in + wire->parse_at, wire->len - wire->parse_at);
        if (rest.len == 0) {
            return RESP_MORE;
        }
        enum resp_result result =
            resp_parse(parser, rest, &limits, &window->args[window->arg_count], RESP_ARGS_INLINE);
        if (result == RESP_COMMAND && parser->partial != NULL) {
            *is_kept = true;
            return result;
        }
        if (result == RESP_MORE || result == RESP_BIG) {
            wire->parse_at += parser->consumed;
        }
        if (result != RESP_COMMAND) {
            return result;
        }
        wire->parse_at += parser->consumed;
        struct apply_command *command = &window->commands[window->count++];
        *command = (struct apply_command){.end = wire->parse_at};
        if (parser->argc != 0) {
            window->arg_count += parser->argc;
            exec_plan(link->repl->exec, &wire->session, parser->args, parser->argc, &command->plan);
            exec_look_ahead(&window->ahead, &wire->session, &command->plan);
        }
    }
    return RESP_COMMAND;
}

/* Forgets what was parsed behind the last command executed. */
static void parse_again(struct wire *wire)
{
    resp_parser_deinit(&wire->parser);
    resp_parser_init(&wire->parser);
    wire->parse_at = wire->at;
}

static enum ran window_run(struct link *link)
{
    struct apply_window *window = link->window;
    if (window->count > 1) {
        exec_prefetch(&window->ahead);
    }
    for (uint32_t i = 0; i < window->count; i++) {
        struct apply_command *command = &window->commands[i];
        enum ran ran = run_one(link, &command->plan, command->end, NULL);
        if (ran != RAN) {
            return ran;
        }
    }
    return RAN;
}

/* A command that the parser keeps: a long one. */
static enum ran run_kept(struct link *link)
{
    struct wire *wire = link->wire;
    struct resp_parser *parser = &wire->parser;
    struct exec_plan plan;
    size_t end = wire->parse_at + parser->consumed;
    exec_plan(link->repl->exec, &wire->session, parser->args, parser->argc, &plan);
    enum ran ran = run_one(link, &plan, end, parser);
    if (ran != RAN_LATER && link->wire == wire && wire->at == end) {
        resp_parse_finish(parser);
        wire->parse_at = end;
    }
    return ran;
}

/* What the bytes behind the last command are. False: nothing more can be executed now. */
static bool after_window(struct link *link, enum resp_result stopped_at)
{
    struct wire *wire = link->wire;
    const struct resp_parser *parser = &wire->parser;
    switch (stopped_at) {
    case RESP_COMMAND:
        return true;
    case RESP_MORE:
        wire->wanted = 0;
        return false;
    case RESP_BIG:
        wire->wanted = wire->parse_at + parser->big_len + 2;
        return wire->wanted <= wire->len;
    default:
        log_write(LOG_WARNING, "Protocol error from the master: %s, at offset %lld of the stream",
                  stopped_at == RESP_ERROR ? parser->error : "no command",
                  (long long)backlog_end(&link->repl->backlog) + 1);
        link->has_history = false;
        link_drop_patiently(link);
        return false;
    }
}

/* One window; false: nothing more can be executed now. */
static bool apply_window(struct link *link)
{
    struct wire *wire = link->wire;
    bool is_kept;
    if (wire->len < wire->wanted) {
        return false;
    }
    enum resp_result stopped_at = window_fill(link, &is_kept);
    enum ran ran = window_run(link);
    if (ran == RAN && is_kept) {
        ran = run_kept(link);
    }
    if (link->wire != wire) {
        return false;
    }
    if (ran != RAN) {
        parse_again(wire);
        return false;
    }
    return after_window(link, stopped_at);
}

/* ---- Runs ---- */

/* Nothing more can be executed of what is there. */
static void await_more(struct link *link)
{
    struct wire *wire = link->wire;
    bool is_suspended = (wire->session.flags & SESSION_SUSPENDED) != 0;
    wire->is_ready = wire->is_doomed;
    if (is_suspended || wire->is_doomed) {
        return; /* It is woken, or dropped. */
    }
    compact(wire);
    if (wire->has_ended) {
        link_lost(link);
    } else {
        (void)wire_receive(wire);
    }
}

bool apply_run(struct link *link, int64_t deadline_mono_us)
{
    struct repl *repl = link->repl;
    struct keyspace *keyspace = exec_keyspace(repl->exec);
    struct wire *wire = link->wire;
    bool may_run = (wire->session.flags & SESSION_SUSPENDED) == 0;
    if (wire->receive.in_flight || !may_run || aside_is_parked(repl->exec)) {
        return false; /* Looked at again in the next turn: is_ready stays. */
    }
    bool is_more = true;
    keyspace_show_expired(keyspace, true);
    do {
        is_more = apply_window(link);
    } while (is_more && ring_mono_us(repl->options.ring) < deadline_mono_us);
    keyspace_show_expired(keyspace, false);
    if (link->wire != wire) {
        return false;
    }
    apply_commit(link);
    if (!is_more) {
        await_more(link);
    }
    return is_more;
}
