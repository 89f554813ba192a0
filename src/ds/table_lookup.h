/* The part of a table that is inlined into its callers: what it consists of, and how a key is
 * found. Included by ds/table.h, which has the rest; the layout is drawn in table.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "base/prefetch.h"

/* The hash that `entry` was inserted with. */
typedef uint64_t (*table_hash_fn)(const void *entry, const void *context);

/* What a table must know about its entries. It outlives the table; a seed travels in `context`. */
struct table_kind {
    table_hash_fn hash_of;
    const void *context; /* Handed to hash_of. */
};

struct table_guard;

/* Embedded by value; may be moved in memory while it has no guard. Fields are private to table.h
 * and table.c. */
struct table {
    union {
        uint64_t word;   /* depth 0: the only segment, or 0 when there is none. */
        uint64_t *words; /* depth > 0: directory of 2^depth segment words, owned. */
    };
    const struct table_kind *kind;
    struct table_guard *guard; /* NULL, or who is told before a change. */
    uint32_t segments;         /* Segments. */
    uint32_t deepest;          /* Segments whose own depth equals `depth`; 0 when depth is 0. */
    uint32_t buckets_most;     /* No segment has more buckets than this. */
    uint8_t depth;             /* Hash bits that index the directory. */
    size_t count;              /* Entries. */
    size_t memory;             /* Bytes of segments and directory. */
};

enum {
    TABLE_SLOTS = 7, /* Slots in a bucket. */
    TABLE_REACH_ANY = 255,
    TABLE_PREFETCH_BEYOND = 8, /* Buckets behind the home asked for ahead: 1 % live farther. */
    TABLE_DEPTH_MAX = 32,      /* Depth + 16 stored bits fit in a 48-bit cursor. */
};

/* One cache line: 7 tags (0 = empty slot), how far the entries homed here went, 7 slots. */
struct table_bucket {
    uint8_t tags[TABLE_SLOTS];
    uint8_t reach;               /* No entry homed here lives more buckets behind; 255: it may. */
    uint64_t slots[TABLE_SLOTS]; /* Entry in the low 48 bits, 16 hash bits above. */
};

static inline void *table_slot_entry(const uint64_t *slot)
{
    return (void *)(uintptr_t)(*slot & 0xffffffffffffULL);
}

/* Replaces the entry in place by one with the same hash (the same key in a new allocation). */
static inline void table_slot_set(uint64_t *slot, void *entry)
{
    *slot = (*slot & ~0xffffffffffffULL) | (uint64_t)(uintptr_t)entry;
}

/* Private to the room: where a hash begins to look. */
struct table_probe {
    struct table_bucket *first; /* Bucket 0 of the segment; NULL when the table is empty. */
    uint32_t buckets;           /* Buckets in the segment. */
    uint32_t home;              /* Index of the bucket where the probe starts. */
    uint16_t window;            /* The 16 hash bits that the slot stores. */
    uint8_t tag;
};

static inline uint64_t table_word(const struct table *table, uint64_t hash)
{
    const uint64_t *words = table->depth == 0 ? &table->word : table->words;
    return words[(hash >> 1) >> (table->depth ^ 63)]; /* 63 - depth. */
}

/* Never 0, which marks an empty slot. */
static inline uint8_t table_tag(uint64_t hash)
{
    return (uint8_t)(hash | 1);
}

/* Word: segment address in the low 48 bits, then 6 bits of depth, then 10 bits of bucket count (0 =
 * too many for them, see the segment's header, whose first 4 bytes are the count). The header is
 * one bucket long. */
static inline struct table_probe table_probe_at(const struct table *table, uint64_t hash)
{
    uint64_t word = table_word(table, hash);
    struct table_bucket *header = (struct table_bucket *)(uintptr_t)(word & 0xffffffffffffULL);
    struct table_probe probe = {.tag = table_tag(hash), .buckets = (uint32_t)(word >> 54)};
    if (header == NULL) {
        return probe;
    }
    if (__builtin_expect(probe.buckets == 0, 0)) {
        probe.buckets = *(const uint32_t *)(const void *)header;
    }
    probe.first = header + 1;
    probe.window = (uint16_t)((hash << ((word >> 48) & 63)) >> 48);
    probe.home = (uint32_t)(((uint64_t)probe.window * probe.buckets) >> 16);
    return probe;
}

/* Bit i is set when tags[i] == tag, i < 7. */
static inline uint32_t table_bucket_match(const struct table_bucket *bucket, uint8_t tag)
{
#if defined(__SSE2__)
    __m128i tags = _mm_loadl_epi64((const __m128i *)(const void *)bucket);
    __m128i equal = _mm_cmpeq_epi8(tags, _mm_set1_epi8((char)tag));
    return (uint32_t)_mm_movemask_epi8(equal) & 0x7f;
#elif defined(__ARM_NEON) && defined(__aarch64__)
    static const uint8_t bits[8] = {1, 2, 4, 8, 16, 32, 64, 0};
    uint8x8_t equal = vceq_u8(vld1_u8(bucket->tags), vdup_n_u8(tag));
    return vaddv_u8(vand_u8(equal, vld1_u8(bits)));
#else
    uint32_t mask = 0;
    for (uint32_t i = 0; i < TABLE_SLOTS; i++) {
        mask |= (uint32_t)(bucket->tags[i] == tag) << i;
    }
    return mask;
#endif
}

