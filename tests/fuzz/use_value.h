/* What fuzzers do with a value that was made of hostile bytes: they use it as commands do, at its
 * ends and in its middle. The values' hash seed is 7. */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "types/codec/codec.h"
#include "types/string/string.h"

static inline void require(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

static inline void use_list(struct place *place, const struct type_limits *limits,
                            struct work_queue *work)
{
    require(list_len(place->value) > 0, "an empty list");
    size_t middle = list_len(place->value) / 2;
    require(list_try_insert(place, middle, slice_of("new", 3), NULL, limits), "no memory");
    require(list_try_set(place, middle, slice_of("set", 3), NULL, limits), "no memory");
    require(list_remove_equal(place, LIST_TAIL, slice_of("set", 3), 1) == 1,
            "what was set is lost");
    list_drop(place, LIST_HEAD, 1, work);
    require(list_try_push(place, LIST_HEAD, slice_of("1", 1), NULL, limits), "no memory");
}

static inline void use_set(struct place *place, const struct type_limits *limits)
{
    const struct set_rules rules = {.limits = limits, .hash_seed = 7};
    struct set_item item = set_item_of(slice_of("\xff new", 5));
    bool is_new = !set_has(place->value, &item);
    require(set_count(place->value) > 0, "an empty set");
    require((set_try_add(place, &item, &rules) == SET_CHANGED) == is_new,
            "set: add and has differ");
    require(set_remove(place, &item), "set: what was added is lost");
}

static inline void use_hash(struct place *place, const struct type_limits *limits)
{
    const struct hash_rules rules = {.limits = limits, .seed = 7};
    struct slice field = slice_of("\xff new", 5);
    struct hash_pair pair;
    bool is_new = !hash_find(place->value, field, &pair);
    require(hash_count(place->value) > 0, "an empty hash");
    require((hash_try_put(place, field, field, &rules) == HASH_ADDED) == is_new,
            "hash: put and find differ");
    require(hash_remove(place, field), "hash: what was put is lost");
}

static inline void use_zset(struct place *place, const struct type_limits *limits)
{
    const struct zset_rules rules = {.limits = limits, .hash_seed = 7};
    struct zset_put put = {.member = slice_of("\xff new", 5), .score = 1.5};
    double score;
    bool is_new = !zset_score(place->value, put.member, &score);
    require(zset_count(place->value) > 0, "an empty sorted set");
    enum zset_result result = zset_try_put(place, &put, &rules);
    require((result == ZSET_ADDED) == is_new, "zset: put and score differ");
    require(zset_remove(place, put.member), "zset: what was put is lost");
}

static inline void use_stream(struct value *value, const struct type_limits *limits)
{
    const struct slice texts[] = {slice_of("new", 3), slice_of("17", 2)};
    struct stream_id id = stream_meta(value)->last_id;
    struct stream_walk walk;
    struct stream_entry entry;
    uint64_t count = 0;
    stream_walk_begin(&walk, value, STREAM_ID_MIN, STREAM_ID_MAX, true);
    while (stream_walk_next(&walk, &entry)) {
        count++;
    }
    require(count == stream_meta(value)->count, "entries are not all found");
    if (!stream_id_try_next(&id)) {
        return;
    }
    const struct stream_add add = {.id = id, .texts = texts, .count = 2, .limits = limits};
    require(stream_try_add(value, &add) && stream_has(value, id), "what was added is lost");
    require(stream_delete(value, id) && !stream_has(value, id), "what was deleted is there");
    struct stream_group *group = order_at(stream_groups(value), 0);
    if (group != NULL && order_count(&group->pending) > 0) {
        stream_pending_remove(group, order_at(&group->pending, 0));
    }
}

static inline void use_value(struct place *place, const struct type_limits *limits,
                             struct work_queue *work)
{
    switch (value_kind(place->value)) {
    case VALUE_LIST:
        use_list(place, limits, work);
        break;
    case VALUE_SET:
        use_set(place, limits);
        break;
    case VALUE_HASH:
        use_hash(place, limits);
        break;
    case VALUE_ZSET:
        use_zset(place, limits);
        break;
    case VALUE_STREAM:
        use_stream(place->value, limits);
        break;
    case VALUE_STRING:
        require(string_try_append(place, slice_of("x", 1)), "no memory");
        break;
    default:
        break;
    }
    value_ops_of(place->value)->check(place->value);
}
