/* Tests of base/num.c. */
#include "base/num.h"

#include <math.h>

#include "base/rng.h"
#include "tests/unit/test.h"

static bool is_i64(const char *text, int64_t expected)
{
    int64_t value = 0;
    return num_parse_i64(slice_from_text(text), &value) && value == expected;
}

static bool is_no_i64(const char *text)
{
    int64_t value = 77;
    return !num_parse_i64(slice_from_text(text), &value) && value == 77;
}

TEST(num, integers_are_read)
{
    CHECK(is_i64("0", 0) && is_i64("7", 7) && is_i64("-1", -1) && is_i64("100", 100));
    CHECK(is_i64("9223372036854775807", INT64_MAX));
    CHECK(is_i64("-9223372036854775808", INT64_MIN));
    CHECK(is_i64("999999999999999999", 999999999999999999));
    CHECK(is_i64("1000000000000000000", 1000000000000000000));
}

TEST(num, what_is_no_integer_is_refused)
{
    static const char *const texts[] = {"",
                                        "-",
                                        "+1",
                                        "01",
                                        "-0",
                                        "-01",
                                        "00",
                                        " 1",
                                        "1 ",
                                        "1a",
                                        "a",
                                        "0x1",
                                        "1.0",
                                        "--1",
                                        "9223372036854775808",
                                        "-9223372036854775809",
                                        "18446744073709551616",
                                        "99999999999999999999",
                                        "-99999999999999999999",
                                        "999999999999999999999",
                                        "1\xff",
                                        "0000000000000000000",
                                        "-000000000000000001",
                                        "123456789012345678x"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        CHECK(is_no_i64(texts[i]));
    }
    int64_t value = 0;
    CHECK(!num_parse_i64(slice_of("1\0", 2), &value));
    CHECK(!num_parse_i64(slice_of(NULL, 0), &value));
}

static void check_integer_text(int64_t value)
{
    char text[NUM_I64_TEXT_MAX + 1];
    char expected[32];
    size_t len = num_format_i64(text, value);
    int expected_len = snprintf(expected, sizeof(expected), "%lld", (long long)value);
    CHECK(len == (size_t)expected_len && memcmp(text, expected, len) == 0);
    CHECK(num_i64_text_len(value) == len);
    int64_t again = 0;
    CHECK(num_parse_i64(slice_of(text, len), &again) && again == value);
    len = num_format_u64(text, (uint64_t)value);
    expected_len = snprintf(expected, sizeof(expected), "%llu", (unsigned long long)value);
    CHECK(len == (size_t)expected_len && memcmp(text, expected, len) == 0);
}

TEST(num, integers_print_and_read_back)
{
    uint64_t power = 1;
    for (int i = 0; i < 20; i++) {
        for (int delta = -1; delta <= 1; delta++) {
            check_integer_text((int64_t)(power + (uint64_t)(int64_t)delta));
            check_integer_text((int64_t)(0 - power + (uint64_t)(int64_t)delta));
        }
        power *= 10;
    }
    check_integer_text(INT64_MIN);
    check_integer_text(INT64_MAX);
    struct rng rng;
    rng_seed(&rng, test_seed());
    for (int i = 0; i < 20000; i++) {
        check_integer_text((int64_t)(rng_next(&rng) >> rng_below(&rng, 64)));
    }
}

static bool is_double(const char *text, double expected)
{
    double value = 77;
    return num_parse_double(slice_from_text(text), &value) && value == expected &&
           signbit(value) == signbit(expected);
}

static bool is_no_double(const char *text)
{
    double value = 77;
    return !num_parse_double(slice_from_text(text), &value) && value == 77;
}

TEST(num, doubles_are_read_as_strtod_does)
{
    CHECK(is_double("1.5", 1.5) && is_double("-0", -0.0) && is_double("0x10", 16));
    CHECK(is_double("inf", INFINITY) && is_double("-Infinity", -INFINITY) && is_double("+5", 5));
    CHECK(is_double(".5", 0.5) && is_double("5.", 5) && is_double("1e5", 1e5));
    CHECK(is_double("1e-320", 1e-320) && is_double("0.1", 0.1) && is_double("007", 7));
    CHECK(is_double("123456789012345678", 123456789012345678.0));
    char longest[1001];
    memset(longest, '0', 1000);
    longest[999] = '3';
    longest[1000] = '\0';
    CHECK(is_double(longest, 3));
}

TEST(num, what_is_no_double_is_refused)
{
    static const char *const texts[] = {"",     ".",   "-",    "-.",    " 1",     "1 ",
                                        "1..2", "nan", "a",    "1e400", "-1e400", "-nan",
                                        "1_0",  "e5",  "1.2.", "\t1",   "--1",    "1e-400"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        CHECK(is_no_double(texts[i]));
    }
    double value = 0;
    CHECK(!num_parse_double(slice_of("1\0", 2), &value));
    CHECK(!num_parse_double(slice_of(NULL, 0), &value));
}

TEST(num, short_decimals_are_read_to_the_same_bits_as_strtod)
{
    struct rng rng;
    rng_seed(&rng, test_seed());
    for (int i = 0; i < 50000; i++) {
        char text[64];
        unsigned long long digits = rng_next(&rng) >> (10 + rng_below(&rng, 54));
        int places = (int)rng_below(&rng, 18);
        int len = snprintf(text, sizeof(text), "%s%.*Lf", rng_below(&rng, 2) ? "-" : "", places,
                           (long double)digits / powl(10, places));
        double value = 0;
        CHECK(num_parse_double(slice_of(text, (size_t)len), &value));
        double expected = strtod(text, NULL);
        CHECK(memcmp(&value, &expected, sizeof(value)) == 0);
    }
}

