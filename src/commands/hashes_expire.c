/* Fields that expire: HEXPIRE and its three forms, HTTL and its three, HPERSIST; HGETEX, HSETEX and
 * HGETDEL, which read or set fields along with it.
 *
 * All of them deal in unix milliseconds. A moment that has passed removes the field at once; the
 * effect of a command is what it did in that form: HPEXPIREAT, HPERSIST, HDEL, HSETEX with PXAT.
 * Each is told with the fields that it concerns and no others, so an effect needs room for as many
 * words as the command has; that room is borrowed for the call. */
#include "base/mem.h"
#include "base/num.h"
#include "commands/commands.h"
#include "commands/hashes.h"

/* Redis keeps two bits of its 48 for itself. */
#define FIELD_EXPIRE_MS_MAX ((INT64_C(1) << 46) - 1)

#define ERR_NO_FIELDS "ERR Mandatory argument FIELDS is missing or not at the right position"
#define ERR_FIELD_COUNT "ERR Number of fields must be a positive integer"
#define ERR_EXPIRE_COUNT "ERR Parameter `numFields` should be greater than 0"
#define ERR_FIELDS_MATCH "ERR The `numfields` parameter must match the number of arguments"

enum { FIELD_ABSENT = -2, FIELD_PLAIN = -1, FIELD_REFUSED = 0, FIELD_DONE = 1, FIELD_DELETED = 2 };

/* Looks the hash up, which comes before the other arguments are read, as in Redis: a key of another
 * kind is the error that is told. False: it is in the reply. */
static bool open_fields(struct call *call, struct hashes_edit *edit)
{
    *edit = (struct hashes_edit){.rules = hashes_rules(call)};
    return call_find_place(call, 1, VALUE_HASH, &edit->place);
}

/* ---- FIELDS numfields field [field ...] ---- */

struct field_list {
    uint32_t first; /* Argument of the first field. */
    uint32_t count;
};

/* Reads the list whose word FIELDS stands at `index`. False: the error is in the reply. */
static bool take_fields(struct call *call, uint32_t index, const char *count_error,
                        struct field_list *list)
{
    if (index + 1 >= call->args.count || !call_is(call, index, "FIELDS")) {
        reply_error(call->out, ERR_NO_FIELDS);
        return false;
    }
    int64_t count;
    if (!num_parse_i64(call->args.at[index + 1], &count) || count < 1) {
        reply_error(call->out, count_error);
        return false;
    }
    if ((uint64_t)count != call->args.count - index - 2) {
        reply_error(call->out, ERR_FIELDS_MATCH);
        return false;
    }
    *list = (struct field_list){.first = index + 2, .count = (uint32_t)count};
    return true;
}

static struct slice field_at(const struct call *call, const struct field_list *list, uint32_t i)
{
    return call->args.at[list->first + i];
}

/* Every field of a missing key is missing. */
static void reply_absent(struct call *call, uint32_t count)
{
    reply_array(call->out, count);
    for (uint32_t i = 0; i < count && (i % SLICED_STEP != 0 || call_yield(call)); i++) {
        reply_integer(call->out, FIELD_ABSENT);
    }
}

/* The moment that an argument means. False: the error is in the reply. */
static bool field_moment(struct call *call, uint32_t index, int64_t scale, int64_t base_ms,
                         int64_t *at_ms)
{
    int64_t time;
    if (!call_i64(call, index, &time, NULL)) {
        return false;
    }
    if (time < 0) {
        reply_error(call->out, "ERR invalid expire time, must be >= 0");
        return false;
    }
    if (__builtin_mul_overflow(time, scale, &time) ||
        __builtin_add_overflow(time, base_ms, &time) || time > FIELD_EXPIRE_MS_MAX) {
        reply_errorf(call->out, "ERR invalid expire time in '%s' command", call->entry->full_name);
        return false;
    }
    *at_ms = time;
    return true;
}

/* Whether fields with that moment go at once. A replica waits for its primary's HDEL. */
static bool field_is_due(const struct call *call, int64_t at_ms)
{
    return at_ms <= call->now->wall_ms && (call->session->flags & SESSION_PRIMARY) == 0;
}

/* ---- Effects ---- */

