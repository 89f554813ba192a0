/* SUBSCRIBE and PUBLISH, and the mode in which RESP2 subscribers are.
 *
 * In RESP2 a message looks like a reply, so a connection that is subscribed to anything may say
 * nothing but what concerns subscriptions, PING, QUIT and RESET: GATE_PUBSUB, which is set on
 * every session that is subscribed and lets RESP3 pass. In RESP3 messages are pushes, and the
 * connection goes on as before; when it falls back to RESP2 by HELLO it finds itself in the mode.
 *
 * Each channel named is confirmed on its own, with the number of channels and patterns (or of shard
 * channels) that the session is subscribed to by then. A confirmation is written also while CLIENT
 * REPLY mutes replies, as messages are.
 *
 * UNSUBSCRIBE without a name ends all subscriptions of its kind. When these are many, the session
 * is suspended and they end in slices. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "pubsub/pubsub_internal.h"

static const char *const subscribed_words[TOPIC_KIND_COUNT] = {"subscribe", "psubscribe",
                                                               "ssubscribe"};
static const char *const unsubscribed_words[TOPIC_KIND_COUNT] = {"unsubscribe", "punsubscribe",
                                                                 "sunsubscribe"};

/* ---- Confirmations ---- */

/* `name` NULL: null. */
static void confirm(struct session *session, const char *word, enum topic_kind kind,
                    const struct slice *name)
{
    struct reply *out = session->out;
    out->is_muted = false; /* exec_run puts it back. */
    reply_push(out, 3);
    reply_bulk_text(out, word);
    if (name != NULL) {
        reply_bulk(out, *name);
    } else {
        reply_null(out);
    }
    bool is_shard = kind == TOPIC_SHARD;
    reply_integer(out, is_shard ? session->shard_channel_count
                                : (int64_t)session->channel_count + session->pattern_count);
}

/* ---- Commands ---- */

/* Clients that expect one reply per command (scripts) may not; inside EXEC, SUBSCRIBE may, for
 * nobody ever forbade it. */
static bool is_denied(struct call *call, enum topic_kind kind)
{
    bool is_script = (call->session->flags & SESSION_INTERNAL) != 0;
    if (!is_script && (kind != TOPIC_SHARD || !call->is_inner)) {
        return false;
    }
    static const char *const names[] = {"SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"};
    reply_errorf(call->out, "ERR %s isn't allowed for a DENY BLOCKING client", names[kind]);
    return true;
}

static void subscribe(struct call *call, enum topic_kind kind)
{
    if (is_denied(call, kind)) {
        return;
    }
    for (uint32_t i = 1; i < call->args.count; i++) {
        struct slice name = call->args.at[i];
        if (topic_subscribe(call->family, call->session, kind, name) == TOPIC_NO_MEMORY) {
            reply_error(call->out, ERR_NO_MEMORY);
        } else {
            confirm(call->session, subscribed_words[kind], kind, &name);
        }
    }
}

/* Ends the oldest subscription of a kind and says so. */
static void unsubscribe_first(struct pubsub *pubsub, struct session *session, enum topic_kind kind)
{
    struct subscription *subscription = subscriber_first(session, kind);
    struct topic *topic = subscription->topic;
    topic_hold(topic); /* For its name. */
    subscription_end(pubsub, subscription);
    struct slice name = topic_name(topic);
    confirm(session, unsubscribed_words[kind], kind, &name);
    topic_release(pubsub, topic);
}

/* UNSUBSCRIBE of everything, in slices. */
struct unsubscribing {
    struct work_job job;
    struct pubsub *pubsub;
    struct session *session;
    enum topic_kind kind;
};

static bool unsubscribing_step(struct work_job *job)
{
    struct unsubscribing *all = LIST_OWNER(job, struct unsubscribing, job);
    struct session *session = all->session;
    for (int i = 0; i < DISMANTLE_STEP; i++) {
        if (subscriber_first(session, all->kind) == NULL) {
            mem_free_sized(all, sizeof(*all));
            session->out->is_muted =
                (session->flags & (SESSION_REPLY_OFF | SESSION_REPLY_SKIP)) != 0;
            session_resume(session);
            return true;
        }
        unsubscribe_first(all->pubsub, session, all->kind);
    }
    return false;
}

