/* Large sorted sets: one entry per member, which a table finds by its bytes and a tree by its rank.
 *
 *     value --> | table | order | kind | seed |
 *                  |        |
 *                  v        v
 *     entry:   | score, 8 bytes | len, 1 byte | [len, 4 bytes] | member ... |
 *
 * The tree compares hints first: the score's bits, turned into a number that rises with it. Only
 * equal scores make it read members.
 *
 * Costs per member "member:123456": an entry of 32 bytes (23 asked for), 10.4 to 11.6 in the table,
 * 8.7 to 10.4 in the tree. Lookup O(1); rank, addition, removal, change of a score O(log n). A set
 * of millions is freed in slices: the table hands out the entries, the tree its nodes.
 *
 * Invariants, asserted by zset_large_check:
 *   1. Table and tree hold the same entries.
 *   2. No score is NaN; the order is by score, then by the member's bytes.
 *
 * Rejected. Ordering by a walk over forward links (a skip list), as Redis does: 24 bytes and more
 * per member above the pointers here. Scores in the tree beside the pointers: no misses while
 * searching a leaf, but 9 bytes more per member. */
#include <math.h>

#include "base/assert.h"
#include "base/fiber.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/pieces.h"
#include "base/work.h"
#include "types/zset/zset_internal.h"

enum {
    FREE_AT_ONCE_MAX = 128, /* Members that are freed without a job. */
    FREE_STEP = 256,        /* Members that one step of the job frees: about 30 us of misses. */
};

/* ---- Entries ---- */

static size_t entry_size(const struct zset_entry *entry)
{
    struct slice member = zset_entry_member(entry);
    return (size_t)(member.data - (const char *)entry) + member.len;
}

static struct zset_entry *entry_try_new(struct slice member, double score)
{
    bool is_long = member.len >= ZSET_LEN_LONG;
    size_t head = offsetof(struct zset_entry, body) + (is_long ? sizeof(uint32_t) : 0);
    if (member.len > UINT32_MAX) {
        return NULL;
    }
    struct zset_entry *entry = mem_try_alloc(head + member.len);
    if (entry == NULL) {
        return NULL;
    }
    entry->score = score;
    entry->len = is_long ? ZSET_LEN_LONG : (uint8_t)member.len;
    if (is_long) {
        uint32_t len = (uint32_t)member.len;
        memcpy(entry->body, &len, sizeof(len));
    }
    if (member.len > 0) {
        pieces_copy((char *)entry + head, member.data, member.len);
    }
    return entry;
}

static void entry_free(struct zset_entry *entry)
{
    mem_free_sized(entry, entry_size(entry));
}

static uint64_t entry_hash(const void *entry, const void *context)
{
    return hash_bytes(*(const uint64_t *)context, zset_entry_member(entry));
}

static inline bool entry_has_member(const void *entry, const void *key)
{
    return slice_equal(zset_entry_member(entry), *(const struct slice *)key);
}

/* ---- Order ---- */

/* A number that rises with the score. Both zeros have the same. */
static inline uint64_t score_hint(double score)
{
    double positive_zero = score + 0.0;
    uint64_t bits;
    memcpy(&bits, &positive_zero, sizeof(bits));
    return bits >> 63 != 0 ? ~bits : bits | UINT64_C(1) << 63;
}

static uint64_t entry_hint(const void *entry)
{
    return score_hint(((const struct zset_entry *)entry)->score);
}

static bool entry_is_before(const void *entry, const void *key)
{
    const struct zset_entry *one = entry;
    const struct zset_entry *other = key;
    struct zset_mark mark = {
        .score = other->score, .member = zset_entry_member(other), .edge = ZSET_EDGE_CLOSED};
    return zset_is_before(one->score, zset_entry_member(one), &mark);
}

static bool entry_is_before_mark(const void *entry, const void *key)
{
    const struct zset_entry *one = entry;
    return zset_is_before(one->score, zset_entry_member(one), key);
}

