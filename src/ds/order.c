/* A counted B+ tree of entry pointers.
 *
 *     inner, 1,000 bytes:  | count | level | child key hint entries | ... up to 31 slots, 32 bytes
 *                                              |
 *     leaf, 512 bytes:     | count | level | entry | entry | ... up to 63 pointers
 *
 * A slot tells of its child: the number of entries below it, the first of them, and that one's
 * hint. So a descent compares hints that lie together in the node and reads an entry only when its
 * hint equals the one sought. Leaves hold nothing but pointers; to search one, entries must be
 * read, and each is a cache miss. They are asked for in parallel: first seven that part the leaf in
 * eight, then the up to eight between two of those, so a search waits about twice, not six times.
 *
 * There are no links between nodes and none to parents: a cursor holds the path from the root. That
 * saves 16 bytes per node, and a walk pays one step up and down per 50 entries.
 *
 * Filling. Redistribution comes before growth: a full node and up to three of its neighbours (the
 * window) share their slots evenly; only when the whole window is nearly full does it get one node
 * more. Random insertion so leaves nodes 85 to 88 % full where plain halving leaves 69 %. At
 * either end of the sequence a full node stays full and a new one begins, so sorted input, rising
 * or falling, fills the nodes to 100 %. Removal joins a window of three when it fits in two at 7/8,
 * and shares again when a node is less than a quarter full.
 *
 * Costs. Per entry 8 / fill + 0.7 bytes: about 10.0 for random and 8.7 for sorted insertion. Rank,
 * selection, insertion, removal: O(log n), four levels for 40 million entries. The longest step
 * copies five nodes per level, 2 to 5 KiB each.
 *
 * Invariants, asserted by order_check:
 *   1. Entries rise strictly in the order of kind->is_before, and their hints never fall.
 *   2. A slot's count, key and hint are those of the entries below its child.
 *   3. All leaves are at level 0, a child is one level below its parent; no node is empty, none
 *      holds more than its capacity, the root has at least two children or is a leaf.
 *   4. The sums in struct order are exact.
 *
 * Rejected. Scores in the leaves: faster by the two misses, but 8 bytes more per entry. A skip
 * list: it costs 24 bytes and more per entry and a miss per step. Links between leaves: they would
 * have to be mended by every redistribution. Larger leaves: 1,024 bytes save 0.3 bytes per entry
 * and double what an insertion moves.
 *
 * Sources: Knuth, volume 3, 6.2.4 (B*-trees); Tatham, Counted B-Trees. */
#include "ds/order.h"

#include <assert.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/prefetch.h"

enum {
#ifdef OURO_HOSTILE
    LEAF_CAP = 5,
    INNER_CAP = 4,
#else
    LEAF_CAP = 63,
    INNER_CAP = 31,
#endif
    WINDOW = 4,       /* Nodes that share before there is one more. */
    WINDOW_SLACK = 2, /* Free slots per node that make sharing worth while. */
    JOIN_WINDOW = 3,
    PREFETCH_AHEAD = 6,
};

struct order_slot {
    struct order_node *child;
    void *key;       /* First entry below child. */
    uint64_t hint;   /* Of key. */
    uint64_t weight; /* Entries below child. */
};

struct order_node {
    uint32_t count; /* Slots in use. */
    uint32_t level; /* 0: a leaf, whose slots are bare entries. */
    uint64_t body[];
};
static_assert(sizeof(struct order_node) == 8, "a leaf is 512 bytes");

static inline void **leaf_entries(const struct order_node *node)
{
    return (void **)(uintptr_t)node->body;
}

static inline struct order_slot *inner_slots(const struct order_node *node)
{
    return (struct order_slot *)(uintptr_t)node->body;
}

static inline uint32_t level_cap(uint32_t level)
{
    return level == 0 ? LEAF_CAP : INNER_CAP;
}

static inline size_t level_slot_size(uint32_t level)
{
    return level == 0 ? sizeof(void *) : sizeof(struct order_slot);
}

static inline size_t level_node_size(uint32_t level)
{
    return sizeof(struct order_node) + level_cap(level) * level_slot_size(level);
}

static struct order_node *node_new(struct order *order, uint32_t level)
{
    ASSERT(level < ORDER_LEVELS_MAX);
    struct order_node *node = mem_alloc(level_node_size(level));
    node->count = 0;
    node->level = level;
    order->memory += level_node_size(level);
    return node;
}

