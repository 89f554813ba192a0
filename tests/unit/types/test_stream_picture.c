/* Pictures of streams: whatever happens to the stream, they tell what was there. What they tell is
 * written as the dump has it, read again, and compared with a copy of the stream. */

#include "base/rng.h"
#include "base/work.h"
#include "tests/unit/test.h"
#include "types/codec/codec.h"
#include "types/stream/stream.h"

enum { TEXT_MAX = 700, GROUPS = 4, CONSUMERS = 4, ID_REACH = 60, ROUNDS = 300 };

struct bed {
    struct rng rng;
    struct work_queue work;
    struct type_limits limits;
    struct value *value;
    struct value *twin; /* The stream as it was. */
    struct stream_picture picture;
    struct codec_out out;
    int64_t now_ms;
};

static size_t below(struct bed *bed, size_t end)
{
    return rng_below(&bed->rng, end);
}

static void bed_init(struct bed *bed, uint64_t seed)
{
    *bed = (struct bed){.limits = type_limits_default(), .now_ms = 1000};
    rng_seed(&bed->rng, seed);
    bed->limits.stream_node_entries = 1 + below(bed, 12);
    work_queue_init(&bed->work);
    bed->value = stream_try_new(slice_of("k", 1), false);
}

static void bed_deinit(struct bed *bed)
{
    if (bed->value != NULL) {
        value_free(bed->value, NULL);
    }
    work_drain(&bed->work);
}

/* ---- Changes ---- */

static void add(struct bed *bed)
{
    static const char *const fields[] = {"one", "two", "a"};
    char room[TEXT_MAX];
    struct stream_id id = stream_meta(bed->value)->last_id;
    size_t len = 1 + below(bed, below(bed, 20) == 0 ? TEXT_MAX - 1 : 12);
    memset(room, 'v', len);
    const struct slice texts[] = {slice_from_text(fields[below(bed, 3)]), slice_of(room, len)};
    const struct stream_add entry = {.id = {id.ms + 1 + below(bed, 3), below(bed, 3)},
                                     .texts = texts,
                                     .count = 2,
                                     .limits = &bed->limits};
    CHECK(stream_try_add(bed->value, &entry));
}

static struct stream_id draw_id(struct bed *bed)
{
    const struct stream_meta *meta = stream_meta(bed->value);
    uint64_t end = meta->last_id.ms < ID_REACH ? ID_REACH : meta->last_id.ms;
    uint64_t from = below(bed, 2) == 0 ? meta->first_id.ms : end - ID_REACH / 2;
    return (struct stream_id){from + below(bed, ID_REACH), below(bed, 3)};
}

static void trim(struct bed *bed)
{
    size_t draw = below(bed, 40);
    const struct stream_trim all = {.count_max = 0};
    const struct stream_trim some = {.is_by_id = draw % 2 == 0,
                                     .count_max = stream_meta(bed->value)->count / 8 * 7,
                                     .min_id = draw_id(bed),
                                     .is_approximate = draw % 4 < 2};
    stream_trim(bed->value, draw == 0 ? &all : &some, &bed->work);
}

/* The ID may fall when the last entries are gone. */
static void set_last_id(struct bed *bed)
{
    struct stream_id id = stream_last_entry_id(bed->value);
    stream_set_last_id(bed->value, (struct stream_id){id.ms + below(bed, 4), id.seq + 1});
    stream_set_counters(bed->value, below(bed, 1000), id);
}

static struct slice draw_name(struct bed *bed, char *room, size_t count)
{
    room[0] = (char)('a' + below(bed, count));
    return slice_of(room, 1);
}

static void change_group(struct bed *bed, struct stream_group *group)
{
    size_t draw = below(bed, 30);
    if (draw == 0) {
        stream_group_remove(bed->value, group, &bed->work);
    } else if (draw < 10) {
        stream_group_will_change(group);
        group->last_id = draw_id(bed);
        group->entries_read = (int64_t)below(bed, 100);
    }
}

