/* GET, SET and their relatives: the commands that read or replace a whole string.
 *
 * The hot path. GET key is one lookup and one bulk. SET key value with three arguments parses no
 * options: it looks up the place, overwrites a string in place when the block's size class allows,
 * and inserts a new value otherwise. A value of BLOB_LEN_MIN bytes or more was received into an
 * allocation of its own, which becomes the value without a copy; GET references it.
 *
 * Every other form goes through string_ttl and strings_store, or, when the old value is to be
 * answered as well, builds the new value first: so a lack of memory is told before anything is
 * changed or replied.
 *
 * Effects leave as SET key value [KEEPTTL | PXAT ms], whatever the options were, and only when
 * something was set. */
#include "commands/strings.h"

#include "base/assert.h"
#include "base/num.h"
#include "commands/commands.h"
#include "exec/exec.h"

enum { EFFECT_ARGS_MAX = 5 };

/* ---- Shared by the string commands ---- */

void strings_reply(struct call *call, const struct value *value)
{
    if (value == NULL) {
        reply_null(call->out);
        return;
    }
    struct blob *blob = string_blob(value);
    if (blob != NULL) {
        reply_bulk_blob(call->out, blob, 0, blob->len);
        return;
    }
    struct string_scratch scratch;
    reply_bulk(call->out, string_get(value, &scratch));
}

struct value *strings_try_new(struct call *call, uint32_t key_index, uint32_t value_index,
                              bool has_expire)
{
    struct slice key = call->args.at[key_index];
    struct slice text = call->args.at[value_index];
    struct blob *blob = text.len >= BLOB_LEN_MIN ? call_take_blob(call, value_index) : NULL;
    if (blob == NULL) {
        return string_try_new(key, text, has_expire);
    }
    struct value *value = string_try_new_blob(key, blob, has_expire);
    if (value == NULL) {
        blob_drop(blob);
    }
    return value;
}

/* Overwrites the string at `place` with an argument. */
static bool overwrite(struct call *call, struct place *place, uint32_t value_index, bool has_expire)
{
    struct slice text = call->args.at[value_index];
    struct blob *blob = text.len >= BLOB_LEN_MIN ? call_take_blob(call, value_index) : NULL;
    bool had_expire = value_has_expire(place->value);
    if (blob == NULL) {
        if (!string_try_set(place, text, has_expire)) {
            return false;
        }
    } else if (!string_try_set_blob(place, blob, has_expire)) {
        blob_drop(blob);
        return false;
    }
    if (had_expire && !has_expire) {
        db_note_expire_lost(call->db, place);
    }
    return true;
}

/* The new value's expiry was given room already, so filing it cannot fail. */
static void file_expire(struct call *call, uint32_t key_index, struct place *place, int64_t at_ms)
{
    bool is_filed = db_set_expire(call->db, call_hash(call, key_index), place, at_ms);
    ASSERT(is_filed);
}

bool strings_store(struct call *call, uint32_t key_index, struct place place, uint32_t value_index,
                   struct string_ttl ttl)
{
    int64_t at_ms = ttl.at_ms;
    if (at_ms < 0 && ttl.is_kept && place.value != NULL) {
        at_ms = value_expire_ms(place.value);
    }
    bool is_set = true;
    if (place.value != NULL && value_kind(place.value) == VALUE_STRING &&
        !value_is_pinned(place.value)) { /* Whoever reads it keeps it as it was. */
        is_set = overwrite(call, &place, value_index, at_ms >= 0);
    } else {
        struct value *value = strings_try_new(call, key_index, value_index, at_ms >= 0);
        is_set = value != NULL;
        if (is_set && place.value == NULL) {
            place = db_insert(call->db, call_hash(call, key_index), value);
        } else if (is_set) {
            db_replace(call->db, &place, value);
        }
    }
    if (!is_set) {
        reply_error(call->out, ERR_NO_MEMORY);
        return false;
    }
    if (at_ms >= 0) {
        file_expire(call, key_index, &place, at_ms);
    }
    return true;
}

