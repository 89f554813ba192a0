/* Effects that are told later: commands in the order in which they were given, copied. For calls in
 * slices, which tell what they changed at their end. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#ifdef OURO_HOSTILE
enum { GATHER_CHUNK_LEN = 96, GATHER_BYTES_MAX = 4096 };
#else
enum {
    GATHER_CHUNK_LEN = 64 << 10,
    GATHER_BYTES_MAX = 64 << 20, /* Of one call; then it begins to tell. */
};
#endif

struct gather_chunk;

/* All zero: empty. */
struct gather {
    struct gather_chunk *first, *last; /* Owned. */
    size_t bytes;                      /* Of all chunks. */
};

static inline bool gather_is_empty(const struct gather *gather)
{
    return gather->first == NULL;
}

/* Copies a command. False: no memory, or there would be too much; nothing has changed. */
bool gather_try_add(struct gather *gather, const struct slice *args, uint32_t count);

/* Calls `tell` with the oldest command, whose words are valid until it returns, and forgets it. */
typedef void (*gather_tell_fn)(void *context, const struct slice *args, uint32_t count);
void gather_tell_one(struct gather *gather, gather_tell_fn tell, void *context);

void gather_deinit(struct gather *gather);
