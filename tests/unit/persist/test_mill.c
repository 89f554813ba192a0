/* The mill: whatever it is fed, the blocks are the bytes of a file: plain bytes as they are, texts
 * with their length and perhaps packed, and the checksum of all before at the end. */
#include <sched.h>

#include "base/buf.h"
#include "base/crc.h"
#include "base/rng.h"
#include "persist/mill.h"
#include "persist/rdb_format.h"
#include "tests/unit/test.h"

/* What was fed, in order: plain bytes are single bytes here, so that reading needs no lengths. */
struct fed {
    struct buf bytes; /* Of all pieces, one behind the other. */
    struct buf lens;  /* size_t of each; 0: one plain byte. */
};

static void fed_init(struct fed *fed)
{
    buf_init(&fed->bytes);
    buf_init(&fed->lens);
}

static void fed_deinit(struct fed *fed)
{
    buf_deinit(&fed->bytes);
    buf_deinit(&fed->lens);
}

static void feed_byte(struct fed *fed, struct rope *rope, char byte)
{
    size_t none = 0;
    rope_add_bytes(rope, slice_of(&byte, 1));
    buf_append_byte(&fed->bytes, byte);
    buf_append(&fed->lens, slice_of(&none, sizeof(none)));
}

static void feed_text(struct fed *fed, struct rope *rope, struct slice text)
{
    rope_add_text(rope, text);
    buf_append(&fed->bytes, text);
    buf_append(&fed->lens, slice_of(&text.len, sizeof(text.len)));
}

/* Texts that can be packed and texts that cannot. */
static void feed_drawn(struct fed *fed, struct rope *rope, struct rng *rng)
{
    struct buf text;
    size_t draw = rng_below(rng, 50);
    if (draw < 25) {
        feed_byte(fed, rope, (char)rng_below(rng, 256));
        return;
    }
    size_t len = CODEC_TEXT_SHORT_MAX + 1 + rng_below(rng, draw < 48 ? 100 : 60000);
    size_t letters = rng_below(rng, 2) == 0 ? 2 : 256;
    buf_init(&text);
    char *at = buf_reserve(&text, len);
    for (size_t i = 0; i < len; i++) {
        at[i] = (char)rng_below(rng, letters);
    }
    feed_text(fed, rope, slice_of(at, len));
    buf_deinit(&text);
}

/* Takes blocks until the last has come. */
static void take_all(struct mill *mill, struct buf *file)
{
    for (bool is_last = false; !is_last;) {
        struct mill_block *block = mill_take(mill);
        if (block == NULL) {
            sched_yield();
            continue;
        }
        CHECK(block->blob->len > 0 && block->blob->len <= MILL_BLOCK_LEN);
        CHECK(block->is_last || block->blob->len == MILL_BLOCK_LEN ||
              MILL_BLOCK_LEN - block->blob->len < RDB_CRC_LEN);
        buf_append(file, blob_slice(block->blob));
        is_last = block->is_last;
        mill_give_back(mill, block);
    }
    CHECK(mill_take(mill) == NULL);
}

static size_t check_file(const struct fed *fed, const struct buf *file, bool has_checksum)
{
    size_t packed = 0;
    struct codec_reader reader = {.at = file->data, .end = file->data + file->len - RDB_CRC_LEN};
    const char *piece = fed->bytes.data;
    for (size_t i = 0; i < fed->lens.len; i += sizeof(size_t)) {
        size_t len;
        memcpy(&len, fed->lens.data + i, sizeof(len));
        if (len == 0) {
            CHECK(reader.at < reader.end && *reader.at++ == *piece++);
            continue;
        }
        struct codec_text text;
        CHECK(reader.at < reader.end);
        packed += (unsigned char)*reader.at == 0xc3;
        CHECK(codec_read_text(&reader, &text) == CODEC_OK);
        CHECK(slice_equal(text.text, slice_of(piece, len)));
        codec_text_deinit(&text);
        piece += len;
    }
    CHECK(reader.at == reader.end);
    uint64_t sum = crc64(0, slice_of(file->data, file->len - RDB_CRC_LEN));
    sum = has_checksum ? sum : 0;
    CHECK(memcmp(reader.end, &sum, sizeof(sum)) == 0);
    return packed;
}

static void run(struct rng *rng, const struct mill_options *options)
{
    struct mill *mill = mill_new(options);
    struct fed fed;
    struct buf file;
    struct rope rope;
    CHECK(mill != NULL);
    buf_init(&file);
    fed_init(&fed);
    rope_init(&rope);
    for (size_t feeds = rng_below(rng, 30); feeds > 0; feeds--) {
        for (size_t count = rng_below(rng, 30); count > 0; count--) {
            feed_drawn(&fed, &rope, rng);
        }
        mill_feed(mill, &rope);
        CHECK(rope_is_empty(&rope));
        struct mill_block *block = mill_take(mill);
        if (block != NULL) {
            buf_append(&file, blob_slice(block->blob));
            mill_give_back(mill, block);
        }
    }
    mill_finish(mill);
    take_all(mill, &file);
    CHECK(mill_backlog(mill) == 0);
    size_t packed = check_file(&fed, &file, options->has_checksum);
    CHECK(options->has_packing || packed == 0);
    mill_free(mill);
    rope_deinit(&rope);
    fed_deinit(&fed);
    buf_deinit(&file);
}

