/* Ranges of sorted sets: ZRANGE and its elder forms, ZRANGESTORE, ZCOUNT, ZLEXCOUNT, ZREMRANGEBY*.
 *
 * All of them read two bounds, by rank, by score or by member, and turn them into a range of ranks,
 * which is O(log n). An offset of LIMIT then is an addition, where Redis steps over what is
 * skipped. What remains is counted, told, stored or removed. */
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "commands/commands.h"
#include "commands/zsets.h"

#define ERR_SCORE_RANGE "ERR min or max is not a float"
#define ERR_LEX_RANGE "ERR min or max not valid string range item"

enum range_kind { RANGE_ANY, RANGE_RANK, RANGE_SCORE, RANGE_LEX };

struct range {
    enum range_kind kind;
    int64_t start, stop; /* RANGE_RANK */
    struct zset_score_range scores;
    struct zset_lex_range members;
    bool is_reverse;
    bool is_either_way; /* REV is an option. */
    bool with_scores;
    bool has_limit;
    int64_t offset, limit;
};

/* ---- Bounds ---- */

/* A score as strtod reads what Redis gives it: leading spaces, an empty text for 0, hexadecimal,
 * infinities and overflow to them, up to the first NUL. */
static bool parse_score(struct slice text, double *out)
{
    char stack[128];
    char *copy = text.len < sizeof(stack) ? stack : mem_try_alloc(text.len + 1);
    if (copy == NULL) {
        return false;
    }
    if (text.len > 0) {
        memcpy(copy, text.data, text.len);
    }
    copy[text.len] = '\0';
    char *end;
    *out = strtod(copy, &end);
    bool is_whole = *end == '\0' && !isnan(*out);
    if (copy != stack) {
        mem_free(copy);
    }
    return is_whole;
}

/* "1.5" or "(1.5", open. */
static bool parse_score_bound(struct slice text, double *out, bool *is_open)
{
    *is_open = text.len > 0 && text.data[0] == '(';
    return parse_score(slice_part(text, *is_open, text.len), out);
}

/* "-", "+", "[text" or "(text". */
static bool parse_lex_bound(struct slice text, struct zset_lex_bound *bound)
{
    char first = text.len > 0 ? text.data[0] : '\0';
    if (text.len == 1 && (first == '-' || first == '+')) {
        bound->edge = first == '-' ? ZSET_EDGE_BEFORE_ALL : ZSET_EDGE_AFTER_ALL;
        return true;
    }
    bound->edge = first == '[' ? ZSET_EDGE_CLOSED : ZSET_EDGE_OPEN;
    bound->text = slice_part(text, 1, text.len);
    return first == '[' || first == '(';
}

/* Reads the bounds of a range whose kind is known; false: the error is in the reply. */
static bool parse_bounds(struct call *call, uint32_t min_index, uint32_t max_index,
                         struct range *range)
{
    struct slice min = call->args.at[min_index];
    struct slice max = call->args.at[max_index];
    if (range->kind == RANGE_SCORE) {
        struct zset_score_range *scores = &range->scores;
        if (!parse_score_bound(min, &scores->min, &scores->is_min_open) ||
            !parse_score_bound(max, &scores->max, &scores->is_max_open)) {
            reply_error(call->out, ERR_SCORE_RANGE);
            return false;
        }
        return true;
    }
    if (range->kind == RANGE_LEX) {
        if (!parse_lex_bound(min, &range->members.min) ||
            !parse_lex_bound(max, &range->members.max)) {
            reply_error(call->out, ERR_LEX_RANGE);
            return false;
        }
        return true;
    }
    return call_i64(call, min_index, &range->start, NULL) &&
           call_i64(call, max_index, &range->stop, NULL);
}

/* ---- Ranks ---- */

