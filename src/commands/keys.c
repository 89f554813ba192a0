/* Keys as such, whatever they hold: DEL, UNLINK, EXISTS, TOUCH, TYPE, RANDOMKEY, DBSIZE.
 *
 * DEL and UNLINK are the same here: a large value is taken out of the table at once and freed in
 * slices later. */
#include "commands/ahead.h"
#include "commands/commands.h"
#include "exec/call.h"
#include "exec/exec.h"
#include "exec/sliced.h"

static struct key_row all_arguments(const struct call *call)
{
    return (struct key_row){.first = 1, .step = 1, .end = call->args.count};
}

/* DEL key [key ...], UNLINK key [key ...] */
static void del_run(struct call *call)
{
    size_t count = 0;
    if (call_slice_keys(call, all_arguments(call))) {
        return;
    }
    for (uint32_t i = 1; i < call->args.count; i++) {
        keys_look_ahead(call, i, 1, 1, call->args.count);
        struct place place = call_peek_place(call, i, FIND_NO_TOUCH);
        if (place.value != NULL) {
            call_remove(call, i, place);
            call_changed(call, i, "del");
            count++;
        }
        (void)call_yield_at(call, i); /* Who writes goes on to the end. */
    }
    reply_count(call->out, count);
}

static void count_keys(struct call *call, unsigned find_flags)
{
    size_t count = 0;
    if (call_slice_keys(call, all_arguments(call))) {
        return;
    }
    for (uint32_t i = 1; i < call->args.count; i++) {
        keys_look_ahead(call, i, 1, 1, call->args.count);
        count += call_peek(call, i, find_flags) != NULL;
        if (!call_yield_at(call, i)) {
            return;
        }
    }
    reply_count(call->out, count);
}

/* EXISTS key [key ...] */
static void exists_run(struct call *call)
{
    count_keys(call, FIND_READ | FIND_NO_TOUCH);
}

/* TOUCH key [key ...] */
static void touch_run(struct call *call)
{
    count_keys(call, FIND_READ);
}

/* TYPE key */
static void type_run(struct call *call)
{
    const struct value *value = call_peek(call, 1, FIND_READ | FIND_NO_TOUCH);
    reply_status(call->out, value == NULL ? "none" : value_kind_name(value_kind(value)));
}

/* RANDOMKEY */
static void randomkey_run(struct call *call)
{
    const struct value *value = db_random(call->db, call->now->wall_ms);
    if (value == NULL) {
        reply_null(call->out);
    } else {
        reply_bulk(call->out, value_key(value));
    }
}

/* DBSIZE */
static void dbsize_run(struct call *call)
{
    reply_count(call->out, db_count(call->db));
}

static const struct command keys_rows[] = {
    {.name = "del",
     .run = del_run,
     .arity = -2,
     .flags = CMD_WRITE | CMD_SLICES_KEYS,
     .categories = ACL_KEYSPACE,
     .keys = {{.first = 1, .last = -1, .access = KEY_RM, .use = KEY_USE_DELETE}},
     .since = "1.0.0",
     .group = "generic",
     .complexity = "O(N) where N is the number of keys; large values are freed later, in slices.",
     .summary = "Removes keys.",
     .syntax = "key...",
     .tips = "request_policy:multi_shard response_policy:agg_sum"},
    {.name = "unlink",
     .run = del_run,
     .arity = -2,
     .flags = CMD_WRITE | CMD_FAST | CMD_SLICES_KEYS,
     .categories = ACL_KEYSPACE,
     .keys = {{.first = 1, .last = -1, .access = KEY_RM, .use = KEY_USE_DELETE}},
     .since = "4.0.0",
     .group = "generic",
     .complexity = "O(N) where N is the number of keys; large values are freed later, in slices.",
     .summary = "Removes keys and frees what they held in the background, as DEL does too.",
     .syntax = "key...",
     .tips = "request_policy:multi_shard response_policy:agg_sum"},
    {.name = "exists",
     .run = exists_run,
     .arity = -2,
     .flags = CMD_READONLY | CMD_FAST | CMD_SLICES_KEYS,
     .categories = ACL_KEYSPACE,
     .keys = {{.first = 1, .last = -1, .access = KEY_RO}},
     .since = "1.0.0",
     .group = "generic",
     .complexity = "O(N) where N is the number of keys.",
     .summary = "Counts how many of the keys exist; one that is named twice counts twice.",
     .syntax = "key...",
     .tips = "request_policy:multi_shard response_policy:agg_sum",
     .history = "3.0.3 Accepts multiple `key` arguments."},
    {.name = "touch",
     .run = touch_run,
     .arity = -2,
     .flags = CMD_READONLY | CMD_FAST | CMD_SLICES_KEYS,
     .categories = ACL_KEYSPACE,
     .keys = {{.first = 1, .last = -1, .access = KEY_RO}},
     .since = "3.2.1",
     .group = "generic",
     .complexity = "O(N) where N is the number of keys.",
     .summary = "Marks keys as used just now and counts how many of them exist.",
     .syntax = "key...",
     .tips = "request_policy:multi_shard response_policy:agg_sum"},
    {.name = "type",
     .run = type_run,
     .arity = 2,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_KEYSPACE,
     .keys = {{.first = 1, .access = KEY_RO}},
     .since = "1.0.0",
     .group = "generic",
     .complexity = "O(1)",
     .summary = "Returns the type of what a key holds.",
     .syntax = "key"},
    {.name = "randomkey",
     .run = randomkey_run,
     .arity = 1,
     .flags = CMD_READONLY,
     .categories = ACL_KEYSPACE,
     .since = "1.0.0",
     .group = "generic",
     .complexity = "O(1)",
     .summary = "Returns a key of the database, each as likely as any other.",
     .tips = "request_policy:all_shards nondeterministic_output"},
    {.name = "dbsize",
     .run = dbsize_run,
     .arity = 1,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_KEYSPACE,
     .since = "1.0.0",
     .group = "server",
     .complexity = "O(1)",
     .summary = "Counts the keys of the database.",
     .tips = "request_policy:all_shards response_policy:agg_sum"},
};

void commands_register_keys(struct exec *exec)
{
    exec_register(exec, keys_rows, sizeof(keys_rows) / sizeof(keys_rows[0]), NULL);
}
