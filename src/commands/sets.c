/* Sets, one member or a few at a time: SADD, SREM, SISMEMBER, SMISMEMBER, SCARD, SMEMBERS, SMOVE.
 *
 * A new set is built apart and stored when it is complete. SADD of many members may run out of
 * memory in the middle: then what was added stays, the effect names exactly that, and the reply is
 * the error. */
#include "commands/sets.h"

#include "commands/commands.h"

/* ---- SADD and SREM ---- */

/* Adds the arguments from 2 on and returns how many were new. `*end` is the first argument that
 * was not looked at: all were, unless memory ran out or the set went (place->value is NULL). */
static size_t sadd_all(struct call *call, struct place *place, uint32_t *end)
{
    struct set_rules rules = sets_rules(call);
    size_t added = 0;
    for (*end = 2; *end < call->args.count; ++*end) {
        struct set_item item = set_item_of(call->args.at[*end]);
        enum set_result result = set_try_add(place, &item, &rules);
        if (result == SET_NO_MEMORY) {
            break;
        }
        added += result == SET_CHANGED;
        if (!call_edit_yield_at(call, 1, place, *end)) {
            break;
        }
    }
    return added;
}

/* The value to add to: what is stored, or a new one that is not yet. */
static bool sadd_prepare(struct call *call, struct place *place)
{
    struct set_rules rules = sets_rules(call);
    size_t more = call->args.count - 2;
    if (place->value != NULL) {
        return set_try_expect(place, more, &rules);
    }
    struct set_item first = set_item_of(call->args.at[2]);
    place->value = set_try_new(call->args.at[1], &first, more, &rules);
    return place->value != NULL;
}

/* SADD key member [member ...] */
static void sadd_run(struct call *call)
{
    struct place place;
    if (!call_find_place(call, 1, VALUE_SET, &place) ||
        call_slice_editing(call, call->args.count)) {
        return;
    }
    bool is_new = place.value == NULL;
    if (!sadd_prepare(call, &place)) {
        reply_error(call->out, ERR_NO_MEMORY);
        return;
    }
    uint32_t end;
    size_t added = sadd_all(call, &place, &end);
    if (!is_new && !call_edit_done(call, 1, &place)) {
        reply_count(call->out, added);
        return;
    }
    if (is_new && added > 0) {
        call_insert(call, 1, place.value);
    } else if (is_new) {
        value_free(place.value, exec_work(call->exec));
    }
    if (end == call->args.count) {
        reply_count(call->out, added);
    } else {
        reply_error(call->out, ERR_NO_MEMORY);
    }
    if (added == 0) {
        return;
    }
    if (end < call->args.count) {
        call_effect(call, call->args.at, end);
    }
    call_changed(call, 1, "sadd");
}

/* SREM key member [member ...] */
static void srem_run(struct call *call)
{
    struct place place;
    if (!call_find_place(call, 1, VALUE_SET, &place) ||
        call_slice_editing(call, call->args.count)) {
        return;
    }
    size_t removed = 0;
    for (uint32_t i = 2; i < call->args.count && place.value != NULL; i++) {
        struct set_item item = set_item_of(call->args.at[i]);
        removed += set_remove(&place, &item);
        if (!call_edit_yield_at(call, 1, &place, i)) {
            break;
        }
    }
    reply_count(call->out, removed);
    if (call_edit_done(call, 1, &place) && removed > 0) {
        sets_lost_members(call, 1, place, "srem");
    }
}

/* ---- Reading ---- */

/* SISMEMBER key member */
static void sismember_run(struct call *call)
{
    struct value *value;
    if (!call_find(call, 1, VALUE_SET, &value)) {
        return;
    }
    struct set_item item = set_item_of(call->args.at[2]);
    reply_integer(call->out, value != NULL && set_has(value, &item));
}

/* SMISMEMBER key member [member ...] */
static void smismember_run(struct call *call)
{
    struct value *value;
    if (!call_find(call, 1, VALUE_SET, &value) || call_slice(call, call->args.count)) {
        return;
    }
    reply_array(call->out, call->args.count - 2);
    for (uint32_t i = 2; i < call->args.count; i++) {
        struct set_item item = set_item_of(call->args.at[i]);
        reply_integer(call->out, value != NULL && set_has(value, &item));
        if (!call_yield_sending_at(call, i)) {
            return;
        }
    }
}

/* SCARD key */
static void scard_run(struct call *call)
{
    struct value *value;
    if (call_find(call, 1, VALUE_SET, &value)) {
        reply_count(call->out, value == NULL ? 0 : set_count(value));
    }
}

