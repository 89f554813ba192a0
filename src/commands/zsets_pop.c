/* Taking members from sorted sets and looking at some of them: ZPOPMIN, ZPOPMAX, ZMPOP,
 * ZRANDMEMBER, ZSCAN.
 *
 * A draw of several distinct members chooses ranks. When it wants more than a third of the set, the
 * set is walked once and each member taken with the chance that makes the draw fair; else ranks are
 * drawn until there are enough different ones, and a small table of those drawn tells repeats. */
#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "commands/commands.h"
#include "commands/repeats.h"
#include "commands/scan.h"
#include "commands/zsets.h"
#include "exec/block.h"

/* ---- Popping ---- */

/* Tells `count` members from one end of the set. May yield. */
static void tell_popped(struct call *call, const struct value *value, bool is_max, size_t count,
                        enum zsets_pop_shape shape)
{
    size_t held = zset_count(value);
    if (shape != POP_BARE) {
        reply_array(call->out, shape == POP_NESTED ? count : count * 2);
    }
    struct zset_walk walk;
    struct zset_item item;
    zset_walk_begin(&walk, value, is_max ? held - 1 : 0, is_max);
    for (size_t left = count; left > 0 && zset_walk_next(&walk, &item); left--) {
        if (shape == POP_NESTED) {
            reply_array(call->out, 2);
        }
        reply_bulk(call->out, item.member);
        reply_double(call->out, item.score);
        if (left % SLICED_STEP == 0 && !call_yield(call)) {
            break;
        }
    }
}

/* Whether popping so many will be done in slices; asked before anything is replied. */
static bool pop_later(struct call *call, struct place place, size_t count)
{
    size_t held = zset_count(place.value);
    return zsets_remove_later(call, count < held ? count : held);
}

size_t zsets_pop(struct call *call, uint32_t index, struct place place,
                 const struct zsets_pop *wish)
{
    bool is_max = wish->is_max;
    size_t held = zset_count(place.value);
    bool is_all = held <= wish->count;
    size_t count = is_all ? held : wish->count;
    size_t first = is_max ? held - count : 0;
    tell_popped(call, place.value, is_max, count, wish->shape);
    if (is_all
            ? !call_edit_done(call, index, &place)
            : !zsets_remove_ranks(call, index, &place, (struct zset_ranks){first, first + count})) {
        return count;
    }
    if (is_all) {
        call_remove(call, index, place);
    }
    call_changed(call, index, is_max ? "zpopmax" : "zpopmin");
    if (is_all) {
        call_event(call, call->db, call->args.at[index], "del");
    }
    return count;
}

static void pop_with(struct call *call, bool is_max)
{
    int64_t count = 1;
    if (call->args.count > 3) {
        reply_error(call->out, ERR_SYNTAX);
        return;
    }
    bool has_count = call->args.count == 3;
    if (has_count && !(num_parse_i64(call->args.at[2], &count) && count >= 0)) {
        reply_error(call->out, ERR_NOT_POSITIVE);
        return;
    }
    struct place place;
    if (!call_find_place(call, 1, VALUE_ZSET, &place)) {
        return;
    }
    if (place.value == NULL || count == 0) {
        reply_array(call->out, 0);
        return;
    }
    if (pop_later(call, place, (size_t)count)) {
        return;
    }
    bool is_nested = has_count && call->out->protocol >= 3;
    zsets_pop(call, 1, place,
              &(struct zsets_pop){.is_max = is_max,
                                  .count = (size_t)count,
                                  .shape = is_nested ? POP_NESTED : POP_FLAT});
}

/* ZPOPMIN key [count] */
static void zpopmin_run(struct call *call)
{
    pop_with(call, false);
}

/* ZPOPMAX key [count] */
static void zpopmax_run(struct call *call)
{
    pop_with(call, true);
}