/* Words of an effect about some fields, with their number put in when it is known. */
struct field_effect {
    struct slice *words; /* NULL: nobody listens. */
    uint32_t count, fields;
    uint32_t count_at; /* Word of the number of fields; 0: none is said (HDEL). */
    uint32_t room;
    char digits[2][NUM_I64_TEXT_MAX + 1];
};

static void effect_add(struct field_effect *effect, struct slice word)
{
    if (effect->words != NULL) {
        effect->words[effect->count++] = word;
    }
}

static void effect_open(struct call *call, struct field_effect *effect, const char *name)
{
    *effect = (struct field_effect){.room = call->args.count + 8};
    if (call_wants_effects(call)) {
        effect->words = mem_alloc(effect->room * sizeof(struct slice));
    }
    effect_add(effect, slice_from_text(name));
    effect_add(effect, call->args.at[1]);
}

static void effect_add_moment(struct field_effect *effect, int64_t at_ms)
{
    effect_add(effect, slice_of(effect->digits[0], num_format_i64(effect->digits[0], at_ms)));
}

static void effect_begin_fields(struct field_effect *effect)
{
    effect_add(effect, slice_from_text("FIELDS"));
    effect->count_at = effect->count;
    effect_add(effect, slice_of(NULL, 0));
}

static void effect_add_field(struct field_effect *effect, struct slice field)
{
    effect->fields++;
    effect_add(effect, field);
}

static void effect_close(struct call *call, struct field_effect *effect)
{
    if (effect->words == NULL) {
        return;
    }
    if (effect->count_at > 0) {
        effect->words[effect->count_at] =
            slice_of(effect->digits[1], num_format_u64(effect->digits[1], effect->fields));
    }
    if (effect->fields > 0) {
        call_effect(call, effect->words, effect->count);
    }
    mem_free_sized(effect->words, effect->room * sizeof(struct slice));
}

/* ---- Giving fields another expiry ---- */

enum field_condition { FIELD_ALWAYS, FIELD_NX, FIELD_XX, FIELD_GT, FIELD_LT };

struct field_expiry {
    enum field_condition condition;
    int64_t at_ms; /* HASH_NO_EXPIRE: the expiry goes. */
    bool is_past;
};

/* No expiry counts as one that is infinitely late. */
static bool condition_holds(const struct field_expiry *expiry, int64_t old_ms)
{
    bool has_old = old_ms >= 0;
    switch (expiry->condition) {
    case FIELD_NX:
        return !has_old;
    case FIELD_XX:
        return has_old;
    case FIELD_GT:
        return has_old && expiry->at_ms > old_ms;
    case FIELD_LT:
        return !has_old || expiry->at_ms < old_ms;
    case FIELD_ALWAYS:
        break;
    }
    return true;
}

/* Sets, drops or, when the moment has passed, removes. FIELD_REFUSED also when memory ends. */
static int expire_field(const struct call *call, struct hashes_edit *edit, struct slice field,
                        const struct field_expiry *expiry)
{
    struct hash_pair pair;
    if (!hashes_find(call, edit->place.value, field, &pair)) {
        return FIELD_ABSENT;
    }
    if (expiry->at_ms < 0 && pair.expire_ms < 0) {
        return FIELD_PLAIN;
    }
    if (!condition_holds(expiry, pair.expire_ms)) {
        return FIELD_REFUSED;
    }
    if (expiry->is_past) {
        hash_remove(&edit->place, field);
        return FIELD_DELETED;
    }
    bool is_done = hash_try_set_expire(&edit->place, field, expiry->at_ms, &edit->rules);
    return is_done ? FIELD_DONE : FIELD_REFUSED;
}

/* The effect that tells what will be done to the fields. */
static void effect_open_expiry(struct call *call, struct field_effect *effect,
                               const struct field_expiry *expiry)
{
    if (expiry->is_past) {
        effect_open(call, effect, "HDEL");
        return;
    }
    effect_open(call, effect, expiry->at_ms < 0 ? "HPERSIST" : "HPEXPIREAT");
    if (expiry->at_ms >= 0) {
        effect_add_moment(effect, expiry->at_ms);
    }
    effect_begin_fields(effect);
}

