/* Pictures of lists: whatever happens to the list, they tell what was there, in order. */
#include <stdio.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/work.h"
#include "tests/unit/test.h"
#include "types/list/list.h"

enum { TEXT_MAX = 3000 };

struct bed {
    struct rng rng;
    struct work_queue work;
    struct type_limits limits;
    struct place place;
    struct list_picture picture;
    unsigned next; /* Makes texts differ. */
    char **texts;  /* What the list held at the beginning. */
    size_t count, told;
};

static void bed_init(struct bed *bed, uint64_t seed)
{
    *bed = (struct bed){.limits = type_limits_default()};
    rng_seed(&bed->rng, seed);
    work_queue_init(&bed->work);
    bed->place = (struct place){.value = list_try_new(slice_of("k", 1), false)};
}

static struct slice draw_text(struct bed *bed, char *room)
{
    int len = snprintf(room, TEXT_MAX, "%u:", bed->next++);
    size_t more = rng_below(&bed->rng, rng_below(&bed->rng, 30) == 0 ? TEXT_MAX - 40 : 40);
    memset(room + len, 'x', more);
    return slice_of(room, (size_t)len + more);
}

static void push(struct bed *bed, enum list_end end)
{
    char room[TEXT_MAX];
    CHECK(list_try_push(&bed->place, end, draw_text(bed, room), NULL, &bed->limits));
}

static void remember(struct bed *bed)
{
    bed->count = list_len(bed->place.value);
    bed->told = 0;
    bed->texts = mem_alloc((bed->count + 1) * sizeof(*bed->texts));
    for (size_t i = 0; i < bed->count; i++) {
        struct list_scratch scratch;
        struct list_item item = list_get(bed->place.value, i);
        struct slice text = list_item_text(&item, &scratch);
        bed->texts[i] = mem_zalloc(text.len + 1);
        memcpy(bed->texts[i], text.data, text.len);
    }
}

static void forget(struct bed *bed)
{
    CHECK(bed->told == bed->count);
    for (size_t i = 0; i < bed->count; i++) {
        mem_free(bed->texts[i]);
    }
    mem_free(bed->texts);
}

static void on_tell(void *context, const struct list_item *item)
{
    struct bed *bed = context;
    struct list_scratch scratch;
    CHECK(bed->told < bed->count);
    CHECK(slice_equal(list_item_text(item, &scratch), slice_from_text(bed->texts[bed->told])));
    bed->told++;
}

static void change_middle(struct bed *bed, size_t len)
{
    char room[TEXT_MAX];
    size_t index = rng_below(&bed->rng, len);
    struct slice text = draw_text(bed, room);
    struct list_scratch scratch;
    struct list_item item = list_get(bed->place.value, index);
    switch (rng_below(&bed->rng, 3)) {
    case 0:
        CHECK(list_try_set(&bed->place, index, text, NULL, &bed->limits));
        return;
    case 1:
        CHECK(list_try_insert(&bed->place, index, text, NULL, &bed->limits));
        return;
    default:
        text = list_item_text(&item, &scratch);
        memcpy(room, text.data, text.len);
        CHECK(list_remove_equal(&bed->place, (enum list_end)rng_below(&bed->rng, 2),
                                slice_of(room, text.len), 1) == 1);
    }
}

static void change(struct bed *bed)
{
    enum list_end end = (enum list_end)rng_below(&bed->rng, 2);
    size_t len = list_len(bed->place.value);
    switch (rng_below(&bed->rng, 5)) {
    case 0:
    case 1:
        push(bed, end);
        return;
    case 2:
        list_drop(&bed->place, end, rng_below(&bed->rng, len < 3 ? len + 1 : 3), &bed->work);
        return;
    case 3:
        if (rng_below(&bed->rng, 40) == 0) {
            list_drop(&bed->place, end, rng_below(&bed->rng, len + 1), &bed->work);
        }
        return;
    default:
        if (len > 0) {
            change_middle(bed, len);
        }
    }
}

static void end(struct bed *bed)
{
    work_unpark(&bed->picture.parked, &bed->work);
    list_picture_end(&bed->picture);
    work_drain(&bed->work);
}

TEST(list_picture, tells_what_was_there_in_order)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct bed bed;
        bed_init(&bed, seed);
        for (unsigned i = 0; i < 600; i++) {
            push(&bed, LIST_TAIL);
        }
        unsigned busy = (unsigned)rng_below(&bed.rng, 30);
        remember(&bed);
        CHECK(list_picture_begin(&bed.picture, bed.place.value));
        while (!list_picture_step(&bed.picture, 1 + rng_below(&bed.rng, 20), on_tell, &bed)) {
            for (unsigned i = 0; i < busy; i++) {
                change(&bed);
            }
            value_ops_of(bed.place.value)->check(bed.place.value);
        }
        end(&bed);
        forget(&bed);
        value_free(bed.place.value, &bed.work);
        work_drain(&bed.work);
    }
}

TEST(list_picture, survives_its_list)
{
    struct bed bed;
    bed_init(&bed, 7);
    for (unsigned i = 0; i < 2000; i++) {
        push(&bed, LIST_HEAD);
    }
    remember(&bed);
    CHECK(list_picture_begin(&bed.picture, bed.place.value));
    list_picture_step(&bed.picture, 5, on_tell, &bed);
    list_drop(&bed.place, LIST_HEAD, 1000, &bed.work);
    work_drain(&bed.work);
    value_free(bed.place.value, &bed.work);
    work_drain(&bed.work);
    while (!list_picture_step(&bed.picture, 7, on_tell, &bed)) {
    }
    end(&bed);
    forget(&bed);
}

TEST(list_picture, survives_a_list_that_becomes_short)
{
    struct bed bed;
    bed_init(&bed, 8);
    for (unsigned i = 0; i < 500; i++) {
        push(&bed, LIST_HEAD);
    }
    remember(&bed);
    CHECK(list_picture_begin(&bed.picture, bed.place.value));
    while (list_len(bed.place.value) > 0) {
        list_drop(&bed.place, LIST_TAIL, 1, &bed.work);
    }
    CHECK(bed.picture.body == NULL && bed.picture.copied > 0);
    while (!list_picture_step(&bed.picture, 7, on_tell, &bed)) {
    }
    CHECK(bed.picture.copied == 0);
    end(&bed);
    forget(&bed);
    value_free(bed.place.value, &bed.work);
}

TEST(list_picture, of_a_short_list_is_not_needed)
{
    struct bed bed;
    bed_init(&bed, 9);
    CHECK(list_try_push(&bed.place, LIST_TAIL, slice_from_text("a"), NULL, &bed.limits));
    CHECK(!list_picture_begin(&bed.picture, bed.place.value));
    list_picture_end(&bed.picture);
    value_free(bed.place.value, &bed.work);
}
