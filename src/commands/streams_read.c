/* XREAD and XREADGROUP: what came after some ID, of one stream or of many, at once or when it
 * comes.
 *
 * Each stream has a place to read from: an ID, $ for the end as it is now, + for the last entry;
 * and with a group > for what the group was not given yet, while an ID means what this consumer has
 * pending. What a group reads changes it: the entry becomes pending (unless NOACK), and replicas
 * hear of it by one XCLAIM for each entry and one XGROUP SETID for the group.
 *
 * Who waits is run again with every $ and + replaced by the ID that it meant at first. */
#include "base/mem.h"
#include "commands/commands.h"
#include "commands/streams.h"
#include "exec/block.h"
#include "exec/sliced.h"

enum {
    STREAMS_FEW = 8,         /* Places that need no allocation. */
    COUNT_AFTER_WAIT = 1000, /* Entries given at most to who waited without COUNT. */
};

#define ERR_MEANINGLESS_DOLLAR                                                                     \
    "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of "   \
    "this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID "      \
    "would just return an empty result set."
#define ERR_MEANINGLESS_PLUS                                                                       \
    "ERR The + ID is meaningless in the context of XREADGROUP: you want to read the history of "   \
    "this consumer by specifying a proper ID, or use the > ID to get new messages. The + ID "      \
    "would just return an empty result set."

/* One stream of the command. */
struct read_place {
    struct value *value; /* NULL: there is no such key. */
    struct stream_group *group;
    struct stream_id after; /* What is read comes behind it. */
    bool is_history;        /* A group's, but not > */
    bool is_resolved;       /* It was $ or +. */
};

struct read {
    struct call *call;
    bool is_group; /* XREADGROUP */
    bool is_noack;
    uint32_t group_at;   /* Index of the group's name, the consumer's follows; 0: none. */
    uint32_t streams_at; /* Index of the first key. */
    uint32_t count;      /* Of streams. */
    int64_t entries_max; /* 0: all. */
    int64_t timeout_ms;  /* -1: does not wait. */
    struct read_place *places;
    size_t replied; /* Streams in the reply. */
    struct reply_mark mark;
};

/* ---- Arguments ---- */

/* Options with a value, or of a group. False: the error is in the reply. */
static bool parse_option(struct read *read, uint32_t *index)
{
    struct call *call = read->call;
    uint32_t i = *index;
    uint32_t more = call->args.count - i - 1;
    if (more >= 1 && call_is(call, i, "BLOCK")) {
        *index += 1;
        if ((call->session->flags & SESSION_INTERNAL) != 0) {
            reply_errorf(call->out,
                         "ERR %.*s command is not allowed with BLOCK option from scripts",
                         SLICE_TEXT(call->args.at[0]));
            return false;
        }
        return call_timeout_ms(call, i + 1, &read->timeout_ms);
    }
    if (more >= 1 && call_is(call, i, "COUNT")) {
        *index += 1;
        if (!call_i64(call, i + 1, &read->entries_max, NULL)) {
            return false;
        }
        read->entries_max = read->entries_max < 0 ? 0 : read->entries_max;
        return true;
    }
    const char *error = ERR_SYNTAX;
    if (more >= 2 && call_is(call, i, "GROUP")) {
        *index += 2;
        read->group_at = i + 1;
        error = "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.";
    } else if (call_is(call, i, "NOACK")) {
        read->is_noack = true;
        error = "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.";
    } else {
        reply_error(call->out, error);
        return false;
    }
    if (!read->is_group) {
        reply_error(call->out, error);
    }
    return read->is_group;
}

static bool parse_read(struct read *read)
{
    struct call *call = read->call;
    for (uint32_t i = 1; i < call->args.count && read->streams_at == 0; i++) {
        if (i + 1 == call->args.count || !call_is(call, i, "STREAMS")) {
            if (!parse_option(read, &i)) {
                return false;
            }
            continue;
        }
        read->streams_at = i + 1;
        read->count = call->args.count - i - 1;
    }
    if (read->streams_at == 0) {
        reply_error(call->out, ERR_SYNTAX);
        return false;
    }
    if (read->count % 2 != 0) {
        reply_error(call->out, "ERR Unbalanced XREAD list of streams: for each stream key an ID or "
                               "'$' must be specified.");
        return false;
    }
    read->count /= 2;
    if (read->is_group && read->group_at == 0) {
        reply_error(call->out, "ERR Missing GROUP option for XREADGROUP");
        return false;
    }
    return true;
}

