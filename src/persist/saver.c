/* A save: the walk, the mill and the file, and the time that they take.
 *
 *     core thread   | drain | .. | slice | flush | drain | ..... | slice | ...
 *                                  walk -> rope ----.                 file <- blocks
 *     mill's thread                                 '-> LZF, CRC --------^
 *
 * Time. Under load a slice takes at most SLICE_US, and then as much time passes as makes the walk's
 * share what is configured; when no command came since the last slice, the next follows at once. A
 * slice does nothing while the mill has BACKLOG_MAX to do or the disk lags: then the walk waits,
 * and nobody else.
 *
 * Memory. What commands change meanwhile is written ahead, and held until its turn (walk.c). Above
 * HELD_HIGH the walk takes the larger part of the time; above HELD_MAX writers are held back for
 * some milliseconds at a time, as CLIENT PAUSE WRITE does, until there is less. Readers go on. So a
 * save takes a bounded amount of memory, however slow the disk and however busy the writers.
 *
 * Bookkeeping is Redis's: `dirty` counts changes since the last save, a success takes off what it
 * had counted when the save began; a save that failed is tried again after RETRY_S. */
#include "persist/saver.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "exec/aside.h"
#include "persist/mill.h"
#include "persist/rdb_file.h"
#include "persist/saver_internal.h"

enum {
#ifdef OURO_HOSTILE
    SLICE_US = 1,
    BACKLOG_MAX = 1000,
    FEED_MIN = 1,
#else
    SLICE_US = 150,
    BACKLOG_MAX = 2 * 1024 * 1024, /* Bytes that the mill may have before it. */
    FEED_MIN = 16 * 1024,          /* Bytes that are worth waking the mill for. */
#endif
    FEED_MAX = 256 * 1024, /* Bytes of one slice. */
    POLL_US = 500,         /* While the walk has to wait for mill or disk. */
    HELD_HIGH = 16 * 1024 * 1024,
    HELD_MAX = 32 * 1024 * 1024,
    HIGH_SHARE_PERCENT = 75,
    HOLD_BACK_MS = 4,
    RETRY_S = 5,
};

/* ---- Life ---- */

bool saver_has_points(const struct saver *saver)
{
    return saver->config.point_count > 0;
}

bool saver_refuses_writes(const struct saver *saver)
{
    return saver->config.stops_writes && saver->stats.is_last_bad && saver_has_points(saver);
}

void saver_configure(struct saver *saver, const struct saver_config *config)
{
    saver->config = *config;
    snprintf(saver->dir, sizeof(saver->dir), "%s", config->dir);
    snprintf(saver->file_name, sizeof(saver->file_name), "%s", config->file_name);
    saver->config.dir = saver->dir;
    saver->config.file_name = saver->file_name;
    exec_activate_gate(saver->options.exec, GATE_READ_ONLY, saver_refuses_writes(saver));
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
    return saver->mill != NULL;
}

size_t saver_held(struct saver *saver)
{
    if (!saver_is_on(saver)) {
        return 0;
    }
    size_t walked = saver->walk == NULL ? 0 : walk_held(saver->walk) + walk_out(saver->walk)->bytes;
    return walked + mill_backlog(saver->mill);
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
    saver->file =
        (struct rdb_file){.mill = saver->mill, .is_syncing_along = saver->config.is_syncing_along};
    rdb_file_begin(&saver->file, saver->options.ring, path, temp);
}

bool saver_begin(struct saver *saver)
{
    struct exec *exec = saver->options.exec;
    if (saver_is_on(saver)) {
        return false;
    }
    saver->tried_s = exec_now(exec)->wall_ms / 1000;
    saver->stats.begun++;
    saver->mill = mill_new(&(struct mill_options){.is_threaded = saver->options.is_threaded,
                                                  .has_packing = saver->config.has_packing,
                                                  .has_checksum = saver->config.has_checksum});
    if (saver->mill == NULL) {
        log_write(LOG_WARNING, "Can't save in background: no thread could be started");
        saver->stats.is_last_bad = true;
        return false;
    }
    saver->walk = walk_new(&(struct walk_options){.keyspace = exec_keyspace(exec),
                                                  .speaks = saver->options.speaks,
                                                  .now_ms = exec_now(exec)->wall_ms,
                                                  .used_memory = mem_used(),
                                                  .write_more = saver->write_more,
                                                  .more_context = saver->more_context});
    begin_file(saver);
    saver->dirty_before = exec_stats(exec)->dirty;
    struct saver_stats *stats = &saver->stats;
    stats->begun_us = now_us(saver);
    stats->walk_us = stats->slice_count = stats->slice_us_max = stats->file_bytes = 0;
    stats->held_peak = 0;
    stats->walk = *walk_stats(saver->walk);
    saver->due_us = stats->begun_us;
    return true;
}

static void end_walk(struct saver *saver)
{
    if (saver->walk != NULL) {
        saver->stats.walk = *walk_stats(saver->walk);
        walk_free(saver->walk);
        saver->walk = NULL;
    }
}

static void note_success(struct saver *saver)
{
    struct exec_stats *stats = exec_stats(saver->options.exec);
    stats->dirty -= stats->dirty < saver->dirty_before ? stats->dirty : saver->dirty_before;
    saver->stats.last_save_s = exec_now(saver->options.exec)->wall_ms / 1000;
    saver->stats.is_last_bad = false;
    log_write(LOG_NOTICE, "DB saved on disk: %llu keys, %llu bytes",
              (unsigned long long)saver->stats.walk.keys_told,
              (unsigned long long)saver->stats.file_bytes);
}