/* Tells what changed and files or removes the hash. */
static void finish_expiry(struct call *call, struct hashes_edit *edit, struct field_effect *effect,
                          const struct field_expiry *expiry)
{
    if (!hashes_close(call, edit)) {
        effect->fields = 0;
    }
    if (effect->fields > 0) {
        call_changed(call, 1,
                     expiry->is_past      ? "hdel"
                     : expiry->at_ms >= 0 ? "hexpire"
                                          : "hpersist");
        effect_close(call, effect);
        hashes_remove_empty(call, edit->place);
    } else {
        effect_close(call, effect);
    }
}

/* HEXPIRE and HPERSIST: replies what became of each field. */
static void expire_fields(struct call *call, struct hashes_edit *edit,
                          const struct field_list *list, const struct field_expiry *expiry)
{
    if (call_slice_editing(call, call->args.count)) {
        return;
    }
    if (edit->place.value == NULL) {
        reply_absent(call, list->count);
        return;
    }
    struct field_effect effect;
    effect_open_expiry(call, &effect, expiry);
    reply_array(call->out, list->count);
    for (uint32_t i = 0; i < list->count; i++) {
        int result = expire_field(call, edit, field_at(call, list, i), expiry);
        reply_integer(call->out, result);
        if (result > 0) {
            effect_add_field(&effect, field_at(call, list, i));
        }
        if (!call_edit_yield_at(call, 1, &edit->place, i)) {
            break;
        }
    }
    finish_expiry(call, edit, &effect, expiry);
}

static enum field_condition condition_of(const struct call *call, uint32_t index)
{
    return call_is(call, index, "NX")   ? FIELD_NX
           : call_is(call, index, "XX") ? FIELD_XX
           : call_is(call, index, "GT") ? FIELD_GT
           : call_is(call, index, "LT") ? FIELD_LT
                                        : FIELD_ALWAYS;
}

static void hexpire_with(struct call *call, int64_t scale, int64_t base_ms)
{
    struct field_expiry expiry = {.condition = condition_of(call, 3)};
    struct hashes_edit edit;
    struct field_list list;
    uint32_t fields_at = expiry.condition == FIELD_ALWAYS ? 3 : 4;
    if (!open_fields(call, &edit) || !field_moment(call, 2, scale, base_ms, &expiry.at_ms) ||
        !take_fields(call, fields_at, ERR_EXPIRE_COUNT, &list)) {
        return;
    }
    expiry.is_past = field_is_due(call, expiry.at_ms);
    expire_fields(call, &edit, &list, &expiry);
}

/* HEXPIRE key seconds [NX | XX | GT | LT] FIELDS numfields field [field ...] */
static void hexpire_run(struct call *call)
{
    hexpire_with(call, 1000, call->now->wall_ms);
}

/* HPEXPIRE key milliseconds ... */
static void hpexpire_run(struct call *call)
{
    hexpire_with(call, 1, call->now->wall_ms);
}

/* HEXPIREAT key unix-time-seconds ... */
static void hexpireat_run(struct call *call)
{
    hexpire_with(call, 1000, 0);
}

/* HPEXPIREAT key unix-time-milliseconds ... */
static void hpexpireat_run(struct call *call)
{
    hexpire_with(call, 1, 0);
}

/* HPERSIST key FIELDS numfields field [field ...] */
static void hpersist_run(struct call *call)
{
    struct hashes_edit edit;
    struct field_list list;
    if (open_fields(call, &edit) && take_fields(call, 2, ERR_FIELD_COUNT, &list)) {
        expire_fields(call, &edit, &list, &(struct field_expiry){.at_ms = HASH_NO_EXPIRE});
    }
}

/* ---- HTTL ---- */

static void httl_with(struct call *call, int64_t scale, int64_t base_ms)
{
    struct field_list list;
    struct value *value;
    if (!call_find(call, 1, VALUE_HASH, &value) || !take_fields(call, 2, ERR_FIELD_COUNT, &list) ||
        call_slice(call, call->args.count)) {
        return;
    }
    if (value == NULL) {
        reply_absent(call, list.count);
        return;
    }
    reply_array(call->out, list.count);
    for (uint32_t i = 0; i < list.count && call_yield_sending_at(call, i); i++) {
        struct hash_pair pair;
        if (!hashes_find(call, value, field_at(call, &list, i), &pair)) {
            reply_integer(call->out, FIELD_ABSENT);
        } else if (pair.expire_ms < 0) {
            reply_integer(call->out, FIELD_PLAIN);
        } else {
            int64_t ms = pair.expire_ms > base_ms ? pair.expire_ms - base_ms : 0;
            reply_integer(call->out, (ms + scale - 1) / scale); /* Seconds are rounded up. */
        }
    }
}

