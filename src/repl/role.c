/* Who we are: the primary, or the replica of one. REPLICAOF, the start, and what a change of role
 * means for ids and histories.
 *
 *                     REPLICAOF host port, FAILOVER on the primary
 *          primary -----------------------------------------------> replica
 *                  <-----------------------------------------------
 *                     REPLICAOF NO ONE, PSYNC ... FAILOVER
 *
 *     promotion    second id = id, up to the end; a new id is drawn, for what we write from here on
 *                  is our own history. The backlog stays, so whoever followed the same primary goes
 *                  on with us; our own replicas are dropped and come back by the second id.
 *     demotion     id and end are kept and shown to the new primary: if it was our replica, it
 *                  knows them as its second id. Clients that block are sent away: what they wait
 *                  for may never happen here.
 *     restart      a snapshot holds id, offset and database of the stream. A replica asks its
 *                  primary to go on from there; a primary takes the id as its second, so that
 *                  replicas that were at the same point need no full synchronisation.
 *
 * Invariant: link.host is set exactly while repl.is_replica. */
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "exec/block.h"
#include "repl/link.h"

#define ERR_UNBLOCKED                                                                              \
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"

/* ---- Changes ---- */

static char *copy_text(struct slice text)
{
    char *copy = mem_alloc(text.len + 1);
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    return copy;
}

static void tell_host(struct repl *repl)
{
    feed_update(repl);
    repl->options.host.on_role(repl->options.host.context, repl->is_replica);
}

void role_follow(struct repl *repl, struct slice host, int port)
{
    struct link *link = link_of(repl);
    bool was_primary = !repl->is_replica;
    char *copy = copy_text(host); /* It may be the link's own. */
    link_leave(link);
    link->host = copy;
    link->port = port;
    link->attempts = 0;
    guard_lift(repl);
    if (was_primary) {
        exec_finish_writes(repl->exec); /* They are part of our history. */
        repl->is_replica = true;
        block_cancel_all(repl->exec, ERR_UNBLOCKED);
        waits_cancel_all(repl, ERR_UNBLOCKED);
        link->has_history = true;
        link->stream_db = 0; /* A primary that was promoted selects one first. */
        if (!backlog_is_open(&repl->backlog)) {
            backlog_open(&repl->backlog, backlog_end(&repl->backlog));
        }
    }
    tell_host(repl);
    replicas_drop_all(repl, "our primary has changed");
    link_start(link);
}

void role_promote(struct repl *repl)
{
    struct link *link = link_of(repl);
    if (!repl->is_replica) {
        return;
    }
    link_leave(link);
    link->has_history = false;
    repl->is_replica = false;
    repl_shift_id(repl);
    replicas_drop_all(repl, "we have become a primary");
    repl->alone_since_us = repl->now->mono_us;
    feed_forget_db(repl);
    tell_host(repl);
}

/* ---- The start ---- */

void repl_follow(struct repl *repl, struct slice host, int port)
{
    role_follow(repl, host, port);
    link_of(repl)->has_history = false; /* Unless repl_restore brings one. */
}

const char *repl_primary(const struct repl *repl, int *port)
{
    *port = link_of(repl)->port;
    return link_of(repl)->host;
}

void repl_restore(struct repl *repl, const struct repl_facts *facts)
{
    struct link *link = link_of(repl);
    if (backlog_is_open(&repl->backlog)) {
        backlog_close(&repl->backlog);
    }
    backlog_open(&repl->backlog, facts->offset);
    if (repl->is_replica) {
        memcpy(repl->id, facts->id, sizeof(repl->id));
        link->has_history = true;
        link->stream_db = facts->db;
        return;
    }
    memcpy(repl->id2, facts->id, sizeof(repl->id2));
    repl->id2_offset = facts->offset + 1;
    repl->alone_since_us = repl->now->mono_us;
    feed_update(repl);
}

bool repl_facts(const struct repl *repl, struct repl_facts *facts)
{
    const struct link *link = link_of(repl);
    if (!backlog_is_open(&repl->backlog) || (repl->is_replica && !link->has_history)) {
        return false;
    }
    memcpy(facts->id, repl->id, sizeof(facts->id));
    facts->offset = backlog_end(&repl->backlog);
    facts->db = repl->is_replica ? link_db(repl) : repl->feed.db;
    return true;
}

void repl_open(struct repl *repl, bool has_data)
{
    struct link *link = link_of(repl);
    link->is_open = true;
    if (!has_data && !repl->is_replica && repl->config.guard_timeout_s > 0) {
        link->guard.state = GUARD_ARMED;
    }
    if (link->state == LINK_WAITING) {
        link_start(link);
    }
}

/* ---- Refusals ---- */

