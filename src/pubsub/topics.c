/* Topics and subscriptions: who listens to what.
 *
 *     topics[kind]: table --> topic | count | cap | many | name |
 *                               many --> [subscription *] [subscription *] ...   in no order
 *
 *     subscription | link | topic | subscriber | index in many |  40 bytes
 *          ^            '--> the subscriber's list of this kind, oldest first
 *          '---- table of all subscriptions, by topic and subscriber
 *
 * A subscription costs 48 bytes for itself, 11 in the table that answers "is it there already?",
 * and 8 to 16 in its topic: about 70 bytes, whatever the names. A topic costs 28 bytes, its name
 * and 11; one with a single subscriber, as most have, has no array.
 *
 * SUBSCRIBE, UNSUBSCRIBE: O(1). Removal moves the last of `many` into the gap. A fan-out that is
 * under way goes through `many` from the front and tells nobody twice: see topic_remove.
 *
 * A session that closes with many subscriptions is taken apart in slices. Until it is done, its
 * subscriber has no session, so that it gets no message and is not counted: PUBSUB NUMSUB looks at
 * each subscriber while somebody is being dismantled.
 *
 * Invariants (pubsub_check):
 *   1. subscription->topic->many[topic_index] == subscription.
 *   2. A topic has subscriptions, or a fan-out holds it.
 *   3. A session has a subscriber exactly while it has subscriptions, and its three counts are the
 *      lengths of the lists.
 *
 * Rejected: a table per session and one per channel, as Redis has (three allocations and some 150
 * bytes per subscription); a list through the subscriptions of a topic (a fan-out cannot prefetch
 * what it has not reached). */
#include "pubsub/pubsub_internal.h"

#include <assert.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"

enum { MANY_FIRST = 4 };

static_assert(sizeof(struct subscription) <= 48, "about 70 bytes per subscription");

/* ---- Tables ---- */

static uint64_t topic_hash(const void *entry, const void *context)
{
    const struct topic *topic = entry;
    return hash_bytes(((const struct pubsub *)context)->seed, topic_name(topic));
}

static bool topic_is(const void *entry, const void *key)
{
    return slice_equal(topic_name(entry), *(const struct slice *)key);
}

/* The two that a subscription joins. */
struct subscription_key {
    const struct topic *topic;
    const struct subscriber *subscriber;
};

static uint64_t key_hash(const struct pubsub *pubsub, const struct subscription_key *key)
{
    return hash_bytes(pubsub->seed, slice_of(key, sizeof(*key)));
}

static uint64_t subscription_hash(const void *entry, const void *context)
{
    const struct subscription *subscription = entry;
    struct subscription_key key = {subscription->topic, subscription->subscriber};
    return key_hash(context, &key);
}

static bool subscription_is(const void *entry, const void *key)
{
    const struct subscription *subscription = entry;
    const struct subscription_key *wanted = key;
    return subscription->topic == wanted->topic && subscription->subscriber == wanted->subscriber;
}

void topics_init(struct pubsub *pubsub)
{
    pubsub->topic_kind = (struct table_kind){.hash_of = topic_hash, .context = pubsub};
    pubsub->subscription_kind =
        (struct table_kind){.hash_of = subscription_hash, .context = pubsub};
    for (int kind = 0; kind < TOPIC_KIND_COUNT; kind++) {
        table_init(&pubsub->topics[kind], &pubsub->topic_kind);
    }
    table_init(&pubsub->subscriptions, &pubsub->subscription_kind);
}

void topics_deinit(struct pubsub *pubsub)
{
    ASSERT(table_count(&pubsub->subscriptions) == 0);
    for (int kind = 0; kind < TOPIC_KIND_COUNT; kind++) {
        table_deinit(&pubsub->topics[kind]);
    }
    table_deinit(&pubsub->subscriptions);
}

size_t pubsub_memory(const struct pubsub *pubsub)
{
    size_t memory = pubsub->memory + table_memory(&pubsub->subscriptions);
    for (int kind = 0; kind < TOPIC_KIND_COUNT; kind++) {
        memory += table_memory(&pubsub->topics[kind]);
    }
    return memory;
}

struct pubsub_counts pubsub_counts(const struct pubsub *pubsub)
{
    return (struct pubsub_counts){
        .channels = table_count(&pubsub->topics[TOPIC_CHANNEL]),
        .patterns = table_count(&pubsub->topics[TOPIC_PATTERN]),
        .shard_channels = table_count(&pubsub->topics[TOPIC_SHARD]),
    };
}

