/* When the fields of a large hash expire: a map from 32 bits of a field's hash (its ref) to a
 * moment, which also knows the earliest. The essay is in hash_moments.c.
 *
 * Refs must be well mixed. Moments are unix ms from 0 to below 2^48. Nothing here fails: blocks are
 * small, and their size is not a client's to choose. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Refs in order, and their moments. */
struct hash_moments_segment {
    uint32_t *refs; /* One block, owned; NULL: cap is 0. */
    uint32_t count, cap;
    int64_t bound_ms; /* None is earlier; INT64_MAX in an empty one. */
};

struct hash_moments_page {
    struct hash_moments_segment *segments; /* Owned. */
    int64_t bound_ms;                      /* Not after that of any of its segments. */
};

/* Embedded by value; zeroed it is empty. May be moved. Fields are private. */
struct hash_moments {
    union {
        struct hash_moments_segment only; /* While segments <= 1. */
        struct hash_moments_page *pages;  /* Owned. */
    };
    uint32_t segments;
    uint32_t count; /* Refs. */
    size_t memory;  /* Bytes of all blocks. */
};

/* Adds a ref or gives it another moment. O(1) amortised; the worst call splits one segment, of some
 * 800 refs. */
void hash_moments_set(struct hash_moments *moments, uint32_t ref, int64_t moment_ms);

/* Removes a ref that is there. The same cost. */
void hash_moments_remove(struct hash_moments *moments, uint32_t ref);

/* The moment of a ref; -1: it is not there. O(1). */
int64_t hash_moments_find(const struct hash_moments *moments, uint32_t ref);

/* A moment before which none is; -1: it is empty. A removal may leave it too early, until it comes.
 * O(refs / 50,000). */
int64_t hash_moments_next_ms(const struct hash_moments *moments);

/* Writes up to `max` refs (at least 1) whose moments are before `now_ms` to `refs`; all are of one
 * segment. They stay, but hash_moments_next_ms counts on their being removed or set again before
 * anything else. 0: what seemed to be due was not. Call it only while hash_moments_next_ms is
 * before `now_ms`; sooner or later it is not. */
size_t hash_moments_take_due(struct hash_moments *moments, int64_t now_ms, uint32_t *refs,
                             size_t max);

void hash_moments_copy(struct hash_moments *to, const struct hash_moments *from);

/* Frees some blocks, about 5 us; true: all are gone, and it is empty. It must not be used in
 * between. */
bool hash_moments_free_step(struct hash_moments *moments) __attribute__((warn_unused_result));

/* Bytes on the heap. */
static inline size_t hash_moments_memory(const struct hash_moments *moments)
{
    return moments->memory;
}

/* Asserts the invariants listed in hash_moments.c. O(n). */
void hash_moments_check(const struct hash_moments *moments);
