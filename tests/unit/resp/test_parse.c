/* Requests in every cut: multibulk, inline, large bulks, limits and errors. */
#include "resp/parse.h"

#include "tests/unit/resp/feed.h"
#include "tests/unit/test.h"

enum { SIZES_MAX = 6 };

/* True when `bytes`, fed in pieces of `piece`, come out as `expected`. */
static bool gives_in_pieces(struct slice bytes, bool is_authenticated, size_t piece,
                            const char *expected)
{
    struct feed feed;
    feed_init(&feed, is_authenticated);
    feed_pieces(&feed, bytes, piece, NULL);
    bool is_equal = slice_equal(buf_slice(&feed.trace), slice_from_text(expected));
    if (!is_equal) {
        fprintf(stderr, "pieces of %zu: got %.*s, expected %s\n", piece, (int)feed.trace.len,
                feed.trace.data, expected);
    }
    feed_deinit(&feed);
    return is_equal;
}

/* The same, whole, byte by byte and in between. */
static bool gives_bytes(struct slice bytes, bool is_authenticated, const char *expected)
{
    const size_t sizes[SIZES_MAX] = {bytes.len + 1, 1, 2, 3, 7, 64};
    for (size_t i = 0; i < SIZES_MAX; i++) {
        if (!gives_in_pieces(bytes, is_authenticated, sizes[i], expected)) {
            return false;
        }
    }
    return true;
}

static bool gives(const char *text, const char *expected)
{
    return gives_bytes(slice_from_text(text), true, expected);
}

static bool gives_unauthenticated(const char *text, const char *expected)
{
    return gives_bytes(slice_from_text(text), false, expected);
}

/* `count` times `byte` between two texts, fed whole and in pieces of 997. */
static bool gives_repeated(const char *before, size_t count, char byte, const char *after,
                           const char *expected)
{
    struct buf bytes;
    buf_init(&bytes);
    buf_append_text(&bytes, before);
    memset(buf_reserve(&bytes, count), byte, count);
    bytes.len += count;
    buf_append_text(&bytes, after);
    bool is_equal = gives_in_pieces(buf_slice(&bytes), true, bytes.len, expected) &&
                    gives_in_pieces(buf_slice(&bytes), true, 997, expected);
    buf_deinit(&bytes);
    return is_equal;
}

TEST(resp, command_is_split_into_arguments)
{
    CHECK(gives("*1\r\n$4\r\nPING\r\n", "[PING]"));
    CHECK(gives("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n", "[SET|k|]"));
    CHECK(gives("*1\r\n$0\r\n\r\n", "[]"));
    CHECK(gives("*2\r\n$3\r\na'b\r\n$4\r\na\r\nb\r\n", "[a'b|a\r\nb]"));
    CHECK(gives("*2\r\n$3\r\nGET\r\n$6\r\n%s%n%x\r\n", "[GET|%s%n%x]"));
    CHECK(gives("*1\r\n$12\r\nabcdefghijkl\r\n", "[abcdefghijkl]"));
}

TEST(resp, binary_bytes_are_content)
{
    const char bytes[] = "*2\r\n$5\r\nPING\0\r\n$3\r\n\xff\xfe\x80\r\n";
    struct feed feed;
    feed_init(&feed, true);
    feed_bytes(&feed, slice_of(bytes, sizeof bytes - 1));
    CHECK(slice_equal(buf_slice(&feed.trace), slice_of("[PING\0|\xff\xfe\x80]", 11)));
    feed_deinit(&feed);
}

TEST(resp, pipelined_commands_come_one_by_one)
{
    CHECK(gives("*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n*2\r\n$4\r\nECHO\r\n$2\r\nho\r\n",
                "[ECHO|hi][ECHO|ho]"));
    CHECK(gives("PING\r\n*1\r\n$4\r\nPING\r\nECHO x\n", "[PING][PING][ECHO|x]"));
    CHECK(gives("*1\r\n$4\r\nPING\r\n*x\r\n*1\r\n$4\r\nPING\r\n",
                "[PING]!Protocol error: invalid multibulk length"));
}

TEST(resp, empty_requests_are_commands_without_arguments)
{
    CHECK(gives("\n", "[]"));
    CHECK(gives("\r\n\r\nPING\r\n", "[][][PING]"));
    CHECK(gives("*0\r\n*1\r\n$4\r\nPING\r\n", "[][PING]"));
    CHECK(gives("*-1\r\n", "[]"));
    CHECK(gives("*-2147483649\r\n", "[]"));
    CHECK(gives("   \r\n", "[]"));
}

