/* A hierarchical timer wheel of 32-bit references.
 *
 * Time in milliseconds is read as 8 digits of 6 bits. A reference lies at the level of the highest
 * digit in which its deadline differs from the wheel's time, in the slot of the deadline's digit
 * there:
 *
 *     level 7     ...      level 2         level 1         level 0
 *     8,900 years          4 minutes       4 seconds       64 ms       (the whole level spans)
 *     |..X.....|           |.....X..|      |...X....|      |.X..X...|
 *         |
 *         +--> chunk (room) -> chunk (full) -> chunk (full)
 *
 *     chunk: | next 8 | count 2 | cap 2 | ref 4 * cap |
 *
 * When time reaches the first millisecond of a slot, its references are handed to the owner. At
 * level 0 they are due; at a higher level the owner adds them again and they fall to a lower one:
 * at most 7 times in a reference's life, once per factor of 64 in its time to live. The wheel
 * stores no deadline; the owner's entry has it.
 *
 * Costs. add: O(1). advance: O(1) per reference moved plus O(levels) per occupied slot; time may
 * jump over any number of empty slots at once. next: O(levels). Memory: chunks of 32 bytes (5
 * references), doubling to 512 (125), so 4.1 bytes per reference when there are many; 512 bytes per
 * level in use.
 *
 * Stale references (their key was deleted or filed elsewhere) stay until their slot is due or, when
 * they outnumber the living, until a compaction: it takes one slot's chunks at a time onto `sweep`
 * and puts back what is kept.
 *
 * Invariants, asserted by wheel_check:
 *   1. Every used slot of level L has an index above digit L of now_ms. So the first used slot of
 *      the lowest used level is the earliest, two slots never begin at the same time, and an add
 *      never goes to the slot being drained.
 *   2. A bit in `occupied` is set exactly if the slot has a chunk, or if `sweep` holds chunks of
 * it.
 *   3. Chunks are not empty; only the first of a list has room.
 *   4. now_ms <= target_ms < WHEEL_MS_MAX; `count` and `memory` are exact; stale <= count.
 *
 * Rejected. A heap or tree of deadlines (O(log n), 16 bytes or more per key). Pointers to entries
 * (each delete and overwrite would have to find and unlink its own). Sampling, as Redis does (dead
 * keys stay in memory for long). A free list of chunks: the allocator's thread cache is one.
 *
 * Sources: Varghese and Lauck, Hashed and Hierarchical Timing Wheels (1987). */
#include "ds/wheel.h"

#include <assert.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum {
#ifdef OURO_HOSTILE
    CHUNK_BYTES_MAX = 64,
#else
    CHUNK_BYTES_MAX = 512,
#endif
    CHUNK_BYTES_MIN = 32,
    STALE_MIN = 1024, /* Fewer are not worth a compaction. */
};

struct wheel_chunk {
    struct wheel_chunk *next; /* Owned. */
    uint16_t count;           /* References held. */
    uint16_t cap;             /* References that fit. */
    uint32_t refs[];
};

static_assert(offsetof(struct wheel_chunk, refs) == 12, "the header of a chunk has 12 bytes");

/* --- Chunks ---------------------------------------------------------------------------------- */

static size_t chunk_bytes(size_t cap)
{
    return offsetof(struct wheel_chunk, refs) + cap * sizeof(uint32_t);
}

static void list_push(struct wheel *wheel, struct wheel_list *list, uint32_t ref)
{
    struct wheel_chunk *chunk = list->head;
    if (chunk == NULL || chunk->count == chunk->cap) {
        size_t bytes = chunk == NULL ? CHUNK_BYTES_MIN : 2 * chunk_bytes(chunk->cap);
        bytes = bytes < CHUNK_BYTES_MAX ? bytes : CHUNK_BYTES_MAX;
        chunk = mem_alloc(bytes);
        chunk->next = list->head;
        chunk->count = 0;
        chunk->cap = (uint16_t)((bytes - chunk_bytes(0)) / sizeof(uint32_t));
        list->head = chunk;
        wheel->memory += bytes;
    }
    chunk->refs[chunk->count++] = ref;
    wheel->count++;
}