static void change_consumer(struct bed *bed, struct stream_group *group,
                            struct stream_consumer *consumer)
{
    if (below(bed, 20) == 0) {
        stream_consumer_remove(group, consumer);
        return;
    }
    stream_consumer_will_change(group, consumer);
    consumer->seen_ms = consumer->active_ms = bed->now_ms++;
}

static void change_pending(struct bed *bed, struct stream_group *group,
                           struct stream_consumer *consumer)
{
    struct stream_id id = draw_id(bed);
    struct stream_pending *pending = stream_pending_find(&group->pending, id);
    if (pending == NULL) {
        pending = stream_pending_try_add(group, consumer, id);
    } else if (below(bed, 3) == 0) {
        stream_pending_remove(group, pending);
        return;
    } else if (below(bed, 2) == 0 && pending->consumer != consumer) {
        stream_pending_assign(group, pending, consumer);
    }
    stream_pending_will_change(group, pending);
    pending->delivered_ms = bed->now_ms++;
    pending->delivery_count++;
}

static void change_inside(struct bed *bed)
{
    char room[1];
    struct slice name = draw_name(bed, room, GROUPS);
    struct stream_group *group = stream_group_find(bed->value, name);
    if (group == NULL) {
        CHECK(stream_group_try_add(bed->value, name, draw_id(bed), 0) != NULL);
        return;
    }
    name = draw_name(bed, room, CONSUMERS);
    struct stream_consumer *consumer = stream_consumer_find(group, name);
    if (consumer == NULL) {
        CHECK(stream_consumer_try_add(group, name, bed->now_ms++) != NULL);
        return;
    }
    switch (below(bed, 16)) {
    case 0:
        change_group(bed, group);
        return;
    case 1:
        change_consumer(bed, group, consumer);
        return;
    default:
        change_pending(bed, group, consumer);
    }
}

static void change(struct bed *bed)
{
    switch (below(bed, 16)) {
    case 0:
    case 1:
    case 2:
    case 3:
        add(bed);
        return;
    case 4:
    case 5:
    case 6:
        stream_delete(bed->value, draw_id(bed));
        return;
    case 7:
        trim(bed);
        return;
    case 8:
        set_last_id(bed);
        return;
    default:
        change_inside(bed);
    }
}

static void fill(struct bed *bed, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        add(bed);
        change_inside(bed);
        change_inside(bed);
    }
}

/* ---- Telling and comparing ---- */

static void on_part(void *context, const struct stream_part *part)
{
    struct bed *bed = context;
    codec_form_part(part, &bed->out);
}

static void picture_begin(struct bed *bed)
{
    struct codec_form form = codec_form_of(bed->value);
    bed->twin = value_ops_of(bed->value)->copy(bed->value, slice_of("k", 1), false);
    bed->out = (struct codec_out){.blob = NULL};
    stream_picture_begin(&bed->picture, bed->value);
    codec_form_type(&form, &bed->out);
    codec_form_head(&form, bed->picture.node_count, &bed->out);
}

static void picture_end(struct bed *bed)
{
    stream_picture_end(&bed->picture);
    work_unpark(&bed->picture.frees.jobs, &bed->work);
    CHECK(bed->picture.held == 0);
    if (bed->value != NULL) {
        value_ops_of(bed->value)->check(bed->value);
    }
}

static bool id_is(struct stream_id one, struct stream_id other)
{
    return stream_id_compare(one, other) == 0;
}

