/* WAIT: a client waits until so many replicas have what it wrote.
 *
 *     client            primary                          replicas
 *     SET a 1  ------>  backlog grows to 120
 *     WAIT 2 500 ---->  session suspended, offset 120
 *                       GETACK into the stream ------->  they reach it, and answer with the
 *                       <---- REPLCONF ACK 157 --------  offset before it
 *     :2  <-----------  two have acknowledged 120
 *
 * What a client waits for is the end of the stream as its own last write left it
 * (session->write_offset), not the end as it is now: others go on writing. A replica acknowledges
 * what it has executed, so an answer never tells of replicas that do not have the write.
 *
 * Replicas acknowledge once a second by themselves. So that nobody waits for that, one GETACK for
 * all who began to wait in a turn goes into the stream at its end.
 *
 * This file also holds the other promise about replicas, min-replicas-to-write: that writes are
 * refused while too few of them have been heard of lately. */
#include "base/mem.h"
#include "exec/block.h"
#include "repl/repl_internal.h"

#define GETACK_TEXT "*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n"

struct wait {
    struct list link;
    struct repl *repl;
    struct session *session;
    int64_t offset;      /* That replicas must have acknowledged. */
    int64_t count;       /* How many of them. */
    int64_t deadline_us; /* Monotonic; INT64_MAX: none. */
};

static int64_t count_acks(const struct repl *repl, int64_t offset)
{
    int64_t count = 0;
    for (const struct list *node = repl->replicas.next; node != &repl->replicas;
         node = node->next) {
        const struct replica *replica = LIST_OWNER(node, struct replica, link);
        /* An offset of 0 proves nothing: writes before the first replica have it too. */
        count += replica->state == REPLICA_ONLINE && replica->has_acked && replica->acked >= offset;
    }
    return count;
}

/* ---- The ends of a wait ---- */

static void wait_free(struct wait *wait)
{
    wait->repl->waits.count--;
    list_remove(&wait->link);
    mem_free_sized(wait, sizeof *wait);
}

static void on_cancel(struct session *session, void *context)
{
    (void)session;
    wait_free(context);
}

static void end_with_count(struct wait *wait)
{
    struct session *session = wait->session;
    reply_integer(session->out, count_acks(wait->repl, wait->offset));
    wait_free(wait);
    session_resume(session);
}

static void end_with_error(struct wait *wait, const char *error)
{
    struct session *session = wait->session;
    reply_error(session->out, error);
    wait_free(wait);
    session_resume(session);
}

static void on_unblock(struct session *session, bool is_error)
{
    struct wait *wait = session->cancel_context;
    if (is_error) {
        end_with_error(wait, "UNBLOCKED client unblocked via CLIENT UNBLOCK");
    } else {
        end_with_count(wait);
    }
}

void waits_cancel_all(struct repl *repl, const char *error)
{
    repl->waits.wants_ack = false;
    while (!list_is_empty(&repl->waits.waiting)) {
        end_with_error(LIST_OWNER(repl->waits.waiting.next, struct wait, link), error);
    }
}

/* ---- Time and acknowledgements ---- */

void waits_step(struct repl *repl)
{
    struct list *head = &repl->waits.waiting;
    struct list *next;
    repl->waits.due_us = INT64_MAX;
    for (struct list *node = head->next; node != head; node = next) {
        struct wait *wait = LIST_OWNER(node, struct wait, link);
        next = node->next;
        if (wait->deadline_us <= repl->now->mono_us ||
            count_acks(repl, wait->offset) >= wait->count) {
            end_with_count(wait);
        } else if (wait->deadline_us < repl->waits.due_us) {
            repl->waits.due_us = wait->deadline_us;
        }
    }
}

int64_t waits_due_us(const struct repl *repl)
{
    return repl->waits.due_us;
}

void waits_ask(struct repl *repl)
{
    if (repl->waits.wants_ack && !failover_is_on(repl) &&
        feed_own(repl, slice_from_text(GETACK_TEXT))) {
        repl->waits.wants_ack = false;
    }
}

/* ---- The command ---- */

static void wait_begin(struct call *call, int64_t count, int64_t timeout_ms)
{
    struct repl *repl = call->family;
    struct wait *wait = mem_alloc(sizeof *wait);
    *wait = (struct wait){.repl = repl,
                          .session = call->session,
                          .offset = call->session->write_offset,
                          .count = count,
                          .deadline_us = INT64_MAX};
    if (timeout_ms != 0 && timeout_ms < (INT64_MAX - call->now->mono_us) / 1000) {
        wait->deadline_us = call->now->mono_us + timeout_ms * 1000;
    }
    if (wait->deadline_us < repl->waits.due_us) {
        repl->waits.due_us = wait->deadline_us;
    }
    list_push_back(&repl->waits.waiting, &wait->link);
    repl->waits.count++;
    repl->waits.wants_ack = true;
    session_suspend(call->session, on_cancel, wait);
    call->session->on_unblock = on_unblock;
}

/* WAIT numreplicas timeout. */
static void wait_run(struct call *call)
{
    struct repl *repl = call->family;
    int64_t count;
    int64_t timeout_ms;
    if (repl->is_replica) {
        reply_error(call->out,
                    "ERR WAIT cannot be used with replica instances. Please also note that since "
                    "Redis 4.0 if a replica is configured to be writable (which is not the "
                    "default) writes to replicas are just local and are not propagated.");
        return;
    }
    if (!call_i64(call, 1, &count, NULL) || !call_timeout_ms(call, 2, &timeout_ms)) {
        return;
    }
    int64_t acks = count_acks(repl, call->session->write_offset);
    if (acks >= count || !call_may_block(call)) {
        reply_integer(call->out, acks);
        return;
    }
    wait_begin(call, count, timeout_ms);
}

static const struct command wait_rows[] = {
    {.name = "wait",
     .run = wait_run,
     .arity = 3,
     .flags = CMD_NO_SCRIPT,
     .categories = ACL_CONNECTION,
     .since = "3.0.0",
     .group = "generic",
     .complexity = "O(1)",
     .syntax = "numreplicas:integer timeout:integer",
     .tips = "request_policy:all_shards response_policy:agg_min",
     .summary = "Waits until replicas have acknowledged this client's writes, or time is up."},
};

void waits_init(struct repl *repl)
{
    list_init(&repl->waits.waiting);
    repl->waits.due_us = INT64_MAX;
}

void waits_register(struct repl *repl)
{
    exec_register(repl->exec, wait_rows, sizeof wait_rows / sizeof wait_rows[0], repl);
}

/* ---- min-replicas-to-write ---- */

const char *repl_refuses_writes(const struct repl *repl)
{
    const struct repl_config *config = &repl->config;
    if (repl->is_replica || config->replicas_min == 0 || config->lag_max_s == 0 ||
        repl->good_count >= (uint64_t)config->replicas_min) {
        return NULL;
    }
    return "NOREPLICAS Not enough good replicas to write.";
}
