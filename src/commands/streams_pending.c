/* Entries that were delivered and not acknowledged: XPENDING tells of them, XCLAIM and XAUTOCLAIM
 * give them to another consumer.
 *
 * An entry that was deleted from the stream meanwhile can be claimed by nobody: whoever comes
 * across it takes it off the group. Replicas learn of each entry by an XCLAIM with all its figures;
 * that of a deleted one makes them drop it likewise. */
#include "base/stretch.h"
#include "commands/commands.h"
#include "commands/streams.h"
#include "exec/sliced.h"

enum {
    AUTOCLAIM_COUNT = 100,
    AUTOCLAIM_ATTEMPTS = 10, /* Entries looked at for each that is asked for. */
    AUTOCLAIM_STEP = 64,     /* Deleted IDs that are gathered at first. */
};

#define AUTOCLAIM_COUNT_MAX (INT64_MAX / (16 * AUTOCLAIM_ATTEMPTS))

/* ---- XPENDING ---- */

struct pending_query {
    int64_t idle_ms;
    struct stream_id first, last;
    int64_t count;
    uint32_t consumer_at; /* Index of the consumer's name; 0: none. */
};

/* Redis takes 6 to 9 arguments and ignores what is behind the consumer. */
static bool parse_pending(struct call *call, struct pending_query *query)
{
    uint32_t at = 3;
    *query = (struct pending_query){.idle_ms = 0};
    if (call->args.count < 6 || call->args.count > 9) {
        reply_error(call->out, ERR_SYNTAX);
        return false;
    }
    if (call_is(call, 3, "IDLE")) {
        if (!call_i64(call, 4, &query->idle_ms, NULL)) {
            return false;
        }
        if (call->args.count < 8) {
            reply_error(call->out, ERR_SYNTAX);
            return false;
        }
        at += 2;
    }
    if (!call_i64(call, at + 2, &query->count, NULL) || !streams_start(call, at, &query->first) ||
        !streams_end(call, at + 1, &query->last)) {
        return false;
    }
    query->consumer_at = call->args.count > at + 3 ? at + 3 : 0;
    return true;
}

/* [[consumer, count], ...] of those that have any. */
static void reply_consumers(struct reply *out, const struct stream_group *group)
{
    struct order_cursor cursor;
    struct reply_mark mark;
    size_t count = 0;
    reply_begin(out, &mark, '*');
    const struct stream_consumer *consumer = order_seek(&group->consumers, 0, &cursor);
    for (; consumer != NULL; consumer = order_next(&cursor)) {
        if (order_count(&consumer->pending) > 0) {
            reply_array(out, 2);
            reply_bulk(out, stream_consumer_name(consumer));
            reply_bulk_integer(out, (int64_t)order_count(&consumer->pending));
            count++;
        }
    }
    reply_end(out, &mark, count);
}

static void reply_summary(struct reply *out, const struct stream_group *group)
{
    size_t count = order_count(&group->pending);
    reply_array(out, 4);
    reply_count(out, count);
    if (count == 0) {
        reply_null(out);
        reply_null(out);
        reply_null_array(out);
        return;
    }
    const struct stream_pending *first = order_at(&group->pending, 0);
    const struct stream_pending *last = order_at(&group->pending, count - 1);
    streams_reply_id(out, first->id);
    streams_reply_id(out, last->id);
    reply_consumers(out, group);
}

static void reply_pending(struct call *call, const struct order *order,
                          const struct pending_query *query)
{
    struct order_cursor cursor;
    struct reply_mark mark;
    int64_t replied = 0;
    size_t seen = 0;
    reply_begin(call->out, &mark, '*');
    const struct stream_pending *pending = stream_pending_seek(order, query->first, &cursor);
    for (; pending != NULL && replied < query->count; pending = order_next(&cursor)) {
        if (++seen % SLICED_STEP == 0 && !call_yield(call)) {
            break;
        }
        int64_t idle_ms = call->now->wall_ms - pending->delivered_ms;
        if (stream_id_compare(pending->id, query->last) > 0) {
            break;
        }
        if (query->idle_ms != 0 && idle_ms < query->idle_ms) {
            continue;
        }
        reply_array(call->out, 4);
        streams_reply_id(call->out, pending->id);
        reply_bulk(call->out, stream_consumer_name(pending->consumer));
        reply_integer(call->out, idle_ms < 0 ? 0 : idle_ms);
        reply_integer(call->out, (int64_t)pending->delivery_count);
        replied++;
    }
    reply_end(call->out, &mark, (size_t)replied);
}

