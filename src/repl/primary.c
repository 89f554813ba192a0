/* The commands with which a connection becomes a replica: REPLCONF, PSYNC, SYNC.
 *
 *     PING, AUTH                         as any client
 *     REPLCONF listening-port 7002       what INFO and Sentinel are told of it
 *     REPLCONF ip-address 10.1.2.3
 *     REPLCONF capa eof capa psync2      what it understands
 *     PSYNC <id> <offset of its next byte>
 *
 * PSYNC is granted (+CONTINUE) when the id names our history, or the one before the promotion up to
 * the moment of that, and the backlog still holds what follows. Otherwise the replica gets a full
 * synchronisation (+FULLRESYNC), which sync.c gives to all who want one together. SYNC is the form
 * before there was PSYNC: redis-cli speaks it, no line is answered, nothing is acknowledged.
 *
 * From then on the connection belongs to the stream. Nothing that it sends is answered: REPLCONF
 * ACK is one-way, and the answer to anything else would stand in the middle of the stream. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "repl/repl_internal.h"
#include "resp/parse.h"

enum {
    FILTERS_MAX = 8,
    FILTER_TEXT_MAX = 256,
};

/* ---- The record of a connection that is, or may become, a replica ---- */

static struct replica *replica_of(const struct session *session)
{
    return session->slots[SESSION_SLOT_REPL];
}

/* "127.0.0.1", "::1"; "": there is none. */
static char *seen_ip(struct session *session)
{
    struct session_view view = {.address = ""};
    session->ops->view(session, &view);
    char *colon = strrchr(view.address, ':');
    if (colon != NULL) {
        *colon = '\0';
    }
    struct slice ip = slice_from_text(view.address);
    bool is_bracketed = ip.len > 1 && ip.data[0] == '[' && ip.data[ip.len - 1] == ']';
    char *copy = NULL;
    session_set_text(&copy, is_bracketed ? slice_part(ip, 1, ip.len - 2) : ip);
    return copy;
}

static struct replica *replica_make(struct repl *repl, struct session *session)
{
    struct replica *replica = replica_of(session);
    if (replica == NULL) {
        replica = mem_zalloc(sizeof *replica);
        replica->repl = repl;
        replica->session = session;
        replica->seen_ip = seen_ip(session);
        list_init(&replica->link);
        list_init(&replica->sync_link);
        session->slots[SESSION_SLOT_REPL] = replica;
    }
    return replica;
}

static void note_gone(struct replica *replica)
{
    struct repl *repl = replica->repl;
    char name[REPLICA_NAME_MAX];
    log_write(LOG_NOTICE, "Connection with replica %s lost.", replica_name(replica, name));
    list_remove(&replica->link);
    repl->replica_count--;
    if (repl->replica_count == 0) {
        repl->alone_since_us = repl->now->mono_us;
    }
    replicas_count_good(repl);
}

static void on_session_close(void *context, struct session *session)
{
    struct replica *replica = replica_of(session);
    (void)context;
    if (replica == NULL) {
        return;
    }
    backlog_cursor_close(&replica->cursor);
    sync_remove(replica->repl->sync, replica);
    if (list_is_linked(&replica->link)) {
        note_gone(replica);
    }
    session->slots[SESSION_SLOT_REPL] = NULL;
    mem_free(replica->seen_ip);
    mem_free(replica->announced_ip);
    mem_free_sized(replica, sizeof *replica);
}

/* ---- REPLCONF ---- */

static bool set_port(struct call *call, struct replica *replica, uint32_t at)
{
    int64_t port;
    if (!call_i64(call, at, &port, NULL)) {
        return false;
    }
    replica->announced_port = (int)port;
    return true;
}

static bool set_ip(struct call *call, struct replica *replica, uint32_t at)
{
    struct slice ip = call->args.at[at];
    if (ip.len > REPL_HOST_LEN_MAX) {
        reply_errorf(call->out,
                     "ERR REPLCONF ip-address provided by replica instance is too long: %zu bytes",
                     ip.len);
        return false;
    }
    if (ip.len > 0 && !repl_is_host(ip)) {
        reply_error(call->out, "ERR REPLCONF ip-address cannot contain spaces, newlines or special "
                               "characters.");
        return false;
    }
    session_set_text(&replica->announced_ip, ip);
    return true;
}

