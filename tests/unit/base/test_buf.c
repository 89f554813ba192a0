/* Tests of base/buf.c. */
#include "base/buf.h"

#include "tests/unit/test.h"

static bool holds(const struct buf *buf, const char *text)
{
    return slice_equal(buf_slice(buf), slice_from_text(text));
}

TEST(buf, appends_in_order)
{
    struct buf buf;
    buf_init(&buf);
    CHECK(buf_slice(&buf).len == 0);
    buf_append(&buf, slice_of(NULL, 0));
    buf_append_text(&buf, "one");
    buf_append_byte(&buf, ',');
    buf_append(&buf, slice_of("two!", 3));
    buf_printf(&buf, ";%d", 3);
    CHECK(holds(&buf, "one,two;3"));
    size_t cap = buf.cap;
    buf_clear(&buf);
    CHECK(buf.len == 0 && buf.cap == cap);
    buf_deinit(&buf);
    CHECK(buf.data == NULL && buf.cap == 0);
}

TEST(buf, grows_byte_by_byte)
{
    struct buf buf = {0};
    for (int i = 0; i < 100000; i++) {
        buf_append_byte(&buf, (char)i);
    }
    CHECK(buf.len == 100000);
    for (int i = 0; i < 100000; i++) {
        CHECK(buf.data[i] == (char)i);
    }
    buf_deinit(&buf);
}

TEST(buf, prints_what_does_not_fit_at_first)
{
    /* Around the first capacity, where the NUL of printf just fits or does not. */
    for (int len = 60; len < 70; len++) {
        struct buf buf = {0};
        buf_printf(&buf, "%*d", len, 7);
        CHECK(buf.len == (size_t)len && buf.data[len - 1] == '7' && buf.data[0] == ' ');
        buf_printf(&buf, "%*d", 10 * len, 8);
        CHECK(buf.len == (size_t)(11 * len) && buf.data[11 * len - 1] == '8');
        buf_deinit(&buf);
    }
}

TEST(buf, reserve_gives_room_without_length)
{
    struct buf buf = {0};
    CHECK(buf_reserve(&buf, 0) != NULL);
    char *at = buf_reserve(&buf, 1000);
    memset(at, 'x', 1000);
    CHECK(buf.len == 0 && buf.cap >= 1000);
    buf_deinit(&buf);
}

TEST(buf, quotes_as_redis_does)
{
    struct buf buf = {0};
    buf_append_quoted(&buf, slice_of("a\"b\\\n\r\t\a\b\0\x7f\xff ~", 14));
    CHECK(holds(&buf, "\"a\\\"b\\\\\\n\\r\\t\\a\\b\\x00\\x7f\\xff ~\""));
    buf_clear(&buf);
    buf_append_quoted(&buf, slice_of("", 0));
    CHECK(holds(&buf, "\"\""));
    buf_deinit(&buf);
}
