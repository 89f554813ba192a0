/* Values as blocks of memory: see the header for the layout. What a payload means is its kind's
 * business; here are only the block, its key and its expiry room, and the way to a kind's
 * operations.
 *
 * Costs. A block is one allocation of header 8 + expiry 8 (if any) + key + payload, rounded up to
 * the allocator's size class (steps of 16 to 128 bytes, then a quarter of a power of two). A
 * reshape that stays in its class moves at most the bytes behind the header; one that leaves it
 * allocates, copies and frees.
 *
 * Invariants:
 *   1. The bytes asked from the allocator have the size class of value_block_len: frees are sized.
 *   2. key_len is 255 exactly when VALUE_HAS_LONG_KEY is set, and the u32 then exceeds 254.
 *   3. The slot of a stored value's place refers to that value.
 *
 * Rejected: keeping the expiry room once a key had it. It would make PERSIST and SET trivially
 * cheap, but a cache sets and drops expiry rarely and pays 8 bytes for each key always. */
#include "types/value.h"

#include "base/assert.h"
#include "base/mem.h"
#include "types/hash/hash.h"
#include "types/list/list.h"
#include "types/set/set.h"
#include "types/stream/stream.h"
#include "types/string/string.h"
#include "types/zset/zset.h"

enum { VALUE_KEY_LONG = 255 };

/* Kinds by number; NULL where a kind does not exist. */
static const struct value_ops *const value_kinds[VALUE_KIND_COUNT] = {
    [VALUE_STRING] = &string_ops, [VALUE_HASH] = &hash_ops, [VALUE_LIST] = &list_ops,
    [VALUE_SET] = &set_ops,       [VALUE_ZSET] = &zset_ops, [VALUE_STREAM] = &stream_ops,
};

/* Bytes before the key, behind the header. */
static size_t value_head_len(bool has_expire, bool has_long_key)
{
    return (has_expire ? 8U : 0U) + (has_long_key ? 4U : 0U);
}

/* Writes the key and its length; the expiry flag is set already. */
static void value_write_key(struct value *value, struct slice key)
{
    if (key.len > VALUE_KEY_SHORT_MAX) {
        uint32_t len = (uint32_t)key.len;
        value->flags |= VALUE_HAS_LONG_KEY;
        value->key_len = VALUE_KEY_LONG;
        memcpy(value->body + value_key_at(value) - 4, &len, 4);
    } else {
        value->key_len = (uint8_t)key.len;
    }
    if (key.len > 0) {
        memcpy(value->body + value_key_at(value), key.data, key.len);
    }
}

struct value *value_try_new(const struct value_form *form)
{
    ASSERT(form->payload_len <= VALUE_INLINE_MAX);
    ASSERT(form->key.len <= VALUE_KEY_LEN_MAX);
    bool has_long_key = form->key.len > VALUE_KEY_SHORT_MAX;
    size_t head_len = sizeof(struct value) + value_head_len(form->has_expire, has_long_key);
    struct value *value = mem_try_alloc(head_len + form->key.len + form->payload_len);
    if (value == NULL) {
        return NULL;
    }
    value_set_tag(value, form->kind, form->encoding);
    value->flags = form->has_expire ? VALUE_HAS_EXPIRE : 0;
    value->len = (uint16_t)form->payload_len;
    value->access = 0;
    if (form->has_expire) {
        value_set_expire(value, 0, VALUE_WHEEL_NONE);
    }
    value_write_key(value, form->key);
    return value;
}

struct value *value_try_rekey(const struct value *value, struct slice key, bool has_expire)
{
    struct value *other = value_try_new(&(struct value_form){.kind = value_kind(value),
                                                             .encoding = value_encoding(value),
                                                             .has_expire = has_expire,
                                                             .key = key,
                                                             .payload_len = value->len});
    if (other == NULL) {
        return NULL;
    }
    const unsigned own = VALUE_HAS_EXPIRE | VALUE_HAS_LONG_KEY | VALUE_IS_PINNED;
    other->flags |= value->flags & (uint8_t)~own;
    if (has_expire && value_has_expire(value)) {
        value_set_expire(other, value_expire_ms(value), VALUE_WHEEL_NONE);
    }
    if (value->len > 0) {
        memcpy(value_payload(other), value_payload_const(value), value->len);
    }
    return other;
}

