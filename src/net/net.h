/* Where sockets meet sessions: listeners, connections, the drain that executes what arrived, and
 * the flush that sends what was answered.
 *
 *     ring_turn -> completions append received buffers to their connection and put it on the ready
 *                  list
 *     net_drain -> for a window of commands across ready connections: parse, plan, prefetch,
 *                  execute in order
 *     net_flush -> one send per connection with replies, all submitted by the next ring_turn
 *
 * A connection owns buffers only while something is half received or half sent. It is freed by one
 * reaper, when nothing of it is in flight. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "exec/exec.h"
#include "ring/ring.h"

struct net;

enum client_class {
    CLIENT_CLASS_NORMAL,
    CLIENT_CLASS_REPLICA,
    CLIENT_CLASS_PUBSUB,
    CLIENT_CLASS_COUNT,
};

struct output_limit {
    uint64_t hard_bytes, soft_bytes; /* 0: no limit. */
    int64_t soft_seconds;
};

struct net_config {
    uint64_t query_buffer_max; /* client-query-buffer-limit */
    uint64_t bulk_len_max;     /* proto-max-bulk-len */
    uint32_t clients_max;      /* maxclients */
    int64_t timeout_s;         /* timeout: idle clients are closed; 0 never. */
    int keepalive_s;           /* tcp-keepalive */
    /* protected-mode is on and no password is set: only loopback and unix sockets are let in. */
    bool is_protected;
    struct output_limit output[CLIENT_CLASS_COUNT]; /* client-output-buffer-limit */
    uint64_t clients_memory_max;                    /* maxmemory-clients in bytes; 0: no limit. */
};

struct net_stats {
    uint64_t connections_received, connections_rejected;
    uint64_t bytes_in, bytes_out;
    uint64_t clients_evicted, query_limit_closed, output_limit_closed, timeout_closed;
    uint64_t protocol_errors;
    uint64_t reads, writes; /* Completions of receives and sends. */
    uint32_t clients;       /* Connected now. */
    uint64_t memory_normal; /* Bytes of query buffers, reply buffers and connections now. */
    uint64_t memory_peak_query, memory_peak_output; /* Largest of a recent client. */
};

/* Both are borrowed and outlive the net. */
struct net *net_new(struct ring *ring, struct exec *exec);

/* Closes everything. Turns the ring until none of the net's operations is in flight, so that other
 * rooms' completions may be called back meanwhile. Replies not yet sent are dropped. */
void net_stop(struct net *net);

/* The same, then frees the net and the pool that its sessions' replies come from. */
void net_free(struct net *net);

void net_configure(struct net *net, const struct net_config *config);
const struct net_stats *net_stats(struct net *net);
void net_reset_stats(struct net *net);

/* Starts to listen. Returns 0 or negative errno (nothing is kept then). Several may be open. */
int net_listen(struct net *net, const struct ring_listen_options *options)
    __attribute__((warn_unused_result));

/* Stops accepting and closes all listeners (shutdown). Files of unix sockets stay: whoever chose
 * their path removes them. */
void net_close_listeners(struct net *net);

/* Listening on other addresses. Between begin and end, first net_keep_listening tells whether a
 * listener is open on the same address and port, and keeps it; then net_listen opens those that are
 * not. The end closes either the ones that were open and were not kept (is_good), or those just
 * opened, so that what was open before never closed. */
void net_relisten_begin(struct net *net);
bool net_keep_listening(struct net *net, const struct ring_listen_options *options);
void net_relisten_end(struct net *net, bool is_good);

/* Executes what is ready, a bounded number of commands per connection in each round, until nothing
 * is ready or `deadline_mono_us` (of the ring's clock) has passed. Returns true when work is
 * left. At least one window of commands is executed. */
bool net_drain(struct net *net, int64_t deadline_mono_us);

/* Whether some connection has something to execute: the next turn should not wait. */
bool net_is_ready(const struct net *net);

/* Starts the sends of connections that have replies, and enforces output limits. Returns true when
 * some are left for the next turn, because this one has started its full number. */
bool net_flush(struct net *net);

/* Ten times a second or so: idle timeouts, soft limits, retries of accepts that ended. Looks at a
 * tenth of the clients per call, at most a fixed number. */
void net_tick(struct net *net);

/* True when no connection has anything left to send. */
bool net_is_flushed(const struct net *net);

/* Where the bytes of blobs are counted that only replies refer to: for blob_lend. */
size_t *net_lent_bytes(struct net *net);

/* Bytes allocated for clients now: connections, receive buffers, requests not executed, replies not
 * sent (a blob that is still a key's value is not counted), pools. Never counted as data. O(1). */
size_t net_memory(const struct net *net);
