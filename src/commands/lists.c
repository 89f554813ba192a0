/* Lists at their ends, and reading them: LPUSH, RPUSH, LPUSHX, RPUSHX, LPOP, RPOP, LLEN, LRANGE,
 * LINDEX.
 *
 * A pop replies first and removes then: replies copy, or share a blob. A list that lost its last
 * element is removed with its key. What waits for elements of a list (the blocking forms) learns of
 * them from call_changed, as everybody does. */
#include "commands/lists.h"

#include "commands/commands.h"

#define ERR_NOT_POSITIVE "ERR value is out of range, must be positive"

/* ---- Shared ---- */

bool lists_end(struct call *call, uint32_t index, enum list_end *end)
{
    if (call_is(call, index, "LEFT")) {
        *end = LIST_HEAD;
        return true;
    }
    if (call_is(call, index, "RIGHT")) {
        *end = LIST_TAIL;
        return true;
    }
    reply_error(call->out, ERR_SYNTAX);
    return false;
}

bool lists_try_push(struct call *call, struct place *place, enum list_end end, uint32_t index)
{
    struct slice text = call->args.at[index];
    struct blob *blob = text.len < BLOB_LEN_MIN ? NULL : call_take_blob(call, index);
    bool is_done = list_try_push(place, end, text, blob, lists_limits(call));
    if (!is_done && blob != NULL) {
        blob_drop(blob);
    }
    return is_done;
}

void lists_shrunk(struct call *call, uint32_t key, struct place place, const char *event)
{
    bool is_empty = list_len(place.value) == 0;
    if (is_empty) {
        call_remove(call, key, place);
    }
    call_changed(call, key, event);
    if (is_empty) {
        call_event(call, call->db, call->args.at[key], "del");
    }
}

void lists_pop_many(struct call *call, uint32_t key, struct place place, enum list_end end,
                    size_t count)
{
    struct list_iterator iterator;
    struct list_item item;
    size_t len = list_len(place.value);
    count = count < len ? count : len;
    reply_array(call->out, count);
    list_iterate(place.value, end == LIST_HEAD ? 0 : len - 1, end == LIST_TAIL, &iterator);
    for (size_t i = 1; i <= count; i++) {
        list_next(&iterator, &item);
        lists_reply(call->out, &item);
        if (i % SLICED_STEP == 0 && !call_yield(call)) {
            break;
        }
    }
    if (!call_edit_done(call, key, &place)) {
        return;
    }
    if (count < len) {
        list_drop(&place, end, count, exec_work(call->exec));
        call_changed(call, key, lists_pop_event(end));
        return;
    }
    call_remove(call, key, place);
    call_changed(call, key, lists_pop_event(end));
    call_event(call, call->db, call->args.at[key], "del");
}

struct lists_range lists_clamp(int64_t start, int64_t stop, size_t len)
{
    int64_t count = (int64_t)len;
    start = start < 0 ? start + count : start;
    stop = stop < 0 ? stop + count : stop;
    start = start < 0 ? 0 : start;
    stop = stop >= count ? count - 1 : stop;
    if (start > stop || start >= count) {
        return (struct lists_range){.first = 0, .count = 0};
    }
    return (struct lists_range){.first = (size_t)start, .count = (size_t)(stop - start + 1)};
}

/* ---- Push ---- */

/* A list with all arguments from the second on, for a key that is absent. */
static bool push_new(struct call *call, enum list_end end, struct place *place)
{
    *place = (struct place){.value = list_try_new(call->args.at[1], false)};
    if (place->value == NULL) {
        return false;
    }
    for (uint32_t i = 2; i < call->args.count; i++) {
        if (!lists_try_push(call, place, end, i)) {
            value_free(place->value, exec_work(call->exec));
            return false;
        }
        call_edit_yield_at(call, 1, place, i); /* Stored nowhere yet: it stays ours. */
    }
    *place = db_insert(call->db, call_hash(call, 1), place->value);
    return true;
}

/* All arguments or, without memory, none. A list that goes meanwhile leaves place->value NULL. */
static bool push_all(struct call *call, enum list_end end, struct place *place)
{
    for (uint32_t i = 2; i < call->args.count; i++) {
        if (!lists_try_push(call, place, end, i)) {
            list_drop(place, end, i - 2, exec_work(call->exec));
            return false;
        }
        if (!call_edit_yield_at(call, 1, place, i)) {
            break;
        }
    }
    return true;
}

