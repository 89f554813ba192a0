/* What a keyspace holds, to be compared with what a snapshot of it holds: a digest per key that
 * does not depend on the order of elements, so that it costs little and shares no code with what it
 * checks. */
#pragma once

#include "base/mem.h"
#include "keyspace/keyspace.h"
#include "persist/load.h"
#include "tests/unit/test.h"
#include "types/hash/hash.h"
#include "types/list/list.h"
#include "types/set/set.h"
#include "types/stream/stream.h"
#include "types/string/string.h"
#include "types/zset/zset.h"

enum { STATE_DB_COUNT = 4 };

struct remembered {
    unsigned db_index;
    uint64_t key, content; /* Hashes. */
    int64_t expire_ms;
    char name[24]; /* Its beginning, for people. */
};

struct state {
    struct remembered *keys;
    size_t count, cap;
};

static inline uint64_t mix(uint64_t seed, struct slice text)
{
    return hash_bytes(seed * 2 + 1, text);
}

static inline uint64_t digest_list(const struct value *value)
{
    struct list_iterator iterator;
    struct list_item item;
    struct list_scratch scratch;
    uint64_t sum = 1;
    list_iterate(value, 0, false, &iterator);
    while (list_next(&iterator, &item)) {
        sum = mix(sum, list_item_text(&item, &scratch));
    }
    return sum;
}

static inline uint64_t digest_set(const struct value *value)
{
    struct set_walk walk;
    struct set_item item;
    struct set_scratch scratch;
    uint64_t sum = 2;
    set_walk_begin(&walk, value);
    while (set_walk_next(&walk, &item)) {
        sum += mix(3, set_item_text(&item, &scratch));
    }
    return sum;
}

static inline uint64_t digest_zset(const struct value *value)
{
    struct zset_walk walk;
    struct zset_item item;
    uint64_t sum = 4;
    if (zset_count(value) == 0) {
        return sum;
    }
    zset_walk_begin(&walk, value, 0, false);
    while (zset_walk_next(&walk, &item)) {
        double score = item.score + 0.0;
        sum += mix(mix(5, item.member), slice_of(&score, sizeof(score)));
    }
    return sum;
}

static inline uint64_t digest_hash(const struct value *value)
{
    struct hash_walk walk = hash_walk(value);
    struct hash_pair pair;
    char digits[PACK_DIGITS];
    uint64_t sum = 6;
    while (hash_walk_next(&walk, &pair)) {
        uint64_t field = mix(7, pack_text(&pair.field, digits));
        uint64_t text = mix(field, pack_text(&pair.text, digits));
        sum += mix(text, slice_of(&pair.expire_ms, sizeof(pair.expire_ms)));
    }
    return sum;
}

static inline uint64_t mix_id(uint64_t seed, struct stream_id id)
{
    return mix(seed, slice_of(&id, sizeof(id)));
}

/* When a consumer was last active is not in the file. */
static inline uint64_t digest_group(const struct stream_group *group)
{
    struct order_cursor consumers, cursor;
    uint64_t sum =
        mix_id(mix(10, stream_group_name(group)), group->last_id) + (uint64_t)group->entries_read;
    const struct stream_consumer *consumer = order_seek(&group->consumers, 0, &consumers);
    for (; consumer != NULL; consumer = order_next(&consumers)) {
        uint64_t name = mix(11, stream_consumer_name(consumer));
        sum += mix(name, slice_of(&consumer->seen_ms, sizeof(consumer->seen_ms)));
        const struct stream_pending *pending = order_seek(&consumer->pending, 0, &cursor);
        for (; pending != NULL; pending = order_next(&cursor)) {
            const uint64_t figures[] = {(uint64_t)pending->delivered_ms, pending->delivery_count};
            CHECK(stream_pending_find(&group->pending, pending->id) == pending);
            sum += mix(mix_id(name, pending->id), slice_of(figures, sizeof(figures)));
        }
    }
    return sum;
}

static inline uint64_t digest_stream(const struct value *value)
{
    const struct stream_meta *meta = stream_meta(value);
    struct stream_walk walk;
    struct stream_entry entry;
    struct stream_item field, text;
    struct stream_scratch scratch;
    struct order_cursor cursor;
    uint64_t sum = mix(12, slice_of(meta, sizeof(*meta)));
    stream_walk_begin(&walk, value, STREAM_ID_MIN, STREAM_ID_MAX, false);
    while (stream_walk_next(&walk, &entry)) {
        sum = mix_id(sum, entry.id);
        while (stream_entry_next(&entry, &field, &text)) {
            sum = mix(sum, stream_item_text(&field, &scratch));
            sum = mix(sum, stream_item_text(&text, &scratch));
        }
    }
    const struct stream_group *group = order_seek(stream_groups(value), 0, &cursor);
    for (; group != NULL; group = order_next(&cursor)) {
        sum += digest_group(group);
    }
    return sum;
}

