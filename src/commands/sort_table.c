/* A bottom-up merge sort that can stop after any item.
 *
 *     width 0: runs of RUN_LEN are put in order by insertion, in place
 *     width w: | run | run | run | run |  items
 *              merged into |    run    |    run    |  spare; then the two change places
 *
 * Items stand in segments of 48 KiB: one piece of many megabytes would be given back to the kernel
 * in one go, which takes milliseconds.
 *
 * All state is in the table, so a step does so many moves and returns; the next goes on. Equal
 * items keep their order. Costs n log2(n / RUN_LEN) moves of 24 bytes; a comparison of texts reads
 * both. Texts live in blocks of 32 KiB, one after the other in order of arrival, so the first
 * passes read memory almost sequentially.
 *
 * Rejected: quicksort, whose worst case a client could choose, and heapsort, which is not stable
 * and jumps about in memory. */
#include "commands/sort.h"

#include "base/mem.h"

#ifdef OURO_HOSTILE
enum { RUN_LEN = 2, BLOCK_LEN = 256 };
#else
enum { RUN_LEN = 8, BLOCK_LEN = 32 * 1024 };
#endif

struct sort_block {
    struct sort_block *next;
    size_t len, cap;
    char bytes[];
};

static size_t segment_count(const struct sort_table *table)
{
    return (table->cap + SORT_SEGMENT_LEN - 1) / SORT_SEGMENT_LEN;
}

bool sort_table_try_init(struct sort_table *table, size_t cap, const struct sort_order *order)
{
    *table = (struct sort_table){.cap = cap, .order = *order};
    if (cap == 0) {
        return true;
    }
    size_t size = segment_count(table) * sizeof(*table->items);
    table->items = mem_try_alloc(size);
    table->spare = mem_try_alloc(size);
    if (table->items == NULL || table->spare == NULL) {
        mem_free(table->items);
        mem_free(table->spare);
        *table = (struct sort_table){.cap = 0};
        return false;
    }
    memset(table->items, 0, size);
    memset(table->spare, 0, size);
    return true;
}

struct sort_item *sort_table_try_add(struct sort_table *table)
{
    size_t segment = table->count / SORT_SEGMENT_LEN;
    size_t size = SORT_SEGMENT_LEN * sizeof(struct sort_item);
    if (table->items[segment] == NULL) {
        table->items[segment] = mem_try_alloc(size);
    }
    if (table->spare[segment] == NULL) {
        table->spare[segment] = mem_try_alloc(size);
    }
    if (table->items[segment] == NULL || table->spare[segment] == NULL) {
        return NULL;
    }
    return sort_table_item(table, table->count);
}

const char *sort_table_keep(struct sort_table *table, struct slice bytes)
{
    struct sort_block *block = table->blocks;
    if (block == NULL || block->cap - block->len < bytes.len) {
        size_t cap = bytes.len < BLOCK_LEN / 4 ? BLOCK_LEN - sizeof(*block) : bytes.len;
        block = mem_try_alloc(sizeof(*block) + cap);
        if (block == NULL) {
            return NULL;
        }
        block->next = table->blocks;
        block->len = 0;
        block->cap = cap;
        table->blocks = block;
    }
    char *at = block->bytes + block->len;
    if (bytes.len > 0) {
        memcpy(at, bytes.data, bytes.len);
    }
    block->len += bytes.len;
    return at;
}

/* ---- Order ---- */

/* As strcoll compares in the C locale: bytes up to a NUL. */
static int compare_texts(struct slice a, struct slice b)
{
    a.len = a.len == 0 ? 0 : strnlen(a.data, a.len);
    b.len = b.len == 0 ? 0 : strnlen(b.data, b.len);
    return slice_compare(a, b);
}

