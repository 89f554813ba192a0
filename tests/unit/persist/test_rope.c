/* Ropes: what goes in comes out, in order and in runs that keep texts whole; and what they cost. */
#include "base/buf.h"
#include "base/mem.h"
#include "base/rng.h"
#include "persist/rope.h"
#include "tests/unit/test.h"

enum { PIECE_MAX = 70000 };

static void fill_text(struct rng *rng, struct buf *text, size_t len)
{
    text->len = 0;
    char *at = buf_reserve(text, len + 1);
    for (size_t i = 0; i < len; i++) {
        at[i] = (char)('a' + rng_below(rng, 26));
    }
    text->len = len;
}

/* What a reader of the rope sees: bytes as they are, texts in brackets. */
static void read_rope(struct rope *rope, struct buf *story)
{
    struct rope_sheet *sheet;
    while ((sheet = rope_take(rope)) != NULL) {
        struct rope_run run;
        for (size_t at = 0; rope_sheet_next(sheet, &at, &run);) {
            buf_append_text(story, run.is_text ? "[" : "");
            buf_append(story, run.bytes);
            buf_append_text(story, run.is_text ? "]" : "");
        }
        rope_sheet_free(sheet);
    }
    CHECK(rope->bytes == 0 && rope->memory == 0 && rope_is_empty(rope));
}

/* Adds something drawn, and the same to the story. Mostly short, at times long. */
static void add_drawn(struct rng *rng, struct rope *rope, struct buf *text, struct buf *story)
{
    size_t draw = rng_below(rng, 40);
    size_t max = draw == 0 ? PIECE_MAX : draw < 6 ? 2000 : 40;
    bool is_text = rng_below(rng, 2) == 0;
    fill_text(rng, text, 1 + (size_t)rng_below(rng, max));
    if (is_text) {
        buf_append_text(story, "[");
        rope_add_text(rope, buf_slice(text));
    } else {
        rope_add_bytes(rope, buf_slice(text));
    }
    buf_append(story, buf_slice(text));
    buf_append_text(story, is_text ? "]" : "");
}

TEST(rope, gives_back_what_was_added)
{
    struct rng rng;
    struct buf text, wanted, found;
    buf_init(&text);
    rng_seed(&rng, test_seed());
    for (unsigned round = 0; round < 40; round++) {
        struct rope rope;
        buf_init(&wanted);
        buf_init(&found);
        rope_init(&rope);
        for (size_t count = rng_below(&rng, 300); count > 0; count--) {
            add_drawn(&rng, &rope, &text, &wanted);
        }
        read_rope(&rope, &found);
        CHECK(slice_equal(buf_slice(&wanted), buf_slice(&found)));
        buf_deinit(&wanted);
        buf_deinit(&found);
        rope_deinit(&rope);
    }
    buf_deinit(&text);
}

TEST(rope, is_moved_whole_to_the_end_of_another)
{
    struct rng rng;
    struct buf text, wanted, found, later;
    struct rope ropes[2];
    rng_seed(&rng, test_seed());
    buf_init(&text);
    buf_init(&wanted);
    buf_init(&found);
    buf_init(&later);
    rope_init(&ropes[0]);
    rope_init(&ropes[1]);
    for (unsigned round = 0; round < 60; round++) {
        for (size_t count = rng_below(&rng, 6); count > 0; count--) {
            add_drawn(&rng, &ropes[0], &text, &wanted);
        }
        for (size_t count = rng_below(&rng, 6); count > 0; count--) {
            add_drawn(&rng, &ropes[1], &text, &later);
        }
        size_t bytes = ropes[0].bytes + ropes[1].bytes;
        rope_move(&ropes[0], &ropes[1]);
        CHECK(rope_is_empty(&ropes[1]) && ropes[1].memory == 0);
        CHECK(ropes[0].bytes == bytes);
        buf_append(&wanted, buf_slice(&later));
        later.len = 0;
    }
    read_rope(&ropes[0], &found);
    CHECK(slice_equal(buf_slice(&wanted), buf_slice(&found)));
    buf_deinit(&text);
    buf_deinit(&wanted);
    buf_deinit(&found);
    buf_deinit(&later);
    rope_deinit(&ropes[0]);
    rope_deinit(&ropes[1]);
}

/* The sink is what values are written to. */
TEST(rope, refers_to_blobs_and_copies_short_texts)
{
    struct rope rope;
    struct blob *blob = blob_try_new(BLOB_LEN_MIN);
    memset(blob->bytes, 'b', BLOB_LEN_MIN);
    blob->len = BLOB_LEN_MIN;
    rope_init(&rope);
    rope.sink.text(&rope.sink, blob_slice(blob), blob);
    CHECK(blob->refs == 2 && rope.bytes == BLOB_LEN_MIN);
    CHECK(rope.memory < 1000);
    rope.sink.text(&rope.sink, slice_from_text("a text that is short enough"), NULL);
    rope.sink.bytes(&rope.sink, slice_from_text("bytes"));
    struct rope_sheet *sheet = rope_take(&rope);
    struct rope_run run;
    size_t at = 0;
    CHECK(rope_sheet_next(sheet, &at, &run) && run.is_text);
    CHECK(run.bytes.data == blob->bytes && run.bytes.len == BLOB_LEN_MIN);
    CHECK(!rope_sheet_next(sheet, &at, &run));
    rope_sheet_free(sheet);
    CHECK(blob->refs == 1);
    rope_deinit(&rope);
    blob_drop(blob);
}

TEST(rope, takes_little_for_a_few_bytes)
{
    struct rope rope;
    rope_init(&rope);
    CHECK(rope.memory == 0);
    rope_add_bytes(&rope, slice_from_text("a head"));
    CHECK(rope.memory <= 1200);
    rope_deinit(&rope);
}

TEST(rope, loses_the_rest_when_memory_does_not_suffice)
{
    for (unsigned nth = 1; nth <= 4; nth++) {
        struct rope rope, other;
        struct rng rng;
        struct buf text;
        buf_init(&text);
        rng_seed(&rng, test_seed());
        rope_init(&rope);
        rope_init(&other);
        fill_text(&rng, &text, 3000);
        mem_fail_after(nth);
        for (unsigned i = 0; i < 40; i++) {
            rope_add_text(&rope, buf_slice(&text));
            rope_add_bytes(&rope, buf_slice(&text));
        }
        mem_fail_after(0);
        CHECK(rope.is_failed);
        size_t bytes = rope.bytes;
        rope_add_bytes(&rope, slice_from_text("and more"));
        rope_add_text(&rope, slice_from_text("and more, of more than twenty bytes"));
        CHECK(rope.bytes <= bytes + 8);
        rope_move(&other, &rope);
        CHECK(other.is_failed);
        rope_deinit(&rope);
        rope_deinit(&other);
        buf_deinit(&text);
    }
}
