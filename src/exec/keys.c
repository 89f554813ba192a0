/* Where keys stand among a command's arguments, read from its row's key specs.
 *
 *     {.first = 1}                               GET key
 *     {.first = 1, .last = -1, .step = 2}        MSET key value key value ...
 *     {.first = 2, .is_counted = true}           EVAL script numkeys key ... arg ...
 *     {.first = 1, .last = -1, .word = "STREAMS", .limit = 2}
 *                                                XREAD ... STREAMS key key id id
 *
 * Each spec is resolved to a run [first, last] with a step; a run that does not fit the arguments
 * means that they make no sense. */
#include "exec/exec_internal.h"

#include "base/num.h"

static int spec_step(const struct key_spec *spec)
{
    return spec->step > 0 ? spec->step : 1;
}

/* Fixed place, from the start of the arguments. */
static bool spec_is_plain(const struct key_spec *spec)
{
    return spec->word == NULL && !spec->is_counted && !spec->is_unknown;
}

/* ---- The three numbers of old clients ---- */

/* One run of keys with one step describes most commands. Specs that follow each other without a gap
 * are joined (RENAME: 1 and 2); what cannot be described so makes the keys "movable". */
struct key_range command_key_range(const struct command *row)
{
    unsigned count = command_key_spec_count(row);
    const struct key_spec *only = &row->keys[0];
    struct key_range range = {0};
    if (count == 1 && spec_is_plain(only)) {
        return (struct key_range){.first = only->first,
                                  .last = only->last != 0 ? only->last : only->first,
                                  .step = spec_step(only),
                                  .is_movable = only->is_incomplete};
    }
    for (unsigned i = 0; i < count; i++) {
        const struct key_spec *spec = &row->keys[i];
        bool is_next = range.first == 0 || range.last == spec->first - 1;
        if (!spec_is_plain(spec) || spec_step(spec) != 1 || !is_next) {
            range.is_movable = true;
            continue;
        }
        range.is_movable |= spec->is_incomplete;
        range.first = range.first == 0 ? spec->first : range.first;
        range.last = spec->last != 0 ? spec->last : spec->first;
        range.step = 1;
    }
    return range;
}

/* ---- Keys of given arguments ---- */

struct key_run {
    int64_t first, last;
};

enum run_result { RUN_FOUND, RUN_NONE, RUN_INVALID };

/* Index of the argument after the option word; 0 when the word is not there. The word cannot be the
 * last argument, nor the command's name. */
static int64_t find_word(const struct key_spec *spec, const struct slice *args, int64_t count)
{
    int64_t at = spec->first > 0 ? spec->first : count + spec->first;
    int64_t end = spec->first > 0 ? count - 1 : 1;
    int64_t step = spec->first > 0 ? 1 : -1;
    for (; at > 0 && at < count && at != end; at += step) {
        if (slice_is(args[at], spec->word)) {
            return at + 1;
        }
    }
    return 0;
}

static enum run_result find_counted(const struct slice *args, int64_t count, int64_t at,
                                    struct key_run *run)
{
    int64_t key_count;
    if (at >= count || !num_parse_i64(args[at], &key_count) || key_count < 0) {
        return RUN_INVALID;
    }
    if (key_count == 0) {
        return RUN_NONE;
    }
    if (key_count > count) {
        return RUN_INVALID;
    }
    *run = (struct key_run){.first = at + 1, .last = at + key_count};
    return RUN_FOUND;
}

static int64_t run_last(const struct key_spec *spec, int64_t first, int64_t count)
{
    if (spec->last >= 0) {
        int64_t extra = spec->word != NULL ? spec->last : spec->last - spec->first;
        return first + (spec->last == 0 ? 0 : extra);
    }
    if (spec->limit <= 1) {
        return count + spec->last;
    }
    return first + (count - first) / spec->limit + spec->last;
}

static enum run_result find_run(const struct key_spec *spec, const struct slice *args,
                                int64_t count, struct key_run *run)
{
    int64_t first = spec->first;
    if (spec->find != NULL) {
        first = spec->find(args, (uint32_t)count);
    } else if (spec->word != NULL) {
        first = find_word(spec, args, count);
    } else if (spec->is_unknown) {
        first = 0;
    }
    if (first == 0) {
        return RUN_NONE;
    }
    if (spec->is_counted) {
        enum run_result result = find_counted(args, count, first, run);
        if (result != RUN_FOUND) {
            return result;
        }
        run->last = run->first + (run->last - run->first) * spec_step(spec);
    } else {
        *run = (struct key_run){.first = first, .last = run_last(spec, first, count)};
    }
    bool is_inside = run->first < count && run->last < count && run->first <= run->last;
    return is_inside ? RUN_FOUND : RUN_INVALID;
}

int exec_find_keys(const struct command *row, const struct slice *args, uint32_t count,
                   struct key_position *out, uint32_t max)
{
    uint32_t found = 0;
    unsigned spec_count = command_key_spec_count(row);
    for (unsigned i = 0; i < spec_count; i++) {
        const struct key_spec *spec = &row->keys[i];
        struct key_run run = {0};
        if (spec->is_not_key) {
            continue;
        }
        enum run_result result = find_run(spec, args, count, &run);
        if (result == RUN_INVALID) {
            return -1;
        }
        if (result == RUN_NONE) {
            continue;
        }
        const struct key_spec *told = spec->refine != NULL ? spec->refine(args, count) : spec;
        for (int64_t at = run.first; at <= run.last; at += spec_step(spec)) {
            if (found < max) {
                out[found] = (struct key_position){.index = (uint32_t)at, .spec = told};
            }
            found++;
        }
    }
    return (int)found;
}
