/* Running commands: the path that every command of every client takes.
 *
 *     exec_plan      look up the entry, hash the first key
 *     exec_prefetch  prefetch what the first keys of a window of commands hold
 *     exec_run       refuse or run, then effects and statistics
 *
 * Cost over the handler: one name lookup (about 4 ns), one hash, one tick read (8 ns) and a handful
 * of tests and counters on three cache lines: the entry's two and exec's first.
 *
 * Refusals come before the handler and in Redis's order: unknown command, arity, then the gates by
 * bit. A refusal inside MULTI spoils the transaction; one of EXEC itself reads EXECABORT and ends
 * it.
 *
 * CLIENT REPLY is a state machine on the session's flags, moved on after each command:
 *
 *     SKIP: sets SKIP_NEXT --after it--> SKIP (muted) --after the next--> none
 *     OFF:  muted until ON */
#include "exec/exec_internal.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/buf.h"
#include "exec/multi.h"

#define LIKELY(condition) __builtin_expect(!!(condition), 1)

enum {
    SESSION_REPLY_MASK = SESSION_REPLY_OFF | SESSION_REPLY_SKIP | SESSION_REPLY_SKIP_NEXT,
    /* Flags with which something is to be done after a command. */
    SESSION_AFTER_MASK = SESSION_REPLY_MASK | SESSION_PUSHED | SESSION_CACHING,
    ERROR_TEXT_MAX = 128, /* Bytes of a client's words quoted in an error. */
};

/* ---- Plan ---- */

/* Hashes the first key of the plan's command, when it is at a fixed place. */
static inline void plan_key(const struct session *session, struct exec_plan *plan)
{
    uint32_t first = plan->entry->first_key;
    if (first != 0 && first < plan->count) {
        plan->first_key = first;
        plan->first_hash = db_hash(session->db, plan->args[first]);
    }
}

void exec_plan(struct exec *exec, struct session *session, struct slice *args, uint32_t count,
               struct exec_plan *plan)
{
    DEBUG_ASSERT(count != 0);
    struct command_entry *entry = exec_registry_find(exec, args[0]);
    plan->args = args;
    plan->count = count;
    plan->first_key = 0;
    plan->first_hash = 0;
    if (entry != NULL && entry->subcommand_count != 0 && count > 1) {
        struct command_entry *sub = exec_lookup(exec, args, count);
        entry = sub != NULL ? sub : entry;
    }
    plan->entry = entry;
    if (entry != NULL) {
        plan_key(session, plan);
    }
}

void exec_look_ahead(struct exec_ahead *ahead, const struct session *session,
                     const struct exec_plan *plan)
{
    if (plan->first_key != 0 && ahead->count < DB_LOOKS_MAX) {
        ahead->looks[ahead->count++] =
            (struct db_look){.db = session->db, .hash = plan->first_hash};
    }
}

void exec_prefetch(const struct exec_ahead *ahead)
{
    db_prefetch(ahead->looks, ahead->count);
}

/* ---- Refusals ---- */

/* A client's word for an error text: up to its first NUL, at most `max` bytes. */
static int quoted_len(struct slice word, size_t max)
{
    return (int)strnlen(word.len != 0 ? word.data : "", word.len < max ? word.len : max);
}

static void refuse_unknown(struct call *call)
{
    struct buf text;
    buf_init(&text);
    for (uint32_t i = 1; i < call->args.count && text.len < ERROR_TEXT_MAX; i++) {
        struct slice arg = call->args.at[i];
        buf_printf(&text, "'%.*s' ", quoted_len(arg, ERROR_TEXT_MAX - text.len), arg.data);
    }
    struct slice name = call->args.at[0];
    reply_errorf(call->out, "ERR unknown command '%.*s', with args beginning with: %.*s",
                 quoted_len(name, ERROR_TEXT_MAX), name.data, (int)text.len,
                 text.len != 0 ? text.data : "");
    buf_deinit(&text);
}

/* The errors that need no gate; they are written as they are or, for EXEC, as EXECABORT. */
static bool is_refused_by_form(struct call *call)
{
    struct command_entry *entry = call->entry;
    uint32_t count = call->args.count;
    if (entry == NULL) {
        refuse_unknown(call);
        return true;
    }
    if (entry->subcommand_count != 0 && count > 1) {
        call_unknown_subcommand(call);
        return true;
    }
    if (entry->arity > 0 ? count != (uint32_t)entry->arity : count < (uint32_t)-entry->arity) {
        call_arity_error(call);
        return true;
    }
    if (entry->run == NULL) {
        call_unknown_subcommand(call);
        return true;
    }
    return false;
}

