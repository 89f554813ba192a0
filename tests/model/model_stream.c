/* Random operations on a stream and on a naive twin, with the check after each step: an array of
 * IDs with what each entry holds, and for one group an array of who has which entry. Once with
 * nodes of a few entries, once with nodes of a few bytes, once with as large ones as there are. */
#include "base/mem.h"
#include "base/rng.h"
#include "base/work.h"
#include "tests/unit/test.h"
#include "types/codec/codec.h"
#include "types/stream/stream.h"

enum { ENTRIES = 400, STEPS = 4000, CONSUMERS = 3, TEXT_MAX = 200 };

struct twin_entry {
    struct stream_id id;
    uint64_t seed; /* Its fields and values follow from it. */
    int owner;     /* Of the group; -1: not pending. */
    bool is_there; /* Not deleted; what is pending stays known. */
};

struct model {
    struct value *value;
    struct type_limits limits;
    struct work_queue work;
    struct rng rng;
    struct twin_entry entries[ENTRIES];
    size_t count; /* Of entries known. */
    struct stream_id last_id, max_deleted_id;
    uint64_t added;
    struct stream_group *group;
};

static size_t below(struct model *model, size_t limit)
{
    return (size_t)rng_below(&model->rng, limit);
}

/* ---- What an entry holds ---- */

static const char *const names[] = {"f", "name", "12", ""};

static uint32_t pairs_of(uint64_t seed)
{
    return seed % 4 == 0 ? 1 + (uint32_t)(seed / 4 % 4) : 1;
}

static struct slice text_of(uint64_t seed, uint32_t index, char out[TEXT_MAX])
{
    if (index % 2 == 0) {
        return slice_from_text(names[seed % 4 == 0 ? (seed / 16 + index) % 4 : 0]);
    }
    uint64_t kind = (seed / 64 + index) % 8;
    if (kind < 4) {
        return slice_of(out, (size_t)sprintf(out, "%d", (int)(seed % 100000) - 50000));
    }
    size_t len = kind == 7 ? TEXT_MAX : (size_t)(seed % 60);
    memset(out, 'a' + (int)(seed % 26), len);
    return slice_of(out, len);
}

static void check_entry(struct stream_entry *entry, const struct twin_entry *twin)
{
    char text[TEXT_MAX];
    struct stream_scratch scratch;
    struct stream_item field, item;
    uint32_t index = 0;
    CHECK(stream_id_compare(entry->id, twin->id) == 0);
    CHECK(entry->pair_count == pairs_of(twin->seed));
    while (stream_entry_next(entry, &field, &item)) {
        CHECK(slice_equal(stream_item_text(&field, &scratch), text_of(twin->seed, index, text)));
        index++;
        CHECK(slice_equal(stream_item_text(&item, &scratch), text_of(twin->seed, index, text)));
        index++;
    }
    CHECK(index == pairs_of(twin->seed) * 2);
}

/* ---- Steps ---- */

/* Forgets what is neither there nor pending. */
static void twin_tidy(struct model *model)
{
    size_t kept = 0;
    for (size_t i = 0; i < model->count; i++) {
        if (model->entries[i].is_there || model->entries[i].owner >= 0) {
            model->entries[kept++] = model->entries[i];
        }
    }
    model->count = kept;
}

static void step_add(struct model *model)
{
    char texts[8][TEXT_MAX];
    struct slice slices[8];
    uint64_t seed = rng_next(&model->rng);
    struct stream_id id = model->last_id;
    if (model->count == ENTRIES) {
        return;
    }
    if (below(model, 3) > 0) {
        id.ms += 1 + below(model, 1000);
        id.seq = below(model, 2) == 0 ? 0 : below(model, 1U << 20);
    } else {
        id.seq += 1 + below(model, 5);
    }
    for (uint32_t i = 0; i < pairs_of(seed) * 2; i++) {
        slices[i] = text_of(seed, i, texts[i]);
    }
    struct stream_add add = {
        .id = id, .texts = slices, .count = pairs_of(seed) * 2, .limits = &model->limits};
    mem_fail_after(below(model, 20) == 0 ? 1 : 0);
    bool is_added = stream_try_add(model->value, &add);
    mem_fail_after(0);
    if (!is_added) {
        return;
    }
    model->entries[model->count++] =
        (struct twin_entry){.id = id, .seed = seed, .owner = -1, .is_there = true};
    model->last_id = id;
    model->added++;
}

