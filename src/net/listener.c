/* Listeners: from a listening descriptor to connections.
 *
 *     accept -> too many clients?   -> told so, closed
 *            -> protected and remote? -> told so, closed
 *            -> conn_open
 *
 * An accept that ends with an error (EMFILE, ENFILE, ENOMEM) is tried again by the next tick: until
 * then new clients wait in the kernel's queue, and nothing spins. That is logged once, until an
 * accept succeeds.
 *
 * A refused client gets its line from a small struct of its own, at most REJECTS_MAX at a time;
 * beyond that it is only closed, so that a flood costs nothing.
 *
 * Addresses change while the server runs: the new listeners are opened first, those that stay the
 * same stay open, and only then are the others closed. So a port that cannot be had costs nothing.
 *
 * Invariants:
 *   1. A listener is freed when its accept has completed for the last time.
 *   2. reject_count is the number of refusals in flight.
 *   3. Outside of net_relisten_begin and _end, every listener's fate is to stay. */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/net_internal.h"

static const char REJECT_MAX_CLIENTS[] = "-ERR max number of clients reached\r\n";

/* The words are Redis's: clients and their users search for them. */
static const char REJECT_PROTECTED[] =
    "-DENIED Redis is running in protected mode because protected mode is enabled and no password "
    "is set for the default user. In this mode connections are only accepted from the loopback "
    "interface. If you want to connect from external computers to Redis you may adopt one of the "
    "following solutions: 1) Just disable protected mode sending the command 'CONFIG SET "
    "protected-mode no' from the loopback interface by connecting to Redis from the same host the "
    "server is running, however MAKE SURE Redis is not publicly accessible from internet if you do "
    "so. Use CONFIG REWRITE to make this change permanent. 2) Alternatively you can just disable "
    "the protected mode by editing the Redis configuration file, and setting the protected mode "
    "option to 'no', and then restarting the server. 3) If you started the server manually just "
    "for testing, restart it with the '--protected-mode no' option. 4) Setup a an authentication "
    "password for the default user. NOTE: You only need to do one of the above things in order for "
    "the server to start accepting connections from the outside.\r\n";

/* ---- Refusals ---- */

static void reject_on_sent(struct ring_op *op, int result)
{
    struct reject *reject = LIST_OWNER(op, struct reject, send);
    (void)result; /* Whether the client read it or has gone: it is closed. */
    ring_close_fd(reject->net->ring, reject->fd);
    reject->net->reject_count--;
    mem_free(reject);
}

static void reject_client(struct net *net, int fd, struct slice text)
{
    net->stats.connections_rejected++;
    if (net->reject_count >= REJECTS_MAX) {
        ring_close_fd(net->ring, fd);
        return;
    }
    struct reject *reject = mem_zalloc(sizeof *reject);
    reject->send.done = reject_on_sent;
    reject->net = net;
    reject->fd = fd;
    net->reject_count++;
    ring_send(net->ring, &reject->send, fd, text.data, text.len);
}

/* ---- Accepting ---- */

static void listener_admit(struct listener *listener, int fd)
{
    struct net *net = listener->net;
    if (net->stats.clients >= net->config.clients_max) {
        reject_client(net, fd, slice_from_text(REJECT_MAX_CLIENTS));
        return;
    }
    if (net->config.is_protected && !listener->is_unix && !ring_peer_is_local(net->ring, fd)) {
        reject_client(net, fd, slice_from_text(REJECT_PROTECTED));
        return;
    }
    conn_open(net, fd, listener->is_unix);
}

static void listener_free(struct listener *listener)
{
    list_remove(&listener->link);
    mem_free(listener->address);
    mem_free(listener);
}

static void listener_note_error(struct listener *listener, int error)
{
    if (!listener->net->is_accept_failing) {
        log_write(LOG_WARNING, "Accepting client connection: %s", strerror(-error));
    }
    listener->net->is_accept_failing = true;
}

static void listener_on_accept(struct ring_op *op, int result)
{
    struct listener *listener = LIST_OWNER(op, struct listener, accept);
    struct net *net = listener->net;
    if (result >= 0 && listener->is_closing) {
        ring_close_fd(net->ring, result);
    } else if (result >= 0) {
        net->is_accept_failing = false;
        listener_admit(listener, result);
    } else if (!listener->is_closing) {
        listener_note_error(listener, result);
    }
    if (op->in_flight) {
        return;
    }
    if (listener->is_closing) {
        listener_free(listener);
    } else if (result >= 0) {
        ring_accept(net->ring, op, listener->fd);
    } else {
        listener->needs_retry = true;
    }
}

/* ---- Opening and closing ---- */

static void listener_close(struct listener *listener)
{
    listener->is_closing = true;
    /* Until the accept in flight has ended the kernel keeps the socket; shut down, it at least no
     * longer holds its port. */
    ring_shutdown(listener->net->ring, listener->fd);
    ring_close_fd(listener->net->ring, listener->fd);
    if (!listener->accept.in_flight) {
        listener_free(listener);
    }
}

