/* The drain: bytes to commands, a window at a time.
 *
 *     ready:   [A] -> [B] -> [C]
 *
 *     fill     A: GET SET GET   B: GET   C: INCR INCR      parse, plan: keys are hashed
 *     window   [0] [1] [2]      [3]      [4]  [5]
 *     warm     one after the other, in passes              buckets, then values are on their way
 *     run      in the same order                           replies are written
 *     settle   each connection steps over what was executed, then waits, or is ready again
 *
 * By the time a command runs, its bucket and its value were asked for long ago: on a large data
 * set this hides most of two cache misses per command. Windows span connections, so it works for a
 * hundred clients without pipelines as well.
 *
 * Parsing ahead must not outrun what execution decides:
 *   - A session that must authenticate gets a window of one command, for its limits change then.
 *   - A command may suspend or close any session. What was parsed ahead for it is forgotten: its
 *     bytes were not stepped over, so they are parsed again when it goes on.
 *   - What changes the parser's state (an incomplete command, a large bulk, an error, a command
 *     with so many arguments that the parser keeps them) ends the visit, and is dealt with when
 *     everything before it was executed. Otherwise the parser starts afresh.
 *   - A kept command that is told to come later (EXEC_LATER) stays in the parser (CONN_PARSED).
 *
 * Order between connections: that in which they became ready, and who waits for a key first is
 * served first. So a visit that ends although more of its command is there is the window's last: a
 * kept command runs behind the window, and what lies in several buffers is joined there.
 *
 * Fairness: a connection executes ROUND_MAX commands, or a kept one, then goes behind the others.
 *
 * Costs per command: a row of the window (64 bytes), its arguments in an array that is used from
 * the start again with each window, so that it stays in the first-level cache.
 *
 * Invariants:
 *   1. Commands of a connection run in the order of their bytes.
 *   2. While a window exists no connection is freed, and no byte that its arguments may point at is
 *      given back.
 *   3. A parser that remembers bytes which are gone yields no command for the window: the next one
 *      is kept, and ends the visit.
 *   4. A connection with something to execute is on the ready list, or a flag says why not.
 *
 * Rejected: executing in the completion (no window: one miss at a time); a window per connection
 * (the same for clients without pipelines). */
#include "base/log.h"
#include "net/net_internal.h"

/* ---- After a visit ---- */

static bool has_more(const struct conn *conn)
{
    if ((conn->flags & CONN_PARSED) != 0) {
        return true;
    }
    bool is_waiting = (conn->flags & CONN_HUNGRY) != 0 && conn->first == NULL;
    return !input_is_empty(conn) && !is_waiting;
}

bool conn_is_blocking(const struct conn *conn)
{
    const struct session *session = &conn->session;
    if ((session->flags & SESSION_SUSPENDED) == 0 ||
        (session->flags & (SESSION_PAUSED | SESSION_HELD)) != 0) {
        return false;
    }
    return session->on_unblock != NULL ||
           (session->last_command != NULL && (session->last_command->flags & CMD_BLOCKING) != 0);
}

/* It may not execute now. What it sent is kept; a client that has gone while it blocks ends. */
static void park_stopped(struct conn *conn)
{
    bool is_left = (conn->flags & CONN_EOF) != 0 && conn_is_blocking(conn);
    if (is_left || !input_hold_all(conn)) {
        conn_shut(conn);
    }
}

static void set_ready_again(struct conn *conn)
{
    struct net *net = conn->net;
    if (conn->round_count < ROUND_MAX) {
        list_push_front(&net->ready, &conn->ready_link);
        return;
    }
    conn_set_ready(conn);
}

/* Decides what a connection that was taken off the ready list does next. */
static void conn_park(struct conn *conn)
{
    if ((conn->session.flags & SESSION_CLOSE_NOW) != 0) {
        conn_doom(conn);
        return;
    }
    if ((conn->session.flags & SESSION_CLOSE_AFTER_REPLY) != 0) {
        input_drop(conn);
    } else if (conn_is_stopped(conn)) {
        park_stopped(conn);
    } else if (has_more(conn)) {
        set_ready_again(conn);
    } else if ((conn->flags & CONN_EOF) != 0) {
        conn->session.flags |= SESSION_CLOSE_AFTER_REPLY;
    }
    if ((conn->session.flags & SESSION_CLOSE_AFTER_REPLY) != 0 || !reply_is_empty(&conn->reply)) {
        conn_set_dirty(conn);
    }
    conn_account(conn);
    conn_update_receive(conn);
}

/* ---- One command ---- */

/* What a command just executed may have caused. */
static void after_command(struct net *net, struct conn *conn)
{
    if (conn->reply.memory > net->output_check) {
        conn_check_output(conn);
    }
    net_reap_doomed(net);
}

