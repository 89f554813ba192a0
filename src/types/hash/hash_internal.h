/* What the files of this folder share: the two encodings, the entry of a table, and its moment. */
#pragma once

#include "base/work.h"
#include "ds/pack.h"
#include "ds/table.h"
#include "types/hash/hash.h"
#include "types/hash/hash_moments.h"

enum hash_encoding { HASH_PACKED, HASH_TABLE, HASH_PACKED_VOLATILE };

enum {
    HASH_STRIDE = 2, /* Items of a pair in a pack. */
#ifdef OURO_HOSTILE
    HASH_FREE_ENTRIES = 2,
#else
    HASH_FREE_ENTRIES = 256, /* Freed in one slice: 20 to 40 us when each is a cache miss. */
#endif
};

/* Fields are told apart in the moments by this much of their hash. */
#ifdef OURO_HOSTILE
#define HASH_REF_SPAN UINT32_C(0x04000000) /* 64 refs: many fields share one. */
#else
#define HASH_REF_SPAN UINT32_C(1)
#endif

static inline uint32_t hash_ref(uint64_t hash)
{
    return (uint32_t)(hash >> 32) & ~(HASH_REF_SPAN - 1);
}

/* A large hash; the value's payload points at it. */
struct hash_body {
    struct table table;     /* Of entries. */
    struct table_kind kind; /* Its context is `seed`. */
    uint64_t seed;
    struct hash_moments moments;
    size_t volatile_count; /* Entries with a moment. */
    uint64_t expiry_word;  /* As in a packed one. */
    struct work_job job;   /* When it is being freed. */
    struct table_drain drain;
};

/* ---- hash.c ---- */

/* A pair to be put, and what a packed hash is known to have. */
struct hash_put {
    struct slice field, text;
    int64_t expire_ms;
    size_t at;    /* Offset of the field in the pack, or PACK_NONE. */
    size_t index; /* With PACK_NONE: fields in the pack. */
};
enum hash_put_result hash_try_put_pair(struct place *place, const struct hash_put *put,
                                       const struct hash_rules *rules)
    __attribute__((warn_unused_result));

/* ---- hash_pack.c ---- */

/* Bytes of the payload before the pack: the expiry word, next moment : 48 | wheel place : 16. */
static inline size_t hash_pack_head(const struct value *value)
{
    return value_encoding(value) == HASH_PACKED_VOLATILE ? sizeof(uint64_t) : 0;
}

static inline struct slice hash_pack(const struct value *value)
{
    size_t head_len = hash_pack_head(value);
    return slice_of(value_payload_const(value) + head_len, value->len - head_len);
}

static inline uint64_t hash_expiry_word(int64_t next_ms, uint16_t wheel_place)
{
    return (uint64_t)next_ms | (uint64_t)wheel_place << 48;
}

/* Bytes of a value with its stamp; and how it is written. */
static inline size_t hash_text_size(struct slice text, int64_t expire_ms)
{
    return pack_size(text) + (expire_ms < 0 ? 0 : PACK_STAMP_LEN);
}
static inline void hash_write_text(char *to, struct slice text, int64_t expire_ms)
{
    if (expire_ms >= 0) {
        pack_write_stamp(to, expire_ms);
        to += PACK_STAMP_LEN;
    }
    pack_write(to, text);
}

/* Reads the pair at `at`; returns the offset of the next. */
size_t hash_pack_next(struct slice pack, size_t at, struct hash_pair *pair);

/* `at` is the pair's offset or PACK_NONE; the caller has seen that the limits allow it. */
bool hash_pack_try_put(struct place *place, size_t at, struct slice field, struct slice text,
                       int64_t expire_ms) __attribute__((warn_unused_result));

/* Makes room for the expiry word; the flag is set. */
bool hash_pack_try_make_volatile(struct place *place) __attribute__((warn_unused_result));

/* The earliest moment in a pack; -1: there is none. */
int64_t hash_pack_earliest(struct slice pack);
bool hash_pack_expire(struct place *place, int64_t now_ms, size_t max, hash_expire_fn on_field,
                      void *context);
void hash_pack_remove(struct place *place, size_t at);

