/* Chunks of packed entries and their directory: what long lists are made of.
 *
 *     refs  |    | chunk 3 | chunk 800 | chunk 512 |      |     pointer and count each
 *                  first                            cap
 *
 *     chunk | cap | first | end |     | e | e | e | e |       |
 *                                     ^ first          ^ end
 *
 * Both are open at both ends: a push writes in front of or behind what is there, a pop moves an
 * offset. A chunk that is full on one side but has a quarter of it free on the other moves its
 * entries so that half of the free bytes are on the side that is pushed; so a queue that is pushed
 * on one side and popped on the other moves each entry a bounded number of times. Otherwise a new
 * chunk begins. The first chunk of a list grows by doubling from CHUNK_LEN_MIN.
 *
 * Costs. Push and pop O(1) amortised. An index is found by adding counts along the directory from
 * the nearer end, 16 bytes per 8 KiB of data, and then along the entries of one chunk from its
 * nearer end. An insert or a removal in the middle moves at most half a chunk, and half the
 * directory when a chunk comes or goes.
 *
 * Invariants:
 *   1. No chunk is empty; the counts of the refs add up to the body's.
 *   2. first <= end <= cap, and between them the entries fill the bytes exactly.
 *   3. The body's blob_count is the number of its entries that are blobs: 0 lets whole chunks be
 *      freed without reading them.
 *
 * Rejected: linked chunks, whose headers would all be read to find an index, each a cache miss. A
 * tree over the chunks: for a gigabyte of elements the directory is 2 MiB, and half of it is added
 * up in less time than the reply takes to be written. */
#include "types/list/list_internal.h"

#include "base/mem.h"

enum { BODY_REFS_MIN = 4, DIR_SHRINK_MIN = 64, PIECES_FREED_PER_STEP = 64 };

struct chunk_limits chunk_limits_of(const struct type_limits *limits)
{
    int64_t size = limits->list_size;
    if (size > 0) {
        return (struct chunk_limits){.len_max = LIST_COUNT_MODE_LEN,
                                     .count_max = size < UINT16_MAX ? (uint32_t)size : UINT16_MAX};
    }
    unsigned step = size >= -1 ? 0 : size <= -5 ? 4 : (unsigned)(-size - 1);
    uint32_t len_max = 4096U << step;
#ifdef OURO_HOSTILE
    len_max >>= 4;
#endif
    return (struct chunk_limits){.len_max = len_max, .count_max = UINT32_MAX};
}

/* ---- One chunk ---- */

static struct list_chunk *chunk_try_new(uint32_t len)
{
    struct list_chunk *chunk = mem_try_alloc(len);
    if (chunk != NULL) {
        chunk->cap = len - (uint32_t)sizeof(*chunk);
        chunk->first = chunk->end = 0;
    }
    return chunk;
}

static void chunk_free(struct list_chunk *chunk)
{
    mem_free_sized(chunk, sizeof(*chunk) + chunk->cap);
}

static uint32_t chunk_len(const struct list_chunk *chunk)
{
    return (uint32_t)sizeof(*chunk) + chunk->cap;
}

/* Moves the entries to `first`. */
static void chunk_slide(struct list_chunk *chunk, uint32_t first)
{
    uint32_t used = chunk_used(chunk);
    memmove(chunk->bytes + first, chunk->bytes + chunk->first, used);
    chunk->first = first;
    chunk->end = first + used;
}

/* Another chunk of `len` bytes with the same entries at `first`; NULL: no memory. */
static struct list_chunk *chunk_try_resize(struct list_chunk *chunk, uint32_t len,
                                           enum list_end gap)
{
    struct list_chunk *other = chunk_try_new(len);
    if (other == NULL) {
        return NULL;
    }
    uint32_t used = chunk_used(chunk);
    other->first = gap == LIST_HEAD ? other->cap - used : 0;
    other->end = other->first + used;
    memcpy(other->bytes + other->first, chunk->bytes + chunk->first, used);
    chunk_free(chunk);
    return other;
}

