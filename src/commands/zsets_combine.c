/* Unions, intersections and differences of sorted sets and sets: ZUNION, ZINTER, ZDIFF, their STORE
 * forms, ZINTERCARD. A member of a plain set has the score 1.
 *
 * The result is built as a sorted set of its own, which is then told or stored. Inputs are taken
 * from the smallest on, as Redis does, so that sums of scores are rounded in the same order. An
 * intersection walks the smallest and looks its members up in the others; a difference walks the
 * first. */
#include <math.h>

#include "base/mem.h"
#include "base/num.h"
#include "commands/commands.h"
#include "commands/zsets.h"
#include "types/set/set.h"

enum operation { COMBINE_UNION, COMBINE_INTER, COMBINE_DIFF };
enum aggregate { AGGREGATE_SUM, AGGREGATE_MIN, AGGREGATE_MAX };

struct input {
    const struct value *value; /* NULL: the key is missing. */
    size_t count;
    double weight;
};

struct combine {
    enum operation operation;
    bool is_store;       /* Argument 1 is where the result goes. */
    bool is_card;        /* ZINTERCARD */
    uint32_t numkeys_at; /* Index of the number of keys. */
    uint32_t input_count;
    struct input *inputs; /* Owned. */
    enum aggregate aggregate;
    bool with_scores;
    size_t limit; /* Of ZINTERCARD; 0: none. */
};

/* ---- Inputs ---- */

struct input_walk {
    const struct value *value;
    struct set_walk set;
    struct zset_walk zset;
    struct set_scratch scratch;
    struct zset_item item;
};

static void input_walk_begin(struct input_walk *walk, const struct value *value)
{
    walk->value = value;
    if (value != NULL && value_kind(value) == VALUE_SET) {
        set_walk_begin(&walk->set, value);
    } else if (value != NULL) {
        zset_walk_begin(&walk->zset, value, 0, false);
    }
}

/* The next member, in walk->item; false at the end. */
static bool input_walk_next(struct input_walk *walk)
{
    if (walk->value == NULL) {
        return false;
    }
    if (value_kind(walk->value) == VALUE_ZSET) {
        return zset_walk_next(&walk->zset, &walk->item);
    }
    struct set_item item;
    if (!set_walk_next(&walk->set, &item)) {
        return false;
    }
    walk->item.member = set_item_text(&item, &walk->scratch);
    walk->item.score = 1;
    return true;
}

static bool input_score(const struct input *input, struct slice member, double *score)
{
    if (input->value == NULL) {
        return false;
    }
    if (value_kind(input->value) == VALUE_ZSET) {
        return zset_score(input->value, member, score);
    }
    struct set_item item = set_item_of(member);
    *score = 1;
    return set_has(input->value, &item);
}

/* Smallest first; equal ones as they were named. */
static void inputs_sort(struct input *inputs, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        struct input input = inputs[i];
        uint32_t at = i;
        for (; at > 0 && inputs[at - 1].count > input.count; at--) {
            inputs[at] = inputs[at - 1];
        }
        inputs[at] = input;
    }
}

/* ---- Scores ---- */

static double weighted(const struct input *input, double score)
{
    double product = input->weight * score;
    return isnan(product) ? 0 : product; /* 0 times infinity */
}

static double aggregated(enum aggregate aggregate, double a, double b)
{
    switch (aggregate) {
    case AGGREGATE_MIN:
        return b < a ? b : a;
    case AGGREGATE_MAX:
        return b > a ? b : a;
    case AGGREGATE_SUM:
        break;
    }
    return isnan(a + b) ? 0 : a + b; /* Infinity minus infinity */
}

/* ---- The operations: each puts its result into the set at `place` ---- */

/* Counts a member that was looked at. False: the call was given up. */
static inline bool goes_on(struct call *call, size_t *seen)
{
    return ++*seen % SLICED_STEP != 0 || call_yield(call);
}