/* HTTL key FIELDS numfields field [field ...] */
static void httl_run(struct call *call)
{
    httl_with(call, 1000, call->now->wall_ms);
}

/* HPTTL key FIELDS numfields field [field ...] */
static void hpttl_run(struct call *call)
{
    httl_with(call, 1, call->now->wall_ms);
}

/* HEXPIRETIME key FIELDS numfields field [field ...] */
static void hexpiretime_run(struct call *call)
{
    httl_with(call, 1000, 0);
}

/* HPEXPIRETIME key FIELDS numfields field [field ...] */
static void hpexpiretime_run(struct call *call)
{
    httl_with(call, 1, 0);
}

/* ---- HGETDEL and HGETEX ---- */

/* Replies with the values of the fields; what is not there is null. */
static void reply_fields(struct call *call, const struct value *value,
                         const struct field_list *list)
{
    reply_array(call->out, list->count);
    for (uint32_t i = 0; i < list->count && (i % SLICED_STEP != 0 || call_yield(call)); i++) {
        struct hash_pair pair;
        if (hashes_find(call, value, field_at(call, list, i), &pair)) {
            hashes_reply_item(call->out, &pair.text);
        } else {
            reply_null(call->out);
        }
    }
}

/* Replies with the fields, each once when they go, and gives them their expiry. */
static void get_fields(struct call *call, struct hashes_edit *edit, const struct field_list *list,
                       const struct field_expiry *expiry)
{
    if (call_slice_editing(call, call->args.count)) {
        return;
    }
    if (edit->place.value == NULL || expiry == NULL) {
        reply_fields(call, edit->place.value, list);
        return;
    }
    struct field_effect effect;
    effect_open_expiry(call, &effect, expiry);
    reply_array(call->out, list->count);
    for (uint32_t i = 0; i < list->count; i++) {
        struct slice field = field_at(call, list, i);
        struct hash_pair pair;
        if (!call_edit_yield_at(call, 1, &edit->place, i)) {
            break;
        }
        if (!hashes_find(call, edit->place.value, field, &pair)) {
            reply_null(call->out);
            continue;
        }
        hashes_reply_item(call->out, &pair.text);
        if (expire_field(call, edit, field, expiry) > 0) {
            effect_add_field(&effect, field);
        }
    }
    finish_expiry(call, edit, &effect, expiry);
}

/* HGETDEL key FIELDS numfields field [field ...] */
static void hgetdel_run(struct call *call)
{
    struct hashes_edit edit;
    struct field_list list;
    if (open_fields(call, &edit) && take_fields(call, 2, ERR_FIELD_COUNT, &list)) {
        get_fields(call, &edit, &list, &(struct field_expiry){.is_past = true});
    }
}

/* Units of EX, PX, EXAT and PXAT. False: the word is none of them. */
static bool expiry_unit(const struct call *call, uint32_t index, int64_t *scale, int64_t *base_ms)
{
    bool is_seconds = call_is(call, index, "EX") || call_is(call, index, "EXAT");
    bool is_relative = call_is(call, index, "EX") || call_is(call, index, "PX");
    *scale = is_seconds ? 1000 : 1;
    *base_ms = is_relative ? call->now->wall_ms : 0;
    return is_seconds || is_relative || call_is(call, index, "PXAT");
}

/* HGETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST] FIELDS numfields field [field ...] */
static void hgetex_run(struct call *call)
{
    struct field_expiry expiry = {.at_ms = HASH_NO_EXPIRE};
    struct hashes_edit edit;
    struct field_list list;
    int64_t scale;
    int64_t base_ms;
    if (!open_fields(call, &edit)) {
        return;
    }
    bool has_time = expiry_unit(call, 2, &scale, &base_ms);
    bool is_persist = call_is(call, 2, "PERSIST");
    if (has_time && !field_moment(call, 3, scale, base_ms, &expiry.at_ms)) {
        return;
    }
    uint32_t fields_at = has_time ? 4 : is_persist ? 3 : 2;
    if (!take_fields(call, fields_at, ERR_FIELD_COUNT, &list)) {
        return;
    }
    expiry.is_past = has_time && field_is_due(call, expiry.at_ms);
    get_fields(call, &edit, &list, has_time || is_persist ? &expiry : NULL);
}

