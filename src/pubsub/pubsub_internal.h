/* What the files of pubsub/ share. Never included outside this folder.
 *
 *     subscribe.c, introspect.c, notify.c -> fanout.c -> message.c, topics.c */
#pragma once

#include "base/blob.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/work.h"
#include "ds/table.h"
#include "exec/exec.h"
#include "pubsub/pubsub.h"

#ifdef OURO_HOSTILE
enum {
    FANOUT_DIRECT_MAX = 2, /* Receivers that PUBLISH serves before it answers. */
    FANOUT_STEP = 1,       /* Receivers served, */
    DISMANTLE_DIRECT = 2,  /* subscriptions that end with their session at once, */
    DISMANTLE_STEP = 1,    /* or in one step of a job, */
    WALK_STEP = 2,         /* and topics looked at by PUBSUB CHANNELS. */
};
#else
enum {
    FANOUT_DIRECT_MAX = 1024,
    FANOUT_STEP = 256,
    DISMANTLE_DIRECT = 512,
    DISMANTLE_STEP = 128,
    WALK_STEP = 256,
};
#endif

enum topic_kind { TOPIC_CHANNEL, TOPIC_PATTERN, TOPIC_SHARD, TOPIC_KIND_COUNT };

/* What one can subscribe to; exists while somebody does, or while a fan-out refers to it. */
struct topic {
    uint32_t count; /* Subscriptions. */
    uint32_t cap;   /* Of `many`; 0: there is at most one, and it is `one`. */
    union {
        struct subscription *one;
        struct subscription **many; /* Owned. */
    };
    uint32_t fanout_count; /* Fan-outs under way that have it among their targets. */
    uint32_t len;
    uint8_t kind; /* enum topic_kind */
    char name[];
};

struct subscription {
    struct list link; /* Of the subscriber, per kind, oldest first. */
    struct topic *topic;
    struct subscriber *subscriber;
    uint32_t topic_index; /* In the topic's array. */
};

/* A session that subscribed; hangs in its SESSION_SLOT_PUBSUB. */
struct subscriber {
    struct session *session; /* NULL: gone; its subscriptions are being taken apart. */
    struct pubsub *pubsub;
    struct list subscriptions[TOPIC_KIND_COUNT];
    struct work_job job;
};

struct pubsub {
    struct exec *exec;
    uint64_t seed;
    struct table topics[TOPIC_KIND_COUNT];
    struct table subscriptions; /* By topic and subscriber. */
    struct table_kind topic_kind, subscription_kind;
    size_t memory;              /* Of topics, subscriptions and subscribers. */
    uint32_t dismantling_count; /* Subscribers that are being taken apart. */
    struct pubsub_events events;
    struct buf text;     /* The name of a channel that is being built. */
    struct list fanouts; /* Under way, oldest first. */
    struct work_job fanout_job;
    struct topic *passing;        /* The topic that the oldest is going through, or NULL; */
    uint32_t passed;              /* so many of its subscriptions are done, those in front. */
    size_t pattern_subscriptions; /* To all patterns together. */
};

/* ---- topics.c ---- */

static inline struct slice topic_name(const struct topic *topic)
{
    return slice_of(topic->name, topic->len);
}

static inline struct subscription *topic_at(const struct topic *topic, uint32_t index)
{
    return topic->cap == 0 ? topic->one : topic->many[index];
}

void topics_init(struct pubsub *pubsub);
void topics_deinit(struct pubsub *pubsub);

/* The topic, or NULL. */
struct topic *topic_find(const struct pubsub *pubsub, enum topic_kind kind, struct slice name);

/* Subscriptions of sessions that are there. O(1) unless a large subscriber is being dismantled. */
uint32_t topic_live_count(const struct pubsub *pubsub, const struct topic *topic);

/* Subscribes. TOPIC_OLD: it was already. TOPIC_NO_MEMORY: the name is too long to be kept. */
enum topic_result { TOPIC_ADDED, TOPIC_OLD, TOPIC_NO_MEMORY };
enum topic_result topic_subscribe(struct pubsub *pubsub, struct session *session,
                                  enum topic_kind kind, struct slice name);

/* Whether the session was subscribed; now it is not. */
bool topic_unsubscribe(struct pubsub *pubsub, struct session *session, enum topic_kind kind,
                       struct slice name);

/* The session's oldest subscription of a kind, or NULL; and its end. */
struct subscription *subscriber_first(const struct session *session, enum topic_kind kind);
void subscription_end(struct pubsub *pubsub, struct subscription *subscription);

/* The session's subscriptions end, without a word: at once, or soon when they are many. */
void subscriber_end(struct pubsub *pubsub, struct session *session);

/* Keeps the topic while a fan-out refers to it. */
void topic_hold(struct topic *topic);
void topic_release(struct pubsub *pubsub, struct topic *topic);

/* What CLIENT LIST shows. */
uint32_t *session_count_of(struct session *session, enum topic_kind kind);

/* ---- message.c ---- */

/* A message on its way to many. `pattern.data` NULL: it goes to the channel itself. */
struct message {
    struct slice channel, payload, pattern; /* Borrowed. */
    bool is_shard;
    struct blob *encoded[2];   /* For RESP2 and RESP3, when they were needed; owned. */
    struct blob *long_payload; /* What payload lies in, when that is long; borrowed. */
};

/* Writes it; encoded once for each protocol. False: memory does not suffice. */
bool message_write(struct message *message, struct session *session);
void message_deinit(struct message *message);

/* ---- fanout.c ---- */

void fanouts_init(struct pubsub *pubsub);
void fanouts_deinit(struct pubsub *pubsub);

/* PUBLISH and SPUBLISH: sends the message and replies with the number of receivers, now or later.
 */
void fanout_publish(struct call *call, bool is_shard);

/* ---- Registration, one per file ---- */

void pubsub_register_subscribe(struct exec *exec, struct pubsub *pubsub);
void pubsub_register_introspect(struct exec *exec, struct pubsub *pubsub);
void notify_init(struct pubsub *pubsub);
