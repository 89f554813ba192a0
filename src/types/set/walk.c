/* Walks over sets: all members, a random one, and SSCAN.
 *
 * Costs. 2 to 10 ns per member when memory is warm; a table's walk asks for members one bucket
 * ahead. A random member of a table is drawn by its place (see table_random), one of an intset by
 * its index, one of a pack by two walks over it.
 *
 * SSCAN of a table gives positions in the order of hashes as cursors, which growing and shrinking
 * do not touch. Small forms are told whole, with 0 as the next cursor: so a scan that began before
 * a set became a table has ended already, and sets never go back. */
#include "base/assert.h"
#include "ds/pack.h"
#include "types/set/set_internal.h"

/* SSCAN gives up on empty buckets after so many per member asked for, as Redis does. */
enum { SCAN_BUCKETS_PER_MEMBER = 10 };

static struct set_item item_of_packed(const struct pack_item *packed)
{
    if (packed->data == NULL) {
        return set_item_of_i64(packed->number);
    }
    struct slice text = slice_of(packed->data, packed->len);
    return (struct set_item){
        .data = packed->data, .len = packed->len, .word = set_word_of_text(text)};
}

void set_walk_begin(struct set_walk *walk, const struct value *value)
{
    *walk = (struct set_walk){.value = value};
    if (value_encoding(value) == SET_HASHED) {
        table_iterate(&set_hashed_of(value)->table, &walk->iterator);
    }
}

bool set_walk_next(struct set_walk *walk, struct set_item *item)
{
    const struct value *value = walk->value;
    if (value_encoding(value) == SET_HASHED) {
        const void *entry = table_next(&walk->iterator);
        if (entry != NULL) {
            *item = set_hashed_item(entry);
        }
        return entry != NULL;
    }
    if (value_encoding(value) == SET_PACKED) {
        struct pack_item packed;
        if (walk->at == value->len) {
            return false;
        }
        walk->at = pack_next(set_pack(value), walk->at, &packed);
        *item = item_of_packed(&packed);
        return true;
    }
    struct intset ints = set_ints(value);
    if (walk->at == ints.count) {
        return false;
    }
    *item = set_item_of_i64(intset_get(&ints, walk->at++));
    return true;
}

size_t set_walk_batch(struct set_walk *walk, struct set_item *items, size_t max)
{
    size_t count = 0;
    while (count < max && set_walk_next(walk, &items[count])) {
        count++;
    }
    return count;
}

struct set_item set_random(const struct value *value, struct rng *rng)
{
    if (value_encoding(value) == SET_HASHED) {
        return set_hashed_item(table_random(&set_hashed_of(value)->table, rng));
    }
    uint64_t index = rng_below(rng, set_count(value));
    if (value_encoding(value) == SET_PACKED) {
        struct pack_item packed;
        struct slice pack = set_pack(value);
        pack_next(pack, pack_skip(pack, 0, index), &packed);
        return item_of_packed(&packed);
    }
    struct intset ints = set_ints(value);
    return set_item_of_i64(intset_get(&ints, index));
}

static void scan_on_entry(void *context, void *entry)
{
    const struct set_visitor *visitor = context;
    struct set_item item = set_hashed_item(entry);
    visitor->visit(visitor->context, &item);
}

uint64_t set_scan(const struct value *value, uint64_t cursor, size_t count,
                  const struct set_visitor *visitor)
{
    if (value_encoding(value) == SET_HASHED) {
        struct set_visitor own = *visitor;
        size_t buckets_max =
            count < SIZE_MAX / SCAN_BUCKETS_PER_MEMBER ? count * SCAN_BUCKETS_PER_MEMBER : SIZE_MAX;
        struct table_walk walk = {.visit = scan_on_entry,
                                  .context = &own,
                                  .entries_max = count,
                                  .buckets_max = buckets_max};
        return table_scan(&set_hashed_of(value)->table, cursor, &walk);
    }
    struct set_walk walk;
    struct set_item item;
    set_walk_begin(&walk, value);
    while (set_walk_next(&walk, &item)) {
        visitor->visit(visitor->context, &item);
    }
    return 0;
}