/* Executes a command that the parser keeps, outside the window. */
static void run_kept(struct conn *conn)
{
    struct net *net = conn->net;
    struct resp_parser *parser = &conn->parser;
    if (conn_is_stopped(conn)) {
        conn->flags |= CONN_PARSED;
        return;
    }
    struct exec_plan plan;
    exec_plan(net->exec, &conn->session, parser->args, parser->argc, &plan);
    conn->round_count = ROUND_MAX;
    if (exec_run(net->exec, &conn->session, &plan, parser) == EXEC_LATER) {
        conn->flags |= CONN_PARSED;
        return;
    }
    conn->flags &= ~(uint32_t)CONN_PARSED;
    input_advance(conn, parser->consumed);
    resp_parse_finish(parser);
    after_command(net, conn);
}

/* Cross-protocol requests come from browsers that were talked into it: no reply helps them. */
static void refuse_http(struct conn *conn)
{
    log_write(LOG_WARNING,
              "Possible SECURITY ATTACK detected: a client sends POST or Host: as commands, which "
              "is how a browser is made to talk to a server behind a firewall. The connection is "
              "aborted.");
    conn_shut(conn);
}

/* The rest of the region is an incomplete command: its bytes move to the connection's own. Those of
 * a bridge do not: their buffer still has them, and the next visit begins there. */
static void await_more(struct conn *conn)
{
    bool is_received = conn->held == NULL;
    size_t rest = input_region(conn).len - conn->parser.consumed;
    input_advance(conn, conn->parser.consumed);
    conn->flags |= CONN_HUNGRY;
    if (is_received && rest > 0 && !input_hold_first(conn)) {
        conn_shut(conn);
    }
}

static void visit_end_special(struct visit *visit)
{
    struct conn *conn = visit->conn;
    switch (visit->special) {
    case RESP_COMMAND:
        run_kept(conn);
        break;
    case RESP_MORE:
        await_more(conn);
        break;
    case RESP_BIG:
        input_advance(conn, conn->parser.consumed);
        (void)big_begin(conn);
        break;
    case RESP_ERROR:
        conn_fail(conn, conn->parser.error);
        break;
    case RESP_HTTP:
        refuse_http(conn);
        break;
    }
}

/* ---- Filling the window ---- */

/* How many commands may be parsed ahead now. */
static uint32_t visit_budget(const struct net *net, const struct conn *conn)
{
    uint32_t room = WINDOW_MAX - net->window.count;
    uint32_t left = (uint32_t)(ROUND_MAX - conn->round_count);
    if ((conn->session.flags & SESSION_NEEDS_AUTH) != 0) {
        return 1;
    }
    return room < left ? room : left;
}

static void window_add(struct net *net, struct visit *visit, size_t end)
{
    struct window *window = &net->window;
    struct conn *conn = visit->conn;
    struct window_command *command = &window->commands[window->count++];
    window->arg_count += conn->parser.argc;
    command->visit = (uint32_t)(visit - window->visits);
    command->end = end;
    exec_plan(net->exec, &conn->session, conn->parser.args, conn->parser.argc, &command->plan);
    exec_look_ahead(&window->ahead, &conn->session, &command->plan);
}

/* Parses commands of the connection into the window. */
static void visit_parse(struct net *net, struct visit *visit)
{
    struct window *window = &net->window;
    struct conn *conn = visit->conn;
    struct resp_parser *parser = &conn->parser;
    const struct resp_limits limits = {
        .bulk_len_max = net->config.bulk_len_max,
        .args_max = RESP_ARGS_MAX,
        .is_authenticated = (conn->session.flags & SESSION_NEEDS_AUTH) == 0,
    };
    struct slice region = input_region(conn);
    size_t limit = input_region_limit(conn, region);
    uint32_t budget = visit_budget(net, conn);
    uint32_t first = window->count;
    size_t at = 0;
    while (at < limit && window->count - first < budget) {
        enum resp_result result =
            resp_parse(parser, slice_of(region.data + at, region.len - at), &limits,
                       &window->args[window->arg_count], RESP_ARGS_INLINE);
        if (result != RESP_COMMAND || parser->partial != NULL) {
            visit->has_special = true;
            visit->special = result;
            break;
        }
        at += parser->consumed;
        if (parser->argc > 0) {
            window_add(net, visit, at);
        } else if (window->count > first) {
            window->commands[window->count - 1].end = at; /* An empty line goes with it. */
        } else {
            visit->executed = at;
        }
    }
    if (window->count > first || (visit->has_special && visit->special != RESP_MORE)) {
        conn->flags &= ~(uint32_t)CONN_HUNGRY;
    }
    conn->round_count = (uint16_t)(conn->round_count + window->count - first);
    visit->has_commands = window->count > first;
}

