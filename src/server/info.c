/* INFO: the state of the server as "field:value" lines in sections, with Redis's names, order and
 * line ends, because monitors, client libraries and Sentinel parse it. Fields of features that do
 * not exist here are given the value that Redis has when it does not use them. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/num.h"
#include "exec/block.h"
#include "exec/multi.h"
#include "observe/observe.h"
#include "pubsub/pubsub.h"
#include "repl/repl.h"
#include "script/script.h"
#include "server/server.h"

struct info_section {
    const char *name;
    const char *title; /* As printed after "# ". */
    void (*write)(struct server *server, struct buf *out);
    bool is_default; /* Part of INFO without arguments. */
};

static void line_text(struct buf *out, const char *field, const char *value)
{
    buf_printf(out, "%s:%s\r\n", field, value);
}

static void line_u64(struct buf *out, const char *field, uint64_t value)
{
    buf_printf(out, "%s:%llu\r\n", field, (unsigned long long)value);
}

static void line_i64(struct buf *out, const char *field, int64_t value)
{
    buf_printf(out, "%s:%lld\r\n", field, (long long)value);
}

static void line_double(struct buf *out, const char *field, double value)
{
    buf_printf(out, "%s:%.2f\r\n", field, value);
}

static void line_human(struct buf *out, const char *field, uint64_t bytes)
{
    char text[32];
    size_t len = num_format_human(text, bytes);
    buf_printf(out, "%s:%.*s\r\n", field, (int)len, text);
}

static double ratio_of(double a, double b)
{
    return b > 0 ? a / b : 0;
}

/* Many fields that are zero here. */
static void lines_zero(struct buf *out, const char *const *fields)
{
    for (; *fields != NULL; fields++) {
        line_u64(out, *fields, 0);
    }
}

/* ---- Sections -------------------------------------------------------------------------------- */

static void write_server(struct server *server, struct buf *out)
{
    struct utsname system;
    const struct config *config = server->config;
    int64_t uptime_s = (server->now.mono_us - server->started_us) / 1000000;
    uname(&system);
    line_text(out, "redis_version", OURO_REDIS_VERSION);
    line_text(out, "redis_git_sha1", "00000000");
    line_text(out, "redis_git_dirty", "0");
    line_text(out, "redis_build_id", "0");
    line_text(out, "redis_mode", "standalone");
    buf_printf(out, "os:%s %s %s\r\n", system.sysname, system.release, system.machine);
    line_u64(out, "arch_bits", sizeof(void *) * 8);
    line_text(out, "monotonic_clock", "POSIX clock_gettime");
    line_text(out, "multiplexing_api", ring_engine_name(server->ring));
    line_text(out, "atomicvar_api", "c11-builtin");
    line_text(out, "gcc_version", __VERSION__);
    line_i64(out, "process_id", getpid());
    line_text(out, "process_supervised",
              config->supervised == SUPERVISED_SYSTEMD ? "systemd" : "no");
    line_text(out, "run_id", server->run_id);
    line_i64(out, "tcp_port", config->port);
    line_i64(out, "server_time_usec", server->now.wall_us);
    line_i64(out, "uptime_in_seconds", uptime_s);
    line_i64(out, "uptime_in_days", uptime_s / 86400);
    line_i64(out, "hz", config->hz);
    line_i64(out, "configured_hz", config->hz);
    line_i64(out, "lru_clock", server->now.wall_ms / 1000 % (1 << 24));
    line_text(out, "executable", server->executable);
    line_text(out, "config_file", server->source->file == NULL ? "" : server->source->file);
    line_u64(out, "io_threads_active", 0);
    line_text(out, "ouro_version", OURO_VERSION);
    line_text(out, "io_engine", ring_engine_name(server->ring));
    line_u64(out, "loop_turns", server->turn_count);
    line_i64(out, "loop_longest_turn_usec", server->turn_longest_us);
}

