/* Events of keys as messages: notify-keyspace-events.
 *
 *     SET foo 1 in database 0 --> __keyspace@0__:foo  "set"     K: what happened to this key
 *                             --> __keyevent@0__:set  "foo"     E: which keys this happened to
 *
 * The room is a sink of exec that wants only the classes of events that the configuration names:
 * while it names none, exec does not even look at the event's name. And while nobody is subscribed
 * to anything, no message is built. */
#include "pubsub/pubsub_internal.h"

enum { TEXT_KEPT_MAX = 64 * 1024 };

/* "__keyspace@0__:" and what follows. Borrowed until the next call. */
static struct slice channel_name(struct pubsub *pubsub, const char *kind, unsigned db,
                                 struct slice rest)
{
    buf_clear(&pubsub->text);
    buf_printf(&pubsub->text, "__%s@%u__:", kind, db);
    buf_append(&pubsub->text, rest);
    return buf_slice(&pubsub->text);
}

static void on_event(void *context, struct db *db, struct slice key, const char *event,
                     enum event_class event_class)
{
    struct pubsub *pubsub = context;
    (void)event_class;
    if (table_count(&pubsub->subscriptions) == 0) {
        return;
    }
    struct slice name = slice_from_text(event);
    if (pubsub->events.is_by_key) {
        pubsub_publish(pubsub, channel_name(pubsub, "keyspace", db_index(db), key), name);
    }
    if (pubsub->events.is_by_event) {
        pubsub_publish(pubsub, channel_name(pubsub, "keyevent", db_index(db), name), key);
    }
    if (pubsub->text.cap > TEXT_KEPT_MAX) {
        buf_deinit(&pubsub->text);
        buf_init(&pubsub->text);
    }
}

void notify_init(struct pubsub *pubsub)
{
    struct effect_sink sink = {.on_event = on_event, .context = pubsub};
    exec_add_sink(pubsub->exec, &sink);
    exec_set_event_classes(pubsub->exec, pubsub, 0);
}

void pubsub_set_events(struct pubsub *pubsub, const struct pubsub_events *events)
{
    bool is_heard = events->is_by_key || events->is_by_event;
    pubsub->events = *events;
    exec_set_event_classes(pubsub->exec, pubsub, is_heard ? events->classes : 0);
}
