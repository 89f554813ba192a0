/* A value: one allocation that holds a header, an optional expiry time, the key it is stored under,
 * and its payload.
 *
 *       0        1        2       4        7         8
 *     +--------+--------+-------+--------+---------+----------+-----------+-------+---------+
 *     | tag    | flags  | len   | access | key_len | [expire] | [key_len] | key   | payload |
 *     | u8     | u8     | u16   | u24    | u8      |  u64     |   u32     | bytes | bytes   |
 *     +--------+--------+-------+--------+---------+----------+-----------+-------+---------+
 *
 *   tag      kind in the low four bits, encoding (private to the kind) in the high four
 *   len      bytes of an inline payload; 8 when the payload is an integer or a pointer
 *   access   last use: seconds (LRU) or minutes and a counter (LFU); the keyspace's business
 *   key_len  bytes of the key; 255: the real length is the u32 before the key
 *   expire   present when VALUE_HAS_EXPIRE: low 48 bits unix milliseconds, high 16 bits the place
 *            in the timer wheel
 *
 * A 16-byte key with an 8-byte string costs 32 bytes, and with the table's slot about 43. Keeping
 * the key in the same allocation saves a pointer, an allocation and a cache miss per lookup; the
 * price is that a change of length may move the whole block. That is why whoever changes a value
 * holds a struct place, which knows the slot to mend.
 *
 * A value without a key (key_len 0 and no slot) is legal: that is how values are built before they
 * are stored. */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/slice.h"
#include "ds/table.h"

enum value_kind {
    VALUE_STRING,
    VALUE_LIST,
    VALUE_SET,
    VALUE_ZSET,
    VALUE_HASH,
    VALUE_STREAM,
    VALUE_KIND_COUNT,
};

enum value_flag {
    VALUE_HAS_EXPIRE = 1 << 0,
    VALUE_HAS_LONG_KEY = 1 << 1,
    VALUE_WAS_EDITED = 1 << 2,         /* A string changed in place: OBJECT ENCODING says "raw". */
    VALUE_HAS_VOLATILE_PARTS = 1 << 3, /* A hash with fields that expire. */
    VALUE_IS_PINNED = 1 << 7,          /* Somebody reads it over turns; see keyspace/pin.h. */
};

enum {
    VALUE_KEY_SHORT_MAX = 254,
    VALUE_INLINE_MAX = UINT16_MAX, /* Longest inline payload. */
    VALUE_KEY_LEN_MAX = 512 * 1024 * 1024,
};

/* Year 10889; later times are held as this one. */
#define VALUE_EXPIRE_MS_MAX ((INT64_C(1) << 48) - 1)

/* The wheel place of an expiry that is not filed: its value is not stored, or about to be filed. */
enum { VALUE_WHEEL_NONE = 0xffff };

struct value {
    uint8_t tag;
    uint8_t flags;
    uint16_t len;
    uint32_t access : 24;
    uint32_t key_len : 8;
    char body[];
};
static_assert(sizeof(struct value) == 8, "the header is what every key pays");

/* Where a value lives: the table slot that refers to it. Valid until the table's next insert or
 * removal. */
struct place {
    uint64_t *slot; /* NULL: stored nowhere. */
    struct value *value;
};

/* What a new block is made of. */
struct value_form {
    enum value_kind kind;
    uint8_t encoding;
    bool has_expire;
    struct slice key;
    size_t payload_len;
};

static inline enum value_kind value_kind(const struct value *value)
{
    return (enum value_kind)(value->tag & 15);
}

static inline uint8_t value_encoding(const struct value *value)
{
    return (uint8_t)(value->tag >> 4);
}

static inline void value_set_tag(struct value *value, enum value_kind kind, uint8_t encoding)
{
    value->tag = (uint8_t)((unsigned)kind | (unsigned)encoding << 4);
}

static inline bool value_has_expire(const struct value *value)
{
    return (value->flags & VALUE_HAS_EXPIRE) != 0;
}

/* While it is, its block must neither move nor go, nor may what it holds change. */
static inline bool value_is_pinned(const struct value *value)
{
    return (value->flags & VALUE_IS_PINNED) != 0;
}

/* Offset of the key within body. */
static inline size_t value_key_at(const struct value *value)
{
    return ((value->flags & VALUE_HAS_EXPIRE) != 0 ? 8U : 0U) +
           ((value->flags & VALUE_HAS_LONG_KEY) != 0 ? 4U : 0U);
}

