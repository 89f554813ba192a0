/* The walk: the whole keyspace as it was at one moment, as the bytes of an RDB file, written in
 * slices between commands. The essay is in walk.c.
 *
 *     walk_new ... walk_step, walk_step, ... true: all is in walk_out ... walk_free
 *                ^ in between commands change what they like; what they are about to change and the
 *                  walk has not reached is written first, by the pictures' guards
 *
 * The owner empties walk_out whenever it likes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "keyspace/keyspace.h"
#include "persist/rdb_write.h"
#include "persist/rope.h"

struct walk;

struct walk_options {
    struct keyspace *keyspace; /* Borrowed for the walk's life. */
    struct slice speaks;       /* For AUX redis-ver. */
    int64_t now_ms;            /* Unix ms. */
    uint64_t used_memory;
    bool has_no_data; /* Nothing but what stands before the databases. */

    /* Writes more of what stands before the databases; NULL: nothing. Returns the version of the
     * format that it needs, 0 for any, and is asked once with `out` NULL before. */
    unsigned (*write_more)(void *context, struct codec_out *out);
    void *more_context;
};

struct walk_stats {
    uint64_t key_count;        /* At the beginning. */
    uint64_t keys_told;        /* Of them, written or begun. */
    uint64_t keys_ahead;       /* Of those, because they were about to change. */
    uint64_t elements_ahead;   /* Of large collections, for the same reason. */
    uint64_t collection_count; /* Large collections so far. */
};

/* Takes the picture: O(databases), and an allocation of a bit for two keys. */
struct walk *walk_new(const struct walk_options *options);

/* Ends it, finished or not; the bytes that are left in it go too. */
void walk_free(struct walk *walk);

/* Goes on until `deadline_mono_us`, or until walk_out holds `bytes_max`; at least one piece of some
 * 20 us. True: all is written, the end of the file included. */
bool walk_step(struct walk *walk, int64_t deadline_mono_us, size_t bytes_max);

/* What is written so far. Once rope.is_failed is set the rest is lost. */
struct rope *walk_out(struct walk *walk);

/* Bytes written ahead that wait for their turn: elements of collections that the walk is not at,
 * and keys that were about to change while it was in the middle of a collection. */
size_t walk_held(const struct walk *walk);
const struct walk_stats *walk_stats(const struct walk *walk);
