/* Walks over the keys of a database: KEYS and SCAN.
 *
 * A small walk is done at once. A long one, KEYS in a large database or SCAN with a large COUNT,
 * suspends its session and becomes a job: each slice visits some keys, appends those that match to
 * a reply of its own, and leaves the cursor where it got to. When the walk is over the header with
 * the count is written and the collected reply is linked behind it in O(1):
 *
 *     session.out:  ... | *7 |  <-- spliced --  walk.found: [$3 foo $3 bar ...] -> [chunk] -> ...
 *
 * The cursor is a position in the order of hashes, so other commands may do anything to the
 * database between slices, empty or swap it included; keys that are there throughout are told
 * exactly once.
 *
 * Costs. About 100 ns per key, most of it one cache miss, plus the pattern's match; a slice ends
 * within LATER_SLICE_US plus the time of WALK_STEP keys. The memory of the reply is that of its
 * bytes.
 *
 * Rejected: a snapshot of the keys at the start, which Redis's KEYS gives by standing still. A
 * client cannot tell the two apart unless it writes and lists at the same time. */
#include "base/clock.h"
#include "base/glob.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/work.h"
#include "commands/commands.h"
#include "commands/later.h"
#include "commands/scan.h"

enum {
#ifdef OURO_HOSTILE
    WALK_DIRECT_MAX = 4,
    WALK_STEP = 1,
#else
    WALK_DIRECT_MAX = 1000, /* Keys that are visited at once. */
    WALK_STEP = 64,         /* Keys between two looks at the clock. */
#endif
};

/* A walk: its plan, and how far it got. */
struct walk {
    struct db *db;
    uint64_t cursor;
    size_t remaining; /* Keys still to visit. */
    size_t visited;   /* In the step at hand. */
    bool is_scan;
    bool has_pattern;
    struct slice pattern;
    const char *kind_name; /* Keys of this kind only; NULL: of any. "" is none. */
    struct reply found;
    size_t found_count;
};

/* A walk that answers later, with a copy of its pattern behind it. */
struct walk_job {
    struct work_job job;
    struct session *session;
    struct exec *exec;
    struct walk walk;
    size_t size;
    char pattern[];
};

static void walk_on_key(void *context, struct slice key, const struct value *value)
{
    struct walk *walk = context;
    walk->visited++;
    if (walk->kind_name != NULL &&
        strcmp(walk->kind_name, value_kind_name(value_kind(value))) != 0) {
        return;
    }
    if (walk->has_pattern && !glob_match(walk->pattern, key)) {
        return;
    }
    reply_bulk(&walk->found, key);
    walk->found_count++;
}

/* Visits about `count` keys. True: the walk is over. A step counts as one key at least, so that a
 * sparse database ends a SCAN too. */
static bool walk_step(struct walk *walk, size_t count, int64_t now_ms)
{
    walk->visited = 0;
    walk->cursor = db_scan(walk->db, walk->cursor, count, now_ms, walk_on_key, walk);
    size_t done = walk->visited > 0 ? walk->visited : 1;
    walk->remaining -= done < walk->remaining ? done : walk->remaining;
    return walk->cursor == 0 || walk->remaining == 0;
}

static void walk_reply(struct walk *walk, struct reply *out)
{
    if (walk->is_scan) {
        char digits[NUM_I64_TEXT_MAX + 1];
        reply_array(out, 2);
        reply_bulk(out, slice_of(digits, num_format_u64(digits, walk->cursor)));
    }
    reply_array(out, walk->found_count);
    reply_splice(out, &walk->found);
}

/* ---- Later ---- */

static void walk_job_free(struct walk_job *job)
{
    reply_deinit(&job->walk.found);
    mem_free_sized(job, job->size);
}

static void walk_job_on_cancel(struct session *session, void *context)
{
    struct walk_job *job = context;
    (void)session;
    work_cancel(exec_work(job->exec), &job->job);
    walk_job_free(job);
}

static bool walk_job_on_step(struct work_job *work_job)
{
    struct walk_job *job = LIST_OWNER(work_job, struct walk_job, job);
    int64_t deadline_us = clock_mono_us() + LATER_SLICE_US;
    do {
        if (walk_step(&job->walk, WALK_STEP, exec_now(job->exec)->wall_ms)) {
            walk_reply(&job->walk, job->session->out);
            session_resume(job->session);
            walk_job_free(job);
            return true;
        }
    } while (clock_mono_us() < deadline_us);
    return false;
}

