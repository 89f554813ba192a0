/* Lists against a naive twin: random operations at the ends and in the middle, under every limit of
 * a chunk's size, with memory that runs out, and every invariant checked after each step. */
#include "base/mem.h"
#include "base/rng.h"
#include "base/work.h"
#include "tests/unit/test.h"
#include "types/list/list.h"

enum { TWIN_MAX = 3000, TEXT_MAX = 5000, MODEL_STEPS = 6000 };

struct twin {
    struct slice texts[TWIN_MAX]; /* Owned. */
    size_t count;
};

struct model {
    struct rng rng;
    struct work_queue work;
    struct type_limits limits;
    struct place place;
    struct twin twin;
    unsigned long_percent; /* Of the texts. */
    char text[TEXT_MAX];
};

static size_t below(struct model *model, size_t bound)
{
    return (size_t)rng_below(&model->rng, bound);
}

static struct slice random_text(struct model *model)
{
    size_t kind = below(model, 100);
    if (kind < 30) {
        int64_t number = (int64_t)rng_next(&model->rng) >> below(model, 64);
        return slice_of(model->text, num_format_i64(model->text, number));
    }
    if (kind < 60) {
        return slice_of(model->text, (size_t)snprintf(model->text, 10, "w%zu", below(model, 5)));
    }
    size_t len = below(model, kind < 100 - model->long_percent ? 60 : TEXT_MAX);
    memset(model->text, (int)('a' + below(model, 26)), len);
    return slice_of(model->text, len);
}

static void twin_insert(struct twin *twin, size_t index, struct slice text)
{
    char *copy = mem_alloc(text.len + 1);
    if (text.len > 0) {
        memcpy(copy, text.data, text.len);
    }
    memmove(twin->texts + index + 1, twin->texts + index,
            (twin->count - index) * sizeof(*twin->texts));
    twin->texts[index] = slice_of(copy, text.len);
    twin->count++;
}

static void twin_remove(struct twin *twin, size_t index, size_t count)
{
    for (size_t i = index; i < index + count; i++) {
        mem_free((void *)(uintptr_t)twin->texts[i].data);
    }
    memmove(twin->texts + index, twin->texts + index + count,
            (twin->count - index - count) * sizeof(*twin->texts));
    twin->count -= count;
}

static bool item_is(const struct list_item *item, struct slice text)
{
    struct list_scratch scratch;
    return slice_equal(list_item_text(item, &scratch), text);
}

static void compare(struct model *model, const struct value *value)
{
    struct twin *twin = &model->twin;
    struct list_iterator iterator;
    struct list_item item;
    value_ops_of(value)->check(value);
    CHECK(list_len(value) == twin->count);
    if (twin->count == 0) {
        return;
    }
    size_t from = below(model, twin->count);
    list_iterate(value, from, false, &iterator);
    for (size_t i = from; i < twin->count; i++) {
        CHECK(list_next(&iterator, &item) && item_is(&item, twin->texts[i]));
    }
    CHECK(!list_next(&iterator, &item));
    list_iterate(value, from, true, &iterator);
    for (size_t i = from + 1; i > 0; i--) {
        CHECK(list_next(&iterator, &item) && item_is(&item, twin->texts[i - 1]));
    }
    CHECK(!list_next(&iterator, &item));
    size_t index = below(model, twin->count);
    item = list_get(value, index);
    CHECK(item_is(&item, twin->texts[index]));
}

/* A blob of a long text, as an argument may be one; the list shares it on success. */
static struct blob *random_blob(struct model *model, struct slice text)
{
    if (text.len <= LIST_INLINE_MAX || below(model, 2) == 0) {
        return NULL;
    }
    struct blob *blob = blob_try_new(text.len);
    if (blob != NULL) {
        memcpy(blob->bytes, text.data, text.len);
        blob->len = text.len;
    }
    return blob;
}

static void step_insert(struct model *model)
{
    struct twin *twin = &model->twin;
    struct slice text = random_text(model);
    struct blob *blob = random_blob(model, text);
    size_t kind = below(model, 5);
    size_t index = kind < 2 ? 0 : kind < 4 ? twin->count : below(model, twin->count + 1);
    bool is_done = false;
    if (twin->count == TWIN_MAX) {
        if (blob != NULL) {
            blob_drop(blob);
        }
        return;
    }
    mem_fail_after(below(model, 5) == 0 ? 1 + (unsigned)below(model, 3) : 0);
    if (kind < 4) {
        is_done = list_try_push(&model->place, kind < 2 ? LIST_HEAD : LIST_TAIL, text, blob,
                                &model->limits);
    } else {
        is_done = list_try_insert(&model->place, index, text, blob, &model->limits);
    }
    mem_fail_after(0);
    if (is_done) {
        twin_insert(twin, index, text);
    } else if (blob != NULL) {
        blob_drop(blob);
    }
}

