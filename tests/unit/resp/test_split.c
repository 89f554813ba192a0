/* Splitting a line into words, with quotes and escapes. */
#include "base/buf.h"
#include "resp/parse.h"
#include "tests/unit/test.h"

/* Splits into "[a][b c]", or the negative result as text. */
static bool splits_to(struct slice line, const char *expected)
{
    char *scratch = malloc(line.len + 1);
    struct slice room[8];
    struct buf text;
    buf_init(&text);
    int count = resp_split_line(line, scratch, room, 8);
    if (count < 0) {
        buf_printf(&text, "%d", count);
    }
    for (int i = 0; i < count; i++) {
        buf_append_byte(&text, '[');
        buf_append(&text, room[i]);
        buf_append_byte(&text, ']');
    }
    bool is_equal = slice_equal(buf_slice(&text), slice_from_text(expected));
    buf_deinit(&text);
    free(scratch);
    return is_equal;
}

static bool splits(const char *line, const char *expected)
{
    return splits_to(slice_from_text(line), expected);
}

TEST(resp, line_is_split_at_white_space)
{
    CHECK(splits("", ""));
    CHECK(splits(" \t\r\n ", ""));
    CHECK(splits("a", "[a]"));
    CHECK(splits("  save 900\t1\r\n", "[save][900][1]"));
    CHECK(splits("\v\fa\vb c", "[a\vb][c]"));
}

TEST(resp, double_quotes_take_escapes)
{
    CHECK(splits("\"a b\" c", "[a b][c]"));
    CHECK(splits("\"\\x41\\x7a\"", "[Az]"));
    CHECK(splits("\"\\n\\r\\t\\b\\a\\\\\\\"\\q\"", "[\n\r\t\b\a\\\"q]"));
    CHECK(splits("\"\\x4\"", "[x4]"));
    CHECK(splits("\"\\xzz\"", "[xzz]"));
    CHECK(splits("\"it's\"", "[it's]"));
}

TEST(resp, single_quotes_take_one_escape)
{
    CHECK(splits("'a b'", "[a b]"));
    CHECK(splits("'it\\'s'", "[it's]"));
    CHECK(splits("'\\n\\x41'", "[\\n\\x41]"));
    CHECK(splits("''", "[]"));
}

TEST(resp, quotes_may_open_within_a_word)
{
    CHECK(splits("a\"b c\" d", "[ab c][d]"));
    CHECK(splits("a\\b", "[a\\b]"));
}

TEST(resp, unbalanced_quotes_are_told)
{
    CHECK(splits("\"", "-1"));
    CHECK(splits("'", "-1"));
    CHECK(splits("\"a\"b", "-1"));
    CHECK(splits("'a'b", "-1"));
    CHECK(splits("\"a\\", "-1"));
    CHECK(splits("\"a\\\"", "-1"));
    CHECK(splits("'a\\'", "-1"));
}

TEST(resp, nul_ends_a_line)
{
    CHECK(splits_to(slice_of("a b\0c", 5), "[a][b]"));
}

TEST(resp, too_many_words_are_told)
{
    CHECK(splits("1 2 3 4 5 6 7 8", "[1][2][3][4][5][6][7][8]"));
    CHECK(splits("1 2 3 4 5 6 7 8 9", "-2"));
}