static inline bool is_well_formed(const struct call *call)
{
    const struct command_entry *entry = call->entry;
    if (entry == NULL || entry->subcommand_count != 0) {
        return false; /* Unknown, or a container: looked at more closely. */
    }
    return entry->arity > 0 ? call->args.count == (uint32_t)entry->arity
                            : call->args.count >= (uint32_t)-entry->arity;
}

static void note_refusal(struct exec *exec, struct call *call, uint64_t errors_before)
{
    if (call->entry != NULL) {
        call->entry->stats.rejected++;
    }
    exec_note_errors(exec, call->out, call->out->error_count - errors_before);
    if (call->entry != NULL && call->entry == exec->exec_entry) {
        multi_end(call->session);
    } else {
        multi_spoil(call->session);
    }
}

/* GATE_PASS, or what the first gate that did not let the call through said. */
static enum gate_result ask_gates(struct exec *exec, struct call *call, uint32_t bits)
{
    while (bits != 0) {
        int index = __builtin_ctz(bits);
        bits &= bits - 1;
        ASSERT(exec->gates[index].fn != NULL);
        enum gate_result result = exec->gates[index].fn(exec->gates[index].context, call);
        if (result != GATE_PASS) {
            return result;
        }
    }
    return GATE_PASS;
}

/* ---- Run ---- */

static void note_slow(struct exec *exec, struct call *call, uint64_t ns)
{
    int64_t us = (int64_t)(ns / 1000);
    if (exec->slow != NULL && exec->slow_us >= 0 && us >= exec->slow_us &&
        (call->entry->flags & CMD_SKIP_SLOWLOG) == 0) {
        exec->slow(exec->slow_context, call, us);
    }
    exec_note_latency(exec, (call->entry->flags & CMD_FAST) != 0 ? "fast-command" : "command", us);
}

void exec_note_read(struct exec *exec, struct session *client, const struct call *call)
{
    if (exec->reader != NULL && (call->entry->flags & CMD_READONLY) != 0) {
        exec->reader(exec->reader_context, client, call);
    }
}

static void note_monitor(struct exec *exec, struct call *call)
{
    if (exec->monitor != NULL && (call->entry->flags & (CMD_SKIP_MONITOR | CMD_ADMIN)) == 0) {
        exec->monitor(exec->monitor_context, call);
    }
}

static void note_watchers(struct exec *exec, struct call *call)
{
    struct session *outer = exec_client(exec); /* The call itself is over. */
    exec_note_read(exec, outer != NULL ? outer : call->session, call);
    note_monitor(exec, call);
}

/* A counter that went backwards (another core's, on a poor virtual machine) counts as none. */
uint64_t exec_ticks_to_ns(const struct exec *exec, uint64_t ticks)
{
    ticks = (int64_t)ticks < 0 ? 0 : ticks;
    return (uint64_t)((unsigned __int128)ticks * exec->ns_per_tick >> 32);
}

/* The command as it came is its effect. */
static void emit_verbatim(struct exec *exec, struct call *call)
{
    exec_emit(exec,
              &(struct effect){
                  .db = call->db, .args = call->args.at, .count = call->args.count, .call = call});
}

static inline __attribute__((always_inline)) void call_ended(struct exec *exec, struct call *call,
                                                             uint64_t ns, uint64_t error_count)
{
    struct command_entry *entry = call->entry;
    exec_stats_record(entry, ns, exec->is_tracking);
    if (call->change_count != 0 && !call->is_effect_set && exec->command_sink_count != 0) {
        emit_verbatim(exec, call);
    }
    if (!LIKELY(error_count == 0)) {
        entry->stats.failed++;
        exec_note_errors(exec, call->out, error_count);
    }
    if (!LIKELY(ns < exec->watch_ns)) {
        note_slow(exec, call, ns);
    }
}

void exec_call_ended(struct exec *exec, struct call *call, uint64_t ns, uint64_t error_count)
{
    call_ended(exec, call, ns, error_count);
}

