/* Fuzzes RESTORE: whatever the bytes are, they are refused, or the value that they make keeps its
 * invariants, survives every use, and is written and read again as the same value.
 *
 * The checksum is put right by the harness, for a fuzzer would not find it. With -DFUZZ_STANDALONE
 * the program makes its own inputs, from payloads that it dumps and then damages: `fuzz_restore
 * [count] [seed]`. */

#include "base/buf.h"
#include "base/crc.h"
#include "base/rng.h"
#include "base/work.h"
#include "tests/fuzz/use_value.h"
#include "types/codec/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct value *restore(struct slice payload, const struct type_limits *limits,
                             struct work_queue *work)
{
    const struct codec_rules rules = {.limits = limits, .hash_seed = 7, .work = work};
    struct value *value = NULL;
    enum codec_result result = codec_restore(payload, slice_of("key", 3), &rules, &value);
    require((result == CODEC_OK) == (value != NULL), "a result without a value, or the reverse");
    return value;
}

/* A value that was read is written, and read and written again: the bytes are the same length, and
 * for kinds that have an order the same. */
static void write_and_read(const struct value *value, const struct type_limits *limits,
                           struct work_queue *work)
{
    struct blob *first = codec_dump(value);
    require(first != NULL && codec_payload_is_whole(blob_slice(first)), "its own dump is refused");
    struct value *again = restore(blob_slice(first), limits, work);
    require(again != NULL, "its own dump cannot be read");
    value_ops_of(again)->check(again);
    struct blob *second = codec_dump(again);
    require(second != NULL && first->len == second->len, "dumps differ in length");
    if (value_kind(value) == VALUE_LIST || value_kind(value) == VALUE_STRING) {
        require(slice_equal(blob_slice(first), blob_slice(second)), "dumps differ");
    }
    blob_drop(first);
    blob_drop(second);
    value_free(again, work);
}

