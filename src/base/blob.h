/* A large byte string that several owners share: received once from a socket straight into its
 * final place, stored as a value, and referenced rather than copied while it is being sent. Counted
 * references, one thread.
 *
 *     +------+------+-----+-----+----------+-----------------+
 *     | refs | lent | len | cap | orphaned | bytes ...       |
 *     +------+------+-----+-----+----------+-----------------+
 *
 * Long ones are regions (base/region.h): they grow where they lie, with zero bytes that nobody has
 * to write, and are freed without a step that grows with their length.
 *
 * Some references are loans: replies that are being sent. While somebody else refers to the blob it
 * is data; when only loans are left it is an orphan, whose bytes count as the senders'. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* Strings from this length on are held, received and sent as blobs. Below it copying is cheaper
 * than sharing. From BLOB_REGION_MIN on a blob is a region from the start: below it the allocator's
 * pages, which were touched before, are quicker for what comes and goes. */
#ifdef OURO_HOSTILE
enum { BLOB_LEN_MIN = 128, BLOB_REGION_MIN = 64 * 1024 };
#else
enum { BLOB_LEN_MIN = 32 * 1024, BLOB_REGION_MIN = 8 * 1024 * 1024 };
#endif

struct blob {
    uint32_t refs;          /* Loans included. */
    uint32_t lent : 31;     /* References by blob_lend. */
    uint32_t is_region : 1; /* Pages of its own. */
    size_t len;             /* Bytes held. */
    size_t cap;             /* Bytes that fit. */
    size_t *orphaned;       /* While lent: where the bytes of orphans are counted. */
    char bytes[];
};

/* One reference, len 0, room for `cap` bytes. NULL when memory does not suffice (the size is a
 * client's choice). */
struct blob *blob_try_new(size_t cap) __attribute__((warn_unused_result));

/* The same for one that is likely to grow: a region already where blob_try_new would still take the
 * allocator's pages. */
struct blob *blob_try_new_growing(size_t cap) __attribute__((warn_unused_result));

/* Grows the room of a blob with one reference (or shrinks that of one that is no region); NULL
 * leaves it as it was. */
struct blob *blob_try_resize(struct blob *blob, size_t cap) __attribute__((warn_unused_result));

/* Whether such a blob, or one with room already, would get that room without moving its bytes. */
bool blob_grows_in_place(const struct blob *blob, size_t cap);

/* Puts zero bytes behind those held, up to `len`, for which there is room. O(1) for a region, of
 * which nothing behind len was ever written: who filled it never made it shorter. */
void blob_extend(struct blob *blob, size_t len);

/* Bytes that it occupies. */
size_t blob_memory(const struct blob *blob);

static inline struct blob *blob_share(struct blob *blob)
{
    blob->refs++;
    return blob;
}

/* Drops one reference and frees the memory with the last. */
void blob_drop(struct blob *blob);

/* A reference that is a loan, given back by blob_return; of an orphan too. While nothing but loans
 * refers to the blob its memory is counted where the first of them said, which outlives them all:
 * what a script is told is counted apart, and returned before anything else is lent. */
struct blob *blob_lend(struct blob *blob, size_t *orphaned);
void blob_return(struct blob *blob);

static inline struct slice blob_slice(const struct blob *blob)
{
    return slice_of(blob->bytes, blob->len);
}