static inline void run_call(struct exec *exec, struct call *call)
{
    uint64_t errors_before = call->out->error_count;
    uint64_t start = exec->last_tick;
    exec->stats.commands_count++;
    const struct call *outer = exec->current;
    exec->current = call;
    call->entry->run(call);
    exec->current = outer;
    uint64_t end = clock_ticks();
    exec->last_tick = end;
    if (!LIKELY(call->sliced == NULL)) { /* It reads later, and ends: exec_call_ended. */
        note_monitor(exec, call);
        return;
    }
    call_ended(exec, call, exec_ticks_to_ns(exec, end - start),
               call->out->error_count - errors_before);
    if (!LIKELY(!exec->is_watched)) {
        note_watchers(exec, call);
    }
}

/* A command that suspended its session replies later: until then the state stays as it is. */
static void reply_mode_move(struct session *session)
{
    if ((session->flags & SESSION_SUSPENDED) != 0) {
        session->flags |= SESSION_REPLY_DUE;
    } else {
        session_reply_moved(session);
    }
}

/* CLIENT CACHING holds for one command or transaction; CLIENT itself does not count, and who waits
 * has not had its command yet (block.c). */
static bool ends_caching(const struct session *session, const struct command_entry *entry)
{
    bool is_client =
        entry != NULL &&
        strcmp(entry->parent != NULL ? entry->parent->row->name : entry->row->name, "client") == 0;
    bool is_waiting = session->slots[SESSION_SLOT_BLOCK] != NULL;
    return (session->flags & SESSION_MULTI) == 0 && !is_client && !is_waiting;
}

static void after_command(struct session *session, const struct command_entry *entry)
{
    if ((session->flags & SESSION_CACHING) != 0 && ends_caching(session, entry)) {
        session->flags &= ~(uint32_t)SESSION_CACHING;
    }
    if ((session->flags & SESSION_PUSHED) != 0) {
        session_push_flush(session);
    }
    if ((session->flags & SESSION_REPLY_MASK) != 0) {
        reply_mode_move(session);
    }
}

const struct call *exec_current_call(const struct exec *exec)
{
    return exec->current;
}

/* All fields are named: were some left out, gcc would clear the whole with a string instruction,
 * whose start alone takes longer than these stores. */
static inline struct call call_make(struct exec *exec, struct session *session,
                                    const struct exec_plan *plan)
{
    struct command_entry *entry = plan->entry;
    return (struct call){
        .args = {.at = plan->args, .count = plan->count},
        .out = session->out,
        .db = session->db,
        .session = session,
        .now = exec->now,
        .command = entry != NULL ? entry->row : NULL,
        .entry = entry,
        .exec = exec,
        .family = entry != NULL ? entry->family : NULL,
        .first_hash = plan->first_hash,
        .first_key = plan->first_key,
        .change_count = 0,
        .ready_key = 0,
        .is_effect_set = false,
        .is_inner = false,
        .sliced = NULL,
        .parser = NULL,
        .blobs = NULL,
    };
}

enum exec_result exec_run(struct exec *exec, struct session *session, struct exec_plan *plan,
                          struct resp_parser *parser)
{
    struct call call = call_make(exec, session, plan);
    call.parser = parser;
    uint64_t errors_before = session->out->error_count;
    enum gate_result passed = GATE_PASS;
    if (!LIKELY(is_well_formed(&call)) && is_refused_by_form(&call)) {
        passed = GATE_REFUSED;
    } else {
        uint32_t gates = call.entry->gate_bits & (exec->active_gates | session->gate_bits);
        if (!LIKELY(gates == 0)) {
            passed = ask_gates(exec, &call, gates);
        }
    }
    if (passed == GATE_LATER) {
        return EXEC_LATER;
    }
    session->last_active_ms = exec->now->wall_ms;
    session->last_command = call.entry;
    session->commands_count++;
    if (LIKELY(passed == GATE_PASS)) {
        run_call(exec, &call);
    } else if (passed == GATE_REFUSED) {
        note_refusal(exec, &call, errors_before);
    }
    if (!LIKELY((session->flags & SESSION_AFTER_MASK) == 0)) {
        after_command(session, call.entry);
    }
    if (!LIKELY(exec->aftermath == 0)) {
        exec_settle_for(exec, session);
    }
    return EXEC_DONE;
}

