/* What the files of this folder share: the two encodings and the entry of a table. */
#pragma once

#include "base/work.h"
#include "ds/pack.h"
#include "ds/table.h"
#include "types/hash/hash.h"

enum hash_encoding { HASH_PACKED, HASH_TABLE };

enum {
    HASH_STRIDE = 2, /* Items of a pair in a pack. */
#ifdef OURO_HOSTILE
    HASH_FREE_ENTRIES = 2,
#else
    HASH_FREE_ENTRIES = 256, /* Freed in one slice: 20 to 40 us when each is a cache miss. */
#endif
};

/* A large hash; the value's payload points at it. */
struct hash_body {
    struct table table;     /* Of entries. */
    struct table_kind kind; /* Its context is `seed`. */
    uint64_t seed;
    struct work_job job; /* When it is being freed. */
    struct table_drain drain;
};

/* ---- hash_pack.c ---- */

static inline struct slice hash_pack(const struct value *value)
{
    return slice_of(value_payload_const(value), value->len);
}

/* Reads the pair at `at`; returns the offset of the next. */
size_t hash_pack_next(struct slice pack, size_t at, struct hash_pair *pair);

/* `at` is the pair's offset or PACK_NONE; the caller has seen that the limits allow it. */
bool hash_pack_try_put(struct place *place, size_t at, struct slice field, struct slice text)
    __attribute__((warn_unused_result));
void hash_pack_remove(struct place *place, size_t at);

/* ---- hash_table.c ---- */

static inline struct hash_body *hash_body(const struct value *value)
{
    return (struct hash_body *)(uintptr_t)value_word(value);
}

void hash_entry_pair(const char *entry, struct hash_pair *pair);
size_t hash_entry_size(const char *entry);

struct hash_body *hash_body_new(uint64_t seed);
void hash_body_free(struct hash_body *body, struct work_queue *work);
struct hash_body *hash_body_try_copy(const struct hash_body *body);
size_t hash_body_memory(const struct hash_body *body, size_t samples);
void hash_body_check(const struct hash_body *body);

bool hash_body_find(const struct hash_body *body, struct slice field, struct hash_pair *pair);
enum hash_put_result hash_body_try_put(struct hash_body *body, struct slice field,
                                       struct slice text) __attribute__((warn_unused_result));
bool hash_body_remove(struct hash_body *body, struct slice field);
