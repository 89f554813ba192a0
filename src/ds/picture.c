/* A table as it was at one moment, told in slices while it changes.
 *
 * The space of hashes is cut into 2^k equal ranges, about one for every two entries at the
 * beginning. They do not follow the table's segments: those split and merge meanwhile, a position
 * in the order of hashes stays what it is. One bit per range says "told":
 *
 *     positions  0                          cursor                                  2^48
 *                |############################|..........................................|
 *     ranges     |        all of these        |    0    1    0    0    1    0    0    0    |
 *                          told                        ^ told ahead: a key in it was changed
 *
 * The walk goes on in the order of hashes and skips what was told ahead. Before the first change in
 * a range beyond the cursor, that whole range is told: one or two entries. Everything that is then
 * inserted there is new, and nobody will ask for the range again. So what is told is exactly what
 * was there at the beginning, each entry once, in the state that it had; only the order is left to
 * chance. The proof needs one sentence: at any time a range is either told, and then whatever
 * happens in it is later than the picture, or it is not, and then nothing has happened in it.
 *
 * Costs. A bit for two entries, in one allocation of at most 1 MiB (of larger tables the ranges are
 * larger). A change while there is a picture: a test of the cursor and of one bit; the first one in
 * a range, one bucket besides. The walk computes the hash of every entry again, because what is
 * stored in the table is not all of it; the entry is about to be read anyway.
 *
 * Invariants:
 *   1. told_count entries of `count` have been told, and all when the walk is at its end.
 *   2. A range with its bit set, and every position below the cursor, holds no untold entry.
 *
 * Rejected. A mark in each entry ("seen by picture 17"), as other snapshots without fork have: it
 * costs memory in every entry all the time, and the removal of an entry takes the mark with it. A
 * copy of the segment before it changes: 14 KiB of pointers to entries that change all the same. */
#include "ds/picture.h"

#include "base/assert.h"
#include "base/mem.h"

enum {
#ifdef OURO_HOSTILE
    ENTRIES_PER_RANGE = 16, /* Few ranges, so that they have many entries. */
#else
    ENTRIES_PER_RANGE = 2,
#endif
    POSITION_BITS = 48,
    WORD_BITS = 64,
};

#define POSITION_END (UINT64_C(1) << POSITION_BITS)

static struct picture *picture_of(const struct table_guard *guard)
{
    return LIST_OWNER((struct table_guard *)(uintptr_t)guard, struct picture, guard);
}

static uint64_t entry_position(const struct picture *picture, const void *entry)
{
    const struct table_kind *kind = picture->guard.table->kind;
    return kind->hash_of(entry, kind->context) >> 16;
}

/* ---- Ranges ---- */

static uint64_t range_count(const struct picture *picture)
{
    return UINT64_C(1) << (POSITION_BITS - picture->shift);
}

static size_t bits_size(const struct picture *picture)
{
    return (size_t)((range_count(picture) + WORD_BITS - 1) / WORD_BITS * sizeof(uint64_t));
}

static bool is_told(const struct picture *picture, uint64_t position)
{
    uint64_t range = position >> picture->shift;
    return position < picture->cursor ||
           (picture->told_bits[range / WORD_BITS] >> range % WORD_BITS & 1) != 0;
}

static void mark_told(struct picture *picture, uint64_t position)
{
    uint64_t range = position >> picture->shift;
    picture->told_bits[range / WORD_BITS] |= UINT64_C(1) << range % WORD_BITS;
}

static void tell(struct picture *picture, void *entry)
{
    picture->told_count++;
    picture->tell(picture->context, entry);
}

/* ---- Ahead ---- */

struct range_visit {
    struct picture *picture;
    uint64_t first, end;
};

static void range_on_entry(void *context, void *entry)
{
    const struct range_visit *visit = context;
    uint64_t position = entry_position(visit->picture, entry);
    if (position >= visit->first && position < visit->end) {
        visit->picture->ahead_count++;
        tell(visit->picture, entry);
    }
}

/* Tells the part of a range that is not below the cursor. */
static void tell_range(struct picture *picture, uint64_t position)
{
    uint64_t first = position >> picture->shift << picture->shift;
    struct range_visit visit = {.picture = picture,
                                .first = first < picture->cursor ? picture->cursor : first,
                                .end = first + (UINT64_C(1) << picture->shift)};
    struct table_walk walk = {
        .visit = range_on_entry, .context = &visit, .entries_max = 1, .buckets_max = 1};
    uint64_t cursor = visit.first;
    do {
        cursor = table_scan(picture->guard.table, cursor, &walk);
    } while (cursor != 0 && cursor < visit.end);
}

static void picture_on_change(struct table_guard *guard, uint64_t hash)
{
    struct picture *picture = picture_of(guard);
    uint64_t position = hash >> 16;
    if (!is_told(picture, position)) {
        mark_told(picture, position);
        tell_range(picture, position);
    }
}

static bool picture_has_passed(const struct table_guard *guard, uint64_t hash)
{
    return is_told(picture_of(guard), hash >> 16);
}

/* ---- The walk ---- */

static void step_on_entry(void *context, void *entry)
{
    struct picture *picture = context;
    if (!is_told(picture, entry_position(picture, entry))) {
        tell(picture, entry);
    }
}

void picture_begin(struct picture *picture, struct table *table, picture_tell_fn tell_entry,
                   void *context)
{
    *picture = (struct picture){.tell = tell_entry,
                                .context = context,
                                .count = table_count(table),
                                .shift = POSITION_BITS};
    while (range_count(picture) < PICTURE_RANGES_MAX &&
           range_count(picture) * ENTRIES_PER_RANGE < picture->count) {
        picture->shift--;
    }
    picture->told_bits = mem_zalloc(bits_size(picture));
    picture->cursor = picture->count == 0 ? POSITION_END : 0;
    picture->guard.before = picture_on_change;
    picture->guard.has_passed = picture_has_passed;
    table_set_guard(table, &picture->guard);
}

bool picture_step(struct picture *picture, size_t entries_max)
{
    if (picture->cursor < POSITION_END) {
        picture->walk = (struct table_walk){.visit = step_on_entry,
                                            .context = picture,
                                            .entries_max = entries_max,
                                            .buckets_max = entries_max};
        uint64_t next = table_scan(picture->guard.table, picture->cursor, &picture->walk);
        picture->cursor = next == 0 ? POSITION_END : next;
    }
    bool is_at_end = picture->cursor == POSITION_END;
    ASSERT(!is_at_end || picture->told_count == picture->count);
    return is_at_end;
}

void picture_end(struct picture *picture)
{
    if (!picture_is_on(picture)) {
        return;
    }
    table_clear_guard(&picture->guard);
    mem_free_sized(picture->told_bits, bits_size(picture));
    picture->told_bits = NULL;
}

size_t picture_memory(const struct picture *picture)
{
    return picture_is_on(picture) ? bits_size(picture) : 0;
}
