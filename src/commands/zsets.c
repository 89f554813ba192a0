/* Members of sorted sets and their scores: ZADD, ZINCRBY, ZREM, ZSCORE, ZMSCORE, ZCARD, ZRANK,
 * ZREVRANK; and what the other files of the family share.
 *
 * ZADD reads all scores before it changes anything, so that a bad one is refused whole. A new set
 * is built first and stored when it has its members. */
#include "commands/zsets.h"

#include "base/num.h"
#include "commands/commands.h"

/* ---- Shared ---- */

void zsets_lost_members(struct call *call, uint32_t index, struct place place, const char *event)
{
    bool is_empty = zset_count(place.value) == 0;
    if (is_empty) {
        call_remove(call, index, place);
    }
    call_changed(call, index, event);
    if (is_empty) {
        call_event(call, call->db, call->args.at[index], "del");
    }
}

/* A packed set is in its block, which moves: it is changed in one go, when nobody has it pinned. */
bool zsets_remove_ranks(struct call *call, uint32_t index, struct place *place,
                        struct zset_ranks ranks)
{
    bool is_large = value_ops_of(place->value)->effort(place->value) > 1;
    while (is_large && ranks.end - ranks.first > SLICED_STEP) {
        ranks.end -= SLICED_STEP;
        zset_remove_ranks(place, (struct zset_ranks){ranks.end, ranks.end + SLICED_STEP});
        (void)call_yield(call);
    }
    if (!call_edit_done(call, index, place)) {
        return false;
    }
    zset_remove_ranks(place, ranks);
    return true;
}

static inline void reply_some(struct reply *out, struct zset_walk *walk, size_t count,
                              bool with_scores)
{
    struct zset_item item;
    for (; count > 0 && zset_walk_next(walk, &item); count--) {
        zsets_reply_item(out, item.member, item.score, with_scores);
    }
}

void zsets_reply_ranks(struct call *call, const struct value *value, struct zset_ranks ranks,
                       bool is_reverse, bool with_scores)
{
    size_t count = ranks.end > ranks.first ? ranks.end - ranks.first : 0;
    zsets_reply_header(call->out, count, with_scores);
    if (count == 0) {
        return;
    }
    struct zset_walk walk;
    zset_walk_begin(&walk, value, is_reverse ? ranks.end - 1 : ranks.first, is_reverse);
    while (count > 0) {
        size_t some = count < SLICED_STEP ? count : SLICED_STEP;
        reply_some(call->out, &walk, some, with_scores);
        count -= some;
        if (!call_yield_sending(call)) {
            return;
        }
    }
}

bool zsets_collect(struct call *call, struct place *place, struct slice member, double score)
{
    struct zset_put put = {.member = member, .score = score};
    struct zset_rules rules = zsets_rules(call);
    if (zset_try_put(place, &put, &rules) == ZSET_NO_MEMORY) {
        reply_error(call->out, ERR_NO_MEMORY);
        return false;
    }
    return true;
}

void zsets_store(struct call *call, uint32_t index, struct value *take_value, const char *event)
{
    size_t count = zset_count(take_value);
    struct place place = call_peek_place(call, index, FIND_NO_TOUCH);
    if (count > 0) {
        call_insert(call, index, take_value);
        call_changed(call, index, event);
    } else {
        value_free(take_value, exec_work(call->exec));
        if (place.value != NULL) {
            call_remove(call, index, place);
            call_changed(call, index, "del");
        }
    }
    reply_count(call->out, count);
}

/* ---- ZADD and ZINCRBY ---- */

struct zadd {
    unsigned conditions; /* enum zset_condition, or-ed. */
    bool counts_changes; /* CH */
    uint32_t pairs_at;   /* Index of the first score. */
    size_t pair_count;
    double first_score;
    size_t added, changed;
    enum zset_result last;
    double last_score;
};

