/* Several strings at once: MGET, MSET, MSETNX, MSETEX.
 *
 * Keys are looked at in groups ahead of their use (ahead.h): on a data set larger than the caches
 * that turns a row of misses into one.
 *
 * Setting many keys is not undone when memory runs out in the middle: the error is replied, and the
 * effect names exactly the keys that were set. */
#include "commands/ahead.h"
#include "commands/commands.h"
#include "commands/strings.h"
#include "exec/exec.h"
#include "exec/sliced.h"

enum { MSETEX_FIRST = 2 }; /* Index of the first key. */

static void mget_one(struct call *call, uint32_t index)
{
    const struct value *value = call_peek(call, index, FIND_READ);
    bool is_string = value != NULL && value_kind(value) == VALUE_STRING;
    strings_reply(call, is_string ? value : NULL);
}

/* MGET key [key ...] */
static void mget_run(struct call *call)
{
    if (call_slice_keys(call, (struct key_row){.first = 1, .step = 1, .end = call->args.count})) {
        return;
    }
    reply_array(call->out, call->args.count - 1);
    for (uint32_t i = 1; i < call->args.count; i++) {
        keys_look_ahead(call, i, 1, 1, call->args.count);
        mget_one(call, i);
        if (!call_yield_sending_at(call, i)) {
            return;
        }
    }
}

/* Keys and values alternate from `first` on, up to `end`. */
struct pairs {
    uint32_t first, end;
};

/* Sets pairs until memory runs out, when it has written the error. Returns the end of those set. */
static uint32_t set_pairs(struct call *call, struct pairs pairs, struct string_ttl ttl)
{
    for (uint32_t i = pairs.first; i < pairs.end; i += 2) {
        keys_look_ahead(call, i, pairs.first, 2, pairs.end);
        if (!strings_store(call, i, call_peek_place(call, i, 0), i + 1, ttl)) {
            return i;
        }
        strings_stored(call, i, ttl);
        (void)call_yield_at(call, i / 2); /* Who writes goes on to the end. */
    }
    return pairs.end;
}

static bool has_any(struct call *call, struct pairs pairs)
{
    for (uint32_t i = pairs.first; i < pairs.end; i += 2) {
        if (call_peek(call, i, 0) != NULL) {
            return true;
        }
        (void)call_yield_at(call, i / 2);
    }
    return false;
}

static bool has_all(struct call *call, struct pairs pairs)
{
    for (uint32_t i = pairs.first; i < pairs.end; i += 2) {
        if (call_peek(call, i, 0) == NULL) {
            return false;
        }
        (void)call_yield_at(call, i / 2);
    }
    return true;
}

/* Whether they are so many that they will be set later. */
static bool slices_pairs(struct call *call, struct pairs pairs)
{
    return call_slice_keys(call,
                           (struct key_row){.first = pairs.first, .step = 2, .end = pairs.end});
}

static struct pairs all_pairs(const struct call *call)
{
    return (struct pairs){.first = 1, .end = call->args.count};
}

/* MSET and MSETNX: what was set when memory ran out goes to the log as it is. */
static bool mset(struct call *call)
{
    struct pairs pairs = all_pairs(call);
    uint32_t end = set_pairs(call, pairs, (struct string_ttl){.at_ms = -1});
    if (end == pairs.end) {
        return true;
    }
    if (end > pairs.first) {
        struct slice name = call->args.at[0];
        call->args.at[0] = slice_from_text("MSET");
        call_effect(call, call->args.at, end);
        call->args.at[0] = name;
    }
    return false;
}

/* MSET key value [key value ...] */
static void mset_run(struct call *call)
{
    if (call->args.count % 2 == 0) {
        call_arity_error(call);
    } else if (!slices_pairs(call, all_pairs(call)) && mset(call)) {
        reply_ok(call->out);
    }
}

/* MSETNX key value [key value ...] */
static void msetnx_run(struct call *call)
{
    if (call->args.count % 2 == 0) {
        call_arity_error(call);
    } else if (slices_pairs(call, all_pairs(call))) {
        return;
    } else if (has_any(call, all_pairs(call))) {
        reply_integer(call->out, 0);
    } else if (mset(call)) {
        reply_integer(call->out, 1);
    }
}

/* ---- MSETEX ---- */

struct msetex_options {
    struct pairs pairs;
    bool is_nx, is_xx;
    struct expiry expiry;
};