void strings_stored(struct call *call, uint32_t index, struct string_ttl ttl)
{
    call_changed(call, index, "set");
    if (ttl.at_ms >= 0) {
        call_event(call, call->db, call->args.at[index], "expire");
    }
}

void strings_effect(struct call *call, uint32_t key_index, uint32_t value_index,
                    struct string_ttl ttl)
{
    if (!call_wants_effects(call)) {
        return;
    }
    char digits[NUM_I64_TEXT_MAX + 1];
    struct slice args[EFFECT_ARGS_MAX] = {slice_from_text("SET"), call->args.at[key_index],
                                          call->args.at[value_index]};
    uint32_t count = 3;
    if (ttl.at_ms >= 0) {
        args[count++] = slice_from_text("PXAT");
        args[count++] = slice_of(digits, num_format_i64(digits, ttl.at_ms));
    } else if (ttl.is_kept) {
        args[count++] = slice_from_text("KEEPTTL");
    }
    call_effect(call, args, count);
}

void strings_remove(struct call *call, struct place place)
{
    call_remove(call, 1, place);
    call_changed(call, 1, "del");
    struct slice effect[] = {slice_from_text("DEL"), call->args.at[1]};
    call_effect(call, effect, 2);
}

/* ---- Reading ---- */

/* GET key */
static void get_run(struct call *call)
{
    struct value *value;
    if (call_find(call, 1, VALUE_STRING, &value)) {
        strings_reply(call, value);
    }
}

/* The key goes, once its text was answered. */
static void reply_and_remove(struct call *call, struct place place)
{
    strings_reply(call, place.value);
    strings_remove(call, place);
}

static void getex_expire(struct call *call, struct place place, int64_t at_ms)
{
    if (!db_set_expire(call->db, call_hash(call, 1), &place, at_ms)) {
        reply_error(call->out, ERR_NO_MEMORY);
        return;
    }
    strings_reply(call, place.value);
    call_changed(call, 1, "expire");
    char digits[NUM_I64_TEXT_MAX + 1];
    struct slice effect[] = {slice_from_text("PEXPIREAT"), call->args.at[1],
                             slice_of(digits, num_format_i64(digits, at_ms))};
    call_effect(call, effect, 3);
}

static void getex_persist(struct call *call, struct place place)
{
    bool was_volatile = db_clear_expire(call->db, &place);
    strings_reply(call, place.value);
    if (was_volatile) {
        call_changed(call, 1, "persist");
        struct slice effect[] = {slice_from_text("PERSIST"), call->args.at[1]};
        call_effect(call, effect, 2);
    }
}

/* GETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST] */
static void getex_run(struct call *call)
{
    struct expiry expiry = {.word = EXPIRY_NONE};
    for (uint32_t i = 2; i < call->args.count; i++) {
        if (!expiry_take_option(call, &i, EXPIRY_TIMES | 1U << EXPIRY_PERSIST, &expiry)) {
            reply_error(call->out, ERR_SYNTAX);
            return;
        }
    }
    struct place place = call_peek_place(call, 1, FIND_READ);
    if (place.value == NULL) {
        reply_null(call->out);
        return;
    }
    if (value_kind(place.value) != VALUE_STRING) {
        reply_error(call->out, ERR_WRONG_TYPE);
        return;
    }
    if (!expiry_resolve(call, &expiry)) {
        return;
    }
    if (expiry.word == EXPIRY_PERSIST) {
        getex_persist(call, place);
    } else if (expiry.at_ms < 0) {
        strings_reply(call, place.value);
    } else if (expiry.at_ms <= call->now->wall_ms &&
               (call->session->flags & SESSION_PRIMARY) == 0) {
        reply_and_remove(call, place);
    } else {
        getex_expire(call, place, expiry.at_ms);
    }
}

