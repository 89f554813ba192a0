/* A hierarchical timer wheel that holds 32-bit references (the top bits of a key's hash), never
 * pointers: a key may be deleted or overwritten without telling the wheel, which only ever says
 * "something with this prefix may be due". The owner's entry remembers the place that wheel_add
 * returned; a reference whose place no entry remembers is stale.
 *
 * Times are Unix milliseconds below WHEEL_MS_MAX; the essay is in wheel.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WHEEL_LEVELS = 8,
    WHEEL_LEVEL_BITS = 6,
    WHEEL_LEVEL_SLOTS = 1 << WHEEL_LEVEL_BITS,
    WHEEL_PLACES = WHEEL_LEVELS * WHEEL_LEVEL_SLOTS, /* A place fits in 9 bits. */
    WHEEL_BATCH_MAX = 16,                            /* References per call of a visitor. */
};

/* The end of time: later deadlines are filed here, and the wheel's own time stays below. About the
 * year 10889. */
#define WHEEL_MS_MAX ((INT64_C(1) << (WHEEL_LEVELS * WHEEL_LEVEL_BITS)) - 1)

struct wheel_chunk;

/* References of one slot: a list of chunks of which only the first may have room. */
struct wheel_list {
    struct wheel_chunk *head;
};

/* Embedded by value; may be moved in memory, but not during wheel_advance or wheel_compact_step.
 * Fields are private. */
struct wheel {
    int64_t now_ms;                          /* All slots up to here were taken out. */
    int64_t target_ms;                       /* Latest time that wheel_advance was given. */
    uint64_t occupied[WHEEL_LEVELS];         /* Bit per slot. */
    struct wheel_list *levels[WHEEL_LEVELS]; /* 64 lists each, allocated at first use. */
    struct wheel_list due;                   /* Slot that is being handed over. */
    struct wheel_list due_rest;              /* The rest of it. */
    struct wheel_list sweep;                 /* Slot that is being compacted. */
    uint16_t due_place;
    uint16_t sweep_place;      /* Next place of a compaction; of `sweep` when that is not empty. */
    size_t count;              /* References, stale ones included. */
    size_t stale;              /* Of these known to be stale. */
    size_t stale_during_sweep; /* Noted since the compaction began. */
    size_t memory;             /* Bytes of chunks and levels. */
};

/* Allocates nothing. `now_ms` is clamped to [0, WHEEL_MS_MAX). */
void wheel_init(struct wheel *wheel, int64_t now_ms);

/* Drops all references and frees all memory; O(count / 125). The wheel is then empty at the same
 * time. */
void wheel_deinit(struct wheel *wheel);

/* Files a reference that becomes due at `deadline_ms`, or with the next tick if that is not in the
 * future. Returns the place (below WHEEL_PLACES) to be remembered. Amortised O(1); may be called by
 * the visitor of wheel_advance. Does not fail. */
uint16_t wheel_add(struct wheel *wheel, uint32_t ref, int64_t deadline_ms);

/* The place where wheel_add would file it now. An owner that finds its remembered place here may
 * keep the reference it has. */
uint16_t wheel_place_of(const struct wheel *wheel, int64_t deadline_ms);

/* Gets `count` references (at most WHEEL_BATCH_MAX) that were filed under `place` and are no longer
 * in the wheel. For each the owner looks for entries that have this prefix and remember this place:
 * those whose deadline has passed expire, the others are added again and fall to a lower level.
 * Returns how many of the references were stale. */
typedef size_t (*wheel_visit_fn)(void *context, const uint32_t *refs, size_t count, uint16_t place);

/* Moves time to `now_ms` (never backwards) and hands over what is due, but stops after about
 * `refs_max` references; the next call goes on. Returns the number of references handed over. While
 * it is behind, an entry's deadline must be compared with the owner's clock, which is ahead of the
 * wheel's. */
size_t wheel_advance(struct wheel *wheel, int64_t now_ms, wheel_visit_fn visit, void *context,
                     size_t refs_max);

/* Something is due that wheel_advance, having used up its allowance, has not handed over. */
bool wheel_is_behind(const struct wheel *wheel);

/* The earliest time at which wheel_advance has something to hand over (to expire or to refile);
 * INT64_MAX when the wheel is empty. O(levels). */
int64_t wheel_next_ms(const struct wheel *wheel);

/* A reference in the wheel has just become stale: its key is gone or was filed elsewhere. */
void wheel_note_stale(struct wheel *wheel);

/* More than half of the references, and some 1,000, are stale. */
bool wheel_wants_compaction(const struct wheel *wheel);

typedef bool (*wheel_keep_fn)(void *context, uint32_t ref, uint16_t place);

/* Looks at about `refs_max` references and drops those for which `keep` says no; `keep` must not
 * use the wheel. Returns true when a whole round is finished; the next call begins another.
 * Everything else may happen between steps. */
bool wheel_compact_step(struct wheel *wheel, wheel_keep_fn keep, void *context, size_t refs_max);

static inline size_t wheel_count(const struct wheel *wheel)
{
    return wheel->count;
}

/* Bytes on the heap. */
static inline size_t wheel_memory(const struct wheel *wheel)
{
    return wheel->memory;
}

/* Asserts the invariants listed in wheel.c. O(n). */
void wheel_check(const struct wheel *wheel);