/* ---- HSETEX ---- */

struct hsetex {
    bool is_fnx, is_fxx, has_time, keeps;
    struct field_expiry expiry;
    uint32_t first; /* Argument of the first field; its value follows. */
};

/* EX and its kind, KEEPTTL, FNX and FXX; moves `*index` on. False: the error is in the reply. */
static bool hsetex_take_option(struct call *call, uint32_t *index, struct hsetex *set)
{
    int64_t scale;
    int64_t base_ms;
    bool is_fnx = call_is(call, *index, "FNX");
    bool is_time = expiry_unit(call, *index, &scale, &base_ms);
    if (is_fnx || call_is(call, *index, "FXX")) {
        if (set->is_fnx || set->is_fxx) {
            reply_error(call->out, "ERR Only one of FXX or FNX arguments can be specified");
            return false;
        }
        set->is_fnx = is_fnx;
        set->is_fxx = !is_fnx;
        return true;
    }
    if (!is_time && !call_is(call, *index, "KEEPTTL")) {
        reply_errorf(call->out, "ERR unknown argument: %.*s",
                     (int)(call->args.at[*index].len < 128 ? call->args.at[*index].len : 128),
                     call->args.at[*index].data);
        return false;
    }
    if (set->has_time || set->keeps) {
        reply_error(call->out,
                    "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified");
        return false;
    }
    set->has_time = is_time;
    set->keeps = !is_time;
    return !is_time || (++*index < call->args.count &&
                        field_moment(call, *index, scale, base_ms, &set->expiry.at_ms));
}

static bool hsetex_parse(struct call *call, struct hsetex *set)
{
    uint32_t i = 2;
    for (; i < call->args.count && !call_is(call, i, "FIELDS"); i++) {
        if (!hsetex_take_option(call, &i, set)) {
            return false;
        }
    }
    if (i + 3 >= call->args.count) {
        call_arity_error(call); /* Without FIELDS and a pair there is nothing to set. */
        return false;
    }
    int64_t count;
    if (!num_parse_i64(call->args.at[i + 1], &count) || count < 1 || count > INT32_MAX) {
        reply_error(call->out, "ERR invalid number of fields");
        return false;
    }
    set->first = i + 2;
    if ((uint64_t)count * 2 != call->args.count - set->first) {
        call_arity_error(call);
        return false;
    }
    set->expiry.is_past = set->has_time && field_is_due(call, set->expiry.at_ms);
    return true;
}

/* FNX: none of the fields exists. FXX: all of them do. */
static bool hsetex_may_set(struct call *call, const struct hsetex *set, struct hashes_edit *edit)
{
    for (uint32_t i = set->first; (set->is_fnx || set->is_fxx) && i < call->args.count; i += 2) {
        struct hash_pair pair;
        if (hashes_find(call, edit->place.value, call->args.at[i], &pair) != set->is_fxx ||
            !call_edit_yield_at(call, 1, &edit->place, i / 2)) {
            return false;
        }
    }
    return true;
}

static enum hash_put_result hsetex_put(const struct call *call, const struct hsetex *set,
                                       struct hashes_edit *edit, uint32_t at)
{
    int64_t expire_ms = set->has_time ? set->expiry.at_ms : HASH_NO_EXPIRE;
    struct hash_pair pair;
    if (set->keeps && hashes_find(call, edit->place.value, call->args.at[at], &pair)) {
        expire_ms = pair.expire_ms;
    }
    return hash_try_put_until(&edit->place, call->args.at[at], call->args.at[at + 1], expire_ms,
                              &edit->rules);
}

/* Puts the pairs; `*end` is the argument behind the last that was put. */
static bool hsetex_put_all(struct call *call, const struct hsetex *set, struct hashes_edit *edit,
                           uint32_t *end)
{
    for (*end = set->first; *end < call->args.count; *end += 2) {
        if (set->expiry.is_past) {
            hash_remove(&edit->place, call->args.at[*end]);
        } else if (hsetex_put(call, set, edit, *end) == HASH_NO_MEMORY) {
            return false;
        }
        if (!call_edit_yield_at(call, 1, &edit->place, *end / 2)) {
            break;
        }
    }
    return true;
}

