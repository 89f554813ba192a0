/* Large sets: a table whose entries are the members themselves.
 *
 *     value payload -> struct set_hashed { table, kind, seed }
 *                            |
 *                            v
 *     slot:  window | address of a member   -->   | len u8 | bytes ... |
 *            window | word (a short text or an integer: no allocation at all)
 *
 *     a member of 255 bytes or more:              | 255 | len u32 | bytes ... |
 *
 * Costs. A table's slot takes about 11 bytes, and that is all for integers below 2^45 and for
 * texts of up to 5 bytes. Other members have an allocation with one byte of header: a member of 10
 * characters costs 27 bytes in all. Lookups are two dependent cache misses, one for members in
 * slots; set_hashed_keep takes those of KEEP_GROUP members together.
 *
 * All sets of a server share one hash function, so a member's hash would serve in all of them; it
 * is recomputed for each table nevertheless, because that costs 2 ns and keeping it 8 bytes.
 *
 * Invariants:
 *   1. A member that has a word is never allocated (so equal members have equal entries or equal
 *      bytes).
 *   2. kind.context points to the seed of the same struct, which therefore never moves.
 *
 * Rejected: members in a shared arena, which would save the allocator's rounding, 4 bytes on
 * average: removal would then need compaction. */
#include <string.h>

#include "base/assert.h"
#include "base/fiber.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/pieces.h"
#include "base/work.h"
#include "types/set/set_internal.h"

enum {
#ifdef OURO_HOSTILE
    DRAIN_ENTRIES = 3,
    FREE_AT_ONCE_MAX = 4,
    KEEP_GROUP = 3,
#else
    DRAIN_ENTRIES = 512,    /* 10 to 40 us. */
    FREE_AT_ONCE_MAX = 256, /* Members that are freed without a job. */
    KEEP_GROUP = 16,        /* Lookups under way at once: what a core's fill buffers bear. */
#endif
    LONG_MARK = 255,
    LONG_HEAD_LEN = 5,
    MEMORY_SAMPLES_ALL = 0,
};

/* ---- Entries ---- */

static bool entry_is_word(const void *entry)
{
    return ((uintptr_t)entry & 1) != 0;
}

static struct slice entry_text(const void *entry)
{
    const unsigned char *bytes = entry;
    if (bytes[0] != LONG_MARK) {
        return slice_of(bytes + 1, bytes[0]);
    }
    uint32_t len;
    memcpy(&len, bytes + 1, sizeof(len));
    return slice_of(bytes + LONG_HEAD_LEN, len);
}

static size_t entry_size(size_t text_len)
{
    return text_len + (text_len < LONG_MARK ? 1 : LONG_HEAD_LEN);
}

static void *entry_try_new(struct slice text)
{
    char *bytes = mem_try_alloc(entry_size(text.len));
    if (bytes == NULL) {
        return NULL;
    }
    uint32_t len = (uint32_t)text.len;
    bytes[0] = (char)(unsigned char)(len < LONG_MARK ? len : LONG_MARK);
    if (len >= LONG_MARK) {
        memcpy(bytes + 1, &len, sizeof(len));
    }
    pieces_copy(bytes + entry_size(len) - len, text.data, len);
    return bytes;
}

static void entry_free(void *entry)
{
    if (!entry_is_word(entry)) {
        mem_free_sized(entry, entry_size(entry_text(entry).len));
    }
}

static void *word_entry(uint64_t word)
{
    return (void *)(uintptr_t)word;
}

static uint64_t word_hash(uint64_t word, uint64_t seed)
{
    return hash_bytes(seed, slice_of(&word, sizeof(word)));
}

static uint64_t entry_hash(const void *entry, const void *context)
{
    uint64_t seed;
    memcpy(&seed, context, sizeof(seed));
    if (entry_is_word(entry)) {
        return word_hash((uint64_t)(uintptr_t)entry, seed);
    }
    return hash_bytes(seed, entry_text(entry));
}