/* How many buckets behind `home` may hold entries of it, of `buckets` in the segment. */
static inline uint32_t table_bucket_reach(const struct table_bucket *home, uint32_t buckets)
{
    uint32_t reach = home->reach;
    return __builtin_expect(reach == TABLE_REACH_ANY, 0) ? buckets - 1 : reach;
}

/* Begins to load the bucket where `hash` lives. */
static inline void table_prefetch(const struct table *table, uint64_t hash)
{
    struct table_probe probe = table_probe_at(table, hash);
    if (probe.first != NULL) {
        prefetch(&probe.first[probe.home]);
    }
}

/* Private to the room: begins to load the entries of a bucket whose tag and stored bits match.
 * False when there are none. */
static inline bool table_bucket_prefetch(const struct table_bucket *bucket,
                                         const struct table_probe *probe)
{
    bool is_found = false;
    for (uint32_t match = table_bucket_match(bucket, probe->tag); match != 0; match &= match - 1) {
        const uint64_t *slot = &bucket->slots[__builtin_ctz(match)];
        if (*slot >> 48 == probe->window) {
            const char *entry = table_slot_entry(slot);
            prefetch(entry);
            prefetch(entry + 64); /* Many entries reach into a second line. */
            is_found = true;
        }
    }
    return is_found;
}

/* Private to the room: the bucket behind this one, round the end of the segment. */
static inline struct table_bucket *table_bucket_after(const struct table_probe *probe,
                                                      const struct table_bucket *bucket)
{
    size_t index = (size_t)(bucket - probe->first) + 1;
    return &probe->first[index == probe->buckets ? 0 : index];
}

/* Begins to load the entry with that hash, when table_prefetch has had time to work. False: it is
 * not in its home bucket but may be behind it; those buckets are on their way instead, and
 * table_prefetch_beyond asks for the entry when they have had time. */
static inline bool table_prefetch_entry(const struct table *table, uint64_t hash)
{
    struct table_probe probe = table_probe_at(table, hash);
    if (probe.first == NULL) {
        return true;
    }
    const struct table_bucket *bucket = &probe.first[probe.home];
    if (table_bucket_prefetch(bucket, &probe) || bucket->reach == 0) {
        return true;
    }
    uint32_t reach = bucket->reach;
    for (uint32_t i = 0; i < reach && i < TABLE_PREFETCH_BEYOND; i++) {
        bucket = table_bucket_after(&probe, bucket);
        prefetch(bucket);
    }
    return false;
}

/* The last step for an entry that table_prefetch_entry did not find. */
static inline void table_prefetch_beyond(const struct table *table, uint64_t hash)
{
    struct table_probe probe = table_probe_at(table, hash);
    if (probe.first == NULL) {
        return;
    }
    const struct table_bucket *bucket = &probe.first[probe.home];
    uint32_t reach = bucket->reach;
    for (uint32_t i = 0; i < reach && i < TABLE_PREFETCH_BEYOND; i++) {
        bucket = table_bucket_after(&probe, bucket);
        if (table_bucket_prefetch(bucket, &probe)) {
            return;
        }
    }
}

typedef bool (*table_equal_fn)(const void *entry, const void *key);

/* Looks into one bucket. */
static inline __attribute__((always_inline)) uint64_t *
table_bucket_find(struct table_bucket *bucket, const struct table_probe *probe, const void *key,
                  table_equal_fn equal)
{
    uint32_t match = table_bucket_match(bucket, probe->tag);
    for (; match != 0; match &= match - 1) {
        size_t index = (uint32_t)__builtin_ctz(match);
        uint64_t *slot = &bucket->slots[index];
        if (*slot >> 48 == probe->window && equal(table_slot_entry(slot), key)) {
            return slot;
        }
    }
    return NULL;
}

/* The slot of the entry for which equal(entry, key) holds, or NULL. Valid until the next insert or
 * remove. */
static inline __attribute__((always_inline)) uint64_t *
table_find_slot(const struct table *table, uint64_t hash, const void *key, table_equal_fn equal)
{
    struct table_probe probe = table_probe_at(table, hash);
    if (probe.first == NULL) {
        return NULL;
    }
    struct table_bucket *bucket = &probe.first[probe.home];
    uint64_t *slot = table_bucket_find(bucket, &probe, key, equal);
    if (__builtin_expect(slot != NULL, 1)) {
        return slot;
    }
    const struct table_bucket *end = probe.first + probe.buckets;
    for (uint32_t left = table_bucket_reach(bucket, probe.buckets); left > 0; left--) {
        bucket = bucket + 1 == end ? probe.first : bucket + 1;
        slot = table_bucket_find(bucket, &probe, key, equal);
        if (slot != NULL) {
            return slot;
        }
    }
    return NULL;
}

/* The entry for which equal(entry, key) holds, or NULL. */
static inline __attribute__((always_inline)) void *
table_find(const struct table *table, uint64_t hash, const void *key, table_equal_fn equal)
{
    uint64_t *slot = table_find_slot(table, hash, key, equal);
    return slot == NULL ? NULL : table_slot_entry(slot);
}
