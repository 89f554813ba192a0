/* An extendible hash table of segments of cache-line buckets.
 *
 *     directory (2^depth words; inline in struct table while there is one segment)
 *     +------+------+------+------+      word:  buckets:10 | depth:6 | segment address:48
 *     | 00.. | 01.. | 10.. | 11.. |
 *     +--|---+--|---+--|---+--|---+      Neighbouring words are equal where a segment's own
 *        |      |      +------+          depth is less than the directory's.
 *        v      v         v
 *     segment: one line of header, then n buckets of one line each
 *     +--------+----------+----------+-- ... --+----------+
 *     | header | bucket 0 | bucket 1 |         | bucket n-1|
 *     +--------+----------+----------+-- ... --+----------+
 *
 *     bucket, 64 bytes:  tag*7 passed | slot*7
 *     slot, 8 bytes:     window:16 | entry address:48
 *
 *     hash, in a segment of depth d:
 *     | d bits: which segment | 16 bits: window | rest ...        | 8 bits: tag |
 *
 * The window orders a segment: bucket = window * n >> 16, so buckets follow the order of hashes and
 * n need not be a power of two. An entry that finds its bucket full goes to the next with room,
 * round the end of the segment if need be, and every bucket that it passed counts it; a lookup that
 * sees `passed` = 0 stops. The tag (never 0 for an entry) is compared for all seven slots by one
 * instruction; with the 8 or more bits of the window that the bucket does not imply, a wrong entry
 * is touched about once in 10,000 lookups.
 *
 * Growth. A segment that is 7/8 full moves to the allocator's next size class: at most 25 % more,
 * from 128 bytes to 14 KiB, and reads no entry, because the stored windows say where everything
 * goes. A segment of the largest size splits by the first bit of the window into two of about 77 %
 * load; only that reads the entries (for the one bit that the window gains at its end), with
 * prefetches ahead. If the directory has no index bit for that, it doubles. So the load stays
 * between 70 % and 87 % at any size of the table. Shrinking is the mirror image: under 3/8 load a
 * segment moves to a smaller class, or joins its buddy if both fill at most half a segment; when no
 * segment needs the directory's last bit, it halves.
 *
 * Costs. find: 2 dependent misses (bucket, entry), the directory being small (about 10 bytes per
 * 1,000 entries); insert: one line of header more. Bytes per entry: 8 * 8/7 / load, that is 11.0 to
 * 12.4, measured 11.6 on average from 100,000 to 10 million entries. The longest step is a split:
 * about 1,370 entries.
 *
 * Chosen keys. The hash is keyed, so nobody can choose collisions; but if they happen, splits that
 * do not part the entries stop when the directory would take more than a quarter of the memory. The
 * segment then grows on beyond the usual size ("oversized"; from 1,024 buckets on its word holds 0
 * for n). Lookups of the colliding keys become a walk over them, and nothing outside that segment
 * is slower.
 *
 * Invariants, asserted by table_check:
 *   1. A segment of depth d owns 2^(depth - d) neighbouring words, all equal, beginning at a
 *      multiple of that.
 *   2. A slot is used exactly if its tag is not 0; then tag, window and segment are those of the
 *      entry's hash.
 *   3. From an entry's home to its bucket, every bucket but the last counts it in `passed`;
 *      `passed` is exact until it reaches 255, where it stays until the segment is rebuilt.
 *   4. header.used is the number of used slots, and at most segment_room(n).
 *   5. The sums in struct table (count, memory, segments, deepest) are exact, buckets_most is an
 *      upper bound; no entries means no segments, but for a reserved table.
 *
 * Rejected. Doubling one array with two tables in motion (a spike of memory and two lookups for a
 * long time; a single allocation of many megabytes). Chained overflow buckets (a third dependent
 * miss, and memory that depends on luck). Keeping more hash bits in the slot so that splits read no
 * entries (addresses need the room). Bit-reversed cursors (an entry can be seen twice after a
 * resize; a position in the order of hashes cannot). Segments of 32 KiB: jemalloc pads what is
 * larger than 14 KiB by a page, and two classes of 25 % make the load swing more.
 *
 * Sources: Fagin et al., Extendible Hashing (1979); the tags of Abseil's Swiss tables and F14; the
 * 64-byte buckets of Pelikan's Segcache. */
#include "ds/table.h"

#include <assert.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/prefetch.h"

