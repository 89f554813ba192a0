/* Messages: channels, patterns and shard channels that sessions subscribe to, PUBLISH, and the
 * events of keys as messages (notify-keyspace-events). One struct pubsub per server, owned by the
 * composition root.
 *
 *     PUBLISH, event of a key --> topic --> its subscriptions --> session_push_begin ... end
 *                                  encoded once per protocol, shared by all receivers */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct exec;
struct pubsub;
struct session;

/* Hooks into exec: the gate of subscribed mode, the ends of sessions, a sink for events, which
 * listens to nothing yet. `hash_seed` is drawn once per process. */
struct pubsub *pubsub_new(struct exec *exec, uint64_t hash_seed);

/* All sessions must be closed before. */
void pubsub_free(struct pubsub *pubsub);

/* Adds SUBSCRIBE, PUBLISH, PUBSUB and the rest of their family to the registry. */
void pubsub_register(struct exec *exec, struct pubsub *pubsub);

/* Sends `payload` to all who listen to `channel`, itself or by a pattern, before it returns.
 * Returns how many messages that were. O(receivers + patterns). */
uint64_t pubsub_publish(struct pubsub *pubsub, struct slice channel, struct slice payload);

/* notify-keyspace-events: which classes of events (enum event_class) are told, and whether in the
 * channels of keys, of events, or both. */
struct pubsub_events {
    uint32_t classes;
    bool is_by_key, is_by_event;
};
void pubsub_set_events(struct pubsub *pubsub, const struct pubsub_events *events);

struct pubsub_counts {
    size_t channels, patterns, shard_channels; /* That somebody is subscribed to. */
};
struct pubsub_counts pubsub_counts(const struct pubsub *pubsub);

/* Bytes of topics and subscriptions: the clients', never the data set's. O(1). */
size_t pubsub_memory(const struct pubsub *pubsub);

/* Walks everything and asserts that it agrees: for tests. */
void pubsub_check(const struct pubsub *pubsub);