static bool chunk_fits(const struct list_chunk *chunk, enum list_end end, uint32_t len)
{
    return (end == LIST_HEAD ? chunk->first : chunk->cap - chunk->end) >= len;
}

/* Makes room for `len` bytes at an end, by growing or by sliding. */
static bool ref_make_room(struct list_ref *ref, enum list_end end, uint32_t len,
                          const struct chunk_limits *limits)
{
    struct list_chunk *chunk = ref->chunk;
    if (ref->count >= limits->count_max) {
        return false;
    }
    if (chunk_fits(chunk, end, len)) {
        return true;
    }
    uint32_t wanted = (uint32_t)sizeof(*chunk) + chunk_used(chunk) + len;
    uint32_t slack = chunk->cap - chunk_used(chunk);
    if (slack >= chunk->cap / 4 && slack / 2 >= len) {
        chunk_slide(chunk, end == LIST_HEAD ? (slack + 1) / 2 : slack - (slack + 1) / 2);
        return true;
    }
    if (wanted > limits->len_max || chunk_len(chunk) >= limits->len_max) {
        return false;
    }
    uint32_t grown = chunk_len(chunk) * 2;
    grown = grown < wanted ? wanted : grown;
    grown = grown < limits->len_max ? grown : limits->len_max;
    chunk = chunk_try_resize(chunk, grown, end);
    if (chunk == NULL) {
        return false; /* A new chunk is tried next, and fails if that does too. */
    }
    ref->chunk = chunk;
    return true;
}

/* Writes an entry at an end where there is room. */
static void ref_push(struct list_ref *ref, enum list_end end, const struct list_entry *entry)
{
    struct list_chunk *chunk = ref->chunk;
    if (end == LIST_HEAD) {
        chunk->first -= entry->len;
        entry_write(chunk->bytes + chunk->first, entry);
    } else {
        entry_write(chunk->bytes + chunk->end, entry);
        chunk->end += entry->len;
    }
    ref->count++;
    ref->blob_count += entry->blob != NULL;
}

/* ---- The directory ---- */

struct list_body *body_try_new(void)
{
    struct list_body *body = mem_try_alloc(sizeof(*body));
    struct list_ref *refs = mem_try_alloc(BODY_REFS_MIN * sizeof(*refs));
    if (body == NULL || refs == NULL) {
        mem_free(body);
        mem_free(refs);
        return NULL;
    }
    *body = (struct list_body){.refs = refs, .cap = BODY_REFS_MIN, .first = BODY_REFS_MIN / 2};
    return body;
}

/* Makes a free ref at both ends. */
static bool dir_try_reserve(struct list_body *body)
{
    if (body->first > 0 && body->first + body->count < body->cap) {
        return true;
    }
    struct list_ref *refs = body->refs;
    uint32_t cap = body->cap;
    if (body->count > cap / 2 || cap - body->count < 2) {
        cap = cap * 2;
        refs = mem_try_alloc(cap * sizeof(*refs));
        if (refs == NULL) {
            return false;
        }
    }
    uint32_t first = (cap - body->count) / 2;
    memmove(refs + first, body->refs + body->first, body->count * sizeof(*refs));
    if (refs != body->refs) {
        mem_free_sized(body->refs, body->cap * sizeof(*refs));
    }
    body->refs = refs;
    body->cap = cap;
    body->first = first;
    return true;
}

/* Gives back a directory that has become much too large. Without memory it stays. */
static void dir_shrink(struct list_body *body)
{
    uint32_t cap = body->count * 2 + BODY_REFS_MIN;
    if (body->cap < DIR_SHRINK_MIN || cap > body->cap / 4) {
        return;
    }
    struct list_ref *refs = mem_try_alloc(cap * sizeof(*refs));
    if (refs == NULL) {
        return;
    }
    uint32_t first = (cap - body->count) / 2;
    memcpy(refs + first, body->refs + body->first, body->count * sizeof(*refs));
    mem_free_sized(body->refs, body->cap * sizeof(*body->refs));
    body->refs = refs;
    body->cap = cap;
    body->first = first;
}