static void write_clients(struct server *server, struct buf *out)
{
    struct block_stats blocked = block_stats(server->exec);
    struct repl_stats repl;
    repl_stats(server->repl, &repl);
    const struct net_stats *net = net_stats(server->net);
    line_u64(out, "connected_clients", net->clients - repl.replica_count);
    line_u64(out, "cluster_connections", 0);
    line_i64(out, "maxclients", server->config->clients_max);
    line_u64(out, "client_recent_max_input_buffer", net->memory_peak_query);
    line_u64(out, "client_recent_max_output_buffer", net->memory_peak_output);
    line_u64(out, "blocked_clients", blocked.session_count + repl.waiting_count);
    line_u64(out, "tracking_clients", tracking_counts(server->tracking).clients);
    line_u64(out, "clients_in_timeout_table", blocked.timeout_count);
    struct multi_stats watching = multi_stats(server->exec);
    line_u64(out, "watching_clients", watching.watching_sessions);
    line_u64(out, "total_watched_keys", watching.watched_keys);
    line_u64(out, "total_blocking_keys", blocked.key_count);
    line_u64(out, "total_blocking_keys_on_nokey", blocked.removal_count);
}

static const char *policy_name(const struct server *server)
{
    const struct directive *directive = config_find(slice_from_text("maxmemory-policy"));
    const struct config_word *word = directive->words;
    while (word->value != server->config->policy) {
        word++;
    }
    return word->name;
}

