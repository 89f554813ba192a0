/* The slow log: the last commands that took longer than a threshold, newest first.
 *
 *     newest -> entry 7 -> entry 6 -> ... -> oldest       (an intrusive list)
 *
 *     +--------+-----------------------+------------------------------------+
 *     | header | slices, one per arg   | bytes of args, address and name    |
 *     +--------+-----------------------+------------------------------------+
 *
 * An entry is one block. Its size is bounded whatever the command was: at most ARGS_MAX arguments
 * of ARG_LEN_MAX bytes and a remark each, so the whole log takes at most about 6 KiB times its
 * length. Logging costs one allocation, and only commands above the threshold pay it.
 *
 * Invariants:
 *   1. Ids only grow, also across SLOWLOG RESET; the list is in their order.
 *   2. The list holds `count` entries, at most `entries_max`.
 *
 * Rejected: a ring of fixed slots (slowlog-max-len may be set to any number at any time). */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "observe/observe_internal.h"

enum {
    ARGS_MAX = 32,       /* Arguments kept; the last one tells how many more there were. */
    ARG_LEN_MAX = 128,   /* Bytes kept of each. */
    NAME_LEN_MAX = 1024, /* Bytes kept of the client's name. */
    REMARK_LEN_MAX = 64, /* "... (4294967295 more arguments)" */
    DEFAULT_COUNT = 10,  /* SLOWLOG GET without a count. */
};

struct slowlog_entry {
    struct list link;
    uint64_t id;
    int64_t time_s; /* Unix time. */
    int64_t duration_us;
    struct slice address, name;
    uint32_t arg_count;
    struct slice args[];
};

struct slowlog {
    struct exec *exec;
    struct list entries; /* Newest first. */
    uint64_t count, entries_max;
    uint64_t next_id;
};

/* ---- Entries --------------------------------------------------------------------------------- */

/* The text of one argument as it is kept, in `room`. */
static struct slice shorten(struct slice arg, char *room)
{
    if (arg.len <= ARG_LEN_MAX) {
        return arg;
    }
    memcpy(room, arg.data, ARG_LEN_MAX);
    int len =
        snprintf(room + ARG_LEN_MAX, REMARK_LEN_MAX, "... (%zu more bytes)", arg.len - ARG_LEN_MAX);
    return slice_of(room, ARG_LEN_MAX + (size_t)len);
}

/* Copies bytes behind what the block holds. */
static struct slice keep(char **at, struct slice bytes)
{
    char *start = *at;
    if (bytes.len > 0) {
        memcpy(start, bytes.data, bytes.len);
    }
    *at += bytes.len;
    return slice_of(start, bytes.len);
}

static struct slowlog_entry *entry_new(struct call *call)
{
    char rooms[ARGS_MAX][ARG_LEN_MAX + REMARK_LEN_MAX];
    struct slice args[ARGS_MAX];
    struct session_view view = {.fd = -1};
    struct redaction redaction = redaction_of(call);
    uint32_t given = call->args.count;
    uint32_t count = given < ARGS_MAX ? given : ARGS_MAX;
    size_t len = 0;
    for (uint32_t i = 0; i < count; i++) {
        args[i] = shorten(redaction_apply(&redaction, i), rooms[i]);
        if (i == ARGS_MAX - 1 && given > ARGS_MAX) {
            int text_len = snprintf(rooms[i], sizeof(rooms[i]), "... (%u more arguments)",
                                    given - ARGS_MAX + 1);
            args[i] = slice_of(rooms[i], (size_t)text_len);
        }
        len += args[i].len;
    }
    if (call->session->ops != NULL) {
        call->session->ops->view(call->session, &view);
    }
    struct slice address = slice_from_text(view.address);
    struct slice name = slice_from_text(call->session->name == NULL ? "" : call->session->name);
    name = slice_part(name, 0, NAME_LEN_MAX);
    struct slowlog_entry *entry =
        mem_alloc(sizeof(*entry) + count * sizeof(args[0]) + len + address.len + name.len);
    char *at = (char *)&entry->args[count];
    entry->arg_count = count;
    for (uint32_t i = 0; i < count; i++) {
        entry->args[i] = keep(&at, args[i]);
    }
    entry->address = keep(&at, address);
    entry->name = keep(&at, name);
    return entry;
}

static void trim(struct slowlog *slowlog, uint64_t count_max)
{
    while (slowlog->count > count_max) {
        struct slowlog_entry *oldest =
            LIST_OWNER(slowlog->entries.prev, struct slowlog_entry, link);
        list_remove(&oldest->link);
        mem_free(oldest);
        slowlog->count--;
    }
}

static void on_slow(void *context, struct call *call, int64_t duration_us)
{
    struct slowlog *slowlog = context;
    struct slowlog_entry *entry = entry_new(call);
    entry->id = slowlog->next_id++;
    entry->time_s = call->now->wall_ms / 1000;
    entry->duration_us = duration_us;
    list_push_front(&slowlog->entries, &entry->link);
    slowlog->count++;
    trim(slowlog, slowlog->entries_max);
}