/* The word if the ID is one of $, +, >; else 0. */
static char special_of(struct slice id)
{
    return id.len == 1 && memchr("$+>", id.data[0], 3) != NULL ? id.data[0] : '\0';
}

/* What $ and + mean now. */
static struct stream_id resolve_end(const struct value *value, bool is_last_entry)
{
    if (value == NULL) {
        return STREAM_ID_MIN;
    }
    struct stream_id id = stream_last_entry_id(value);
    if (!is_last_entry || stream_id_is_zero(id)) {
        return stream_meta(value)->last_id;
    }
    (void)stream_id_try_previous(&id);
    return id;
}

/* Where to read the stream at `index` from; its value and group are known. */
static bool parse_place(struct read *read, uint32_t index, struct read_place *place)
{
    struct call *call = read->call;
    char special = special_of(call->args.at[index]);
    const char *error = NULL;
    if (special == '\0') {
        bool is_good = streams_id(call, index, &place->after);
        /* Redis holds > as the highest ID, so that is what this one means. */
        place->is_history = read->is_group && stream_id_compare(place->after, STREAM_ID_MAX) != 0;
        return is_good;
    }
    if (special == '>') {
        error = read->is_group ? NULL
                               : "ERR The > ID can be specified only when calling XREADGROUP "
                                 "using the GROUP <group> <consumer> option.";
    } else if (read->is_group) {
        error = special == '$' ? ERR_MEANINGLESS_DOLLAR : ERR_MEANINGLESS_PLUS;
    }
    if (error != NULL) {
        reply_error(call->out, error);
        return false;
    }
    if (special != '>') {
        place->is_resolved = true;
        place->after = resolve_end(place->value, special == '+');
    }
    return true;
}

/* Finds the group that is read. False: the error is in the reply, which is another one for who
 * waited for it. */
static bool find_group(struct read *read, uint32_t key, struct read_place *place)
{
    struct call *call = read->call;
    struct slice name = call->args.at[read->group_at];
    place->group = place->value == NULL ? NULL : stream_group_find(place->value, name);
    if (place->group != NULL) {
        return true;
    }
    if (call->ready_key == key && place->value == NULL) {
        reply_error(call->out, "UNBLOCKED the stream key no longer exists");
    } else if (call->ready_key == key) {
        reply_error(call->out,
                    "NOGROUP the consumer group this client was blocked on no longer exists");
    } else {
        reply_errorf(call->out, ERR_NO_GROUP_OF_KEY " in XREADGROUP with GROUP option",
                     SLICE_TEXT(call->args.at[key]), SLICE_TEXT(name));
    }
    return false;
}

/* Looks all streams up. False: the error is in the reply. */
static bool find_places(struct read *read, struct block_keys keys)
{
    struct call *call = read->call;
    for (uint32_t key = keys.first; key < keys.end; key++) {
        struct read_place *place = &read->places[key - read->streams_at];
        bool is_found = read->is_group ? streams_find_for_groups(call, key, &place->value)
                                       : call_find(call, key, VALUE_STREAM, &place->value);
        if (!is_found || (read->is_group && !find_group(read, key, place)) ||
            !parse_place(read, key + read->count, place)) {
            return false;
        }
    }
    return true;
}

/* ---- Reading ---- */

/* The head of a stream's part of the reply. */
static void begin_part(struct read *read, uint32_t key)
{
    struct reply *out = read->call->out;
    if (read->replied++ == 0) {
        reply_begin(out, &read->mark, out->protocol == 3 ? '%' : '*');
    }
    if (out->protocol == 2) {
        reply_array(out, 2);
    }
    reply_bulk(out, read->call->args.at[key]);
}

static bool has_more(const struct read *read, size_t replied)
{
    return read->entries_max == 0 || replied < (uint64_t)read->entries_max;
}

