/* Sets in three forms, each inside the value's block as long as that suits it.
 *
 *     INT16..64   | header | [expire] | key | i16 i16 i16 ...            sorted, distinct
 *     PACKED      | header | [expire] | key | item item item ...         in order of addition
 *     HASHED      | header | [expire] | key | pointer |  -->  a table, see hashed.c
 *
 *     INT --(a text comes)--> PACKED --(too many, too long)--> HASHED
 *      |                                                         ^
 *      +------------------------(too many)-----------------------+
 *
 * Costs. Members of an intset take 2, 4 or 8 bytes, those of a pack their length and one byte. The
 * count follows from the length of the payload, or from a walk over a pack, at about 2 ns a member:
 * with the usual limit of 128 members that is less than what a stored count would cost in memory
 * traffic. Adding and removing move the bytes behind; the block is reallocated only where its size
 * class changes. A change of form reads every member once.
 *
 * Invariants:
 *   1. A payload inside the block is at most VALUE_INLINE_MAX bytes, whatever the limits say.
 *   2. A pack holds distinct members; an intset ascends strictly.
 *   3. A change of form that finds no memory changes nothing.
 *
 * Rejected: going back to a smaller form when members leave. Sets that shrink tend to grow again,
 * and Redis does not either. */
#include "types/set/set.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/work.h"
#include "ds/pack.h"
#include "types/set/set_internal.h"

/* ---- Change of form ---- */

/* Gives the block a payload of `len` uninitialised bytes (the old ones are of no use any more) in
 * another encoding. */
static bool set_try_form(struct place *place, enum set_encoding encoding, size_t len)
{
    struct value_change change = {.payload_len = len, .has_expire = value_has_expire(place->value)};
    if (!value_try_reshape(place, change)) {
        return false;
    }
    value_set_tag(place->value, VALUE_SET, (uint8_t)encoding);
    return true;
}

/* Any form into a table with room for `more`. */
static bool set_try_hash(struct place *place, size_t more, const struct set_rules *rules)
{
    struct set_hashed *hashed =
        set_hashed_try_new(rules->hash_seed, set_count(place->value) + more);
    if (hashed == NULL) {
        return false;
    }
    struct set_walk walk;
    struct set_item item;
    set_walk_begin(&walk, place->value);
    while (set_walk_next(&walk, &item)) {
        if (set_hashed_try_add(hashed, &item) == SET_NO_MEMORY) {
            set_hashed_free(hashed, NULL);
            return false;
        }
    }
    if (!set_try_form(place, SET_HASHED, sizeof(uint64_t))) {
        set_hashed_free(hashed, NULL);
        return false;
    }
    value_set_word(place->value, (uint64_t)(uintptr_t)hashed);
    return true;
}

/* Bytes that an intset takes as a pack. */
static size_t set_ints_pack_len(const struct intset *ints)
{
    size_t len = 0;
    for (size_t i = 0; i < ints->count; i++) {
        len += pack_size_i64(intset_get(ints, i));
    }
    return len;
}

/* An intset into a pack of `len` bytes. */
static bool set_try_pack(struct place *place, size_t len)
{
    struct intset ints = set_ints(place->value);
    char *bytes = mem_try_alloc(len);
    if (bytes == NULL) {
        return false;
    }
    char *at = bytes;
    for (size_t i = 0; i < ints.count; i++) {
        at += pack_write_i64(at, intset_get(&ints, i));
    }
    bool is_done = set_try_form(place, SET_PACKED, len);
    if (is_done) {
        memcpy(value_payload(place->value), bytes, len);
    }
    mem_free(bytes);
    return is_done;
}

/* ---- Add ---- */

static enum set_result set_try_add_hashed(struct place *place, const struct set_item *item)
{
    return set_hashed_try_add(set_hashed_of(place->value), item);
}

static enum set_result set_try_hash_and_add(struct place *place, const struct set_item *item,
                                            const struct set_rules *rules)
{
    if (!set_try_hash(place, 1, rules)) {
        return SET_NO_MEMORY;
    }
    return set_try_add_hashed(place, item);
}

/* Appends an absent member to a pack of `count`, or moves on to a table. */
static enum set_result set_try_append(struct place *place, const struct set_item *item,
                                      size_t count, const struct set_rules *rules)
{
    struct set_scratch scratch;
    struct slice text = set_item_text(item, &scratch);
    size_t old_len = place->value->len;
    if (count >= rules->limits->set_listpack_entries ||
        text.len > rules->limits->set_listpack_value || text.len > VALUE_INLINE_MAX ||
        old_len + pack_size(text) > VALUE_INLINE_MAX) {
        return set_try_hash_and_add(place, item, rules);
    }
    if (!set_try_form(place, SET_PACKED, old_len + pack_size(text))) {
        return SET_NO_MEMORY;
    }
    pack_write(value_payload(place->value) + old_len, text);
    return SET_CHANGED;
}

