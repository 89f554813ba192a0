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
 *     bucket, 64 bytes:  tag*7 reach | slot*7
 *     slot, 8 bytes:     window:16 | entry address:48
 *
 *     hash, in a segment of depth d:
 *     | d bits: which segment | 16 bits: window | rest ...        | 8 bits: tag |
 *
 * The window orders a segment: bucket = window * n >> 16, so buckets follow the order of hashes and
 * n need not be a power of two. An entry that finds its bucket full goes to the next with room,
 * round the end of the segment if need be. Its home's `reach` says how many buckets behind it the
 * farthest of its entries lives, so a lookup ends at once where it is 0, and else there, however
 * long the row of full buckets may be. The tag (never 0 for an entry) is compared for all seven
 * slots by one instruction; with the 8 or more bits of the window that the bucket does not imply, a
 * wrong entry is touched about once in 6,000 lookups.
 *
 * Growth. A segment that is 13/14 full moves to the allocator's next size class: at most 25 % more,
 * from 128 bytes to 14 KiB, and reads no entry, because the stored windows say where everything
 * goes. A segment of the largest size splits when it is 7/8 full, by the first bit of the window,
 * into two of about 77 % load; only that reads the entries (for the one bit that the window gains
 * at its end), with prefetches ahead. If the directory has no index bit for that, it doubles. So
 * the load stays between 74 % and 93 % at any size of the table. Shrinking is the mirror image:
 * under 3/8 load a segment moves to a smaller class, or joins its buddy if both fill at most half a
 * segment; when no segment needs the directory's last bit, it halves.
 *
 * Costs. find: 2 dependent misses (bucket, entry), the directory being small (about 10 bytes per
 * 1,000 entries); insert: one line of header more. Buckets that follow each other in memory, on
 * average:
 *
 *     load                       75 %   79 %   83 %   87 %   90 %   93 %
 *     read to find an entry      1.12   1.16   1.23   1.35   1.48   1.73
 *     read to find that none is  1.36   1.52   1.80   2.27   2.89   4.05
 *     read to insert             1.84   2.27   3.06   4.55   6.78  11.75
 *
 * (With a count of passing entries in place of `reach`, finding none would read 1.85 at 79 % and
 * 3.71 at 87 %.) Bytes per entry: 8 * 8/7 / load of all segments, that is 10.4 to 11.6; measured
 * 10.95 on average from 100,000 to 10 million entries, 10.6 at one million. The longest step is a
 * split: about 1,370 entries.
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
 *   3. `reach` of a bucket is the distance of the farthest of its entries, round the end; 255,
 * which only oversized segments come to, is any distance, and stays until the segment is rebuilt.
 *   4. header.used is the number of used slots, and at most segment_room(n).
 *   5. The sums in struct table (count, memory, segments, deepest) are exact, buckets_most is an
 *      upper bound; no entries means no segments, but for a reserved table.
 *
 * Rejected. Doubling one array with two tables in motion (a spike of memory and two lookups for a
 * long time; a single allocation of many megabytes). Chained overflow buckets (a third dependent
 * miss, and memory that depends on luck). Keeping more hash bits in the slot so that splits read no
 * entries (addresses need the room). Bit-reversed cursors (an entry can be seen twice after a
 * resize; a position in the order of hashes cannot). Segments of 32 KiB: jemalloc pads what is
 * larger than 14 KiB by a page, and two classes of 25 % make the load swing more. Segments of at
 * most 12 KiB: the next smaller halves would share slabs of four, which stay half empty while all
 * segments of a table move on to the next class, as they do at about the same time. Keeping a
 * segment in the order of windows, so that finding none ends at the first later one: inserting
 * then moves an entry in each full bucket on its way, twice the instructions in all.
 *
 * Sources: Fagin et al., Extendible Hashing (1979); the tags of Abseil's Swiss tables and F14; the
 * 64-byte buckets of Pelikan's Segcache. */
#include "ds/table.h"

#include <assert.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "ds/table_internal.h"

enum {
    SPLIT_LOAD_PERCENT = 86,   /* A new segment gets at most this load, and 77 after a split. */
    RESERVE_LOAD_PERCENT = 84, /* A tenth less than it may hold: shares differ by 3 %. */
    SHRINK_LOAD_PERCENT = 65,  /* The same for a segment that shrinks: far from both thresholds. */
    DIRECTORY_SHARE_MIN = 4,   /* The directory takes at most 1/4 of all memory; usually 1/1,000. */
    RESERVE_DEPTH_MAX = 6,     /* 64 segments, 0.9 MB: about 100 us. */
    RESERVE_STEP_SPLITS = 8,   /* Segments of a step: 20 to 40 us, mostly for new pages. */
    RESERVE_ALL_DEPTH_MAX = 20, /* 1.1 billion entries. */
};

/* --- Words and sizes ------------------------------------------------------------------------- */

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

static uint64_t *segment_place(struct segment *segment, uint8_t tag, uint64_t slot)
{
    uint32_t i = window_home(slot >> 48, segment->buckets);
    struct table_bucket *home = &segment->at[i];
    for (uint32_t distance = 0;; distance++) {
        struct table_bucket *bucket = &segment->at[i];
        uint32_t empty = table_bucket_match(bucket, 0);
        if (empty != 0) {
            int index = __builtin_ctz(empty);
            bucket->tags[index] = tag;
            bucket->slots[index] = slot;
            segment->used++;
            if (distance > home->reach) {
                home->reach = distance < TABLE_REACH_ANY ? (uint8_t)distance : TABLE_REACH_ANY;
            }
            return &bucket->slots[index];
        }
        i = segment_next(segment, i);
    }
}

static bool bucket_has_entry_of(const struct table_bucket *bucket, uint32_t home, uint32_t buckets)
{
    for (uint32_t used = bucket_used(bucket); used != 0; used &= used - 1) {
        if (window_home(bucket->slots[__builtin_ctz(used)] >> 48, buckets) == home) {
            return true;
        }
    }
    return false;
}

/* An entry of bucket `home` has left bucket `i`: if that was as far as they went, finds out how far
 * they go now. */
static void segment_recede(struct segment *segment, uint32_t home, uint32_t i)
{
    uint32_t distance = segment_distance(segment, home, i);
    if (distance == TABLE_REACH_ANY || distance != segment->at[home].reach) {
        return;
    }
    while (distance > 0 && !bucket_has_entry_of(&segment->at[i], home, segment->buckets)) {
        i = (i == 0 ? segment->buckets : i) - 1;
        distance--;
    }
    segment->at[home].reach = (uint8_t)distance;
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
    uint64_t window = hash << segment->depth >> 48;
    return segment_place(segment, table_tag(hash), window << 48 | (uint64_t)(uintptr_t)entry);
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
    bucket->tags[offset / sizeof(uint64_t) - 1] = 0;
    *slot = 0;
    segment->used--;
    segment_recede(segment, probe.home, (uint32_t)(bucket - probe.first));
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
    uint32_t most = segment_room(SEGMENT_BUCKETS_MAX) * 10 / 11;
    uint32_t depth = 0;
    while (depth < depth_max && count >> depth > most) {
        depth++;
    }
    uint64_t share = count >> depth;
    *buckets = SEGMENT_BUCKETS_MAX;
    if (share < most) {
        *buckets = buckets_for((uint32_t)share, RESERVE_LOAD_PERCENT);
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
