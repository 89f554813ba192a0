/* Long arrays without long copies: see the header.
 *
 * Beyond REGION_LEN_MAX, or where no more regions are to be had, an array is the allocator's again
 * and is copied as it grows.
 *
 * Costs. As those of the allocator, or of the region: a system call for each time that it doubles.
 *
 * Invariant: bytes is NULL exactly when len is 0. */
#include "base/stretch.h"

#include <string.h>

#include "base/mem.h"
#include "base/region.h"

/* Where it lies, if it can. */
static bool grow_region(struct stretch *stretch, size_t len)
{
    return stretch->is_region && region_try_grow(stretch->bytes, stretch->len, len);
}

/* To other pages. */
static bool move(struct stretch *stretch, size_t len)
{
    struct stretch moved = {.len = len};
    if (len >= REGION_LEN_MIN) {
        moved.bytes = region_try_new(len);
        moved.is_region = moved.bytes != NULL;
    }
    if (moved.bytes == NULL) {
        moved.bytes = mem_try_alloc(len);
    }
    if (moved.bytes == NULL) {
        return false;
    }
    if (stretch->len > 0) {
        memcpy(moved.bytes, stretch->bytes, stretch->len);
    }
    stretch_deinit(stretch);
    *stretch = moved;
    return true;
}

bool stretch_try_grow(struct stretch *stretch, size_t len)
{
    if (len >= REGION_LEN_MIN && mem_try_fails()) {
        return false;
    }
    if (grow_region(stretch, len)) {
        stretch->len = len;
        return true;
    }
    if (stretch->is_region || len >= REGION_LEN_MIN) {
        return move(stretch, len);
    }
    void *bytes = mem_try_realloc(stretch->bytes, len);
    if (bytes == NULL) {
        return false;
    }
    *stretch = (struct stretch){.bytes = bytes, .len = len};
    return true;
}

void stretch_deinit(struct stretch *stretch)
{
    if (stretch->is_region) {
        region_free(stretch->bytes, stretch->len);
    } else {
        mem_free(stretch->bytes);
    }
    *stretch = (struct stretch){.bytes = NULL};
}

size_t stretch_memory(const struct stretch *stretch)
{
    return stretch->is_region ? region_good_size(stretch->len) : stretch->len;
}
