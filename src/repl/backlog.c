/* The backlog: one memory for the stream, however many read it.
 *
 * Redis 6 copied the stream into a circular buffer for those who come back and into a queue for
 * each replica; Redis 7 shares blocks between them, as this does. A span is a run of bytes of one
 * blob. Small commands are copied into a block, which is filled to its end; a large value is not
 * copied at all: its span refers to the blob that the key holds too.
 *
 *     spans     [ block 1, 0..16K ][ block 2, 0..300 ][ value, 0..1M ][ block 2, 300..450 ]
 *     offsets   101 ....... 16484   16485 ..... 16784   16785 .......   ........... written
 *                  ^ cursor of a slow replica                            ^ shown
 *
 * Who sends takes references to (blob, from, len), so a byte is written once, whether one replica
 * reads it or a hundred, and a slow replica costs the memory of the history that it still needs,
 * which all slow ones share.
 *
 * What is kept. At least `size` bytes before the end, and everything that an open cursor has not
 * taken. Whole spans are forgotten, from the oldest on, some with each command. A cursor that
 * should not hold the history back any more has to be closed by its owner.
 *
 * A history that is closed goes to a job, which frees some spans at a time; a gigabyte of them was
 * a step of its own.
 *
 * A unit of commands gets MULTI before its first command, but only once there is a second. So the
 * bytes of the first are in place when MULTI has to be inserted before them. They are not shown
 * yet: nobody refers to them, and they move up by 15 bytes. Where they are many, or not in the
 * block that is being filled, the span is split in two instead and one is put between.
 *
 * Costs. Appending: a copy. Showing: two comparisons. Taking: O(1). Opening a cursor: O(log spans).
 * Memory: the bytes, rounded up to blocks of 256 KiB at most, and 40 bytes for a span.
 *
 * Invariants (backlog_check):
 *   1. Spans lie together: each begins with the offset behind the last byte of the one before it,
 *      none is empty, and the last one ends with `written`.
 *   2. shown <= written. A cursor's next byte is kept, or is the one behind the end.
 *   3. cursor->span is not behind the span that holds its next byte.
 *   4. memory is the good size of each block that some span or `block` refers to, and the ring.
 *   5. Bytes of a block change only behind those that are shown.
 *
 * Rejected: a circular buffer (its bytes cannot be lent: they are overwritten); a list of spans (a
 * replica that comes back would search all of a history of a gigabyte); a queue of whole commands
 * (offsets are bytes, and a replica may have got half a command). */
#include "repl/backlog.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

#ifdef OURO_HOSTILE
enum {
    BLOCK_LEN_MIN = 256, /* Bytes of the first block, its header included. */
    BLOCK_LEN_MAX = 1024,
    LEND_LEN_MIN = 64, /* Shorter parts are copied. */
    SPANS_MIN = 2,     /* The first ring. */
    TRIM_MAX = 1,      /* Spans forgotten at a time, above those that came. */
    FREE_SPANS = 2,    /* Freed in one step. */
};
#else
enum {
    BLOCK_LEN_MIN = 16 * 1024,
    BLOCK_LEN_MAX = 256 * 1024, /* As much as one trim may free, and a replica is sent at once. */
    LEND_LEN_MIN = 16 * 1024,
    SPANS_MIN = 16,
    TRIM_MAX = 4,
    FREE_SPANS = 32, /* 8 MiB: about 50 us. */
};
#endif

/* ---- Spans ---- */

static struct backlog_span *span_at(const struct backlog *backlog, uint64_t number)
{
    DEBUG_ASSERT(number >= backlog->head && number < backlog->tail);
    return &backlog->spans[number & (backlog->cap - 1)];
}

/* Offset behind the last byte of a span. */
static int64_t span_end(const struct backlog_span *span)
{
    return span->first + (int64_t)span->len;
}

static bool grow_ring(struct backlog *backlog)
{
    uint64_t cap = backlog->cap == 0 ? SPANS_MIN : backlog->cap * 2;
    struct backlog_span *spans = mem_try_alloc(cap * sizeof *spans);
    if (spans == NULL) {
        backlog->is_broken = true;
        return false;
    }
    for (uint64_t n = backlog->head; n < backlog->tail; n++) {
        spans[n & (cap - 1)] = *span_at(backlog, n);
    }
    backlog->memory += (cap - backlog->cap) * sizeof *spans;
    mem_free(backlog->spans);
    backlog->spans = spans;
    backlog->cap = cap;
    return true;
}