bool zsets_mpop_parse(struct call *call, uint32_t at, struct zsets_mpop *mpop)
{
    int64_t key_count;
    *mpop = (struct zsets_mpop){.first_key = at + 1};
    if (!num_parse_i64(call->args.at[at], &key_count) || key_count < 1) {
        reply_error(call->out, "ERR numkeys should be greater than 0");
        return false;
    }
    if (key_count > (int64_t)call->args.count - at - 2) {
        reply_error(call->out, ERR_SYNTAX);
        return false;
    }
    mpop->key_count = (uint32_t)key_count;
    uint32_t where = mpop->first_key + mpop->key_count;
    mpop->is_max = call_is(call, where, "MAX");
    bool is_known = mpop->is_max || call_is(call, where, "MIN");
    for (uint32_t i = where + 1; is_known && i < call->args.count; i += 2) {
        is_known = mpop->count == 0 && call_is(call, i, "COUNT") && i + 1 < call->args.count;
        if (is_known && (!num_parse_i64(call->args.at[i + 1], &mpop->count) || mpop->count < 1)) {
            reply_error(call->out, "ERR count should be greater than 0");
            return false;
        }
    }
    if (!is_known) {
        reply_error(call->out, ERR_SYNTAX);
        return false;
    }
    mpop->count = mpop->count == 0 ? 1 : mpop->count;
    return true;
}

/* The effect names the key that was found, and how many members went. */
static void mpop_effect(struct call *call, uint32_t index, bool is_max, size_t count)
{
    if (call_wants_effects(call)) {
        char digits[NUM_I64_TEXT_MAX + 1];
        struct slice args[] = {slice_from_text(is_max ? "ZPOPMAX" : "ZPOPMIN"),
                               call->args.at[index],
                               slice_of(digits, num_format_u64(digits, count))};
        call_effect(call, args, 3);
    }
}

bool zsets_mpop(struct call *call, const struct zsets_mpop *mpop)
{
    struct block_keys keys = call_keys_to_try(call, mpop->first_key, mpop->key_count);
    for (uint32_t i = keys.first; i < keys.end; i++) {
        struct place place;
        if (!call_find_place(call, i, VALUE_ZSET, &place)) {
            return true;
        }
        if (place.value != NULL && pop_later(call, place, (size_t)mpop->count)) {
            return true;
        }
        if (place.value != NULL) {
            reply_array(call->out, 2);
            reply_bulk(call->out, call->args.at[i]);
            size_t count = zsets_pop(call, i, place,
                                     &(struct zsets_pop){.is_max = mpop->is_max,
                                                         .count = (size_t)mpop->count,
                                                         .shape = POP_NESTED});
            mpop_effect(call, i, mpop->is_max, count);
            return true;
        }
    }
    return false;
}

/* ZMPOP numkeys key [key ...] MIN | MAX [COUNT count] */
static void zmpop_run(struct call *call)
{
    struct zsets_mpop mpop;
    if (zsets_mpop_parse(call, 1, &mpop) && !zsets_mpop(call, &mpop)) {
        reply_null_array(call->out);
    }
}

/* ---- Drawing ---- */

/* Draws `count` times, repeats allowed. */
static void draw_repeated(struct call *call, struct zset_walk *walk, size_t count, bool with_scores)
{
    struct rng *rng = exec_rng(call->exec);
    size_t held = zset_count(walk->value);
    struct repeats repeats;
    repeats_begin(&repeats, call, count);
    while (repeats_next(&repeats)) {
        struct zset_item item;
        zset_walk_at(walk, rng_below(rng, held), &item);
        zsets_reply_item(&repeats.found, item.member, item.score, with_scores);
    }
    if (repeats_are_whole(&repeats, call)) {
        zsets_reply_header(call->out, count, with_scores);
        reply_splice(call->out, &repeats.found);
    }
}

/* Walks the whole set and tells `count` of its members. */
static void draw_many(struct call *call, struct zset_walk *walk, size_t count, bool with_scores)
{
    struct rng *rng = exec_rng(call->exec);
    struct zset_item item;
    for (size_t held = zset_count(walk->value); count > 0 && zset_walk_next(walk, &item); held--) {
        if (rng_below(rng, held) < count) {
            zsets_reply_item(call->out, item.member, item.score, with_scores);
            count--;
        }
        if (held % SLICED_STEP == 0 && !call_yield_sending(call)) {
            return;
        }
    }
}

