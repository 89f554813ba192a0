/* Streams as a type: bytes of entries, blobs, borders of IDs, counting, freeing, and dumps that are
 * refused. */
#include "base/work.h"
#include "tests/unit/test.h"
#include "types/codec/codec.h"
#include "types/stream/stream.h"

struct bed {
    struct work_queue work;
    struct type_limits limits;
    struct value *value;
};

static void bed_init(struct bed *bed)
{
    work_queue_init(&bed->work);
    bed->limits = type_limits_default();
    bed->value = stream_try_new(slice_of("k", 1), false);
}

static void bed_deinit(struct bed *bed)
{
    stream_ops.check(bed->value);
    value_free(bed->value, &bed->work);
    work_drain(&bed->work);
}

static bool add(struct bed *bed, uint64_t ms, uint64_t seq, struct slice text)
{
    const struct slice texts[] = {slice_from_text("field"), text};
    const struct stream_add entry = {
        .id = {ms, seq}, .texts = texts, .count = 2, .limits = &bed->limits};
    return stream_try_add(bed->value, &entry);
}

TEST(stream, an_entry_with_a_short_value_takes_eight_bytes)
{
    struct bed bed;
    enum { COUNT = 10000 };
    bed_init(&bed);
    for (uint64_t i = 0; i < COUNT; i++) {
        CHECK(add(&bed, 1700000000000 + i, 0, slice_from_text("21")));
    }
#ifndef OURO_HOSTILE
    CHECK(stream_node_count(bed.value) == COUNT / 100);
    CHECK(stream_ops.memory(bed.value, 0) < COUNT * 9);
#endif
    bed_deinit(&bed);
}

static uint32_t refs_of(const struct stream_item *item)
{
    return item->blob == NULL ? 0 : item->blob->refs;
}

TEST(stream, long_values_are_shared_and_let_go)
{
    struct bed bed;
    static char large[BLOB_LEN_MIN * 2];
    struct stream_walk walk;
    struct stream_entry entry;
    struct stream_item field, item;
    bed_init(&bed);
    memset(large, 'x', sizeof(large));
    CHECK(add(&bed, 1, 0, slice_of(large, sizeof(large))));
    CHECK(add(&bed, 2, 0, slice_of(large, BLOB_LEN_MIN - 1)));
    CHECK(add(&bed, 3, 0, slice_of(large, sizeof(large))));
    stream_walk_begin(&walk, bed.value, STREAM_ID_MIN, STREAM_ID_MAX, false);
    CHECK(stream_walk_next(&walk, &entry) && stream_entry_next(&entry, &field, &item));
    CHECK(item.blob != NULL && refs_of(&item) == 1 && item.len == sizeof(large));
    struct value *copy = stream_ops.copy(bed.value, slice_of("c", 1), true);
    CHECK(refs_of(&item) == 2 && value_has_expire(copy));
    CHECK(stream_delete(bed.value, (struct stream_id){1, 0}));
    stream_walk_begin(&walk, copy, STREAM_ID_MIN, STREAM_ID_MAX, false);
    CHECK(stream_walk_next(&walk, &entry) && stream_entry_next(&entry, &field, &item));
    CHECK(refs_of(&item) == 1);
    value_free(copy, &bed.work);
    bed_deinit(&bed);
}

TEST(stream, ids_have_neighbours_but_at_the_ends)
{
    char text[STREAM_ID_TEXT_MAX];
    struct stream_id id = {5, UINT64_MAX};
    CHECK(stream_id_try_next(&id) && id.ms == 6 && id.seq == 0);
    CHECK(stream_id_try_previous(&id) && id.ms == 5 && id.seq == UINT64_MAX);
    CHECK(stream_id_format(text, STREAM_ID_MAX) == STREAM_ID_TEXT_MAX);
    id = STREAM_ID_MAX;
    CHECK(!stream_id_try_next(&id));
    id = STREAM_ID_MIN;
    CHECK(!stream_id_try_previous(&id));
}