static bool zadd_take_option(const struct call *call, uint32_t index, struct zadd *zadd)
{
    static const struct {
        const char *word;
        unsigned condition;
    } options[] = {{"NX", ZSET_NX}, {"XX", ZSET_XX},     {"GT", ZSET_GT},
                   {"LT", ZSET_LT}, {"INCR", ZSET_INCR}, {"CH", 0}};
    struct slice text = call->args.at[index];
    if (text.len < 2 || text.len > 4 || text.data[0] <= '9') {
        return false; /* The usual case: a score. */
    }
    for (unsigned i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        if (slice_is(text, options[i].word)) {
            zadd->conditions |= options[i].condition;
            zadd->counts_changes |= options[i].condition == 0;
            return true;
        }
    }
    return false;
}

static const char *zadd_contradiction(const struct zadd *zadd)
{
    unsigned conditions = zadd->conditions;
    bool has_nx = (conditions & ZSET_NX) != 0;
    bool has_gt = (conditions & ZSET_GT) != 0;
    bool has_lt = (conditions & ZSET_LT) != 0;
    if (has_nx && (conditions & ZSET_XX) != 0) {
        return "ERR XX and NX options at the same time are not compatible";
    }
    if (has_nx + has_gt + has_lt > 1) {
        return "ERR GT, LT, and/or NX options at the same time are not compatible";
    }
    if ((conditions & ZSET_INCR) != 0 && zadd->pair_count > 1) {
        return "ERR INCR option supports a single increment-element pair";
    }
    return NULL;
}

static bool zadd_parse(struct call *call, struct zadd *zadd)
{
    uint32_t index = 2;
    while (index < call->args.count && zadd_take_option(call, index, zadd)) {
        index++;
    }
    uint32_t left = call->args.count - index;
    if (left == 0 || left % 2 != 0) {
        reply_error(call->out, ERR_SYNTAX);
        return false;
    }
    zadd->pairs_at = index;
    zadd->pair_count = left / 2;
    const char *contradiction = zadd_contradiction(zadd);
    if (contradiction != NULL) {
        reply_error(call->out, contradiction);
        return false;
    }
    for (uint32_t i = call->args.count - 2; i > index; i -= 2) {
        double score;
        if (!num_parse_double(call->args.at[i], &score)) {
            reply_error(call->out, ERR_NOT_FLOAT);
            return false;
        }
        if (i % SLICED_STEP < 2) {
            call_yield(call);
        }
    }
    return call_double(call, index, &zadd->first_score, NULL);
}

/* Puts one pair; false: it failed, the error is in the reply. */
static bool zadd_put(struct call *call, struct zadd *zadd, struct place *place, struct slice member,
                     double score)
{
    struct zset_put put = {.member = member, .score = score, .conditions = zadd->conditions};
    struct zset_rules rules = zsets_rules(call);
    zadd->last = zset_try_put(place, &put, &rules);
    zadd->last_score = put.score;
    switch (zadd->last) {
    case ZSET_ADDED:
        zadd->added++;
        break;
    case ZSET_CHANGED:
        zadd->changed++;
        break;
    case ZSET_SAME:
    case ZSET_REFUSED:
        break;
    case ZSET_NAN:
        reply_error(call->out, ERR_SCORE_NAN);
        return false;
    case ZSET_NO_MEMORY:
        reply_error(call->out, ERR_NO_MEMORY);
        return false;
    }
    return true;
}

static bool zadd_put_all(struct call *call, struct zadd *zadd, struct place *place)
{
    double score = zadd->first_score;
    for (size_t i = 0; i < zadd->pair_count; i++) {
        const struct slice *pair = &call->args.at[zadd->pairs_at + 2 * i];
        if (i > 0 && !num_parse_double(pair[0], &score)) {
            return false; /* Parsed before; cannot be. */
        }
        if (!zadd_put(call, zadd, place, pair[1], score)) {
            return false;
        }
        if (!call_edit_yield_at(call, 1, place, i)) {
            return true;
        }
    }
    return true;
}

/* A new set for what ZADD brings; NULL: no memory. */
static struct value *zadd_try_new(struct call *call, const struct zadd *zadd)
{
    struct zset_rules rules = zsets_rules(call);
    return zset_try_new(call->args.at[1], 1, call->args.at[zadd->pairs_at + 1].len, &rules);
}