/* Entries that are looked at. */
static size_t pending_size(const struct order *order, const struct pending_query *query)
{
    size_t count = order_count(order);
    if (query->count <= 0) {
        return 0;
    }
    return query->idle_ms == 0 && (uint64_t)query->count < count ? (size_t)query->count : count;
}

/* XPENDING key group [[IDLE min-idle-time] start end count [consumer]] */
static void xpending_run(struct call *call)
{
    struct pending_query query;
    struct value *value;
    struct stream_group *group;
    bool is_summary = call->args.count == 3;
    if ((!is_summary && !parse_pending(call, &query)) ||
        !streams_find_group(call, 1, 2, &value, &group)) {
        return;
    }
    if (is_summary) {
        reply_summary(call->out, group);
        return;
    }
    const struct order *order = &group->pending;
    if (query.consumer_at != 0) {
        const struct stream_consumer *consumer =
            stream_consumer_find(group, call->args.at[query.consumer_at]);
        if (consumer == NULL) {
            reply_array(call->out, 0);
            return;
        }
        order = &consumer->pending;
    }
    if (!call_slice(call, pending_size(order, &query))) {
        reply_pending(call, order, &query);
    }
}

/* ---- Claims ---- */

void streams_claim_effect(struct call *call, uint32_t key, const struct stream_group *group,
                          const struct stream_pending *pending)
{
    struct stream_id_text id, last_id;
    char time[NUM_I64_TEXT_MAX + 1];
    char count[NUM_I64_TEXT_MAX + 1];
    const struct slice args[] = {
        slice_from_text("XCLAIM"),
        call->args.at[key],
        stream_group_name(group),
        stream_consumer_name(pending->consumer),
        slice_from_text("0"),
        streams_id_text(&id, pending->id),
        slice_from_text("TIME"),
        slice_of(time, num_format_i64(time, pending->delivered_ms)),
        slice_from_text("RETRYCOUNT"),
        slice_of(count, num_format_u64(count, pending->delivery_count)),
        slice_from_text("FORCE"),
        slice_from_text("JUSTID"),
        slice_from_text("LASTID"),
        streams_id_text(&last_id, group->last_id),
    };
    call_effect(call, args, sizeof(args) / sizeof(args[0]));
}

/* XCLAIM or XAUTOCLAIM at work. */
struct claim {
    struct call *call;
    struct value *value;
    struct stream_group *group;
    struct stream_consumer *consumer;
    int64_t idle_ms;      /* Entries delivered more recently stay where they are. */
    int64_t delivered_ms; /* Of the claim. */
    int64_t retry_count;  /* -1: one more than before. */
    bool is_forced;       /* Entries that are not pending become so. */
    bool is_id_only;      /* Replies IDs, and does not count as a delivery. */
    size_t change_count;
};

static void claim_note(struct claim *claim, const struct stream_pending *pending)
{
    claim->change_count++;
    if (call_wants_effects(claim->call)) {
        streams_claim_effect(claim->call, 1, claim->group, pending);
    }
}

/* The entry is gone from the stream: so is the claim to it. */
static void claim_drop(struct claim *claim, struct stream_pending *pending)
{
    claim_note(claim, pending);
    stream_pending_remove(claim->group, pending);
}

/* Gives the entry to the consumer, unless it is too young. True: it was replied. */
static bool claim_take(struct claim *claim, struct stream_pending *pending)
{
    struct call *call = claim->call;
    if (pending->consumer != NULL && claim->idle_ms != 0 &&
        call->now->wall_ms - pending->delivered_ms < claim->idle_ms) {
        return false;
    }
    if (pending->consumer != claim->consumer) {
        stream_pending_assign(claim->group, pending, claim->consumer);
    }
    stream_pending_will_change(claim->group, pending);
    pending->delivered_ms = claim->delivered_ms;
    if (claim->retry_count >= 0) {
        pending->delivery_count = (uint64_t)claim->retry_count;
    } else if (!claim->is_id_only) {
        stream_pending_count(pending);
    }
    if (claim->is_id_only) {
        streams_reply_id(call->out, pending->id);
    } else {
        streams_reply_entry_at(call->out, claim->value, pending->id);
    }
    stream_consumer_will_change(claim->group, claim->consumer);
    claim->consumer->active_ms = call->now->wall_ms;
    claim_note(claim, pending);
    return true;
}