const char *repl_refuses(const struct repl *repl, const struct session *session, bool is_write)
{
    const char *few = is_write ? repl_refuses_writes(repl) : NULL;
    if (few != NULL) {
        return few;
    }
    if (is_write && repl->is_replica && repl->config.is_read_only) {
        return "READONLY You can't write against a read only replica.";
    }
    return guard_refuses(repl, session, is_write);
}

bool repl_may_refuse(const struct repl *repl)
{
    return repl_refuses_writes(repl) != NULL || guard_is_on(repl) ||
           (repl->is_replica && repl->config.is_read_only);
}

/* ---- REPLICAOF ---- */

/* "id=7 addr=...": who asked. */
static void log_request(struct call *call, const char *what)
{
    struct buf line;
    buf_init(&line);
    session_describe(call->session, call->now->wall_ms, &line);
    log_write(LOG_NOTICE, "%s enabled (user request from '%.*s')", what, (int)line.len, line.data);
    buf_deinit(&line);
}

/* REPLICAOF NO ONE */
static void stand_alone(struct call *call)
{
    struct repl *repl = call->family;
    guard_lift(repl);
    if (repl->is_replica) {
        role_promote(repl);
        log_request(call, "MASTER MODE");
    }
    reply_ok(call->out);
}

/* REPLICAOF host port | NO ONE */
static void replicaof_run(struct call *call)
{
    struct repl *repl = call->family;
    struct link *link = link_of(repl);
    struct slice host = call->args.at[1];
    int64_t port;
    if (link->failover.state != FAILOVER_NONE) {
        reply_error(call->out, "ERR REPLICAOF not allowed while failing over.");
        return;
    }
    if ((call->session->flags & SESSION_PRIMARY) != 0) {
        reply_error(call->out, "ERR REPLICAOF is not for a master to say");
        return;
    }
    if (call_is(call, 1, "no") && call_is(call, 2, "one")) {
        stand_alone(call);
        return;
    }
    if ((call->session->flags & SESSION_REPLICA) != 0) {
        reply_error(call->out, "ERR Command is not valid when client is a replica.");
        return;
    }
    if (!call_range_i64(call, 2, 0, 65535, &port, "ERR Invalid master port")) {
        return;
    }
    if (link->host != NULL && slice_is(host, link->host) && link->port == (int)port) {
        log_write(LOG_NOTICE, "REPLICAOF would result into synchronization with the master we are "
                              "already connected with. No operation performed.");
        reply_status(call->out, "OK Already connected to specified master");
        return;
    }
    if (!repl_is_host(host)) {
        reply_error(call->out, "ERR Invalid master host");
        return;
    }
    struct buf what;
    buf_init(&what);
    buf_printf(&what, "REPLICAOF %.*s:%lld", (int)host.len, host.data, (long long)port);
    buf_append_byte(&what, '\0');
    if (!repl->is_replica) {
        log_write(LOG_NOTICE, "Before turning into a replica, using my own master parameters to "
                              "synthesize a cached master: I may be able to synchronize with the "
                              "new master with just a partial transfer.");
    }
    role_follow(repl, host, (int)port);
    log_request(call, what.data);
    buf_deinit(&what);
    reply_ok(call->out);
}

#define REPLICAOF_FLAGS                                                                            \
    (CMD_ADMIN | CMD_NO_SCRIPT | CMD_STALE | CMD_NO_ASYNC_LOADING | CMD_AFTER_WRITES)
#define REPLICAOF_SYNTAX "[args: <host-port: host port:integer> | <no-one: NO ONE>]"

static const struct command role_rows[] = {
    {.name = "replicaof",
     .run = replicaof_run,
     .arity = 3,
     .flags = REPLICAOF_FLAGS,
     .since = "5.0.0",
     .group = "server",
     .complexity = "O(1)",
     .summary = "Makes this server a replica of another one, or a primary again.",
     .syntax = "host port:integer"},
    {.name = "slaveof",
     .run = replicaof_run,
     .arity = 3,
     .flags = REPLICAOF_FLAGS,
     .since = "1.0.0",
     .group = "server",
     .complexity = "O(1)",
     .deprecated = "5.0.0 `REPLICAOF`",
     .summary = "Makes this server a replica of another one, or a primary again.",
     .syntax = "host port:integer"},
    {.name = "failover",
     .run = failover_run,
     .arity = -1,
     .flags = CMD_ADMIN | CMD_NO_SCRIPT | CMD_STALE | CMD_AFTER_WRITES,
     .since = "6.2.0",
     .group = "server",
     .complexity = "O(1)",
     .summary = "Has a replica take over from this primary, which becomes its replica.",
     .syntax = "[target: TO <host port:integer [FORCE]>] [ABORT] [TIMEOUT milliseconds:integer]"},
};

void role_register(struct repl *repl)
{
    exec_register(repl->exec, role_rows, sizeof(role_rows) / sizeof(role_rows[0]), repl);
}
