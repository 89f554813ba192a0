/* Private to the room: the encodings, and large sets. */
#pragma once

#include "ds/intset.h"
#include "types/set/set.h"

enum set_encoding { SET_INT16, SET_INT32, SET_INT64, SET_PACKED, SET_HASHED };

static inline bool set_is_ints(const struct value *value)
{
    return value_encoding(value) <= SET_INT64;
}

/* Bytes of one integer of an intset. */
static inline unsigned set_int_width(const struct value *value)
{
    return 2U << value_encoding(value);
}

static inline enum set_encoding set_int_encoding(unsigned width)
{
    return width == 2 ? SET_INT16 : width == 4 ? SET_INT32 : SET_INT64;
}

/* The integers of an intset, for reading and changing in place. */
static inline struct intset set_ints(const struct value *value)
{
    unsigned width = set_int_width(value);
    return (struct intset){.bytes = value_payload((struct value *)(uintptr_t)value),
                           .count = value->len / width,
                           .width = width};
}

static inline struct slice set_pack(const struct value *value)
{
    return slice_of(value_payload_const(value), value->len);
}

/* ---- Large sets: hashed.c ---- */

/* Owned by the value. */
struct set_hashed {
    struct table table;
    struct table_kind kind;
    uint64_t seed;
};

static inline struct set_hashed *set_hashed_of(const struct value *value)
{
    return (struct set_hashed *)(uintptr_t)value_word(value);
}

/* With room for `expected` members; NULL: no memory. */
struct set_hashed *set_hashed_try_new(uint64_t seed, size_t expected);

/* Frees it with all members: at once, or as a job when there are many and `work` is not NULL. */
void set_hashed_free(struct set_hashed *set, struct work_queue *work);

struct set_hashed *set_hashed_try_copy(const struct set_hashed *set);
enum set_result set_hashed_try_add(struct set_hashed *set, const struct set_item *item);
bool set_hashed_remove(struct set_hashed *set, const struct set_item *item);
bool set_hashed_has(const struct set_hashed *set, const struct set_item *item);
size_t set_hashed_keep(const struct set_hashed *set, struct set_item *items, size_t count,
                       bool is_in);
size_t set_hashed_memory(const struct set_hashed *set, size_t samples);
void set_hashed_check(const struct set_hashed *set);

/* The member behind an entry of the table. */
struct set_item set_hashed_item(const void *entry);

/* The word for a short text or small integer, else 0. */
uint64_t set_word_of_i64(int64_t number);
uint64_t set_word_of_text(struct slice text);
bool set_word_is_integer(uint64_t word);
int64_t set_word_number(uint64_t word);
struct slice set_word_text(uint64_t word, struct set_scratch *scratch);
