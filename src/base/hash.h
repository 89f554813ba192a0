/* XXH3 with a seed. The seed is drawn once per process and handed in by whoever owns a table, so
 * that keys chosen by a client cannot be made to collide and tests can fix the order of everything.
 */
#pragma once

#include <stdint.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/slice.h"

static inline uint64_t hash_bytes(uint64_t seed, struct slice bytes)
{
    return XXH3_64bits_withSeed(bytes.data, bytes.len, seed);
}
