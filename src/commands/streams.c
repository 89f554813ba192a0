/* Streams: adding and trimming (XADD, XTRIM), and what all stream commands share: IDs as clients
 * write them, entries as clients read them.
 *
 * Replicas must come to the same entries whatever the clock and the nodes are there, so XADD and
 * XTRIM tell their effect with the ID that was drawn, and a trimming that stopped at a node's
 * border (~) or at its limit as one to the exact length, or to the first ID, that was reached. */
#include "commands/streams.h"
#include "exec/sliced.h"

#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "commands/commands.h"

enum {
    ID_ARGUMENT_LEN_MAX = 127,
    TRIM_LIMIT_PER_NODE = 100, /* Nodes of full size that a trimming with ~ may free. */
    TRIM_LIMIT_DEFAULT = 10000,
    TRIM_LIMIT_MAX = 1000000,
};

#define ENTRY_TEXTS_LEN_MAX (UINT64_C(1) << 30)
#define ERR_TRIM_TWICE                                                                             \
    "ERR syntax error, MAXLEN and MINID options at the same time are not compatible"

/* ---- IDs ---- */

/* As Redis reads them: what strtoull takes, but nothing negative. */
static bool parse_u64(const char *text, uint64_t *out)
{
    int64_t number;
    char *end = NULL;
    if (num_parse_i64(slice_from_text(text), &number)) {
        *out = (uint64_t)number;
        return number >= 0;
    }
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && *text != '\0' && *end == '\0';
}

bool streams_parse_id(struct slice text, const struct stream_id_form *form, struct stream_id *id)
{
    char copy[ID_ARGUMENT_LEN_MAX + 1];
    if (text.len > ID_ARGUMENT_LEN_MAX) {
        return false;
    }
    if (text.len > 0) {
        memcpy(copy, text.data, text.len);
    }
    copy[text.len] = '\0';
    if (form->has_seq != NULL) {
        *form->has_seq = true;
    }
    if ((copy[0] == '-' || copy[0] == '+') && copy[1] == '\0') {
        *id = copy[0] == '-' ? STREAM_ID_MIN : STREAM_ID_MAX;
        return form->allows_edges;
    }
    char *dash = strchr(copy, '-');
    if (dash != NULL) {
        *dash = '\0';
    }
    if (!parse_u64(copy, &id->ms)) {
        return false;
    }
    if (dash == NULL) {
        id->seq = form->missing_seq;
        return true;
    }
    if (form->has_seq != NULL && strcmp(dash + 1, "*") == 0) {
        id->seq = 0;
        *form->has_seq = false;
        return true;
    }
    return parse_u64(dash + 1, &id->seq);
}

bool streams_id(struct call *call, uint32_t index, struct stream_id *id)
{
    if (streams_parse_id(call->args.at[index], &(struct stream_id_form){.missing_seq = 0}, id)) {
        return true;
    }
    reply_error(call->out, ERR_STREAM_ID);
    return false;
}

static bool parse_edge(struct call *call, uint32_t index, uint64_t missing_seq,
                       struct stream_id *id, bool *is_open)
{
    struct slice text = call->args.at[index];
    *is_open = text.len > 1 && text.data[0] == '(';
    struct stream_id_form form = {.missing_seq = missing_seq, .allows_edges = !*is_open};
    if (streams_parse_id(slice_part(text, *is_open ? 1 : 0, text.len), &form, id)) {
        return true;
    }
    reply_error(call->out, ERR_STREAM_ID);
    return false;
}

bool streams_start(struct call *call, uint32_t index, struct stream_id *id)
{
    bool is_open;
    if (!parse_edge(call, index, 0, id, &is_open)) {
        return false;
    }
    if (is_open && !stream_id_try_next(id)) {
        reply_error(call->out, "ERR invalid start ID for the interval");
        return false;
    }
    return true;
}

