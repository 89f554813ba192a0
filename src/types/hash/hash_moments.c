/* Moments of fields, by 32 bits of the field's hash: sorted segments that split one after another.
 *
 *     pages:     | segments of page 0, bound | segments of page 1, bound | ...
 *                     |
 *                     v
 *     segments:  | block, count, cap, bound | ... (128)
 *                     |
 *                     v
 *     block:     | ref 32 ... (cap) | low 32 of its moment ... (cap) | high 16 ... (cap) |
 *
 * Where a ref lives is told by linear hashing over its top bits, read backwards: with n segments,
 * 2^d <= n < 2^(d+1), it is segment number (the first d + 1 bits, reversed), or if there is no such
 * segment the number without the last of these bits. So a segment holds a range of refs in order:
 *
 *     n = 5:   0 = 000..   4 = 001..   2 = 01...   1 = 10...   3 = 11...
 *
 * and who asks for refs in their order, as a walk over the hash's table does, stays in one segment
 * for a while. Segment 2^d + i is made by splitting segment i: its upper half, one piece, moves.
 * There is no directory to double; a segment is split when all hold SEGMENT_AVERAGE on average, so
 * they have half to twice as many each. In a segment a ref is guessed from where it lies in its
 * range, and found some ten places from there.
 *
 * The earliest. A segment has a bound, a page one for its segments. A moment that is set lowers
 * them at once; one that is removed or becomes later leaves them as they are. When a bound's time
 * comes the segment is looked through (0.5 us), and the bound is exact again. So to renew a field
 * before its time, again and again, costs nothing here.
 *
 * Costs. 10 bytes for a ref. Blocks grow from one size class of the allocator to the next, so they
 * are 80 to 100 % full, and because segments are of all sizes between n and 2n, 90 % on average
 * whatever the number: 11.2 bytes. After removals a block is at least 70 % full. To insert moves
 * half a segment on average, 2 KB. The longest step, a split, copies some 4 KB and makes a segment;
 * every 128 segments a page is begun.
 *
 * Invariants (hash_moments_check):
 *   1. A segment's refs ascend and belong to it; its cap is what its block's size class holds.
 *   2. A segment's bound is not after any of its moments, a page's not after any of its segments'.
 *   3. `count` and `memory` are exact; with one segment or none there are no pages.
 *
 * Rejected. A heap of moments: it cannot tell the moment of a field, so that must be in the entry,
 * where 7 bytes push 7 of 16 entries to the next size class, 16 bytes up; and it is one array. A
 * table with open addressing: its load swings between 70 and 87 %, and is that of all its parts at
 * once. Moments of 40 bits that count from a base: exact moments far away then need a second form.
 *
 * Sources: Litwin, Linear Hashing (1980); Perl, Itai and Avni, Interpolation Search (1978). */
#include "types/hash/hash_moments.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum {
#ifdef OURO_HOSTILE
    SEGMENT_AVERAGE = 3,
    PAGE_BITS = 2,
    FREE_SEGMENTS = 2,
#else
    SEGMENT_AVERAGE = 384, /* 192 to 768 refs: 2 to 8 KB. */
    PAGE_BITS = 7,         /* 3 KB. */
    FREE_SEGMENTS = 64,
#endif
    MERGE_AVERAGE = SEGMENT_AVERAGE * 3 / 4, /* Of one segment less than there are. */
    PAGE_SEGMENTS = 1 << PAGE_BITS,
    REF_LEN = sizeof(uint32_t) + sizeof(uint32_t) + sizeof(uint16_t),
};

/* ---- Blocks ---- */

static uint32_t *segment_lows(const struct hash_moments_segment *segment)
{
    return segment->refs + segment->cap;
}

static uint16_t *segment_highs(const struct hash_moments_segment *segment)
{
    return (uint16_t *)(void *)(segment->refs + 2 * (size_t)segment->cap);
}