/* Moves the group on to an entry that it is given. */
static void group_advance(const struct value *value, struct stream_group *group,
                          struct stream_id id)
{
    if (stream_id_compare(id, group->last_id) <= 0) {
        return;
    }
    stream_group_will_change(group);
    if (group->entries_read != STREAM_COUNT_UNKNOWN && !stream_has_tombstone_from(value, id)) {
        group->entries_read += group->entries_read < STREAM_COUNT_MAX;
    } else if (stream_meta(value)->entries_added != 0) {
        group->entries_read = stream_count_until(value, id);
    }
    group->last_id = id;
}

/* Makes an entry pending for the consumer. It may be already, when the group was set back. NULL: no
 * memory. */
static struct stream_pending *deliver(struct read *read, struct stream_group *group,
                                      struct stream_consumer *consumer, struct stream_id id)
{
    bool is_new = stream_id_compare(id, group->last_id) > 0;
    struct stream_pending *pending = NULL;
    size_t count = order_count(&group->pending);
    if (!is_new ||
        (count > 0 &&
         stream_id_compare(
             ((const struct stream_pending *)order_at(&group->pending, count - 1))->id, id) >= 0)) {
        pending = stream_pending_find(&group->pending, id);
    }
    if (pending == NULL) {
        pending = stream_pending_try_add(group, consumer, id);
    } else if (pending->consumer != consumer) {
        stream_pending_assign(group, pending, consumer);
    }
    if (pending != NULL) {
        stream_pending_will_change(group, pending);
        pending->delivered_ms = read->call->now->wall_ms;
        pending->delivery_count = 1;
    }
    return pending;
}

/* Gives a consumer what its group was not given yet. */
static void read_new(struct read *read, uint32_t key, const struct read_place *place,
                     struct stream_consumer *consumer)
{
    struct call *call = read->call;
    bool wants_effects = call_wants_effects(call);
    struct stream_group *group = place->group;
    struct stream_id first = place->after;
    struct stream_walk walk;
    struct stream_entry entry;
    struct reply_mark mark;
    size_t replied = 0;
    (void)stream_id_try_next(&first); /* There is an entry behind it. */
    stream_walk_begin(&walk, place->value, first, STREAM_ID_MAX, false);
    reply_begin(call->out, &mark, '*');
    for (; has_more(read, replied) && stream_walk_next(&walk, &entry); replied++) {
        struct stream_pending *pending = NULL;
        if (!read->is_noack) {
            pending = deliver(read, group, consumer, entry.id);
            if (pending == NULL) {
                break;
            }
        }
        group_advance(place->value, group, entry.id);
        if (pending != NULL && wants_effects) {
            streams_claim_effect(call, key, group, pending);
        }
        streams_reply_entry(call->out, &entry);
        if (replied % SLICED_STEP == 0 && !call_yield(call)) {
            break;
        }
    }
    reply_end(call->out, &mark, replied);
    stream_consumer_will_change(group, consumer);
    consumer->active_ms = call->now->wall_ms;
    streams_group_changed(call, key);
    if (wants_effects) {
        streams_group_effect(call, key, group);
    }
}

/* Gives a consumer what it has pending. Entries that are gone from the stream are null. */
static void read_history(struct read *read, uint32_t key, const struct read_place *place,
                         const struct stream_consumer *consumer)
{
    struct call *call = read->call;
    struct stream_id first = place->after;
    struct order_cursor cursor;
    struct reply_mark mark;
    size_t replied = 0;
    bool is_end = !stream_id_try_next(&first);
    reply_begin(call->out, &mark, '*');
    struct stream_pending *pending =
        is_end ? NULL : stream_pending_seek(&consumer->pending, first, &cursor);
    for (; pending != NULL && has_more(read, replied); pending = order_next(&cursor)) {
        if (streams_reply_entry_at(call->out, place->value, pending->id)) {
            stream_pending_will_change(place->group, pending);
            pending->delivered_ms = call->now->wall_ms;
            stream_pending_count(pending);
        } else {
            reply_array(call->out, 2);
            streams_reply_id(call->out, pending->id);
            reply_null_array(call->out);
        }
        replied++;
        if (replied % SLICED_STEP == 0 && !call_yield(call)) {
            break;
        }
    }
    reply_end(call->out, &mark, replied);
    if (replied > 0) {
        call_no_effect(call); /* Redis keeps deliveries that repeat to itself. */
        streams_group_changed(call, key);
    }
}

