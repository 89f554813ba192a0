/* Long calls in slices, and those who wait for what they hold.
 *
 *     handler --call_slice--> waiting --begin: pin keys, new stack--> running --> its reply, effect
 *                 |                                                   |      ^
 *           session suspended                         call_yield, the slice  |
 *                                                     is over, or the client |
 *                                                     is slow to read -------'
 *
 * The handler that found its work long returns, and is run again from the start on a fiber
 * (base/fiber.h) with a copy of its arguments. There call_yield stops it every SLICE_US, and the
 * work queue goes on with it in the next turn. Its stack holds iterators and pointers into values,
 * so the keys of the command are pinned before it begins, all at once:
 *
 *     command reads     its keys            PIN_READ    deletions go on, the value outlives its key
 *     command writes    what it reads       PIN_KEEP    its effect, told when it is done, must meet
 *                                                       the same keys on a replica
 *                       what it overwrites  PIN_TAKE
 *                       what it edits       both
 *
 * A command that writes builds its result aside and puts it in place behind its last yield: so it
 * happens at one moment, its last.
 *
 * Who else wants such a key: a write that would change it is held back by GATE_PINNED before its
 * handler, as CLIENT PAUSE does it: the session is suspended, the bytes of the command stay, and
 * all who wait go on, in order, whenever a pin is let go of. EXEC waits if one of its queue would;
 * scripts, whose commands are not known yet, wait until nothing is pinned. What cannot wait (the
 * link to a primary, commands inside EXEC and scripts) has the holder finish first. Commands that
 * are to be sliced begin in the order in which they came, when what they want to pin is free, and
 * none begins while somebody is held back: so nobody waits for ever, and since a call pins all it
 * needs at its beginning, no two wait for each other.
 *
 * Replies. What is complete so far is handed to the connection at yields that allow it. When
 * SLICED_OUT_MAX of it is unsent the call rests until the client has read half, so that a reply of
 * any length needs little memory. But a slow reader must hold up nobody: as soon as somebody waits
 * for one of its keys, or for its place (SLICED_RUNNING_MAX), the rest is produced whatever the
 * client does, and the limits of clients bound it as they bound any reply. Messages
 * that the client gets meanwhile (subscribers, tracking) wait aside for the end of the reply.
 *
 * A client that goes: a reading call is told so at its next yield and unwinds; a writing one goes
 * on to its end, for a session of nobody's.
 *
 * Costs. Two switches per slice (0.6 us in 40), one stack per call. A command that is not sliced
 * pays one comparison of the size, and one test after its handler.
 *
 * Invariants:
 *   1. A call is on `waiting` without a fiber and pins, or on `running` with both.
 *   2. A session whose call is sliced is suspended until the call ends.
 *   3. GATE_PINNED is active exactly while something is pinned.
 *
 * Rejected: a state machine per command. There are forty such commands, each of which would have
 * been written twice, once for small collections and once for large ones. */
#include "exec/sliced.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/fiber.h"
#include "base/mem.h"
#include "exec/aside.h"
#include "exec/exec_internal.h"
#include "exec/multi.h"
#include "keyspace/pin.h"

enum {
#ifdef OURO_HOSTILE
    SLICE_US = 0,
    SLICED_RUNNING_MAX = 2,
    SLICED_OUT_MAX = 700,
    SLICED_HAND_MIN = 1,
#else
    SLICE_US = 40,
    SLICED_RUNNING_MAX = 16,    /* Stacks at a time. */
    SLICED_OUT_MAX = 256 << 10, /* Unsent bytes at which a call waits for its client. */
    SLICED_HAND_MIN = 32 << 10, /* Bytes that are handed over before a slice is over. */
#endif
/* Handlers need a few KiB; the largest local arrays are those of number formatting in libc.
 * Under the sanitizer frames are larger. */
#ifdef OURO_LIBC_MALLOC
    SLICED_STACK_LEN = 1024 << 10,
#else
    SLICED_STACK_LEN = 128 << 10,
#endif
    KEYS_INLINE = 16,
};