static void walk_later(struct call *call, const struct walk *walk)
{
    size_t size = sizeof(struct walk_job) + walk->pattern.len;
    struct walk_job *job = mem_try_alloc(size);
    if (job == NULL) {
        reply_error(call->out, ERR_NO_MEMORY);
        return;
    }
    *job = (struct walk_job){
        .session = call->session, .exec = call->exec, .walk = *walk, .size = size};
    list_init(&job->job.link);
    if (walk->pattern.len > 0) {
        memcpy(job->pattern, walk->pattern.data, walk->pattern.len);
    }
    job->walk.pattern = slice_of(job->pattern, walk->pattern.len);
    session_suspend(call->session, walk_job_on_cancel, job);
    work_add(exec_work(call->exec), &job->job, walk_job_on_step);
}

static void walk_run(struct call *call, struct walk *walk)
{
    if (call->out->is_muted) {
        return; /* Nobody hears the answer, and nothing is changed. */
    }
    reply_init(&walk->found, call->out->pool);
    walk->found.protocol = call->out->protocol;
    size_t count = walk->remaining < db_count(walk->db) ? walk->remaining : db_count(walk->db);
    if (count > WALK_DIRECT_MAX && call_may_answer_later(call)) {
        walk_later(call, walk);
        return;
    }
    bool is_over;
    do {
        is_over = walk_step(walk, walk->remaining, call->now->wall_ms);
    } while (!is_over && !walk->is_scan);
    walk_reply(walk, call->out);
}

/* ---- Commands ---- */

static void walk_set_pattern(struct walk *walk, struct slice pattern)
{
    walk->has_pattern = !slice_equal(pattern, slice_of("*", 1));
    walk->pattern = pattern;
}

/* KEYS pattern */
static void keys_run(struct call *call)
{
    struct walk walk = {.db = call->db, .remaining = SIZE_MAX};
    walk_set_pattern(&walk, call->args.at[1]);
    walk_run(call, &walk);
}

/* The name of a kind as value_kind_name gives it, "" when there is no such kind. */
static const char *scan_kind_name(struct slice text)
{
    for (unsigned kind = 0; kind < VALUE_KIND_COUNT; kind++) {
        const char *name = value_kind_name((enum value_kind)kind);
        if (slice_is(text, name)) {
            return name;
        }
    }
    return "";
}

static bool scan_take_option(struct call *call, uint32_t index, struct walk *walk)
{
    struct slice word = call->args.at[index];
    if (index + 1 >= call->args.count) {
        reply_error(call->out, ERR_SYNTAX);
        return false;
    }
    if (slice_is(word, "COUNT")) {
        int64_t count;
        if (!call_i64(call, index + 1, &count, NULL)) {
            return false;
        }
        if (count < 1) {
            reply_error(call->out, ERR_SYNTAX);
            return false;
        }
        walk->remaining = (size_t)count;
    } else if (slice_is(word, "MATCH")) {
        walk_set_pattern(walk, call->args.at[index + 1]);
    } else if (slice_is(word, "TYPE")) {
        walk->kind_name = scan_kind_name(call->args.at[index + 1]);
    } else {
        reply_error(call->out, ERR_SYNTAX);
        return false;
    }
    return true;
}

/* SCAN cursor [MATCH pattern] [COUNT count] [TYPE type] */
static void scan_run(struct call *call)
{
    struct walk walk = {.db = call->db, .remaining = SCAN_COUNT, .is_scan = true};
    if (!scan_cursor(call, 1, &walk.cursor)) {
        return;
    }
    for (uint32_t i = 2; i < call->args.count; i += 2) {
        if (!scan_take_option(call, i, &walk)) {
            return;
        }
    }
    walk_run(call, &walk);
}

static const struct command keys_walk_rows[] = {
    {.name = "keys",
     .run = keys_run,
     .arity = 2,
     .flags = CMD_READONLY,
     .categories = ACL_KEYSPACE | ACL_DANGEROUS,
     .since = "1.0.0",
     .group = "generic",
     .complexity = "O(N) where N is the number of keys in the database.",
     .summary = "Returns all keys that match a pattern; other clients go on meanwhile.",
     .syntax = "pattern:pattern",
     .tips = "request_policy:all_shards nondeterministic_output_order"},
    {.name = "scan",
     .run = scan_run,
     .arity = -2,
     .flags = CMD_READONLY,
     .categories = ACL_KEYSPACE,
     .since = "2.8.0",
     .group = "generic",
     .complexity = "O(COUNT) for a call, O(N) for all the calls that visit N keys.",
     .summary = "Visits the keys of the database step by step.",
     .syntax = "cursor:integer [MATCH pattern:pattern] [COUNT count:integer] [TYPE type]@6.0.0",
     .tips = "nondeterministic_output request_policy:special",
     .history = "6.0.0 Added the `TYPE` subcommand."},
};

void commands_register_keys_walk(struct exec *exec)
{
    exec_register(exec, keys_walk_rows, sizeof(keys_walk_rows) / sizeof(keys_walk_rows[0]), NULL);
}
