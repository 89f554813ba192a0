/* Exec's life, its seams and its clock.
 *
 * A server has one struct exec. Other rooms are reached only through what they filled in here at
 * start: gates, sinks, hooks. The order in which a command passes them:
 *
 *     exec_run -> unknown? arity? -> gates by bit -> handler -> monitor hook
 *              -> verbatim effect -> statistics -> slow and latency hooks
 *
 * The clock of commands. Reading the kernel's clock costs 20 ns, twice per command would cost as
 * much as a GET. The processor's tick counter costs a third of that, and is read once per command:
 * the end of one is the start of the next (what lies between, the parsing, belongs to the command
 * anyway). exec_tick starts the first of a turn. The counter's rate is measured against the
 * monotonic clock since exec_new, so that it becomes more exact the longer the server runs:
 *
 *     ns = ticks x ns_per_tick / 2^32,  ns_per_tick = (us since start x 1000 x 2^32) / ticks
 *
 * The first rate comes from a spin of a few hundred microseconds in exec_new.
 *
 * Rejected: reading the time before and after (twice the cost for 1 % of precision); sampling every
 * n-th command (the slow log would miss what it is for). */
#include "exec/exec.h"

#include "exec/exec_internal.h"

#include "base/assert.h"
#include "base/mem.h"

enum { TICK_FIRST_US = 300, TICK_REFRESH_US = 1000 * 1000 };

/* ---- Clock ---- */

static void tick_calibrate(struct exec *exec, int64_t now_us)
{
    uint64_t ticks = clock_ticks() - exec->tick_origin;
    int64_t us = now_us - exec->tick_origin_us;
    if (ticks == 0 || us <= 0) {
        return;
    }
    unsigned __int128 scaled = (unsigned __int128)(uint64_t)us * 1000U << 32;
    uint64_t rate = (uint64_t)(scaled / ticks);
    exec->ns_per_tick = rate != 0 ? rate : 1;
}

static void tick_start(struct exec *exec)
{
    exec->tick_origin_us = clock_mono_us();
    exec->tick_origin = clock_ticks();
    int64_t now_us = exec->tick_origin_us;
    while (now_us - exec->tick_origin_us < TICK_FIRST_US) {
        now_us = clock_mono_us();
    }
    exec->ns_per_tick = UINT64_C(1) << 32;
    tick_calibrate(exec, now_us);
    exec->last_tick = clock_ticks();
}

void exec_tick(struct exec *exec)
{
    if (exec->now->mono_us - exec->tick_refresh_us >= TICK_REFRESH_US) {
        exec->tick_refresh_us = exec->now->mono_us;
        tick_calibrate(exec, clock_mono_us());
    }
    if (exec->pause_mode != PAUSE_NONE) {
        exec_pause_tick(exec);
    }
    if (exec->sliced.is_start_barred) {
        exec_sliced_tick(exec);
    }
    exec->last_tick = clock_ticks();
    block_tick(exec);
}

/* ---- Life ---- */

/* GATE_AUTH is set on sessions that have not shown who they are; the row's bit is missing for
 * commands that may do so. */
static enum gate_result auth_gate(void *context, struct call *call)
{
    (void)context;
    call_refuse(call, "NOAUTH Authentication required.");
    return GATE_REFUSED;
}

struct exec *exec_new(const struct exec_options *options)
{
    ASSERT(options->keyspace != NULL && options->now != NULL);
    struct exec *exec = mem_zalloc(sizeof(*exec));
    exec->keyspace = options->keyspace;
    exec->work = options->work;
    exec->rng = options->rng;
    exec->now = options->now;
    exec->is_tracking = true;
    exec->audience = EFFECT_FOR_ALL;
    exec->watch_ns = UINT64_MAX;
    exec->slow_us = -1;
    exec->session_next_id = 1;
    list_init(&exec->sessions);
    list_init(&exec->session_walks);
    blocks_init(exec);
    exec_set_gate(exec, GATE_AUTH, auth_gate, NULL);
    exec_set_gate(exec, GATE_PAUSE, exec_pause_gate, exec);
    exec_set_gate(exec, GATE_MULTI, multi_gate, NULL);
    exec_sliced_init(exec);
    tick_start(exec);
    return exec;
}