/* The first byte chooses the limits, the rest is the payload without its footer. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    struct work_queue work;
    work_queue_init(&work);
    struct type_limits limits = type_limits_default();
    if (data[0] % 2 != 0) {
        limits.hash_entries = limits.set_listpack_entries = limits.zset_entries = 2;
        limits.list_size = 2;
    }
    struct buf payload;
    buf_init(&payload);
    buf_append(&payload, slice_of(data + 1, size - 1));
    buf_append(&payload, slice_of("\x0a\x00", 2));
    uint64_t crc = crc64(0, buf_slice(&payload));
    buf_append(&payload, slice_of(&crc, sizeof(crc)));
    require(codec_payload_is_whole(buf_slice(&payload)), "a right checksum is refused");
    struct place place = {.value = restore(buf_slice(&payload), &limits, &work)};
    if (place.value != NULL) {
        value_ops_of(place.value)->check(place.value);
        write_and_read(place.value, &limits, &work);
        use_value(&place, &limits, &work);
        value_free(place.value, &work);
    }
    buf_deinit(&payload);
    work_drain(&work);
    return 0;
}

#ifdef FUZZ_STANDALONE

#include "tests/fuzz/standalone.h"

enum { DAMAGES_MAX = 4 };

/* Payloads as Redis 7.4 and its forerunners write them, without footers: where damage begins. */
static const struct {
    const char *bytes;
    size_t len;
} seeds[] = {
#define SEED(text)                                                                                 \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }
    SEED("\x00\x05hello"),
    SEED("\x00\xc0\x85"),
    SEED("\x00\xc3\x09\x40\x64\x01\x61\x61\xe0\x50\x00\x01\x61\x61"),
    SEED("\x01\x03\x01\x61\xc1\x00\x01\x02\x62\x63"),
    SEED("\x02\x02\x01\x61\x01\x62"),
    SEED("\x04\x01\x01\x66\x01\x76"),
    SEED(
        "\x05\x02\x01\x61\x00\x00\x00\x00\x00\x00\xf0\x3f\x01\x62\x00\x00\x00\x00\x00\x00\x00\x40"),
    SEED("\x03\x02\x01\x61\x01\x31\x01\x62\xfe"),
    /* listpack: "a" 1 300 "b" -5 */
    SEED("\x10\x12\x12\x00\x00\x00\x04\x00\x81\x61\x02\x01\x01\x81\x62\x02\xc1\x2c\x02\xff"),
    SEED("\x11\x11\x11\x00\x00\x00\x04\x00\x81\x61\x02\x01\x01\x81\x62\x02\x02\x01\xff"),
    SEED("\x14\x0d\x0d\x00\x00\x00\x03\x00\x81\x61\x02\x81\x62\x02\xff"),
    SEED("\x12\x02\x02\x0d\x0d\x00\x00\x00\x03\x00\x81\x61\x02\x81\x62\x02\xff\x01\x03xyz"),
    /* ziplist: "a" 2 */
    SEED("\x0a\x10\x10\x00\x00\x00\x0d\x00\x00\x00\x02\x00\x00\x01\x61\x03\xf3\xff"),
    SEED("\x0d\x10\x10\x00\x00\x00\x0d\x00\x00\x00\x02\x00\x00\x01\x61\x03\xf3\xff"),
    SEED("\x0c\x10\x10\x00\x00\x00\x0d\x00\x00\x00\x02\x00\x00\x01\x61\x03\xf3\xff"),
    SEED("\x0e\x01\x10\x10\x00\x00\x00\x0d\x00\x00\x00\x02\x00\x00\x01\x61\x03\xf3\xff"),
    /* intset and zipmap */
    SEED("\x0b\x0c\x02\x00\x00\x00\x02\x00\x00\x00\x01\x00\x05\x00"),
    SEED("\x09\x07\x01\x01\x61\x01\x00\x62\xff"),
    /* hashes with fields that expire */
    SEED("\x16\x02\x80\x7f\x00\x00\x00\x01\x61\x01\x31\x00\x01\x62\x01\x32"),
    SEED("\x18\x00\xd8\xc3\x2c\xbb\x03\x00\x00\x03\x01\x01\x61\x01\x31\x00\x01\x62\x01\x32\x49\x00"
         "\x01\x63\x01\x33"),
    SEED("\x19\x1d\x0b\xfd\xfb\xa1\x01\x00\x00\x1d\x1d\x00\x00\x00\x06\x00\x81\x61\x02\x01\x01\xf4"
         "\x1d\x0b\xfd\xfb\xa1\x01\x00\x00\x09\x81\x62\x02\x02\x01\x00\x01\xff"),
    /* streams: two entries and a deleted one; and with a group that has entries pending */
    SEED("\x0f\x01\x10\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x01\x33\x33\x00"
         "\x00\x00"
         "\x16\x00\x02\x01\x01\x01\x01\x01\x07\x01\x00\x01\x02\x01\x00\x01\x00\x01\x2a\x01\x04\x01"
         "\x03\x01"
         "\x01\x01\x00\x01\x2b\x01\x04\x01\x00\x01\x02\x01\x00\x01\x01\x01\x08\x01\x2c\x01\x06\x01"
         "\xff"
         "\x02\x09\x00\x00"),
    SEED("\x13\x01\x10\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x00\x3d"
         "\x3d\x00\x00\x00\x18\x00\x02\x01\x01\x01\x01\x01\x81\x61\x02\x00\x01\x02\x01\x00"
         "\x01\x00\x01\x01\x01\x04\x01\x03\x01\x01\x01\x01\x01\x81\x78\x02\x04\x01\x00\x01"
         "\x02\x01\x02\x01\x02\x01\x81\x62\x02\xc1\x2c\x02\x81\x61\x02\xdf\xfb\x02\x08\x01"
         "\xff\x02\x07\x02\x05\x00\x06\x01\x03\x01\x01\x67\x07\x02\x03\x03\x00\x00\x00\x00"
         "\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x00\xf3\x8a\xda\xfe\xa1\x01\x00\x00"
         "\x01\x00\x00\x00\x00\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x01\xf3\x8a\xda"
         "\xfe\xa1\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00"
         "\x00\x02\xf3\x8a\xda\xfe\xa1\x01\x00\x00\x01\x02\x01\x63\xf3\x8a\xda\xfe\xa1\x01"
         "\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00"
         "\x00\x00\x00\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x01\x01\x64\xf3\x8a\xda"
         "\xfe\xa1\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00"
         "\x00\x02"),
#undef SEED
};

static void make_input(struct buf *out, struct rng *rng)
{
    size_t seed = (size_t)rng_below(rng, sizeof(seeds) / sizeof(seeds[0]));
    buf_clear(out);
    buf_append_byte(out, (char)rng_next(rng));
    buf_append(out, slice_of(seeds[seed].bytes, seeds[seed].len));
    for (uint64_t i = rng_below(rng, DAMAGES_MAX + 1); i > 0; i--) {
        size_t at = 1 + (size_t)rng_below(rng, out->len - 1);
        switch (rng_below(rng, 4)) {
        case 0:
            out->data[at] = (char)rng_next(rng);
            break;
        case 1:
            out->data[at] = (char)(out->data[at] + (rng_below(rng, 2) == 0 ? 1 : -1));
            break;
        case 2:
            buf_append(out, slice_of(seeds[seed].bytes, rng_below(rng, seeds[seed].len)));
            break;
        default:
            out->len = out->len > 2 ? 2 + (size_t)rng_below(rng, out->len - 2) : out->len;
            break;
        }
    }
}

int main(int argc, char **argv)
{
    return fuzz_standalone(argc, argv, 20000, make_input);
}

#endif
