/* A session is a client as commands see it: who it is, which database it uses, which protocol it
 * speaks, and where replies go. Sockets belong to net/, which embeds a session in each connection
 * and fills `ops`; simulated clients and scripts have sessions without sockets. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/slice.h"
#include "resp/reply.h"

struct buf;
struct command_entry;
struct db;
struct exec;
struct session;

enum session_flag {
    SESSION_NEEDS_AUTH = 1 << 0,
    /* Executes nothing more; closes when its replies are sent. */
    SESSION_CLOSE_AFTER_REPLY = 1 << 1,
    SESSION_CLOSE_NOW = 1 << 2,
    /* Waits for deferred work, a pause or a blocking command: executes nothing. */
    SESSION_SUSPENDED = 1 << 3,
    SESSION_NO_EVICT = 1 << 4,
    SESSION_NO_TOUCH = 1 << 5,
    SESSION_REPLY_OFF = 1 << 6,
    SESSION_REPLY_SKIP_NEXT = 1 << 7,
    SESSION_REPLY_SKIP = 1 << 8,
    SESSION_MONITOR = 1 << 9,
    SESSION_UNIX_SOCKET = 1 << 10,
    SESSION_INTERNAL = 1 << 11, /* No connection: scripts, loading, tests. Not in CLIENT LIST. */
    SESSION_PRIMARY = 1 << 12,  /* The link to this server's primary. */
    SESSION_REPLICA = 1 << 13,
    SESSION_PUBSUB = 1 << 14, /* Subscribed to something; in RESP2 that is a mode of its own. */
    SESSION_MULTI = 1 << 15,
    SESSION_LOCAL = 1 << 18,     /* The peer is on the loopback interface or a unix socket. */
    SESSION_PROTECTED = 1 << 16, /* Refused by protected mode. */
    SESSION_PAUSED = 1 << 17,    /* Suspended by CLIENT PAUSE. */
    /* The command that suspended it has not replied: CLIENT REPLY's state moves on when it has. */
    SESSION_REPLY_DUE = 1 << 19,
    SESSION_PUSHED = 1 << 20,   /* Pushes wait for the end of the command that it executes. */
    SESSION_TRACKING = 1 << 21, /* CLIENT TRACKING is on. */
    SESSION_TRACKING_BROKEN = 1 << 22, /* The client that its invalidations go to is gone. */
    SESSION_TRACKING_BCAST = 1 << 23,
    SESSION_CACHING = 1 << 24,     /* CLIENT CACHING, for the next command or transaction. */
    SESSION_HELD = 1 << 25,        /* Suspended: its command waits for a pinned key. */
    SESSION_AWAITS_ROOM = 1 << 26, /* on_room is called when it has read enough. */
    SESSION_KEPT = 1 << 27, /* Something aside works for it: its memory must stay; see aside.h. */
};

/* What CLIENT LIST shows of a connection. Bytes and seconds as Redis defines the fields. */
struct session_view {
    char address[128], local_address[128]; /* "ip:port" */
    int fd;
    size_t query_len, query_free, argv_memory;
    size_t multi_memory;                    /* Filled in by exec. */
    size_t reply_buffer, reply_buffer_peak; /* rbs, rbp */
    size_t reply_buffer_len;                /* obl */
    size_t reply_list_len, reply_list_memory, total_memory;
    char events[4];
};

struct session_ops {
    /* Begins to close: at once, or after the queued replies were sent. May be called in the middle
     * of the session's own command: what it frees, it frees later. */
    void (*close)(struct session *session, bool after_replies);
    void (*view)(struct session *session, struct session_view *view);
    /* Something happened outside the session's own turn (a push was written, it was resumed): have
     * its replies flushed and its pending input executed. */
    void (*wake)(struct session *session);
};

/* Slots where other rooms hang state of their own on a session; the room frees it in its close
 * hook. */
enum session_slot {
    SESSION_SLOT_MULTI,
    SESSION_SLOT_PUBSUB,
    SESSION_SLOT_TRACKING,
    SESSION_SLOT_BLOCK,
    SESSION_SLOT_REPL,
    SESSION_SLOT_COUNT,
};

struct session {
    /* Hot. */
    struct reply *out; /* Where replies go; owned by the connection. */
    struct db *db;
    uint32_t flags;     /* enum session_flag */
    uint32_t gate_bits; /* Gates that apply to this session alone; see exec.h. */
    uint64_t id;
    int64_t last_active_ms; /* Wall clock of the last command. */
    struct command_entry *last_command;
    uint64_t commands_count; /* Executed or refused. */

