/* Reading an RDB file: a parser that is given bytes in pieces and hands back one thing after the
 * other. It is a pure function of the bytes: files, sockets and databases are its caller's.
 *
 *     while (event = rdb_reader_next(&reader, &item)):
 *         RDB_NEEDS_BYTES   rdb_reader_feed what was not used with more behind it
 *         RDB_PAUSED        a large value goes on: a chance to do something else
 *         RDB_VALUE ...     an item
 *         RDB_END           the end; the checksum was right
 *         RDB_FAILED        reader.error, and reader.error_offset in the file
 *
 * The essay is in rdb_read.c. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "types/codec/codec.h"

enum rdb_event {
    RDB_NEEDS_BYTES,
    RDB_PAUSED,
    RDB_AUX,        /* name, text */
    RDB_DB,         /* numbers[0]: which database follows. */
    RDB_DB_SIZE,    /* numbers: keys, keys with an expiry. A hint: nobody vouches for it. */
    RDB_SLOT,       /* numbers: slot, keys, keys with an expiry (cluster mode of Redis 7.4). */
    RDB_FUNCTION,   /* text: the code of a library. */
    RDB_MODULE_AUX, /* name: of a module, whose data was skipped. */
    RDB_VALUE,      /* key, value and what follows them below */
    RDB_SKIPPED,    /* The same with a value that cannot be held; name: what it would have been. */
    RDB_END,
    RDB_FAILED,
};

/* Slices are borrowed until the next call; a value is the receiver's. */
struct rdb_item {
    uint64_t offset, len; /* Where in the file, and how many bytes. */
    struct slice name, text;
    uint64_t numbers[3];
    struct slice key;    /* Of an RDB_VALUE it is the value's own. */
    struct value *value; /* Without an expiry, whatever its room. */
    int64_t expire_ms;   /* Unix ms; -1: none. */
    int64_t idle_s;      /* Since its last use; -1: not told. */
    int frequency;       /* Counter of uses; -1: not told. */
    uint8_t type;        /* As in the file. */
};

struct rdb_reader_options {
    struct codec_rules rules;
    uint64_t len;          /* Of the whole; 0: not known. Lets lies be told without waiting. */
    uint64_t elements_max; /* Of a large value between two pauses; 0: no pauses. */
    bool is_summing;       /* Computes and compares the checksum. */
    bool skips_foreign;    /* Steps over values that cannot be held and over data of modules. */
};

enum { RDB_ERROR_MAX = 400 };

struct rdb_reader {
    struct rdb_reader_options options;
    int version; /* Of the format; 0: not read yet. */
    char error[RDB_ERROR_MAX];
    uint64_t error_offset; /* Of the first byte that does not make sense. */

    /* The rest is private. */
    struct codec_reader in;
    const char *window;     /* Where the bytes that are there begin. */
    uint64_t window_offset; /* Of that place in the file. */
    const char *summed;     /* Up to where the checksum goes. */
    uint64_t sum;
    int phase;
    bool is_building; /* `builder` has a value whose elements go on. */
    struct codec_builder builder;
    struct codec_text first, second; /* Texts of the last item. */
    char module_name[10];
    uint64_t entry_offset; /* Of the key that is being read, its expiry and hints included. */
    bool has_entry;        /* An expiry or a hint was read; their key follows. */
    int64_t expire_ms, idle_s;
    int frequency;
};

void rdb_reader_init(struct rdb_reader *reader, const struct rdb_reader_options *options);

/* Also in the middle: drops a value that is half read. */
void rdb_reader_deinit(struct rdb_reader *reader);

/* The bytes from rdb_reader_offset on: those that were not used, and more. Borrowed until the next
 * feed. */
void rdb_reader_feed(struct rdb_reader *reader, struct slice bytes);
enum rdb_event rdb_reader_next(struct rdb_reader *reader, struct rdb_item *item);

/* Offset of the first byte that was not used. */
static inline uint64_t rdb_reader_offset(const struct rdb_reader *reader)
{
    return reader->window_offset + (uint64_t)(reader->in.at - reader->window);
}

/* After RDB_NEEDS_BYTES: how many bytes at least are missing behind those that are there. */
static inline uint64_t rdb_reader_missing(const struct rdb_reader *reader)
{
    return reader->in.missing;
}

/* No more bytes come: RDB_FAILED, with an error that says so. */
enum rdb_event rdb_reader_end_early(struct rdb_reader *reader);
