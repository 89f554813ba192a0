/* The life of a connection.
 *
 *                    conn_open
 *                        |
 *                      open ---- conn_doom, conn_shut -----------------.
 *                        |                                             |
 *     close after replies (QUIT, protocol error, end of input)         |
 *                        |                                             v
 *                   all is sent ---- input still comes: lingers --> closed --> freed
 *
 * An open one receives all the time, but for three cases: it holds PENDING_MAX bytes that are not
 * processed (the kernel's window then holds its peer back), a large bulk is being received straight
 * into its blob, or the peer has sent all.
 *
 *     multishot receive --- large bulk, much missing --> cancelled --> receive into the blob
 *            ^                                                              |
 *            '------------------------- full -------------------------------'
 *
 * Lingering: closing a socket with unread input makes the kernel send a reset, and on some systems
 * a reset destroys replies that the peer has received but not read. So after a protocol error, when
 * input kept coming behind it, the connection reads and drops input until a tick finds none.
 *
 * Idle, a connection is one allocation (see the static_assert) and owns no buffers.
 *
 * Invariants:
 *   1. session_deinit runs once, in conn_shut, which never runs inside a command.
 *   2. A closed connection is on net->dead until nothing of it is in flight and no window refers to
 *      it; then it is freed.
 *   3. ready_link is on net->ready, on net->doomed (exactly when CONN_DOOMED), or on nothing.
 *
 * Rejected: freeing by reference counts (two operations and one list say the same), and slabs of
 * connections (the allocator's size class fits within 5 %, and returns memory by itself). */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "net/net_internal.h"

static_assert(sizeof(struct conn) <= 768, "an idle connection costs less than 1,000 bytes");

void conn_log(struct conn *conn, enum log_level level, const char *before, const char *after)
{
    if (!log_is_on(level)) {
        return;
    }
    struct buf line;
    buf_init(&line);
    session_describe(&conn->session, exec_now(conn->net->exec)->wall_ms, &line);
    log_write(level, "%s%.*s%s", before, (int)line.len, line.data, after);
    buf_deinit(&line);
}

/* ---- The end ---- */

static void conn_free(struct conn *conn)
{
    list_remove(&conn->link);
    conn->net->dead_count--;
    reply_deinit(&conn->reply);
    if (conn->big != NULL) {
        blob_drop(conn->big);
    }
    mem_free_sized(conn, sizeof *conn);
}

void conn_release(struct conn *conn)
{
    if (conn_is_quiet(conn) && !conn->net->is_draining) {
        conn_free(conn);
    }
}

void net_reap_dead(struct net *net)
{
    struct list *next;
    for (struct list *node = net->dead.next; node != &net->dead; node = next) {
        struct conn *conn = LIST_OWNER(node, struct conn, link);
        next = node->next;
        conn_release(conn);
    }
}

/* Something works for the session and needs its memory: it will be woken when that has ended. */
static void conn_wait_for_release(struct conn *conn)
{
    conn->flags = (conn->flags | CONN_AWAITS_RELEASE) & ~(uint32_t)CONN_DOOMED;
    conn->session.flags |= SESSION_CLOSE_NOW;
    list_remove(&conn->ready_link);
    list_remove(&conn->dirty_link);
}

void conn_shut(struct conn *conn)
{
    struct net *net = conn->net;
    if ((conn->flags & CONN_CLOSED) != 0) {
        return;
    }
    if ((conn->session.flags & SESSION_KEPT) != 0) {
        conn_wait_for_release(conn);
        return;
    }
    conn->flags = (conn->flags | CONN_CLOSED) & ~(uint32_t)CONN_DOOMED;
    conn->session.flags |= SESSION_CLOSE_NOW;
    list_remove(&conn->ready_link);
    list_remove(&conn->dirty_link);
    list_remove(&conn->link);
    list_push_back(&net->dead, &conn->link);
    net->dead_count++;
    net->stats.clients--;
    session_deinit(&conn->session);
    input_drop(conn);
    resp_parser_deinit(&conn->parser);
    net->memory -= conn->memory;
    net->kept_memory -= conn->kept_memory;
    conn->memory = conn->kept_memory = 0;
    ring_close_fd(net->ring, conn->fd);
    conn_release(conn);
}

void conn_doom(struct conn *conn)
{
    if ((conn->flags & (CONN_CLOSED | CONN_DOOMED)) != 0) {
        return;
    }
    conn->flags |= CONN_DOOMED;
    conn->session.flags |= SESSION_CLOSE_NOW;
    list_remove(&conn->ready_link);
    list_push_back(&conn->net->doomed, &conn->ready_link);
}

