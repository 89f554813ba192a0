/* PUBSUB: who listens to what, in numbers. CHANNELS of many topics is a walk in slices: the session
 * is suspended until it is done, and gets its array then. */
#include "base/glob.h"
#include "base/mem.h"
#include "exec/sliced.h"
#include "pubsub/pubsub_internal.h"

/* ---- CHANNELS ---- */

/* A walk over the topics of a kind. */
struct listing {
    struct work_job job;
    struct pubsub *pubsub;
    struct session *session;
    struct reply *out;
    uint64_t cursor;
    size_t count; /* Names told. */
    struct reply_mark mark;
    enum topic_kind kind;
    bool has_pattern;
    size_t pattern_len;
    char pattern[];
};

static void listing_visit(void *context, void *entry)
{
    struct listing *listing = context;
    const struct topic *topic = entry;
    struct slice pattern = slice_of(listing->pattern, listing->pattern_len);
    if (topic_live_count(listing->pubsub, topic) == 0 ||
        (listing->has_pattern && !glob_match(pattern, topic_name(topic)))) {
        return;
    }
    reply_bulk(listing->out, topic_name(topic));
    listing->count++;
}

/* Looks at some topics. Returns true at the end. */
static bool listing_walk(struct listing *listing)
{
    const struct table_walk walk = {.visit = listing_visit,
                                    .context = listing,
                                    .entries_max = WALK_STEP,
                                    .buckets_max = WALK_STEP};
    listing->cursor = table_scan(&listing->pubsub->topics[listing->kind], listing->cursor, &walk);
    return listing->cursor == 0;
}

static bool listing_step(struct work_job *job)
{
    struct listing *listing = LIST_OWNER(job, struct listing, job);
    if (!listing_walk(listing)) {
        return false;
    }
    struct session *session = listing->session;
    reply_array(session->out, listing->count);
    reply_splice(session->out, listing->out);
    mem_free(listing->out);
    mem_free(listing);
    session_resume(session);
    return true;
}

static void listing_on_cancel(struct session *session, void *context)
{
    struct listing *listing = context;
    (void)session;
    work_cancel(exec_work(listing->pubsub->exec), &listing->job);
    reply_deinit(listing->out);
    mem_free(listing->out);
    mem_free(listing);
}

/* Goes on later: messages may come to the session meanwhile, so names gather in a reply apart. */
static void listing_suspend(struct call *call, struct listing *listing)
{
    listing->out = mem_alloc(sizeof(*listing->out));
    reply_init(listing->out, call->out->pool);
    listing->out->protocol = call->out->protocol;
    listing->out->is_muted = call->out->is_muted;
    list_init(&listing->job.link);
    work_add(exec_work(call->exec), &listing->job, listing_step);
    session_suspend(call->session, listing_on_cancel, listing);
}

static void list_topics(struct call *call, enum topic_kind kind)
{
    struct pubsub *pubsub = call->family;
    if (call->args.count > 3) {
        call_subcommand_syntax_error(call);
        return;
    }
    bool has_pattern = call->args.count == 3;
    size_t pattern_len = has_pattern ? call->args.at[2].len : 0;
    struct listing *listing = mem_try_alloc(sizeof(*listing) + pattern_len);
    if (listing == NULL) {
        reply_error(call->out, ERR_NO_MEMORY);
        return;
    }
    *listing = (struct listing){.pubsub = pubsub,
                                .session = call->session,
                                .out = call->out,
                                .kind = kind,
                                .has_pattern = has_pattern,
                                .pattern_len = pattern_len};
    if (has_pattern) {
        memcpy(listing->pattern, call->args.at[2].data, pattern_len);
    }
    bool may_wait = !call->is_inner && call->session->ops != NULL;
    if (may_wait && table_count(&pubsub->topics[kind]) > WALK_STEP) {
        listing_suspend(call, listing);
        return;
    }
    reply_begin(call->out, &listing->mark, '*');
    while (!listing_walk(listing)) {
    }
    reply_end(call->out, &listing->mark, listing->count);
    mem_free(listing);
}

static void channels_run(struct call *call)
{
    list_topics(call, TOPIC_CHANNEL);
}

static void shardchannels_run(struct call *call)
{
    list_topics(call, TOPIC_SHARD);
}

