/* The net as a whole: its making and its end, its configuration and its clock.
 *
 * Everything is reached from struct net: open connections in a list that turns, so that each tick
 * looks at the next tenth of them; closed ones until nothing of them is in flight; and the pools of
 * small structs that come and go with each request.
 *
 * Invariants:
 *   1. stats.clients is the number of open connections, dead_count that of closed ones not freed.
 *   2. Pools hold at most their bound; what exceeds it goes back to the allocator. */
#include "net/net.h"

#include "base/mem.h"
#include "net/net_internal.h"

enum {
    TICK_PART = 10, /* A tenth of the clients per tick: each about once a second. */
    TICK_CLIENTS_MIN = 5,
    TICK_CLIENTS_MAX = 1000, /* About 50 us. */
    PEAK_TICKS = 40,         /* A peak is forgotten after 4 to 8 seconds. */
    FREE_TURN_US = 100000,   /* One wait for the last completions. */
};

/* What Redis starts with. */
static const struct net_config DEFAULTS = {
    .query_buffer_max = 1024UL * 1024 * 1024,
    .bulk_len_max = 512UL * 1024 * 1024,
    .clients_max = 10000,
    .keepalive_s = 300,
    .output = {[CLIENT_CLASS_REPLICA] = {256UL << 20, 64UL << 20, 60},
               [CLIENT_CLASS_PUBSUB] = {32UL << 20, 8UL << 20, 60}},
};

struct net *net_new(struct ring *ring, struct exec *exec)
{
    struct net *net = mem_zalloc(sizeof *net);
    net->ring = ring;
    net->exec = exec;
    list_init(&net->ready);
    list_init(&net->dirty);
    list_init(&net->doomed);
    list_init(&net->conns);
    list_init(&net->dead);
    list_init(&net->listeners);
    reply_pool_init(&net->replies);
    net_configure(net, &DEFAULTS);
    return net;
}

static void pools_deinit(struct net *net)
{
    while (net->input_pool != NULL) {
        struct input *input = net->input_pool;
        net->input_pool = input->next;
        mem_free(input);
    }
    while (net->sending_pool != NULL) {
        struct sending *sending = net->sending_pool;
        net->sending_pool = sending->next;
        mem_free(sending);
    }
    reply_pool_deinit(&net->replies);
}

static bool is_anything_left(const struct net *net)
{
    return net->dead_count > 0 || net->reject_count > 0 || !list_is_empty(&net->conns) ||
           !listeners_are_gone(net);
}

void net_stop(struct net *net)
{
    net_close_listeners(net);
    while (is_anything_left(net)) {
        while (!list_is_empty(&net->conns)) { /* Accepts under way may still open some. */
            conn_shut(LIST_OWNER(net->conns.next, struct conn, link));
        }
        if (is_anything_left(net)) {
            (void)ring_turn(net->ring, ring_mono_us(net->ring) + FREE_TURN_US);
        }
    }
}

void net_free(struct net *net)
{
    net_stop(net);
    pools_deinit(net);
    mem_free(net);
}

void net_configure(struct net *net, const struct net_config *config)
{
    net->config = *config;
    limits_configure(net);
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

const struct net_stats *net_stats(struct net *net)
{
    net->stats.memory_normal = net->memory;
    net->stats.memory_peak_query = larger(net->peak_query[0], net->peak_query[1]);
    net->stats.memory_peak_output = larger(net->peak_output[0], net->peak_output[1]);
    return &net->stats;
}

void net_reset_stats(struct net *net)
{
    uint32_t clients = net->stats.clients;
    net->stats = (struct net_stats){.clients = clients};
}

size_t *net_lent_bytes(struct net *net)
{
    return &net->replies.orphaned_bytes;
}

size_t net_memory(const struct net *net)
{
    size_t sendings = (size_t)net->sending_count + net->sending_pool_count;
    size_t pools = net->input_pool_count * sizeof(struct input) + sendings * sizeof(struct sending);
    return net->kept_memory + reply_pool_memory(&net->replies) + ring_buffers_memory(net->ring) +
           pools + sizeof *net;
}

void net_tick(struct net *net)
{
    uint32_t count = net->stats.clients / TICK_PART + TICK_CLIENTS_MIN;
    count = count > TICK_CLIENTS_MAX ? TICK_CLIENTS_MAX : count;
    count = count > net->stats.clients ? net->stats.clients : count;
    for (; count > 0 && !list_is_empty(&net->conns); count--) {
        struct list *node = net->conns.next;
        list_remove(node);
        list_push_back(&net->conns, node);
        conn_tick(LIST_OWNER(node, struct conn, link));
    }
    net_reap_doomed(net);
    listeners_retry(net);
    if (++net->tick_count % PEAK_TICKS == 0) {
        limits_rotate_peaks(net);
    }
}

bool net_is_ready(const struct net *net)
{
    return !list_is_empty(&net->ready);
}

bool net_is_flushed(const struct net *net)
{
    return list_is_empty(&net->dirty) && net->sending_count == 0 && net->reject_count == 0;
}
