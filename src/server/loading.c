/* Loading the snapshot at start: what the server does and tells while keys come from a file.
 *
 *     main: listen -> loading_begin -> turns: load_file's job, -LOADING to clients -> loading_end
 *
 * Clients are let in from the beginning, because one that is told to wait knows more than one that
 * cannot connect; GATE_LOADING refuses what the commands' rows do not allow. Nothing expires and
 * nothing is evicted meanwhile.
 *
 * A file that cannot be read ends the server with status 1, its bytes untouched: going on without
 * the keys, or with some of them, would end with a snapshot that overwrites the rest. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/blob.h"
#include "base/log.h"
#include "base/mem.h"
#include "persist/load_file.h"
#include "persist/rdb_file.h"
#include "repl/repl.h"
#include "script/script.h"
#include "server/process.h"
#include "server/server.h"

enum { PROGRESS_US = 5 * 1000 * 1000 };

static enum gate_result loading_gate(void *context, struct call *call)
{
    (void)context;
    reply_error(call->out, "LOADING Redis is loading the dataset in memory");
    return GATE_REFUSED;
}

void loading_init(struct server *server)
{
    exec_set_gate(server->exec, GATE_LOADING, loading_gate, server);
}

void loading_stop(struct server *server)
{
    if (server->loading.file != NULL) {
        load_file_stop(server->loading.file);
    }
}

static void forget_functions(struct server_loading *loading)
{
    for (unsigned i = 0; i < loading->function_count; i++) {
        blob_drop(loading->functions[i]);
    }
    mem_free(loading->functions);
    loading->functions = NULL;
    loading->function_count = 0;
}

void loading_deinit(struct server *server)
{
    if (server->loading.file != NULL) {
        load_file_free(server->loading.file);
    }
    forget_functions(&server->loading);
}

/* ---- What is told ---- */

/* A library that cannot be loaded is not lost: it goes into the next snapshot. */
static void keep_function(void *context, struct slice code)
{
    struct server_loading *loading = &((struct server *)context)->loading;
    const char *why = script_load_library(((struct server *)context)->script, code, true);
    if (why == NULL) {
        return;
    }
    log_write(LOG_WARNING, "A library of functions could not be loaded: %s", why);
    struct blob *blob = blob_try_new(code.len);
    if (blob == NULL) {
        log_write(LOG_WARNING, "A library of functions is dropped: no memory");
        return;
    }
    memcpy(blob->bytes, code.data, code.len);
    blob->len = code.len;
    size_t size = (loading->function_count + 1) * sizeof(struct blob *);
    loading->functions = mem_realloc(loading->functions, size);
    loading->functions[loading->function_count++] = blob;
}

static void log_facts(const struct load_figures *figures, int64_t now_s)
{
    const struct load_facts *facts = &figures->facts;
    if (facts->producer[0] != '\0') {
        log_write(LOG_NOTICE, "Loading RDB produced by version %s", facts->producer);
    }
    if (facts->made_s >= 0) {
        int64_t age_s = now_s - facts->made_s;
        log_write(LOG_NOTICE, "RDB age %lld seconds", (long long)(age_s < 0 ? 0 : age_s));
    }
    if (facts->used_memory >= 0) {
        log_write(LOG_NOTICE, "RDB memory usage when created %.2f Mb",
                  (double)facts->used_memory / (1024 * 1024));
    }
}

/* The end, as log and INFO tell it. */
static void note_end(struct server *server, const struct load_figures *figures)
{
    server->loading.keys_loaded = figures->keys_loaded;
    server->loading.keys_expired = figures->keys_expired;
    server->loading.functions_loaded = figures->functions;
    log_facts(figures, server->now.wall_ms / 1000);
    if (figures->bytes < figures->total_bytes) {
        log_write(LOG_WARNING, "%llu bytes behind the end of the RDB file are ignored",
                  (unsigned long long)(figures->total_bytes - figures->bytes));
    }
    log_write(LOG_NOTICE, "Done loading RDB, keys loaded: %llu, keys expired: %llu.",
              (unsigned long long)figures->keys_loaded, (unsigned long long)figures->keys_expired);
    log_write(LOG_NOTICE, "DB loaded from disk: %.3f seconds",
              (double)(clock_mono_us() - figures->started_us) / 1e6);
}