void exec_free(struct exec *exec)
{
    ASSERT(list_is_empty(&exec->sessions));
    exec_sliced_deinit(exec);
    blocks_deinit(exec);
    exec_aside_free(exec);
    exec_registry_free(exec);
    mem_free(exec);
}

struct keyspace *exec_keyspace(struct exec *exec)
{
    return exec->keyspace;
}

struct work_queue *exec_work(struct exec *exec)
{
    return exec->work;
}

struct rng *exec_rng(struct exec *exec)
{
    return exec->rng;
}

const struct clock_now *exec_now(const struct exec *exec)
{
    return exec->now;
}

struct exec_stats *exec_stats(struct exec *exec)
{
    return &exec->stats;
}

uint64_t exec_session_count(const struct exec *exec)
{
    return exec->session_count;
}

struct session *exec_session_by_id(struct exec *exec, uint64_t id)
{
    for (struct list *node = exec->sessions.next; node != &exec->sessions; node = node->next) {
        struct session *session = LIST_OWNER(node, struct session, link);
        if (session->id == id) {
            return session;
        }
    }
    return NULL;
}

void exec_walk_begin(struct exec *exec, struct session_walk *walk)
{
    walk->next = exec->sessions.next;
    walk->id_end = exec->session_next_id;
    list_push_back(&exec->session_walks, &walk->link);
}

struct session *exec_walk_next(struct exec *exec, struct session_walk *walk)
{
    if (walk->next == &exec->sessions) {
        return NULL;
    }
    struct session *session = LIST_OWNER(walk->next, struct session, link);
    walk->next = walk->next->next;
    return session->id < walk->id_end ? session : NULL;
}

void exec_walk_end(struct session_walk *walk)
{
    list_remove(&walk->link);
}

void exec_forget_session(struct exec *exec, struct session *session)
{
    for (struct list *node = exec->session_walks.next; node != &exec->session_walks;
         node = node->next) {
        struct session_walk *walk = LIST_OWNER(node, struct session_walk, link);
        if (walk->next == &session->link) {
            walk->next = session->link.next;
        }
    }
    list_remove(&session->link);
    exec->session_count--;
}

struct session *exec_client(const struct exec *exec)
{
    const struct call *call = exec->outermost != NULL ? exec->outermost : exec->current;
    return call != NULL ? call->session : NULL;
}

/* ---- Seams ---- */

void exec_set_gate(struct exec *exec, enum gate_bit bit, gate_fn fn, void *context)
{
    int index = __builtin_ctz((unsigned)bit);
    ASSERT(index < GATE_COUNT);
    exec->gates[index].fn = fn;
    exec->gates[index].context = context;
}

void exec_activate_gate(struct exec *exec, enum gate_bit bit, bool is_active)
{
    ASSERT(!is_active || exec->gates[__builtin_ctz((unsigned)bit)].fn != NULL);
    if (is_active) {
        exec->active_gates |= (uint32_t)bit;
    } else {
        exec->active_gates &= ~(uint32_t)bit;
    }
}

static void sinks_count(struct exec *exec)
{
    exec->command_sink_count = exec->command_sinks_all = exec->change_sink_count = 0;
    exec->event_classes = 0;
    for (unsigned i = 0; i < exec->sink_count; i++) {
        const struct effect_sink *sink = &exec->sinks[i];
        bool is_told = sink->on_command != NULL && (sink->audience & exec->audience) != 0;
        exec->command_sinks_all = (uint8_t)(exec->command_sinks_all + (sink->on_command != NULL));
        exec->command_sink_count = (uint8_t)(exec->command_sink_count + is_told);
        exec->change_sink_count = (uint8_t)(exec->change_sink_count + (sink->on_change != NULL));
        exec->event_classes |= sink->on_event != NULL ? sink->event_classes : 0;
    }
}

