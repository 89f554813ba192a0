/* Small sorted sets: a pack of pairs in the value's block.
 *
 *     | member | score | member | score | ...        in order of score, then member
 *
 * A score that is an integer of up to 53 bits is an integer item: 1 byte up to 63, 2 up to 4095, at
 * most 9. Every other score is a text item of nine bytes: SCORE_TAG and the double as it stands in
 * memory. The tag keeps those bytes from reading as the digits of an integer, which a pack would
 * store as one. Minus zero becomes the integer 0, as in Redis, whose large sets keep its sign.
 *
 * Costs. A member of up to 127 bytes with a small score has 2 to 3 bytes of overhead. Everything is
 * a walk: at the usual limit of 128 members about half a microsecond.
 *
 * Invariants, asserted by zset_pack_check:
 *   1. The bytes are a canonical pack with an even number of items.
 *   2. Pairs rise strictly by score, then member; no member is there twice.
 *   3. A score is an integer item exactly when score_is_integer; it is never NaN.
 *
 * Rejected. Scores as decimal text, as Redis has them: up to 24 bytes, and each comparison parses.
 */
#include <math.h>

#include "base/assert.h"
#include "types/zset/zset_internal.h"

enum { SCORE_TAG = 0xff, SCORE_LEN = 1 + sizeof(double) };

static bool score_is_integer(double score)
{
    static const double bound = 9007199254740992.0; /* 2^53 */
    return score > -bound && score < bound && score == (double)(int64_t)score;
}

static size_t score_size(double score)
{
    return score_is_integer(score) ? pack_size_i64((int64_t)score) : 1 + SCORE_LEN;
}

static size_t score_write(char *to, double score)
{
    if (score_is_integer(score)) {
        return pack_write_i64(to, (int64_t)score);
    }
    char bytes[SCORE_LEN];
    bytes[0] = (char)SCORE_TAG;
    memcpy(bytes + 1, &score, sizeof(score));
    return pack_write(to, slice_of(bytes, SCORE_LEN));
}

static double score_of(const struct pack_item *item)
{
    if (item->data == NULL) {
        return (double)item->number;
    }
    double score;
    memcpy(&score, item->data + 1, sizeof(score));
    return score;
}

size_t zset_pack_size(struct slice member, double score)
{
    return pack_size(member) + score_size(score);
}

size_t zset_pack_read(struct slice pack, size_t at, struct zset_item *item)
{
    struct pack_item member;
    struct pack_item score;
    at = pack_next(pack, at, &member);
    at = pack_next(pack, at, &score);
    item->member = pack_text(&member, item->digits);
    item->score = score_of(&score);
    return at;
}

size_t zset_pack_find(struct slice pack, struct slice member, size_t *rank, double *score)
{
    size_t at = pack_find(pack, 0, member, 2, rank);
    if (at != PACK_NONE && score != NULL) {
        struct pack_item item;
        pack_next(pack, pack_next(pack, at, &item), &item);
        *score = score_of(&item);
    }
    return at;
}

size_t zset_pack_bound(struct slice pack, const struct zset_mark *mark, size_t *at)
{
    size_t rank = 0;
    *at = 0;
    while (*at < pack.len) {
        struct zset_item item;
        size_t next = zset_pack_read(pack, *at, &item);
        if (!zset_is_before(item.score, item.member, mark)) {
            break;
        }
        *at = next;
        rank++;
    }
    return rank;
}

/* Gives the payload room for `len` bytes, if it has less. */
static bool pack_try_room(struct place *place, size_t len)
{
    struct value_change change = {.payload_len = len, .has_expire = value_has_expire(place->value)};
    return len <= place->value->len || value_try_reshape(place, change);
}

bool zset_pack_try_put(struct place *place, size_t old_at, struct slice member, double score)
{
    size_t len = place->value->len;
    size_t old_size = 0;
    if (old_at != PACK_NONE) {
        struct zset_item item;
        old_size = zset_pack_read(zset_pack(place->value), old_at, &item) - old_at;
    }
    size_t new_size = zset_pack_size(member, score);
    if (!pack_try_room(place, len - old_size + new_size)) {
        return false;
    }
    char *data = value_payload(place->value);
    if (old_size > 0) {
        pack_splice(data, len, old_at, old_size, 0);
    }
    size_t at;
    struct zset_mark mark = {.score = score, .member = member, .edge = ZSET_EDGE_CLOSED};
    zset_pack_bound(slice_of(data, len - old_size), &mark, &at);
    pack_splice(data, len - old_size, at, 0, new_size);
    char *to = data + at;
    to += pack_write(to, member);
    score_write(to, score);
    if (new_size < old_size) {
        value_shrink(place, len - old_size + new_size);
    }
    return true;
}

void zset_pack_remove(struct place *place, size_t at, size_t count)
{
    struct slice pack = zset_pack(place->value);
    size_t size = pack_skip(pack, at, 2 * count) - at;
    pack_splice(value_payload(place->value), pack.len, at, size, 0);
    value_shrink(place, pack.len - size);
}

/* Whether a member is before a bound, scores left aside. */
static bool member_is_before(struct slice member, const struct zset_lex_bound *bound)
{
    struct zset_mark mark = {.member = bound->text, .edge = bound->edge};
    return zset_is_before(0, member, &mark);
}

/* As Redis walks: from the first member that is not below the minimum to the first above the
 * maximum. */
struct zset_ranks zset_pack_lex(struct slice pack, const struct zset_lex_range *range)
{
    /* What is above the maximum begins after a closed bound and at an open one. */
    struct zset_lex_bound end = range->max;
    if (end.edge == ZSET_EDGE_CLOSED || end.edge == ZSET_EDGE_OPEN) {
        end.edge = end.edge == ZSET_EDGE_CLOSED ? ZSET_EDGE_OPEN : ZSET_EDGE_CLOSED;
    }
    struct zset_ranks ranks = {0, 0};
    size_t at = 0;
    bool is_inside = false;
    for (; at < pack.len; ranks.end++) {
        struct zset_item item;
        at = zset_pack_read(pack, at, &item);
        is_inside = is_inside || !member_is_before(item.member, &range->min);
        if (!is_inside) {
            ranks.first++;
        } else if (!member_is_before(item.member, &end)) {
            break;
        }
    }
    return ranks;
}

void zset_pack_check(struct slice pack)
{
    size_t count;
    ASSERT(pack_check_bytes(pack, &count) && count % 2 == 0);
    struct zset_item last = {.score = 0};
    for (size_t at = 0; at < pack.len;) {
        struct pack_item bytes;
        struct zset_item item;
        size_t start = at;
        size_t score_at = pack_next(pack, at, &bytes);
        pack_next(pack, score_at, &bytes);
        at = zset_pack_read(pack, at, &item);
        ASSERT(!isnan(item.score));
        ASSERT(score_is_integer(item.score) == (bytes.data == NULL));
        ASSERT(bytes.data == NULL || bytes.len == SCORE_LEN);
        struct zset_mark mark = {
            .score = item.score, .member = item.member, .edge = ZSET_EDGE_CLOSED};
        ASSERT(start == 0 || zset_is_before(last.score, last.member, &mark));
        ASSERT(zset_pack_find(pack, item.member, NULL, NULL) == start);
        zset_pack_read(pack, start, &last);
    }
}
