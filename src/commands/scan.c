/* Cursors and options of the SCAN family. */
#include "commands/scan.h"

#include "base/glob.h"
#include "base/num.h"

static bool scan_parse_cursor(struct slice text, uint64_t *out)
{
    uint64_t cursor = 0;
    size_t at = text.len > 0 && (text.data[0] == '-' || text.data[0] == '+') ? 1 : 0;
    bool is_negative = at == 1 && text.data[0] == '-';
    if (at == 1 && text.len == 1) {
        return false;
    }
    for (; at < text.len; at++) {
        unsigned digit = (unsigned)(unsigned char)text.data[at] - '0';
        if (digit > 9 || __builtin_mul_overflow(cursor, 10, &cursor) ||
            __builtin_add_overflow(cursor, digit, &cursor)) {
            return false;
        }
    }
    *out = is_negative ? 0 - cursor : cursor;
    return true;
}

bool scan_cursor(struct call *call, uint32_t index, uint64_t *cursor)
{
    if (scan_parse_cursor(call->args.at[index], cursor)) {
        return true;
    }
    reply_error(call->out, "ERR invalid cursor");
    return false;
}

static bool scan_count(struct call *call, uint32_t index, size_t *count)
{
    int64_t number;
    if (!call_i64(call, index, &number, NULL)) {
        return false;
    }
    if (number < 1) {
        reply_error(call->out, ERR_SYNTAX);
        return false;
    }
    *count = (size_t)number;
    return true;
}

static void scan_set_pattern(struct scan_options *options, struct slice pattern)
{
    options->has_pattern = !slice_equal(pattern, slice_of("*", 1));
    options->pattern = pattern;
}

bool scan_options(struct call *call, uint32_t index, bool may_omit_values,
                  struct scan_options *options)
{
    *options = (struct scan_options){.count = SCAN_COUNT};
    for (; index < call->args.count; index++) {
        bool has_word = index + 1 < call->args.count;
        if (has_word && call_is(call, index, "COUNT")) {
            if (!scan_count(call, ++index, &options->count)) {
                return false;
            }
        } else if (has_word && call_is(call, index, "MATCH")) {
            scan_set_pattern(options, call->args.at[++index]);
        } else if (may_omit_values && call_is(call, index, "NOVALUES")) {
            options->has_no_values = true;
        } else {
            reply_error(call->out, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

bool scan_wants(const struct scan_options *options, struct slice element)
{
    return !options->has_pattern || glob_match(options->pattern, element);
}

void scan_reply(struct reply *out, uint64_t cursor, size_t count, struct reply *take_found)
{
    char digits[NUM_I64_TEXT_MAX + 1];
    reply_array(out, 2);
    reply_bulk(out, slice_of(digits, num_format_u64(digits, cursor)));
    reply_array(out, count);
    if (take_found != NULL) {
        reply_splice(out, take_found);
    }
}