/* What was put or removed, in commands that replicas older than HSETEX know. */
static void hsetex_effect_values(struct call *call, const struct hsetex *set, uint32_t end)
{
    struct field_effect effect;
    effect_open(call, &effect, set->expiry.is_past ? "HDEL" : "HSET");
    for (uint32_t i = set->first; i < end; i += 2) {
        effect_add_field(&effect, call->args.at[i]);
        if (!set->expiry.is_past) {
            effect_add(&effect, call->args.at[i + 1]);
        }
    }
    effect_close(call, &effect);
}

/* HSET lets fields forget their expiry: what they have now is told behind it, those with the same
 * moment together. */
static void hsetex_effect_expiries(struct call *call, const struct hsetex *set,
                                   const struct value *value, uint32_t end)
{
    for (uint32_t i = set->first; i < end && call_wants_effects(call);) {
        struct hash_pair pair;
        struct hash_pair next;
        bool has_expiry = hashes_find(call, value, call->args.at[i], &pair) && pair.expire_ms >= 0;
        if (!has_expiry) {
            i += 2;
            continue;
        }
        struct field_effect effect;
        effect_open(call, &effect, "HPEXPIREAT");
        effect_add_moment(&effect, pair.expire_ms);
        effect_begin_fields(&effect);
        do {
            effect_add_field(&effect, call->args.at[i]);
            i += 2;
        } while (i < end && hashes_find(call, value, call->args.at[i], &next) &&
                 next.expire_ms == pair.expire_ms);
        effect_close(call, &effect);
    }
}

static void hsetex_set(struct call *call, const struct hsetex *set, struct hashes_edit *edit)
{
    uint32_t end;
    bool is_past = set->expiry.is_past;
    bool is_done = hsetex_put_all(call, set, edit, &end);
    bool was_there = !edit->is_new || !is_past;
    bool is_there = hashes_close(call, edit);
    if (end > set->first && was_there && is_there) {
        if (is_past) {
            call_event(call, call->db, call->args.at[1], "hset"); /* As if set, and then removed. */
        }
        call_changed(call, 1, is_past ? "hdel" : "hset");
        if (!is_past && set->has_time) {
            call_event(call, call->db, call->args.at[1], "hexpire");
        }
        hsetex_effect_values(call, set, end);
        if (set->has_time || set->keeps) {
            hsetex_effect_expiries(call, set, edit->place.value, end);
        }
        hashes_remove_empty(call, edit->place);
    }
    if (is_done) {
        reply_integer(call->out, 1);
    } else {
        reply_error(call->out, ERR_NO_MEMORY);
    }
}

/* HSETEX key [FNX | FXX] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL] FIELDS numfields field value
 * [field value ...] */
static void hsetex_run(struct call *call)
{
    struct hsetex set = {.expiry = {.at_ms = HASH_NO_EXPIRE}};
    struct hashes_edit edit;
    if (!hsetex_parse(call, &set) || call_slice_editing(call, call->args.count) ||
        !hashes_open(call, &edit)) {
        return;
    }
    if (!hsetex_may_set(call, &set, &edit)) {
        hashes_close(call, &edit);
        reply_integer(call->out, 0);
        return;
    }
    hsetex_set(call, &set, &edit);
}

/* ---- Rows ---- */

/* What the documentation of several rows has in common. */
#define PER_FIELD "O(N) where N is the number of fields named."
#define DURATIONS                                                                                  \
    "EX seconds:integer | PX milliseconds:integer | EXAT unix-time-seconds:unix-time | PXAT "      \
    "unix-time-milliseconds:unix-time"
#define CONDITION "[condition: NX | XX | GT | LT]"
#define FIELDS "FIELDS (fields: numfields:integer field ...)"

