/* The link to the primary: connecting, the handshake, the watch over it, and what breaks it.
 *
 *     NONE <--REPLICAOF NO ONE--.
 *      | REPLICAOF              |                      a failure: again in a second, or later
 *      v                        |     .-------------------------------------------------------.
 *     WAITING --> CONNECTING --> PING --> [AUTH] --> PORT --> [IP] --> CAPA --> PSYNC          |
 *        ^                                                                |    \              |
 *        |                                                  +FULLRESYNC   |     +CONTINUE     |
 *        |                                                                v         \         |
 *        |                                                           TRANSFER ---> CONNECTED  |
 *        '------------------------------------------------------------------------------------'
 *
 * Names are looked up by threads of the C library (getaddrinfo_a), for that may take seconds; the
 * answer is looked for at each tick. Where a name has several addresses the tries take turns.
 *
 * Invariants:
 *   1. link.wire is the only wire that is not closed; without one the state is NONE, WAITING or
 *      CONNECTING (a name is looked up).
 *   2. wire.has_session exactly in CONNECTED, and on closed wires for which something still works.
 */
#include "repl/link.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "exec/aside.h"

enum {
    SECOND_US = 1000 * 1000,
    PATIENCE_US_MAX = 60 * SECOND_US,
    KEEPALIVE_S = 300,
    REPLIES_KEPT = 4, /* Chunks for answers that nobody reads. */
};

static int64_t now_us(const struct link *link)
{
    return link->repl->now->mono_us;
}

/* ---- Acknowledgements ---- */

void link_acknowledge(struct link *link)
{
    char offset[NUM_I64_TEXT_MAX + 1];
    offset[num_format_i64(offset, backlog_end(&link->repl->backlog))] = '\0';
    link->next_ack_us = now_us(link) + SECOND_US;
    wire_say(link->wire, "REPLCONF", "ACK", offset, NULL);
}

/* ---- The end of a connection ---- */

static void stop_lookup(struct link *link)
{
    struct lookup *lookup = link->lookup;
    if (lookup == NULL) {
        return;
    }
    const struct gaicb *const list[] = {&lookup->request};
    if (gai_cancel(&lookup->request) == EAI_NOTCANCELED) {
        (void)gai_suspend(list, 1, NULL); /* Its thread writes to the request. */
    }
    if (gai_error(&lookup->request) == 0 && lookup->request.ar_result != NULL) {
        freeaddrinfo(lookup->request.ar_result);
    }
    mem_free(lookup);
    link->lookup = NULL;
}

/* Leaves whatever it is at; what was executed is not lost. */
static void disconnect(struct link *link)
{
    struct wire *wire = link->wire;
    if (link->state == LINK_TRANSFER) {
        transfer_abort(link);
    }
    if (link->state == LINK_CONNECTED) {
        apply_settle(link);
        apply_commit(link);
        link->stream_db = (int)db_index(wire->session.db);
        link->down_since_s = link->repl->now->wall_ms / 1000;
    }
    stop_lookup(link);
    link->wire = NULL;
    if (wire != NULL) {
        wire_close(wire);
    }
}

void link_drop(struct link *link, int64_t wait_us)
{
    disconnect(link);
    link->state = LINK_WAITING;
    link->next_try_us = now_us(link) + wait_us;
}

void link_drop_patiently(struct link *link)
{
    int64_t patience_us = link->patience_us * 2;
    patience_us = patience_us < SECOND_US ? SECOND_US : patience_us;
    link->patience_us = patience_us < PATIENCE_US_MAX ? patience_us : PATIENCE_US_MAX;
    link_drop(link, link->patience_us);
}

void link_leave(struct link *link)
{
    disconnect(link);
    link->state = LINK_NONE;
    link->down_since_s = 0;
    link->patience_us = 0;
    mem_free(link->host);
    link->host = NULL;
}

void link_lost(struct link *link)
{
    log_write(LOG_NOTICE, "Connection with master lost.");
    link_drop(link, 0);
}

/* ---- Connecting ---- */

static void fail_to_connect(struct link *link, const char *why)
{
    log_write(LOG_WARNING, "Error condition on socket for SYNC: %s", why);
    link->attempts++;
    link_drop(link, SECOND_US);
}

static void connect_to(struct link *link, const struct sockaddr *address, socklen_t len)
{
    struct ring *ring = link->repl->options.ring;
    int fd = ring_socket(ring, address->sa_family, NULL);
    if (fd < 0) {
        fail_to_connect(link, strerror(-fd));
        return;
    }
    struct wire *wire = wire_new(link, fd);
    link->wire = wire;
    link->state = LINK_CONNECTING;
    link->last_io_us = now_us(link);
    memcpy(&wire->address, address, len);
    ring_connect(ring, &wire->connect, fd, (struct sockaddr *)&wire->address, len);
}

