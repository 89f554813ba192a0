/* Groups of consumers: XGROUP and its subcommands, XACK.
 *
 * What a group knows reaches replicas by XGROUP as it came (the IDs and counters in it mean the
 * same there), XACK as it came, and for what is read by XCLAIM and XGROUP SETID: see streams_read.c
 * and streams_pending.c. */
#include "commands/commands.h"
#include "commands/streams.h"
#include "exec/block.h"
#include "exec/sliced.h"

#define ERR_NO_STREAM                                                                              \
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to "   \
    "use the MKSTREAM option to create an empty stream automatically."

/* ---- Shared ---- */

static bool is_stream(struct call *call, const struct value *value)
{
    if (value != NULL && value_kind(value) != VALUE_STREAM) {
        reply_error(call->out, ERR_WRONG_TYPE);
        return false;
    }
    return true;
}

bool streams_find_for_groups(struct call *call, uint32_t key, struct value **value)
{
    *value = call_peek_place(call, key, FIND_READ).value;
    return is_stream(call, *value);
}

bool streams_find_group(struct call *call, uint32_t key, uint32_t group, struct value **value,
                        struct stream_group **found)
{
    bool is_read = (call->entry->flags & CMD_WRITE) == 0;
    if (is_read ? !call_find(call, key, VALUE_STREAM, value)
                : !streams_find_for_groups(call, key, value)) {
        return false;
    }
    return streams_group_of(call, *value, key, group, found);
}

bool streams_group_of(struct call *call, struct value *value, uint32_t key, uint32_t group,
                      struct stream_group **found)
{
    if (!is_stream(call, value)) {
        return false;
    }
    *found = value == NULL ? NULL : stream_group_find(value, call->args.at[group]);
    if (*found == NULL) {
        reply_errorf(call->out, ERR_NO_GROUP_OF_KEY, SLICE_TEXT(call->args.at[key]),
                     SLICE_TEXT(call->args.at[group]));
    }
    return *found != NULL;
}

struct stream_consumer *streams_consumer(struct call *call, uint32_t key,
                                         struct stream_group *group, struct slice name)
{
    struct stream_consumer *consumer = stream_consumer_find(group, name);
    if (consumer != NULL) {
        stream_consumer_will_change(group, consumer);
        consumer->seen_ms = call->now->wall_ms;
        return consumer;
    }
    consumer = stream_consumer_try_add(group, name, call->now->wall_ms);
    if (consumer == NULL) {
        reply_error(call->out, ERR_NO_MEMORY);
        return NULL;
    }
    call_changed_beside(call, key, "xgroup-createconsumer");
    if (call_wants_effects(call)) {
        const struct slice args[] = {slice_from_text("XGROUP"), slice_from_text("CREATECONSUMER"),
                                     call->args.at[key], stream_group_name(group), name};
        call_effect(call, args, sizeof(args) / sizeof(args[0]));
    }
    return consumer;
}

void streams_group_effect(struct call *call, uint32_t key, const struct stream_group *group)
{
    struct stream_id_text id;
    char digits[NUM_I64_TEXT_MAX + 1];
    const struct slice args[] = {
        slice_from_text("XGROUP"),
        slice_from_text("SETID"),
        call->args.at[key],
        stream_group_name(group),
        streams_id_text(&id, group->last_id),
        slice_from_text("ENTRIESREAD"),
        slice_of(digits, num_format_i64(digits, group->entries_read)),
    };
    call_effect(call, args, sizeof(args) / sizeof(args[0]));
}

/* ---- XGROUP ---- */

struct group_options {
    int64_t entries_read;
    bool makes_stream;
};

