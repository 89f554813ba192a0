/* Walks over sorted sets, in order from a rank or in no order from a cursor.
 *
 * A tree is walked by a cursor of its own. A pack can only be read forwards, so a walk holds the
 * offsets of up to ZSET_WALK_BLOCK members, which at the usual limit are all of them: backward
 * steps and jumps to any rank then cost nothing. Of a larger pack the block that holds the wanted
 * rank is read anew from the front.
 *
 * ZSCAN of a table gives positions in the order of hashes as cursors, which growing and shrinking
 * do not disturb. A packed set answers whole. Once it has become large, a cursor other than 0 can
 * only come from its table. */
#include "types/zset/zset_internal.h"

/* Reads the offsets of the block in which `rank` lies: beginning with it, or, for a reverse walk,
 * ending with it. */
static void walk_load(struct zset_walk *walk, size_t rank)
{
    struct slice pack = zset_pack(walk->value);
    size_t before = walk->is_reverse ? ZSET_WALK_BLOCK - 1 : 0;
    size_t first = rank < before || walk->count <= ZSET_WALK_BLOCK ? 0 : rank - before;
    size_t at = pack_skip(pack, 0, 2 * first);
    size_t held = 0;
    while (held < ZSET_WALK_BLOCK && at < pack.len) {
        walk->pack.offsets[held++] = (uint16_t)at;
        at = pack_skip(pack, at, 2);
    }
    walk->pack.first = first;
    walk->pack.held = held;
}

static void walk_read_pack(struct zset_walk *walk, size_t rank, struct zset_item *item)
{
    if (rank < walk->pack.first || rank >= walk->pack.first + walk->pack.held) {
        walk_load(walk, rank);
    }
    zset_pack_read(zset_pack(walk->value), walk->pack.offsets[rank - walk->pack.first], item);
}

static void read_entry(const struct zset_entry *entry, struct zset_item *item)
{
    item->member = zset_entry_member(entry);
    item->score = entry->score;
}

void zset_walk_begin(struct zset_walk *walk, const struct value *value, size_t rank,
                     bool is_reverse)
{
    walk->value = value;
    walk->is_reverse = is_reverse;
    walk->rank = rank;
    if (value_encoding(value) == ZSET_LARGE) {
        walk->tree.entry = order_seek(&zset_large_of(value)->order, rank, &walk->tree.cursor);
        return;
    }
    walk->count = zset_count(value);
    walk->pack.first = 0;
    walk->pack.held = 0;
}

bool zset_walk_next(struct zset_walk *walk, struct zset_item *item)
{
    if (value_encoding(walk->value) == ZSET_LARGE) {
        if (walk->tree.entry == NULL) {
            return false;
        }
        read_entry(walk->tree.entry, item);
        walk->tree.entry =
            walk->is_reverse ? order_previous(&walk->tree.cursor) : order_next(&walk->tree.cursor);
        return true;
    }
    if (walk->rank >= walk->count) {
        return false; /* A step before the first member wraps round to here, too. */
    }
    walk_read_pack(walk, walk->rank, item);
    walk->rank += walk->is_reverse ? SIZE_MAX : 1;
    return true;
}

void zset_walk_at(struct zset_walk *walk, size_t rank, struct zset_item *item)
{
    if (value_encoding(walk->value) == ZSET_LARGE) {
        read_entry(order_at(&zset_large_of(walk->value)->order, rank), item);
    } else {
        walk_read_pack(walk, rank, item);
    }
}

/* ---- ZSCAN ---- */

static void on_entry(void *context, void *entry)
{
    const struct zset_visitor *visitor = context;
    struct zset_item item;
    read_entry(entry, &item);
    visitor->visit(visitor->context, &item);
}

uint64_t zset_scan(const struct value *value, uint64_t cursor, size_t count,
                   const struct zset_visitor *visitor)
{
    if (value_encoding(value) == ZSET_LARGE) {
        struct table_walk walk = {.visit = on_entry,
                                  .context = (void *)(uintptr_t)visitor,
                                  .entries_max = count,
                                  .buckets_max = count > SIZE_MAX / 10 ? SIZE_MAX : count * 10};
        return table_scan(&zset_large_of(value)->table, cursor, &walk);
    }
    struct slice pack = zset_pack(value);
    for (size_t at = 0; at < pack.len;) {
        struct zset_item item;
        at = zset_pack_read(pack, at, &item);
        visitor->visit(visitor->context, &item);
    }
    return 0;
}