struct sliced {
    struct work_job job;
    struct list link; /* Waiting or running. */
    struct exec *exec;
    struct session *session;  /* NULL: gone. */
    struct session *stand_in; /* Owned; for a call whose session has gone. */
    struct fiber *fiber;      /* NULL: has not begun. */
    struct call call;
    struct reply out;   /* What is not handed over yet. */
    struct reply aside; /* Pushes that came meanwhile. */
    struct pin *pins;   /* Owned. */
    size_t pin_count;
    bool is_write;
    bool has_begun;
    bool is_inside;    /* Is what runs just now. */
    bool is_resting;   /* Until its client has read. */
    bool is_hurried;   /* Somebody waits for it. */
    bool is_finishing; /* Somebody cannot wait. */
    bool is_given_up;  /* Nobody wants the result. */
    bool may_send;     /* The last yield said so. */
    int64_t deadline_us;
    uint64_t ns;     /* Spent so far. */
    uint64_t hits;   /* The keyspace's counters before its lookups, which the handler's first run */
    uint64_t misses; /* counted already. */
    enum { SLICED_FRESH, SLICED_LOOKING, SLICED_GOING } stage; /* Not run yet; before a yield. */
    size_t size;
    struct slice args[]; /* Then their bytes. */
};

/* A session whose command waits for a pin to go. */
struct held {
    struct list link;
    struct session *session;
};

static bool sliced_on_step(struct work_job *job);
static void sliced_end(struct sliced *sliced);
static void sliced_start_later(struct exec *exec);

/* ---- Slices ---- */

static void sliced_go_on(struct sliced *sliced)
{
    sliced->is_resting = false;
    if (sliced->session != NULL) {
        session_forget_room(sliced->session);
    }
    if (!list_is_linked(&sliced->job.link)) {
        work_add(sliced->exec->work, &sliced->job, sliced_on_step);
    }
}

static void sliced_hurry(struct sliced *sliced)
{
    sliced->is_hurried = true;
    if (sliced->is_resting) {
        sliced_go_on(sliced);
    }
}

static void sliced_on_room(struct session *session, void *context)
{
    (void)session;
    sliced_go_on(context);
}

static void note_lookups(struct sliced *sliced)
{
    const struct keyspace_stats *stats = keyspace_stats(sliced->exec->keyspace);
    sliced->hits = stats->hits;
    sliced->misses = stats->misses;
    sliced->stage = SLICED_LOOKING;
}

static void forget_lookups(struct sliced *sliced)
{
    struct keyspace_stats *stats = keyspace_stats(sliced->exec->keyspace);
    if (sliced->stage == SLICED_LOOKING) {
        stats->hits = sliced->hits;
        stats->misses = sliced->misses;
        sliced->stage = SLICED_GOING;
    }
}

/* What was told in a slice is a unit of its own, and blocked sessions are served, unless this is
 * within another command: then they are when that has ended. */
static void settle_effects(struct exec *exec, struct session *session)
{
    if (exec->aftermath != 0 && exec->current == NULL) {
        exec_settle_for(exec, session);
    }
}

static void sliced_main(void *context)
{
    struct sliced *sliced = context;
    sliced->call.entry->run(&sliced->call);
}

/* Runs it until it yields or ends. */
static bool sliced_run(struct sliced *sliced)
{
    struct exec *exec = sliced->exec;
    const struct call *outer = exec->current;
    uint64_t start = clock_ticks();
    sliced->deadline_us = clock_mono_us() + SLICE_US;
    sliced->is_inside = true;
    exec->current = &sliced->call;
    if (sliced->stage == SLICED_FRESH) {
        note_lookups(sliced);
    }
    bool is_done = sliced->has_begun ? fiber_resume(sliced->fiber)
                                     : fiber_run(sliced->fiber, sliced_main, sliced);
    sliced->has_begun = true;
    exec->current = outer;
    sliced->is_inside = false;
    sliced->ns += exec_ticks_to_ns(exec, clock_ticks() - start);
    return is_done;
}

