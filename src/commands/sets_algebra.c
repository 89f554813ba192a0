/* Sets against sets: SINTER, SINTERCARD, SUNION, SDIFF and the forms that store.
 *
 * Members go through in batches: one set is walked, and a batch is filtered by each of the other
 * sets in turn (set_keep), which takes the cache misses of its members together. What is left goes
 * to a sink: the reply, a count, or a result under construction.
 *
 *     walk of the smallest -> [64 members] -> keep in B -> [41] -> keep in C -> [7] -> sink
 *
 * Intersection walks the smallest set. Difference walks the first and keeps what no other has.
 * Union walks all, and of each keeps what those before it do not have, largest first. The last two
 * have a worst case of sets times members; when that is dearer than building a table of the result
 * (the cost of lookups is known), they build the table. Nothing else is ever held twice.
 *
 * With more than SLICED_SIZE_MIN sets nothing is sorted, which could not be done in slices, and a
 * union builds its table. The keys are held as a crowd then (exec/sliced_crowd.c), so their values
 * stay where they are though they are not pinned.
 *
 * A stored result is built apart, so it may be one of its own operands, and want of memory changes
 * nothing. Its size is counted first, so that its table need not grow: members come in the order of
 * their hashes, which is the worst for a table that has to split. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "commands/commands.h"
#include "commands/sets.h"

enum {
    BATCH = 64,
    OPERANDS_INLINE = 16,
    SLICED_EXPECT_MAX = 64 * 1024, /* Members that a table is made ready for in one step. */
    COUNT_FIRST_MIN = 1024,        /* Results of smaller sets are not counted first. */
    BUILD_COST = 6,                /* Adding a member to a table, in comparisons of a lookup. */
};

/* ---- Operands ---- */

struct operand {
    const struct value *value; /* NULL: no such key. */
    size_t count;
};

struct operands {
    struct operand *at;
    size_t count;
    struct operand few[OPERANDS_INLINE];
};

static void operands_deinit(struct operands *operands)
{
    if (operands->at != operands->few) {
        mem_free(operands->at);
    }
}

/* Looks up the keys at `first` and after. False: the error is in the reply and there is nothing to
 * deinit. */
static bool operands_init(struct call *call, struct operands *operands, uint32_t first,
                          size_t count)
{
    operands->at = operands->few;
    operands->count = count;
    if (count > OPERANDS_INLINE) {
        operands->at = mem_try_alloc(count * sizeof(struct operand));
    }
    if (operands->at == NULL) {
        reply_error(call->out, ERR_NO_MEMORY);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        struct value *value;
        if (!call_find(call, first + (uint32_t)i, VALUE_SET, &value)) {
            operands_deinit(operands);
            return false;
        }
        operands->at[i] =
            (struct operand){.value = value, .count = value == NULL ? 0 : set_count(value)};
        if (!call_yield_keys_at(call, i)) {
            operands_deinit(operands);
            return false;
        }
    }
    return true;
}

/* Too many to be sorted, or looked at in one step. */
static bool are_many(const struct operands *operands)
{
    return operands->count > SLICED_SIZE_MIN;
}

static int compare_counts(const void *a, const void *b)
{
    size_t left = ((const struct operand *)a)->count;
    size_t right = ((const struct operand *)b)->count;
    return (left > right) - (left < right);
}

static int compare_counts_down(const void *a, const void *b)
{
    return compare_counts(b, a);
}

/* The smallest set comes first. */
static void least_first(struct operands *operands)
{
    if (!are_many(operands)) {
        qsort(operands->at, operands->count, sizeof(struct operand), compare_counts);
        return;
    }
    size_t least = 0;
    for (size_t i = 1; i < operands->count; i++) {
        least = operands->at[i].count < operands->at[least].count ? i : least;
    }
    struct operand first = operands->at[least];
    operands->at[least] = operands->at[0];
    operands->at[0] = first;
}

/* From the one at `from` on the largest come first, unless they are many. */
static void largest_first(struct operands *operands, size_t from)
{
    if (!are_many(operands)) {
        qsort(operands->at + from, operands->count - from, sizeof(struct operand),
              compare_counts_down);
    }
}

/* ---- Sinks ---- */

/* Takes what is left of a batch; false when it wants no more. */
struct sink {
    bool (*take)(struct sink *sink, const struct set_item *items, size_t count);
    size_t count;
    size_t count_max;    /* Counting: enough. */
    struct reply *out;   /* Replying. */
    struct place result; /* Building. */
    struct set_rules rules;
    bool has_failed;  /* No memory. */
    bool is_given_up; /* Nobody wants the result. */
};

