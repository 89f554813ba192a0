/* Chance: SPOP and SRANDMEMBER.
 *
 * Every member is equally likely, and so is every subset of the size asked for. SPOP draws one
 * member at a time from what is left. SRANDMEMBER of a few distinct members draws with repetition
 * and drops what it has already; of many, it walks the set once and takes each member with the
 * probability of those still wanted among those still to come, which needs no memory:
 *
 *     left to come     8 7 6 5 4 3 2 1
 *     still wanted     3 3 2 2 2 1 1 0
 *                        ^     ^   ^     taken with 3/7, 2/4, 1/2
 *
 * SPOP leaves as SREM of what it took (as DEL when that was all), so that replicas need no luck.
 * The names of removed members are collected for it only while somebody listens. */
#include "base/hash.h"
#include "base/mem.h"
#include "commands/commands.h"
#include "commands/repeats.h"
#include "commands/sets.h"
#include "commands/telling.h"

#define ERR_NOT_POSITIVE "ERR value is out of range, must be positive"

enum { DRAW_SHARE = 4 }; /* Drawing is worth it for up to 1/4 of the members. */

/* ---- SPOP ---- */

/* Takes `count` random members, fewer than there are, and replies each. */
static void spop_some(struct call *call, struct place *place, size_t count)
{
    struct telling telling;
    struct set_scratch scratch;
    telling_begin(&telling, call, "SREM", 1);
    for (size_t i = 1; i <= count; i++) {
        struct set_item item = set_random(place->value, exec_rng(call->exec));
        struct slice text = set_item_text(&item, &scratch);
        reply_bulk(call->out, text);
        telling_add(&telling, text);
        set_remove(place, &item);
        if (i % SLICED_STEP == 0 && !call_yield(call)) {
            break;
        }
    }
    telling_end(&telling);
}

static void spop_all(struct call *call, struct place place)
{
    struct slice effect[] = {slice_from_text("DEL"), call->args.at[1]};
    struct set_walk walk;
    struct set_item item;
    set_walk_begin(&walk, place.value);
    for (size_t i = 1; set_walk_next(&walk, &item); i++) {
        sets_reply_item(call->out, &item);
        if (i % SLICED_STEP == 0 && !call_yield(call)) {
            break;
        }
    }
    if (!call_edit_done(call, 1, &place)) {
        return;
    }
    call_remove(call, 1, place);
    call_effect(call, effect, 2);
    call_changed(call, 1, "spop");
    call_event(call, call->db, call->args.at[1], "del");
}

/* Members that are removed one by one: those of a small set are in its block, which moves. */
static size_t spop_size(const struct value *value, size_t taken, size_t count)
{
    bool is_large = value != NULL && value_ops_of(value)->effort(value) > 1;
    return is_large || taken == count ? taken : 0;
}

static void spop_count(struct call *call)
{
    int64_t wanted;
    struct place place;
    if (!call_range_i64(call, 2, 0, INT64_MAX, &wanted, ERR_NOT_POSITIVE) ||
        !call_find_place(call, 1, VALUE_SET, &place)) {
        return;
    }
    size_t count = place.value == NULL ? 0 : set_count(place.value);
    size_t taken = (uint64_t)wanted < count ? (size_t)wanted : count;
    if (call_slice_editing(call, spop_size(place.value, taken, count))) {
        return;
    }
    reply_set(call->out, taken);
    if (taken == 0) {
        return;
    }
    if (taken == count) {
        spop_all(call, place);
    } else {
        spop_some(call, &place, taken);
        if (call_edit_done(call, 1, &place)) {
            call_changed(call, 1, "spop");
        }
    }
}

/* SPOP key [count] */
static void spop_run(struct call *call)
{
    if (call->args.count > 3) {
        reply_error(call->out, ERR_SYNTAX);
        return;
    }
    if (call->args.count == 3) {
        spop_count(call);
        return;
    }
    struct place place;
    if (!call_find_place(call, 1, VALUE_SET, &place)) {
        return;
    }
    if (place.value == NULL) {
        reply_null(call->out);
        return;
    }
    spop_some(call, &place, 1);
    sets_lost_members(call, 1, place, "spop");
}

/* ---- SRANDMEMBER ---- */

/* Members that may repeat. */
static void srandmember_repeat(struct call *call, const struct value *value, size_t count)
{
    struct repeats repeats;
    repeats_begin(&repeats, call, count);
    while (repeats_next(&repeats)) {
        struct set_item item = set_random(value, exec_rng(call->exec));
        sets_reply_item(&repeats.found, &item);
    }
    if (repeats_are_whole(&repeats, call)) {
        reply_array(call->out, count);
        reply_splice(call->out, &repeats.found);
    }
}

/* Which members were drawn already: open addressing, at most half full. */
struct drawn {
    uint64_t *marks; /* 0: free. */
    size_t mask;
};

