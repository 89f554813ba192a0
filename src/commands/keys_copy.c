/* Keys that go elsewhere: RENAME, RENAMENX, COPY, MOVE.
 *
 * A value's block holds its key, so a rename builds a block under the new key that shares the
 * payload's bytes or pointer, and then gives up the old block alone: what the payload points at is
 * not touched, however large it is. A move between databases takes the block as it is. The new
 * block is built first, so a lack of memory changes nothing.
 *
 * Every lookup may remove an expired key and so make other places of that database invalid; places
 * are looked up last, just before they are used. */
#include "base/assert.h"
#include "commands/commands.h"
#include "exec/call.h"
#include "exec/exec.h"

/* Files the expiry of a value that was just stored; its block has room for it. */
static void file_expire(struct db *db, uint64_t hash, struct place *place, int64_t expire_ms)
{
    if (expire_ms >= 0) {
        bool is_filed = db_set_expire(db, hash, place, expire_ms);
        ASSERT(is_filed);
    }
}

/* ---- RENAME ---- */

/* Moves the value of the first argument, which exists, under the second. */
static bool rename_value(struct call *call)
{
    struct value *old = call_peek(call, 1, FIND_NO_TOUCH);
    int64_t expire_ms = value_expire_ms(old);
    struct value *renamed = value_try_rekey(old, call->args.at[2], expire_ms >= 0);
    if (renamed == NULL) {
        reply_error(call->out, ERR_NO_MEMORY);
        return false;
    }
    old = db_take(call->db, call_hash(call, 1), call_peek_place(call, 1, FIND_NO_TOUCH));
    value_free_block(old);
    bool is_replaced = call_peek(call, 2, FIND_NO_TOUCH) != NULL;
    struct place place = call_insert(call, 2, renamed);
    if (is_replaced) {
        exec_report_insert(call->exec, call->db, call->args.at[2]); /* Redis removes it first. */
    }
    file_expire(call->db, call_hash(call, 2), &place, expire_ms);
    return true;
}

static void rename_with(struct call *call, bool is_nx)
{
    if (call_peek(call, 1, 0) == NULL) {
        reply_error(call->out, ERR_NO_KEY);
        return;
    }
    bool is_same = slice_equal(call->args.at[1], call->args.at[2]);
    if (is_same || (is_nx && call_peek(call, 2, FIND_NO_TOUCH) != NULL)) {
        if (is_nx) {
            reply_integer(call->out, 0);
        } else {
            reply_ok(call->out);
        }
        return;
    }
    if (!rename_value(call)) {
        return;
    }
    call_changed(call, 1, "rename_from");
    call_changed(call, 2, "rename_to");
    if (is_nx) {
        reply_integer(call->out, 1);
    } else {
        reply_ok(call->out);
    }
}

/* RENAME key newkey */
static void rename_run(struct call *call)
{
    rename_with(call, false);
}

/* RENAMENX key newkey */
static void renamenx_run(struct call *call)
{
    rename_with(call, true);
}

/* ---- Other databases ---- */

/* The database that an argument names; NULL: the error is in the reply. */
static struct db *find_db(struct call *call, uint32_t index)
{
    int64_t number;
    if (!call_range_i64(call, index, INT32_MIN, INT32_MAX, &number, NULL)) {
        return NULL;
    }
    struct keyspace *keyspace = exec_keyspace(call->exec);
    if (number < 0 || number >= (int64_t)keyspace_db_count(keyspace)) {
        reply_error(call->out, "ERR DB index is out of range");
        return NULL;
    }
    return keyspace_db(keyspace, (unsigned)number);
}

/* MOVE key db */
static void move_run(struct call *call)
{
    struct db *to = find_db(call, 2);
    if (to == NULL) {
        return;
    }
    if (to == call->db) {
        reply_error(call->out, ERR_SAME_OBJECT);
        return;
    }
    struct slice key = call->args.at[1];
    uint64_t hash = call_hash(call, 1);
    int64_t now_ms = call->now->wall_ms;
    struct place from = call_peek_place(call, 1, 0);
    if (from.value == NULL || db_find(to, key, hash, now_ms, FIND_NO_TOUCH) != NULL) {
        reply_integer(call->out, 0);
        return;
    }
    int64_t expire_ms = value_expire_ms(from.value);
    struct place place = db_insert(to, hash, db_take(call->db, hash, from));
    file_expire(to, hash, &place, expire_ms);
    call_changed(call, 1, "move_from");
    call_changed_key(call, to, key, "move_to");
    reply_integer(call->out, 1);
}