static void node_free(struct order *order, struct order_node *node)
{
    order->memory -= level_node_size(node->level);
    mem_free_sized(node, level_node_size(node->level));
}

void order_init(struct order *order, const struct order_kind *kind)
{
    *order = (struct order){.kind = kind};
}

/* What a slot has to say of its child, which is not empty. */
static struct order_slot slot_of(const struct order *order, struct order_node *child)
{
    if (child->level == 0) {
        void *key = leaf_entries(child)[0];
        return (struct order_slot){child, key, order->kind->hint_of(key), child->count};
    }
    const struct order_slot *slots = inner_slots(child);
    struct order_slot slot = {child, slots[0].key, slots[0].hint, 0};
    for (uint32_t i = 0; i < child->count; i++) {
        slot.weight += slots[i].weight;
    }
    return slot;
}

/* --- Search ------------------------------------------------------------------------------------
 */

static inline bool slot_is_before(const struct order_slot *slot, const struct order_probe *probe)
{
    return slot->hint != probe->hint ? slot->hint < probe->hint
                                     : probe->is_before(slot->key, probe->key);
}

/* The last child whose first entry is before the probe, or the first. */
static uint32_t inner_find(const struct order_node *node, const struct order_probe *probe)
{
    const struct order_slot *slots = inner_slots(node);
    uint32_t low = 0;
    uint32_t high = node->count;
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (slot_is_before(&slots[middle], probe)) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static inline bool entry_is_before(const struct order_kind *kind, const void *entry,
                                   const struct order_probe *probe)
{
    uint64_t hint = kind->hint_of(entry);
    return hint != probe->hint ? hint < probe->hint : probe->is_before(entry, probe->key);
}

/* How many entries of a leaf are before the probe. */
static uint32_t leaf_find(const struct order_kind *kind, const struct order_node *leaf,
                          const struct order_probe *probe)
{
    void **entries = leaf_entries(leaf);
    uint32_t low = 0; /* All below low are before the probe, none from high on. */
    uint32_t high = leaf->count;
    while (low < high) {
        uint32_t step = (high - low + 7) / 8;
        for (uint32_t i = low + step - 1; i < high; i += step) {
            prefetch(entries[i]);
        }
        /* The strides are low + step * k; find the one in which the place lies. */
        uint32_t first = 0;
        uint32_t last = (high - low) / step;
        while (first < last) {
            uint32_t middle = (first + last) / 2;
            if (entry_is_before(kind, entries[low + step * (middle + 1) - 1], probe)) {
                first = middle + 1;
            } else {
                last = middle;
            }
        }
        uint32_t end = low + step * (first + 1) - 1;
        low += step * first;
        high = end < high ? end : high;
    }
    return low;
}

/* Descends to the place of the probe and returns its rank. Index 0 is then a position between 0
 * and the leaf's count. */
static size_t descend(const struct order *order, const struct order_probe *probe,
                      struct order_cursor *path)
{
    struct order_node *node = order->root;
    size_t rank = 0;
    path->levels = node->level + 1;
    for (uint32_t level = node->level; level > 0; level--) {
        uint32_t index = inner_find(node, probe);
        path->nodes[level] = node;
        path->index[level] = index;
        const struct order_slot *slots = inner_slots(node);
        for (uint32_t i = 0; i < index; i++) {
            rank += slots[i].weight;
        }
        node = slots[index].child;
    }
    path->nodes[0] = node;
    path->index[0] = leaf_find(order->kind, node, probe);
    return rank + path->index[0];
}

static struct order_probe probe_of(const struct order *order, const void *entry)
{
    return (struct order_probe){
        .hint = order->kind->hint_of(entry), .is_before = order->kind->is_before, .key = entry};
}

size_t order_rank(const struct order *order, const struct order_probe *probe)
{
    struct order_cursor path;
    return order->root == NULL ? 0 : descend(order, probe, &path);
}

size_t order_rank_of(const struct order *order, const void *entry)
{
    struct order_probe probe = probe_of(order, entry);
    return order_rank(order, &probe);
}

/* --- Walks -------------------------------------------------------------------------------------
 */

void *order_seek(const struct order *order, size_t rank, struct order_cursor *cursor)
{
    cursor->levels = 0;
    if (rank >= order->count) {
        return NULL;
    }
    struct order_node *node = order->root;
    cursor->levels = node->level + 1;
    while (node->level > 0) {
        const struct order_slot *slots = inner_slots(node);
        uint32_t index = 0;
        while (rank >= slots[index].weight) {
            rank -= slots[index++].weight;
        }
        cursor->nodes[node->level] = node;
        cursor->index[node->level] = index;
        node = slots[index].child;
    }
    cursor->nodes[0] = node;
    cursor->index[0] = (uint32_t)rank;
    return leaf_entries(node)[rank];
}

void *order_at(const struct order *order, size_t rank)
{
    struct order_cursor cursor;
    return order_seek(order, rank, &cursor);
}

/* Goes down from `level`, whose index is set, to the first or last entry below. */
static void *cursor_descend(struct order_cursor *cursor, uint32_t level, bool is_last)
{
    for (; level > 0; level--) {
        struct order_node *child = inner_slots(cursor->nodes[level])[cursor->index[level]].child;
        cursor->nodes[level - 1] = child;
        cursor->index[level - 1] = is_last ? child->count - 1 : 0;
    }
    return leaf_entries(cursor->nodes[0])[cursor->index[0]];
}

void *order_next(struct order_cursor *cursor)
{
    for (uint32_t level = 0; level < cursor->levels; level++) {
        const struct order_node *node = cursor->nodes[level];
        if (cursor->index[level] + 1 < node->count) {
            cursor->index[level]++;
            if (level == 0 && cursor->index[0] + PREFETCH_AHEAD < node->count) {
                prefetch(leaf_entries(node)[cursor->index[0] + PREFETCH_AHEAD]);
            }
            return cursor_descend(cursor, level, false);
        }
    }
    cursor->levels = 0;
    return NULL;
}

void *order_previous(struct order_cursor *cursor)
{
    for (uint32_t level = 0; level < cursor->levels; level++) {
        if (cursor->index[level] > 0) {
            cursor->index[level]--;
            if (level == 0 && cursor->index[0] >= PREFETCH_AHEAD) {
                prefetch(leaf_entries(cursor->nodes[0])[cursor->index[0] - PREFETCH_AHEAD]);
            }
            return cursor_descend(cursor, level, true);
        }
    }
    cursor->levels = 0;
    return NULL;
}

/* --- Sharing among neighbours ------------------------------------------------------------------
 */

/* Neighbours under one parent: slots first .. first + count - 1. */
struct window {
    struct order_node *parent;
    uint32_t first;
    uint32_t count;
    uint32_t total; /* Slots in all of them. */
};

/* The window of at most `max` children around child `index`. */
static struct window window_around(struct order_node *parent, uint32_t index, uint32_t max)
{
    struct window window = {.parent = parent, .count = parent->count < max ? parent->count : max};
    uint32_t before = (window.count - 1) / 2;
    window.first = index < before ? 0 : index - before;
    if (window.first + window.count > parent->count) {
        window.first = parent->count - window.count;
    }
    for (uint32_t i = 0; i < window.count; i++) {
        window.total += inner_slots(parent)[window.first + i].child->count;
    }
    return window;
}

/* Makes the window's children `count` nodes, new ones at its end or fewer, without content. */
static void window_resize(struct order *order, struct window *window, uint32_t count)
{
    struct order_node *parent = window->parent;
    struct order_slot *slots = inner_slots(parent);
    uint32_t level = parent->level - 1;
    uint32_t end = window->first + window->count;
    for (uint32_t i = window->first + count; i < end; i++) {
        node_free(order, slots[i].child);
    }
    memmove(&slots[window->first + count], &slots[end], (parent->count - end) * sizeof(*slots));
    for (uint32_t i = end; i < window->first + count; i++) {
        slots[i].child = node_new(order, level);
    }
    parent->count = parent->count + count - window->count;
    window->count = count;
}

/* Shares the window's content evenly among `count` nodes. */
static void window_share(struct order *order, struct window *window, uint32_t count)
{
    uint64_t buffer[(WINDOW + 1) * INNER_CAP * sizeof(struct order_slot) / sizeof(uint64_t)];
    static_assert((size_t)LEAF_CAP * sizeof(void *) <= INNER_CAP * sizeof(struct order_slot),
                  "the buffer holds leaves too");
    uint32_t level = window->parent->level - 1;
    size_t size = level_slot_size(level);
    char *at = (char *)buffer;
    struct order_slot *slots = inner_slots(window->parent) + window->first;
    for (uint32_t i = 0; i < window->count; i++) {
        memcpy(at, slots[i].child->body, slots[i].child->count * size);
        at += slots[i].child->count * size;
    }
    window_resize(order, window, count);
    at = (char *)buffer;
    for (uint32_t i = 0; i < count; i++) {
        struct order_node *child = slots[i].child;
        child->count = window->total * (i + 1) / count - window->total * i / count;
        memcpy(child->body, at, child->count * size);
        at += child->count * size;
        slots[i] = slot_of(order, child);
    }
}

/* The key and hint of the first slot of the node at `level` changed: so did those of its parents,
 * as far up as it is the first. */
static void path_mend(const struct order_cursor *path, uint32_t level, void *key, uint64_t hint)
{
    while (++level < path->levels) {
        struct order_slot *slot = &inner_slots(path->nodes[level])[path->index[level]];
        slot->key = key;
        slot->hint = hint;
        if (path->index[level] != 0) {
            return;
        }
    }
}

/* --- Insertion ---------------------------------------------------------------------------------
 */

/* Whether the path runs along the right (or left) edge of the tree from `level` up. */
static bool path_is_edge(const struct order_cursor *path, uint32_t level, bool is_right)
{
    for (; level < path->levels; level++) {
        if (path->index[level] != (is_right ? path->nodes[level]->count - 1 : 0)) {
            return false;
        }
    }
    return true;
}

static void grow_root(struct order *order, struct order_cursor *path)
{
    struct order_node *root = node_new(order, order->root->level + 1);
    inner_slots(root)[0] = slot_of(order, order->root);
    root->count = 1;
    order->root = root;
    path->nodes[root->level] = root;
    path->index[root->level] = 0;
    path->levels = root->level + 1;
}

/* Puts an empty node at the edge of the tree, along which the path runs, and the path into it. */
static void begin_node(struct order *order, struct order_cursor *path, uint32_t level,
                       bool is_right)
{
    if (level + 1 == path->levels) {
        grow_root(order, path);
    } else if (path->nodes[level + 1]->count == INNER_CAP) {
        begin_node(order, path, level + 1, is_right);
    }
    struct order_node *parent = path->nodes[level + 1];
    struct order_node *node = node_new(order, level);
    struct order_slot *slots = inner_slots(parent);
    uint32_t at = is_right ? parent->count : 0;
    memmove(&slots[at + 1], &slots[at], (parent->count - at) * sizeof(*slots));
    slots[at] = (struct order_slot){.child = node};
    parent->count++;
    path->index[level + 1] = at;
    path->nodes[level] = node;
    path->index[level] = 0;
}

/* Shares a full node's window, with one node more when it has no room, and moves the path to where
 * what it meant now is: in a leaf a position between entries, above it a child. */
static void share_room(struct order *order, struct order_cursor *path, uint32_t level)
{
    if (level + 1 == path->levels) {
        grow_root(order, path);
    }
    uint32_t cap = level_cap(level);
    struct window window = window_around(path->nodes[level + 1], path->index[level + 1], WINDOW);
    uint32_t count = window.count;
    if (window.total + WINDOW_SLACK * count > cap * count) {
        if (window.parent->count == INNER_CAP) {
            share_room(order, path, level + 1);
            window = window_around(path->nodes[level + 1], path->index[level + 1], WINDOW);
        }
        count = window.count + 1;
    }
    struct order_slot *slots = inner_slots(window.parent) + window.first;
    uint32_t position = path->index[level];
    for (uint32_t i = 0; window.first + i < path->index[level + 1]; i++) {
        position += slots[i].child->count;
    }
    window_share(order, &window, count);
    uint32_t i = 0;
    while (position > slots[i].child->count || (position == slots[i].child->count && level > 0)) {
        position -= slots[i++].child->count;
    }
    path->index[level + 1] = window.first + i;
    path->nodes[level] = slots[i].child;
    path->index[level] = position;
}

/* Makes room in the full leaf of the path, where an entry is about to go, and moves the path along.
 */
static void make_room(struct order *order, struct order_cursor *path)
{
    if (path->index[0] == path->nodes[0]->count && path_is_edge(path, 1, true)) {
        begin_node(order, path, 0, true);
    } else if (path->index[0] == 0 && path_is_edge(path, 1, false)) {
        begin_node(order, path, 0, false);
    } else {
        share_room(order, path, 0);
    }
}

static void path_insert(struct order *order, struct order_cursor *path, void *entry)
{
    if (path->nodes[0]->count == LEAF_CAP) {
        make_room(order, path);
    }
    struct order_node *leaf = path->nodes[0];
    void **at = leaf_entries(leaf) + path->index[0];
    memmove(at + 1, at, (leaf->count - path->index[0]) * sizeof(*at));
    *at = entry;
    leaf->count++;
    order->count++;
    for (uint32_t level = 1; level < path->levels; level++) {
        inner_slots(path->nodes[level])[path->index[level]].weight++;
    }
    if (path->index[0] == 0) {
        path_mend(path, 0, entry, order->kind->hint_of(entry));
    }
}

static void ensure_root(struct order *order)
{
    if (order->root == NULL) {
        order->root = node_new(order, 0);
    }
}

void order_insert(struct order *order, void *entry)
{
    struct order_cursor path;
    struct order_probe probe = probe_of(order, entry);
    ensure_root(order);
    descend(order, &probe, &path);
    path_insert(order, &path, entry);
}

void order_append(struct order *order, void *entry)
{
    struct order_cursor path;
    ensure_root(order);
    path.levels = order->root->level + 1;
    path.nodes[order->root->level] = order->root;
    for (uint32_t level = order->root->level; level > 0; level--) {
        path.index[level] = path.nodes[level]->count - 1;
        path.nodes[level - 1] = inner_slots(path.nodes[level])[path.index[level]].child;
    }
    path.index[0] = path.nodes[0]->count;
    path_insert(order, &path, entry);
}

/* --- Removal -----------------------------------------------------------------------------------
 */

/* Slots that the joined nodes of a window hold at most, on average. */
static uint32_t level_join_fill(uint32_t level)
{
    return level_cap(level) * 7 / 8;
}

/* Joins or shares the node at `level` with its neighbours when it holds too little. Returns whether
 * its parent has fewer children now. */
static bool refill(struct order *order, struct order_cursor *path, uint32_t level)
{
    uint32_t held = path->nodes[level]->count;
    uint32_t cap = level_cap(level);
    if (held >= cap / 2) {
        return false;
    }
    struct window window =
        window_around(path->nodes[level + 1], path->index[level + 1], JOIN_WINDOW);
    uint32_t fill = level_join_fill(level);
    uint32_t count = (window.total + fill - 1) / fill;
    uint32_t old_count = window.count;
    if (count >= old_count && (held >= cap / 4 + 1 || old_count == 1)) {
        return false;
    }
    if (count > old_count) {
        count = old_count;
    }
    window_share(order, &window, count);
    const struct order_node *parent = window.parent;
    if (window.first == 0 && parent->count > 0) {
        path->index[level + 1] = 0;
        path_mend(path, level + 1, inner_slots(parent)[0].key, inner_slots(parent)[0].hint);
    }
    return count < old_count;
}

static void shrink_root(struct order *order)
{
    while (order->root != NULL &&
           (order->root->count == 0 || (order->root->level > 0 && order->root->count == 1))) {
        struct order_node *root = order->root;
        order->root = root->count == 0 ? NULL : inner_slots(root)[0].child;
        node_free(order, root);
    }
}

static void *path_remove(struct order *order, struct order_cursor *path)
{
    struct order_node *leaf = path->nodes[0];
    void **at = leaf_entries(leaf) + path->index[0];
    void *entry = *at;
    leaf->count--;
    order->count--;
    memmove(at, at + 1, (leaf->count - path->index[0]) * sizeof(*at));
    for (uint32_t level = 1; level < path->levels; level++) {
        inner_slots(path->nodes[level])[path->index[level]].weight--;
    }
    if (path->index[0] == 0 && leaf->count > 0) {
        void *first = leaf_entries(leaf)[0];
        path_mend(path, 0, first, order->kind->hint_of(first));
    }
    for (uint32_t level = 0; level + 1 < path->levels; level++) {
        if (!refill(order, path, level)) {
            break;
        }
    }
    shrink_root(order);
    return entry;
}

void order_remove(struct order *order, const void *entry)
{
    struct order_cursor path;
    struct order_probe probe = probe_of(order, entry);
    ASSERT(order->root != NULL);
    size_t rank = descend(order, &probe, &path);
    if (path.index[0] == path.nodes[0]->count) {
        /* The place is the end of one leaf; the entry is the first of the next. */
        ASSERT(order_seek(order, rank, &path) != NULL);
    }
    ASSERT(leaf_entries(path.nodes[0])[path.index[0]] == entry);
    path_remove(order, &path);
}

void *order_remove_at(struct order *order, size_t rank)
{
    struct order_cursor path;
    ASSERT(order_seek(order, rank, &path) != NULL);
    return path_remove(order, &path);
}

/* --- Destruction -------------------------------------------------------------------------------
 */

/* Pending nodes are chained through a word of their first slot that is not needed any more: of a
 * leaf the entry, of an inner node the key. */
static struct order_node **node_chain(struct order_node *node)
{
    return node->level == 0 ? (struct order_node **)(void *)leaf_entries(node)
                            : (struct order_node **)(void *)&inner_slots(node)[0].key;
}

void order_drain_begin(struct order_drain *drain, struct order *order)
{
    drain->pending = order->root;
    if (order->root != NULL) {
        *node_chain(order->root) = NULL;
    }
    order_init(order, order->kind);
}

bool order_drain_step(struct order_drain *drain, size_t nodes_max)
{
    for (; drain->pending != NULL && nodes_max > 0; nodes_max--) {
        struct order_node *node = drain->pending;
        drain->pending = *node_chain(node);
        for (uint32_t i = 0; node->level > 0 && i < node->count; i++) {
            struct order_node *child = inner_slots(node)[i].child;
            *node_chain(child) = drain->pending;
            drain->pending = child;
        }
        mem_free_sized(node, level_node_size(node->level));
    }
    return drain->pending == NULL;
}

void order_deinit(struct order *order)
{
    struct order_drain drain;
    order_drain_begin(&drain, order);
    while (!order_drain_step(&drain, SIZE_MAX)) {
    }
}

/* --- Check -------------------------------------------------------------------------------------
 */

struct order_audit {
    const struct order *order;
    const void *last; /* The entry before, or NULL. */
    size_t count;
    size_t memory;
};

static void check_leaf(struct order_audit *audit, const struct order_node *leaf)
{
    const struct order_kind *kind = audit->order->kind;
    for (uint32_t i = 0; i < leaf->count; i++) {
        const void *entry = leaf_entries(leaf)[i];
        if (audit->last != NULL) {
            ASSERT(kind->is_before(audit->last, entry));
            ASSERT(!kind->is_before(entry, audit->last));
            ASSERT(kind->hint_of(audit->last) <= kind->hint_of(entry));
        }
        audit->last = entry;
        audit->count++;
    }
}

static void check_node(struct order_audit *audit, const struct order_node *node)
{
    ASSERT(node->count > 0 && node->count <= level_cap(node->level));
    audit->memory += level_node_size(node->level);
    if (node->level == 0) {
        check_leaf(audit, node);
        return;
    }
    for (uint32_t i = 0; i < node->count; i++) {
        const struct order_slot *slot = &inner_slots(node)[i];
        ASSERT(slot->child->level + 1 == node->level);
        size_t count = audit->count;
        check_node(audit, slot->child);
        struct order_slot wanted = slot_of(audit->order, slot->child);
        ASSERT(audit->count - count == slot->weight && slot->weight == wanted.weight);
        ASSERT(slot->key == wanted.key && slot->hint == wanted.hint);
        ASSERT(slot->hint == audit->order->kind->hint_of(slot->key));
    }
}

void order_check(const struct order *order)
{
    struct order_audit audit = {.order = order};
    if (order->root != NULL) {
        ASSERT(order->root->level == 0 || order->root->count > 1);
        check_node(&audit, order->root);
    }
    ASSERT(audit.count == order->count);
    ASSERT(audit.memory == order->memory);
}