static struct zset_ranks ranks_of_indices(size_t count, const struct range *range)
{
    int64_t len = (int64_t)count;
    int64_t start = range->start < 0 ? range->start + len : range->start;
    int64_t stop = range->stop < 0 ? range->stop + len : range->stop;
    start = start < 0 ? 0 : start;
    stop = stop >= len ? len - 1 : stop;
    if (start > stop || start >= len) {
        return (struct zset_ranks){0, 0};
    }
    struct zset_ranks ranks = {(size_t)start, (size_t)stop + 1};
    if (range->is_reverse) {
        ranks = (struct zset_ranks){count - ranks.end, count - ranks.first};
    }
    return ranks;
}

/* Leaves what LIMIT leaves. */
static struct zset_ranks ranks_limit(struct zset_ranks ranks, const struct range *range)
{
    size_t count = ranks.end > ranks.first ? ranks.end - ranks.first : 0;
    size_t skipped =
        range->offset < 0 || (uint64_t)range->offset > count ? count : (size_t)range->offset;
    size_t left = count - skipped;
    if (range->limit >= 0 && (uint64_t)range->limit < left) {
        left = (size_t)range->limit;
    }
    if (range->is_reverse) {
        size_t end = ranks.first + count - skipped;
        return (struct zset_ranks){end - left, end};
    }
    return (struct zset_ranks){ranks.first + skipped, ranks.first + skipped + left};
}

static struct zset_ranks ranks_of(const struct value *value, const struct range *range)
{
    struct zset_ranks ranks;
    switch (range->kind) {
    case RANGE_SCORE:
        ranks = zset_ranks_of_scores(value, &range->scores);
        break;
    case RANGE_LEX:
        ranks = zset_ranks_of_members(value, &range->members);
        break;
    case RANGE_ANY:
    case RANGE_RANK:
    default:
        return ranks_of_indices(zset_count(value), range);
    }
    if (ranks.end < ranks.first) {
        ranks.end = ranks.first;
    }
    return range->has_limit ? ranks_limit(ranks, range) : ranks;
}

/* ---- ZRANGE and its elder forms ---- */

/* Takes the option at `*index` and moves `*index` to its last word. */
static bool range_take_option(struct call *call, uint32_t *index, struct range *range,
                              bool is_store)
{
    uint32_t left = call->args.count - *index - 1;
    if (!is_store && call_is(call, *index, "WITHSCORES")) {
        range->with_scores = true;
    } else if (left >= 2 && call_is(call, *index, "LIMIT")) {
        range->has_limit = true;
        *index += 2;
        return call_i64(call, *index - 1, &range->offset, NULL) &&
               call_i64(call, *index, &range->limit, NULL);
    } else if (range->is_either_way && call_is(call, *index, "REV")) {
        range->is_reverse = true;
        range->is_either_way = false;
    } else if (range->kind == RANGE_ANY && call_is(call, *index, "BYLEX")) {
        range->kind = RANGE_LEX;
    } else if (range->kind == RANGE_ANY && call_is(call, *index, "BYSCORE")) {
        range->kind = RANGE_SCORE;
    } else {
        reply_error(call->out, ERR_SYNTAX);
        return false;
    }
    return true;
}

/* Reads two bounds at `index` and the options behind them. */
static bool range_parse(struct call *call, uint32_t index, struct range *range, bool is_store)
{
    for (uint32_t i = index + 2; i < call->args.count; i++) {
        if (!range_take_option(call, &i, range, is_store)) {
            return false;
        }
    }
    if (range->kind == RANGE_ANY) {
        range->kind = RANGE_RANK;
    }
    if (range->has_limit && range->limit != -1 && range->kind == RANGE_RANK) {
        reply_error(call->out, "ERR syntax error, LIMIT is only supported in combination with "
                               "either BYSCORE or BYLEX");
        return false;
    }
    if (range->with_scores && range->kind == RANGE_LEX) {
        reply_error(call->out,
                    "ERR syntax error, WITHSCORES not supported in combination with BYLEX");
        return false;
    }
    bool is_swapped = range->is_reverse && range->kind != RANGE_RANK;
    return parse_bounds(call, index + is_swapped, index + !is_swapped, range);
}

