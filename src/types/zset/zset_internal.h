/* Private to the room: the two encodings. */
#pragma once

#include "types/zset/zset.h"

enum zset_encoding { ZSET_PACKED, ZSET_LARGE };

/* What stands between the members of a set: those before it and those not. */
struct zset_mark {
    double score;
    struct slice member;
    enum zset_edge edge; /* CLOSED: the member itself is not before it; OPEN: it is. */
};

/* Redis's order: by score, then by bytes. */
static inline bool zset_is_before(double score, struct slice member, const struct zset_mark *mark)
{
    if (score != mark->score) {
        return score < mark->score;
    }
    switch (mark->edge) {
    case ZSET_EDGE_BEFORE_ALL:
        return false;
    case ZSET_EDGE_AFTER_ALL:
        return true;
    case ZSET_EDGE_CLOSED:
        return slice_compare(member, mark->member) < 0;
    case ZSET_EDGE_OPEN:
        break;
    }
    return slice_compare(member, mark->member) <= 0;
}

/* ---- packed.c: a pack of members and scores in the value's block ---- */

static inline struct slice zset_pack(const struct value *value)
{
    return slice_of(value_payload_const(value), value->len);
}

/* Reads the member and score at offset `at`; returns the offset of the next. */
size_t zset_pack_read(struct slice pack, size_t at, struct zset_item *item);

/* The offset of a member or PACK_NONE; `rank` is its rank, or how many members there are. */
size_t zset_pack_find(struct slice pack, struct slice member, size_t *rank, double *score);

/* Bytes of a member with its score. */
size_t zset_pack_size(struct slice member, double score);

/* Ranks and offsets are of the first member that is not before the mark. */
size_t zset_pack_bound(struct slice pack, const struct zset_mark *mark, size_t *at);

/* Adds an absent member, or moves the one at offset `old_at` (PACK_NONE: there is none) to its new
 * score. False: no memory, nothing changed. */
bool zset_pack_try_put(struct place *place, size_t old_at, struct slice member, double score);
void zset_pack_remove(struct place *place, size_t at, size_t count);
struct zset_ranks zset_pack_lex(struct slice pack, const struct zset_lex_range *range);
void zset_pack_check(struct slice pack);

/* ---- large.c: entries in a table and in a tree ---- */

struct zset_large {
    struct table table;
    struct order order; /* Over the same entries. */
    struct table_kind kind;
    uint64_t seed;
};

/* A member and its score in one allocation. */
struct zset_entry {
    double score;
    uint8_t len; /* Of the member; ZSET_LEN_LONG: the length is a u32 at the start of body. */
    char body[];
};
enum { ZSET_LEN_LONG = 255 };

static inline struct zset_large *zset_large_of(const struct value *value)
{
    return (struct zset_large *)(uintptr_t)value_word(value);
}

static inline struct slice zset_entry_member(const struct zset_entry *entry)
{
    if (entry->len != ZSET_LEN_LONG) {
        return slice_of(entry->body, entry->len);
    }
    uint32_t len;
    memcpy(&len, entry->body, sizeof(len));
    return slice_of(entry->body + sizeof(len), len);
}

/* With room for `expected` members in the table; NULL: no memory. */
struct zset_large *zset_large_try_new(uint64_t seed, size_t expected);

/* Frees it with all members: at once, or as a job when there are many and `work` is not NULL. */
void zset_large_free(struct zset_large *large, struct work_queue *work);

struct zset_large *zset_large_try_copy(const struct zset_large *large);

/* From a pack, whose members are in order. NULL: no memory. */
struct zset_large *zset_large_try_from_pack(struct slice pack, uint64_t seed, size_t expected);

struct zset_entry *zset_large_find(const struct zset_large *large, struct slice member);

/* Adds an absent member. False: no memory. */
bool zset_large_try_add(struct zset_large *large, struct slice member, double score);
void zset_large_move(struct zset_large *large, struct zset_entry *entry, double score);
bool zset_large_remove(struct zset_large *large, struct slice member);
void zset_large_remove_ranks(struct zset_large *large, struct zset_ranks ranks);

/* Members before the mark. */
size_t zset_large_bound(const struct zset_large *large, const struct zset_mark *mark);
struct zset_ranks zset_large_lex(const struct zset_large *large,
                                 const struct zset_lex_range *range);
size_t zset_large_memory(const struct zset_large *large, size_t samples);
void zset_large_check(const struct zset_large *large);
