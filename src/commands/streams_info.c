/* XINFO: what there is to know about a stream, its groups and its consumers.
 *
 * The number of "radix-tree-keys" is that of nodes; there is no radix tree, so "radix-tree-nodes"
 * is what it would be at least. */
#include "commands/commands.h"
#include "commands/streams.h"
#include "exec/sliced.h"

enum { FULL_COUNT = 10 }; /* Entries told of each kind unless COUNT says otherwise. */

/* The stream at args.at[2]. False: the error is in the reply. */
static bool find_stream(struct call *call, struct value **value)
{
    if (!call_find(call, 2, VALUE_STREAM, value)) {
        return false;
    }
    if (*value == NULL) {
        reply_error(call->out, ERR_NO_KEY);
    }
    return *value != NULL;
}

/* A number that is unknown when it is `unknown`. */
static void reply_known(struct reply *out, int64_t number, int64_t unknown)
{
    if (number == unknown) {
        reply_null(out);
    } else {
        reply_integer(out, number);
    }
}

static void reply_id_field(struct reply *out, const char *name, struct stream_id id)
{
    reply_bulk_text(out, name);
    streams_reply_id(out, id);
}

static void reply_count_field(struct reply *out, const char *name, uint64_t count)
{
    reply_bulk_text(out, name);
    reply_count(out, count);
}

/* The fields that both forms begin with. */
static void reply_meta(struct reply *out, const struct value *value)
{
    const struct stream_meta *meta = stream_meta(value);
    reply_count_field(out, "length", meta->count);
    reply_count_field(out, "radix-tree-keys", stream_node_count(value));
    reply_count_field(out, "radix-tree-nodes", stream_node_count(value) + 1);
    reply_id_field(out, "last-generated-id", meta->last_id);
    reply_id_field(out, "max-deleted-entry-id", meta->max_deleted_id);
    reply_count_field(out, "entries-added", meta->entries_added);
    reply_id_field(out, "recorded-first-entry-id", meta->first_id);
}

static void reply_edge(struct reply *out, const struct value *value, bool is_last)
{
    struct stream_walk walk;
    struct stream_entry entry;
    stream_walk_begin(&walk, value, STREAM_ID_MIN, STREAM_ID_MAX, is_last);
    if (stream_walk_next(&walk, &entry)) {
        streams_reply_entry(out, &entry);
    } else {
        reply_null(out);
    }
}

/* The fields that XINFO GROUPS and XINFO STREAM FULL have in common. */
static void reply_progress(struct reply *out, const struct value *value,
                           const struct stream_group *group)
{
    reply_id_field(out, "last-delivered-id", group->last_id);
    reply_bulk_text(out, "entries-read");
    reply_known(out, group->entries_read, STREAM_COUNT_UNKNOWN);
    reply_bulk_text(out, "lag");
    reply_known(out, stream_group_lag(value, group), STREAM_LAG_UNKNOWN);
}

/* What of `count` is told when `count_max` (0: all) is asked for. */
static uint64_t told_of(uint64_t count, uint64_t count_max)
{
    return count_max != 0 && count > count_max ? count_max : count;
}

/* Pending entries of a group, with their consumers, or of a consumer. May yield; false: give up. */
static bool reply_pending(struct call *call, const struct order *order, uint64_t count_max,
                          bool has_consumer)
{
    struct reply *out = call->out;
    struct order_cursor cursor;
    uint64_t count = told_of(order_count(order), count_max);
    reply_count_field(out, "pel-count", order_count(order));
    reply_bulk_text(out, "pending");
    reply_array(out, count);
    const struct stream_pending *pending = order_seek(order, 0, &cursor);
    for (; count > 0; count--, pending = order_next(&cursor)) {
        reply_array(out, has_consumer ? 4 : 3);
        streams_reply_id(out, pending->id);
        if (has_consumer) {
            reply_bulk(out, stream_consumer_name(pending->consumer));
        }
        reply_integer(out, pending->delivered_ms);
        reply_integer(out, (int64_t)pending->delivery_count);
        if (count % SLICED_STEP == 0 && !call_yield_sending(call)) {
            return false;
        }
    }
    return true;
}