static bool sink_reply(struct sink *sink, const struct set_item *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        sets_reply_item(sink->out, &items[i]);
    }
    sink->count += count;
    return true;
}

static bool sink_count(struct sink *sink, const struct set_item *items, size_t count)
{
    (void)items;
    sink->count += count;
    if (sink->count >= sink->count_max) {
        sink->count = sink->count_max;
        return false;
    }
    return true;
}

static bool sink_store(struct sink *sink, const struct set_item *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        enum set_result result = set_try_add(&sink->result, &items[i], &sink->rules);
        if (result == SET_NO_MEMORY) {
            sink->has_failed = true;
            return false;
        }
        sink->count += result == SET_CHANGED;
    }
    return true;
}

/* ---- Filters ---- */

struct filter {
    const struct operand *at;
    size_t count;
    bool is_in; /* Keep what every one has; else, what none has. */
};

/* Keeps what passes; returns how many that are. May yield between two of many sets. */
static size_t keep_filtered(struct call *call, const struct filter *filter,
                            struct set_item items[BATCH], size_t count)
{
    for (size_t i = 0; i < filter->count && count > 0; i++) {
        if (filter->at[i].value != NULL) {
            count = set_keep(filter->at[i].value, items, count, filter->is_in);
        }
        (void)call_yield_keys_at(call, i); /* The next that counts says whether to give up. */
    }
    return count;
}

/* Walks a set and gives the sink what passes. False: the sink wants no more. May yield. */
static bool walk_filtered(struct call *call, const struct value *value, const struct filter *filter,
                          struct sink *sink)
{
    struct set_item items[BATCH];
    struct set_walk walk;
    set_walk_begin(&walk, value);
    for (;;) {
        size_t count = set_walk_batch(&walk, items, BATCH);
        if (count == 0) {
            return true;
        }
        count = keep_filtered(call, filter, items, count);
        if (count > 0 && !sink->take(sink, items, count)) {
            return false;
        }
        if (!call_yield(call)) {
            sink->is_given_up = true;
            return false;
        }
    }
}

static void walk_all(struct call *call, const struct value *value, struct sink *sink)
{
    walk_filtered(call, value, &(struct filter){.count = 0}, sink);
}

/* ---- A table on the side ---- */

static const struct type_limits no_limits = {0};

/* An empty table under `key`, ready for `expected` members. */
static bool side_init(struct sink *side, const struct call *call, size_t expected)
{
    struct set_item nothing = set_item_of(slice_of("", 0));
    *side = (struct sink){.take = sink_store, .rules = sets_rules(call)};
    side->rules.limits = &no_limits;
    expected = call->sliced != NULL && expected > SLICED_EXPECT_MAX ? SLICED_EXPECT_MAX : expected;
    side->result.value =
        set_try_new(slice_of("", 0), &nothing, expected > 0 ? expected : 1, &side->rules);
    side->has_failed = side->result.value == NULL;
    return !side->has_failed;
}

/* Gives all of it to the sink, unless it failed, and frees it. */
static void side_deinit(struct sink *side, struct call *call, struct sink *sink)
{
    if (!side->has_failed && !side->is_given_up) {
        walk_all(call, side->result.value, sink);
    }
    sink->has_failed |= side->has_failed;
    sink->is_given_up |= side->is_given_up;
    if (side->result.value != NULL) {
        value_free(side->result.value, exec_work(call->exec));
    }
}

/* ---- The three operations ---- */

static void set_intersect(struct call *call, struct operands *operands, struct sink *sink)
{
    least_first(operands);
    if (operands->at[0].count == 0) {
        return;
    }
    struct filter filter = {.at = operands->at + 1, .count = operands->count - 1, .is_in = true};
    walk_filtered(call, operands->at[0].value, &filter, sink);
}

/* Whether looking members up one set after the other is cheaper than a table of all of them. */
static bool union_is_cheap(const struct operands *operands)
{
    size_t lookups = 0;
    size_t members = 0;
    size_t cost = 0;
    for (size_t i = 0; i < operands->count && operands->at[i].count > 0; i++) {
        lookups += operands->at[i].count * cost;
        members += operands->at[i].count;
        cost += set_lookup_cost(operands->at[i].value);
    }
    return lookups <= members * BUILD_COST;
}