/* ---- Topics ---- */

static size_t topic_size(size_t len)
{
    return mem_good_size(sizeof(struct topic) + len);
}

struct topic *topic_find(const struct pubsub *pubsub, enum topic_kind kind, struct slice name)
{
    const struct table *table = &pubsub->topics[kind];
    if (table_count(table) == 0) {
        return NULL;
    }
    return table_find(table, hash_bytes(pubsub->seed, name), &name, topic_is);
}

static struct topic *topic_find_or_new(struct pubsub *pubsub, enum topic_kind kind,
                                       struct slice name)
{
    struct topic *topic = topic_find(pubsub, kind, name);
    if (topic != NULL) {
        return topic;
    }
    topic = name.len <= UINT32_MAX ? mem_try_alloc(sizeof(*topic) + name.len) : NULL;
    if (topic == NULL) {
        return NULL;
    }
    *topic = (struct topic){.len = (uint32_t)name.len, .kind = (uint8_t)kind};
    memcpy(topic->name, name.data, name.len);
    table_insert(&pubsub->topics[kind], hash_bytes(pubsub->seed, name), topic);
    pubsub->memory += topic_size(name.len);
    return topic;
}

/* Frees a topic that nobody needs. */
static void topic_drop(struct pubsub *pubsub, struct topic *topic)
{
    if (topic->count != 0 || topic->fanout_count != 0) {
        return;
    }
    struct slice name = topic_name(topic);
    table_remove(&pubsub->topics[topic->kind], hash_bytes(pubsub->seed, name), &name, topic_is);
    pubsub->memory -= topic_size(topic->len);
    mem_free(topic);
}

void topic_hold(struct topic *topic)
{
    topic->fanout_count++;
}

void topic_release(struct pubsub *pubsub, struct topic *topic)
{
    ASSERT(topic->fanout_count != 0);
    topic->fanout_count--;
    topic_drop(pubsub, topic);
}

uint32_t topic_live_count(const struct pubsub *pubsub, const struct topic *topic)
{
    if (topic == NULL || pubsub->dismantling_count == 0) {
        return topic != NULL ? topic->count : 0;
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i < topic->count; i++) {
        count += topic_at(topic, i)->subscriber->session != NULL;
    }
    return count;
}

/* ---- The array of a topic ---- */

static void many_resize(struct pubsub *pubsub, struct topic *topic, uint32_t cap)
{
    pubsub->memory -= topic->cap != 0 ? mem_usable(topic->many) : 0;
    topic->many = mem_realloc(topic->many, cap * sizeof(*topic->many));
    topic->cap = cap;
    pubsub->memory += mem_usable(topic->many);
}

static void topic_add(struct pubsub *pubsub, struct topic *topic, struct subscription *added)
{
    if (topic->count == 0 && topic->cap == 0) {
        topic->one = added;
    } else if (topic->cap == 0) {
        struct subscription *one = topic->one;
        topic->many = NULL;
        many_resize(pubsub, topic, MANY_FIRST);
        topic->many[0] = one;
        topic->many[1] = added;
    } else {
        if (topic->count == topic->cap) {
            many_resize(pubsub, topic, topic->cap * 2);
        }
        topic->many[topic->count] = added;
    }
    added->topic_index = topic->count++;
}

/* Moves the subscription at `from` to `to`. */
static void many_move(struct topic *topic, uint32_t from, uint32_t to)
{
    topic->many[to] = topic->many[from];
    topic->many[to]->topic_index = to;
}

/* Fills the gap at `index` from the end. While a fan-out goes through the array, what it has passed
 * stays in front of what it has not:
 *
 *     | passed | gap | passed | last passed | not yet | last |
 *                 ^------------------'  ^----------------'
 */
static void topic_remove(struct pubsub *pubsub, struct topic *topic, uint32_t index)
{
    uint32_t gap = index;
    topic->count--;
    if (topic == pubsub->passing && index < pubsub->passed) {
        gap = --pubsub->passed;
    }
    if (topic->cap == 0) {
        topic->one = NULL;
        return;
    }
    if (gap != index) {
        many_move(topic, gap, index);
    }
    if (gap != topic->count) {
        many_move(topic, topic->count, gap);
    }
    if (topic->count == 0) {
        pubsub->memory -= mem_usable(topic->many);
        mem_free(topic->many);
        topic->many = NULL;
        topic->cap = 0;
    } else if (topic->cap > MANY_FIRST && topic->count < topic->cap / 4) {
        many_resize(pubsub, topic, topic->cap / 2);
    }
}