static bool reply_full_consumers(struct call *call, const struct stream_group *group,
                                 uint64_t count_max)
{
    struct reply *out = call->out;
    struct order_cursor cursor;
    reply_bulk_text(out, "consumers");
    reply_array(out, order_count(&group->consumers));
    const struct stream_consumer *consumer = order_seek(&group->consumers, 0, &cursor);
    for (; consumer != NULL; consumer = order_next(&cursor)) {
        reply_map(out, 5);
        reply_bulk_text(out, "name");
        reply_bulk(out, stream_consumer_name(consumer));
        reply_bulk_text(out, "seen-time");
        reply_integer(out, consumer->seen_ms);
        reply_bulk_text(out, "active-time");
        reply_integer(out, consumer->active_ms);
        if (!reply_pending(call, &consumer->pending, count_max, false)) {
            return false;
        }
    }
    return true;
}

/* Entries and pending entries that FULL tells. */
static uint64_t full_size(const struct value *value, uint64_t count_max)
{
    struct order_cursor cursor;
    uint64_t size = told_of(stream_meta(value)->count, count_max);
    const struct stream_group *group = order_seek(stream_groups(value), 0, &cursor);
    for (; group != NULL; group = order_next(&cursor)) {
        size += 2 * told_of(order_count(&group->pending), count_max);
    }
    return size;
}

static void reply_full(struct call *call, const struct value *value, uint64_t count_max)
{
    struct reply *out = call->out;
    struct order_cursor cursor;
    struct stream_walk walk;
    struct stream_entry entry;
    uint64_t count = told_of(stream_meta(value)->count, count_max);
    reply_map(out, 9);
    reply_meta(out, value);
    reply_bulk_text(out, "entries");
    reply_array(out, count);
    stream_walk_begin(&walk, value, STREAM_ID_MIN, STREAM_ID_MAX, false);
    for (; count > 0 && stream_walk_next(&walk, &entry); count--) {
        streams_reply_entry(out, &entry);
        if (count % SLICED_STEP == 0 && !call_yield_sending(call)) {
            return;
        }
    }
    reply_bulk_text(out, "groups");
    reply_array(out, order_count(stream_groups(value)));
    const struct stream_group *group = order_seek(stream_groups(value), 0, &cursor);
    for (; group != NULL; group = order_next(&cursor)) {
        reply_map(out, 7);
        reply_bulk_text(out, "name");
        reply_bulk(out, stream_group_name(group));
        reply_progress(out, value, group);
        if (!reply_pending(call, &group->pending, count_max, true) ||
            !reply_full_consumers(call, group, count_max)) {
            return;
        }
    }
}

/* [FULL [COUNT count]]; *is_full tells whether it was there. False: the error is in the reply. */
static bool parse_full(struct call *call, bool *is_full, int64_t *count)
{
    uint32_t given = call->args.count - 3;
    *is_full = given != 0;
    *count = FULL_COUNT;
    if (given == 0) {
        return true;
    }
    if ((given != 1 && given != 3) || !call_is(call, 3, "FULL") ||
        (given == 3 && !call_is(call, 4, "COUNT"))) {
        call_subcommand_syntax_error(call);
        return false;
    }
    if (given == 3 && !call_i64(call, 5, count, NULL)) {
        return false;
    }
    *count = *count < 0 ? FULL_COUNT : *count;
    return true;
}

/* XINFO STREAM key [FULL [COUNT count]] */
static void xinfo_stream_run(struct call *call)
{
    struct value *value;
    bool is_full;
    int64_t count;
    if (!find_stream(call, &value) || !parse_full(call, &is_full, &count)) {
        return;
    }
    if (is_full) {
        if (!call_slice(call, full_size(value, (uint64_t)count))) {
            reply_full(call, value, (uint64_t)count);
        }
        return;
    }
    reply_map(call->out, 10);
    reply_meta(call->out, value);
    reply_count_field(call->out, "groups", order_count(stream_groups(value)));
    reply_bulk_text(call->out, "first-entry");
    reply_edge(call->out, value, false);
    reply_bulk_text(call->out, "last-entry");
    reply_edge(call->out, value, true);
}

/* XINFO GROUPS key */
static void xinfo_groups_run(struct call *call)
{
    struct value *value;
    struct order_cursor cursor;
    if (!find_stream(call, &value)) {
        return;
    }
    reply_array(call->out, order_count(stream_groups(value)));
    const struct stream_group *group = order_seek(stream_groups(value), 0, &cursor);
    for (; group != NULL; group = order_next(&cursor)) {
        reply_map(call->out, 6);
        reply_bulk_text(call->out, "name");
        reply_bulk(call->out, stream_group_name(group));
        reply_count_field(call->out, "consumers", order_count(&group->consumers));
        reply_count_field(call->out, "pending", order_count(&group->pending));
        reply_progress(call->out, value, group);
    }
}

