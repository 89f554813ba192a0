/* SSCAN: the members of a set step by step. */
#include "commands/commands.h"
#include "commands/scan.h"
#include "commands/sets.h"

/* A step of a scan: what it looks for and how many it told. */
struct sscan {
    struct scan_options options;
    struct reply *out;
    size_t count;
};

static void sscan_on_item(void *context, const struct set_item *item)
{
    struct sscan *scan = context;
    struct set_scratch scratch;
    struct slice text = set_item_text(item, &scratch);
    if (scan_wants(&scan->options, text)) {
        reply_bulk(scan->out, text);
        scan->count++;
    }
}

/* SSCAN key cursor [MATCH pattern] [COUNT count]. The next cursor comes first but is known last:
 * the members wait in a reply of their own. */
static void sscan_run(struct call *call)
{
    uint64_t cursor;
    struct value *value;
    struct reply found;
    struct sscan scan = {.out = &found};
    if (!scan_cursor(call, 2, &cursor) || !call_find(call, 1, VALUE_SET, &value)) {
        return;
    }
    if (value == NULL) {
        scan_reply(call->out, 0, 0, NULL);
        return;
    }
    if (!scan_options(call, 3, false, &scan.options) ||
        call_slice(call, scan_size(&scan.options, set_count(value)))) {
        return;
    }
    reply_init(&found, call->out->pool);
    found.protocol = call->out->protocol;
    struct set_visitor visitor = {.visit = sscan_on_item, .context = &scan};
    bool goes_on = true;
    while (goes_on) {
        cursor = set_scan(value, cursor, scan_step(call, &scan.options), &visitor);
        goes_on = scan_goes_on(call, &scan.options, cursor);
    }
    scan_reply(call->out, cursor, scan.count, &found);
}

static const struct command sets_scan_rows[] = {
    {.name = "sscan",
     .run = sscan_run,
     .arity = -3,
     .flags = CMD_READONLY,
     .categories = ACL_SET,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "2.8.0",
     .group = "set",
     .complexity = "O(COUNT) for a call, O(N) for all the calls that visit N members.",
     .summary = "Visits the members of a set step by step.",
     .syntax = "key cursor:integer [MATCH pattern:pattern] [COUNT count:integer]",
     .tips = "nondeterministic_output"},
};

void commands_register_sets_scan(struct exec *exec)
{
    exec_register(exec, sets_scan_rows, sizeof(sets_scan_rows) / sizeof(sets_scan_rows[0]), NULL);
}