static void unsubscribing_on_cancel(struct session *session, void *context)
{
    struct unsubscribing *all = context;
    (void)session;
    work_cancel(exec_work(all->pubsub->exec), &all->job);
    mem_free_sized(all, sizeof(*all));
}

static void unsubscribe_all(struct call *call, enum topic_kind kind)
{
    struct session *session = call->session;
    struct pubsub *pubsub = call->family;
    if (subscriber_first(session, kind) == NULL) {
        confirm(session, unsubscribed_words[kind], kind, NULL);
        return;
    }
    bool may_wait = !call->is_inner && session->ops != NULL;
    if (may_wait && *session_count_of(session, kind) > DISMANTLE_DIRECT) {
        struct unsubscribing *all = mem_alloc(sizeof(*all));
        *all = (struct unsubscribing){.pubsub = pubsub, .session = session, .kind = kind};
        list_init(&all->job.link);
        work_add(exec_work(pubsub->exec), &all->job, unsubscribing_step);
        session_suspend(session, unsubscribing_on_cancel, all);
        return;
    }
    while (subscriber_first(session, kind) != NULL) {
        unsubscribe_first(pubsub, session, kind);
    }
}

static void unsubscribe(struct call *call, enum topic_kind kind)
{
    if (call->args.count == 1) {
        unsubscribe_all(call, kind);
        return;
    }
    for (uint32_t i = 1; i < call->args.count; i++) {
        struct slice name = call->args.at[i];
        topic_unsubscribe(call->family, call->session, kind, name);
        confirm(call->session, unsubscribed_words[kind], kind, &name);
    }
}

static void subscribe_run(struct call *call)
{
    subscribe(call, TOPIC_CHANNEL);
}

static void psubscribe_run(struct call *call)
{
    subscribe(call, TOPIC_PATTERN);
}

static void ssubscribe_run(struct call *call)
{
    subscribe(call, TOPIC_SHARD);
}

static void unsubscribe_run(struct call *call)
{
    unsubscribe(call, TOPIC_CHANNEL);
}

static void punsubscribe_run(struct call *call)
{
    unsubscribe(call, TOPIC_PATTERN);
}

static void sunsubscribe_run(struct call *call)
{
    unsubscribe(call, TOPIC_SHARD);
}

static void publish_run(struct call *call)
{
    fanout_publish(call, false);
}

static void spublish_run(struct call *call)
{
    fanout_publish(call, true);
}

/* ---- Seams ---- */

/* What RESP2 subscribers may say. */
static bool is_allowed(const struct call *call)
{
    command_run_fn run = call->entry->run;
    if (run == subscribe_run || run == unsubscribe_run || run == psubscribe_run ||
        run == punsubscribe_run || run == ssubscribe_run || run == sunsubscribe_run) {
        return true;
    }
    const char *name = call->entry->full_name;
    return strcmp(name, "ping") == 0 || strcmp(name, "quit") == 0 || strcmp(name, "reset") == 0;
}

static enum gate_result on_gate(void *context, struct call *call)
{
    (void)context;
    if (call->out->protocol == 3 || is_allowed(call)) {
        return GATE_PASS;
    }
    char text[256];
    snprintf(text, sizeof(text),
             "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET "
             "are allowed in this context",
             call->entry->full_name);
    call_refuse(call, text);
    return GATE_REFUSED;
}

static void on_session_end(void *context, struct session *session)
{
    subscriber_end(context, session);
}

/* ---- Life ---- */

struct pubsub *pubsub_new(struct exec *exec, uint64_t hash_seed)
{
    struct pubsub *pubsub = mem_zalloc(sizeof(*pubsub));
    pubsub->exec = exec;
    pubsub->seed = hash_seed;
    buf_init(&pubsub->text);
    topics_init(pubsub);
    fanouts_init(pubsub);
    exec_set_gate(exec, GATE_PUBSUB, on_gate, pubsub);
    exec_add_close_hook(exec, on_session_end, pubsub);
    exec_add_reset_hook(exec, on_session_end, pubsub);
    notify_init(pubsub);
    return pubsub;
}

