/* Lists: short ones inside their block, long ones as chunks behind a pointer.
 *
 *     PACKED    | header | key | count u16 | used u16 | entry entry entry | free |
 *     CHUNKED   | header | key | pointer | --> body: length, directory --> chunk, chunk, ...
 *
 * A list begins PACKED and becomes CHUNKED when its entries take more than LIST_EMBED_MAX bytes,
 * when one of them is a blob, or when there are more than a chunk may have; it goes back when it
 * has become so short that the change pays. The entries are described in list_entry.c, chunks in
 * list_chunk.c. The payload of a PACKED list fills its block's size class, so that most pushes only
 * write.
 *
 * Costs. Push and pop at either end: a copy of the element and two stores. The PACKED form moves up
 * to LIST_EMBED_MAX bytes for one at the head. Per element 2 bytes, and per chunk of 8 KiB 12 bytes
 * of header and 16 in the directory.
 *
 * Invariants:
 *   1. A PACKED list has no blobs and at most LIST_EMBED_MAX bytes of entries.
 *   2. A stored list has an element.
 *   3. Those of the entries and of the chunks.
 *
 * Rejected: 512 bytes and more inside the block. Redis packs 8 KiB in one piece, and an LPUSH to it
 * moves them all; here the size only decides where the bytes live, and what OBJECT ENCODING calls
 * "listpack" is any list of one chunk. */
#include "types/list/list.h"

#include "base/assert.h"
#include "base/fiber.h"
#include "base/mem.h"
#include "types/list/list_internal.h"

enum { LIST_UNPACK_MAX = 8 * 1024 }; /* More bytes than this are a "quicklist". */

static bool is_chunked(const struct value *value)
{
    return value_encoding(value) == LIST_CHUNKED;
}

bool list_is_chunked(const struct value *value)
{
    return is_chunked(value);
}

struct value *list_try_new(struct slice key, bool has_expire)
{
    struct value *value = value_try_new(&(struct value_form){.kind = VALUE_LIST,
                                                             .encoding = LIST_PACKED,
                                                             .has_expire = has_expire,
                                                             .key = key,
                                                             .payload_len = PACKED_HEAD_LEN});
    if (value != NULL) {
        packed_set(value, 0, 0);
    }
    return value;
}

size_t list_len(const struct value *value)
{
    return is_chunked(value) ? list_body(value)->len : packed_count(value);
}

/* ---- From one encoding to the other ---- */

static bool list_try_into_chunks(struct place *place, const struct chunk_limits *limits)
{
    struct list_body *body = body_try_new();
    if (body == NULL) {
        return false;
    }
    const char *at = packed_bytes_const(place->value);
    const char *end = at + packed_used(place->value);
    while (at < end) {
        uint32_t len = entry_len_at(at);
        uint32_t back_len = (unsigned char)at[len - 1] == ENTRY_BACK_LONG ? 3 : 1;
        struct list_entry entry = {.body = slice_of(at, len - back_len), .len = len};
        if (!body_try_push(body, LIST_TAIL, &entry, limits)) {
            body_free_now(body);
            return false;
        }
        at += len;
    }
    struct value_change change = {.payload_len = 8, .has_expire = value_has_expire(place->value)};
    if (!value_try_reshape(place, change)) {
        body_free_now(body);
        return false;
    }
    value_set_tag(place->value, VALUE_LIST, LIST_CHUNKED);
    value_set_word(place->value, (uint64_t)(uintptr_t)body);
    return true;
}

/* Gives a PACKED list's payload room for `used` bytes of entries and what its block has beyond. */
static bool packed_try_reserve(struct place *place, uint32_t used)
{
    struct value *value = place->value;
    size_t wanted = PACKED_HEAD_LEN + used;
    if (wanted <= value->len) {
        return true;
    }
    size_t fixed = value_block_len(value) - value->len;
    size_t payload_len = mem_good_size(fixed + wanted) - fixed;
    payload_len = payload_len < VALUE_INLINE_MAX ? payload_len : wanted;
    return value_try_reshape(place, (struct value_change){.payload_len = payload_len,
                                                          .has_expire = value_has_expire(value)});
}