static void set_unite(struct call *call, struct operands *operands, struct sink *sink)
{
    largest_first(operands, 0);
    bool is_cheap = sink->take == sink_store || (!are_many(operands) && union_is_cheap(operands));
    struct sink side = {0};
    if (!is_cheap && !side_init(&side, call, operands->at[0].count)) {
        sink->has_failed = true;
        return;
    }
    for (size_t i = 0; i < operands->count; i++) {
        if (operands->at[i].count == 0) {
            continue;
        }
        struct filter filter = {.at = operands->at, .count = i};
        bool must_filter = is_cheap && sink->take != sink_store; /* A stored set filters itself. */
        filter.count = must_filter ? i : 0;
        if (!walk_filtered(call, operands->at[i].value, &filter, is_cheap ? sink : &side)) {
            break;
        }
    }
    if (!is_cheap) {
        side_deinit(&side, call, sink);
    }
}

/* The same for a difference: all of the first, or lookups of it in the others. */
static bool difference_is_cheap(struct call *call, const struct operands *operands)
{
    size_t cost = 0;
    size_t members = operands->at[0].count;
    for (size_t i = 1; i < operands->count; i++) {
        cost += operands->at[i].count == 0 ? 0 : set_lookup_cost(operands->at[i].value);
        members += operands->at[i].count;
        (void)call_yield_keys_at(call, i); /* The next that counts says whether to give up. */
    }
    return operands->at[0].count * cost <= members * BUILD_COST;
}

static void subtract_others(struct call *call, struct operands *operands, struct sink *side)
{
    size_t seen = 0;
    for (size_t i = 1; i < operands->count; i++) {
        struct set_walk walk;
        struct set_item item;
        if (operands->at[i].count == 0) {
            continue;
        }
        set_walk_begin(&walk, operands->at[i].value);
        while (set_walk_next(&walk, &item)) {
            set_remove(&side->result, &item);
            if (++seen % SLICED_STEP == 0 && !call_yield(call)) {
                side->is_given_up = true;
                return;
            }
        }
    }
}

static void set_subtract(struct call *call, struct operands *operands, struct sink *sink)
{
    const struct operand *first = &operands->at[0];
    if (first->count == 0) {
        return;
    }
    largest_first(operands, 1);
    if (difference_is_cheap(call, operands)) {
        struct filter filter = {.at = operands->at + 1, .count = operands->count - 1};
        walk_filtered(call, first->value, &filter, sink);
        return;
    }
    struct sink side;
    if (!side_init(&side, call, first->count)) {
        sink->has_failed = true;
        return;
    }
    walk_all(call, first->value, &side);
    if (!side.has_failed && !side.is_given_up) {
        subtract_others(call, operands, &side);
    }
    side_deinit(&side, call, sink);
}

enum algebra { INTERSECTION, UNION, DIFFERENCE };

/* Members that will be looked at: of an intersection, those of the smallest set. */
static size_t operands_size(enum algebra algebra, const struct operands *operands)
{
    ASSERT(operands->count > 0);
    size_t least = SIZE_MAX;
    size_t all = 0;
    for (size_t i = 0; i < operands->count; i++) {
        least = operands->at[i].count < least ? operands->at[i].count : least;
        all += operands->at[i].count;
    }
    return algebra == INTERSECTION ? least : algebra == UNION ? all : operands->at[0].count;
}

/* The operands of a call; false: there is nothing more to do, and nothing to deinit. */
static bool algebra_begin(struct call *call, enum algebra algebra, struct operands *operands,
                          uint32_t first, size_t count)
{
    struct key_row keys = {.first = first,
                           .step = 1,
                           .end = first + (uint32_t)count,
                           .also = (call->command->flags & CMD_WRITE) != 0 ? 1 : 0};
    if (call_slice_keys(call, keys) || !operands_init(call, operands, first, count)) {
        return false;
    }
    if (call_slice(call, operands_size(algebra, operands))) {
        operands_deinit(operands);
        return false;
    }
    return true;
}

static void operate(struct call *call, enum algebra algebra, struct operands *operands,
                    struct sink *sink)
{
    if (algebra == INTERSECTION) {
        set_intersect(call, operands, sink);
    } else if (algebra == UNION) {
        set_unite(call, operands, sink);
    } else {
        set_subtract(call, operands, sink);
    }
}

/* ---- Replied ---- */

static void algebra_reply(struct call *call, enum algebra algebra)
{
    struct operands operands;
    struct reply_mark mark;
    if (!algebra_begin(call, algebra, &operands, 1, call->args.count - 1)) {
        return;
    }
    struct sink sink = {.take = sink_reply, .out = call->out};
    reply_begin(call->out, &mark, '~');
    operate(call, algebra, &operands, &sink);
    reply_end(call->out, &mark, sink.count);
    operands_deinit(&operands);
}