enum {
#ifdef OURO_HOSTILE
    SEGMENT_LINES_MAX = 5,
#else
    SEGMENT_LINES_MAX = 224, /* 14,336 bytes, the largest class that jemalloc does not pad. */
#endif
    SEGMENT_BUCKETS_MAX = SEGMENT_LINES_MAX - 1,
    SPLIT_LOAD_PERCENT = 80,  /* A new segment gets at most this load, and 77 after a split. */
    SHRINK_LOAD_PERCENT = 65, /* The same for a segment that shrinks: far from both thresholds. */
    DIRECTORY_SHARE_MIN = 4,  /* The directory takes at most 1/4 of all memory; usually 1/1,000. */
    RESERVE_DEPTH_MAX = 6,    /* 64 segments, 0.9 MB: about 100 us. */
    RESERVE_STEP_SPLITS = 8,  /* Segments of a step: 20 to 40 us, mostly for new pages. */
    RESERVE_ALL_DEPTH_MAX = 20, /* 1.1 billion entries. */
    RANDOM_TRIES_MAX = 256,     /* Expected: 2 to 5. */
    SAMPLE_BUCKETS_MIN = 64,
    PASSED_MAX = 255,
};

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
static_assert(SEGMENT_BUCKETS_MAX < 1024, "the count fits in a word");

/* --- Words and sizes ------------------------------------------------------------------------- */

static struct segment *word_segment(uint64_t word)
{
    return (struct segment *)(uintptr_t)(word & 0xffffffffffffULL);
}

static uint32_t word_depth(uint64_t word)
{
    return (uint32_t)(word >> 48) & 63;
}

static uint64_t segment_word(const struct segment *segment)
{
    uint64_t buckets = segment->buckets < 1024 ? segment->buckets : 0;
    return buckets << 54 | (uint64_t)segment->depth << 48 | (uint64_t)(uintptr_t)segment;
}

static const uint64_t *table_words(const struct table *table)
{
    return table->depth == 0 ? &table->word : table->words;
}

static uint64_t table_words_count(const struct table *table)
{
    return (uint64_t)1 << table->depth;
}

/* How many words the segment behind `word` owns. */
static uint64_t table_run(const struct table *table, uint64_t word)
{
    return (uint64_t)1 << (table->depth - word_depth(word));
}

/* Points the words of a segment, found by the hash of any of its entries, at `segment`. */
static void table_set_words(struct table *table, uint64_t hash, const struct segment *segment)
{
    uint64_t word = segment_word(segment);
    if (table->depth == 0) {
        table->word = word;
        return;
    }
    uint64_t run = table_run(table, word);
    uint64_t first = (hash >> 1 >> (63 - table->depth)) & ~(run - 1);
    for (uint64_t i = first; i < first + run; i++) {
        table->words[i] = word;
    }
}

/* Entries that n buckets may hold: all 7 of a single bucket, 7/8 of many. */
static uint32_t segment_room(uint32_t buckets)
{
    uint64_t slots = (uint64_t)buckets * TABLE_SLOTS;
    return (uint32_t)(slots - slots / 8);
}

/* The allocator's size class for so many lines of 64 bytes: 4 classes per doubling from 8 lines on.
 */
static uint64_t lines_rounded(uint64_t lines)
{
    if (lines <= 8) {
        return lines;
    }
    uint64_t step = (uint64_t)1 << (61 - __builtin_clzll(lines - 1));
    return (lines + step - 1) & ~(step - 1);
}

/* The smallest number of buckets with which `entries` and one more stay under `load_percent`. */
static uint32_t buckets_for(uint32_t entries, uint32_t load_percent)
{
    uint64_t per_bucket = (uint64_t)TABLE_SLOTS * load_percent;
    uint64_t buckets = ((uint64_t)entries * 100 + per_bucket - 1) / per_bucket;
    buckets += buckets == 0;
    buckets = lines_rounded(buckets + 1) - 1;
    while (segment_room((uint32_t)buckets) <= entries) {
        buckets = lines_rounded(buckets + 2) - 1;
    }
    return (uint32_t)buckets;
}

/* --- Segments -------------------------------------------------------------------------------- */

static size_t segment_bytes(const struct segment *segment)
{
    return ((size_t)segment->buckets + 1) * sizeof(struct table_bucket);
}

static struct segment *segment_new(struct table *table, uint32_t buckets, uint32_t depth)
{
    size_t bytes = ((size_t)buckets + 1) * sizeof(struct table_bucket);
    struct segment *segment = mem_alloc_aligned(64, bytes);
    memset(segment, 0, bytes);
    segment->buckets = buckets;
    segment->depth = depth;
    table->memory += bytes;
    table->segments++;
    table->buckets_most = buckets > table->buckets_most ? buckets : table->buckets_most;
    return segment;
}

static void segment_free(struct table *table, struct segment *segment)
{
    table->memory -= segment_bytes(segment);
    table->segments--;
    mem_free(segment);
}

static uint32_t window_home(uint64_t window, uint32_t buckets)
{
    return (uint32_t)((window * buckets) >> 16);
}

/* The first window of bucket `index`; 65,536 for the one after the last. */
static uint32_t bucket_window(uint32_t index, uint32_t buckets)
{
    return (uint32_t)((((uint64_t)index << 16) + buckets - 1) / buckets);
}