void exec_run_again(struct exec *exec, struct session *session, const struct exec_again *again)
{
    struct exec_plan plan = {
        .entry = again->entry, .args = again->args.at, .count = again->args.count};
    struct call call = call_make(exec, session, &plan);
    call.ready_key = again->ready_key;
    uint64_t errors_before = session->out->error_count;
    uint64_t start = exec->last_tick;
    const struct call *outer = exec->current;
    exec->current = &call;
    if (!LIKELY((exec->active_gates & GATE_PINNED) == 0)) {
        exec_sliced_settle(exec, &call);
    }
    again->entry->run(&call);
    exec->current = outer;
    exec->last_tick = clock_ticks();
    uint64_t ns = exec_ticks_to_ns(exec, exec->last_tick - start);
    again->entry->stats.usec_e3 += ns; /* Its call was counted when it came. */
    if (call.change_count != 0 && !call.is_effect_set && exec->command_sink_count != 0) {
        emit_verbatim(exec, &call);
    }
    if (call.out->error_count != errors_before) {
        again->entry->stats.failed++;
        exec_note_errors(exec, call.out, call.out->error_count - errors_before);
    }
    if (ns >= exec->watch_ns) {
        note_slow(exec, &call, ns);
    }
    exec_note_read(exec, session, &call);
    exec_unit_end_for(exec, session);
    if (exec->current == NULL && (session->flags & SESSION_PUSHED) != 0) {
        session_push_flush(session);
    }
}

/* What EXEC and scripts do: a call within another. Whoever sent the outermost command is told by
 * it, not by those within. */
static void run_within(struct exec *exec, struct call *call, uint32_t gates)
{
    ASSERT(call->entry != NULL);
    uint64_t errors_before = call->out->error_count;
    ASSERT(call->entry != NULL);
    uint32_t active = exec->active_gates | call->session->gate_bits;
    enum gate_result passed = ask_gates(exec, call, call->entry->gate_bits & gates & active);
    if (passed == GATE_REFUSED) {
        note_refusal(exec, call, errors_before);
    }
    if (passed != GATE_PASS) {
        return;
    }
    if (!LIKELY((exec->active_gates & GATE_PINNED) == 0)) {
        exec_sliced_settle(exec, call);
    }
    const struct call *outermost = exec->outermost;
    if (outermost == NULL) {
        exec->outermost = exec->current;
    }
    run_call(exec, call);
    exec->outermost = outermost;
    if (exec->current == NULL && (call->session->flags & SESSION_PUSHED) != 0) {
        session_push_flush(call->session);
    }
}

void exec_run_queued(struct exec *exec, struct session *session, const struct multi_command *queued)
{
    struct exec_plan plan = {.entry = queued->entry,
                             .args = queued->args.at,
                             .count = queued->args.count,
                             .first_key = queued->first_key,
                             .first_hash = queued->first_hash};
    struct call call = call_make(exec, session, &plan);
    call.is_inner = true;
    call.blobs = queued->blobs;
    run_within(exec, &call, session->gate_bits & GATE_ACCESS);
}

static void run_inner(struct exec *exec, struct session *session, const struct exec_plan *plan,
                      uint32_t gates, bool is_checked)
{
    struct call call = call_make(exec, session, plan);
    call.is_inner = true;
    if (exec->current != NULL) {
        call.now = exec->current->now; /* One time for all that belongs together. */
    }
    uint64_t errors_before = session->out->error_count;
    if (!is_checked && is_refused_by_form(&call)) {
        note_refusal(exec, &call, errors_before);
    } else {
        run_within(exec, &call, gates);
    }
    if (exec->current == NULL) {
        exec_unit_end(exec);
    }
}

void exec_run_inner(struct exec *exec, struct session *session, struct slice *args, uint32_t count,
                    uint32_t gates)
{
    struct exec_plan plan;
    exec_plan(exec, session, args, count, &plan);
    run_inner(exec, session, &plan, gates, false);
}

void exec_run_entry(struct exec *exec, struct session *session, struct command_entry *entry,
                    const struct args *args, uint32_t gates)
{
    struct exec_plan plan = {.entry = entry, .args = args->at, .count = args->count};
    plan_key(session, &plan);
    run_inner(exec, session, &plan, gates, true);
}