/* SINTER key [key ...] */
static void sinter_run(struct call *call)
{
    algebra_reply(call, INTERSECTION);
}

/* SUNION key [key ...] */
static void sunion_run(struct call *call)
{
    algebra_reply(call, UNION);
}

/* SDIFF key [key ...] */
static void sdiff_run(struct call *call)
{
    algebra_reply(call, DIFFERENCE);
}

/* SINTERCARD's numkeys and options. */
static bool sintercard_parse(struct call *call, int64_t *key_count, int64_t *limit)
{
    if (!call_range_i64(call, 1, 1, INT64_MAX, key_count, "ERR numkeys should be greater than 0")) {
        return false;
    }
    if (*key_count > call->args.count - 2) {
        reply_error(call->out, "ERR Number of keys can't be greater than number of args");
        return false;
    }
    for (uint32_t i = 2 + (uint32_t)*key_count; i < call->args.count; i += 2) {
        if (!call_is(call, i, "LIMIT") || i + 1 == call->args.count) {
            reply_error(call->out, ERR_SYNTAX);
            return false;
        }
        if (!call_range_i64(call, i + 1, 0, INT64_MAX, limit, "ERR LIMIT can't be negative")) {
            return false;
        }
    }
    return true;
}

/* SINTERCARD numkeys key [key ...] [LIMIT limit] */
static void sintercard_run(struct call *call)
{
    int64_t key_count;
    int64_t limit = 0;
    struct operands operands;
    if (!sintercard_parse(call, &key_count, &limit) ||
        !algebra_begin(call, INTERSECTION, &operands, 2, (size_t)key_count)) {
        return;
    }
    struct sink sink = {.take = sink_count, .count_max = limit == 0 ? SIZE_MAX : (size_t)limit};
    set_intersect(call, &operands, &sink);
    reply_count(call->out, sink.count);
    operands_deinit(&operands);
}

/* ---- Stored ---- */

/* How many members the result has at least: of an intersection, and of a difference where that is
 * cheap, all of them. */
static size_t result_expect(struct call *call, enum algebra algebra, struct operands *operands)
{
    size_t most = 0;
    for (size_t i = 0; i < operands->count; i++) {
        most = operands->at[i].count > most ? operands->at[i].count : most;
    }
    if (most <= COUNT_FIRST_MIN) {
        return algebra == UNION ? most : 0;
    }
    struct sink counter = {.take = sink_count, .count_max = SIZE_MAX};
    if (algebra == UNION) {
        return most;
    }
    if (algebra == INTERSECTION || difference_is_cheap(call, operands)) {
        operate(call, algebra, operands, &counter);
    }
    return counter.count;
}

/* An empty result under the destination's key. */
static bool result_init(struct call *call, enum algebra algebra, struct operands *operands,
                        struct sink *sink)
{
    struct set_item number = set_item_of_i64(0);
    size_t expected = result_expect(call, algebra, operands);
    expected = call->sliced != NULL && expected > SLICED_EXPECT_MAX ? SLICED_EXPECT_MAX : expected;
    *sink = (struct sink){.take = sink_store, .rules = sets_rules(call)};
    sink->result.value = set_try_new(call->args.at[1], &number, 1, &sink->rules);
    return sink->result.value != NULL && set_try_expect(&sink->result, expected, &sink->rules);
}

/* Puts a result in the destination's place; an empty one removes it. */
static void result_store(struct call *call, struct sink *sink, const char *event)
{
    reply_count(call->out, sink->count);
    if (sink->count > 0) {
        call_insert(call, 1, sink->result.value);
        call_changed(call, 1, event);
        return;
    }
    value_free(sink->result.value, exec_work(call->exec));
    struct place place = call_peek_place(call, 1, FIND_NO_TOUCH);
    if (place.value != NULL) {
        call_remove(call, 1, place);
        call_changed(call, 1, "del");
    }
}

static void algebra_store(struct call *call, enum algebra algebra, const char *event)
{
    struct operands operands;
    struct sink sink;
    if (!algebra_begin(call, algebra, &operands, 2, call->args.count - 2)) {
        return;
    }
    bool is_ready = result_init(call, algebra, &operands, &sink);
    if (is_ready) {
        operate(call, algebra, &operands, &sink);
    }
    operands_deinit(&operands);
    if (is_ready && !sink.has_failed && !sink.is_given_up) {
        result_store(call, &sink, event);
        return;
    }
    if (sink.result.value != NULL) {
        value_free(sink.result.value, exec_work(call->exec));
    }
    if (!sink.is_given_up) {
        reply_error(call->out, ERR_NO_MEMORY);
    }
}