/* GETDEL key */
static void getdel_run(struct call *call)
{
    struct place place = call_peek_place(call, 1, FIND_READ);
    if (place.value == NULL) {
        reply_null(call->out);
    } else if (value_kind(place.value) != VALUE_STRING) {
        reply_error(call->out, ERR_WRONG_TYPE);
    } else {
        reply_and_remove(call, place);
    }
}

/* STRLEN key */
static void strlen_run(struct call *call)
{
    struct value *value;
    if (call_find(call, 1, VALUE_STRING, &value)) {
        reply_count(call->out, value == NULL ? 0 : string_len(value));
    }
}

/* ---- SET ---- */

struct set_options {
    bool is_nx, is_xx, has_get;
    struct string_condition condition;
    struct expiry expiry;
};

static bool set_take_flag(const struct call *call, uint32_t index, struct set_options *options)
{
    bool *flag = call_is(call, index, "NX")    ? &options->is_nx
                 : call_is(call, index, "XX")  ? &options->is_xx
                 : call_is(call, index, "GET") ? &options->has_get
                                               : NULL;
    if (flag != NULL) {
        *flag = true;
    }
    return flag != NULL;
}

static bool set_parse(struct call *call, struct set_options *options)
{
    for (uint32_t i = 3; i < call->args.count; i++) {
        if (!set_take_flag(call, i, options) &&
            !strings_take_condition(call, &i, &options->condition) &&
            !expiry_take_option(call, &i, EXPIRY_TIMES | 1U << EXPIRY_KEEPTTL, &options->expiry)) {
            reply_error(call->out, ERR_SYNTAX);
            return false;
        }
    }
    bool has_condition = options->condition.kind != CONDITION_NONE;
    if (options->is_nx + options->is_xx + has_condition > 1) {
        reply_error(call->out, ERR_SYNTAX);
        return false;
    }
    return strings_check_condition(call, &options->condition) &&
           expiry_resolve(call, &options->expiry);
}

static bool set_is_wanted(struct call *call, const struct set_options *options, struct place *place)
{
    const struct value *old = place->value;
    if ((options->is_nx && old != NULL) || (options->is_xx && old == NULL)) {
        return false;
    }
    return strings_place_holds(call, &options->condition, place);
}

/* Answers the old text and sets the new one; the new value is built before the reply so that a lack
 * of memory is the only reply. */
static bool set_and_get(struct call *call, struct place place, struct string_ttl ttl)
{
    int64_t at_ms = ttl.at_ms;
    if (at_ms < 0 && ttl.is_kept && place.value != NULL) {
        at_ms = value_expire_ms(place.value);
    }
    struct value *value = strings_try_new(call, 1, 2, at_ms >= 0);
    if (value == NULL) {
        reply_error(call->out, ERR_NO_MEMORY);
        return false;
    }
    strings_reply(call, place.value);
    place = call_insert(call, 1, value);
    if (at_ms >= 0) {
        file_expire(call, 1, &place, at_ms);
    }
    return true;
}

static bool needs_string(const struct set_options *options)
{
    return options->has_get || options->condition.kind != CONDITION_NONE;
}

static void set_with_options(struct call *call)
{
    struct set_options options = {.expiry.word = EXPIRY_NONE};
    if (!set_parse(call, &options)) {
        return;
    }
    struct place place = call_peek_place(call, 1, options.has_get ? FIND_READ : 0);
    if (needs_string(&options) && place.value != NULL && value_kind(place.value) != VALUE_STRING) {
        reply_error(call->out, ERR_WRONG_TYPE);
        return;
    }
    if (strings_slice_condition(call, &options.condition, place.value)) {
        return;
    }
    if (!set_is_wanted(call, &options, &place)) {
        strings_reply(call, options.has_get ? place.value : NULL);
        return;
    }
    struct string_ttl ttl = {.at_ms = options.expiry.at_ms,
                             .is_kept = options.expiry.word == EXPIRY_KEEPTTL};
    if (options.has_get) {
        if (!set_and_get(call, place, ttl)) {
            return;
        }
    } else {
        if (!strings_store(call, 1, place, 2, ttl)) {
            return;
        }
        reply_ok(call->out);
    }
    strings_stored(call, 1, ttl);
    strings_effect(call, 1, 2, ttl);
}