/* Hands over what may be sent; the call rests when its client is slow. */
static void sliced_hand_over(struct sliced *sliced)
{
    struct session *session = sliced->session;
    if (!sliced->may_send || session == NULL) {
        return;
    }
    reply_splice(session->out, &sliced->out);
    session->ops->wake(session);
    if (!sliced->is_hurried && session->out->memory > SLICED_OUT_MAX) {
        sliced->is_resting = true;
        session_await_room(session, sliced_on_room, SLICED_OUT_MAX / 2);
    }
}

static bool sliced_on_step(struct work_job *job)
{
    struct sliced *sliced = LIST_OWNER(job, struct sliced, job);
    struct exec *exec = sliced->exec;
    if (sliced->is_write && (exec->pause_mode != PAUSE_NONE || aside_is_parked(exec))) {
        return true; /* exec_sliced_on_unpause goes on. */
    }
    sliced->may_send = false;
    if (sliced_run(sliced)) {
        sliced_end(sliced);
        return true;
    }
    settle_effects(sliced->exec, sliced->session);
    sliced_hand_over(sliced);
    return sliced->is_resting;
}

/* Does the rest in one go. */
static void sliced_finish(struct sliced *sliced)
{
    if (sliced->is_inside) {
        return;
    }
    sliced->is_finishing = true;
    work_cancel(sliced->exec->work, &sliced->job);
    while (!sliced_run(sliced)) {
    }
    sliced_end(sliced);
}

bool call_yield_slow(struct call *call, bool may_send)
{
    struct sliced *sliced = call->sliced;
    if (sliced->is_given_up || sliced->is_finishing) {
        return !sliced->is_given_up;
    }
    bool is_much = may_send && sliced->out.memory >= SLICED_HAND_MIN;
    if (!is_much && clock_mono_us() < sliced->deadline_us) {
        return true;
    }
    forget_lookups(sliced);
    sliced->may_send = may_send;
    fiber_park(sliced->fiber);
    return !sliced->is_given_up;
}

/* ---- Pins ---- */

static struct sliced *pin_owner(struct pin *pin)
{
    return pin->context;
}

static void pin_on_hurry(struct pin *pin)
{
    sliced_hurry(pin_owner(pin));
}

static void pin_on_finish(struct pin *pin)
{
    sliced_finish(pin_owner(pin));
}

/* Modes of pins that a call takes on one of its keys. */
static unsigned wanted_modes(const struct sliced *sliced, const struct key_spec *spec)
{
    if (!sliced->is_write) {
        return PIN_READ;
    }
    switch (spec->access) {
    case KEY_RO:
        return PIN_KEEP;
    case KEY_RW:
        return PIN_KEEP | PIN_TAKE;
    default:
        return PIN_TAKE;
    }
}

/* What others may not hold where it wants these. */
static unsigned barring_modes(unsigned wanted)
{
    unsigned modes = (wanted & PIN_KEEP) != 0 ? PIN_TAKE : 0;
    return modes | ((wanted & PIN_TAKE) != 0 ? PIN_KEEP | PIN_TAKE : 0);
}

/* The keys of a command; `*more` is owned when it is not NULL. Returns how many. */
static uint32_t find_keys(const struct call *call, struct key_position few[KEYS_INLINE],
                          struct key_position **more)
{
    *more = NULL;
    int count = exec_find_keys(call->command, call->args.at, call->args.count, few, KEYS_INLINE);
    if (count > KEYS_INLINE) {
        *more = mem_alloc((size_t)count * sizeof(**more));
        exec_find_keys(call->command, call->args.at, call->args.count, *more, (uint32_t)count);
    }
    return count < 0 ? 0 : (uint32_t)count;
}

