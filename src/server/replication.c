/* Replication and the server: what it is told of the configuration, and who may refuse a write.
 *
 * Three may: a save that failed, too few replicas, and a primary above us. They are asked in
 * Redis's order, by one gate, which is active while one of them would refuse something. */
#include "base/num.h"
#include "exec/multi.h"
#include "repl/repl.h"
#include "script/script.h"
#include "server/config_internal.h"
#include "server/server.h"

enum { BACKLOG_SIZE_MIN = 16 * 1024 };

/* ---- Gates ---- */

static enum gate_result refuse(struct call *call, const char *why)
{
    if (why == NULL) {
        return GATE_PASS;
    }
    call_refuse(call, why);
    return GATE_REFUSED;
}

static enum gate_result write_gate(void *context, struct call *call)
{
    struct server *server = context;
    if ((call->session->flags & SESSION_PRIMARY) != 0) {
        return GATE_PASS;
    }
    enum gate_result result = saver_gate(server->saver, call);
    if (result != GATE_PASS) {
        return result;
    }
    bool is_write = (multi_call_flags(call) & CMD_WRITE) != 0;
    bool is_exec = !is_write && (call->entry->flags & CMD_REFUSED_WITH_WRITES) == 0;
    return is_exec ? GATE_PASS : refuse(call, repl_refuses(server->repl, call->session, is_write));
}

void server_update_write_gate(void *context)
{
    struct server *server = context;
    bool is_active = (server->saver != NULL && saver_refuses_writes(server->saver)) ||
                     (server->repl != NULL && repl_may_refuse(server->repl));
    exec_activate_gate(server->exec, GATE_READ_ONLY, is_active);
}

#define ERR_STALE "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."

static bool is_stale(const struct server *server, const struct session *session)
{
    return !server->config->replica_serves_stale && !repl_is_fresh(server->repl) &&
           (session->flags & SESSION_PRIMARY) == 0;
}

static enum gate_result stale_gate(void *context, struct call *call)
{
    return refuse(call, is_stale(context, call->session) ? ERR_STALE : NULL);
}

const char *server_refuses_script(void *context, const struct session *client,
                                  const struct script_wish *wish)
{
    const struct server *server = context;
    if (is_stale(server, client) && !wish->has_flags) {
        return ERR_STALE;
    }
    if (is_stale(server, client) && !wish->allows_stale) {
        return "MASTERDOWN Link with MASTER is down, replica-serve-stale-data is set to 'no' and "
               "'allow-stale' flag is not set on the script.";
    }
    if (!wish->is_writing || (client->flags & SESSION_PRIMARY) != 0) {
        return NULL;
    }
    if (repl_is_replica(server->repl) && server->config->replica_is_read_only) {
        return "READONLY Can not run script with write flag on readonly replica.";
    }
    const char *refusal = saver_refusal(server->saver);
    return refusal != NULL ? refusal : repl_refuses(server->repl, client, true);
}

/* ---- Roles ---- */

void server_update_expiry(struct server *server)
{
    bool is_active = !server_is_loading(server) && !server->is_expiry_off;
    keyspace_set_expiry(server->keyspace, !repl_is_replica(server->repl), is_active);
}

/* CONFIG GET and CONFIG REWRITE tell whom we follow. */
static void note_primary(struct server *server)
{
    int port;
    const char *host = repl_primary(server->repl, &port);
    struct buf text;
    buf_init(&text);
    if (host != NULL) {
        buf_printf(&text, "%s %d", host, port);
    }
    config_replace_text(&server->config->replicaof, buf_slice(&text));
    buf_deinit(&text);
}

static void update_role(struct server *server)
{
    bool is_replica = repl_is_replica(server->repl);
    server->identity.role = is_replica ? "replica" : "master";
    (void)server_apply(server, CONFIG_TO_LOG); /* Its letter tells the role. */
    server_update_expiry(server);
    server_update_write_gate(server);
    exec_activate_gate(server->exec, GATE_STALE,
                       is_replica && !server->config->replica_serves_stale);
}

static void on_role(void *context, bool is_replica)
{
    struct server *server = context;
    (void)is_replica;
    note_primary(server);
    update_role(server);
}

/* "host port" of the configuration. */
void server_follow_configured(struct server *server)
{
    struct slice text = slice_from_text(server->config->replicaof);
    const char *space = strrchr(server->config->replicaof, ' ');
    int64_t port;
    if (space != NULL && num_parse_i64(slice_from_text(space + 1), &port)) {
        repl_follow(server->repl, slice_part(text, 0, (size_t)(space - text.data)), (int)port);
    }
}

/* ---- Wiring ---- */

void server_init_repl(struct server *server, bool is_threaded)
{
    exec_set_gate(server->exec, GATE_READ_ONLY, write_gate, server);
    exec_set_gate(server->exec, GATE_STALE, stale_gate, server);
    server->repl = repl_new(&(struct repl_options){
        .exec = server->exec,
        .ring = server->ring,
        .net = server->net,
        .lent_bytes = net_lent_bytes(server->net),
        .saver = server->saver,
        .host = {.context = server,
                 .on_role = on_role,
                 .forget_functions = loading_forget_functions,
                 .load = loading_receive,
                 .load_begins = loading_begins,
                 .note_loaded = loading_note,
                 .load_ended = loading_ended,
                 .on_gate = server_update_write_gate,
                 .write_more = server_write_functions},
        .speaks = slice_from_text(OURO_REDIS_VERSION),
        .is_threaded = is_threaded,
    });
}

void server_apply_repl(struct server *server)
{
    struct config *config = server->config;
    if (config->repl_backlog_size < BACKLOG_SIZE_MIN) {
        config->repl_backlog_size = BACKLOG_SIZE_MIN; /* As Redis does, which shows it so. */
    }
    struct repl_config repl = {
        .backlog_size = config->repl_backlog_size,
        .backlog_ttl_s = config->repl_backlog_ttl_s,
        .ping_period_s = config->repl_ping_period_s,
        .timeout_s = config->repl_timeout_s,
        .is_diskless = config->repl_diskless_sync,
        .diskless_delay_s = config->repl_diskless_delay_s,
        .diskless_replicas_max = config->repl_diskless_replicas_max,
        .replicas_min = config->replicas_min,
        .lag_max_s = config->replica_lag_max_s,
        .has_packing = config->rdb_compression,
        .has_checksum = config->rdb_checksum,
        .output = config->output[CLIENT_CLASS_REPLICA],
        .is_nodelay_off = config->repl_nodelay_off,
        .keepalive_s = (int)config->tcp_keepalive_s,
        .guard_timeout_s = config->empty_guard_s,
        .load = (enum repl_load)config->repl_diskless_load,
        .serves_stale = config->replica_serves_stale,
        .is_read_only = config->replica_is_read_only,
        .ignores_memory = config->replica_ignores_memory,
        .is_announced = config->replica_is_announced,
        .priority = config->replica_priority,
        .announce_ip = config->replica_announce_ip,
        .announce_port = config->replica_announce_port,
        .port = config->port,
        .user = config->primary_user,
        .password = config->primary_password,
        .dir = config->dir,
        .file_name = config->db_filename,
        .removes_files = config->rdb_removes_received && config->save[0] == '\0',
    };
    repl_configure(server->repl, &repl);
    update_role(server);
}