TEST(resp, bad_count_is_an_error)
{
    static const char *const bad[] = {"*abc\r\n",        "*+1\r\n",
                                      "*1 \r\n",         "*-0\r\n",
                                      "*1.0\r\n",        "*0x1\r\n",
                                      "*2147483648\r\n", "*9223372036854775807\r\n",
                                      "*\r\n",           "*-9223372036854775809\r\n",
                                      "*01\r\n",         "*99999999999999999999\r\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK(gives(bad[i], "!Protocol error: invalid multibulk length"));
    }
    CHECK(gives_bytes(slice_of("*\0\r\n", 4), true, "!Protocol error: invalid multibulk length"));
}

TEST(resp, bad_bulk_length_is_an_error)
{
    static const char *const bad[] = {"",
                                      "-1",
                                      "-2",
                                      "abc",
                                      "+4",
                                      " 4",
                                      "4 ",
                                      "04",
                                      "4.0",
                                      "1e1",
                                      "0x4",
                                      "536870913",
                                      "2147483648",
                                      "4294967300",
                                      "9223372036854775807",
                                      "9223372036854775808",
                                      "-9223372036854775808",
                                      "99999999999999999999",
                                      "\xff"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[64];
        snprintf(text, sizeof text, "*1\r\n$%s\r\n", bad[i]);
        CHECK(gives(text, "!Protocol error: invalid bulk length"));
    }
    CHECK(gives_bytes(slice_of("*1\r\n$\0\r\n", 8), true, "!Protocol error: invalid bulk length"));
}

TEST(resp, large_counts_and_lengths_wait_for_what_they_announce)
{
    CHECK(gives("*1048577\r\n", ""));
    CHECK(gives("*2147483647\r\n", ""));
    CHECK(gives("*1\r\n$536870912\r\n", ""));
}

TEST(resp, other_type_byte_of_a_bulk_is_an_error)
{
    static const char other[] = "P+*_~,=!\xff\"\n\r";
    for (const char *type = other; *type != '\0'; type++) {
        char text[64], expected[64];
        snprintf(text, sizeof text, "*1\r\n%c4\r\nPING\r\n", *type);
        snprintf(expected, sizeof expected, "!Protocol error: expected '$', got '%c'", *type);
        CHECK(gives(text, expected));
    }
    CHECK(gives("*2\r\n*1\r\n$4\r\nPING\r\n", "!Protocol error: expected '$', got '*'"));
}

TEST(resp, any_byte_after_the_carriage_return_ends_a_length_line)
{
    CHECK(gives("*1\rX$4\rYPING\r\n", "[PING]"));
    CHECK(gives("*1\r$4\rPING\r", "!Protocol error: expected '$', got '4'"));
}

TEST(resp, bulk_that_does_not_end_in_crlf_is_an_error)
{
    CHECK(gives("*1\r\n$4\r\nPINGxx", "!Protocol error: invalid bulk length"));
    CHECK(gives("*1\r\n$4\r\nPINGPONG\r\n", "!Protocol error: invalid bulk length"));
    CHECK(gives("*1\r\n$4\r\nPING\r\r", "!Protocol error: invalid bulk length"));
}

TEST(resp, length_that_swallows_the_next_frame_is_obeyed)
{
    CHECK(gives("*2\r\n$4\r\nECHO\r\n$10\r\nab\r\n*1\r\n$4\r\nPING\r\n",
                "[ECHO|ab\r\n*1\r\n$4][PING]"));
}

TEST(resp, every_prefix_of_a_command_is_incomplete)
{
    static const char text[] = "*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n";
    for (size_t len = 0; len < sizeof text - 1; len++) {
        CHECK(gives_bytes(slice_of(text, len), true, ""));
    }
}

