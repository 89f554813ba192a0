/* The table encoding of a hash: a table (ds/table.h) of entries, each one allocation that holds a
 * field and its value (hash_entry.c), and the moments of those that expire (hash_volatile.c).
 *
 * Costs. Two bytes per short field and value, the rounding of the allocator, and the table's 10.4
 * to 11.6 bytes: "field:N" with a value of 16 bytes takes 43 bytes. Integers are stored in one to
 * nine bytes. A field that expires takes some 11.2 bytes more. A lookup is two cache misses; one or
 * two more tell the moment of a field that expires. A value that is replaced by one of the same
 * size class is written in place; otherwise the entry moves and its slot is mended.
 *
 * Freeing. A table of more than HASH_FREE_ENTRIES becomes a job that frees so many in a slice; its
 * body holds the job, so that freeing needs no memory. A picture may still tell the entries before
 * that begins, so the moments go last.
 *
 * Invariants (hash_body_check):
 *   1. The size class of an entry is that of its two items: frees are sized.
 *   2. Each entry is found by its field, and the table's own invariants hold.
 *   3. kind.context points to the seed of the same body, which therefore never moves: whoever has
 *      the table, wherever its contents are, finds the body by its kind.
 *
 * Rejected. A separate allocation for the value: 16 bytes more, a cache miss more. Chains inside
 * the entry: the table needs none. Lengths as fixed numbers: they would push a typical entry of 30
 * bytes into the class of 48. */
#include "base/assert.h"
#include "base/fiber.h"
#include "base/hash.h"
#include "base/mem.h"
#include "types/hash/hash_internal.h"

static bool hash_entry_is(const void *entry, const void *key)
{
    return pack_matches(hash_entry_bytes(entry), key);
}

void hash_entry_texts(const void *entry, struct hash_pair *pair)
{
    struct slice pack = hash_entry_pack(entry);
    pack_next(pack, pack_next(pack, 0, &pair->field), &pair->text);
    pair->expire_ms = HASH_NO_EXPIRE;
}

void hash_entry_pair(const struct hash_body *body, const void *entry, struct hash_pair *pair)
{
    hash_entry_texts(entry, pair);
    if (hash_entry_is_volatile(entry)) {
        pair->expire_ms = hash_body_moment(body, entry);
    }
}

void hash_pair_of(const struct table *table, const void *entry, struct hash_pair *pair)
{
    hash_entry_pair(LIST_OWNER(table->kind, struct hash_body, kind), entry, pair);
}

static void hash_on_free_entry(void *context, void *entry)
{
    (void)context;
    hash_entry_free(entry);
}

/* ---- Bodies ---- */

struct hash_body *hash_body_new(uint64_t seed)
{
    struct hash_body *body = mem_zalloc(sizeof(*body));
    body->seed = seed;
    body->kind = (struct table_kind){.hash_of = hash_entry_hash, .context = &body->seed};
    table_init(&body->table, &body->kind);
    return body;
}

static bool hash_on_free_step(struct work_job *job)
{
    struct hash_body *body = LIST_OWNER(job, struct hash_body, job);
    if (!table_drain_step(&body->drain, hash_on_free_entry, NULL, HASH_FREE_ENTRIES) ||
        !hash_moments_free_step(&body->moments)) {
        return false;
    }
    mem_free_sized(body, sizeof(*body));
    return true;
}

void hash_body_free(struct hash_body *body, struct work_queue *work)
{
    bool is_large = table_count(&body->table) > HASH_FREE_ENTRIES;
    table_drain_begin(&body->drain, &body->table);
    list_init(&body->job.link);
    if (body->drain.table.guard != NULL) {
        work_park(&body->drain.table.guard->parked, &body->job, hash_on_free_step);
        return;
    }
    if (is_large && work != NULL) {
        work_add(work, &body->job, hash_on_free_step);
        return;
    }
    while (!hash_on_free_step(&body->job)) {
    }
}

struct hash_body *hash_body_try_copy(const struct hash_body *body)
{
    struct hash_body *copy = hash_body_new(body->seed);
    table_reserve_all(&copy->table, table_count(&body->table));
    struct table_iterator iterator;
    table_iterate(&body->table, &iterator);
    for (void *entry = table_next(&iterator); entry != NULL; entry = table_next(&iterator)) {
        size_t size = hash_entry_size(entry);
        char *twin = mem_try_alloc(size);
        if (twin == NULL) {
            hash_body_free(copy, NULL);
            return NULL;
        }
        memcpy(twin, hash_entry_bytes(entry), size);
        table_insert(&copy->table, hash_entry_hash(twin, &copy->seed),
                     hash_entry_marked(twin, hash_entry_is_volatile(entry)));
    }
    hash_moments_copy(&copy->moments, &body->moments);
    copy->volatile_count = body->volatile_count;
    copy->expiry_word = body->expiry_word;
    return copy;
}

size_t hash_body_memory(const struct hash_body *body, size_t samples)
{
    size_t count = table_count(&body->table);
    size_t seen = 0;
    size_t bytes = 0;
    struct table_iterator iterator;
    table_iterate(&body->table, &iterator);
    for (void *entry = table_next(&iterator); entry != NULL && (samples == 0 || seen < samples);
         entry = table_next(&iterator)) {
        bytes += mem_good_size(hash_entry_size(entry));
        fiber_breathe_at(++seen);
    }
    if (seen > 0 && seen < count) {
        bytes = (size_t)((double)bytes / (double)seen * (double)count);
    }
    return mem_good_size(sizeof(*body)) + table_memory(&body->table) + bytes +
           hash_moments_memory(&body->moments);
}

