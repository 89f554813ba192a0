/* Keys that go elsewhere: RENAME, RENAMENX, COPY, MOVE.
 *
 * A value's block holds its key, so a rename builds a block under the new key that shares the
 * payload's bytes or pointer, and then gives up the old block alone: what the payload points at is
 * not touched, however large it is. A move between databases takes the block as it is. The new
 * block is built first, so a lack of memory changes nothing.
 *
 * COPY of a large collection is done in slices: element by element, to a value that is stored when
 * it is whole.
 *
 * Every lookup may remove an expired key and so make other places of that database invalid; places
 * are looked up last, just before they are used. */
#include "base/assert.h"
#include "commands/commands.h"
#include "exec/call.h"
#include "exec/exec.h"
#include "exec/sliced.h"
#include "types/hash/hash.h"
#include "types/list/list.h"
#include "types/set/set.h"
#include "types/stream/stream.h"
#include "types/zset/zset.h"

enum {
    COPY_EXPECT_MAX = 64 * 1024, /* Members that a copy is made ready for in one step. */
    COPY_STREAM_NODE = 16,       /* Elements that take as long as a node of a stream. */
};

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

/* ---- Large collections, element by element ---- */

/* Elements to copy one by one; 0 for what lies in one block, and for strings. */
static size_t copy_size(const struct value *value)
{
    bool is_large = value_ops_of(value)->effort(value) > 1;
    switch (value_kind(value)) {
    case VALUE_LIST:
        return is_large ? list_len(value) : 0;
    case VALUE_SET:
        return is_large ? set_count(value) : 0;
    case VALUE_ZSET:
        return is_large ? zset_count(value) : 0;
    case VALUE_HASH:
        return is_large ? hash_count(value) : 0;
    case VALUE_STREAM:
        return value_ops_of(value)->effort(value) * COPY_STREAM_NODE;
    default:
        return 0;
    }
}

/* A copy under way. Its limits make a large collection of it from the start, as the original is. */
struct copying {
    struct call *call;
    struct place place;
    struct type_limits limits;
    uint64_t hash_seed;
    size_t done;
};

/* Counts an element. False: given up. */
static bool copy_goes_on(struct copying *copying)
{
    return ++copying->done % SLICED_STEP != 0 || call_yield(copying->call);
}

static bool copy_list(struct copying *copying, const struct value *value)
{
    struct list_iterator iterator;
    struct list_item item;
    struct list_scratch scratch;
    list_iterate(value, 0, false, &iterator);
    while (list_next(&iterator, &item)) {
        struct blob *blob = item.blob == NULL ? NULL : blob_share(item.blob);
        if (!list_try_push(&copying->place, LIST_TAIL, list_item_text(&item, &scratch), blob,
                           &copying->limits)) {
            if (blob != NULL) {
                blob_drop(blob);
            }
            return false;
        }
        if (!copy_goes_on(copying)) {
            return false;
        }
    }
    return true;
}

static bool copy_set(struct copying *copying, const struct value *value)
{
    const struct set_rules rules = {.limits = &copying->limits, .hash_seed = copying->hash_seed};
    struct set_walk walk;
    struct set_item item;
    set_walk_begin(&walk, value);
    while (set_walk_next(&walk, &item)) {
        if (set_try_add(&copying->place, &item, &rules) == SET_NO_MEMORY ||
            !copy_goes_on(copying)) {
            return false;
        }
    }
    return true;
}

static bool copy_zset(struct copying *copying, const struct value *value)
{
    const struct zset_rules rules = {.limits = &copying->limits, .hash_seed = copying->hash_seed};
    struct zset_walk walk;
    struct zset_item item;
    zset_walk_begin(&walk, value, 0, false);
    while (zset_walk_next(&walk, &item)) {
        struct zset_put put = {.member = item.member, .score = item.score};
        if (zset_try_put(&copying->place, &put, &rules) == ZSET_NO_MEMORY ||
            !copy_goes_on(copying)) {
            return false;
        }
    }
    return true;
}

