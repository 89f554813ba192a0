/* Walks over fields: HSCAN, and random ones: HRANDFIELD. */
#include "commands/commands.h"
#include "commands/hashes.h"
#include "commands/repeats.h"
#include "commands/scan.h"

/* ---- HSCAN ---- */

struct hscan {
    struct reply *out;
    struct scan_options options;
    size_t count;      /* Replies written. */
    int64_t hidden_ms; /* Fields that expired before it are not told. */
};

static void hscan_on_pair(void *context, const struct hash_pair *pair)
{
    struct hscan *scan = context;
    char digits[PACK_DIGITS];
    struct slice field = pack_text(&pair->field, digits);
    if (!scan_wants(&scan->options, field)) {
        return;
    }
    reply_bulk(scan->out, field);
    scan->count++;
    if (!scan->options.has_no_values) {
        hashes_reply_item(scan->out, &pair->text);
        scan->count++;
    }
}

static void hscan_reply(struct call *call, const struct value *value, uint64_t cursor,
                        struct hscan *scan)
{
    struct reply found;
    reply_init(&found, call->out->pool);
    found.protocol = call->out->protocol;
    scan->out = &found;
    const struct hash_scan some = {
        .visit = hscan_on_pair, .context = scan, .hidden_ms = scan->hidden_ms};
    bool goes_on = true;
    while (goes_on) {
        cursor = hash_scan(value, cursor, scan_step(call, &scan->options), &some);
        goes_on = scan_goes_on(call, &scan->options, cursor);
    }
    scan_reply(call->out, cursor, scan->count, &found);
}

/* HSCAN key cursor [MATCH pattern] [COUNT count] [NOVALUES] */
static void hscan_run(struct call *call)
{
    uint64_t cursor;
    struct value *value;
    struct hscan scan = {.hidden_ms = call_hidden_ms(call)};
    if (!scan_cursor(call, 2, &cursor) || !call_find(call, 1, VALUE_HASH, &value)) {
        return;
    }
    if (value == NULL) { /* Options are not looked at then, as in Redis. */
        scan_reply(call->out, 0, 0, NULL);
        return;
    }
    if (scan_options(call, 3, true, &scan.options)) {
        if (!call_slice(call, scan_size(&scan.options, hash_count(value)))) {
            hscan_reply(call, value, cursor, &scan);
        }
    }
}

/* ---- HRANDFIELD ---- */

struct hrandfield {
    struct call *call;
    struct reply *out;
    size_t count;
    size_t told;
    bool is_distinct;
    bool has_values;
};

static void hrandfield_on_pair(void *context, const struct hash_pair *pair)
{
    const struct hrandfield *random = context;
    if (random->has_values && random->out->protocol == 3) {
        reply_array(random->out, 2);
    }
    hashes_reply_item(random->out, &pair->field);
    if (random->has_values) {
        hashes_reply_item(random->out, &pair->text);
    }
}

/* May yield, though whoever picks cannot be told to give up. */
static void hrandfield_on_distinct(void *context, const struct hash_pair *pair)
{
    struct hrandfield *random = context;
    hrandfield_on_pair(random, pair);
    if (++random->told % SLICED_STEP == 0) {
        (void)call_yield_sending(random->call);
    }
}

static void hrandfield_header(struct call *call, const struct hrandfield *random)
{
    bool is_flat = random->has_values && call->out->protocol != 3;
    reply_array(call->out, is_flat ? random->count * 2 : random->count);
}

/* Fields that may repeat. */
static void hrandfield_repeat(struct call *call, struct hash_picker *picker,
                              struct hrandfield *random)
{
    struct repeats repeats;
    repeats_begin(&repeats, call, random->count);
    random->out = &repeats.found;
    while (repeats_next(&repeats)) {
        struct hash_pair pair;
        hash_pick(picker, &pair);
        hrandfield_on_pair(random, &pair);
    }
    random->out = call->out;
    if (repeats_are_whole(&repeats, call)) {
        hrandfield_header(call, random);
        reply_splice(call->out, &repeats.found);
    }
}

