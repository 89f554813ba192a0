/* The arguments and the frame of the reply of SSCAN, HSCAN and ZSCAN, read as Redis reads them. */
#include "commands/scan.h"

#include "base/glob.h"
#include "base/num.h"

enum { SCAN_COUNT = 10 };

/* A cursor as Redis reads it, with strtoul: a sign is legal, and so is nothing at all. */
static bool scan_cursor(struct slice text, uint64_t *out)
{
    uint64_t cursor = 0;
    bool has_sign = text.len > 0 && (text.data[0] == '-' || text.data[0] == '+');
    if (has_sign && text.len == 1) {
        return false;
    }
    for (size_t at = has_sign ? 1 : 0; at < text.len; at++) {
        unsigned digit = (unsigned)(unsigned char)text.data[at] - '0';
        if (digit > 9 || __builtin_mul_overflow(cursor, 10, &cursor) ||
            __builtin_add_overflow(cursor, digit, &cursor)) {
            return false;
        }
    }
    *out = has_sign && text.data[0] == '-' ? 0 - cursor : cursor;
    return true;
}

bool scan_parse_cursor(struct call *call, uint32_t index, struct scan_options *options)
{
    *options = (struct scan_options){.count = SCAN_COUNT};
    if (!scan_cursor(call->args.at[index], &options->cursor)) {
        reply_error(call->out, "ERR invalid cursor");
        return false;
    }
    return true;
}

static bool scan_take_count(struct call *call, uint32_t index, struct scan_options *options)
{
    int64_t count;
    if (!call_i64(call, index, &count, NULL)) {
        return false;
    }
    if (count < 1) {
        reply_error(call->out, ERR_SYNTAX);
        return false;
    }
    options->count = (size_t)count;
    return true;
}

bool scan_parse_options(struct call *call, uint32_t index, struct scan_options *options,
                        scan_option_fn take_other, void *context)
{
    while (index < call->args.count) {
        bool has_value = index + 1 < call->args.count;
        if (has_value && call_is(call, index, "COUNT")) {
            if (!scan_take_count(call, index + 1, options)) {
                return false;
            }
            index += 2;
        } else if (has_value && call_is(call, index, "MATCH")) {
            options->pattern = call->args.at[index + 1];
            options->has_pattern = !slice_equal(options->pattern, slice_of("*", 1));
            index += 2;
        } else if (take_other != NULL && take_other(call, index, context)) {
            index++;
        } else {
            reply_error(call->out, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

bool scan_matches(const struct scan_options *options, struct slice text)
{
    return !options->has_pattern || glob_match(options->pattern, text);
}

void scan_reply_cursor(struct reply *out, uint64_t cursor)
{
    char digits[NUM_I64_TEXT_MAX + 1];
    reply_array(out, 2);
    reply_bulk(out, slice_of(digits, num_format_u64(digits, cursor)));
}

void scan_reply_nothing(struct reply *out)
{
    scan_reply_cursor(out, 0);
    reply_array(out, 0);
}