/* A free place at number `at`: those from there on move up. NULL: no memory. */
static struct backlog_span *span_insert(struct backlog *backlog, uint64_t at)
{
    if (backlog->tail - backlog->head == backlog->cap && !grow_ring(backlog)) {
        return NULL;
    }
    backlog->tail++;
    for (uint64_t n = backlog->tail - 1; n > at; n--) {
        *span_at(backlog, n) = *span_at(backlog, n - 1);
    }
    return span_at(backlog, at);
}

static size_t block_memory(const struct blob *block)
{
    return mem_good_size(sizeof *block + block->cap);
}

/* Gives up one reference to a block of our own. */
static void block_drop(struct backlog *backlog, struct blob *block)
{
    if (block->refs - block->lent == 1) {
        backlog->memory -= block_memory(block);
    }
    blob_drop(block);
}

static void span_free(struct backlog *backlog, const struct backlog_span *span)
{
    if (span->is_lent) {
        blob_return(span->blob);
    } else {
        block_drop(backlog, span->blob);
    }
}

static struct blob *span_share(struct backlog *backlog, const struct backlog_span *span)
{
    return span->is_lent ? blob_lend(span->blob, backlog->lent_bytes) : blob_share(span->blob);
}

/* ---- Life ---- */

void backlog_init(struct backlog *backlog, size_t *lent_bytes)
{
    *backlog = (struct backlog){.lent_bytes = lent_bytes, .size = INT64_MAX};
    list_init(&backlog->cursors);
    list_init(&backlog->rests);
}

void backlog_set_work(struct backlog *backlog, struct work_queue *work)
{
    backlog->work = work;
}

void backlog_open(struct backlog *backlog, int64_t end)
{
    ASSERT(!backlog->is_open);
    backlog->is_open = true;
    backlog->shown = backlog->written = end;
    backlog->block_len = BLOCK_LEN_MIN;
}

/* Frees `max` spans, the oldest first, and behind the last what else there is. True: all is gone.
 */
static bool free_some(struct backlog *backlog, uint64_t max)
{
    for (; backlog->head < backlog->tail && max > 0; backlog->head++, max--) {
        span_free(backlog, span_at(backlog, backlog->head));
    }
    if (backlog->head < backlog->tail) {
        return false;
    }
    if (backlog->block != NULL) {
        block_drop(backlog, backlog->block);
        backlog->block = NULL;
    }
    backlog->memory -= backlog->cap * sizeof *backlog->spans;
    mem_free(backlog->spans);
    backlog->spans = NULL;
    backlog->cap = 0;
    DEBUG_ASSERT(backlog->memory == 0);
    return true;
}

/* A history that was closed and is being freed. */
struct backlog_rest {
    struct work_job job;
    struct list link; /* Of backlog.rests. */
    struct backlog *owner;
    struct backlog old;
};

static bool rest_free_some(struct backlog_rest *rest, uint64_t max)
{
    size_t before = rest->old.memory;
    bool is_gone = free_some(&rest->old, max);
    rest->owner->rest_memory -= before - rest->old.memory;
    if (is_gone) {
        list_remove(&rest->link);
        mem_free_sized(rest, sizeof *rest);
    }
    return is_gone;
}

static bool rest_on_step(struct work_job *job)
{
    return rest_free_some(LIST_OWNER(job, struct backlog_rest, job), FREE_SPANS);
}

/* Moves everything to a job. False: it is little, or there is no memory. */
static bool leave_rest(struct backlog *backlog)
{
    bool is_much = backlog->work != NULL && backlog->tail - backlog->head > FREE_SPANS;
    struct backlog_rest *rest = is_much ? mem_try_alloc(sizeof *rest) : NULL;
    if (rest == NULL) {
        return false;
    }
    *rest = (struct backlog_rest){.owner = backlog, .old = *backlog};
    list_init(&rest->job.link);
    list_init(&rest->link);
    list_push_back(&backlog->rests, &rest->link);
    backlog->rest_memory += backlog->memory;
    backlog->memory = 0;
    backlog->spans = NULL;
    backlog->block = NULL;
    backlog->cap = 0;
    backlog->head = backlog->tail;
    work_add(backlog->work, &rest->job, rest_on_step);
    return true;
}