/* ---- Subscribers ---- */

uint32_t *session_count_of(struct session *session, enum topic_kind kind)
{
    uint32_t *const counts[] = {
        [TOPIC_CHANNEL] = &session->channel_count,
        [TOPIC_PATTERN] = &session->pattern_count,
        [TOPIC_SHARD] = &session->shard_channel_count,
    };
    return counts[kind];
}

static struct subscriber *subscriber_get(struct pubsub *pubsub, struct session *session)
{
    struct subscriber *subscriber = session->slots[SESSION_SLOT_PUBSUB];
    if (subscriber == NULL) {
        subscriber = mem_zalloc(sizeof(*subscriber));
        subscriber->session = session;
        subscriber->pubsub = pubsub;
        for (int kind = 0; kind < TOPIC_KIND_COUNT; kind++) {
            list_init(&subscriber->subscriptions[kind]);
        }
        session->slots[SESSION_SLOT_PUBSUB] = subscriber;
        session->flags |= SESSION_PUBSUB;
        session->gate_bits |= GATE_PUBSUB;
        pubsub->memory += mem_good_size(sizeof(*subscriber));
    }
    return subscriber;
}

/* The session has no subscriptions any more, or none that are its own. */
static void session_forget(struct session *session)
{
    session->slots[SESSION_SLOT_PUBSUB] = NULL;
    session->flags &= ~(uint32_t)SESSION_PUBSUB;
    session->gate_bits &= ~(uint32_t)GATE_PUBSUB;
    session->channel_count = session->pattern_count = session->shard_channel_count = 0;
}

static void subscriber_free(struct subscriber *subscriber)
{
    subscriber->pubsub->memory -= mem_good_size(sizeof(*subscriber));
    mem_free_sized(subscriber, sizeof(*subscriber));
}

static bool subscriber_is_empty(const struct subscriber *subscriber)
{
    for (int kind = 0; kind < TOPIC_KIND_COUNT; kind++) {
        if (!list_is_empty(&subscriber->subscriptions[kind])) {
            return false;
        }
    }
    return true;
}

enum topic_result topic_subscribe(struct pubsub *pubsub, struct session *session,
                                  enum topic_kind kind, struct slice name)
{
    struct topic *topic = topic_find_or_new(pubsub, kind, name);
    if (topic == NULL) {
        return TOPIC_NO_MEMORY;
    }
    struct subscriber *subscriber = subscriber_get(pubsub, session);
    struct subscription_key key = {topic, subscriber};
    uint64_t hash = key_hash(pubsub, &key);
    if (table_find(&pubsub->subscriptions, hash, &key, subscription_is) != NULL) {
        return TOPIC_OLD;
    }
    struct subscription *added = mem_alloc(sizeof(*added));
    *added = (struct subscription){.topic = topic, .subscriber = subscriber};
    pubsub->memory += mem_good_size(sizeof(*added));
    table_insert(&pubsub->subscriptions, hash, added);
    list_push_back(&subscriber->subscriptions[kind], &added->link);
    topic_add(pubsub, topic, added);
    pubsub->pattern_subscriptions += kind == TOPIC_PATTERN;
    (*session_count_of(session, kind))++;
    return TOPIC_ADDED;
}

/* Takes a subscription out of everything but the counts of its session. */
static void subscription_unlink(struct pubsub *pubsub, struct subscription *subscription)
{
    struct topic *topic = subscription->topic;
    struct subscription_key key = {topic, subscription->subscriber};
    table_remove(&pubsub->subscriptions, key_hash(pubsub, &key), &key, subscription_is);
    list_remove(&subscription->link);
    topic_remove(pubsub, topic, subscription->topic_index);
    pubsub->pattern_subscriptions -= topic->kind == TOPIC_PATTERN;
    pubsub->memory -= mem_good_size(sizeof(*subscription));
    mem_free_sized(subscription, sizeof(*subscription));
    topic_drop(pubsub, topic);
}

