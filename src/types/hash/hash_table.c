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

static char *hash_entry_try_new(struct slice field, struct slice text)
{
    size_t field_len = pack_size(field);
    char *entry = mem_try_alloc(field_len + pack_size(text));
    if (entry != NULL) {
        pack_write(entry, field);
        pack_write(entry + field_len, text);
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
    bool is_large = table_count(&body->table) > HASH_FREE_ENTRIES;
    table_drain_begin(&body->drain, &body->table);
    list_init(&body->job.link);
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
    table_reserve(&copy->table, table_count(&body->table));
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
    return mem_good_size(sizeof(*body)) + table_memory(&body->table) + bytes;
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

void hash_body_check(const struct hash_body *body)
{
    ASSERT(body->kind.context == &body->seed);
    table_check(&body->table);
    struct table_iterator iterator;
    table_iterate(&body->table, &iterator);
    for (const char *entry = table_next(&iterator); entry != NULL; entry = table_next(&iterator)) {
        hash_entry_check(body, entry);
    }
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
static bool hash_entry_try_replace(uint64_t *slot, struct slice text)
{
    char *entry = table_slot_entry(slot);
    size_t text_at = hash_entry_text_at(entry);
    size_t old_size = hash_entry_size(entry);
    size_t new_size = text_at + pack_size(text);
    if (new_size == old_size || mem_good_size(new_size) == mem_good_size(old_size)) {
        pack_write(entry + text_at, text);
        return true;
    }
    char *moved = mem_try_alloc(new_size);
    if (moved == NULL) {
        return false;
    }
    memcpy(moved, entry, text_at);
    pack_write(moved + text_at, text);
    table_slot_set(slot, moved);
    mem_free_sized(entry, old_size);
    return true;
}

enum hash_put_result hash_body_try_put(struct hash_body *body, struct slice field,
                                       struct slice text)
{
    uint64_t hash = hash_bytes(body->seed, field);
    struct pack_wanted wanted = pack_want(field);
    uint64_t *slot = table_find_slot(&body->table, hash, &wanted, hash_entry_is);
    if (slot != NULL) {
        return hash_entry_try_replace(slot, text) ? HASH_REPLACED : HASH_NO_MEMORY;
    }
    char *entry = hash_entry_try_new(field, text);
    if (entry == NULL) {
        return HASH_NO_MEMORY;
    }
    table_insert(&body->table, hash, entry);
    return HASH_ADDED;
}

bool hash_body_remove(struct hash_body *body, struct slice field)
{
    struct pack_wanted wanted = pack_want(field);
    char *entry = table_remove(&body->table, hash_bytes(body->seed, field), &wanted, hash_entry_is);
    if (entry == NULL) {
        return false;
    }
    hash_entry_free(entry);
    return true;
}
