/* Fuzzes the request parser: the outcome must depend on the bytes alone, not on how they arrive.
 *
 * An input is parsed in one piece and again in random pieces, once with large bulks received into
 * blobs and once with them kept in the input; the traces must be equal. With -DFUZZ_STANDALONE the
 * program makes its own inputs: `fuzz_resp [count] [seed]`. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/resp/feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run_pieces(struct feed *feed, struct slice bytes, bool is_authenticated,
                       struct rng *rng)
{
    feed_init(feed, is_authenticated);
    if (rng == NULL) {
        feed_bytes(feed, bytes);
    } else {
        feed->refuses_blobs = rng_below(rng, 2) == 0;
        feed_pieces(feed, bytes, (size_t)1 << rng_below(rng, 16), rng);
    }
}

static void check_equal(struct slice bytes, bool is_authenticated, struct rng *rng)
{
    struct feed whole, cut;
    run_pieces(&whole, bytes, is_authenticated, NULL);
    run_pieces(&cut, bytes, is_authenticated, rng);
    if (!slice_equal(buf_slice(&whole.trace), buf_slice(&cut.trace))) {
        fprintf(stderr, "whole: %.*s\ncut:   %.*s\n", (int)whole.trace.len, whole.trace.data,
                (int)cut.trace.len, cut.trace.data);
        abort();
    }
    feed_deinit(&whole);
    feed_deinit(&cut);
}

/* The first two bytes choose the cuts and the limits, so that an input replays by itself. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    struct rng rng;
    rng_seed(&rng, data[0] + 256u * data[1]);
    struct slice bytes = slice_of(data + 2, size - 2);
    for (int round = 0; round < 2; round++) {
        check_equal(bytes, data[1] % 4 != 0, &rng);
    }
    return 0;
}

#ifdef FUZZ_STANDALONE

#include "tests/fuzz/standalone.h"

enum { PIECES_MAX = 6 };

/* Appends a bulk, its length now and then a lie. */
static void append_bulk(struct buf *out, struct rng *rng)
{
    static const size_t lens[] = {
        0, 1, 3, 10, 100, 1000, BLOB_LEN_MIN - 1, BLOB_LEN_MIN, BLOB_LEN_MIN + 500};
    size_t len = lens[rng_below(rng, rng_below(rng, 10) == 0 ? 9 : 6)];
    size_t told = rng_below(rng, 100) == 0 ? len + rng_below(rng, 3) : len;
    buf_printf(out, "$%zu\r\n", told);
    memset(buf_reserve(out, len), (int)('a' + rng_below(rng, 26)), len);
    out->len += len;
    buf_append_text(out, "\r\n");
}

static void append_multibulk(struct buf *out, struct rng *rng)
{
    uint64_t count = rng_below(rng, rng_below(rng, 8) == 0 ? 200 : 6);
    uint64_t told = rng_below(rng, 100) == 0 ? count + 1 : count;
    buf_printf(out, "*%llu\r\n", (unsigned long long)told);
    for (uint64_t i = 0; i < count; i++) {
        append_bulk(out, rng);
    }
}

static void append_odd(struct buf *out, struct rng *rng)
{
    static const char *const odd[] = {
        "*-1\r\n",
        "*0\r\n",
        "*abc\r\n",
        "*1\r$4\r\nPING\r\n",
        "PING\r\n",
        "SET k 'a b'\r\n",
        "GET \"\\x41\"\n",
        "\r\n",
        "'a",
        "POST / HTTP/1.1\r\n",
        "*1\r\n+",
        "*11\r\n",
        "$3\r\n",
        "*2\r\n",
        "*1000\r\n",
        "*1\r\n$16385\r\n",
        "\n",
        "*1\r\n$536870913\r\n",
    };
    buf_append_text(out, odd[rng_below(rng, sizeof odd / sizeof odd[0])]);
    if (rng_below(rng, 200) == 0) {
        size_t len = RESP_INLINE_LEN_MAX - 2 + rng_below(rng, 4);
        memset(buf_reserve(out, len), '1', len);
        out->len += len;
        buf_append_text(out, "\r\n");
    }
}

static void make_input(struct buf *out, struct rng *rng)
{
    buf_clear(out);
    buf_append_byte(out, (char)rng_next(rng));
    buf_append_byte(out, (char)rng_next(rng));
    for (uint64_t pieces = 1 + rng_below(rng, PIECES_MAX); pieces > 0; pieces--) {
        if (rng_below(rng, 4) == 0) {
            append_odd(out, rng);
        } else {
            append_multibulk(out, rng);
        }
    }
    for (uint64_t flips = rng_below(rng, 6) < 4 ? 0 : rng_below(rng, 4); flips > 0; flips--) {
        out->data[rng_below(rng, out->len)] = "\r\n\0$*19x"[rng_below(rng, 8)];
    }
    if (rng_below(rng, 8) == 0) {
        out->len -= rng_below(rng, out->len - 1);
    }
}

int main(int argc, char **argv)
{
    return fuzz_standalone(argc, argv, 500, make_input);
}

#endif