static uint64_t total_system_memory(void)
{
    return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void write_memory_use(struct server *server, const struct mem_stats *heap, struct buf *out)
{
    size_t used = mem_used();
    size_t overhead = server_overhead(server);
    for (unsigned i = 0; i < keyspace_db_count(server->keyspace); i++) {
        struct db *db = keyspace_db(server->keyspace, i);
        overhead += db_table_memory(db) + db_expiry_memory(db);
    }
    size_t data = used > overhead ? used - overhead : 0;
    server->memory_peak = used > server->memory_peak ? used : server->memory_peak;
    double peak = (double)server->memory_peak;
    line_u64(out, "used_memory", used);
    line_human(out, "used_memory_human", used);
    line_u64(out, "used_memory_rss", heap->rss);
    line_human(out, "used_memory_rss_human", heap->rss);
    line_u64(out, "used_memory_peak", server->memory_peak);
    line_human(out, "used_memory_peak_human", server->memory_peak);
    buf_printf(out, "used_memory_peak_perc:%.2f%%\r\n", ratio_of((double)used, peak) * 100);
    line_u64(out, "used_memory_overhead", overhead);
    line_u64(out, "used_memory_startup", server->start_memory);
    line_u64(out, "used_memory_dataset", data);
    buf_printf(out, "used_memory_dataset_perc:%.2f%%\r\n",
               ratio_of((double)data, (double)(used - server->start_memory)) * 100);
    line_u64(out, "allocator_allocated", heap->allocated);
    line_u64(out, "allocator_active", heap->active);
    line_u64(out, "allocator_resident", heap->resident);
    line_u64(out, "total_system_memory", total_system_memory());
    line_human(out, "total_system_memory_human", total_system_memory());
}

static void write_memory_of_scripts(const struct server *server, struct buf *out)
{
    struct script_stats stats = script_stats(server->script);
    size_t states = stats.eval_memory + stats.function_memory;
    size_t pieces = stats.cache_memory + stats.library_memory;
    line_u64(out, "used_memory_lua", stats.eval_memory);
    line_u64(out, "used_memory_vm_eval", stats.eval_memory);
    line_human(out, "used_memory_lua_human", stats.eval_memory);
    line_u64(out, "used_memory_scripts_eval", stats.cache_memory);
    line_u64(out, "number_of_cached_scripts", stats.script_count);
    line_u64(out, "number_of_functions", stats.function_count);
    line_u64(out, "number_of_libraries", stats.library_count);
    line_u64(out, "used_memory_vm_functions", stats.function_memory);
    line_u64(out, "used_memory_vm_total", states);
    line_human(out, "used_memory_vm_total_human", states);
    line_u64(out, "used_memory_functions", stats.library_memory);
    line_u64(out, "used_memory_scripts", pieces);
    line_human(out, "used_memory_scripts_human", pieces);
}

static void write_memory(struct server *server, struct buf *out)
{
    struct mem_stats heap;
    struct repl_stats repl;
    repl_stats(server->repl, &repl);
    mem_stats_read(&heap);
    write_memory_use(server, &heap, out);
    write_memory_of_scripts(server, out);
    line_i64(out, "maxmemory", server->config->memory_max);
    line_human(out, "maxmemory_human", (uint64_t)server->config->memory_max);
    line_text(out, "maxmemory_policy", policy_name(server));
    double allocated = (double)heap.allocated, active = (double)heap.active;
    double resident = (double)heap.resident, rss = (double)heap.rss, used = (double)mem_used();
    line_double(out, "allocator_frag_ratio", ratio_of(active, allocated));
    line_i64(out, "allocator_frag_bytes", (int64_t)heap.active - (int64_t)heap.allocated);
    line_double(out, "allocator_rss_ratio", ratio_of(resident, active));
    line_i64(out, "allocator_rss_bytes", (int64_t)heap.resident - (int64_t)heap.active);
    line_double(out, "rss_overhead_ratio", ratio_of(rss, resident));
    line_i64(out, "rss_overhead_bytes", (int64_t)heap.rss - (int64_t)heap.resident);
    line_double(out, "mem_fragmentation_ratio", ratio_of(rss, used));
    line_i64(out, "mem_fragmentation_bytes", (int64_t)heap.rss - (int64_t)mem_used());
    line_u64(out, "mem_not_counted_for_evict", 0);
    line_u64(out, "mem_replication_backlog", repl.backlog_memory);
    line_u64(out, "mem_total_replication_buffers", repl.backlog_memory);
    line_u64(out, "mem_clients_slaves", repl.replicas_memory);
    line_u64(out, "mem_clients_normal", net_memory(server->net));
    line_u64(out, "mem_cluster_links", 0);
    line_u64(out, "mem_aof_buffer", 0);
    line_text(out, "mem_allocator", mem_allocator_name());
    line_u64(out, "active_defrag_running", keyspace_defrag_share(server->keyspace));
    line_u64(out, "lazyfree_pending_objects", server->work.job_count);
    line_u64(out, "lazyfreed_objects", 0);
}

static int64_t seconds_since(const struct server *server, int64_t then_us)
{
    return (server->now.mono_us - then_us) / 1000000;
}

/* The save under way, or the last; the last lines are Ouro's own. */
static void write_save(struct server *server, struct buf *out)
{
    const struct saver_stats *stats = saver_stats(server->saver);
    bool is_on = saver_is_busy(server->saver);
    line_u64(out, "current_save_keys_processed", is_on ? stats->pass.walk.keys_told : 0);
    line_u64(out, "current_save_keys_total", is_on ? stats->pass.walk.key_count : 0);
    line_u64(out, "rdb_changes_since_last_save", exec_stats(server->exec)->dirty);
    line_u64(out, "rdb_bgsave_in_progress", is_on);
    line_i64(out, "rdb_last_save_time", stats->last_save_s);
    line_text(out, "rdb_last_bgsave_status", stats->is_last_bad ? "err" : "ok");
    line_i64(out, "rdb_last_bgsave_time_sec", stats->last_duration_s);
    line_i64(out, "rdb_current_bgsave_time_sec",
             is_on ? seconds_since(server, stats->begun_us) : -1);
    line_u64(out, "rdb_saves", stats->begun);
    line_u64(out, "rdb_last_cow_size", is_on ? 0 : stats->pass.held_peak);
}

static void write_walk(struct server *server, struct buf *out)
{
    const struct saver_stats *stats = saver_stats(server->saver);
    line_u64(out, "rdb_walk_usec", stats->pass.walk_us);
    line_u64(out, "rdb_walk_slices", stats->pass.slice_count);
    line_u64(out, "rdb_walk_slice_usec_max", stats->pass.slice_us_max);
    line_u64(out, "rdb_walk_keys_ahead", stats->pass.walk.keys_ahead);
    line_u64(out, "rdb_walk_elements_ahead", stats->pass.walk.elements_ahead);
    line_u64(out, "rdb_walk_collections", stats->pass.walk.collection_count);
    line_u64(out, "rdb_walk_held_bytes", saver_held(server->saver));
    line_u64(out, "rdb_walk_held_bytes_peak", stats->pass.held_peak);
    line_u64(out, "rdb_walk_writers_held_back", stats->pass.held_back);
    line_u64(out, "rdb_last_file_bytes", stats->file_bytes);
}

static void write_persistence(struct server *server, struct buf *out)
{
    static const char *const head[] = {"async_loading", NULL};
    static const char *const tail[] = {"aof_rewrites", "aof_rewrites_consecutive_failures", NULL};
    line_u64(out, "loading", server_is_loading(server));
    lines_zero(out, head);
    line_u64(out, "current_cow_peak", saver_stats(server->saver)->pass.held_peak);
    line_u64(out, "current_cow_size", saver_held(server->saver));
    line_u64(out, "current_cow_size_age", 0);
    line_text(out, "current_fork_perc", "0.00");
    write_save(server, out);
    line_u64(out, "rdb_last_load_keys_expired", server->loading.keys_expired);
    line_u64(out, "rdb_last_load_keys_loaded", server->loading.keys_loaded);
    line_u64(out, "aof_enabled", 0);
    line_u64(out, "aof_rewrite_in_progress", 0);
    line_u64(out, "aof_rewrite_scheduled", 0);
    line_i64(out, "aof_last_rewrite_time_sec", -1);
    line_i64(out, "aof_current_rewrite_time_sec", -1);
    line_text(out, "aof_last_bgrewrite_status", "ok");
    lines_zero(out, tail);
    line_text(out, "aof_last_write_status", "ok");
    line_u64(out, "aof_last_cow_size", 0);
    line_u64(out, "module_fork_in_progress", 0);
    line_u64(out, "module_fork_last_cow_size", 0);
    write_walk(server, out);
    if (server_is_loading(server)) {
        loading_info(server, out);
    }
}

static void write_stats_traffic(struct server *server, struct buf *out)
{
    const struct net_stats *net = net_stats(server->net);
    struct repl_stats repl;
    repl_stats(server->repl, &repl);
    line_u64(out, "total_connections_received", net->connections_received);
    line_u64(out, "total_commands_processed", exec_stats(server->exec)->commands_count);
    line_u64(out, "instantaneous_ops_per_sec", server->rates[RATE_COMMANDS].per_second);
    line_u64(out, "total_net_input_bytes", net->bytes_in);
    line_u64(out, "total_net_output_bytes", net->bytes_out);
    line_u64(out, "total_net_repl_input_bytes", repl.bytes_in);
    line_u64(out, "total_net_repl_output_bytes", repl.bytes_out);
    line_double(out, "instantaneous_input_kbps",
                (double)server->rates[RATE_BYTES_IN].per_second / 1024);
    line_double(out, "instantaneous_output_kbps",
                (double)server->rates[RATE_BYTES_OUT].per_second / 1024);
    line_double(out, "instantaneous_input_repl_kbps",
                (double)server->rates[RATE_REPL_IN].per_second / 1024);
    line_double(out, "instantaneous_output_repl_kbps",
                (double)server->rates[RATE_REPL_OUT].per_second / 1024);
    line_u64(out, "rejected_connections", net->connections_rejected);
    line_u64(out, "sync_full", repl.sync_full);
    line_u64(out, "sync_partial_ok", repl.sync_partial_ok);
    line_u64(out, "sync_partial_err", repl.sync_partial_err);
}

static void write_stats_defrag(const struct keyspace_stats *keys, struct buf *out)
{
    line_u64(out, "active_defrag_hits", keys->defrag_moved);
    line_u64(out, "active_defrag_misses", keys->defrag_kept);
    line_u64(out, "active_defrag_key_hits", keys->defrag_moved);
    line_u64(out, "active_defrag_key_misses", keys->defrag_kept);
    line_u64(out, "total_active_defrag_time", keys->defrag_us / 1000);
}

static void write_stats_pubsub(struct server *server, struct buf *out)
{
    struct pubsub_counts counts = pubsub_counts(server->pubsub);
    line_u64(out, "pubsub_channels", counts.channels);
    line_u64(out, "pubsub_patterns", counts.patterns);
    line_u64(out, "pubsubshard_channels", counts.shard_channels);
}

static void write_stats_tracking(struct server *server, struct buf *out)
{
    struct tracking_counts counts = tracking_counts(server->tracking);
    line_u64(out, "tracking_total_keys", counts.keys);
    line_u64(out, "tracking_total_items", counts.items);
    line_u64(out, "tracking_total_prefixes", counts.prefixes);
}

static void write_stats(struct server *server, struct buf *out)
{
    static const char *const zeros[] = {"latest_fork_usec", "total_forks", "migrate_cached_sockets",
                                        "slave_expires_tracked_keys", NULL};
    static const char *const rest[] = {"unexpected_error_replies", NULL};
    static const char *const threads[] = {"io_threaded_reads_processed",
                                          "io_threaded_writes_processed", "reply_buffer_shrinks",
                                          "reply_buffer_expands", NULL};
    const struct net_stats *net = net_stats(server->net);
    const struct keyspace_stats *keys = keyspace_stats(server->keyspace);
    write_stats_traffic(server, out);
    line_u64(out, "expired_keys", keys->expired);
    line_u64(out, "expired_subkeys", keys->expired_fields);
    line_double(out, "expired_stale_perc", (double)keys->expired_stale_percent_e2 / 100);
    line_u64(out, "expired_time_cap_reached_count", 0);
    line_u64(out, "expire_cycle_cpu_milliseconds", keys->expire_cycle_us / 1000);
    line_u64(out, "evicted_keys", keys->evicted);
    line_u64(out, "evicted_clients", net->clients_evicted);
    line_u64(out, "total_eviction_exceeded_time", keys->eviction_exceeded_us / 1000);
    line_u64(out, "current_eviction_exceeded_time", 0);
    line_u64(out, "keyspace_hits", keys->hits);
    line_u64(out, "keyspace_misses", keys->misses);
    write_stats_pubsub(server, out);
    lines_zero(out, zeros);
    write_stats_defrag(keys, out);
    line_u64(out, "current_active_defrag_time", 0);
    write_stats_tracking(server, out);
    lines_zero(out, rest);
    line_u64(out, "total_error_replies", exec_stats(server->exec)->errors_count);
    line_u64(out, "dump_payload_sanitizations", 0);
    line_u64(out, "total_reads_processed", net->reads);
    line_u64(out, "total_writes_processed", net->writes);
    lines_zero(out, threads);
}

static void write_replication(struct server *server, struct buf *out)
{
    repl_info(server->repl, out);
}

static void line_time(struct buf *out, const char *field, const struct timeval *time)
{
    buf_printf(out, "%s:%lld.%06lld\r\n", field, (long long)time->tv_sec, (long long)time->tv_usec);
}

static void write_cpu(struct server *server, struct buf *out)
{
    struct rusage self, children, thread;
    (void)server;
    getrusage(RUSAGE_SELF, &self);
    getrusage(RUSAGE_CHILDREN, &children);
    getrusage(RUSAGE_THREAD, &thread);
    line_time(out, "used_cpu_sys", &self.ru_stime);
    line_time(out, "used_cpu_user", &self.ru_utime);
    line_time(out, "used_cpu_sys_children", &children.ru_stime);
    line_time(out, "used_cpu_user_children", &children.ru_utime);
    line_time(out, "used_cpu_sys_main_thread", &thread.ru_stime);
    line_time(out, "used_cpu_user_main_thread", &thread.ru_utime);
}

static void write_modules(struct server *server, struct buf *out)
{
    (void)server;
    (void)out;
}

typedef void (*entry_fn)(struct server *server, const struct command_entry *entry, struct buf *out);

static void each_command(struct server *server, struct buf *out, entry_fn write)
{
    for (unsigned i = 0; i < exec_command_count(server->exec); i++) {
        const struct command_entry *entry = exec_command_at(server->exec, i);
        write(server, entry, out);
        for (unsigned j = 0; j < entry->subcommand_count; j++) {
            write(server, &entry->subcommands[j], out);
        }
    }
}

static void write_command_stats(struct server *server, const struct command_entry *entry,
                                struct buf *out)
{
    const struct command_stats *stats = &entry->stats;
    (void)server;
    if (stats->calls == 0 && stats->rejected == 0 && stats->failed == 0) {
        return;
    }
    double usec = (double)stats->usec_e3 / 1000;
    buf_printf(out,
               "cmdstat_%s:calls=%llu,usec=%llu,usec_per_call=%.2f,rejected_calls=%llu,"
               "failed_calls=%llu\r\n",
               entry->full_name, (unsigned long long)stats->calls, (unsigned long long)usec,
               ratio_of(usec, (double)stats->calls), (unsigned long long)stats->rejected,
               (unsigned long long)stats->failed);
}

static void write_commandstats(struct server *server, struct buf *out)
{
    each_command(server, out, write_command_stats);
}

static void write_errorstats(struct server *server, struct buf *out)
{
    const struct error_stat *errors;
    unsigned count = exec_error_stats(server->exec, &errors);
    for (unsigned i = 0; i < count; i++) {
        char code[sizeof errors[i].code]; /* Scripts make codes: none may look like two fields. */
        memcpy(code, errors[i].code, sizeof code);
        for (char *bad = code; *(bad += strcspn(bad, "#:")) != '\0';) {
            *bad = '_';
        }
        buf_printf(out, "errorstat_%s:count=%llu\r\n", code, (unsigned long long)errors[i].count);
    }
}

static void write_command_latency(struct server *server, const struct command_entry *entry,
                                  struct buf *out)
{
    if (entry->stats.histogram == NULL || entry->stats.calls == 0) {
        return;
    }
    buf_printf(out, "latency_percentiles_usec_%s:", entry->full_name);
    for (unsigned i = 0; i < server->config->percentile_count; i++) {
        double percent = server->config->percentiles[i];
        buf_printf(out, "%sp%.10g=%.3f", i == 0 ? "" : ",", percent,
                   (double)command_stats_percentile_ns(&entry->stats, percent) / 1000);
    }
    buf_append_text(out, "\r\n");
}

static void write_latencystats(struct server *server, struct buf *out)
{
    if (server->config->latency_tracking) {
        each_command(server, out, write_command_latency);
    }
}

static void write_cluster(struct server *server, struct buf *out)
{
    (void)server;
    line_u64(out, "cluster_enabled", 0);
}

static void write_keyspace(struct server *server, struct buf *out)
{
    for (unsigned i = 0; i < keyspace_db_count(server->keyspace); i++) {
        struct db *db = keyspace_db(server->keyspace, i);
        if (db_count(db) > 0) {
            buf_printf(out, "db%u:keys=%zu,expires=%zu,avg_ttl=%lld\r\n", i, db_count(db),
                       db_volatile_count(db),
                       (long long)db_average_ttl_ms(db, server->now.wall_ms));
        }
    }
}

static const struct info_section sections[] = {
    {"server", "Server", write_server, true},
    {"clients", "Clients", write_clients, true},
    {"memory", "Memory", write_memory, true},
    {"persistence", "Persistence", write_persistence, true},
    {"stats", "Stats", write_stats, true},
    {"replication", "Replication", write_replication, true},
    {"cpu", "CPU", write_cpu, true},
    {"modules", "Modules", write_modules, true},
    {"commandstats", "Commandstats", write_commandstats, false},
    {"errorstats", "Errorstats", write_errorstats, true},
    {"latencystats", "Latencystats", write_latencystats, false},
    {"cluster", "Cluster", write_cluster, true},
    {"keyspace", "Keyspace", write_keyspace, true},
};

/* ---- The command ----------------------------------------------------------------------------- */

static bool is_section_wanted(const struct info_section *section, const struct slice *names,
                              uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (slice_is(names[i], section->name) || slice_is(names[i], "all") ||
            slice_is(names[i], "everything") ||
            (section->is_default && slice_is(names[i], "default"))) {
            return true;
        }
    }
    return false;
}