static bool run_union(struct call *call, const struct combine *combine, struct place *place)
{
    struct input_walk walk;
    size_t seen = 0;
    for (uint32_t i = 0; i < combine->input_count; i++) {
        const struct input *input = &combine->inputs[i];
        input_walk_begin(&walk, input->value);
        while (input_walk_next(&walk)) {
            double score = weighted(input, walk.item.score);
            double old;
            if (i > 0 && zset_score(place->value, walk.item.member, &old)) {
                score = aggregated(combine->aggregate, old, score);
                if (signbit(score) != signbit(old) && score == old) {
                    zset_remove(place,
                                walk.item.member); /* -0 + 0 is 0; as a put it is no change. */
                }
            }
            if (!zsets_collect(call, place, walk.item.member, score) || !goes_on(call, &seen)) {
                return false;
            }
        }
    }
    return true;
}

/* The member's score in the intersection; false when an input lacks it. */
static bool inter_score(const struct combine *combine, struct slice member, double *score)
{
    for (uint32_t i = 1; i < combine->input_count; i++) {
        const struct input *input = &combine->inputs[i];
        double other;
        if (!input_score(input, member, &other)) {
            return false;
        }
        /* Not a number, which 0 times infinity is, spoils a sum and is otherwise passed over. */
        *score = aggregated(combine->aggregate, *score, input->weight * other);
    }
    return true;
}

static bool run_inter(struct call *call, const struct combine *combine, struct place *place)
{
    struct input_walk walk;
    size_t seen = 0;
    input_walk_begin(&walk, combine->inputs[0].value);
    while (input_walk_next(&walk)) {
        double score = weighted(&combine->inputs[0], walk.item.score);
        bool is_in = inter_score(combine, walk.item.member, &score);
        if ((is_in && !zsets_collect(call, place, walk.item.member, score)) ||
            !goes_on(call, &seen)) {
            return false;
        }
    }
    return true;
}

static size_t count_inter(struct call *call, const struct combine *combine)
{
    struct input_walk walk;
    size_t count = 0;
    size_t seen = 0;
    input_walk_begin(&walk, combine->inputs[0].value);
    while ((combine->limit == 0 || count < combine->limit) && input_walk_next(&walk) &&
           goes_on(call, &seen)) {
        double score = 0;
        count += inter_score(combine, walk.item.member, &score);
    }
    return count;
}

static bool run_diff(struct call *call, const struct combine *combine, struct place *place)
{
    struct input_walk walk;
    size_t seen = 0;
    input_walk_begin(&walk, combine->inputs[0].value);
    while (input_walk_next(&walk)) {
        bool is_elsewhere = false;
        double score;
        for (uint32_t i = 1; i < combine->input_count && !is_elsewhere; i++) {
            is_elsewhere = input_score(&combine->inputs[i], walk.item.member, &score);
        }
        if ((!is_elsewhere && !zsets_collect(call, place, walk.item.member, walk.item.score)) ||
            !goes_on(call, &seen)) {
            return false;
        }
    }
    return true;
}

/* ---- Arguments ---- */

static bool take_weights(struct call *call, uint32_t index, struct combine *combine)
{
    for (uint32_t i = 0; i < combine->input_count; i++) {
        if (!call_double(call, index + i, &combine->inputs[i].weight,
                         "ERR weight value is not a float")) {
            return false;
        }
    }
    return true;
}

static bool take_aggregate(struct call *call, uint32_t index, struct combine *combine)
{
    if (call_is(call, index, "SUM")) {
        combine->aggregate = AGGREGATE_SUM;
    } else if (call_is(call, index, "MIN")) {
        combine->aggregate = AGGREGATE_MIN;
    } else if (call_is(call, index, "MAX")) {
        combine->aggregate = AGGREGATE_MAX;
    } else {
        reply_error(call->out, ERR_SYNTAX);
        return false;
    }
    return true;
}