/* Ranks that were drawn: open addressing, 0 is free, a rank is held as one more. */
struct drawn {
    uint64_t *slots;
    size_t mask;
};

/* False: it was drawn before. */
static bool drawn_add(struct drawn *drawn, uint64_t rank)
{
    size_t at = (size_t)(rank * 0x9e3779b97f4a7c15ULL >> 32) & drawn->mask;
    for (; drawn->slots[at] != 0; at = (at + 1) & drawn->mask) {
        if (drawn->slots[at] == rank + 1) {
            return false;
        }
    }
    drawn->slots[at] = rank + 1;
    return true;
}

/* Draws ranks until `count` different ones, which are few among all, are told. */
static void draw_few(struct call *call, struct zset_walk *walk, size_t count, bool with_scores,
                     struct drawn *drawn)
{
    struct rng *rng = exec_rng(call->exec);
    size_t held = zset_count(walk->value);
    while (count > 0) {
        uint64_t rank = rng_below(rng, held);
        if (drawn_add(drawn, rank)) {
            struct zset_item item;
            zset_walk_at(walk, rank, &item);
            zsets_reply_item(call->out, item.member, item.score, with_scores);
            count--;
        }
        if (count % SLICED_STEP == 0 && !call_yield_sending(call)) {
            return;
        }
    }
}

static void draw_distinct(struct call *call, struct zset_walk *walk, size_t count, bool with_scores)
{
    size_t held = zset_count(walk->value);
    count = count < held ? count : held;
    size_t slots = 16;
    while (slots < 2 * count) {
        slots *= 2;
    }
    struct drawn drawn = {.mask = slots - 1};
    if (count < held / 3) {
        drawn.slots = mem_try_alloc(slots * sizeof(uint64_t));
        if (drawn.slots == NULL) {
            reply_error(call->out, ERR_NO_MEMORY);
            return;
        }
        memset(drawn.slots, 0, slots * sizeof(uint64_t));
    }
    zsets_reply_header(call->out, count, with_scores);
    if (drawn.slots == NULL) {
        draw_many(call, walk, count, with_scores);
        return;
    }
    draw_few(call, walk, count, with_scores, &drawn);
    mem_free(drawn.slots);
}

/* Reads "count [WITHSCORES]"; false: the error is in the reply. */
static bool zrandmember_parse(struct call *call, int64_t *count, bool *with_scores)
{
    if (!call_range_i64(call, 2, -INT64_MAX, INT64_MAX, count, NULL)) {
        return false;
    }
    *with_scores = call->args.count == 4 && call_is(call, 3, "WITHSCORES");
    if (call->args.count > 3 && !*with_scores) {
        reply_error(call->out, ERR_SYNTAX);
        return false;
    }
    if (*with_scores && (*count < -INT64_MAX / 2 || *count > INT64_MAX / 2)) {
        reply_error(call->out, "ERR value is out of range");
        return false;
    }
    return true;
}

/* ZRANDMEMBER key [count [WITHSCORES]] */
static void zrandmember_run(struct call *call)
{
    int64_t count = 0;
    bool with_scores = false;
    bool has_count = call->args.count > 2;
    struct value *value;
    if ((has_count && !zrandmember_parse(call, &count, &with_scores)) ||
        !call_find(call, 1, VALUE_ZSET, &value)) {
        return;
    }
    size_t size = count < 0 ? 0 - (size_t)count : (size_t)count;
    if (value != NULL && call_slice(call, size)) {
        return;
    }
    struct zset_walk walk;
    struct zset_item item;
    if (value != NULL) {
        zset_walk_begin(&walk, value, 0, false);
    }
    if (!has_count && value == NULL) {
        reply_null(call->out);
    } else if (!has_count) {
        zset_walk_at(&walk, rng_below(exec_rng(call->exec), zset_count(value)), &item);
        reply_bulk(call->out, item.member);
    } else if (value == NULL || count == 0) {
        reply_array(call->out, 0);
    } else if (count < 0) {
        draw_repeated(call, &walk, (size_t)-count, with_scores);
    } else {
        draw_distinct(call, &walk, (size_t)count, with_scores);
    }
}

/* ---- ZSCAN ---- */

