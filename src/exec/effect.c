/* Effects on their way out, and the classes of events.
 *
 * An event's class follows from its name, so that a handler names one thing only. A few names are
 * generic whatever the key holds; the others begin as the commands of their type do. Redis has
 * some 60 names; the rules below know them all, and are looked at only while somebody listens. */
#include "exec/effect.h"

#include "exec/aside.h"
#include "exec/exec_internal.h"

#include "base/assert.h"

static const struct {
    const char *prefix;
    enum event_class event_class;
} event_rules[] = {
    /* Whole generic names first: some of them begin like those of a type. */
    {"del", EVENT_GENERIC},     {"expired", EVENT_EXPIRED}, {"expire", EVENT_GENERIC},
    {"evicted", EVENT_EVICTED}, {"persist", EVENT_GENERIC}, {"rename_", EVENT_GENERIC},
    {"move_", EVENT_GENERIC},   {"copy_to", EVENT_GENERIC}, {"restore", EVENT_GENERIC},
    {"new", EVENT_NEW},         {"keymiss", EVENT_MISS},    {"sortstore", EVENT_LIST},
    {"set", EVENT_STRING}, /* set, setrange, setbit */
    {"incr", EVENT_STRING},     {"decr", EVENT_STRING},     {"append", EVENT_STRING},
    {"pf", EVENT_STRING},       {"s", EVENT_SET}, /* sadd, srem, spop, sunionstore, ... */
    {"h", EVENT_HASH},          {"z", EVENT_ZSET},          {"geo", EVENT_ZSET},
    {"x", EVENT_STREAM},        {"l", EVENT_LIST},          {"r", EVENT_LIST}, /* rpush, rpop */
};

enum event_class event_class_of(const char *event)
{
    for (size_t i = 0; i < sizeof(event_rules) / sizeof(event_rules[0]); i++) {
        const char *prefix = event_rules[i].prefix;
        if (strncmp(event, prefix, strlen(prefix)) == 0) {
            return event_rules[i].event_class;
        }
    }
    return EVENT_GENERIC;
}

void exec_unit_end(struct exec *exec)
{
    if ((exec->aftermath & AFTERMATH_UNIT) == 0 || exec->sliced.teller != NULL) {
        return;
    }
    exec->aftermath &= ~(uint32_t)AFTERMATH_UNIT;
    for (unsigned i = 0; i < exec->sink_count; i++) {
        const struct effect_sink *sink = &exec->sinks[i];
        uint64_t count = exec->unit_counts[i];
        exec->unit_counts[i] = 0;
        if (count != 0 && sink->on_end != NULL) {
            sink->on_end(sink->context, count);
        }
    }
}

void exec_unit_end_for(struct exec *exec, struct session *session)
{
    exec->unit_client = session;
    exec_unit_end(exec);
    exec->unit_client = NULL;
}

struct session *exec_unit_client(const struct exec *exec)
{
    return exec->unit_client;
}

/* Outside of commands each removal is a unit. */
static void unit_end_of_removal(struct exec *exec)
{
    if (exec->current == NULL) {
        exec_unit_end(exec);
    }
}

void exec_settle_for(struct exec *exec, struct session *session)
{
    if (aside_is_parked(exec) || exec->sliced.teller != NULL || exec->sliced.unit != NULL) {
        return; /* In the middle of a unit: its end settles. */
    }
    exec_unit_end_for(exec, session);
    if ((exec->aftermath & AFTERMATH_READY) != 0) {
        block_serve(exec);
    }
}

void exec_settle(struct exec *exec)
{
    exec_settle_for(exec, NULL);
}

/* Tells a command to the sinks of an audience. */
static void emit_to(struct exec *exec, uint32_t audience, const struct effect *effect)
{
    exec->aftermath |= AFTERMATH_UNIT;
    for (unsigned i = 0; i < exec->sink_count; i++) {
        const struct effect_sink *sink = &exec->sinks[i];
        if (sink->on_command == NULL || (sink->audience & audience) == 0) {
            continue;
        }
        if (exec->unit_counts[i]++ == 0 && sink->on_begin != NULL) {
            sink->on_begin(sink->context);
        }
        sink->on_command(sink->context, effect);
    }
}

void exec_emit(struct exec *exec, const struct effect *effect)
{
    emit_to(exec, exec->audience, effect);
}

void exec_emit_of(struct call *call, const struct slice *args, uint32_t count)
{
    if (call->exec->command_sink_count != 0) {
        exec_emit(call->exec,
                  &(struct effect){.db = call->db, .args = args, .count = count, .call = call});
    }
}

/* What was removed because its time had come, or for want of room. */
static void emit_removal(struct exec *exec, struct db *db, const struct slice *args, uint32_t count)
{
    struct effect effect = {.db = db, .args = args, .count = count};
    if (exec->command_sinks_all != 0) {
        emit_to(exec, EFFECT_FOR_ALL, &effect);
        unit_end_of_removal(exec);
    }
}