/* The parsed ZADD on its key; false: failed, the error is in the reply. */
static bool zadd_apply(struct call *call, struct zadd *zadd)
{
    struct place place;
    if (!call_find_place(call, 1, VALUE_ZSET, &place)) {
        return false;
    }
    bool is_new = place.value == NULL;
    if (is_new && (zadd->conditions & ZSET_XX) != 0) {
        zadd->last = ZSET_REFUSED;
        return true;
    }
    if (is_new) {
        place = (struct place){.value = zadd_try_new(call, zadd)};
        if (place.value == NULL) {
            reply_error(call->out, ERR_NO_MEMORY);
            return false;
        }
    }
    bool is_done = zadd_put_all(call, zadd, &place);
    if (!is_new && !call_edit_done(call, 1, &place)) {
        return is_done; /* Gone. */
    }
    if (is_new && zadd->added > 0) {
        call_insert(call, 1, place.value);
    } else if (is_new) {
        value_free(place.value, NULL);
    }
    if (zadd->added + zadd->changed > 0) {
        call_changed(call, 1, (zadd->conditions & ZSET_INCR) != 0 ? "zincr" : "zadd");
    }
    return is_done;
}

void zsets_add(struct call *call)
{
    struct zadd zadd = {.conditions = 0};
    if (call_slice_editing(call, call->args.count)) {
        return;
    }
    if (!zadd_parse(call, &zadd) || !zadd_apply(call, &zadd)) {
        return;
    }
    if ((zadd.conditions & ZSET_INCR) == 0) {
        reply_count(call->out, zadd.added + (zadd.counts_changes ? zadd.changed : 0));
    } else if (zadd.last == ZSET_REFUSED) {
        reply_null(call->out);
    } else {
        reply_double(call->out, zadd.last_score);
    }
}

/* ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...] */
static void zadd_run(struct call *call)
{
    zsets_add(call);
}

/* ZINCRBY key increment member */
static void zincrby_run(struct call *call)
{
    struct zadd zadd = {.conditions = ZSET_INCR, .pairs_at = 2, .pair_count = 1};
    if (call_double(call, 2, &zadd.first_score, NULL) && zadd_apply(call, &zadd)) {
        reply_double(call->out, zadd.last_score);
    }
}

/* ---- One member ---- */

/* ZREM key member [member ...] */
static void zrem_run(struct call *call)
{
    struct place place;
    if (!call_find_place(call, 1, VALUE_ZSET, &place) ||
        call_slice_editing(call, call->args.count)) {
        return;
    }
    size_t count = 0;
    for (uint32_t i = 2; place.value != NULL && i < call->args.count; i++) {
        count += zset_remove(&place, call->args.at[i]);
        if (!call_edit_yield_at(call, 1, &place, i)) {
            break;
        }
    }
    if (call_edit_done(call, 1, &place) && count > 0) {
        zsets_lost_members(call, 1, place, "zrem");
    }
    reply_count(call->out, count);
}

static void reply_score(struct call *call, const struct value *value, uint32_t index)
{
    double score;
    if (value != NULL && zset_score(value, call->args.at[index], &score)) {
        reply_double(call->out, score);
    } else {
        reply_null(call->out);
    }
}

/* ZSCORE key member */
static void zscore_run(struct call *call)
{
    struct value *value;
    if (call_find(call, 1, VALUE_ZSET, &value)) {
        reply_score(call, value, 2);
    }
}

/* ZMSCORE key member [member ...] */
static void zmscore_run(struct call *call)
{
    struct value *value;
    if (!call_find(call, 1, VALUE_ZSET, &value) || call_slice(call, call->args.count)) {
        return;
    }
    reply_array(call->out, call->args.count - 2);
    for (uint32_t i = 2; i < call->args.count; i++) {
        reply_score(call, value, i);
        if (!call_yield_sending_at(call, i)) {
            return;
        }
    }
}

/* ZCARD key */
static void zcard_run(struct call *call)
{
    struct value *value;
    if (call_find(call, 1, VALUE_ZSET, &value)) {
        reply_count(call->out, value == NULL ? 0 : zset_count(value));
    }
}