TEST(stream, ids_beyond_all_clocks_keep_their_order)
{
    struct bed bed;
    const struct stream_id ids[] = {{0, 1},
                                    {0, UINT64_MAX},
                                    {1, 0},
                                    {UINT64_C(1) << 47, 0},
                                    {UINT64_C(1) << 47, 1U << 20},
                                    {UINT64_MAX, 0},
                                    {UINT64_MAX, UINT64_MAX}};
    bed_init(&bed);
    bed.limits.stream_node_entries = 1;
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        CHECK(add(&bed, ids[i].ms, ids[i].seq, slice_from_text("v")));
    }
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        CHECK(stream_has(bed.value, ids[i]));
    }
    bed_deinit(&bed);
}

TEST(stream, what_a_group_has_read_is_counted_while_that_can_be_known)
{
    struct bed bed;
    bed_init(&bed);
    CHECK(stream_count_until(bed.value, (struct stream_id){1, 0}) == 0);
    for (uint64_t ms = 1; ms <= 5; ms++) {
        CHECK(add(&bed, ms, 0, slice_from_text("v")));
    }
    CHECK(stream_count_until(bed.value, STREAM_ID_MIN) == 0);
    CHECK(stream_count_until(bed.value, (struct stream_id){1, 0}) == 1);
    CHECK(stream_count_until(bed.value, (struct stream_id){3, 0}) == STREAM_COUNT_UNKNOWN);
    CHECK(stream_count_until(bed.value, (struct stream_id){5, 0}) == 5);
    CHECK(stream_count_until(bed.value, (struct stream_id){6, 0}) == STREAM_COUNT_UNKNOWN);
    CHECK(stream_delete(bed.value, (struct stream_id){4, 0}));
    CHECK(stream_count_until(bed.value, (struct stream_id){1, 0}) == STREAM_COUNT_UNKNOWN);
    CHECK(stream_has_tombstone_from(bed.value, (struct stream_id){4, 0}));
    CHECK(!stream_has_tombstone_from(bed.value, (struct stream_id){4, 1}));
    bed_deinit(&bed);
}

TEST(stream, counters_that_somebody_sets_keep_their_bounds)
{
    struct bed bed;
    bed_init(&bed);
    CHECK(add(&bed, 1, 0, slice_from_text("v")) && add(&bed, 2, 0, slice_from_text("v")));
    stream_set_counters(bed.value, 1, STREAM_ID_MIN);
    CHECK(stream_meta(bed.value)->entries_added == 2);
    stream_set_counters(bed.value, UINT64_MAX, STREAM_ID_MIN);
    CHECK(stream_meta(bed.value)->entries_added == STREAM_COUNT_MAX);
    CHECK(add(&bed, 3, 0, slice_from_text("v")));
    CHECK(stream_meta(bed.value)->entries_added == STREAM_COUNT_MAX);
    CHECK(stream_count_until(bed.value, (struct stream_id){3, 0}) == STREAM_COUNT_MAX);
    bed_deinit(&bed);
}

TEST(stream, many_nodes_and_pending_entries_are_freed_in_slices)
{
    struct bed bed;
    enum { COUNT = 2000 };
    bed_init(&bed);
    bed.limits.stream_node_entries = 10;
    struct stream_group *group =
        stream_group_try_add(bed.value, slice_from_text("g"), STREAM_ID_MIN, 0);
    struct stream_consumer *consumer = stream_consumer_try_add(group, slice_from_text("c"), 1);
    for (uint64_t ms = 1; ms <= COUNT; ms++) {
        CHECK(add(&bed, ms, 0, slice_from_text("v")));
        CHECK(stream_pending_try_add(group, consumer, (struct stream_id){ms, 0}) != NULL);
    }
    stream_ops.check(bed.value);
    CHECK(stream_ops.effort(bed.value) > COUNT);
    value_free(bed.value, &bed.work);
    CHECK(!work_is_idle(&bed.work));
    work_drain(&bed.work);
}

/* ---- Dumps ---- */