static bool set_capability(struct call *call, struct replica *replica, uint32_t at)
{
    if (call_is(call, at, "eof")) {
        replica->capabilities |= REPLICA_CAPA_EOF;
    } else if (call_is(call, at, "psync2")) {
        replica->capabilities |= REPLICA_CAPA_PSYNC2;
    }
    return true; /* Others are none of ours. */
}

static bool set_rdb_only(struct call *call, struct replica *replica, uint32_t at)
{
    int64_t is_only;
    if (!call_range_i64(call, at, 0, 1, &is_only, NULL)) {
        return false;
    }
    replica->is_rdb_only = is_only == 1;
    return true;
}

/* Which parts of the snapshot it wants: "functions", or "" for neither these nor keys. */
static bool set_filter(struct call *call, struct replica *replica, uint32_t at)
{
    struct slice words[FILTERS_MAX];
    char scratch[FILTER_TEXT_MAX];
    struct slice text = call->args.at[at];
    int count = text.len < sizeof scratch ? resp_split_line(text, scratch, words, FILTERS_MAX) : -1;
    if (count < 0) {
        reply_error(call->out, "ERR Missing rdb-filter-only values");
        return false;
    }
    replica->excluded = REPLICA_NO_DATA | REPLICA_NO_FUNCTIONS;
    for (int i = 0; i < count; i++) {
        if (!slice_is(words[i], "functions")) {
            reply_errorf(call->out, "ERR Unsupported rdb-filter-only option: %.*s",
                         (int)words[i].len, words[i].data);
            return false;
        }
        replica->excluded &= ~(unsigned)REPLICA_NO_FUNCTIONS;
    }
    return true;
}

static void note_ack(struct repl *repl, struct replica *replica, struct slice text)
{
    int64_t offset;
    bool is_replica = replica != NULL && list_is_linked(&replica->link);
    if (!is_replica || !num_parse_i64(text, &offset)) {
        return;
    }
    replica->acked = offset > replica->acked ? offset : replica->acked;
    replica->acked_us = repl->now->mono_us;
    sync_acked(repl->sync, replica);
    replica->has_acked = replica->has_acked || replica->state == REPLICA_ONLINE;
    if (replica->awaits_ack && replica->state == REPLICA_ONLINE) {
        replica->awaits_ack = false;
    }
    replicas_count_good(repl);
    waits_step(repl);
}

static const struct {
    const char *name;
    bool (*set)(struct call *call, struct replica *replica, uint32_t at);
} replconf_options[] = {
    {"listening-port", set_port}, {"ip-address", set_ip},          {"capa", set_capability},
    {"rdb-only", set_rdb_only},   {"rdb-filter-only", set_filter},
};

/* One option; its value is at `at` + 1. False: an error is in the reply. */
static bool replconf_set(struct call *call, uint32_t at)
{
    struct replica *replica = replica_make(call->family, call->session);
    for (size_t i = 0; i < sizeof replconf_options / sizeof replconf_options[0]; i++) {
        if (call_is(call, at, replconf_options[i].name)) {
            return replconf_options[i].set(call, replica, at + 1);
        }
    }
    struct slice name = slice_part(call->args.at[at], 0, 1024);
    reply_errorf(call->out, "ERR Unrecognized REPLCONF option: %.*s", (int)name.len, name.data);
    return false;
}

/* REPLCONF option value ...: from a replica that introduces itself, and its acknowledgements. */
static void replconf_run(struct call *call)
{
    if (call->args.count % 2 == 0) {
        reply_error(call->out, ERR_SYNTAX);
        return;
    }
    for (uint32_t at = 1; at < call->args.count; at += 2) {
        if (call_is(call, at, "ack")) {
            note_ack(call->family, replica_of(call->session), call->args.at[at + 1]);
            return; /* Never answered. */
        }
        if (call_is(call, at, "getack")) {
            return; /* From anybody but our primary: nothing. */
        }
        if (!replconf_set(call, at)) {
            return;
        }
    }
    reply_ok(call->out);
}

/* ---- PSYNC and SYNC ---- */

/* The connection is the stream's from now on. */
static struct replica *become_replica(struct repl *repl, struct session *session,
                                      enum replica_state state)
{
    struct replica *replica = replica_make(repl, session);
    session->flags |= SESSION_REPLICA | SESSION_REPLY_OFF;
    session->out->is_muted = true;
    replica->state = state;
    replica->acked_us = repl->now->mono_us;
    if (repl->replica_count == 0) {
        repl->next_ping_us = repl->now->mono_us + repl->config.ping_period_s * 1000000;
    }
    list_push_back(&repl->replicas, &replica->link);
    repl->replica_count++;
    return replica;
}

