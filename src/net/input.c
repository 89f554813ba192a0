/* What a connection has received and not yet executed.
 *
 *     own bytes (held), if any             received buffers, borrowed from the ring
 *     [incomplete command | copies]        [#####......] -> [...........] -> [.......]
 *                                                 ^ head_at
 *
 * Commands are parsed where the kernel put them. Only a command that is cut by the end of a buffer
 * is copied: its first part moves to the connection's own buffer, and then a little of the next
 * buffer is joined to it (a bridge), twice as much each time that does not suffice. When the
 * command is complete, parsing steps over the bridge into the received buffer and the own buffer is
 * freed. So a stream of small commands costs one copy of a fraction of a command per 16 KiB, and an
 * idle connection owns nothing.
 *
 * A connection that may not execute (it blocks, or waits) moves everything to its own buffer, so
 * that it does not keep the ring's buffers from others.
 *
 * Large bulks (parse.h, RESP_BIG) are filled from the buffers that are there; when much is missing,
 * conn.c receives the rest straight into the blob.
 *
 * Costs: O(bytes copied). A cut command of n bytes is copied twice at most, and parsed O(log n)
 * times. 32 bytes per received buffer.
 *
 * Invariants:
 *   1. With held: at < len - bridged, so there is at least one byte that no received buffer has.
 *   2. The last `bridged` bytes of held equal those of the first received buffer from head_at on,
 *      and are fewer than it has left.
 *   3. input_len is the sum of the received buffers' lengths, less head_at.
 *   4. While CONN_PARSED is set the parser's arguments may point into the region; whatever moves
 *      the region moves them along.
 *
 * Rejected: one growing buffer per connection (copies every byte, and 10,000 idle clients keep
 * 16 KiB each); copying whole received buffers behind the incomplete command (3 % of a SET). */
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "net/net_internal.h"

/* ---- The queue of received buffers ---- */

static struct input *input_take(struct net *net)
{
    struct input *input = net->input_pool;
    if (input == NULL) {
        return mem_alloc(sizeof *input);
    }
    net->input_pool = input->next;
    net->input_pool_count--;
    return input;
}

static void input_give(struct net *net, struct input *input)
{
    if (net->input_pool_count >= INPUT_POOL_MAX) {
        mem_free_sized(input, sizeof *input);
        return;
    }
    input->next = net->input_pool;
    net->input_pool = input;
    net->input_pool_count++;
}

void input_push(struct conn *conn, const struct ring_buffer *buffer)
{
    struct input *input = input_take(conn->net);
    *input = (struct input){.buffer = *buffer};
    if (conn->first == NULL) {
        conn->first = input;
        conn->head_at = 0;
    } else {
        conn->last->next = input;
    }
    conn->last = input;
    conn->input_len += buffer->len;
}

/* Gives the first buffer back. */
static void input_pop(struct conn *conn)
{
    struct input *input = conn->first;
    conn->input_len -= input->buffer.len - conn->head_at;
    conn->head_at = 0;
    conn->first = input->next;
    if (conn->first == NULL) {
        conn->last = NULL;
    }
    ring_buffer_release(conn->net->ring, &input->buffer);
    input_give(conn->net, input);
}

size_t input_pending(const struct conn *conn)
{
    size_t own = conn->held == NULL ? 0 : conn->held->len - conn->held->at - conn->held->bridged;
    return own + conn->input_len;
}

/* ---- The connection's own bytes ---- */

static void held_free(struct conn *conn)
{
    mem_free(conn->held);
    conn->held = NULL;
}

/* Arguments of a parsed command that point into [from, from + len) follow their bytes to `to`. An
 * empty one at the very end stays: its pointer is never read. */
static void move_args(struct conn *conn, const char *from, size_t len, const char *to)
{
    if ((conn->flags & CONN_PARSED) == 0) {
        return;
    }
    for (uint32_t i = 0; i < conn->parser.argc; i++) {
        struct slice *arg = &conn->parser.args[i];
        uintptr_t offset = (uintptr_t)arg->data - (uintptr_t)from;
        if (arg->data != NULL && offset < len) {
            arg->data = to + offset;
        }
    }
}