static uint64_t *segment_place(struct segment *segment, uint8_t tag, uint64_t slot)
{
    uint32_t i = window_home(slot >> 48, segment->buckets);
    for (;;) {
        struct table_bucket *bucket = &segment->at[i];
        uint32_t empty = table_bucket_match(bucket, 0);
        if (empty != 0) {
            int index = __builtin_ctz(empty);
            bucket->tags[index] = tag;
            bucket->slots[index] = slot;
            segment->used++;
            return &bucket->slots[index];
        }
        bucket->passed = (uint8_t)(bucket->passed + (bucket->passed < PASSED_MAX));
        i = i + 1 == segment->buckets ? 0 : i + 1;
    }
}

static uint32_t bucket_used(const struct table_bucket *bucket)
{
    return table_bucket_match(bucket, 0) ^ 0x7f;
}

static void bucket_prefetch_entries(const struct table_bucket *bucket)
{
    for (uint32_t used = bucket_used(bucket); used != 0; used &= used - 1) {
        prefetch(table_slot_entry(&bucket->slots[__builtin_ctz(used)]));
    }
}

/* Moves all entries of `from` into `to`, whose windows are (window >> shift) + base. */
static void segment_pour(struct segment *to, const struct segment *from, uint32_t shift,
                         uint64_t base)
{
    for (uint32_t i = 0; i < from->buckets; i++) {
        const struct table_bucket *bucket = &from->at[i];
        for (uint32_t used = bucket_used(bucket); used != 0; used &= used - 1) {
            int index = __builtin_ctz(used);
            uint64_t slot = bucket->slots[index];
            uint64_t window = (slot >> 48 >> shift) + base;
            segment_place(to, bucket->tags[index], window << 48 | (slot << 16 >> 16));
        }
    }
}

static void segment_resize(struct table *table, uint64_t hash, struct segment *segment,
                           uint32_t buckets)
{
    struct segment *resized = segment_new(table, buckets, segment->depth);
    segment_pour(resized, segment, 0, 0);
    table_set_words(table, hash, resized);
    segment_free(table, segment);
    if (table->segments == 1) {
        table->buckets_most = buckets;
    }
}

/* --- Growth ---------------------------------------------------------------------------------- */

static void directory_double(struct table *table)
{
    uint64_t count = table_words_count(table);
    size_t bytes = 2 * count * sizeof(uint64_t);
    if (table->depth == 0) {
        uint64_t word = table->word;
        table->words = mem_alloc(bytes);
        table->words[0] = word;
        table->memory += bytes;
    } else {
        table->words = mem_realloc(table->words, bytes);
        table->memory += bytes / 2;
    }
    for (uint64_t i = count; i-- > 0;) {
        table->words[2 * i] = table->words[2 * i + 1] = table->words[i];
    }
    table->depth++;
    table->deepest = 0;
}

/* How many entries the upper half of a split would get: those whose window begins with a 1. */
static uint32_t segment_upper_count(const struct segment *segment)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < segment->buckets; i++) {
        for (uint32_t slot = 0; slot < TABLE_SLOTS; slot++) {
            count += (uint32_t)(segment->at[i].slots[slot] >> 63); /* An empty slot is 0. */
        }
    }
    return count;
}

static bool segment_may_split(const struct table *table, const struct segment *segment)
{
    size_t doubled = 2 * table_words_count(table) * sizeof(uint64_t);
    bool fits = segment->depth < table->depth || doubled <= table->memory / DIRECTORY_SHARE_MIN;
    return segment->depth < TABLE_DEPTH_MAX && fits;
}

static void segment_split(struct table *table, uint64_t hash, struct segment *segment)
{
    uint32_t upper = segment_upper_count(segment);
    if (segment->depth == table->depth) {
        directory_double(table);
    }
    uint32_t depth = segment->depth + 1;
    struct segment *halves[2] = {
        segment_new(table, buckets_for(segment->used - upper, SPLIT_LOAD_PERCENT), depth),
        segment_new(table, buckets_for(upper, SPLIT_LOAD_PERCENT), depth),
    };
    for (uint32_t i = 0; i < segment->buckets; i++) {
        const struct table_bucket *bucket = &segment->at[i];
        if (i + 2 < segment->buckets) {
            bucket_prefetch_entries(bucket + 2); /* About 12 entries ahead. */
        }
        for (uint32_t used = bucket_used(bucket); used != 0; used &= used - 1) {
            int index = __builtin_ctz(used);
            uint64_t slot = bucket->slots[index];
            uint64_t entry = slot << 16 >> 16;
            uint64_t its_hash = table->kind->hash_of(table_slot_entry(&slot), table->kind->context);
            uint64_t window = its_hash << depth >> 48;
            segment_place(halves[slot >> 63], bucket->tags[index], window << 48 | entry);
        }
    }
    uint64_t half_bit = (uint64_t)1 << (64 - depth);
    table_set_words(table, hash & ~half_bit, halves[0]);
    table_set_words(table, hash | half_bit, halves[1]);
    segment_free(table, segment);
    table->deepest += depth == table->depth ? 2 : 0;
}