static int64_t segment_moment(const struct hash_moments_segment *segment, uint32_t at)
{
    return (int64_t)((uint64_t)segment_highs(segment)[at] << 32 | segment_lows(segment)[at]);
}

static void segment_write(const struct hash_moments_segment *segment, uint32_t at,
                          int64_t moment_ms)
{
    segment_lows(segment)[at] = (uint32_t)moment_ms;
    segment_highs(segment)[at] = (uint16_t)(moment_ms >> 32);
}

static size_t segment_bytes(const struct hash_moments_segment *segment)
{
    return segment->cap == 0 ? 0 : mem_good_size((size_t)segment->cap * REF_LEN);
}

/* Copies `count` refs with their moments between segments, or within one. */
static void segment_move(const struct hash_moments_segment *to, uint32_t to_at,
                         const struct hash_moments_segment *from, uint32_t from_at, uint32_t count)
{
    memmove(to->refs + to_at, from->refs + from_at, count * sizeof(uint32_t));
    memmove(segment_lows(to) + to_at, segment_lows(from) + from_at, count * sizeof(uint32_t));
    memmove(segment_highs(to) + to_at, segment_highs(from) + from_at, count * sizeof(uint16_t));
}

static void segment_free(struct hash_moments *moments, struct hash_moments_segment *segment)
{
    moments->memory -= segment_bytes(segment);
    if (segment->cap > 0) {
        mem_free_sized(segment->refs, segment_bytes(segment));
    }
    *segment = (struct hash_moments_segment){.bound_ms = INT64_MAX};
}

/* An empty segment with room for at least so many. */
static struct hash_moments_segment segment_new(struct hash_moments *moments, uint32_t room)
{
    struct hash_moments_segment segment = {.bound_ms = INT64_MAX};
    if (room > 0) {
        size_t bytes = mem_good_size((size_t)room * REF_LEN);
        segment.cap = (uint32_t)(bytes / REF_LEN);
        segment.refs = mem_alloc(bytes);
        moments->memory += bytes;
    }
    return segment;
}

static void segment_resize(struct hash_moments *moments, struct hash_moments_segment *segment,
                           uint32_t room)
{
    struct hash_moments_segment resized = segment_new(moments, room);
    if (segment->count > 0) {
        segment_move(&resized, 0, segment, 0, segment->count);
    }
    resized.count = segment->count;
    resized.bound_ms = segment->bound_ms;
    segment_free(moments, segment);
    *segment = resized;
}

/* A block that is less than 7/10 full becomes one that is at most 9/10 full. */
static void segment_fit(struct hash_moments *moments, struct hash_moments_segment *segment)
{
    if (segment->count == 0) {
        segment_free(moments, segment);
    } else if ((uint64_t)segment->count * 10 < (uint64_t)segment->cap * 7) {
        size_t wanted = ((size_t)segment->count * 10 + 8) / 9;
        if (mem_good_size(wanted * REF_LEN) < segment_bytes(segment)) {
            segment_resize(moments, segment, (uint32_t)wanted);
        }
    }
}

/* ---- Segments ---- */

/* d, where 2^d <= segments < 2^(d + 1). */
static unsigned moments_depth(const struct hash_moments *moments)
{
    return 31 - (unsigned)__builtin_clz(moments->segments);
}

static uint32_t bits_reversed(uint32_t word)
{
    word = __builtin_bswap32(word);
    word = (word >> 4 & 0x0f0f0f0f) | (word & 0x0f0f0f0f) << 4;
    word = (word >> 2 & 0x33333333) | (word & 0x33333333) << 2;
    return (word >> 1 & 0x55555555) | (word & 0x55555555) << 1;
}

static uint32_t moments_index(const struct hash_moments *moments, uint32_t ref)
{
    uint32_t half = (uint32_t)1 << moments_depth(moments);
    uint32_t reversed = bits_reversed(ref);
    uint32_t index = reversed & (2 * half - 1);
    return index < moments->segments ? index : reversed & (half - 1);
}

