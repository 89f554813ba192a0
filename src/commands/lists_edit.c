/* Lists in their middle: LSET, LINSERT, LREM, LTRIM, LPOS.
 *
 * A search packs the text once and compares packed bytes, so it reads a list at memory speed. In a
 * long list it is made in slices; nobody else has the list meanwhile. */
#include "commands/commands.h"
#include "commands/lists.h"

#define ERR_RANK_ZERO                                                                              \
    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use "   \
    "negative to start from the end of the list"

/* Gives back a blob that the list did not take, and tells why. */
static bool edit_refused(struct call *call, struct blob *blob)
{
    if (blob != NULL) {
        blob_drop(blob);
    }
    reply_error(call->out, ERR_NO_MEMORY);
    return false;
}

/* LSET key index element */
static void lset_run(struct call *call)
{
    struct place place;
    int64_t index;
    if (!call_find_place(call, 1, VALUE_LIST, &place)) {
        return;
    }
    if (place.value == NULL) {
        reply_error(call->out, ERR_NO_KEY);
        return;
    }
    if (!call_i64(call, 2, &index, NULL)) {
        return;
    }
    int64_t len = (int64_t)list_len(place.value);
    index = index < 0 ? index + len : index;
    if (index < 0 || index >= len) {
        reply_error(call->out, ERR_OUT_OF_RANGE);
        return;
    }
    struct blob *blob = call_take_blob(call, 3);
    if (!list_try_set(&place, (size_t)index, call->args.at[3], blob, lists_limits(call))) {
        edit_refused(call, blob);
        return;
    }
    reply_ok(call->out);
    call_changed(call, 1, "lset");
}

enum { LISTS_PER_ELEMENT = 8 }; /* Elements that are compared while another kind deals with one. */

/* The index of the first element equal to `text`, or the length. May yield. */
static size_t find_equal(struct call *call, const struct value *value, struct slice text)
{
    struct list_needle needle;
    struct list_iterator iterator;
    bool is_equal = false;
    size_t index = 0;
    list_needle_init(&needle, text);
    list_iterate(value, 0, false, &iterator);
    while (list_next_equal(&iterator, &needle, &is_equal) && !is_equal) {
        index++;
        if (index % (LISTS_PER_ELEMENT * SLICED_STEP) == 0 && !call_yield(call)) {
            break;
        }
    }
    return index;
}

/* LINSERT key BEFORE|AFTER pivot element */
static void linsert_run(struct call *call)
{
    bool is_after = call_is(call, 2, "AFTER");
    struct place place;
    if (!is_after && !call_is(call, 2, "BEFORE")) {
        reply_error(call->out, ERR_SYNTAX);
        return;
    }
    if (!call_find_place(call, 1, VALUE_LIST, &place)) {
        return;
    }
    if (place.value == NULL) {
        reply_integer(call->out, 0);
        return;
    }
    if (call_slice_editing(call, list_len(place.value) / LISTS_PER_ELEMENT)) {
        return;
    }
    size_t index = find_equal(call, place.value, call->args.at[3]);
    if (index == list_len(place.value) || !call_edit_done(call, 1, &place)) {
        reply_integer(call->out, -1);
        return;
    }
    struct blob *blob = call_take_blob(call, 4);
    if (!list_try_insert(&place, index + is_after, call->args.at[4], blob, lists_limits(call))) {
        edit_refused(call, blob);
        return;
    }
    reply_count(call->out, list_len(place.value));
    call_changed(call, 1, "linsert");
}

/* LREM key count element */
static void lrem_run(struct call *call)
{
    struct place place;
    int64_t count;
    if (!call_i64(call, 2, &count, NULL) || !call_find_place(call, 1, VALUE_LIST, &place)) {
        return;
    }
    if (place.value == NULL) {
        reply_integer(call->out, 0);
        return;
    }
    enum list_end from = count < 0 ? LIST_TAIL : LIST_HEAD;
    size_t max = count < 0 ? 0 - (size_t)count : (size_t)count;
    struct list_removal removal;
    if (call_slice_editing(call, list_len(place.value) / LISTS_PER_ELEMENT)) {
        return;
    }
    list_removal_begin(&removal, from, call->args.at[3], max == 0 ? SIZE_MAX : max);
    while (!list_removal_step(place.value, &removal) && call_yield(call)) {
    }
    reply_count(call->out, removal.removed);
    if (!call_edit_done(call, 1, &place)) {
        return;
    }
    list_removal_end(&place);
    if (removal.removed > 0) {
        lists_shrunk(call, 1, place, "lrem");
    }
}

/* LTRIM key start stop */
static void ltrim_run(struct call *call)
{
    struct place place;
    int64_t start;
    int64_t stop;
    if (!call_i64(call, 2, &start, NULL) || !call_i64(call, 3, &stop, NULL) ||
        !call_find_place(call, 1, VALUE_LIST, &place)) {
        return;
    }
    reply_ok(call->out);
    if (place.value == NULL) {
        return;
    }
    size_t len = list_len(place.value);
    struct lists_range range = lists_clamp(start, stop, len);
    if (range.count == len) {
        call_event(call, call->db, call->args.at[1], "ltrim");
        return;
    }
    struct work_queue *work = exec_work(call->exec);
    if (range.count > 0) {
        list_drop(&place, LIST_HEAD, range.first, work);
        list_drop(&place, LIST_TAIL, len - range.first - range.count, work);
        call_changed(call, 1, "ltrim");
        return;
    }
    call_remove(call, 1, place);
    call_changed(call, 1, "ltrim");
    call_event(call, call->db, call->args.at[1], "del");
}

/* ---- LPOS ---- */

struct lpos_options {
    int64_t rank;
    int64_t count; /* -1: not given. */
    int64_t max_len;
};