struct zscan {
    struct scan_options options;
    struct reply *out;
    size_t count; /* Texts told. */
};

static void zscan_on_item(void *context, const struct zset_item *item)
{
    struct zscan *scan = context;
    if (!scan_wants(&scan->options, item->member)) {
        return;
    }
    char digits[NUM_DOUBLE_TEXT_MAX];
    reply_bulk(scan->out, item->member);
    reply_bulk(scan->out, slice_of(digits, num_format_double(digits, item->score)));
    scan->count += 2;
}

/* ZSCAN key cursor [MATCH pattern] [COUNT count]. The next cursor comes first but is known last:
 * the members wait in a reply of their own. */
static void zscan_run(struct call *call)
{
    uint64_t cursor;
    struct value *value;
    struct reply found;
    struct zscan scan = {.out = &found};
    if (!scan_cursor(call, 2, &cursor) || !call_find(call, 1, VALUE_ZSET, &value)) {
        return;
    }
    if (value == NULL) {
        scan_reply(call->out, 0, 0, NULL);
        return;
    }
    if (!scan_options(call, 3, false, &scan.options) ||
        call_slice(call, scan_size(&scan.options, zset_count(value)))) {
        return;
    }
    reply_init(&found, call->out->pool);
    found.protocol = call->out->protocol;
    struct zset_visitor visitor = {.visit = zscan_on_item, .context = &scan};
    bool goes_on = true;
    while (goes_on) {
        cursor = zset_scan(value, cursor, scan_step(call, &scan.options), &visitor);
        goes_on = scan_goes_on(call, &scan.options, cursor);
    }
    scan_reply(call->out, cursor, scan.count, &found);
}

static const struct command zsets_pop_rows[] = {
    {.name = "zpopmin",
     .run = zpopmin_run,
     .arity = -2,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_DELETE}},
     .since = "5.0.0",
     .group = "sorted-set",
     .complexity = "O(M*log(N)) for M of them in a set of N members.",
     .summary = "Removes and returns the members of a sorted set with the lowest scores.",
     .syntax = "key [count:integer]"},
    {.name = "zpopmax",
     .run = zpopmax_run,
     .arity = -2,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_DELETE}},
     .since = "5.0.0",
     .group = "sorted-set",
     .complexity = "O(M*log(N)) for M of them in a set of N members.",
     .summary = "Removes and returns the members of a sorted set with the highest scores.",
     .syntax = "key [count:integer]"},
    {.name = "zmpop",
     .run = zmpop_run,
     .arity = -4,
     .flags = CMD_WRITE,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1,
               .is_counted = true,
               .access = KEY_RW,
               .use = KEY_USE_ACCESS | KEY_USE_DELETE}},
     .since = "7.0.0",
     .group = "sorted-set",
     .complexity = "O(K+M*log(N)) for K keys and M members that are removed.",
     .summary = "Removes and returns members from one end of the first sorted set that has any.",
     .syntax = "numkeys:integer key... (where: MIN | MAX) [COUNT count:integer]"},
    {.name = "zrandmember",
     .run = zrandmember_run,
     .arity = -2,
     .flags = CMD_READONLY,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "6.2.0",
     .group = "sorted-set",
     .complexity = "O(M*log(N)) for M draws, at most O(N).",
     .summary = "Draws members of a sorted set at random.",
     .syntax = "key [options: count:integer [WITHSCORES]]",
     .tips = "nondeterministic_output"},
    {.name = "zscan",
     .run = zscan_run,
     .arity = -3,
     .flags = CMD_READONLY,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "2.8.0",
     .group = "sorted-set",
     .complexity = "O(COUNT) for a call, O(N) for all the calls that visit N members.",
     .summary = "Visits the members of a sorted set step by step.",
     .syntax = "key cursor:integer [MATCH pattern:pattern] [COUNT count:integer]",
     .tips = "nondeterministic_output"},
};

void commands_register_zsets_pop(struct exec *exec, struct type_limits *limits)
{
    exec_register(exec, zsets_pop_rows, sizeof(zsets_pop_rows) / sizeof(zsets_pop_rows[0]), limits);
}
