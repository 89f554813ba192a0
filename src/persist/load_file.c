/* A file is read in blocks, and the next block is on its way while the loader works on one.
 *
 *     block 0   | head room | bytes of the file ..........| rest |
 *                                                           |  copied in front of the next bytes
 *     block 1               | rest | next bytes ................... |
 *
 * A record that does not lie in a block whole is the rest: it moves into the next block's head
 * room, so the loader always sees one piece of memory, and what moves is small. A rest that does
 * not fit there (a string of megabytes) goes to a buffer of its own, which grows with the bytes
 * that arrive, never with what the file announces, and is dropped after the record.
 *
 * The steps are a job in the server's queue of sliced work; while the loader waits for a block the
 * job is in no queue, and the completion of the read puts it back.
 *
 * Memory: two blocks; for a string longer than the head room at most twice its bytes besides.
 *
 * Invariants:
 *   1. At most one read is in flight, into the block that is not the window.
 *   2. `read_offset` is where the next read begins; window and rest lie before it. */
#include "persist/load_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"

enum {
#ifdef OURO_HOSTILE
    BLOCK_LEN = 512,
    HEAD_ROOM = 64,
#else
    BLOCK_LEN = 256 * 1024,
    HEAD_ROOM = 64 * 1024,
#endif
    ERROR_MAX = RDB_ERROR_MAX + 100,
};

struct load_file {
    struct load_file_options options;
    struct loader loader;
    struct work_job job;
    struct ring_op read_op;
    int fd;
    int64_t started_us;
    uint64_t read_offset;
    char *blocks[2];
    unsigned filling;    /* The block that the next bytes go to. */
    uint32_t filled;     /* Bytes that are in it. */
    bool is_waiting;     /* The job is in no queue: it waits for a block. */
    bool has_ended;      /* The file: nothing more can be read. */
    struct buf gathered; /* A long rest and what follows it. */
    struct slice rest;   /* What the loader has not used. */
    bool is_hungry;      /* The loader can do nothing with less than `wanted` bytes. */
    size_t tried, wanted;
    enum load_state outcome; /* LOAD_DONE or LOAD_FAILED: nothing more is to be done. */
    int read_error;          /* Negative errno. */
    char error[ERROR_MAX];
};

/* ---- Reading ---- */

static void note_read(struct load_file *file, int result)
{
    if (result < 0) {
        file->read_error = result;
    } else if (result == 0) {
        file->has_ended = true;
    } else {
        file->filled = (uint32_t)result;
        file->read_offset += (uint64_t)result;
    }
}

static bool load_file_on_step(struct work_job *job);

static void load_file_on_read(struct ring_op *op, int result)
{
    struct load_file *file = LIST_OWNER(op, struct load_file, read_op);
    note_read(file, result);
    if (file->is_waiting) {
        file->is_waiting = false;
        work_add(file->options.load.work, &file->job, load_file_on_step);
    }
}

static void read_block(struct load_file *file)
{
    char *to = file->blocks[file->filling] + HEAD_ROOM;
    if (file->has_ended || file->read_error != 0) {
        return;
    }
    if (file->options.ring != NULL) {
        ring_read(file->options.ring, &file->read_op, file->fd, to, BLOCK_LEN,
                  (int64_t)file->read_offset);
        return;
    }
    ssize_t count;
    do {
        count = pread(file->fd, to, BLOCK_LEN, (off_t)file->read_offset);
    } while (count < 0 && errno == EINTR);
    note_read(file, count < 0 ? -errno : (int)count);
}

/* Gives the loader the rest and the block that has been filled, and has the other one filled. */
static void feed(struct load_file *file)
{
    struct slice rest = file->rest;
    char *bytes = file->blocks[file->filling] + HEAD_ROOM;
    struct slice window;
    loader_feed(&file->loader, rest); /* What was used is summed up while it is still there. */
    if (rest.len <= HEAD_ROOM) {
        memmove(bytes - rest.len, rest.data, rest.len);
        window = slice_of(bytes - rest.len, rest.len + file->filled);
        buf_deinit(&file->gathered);
    } else if (rest.data == file->gathered.data) {
        file->gathered.len = rest.len;
        buf_append(&file->gathered, slice_of(bytes, file->filled));
        window = buf_slice(&file->gathered);
    } else {
        struct buf fresh;
        buf_init(&fresh);
        buf_append(&fresh, rest);
        buf_append(&fresh, slice_of(bytes, file->filled));
        buf_deinit(&file->gathered);
        file->gathered = fresh;
        window = buf_slice(&file->gathered);
    }
    file->filled = 0;
    file->filling ^= 1;
    file->rest = window;
    loader_feed(&file->loader, window);
    read_block(file);
}

/* ---- Steps ---- */

/* What the loader has not used stays behind for the next feed. */
static void keep_rest(struct load_file *file, uint64_t offset_before)
{
    size_t used = (size_t)(rdb_reader_offset(&file->loader.reader) - offset_before);
    file->rest = slice_of(file->rest.data + used, file->rest.len - used);
}

static const char *describe_failure(struct load_file *file)
{
    snprintf(file->error, sizeof(file->error), "at byte %llu: %s",
             (unsigned long long)file->loader.error_offset, file->loader.error);
    return file->error;
}