static enum set_result set_try_add_packed(struct place *place, const struct set_item *item,
                                          const struct set_rules *rules)
{
    struct set_scratch scratch;
    size_t count;
    struct slice text = set_item_text(item, &scratch);
    if (pack_find(set_pack(place->value), 0, text, 1, &count) != PACK_NONE) {
        return SET_UNCHANGED;
    }
    return set_try_append(place, item, count, rules);
}

static enum set_result set_try_add_int(struct place *place, int64_t number,
                                       const struct set_rules *rules)
{
    struct intset ints = set_ints(place->value);
    size_t index;
    if (intset_find(&ints, number, &index)) {
        return SET_UNCHANGED;
    }
    unsigned width = intset_width_of(number);
    width = width > ints.width ? width : ints.width;
    size_t len = (ints.count + 1) * width;
    if (ints.count >= rules->limits->set_intset_entries || len > VALUE_INLINE_MAX) {
        struct set_item item = set_item_of_i64(number);
        return set_try_hash_and_add(place, &item, rules);
    }
    if (!set_try_form(place, (enum set_encoding)value_encoding(place->value), len)) {
        return SET_NO_MEMORY;
    }
    ints.bytes = value_payload(place->value);
    if (width > ints.width) {
        intset_widen(&ints, width);
        value_set_tag(place->value, VALUE_SET, (uint8_t)set_int_encoding(width));
    }
    intset_insert(&ints, index, number);
    return SET_CHANGED;
}

/* A text comes to an intset. */
static enum set_result set_try_add_text_to_ints(struct place *place, const struct set_item *item,
                                                const struct set_rules *rules)
{
    struct intset ints = set_ints(place->value);
    size_t digits_max = 0;
    if (ints.count > 0) {
        size_t first = num_i64_text_len(intset_get(&ints, 0));
        size_t last = num_i64_text_len(intset_get(&ints, ints.count - 1));
        digits_max = first > last ? first : last;
    }
    size_t len = set_ints_pack_len(&ints);
    if (ints.count >= rules->limits->set_listpack_entries || len > VALUE_INLINE_MAX ||
        digits_max > rules->limits->set_listpack_value ||
        item->len > rules->limits->set_listpack_value) {
        return set_try_hash_and_add(place, item, rules);
    }
    if (!set_try_pack(place, len)) {
        return SET_NO_MEMORY;
    }
    return set_try_append(place, item, ints.count, rules);
}

enum set_result set_try_add(struct place *place, const struct set_item *item,
                            const struct set_rules *rules)
{
    switch ((enum set_encoding)value_encoding(place->value)) {
    case SET_HASHED:
        return set_try_add_hashed(place, item);
    case SET_PACKED:
        return set_try_add_packed(place, item, rules);
    case SET_INT16:
    case SET_INT32:
    case SET_INT64:
        break;
    }
    if (item->is_integer) {
        return set_try_add_int(place, item->number, rules);
    }
    return set_try_add_text_to_ints(place, item, rules);
}

/* ---- New ---- */

struct value *set_try_new(struct slice key, const struct set_item *first, size_t expected,
                          const struct set_rules *rules)
{
    struct value_form form = {.kind = VALUE_SET, .encoding = SET_INT16, .key = key};
    if (!first->is_integer || expected > rules->limits->set_intset_entries) {
        form.encoding = SET_PACKED;
        if (expected > rules->limits->set_listpack_entries) {
            form.encoding = SET_HASHED;
            form.payload_len = sizeof(uint64_t);
        }
    }
    struct value *value = value_try_new(&form);
    if (value == NULL || form.encoding != SET_HASHED) {
        return value;
    }
    struct set_hashed *hashed = set_hashed_try_new(rules->hash_seed, expected);
    if (hashed == NULL) {
        value_free_block(value);
        return NULL;
    }
    value_set_word(value, (uint64_t)(uintptr_t)hashed);
    return value;
}

bool set_try_expect(struct place *place, size_t more, const struct set_rules *rules)
{
    const struct value *value = place->value;
    bool is_large = set_is_ints(value) ? more > rules->limits->set_intset_entries
                                       : more > rules->limits->set_listpack_entries;
    if (value_encoding(value) == SET_HASHED || !is_large) {
        return true;
    }
    return set_try_hash(place, more, rules);
}

/* ---- Read ---- */

size_t set_count(const struct value *value)
{
    if (value_encoding(value) == SET_HASHED) {
        return table_count(&set_hashed_of(value)->table);
    }
    if (value_encoding(value) == SET_PACKED) {
        return pack_count(set_pack(value), 0);
    }
    return value->len / set_int_width(value);
}

