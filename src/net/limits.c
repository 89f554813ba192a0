/* What clients may occupy, and for how long.
 *
 *     query buffer    > client-query-buffer-limit     closed, logged with its first bytes; what
 *                                                     MULTI has queued counts too
 *     unsent replies  > hard limit of its class       closed, logged
 *                     > soft limit for soft_seconds   closed, logged
 *                     >= OUTPUT_PAUSE, no hard limit  executes nothing until half is sent
 *     all clients     > maxmemory-clients             the largest is closed, then the next
 *     idle            > timeout                       closed
 *
 * Pausing is Ouro's own: Redis goes on executing for a client that does not read, until memory is
 * gone. The bound is generous, because a simple client writes a whole pipeline before it reads
 * anything, and would wait for ever for a server that waits for it. With a hard limit in force
 * there is no pause: the limit bounds the memory, and such a client is cut off as Redis does it.
 *
 * The unsent replies of a class do not count the first chunk, as Redis does not count the fixed
 * buffer of a client.
 *
 * Accounts: each connection remembers what it last added to net->memory, so a change costs O(1) and
 * the sum is always there. Looking for the largest is O(clients), but happens only above the limit,
 * and not again before the sum has grown when nobody may be closed.
 *
 * Invariants:
 *   1. net->memory is the sum of conn->memory over all open connections, kept_memory likewise.
 *   2. A limit dooms a connection; it never closes it on the spot, for it may be executing.
 *
 * Rejected: buckets of clients by size (Redis's way: work for every reply to make a rare search
 * cheap). */
#include "base/buf.h"
#include "net/net_internal.h"

enum {
    EVICTIONS_MAX = 8,     /* Clients closed per flush: each costs a walk over all. */
    QUERY_SAMPLE_LEN = 64, /* Bytes of a query buffer that the log shows. */
    US_PER_SECOND = 1000000,
    MS_PER_SECOND = 1000,
};

/* ---- Accounts ---- */

static size_t query_memory(const struct conn *conn)
{
    size_t memory = conn->input_len;
    if (conn->held != NULL) {
        memory += conn->held->cap;
    }
    if (conn->big != NULL) {
        memory += conn->big->cap;
    }
    if (conn->parser.partial != NULL) {
        memory += resp_parser_memory(&conn->parser);
    }
    return memory;
}

/* Bytes of requests that are not executed. */
static size_t query_len(const struct conn *conn)
{
    size_t len = input_pending(conn);
    if (conn->big != NULL) {
        len += conn->big->len;
    }
    if (conn->parser.partial != NULL) {
        len += resp_parser_memory(&conn->parser);
    }
    return len;
}

static void close_query(struct conn *conn)
{
    struct buf text;
    buf_init(&text);
    buf_append_text(&text, " (qbuf initial bytes: ");
    buf_append_quoted(&text, slice_part(input_region(conn), 0, QUERY_SAMPLE_LEN));
    buf_append_text(&text, ")");
    buf_append_byte(&text, '\0');
    conn_log(conn, LOG_WARNING, "Closing client that reached max query buffer length: ", text.data);
    buf_deinit(&text);
    conn->net->stats.query_limit_closed++;
    conn_doom(conn);
}

void conn_account(struct conn *conn)
{
    struct net *net = conn->net;
    if ((conn->flags & CONN_CLOSED) != 0) {
        return;
    }
    size_t query = 0;
    if (!input_is_empty(conn) || conn->big != NULL || conn->parser.partial != NULL) {
        query = query_memory(conn);
    }
    size_t own = sizeof *conn + conn->session.held_memory;
    size_t memory = own + query + conn->reply.memory;
    size_t kept_memory = own + (query > conn->input_len ? query - conn->input_len : 0);
    net->memory += memory - conn->memory;
    net->kept_memory += kept_memory - conn->kept_memory;
    conn->memory = memory;
    conn->kept_memory = kept_memory;
    if (query > net->peak_query[0]) {
        net->peak_query[0] = query;
    }
    if (conn->reply.memory > net->peak_output[0]) {
        net->peak_output[0] = conn->reply.memory;
    }
    size_t held = conn->session.held_memory; /* Queued commands: received and not executed too. */
    if (query + held > net->config.query_buffer_max &&
        query_len(conn) + held > net->config.query_buffer_max && (conn->flags & CONN_DOOMED) == 0) {
        close_query(conn);
    }
}

void limits_rotate_peaks(struct net *net)
{
    net->peak_query[1] = net->peak_query[0];
    net->peak_output[1] = net->peak_output[0];
    net->peak_query[0] = net->peak_output[0] = 0;
}

/* ---- Output ---- */

static enum client_class conn_class(const struct conn *conn)
{
    uint32_t flags = conn->session.flags;
    if ((flags & SESSION_REPLICA) != 0 && (flags & SESSION_MONITOR) == 0) {
        return CLIENT_CLASS_REPLICA;
    }
    if ((flags & SESSION_PUBSUB) != 0) {
        return CLIENT_CLASS_PUBSUB;
    }
    return CLIENT_CLASS_NORMAL;
}

/* True once it has been above the soft limit for too long. */
static bool is_soft_over(struct conn *conn, const struct output_limit *limit, size_t bytes)
{
    int64_t now_us = exec_now(conn->net->exec)->mono_us;
    if (limit->soft_bytes == 0 || bytes <= limit->soft_bytes) {
        conn->flags &= ~(uint32_t)CONN_SOFT_OVER;
        return false;
    }
    if ((conn->flags & CONN_SOFT_OVER) == 0) {
        conn->flags |= CONN_SOFT_OVER;
        conn->soft_since_us = now_us;
        return false;
    }
    return now_us - conn->soft_since_us > limit->soft_seconds * US_PER_SECOND;
}

