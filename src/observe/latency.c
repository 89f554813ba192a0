/* Latency events: what took longer than a threshold, by name, and the reports about it.
 *
 *     event "command":  [ s | s | s | ... 160 ]  a ring of the last samples
 *                             ^ next             a sample: second, longest duration in it
 *
 * At most one sample a second: a longer duration in the same second replaces it, so 160 samples
 * span at least as many seconds. An event costs 2.6 KiB, once it has happened; names are the
 * program's own, but their number is bounded all the same.
 *
 * LATENCY HISTOGRAM reads exec's statistics of commands instead. They count in eight buckets per
 * power of two of nanoseconds; Redis's reply sums them up at 1024 ns x 2^k, which are boundaries of
 * such buckets too, so that nothing is estimated.
 *
 * Invariants:
 *   1. Samples of an event are in order of time, at most one for a second.
 *   2. An event that exists has at least one sample. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "observe/observe_internal.h"

enum {
    SAMPLES_MAX = 160,
    EVENTS_MAX = 64,
    NAME_LEN_MAX = 31,
    HISTOGRAM_UNIT_NS = 1024,
    HISTOGRAM_STEPS = 44, /* 1024 ns x 2^44 is half a year. */
    RULE_LEN = 80,
};

struct sample {
    int64_t time_s; /* Unix time. */
    uint32_t ms;
};

struct event {
    char name[NAME_LEN_MAX + 1];
    uint32_t next, count;
    uint32_t ms_max; /* Of all time. */
    struct sample samples[SAMPLES_MAX];
};

struct latency {
    struct exec *exec;
    int64_t threshold_ms;
    unsigned event_count;
    struct event *events[EVENTS_MAX];
};

/* ---- Events ---------------------------------------------------------------------------------- */

static struct event *event_find(const struct latency *latency, struct slice name)
{
    for (unsigned i = 0; i < latency->event_count; i++) {
        if (slice_equal(slice_from_text(latency->events[i]->name), name)) {
            return latency->events[i];
        }
    }
    return NULL;
}

static struct event *event_find_or_new(struct latency *latency, const char *name)
{
    struct event *event = event_find(latency, slice_part(slice_from_text(name), 0, NAME_LEN_MAX));
    if (event == NULL && latency->event_count < EVENTS_MAX) {
        event = mem_zalloc(sizeof(*event));
        snprintf(event->name, sizeof(event->name), "%s", name);
        latency->events[latency->event_count++] = event;
    }
    return event;
}

/* The `index`-th sample from the oldest. */
static const struct sample *event_sample(const struct event *event, uint32_t index)
{
    return &event->samples[(event->next + SAMPLES_MAX - event->count + index) % SAMPLES_MAX];
}

static void event_add(struct event *event, int64_t time_s, uint32_t ms)
{
    struct sample *last = &event->samples[(event->next + SAMPLES_MAX - 1) % SAMPLES_MAX];
    event->ms_max = ms > event->ms_max ? ms : event->ms_max;
    if (event->count > 0 && last->time_s >= time_s) {
        last->ms = ms > last->ms ? ms : last->ms;
        return;
    }
    event->samples[event->next] = (struct sample){.time_s = time_s, .ms = ms};
    event->next = (event->next + 1) % SAMPLES_MAX;
    event->count += event->count < SAMPLES_MAX;
}

static void on_latency(void *context, const char *name, int64_t duration_us)
{
    struct latency *latency = context;
    struct event *event = event_find_or_new(latency, name);
    int64_t ms = duration_us / 1000;
    if (event != NULL) {
        event_add(event, exec_now(latency->exec)->wall_ms / 1000,
                  ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms);
    }
}

static void event_drop(struct latency *latency, unsigned index)
{
    mem_free(latency->events[index]);
    latency->events[index] = latency->events[--latency->event_count];
}

/* ---- Life ------------------------------------------------------------------------------------ */

struct latency *latency_new(struct exec *exec)
{
    struct latency *latency = mem_zalloc(sizeof(*latency));
    latency->exec = exec;
    return latency;
}

void latency_free(struct latency *latency)
{
    exec_set_latency_hook(latency->exec, NULL, NULL, 0);
    while (latency->event_count > 0) {
        event_drop(latency, 0);
    }
    mem_free(latency);
}