static bool copy_hash(struct copying *copying, const struct value *value)
{
    const struct hash_rules rules = {.limits = &copying->limits, .seed = copying->hash_seed};
    struct hash_walk walk = hash_walk(value);
    struct hash_pair pair;
    while (hash_walk_next(&walk, &pair)) {
        char field_digits[PACK_DIGITS];
        char text_digits[PACK_DIGITS];
        if (hash_try_put_until(&copying->place, pack_text(&pair.field, field_digits),
                               pack_text(&pair.text, text_digits), pair.expire_ms,
                               &rules) == HASH_NO_MEMORY ||
            !copy_goes_on(copying)) {
            return false;
        }
    }
    return true;
}

/* An empty value, and all that `value` holds. */
static bool copy_fill(struct copying *copying, const struct value *value)
{
    struct slice key = copying->call->args.at[2];
    switch (value_kind(value)) {
    case VALUE_LIST:
        copying->place.value = list_try_new(key, false);
        return copying->place.value != NULL && copy_list(copying, value);
    case VALUE_SET: {
        const struct set_rules rules = {.limits = &copying->limits,
                                        .hash_seed = copying->hash_seed};
        const struct set_item first = set_item_of(slice_of("", 0));
        copying->place.value = set_try_new(key, &first, COPY_EXPECT_MAX, &rules);
        return copying->place.value != NULL && copy_set(copying, value);
    }
    case VALUE_ZSET: {
        const struct zset_rules rules = {.limits = &copying->limits,
                                         .hash_seed = copying->hash_seed};
        copying->place.value = zset_try_new(key, COPY_EXPECT_MAX, 0, &rules);
        return copying->place.value != NULL && copy_zset(copying, value);
    }
    default:
        copying->place.value = hash_try_new(key, false);
        return copying->place.value != NULL && copy_hash(copying, value);
    }
}

static bool stream_goes_on_copying(void *context)
{
    return call_yield(context);
}

/* The same as the kind's copy, with yields. NULL: no memory, or given up. */
static struct value *copy_in_slices(struct call *call, const struct value *value, bool has_expire)
{
    if (value_kind(value) == VALUE_STREAM) {
        const struct stream_pauses pauses = {.goes_on = stream_goes_on_copying, .context = call};
        return stream_try_copy(value, call->args.at[2], has_expire, &pauses);
    }
    const struct type_limits *limits = call->family;
    struct copying copying = {.call = call,
                              .limits = {.list_size = limits->list_size},
                              .hash_seed = keyspace_hash_seed(exec_keyspace(call->exec))};
    bool is_whole = copy_fill(&copying, value);
    if (is_whole && has_expire) {
        is_whole = value_try_reshape(
            &copying.place,
            (struct value_change){.payload_len = copying.place.value->len, .has_expire = true});
    }
    if (!is_whole && copying.place.value != NULL) {
        value_free(copying.place.value, exec_work(call->exec));
        return NULL;
    }
    return copying.place.value;
}

/* Copies `value` under `key`, over what may be there. False: no memory, the error is in the reply,
 * or given up. */
static bool copy_value(struct call *call, const struct value *value, struct db *to)
{
    struct slice key = call->args.at[2];
    int64_t expire_ms = value_expire_ms(value);
    /* While the call waited for its turn the key may have got a value of any kind and size. */
    struct value *copy = call->sliced != NULL && copy_size(value) > 0
                             ? copy_in_slices(call, value, expire_ms >= 0)
                             : value_ops_of(value)->copy(value, key, expire_ms >= 0);
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
    if (call_slice(call, copy_size(value))) {
        return;
    }
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

void commands_register_keys_copy(struct exec *exec, struct type_limits *limits)
{
    exec_register(exec, keys_copy_rows, sizeof(keys_copy_rows) / sizeof(keys_copy_rows[0]), limits);
}