static int compare_alpha(const struct sort_order *order, const struct sort_item *a,
                         const struct sort_item *b)
{
    struct slice left = slice_of(a->text, a->len);
    struct slice right = slice_of(b->text, b->len);
    if (order->is_by) {
        if (a->by_len == SORT_ABSENT || b->by_len == SORT_ABSENT) {
            return (a->by_len != SORT_ABSENT) - (b->by_len != SORT_ABSENT);
        }
        left = slice_of(a->by, a->by_len);
        right = slice_of(b->by, b->by_len);
    }
    return order->is_binary ? slice_compare(left, right) : compare_texts(left, right);
}

/* Equal scores are told apart by the elements' bytes, as Redis does. */
static int compare(const struct sort_order *order, const struct sort_item *a,
                   const struct sort_item *b)
{
    int result = 0;
    if (order->is_alpha) {
        result = compare_alpha(order, a, b);
    } else {
        result = (a->score > b->score) - (a->score < b->score);
        if (result == 0) {
            result = slice_compare(slice_of(a->text, a->len), slice_of(b->text, b->len));
        }
    }
    return order->is_descending ? -result : result;
}

/* ---- The sort ---- */

static void sort_run_at(struct sort_table *table, size_t first, size_t end)
{
    for (size_t i = first + 1; i < end; i++) {
        struct sort_item item = *sort_table_item(table, i);
        size_t at = i;
        for (; at > first && compare(&table->order, sort_table_item(table, at - 1), &item) > 0;
             at--) {
            *sort_table_item(table, at) = *sort_table_item(table, at - 1);
        }
        *sort_table_item(table, at) = item;
    }
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Aims the merge at the two runs that begin at `first`. */
static void merge_aim(struct sort_table *table, size_t first)
{
    table->out = first;
    table->left = first;
    table->left_end = table->right = least(first + table->width, table->count);
    table->right_end = least(table->right + table->width, table->count);
}

static void merge_pass_begin(struct sort_table *table, size_t width)
{
    table->width = width;
    merge_aim(table, 0);
}

/* Moves one item. */
static void merge_move(struct sort_table *table)
{
    bool is_left = table->right == table->right_end ||
                   (table->left < table->left_end &&
                    compare(&table->order, sort_table_item(table, table->left),
                            sort_table_item(table, table->right)) <= 0);
    size_t from = is_left ? table->left++ : table->right++;
    table->spare[table->out / SORT_SEGMENT_LEN][table->out % SORT_SEGMENT_LEN] =
        *sort_table_item(table, from);
    table->out++;
    if (table->out == table->right_end && table->out < table->count) {
        merge_aim(table, table->out);
    }
}

bool sort_table_step(struct sort_table *table, size_t moves)
{
    while (table->width == 0) {
        if (moves == 0) {
            return false;
        }
        size_t end = least(table->out + RUN_LEN, table->count);
        sort_run_at(table, table->out, end);
        moves -= least(moves, end - table->out);
        table->out = end;
        if (end == table->count) {
            merge_pass_begin(table, RUN_LEN);
        }
    }
    while (table->width < table->count) {
        if (moves-- == 0) {
            return false;
        }
        merge_move(table);
        if (table->out == table->count) {
            struct sort_item **sorted = table->spare;
            table->spare = table->items;
            table->items = sorted;
            merge_pass_begin(table, table->width * 2);
        }
    }
    return true;
}

bool sort_table_free_step(struct sort_table *table, size_t blocks)
{
    while (table->blocks != NULL) {
        if (blocks-- == 0) {
            return false;
        }
        struct sort_block *block = table->blocks;
        table->blocks = block->next;
        mem_free_sized(block, sizeof(*block) + block->cap);
    }
    for (size_t left = segment_count(table); left > 0; left--) {
        if (blocks-- == 0) {
            return false;
        }
        mem_free(table->items[left - 1]);
        mem_free(table->spare[left - 1]);
        table->cap = (left - 1) * SORT_SEGMENT_LEN;
    }
    mem_free(table->items);
    mem_free(table->spare);
    *table = (struct sort_table){.cap = 0};
    return true;
}
