/* Replication and the server: what it is told of the configuration, and who may refuse a write.
 *
 * Three may: a save that failed, too few replicas, and a primary above us. They are asked in
 * Redis's order, by one gate, which is active while one of them would refuse something. */
#include "exec/multi.h"
#include "repl/repl.h"
#include "server/server.h"

enum { BACKLOG_SIZE_MIN = 16 * 1024 };

/* ---- The gate of writes ---- */

static enum gate_result write_gate(void *context, struct call *call)
{
    struct server *server = context;
    if ((call->session->flags & SESSION_PRIMARY) != 0) {
        return GATE_PASS;
    }
    enum gate_result result = saver_gate(server->saver, call);
    if (result != GATE_PASS || (multi_call_flags(call) & CMD_WRITE) == 0) {
        return result; /* Refused, or a PING: that is refused for the sake of a save alone. */
    }
    const char *why = repl_refuses_writes(server->repl);
    if (why != NULL) {
        call_refuse(call, why);
        return GATE_REFUSED;
    }
    return GATE_PASS;
}

void server_update_write_gate(void *context)
{
    struct server *server = context;
    bool is_active = (server->saver != NULL && saver_refuses_writes(server->saver)) ||
                     (server->repl != NULL && repl_refuses_writes(server->repl) != NULL);
    exec_activate_gate(server->exec, GATE_READ_ONLY, is_active);
}

/* ---- Wiring ---- */

void server_init_repl(struct server *server, bool is_threaded)
{
    exec_set_gate(server->exec, GATE_READ_ONLY, write_gate, server);
    server->repl = repl_new(&(struct repl_options){
        .exec = server->exec,
        .ring = server->ring,
        .net = server->net,
        .lent_bytes = net_lent_bytes(server->net),
        .saver = server->saver,
        .host = {.context = server,
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
    };
    repl_configure(server->repl, &repl);
    server_update_write_gate(server);
}
