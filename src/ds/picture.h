/* A picture of a table: its entries as they were at one moment, told one after the other while the
 * table goes on changing. The essay is in picture.c.
 *
 *     picture_begin ... picture_step, picture_step, ... true: all told ... picture_end
 *                   ^ insertions, removals and changes in between tell what they concern first
 *
 * Whoever changes an entry in place calls table_will_change before; insertion and removal do so by
 * themselves. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ds/table.h"

/* Must not change the table; may begin pictures of others. */
typedef void (*picture_tell_fn)(void *context, void *entry);

/* Embedded in its owner, which must not move it. */
struct picture {
    struct table_guard guard;
    picture_tell_fn tell;
    void *context;
    uint64_t cursor;        /* Every position below it has been told. */
    uint64_t *told_bits;    /* One bit for each range of positions: told ahead of the cursor. */
    unsigned shift;         /* A range has 1 << shift positions. */
    uint64_t count;         /* Entries at the beginning. */
    uint64_t told_count;    /* Of them, told. */
    uint64_t ahead_count;   /* Of those, told because something was about to change. */
    struct table_walk walk; /* Of the step under way. */
};

/* The table has no other picture. One allocation of a bit for every two entries, at most
 * PICTURE_RANGES_MAX / 8 bytes. */
enum { PICTURE_RANGES_MAX = 1 << 23 };
void picture_begin(struct picture *picture, struct table *table, picture_tell_fn tell,
                   void *context);

/* Tells about `entries_max` entries, at least those of one bucket. True: there are no more. */
bool picture_step(struct picture *picture, size_t entries_max);

/* For `tell`, when entries turn out to be long: the step ends with the bucket that it is at. */
static inline void picture_end_step(struct picture *picture)
{
    picture->walk.buckets_max = 0;
}

/* Ends it, early or not; harmless for a zeroed one. Jobs that are parked with the guard are the
 * caller's to move to a queue before. */
void picture_end(struct picture *picture);

static inline bool picture_is_on(const struct picture *picture)
{
    return picture->guard.table != NULL;
}

/* Bytes that it holds. */
size_t picture_memory(const struct picture *picture);