static bool sliced_is_barred(const struct sliced *sliced, const struct key_position *keys,
                             uint32_t count)
{
    const struct keyspace *keyspace = sliced->exec->keyspace;
    bool is_barred = false;
    for (uint32_t i = 0; i < count; i++) {
        unsigned modes = barring_modes(wanted_modes(sliced, keys[i].spec));
        struct slice key = sliced->call.args.at[keys[i].index];
        uint64_t hash = call_hash(&sliced->call, keys[i].index);
        if (modes != 0 && keyspace_is_barred(keyspace, hash, key, modes)) {
            keyspace_hurry_pins(keyspace, hash, key, modes);
            is_barred = true;
        }
    }
    return is_barred;
}

static void sliced_pin(struct sliced *sliced, uint32_t index, struct value *value,
                       enum pin_mode mode)
{
    if (value == NULL && mode == PIN_READ) {
        return;
    }
    struct pin *pin = &sliced->pins[sliced->pin_count++];
    *pin = (struct pin){
        .mode = mode, .hurry = pin_on_hurry, .finish = pin_on_finish, .context = sliced};
    db_pin(sliced->call.db, call_hash(&sliced->call, index), sliced->call.args.at[index], value,
           pin);
}

static void sliced_pin_all(struct sliced *sliced, const struct key_position *keys, uint32_t count)
{
    const struct call *call = &sliced->call;
    sliced->pins = mem_alloc((2 * (size_t)count + 1) * sizeof(*sliced->pins));
    for (uint32_t i = 0; i < count; i++) {
        unsigned modes = wanted_modes(sliced, keys[i].spec);
        struct value *value =
            db_find(call->db, call->args.at[keys[i].index], call_hash(call, keys[i].index),
                    call->now->wall_ms, FIND_NO_TOUCH);
        for (unsigned mode = PIN_READ; mode <= PIN_TAKE; mode <<= 1) {
            if ((modes & mode) != 0) {
                sliced_pin(sliced, keys[i].index, value, (enum pin_mode)mode);
            }
        }
    }
}

static void sliced_unpin_all(struct sliced *sliced)
{
    for (size_t i = 0; i < sliced->pin_count; i++) {
        keyspace_unpin(sliced->exec->keyspace, &sliced->pins[i]);
    }
    mem_free(sliced->pins);
    sliced->pins = NULL;
    sliced->pin_count = 0;
}

/* ---- The life of a sliced call ---- */

static void sliced_free(struct sliced *sliced)
{
    if (sliced->stand_in != NULL) {
        session_deinit(sliced->stand_in);
        mem_free(sliced->stand_in);
    }
    reply_deinit(&sliced->out);
    reply_deinit(&sliced->aside);
    list_remove(&sliced->link);
    mem_free_sized(sliced, sliced->size);
}

/* The session closes. A call that reads gives up; one that writes was received, so it is done. */
static void sliced_on_cancel(struct session *session, void *context)
{
    struct sliced *sliced = context;
    struct exec *exec = sliced->exec;
    sliced->session = NULL;
    session->aside = NULL;
    if (sliced->fiber == NULL && !sliced->is_write) {
        sliced_free(sliced);
        sliced_start_later(exec);
        return;
    }
    sliced->is_given_up |= !sliced->is_write;
    sliced->is_hurried = true;
    sliced->stand_in = mem_alloc(sizeof(*sliced->stand_in));
    session_init(sliced->stand_in, exec, &sliced->out, NULL, SESSION_INTERNAL);
    sliced->stand_in->db = sliced->call.db;
    sliced->call.session = sliced->stand_in;
    sliced->out.is_muted = true;
    if (sliced->is_resting) {
        sliced_go_on(sliced);
    }
}