/* Takes up to `max` references off the first chunk of a list that is not empty. */
static size_t list_take(struct wheel *wheel, struct wheel_list *list, uint32_t *out, size_t max)
{
    struct wheel_chunk *chunk = list->head;
    size_t count = chunk->count < max ? chunk->count : max;
    chunk->count = (uint16_t)(chunk->count - count);
    memcpy(out, &chunk->refs[chunk->count], count * sizeof(uint32_t));
    if (chunk->count == 0) {
        list->head = chunk->next;
        wheel->memory -= chunk_bytes(chunk->cap);
        mem_free(chunk);
    }
    wheel->count -= count;
    return count;
}

static void list_drop(struct wheel *wheel, struct wheel_list *list)
{
    uint32_t refs[WHEEL_BATCH_MAX];
    while (list->head != NULL) {
        list_take(wheel, list, refs, WHEEL_BATCH_MAX);
    }
}

/* --- Places ---------------------------------------------------------------------------------- */

static int64_t wheel_clamp(int64_t ms)
{
    return ms < 0 ? 0 : ms < WHEEL_MS_MAX ? ms : WHEEL_MS_MAX;
}

static uint32_t place_level(uint32_t place)
{
    return place / WHEEL_LEVEL_SLOTS;
}

static uint64_t place_bit(uint32_t place)
{
    return (uint64_t)1 << (place % WHEEL_LEVEL_SLOTS);
}

static struct wheel_list *place_list(struct wheel *wheel, uint32_t place)
{
    struct wheel_list **level = &wheel->levels[place_level(place)];
    if (*level == NULL) {
        *level = mem_zalloc(WHEEL_LEVEL_SLOTS * sizeof(struct wheel_list));
        wheel->memory += WHEEL_LEVEL_SLOTS * sizeof(struct wheel_list);
    }
    return &(*level)[place % WHEEL_LEVEL_SLOTS];
}

/* The first used place in order of time, or WHEEL_PLACES; and when it begins. */
static uint32_t wheel_first(const struct wheel *wheel, int64_t *begin_ms)
{
    for (uint32_t level = 0; level < WHEEL_LEVELS; level++) {
        if (wheel->occupied[level] != 0) {
            uint32_t slot = (uint32_t)__builtin_ctzll(wheel->occupied[level]);
            uint32_t shift = level * WHEEL_LEVEL_BITS;
            uint64_t above = (uint64_t)wheel->now_ms >> shift >> WHEEL_LEVEL_BITS;
            *begin_ms = (int64_t)((above << WHEEL_LEVEL_BITS | slot) << shift);
            return level * WHEEL_LEVEL_SLOTS + slot;
        }
    }
    *begin_ms = INT64_MAX;
    return WHEEL_PLACES;
}

/* --- Public ---------------------------------------------------------------------------------- */

void wheel_init(struct wheel *wheel, int64_t now_ms)
{
    *wheel = (struct wheel){.now_ms = wheel_clamp(now_ms)};
    wheel->now_ms -= wheel->now_ms == WHEEL_MS_MAX;
    wheel->target_ms = wheel->now_ms;
}

void wheel_deinit(struct wheel *wheel)
{
    list_drop(wheel, &wheel->due);
    list_drop(wheel, &wheel->due_rest);
    list_drop(wheel, &wheel->sweep);
    for (uint32_t place = 0; place < WHEEL_PLACES; place++) {
        if ((wheel->occupied[place_level(place)] & place_bit(place)) != 0) {
            list_drop(wheel, place_list(wheel, place));
        }
    }
    for (uint32_t level = 0; level < WHEEL_LEVELS; level++) {
        mem_free(wheel->levels[level]);
    }
    wheel_init(wheel, wheel->now_ms);
}