static bool lpos_parse(struct call *call, struct lpos_options *options)
{
    *options = (struct lpos_options){.rank = 1, .count = -1};
    for (uint32_t i = 3; i < call->args.count; i += 2) {
        bool has_value = i + 1 < call->args.count;
        bool is_good = true;
        if (has_value && call_is(call, i, "RANK")) {
            is_good = call_range_i64(call, i + 1, -INT64_MAX, INT64_MAX, &options->rank, NULL);
            if (is_good && options->rank == 0) {
                reply_error(call->out, ERR_RANK_ZERO);
                return false;
            }
        } else if (has_value && call_is(call, i, "COUNT")) {
            is_good = call_range_i64(call, i + 1, 0, INT64_MAX, &options->count,
                                     "ERR COUNT can't be negative");
        } else if (has_value && call_is(call, i, "MAXLEN")) {
            is_good = call_range_i64(call, i + 1, 0, INT64_MAX, &options->max_len,
                                     "ERR MAXLEN can't be negative");
        } else {
            reply_error(call->out, ERR_SYNTAX);
            return false;
        }
        if (!is_good) {
            return false;
        }
    }
    return true;
}

/* Writes the indices that are wanted; returns how many. */
static size_t lpos_find(struct call *call, const struct value *value,
                        const struct lpos_options *options)
{
    struct list_needle needle;
    struct list_iterator iterator;
    bool is_backward = options->rank < 0;
    int64_t skip = (is_backward ? -options->rank : options->rank) - 1;
    int64_t wanted = options->count < 0 ? 1 : options->count == 0 ? INT64_MAX : options->count;
    int64_t steps = options->max_len == 0 ? INT64_MAX : options->max_len;
    int64_t len = (int64_t)list_len(value);
    size_t found = 0;
    list_needle_init(&needle, call->args.at[2]);
    list_iterate(value, is_backward ? (size_t)len - 1 : 0, is_backward, &iterator);
    bool is_equal = false;
    for (int64_t step = 0; step < steps && (int64_t)found < wanted; step++) {
        if (!list_next_equal(&iterator, &needle, &is_equal)) {
            break;
        }
        if (is_equal && skip-- <= 0) {
            reply_integer(call->out, is_backward ? len - 1 - step : step);
            found++;
        }
        if (step % SLICED_STEP == SLICED_STEP - 1 && !call_yield(call)) {
            break;
        }
    }
    return found;
}

/* LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len] */
static void lpos_run(struct call *call)
{
    struct lpos_options options;
    struct value *value;
    if (!lpos_parse(call, &options) || !call_find(call, 1, VALUE_LIST, &value)) {
        return;
    }
    size_t len = value == NULL ? 0 : list_len(value);
    if (call_slice(call, options.max_len > 0 && (size_t)options.max_len < len
                             ? (size_t)options.max_len
                             : len)) {
        return;
    }
    if (options.count < 0) {
        if (value == NULL || lpos_find(call, value, &options) == 0) {
            reply_null(call->out);
        }
        return;
    }
    if (value == NULL) {
        reply_array(call->out, 0);
        return;
    }
    struct reply_mark mark;
    reply_begin(call->out, &mark, '*');
    size_t found = lpos_find(call, value, &options);
    reply_end(call->out, &mark, found);
}

static const struct command lists_edit_rows[] = {
    {.name = "lset",
     .run = lset_run,
     .arity = 4,
     .flags = CMD_WRITE | CMD_DENY_OOM,
     .categories = ACL_LIST,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_UPDATE}},
     .since = "1.0.0",
     .group = "list",
     .complexity = "O(1) near the ends, else O(N) where N is the number of chunks before the "
                   "index.",
     .summary = "Replaces the element of a list at an index.",
     .syntax = "key index:integer element"},
    {.name = "linsert",
     .run = linsert_run,
     .arity = 5,
     .flags = CMD_WRITE | CMD_DENY_OOM,
     .categories = ACL_LIST,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_INSERT}},
     .since = "2.2.0",
     .group = "list",
     .complexity = "O(N) where N is the number of elements before the pivot.",
     .summary = "Inserts an element before or after the first one that is equal to a pivot.",
     .syntax = "key (where: BEFORE | AFTER) pivot element"},
    {.name = "lrem",
     .run = lrem_run,
     .arity = 4,
     .flags = CMD_WRITE,
     .categories = ACL_LIST,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_DELETE}},
     .since = "1.0.0",
     .group = "list",
     .complexity = "O(N) where N is the length of the list.",
     .summary = "Removes elements equal to one from a list.",
     .syntax = "key count:integer element"},
    {.name = "ltrim",
     .run = ltrim_run,
     .arity = 4,
     .flags = CMD_WRITE,
     .categories = ACL_LIST,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_DELETE}},
     .since = "1.0.0",
     .group = "list",
     .complexity = "O(N) where N is the number of elements removed; many are freed later.",
     .summary = "Removes all elements of a list outside a range.",
     .syntax = "key start:integer stop:integer"},
    {.name = "lpos",
     .run = lpos_run,
     .arity = -3,
     .flags = CMD_READONLY,
     .categories = ACL_LIST,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "6.0.6",
     .group = "list",
     .complexity = "O(N) where N is the number of elements looked at.",
     .summary = "Returns the indices of elements equal to one.",
     .syntax = "key element [RANK rank:integer] [COUNT num-matches:integer] [MAXLEN len:integer]"},
};

void commands_register_lists_edit(struct exec *exec, struct type_limits *limits)
{
    exec_register(exec, lists_edit_rows, sizeof(lists_edit_rows) / sizeof(lists_edit_rows[0]),
                  limits);
}