void server_info(struct server *server, const struct slice *names, uint32_t count, struct buf *out)
{
    const struct slice standard = slice_from_text("default");
    if (count == 0) {
        names = &standard;
        count = 1;
    }
    for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
        if (is_section_wanted(&sections[i], names, count)) {
            buf_printf(out, "%s# %s\r\n", out->len == 0 ? "" : "\r\n", sections[i].title);
            sections[i].write(server, out);
        }
    }
}

static void info_run(struct call *call)
{
    struct buf text;
    buf_init(&text);
    server_info(call->family, call->args.at + 1, call->args.count - 1, &text);
    reply_verbatim(call->out, "txt", buf_slice(&text));
    buf_deinit(&text);
}

static const struct command info_rows[] = {
    {.name = "info",
     .run = info_run,
     .arity = -1,
     .flags = CMD_LOADING | CMD_STALE,
     .categories = ACL_DANGEROUS,
     .since = "1.0.0",
     .group = "server",
     .complexity = "O(1)",
     .syntax = "[section]...",
     .history = "7.0.0 Added support for taking multiple section arguments.",
     .tips = "nondeterministic_output request_policy:all_shards response_policy:special",
     .summary = "Reports the state of the server in sections of field:value lines."},
};

void server_register_info(struct server *server)
{
    exec_register(server->exec, info_rows, 1, server);
}