static const struct order_kind zset_order_kind = {.hint_of = entry_hint,
                                                  .is_before = entry_is_before};

size_t zset_large_bound(const struct zset_large *large, const struct zset_mark *mark)
{
    struct order_probe probe = {
        .hint = score_hint(mark->score), .is_before = entry_is_before_mark, .key = mark};
    return order_rank(&large->order, &probe);
}

/* The rank of a bound among members, which are all taken to have the first one's score. */
static size_t lex_bound(const struct zset_large *large, const struct zset_lex_bound *bound,
                        bool is_end)
{
    if (bound->edge == ZSET_EDGE_BEFORE_ALL) {
        return 0;
    }
    if (bound->edge == ZSET_EDGE_AFTER_ALL) {
        return order_count(&large->order);
    }
    const struct zset_entry *first = order_at(&large->order, 0);
    bool is_open = (bound->edge == ZSET_EDGE_OPEN) != is_end;
    struct zset_mark mark = {.score = first == NULL ? 0 : first->score,
                             .member = bound->text,
                             .edge = is_open ? ZSET_EDGE_OPEN : ZSET_EDGE_CLOSED};
    return zset_large_bound(large, &mark);
}

struct zset_ranks zset_large_lex(const struct zset_large *large, const struct zset_lex_range *range)
{
    struct zset_ranks ranks = {lex_bound(large, &range->min, false),
                               lex_bound(large, &range->max, true)};
    if (ranks.end < ranks.first) {
        ranks.end = ranks.first;
    }
    return ranks;
}

/* ---- New and free ---- */

struct zset_large *zset_large_try_new(uint64_t seed, size_t expected)
{
    struct zset_large *large = mem_try_alloc(sizeof(*large));
    if (large == NULL) {
        return NULL;
    }
    large->seed = seed;
    large->kind = (struct table_kind){.hash_of = entry_hash, .context = &large->seed};
    table_init(&large->table, &large->kind);
    table_reserve(&large->table, expected);
    order_init(&large->order, &zset_order_kind);
    return large;
}

struct free_job {
    struct work_job job;
    struct zset_large *large; /* What the drains still ask for the seed and the kind. */
    struct table_drain table;
    struct order_drain order;
};

static void on_drained(void *context, void *entry)
{
    (void)context;
    entry_free(entry);
}

static bool free_job_on_step(struct work_job *work_job)
{
    struct free_job *job = LIST_OWNER(work_job, struct free_job, job);
    if (!order_drain_step(&job->order, FREE_STEP) ||
        !table_drain_step(&job->table, on_drained, NULL, FREE_STEP)) {
        return false;
    }
    mem_free_sized(job->large, sizeof(*job->large));
    mem_free_sized(job, sizeof(*job));
    return true;
}

void zset_large_free(struct zset_large *large, struct work_queue *work)
{
    struct free_job *job = mem_alloc(sizeof(*job));
    bool is_now = work == NULL || table_count(&large->table) <= FREE_AT_ONCE_MAX;
    job->large = large;
    table_drain_begin(&job->table, &large->table);
    order_drain_begin(&job->order, &large->order);
    list_init(&job->job.link);
    if (job->table.table.guard != NULL) {
        work_park(&job->table.table.guard->parked, &job->job, free_job_on_step);
        return;
    }
    if (!is_now) {
        work_add(work, &job->job, free_job_on_step);
        return;
    }
    while (!free_job_on_step(&job->job)) {
    }
}

/* ---- Members ---- */

struct zset_entry *zset_large_find(const struct zset_large *large, struct slice member)
{
    uint64_t hash = hash_bytes(large->seed, member);
    return table_find(&large->table, hash, &member, entry_has_member);
}

/* Adds an entry that comes after all others (`is_last`) or anywhere. */
static bool large_try_insert(struct zset_large *large, struct slice member, double score,
                             bool is_last)
{
    struct zset_entry *entry = entry_try_new(member, score);
    if (entry == NULL) {
        return false;
    }
    table_insert(&large->table, hash_bytes(large->seed, member), entry);
    if (is_last) {
        order_append(&large->order, entry);
    } else {
        order_insert(&large->order, entry);
    }
    return true;
}

