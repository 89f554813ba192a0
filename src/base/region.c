/* Regions: see the header.
 *
 * Growing. A region reserves the addresses of the longest string once, which costs an entry in the
 * kernel's list and no memory; growing makes more of them usable. So nothing is ever copied or
 * moved, and what nobody has touched is neither zeroed nor resident: a bitmap whose last bit is set
 * owns one page.
 *
 * Giving back. The kernel needs 50 to 100 ns for each page, 10 ms for half a gigabyte: far too long
 * for the core thread. So a thread does it, started with the first region that is freed. It gives
 * back RELEASE_PIECE at a time, so that the lock on the process's addresses is never held for long,
 * and ends only with the process. It calls no allocator.
 *
 *     region_free --> trash: region -> region -> ...  --> thread: pages, then addresses
 *                             '-- links stand in the regions' own first bytes
 *
 * When memory is freed faster than the thread works (RELEASE_MAX bytes wait), or when there is no
 * thread, whoever frees does it himself.
 *
 * Accounting. A region counts with all its usable pages, touched or not, until it is freed: what
 * the thread still holds is as much gone as the free pages that the allocator keeps.
 *
 * How many. Linux allows 65,530 records of ranges of addresses for each process, and a region needs
 * two. So the more there are the longer a block must be to become one: 1 MiB for the first 4,096, 2
 * MiB for as many more, and so on to 32 MiB.
 *
 * Costs. region_try_new two system calls, some 3 us; region_try_grow one; region_free a lock, and
 * 5 us to wake the thread when it sleeps. A page costs 0.25 us when it is first touched.
 *
 * Invariants:
 *   1. What is usable ends at a page's end, and every byte behind what its owner wrote is zero.
 *   2. `lock` guards the trash, its bytes and the thread's state; `count` is changed atomically.
 *
 * Rejected: the allocator's own large blocks (growing copies 64 MB in 55 ms, fresh ones may have to
 * be zeroed by hand, and from 8 MiB on freeing gives the pages back at once); mremap (addresses
 * change, so page tables are copied, 1 ms for half a gigabyte unless both lie just so); giving back
 * in slices on the core thread (10 ms of its time for nothing, where another core is idle). */
#include "base/region.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/mem.h"

enum {
    REGION_PAGE = 4096,
    RELEASE_PIECE = 2 * 1024 * 1024,
    REGIONS_PER_STEP = 4096, /* So many more, and a region must be twice as long. */
    REGION_STEPS_MAX = 6,
};

static const size_t RELEASE_MAX = (size_t)4 << 30; /* Bytes that may wait for the thread. */

/* What a freed region holds until its pages go. */
struct trash {
    struct trash *next;
    size_t len;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct trash *trash;
    size_t bytes;  /* Of the trash, and of what the thread has in hand. */
    size_t count;  /* Regions whose addresses are reserved. */
    bool is_begun; /* There is a thread. */
} regions = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

size_t region_good_size(size_t len)
{
    return (len + REGION_PAGE - 1) / REGION_PAGE * REGION_PAGE;
}

/* ---- Giving back ---- */

static void release(char *region, size_t len)
{
    for (size_t at = 0; at < len; at += RELEASE_PIECE) {
        size_t part = len - at < RELEASE_PIECE ? len - at : RELEASE_PIECE;
        (void)madvise(region + at, part, MADV_DONTNEED);
    }
    int error = munmap(region, REGION_LEN_MAX);
    ASSERT(error == 0);
    __atomic_sub_fetch(&regions.count, 1, __ATOMIC_RELAXED);
}

static void *release_main(void *context)
{
    (void)context;
    pthread_mutex_lock(&regions.lock);
    for (;;) {
        while (regions.trash == NULL) {
            pthread_cond_wait(&regions.changed, &regions.lock);
        }
        struct trash *first = regions.trash;
        size_t len = first->len;
        regions.trash = first->next;
        pthread_mutex_unlock(&regions.lock);
        release((char *)first, len);
        pthread_mutex_lock(&regions.lock);
        regions.bytes -= len;
        pthread_cond_broadcast(&regions.changed);
    }
    return NULL;
}

/* With the lock held. Signals are for the core thread. */
static void thread_begin(void)
{
    pthread_t thread;
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    regions.is_begun = pthread_create(&thread, NULL, release_main, NULL) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (regions.is_begun) {
        (void)pthread_detach(thread);
    }
}

void region_free(void *region, size_t len)
{
    struct trash *trash = region;
    size_t usable = region_good_size(len);
    mem_count_region(-(int64_t)usable);
    pthread_mutex_lock(&regions.lock);
    if (!regions.is_begun) {
        thread_begin();
    }
    bool is_taken = regions.is_begun && regions.bytes + usable <= RELEASE_MAX;
    if (is_taken) {
        *trash = (struct trash){.next = regions.trash, .len = usable};
        regions.trash = trash;
        regions.bytes += usable;
        pthread_cond_broadcast(&regions.changed);
    }
    pthread_mutex_unlock(&regions.lock);
    if (!is_taken) {
        release(region, usable);
    }
}

void region_settle(void)
{
    pthread_mutex_lock(&regions.lock);
    while (regions.bytes > 0) {
        pthread_cond_wait(&regions.changed, &regions.lock);
    }
    pthread_mutex_unlock(&regions.lock);
}

/* ---- New ---- */

/* Whether a region of this length is worth one of those that the kernel allows. */
static bool is_worth(size_t len)
{
    size_t steps = __atomic_load_n(&regions.count, __ATOMIC_RELAXED) / REGIONS_PER_STEP;
    return steps < REGION_STEPS_MAX && len >= (size_t)REGION_LEN_MIN << steps;
}

void *region_try_new(size_t len)
{
    if (len > REGION_LEN_MAX || !is_worth(len)) {
        return NULL;
    }
    size_t usable = region_good_size(len);
    void *region =
        mmap(NULL, REGION_LEN_MAX, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region == MAP_FAILED) {
        return NULL;
    }
    if (mprotect(region, usable, PROT_READ | PROT_WRITE) != 0) {
        (void)munmap(region, REGION_LEN_MAX);
        return NULL;
    }
    __atomic_add_fetch(&regions.count, 1, __ATOMIC_RELAXED);
    mem_count_region((int64_t)usable);
    return region;
}

bool region_try_grow(void *region, size_t old_len, size_t len)
{
    size_t usable = region_good_size(old_len);
    size_t wanted = region_good_size(len);
    if (len > REGION_LEN_MAX) {
        return false;
    }
    if (wanted > usable) {
        char *fresh = (char *)region + usable;
        if (mprotect(fresh, wanted - usable, PROT_READ | PROT_WRITE) != 0) {
            return false;
        }
        mem_count_region((int64_t)(wanted - usable));
    }
    return true;
}