/* How many top bits all refs of a segment have in common. */
static unsigned segment_depth(const struct hash_moments *moments, uint32_t index)
{
    unsigned depth = moments_depth(moments);
    uint32_t half = (uint32_t)1 << depth;
    bool is_split = index >= half || index + half < moments->segments;
    return depth + is_split;
}

static struct hash_moments_segment *segment_at(const struct hash_moments *moments, uint32_t index)
{
    return moments->segments <= 1
               ? (struct hash_moments_segment *)(uintptr_t)&moments->only
               : &moments->pages[index >> PAGE_BITS].segments[index & (PAGE_SEGMENTS - 1)];
}

static uint32_t page_count_of(uint32_t segments)
{
    return segments <= 1 ? 0 : (segments + PAGE_SEGMENTS - 1) >> PAGE_BITS;
}

/* The first place in the segment whose ref is not below `ref`. */
static uint32_t segment_search(const struct hash_moments *moments, uint32_t index, uint32_t ref)
{
    const struct hash_moments_segment *segment = segment_at(moments, index);
    uint32_t within = (uint32_t)((uint64_t)ref << segment_depth(moments, index));
    uint32_t at = (uint32_t)((uint64_t)within * segment->count >> 32);
    while (at > 0 && segment->refs[at - 1] >= ref) {
        at--;
    }
    while (at < segment->count && segment->refs[at] < ref) {
        at++;
    }
    return at;
}

static void moments_lower_bounds(struct hash_moments *moments, uint32_t index, int64_t moment_ms)
{
    struct hash_moments_segment *segment = segment_at(moments, index);
    if (moment_ms >= segment->bound_ms) {
        return;
    }
    segment->bound_ms = moment_ms;
    if (moments->segments > 1 && moment_ms < moments->pages[index >> PAGE_BITS].bound_ms) {
        moments->pages[index >> PAGE_BITS].bound_ms = moment_ms;
    }
}

/* ---- Pages ---- */

/* Segments that the block of a page has room for: the first page grows by doubling. */
static uint32_t page_room(uint32_t page, uint32_t segments)
{
    uint32_t room = 2;
    if (page > 0) {
        return PAGE_SEGMENTS;
    }
    while (room < segments && room < PAGE_SEGMENTS) {
        room *= 2;
    }
    return room;
}

/* Pages that their array has room for. */
static uint32_t pages_room(uint32_t pages)
{
    uint32_t room = 1;
    while (room < pages) {
        room *= 2;
    }
    return room;
}

/* Makes the block from `from` to `to` bytes long. */
static void *moments_reallocate(struct hash_moments *moments, void *block, size_t from, size_t to)
{
    moments->memory += mem_good_size(to);
    moments->memory -= from == 0 ? 0 : mem_good_size(from);
    return mem_realloc(block, to);
}

/* Makes the block of the last page, and the array of pages, fit for `segments`, which are one more
 * or one less than there are, and at least 2 on both sides. */
static void pages_fit(struct hash_moments *moments, uint32_t segments)
{
    uint32_t old = moments->segments;
    uint32_t old_pages = page_count_of(old);
    uint32_t pages = page_count_of(segments);
    if (pages < old_pages) {
        moments->memory -= mem_good_size(PAGE_SEGMENTS * sizeof(struct hash_moments_segment));
        mem_free(moments->pages[old_pages - 1].segments);
    }
    if (pages_room(pages) != pages_room(old_pages)) {
        moments->pages = moments_reallocate(
            moments, moments->pages, pages_room(old_pages) * sizeof(struct hash_moments_page),
            pages_room(pages) * sizeof(struct hash_moments_page));
    }
    if (pages > old_pages) {
        moments->pages[pages - 1] =
            (struct hash_moments_page){.segments = NULL, .bound_ms = INT64_MAX};
    }
    uint32_t was = pages > old_pages ? 0 : page_room(pages - 1, old);
    uint32_t room = page_room(pages - 1, segments);
    if (pages >= old_pages && room != was) {
        struct hash_moments_page *page = &moments->pages[pages - 1];
        page->segments =
            moments_reallocate(moments, page->segments, was * sizeof(struct hash_moments_segment),
                               room * sizeof(struct hash_moments_segment));
    }
}