static void push_with(struct call *call, enum list_end end, bool is_new_allowed)
{
    struct place place;
    if (!call_find_place(call, 1, VALUE_LIST, &place)) {
        return;
    }
    if (place.value == NULL && !is_new_allowed) {
        reply_integer(call->out, 0);
        return;
    }
    if (call_slice_editing(call, call->args.count)) {
        return;
    }
    bool is_new = place.value == NULL;
    bool is_done = is_new ? push_new(call, end, &place) : push_all(call, end, &place);
    bool is_there = is_new || (call_edit_done(call, 1, &place));
    if (!is_done) {
        reply_error(call->out, ERR_NO_MEMORY);
        return;
    }
    if (!is_there) {
        reply_integer(call->out, 0);
        return;
    }
    reply_count(call->out, list_len(place.value));
    call_changed(call, 1, lists_push_event(end));
}

/* LPUSH key element [element ...] */
static void lpush_run(struct call *call)
{
    push_with(call, LIST_HEAD, true);
}

/* RPUSH key element [element ...] */
static void rpush_run(struct call *call)
{
    push_with(call, LIST_TAIL, true);
}

/* LPUSHX key element [element ...] */
static void lpushx_run(struct call *call)
{
    push_with(call, LIST_HEAD, false);
}

/* RPUSHX key element [element ...] */
static void rpushx_run(struct call *call)
{
    push_with(call, LIST_TAIL, false);
}

/* ---- Pop ---- */

void lists_pop_one(struct call *call, uint32_t key, struct place place, enum list_end end)
{
    size_t len = list_len(place.value);
    struct list_item item = list_get(place.value, end == LIST_HEAD ? 0 : len - 1);
    lists_reply(call->out, &item);
    list_drop(&place, end, 1, exec_work(call->exec));
    lists_shrunk(call, key, place, lists_pop_event(end));
}

static void pop_with(struct call *call, enum list_end end)
{
    bool has_count = call->args.count == 3;
    int64_t count = 1;
    if (call->args.count > 3) {
        call_arity_error(call);
        return;
    }
    if (has_count && !call_range_i64(call, 2, 0, INT64_MAX, &count, ERR_NOT_POSITIVE)) {
        return;
    }
    struct place place;
    if (!call_find_place(call, 1, VALUE_LIST, &place)) {
        return;
    }
    if (place.value == NULL) {
        if (has_count) {
            reply_null_array(call->out);
        } else {
            reply_null(call->out);
        }
    } else if (!has_count) {
        lists_pop_one(call, 1, place, end);
    } else if (count == 0) {
        reply_array(call->out, 0);
    } else if (!lists_pop_later(call, place, (size_t)count)) {
        lists_pop_many(call, 1, place, end, (size_t)count);
    }
}

/* LPOP key [count] */
static void lpop_run(struct call *call)
{
    pop_with(call, LIST_HEAD);
}

/* RPOP key [count] */
static void rpop_run(struct call *call)
{
    pop_with(call, LIST_TAIL);
}

/* ---- Read ---- */

/* LLEN key */
static void llen_run(struct call *call)
{
    struct value *value;
    if (call_find(call, 1, VALUE_LIST, &value)) {
        reply_count(call->out, value == NULL ? 0 : list_len(value));
    }
}

static inline void lrange_some(struct reply *out, struct list_iterator *iterator, size_t count)
{
    struct list_item item;
    for (; count > 0; count--) {
        list_next(iterator, &item);
        lists_reply(out, &item);
    }
}

/* LRANGE key start stop */
static void lrange_run(struct call *call)
{
    int64_t start;
    int64_t stop;
    struct value *value;
    if (!call_i64(call, 2, &start, NULL) || !call_i64(call, 3, &stop, NULL) ||
        !call_find(call, 1, VALUE_LIST, &value)) {
        return;
    }
    struct lists_range range = {.count = 0};
    if (value != NULL) {
        range = lists_clamp(start, stop, list_len(value));
    }
    if (call_slice(call, range.count)) {
        return;
    }
    reply_array(call->out, range.count);
    if (range.count == 0) {
        return;
    }
    struct list_iterator iterator;
    list_iterate(value, range.first, false, &iterator);
    while (range.count > 0) {
        size_t count = range.count < SLICED_STEP ? range.count : SLICED_STEP;
        lrange_some(call->out, &iterator, count);
        range.count -= count;
        if (!call_yield_sending(call)) {
            return;
        }
    }
}

