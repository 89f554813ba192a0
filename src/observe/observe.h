/* What the server tells about itself while it runs: slow commands (SLOWLOG), latency events
 * (LATENCY), and every command as it comes (MONITOR). Each is a struct owned by the composition
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

/* Adds SLOWLOG, LATENCY and MONITOR to the registry. */
void observe_register(struct exec *exec, struct slowlog *slowlog, struct latency *latency,
                      struct monitor *monitor);