bool streams_end(struct call *call, uint32_t index, struct stream_id *id)
{
    bool is_open;
    if (!parse_edge(call, index, UINT64_MAX, id, &is_open)) {
        return false;
    }
    if (is_open && !stream_id_try_previous(id)) {
        reply_error(call->out, "ERR invalid end ID for the interval");
        return false;
    }
    return true;
}

/* ---- Replies ---- */

void streams_reply_id(struct reply *out, struct stream_id id)
{
    struct stream_id_text text;
    reply_bulk(out, streams_id_text(&text, id));
}

static inline void reply_item(struct reply *out, const struct stream_item *item)
{
    if (item->blob != NULL) {
        reply_bulk_blob(out, item->blob, 0, item->len);
    } else if (item->data != NULL) {
        reply_bulk(out, slice_of(item->data, item->len));
    } else {
        reply_bulk_integer(out, item->number);
    }
}

void streams_reply_entry(struct reply *out, struct stream_entry *entry)
{
    struct stream_item field, value;
    reply_array(out, 2);
    streams_reply_id(out, entry->id);
    reply_array(out, (size_t)entry->pair_count * 2);
    while (stream_entry_next(entry, &field, &value)) {
        reply_item(out, &field);
        reply_item(out, &value);
    }
}

bool streams_reply_entry_at(struct reply *out, const struct value *value, struct stream_id id)
{
    struct stream_walk walk;
    struct stream_entry entry;
    stream_walk_begin(&walk, value, id, id, false);
    if (!stream_walk_next(&walk, &entry)) {
        return false;
    }
    streams_reply_entry(out, &entry);
    return true;
}

/* ---- Options of XADD and XTRIM ---- */

struct add_options {
    struct stream_trim trim;
    bool has_trim;
    uint32_t trim_word; /* Index of MAXLEN or MINID. */
    uint32_t trim_end;  /* Behind its value. */
    uint32_t limit_at;  /* Index of LIMIT; 0: not given. */
    bool is_missing_ok; /* NOMKSTREAM was not given. */
    struct stream_id id;
    bool has_id, has_seq;
    uint32_t next; /* First argument that is not an option. */
};

/* MAXLEN and MINID with their operator and threshold. */
static bool parse_trim(struct call *call, uint32_t *index, struct add_options *options)
{
    uint32_t last = call->args.count - 1;
    int64_t count;
    if (options->has_trim) {
        reply_error(call->out, ERR_TRIM_TWICE);
        return false;
    }
    struct stream_trim *trim = &options->trim;
    trim->is_by_id = call_is(call, *index, "MINID");
    options->has_trim = true;
    options->trim_word = *index;
    struct slice next = call->args.at[*index + 1];
    if (last - *index >= 2 && next.len == 1 && (next.data[0] == '~' || next.data[0] == '=')) {
        trim->is_approximate = next.data[0] == '~';
        ++*index;
    }
    ++*index;
    options->trim_end = *index + 1;
    if (trim->is_by_id) {
        return streams_id(call, *index, &trim->min_id);
    }
    if (!call_i64(call, *index, &count, NULL)) {
        return false;
    }
    if (count < 0) {
        reply_error(call->out, "ERR The MAXLEN argument must be >= 0.");
        return false;
    }
    trim->count_max = (uint64_t)count;
    return true;
}

static bool parse_limit(struct call *call, uint32_t *index, struct add_options *options)
{
    int64_t limit;
    options->limit_at = *index;
    ++*index;
    if (!call_i64(call, *index, &limit, NULL)) {
        return false;
    }
    if (limit < 0) {
        reply_error(call->out, "ERR The LIMIT argument must be >= 0.");
        return false;
    }
    options->trim.limit = (uint64_t)limit;
    return true;
}

