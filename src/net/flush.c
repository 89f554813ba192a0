/* Flush: replies to sends.
 *
 *     command, push -> dirty list -> net_flush -> one send in flight -> completion
 *                          ^                                               |
 *                          '---------- more was written meanwhile ---------'
 *
 * A reply is sent from where it was written: chunks of the connection's chain and blobs, at most
 * RING_PARTS_MAX of them at a time. All sends of a turn are submitted by one system call, the next
 * ring_turn. There is never more than one in flight per connection, so order needs no care; what is
 * written meanwhile goes out with the next.
 *
 * A turn starts at most FLUSH_MAX sends: each costs the kernel some microseconds, and when a
 * message goes to ten thousand subscribers, commands are executed between one batch and the next.
 *
 * The operation and its vector live in a pooled struct, not in the connection: idle clients do not
 * send, and it is a fifth of what they would cost.
 *
 * Invariants:
 *   1. conn->sending != NULL exactly while a send is in flight on conn->fd.
 *   2. Parts described by a send in flight stay until reply_sent, even when the connection closes.
 *   3. A connection with replies and no send in flight is on the dirty list. */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/net_internal.h"

static void sending_on_done(struct ring_op *op, int result);

static struct sending *sending_take(struct conn *conn)
{
    struct net *net = conn->net;
    struct sending *sending = net->sending_pool;
    if (sending == NULL) {
        sending = mem_alloc(sizeof *sending);
        memset(&sending->op, 0, sizeof sending->op);
        sending->op.done = sending_on_done;
    } else {
        net->sending_pool = sending->next;
        net->sending_pool_count--;
    }
    sending->conn = conn;
    conn->sending = sending;
    net->sending_count++;
    return sending;
}

static void sending_give(struct conn *conn)
{
    struct net *net = conn->net;
    struct sending *sending = conn->sending;
    conn->sending = NULL;
    net->sending_count--;
    if (net->sending_pool_count >= SENDING_POOL_MAX) {
        mem_free_sized(sending, sizeof *sending);
        return;
    }
    sending->next = net->sending_pool;
    net->sending_pool = sending;
    net->sending_pool_count++;
}

/* Leaves at most SEND_BYTES_MAX bytes in the parts; returns how many parts remain. */
static unsigned parts_limit(struct iovec *parts, unsigned count)
{
    size_t left = SEND_BYTES_MAX;
    for (unsigned i = 0; i < count; i++) {
        if (parts[i].iov_len >= left) {
            parts[i].iov_len = left;
            return i + 1;
        }
        left -= parts[i].iov_len;
    }
    return count;
}

/* A short reply that is the last thing to send does not end the ring's wait: nobody waits for its
 * completion, and a turn of the loop is saved. */
static void send_start(struct conn *conn)
{
    struct ring *ring = conn->net->ring;
    struct sending *sending = sending_take(conn);
    size_t total = 0;
    unsigned count = reply_peek(&conn->reply, sending->parts, RING_PARTS_MAX, &total);
    if (total > SEND_BYTES_MAX) {
        count = parts_limit(sending->parts, count);
    }
    bool is_watched =
        (conn->flags & (CONN_CHOKED | CONN_SOFT_OVER)) != 0 ||
        (conn->session.flags & (SESSION_CLOSE_AFTER_REPLY | SESSION_AWAITS_ROOM)) != 0;
    sending->op.is_patient =
        count == 1 && total < REPLY_CHUNK_LEN && total == reply_len(&conn->reply) && !is_watched;
    if (count == 1) {
        ring_send(ring, &sending->op, conn->fd, sending->parts[0].iov_base,
                  sending->parts[0].iov_len);
    } else {
        ring_send_parts(ring, &sending->op, conn->fd, sending->parts, count);
    }
}

/* Bytes were sent: frees them, and looks whether more is to be done. */
static void conn_note_sent(struct conn *conn, size_t len)
{
    conn->net->stats.bytes_out += len;
    conn->session.bytes_out += len;
    conn->session.last_active_ms =
        exec_now(conn->net->exec)->wall_ms; /* A slow reader is not idle. */
    reply_sent(&conn->reply, len);
    conn_account(conn);
    if ((conn->flags & (CONN_CHOKED | CONN_SOFT_OVER)) != 0) {
        conn_check_output(conn);
    }
    if (session_has_room(&conn->session)) {
        conn->session.on_room(&conn->session, conn->session.cancel_context);
    }
    bool is_ending = (conn->session.flags & SESSION_CLOSE_AFTER_REPLY) != 0;
    if (is_ending || !reply_is_empty(&conn->reply)) {
        conn_set_dirty(conn);
    }
}

static void sending_on_done(struct ring_op *op, int result)
{
    struct conn *conn = LIST_OWNER(op, struct sending, op)->conn;
    struct net *net = conn->net;
    sending_give(conn);
    net->stats.writes++;
    if ((conn->flags & CONN_CLOSED) != 0) {
        conn_release(conn);
    } else if (result < 0) {
        log_write(LOG_VERBOSE, "Writing to client: %s", strerror(-result));
        conn_shut(conn);
    } else {
        conn_note_sent(conn, (size_t)result);
    }
}

void conn_flush(struct conn *conn)
{
    if (conn->reply.memory > conn->net->output_check) {
        conn_check_output(conn);
    }
    if (conn->sending != NULL || (conn->flags & (CONN_CLOSED | CONN_DOOMED)) != 0) {
        return;
    }
    if (!reply_is_empty(&conn->reply)) {
        send_start(conn);
    } else if ((conn->session.flags & SESSION_CLOSE_AFTER_REPLY) != 0) {
        conn_finish(conn);
    }
}

bool net_flush(struct net *net)
{
    net_reap_doomed(net);
    for (unsigned i = 0; i < FLUSH_MAX && !list_is_empty(&net->dirty); i++) {
        struct conn *conn = LIST_OWNER(net->dirty.next, struct conn, dirty_link);
        list_remove(&conn->dirty_link);
        conn_flush(conn);
    }
    net_evict_clients(net);
    net_reap_doomed(net);
    return !list_is_empty(&net->dirty) || !list_is_empty(&net->doomed);
}
