/* A save: a pass over the keyspace (pass.c) whose blocks go into a file (rdb_file.c), and the
 * bookkeeping around it.
 *
 * Bookkeeping is Redis's: `dirty` counts changes since the last save, a success takes off what it
 * had counted when the save began; a save that failed is tried again after RETRY_S. */
#include "persist/saver.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "persist/rdb_file.h"
#include "persist/saver_internal.h"

enum { RETRY_S = 5 };

/* ---- Life ---- */

bool saver_has_points(const struct saver *saver)
{
    return saver->config.point_count > 0;
}

bool saver_refuses_writes(const struct saver *saver)
{
    return saver->config.stops_writes && saver->stats.is_last_bad && saver_has_points(saver);
}

static void note_refusal(struct saver *saver)
{
    if (saver->options.on_refusal != NULL) {
        saver->options.on_refusal(saver->options.context);
    } else {
        exec_activate_gate(saver->options.exec, GATE_READ_ONLY, saver_refuses_writes(saver));
    }
}

void saver_configure(struct saver *saver, const struct saver_config *config)
{
    saver->config = *config;
    snprintf(saver->dir, sizeof(saver->dir), "%s", config->dir);
    snprintf(saver->file_name, sizeof(saver->file_name), "%s", config->file_name);
    saver->config.dir = saver->dir;
    saver->config.file_name = saver->file_name;
    note_refusal(saver);
}

struct saver *saver_new(const struct saver_options *options)
{
    struct saver *saver = mem_zalloc(sizeof(*saver));
    saver->options = *options;
    saver->stats.last_save_s = exec_now(options->exec)->wall_ms / 1000;
    saver->stats.last_duration_s = -1;
    list_init(&saver->sync_callers);
    saver_configure(saver, &(struct saver_config){.dir = ".",
                                                  .file_name = "dump.rdb",
                                                  .has_packing = true,
                                                  .has_checksum = true,
                                                  .share_percent = 25});
    return saver;
}

void saver_free(struct saver *saver)
{
    if (saver != NULL) {
        saver_abort(saver);
        mem_free_sized(saver, sizeof(*saver));
    }
}

void saver_set_more(struct saver *saver, unsigned (*write)(void *context, struct codec_out *out),
                    void *context)
{
    saver->write_more = write;
    saver->more_context = context;
}

const struct saver_stats *saver_stats(const struct saver *saver)
{
    return &saver->stats;
}

bool saver_is_on(const struct saver *saver)
{
    return saver->pass != NULL;
}

bool saver_is_busy(const struct saver *saver)
{
    return saver->pass != NULL || saver->lent != NULL;
}

size_t saver_held(struct saver *saver)
{
    struct pass *pass = saver_is_on(saver) ? saver->pass : saver->lent;
    return pass == NULL ? 0 : pass_held(pass);
}

/* ---- Beginning and end ---- */

static int64_t now_us(const struct saver *saver)
{
    return ring_mono_us(saver->options.ring);
}