/* From one segment to two. */
static void pages_begin(struct hash_moments *moments)
{
    struct hash_moments_segment only = moments->only;
    moments->pages = moments_reallocate(moments, NULL, 0, sizeof(struct hash_moments_page));
    moments->pages[0].bound_ms = only.bound_ms;
    moments->pages[0].segments =
        moments_reallocate(moments, NULL, 0, 2 * sizeof(struct hash_moments_segment));
    moments->pages[0].segments[0] = only;
}

/* From two segments to one. */
static void pages_end(struct hash_moments *moments)
{
    struct hash_moments_page *pages = moments->pages;
    struct hash_moments_segment only = pages[0].segments[0];
    moments->memory -= mem_good_size(2 * sizeof(struct hash_moments_segment)) +
                       mem_good_size(sizeof(struct hash_moments_page));
    mem_free(pages[0].segments);
    mem_free(pages);
    moments->only = only;
}

/* ---- Splits ---- */

static void segment_find_bound(struct hash_moments_segment *segment)
{
    segment->bound_ms = INT64_MAX;
    for (uint32_t i = 0; i < segment->count; i++) {
        int64_t moment_ms = segment_moment(segment, i);
        segment->bound_ms = moment_ms < segment->bound_ms ? moment_ms : segment->bound_ms;
    }
}

/* Makes one more segment, of the upper half of another. */
static void moments_split(struct hash_moments *moments)
{
    uint32_t added = moments->segments;
    uint32_t index = added - ((uint32_t)1 << moments_depth(moments));
    if (added == 1) {
        pages_begin(moments);
    } else {
        pages_fit(moments, added + 1);
    }
    moments->segments++;
    struct hash_moments_segment *lower = segment_at(moments, index);
    uint32_t middle = 0;
    while (middle < lower->count && moments_index(moments, lower->refs[middle]) == index) {
        middle++;
    }
    struct hash_moments_segment upper = segment_new(moments, lower->count - middle);
    upper.count = lower->count - middle;
    if (upper.count > 0) {
        segment_move(&upper, 0, lower, middle, upper.count);
    }
    segment_find_bound(&upper);
    *segment_at(moments, added) = upper;
    if (upper.bound_ms < moments->pages[added >> PAGE_BITS].bound_ms) {
        moments->pages[added >> PAGE_BITS].bound_ms = upper.bound_ms;
    }
    lower->count = middle;
    segment_fit(moments, lower);
}

/* Joins the last segment to the one that it was split from. */
static void moments_merge(struct hash_moments *moments)
{
    uint32_t last = moments->segments - 1;
    struct hash_moments_segment upper = *segment_at(moments, last);
    if (last == 1) {
        pages_end(moments);
    } else {
        pages_fit(moments, last);
    }
    moments->segments = last;
    uint32_t index = last - ((uint32_t)1 << moments_depth(moments));
    struct hash_moments_segment *lower = segment_at(moments, index);
    if (upper.count > 0 && lower->cap - lower->count < upper.count) {
        segment_resize(moments, lower, lower->count + upper.count);
    }
    if (upper.count > 0) {
        segment_move(lower, lower->count, &upper, 0, upper.count);
        lower->count += upper.count;
        moments_lower_bounds(moments, index, upper.bound_ms);
    }
    segment_free(moments, &upper);
    segment_fit(moments, lower);
}

/* ---- Public ---- */