void exec_add_sink(struct exec *exec, const struct effect_sink *sink)
{
    ASSERT(exec->sink_count < EXEC_SINKS_MAX);
    struct effect_sink *added = &exec->sinks[exec->sink_count++];
    *added = *sink;
    added->event_classes = sink->event_classes != 0 ? sink->event_classes : EVENT_CLASSES_ALL;
    added->audience = sink->audience != 0 ? sink->audience : EFFECT_FOR_ALL;
    sinks_count(exec);
}

void exec_set_event_classes(struct exec *exec, const void *context, uint32_t classes)
{
    for (unsigned i = 0; i < exec->sink_count; i++) {
        if (exec->sinks[i].context == context) {
            exec->sinks[i].event_classes = classes;
        }
    }
    sinks_count(exec);
}

void exec_set_change_sink(struct exec *exec, const void *context, effect_change_fn on_change)
{
    for (unsigned i = 0; i < exec->sink_count; i++) {
        if (exec->sinks[i].context == context) {
            exec->sinks[i].on_change = on_change;
        }
    }
    sinks_count(exec);
}

void exec_set_command_sink(struct exec *exec, const void *context, effect_command_fn on_command)
{
    for (unsigned i = 0; i < exec->sink_count; i++) {
        if (exec->sinks[i].context == context) {
            exec->sinks[i].on_command = on_command;
        }
    }
    sinks_count(exec);
}

void exec_set_audience(struct exec *exec, uint32_t audience)
{
    exec->audience = (uint8_t)audience;
    sinks_count(exec);
}

static void hooks_add(struct exec_hooks *hooks, exec_session_fn fn, void *context)
{
    ASSERT(hooks->count < EXEC_HOOKS_MAX);
    hooks->at[hooks->count++] = (struct exec_hook){.fn = fn, .context = context};
}

void exec_add_close_hook(struct exec *exec, exec_session_fn fn, void *context)
{
    hooks_add(&exec->close_hooks, fn, context);
}

void exec_add_reset_hook(struct exec *exec, exec_session_fn fn, void *context)
{
    hooks_add(&exec->reset_hooks, fn, context);
}

/* One comparison per command serves both hooks: the smaller of their thresholds. */
static void watch_update(struct exec *exec)
{
    uint64_t ns = UINT64_MAX;
    if (exec->slow != NULL && exec->slow_us >= 0) {
        ns = (uint64_t)exec->slow_us * 1000;
    }
    if (exec->latency != NULL && exec->latency_us > 0 && (uint64_t)exec->latency_us * 1000 < ns) {
        ns = (uint64_t)exec->latency_us * 1000;
    }
    exec->watch_ns = ns;
}

void exec_set_slow_hook(struct exec *exec, exec_slow_fn fn, void *context, int64_t threshold_us)
{
    exec->slow = fn;
    exec->slow_context = context;
    exec->slow_us = threshold_us;
    watch_update(exec);
}

void exec_set_monitor_hook(struct exec *exec, exec_monitor_fn fn, void *context)
{
    exec->monitor = fn;
    exec->monitor_context = context;
    exec->is_watched = exec->monitor != NULL || exec->reader != NULL;
}

void exec_set_read_hook(struct exec *exec, exec_read_fn fn, void *context)
{
    exec->reader = fn;
    exec->reader_context = context;
    exec->is_watched = exec->monitor != NULL || exec->reader != NULL;
}

void exec_set_latency_hook(struct exec *exec, exec_latency_fn fn, void *context,
                           int64_t threshold_us)
{
    exec->latency = fn;
    exec->latency_context = context;
    exec->latency_us = threshold_us;
    watch_update(exec);
}

void exec_note_latency(struct exec *exec, const char *event, int64_t duration_us)
{
    if (exec->latency != NULL && exec->latency_us > 0 && duration_us >= exec->latency_us) {
        exec->latency(exec->latency_context, event, duration_us);
    }
}

void exec_set_auth(struct exec *exec, const struct exec_auth *auth)
{
    exec->auth = *auth;
}

const struct exec_auth *exec_auth(const struct exec *exec)
{
    return &exec->auth;
}
