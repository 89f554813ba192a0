/* Sorted sets: which of the two forms, and what both can do. The forms are in packed.c and large.c,
 * walks in walk.c; the header draws them.
 *
 * A set becomes large when it would have more members, or a longer one, than the limits allow, or
 * when its pack would not fit into a block. It stays large: sets that shrink tend to grow again.
 *
 * Invariants, asserted by the check operation:
 *   1. A packed set's payload is a pack as packed.c describes it.
 *   2. A large set's payload is a pointer, 8 bytes. */
#include "types/zset/zset.h"

#include <math.h>

#include "base/assert.h"
#include "base/mem.h"
#include "types/zset/zset_internal.h"

static bool is_large(const struct value *value)
{
    return value_encoding(value) == ZSET_LARGE;
}

static struct value *try_block(struct slice key, enum zset_encoding encoding, size_t payload_len)
{
    return value_try_new(&(struct value_form){
        .kind = VALUE_ZSET, .encoding = (uint8_t)encoding, .key = key, .payload_len = payload_len});
}

static struct value *try_new_large(struct slice key, size_t expected, uint64_t seed)
{
    struct zset_large *large = zset_large_try_new(seed, expected);
    if (large == NULL) {
        return NULL;
    }
    struct value *value = try_block(key, ZSET_LARGE, sizeof(large));
    if (value == NULL) {
        zset_large_free(large, NULL);
        return NULL;
    }
    value_set_word(value, (uint64_t)(uintptr_t)large);
    return value;
}

struct value *zset_try_new(struct slice key, size_t expected, size_t member_len_max,
                           const struct zset_rules *rules)
{
    const struct type_limits *limits = rules->limits;
    if (expected > limits->zset_entries || member_len_max > limits->zset_value ||
        limits->zset_entries == 0) {
        return try_new_large(key, expected, rules->hash_seed);
    }
    return try_block(key, ZSET_PACKED, 0);
}

size_t zset_count(const struct value *value)
{
    return is_large(value) ? order_count(&zset_large_of(value)->order)
                           : pack_count(zset_pack(value), 0) / 2;
}

/* ---- Put ---- */

/* Whether one more member makes a packed set too large for that. */
static bool is_outgrown(const struct value *value, size_t count, const struct zset_put *put,
                        const struct zset_rules *rules)
{
    return count + 1 > rules->limits->zset_entries || put->member.len > rules->limits->zset_value ||
           value->len + zset_pack_size(put->member, put->score) > VALUE_INLINE_MAX;
}

static bool try_enlarge(struct place *place, size_t expected, uint64_t seed)
{
    struct zset_large *large = zset_large_try_from_pack(zset_pack(place->value), seed, expected);
    if (large == NULL) {
        return false;
    }
    struct value_change change = {.payload_len = sizeof(large),
                                  .has_expire = value_has_expire(place->value)};
    if (!value_try_reshape(place, change)) {
        zset_large_free(large, NULL);
        return false;
    }
    value_set_tag(place->value, VALUE_ZSET, ZSET_LARGE);
    value_set_word(place->value, (uint64_t)(uintptr_t)large);
    return true;
}

/* What becomes of a member with the score `old` (of which there may be none); sets put->score. */
static enum zset_result decide(struct zset_put *put, bool is_there, double old)
{
    if (!is_there) {
        return (put->conditions & ZSET_XX) != 0 ? ZSET_REFUSED : ZSET_ADDED;
    }
    if ((put->conditions & ZSET_NX) != 0) {
        return ZSET_REFUSED;
    }
    double score = put->score;
    if ((put->conditions & ZSET_INCR) != 0) {
        score += old;
        if (isnan(score)) {
            return ZSET_NAN;
        }
    }
    if (((put->conditions & ZSET_LT) != 0 && score >= old) ||
        ((put->conditions & ZSET_GT) != 0 && score <= old)) {
        return ZSET_REFUSED;
    }
    put->score = score;
    return score == old ? ZSET_SAME : ZSET_CHANGED;
}