/* LINDEX key index */
static void lindex_run(struct call *call)
{
    struct value *value;
    int64_t index;
    if (!call_find(call, 1, VALUE_LIST, &value)) {
        return;
    }
    if (value == NULL) {
        reply_null(call->out);
        return;
    }
    if (!call_i64(call, 2, &index, NULL)) {
        return;
    }
    int64_t len = (int64_t)list_len(value);
    index = index < 0 ? index + len : index;
    if (index < 0 || index >= len) {
        reply_null(call->out);
        return;
    }
    struct list_item item = list_get(value, (size_t)index);
    lists_reply(call->out, &item);
}

static const struct command lists_rows[] = {
    {.name = "lpush",
     .run = lpush_run,
     .arity = -3,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_FAST,
     .categories = ACL_LIST,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_INSERT}},
     .since = "1.0.0",
     .group = "list",
     .complexity = "O(1) for each element.",
     .summary = "Adds elements at the head of a list, which is made when it is missing.",
     .syntax = "key element ...",
     .history = "2.4.0 Accepts multiple `element` arguments."},
    {.name = "rpush",
     .run = rpush_run,
     .arity = -3,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_FAST,
     .categories = ACL_LIST,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_INSERT}},
     .since = "1.0.0",
     .group = "list",
     .complexity = "O(1) for each element.",
     .summary = "Adds elements at the tail of a list, which is made when it is missing.",
     .syntax = "key element ...",
     .history = "2.4.0 Accepts multiple `element` arguments."},
    {.name = "lpushx",
     .run = lpushx_run,
     .arity = -3,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_FAST,
     .categories = ACL_LIST,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_INSERT}},
     .since = "2.2.0",
     .group = "list",
     .complexity = "O(1) for each element.",
     .summary = "Adds elements at the head of a list that exists.",
     .syntax = "key element ...",
     .history = "4.0.0 Accepts multiple `element` arguments."},
    {.name = "rpushx",
     .run = rpushx_run,
     .arity = -3,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_FAST,
     .categories = ACL_LIST,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_INSERT}},
     .since = "2.2.0",
     .group = "list",
     .complexity = "O(1) for each element.",
     .summary = "Adds elements at the tail of a list that exists.",
     .syntax = "key element ...",
     .history = "4.0.0 Accepts multiple `element` arguments."},
    {.name = "lpop",
     .run = lpop_run,
     .arity = -2,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = ACL_LIST,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_DELETE}},
     .since = "1.0.0",
     .group = "list",
     .complexity = "O(N) where N is the number of elements returned.",
     .summary = "Takes elements off the head of a list and returns them.",
     .syntax = "key [count:integer]@6.2.0",
     .history = "6.2.0 Added the `count` argument."},
    {.name = "rpop",
     .run = rpop_run,
     .arity = -2,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = ACL_LIST,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_DELETE}},
     .since = "1.0.0",
     .group = "list",
     .complexity = "O(N) where N is the number of elements returned.",
     .summary = "Takes elements off the tail of a list and returns them.",
     .syntax = "key [count:integer]@6.2.0",
     .history = "6.2.0 Added the `count` argument."},
    {.name = "llen",
     .run = llen_run,
     .arity = 2,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_LIST,
     .keys = {{.first = 1, .access = KEY_RO}},
     .since = "1.0.0",
     .group = "list",
     .complexity = "O(1)",
     .summary = "Returns how many elements a list has.",
     .syntax = "key"},
    {.name = "lrange",
     .run = lrange_run,
     .arity = 4,
     .flags = CMD_READONLY,
     .categories = ACL_LIST,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "1.0.0",
     .group = "list",
     .complexity = "O(S+N) where S is the number of chunks before the range and N that of elements "
                   "in it.",
     .summary = "Returns a range of a list's elements.",
     .syntax = "key start:integer stop:integer"},
    {.name = "lindex",
     .run = lindex_run,
     .arity = 3,
     .flags = CMD_READONLY,
     .categories = ACL_LIST,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "1.0.0",
     .group = "list",
     .complexity = "O(1) near the ends, else O(N) where N is the number of chunks before the "
                   "index.",
     .summary = "Returns the element of a list at an index.",
     .syntax = "key index:integer"},
};

void commands_register_lists(struct exec *exec, struct type_limits *limits)
{
    exec_register(exec, lists_rows, sizeof(lists_rows) / sizeof(lists_rows[0]), limits);
}