static double percent_of(const struct load_figures *figures)
{
    return figures->total_bytes == 0 ? 0
                                     : (double)figures->bytes * 100 / (double)figures->total_bytes;
}

/* Of the loading under way. */
static struct load_figures figures_now(const struct server *server)
{
    struct load_figures figures = {.bytes = 0};
    if (server->loading.file != NULL) {
        return load_file_figures(server->loading.file);
    }
    (void)repl_is_loading(server->repl, &figures);
    return figures;
}

bool server_is_loading(const struct server *server)
{
    return server->loading.file != NULL ||
           (server->repl != NULL && repl_is_loading(server->repl, NULL));
}

void loading_tick(struct server *server)
{
    struct server_loading *loading = &server->loading;
    if (!server_is_loading(server) || server->now.mono_us < loading->next_log_us) {
        return;
    }
    struct load_figures figures = figures_now(server);
    loading->next_log_us = server->now.mono_us + PROGRESS_US;
    log_write(LOG_NOTICE, "Loading RDB: %.1f%%, %llu keys", percent_of(&figures),
              (unsigned long long)figures.keys_loaded);
}

void loading_info(const struct server *server, struct buf *out)
{
    struct load_figures figures = figures_now(server);
    int64_t passed_s = (server->now.mono_us - figures.started_us) / 1000000;
    int64_t eta_s = 1; /* Nothing is known yet. */
    if (figures.bytes > 0) {
        eta_s = (int64_t)((double)passed_s / (double)figures.bytes *
                          (double)(figures.total_bytes - figures.bytes));
    }
    buf_printf(out, "loading_start_time:%lld\r\n",
               (long long)(server->now.wall_ms / 1000 - passed_s));
    buf_printf(out, "loading_total_bytes:%llu\r\n", (unsigned long long)figures.total_bytes);
    buf_printf(out, "loading_rdb_used_mem:%lld\r\n",
               (long long)(figures.facts.used_memory < 0 ? 0 : figures.facts.used_memory));
    buf_printf(out, "loading_loaded_bytes:%llu\r\n", (unsigned long long)figures.bytes);
    buf_printf(out, "loading_loaded_perc:%.2f\r\n", percent_of(&figures));
    buf_printf(out, "loading_eta_seconds:%lld\r\n", (long long)eta_s);
}

/* ---- At start ---- */

/* The file may say from where on a replica, or replicas of ours, can go on. */
static void restore_history(struct server *server, const struct load_facts *facts)
{
    struct repl_facts history = {.offset = facts->repl_offset, .db = (int)facts->repl_db};
    if (strspn(facts->repl_id, "0123456789abcdef") != LOAD_REPL_ID_LEN || facts->repl_offset < 0) {
        return;
    }
    memcpy(history.id, facts->repl_id, sizeof(history.id));
    repl_restore(server->repl, &history);
}

static void loading_open(struct server *server)
{
    exec_activate_gate(server->exec, GATE_LOADING, false);
    server_update_expiry(server);
    repl_open(server->repl, server->loading.keys_loaded + server->loading.functions_loaded != 0);
    log_write(LOG_NOTICE, "Ready to accept connections on port %d", (int)server->config->port);
    process_notify(server->config, "STATUS=Ready to accept connections\nREADY=1\n");
}

static void loading_fail(struct server *server, const char *why)
{
    log_write(LOG_WARNING, "Fatal error loading the DB, %s/%s: %s. Exiting.", server->config->dir,
              server->config->db_filename, why);
    server->loading.has_failed = true;
}

static void loading_on_done(void *context, const char *error)
{
    struct server *server = context;
    if (error != NULL) {
        loading_fail(server, error);
        return;
    }
    struct load_figures figures = load_file_figures(server->loading.file);
    load_file_free(server->loading.file);
    server->loading.file = NULL;
    note_end(server, &figures);
    restore_history(server, &figures.facts);
    loading_open(server);
}