static void step_set(struct model *model)
{
    struct twin *twin = &model->twin;
    if (twin->count == 0) {
        return;
    }
    struct slice text = random_text(model);
    size_t index = below(model, twin->count);
    mem_fail_after(below(model, 5) == 0 ? 1 + (unsigned)below(model, 3) : 0);
    bool is_done = list_try_set(&model->place, index, text, NULL, &model->limits);
    mem_fail_after(0);
    if (is_done) {
        twin_remove(twin, index, 1);
        twin_insert(twin, index, text);
    }
}

static void step_drop(struct model *model)
{
    struct twin *twin = &model->twin;
    if (twin->count == 0) {
        return;
    }
    bool is_head = below(model, 2) == 0;
    size_t count = below(model, 300) == 0 ? below(model, twin->count + 1)
                                          : below(model, twin->count < 3 ? twin->count : 3) + 1;
    mem_fail_after(below(model, 5) == 0 ? 1 : 0);
    list_drop(&model->place, is_head ? LIST_HEAD : LIST_TAIL, count, &model->work);
    mem_fail_after(0);
    twin_remove(twin, is_head ? 0 : twin->count - count, count);
    if (below(model, 8) == 0) {
        work_drain(&model->work);
    }
}

static void step_remove_equal(struct model *model)
{
    struct twin *twin = &model->twin;
    struct slice text = random_text(model);
    if (twin->count > 0 && below(model, 2) == 0) {
        struct slice some = twin->texts[below(model, twin->count)];
        memcpy(model->text, some.data, some.len);
        text = slice_of(model->text, some.len);
    }
    size_t max = below(model, 3) == 0 ? SIZE_MAX : 1 + below(model, 3);
    bool is_backward = below(model, 2) == 0;
    size_t wanted = 0;
    for (size_t i = 0, at = is_backward ? twin->count : 0; wanted < max; i++) {
        if (is_backward ? at == 0 : at == twin->count) {
            break;
        }
        size_t index = is_backward ? at - 1 : at;
        bool is_equal = slice_equal(twin->texts[index], text);
        at = is_backward ? index : index + !is_equal;
        if (is_equal) {
            twin_remove(twin, index, 1);
            wanted++;
        }
    }
    CHECK(list_remove_equal(&model->place, is_backward ? LIST_TAIL : LIST_HEAD, text, max) ==
          wanted);
}

static void step_find(struct model *model)
{
    struct twin *twin = &model->twin;
    struct slice text = random_text(model);
    struct list_needle needle;
    struct list_iterator iterator;
    bool is_equal;
    list_needle_init(&needle, text);
    list_iterate(model->place.value, 0, false, &iterator);
    for (size_t i = 0; i < twin->count; i++) {
        CHECK(list_next_equal(&iterator, &needle, &is_equal));
        CHECK(is_equal == slice_equal(twin->texts[i], text));
    }
    CHECK(!list_next_equal(&iterator, &needle, &is_equal));
}

static void step_copy(struct model *model)
{
    const struct value *value = model->place.value;
    mem_fail_after(below(model, 3) == 0 ? 1 + (unsigned)below(model, 5) : 0);
    struct value *copy =
        value_ops_of(value)->copy(value, slice_of("copy", 4), below(model, 2) == 0);
    mem_fail_after(0);
    if (copy != NULL) {
        compare(model, copy);
        CHECK(value_ops_of(copy)->effort(copy) >= 1);
        CHECK(value_ops_of(copy)->memory(copy, below(model, 6)) > 0);
        value_free(copy, &model->work);
    }
}

static void run_model(int64_t list_size, unsigned long_percent)
{
    static struct model model;
    memset(&model, 0, sizeof(model));
    rng_seed(&model.rng, test_seed() + (uint64_t)list_size + long_percent);
    work_queue_init(&model.work);
    model.limits = type_limits_default();
    model.limits.list_size = list_size;
    model.long_percent = long_percent;
    model.place.value = list_try_new(slice_of("key", 3), false);
    size_t growth = 50;
    unsigned long steps = test_steps(MODEL_STEPS);
    for (unsigned long i = 0; i < steps; i++) {
        if (i % 500 == 0) {
            growth = 20 + below(&model, 70);
        }
        size_t kind = below(&model, 100);
        if (kind < growth) {
            step_insert(&model);
        } else if (kind < 94) {
            step_drop(&model);
        } else if (kind < 96) {
            step_set(&model);
        } else if (kind < 97) {
            step_remove_equal(&model);
        } else if (kind < 99) {
            step_find(&model);
        } else {
            step_copy(&model);
        }
        compare(&model, model.place.value);
    }
    twin_remove(&model.twin, 0, model.twin.count);
    value_free(model.place.value, &model.work);
    work_drain(&model.work);
}

TEST(list, agrees_with_its_twin_in_chunks_of_bytes)
{
    run_model(-2, 3);
    run_model(-1, 20);
    run_model(-5, 0);
}

TEST(list, agrees_with_its_twin_in_chunks_of_entries)
{
    run_model(1, 3);
    run_model(3, 10);
    run_model(128, 1);
}

TEST(list, agrees_with_its_twin_at_the_ends_of_what_can_be_configured)
{
    run_model(0, 3);
    run_model(INT64_MAX, 3);
}