TEST(mill, makes_the_bytes_of_a_file_of_what_it_is_fed)
{
    struct rng rng;
    rng_seed(&rng, test_seed());
    for (unsigned round = 0; round < 48; round++) {
        const struct mill_options options = {.is_threaded = round % 2 != 0,
                                             .has_packing = round % 4 < 2,
                                             .has_checksum = round % 8 < 4};
        run(&rng, &options);
    }
}

/* Wherever the last block ends, the checksum of eight bytes follows whole. */
TEST(mill, puts_the_checksum_behind_blocks_of_any_length)
{
    for (size_t more = 0; more < 24; more++) {
        struct mill *mill = mill_new(&(struct mill_options){.has_checksum = true});
        struct fed fed;
        struct buf file;
        struct rope rope;
        buf_init(&file);
        fed_init(&fed);
        rope_init(&rope);
        for (size_t len = MILL_BLOCK_LEN - 12 + more; len > 0; len--) {
            feed_byte(&fed, &rope, (char)len);
        }
        mill_feed(mill, &rope);
        mill_finish(mill);
        take_all(mill, &file);
        check_file(&fed, &file, true);
        mill_free(mill);
        rope_deinit(&rope);
        fed_deinit(&fed);
        buf_deinit(&file);
    }
}

TEST(mill, packs_a_text_only_where_that_saves_four_bytes)
{
    struct rng rng;
    rng_seed(&rng, test_seed());
    for (size_t random = 0; random < 40; random++) {
        struct mill *mill = mill_new(&(struct mill_options){.has_packing = true});
        struct fed fed;
        struct buf file;
        struct rope rope;
        char text[40];
        memset(text, 'x', sizeof(text));
        for (size_t i = 0; i < random; i++) {
            text[i] = (char)rng_below(&rng, 256);
        }
        buf_init(&file);
        fed_init(&fed);
        rope_init(&rope);
        feed_text(&fed, &rope, slice_of(text, sizeof(text)));
        mill_feed(mill, &rope);
        mill_finish(mill);
        take_all(mill, &file);
        size_t packed = check_file(&fed, &file, false);
        CHECK(random > 0 || packed == 1);
        CHECK(random < 39 || packed == 0);
        CHECK(packed == 0 || file.len - RDB_CRC_LEN <= sizeof(text) - 4 + 3);
        mill_free(mill);
        rope_deinit(&rope);
        fed_deinit(&fed);
        buf_deinit(&file);
    }
}

/* Its owner may be slow: then it waits, with few blocks. */
TEST(mill, makes_no_more_blocks_than_may_wait)
{
    struct mill *mill = mill_new(&(struct mill_options){.is_threaded = true});
    struct mill_block *taken[MILL_BLOCKS_MAX + 1];
    struct rope rope;
    struct buf bytes;
    unsigned count = 0;
    buf_init(&bytes);
    rope_init(&rope);
    memset(buf_reserve(&bytes, MILL_BLOCK_LEN), 'b', MILL_BLOCK_LEN);
    bytes.len = MILL_BLOCK_LEN;
    for (unsigned i = 0; i < MILL_BLOCKS_MAX * 2; i++) {
        rope_add_bytes(&rope, buf_slice(&bytes));
        mill_feed(mill, &rope);
    }
    while (count < MILL_BLOCKS_MAX) {
        taken[count] = mill_take(mill);
        count += taken[count] != NULL;
        sched_yield();
    }
    for (unsigned i = 0; i < 1000; i++) {
        CHECK(mill_take(mill) == NULL);
        sched_yield();
    }
    CHECK(mill_backlog(mill) > 0);
    for (unsigned i = 0; i < count; i++) {
        mill_give_back(mill, taken[i]);
    }
    while (mill_backlog(mill) > 0) {
        struct mill_block *block = mill_take(mill);
        if (block != NULL) {
            mill_give_back(mill, block);
        }
        sched_yield();
    }
    mill_free(mill);
    rope_deinit(&rope);
    buf_deinit(&bytes);
}

TEST(mill, can_be_stopped_whatever_it_is_doing)
{
    struct rng rng;
    rng_seed(&rng, test_seed());
    for (unsigned round = 0; round < 60; round++) {
        const struct mill_options options = {
            .is_threaded = true, .has_packing = true, .has_checksum = true};
        struct mill *mill = mill_new(&options);
        struct fed fed;
        struct rope rope;
        fed_init(&fed);
        rope_init(&rope);
        for (size_t count = rng_below(&rng, 40); count > 0; count--) {
            feed_drawn(&fed, &rope, &rng);
            mill_feed(mill, &rope);
        }
        if (rng_below(&rng, 2) == 0) {
            mill_finish(mill);
        }
        for (size_t looks = rng_below(&rng, 50); looks > 0; looks--) {
            mill_backlog(mill);
        }
        mill_free(mill);
        rope_deinit(&rope);
        fed_deinit(&fed);
    }
}