void exec_emit_event(struct exec *exec, struct db *db, struct slice key, const char *event,
                     enum event_class event_class)
{
    for (unsigned i = 0; i < exec->sink_count; i++) {
        const struct effect_sink *sink = &exec->sinks[i];
        if (sink->on_event != NULL && (sink->event_classes & (uint32_t)event_class) != 0) {
            sink->on_event(sink->context, db, key, event, event_class);
        }
    }
}

static void emit_change(struct exec *exec, struct db *db, struct slice key, const struct call *call)
{
    for (unsigned i = 0; i < exec->sink_count; i++) {
        const struct effect_sink *sink = &exec->sinks[i];
        if (sink->on_change != NULL) {
            sink->on_change(sink->context, db, key, call);
        }
    }
}

void exec_report_removal(struct exec *exec, struct db *db, struct slice key, const char *event,
                         enum event_class event_class)
{
    exec_wake_key(exec, db, key, event);
    exec->stats.dirty++;
    emit_removal(exec, db, (const struct slice[]){slice_from_text("DEL"), key}, 2);
    if (exec->change_sink_count != 0) {
        emit_change(exec, db, key, NULL);
    }
    if ((exec->event_classes & (uint32_t)event_class) != 0 && event != NULL) {
        exec_emit_event(exec, db, key, event, event_class);
    }
}

/* Tells an event by its name to those who want its class. */
static void emit_named(struct exec *exec, struct db *db, struct slice key, const char *event)
{
    enum event_class event_class = event_class_of(event);
    if ((exec->event_classes & (uint32_t)event_class) != 0) {
        exec_emit_event(exec, db, key, event, event_class);
    }
}

void exec_report_flush(struct exec *exec, struct db *db)
{
    for (unsigned i = 0; i < exec->sink_count; i++) {
        const struct effect_sink *sink = &exec->sinks[i];
        if (sink->on_flush != NULL) {
            sink->on_flush(sink->context, db);
        }
    }
}

void exec_report_insert(struct exec *exec, struct db *db, struct slice key)
{
    if ((exec->event_classes & EVENT_NEW) != 0) {
        exec_emit_event(exec, db, key, "new", EVENT_NEW);
    }
}

void exec_report_miss(struct exec *exec, struct db *db, struct slice key)
{
    if ((exec->event_classes & EVENT_MISS) != 0) {
        exec_emit_event(exec, db, key, "keymiss", EVENT_MISS);
    }
}

void exec_report_part(struct exec *exec, struct db *db, struct slice key, struct slice field)
{
    exec->stats.dirty++;
    emit_removal(exec, db, (const struct slice[]){slice_from_text("HDEL"), key, field}, 3);
}

void exec_report_parts(struct exec *exec, struct db *db, struct slice key, const char *event)
{
    if (exec->change_sink_count != 0) {
        emit_change(exec, db, key, NULL);
    }
    if (exec->event_classes != 0) {
        emit_named(exec, db, key, event);
    }
}

void call_event(struct call *call, struct db *db, struct slice key, const char *event)
{
    if (call->exec->event_classes != 0) {
        emit_named(call->exec, db, key, event);
    }
}

void call_changed_key(struct call *call, struct db *db, struct slice key, const char *event)
{
    DEBUG_ASSERT((call->entry->flags & (CMD_WRITE | CMD_MAY_REPLICATE)) != 0);
    DEBUG_ASSERT(db_has_told(db, key));
    struct exec *exec = call->exec;
    call->change_count++;
    exec->stats.dirty++;
    exec_note_key(exec, db, key, event);
    if (exec->change_sink_count != 0) {
        emit_change(exec, db, key, call);
    }
    if (event != NULL) {
        call_event(call, db, key, event);
    }
}

void call_changed_beside(struct call *call, uint32_t index, const char *event)
{
    DEBUG_ASSERT((call->entry->flags & CMD_WRITE) != 0);
    DEBUG_ASSERT(db_has_told(call->db, call->args.at[index]));
    call->change_count++;
    call->exec->stats.dirty++;
    if (event != NULL) {
        call_event(call, call->db, call->args.at[index], event);
    }
}

void call_changed(struct call *call, uint32_t index, const char *event)
{
    call_changed_key(call, call->db, call->args.at[index], event);
}

bool call_wants_effects(const struct call *call)
{
    return call->exec->command_sink_count != 0;
}

void call_effect(struct call *call, const struct slice *args, uint32_t count)
{
    call->is_effect_set = true;
    if (call->exec->command_sink_count != 0 && !exec_sliced_gather(call, args, count)) {
        call_tell_begin(call);
        exec_emit_of(call, args, count);
    }
}

void call_no_effect(struct call *call)
{
    call->is_effect_set = true;
}
