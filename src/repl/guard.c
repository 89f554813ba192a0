/* A primary that comes back empty does not wipe its replicas.
 *
 * A primary without persistence that restarts before Sentinel has noticed is a primary without
 * keys. Its replicas come back, ask to go on with a history that it does not know, get a full
 * synchronisation, and are empty as well. So:
 *
 *     ARMED: started without data, still without keys
 *        | a replica asks for "PSYNC <id that we never had> <offset beyond 1>": it has data
 *        v
 *     ON: that PSYNC is answered with -NOMASTERLINK, writes are refused, and the PING of a
 *        | Sentinel with -NOTREADY, which counts as no answer; so it has a replica take over
 *        v
 *     OFF: REPLICAOF, REPLICAOF NO ONE, FAILOVER, or empty-primary-guard-timeout is over
 *
 * The first key, too, disarms it. A fresh replica asks for "? -1" and is served at once. */
#include <string.h>

#include "base/log.h"
#include "repl/link.h"

enum { SECOND_US = 1000 * 1000 };

#define ERR_GUARD_PSYNC                                                                            \
    "NOMASTERLINK This master started without data, and the replica has some: waiting for a "      \
    "failover, for REPLICAOF NO ONE, or for empty-primary-guard-timeout"
#define ERR_GUARD_WRITE                                                                            \
    "NOTREADY This master started without data, and its replicas have some. It takes no writes "   \
    "until a failover, REPLICAOF NO ONE, or the end of empty-primary-guard-timeout."
#define ERR_GUARD_PING "NOTREADY This master started without data, and its replicas have some."

static void set_state(struct repl *repl, enum guard_state state)
{
    struct guard *guard = &link_of(repl)->guard;
    bool was_on = guard->state == GUARD_ON;
    guard->state = state;
    if (was_on != (state == GUARD_ON)) {
        repl->options.host.on_role(repl->options.host.context, repl->is_replica);
    }
}

void guard_lift(struct repl *repl)
{
    if (link_of(repl)->guard.state == GUARD_ON) {
        log_write(LOG_NOTICE, "The guard of an empty master is lifted");
    }
    set_state(repl, GUARD_OFF);
}

void guard_tick(struct repl *repl)
{
    const struct guard *guard = &link_of(repl)->guard;
    if (guard->state == GUARD_ON && repl->now->mono_us >= guard->end_us) {
        log_write(LOG_WARNING, "Nobody has taken over from this empty master: it goes on as it is");
        guard_lift(repl);
    }
}

static bool is_empty(const struct repl *repl)
{
    struct keyspace *keyspace = exec_keyspace(repl->exec);
    for (unsigned i = 0; i < keyspace_db_count(keyspace); i++) {
        if (db_count(keyspace_db(keyspace, i)) != 0) {
            return false;
        }
    }
    return true;
}

bool guard_is_on(const struct repl *repl)
{
    return link_of(repl)->guard.state == GUARD_ON;
}

const char *guard_refuses_psync(struct repl *repl, struct slice id, int64_t offset)
{
    struct guard *guard = &link_of(repl)->guard;
    bool is_known = slice_is(id, repl->id) || slice_is(id, repl->id2);
    if (guard->state == GUARD_OFF || is_known || id.len != REPL_ID_LEN || offset <= 1) {
        return NULL;
    }
    if (guard->state == GUARD_ARMED && !is_empty(repl)) {
        set_state(repl, GUARD_OFF);
        return NULL;
    }
    if (guard->state == GUARD_ARMED) {
        guard->end_us = repl->now->mono_us + repl->config.guard_timeout_s * SECOND_US;
        set_state(repl, GUARD_ON);
        log_write(LOG_WARNING,
                  "This master started without data, and a replica asks for a history that it does "
                  "not have: it is not wiped. Waiting for a failover, for REPLICAOF NO ONE, or for "
                  "%lld seconds (empty-primary-guard-timeout).",
                  (long long)repl->config.guard_timeout_s);
    }
    return ERR_GUARD_PSYNC;
}

const char *guard_refuses(const struct repl *repl, const struct session *session, bool is_write)
{
    if (!guard_is_on(repl) || (session->flags & SESSION_PRIMARY) != 0) {
        return NULL;
    }
    if (is_write) {
        return ERR_GUARD_WRITE;
    }
    bool is_sentinel = session->name != NULL && strncmp(session->name, "sentinel-", 9) == 0;
    return is_sentinel ? ERR_GUARD_PING : NULL;
}
