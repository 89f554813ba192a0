/* Hashes: setting, getting and removing fields, and listing them.
 *
 * A command that sets fields works on the hash that is there, or on one that is stored nowhere yet;
 * only when something was put does a new one enter the database. So a command that finds no memory
 * half-way leaves what it did, tells it as the effect that it is (the fields so far), and replies
 * with the error. */
#include "commands/hashes.h"

#include "base/pieces.h"
#include "commands/commands.h"

/* ---- Editing ---- */

bool hashes_open(struct call *call, struct hashes_edit *edit)
{
    *edit = (struct hashes_edit){.rules = hashes_rules(call)};
    if (!call_find_place(call, 1, VALUE_HASH, &edit->place)) {
        return false;
    }
    if (edit->place.value == NULL) {
        edit->is_new = true;
        edit->place.value = hash_try_new(call->args.at[1], false);
    }
    if (edit->place.value == NULL) {
        reply_error(call->out, ERR_NO_MEMORY);
        return false;
    }
    return true;
}

bool hashes_close(struct call *call, struct hashes_edit *edit)
{
    if (!edit->is_new && !call_edit_done(call, 1, &edit->place)) {
        return false;
    }
    if (!edit->is_new) {
        db_note_parts(call->db, call_hash(call, 1), edit->place);
    } else if (hash_is_empty(edit->place.value)) {
        value_free(edit->place.value, NULL);
    } else {
        edit->place = db_insert(call->db, call_hash(call, 1), edit->place.value);
    }
    return true;
}

void hashes_remove_empty(struct call *call, struct place place)
{
    if (hash_is_empty(place.value)) {
        call_remove(call, 1, place);
        call_event(call, call->db, call->args.at[1], "del");
    }
}

/* ---- Setting ---- */

/* Puts the pairs; replies with the error when memory ends. Returns how many fields are new. */
static size_t put_pairs(struct call *call)
{
    struct hashes_edit edit;
    if (!hashes_open(call, &edit)) {
        return SIZE_MAX;
    }
    size_t added = 0;
    uint32_t at = 2;
    for (; at < call->args.count; at += 2) {
        enum hash_put_result result =
            hash_try_put(&edit.place, call->args.at[at], call->args.at[at + 1], &edit.rules);
        if (result == HASH_NO_MEMORY) {
            break;
        }
        added += result == HASH_ADDED;
        if (!call_edit_yield_at(call, 1, &edit.place, at / 2)) {
            return added;
        }
    }
    if (!hashes_close(call, &edit)) {
        return added;
    }
    if (at > 2) {
        call_changed(call, 1, "hset");
    }
    if (at == call->args.count) {
        return added;
    }
    reply_error(call->out, ERR_NO_MEMORY);
    if (at > 2) {
        call_effect(call, call->args.at, at);
    }
    return SIZE_MAX;
}

/* HSET key field value [field value ...] */
static void hset_run(struct call *call)
{
    if (call->args.count % 2 != 0) {
        call_arity_error(call);
        return;
    }
    if (call_slice_editing(call, call->args.count)) {
        return;
    }
    size_t added = put_pairs(call);
    if (added != SIZE_MAX) {
        reply_count(call->out, added);
    }
}

/* HMSET key field value [field value ...] */
static void hmset_run(struct call *call)
{
    if (call->args.count % 2 != 0) {
        call_arity_error(call);
    } else if (!call_slice_editing(call, call->args.count) && put_pairs(call) != SIZE_MAX) {
        reply_ok(call->out);
    }
}

/* HSETNX key field value */
static void hsetnx_run(struct call *call)
{
    struct place place;
    struct hash_pair pair;
    if (!call_find_place(call, 1, VALUE_HASH, &place)) {
        return;
    }
    if (hashes_peek(call, place.value, call->args.at[2], &pair)) {
        reply_integer(call->out, 0);
        return;
    }
    if (put_pairs(call) != SIZE_MAX) {
        reply_integer(call->out, 1);
    }
}

/* HDEL key field [field ...] */
static void hdel_run(struct call *call)
{
    struct place place;
    if (!call_find_place(call, 1, VALUE_HASH, &place) ||
        call_slice_editing(call, call->args.count)) {
        return;
    }
    size_t removed = 0;
    for (uint32_t i = 2; place.value != NULL && i < call->args.count; i++) {
        removed += hash_remove(&place, call->args.at[i]);
        if (hash_is_empty(place.value) || !call_edit_yield_at(call, 1, &place, i)) {
            break;
        }
    }
    reply_count(call->out, removed);
    if (call_edit_done(call, 1, &place) && removed > 0) {
        call_changed(call, 1, "hdel");
        hashes_remove_empty(call, place);
    }
}

