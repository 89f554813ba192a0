/* Client-side caching: CLIENT TRACKING, and who is told what when a key changes.
 *
 *     by default   a client that tracks is remembered with each key that it reads, and told once
 * when the key changes, expires, is evicted, or is forgotten for want of room OPTIN        only
 * what the command after CLIENT CACHING YES reads OPTOUT       all but what the command after
 * CLIENT CACHING NO reads BCAST        nothing is remembered; every change below its prefixes is
 * told at the end of the turn NOLOOP       not its own changes REDIRECT id  another connection is
 * told instead
 *
 *     exec: after a reading command --> on_read   --> tracked_remember (tracking_keys.c)
 *           after a change          --> on_change --> tracked_invalidate, prefixes_note
 *           FLUSHALL, FLUSHDB       --> on_flush  --> everybody: null
 *
 * The hooks are set only while somebody tracks, so that nobody pays when nobody does. What concerns
 * the client whose command is running comes behind its reply; exec sees to that.
 *
 * When the last client stops tracking, all keys are forgotten. Redis keeps them until they change,
 * so that a client that switches off and on again still hears of what it read before; here it does
 * while somebody else tracks, and nobody may rely on it.
 *
 * Invariants:
 *   1. A session has a tracker in its slot, SESSION_TRACKING and a redirect_id that is not -1
 * exactly while it tracks.
 *   2. A tracker has prefixes exactly while it is_bcast.
 *   3. A tracker that redirects is on `redirects`; its target is NULL or an open session. */
#include <limits.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "observe/tracking_internal.h"

enum { KEYS_ON_STACK = 64 };

/* What CLIENT TRACKING was asked for. */
struct wish {
    uint64_t redirect_id;
    bool is_bcast, is_optin, is_optout, is_noloop;
    uint32_t *prefixes; /* Indices of arguments; owned. */
    uint32_t prefix_count;
};

/* ---- Trackers ---- */

static uint64_t id_hash(const struct tracking *tracking, uint64_t id)
{
    return hash_bytes(tracking->seed, slice_of(&id, sizeof(id)));
}

static uint64_t tracker_hash(const void *entry, const void *context)
{
    return id_hash(context, ((const struct tracker *)entry)->session->id);
}

static bool tracker_is(const void *entry, const void *key)
{
    return ((const struct tracker *)entry)->session->id == *(const uint64_t *)key;
}

struct tracker *tracker_by_id(const struct tracking *tracking, uint64_t id)
{
    if (table_count(&tracking->trackers) == 0) {
        return NULL;
    }
    return table_find(&tracking->trackers, id_hash(tracking, id), &id, tracker_is);
}

static struct tracker *tracker_of(const struct session *session)
{
    return session->slots[SESSION_SLOT_TRACKING];
}

/* ---- What exec tells ---- */

static uint64_t origin_of(const struct tracking *tracking)
{
    const struct session *session = exec_client(tracking->exec);
    return session != NULL ? session->id : 0;
}

static void on_change(void *context, struct db *db, struct slice key, const struct call *call)
{
    struct tracking *tracking = context;
    (void)db;
    uint64_t origin_id = origin_of(tracking);
    prefixes_note(tracking, key, call != NULL ? origin_id : 0); /* Nobody's doing: it expired. */
    tracked_invalidate(tracking, key, origin_id);
}

static void on_flush(void *context, struct db *db)
{
    struct tracking *tracking = context;
    (void)db;
    size_t count = table_count(&tracking->trackers);
    if (count == 0) {
        return;
    }
    uint64_t *ids = mem_alloc(count * sizeof(*ids));
    struct audience audience = {.ids = ids, .is_everybody = true};
    struct table_iterator iterator;
    const struct tracker *tracker;
    table_iterate(&tracking->trackers, &iterator);
    while ((tracker = table_next(&iterator)) != NULL) {
        ids[audience.count++] = tracker->session->id;
    }
    tracking_tell_all(tracking, &audience, slice_of(NULL, 0));
    mem_free(ids);
    tracked_forget_all(tracking);
}