/* Puts a chunk before the `index`-th; moves the shorter side. */
static bool dir_try_insert(struct list_body *body, uint32_t index, struct list_ref ref)
{
    if (!dir_try_reserve(body)) {
        return false;
    }
    if (index <= body->count / 2) {
        body->first--;
        memmove(body->refs + body->first, body->refs + body->first + 1, index * sizeof(ref));
    } else {
        struct list_ref *at = body_ref(body, index);
        memmove(at + 1, at, (body->count - index) * sizeof(ref));
    }
    body->count++;
    *body_ref(body, index) = ref;
    return true;
}

static void dir_remove(struct list_body *body, uint32_t index)
{
    if (index < body->count / 2) {
        memmove(body->refs + body->first + 1, body->refs + body->first,
                index * sizeof(*body->refs));
        body->first++;
    } else {
        struct list_ref *at = body_ref(body, index);
        memmove(at, at + 1, (body->count - index - 1) * sizeof(*at));
    }
    body->count--;
}

/* A new chunk with one entry before the `index`-th. Growing lists get whole chunks, except where
 * their entries are limited or the list is new. */
static bool body_try_add_chunk(struct list_body *body, uint32_t index, enum list_end gap,
                               const struct list_entry *entry, const struct chunk_limits *limits)
{
    bool is_small = body->count == 0 || limits->count_max != UINT32_MAX;
    uint32_t least = (uint32_t)sizeof(struct list_chunk) + entry->len;
    uint32_t len = is_small ? CHUNK_LEN_MIN : limits->len_max;
    struct list_chunk *chunk = chunk_try_new(len > least ? len : least);
    if (chunk == NULL) {
        return false;
    }
    if (gap == LIST_HEAD) {
        chunk->first = chunk->end = chunk->cap;
    }
    struct list_ref ref = {.chunk = chunk};
    ref_push(&ref, gap, entry);
    if (!dir_try_insert(body, index, ref)) {
        chunk_free(chunk);
        return false;
    }
    return true;
}

static void body_count_in(struct list_body *body, const struct list_entry *entry)
{
    body->len++;
    body->blob_count += entry->blob != NULL;
}

bool body_try_push(struct list_body *body, enum list_end end, const struct list_entry *entry,
                   const struct chunk_limits *limits)
{
    uint32_t last = end == LIST_HEAD ? 0 : body->count - 1;
    if (body->count > 0) {
        body_touch(body, last);
    }
    if (body->count > 0 && ref_make_room(body_ref(body, last), end, entry->len, limits)) {
        ref_push(body_ref(body, last), end, entry);
    } else if (!body_try_add_chunk(body, end == LIST_HEAD ? 0 : body->count, end, entry, limits)) {
        return false;
    }
    body_count_in(body, entry);
    return true;
}

/* ---- Positions ---- */

/* The chunk that holds `index`, which becomes the index within it. */
static uint32_t body_find_chunk(const struct list_body *body, uint64_t *index)
{
    const struct list_ref *refs = body_ref(body, 0);
    if (*index < body->len / 2) {
        uint32_t at = 0;
        for (; *index >= refs[at].count; at++) {
            *index -= refs[at].count;
        }
        return at;
    }
    uint32_t at = body->count - 1;
    uint64_t behind = body->len - *index; /* Elements from there to the end: 1 or more. */
    for (; behind > refs[at].count; at--) {
        behind -= refs[at].count;
    }
    *index = refs[at].count - behind;
    return at;
}

struct body_spot body_seek(const struct list_body *body, uint64_t index)
{
    struct body_spot spot;
    spot.chunk = body_find_chunk(body, &index);
    spot.entry = (uint32_t)index;
    const struct list_ref *ref = body_ref(body, spot.chunk);
    spot.at =
        entries_seek(ref->chunk->bytes, ref->chunk->first, ref->chunk->end, ref->count, spot.entry);
    return spot;
}

