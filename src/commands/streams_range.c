/* Streams: counting, ranges, deleting, and setting what a stream knows of itself: XLEN, XRANGE,
 * XREVRANGE, XDEL, XSETID. */
#include "commands/commands.h"
#include "commands/streams.h"
#include "exec/sliced.h"

/* XLEN key */
static void xlen_run(struct call *call)
{
    struct value *value;
    if (call_find(call, 1, VALUE_STREAM, &value)) {
        reply_count(call->out, value == NULL ? 0 : stream_meta(value)->count);
    }
}

/* XDEL key id [id ...] */
static void xdel_run(struct call *call)
{
    struct place place;
    struct stream_id id;
    if (!call_find_place(call, 1, VALUE_STREAM, &place)) {
        return;
    }
    if (place.value == NULL) {
        reply_integer(call->out, 0);
        return;
    }
    if (call_slice_editing(call, call->args.count)) {
        return;
    }
    for (uint32_t i = 2; i < call->args.count; i++) {
        if (!streams_id(call, i, &id) || !call_edit_yield_at(call, 1, &place, i)) {
            return;
        }
    }
    size_t deleted = 0;
    for (uint32_t i = 2; i < call->args.count; i++) {
        streams_parse_id(call->args.at[i], &(struct stream_id_form){.missing_seq = 0}, &id);
        deleted += stream_delete(place.value, id);
        if (!call_edit_yield_at(call, 1, &place, i)) {
            break;
        }
    }
    reply_count(call->out, deleted);
    if (call_edit_done(call, 1, &place) && deleted > 0) {
        call_changed(call, 1, "xdel");
    }
}

/* [COUNT count]...; -1: all. False: the error is in the reply. */
static bool parse_count(struct call *call, int64_t *count)
{
    *count = -1;
    for (uint32_t i = 4; i < call->args.count; i += 2) {
        if (!call_is(call, i, "COUNT") || i + 1 == call->args.count) {
            reply_error(call->out, ERR_SYNTAX);
            return false;
        }
        if (!call_i64(call, i + 1, count, NULL)) {
            return false;
        }
        *count = *count < 0 ? 0 : *count;
    }
    return true;
}

static void range_with(struct call *call, bool is_backward)
{
    struct stream_id first, last;
    struct value *value;
    int64_t count;
    if (!streams_start(call, is_backward ? 3 : 2, &first) ||
        !streams_end(call, is_backward ? 2 : 3, &last) || !parse_count(call, &count) ||
        !call_find(call, 1, VALUE_STREAM, &value)) {
        return;
    }
    if (value == NULL) {
        reply_array(call->out, 0);
        return;
    }
    if (count == 0) {
        reply_null_array(call->out);
        return;
    }
    uint64_t size = stream_count_between(value, first, last);
    if (call_slice(call, count > 0 && (uint64_t)count < size ? (uint64_t)count : size)) {
        return;
    }
    struct stream_walk walk;
    struct stream_entry entry;
    struct reply_mark mark;
    size_t replied = 0;
    stream_walk_begin(&walk, value, first, last, is_backward);
    reply_begin(call->out, &mark, '*');
    while ((count < 0 || replied < (uint64_t)count) && stream_walk_next(&walk, &entry)) {
        streams_reply_entry(call->out, &entry);
        replied++;
        if (replied % SLICED_STEP == 0 && !call_yield(call)) {
            break;
        }
    }
    reply_end(call->out, &mark, replied);
}

/* XRANGE key start end [COUNT count] */
static void xrange_run(struct call *call)
{
    range_with(call, false);
}

/* XREVRANGE key end start [COUNT count] */
static void xrevrange_run(struct call *call)
{
    range_with(call, true);
}

struct setid_options {
    struct stream_id last_id, max_deleted_id;
    int64_t entries_added; /* -1: not given. */
};