static void hrandfield_reply(struct call *call, const struct value *value,
                             struct hrandfield *random)
{
    struct hash_picker picker = hash_picker_open(value, exec_rng(call->exec), call_hidden_ms(call));
    if (random->is_distinct || picker.count == 0) {
        random->count = random->count < picker.count ? random->count : picker.count;
        hrandfield_header(call, random);
        hash_pick_distinct(&picker, random->count, hrandfield_on_distinct, random);
    } else {
        hrandfield_repeat(call, &picker, random);
    }
    hash_picker_close(&picker);
}

static bool hrandfield_parse(struct call *call, struct hrandfield *random)
{
    int64_t count;
    if (!call_range_i64(call, 2, -INT64_MAX, INT64_MAX, &count, NULL)) {
        return false;
    }
    random->has_values = call->args.count == 4 && call_is(call, 3, "WITHVALUES");
    if (call->args.count > 3 && !random->has_values) {
        reply_error(call->out, ERR_SYNTAX);
        return false;
    }
    if (random->has_values && (count < -INT64_MAX / 2 || count > INT64_MAX / 2)) {
        reply_error(call->out, "ERR value is out of range");
        return false;
    }
    random->is_distinct = count >= 0;
    random->count = (size_t)(count < 0 ? -count : count);
    return true;
}

static void hrandfield_one(struct call *call)
{
    struct value *value;
    if (!call_find(call, 1, VALUE_HASH, &value)) {
        return;
    }
    if (value == NULL) {
        reply_null(call->out);
        return;
    }
    struct hash_picker picker = hash_picker_open(value, exec_rng(call->exec), call_hidden_ms(call));
    struct hash_pair pair;
    if (picker.count > 0) {
        hash_pick(&picker, &pair);
        hashes_reply_item(call->out, &pair.field);
    } else {
        reply_null(call->out);
    }
    hash_picker_close(&picker);
}

/* HRANDFIELD key [count [WITHVALUES]] */
static void hrandfield_run(struct call *call)
{
    if (call->args.count == 2) {
        hrandfield_one(call);
        return;
    }
    struct hrandfield random = {.call = call, .out = call->out};
    struct value *value;
    if (!hrandfield_parse(call, &random) || !call_find(call, 1, VALUE_HASH, &value)) {
        return;
    }
    if (value == NULL || random.count == 0) {
        reply_array(call->out, 0);
    } else if (!call_slice(call, random.count)) {
        hrandfield_reply(call, value, &random);
    }
}

static const struct command hashes_walk_rows[] = {
    {.name = "hrandfield",
     .run = hrandfield_run,
     .arity = -2,
     .flags = CMD_READONLY,
     .categories = ACL_HASH,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "6.2.0",
     .group = "hash",
     .complexity = "O(N) where N is the number of fields returned",
     .summary = "Returns random fields of a hash.",
     .syntax = "key [options: count:integer [WITHVALUES]]",
     .tips = "nondeterministic_output"},
    {.name = "hscan",
     .run = hscan_run,
     .arity = -3,
     .flags = CMD_READONLY,
     .categories = ACL_HASH,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "2.8.0",
     .group = "hash",
     .complexity = "O(COUNT) for a call, O(N) for all the calls that visit N fields.",
     .summary = "Visits the fields of a hash step by step.",
     .syntax = "key cursor:integer [MATCH pattern:pattern] [COUNT count:integer] [NOVALUES]@7.4.0",
     .tips = "nondeterministic_output",
     .history = "7.4.0 Added the `NOVALUES` flag."},
};

void commands_register_hashes_walk(struct exec *exec, struct type_limits *limits)
{
    exec_register(exec, hashes_walk_rows, sizeof(hashes_walk_rows) / sizeof(hashes_walk_rows[0]),
                  limits);
}