/* What the options mean together. */
static bool check_options(struct call *call, struct add_options *options, bool is_add)
{
    struct stream_trim *trim = &options->trim;
    if (trim->limit != 0 && !options->has_trim) {
        reply_error(call->out, "ERR syntax error, LIMIT cannot be used without specifying a "
                               "trimming strategy");
        return false;
    }
    if (!is_add && !options->has_trim) {
        reply_error(call->out, "ERR syntax error, XTRIM must be called with a trimming strategy");
        return false;
    }
    if (streams_must_obey(call)) {
        trim->limit = 0;
    } else if (options->limit_at != 0 && !trim->is_approximate) {
        reply_error(call->out, "ERR syntax error, LIMIT cannot be used without the special ~ "
                               "option");
        return false;
    } else if (options->limit_at == 0 && trim->is_approximate) {
        uint64_t entries = streams_limits(call)->stream_node_entries;
        trim->limit = entries == 0 ? TRIM_LIMIT_DEFAULT
                      : entries > TRIM_LIMIT_MAX / TRIM_LIMIT_PER_NODE
                          ? TRIM_LIMIT_MAX
                          : entries * TRIM_LIMIT_PER_NODE;
    }
    return true;
}

/* The ID of an entry to add. */
static bool parse_new_id(struct call *call, uint32_t index, struct add_options *options)
{
    struct stream_id_form form = {.has_seq = &options->has_seq};
    options->has_id = true;
    if (streams_parse_id(call->args.at[index], &form, &options->id)) {
        return true;
    }
    reply_error(call->out, ERR_STREAM_ID);
    return false;
}

/* Options from the second argument on; those of XADD end with the ID or *. False: the error is in
 * the reply. */
static bool parse_options(struct call *call, struct add_options *options, bool is_add)
{
    *options = (struct add_options){.is_missing_ok = true};
    uint32_t i = 2;
    for (; i < call->args.count; i++) {
        struct slice word = call->args.at[i];
        bool has_more = i + 1 < call->args.count;
        if (is_add && word.len == 1 && word.data[0] == '*') {
            break;
        }
        if (has_more && (slice_is(word, "MAXLEN") || slice_is(word, "MINID"))) {
            if (!parse_trim(call, &i, options)) {
                return false;
            }
        } else if (has_more && slice_is(word, "LIMIT")) {
            if (!parse_limit(call, &i, options)) {
                return false;
            }
        } else if (is_add && slice_is(word, "NOMKSTREAM")) {
            options->is_missing_ok = false;
        } else if (is_add) {
            if (!parse_new_id(call, i, options)) {
                return false;
            }
            break;
        } else {
            reply_error(call->out, ERR_SYNTAX);
            return false;
        }
    }
    options->next = i;
    return check_options(call, options, is_add);
}

/* ---- Effects of XADD and XTRIM ---- */

/* What XTRIM MINID must be told elsewhere to leave as much as is left here. */
static struct stream_id id_left(const struct stream_meta *meta)
{
    return meta->count == 0 ? STREAM_ID_MAX : meta->first_id;
}

/* The command with the threshold that was reached instead of that asked for, without the limit, and
 * (`id_text` not NULL) with that ID in its place. */
static void trim_effect(struct call *call, const struct add_options *options,
                        const struct value *value, const struct slice *id_text)
{
    struct slice *args = mem_alloc(((size_t)call->args.count + 1) * sizeof(*args));
    uint32_t count = 0;
    struct stream_id_text first_id;
    char digits[NUM_I64_TEXT_MAX + 1];
    for (uint32_t i = 0; i < call->args.count; i++) {
        if (options->has_trim && i == options->trim_word && options->trim.is_approximate) {
            const struct stream_meta *meta = stream_meta(value);
            args[count++] = call->args.at[i];
            args[count++] = slice_from_text("=");
            args[count++] = options->trim.is_by_id
                                ? streams_id_text(&first_id, id_left(meta))
                                : slice_of(digits, num_format_u64(digits, meta->count));
            i = options->trim_end - 1;
        } else if (options->limit_at != 0 && i == options->limit_at) {
            i++;
        } else if (id_text != NULL && i == options->next) {
            args[count++] = *id_text;
        } else {
            args[count++] = call->args.at[i];
        }
    }
    call_effect(call, args, count);
    mem_free(args);
}

/* ---- XADD ---- */