static bool is_id(struct slice id, const char *ours)
{
    return slice_is(id, ours);
}

/* Whether `id` names our history at `next`; the log says why not. */
static bool is_our_history(const struct repl *repl, struct slice id, int64_t next, const char *name)
{
    bool is_second = is_id(id, repl->id2);
    if (is_id(id, repl->id) || (is_second && next <= repl->id2_offset)) {
        return true;
    }
    struct slice shown = slice_part(id, 0, REPL_ID_LEN);
    if (id.len != 0 && id.data[0] == '?') {
        log_write(LOG_NOTICE, "Full resync requested by replica %s", name);
    } else if (!is_second) {
        log_write(LOG_NOTICE,
                  "Partial resynchronization not accepted: Replication ID mismatch (Replica asked "
                  "for '%.*s', my replication IDs are '%s' and '%s')",
                  (int)shown.len, shown.data, repl->id, repl->id2);
    } else {
        log_write(LOG_NOTICE,
                  "Partial resynchronization not accepted: Requested offset for second ID was "
                  "%lld, but I can reply up to %lld",
                  (long long)next, (long long)repl->id2_offset);
    }
    return false;
}

/* What it has missed is still there: it goes on. */
static bool try_partial(struct repl *repl, struct call *call, int64_t next, const char *name)
{
    struct session *session = call->session;
    struct backlog *backlog = &repl->backlog;
    if (!is_our_history(repl, call->args.at[1], next, name)) {
        return false;
    }
    struct replica *replica = replica_make(repl, session);
    if (!backlog_cursor_open(backlog, &replica->cursor, next)) {
        log_write(LOG_NOTICE,
                  "Unable to partial resync with replica %s for lack of backlog (Replica request "
                  "was: %lld).",
                  name, (long long)next);
        if (next > backlog_end(backlog) + 1) {
            log_write(LOG_WARNING,
                      "Warning: replica %s tried to PSYNC with an offset that is greater than the "
                      "master replication offset.",
                      name);
        }
        return false;
    }
    char line[64];
    bool has_id = (replica->capabilities & REPLICA_CAPA_PSYNC2) != 0;
    snprintf(line, sizeof line, has_id ? "CONTINUE %s" : "CONTINUE", repl->id);
    reply_status(session->out, line);
    log_write(LOG_NOTICE,
              "Partial resynchronization request from %s accepted. Sending %lld bytes of backlog "
              "starting from offset %lld.",
              name, (long long)backlog_cursor_behind(&replica->cursor), (long long)next);
    become_replica(repl, session, REPLICA_ONLINE);
    replica->has_acked = true; /* What came before `next` it has. */
    replicas_count_good(repl);
    return true;
}

/* It needs everything. */
static void begin_full(struct repl *repl, struct session *session)
{
    repl->stats.sync_full++;
    repl_open_backlog(repl);
    if (repl->config.is_nodelay_off) {
        struct session_view view = {.fd = -1};
        session->ops->view(session, &view);
        (void)ring_socket_tune(repl->options.ring, view.fd, false, repl->config.keepalive_s);
    }
    sync_add(repl->sync, become_replica(repl, session, REPLICA_WAIT_SYNC));
}

/* Why nobody can become a replica now; NULL: nothing. */
static const char *sync_refusal(const struct call *call)
{
    if (failover_is_on(call->family)) {
        return "NOMASTERLINK Can't SYNC while failing over";
    }
    if (!repl_is_fresh(call->family)) {
        return "NOMASTERLINK Can't SYNC while not connected with my master";
    }
    if (!reply_is_empty(call->out)) {
        return "ERR SYNC and PSYNC are invalid with pending output";
    }
    return NULL;
}

/* Common to both: false when there is nothing to do, or an error is in the reply. */
static bool may_sync(struct call *call)
{
    if ((call->session->flags & SESSION_REPLICA) != 0) {
        return false; /* It is one. */
    }
    const char *why = sync_refusal(call);
    if (why != NULL) {
        reply_error(call->out, why);
        return false;
    }
    char name[REPLICA_NAME_MAX];
    log_write(LOG_NOTICE, "Replica %s asks for synchronization",
              replica_name(replica_make(call->family, call->session), name));
    return true;
}

