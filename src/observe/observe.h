/* What the server tells about itself while it runs: slow commands (SLOWLOG), latency events
 * (LATENCY), every command as it comes (MONITOR), and changes of keys that clients hold copies of
 * (CLIENT TRACKING). Each is a struct owned by the composition
 * root that hooks into exec. */
#pragma once

#include <stdint.h>

#include "exec/exec.h"

/* The slow log: the last commands that took longer than a threshold, newest first. */
struct slowlog;
struct slowlog *slowlog_new(struct exec *exec);
void slowlog_free(struct slowlog *slowlog);

/* threshold_us negative: off; 0: every command. Drops entries above `entries_max`. */
void slowlog_configure(struct slowlog *slowlog, int64_t threshold_us, uint64_t entries_max);

/* Latency events by name: the last 160 samples of each, one a second at most. */
struct latency;
struct latency *latency_new(struct exec *exec);
void latency_free(struct latency *latency);

/* threshold_ms 0: off. */
void latency_configure(struct latency *latency, int64_t threshold_ms);

/* Sessions that see every command. */
struct monitor;
struct monitor *monitor_new(struct exec *exec);
void monitor_free(struct monitor *monitor);

/* Client-side caching: sessions that are told when keys change that they have read. `hash_seed` is
 * drawn once per process. */
struct tracking;
struct tracking *tracking_new(struct exec *exec, uint64_t hash_seed);

/* All sessions must be closed before. */
void tracking_free(struct tracking *tracking);

/* At most so many keys are remembered; 0: as many as are read. */
void tracking_configure(struct tracking *tracking, uint64_t keys_max);

/* Tells what clients in BCAST mode are told at the end of a turn: before its replies are sent. */
void tracking_flush(struct tracking *tracking);

struct tracking_counts {
    size_t clients, keys, items, prefixes; /* An item is a key that one client has read. */
};
struct tracking_counts tracking_counts(const struct tracking *tracking);

/* Bytes of all this: the clients', never the data set's. O(1). */
size_t tracking_memory(const struct tracking *tracking);

/* Adds CLIENT TRACKING, CACHING, GETREDIR and TRACKINGINFO to CLIENT, which is there already. */
void tracking_register(struct exec *exec, struct tracking *tracking);

/* Adds SLOWLOG, LATENCY and MONITOR to the registry. */
void observe_register(struct exec *exec, struct slowlog *slowlog, struct latency *latency,
                      struct monitor *monitor);