static bool take_limit(struct call *call, uint32_t index, struct combine *combine)
{
    int64_t limit;
    if (!num_parse_i64(call->args.at[index], &limit) || limit < 0) {
        reply_error(call->out, "ERR LIMIT can't be negative");
        return false;
    }
    combine->limit = (size_t)limit;
    return true;
}

/* Takes the option at `*index` and moves `*index` to its last word. */
static bool take_option(struct call *call, uint32_t *index, struct combine *combine)
{
    uint32_t at = *index;
    uint32_t left = call->args.count - at - 1;
    bool is_scored = combine->operation != COMBINE_DIFF && !combine->is_card;
    if (is_scored && left >= combine->input_count && call_is(call, at, "WEIGHTS")) {
        *index += combine->input_count;
        return take_weights(call, at + 1, combine);
    }
    if (is_scored && left >= 1 && call_is(call, at, "AGGREGATE")) {
        *index += 1;
        return take_aggregate(call, at + 1, combine);
    }
    if (!combine->is_store && !combine->is_card && call_is(call, at, "WITHSCORES")) {
        combine->with_scores = true;
        return true;
    }
    if (combine->is_card && left >= 1 && call_is(call, at, "LIMIT")) {
        *index += 1;
        return take_limit(call, at + 1, combine);
    }
    reply_error(call->out, ERR_SYNTAX);
    return false;
}

static bool find_input(struct call *call, uint32_t index, struct input *input)
{
    input->weight = 1;
    input->value = call_peek(call, index, FIND_READ);
    if (input->value == NULL) {
        return true;
    }
    switch (value_kind(input->value)) {
    case VALUE_ZSET:
        input->count = zset_count(input->value);
        return true;
    case VALUE_SET:
        input->count = set_count(input->value);
        return true;
    case VALUE_STRING:
    case VALUE_LIST:
    case VALUE_HASH:
    case VALUE_STREAM:
    case VALUE_KIND_COUNT:
    default:
        reply_error(call->out, ERR_WRONG_TYPE);
        return false;
    }
}

/* Reads the number of keys, finds them and reads the options. */
static bool combine_parse(struct call *call, struct combine *combine)
{
    int64_t key_count;
    uint32_t at = combine->numkeys_at;
    if (!call_i64(call, at, &key_count, NULL)) {
        return false;
    }
    if (key_count < 1) {
        reply_errorf(call->out, "ERR at least 1 input key is needed for '%s' command",
                     call->command->name);
        return false;
    }
    if (key_count > (int64_t)call->args.count - at - 1) {
        reply_error(call->out, ERR_SYNTAX);
        return false;
    }
    combine->input_count = (uint32_t)key_count;
    combine->inputs = mem_zalloc(combine->input_count * sizeof(*combine->inputs));
    for (uint32_t i = 0; i < combine->input_count; i++) {
        if (!find_input(call, at + 1 + i, &combine->inputs[i])) {
            return false;
        }
    }
    for (uint32_t i = at + 1 + combine->input_count; i < call->args.count; i++) {
        if (!take_option(call, &i, combine)) {
            return false;
        }
    }
    return true;
}

/* ---- Commands ---- */

/* About how many members the result has at least. */
static size_t expected_count(const struct combine *combine)
{
    const struct input *last = &combine->inputs[combine->input_count - 1];
    return combine->operation == COMBINE_UNION ? last->count : 0;
}

/* Members that will be looked at. */
static size_t combine_size(const struct combine *combine)
{
    size_t size = combine->inputs[0].count;
    for (uint32_t i = 1; i < combine->input_count && combine->operation == COMBINE_UNION; i++) {
        size += combine->inputs[i].count;
    }
    return size;
}

