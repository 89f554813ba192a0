/* Transactions: commands that are queued and then run as one, if nothing that was watched changed.
 *
 *     MULTI -> GATE_MULTI is set on the session -> each command is copied into the queue, +QUEUED
 *           -> EXEC: one reply of as many elements, no other client's command in between
 *
 * This is the mechanism; the commands are in commands/transactions.c. What a session has queued and
 * watches hangs in its SESSION_SLOT_MULTI and goes when it closes or is reset. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "exec/call.h"

/* A command that waits for EXEC. */
struct multi_command {
    struct command_entry *entry;
    struct args args;
    struct blob **blobs; /* Of each argument: the blob that it is, or NULL. NULL: there are none. */
    uint64_t first_hash; /* As in struct call. */
    uint32_t first_key;
    size_t size; /* Bytes of this allocation. */
};

/* Begins to queue. False: no memory. */
bool multi_begin(struct session *session);

/* Forgets the queue and what is watched; commands run again as they come. A long queue is freed in
 * slices. */
void multi_end(struct session *session);

/* The session is queueing. */
static inline bool multi_is_on(const struct session *session)
{
    return (session->flags & SESSION_MULTI) != 0;
}

/* What stands against executing the queue: a command was refused while it was queued, or what is
 * watched has changed. */
enum multi_verdict { MULTI_FREE, MULTI_SPOILED, MULTI_CHANGED };
enum multi_verdict multi_verdict(const struct session *session, int64_t now_ms);

/* EXEC: replies with an array of what the queued commands reply, and ends the transaction. With a
 * script in the queue it runs aside, and may end in a later turn. */
void multi_run(struct call *call);

/* Watches a key of the session's database; watching it twice is watching it once. False: no memory.
 */
bool multi_watch(struct session *session, struct slice key, int64_t now_ms);
void multi_unwatch(struct session *session);

/* What is queued, for gates that look at EXEC: how many, and which. */
uint32_t multi_count(const struct session *session);
const struct multi_command *multi_at(const struct session *session, uint32_t index);

/* Flags of a call's command; for EXEC also those of all that is queued. */
uint32_t multi_call_flags(const struct call *call);

/* The command will be queued, not run. */
bool multi_queues(const struct call *call);

/* Bytes that the session's transaction occupies: part of session.held_memory. */
size_t multi_memory(const struct session *session);

/* Keys that all sessions together watch, and sessions that watch any: for INFO. */
struct multi_stats {
    uint64_t watching_sessions, watched_keys;
};
struct multi_stats multi_stats(const struct exec *exec);
