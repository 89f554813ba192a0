/* Pauses (CLIENT PAUSE, FAILOVER): commands wait, all of them or those that may write, until a
 * moment.
 *
 *     exec_pause -> GATE_PAUSE active -> gate suspends each session that brings such a command
 *     deadline or exec_unpause        -> gate off, all suspended sessions resume
 *
 * There may be several reasons at a time, each with a mode and a moment of its own. The strictest
 * one rules, and nobody ends the pause of another: CLIENT UNPAUSE lets no write through that
 * FAILOVER holds back, and a short CLIENT PAUSE ALL meanwhile is not as long as the failover.
 *
 * The command that was held back is not lost: its bytes stay with the connection and are executed
 * when the session goes on; those of the primary's link too. Replicas and sessions without a
 * connection pass. EXEC waits as its queue would, and a write waits before it is queued. The
 * keyspace is frozen meanwhile: what a pause is for, a data set that stands still, would not be had
 * if keys went by themselves. */
#include "exec/exec_internal.h"
#include "exec/multi.h"

static bool is_held_back(const struct exec *exec, const struct call *call)
{
    const uint32_t exempt = SESSION_REPLICA | SESSION_INTERNAL;
    if ((call->session->flags & exempt) != 0) {
        return false;
    }
    return exec->pause_mode == PAUSE_ALL ||
           (multi_call_flags(call) & (CMD_WRITE | CMD_MAY_REPLICATE)) != 0;
}

enum gate_result exec_pause_gate(void *context, struct call *call)
{
    struct exec *exec = context;
    if (!is_held_back(exec, call)) {
        return GATE_PASS;
    }
    call->session->flags |= SESSION_PAUSED;
    session_suspend(call->session, NULL, NULL);
    return GATE_LATER;
}

static enum pause_mode strictest(const struct exec *exec)
{
    enum pause_mode mode = PAUSE_NONE;
    for (unsigned i = 0; i < PAUSE_REASONS; i++) {
        mode = exec->pauses[i].mode > mode ? exec->pauses[i].mode : mode;
    }
    return mode;
}

/* Whoever is still held back is suspended again. */
static void resume_all(struct exec *exec)
{
    struct list *next;
    for (struct list *node = exec->sessions.next; node != &exec->sessions; node = next) {
        next = node->next;
        struct session *session = LIST_OWNER(node, struct session, link);
        if ((session->flags & SESSION_PAUSED) != 0) {
            session->flags &= ~(uint32_t)SESSION_PAUSED;
            session_resume(session);
        }
    }
}

/* A pause has ended. */
static void relax(struct exec *exec)
{
    enum pause_mode before = exec->pause_mode;
    exec->pause_mode = strictest(exec);
    if (exec->pause_mode == PAUSE_NONE) {
        exec_activate_gate(exec, GATE_PAUSE, false);
        exec_sliced_freeze(exec);
        exec_sliced_on_unpause(exec);
    }
    if (exec->pause_mode < before) {
        resume_all(exec);
    }
}

void exec_pause(struct exec *exec, enum pause_reason reason, enum pause_mode mode, int64_t until_ms)
{
    struct pause *pause = &exec->pauses[reason];
    if (pause->mode == PAUSE_NONE || until_ms > pause->until_ms) {
        pause->until_ms = until_ms;
    }
    if (mode > pause->mode) {
        pause->mode = mode;
    }
    exec->pause_mode = strictest(exec);
    exec_make_whole(exec); /* CLIENT PAUSE has waited for that; others cannot. */
    exec_activate_gate(exec, GATE_PAUSE, true);
    keyspace_freeze(exec->keyspace, true);
}

void exec_unpause(struct exec *exec, enum pause_reason reason)
{
    exec->pauses[reason].mode = PAUSE_NONE;
    relax(exec);
}

void exec_pause_tick(struct exec *exec)
{
    for (unsigned i = 0; i < PAUSE_REASONS; i++) {
        if (exec->now->wall_ms >= exec->pauses[i].until_ms) {
            exec->pauses[i].mode = PAUSE_NONE;
        }
    }
    relax(exec);
}

enum pause_mode exec_pause_mode(const struct exec *exec)
{
    return exec->pause_mode;
}
