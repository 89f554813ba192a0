/* What the files of observe/ share. Never included outside this folder. */
#pragma once

#include "base/buf.h"
#include "observe/observe.h"

/* ---- redact.c: arguments that must not be shown ---- */

/* Which arguments of a call are passwords. */
struct redaction {
    uint32_t first, count;   /* A run of arguments; count 0: none. */
    bool is_config;          /* CONFIG SET: the values of secret directives. */
    const struct args *args; /* Borrowed from the call. */
};

struct redaction redaction_of(const struct call *call);

/* The argument at `index`, or "(redacted)". Borrowed. */
struct slice redaction_apply(const struct redaction *redaction, uint32_t index);

/* ---- graph.c ---- */

struct graph_sample {
    int64_t age_s;
    uint32_t value;
};

enum { GRAPH_COLUMNS = 80, GRAPH_ROWS = 4 };

/* Appends columns of GRAPH_ROWS characters, one per sample, lowest and highest scaled to fit, with
 * the age under each; GRAPH_COLUMNS samples side by side, then the next block below. */
void graph_append(const struct graph_sample *samples, size_t count, struct buf *out);

/* ---- Registration, one per family ---- */

void slowlog_register(struct exec *exec, struct slowlog *slowlog);
void latency_register(struct exec *exec, struct latency *latency);
void monitor_register(struct exec *exec, struct monitor *monitor);