struct add_texts {
    struct call *call;
    uint32_t first;
};

static struct blob *take_argument(void *context, uint32_t index)
{
    struct add_texts *texts = context;
    return call_take_blob(texts->call, texts->first + index);
}

/* The ID that the entry gets. False: it would not be above all others. */
static bool choose_id(const struct call *call, const struct add_options *options,
                      struct stream_id last_id, struct stream_id *id)
{
    *id = options->id;
    if (!options->has_id) {
        *id = (struct stream_id){.ms = (uint64_t)call->now->wall_ms};
        if (stream_id_compare(*id, last_id) <= 0) {
            *id = last_id;
            return stream_id_try_next(id);
        }
        return true;
    }
    if (!options->has_seq && id->ms == last_id.ms) {
        id->seq = last_id.seq + 1;
        return last_id.seq != UINT64_MAX;
    }
    return stream_id_compare(*id, last_id) > 0;
}

static bool texts_fit(const struct call *call, uint32_t first)
{
    uint64_t len = 0;
    for (uint32_t i = first; i < call->args.count; i++) {
        len += call->args.at[i].len;
    }
    return len <= ENTRY_TEXTS_LEN_MAX;
}

/* Adds to the stream at `place`, which is made when it is missing. False: the error is in the
 * reply. */
static bool add_entry(struct call *call, struct value **value, struct stream_id id, uint32_t first)
{
    struct add_texts texts = {.call = call, .first = first};
    struct stream_add add = {.id = id,
                             .texts = call->args.at + first,
                             .count = call->args.count - first,
                             .take_blob = take_argument,
                             .context = &texts,
                             .limits = streams_limits(call)};
    bool is_new = *value == NULL;
    if (!texts_fit(call, first)) {
        reply_error(call->out, "ERR Elements are too large to be stored");
        return false;
    }
    if (is_new) {
        *value = stream_try_new(call->args.at[1], false);
    }
    if (*value == NULL || !stream_try_add(*value, &add)) {
        if (is_new && *value != NULL) {
            value_free(*value, exec_work(call->exec));
        }
        reply_error(call->out, ERR_NO_MEMORY);
        return false;
    }
    if (is_new) {
        db_insert(call->db, call_hash(call, 1), *value);
    }
    return true;
}

/* Whether what was asked for can be added; else the reply is written. */
static bool may_add(struct call *call, const struct add_options *options, const struct value *value,
                    struct stream_id *id)
{
    struct stream_id last_id = value == NULL ? STREAM_ID_MIN : stream_meta(value)->last_id;
    if (value == NULL && !options->is_missing_ok) {
        reply_null(call->out);
        return false;
    }
    if (stream_id_compare(last_id, STREAM_ID_MAX) == 0) {
        reply_error(call->out, "ERR The stream has exhausted the last possible ID, unable to add "
                               "more items");
        return false;
    }
    if (!choose_id(call, options, last_id, id)) {
        reply_error(call->out, "ERR The ID specified in XADD is equal or smaller than the target "
                               "stream top item");
        return false;
    }
    return true;
}

/* Whether the entries of so many nodes are removed that it is done in slices. */
static bool trims_later(struct call *call, const struct value *value,
                        const struct add_options *options)
{
    return value != NULL && options->has_trim &&
           call_slice_editing(call, stream_trim_effort(value, &options->trim));
}

/* May yield. Returns how many entries went. */
static uint64_t trim(struct call *call, struct value *value, const struct stream_trim *trim)
{
    uint64_t removed = 0;
    while (!stream_trim_step(value, trim, SLICED_STEP, exec_work(call->exec), &removed)) {
        if (!call_yield(call)) {
            break;
        }
    }
    return removed;
}