/* SMEMBERS key */
static void smembers_run(struct call *call)
{
    struct value *value;
    if (!call_find(call, 1, VALUE_SET, &value)) {
        return;
    }
    size_t count = value == NULL ? 0 : set_count(value);
    if (call_slice(call, count)) {
        return;
    }
    reply_set(call->out, count);
    if (value != NULL) {
        sets_reply_members(call, value);
    }
}

/* ---- SMOVE ---- */

/* Adds the member to the destination. When that is missing, `*made` becomes the set to insert. */
static enum set_result smove_add(struct call *call, struct place place, const struct set_item *item,
                                 struct value **made)
{
    struct set_rules rules = sets_rules(call);
    if (place.value != NULL) {
        return set_try_add(&place, item, &rules);
    }
    place.value = set_try_new(call->args.at[2], item, 1, &rules);
    if (place.value == NULL) {
        return SET_NO_MEMORY;
    }
    enum set_result result = set_try_add(&place, item, &rules);
    if (result == SET_CHANGED) {
        *made = place.value;
    } else {
        value_free(place.value, exec_work(call->exec));
    }
    return result;
}

/* SMOVE source destination member. The member is added before it is removed, so that want of memory
 * loses nothing. */
static void smove_run(struct call *call)
{
    struct place from;
    struct place to;
    if (!call_find_place(call, 1, VALUE_SET, &from)) {
        return;
    }
    if (from.value == NULL) {
        reply_integer(call->out, 0);
        return;
    }
    if (!call_find_place(call, 2, VALUE_SET, &to)) {
        return;
    }
    struct set_item item = set_item_of(call->args.at[3]);
    bool has = set_has(from.value, &item);
    if (!has || from.value == to.value) {
        reply_integer(call->out, has);
        return;
    }
    struct value *made = NULL;
    enum set_result result = smove_add(call, to, &item, &made);
    if (result == SET_NO_MEMORY) {
        reply_error(call->out, ERR_NO_MEMORY);
        return;
    }
    set_remove(&from, &item);
    reply_integer(call->out, 1);
    sets_lost_members(call, 1, from, "srem");
    if (made != NULL) {
        call_insert(call, 2, made);
    }
    if (result == SET_CHANGED) {
        call_changed(call, 2, "sadd");
    }
}

static const struct command sets_rows[] = {
    {.name = "sadd",
     .run = sadd_run,
     .arity = -3,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_FAST,
     .categories = ACL_SET,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_INSERT}},
     .since = "1.0.0",
     .group = "set",
     .complexity = "O(1) for each member.",
     .summary = "Adds members to a set, which is created when the key is missing.",
     .syntax = "key member ...",
     .history = "2.4.0 Accepts multiple `member` arguments."},
    {.name = "srem",
     .run = srem_run,
     .arity = -3,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = ACL_SET,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_DELETE}},
     .since = "1.0.0",
     .group = "set",
     .complexity = "O(1) for each member.",
     .summary = "Removes members from a set, and the key with the last of them.",
     .syntax = "key member ...",
     .history = "2.4.0 Accepts multiple `member` arguments."},
    {.name = "sismember",
     .run = sismember_run,
     .arity = 3,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_SET,
     .keys = {{.first = 1, .access = KEY_RO}},
     .since = "1.0.0",
     .group = "set",
     .complexity = "O(1)",
     .summary = "Tells whether a set has a member.",
     .syntax = "key member"},
    {.name = "smismember",
     .run = smismember_run,
     .arity = -3,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_SET,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "6.2.0",
     .group = "set",
     .complexity = "O(1) for each member asked for.",
     .summary = "Tells for several members whether a set has them.",
     .syntax = "key member ..."},
    {.name = "scard",
     .run = scard_run,
     .arity = 2,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_SET,
     .keys = {{.first = 1, .access = KEY_RO}},
     .since = "1.0.0",
     .group = "set",
     .complexity = "O(1)",
     .summary = "Returns how many members a set has.",
     .syntax = "key"},
    {.name = "smembers",
     .run = smembers_run,
     .arity = 2,
     .flags = CMD_READONLY,
     .categories = ACL_SET,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "1.0.0",
     .group = "set",
     .complexity = "O(N) where N is the number of members.",
     .summary = "Returns all members of a set.",
     .syntax = "key",
     .tips = "nondeterministic_output_order"},
    {.name = "smove",
     .run = smove_run,
     .arity = 4,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = ACL_SET,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_DELETE},
              {.first = 2, .access = KEY_RW, .use = KEY_USE_INSERT}},
     .since = "1.0.0",
     .group = "set",
     .complexity = "O(1)",
     .summary = "Moves a member from one set to another.",
     .syntax = "source:key destination:key member"},
};

void commands_register_sets(struct exec *exec, struct type_limits *limits)
{
    exec_register(exec, sets_rows, sizeof(sets_rows) / sizeof(sets_rows[0]), limits);
}
