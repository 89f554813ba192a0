/* Replies of every type in both protocols, and the chain they are kept in. */
#include "resp/reply.h"

#include <math.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/rng.h"
#include "tests/unit/test.h"

/* Sends everything, at most `step` bytes at a time, into `sent`. */
static void drain(struct reply *out, struct buf *sent, size_t step)
{
    struct iovec parts[3];
    while (!reply_is_empty(out)) {
        size_t total, left = step;
        unsigned count = reply_peek(out, parts, 3, &total);
        for (unsigned i = 0; i < count && left > 0; i++) {
            size_t len = parts[i].iov_len < left ? parts[i].iov_len : left;
            buf_append(sent, slice_of(parts[i].iov_base, len));
            left -= len;
        }
        reply_sent(out, step - left);
        reply_check(out);
    }
}

/* True when what is queued is `expected`; drops it. */
static bool holds(struct reply *out, const char *expected)
{
    struct buf sent;
    buf_init(&sent);
    reply_check(out);
    bool is_equal = reply_len(out) == strlen(expected);
    drain(out, &sent, 7);
    is_equal = is_equal && slice_equal(buf_slice(&sent), slice_from_text(expected));
    if (!is_equal) {
        fprintf(stderr, "got %.*s, expected %s\n", (int)sent.len, sent.data, expected);
    }
    buf_deinit(&sent);
    return is_equal && out->at == NULL && out->end == NULL && out->memory == 0;
}

struct fixture {
    struct reply_pool pool;
    struct reply out;
};

static void setup(struct fixture *f, uint8_t protocol)
{
    reply_pool_init(&f->pool);
    reply_init(&f->out, &f->pool);
    f->out.protocol = protocol;
}

static void teardown(struct fixture *f)
{
    reply_deinit(&f->out);
    reply_check(&f->out);
    reply_pool_deinit(&f->pool);
}

TEST(resp, resp2_forms)
{
    struct fixture f;
    setup(&f, 2);
    reply_ok(&f.out);
    CHECK(holds(&f.out, "+OK\r\n"));
    reply_status(&f.out, "QUEUED");
    CHECK(holds(&f.out, "+QUEUED\r\n"));
    reply_integer(&f.out, -5);
    reply_integer(&f.out, 9);
    reply_integer(&f.out, 10);
    reply_integer(&f.out, INT64_MIN);
    CHECK(holds(&f.out, ":-5\r\n:9\r\n:10\r\n:-9223372036854775808\r\n"));
    reply_null(&f.out);
    reply_null_array(&f.out);
    CHECK(holds(&f.out, "$-1\r\n*-1\r\n"));
    reply_array(&f.out, 3);
    reply_map(&f.out, 3);
    reply_set(&f.out, 3);
    reply_push(&f.out, 3);
    CHECK(holds(&f.out, "*3\r\n*6\r\n*3\r\n*3\r\n"));
    reply_double(&f.out, 1.5);
    reply_double(&f.out, INFINITY);
    CHECK(holds(&f.out, "$3\r\n1.5\r\n$3\r\ninf\r\n"));
    reply_bool(&f.out, true);
    reply_bool(&f.out, false);
    CHECK(holds(&f.out, ":1\r\n:0\r\n"));
    reply_big_number(&f.out, slice_from_text("123"));
    reply_verbatim(&f.out, "txt", slice_from_text("Some string"));
    CHECK(holds(&f.out, "$3\r\n123\r\n$11\r\nSome string\r\n"));
    teardown(&f);
}

