/* What replication tells of itself: INFO replication and ROLE. Redis's fields in Redis's order,
 * for Sentinel reads them in one pass: what it makes of a line depends on the role told before. */
#include "base/buf.h"
#include "repl/repl_internal.h"

/* ---- INFO ---- */

static const char *state_name(const struct replica *replica)
{
    switch (replica->state) {
    case REPLICA_HANDSHAKE:
    case REPLICA_WAIT_SYNC:
        return "wait_bgsave";
    case REPLICA_SENDING:
        return replica->is_eof_form ? "wait_bgsave" : "send_bulk";
    case REPLICA_ONLINE:
        break;
    }
    return "online";
}

static void write_replicas(const struct repl *repl, struct buf *out)
{
    unsigned index = 0;
    for (const struct list *node = repl->replicas.next; node != &repl->replicas;
         node = node->next) {
        const struct replica *replica = LIST_OWNER(node, struct replica, link);
        char ip[REPLICA_NAME_MAX];
        int64_t lag_us =
            replica->state != REPLICA_ONLINE ? 0 : repl->now->mono_us - replica->acked_us;
        buf_printf(out, "slave%u:ip=%s,port=%d,state=%s,offset=%lld,lag=%lld\r\n", index++,
                   replica_ip(replica, ip), replica->announced_port, state_name(replica),
                   (long long)replica->acked, (long long)(lag_us / 1000000));
    }
}

static void write_ids(const struct repl *repl, struct buf *out)
{
    buf_printf(out, "master_failover_state:%s\r\n", failover_state_name(repl));
    buf_printf(out, "master_replid:%s\r\n", repl->id);
    buf_printf(out, "master_replid2:%s\r\n", repl->id2);
    buf_printf(out, "master_repl_offset:%lld\r\n", (long long)backlog_end(&repl->backlog));
    buf_printf(out, "second_repl_offset:%lld\r\n", (long long)repl->id2_offset);
}

static void write_backlog(const struct repl *repl, struct buf *out)
{
    const struct backlog *backlog = &repl->backlog;
    bool is_open = backlog_is_open(backlog);
    int64_t first = is_open ? backlog_first(backlog) : 0;
    int64_t len = is_open ? backlog_end(backlog) - first + 1 : 0;
    buf_printf(out, "repl_backlog_active:%d\r\n", is_open);
    buf_printf(out, "repl_backlog_size:%lld\r\n", (long long)repl->config.backlog_size);
    buf_printf(out, "repl_backlog_first_byte_offset:%lld\r\n", (long long)first);
    buf_printf(out, "repl_backlog_histlen:%lld\r\n", (long long)len);
}

void repl_info(const struct repl *repl, struct buf *out)
{
    buf_printf(out, "role:%s\r\n", repl->is_replica ? "slave" : "master");
    if (repl->is_replica) {
        link_info(repl, out);
    }
    buf_printf(out, "connected_slaves:%u\r\n", repl->replica_count);
    if (repl->config.replicas_min != 0 && repl->config.lag_max_s != 0) {
        buf_printf(out, "min_slaves_good_slaves:%u\r\n", repl->good_count);
    }
    write_replicas(repl, out);
    write_ids(repl, out);
    write_backlog(repl, out);
}

/* ---- Figures ---- */

void repl_stats(const struct repl *repl, struct repl_stats *stats)
{
    *stats = repl->stats;
    stats->replica_count = repl->replica_count;
    stats->waiting_count = repl->waits.count;
    stats->backlog_memory = backlog_memory(&repl->backlog);
    stats->replicas_memory = replicas_memory(repl);
}

void repl_reset_stats(struct repl *repl)
{
    repl->stats = (struct repl_stats){0};
}

/* ---- ROLE ---- */

static void role_of_primary(const struct repl *repl, struct reply *out)
{
    struct reply_mark mark;
    size_t count = 0;
    reply_array(out, 3);
    reply_bulk_text(out, "master");
    reply_integer(out, backlog_end(&repl->backlog));
    reply_begin(out, &mark, '*');
    for (const struct list *node = repl->replicas.next; node != &repl->replicas;
         node = node->next) {
        const struct replica *replica = LIST_OWNER(node, struct replica, link);
        char ip[REPLICA_NAME_MAX];
        if (replica->state == REPLICA_ONLINE) {
            count++;
            reply_array(out, 3);
            reply_bulk_text(out, replica_ip(replica, ip));
            reply_bulk_integer(out, replica->announced_port);
            reply_bulk_integer(out, replica->acked);
        }
    }
    reply_end(out, &mark, count);
}

static void role_run(struct call *call)
{
    const struct repl *repl = call->family;
    if (repl->is_replica) {
        link_role(repl, call->out);
    } else {
        role_of_primary(repl, call->out);
    }
}

static const struct command report_rows[] = {
    {.name = "role",
     .run = role_run,
     .arity = 1,
     .flags = CMD_NO_SCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST,
     .categories = ACL_ADMIN | ACL_DANGEROUS,
     .since = "2.8.12",
     .group = "server",
     .complexity = "O(1)",
     .summary = "Tells whether the server is a primary or a replica, and of whom."},
};

void report_register(struct repl *repl)
{
    exec_register(repl->exec, report_rows, sizeof(report_rows) / sizeof(report_rows[0]), repl);
}