uint16_t wheel_place_of(const struct wheel *wheel, int64_t deadline_ms)
{
    int64_t deadline = wheel_clamp(deadline_ms);
    deadline = deadline > wheel->now_ms ? deadline : wheel->now_ms + 1;
    uint64_t differ = (uint64_t)(deadline ^ wheel->now_ms);
    uint32_t level = (uint32_t)(63 - __builtin_clzll(differ)) / WHEEL_LEVEL_BITS;
    uint32_t slot = (uint32_t)(deadline >> (level * WHEEL_LEVEL_BITS)) % WHEEL_LEVEL_SLOTS;
    return (uint16_t)(level * WHEEL_LEVEL_SLOTS + slot);
}

uint16_t wheel_add(struct wheel *wheel, uint32_t ref, int64_t deadline_ms)
{
    uint16_t place = wheel_place_of(wheel, deadline_ms);
    list_push(wheel, place_list(wheel, place), ref);
    wheel->occupied[place_level(place)] |= place_bit(place);
    return place;
}

int64_t wheel_next_ms(const struct wheel *wheel)
{
    int64_t begin_ms;
    wheel_first(wheel, &begin_ms);
    return wheel->due.head != NULL ? wheel->now_ms : begin_ms;
}

bool wheel_is_behind(const struct wheel *wheel)
{
    return wheel_next_ms(wheel) <= wheel->target_ms;
}

/* `due_rest` is what a compaction had in hand of the slot that is due; it comes second. */
static void due_refill(struct wheel *wheel)
{
    if (wheel->due.head == NULL) {
        wheel->due = wheel->due_rest;
        wheel->due_rest.head = NULL;
    }
}

/* Moves time on to the next used slot and its references to `due`; without one up to target_ms, to
 * target_ms. */
static void wheel_turn(struct wheel *wheel)
{
    int64_t begin_ms;
    uint32_t place = wheel_first(wheel, &begin_ms);
    if (begin_ms > wheel->target_ms) {
        wheel->now_ms = wheel->target_ms;
        return;
    }
    wheel->now_ms = begin_ms;
    wheel->occupied[place_level(place)] &= ~place_bit(place);
    wheel->due_place = (uint16_t)place;
    struct wheel_list *list = place_list(wheel, place);
    wheel->due = *list;
    list->head = NULL;
    if (wheel->sweep.head != NULL && wheel->sweep_place == place) {
        wheel->due_rest = wheel->sweep;
        wheel->sweep.head = NULL;
    }
    due_refill(wheel);
}

size_t wheel_advance(struct wheel *wheel, int64_t now_ms, wheel_visit_fn visit, void *context,
                     size_t refs_max)
{
    int64_t target_ms = wheel_clamp(now_ms);
    target_ms -= target_ms == WHEEL_MS_MAX;
    wheel->target_ms = target_ms > wheel->target_ms ? target_ms : wheel->target_ms;
    size_t visited = 0;
    while (wheel->due.head != NULL || wheel->now_ms < wheel->target_ms) {
        if (wheel->due.head == NULL) {
            wheel_turn(wheel);
            continue;
        }
        if (visited >= refs_max) {
            break;
        }
        uint32_t refs[WHEEL_BATCH_MAX];
        size_t count = list_take(wheel, &wheel->due, refs, WHEEL_BATCH_MAX);
        due_refill(wheel);
        size_t stale = visit(context, refs, count, wheel->due_place);
        wheel->stale -= stale < wheel->stale ? stale : wheel->stale;
        wheel->stale = wheel->stale < wheel->count ? wheel->stale : wheel->count;
        visited += count;
    }
    return visited;
}

void wheel_note_stale(struct wheel *wheel)
{
    wheel->stale += wheel->stale < wheel->count;
    wheel->stale_during_sweep++;
}

bool wheel_wants_compaction(const struct wheel *wheel)
{
    return 2 * wheel->stale > wheel->count + STALE_MIN;
}

/* Goes on to the next place with references; false at the end of the round. */
static bool sweep_begin(struct wheel *wheel)
{
    for (; wheel->sweep_place < WHEEL_PLACES; wheel->sweep_place++) {
        uint32_t place = wheel->sweep_place;
        if ((wheel->occupied[place_level(place)] & place_bit(place)) != 0) {
            struct wheel_list *list = place_list(wheel, place);
            wheel->sweep.head = list->head;
            list->head = NULL;
            return true;
        }
    }
    return false;
}