/* Builds the result; NULL: no memory, the error is in the reply, or the call was given up. */
static struct value *combine_build(struct call *call, const struct combine *combine)
{
    static const struct type_limits large = {.zset_entries = 0};
    struct zset_rules rules = zsets_rules(call);
    if (!combine->is_store) {
        rules.limits = &large; /* What is only told keeps the sign of a zero. */
    }
    struct slice key = combine->is_store ? call->args.at[1] : slice_of(NULL, 0);
    struct place place = {.value = zset_try_new(key, expected_count(combine), 0, &rules)};
    if (place.value == NULL) {
        reply_error(call->out, ERR_NO_MEMORY);
        return NULL;
    }
    bool is_built;
    if (combine->operation == COMBINE_UNION) {
        is_built = run_union(call, combine, &place);
    } else if (combine->operation == COMBINE_INTER) {
        is_built = run_inter(call, combine, &place);
    } else {
        is_built = run_diff(call, combine, &place);
    }
    if (!is_built) {
        value_free(place.value, exec_work(call->exec));
        return NULL;
    }
    return place.value;
}

static void combine_answer(struct call *call, const struct combine *combine, const char *event)
{
    struct value *result = combine_build(call, combine);
    if (result == NULL) {
        return;
    }
    if (combine->is_store) {
        zsets_store(call, 1, result, event);
        return;
    }
    struct zset_ranks all = {0, zset_count(result)};
    zsets_reply_ranks(call, result, all, false, combine->with_scores);
    value_free(result, exec_work(call->exec));
}

/* `event` is for the STORE forms. */
static void combine_with(struct call *call, struct combine combine, const char *event)
{
    if (combine_parse(call, &combine)) {
        if (combine.operation != COMBINE_DIFF) {
            inputs_sort(combine.inputs, combine.input_count);
        }
        if (call_slice(call, combine_size(&combine))) {
            mem_free(combine.inputs);
            return;
        }
        if (combine.is_card) {
            reply_count(call->out, count_inter(call, &combine));
        } else {
            combine_answer(call, &combine, event);
        }
    }
    mem_free(combine.inputs);
}

/* ZUNION numkeys key [key ...] [WEIGHTS ...] [AGGREGATE SUM | MIN | MAX] [WITHSCORES] */
static void zunion_run(struct call *call)
{
    combine_with(call, (struct combine){.operation = COMBINE_UNION, .numkeys_at = 1}, NULL);
}

/* ZINTER numkeys key [key ...] [WEIGHTS ...] [AGGREGATE SUM | MIN | MAX] [WITHSCORES] */
static void zinter_run(struct call *call)
{
    combine_with(call, (struct combine){.operation = COMBINE_INTER, .numkeys_at = 1}, NULL);
}

/* ZDIFF numkeys key [key ...] [WITHSCORES] */
static void zdiff_run(struct call *call)
{
    combine_with(call, (struct combine){.operation = COMBINE_DIFF, .numkeys_at = 1}, NULL);
}

/* ZUNIONSTORE destination numkeys key [key ...] [WEIGHTS ...] [AGGREGATE SUM | MIN | MAX] */
static void zunionstore_run(struct call *call)
{
    combine_with(call,
                 (struct combine){.operation = COMBINE_UNION, .numkeys_at = 2, .is_store = true},
                 "zunionstore");
}

/* ZINTERSTORE destination numkeys key [key ...] [WEIGHTS ...] [AGGREGATE SUM | MIN | MAX] */
static void zinterstore_run(struct call *call)
{
    combine_with(call,
                 (struct combine){.operation = COMBINE_INTER, .numkeys_at = 2, .is_store = true},
                 "zinterstore");
}

/* ZDIFFSTORE destination numkeys key [key ...] */
static void zdiffstore_run(struct call *call)
{
    combine_with(call,
                 (struct combine){.operation = COMBINE_DIFF, .numkeys_at = 2, .is_store = true},
                 "zdiffstore");
}

/* ZINTERCARD numkeys key [key ...] [LIMIT limit] */
static void zintercard_run(struct call *call)
{
    combine_with(
        call, (struct combine){.operation = COMBINE_INTER, .numkeys_at = 1, .is_card = true}, NULL);
}