/* ---- The middle ---- */

/* Opens (delta > 0, there is room) or closes a gap at `at`, of which the `old_len` bytes there go.
 * Returns the offset where the new bytes belong. */
static uint32_t chunk_shift(struct list_chunk *chunk, uint32_t at, uint32_t old_len,
                            uint32_t new_len)
{
    uint32_t grow = new_len > old_len ? new_len - old_len : 0;
    bool is_head_shorter = at - chunk->first < chunk->end - at - old_len;
    if (grow > 0 && (is_head_shorter ? chunk->first : chunk->cap - chunk->end) < grow) {
        is_head_shorter = !is_head_shorter;
        if ((is_head_shorter ? chunk->first : chunk->cap - chunk->end) < grow) {
            at -= chunk->first;
            chunk_slide(chunk, 0);
            is_head_shorter = false;
        }
    }
    if (is_head_shorter) {
        uint32_t first = chunk->first + old_len - new_len;
        memmove(chunk->bytes + first, chunk->bytes + chunk->first, at - chunk->first);
        at = at + old_len - new_len;
        chunk->first = first;
    } else {
        memmove(chunk->bytes + at + new_len, chunk->bytes + at + old_len,
                chunk->end - at - old_len);
        chunk->end = chunk->end + new_len - old_len;
    }
    return at;
}

/* Blobs among the entries of a part of a chunk. */
static uint32_t ref_count_blobs(const struct list_ref *ref, uint32_t at, uint32_t end)
{
    uint32_t count = 0;
    while (ref->blob_count > 0 && at < end) {
        count += entry_blob(ref->chunk->bytes + at) != NULL;
        at += entry_len_at(ref->chunk->bytes + at);
    }
    return count;
}

/* Splits a chunk before one of its entries that is not the first; both keep their free bytes at
 * the cut. */
static bool body_try_split(struct list_body *body, struct body_spot spot)
{
    struct list_ref *ref = body_ref(body, spot.chunk);
    struct list_chunk *left = ref->chunk;
    struct list_chunk *right = chunk_try_new(chunk_len(left));
    if (right == NULL) {
        return false;
    }
    uint32_t used = left->end - spot.at;
    right->end = right->cap;
    right->first = right->cap - used;
    memcpy(right->bytes + right->first, left->bytes + spot.at, used);
    struct list_ref right_ref = {.chunk = right, .count = ref->count - spot.entry};
    right_ref.blob_count = ref_count_blobs(ref, spot.at, left->end);
    if (!dir_try_insert(body, spot.chunk + 1, right_ref)) {
        chunk_free(right);
        return false;
    }
    ref = body_ref(body, spot.chunk);
    ref->count = spot.entry;
    ref->blob_count -= right_ref.blob_count;
    left->end = spot.at;
    return true;
}

/* Inserts at an offset of the chunk's bytes, if the chunk may hold the entry. */
static bool ref_try_insert(struct list_ref *ref, uint32_t at, const struct list_entry *entry,
                           const struct chunk_limits *limits)
{
    struct list_chunk *chunk = ref->chunk;
    bool has_slack = ref->count < limits->count_max && chunk->cap - chunk_used(chunk) >= entry->len;
    uint32_t skip = at - chunk->first;
    if (!has_slack && !ref_make_room(ref, LIST_TAIL, entry->len, limits)) {
        return false;
    }
    chunk = ref->chunk;
    at = chunk_shift(chunk, chunk->first + skip, 0, entry->len);
    entry_write(chunk->bytes + at, entry);
    ref->count++;
    ref->blob_count += entry->blob != NULL;
    return true;
}