static void compare_entries(const struct value *one, const struct value *other)
{
    struct stream_walk walks[2];
    struct stream_entry entries[2];
    struct stream_item fields[2], values[2];
    struct stream_scratch scratch[2];
    stream_walk_begin(&walks[0], one, STREAM_ID_MIN, STREAM_ID_MAX, false);
    stream_walk_begin(&walks[1], other, STREAM_ID_MIN, STREAM_ID_MAX, false);
    while (stream_walk_next(&walks[0], &entries[0])) {
        CHECK(stream_walk_next(&walks[1], &entries[1]));
        CHECK(id_is(entries[0].id, entries[1].id));
        while (stream_entry_next(&entries[0], &fields[0], &values[0])) {
            CHECK(stream_entry_next(&entries[1], &fields[1], &values[1]));
            CHECK(slice_equal(stream_item_text(&fields[0], &scratch[0]),
                              stream_item_text(&fields[1], &scratch[1])));
            CHECK(slice_equal(stream_item_text(&values[0], &scratch[0]),
                              stream_item_text(&values[1], &scratch[1])));
        }
        CHECK(!stream_entry_next(&entries[1], &fields[1], &values[1]));
    }
    CHECK(!stream_walk_next(&walks[1], &entries[1]));
}

static void compare_consumers(const struct stream_group *one, const struct stream_group *other)
{
    struct order_cursor consumers, cursor;
    CHECK(order_count(&one->consumers) == order_count(&other->consumers));
    const struct stream_consumer *consumer = order_seek(&one->consumers, 0, &consumers);
    for (; consumer != NULL; consumer = order_next(&consumers)) {
        const struct stream_consumer *twin =
            stream_consumer_find(other, stream_consumer_name(consumer));
        CHECK(twin != NULL && twin->seen_ms == consumer->seen_ms);
        CHECK(order_count(&twin->pending) == order_count(&consumer->pending));
        const struct stream_pending *pending = order_seek(&consumer->pending, 0, &cursor);
        for (; pending != NULL; pending = order_next(&cursor)) {
            const struct stream_pending *same = stream_pending_find(&twin->pending, pending->id);
            CHECK(same != NULL && same->delivered_ms == pending->delivered_ms);
            CHECK(same->delivery_count == pending->delivery_count);
        }
    }
}

static void compare(const struct value *one, const struct value *other)
{
    const struct stream_meta *a = stream_meta(one);
    const struct stream_meta *b = stream_meta(other);
    struct order_cursor cursor;
    CHECK(a->count == b->count && a->entries_added == b->entries_added);
    CHECK(id_is(a->first_id, b->first_id) && id_is(a->last_id, b->last_id));
    CHECK(id_is(a->max_deleted_id, b->max_deleted_id));
    compare_entries(one, other);
    CHECK(order_count(stream_groups(one)) == order_count(stream_groups(other)));
    const struct stream_group *group = order_seek(stream_groups(one), 0, &cursor);
    for (; group != NULL; group = order_next(&cursor)) {
        const struct stream_group *twin = stream_group_find(other, stream_group_name(group));
        CHECK(twin != NULL && id_is(twin->last_id, group->last_id));
        CHECK(twin->entries_read == group->entries_read);
        CHECK(order_count(&twin->pending) == order_count(&group->pending));
        compare_consumers(group, twin);
    }
}

/* What was told is the stream as it was. */
static void check_told(struct bed *bed)
{
    struct codec_reader reader = {.at = bed->out.blob->bytes,
                                  .end = bed->out.blob->bytes + bed->out.blob->len};
    const struct codec_rules rules = {.limits = &bed->limits};
    struct value *read;
    CHECK(codec_read_value(&reader, slice_of("k", 1), &rules, &read) == CODEC_OK);
    CHECK(reader.at == reader.end);
    value_ops_of(read)->check(read);
    compare(bed->twin, read);
    value_free(read, NULL);
    value_free(bed->twin, NULL);
    codec_out_deinit(&bed->out);
}

/* ---- Cases ---- */

static void run(uint64_t seed)
{
    struct bed bed;
    bed_init(&bed, seed);
    for (unsigned picture = 0; picture < 3; picture++) {
        fill(&bed, below(&bed, 250));
        picture_begin(&bed);
        size_t busy = 1 + below(&bed, 30);
        while (!stream_picture_step(&bed.picture, 1 + below(&bed, 10), on_part, &bed)) {
            for (size_t i = below(&bed, busy); i > 0; i--) {
                change(&bed);
            }
            if (below(&bed, 30) == 0) {
                value_ops_of(bed.value)->check(bed.value);
            }
        }
        picture_end(&bed);
        check_told(&bed);
    }
    bed_deinit(&bed);
}