/* SET key value [NX | XX | IFEQ text | ...] [GET] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL] */
static void set_run(struct call *call)
{
    if (__builtin_expect(call->args.count != 3, 0)) {
        set_with_options(call);
        return;
    }
    struct place place = call_peek_place(call, 1, 0);
    bool is_set = place.value != NULL && string_overwrite(place.value, call->args.at[2]);
    if (is_set || strings_store(call, 1, place, 2, (struct string_ttl){.at_ms = -1})) {
        reply_ok(call->out);
        call_changed(call, 1, "set");
    }
}

/* SETNX key value */
static void setnx_run(struct call *call)
{
    struct place place = call_peek_place(call, 1, 0);
    if (place.value != NULL) {
        reply_integer(call->out, 0);
    } else if (strings_store(call, 1, place, 2, (struct string_ttl){.at_ms = -1})) {
        reply_integer(call->out, 1);
        call_changed(call, 1, "set");
    }
}

static void set_for(struct call *call, enum expiry_word unit)
{
    struct string_ttl ttl = {.is_kept = false};
    if (!expiry_moment(call, 2, unit, &ttl.at_ms) ||
        !strings_store(call, 1, call_peek_place(call, 1, 0), 3, ttl)) {
        return;
    }
    reply_ok(call->out);
    strings_stored(call, 1, ttl);
    strings_effect(call, 1, 3, ttl);
}

/* SETEX key seconds value */
static void setex_run(struct call *call)
{
    set_for(call, EXPIRY_EX);
}

/* PSETEX key milliseconds value */
static void psetex_run(struct call *call)
{
    set_for(call, EXPIRY_PX);
}

/* GETSET key value */
static void getset_run(struct call *call)
{
    struct string_ttl ttl = {.at_ms = -1};
    struct place place = call_peek_place(call, 1, FIND_READ);
    if (place.value != NULL && value_kind(place.value) != VALUE_STRING) {
        reply_error(call->out, ERR_WRONG_TYPE);
    } else if (set_and_get(call, place, ttl)) {
        strings_stored(call, 1, ttl);
        strings_effect(call, 1, 2, ttl);
    }
}

/* ---- Rows ---- */

/* SET with GET reads what it overwrites. */
static const struct key_spec *set_refine_key(const struct slice *args, uint32_t count)
{
    static const struct key_spec with_get = {
        .first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_UPDATE};
    static const struct key_spec without = {.first = 1, .access = KEY_OW, .use = KEY_USE_UPDATE};
    for (uint32_t i = 3; i < count; i++) {
        if (slice_is(args[i], "GET")) {
            return &with_get;
        }
    }
    return &without;
}

