/* The codec of the dump format: letters, forms of Redis, and what is refused. */
#include <lzf.h>

#include "base/mem.h"
#include "base/work.h"
#include "tests/unit/test.h"
#include "types/codec/codec.h"
#include "types/string/string.h"

static struct value *read_value(const char *bytes, size_t len)
{
    const struct type_limits limits = type_limits_default();
    const struct codec_rules rules = {.limits = &limits, .hash_seed = 1};
    struct codec_reader reader = {.at = bytes, .end = bytes + len};
    struct value *value = NULL;
    enum codec_result result = codec_read_value(&reader, slice_of("k", 1), &rules, &value);
    CHECK((result == CODEC_OK) == (value != NULL));
    CHECK(value == NULL || reader.at == reader.end);
    return value;
}

#define READ(bytes) read_value(bytes, sizeof(bytes) - 1)

static bool is_refused(const char *bytes, size_t len)
{
    struct value *value = read_value(bytes, len);
    if (value != NULL) {
        value_free(value, NULL);
    }
    return value == NULL;
}

#define IS_REFUSED(bytes) is_refused(bytes, sizeof(bytes) - 1)

static void check_writes(const struct value *value, const char *wanted, size_t len)
{
    struct codec_out out = {.blob = NULL};
    struct codec_writer writer;
    codec_write_begin(&writer, value);
    while (!codec_write_step(&writer, &out, 1)) {
    }
    CHECK(slice_equal(blob_slice(out.blob), slice_of(wanted, len)));
    codec_out_deinit(&out);
}

static void check_string(const char *bytes, size_t len, const char *wanted)
{
    struct value *value = read_value(bytes, len);
    struct string_scratch scratch;
    CHECK(value != NULL);
    CHECK(slice_equal(string_get(value, &scratch), slice_from_text(wanted)));
    value_free(value, NULL);
}

TEST(codec, strings_are_read_in_every_form)
{
    check_string("\x00\x05hello", 7, "hello");
    check_string("\x00\x40\x03xyz", 6, "xyz");
    check_string("\x00\x80\x00\x00\x00\x03xyz", 9, "xyz");
    check_string("\x00\x81\x00\x00\x00\x00\x00\x00\x00\x03xyz", 13, "xyz");
    check_string("\x00\xc0\x85", 3, "-123");
    check_string("\x00\xc1\x39\x30", 4, "12345");
    check_string("\x00\xc2\x00\x00\x00\x80", 6, "-2147483648");
    check_string("\x00\xc3\x09\x14\x01"
                 "aa\xe0\x07\x00\x01"
                 "aa",
                 13, "aaaaaaaaaaaaaaaaaaaa");
}

/* Long enough to be unpacked here rather than by the library. */
TEST(codec, a_long_packed_string_is_unpacked_and_a_bad_one_refused)
{
    enum { LEN = 300 * 1000, PACKED_MAX = LEN, HEAD = 12 };
    char *text = mem_alloc(LEN);
    char *bytes = mem_alloc(PACKED_MAX + HEAD);
    for (size_t i = 0; i < LEN; i++) {
        text[i] = i % 1000 < 500 ? 'x' : (char)(i * i / 7);
    }
    unsigned packed_len = lzf_compress(text, LEN, bytes + HEAD, PACKED_MAX);
    CHECK(packed_len > 0);
    bytes[0] = 0;
    bytes[1] = (char)0xc3;
    bytes[2] = (char)0x80;
    bytes[7] = (char)0x80;
    for (unsigned i = 0; i < 4; i++) {
        bytes[3 + i] = (char)(packed_len >> (24 - 8 * i));
        bytes[8 + i] = (char)((unsigned)LEN >> (24 - 8 * i));
    }
    struct value *value = read_value(bytes, packed_len + HEAD);
    struct string_scratch scratch;
    CHECK(value != NULL && slice_equal(string_get(value, &scratch), slice_of(text, LEN)));
    value_free(value, NULL);
    bytes[11]++; /* Longer than what is packed. */
    CHECK(is_refused(bytes, packed_len + HEAD));
    bytes[11] = (char)(bytes[11] - 2);
    CHECK(is_refused(bytes, packed_len + HEAD));
    bytes[11]++;
    bytes[HEAD] = (char)0xff; /* Refers to what is before the beginning. */
    CHECK(is_refused(bytes, packed_len + HEAD));
    mem_free(text);
    mem_free(bytes);
}