/* The handler has returned: what follows every call, then the session goes on. */
static void sliced_end(struct sliced *sliced)
{
    struct exec *exec = sliced->exec;
    struct session *session = sliced->session;
    fiber_free(sliced->fiber);
    exec->sliced.running_count--;
    forget_lookups(sliced);
    sliced->call.sliced = NULL;
    sliced_unpin_all(sliced);
    exec_call_ended(exec, &sliced->call, sliced->ns, sliced->out.error_count);
    if (session != NULL) {
        session->aside = NULL;
        reply_splice(session->out, &sliced->out);
        reply_splice(session->out, &sliced->aside);
        session_resume(session);
    }
    sliced_free(sliced);
    sliced_start_later(exec);
    settle_effects(exec, session);
}

/* Pins and begins. False: what it needs is not free. */
static bool sliced_begin(struct sliced *sliced)
{
    struct exec *exec = sliced->exec;
    struct key_position few[KEYS_INLINE];
    struct key_position *more;
    uint32_t count = find_keys(&sliced->call, few, &more);
    const struct key_position *keys = more != NULL ? more : few;
    bool is_free = !sliced_is_barred(sliced, keys, count);
    if (is_free && sliced->session != NULL) {
        sliced->session->aside = &sliced->aside;
    }
    sliced->fiber = is_free ? fiber_try_new(SLICED_STACK_LEN) : NULL;
    if (sliced->fiber != NULL) {
        sliced_pin_all(sliced, keys, count);
    }
    mem_free(more);
    if (!is_free) {
        return false;
    }
    list_remove(&sliced->link);
    if (sliced->fiber == NULL) {
        if (sliced->session != NULL) {
            sliced->session->aside = NULL;
            reply_error(sliced->session->out, ERR_NO_MEMORY);
            reply_splice(sliced->session->out, &sliced->aside);
            session_resume(sliced->session);
        }
        sliced_free(sliced);
        return true;
    }
    list_push_back(&exec->sliced.running, &sliced->link);
    exec->sliced.running_count++;
    work_add(exec->work, &sliced->job, sliced_on_step);
    return true;
}

/* Those that wait for their clients make room for others. */
static void hurry_all(struct exec *exec)
{
    struct list *head = &exec->sliced.running;
    for (struct list *node = head->next; node != head; node = node->next) {
        sliced_hurry(LIST_OWNER(node, struct sliced, link));
    }
}

/* Begins those whose turn it is. Whoever lets others wait starts this again when he is done. */
static bool start_on_step(struct work_job *job)
{
    struct exec *exec = LIST_OWNER(job, struct exec, sliced.start_job);
    struct exec_sliced *all = &exec->sliced;
    while (!list_is_empty(&all->waiting) && !all->is_start_barred && list_is_empty(&all->held)) {
        struct sliced *sliced = LIST_OWNER(all->waiting.next, struct sliced, link);
        if (all->running_count >= SLICED_RUNNING_MAX) {
            hurry_all(exec);
            break;
        }
        if ((sliced->is_write && exec->pause_mode != PAUSE_NONE) || !sliced_begin(sliced)) {
            break;
        }
    }
    return true;
}

static void sliced_start_later(struct exec *exec)
{
    struct exec_sliced *all = &exec->sliced;
    if (!list_is_empty(&all->waiting) && !list_is_linked(&all->start_job.link)) {
        work_add(exec->work, &all->start_job, start_on_step);
    }
}

static struct sliced *sliced_try_new(struct call *call)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < call->args.count; i++) {
        bytes += call->args.at[i].len;
    }
    size_t size = sizeof(struct sliced) + call->args.count * sizeof(struct slice) + bytes;
    struct sliced *sliced = mem_try_alloc(size);
    if (sliced == NULL) {
        return NULL;
    }
    *sliced =
        (struct sliced){.exec = call->exec, .session = call->session, .call = *call, .size = size};
    char *at = (char *)(sliced->args + call->args.count);
    for (uint32_t i = 0; i < call->args.count; i++) {
        sliced->args[i] = slice_of(at, call->args.at[i].len);
        if (call->args.at[i].len > 0) {
            memcpy(at, call->args.at[i].data, call->args.at[i].len);
        }
        at += call->args.at[i].len;
    }
    list_init(&sliced->job.link);
    list_init(&sliced->link);
    reply_init(&sliced->out, call->out->pool);
    sliced->out.protocol = call->out->protocol;
    sliced->out.is_muted = call->out->is_muted;
    reply_init(&sliced->aside, call->out->pool);
    sliced->aside.protocol = call->out->protocol;
    sliced->call.args.at = sliced->args;
    sliced->call.out = &sliced->out;
    sliced->call.sliced = sliced;
    sliced->call.parser = NULL;
    return sliced;
}

