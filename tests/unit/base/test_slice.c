/* Tests of base/slice.c. */
#include "base/slice.h"

#include "tests/unit/test.h"

TEST(slice, equality_is_of_length_and_bytes)
{
    CHECK(slice_equal(slice_of(NULL, 0), slice_from_text("")));
    CHECK(slice_equal(slice_of("a\0b", 3), slice_of("a\0b", 3)));
    CHECK(!slice_equal(slice_of("a\0b", 3), slice_of("a\0c", 3)));
    CHECK(!slice_equal(slice_from_text("a"), slice_from_text("ab")));
}

TEST(slice, order_is_by_unsigned_bytes_then_length)
{
    CHECK(slice_compare(slice_from_text("a"), slice_from_text("b")) < 0);
    CHECK(slice_compare(slice_from_text("\x80"), slice_from_text("a")) > 0);
    CHECK(slice_compare(slice_from_text("a"), slice_from_text("ab")) < 0);
    CHECK(slice_compare(slice_from_text("ab"), slice_from_text("a")) > 0);
    CHECK(slice_compare(slice_from_text("ab"), slice_from_text("ab")) == 0);
    CHECK(slice_compare(slice_of(NULL, 0), slice_of(NULL, 0)) == 0);
}

TEST(slice, is_ignores_ascii_case_only)
{
    CHECK(slice_is(slice_from_text("MaTcH"), "match"));
    CHECK(slice_is(slice_from_text("match"), "MATCH"));
    CHECK(slice_is(slice_of(NULL, 0), ""));
    CHECK(!slice_is(slice_from_text("match"), "matc"));
    CHECK(!slice_is(slice_from_text("matc"), "match"));
    CHECK(!slice_is(slice_from_text("@"), "`"));
    CHECK(!slice_is(slice_from_text("["), "{"));
    CHECK(!slice_is(slice_from_text("\xc4"), "\xe4"));
    CHECK(!slice_is(slice_of("ex\0", 3), "ex"));
    CHECK(!slice_is(slice_of("e\0x", 3), "e"));
}

TEST(slice, part_is_clamped)
{
    struct slice s = slice_from_text("hello");
    CHECK(slice_equal(slice_part(s, 1, 3), slice_from_text("ell")));
    CHECK(slice_equal(slice_part(s, 3, 100), slice_from_text("lo")));
    CHECK(slice_part(s, 9, 1).len == 0);
    CHECK(slice_part(s, 5, 1).len == 0);
}