void subscription_end(struct pubsub *pubsub, struct subscription *subscription)
{
    struct subscriber *subscriber = subscription->subscriber;
    struct session *session = subscriber->session;
    (*session_count_of(session, subscription->topic->kind))--;
    subscription_unlink(pubsub, subscription);
    if (subscriber_is_empty(subscriber)) {
        session_forget(session);
        subscriber_free(subscriber);
    }
}

bool topic_unsubscribe(struct pubsub *pubsub, struct session *session, enum topic_kind kind,
                       struct slice name)
{
    struct topic *topic = topic_find(pubsub, kind, name);
    struct subscription_key key = {topic, session->slots[SESSION_SLOT_PUBSUB]};
    if (topic == NULL || key.subscriber == NULL) {
        return false;
    }
    struct subscription *found =
        table_find(&pubsub->subscriptions, key_hash(pubsub, &key), &key, subscription_is);
    if (found != NULL) {
        subscription_end(pubsub, found);
    }
    return found != NULL;
}

struct subscription *subscriber_first(const struct session *session, enum topic_kind kind)
{
    const struct subscriber *subscriber = session->slots[SESSION_SLOT_PUBSUB];
    if (subscriber == NULL || list_is_empty(&subscriber->subscriptions[kind])) {
        return NULL;
    }
    return LIST_OWNER(subscriber->subscriptions[kind].next, struct subscription, link);
}

/* ---- The end of a subscriber ---- */

/* Ends up to `max` subscriptions. Returns true when none is left. */
static bool dismantle(struct subscriber *subscriber, uint32_t max)
{
    for (int kind = 0; kind < TOPIC_KIND_COUNT; kind++) {
        struct list *head = &subscriber->subscriptions[kind];
        for (; !list_is_empty(head) && max > 0; max--) {
            subscription_unlink(subscriber->pubsub,
                                LIST_OWNER(head->next, struct subscription, link));
        }
    }
    return subscriber_is_empty(subscriber);
}

static bool dismantle_step(struct work_job *job)
{
    struct subscriber *subscriber = LIST_OWNER(job, struct subscriber, job);
    bool is_done = dismantle(subscriber, DISMANTLE_STEP);
    if (is_done) {
        subscriber->pubsub->dismantling_count--;
        subscriber_free(subscriber);
    }
    return is_done;
}

void subscriber_end(struct pubsub *pubsub, struct session *session)
{
    struct subscriber *subscriber = session->slots[SESSION_SLOT_PUBSUB];
    if (subscriber == NULL) {
        return;
    }
    session_forget(session);
    subscriber->session = NULL;
    if (dismantle(subscriber, DISMANTLE_DIRECT)) {
        subscriber_free(subscriber);
        return;
    }
    pubsub->dismantling_count++;
    work_add(exec_work(pubsub->exec), &subscriber->job, dismantle_step);
}

/* ---- Check ---- */

static void check_session(const struct subscriber *subscriber)
{
    if (subscriber->session == NULL) {
        return;
    }
    ASSERT(subscriber->session->slots[SESSION_SLOT_PUBSUB] == subscriber);
    for (int kind = 0; kind < TOPIC_KIND_COUNT; kind++) {
        uint32_t count = 0;
        const struct list *head = &subscriber->subscriptions[kind];
        for (const struct list *node = head->next; node != head; node = node->next) {
            count++;
        }
        ASSERT(*session_count_of(subscriber->session, (enum topic_kind)kind) == count);
    }
}

void pubsub_check(const struct pubsub *pubsub)
{
    size_t count = 0;
    for (int kind = 0; kind < TOPIC_KIND_COUNT; kind++) {
        struct table_iterator iterator;
        const struct topic *topic;
        table_check(&pubsub->topics[kind]);
        table_iterate(&pubsub->topics[kind], &iterator);
        while ((topic = table_next(&iterator)) != NULL) {
            ASSERT(topic->kind == kind && (topic->count != 0 || topic->fanout_count != 0));
            ASSERT(topic->cap == 0 ? topic->count <= 1 : topic->count <= topic->cap);
            for (uint32_t i = 0; i < topic->count; i++) {
                const struct subscription *subscription = topic_at(topic, i);
                ASSERT(subscription->topic == topic && subscription->topic_index == i);
                check_session(subscription->subscriber);
            }
            count += topic->count;
        }
    }
    table_check(&pubsub->subscriptions);
    ASSERT(count == table_count(&pubsub->subscriptions));
}
