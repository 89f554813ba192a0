/* Values read in pieces: whatever the pieces are, the value is the one that is read at once. */
#include "base/blob.h"
#include "base/mem.h"
#include "tests/unit/test.h"
#include "types/codec/codec.h"

#define SAMPLE(text)                                                                               \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

/* A type and a value, in every form that is read. */
static const struct {
    const char *bytes;
    size_t len;
} samples[] = {
    SAMPLE("\x00\x05hello"),
    SAMPLE("\x00\xc3\x09\x14\x01"
           "aa\xe0\x07\x00\x01"
           "aa"),
    SAMPLE("\x01\x03\x01\x61\xc1\x00\x01\x02\x62\x63"),
    SAMPLE("\x02\x03\x01\x61\x01\x62\xc0\x07"),
    SAMPLE("\x04\x02\x01\x66\x01\x76\x01g\x03www"),
    SAMPLE("\x05\x02\x01\x61\x00\x00\x00\x00\x00\x00\xf0\x3f\x01\x62\x00\x00\x00\x00\x00\x00\x00"
           "\x40"),
    SAMPLE("\x03\x02\x01\x61\x01\x31\x01\x62\xfe"),
    SAMPLE("\x10\x12\x12\x00\x00\x00\x04\x00\x81\x61\x02\x01\x01\x81\x62\x02\xc1\x2c\x02\xff"),
    SAMPLE("\x14\x0d\x0d\x00\x00\x00\x03\x00\x81\x61\x02\x81\x62\x02\xff"),
    SAMPLE("\x12\x02\x02\x0d\x0d\x00\x00\x00\x03\x00\x81\x61\x02\x81\x62\x02\xff\x01\x03xyz"),
    SAMPLE("\x0e\x01\x10\x10\x00\x00\x00\x0d\x00\x00\x00\x02\x00\x00\x01\x61\x03\xf3\xff"),
    SAMPLE("\x18\x00\xe0\x7f\xc9\x9b\x01\x00\x00\x02\x01\x01\x66\x01\x76\x00\x01g\x03www"),
    SAMPLE("\x0b\x0c\x02\x00\x00\x00\x02\x00\x00\x00\x01\x00\x05\x00"),
};

enum { SAMPLE_COUNT = sizeof(samples) / sizeof(samples[0]) };

static struct codec_rules rules_of(const struct type_limits *limits)
{
    return (struct codec_rules){.limits = limits, .hash_seed = 1};
}

static struct value *read_at_once(size_t index, const struct codec_rules *rules)
{
    struct codec_reader reader = {.at = samples[index].bytes,
                                  .end = samples[index].bytes + samples[index].len};
    struct value *value;
    CHECK(codec_read_value(&reader, slice_of("key", 3), rules, &value) == CODEC_OK);
    return value;
}

static void check_same(const struct value *a, const struct value *b)
{
    struct blob *first = codec_dump(a);
    struct blob *second = codec_dump(b);
    CHECK(slice_equal(value_key(a), value_key(b)));
    CHECK(slice_equal(blob_slice(first), blob_slice(second)));
    blob_drop(first);
    blob_drop(second);
}

/* Shows the builder one byte more at each step, and lets it read at most `count` elements. */
static struct value *read_in_pieces(size_t index, const struct codec_rules *rules, uint64_t count)
{
    const char *bytes = samples[index].bytes;
    struct codec_builder builder = {.rules = rules, .type = (uint8_t)bytes[0]};
    struct codec_reader reader = {.at = bytes + 1, .end = bytes + 1};
    struct value *value = NULL;
    for (;;) {
        switch (codec_build_step(&builder, &reader, slice_of("key", 3), count, &value)) {
        case CODEC_BUILT:
            CHECK(reader.at == bytes + samples[index].len);
            return value;
        case CODEC_GOES_ON:
            break;
        case CODEC_SHORT:
            CHECK(reader.missing > 0);
            CHECK(reader.end < bytes + samples[index].len);
            reader.end++;
            break;
        default:
            CHECK(false);
            return NULL;
        }
    }
}