/* ---- Numbers ---- */

static void count_topics(struct call *call, enum topic_kind kind)
{
    struct pubsub *pubsub = call->family;
    if (call_slice_bare(call, call->args.count)) {
        return;
    }
    reply_array(call->out, (call->args.count - 2) * 2);
    for (uint32_t i = 2; i < call->args.count; i++) {
        struct slice name = call->args.at[i];
        reply_bulk(call->out, name);
        reply_integer(call->out, topic_live_count(pubsub, topic_find(pubsub, kind, name)));
        if (!call_yield_sending_at(call, i)) {
            return;
        }
    }
}

static void numsub_run(struct call *call)
{
    count_topics(call, TOPIC_CHANNEL);
}

static void shardnumsub_run(struct call *call)
{
    count_topics(call, TOPIC_SHARD);
}

static void numpat_run(struct call *call)
{
    reply_count(call->out, pubsub_counts(call->family).patterns);
}

static void help_run(struct call *call)
{
    static const char *const lines[] = {
        "CHANNELS [<pattern>]",
        "    Lists the channels that somebody listens to and that match <pattern> (default: '*').",
        "NUMPAT",
        "    Tells how many patterns somebody listens to.",
        "NUMSUB [<channel> ...]",
        "    Tells how many listen to each of these channels; patterns do not count.",
        "SHARDCHANNELS [<pattern>]",
        "    Lists the shard channels that somebody listens to and that match <pattern>.",
        "SHARDNUMSUB [<shardchannel> ...]",
        "    Tells how many listen to each of these shard channels.",
        NULL,
    };
    call_help(call, lines);
}

enum { ASK_FLAGS = CMD_PUBSUB | CMD_LOADING | CMD_STALE };

static const struct command pubsub_subcommands[] = {
    {.name = "channels",
     .run = channels_run,
     .arity = -2,
     .flags = ASK_FLAGS,
     .since = "2.8.0",
     .group = "pubsub",
     .summary = "Lists the channels that somebody listens to.",
     .complexity = "O(N) where N is the number of channels; many are walked in slices.",
     .syntax = "[pattern:pattern]"},
    {.name = "help",
     .run = help_run,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .since = "6.2.0",
     .group = "pubsub",
     .summary = "Lists the subcommands.",
     .complexity = "O(1)"},
    {.name = "numpat",
     .run = numpat_run,
     .arity = 2,
     .flags = ASK_FLAGS,
     .since = "2.8.0",
     .group = "pubsub",
     .summary = "Counts the patterns that somebody listens to.",
     .complexity = "O(1)"},
    {.name = "numsub",
     .run = numsub_run,
     .arity = -2,
     .flags = ASK_FLAGS,
     .since = "2.8.0",
     .group = "pubsub",
     .summary = "Counts who listens to each of some channels.",
     .complexity = "O(N) where N is the number of channels asked for",
     .syntax = "[channel]..."},
    {.name = "shardchannels",
     .run = shardchannels_run,
     .arity = -2,
     .flags = ASK_FLAGS,
     .since = "7.0.0",
     .group = "pubsub",
     .summary = "Lists the shard channels that somebody listens to.",
     .complexity = "O(N) where N is the number of shard channels; many are walked in slices.",
     .syntax = "[pattern:pattern]"},
    {.name = "shardnumsub",
     .run = shardnumsub_run,
     .arity = -2,
     .flags = ASK_FLAGS,
     .since = "7.0.0",
     .group = "pubsub",
     .summary = "Counts who listens to each of some shard channels.",
     .complexity = "O(N) where N is the number of shard channels asked for",
     .syntax = "[shardchannel]..."},
};

static const struct command pubsub_rows[] = {
    {.name = "pubsub",
     .arity = -2,
     .since = "2.8.0",
     .group = "pubsub",
     .summary = "Tells about channels and those who listen.",
     .complexity = "Depends on subcommand.",
     .subcommands = pubsub_subcommands,
     .subcommand_count = sizeof(pubsub_subcommands) / sizeof(pubsub_subcommands[0])},
};

void pubsub_register_introspect(struct exec *exec, struct pubsub *pubsub)
{
    exec_register(exec, pubsub_rows, sizeof(pubsub_rows) / sizeof(pubsub_rows[0]), pubsub);
}