TEST(resp, resp3_forms)
{
    struct fixture f;
    setup(&f, 3);
    reply_null(&f.out);
    reply_null_array(&f.out);
    CHECK(holds(&f.out, "_\r\n_\r\n"));
    reply_array(&f.out, 3);
    reply_map(&f.out, 3);
    reply_set(&f.out, 3);
    reply_push(&f.out, 3);
    reply_attribute(&f.out, 1);
    CHECK(holds(&f.out, "*3\r\n%3\r\n~3\r\n>3\r\n|1\r\n"));
    reply_double(&f.out, 1.5);
    reply_double(&f.out, -INFINITY);
    CHECK(holds(&f.out, ",1.5\r\n,-inf\r\n"));
    reply_bool(&f.out, true);
    reply_bool(&f.out, false);
    CHECK(holds(&f.out, "#t\r\n#f\r\n"));
    reply_big_number(&f.out, slice_from_text("123"));
    reply_verbatim(&f.out, "txt", slice_from_text("Some string"));
    CHECK(holds(&f.out, "(123\r\n=15\r\ntxt:Some string\r\n"));
    teardown(&f);
}

TEST(resp, bulks_of_every_length)
{
    struct fixture f;
    setup(&f, 2);
    char bytes[1200];
    memset(bytes, 'b', sizeof bytes);
    for (size_t len = 0; len <= sizeof bytes; len += len < 120 ? 1 : 97) {
        struct buf expected;
        buf_init(&expected);
        buf_printf(&expected, "$%zu\r\n%.*s\r\n", len, (int)len, bytes);
        buf_append_byte(&expected, '\0');
        reply_bulk(&f.out, slice_of(bytes, len));
        CHECK(holds(&f.out, expected.data));
        buf_deinit(&expected);
    }
    reply_bulk(&f.out, slice_of(NULL, 0));
    reply_bulk_text(&f.out, "hi");
    reply_bulk_integer(&f.out, -42);
    CHECK(holds(&f.out, "$0\r\n\r\n$2\r\nhi\r\n$3\r\n-42\r\n"));
    teardown(&f);
}

TEST(resp, errors_are_one_line_and_counted)
{
    struct fixture f;
    setup(&f, 2);
    reply_error(&f.out, "ERR syntax error");
    CHECK(strcmp(f.out.error_code, "ERR") == 0 && f.out.error_count == 1);
    reply_errorf(&f.out, "WRONGTYPE got '%s'", "a\r\nb\n");
    CHECK(strcmp(f.out.error_code, "WRONGTYPE") == 0 && f.out.error_count == 2);
    reply_error(&f.out, "AVERYLONGCODETHATDOESNOTFITANYWHERE here\r\n");
    CHECK(strcmp(f.out.error_code, "AVERYLONGCODETHATDOESNO") == 0);
    reply_error(&f.out, "WORD\r\n");
    CHECK(strcmp(f.out.error_code, "ERR") == 0);
    reply_status(&f.out, "a\nb");
    CHECK(holds(&f.out, "-ERR syntax error\r\n-WRONGTYPE got 'a  b '\r\n"
                        "-AVERYLONGCODETHATDOESNOTFITANYWHERE here\r\n-WORD\r\n+a b\r\n"));
    teardown(&f);
}

TEST(resp, formatted_errors_have_a_longest_length)
{
    struct fixture f;
    setup(&f, 2);
    reply_errorf(&f.out, "ERR %*d", 3 * REPLY_ERROR_LEN_MAX, 1);
    CHECK(reply_len(&f.out) == REPLY_ERROR_LEN_MAX + 3);
    teardown(&f);
}

TEST(resp, muted_replies_are_dropped_but_errors_count)
{
    struct fixture f;
    struct blob *blob = blob_try_new(BLOB_LEN_MIN);
    blob->len = BLOB_LEN_MIN;
    setup(&f, 2);
    reply_ok(&f.out);
    f.out.is_muted = true;
    reply_ok(&f.out);
    reply_integer(&f.out, 1);
    reply_integer(&f.out, 1000);
    reply_null(&f.out);
    reply_bulk_text(&f.out, "x");
    reply_bulk_blob(&f.out, blob, 0, BLOB_LEN_MIN);
    reply_error(&f.out, "ERR no");
    struct reply_mark mark;
    reply_begin(&f.out, &mark, '*');
    reply_ok(&f.out);
    reply_end(&f.out, &mark, 1);
    CHECK(f.out.error_count == 1 && strcmp(f.out.error_code, "ERR") == 0);
    f.out.is_muted = false;
    CHECK(holds(&f.out, "+OK\r\n"));
    CHECK(blob->refs == 1);
    blob_drop(blob);
    teardown(&f);
}