static inline size_t value_key_len(const struct value *value)
{
    if ((value->flags & VALUE_HAS_LONG_KEY) == 0) {
        return value->key_len;
    }
    uint32_t len;
    memcpy(&len, value->body + value_key_at(value) - 4, 4);
    return len;
}

static inline struct slice value_key(const struct value *value)
{
    return slice_of(value->body + value_key_at(value), value_key_len(value));
}

static inline char *value_payload(struct value *value)
{
    return value->body + value_key_at(value) + value_key_len(value);
}

static inline const char *value_payload_const(const struct value *value)
{
    return value->body + value_key_at(value) + value_key_len(value);
}

/* Bytes of the whole block as asked from the allocator. */
static inline size_t value_block_len(const struct value *value)
{
    return sizeof(struct value) + value_key_at(value) + value_key_len(value) + value->len;
}

/* The expiry time in unix milliseconds, or -1 for none. */
static inline int64_t value_expire_ms(const struct value *value)
{
    if (!value_has_expire(value)) {
        return -1;
    }
    uint64_t word;
    memcpy(&word, value->body, 8);
    return (int64_t)(word & (uint64_t)VALUE_EXPIRE_MS_MAX);
}

static inline uint16_t value_wheel_place(const struct value *value)
{
    uint64_t word;
    memcpy(&word, value->body, 8);
    return (uint16_t)(word >> 48);
}

/* Only for a value that has room for an expiry. */
static inline void value_set_expire(struct value *value, int64_t expire_ms, uint16_t wheel_place)
{
    uint64_t word = (uint64_t)expire_ms | (uint64_t)wheel_place << 48;
    memcpy(value->body, &word, 8);
}

/* A pointer or integer payload (len 8). */
static inline uint64_t value_word(const struct value *value)
{
    uint64_t word;
    memcpy(&word, value_payload_const(value), 8);
    return word;
}

static inline void value_set_word(struct value *value, uint64_t word)
{
    memcpy(value_payload(value), &word, 8);
}

/* A block in the given form with the key copied in, the expiry 0 and not filed when there is room
 * for one, the payload uninitialised, access 0. NULL when memory does not suffice. */
struct value *value_try_new(const struct value_form *form) __attribute__((warn_unused_result));

/* A block under another key with the same tag, flags and payload bytes; what the payload points at
 * is not copied, so the caller shares it, copies it, or gives up the original with value_free_block
 * (RENAME). With has_expire there is room for an expiry and the original's time is kept, not filed.
 * Access 0. NULL when memory does not suffice. */
struct value *value_try_rekey(const struct value *value, struct slice key, bool has_expire)
    __attribute__((warn_unused_result));

/* Gives the block at `place` another payload length and/or expiry room: same key, tag, flags and
 * access, the first min(old, new) payload bytes kept, a new expiry 0 and not filed. In place when
 * the allocator's size class allows; otherwise the place's value and slot follow the move. False
 * when memory does not suffice: nothing has changed. */
struct value_change {
    size_t payload_len;
    bool has_expire;
};
bool value_try_reshape(struct place *place, struct value_change change)
    __attribute__((warn_unused_result));

/* Cuts the payload to `payload_len` bytes, not more than it has; cannot fail. */
void value_shrink(struct place *place, size_t payload_len);

/* Drops the room for an expiry, if there is any; cannot fail. */
void value_drop_expire(struct place *place);

/* Frees the block alone. */
void value_free_block(struct value *value);

const char *value_kind_name(enum value_kind kind); /* "string", "list", ... as TYPE answers. */

/* ---- What every kind provides, so that the keyspace can free, copy and describe any value ---- */

struct work_queue;

struct value_ops {
    /* Frees what the payload owns and the block. Large values are handed to `work` and freed in
     * slices. */
    void (*free)(struct value *value, struct work_queue *work);
    /* A deep copy under another key, with the source's expiry room when has_expire; NULL when
     * memory does not suffice. */
    struct value *(*copy)(const struct value *value, struct slice key, bool has_expire);
    const char *(*encoding_name)(const struct value *value);
    /* Bytes, block included; exact for small ones, else estimated from `samples` of them (0: all).
     * Breathes between them (base/fiber.h): who allows it holds a pin. */
    size_t (*memory)(const struct value *value, size_t samples);
    /* Pieces that freeing it takes: 1 for what is freed at once. */
    size_t (*effort)(const struct value *value);
    /* Walks the invariants; asserts. */
    void (*check)(const struct value *value);
};

/* The operations of a value's kind; never NULL for kinds that exist. */
const struct value_ops *value_ops_of(const struct value *value);

/* Frees a value through its kind's operations. */
void value_free(struct value *value, struct work_queue *work);