void hash_moments_set(struct hash_moments *moments, uint32_t ref, int64_t moment_ms)
{
    DEBUG_ASSERT(moment_ms >= 0 && moment_ms >> 48 == 0);
    if (moments->segments == 0) {
        moments->only = (struct hash_moments_segment){.bound_ms = INT64_MAX};
        moments->segments = 1;
    }
    uint32_t index = moments_index(moments, ref);
    struct hash_moments_segment *segment = segment_at(moments, index);
    uint32_t at = segment_search(moments, index, ref);
    bool is_new = at >= segment->count || segment->refs[at] != ref;
    if (is_new) {
        if (segment->count == segment->cap) {
            segment_resize(moments, segment, segment->count + 1);
        }
        segment_move(segment, at + 1, segment, at, segment->count - at);
        segment->refs[at] = ref;
        segment->count++;
        moments->count++;
    }
    segment_write(segment, at, moment_ms);
    moments_lower_bounds(moments, index, moment_ms);
    if (is_new && moments->count > (uint64_t)moments->segments * SEGMENT_AVERAGE) {
        moments_split(moments);
    }
}

void hash_moments_remove(struct hash_moments *moments, uint32_t ref)
{
    ASSERT(moments->segments > 0);
    uint32_t index = moments_index(moments, ref);
    struct hash_moments_segment *segment = segment_at(moments, index);
    uint32_t at = segment_search(moments, index, ref);
    ASSERT(at < segment->count && segment->refs[at] == ref);
    segment->count--;
    moments->count--;
    segment_move(segment, at, segment, at + 1, segment->count - at);
    segment_fit(moments, segment);
    if (moments->segments > 1 &&
        moments->count < (uint64_t)(moments->segments - 1) * MERGE_AVERAGE) {
        moments_merge(moments);
    }
}

int64_t hash_moments_find(const struct hash_moments *moments, uint32_t ref)
{
    if (moments->count == 0) {
        return -1;
    }
    uint32_t index = moments_index(moments, ref);
    const struct hash_moments_segment *segment = segment_at(moments, index);
    uint32_t at = segment_search(moments, index, ref);
    bool is_there = at < segment->count && segment->refs[at] == ref;
    return is_there ? segment_moment(segment, at) : -1;
}

/* The page with the least bound; there is one. */
static uint32_t moments_first_page(const struct hash_moments *moments)
{
    uint32_t first = 0;
    for (uint32_t i = 1; i < page_count_of(moments->segments); i++) {
        first = moments->pages[i].bound_ms < moments->pages[first].bound_ms ? i : first;
    }
    return first;
}

int64_t hash_moments_next_ms(const struct hash_moments *moments)
{
    if (moments->count == 0) {
        return -1;
    }
    return moments->segments == 1 ? moments->only.bound_ms
                                  : moments->pages[moments_first_page(moments)].bound_ms;
}

static uint32_t page_len(const struct hash_moments *moments, uint32_t page)
{
    uint32_t left = moments->segments - (page << PAGE_BITS);
    return left < PAGE_SEGMENTS ? left : PAGE_SEGMENTS;
}

static void page_find_bound(const struct hash_moments *moments, uint32_t index)
{
    struct hash_moments_page *page = &moments->pages[index];
    page->bound_ms = INT64_MAX;
    for (uint32_t i = 0; i < page_len(moments, index); i++) {
        int64_t bound_ms = page->segments[i].bound_ms;
        page->bound_ms = bound_ms < page->bound_ms ? bound_ms : page->bound_ms;
    }
}

/* Writes up to `max` refs that are due; the bound is that of all others. */
static size_t segment_take_due(struct hash_moments_segment *segment, int64_t now_ms, uint32_t *refs,
                               size_t max)
{
    size_t taken = 0;
    segment->bound_ms = INT64_MAX;
    for (uint32_t i = 0; i < segment->count; i++) {
        int64_t moment_ms = segment_moment(segment, i);
        if (moment_ms < now_ms && taken < max) {
            refs[taken++] = segment->refs[i];
        } else if (moment_ms < segment->bound_ms) {
            segment->bound_ms = moment_ms;
        }
    }
    return taken;
}