TEST(codec, numbers_are_written_in_their_short_form)
{
    struct codec_out out = {.blob = NULL};
    codec_out_text(&out, slice_of("-1", 2));
    codec_out_text(&out, slice_of("128", 3));
    codec_out_text(&out, slice_of("65536", 5));
    codec_out_text(&out, slice_of("2147483648", 10));
    codec_out_text(&out, slice_of("01", 2));
    codec_out_len(&out, 300);
    codec_out_len(&out, 70000);
    const char wanted[] = "\xc0\xff\xc1\x80\x00\xc2\x00\x00\x01\x00\x0a"
                          "2147483648\x02"
                          "01\x41\x2c\x80\x00\x01\x11\x70";
    CHECK(slice_equal(blob_slice(out.blob), slice_of(wanted, sizeof(wanted) - 1)));
    codec_out_deinit(&out);
}

TEST(codec, packed_forms_of_redis_are_read)
{
    static const char plain[] = "\x01\x02\x01\x61\xc0\x02"; /* A list of "a" and 2. */
    struct value *value = READ("\x12\x01\x02\x0c\x0c\x00\x00\x00\x02\x00\x81\x61\x02\x02\x01\xff");
    CHECK(value != NULL);
    check_writes(value, plain, sizeof(plain) - 1);
    value_free(value, NULL);
    value = READ("\x0e\x01\x10\x10\x00\x00\x00\x0d\x00\x00\x00\x02\x00\x00\x01\x61\x03\xf3\xff");
    CHECK(value != NULL);
    check_writes(value, plain, sizeof(plain) - 1);
    value_free(value, NULL);
    value = READ("\x0b\x0c\x02\x00\x00\x00\x02\x00\x00\x00\xff\xff\x05\x00");
    CHECK(value != NULL && set_count(value) == 2);
    value_free(value, NULL);
    value = READ("\x09\x07\x01\x01\x61\x01\x00\x62\xff");
    CHECK(value != NULL && hash_count(value) == 1);
    value_free(value, NULL);
    value = READ("\x03\x02\x01\x61\x03-.5\x01\x62\xfe");
    CHECK(value != NULL && zset_count(value) == 2);
    value_free(value, NULL);
}

TEST(codec, a_writer_can_stop_after_any_element)
{
    static const char bytes[] = "\x05\x02\x01\x62\x00\x00\x00\x00\x00\x00\x00\x40\x01\x61\x00\x00"
                                "\x00\x00\x00\x00\xf0\x3f";
    struct value *value = read_value(bytes, sizeof(bytes) - 1);
    CHECK(value != NULL);
    check_writes(value, bytes, sizeof(bytes) - 1);
    value_free(value, NULL);
}

/* The moment of a field of the hash; -2: there is no such field. */
static int64_t moment_of(const struct value *value, const char *field)
{
    struct hash_pair pair;
    return hash_find(value, slice_from_text(field), &pair) ? pair.expire_ms : -2;
}

/* Every form that Redis 7.4 and its candidates write { a: 1 until 4,102,444,800,000, b: 2 } in. */
#define MOMENT_A "\x00\xd8\xc3\x2c\xbb\x03\x00\x00"
#define MOMENT_A_BIG_ENDIAN "\x00\x00\x03\xbb\x2c\xc3\xd8\x00"
#define TRIPLES                                                                                    \
    "\x1d\x1d\x00\x00\x00\x06\x00\x81\x61\x02\x01\x01\xf4" MOMENT_A                                \
    "\x09\x81\x62\x02\x02\x01\x00\x01\xff"