bool body_try_insert(struct list_body *body, uint64_t index, const struct list_entry *entry,
                     const struct chunk_limits *limits)
{
    struct body_spot spot = body_seek(body, index);
    struct list_ref *ref = body_ref(body, spot.chunk);
    body_touch(body, spot.chunk);
    if (spot.chunk > 0) {
        body_touch(body, spot.chunk - 1);
    }
    if (ref_try_insert(ref, spot.at, entry, limits)) {
        body_count_in(body, entry);
        return true;
    }
    if (spot.entry > 0) {
        if (!body_try_split(body, spot)) {
            return false;
        }
        ref = body_ref(body, spot.chunk);
        if (ref_make_room(ref, LIST_TAIL, entry->len, limits)) {
            ref_push(ref, LIST_TAIL, entry);
        } else if (!body_try_add_chunk(body, spot.chunk + 1, LIST_TAIL, entry, limits)) {
            return false;
        }
    } else if (spot.chunk > 0 &&
               ref_make_room(body_ref(body, spot.chunk - 1), LIST_TAIL, entry->len, limits)) {
        ref_push(body_ref(body, spot.chunk - 1), LIST_TAIL, entry);
    } else if (!body_try_add_chunk(body, spot.chunk, LIST_TAIL, entry, limits)) {
        return false;
    }
    body_count_in(body, entry);
    return true;
}

/* The entry at `at` leaves: its blob does too. */
static void body_count_out(struct list_body *body, struct list_ref *ref, uint32_t at)
{
    body->len--;
    ref->count--;
    struct blob *blob = ref->blob_count == 0 ? NULL : entry_blob(ref->chunk->bytes + at);
    if (blob != NULL) {
        body->blob_count--;
        ref->blob_count--;
        blob_drop(blob);
    }
}

bool body_replace(struct list_body *body, uint64_t index, const struct list_entry *entry)
{
    struct body_spot spot = body_seek(body, index);
    struct list_ref *ref = body_ref(body, spot.chunk);
    struct list_chunk *chunk = ref->chunk;
    uint32_t old_len = entry_len_at(chunk->bytes + spot.at);
    if (entry->len > old_len && chunk->cap - chunk_used(chunk) < entry->len - old_len) {
        return false;
    }
    body_touch(body, spot.chunk);
    body_count_out(body, ref, spot.at);
    entry_write(chunk->bytes + chunk_shift(chunk, spot.at, old_len, entry->len), entry);
    ref->count++;
    ref->blob_count += entry->blob != NULL;
    body_count_in(body, entry);
    return true;
}

static void body_remove_chunk(struct list_body *body, uint32_t index)
{
    chunk_free(body_ref(body, index)->chunk);
    dir_remove(body, index);
}

/* Moves the entries of the chunk at `index` + 1 into the one at `index`, where they fit. */
static void body_merge(struct list_body *body, uint32_t index)
{
    struct list_ref *left = body_ref(body, index);
    const struct list_ref *right = left + 1;
    body_touch(body, index);
    body_touch(body, index + 1);
    uint32_t used = chunk_used(right->chunk);
    if (!chunk_fits(left->chunk, LIST_TAIL, used)) {
        chunk_slide(left->chunk, 0);
    }
    memcpy(left->chunk->bytes + left->chunk->end, right->chunk->bytes + right->chunk->first, used);
    left->chunk->end += used;
    left->count += right->count;
    left->blob_count += right->blob_count;
    body_remove_chunk(body, index + 1);
}

static bool body_can_merge(const struct list_body *body, uint32_t index)
{
    if (index + 1 >= body->count) {
        return false;
    }
    const struct list_chunk *left = body_ref(body, index)->chunk;
    const struct list_chunk *right = body_ref(body, index + 1)->chunk;
    return chunk_used(left) + chunk_used(right) <= left->cap / 2;
}