void latency_configure(struct latency *latency, int64_t threshold_ms)
{
    int64_t clamped_ms = threshold_ms > INT64_MAX / 1000 ? INT64_MAX / 1000 : threshold_ms;
    latency->threshold_ms = clamped_ms;
    if (clamped_ms <= 0) {
        exec_set_latency_hook(latency->exec, NULL, NULL, 0);
    } else {
        exec_set_latency_hook(latency->exec, on_latency, latency, clamped_ms * 1000);
    }
}

/* ---- LATEST, HISTORY, RESET, GRAPH ----------------------------------------------------------- */

static void latency_latest_run(struct call *call)
{
    const struct latency *latency = call->family;
    reply_array(call->out, latency->event_count);
    for (unsigned i = 0; i < latency->event_count; i++) {
        const struct event *event = latency->events[i];
        const struct sample *last = event_sample(event, event->count - 1);
        reply_array(call->out, 4);
        reply_bulk_text(call->out, event->name);
        reply_integer(call->out, last->time_s);
        reply_integer(call->out, last->ms);
        reply_integer(call->out, event->ms_max);
    }
}

static void latency_history_run(struct call *call)
{
    const struct event *event = event_find(call->family, call->args.at[2]);
    uint32_t count = event == NULL ? 0 : event->count;
    reply_array(call->out, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct sample *sample = event_sample(event, i);
        reply_array(call->out, 2);
        reply_integer(call->out, sample->time_s);
        reply_integer(call->out, sample->ms);
    }
}

static bool is_named(const struct call *call, const struct event *event)
{
    for (uint32_t i = 2; i < call->args.count; i++) {
        if (slice_equal(slice_from_text(event->name), call->args.at[i])) {
            return true;
        }
    }
    return call->args.count == 2;
}

static void latency_reset_run(struct call *call)
{
    struct latency *latency = call->family;
    unsigned dropped = 0;
    for (unsigned i = latency->event_count; i-- > 0;) {
        if (is_named(call, latency->events[i])) {
            event_drop(latency, i);
            dropped++;
        }
    }
    reply_integer(call->out, dropped);
}

static void reply_buf(struct call *call, struct buf *take_text)
{
    reply_verbatim(call->out, "txt", buf_slice(take_text));
    buf_deinit(take_text);
}

static void latency_graph_run(struct call *call)
{
    const struct event *event = event_find(call->family, call->args.at[2]);
    if (event == NULL) {
        struct slice name = slice_part(call->args.at[2], 0, 128);
        reply_errorf(call->out, "ERR No samples available for event '%.*s'", (int)name.len,
                     name.data);
        return;
    }
    struct graph_sample samples[SAMPLES_MAX];
    uint32_t high = 0, low = UINT32_MAX;
    for (uint32_t i = 0; i < event->count; i++) {
        const struct sample *sample = event_sample(event, i);
        samples[i].age_s = call->now->wall_ms / 1000 - sample->time_s;
        samples[i].value = sample->ms;
        high = sample->ms > high ? sample->ms : high;
        low = sample->ms < low ? sample->ms : low;
    }
    struct buf text;
    buf_init(&text);
    buf_printf(&text, "%s - high %u ms, low %u ms (all time high %u ms)\n", event->name, high, low,
               event->ms_max);
    memset(buf_reserve(&text, RULE_LEN), '-', RULE_LEN);
    text.len += RULE_LEN;
    buf_append_byte(&text, '\n');
    graph_append(samples, event->count, &text);
    reply_buf(call, &text);
}

/* ---- DOCTOR ---------------------------------------------------------------------------------- */

struct diagnosis {
    double average_ms, deviation_ms, period_s;
};

static struct diagnosis diagnose(const struct event *event, int64_t now_s)
{
    struct diagnosis diagnosis = {0};
    double count = event->count;
    for (uint32_t i = 0; i < event->count; i++) {
        diagnosis.average_ms += event_sample(event, i)->ms / count;
    }
    for (uint32_t i = 0; i < event->count; i++) {
        double difference = event_sample(event, i)->ms - diagnosis.average_ms;
        diagnosis.deviation_ms += (difference < 0 ? -difference : difference) / count;
    }
    diagnosis.period_s = (double)(now_s - event_sample(event, 0)->time_s) / count;
    return diagnosis;
}

