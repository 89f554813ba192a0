/* The only door to the allocator (jemalloc; the C library's under a sanitizer).
 *
 * Two kinds of request. `mem_alloc` is for sizes that the program chooses: it does not fail (a
 * failure is reported and ends the process). `mem_try_alloc` is for sizes that a client chooses: it
 * may return NULL, and tests can make the N-th such call fail.
 *
 * Accounting is jemalloc's own per-thread counters of usable bytes, so it costs nothing per call.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull, warn_unused_result));
void *mem_zalloc(size_t size) __attribute__((malloc, returns_nonnull, warn_unused_result));
void *mem_realloc(void *block, size_t size) __attribute__((returns_nonnull, warn_unused_result));

/* May return NULL; size 0 is treated as 1. A NULL from mem_try_realloc leaves `block` as it was. */
void *mem_try_alloc(size_t size) __attribute__((malloc, warn_unused_result));
void *mem_try_realloc(void *block, size_t size) __attribute__((warn_unused_result));

/* `align` is a power of two. The block may go to mem_free_sized only when `align` is at most 4,096
 * and `size` is a multiple of it: else its size class is not that of `size`. */
void *mem_alloc_aligned(size_t align, size_t size)
    __attribute__((malloc, returns_nonnull, warn_unused_result));

/* NULL is allowed. */
void mem_free(void *block);

/* Faster when the caller knows the size that it asked for; NULL is not allowed. */
void mem_free_sized(void *block, size_t size);

/* Bytes that a request of `size` really occupies (the allocator's size class). */
size_t mem_good_size(size_t size);

/* Bytes that `block` really occupies. */
size_t mem_usable(const void *block);

/* Whether a request of a client's size that is made now is to fail, because a test wants it to: for
 * those who ask the kernel instead of the allocator. */
bool mem_try_fails(void);

/* Memory that was taken from the kernel (base/region.h) is in use, or no longer. */
void mem_count_region(int64_t bytes);

/* Registers the calling thread's counters (a fixed number of slots, MEM_THREADS_MAX); the main
 * thread calls it first. */
enum { MEM_THREADS_MAX = 16 };
void mem_thread_enter(void);

/* Gives the slot back: a thread that registered calls it before it ends, for its counters end with
 * it. */
void mem_thread_leave(void);

/* Bytes now allocated through all registered threads, and in regions. O(threads). */
size_t mem_used(void);

/* Heap figures, regions included, for INFO and MEMORY. Costs a walk over jemalloc's arenas: not for
 * the hot path. */
struct mem_stats {
    size_t allocated, active, resident, retained, metadata, mapped; /* Bytes. */
    size_t rss; /* Bytes resident, from the kernel. */
};
void mem_stats_read(struct mem_stats *stats);

/* The heap by pages, in bytes. About 10 us: asks the kernel nothing. */
struct mem_pages {
    size_t allocated; /* Blocks. */
    size_t active;    /* Pages that hold blocks. */
    size_t dirty;     /* Pages that hold none and were not yet given back. */
    size_t resident;  /* Both, and the allocator's records of them. */
};
void mem_pages_read(struct mem_pages *pages);

/* Gives back the pages that hold no blocks. About 0.1 us for each, and 1 us for each run of them.
 */
void mem_purge_dirty(void);

/* Bytes that the core thread, the first to register, has ever allocated: tells how much has
 * changed. One load. */
uint64_t mem_turnover(void);

/* Whether `block` lies in a slab (the pages that hold blocks of one size) with more room than is
 * usual for that size, where the size has enough room elsewhere that moving the block there may
 * empty the slab. About 60 ns. The C library's allocator has no slabs: then every third block or so
 * is said to be sparse, so that tests move some. */
bool mem_is_sparse(const void *block);

/* Moves a block of `size` bytes to the oldest slab with room, past the thread's cache, and frees
 * the old one as mem_free_sized does. NULL when memory does not suffice: the block stays. */
void *mem_move(void *block, size_t size) __attribute__((warn_unused_result));

/* Returns dirty pages to the kernel. Milliseconds on a large heap. */
void mem_purge(void);

/* From now on the allocator's own thread returns dirty pages, a second after they became free, also
 * while nothing is allocated. Without it the thread that frees does so, and an idle process keeps
 * them. Not before a fork: threads do not survive one. */
void mem_purge_in_background(void);

const char *mem_allocator_name(void); /* "jemalloc-5.3.0" or "libc". */

/* Tests: the `countdown`-th mem_try_ call from now returns NULL; 0 switches that off. */
void mem_fail_after(unsigned countdown);