    /* Cold. */
    struct exec *exec;
    const struct session_ops *ops; /* NULL for SESSION_INTERNAL. */
    struct list link;              /* Of all sessions, oldest first. */
    int64_t created_ms;
    uint64_t bytes_in, bytes_out;
    char *name;                   /* CLIENT SETNAME; owned, NULL when unset. */
    char *lib_name, *lib_version; /* Owned or NULL. */
    char *user;                   /* Owned; "default" when NULL. */

    /* Shown by CLIENT LIST; kept by the rooms that own them. */
    uint32_t channel_count, pattern_count, shard_channel_count;
    int32_t queued_count; /* Commands queued by MULTI; -1 outside it. */
    int64_t redirect_id;  /* CLIENT TRACKING REDIRECT; -1 for none. */

    /* Bytes kept on its behalf outside its connection: what it waits for, what it has queued. Part
     * of the client's memory; whoever changes it outside the session's own command wakes it. */
    size_t held_memory;

    /* Where the replication stream ended when its last change was in it: what WAIT waits for. */
    int64_t write_offset;

    /* While SESSION_SUSPENDED: called when the session closes before it is resumed. */
    void (*on_cancel)(struct session *session, void *context);
    void *cancel_context;

    /* While SESSION_AWAITS_ROOM: called once when no more than out->room_memory of its replies is
     * left to send. */
    void (*on_room)(struct session *session, void *context);

    /* While a reply is being written in parts: where pushes wait for its end. Else NULL. */
    struct reply *aside;

    /* While blocked by a command that CLIENT UNBLOCK may end: writes the reply of a timeout, or
     * the UNBLOCKED error, and resumes. NULL otherwise. */
    void (*on_unblock)(struct session *session, bool is_error);

    void *slots[SESSION_SLOT_COUNT];
};

/* Registers a session with exec: draws its id, links it (not an internal one), sets protocol 2,
 * database 0 and whether it must authenticate. `out` is borrowed for the session's life. */
void session_init(struct session *session, struct exec *exec, struct reply *out,
                  const struct session_ops *ops, uint32_t flags);

/* Cancels what it waits for, runs the close hooks, unlinks it, frees its texts. */
void session_deinit(struct session *session);

/* A push is something that is not the reply to a command of the session: a message, an
 * invalidation. What is written between begin and end goes out behind the reply of the command that
 * the session is executing (also when that is EXEC or a script), or at once when it executes none.
 * Pushes are not muted by CLIENT REPLY. O(1). */
struct reply *session_push_begin(struct session *session);
void session_push_end(struct session *session);

/* Executes nothing until session_resume. `on_cancel` (may be NULL) is called when it closes first.
 */
void session_suspend(struct session *session, void (*on_cancel)(struct session *, void *),
                     void *context);

/* Goes on: pending input is executed in a later turn. */
void session_resume(struct session *session);

/* Of a suspended session: has `on_room` called, with the context of session_suspend, as soon as at
 * most `memory` bytes of replies (struct reply.memory) are unsent. Ends with the suspension. */
void session_await_room(struct session *session, void (*on_room)(struct session *, void *),
                        size_t memory);
void session_forget_room(struct session *session);

/* For the connection: bytes were sent. */
static inline bool session_has_room(const struct session *session)
{
    return (session->flags & SESSION_AWAITS_ROOM) != 0 &&
           session->out->memory <= session->out->room_memory;
}

/* Sets the closing flag and asks its connection to close; once. */
void session_close(struct session *session, bool after_replies);

/* Back to the state after connect (RESET): runs the reset hooks, then database 0, protocol 2,
 * unauthenticated if a password is set, no name, flags cleared. */
void session_reset(struct session *session);

/* It proved to be `user` (empty: the default user): opens GATE_AUTH. */
void session_authenticate(struct session *session, struct slice user);

/* The types of CLIENT KILL and CLIENT LIST. */
enum session_kind {
    SESSION_KIND_NORMAL,
    SESSION_KIND_PRIMARY,
    SESSION_KIND_REPLICA,
    SESSION_KIND_PUBSUB,
};
enum session_kind session_kind(const struct session *session);

/* Subscribed to anything, in either protocol. */
static inline bool session_is_subscribed(const struct session *session)
{
    return session->channel_count + session->pattern_count + session->shard_channel_count != 0;
}

static inline const char *session_user(const struct session *session)
{
    return session->user != NULL ? session->user : "default";
}

/* Replace an owned text (name, lib_name, ...); an empty slice clears it. */
void session_set_text(char **field, struct slice text);

/* One line as CLIENT LIST prints it, without the line end. */
void session_describe(struct session *session, int64_t now_ms, struct buf *out);

static inline bool session_is_local(const struct session *session)
{
    return (session->flags & (SESSION_LOCAL | SESSION_UNIX_SOCKET | SESSION_INTERNAL)) != 0;
}