static void step_delete(struct model *model)
{
    size_t index = below(model, ENTRIES);
    struct stream_id id = {below(model, 1000), 7};
    bool is_there = index < model->count && model->entries[index].is_there;
    if (index < model->count) {
        id = model->entries[index].id;
    }
    CHECK(stream_has(model->value, id) == is_there);
    CHECK(stream_delete(model->value, id) == is_there);
    if (is_there) {
        model->entries[index].is_there = false;
        if (stream_id_compare(id, model->max_deleted_id) > 0) {
            model->max_deleted_id = id;
        }
    }
}

static uint64_t twin_live(const struct model *model)
{
    uint64_t live = 0;
    for (size_t i = 0; i < model->count; i++) {
        live += model->entries[i].is_there;
    }
    return live;
}

/* Drops the oldest `count` of the twin. */
static void twin_trim(struct model *model, uint64_t count)
{
    for (size_t i = 0; i < model->count && count > 0; i++) {
        count -= model->entries[i].is_there;
        model->entries[i].is_there = false;
    }
    CHECK(count == 0);
}

static void step_trim(struct model *model)
{
    uint64_t live = twin_live(model);
    struct stream_trim trim = {.is_by_id = below(model, 2) == 0,
                               .is_approximate = below(model, 2) == 0,
                               .count_max = below(model, live + 2)};
    uint64_t wanted = live > trim.count_max ? live - trim.count_max : 0;
    if (trim.is_by_id && model->count > 0) {
        trim.min_id = model->entries[below(model, model->count)].id;
        trim.min_id.seq += below(model, 2);
    }
    if (trim.is_by_id) {
        wanted = 0;
        for (size_t i = 0; i < model->count; i++) {
            wanted += model->entries[i].is_there &&
                      stream_id_compare(model->entries[i].id, trim.min_id) < 0;
        }
    }
    trim.limit = trim.is_approximate ? below(model, 2) * below(model, 50) : 0;
    uint64_t removed = stream_trim(model->value, &trim, &model->work);
    CHECK(trim.is_approximate ? removed <= wanted : removed == wanted);
    CHECK(trim.limit == 0 || removed <= trim.limit);
    twin_trim(model, removed);
}

static struct stream_consumer *consumer_of(struct model *model, int index)
{
    const struct slice name = slice_of(&"abc"[index], 1);
    struct stream_consumer *consumer = stream_consumer_find(model->group, name);
    return consumer != NULL ? consumer : stream_consumer_try_add(model->group, name, 5);
}

/* Gives, takes back or hands over one entry of the group. */
static void step_pending(struct model *model)
{
    if (model->count == 0) {
        return;
    }
    struct twin_entry *twin = &model->entries[below(model, model->count)];
    int owner = (int)below(model, CONSUMERS);
    struct stream_pending *pending = stream_pending_find(&model->group->pending, twin->id);
    CHECK((pending != NULL) == (twin->owner >= 0));
    if (pending == NULL) {
        CHECK(stream_pending_try_add(model->group, consumer_of(model, owner), twin->id) != NULL);
    } else if (below(model, 2) == 0) {
        stream_pending_remove(model->group, pending);
        owner = -1;
    } else if (owner != twin->owner) {
        stream_pending_assign(model->group, pending, consumer_of(model, owner));
    }
    twin->owner = owner;
}

static void step_consumer(struct model *model)
{
    int owner = (int)below(model, CONSUMERS);
    size_t wanted = 0;
    for (size_t i = 0; i < model->count; i++) {
        wanted += model->entries[i].owner == owner;
        model->entries[i].owner = model->entries[i].owner == owner ? -1 : model->entries[i].owner;
    }
    CHECK(stream_consumer_remove(model->group, consumer_of(model, owner)) == wanted);
}

/* ---- Comparison ---- */