/* What tells a member from the others of its set while that does not change. */
static uint64_t mark_of(const struct set_item *item)
{
    if (item->word != 0) {
        return item->word;
    }
    return item->data != NULL ? (uint64_t)(uintptr_t)item->data : (uint64_t)item->number;
}

/* Whether it is new, and marks it. */
static bool drawn_mark(struct drawn *drawn, const struct set_item *item)
{
    uint64_t mark = mark_of(item);
    size_t at = hash_bytes(0, slice_of(&mark, sizeof(mark))) & drawn->mask;
    for (; drawn->marks[at] != 0; at = (at + 1) & drawn->mask) {
        if (drawn->marks[at] == mark) {
            return false;
        }
    }
    drawn->marks[at] = mark;
    return true;
}

/* Few distinct members. False: no memory, nothing was replied. */
static bool srandmember_draw(struct call *call, const struct value *value, size_t count)
{
    size_t cap = 8;
    while (cap < 2 * count) {
        cap *= 2;
    }
    struct drawn drawn = {.marks = mem_try_alloc(cap * sizeof(uint64_t)), .mask = cap - 1};
    if (drawn.marks == NULL) {
        return false;
    }
    memset(drawn.marks, 0, cap * sizeof(uint64_t));
    reply_array(call->out, count);
    while (count > 0) {
        struct set_item item = set_random(value, exec_rng(call->exec));
        if (drawn_mark(&drawn, &item)) {
            sets_reply_item(call->out, &item);
            count--;
        }
        if (count % SLICED_STEP == 0 && !call_yield_sending(call)) {
            break;
        }
    }
    mem_free(drawn.marks);
    return true;
}

/* Many distinct members of `total`, by one walk. */
static void srandmember_select(struct call *call, const struct value *value, size_t count,
                               size_t total)
{
    struct set_walk walk;
    struct set_item item;
    reply_array(call->out, count);
    set_walk_begin(&walk, value);
    for (size_t left = total; count > 0 && set_walk_next(&walk, &item); left--) {
        if (count == left || rng_below(exec_rng(call->exec), left) < count) {
            sets_reply_item(call->out, &item);
            count--;
        }
        if (left % SLICED_STEP == 0 && !call_yield_sending(call)) {
            return;
        }
    }
}

static void srandmember_count(struct call *call)
{
    int64_t wanted;
    struct value *value;
    if (!call_range_i64(call, 2, -INT64_MAX, INT64_MAX, &wanted, NULL) ||
        !call_find(call, 1, VALUE_SET, &value)) {
        return;
    }
    if (value == NULL || wanted == 0) {
        reply_array(call->out, 0);
        return;
    }
    if (call_slice(call, wanted < 0 ? 0 - (size_t)wanted : (size_t)wanted)) {
        return;
    }
    if (wanted < 0) {
        srandmember_repeat(call, value, (size_t)-wanted);
        return;
    }
    size_t total = set_count(value);
    size_t count = (uint64_t)wanted < total ? (size_t)wanted : total;
    bool is_few = count <= total / DRAW_SHARE && set_lookup_cost(value) == 1;
    if (!is_few || !srandmember_draw(call, value, count)) {
        srandmember_select(call, value, count, total);
    }
}

/* SRANDMEMBER key [count] */
static void srandmember_run(struct call *call)
{
    if (call->args.count > 3) {
        reply_error(call->out, ERR_SYNTAX);
        return;
    }
    if (call->args.count == 3) {
        srandmember_count(call);
        return;
    }
    struct value *value;
    if (!call_find(call, 1, VALUE_SET, &value)) {
        return;
    }
    if (value == NULL) {
        reply_null(call->out);
        return;
    }
    struct set_item item = set_random(value, exec_rng(call->exec));
    sets_reply_item(call->out, &item);
}

static const struct command sets_random_rows[] = {
    {.name = "spop",
     .run = spop_run,
     .arity = -2,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = ACL_SET,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_DELETE}},
     .since = "1.0.0",
     .group = "set",
     .complexity = "O(1) for each member taken.",
     .summary = "Takes random members out of a set and returns them.",
     .syntax = "key [count:integer]@3.2.0",
     .tips = "nondeterministic_output",
     .history = "3.2.0 Added the `count` argument."},
    {.name = "srandmember",
     .run = srandmember_run,
     .arity = -2,
     .flags = CMD_READONLY,
     .categories = ACL_SET,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "1.0.0",
     .group = "set",
     .complexity = "O(1) for each member told; O(N) for more than a quarter of N members.",
     .summary = "Returns random members of a set, distinct ones or, with a negative count, any.",
     .syntax = "key [count:integer]@2.6.0",
     .tips = "nondeterministic_output",
     .history = "2.6.0 Added the optional `count` argument."},
};

void commands_register_sets_random(struct exec *exec, struct type_limits *limits)
{
    exec_register(exec, sets_random_rows, sizeof(sets_random_rows) / sizeof(sets_random_rows[0]),
                  limits);
}