/* Gets a connection into a state in which it can be parsed. False: it has nothing to execute now.
 */
static bool conn_prepare(struct conn *conn)
{
    if (conn_is_stopped(conn)) {
        return false;
    }
    if (conn->big != NULL && (!big_fill(conn) || conn->big != NULL)) {
        return false;
    }
    bool is_cut = conn->held != NULL && conn->first != NULL && (conn->flags & CONN_HUNGRY) != 0;
    if (is_cut && !input_bridge(conn)) {
        conn_shut(conn);
        return false;
    }
    return true;
}

static void visit_begin(struct net *net, struct conn *conn)
{
    struct window *window = &net->window;
    if (!conn_prepare(conn)) {
        conn_park(conn);
        return;
    }
    struct visit *visit = &window->visits[window->visit_count++];
    *visit = (struct visit){.conn = conn, .is_whole = true};
    conn->flags |= CONN_IN_WINDOW;
    if ((conn->flags & CONN_PARSED) != 0) {
        visit->has_special = true;
        visit->special = RESP_COMMAND;
        return;
    }
    visit_parse(net, visit);
}

/* Whether the connection may have a whole command that is not in the window. */
static bool visit_leaves_some(const struct visit *visit)
{
    const struct conn *conn = visit->conn;
    bool has_further = conn->held != NULL ? conn->first != NULL : conn->first != conn->last;
    return visit->has_special && (visit->special != RESP_MORE || has_further);
}

static bool window_is_full(const struct window *window)
{
    uint32_t count = window->visit_count;
    return window->count == WINDOW_MAX || count == WINDOW_MAX ||
           (count > 0 && visit_leaves_some(&window->visits[count - 1]));
}

static void window_fill(struct net *net)
{
    struct window *window = &net->window;
    window->count = window->visit_count = window->arg_count = window->ahead.count = 0;
    while (!list_is_empty(&net->ready) && !window_is_full(window)) {
        struct conn *conn = LIST_OWNER(net->ready.next, struct conn, ready_link);
        list_remove(&conn->ready_link);
        visit_begin(net, conn);
    }
}

/* ---- Running it ---- */

static void window_run(struct net *net)
{
    struct window *window = &net->window;
    if (window->count > 1) {
        exec_prefetch(&window->ahead);
    }
    for (uint32_t i = 0; i < window->count; i++) {
        struct window_command *command = &window->commands[i];
        struct visit *visit = &window->visits[command->visit];
        struct conn *conn = visit->conn;
        if (!visit->is_whole || conn_is_stopped(conn)) {
            visit->is_whole = false;
            continue;
        }
        if (exec_run(net->exec, &conn->session, &command->plan, NULL) == EXEC_LATER) {
            visit->is_whole = false;
            continue;
        }
        visit->executed = command->end;
        after_command(net, conn);
    }
}

static void visit_settle(struct visit *visit)
{
    struct conn *conn = visit->conn;
    conn->flags &= ~(uint32_t)CONN_IN_WINDOW;
    if ((conn->flags & (CONN_CLOSED | CONN_DOOMED)) != 0) {
        return;
    }
    input_advance(conn, visit->executed);
    /* What was parsed behind a command that stopped the connection is parsed again. Without such a
     * command the parser may remember bytes that are gone, and keeps them. */
    bool is_undone = !visit->is_whole || (visit->has_commands && conn_is_stopped(conn));
    if (visit->has_special && !is_undone) {
        visit_end_special(visit);
    } else if (visit->has_special) {
        resp_parser_deinit(&conn->parser);
        resp_parser_init(&conn->parser);
    }
    if ((conn->flags & (CONN_CLOSED | CONN_DOOMED)) == 0) {
        list_remove(&conn->ready_link);
        conn_park(conn);
    }
}

/* Backwards, so that connections that stay in front keep their order. Only the last visit can have
 * a kept command, so that runs first. */
static void window_settle(struct net *net)
{
    struct window *window = &net->window;
    for (uint32_t i = window->visit_count; i > 0; i--) {
        visit_settle(&window->visits[i - 1]);
    }
}

bool net_drain(struct net *net, int64_t deadline_mono_us)
{
    net->is_draining = true;
    net->reaped_count = 0;
    net_reap_doomed(net);
    while (!list_is_empty(&net->ready)) {
        window_fill(net);
        window_run(net);
        window_settle(net);
        net_reap_doomed(net);
        if (list_is_empty(&net->ready) || ring_mono_us(net->ring) >= deadline_mono_us) {
            break;
        }
    }
    net->is_draining = false;
    if (net->dead_count > 0) {
        net_reap_dead(net);
    }
    return !list_is_empty(&net->ready);
}