/* ---- Getting ---- */

/* The hash at the first key, NULL when there is none; false: wrong type. */
static bool find_hash(struct call *call, struct value **value)
{
    return call_find(call, 1, VALUE_HASH, value);
}

static void reply_field(struct call *call, const struct value *value, struct slice field)
{
    struct hash_pair pair;
    if (hashes_peek(call, value, field, &pair)) {
        hashes_reply_item(call->out, &pair.text);
    } else {
        reply_null(call->out);
    }
}

#ifdef OURO_HOSTILE
enum { HGET_OF_SIZE = 32 };
#else
enum { HGET_OF_SIZE = 512 }; /* Bytes of a value that count as one element. */
#endif

/* A long value, in slices and as fast as the client reads. */
static void reply_long(struct call *call, struct slice text)
{
    reply_number(call->out, '$', (int64_t)text.len);
    for (size_t at = 0; at < text.len; at += PIECE_LEN) {
        reply_raw(call->out, slice_part(text, at, PIECE_LEN));
        if (!call_yield_sending(call)) {
            return;
        }
    }
    reply_raw(call->out, slice_of("\r\n", 2));
}

/* HGET key field */
static void hget_run(struct call *call)
{
    struct value *value;
    struct hash_pair pair;
    if (!find_hash(call, &value)) {
        return;
    }
    if (!hashes_find(call, value, call->args.at[2], &pair)) {
        reply_null(call->out);
    } else if (call_slice_reading(call, pair.text.len / HGET_OF_SIZE)) {
        return;
    } else if (call->sliced != NULL && pair.text.data != NULL) {
        reply_long(call, slice_of(pair.text.data, pair.text.len));
    } else {
        hashes_reply_item(call->out, &pair.text);
    }
}

/* HMGET key field [field ...] */
static void hmget_run(struct call *call)
{
    struct value *value;
    if (!find_hash(call, &value) || call_slice(call, call->args.count)) {
        return;
    }
    reply_array(call->out, call->args.count - 2);
    for (uint32_t i = 2; i < call->args.count; i++) {
        reply_field(call, value, call->args.at[i]);
        if (!call_yield_sending_at(call, i)) {
            return;
        }
    }
}

/* HEXISTS key field */
static void hexists_run(struct call *call)
{
    struct value *value;
    struct hash_pair pair;
    if (find_hash(call, &value)) {
        reply_integer(call->out, hashes_peek(call, value, call->args.at[2], &pair));
    }
}

/* HSTRLEN key field */
static void hstrlen_run(struct call *call)
{
    struct value *value;
    struct hash_pair pair;
    if (!find_hash(call, &value)) {
        return;
    }
    bool is_there = hashes_peek(call, value, call->args.at[2], &pair);
    reply_count(call->out, is_there ? hash_text_len(&pair.text) : 0);
}

/* HLEN key: counts hidden fields too, as Redis does; it is O(1). */
static void hlen_run(struct call *call)
{
    struct value *value;
    if (find_hash(call, &value)) {
        reply_count(call->out, value == NULL ? 0 : hash_count(value));
    }
}

/* ---- Listing ---- */

enum { LIST_FIELDS = 1 << 0, LIST_VALUES = 1 << 1 };

/* Up to SLICED_STEP pairs; false: that was all. */
static inline bool list_some(struct call *call, struct hash_walk *walk, unsigned what)
{
    struct hash_pair pair;
    for (unsigned left = SLICED_STEP; left > 0; left--) {
        if (!hash_walk_next(walk, &pair)) {
            return false;
        }
        if ((what & LIST_FIELDS) != 0) {
            hashes_reply_item(call->out, &pair.field);
        }
        if ((what & LIST_VALUES) != 0) {
            hashes_reply_item(call->out, &pair.text);
        }
    }
    return true;
}

static void list_with(struct call *call, unsigned what)
{
    struct value *value;
    if (!find_hash(call, &value)) {
        return;
    }
    int64_t hidden_ms = call_hidden_ms(call);
    size_t count = value == NULL ? 0 : hash_count_shown(value, hidden_ms);
    if (call_slice(call, count)) {
        return;
    }
    if (what == (LIST_FIELDS | LIST_VALUES)) {
        reply_map(call->out, count);
    } else {
        reply_array(call->out, count);
    }
    if (value == NULL) {
        return;
    }
    struct hash_walk walk = hash_walk(value);
    walk.hidden_ms = hidden_ms;
    while (list_some(call, &walk, what) && call_yield_sending(call)) {
    }
}

/* HGETALL key */
static void hgetall_run(struct call *call)
{
    list_with(call, LIST_FIELDS | LIST_VALUES);
}

