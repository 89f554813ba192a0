/* Numbers to text and back, with Redis's rules for what counts as a number.
 *
 * Reading is strict: "+1", "01", " 1", "-0" and "1 " are not integers. Integers that a parser
 * accepts print again as the same bytes, which is what lets a string be stored as an integer.
 *
 * Doubles are read by strtod and printed by printf's %.17g, because those are the bytes that
 * clients compare. Both take about 200 ns, so the common cases have a way of their own that gives
 * the same result: a decimal of at most 15 digits is an integer divided by a power of ten that a
 * double holds exactly, and one division of exact numbers is rounded as strtod would (Clinger's
 * fast path). A double that is a whole number below 2^53 is printed as an integer.
 *
 * Integers print two digits at a time from a table of 200 bytes. */
#include "base/num.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

enum {
    NUM_STACK_TEXT_MAX = 256,    /* Longer texts of doubles are copied to the heap. */
    NUM_EXACT_DIGITS_MAX = 15,   /* 10^15 < 2^53: every such integer is a double. */
    NUM_MEMORY_DIGITS_MAX = 127, /* Redis copies the digits to a buffer of 128 bytes. */
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits without sign: "0", or no leading zero; at most `max`. */
static bool parse_digits(const char *at, size_t len, uint64_t max, uint64_t *out)
{
    if (len == 0 || !is_digit(at[0]) || (at[0] == '0' && len > 1)) {
        return false;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned digit = (unsigned char)at[i] - (unsigned)'0';
        if (digit > 9 || value > (max - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

/* Up to 18 digits cannot overflow, so the usual case has no check per digit. */
bool num_parse_i64(struct slice text, int64_t *out)
{
    const char *at = text.data;
    size_t len = text.len;
    if (len == 0 || len > NUM_I64_TEXT_MAX) {
        return false;
    }
    bool is_negative = at[0] == '-';
    at += is_negative;
    len -= is_negative;
    uint64_t value = 0;
    if (len > 18) {
        uint64_t max = (uint64_t)INT64_MAX + is_negative;
        if (!parse_digits(at, len, max, &value)) {
            return false;
        }
    } else {
        if (len == 0 || (at[0] == '0' && (len > 1 || is_negative))) {
            return false;
        }
        for (size_t i = 0; i < len; i++) {
            unsigned digit = (unsigned char)at[i] - (unsigned)'0';
            if (digit > 9) {
                return false;
            }
            value = value * 10 + digit;
        }
    }
    *out = (int64_t)(is_negative ? 0 - value : value);
    return true;
}

/* Reads [-]digits[.digits] of at most 15 digits in all; false means that strtod must look. */
static bool parse_short_decimal(struct slice text, double *out)
{
    static const double powers[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    size_t at = text.len > 0 && text.data[0] == '-';
    bool is_negative = at == 1;
    if (text.len - at > NUM_EXACT_DIGITS_MAX + 1 || at == text.len) {
        return false;
    }
    uint64_t digits = 0;
    unsigned digit_count = 0;
    unsigned decimal_count = 0;
    bool has_point = false;
    for (; at < text.len; at++) {
        char c = text.data[at];
        if (is_digit(c)) {
            digits = digits * 10 + (uint64_t)(c - '0');
            digit_count++;
            decimal_count += has_point;
        } else if (c == '.' && !has_point) {
            has_point = true;
        } else {
            return false;
        }
    }
    if (digit_count == 0 || digit_count > NUM_EXACT_DIGITS_MAX) {
        return false;
    }
    double value = (double)digits / powers[decimal_count];
    *out = is_negative ? -value : value;
    return true;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Whether strtod's or strtold's result stands: the whole text was read and nothing was lost. */
static bool is_parsed(const char *text, size_t len, const char *end, long double value)
{
    if (is_space(text[0]) || (size_t)(end - text) != len || isnan(value)) {
        return false;
    }
    return errno != ERANGE || (!isinf(value) && value != 0);
}

bool num_parse_double(struct slice text, double *out)
{
    if (parse_short_decimal(text, out)) {
        return true;
    }
    if (text.len == 0) {
        return false;
    }
    /* strtod wants a NUL behind the text. */
    char stack[NUM_STACK_TEXT_MAX];
    char *copy = text.len < sizeof(stack) ? stack : mem_try_alloc(text.len + 1);
    if (copy == NULL) {
        return false;
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    char *end = NULL;
    errno = 0;
    double value = strtod(copy, &end);
    bool ok = is_parsed(copy, text.len, end, value);
    if (copy != stack) {
        mem_free(copy);
    }
    if (ok) {
        *out = value;
    }
    return ok;
}

bool num_parse_long_double(struct slice text, long double *out)
{
    char copy[NUM_LONG_DOUBLE_TEXT_MAX];
    if (text.len == 0 || text.len >= sizeof(copy)) {
        return false;
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    char *end = NULL;
    errno = 0;
    long double value = strtold(copy, &end);
    if (!is_parsed(copy, text.len, end, value)) {
        return false;
    }
    *out = value;
    return true;
}

static const char digit_pairs[] = "00010203040506070809101112131415161718192021222324"
                                  "25262728293031323334353637383940414243444546474849"
                                  "50515253545556575859606162636465666768697071727374"
                                  "75767778798081828384858687888990919293949596979899";

static size_t u64_text_len(uint64_t value)
{
    size_t len = 1;
    while (value >= 10000) {
        value /= 10000;
        len += 4;
    }
    return len + (value >= 10) + (value >= 100) + (value >= 1000);
}

size_t num_format_u64(char *out, uint64_t value)
{
    size_t len = u64_text_len(value);
    char *at = out + len;
    while (value >= 100) {
        at -= 2;
        memcpy(at, digit_pairs + value % 100 * 2, 2);
        value /= 100;
    }
    if (value >= 10) {
        memcpy(at - 2, digit_pairs + value * 2, 2);
    } else {
        at[-1] = (char)('0' + value);
    }
    return len;
}

/* The distance from 0, which for the least integer only an unsigned one can hold. */
static uint64_t magnitude(int64_t value)
{
    return value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
}

size_t num_format_i64(char *out, int64_t value)
{
    bool is_negative = value < 0;
    *out = '-';
    return num_format_u64(out + is_negative, magnitude(value)) + is_negative;
}

size_t num_i64_text_len(int64_t value)
{
    return u64_text_len(magnitude(value)) + (value < 0);
}

static size_t format_word(char *out, const char *word)
{
    size_t len = strlen(word);
    memcpy(out, word, len);
    return len;
}

size_t num_format_double(char *out, double value)
{
    if (isnan(value)) {
        return format_word(out, "nan");
    }
    if (isinf(value)) {
        return format_word(out, value > 0 ? "inf" : "-inf");
    }
    if (value == 0) {
        return format_word(out, signbit(value) ? "-0" : "0");
    }
    if (fabs(value) < 0x1p53 && value == (double)(int64_t)value) {
        return num_format_i64(out, (int64_t)value);
    }
    int len = snprintf(out, NUM_DOUBLE_TEXT_MAX, "%.17g", value);
    return (size_t)len;
}

size_t num_format_long_double(char *out, long double value)
{
    if (isnan(value)) {
        return format_word(out, "nan");
    }
    if (isinf(value)) {
        return format_word(out, value > 0 ? "inf" : "-inf");
    }
    size_t len = (size_t)snprintf(out, NUM_LONG_DOUBLE_TEXT_MAX, "%.17Lf", value);
    while (out[len - 1] == '0') {
        len--;
    }
    len -= out[len - 1] == '.';
    if (len == 2 && out[0] == '-' && out[1] == '0') {
        out[0] = '0';
        len = 1;
    }
    return len;
}

/* The factor of a unit, 0 for an unknown one. */
static uint64_t unit_factor(struct slice unit)
{
    static const struct {
        const char *name;
        uint64_t factor;
    } units[] = {{"", 1},        {"b", 1},        {"k", 1000},       {"kb", 1024},
                 {"m", 1000000}, {"mb", 1048576}, {"g", 1000000000}, {"gb", 1073741824}};
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (slice_is(unit, units[i].name)) {
            return units[i].factor;
        }
    }
    return 0;
}

/* Leading zeros are allowed here, and a text without digits is 0, as in Redis. */
bool num_parse_memory(struct slice text, uint64_t *out)
{
    size_t digit_count = 0;
    uint64_t value = 0;
    while (digit_count < text.len && is_digit(text.data[digit_count])) {
        uint64_t digit = (uint64_t)(text.data[digit_count] - '0');
        if (__builtin_mul_overflow(value, 10U, &value) ||
            __builtin_add_overflow(value, digit, &value)) {
            return false;
        }
        digit_count++;
    }
    uint64_t factor = unit_factor(slice_part(text, digit_count, text.len));
    if (factor == 0 || digit_count > NUM_MEMORY_DIGITS_MAX) {
        return false;
    }
    return !__builtin_mul_overflow(value, factor, out);
}

size_t num_format_human(char *out, uint64_t bytes)
{
    static const char letters[] = "KMGTP";
    enum { OUT_CAP = 32 };
    if (bytes < 1024 || bytes >= UINT64_C(1) << 60) {
        return (size_t)snprintf(out, OUT_CAP, "%lluB", (unsigned long long)bytes);
    }
    int unit = 0;
    while (bytes >> (10 * (unit + 2)) != 0) {
        unit++;
    }
    double amount = (double)bytes / (double)(UINT64_C(1) << (10 * (unit + 1)));
    return (size_t)snprintf(out, OUT_CAP, "%.2f%c", amount, letters[unit]);
}
