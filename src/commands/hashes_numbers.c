/* Fields as numbers: HINCRBY and HINCRBYFLOAT.
 *
 * An integer is held in one to nine bytes, so counting usually writes in place. A float is computed
 * as a long double and stored as its shortest text; its effect is the result, because another
 * machine may round differently. */
#include <math.h>

#include "base/num.h"
#include "commands/commands.h"
#include "commands/hashes.h"

/* Puts the result into the field, whose expiry stays. False: the error is in the reply. */
static bool store(struct call *call, struct slice text, int64_t expire_ms)
{
    struct hashes_edit edit;
    if (!hashes_open(call, &edit)) {
        return false;
    }
    bool is_done = hash_try_put_until(&edit.place, call->args.at[2], text, expire_ms,
                                      &edit.rules) != HASH_NO_MEMORY;
    hashes_close(call, &edit);
    if (!is_done) {
        reply_error(call->out, ERR_NO_MEMORY);
    }
    return is_done;
}

/* Whether the field is there; false with is_wrong: the key holds another type, the error is in the
 * reply. What is not there has no expiry. */
static bool find_field(struct call *call, struct hash_pair *pair, bool *is_wrong)
{
    struct place place;
    *is_wrong = !call_find_place(call, 1, VALUE_HASH, &place);
    if (!*is_wrong && hashes_find(call, place.value, call->args.at[2], pair)) {
        return true;
    }
    pair->expire_ms = HASH_NO_EXPIRE;
    return false;
}

/* HINCRBY key field increment */
static void hincrby_run(struct call *call)
{
    int64_t increment;
    struct hash_pair pair;
    bool is_wrong;
    if (!call_i64(call, 3, &increment, NULL)) {
        return;
    }
    int64_t number = 0;
    if (find_field(call, &pair, &is_wrong) && !pack_item_i64(&pair.text, &number)) {
        reply_error(call->out, "ERR hash value is not an integer");
        return;
    }
    if (is_wrong) {
        return;
    }
    if (__builtin_add_overflow(number, increment, &number)) {
        reply_error(call->out, "ERR increment or decrement would overflow");
        return;
    }
    char digits[PACK_DIGITS];
    if (store(call, slice_of(digits, num_format_i64(digits, number)), pair.expire_ms)) {
        reply_integer(call->out, number);
        call_changed(call, 1, "hincrby");
    }
}

static void add_float(struct call *call, long double increment)
{
    struct hash_pair pair;
    bool is_wrong;
    char digits[NUM_LONG_DOUBLE_TEXT_MAX];
    long double number = 0;
    if (find_field(call, &pair, &is_wrong) &&
        !num_parse_long_double(pack_text(&pair.text, digits), &number)) {
        reply_error(call->out, "ERR hash value is not a float");
        return;
    }
    if (is_wrong) {
        return;
    }
    number += increment;
    if (isnan(number) || isinf(number)) {
        reply_error(call->out, "ERR increment would produce NaN or Infinity");
        return;
    }
    struct slice text = slice_of(digits, num_format_long_double(digits, number));
    if (!store(call, text, pair.expire_ms)) {
        return;
    }
    reply_bulk(call->out, text);
    call_changed(call, 1, "hincrbyfloat");
    struct slice effect[] = {slice_from_text("HSET"), call->args.at[1], call->args.at[2], text};
    call_effect(call, effect, 4);
    if (pair.expire_ms >= 0) {
        char moment[NUM_I64_TEXT_MAX + 1]; /* HSET lets the field forget it. */
        struct slice keep[] = {slice_from_text("HPEXPIREAT"),
                               call->args.at[1],
                               slice_of(moment, num_format_i64(moment, pair.expire_ms)),
                               slice_from_text("FIELDS"),
                               slice_from_text("1"),
                               call->args.at[2]};
        call_effect(call, keep, 6);
    }
}

/* HINCRBYFLOAT key field increment */
static void hincrbyfloat_run(struct call *call)
{
    long double increment;
    if (!num_parse_long_double(call->args.at[3], &increment)) {
        reply_error(call->out, ERR_NOT_FLOAT);
    } else if (isnan(increment) || isinf(increment)) {
        reply_error(call->out, "ERR value is NaN or Infinity");
    } else {
        add_float(call, increment);
    }
}

static const struct command hashes_numbers_rows[] = {
    {.name = "hincrby",
     .run = hincrby_run,
     .arity = 4,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_FAST,
     .categories = ACL_HASH,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_UPDATE}},
     .since = "2.0.0",
     .group = "hash",
     .complexity = "O(1)",
     .summary = "Adds to the integer in a field, 0 when it is missing.",
     .syntax = "key field increment:integer"},
    {.name = "hincrbyfloat",
     .run = hincrbyfloat_run,
     .arity = 4,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_FAST,
     .categories = ACL_HASH,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_UPDATE}},
     .since = "2.6.0",
     .group = "hash",
     .complexity = "O(1)",
     .summary = "Adds to the decimal number in a field, 0 when it is missing.",
     .syntax = "key field increment:double"},
};

void commands_register_hashes_numbers(struct exec *exec, struct type_limits *limits)
{
    exec_register(exec, hashes_numbers_rows,
                  sizeof(hashes_numbers_rows) / sizeof(hashes_numbers_rows[0]), limits);
}