void backlog_close(struct backlog *backlog)
{
    ASSERT(list_is_empty(&backlog->cursors));
    if (!leave_rest(backlog)) {
        bool is_gone = free_some(backlog, UINT64_MAX);
        ASSERT(is_gone);
    }
    backlog->written = backlog->shown;
    backlog->is_open = backlog->is_broken = false;
}

void backlog_deinit(struct backlog *backlog)
{
    backlog_close(backlog);
    while (!list_is_empty(&backlog->rests)) {
        struct backlog_rest *rest = LIST_OWNER(backlog->rests.next, struct backlog_rest, link);
        work_cancel(backlog->work, &rest->job);
        bool is_gone = rest_free_some(rest, UINT64_MAX);
        ASSERT(is_gone);
    }
}

int64_t backlog_first(const struct backlog *backlog)
{
    return backlog->head == backlog->tail ? backlog->shown + 1
                                          : span_at(backlog, backlog->head)->first;
}

/* ---- Writing ---- */

/* The next block, twice as long as the last one up to a bound. */
static bool next_block(struct backlog *backlog)
{
    struct blob *block = blob_try_new(backlog->block_len - sizeof *block);
    if (block == NULL) {
        backlog->is_broken = true;
        return false;
    }
    if (backlog->block != NULL) {
        block_drop(backlog, backlog->block);
    }
    backlog->block = block;
    backlog->memory += block_memory(block);
    backlog->block_len *= backlog->block_len < BLOCK_LEN_MAX ? 2 : 1;
    return true;
}

static size_t block_room(const struct backlog *backlog)
{
    return backlog->block == NULL ? 0 : backlog->block->cap - backlog->block->len;
}

char *backlog_room(struct backlog *backlog, size_t len)
{
    DEBUG_ASSERT(backlog->is_open && len <= BACKLOG_ROOM_MAX);
    if (__builtin_expect(backlog->is_broken, 0) ||
        (block_room(backlog) < len && !next_block(backlog))) {
        return NULL;
    }
    return backlog->block->bytes + backlog->block->len;
}

/* The last span, when the block's next bytes continue it. */
static struct backlog_span *growing_span(const struct backlog *backlog)
{
    if (backlog->head == backlog->tail) {
        return NULL;
    }
    struct backlog_span *span = span_at(backlog, backlog->tail - 1);
    bool is_growing = span->blob == backlog->block && span->from + span->len == span->blob->len;
    return is_growing ? span : NULL;
}

void backlog_advance(struct backlog *backlog, size_t len)
{
    struct backlog_span *span = growing_span(backlog);
    if (len == 0) {
        return;
    }
    if (span != NULL) {
        span->len += len;
    } else {
        span = span_insert(backlog, backlog->tail);
        if (span == NULL) {
            return;
        }
        *span = (struct backlog_span){.blob = blob_share(backlog->block),
                                      .first = backlog->written + 1,
                                      .from = backlog->block->len,
                                      .len = len};
    }
    backlog->block->len += len;
    backlog->written += (int64_t)len;
}

void backlog_append(struct backlog *backlog, struct slice bytes)
{
    while (bytes.len > 0 && !backlog->is_broken) {
        size_t room = block_room(backlog);
        if (room == 0) {
            (void)next_block(backlog); /* Without memory is_broken ends this. */
            continue;
        }
        size_t part = bytes.len < room ? bytes.len : room;
        memcpy(backlog->block->bytes + backlog->block->len, bytes.data, part);
        backlog_advance(backlog, part);
        bytes = slice_of(bytes.data + part, bytes.len - part);
    }
}

