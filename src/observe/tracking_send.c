/* Invalidations on their way to clients.
 *
 *     RESP3:                 >2 $10 invalidate *1 $3 foo
 *     redirected, RESP2:     *3 $7 message $20 __redis__:invalidate *1 $3 foo
 *     everything:            the same with null for the array
 *
 * Like a message of pub/sub, an invalidation is encoded once for each form and shared by all who
 * get it. A client in RESP2 that does not redirect gets none, for it could not tell it from a
 * reply; one that is redirected to in RESP2 must be subscribed to something.
 *
 * When very many are to be told, they are told in slices. An invalidation that comes late does no
 * harm: at worst a client forgets a value that it has read anew meanwhile.
 *
 * A client whose target has gone is told once per invalidation, if it speaks RESP3:
 *     >2 $21 tracking-redir-broken :7 */
#include <string.h>

#include "base/blob.h"
#include "base/buf.h"
#include "base/mem.h"
#include "observe/tracking_internal.h"

#define PUSH_HEAD ">2\r\n$10\r\ninvalidate\r\n"
#define MESSAGE_HEAD "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n"

/* An invalidation under way to many. */
struct sending {
    struct work_job job;
    struct list link;
    struct tracking *tracking;
    struct audience audience;
    struct invalidation invalidation;
    uint32_t at;
    uint64_t ids[]; /* Then the bytes of the keys. */
};

/* ---- Messages ---- */

void tracking_append_key(struct buf *out, struct slice key)
{
    buf_printf(out, "$%zu\r\n", key.len);
    buf_append(out, key);
    buf_append_text(out, "\r\n");
}

/* The bytes of one form, made when first needed; NULL when memory does not suffice. */
static struct blob *encoded(struct blob **blob, const char *head, struct slice keys,
                            const char *null)
{
    if (*blob == NULL) {
        struct slice rest = keys.data != NULL ? keys : slice_from_text(null);
        size_t head_len = strlen(head);
        *blob = blob_try_new(head_len + rest.len);
        if (*blob == NULL) {
            return NULL;
        }
        memcpy((*blob)->bytes, head, head_len);
        memcpy((*blob)->bytes + head_len, rest.data, rest.len);
        (*blob)->len = head_len + rest.len;
    }
    return *blob;
}

void invalidation_deinit(struct invalidation *invalidation)
{
    if (invalidation->push != NULL) {
        blob_drop(invalidation->push);
    }
    if (invalidation->message != NULL) {
        blob_drop(invalidation->message);
    }
}

/* The target of the redirection has gone. */
static void tell_broken(struct tracker *tracker)
{
    struct session *session = tracker->session;
    session->flags |= SESSION_TRACKING_BROKEN;
    if (session->out->protocol == 3) {
        struct reply *out = session_push_begin(session);
        reply_push(out, 2);
        reply_bulk_text(out, "tracking-redir-broken");
        reply_integer(out, (int64_t)tracker->redirect_id);
        session_push_end(session);
    }
}

void tracking_tell(struct tracking *tracking, struct tracker *tracker,
                   struct invalidation *invalidation)
{
    (void)tracking;
    struct session *session = tracker->session;
    if (tracker->redirect_id != 0) {
        session = tracker->target;
        if (session == NULL) {
            tell_broken(tracker);
            return;
        }
    }
    struct blob *blob = NULL;
    if (session->out->protocol == 3) {
        blob = encoded(&invalidation->push, PUSH_HEAD, invalidation->keys, "_\r\n");
    } else if (tracker->redirect_id != 0 && (session->flags & SESSION_PUBSUB) != 0) {
        blob = encoded(&invalidation->message, MESSAGE_HEAD, invalidation->keys, "$-1\r\n");
    }
    if (blob != NULL) {
        reply_share(session_push_begin(session), blob);
        session_push_end(session);
    }
}

/* ---- To many ---- */

/* Tells up to `max` from `at` on; returns where to go on. */
static uint32_t tell_some(struct tracking *tracking, const struct audience *audience,
                          struct invalidation *invalidation, uint32_t at, uint32_t max)
{
    for (; at < audience->count && max > 0; at++, max--) {
        struct tracker *tracker = tracker_by_id(tracking, audience->ids[at]);
        if (tracker == NULL || (tracker->is_bcast && !audience->is_everybody)) {
            continue; /* It has gone, or changed its mode since it read the key. */
        }
        if (tracker->is_noloop && tracker->session->id == audience->origin_id) {
            continue;
        }
        tracking_tell(tracking, tracker, invalidation);
    }
    return at;
}

static void sending_free(struct sending *sending)
{
    list_remove(&sending->link);
    invalidation_deinit(&sending->invalidation);
    mem_free(sending);
}

static bool sending_step(struct work_job *job)
{
    struct sending *sending = LIST_OWNER(job, struct sending, job);
    sending->at = tell_some(sending->tracking, &sending->audience, &sending->invalidation,
                            sending->at, SEND_STEP);
    if (sending->at < sending->audience.count) {
        return false;
    }
    sending_free(sending);
    return true;
}

/* Leaves those from `at` on to a job. False: out of memory. */
static bool sending_begin(struct tracking *tracking, const struct audience *audience,
                          struct slice keys)
{
    size_t ids_len = audience->count * sizeof(*audience->ids);
    struct sending *sending = mem_try_alloc(sizeof(*sending) + ids_len + keys.len);
    if (sending == NULL) {
        return false;
    }
    *sending = (struct sending){.tracking = tracking, .audience = *audience};
    memcpy(sending->ids, audience->ids, ids_len);
    sending->audience.ids = sending->ids;
    if (keys.data != NULL) {
        char *bytes = (char *)sending->ids + ids_len;
        memcpy(bytes, keys.data, keys.len);
        sending->invalidation.keys = slice_of(bytes, keys.len);
    }
    list_push_back(&tracking->sendings, &sending->link);
    work_add(exec_work(tracking->exec), &sending->job, sending_step);
    return true;
}

void tracking_tell_all(struct tracking *tracking, const struct audience *audience,
                       struct slice keys)
{
    if (audience->count > SEND_DIRECT_MAX && sending_begin(tracking, audience, keys)) {
        return;
    }
    struct invalidation invalidation = {.keys = keys};
    tell_some(tracking, audience, &invalidation, 0, UINT32_MAX);
    invalidation_deinit(&invalidation);
}

void sendings_drop(struct tracking *tracking)
{
    while (!list_is_empty(&tracking->sendings)) {
        struct sending *sending = LIST_OWNER(tracking->sendings.next, struct sending, link);
        work_cancel(exec_work(tracking->exec), &sending->job);
        sending_free(sending);
    }
}