static struct load_file_options options_of(struct server *server)
{
    return (struct load_file_options){
        .path = server->config->db_filename,
        .load = {.keyspace = server->keyspace,
                 .limits = &server->limits,
                 .work = &server->work,
                 .now_ms = server->now.wall_ms,
                 .checks_sum = server->config->rdb_checksum,
                 .keeps_expired = repl_is_replica(server->repl),
                 .keeps_expired_of_history = true,
                 .on_function = keep_function,
                 .context = server},
        .ring = server->ring,
        .done = loading_on_done,
        .context = server,
    };
}

bool loading_reload(struct server *server, bool is_flushing, bool replaces)
{
    struct load_file_options options = options_of(server);
    struct load_figures figures;
    char path[RDB_PATH_MAX]; /* Where the saver saves: the folder may have been made anew. */
    char *error;
    snprintf(path, sizeof(path), "%s/%s", server->config->dir, server->config->db_filename);
    options.path = path;
    options.load.replaces = replaces;
    if (access(options.path, R_OK) != 0) {
        log_write(LOG_WARNING, "Cannot open %s: %s", options.path, strerror(errno));
        return false;
    }
    exec_finish_crowd(server->exec);
    for (unsigned i = 0; is_flushing && i < keyspace_db_count(server->keyspace); i++) {
        db_flush(keyspace_db(server->keyspace, i), false);
    }
    if (is_flushing) {
        loading_forget_functions(server);
    }
    bool is_loaded = load_file_now(&options, &figures, &error);
    if (is_loaded) {
        note_end(server, &figures);
    } else {
        log_write(LOG_WARNING, "Error loading the DB, %s: %s", options.path, error);
    }
    mem_free(error);
    return is_loaded;
}

void loading_begin(struct server *server)
{
    struct load_file_options options = options_of(server);
    int error;
    exec_activate_gate(server->exec, GATE_LOADING, true);
    server->loading.next_log_us = server->now.mono_us + PROGRESS_US;
    server->loading.file = load_file_begin(&options, &error);
    server_update_expiry(server);
    if (server->loading.file == NULL && error == 0) {
        loading_open(server); /* There is no file: an empty start. */
    } else if (server->loading.file == NULL) {
        loading_fail(server, strerror(-error));
    } else {
        process_notify(server->config, "STATUS=Loading the RDB file\n");
    }
}

/* ---- What a primary sends ---- */

static void loading_on_received(void *context, const char *error)
{
    struct server *server = context;
    struct load_file *file = server->loading.file;
    struct load_figures figures = load_file_figures(file);
    server->loading.file = NULL;
    if (error == NULL) {
        note_end(server, &figures);
    }
    repl_on_loaded(server->repl, error, figures.facts.repl_db);
    load_file_free(file); /* The error is its own. */
}

const char *loading_receive(void *context, const char *path)
{
    struct server *server = context;
    struct load_file_options options = options_of(server);
    int error;
    options.path = path;
    options.done = loading_on_received;
    server->loading.file = load_file_begin(&options, &error);
    return server->loading.file != NULL ? NULL : strerror(error == 0 ? ENOENT : -error);
}

void loading_begins(void *context, struct load_options *options)
{
    struct server *server = context;
    *options = options_of(server).load;
    server->loading.next_log_us = server->now.mono_us + PROGRESS_US;
    exec_activate_gate(server->exec, GATE_LOADING, true);
    server_update_expiry(server);
}

void loading_ended(void *context)
{
    struct server *server = context;
    exec_activate_gate(server->exec, GATE_LOADING, false);
    server_update_expiry(server);
}

void loading_note(void *context, const struct load_figures *figures)
{
    note_end(context, figures);
}

void loading_forget_functions(void *context)
{
    struct server *server = context;
    forget_functions(&server->loading);
    script_flush_libraries(server->script);
}