static void compare_walk(struct model *model, const struct value *value, bool is_backward)
{
    struct stream_id first = STREAM_ID_MIN;
    struct stream_id last = STREAM_ID_MAX;
    struct stream_walk walk;
    struct stream_entry entry;
    if (model->count > 0 && below(model, 2) == 0) {
        first = model->entries[below(model, model->count)].id;
        last = model->entries[below(model, model->count)].id;
    }
    stream_walk_begin(&walk, value, first, last, is_backward);
    for (size_t i = 0; i < model->count; i++) {
        const struct twin_entry *twin = &model->entries[is_backward ? model->count - 1 - i : i];
        if (twin->is_there && stream_id_compare(twin->id, first) >= 0 &&
            stream_id_compare(twin->id, last) <= 0) {
            CHECK(stream_walk_next(&walk, &entry));
            check_entry(&entry, twin);
        }
    }
    CHECK(!stream_walk_next(&walk, &entry));
}

static void compare_group(const struct model *model, const struct value *value)
{
    struct order_cursor cursor;
    const struct stream_group *group = stream_group_find(value, slice_of("g", 1));
    const struct stream_pending *pending = order_seek(&group->pending, 0, &cursor);
    for (size_t i = 0; i < model->count; i++) {
        if (model->entries[i].owner >= 0) {
            CHECK(stream_id_compare(pending->id, model->entries[i].id) == 0);
            CHECK(pending->consumer->name[0] == "abc"[model->entries[i].owner]);
            pending = order_next(&cursor);
        }
    }
    CHECK(pending == NULL);
}

static void compare(struct model *model, const struct value *value)
{
    const struct stream_meta *meta = stream_meta(value);
    stream_ops.check(value);
    CHECK(meta->count == twin_live(model) && meta->entries_added == model->added);
    CHECK(stream_id_compare(meta->last_id, model->last_id) == 0);
    CHECK(stream_id_compare(meta->max_deleted_id, model->max_deleted_id) == 0);
    compare_walk(model, value, false);
    compare_walk(model, value, true);
    compare_group(model, value);
}

/* A copy, and what comes back from a dump, are the same; without memory there is none. */
static void step_copy(struct model *model)
{
    mem_fail_after((unsigned)below(model, 40));
    struct value *copy = stream_ops.copy(model->value, slice_of("other", 5), false);
    mem_fail_after(0);
    if (copy != NULL) {
        compare(model, copy);
        CHECK(stream_ops.effort(copy) >= 1 && stream_ops.memory(copy, below(model, 3)) > 0);
        value_free(copy, &model->work);
    }
    const struct codec_rules rules = {.limits = &model->limits, .hash_seed = 1};
    struct value *read = NULL;
    struct blob *dump = codec_dump(model->value);
    CHECK(codec_restore(blob_slice(dump), slice_of("k", 1), &rules, &read) == CODEC_OK);
    compare(model, read);
    value_free(read, &model->work);
    blob_drop(dump);
}

static void run_model(size_t node_entries, size_t node_bytes)
{
    static struct model model;
    memset(&model, 0, sizeof(model));
    rng_seed(&model.rng, test_seed() + node_entries);
    work_queue_init(&model.work);
    model.limits = type_limits_default();
    model.limits.stream_node_entries = node_entries;
    model.limits.stream_node_bytes = node_bytes;
    model.value = stream_try_new(slice_of("key", 3), false);
    model.group = stream_group_try_add(model.value, slice_of("g", 1), STREAM_ID_MIN, 0);
    for (unsigned i = 0; i < STEPS; i++) {
        size_t kind = below(&model, 100);
        if (kind < (i / 500 % 2 == 0 ? 70U : 35U)) {
            step_add(&model);
        } else if (kind < 80) {
            step_delete(&model);
        } else if (kind < 82) {
            step_trim(&model);
        } else if (kind < 97) {
            step_pending(&model);
        } else if (kind < 98) {
            step_consumer(&model);
        } else {
            step_copy(&model);
        }
        twin_tidy(&model);
        compare(&model, model.value);
    }
    value_free(model.value, &model.work);
    work_drain(&model.work);
}

TEST(stream, agrees_with_its_twin_in_nodes_of_few_entries)
{
    run_model(3, 0);
    run_model(10, 4096);
}

TEST(stream, agrees_with_its_twin_in_nodes_of_few_bytes)
{
    run_model(0, 100);
}

TEST(stream, agrees_with_its_twin_in_huge_nodes)
{
    run_model(0, 0);
}