TEST(resp, unauthenticated_clients_have_smaller_limits)
{
    CHECK(gives_unauthenticated("*10\r\n", ""));
    CHECK(gives_unauthenticated("*11\r\n", "!Protocol error: unauthenticated multibulk length"));
    CHECK(gives_unauthenticated("*2147483648\r\n", "!Protocol error: invalid multibulk length"));
    CHECK(gives_unauthenticated("*1\r\n$16384\r\n", ""));
    CHECK(
        gives_unauthenticated("*1\r\n$16385\r\n", "!Protocol error: unauthenticated bulk length"));
    CHECK(gives_unauthenticated("*1\r\n$536870913\r\n", "!Protocol error: invalid bulk length"));
    CHECK(gives_unauthenticated("*2\r\n$4\r\nAUTH\r\n$0\r\n\r\n", "[AUTH|]"));
}

TEST(resp, inline_request_is_split_at_spaces)
{
    CHECK(gives("PING\r\n", "[PING]"));
    CHECK(gives("PING\n", "[PING]"));
    CHECK(gives("   PING   \r\n", "[PING]"));
    CHECK(gives("EC\rHO hi\r\n", "[EC|HO|hi]"));
    CHECK(gives("\xff\xfe\x80\r\n", "[\xff\xfe\x80]"));
    CHECK(gives("+1\r\n-1\r\n$3\r\n", "[+1][-1][$3]"));
    CHECK(gives("HELO x\r\nMAIL FROM:<a>\r\n", "[HELO|x][MAIL|FROM:<a>]"));
    CHECK(gives("PING", ""));
}

TEST(resp, inline_request_may_have_quotes)
{
    CHECK(gives("ECHO \"a b\"\r\n", "[ECHO|a b]"));
    CHECK(gives("ECHO 'a\\'b'\r\n", "[ECHO|a'b]"));
    CHECK(gives("''\r\n", "[]"));
    CHECK(gives("SET k \"abc\r\n", "!Protocol error: unbalanced quotes in request"));
    CHECK(gives("ECHO \"a\"b\r\n", "!Protocol error: unbalanced quotes in request"));
    CHECK(gives("\"a\r\nPING\r\n", "!Protocol error: unbalanced quotes in request"));
}

TEST(resp, inline_request_may_have_more_words_than_the_room)
{
    struct buf expected;
    buf_init(&expected);
    buf_append_text(&expected, "[");
    struct buf text;
    buf_init(&text);
    for (int i = 0; i < RESP_ARGS_INLINE + 9; i++) {
        buf_printf(&text, "%d ", i);
        buf_printf(&expected, i == 0 ? "%d" : "|%d", i);
    }
    buf_append_text(&text, "\n");
    buf_append(&expected, slice_of("]", 2)); /* With its NUL. */
    CHECK(gives_bytes(buf_slice(&text), true, expected.data));
    buf_deinit(&text);
    buf_deinit(&expected);
}

TEST(resp, nul_hides_the_end_of_an_inline_request)
{
    CHECK(gives_bytes(slice_of("\x16\x03\x01\0\xa5\n", 6), true, ""));
    struct buf bytes;
    buf_init(&bytes);
    buf_append(&bytes, slice_of("\0\n", 2));
    memset(buf_reserve(&bytes, RESP_INLINE_LEN_MAX), '\n', RESP_INLINE_LEN_MAX);
    bytes.len += RESP_INLINE_LEN_MAX;
    CHECK(gives_in_pieces(buf_slice(&bytes), true, 997, "!Protocol error: too big inline request"));
    buf_deinit(&bytes);
}

TEST(resp, lines_have_a_longest_length)
{
    CHECK(gives_repeated("", 65535, 'a', "", ""));
    CHECK(gives_repeated("", 65536, 'a', "", ""));
    CHECK(gives_repeated("", 65537, 'a', "", "!Protocol error: too big inline request"));
    CHECK(gives_repeated("*", 65535, '1', "", ""));
    CHECK(gives_repeated("*", 70000, '1', "\r\n", "!Protocol error: too big mbulk count string"));
    CHECK(gives_repeated("*", 60000, '1', "\r\n", "!Protocol error: invalid multibulk length"));
    CHECK(gives_repeated("*1\r\n$", 70000, '1', "", "!Protocol error: too big bulk count string"));
}