/* PSYNC id offset FAILOVER: our primary hands over to us. False: the error is replied. */
static bool take_over(struct call *call)
{
    struct repl *repl = call->family;
    struct slice id = call->args.at[1];
    log_write(LOG_WARNING, "Failover request received for replid %.*s.", (int)id.len, id.data);
    if (!repl->is_replica) {
        reply_error(call->out, "ERR PSYNC FAILOVER can't be sent to a master.");
        return false;
    }
    if (!is_id(id, repl->id)) {
        reply_error(call->out, "ERR PSYNC FAILOVER replid must match my replid.");
        return false;
    }
    role_promote(repl);
    log_write(LOG_NOTICE, "MASTER MODE enabled (failover request)");
    return true;
}

static void psync_run(struct call *call)
{
    struct repl *repl = call->family;
    char name[REPLICA_NAME_MAX];
    int64_t next;
    if (call->args.count > 3 && call_is(call, 3, "failover") &&
        (call->session->flags & SESSION_REPLICA) == 0 && !take_over(call)) {
        return;
    }
    if (!may_sync(call)) {
        return;
    }
    replica_name(replica_of(call->session), name);
    if (!call_i64(call, 2, &next, NULL)) {
        log_write(LOG_WARNING, "Replica %s asks for synchronization but with a wrong offset", name);
        return;
    }
    const char *why = guard_refuses_psync(repl, call->args.at[1], next);
    if (why != NULL) {
        reply_error(call->out, why);
        return;
    }
    if (try_partial(repl, call, next, name)) {
        repl->stats.sync_partial_ok++;
        return;
    }
    struct slice id = call->args.at[1];
    repl->stats.sync_partial_err += id.len == 0 || id.data[0] != '?';
    begin_full(repl, call->session);
}

static void sync_run(struct call *call)
{
    if (may_sync(call)) {
        replica_of(call->session)->is_plain = true;
        begin_full(call->family, call->session);
    }
}

/* ---- For sync.c ---- */

bool replica_snapshot_begins(struct replica *replica, bool is_eof_form, int64_t offset)
{
    struct repl *repl = replica->repl;
    char line[96];
    if (!backlog_cursor_open(&repl->backlog, &replica->cursor, offset + 1)) {
        return false;
    }
    replica->state = REPLICA_SENDING;
    replica->is_eof_form = is_eof_form;
    if (!replica->is_plain) {
        struct reply *out = replica->session->out;
        snprintf(line, sizeof line, "+FULLRESYNC %s %lld\r\n", repl->id, (long long)offset);
        out->is_muted = false;
        reply_raw(out, slice_from_text(line));
        out->is_muted = true;
        replica->session->ops->wake(replica->session);
    }
    return true;
}

/* ---- Rows ---- */

static const struct command primary_rows[] = {
    {.name = "replconf",
     .run = replconf_run,
     .arity = -1,
     .flags = CMD_ADMIN | CMD_NO_SCRIPT | CMD_LOADING | CMD_STALE | CMD_ALLOW_BUSY | CMD_SYSTEM,
     .since = "3.0.0",
     .group = "server",
     .complexity = "O(1)",
     .summary = "Replicas tell their primary what they are and how far they have got."},
    {.name = "psync",
     .run = psync_run,
     .arity = -3,
     .flags = CMD_ADMIN | CMD_NO_SCRIPT | CMD_NO_ASYNC_LOADING | CMD_NO_MULTI,
     .since = "2.8.0",
     .group = "server",
     .complexity = "O(1)",
     .syntax = "replicationid offset:integer",
     .summary = "Makes the connection a replica that goes on where it was, if that is possible."},
    {.name = "sync",
     .run = sync_run,
     .arity = 1,
     .flags = CMD_ADMIN | CMD_NO_SCRIPT | CMD_NO_ASYNC_LOADING | CMD_NO_MULTI,
     .since = "1.0.0",
     .group = "server",
     .complexity = "O(N) where N is the total number of keys in all databases",
     .summary = "Makes the connection a replica that begins with a snapshot."},
};

void primary_register(struct repl *repl)
{
    exec_register(repl->exec, primary_rows, sizeof primary_rows / sizeof primary_rows[0], repl);
    exec_add_close_hook(repl->exec, on_session_close, repl);
}