struct set_item set_hashed_item(const void *entry)
{
    if (entry_is_word(entry)) {
        struct set_item item = {.word = (uint64_t)(uintptr_t)entry};
        item.is_integer = set_word_is_integer(item.word);
        item.number = item.is_integer ? set_word_number(item.word) : 0;
        return item;
    }
    struct slice text = entry_text(entry);
    struct set_item item = {.data = text.data, .len = text.len};
    item.is_integer = text.len <= NUM_I64_TEXT_MAX && num_parse_i64(text, &item.number);
    return item;
}

/* ---- Keys: what is looked for ---- */

struct set_key {
    uint64_t word; /* 0: the text counts. */
    uint64_t hash;
    struct slice text;
    struct set_scratch scratch;
};

static inline void key_init(struct set_key *key, const struct set_item *item, uint64_t seed)
{
    key->word = item->word;
    if (item->word != 0) {
        key->hash = word_hash(item->word, seed);
    } else {
        key->text = set_item_text(item, &key->scratch);
        key->hash = hash_bytes(seed, key->text);
    }
}

static bool entry_equals_word(const void *entry, const void *key)
{
    return entry == word_entry(((const struct set_key *)key)->word);
}

static bool entry_equals_text(const void *entry, const void *key)
{
    return !entry_is_word(entry) &&
           slice_equal(entry_text(entry), ((const struct set_key *)key)->text);
}

static inline uint64_t *find_slot(const struct set_hashed *set, const struct set_key *key)
{
    return key->word != 0 ? table_find_slot(&set->table, key->hash, key, entry_equals_word)
                          : table_find_slot(&set->table, key->hash, key, entry_equals_text);
}

/* ---- The set ---- */

struct set_hashed *set_hashed_try_new(uint64_t seed, size_t expected)
{
    struct set_hashed *set = mem_try_alloc(sizeof(*set));
    if (set == NULL) {
        return NULL;
    }
    set->seed = seed;
    set->kind = (struct table_kind){.hash_of = entry_hash, .context = &set->seed};
    table_init(&set->table, &set->kind);
    table_reserve(&set->table, expected); /* All at once takes 8 ms for a million. */
    return set;
}

enum set_result set_hashed_try_add(struct set_hashed *set, const struct set_item *item)
{
    struct set_key key;
    key_init(&key, item, set->seed);
    if (find_slot(set, &key) != NULL) {
        return SET_UNCHANGED;
    }
    void *entry = key.word != 0 ? word_entry(key.word) : entry_try_new(key.text);
    if (entry == NULL) {
        return SET_NO_MEMORY;
    }
    table_insert(&set->table, key.hash, entry);
    return SET_CHANGED;
}

bool set_hashed_remove(struct set_hashed *set, const struct set_item *item)
{
    struct set_key key;
    key_init(&key, item, set->seed);
    uint64_t *slot = find_slot(set, &key);
    if (slot == NULL) {
        return false;
    }
    void *entry = table_slot_entry(slot);
    table_remove_slot(&set->table, key.hash, slot);
    entry_free(entry);
    return true;
}

bool set_hashed_has(const struct set_hashed *set, const struct set_item *item)
{
    struct set_key key;
    key_init(&key, item, set->seed);
    return find_slot(set, &key) != NULL;
}

/* Looks up to KEEP_GROUP items up; moves those that are kept to `kept` and returns how many. */
static size_t keep_group(const struct set_hashed *set, struct set_item *kept,
                         const struct set_item *items, size_t count, bool is_in)
{
    struct set_key keys[KEEP_GROUP];
    size_t kept_count = 0;
    for (size_t i = 0; i < count; i++) {
        key_init(&keys[i], &items[i], set->seed);
        table_prefetch(&set->table, keys[i].hash);
    }
    for (size_t i = 0; i < count; i++) {
        if (keys[i].word == 0) {
            (void)table_prefetch_entry(&set->table, keys[i].hash);
        }
    }
    for (size_t i = 0; i < count; i++) {
        if ((find_slot(set, &keys[i]) != NULL) == is_in) {
            kept[kept_count++] = items[i];
        }
    }
    return kept_count;
}