void net_reap_doomed(struct net *net)
{
    while (!list_is_empty(&net->doomed) && net->reaped_count < REAP_MAX) {
        net->reaped_count++;
        conn_shut(LIST_OWNER(net->doomed.next, struct conn, ready_link));
    }
}

void conn_finish(struct conn *conn)
{
    uint32_t linger = CONN_FAILED | CONN_STRAGGLED;
    if ((conn->flags & linger) == linger && (conn->flags & CONN_EOF) == 0) {
        conn->flags |= CONN_LINGERS;
        return;
    }
    conn_shut(conn);
}

void conn_fail(struct conn *conn, const char *error)
{
    conn->net->stats.protocol_errors++;
    reply_errorf(&conn->reply, "ERR %s", error);
    if (log_is_on(LOG_VERBOSE)) {
        conn_log(conn, LOG_VERBOSE, "Protocol error from client: ", "");
    }
    conn->flags |= CONN_FAILED;
    conn->session.flags |= SESSION_CLOSE_AFTER_REPLY;
    input_drop(conn);
    conn_set_dirty(conn);
}

/* ---- Receiving ---- */

/* Counts and keeps, or drops, bytes that came. */
static void conn_take(struct conn *conn, const struct ring_buffer *buffer)
{
    struct net *net = conn->net;
    bool is_unwanted = (conn->session.flags & (SESSION_CLOSE_AFTER_REPLY | SESSION_CLOSE_NOW)) != 0;
    if (is_unwanted) {
        conn->flags |= CONN_STRAGGLED;
        ring_buffer_release(net->ring, buffer);
        return;
    }
    net->stats.bytes_in += buffer->len;
    conn->session.bytes_in += buffer->len;
    conn->session.last_active_ms = exec_now(net->exec)->wall_ms;
    input_push(conn, buffer);
    conn_set_ready(conn);
}

static void conn_note_end(struct conn *conn, int result)
{
    if (result == 0) {
        conn->flags |= CONN_EOF;
        conn_set_ready(conn);
        if ((conn->session.flags & SESSION_CLOSE_AFTER_REPLY) != 0) {
            conn_set_dirty(conn);
        }
    } else if (result != -ECANCELED) {
        log_write(LOG_VERBOSE, "Reading from client: %s", strerror(-result));
        conn_shut(conn);
    }
}

static void conn_on_receive(struct ring_op *op, int result)
{
    struct conn *conn = LIST_OWNER(op, struct conn, receive);
    struct net *net = conn->net;
    net->stats.reads++;
    if ((conn->flags & CONN_CLOSED) != 0) {
        if (result > 0) {
            ring_buffer_release(net->ring, &op->buffer);
        }
        conn_release(conn);
        return;
    }
    if (result > 0) {
        conn_take(conn, &op->buffer);
    } else if (!op->in_flight) {
        conn_note_end(conn, result);
        if (result != 0 && result != -ECANCELED) {
            return; /* Shut, perhaps freed. */
        }
    }
    conn_update_receive(conn);
}

/* A part of a large bulk has come, straight into its blob. */
static void conn_on_big(struct ring_op *op, int result)
{
    struct conn *conn = LIST_OWNER(op, struct conn, receive);
    struct net *net = conn->net;
    net->stats.reads++;
    if ((conn->flags & CONN_CLOSED) != 0) {
        conn_release(conn);
        return;
    }
    if (result <= 0) {
        conn_note_end(conn, result);
        return;
    }
    net->stats.bytes_in += (uint64_t)result;
    conn->session.bytes_in += (uint64_t)result;
    conn->session.last_active_ms = exec_now(net->exec)->wall_ms;
    conn->big->len += (size_t)result;
    if (conn->big->len == conn->parser.big_len) {
        conn_set_ready(conn);
    } else {
        conn_account(conn);
    }
    conn_update_receive(conn);
}

/* Whether a large bulk misses enough to be received straight into its place. */
static bool conn_wants_big(const struct conn *conn)
{
    return conn->big != NULL && conn->first == NULL && conn->held == NULL &&
           conn->parser.big_len - conn->big->len >= RECEIVE_INTO_MIN;
}

static bool conn_wants_receive(const struct conn *conn)
{
    /* Without the gap between the two bounds receiving would start and stop all the time. */
    size_t bound = conn->receive.in_flight ? PENDING_MAX : PENDING_MAX / 2;
    bool is_incomplete = (conn->flags & CONN_HUNGRY) != 0;
    return (is_incomplete ? conn->input_len : input_pending(conn)) < bound;
}

