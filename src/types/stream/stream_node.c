/* Nodes of streams: some hundred entries in one run of memory.
 *
 *     | header 72 | fields of the first entry | gap | entry | entry | ... | free |
 *                 ^ bytes[0]                        ^ first               ^ end  ^ cap
 *
 *     entry:   | head | ms | seq | [count] | item ... | back |
 *
 *   head   bytes from ms to the last item, doubled, plus 1 when the entry has fields of its own
 *   ms     milliseconds above the node's base
 *   seq    when ms is 0, sequence above the base's; else the sequence itself
 *   count  fields, when they are the entry's own: then items are field, value, field, value, ...;
 *          else the fields are the node's, and items are values alone
 *   back   bytes from head to the last item, readable from behind
 *
 * All numbers are in groups of seven bits, least significant first, the high bit set in all groups
 * but the last; `back` stands mirrored, its least significant group last. Items are those of
 * ds/pack.h, and one more: 0xef and a pointer to a blob, for texts from BLOB_LEN_MIN on.
 *
 * So the entry {temperature 21} under 1700000000123-0 in a node that began two seconds before takes
 * 6 bytes: 0x08, 0xd0 0x0f, 0x00, 0x95, 0x05.
 *
 * Costs. An entry is found by reading the heads before it, about 3 ns each. Removal at either end
 * moves nothing: the first entry's bytes become part of the gap, which the next growth closes.
 *
 * Invariants, asserted by node_check:
 *   1. Entries rise strictly, and none is below the base.
 *   2. There is at least one entry; count, blob_count and blob_len are exact.
 *   3. What stands behind an entry is its length.
 *
 * Rejected. Redis's form, a listpack: each number and text pays a byte for the way back, and
 * deleted entries stay as flags until the whole node goes. Differences from the entry before
 * instead of from the base: a byte less for some, but then removal would rewrite the next one. */
#include "base/mem.h"
#include "base/pieces.h"
#include "ds/pack.h"
#include "types/stream/stream_internal.h"

enum {
    BLOB_TAG = 0xef,
    BLOB_ITEM_LEN = 1 + sizeof(struct blob *),
    ITEM_HEAD_MAX = 5, /* Of a text: what an item is longer than its text. */
    NUMBER_LEN_MAX = 10,
    ENTRY_HEAD_MAX = 4 * NUMBER_LEN_MAX + NUMBER_LEN_MAX, /* All but the items. */
};

static_assert(sizeof(struct stream_node) == 72, "the essay draws it");

/* ---- Numbers ---- */

static inline uint32_t number_len(uint64_t number)
{
    return number < 128 ? 1 : (uint32_t)(70 - __builtin_clzll(number)) / 7;
}

static inline char *number_write(char *to, uint64_t number)
{
    while (number >= 128) {
        *to++ = (char)(number | 128);
        number >>= 7;
    }
    *to++ = (char)number;
    return to;
}

static inline const char *number_read(const char *at, uint64_t *number)
{
    uint64_t byte = (unsigned char)*at++;
    *number = byte & 127;
    for (unsigned shift = 7; byte >= 128; shift += 7) {
        byte = (unsigned char)*at++;
        *number |= (byte & 127) << shift;
    }
    return at;
}

/* Mirrored: fills the bytes up to `to + number_len(number)`. */
static inline char *back_write(char *to, uint64_t number)
{
    char *end = to + number_len(number);
    for (char *at = end - 1; at > to; at--) {
        *at = (char)(number | 128);
        number >>= 7;
    }
    *to = (char)number;
    return end;
}

/* Reads the number that ends at `end`. */
static inline uint64_t back_read(const char *end, uint32_t *len)
{
    const char *at = end;
    uint64_t number = 0;
    uint64_t byte;
    unsigned shift = 0;
    do {
        byte = (unsigned char)*--at;
        number |= (byte & 127) << shift;
        shift += 7;
    } while (byte >= 128);
    *len = (uint32_t)(end - at);
    return number;
}

/* ---- Items ---- */

const char *item_read(const char *at, struct stream_item *item)
{
    item->blob = NULL;
    if ((unsigned char)*at == BLOB_TAG) {
        memcpy(&item->blob, at + 1, sizeof(item->blob));
        item->data = item->blob->bytes;
        item->len = item->blob->len;
        item->number = 0;
        return at + BLOB_ITEM_LEN;
    }
    struct pack_item packed;
    size_t next = pack_next(slice_of(at, SIZE_MAX), 0, &packed);
    item->data = packed.data;
    item->len = packed.len;
    item->number = packed.number;
    return at + next;
}