/* Back into the block, when little is left of a list in chunks. Without memory it stays. */
static void list_settle(struct place *place)
{
    struct list_body *body = list_body(place->value);
    if (body->count == 0) {
        value_set_tag(place->value, VALUE_LIST, LIST_PACKED);
        packed_set(place->value, 0, 0);
        body_free_now(body);
        return;
    }
    if (body->count != 1 || body->blob_count > 0) {
        return;
    }
    const struct list_ref *ref = body_ref(body, 0);
    uint32_t used = chunk_used(ref->chunk);
    if (used > LIST_EMBED_MAX / 4) {
        return;
    }
    struct value_change change = {.payload_len = PACKED_HEAD_LEN + used,
                                  .has_expire = value_has_expire(place->value)};
    if (!value_try_reshape(place, change)) {
        return;
    }
    value_set_tag(place->value, VALUE_LIST, LIST_PACKED);
    packed_set(place->value, ref->count, used);
    memcpy(packed_bytes(place->value), ref->chunk->bytes + ref->chunk->first, used);
    body_free_now(body);
}

/* ---- The packed form ---- */

/* Replaces `old_len` bytes of entries at `at` by an entry (NULL: by nothing); there is room. */
static void packed_splice(struct value *value, uint32_t at, uint32_t old_len,
                          const struct list_entry *entry)
{
    uint32_t used = packed_used(value);
    uint32_t new_len = entry != NULL ? entry->len : 0;
    char *bytes = packed_bytes(value);
    memmove(bytes + at + new_len, bytes + at + old_len, used - at - old_len);
    if (entry != NULL) {
        entry_write(bytes + at, entry);
    }
    uint32_t count = packed_count(value) + (entry != NULL) - (old_len > 0);
    packed_set(value, count, used + new_len - old_len);
}

static uint32_t packed_seek(const struct value *value, size_t index)
{
    return entries_seek(packed_bytes_const(value), 0, packed_used(value), packed_count(value),
                        (uint32_t)index);
}

/* Whether a PACKED list may hold the entry too, in place of `old_len` bytes; then there is room.
 * Otherwise it has become CHUNKED. False: no memory. */
static bool packed_try_admit(struct place *place, const struct list_entry *entry, uint32_t old_len,
                             const struct chunk_limits *limits)
{
    uint32_t used = packed_used(place->value) + entry->len - old_len;
    uint32_t count = packed_count(place->value) + (old_len == 0);
    if (entry->blob != NULL || used > LIST_EMBED_MAX || count > limits->count_max) {
        return list_try_into_chunks(place, limits);
    }
    return packed_try_reserve(place, used);
}

/* ---- Push and pop ---- */

static bool chunked_try_push(struct place *place, enum list_end end, const struct list_entry *entry,
                             const struct chunk_limits *limits)
{
    bool is_done = body_try_push(list_body(place->value), end, entry, limits);
    if (!is_done && list_body(place->value)->count == 0) {
        list_settle(place); /* It was empty, and became CHUNKED in vain. */
    }
    return is_done;
}

static bool list_try_push_entry(struct place *place, enum list_end end,
                                const struct list_entry *entry, const struct type_limits *limits)
{
    struct chunk_limits chunk_limits = chunk_limits_of(limits);
    if (!is_chunked(place->value)) {
        if (!packed_try_admit(place, entry, 0, &chunk_limits)) {
            return false;
        }
        if (!is_chunked(place->value)) {
            packed_splice(place->value, end == LIST_HEAD ? 0 : packed_used(place->value), 0, entry);
            return true;
        }
    }
    return chunked_try_push(place, end, entry, &chunk_limits);
}

/* Drops the blob that was made for an entry which found no place. */
static bool entry_settle(const struct list_entry *entry, bool is_placed)
{
    if (!is_placed && entry->is_copy) {
        blob_drop(entry->blob);
    }
    return is_placed;
}

bool list_try_push(struct place *place, enum list_end end, struct slice text,
                   struct blob *take_blob, const struct type_limits *limits)
{
    struct list_entry entry;
    if (!entry_prepare(&entry, text, take_blob)) {
        return false;
    }
    return entry_settle(&entry, list_try_push_entry(place, end, &entry, limits));
}

