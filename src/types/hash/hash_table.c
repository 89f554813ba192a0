/* The table encoding of a hash: a table (ds/table.h) of entries, each one allocation that holds a
 * field and its value as two items of a pack:
 *
 *     slot -> | 12 field:123456 | 16 some-16-byte-val |      1 + 12 + 1 + 16 = 30 bytes, class 32
 *                field             value
 *
 * Costs. Two bytes per short field and value, the rounding of the allocator, and the table's 11 to
 * 12.4 bytes: "field:N" with a value of 16 bytes takes 44 bytes. Integers are stored in one to nine
 * bytes. A lookup is two cache misses. A value that is replaced by one of the same size class is
 * written in place; otherwise the entry moves and its slot is mended.
 *
 * Freeing. A table of more than HASH_FREE_ENTRIES becomes a job that frees so many in a slice; its
 * body holds the job, so that freeing needs no memory.
 *
 * Invariants (hash_body_check):
 *   1. The size class of an entry is that of its two items: frees are sized.
 *   2. Each entry is found by its field, and the table's own invariants hold.
 *
 * Rejected. A separate allocation for the value: 16 bytes more, a cache miss more. Chains inside
 * the entry: the table needs none. Lengths as fixed numbers: they would push a typical entry of 30
 * bytes into the class of 48. */
#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "types/hash/hash_internal.h"

/* ---- Entries ---- */

/* An entry as a pack; it ends after its second item, wherever that is. */
static struct slice hash_entry_pack(const char *entry)
{
    return slice_of(entry, SIZE_MAX / 2);
}

void hash_entry_pair(const char *entry, struct hash_pair *pair)
{
    hash_pack_next(hash_entry_pack(entry), 0, pair);
}

size_t hash_entry_size(const char *entry)
{
    return pack_skip(hash_entry_pack(entry), 0, HASH_STRIDE);
}

static size_t hash_entry_text_at(const char *entry)
{
    return pack_skip(hash_entry_pack(entry), 0, 1);
}

static bool hash_entry_is(const void *entry, const void *key)
{
    return pack_matches(entry, key);
}

static uint64_t hash_entry_hash(const void *entry, const void *context)
{
    const uint64_t *seed = context;
    char digits[PACK_DIGITS];
    struct pack_item field;
    pack_next(hash_entry_pack(entry), 0, &field);
    return hash_bytes(*seed, pack_text(&field, digits));
}

static int64_t hash_entry_expire_ms(const char *entry)
{
    return pack_stamp(hash_entry_pack(entry), hash_entry_text_at(entry));
}

static char *hash_entry_try_new(struct slice field, struct slice text, int64_t expire_ms)
{
    size_t field_len = pack_size(field);
    char *entry = mem_try_alloc(field_len + hash_text_size(text, expire_ms));
    if (entry != NULL) {
        pack_write(entry, field);
        hash_write_text(entry + field_len, text, expire_ms);
    }
    return entry;
}

static void hash_entry_free(char *entry)
{
    mem_free_sized(entry, hash_entry_size(entry));
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
    if (!table_drain_step(&body->drain, hash_on_free_entry, NULL, HASH_FREE_ENTRIES)) {
        return false;
    }
    mem_free_sized(body, sizeof(*body));
    return true;
}

void hash_body_free(struct hash_body *body, struct work_queue *work)
{
    hash_timeline_deinit(&body->timeline);
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
    for (const char *entry = table_next(&iterator); entry != NULL; entry = table_next(&iterator)) {
        size_t size = hash_entry_size(entry);
        char *twin = mem_try_alloc(size);
        if (twin == NULL) {
            hash_body_free(copy, NULL);
            return NULL;
        }
        memcpy(twin, entry, size);
        table_insert(&copy->table, hash_entry_hash(twin, &copy->seed), twin);
    }
    copy->volatile_count = body->volatile_count;
    copy->timeline = body->timeline;
    if (body->timeline.items != NULL) {
        size_t size = body->timeline.cap * sizeof(uint64_t);
        copy->timeline.items = memcpy(mem_alloc(size), body->timeline.items, size);
    }
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
    for (const char *entry = table_next(&iterator);
         entry != NULL && (samples == 0 || seen < samples); entry = table_next(&iterator)) {
        bytes += mem_good_size(hash_entry_size(entry));
        seen++;
    }
    if (seen > 0 && seen < count) {
        bytes = (size_t)((double)bytes / (double)seen * (double)count);
    }
    return mem_good_size(sizeof(*body)) + table_memory(&body->table) + bytes +
           body->timeline.cap * sizeof(uint64_t);
}

