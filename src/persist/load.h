/* Loading: the items of an RDB file become keys. Bytes come from outside (load_file.h reads a
 * file), and everything happens in small steps. The essay is in load.c. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/work.h"
#include "keyspace/keyspace.h"
#include "persist/rdb_read.h"

enum { LOAD_AHEAD = 16, LOAD_REPL_ID_LEN = 40, LOAD_PRODUCER_MAX = 63 };

struct load_options {
    struct keyspace *keyspace; /* Borrowed, like what follows. */
    const struct type_limits *limits;
    struct work_queue *work; /* Frees of large values. */
    int64_t now_ms;          /* What is over before this moment has expired. */
    uint64_t len;            /* Bytes of the whole; 0: not known. */
    bool checks_sum;         /* rdbchecksum */
    bool keeps_expired;      /* A replica: its primary tells what expires. */
    /* The same where the file names a history: who goes on with it must be told what expires. */
    bool keeps_expired_of_history;
    bool skips_foreign; /* Values that cannot be held are left out; else they are an error. */
    bool replaces;      /* A key that exists gives way; else it is an error. */
    /* A library of functions, which nothing here can call; may be NULL. */
    void (*on_function)(void *context, struct slice code);
    void *context;
};

/* What the file tells of itself; -1 and "" where it does not. */
struct load_facts {
    char producer[LOAD_PRODUCER_MAX + 1]; /* "7.0.15", "Valkey 8.0.1" */
    int64_t made_s;                       /* Unix seconds. */
    int64_t used_memory;                  /* Bytes, of the producer. */
    char repl_id[LOAD_REPL_ID_LEN + 1];
    int64_t repl_offset, repl_db;
};

/* A value on its way into its table. */
struct load_entry {
    struct value *value;
    struct db *db;
    uint64_t hash, offset;
    int64_t expire_ms, idle_s;
    int frequency;
};

struct loader {
    struct load_options options;
    struct load_facts facts;
    uint64_t keys_loaded, keys_expired, functions;
    char error[RDB_ERROR_MAX]; /* After LOAD_FAILED, with error_offset. */
    uint64_t error_offset;

    /* The rest is private. */
    struct rdb_reader reader;
    struct db *db;
    bool is_reserving; /* Room is being made in it. */
    struct table_reservation reservation;
    struct load_entry ahead[LOAD_AHEAD]; /* Buckets of these are on their way from memory. */
    unsigned ahead_first, ahead_count;
};

enum load_state { LOAD_NEEDS_BYTES, LOAD_GOES_ON, LOAD_DONE, LOAD_FAILED };

void loader_init(struct loader *loader, const struct load_options *options);
void loader_deinit(struct loader *loader); /* Also in the middle; keys that are in stay. */

/* See rdb_reader_feed, rdb_reader_offset, rdb_reader_missing. */
static inline void loader_feed(struct loader *loader, struct slice bytes)
{
    rdb_reader_feed(&loader->reader, bytes);
}

/* Some tens of microseconds of work on what was fed, where values are small. */
enum load_state loader_step(struct loader *loader);

/* No more bytes come, though the loader needs them. */
enum load_state loader_end_early(struct loader *loader);