static const char *item_skip(const char *at)
{
    if ((unsigned char)*at == BLOB_TAG) {
        return at + BLOB_ITEM_LEN;
    }
    return at + pack_skip(slice_of(at, SIZE_MAX), 0, 1);
}

/* Writes the text at `index`; NULL: no memory for a blob. */
static char *item_write(char *to, const struct stream_add *add, uint32_t index)
{
    struct slice text = add->texts[index];
    if (text.len < BLOB_LEN_MIN) {
        return to + pack_write(to, text);
    }
    struct blob *blob = add->take_blob == NULL ? NULL : add->take_blob(add->context, index);
    if (blob == NULL) {
        blob = blob_try_new(text.len);
        if (blob == NULL) {
            return NULL;
        }
        pieces_copy(blob->bytes, text.data, text.len);
        blob->len = text.len;
    }
    *to = (char)BLOB_TAG;
    memcpy(to + 1, &blob, sizeof(blob));
    return to + BLOB_ITEM_LEN;
}

/* Counts (sign 1) or gives up (-1) the blobs among `count` items. */
static void node_count_blobs(struct stream_node *node, const char *at, uint64_t count, int sign)
{
    for (; count > 0; count--) {
        struct stream_item item;
        at = item_read(at, &item);
        if (item.blob == NULL) {
            continue;
        }
        if (sign > 0) {
            node->blob_count++;
            node->blob_len += (uint64_t)item.len;
        } else {
            node->blob_count--;
            node->blob_len -= (uint64_t)item.len;
            blob_drop(item.blob);
        }
    }
}

static inline bool add_has_blob(const struct stream_add *add)
{
    for (uint32_t i = 0; i < add->count; i++) {
        if (add->texts[i].len >= BLOB_LEN_MIN) {
            return true;
        }
    }
    return false;
}

/* ---- Entries ---- */

uint32_t node_read(const struct stream_node *node, uint32_t at, struct stream_entry *entry)
{
    uint64_t head, ms, seq;
    const char *from = node->bytes + at;
    const char *body = number_read(from, &head);
    const char *items = number_read(number_read(body, &ms), &seq);
    entry->id.ms = node->base.ms + ms;
    entry->id.seq = ms == 0 ? node->base.seq + seq : seq;
    entry->fields = node->bytes;
    entry->pair_count = node->pair_count;
    if ((head & 1) != 0) {
        uint64_t count;
        items = number_read(items, &count);
        entry->fields = NULL;
        entry->pair_count = (uint32_t)count;
    }
    entry->values = items;
    entry->pairs_left = entry->pair_count;
    uint32_t len = (uint32_t)(body - from) + (uint32_t)(head >> 1);
    return at + len + number_len(len);
}

uint32_t node_before(const struct stream_node *node, uint32_t end)
{
    uint32_t back_len;
    uint64_t len = back_read(node->bytes + end, &back_len);
    return end - back_len - (uint32_t)len;
}

uint32_t node_seek(const struct stream_node *node, struct stream_id id)
{
    struct stream_entry entry;
    uint32_t at = node->first;
    while (at < node->end) {
        uint32_t next = node_read(node, at, &entry);
        if (stream_id_compare(entry.id, id) >= 0) {
            break;
        }
        at = next;
    }
    return at;
}

struct stream_id node_last_id(const struct stream_node *node)
{
    struct stream_entry entry;
    node_read(node, node_before(node, node->end), &entry);
    return entry.id;
}

/* ---- Growing ---- */

size_t node_size(const struct stream_node *node)
{
    return sizeof(*node) + node->cap;
}

static uint64_t items_bound(const struct stream_add *add)
{
    uint64_t len = ENTRY_HEAD_MAX;
    for (uint32_t i = 0; i < add->count; i++) {
        size_t text_len = add->texts[i].len;
        len += text_len < BLOB_LEN_MIN ? text_len + ITEM_HEAD_MAX : BLOB_ITEM_LEN;
    }
    return len;
}

bool node_is_full(const struct stream_node *node, const struct stream_add *add)
{
    uint64_t len = (uint64_t)(node->end - node->first) + node->fields_len + node->blob_len;
    uint64_t len_max = add->limits->stream_node_bytes;
    if (len_max == 0 || len_max > NODE_LEN_MAX) {
        len_max = NODE_LEN_MAX;
    }
    for (uint32_t i = 0; i < add->count; i++) {
        len += add->texts[i].len;
    }
    uint64_t count_max = add->limits->stream_node_entries;
    return len >= len_max || (count_max != 0 && (uint64_t)node->count + node->removed >= count_max);
}