/* One node with the listpack given, then the rest of a stream of `count` entries. */
static struct value *read_node(struct slice pack, uint64_t count)
{
    static const struct type_limits limits = {.stream_node_entries = 100};
    const struct codec_rules rules = {.limits = &limits, .hash_seed = 1};
    struct codec_out out = {.blob = NULL};
    struct value *value = NULL;
    codec_out_bytes(&out, slice_of("\x0f\x01\x10\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x01", 19));
    codec_out_len(&out, pack.len);
    codec_out_bytes(&out, pack);
    codec_out_len(&out, count);
    codec_out_bytes(&out, slice_of("\x09\0\0", 3)); /* Last ID 9-0; no groups. */
    struct codec_reader reader = {.at = out.blob->bytes, .end = out.blob->bytes + out.blob->len};
    enum codec_result result = codec_read_value(&reader, slice_of("k", 1), &rules, &value);
    CHECK((result == CODEC_OK) == (value != NULL));
    CHECK(value == NULL || reader.at == reader.end);
    codec_out_deinit(&out);
    if (value != NULL) {
        stream_ops.check(value);
    }
    return value;
}

/* A listpack of small numbers, each a byte and its length. */
static struct value *read_numbers(const char *numbers, size_t count, uint64_t entries)
{
    char pack[6 + 2 * 64 + 1] = {(char)(6 + 2 * count + 1), 0, 0, 0, (char)count, 0};
    for (size_t i = 0; i < count; i++) {
        pack[6 + 2 * i] = numbers[i];
        pack[7 + 2 * i] = 1;
    }
    pack[6 + 2 * count] = (char)255;
    return read_node(slice_of(pack, 6 + 2 * count + 1), entries);
}

static bool is_refused(const char *numbers, size_t count, uint64_t entries)
{
    struct value *value = read_numbers(numbers, count, entries);
    if (value != NULL) {
        value_free(value, NULL);
    }
    return value == NULL;
}

TEST(stream, nodes_of_redis_are_read_without_what_was_deleted)
{
    /* Two entries and a deleted one; field 7; flags, ms, seq, value, elements. */
    static const char numbers[] = {2, 1, 1,  7, 0, 2, 0, 0, 42, 4,  3,
                                   1, 0, 43, 4, 0, 2, 0, 1, 8,  44, 6};
    struct value *value = read_numbers(numbers, sizeof(numbers), 2);
    CHECK(value != NULL && stream_meta(value)->count == 2);
    CHECK(stream_has(value, (struct stream_id){5, 1}) &&
          stream_has(value, (struct stream_id){7, 1}));
    CHECK(!stream_has(value, (struct stream_id){6, 1}));
    value_free(value, NULL);
}

TEST(stream, nodes_that_lie_are_refused)
{
    static const char good[] = {1, 0, 1, 7, 0, 2, 0, 0, 42, 4};
    static const struct {
        size_t at;
        char byte;
    } lies[] = {
        {0, 2},  /* Two entries, it says. */
        {2, 0},  /* No fields. */
        {2, 50}, /* More than there are. */
        {4, 1},  /* The head does not end. */
        {5, 4},  /* A flag that does not exist. */
        {5, 0},  /* Fields of its own, of which there are too many. */
        {9, 5},  /* So many elements are not there. */
    };
    CHECK(!is_refused(good, sizeof(good), 1));
    CHECK(is_refused(good, sizeof(good), 2));
    CHECK(is_refused(good, sizeof(good) - 1, 1));
    CHECK(is_refused(good, 5, 1));
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        char bytes[sizeof(good)];
        memcpy(bytes, good, sizeof(good));
        bytes[lies[i].at] = lies[i].byte;
        CHECK(is_refused(bytes, sizeof(bytes), 1));
    }
}

TEST(stream, ids_of_a_dump_rise)
{
    static const char same[] = {2, 0, 1, 7, 0, 2, 0, 0, 42, 4, 2, 0, 0, 42, 4};
    static const char high[] = {1, 0, 1, 7, 0, 2, 9, 0, 42, 4}; /* 14-1, above the last ID. */
    CHECK(is_refused(same, sizeof(same), 2));
    CHECK(is_refused(high, sizeof(high), 1));
}