/* ---- XCLAIM ---- */

/* One option of XCLAIM; false: the error is in the reply. */
static bool parse_claim_option(struct claim *claim, uint32_t *index, struct stream_id *last_id)
{
    struct call *call = claim->call;
    uint32_t i = *index;
    bool has_more = i + 1 < call->args.count;
    *index += 2;
    if (has_more && call_is(call, i, "IDLE")) {
        if (!call_i64(call, i + 1, &claim->delivered_ms,
                      "ERR Invalid IDLE option argument for XCLAIM")) {
            return false;
        }
        claim->delivered_ms =
            (int64_t)((uint64_t)call->now->wall_ms - (uint64_t)claim->delivered_ms);
        return true;
    }
    if (has_more && call_is(call, i, "TIME")) {
        return call_i64(call, i + 1, &claim->delivered_ms,
                        "ERR Invalid TIME option argument for XCLAIM");
    }
    if (has_more && call_is(call, i, "RETRYCOUNT")) {
        return call_i64(call, i + 1, &claim->retry_count,
                        "ERR Invalid RETRYCOUNT option argument for XCLAIM");
    }
    if (has_more && call_is(call, i, "LASTID")) {
        return streams_id(call, i + 1, last_id);
    }
    *index = i + 1;
    if (call_is(call, i, "FORCE")) {
        claim->is_forced = true;
    } else if (call_is(call, i, "JUSTID")) {
        claim->is_id_only = true;
    } else {
        reply_errorf(call->out, "ERR Unrecognized XCLAIM option '%.*s'",
                     SLICE_TEXT(call->args.at[i]));
        return false;
    }
    return true;
}

/* IDs, then options. False: the error is in the reply. */
static bool parse_claim(struct claim *claim, uint32_t *ids_end, struct stream_id *last_id)
{
    struct call *call = claim->call;
    const struct stream_id_form form = {.missing_seq = 0};
    struct stream_id id;
    if (!call_i64(call, 4, &claim->idle_ms, "ERR Invalid min-idle-time argument for XCLAIM")) {
        return false;
    }
    claim->idle_ms = claim->idle_ms < 0 ? 0 : claim->idle_ms;
    claim->delivered_ms = -1;
    claim->retry_count = -1;
    *last_id = STREAM_ID_MIN;
    uint32_t i = 5;
    while (i < call->args.count && streams_parse_id(call->args.at[i], &form, &id)) {
        i++;
    }
    *ids_end = i;
    while (i < call->args.count) {
        if (!parse_claim_option(claim, &i, last_id)) {
            return false;
        }
    }
    if (claim->delivered_ms < 0 || claim->delivered_ms > call->now->wall_ms) {
        claim->delivered_ms = call->now->wall_ms; /* Clients' clocks may be ahead of ours. */
    }
    return true;
}

/* Claims the entry with this ID; true: it was replied. */
static bool claim_id(struct claim *claim, struct stream_id id)
{
    struct stream_pending *pending = stream_pending_find(&claim->group->pending, id);
    if (!stream_has(claim->value, id)) {
        if (pending != NULL) {
            claim_drop(claim, pending);
        }
        return false;
    }
    if (pending == NULL && claim->is_forced) {
        pending = stream_pending_try_add(claim->group, NULL, id);
        if (pending != NULL) {
            pending->delivery_count = 1;
        }
    }
    return pending != NULL && claim_take(claim, pending);
}

/* Reports what was done. */
static void claim_finish(struct claim *claim, bool is_group_moved)
{
    struct call *call = claim->call;
    if (claim->change_count == 0 && is_group_moved && call_wants_effects(call)) {
        streams_group_effect(call, 1, claim->group);
    }
    if (claim->change_count > 0 || is_group_moved) {
        streams_group_changed(call, 1);
    }
}