TEST(resp, http_is_recognised_by_its_words)
{
    CHECK(gives("GET / HTTP/1.1\r\nHost: localhost:6379\r\n\r\n", "[GET|/|HTTP/1.1]!HTTP"));
    CHECK(gives("post / HTTP/1.1\r\n", "!HTTP"));
    CHECK(gives("host: evil\r\nSET a b\r\n", "!HTTP"));
    CHECK(gives("*2\r\n$5\r\nHost:\r\n$1\r\nx\r\n", "!HTTP"));
    CHECK(gives("POST / HTTP/1.1\r\n\r\n*1\r\n$4\r\nPING\r\n", "!HTTP"));
    CHECK(gives("POSE x\r\nhost\r\nhosts x\r\nhost:x\r\n", "[POSE|x][host][hosts|x][host:x]"));
}

/* "*<count>" with `count` arguments of which the one at `large_index` has `len` bytes. */
static void append_command(struct buf *out, struct buf *trace, size_t count, size_t large_index,
                           size_t len)
{
    buf_printf(out, "*%zu\r\n", count);
    for (size_t i = 0; i < count; i++) {
        size_t arg_len = i == large_index ? len : i % 7;
        buf_printf(out, "$%zu\r\n", arg_len);
        buf_append_text(trace, i == 0 ? "[" : "|");
        memset(buf_reserve(out, arg_len), (int)('a' + i % 26), arg_len);
        memset(buf_reserve(trace, arg_len), (int)('a' + i % 26), arg_len);
        out->len += arg_len;
        trace->len += arg_len;
        buf_append_text(out, "\r\n");
    }
    buf_append_text(trace, "]");
}

static void check_command(size_t count, size_t large_index, size_t len, size_t piece)
{
    struct buf bytes, trace;
    buf_init(&bytes);
    buf_init(&trace);
    append_command(&bytes, &trace, count, large_index, len);
    append_command(&bytes, &trace, 2, 2, 0);
    buf_append_byte(&trace, '\0');
    CHECK(gives_in_pieces(buf_slice(&bytes), true, piece, trace.data));
    buf_deinit(&bytes);
    buf_deinit(&trace);
}

TEST(resp, many_arguments_are_kept_between_calls)
{
    const size_t counts[] = {RESP_ARGS_INLINE, RESP_ARGS_INLINE + 1, 1025};
    for (size_t i = 0; i < 3; i++) {
        check_command(counts[i], counts[i], 0, 1u << 20);
        check_command(counts[i], counts[i], 0, 1);
        check_command(counts[i], counts[i], 0, 100);
    }
}

TEST(resp, large_bulk_is_received_into_a_blob)
{
    for (size_t piece = 61; piece < 3 * BLOB_LEN_MIN; piece = piece * 3 + 1) {
        check_command(3, 2, BLOB_LEN_MIN, piece);
        check_command(3, 1, BLOB_LEN_MIN + 77, piece);
        check_command(200, 150, 2 * BLOB_LEN_MIN, piece);
    }
}

TEST(resp, large_bulk_is_announced_with_its_length)
{
    struct resp_parser parser;
    struct resp_limits limits = {
        .bulk_len_max = 1u << 29, .args_max = RESP_ARGS_MAX, .is_authenticated = true};
    struct slice room[RESP_ARGS_INLINE];
    char text[64];
    int len = snprintf(text, sizeof text, "*2\r\n$4\r\nECHO\r\n$%d\r\nabc", BLOB_LEN_MIN);
    resp_parser_init(&parser);
    CHECK(resp_parse(&parser, slice_of(text, (size_t)len), &limits, room, RESP_ARGS_INLINE) ==
          RESP_BIG);
    CHECK(parser.big_len == BLOB_LEN_MIN && parser.big_have == 3);
    CHECK(parser.consumed == (size_t)len - 3);
    struct blob *blob = blob_try_new(BLOB_LEN_MIN);
    memset(blob->bytes, 'x', BLOB_LEN_MIN);
    blob->len = BLOB_LEN_MIN;
    resp_parse_supply(&parser, blob);
    memset(text, 'z', sizeof text); /* The old input is gone. */
    CHECK(resp_parse(&parser, slice_of("\r", 1), &limits, room, RESP_ARGS_INLINE) == RESP_MORE);
    CHECK(parser.consumed == 0);
    CHECK(resp_parse(&parser, slice_of("\r\nPING", 6), &limits, room, RESP_ARGS_INLINE) ==
          RESP_COMMAND);
    CHECK(parser.consumed == 2 && parser.argc == 2);
    CHECK(slice_equal(parser.args[0], slice_from_text("ECHO")));
    CHECK(parser.args[1].data == blob->bytes && parser.args[1].len == BLOB_LEN_MIN);
    CHECK(resp_parse_take_blob(&parser, 0) == NULL);
    CHECK(resp_parse_take_blob(&parser, 1) == blob && blob->refs == 2);
    CHECK(resp_parser_memory(&parser) > BLOB_LEN_MIN);
    resp_parse_finish(&parser);
    CHECK(resp_parser_memory(&parser) == 0 && blob->refs == 1);
    blob_drop(blob);
    resp_parser_deinit(&parser);
}

