/* Writing the file, one operation after the other.
 *
 * The state is `step`; each completion of `op` moves it on, or to the cleaning up. While blocks are
 * written, a sync of what is written so far runs beside them every SYNC_BYTES, so that the last
 * fsync has little to do and the kernel's dirty pages do not pile up. Until the rename the old file
 * is untouched, whatever happens; after it the new one is there and synced. That the rename itself
 * survives a power cut is what the sync of the folder is for: some file systems have none
 * (-EINVAL), which is no error.
 *
 * Invariant: at most `op` and `sync_op` are in flight, and the descriptor is closed only when
 * neither is. */
#include "persist/rdb_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

enum {
#ifdef OURO_HOSTILE
    SYNC_BYTES = 1000,
#else
    SYNC_BYTES = 4 * 1024 * 1024,
#endif
    FILE_MODE = 0644,
};

static void step_on(struct rdb_file *file);

static struct rdb_file *file_of(struct ring_op *op)
{
    return LIST_OWNER(op, struct rdb_file, op);
}

static void fail(struct rdb_file *file, int error)
{
    if (file->error == 0) {
        file->error = error;
        file->failed_step = file->step;
    }
}

static void close_file(struct rdb_file *file)
{
    if (file->fd >= 0) {
        ring_close_fd(file->ring, file->fd);
        file->fd = -1;
    }
}

static void give_back(struct rdb_file *file)
{
    if (file->block != NULL) {
        mill_give_back(file->mill, file->block);
        file->block = NULL;
    }
}

/* ---- Steps ---- */

static void clean(struct rdb_file *file)
{
    give_back(file);
    close_file(file);
    bool has_temp = file->failed_step > RDB_FILE_OPENING && file->failed_step <= RDB_FILE_RENAMING;
    if (!has_temp) {
        file->step = RDB_FILE_DONE;
        return;
    }
    file->step = RDB_FILE_CLEANING;
    ring_unlink(file->ring, &file->op, file->temp_path);
}

static void sync_along(struct rdb_file *file)
{
    if (file->is_syncing_along && !file->sync_op.in_flight &&
        file->written - file->synced_until >= SYNC_BYTES) {
        file->synced_until = file->written;
        ring_fsync(file->ring, &file->sync_op, file->fd, true);
    }
}

static void write_next(struct rdb_file *file)
{
    if (file->block == NULL) {
        file->block = mill_take(file->mill);
    }
    if (file->block != NULL) {
        ring_write(file->ring, &file->op, file->fd, file->block->blob->bytes,
                   file->block->blob->len, (int64_t)file->written);
    }
}

static void wrote(struct rdb_file *file)
{
    bool is_last = file->block->is_last;
    file->written += file->block->blob->len;
    give_back(file);
    if (is_last) {
        file->step = RDB_FILE_SYNCING;
        return;
    }
    sync_along(file);
}

/* What follows a step that has succeeded. */
static void advance(struct rdb_file *file, int result)
{
    switch (file->step) {
    case RDB_FILE_OPENING:
        file->fd = result;
        file->step = RDB_FILE_WRITING;
        return;
    case RDB_FILE_WRITING:
        wrote(file);
        return;
    case RDB_FILE_SYNCING:
        close_file(file);
        file->step = RDB_FILE_RENAMING;
        return;
    case RDB_FILE_RENAMING:
        file->step = RDB_FILE_OPENING_DIR;
        return;
    case RDB_FILE_OPENING_DIR:
        file->fd = result;
        file->step = RDB_FILE_SYNCING_DIR;
        return;
    case RDB_FILE_SYNCING_DIR:
        close_file(file);
        file->step = RDB_FILE_DONE;
        return;
    default:
        file->step = RDB_FILE_DONE;
        return;
    }
}

