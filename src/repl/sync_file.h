/* The temporary file of a full synchronisation, for replicas that must be told the length ahead:
 * written as the pass makes blocks, then read by each of them at its own pace. It has a name only
 * for a moment: it is unlinked as soon as it is open, so nothing is left behind whatever happens.
 *
 *     sync_file_new --> open --> unlink --> sync_file_write, write ... --> sync_file_end: whole
 *                                                 readers: read --> blob --> connection
 *     sync_file_drop, sync_reader_free: by whoever is done; the last closes it */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/list.h"
#include "ring/ring.h"

struct sync_file;
struct sync_reader;

/* Opens a file; `path` is copied. It is linked into `files`, the list of all that still exist,
 * until its last operation has ended. The caller has one reference. */
struct sync_file *sync_file_new(struct ring *ring, const char *path, struct list *files);
struct sync_file *sync_file_share(struct sync_file *file);
void sync_file_drop(struct sync_file *file); /* What is in flight ends by itself. */

/* Whether it takes a block now. */
bool sync_file_is_ready(const struct sync_file *file);

/* Writes a block behind what is written; shares the blob until that is done. */
void sync_file_write(struct sync_file *file, struct blob *blob);

/* The last write was the last. */
void sync_file_end(struct sync_file *file);

/* Whole: everything is written. An error is a negative errno, and final. */
bool sync_file_is_whole(const struct sync_file *file);
int sync_file_error(const struct sync_file *file);
uint64_t sync_file_len(const struct sync_file *file); /* Written so far. */

/* Blocks that it has taken. */
uint64_t sync_file_blocks(const struct sync_file *file);

/* ---- Reading ---- */

struct sync_reader *sync_reader_new(struct sync_file *file); /* Of a whole file, from its start. */
void sync_reader_free(struct sync_reader *reader);           /* Also in the middle of a read. */

/* The next bytes as a blob that becomes the caller's, or NULL: none yet, or none any more. A read
 * ahead is always under way. */
struct blob *sync_reader_take(struct sync_reader *reader);
bool sync_reader_is_over(const struct sync_reader *reader); /* All was taken. */
int sync_reader_error(const struct sync_reader *reader);    /* 0 or a negative errno. */