/* What follows the ID of CREATE (which may make the stream) or SETID. */
static bool parse_group_options(struct call *call, bool is_create, struct group_options *options)
{
    *options = (struct group_options){.entries_read = STREAM_COUNT_UNKNOWN};
    for (uint32_t i = 5; i < call->args.count; i++) {
        if (is_create && call_is(call, i, "MKSTREAM")) {
            options->makes_stream = true;
            continue;
        }
        if (!call_is(call, i, "ENTRIESREAD") || i + 1 == call->args.count) {
            call_subcommand_syntax_error(call);
            return false;
        }
        i++;
        if (!call_i64(call, i, &options->entries_read, NULL)) {
            return false;
        }
        if (options->entries_read < STREAM_COUNT_UNKNOWN) {
            reply_error(call->out, "ERR value for ENTRIESREAD must be positive or -1");
            return false;
        }
    }
    return true;
}

/* The stream that a subcommand is about. False: the error is in the reply. */
static bool find_stream(struct call *call, bool is_missing_ok, struct value **value)
{
    struct place place;
    if (!call_find_place(call, 2, VALUE_STREAM, &place)) {
        return false;
    }
    *value = place.value;
    if (*value == NULL && !is_missing_ok) {
        reply_error(call->out, ERR_NO_STREAM);
        return false;
    }
    return true;
}

/* The stream and its group. False: the error is in the reply. */
static bool find_group(struct call *call, struct value **value, struct stream_group **group)
{
    if (!find_stream(call, false, value)) {
        return false;
    }
    *group = stream_group_find(*value, call->args.at[3]);
    if (*group == NULL) {
        reply_errorf(call->out, "NOGROUP No such consumer group '%.*s' for key name '%.*s'",
                     SLICE_TEXT(call->args.at[3]), SLICE_TEXT(call->args.at[2]));
        return false;
    }
    return true;
}

static bool is_dollar(struct slice text)
{
    return text.len == 1 && text.data[0] == '$';
}

/* Where a group is to stand: $ is the stream's last ID. SETID takes - and + besides. */
static bool parse_group_id(struct call *call, const struct value *value, bool allows_edges,
                           struct stream_id *id)
{
    struct slice text = call->args.at[4];
    if (is_dollar(text)) {
        *id = value == NULL ? STREAM_ID_MIN : stream_meta(value)->last_id;
        return true;
    }
    if (streams_parse_id(text, &(struct stream_id_form){.allows_edges = allows_edges}, id)) {
        return true;
    }
    reply_error(call->out, ERR_STREAM_ID);
    return false;
}

/* Adds the group, to a stream made for it when `value` is NULL. False: no memory. */
static bool create_group(struct call *call, struct value *value, struct stream_id id,
                         int64_t entries_read)
{
    bool is_new = value == NULL;
    if (is_new) {
        value = stream_try_new(call->args.at[2], false);
    }
    if (value == NULL || stream_group_try_add(value, call->args.at[3], id, entries_read) == NULL) {
        if (is_new && value != NULL) {
            value_free(value, exec_work(call->exec));
        }
        return false;
    }
    if (is_new) {
        db_insert(call->db, call_hash(call, 2), value);
    }
    return true;
}

/* XGROUP CREATE key group id|$ [MKSTREAM] [ENTRIESREAD count] */
static void xgroup_create_run(struct call *call)
{
    struct group_options options;
    struct value *value;
    struct stream_id id;
    if (!parse_group_options(call, true, &options) ||
        !find_stream(call, options.makes_stream, &value) ||
        !parse_group_id(call, value, false, &id)) {
        return;
    }
    if (value != NULL && stream_group_find(value, call->args.at[3]) != NULL) {
        reply_error(call->out, "BUSYGROUP Consumer Group name already exists");
        return;
    }
    if (!create_group(call, value, id, options.entries_read)) {
        reply_error(call->out, ERR_NO_MEMORY);
        return;
    }
    reply_ok(call->out);
    if (value == NULL) {
        call_changed(call, 2, "xgroup-create");
    } else {
        call_changed_beside(call, 2, "xgroup-create");
    }
}