/* What can be done about an event, by the beginning of its name. */
static const char *advice_for(const char *name)
{
    static const struct {
        const char *prefix, *advice;
    } known[] = {
        {"command", "SLOWLOG GET names the commands that were slow. Commands that walk a whole "
                    "collection are the usual reason: prefer ranges and SCAN."},
        {"fast-command", "A command that does constant work was slow: the machine is busy, it "
                         "swaps, or a very large value was read or written."},
        {"expire", "Many keys expire in the same moment: spread their times to live."},
        {"eviction", "Memory is at its limit and room is made for each write: raise maxmemory, or "
                     "give keys a time to live."},
        {"aof", "The disk is slow to take the append log: look for others that write to it, or "
                "choose a laxer appendfsync."},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strncmp(name, known[i].prefix, strlen(known[i].prefix)) == 0) {
            return known[i].advice;
        }
    }
    return "No advice is known for this event.";
}

static void append_diagnoses(const struct latency *latency, int64_t now_s, struct buf *text)
{
    buf_append_text(text, "Latency spikes were observed in this instance:\n\n");
    for (unsigned i = 0; i < latency->event_count; i++) {
        const struct event *event = latency->events[i];
        struct diagnosis diagnosis = diagnose(event, now_s);
        buf_printf(text,
                   "%u. %s: %u latency spikes (average %.0fms, mean deviation %.0fms, period %.2f "
                   "sec). Worst all time event %ums.\n   %s\n",
                   i + 1, event->name, event->count, diagnosis.average_ms, diagnosis.deviation_ms,
                   diagnosis.period_s, event->ms_max, advice_for(event->name));
    }
}

static void latency_doctor_run(struct call *call)
{
    const struct latency *latency = call->family;
    struct buf text;
    buf_init(&text);
    if (latency->threshold_ms <= 0 && latency->event_count == 0) {
        buf_append_text(&text, "Latency monitoring is disabled in this instance. \"CONFIG SET "
                               "latency-monitor-threshold <milliseconds>\" enables it.\n");
    } else if (latency->event_count == 0) {
        buf_append_text(&text, "No latency spike was observed so far: nothing took longer than "
                               "latency-monitor-threshold.\n");
    } else {
        append_diagnoses(latency, call->now->wall_ms / 1000, &text);
    }
    reply_buf(call, &text);
}

/* ---- HISTOGRAM ------------------------------------------------------------------------------- */

static uint64_t histogram_total(const struct command_stats *stats)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < COMMAND_HISTOGRAM_BUCKETS; i++) {
        total += stats->histogram[i];
    }
    return total;
}

/* Pairs of a duration in microseconds and how many calls took at most that, where it grows. */
static void reply_cumulative(struct call *call, const struct command_stats *stats)
{
    struct reply_mark mark;
    uint64_t sum = 0, told = 0;
    unsigned bucket = 0;
    size_t pairs = 0;
    reply_begin(call->out, &mark, '%');
    for (unsigned step = 0; step < HISTOGRAM_STEPS; step++) {
        uint64_t end_ns = (uint64_t)HISTOGRAM_UNIT_NS << step;
        while (bucket < COMMAND_HISTOGRAM_BUCKETS && command_histogram_bound_ns(bucket) < end_ns) {
            sum += stats->histogram[bucket++];
        }
        if (sum > told) {
            reply_integer(call->out, (int64_t)(end_ns / 1000));
            reply_integer(call->out, (int64_t)sum);
            pairs++;
        }
        told = sum;
    }
    reply_end(call->out, &mark, pairs);
}

/* Returns how many commands were told. */
static size_t reply_histogram(struct call *call, const struct command_entry *entry)
{
    if (entry->stats.histogram == NULL || entry->stats.calls == 0) {
        return 0;
    }
    reply_bulk_text(call->out, entry->full_name);
    reply_map(call->out, 2);
    reply_bulk_text(call->out, "calls");
    reply_integer(call->out, (int64_t)histogram_total(&entry->stats));
    reply_bulk_text(call->out, "histogram_usec");
    reply_cumulative(call, &entry->stats);
    return 1;
}

static size_t reply_histograms(struct call *call, const struct command_entry *entry)
{
    size_t count = reply_histogram(call, entry);
    for (unsigned i = 0; i < entry->subcommand_count; i++) {
        count += reply_histogram(call, &entry->subcommands[i]);
    }
    return count;
}