static void hash_entry_check(const struct hash_body *body, const void *entry)
{
    size_t items;
    size_t size = hash_entry_size(entry);
    ASSERT(pack_check_bytes(slice_of(hash_entry_bytes(entry), size), &items) &&
           items == HASH_STRIDE);
    ASSERT(mem_usable(hash_entry_bytes(entry)) == mem_good_size(size));
    char digits[PACK_DIGITS];
    struct hash_pair pair;
    hash_entry_pair(body, entry, &pair);
    struct pack_wanted wanted = pack_want(pack_text(&pair.field, digits));
    uint64_t hash = hash_entry_hash(entry, &body->seed);
    ASSERT(table_find(&body->table, hash, &wanted, hash_entry_is) == entry);
}

void hash_body_check(const struct hash_body *body)
{
    ASSERT(body->kind.context == &body->seed);
    table_check(&body->table);
    struct table_iterator iterator;
    table_iterate(&body->table, &iterator);
    for (void *entry = table_next(&iterator); entry != NULL; entry = table_next(&iterator)) {
        hash_entry_check(body, entry);
    }
    hash_body_check_moments(body);
}

/* ---- Fields ---- */

static const void *hash_body_entry(const struct hash_body *body, struct slice field)
{
    struct pack_wanted wanted = pack_want(field);
    return table_find(&body->table, hash_bytes(body->seed, field), &wanted, hash_entry_is);
}

bool hash_body_find(const struct hash_body *body, struct slice field, struct hash_pair *pair)
{
    const void *entry = hash_body_entry(body, field);
    if (entry == NULL) {
        return false;
    }
    hash_entry_pair(body, entry, pair);
    return true;
}

bool hash_body_find_texts(const struct hash_body *body, struct slice field, struct hash_pair *pair)
{
    const void *entry = hash_body_entry(body, field);
    if (entry == NULL) {
        return false;
    }
    hash_entry_texts(entry, pair);
    return true;
}

/* A field that does not expire gets a value, and will not expire. */
static enum hash_put_result hash_body_try_put_plain(struct hash_body *body, uint64_t hash,
                                                    uint64_t *slot, struct slice field,
                                                    struct slice text)
{
    if (slot != NULL) {
        return hash_entry_try_replace(slot, text, HASH_NO_EXPIRE) ? HASH_REPLACED : HASH_NO_MEMORY;
    }
    void *entry = hash_entry_try_new(field, text, HASH_NO_EXPIRE);
    if (entry == NULL) {
        return HASH_NO_MEMORY;
    }
    table_insert(&body->table, hash, entry);
    return HASH_ADDED;
}

enum hash_put_result hash_body_try_put(struct hash_body *body, struct slice field,
                                       struct slice text, int64_t expire_ms)
{
    struct pack_wanted wanted = pack_want(field);
    uint64_t hash = hash_bytes(body->seed, field);
    uint64_t *slot = table_find_slot(&body->table, hash, &wanted, hash_entry_is);
    table_will_change(&body->table, hash);
    if (expire_ms < 0 && (slot == NULL || !hash_entry_is_volatile(table_slot_entry(slot)))) {
        return hash_body_try_put_plain(body, hash, slot, field, text);
    }
    struct hash_change change = {.hash = hash, .slot = slot, .expire_ms = expire_ms};
    if (!hash_change_try_begin(body, &change)) {
        return HASH_NO_MEMORY;
    }
    enum hash_put_result result = HASH_REPLACED;
    if (change.slot == NULL) {
        void *entry = hash_entry_try_new(field, text, change.stamp_ms);
        if (entry == NULL) {
            return HASH_NO_MEMORY;
        }
        change.slot = table_insert(&body->table, change.hash, entry);
        result = HASH_ADDED;
    } else if (!hash_entry_try_replace(change.slot, text, change.stamp_ms)) {
        return HASH_NO_MEMORY;
    }
    hash_change_end(body, &change);
    return result;
}

bool hash_body_try_set_expire(struct hash_body *body, struct slice field, int64_t expire_ms)
{
    struct pack_wanted wanted = pack_want(field);
    struct hash_change change = {.hash = hash_bytes(body->seed, field), .expire_ms = expire_ms};
    change.slot = table_find_slot(&body->table, change.hash, &wanted, hash_entry_is);
    ASSERT(change.slot != NULL);
    table_will_change(&body->table, change.hash);
    if (!hash_change_try_begin(body, &change)) {
        return false;
    }
    bool is_restamped = change.was_stamped || change.stamp_ms >= 0;
    if (is_restamped && !hash_entry_try_restamp(change.slot, change.stamp_ms)) {
        return false;
    }
    hash_change_end(body, &change);
    return true;
}

static bool slot_holds(const void *entry, const void *wanted)
{
    return entry == wanted;
}

void hash_body_remove_entry(struct hash_body *body, void *entry)
{
    uint64_t hash = hash_entry_hash(entry, &body->seed);
    bool was_volatile = hash_entry_is_volatile(entry);
    bool was_stamped = was_volatile && hash_entry_stamp(entry) >= 0;
    table_remove(&body->table, hash, entry, slot_holds);
    if (was_volatile) {
        hash_body_forget(body, hash, was_stamped);
    }
    hash_entry_free(entry);
}

bool hash_body_remove(struct hash_body *body, struct slice field)
{
    struct pack_wanted wanted = pack_want(field);
    void *entry = table_find(&body->table, hash_bytes(body->seed, field), &wanted, hash_entry_is);
    if (entry == NULL) {
        return false;
    }
    hash_body_remove_entry(body, entry);
    return true;
}