/* Who steps by elements is stopped behind each node, which has a hundred entries as a rule. */
TEST(stream, a_node_fills_a_step_of_reading_and_writing)
{
    enum { ENTRIES = 30, NODES = 10, STEP = 64 };
    struct bed bed;
    bed_init(&bed);
    bed.limits.stream_node_entries = ENTRIES / NODES;
    for (uint64_t ms = 1; ms <= ENTRIES; ms++) {
        CHECK(add(&bed, ms, ms, slice_from_text("value")));
    }
    struct codec_out out = {.blob = NULL};
    struct codec_writer writer;
    unsigned steps = 1;
    codec_write_begin(&writer, bed.value);
    while (!codec_write_step(&writer, &out, STEP)) {
        steps++;
    }
    CHECK(steps >= NODES);
    const struct codec_rules rules = {.limits = &bed.limits, .work = &bed.work};
    struct slice bytes = blob_slice(out.blob);
    struct codec_builder builder = {.rules = &rules, .type = (uint8_t)bytes.data[0]};
    struct codec_reader reader = {.at = bytes.data + 1, .end = bytes.data + bytes.len};
    struct value *value = NULL;
    for (steps = 1;
         codec_build_step(&builder, &reader, slice_of("k", 1), STEP, &value) == CODEC_GOES_ON;
         steps++) {
    }
    CHECK(value != NULL && steps >= NODES);
    value_free(value, &bed.work);
    codec_out_deinit(&out);
    bed_deinit(&bed);
}

/* What is cut anywhere is refused or, read in pieces, waited for. */
TEST(stream, a_dump_is_read_in_pieces_and_written_in_steps)
{
    struct bed bed;
    bed_init(&bed);
    bed.limits.stream_node_entries = 3;
    struct stream_group *group =
        stream_group_try_add(bed.value, slice_from_text("group"), STREAM_ID_MIN, -1);
    struct stream_consumer *ann = stream_consumer_try_add(group, slice_from_text("ann"), 1);
    struct stream_consumer *bob = stream_consumer_try_add(group, slice_from_text("bob"), 2);
    CHECK(stream_group_try_add(bed.value, slice_from_text("other"), STREAM_ID_MIN, 3) != NULL);
    for (uint64_t ms = 1; ms <= 10; ms++) {
        CHECK(add(&bed, ms, ms, slice_from_text("value")));
        CHECK(stream_pending_try_add(group, ms % 2 == 0 ? ann : bob, (struct stream_id){ms, ms}) !=
              NULL);
    }
    struct codec_out out = {.blob = NULL};
    struct codec_writer writer;
    codec_write_begin(&writer, bed.value);
    while (!codec_write_step(&writer, &out, 1)) {
    }
    struct slice bytes = blob_slice(out.blob);
    const struct codec_rules rules = {.limits = &bed.limits, .work = &bed.work};
    for (size_t len = 1; len < bytes.len; len++) {
        struct codec_reader cut = {.at = bytes.data, .end = bytes.data + len};
        struct value *value = NULL;
        CHECK(codec_read_value(&cut, slice_of("k", 1), &rules, &value) == CODEC_BAD);
        struct codec_builder builder = {.rules = &rules, .type = (uint8_t)bytes.data[0]};
        struct codec_reader piece = {.at = bytes.data + 1, .end = bytes.data + len};
        enum codec_build built;
        do {
            built = codec_build_step(&builder, &piece, slice_of("k", 1), 1, &value);
        } while (built == CODEC_GOES_ON);
        CHECK(built == CODEC_SHORT && piece.missing > 0);
        piece.end = bytes.data + bytes.len;
        CHECK(codec_build_step(&builder, &piece, slice_of("k", 1), UINT64_MAX, &value) ==
              CODEC_BUILT);
        CHECK(piece.at == piece.end);
        stream_ops.check(value);
        struct blob *first = codec_dump(value);
        struct blob *second = codec_dump(bed.value);
        CHECK(slice_equal(blob_slice(first), blob_slice(second)));
        blob_drop(first);
        blob_drop(second);
        value_free(value, &bed.work);
    }
    codec_out_deinit(&out);
    bed_deinit(&bed);
}
