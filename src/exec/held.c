/* Those who wait for a long call: commands whose keys are pinned (exec/sliced.h).
 *
 *     command that    of a key needs to be free         GATE_
 *     reads it        of one that edits it              EDITED
 *     changes it      of everybody                      PINNED
 *     replaces it     of all but those who only read    PINNED
 *
 * Such a command is held back before its handler, as CLIENT PAUSE does it: the session is
 * suspended, the bytes of the command stay, and all who wait go on, in order, whenever a pin is let
 * go of. EXEC waits if one of its queue would. Scripts wait for the keys that they name; those that
 * name none until nothing is pinned or, when they only read, until nobody edits. Commands without
 * keys that write (FLUSHALL) wait for all that write, and those that need the data to be between
 * two commands (CMD_WHOLE: a save, CLIENT PAUSE) for those that edit or tell. What cannot wait
 * (commands inside EXEC and scripts, the server's own) has the holder finish first. The link to a
 * primary waits like a client.
 *
 * While there is a teller (exec/sliced_tell.c), whatever may write waits. While a primary's
 * transaction is under way, whatever names one of its keys waits, and whatever names none and looks
 * at many; and so it is while a call changes very many keys (exec/sliced_crowd.c), which itself is
 * not held back here, but begins when its keys are free.
 *
 * Costs. Commands that read pay nothing until something is edited: gates are asked while they are
 * active.
 *
 * Invariants:
 *   1. GATE_PINNED is active exactly while something is pinned, GATE_EDITED while a pin of those is
 *      PIN_EDIT; and both while there is a teller or a primary's transaction under way, or a crowd,
 *      GATE_EDITED if that writes; and both while the keyspace has not got round to fields that are
 *      due: those of the keys that a command names then go in steps before it runs.
 *   2. A held session is suspended and SESSION_HELD. */
#include "base/assert.h"
#include "base/mem.h"
#include "exec/exec_internal.h"
#include "exec/multi.h"
#include "exec/sliced.h"
#include "keyspace/pin.h"

/* A session whose command waits for a pin to go. */
struct held {
    struct list link;
    struct session *session;
};

static void held_free(struct held *held)
{
    list_remove(&held->link);
    mem_free_sized(held, sizeof(*held));
}

static void held_on_cancel(struct session *session, void *context)
{
    held_free(context);
    exec_sliced_start_later(session->exec);
}

static enum gate_result hold_back(struct exec *exec, struct session *session)
{
    struct held *held = mem_alloc(sizeof(*held));
    held->session = session;
    list_init(&held->link);
    list_push_back(&exec->sliced.held, &held->link);
    session->flags |= SESSION_HELD;
    session_suspend(session, held_on_cancel, held);
    return GATE_LATER;
}

/* All go on, in order, and get their chance before another long command begins. */
static void release_held(struct exec *exec)
{
    struct list *head = &exec->sliced.held;
    while (!list_is_empty(head)) {
        struct held *held = LIST_OWNER(head->next, struct held, link);
        struct session *session = held->session;
        held_free(held);
        session->flags &= ~(uint32_t)SESSION_HELD;
        exec->sliced.is_start_barred = true;
        session_resume(session);
    }
}

void exec_sliced_tick(struct exec *exec)
{
    exec->sliced.is_start_barred = false;
    exec_sliced_start_later(exec);
}

void exec_held_refresh(struct exec *exec)
{
    bool has_more =
        exec->sliced.unit != NULL || exec->sliced.teller != NULL || exec->sliced.has_due;
    bool has_pins = keyspace_pin_count(exec->keyspace) > 0;
    bool has_edits = keyspace_edit_count(exec->keyspace) > 0 || exec_crowd_writes(exec);
    exec_activate_gate(exec, GATE_PINNED, has_pins || has_more || exec->sliced.crowd != NULL);
    exec_activate_gate(exec, GATE_EDITED, has_edits || has_more);
}

void exec_note_due(struct exec *exec, bool has_due)
{
    if (exec->sliced.has_due != has_due) {
        exec->sliced.has_due = has_due;
        exec_held_refresh(exec);
    }
}

void exec_held_release(struct exec *exec)
{
    release_held(exec);
    exec_sliced_start_later(exec);
}

static void on_pin(void *context, bool is_held)
{
    struct exec *exec = context;
    exec_held_refresh(exec);
    if (!is_held) {
        exec_held_release(exec);
    }
}

/* ---- What is in the way ---- */