void body_tidy(struct list_body *body, uint32_t index)
{
    if (body_ref(body, index)->count == 0) {
        body_remove_chunk(body, index);
        return;
    }
    if (index > 0 && body_can_merge(body, index - 1)) {
        body_merge(body, --index);
    } else if (body_can_merge(body, index)) {
        body_merge(body, index);
    }
    struct list_ref *ref = body_ref(body, index);
    if (chunk_len(ref->chunk) > CHUNK_LEN_MIN && chunk_used(ref->chunk) < ref->chunk->cap / 8) {
        struct list_chunk *chunk =
            chunk_try_resize(ref->chunk, chunk_len(ref->chunk) / 2, LIST_TAIL);
        ref->chunk = chunk != NULL ? chunk : ref->chunk;
    }
}

void body_delete(struct list_body *body, uint64_t index)
{
    struct body_spot spot = body_seek(body, index);
    struct list_ref *ref = body_ref(body, spot.chunk);
    uint32_t old_len = entry_len_at(ref->chunk->bytes + spot.at);
    body_touch(body, spot.chunk);
    body_count_out(body, ref, spot.at);
    chunk_shift(ref->chunk, spot.at, old_len, 0);
    body_tidy(body, spot.chunk);
}

/* ---- Many at once ---- */

/* Takes `count` of a chunk's entries, not all, off one of its ends. */
static void body_drop_part(struct list_body *body, uint32_t index, enum list_end end,
                           uint32_t count)
{
    struct list_ref *ref = body_ref(body, index);
    struct list_chunk *chunk = ref->chunk;
    body_touch(body, index);
    uint32_t entry = end == LIST_HEAD ? count : ref->count - count;
    uint32_t at = entries_seek(chunk->bytes, chunk->first, chunk->end, ref->count, entry);
    uint32_t from = end == LIST_HEAD ? chunk->first : at;
    uint32_t to = end == LIST_HEAD ? at : chunk->end;
    uint32_t blob_count = ref_count_blobs(ref, from, to);
    if (blob_count > 0) {
        entries_drop_blobs(chunk->bytes + from, chunk->bytes + to);
        ref->blob_count -= blob_count;
        body->blob_count -= blob_count;
    }
    if (end == LIST_HEAD) {
        chunk->first = at;
    } else {
        chunk->end = at;
    }
    ref->count -= count;
    body->len -= count;
    if (count > 1 || chunk_used(chunk) < chunk->cap / 8) {
        body_tidy(body, index);
    }
}

/* Moves the whole chunks among `count` elements at an end to a body of their own, which is freed in
 * slices when it is large. Returns how many elements they had; 0 too when there is no memory. */
static uint64_t body_detach(struct list_body *body, enum list_end end, uint64_t count,
                            struct work_queue *work)
{
    struct list_body gone = {.len = 0};
    for (; gone.count < body->count; gone.count++) {
        uint32_t here = end == LIST_HEAD ? gone.count : body->count - 1 - gone.count;
        const struct list_ref *ref = body_ref(body, here);
        if (gone.len + ref->count > count) {
            break;
        }
        gone.len += ref->count;
        gone.blob_count += ref->blob_count;
    }
    if (gone.count + gone.blob_count <= LIST_FREE_DIRECT_MAX) {
        return 0;
    }
    gone.cap = gone.count;
    gone.refs = mem_try_alloc(gone.cap * sizeof(*gone.refs));
    struct list_body *take_gone = mem_try_alloc(sizeof(gone));
    if (take_gone == NULL || gone.refs == NULL) {
        mem_free(take_gone);
        mem_free(gone.refs);
        return 0;
    }
    uint32_t from = end == LIST_HEAD ? 0 : body->count - gone.count;
    memcpy(gone.refs, body_ref(body, from), gone.count * sizeof(*gone.refs));
    *take_gone = gone;
    take_gone->picture = body->picture;
    body->first += end == LIST_HEAD ? gone.count : 0;
    body->count -= gone.count;
    body->len -= gone.len;
    body->blob_count -= gone.blob_count;
    body_free(take_gone, work);
    return gone.len;
}

static void ref_free(struct list_ref *ref)
{
    if (ref->blob_count > 0) {
        entries_drop_blobs(ref->chunk->bytes + ref->chunk->first,
                           ref->chunk->bytes + ref->chunk->end);
    }
    chunk_free(ref->chunk);
}