static const struct command strings_rows[] = {
    {.name = "get",
     .run = get_run,
     .arity = 2,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_STRING,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "1.0.0",
     .group = "string",
     .complexity = "O(1)",
     .summary = "Returns the string that a key holds.",
     .syntax = "key"},
    {.name = "set",
     .run = set_run,
     .arity = -3,
     .flags = CMD_WRITE | CMD_DENY_OOM,
     .categories = ACL_STRING,
     .keys = {{.first = 1,
               .access = KEY_RW,
               .use = KEY_USE_ACCESS | KEY_USE_UPDATE,
               .refine = set_refine_key,
               .notes = "RW and ACCESS due to the optional `GET` argument"}},
     .since = "1.0.0",
     .group = "string",
     .complexity = "O(1)",
     .summary = "Sets a key to a string, whatever it held, and may give it an expiry.",
     .syntax = "key value [condition: NX | XX | IFEQ ifeq-value | IFNE ifne-value | "
               "IFDEQ ifdeq-digest | IFDNE ifdne-digest]@2.6.12 [GET]@6.2.0 "
               "[expiration: EX seconds:integer@2.6.12 | PX milliseconds:integer@2.6.12 | "
               "EXAT unix-time-seconds:unix-time@6.2.0 | "
               "PXAT unix-time-milliseconds:unix-time@6.2.0 | KEEPTTL@6.0.0]",
     .history = "2.6.12 Added the `EX`, `PX`, `NX` and `XX` options.\n"
                "6.0.0 Added the `KEEPTTL` option.\n"
                "6.2.0 Added the `GET`, `EXAT` and `PXAT` option.\n"
                "7.0.0 Allowed the `NX` and `GET` options to be used together."},
    {.name = "setnx",
     .run = setnx_run,
     .arity = 3,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_FAST,
     .categories = ACL_STRING,
     .keys = {{.first = 1, .access = KEY_OW, .use = KEY_USE_INSERT}},
     .since = "1.0.0",
     .group = "string",
     .complexity = "O(1)",
     .summary = "Sets a key to a string unless the key exists.",
     .syntax = "key value"},
    {.name = "setex",
     .run = setex_run,
     .arity = 4,
     .flags = CMD_WRITE | CMD_DENY_OOM,
     .categories = ACL_STRING,
     .keys = {{.first = 1, .access = KEY_OW, .use = KEY_USE_UPDATE}},
     .since = "2.0.0",
     .group = "string",
     .complexity = "O(1)",
     .summary = "Sets a key to a string that expires after so many seconds.",
     .syntax = "key seconds:integer value"},
    {.name = "psetex",
     .run = psetex_run,
     .arity = 4,
     .flags = CMD_WRITE | CMD_DENY_OOM,
     .categories = ACL_STRING,
     .keys = {{.first = 1, .access = KEY_OW, .use = KEY_USE_UPDATE}},
     .since = "2.6.0",
     .group = "string",
     .complexity = "O(1)",
     .summary = "Sets a key to a string that expires after so many milliseconds.",
     .syntax = "key milliseconds:integer value"},
    {.name = "getset",
     .run = getset_run,
     .arity = 3,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_FAST,
     .categories = ACL_STRING,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_UPDATE}},
     .since = "1.0.0",
     .group = "string",
     .complexity = "O(1)",
     .summary = "Sets a key to a string and returns the one that it held.",
     .syntax = "key value",
     .deprecated = "6.2.0 `SET` with the `!GET` argument"},
    {.name = "getex",
     .run = getex_run,
     .arity = -2,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = ACL_STRING,
     .keys = {{.first = 1,
               .access = KEY_RW,
               .use = KEY_USE_ACCESS | KEY_USE_UPDATE,
               .notes = "RW and UPDATE because it changes the TTL"}},
     .since = "6.2.0",
     .group = "string",
     .complexity = "O(1)",
     .summary = "Returns a key's string and may set or drop the key's expiry.",
     .syntax = "key [expiration: EX seconds:integer | PX milliseconds:integer | "
               "EXAT unix-time-seconds:unix-time | PXAT unix-time-milliseconds:unix-time | "
               "PERSIST]"},
    {.name = "getdel",
     .run = getdel_run,
     .arity = 2,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = ACL_STRING,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_DELETE}},
     .since = "6.2.0",
     .group = "string",
     .complexity = "O(1)",
     .summary = "Returns a key's string and removes the key.",
     .syntax = "key"},
    {.name = "strlen",
     .run = strlen_run,
     .arity = 2,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_STRING,
     .keys = {{.first = 1, .access = KEY_RO}},
     .since = "2.2.0",
     .group = "string",
     .complexity = "O(1)",
     .summary = "Returns how many bytes a key's string has.",
     .syntax = "key"},
};

void commands_register_strings(struct exec *exec)
{
    exec_register(exec, strings_rows, sizeof(strings_rows) / sizeof(strings_rows[0]), NULL);
}