/* Room for `more` bytes behind those held; makes the buffer when there is none. */
static bool held_reserve(struct conn *conn, size_t more)
{
    struct held *held = conn->held;
    size_t used = held == NULL ? 0 : held->len - held->at;
    if (held != NULL && held->cap - held->len >= more) {
        return true;
    }
    size_t cap = used == 0 ? more : used + (more > used ? more : used);
    cap = cap < HELD_CAP_MIN ? HELD_CAP_MIN : cap;
    struct held *fresh = mem_try_alloc(sizeof *fresh + cap);
    if (fresh == NULL) {
        return false;
    }
    *fresh = (struct held){.cap = cap, .len = used};
    if (held != NULL) {
        fresh->bridged = held->bridged;
        memcpy(fresh->bytes, held->bytes + held->at, used);
        move_args(conn, held->bytes + held->at, used, fresh->bytes);
        mem_free(held);
    }
    conn->held = fresh;
    return true;
}

static void held_append(struct held *held, const char *data, size_t len)
{
    memcpy(held->bytes + held->len, data, len);
    held->len += len;
}

void input_drop(struct conn *conn)
{
    if (conn->held != NULL) {
        held_free(conn);
    }
    while (conn->first != NULL) {
        input_pop(conn);
    }
}

static void advance_first(struct conn *conn, size_t len)
{
    conn->head_at += (uint32_t)len;
    conn->input_len -= len;
    DEBUG_ASSERT(conn->head_at <= conn->first->buffer.len);
    if (conn->head_at == conn->first->buffer.len) {
        input_pop(conn);
    }
}

void input_advance(struct conn *conn, size_t len)
{
    struct held *held = conn->held;
    if (len == 0) {
        return;
    }
    if (held == NULL) {
        advance_first(conn, len);
        return;
    }
    held->at += len;
    DEBUG_ASSERT(held->at <= held->len);
    size_t own_end = held->len - held->bridged;
    if (held->at < own_end) {
        return;
    }
    size_t beyond = held->at - own_end;
    held_free(conn);
    if (beyond > 0) {
        advance_first(conn, beyond);
    }
}

bool input_bridge(struct conn *conn)
{
    size_t used = conn->held->len - conn->held->at;
    size_t done = conn->head_at + conn->held->bridged;
    size_t left = conn->first->buffer.len - done;
    size_t len = used < BRIDGE_LEN_MIN ? BRIDGE_LEN_MIN : used;
    if (len >= left) {
        return input_hold_first(conn);
    }
    if (!held_reserve(conn, len)) {
        return false;
    }
    held_append(conn->held, conn->first->buffer.data + done, len);
    conn->held->bridged += len;
    return true;
}

bool input_hold_first(struct conn *conn)
{
    const char *data = conn->first->buffer.data;
    bool is_new = conn->held == NULL;
    size_t done = conn->head_at + (is_new ? 0 : conn->held->bridged);
    size_t len = conn->first->buffer.len - done;
    if (!held_reserve(conn, len)) {
        return false;
    }
    struct held *held = conn->held;
    if (is_new) {
        move_args(conn, data + done, len, held->bytes);
    }
    held_append(held, data + done, len);
    held->bridged = 0;
    input_pop(conn);
    return true;
}

bool input_hold_all(struct conn *conn)
{
    while (conn->first != NULL) {
        if (!input_hold_first(conn)) {
            return false;
        }
    }
    return true;
}

/* ---- Large bulks ---- */

bool big_begin(struct conn *conn)
{
    conn->big = blob_try_new(conn->parser.big_len);
    if (conn->big == NULL) {
        conn_fail(conn, "Protocol error: out of memory for the request");
        return false;
    }
    return big_fill(conn);
}

bool big_fill(struct conn *conn)
{
    struct blob *blob = conn->big;
    while (blob->len < conn->parser.big_len && !input_is_empty(conn)) {
        struct slice part = slice_part(input_region(conn), 0, conn->parser.big_len - blob->len);
        memcpy(blob->bytes + blob->len, part.data, part.len);
        blob->len += part.len;
        input_advance(conn, part.len);
    }
    if (blob->len == conn->parser.big_len) {
        conn->big = NULL;
        resp_parse_supply(&conn->parser, blob);
        conn->flags |= input_is_empty(conn) ? CONN_HUNGRY : 0;
    }
    conn_account(conn);
    return (conn->flags & CONN_CLOSED) == 0;
}