/* The keys of a command; `*more` is owned when it is not NULL. Returns how many. */
uint32_t exec_find_pins(const struct call *call, struct key_position few[EXEC_KEYS_INLINE],
                        struct key_position **more)
{
    *more = NULL;
    int count =
        exec_find_keys(call->command, call->args.at, call->args.count, few, EXEC_KEYS_INLINE);
    if (count > EXEC_KEYS_INLINE) {
        *more = mem_alloc((size_t)count * sizeof(**more));
        exec_find_keys(call->command, call->args.at, call->args.count, *more, (uint32_t)count);
    }
    return count < 0 ? 0 : (uint32_t)count;
}

/* What of a key must be free before a command may have it. */
static unsigned command_bars(const struct key_spec *spec)
{
    if (spec->access == KEY_RW || spec->is_edited) {
        return PIN_ANY;
    }
    return spec->access == KEY_RO ? PIN_EDIT : PIN_KEEP | PIN_TAKE | PIN_EDIT;
}

/* Scripts: their rows do not tell all that they will do. */
static bool runs_others(const struct call *call)
{
    return (call->entry->flags & CMD_MAY_PARK) != 0;
}

/* Who must have finished before a command that names no keys. Those that only
 * read do not hinder FLUSHALL or SWAPDB; SCAN and the like hinder nobody. */
static enum slice_mode least_in_the_way(const struct call *call)
{
    uint32_t flags = call->entry->flags;
    if (runs_others(call)) {
        return (flags & CMD_READONLY) != 0 ? SLICE_EDITS : SLICE_READS;
    }
    if ((flags & CMD_WHOLE) != 0) {
        return SLICE_EDITS;
    }
    if ((flags & CMD_AFTER_WRITES) != 0) {
        return call->exec->pause_mode == PAUSE_NONE ? SLICE_WRITES : SLICE_NONE;
    }
    return (flags & CMD_WRITE) != 0 ? SLICE_WRITES : SLICE_NONE;
}

/* Whether many keys that nobody may see are changing. */
static bool is_changing_many(const struct exec *exec)
{
    return exec->sliced.unit != NULL || exec_crowd_writes(exec);
}

/* Whether something is in the way of a command that names no keys. One that reads (KEYS, DBSIZE)
 * waits for a transaction of a primary and for who changes very many keys, and one that writes for
 * who reads very many as well. */
static bool is_barred_by_all(const struct exec *exec, const struct call *call)
{
    enum slice_mode least = least_in_the_way(call);
    if ((is_changing_many(exec) && (call->entry->flags & CMD_READONLY) != 0) ||
        (exec->sliced.crowd != NULL && (call->entry->flags & CMD_WRITE) != 0)) {
        return true;
    }
    return exec_sliced_is_any(exec, least) ||
           (exec->sliced.teller != NULL && least == SLICE_EDITS) ||
           (block_is_pending(exec) && least != SLICE_NONE);
}

/* Whether a command reads keys that it does not name as such (SORT BY). */
static bool reads_beyond_keys(const struct call *call)
{
    const struct command *row = call->command;
    bool is_beyond = false;
    for (unsigned i = 0; i < command_key_spec_count(row); i++) {
        is_beyond |= row->keys[i].is_unknown || row->keys[i].is_incomplete;
    }
    return is_beyond;
}

/* One that begins by itself when its keys are free: asking for each of them would take long. */
static bool is_crowd(const struct call *call)
{
    return (call->entry->flags & CMD_SLICES_KEYS) != 0 && call->args.count > SLICED_SIZE_MIN;
}

static bool may_write(const struct call *call)
{
    uint32_t flags = call->entry->flags;
    return (flags & (CMD_WRITE | CMD_MAY_REPLICATE)) != 0 ||
           (runs_others(call) && (flags & CMD_READONLY) == 0);
}

/* Tells those who hold a key that somebody wants it: to be quick, or to be done. */
static void press(struct exec *exec, const struct call *call, uint32_t index, unsigned modes,
                  bool is_finishing)
{
    struct slice key = call->args.at[index];
    uint64_t hash = call_hash(call, index);
    if (is_finishing) {
        keyspace_finish_pins(exec->keyspace, hash, key, modes);
    } else {
        keyspace_hurry_pins(exec->keyspace, hash, key, modes);
    }
}

