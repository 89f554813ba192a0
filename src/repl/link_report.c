/* What is told of the link to the primary: INFO's fields, ROLE's reply, and what others of the room
 * ask. */
#include "base/buf.h"
#include "repl/link.h"

enum { SECOND_US = 1000 * 1000 };

static int64_t now_us(const struct link *link)
{
    return link->repl->now->mono_us;
}

static int64_t read_offset_of(const struct repl *repl)
{
    const struct link *link = link_of(repl);
    int64_t offset = backlog_end(&repl->backlog);
    return link_is_up(link) ? offset + (int64_t)(link->wire->len - link->wire->shown) : offset;
}

int link_db(const struct repl *repl)
{
    const struct link *link = link_of(repl);
    return link_is_up(link) ? (int)db_index(link->wire->session.db) : link->stream_db;
}

bool repl_is_fresh(const struct repl *repl)
{
    return !repl->is_replica || link_is_up(link_of(repl));
}

bool repl_is_loading(const struct repl *repl, struct load_figures *figures)
{
    const struct link *link = link_of(repl);
    if (link->transfer.direct != NULL && figures != NULL) {
        *figures = direct_figures(link);
    } else if (figures != NULL) {
        *figures = (struct load_figures){.started_us = link->transfer.started_us};
    }
    return link->transfer.has_flushed;
}

/* ---- What is told ---- */

const char *link_state_name(const struct repl *repl)
{
    const struct link *link = link_of(repl);
    switch (link->state) {
    case LINK_NONE:
        return "none";
    case LINK_WAITING:
        return "connect";
    case LINK_CONNECTING:
        return "connecting";
    case LINK_TRANSFER:
        return "sync";
    case LINK_CONNECTED:
        return "connected";
    default:
        return "handshake";
    }
}

void link_role(const struct repl *repl, struct reply *out)
{
    const struct link *link = link_of(repl);
    reply_array(out, 5);
    reply_bulk_text(out, "slave");
    reply_bulk_text(out, link->host);
    reply_integer(out, link->port);
    reply_bulk_text(out, link_state_name(repl));
    reply_integer(out, link_is_up(link) ? backlog_end(&repl->backlog) : -1);
}

static void info_transfer(const struct link *link, struct buf *out)
{
    const struct transfer *transfer = &link->transfer;
    int64_t total = transfer->size < 0 ? 0 : transfer->size;
    double percent = total == 0 ? 0 : (double)transfer->got * 100 / (double)total;
    buf_printf(out, "master_sync_total_bytes:%lld\r\n", (long long)total);
    buf_printf(out, "master_sync_read_bytes:%lld\r\n", (long long)transfer->got);
    buf_printf(out, "master_sync_left_bytes:%lld\r\n", (long long)(total - transfer->got));
    buf_printf(out, "master_sync_perc:%.2f\r\n", percent);
    buf_printf(out, "master_sync_last_io_seconds_ago:%lld\r\n",
               (long long)((now_us(link) - link->last_io_us) / SECOND_US));
}

void link_info(const struct repl *repl, struct buf *out)
{
    const struct link *link = link_of(repl);
    bool is_up = link_is_up(link);
    int64_t offset = link->has_history ? backlog_end(&repl->backlog) : 1;
    int64_t read_offset = link->has_history ? read_offset_of(repl) : 1;
    buf_printf(out, "master_host:%s\r\n", link->host);
    buf_printf(out, "master_port:%d\r\n", link->port);
    buf_printf(out, "master_link_status:%s\r\n", is_up ? "up" : "down");
    buf_printf(out, "master_last_io_seconds_ago:%lld\r\n",
               is_up ? (long long)((now_us(link) - link->last_io_us) / SECOND_US) : -1LL);
    buf_printf(out, "master_sync_in_progress:%d\r\n", link->state == LINK_TRANSFER);
    buf_printf(out, "slave_read_repl_offset:%lld\r\n", (long long)read_offset);
    buf_printf(out, "slave_repl_offset:%lld\r\n", (long long)offset);
    if (link->state == LINK_TRANSFER) {
        info_transfer(link, out);
    }
    if (!is_up) {
        buf_printf(out, "master_link_down_since_seconds:%lld\r\n",
                   link->down_since_s == 0
                       ? -1LL
                       : (long long)(repl->now->wall_ms / 1000 - link->down_since_s));
    }
    buf_printf(out, "slave_priority:%lld\r\n", (long long)repl->config.priority);
    buf_printf(out, "slave_read_only:%d\r\n", repl->config.is_read_only);
    buf_printf(out, "replica_announced:%d\r\n", repl->config.is_announced);
}