static void note_failure(struct saver *saver)
{
    const struct rdb_file *file = &saver->file;
    saver->stats.is_last_bad = true;
    if (saver->has_no_memory) {
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
    end_walk(saver);
    mill_free(saver->mill);
    saver->mill = NULL;
    saver->is_given_up = false;
    saver->stats.file_bytes = saver->file.written;
    saver->stats.last_duration_s = (now_us(saver) - saver->stats.begun_us) / 1000000;
    if (is_good) {
        note_success(saver);
    } else if (is_given_up) {
        log_write(LOG_NOTICE, "The save was given up");
    } else {
        note_failure(saver);
    }
    saver->has_no_memory = false;
    exec_activate_gate(saver->options.exec, GATE_READ_ONLY, saver_refuses_writes(saver));
    saver_answer(saver, is_good);
}

/* ---- Slices ---- */

static bool is_idle_since(struct saver *saver)
{
    uint64_t count = exec_stats(saver->options.exec)->commands_count;
    bool is_idle = count == saver->commands_seen;
    saver->commands_seen = count;
    return is_idle;
}

static void hold_back_writers(struct saver *saver)
{
    struct exec *exec = saver->options.exec;
    saver->stats.held_back++;
    exec_pause(exec, PAUSE_WRITE, exec_now(exec)->wall_ms + HOLD_BACK_MS);
}

/* When the next slice is due after one of `spent_us`. */
static void schedule(struct saver *saver, int64_t end_us, int64_t spent_us, size_t held)
{
    int64_t share = saver->config.share_percent;
    share = held > HELD_HIGH && share < HIGH_SHARE_PERCENT ? HIGH_SHARE_PERCENT : share;
    bool is_idle = is_idle_since(saver);
    saver->due_us = is_idle ? end_us : end_us + spent_us * (100 - share) / share;
}

static void feed(struct saver *saver, bool is_over)
{
    struct rope *rope = walk_out(saver->walk);
    if (rope->is_failed) {
        saver->has_no_memory = true;
        rdb_file_abort(&saver->file);
        return;
    }
    if (is_over || rope->bytes >= FEED_MIN) {
        mill_feed(saver->mill, rope);
    }
    if (is_over) {
        mill_finish(saver->mill);
        end_walk(saver);
    }
}

static void step_walk(struct saver *saver)
{
    int64_t begin_us = clock_mono_us();
    /* Without a thread it is a simulated world: a piece at a time, whatever the real clock says. */
    int64_t until_us = saver->options.is_threaded ? begin_us + SLICE_US : 0;
    bool is_over = walk_step(saver->walk, until_us, FEED_MAX);
    saver->stats.walk = *walk_stats(saver->walk);
    feed(saver, is_over);
    int64_t spent_us = clock_mono_us() - begin_us;
    saver->stats.walk_us += (uint64_t)spent_us;
    saver->stats.slice_count++;
    if ((uint64_t)spent_us > saver->stats.slice_us_max) {
        saver->stats.slice_us_max = (uint64_t)spent_us;
    }
    schedule(saver, now_us(saver), spent_us, saver_held(saver));
}

void saver_step(struct saver *saver)
{
    if (!saver_is_on(saver)) {
        return;
    }
    size_t held = saver_held(saver);
    if (held > saver->stats.held_peak) {
        saver->stats.held_peak = held;
    }
    if (held > HELD_MAX && !saver->is_alone) {
        hold_back_writers(saver);
    }
    bool must_wait =
        saver->walk == NULL || mill_backlog(saver->mill) > BACKLOG_MAX || saver->file.is_aborted;
    if (must_wait) {
        saver->due_us = now_us(saver) + POLL_US;
    } else {
        step_walk(saver);
    }
    if (saver->file.error != 0) {
        end_walk(saver);
    }
    rdb_file_pump(&saver->file);
    if (rdb_file_is_done(&saver->file) && !saver->file.op.in_flight &&
        !saver->file.sync_op.in_flight) {
        finish(saver);
    }
}

int64_t saver_due_us(const struct saver *saver)
{
    return saver_is_on(saver) ? saver->due_us : INT64_MAX;
}

static void run_to_end(struct saver *saver)
{
    saver->is_alone = true;
    while (saver_is_on(saver)) {
        saver_step(saver);
        if (saver_is_on(saver)) {
            bool must_wait = saver->walk == NULL || mill_backlog(saver->mill) > BACKLOG_MAX;
            ring_turn(saver->options.ring, must_wait ? now_us(saver) + POLL_US : 0);
        }
    }
    saver->is_alone = false;
}

void saver_abort(struct saver *saver)
{
    if (saver_is_on(saver)) {
        saver->is_given_up = true;
        end_walk(saver);
        rdb_file_abort(&saver->file);
        run_to_end(saver);
    }
}

void saver_leave(struct saver *saver)
{
    if (saver_is_on(saver)) {
        end_walk(saver);
        if (saver->file.block != NULL) {
            mill_give_back(saver->mill, saver->file.block);
        }
        mill_free(saver->mill);
        saver->mill = NULL;
    }
}

bool saver_save_now(struct saver *saver)
{
    saver_abort(saver);
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
    if (saver_is_on(saver) || aside_is_parked(saver->options.exec)) {
        return; /* Not in the middle of a script either. */
    }
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

/* Whose temporary file that is: "temp-", the process's number, ".rdb"; 0 for other names. */
static long stray_owner(const char *name)
{
    char *end;
    if (strncmp(name, "temp-", 5) != 0 || name[5] < '1' || name[5] > '9') {
        return 0;
    }
    long pid = strtol(name + 5, &end, 10);
    return strcmp(end, ".rdb") == 0 ? pid : 0;
}

/* In a container the process that was interrupted may have had our number. */
static bool is_stray(const struct saver *saver, const char *name)
{
    long pid = stray_owner(name);
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
