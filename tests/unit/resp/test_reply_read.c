/* Tests of resp/reply_read.c. */
#include "resp/reply_read.h"

#include <string.h>

#include "tests/unit/test.h"

static struct reply_item read_one(const char *text)
{
    struct reply_item item;
    struct slice rest = slice_from_text(text);
    CHECK(reply_read(&rest, &item));
    CHECK(rest.len == 0);
    return item;
}

static void check_text(const char *reply, enum reply_kind kind, const char *text)
{
    struct reply_item item = read_one(reply);
    CHECK(item.kind == kind);
    CHECK(slice_equal(item.text, slice_from_text(text)));
}

TEST(reply_read, lines_and_bulks_give_their_text)
{
    check_text("+OK\r\n", REPLY_STATUS, "OK");
    check_text("-ERR no\r\n", REPLY_ERROR, "ERR no");
    check_text("$0\r\n\r\n", REPLY_BULK, "");
    check_text("$4\r\na\r\nb\r\n", REPLY_BULK, "a\r\nb");
    check_text("(123\r\n", REPLY_BIG_NUMBER, "123");
    check_text("=7\r\ntxt:abc\r\n", REPLY_VERBATIM, "abc");
    CHECK(strcmp(read_one("=7\r\nmkd:abc\r\n").format, "mkd") == 0);
}

TEST(reply_read, numbers_give_their_value)
{
    CHECK(read_one(":-5\r\n").number == -5);
    CHECK(read_one(",1.5\r\n").real == 1.5);
    CHECK(read_one(",-inf\r\n").real < -1e308);
    CHECK(read_one("#t\r\n").number == 1);
    CHECK(read_one("#f\r\n").number == 0);
    struct reply_item nan = read_one(",nan\r\n");
    CHECK(nan.kind == REPLY_DOUBLE && nan.real != nan.real);
}

TEST(reply_read, nulls_of_both_protocols_are_one_kind)
{
    CHECK(read_one("$-1\r\n").kind == REPLY_NULL);
    CHECK(read_one("*-1\r\n").kind == REPLY_NULL);
    CHECK(read_one("_\r\n").kind == REPLY_NULL);
}

TEST(reply_read, aggregates_give_their_count_and_leave_the_elements)
{
    static const char kinds[] = "*%~>|";
    for (const char *kind = kinds; *kind != '\0'; kind++) {
        char text[] = "?2\r\n:1\r\n";
        text[0] = *kind;
        struct slice rest = slice_from_text(text);
        struct reply_item item;
        CHECK(reply_read(&rest, &item));
        CHECK(item.kind == (enum reply_kind) * kind && item.number == 2);
        CHECK(slice_equal(rest, slice_from_text(":1\r\n")));
    }
}

TEST(reply_read, what_is_no_reply_is_refused_and_left_alone)
{
    static const char *const bad[] = {
        "",
        "+",
        "+OK",
        "+OK\r",
        "x\r\n",
        ":1x\r\n",
        "$3\r\nab\r\n",
        "$-2\r\n",
        "$3\r\nabcd",
        "$x\r\n",
        "#\r\n",
        "#tt\r\n",
        "_x\r\n",
        "*-2\r\n",
        "*1x\r\n",
        ",x\r\n",
        "=3\r\nabc\r\n",
        "=4\r\ntxtx\r\n",
        "$99999999999999999999\r\n",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct slice rest = slice_from_text(bad[i]);
        struct reply_item item;
        CHECK(!reply_read(&rest, &item));
        CHECK(rest.data == bad[i]);
    }
}
