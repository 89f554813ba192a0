/* Wires: connections to a primary. What they send, what they have received, and the session for
 * which a primary's commands are executed.
 *
 * A wire receives straight into its buffer, one operation after the other, and never while commands
 * of the buffer are executed: so the buffer may be moved then, a stream that comes faster than it
 * is executed is held back by its socket, and no byte is copied on its way to the parser.
 *
 * Invariant: a closed wire is freed when none of its operations is in flight and nothing aside
 * works for its session. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "repl/link.h"

/* ---- Wires ---- */

enum { SECOND_US = 1000 * 1000 };

static void wire_on_receive(struct ring_op *op, int result);
static void wire_on_send(struct ring_op *op, int result);

struct wire *wire_new(struct link *link, int fd)
{
    struct wire *wire = mem_zalloc(sizeof(*wire));
    wire->repl = link->repl;
    wire->fd = fd;
    wire->receive.done = wire_on_receive;
    wire->send.done = wire_on_send;
    wire->connect.done = link_on_connect;
    buf_init(&wire->out);
    buf_init(&wire->sending);
    buf_init(&wire->work);
    resp_parser_init(&wire->parser);
    reply_init(&wire->reply, &link->replies);
    list_push_back(&link->wires, &wire->node);
    return wire;
}

void wire_release(struct wire *wire)
{
    bool is_kept = wire->has_session && (wire->session.flags & SESSION_KEPT) != 0;
    if (!wire->is_closed || is_kept || wire->receive.in_flight || wire->send.in_flight ||
        wire->connect.in_flight) {
        return;
    }
    if (wire->has_session) {
        session_deinit(&wire->session);
    }
    list_remove(&wire->node);
    reply_deinit(&wire->reply);
    resp_parser_deinit(&wire->parser);
    buf_deinit(&wire->out);
    buf_deinit(&wire->sending);
    buf_deinit(&wire->work);
    mem_free(wire->in);
    mem_free_sized(wire, sizeof(*wire));
}

void wire_close(struct wire *wire)
{
    wire->is_closed = true;
    if (wire->has_session) {
        wire->session.flags |= SESSION_CLOSE_NOW;
    }
    if (wire->has_session && (wire->session.flags & SESSION_KEPT) == 0) {
        session_deinit(&wire->session);
        wire->has_session = false;
    }
    ring_close_fd(wire->repl->options.ring, wire->fd);
    wire_release(wire);
}

/* ---- Sending ---- */

static void wire_flush(struct wire *wire)
{
    if (wire->is_closed || wire->send.in_flight || wire->out.len == 0) {
        return;
    }
    struct buf sent = wire->sending;
    wire->sending = wire->out;
    wire->out = sent;
    buf_clear(&wire->out);
    ring_send(wire->repl->options.ring, &wire->send, wire->fd, wire->sending.data,
              wire->sending.len);
}

static void wire_on_send(struct ring_op *op, int result)
{
    struct wire *wire = LIST_OWNER(op, struct wire, send);
    (void)result; /* A broken connection shows when it is read. */
    if (wire->is_closed) {
        wire_release(wire);
        return;
    }
    if (result >= 0) {
        wire_flush(wire);
    }
}

void wire_send(struct wire *wire, struct slice bytes)
{
    buf_append(&wire->out, bytes);
    wire_flush(wire);
}

void wire_say(struct wire *wire, const char *word, ...)
{
    struct buf words;
    unsigned count = 0;
    va_list rest;
    buf_init(&words);
    va_start(rest, word);
    for (const char *next = word; next != NULL; next = va_arg(rest, const char *)) {
        buf_printf(&words, "$%zu\r\n%s\r\n", strlen(next), next);
        count++;
    }
    va_end(rest);
    buf_printf(&wire->out, "*%u\r\n", count);
    buf_append(&wire->out, buf_slice(&words));
    buf_deinit(&words);
    wire_flush(wire);
}

/* ---- Lines ---- */

const char *wire_next_line(struct wire *wire)
{
    char *start = wire->in + wire->at;
    size_t have = wire->len - wire->at;
    char *end = have == 0 ? NULL : memchr(start, '\n', have);
    if (end == NULL) {
        return NULL;
    }
    wire->at += (size_t)(end - start) + 1;
    *end = '\0';
    if (end > start && end[-1] == '\r') {
        end[-1] = '\0';
    }
    return start;
}