static void segment_grow(struct table *table, uint64_t hash, struct segment *segment)
{
    uint64_t lines = lines_rounded((uint64_t)segment->buckets + 2);
    if (lines > SEGMENT_LINES_MAX && segment_may_split(table, segment)) {
        segment_split(table, hash, segment);
        return;
    }
    segment_resize(table, hash, segment, (uint32_t)lines - 1);
}

/* --- Shrinking ------------------------------------------------------------------------------- */

/* Sets `deepest` and `buckets_most` anew. */
static void directory_survey(struct table *table)
{
    const uint64_t *words = table_words(table);
    table->deepest = 0;
    table->buckets_most = 0;
    for (uint64_t i = 0; i < table_words_count(table); i += table_run(table, words[i])) {
        uint32_t buckets = word_segment(words[i])->buckets;
        table->deepest += table->depth > 0 && word_depth(words[i]) == table->depth;
        table->buckets_most = buckets > table->buckets_most ? buckets : table->buckets_most;
    }
}

static void directory_halve(struct table *table)
{
    uint64_t count = table_words_count(table) / 2;
    for (uint64_t i = 0; i < count; i++) {
        table->words[i] = table->words[2 * i];
    }
    table->depth--;
    table->memory -= count * sizeof(uint64_t);
    if (table->depth == 0) {
        uint64_t word = table->words[0];
        table->memory -= sizeof(uint64_t);
        mem_free(table->words);
        table->word = word;
    } else {
        table->words = mem_realloc(table->words, count * sizeof(uint64_t));
    }
    directory_survey(table);
}

/* The other half of the split that made `segment`, if it was not split further. */
static struct segment *segment_buddy(const struct table *table, uint64_t hash,
                                     const struct segment *segment)
{
    if (segment->depth == 0) {
        return NULL;
    }
    uint64_t word = table_word(table, hash ^ (uint64_t)1 << (64 - segment->depth));
    return word_depth(word) == segment->depth ? word_segment(word) : NULL;
}

static void segment_merge(struct table *table, uint64_t hash, struct segment *segment,
                          struct segment *buddy)
{
    bool is_upper = (hash >> (64 - segment->depth) & 1) != 0;
    uint32_t buckets = buckets_for(segment->used + buddy->used, SPLIT_LOAD_PERCENT);
    struct segment *merged = segment_new(table, buckets, segment->depth - 1);
    segment_pour(merged, is_upper ? buddy : segment, 1, 0);
    segment_pour(merged, is_upper ? segment : buddy, 1, 0x8000);
    table->deepest -= segment->depth == table->depth ? 2 : 0;
    table_set_words(table, hash, merged);
    segment_free(table, segment);
    segment_free(table, buddy);
    while (table->depth > 0 && table->deepest == 0) {
        directory_halve(table);
    }
}

static void segment_shrink(struct table *table, uint64_t hash, struct segment *segment)
{
    struct segment *buddy = segment_buddy(table, hash, segment);
    if (buddy != NULL && segment->used + buddy->used <= SEGMENT_BUCKETS_MAX * TABLE_SLOTS / 2) {
        segment_merge(table, hash, segment, buddy);
        return;
    }
    uint32_t buckets = buckets_for(segment->used, SHRINK_LOAD_PERCENT);
    if (buckets < segment->buckets) {
        segment_resize(table, hash, segment, buckets);
    }
}

/* --- Public: life and change ----------------------------------------------------------------- */

void table_init(struct table *table, const struct table_kind *kind)
{
    *table = (struct table){.kind = kind};
}

/* Frees what an empty table holds, or one whose entries nobody needs. The guard stays. */
static void table_release(struct table *table)
{
    const uint64_t *words = table_words(table);
    for (uint64_t i = 0; table->segments > 0;) {
        struct segment *segment = word_segment(words[i]);
        i += table_run(table, words[i]);
        segment_free(table, segment);
    }
    if (table->depth > 0) {
        mem_free(table->words);
    }
    *table = (struct table){.kind = table->kind, .guard = table->guard};
}

void table_deinit(struct table *table)
{
    ASSERT(table->guard == NULL);
    table_release(table);
}

