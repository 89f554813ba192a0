/* From one to many: who gets a message, and when.
 *
 *     PUBLISH --> targets: the channel's topic, the topics of patterns that match
 *                   |
 *                   +-- at most FANOUT_DIRECT_MAX receivers: served here, then the reply
 *                   '-- more: the publisher is suspended; a job serves them in slices, then replies
 *
 * A delivery is a reference in the receiver's output and a place on the list of connections that
 * have something to send: some 100 ns, most of them cache misses, which are hidden by asking for
 * the receivers ahead. Sending is the kernel's work and some twenty times as much; net/flush.c
 * bounds how much of it falls into one turn.
 *
 * Order. Fan-outs are served one after the other, and while one is under way every further PUBLISH
 * waits behind it, be it ever so small: all receivers see messages in the same order. A publisher
 * is answered when everybody was served. Who subscribes meanwhile may get the message, who
 * unsubscribes may miss it, as if that had happened just before. Messages that cannot wait (events
 * of keys, and PUBLISH inside EXEC or a script, which must answer at once) are served directly,
 * however many.
 *
 * Memory. A waiting fan-out holds a copy of its message, or a reference to a long payload; there
 * are never more of them than publishers. When a message cannot be encoded for want of memory,
 * PUBLISH says so and nobody who needed that encoding gets it. */
#include "pubsub/pubsub_internal.h"

#include "base/assert.h"
#include "base/glob.h"
#include "base/mem.h"
#include "base/prefetch.h"

/* Payloads from here on are referred to as they were received. That costs each receiver a chunk for
 * what stands around them, and saves a copy. */
#ifdef OURO_HOSTILE
enum { PAYLOAD_REFER_MIN = 2 * BLOB_LEN_MIN };
#else
enum { PAYLOAD_REFER_MIN = 1024 * 1024 };
#endif

/* How far ahead the parts of a receiver are asked for: each is found through the one before. */
enum { AHEAD_SUBSCRIPTION = 12, AHEAD_SUBSCRIBER = 9, AHEAD_SESSION = 6, AHEAD_OUTPUT = 3 };

/* A fan-out under way. */
struct fanout {
    struct list link;
    struct session *session; /* The publisher; NULL: it has gone. */
    struct message message;  /* To the target being served; the slices are of `bytes`. */
    uint64_t sent;
    bool is_failed;
    uint32_t target_count, target_at;
    struct topic **targets; /* Held. */
    char bytes[];           /* Channel and payload. */
};

/* ---- Delivery ---- */

static void look_ahead(const struct topic *topic, uint32_t at)
{
    if (topic->cap == 0) {
        return;
    }
    if (at + AHEAD_SUBSCRIPTION < topic->count) {
        prefetch(topic->many[at + AHEAD_SUBSCRIPTION]);
    }
    if (at + AHEAD_SUBSCRIBER < topic->count) {
        prefetch(topic->many[at + AHEAD_SUBSCRIBER]->subscriber);
    }
    if (at + AHEAD_SESSION < topic->count) {
        prefetch(topic->many[at + AHEAD_SESSION]->subscriber->session);
    }
    if (at + AHEAD_OUTPUT < topic->count) {
        const struct session *session = topic->many[at + AHEAD_OUTPUT]->subscriber->session;
        if (session != NULL) {
            prefetch(session->out);
            prefetch((const char *)session->out + 64);
        }
    }
}

static bool deliver(struct message *message, struct session *session)
{
    return message_write(message, session);
}

/* What became of some deliveries. */
struct outcome {
    uint64_t sent;
    bool is_failed; /* Memory did not suffice for an encoding. */
};

static void serve(const struct topic *topic, uint32_t from, uint32_t end, struct message *message,
                  struct outcome *outcome)
{
    for (uint32_t i = from; i < end; i++) {
        look_ahead(topic, i);
        struct session *session = topic_at(topic, i)->subscriber->session;
        if (session == NULL) {
            continue;
        }
        if (deliver(message, session)) {
            outcome->sent++;
        } else {
            outcome->is_failed = true;
        }
    }
}

/* Everybody at once. */
static void serve_topic(const struct topic *topic, const struct message *like,
                        struct outcome *outcome)
{
    struct message message = *like;
    if (topic->kind == TOPIC_PATTERN) {
        message.pattern = topic_name(topic);
    }
    serve(topic, 0, topic->count, &message, outcome);
    message_deinit(&message);
}