size_t set_hashed_keep(const struct set_hashed *set, struct set_item *items, size_t count,
                       bool is_in)
{
    size_t kept = 0;
    for (size_t at = 0; at < count; at += KEEP_GROUP) {
        size_t group = count - at < KEEP_GROUP ? count - at : KEEP_GROUP;
        kept += keep_group(set, items + kept, items + at, group, is_in);
    }
    return kept;
}

/* ---- Whole sets ---- */

/* A set whose members are being freed. */
struct set_drain {
    struct work_job job;
    struct table_drain drain;
    struct set_hashed *set; /* What a guard of the table still asks for kind and seed. */
};

static void drain_on_entry(void *context, void *entry)
{
    (void)context;
    entry_free(entry);
}

static bool drain_on_step(struct work_job *job)
{
    struct set_drain *drain = LIST_OWNER(job, struct set_drain, job);
    if (!table_drain_step(&drain->drain, drain_on_entry, NULL, DRAIN_ENTRIES)) {
        return false;
    }
    mem_free_sized(drain->set, sizeof(*drain->set));
    mem_free_sized(drain, sizeof(*drain));
    return true;
}

void set_hashed_free(struct set_hashed *set, struct work_queue *work)
{
    size_t count = table_count(&set->table);
    struct set_drain *drain = mem_alloc(sizeof(*drain));
    list_init(&drain->job.link);
    drain->set = set;
    table_drain_begin(&drain->drain, &set->table);
    if (drain->drain.table.guard != NULL) {
        work_park(&drain->drain.table.guard->parked, &drain->job, drain_on_step);
        return;
    }
    if (count > FREE_AT_ONCE_MAX && work != NULL) {
        work_add(work, &drain->job, drain_on_step);
        return;
    }
    bool is_done;
    do {
        is_done = drain_on_step(&drain->job);
    } while (!is_done);
}

struct set_hashed *set_hashed_try_copy(const struct set_hashed *set)
{
    struct set_hashed *copy = set_hashed_try_new(set->seed, 0);
    struct table_iterator iterator;
    if (copy != NULL) {
        table_reserve_all(&copy->table, table_count(&set->table));
    }
    table_iterate(&set->table, &iterator);
    for (void *entry = copy == NULL ? NULL : table_next(&iterator); entry != NULL;
         entry = table_next(&iterator)) {
        void *own = entry_is_word(entry) ? entry : entry_try_new(entry_text(entry));
        if (own == NULL) {
            set_hashed_free(copy, NULL);
            return NULL;
        }
        table_insert(&copy->table, entry_hash(entry, &set->seed), own);
    }
    return copy;
}

size_t set_hashed_memory(const struct set_hashed *set, size_t samples)
{
    size_t count = table_count(&set->table);
    size_t bytes = mem_good_size(sizeof(*set)) + table_memory(&set->table);
    size_t seen = 0;
    size_t entries_bytes = 0;
    struct table_iterator iterator;
    table_iterate(&set->table, &iterator);
    while (samples == MEMORY_SAMPLES_ALL || seen < samples) {
        const void *entry = table_next(&iterator);
        if (entry == NULL) {
            break;
        }
        entries_bytes +=
            entry_is_word(entry) ? 0 : mem_good_size(entry_size(entry_text(entry).len));
        fiber_breathe_at(++seen);
    }
    return seen == 0 ? bytes
                     : bytes + (size_t)((double)entries_bytes / (double)seen * (double)count);
}

void set_hashed_check(const struct set_hashed *set)
{
    ASSERT(set->kind.context == &set->seed && set->table.kind == &set->kind);
    table_check(&set->table);
    struct table_iterator iterator;
    table_iterate(&set->table, &iterator);
    for (void *entry = table_next(&iterator); entry != NULL; entry = table_next(&iterator)) {
        if (entry_is_word(entry)) {
            continue;
        }
        struct set_item item = set_item_of(entry_text(entry));
        ASSERT(item.word == 0);
    }
}