bool zset_large_try_add(struct zset_large *large, struct slice member, double score)
{
    return large_try_insert(large, member, score, false);
}

void zset_large_move(struct zset_large *large, struct zset_entry *entry, double score)
{
    table_will_change(&large->table, entry_hash(entry, &large->seed));
    order_remove(&large->order, entry);
    entry->score = score;
    order_insert(&large->order, entry);
}

bool zset_large_remove(struct zset_large *large, struct slice member)
{
    uint64_t hash = hash_bytes(large->seed, member);
    uint64_t *slot = table_find_slot(&large->table, hash, &member, entry_has_member);
    if (slot == NULL) {
        return false;
    }
    struct zset_entry *entry = table_slot_entry(slot);
    order_remove(&large->order, entry);
    table_remove_slot(&large->table, hash, slot);
    entry_free(entry);
    return true;
}

void zset_large_remove_ranks(struct zset_large *large, struct zset_ranks ranks)
{
    for (size_t left = ranks.end - ranks.first; left > 0; left--) {
        struct zset_entry *entry = order_remove_at(&large->order, ranks.first);
        struct slice member = zset_entry_member(entry);
        uint64_t hash = hash_bytes(large->seed, member);
        void *removed = table_remove(&large->table, hash, &member, entry_has_member);
        ASSERT(removed == entry);
        entry_free(entry);
    }
}

/* ---- Copies ---- */

struct zset_large *zset_large_try_copy(const struct zset_large *large)
{
    struct zset_large *copy = zset_large_try_new(large->seed, table_count(&large->table));
    if (copy == NULL) {
        return NULL;
    }
    struct order_cursor cursor;
    const struct zset_entry *entry = order_seek(&large->order, 0, &cursor);
    for (; entry != NULL; entry = order_next(&cursor)) {
        if (!large_try_insert(copy, zset_entry_member(entry), entry->score, true)) {
            zset_large_free(copy, NULL);
            return NULL;
        }
    }
    return copy;
}

struct zset_large *zset_large_try_from_pack(struct slice pack, uint64_t seed, size_t expected)
{
    struct zset_large *large = zset_large_try_new(seed, expected);
    if (large == NULL) {
        return NULL;
    }
    for (size_t at = 0; at < pack.len;) {
        struct zset_item item;
        at = zset_pack_read(pack, at, &item);
        if (!large_try_insert(large, item.member, item.score, true)) {
            zset_large_free(large, NULL);
            return NULL;
        }
    }
    return large;
}

/* ---- Memory, check ---- */

size_t zset_large_memory(const struct zset_large *large, size_t samples)
{
    size_t count = order_count(&large->order);
    size_t bytes =
        mem_good_size(sizeof(*large)) + table_memory(&large->table) + order_memory(&large->order);
    size_t sampled = 0;
    size_t sampled_bytes = 0;
    struct order_cursor cursor;
    const struct zset_entry *entry = order_seek(&large->order, 0, &cursor);
    for (; entry != NULL && (samples == 0 || sampled < samples); entry = order_next(&cursor)) {
        sampled_bytes += mem_good_size(entry_size(entry));
        fiber_breathe_at(++sampled);
    }
    if (sampled > 0) {
        bytes += (size_t)((double)sampled_bytes / (double)sampled * (double)count);
    }
    return bytes;
}

void zset_large_check(const struct zset_large *large)
{
    table_check(&large->table);
    order_check(&large->order);
    ASSERT(table_count(&large->table) == order_count(&large->order));
    struct order_cursor cursor;
    const struct zset_entry *entry = order_seek(&large->order, 0, &cursor);
    for (; entry != NULL; entry = order_next(&cursor)) {
        ASSERT(!isnan(entry->score));
        ASSERT(zset_large_find(large, zset_entry_member(entry)) == entry);
    }
}