/* ---- Life ------------------------------------------------------------------------------------ */

struct slowlog *slowlog_new(struct exec *exec)
{
    struct slowlog *slowlog = mem_zalloc(sizeof(*slowlog));
    slowlog->exec = exec;
    list_init(&slowlog->entries);
    return slowlog;
}

void slowlog_free(struct slowlog *slowlog)
{
    exec_set_slow_hook(slowlog->exec, NULL, NULL, -1);
    trim(slowlog, 0);
    mem_free(slowlog);
}

void slowlog_configure(struct slowlog *slowlog, int64_t threshold_us, uint64_t entries_max)
{
    slowlog->entries_max = entries_max;
    trim(slowlog, entries_max);
    exec_set_slow_hook(slowlog->exec, on_slow, slowlog, threshold_us);
}

/* ---- SLOWLOG --------------------------------------------------------------------------------- */

static void reply_entry(struct call *call, const struct slowlog_entry *entry)
{
    reply_array(call->out, 6);
    reply_integer(call->out, (int64_t)entry->id);
    reply_integer(call->out, entry->time_s);
    reply_integer(call->out, entry->duration_us);
    reply_array(call->out, entry->arg_count);
    for (uint32_t i = 0; i < entry->arg_count; i++) {
        reply_bulk(call->out, entry->args[i]);
    }
    reply_bulk(call->out, entry->address);
    reply_bulk(call->out, entry->name);
}

static void slowlog_get_run(struct call *call)
{
    const struct slowlog *slowlog = call->family;
    int64_t wanted = DEFAULT_COUNT;
    static const char error[] = "ERR count should be greater than or equal to -1";
    if (call->args.count > 3) {
        call_subcommand_syntax_error(call);
        return;
    }
    if (call->args.count == 3 && !call_range_i64(call, 2, -1, INT64_MAX, &wanted, error)) {
        return;
    }
    uint64_t count =
        wanted < 0 || (uint64_t)wanted > slowlog->count ? slowlog->count : (uint64_t)wanted;
    const struct list *node = slowlog->entries.next;
    reply_array(call->out, count);
    for (uint64_t i = 0; i < count; i++, node = node->next) {
        reply_entry(call, LIST_OWNER(node, struct slowlog_entry, link));
    }
}

static void slowlog_len_run(struct call *call)
{
    const struct slowlog *slowlog = call->family;
    reply_count(call->out, slowlog->count);
}

static void slowlog_reset_run(struct call *call)
{
    trim(call->family, 0);
    reply_ok(call->out);
}

static void slowlog_help_run(struct call *call)
{
    static const char *const lines[] = {
        "GET [<count>]",
        "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
        "    Entries are made of:",
        "    id, timestamp, time in microseconds, arguments array, client IP and port,",
        "    client name",
        "LEN",
        "    Return the length of the slowlog.",
        "RESET",
        "    Reset the slowlog.",
        NULL,
    };
    call_help(call, lines);
}

static const struct command slowlog_subcommands[] = {
    {.name = "get",
     .run = slowlog_get_run,
     .arity = -2,
     .flags = CMD_ADMIN | CMD_LOADING | CMD_STALE,
     .since = "2.2.12",
     .group = "server",
     .complexity = "O(N) where N is the number of entries returned",
     .syntax = "[count:integer]",
     .history = "4.0.0 Added client IP address, port and name to the reply.",
     .tips = "request_policy:all_nodes nondeterministic_output",
     .summary = "Returns the newest entries of the slow log."},
    {.name = "len",
     .run = slowlog_len_run,
     .arity = 2,
     .flags = CMD_ADMIN | CMD_LOADING | CMD_STALE,
     .since = "2.2.12",
     .group = "server",
     .complexity = "O(1)",
     .tips = "request_policy:all_nodes response_policy:agg_sum nondeterministic_output",
     .summary = "Returns how many entries the slow log holds."},
    {.name = "reset",
     .run = slowlog_reset_run,
     .arity = 2,
     .flags = CMD_ADMIN | CMD_LOADING | CMD_STALE,
     .since = "2.2.12",
     .group = "server",
     .complexity = "O(N) where N is the number of entries in the slowlog",
     .tips = "request_policy:all_nodes response_policy:all_succeeded",
     .summary = "Empties the slow log."},
    {.name = "help",
     .run = slowlog_help_run,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .since = "6.2.0",
     .group = "server",
     .complexity = "O(1)",
     .summary = "Describes the subcommands."},
};

static const struct command slowlog_row = {
    .name = "slowlog",
    .arity = -2,
    .since = "2.2.12",
    .group = "server",
    .complexity = "Depends on subcommand.",
    .subcommands = slowlog_subcommands,
    .subcommand_count = sizeof(slowlog_subcommands) / sizeof(slowlog_subcommands[0]),
    .summary = "A container for commands of the slow log.",
};

void slowlog_register(struct exec *exec, struct slowlog *slowlog)
{
    exec_register(exec, &slowlog_row, 1, slowlog);
}