void conn_update_receive(struct conn *conn)
{
    if ((conn->flags & (CONN_CLOSED | CONN_EOF)) != 0) {
        return;
    }
    struct ring_op *op = &conn->receive;
    bool wants_big = conn_wants_big(conn);
    if (op->in_flight) {
        if (op->done == conn_on_receive && (wants_big || !conn_wants_receive(conn))) {
            ring_cancel(conn->net->ring, op);
        }
        return;
    }
    if (wants_big) {
        size_t have = conn->big->len;
        op->done = conn_on_big;
        size_t missing = conn->parser.big_len - have;
        ring_receive_into(conn->net->ring, op, conn->fd, conn->big->bytes + have,
                          missing < RECEIVE_INTO_MAX ? missing : RECEIVE_INTO_MAX);
    } else if (conn_wants_receive(conn)) {
        op->done = conn_on_receive;
        ring_receive(conn->net->ring, op, conn->fd);
    }
}

/* ---- What the session asks for ---- */

static struct conn *conn_of(struct session *session)
{
    return LIST_OWNER(session, struct conn, session);
}

static void conn_close(struct session *session, bool after_replies)
{
    struct conn *conn = conn_of(session);
    if (after_replies) {
        session->flags |= SESSION_CLOSE_AFTER_REPLY;
        conn_set_dirty(conn);
    } else {
        conn_doom(conn);
    }
}

static void conn_wake(struct session *session)
{
    struct conn *conn = conn_of(session);
    if ((conn->flags & CONN_CLOSED) != 0) {
        return;
    }
    if ((conn->flags & CONN_AWAITS_RELEASE) != 0) {
        conn_doom(conn);
        return;
    }
    conn_set_dirty(conn);
    conn_account(conn);
    if (conn->reply.memory > conn->net->output_check) {
        conn_check_output(conn);
    }
    bool has_work = !input_is_empty(conn) || (conn->flags & (CONN_PARSED | CONN_EOF)) != 0;
    if (has_work && !conn_is_stopped(conn)) {
        conn_set_ready(conn);
    }
}

static void conn_view_replies(const struct conn *conn, struct session_view *view)
{
    size_t len = reply_len(&conn->reply);
    view->reply_buffer_len = len < REPLY_CHUNK_LEN ? len : REPLY_CHUNK_LEN;
    for (const struct reply_part *part = conn->reply.first; part != NULL; part = part->next) {
        if (part == conn->reply.first) {
            view->reply_buffer = view->reply_buffer_peak = REPLY_CHUNK_LEN;
            continue;
        }
        view->reply_list_len++;
        view->reply_list_memory += part->blob != NULL ? part->cap : REPLY_CHUNK_LEN;
    }
}

static void conn_view(struct session *session, struct session_view *view)
{
    struct conn *conn = conn_of(session);
    *view = (struct session_view){.fd = conn->fd, .events = "r"};
    ring_peer_text(conn->net->ring, conn->fd, view->address);
    ring_local_text(conn->net->ring, conn->fd, view->local_address);
    if (conn->sending != NULL) {
        memcpy(view->events, "rw", 3);
    }
    conn_view_replies(conn, view);
    view->query_len = input_pending(conn) + (conn->big == NULL ? 0 : conn->big->len);
    if (conn->held != NULL) {
        view->query_free = conn->held->cap - conn->held->len;
    }
    view->argv_memory = resp_parser_memory(&conn->parser);
    view->total_memory = conn->memory;
}

static const struct session_ops conn_ops = {
    .close = conn_close,
    .view = conn_view,
    .wake = conn_wake,
};

/* ---- The beginning ---- */

void conn_open(struct net *net, int fd, bool is_unix)
{
    struct conn *conn = mem_zalloc(sizeof *conn);
    conn->net = net;
    conn->fd = fd;
    list_init(&conn->ready_link);
    list_init(&conn->dirty_link);
    list_push_back(&net->conns, &conn->link);
    reply_init(&conn->reply, &net->replies);
    resp_parser_init(&conn->parser);
    uint32_t session_flags = is_unix ? SESSION_UNIX_SOCKET : 0;
    if (!is_unix) {
        session_flags |= ring_peer_is_local(net->ring, fd) ? SESSION_LOCAL : 0;
        (void)ring_socket_tune(net->ring, fd, true, net->config.keepalive_s); /* It may be gone. */
    }
    net->stats.connections_received++;
    net->stats.clients++;
    session_init(&conn->session, net->exec, &conn->reply, &conn_ops, session_flags);
    conn_account(conn);
    conn_update_receive(conn);
}