static void serve_patterns(const struct pubsub *pubsub, const struct message *message,
                           struct outcome *outcome)
{
    struct table_iterator iterator;
    const struct topic *topic;
    table_iterate(&pubsub->topics[TOPIC_PATTERN], &iterator);
    while ((topic = table_next(&iterator)) != NULL) {
        if (glob_match(topic_name(topic), message->channel)) {
            serve_topic(topic, message, outcome);
        }
    }
}

static struct outcome serve_all(struct pubsub *pubsub, const struct topic *topic,
                                const struct message *message)
{
    struct outcome outcome = {0};
    if (topic != NULL) {
        serve_topic(topic, message, &outcome);
    }
    if (!message->is_shard && table_count(&pubsub->topics[TOPIC_PATTERN]) != 0) {
        serve_patterns(pubsub, message, &outcome);
    }
    return outcome;
}

uint64_t pubsub_publish(struct pubsub *pubsub, struct slice channel, struct slice payload)
{
    struct message message = {.channel = channel, .payload = payload};
    return serve_all(pubsub, topic_find(pubsub, TOPIC_CHANNEL, channel), &message).sent;
}

/* ---- Fan-outs in slices ---- */

static void answer(struct reply *out, uint64_t sent, bool is_failed)
{
    if (is_failed) {
        reply_error(out, ERR_NO_MEMORY);
    } else {
        reply_integer(out, (int64_t)sent);
    }
}

static void fanout_free(struct pubsub *pubsub, struct fanout *fanout)
{
    list_remove(&fanout->link);
    message_deinit(&fanout->message);
    if (fanout->message.long_payload != NULL) {
        blob_drop(fanout->message.long_payload); /* Ours: see fanout_begin. */
    }
    for (uint32_t i = fanout->target_at; i < fanout->target_count; i++) {
        topic_release(pubsub, fanout->targets[i]);
    }
    mem_free(fanout->targets);
    mem_free(fanout);
}

static void fanout_finish(struct pubsub *pubsub, struct fanout *fanout)
{
    struct session *session = fanout->session;
    if (session != NULL) {
        answer(session->out, fanout->sent, fanout->is_failed);
        session_resume(session);
    }
    fanout_free(pubsub, fanout);
}

/* Serves a slice of the current target. */
static void fanout_serve(struct pubsub *pubsub, struct fanout *fanout)
{
    struct topic *topic = fanout->targets[fanout->target_at];
    if (pubsub->passing == NULL) {
        pubsub->passing = topic;
        pubsub->passed = 0;
        fanout->message.pattern =
            topic->kind == TOPIC_PATTERN ? topic_name(topic) : slice_of(NULL, 0);
    }
    uint32_t left = topic->count - pubsub->passed;
    uint32_t end = pubsub->passed + (left < FANOUT_STEP ? left : FANOUT_STEP);
    struct outcome outcome = {0};
    serve(topic, pubsub->passed, end, &fanout->message, &outcome);
    fanout->sent += outcome.sent;
    fanout->is_failed |= outcome.is_failed;
    pubsub->passed = end;
    if (end == topic->count) {
        pubsub->passing = NULL;
        message_deinit(&fanout->message);
        fanout->target_at++;
        topic_release(pubsub, topic);
    }
}

static bool fanout_step(struct work_job *job)
{
    struct pubsub *pubsub = LIST_OWNER(job, struct pubsub, fanout_job);
    struct fanout *fanout = LIST_OWNER(pubsub->fanouts.next, struct fanout, link);
    if (fanout->target_at < fanout->target_count) {
        fanout_serve(pubsub, fanout);
    }
    if (fanout->target_at == fanout->target_count) {
        fanout_finish(pubsub, fanout);
    }
    return list_is_empty(&pubsub->fanouts);
}

/* The publisher has gone; its message stays under way. */
static void fanout_on_cancel(struct session *session, void *context)
{
    struct fanout *fanout = context;
    (void)session;
    fanout->session = NULL;
}

