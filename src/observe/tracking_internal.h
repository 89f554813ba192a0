/* What the files of client-side caching share. Never included outside this folder.
 *
 *     tracking.c -> tracking_keys.c, tracking_prefixes.c -> tracking_send.c */
#pragma once

#include "base/list.h"
#include "base/work.h"
#include "ds/table.h"
#include "observe/observe.h"

#ifdef OURO_HOSTILE
enum {
    SEND_DIRECT_MAX =
        2,         /* Clients told of an invalidation before the command that caused it ends. */
    SEND_STEP = 1, /* Clients told, */
    TRIM_STEP = 1, /* and keys forgotten in one step of a job. */
};
#else
enum { SEND_DIRECT_MAX = 1024, SEND_STEP = 256, TRIM_STEP = 32 };
#endif

struct prefix;

/* How many prefixes have a length. */
struct prefix_len {
    uint32_t len, count;
};

/* A session with CLIENT TRACKING ON; hangs in its SESSION_SLOT_TRACKING. */
struct tracker {
    struct session *session;
    struct list redirect_link; /* Of those that redirect. */
    uint64_t redirect_id;      /* Whom invalidations go to; 0: itself. */
    struct session *target;    /* That session; NULL: it has gone, or there is none. */
    bool is_bcast, is_optin, is_optout, is_noloop;
    struct prefix **prefixes; /* Owned array, sorted; the prefixes are shared. */
    uint32_t prefix_count;
};

struct tracking {
    struct exec *exec;
    uint64_t seed;
    struct table trackers; /* By session id. */
    struct table keys;     /* Of struct tracked. */
    struct table prefixes; /* Of struct prefix. */
    struct table_kind tracker_kind, key_kind, prefix_kind, changed_kind;
    struct list redirects;   /* Trackers that redirect. */
    struct list sendings;    /* Invalidations under way to very many. */
    struct list dirty;       /* Prefixes with keys that changed. */
    struct list drains;      /* Tables of keys on their way to be freed. */
    struct work_job trim;    /* Forgets keys above the limit. */
    size_t keys_max;         /* 0: no limit. */
    size_t item_count;       /* Pairs of key and client. */
    size_t memory;           /* Without the tables' own. */
    struct prefix_len *lens; /* Lengths of prefixes that occur, rising; owned. */
    uint32_t len_count;
};

/* ---- tracking_send.c: messages ---- */

/* What became invalid: encoded keys ("*1 $3 foo"), or everything. */
struct invalidation {
    struct slice keys;           /* data NULL: everything (null). Borrowed. */
    struct blob *push, *message; /* As RESP3 push, as RESP2 message; when needed. Owned. */
};

void invalidation_deinit(struct invalidation *invalidation);

/* Tells one client, or whom it redirects to. */
void tracking_tell(struct tracking *tracking, struct tracker *tracker,
                   struct invalidation *invalidation);

/* Tells the clients with these ids that still track in the mode, but `except_id` if that is one of
 * those who want no loops. Many are told in slices. */
struct audience {
    const uint64_t *ids; /* Borrowed. */
    uint32_t count;
    uint64_t origin_id; /* The client that made the change; 0: none. */
    bool is_everybody;  /* Those with BCAST too. */
};
void tracking_tell_all(struct tracking *tracking, const struct audience *audience,
                       struct slice keys);

/* Appends "$3\r\nfoo\r\n". */
void tracking_append_key(struct buf *out, struct slice key);

void sendings_drop(struct tracking *tracking);

/* ---- tracking_keys.c: keys that clients have read ---- */

void tracked_init(struct tracking *tracking);
void tracked_deinit(struct tracking *tracking);

/* The tracker's client has read the key. Without memory for it the client is told that everything
 * is invalid. */
void tracked_remember(struct tracking *tracking, struct slice key, struct tracker *tracker);

/* Tells those who read the key, and forgets it. */
void tracked_invalidate(struct tracking *tracking, struct slice key, uint64_t origin_id);
void tracked_forget_all(struct tracking *tracking);

/* Brings the number of keys below the limit, in slices. */
void tracked_trim(struct tracking *tracking);

/* ---- tracking_prefixes.c: BCAST ---- */

void prefixes_init(struct tracking *tracking);
void prefixes_deinit(struct tracking *tracking);
struct slice prefix_name(const struct prefix *prefix);
/* False: out of memory. */
bool prefix_add(struct tracking *tracking, struct slice name, struct tracker *tracker);
void prefixes_leave(struct tracking *tracking, struct tracker *tracker);
void prefixes_note(struct tracking *tracking, struct slice key, uint64_t origin_id);
void prefixes_flush(struct tracking *tracking);

/* ---- tracking.c ---- */

struct tracker *tracker_by_id(const struct tracking *tracking, uint64_t id);
