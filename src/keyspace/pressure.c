/* Pressure: what the limit does about memory that is resident but holds no data.
 *
 * The allocator's pages are resident as a whole. When the sizes of values change, eviction leaves
 * pages of the old sizes half empty, and resident memory reaches twice the data set, however
 * quickly a background job tidies up: writers are faster. So writers pay for it as they pay for
 * eviction. What the heap wastes beyond an allowance counts against maxmemory:
 *
 *     |<------------------ maxmemory ------------------>|<- 1/32 ->|
 *     | data set                              |  excess | allowance |    waste = excess + allowance
 *                                        full when data + excess reach the limit
 *
 * and a writer who finds it full first moves values out of sparse slabs (defrag.c), some 10 us at a
 * time and within the budget of eviction. Only when a whole pass has moved fewer than one value in
 * 64, keys are evicted for it, and no other pass is tried until the waste has grown by a 64th of
 * the limit, as evicting soon makes it, or memory has turned over by the limit. At most a
 * quarter of the limit is given up like that: large collections, whose parts do not move, must not
 * empty the cache.
 *
 * When. The heap is looked at when a MiB or so has been allocated since the last time, moves among
 * them: by turnover, not by the clock, so that a fast writer cannot outrun it and the same commands
 * give the same evictions. Pages that hold nothing at all are reused first, and given back a second
 * later by the allocator's own thread; more than some MiB of them are given back at once.
 *
 * Costs. Below the limit three loads per command. A look costs 10 us per 0.5 to 1 MiB of turnover.
 * Where sizes shift, a write costs up to some 20 us more until the old sizes are gone.
 *
 * Not counted: with activedefrag off nothing would work it off, and with noeviction a write would
 * be refused though the data set fits.
 *
 * Rejected: evicting as soon as pages are wasted (each key that goes leaves as much waste as it was
 * large until its slab is empty: nearly all of the old keys go); comparing the process's resident
 * memory (it holds buffers, which must never evict a key; reading it is a system call). */
#include "base/mem.h"
#include "keyspace/keyspace_internal.h"

enum {
    PRESSURE_ALLOWANCE_SHARE = 32,  /* Of the limit: 3.1 %, what slabs and their records cost. */
    PRESSURE_EXCESS_SHARE = 4,      /* At most a quarter of the limit counts. */
    PRESSURE_LOOK_SHARE = 128,      /* Turnover between looks, of the limit ... */
    PRESSURE_LOOK_MIN = 512 * 1024, /* ... but at least so much */
    PRESSURE_LOOK_MAX = 1 << 20,    /* and at most so much; also of pages that hold nothing. */
    PRESSURE_GROWTH_SHARE = 256,    /* More waste than so after a pass in vain: another is tried. */
    PRESSURE_RETRY_SHARE = 1,       /* Turnover after a pass in vain. */
};

static size_t look_bytes(const struct keyspace *keyspace)
{
    size_t bytes = keyspace->config.memory_max / PRESSURE_LOOK_SHARE;
    bytes = bytes < PRESSURE_LOOK_MIN ? PRESSURE_LOOK_MIN : bytes;
    return bytes > PRESSURE_LOOK_MAX ? PRESSURE_LOOK_MAX : bytes;
}

void pressure_init(struct keyspace *keyspace)
{
    struct mem_pages pages;
    mem_pages_read(&pages);
    keyspace->pressure.base =
        pages.resident > pages.allocated ? pages.resident - pages.allocated : 0;
}

static void pressure_look(struct keyspace *keyspace)
{
    struct pressure *pressure = &keyspace->pressure;
    struct mem_pages pages;
    mem_pages_read(&pages);
    if (pages.dirty > look_bytes(keyspace)) {
        mem_purge_dirty();
    }
    size_t used = pages.allocated + pressure->base;
    size_t waste = pages.resident > used ? pages.resident - used : 0;
    size_t allowance = keyspace->config.memory_max / PRESSURE_ALLOWANCE_SHARE;
    size_t most = keyspace->config.memory_max / PRESSURE_EXCESS_SHARE;
    size_t excess = waste > allowance ? waste - allowance : 0;
    pressure->excess = excess < most ? excess : most;
    pressure->look_at = mem_turnover() + look_bytes(keyspace);
}

size_t pressure_excess(struct keyspace *keyspace)
{
    const struct keyspace_config *config = &keyspace->config;
    if (!config->is_defragmenting || config->policy == EVICT_NONE) {
        return 0;
    }
    if (mem_turnover() >= keyspace->pressure.look_at) {
        pressure_look(keyspace);
    }
    return keyspace->pressure.excess;
}

bool pressure_relieve(struct keyspace *keyspace)
{
    struct pressure *pressure = &keyspace->pressure;
    size_t max = keyspace->config.memory_max;
    if (mem_turnover() < pressure->retry_at &&
        pressure->excess < pressure->vain_excess + max / PRESSURE_GROWTH_SHARE) {
        return false;
    }
    if (!defrag_push(keyspace)) {
        pressure->retry_at = mem_turnover() + max / PRESSURE_RETRY_SHARE;
        pressure->vain_excess = pressure->excess;
    }
    return true;
}