static void range_with(struct call *call, struct range range)
{
    struct value *value;
    if (!range_parse(call, 2, &range, false) || !call_find(call, 1, VALUE_ZSET, &value)) {
        return;
    }
    struct zset_ranks ranks = {0, 0};
    if (value != NULL) {
        ranks = ranks_of(value, &range);
    }
    if (call_slice(call, ranks.end - ranks.first)) {
        return;
    }
    zsets_reply_ranks(call, value, ranks, range.is_reverse, range.with_scores);
}

/* ZRANGE key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES] */
static void zrange_run(struct call *call)
{
    range_with(call, (struct range){.kind = RANGE_ANY, .is_either_way = true});
}

/* ZREVRANGE key start stop [WITHSCORES] */
static void zrevrange_run(struct call *call)
{
    range_with(call, (struct range){.kind = RANGE_RANK, .is_reverse = true});
}

/* ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count] */
static void zrangebyscore_run(struct call *call)
{
    range_with(call, (struct range){.kind = RANGE_SCORE});
}

/* ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count] */
static void zrevrangebyscore_run(struct call *call)
{
    range_with(call, (struct range){.kind = RANGE_SCORE, .is_reverse = true});
}

/* ZRANGEBYLEX key min max [LIMIT offset count] */
static void zrangebylex_run(struct call *call)
{
    range_with(call, (struct range){.kind = RANGE_LEX});
}

/* ZREVRANGEBYLEX key max min [LIMIT offset count] */
static void zrevrangebylex_run(struct call *call)
{
    range_with(call, (struct range){.kind = RANGE_LEX, .is_reverse = true});
}

/* Builds a set of some ranks of another; NULL: no memory, the error is in the reply, or the call
 * was given up. */
static struct value *try_extract(struct call *call, const struct value *source,
                                 struct zset_ranks ranks)
{
    struct zset_rules rules = zsets_rules(call);
    struct place place = {.value =
                              zset_try_new(call->args.at[1], ranks.end - ranks.first, 0, &rules)};
    if (place.value == NULL) {
        reply_error(call->out, ERR_NO_MEMORY);
        return NULL;
    }
    struct zset_walk walk;
    struct zset_item item;
    if (source != NULL) {
        zset_walk_begin(&walk, source, ranks.first, false);
    }
    for (size_t left = ranks.end - ranks.first; left > 0; left--) {
        if (!zset_walk_next(&walk, &item) ||
            !zsets_collect(call, &place, item.member, item.score) ||
            (left % SLICED_STEP == 0 && !call_yield(call))) {
            value_free(place.value, exec_work(call->exec));
            return NULL;
        }
    }
    return place.value;
}

/* ZRANGESTORE dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count] */
static void zrangestore_run(struct call *call)
{
    struct range range = {.kind = RANGE_ANY, .is_either_way = true};
    struct value *source;
    if (!range_parse(call, 3, &range, true) || !call_find(call, 2, VALUE_ZSET, &source)) {
        return;
    }
    struct zset_ranks ranks = {0, 0};
    if (source != NULL) {
        ranks = ranks_of(source, &range);
    }
    if (call_slice(call, ranks.end - ranks.first)) {
        return;
    }
    struct value *stored = try_extract(call, source, ranks);
    if (stored != NULL) {
        zsets_store(call, 1, stored, "zrangestore");
    }
}

/* ---- Counting and removing ---- */

static void count_with(struct call *call, enum range_kind kind)
{
    struct range range = {.kind = kind};
    struct value *value;
    if (!parse_bounds(call, 2, 3, &range) || !call_find(call, 1, VALUE_ZSET, &value)) {
        return;
    }
    struct zset_ranks ranks = {0, 0};
    if (value != NULL) {
        ranks = ranks_of(value, &range);
    }
    reply_count(call->out, ranks.end - ranks.first);
}

/* ZCOUNT key min max */
static void zcount_run(struct call *call)
{
    count_with(call, RANGE_SCORE);
}