static void remember_keys(struct tracking *tracking, struct tracker *tracker,
                          const struct call *call)
{
    struct key_position stack[KEYS_ON_STACK];
    struct key_position *found = stack;
    const struct args *args = &call->args;
    int count = exec_find_keys(call->command, args->at, args->count, found, KEYS_ON_STACK);
    if (count > KEYS_ON_STACK) {
        found = mem_alloc((size_t)count * sizeof(*found));
        count = exec_find_keys(call->command, args->at, args->count, found, (uint32_t)count);
    }
    for (int i = 0; i < count; i++) {
        if (!found[i].spec->is_not_key) {
            tracked_remember(tracking, args->at[found[i].index], tracker);
        }
    }
    if (found != stack) {
        mem_free(found);
    }
}

static void on_read(void *context, struct session *client, const struct call *call)
{
    struct tracker *tracker = tracker_of(client);
    if (tracker == NULL || tracker->is_bcast) {
        return;
    }
    bool is_caching_given = (client->flags & SESSION_CACHING) != 0;
    if ((tracker->is_optin && !is_caching_given) || (tracker->is_optout && is_caching_given)) {
        return;
    }
    bool is_script = (call->entry->categories & ACL_SCRIPTING) != 0;
    if (!is_script && (call->entry->flags & CMD_PUBSUB) == 0) {
        remember_keys(context, tracker, call);
    }
}

/* ---- On and off ---- */

static void listen(struct tracking *tracking, bool is_on)
{
    exec_set_read_hook(tracking->exec, is_on ? on_read : NULL, tracking);
    exec_set_change_sink(tracking->exec, tracking, is_on ? on_change : NULL);
}

static struct tracker *tracker_new(struct tracking *tracking, struct session *session)
{
    struct tracker *tracker = mem_zalloc(sizeof(*tracker));
    tracker->session = session;
    list_init(&tracker->redirect_link);
    table_insert(&tracking->trackers, id_hash(tracking, session->id), tracker);
    tracking->memory += mem_usable(tracker);
    session->slots[SESSION_SLOT_TRACKING] = tracker;
    session->flags |= SESSION_TRACKING;
    if (table_count(&tracking->trackers) == 1) {
        listen(tracking, true);
    }
    return tracker;
}

static void disable(struct tracking *tracking, struct session *session)
{
    struct tracker *tracker = tracker_of(session);
    if (tracker == NULL) {
        return;
    }
    prefixes_leave(tracking, tracker);
    list_remove(&tracker->redirect_link);
    table_remove(&tracking->trackers, id_hash(tracking, session->id), &session->id, tracker_is);
    tracking->memory -= mem_usable(tracker);
    mem_free(tracker);
    session->slots[SESSION_SLOT_TRACKING] = NULL;
    session->flags &= ~(uint32_t)(SESSION_TRACKING | SESSION_TRACKING_BROKEN |
                                  SESSION_TRACKING_BCAST | SESSION_CACHING);
    session->redirect_id = -1;
    if (table_count(&tracking->trackers) == 0) {
        listen(tracking, false);
        tracked_forget_all(tracking);
    }
}

/* False: there is no memory for a prefix, and tracking is off. */
static bool enable(struct call *call, const struct wish *wish)
{
    struct tracking *tracking = call->family;
    struct session *session = call->session;
    struct tracker *tracker = tracker_of(session);
    if (tracker == NULL) {
        tracker = tracker_new(tracking, session);
    }
    tracker->redirect_id = wish->redirect_id;
    list_remove(&tracker->redirect_link);
    tracker->target = NULL;
    if (wish->redirect_id != 0) {
        tracker->target = exec_session_by_id(call->exec, wish->redirect_id);
        list_push_back(&tracking->redirects, &tracker->redirect_link);
    }
    session->redirect_id = (int64_t)wish->redirect_id;
    session->flags &= ~(uint32_t)(SESSION_TRACKING_BROKEN | SESSION_TRACKING_BCAST);
    session->flags |= wish->is_bcast ? SESSION_TRACKING_BCAST : 0;
    tracker->is_bcast = wish->is_bcast;
    tracker->is_optin = wish->is_optin;
    tracker->is_optout = wish->is_optout;
    tracker->is_noloop = wish->is_noloop;
    bool is_kept = true;
    if (wish->is_bcast && wish->prefix_count == 0) {
        is_kept = prefix_add(tracking, slice_of("", 0), tracker);
    }
    for (uint32_t i = 0; i < wish->prefix_count && is_kept; i++) {
        is_kept = prefix_add(tracking, call->args.at[wish->prefixes[i]], tracker);
    }
    if (!is_kept) {
        disable(tracking, session);
        reply_error(call->out, ERR_NO_MEMORY);
    }
    return is_kept;
}