void call_release_keys(struct call *call)
{
    if (call->sliced != NULL && !call->sliced->is_write) {
        sliced_unpin_all(call->sliced);
    }
}

bool call_slice_slow(struct call *call, bool is_write)
{
    const struct session *session = call->session;
    if (call->sliced != NULL || call->is_inner || session->ops == NULL ||
        (session->flags & (SESSION_INTERNAL | SESSION_PRIMARY)) != 0) {
        return false;
    }
    struct sliced *sliced = sliced_try_new(call);
    if (sliced == NULL) {
        reply_error(call->out, ERR_NO_MEMORY);
        return true;
    }
    sliced->is_write = is_write;
    call->sliced = sliced;
    session_suspend(call->session, sliced_on_cancel, sliced);
    list_push_back(&call->exec->sliced.waiting, &sliced->link);
    sliced_start_later(call->exec);
    return true;
}

/* ---- Those who wait ---- */

static void held_free(struct held *held)
{
    list_remove(&held->link);
    mem_free_sized(held, sizeof(*held));
}

static void held_on_cancel(struct session *session, void *context)
{
    held_free(context);
    sliced_start_later(session->exec);
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
    sliced_start_later(exec);
}

static void on_pin(void *context, bool is_held)
{
    struct exec *exec = context;
    exec_activate_gate(exec, GATE_PINNED, keyspace_pin_count(exec->keyspace) > 0);
    if (!is_held) {
        release_held(exec);
        sliced_start_later(exec);
    }
}

/* What of a key must be free before a command may have it. */
static unsigned command_bars(enum key_access access)
{
    return access == KEY_RO ? 0 : access == KEY_RW ? PIN_ANY : PIN_KEEP | PIN_TAKE;
}

enum barred_by { BARRED_BY_NONE, BARRED_BY_KEYS, BARRED_BY_ALL };

/* Scripts: their rows do not tell what they will do. */
static bool runs_others(const struct call *call)
{
    const uint32_t script = CMD_NO_SCRIPT | CMD_MAY_REPLICATE;
    return (call->entry->flags & script) == script;
}

/* Whether a command that may write can run now. */
static enum barred_by find_bars(struct exec *exec, const struct call *call, bool is_finishing)
{
    struct key_position few[KEYS_INLINE];
    struct key_position *more;
    if (runs_others(call)) {
        return BARRED_BY_ALL;
    }
    uint32_t count = find_keys(call, few, &more);
    const struct key_position *keys = more != NULL ? more : few;
    bool is_of_all = count == 0 && (call->entry->flags & CMD_WRITE) != 0;
    enum barred_by result = is_of_all ? BARRED_BY_ALL : BARRED_BY_NONE;
    for (uint32_t i = 0; i < count; i++) {
        unsigned modes = command_bars(keys[i].spec->access);
        struct slice key = call->args.at[keys[i].index];
        uint64_t hash = call_hash(call, keys[i].index);
        if (modes == 0 || !keyspace_is_barred(exec->keyspace, hash, key, modes)) {
            continue;
        }
        result = BARRED_BY_KEYS;
        if (is_finishing) {
            keyspace_finish_pins(exec->keyspace, hash, key, modes);
        } else {
            keyspace_hurry_pins(exec->keyspace, hash, key, modes);
        }
    }
    mem_free(more);
    return result;
}

