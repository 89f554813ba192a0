/* A set of keys by their hashes, for those who ask whether a key may be one of it: two keys of one
 * hash are as good as one. It only grows, up to KEY_SET_MAX; then it is the set of all keys. One
 * whose number of keys is known before may be of any size. */
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
    uint32_t unclear_count; /* Places of a reserved set that are to be cleared yet. */
    bool is_all;
    bool is_reserved;
};

/* Makes an empty set ready for `count` keys, however many: adding them does not fail. Its places
 * are not cleared yet, for that may take long. False: no memory. */
bool key_set_try_reserve(struct key_set *set, uint32_t count) __attribute__((warn_unused_result));

/* Clears some of its places: about 5 us. True: all are, and it may be used. */
bool key_set_clear_some(struct key_set *set);

/* Adds a key. Without memory, or when there are too many, all keys are in it. O(1). */
void key_set_add(struct key_set *set, uint64_t hash);
void key_set_add_all(struct key_set *set);

bool key_set_has(const struct key_set *set, uint64_t hash);

/* Empties it. */
void key_set_deinit(struct key_set *set);