static void latency_histogram_run(struct call *call)
{
    struct reply_mark mark;
    size_t count = 0;
    reply_begin(call->out, &mark, '%');
    for (uint32_t i = 2; i < call->args.count; i++) {
        const struct command_entry *entry = exec_lookup_name(call->exec, call->args.at[i]);
        count += entry == NULL ? 0 : reply_histograms(call, entry);
    }
    if (call->args.count == 2) {
        for (unsigned i = 0; i < exec_command_count(call->exec); i++) {
            count += reply_histograms(call, exec_command_at(call->exec, i));
        }
    }
    reply_end(call->out, &mark, count);
}

/* ---- Rows ------------------------------------------------------------------------------------ */

/* One line of the help, too long for one of the source. */
static const char histogram_help[] =
    "    Return a cumulative distribution of latencies in the format of a histogram for the "
    "specified command names.";

static void latency_help_run(struct call *call)
{
    static const char *const lines[] = {
        "DOCTOR",
        "    Return a human readable latency analysis report.",
        "GRAPH <event>",
        "    Return an ASCII latency graph for the <event> class.",
        "HISTORY <event>",
        "    Return time-latency samples for the <event> class.",
        "LATEST",
        "    Return the latest latency samples for all events.",
        "RESET [<event> ...]",
        "    Reset latency data of one or more <event> classes.",
        "    (default: reset all data for all event classes)",
        "HISTOGRAM [COMMAND ...]",
        histogram_help,
        "    If no commands are specified then all histograms are replied.",
        NULL,
    };
    call_help(call, lines);
}

enum { LATENCY_FLAGS = CMD_ADMIN | CMD_NO_SCRIPT | CMD_LOADING | CMD_STALE };

#define LATENCY_TIPS "nondeterministic_output request_policy:all_nodes response_policy:special"

static const struct command latency_subcommands[] = {
    {.name = "latest",
     .run = latency_latest_run,
     .arity = 2,
     .flags = LATENCY_FLAGS,
     .since = "2.8.13",
     .group = "server",
     .complexity = "O(1)",
     .tips = LATENCY_TIPS,
     .summary = "Returns the newest sample of every event."},
    {.name = "history",
     .run = latency_history_run,
     .arity = 3,
     .flags = LATENCY_FLAGS,
     .since = "2.8.13",
     .group = "server",
     .complexity = "O(1)",
     .syntax = "event",
     .tips = LATENCY_TIPS,
     .summary = "Returns the samples of an event."},
    {.name = "reset",
     .run = latency_reset_run,
     .arity = -2,
     .flags = LATENCY_FLAGS,
     .since = "2.8.13",
     .group = "server",
     .complexity = "O(1)",
     .syntax = "[event ...]",
     .tips = "request_policy:all_nodes response_policy:all_succeeded",
     .summary = "Forgets the samples of some events, or of all."},
    {.name = "graph",
     .run = latency_graph_run,
     .arity = 3,
     .flags = LATENCY_FLAGS,
     .since = "2.8.13",
     .group = "server",
     .complexity = "O(1)",
     .syntax = "event",
     .tips = LATENCY_TIPS,
     .summary = "Draws the samples of an event."},
    {.name = "doctor",
     .run = latency_doctor_run,
     .arity = 2,
     .flags = LATENCY_FLAGS,
     .since = "2.8.13",
     .group = "server",
     .complexity = "O(1)",
     .tips = LATENCY_TIPS,
     .summary = "Reports on latency events in words, with advice."},
    {.name = "histogram",
     .run = latency_histogram_run,
     .arity = -2,
     .flags = LATENCY_FLAGS,
     .since = "7.0.0",
     .group = "server",
     .complexity = "O(N) where N is the number of commands with latency information being "
                   "retrieved.",
     .syntax = "[command ...]",
     .tips = LATENCY_TIPS,
     .summary = "Returns how long the calls of commands took, cumulatively."},
    {.name = "help",
     .run = latency_help_run,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .since = "2.8.13",
     .group = "server",
     .complexity = "O(1)",
     .summary = "Describes the subcommands."},
};

static const struct command latency_row = {
    .name = "latency",
    .arity = -2,
    .since = "2.8.13",
    .group = "server",
    .complexity = "Depends on subcommand.",
    .subcommands = latency_subcommands,
    .subcommand_count = sizeof(latency_subcommands) / sizeof(latency_subcommands[0]),
    .summary = "A container for commands that diagnose latency.",
};

void latency_register(struct exec *exec, struct latency *latency)
{
    exec_register(exec, &latency_row, 1, latency);
}