static enum zset_result large_try_put(struct zset_large *large, struct zset_put *put)
{
    struct zset_entry *entry = zset_large_find(large, put->member);
    enum zset_result result = decide(put, entry != NULL, entry == NULL ? 0 : entry->score);
    if (result == ZSET_CHANGED) {
        zset_large_move(large, entry, put->score);
    } else if (result == ZSET_ADDED && !zset_large_try_add(large, put->member, put->score)) {
        return ZSET_NO_MEMORY;
    }
    return result;
}

enum zset_result zset_try_put(struct place *place, struct zset_put *put,
                              const struct zset_rules *rules)
{
    if (is_large(place->value)) {
        return large_try_put(zset_large_of(place->value), put);
    }
    size_t count;
    double old = 0;
    size_t at = zset_pack_find(zset_pack(place->value), put->member, &count, &old);
    enum zset_result result = decide(put, at != PACK_NONE, old);
    if (result != ZSET_ADDED && result != ZSET_CHANGED) {
        return result;
    }
    bool has_room = place->value->len + zset_pack_size(put->member, put->score) <= VALUE_INLINE_MAX;
    bool is_too_large =
        result == ZSET_ADDED ? is_outgrown(place->value, count, put, rules) : !has_room;
    if (!is_too_large) {
        return zset_pack_try_put(place, at, put->member, put->score) ? result : ZSET_NO_MEMORY;
    }
    if (!try_enlarge(place, count + 1, rules->hash_seed)) {
        return ZSET_NO_MEMORY;
    }
    struct zset_large *large = zset_large_of(place->value);
    if (result == ZSET_CHANGED) {
        zset_large_move(large, zset_large_find(large, put->member), put->score);
        return result;
    }
    return zset_large_try_add(large, put->member, put->score) ? result : ZSET_NO_MEMORY;
}

/* ---- Lookup and removal ---- */

bool zset_remove(struct place *place, struct slice member)
{
    if (is_large(place->value)) {
        return zset_large_remove(zset_large_of(place->value), member);
    }
    size_t at = zset_pack_find(zset_pack(place->value), member, NULL, NULL);
    if (at == PACK_NONE) {
        return false;
    }
    zset_pack_remove(place, at, 1);
    return true;
}

bool zset_score(const struct value *value, struct slice member, double *score)
{
    if (!is_large(value)) {
        return zset_pack_find(zset_pack(value), member, NULL, score) != PACK_NONE;
    }
    const struct zset_entry *entry = zset_large_find(zset_large_of(value), member);
    if (entry == NULL) {
        return false;
    }
    *score = entry->score;
    return true;
}

bool zset_rank(const struct value *value, struct slice member, size_t *rank, double *score)
{
    if (!is_large(value)) {
        return zset_pack_find(zset_pack(value), member, rank, score) != PACK_NONE;
    }
    const struct zset_large *large = zset_large_of(value);
    const struct zset_entry *entry = zset_large_find(large, member);
    if (entry == NULL) {
        return false;
    }
    *rank = order_rank_of(&large->order, entry);
    *score = entry->score;
    return true;
}

void zset_remove_ranks(struct place *place, struct zset_ranks ranks)
{
    if (ranks.first >= ranks.end) {
        return;
    }
    if (is_large(place->value)) {
        zset_large_remove_ranks(zset_large_of(place->value), ranks);
    } else {
        size_t at = pack_skip(zset_pack(place->value), 0, 2 * ranks.first);
        zset_pack_remove(place, at, ranks.end - ranks.first);
    }
}

/* ---- Ranges ---- */

static size_t rank_of_score(const struct value *value, double score, enum zset_edge edge)
{
    struct zset_mark mark = {.score = score, .edge = edge};
    size_t at;
    return is_large(value) ? zset_large_bound(zset_large_of(value), &mark)
                           : zset_pack_bound(zset_pack(value), &mark, &at);
}