struct copy_options {
    struct db *to;
    bool is_replace;
};

static bool copy_parse(struct call *call, struct copy_options *options)
{
    for (uint32_t i = 3; i < call->args.count; i++) {
        if (call_is(call, i, "REPLACE")) {
            options->is_replace = true;
        } else if (call_is(call, i, "DB") && i + 1 < call->args.count) {
            options->to = find_db(call, ++i);
            if (options->to == NULL) {
                return false;
            }
        } else {
            reply_error(call->out, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

/* Copies `value` under `key`, over what may be there. */
static bool copy_value(struct call *call, const struct value *value, struct db *to)
{
    struct slice key = call->args.at[2];
    int64_t expire_ms = value_expire_ms(value);
    struct value *copy = value_ops_of(value)->copy(value, key, expire_ms >= 0);
    if (copy == NULL) {
        reply_error(call->out, ERR_NO_MEMORY);
        return false;
    }
    uint64_t hash = call_hash(call, 2);
    struct place place = db_find_place(to, key, hash, call->now->wall_ms, FIND_NO_TOUCH);
    if (place.value != NULL) {
        db_remove(to, hash, place);
    }
    place = db_insert(to, hash, copy);
    file_expire(to, hash, &place, expire_ms);
    return true;
}

/* COPY source destination [DB destination-db] [REPLACE] */
static void copy_run(struct call *call)
{
    struct copy_options options = {.to = call->db};
    if (!copy_parse(call, &options)) {
        return;
    }
    if (options.to == call->db && slice_equal(call->args.at[1], call->args.at[2])) {
        reply_error(call->out, ERR_SAME_OBJECT);
        return;
    }
    if (call_peek(call, 1, FIND_READ) == NULL) {
        reply_integer(call->out, 0);
        return;
    }
    bool is_taken = db_find(options.to, call->args.at[2], call_hash(call, 2), call->now->wall_ms,
                            FIND_NO_TOUCH) != NULL;
    if (is_taken && !options.is_replace) {
        reply_integer(call->out, 0);
        return;
    }
    const struct value *value = call_peek(call, 1, FIND_NO_TOUCH);
    if (copy_value(call, value, options.to)) {
        call_changed_key(call, options.to, call->args.at[2], "copy_to");
        reply_integer(call->out, 1);
    }
}

static const struct command keys_copy_rows[] = {
    {.name = "rename",
     .run = rename_run,
     .arity = 3,
     .flags = CMD_WRITE,
     .categories = ACL_KEYSPACE,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_DELETE},
              {.first = 2, .access = KEY_OW, .use = KEY_USE_UPDATE}},
     .since = "1.0.0",
     .group = "generic",
     .complexity = "O(1)",
     .summary = "Gives a key another name, over what had it.",
     .syntax = "key newkey:key"},
    {.name = "renamenx",
     .run = renamenx_run,
     .arity = 3,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = ACL_KEYSPACE,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_DELETE},
              {.first = 2, .access = KEY_OW, .use = KEY_USE_INSERT}},
     .since = "1.0.0",
     .group = "generic",
     .complexity = "O(1)",
     .summary = "Gives a key another name unless that is taken.",
     .syntax = "key newkey:key",
     .history = "3.2.0 The command no longer returns an error when source and destination names "
                "are the same."},
    {.name = "copy",
     .run = copy_run,
     .arity = -3,
     .flags = CMD_WRITE | CMD_DENY_OOM,
     .categories = ACL_KEYSPACE,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS},
              {.first = 2, .access = KEY_OW, .use = KEY_USE_UPDATE}},
     .since = "6.2.0",
     .group = "generic",
     .complexity = "O(1) for strings, O(N) for N items of a collection.",
     .summary = "Copies what a key holds, with its expiry, to another key.",
     .syntax = "source:key destination:key [DB destination-db:integer] [REPLACE]"},
    {.name = "move",
     .run = move_run,
     .arity = 3,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = ACL_KEYSPACE,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_UPDATE}},
     .since = "1.0.0",
     .group = "generic",
     .complexity = "O(1)",
     .summary = "Moves a key to another database unless it exists there.",
     .syntax = "key db:integer"},
};

void commands_register_keys_copy(struct exec *exec)
{
    exec_register(exec, keys_copy_rows, sizeof(keys_copy_rows) / sizeof(keys_copy_rows[0]), NULL);
}