/* ZLEXCOUNT key min max */
static void zlexcount_run(struct call *call)
{
    count_with(call, RANGE_LEX);
}

static void remove_with(struct call *call, enum range_kind kind, const char *event)
{
    struct range range = {.kind = kind};
    struct place place;
    if (!parse_bounds(call, 2, 3, &range) || !call_find_place(call, 1, VALUE_ZSET, &place)) {
        return;
    }
    struct zset_ranks ranks = {0, 0};
    if (place.value != NULL) {
        ranks = ranks_of(place.value, &range);
    }
    size_t count = ranks.end - ranks.first;
    bool is_all = count > 0 && count == zset_count(place.value);
    if (!is_all && zsets_remove_later(call, count)) {
        return;
    }
    if (is_all) {
        call_remove(call, 1, place); /* Freed in slices. */
        call_changed(call, 1, event);
        call_event(call, call->db, call->args.at[1], "del");
    } else if (count > 0 && zsets_remove_ranks(call, 1, &place, ranks)) {
        call_changed(call, 1, event);
    }
    reply_count(call->out, count);
}

/* ZREMRANGEBYRANK key start stop */
static void zremrangebyrank_run(struct call *call)
{
    remove_with(call, RANGE_RANK, "zremrangebyrank");
}

/* ZREMRANGEBYSCORE key min max */
static void zremrangebyscore_run(struct call *call)
{
    remove_with(call, RANGE_SCORE, "zremrangebyscore");
}

/* ZREMRANGEBYLEX key min max */
static void zremrangebylex_run(struct call *call)
{
    remove_with(call, RANGE_LEX, "zremrangebylex");
}

/* What the documentation of several rows has in common. */
#define REMOVAL_COMPLEXITY                                                                         \
    "O(log(N)+M*log(N)) where N is the number of members and M the number removed."
#define RANGE_COMPLEXITY "O(log(N)+M) where N is the number of members and M the number returned."