TEST(resp, large_bulk_may_stay_in_the_input)
{
    struct buf bytes, trace;
    struct feed feed;
    buf_init(&bytes);
    buf_init(&trace);
    append_command(&bytes, &trace, 3, 1, BLOB_LEN_MIN + 5);
    feed_init(&feed, true);
    feed.refuses_blobs = true;
    feed_pieces(&feed, buf_slice(&bytes), 99, NULL);
    CHECK(slice_equal(buf_slice(&feed.trace), buf_slice(&trace)));
    feed_deinit(&feed);
    buf_deinit(&bytes);
    buf_deinit(&trace);
}

TEST(resp, whole_large_bulk_is_not_announced)
{
    struct buf bytes, trace;
    struct feed feed;
    buf_init(&bytes);
    buf_init(&trace);
    append_command(&bytes, &trace, 3, 1, BLOB_LEN_MIN + 5);
    feed_init(&feed, true);
    feed_bytes(&feed, buf_slice(&bytes));
    CHECK(feed.big_count == 0 && slice_equal(buf_slice(&feed.trace), buf_slice(&trace)));
    feed_deinit(&feed);
    buf_deinit(&bytes);
    buf_deinit(&trace);
}

TEST(resp, announced_arguments_take_no_memory_before_they_arrive)
{
    struct feed feed;
    feed_init(&feed, true);
    feed_bytes(&feed, slice_from_text("*2147483647\r\n$1\r\nk\r\n"));
    CHECK(resp_parser_memory(&feed.parser) > 0);
    CHECK(resp_parser_memory(&feed.parser) < 4096);
    feed_deinit(&feed);
}

TEST(resp, failing_memory_is_an_error)
{
    for (unsigned countdown = 1; countdown < 3; countdown++) {
        struct feed feed;
        feed_init(&feed, true);
        mem_fail_after(countdown);
        feed_bytes(&feed, slice_from_text("*1000\r\n$3\r\nDEL\r\n$1\r\n"));
        mem_fail_after(0);
        CHECK(feed.is_closed);
        CHECK(feed.trace.len > 0 && feed.trace.data[0] == '!');
        feed_deinit(&feed);
    }
}

TEST(resp, a_command_of_many_arguments_moves_to_another_parser)
{
    enum { WORDS = 300, CUT = 1500 };
    struct buf bytes;
    buf_init(&bytes);
    buf_printf(&bytes, "*%d\r\n", WORDS);
    for (int i = 0; i < WORDS; i++) {
        buf_printf(&bytes, "$5\r\n%05d\r\n", i);
    }
    const struct resp_limits limits = {
        .bulk_len_max = 1 << 20, .args_max = RESP_ARGS_MAX, .is_authenticated = true};
    struct slice room[RESP_ARGS_INLINE];
    struct resp_parser from, to;
    resp_parser_init(&from);
    CHECK(!resp_parse_move(&from, &to));
    CHECK(resp_parse(&from, slice_of(bytes.data, CUT), &limits, room, RESP_ARGS_INLINE) ==
          RESP_MORE);
    CHECK(!resp_parse_move(&from, &to)); /* Not complete. */
    size_t used = from.consumed;
    CHECK(resp_parse(&from, slice_of(bytes.data + used, bytes.len - used), &limits, room,
                     RESP_ARGS_INLINE) == RESP_COMMAND);
    CHECK(resp_parse_move(&from, &to));
    CHECK(from.partial == NULL && resp_parser_memory(&to) > WORDS * sizeof(struct slice));
    memset(bytes.data, 'x', bytes.len); /* The input is gone. */
    resp_parser_deinit(&from);
    CHECK(to.argc == WORDS);
    for (int i = 0; i < WORDS; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%05d", i);
        CHECK(slice_equal(to.args[i], slice_from_text(text)));
    }
    resp_parser_deinit(&to);
    buf_deinit(&bytes);
}
