/* The mill turns ropes into the blocks of a file: packs texts (LZF), adds the checksum. It does so
 * in a thread of its own, which owns no keys and sees only what it is given.
 *
 *     core thread                         the mill's thread
 *     mill_feed   -- sheets -->           runs -> LZF -> CRC-64
 *     mill_take   <-- blocks, sheets --   at most MILL_BLOCKS_MAX blocks wait to be taken
 *
 * Without a thread (in a simulated world) mill_feed does the work itself. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/blob.h"
#include "base/list.h"
#include "persist/rope.h"

#ifdef OURO_HOSTILE
enum { MILL_BLOCK_LEN = 300 };
#else
enum { MILL_BLOCK_LEN = 128 * 1024 - sizeof(struct blob) }; /* One allocation of 128 KiB. */
#endif
enum { MILL_BLOCKS_MAX = 16 };

struct mill;

struct mill_options {
    bool is_threaded;
    bool has_packing;  /* rdbcompression */
    bool has_checksum; /* rdbchecksum */
};

/* Bytes of the file, in order: a blob, so that several who send it may share it. */
struct mill_block {
    struct list link;
    struct blob *blob; /* The block's reference. */
    bool is_last;
};

/* NULL: no thread, no memory. */
struct mill *mill_new(const struct mill_options *options);

/* Stops it, whatever it is doing, and frees all that it holds. */
void mill_free(struct mill *mill);

/* Takes all sheets of the rope. */
void mill_feed(struct mill *mill, struct rope *rope);

/* Nothing follows: the checksum is added, and the last block is marked. */
void mill_finish(struct mill *mill);

/* The next finished block, NULL when there is none yet; mill_give_back when it has been used and
 * nobody else refers to its blob. */
struct mill_block *mill_take(struct mill *mill);
void mill_give_back(struct mill *mill, struct mill_block *block);

/* Frees a block that was taken from a mill which is gone; its blob lives on with others. */
void mill_block_free(struct mill_block *block);

/* Bytes that were fed and are not milled yet. Frees sheets that are. */
size_t mill_backlog(struct mill *mill);