static void hash_entry_check(const struct hash_body *body, const char *entry)
{
    size_t items;
    size_t size = hash_entry_size(entry);
    ASSERT(pack_check_bytes(slice_of(entry, size), &items) && items == HASH_STRIDE);
    ASSERT(mem_usable(entry) == mem_good_size(size));
    char digits[PACK_DIGITS];
    struct hash_pair pair;
    hash_entry_pair(entry, &pair);
    struct pack_wanted wanted = pack_want(pack_text(&pair.field, digits));
    uint64_t hash = hash_entry_hash(entry, &body->seed);
    ASSERT(table_find(&body->table, hash, &wanted, hash_entry_is) == entry);
}

/* Whether the entry's moment is in the timeline. O(n). */
static bool hash_body_has_filed(const struct hash_body *body, const char *entry, int64_t expire_ms)
{
    uint64_t item = hash_timeline_item(
        &body->timeline, (uint32_t)(hash_entry_hash(entry, &body->seed) >> 32), expire_ms);
    for (uint32_t i = 0; i < body->timeline.len; i++) {
        if (body->timeline.items[i] == item) {
            return true;
        }
    }
    return false;
}

void hash_body_check(const struct hash_body *body)
{
    ASSERT(body->kind.context == &body->seed);
    table_check(&body->table);
    hash_timeline_check(&body->timeline);
    size_t volatile_count = 0;
    struct table_iterator iterator;
    table_iterate(&body->table, &iterator);
    for (const char *entry = table_next(&iterator); entry != NULL; entry = table_next(&iterator)) {
        hash_entry_check(body, entry);
        int64_t expire_ms = hash_entry_expire_ms(entry);
        volatile_count += expire_ms >= 0;
        ASSERT(expire_ms < 0 || hash_body_has_filed(body, entry, expire_ms));
    }
    ASSERT(volatile_count == body->volatile_count);
}

/* ---- Fields ---- */

bool hash_body_find(const struct hash_body *body, struct slice field, struct hash_pair *pair)
{
    struct pack_wanted wanted = pack_want(field);
    const char *entry =
        table_find(&body->table, hash_bytes(body->seed, field), &wanted, hash_entry_is);
    if (entry == NULL) {
        return false;
    }
    hash_entry_pair(entry, pair);
    return true;
}

/* Gives the entry another value, in place when its size class allows. */
static bool hash_entry_try_replace(uint64_t *slot, struct slice text, int64_t expire_ms)
{
    char *entry = table_slot_entry(slot);
    size_t text_at = hash_entry_text_at(entry);
    size_t old_size = hash_entry_size(entry);
    size_t new_size = text_at + hash_text_size(text, expire_ms);
    if (new_size == old_size || mem_good_size(new_size) == mem_good_size(old_size)) {
        hash_write_text(entry + text_at, text, expire_ms);
        return true;
    }
    char *moved = mem_try_alloc(new_size);
    if (moved == NULL) {
        return false;
    }
    memcpy(moved, entry, text_at);
    hash_write_text(moved + text_at, text, expire_ms);
    table_slot_set(slot, moved);
    mem_free_sized(entry, old_size);
    return true;
}

/* ---- Moments ---- */

struct hash_due {
    const struct hash_body *body;
    uint32_t ref;
    uint64_t item;
    char *found;
};

static void hash_due_on_entry(void *context, void *entry)
{
    struct hash_due *due = context;
    int64_t expire_ms = hash_entry_expire_ms(entry);
    if (expire_ms < 0 || due->found != NULL ||
        (uint32_t)(hash_entry_hash(entry, &due->body->seed) >> 32) != due->ref) {
        return;
    }
    bool is_it = hash_timeline_item(&due->body->timeline, due->ref, expire_ms) == due->item;
    due->found = is_it ? entry : NULL;
}

/* The entry that an item of the timeline means; NULL: it is stale. */
static char *hash_entry_of_item(const struct hash_body *body, uint64_t item)
{
    struct hash_due due = {.body = body, .ref = (uint32_t)item, .item = item};
    table_find_prefix(&body->table, due.ref, hash_due_on_entry, &due);
    return due.found;
}

