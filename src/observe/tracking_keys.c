/* Keys that clients have read and may hold copies of.
 *
 *     table --> tracked | count | cap | ids | len | name |
 *                                       '--> [client id] [client id] ...  rising; one lies in place
 *
 * A key that one client reads costs 20 bytes, its name and 11 in the table; each further client 8
 * to 16 bytes. Databases are not told apart, as in Redis: the same name in two of them is one
 * entry.
 *
 * A key is forgotten when it changes, for then its clients are told once and have to read it again.
 * The number of keys is bounded (tracking-table-max-keys): each new key above the limit makes room
 * by invalidating two others, drawn at random; when the limit is lowered, a job does so in slices.
 * All this memory counts as the clients', never as the data set's, so it evicts no key.
 *
 * Ids of clients that have gone stay until the key is forgotten, or until the array of ids is full:
 * then they are dropped before it grows, so that it never has more than twice as many as there are
 * clients. When the last client stops tracking, everything is forgotten in slices.
 *
 * Rejected: one radix tree of keys with a tree of ids each, as Redis has it (four times the
 * memory); links from each client to its keys, to drop them with it (as much again). */
#include "base/assert.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"
#include "observe/tracking_internal.h"

enum { IDS_FIRST = 4 };

struct tracked {
    uint32_t count;
    uint32_t cap; /* Of `ids`; 0: there is one, `id`. */
    union {
        uint64_t id;
        uint64_t *ids; /* Owned, sorted. */
    };
    uint32_t len;
    char name[];
};

/* A table of keys on its way to be freed. */
struct tracked_drain {
    struct work_job job;
    struct list link;
    struct tracking *tracking;
    struct table_drain drain;
};

static struct slice tracked_name(const struct tracked *tracked)
{
    return slice_of(tracked->name, tracked->len);
}

static uint64_t tracked_hash(const void *entry, const void *context)
{
    return hash_bytes(((const struct tracking *)context)->seed, tracked_name(entry));
}

static bool tracked_is(const void *entry, const void *key)
{
    return slice_equal(tracked_name(entry), *(const struct slice *)key);
}

static uint64_t *tracked_ids(struct tracked *tracked)
{
    return tracked->cap == 0 ? &tracked->id : tracked->ids;
}

static void tracked_free(struct tracking *tracking, struct tracked *tracked)
{
    if (tracked->cap != 0) {
        tracking->memory -= mem_usable(tracked->ids);
        mem_free(tracked->ids);
    }
    tracking->memory -= mem_usable(tracked);
    mem_free(tracked);
}

/* ---- Ids ---- */

/* The index of the first id that is not below `id`. */
static uint32_t ids_find(const uint64_t *ids, uint32_t count, uint64_t id)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (ids[middle] < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Drops the ids of clients that have gone. */
static void ids_compact(struct tracking *tracking, struct tracked *tracked)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < tracked->count; i++) {
        if (tracker_by_id(tracking, tracked->ids[i]) != NULL) {
            tracked->ids[kept++] = tracked->ids[i];
        }
    }
    tracking->item_count -= tracked->count - kept;
    tracked->count = kept;
}

static void ids_resize(struct tracking *tracking, struct tracked *tracked, uint32_t cap)
{
    uint64_t only = tracked->id;
    uint64_t *old = tracked->cap == 0 ? NULL : tracked->ids;
    tracking->memory -= old != NULL ? mem_usable(old) : 0;
    tracked->ids = mem_realloc(old, cap * sizeof(*tracked->ids));
    if (old == NULL) {
        tracked->ids[0] = only;
    }
    tracked->cap = cap;
    tracking->memory += mem_usable(tracked->ids);
}

static void ids_make_room(struct tracking *tracking, struct tracked *tracked)
{
    if (tracked->cap == 0) {
        ids_resize(tracking, tracked, IDS_FIRST);
        return;
    }
    ids_compact(tracking, tracked);
    if (tracked->count > tracked->cap / 2) {
        ids_resize(tracking, tracked, tracked->cap * 2);
    }
}

static void ids_add(struct tracking *tracking, struct tracked *tracked, uint64_t id)
{
    uint64_t *ids = tracked_ids(tracked);
    uint32_t at = ids_find(ids, tracked->count, id);
    if (at < tracked->count && ids[at] == id) {
        return;
    }
    if (tracked->count == (tracked->cap == 0 ? 1 : tracked->cap)) {
        ids_make_room(tracking, tracked);
        at = ids_find(tracked->ids, tracked->count, id);
    }
    ids = tracked->ids;
    memmove(&ids[at + 1], &ids[at], (tracked->count - at) * sizeof(*ids));
    ids[at] = id;
    tracked->count++;
    tracking->item_count++;
}

/* ---- Keys ---- */