static void rank(struct call *call, bool is_reverse)
{
    if (call->args.count > 4) {
        call_arity_error(call);
        return;
    }
    bool with_score = call->args.count == 4;
    if (with_score && !call_is(call, 3, "WITHSCORE")) {
        reply_error(call->out, ERR_SYNTAX);
        return;
    }
    struct value *value;
    if (!call_find(call, 1, VALUE_ZSET, &value)) {
        return;
    }
    size_t place;
    double score;
    if (value == NULL || !zset_rank(value, call->args.at[2], &place, &score)) {
        if (with_score) {
            reply_null_array(call->out);
        } else {
            reply_null(call->out);
        }
        return;
    }
    if (with_score) {
        reply_array(call->out, 2);
    }
    reply_count(call->out, is_reverse ? zset_count(value) - 1 - place : place);
    if (with_score) {
        reply_double(call->out, score);
    }
}

/* ZRANK key member [WITHSCORE] */
static void zrank_run(struct call *call)
{
    rank(call, false);
}

/* ZREVRANK key member [WITHSCORE] */
static void zrevrank_run(struct call *call)
{
    rank(call, true);
}

static const struct command zsets_rows[] = {
    {.name = "zadd",
     .run = zadd_run,
     .arity = -4,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_FAST,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_UPDATE}},
     .since = "1.2.0",
     .group = "sorted-set",
     .complexity = "O(M*log(N)) for M of them in a set of N members.",
     .summary = "Adds members with scores to a sorted set, or changes their scores.",
     .syntax = "key [condition: NX | XX]@3.0.2 [comparison: GT | LT]@6.2.0 [change=CH]@3.0.2 "
               "[increment=INCR]@3.0.2 (score:double member)...",
     .history = "2.4.0 Accepts multiple elements.\n3.0.2 Added the `XX`, `NX`, `CH` and `INCR` "
                "options.\n6.2.0 Added the `GT` and `LT` options."},
    {.name = "zincrby",
     .run = zincrby_run,
     .arity = 4,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_FAST,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_UPDATE}},
     .since = "1.2.0",
     .group = "sorted-set",
     .complexity = "O(log(N)) where N is the number of members.",
     .summary = "Adds to the score of a member of a sorted set, 0 when it is missing.",
     .syntax = "key increment:integer member"},
    {.name = "zrem",
     .run = zrem_run,
     .arity = -3,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_DELETE}},
     .since = "1.2.0",
     .group = "sorted-set",
     .complexity = "O(M*log(N)) for M of them in a set of N members.",
     .summary = "Removes members from a sorted set.",
     .syntax = "key member...",
     .history = "2.4.0 Accepts multiple elements."},
    {.name = "zscore",
     .run = zscore_run,
     .arity = 3,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "1.2.0",
     .group = "sorted-set",
     .complexity = "O(1)",
     .summary = "Returns the score of a member of a sorted set.",
     .syntax = "key member"},
    {.name = "zmscore",
     .run = zmscore_run,
     .arity = -3,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "6.2.0",
     .group = "sorted-set",
     .complexity = "O(N) where N is the number of members asked for.",
     .summary = "Returns the scores of several members of a sorted set.",
     .syntax = "key member..."},
    {.name = "zcard",
     .run = zcard_run,
     .arity = 2,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .access = KEY_RO}},
     .since = "1.2.0",
     .group = "sorted-set",
     .complexity = "O(1)",
     .summary = "Counts the members of a sorted set.",
     .syntax = "key"},
    {.name = "zrank",
     .run = zrank_run,
     .arity = -3,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "2.0.0",
     .group = "sorted-set",
     .complexity = "O(log(N)) where N is the number of members.",
     .summary = "Tells how many members of a sorted set come before one.",
     .syntax = "key member [WITHSCORE]@7.2.0",
     .history = "7.2.0 Added the optional `WITHSCORE` argument."},
    {.name = "zrevrank",
     .run = zrevrank_run,
     .arity = -3,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_SORTEDSET,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "2.0.0",
     .group = "sorted-set",
     .complexity = "O(log(N)) where N is the number of members.",
     .summary = "Tells how many members of a sorted set come after one.",
     .syntax = "key member [WITHSCORE]@7.2.0",
     .history = "7.2.0 Added the optional `WITHSCORE` argument."},
};

void commands_register_zsets(struct exec *exec, struct type_limits *limits)
{
    exec_register(exec, zsets_rows, sizeof(zsets_rows) / sizeof(zsets_rows[0]), limits);
}