struct zset_ranks zset_ranks_of_scores(const struct value *value,
                                       const struct zset_score_range *range)
{
    struct zset_ranks ranks = {0, 0};
    bool is_empty = range->min > range->max ||
                    (range->min == range->max && (range->is_min_open || range->is_max_open));
    if (is_empty) {
        return ranks;
    }
    ranks.first = rank_of_score(value, range->min,
                                range->is_min_open ? ZSET_EDGE_AFTER_ALL : ZSET_EDGE_BEFORE_ALL);
    ranks.end = rank_of_score(value, range->max,
                              range->is_max_open ? ZSET_EDGE_BEFORE_ALL : ZSET_EDGE_AFTER_ALL);
    return ranks;
}

/* Whether nothing can be between the bounds. */
static bool is_lex_empty(const struct zset_lex_range *range)
{
    const struct zset_lex_bound *min = &range->min;
    const struct zset_lex_bound *max = &range->max;
    if (min->edge == ZSET_EDGE_AFTER_ALL || max->edge == ZSET_EDGE_BEFORE_ALL) {
        return true;
    }
    if (min->edge == ZSET_EDGE_BEFORE_ALL || max->edge == ZSET_EDGE_AFTER_ALL) {
        return false;
    }
    int order = slice_compare(min->text, max->text);
    bool is_any_open = min->edge == ZSET_EDGE_OPEN || max->edge == ZSET_EDGE_OPEN;
    return order > 0 || (order == 0 && is_any_open);
}

struct zset_ranks zset_ranks_of_members(const struct value *value,
                                        const struct zset_lex_range *range)
{
    if (is_lex_empty(range)) {
        return (struct zset_ranks){0, 0};
    }
    return is_large(value) ? zset_large_lex(zset_large_of(value), range)
                           : zset_pack_lex(zset_pack(value), range);
}

/* ---- What every kind provides ---- */

static void zset_free(struct value *value, struct work_queue *work)
{
    if (is_large(value)) {
        zset_large_free(zset_large_of(value), work);
    }
    value_free_block(value);
}

static struct value *zset_copy(const struct value *value, struct slice key, bool has_expire)
{
    struct value *copy = value_try_rekey(value, key, has_expire);
    if (copy == NULL || !is_large(value)) {
        return copy;
    }
    struct zset_large *large = zset_large_try_copy(zset_large_of(value));
    if (large == NULL) {
        value_free_block(copy);
        return NULL;
    }
    value_set_word(copy, (uint64_t)(uintptr_t)large);
    return copy;
}

static const char *zset_encoding_name(const struct value *value)
{
    return is_large(value) ? "skiplist" : "listpack";
}

static size_t zset_memory(const struct value *value, size_t samples)
{
    size_t block = mem_good_size(value_block_len(value));
    return is_large(value) ? block + zset_large_memory(zset_large_of(value), samples) : block;
}

static size_t zset_effort(const struct value *value)
{
    return is_large(value) ? zset_count(value) : 1;
}

static void zset_check(const struct value *value)
{
    ASSERT(value_kind(value) == VALUE_ZSET);
    if (is_large(value)) {
        ASSERT(value->len == sizeof(uint64_t));
        zset_large_check(zset_large_of(value));
    } else {
        zset_pack_check(zset_pack(value));
    }
}

struct table *zset_table_of(const struct value *value)
{
    return value_encoding(value) == ZSET_LARGE ? &zset_large_of(value)->table : NULL;
}

void zset_item_of_entry(const void *entry, struct zset_item *item)
{
    const struct zset_entry *held = entry;
    item->member = zset_entry_member(held);
    item->score = held->score;
}

const struct value_ops zset_ops = {
    .free = zset_free,
    .copy = zset_copy,
    .encoding_name = zset_encoding_name,
    .memory = zset_memory,
    .effort = zset_effort,
    .check = zset_check,
};
