/* FAILOVER: a primary hands its place to a replica that has everything.
 *
 *     FAILOVER --> WAIT_SYNC: writes are held back until a replica has acknowledged our end
 *                      | one has, or the time is over and FORCE was said
 *                      v
 *                  IN_PROGRESS: we follow it; PSYNC id offset FAILOVER tells it to be the primary
 *                      | +CONTINUE                  | anything else, FAILOVER ABORT
 *                      v                            v
 *                  its replica; writes go on        primary again; writes go on
 *
 * No write that was acknowledged is lost, for none is executed between the acknowledgement that we
 * wait for and the replica's answer. */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "exec/aside.h"
#include "repl/link.h"

const char *failover_state_name(const struct repl *repl)
{
    static const char *const names[] = {
        [FAILOVER_NONE] = "no-failover",
        [FAILOVER_WAIT_SYNC] = "waiting-for-sync",
        [FAILOVER_IN_PROGRESS] = "failover-in-progress",
    };
    return names[link_of(repl)->failover.state];
}

bool failover_is_on(const struct repl *repl)
{
    return link_of(repl)->failover.state != FAILOVER_NONE;
}

static void clear(struct repl *repl)
{
    struct failover *failover = &link_of(repl)->failover;
    mem_free(failover->host);
    *failover = (struct failover){.state = FAILOVER_NONE};
    exec_unpause(repl->exec, PAUSE_BY_FAILOVER);
}

void failover_abort(struct repl *repl, const char *why)
{
    struct failover *failover = &link_of(repl)->failover;
    enum failover_state state = failover->state;
    if (state == FAILOVER_NONE) {
        return;
    }
    if (failover->host != NULL) {
        log_write(LOG_NOTICE, "Aborting failover to %s:%d while %s: %s", failover->host,
                  failover->port, failover_state_name(repl), why);
    } else {
        log_write(LOG_NOTICE, "Aborting failover while %s: %s", failover_state_name(repl), why);
    }
    clear(repl);
    if (state == FAILOVER_IN_PROGRESS) {
        role_promote(repl);
    }
}

void failover_on_psync(struct repl *repl, bool is_accepted)
{
    if (link_of(repl)->failover.state != FAILOVER_IN_PROGRESS) {
        return;
    }
    if (is_accepted) {
        clear(repl);
    } else {
        failover_abort(repl, "Failover target rejected psync request");
    }
}

/* ---- Whom to hand over to ---- */

/* Its address as its announcements or its connection tell it. */
static void address_of(const struct replica *replica, char host[REPLICA_NAME_MAX], int *port)
{
    replica_ip(replica, host);
    *port = replica->announced_port;
}

static const struct replica *find_replica(const struct repl *repl, struct slice host, int64_t port)
{
    for (const struct list *node = repl->replicas.next; node != &repl->replicas;
         node = node->next) {
        const struct replica *replica = LIST_OWNER(node, struct replica, link);
        char name[REPLICA_NAME_MAX];
        int its_port;
        address_of(replica, name, &its_port);
        if (slice_equal(host, slice_from_text(name)) && port == its_port) {
            return replica;
        }
    }
    return NULL;
}

static void choose(struct failover *failover, struct slice host, int port)
{
    failover->host = mem_alloc(host.len + 1);
    memcpy(failover->host, host.data, host.len);
    failover->host[host.len] = '\0';
    failover->port = port;
}

static bool has_caught_up(const struct repl *repl, const struct replica *replica)
{
    return replica != NULL && replica->state == REPLICA_ONLINE &&
           replica->acked == backlog_end(&repl->backlog);
}

/* Whether the replica that was named has everything; or names one that has. */
static bool find_target(struct repl *repl)
{
    struct failover *failover = &link_of(repl)->failover;
    if (failover->host != NULL) {
        struct slice host = slice_from_text(failover->host);
        return has_caught_up(repl, find_replica(repl, host, failover->port));
    }
    for (struct list *node = repl->replicas.next; node != &repl->replicas; node = node->next) {
        const struct replica *replica = LIST_OWNER(node, struct replica, link);
        char host[REPLICA_NAME_MAX];
        int port;
        if (has_caught_up(repl, replica)) {
            address_of(replica, host, &port);
            choose(failover, slice_from_text(host), port);
            return true;
        }
    }
    return false;
}

static void hand_over(struct repl *repl)
{
    struct failover *failover = &link_of(repl)->failover;
    failover->state = FAILOVER_IN_PROGRESS;
    role_follow(repl, slice_from_text(failover->host), failover->port);
}