/* LOAD_NEEDS_BYTES: they are on their way. */
static enum load_state next_bytes(struct load_file *file)
{
    bool is_fed = false;
    do {
        if (file->read_error != 0) {
            return LOAD_FAILED;
        }
        if (file->filled == 0 && !file->has_ended) {
            return LOAD_NEEDS_BYTES;
        }
        if (file->filled == 0) {
            break;
        }
        feed(file);
        is_fed = true;
    } while (file->rest.len < file->wanted);
    if (!is_fed && file->rest.len <= file->tried) {
        return loader_end_early(&file->loader);
    }
    file->is_hungry = false;
    return LOAD_GOES_ON;
}

/* What cannot be used in parts is tried again when there is half as much again, so that all tries
 * together read it about three times. */
static void note_hunger(struct load_file *file)
{
    size_t missing = (size_t)rdb_reader_missing(&file->loader.reader);
    size_t half = file->rest.len / 2;
    file->is_hungry = true;
    file->tried = file->rest.len;
    file->wanted = file->rest.len + (missing > half ? missing : half);
}

static enum load_state step(struct load_file *file)
{
    if (!file->is_hungry) {
        uint64_t offset = rdb_reader_offset(&file->loader.reader);
        enum load_state state = loader_step(&file->loader);
        keep_rest(file, offset);
        if (state != LOAD_NEEDS_BYTES) {
            return state;
        }
        note_hunger(file);
    }
    return next_bytes(file);
}

static const char *error_of(struct load_file *file, enum load_state state)
{
    if (state == LOAD_DONE) {
        return NULL;
    }
    if (file->read_error != 0) {
        snprintf(file->error, sizeof(file->error), "cannot read it at byte %llu: %s",
                 (unsigned long long)file->read_offset, strerror(-file->read_error));
        return file->error;
    }
    return describe_failure(file);
}

static bool load_file_on_step(struct work_job *job)
{
    struct load_file *file = LIST_OWNER(job, struct load_file, job);
    if (file->outcome == LOAD_GOES_ON) {
        enum load_state state = step(file);
        if (state == LOAD_GOES_ON) {
            return false;
        }
        file->outcome = state == LOAD_NEEDS_BYTES ? LOAD_GOES_ON : state;
    }
    /* The end may lie in one block while the next is still being read. */
    if (file->read_op.in_flight) {
        file->is_waiting = true;
        return true;
    }
    if (file->outcome == LOAD_GOES_ON) {
        return false; /* The block came meanwhile. */
    }
    file->options.done(file->options.context, error_of(file, file->outcome));
    return true;
}

/* ---- Life ---- */

static struct load_file *load_file_open(const struct load_file_options *options, int *error)
{
    struct stat status;
    *error = 0;
    int fd = open(options->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* Of a pipe: no wait. */
    if (fd < 0) {
        *error = errno == ENOENT ? 0 : -errno;
        return NULL;
    }
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        *error = S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL;
        close(fd);
        return NULL;
    }
    struct load_file *file = mem_zalloc(sizeof(*file));
    file->options = *options;
    file->options.load.len = (uint64_t)status.st_size;
    file->fd = fd;
    file->started_us = clock_mono_us();
    file->outcome = LOAD_GOES_ON;
    file->read_op.done = load_file_on_read;
    file->blocks[0] = mem_alloc(HEAD_ROOM + BLOCK_LEN);
    file->blocks[1] = mem_alloc(HEAD_ROOM + BLOCK_LEN);
    buf_init(&file->gathered);
    loader_init(&file->loader, &file->options.load);
    file->rest = slice_of(file->blocks[1], 0);
    loader_feed(&file->loader, file->rest);
    return file;
}

void load_file_stop(struct load_file *file)
{
    work_cancel(file->options.load.work, &file->job);
    loader_deinit(&file->loader);
}

void load_file_free(struct load_file *file)
{
    load_file_stop(file);
    buf_deinit(&file->gathered);
    mem_free(file->blocks[0]);
    mem_free(file->blocks[1]);
    close(file->fd);
    mem_free(file);
}

struct load_file *load_file_begin(const struct load_file_options *options, int *error)
{
    struct load_file *file = load_file_open(options, error);
    if (file != NULL) {
        read_block(file);
        work_add(options->load.work, &file->job, load_file_on_step);
    }
    return file;
}

struct load_figures load_file_figures(const struct load_file *file)
{
    return (struct load_figures){
        .keys_loaded = file->loader.keys_loaded,
        .keys_expired = file->loader.keys_expired,
        .functions = file->loader.functions,
        .bytes = rdb_reader_offset(&file->loader.reader),
        .total_bytes = file->options.load.len,
        .facts = file->loader.facts,
        .started_us = file->started_us,
    };
}

static char *copy_text(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = mem_alloc(size);
    memcpy(copy, text, size);
    return copy;
}

bool load_file_now(const struct load_file_options *options, struct load_figures *out, char **error)
{
    struct load_file_options blocking = *options;
    int result;
    blocking.ring = NULL;
    *error = NULL;
    *out = (struct load_figures){.total_bytes = 0};
    struct load_file *file = load_file_open(&blocking, &result);
    if (file == NULL) {
        *error = copy_text(strerror(result == 0 ? ENOENT : -result));
        return false;
    }
    enum load_state state = LOAD_GOES_ON;
    read_block(file);
    while (state == LOAD_GOES_ON) {
        state = step(file);
    }
    const char *why = error_of(file, state);
    *error = why == NULL ? NULL : copy_text(why);
    *out = load_file_figures(file);
    load_file_free(file);
    return why == NULL;
}
