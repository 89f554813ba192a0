/* Shared byte strings: see the header for the layout. A blob is one allocation, header and bytes
 * together, so it costs 32 bytes above its bytes and one cache miss to reach.
 *
 * Invariants:
 *   1. refs >= 1 while anyone can see the blob.
 *   2. len <= cap; the allocation is exactly sizeof(struct blob) + cap bytes as asked for.
 *   3. Bytes change only while refs == 1, but for those behind len, which whoever fills the blob
 *      may add.
 *   4. Of a region that a string owns all bytes behind len are zero.
 *   5. lent <= refs; an orphan (lent == refs) is counted in *orphaned, and never becomes data
 * again, for nobody who could share it knows of it. */
#include "base/blob.h"

#include <assert.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/region.h"

static_assert(sizeof(struct blob) == 32, "a blob's header is four words");

/* The largest room whose allocation size does not wrap. */
static bool blob_cap_is_valid(size_t cap)
{
    return cap <= PTRDIFF_MAX - sizeof(struct blob);
}

/* A blob whose room is one of at least `region_min` bytes gets pages of its own, if there are any.
 */
static struct blob *new_blob(size_t cap, size_t region_min)
{
    if (!blob_cap_is_valid(cap)) {
        return NULL;
    }
    size_t len = sizeof(struct blob) + cap;
    if (cap >= region_min && mem_try_fails()) {
        return NULL;
    }
    struct blob *blob = cap >= region_min ? region_try_new(len) : NULL;
    bool is_region = blob != NULL;
    if (blob == NULL) {
        blob = mem_try_alloc(len);
    }
    if (blob != NULL) {
        *blob = (struct blob){.refs = 1, .is_region = is_region, .cap = cap};
    }
    return blob;
}

struct blob *blob_try_new(size_t cap)
{
    return new_blob(cap, BLOB_REGION_MIN);
}

struct blob *blob_try_new_growing(size_t cap)
{
    return new_blob(cap, REGION_LEN_MIN);
}

static size_t blob_size(const struct blob *blob)
{
    return sizeof(struct blob) + blob->cap;
}

static void blob_free(struct blob *blob)
{
    if (blob->is_region) {
        region_free(blob, blob_size(blob));
    } else {
        mem_free_sized(blob, blob_size(blob));
    }
}

bool blob_grows_in_place(const struct blob *blob, size_t cap)
{
    return cap <= blob->cap || (blob->is_region && cap <= REGION_LEN_MAX - sizeof(*blob));
}

/* A region that cannot grow where it is moves to the allocator's pages, with all its bytes. */
static struct blob *move_region(struct blob *blob, size_t cap)
{
    struct blob *moved = mem_try_alloc(sizeof(*blob) + cap);
    if (moved != NULL) {
        memcpy(moved, blob, sizeof(*blob) + blob->len);
        moved->is_region = false;
        moved->cap = cap;
        blob_free(blob);
    }
    return moved;
}

static struct blob *grow_region(struct blob *blob, size_t cap)
{
    if (cap > blob->cap) {
        if (mem_try_fails()) {
            return NULL;
        }
        if (!region_try_grow(blob, blob_size(blob), sizeof(*blob) + cap)) {
            return blob_grows_in_place(blob, cap) ? NULL : move_region(blob, cap);
        }
        blob->cap = cap;
    }
    return blob;
}

/* What outgrows the allocator's pages moves to a region. */
struct blob *blob_try_resize(struct blob *blob, size_t cap)
{
    ASSERT(blob->refs == 1);
    ASSERT(blob->len <= cap);
    if (!blob_cap_is_valid(cap)) {
        return NULL;
    }
    if (blob->is_region) {
        return grow_region(blob, cap);
    }
    if (cap > blob->cap && cap >= REGION_LEN_MIN) {
        struct blob *moved = blob_try_new_growing(cap);
        if (moved != NULL) {
            memcpy(moved->bytes, blob->bytes, blob->len);
            moved->len = blob->len;
            blob_free(blob);
        }
        return moved;
    }
    struct blob *moved = mem_try_realloc(blob, sizeof(struct blob) + cap);
    if (moved != NULL) {
        moved->cap = cap;
    }
    return moved;
}

void blob_extend(struct blob *blob, size_t len)
{
    DEBUG_ASSERT(len >= blob->len && len <= blob->cap);
    if (!blob->is_region) {
        memset(blob->bytes + blob->len, 0, len - blob->len);
    }
    blob->len = len;
}

size_t blob_memory(const struct blob *blob)
{
    return blob->is_region ? region_good_size(blob_size(blob)) : mem_good_size(blob_size(blob));
}

void blob_drop(struct blob *blob)
{
    DEBUG_ASSERT(blob->refs > blob->lent);
    blob->refs--;
    if (blob->refs == 0) {
        blob_free(blob);
    } else if (blob->refs == blob->lent) {
        *blob->orphaned += blob_memory(blob);
    }
}

struct blob *blob_lend(struct blob *blob, size_t *orphaned)
{
    if (blob->lent == 0) {
        blob->orphaned = orphaned;
    }
    blob->refs++;
    blob->lent++;
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
        blob_free(blob);
    }
}
