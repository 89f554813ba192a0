/* Inside the table: segments and the directory's words, for table.c, which changes them, and for
 * table_walk.c, which reads them all. The essay atop table.c draws them. */
#pragma once

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "base/prefetch.h"
#include "ds/table.h"

enum {
#ifdef OURO_HOSTILE
    SEGMENT_LINES_MAX = 5,
#else
    SEGMENT_LINES_MAX = 224, /* 14,336 bytes, the largest class that jemalloc does not pad. */
#endif
    SEGMENT_BUCKETS_MAX = SEGMENT_LINES_MAX - 1,
    ROOM_SHARE = 14,      /* A segment moves when only one slot of so many is free ... */
    SPLIT_ROOM_SHARE = 8, /* ... and splits at this, for that is a step of the core thread. */
};

static_assert(SEGMENT_BUCKETS_MAX < 1024, "the count fits in a word");

struct segment {
    uint32_t buckets; /* First: table_probe_at reads it. */
    uint32_t used;    /* Entries. */
    uint32_t depth;   /* Hash bits that all entries share. */
    uint8_t unused[52];
    struct table_bucket at[];
};

static_assert(sizeof(struct table_bucket) == 64, "a bucket is one cache line");
static_assert(sizeof(struct segment) == sizeof(struct table_bucket), "the header is one bucket");
static_assert(offsetof(struct segment, buckets) == 0, "table_probe_at finds the count there");

/* ---- Words ---- */

static inline struct segment *word_segment(uint64_t word)
{
    return (struct segment *)(uintptr_t)(word & 0xffffffffffffULL);
}

static inline uint32_t word_depth(uint64_t word)
{
    return (uint32_t)(word >> 48) & 63;
}

static inline uint64_t segment_word(const struct segment *segment)
{
    uint64_t buckets = segment->buckets < 1024 ? segment->buckets : 0;
    return buckets << 54 | (uint64_t)segment->depth << 48 | (uint64_t)(uintptr_t)segment;
}

static inline const uint64_t *table_words(const struct table *table)
{
    return table->depth == 0 ? &table->word : table->words;
}

static inline uint64_t table_words_count(const struct table *table)
{
    return (uint64_t)1 << table->depth;
}

/* How many words the segment behind `word` owns. */
static inline uint64_t table_run(const struct table *table, uint64_t word)
{
    return (uint64_t)1 << (table->depth - word_depth(word));
}

/* ---- Segments ---- */

/* Entries that n buckets may hold: all 7 of a single bucket, 13/14 of many, 7/8 where the next step
 * is a split. */
static inline uint32_t segment_room(uint32_t buckets)
{
    uint64_t slots = (uint64_t)buckets * TABLE_SLOTS;
    uint32_t share = buckets == SEGMENT_BUCKETS_MAX ? SPLIT_ROOM_SHARE : ROOM_SHARE;
    return (uint32_t)(slots - slots / share);
}

static inline size_t segment_bytes(const struct segment *segment)
{
    return ((size_t)segment->buckets + 1) * sizeof(struct table_bucket);
}

static inline void segment_free(struct table *table, struct segment *segment)
{
    table->memory -= segment_bytes(segment);
    table->segments--;
    mem_free(segment);
}

static inline uint32_t window_home(uint64_t window, uint32_t buckets)
{
    return (uint32_t)((window * buckets) >> 16);
}

/* The first window of bucket `index`; 65,536 for the one after the last. */
static inline uint32_t bucket_window(uint32_t index, uint32_t buckets)
{
    return (uint32_t)((((uint64_t)index << 16) + buckets - 1) / buckets);
}

/* The bucket behind bucket `index`, round the end. */
static inline uint32_t segment_next(const struct segment *segment, uint32_t index)
{
    return index + 1 == segment->buckets ? 0 : index + 1;
}

/* How many buckets behind `home` bucket `index` is, round the end. */
static inline uint32_t segment_distance(const struct segment *segment, uint32_t home,
                                        uint32_t index)
{
    return index >= home ? index - home : index + segment->buckets - home;
}

static inline uint32_t bucket_used(const struct table_bucket *bucket)
{
    return table_bucket_match(bucket, 0) ^ 0x7f;
}

static inline void bucket_prefetch_entries(const struct table_bucket *bucket)
{
    for (uint32_t used = bucket_used(bucket); used != 0; used &= used - 1) {
        prefetch(table_slot_entry(&bucket->slots[__builtin_ctz(used)]));
    }
}
