/* Receive buffers: blocks of 64 equal buffers and a stack of the free ones.
 *
 *     blocks[0] -> | 0 | 1 | 2 | ... | 63 |          free_ids: 5 9 0 63 2
 *     blocks[1] -> | 64 | 65 | ...        |                             ^ taken next
 *
 * A connection holds a buffer only while its bytes are being parsed, so ten thousand idle
 * connections share the few buffers that the busy ones need. The stack makes the buffer released
 * last the first to be used again: its lines are still in the cache.
 *
 * Cost: 2 bytes per possible buffer, and what the kernel touches of a buffer (untouched pages cost
 * nothing). Blocks are never given back before the ring closes: the high-water mark is bounded by
 * `max`, and a buffer may be held by anyone.
 *
 * Invariants: 1. free_count <= count <= max. 2. An id is on the stack at most once. */
#include "base/mem.h"
#include "ring/ring_internal.h"

enum { POOL_ALIGN = 4096 }; /* The kernel copies best into whole pages. */

void ring_pool_init(struct ring_pool *pool, const struct ring_options *options)
{
    uint32_t max = options->buffers_max != 0 ? options->buffers_max : RING_BUFFERS_MAX;
    uint32_t len = options->buffer_len != 0 ? options->buffer_len : RING_BUFFER_LEN;
    max = max > RING_BUFFERS_LIMIT ? RING_BUFFERS_LIMIT : max;
    *pool = (struct ring_pool){.max = max, .buffer_len = len};
    size_t block_count = (max + RING_POOL_STEP - 1) / RING_POOL_STEP;
    pool->blocks = mem_zalloc(block_count * sizeof(*pool->blocks));
    pool->free_ids = mem_alloc(max * sizeof(*pool->free_ids));
}

void ring_pool_deinit(struct ring_pool *pool)
{
    for (uint32_t id = 0; id < pool->count; id += RING_POOL_STEP) {
        mem_free(pool->blocks[id / RING_POOL_STEP]);
    }
    mem_free(pool->blocks);
    mem_free(pool->free_ids);
}

bool ring_pool_grow(struct ring_pool *pool)
{
    uint32_t more = pool->max - pool->count;
    more = more > RING_POOL_STEP ? RING_POOL_STEP : more;
    if (more == 0) {
        return false;
    }
    size_t size = (size_t)RING_POOL_STEP * pool->buffer_len;
    pool->blocks[pool->count / RING_POOL_STEP] = mem_alloc_aligned(POOL_ALIGN, size);
    for (uint32_t index = more; index > 0; index--) {
        pool->free_ids[pool->free_count++] = (uint16_t)(pool->count + index - 1);
    }
    pool->count += more;
    return true;
}
