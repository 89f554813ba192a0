/* A temporary file and its readers. One write and one read per reader are in flight at most; each
 * end of an operation notes what it brought, and whoever owns the file looks at that in its next
 * step.
 *
 * Invariants:
 *   1. `refs` counts the owner, the readers, and an operation of the file's own in flight; with the
 *      last the descriptor is closed. A read in flight holds its reader, which holds the file.
 *   2. The descriptor is closed only when nothing is in flight on it. */
#include "repl/sync_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "persist/rdb_file.h"

enum {
#ifdef OURO_HOSTILE
    READ_LEN = 200,
#else
    READ_LEN = 128 * 1024 - sizeof(struct blob),
#endif
    FILE_MODE = 0600,
};

enum file_step { FILE_OPENING, FILE_UNLINKING, FILE_WRITING, FILE_WHOLE };

struct sync_file {
    struct list link; /* Of all files. */
    struct ring *ring;
    struct list readers;
    char path[RDB_PATH_MAX];
    enum file_step step;
    int fd, error;
    unsigned refs;
    struct ring_op op;
    struct blob *blob; /* Being written. */
    uint64_t len, blocks;
    bool is_ended; /* Nothing follows. */
};

struct sync_reader {
    struct list link; /* Of file->readers. */
    struct sync_file *file;
    struct ring_op op;
    struct blob *blob; /* Being read into, or read. */
    uint64_t at;       /* Bytes taken. */
    int error;
    bool is_abandoned;
};

/* ---- The file ---- */

static void file_release(struct sync_file *file)
{
    file->refs--;
    if (file->refs > 0) {
        return;
    }
    ASSERT(!file->op.in_flight);
    if (file->fd >= 0) {
        ring_close_fd(file->ring, file->fd);
    }
    list_remove(&file->link);
    mem_free_sized(file, sizeof(*file));
}

static void file_on_op(struct ring_op *op, int result)
{
    struct sync_file *file = LIST_OWNER(op, struct sync_file, op);
    if (result < 0 && file->step != FILE_UNLINKING) {
        file->error = result;
    } else if (file->step == FILE_OPENING) {
        file->fd = result;
        file->step = FILE_UNLINKING;
        ring_unlink(file->ring, &file->op, file->path);
        return; /* The operation keeps its reference. */
    } else if (file->step == FILE_UNLINKING) {
        file->step = FILE_WRITING;
    } else {
        file->len += (uint64_t)result;
    }
    if (file->blob != NULL) {
        blob_drop(file->blob);
        file->blob = NULL;
    }
    if (file->is_ended && file->error == 0) {
        file->step = FILE_WHOLE;
    }
    file_release(file);
}

struct sync_file *sync_file_new(struct ring *ring, const char *path, struct list *files)
{
    struct sync_file *file = mem_zalloc(sizeof(*file));
    file->ring = ring;
    list_init(&file->readers);
    list_push_back(files, &file->link);
    file->fd = -1;
    file->refs = 2;
    file->op.done = file_on_op;
    snprintf(file->path, sizeof(file->path), "%s", path);
    ring_open_file(ring, &file->op, file->path, O_RDWR | RDB_TEMP_FLAGS, FILE_MODE);
    return file;
}

struct sync_file *sync_file_share(struct sync_file *file)
{
    file->refs++;
    return file;
}

void sync_file_drop(struct sync_file *file)
{
    file_release(file);
}

bool sync_file_is_ready(const struct sync_file *file)
{
    return file->step == FILE_WRITING && file->error == 0 && !file->op.in_flight;
}

void sync_file_write(struct sync_file *file, struct blob *blob)
{
    ASSERT(sync_file_is_ready(file) && !file->is_ended);
    file->refs++;
    file->blocks++;
    file->blob = blob_share(blob);
    ring_write(file->ring, &file->op, file->fd, blob->bytes, blob->len, (int64_t)file->len);
}

void sync_file_end(struct sync_file *file)
{
    file->is_ended = true;
    if (!file->op.in_flight && file->error == 0) {
        file->step = FILE_WHOLE;
    }
}

bool sync_file_is_whole(const struct sync_file *file)
{
    return file->step == FILE_WHOLE;
}

int sync_file_error(const struct sync_file *file)
{
    return file->error;
}

uint64_t sync_file_len(const struct sync_file *file)
{
    return file->len;
}

uint64_t sync_file_blocks(const struct sync_file *file)
{
    return file->blocks;
}

/* ---- Readers ---- */

static void reader_end(struct sync_reader *reader)
{
    if (reader->blob != NULL) {
        blob_drop(reader->blob);
    }
    list_remove(&reader->link);
    file_release(reader->file);
    mem_free_sized(reader, sizeof(*reader));
}

static void reader_on_read(struct ring_op *op, int result)
{
    struct sync_reader *reader = LIST_OWNER(op, struct sync_reader, op);
    if (result > 0) {
        reader->blob->len = (size_t)result;
    } else {
        reader->error = result < 0 ? result : -EIO; /* Shorter than what was written. */
    }
    if (reader->is_abandoned) {
        reader_end(reader);
    }
}

static void reader_read(struct sync_reader *reader)
{
    uint64_t left = reader->file->len - reader->at;
    size_t len = left < READ_LEN ? (size_t)left : READ_LEN;
    if (len == 0) {
        return;
    }
    reader->blob = blob_try_new(len);
    if (reader->blob == NULL) {
        reader->error = -ENOMEM;
        return;
    }
    ring_read(reader->file->ring, &reader->op, reader->file->fd, reader->blob->bytes, len,
              (int64_t)reader->at);
}

struct sync_reader *sync_reader_new(struct sync_file *file)
{
    ASSERT(sync_file_is_whole(file));
    struct sync_reader *reader = mem_zalloc(sizeof(*reader));
    reader->file = file;
    reader->op.done = reader_on_read;
    list_push_back(&file->readers, &reader->link);
    file->refs++;
    reader_read(reader);
    return reader;
}

void sync_reader_free(struct sync_reader *reader)
{
    reader->is_abandoned = true;
    if (!reader->op.in_flight) {
        reader_end(reader);
    }
}

struct blob *sync_reader_take(struct sync_reader *reader)
{
    if (reader->op.in_flight || reader->error != 0 || reader->blob == NULL) {
        return NULL;
    }
    struct blob *blob = reader->blob;
    reader->at += blob->len;
    reader->blob = NULL;
    reader_read(reader);
    return blob;
}

bool sync_reader_is_over(const struct sync_reader *reader)
{
    return reader->at == reader->file->len;
}

int sync_reader_error(const struct sync_reader *reader)
{
    return reader->error;
}