/* What the documentation of several rows has in common. */
#define WEIGHTED "[WEIGHTS weight:integer...] [AGGREGATE (aggregate: SUM | MIN | MAX)]"

static const struct command zsets_combine_rows[] = {
    {.name = "zunion",
     .run = zunion_run,
     .arity = -3,
     .flags = CMD_READONLY,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .is_counted = true, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "6.2.0",
     .group = "sorted-set",
     .complexity = "O(L*log(N)) where L is the number of members of all inputs and N that of "
                   "the result.",
     .summary = "Returns the union of sorted sets, with their scores put together.",
     .syntax = "numkeys:integer key... " WEIGHTED " [WITHSCORES]"},
    {.name = "zinter",
     .run = zinter_run,
     .arity = -3,
     .flags = CMD_READONLY,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .is_counted = true, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "6.2.0",
     .group = "sorted-set",
     .complexity = "O(S*K+M*log(M)) where S is the size of the smallest of K inputs and M that "
                   "of the result.",
     .summary = "Returns the intersection of sorted sets, with their scores put together.",
     .syntax = "numkeys:integer key... " WEIGHTED " [WITHSCORES]"},
    {.name = "zdiff",
     .run = zdiff_run,
     .arity = -3,
     .flags = CMD_READONLY,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .is_counted = true, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "6.2.0",
     .group = "sorted-set",
     .complexity = "O(S*K+M*log(M)) where S is the size of the first of K inputs and M that of "
                   "the result.",
     .summary = "Returns the members of the first sorted set that are in none of the others.",
     .syntax = "numkeys:integer key... [WITHSCORES]"},
    {.name = "zunionstore",
     .run = zunionstore_run,
     .arity = -4,
     .flags = CMD_WRITE | CMD_DENY_OOM,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .access = KEY_OW, .use = KEY_USE_UPDATE},
              {.first = 2, .is_counted = true, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "2.0.0",
     .group = "sorted-set",
     .complexity = "O(L*log(N)) where L is the number of members of all inputs and N that of "
                   "the result.",
     .summary = "Stores the union of sorted sets, with their scores put together.",
     .syntax = "destination:key numkeys:integer key... " WEIGHTED},
    {.name = "zinterstore",
     .run = zinterstore_run,
     .arity = -4,
     .flags = CMD_WRITE | CMD_DENY_OOM,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .access = KEY_OW, .use = KEY_USE_UPDATE},
              {.first = 2, .is_counted = true, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "2.0.0",
     .group = "sorted-set",
     .complexity = "O(S*K+M*log(M)) where S is the size of the smallest of K inputs and M that "
                   "of the result.",
     .summary = "Stores the intersection of sorted sets, with their scores put together.",
     .syntax = "destination:key numkeys:integer key... " WEIGHTED},
    {.name = "zdiffstore",
     .run = zdiffstore_run,
     .arity = -4,
     .flags = CMD_WRITE | CMD_DENY_OOM,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .access = KEY_OW, .use = KEY_USE_UPDATE},
              {.first = 2, .is_counted = true, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "6.2.0",
     .group = "sorted-set",
     .complexity = "O(S*K+M*log(M)) where S is the size of the first of K inputs and M that of "
                   "the result.",
     .summary = "Stores the members of the first sorted set that are in none of the others.",
     .syntax = "destination:key numkeys:integer key..."},
    {.name = "zintercard",
     .run = zintercard_run,
     .arity = -3,
     .flags = CMD_READONLY,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .is_counted = true, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "7.0.0",
     .group = "sorted-set",
     .complexity = "O(S*K) where S is the size of the smallest of K inputs.",
     .summary = "Counts the members of the intersection of sorted sets.",
     .syntax = "numkeys:integer key... [LIMIT limit:integer]"},
};

void commands_register_zsets_combine(struct exec *exec, struct type_limits *limits)
{
    exec_register(exec, zsets_combine_rows,
                  sizeof(zsets_combine_rows) / sizeof(zsets_combine_rows[0]), limits);
}