static void check_moments(const char *bytes, size_t len)
{
    struct value *value = read_value(bytes, len);
    CHECK(value != NULL);
    CHECK(hash_count(value) == 2);
    CHECK(moment_of(value, "a") == INT64_C(4102444800000));
    CHECK(moment_of(value, "b") == HASH_NO_EXPIRE);
    CHECK(codec_version_of(value) == CODEC_VERSION_MOMENTS);
    value_ops_of(value)->check(value);
    static const char wanted[] = "\x18" MOMENT_A "\x02\x01\x01\x61\xc0\x01\x00\x01\x62\xc0\x02";
    check_writes(value, wanted, sizeof(wanted) - 1);
    value_free(value, NULL);
}

#define CHECK_MOMENTS(bytes) check_moments(bytes, sizeof(bytes) - 1)

TEST(codec, fields_that_expire_are_read_in_every_form)
{
    CHECK_MOMENTS("\x16\x02\x81" MOMENT_A_BIG_ENDIAN "\x01\x61\x01\x31\x00\x01\x62\x01\x32");
    CHECK_MOMENTS("\x17" TRIPLES);
    CHECK_MOMENTS("\x18" MOMENT_A "\x02\x01\x01\x61\x01\x31\x00\x01\x62\x01\x32");
    CHECK_MOMENTS("\x19" MOMENT_A TRIPLES);
}

TEST(codec, moments_count_from_the_earliest)
{
    /* a: 1,000, b: stays, c: 17,383; the last is 16,384 later, so its ttl takes five bytes. */
    struct value *value = READ("\x18\xe8\x03\x00\x00\x00\x00\x00\x00\x03\x01\x01\x61\x01\x78"
                               "\x00\x01\x62\x01\x78\x80\x00\x00\x40\x00\x01\x63\x01\x78");
    CHECK(value != NULL);
    CHECK(moment_of(value, "a") == 1000 && moment_of(value, "b") == HASH_NO_EXPIRE);
    CHECK(moment_of(value, "c") == 17383);
    CHECK(hash_next_expiry_ms(value) == 1000);
    value_free(value, NULL);
}

TEST(codec, a_hash_whose_volatile_fields_are_gone_is_written_as_any_hash)
{
    static const char plain[] = "\x04\x01\x01\x62\xc0\x02";
    for (unsigned entries = 0; entries <= 512; entries += 512) {
        struct type_limits few = type_limits_default();
        few.hash_entries = entries;
        const struct codec_rules rules = {.limits = &few, .hash_seed = 1};
        static const char bytes[] = "\x19" MOMENT_A TRIPLES;
        struct codec_reader reader = {.at = bytes, .end = bytes + sizeof(bytes) - 1};
        struct place place = {.value = NULL};
        CHECK(codec_read_value(&reader, slice_of("k", 1), &rules, &place.value) == CODEC_OK);
        CHECK(codec_version_of(place.value) == CODEC_VERSION_MOMENTS);
        CHECK(hash_remove(&place, slice_of("a", 1)));
        CHECK(codec_version_of(place.value) == CODEC_VERSION);
        check_writes(place.value, plain, sizeof(plain) - 1);
        value_free(place.value, NULL);
    }
}