void backlog_append_blob(struct backlog *backlog, struct blob *blob, size_t from, size_t len)
{
    ASSERT(from <= blob->len && len <= blob->len - from);
    if (len < LEND_LEN_MIN) {
        backlog_append(backlog, slice_of(blob->bytes + from, len));
        return;
    }
    struct backlog_span *span = backlog->is_broken ? NULL : span_insert(backlog, backlog->tail);
    if (span == NULL) {
        return;
    }
    *span = (struct backlog_span){.blob = blob_lend(blob, backlog->lent_bytes),
                                  .first = backlog->written + 1,
                                  .from = from,
                                  .len = len,
                                  .is_lent = true};
    backlog->written += (int64_t)len;
}

/* The number of the span that holds the byte with an offset that is kept. */
static uint64_t span_find(const struct backlog *backlog, int64_t offset)
{
    uint64_t low = backlog->head, high = backlog->tail;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (span_at(backlog, middle)->first <= offset) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Cuts the span `number` in two before the byte with offset `at`; the second part is number + 1. */
static bool span_split(struct backlog *backlog, uint64_t number, int64_t at)
{
    struct backlog_span *right = span_insert(backlog, number + 1);
    if (right == NULL) {
        return false;
    }
    struct backlog_span *left = span_at(backlog, number);
    size_t left_len = (size_t)(at - left->first);
    *right = *left;
    right->blob = span_share(backlog, left);
    right->first = at;
    right->from += left_len;
    right->len -= left_len;
    left->len = left_len;
    return true;
}

/* Puts a span of its own before the byte with offset `at`. */
static void insert_span(struct backlog *backlog, int64_t at, struct slice bytes)
{
    char *room = backlog_room(backlog, bytes.len);
    uint64_t number = span_find(backlog, at);
    if (room == NULL ||
        (span_at(backlog, number)->first < at && !span_split(backlog, number++, at))) {
        return;
    }
    struct backlog_span *span = span_insert(backlog, number);
    if (span == NULL) {
        return;
    }
    struct blob *block = backlog->block;
    *span = (struct backlog_span){
        .blob = blob_share(block), .first = at, .from = block->len, .len = bytes.len};
    memcpy(room, bytes.data, bytes.len);
    block->len += bytes.len;
    for (uint64_t n = number + 1; n < backlog->tail; n++) {
        span_at(backlog, n)->first += (int64_t)bytes.len;
    }
    backlog->written += (int64_t)bytes.len;
}

void backlog_insert(struct backlog *backlog, int64_t at, struct slice bytes)
{
    if (backlog->is_broken) {
        return;
    }
    ASSERT(at > backlog->shown && at <= backlog->written && bytes.len <= BACKLOG_ROOM_MAX);
    struct backlog_span *span = growing_span(backlog);
    size_t moved = (size_t)(backlog->written - at + 1);
    if (span == NULL || span->first > at || moved > BACKLOG_ROOM_MAX ||
        block_room(backlog) < bytes.len) {
        insert_span(backlog, at, bytes);
        return;
    }
    char *place = backlog->block->bytes + backlog->block->len - moved;
    memmove(place + bytes.len, place, moved);
    memcpy(place, bytes.data, bytes.len);
    backlog_advance(backlog, bytes.len);
}

/* ---- Forgetting ---- */

/* Offset of the first byte that somebody still needs. */
static int64_t first_needed(const struct backlog *backlog)
{
    int64_t first = backlog->shown < backlog->size ? 0 : backlog->shown - backlog->size + 1;
    for (const struct list *node = backlog->cursors.next; node != &backlog->cursors;
         node = node->next) {
        const struct backlog_cursor *cursor = LIST_OWNER(node, struct backlog_cursor, link);
        first = cursor->next < first ? cursor->next : first;
    }
    return first;
}

/* Forgets at most `max` spans. True: there is more. */
static bool trim(struct backlog *backlog, uint64_t max)
{
    int64_t first = first_needed(backlog);
    for (uint64_t i = 0; backlog->head < backlog->tail; i++) {
        struct backlog_span *span = span_at(backlog, backlog->head);
        if (span_end(span) > first) {
            return false;
        }
        if (i == max) {
            return true;
        }
        span_free(backlog, span);
        backlog->head++;
    }
    return false;
}

bool backlog_trim(struct backlog *backlog)
{
    return trim(backlog, TRIM_MAX);
}

void backlog_show(struct backlog *backlog)
{
    backlog->shown = backlog->written;
    if (backlog->head == backlog->tail) {
        return;
    }
    int64_t oldest_end = span_end(span_at(backlog, backlog->head));
    if (__builtin_expect(backlog->shown - oldest_end >= backlog->size, 0)) {
        /* More than came: the rest with the next commands. */
        (void)trim(backlog, backlog->tail - backlog->trimmed_tail + TRIM_MAX);
        backlog->trimmed_tail = backlog->tail;
    }
}

void backlog_set_size(struct backlog *backlog, int64_t size)
{
    backlog->size = size;
}

/* ---- Reading ---- */

bool backlog_cursor_open(struct backlog *backlog, struct backlog_cursor *cursor, int64_t next)
{
    if (!backlog->is_open || next < backlog_first(backlog) || next > backlog->shown + 1) {
        return false;
    }
    cursor->backlog = backlog;
    cursor->next = next;
    cursor->span = backlog->head == backlog->tail ? backlog->tail : span_find(backlog, next);
    list_push_back(&backlog->cursors, &cursor->link);
    return true;
}

void backlog_cursor_close(struct backlog_cursor *cursor)
{
    if (cursor->backlog != NULL) {
        list_remove(&cursor->link);
        cursor->backlog = NULL;
    }
}

size_t backlog_cursor_take(struct backlog_cursor *cursor, size_t max, struct blob **blob,
                           size_t *from)
{
    struct backlog *backlog = cursor->backlog;
    if (cursor->next > backlog->shown || max == 0) {
        return 0;
    }
    cursor->span = cursor->span < backlog->head ? backlog->head : cursor->span;
    while (span_end(span_at(backlog, cursor->span)) <= cursor->next) {
        cursor->span++;
    }
    const struct backlog_span *span = span_at(backlog, cursor->span);
    int64_t end = span_end(span) < backlog->shown + 1 ? span_end(span) : backlog->shown + 1;
    size_t len = (size_t)(end - cursor->next);
    len = len < max ? len : max;
    *blob = span->blob;
    *from = span->from + (size_t)(cursor->next - span->first);
    cursor->next += (int64_t)len;
    return len;
}

/* ---- The check ---- */

/* Blocks are counted where they are met first. */
static bool is_met_before(const struct backlog *backlog, uint64_t number, const struct blob *blob)
{
    for (uint64_t n = backlog->head; n < number; n++) {
        if (span_at(backlog, n)->blob == blob) {
            return true;
        }
    }
    return false;
}

static void check_memory(const struct backlog *backlog)
{
    size_t memory = backlog->cap * sizeof *backlog->spans;
    for (uint64_t n = backlog->head; n < backlog->tail; n++) {
        const struct backlog_span *span = span_at(backlog, n);
        if (!span->is_lent && !is_met_before(backlog, n, span->blob)) {
            memory += block_memory(span->blob);
        }
    }
    if (backlog->block != NULL && !is_met_before(backlog, backlog->tail, backlog->block)) {
        memory += block_memory(backlog->block);
    }
    ASSERT(memory == backlog->memory);
}

void backlog_check(const struct backlog *backlog)
{
    int64_t next = backlog_first(backlog);
    ASSERT(backlog->shown <= backlog->written);
    for (uint64_t n = backlog->head; n < backlog->tail; n++) {
        const struct backlog_span *span = span_at(backlog, n);
        ASSERT(span->first == next && span->len > 0);
        ASSERT(span->from + span->len <= span->blob->len);
        next = span_end(span);
    }
    ASSERT(backlog->head == backlog->tail || next == backlog->written + 1);
    for (const struct list *node = backlog->cursors.next; node != &backlog->cursors;
         node = node->next) {
        const struct backlog_cursor *cursor = LIST_OWNER(node, struct backlog_cursor, link);
        ASSERT(cursor->backlog == backlog && cursor->next <= backlog->shown + 1);
        ASSERT(cursor->next >= backlog_first(backlog));
        ASSERT(cursor->next > backlog->shown || cursor->span <= span_find(backlog, cursor->next));
    }
    check_memory(backlog);
}