struct list_item list_get(const struct value *value, size_t index)
{
    struct list_item item;
    if (!is_chunked(value)) {
        entry_read(packed_bytes_const(value) + packed_seek(value, index), &item);
        return item;
    }
    const struct list_body *body = list_body(value);
    struct body_spot spot = body_seek(body, index);
    entry_read(body_ref(body, spot.chunk)->chunk->bytes + spot.at, &item);
    return item;
}

static void packed_drop(struct value *value, enum list_end end, uint32_t count)
{
    uint32_t left = packed_count(value) - count;
    uint32_t used = packed_used(value);
    if (end == LIST_TAIL) {
        packed_set(value, left, packed_seek(value, left));
        return;
    }
    uint32_t at = packed_seek(value, count);
    memmove(packed_bytes(value), packed_bytes(value) + at, used - at);
    packed_set(value, left, used - at);
}

void list_drop(struct place *place, enum list_end end, size_t count, struct work_queue *work)
{
    ASSERT(count <= list_len(place->value));
    if (!is_chunked(place->value)) {
        packed_drop(place->value, end, (uint32_t)count);
        return;
    }
    body_drop(list_body(place->value), end, count, work);
    list_settle(place);
}

/* ---- The middle ---- */

static bool list_try_set_entry(struct place *place, size_t index, const struct list_entry *entry,
                               const struct chunk_limits *limits)
{
    if (!is_chunked(place->value)) {
        uint32_t at = packed_seek(place->value, index);
        uint32_t old_len = entry_len_at(packed_bytes_const(place->value) + at);
        if (!packed_try_admit(place, entry, old_len, limits)) {
            return false;
        }
        if (!is_chunked(place->value)) {
            packed_splice(place->value, at, old_len, entry);
            return true;
        }
    }
    struct list_body *body = list_body(place->value);
    if (body_replace(body, index, entry)) {
        return true;
    }
    if (!body_try_insert(body, index, entry, limits)) {
        return false;
    }
    body_delete(body, index + 1);
    return true;
}

bool list_try_set(struct place *place, size_t index, struct slice text, struct blob *take_blob,
                  const struct type_limits *limits)
{
    struct chunk_limits chunk_limits = chunk_limits_of(limits);
    struct list_entry entry;
    if (!entry_prepare(&entry, text, take_blob)) {
        return false;
    }
    return entry_settle(&entry, list_try_set_entry(place, index, &entry, &chunk_limits));
}

static bool list_try_insert_entry(struct place *place, size_t index, const struct list_entry *entry,
                                  const struct chunk_limits *limits)
{
    if (!is_chunked(place->value)) {
        uint32_t at = packed_seek(place->value, index);
        if (!packed_try_admit(place, entry, 0, limits)) {
            return false;
        }
        if (!is_chunked(place->value)) {
            packed_splice(place->value, at, 0, entry);
            return true;
        }
    }
    struct list_body *body = list_body(place->value);
    if (index == body->len) {
        return chunked_try_push(place, LIST_TAIL, entry, limits);
    }
    return body_try_insert(body, index, entry, limits);
}

bool list_try_insert(struct place *place, size_t index, struct slice text, struct blob *take_blob,
                     const struct type_limits *limits)
{
    struct chunk_limits chunk_limits = chunk_limits_of(limits);
    struct list_entry entry;
    if (!entry_prepare(&entry, text, take_blob)) {
        return false;
    }
    return entry_settle(&entry, list_try_insert_entry(place, index, &entry, &chunk_limits));
}

static size_t packed_remove_equal(struct value *value, enum list_end from,
                                  const struct list_needle *needle, size_t max)
{
    size_t removed = 0;
    uint32_t at = from == LIST_HEAD ? 0 : packed_used(value);
    while (removed < max && at != (from == LIST_HEAD ? packed_used(value) : 0)) {
        const char *bytes = packed_bytes_const(value);
        uint32_t entry_at = from == LIST_HEAD ? at : at - entry_len_before(bytes + at);
        uint32_t len = entry_len_at(bytes + entry_at);
        if (needle_is_at(needle, bytes + entry_at)) {
            packed_splice(value, entry_at, len, NULL);
            removed++;
            at = entry_at;
        } else {
            at = from == LIST_HEAD ? at + len : entry_at;
        }
    }
    return removed;
}

