/* Shared byte strings: see the header for the layout. A blob is one allocation, header and bytes
 * together, so it costs 32 bytes above its bytes and one cache miss to reach.
 *
 * Invariants:
 *   1. refs >= 1 while anyone can see the blob.
 *   2. len <= cap; the allocation is exactly sizeof(struct blob) + cap bytes as asked for.
 *   3. Bytes change only while refs == 1, but for those behind len, which whoever fills the blob
 *      may add.
 *   4. lent <= refs; an orphan (lent == refs) is counted in *orphaned, and never becomes data
 * again, for nobody who could share it knows of it. */
#include "base/blob.h"

#include <assert.h>

#include "base/assert.h"
#include "base/mem.h"

static_assert(sizeof(struct blob) == 32, "a blob's header is four words");

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
    *blob = (struct blob){.refs = 1, .cap = cap};
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

static size_t blob_memory(const struct blob *blob)
{
    return mem_good_size(sizeof(struct blob) + blob->cap);
}

void blob_drop(struct blob *blob)
{
    DEBUG_ASSERT(blob->refs > blob->lent);
    blob->refs--;
    if (blob->refs == 0) {
        mem_free_sized(blob, sizeof(struct blob) + blob->cap);
    } else if (blob->refs == blob->lent) {
        *blob->orphaned += blob_memory(blob);
    }
}

struct blob *blob_lend(struct blob *blob, size_t *orphaned)
{
    DEBUG_ASSERT(blob->lent == 0 || blob->orphaned == orphaned);
    blob->refs++;
    blob->lent++;
    blob->orphaned = orphaned;
    return blob;
}

void blob_return(struct blob *blob)
{
    DEBUG_ASSERT(blob->lent > 0);
    bool is_orphan = blob->refs == blob->lent;
    blob->refs--;
    blob->lent--;
    if (is_orphan && blob->refs == 0) {
        *blob->orphaned -= blob_memory(blob);
        mem_free_sized(blob, sizeof(struct blob) + blob->cap);
    }
}