void wire_forget_done(struct wire *wire)
{
    if (wire->at != 0) {
        memmove(wire->in, wire->in + wire->at, wire->len - wire->at);
        wire->len -= wire->at;
        wire->at = 0;
    }
}

/* ---- Receiving ---- */

bool wire_reserve(struct wire *wire, size_t room)
{
    if (wire->cap - wire->len >= room) {
        return true;
    }
    size_t cap = wire->cap < WIRE_CAP_MIN ? WIRE_CAP_MIN : wire->cap;
    while (cap - wire->len < room) {
        cap *= 2;
    }
    char *in = mem_try_realloc(wire->in, cap);
    if (in == NULL) {
        return false;
    }
    wire->in = in;
    wire->cap = cap;
    return true;
}

bool wire_receive(struct wire *wire)
{
    struct link *link = link_of(wire->repl);
    if (wire->receive.in_flight || wire->has_ended) {
        return true;
    }
    size_t room = wire->wanted > wire->len ? wire->wanted - wire->len : 0;
    if (!wire_reserve(wire, room < WIRE_ROOM_MIN ? WIRE_ROOM_MIN : room)) {
        log_write(LOG_WARNING, "No memory for what the master sends: %zu bytes are held",
                  wire->len);
        link_drop_patiently(link);
        return false;
    }
    wire->receive.done = wire_on_receive;
    ring_receive_into(wire->repl->options.ring, &wire->receive, wire->fd, wire->in + wire->len,
                      wire->cap - wire->len);
    return true;
}

static void on_wire_end(struct link *link)
{
    struct wire *wire = link->wire;
    const char *why = wire->end_error == 0 ? "connection lost" : strerror(-wire->end_error);
    if (link->state == LINK_CONNECTED) {
        wire->is_ready = true; /* What came before is executed first. */
    } else if (link->state == LINK_TRANSFER) {
        transfer_on_wire_end(link);
    } else {
        log_write(LOG_WARNING, "Master closed the connection in the handshake: %s", why);
        link->attempts++;
        link_drop(link, SECOND_US);
    }
}

static void wire_on_receive(struct ring_op *op, int result)
{
    struct wire *wire = LIST_OWNER(op, struct wire, receive);
    struct link *link = link_of(wire->repl);
    if (wire->is_closed) {
        wire_release(wire);
        return;
    }
    link->last_io_us = link->repl->now->mono_us;
    if (result <= 0) {
        wire->has_ended = true;
        wire->end_error = result;
        on_wire_end(link);
        return;
    }
    wire->len += (size_t)result;
    wire->repl->stats.bytes_in += (uint64_t)result;
    if (link->state == LINK_CONNECTED) {
        wire->session.bytes_in += (uint64_t)result;
        wire->is_ready = true;
    } else if (link->state == LINK_TRANSFER) {
        transfer_on_bytes(link);
    } else {
        handshake_on_bytes(link);
    }
}

/* ---- The session ---- */

static struct wire *wire_of(struct session *session)
{
    return LIST_OWNER(session, struct wire, session);
}

static void session_on_close(struct session *session, bool after_replies)
{
    (void)after_replies;
    wire_of(session)->is_doomed = true; /* Dropped between commands. */
}

static void session_on_view(struct session *session, struct session_view *view)
{
    struct wire *wire = wire_of(session);
    *view = (struct session_view){.fd = wire->fd, .events = "r"};
    ring_peer_text(wire->repl->options.ring, wire->fd, view->address);
    ring_local_text(wire->repl->options.ring, wire->fd, view->local_address);
    view->query_len = wire->len - wire->at;
    view->query_free = wire->cap - wire->len;
    view->total_memory = sizeof(*wire) + wire->cap + wire->out.cap + wire->sending.cap;
}

static void session_on_wake(struct session *session)
{
    struct wire *wire = wire_of(session);
    wire->is_ready = true;
    apply_on_wake(wire);
    if (wire->is_closed) {
        wire_release(wire);
    }
}

const struct session_ops wire_session_ops = {
    .close = session_on_close,
    .view = session_on_view,
    .wake = session_on_wake,
};