uint64_t *table_insert(struct table *table, uint64_t hash, void *entry)
{
    DEBUG_ASSERT(entry != NULL && (uint64_t)(uintptr_t)entry >> 48 == 0);
    table_will_change(table, hash);
    if (__builtin_expect(table->segments == 0, 0)) {
        table->word = segment_word(segment_new(table, 1, 0));
    }
    struct segment *segment = word_segment(table_word(table, hash));
    if (__builtin_expect(segment->used >= segment_room(segment->buckets), 0)) {
        segment_grow(table, hash, segment);
        segment = word_segment(table_word(table, hash));
    }
    table->count++;
    uint8_t tag = (uint8_t)hash;
    uint64_t window = hash << segment->depth >> 48;
    return segment_place(segment, (uint8_t)(tag + (tag == 0)),
                         window << 48 | (uint64_t)(uintptr_t)entry);
}

void table_remove_slot(struct table *table, uint64_t hash, uint64_t *slot)
{
    table_will_change(table, hash);
    struct table_probe probe = table_probe_at(table, hash);
    struct segment *segment = word_segment(table_word(table, hash));
    uintptr_t offset = (uintptr_t)slot & (sizeof(struct table_bucket) - 1);
    struct table_bucket *bucket = (struct table_bucket *)(void *)((char *)slot - offset);
    ASSERT(probe.first != NULL && bucket != NULL);
    DEBUG_ASSERT(bucket >= probe.first && bucket < probe.first + probe.buckets && *slot != 0);
    for (uint32_t i = probe.home; &probe.first[i] != bucket;) {
        uint8_t *passed = &probe.first[i].passed;
        *passed = (uint8_t)(*passed - (*passed < PASSED_MAX));
        i = i + 1 == probe.buckets ? 0 : i + 1;
    }
    bucket->tags[offset / sizeof(uint64_t) - 1] = 0;
    *slot = 0;
    segment->used--;
    table->count--;
    if (table->count == 0) {
        table_release(table);
    } else if ((uint64_t)segment->used * 8 < (uint64_t)segment->buckets * TABLE_SLOTS * 3) {
        segment_shrink(table, hash, segment);
    }
}

void table_set_guard(struct table *table, struct table_guard *guard)
{
    ASSERT(table->guard == NULL);
    table->guard = guard;
    guard->table = table;
    list_init(&guard->parked);
}

void table_clear_guard(struct table_guard *guard)
{
    ASSERT(guard->table->guard == guard && list_is_empty(&guard->parked));
    guard->table->guard = NULL;
    guard->table = NULL;
}

void table_swap(struct table *one, struct table *other)
{
    struct table contents = *one;
    *one = *other;
    *other = contents;
    if (one->guard != NULL) {
        one->guard->table = one;
    }
    if (other->guard != NULL) {
        other->guard->table = other;
    }
}

/* The form of a table for `count` entries: how deep, and how large its segments. */
static uint32_t reserve_form(size_t count, uint32_t depth_max, uint32_t *buckets)
{
    uint32_t most = SEGMENT_BUCKETS_MAX * TABLE_SLOTS * SPLIT_LOAD_PERCENT / 100;
    uint32_t depth = 0;
    while (depth < depth_max && count >> depth > most) {
        depth++;
    }
    uint64_t share = count >> depth;
    *buckets = SEGMENT_BUCKETS_MAX;
    if (share < most) {
        *buckets = buckets_for((uint32_t)share, SPLIT_LOAD_PERCENT);
        *buckets = *buckets < SEGMENT_BUCKETS_MAX ? *buckets : SEGMENT_BUCKETS_MAX;
    }
    return depth;
}

static void table_reserve_to_depth(struct table *table, size_t count, uint32_t depth_max)
{
    if (table->segments > 0 || count == 0) {
        return;
    }
    uint32_t buckets;
    uint32_t depth = reserve_form(count, depth_max, &buckets);
    if (depth == 0) {
        table->word = segment_word(segment_new(table, buckets, 0));
        return;
    }
    uint64_t words = (uint64_t)1 << depth;
    table->words = mem_alloc(words * sizeof(uint64_t));
    table->memory += words * sizeof(uint64_t);
    for (uint64_t i = 0; i < words; i++) {
        table->words[i] = segment_word(segment_new(table, buckets, depth));
    }
    table->depth = (uint8_t)depth;
    table->deepest = (uint32_t)words;
}

void table_reserve(struct table *table, size_t count)
{
    table_reserve_to_depth(table, count, RESERVE_DEPTH_MAX);
}

void table_reserve_all(struct table *table, size_t count)
{
    table_reserve_to_depth(table, count, RESERVE_ALL_DEPTH_MAX);
}

static void segment_split_empty(struct table *table, uint64_t hash, struct segment *segment,
                                uint32_t buckets)
{
    DEBUG_ASSERT(segment->used == 0);
    if (segment->depth == table->depth) {
        directory_double(table);
    }
    uint32_t depth = segment->depth + 1;
    uint64_t half_bit = (uint64_t)1 << (64 - depth);
    table_set_words(table, hash & ~half_bit, segment_new(table, buckets, depth));
    table_set_words(table, hash | half_bit, segment_new(table, buckets, depth));
    segment_free(table, segment);
    table->deepest += depth == table->depth ? 2 : 0;
}

