/* MEMORY: what keys and the server occupy.
 *
 * A key's cost is exact for what belongs to it alone, its block and what that points at, in the
 * allocator's size classes. To this come two shares of common structures: a slot of the table and,
 * with an expiry, its reference in the timer wheel. */
#include "base/mem.h"
#include "exec/sliced.h"
#include "repl/repl.h"
#include "server/server.h"

enum {
    SAMPLES_DEFAULT = 5, /* Elements looked at in a large value. */
    SAMPLES_FEW = 30,    /* Of each thing within it: of groups, and of the consumers of each. */
    SLOT_LEN = (sizeof(struct table_bucket) + TABLE_SLOTS - 1) / TABLE_SLOTS,
    WHEEL_REFERENCE_LEN = 4,
    SMALL_HEAP_LEN = 5 * 1024 * 1024, /* Below it ratios mean nothing. */
};

/* ---- USAGE ----------------------------------------------------------------------------------- */

/* Parses the options; false with the error replied. */
static bool usage_options(struct call *call, int64_t *samples)
{
    for (uint32_t i = 3; i < call->args.count; i += 2) {
        if (!call_is(call, i, "SAMPLES") || i + 1 == call->args.count) {
            reply_error(call->out, ERR_SYNTAX);
            return false;
        }
        if (!call_i64(call, i + 1, samples, NULL)) {
            return false;
        }
        if (*samples < 0) {
            reply_error(call->out, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

static void memory_usage_run(struct call *call)
{
    int64_t samples = SAMPLES_DEFAULT;
    if (!usage_options(call, &samples)) {
        return;
    }
    const struct value *value = call_peek(call, 2, FIND_NO_TOUCH);
    if (value == NULL) {
        reply_null(call->out);
        return;
    }
    bool looks_at_all = samples == 0 || samples > SAMPLES_FEW;
    if (looks_at_all && call_slice(call, value_ops_of(value)->effort(value))) {
        return;
    }
    call_breathe(call, true);
    size_t len = value_ops_of(value)->memory(value, (size_t)samples) + SLOT_LEN;
    call_breathe(call, false);
    len += value_has_expire(value) ? WHEEL_REFERENCE_LEN : 0;
    reply_count(call->out, len);
}

/* ---- STATS ----------------------------------------------------------------------------------- */

static void pair_size(struct call *call, const char *name, size_t value)
{
    reply_bulk_text(call->out, name);
    reply_count(call->out, value);
}

static void pair_difference(struct call *call, const char *name, size_t a, size_t b)
{
    reply_bulk_text(call->out, name);
    reply_integer(call->out, (int64_t)a - (int64_t)b);
}

static double ratio_of(size_t a, size_t b)
{
    return b > 0 ? (double)a / (double)b : 0;
}

static void pair_ratio(struct call *call, const char *name, size_t a, size_t b)
{
    reply_bulk_text(call->out, name);
    reply_double(call->out, ratio_of(a, b));
}

static void pair_percent(struct call *call, const char *name, size_t a, size_t b)
{
    reply_bulk_text(call->out, name);
    reply_double(call->out, ratio_of(a, b) * 100);
}

/* What all databases have together. */
struct databases {
    size_t overhead; /* Bytes of tables and timer wheels. */
    size_t keys;
    size_t used_count; /* Databases with keys. */
};

static struct databases databases_sum(const struct server *server)
{
    struct databases sum = {0};
    for (unsigned i = 0; i < keyspace_db_count(server->keyspace); i++) {
        const struct db *db = keyspace_db(server->keyspace, i);
        sum.overhead += db_table_memory(db) + db_expiry_memory(db);
        sum.keys += db_count(db);
        sum.used_count += db_count(db) > 0;
    }
    return sum;
}

static void stats_databases(struct call *call, const struct server *server)
{
    for (unsigned i = 0; i < keyspace_db_count(server->keyspace); i++) {
        const struct db *db = keyspace_db(server->keyspace, i);
        if (db_count(db) == 0) {
            continue;
        }
        struct buf name;
        buf_init(&name);
        buf_printf(&name, "db.%u", i);
        reply_bulk(call->out, buf_slice(&name));
        buf_deinit(&name);
        reply_map(call->out, 3);
        pair_size(call, "overhead.hashtable.main", db_table_memory(db));
        pair_size(call, "overhead.hashtable.expires", db_expiry_memory(db));
        pair_size(call, "overhead.hashtable.slot-to-keys", 0);
    }
}

static void stats_heap(struct call *call, size_t used)
{
    struct mem_stats heap;
    mem_stats_read(&heap);
    pair_size(call, "allocator.allocated", heap.allocated);
    pair_size(call, "allocator.active", heap.active);
    pair_size(call, "allocator.resident", heap.resident);
    pair_ratio(call, "allocator-fragmentation.ratio", heap.active, heap.allocated);
    pair_difference(call, "allocator-fragmentation.bytes", heap.active, heap.allocated);
    pair_ratio(call, "allocator-rss.ratio", heap.resident, heap.active);
    pair_difference(call, "allocator-rss.bytes", heap.resident, heap.active);
    pair_ratio(call, "rss-overhead.ratio", heap.rss, heap.resident);
    pair_difference(call, "rss-overhead.bytes", heap.rss, heap.resident);
    pair_ratio(call, "fragmentation", heap.rss, used);
    pair_difference(call, "fragmentation.bytes", heap.rss, used);
}

static void memory_stats_run(struct call *call)
{
    enum { FIELDS = 27 };
    struct server *server = call->family;
    struct databases databases = databases_sum(server);
    size_t used = mem_used();
    size_t overhead = server_overhead(server) + databases.overhead;
    size_t data = used > overhead ? used - overhead : 0;
    size_t net_use = used > server->start_memory ? used - server->start_memory : 0;
    server->memory_peak = used > server->memory_peak ? used : server->memory_peak;
    struct repl_stats repl;
    repl_stats(server->repl, &repl);
    reply_map(call->out, FIELDS + databases.used_count);
    pair_size(call, "peak.allocated", server->memory_peak);
    pair_size(call, "total.allocated", used);
    pair_size(call, "startup.allocated", server->start_memory);
    pair_size(call, "replication.backlog", repl.backlog_memory);
    pair_size(call, "clients.slaves", repl.replicas_memory);
    pair_size(call, "clients.normal", net_memory(server->net));
    pair_size(call, "cluster.links", 0);
    pair_size(call, "aof.buffer", 0);
    pair_size(call, "lua.caches", 0);
    pair_size(call, "functions.caches", 0);
    stats_databases(call, server);
    pair_size(call, "overhead.total", overhead);
    pair_size(call, "keys.count", databases.keys);
    pair_size(call, "keys.bytes-per-key", databases.keys > 0 ? net_use / databases.keys : 0);
    pair_size(call, "dataset.bytes", data);
    pair_percent(call, "dataset.percentage", data, net_use);
    pair_percent(call, "peak.percentage", used, server->memory_peak);
    stats_heap(call, used);
}

/* ---- DOCTOR, PURGE, MALLOC-STATS ------------------------------------------------------------- */

static void reply_buf(struct call *call, struct buf *take_text)
{
    reply_verbatim(call->out, "txt", buf_slice(take_text));
    buf_deinit(take_text);
}

/* Appends what is unusual; nothing when all is well. */
static void append_findings(const struct server *server, const struct mem_stats *heap, size_t used,
                            struct buf *text)
{
    size_t clients = net_memory(server->net);
    if (ratio_of(server->memory_peak, used) > 1.5) {
        buf_printf(text,
                   " * Peak: at its highest the server used %.1f times the memory that it uses "
                   "now. What was freed may stay resident: MEMORY PURGE returns it.\n",
                   ratio_of(server->memory_peak, used));
    }
    if (ratio_of(heap->active, heap->allocated) > 1.4) {
        buf_printf(text,
                   " * Fragmentation: the allocator's pages hold %.2f times the bytes in use. It "
                   "lessens as values are written anew.\n",
                   ratio_of(heap->active, heap->allocated));
    }
    if (ratio_of(heap->resident, heap->active) > 1.5) {
        buf_printf(text,
                   " * Resident: %.2f times the active pages are resident. MEMORY PURGE returns "
                   "the rest to the kernel.\n",
                   ratio_of(heap->resident, heap->active));
    }
    if (clients > used / 4) {
        buf_printf(text,
                   " * Clients: buffers of clients take %zu bytes, over a quarter of all memory. "
                   "See client-output-buffer-limit and maxmemory-clients.\n",
                   clients);
    }
}

static void memory_doctor_run(struct call *call)
{
    const struct server *server = call->family;
    struct mem_stats heap;
    struct buf findings, text;
    size_t used = mem_used();
    buf_init(&findings);
    buf_init(&text);
    mem_stats_read(&heap);
    append_findings(server, &heap, used, &findings);
    if (used < SMALL_HEAP_LEN) {
        buf_append_text(&text, "This instance is empty or uses very little memory: there is "
                               "nothing to diagnose yet.\n");
    } else if (findings.len == 0) {
        buf_append_text(&text, "No memory problem was found in this instance.\n");
    } else {
        buf_append_text(&text, "Unusual in this instance:\n\n");
        buf_append(&text, buf_slice(&findings));
    }
    buf_deinit(&findings);
    reply_buf(call, &text);
}

static void memory_purge_run(struct call *call)
{
    mem_purge();
    reply_ok(call->out);
}

static void memory_malloc_stats_run(struct call *call)
{
    struct mem_stats heap;
    struct buf text;
    mem_stats_read(&heap);
    buf_init(&text);
    buf_printf(&text, "Allocator: %s\n", mem_allocator_name());
    buf_printf(&text, "Allocated: %zu\nActive: %zu\nMetadata: %zu\n", heap.allocated, heap.active,
               heap.metadata);
    buf_printf(&text, "Resident: %zu\nMapped: %zu\nRetained: %zu\nRSS of the process: %zu\n",
               heap.resident, heap.mapped, heap.retained, heap.rss);
    reply_buf(call, &text);
}

static void memory_help_run(struct call *call)
{
    static const char *const lines[] = {
        "DOCTOR",
        "    Return memory problems reports.",
        "MALLOC-STATS",
        "    Return internal statistics report from the memory allocator.",
        "PURGE",
        "    Attempt to purge dirty pages for reclamation by the allocator.",
        "STATS",
        "    Return information about the memory usage of the server.",
        "USAGE <key> [SAMPLES <count>]",
        "    Return memory in bytes used by <key> and its value. Nested values are",
        "    sampled up to <count> times (default: 5, 0 means sample all).",
        NULL,
    };
    call_help(call, lines);
}

/* ---- Rows ------------------------------------------------------------------------------------ */

#define MEMORY_REPORT_TIPS                                                                         \
    "nondeterministic_output request_policy:all_shards response_policy:special"

static const struct command memory_subcommands[] = {
    {.name = "usage",
     .run = memory_usage_run,
     .arity = -3,
     .keys = {{2, .access = KEY_RO}},
     .flags = CMD_READONLY,
     .since = "4.0.0",
     .group = "server",
     .complexity = "O(N) where N is the number of samples.",
     .syntax = "key [SAMPLES count:integer]",
     .summary = "Returns the bytes that a key and its value occupy."},
    {.name = "stats",
     .run = memory_stats_run,
     .arity = 2,
     .since = "4.0.0",
     .group = "server",
     .complexity = "O(1)",
     .tips = MEMORY_REPORT_TIPS,
     .summary = "Returns what memory is used for, in figures."},
    {.name = "doctor",
     .run = memory_doctor_run,
     .arity = 2,
     .since = "4.0.0",
     .group = "server",
     .complexity = "O(1)",
     .tips = MEMORY_REPORT_TIPS,
     .summary = "Reports on memory in words, with advice."},
    {.name = "purge",
     .run = memory_purge_run,
     .arity = 2,
     .since = "4.0.0",
     .group = "server",
     .complexity = "Depends on how much memory is allocated, could be slow",
     .tips = "request_policy:all_shards response_policy:all_succeeded",
     .summary = "Returns unused pages to the kernel."},
    {.name = "malloc-stats",
     .run = memory_malloc_stats_run,
     .arity = 2,
     .since = "4.0.0",
     .group = "server",
     .complexity = "Depends on how much memory is allocated, could be slow",
     .tips = MEMORY_REPORT_TIPS,
     .summary = "Returns the allocator's own figures."},
    {.name = "help",
     .run = memory_help_run,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .since = "4.0.0",
     .group = "server",
     .complexity = "O(1)",
     .summary = "Describes the subcommands."},
};

static const struct command memory_row = {
    .name = "memory",
    .arity = -2,
    .since = "4.0.0",
    .group = "server",
    .complexity = "Depends on subcommand.",
    .subcommands = memory_subcommands,
    .subcommand_count = sizeof(memory_subcommands) / sizeof(memory_subcommands[0]),
    .summary = "A container for commands that diagnose memory.",
};

void server_register_memory(struct server *server)
{
    exec_register(server->exec, &memory_row, 1, server);
}