/* ---- hash_entry.c: an entry of a table, as the table holds it: its address, with the lowest bit
 * set when the field expires ---- */

static inline bool hash_entry_is_volatile(const void *entry)
{
    return ((uintptr_t)entry & 1) != 0;
}

static inline const char *hash_entry_bytes(const void *entry)
{
    return (const char *)((uintptr_t)entry & ~(uintptr_t)1);
}

/* The same entry with the bit as it is wanted. */
static inline void *hash_entry_marked(const void *entry, bool is_volatile)
{
    return (void *)(((uintptr_t)entry & ~(uintptr_t)1) | is_volatile);
}

/* The entry as a pack; it ends after its second item, wherever that is. */
static inline struct slice hash_entry_pack(const void *entry)
{
    return slice_of(hash_entry_bytes(entry), SIZE_MAX / 2);
}

/* Not marked; with a stamp unless `stamp_ms` is HASH_NO_EXPIRE. */
void *hash_entry_try_new(struct slice field, struct slice text, int64_t stamp_ms)
    __attribute__((warn_unused_result));
void hash_entry_free(void *entry);
size_t hash_entry_size(const void *entry);
uint64_t hash_entry_hash(const void *entry, const void *seed); /* A table_hash_fn. */
int64_t hash_entry_stamp(const void *entry);                   /* -1: it has none. */

/* Give the entry of a slot another value, or another stamp or none; the mark stays. In place when
 * the size class allows. */
bool hash_entry_try_replace(uint64_t *slot, struct slice text, int64_t stamp_ms)
    __attribute__((warn_unused_result));
bool hash_entry_try_restamp(uint64_t *slot, int64_t stamp_ms) __attribute__((warn_unused_result));

/* ---- hash_table.c ---- */

static inline struct hash_body *hash_body(const struct value *value)
{
    return (struct hash_body *)(uintptr_t)value_word(value);
}

/* The pair without its moment; and with it. */
void hash_entry_texts(const void *entry, struct hash_pair *pair);
void hash_entry_pair(const struct hash_body *body, const void *entry, struct hash_pair *pair);

struct hash_body *hash_body_new(uint64_t seed);
void hash_body_free(struct hash_body *body, struct work_queue *work);
struct hash_body *hash_body_try_copy(const struct hash_body *body);
size_t hash_body_memory(const struct hash_body *body, size_t samples);
void hash_body_check(const struct hash_body *body);

bool hash_body_find(const struct hash_body *body, struct slice field, struct hash_pair *pair);

/* The same without the moment. */
bool hash_body_find_texts(const struct hash_body *body, struct slice field, struct hash_pair *pair);
enum hash_put_result hash_body_try_put(struct hash_body *body, struct slice field,
                                       struct slice text, int64_t expire_ms)
    __attribute__((warn_unused_result));
bool hash_body_try_set_expire(struct hash_body *body, struct slice field, int64_t expire_ms)
    __attribute__((warn_unused_result));
bool hash_body_remove(struct hash_body *body, struct slice field);
void hash_body_remove_entry(struct hash_body *body, void *entry);

/* ---- hash_volatile.c ---- */

/* An entry that gets another moment, or none, or is new. */
struct hash_change {
    uint64_t hash;
    uint64_t *slot;    /* NULL before: there is none yet. */
    int64_t expire_ms; /* HASH_NO_EXPIRE: it stays. */
    bool was_volatile, was_stamped;
    int64_t stamp_ms; /* What the entry must carry. */
};

/* Given hash, slot and moment, finds out the rest; then the entry is made what it says; the end
 * marks it and files the moment. False: no memory, and no field has changed. */
bool hash_change_try_begin(struct hash_body *body, struct hash_change *change)
    __attribute__((warn_unused_result));
void hash_change_end(struct hash_body *body, const struct hash_change *change);

/* A volatile entry has left the table, or is marked no more. */
void hash_body_forget(struct hash_body *body, uint64_t hash, bool was_stamped);

/* Of a marked entry. */
int64_t hash_body_moment(const struct hash_body *body, const void *entry);
bool hash_body_expire(struct hash_body *body, int64_t now_ms, size_t max, hash_expire_fn on_field,
                      void *context);
void hash_body_check_moments(const struct hash_body *body);