/* XCLAIM key group consumer min-idle-time id [id ...] [IDLE ms] [TIME unix-time-ms] [RETRYCOUNT
 * count] [FORCE] [JUSTID] [LASTID id] */
static void xclaim_run(struct call *call)
{
    struct claim claim = {.call = call};
    struct stream_id last_id, id;
    struct reply_mark mark;
    uint32_t ids_end;
    size_t replied = 0;
    if (!streams_find_group(call, 1, 2, &claim.value, &claim.group) ||
        !parse_claim(&claim, &ids_end, &last_id)) {
        return;
    }
    claim.consumer = streams_consumer(call, 1, claim.group, call->args.at[3]);
    if (claim.consumer == NULL) {
        return;
    }
    bool is_group_moved = stream_id_compare(last_id, claim.group->last_id) > 0;
    if (is_group_moved) {
        stream_group_will_change(claim.group);
        claim.group->last_id = last_id;
    }
    reply_begin(call->out, &mark, '*');
    for (uint32_t i = 5; i < ids_end; i++) {
        streams_parse_id(call->args.at[i], &(struct stream_id_form){.missing_seq = 0}, &id);
        replied += claim_id(&claim, id);
    }
    reply_end(call->out, &mark, replied);
    claim_finish(&claim, is_group_moved);
}

/* ---- XAUTOCLAIM ---- */

/* IDs that were found deleted. */
struct id_list {
    struct stream_id *at; /* In `room`. */
    struct stretch room;
    size_t count, cap;
};

static bool id_list_try_reserve(struct id_list *list)
{
    if (list->count < list->cap) {
        return true;
    }
    size_t cap = list->cap == 0 ? AUTOCLAIM_STEP : list->cap * 2;
    bool has_grown = stretch_try_grow(&list->room, cap * sizeof(*list->at));
    if (has_grown) {
        list->at = list->room.bytes;
        list->cap = cap;
    }
    return has_grown;
}