/* Fills `to`, which may be `from` itself, with its header, expiry, key and the first `payload_len`
 * bytes of payload. */
static void value_move_into(struct value *to, const struct value *from, bool has_expire,
                            size_t payload_len)
{
    bool had_expire = value_has_expire(from);
    size_t to_skip = has_expire ? 8 : 0;
    size_t from_skip = had_expire ? 8 : 0;
    size_t body_len = value_key_at(from) - from_skip + value_key_len(from) + payload_len;
    if (to != from) {
        memcpy(to, from, sizeof(struct value));
        memcpy(to->body, from->body, has_expire && had_expire ? 8 : 0);
    }
    if (to != from || has_expire != had_expire) {
        memmove(to->body + to_skip, from->body + from_skip, body_len);
    }
    if (has_expire && !had_expire) {
        to->flags |= VALUE_HAS_EXPIRE;
        value_set_expire(to, 0, VALUE_WHEEL_NONE);
    } else if (!has_expire) {
        to->flags &= (uint8_t)~VALUE_HAS_EXPIRE;
    }
}

static void value_moved(struct place *place, struct value *value)
{
    place->value = value;
    if (place->slot != NULL) {
        table_slot_set(place->slot, value);
    }
}

bool value_try_reshape(struct place *place, struct value_change change)
{
    struct value *value = place->value;
    ASSERT(change.payload_len <= VALUE_INLINE_MAX);
    size_t old_size = value_block_len(value);
    size_t rest = old_size - value->len - (value_has_expire(value) ? 8 : 0);
    size_t new_size = rest + change.payload_len + (change.has_expire ? 8 : 0);
    size_t kept_len = change.payload_len < value->len ? change.payload_len : value->len;
    if (new_size == old_size || mem_good_size(new_size) == mem_good_size(old_size)) {
        value_move_into(value, value, change.has_expire, kept_len);
        value->len = (uint16_t)change.payload_len;
        return true;
    }
    struct value *moved = mem_try_alloc(new_size);
    if (moved == NULL) {
        return false;
    }
    value_move_into(moved, value, change.has_expire, kept_len);
    moved->len = (uint16_t)change.payload_len;
    mem_free_sized(value, old_size);
    value_moved(place, moved);
    return true;
}

void value_shrink(struct place *place, size_t payload_len)
{
    struct value *value = place->value;
    struct value_change change = {.payload_len = payload_len,
                                  .has_expire = value_has_expire(value)};
    DEBUG_ASSERT(payload_len <= value->len);
    if (value_try_reshape(place, change)) {
        return;
    }
    value->len = (uint16_t)payload_len; /* See value_drop_expire: this may not fail politely. */
    value_moved(place, mem_realloc(value, value_block_len(value)));
}

void value_drop_expire(struct place *place)
{
    struct value *value = place->value;
    if (!value_has_expire(value)) {
        return;
    }
    if (value_try_reshape(place, (struct value_change){.payload_len = value->len})) {
        return;
    }
    /* Shrinking is not a request that may fail politely, so it is asked for as the program's own.
     */
    value_move_into(value, value, false, value->len);
    value_moved(place, mem_realloc(value, value_block_len(value)));
}

void value_free_block(struct value *value)
{
    mem_free_sized(value, value_block_len(value));
}

const char *value_kind_name(enum value_kind kind)
{
    static const char *const names[VALUE_KIND_COUNT] = {
        [VALUE_STRING] = "string", [VALUE_LIST] = "list", [VALUE_SET] = "set",
        [VALUE_ZSET] = "zset",     [VALUE_HASH] = "hash", [VALUE_STREAM] = "stream",
    };
    ASSERT((unsigned)kind < VALUE_KIND_COUNT);
    return names[kind];
}

const struct value_ops *value_ops_of(const struct value *value)
{
    const struct value_ops *ops = value_kinds[value_kind(value)];
    ASSERT(ops != NULL);
    return ops;
}

void value_free(struct value *value, struct work_queue *work)
{
    value_ops_of(value)->free(value, work);
}
