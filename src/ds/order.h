/* An ordered sequence of pointers to entries: a counted B+ tree. An entry holds its own key; the
 * tree asks through `struct order_kind` which of two comes first. Rank, selection by rank, bounds,
 * insertion and removal are O(log n), walks go in either direction from any rank. The layout and
 * the essay are in order.c.
 *
 * Hints. Most comparisons should not have to read an entry, which is a cache miss: each entry has a
 * 64-bit number, its hint, that never falls along the order. Where hints differ they decide. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct order_node;

/* Whether `entry` comes before what `key` stands for. */
typedef bool (*order_before_fn)(const void *entry, const void *key);

/* What a tree must know about its entries. It outlives the tree. No two entries are equal. */
struct order_kind {
    uint64_t (*hint_of)(const void *entry);
    order_before_fn is_before; /* The key is another entry. */
};

/* Embedded by value; may be moved in memory. Fields are private. */
struct order {
    struct order_node *root; /* NULL when empty. */
    const struct order_kind *kind;
    size_t count;  /* Entries. */
    size_t memory; /* Bytes of nodes. */
};

/* A place between entries that need not be there: behind all entries that are before it. Entries
 * with a lower hint are before it, those with a higher one are not; is_before decides on equal
 * hints, and is false from the place on. */
struct order_probe {
    uint64_t hint;
    order_before_fn is_before;
    const void *key;
};

/* `kind` is borrowed. Allocates nothing. */
void order_init(struct order *order, const struct order_kind *kind);

/* Frees the nodes at once, not the entries; the tree is then empty and usable. For large trees see
 * order_drain_begin. */
void order_deinit(struct order *order);

static inline size_t order_count(const struct order *order)
{
    return order->count;
}

/* Bytes of nodes, without the struct itself. O(1). */
static inline size_t order_memory(const struct order *order)
{
    return order->memory;
}

/* --- Reading --------------------------------------------------------------------------------- */

/* How many entries are before the probe. */
size_t order_rank(const struct order *order, const struct order_probe *probe);

/* How many entries are before this one, which is in the tree. */
size_t order_rank_of(const struct order *order, const void *entry);

/* The entry that `rank` entries are before, or NULL. */
void *order_at(const struct order *order, size_t rank);

/* A place in the tree: from the leaf (0) up, which slot of which node. Valid until the tree
 * changes. Nothing to close. */
enum { ORDER_LEVELS_MAX = 24 };
struct order_cursor {
    struct order_node *nodes[ORDER_LEVELS_MAX];
    uint32_t index[ORDER_LEVELS_MAX];
    uint32_t levels;
};

/* Places the cursor on the entry at `rank`, which it returns; NULL when there is none. */
void *order_seek(const struct order *order, size_t rank, struct order_cursor *cursor);

/* Steps to the neighbour and returns it; NULL beyond either end, and the cursor is then done. */
void *order_next(struct order_cursor *cursor);
void *order_previous(struct order_cursor *cursor);

/* --- Change ---------------------------------------------------------------------------------- */

/* Adds an entry that is not there. The longest step copies about five nodes per level. Does not
 * fail. */
void order_insert(struct order *order, void *entry);

/* The same for an entry that comes after all others: no comparisons, and nodes are left full. For
 * building from sorted entries. */
void order_append(struct order *order, void *entry);

/* Removes an entry that is there. */
void order_remove(struct order *order, const void *entry);

/* Removes and returns the entry at `rank`, which is below the count. */
void *order_remove_at(struct order *order, size_t rank);

/* --- Destruction in slices ------------------------------------------------------------------- */

/* Nodes that were taken from a tree, on their way to be freed. */
struct order_drain {
    struct order_node *pending; /* Private: a chain through the nodes. */
};

/* Moves everything out of `order`, which is empty afterwards. O(1). The entries are not the
 * drain's: they are never read. */
void order_drain_begin(struct order_drain *drain, struct order *order);

/* Frees up to `nodes_max` nodes; true when all are gone. */
bool order_drain_step(struct order_drain *drain, size_t nodes_max);

/* Asserts the invariants listed in order.c. O(n), reads every entry. */
void order_check(const struct order *order);
