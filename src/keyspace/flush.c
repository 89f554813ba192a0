/* Giving memory back in slices: emptied databases and large values.
 *
 *     db_flush:  table and wheel, moved in O(1) -> a flush job ----+
 *     removal:   a large value's own job --------------------------+--> keyspace.frees
 *                                                                         |
 *     server's work queue: [..., frees_job, ...], one step at a time <----+
 *     eviction over its limit, as many steps as it has time for <---------+
 *
 * The keyspace keeps these jobs in a queue of its own, with one job in the server's queue that
 * steps through it, so that eviction can tell memory that is on its way from memory that is in use.
 *
 * Costs. Detaching is O(1). A slice frees FLUSH_ENTRIES values; their headers are prefetched
 * FLUSH_AHEAD entries ahead, since nearly every one is a cache miss. The wheel's references go by
 * thousands.
 *
 * Invariants:
 *   1. frees_job is in the server's queue exactly while `frees` has jobs (but for the moment inside
 * a step), and is_frees_job_queued says so.
 *   2. A detached table is reachable from its flush job alone. */
#include "base/assert.h"
#include "base/mem.h"
#include "base/prefetch.h"
#include "keyspace/keyspace_internal.h"

enum {
#ifdef OURO_HOSTILE
    FLUSH_ENTRIES = 3,
    FLUSH_REFS = 2,
#else
    FLUSH_ENTRIES = 256, /* 20 to 40 us when every value is a cache miss. */
    FLUSH_REFS = 4096,   /* About 10 us. */
#endif
    FLUSH_AHEAD = 16,
};

struct flush {
    struct work_job job;
    struct keyspace *keyspace;
    struct table_drain drain;
    struct wheel wheel;
    struct value *ahead[FLUSH_AHEAD]; /* Prefetched, freed when their place is needed. */
    unsigned next;                    /* In `ahead`. */
};

/* --- The queue ----------------------------------------------------------------------------------
 */

static bool keyspace_on_frees_job(struct work_job *job)
{
    struct keyspace *keyspace = LIST_OWNER(job, struct keyspace, frees_job);
    keyspace_free_step(keyspace);
    keyspace->is_frees_job_queued = !work_is_idle(&keyspace->frees);
    return !keyspace->is_frees_job_queued;
}

/* Makes the server's queue work on ours. */
static void keyspace_schedule_frees(struct keyspace *keyspace)
{
    if (!work_is_idle(&keyspace->frees) && !keyspace->is_frees_job_queued) {
        keyspace->is_frees_job_queued = true;
        work_add(keyspace->work, &keyspace->frees_job, keyspace_on_frees_job);
    }
}

void keyspace_frees_init(struct keyspace *keyspace)
{
    work_queue_init(&keyspace->frees);
}

void keyspace_frees_deinit(struct keyspace *keyspace)
{
    work_drain(&keyspace->frees);
    work_cancel(keyspace->work, &keyspace->frees_job);
}

/* Frees, or leaves it to whoever still reads it. */
static inline void free_or_detach(struct keyspace *keyspace, struct value *value)
{
    if (__builtin_expect(value_is_pinned(value), 0)) {
        pin_detach(keyspace, value);
    } else {
        value_free(value, &keyspace->frees);
    }
}

void keyspace_free_value(struct keyspace *keyspace, struct value *value)
{
    free_or_detach(keyspace, value);
    keyspace_schedule_frees(keyspace);
}

void keyspace_unpark(struct keyspace *keyspace, struct list *parked)
{
    work_unpark(parked, &keyspace->frees);
    keyspace_schedule_frees(keyspace);
}

bool keyspace_free_step(struct keyspace *keyspace)
{
    if (work_is_idle(&keyspace->frees)) {
        return false;
    }
    work_run(&keyspace->frees, INT64_MIN); /* A deadline in the past: one step. */
    return true;
}

/* --- Whole databases ----------------------------------------------------------------------------
 */

static void flush_on_value(void *context, void *entry)
{
    struct flush *flush = context;
    prefetch(entry);
    struct value *value = flush->ahead[flush->next];
    flush->ahead[flush->next] = entry;
    flush->next = (flush->next + 1) % FLUSH_AHEAD;
    if (value != NULL) {
        free_or_detach(flush->keyspace, value);
    }
}

static void flush_finish_ahead(struct flush *flush)
{
    for (unsigned i = 0; i < FLUSH_AHEAD; i++) {
        if (flush->ahead[i] != NULL) {
            free_or_detach(flush->keyspace, flush->ahead[i]);
            flush->ahead[i] = NULL;
        }
    }
}

static bool flush_keeps_none(void *context, uint32_t ref, uint16_t place)
{
    (void)context;
    (void)ref;
    (void)place;
    return false;
}

/* Values first, then the wheel's references. */
static bool flush_step(struct work_job *job)
{
    struct flush *flush = LIST_OWNER(job, struct flush, job);
    if (!table_drain_step(&flush->drain, flush_on_value, flush, FLUSH_ENTRIES)) {
        return false;
    }
    flush_finish_ahead(flush);
    if (wheel_count(&flush->wheel) > 0 &&
        !wheel_compact_step(&flush->wheel, flush_keeps_none, NULL, FLUSH_REFS)) {
        return false;
    }
    wheel_deinit(&flush->wheel);
    mem_free_sized(flush, sizeof(*flush));
    return true;
}

/* The contents, with the database empty behind them. */
static struct flush *db_detach(struct db *db)
{
    struct flush *flush = mem_zalloc(sizeof(*flush));
    flush->keyspace = db->keyspace;
    table_drain_begin(&flush->drain, &db->table);
    flush->wheel = db->wheel;
    wheel_init(&db->wheel, flush->wheel.now_ms);
    wheel_deinit(&db->parts); /* A reference per hash with volatile fields: few. */
    db->is_compacting_parts = false;
    db->volatile_count = 0;
    db->stream_count = 0;
    db->is_compacting = false;
    return flush;
}

size_t db_flush(struct db *db, bool is_now)
{
    struct keyspace *keyspace = db->keyspace;
    size_t count = table_count(&db->table);
    if (count == 0 && wheel_count(&db->wheel) == 0 && wheel_count(&db->parts) == 0) {
        return 0;
    }
    watch_bump_all(db, NULL);
    struct flush *flush = db_detach(db);
    struct table_guard *guard = flush->drain.table.guard;
    if (guard != NULL) {
        list_init(&flush->job.link);
        work_park(&guard->parked, &flush->job, flush_step);
    } else if (!is_now) {
        work_add(&keyspace->frees, &flush->job, flush_step);
    } else {
        while (!flush_step(&flush->job)) {
        }
    }
    keyspace_schedule_frees(keyspace);
    return count;
}