static const struct command hashes_expire_rows[] = {
    {.name = "hexpire",
     .run = hexpire_run,
     .arity = -6,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_FAST,
     .categories = ACL_HASH,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_UPDATE}},
     .since = "7.4.0",
     .group = "hash",
     .complexity = PER_FIELD,
     .summary = "Has fields removed after so many seconds.",
     .syntax = "key seconds:integer " CONDITION " " FIELDS},
    {.name = "hpexpire",
     .run = hpexpire_run,
     .arity = -6,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_FAST,
     .categories = ACL_HASH,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_UPDATE}},
     .since = "7.4.0",
     .group = "hash",
     .complexity = PER_FIELD,
     .summary = "Has fields removed after so many milliseconds.",
     .syntax = "key milliseconds:integer " CONDITION " " FIELDS},
    {.name = "hexpireat",
     .run = hexpireat_run,
     .arity = -6,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_FAST,
     .categories = ACL_HASH,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_UPDATE}},
     .since = "7.4.0",
     .group = "hash",
     .complexity = PER_FIELD,
     .summary = "Has fields removed at a moment in unix seconds.",
     .syntax = "key unix-time-seconds:unix-time " CONDITION " " FIELDS},
    {.name = "hpexpireat",
     .run = hpexpireat_run,
     .arity = -6,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_FAST,
     .categories = ACL_HASH,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_UPDATE}},
     .since = "7.4.0",
     .group = "hash",
     .complexity = PER_FIELD,
     .summary = "Has fields removed at a moment in unix milliseconds.",
     .syntax = "key unix-time-milliseconds:unix-time " CONDITION " " FIELDS},
    {.name = "httl",
     .run = httl_run,
     .arity = -5,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_HASH,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "7.4.0",
     .group = "hash",
     .complexity = PER_FIELD,
     .summary = "Returns how many seconds fields have left.",
     .syntax = "key " FIELDS,
     .tips = "nondeterministic_output"},
    {.name = "hpttl",
     .run = hpttl_run,
     .arity = -5,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_HASH,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "7.4.0",
     .group = "hash",
     .complexity = PER_FIELD,
     .summary = "Returns how many milliseconds fields have left.",
     .syntax = "key " FIELDS,
     .tips = "nondeterministic_output"},
    {.name = "hexpiretime",
     .run = hexpiretime_run,
     .arity = -5,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_HASH,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "7.4.0",
     .group = "hash",
     .complexity = PER_FIELD,
     .summary = "Returns when fields expire, in unix seconds.",
     .syntax = "key " FIELDS},
    {.name = "hpexpiretime",
     .run = hpexpiretime_run,
     .arity = -5,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_HASH,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "7.4.0",
     .group = "hash",
     .complexity = PER_FIELD,
     .summary = "Returns when fields expire, in unix milliseconds.",
     .syntax = "key " FIELDS},
    {.name = "hpersist",
     .run = hpersist_run,
     .arity = -5,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = ACL_HASH,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_UPDATE}},
     .since = "7.4.0",
     .group = "hash",
     .complexity = PER_FIELD,
     .summary = "Drops the expiry of fields.",
     .syntax = "key " FIELDS},
    {.name = "hgetdel",
     .run = hgetdel_run,
     .arity = -5,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = ACL_HASH,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_DELETE}},
     .since = "8.0.0",
     .group = "hash",
     .complexity = PER_FIELD,
     .summary = "Returns the values of fields and removes them.",
     .syntax = "key " FIELDS},
    {.name = "hgetex",
     .run = hgetex_run,
     .arity = -5,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = ACL_HASH,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_UPDATE}},
     .since = "8.0.0",
     .group = "hash",
     .complexity = PER_FIELD,
     .summary = "Returns the values of fields and sets or drops their expiry.",
     .syntax = "key [expiration: " DURATIONS " | PERSIST] " FIELDS},
    {.name = "hsetex",
     .run = hsetex_run,
     .arity = -6,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_FAST,
     .categories = ACL_HASH,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_UPDATE}},
     .since = "8.0.0",
     .group = "hash",
     .complexity = PER_FIELD,
     .summary = "Sets fields together with their expiry.",
     .syntax = "key [condition: FNX | FXX] [expiration: " DURATIONS
               " | KEEPTTL] FIELDS (fields: numfields:integer (data: field value)...)"},
};

void commands_register_hashes_expire(struct exec *exec, struct type_limits *limits)
{
    exec_register(exec, hashes_expire_rows,
                  sizeof(hashes_expire_rows) / sizeof(hashes_expire_rows[0]), limits);
}