/* Whether the entry's fields are the node's. */
static bool node_has_fields_of(const struct stream_node *node, const struct stream_add *add)
{
    if (add->count != node->pair_count * 2) {
        return false;
    }
    const char *at = node->bytes;
    for (uint32_t i = 0; i < add->count; i += 2) {
        struct slice field = add->texts[i];
        if (field.len >= BLOB_LEN_MIN || (unsigned char)*at == BLOB_TAG) {
            return false; /* Comparing such names costs more than repeating a pointer. */
        }
        size_t at_offset = 0;
        if (!pack_is(slice_of(at, SIZE_MAX), at_offset, field)) {
            return false;
        }
        at = item_skip(at);
    }
    return true;
}

/* Moves the entries down to the fields. */
static void node_close_gap(struct stream_node *node)
{
    uint32_t len = node->end - node->first;
    memmove(node->bytes + node->fields_len, node->bytes + node->first, len);
    node->first = node->fields_len;
    node->end = node->first + len;
}

static bool node_try_resize(struct stream_node **node, size_t size)
{
    size = mem_good_size(size);
    if (size == node_size(*node)) {
        return true;
    }
    struct stream_node *moved = mem_try_realloc(*node, size);
    if (moved == NULL) {
        return false;
    }
    moved->cap = (uint32_t)(size - sizeof(*moved));
    *node = moved;
    return true;
}

/* Room for `more` bytes behind the last entry. */
static bool node_try_reserve(struct stream_node **place, uint64_t more)
{
    struct stream_node *node = *place;
    if (node->cap - node->end >= more) {
        return true;
    }
    if (node->first != node->fields_len) {
        node_close_gap(node);
        if (node->cap - node->end >= more) {
            return true;
        }
    }
    size_t size = sizeof(*node) + node->end + more;
    size_t grown = node_size(node) + node_size(node) / 2;
    return node_try_resize(place, size > grown ? size : grown);
}

/* Writes the items of an entry, or with `step` 2 its fields or its values alone. NULL: no memory;
 * blobs that were taken are given back. */
static char *items_write(char *to, const struct stream_add *add, uint32_t first, uint32_t step)
{
    char *at = to;
    for (uint32_t i = first; i < add->count; i += step) {
        char *next = item_write(at, add, i);
        if (next != NULL) {
            at = next;
            continue;
        }
        for (const char *done = to; done < at;) {
            struct stream_item item;
            done = item_read(done, &item);
            if (item.blob != NULL) {
                blob_drop(item.blob);
            }
        }
        return NULL;
    }
    return at;
}

/* Writes an entry behind the last one, where there is room for it. */
static bool node_write(struct stream_node *node, const struct stream_add *add, uint64_t bound,
                       bool has_own_fields)
{
    uint64_t ms = add->id.ms - node->base.ms;
    uint64_t seq = ms == 0 ? add->id.seq - node->base.seq : add->id.seq;
    char *from = node->bytes + node->end;
    char *body = from + number_len(bound << 1);
    char *at = number_write(number_write(body, ms), seq);
    if (has_own_fields) {
        at = number_write(at, add->count / 2);
    }
    const char *items = at;
    at = items_write(at, add, has_own_fields ? 0 : 1, has_own_fields ? 1 : 2);
    if (at == NULL) {
        return false;
    }
    if (add_has_blob(add)) {
        node_count_blobs(node, items, has_own_fields ? add->count : add->count / 2, 1);
    }
    uint64_t body_len = (uint64_t)(at - body);
    char *start = number_write(from, body_len << 1 | has_own_fields);
    if (start != body) {
        memmove(start, body, body_len);
    }
    uint64_t len = (uint64_t)(start - from) + body_len;
    node->end = (uint32_t)(back_write(from + len, len) - node->bytes);
    node->last = add->id;
    node->count++;
    return true;
}

struct stream_node *node_try_new(const struct stream_add *add)
{
    uint64_t bound = items_bound(add);
    size_t size = sizeof(struct stream_node) + bound;
    if (bound > ENTRY_LEN_MAX) {
        return NULL;
    }
    size = mem_good_size(size < NODE_LEN_MIN ? NODE_LEN_MIN : size);
    struct stream_node *node = mem_try_alloc(size);
    if (node == NULL) {
        return NULL;
    }
    *node = (struct stream_node){
        .base = add->id, .cap = (uint32_t)(size - sizeof(*node)), .pair_count = add->count / 2};
    const char *end = items_write(node->bytes, add, 0, 2);
    if (end == NULL) {
        mem_free_sized(node, size);
        return NULL;
    }
    node->fields_len = (uint32_t)(end - node->bytes);
    node->first = node->end = node->fields_len;
    node_count_blobs(node, node->bytes, node->pair_count, 1);
    if (!node_write(node, add, bound, false)) {
        node_free(node);
        return NULL;
    }
    return node;
}