/* Gives who reads without a group all that came after an ID. */
static void read_entries(struct read *read, const struct read_place *place)
{
    struct stream_id first = place->after;
    struct stream_walk walk;
    struct stream_entry entry;
    struct reply_mark mark;
    size_t replied = 0;
    (void)stream_id_try_next(&first); /* There is an entry behind it. */
    stream_walk_begin(&walk, place->value, first, STREAM_ID_MAX, false);
    reply_begin(read->call->out, &mark, '*');
    for (; has_more(read, replied) && stream_walk_next(&walk, &entry); replied++) {
        streams_reply_entry(read->call->out, &entry);
        if (replied % SLICED_STEP == 0 && !call_yield(read->call)) {
            break;
        }
    }
    reply_end(read->call->out, &mark, replied);
}

/* Whether the stream has entries behind this ID. */
static bool has_after(const struct value *value, struct stream_id id)
{
    return stream_id_compare(stream_last_entry_id(value), id) > 0;
}

/* Reads one stream, if there is something to read. False: the error is in the reply. */
static bool read_stream(struct read *read, uint32_t key, struct read_place *place)
{
    struct stream_consumer *consumer = NULL;
    if (read->is_group) {
        struct slice name = read->call->args.at[read->group_at + 1];
        consumer = streams_consumer(read->call, key, place->group, name);
        if (consumer == NULL) {
            return false;
        }
        if (!place->is_history) {
            place->after = place->group->last_id; /* Now: the same stream may stand here twice. */
        }
    }
    if (place->value == NULL) {
        exec_report_miss(read->call->exec, read->call->db, read->call->args.at[key]);
        return true; /* Missed twice, as Redis looks every stream up twice. */
    }
    if (!place->is_history && !has_after(place->value, place->after)) {
        return true;
    }
    begin_part(read, key);
    if (consumer == NULL) {
        read_entries(read, place);
    } else if (place->is_history) {
        read_history(read, key, place, consumer);
    } else {
        read_new(read, key, place, consumer);
    }
    return true;
}

/* ---- Waiting ---- */

/* Waits for the streams; $ and + are replaced by what they mean now. */
static void wait(struct read *read)
{
    struct call *call = read->call;
    struct block_wish wish = {.first_key = read->streams_at,
                              .key_count = read->count,
                              .timeout_ms = read->timeout_ms,
                              .kind = VALUE_STREAM,
                              .wants_removal = read->is_group};
    bool has_resolved = false;
    for (uint32_t i = 0; i < read->count; i++) {
        has_resolved = has_resolved || read->places[i].is_resolved;
    }
    if (!has_resolved || call->ready_key != 0) {
        call_block(call, &wish);
        return;
    }
    size_t ids_size = read->count * sizeof(struct stream_id_text);
    struct args again = {.at = mem_alloc(call->args.count * sizeof(*again.at)),
                         .count = call->args.count};
    struct stream_id_text *texts = mem_alloc(ids_size);
    memcpy(again.at, call->args.at, call->args.count * sizeof(*again.at));
    for (uint32_t i = 0; i < read->count; i++) {
        if (read->places[i].is_resolved) {
            again.at[read->streams_at + read->count + i] =
                streams_id_text(&texts[i], read->places[i].after);
        }
    }
    wish.again = &again;
    call_block(call, &wish);
    mem_free(texts);
    mem_free(again.at);
}

/* About how many entries there are to be read. */
static uint64_t place_size(const struct read *read, const struct read_place *place)
{
    if (place->value == NULL) {
        return 0;
    }
    if (place->is_history) {
        const struct stream_consumer *consumer =
            stream_consumer_find(place->group, read->call->args.at[read->group_at + 1]);
        return consumer == NULL ? 0 : order_count(&consumer->pending);
    }
    struct stream_id after = read->is_group ? place->group->last_id : place->after;
    return has_after(place->value, after) ? stream_count_between(place->value, after, STREAM_ID_MAX)
                                          : 0;
}

