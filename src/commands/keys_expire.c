/* When keys go: EXPIRE and its three forms, TTL and its three, PERSIST.
 *
 * All of them deal in unix milliseconds. A moment that has passed removes the key at once; its
 * effect is DEL then, and PEXPIREAT with the moment otherwise, so that a log that is read later, or
 * a replica whose clock differs, comes to the same end. */
#include "base/num.h"
#include "commands/commands.h"
#include "exec/call.h"
#include "exec/exec.h"

/* ---- EXPIRE ---- */

enum expire_condition {
    EXPIRE_NX = 1 << 0, /* Only a key without expiry. */
    EXPIRE_XX = 1 << 1, /* Only a key with one. */
    EXPIRE_GT = 1 << 2, /* Only to a later moment. */
    EXPIRE_LT = 1 << 3, /* Only to an earlier one. */
};

static unsigned expire_condition_of(struct slice text)
{
    return slice_is(text, "NX")   ? EXPIRE_NX
           : slice_is(text, "XX") ? EXPIRE_XX
           : slice_is(text, "GT") ? EXPIRE_GT
           : slice_is(text, "LT") ? EXPIRE_LT
                                  : 0U;
}

static bool expire_parse(struct call *call, unsigned *conditions)
{
    for (uint32_t i = 3; i < call->args.count; i++) {
        unsigned condition = expire_condition_of(call->args.at[i]);
        if (condition == 0) {
            struct slice word = call->args.at[i];
            int len = (int)strnlen(word.len > 0 ? word.data : "", word.len < 128 ? word.len : 128);
            reply_errorf(call->out, "ERR Unsupported option %.*s", len, word.data);
            return false;
        }
        *conditions |= condition;
    }
    if ((*conditions & EXPIRE_NX) != 0 && *conditions != EXPIRE_NX) {
        reply_error(call->out,
                    "ERR NX and XX, GT or LT options at the same time are not compatible");
        return false;
    }
    if ((*conditions & EXPIRE_GT) != 0 && (*conditions & EXPIRE_LT) != 0) {
        reply_error(call->out, "ERR GT and LT options at the same time are not compatible");
        return false;
    }
    return true;
}

/* The moment that the second argument means: in `scale` milliseconds, from `base_ms` on. */
static bool expire_moment(struct call *call, int64_t scale, int64_t base_ms, int64_t *at_ms)
{
    int64_t time;
    if (!call_i64(call, 2, &time, NULL)) {
        return false;
    }
    if (__builtin_mul_overflow(time, scale, &time) ||
        __builtin_add_overflow(time, base_ms, &time)) {
        reply_errorf(call->out, "ERR invalid expire time in '%s' command", call->entry->full_name);
        return false;
    }
    *at_ms = time;
    return true;
}

/* No expiry counts as one that is infinitely late. */
static bool expire_is_wanted(unsigned conditions, int64_t old_ms, int64_t at_ms)
{
    bool has_old = old_ms >= 0;
    if (((conditions & EXPIRE_NX) != 0 && has_old) || ((conditions & EXPIRE_XX) != 0 && !has_old)) {
        return false;
    }
    if ((conditions & EXPIRE_GT) != 0 && (!has_old || at_ms <= old_ms)) {
        return false;
    }
    return (conditions & EXPIRE_LT) == 0 || !has_old || at_ms < old_ms;
}

static void expire_remove(struct call *call, struct place place)
{
    call_remove(call, 1, place);
    reply_integer(call->out, 1);
    call_changed(call, 1, "del");
    struct slice effect[] = {slice_from_text("DEL"), call->args.at[1]};
    call_effect(call, effect, 2);
}

static void expire_file(struct call *call, struct place place, int64_t at_ms)
{
    if (!db_set_expire(call->db, call_hash(call, 1), &place, at_ms)) {
        reply_error(call->out, ERR_NO_MEMORY);
        return;
    }
    reply_integer(call->out, 1);
    call_changed(call, 1, "expire");
    if (call_wants_effects(call)) {
        char digits[NUM_I64_TEXT_MAX + 1];
        struct slice effect[] = {slice_from_text("PEXPIREAT"), call->args.at[1],
                                 slice_of(digits, num_format_i64(digits, at_ms))};
        call_effect(call, effect, 3);
    }
}

static void expire_with(struct call *call, int64_t scale, int64_t base_ms)
{
    unsigned conditions = 0;
    int64_t at_ms;
    if (!expire_parse(call, &conditions) || !expire_moment(call, scale, base_ms, &at_ms)) {
        return;
    }
    struct place place = call_peek_place(call, 1, 0);
    if (place.value == NULL || !expire_is_wanted(conditions, value_expire_ms(place.value), at_ms)) {
        reply_integer(call->out, 0);
        return;
    }
    /* A replica waits for its primary's DEL. */
    bool is_past = at_ms <= call->now->wall_ms;
    if (is_past && (call->session->flags & SESSION_PRIMARY) == 0) {
        expire_remove(call, place);
    } else {
        expire_file(call, place, at_ms);
    }
}

/* EXPIRE key seconds [NX | XX | GT | LT] */
static void expire_run(struct call *call)
{
    expire_with(call, 1000, call->now->wall_ms);
}

/* PEXPIRE key milliseconds [NX | XX | GT | LT] */
static void pexpire_run(struct call *call)
{
    expire_with(call, 1, call->now->wall_ms);
}

/* EXPIREAT key unix-time-seconds [NX | XX | GT | LT] */
static void expireat_run(struct call *call)
{
    expire_with(call, 1000, 0);
}

/* PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT] */
static void pexpireat_run(struct call *call)
{
    expire_with(call, 1, 0);
}

/* ---- TTL ---- */

enum ttl_unit { TTL_MS, TTL_S };

/* -2: no key, -1: no expiry; seconds are rounded to the nearest. */
static void ttl_reply(struct call *call, enum ttl_unit unit, int64_t base_ms)
{
    const struct value *value = call_peek(call, 1, FIND_READ | FIND_NO_TOUCH);
    int64_t expire_ms = value == NULL ? -1 : value_expire_ms(value);
    if (expire_ms < 0) {
        reply_integer(call->out, value == NULL ? -2 : -1);
        return;
    }
    int64_t ms = expire_ms > base_ms ? expire_ms - base_ms : 0;
    reply_integer(call->out, unit == TTL_MS ? ms : (ms + 500) / 1000);
}

/* TTL key */
static void ttl_run(struct call *call)
{
    ttl_reply(call, TTL_S, call->now->wall_ms);
}

/* PTTL key */
static void pttl_run(struct call *call)
{
    ttl_reply(call, TTL_MS, call->now->wall_ms);
}

/* EXPIRETIME key */
static void expiretime_run(struct call *call)
{
    ttl_reply(call, TTL_S, 0);
}

/* PEXPIRETIME key */
static void pexpiretime_run(struct call *call)
{
    ttl_reply(call, TTL_MS, 0);
}

/* PERSIST key */
static void persist_run(struct call *call)
{
    struct place place = call_peek_place(call, 1, 0);
    if (place.value == NULL || !db_clear_expire(call->db, &place)) {
        reply_integer(call->out, 0);
        return;
    }
    reply_integer(call->out, 1);
    call_changed(call, 1, "persist");
}

/* ---- Rows ---- */

/* What the documentation of several rows has in common. */
#define CONDITION_HISTORY "7.0.0 Added options: `NX`, `XX`, `GT` and `LT`."
#define CONDITION "[condition: NX | XX | GT | LT]@7.0.0"

static const struct command keys_expire_rows[] = {
    {.name = "expire",
     .run = expire_run,
     .arity = -3,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = ACL_KEYSPACE,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_UPDATE}},
     .since = "1.0.0",
     .group = "generic",
     .complexity = "O(1)",
     .summary = "Has a key removed after so many seconds.",
     .syntax = "key seconds:integer " CONDITION,
     .history = CONDITION_HISTORY},
    {.name = "pexpire",
     .run = pexpire_run,
     .arity = -3,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = ACL_KEYSPACE,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_UPDATE}},
     .since = "2.6.0",
     .group = "generic",
     .complexity = "O(1)",
     .summary = "Has a key removed after so many milliseconds.",
     .syntax = "key milliseconds:integer " CONDITION,
     .history = CONDITION_HISTORY},
    {.name = "expireat",
     .run = expireat_run,
     .arity = -3,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = ACL_KEYSPACE,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_UPDATE}},
     .since = "1.2.0",
     .group = "generic",
     .complexity = "O(1)",
     .summary = "Has a key removed at a moment given in unix seconds.",
     .syntax = "key unix-time-seconds:unix-time " CONDITION,
     .history = CONDITION_HISTORY},
    {.name = "pexpireat",
     .run = pexpireat_run,
     .arity = -3,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = ACL_KEYSPACE,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_UPDATE}},
     .since = "2.6.0",
     .group = "generic",
     .complexity = "O(1)",
     .summary = "Has a key removed at a moment given in unix milliseconds.",
     .syntax = "key unix-time-milliseconds:unix-time " CONDITION,
     .history = CONDITION_HISTORY},
    {.name = "ttl",
     .run = ttl_run,
     .arity = 2,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_KEYSPACE,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "1.0.0",
     .group = "generic",
     .complexity = "O(1)",
     .summary = "Returns how many seconds a key has left; -1 without expiry, -2 without key.",
     .syntax = "key",
     .tips = "nondeterministic_output",
     .history = "2.8.0 Added the -2 reply."},
    {.name = "pttl",
     .run = pttl_run,
     .arity = 2,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_KEYSPACE,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "2.6.0",
     .group = "generic",
     .complexity = "O(1)",
     .summary = "Returns how many milliseconds a key has left; -1 without expiry, -2 without key.",
     .syntax = "key",
     .tips = "nondeterministic_output",
     .history = "2.8.0 Added the -2 reply."},
    {.name = "expiretime",
     .run = expiretime_run,
     .arity = 2,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_KEYSPACE,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "7.0.0",
     .group = "generic",
     .complexity = "O(1)",
     .summary = "Returns when a key expires, in unix seconds.",
     .syntax = "key"},
    {.name = "pexpiretime",
     .run = pexpiretime_run,
     .arity = 2,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_KEYSPACE,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "7.0.0",
     .group = "generic",
     .complexity = "O(1)",
     .summary = "Returns when a key expires, in unix milliseconds.",
     .syntax = "key"},
    {.name = "persist",
     .run = persist_run,
     .arity = 2,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = ACL_KEYSPACE,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_UPDATE}},
     .since = "2.2.0",
     .group = "generic",
     .complexity = "O(1)",
     .summary = "Drops a key's expiry.",
     .syntax = "key"},
};

void commands_register_keys_expire(struct exec *exec)
{
    exec_register(exec, keys_expire_rows, sizeof(keys_expire_rows) / sizeof(keys_expire_rows[0]),
                  NULL);
}