static void begin_file(struct saver *saver)
{
    char path[RDB_PATH_MAX];
    char temp[RDB_PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", saver->config.dir, saver->config.file_name);
    snprintf(temp, sizeof(temp), "%s/temp-%ld.rdb", saver->config.dir, saver->options.pid);
    saver->file = (struct rdb_file){.mill = pass_mill(saver->pass),
                                    .is_syncing_along = saver->config.is_syncing_along};
    rdb_file_begin(&saver->file, saver->options.ring, path, temp);
}

static struct pass_options pass_options_of(struct saver *saver)
{
    return (struct pass_options){.exec = saver->options.exec,
                                 .ring = saver->options.ring,
                                 .speaks = saver->options.speaks,
                                 .is_threaded = saver->options.is_threaded,
                                 .has_packing = saver->config.has_packing,
                                 .has_checksum = saver->config.has_checksum,
                                 .share_percent = saver->config.share_percent,
                                 .stats = &saver->stats.pass,
                                 .write_more = saver->write_more,
                                 .more_context = saver->more_context};
}

bool saver_begin(struct saver *saver)
{
    struct exec *exec = saver->options.exec;
    if (saver_is_busy(saver)) {
        return false;
    }
    exec_make_whole(exec);
    saver->tried_s = exec_now(exec)->wall_ms / 1000;
    saver->stats.begun++;
    struct pass_options options = pass_options_of(saver);
    saver->pass = pass_new(&options);
    if (saver->pass == NULL) {
        log_write(LOG_WARNING, "Can't save in background: no thread could be started");
        saver->stats.is_last_bad = true;
        return false;
    }
    begin_file(saver);
    saver->dirty_before = exec_stats(exec)->dirty;
    saver->stats.begun_us = now_us(saver);
    saver->stats.file_bytes = 0;
    return true;
}

struct pass *saver_lend_pass(struct saver *saver, const struct saver_lease *lease)
{
    if (saver_is_busy(saver)) {
        return NULL;
    }
    exec_make_whole(saver->options.exec);
    struct pass_options options = pass_options_of(saver);
    options.write_more = lease->write_more;
    options.more_context = lease->context;
    options.has_no_data = lease->has_no_data;
    saver->lent = pass_new(&options);
    if (saver->lent == NULL) {
        log_write(LOG_WARNING, "Can't synchronise replicas: no thread could be started");
    }
    saver->on_yield = lease->on_yield;
    saver->yield_context = lease->context;
    saver->stats.begun_us = now_us(saver);
    return saver->lent;
}

static void note_duration(struct saver *saver)
{
    saver->stats.last_duration_s = (now_us(saver) - saver->stats.begun_us) / 1000000;
}

void saver_end_lease(struct saver *saver)
{
    ASSERT(saver->lent != NULL);
    saver->lent = NULL;
    note_duration(saver);
}

static void end_pass(struct saver *saver)
{
    pass_free(saver->pass);
    saver->pass = NULL;
}

static void note_success(struct saver *saver)
{
    struct exec_stats *stats = exec_stats(saver->options.exec);
    stats->dirty -= stats->dirty < saver->dirty_before ? stats->dirty : saver->dirty_before;
    saver->stats.last_save_s = exec_now(saver->options.exec)->wall_ms / 1000;
    saver->stats.is_last_bad = false;
    log_write(LOG_NOTICE, "DB saved on disk: %llu keys, %llu bytes",
              (unsigned long long)saver->stats.pass.walk.keys_told,
              (unsigned long long)saver->stats.file_bytes);
}

static void note_failure(struct saver *saver, bool has_no_memory)
{
    const struct rdb_file *file = &saver->file;
    saver->stats.is_last_bad = true;
    if (has_no_memory) {
        log_write(LOG_WARNING, "Error saving the DB: out of memory. The old file stays as it was");
    } else {
        bool is_old = file->failed_step <= RDB_FILE_RENAMING;
        log_write(LOG_WARNING, "Error %s for the DB (%s): %s%s",
                  rdb_file_step_name(file->failed_step), saver->config.file_name,
                  strerror(-file->error), is_old ? ". The old file stays as it was" : "");
    }
}

/* The file has ended, well or not. */
static void finish(struct saver *saver)
{
    bool is_given_up = saver->is_given_up;
    bool is_good = saver->file.error == 0;
    bool has_no_memory = pass_has_failed(saver->pass);
    end_pass(saver);
    saver->is_given_up = false;
    saver->stats.file_bytes = saver->file.written;
    note_duration(saver);
    if (is_good) {
        note_success(saver);
    } else if (is_given_up) {
        log_write(LOG_NOTICE, "The save was given up");
    } else {
        note_failure(saver, has_no_memory);
    }
    note_refusal(saver);
    saver_answer(saver, is_good);
}

/* ---- Steps ---- */

void saver_step(struct saver *saver)
{
    if (!saver_is_on(saver)) {
        return;
    }
    pass_step(saver->pass, true);
    if (pass_has_failed(saver->pass)) {
        rdb_file_abort(&saver->file);
    } else if (saver->file.error != 0) {
        pass_stop(saver->pass);
    }
    rdb_file_pump(&saver->file);
    if (rdb_file_is_done(&saver->file) && !saver->file.op.in_flight &&
        !saver->file.sync_op.in_flight) {
        finish(saver);
    }
}

int64_t saver_due_us(const struct saver *saver)
{
    return saver_is_on(saver) ? pass_due_us(saver->pass) : INT64_MAX;
}

static void run_to_end(struct saver *saver)
{
    pass_set_alone(saver->pass, true);
    while (saver_is_on(saver)) {
        saver_step(saver);
        if (saver_is_on(saver)) {
            bool must_wait = pass_is_waiting(saver->pass);
            ring_turn(saver->options.ring, must_wait ? pass_due_us(saver->pass) : 0);
        }
    }
}

void saver_abort(struct saver *saver)
{
    if (saver_is_on(saver)) {
        saver->is_given_up = true;
        pass_stop(saver->pass);
        rdb_file_abort(&saver->file);
        run_to_end(saver);
    }
}

void saver_leave(struct saver *saver)
{
    if (saver_is_on(saver)) {
        if (saver->file.block != NULL) {
            mill_give_back(pass_mill(saver->pass), saver->file.block);
        }
        end_pass(saver);
    }
}

bool saver_save_now(struct saver *saver)
{
    saver_abort(saver);
    if (saver->lent != NULL) {
        saver->on_yield(saver->yield_context);
    }
    if (!saver_begin(saver)) {
        return false;
    }
    run_to_end(saver);
    return saver->file.error == 0;
}

/* ---- When ---- */

static bool is_point_due(const struct saver *saver, const struct save_point *point)
{
    const struct saver_stats *stats = &saver->stats;
    int64_t now_s = exec_now(saver->options.exec)->wall_ms / 1000;
    bool may_try = !stats->is_last_bad || now_s - saver->tried_s > RETRY_S;
    return exec_stats(saver->options.exec)->dirty >= (uint64_t)point->changes &&
           now_s - stats->last_save_s > point->seconds && may_try;
}

void saver_tick(struct saver *saver)
{
    if (saver_is_busy(saver) || !exec_is_whole(saver->options.exec)) {
        return;
    }
    exec_settle(saver->options.exec); /* What expired in this turn is told before the moment. */
    if (saver->is_scheduled) {
        saver->is_scheduled = false;
        saver_begin(saver);
        return;
    }
    for (unsigned i = 0; i < saver->config.point_count; i++) {
        const struct save_point *point = &saver->config.points[i];
        if (is_point_due(saver, point)) {
            log_write(LOG_NOTICE, "%lld changes in %lld seconds. Saving...",
                      (long long)point->changes, (long long)point->seconds);
            saver_begin(saver);
            return;
        }
    }
}

/* In a container the process that was interrupted may have had our number. Whatever it is called,
 * the snapshot itself is none. */
static bool is_stray(const struct saver *saver, const char *name)
{
    long pid = strcmp(name, saver->config.file_name) == 0 ? 0 : rdb_file_temp_owner(name);
    return pid > 0 && (pid == saver->options.pid || (kill((pid_t)pid, 0) != 0 && errno == ESRCH));
}

void saver_remove_strays(const struct saver *saver)
{
    DIR *dir = opendir(saver->config.dir);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (is_stray(saver, entry->d_name) && unlinkat(dirfd(dir), entry->d_name, 0) == 0) {
            log_write(LOG_NOTICE, "Removed %s, which an interrupted save had left", entry->d_name);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
}