bool table_reserve_step(struct table *table, struct table_reservation *reservation)
{
    uint32_t buckets;
    uint32_t target = reserve_form(reservation->count, RESERVE_ALL_DEPTH_MAX, &buckets);
    if (table->count > 0 || reservation->count == 0) {
        return true;
    }
    if (table->segments == 0) {
        table_reserve(table, reservation->count);
        reservation->level = table->depth;
        return table->depth >= target;
    }
    for (unsigned i = 0; i < RESERVE_STEP_SPLITS; i++) {
        if (reservation->at == 0) {
            if (reservation->level == target) {
                return true;
            }
            reservation->level++;
        }
        struct segment *segment = word_segment(table_word(table, reservation->at));
        uint32_t depth = segment->depth;
        if (depth < reservation->level) {
            /* Only the last level is to hold entries. */
            segment_split_empty(table, reservation->at, segment,
                                reservation->level == target ? buckets : 1);
        }
        /* Wraps to 0 at the end. */
        reservation->at = depth == 0 ? 0 : reservation->at + ((uint64_t)1 << (64 - depth));
    }
    return false;
}

/* --- Public: walks --------------------------------------------------------------------------- */

/* Part of a segment: the entries of home bucket `home` whose window is in [from, to). */
struct span {
    const struct segment *segment;
    uint32_t home, from, to;
};

static bool span_has(const struct span *span, uint64_t slot)
{
    return (uint32_t)(slot >> 48) - span->from < span->to - span->from;
}

/* `floor` is 0, or a cursor: entries of the first window that are known to lie below it are left
 * out. */
static size_t span_visit(const struct table *table, const struct span *span, uint64_t floor,
                         const struct table_walk *walk)
{
    const struct segment *segment = span->segment;
    size_t visited = 0;
    bucket_prefetch_entries(&segment->at[span->home]);
    for (uint32_t i = span->home, left = segment->buckets; left > 0; left--) {
        const struct table_bucket *bucket = &segment->at[i];
        for (uint32_t used = bucket_used(bucket); used != 0; used &= used - 1) {
            const uint64_t *slot = &bucket->slots[__builtin_ctz(used)];
            void *entry = table_slot_entry(slot);
            if (!span_has(span, *slot) ||
                (floor != 0 && *slot >> 48 == span->from &&
                 table->kind->hash_of(entry, table->kind->context) >> 16 < floor)) {
                continue;
            }
            walk->visit(walk->context, entry);
            visited++;
        }
        if (bucket->passed == 0) {
            break;
        }
        i = i + 1 == segment->buckets ? 0 : i + 1;
    }
    return visited;
}

/* The cursor at which window `window` (up to 65,536, the end) of the segment with `hash` begins. */
static uint64_t window_cursor(uint64_t hash, uint32_t depth, uint32_t window)
{
    uint64_t prefix = depth == 0 ? 0 : hash >> (64 - depth);
    return ((prefix << 16) + window) << (32 - depth);
}

/* The span from `cursor` to the end of its home bucket. */
static struct span span_at(const struct table *table, uint64_t cursor)
{
    const struct segment *segment = word_segment(table_word(table, cursor << 16));
    uint32_t window = (uint32_t)(cursor << 16 << segment->depth >> 48);
    uint32_t home = window_home(window, segment->buckets);
    return (struct span){.segment = segment,
                         .home = home,
                         .from = window,
                         .to = bucket_window(home + 1, segment->buckets)};
}

uint64_t table_scan(const struct table *table, uint64_t cursor, const struct table_walk *walk)
{
    size_t visited = 0;
    size_t buckets = 0;
    if (table->segments == 0) {
        return 0;
    }
    do {
        if (cursor >> 48 != 0) {
            return 0;
        }
        struct span span = span_at(table, cursor);
        uint64_t hash = cursor << 16;
        uint32_t depth = span.segment->depth;
        bool is_boundary = cursor == window_cursor(hash, depth, span.from);
        visited += span_visit(table, &span, is_boundary ? 0 : cursor, walk);
        cursor = window_cursor(hash, depth, span.to);
        buckets++;
    } while (visited < walk->entries_max && buckets < walk->buckets_max);
    return cursor >> 48 != 0 ? 0 : cursor;
}

struct table_range table_home_range(const struct table *table, uint64_t hash)
{
    if (table->segments == 0) {
        return (struct table_range){.first = 0, .end = (uint64_t)1 << 48};
    }
    struct span span = span_at(table, hash >> 16);
    uint32_t depth = span.segment->depth;
    uint32_t first = bucket_window(span.home, span.segment->buckets);
    return (struct table_range){.first = window_cursor(hash, depth, first),
                                .end = window_cursor(hash, depth, span.to)};
}