static bool prints(double value, const char *expected)
{
    char text[NUM_DOUBLE_TEXT_MAX];
    size_t len = num_format_double(text, value);
    return len == strlen(expected) && memcmp(text, expected, len) == 0;
}

TEST(num, doubles_print_as_replies)
{
    CHECK(prints(3, "3") && prints(-3, "-3") && prints(0, "0") && prints(-0.0, "-0"));
    CHECK(prints(0.1, "0.10000000000000001") && prints(3.25, "3.25"));
    CHECK(prints(1e16, "10000000000000000") && prints(1e17, "1e+17"));
    CHECK(prints(9007199254740993.0, "9007199254740992") && prints(-1e15, "-1000000000000000"));
    CHECK(prints(INFINITY, "inf") && prints(-INFINITY, "-inf") && prints(NAN, "nan"));
    CHECK(prints(1e300, "1.0000000000000001e+300") && prints(5e-324, "4.9406564584124654e-324"));
}

static bool prints_long(const char *text, const char *expected)
{
    char out[NUM_LONG_DOUBLE_TEXT_MAX];
    long double value = 0;
    if (!num_parse_long_double(slice_from_text(text), &value)) {
        return false;
    }
    size_t len = num_format_long_double(out, value);
    return len == strlen(expected) && memcmp(out, expected, len) == 0;
}

TEST(num, long_doubles_print_for_people)
{
    CHECK(prints_long("3.0", "3") && prints_long("0.1", "0.1") && prints_long("-0", "0"));
    CHECK(prints_long("10", "10") && prints_long("0x1p3", "8") && prints_long("-1.50", "-1.5"));
    CHECK(prints_long("1e17", "100000000000000000") && prints_long("1e-20", "0"));
    CHECK(prints_long("-1e-19", "0") && prints_long("1e30", "1000000000000000000024696061952"));
    CHECK(prints_long("3.14159265358979323846", "3.14159265358979324"));
    CHECK(prints_long("inf", "inf") && prints_long("-inf", "-inf") && prints_long("+1", "1"));
}

TEST(num, the_longest_long_double_fits)
{
    char out[NUM_LONG_DOUBLE_TEXT_MAX];
    long double value = 0;
    CHECK(num_parse_long_double(slice_from_text("-1.18e4932"), &value));
    CHECK(num_format_long_double(out, value) == 4934);
}

TEST(num, what_is_no_long_double_is_refused)
{
    static const char *const texts[] = {"", " 1", "1 ", "nan", "1e5000", "1e-5000", "x", "1x", "-"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        long double value = 77;
        CHECK(!num_parse_long_double(slice_from_text(texts[i]), &value) && value == 77);
    }
    char longest[NUM_LONG_DOUBLE_TEXT_MAX];
    memset(longest, '0', sizeof(longest));
    long double value = 77;
    CHECK(!num_parse_long_double(slice_of(longest, sizeof(longest)), &value));
    CHECK(num_parse_long_double(slice_of(longest, sizeof(longest) - 1), &value) && value == 0);
    CHECK(!num_parse_long_double(slice_of("1\0", 2), &value));
}

static bool is_memory(const char *text, uint64_t expected)
{
    uint64_t value = 0;
    return num_parse_memory(slice_from_text(text), &value) && value == expected;
}

static bool is_no_memory(const char *text)
{
    uint64_t value = 0;
    return !num_parse_memory(slice_from_text(text), &value);
}

TEST(num, memory_sizes_have_units)
{
    CHECK(is_memory("100", 100) && is_memory("1k", 1000) && is_memory("1kb", 1024));
    CHECK(is_memory("1m", 1000000) && is_memory("1MB", 1048576) && is_memory("1G", 1000000000));
    CHECK(is_memory("2Gb", 2147483648) && is_memory("5b", 5) && is_memory("5B", 5));
    CHECK(is_memory("0", 0) && is_memory("007", 7) && is_memory("", 0) && is_memory("kb", 0));
    CHECK(is_memory("18446744073709551615", UINT64_MAX));
    CHECK(is_no_memory("-1") && is_no_memory("+1") && is_no_memory("1z") && is_no_memory("1 kb"));
    CHECK(is_no_memory("18446744073709551616") && is_no_memory("18446744073709551615k"));
    CHECK(is_no_memory("1kbb") && is_no_memory("1.5gb"));
}

static bool is_human(uint64_t bytes, const char *expected)
{
    char text[32];
    size_t len = num_format_human(text, bytes);
    return len == strlen(expected) && memcmp(text, expected, len) == 0;
}

TEST(num, bytes_print_for_people)
{
    CHECK(is_human(0, "0B") && is_human(1023, "1023B") && is_human(1024, "1.00K"));
    CHECK(is_human(1536, "1.50K") && is_human(3145728, "3.00M") && is_human(1048575, "1024.00K"));
    CHECK(is_human(UINT64_C(1) << 30, "1.00G") && is_human(UINT64_C(1) << 40, "1.00T"));
    CHECK(is_human(UINT64_C(1) << 50, "1.00P"));
    CHECK(is_human(UINT64_MAX, "18446744073709551615B"));
}