/* XGROUP SETID key group id|$ [ENTRIESREAD count] */
static void xgroup_setid_run(struct call *call)
{
    struct group_options options;
    struct value *value;
    struct stream_group *group;
    struct stream_id id;
    if (!parse_group_options(call, false, &options) || !find_group(call, &value, &group) ||
        !parse_group_id(call, value, true, &id)) {
        return;
    }
    stream_group_will_change(group);
    group->last_id = id;
    group->entries_read = options.entries_read;
    reply_ok(call->out);
    call_changed_beside(call, 2, "xgroup-setid");
}

/* XGROUP DESTROY key group */
static void xgroup_destroy_run(struct call *call)
{
    struct value *value;
    if (!find_stream(call, false, &value)) {
        return;
    }
    struct stream_group *group = stream_group_find(value, call->args.at[3]);
    reply_integer(call->out, group != NULL);
    if (group != NULL) {
        stream_group_remove(value, group, exec_work(call->exec));
        call_changed_beside(call, 2, "xgroup-destroy");
        call_wake_waiters(call, 2); /* For a group that is no more. */
    }
}

/* XGROUP CREATECONSUMER key group consumer */
static void xgroup_createconsumer_run(struct call *call)
{
    struct value *value;
    struct stream_group *group;
    if (!find_group(call, &value, &group)) {
        return;
    }
    struct slice name = call->args.at[4];
    if (stream_consumer_find(group, name) != NULL) {
        reply_integer(call->out, 0);
    } else if (streams_consumer(call, 2, group, name) != NULL) {
        reply_integer(call->out, 1);
    }
}

/* XGROUP DELCONSUMER key group consumer */
static void xgroup_delconsumer_run(struct call *call)
{
    struct value *value;
    struct stream_group *group;
    if (!find_group(call, &value, &group)) {
        return;
    }
    struct stream_consumer *consumer = stream_consumer_find(group, call->args.at[4]);
    if (consumer == NULL) {
        reply_integer(call->out, 0);
        return;
    }
    size_t count = order_count(&consumer->pending);
    if (call_slice_editing(call, count)) {
        return;
    }
    while (!stream_consumer_clear_step(group, consumer, SLICED_STEP) && call_yield(call)) {
    }
    stream_consumer_remove(group, consumer);
    reply_count(call->out, count);
    call_changed_beside(call, 2, "xgroup-delconsumer");
}

/* XGROUP HELP */
static void xgroup_help_run(struct call *call)
{
    static const char *const lines[] = {
        "CREATE <key> <groupname> <id|$> [option]",
        "    Create a new consumer group. Options are:",
        "    * MKSTREAM",
        "      Create the empty stream if it does not exist.",
        "    * ENTRIESREAD entries_read",
        "      Set the group's entries_read counter (internal use).",
        "CREATECONSUMER <key> <groupname> <consumer>",
        "    Create a new consumer in the specified group.",
        "DELCONSUMER <key> <groupname> <consumer>",
        "    Remove the specified consumer.",
        "DESTROY <key> <groupname>",
        "    Remove the specified group.",
        "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
        "    Set the current group ID and entries_read counter.",
        NULL,
    };
    call_help(call, lines);
}

/* ---- XACK ---- */

/* XACK key group id [id ...] */
static void xack_run(struct call *call)
{
    struct value *value;
    struct stream_id id;
    if (!streams_find_for_groups(call, 1, &value)) {
        return;
    }
    struct stream_group *group = value == NULL ? NULL : stream_group_find(value, call->args.at[2]);
    if (group == NULL) {
        reply_integer(call->out, 0);
        return;
    }
    for (uint32_t i = 3; i < call->args.count; i++) {
        if (!streams_id(call, i, &id)) {
            return;
        }
    }
    size_t count = 0;
    for (uint32_t i = 3; i < call->args.count; i++) {
        streams_parse_id(call->args.at[i], &(struct stream_id_form){.missing_seq = 0}, &id);
        struct stream_pending *pending = stream_pending_find(&group->pending, id);
        if (pending != NULL) {
            stream_pending_remove(group, pending);
            count++;
        }
    }
    reply_count(call->out, count);
    if (count > 0) {
        streams_group_changed(call, 1);
    }
}