void table_find_prefix(const struct table *table, uint32_t prefix, table_visit_fn visit,
                       void *context)
{
    if (table->segments == 0) {
        return;
    }
    struct table_walk walk = {.visit = visit, .context = context};
    struct span span = span_at(table, (uint64_t)prefix << 16);
    uint32_t depth = span.segment->depth;
    uint32_t end = span.from + (depth <= 16 ? 1 : (uint32_t)1 << (depth - 16));
    while (span.from < end) {
        span.home = window_home(span.from, span.segment->buckets);
        span.to = bucket_window(span.home + 1, span.segment->buckets);
        span.to = span.to < end ? span.to : end;
        span_visit(table, &span, 0, &walk);
        span.from = span.to;
    }
}

void table_iterate(const struct table *table, struct table_iterator *iterator)
{
    *iterator = (struct table_iterator){.table = table};
}

void *table_next(struct table_iterator *iterator)
{
    const struct table *table = iterator->table;
    for (;;) {
        while (iterator->bucket == iterator->bucket_end) {
            if (table->segments == 0 || iterator->word_index >= table_words_count(table)) {
                return NULL;
            }
            uint64_t word = table_words(table)[iterator->word_index];
            iterator->word_index += table_run(table, word);
            iterator->bucket = word_segment(word)->at;
            iterator->bucket_end = iterator->bucket + word_segment(word)->buckets;
        }
        if (iterator->slot == 0 && iterator->bucket + 1 < iterator->bucket_end) {
            bucket_prefetch_entries(iterator->bucket + 1);
        }
        uint32_t used = bucket_used(iterator->bucket) >> iterator->slot << iterator->slot;
        if (used != 0) {
            iterator->slot = (uint32_t)__builtin_ctz(used) + 1;
            return table_slot_entry(&iterator->bucket->slots[iterator->slot - 1]);
        }
        iterator->slot = 0;
        iterator->bucket++;
    }
}

/* The entry with `index` in the order of a walk: O(segments). */
static void *table_at(const struct table *table, uint64_t index)
{
    struct table_iterator iterator;
    table_iterate(table, &iterator);
    const uint64_t *words = table_words(table);
    for (;;) {
        uint64_t word = words[iterator.word_index];
        if (index < word_segment(word)->used) {
            break;
        }
        index -= word_segment(word)->used;
        iterator.word_index += table_run(table, word);
    }
    void *entry = table_next(&iterator);
    while (index-- > 0) {
        entry = table_next(&iterator);
    }
    return entry;
}

/* A try draws a segment and a slot number as if every segment were as large as the largest, and
 * counts only if an entry is there. So all entries are equally likely, whatever the depth, size and
 * load of their segments. */
void *table_random(const struct table *table, struct rng *rng)
{
    if (table->count == 0) {
        return NULL;
    }
    for (uint32_t tries = 0; tries < RANDOM_TRIES_MAX; tries++) {
        uint64_t index = rng_next(rng) & (table_words_count(table) - 1);
        uint64_t word = table_words(table)[index];
        if ((index & (table_run(table, word) - 1)) != 0) {
            continue; /* A segment of many words is drawn by its first only. */
        }
        uint64_t place = rng_below(rng, (uint64_t)table->buckets_most * TABLE_SLOTS);
        const struct segment *segment = word_segment(word);
        if (place / TABLE_SLOTS >= segment->buckets) {
            continue;
        }
        const struct table_bucket *bucket = &segment->at[place / TABLE_SLOTS];
        if (bucket->tags[place % TABLE_SLOTS] != 0) {
            return table_slot_entry(&bucket->slots[place % TABLE_SLOTS]);
        }
    }
    return table_at(table, rng_below(rng, table->count));
}

size_t table_sample(const struct table *table, struct rng *rng, void **out, size_t max)
{
    if (table->count == 0 || max == 0) {
        return 0;
    }
    struct table_probe probe = table_probe_at(table, rng_next(rng));
    ASSERT(probe.first != NULL);
    size_t buckets_max = max + SAMPLE_BUCKETS_MIN;
    size_t left = probe.buckets < buckets_max ? probe.buckets : buckets_max;
    size_t count = 0;
    for (uint32_t i = probe.home; left > 0 && count < max; left--) {
        const struct table_bucket *bucket = &probe.first[i];
        for (uint32_t used = bucket_used(bucket); used != 0 && count < max; used &= used - 1) {
            out[count++] = table_slot_entry(&bucket->slots[__builtin_ctz(used)]);
        }
        i = i + 1 == probe.buckets ? 0 : i + 1;
    }
    if (count == 0) {
        out[count++] = table_random(table, rng);
    }
    return count;
}

/* --- Public: destruction in slices ----------------------------------------------------------- */

