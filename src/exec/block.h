/* Blocking: a command that finds nothing waits for keys to change, and is run again when one did.
 *
 *     handler finds nothing -> call_may_block? -> call_block(wish): the session is suspended
 *     somebody's change     -> the key is marked: it may serve
 *     that unit has ended   -> each waiter, in order of arrival: its handler runs again, with
 *                              call->ready_key telling which argument became ready
 *         finds something   -> replies as ever; it waits no more
 *         finds nothing     -> call_block again: it keeps its place in every queue
 *     deadline or CLIENT UNBLOCK -> on_timeout, or an error
 *
 * A handler that may block is written so:
 *
 *     static void blpop_run(struct call *call)
 *     {
 *         int64_t timeout_ms;
 *         if (!call_timeout_s(call, call->args.count - 1, &timeout_ms)) {
 *             return;
 *         }
 *         struct block_keys keys = call_keys_to_try(call, 1, call->args.count - 2);
 *         ... look at the keys from keys.first to keys.end; pop, reply, return
 *         call_block_or_null(call, &(struct block_wish){.first_key = 1,
 *                                                       .key_count = call->args.count - 2,
 *                                                       .timeout_ms = timeout_ms,
 *                                                       .kind = VALUE_LIST});
 *     }
 *
 * It must tell its effects with call_effect: nobody who repeats them may block. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "exec/call.h"

struct exec;

/* Writes what a session gets whose time is up. */
typedef void (*block_timeout_fn)(struct session *session, struct reply *out);

struct block_wish {
    uint32_t first_key;   /* Arguments first_key, first_key + 1, ... are the keys. */
    uint32_t key_count;   /* At least 1. The same key may occur twice. */
    int64_t timeout_ms;   /* From now; 0: no end. */
    enum value_kind kind; /* A key serves only while it holds a value of this kind. */
    /* Also woken when a key is removed, or becomes of another kind (XREADGROUP). */
    bool wants_removal;
    /* What is run again when it is not call->args (XREAD with $ resolved), with its keys at
     * first_key and so on. NULL: call->args. Copied. */
    const struct args *again;
    block_timeout_fn on_timeout; /* NULL: a null array. */
};

/* Whether the session may wait. It may not inside EXEC and scripts, in the link to a primary, or
 * without a connection: the handler then answers as if its time was up. */
bool call_may_block(const struct call *call);

/* Suspends the session until a key may serve it; the handler returns without a reply. The wish and
 * the arguments are copied. On a second run (call->ready_key is not 0) nothing but the fact that it
 * goes on waiting is taken from the wish. Without memory the reply is an error. O(keys). */
void call_block(struct call *call, const struct block_wish *wish);

/* The same; where the session may not wait the reply is what it is when the time is up, a null
 * array. */
void call_block_or_null(struct call *call, const struct block_wish *wish);

/* What commands of the form "key [key ...] timeout" do: `try`, with `end` handed on, replies and
 * returns true, or finds nothing; then the call waits for a value of `kind`. */
typedef bool (*block_try_fn)(struct call *call, int end);
void call_try_or_block(struct call *call, enum value_kind kind, block_try_fn try, int end);

/* Of the keys that begin at argument `first`, those to be looked at: on a second run the one that
 * became ready, else all. */
struct block_keys {
    uint32_t first, end;
};
static inline struct block_keys call_keys_to_try(const struct call *call, uint32_t first,
                                                 uint32_t count)
{
    if (call->ready_key != 0) {
        return (struct block_keys){.first = call->ready_key, .end = call->ready_key + 1};
    }
    return (struct block_keys){.first = first, .end = first + count};
}

/* Reads a timeout in seconds (with fractions, rounded up to milliseconds) or in milliseconds. 0 is
 * no end. False: the error is in the reply, worded as Redis words it. */
bool call_timeout_s(struct call *call, uint32_t index, int64_t *timeout_ms);
bool call_timeout_ms(struct call *call, uint32_t index, int64_t *timeout_ms);

/* Marks the key at args.at[index], if somebody waits for it: for what wakes but is no change. */
void call_wake_waiters(struct call *call, uint32_t index);

/* All keys of a database may have gone or come (FLUSHDB, SWAPDB, loading): marks those that are
 * waited for. O(keys waited for). Changes of single keys are noted by call_changed. */
void block_note_database(struct exec *exec, struct db *db);

/* Ends every wait with an error ("UNBLOCKED force unblock from ..."): the server changes its role.
 */
void block_cancel_all(struct exec *exec, const char *error);

/* When block_tick has something to do: monotonic microseconds, 0 for at once, INT64_MAX for never.
 */
int64_t block_due_us(const struct exec *exec);

struct block_stats {
    uint64_t session_count; /* Sessions that wait. */
    uint64_t timeout_count; /* Of them with a deadline. */
    uint64_t key_count;     /* Keys that are waited for. */
    uint64_t removal_count; /* Of them with a waiter that wants to know of removal. */
};
struct block_stats block_stats(const struct exec *exec);