static int64_t ms_since(const struct call *call, int64_t then_ms)
{
    int64_t ms = call->now->wall_ms - then_ms;
    return ms < 0 ? 0 : ms;
}

/* XINFO CONSUMERS key group */
static void xinfo_consumers_run(struct call *call)
{
    struct value *value;
    struct order_cursor cursor;
    if (!find_stream(call, &value)) {
        return;
    }
    const struct stream_group *group = stream_group_find(value, call->args.at[3]);
    if (group == NULL) {
        reply_errorf(call->out, "NOGROUP No such consumer group '%.*s' for key name '%.*s'",
                     SLICE_TEXT(call->args.at[3]), SLICE_TEXT(call->args.at[2]));
        return;
    }
    reply_array(call->out, order_count(&group->consumers));
    const struct stream_consumer *consumer = order_seek(&group->consumers, 0, &cursor);
    for (; consumer != NULL; consumer = order_next(&cursor)) {
        reply_map(call->out, 4);
        reply_bulk_text(call->out, "name");
        reply_bulk(call->out, stream_consumer_name(consumer));
        reply_count_field(call->out, "pending", order_count(&consumer->pending));
        reply_bulk_text(call->out, "idle");
        reply_integer(call->out, ms_since(call, consumer->seen_ms));
        reply_bulk_text(call->out, "inactive");
        reply_integer(call->out,
                      consumer->active_ms < 0 ? -1 : ms_since(call, consumer->active_ms));
    }
}

/* XINFO HELP */
static void xinfo_help_run(struct call *call)
{
    static const char *const lines[] = {
        "CONSUMERS <key> <groupname>",
        "    Show consumers of <groupname>.",
        "GROUPS <key>",
        "    Show the stream consumer groups.",
        "STREAM <key> [FULL [COUNT <count>]",
        "    Show information about the stream.",
        NULL,
    };
    call_help(call, lines);
}

static const struct command xinfo_rows[] = {
    {.name = "consumers",
     .run = xinfo_consumers_run,
     .arity = 4,
     .flags = CMD_READONLY,
     .categories = ACL_STREAM,
     .keys = {{.first = 2, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "5.0.0",
     .group = "stream",
     .complexity = "O(N) where N is the number of consumers.",
     .summary = "Tells about the consumers of a group.",
     .syntax = "key groupname",
     .tips = "nondeterministic_output",
     .history = "7.2.0 Added the `inactive` field."},
    {.name = "groups",
     .run = xinfo_groups_run,
     .arity = 3,
     .flags = CMD_READONLY,
     .categories = ACL_STREAM,
     .keys = {{.first = 2, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "5.0.0",
     .group = "stream",
     .complexity = "O(N) where N is the number of groups.",
     .summary = "Tells about the groups of a stream.",
     .syntax = "key",
     .history = "7.0.0 Added the `entries-read` and `lag` fields"},
    {.name = "help",
     .run = xinfo_help_run,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .categories = ACL_STREAM,
     .since = "5.0.0",
     .group = "stream",
     .complexity = "O(1)",
     .summary = "Tells the subcommands."},
    {.name = "stream",
     .run = xinfo_stream_run,
     .arity = -3,
     .flags = CMD_READONLY,
     .categories = ACL_STREAM,
     .keys = {{.first = 2, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "5.0.0",
     .group = "stream",
     .complexity = "O(1), and with `FULL` O(N) where N is what is returned.",
     .summary = "Tells about a stream.",
     .syntax = "key [full: FULL [COUNT count:integer]]",
     .history = "6.0.0 Added the `FULL` modifier.\n7.0.0 Added the `max-deleted-entry-id`, "
                "`entries-added`, `recorded-first-entry-id`, `entries-read` and `lag` fields\n"
                "7.2.0 Added the `active-time` field."},
};

static const struct command streams_info_rows[] = {
    {.name = "xinfo",
     .arity = -2,
     .since = "5.0.0",
     .group = "stream",
     .complexity = "Depends on subcommand.",
     .summary = "A container for commands that tell about streams.",
     .subcommands = xinfo_rows,
     .subcommand_count = sizeof(xinfo_rows) / sizeof(xinfo_rows[0])},
};

void commands_register_streams_info(struct exec *exec, struct type_limits *limits)
{
    exec_register(exec, streams_info_rows, sizeof(streams_info_rows) / sizeof(streams_info_rows[0]),
                  limits);
}
