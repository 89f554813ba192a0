/* A file that appears whole or not at all: written under another name, synced, renamed, and the
 * folder synced. All through the ring.
 *
 *     open temp --> write, write, ... --> fsync --> rename --> fsync of the folder --> done
 *                     | every 4 MiB: fdatasync
 *                     '--> error at any step: close, unlink temp, done with what went wrong
 */
#pragma once

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>

#include "persist/mill.h"
#include "ring/ring.h"

/* With the NUL behind it. No file system takes a name of 256 bytes, so one that does not fit here
 * is still refused when it has been cut, instead of being another file's. */
enum { RDB_DIR_MAX = 4096, RDB_NAME_MAX = 257, RDB_PATH_MAX = RDB_DIR_MAX + RDB_NAME_MAX };

/* How temporary files are opened, for writing or more. A link that somebody has put there would
 * have another file written, and become the snapshot. */
enum { RDB_TEMP_FLAGS = O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW };

/* The process whose temporary file has that name: "temp-", its number, perhaps "-" and another
 * number (of files for replicas, and from a primary), ".rdb"; 0 for other names. */
long rdb_file_temp_owner(const char *name);

enum rdb_file_step {
    RDB_FILE_OPENING,
    RDB_FILE_WRITING,
    RDB_FILE_SYNCING,
    RDB_FILE_RENAMING,
    RDB_FILE_OPENING_DIR,
    RDB_FILE_SYNCING_DIR,
    RDB_FILE_CLEANING, /* Removes the temporary file. */
    RDB_FILE_DONE,
};

/* Embedded in its owner, who may free it when rdb_file_is_done. */
struct rdb_file {
    struct ring *ring;
    struct mill *mill; /* Whose blocks it writes. */
    bool is_syncing_along;
    char path[RDB_PATH_MAX], temp_path[RDB_PATH_MAX], dir_path[RDB_PATH_MAX];

    enum rdb_file_step step, failed_step;
    int error; /* 0, or the negative errno of what went wrong first. */
    int fd;
    struct ring_op op;      /* What it waits for. */
    struct ring_op sync_op; /* A sync in between. */
    struct mill_block *block;
    uint64_t written, synced_until; /* Bytes; and where the last sync in between began. */
    bool is_aborted;
};

/* `path` and `temp_path` lie in the same folder; both are copied. */
void rdb_file_begin(struct rdb_file *file, struct ring *ring, const char *path,
                    const char *temp_path);

/* Goes on: takes finished blocks from the mill. Called when there may be some. */
void rdb_file_pump(struct rdb_file *file);

/* Gives up as soon as what is in flight has ended; the error becomes -ECANCELED. */
void rdb_file_abort(struct rdb_file *file);

static inline bool rdb_file_is_done(const struct rdb_file *file)
{
    return file->step == RDB_FILE_DONE;
}

/* What it was doing, as words after "Error ": "opening the temp file". */
const char *rdb_file_step_name(enum rdb_file_step step);