TEST(stream_picture, tells_what_was_there_whatever_changes)
{
    for (uint64_t i = 0; i < ROUNDS; i++) {
        run(test_seed() * 7919 + i);
    }
}

TEST(stream_picture, tells_a_stream_that_is_deleted_meanwhile)
{
    for (uint64_t i = 0; i < 40; i++) {
        struct bed bed;
        bed_init(&bed, test_seed() + i);
        fill(&bed, 200);
        picture_begin(&bed);
        for (size_t steps = below(&bed, 100); steps > 0; steps--) {
            change(&bed);
            stream_picture_step(&bed.picture, 1 + below(&bed, 6), on_part, &bed);
        }
        value_free(bed.value, &bed.work);
        bed.value = NULL;
        work_drain(&bed.work);
        while (!stream_picture_step(&bed.picture, 8, on_part, &bed)) {
        }
        picture_end(&bed);
        check_told(&bed);
        bed_deinit(&bed);
    }
}

TEST(stream_picture, gives_everything_back_when_it_ends_early)
{
    for (uint64_t i = 0; i < 60; i++) {
        struct bed bed;
        bed_init(&bed, test_seed() + i);
        fill(&bed, 200);
        picture_begin(&bed);
        for (size_t steps = below(&bed, 300); steps > 0; steps--) {
            change(&bed);
            stream_picture_step(&bed.picture, 1 + below(&bed, 3), on_part, &bed);
        }
        if (below(&bed, 2) == 0) {
            value_free(bed.value, &bed.work);
            bed.value = NULL;
        }
        stream_picture_end(&bed.picture);
        work_unpark(&bed.picture.frees.jobs, &bed.work);
        value_free(bed.twin, NULL);
        codec_out_deinit(&bed.out);
        bed_deinit(&bed);
    }
}

TEST(stream_picture, adding_copies_the_tail_once)
{
    struct bed bed;
    bed_init(&bed, 1); /* Whether the tail is full is the same in every run. */
    bed.limits.stream_node_entries = 100;
    fill(&bed, 120);
    picture_begin(&bed);
    add(&bed);
    size_t held = bed.picture.held;
#ifndef OURO_HOSTILE
    CHECK(held > 0);
#endif
    for (unsigned i = 0; i < 300; i++) {
        add(&bed);
    }
    CHECK(bed.picture.held == held);
    while (!stream_picture_step(&bed.picture, SIZE_MAX, on_part, &bed)) {
    }
    picture_end(&bed);
    check_told(&bed);
    bed_deinit(&bed);
}

/* What leaves the stream is not held twice: it is taken over as it is. */
TEST(stream_picture, trimming_copies_nothing)
{
    struct bed bed;
    bed_init(&bed, test_seed());
    for (unsigned i = 0; i < 400; i++) {
        add(&bed);
    }
    picture_begin(&bed);
    const struct stream_trim trims[] = {
        {.count_max = 300, .is_approximate = true},
        {.count_max = 100, .is_approximate = true},
        {.count_max = 0},
    };
    for (unsigned i = 0; i < 3; i++) {
        stream_trim(bed.value, &trims[i], &bed.work);
        CHECK(bed.picture.held == 0);
    }
    work_drain(&bed.work);
    stream_set_last_id(bed.value, STREAM_ID_MIN);
    for (unsigned i = 0; i < 100; i++) {
        add(&bed);
        stream_picture_step(&bed.picture, 5, on_part, &bed);
    }
    while (!stream_picture_step(&bed.picture, SIZE_MAX, on_part, &bed)) {
    }
    picture_end(&bed);
    check_told(&bed);
    bed_deinit(&bed);
}
