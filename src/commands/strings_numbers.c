/* Strings as numbers: INCR, DECR, INCRBY, DECRBY, INCRBYFLOAT.
 *
 * An integer is held as one, so counting is: look up, add with a test for overflow, store eight
 * bytes in place. The expiry stays. A float is computed as a long double and stored as its shortest
 * text; its effect is the result, because another machine may round differently. */
#include <math.h>

#include "base/num.h"
#include "commands/commands.h"
#include "commands/strings.h"
#include "exec/exec.h"

static bool store_i64(struct call *call, struct place place, int64_t number)
{
    if (place.value != NULL) {
        return string_try_set_i64(&place, number, value_has_expire(place.value));
    }
    struct value *value = string_try_new_i64(call->args.at[1], number, false);
    if (value == NULL) {
        return false;
    }
    db_insert(call->db, call_hash(call, 1), value);
    return true;
}

/* All four are the same event, "incrby", as in Redis. */
static void add(struct call *call, int64_t increment)
{
    struct place place;
    if (!call_find_place(call, 1, VALUE_STRING, &place)) {
        return;
    }
    int64_t number = 0;
    if (place.value != NULL && !string_get_i64(place.value, &number)) {
        reply_error(call->out, ERR_NOT_INTEGER);
        return;
    }
    if (__builtin_add_overflow(number, increment, &number)) {
        reply_error(call->out, "ERR increment or decrement would overflow");
        return;
    }
    if (!store_i64(call, place, number)) {
        reply_error(call->out, ERR_NO_MEMORY);
        return;
    }
    reply_integer(call->out, number);
    call_changed(call, 1, "incrby");
}

/* INCR key */
static void incr_run(struct call *call)
{
    add(call, 1);
}

/* DECR key */
static void decr_run(struct call *call)
{
    add(call, -1);
}

/* INCRBY key increment */
static void incrby_run(struct call *call)
{
    int64_t increment;
    if (call_i64(call, 2, &increment, NULL)) {
        add(call, increment);
    }
}

/* DECRBY key decrement */
static void decrby_run(struct call *call)
{
    int64_t decrement;
    if (!call_i64(call, 2, &decrement, NULL)) {
        return;
    }
    if (decrement == INT64_MIN) {
        reply_error(call->out, "ERR decrement would overflow");
        return;
    }
    add(call, -decrement);
}

/* The number that a string holds, 0 when there is none; false: it holds no number. */
static bool get_long_double(const struct value *value, long double *out)
{
    *out = 0;
    if (value == NULL) {
        return true;
    }
    struct string_scratch scratch;
    return num_parse_long_double(string_get(value, &scratch), out);
}

static bool store_text(struct call *call, struct place place, struct slice text)
{
    if (place.value != NULL) {
        return string_try_set_text(&place, text, value_has_expire(place.value));
    }
    struct value *value = string_try_new_text(call->args.at[1], text, false);
    if (value == NULL) {
        return false;
    }
    db_insert(call->db, call_hash(call, 1), value);
    return true;
}

/* INCRBYFLOAT key increment */
static void incrbyfloat_run(struct call *call)
{
    struct place place;
    if (!call_find_place(call, 1, VALUE_STRING, &place)) {
        return;
    }
    long double number;
    long double increment;
    if (!get_long_double(place.value, &number) ||
        !num_parse_long_double(call->args.at[2], &increment)) {
        reply_error(call->out, ERR_NOT_FLOAT);
        return;
    }
    number += increment;
    if (isnan(number) || isinf(number)) {
        reply_error(call->out, "ERR increment would produce NaN or Infinity");
        return;
    }
    char digits[NUM_LONG_DOUBLE_TEXT_MAX];
    struct slice text = slice_of(digits, num_format_long_double(digits, number));
    if (!store_text(call, place, text)) {
        reply_error(call->out, ERR_NO_MEMORY);
        return;
    }
    reply_bulk(call->out, text);
    call_changed(call, 1, "incrbyfloat");
    struct slice effect[] = {slice_from_text("SET"), call->args.at[1], text,
                             slice_from_text("KEEPTTL")};
    call_effect(call, effect, 4);
}

static const struct command strings_numbers_rows[] = {
    {.name = "incr",
     .run = incr_run,
     .arity = 2,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_FAST,
     .categories = ACL_STRING,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_UPDATE}},
     .since = "1.0.0",
     .group = "string",
     .complexity = "O(1)",
     .summary = "Adds one to the integer that a key holds, 0 when it is missing.",
     .syntax = "key"},
    {.name = "decr",
     .run = decr_run,
     .arity = 2,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_FAST,
     .categories = ACL_STRING,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_UPDATE}},
     .since = "1.0.0",
     .group = "string",
     .complexity = "O(1)",
     .summary = "Takes one from the integer that a key holds, 0 when it is missing.",
     .syntax = "key"},
    {.name = "incrby",
     .run = incrby_run,
     .arity = 3,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_FAST,
     .categories = ACL_STRING,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_UPDATE}},
     .since = "1.0.0",
     .group = "string",
     .complexity = "O(1)",
     .summary = "Adds to the integer that a key holds, 0 when it is missing.",
     .syntax = "key increment:integer"},
    {.name = "decrby",
     .run = decrby_run,
     .arity = 3,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_FAST,
     .categories = ACL_STRING,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_UPDATE}},
     .since = "1.0.0",
     .group = "string",
     .complexity = "O(1)",
     .summary = "Subtracts from the integer that a key holds, 0 when it is missing.",
     .syntax = "key decrement:integer"},
    {.name = "incrbyfloat",
     .run = incrbyfloat_run,
     .arity = 3,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_FAST,
     .categories = ACL_STRING,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_UPDATE}},
     .since = "2.6.0",
     .group = "string",
     .complexity = "O(1)",
     .summary = "Adds to the decimal number that a key holds, 0 when it is missing.",
     .syntax = "key increment:double"},
};

void commands_register_strings_numbers(struct exec *exec)
{
    exec_register(exec, strings_numbers_rows,
                  sizeof(strings_numbers_rows) / sizeof(strings_numbers_rows[0]), NULL);
}