static bool connect_to_numbers(struct link *link)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)link->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)link->port)};
    if (inet_pton(AF_INET, link->host, &v4.sin_addr) == 1) {
        connect_to(link, (const struct sockaddr *)&v4, sizeof(v4));
        return true;
    }
    if (inet_pton(AF_INET6, link->host, &v6.sin6_addr) == 1) {
        connect_to(link, (const struct sockaddr *)&v6, sizeof(v6));
        return true;
    }
    return false;
}

static void look_up(struct link *link)
{
    size_t host_size = strlen(link->host) + 1;
    struct lookup *lookup = mem_zalloc(sizeof(*lookup) + host_size);
    memcpy(lookup->host, link->host, host_size);
    lookup->hints = (struct addrinfo){.ai_socktype = SOCK_STREAM};
    snprintf(lookup->port, sizeof(lookup->port), "%d", link->port);
    lookup->request = (struct gaicb){
        .ar_name = lookup->host, .ar_service = lookup->port, .ar_request = &lookup->hints};
    struct gaicb *list[] = {&lookup->request};
    int error = getaddrinfo_a(GAI_NOWAIT, list, 1, NULL);
    if (error != 0) {
        mem_free(lookup);
        fail_to_connect(link, gai_strerror(error));
        return;
    }
    link->lookup = lookup;
    link->state = LINK_CONNECTING;
    link->last_io_us = now_us(link);
}

/* Whether the name has been found, and what then. */
static void lookup_tick(struct link *link)
{
    int error = gai_error(&link->lookup->request);
    if (error == EAI_INPROGRESS) {
        return;
    }
    if (error != 0) {
        stop_lookup(link);
        fail_to_connect(link, gai_strerror(error));
        return;
    }
    const struct addrinfo *found = link->lookup->request.ar_result;
    unsigned count = 0;
    for (const struct addrinfo *at = found; at != NULL; at = at->ai_next) {
        count++;
    }
    for (unsigned i = 0; i < link->attempts % (count == 0 ? 1 : count); i++) {
        found = found->ai_next;
    }
    if (found == NULL) {
        stop_lookup(link);
        fail_to_connect(link, "the name has no address");
        return;
    }
    struct sockaddr_storage address;
    socklen_t len = found->ai_addrlen;
    memcpy(&address, found->ai_addr, len);
    stop_lookup(link);
    connect_to(link, (const struct sockaddr *)&address, len);
}

static void begin_to_connect(struct link *link)
{
    log_write(LOG_NOTICE, "Connecting to MASTER %s:%d", link->host, link->port);
    if (!connect_to_numbers(link)) {
        look_up(link);
    }
    if (link->state == LINK_CONNECTING) {
        log_write(LOG_NOTICE, "MASTER <-> REPLICA sync started");
    }
}

void link_on_connect(struct ring_op *op, int result)
{
    struct wire *wire = LIST_OWNER(op, struct wire, connect);
    struct link *link = link_of(wire->repl);
    if (wire->is_closed) {
        wire_release(wire);
        return;
    }
    if (result < 0) {
        fail_to_connect(link, strerror(-result));
        return;
    }
    (void)ring_socket_tune(wire->repl->options.ring, wire->fd, true, KEEPALIVE_S);
    log_write(LOG_NOTICE, "Non blocking connect for SYNC fired the event.");
    link->last_io_us = now_us(link);
    link->state = LINK_PING;
    wire_say(wire, "PING", NULL);
    (void)wire_receive(wire);
}

void link_start(struct link *link)
{
    link->state = LINK_WAITING;
    link->next_try_us = 0;
    if (link->is_open) {
        begin_to_connect(link);
    }
}

/* ---- The stream ---- */

void link_establish(struct link *link)
{
    struct wire *wire = link->wire;
    struct repl *repl = link->repl;
    unsigned db_count = keyspace_db_count(exec_keyspace(repl->exec));
    wire_forget_done(wire);
    wire->parse_at = wire->shown = wire->committed = wire->wanted = 0;
    session_init(&wire->session, repl->exec, &wire->reply, &wire_session_ops, SESSION_PRIMARY);
    session_authenticate(&wire->session, slice_from_text("default"));
    unsigned db = link->stream_db >= 0 && (unsigned)link->stream_db < db_count
                      ? (unsigned)link->stream_db
                      : 0;
    wire->session.db = keyspace_db(exec_keyspace(repl->exec), db);
    wire->has_session = true;
    wire->is_ready = true;
    link->state = LINK_CONNECTED;
    link->has_history = true;
    link->down_since_s = 0;
    link->last_io_us = now_us(link);
    link->next_ack_us = now_us(link) + SECOND_US;
}

/* ---- Ticks ---- */