void body_drop(struct list_body *body, enum list_end end, uint64_t count, struct work_queue *work)
{
    if (count > 1 && work != NULL) {
        count -= body_detach(body, end, count, work);
    }
    while (count > 0) {
        uint32_t index = end == LIST_HEAD ? 0 : body->count - 1;
        struct list_ref *ref = body_ref(body, index);
        if (ref->count > count) {
            body_drop_part(body, index, end, (uint32_t)count);
            break;
        }
        count -= ref->count;
        body->len -= ref->count;
        body->blob_count -= ref->blob_count;
        body_touch(body, index);
        ref_free(ref);
        dir_remove(body, index);
    }
    dir_shrink(body);
}

/* Removes up to `max` equal entries of a chunk, from its head on: the others move up behind those
 * that stay, each at most once. Returns how many went. */
static uint64_t ref_remove_forward(struct list_body *body, struct list_ref *ref,
                                   const struct list_needle *needle, uint64_t max)
{
    struct list_chunk *chunk = ref->chunk;
    uint64_t removed = 0;
    uint32_t at = chunk->first;
    uint32_t to = at;
    while (removed < max && at < chunk->end) {
        uint32_t len = entry_len_at(chunk->bytes + at);
        if (needle_is_at(needle, chunk->bytes + at)) {
            body_count_out(body, ref, at);
            removed++;
        } else {
            memmove(chunk->bytes + to, chunk->bytes + at, len);
            to += len;
        }
        at += len;
    }
    memmove(chunk->bytes + to, chunk->bytes + at, chunk->end - at);
    chunk->end = to + (chunk->end - at);
    return removed;
}

/* The same from its tail on. */
static uint64_t ref_remove_backward(struct list_body *body, struct list_ref *ref,
                                    const struct list_needle *needle, uint64_t max)
{
    struct list_chunk *chunk = ref->chunk;
    uint64_t removed = 0;
    uint32_t at = chunk->end;
    uint32_t to = at;
    while (removed < max && at > chunk->first) {
        uint32_t len = entry_len_before(chunk->bytes + at);
        at -= len;
        if (needle_is_at(needle, chunk->bytes + at)) {
            body_count_out(body, ref, at);
            removed++;
        } else {
            to -= len;
            memmove(chunk->bytes + to, chunk->bytes + at, len);
        }
    }
    uint32_t rest = at - chunk->first;
    memmove(chunk->bytes + to - rest, chunk->bytes + chunk->first, rest);
    chunk->first = to - rest;
    return removed;
}

static bool chunk_has_equal(const struct list_chunk *chunk, const struct list_needle *needle)
{
    for (uint32_t at = chunk->first; at < chunk->end;) {
        if (needle_is_at(needle, chunk->bytes + at)) {
            return true;
        }
        at += entry_len_at(chunk->bytes + at);
    }
    return false;
}

/* Merges a chunk that has lost entries with the one that was looked at before it. */
static void removal_tidy(struct list_body *body, struct list_removal *removal, uint32_t index)
{
    if (body_ref(body, index)->count == 0) {
        body_remove_chunk(body, index);
        removal->done--;
    } else if (removal->from == LIST_HEAD && index > 0 && body_can_merge(body, index - 1)) {
        body_merge(body, index - 1);
        removal->done--;
    } else if (removal->from == LIST_TAIL && body_can_merge(body, index)) {
        body_merge(body, index);
        removal->done--;
    }
}

bool body_removal_step(struct list_body *body, struct list_removal *removal)
{
    uint64_t left = removal->max - removal->removed;
    bool is_forward = removal->from == LIST_HEAD;
    if (left == 0 || removal->done == body->count) {
        return true;
    }
    uint32_t index = is_forward ? removal->done : body->count - 1 - removal->done;
    removal->done++;
    struct list_ref *ref = body_ref(body, index);
    if (chunk_has_equal(ref->chunk, &removal->needle)) {
        body_touch(body, index);
        removal->removed += is_forward ? ref_remove_forward(body, ref, &removal->needle, left)
                                       : ref_remove_backward(body, ref, &removal->needle, left);
        removal_tidy(body, removal, index);
    }
    return false;
}

