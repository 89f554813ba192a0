/* Expiry options.
 *
 * A moment is unix milliseconds. Options that name one are positive in every form, so whatever is
 * not is an error, and so is what overflows on its way to milliseconds. A moment in the past is
 * legal: it is the caller who knows what that means. */
#include "commands/expiry.h"

#include "exec/exec.h"

static enum expiry_word expiry_word_of(struct slice text)
{
    static const char *const names[] = {
        [EXPIRY_EX] = "EX",     [EXPIRY_PX] = "PX",           [EXPIRY_EXAT] = "EXAT",
        [EXPIRY_PXAT] = "PXAT", [EXPIRY_KEEPTTL] = "KEEPTTL", [EXPIRY_PERSIST] = "PERSIST",
    };
    for (unsigned word = EXPIRY_EX; word <= EXPIRY_PERSIST; word++) {
        if (slice_is(text, names[word])) {
            return (enum expiry_word)word;
        }
    }
    return EXPIRY_NONE;
}

bool expiry_take_option(const struct call *call, uint32_t *index, unsigned allowed,
                        struct expiry *expiry)
{
    enum expiry_word word = expiry_word_of(call->args.at[*index]);
    if ((allowed & 1U << word) == 0 || word == EXPIRY_NONE ||
        (expiry->word != EXPIRY_NONE && expiry->word != word)) {
        return false;
    }
    if ((EXPIRY_TIMES & 1U << word) != 0) {
        if (*index + 1 >= call->args.count) {
            return false;
        }
        expiry->index = ++*index;
    }
    expiry->word = word;
    return true;
}

void expiry_error(struct call *call)
{
    reply_errorf(call->out, "ERR invalid expire time in '%s' command", call->entry->full_name);
}

bool expiry_moment(struct call *call, uint32_t index, enum expiry_word word, int64_t *at_ms)
{
    int64_t time;
    if (!call_i64(call, index, &time, NULL)) {
        return false;
    }
    bool is_seconds = word == EXPIRY_EX || word == EXPIRY_EXAT;
    bool is_relative = word == EXPIRY_EX || word == EXPIRY_PX;
    if (time <= 0 || __builtin_mul_overflow(time, is_seconds ? 1000 : 1, &time) ||
        __builtin_add_overflow(time, is_relative ? call->now->wall_ms : 0, &time)) {
        expiry_error(call);
        return false;
    }
    *at_ms = time;
    return true;
}

bool expiry_resolve(struct call *call, struct expiry *expiry)
{
    expiry->at_ms = -1;
    if ((EXPIRY_TIMES & 1U << expiry->word) == 0) {
        return true;
    }
    return expiry_moment(call, expiry->index, expiry->word, &expiry->at_ms);
}