/* A primary that is not read from cannot show that it lives: commands wait, for a pause or a
 * script.
 */
static bool has_timed_out(struct link *link)
{
    if (link->wire != NULL && link->state == LINK_CONNECTED && !link->wire->receive.in_flight) {
        link->last_io_us = now_us(link);
    }
    return now_us(link) - link->last_io_us > link->repl->config.timeout_s * SECOND_US;
}

static void watch(struct link *link)
{
    bool is_loading = link->state == LINK_TRANSFER && link->transfer.step > TRANSFER_DIRECT;
    if (link->state <= LINK_WAITING || is_loading || !has_timed_out(link)) {
        return;
    }
    if (link->state == LINK_CONNECTED) {
        log_write(LOG_WARNING, "MASTER timeout: no data nor PING received...");
        link_drop(link, 0);
    } else if (link->state == LINK_TRANSFER) {
        log_write(LOG_WARNING, "Timeout receiving bulk data from MASTER... If the problem persists "
                               "try to set the 'repl-timeout' parameter in redis.conf to a larger "
                               "value.");
        link_drop(link, SECOND_US);
    } else {
        log_write(LOG_WARNING, "Timeout connecting to the MASTER...");
        link->attempts++;
        link_drop(link, SECOND_US);
    }
}

/* Signs of life for the primary. */
static void say_alive(struct link *link)
{
    bool is_loading = link->state == LINK_TRANSFER && link->transfer.step >= TRANSFER_DIRECT;
    if (link->state == LINK_CONNECTED && now_us(link) >= link->next_ack_us) {
        link_acknowledge(link);
    } else if (is_loading && now_us(link) >= link->next_newline_us) {
        link->next_newline_us = now_us(link) + SECOND_US;
        wire_send(link->wire, slice_of("\n", 1));
    }
}

void link_tick(struct repl *repl)
{
    struct link *link = link_of(repl);
    watch(link);
    if (link->lookup != NULL) {
        lookup_tick(link);
    }
    if (link->state == LINK_WAITING && link->is_open && now_us(link) >= link->next_try_us) {
        begin_to_connect(link);
    }
    say_alive(link);
    failover_tick(repl);
    guard_tick(repl);
}

bool link_drain(struct repl *repl, int64_t deadline_mono_us)
{
    struct link *link = link_of(repl);
    struct wire *wire = link->wire;
    if (wire != NULL && wire->is_doomed && !wire->is_working) {
        log_write(LOG_NOTICE, "The link to the master was closed by a client");
        link_drop(link, 0);
        return false;
    }
    if (link->state == LINK_CONNECTED) {
        return wire != NULL && wire->is_ready && apply_run(link, deadline_mono_us);
    }
    if (transfer_wants_turn(link)) {
        transfer_turn(link);
    }
    return link->transfer.has_flushed && !link->transfer.is_started;
}

bool link_is_ready(const struct repl *repl)
{
    const struct link *link = repl->upstream;
    const struct wire *wire = link->wire;
    return link->state == LINK_CONNECTED && wire != NULL && wire->is_ready &&
           !wire->receive.in_flight && (wire->session.flags & SESSION_SUSPENDED) == 0 &&
           !aside_is_parked(repl->exec);
}

/* ---- Life ---- */

void link_new(struct repl *repl)
{
    struct link *link = mem_zalloc(sizeof(*link));
    link->repl = repl;
    link->window = mem_alloc(sizeof(*link->window));
    list_init(&link->wires);
    reply_pool_init(&link->replies);
    link->replies.free_max = REPLIES_KEPT;
    reply_init(&link->flusher_reply, &link->replies);
    session_init(&link->flusher, repl->exec, &link->flusher_reply, NULL, SESSION_INTERNAL);
    repl->upstream = link;
}

void link_stop(struct repl *repl)
{
    struct link *link = link_of(repl);
    link->is_ending = true;
    link_leave(link);
    while (!list_is_empty(&link->wires)) {
        ring_turn(repl->options.ring, 0);
    }
    transfer_deinit(link);
}

void link_free(struct repl *repl)
{
    struct link *link = link_of(repl);
    failover_deinit(link);
    session_deinit(&link->flusher);
    reply_deinit(&link->flusher_reply);
    reply_pool_deinit(&link->replies);
    mem_free(link->window);
    mem_free_sized(link, sizeof(*link));
    repl->upstream = NULL;
}

size_t link_memory(const struct repl *repl)
{
    const struct link *link = link_of(repl);
    const struct wire *wire = link->wire;
    size_t memory = transfer_memory(link) + reply_pool_memory(&link->replies);
    if (wire != NULL) {
        memory += wire->cap + wire->out.cap + wire->sending.cap + wire->session.held_memory +
                  resp_parser_memory(&wire->parser);
    }
    return memory;
}
