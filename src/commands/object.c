/* OBJECT: what the server knows of a value besides its content. None of it counts as a use of the
 * key, nor its absence as an event. */
#include "commands/commands.h"
#include "exec/call.h"
#include "exec/exec.h"

/* The value of the key, or NULL after the null reply. */
static const struct value *object_find(struct call *call)
{
    const struct value *value = db_find(call->db, call->args.at[2], call_hash(call, 2),
                                        call->now->wall_ms, FIND_READ | FIND_NO_TOUCH);
    if (value == NULL) {
        reply_null(call->out);
    }
    return value;
}

static bool object_is_lfu(const struct call *call)
{
    enum eviction_policy policy = keyspace_config(exec_keyspace(call->exec))->policy;
    return policy == EVICT_ALL_LFU || policy == EVICT_VOLATILE_LFU;
}

/* OBJECT ENCODING key */
static void object_encoding_run(struct call *call)
{
    const struct value *value = object_find(call);
    if (value != NULL) {
        reply_bulk_text(call->out, value_ops_of(value)->encoding_name(value));
    }
}

/* OBJECT FREQ key */
static void object_freq_run(struct call *call)
{
    const struct value *value = object_find(call);
    if (value == NULL) {
        return;
    }
    if (!object_is_lfu(call)) {
        reply_error(call->out, "ERR An LFU maxmemory policy is not selected, access frequency not "
                               "tracked. Please note that when switching between policies at "
                               "runtime LRU and LFU data will take some time to adjust.");
        return;
    }
    const struct keyspace *keyspace = exec_keyspace(call->exec);
    reply_integer(call->out, keyspace_frequency(keyspace, value, call->now->wall_ms));
}

/* OBJECT IDLETIME key */
static void object_idletime_run(struct call *call)
{
    const struct value *value = object_find(call);
    if (value == NULL) {
        return;
    }
    if (object_is_lfu(call)) {
        reply_error(call->out, "ERR An LFU maxmemory policy is selected, idle time not tracked. "
                               "Please note that when switching between policies at runtime LRU "
                               "and LFU data will take some time to adjust.");
        return;
    }
    const struct keyspace *keyspace = exec_keyspace(call->exec);
    reply_integer(call->out, keyspace_idle_s(keyspace, value, call->now->wall_ms));
}

/* OBJECT REFCOUNT key: a value belongs to its key alone. */
static void object_refcount_run(struct call *call)
{
    if (object_find(call) != NULL) {
        reply_integer(call->out, 1);
    }
}

/* OBJECT HELP */
static void object_help_run(struct call *call)
{
    static const char *const lines[] = {
        "ENCODING <key>",
        "    Return the kind of internal representation used in order to store the value",
        "    associated with a <key>.",
        "FREQ <key>",
        "    Return the access frequency index of the <key>. The returned integer is",
        "    proportional to the logarithm of the recent access frequency of the key.",
        "IDLETIME <key>",
        "    Return the idle time of the <key>, that is the approximated number of",
        "    seconds elapsed since the last access to the key.",
        "REFCOUNT <key>",
        "    Return the number of references of the value associated with the specified",
        "    <key>.",
        NULL,
    };
    call_help(call, lines);
}

static const struct command object_subcommands[] = {
    {.name = "encoding",
     .run = object_encoding_run,
     .arity = 3,
     .flags = CMD_READONLY,
     .categories = ACL_KEYSPACE,
     .keys = {{.first = 2, .access = KEY_RO}},
     .since = "2.2.3",
     .group = "generic",
     .complexity = "O(1)",
     .summary = "Returns how a value is held in memory.",
     .syntax = "key",
     .tips = "nondeterministic_output"},
    {.name = "freq",
     .run = object_freq_run,
     .arity = 3,
     .flags = CMD_READONLY,
     .categories = ACL_KEYSPACE,
     .keys = {{.first = 2, .access = KEY_RO}},
     .since = "4.0.0",
     .group = "generic",
     .complexity = "O(1)",
     .summary = "Returns how often a key is used, on a logarithmic scale.",
     .syntax = "key",
     .tips = "nondeterministic_output"},
    {.name = "idletime",
     .run = object_idletime_run,
     .arity = 3,
     .flags = CMD_READONLY,
     .categories = ACL_KEYSPACE,
     .keys = {{.first = 2, .access = KEY_RO}},
     .since = "2.2.3",
     .group = "generic",
     .complexity = "O(1)",
     .summary = "Returns for how many seconds a key was not used.",
     .syntax = "key",
     .tips = "nondeterministic_output"},
    {.name = "refcount",
     .run = object_refcount_run,
     .arity = 3,
     .flags = CMD_READONLY,
     .categories = ACL_KEYSPACE,
     .keys = {{.first = 2, .access = KEY_RO}},
     .since = "2.2.3",
     .group = "generic",
     .complexity = "O(1)",
     .summary = "Returns how many references a value has.",
     .syntax = "key",
     .tips = "nondeterministic_output"},
    {.name = "help",
     .run = object_help_run,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .categories = ACL_KEYSPACE,
     .since = "6.2.0",
     .group = "generic",
     .complexity = "O(1)",
     .summary = "Tells what the subcommands do."},
};

static const struct command object_rows[] = {
    {.name = "object",
     .arity = -2,
     .since = "2.2.3",
     .group = "generic",
     .complexity = "Depends on subcommand.",
     .summary = "Tells how a value is held and used.",
     .subcommands = object_subcommands,
     .subcommand_count = sizeof(object_subcommands) / sizeof(object_subcommands[0])},
};

void commands_register_object(struct exec *exec)
{
    exec_register(exec, object_rows, sizeof(object_rows) / sizeof(object_rows[0]), NULL);
}