static bool msetex_parse(struct call *call, struct msetex_options *options)
{
    int64_t count;
    if (!call_i64(call, 1, &count, "ERR invalid numkeys value")) {
        return false;
    }
    if (count <= 0 || count > INT32_MAX) {
        reply_error(call->out, "ERR invalid numkeys value");
        return false;
    }
    if (count > (call->args.count - MSETEX_FIRST) / 2) {
        reply_error(call->out, "ERR wrong number of key-value pairs");
        return false;
    }
    options->pairs =
        (struct pairs){.first = MSETEX_FIRST, .end = MSETEX_FIRST + 2 * (uint32_t)count};
    for (uint32_t i = options->pairs.end; i < call->args.count; i++) {
        if (call_is(call, i, "NX") && !options->is_xx) {
            options->is_nx = true;
        } else if (call_is(call, i, "XX") && !options->is_nx) {
            options->is_xx = true;
        } else if (!expiry_take_option(call, &i, EXPIRY_TIMES | 1U << EXPIRY_KEEPTTL,
                                       &options->expiry)) {
            reply_error(call->out, ERR_SYNTAX);
            return false;
        }
    }
    return expiry_resolve(call, &options->expiry);
}

/* MSETEX numkeys key value [key value ...] [NX | XX] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL].
 * Its effects are SETs, which every replica knows. */
static void msetex_run(struct call *call)
{
    struct msetex_options options = {.expiry.word = EXPIRY_NONE};
    if (!msetex_parse(call, &options) || slices_pairs(call, options.pairs)) {
        return;
    }
    if ((options.is_nx && has_any(call, options.pairs)) ||
        (options.is_xx && !has_all(call, options.pairs))) {
        reply_integer(call->out, 0);
        return;
    }
    struct string_ttl ttl = {.at_ms = options.expiry.at_ms,
                             .is_kept = options.expiry.word == EXPIRY_KEEPTTL};
    uint32_t end = set_pairs(call, options.pairs, ttl);
    for (uint32_t i = options.pairs.first; i < end && call_wants_effects(call); i += 2) {
        strings_effect(call, i, i + 1, ttl);
        (void)call_yield_at(call, i / 2);
    }
    if (end == options.pairs.end) {
        reply_integer(call->out, 1);
    }
}

static const struct command strings_many_rows[] = {
    {.name = "mget",
     .run = mget_run,
     .arity = -2,
     .flags = CMD_READONLY | CMD_FAST | CMD_SLICES_KEYS,
     .categories = ACL_STRING,
     .keys = {{.first = 1, .last = -1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "1.0.0",
     .group = "string",
     .complexity = "O(N) where N is the number of keys.",
     .summary = "Returns the strings of several keys, null for those that hold none.",
     .syntax = "key...",
     .tips = "request_policy:multi_shard"},
    {.name = "mset",
     .run = mset_run,
     .arity = -3,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_SLICES_KEYS,
     .categories = ACL_STRING,
     .keys = {{.first = 1, .last = -1, .step = 2, .access = KEY_OW, .use = KEY_USE_UPDATE}},
     .since = "1.0.1",
     .group = "string",
     .complexity = "O(N) where N is the number of keys.",
     .summary = "Sets several keys to strings, all at once.",
     .syntax = "(key value)...",
     .tips = "request_policy:multi_shard response_policy:all_succeeded"},
    {.name = "msetnx",
     .run = msetnx_run,
     .arity = -3,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_SLICES_KEYS,
     .categories = ACL_STRING,
     .keys = {{.first = 1, .last = -1, .step = 2, .access = KEY_OW, .use = KEY_USE_INSERT}},
     .since = "1.0.1",
     .group = "string",
     .complexity = "O(N) where N is the number of keys.",
     .summary = "Sets several keys to strings, unless one of them exists.",
     .syntax = "(key value)...",
     .tips = "request_policy:multi_shard response_policy:agg_min"},
    {.name = "msetex",
     .run = msetex_run,
     .arity = -4,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_SLICES_KEYS,
     .categories = ACL_STRING,
     .keys = {{.first = 1,
               .last = -1,
               .step = 2,
               .is_counted = true,
               .access = KEY_OW,
               .use = KEY_USE_UPDATE}},
     .since = "8.4.0",
     .group = "string",
     .complexity = "O(N) where N is the number of keys.",
     .summary = "Sets several keys to strings with one expiry, if all or none of them exist.",
     .syntax = "numkeys:integer (key value)... [condition: NX | XX] "
               "[expiration: EX seconds:integer | PX milliseconds:integer | "
               "EXAT unix-time-seconds:unix-time | PXAT unix-time-milliseconds:unix-time | "
               "KEEPTTL]",
     .tips = "request_policy:multi_shard response_policy:agg_min"},
};

void commands_register_strings_many(struct exec *exec)
{
    exec_register(exec, strings_many_rows, sizeof(strings_many_rows) / sizeof(strings_many_rows[0]),
                  NULL);
}