/* The same with COUNT, for all streams. */
static size_t read_size(const struct read *read)
{
    uint64_t size = 0;
    for (uint32_t i = 0; i < read->count; i++) {
        const struct read_place *place = &read->places[i];
        uint64_t count = place_size(read, place);
        size += has_more(read, count) ? count : (uint64_t)read->entries_max;
    }
    return size;
}

static void read_all(struct read *read)
{
    struct call *call = read->call;
    struct block_keys keys = call_keys_to_try(call, read->streams_at, read->count);
    if (call->ready_key != 0 && read->entries_max == 0) {
        read->entries_max = COUNT_AFTER_WAIT;
    }
    if (!find_places(read, keys)) {
        return;
    }
    if (call->ready_key == 0 && (read->is_group ? call_slice_editing(call, read_size(read))
                                                : call_slice(call, read_size(read)))) {
        return;
    }
    for (uint32_t key = keys.first; key < keys.end; key++) {
        if (!read_stream(read, key, &read->places[key - read->streams_at])) {
            return;
        }
    }
    if (read->replied > 0) {
        reply_end(call->out, &read->mark, read->replied);
    } else if (read->timeout_ms < 0 || !call_may_block(call)) {
        reply_null_array(call->out);
    } else {
        wait(read);
    }
}

static void read_with(struct call *call, bool is_group)
{
    struct read_place few[STREAMS_FEW];
    struct read read = {.call = call, .is_group = is_group, .timeout_ms = -1, .places = few};
    if (!parse_read(&read)) {
        return;
    }
    size_t size = read.count * sizeof(*read.places);
    if (read.count > STREAMS_FEW) {
        read.places = mem_try_alloc(size);
        if (read.places == NULL) {
            reply_error(call->out, ERR_NO_MEMORY);
            return;
        }
    }
    memset(read.places, 0, size);
    read_all(&read);
    if (read.places != few) {
        mem_free_sized(read.places, size);
    }
}

/* XREAD [COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...] */
static void xread_run(struct call *call)
{
    read_with(call, false);
}

/* XREADGROUP GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...]
 * id [id ...] */
static void xreadgroup_run(struct call *call)
{
    read_with(call, true);
}

static const struct command streams_read_rows[] = {
    {.name = "xread",
     .run = xread_run,
     .arity = -4,
     .flags = CMD_READONLY | CMD_BLOCKING,
     .categories = ACL_STREAM,
     .keys = {{.first = 1,
               .last = -1,
               .word = "STREAMS",
               .limit = 2,
               .access = KEY_RO,
               .use = KEY_USE_ACCESS}},
     .since = "5.0.0",
     .group = "stream",
     .complexity = "O(N) where N is the number of entries returned.",
     .summary = "Returns what came after an ID in each of some streams, and may wait for it.",
     .syntax = "[COUNT count:integer] [BLOCK milliseconds:integer] STREAMS (streams: key ... id "
               "...)"},
    {.name = "xreadgroup",
     .run = xreadgroup_run,
     .arity = -7,
     .flags = CMD_WRITE | CMD_BLOCKING,
     .categories = ACL_STREAM,
     .keys = {{.first = 4,
               .last = -1,
               .word = "STREAMS",
               .limit = 2,
               .access = KEY_RO,
               .is_edited = true,
               .use = KEY_USE_ACCESS}},
     .since = "5.0.0",
     .group = "stream",
     .complexity = "O(N log M) where N is the number of entries returned and M that of pending "
                   "ones.",
     .summary = "Gives a consumer of a group what the group was not given yet, or what it has "
                "pending, and may wait for it.",
     .syntax = "GROUP (group_consumer: group consumer) [COUNT count:integer] [BLOCK "
               "milliseconds:integer] [NOACK] STREAMS (streams: key ... id ...)"},
};

void commands_register_streams_read(struct exec *exec, struct type_limits *limits)
{
    exec_register(exec, streams_read_rows, sizeof(streams_read_rows) / sizeof(streams_read_rows[0]),
                  limits);
}