void list_removal_begin(struct list_removal *removal, enum list_end from, struct slice text,
                        size_t max)
{
    removal->from = from;
    removal->max = max;
    removal->removed = 0;
    removal->done = 0;
    list_needle_init(&removal->needle, text);
}

bool list_removal_step(struct value *value, struct list_removal *removal)
{
    if (is_chunked(value)) {
        return body_removal_step(list_body(value), removal);
    }
    removal->removed = packed_remove_equal(value, removal->from, &removal->needle, removal->max);
    return true;
}

void list_removal_end(struct place *place)
{
    if (is_chunked(place->value)) {
        list_settle(place);
    }
}

size_t list_remove_equal(struct place *place, enum list_end from, struct slice text, size_t max)
{
    struct list_removal removal;
    list_removal_begin(&removal, from, text, max);
    while (!list_removal_step(place->value, &removal)) {
    }
    list_removal_end(place);
    return removal.removed;
}

/* ---- Walks ---- */

void list_iterate(const struct value *value, size_t index, bool is_backward,
                  struct list_iterator *iterator)
{
    *iterator = (struct list_iterator){.value = value, .is_backward = is_backward};
    const char *bytes = NULL;
    uint32_t first = 0;
    uint32_t end = 0;
    uint32_t at = 0;
    if (!is_chunked(value)) {
        bytes = packed_bytes_const(value);
        end = packed_used(value);
        at = packed_seek(value, index);
    } else {
        const struct list_body *body = list_body(value);
        bool is_end = index == body->len;
        struct body_spot spot = {.chunk = body->count - 1};
        if (!is_end) {
            spot = body_seek(body, index);
        }
        const struct list_chunk *chunk = body_ref(body, spot.chunk)->chunk;
        bytes = chunk->bytes;
        first = chunk->first;
        end = chunk->end;
        at = is_end ? end : spot.at;
        iterator->chunk = spot.chunk;
    }
    /* Backwards the element at `index` comes first, so the walk stands behind it. */
    if (is_backward && at < end) {
        at += entry_len_at(bytes + at);
    }
    iterator->at = bytes + at;
    iterator->bound = bytes + (is_backward ? first : end);
}

/* Goes to the next chunk; false: there is none. */
static bool iterator_turn(struct list_iterator *iterator)
{
    if (!is_chunked(iterator->value)) {
        return false;
    }
    const struct list_body *body = list_body(iterator->value);
    uint32_t last = iterator->is_backward ? 0 : body->count - 1;
    if (iterator->chunk == last) {
        return false;
    }
    iterator->chunk += iterator->is_backward ? UINT32_MAX : 1;
    const struct list_chunk *chunk = body_ref(body, iterator->chunk)->chunk;
    iterator->at = chunk->bytes + (iterator->is_backward ? chunk->end : chunk->first);
    iterator->bound = chunk->bytes + (iterator->is_backward ? chunk->first : chunk->end);
    return true;
}

/* The next entry, or NULL at the end. */
static const char *iterator_step(struct list_iterator *iterator)
{
    if (iterator->at == iterator->bound && !iterator_turn(iterator)) {
        return NULL;
    }
    if (iterator->is_backward) {
        iterator->at -= entry_len_before(iterator->at);
        return iterator->at;
    }
    const char *entry = iterator->at;
    iterator->at += entry_len_at(entry);
    return entry;
}

bool list_next(struct list_iterator *iterator, struct list_item *item)
{
    const char *entry = iterator_step(iterator);
    if (entry == NULL) {
        return false;
    }
    entry_read(entry, item);
    return true;
}

bool list_next_equal(struct list_iterator *iterator, const struct list_needle *needle,
                     bool *is_equal)
{
    const char *entry = iterator_step(iterator);
    *is_equal = entry != NULL && needle_is_at(needle, entry);
    return entry != NULL;
}

/* ---- Operations ---- */

static void list_free(struct value *value, struct work_queue *work)
{
    if (is_chunked(value)) {
        body_free(list_body(value), work);
    }
    value_free_block(value);
}