TEST(codec_build, pieces_of_any_size_make_the_same_value)
{
    struct type_limits limits = type_limits_default();
    struct codec_rules rules = rules_of(&limits);
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        struct value *whole = read_at_once(i, &rules);
        for (uint64_t count = 1; count <= 3; count++) {
            struct value *value = read_in_pieces(i, &rules, count);
            check_same(whole, value);
            value_free(value, NULL);
        }
        value_free(whole, NULL);
    }
}

TEST(codec_build, a_value_that_is_given_up_is_freed)
{
    struct type_limits limits = type_limits_default();
    struct codec_rules rules = rules_of(&limits);
    const char *bytes = samples[3].bytes; /* A set. */
    struct codec_builder builder = {.rules = &rules, .type = (uint8_t)bytes[0]};
    struct codec_reader reader = {.at = bytes + 1, .end = bytes + 6};
    struct value *value;
    CHECK(codec_build_step(&builder, &reader, slice_of("key", 3), 9, &value) == CODEC_SHORT);
    CHECK(builder.place.value != NULL && builder.left == 1);
    codec_build_drop(&builder);
    CHECK(builder.place.value == NULL);
}

TEST(codec_build, what_is_bad_is_told_from_what_is_short)
{
    struct type_limits limits = type_limits_default();
    struct codec_rules rules = rules_of(&limits);
    struct value *value;
    struct codec_builder twice = {.rules = &rules, .type = 2};
    struct codec_reader reader = {.at = "\x02\x01\x61\x01\x61"};
    reader.end = reader.at + 5;
    CHECK(codec_build_step(&twice, &reader, slice_of("key", 3), 9, &value) == CODEC_BROKEN);
    CHECK(reader.missing == 0 && !reader.is_type_foreign);
    struct codec_builder foreign = {.rules = &rules, .type = 99};
    CHECK(codec_build_step(&foreign, &reader, slice_of("key", 3), 9, &value) == CODEC_BROKEN);
    CHECK(reader.is_type_foreign);
    struct codec_builder empty = {.rules = &rules, .type = 4};
    struct codec_reader none = {.at = "\x00"};
    none.end = none.at + 1;
    CHECK(codec_build_step(&empty, &none, slice_of("key", 3), 9, &value) == CODEC_BROKEN);
}

/* A plain hash of `count` fields; field `again`, if it is one of them, comes once more at the end.
 */
static size_t write_hash(char *bytes, unsigned count, unsigned again)
{
    size_t len = 0;
    bytes[len++] = 4;
    len += codec_put_len(bytes + len, count + (again < count));
    for (unsigned i = 0; i <= count; i++) {
        unsigned number = i < count ? i : again;
        if (number < count) {
            len += (size_t)sprintf(bytes + len, "%cf%03u%cv", 4, number, 1);
        }
    }
    return len;
}

/* Reads the same hash at once and in pieces. */
static void check_hash(const char *bytes, size_t len, bool is_good)
{
    const struct type_limits limits = type_limits_default();
    const struct codec_rules rules = rules_of(&limits);
    struct codec_reader reader = {.at = bytes, .end = bytes + len};
    struct value *value;
    enum codec_result result = codec_read_value(&reader, slice_of("key", 3), &rules, &value);
    CHECK(result == (is_good ? CODEC_OK : CODEC_BAD));
    struct codec_builder builder = {.rules = &rules, .type = 4};
    struct value *built = NULL;
    enum codec_build state = CODEC_GOES_ON;
    reader.at = bytes + 1;
    while (state == CODEC_GOES_ON) {
        state = codec_build_step(&builder, &reader, slice_of("key", 3), 100, &built);
    }
    CHECK(state == (is_good ? CODEC_BUILT : CODEC_BROKEN));
    if (is_good) {
        check_same(value, built);
        value_free(value, NULL);
        value_free(built, NULL);
    }
}

TEST(codec_build, a_field_that_comes_twice_is_refused_whatever_lies_between)
{
    char *bytes = mem_alloc(16 + 600 * 7);
    for (unsigned count = 2; count < 600; count += count < 40 ? 1 : 37) {
        check_hash(bytes, write_hash(bytes, count, count), true);
        for (unsigned again = 0; again < count; again += 1 + again / 3) {
            check_hash(bytes, write_hash(bytes, count, again), false);
        }
    }
    mem_free(bytes);
}
