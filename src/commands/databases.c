/* Whole databases: FLUSHDB, FLUSHALL, SWAPDB.
 *
 * Emptying detaches what a database holds in O(1) and frees it in slices afterwards. SYNC is
 * accepted and does the same: the reply says that the keys are gone, and no client waits for the
 * allocator. */
#include "commands/commands.h"
#include "exec/block.h"
#include "exec/call.h"
#include "exec/exec.h"

/* Changes that have no key: told to the log as the command came, and counted. */
static void changed_databases(struct call *call, size_t key_count)
{
    exec_stats(call->exec)->dirty += key_count;
    call_effect(call, call->args.at, call->args.count);
}

static bool flush_parse(struct call *call)
{
    if (call->args.count == 1 ||
        (call->args.count == 2 && (call_is(call, 1, "SYNC") || call_is(call, 1, "ASYNC")))) {
        return true;
    }
    reply_error(call->out, ERR_SYNTAX);
    return false;
}

/* FLUSHDB [ASYNC | SYNC] */
static void flushdb_run(struct call *call)
{
    if (flush_parse(call)) {
        changed_databases(call, db_flush(call->db, false));
        block_note_database(call->exec, call->db);
        exec_report_flush(call->exec, call->db);
        reply_ok(call->out);
    }
}

/* FLUSHALL [ASYNC | SYNC] */
static void flushall_run(struct call *call)
{
    if (!flush_parse(call)) {
        return;
    }
    struct keyspace *keyspace = exec_keyspace(call->exec);
    size_t key_count = 0;
    for (unsigned i = 0; i < keyspace_db_count(keyspace); i++) {
        key_count += db_flush(keyspace_db(keyspace, i), false);
        block_note_database(call->exec, keyspace_db(keyspace, i));
    }
    changed_databases(call, key_count);
    exec_report_flush(call->exec, NULL);
    reply_ok(call->out);
}

/* SWAPDB index1 index2 */
static void swapdb_run(struct call *call)
{
    int64_t a;
    int64_t b;
    if (!call_range_i64(call, 1, INT32_MIN, INT32_MAX, &a, "ERR invalid first DB index") ||
        !call_range_i64(call, 2, INT32_MIN, INT32_MAX, &b, "ERR invalid second DB index")) {
        return;
    }
    struct keyspace *keyspace = exec_keyspace(call->exec);
    int64_t count = keyspace_db_count(keyspace);
    if (a < 0 || a >= count || b < 0 || b >= count) {
        reply_error(call->out, "ERR DB index is out of range");
        return;
    }
    if (a != b) {
        keyspace_swap(keyspace, (unsigned)a, (unsigned)b);
        block_note_database(call->exec, keyspace_db(keyspace, (unsigned)a));
        block_note_database(call->exec, keyspace_db(keyspace, (unsigned)b));
    }
    changed_databases(call, 1);
    reply_ok(call->out);
}

static const struct command databases_rows[] = {
    {.name = "flushdb",
     .run = flushdb_run,
     .arity = -1,
     .flags = CMD_WRITE,
     .categories = ACL_KEYSPACE | ACL_DANGEROUS,
     .since = "1.0.0",
     .group = "server",
     .complexity = "O(1); the memory is freed later, in slices.",
     .summary = "Removes all keys of the database.",
     .syntax = "[async: ASYNC@4.0.0 | SYNC@6.2.0]",
     .tips = "request_policy:all_shards response_policy:all_succeeded",
     .history = "4.0.0 Added the `ASYNC` flushing mode modifier.\n"
                "6.2.0 Added the `SYNC` flushing mode modifier."},
    {.name = "flushall",
     .run = flushall_run,
     .arity = -1,
     .flags = CMD_WRITE,
     .categories = ACL_KEYSPACE | ACL_DANGEROUS,
     .since = "1.0.0",
     .group = "server",
     .complexity = "O(1) for each database; the memory is freed later, in slices.",
     .summary = "Removes all keys of all databases.",
     .syntax = "[async: ASYNC@4.0.0 | SYNC@6.2.0]",
     .tips = "request_policy:all_shards response_policy:all_succeeded",
     .history = "4.0.0 Added the `ASYNC` flushing mode modifier.\n"
                "6.2.0 Added the `SYNC` flushing mode modifier."},
    {.name = "swapdb",
     .run = swapdb_run,
     .arity = 3,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = ACL_KEYSPACE | ACL_DANGEROUS,
     .since = "4.0.0",
     .group = "server",
     .complexity = "O(N) where N is the number of watched or blocked-on keys of both databases.",
     .summary = "Exchanges the contents of two databases.",
     .syntax = "index1:integer index2:integer"},
};

void commands_register_databases(struct exec *exec)
{
    exec_register(exec, databases_rows, sizeof(databases_rows) / sizeof(databases_rows[0]), NULL);
}
