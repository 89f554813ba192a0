/* A set of keys by their hashes, for those who ask whether a key may be one of it: two keys of one
 * hash are as good as one. It only grows, up to KEY_SET_MAX; then it is the set of all keys. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#ifdef OURO_HOSTILE
enum { KEY_SET_MAX = 6 };
#else
enum { KEY_SET_MAX = 16384 }; /* 256 KiB; growing to that is one step of some 100 us. */
#endif

/* All zero: empty. */
struct key_set {
    uint64_t *hashes; /* Open addressing; 0: a free place. Owned. */
    uint32_t count, cap;
    bool is_all;
};

/* Adds a key. Without memory, or when there are too many, all keys are in it. O(1). */
void key_set_add(struct key_set *set, uint64_t hash);
void key_set_add_all(struct key_set *set);

bool key_set_has(const struct key_set *set, uint64_t hash);

/* Empties it. */
void key_set_deinit(struct key_set *set);