static const struct command zsets_range_rows[] = {
    {.name = "zrange",
     .run = zrange_run,
     .arity = -4,
     .flags = CMD_READONLY,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "1.2.0",
     .group = "sorted-set",
     .complexity = RANGE_COMPLEXITY,
     .summary = "Returns members of a sorted set by rank, by score or by name.",
     .syntax = "key start stop [sortby: BYSCORE | BYLEX]@6.2.0 [REV]@6.2.0 [LIMIT "
               "(offset:integer count:integer)]@6.2.0 [WITHSCORES]",
     .history = "6.2.0 Added the `REV`, `BYSCORE`, `BYLEX` and `LIMIT` options."},
    {.name = "zrevrange",
     .run = zrevrange_run,
     .arity = -4,
     .flags = CMD_READONLY,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "1.2.0",
     .group = "sorted-set",
     .complexity = RANGE_COMPLEXITY,
     .summary = "Returns members of a sorted set by rank, highest scores first.",
     .syntax = "key start:integer stop:integer [WITHSCORES]",
     .deprecated = "6.2.0 `ZRANGE` with the `REV` argument"},
    {.name = "zrangebyscore",
     .run = zrangebyscore_run,
     .arity = -4,
     .flags = CMD_READONLY,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "1.0.5",
     .group = "sorted-set",
     .complexity = RANGE_COMPLEXITY,
     .summary = "Returns members of a sorted set by score.",
     .syntax = "key min:double max:double [WITHSCORES]@2.0.0 [LIMIT (offset:integer "
               "count:integer)]",
     .deprecated = "6.2.0 `ZRANGE` with the `BYSCORE` argument",
     .history = "2.0.0 Added the `WITHSCORES` modifier."},
    {.name = "zrevrangebyscore",
     .run = zrevrangebyscore_run,
     .arity = -4,
     .flags = CMD_READONLY,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "2.2.0",
     .group = "sorted-set",
     .complexity = RANGE_COMPLEXITY,
     .summary = "Returns members of a sorted set by score, highest first.",
     .syntax = "key max:double min:double [WITHSCORES] [LIMIT (offset:integer count:integer)]",
     .deprecated = "6.2.0 `ZRANGE` with the `REV` and `BYSCORE` arguments",
     .history = "2.1.6 `min` and `max` can be exclusive."},
    {.name = "zrangebylex",
     .run = zrangebylex_run,
     .arity = -4,
     .flags = CMD_READONLY,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "2.8.9",
     .group = "sorted-set",
     .complexity = RANGE_COMPLEXITY,
     .summary = "Returns members of a sorted set by name, where all scores are equal.",
     .syntax = "key min max [LIMIT (offset:integer count:integer)]",
     .deprecated = "6.2.0 `ZRANGE` with the `BYLEX` argument"},
    {.name = "zrevrangebylex",
     .run = zrevrangebylex_run,
     .arity = -4,
     .flags = CMD_READONLY,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "2.8.9",
     .group = "sorted-set",
     .complexity = RANGE_COMPLEXITY,
     .summary = "Returns members of a sorted set by name, last first, where all scores are "
                "equal.",
     .syntax = "key max min [LIMIT (offset:integer count:integer)]",
     .deprecated = "6.2.0 `ZRANGE` with the `REV` and `BYLEX` arguments"},
    {.name = "zrangestore",
     .run = zrangestore_run,
     .arity = -5,
     .flags = CMD_WRITE | CMD_DENY_OOM,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .access = KEY_OW, .use = KEY_USE_UPDATE},
              {.first = 2, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "6.2.0",
     .group = "sorted-set",
     .complexity = "O(log(N)+M*log(M)) where N is the number of members and M the number stored.",
     .summary = "Stores a range of a sorted set in another key.",
     .syntax = "dst:key src:key min max [sortby: BYSCORE | BYLEX] [REV] [LIMIT (offset:integer "
               "count:integer)]"},
    {.name = "zcount",
     .run = zcount_run,
     .arity = 4,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "2.0.0",
     .group = "sorted-set",
     .complexity = "O(log(N)) where N is the number of members.",
     .summary = "Counts the members of a sorted set whose scores are in a range.",
     .syntax = "key min:double max:double"},
    {.name = "zlexcount",
     .run = zlexcount_run,
     .arity = 4,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "2.8.9",
     .group = "sorted-set",
     .complexity = "O(log(N)) where N is the number of members.",
     .summary = "Counts the members of a sorted set whose names are in a range, where all "
                "scores are equal.",
     .syntax = "key min max"},
    {.name = "zremrangebyrank",
     .run = zremrangebyrank_run,
     .arity = 4,
     .flags = CMD_WRITE,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_DELETE}},
     .since = "2.0.0",
     .group = "sorted-set",
     .complexity = REMOVAL_COMPLEXITY,
     .summary = "Removes members of a sorted set by rank.",
     .syntax = "key start:integer stop:integer"},
    {.name = "zremrangebyscore",
     .run = zremrangebyscore_run,
     .arity = 4,
     .flags = CMD_WRITE,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_DELETE}},
     .since = "1.2.0",
     .group = "sorted-set",
     .complexity = REMOVAL_COMPLEXITY,
     .summary = "Removes members of a sorted set by score.",
     .syntax = "key min:double max:double"},
    {.name = "zremrangebylex",
     .run = zremrangebylex_run,
     .arity = 4,
     .flags = CMD_WRITE,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_DELETE}},
     .since = "2.8.9",
     .group = "sorted-set",
     .complexity = REMOVAL_COMPLEXITY,
     .summary = "Removes members of a sorted set by name, where all scores are equal.",
     .syntax = "key min max"},
};

void commands_register_zsets_range(struct exec *exec, struct type_limits *limits)
{
    exec_register(exec, zsets_range_rows, sizeof(zsets_range_rows) / sizeof(zsets_range_rows[0]),
                  limits);
}