/* Drops some stale items when they are more than half. */
static void hash_body_sweep(struct hash_body *body)
{
    struct hash_timeline *timeline = &body->timeline;
    for (unsigned i = 0; i < 4 && timeline->len > body->volatile_count * 2 + 16; i++) {
        timeline->sweep = timeline->sweep == 0 ? timeline->len - 1 : timeline->sweep - 1;
        timeline->sweep = timeline->sweep < timeline->len ? timeline->sweep : timeline->len - 1;
        if (hash_entry_of_item(body, timeline->items[timeline->sweep]) == NULL) {
            hash_timeline_drop(timeline, timeline->sweep);
        }
    }
}

static void hash_body_file(struct hash_body *body, uint64_t hash, int64_t expire_ms, int64_t now_ms)
{
    struct hash_timeline *timeline = &body->timeline;
    if (timeline->len == 0) {
        timeline->base_ms = now_ms;
    }
    hash_timeline_push(timeline, hash_timeline_item(timeline, (uint32_t)(hash >> 32), expire_ms));
    hash_body_sweep(body);
}

/* All moments anew, counted from now. O(n), once in 49 days. */
static void hash_body_rebase(struct hash_body *body, int64_t now_ms)
{
    hash_timeline_deinit(&body->timeline);
    body->timeline.base_ms = now_ms;
    struct table_iterator iterator;
    table_iterate(&body->table, &iterator);
    for (const char *entry = table_next(&iterator); entry != NULL; entry = table_next(&iterator)) {
        int64_t expire_ms = hash_entry_expire_ms(entry);
        if (expire_ms >= 0) {
            hash_body_file(body, hash_entry_hash(entry, &body->seed), expire_ms, now_ms);
        }
    }
}

static void hash_body_remove_entry(struct hash_body *body, char *entry)
{
    uint64_t hash = hash_entry_hash(entry, &body->seed);
    char digits[PACK_DIGITS];
    struct hash_pair pair;
    hash_entry_pair(entry, &pair);
    struct pack_wanted wanted = pack_want(pack_text(&pair.field, digits));
    body->volatile_count -= pair.expire_ms >= 0;
    table_remove(&body->table, hash, &wanted, hash_entry_is);
    hash_entry_free(entry);
}

bool hash_body_expire(struct hash_body *body, int64_t now_ms, size_t max, hash_expire_fn on_field,
                      void *context)
{
    struct hash_timeline *timeline = &body->timeline;
    while (timeline->len > 0 && hash_timeline_next_ms(timeline) < now_ms) {
        uint64_t item = timeline->items[0];
        char *entry = hash_entry_of_item(body, item);
        if (entry != NULL && hash_entry_expire_ms(entry) >= now_ms) {
            hash_body_rebase(body, now_ms); /* Held as the last moment that there was. */
            continue;
        }
        if (max-- == 0) {
            return false;
        }
        hash_timeline_drop(timeline, 0);
        if (entry != NULL) {
            char digits[PACK_DIGITS];
            struct hash_pair pair;
            hash_entry_pair(entry, &pair);
            on_field(context, pack_text(&pair.field, digits));
            hash_body_remove_entry(body, entry);
        }
    }
    return true;
}

/* ---- Changes ---- */

enum hash_put_result hash_body_try_put(struct hash_body *body, struct slice field,
                                       struct slice text, int64_t expire_ms, int64_t now_ms)
{
    uint64_t hash = hash_bytes(body->seed, field);
    struct pack_wanted wanted = pack_want(field);
    uint64_t *slot = table_find_slot(&body->table, hash, &wanted, hash_entry_is);
    table_will_change(&body->table, hash);
    int64_t old_ms = slot == NULL ? HASH_NO_EXPIRE : hash_entry_expire_ms(table_slot_entry(slot));
    enum hash_put_result result = HASH_REPLACED;
    if (slot == NULL) {
        char *entry = hash_entry_try_new(field, text, expire_ms);
        if (entry == NULL) {
            return HASH_NO_MEMORY;
        }
        table_insert(&body->table, hash, entry);
        result = HASH_ADDED;
    } else if (!hash_entry_try_replace(slot, text, expire_ms)) {
        return HASH_NO_MEMORY;
    }
    body->volatile_count += expire_ms >= 0;
    body->volatile_count -= old_ms >= 0;
    if (expire_ms >= 0 && expire_ms != old_ms) {
        hash_body_file(body, hash, expire_ms, now_ms);
    }
    return result;
}

bool hash_body_remove(struct hash_body *body, struct slice field)
{
    struct pack_wanted wanted = pack_want(field);
    char *entry = table_find(&body->table, hash_bytes(body->seed, field), &wanted, hash_entry_is);
    if (entry == NULL) {
        return false;
    }
    hash_body_remove_entry(body, entry);
    return true;
}
