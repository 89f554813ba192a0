/* Living with replicas: the stream is handed to them, and those that do not keep up are let go.
 *
 *     turn:  commands -> backlog ... repl_pump: cursor -> references -> the connection's reply
 *
 * Only so much is handed out that a connection always has something to send: PUMP_MAX. What lies
 * behind that stays in the backlog, where all replicas share it. So a replica that reads slowly
 * has a cursor that falls behind, and costs the history from there on, and no copy.
 *
 * It is let go
 *
 *     when it has not acknowledged for repl-timeout
 *     when it lies further behind than client-output-buffer-limit replica allows: at once beyond
 *     the hard limit, after some seconds beyond the soft one. A hard limit below repl-backlog-size
 *     is taken for that, for within the backlog it could come back and go on.
 *
 * PING goes into the stream now and then, so that replicas know that a silent primary is alive.
 * It counts in the offset as any other command. */
#include "base/log.h"
#include "repl/repl_internal.h"

#include <stdio.h>
#include <string.h>

enum {
    PUMP_MAX = 256 * 1024, /* Bytes handed to a connection ahead of what it has sent. */
    US_PER_SECOND = 1000000,
};

#define PING_TEXT "*1\r\n$4\r\nping\r\n"

/* ---- Names ---- */

const char *replica_ip(const struct replica *replica, char ip[REPLICA_NAME_MAX])
{
    const char *text = replica->announced_ip != NULL ? replica->announced_ip : replica->seen_ip;
    snprintf(ip, REPLICA_NAME_MAX, "%s", text == NULL ? "" : text);
    return ip;
}

const char *replica_name(const struct replica *replica, char name[REPLICA_NAME_MAX])
{
    char ip[REPLICA_NAME_MAX];
    replica_ip(replica, ip);
    bool has_colon = strchr(ip, ':') != NULL;
    if (ip[0] == '\0') {
        snprintf(name, REPLICA_NAME_MAX, "client id #%llu",
                 (unsigned long long)replica->session->id);
    } else if (replica->announced_port == 0) {
        snprintf(name, REPLICA_NAME_MAX, "%.255s:<unknown-replica-port>", ip);
    } else {
        snprintf(name, REPLICA_NAME_MAX, has_colon ? "[%.255s]:%d" : "%.255s:%d", ip,
                 replica->announced_port);
    }
    return name;
}

/* ---- The end ---- */

void replica_drop(struct replica *replica, const char *why)
{
    char name[REPLICA_NAME_MAX];
    if (replica->is_cut_off) {
        return;
    }
    log_write(LOG_WARNING, "%s: %s", why, replica_name(replica, name));
    replica->is_cut_off = true;
    backlog_cursor_close(&replica->cursor);
    session_close(replica->session, false);
}

void replicas_drop_all(struct repl *repl, const char *why)
{
    sync_abort(repl->sync, why);
    for (struct list *node = repl->replicas.next; node != &repl->replicas; node = node->next) {
        replica_drop(LIST_OWNER(node, struct replica, link), why);
    }
}

/* ---- Limits ---- */

/* Bytes of the stream that it has not been sent; those of its snapshot do not count. */
static int64_t unsent(const struct replica *replica)
{
    int64_t behind = backlog_cursor_behind(&replica->cursor);
    bool is_online = replica->state == REPLICA_ONLINE;
    return is_online ? behind + (int64_t)reply_len(replica->session->out) : behind;
}

static bool is_too_far_behind(struct replica *replica)
{
    const struct repl *repl = replica->repl;
    const struct output_limit *limit = &repl->config.output;
    uint64_t bytes = (uint64_t)unsent(replica);
    uint64_t size = (uint64_t)repl->config.backlog_size;
    uint64_t hard = limit->hard_bytes < size ? size : limit->hard_bytes;
    if (limit->hard_bytes != 0 && bytes > hard) {
        return true;
    }
    if (limit->soft_bytes == 0 || bytes <= limit->soft_bytes) {
        replica->soft_since_us = 0;
        return false;
    }
    int64_t now_us = repl->now->mono_us;
    if (replica->soft_since_us == 0) {
        replica->soft_since_us = now_us;
    }
    return now_us - replica->soft_since_us > limit->soft_seconds * US_PER_SECOND;
}

static void check_limits(struct replica *replica)
{
    if (backlog_cursor_is_open(&replica->cursor) && is_too_far_behind(replica)) {
        replica_drop(replica, "Replica scheduled to be closed ASAP for overcoming of output buffer "
                              "limits");
    }
}

/* ---- The pump ---- */