TEST(codec, what_cannot_be_is_refused)
{
    CHECK(IS_REFUSED(""));
    CHECK(IS_REFUSED("\x00"));
    CHECK(IS_REFUSED("\x00\x05hell"));
    CHECK(IS_REFUSED("\x00\xc4\x00"));
    CHECK(IS_REFUSED("\x00\xc3\x01\x80\xff\xff\xff\xff\x00")); /* One byte makes no 4 GiB. */
    CHECK(IS_REFUSED("\x01\x00"));                             /* No elements. */
    CHECK(IS_REFUSED("\x01\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01\x61"));
    CHECK(IS_REFUSED("\x02\x02\x01\x61\x01\x61")); /* The same member twice. */
    CHECK(IS_REFUSED("\x04\x02\x01\x61\x01\x62\x01\x61\x01\x63"));
    CHECK(IS_REFUSED("\x04\x01\x01\x61"));
    CHECK(IS_REFUSED("\x05\x01\x01\x61\x00\x00\x00\x00\x00\x00\xf8\x7f")); /* NaN. */
    CHECK(IS_REFUSED("\x03\x01\x01\x61\xfd"));
    CHECK(IS_REFUSED("\x0b\x0c\x02\x00\x00\x00\x02\x00\x00\x00\x05\x00\x05\x00"));
    CHECK(IS_REFUSED("\x10\x0a\x0a\x00\x00\x00\x01\x00\x81\x61\x02\xff")); /* A field alone. */
    CHECK(IS_REFUSED("\x14\x0a\x0a\x00\x00\x00\x01\x00\x81\x61\x03\xff"));
    CHECK(IS_REFUSED("\x14\x07\x07\x00\x00\x00\x00\x00\xff"));
    CHECK(IS_REFUSED("\x12\x01\x03\x01\x61"));
    CHECK(IS_REFUSED("\x18\x01\x00\x00")); /* Half a moment. */
    CHECK(IS_REFUSED("\x18\x01\x00\x00\x00\x00\x00\x00\x00\x00"));
    CHECK(IS_REFUSED("\x18\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01\x01\x61\x01\x31"));
    CHECK(IS_REFUSED("\x18\x00\x00\x00\x00\x00\x00\x00\x00\x01\x81\xff\xff\xff\xff\xff\xff\xff\xff"
                     "\x01\x61\x01\x31"));
    CHECK(IS_REFUSED("\x18\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01\x61"));
    CHECK(IS_REFUSED("\x19\x01\x00\x00\x00\x00\x00\x00\x00" /* No moment behind the pair. */
                     "\x0c\x0c\x00\x00\x00\x02\x00\x81\x61\x02\x01\x01\xff"));
    CHECK(IS_REFUSED("\x19\x01\x00\x00\x00\x00\x00\x00\x00" /* A text for a moment. */
                     "\x0f\x0f\x00\x00\x00\x03\x00\x81\x61\x02\x01\x01\x81\x78\x02\xff"));
    CHECK(IS_REFUSED("\x07\x00"));
    CHECK(IS_REFUSED("\x63\x00"));
}

TEST(codec, a_payload_with_a_wrong_bit_is_not_whole)
{
    struct value *value = string_try_new(slice_of("k", 1), slice_of("text", 4), false);
    struct blob *payload = codec_dump(value);
    CHECK(payload->len == 6 + CODEC_FOOTER_LEN);
    CHECK(codec_payload_is_whole(blob_slice(payload)));
    for (size_t i = 0; i < payload->len * 8; i++) {
        payload->bytes[i / 8] ^= (char)(1 << (i % 8));
        CHECK(!codec_payload_is_whole(blob_slice(payload)));
        payload->bytes[i / 8] ^= (char)(1 << (i % 8));
    }
    CHECK(!codec_payload_is_whole(slice_of(payload->bytes, CODEC_FOOTER_LEN - 1)));
    blob_drop(payload);
    value_free(value, NULL);
}

TEST(codec, without_memory_nothing_is_left_behind)
{
    static const char bytes[] = "\x04\x02\x01\x61\x01\x62\x01\x63\x01\x64";
    const struct type_limits limits = type_limits_default();
    const struct codec_rules rules = {.limits = &limits, .hash_seed = 1};
    for (unsigned failure = 1; failure <= 2; failure++) {
        struct codec_reader reader = {.at = bytes, .end = bytes + sizeof(bytes) - 1};
        struct value *value = NULL;
        mem_fail_after(failure);
        enum codec_result result = codec_read_value(&reader, slice_of("k", 1), &rules, &value);
        mem_fail_after(0);
        CHECK(result != CODEC_BAD);
        if (value != NULL) {
            value_free(value, NULL);
        }
    }
    struct value *value = READ("\x04\x02\x01\x61\x01\x62\x01\x63\x01\x64");
    mem_fail_after(1);
    CHECK(codec_dump(value) == NULL);
    mem_fail_after(0);
    value_free(value, NULL);
}
