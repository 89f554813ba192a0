/* What the files of this folder share: the two encodings and the entry of a table. */
#pragma once

#include "base/work.h"
#include "ds/pack.h"
#include "ds/table.h"
#include "types/hash/hash.h"

enum hash_encoding { HASH_PACKED, HASH_TABLE, HASH_PACKED_VOLATILE };

enum {
    HASH_STRIDE = 2, /* Items of a pair in a pack. */
#ifdef OURO_HOSTILE
    HASH_FREE_ENTRIES = 2,
#else
    HASH_FREE_ENTRIES = 256, /* Freed in one slice: 20 to 40 us when each is a cache miss. */
#endif
};

/* Moments of a table's fields; drawn in hash_timeline.c. */
struct hash_timeline {
    uint64_t *items; /* A heap; owned. */
    uint32_t len, cap;
    uint32_t sweep;  /* Where the search for stale items goes on. */
    int64_t base_ms; /* Unix ms that items count from. */
};

/* A large hash; the value's payload points at it. */
struct hash_body {
    struct table table;     /* Of entries. */
    struct table_kind kind; /* Its context is `seed`. */
    uint64_t seed;
    struct hash_timeline timeline;
    size_t volatile_count; /* Entries with a stamp. */
    uint64_t expiry_word;  /* As in a packed one. */
    struct work_job job;   /* When it is being freed. */
    struct table_drain drain;
};

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
                                       struct slice text, int64_t expire_ms, int64_t now_ms)
    __attribute__((warn_unused_result));
bool hash_body_expire(struct hash_body *body, int64_t now_ms, size_t max, hash_expire_fn on_field,
                      void *context);

/* ---- hash_timeline.c ---- */

uint64_t hash_timeline_item(const struct hash_timeline *timeline, uint32_t ref, int64_t expire_ms);
void hash_timeline_push(struct hash_timeline *timeline, uint64_t item);
void hash_timeline_drop(struct hash_timeline *timeline, uint32_t at);
/* A moment before which none is; 0: some are before base_ms; -1: empty. */
int64_t hash_timeline_next_ms(const struct hash_timeline *timeline);
void hash_timeline_deinit(struct hash_timeline *timeline);
void hash_timeline_check(const struct hash_timeline *timeline);
bool hash_body_remove(struct hash_body *body, struct slice field);
