/* A block of pages of its own, for what is long and may grow: it grows where it lies, its fresh
 * bytes are zero without being written, and another thread gives its pages back.
 *
 *     region
 *     v
 *     | usable pages                       | reserved addresses, no memory              |
 *     |<------------ len, rounded -------->|
 *     |<------------------------- REGION_LEN_MAX bytes -------------------------------->|
 *
 * For blocks of REGION_LEN_MIN bytes and more, of which there are few: the kernel keeps two records
 * of each, and bounds their number. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#ifdef OURO_HOSTILE
enum { REGION_LEN_MIN = 16 * 1024 };
#else
enum { REGION_LEN_MIN = 1024 * 1024 }; /* Below this copying is cheaper than pages of one's own. */
#endif
enum { REGION_LEN_MAX = 516 * 1024 * 1024 }; /* The longest string, its header and spare room. */

/* Zeroed bytes. O(1): memory is taken as they are touched. NULL: no memory, more than
 * REGION_LEN_MAX, or there are so many that blocks of this length are left to the allocator. */
void *region_try_new(size_t len) __attribute__((warn_unused_result));

/* Makes a region of `old_len` bytes `len` long without moving it; its new bytes are zero. O(1).
 * False: nothing has changed. */
bool region_try_grow(void *region, size_t old_len, size_t len) __attribute__((warn_unused_result));

/* Its pages are given back soon, by a thread of its own. O(1). */
void region_free(void *region, size_t len);

/* Bytes that one of `len` bytes counts for. */
size_t region_good_size(size_t len);

/* Waits until all that was freed has been given back: for tests. */
void region_settle(void);