bool set_has(const struct value *value, const struct set_item *item)
{
    if (value_encoding(value) == SET_HASHED) {
        return set_hashed_has(set_hashed_of(value), item);
    }
    if (value_encoding(value) == SET_PACKED) {
        struct set_scratch scratch;
        struct slice text = set_item_text(item, &scratch);
        return pack_find(set_pack(value), 0, text, 1, NULL) != PACK_NONE;
    }
    struct intset ints = set_ints(value);
    size_t index;
    return item->is_integer && intset_find(&ints, item->number, &index);
}

size_t set_keep(const struct value *value, struct set_item *items, size_t count, bool is_in)
{
    if (value_encoding(value) == SET_HASHED) {
        return set_hashed_keep(set_hashed_of(value), items, count, is_in);
    }
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (set_has(value, &items[i]) == is_in) {
            items[kept++] = items[i];
        }
    }
    return kept;
}

size_t set_lookup_cost(const struct value *value)
{
    enum { BYTES_PER_COMPARISON = 64 };
    return value_encoding(value) == SET_PACKED ? 1 + value->len / BYTES_PER_COMPARISON : 1;
}

/* ---- Remove ---- */

bool set_remove(struct place *place, const struct set_item *item)
{
    struct value *value = place->value;
    if (value_encoding(value) == SET_HASHED) {
        return set_hashed_remove(set_hashed_of(value), item);
    }
    if (value_encoding(value) == SET_PACKED) {
        struct set_scratch scratch;
        struct slice pack = set_pack(value);
        size_t at = pack_find(pack, 0, set_item_text(item, &scratch), 1, NULL);
        if (at == PACK_NONE) {
            return false;
        }
        size_t less = pack_skip(pack, at, 1) - at;
        pack_splice(value_payload(value), pack.len, at, less, 0);
        value_shrink(place, pack.len - less);
        return true;
    }
    struct intset ints = set_ints(value);
    size_t index;
    if (!item->is_integer || !intset_find(&ints, item->number, &index)) {
        return false;
    }
    intset_remove(&ints, index);
    value_shrink(place, ints.count * ints.width);
    return true;
}

/* ---- What every kind provides ---- */

static void set_free(struct value *value, struct work_queue *work)
{
    if (value_encoding(value) == SET_HASHED) {
        set_hashed_free(set_hashed_of(value), work);
    }
    value_free_block(value);
}

static struct value *set_copy(const struct value *value, struct slice key, bool has_expire)
{
    struct value *copy = value_try_rekey(value, key, has_expire);
    if (copy == NULL || value_encoding(value) != SET_HASHED) {
        return copy;
    }
    struct set_hashed *hashed = set_hashed_try_copy(set_hashed_of(value));
    if (hashed == NULL) {
        value_free_block(copy);
        return NULL;
    }
    value_set_word(copy, (uint64_t)(uintptr_t)hashed);
    return copy;
}

static const char *set_encoding_name(const struct value *value)
{
    if (value_encoding(value) == SET_HASHED) {
        return "hashtable";
    }
    return value_encoding(value) == SET_PACKED ? "listpack" : "intset";
}

static size_t set_memory(const struct value *value, size_t samples)
{
    size_t bytes = mem_good_size(value_block_len(value));
    if (value_encoding(value) == SET_HASHED) {
        bytes += set_hashed_memory(set_hashed_of(value), samples);
    }
    return bytes;
}

static size_t set_effort(const struct value *value)
{
    if (value_encoding(value) != SET_HASHED) {
        return 1;
    }
    size_t count = table_count(&set_hashed_of(value)->table);
    return count == 0 ? 1 : count;
}

static void set_check_pack(struct slice pack)
{
    size_t count;
    ASSERT(pack_check_bytes(pack, &count));
    for (size_t at = 0; at < pack.len;) {
        struct pack_item item;
        char digits[PACK_DIGITS];
        size_t next = pack_next(pack, at, &item);
        ASSERT(pack_find(pack, next, pack_text(&item, digits), 1, NULL) == PACK_NONE);
        at = next;
    }
}

static void set_check(const struct value *value)
{
    ASSERT(value_kind(value) == VALUE_SET && value_encoding(value) <= SET_HASHED);
    if (value_encoding(value) == SET_HASHED) {
        ASSERT(value->len == sizeof(uint64_t));
        set_hashed_check(set_hashed_of(value));
    } else if (value_encoding(value) == SET_PACKED) {
        set_check_pack(set_pack(value));
    } else {
        struct intset ints = set_ints(value);
        ASSERT(value->len % ints.width == 0);
        intset_check(&ints);
    }
}

struct table *set_table_of(const struct value *value)
{
    return value_encoding(value) == SET_HASHED ? &set_hashed_of(value)->table : NULL;
}

struct set_item set_item_of_entry(const void *entry)
{
    return set_hashed_item(entry);
}

const struct value_ops set_ops = {
    .free = set_free,
    .copy = set_copy,
    .encoding_name = set_encoding_name,
    .memory = set_memory,
    .effort = set_effort,
    .check = set_check,
};
