/* Numbers and their text, exactly as Redis reads and prints them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum {
    NUM_I64_TEXT_MAX = 20,               /* "-9223372036854775808" */
    NUM_DOUBLE_TEXT_MAX = 400,           /* A double in any form printed here. */
    NUM_LONG_DOUBLE_TEXT_MAX = 5 * 1024, /* A long double without exponent. */
};

/* Strict: no spaces, no leading zeros or plus, whole text, in range. Redis's string2ll. */
bool num_parse_i64(struct slice text, int64_t *out);

/* As strtod reads it (hex, inf and exponents included), the whole text, no leading space, no NaN,
 * no overflow to HUGE_VAL or underflow to 0. Redis's getDoubleFromObject. */
bool num_parse_double(struct slice text, double *out);

/* The same for INCRBYFLOAT (Redis's string2ld). */
bool num_parse_long_double(struct slice text, long double *out);

/* Writes decimal digits without NUL; returns the length. `out` holds NUM_I64_TEXT_MAX + 1 bytes. */
size_t num_format_i64(char *out, int64_t value);
size_t num_format_u64(char *out, uint64_t value);

/* Digits that num_format_i64 would write. */
size_t num_i64_text_len(int64_t value);

/* Redis's reply form of a double: "inf", "-inf", "nan", an integer without a point when it is one
 * of moderate size, else %.17g. Returns the length; `out` holds NUM_DOUBLE_TEXT_MAX bytes. */
size_t num_format_double(char *out, double value);

/* Redis's human form of a long double (INCRBYFLOAT): %.17Lf without trailing zeros. `out` holds
 * NUM_LONG_DOUBLE_TEXT_MAX bytes. */
size_t num_format_long_double(char *out, long double value);

/* "100", "1k" (1000), "1kb" (1024), m/mb/g/gb, any case, and a plain "b". Redis's memtoull. Rejects
 * a sign and overflow. */
bool num_parse_memory(struct slice text, uint64_t *out);

/* "1.50K", "3.00M": INFO's *_human. Returns the length; `out` holds 32 bytes. */
size_t num_format_human(char *out, uint64_t bytes);