/* Starts what the step consists of. */
static void start(struct rdb_file *file)
{
    switch (file->step) {
    case RDB_FILE_WRITING:
        write_next(file);
        return;
    case RDB_FILE_SYNCING:
        ring_fsync(file->ring, &file->op, file->fd, false);
        return;
    case RDB_FILE_RENAMING:
        ring_rename(file->ring, &file->op, file->temp_path, file->path);
        return;
    case RDB_FILE_OPENING_DIR:
        ring_open_file(file->ring, &file->op, file->dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC,
                       0);
        return;
    case RDB_FILE_SYNCING_DIR:
        ring_fsync(file->ring, &file->op, file->fd, false);
        return;
    default:
        return;
    }
}

static void step_on(struct rdb_file *file)
{
    if (file->op.in_flight || rdb_file_is_done(file)) {
        return;
    }
    if (file->is_aborted && file->step < RDB_FILE_OPENING_DIR) {
        fail(file, -ECANCELED);
    }
    bool must_wait =
        file->sync_op.in_flight && (file->step != RDB_FILE_WRITING || file->error != 0);
    if (must_wait) {
        return;
    }
    if (file->error != 0 && file->step != RDB_FILE_CLEANING) {
        clean(file);
    } else {
        start(file);
    }
}

static void on_op(struct ring_op *op, int result)
{
    struct rdb_file *file = file_of(op);
    bool is_folder = file->step == RDB_FILE_OPENING_DIR || file->step == RDB_FILE_SYNCING_DIR;
    if (file->step == RDB_FILE_CLEANING) {
        file->step = RDB_FILE_DONE;
        return;
    }
    if (result < 0 && !(is_folder && (result == -EINVAL || result == -EACCES))) {
        fail(file, result);
    } else if (result < 0) {
        close_file(file);
        file->step = RDB_FILE_DONE;
    } else {
        advance(file, result);
    }
    step_on(file);
}

static void on_sync(struct ring_op *op, int result)
{
    struct rdb_file *file = LIST_OWNER(op, struct rdb_file, sync_op);
    if (result < 0 && result != -ECANCELED) {
        fail(file, result);
    }
    step_on(file);
}

/* ---- The face ---- */

static void dir_of(char to[RDB_PATH_MAX], const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        snprintf(to, RDB_PATH_MAX, ".");
    } else {
        snprintf(to, RDB_PATH_MAX, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    }
}

long rdb_file_temp_owner(const char *name)
{
    char *end;
    if (strncmp(name, "temp-", 5) != 0 || name[5] < '1' || name[5] > '9') {
        return 0;
    }
    long pid = strtol(name + 5, &end, 10);
    if (end[0] == '-' && end[1] >= '1' && end[1] <= '9') {
        (void)strtol(end + 1, &end, 10);
    }
    return strcmp(end, ".rdb") == 0 ? pid : 0;
}

void rdb_file_begin(struct rdb_file *file, struct ring *ring, const char *path,
                    const char *temp_path)
{
    ASSERT(strlen(path) < RDB_PATH_MAX && strlen(temp_path) < RDB_PATH_MAX);
    file->ring = ring;
    snprintf(file->path, sizeof(file->path), "%s", path);
    snprintf(file->temp_path, sizeof(file->temp_path), "%s", temp_path);
    dir_of(file->dir_path, path);
    file->step = RDB_FILE_OPENING;
    file->fd = -1;
    file->op.done = on_op;
    file->sync_op.done = on_sync;
    ring_open_file(ring, &file->op, file->temp_path, O_WRONLY | RDB_TEMP_FLAGS, FILE_MODE);
}

void rdb_file_pump(struct rdb_file *file)
{
    step_on(file);
}

void rdb_file_abort(struct rdb_file *file)
{
    file->is_aborted = true;
    step_on(file);
}

const char *rdb_file_step_name(enum rdb_file_step step)
{
    static const char *const names[] = {
        [RDB_FILE_OPENING] = "opening the temporary file",
        [RDB_FILE_WRITING] = "writing",
        [RDB_FILE_SYNCING] = "syncing the file",
        [RDB_FILE_RENAMING] = "moving the file to its final place",
        [RDB_FILE_OPENING_DIR] = "opening the folder",
        [RDB_FILE_SYNCING_DIR] = "syncing the folder",
        [RDB_FILE_CLEANING] = "removing the temporary file",
        [RDB_FILE_DONE] = "ending",
    };
    return names[step];
}