/* Takes up to WHEEL_BATCH_MAX references from `sweep` and puts those to keep back into their slot.
 */
static size_t sweep_batch(struct wheel *wheel, wheel_keep_fn keep, void *context)
{
    uint32_t refs[WHEEL_BATCH_MAX];
    uint16_t place = wheel->sweep_place;
    size_t count = list_take(wheel, &wheel->sweep, refs, WHEEL_BATCH_MAX);
    struct wheel_list *list = place_list(wheel, place);
    for (size_t i = 0; i < count; i++) {
        if (keep(context, refs[i], place)) {
            list_push(wheel, list, refs[i]);
        } else {
            wheel->stale -= wheel->stale > 0;
        }
    }
    wheel->stale = wheel->stale < wheel->count ? wheel->stale : wheel->count;
    if (wheel->sweep.head == NULL) {
        if (list->head == NULL) {
            wheel->occupied[place_level(place)] &= ~place_bit(place);
        }
        wheel->sweep_place++;
    }
    return count;
}

bool wheel_compact_step(struct wheel *wheel, wheel_keep_fn keep, void *context, size_t refs_max)
{
    if (wheel->sweep_place == 0 && wheel->sweep.head == NULL) {
        wheel->stale_during_sweep = 0;
    }
    for (size_t looked = 0; looked < refs_max;) {
        if (wheel->sweep.head == NULL && !sweep_begin(wheel)) {
            wheel->sweep_place = 0;
            size_t noted = wheel->stale_during_sweep;
            wheel->stale = noted < wheel->stale ? noted : wheel->stale;
            return true;
        }
        looked += sweep_batch(wheel, keep, context);
    }
    return false;
}

/* --- Invariants ------------------------------------------------------------------------------ */

static void list_check(const struct wheel_list *list, struct wheel *sum)
{
    for (const struct wheel_chunk *chunk = list->head; chunk != NULL; chunk = chunk->next) {
        ASSERT(chunk->count > 0 && chunk->count <= chunk->cap);
        ASSERT(chunk == list->head || chunk->count == chunk->cap);
        sum->count += chunk->count;
        sum->memory += chunk_bytes(chunk->cap);
    }
}

static void place_check(const struct wheel *wheel, uint32_t place, struct wheel *sum)
{
    uint32_t level = place_level(place);
    uint32_t slot = place % WHEEL_LEVEL_SLOTS;
    bool is_occupied = (wheel->occupied[level] & place_bit(place)) != 0;
    bool is_swept = wheel->sweep.head != NULL && wheel->sweep_place == place;
    const struct wheel_list *lists = wheel->levels[level];
    bool has_chunks = lists != NULL && lists[slot].head != NULL;
    ASSERT(is_occupied == (has_chunks || is_swept));
    uint32_t digit = (uint32_t)(wheel->now_ms >> (level * WHEEL_LEVEL_BITS)) % WHEEL_LEVEL_SLOTS;
    ASSERT(!is_occupied || slot > digit);
    if (has_chunks) {
        list_check(&lists[slot], sum);
    }
}

void wheel_check(const struct wheel *wheel)
{
    struct wheel sum = {.count = 0};
    ASSERT(wheel->now_ms >= 0 && wheel->now_ms <= wheel->target_ms);
    ASSERT(wheel->target_ms < WHEEL_MS_MAX);
    for (uint32_t place = 0; place < WHEEL_PLACES; place++) {
        place_check(wheel, place, &sum);
    }
    for (uint32_t level = 0; level < WHEEL_LEVELS; level++) {
        if (wheel->levels[level] != NULL) {
            sum.memory += WHEEL_LEVEL_SLOTS * sizeof(struct wheel_list);
        }
    }
    list_check(&wheel->due, &sum);
    list_check(&wheel->due_rest, &sum);
    list_check(&wheel->sweep, &sum);
    ASSERT(wheel->due.head != NULL || wheel->due_rest.head == NULL);
    ASSERT(sum.count == wheel->count && sum.memory == wheel->memory);
    ASSERT(wheel->stale <= wheel->count && wheel->sweep_place <= WHEEL_PLACES);
}