/* A session closes or is reset: it tracks no more, and nobody may redirect to one that has gone. */
static void on_session_end(void *context, struct session *session)
{
    disable(context, session);
}

static void on_session_close(void *context, struct session *session)
{
    struct tracking *tracking = context;
    disable(tracking, session);
    struct list *head = &tracking->redirects;
    for (struct list *node = head->next; node != head; node = node->next) {
        struct tracker *tracker = LIST_OWNER(node, struct tracker, redirect_link);
        if (tracker->target == session) {
            tracker->target = NULL;
        }
    }
}

/* ---- CLIENT TRACKING ---- */

static bool read_redirect(struct call *call, uint32_t index, struct wish *wish)
{
    int64_t id;
    if (wish->redirect_id != 0) {
        reply_error(call->out, "ERR A client can only redirect to a single other client");
        return false;
    }
    if (!call_i64(call, index, &id, NULL)) {
        return false;
    }
    if (exec_session_by_id(call->exec, (uint64_t)id) == NULL) {
        reply_error(call->out, "ERR The client ID you want redirect to does not exist");
        return false;
    }
    wish->redirect_id = (uint64_t)id;
    return true;
}

static bool read_wish(struct call *call, struct wish *wish)
{
    uint32_t count = call->args.count;
    for (uint32_t at = 3; at < count; at++) {
        bool has_more = at + 1 < count;
        if (call_is(call, at, "REDIRECT") && has_more) {
            if (!read_redirect(call, ++at, wish)) {
                return false;
            }
        } else if (call_is(call, at, "BCAST")) {
            wish->is_bcast = true;
        } else if (call_is(call, at, "OPTIN")) {
            wish->is_optin = true;
        } else if (call_is(call, at, "OPTOUT")) {
            wish->is_optout = true;
        } else if (call_is(call, at, "NOLOOP")) {
            wish->is_noloop = true;
        } else if (call_is(call, at, "PREFIX") && has_more) {
            wish->prefixes[wish->prefix_count++] = ++at;
        } else {
            reply_error(call->out, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

static bool is_overlap(struct slice a, struct slice b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    return slice_equal(slice_part(a, 0, len), slice_part(b, 0, len));
}

static void reply_overlap(struct call *call, struct slice prefix, const char *which,
                          struct slice other)
{
    int prefix_len =
        (int)strnlen(prefix.len != 0 ? prefix.data : "", slice_part(prefix, 0, INT_MAX).len);
    int other_len =
        (int)strnlen(other.len != 0 ? other.data : "", slice_part(other, 0, INT_MAX).len);
    reply_errorf(call->out,
                 "ERR Prefix '%.*s' overlaps with %s prefix '%.*s'. Prefixes for a single client "
                 "must not overlap.",
                 prefix_len, prefix.data, which, other_len, other.data);
}

/* Prefixes of one client overlap neither with each other nor with those that it has. */
static bool check_overlaps(struct call *call, const struct wish *wish)
{
    const struct tracker *tracker = tracker_of(call->session);
    for (uint32_t i = 0; i < wish->prefix_count; i++) {
        struct slice prefix = call->args.at[wish->prefixes[i]];
        for (uint32_t j = 0; tracker != NULL && j < tracker->prefix_count; j++) {
            struct slice other = prefix_name(tracker->prefixes[j]);
            if (is_overlap(prefix, other)) {
                reply_overlap(call, prefix, "an existing", other);
                return false;
            }
        }
        for (uint32_t j = i + 1; j < wish->prefix_count; j++) {
            struct slice other = call->args.at[wish->prefixes[j]];
            if (is_overlap(prefix, other)) {
                reply_overlap(call, prefix, "another provided", other);
                return false;
            }
        }
    }
    return true;
}

/* Whether the options go together, and with how the client tracks now. */
static bool check_wish(struct call *call, const struct wish *wish)
{
    const struct tracker *now = tracker_of(call->session);
    const char *error = NULL;
    if (!wish->is_bcast && wish->prefix_count != 0) {
        error = "ERR PREFIX option requires BCAST mode to be enabled";
    } else if (now != NULL && now->is_bcast != wish->is_bcast) {
        error = "ERR You can't switch BCAST mode on/off before disabling tracking for this client, "
                "and then re-enabling it with a different mode.";
    } else if (wish->is_bcast && (wish->is_optin || wish->is_optout)) {
        error = "ERR OPTIN and OPTOUT are not compatible with BCAST";
    } else if (wish->is_optin && wish->is_optout) {
        error = "ERR You can't specify both OPTIN mode and OPTOUT mode";
    } else if (now != NULL &&
               ((wish->is_optin && now->is_optout) || (wish->is_optout && now->is_optin))) {
        error = "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, "
                "and then re-enabling it with a different mode.";
    }
    if (error != NULL) {
        reply_error(call->out, error);
        return false;
    }
    return !wish->is_bcast || check_overlaps(call, wish);
}

/* CLIENT TRACKING ON|OFF [REDIRECT id] [PREFIX prefix ...] [BCAST] [OPTIN] [OPTOUT] [NOLOOP] */
static void client_tracking_run(struct call *call)
{
    uint32_t count = call->args.count;
    struct wish wish = {.prefixes = mem_try_alloc(count * sizeof(uint32_t))};
    if (wish.prefixes == NULL) {
        reply_error(call->out, ERR_NO_MEMORY);
        return;
    }
    if (!read_wish(call, &wish)) {
        mem_free(wish.prefixes);
        return;
    }
    bool is_done = true;
    if (call_is(call, 2, "ON")) {
        is_done = check_wish(call, &wish) && enable(call, &wish);
    } else if (call_is(call, 2, "OFF")) {
        disable(call->family, call->session);
    } else {
        reply_error(call->out, ERR_SYNTAX);
        is_done = false;
    }
    mem_free(wish.prefixes);
    if (is_done) {
        reply_ok(call->out);
    }
}

/* CLIENT CACHING YES|NO: exec takes the flag away after the next command or transaction. */
static void client_caching_run(struct call *call)
{
    const struct tracker *tracker = tracker_of(call->session);
    const char *error = NULL;
    if (tracker == NULL) {
        error = "ERR CLIENT CACHING can be called only when the client is in tracking mode with "
                "OPTIN or OPTOUT mode enabled";
    } else if (call_is(call, 2, "YES")) {
        error = tracker->is_optin ? NULL
                                  : "ERR CLIENT CACHING YES is only valid when tracking is enabled "
                                    "in OPTIN mode.";
    } else if (call_is(call, 2, "NO")) {
        error = tracker->is_optout ? NULL
                                   : "ERR CLIENT CACHING NO is only valid when tracking is enabled "
                                     "in OPTOUT mode.";
    } else {
        error = ERR_SYNTAX;
    }
    if (error != NULL) {
        reply_error(call->out, error);
        return;
    }
    call->session->flags |= SESSION_CACHING;
    reply_ok(call->out);
}

static void client_getredir_run(struct call *call)
{
    reply_integer(call->out, call->session->redirect_id);
}

/* The words of the flags field. Returns how many; `out` has room for 6. */
static size_t flag_words(const struct session *session, const char **out)
{
    const struct tracker *tracker = tracker_of(session);
    size_t count = 0;
    out[count++] = tracker != NULL ? "on" : "off";
    if (tracker == NULL) {
        return count;
    }
    bool is_caching_given = (session->flags & SESSION_CACHING) != 0;
    if (tracker->is_bcast) {
        out[count++] = "bcast";
    }
    if (tracker->is_optin || tracker->is_optout) {
        out[count++] = tracker->is_optin ? "optin" : "optout";
        if (is_caching_given) {
            out[count++] = tracker->is_optin ? "caching-yes" : "caching-no";
        }
    }
    if (tracker->is_noloop) {
        out[count++] = "noloop";
    }
    if ((session->flags & SESSION_TRACKING_BROKEN) != 0) {
        out[count++] = "broken_redirect";
    }
    return count;
}

static void client_trackinginfo_run(struct call *call)
{
    const struct tracker *tracker = tracker_of(call->session);
    const char *words[6];
    size_t count = flag_words(call->session, words);
    reply_map(call->out, 3);
    reply_bulk_text(call->out, "flags");
    reply_set(call->out, count);
    for (size_t i = 0; i < count; i++) {
        reply_bulk_text(call->out, words[i]);
    }
    reply_bulk_text(call->out, "redirect");
    reply_integer(call->out, call->session->redirect_id);
    reply_bulk_text(call->out, "prefixes");
    reply_array(call->out, tracker != NULL ? tracker->prefix_count : 0);
    for (uint32_t i = 0; tracker != NULL && i < tracker->prefix_count; i++) {
        reply_bulk(call->out, prefix_name(tracker->prefixes[i]));
    }
}

/* ---- Life ---- */

struct tracking *tracking_new(struct exec *exec, uint64_t hash_seed)
{
    struct tracking *tracking = mem_zalloc(sizeof(*tracking));
    tracking->exec = exec;
    tracking->seed = hash_seed;
    tracking->tracker_kind = (struct table_kind){.hash_of = tracker_hash, .context = tracking};
    table_init(&tracking->trackers, &tracking->tracker_kind);
    list_init(&tracking->redirects);
    list_init(&tracking->sendings);
    tracked_init(tracking);
    prefixes_init(tracking);
    struct effect_sink sink = {.on_flush = on_flush, .context = tracking};
    exec_add_sink(exec, &sink);
    exec_add_close_hook(exec, on_session_close, tracking);
    exec_add_reset_hook(exec, on_session_end, tracking);
    return tracking;
}

void tracking_free(struct tracking *tracking)
{
    ASSERT(table_count(&tracking->trackers) == 0);
    sendings_drop(tracking);
    tracked_deinit(tracking);
    prefixes_deinit(tracking);
    table_deinit(&tracking->trackers);
    mem_free(tracking);
}

void tracking_configure(struct tracking *tracking, uint64_t keys_max)
{
    tracking->keys_max = (size_t)keys_max;
    tracked_trim(tracking);
}

void tracking_flush(struct tracking *tracking)
{
    if (!list_is_empty(&tracking->dirty)) {
        prefixes_flush(tracking);
    }
}

struct tracking_counts tracking_counts(const struct tracking *tracking)
{
    return (struct tracking_counts){
        .clients = table_count(&tracking->trackers),
        .keys = table_count(&tracking->keys),
        .items = tracking->item_count,
        .prefixes = table_count(&tracking->prefixes),
    };
}

size_t tracking_memory(const struct tracking *tracking)
{
    return tracking->memory + table_memory(&tracking->keys) + table_memory(&tracking->trackers) +
           table_memory(&tracking->prefixes);
}

enum { TRACKING_FLAGS = CMD_NO_SCRIPT | CMD_LOADING | CMD_STALE };

static const struct command tracking_rows[] = {
    {.name = "caching",
     .run = client_caching_run,
     .arity = 3,
     .flags = TRACKING_FLAGS,
     .categories = ACL_CONNECTION,
     .since = "6.0.0",
     .group = "connection",
     .summary = "Says whether what the next command reads is tracked.",
     .complexity = "O(1)",
     .syntax = "(mode: YES | NO)"},
    {.name = "getredir",
     .run = client_getredir_run,
     .arity = 2,
     .flags = TRACKING_FLAGS,
     .categories = ACL_CONNECTION,
     .since = "6.0.0",
     .group = "connection",
     .summary = "Tells which client gets the connection's tracking messages.",
     .complexity = "O(1)"},
    {.name = "tracking",
     .run = client_tracking_run,
     .arity = -3,
     .flags = TRACKING_FLAGS,
     .categories = ACL_CONNECTION,
     .since = "6.0.0",
     .group = "connection",
     .summary = "Says whether the connection is told when keys that it has read change.",
     .complexity = "O(1), but for each prefix O(number of the client's prefixes)",
     .syntax = "(status: ON | OFF) [REDIRECT client-id:integer] [PREFIX prefix]... [BCAST] [OPTIN] "
               "[OPTOUT] [NOLOOP]"},
    {.name = "trackinginfo",
     .run = client_trackinginfo_run,
     .arity = 2,
     .flags = TRACKING_FLAGS,
     .categories = ACL_CONNECTION,
     .since = "6.2.0",
     .group = "connection",
     .summary = "Tells the state of tracking for the connection.",
     .complexity = "O(1)"},
};

void tracking_register(struct exec *exec, struct tracking *tracking)
{
    exec_register_subcommands(exec, "client", tracking_rows,
                              sizeof(tracking_rows) / sizeof(tracking_rows[0]), tracking);
}