/* ---- The end ---- */

void body_free_now(struct list_body *body)
{
    list_picture_let_go(body);
    for (uint32_t i = 0; i < body->count; i++) {
        ref_free(body_ref(body, i));
    }
    mem_free_sized(body->refs, body->cap * sizeof(*body->refs));
    mem_free_sized(body, sizeof(*body));
}

/* A body on its way to be freed. */
struct body_job {
    struct work_job job;
    struct list_body *body;
};

static bool body_job_on_step(struct work_job *work_job)
{
    struct body_job *job = LIST_OWNER(work_job, struct body_job, job);
    struct list_body *body = job->body;
    uint32_t pieces = 0;
    while (pieces < PIECES_FREED_PER_STEP && body->count > 0) {
        body->count--;
        struct list_ref *ref = body_ref(body, body->count);
        pieces += 1 + ref->blob_count;
        ref_free(ref);
    }
    if (body->count > 0) {
        return false;
    }
    body_free_now(body);
    mem_free_sized(job, sizeof(*job));
    return true;
}

/* The picture reads the chunks where they are; they are freed when it has ended. */
static void body_park(struct list_body *body)
{
    struct list_picture *picture = body->picture;
    struct body_job *job = mem_alloc(sizeof(*job));
    *job = (struct body_job){.body = body};
    list_init(&job->job.link);
    work_park(&picture->parked, &job->job, body_job_on_step);
    if (picture->body == body) {
        picture->body = NULL;
    }
    body->picture = NULL;
}

void body_free(struct list_body *body, struct work_queue *work)
{
    uint64_t effort = body->count + body->blob_count;
    struct body_job *job = NULL;
    if (body->picture != NULL) {
        body_park(body);
        return;
    }
    if (work != NULL && effort > LIST_FREE_DIRECT_MAX) {
        job = mem_try_alloc(sizeof(*job));
    }
    if (job == NULL) {
        body_free_now(body);
        return;
    }
    *job = (struct body_job){.body = body};
    list_init(&job->job.link);
    work_add(work, &job->job, body_job_on_step);
}

static void ref_share_blobs(const struct list_ref *ref)
{
    const struct list_chunk *chunk = ref->chunk;
    for (uint32_t at = chunk->first; ref->blob_count > 0 && at < chunk->end;) {
        struct blob *blob = entry_blob(chunk->bytes + at);
        at += entry_len_at(chunk->bytes + at);
        if (blob != NULL) {
            blob_share(blob);
        }
    }
}

struct list_body *body_try_copy(const struct list_body *body)
{
    struct list_body *copy = mem_try_alloc(sizeof(*copy));
    struct list_ref *refs = mem_try_alloc((size_t)(body->count + 2) * sizeof(*refs));
    if (copy == NULL || refs == NULL) {
        mem_free(copy);
        mem_free(refs);
        return NULL;
    }
    *copy = (struct list_body){.refs = refs, .cap = body->count + 2, .first = 1};
    for (; copy->count < body->count; copy->count++) {
        const struct list_ref *from = body_ref(body, copy->count);
        struct list_chunk *chunk = mem_try_alloc(chunk_len(from->chunk));
        if (chunk == NULL) {
            body_free_now(copy);
            return NULL;
        }
        memcpy(chunk, from->chunk, sizeof(*chunk));
        memcpy(chunk->bytes + chunk->first, from->chunk->bytes + chunk->first, chunk_used(chunk));
        *body_ref(copy, copy->count) = *from;
        body_ref(copy, copy->count)->chunk = chunk;
        ref_share_blobs(body_ref(copy, copy->count));
    }
    copy->len = body->len;
    copy->blob_count = body->blob_count;
    return copy;
}
