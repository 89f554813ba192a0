/* A sorted array of distinct integers, each as wide as the widest needs: 2, 4 or 8 bytes. The
 * memory is the caller's: nothing here allocates, and bytes need no alignment. The essay is in
 * intset.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is read, and what is changed; both borrow the bytes. */
struct intset {
    char *bytes;    /* count * width of them. */
    size_t count;   /* Integers. */
    unsigned width; /* Bytes of one: 2, 4 or 8. */
};

/* The least width that holds `number`. */
unsigned intset_width_of(int64_t number);

/* The integer with `index` below count, in ascending order. O(1). */
int64_t intset_get(const struct intset *set, size_t index);

/* Whether `number` is there; `*index` is where it is, or where it belongs. O(log n). */
bool intset_find(const struct intset *set, int64_t number, size_t *index);

/* Rewrites all with a larger width; the bytes have room for that. O(n). */
void intset_widen(struct intset *set, unsigned width);

/* Inserts an absent number where intset_find says; it fits the width, and the bytes have room for
 * one more. O(n). */
void intset_insert(struct intset *set, size_t index, int64_t number);

/* Removes the one at `index`. The width stays. O(n). */
void intset_remove(struct intset *set, size_t index);

/* Asserts the invariants listed in intset.c. O(n). */
void intset_check(const struct intset *set);