static struct value *list_copy(const struct value *value, struct slice key, bool has_expire)
{
    struct value *copy = value_try_rekey(value, key, has_expire);
    if (copy == NULL || !is_chunked(value)) {
        return copy;
    }
    struct list_body *body = body_try_copy(list_body(value));
    if (body == NULL) {
        value_free_block(copy);
        return NULL;
    }
    value_set_word(copy, (uint64_t)(uintptr_t)body);
    return copy;
}

static const char *list_encoding_name(const struct value *value)
{
    if (!is_chunked(value)) {
        return "listpack";
    }
    const struct list_body *body = list_body(value);
    if (body->count != 1) {
        return "quicklist";
    }
    size_t bytes = chunk_used(body_ref(body, 0)->chunk);
    struct list_iterator iterator;
    struct list_item item;
    list_iterate(value, 0, false, &iterator);
    while (body->blob_count > 0 && list_next(&iterator, &item)) {
        bytes += item.blob != NULL ? item.len : 0;
    }
    return bytes > LIST_UNPACK_MAX ? "quicklist" : "listpack";
}

static size_t chunk_memory(const struct list_ref *ref)
{
    size_t bytes = mem_good_size(sizeof(*ref->chunk) + ref->chunk->cap);
    const char *at = ref->chunk->bytes + ref->chunk->first;
    const char *end = ref->chunk->bytes + ref->chunk->end;
    while (ref->blob_count > 0 && at < end) {
        const struct blob *blob = entry_blob(at);
        bytes += blob == NULL ? 0 : blob_memory(blob);
        at += entry_len_at(at);
    }
    return bytes;
}

/* Samples are elements; here they are read by the chunk. */
static size_t list_memory(const struct value *value, size_t samples)
{
    size_t bytes = mem_good_size(value_block_len(value));
    if (!is_chunked(value)) {
        return bytes;
    }
    const struct list_body *body = list_body(value);
    bytes += mem_good_size(sizeof(*body)) + mem_good_size(body->cap * sizeof(*body->refs));
    size_t chunk_bytes = 0;
    uint32_t read = 0;
    for (size_t left = samples; read < body->count; read++) {
        const struct list_ref *ref = body_ref(body, read);
        chunk_bytes += chunk_memory(ref);
        fiber_breathe_at(read + 1);
        if (samples != 0 && ref->count >= left) {
            read++;
            break;
        }
        left -= samples != 0 ? ref->count : 0;
    }
    return bytes + chunk_bytes * body->count / (read != 0 ? read : 1);
}

static size_t list_effort(const struct value *value)
{
    return is_chunked(value) ? list_body(value)->count + list_body(value)->blob_count : 1;
}

static void body_check(const struct list_body *body)
{
    ASSERT(body->first + body->count <= body->cap);
    uint64_t len = 0;
    uint64_t blob_count = 0;
    for (uint32_t i = 0; i < body->count; i++) {
        const struct list_ref *ref = body_ref(body, i);
        const struct list_chunk *chunk = ref->chunk;
        uint64_t blobs = 0;
        ASSERT(ref->count > 0);
        ASSERT(chunk->first < chunk->end && chunk->end <= chunk->cap);
        ASSERT(entries_check(chunk->bytes + chunk->first, chunk->bytes + chunk->end, &blobs) ==
               ref->count);
        ASSERT(blobs == ref->blob_count);
        len += ref->count;
        blob_count += blobs;
    }
    ASSERT(len == body->len);
    ASSERT(blob_count == body->blob_count);
}

static void list_check(const struct value *value)
{
    ASSERT(value_kind(value) == VALUE_LIST);
    if (is_chunked(value)) {
        ASSERT(value->len == sizeof(uint64_t));
        body_check(list_body(value));
        return;
    }
    uint64_t blob_count = 0;
    const char *at = packed_bytes_const(value);
    ASSERT(PACKED_HEAD_LEN + packed_used(value) <= value->len);
    ASSERT(packed_used(value) <= LIST_EMBED_MAX);
    ASSERT(entries_check(at, at + packed_used(value), &blob_count) == packed_count(value));
    ASSERT(blob_count == 0);
}

const struct value_ops list_ops = {.free = list_free,
                                   .copy = list_copy,
                                   .encoding_name = list_encoding_name,
                                   .memory = list_memory,
                                   .effort = list_effort,
                                   .check = list_check};
