/* Sets of hashes: open addressing, at most half full, a power of two of places.
 *
 *     | hash | 0 | hash | hash | 0 | ...     place: the low bits of the hash, or the next free one
 *
 * Invariants:
 *   1. cap is 0 or a power of two, and count * 2 <= cap.
 *   2. With is_all nothing else is looked at.
 *   3. A set is asked and added to only while unclear_count is 0. */
#include "exec/key_set.h"

#include <stddef.h>
#include <string.h>

#include "base/mem.h"

enum {
    CAP_MIN = 16,
    RESERVE_MAX = 1 << 29, /* Keys. */
#ifdef OURO_HOSTILE
    CLEAR_STEP = 4,
#else
    CLEAR_STEP = 4096, /* Places: 32 KiB. */
#endif
};

/* Where the hash is, or the free place where it would be. */
static uint64_t *place_of(uint64_t *hashes, uint32_t cap, uint64_t hash)
{
    uint32_t at = (uint32_t)hash & (cap - 1);
    while (hashes[at] != 0 && hashes[at] != hash) {
        at = (at + 1) & (cap - 1);
    }
    return &hashes[at];
}

bool key_set_try_reserve(struct key_set *set, uint32_t count)
{
    uint32_t cap = CAP_MIN;
    while (count <= RESERVE_MAX && cap < count * 2) {
        cap *= 2;
    }
    set->hashes = count <= RESERVE_MAX ? mem_try_alloc(cap * sizeof(*set->hashes)) : NULL;
    set->cap = set->hashes != NULL ? cap : 0;
    set->unclear_count = set->cap;
    set->is_reserved = true;
    return set->hashes != NULL;
}

bool key_set_clear_some(struct key_set *set)
{
    uint32_t count = set->unclear_count < CLEAR_STEP ? set->unclear_count : CLEAR_STEP;
    set->unclear_count -= count;
    memset(set->hashes + set->unclear_count, 0, count * sizeof(*set->hashes));
    return set->unclear_count == 0;
}

/* 0 is the mark of a free place. */
static uint64_t nonzero(uint64_t hash)
{
    return hash != 0 ? hash : 1;
}

static bool try_grow(struct key_set *set)
{
    uint32_t cap = set->cap == 0 ? CAP_MIN : set->cap * 2;
    uint64_t *hashes = set->count < KEY_SET_MAX ? mem_try_alloc(cap * sizeof(*hashes)) : NULL;
    if (hashes == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < cap; i++) {
        hashes[i] = 0;
    }
    for (uint32_t i = 0; i < set->cap; i++) {
        if (set->hashes[i] != 0) {
            *place_of(hashes, cap, set->hashes[i]) = set->hashes[i];
        }
    }
    mem_free(set->hashes);
    set->hashes = hashes;
    set->cap = cap;
    return true;
}

void key_set_add_all(struct key_set *set)
{
    key_set_deinit(set);
    set->is_all = true;
}

void key_set_add(struct key_set *set, uint64_t hash)
{
    if (set->is_all || key_set_has(set, hash)) {
        return;
    }
    bool is_full = set->count >= KEY_SET_MAX && !set->is_reserved;
    if (is_full || ((set->count + 1) * 2 > set->cap && !try_grow(set))) {
        key_set_add_all(set);
        return;
    }
    *place_of(set->hashes, set->cap, nonzero(hash)) = nonzero(hash);
    set->count++;
}

bool key_set_has(const struct key_set *set, uint64_t hash)
{
    if (set->is_all || set->cap == 0) {
        return set->is_all;
    }
    return *place_of(set->hashes, set->cap, nonzero(hash)) != 0;
}

void key_set_deinit(struct key_set *set)
{
    mem_free(set->hashes);
    *set = (struct key_set){.hashes = NULL};
}
