/* Shared byte strings: see the header for the layout. A blob is one allocation, header and bytes
 * together, so it costs 24 bytes above its bytes and one cache miss to reach.
 *
 * Invariants:
 *   1. refs >= 1 while anyone can see the blob.
 *   2. len <= cap; the allocation is exactly sizeof(struct blob) + cap bytes as asked for.
 *   3. Bytes change only while refs == 1. */
#include "base/blob.h"

#include <assert.h>

#include "base/assert.h"
#include "base/mem.h"

static_assert(sizeof(struct blob) == 24, "a blob's header is three words");

/* The largest room whose allocation size does not wrap. */
static bool blob_cap_is_valid(size_t cap)
{
    return cap <= PTRDIFF_MAX - sizeof(struct blob);
}

struct blob *blob_try_new(size_t cap)
{
    if (!blob_cap_is_valid(cap)) {
        return NULL;
    }
    struct blob *blob = mem_try_alloc(sizeof(struct blob) + cap);
    if (blob == NULL) {
        return NULL;
    }
    blob->refs = 1;
    blob->len = 0;
    blob->cap = cap;
    return blob;
}

struct blob *blob_try_resize(struct blob *blob, size_t cap)
{
    ASSERT(blob->refs == 1);
    ASSERT(blob->len <= cap);
    if (!blob_cap_is_valid(cap)) {
        return NULL;
    }
    struct blob *moved = mem_try_realloc(blob, sizeof(struct blob) + cap);
    if (moved == NULL) {
        return NULL;
    }
    moved->cap = cap;
    return moved;
}

void blob_drop(struct blob *blob)
{
    DEBUG_ASSERT(blob->refs > 0);
    blob->refs--;
    if (blob->refs == 0) {
        mem_free_sized(blob, sizeof(struct blob) + blob->cap);
    }
}