/* XADD key [NOMKSTREAM] [MAXLEN | MINID [= | ~] threshold [LIMIT count]] * | id field value ... */
static void xadd_run(struct call *call)
{
    struct add_options options;
    if (!parse_options(call, &options, true)) {
        return;
    }
    uint32_t first = options.next + 1;
    if (first + 2 > call->args.count || (call->args.count - first) % 2 != 0) {
        call_arity_error(call);
        return;
    }
    if (options.has_id && options.has_seq && stream_id_is_zero(options.id)) {
        reply_error(call->out, "ERR The ID specified in XADD must be greater than 0-0");
        return;
    }
    struct place place;
    struct stream_id id;
    if (!call_find_place(call, 1, VALUE_STREAM, &place) ||
        trims_later(call, place.value, &options) || !may_add(call, &options, place.value, &id) ||
        !add_entry(call, &place.value, id, first)) {
        return;
    }
    struct stream_id_text id_text;
    struct slice id_slice = streams_id_text(&id_text, id);
    reply_bulk(call->out, id_slice);
    uint64_t trimmed = 0;
    if (options.has_trim) {
        trimmed = trim(call, place.value, &options.trim);
    }
    call_changed(call, 1, "xadd");
    if (trimmed > 0) {
        call_event(call, call->db, call->args.at[1], "xtrim");
    }
    bool is_exact = options.has_id && options.has_seq && !options.trim.is_approximate;
    if (!is_exact && call_wants_effects(call)) {
        trim_effect(call, &options, place.value, &id_slice);
    }
}

/* XTRIM key MAXLEN | MINID [= | ~] threshold [LIMIT count] */
static void xtrim_run(struct call *call)
{
    struct add_options options;
    struct place place;
    if (!parse_options(call, &options, false) || !call_find_place(call, 1, VALUE_STREAM, &place) ||
        trims_later(call, place.value, &options)) {
        return;
    }
    uint64_t trimmed = 0;
    if (place.value != NULL) {
        trimmed = trim(call, place.value, &options.trim);
    }
    reply_count(call->out, trimmed);
    if (trimmed == 0) {
        return;
    }
    call_changed(call, 1, "xtrim");
    if (options.trim.is_approximate && call_wants_effects(call)) {
        trim_effect(call, &options, place.value, NULL);
    }
}

static const struct command streams_rows[] = {
    {.name = "xadd",
     .run = xadd_run,
     .arity = -5,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_FAST,
     .categories = ACL_STREAM,
     .keys = {{.first = 1,
               .access = KEY_RW,
               .use = KEY_USE_UPDATE,
               .notes = "UPDATE instead of INSERT because of the optional trimming feature"}},
     .since = "5.0.0",
     .group = "stream",
     .complexity = "O(1) for the entry, and O(N) where N is the number of nodes that trimming "
                   "takes.",
     .summary = "Adds an entry to a stream, which is made when it is missing.",
     .syntax = "key [NOMKSTREAM]@6.2.0 [trim: strategy:(MAXLEN | MINID@6.2.0) operator:[equal== | "
               "approximately=~] threshold [LIMIT count:integer]@6.2.0] (id_or_auto: auto_id=* | "
               "id) (field value)...",
     .tips = "nondeterministic_output",
     .history = "6.2.0 Added the `NOMKSTREAM` option, `MINID` trimming strategy and the `LIMIT` "
                "option.\n7.0.0 Added support for the `<ms>-*` explicit ID form."},
    {.name = "xtrim",
     .run = xtrim_run,
     .arity = -4,
     .flags = CMD_WRITE,
     .categories = ACL_STREAM,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_DELETE}},
     .since = "5.0.0",
     .group = "stream",
     .complexity = "O(N) where N is the number of nodes that go.",
     .summary = "Removes the oldest entries of a stream.",
     .syntax = "key (trim: strategy:(MAXLEN | MINID@6.2.0) operator:[equal== | approximately=~] "
               "threshold [LIMIT count:integer]@6.2.0)",
     .tips = "nondeterministic_output",
     .history = "6.2.0 Added the `MINID` trimming strategy and the `LIMIT` option."},
};

void commands_register_streams(struct exec *exec, struct type_limits *limits)
{
    exec_register(exec, streams_rows, sizeof(streams_rows) / sizeof(streams_rows[0]), limits);
}