static void pump(struct replica *replica)
{
    struct reply *out = replica->session->out;
    uint64_t given = 0;
    for (size_t have = reply_len(out); have < PUMP_MAX;) {
        struct blob *blob;
        size_t from;
        size_t len = backlog_cursor_take(&replica->cursor, PUMP_MAX - have, &blob, &from);
        if (len == 0) {
            break;
        }
        reply_refer(out, blob, from, len);
        have += len;
        given += len;
    }
    if (given != 0) {
        replica->repl->stats.bytes_out += given;
        replica->session->ops->wake(replica->session);
    }
}

void repl_pump(struct repl *repl)
{
    if (repl->backlog.is_broken) {
        repl_lose_backlog(repl, "Disconnecting replica: no memory for the replication backlog");
    }
    if (repl->replica_count == 0) {
        return;
    }
    sync_pump(repl->sync);
    waits_ask(repl);
    for (struct list *node = repl->replicas.next; node != &repl->replicas; node = node->next) {
        struct replica *replica = LIST_OWNER(node, struct replica, link);
        if (replica->state == REPLICA_ONLINE && !replica->awaits_ack &&
            backlog_cursor_is_open(&replica->cursor) &&
            backlog_cursor_behind(&replica->cursor) > 0) {
            pump(replica);
        }
        check_limits(replica);
    }
}

void replica_online(struct replica *replica)
{
    char name[REPLICA_NAME_MAX];
    replica_name(replica, name);
    if (replica->is_rdb_only) {
        log_write(LOG_NOTICE,
                  "RDB transfer completed, rdb only replica (%s) should be disconnected asap",
                  name);
        backlog_cursor_close(&replica->cursor);
        replica->is_cut_off = true;
        session_close(replica->session, true);
        return;
    }
    replica->state = REPLICA_ONLINE;
    replica->awaits_ack = replica->is_eof_form && !replica->is_plain;
    replica->acked_us = replica->repl->now->mono_us;
    replicas_count_good(replica->repl);
    log_write(LOG_NOTICE, "Synchronization with replica %s succeeded", name);
}

/* ---- Now and then ---- */

void replicas_count_good(struct repl *repl)
{
    unsigned count = 0;
    for (struct list *node = repl->replicas.next; node != &repl->replicas; node = node->next) {
        const struct replica *replica = LIST_OWNER(node, struct replica, link);
        int64_t lag_us = repl->now->mono_us - replica->acked_us;
        count += replica->state == REPLICA_ONLINE && !replica->is_cut_off &&
                 lag_us / US_PER_SECOND <= repl->config.lag_max_s;
    }
    bool was_refusing = repl_refuses_writes(repl) != NULL;
    repl->good_count = count;
    if ((repl_refuses_writes(repl) != NULL) != was_refusing && repl->options.host.on_gate != NULL) {
        repl->options.host.on_gate(repl->options.host.context);
    }
}

/* While it loads a snapshot a replica sends newlines alone, which are no commands. */
static void note_life(struct replica *replica)
{
    if (replica->session->bytes_in != replica->heard_bytes) {
        replica->heard_bytes = replica->session->bytes_in;
        replica->acked_us = replica->repl->now->mono_us;
    }
}

static void check_timeouts(struct repl *repl)
{
    int64_t bound_us = repl->config.timeout_s * US_PER_SECOND;
    for (struct list *node = repl->replicas.next; node != &repl->replicas; node = node->next) {
        struct replica *replica = LIST_OWNER(node, struct replica, link);
        note_life(replica);
        if (replica->state == REPLICA_ONLINE && !replica->is_plain &&
            repl->now->mono_us - replica->acked_us > bound_us) {
            replica_drop(replica, "Disconnecting timedout replica (streaming sync)");
        }
        check_limits(replica);
    }
}

void replicas_tick(struct repl *repl)
{
    if (repl->replica_count == 0) {
        return;
    }
    if (!repl->is_replica && repl->now->mono_us >= repl->next_ping_us && !failover_is_on(repl) &&
        feed_own(repl, slice_from_text(PING_TEXT))) {
        repl->next_ping_us = repl->now->mono_us + repl->config.ping_period_s * US_PER_SECOND;
    }
    check_timeouts(repl);
    replicas_count_good(repl);
}

size_t replicas_memory(const struct repl *repl)
{
    size_t memory = 0;
    for (struct list *node = repl->replicas.next; node != &repl->replicas; node = node->next) {
        const struct replica *replica = LIST_OWNER(node, struct replica, link);
        memory += replica->session->out->memory + sizeof *replica;
    }
    return memory;
}