static void choke(struct conn *conn, const struct output_limit *limit)
{
    if (limit->hard_bytes == 0 && conn->reply.memory >= OUTPUT_PAUSE) {
        conn->flags |= CONN_CHOKED;
    } else if ((conn->flags & CONN_CHOKED) != 0 && conn->reply.memory < OUTPUT_PAUSE / 2) {
        conn->flags &= ~(uint32_t)CONN_CHOKED;
        conn_set_ready(conn);
    }
}

void conn_check_output(struct conn *conn)
{
    if ((conn->flags & (CONN_CLOSED | CONN_DOOMED)) != 0 ||
        (conn->session.flags & (SESSION_PRIMARY | SESSION_REPLICA)) != 0) {
        return; /* Of replicas, repl/ knows what they have not been sent. */
    }
    const struct output_limit *limit = &conn->net->config.output[conn_class(conn)];
    size_t bytes = conn->reply.memory > REPLY_CHUNK_LEN ? conn->reply.memory - REPLY_CHUNK_LEN : 0;
    bool is_hard_over = limit->hard_bytes != 0 && bytes > limit->hard_bytes;
    if (is_hard_over || is_soft_over(conn, limit, bytes)) {
        conn_log(conn, LOG_WARNING, "Client ",
                 " scheduled to be closed ASAP for overcoming of output buffer limits.");
        conn->net->stats.output_limit_closed++;
        conn_doom(conn);
        return;
    }
    choke(conn, limit);
}

void limits_configure(struct net *net)
{
    uint64_t lowest = OUTPUT_PAUSE - 1;
    for (unsigned i = 0; i < CLIENT_CLASS_COUNT; i++) {
        const struct output_limit *limit = &net->config.output[i];
        if (limit->hard_bytes != 0 && limit->hard_bytes < lowest) {
            lowest = limit->hard_bytes;
        }
        if (limit->soft_bytes != 0 && limit->soft_bytes < lowest) {
            lowest = limit->soft_bytes;
        }
    }
    net->output_check = (size_t)lowest;
    net->futile_memory = 0;
}

/* ---- All of them together ---- */

static struct conn *find_largest(struct net *net)
{
    struct conn *largest = NULL;
    const uint32_t spared = SESSION_NO_EVICT | SESSION_PRIMARY | SESSION_REPLICA;
    for (struct list *node = net->conns.next; node != &net->conns; node = node->next) {
        struct conn *conn = LIST_OWNER(node, struct conn, link);
        if ((conn->session.flags & spared) == 0 &&
            (largest == NULL || conn->memory > largest->memory)) {
            largest = conn;
        }
    }
    return largest;
}

void net_evict_clients(struct net *net)
{
    uint64_t limit = net->config.clients_memory_max;
    if (limit == 0 || net->memory <= limit || net->memory <= net->futile_memory) {
        return;
    }
    for (unsigned i = 0; i < EVICTIONS_MAX && net->memory > limit; i++) {
        struct conn *conn = find_largest(net);
        if (conn == NULL) {
            net->futile_memory = net->memory;
            return;
        }
        conn_log(conn, LOG_NOTICE, "Evicting client: ", "");
        net->stats.clients_evicted++;
        conn_shut(conn);
    }
    net->futile_memory = 0;
}

/* ---- Now and then ---- */

static bool is_idle_too_long(const struct conn *conn)
{
    const struct session *session = &conn->session;
    int64_t timeout_s = conn->net->config.timeout_s;
    const uint32_t spared = SESSION_SUSPENDED | SESSION_PRIMARY | SESSION_REPLICA | SESSION_MONITOR;
    if (timeout_s <= 0 || (session->flags & spared) != 0 ||
        conn_class(conn) != CLIENT_CLASS_NORMAL) {
        return false;
    }
    int64_t idle_ms = exec_now(conn->net->exec)->wall_ms - session->last_active_ms;
    return idle_ms > timeout_s * MS_PER_SECOND;
}

/* Goes on lingering while input still comes, a few looks long. */
static void tick_lingering(struct conn *conn)
{
    enum { LOOKS_MAX = 5 };
    bool is_over = (conn->flags & CONN_STRAGGLED) == 0 || (conn->flags & CONN_EOF) != 0;
    if (is_over || ++conn->linger_ticks >= LOOKS_MAX) {
        conn_shut(conn);
        return;
    }
    conn->flags &= ~(uint32_t)CONN_STRAGGLED;
}

/* From a client that has sent too much while it blocks nothing is received, not even its end. */
static bool is_gone_unheard(struct conn *conn)
{
    return !conn->receive.in_flight && (conn->flags & CONN_EOF) == 0 && conn_is_blocking(conn) &&
           ring_peer_has_ended(conn->net->ring, conn->fd);
}

void conn_tick(struct conn *conn)
{
    if ((conn->flags & CONN_LINGERS) != 0) {
        tick_lingering(conn);
        return;
    }
    conn_account(conn);
    if ((conn->flags & CONN_SOFT_OVER) != 0) {
        conn_check_output(conn);
    }
    if (is_gone_unheard(conn)) {
        conn_doom(conn);
    } else if (is_idle_too_long(conn)) {
        log_write(LOG_VERBOSE, "Closing idle client");
        conn->net->stats.timeout_closed++;
        conn_doom(conn);
    }
}