void table_drain_begin(struct table_drain *drain, struct table *table)
{
    *drain = (struct table_drain){.table = *table};
    if (table->guard != NULL) {
        table->guard->table = &drain->table;
    }
    table_init(table, table->kind);
}

/* Hands over one bucket and returns how many entries it had. */
static size_t drain_bucket(struct table_drain *drain, const struct segment *segment,
                           table_visit_fn visit, void *context)
{
    const struct table_bucket *bucket = &segment->at[drain->bucket];
    uint32_t used = bucket_used(bucket);
    size_t count = (size_t)__builtin_popcount(used);
    if (drain->bucket + 2 < segment->buckets) {
        bucket_prefetch_entries(bucket + 2);
    }
    for (; used != 0; used &= used - 1) {
        visit(context, table_slot_entry(&bucket->slots[__builtin_ctz(used)]));
    }
    drain->bucket++;
    return count;
}

bool table_drain_step(struct table_drain *drain, table_visit_fn visit, void *context,
                      size_t entries_max)
{
    struct table *table = &drain->table;
    size_t work = 0; /* Entries, and buckets: those may be empty. */
    ASSERT(table->guard == NULL);
    while (table->segments > 0) {
        uint64_t word = table_words(table)[drain->word_index];
        struct segment *segment = word_segment(word);
        while (drain->bucket < segment->buckets) {
            if (work >= entries_max) {
                return false;
            }
            size_t count = drain_bucket(drain, segment, visit, context);
            table->count -= count;
            work += count + (count == 0);
        }
        drain->word_index += table_run(table, word);
        drain->bucket = 0;
        segment_free(table, segment);
    }
    table_deinit(table);
    return true;
}

/* --- Public: invariants ---------------------------------------------------------------------- */

/* Asserts that `passed` of each bucket counts the entries that went by: +1 where a probe starts, -1
 * where it ends. */
static void segment_check_passed(const struct segment *segment)
{
    uint32_t n = segment->buckets;
    int64_t *change = mem_zalloc(n * sizeof(int64_t));
    int64_t passing = 0; /* Probes that come round the end into bucket 0. */
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t used = bucket_used(&segment->at[i]); used != 0; used &= used - 1) {
            uint64_t slot = segment->at[i].slots[__builtin_ctz(used)];
            uint32_t home = window_home(slot >> 48, n);
            change[home]++;
            change[i]--;
            passing += home > i;
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        passing += change[i];
        uint8_t passed = segment->at[i].passed;
        ASSERT(passed == PASSED_MAX || passed == passing);
    }
    mem_free(change);
}

static void segment_check(const struct table *table, const struct segment *segment, uint64_t prefix)
{
    uint32_t used_count = 0;
    for (uint32_t i = 0; i < segment->buckets; i++) {
        const struct table_bucket *bucket = &segment->at[i];
        for (uint32_t index = 0; index < TABLE_SLOTS; index++) {
            const uint64_t *slot = &bucket->slots[index];
            if (bucket->tags[index] == 0) {
                ASSERT(*slot == 0);
                continue;
            }
            uint64_t hash = table->kind->hash_of(table_slot_entry(slot), table->kind->context);
            uint8_t tag = (uint8_t)hash;
            ASSERT(bucket->tags[index] == (tag == 0 ? 1 : tag));
            ASSERT(*slot >> 48 == hash << segment->depth >> 48);
            ASSERT(hash >> 1 >> (63 - segment->depth) == prefix);
            used_count++;
        }
    }
    ASSERT(segment->used == used_count && used_count <= segment_room(segment->buckets));
    segment_check_passed(segment);
}

void table_check(const struct table *table)
{
    if (table->segments == 0) {
        ASSERT(table->count == 0 && table->depth == 0 && table->word == 0 && table->memory == 0);
        return;
    }
    const uint64_t *words = table_words(table);
    uint64_t words_count = table_words_count(table);
    struct table sum = {.memory = table->depth > 0 ? words_count * sizeof(uint64_t) : 0};
    for (uint64_t i = 0; i < words_count; i += table_run(table, words[i])) {
        const struct segment *segment = word_segment(words[i]);
        ASSERT(segment->depth <= table->depth && words[i] == segment_word(segment));
        uint64_t run = table_run(table, words[i]);
        ASSERT((i & (run - 1)) == 0);
        for (uint64_t k = i; k < i + run; k++) {
            ASSERT(words[k] == words[i]);
        }
        segment_check(table, segment, i >> (table->depth - segment->depth));
        sum.count += segment->used;
        sum.memory += segment_bytes(segment);
        sum.segments++;
        sum.deepest += table->depth > 0 && segment->depth == table->depth;
        ASSERT(segment->buckets <= table->buckets_most);
    }
    ASSERT(sum.count == table->count && sum.memory == table->memory);
    ASSERT(sum.segments == table->segments && sum.deepest == table->deepest);
    ASSERT((table->depth == 0) == (table->segments == 1));
}