/* Whether a key is one of many that others hold together. */
static bool is_held_with_others(struct exec *exec, uint64_t hash, bool is_reading,
                                bool is_finishing)
{
    bool is_of_unit = exec_unit_bars(exec, hash);
    bool is_of_crowd = exec_crowd_bars(exec, hash, is_reading);
    if (is_of_unit && is_finishing) {
        exec_sliced_finish_unit(exec);
    }
    if (is_of_crowd && is_finishing) {
        exec_finish_crowd(exec);
    }
    return is_of_unit || is_of_crowd;
}

/* Whether keys that a command names are not free; `*count` is how many it names. */
static bool are_keys_barred(struct exec *exec, const struct call *call, bool is_finishing,
                            uint32_t *count)
{
    struct key_position few[EXEC_KEYS_INLINE];
    struct key_position *more;
    bool is_barred = false;
    *count = exec_find_pins(call, few, &more);
    const struct key_position *keys = more != NULL ? more : few;
    for (uint32_t i = 0; i < *count; i++) {
        unsigned modes = command_bars(keys[i].spec);
        struct slice key = call->args.at[keys[i].index];
        uint64_t hash = call_hash(call, keys[i].index);
        is_barred |= is_held_with_others(exec, hash, modes == PIN_EDIT, is_finishing);
        if (exec->sliced.has_due && !is_finishing) {
            db_lead_parts(call->db, key, hash, exec->now->wall_ms);
        }
        if (keyspace_is_barred(exec->keyspace, hash, key, modes)) {
            press(exec, call, keys[i].index, modes, is_finishing);
            is_barred = true;
        }
    }
    mem_free(more);
    return is_barred;
}

void exec_sliced_settle(struct exec *exec, const struct call *call)
{
    uint32_t count = 0;
    if (may_write(call) && exec->sliced.teller != NULL) {
        exec_make_whole(exec);
    }
    are_keys_barred(exec, call, true, &count);
    if (count == 0 && is_barred_by_all(exec, call)) {
        exec_make_whole(exec);
        block_serve_rest(exec);
        exec_sliced_finish_all(exec, least_in_the_way(call));
        exec_finish_crowd(exec);
    }
    if (reads_beyond_keys(call) && is_changing_many(exec)) {
        exec_make_whole(exec);
    }
}

/* Whether a call must wait; who is in the way hears of it. */
static bool must_wait(struct exec *exec, const struct call *call)
{
    uint32_t count = 0;
    if (may_write(call) && exec->sliced.teller != NULL) {
        return true;
    }
    if (are_keys_barred(exec, call, false, &count) ||
        (is_changing_many(exec) && reads_beyond_keys(call))) {
        return true;
    }
    if (count == 0 && is_barred_by_all(exec, call)) {
        exec_sliced_hurry_all(exec);
        return true;
    }
    return false;
}

/* EXEC must wait if one of its queue must: others' commands may not end in the middle of it. */
static bool must_queue_wait(struct exec *exec, const struct call *call)
{
    bool must = false;
    for (uint32_t i = 0; i < multi_count(call->session); i++) {
        const struct multi_command *queued = multi_at(call->session, i);
        const struct call view = {.args = queued->args,
                                  .db = call->db,
                                  .session = call->session,
                                  .command = queued->entry->row,
                                  .entry = queued->entry,
                                  .exec = exec,
                                  .first_key = queued->first_key,
                                  .first_hash = queued->first_hash};
        uint32_t gates = queued->entry->gate_bits & exec->active_gates;
        must |= (gates & (GATE_PINNED | GATE_EDITED)) != 0 && must_wait(exec, &view);
    }
    return must;
}

static enum gate_result pinned_gate(void *context, struct call *call)
{
    struct exec *exec = context;
    if ((call->session->flags & SESSION_INTERNAL) != 0) {
        exec_sliced_settle(exec, call);
        return GATE_PASS;
    }
    if (is_crowd(call)) {
        return GATE_PASS;
    }
    bool is_exec = call->entry == exec->exec_entry;
    if (is_exec ? must_queue_wait(exec, call) : must_wait(exec, call)) {
        return hold_back(exec, call->session);
    }
    return GATE_PASS;
}

void exec_held_init(struct exec *exec)
{
    list_init(&exec->sliced.held);
    keyspace_set_pin_hook(exec->keyspace, on_pin, exec);
    exec_set_gate(exec, GATE_PINNED, pinned_gate, exec);
    exec_set_gate(exec, GATE_EDITED, pinned_gate, exec);
}

void exec_held_deinit(struct exec *exec)
{
    ASSERT(list_is_empty(&exec->sliced.held));
    keyspace_set_pin_hook(exec->keyspace, NULL, NULL);
}