static bool parse_setid(struct call *call, struct setid_options *options)
{
    options->max_deleted_id = STREAM_ID_MIN;
    options->entries_added = -1;
    if (!streams_id(call, 2, &options->last_id)) {
        return false;
    }
    for (uint32_t i = 3; i < call->args.count; i += 2) {
        bool has_more = i + 1 < call->args.count;
        if (has_more && call_is(call, i, "ENTRIESADDED")) {
            if (!call_i64(call, i + 1, &options->entries_added, NULL)) {
                return false;
            }
            if (options->entries_added < 0) {
                reply_error(call->out, "ERR entries_added must be positive");
                return false;
            }
        } else if (has_more && call_is(call, i, "MAXDELETEDID")) {
            if (!streams_id(call, i + 1, &options->max_deleted_id)) {
                return false;
            }
            if (stream_id_compare(options->last_id, options->max_deleted_id) < 0) {
                reply_error(call->out, "ERR The ID specified in XSETID is smaller than the "
                                       "provided max_deleted_entry_id");
                return false;
            }
        } else {
            reply_error(call->out, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

/* Why the stream cannot take these, or NULL. */
static const char *setid_error(const struct value *value, const struct setid_options *options)
{
    const struct stream_meta *meta = stream_meta(value);
    if (meta->count == 0) {
        return NULL;
    }
    if (stream_id_compare(options->last_id, stream_last_entry_id(value)) < 0) {
        return "ERR The ID specified in XSETID is smaller than the target stream top item";
    }
    if (options->entries_added != -1 && meta->count > (uint64_t)options->entries_added) {
        return "ERR The entries_added specified in XSETID is smaller than the target stream "
               "length";
    }
    return NULL;
}

/* XSETID key last-id [ENTRIESADDED count] [MAXDELETEDID id] */
static void xsetid_run(struct call *call)
{
    struct setid_options options;
    if (!parse_setid(call, &options)) {
        return;
    }
    struct place place;
    if (!call_find_place(call, 1, VALUE_STREAM, &place)) {
        return;
    }
    const char *error = place.value == NULL ? ERR_NO_KEY : setid_error(place.value, &options);
    if (error != NULL) {
        reply_error(call->out, error);
        return;
    }
    const struct stream_meta *meta = stream_meta(place.value);
    stream_set_last_id(place.value, options.last_id);
    stream_set_counters(
        place.value,
        options.entries_added == -1 ? meta->entries_added : (uint64_t)options.entries_added,
        stream_id_is_zero(options.max_deleted_id) ? meta->max_deleted_id : options.max_deleted_id);
    reply_ok(call->out);
    call_changed_beside(call, 1, "xsetid");
}

static const struct command streams_range_rows[] = {
    {.name = "xlen",
     .run = xlen_run,
     .arity = 2,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_STREAM,
     .keys = {{.first = 1, .access = KEY_RO}},
     .since = "5.0.0",
     .group = "stream",
     .complexity = "O(1)",
     .summary = "Returns how many entries a stream has.",
     .syntax = "key"},
    {.name = "xrange",
     .run = xrange_run,
     .arity = -4,
     .flags = CMD_READONLY,
     .categories = ACL_STREAM,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "5.0.0",
     .group = "stream",
     .complexity = "O(log S + N) where S is the number of nodes and N that of entries returned.",
     .summary = "Returns the entries of a stream between two IDs.",
     .syntax = "key start end [COUNT count:integer]",
     .history = "6.2.0 Added exclusive ranges."},
    {.name = "xrevrange",
     .run = xrevrange_run,
     .arity = -4,
     .flags = CMD_READONLY,
     .categories = ACL_STREAM,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "5.0.0",
     .group = "stream",
     .complexity = "O(log S + N) where S is the number of nodes and N that of entries returned.",
     .summary = "Returns the entries of a stream between two IDs, the newest first.",
     .syntax = "key end start [COUNT count:integer]",
     .history = "6.2.0 Added exclusive ranges."},
    {.name = "xdel",
     .run = xdel_run,
     .arity = -3,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = ACL_STREAM,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_DELETE}},
     .since = "5.0.0",
     .group = "stream",
     .complexity = "O(log S) for each entry, where S is the number of nodes.",
     .summary = "Deletes entries of a stream by their IDs.",
     .syntax = "key id ..."},
    {.name = "xsetid",
     .run = xsetid_run,
     .arity = -3,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_FAST,
     .categories = ACL_STREAM,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_UPDATE}},
     .since = "5.0.0",
     .group = "stream",
     .complexity = "O(1)",
     .summary = "Sets the last ID of a stream, and its counters.",
     .syntax = "key last-id [ENTRIESADDED entries_added:integer]@7.0.0 [MAXDELETEDID "
               "max_deleted_entry_id]@7.0.0",
     .history = "7.0.0 Added the `entries_added` and `max_deleted_entry_id` arguments."},
};

void commands_register_streams_range(struct exec *exec, struct type_limits *limits)
{
    exec_register(exec, streams_range_rows,
                  sizeof(streams_range_rows) / sizeof(streams_range_rows[0]), limits);
}