static bool parse_autoclaim(struct claim *claim, struct stream_id *start, int64_t *count)
{
    struct call *call = claim->call;
    *count = AUTOCLAIM_COUNT;
    if (!call_i64(call, 4, &claim->idle_ms, "ERR Invalid min-idle-time argument for XAUTOCLAIM") ||
        !streams_start(call, 5, start)) {
        return false;
    }
    claim->idle_ms = claim->idle_ms < 0 ? 0 : claim->idle_ms;
    for (uint32_t i = 6; i < call->args.count; i++) {
        if (call_is(call, i, "COUNT") && i + 1 < call->args.count) {
            i++;
            if (!call_range_i64(call, i, 1, AUTOCLAIM_COUNT_MAX, count, "ERR COUNT must be > 0")) {
                return false;
            }
        } else if (call_is(call, i, "JUSTID")) {
            claim->is_id_only = true;
        } else {
            reply_error(call->out, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

/* Replies the array of what was claimed from `id` on; `id` becomes where to go on, 0-0 at the end.
 * What was found deleted is dropped and goes into `deleted`. */
static void autoclaim(struct claim *claim, struct stream_id *id, int64_t count,
                      struct id_list *deleted)
{
    const struct order *order = &claim->group->pending;
    struct order_cursor cursor;
    struct reply_mark mark;
    size_t replied = 0;
    struct stream_pending *pending = stream_pending_seek(order, *id, &cursor);
    reply_begin(claim->call->out, &mark, '*');
    for (int64_t left = count * AUTOCLAIM_ATTEMPTS; left > 0 && count > 0 && pending != NULL;
         left--) {
        if (left % SLICED_STEP == 0 && !call_yield(claim->call)) {
            break;
        }
        if (stream_has(claim->value, pending->id)) {
            bool is_taken = claim_take(claim, pending);
            replied += is_taken;
            count -= is_taken;
            pending = order_next(&cursor);
            continue;
        }
        if (!id_list_try_reserve(deleted)) {
            break;
        }
        struct stream_id gone = pending->id;
        deleted->at[deleted->count++] = gone;
        claim_drop(claim, pending);
        pending = stream_pending_seek(order, gone, &cursor);
        count--;
    }
    reply_end(claim->call->out, &mark, replied);
    *id = pending == NULL ? STREAM_ID_MIN : pending->id;
}

/* Entries that it looks at. */
static size_t autoclaim_size(const struct stream_group *group, int64_t count)
{
    size_t pending = order_count(&group->pending);
    uint64_t attempts = (uint64_t)count * AUTOCLAIM_ATTEMPTS;
    return attempts < pending ? (size_t)attempts : pending;
}

/* XAUTOCLAIM key group consumer min-idle-time start [COUNT count] [JUSTID] */
static void xautoclaim_run(struct call *call)
{
    struct claim claim = {.call = call, .retry_count = -1, .delivered_ms = call->now->wall_ms};
    struct id_list deleted = {.at = NULL};
    struct stream_id id;
    struct reply entries;
    int64_t count;
    claim.value =
        call_peek_place(call, 1, FIND_READ).value; /* A miss, whatever the arguments are. */
    if (!parse_autoclaim(&claim, &id, &count) ||
        !streams_group_of(call, claim.value, 1, 2, &claim.group) ||
        call_slice_editing(call, autoclaim_size(claim.group, count))) {
        return;
    }
    claim.consumer = streams_consumer(call, 1, claim.group, call->args.at[3]);
    if (claim.consumer == NULL) {
        return;
    }
    /* The ID to go on with stands before the entries. */
    struct reply *out = call->out;
    reply_init(&entries, out->pool);
    entries.protocol = out->protocol;
    entries.is_muted = out->is_muted;
    call->out = &entries;
    autoclaim(&claim, &id, count, &deleted);
    call->out = out;
    reply_array(out, 3);
    streams_reply_id(out, id);
    reply_splice(out, &entries);
    reply_array(out, deleted.count);
    for (size_t i = 0; i < deleted.count; i++) {
        streams_reply_id(out, deleted.at[i]);
        (void)((i + 1) % SLICED_STEP == 0 && call_yield(call));
    }
    stretch_deinit(&deleted.room);
    claim_finish(&claim, false);
}

static const struct command streams_pending_rows[] = {
    {.name = "xpending",
     .run = xpending_run,
     .arity = -3,
     .flags = CMD_READONLY,
     .categories = ACL_STREAM,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "5.0.0",
     .group = "stream",
     .complexity = "O(N) where N is the number of entries returned or, with `IDLE`, looked at; "
                   "without a range O(C) where C is the number of consumers.",
     .summary = "Tells which entries were delivered to a group and not acknowledged.",
     .syntax = "key group [filters: [IDLE min-idle-time:integer]@6.2.0 start end count:integer "
               "[consumer]]",
     .tips = "nondeterministic_output",
     .history = "6.2.0 Added the `IDLE` option and exclusive range intervals."},
    {.name = "xclaim",
     .run = xclaim_run,
     .arity = -6,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = ACL_STREAM,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_UPDATE}},
     .since = "5.0.0",
     .group = "stream",
     .complexity = "O(log N) for each ID, where N is the number of pending entries.",
     .summary = "Gives pending entries to a consumer.",
     .syntax = "key group consumer min-idle-time id ... [IDLE ms:integer] [TIME "
               "unix-time-milliseconds:unix-time] [RETRYCOUNT count:integer] [FORCE] [JUSTID] "
               "[LASTID id]",
     .tips = "nondeterministic_output"},
    {.name = "xautoclaim",
     .run = xautoclaim_run,
     .arity = -6,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = ACL_STREAM,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_DELETE}},
     .since = "6.2.0",
     .group = "stream",
     .complexity = "O(N) where N is `COUNT`.",
     .summary = "Gives entries that are pending for some time to a consumer.",
     .syntax = "key group consumer min-idle-time start [COUNT count:integer] [JUSTID]",
     .tips = "nondeterministic_output",
     .history = "7.0.0 Added an element to the reply array, containing deleted entries the "
                "command cleared from the PEL"},
};

void commands_register_streams_pending(struct exec *exec, struct type_limits *limits)
{
    exec_register(exec, streams_pending_rows,
                  sizeof(streams_pending_rows) / sizeof(streams_pending_rows[0]), limits);
}