void pubsub_free(struct pubsub *pubsub)
{
    fanouts_deinit(pubsub);
    topics_deinit(pubsub);
    buf_deinit(&pubsub->text);
    mem_free_sized(pubsub, sizeof(*pubsub));
}

void pubsub_register(struct exec *exec, struct pubsub *pubsub)
{
    pubsub_register_subscribe(exec, pubsub);
    pubsub_register_introspect(exec, pubsub);
}

enum { LISTEN_FLAGS = CMD_PUBSUB | CMD_NO_SCRIPT | CMD_LOADING | CMD_STALE };

static const struct command subscribe_rows[] = {
    {.name = "subscribe",
     .run = subscribe_run,
     .arity = -2,
     .flags = LISTEN_FLAGS,
     .since = "2.0.0",
     .group = "pubsub",
     .summary = "Listens to channels.",
     .complexity = "O(N) where N is the number of channels",
     .syntax = "channel..."},
    {.name = "unsubscribe",
     .run = unsubscribe_run,
     .arity = -1,
     .flags = LISTEN_FLAGS,
     .since = "2.0.0",
     .group = "pubsub",
     .summary = "Listens to channels no more, to none when none is named.",
     .complexity = "O(N) where N is the number of channels",
     .syntax = "[channel]..."},
    {.name = "psubscribe",
     .run = psubscribe_run,
     .arity = -2,
     .flags = LISTEN_FLAGS,
     .since = "2.0.0",
     .group = "pubsub",
     .summary = "Listens to all channels that match patterns.",
     .complexity = "O(N) where N is the number of patterns",
     .syntax = "(pattern: pattern:pattern)..."},
    {.name = "punsubscribe",
     .run = punsubscribe_run,
     .arity = -1,
     .flags = LISTEN_FLAGS,
     .since = "2.0.0",
     .group = "pubsub",
     .summary = "Listens to patterns no more, to none when none is named.",
     .complexity = "O(N) where N is the number of patterns",
     .syntax = "[pattern:pattern]..."},
    {.name = "publish",
     .run = publish_run,
     .arity = 3,
     .flags = CMD_PUBSUB | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_MAY_REPLICATE,
     .since = "2.0.0",
     .group = "pubsub",
     .summary = "Sends a message to all who listen to a channel.",
     .complexity = "O(N+M) where N is the number of receivers and M that of all patterns",
     .syntax = "channel message"},
    {.name = "ssubscribe",
     .run = ssubscribe_run,
     .arity = -2,
     .flags = LISTEN_FLAGS,
     .keys = {{.first = 1, .last = -1, .is_not_key = true}},
     .since = "7.0.0",
     .group = "pubsub",
     .summary = "Listens to shard channels.",
     .complexity = "O(N) where N is the number of shard channels",
     .syntax = "shardchannel..."},
    {.name = "sunsubscribe",
     .run = sunsubscribe_run,
     .arity = -1,
     .flags = LISTEN_FLAGS,
     .keys = {{.first = 1, .last = -1, .is_not_key = true}},
     .since = "7.0.0",
     .group = "pubsub",
     .summary = "Listens to shard channels no more, to none when none is named.",
     .complexity = "O(N) where N is the number of shard channels",
     .syntax = "[shardchannel]..."},
    {.name = "spublish",
     .run = spublish_run,
     .arity = 3,
     .flags = CMD_PUBSUB | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_MAY_REPLICATE,
     .keys = {{.first = 1, .is_not_key = true}},
     .since = "7.0.0",
     .group = "pubsub",
     .summary = "Sends a message to all who listen to a shard channel.",
     .complexity = "O(N) where N is the number of receivers",
     .syntax = "shardchannel message"},
};

void pubsub_register_subscribe(struct exec *exec, struct pubsub *pubsub)
{
    exec_register(exec, subscribe_rows, sizeof(subscribe_rows) / sizeof(subscribe_rows[0]), pubsub);
}
