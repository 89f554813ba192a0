/* An array that grows to an unknown length: of the allocator's while it is short, a region
 * (base/region.h) from REGION_LEN_MIN bytes on, which grows where it lies. So growing copies one
 * mebibyte at most, however long it gets, and freeing it is O(1).
 *
 *     | allocator's, doubles, moves |  ->  | region, doubles, stays ............ | */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct stretch {
    void *bytes; /* NULL: none. */
    size_t len;
    bool is_region;
};

/* Makes it `len` bytes long, more than it has; it may move. The fresh bytes are not set. False: no
 * memory, and nothing has changed. */
bool stretch_try_grow(struct stretch *stretch, size_t len) __attribute__((warn_unused_result));

/* Frees the bytes; harmless when there are none. */
void stretch_deinit(struct stretch *stretch);

/* Bytes that it counts for. */
size_t stretch_memory(const struct stretch *stretch);
