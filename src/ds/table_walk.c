/* Whole tables: scans with cursors, iteration, random entries, destruction in slices, the check of
 * all invariants. Nothing here changes where an entry is; see table.c for the layout.
 *
 * A cursor is a position in the order of hashes. In a segment the entries of a home bucket are
 * those of a range of windows (16 bits of the hash behind the segment's own), so each step visits
 * what such a range holds, wherever in the probe it came to lie, and ends at the range's end. */
#include "base/assert.h"
#include "ds/table_internal.h"

enum {
    RANDOM_TRIES_MAX = 256, /* Expected: 2 to 5. */
    SAMPLE_BUCKETS_MIN = 64,
};

/* --- Walks ----------------------------------------------------------------------------------- */

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
    uint32_t i = span->home;
    bucket_prefetch_entries(&segment->at[i]);
    for (uint32_t left = table_bucket_reach(&segment->at[i], segment->buckets);; left--) {
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
        if (left == 0) {
            break;
        }
        i = segment_next(segment, i);
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

/* --- Destruction in slices ------------------------------------------------------------------- */

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

/* --- Invariants ------------------------------------------------------------------------------ */

/* Asserts that `reach` of each bucket is the distance of the farthest of its entries. */
static void segment_check_reach(const struct segment *segment)
{
    uint32_t *farthest = mem_zalloc(segment->buckets * sizeof(uint32_t));
    for (uint32_t i = 0; i < segment->buckets; i++) {
        for (uint32_t used = bucket_used(&segment->at[i]); used != 0; used &= used - 1) {
            uint64_t slot = segment->at[i].slots[__builtin_ctz(used)];
            uint32_t home = window_home(slot >> 48, segment->buckets);
            uint32_t distance = segment_distance(segment, home, i);
            farthest[home] = distance > farthest[home] ? distance : farthest[home];
        }
    }
    for (uint32_t i = 0; i < segment->buckets; i++) {
        uint8_t reach = segment->at[i].reach;
        ASSERT(reach == farthest[i] || reach == TABLE_REACH_ANY);
        ASSERT(reach != TABLE_REACH_ANY || segment->buckets > TABLE_REACH_ANY);
    }
    mem_free(farthest);
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
            ASSERT(bucket->tags[index] == table_tag(hash));
            ASSERT(*slot >> 48 == hash << segment->depth >> 48);
            ASSERT(hash >> 1 >> (63 - segment->depth) == prefix);
            used_count++;
        }
    }
    ASSERT(segment->used == used_count && used_count <= segment_room(segment->buckets));
    segment_check_reach(segment);
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