bool node_try_append(struct stream_node **place, const struct stream_add *add)
{
    uint64_t bound = items_bound(add);
    bool has_own_fields = !node_has_fields_of(*place, add);
    return bound <= ENTRY_LEN_MAX && node_try_reserve(place, bound) &&
           node_write(*place, add, bound, has_own_fields);
}

struct stream_node *node_shrink(struct stream_node *node)
{
    if (node->first != node->fields_len) {
        node_close_gap(node);
    }
    size_t size = sizeof(*node) + node->end;
    if (mem_good_size(size) < node_size(node)) {
        (void)node_try_resize(&node, size); /* Without memory it stays as it is. */
    }
    return node;
}

/* ---- Removal ---- */

static uint32_t entry_item_count(const struct stream_entry *entry)
{
    return entry->fields == NULL ? entry->pair_count * 2 : entry->pair_count;
}

void node_remove(struct stream_node *node, uint32_t at)
{
    struct stream_entry entry;
    uint32_t next = node_read(node, at, &entry);
    if (node->blob_count > 0) {
        node_count_blobs(node, entry.values, entry_item_count(&entry), -1);
    }
    if (at == node->first) {
        node->first = next;
    } else {
        memmove(node->bytes + at, node->bytes + next, node->end - next);
        node->end -= next - at;
    }
    node->count--;
    node->removed++;
}

void node_free(struct stream_node *node)
{
    struct stream_entry entry;
    if (node->blob_count > 0) {
        for (uint32_t at = node->first; at < node->end;) {
            at = node_read(node, at, &entry);
            node_count_blobs(node, entry.values, entry_item_count(&entry), -1);
        }
        node_count_blobs(node, node->bytes, node->pair_count, -1);
    }
    mem_free_sized(node, node_size(node));
}

/* ---- Copies, check ---- */

/* Refers once more to the blobs among `count` items. */
static void items_share(const char *at, uint64_t count)
{
    for (; count > 0; count--) {
        struct stream_item item;
        at = item_read(at, &item);
        if (item.blob != NULL) {
            blob_share(item.blob);
        }
    }
}

struct stream_node *node_try_copy(const struct stream_node *node)
{
    struct stream_entry entry;
    struct stream_node *copy = mem_try_alloc(node_size(node));
    if (copy == NULL) {
        return NULL;
    }
    memcpy(copy, node, sizeof(*node) + node->end);
    if (copy->blob_count > 0) {
        items_share(copy->bytes, copy->pair_count);
        for (uint32_t at = copy->first; at < copy->end;) {
            at = node_read(copy, at, &entry);
            items_share(entry.values, entry_item_count(&entry));
        }
    }
    return copy;
}

/* Asserts that `count` items lie between; counts blobs. */
static const char *items_check(const char *at, uint64_t count, struct stream_node *sums)
{
    for (; count > 0; count--) {
        struct stream_item item;
        const char *next = item_read(at, &item);
        if (item.blob != NULL) {
            ASSERT(item.blob->refs > 0 && item.blob->len >= BLOB_LEN_MIN);
            sums->blob_count++;
            sums->blob_len += item.len;
        } else {
            size_t packed_count;
            ASSERT(pack_check_bytes(slice_of(at, (size_t)(next - at)), &packed_count));
            ASSERT(packed_count == 1);
        }
        at = next;
    }
    return at;
}

void node_check(const struct stream_node *node)
{
    struct stream_node sums = {.count = 0};
    struct stream_id last = node->base;
    ASSERT(node->count > 0 && node->pair_count > 0);
    ASSERT(node->fields_len <= node->first && node->first < node->end && node->end <= node->cap);
    const char *fields_end = items_check(node->bytes, node->pair_count, &sums);
    ASSERT(fields_end == node->bytes + node->fields_len);
    for (uint32_t at = node->first; at < node->end; sums.count++) {
        struct stream_entry entry;
        uint32_t next = node_read(node, at, &entry);
        int order = stream_id_compare(last, entry.id);
        ASSERT(sums.count == 0 ? order <= 0 : order < 0);
        ASSERT(next <= node->end && node_before(node, next) == at && entry.pair_count > 0);
        const char *end = items_check(entry.values, entry_item_count(&entry), &sums);
        ASSERT(node->bytes + next == end + number_len((uint64_t)(end - node->bytes) - at));
        last = entry.id;
        at = next;
    }
    ASSERT(sums.count == node->count && stream_id_compare(last, node->last) <= 0);
    ASSERT(sums.blob_count == node->blob_count && sums.blob_len == node->blob_len);
}
