/* The table that SORT works on: elements copied out of a collection, each with what it is compared
 * by, and a merge sort that can stop and go on. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* Items of a segment: small enough that giving one back is short work for the allocator. */
#ifdef OURO_HOSTILE
enum { SORT_SEGMENT_LEN = 4 };
#else
enum { SORT_SEGMENT_LEN = 2048 };
#endif

enum { SORT_ABSENT = UINT32_MAX }; /* by_len of an element whose BY key does not exist. */

struct sort_item {
    const char *text; /* The element. */
    uint32_t len;
    uint32_t by_len;
    union {
        double score;   /* Numeric order. */
        const char *by; /* Order of texts with BY. */
    };
};

struct sort_order {
    bool is_alpha;
    bool is_by;     /* Texts are compared by sort_item.by, else by the element. */
    bool is_binary; /* Texts as bytes; else up to the first NUL, as strcoll does. */
    bool is_descending;
};

struct sort_block;

struct sort_table {
    struct sort_item **items; /* Segments, owned as what their items point at. */
    struct sort_item **spare; /* As many, where merges write to. */
    size_t count, cap;
    struct sort_block *blocks; /* The bytes of texts, newest first. */
    struct sort_order order;
    size_t width;       /* Length of the runs that are in order; 0: none are yet. */
    size_t out;         /* Where the merge at hand writes, or the next run begins. */
    size_t left, right; /* Its next items, ... */
    size_t left_end, right_end;
};

/* Room for `cap` items. False: no memory; the table is empty then. */
bool sort_table_try_init(struct sort_table *table, size_t cap, const struct sort_order *order)
    __attribute__((warn_unused_result));

static inline struct sort_item *sort_table_item(const struct sort_table *table, size_t index)
{
    return &table->items[index / SORT_SEGMENT_LEN][index % SORT_SEGMENT_LEN];
}

/* The item behind the last, below the cap; it counts once table->count is raised. NULL: no memory.
 */
struct sort_item *sort_table_try_add(struct sort_table *table);

/* Copies bytes to where they stay until the table ends. NULL: no memory. */
const char *sort_table_keep(struct sort_table *table, struct slice bytes);

/* Does about `moves` moves of items. True: all are in order. Stable. */
bool sort_table_step(struct sort_table *table, size_t moves);

/* Frees about `blocks` blocks of texts or segments of items. True: all is gone. */
bool sort_table_free_step(struct sort_table *table, size_t blocks);