/* HKEYS key */
static void hkeys_run(struct call *call)
{
    list_with(call, LIST_FIELDS);
}

/* HVALS key */
static void hvals_run(struct call *call)
{
    list_with(call, LIST_VALUES);
}

/* ---- Rows ---- */

static const struct command hashes_rows[] = {
    {.name = "hset",
     .run = hset_run,
     .arity = -4,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_FAST,
     .categories = ACL_HASH,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_UPDATE}},
     .since = "2.0.0",
     .group = "hash",
     .complexity = "O(N) where N is the number of fields being set.",
     .summary = "Sets fields of a hash, creating it when it is missing.",
     .syntax = "key (field value)...",
     .history = "4.0.0 Accepts multiple `field` and `value` arguments."},
    {.name = "hsetnx",
     .run = hsetnx_run,
     .arity = 4,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_FAST,
     .categories = ACL_HASH,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_INSERT}},
     .since = "2.0.0",
     .group = "hash",
     .complexity = "O(1)",
     .summary = "Sets a field of a hash unless it exists.",
     .syntax = "key field value"},
    {.name = "hmset",
     .run = hmset_run,
     .arity = -4,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_FAST,
     .categories = ACL_HASH,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_UPDATE}},
     .since = "2.0.0",
     .group = "hash",
     .complexity = "O(N) where N is the number of fields being set.",
     .summary = "Sets fields of a hash and answers OK.",
     .syntax = "key (field value)...",
     .deprecated = "4.0.0 `HSET` with multiple field-value pairs"},
    {.name = "hget",
     .run = hget_run,
     .arity = 3,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_HASH,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "2.0.0",
     .group = "hash",
     .complexity = "O(1)",
     .summary = "Returns the value of a field.",
     .syntax = "key field"},
    {.name = "hmget",
     .run = hmget_run,
     .arity = -3,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_HASH,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "2.0.0",
     .group = "hash",
     .complexity = "O(N) where N is the number of fields being requested.",
     .summary = "Returns the values of several fields.",
     .syntax = "key field..."},
    {.name = "hgetall",
     .run = hgetall_run,
     .arity = 2,
     .flags = CMD_READONLY,
     .categories = ACL_HASH,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "2.0.0",
     .group = "hash",
     .complexity = "O(N) where N is the number of fields.",
     .summary = "Returns all fields and values of a hash.",
     .syntax = "key",
     .tips = "nondeterministic_output_order"},
    {.name = "hdel",
     .run = hdel_run,
     .arity = -3,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = ACL_HASH,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_DELETE}},
     .since = "2.0.0",
     .group = "hash",
     .complexity = "O(N) where N is the number of fields to be removed.",
     .summary = "Removes fields, and the hash with its last field.",
     .syntax = "key field...",
     .history = "2.4.0 Accepts multiple `field` arguments."},
    {.name = "hlen",
     .run = hlen_run,
     .arity = 2,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_HASH,
     .keys = {{.first = 1, .access = KEY_RO}},
     .since = "2.0.0",
     .group = "hash",
     .complexity = "O(1)",
     .summary = "Returns the number of fields.",
     .syntax = "key"},
    {.name = "hexists",
     .run = hexists_run,
     .arity = 3,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_HASH,
     .keys = {{.first = 1, .access = KEY_RO}},
     .since = "2.0.0",
     .group = "hash",
     .complexity = "O(1)",
     .summary = "Tells whether a hash has a field.",
     .syntax = "key field"},
    {.name = "hkeys",
     .run = hkeys_run,
     .arity = 2,
     .flags = CMD_READONLY,
     .categories = ACL_HASH,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "2.0.0",
     .group = "hash",
     .complexity = "O(N) where N is the number of fields.",
     .summary = "Returns all fields of a hash.",
     .syntax = "key",
     .tips = "nondeterministic_output_order"},
    {.name = "hvals",
     .run = hvals_run,
     .arity = 2,
     .flags = CMD_READONLY,
     .categories = ACL_HASH,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "2.0.0",
     .group = "hash",
     .complexity = "O(N) where N is the number of fields.",
     .summary = "Returns all values of a hash.",
     .syntax = "key",
     .tips = "nondeterministic_output_order"},
    {.name = "hstrlen",
     .run = hstrlen_run,
     .arity = 3,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_HASH,
     .keys = {{.first = 1, .access = KEY_RO}},
     .since = "3.2.0",
     .group = "hash",
     .complexity = "O(1)",
     .summary = "Returns the length of a field's value.",
     .syntax = "key field"},
};

void commands_register_hashes(struct exec *exec, struct type_limits *limits)
{
    exec_register(exec, hashes_rows, sizeof(hashes_rows) / sizeof(hashes_rows[0]), limits);
}