/* Commands without keys (FLUSHALL, SWAPDB) need not wait for those that only read. */
static bool is_any_in_the_way(const struct exec *exec, const struct call *call)
{
    if (runs_others(call)) {
        return exec->sliced.running_count > 0;
    }
    const struct list *head = &exec->sliced.running;
    for (const struct list *node = head->next; node != head; node = node->next) {
        if (LIST_OWNER(node, struct sliced, link)->is_write) {
            return true;
        }
    }
    return false;
}

/* Runs every call to its end, but for those inside which this is called. One may end others, so the
 * list is looked at from the start each time. */
static void finish_all(struct exec *exec)
{
    struct list *head = &exec->sliced.running;
    struct list *node = head->next;
    while (node != head) {
        struct sliced *sliced = LIST_OWNER(node, struct sliced, link);
        if (sliced->is_inside) {
            node = node->next;
        } else {
            sliced_finish(sliced);
            node = head->next;
        }
    }
}

void exec_sliced_settle(struct exec *exec, const struct call *call)
{
    if ((call->entry->flags & (CMD_WRITE | CMD_MAY_REPLICATE)) != 0 &&
        find_bars(exec, call, true) == BARRED_BY_ALL && is_any_in_the_way(exec, call)) {
        finish_all(exec);
    }
}

/* Whether a call must wait; who is in the way hears of it. */
static bool must_wait(struct exec *exec, const struct call *call)
{
    enum barred_by barred = find_bars(exec, call, false);
    if (barred == BARRED_BY_ALL && is_any_in_the_way(exec, call)) {
        hurry_all(exec);
        return true;
    }
    return barred == BARRED_BY_KEYS;
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
        must |= (queued->entry->gate_bits & GATE_PINNED) != 0 && must_wait(exec, &view);
    }
    return must;
}

static enum gate_result pinned_gate(void *context, struct call *call)
{
    struct exec *exec = context;
    if ((call->session->flags & (SESSION_INTERNAL | SESSION_PRIMARY)) != 0) {
        exec_sliced_settle(exec, call);
        return GATE_PASS;
    }
    bool is_exec = call->entry == exec->exec_entry;
    if (is_exec ? must_queue_wait(exec, call) : must_wait(exec, call)) {
        return hold_back(exec, call->session);
    }
    return GATE_PASS;
}

/* ---- Pauses, beginning and end ---- */

void exec_sliced_on_unpause(struct exec *exec)
{
    struct list *head = &exec->sliced.running;
    for (struct list *node = head->next; node != head; node = node->next) {
        struct sliced *sliced = LIST_OWNER(node, struct sliced, link);
        if (sliced->is_write && !sliced->is_resting) {
            sliced_go_on(sliced);
        }
    }
    sliced_start_later(exec);
}

void exec_sliced_init(struct exec *exec)
{
    struct exec_sliced *all = &exec->sliced;
    list_init(&all->waiting);
    list_init(&all->running);
    list_init(&all->held);
    list_init(&all->start_job.link);
    keyspace_set_pin_hook(exec->keyspace, on_pin, exec);
    exec_set_gate(exec, GATE_PINNED, pinned_gate, exec);
}

void exec_sliced_deinit(struct exec *exec)
{
    struct list *head = &exec->sliced.running;
    while (!list_is_empty(head)) {
        struct sliced *sliced = LIST_OWNER(head->next, struct sliced, link);
        sliced->is_given_up = true;
        sliced_finish(sliced);
    }
    head = &exec->sliced.waiting;
    while (!list_is_empty(head)) {
        sliced_free(LIST_OWNER(head->next, struct sliced, link));
    }
    ASSERT(list_is_empty(&exec->sliced.held));
    work_cancel(exec->work, &exec->sliced.start_job);
    keyspace_set_pin_hook(exec->keyspace, NULL, NULL);
}