TEST(resp, blobs_are_referenced_until_sent)
{
    struct fixture f;
    setup(&f, 2);
    struct blob *blob = blob_try_new(BLOB_LEN_MIN + 10);
    blob->len = BLOB_LEN_MIN + 10;
    memset(blob->bytes, 'v', blob->len);
    reply_ok(&f.out);
    reply_bulk_blob(&f.out, blob, 0, blob->len);
    reply_bulk_blob(&f.out, blob, 5, BLOB_LEN_MIN);
    reply_bulk_blob(&f.out, blob, 1, 3);
    reply_check(&f.out);
    CHECK(blob->refs == 3);
    struct iovec parts[8];
    size_t total;
    CHECK(reply_peek(&f.out, parts, 8, &total) == 5 && total == reply_len(&f.out));
    CHECK(parts[1].iov_base == blob->bytes && parts[3].iov_base == blob->bytes + 5);
    CHECK(reply_peek(&f.out, parts, 2, &total) == 2);
    reply_sent(&f.out, total);
    CHECK(blob->refs == 2);
    reply_sent(&f.out, reply_len(&f.out) - 1);
    CHECK(blob->refs == 1 && !reply_is_empty(&f.out));
    reply_sent(&f.out, 1);
    CHECK(reply_is_empty(&f.out) && f.out.memory == 0);
    reply_bulk_blob(&f.out, blob, 0, blob->len);
    reply_deinit(&f.out);
    CHECK(blob->refs == 1);
    blob_drop(blob);
    teardown(&f);
}

TEST(resp, writing_goes_on_behind_bytes_being_sent)
{
    struct fixture f;
    struct iovec parts[4], again[4];
    size_t total, total_again;
    setup(&f, 2);
    reply_ok(&f.out);
    CHECK(reply_peek(&f.out, parts, 4, &total) == 1 && total == 5);
    reply_bulk_text(&f.out, "later");
    CHECK(memcmp(parts[0].iov_base, "+OK\r\n", 5) == 0);
    reply_sent(&f.out, total);
    CHECK(reply_peek(&f.out, again, 4, &total_again) == 1);
    CHECK(again[0].iov_base == (char *)parts[0].iov_base + 5);
    CHECK(holds(&f.out, "$5\r\nlater\r\n"));
    CHECK(f.pool.free_count == 1);
    teardown(&f);
}

TEST(resp, pool_keeps_a_bounded_number_of_chunks)
{
    struct fixture f;
    setup(&f, 2);
    f.pool.free_max = 2;
    char bytes[REPLY_CHUNK_LEN];
    memset(bytes, 'c', sizeof bytes);
    for (int i = 0; i < 5; i++) {
        reply_bulk(&f.out, slice_of(bytes, sizeof bytes));
    }
    CHECK(f.out.memory >= reply_len(&f.out));
    reply_sent(&f.out, reply_len(&f.out));
    CHECK(f.pool.free_count == 2 && reply_is_empty(&f.out));
    teardown(&f);
}