/* SINTERSTORE destination key [key ...] */
static void sinterstore_run(struct call *call)
{
    algebra_store(call, INTERSECTION, "sinterstore");
}

/* SUNIONSTORE destination key [key ...] */
static void sunionstore_run(struct call *call)
{
    algebra_store(call, UNION, "sunionstore");
}

/* SDIFFSTORE destination key [key ...] */
static void sdiffstore_run(struct call *call)
{
    algebra_store(call, DIFFERENCE, "sdiffstore");
}

static const struct command sets_algebra_rows[] = {
    {.name = "sinter",
     .run = sinter_run,
     .arity = -2,
     .flags = CMD_READONLY | CMD_SLICES_KEYS,
     .categories = ACL_SET,
     .keys = {{.first = 1, .last = -1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "1.0.0",
     .group = "set",
     .complexity = "O(N*M) where N is the size of the smallest set and M the number of sets.",
     .summary = "Returns what several sets have in common.",
     .syntax = "key ...",
     .tips = "nondeterministic_output_order"},
    {.name = "sintercard",
     .run = sintercard_run,
     .arity = -3,
     .flags = CMD_READONLY | CMD_SLICES_KEYS,
     .categories = ACL_SET,
     .keys = {{.first = 1, .is_counted = true, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "7.0.0",
     .group = "set",
     .complexity = "O(N*M) where N is the size of the smallest set and M the number of sets.",
     .summary = "Counts what several sets have in common, up to a limit.",
     .syntax = "numkeys:integer key ... [LIMIT limit:integer]"},
    {.name = "sinterstore",
     .run = sinterstore_run,
     .arity = -3,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_SLICES_KEYS,
     .categories = ACL_SET,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_UPDATE},
              {.first = 2, .last = -1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "1.0.0",
     .group = "set",
     .complexity = "O(N*M) where N is the size of the smallest set and M the number of sets.",
     .summary = "Stores what several sets have in common.",
     .syntax = "destination:key key ..."},
    {.name = "sunion",
     .run = sunion_run,
     .arity = -2,
     .flags = CMD_READONLY | CMD_SLICES_KEYS,
     .categories = ACL_SET,
     .keys = {{.first = 1, .last = -1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "1.0.0",
     .group = "set",
     .complexity = "O(N) where N is the number of members of all sets.",
     .summary = "Returns the members of several sets, each once.",
     .syntax = "key ...",
     .tips = "nondeterministic_output_order"},
    {.name = "sunionstore",
     .run = sunionstore_run,
     .arity = -3,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_SLICES_KEYS,
     .categories = ACL_SET,
     .keys = {{.first = 1, .access = KEY_OW, .use = KEY_USE_UPDATE},
              {.first = 2, .last = -1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "1.0.0",
     .group = "set",
     .complexity = "O(N) where N is the number of members of all sets.",
     .summary = "Stores the members of several sets.",
     .syntax = "destination:key key ..."},
    {.name = "sdiff",
     .run = sdiff_run,
     .arity = -2,
     .flags = CMD_READONLY | CMD_SLICES_KEYS,
     .categories = ACL_SET,
     .keys = {{.first = 1, .last = -1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "1.0.0",
     .group = "set",
     .complexity = "O(N) where N is the number of members of all sets.",
     .summary = "Returns the members of the first set that no other has.",
     .syntax = "key ...",
     .tips = "nondeterministic_output_order"},
    {.name = "sdiffstore",
     .run = sdiffstore_run,
     .arity = -3,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_SLICES_KEYS,
     .categories = ACL_SET,
     .keys = {{.first = 1, .access = KEY_OW, .use = KEY_USE_UPDATE},
              {.first = 2, .last = -1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "1.0.0",
     .group = "set",
     .complexity = "O(N) where N is the number of members of all sets.",
     .summary = "Stores the members of the first set that no other has.",
     .syntax = "destination:key key ..."},
};

void commands_register_sets_algebra(struct exec *exec, struct type_limits *limits)
{
    exec_register(exec, sets_algebra_rows, sizeof(sets_algebra_rows) / sizeof(sets_algebra_rows[0]),
                  limits);
}