static const struct command xgroup_rows[] = {
    {.name = "create",
     .run = xgroup_create_run,
     .arity = -5,
     .flags = CMD_WRITE | CMD_DENY_OOM,
     .categories = ACL_STREAM,
     .keys = {{.first = 2, .access = KEY_RW, .use = KEY_USE_INSERT}},
     .since = "5.0.0",
     .group = "stream",
     .complexity = "O(log N) where N is the number of groups.",
     .summary = "Makes a group of consumers.",
     .syntax = "key groupname (id: id | new_id=$) [MKSTREAM] [ENTRIESREAD entries_read:integer]",
     .history = "7.0.0 Added the `entries_read` named argument."},
    {.name = "createconsumer",
     .run = xgroup_createconsumer_run,
     .arity = 5,
     .flags = CMD_WRITE | CMD_DENY_OOM,
     .categories = ACL_STREAM,
     .keys = {{.first = 2, .access = KEY_RW, .use = KEY_USE_INSERT}},
     .since = "6.2.0",
     .group = "stream",
     .complexity = "O(log N) where N is the number of consumers.",
     .summary = "Makes a consumer in a group.",
     .syntax = "key groupname consumername"},
    {.name = "delconsumer",
     .run = xgroup_delconsumer_run,
     .arity = 5,
     .flags = CMD_WRITE,
     .categories = ACL_STREAM,
     .keys = {{.first = 2, .access = KEY_RW, .use = KEY_USE_DELETE}},
     .since = "5.0.0",
     .group = "stream",
     .complexity = "O(N log M) where N is the number of its pending entries and M that of the "
                   "group.",
     .summary = "Removes a consumer from a group, and what it has pending.",
     .syntax = "key groupname consumername"},
    {.name = "destroy",
     .run = xgroup_destroy_run,
     .arity = 4,
     .flags = CMD_WRITE,
     .categories = ACL_STREAM,
     .keys = {{.first = 2, .access = KEY_RW, .use = KEY_USE_DELETE}},
     .since = "5.0.0",
     .group = "stream",
     .complexity = "O(1); many pending entries are freed in the background.",
     .summary = "Removes a group of consumers.",
     .syntax = "key groupname"},
    {.name = "help",
     .run = xgroup_help_run,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .categories = ACL_STREAM,
     .since = "5.0.0",
     .group = "stream",
     .complexity = "O(1)",
     .summary = "Tells the subcommands."},
    {.name = "setid",
     .run = xgroup_setid_run,
     .arity = -5,
     .flags = CMD_WRITE,
     .categories = ACL_STREAM,
     .keys = {{.first = 2, .access = KEY_RW, .use = KEY_USE_UPDATE}},
     .since = "5.0.0",
     .group = "stream",
     .complexity = "O(1)",
     .summary = "Sets the last ID that a group has delivered.",
     .syntax = "key groupname (id: id | new_id=$) [ENTRIESREAD entries_read:integer]",
     .history = "7.0.0 Added the optional `entries_read` argument."},
};

static const struct command streams_group_rows[] = {
    {.name = "xgroup",
     .arity = -2,
     .since = "5.0.0",
     .group = "stream",
     .complexity = "Depends on subcommand.",
     .summary = "A container for commands on groups of consumers.",
     .subcommands = xgroup_rows,
     .subcommand_count = sizeof(xgroup_rows) / sizeof(xgroup_rows[0])},
    {.name = "xack",
     .run = xack_run,
     .arity = -4,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = ACL_STREAM,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_UPDATE}},
     .since = "5.0.0",
     .group = "stream",
     .complexity = "O(log N) for each ID, where N is the number of pending entries.",
     .summary = "Acknowledges entries that a group has delivered.",
     .syntax = "key group id ..."},
};

void commands_register_streams_group(struct exec *exec, struct type_limits *limits)
{
    exec_register(exec, streams_group_rows,
                  sizeof(streams_group_rows) / sizeof(streams_group_rows[0]), limits);
}