TEST(resp, aggregates_get_their_count_at_their_end)
{
    struct fixture f;
    struct reply_mark outer, inner;
    setup(&f, 2);
    reply_ok(&f.out);
    reply_begin(&f.out, &outer, '*');
    reply_integer(&f.out, 1);
    reply_begin(&f.out, &inner, '%');
    reply_bulk_text(&f.out, "k");
    reply_error(&f.out, "ERR inside");
    reply_end(&f.out, &inner, 1);
    reply_begin(&f.out, &inner, '~');
    reply_end(&f.out, &inner, 0);
    reply_end(&f.out, &outer, 3);
    reply_integer(&f.out, 2);
    CHECK(f.out.error_count == 1 && strcmp(f.out.error_code, "ERR") == 0);
    CHECK(holds(&f.out, "+OK\r\n*3\r\n:1\r\n*2\r\n$1\r\nk\r\n-ERR inside\r\n*0\r\n:2\r\n"));
    f.out.protocol = 3;
    reply_begin(&f.out, &inner, '%');
    reply_ok(&f.out);
    reply_ok(&f.out);
    reply_end(&f.out, &inner, 1);
    CHECK(holds(&f.out, "%1\r\n+OK\r\n+OK\r\n"));
    teardown(&f);
}

TEST(resp, splice_moves_everything)
{
    struct fixture f;
    struct reply from;
    setup(&f, 2);
    reply_init(&from, &f.pool);
    reply_splice(&f.out, &from);
    CHECK(reply_is_empty(&f.out));
    reply_ok(&from);
    reply_splice(&f.out, &from);
    CHECK(reply_is_empty(&from) && from.memory == 0);
    reply_integer(&from, 12);
    reply_splice(&f.out, &from);
    CHECK(holds(&f.out, "+OK\r\n:12\r\n"));
    reply_deinit(&from);
    teardown(&f);
}

/* One random write to `out` and the same to `twin`. */
static void write_random(struct reply *out, struct buf *twin, struct rng *rng, struct blob *blob)
{
    static char text[2 * REPLY_CHUNK_LEN];
    size_t len = rng_below(rng, rng_below(rng, 4) == 0 ? sizeof text : 40);
    memset(text, (int)('a' + rng_below(rng, 26)), len);
    switch (rng_below(rng, 4)) {
    case 0:
        reply_ok(out);
        buf_append_text(twin, "+OK\r\n");
        break;
    case 1:
        reply_bulk_blob(out, blob, 1, blob->len - 1);
        buf_printf(twin, "$%zu\r\n", blob->len - 1);
        buf_append(twin, slice_of(blob->bytes + 1, blob->len - 1));
        buf_append_text(twin, "\r\n");
        break;
    default:
        reply_bulk(out, slice_of(text, len));
        buf_printf(twin, "$%zu\r\n", len);
        buf_append(twin, slice_of(text, len));
        buf_append_text(twin, "\r\n");
        break;
    }
}

TEST(resp, random_writes_sends_and_splices_agree_with_a_flat_twin)
{
    struct fixture f;
    struct buf twin, sent;
    struct rng rng;
    struct blob *blob = blob_try_new(BLOB_LEN_MIN + 1);
    setup(&f, 2);
    buf_init(&twin);
    buf_init(&sent);
    rng_seed(&rng, test_seed());
    blob->len = BLOB_LEN_MIN + 1;
    memset(blob->bytes, 'B', blob->len);
    for (int i = 0; i < 500; i++) {
        struct reply from;
        reply_init(&from, &f.pool);
        bool is_spliced = rng_below(&rng, 3) == 0;
        write_random(is_spliced ? &from : &f.out, &twin, &rng, blob);
        reply_splice(&f.out, &from);
        reply_check(&f.out);
        if (rng_below(&rng, 3) == 0) {
            struct iovec part;
            size_t total;
            CHECK(reply_peek(&f.out, &part, 1, &total) == 1);
            size_t len = 1 + rng_below(&rng, total);
            buf_append(&sent, slice_of(part.iov_base, len));
            reply_sent(&f.out, len);
            reply_check(&f.out);
        }
        CHECK(sent.len + reply_len(&f.out) == twin.len);
    }
    drain(&f.out, &sent, 1000);
    CHECK(slice_equal(buf_slice(&sent), buf_slice(&twin)));
    CHECK(blob->refs == 1);
    blob_drop(blob);
    buf_deinit(&twin);
    buf_deinit(&sent);
    teardown(&f);
}