static inline uint64_t digest_value(const struct value *value)
{
    struct string_scratch scratch;
    switch (value_kind(value)) {
    case VALUE_LIST:
        return digest_list(value);
    case VALUE_SET:
        return digest_set(value);
    case VALUE_ZSET:
        return digest_zset(value);
    case VALUE_HASH:
        return digest_hash(value);
    case VALUE_STREAM:
        return digest_stream(value);
    default:
        CHECK(value_kind(value) == VALUE_STRING);
        return mix(8, string_get(value, &scratch));
    }
}

static inline void state_on_value(void *context, void *entry)
{
    struct state *state = context;
    const struct value *value = entry;
    if (state->count == state->cap) {
        state->cap = state->cap * 2 + 64;
        state->keys = mem_realloc(state->keys, state->cap * sizeof(*state->keys));
    }
    struct slice key = value_key(value);
    struct remembered *remembered = &state->keys[state->count++];
    *remembered = (struct remembered){
        .key = mix(9, key), .content = digest_value(value), .expire_ms = value_expire_ms(value)};
    snprintf(remembered->name, sizeof(remembered->name), "%.*s", (int)key.len, key.data);
}

static inline int compare_keys(const void *a, const void *b)
{
    const struct remembered *one = a;
    const struct remembered *other = b;
    if (one->db_index != other->db_index) {
        return one->db_index < other->db_index ? -1 : 1;
    }
    return one->key < other->key ? -1 : one->key > other->key;
}

/* Everything that is stored, what has expired included. */
static inline struct state state_of(struct keyspace *keyspace)
{
    struct state state = {.count = 0};
    for (unsigned i = 0; i < STATE_DB_COUNT; i++) {
        size_t first = state.count;
        struct table_walk walk = {.visit = state_on_value,
                                  .context = &state,
                                  .entries_max = SIZE_MAX,
                                  .buckets_max = SIZE_MAX};
        table_scan(db_table(keyspace_db(keyspace, i)), 0, &walk);
        for (size_t at = first; at < state.count; at++) {
            state.keys[at].db_index = i;
        }
    }
    if (state.count > 0) {
        qsort(state.keys, state.count, sizeof(*state.keys), compare_keys);
    }
    return state;
}

/* Names the first difference on standard error. */
static inline bool state_is_same(const struct state *one, const struct state *other)
{
    size_t count = one->count < other->count ? one->count : other->count;
    for (size_t i = 0; i < count; i++) {
        const struct remembered *a = &one->keys[i];
        const struct remembered *b = &other->keys[i];
        bool is_same_key = compare_keys(a, b) == 0;
        if (!is_same_key || a->content != b->content || a->expire_ms != b->expire_ms) {
            fprintf(stderr, "%s: db %u %s, %lld ms; db %u %s, %lld ms\n",
                    is_same_key ? "one key differs" : "the keys differ", a->db_index, a->name,
                    (long long)a->expire_ms, b->db_index, b->name, (long long)b->expire_ms);
            return false;
        }
    }
    if (one->count != other->count) {
        fprintf(stderr, "%zu keys and %zu\n", one->count, other->count);
    }
    return one->count == other->count;
}

/* The state that an RDB file holds; fails the test when the file is not whole. */
static inline struct state state_load(struct slice file)
{
    struct rng rng;
    struct work_queue work;
    rng_seed(&rng, 5);
    work_queue_init(&work);
    struct keyspace *keyspace = keyspace_new(&(struct keyspace_options){
        .db_count = STATE_DB_COUNT, .hash_seed = 99, .rng = &rng, .work = &work});
    struct type_limits limits = type_limits_default();
    struct loader loader;
    loader_init(&loader, &(struct load_options){.keyspace = keyspace,
                                                .limits = &limits,
                                                .work = &work,
                                                .now_ms = 1,
                                                .len = file.len,
                                                .checks_sum = true,
                                                .keeps_expired = true});
    loader_feed(&loader, file);
    enum load_state result;
    do {
        result = loader_step(&loader);
    } while (result == LOAD_GOES_ON);
    if (result != LOAD_DONE) {
        fprintf(stderr, "not loaded: %s at %llu of %zu\n", loader.error,
                (unsigned long long)loader.error_offset, file.len);
    }
    CHECK(result == LOAD_DONE);
    loader_deinit(&loader);
    struct state state = state_of(keyspace);
    keyspace_free(keyspace);
    work_drain(&work);
    return state;
}