size_t hash_moments_take_due(struct hash_moments *moments, int64_t now_ms, uint32_t *refs,
                             size_t max)
{
    ASSERT(moments->count > 0 && max > 0);
    if (moments->segments == 1) {
        return segment_take_due(&moments->only, now_ms, refs, max);
    }
    uint32_t page = moments_first_page(moments);
    struct hash_moments_segment *first = moments->pages[page].segments;
    for (uint32_t i = 1; i < page_len(moments, page); i++) {
        struct hash_moments_segment *segment = &moments->pages[page].segments[i];
        first = segment->bound_ms < first->bound_ms ? segment : first;
    }
    size_t taken = first->bound_ms < now_ms ? segment_take_due(first, now_ms, refs, max) : 0;
    page_find_bound(moments, page);
    return taken;
}

static struct hash_moments_segment segment_twin(struct hash_moments *moments,
                                                const struct hash_moments_segment *segment)
{
    struct hash_moments_segment twin = segment_new(moments, segment->cap);
    ASSERT(twin.cap == segment->cap);
    twin.count = segment->count;
    twin.bound_ms = segment->bound_ms;
    if (twin.count > 0) {
        segment_move(&twin, 0, segment, 0, twin.count);
    }
    return twin;
}

void hash_moments_copy(struct hash_moments *to, const struct hash_moments *from)
{
    *to = (struct hash_moments){.count = from->count};
    for (uint32_t i = 0; i < from->segments; i++) {
        if (i == 1) {
            pages_begin(to);
        } else if (i > 1) {
            pages_fit(to, i + 1);
        }
        to->segments = i + 1;
        *segment_at(to, i) = segment_twin(to, segment_at(from, i));
    }
    for (uint32_t i = 0; i < page_count_of(to->segments); i++) {
        to->pages[i].bound_ms = from->pages[i].bound_ms;
    }
}

bool hash_moments_free_step(struct hash_moments *moments)
{
    for (unsigned i = 0; i < FREE_SEGMENTS && moments->segments > 0; i++) {
        uint32_t last = moments->segments - 1;
        segment_free(moments, segment_at(moments, last));
        if (last == 1) {
            pages_end(moments);
        } else if (last > 1) {
            pages_fit(moments, last);
        }
        moments->segments = last;
    }
    if (moments->segments > 0) {
        return false;
    }
    ASSERT(moments->memory == 0);
    *moments = (struct hash_moments){.segments = 0};
    return true;
}

/* ---- Checking ---- */

static void segment_check(const struct hash_moments *moments, uint32_t index)
{
    const struct hash_moments_segment *segment = segment_at(moments, index);
    ASSERT(segment->count <= segment->cap && (segment->refs == NULL) == (segment->cap == 0));
    ASSERT(segment->cap == 0 || segment->cap == segment_bytes(segment) / REF_LEN);
    ASSERT(moments->segments <= 1 ||
           segment->bound_ms >= moments->pages[index >> PAGE_BITS].bound_ms);
    for (uint32_t i = 0; i < segment->count; i++) {
        ASSERT(i == 0 || segment->refs[i - 1] < segment->refs[i]);
        ASSERT(moments_index(moments, segment->refs[i]) == index);
        ASSERT(segment_moment(segment, i) >= segment->bound_ms);
    }
}

/* Bytes of the pages and of their array. */
static size_t pages_bytes(const struct hash_moments *moments)
{
    uint32_t pages = page_count_of(moments->segments);
    size_t bytes =
        pages == 0 ? 0 : mem_good_size(pages_room(pages) * sizeof(struct hash_moments_page));
    for (uint32_t i = 0; i < pages; i++) {
        bytes +=
            mem_good_size(page_room(i, moments->segments) * sizeof(struct hash_moments_segment));
    }
    return bytes;
}

void hash_moments_check(const struct hash_moments *moments)
{
    size_t count = 0;
    size_t bytes = pages_bytes(moments);
    for (uint32_t i = 0; i < moments->segments; i++) {
        segment_check(moments, i);
        count += segment_at(moments, i)->count;
        bytes += segment_bytes(segment_at(moments, i));
    }
    ASSERT(count == moments->count && bytes == moments->memory);
}