void tracked_remember(struct tracking *tracking, struct slice key, struct tracker *tracker)
{
    uint64_t id = tracker->session->id;
    uint64_t hash = hash_bytes(tracking->seed, key);
    struct tracked *tracked = table_find(&tracking->keys, hash, &key, tracked_is);
    if (tracked != NULL) {
        ids_add(tracking, tracked, id);
        return;
    }
    tracked = mem_try_alloc(sizeof(*tracked) + key.len);
    if (tracked == NULL) {
        struct invalidation everything = {0};
        tracking_tell(tracking, tracker, &everything);
        invalidation_deinit(&everything);
        return;
    }
    *tracked = (struct tracked){.count = 1, .id = id, .len = (uint32_t)key.len};
    memcpy(tracked->name, key.data, key.len);
    table_insert(&tracking->keys, hash, tracked);
    tracking->memory += mem_usable(tracked);
    tracking->item_count++;
    if (tracking->keys_max != 0 && table_count(&tracking->keys) > tracking->keys_max) {
        tracked_trim(tracking);
    }
}

/* Takes a key out, tells its clients and frees it. */
static void invalidate(struct tracking *tracking, struct tracked *tracked, uint64_t origin_id)
{
    struct buf keys;
    buf_init(&keys);
    buf_append_text(&keys, "*1\r\n");
    tracking_append_key(&keys, tracked_name(tracked));
    struct audience audience = {
        .ids = tracked_ids(tracked), .count = tracked->count, .origin_id = origin_id};
    tracking->item_count -= tracked->count;
    tracking_tell_all(tracking, &audience, buf_slice(&keys));
    tracked_free(tracking, tracked);
    buf_deinit(&keys);
}

void tracked_invalidate(struct tracking *tracking, struct slice key, uint64_t origin_id)
{
    if (table_count(&tracking->keys) == 0) {
        return;
    }
    struct tracked *tracked =
        table_remove(&tracking->keys, hash_bytes(tracking->seed, key), &key, tracked_is);
    if (tracked != NULL) {
        invalidate(tracking, tracked, origin_id);
    }
}

/* ---- The limit ---- */

static bool is_above_limit(const struct tracking *tracking)
{
    return tracking->keys_max != 0 && table_count(&tracking->keys) > tracking->keys_max;
}

static void forget_some(struct tracking *tracking, unsigned max)
{
    for (unsigned i = 0; i < max && is_above_limit(tracking); i++) {
        struct tracked *tracked = table_random(&tracking->keys, exec_rng(tracking->exec));
        struct slice key = tracked_name(tracked);
        uint64_t hash = hash_bytes(tracking->seed, key);
        table_remove(&tracking->keys, hash, &key, tracked_is);
        invalidate(tracking, tracked, 0);
    }
}

static bool trim_step(struct work_job *job)
{
    struct tracking *tracking = LIST_OWNER(job, struct tracking, trim);
    forget_some(tracking, TRIM_STEP);
    return !is_above_limit(tracking);
}

void tracked_trim(struct tracking *tracking)
{
    enum { ROOM_PER_KEY = 2 };
    forget_some(tracking, ROOM_PER_KEY);
    if (is_above_limit(tracking) && !list_is_linked(&tracking->trim.link)) {
        work_add(exec_work(tracking->exec), &tracking->trim, trim_step);
    }
}

/* ---- All of them ---- */

static void drain_visit(void *context, void *entry)
{
    tracked_free(context, entry);
}

static void drain_free(struct tracked_drain *drain)
{
    list_remove(&drain->link);
    mem_free_sized(drain, sizeof(*drain));
}

static bool drain_step(struct work_job *job)
{
    struct tracked_drain *drain = LIST_OWNER(job, struct tracked_drain, job);
    if (!table_drain_step(&drain->drain, drain_visit, drain->tracking, SEND_STEP)) {
        return false;
    }
    drain_free(drain);
    return true;
}

void tracked_forget_all(struct tracking *tracking)
{
    if (table_count(&tracking->keys) == 0) {
        return;
    }
    struct tracked_drain *drain = mem_alloc(sizeof(*drain));
    drain->tracking = tracking;
    table_drain_begin(&drain->drain, &tracking->keys);
    list_push_back(&tracking->drains, &drain->link);
    tracking->item_count = 0;
    work_add(exec_work(tracking->exec), &drain->job, drain_step);
}

void tracked_init(struct tracking *tracking)
{
    tracking->key_kind = (struct table_kind){.hash_of = tracked_hash, .context = tracking};
    table_init(&tracking->keys, &tracking->key_kind);
    list_init(&tracking->drains);
    list_init(&tracking->trim.link);
}

void tracked_deinit(struct tracking *tracking)
{
    tracked_forget_all(tracking);
    while (!list_is_empty(&tracking->drains)) {
        struct tracked_drain *drain = LIST_OWNER(tracking->drains.next, struct tracked_drain, link);
        work_cancel(exec_work(tracking->exec), &drain->job);
        while (!table_drain_step(&drain->drain, drain_visit, tracking, SIZE_MAX)) {
        }
        drain_free(drain);
    }
    work_cancel(exec_work(tracking->exec), &tracking->trim);
    table_deinit(&tracking->keys);
}