/* The listener that may go and is what is asked for, or NULL. */
static struct listener *find_same(struct net *net, const struct ring_listen_options *options)
{
    for (struct list *node = net->listeners.next; node != &net->listeners; node = node->next) {
        struct listener *listener = LIST_OWNER(node, struct listener, link);
        if (listener->fate == LISTENER_GOES && !listener->is_closing &&
            listener->is_unix == options->is_unix && listener->port == options->port &&
            strcmp(listener->address, options->address) == 0) {
            return listener;
        }
    }
    return NULL;
}

/* Opens the listeners that may go to one that takes their place, or shuts them again. Returns how
 * many. */
static unsigned share_ports(struct net *net, bool is_shared)
{
    unsigned count = 0;
    for (struct list *node = net->listeners.next; node != &net->listeners; node = node->next) {
        struct listener *listener = LIST_OWNER(node, struct listener, link);
        if (listener->fate == LISTENER_GOES && !listener->is_closing && !listener->is_unix) {
            count += ring_share_port(net->ring, listener->fd, is_shared) == 0;
        }
    }
    return count;
}

static bool is_any(const char *address)
{
    return strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;
}

/* Whether a listener that stays or is new has some of these addresses. */
static bool is_overlapping(struct net *net, const struct ring_listen_options *options)
{
    for (struct list *node = net->listeners.next; node != &net->listeners; node = node->next) {
        const struct listener *listener = LIST_OWNER(node, struct listener, link);
        bool is_rival = listener->fate != LISTENER_GOES && !listener->is_closing &&
                        !listener->is_unix && listener->port == options->port;
        bool is_v6 = strchr(options->address, ':') != NULL;
        if (is_rival && is_v6 == (strchr(listener->address, ':') != NULL) &&
            (is_any(options->address) || is_any(listener->address) ||
             strcmp(options->address, listener->address) == 0)) {
            return true;
        }
    }
    return false;
}

/* An address may overlap with one that is about to go ("127.0.0.1" and "*"). The kernel then
 * refuses it as one in use, unless both sides agree to share it for that moment. Another process's
 * never agrees; of our own, Linux remembers for the whole port that sharing once was agreed on, so
 * those that stay are looked at here. */
static int open_fd(struct net *net, const struct ring_listen_options *options)
{
    int fd = ring_listen(net->ring, options);
    if (fd != -EADDRINUSE || !net->is_relistening || options->is_unix ||
        is_overlapping(net, options)) {
        return fd;
    }
    struct ring_listen_options shared = *options;
    shared.is_shared = true;
    if (share_ports(net, true) > 0) {
        fd = ring_listen(net->ring, &shared);
        (void)share_ports(net, false);
    }
    return fd;
}

bool net_keep_listening(struct net *net, const struct ring_listen_options *options)
{
    struct listener *same = find_same(net, options);
    if (same != NULL) {
        same->fate = LISTENER_STAYS;
    }
    return same != NULL;
}

int net_listen(struct net *net, const struct ring_listen_options *options)
{
    int fd = open_fd(net, options);
    if (fd < 0) {
        return fd;
    }
    size_t size = strlen(options->address) + 1;
    struct listener *listener = mem_zalloc(sizeof *listener);
    listener->accept.done = listener_on_accept;
    listener->net = net;
    listener->fd = fd;
    listener->address = memcpy(mem_alloc(size), options->address, size);
    listener->port = options->port;
    listener->fate = net->is_relistening ? LISTENER_IS_NEW : LISTENER_STAYS;
    listener->is_unix = options->is_unix;
    list_push_back(&net->listeners, &listener->link);
    ring_accept(net->ring, &listener->accept, fd);
    return 0;
}

void net_close_listeners(struct net *net)
{
    struct list *next;
    for (struct list *node = net->listeners.next; node != &net->listeners; node = next) {
        struct listener *listener = LIST_OWNER(node, struct listener, link);
        next = node->next;
        if (!listener->is_closing) {
            listener_close(listener);
        }
    }
}

void net_relisten_begin(struct net *net)
{
    net->is_relistening = true;
    for (struct list *node = net->listeners.next; node != &net->listeners; node = node->next) {
        LIST_OWNER(node, struct listener, link)->fate = LISTENER_GOES;
    }
}

void net_relisten_end(struct net *net, bool is_good)
{
    enum listener_fate closed = is_good ? LISTENER_GOES : LISTENER_IS_NEW;
    struct list *next;
    net->is_relistening = false;
    for (struct list *node = net->listeners.next; node != &net->listeners; node = next) {
        struct listener *listener = LIST_OWNER(node, struct listener, link);
        next = node->next;
        bool is_closed = listener->fate == closed && !listener->is_closing;
        listener->fate = LISTENER_STAYS;
        if (is_closed) {
            listener_close(listener);
        }
    }
}

void listeners_retry(struct net *net)
{
    for (struct list *node = net->listeners.next; node != &net->listeners; node = node->next) {
        struct listener *listener = LIST_OWNER(node, struct listener, link);
        if (listener->needs_retry && !listener->is_closing) {
            listener->needs_retry = false;
            ring_accept(net->ring, &listener->accept, listener->fd);
        }
    }
}

bool listeners_are_gone(const struct net *net)
{
    return list_is_empty(&net->listeners);
}