static void add_target(struct fanout *fanout, struct topic *topic)
{
    uint32_t count = fanout->target_count;
    if ((count & (count - 1)) == 0) { /* Full: room grows by powers of two. */
        size_t cap = count == 0 ? 1 : (size_t)count * 2;
        fanout->targets = mem_realloc(fanout->targets, cap * sizeof(struct topic *));
    }
    fanout->targets[fanout->target_count++] = topic;
    topic_hold(topic);
}

static void find_targets(struct pubsub *pubsub, struct fanout *fanout, struct topic *topic)
{
    if (topic != NULL) {
        add_target(fanout, topic);
    }
    if (fanout->message.is_shard) {
        return;
    }
    struct table_iterator iterator;
    struct topic *pattern;
    table_iterate(&pubsub->topics[TOPIC_PATTERN], &iterator);
    while ((pattern = table_next(&iterator)) != NULL) {
        if (glob_match(topic_name(pattern), fanout->message.channel)) {
            add_target(fanout, pattern);
        }
    }
}

/* Suspends the publisher and leaves the rest to the job, and the reference to a long payload. */
static void fanout_begin(struct call *call, struct topic *topic, struct message *message)
{
    struct pubsub *pubsub = call->family;
    bool is_long = message->long_payload != NULL;
    size_t len = message->channel.len + (is_long ? 0 : message->payload.len);
    struct fanout *fanout = mem_try_alloc(sizeof(*fanout) + len);
    if (fanout == NULL) {
        if (is_long) {
            blob_drop(message->long_payload);
        }
        reply_error(call->out, ERR_NO_MEMORY);
        return;
    }
    *fanout = (struct fanout){.session = call->session, .message = *message};
    memcpy(fanout->bytes, message->channel.data, message->channel.len);
    fanout->message.channel = slice_of(fanout->bytes, message->channel.len);
    if (!is_long) {
        char *payload = fanout->bytes + message->channel.len;
        memcpy(payload, message->payload.data, message->payload.len);
        fanout->message.payload = slice_of(payload, message->payload.len);
    }
    find_targets(pubsub, fanout, topic);
    if (list_is_empty(&pubsub->fanouts)) {
        work_add(exec_work(pubsub->exec), &pubsub->fanout_job, fanout_step);
    }
    list_push_back(&pubsub->fanouts, &fanout->link);
    session_suspend(call->session, fanout_on_cancel, fanout);
}

/* At most so many receivers, without matching the patterns. */
static size_t receivers_max(const struct pubsub *pubsub, const struct topic *topic, bool is_shard)
{
    return (topic != NULL ? topic->count : 0) + (is_shard ? 0 : pubsub->pattern_subscriptions);
}

void fanout_publish(struct call *call, bool is_shard)
{
    struct pubsub *pubsub = call->family;
    struct message message = {
        .channel = call->args.at[1], .payload = call->args.at[2], .is_shard = is_shard};
    struct topic *topic =
        topic_find(pubsub, is_shard ? TOPIC_SHARD : TOPIC_CHANNEL, message.channel);
    size_t count_max = receivers_max(pubsub, topic, is_shard);
    call_effect(call, call->args.at, call->args.count);
    bool is_long = count_max > 0 && message.payload.len >= PAYLOAD_REFER_MIN;
    message.long_payload = is_long ? call_take_blob(call, 2) : NULL;
    bool may_wait = !call->is_inner && call->session->ops != NULL;
    if (may_wait &&
        (count_max > FANOUT_DIRECT_MAX || (count_max > 0 && !list_is_empty(&pubsub->fanouts)))) {
        fanout_begin(call, topic, &message);
        return;
    }
    struct outcome outcome = serve_all(pubsub, topic, &message);
    if (message.long_payload != NULL) {
        blob_drop(message.long_payload);
    }
    answer(call->out, outcome.sent, outcome.is_failed);
}

void fanouts_init(struct pubsub *pubsub)
{
    list_init(&pubsub->fanouts);
    list_init(&pubsub->fanout_job.link);
}

void fanouts_deinit(struct pubsub *pubsub)
{
    while (!list_is_empty(&pubsub->fanouts)) {
        fanout_free(pubsub, LIST_OWNER(pubsub->fanouts.next, struct fanout, link));
    }
    work_cancel(exec_work(pubsub->exec), &pubsub->fanout_job);
}