void failover_tick(struct repl *repl)
{
    struct failover *failover = &link_of(repl)->failover;
    if (failover->state != FAILOVER_WAIT_SYNC || aside_is_parked(repl->exec)) {
        return;
    }
    if (failover->end_ms != 0 && repl->now->wall_ms >= failover->end_ms) {
        if (!failover->is_forced) {
            failover_abort(repl, "Replica never caught up before timeout");
            return;
        }
        log_write(LOG_NOTICE, "Failover to %s:%d time out exceeded, failing over.", failover->host,
                  failover->port);
        hand_over(repl);
    } else if (find_target(repl)) {
        log_write(LOG_NOTICE, "Failover target is synced, failing over to %s:%d", failover->host,
                  failover->port);
        hand_over(repl);
    }
}

/* ---- The command ---- */

struct request {
    struct slice host;
    bool has_host, is_forced;
    int64_t port, timeout_ms;
};

/* False: the error is replied. */
static bool parse(struct call *call, struct request *request)
{
    uint32_t count = call->args.count;
    for (uint32_t i = 1; i < count; i++) {
        if (call_is(call, i, "timeout") && i + 1 < count && request->timeout_ms == 0) {
            if (!call_i64(call, ++i, &request->timeout_ms, NULL)) {
                return false;
            }
            if (request->timeout_ms <= 0) {
                reply_error(call->out, "ERR FAILOVER timeout must be greater than 0");
                return false;
            }
        } else if (call_is(call, i, "to") && i + 2 < count && !request->has_host) {
            if (!call_i64(call, i + 2, &request->port, NULL)) {
                return false;
            }
            request->host = call->args.at[i + 1];
            request->has_host = true;
            i += 2;
        } else if (call_is(call, i, "force") && !request->is_forced) {
            request->is_forced = true;
        } else {
            reply_error(call->out, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

/* Why it cannot begin; NULL: it can. */
static const char *objection(const struct repl *repl, const struct request *request)
{
    if (link_of(repl)->failover.state != FAILOVER_NONE) {
        return "ERR FAILOVER already in progress.";
    }
    if (repl->is_replica) {
        return "ERR FAILOVER is not valid when server is a replica.";
    }
    if (list_is_empty(&repl->replicas)) {
        return "ERR FAILOVER requires connected replicas.";
    }
    if (request->is_forced && (request->timeout_ms == 0 || !request->has_host)) {
        return "ERR FAILOVER with force option requires both a timeout and target HOST and IP.";
    }
    if (!request->has_host) {
        return NULL;
    }
    const struct replica *replica = find_replica(repl, request->host, request->port);
    if (replica == NULL) {
        return "ERR FAILOVER target HOST and PORT is not a replica.";
    }
    return replica->state == REPLICA_ONLINE ? NULL : "ERR FAILOVER target replica is not online.";
}

/* FAILOVER [TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds] */
void failover_run(struct call *call)
{
    struct repl *repl = call->family;
    struct failover *failover = &link_of(repl)->failover;
    struct request request = {.has_host = false};
    if (call->args.count == 2 && call_is(call, 1, "abort")) {
        if (failover->state == FAILOVER_NONE) {
            reply_error(call->out, "ERR No failover in progress.");
            return;
        }
        failover_abort(repl, "Failover manually aborted");
        reply_ok(call->out);
        return;
    }
    if (!parse(call, &request)) {
        return;
    }
    const char *error = objection(repl, &request);
    if (error != NULL) {
        reply_error(call->out, error);
        return;
    }
    guard_lift(repl);
    if (request.has_host) {
        choose(failover, request.host, (int)request.port);
    }
    failover->is_forced = request.is_forced;
    failover->end_ms = request.timeout_ms == 0 ? 0 : repl->now->wall_ms + request.timeout_ms;
    failover->state = FAILOVER_WAIT_SYNC;
    log_write(LOG_NOTICE, "FAILOVER requested%s%s.", request.has_host ? " to " : "",
              request.has_host ? failover->host : "");
    exec_finish_writes(repl->exec);
    exec_pause(repl->exec, PAUSE_BY_FAILOVER, PAUSE_WRITE, INT64_MAX);
    reply_ok(call->out);
}

void failover_deinit(struct link *link)
{
    mem_free(link->failover.host);
    link->failover.host = NULL;
}
