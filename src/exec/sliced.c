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
 * so the keys of the command are pinned before it begins, all at once (sliced_pins.c).
 *
 * Who else wants such a key is held back before its handler: see held.c. Commands that are to be
 * sliced begin in the order in which they came, when what they want to pin is free, and none begins
 * while somebody is held back: so nobody waits for ever, and since a call pins all it needs at its
 * beginning, no two wait for each other.
 *
 * Elements that are long themselves are copied, compared and summed up in pieces (base/pieces.h),
 * between which a call may stop as at a yield, where it has said that it holds no place.
 *
 * Replies. What is complete so far is handed to the connection at yields that allow it. When
 * SLICED_OUT_MAX of it is unsent the call rests until the client has read half, so that a reply of
 * any length needs little memory. But a slow reader must hold up nobody: as soon as somebody waits
 * for one of its keys, or for its place (SLICED_RUNNING_MAX), the rest is produced whatever the
 * client does, and the limits of clients bound it as they bound any reply. Messages
 * that the client gets meanwhile (subscribers, tracking) wait aside for the end of the reply.
 *
 * A client that goes: a reading call is told so at its next yield and unwinds; a writing one goes
 * on to its end, for a session of nobody's. The link to a primary is no such client: it ends
 * between two commands (repl/apply.c), and has what it is at finished first if it must.
 *
 * Costs. Two switches per slice (0.6 us in 40), one stack per call. A command that is not sliced
 * pays one comparison of the size, and one test after its handler.
 *
 * What it tells comes at its end (sliced_tell.c). Transactions of a primary run the same way
 * (sliced_unit.c).
 *
 * Invariants:
 *   1. A call is on `waiting` without a fiber and pins, or on `running` with both.
 *   2. A session whose call is sliced is suspended until the call ends.
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
#include "exec/sliced_internal.h"
#include "keyspace/pin.h"

enum {
#ifdef OURO_HOSTILE
    SLICED_RUNNING_MAX = 2,
    SLICED_OUT_MAX = 700,
    SLICED_HAND_MIN = 1,
#else
    SLICED_RUNNING_MAX = 16,    /* Stacks at a time, and as many again in a pause. */
    SLICED_OUT_MAX = 256 << 10, /* Unsent bytes at which a call waits for its client. */
    SLICED_HAND_MIN = 32 << 10, /* Bytes that are handed over before a slice is over. */
#endif
};

static void sliced_end(struct sliced *sliced);

/* Whether calls that write rest just now. */
static bool must_writes_rest(const struct exec *exec, const struct sliced *sliced)
{
    return exec->pause_mode != PAUSE_NONE || aside_is_parked(exec) ||
           (exec->sliced.is_stepping && sliced->has_begun) ||
           (exec->sliced.teller != NULL && exec->sliced.teller != sliced);
}

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

void sliced_hurry(struct sliced *sliced)
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

/* For a primary's commands what has expired is as good as the rest. Returns what held before. */
static bool show_expired_to(const struct sliced *sliced, struct keyspace *keyspace)
{
    bool before = keyspace_shows_expired(keyspace);
    keyspace_show_expired(keyspace, sliced_is_primary(sliced));
    return before;
}

static void sliced_main(void *context)
{
    struct sliced *sliced = context;
    sliced->call.entry->run(&sliced->call);
    if (!gather_is_empty(&sliced->effects) && !sliced->is_given_up) {
        call_tell_begin(&sliced->call);
    }
}

/* Runs it until it yields or ends. */
static bool sliced_run(struct sliced *sliced)
{
    struct exec *exec = sliced->exec;
    const struct call *outer = exec->current;
    bool shows_expired = show_expired_to(sliced, exec->keyspace);
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
    keyspace_show_expired(exec->keyspace, shows_expired);
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

bool sliced_on_step(struct work_job *job)
{
    struct sliced *sliced = LIST_OWNER(job, struct sliced, job);
    struct exec *exec = sliced->exec;
    if (sliced_is_write(sliced) && must_writes_rest(exec, sliced)) {
        return true; /* exec_sliced_on_unpause goes on. */
    }
    sliced->may_send = false;
    if (sliced_run(sliced)) {
        sliced_end(sliced);
        return true;
    }
    if (!sliced->is_crowd) { /* Its keys may serve when it has ended. */
        settle_effects(sliced->exec, sliced->session);
    }
    sliced_hand_over(sliced);
    return sliced->is_resting;
}

/* Does the rest in one go. */
void sliced_finish(struct sliced *sliced)
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

/* In the middle of copying something long: see base/pieces.h. */
static void sliced_on_breath(void *context)
{
    struct sliced *sliced = context;
    if (sliced->may_breathe) {
        (void)call_yield_slow(&sliced->call, false);
    }
}

void call_breathe(struct call *call, bool is_allowed)
{
    if (call->sliced != NULL) {
        call->sliced->may_breathe = is_allowed;
    }
}

/* ---- The life of a sliced call ---- */

static void sliced_free(struct sliced *sliced)
{
    if (sliced->stand_in != NULL) {
        session_deinit(sliced->stand_in);
        mem_free(sliced->stand_in);
    }
    for (uint32_t i = 0; sliced->blobs != NULL && i < sliced->call.args.count; i++) {
        if (sliced->blobs[i] != NULL) {
            blob_drop(sliced->blobs[i]);
        }
    }
    mem_free(sliced->blobs);
    resp_parser_deinit(&sliced->kept);
    gather_deinit(&sliced->effects);
    key_set_deinit(&sliced->keys);
    work_cancel(sliced->exec->work, &sliced->job); /* Whoever ended meanwhile may have put it back,
                                                    * and a crowd may be made. */
    reply_deinit(&sliced->out);
    reply_deinit(&sliced->aside);
    list_remove(&sliced->link);
    mem_free_sized(sliced, sliced->size);
}

/* The session closes. A call that reads gives up; one that writes was received, so it is done. What
 * a primary sent and has not begun it will send again; what has begun was finished before, see
 * exec_finish_session. */
void sliced_on_cancel(struct session *session, void *context)
{
    struct sliced *sliced = context;
    struct exec *exec = sliced->exec;
    sliced->session = NULL;
    session->aside = NULL;
    if (sliced->fiber == NULL && (!sliced_is_write(sliced) || sliced_is_primary(sliced))) {
        sliced_free(sliced);
        exec_sliced_start_later(exec);
        return;
    }
    sliced->is_given_up |= !sliced_is_write(sliced);
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

void exec_sliced_block(struct call *call)
{
    call->sliced->must_block = true;
}

/* The link to a primary looks at the errors of what it executes. */
static void note_error(struct reply *out, const struct reply *from)
{
    if (from->error_count != 0) {
        out->error_count += from->error_count;
        memcpy(out->error_code, from->error_code, sizeof(out->error_code));
    }
}

/* What was replied goes out, and the session goes on. */
static void give_back(struct sliced *sliced)
{
    struct session *session = sliced->session;
    session->aside = NULL;
    note_error(session->out, &sliced->out);
    reply_splice(session->out, &sliced->out);
    reply_splice(session->out, &sliced->aside);
    session_resume(session);
}

/* What a blocking command wanted to read in slices had gone when its turn came: the handler is run
 * as if the command came now, and waits. */
static void run_to_block(struct sliced *sliced)
{
    struct exec *exec = sliced->exec;
    const struct call *outer = exec->current;
    give_back(sliced);
    sliced->call.out = sliced->session->out;
    sliced->call.now = exec->now;
    sliced->session = NULL;
    exec->current = &sliced->call;
    sliced->call.entry->run(&sliced->call);
    exec->current = outer;
}

/* The handler has returned: what follows every call, then the session goes on. */
static void sliced_end(struct sliced *sliced)
{
    struct exec *exec = sliced->exec;
    struct session *session = sliced->session;
    fiber_free(sliced->fiber);
    list_remove(&sliced->link);
    forget_lookups(sliced);
    sliced->call.sliced = NULL;
    sliced_unpin_all(sliced);
    sliced_unit_end(sliced);
    sliced_crowd_end(sliced);
    sliced_teller_end(sliced);
    exec_held_release(exec); /* Some wait for calls that hold no keys: scripts that name none. */
    if (sliced->session != NULL && sliced->must_block) {
        run_to_block(sliced);
    }
    exec_call_ended(exec, &sliced->call, sliced->ns, sliced->out.error_count);
    if (sliced->session != NULL) {
        give_back(sliced);
    }
    sliced_free(sliced);
    exec_sliced_start_later(exec);
    settle_effects(exec, session);
}

/* Its stack and its moment; what it needs is free. False: no memory. */
static bool try_prepare(struct sliced *sliced)
{
    sliced->fiber = fiber_try_new(SLICED_STACK_LEN);
    if (sliced->fiber == NULL) {
        return false;
    }
    if (sliced->session != NULL) {
        sliced->session->aside = &sliced->aside;
    }
    fiber_set_breath(sliced->fiber, sliced_on_breath, sliced);
    sliced->now = *sliced->exec->now;
    sliced->call.now = &sliced->now;
    return true;
}

/* Takes what it needs of its keys, and prepares. False: something is not free. */
static bool hold_keys(struct sliced *sliced)
{
    struct keyspace *keyspace = sliced->exec->keyspace;
    struct key_position few[EXEC_KEYS_INLINE];
    struct key_position *more = NULL;
    uint32_t count = sliced->is_bare ? 0 : exec_find_pins(&sliced->call, few, &more);
    const struct key_position *keys = more != NULL ? more : few;
    bool shows_expired = show_expired_to(sliced, keyspace);
    bool is_free = !sliced_is_barred(sliced, keys, count);
    if (is_free && try_prepare(sliced)) {
        sliced_pin_all(sliced, keys, count);
    }
    keyspace_show_expired(keyspace, shows_expired);
    mem_free(more);
    return is_free;
}

static bool hold_crowd(struct sliced *sliced)
{
    bool is_free = !sliced_crowd_is_barred(sliced);
    if (is_free && try_prepare(sliced)) {
        sliced_crowd_begin(sliced);
    }
    return is_free;
}

/* Whoever keeps copies of what he reads hears of changes from here on. What changed while the call
 * waited, he is about to read; he must not have been told of it already. */
static void note_read(struct sliced *sliced)
{
    struct session *session = sliced->session;
    if (session == NULL) {
        return;
    }
    uint32_t before = session->flags & SESSION_CACHING;
    session->flags |= sliced->is_caching ? SESSION_CACHING : 0;
    exec_note_read(sliced->exec, session, &sliced->call);
    session->flags = (session->flags & ~(uint32_t)SESSION_CACHING) | before;
}

/* Takes hold of its keys and begins. False: what it needs is not free. */
static bool sliced_begin(struct sliced *sliced)
{
    struct exec *exec = sliced->exec;
    if (!(sliced->is_crowd ? hold_crowd(sliced) : hold_keys(sliced))) {
        return false;
    }
    list_remove(&sliced->link);
    if (sliced->fiber == NULL) {
        if (sliced->session != NULL) {
            reply_error(sliced->session->out, ERR_NO_MEMORY);
            reply_splice(sliced->session->out, &sliced->aside);
            session_resume(sliced->session);
        }
        sliced_free(sliced);
        return true;
    }
    list_push_back(&exec->sliced.running, &sliced->link);
    work_add(exec->work, &sliced->job, sliced_on_step);
    note_read(sliced);
    return true;
}

void exec_sliced_hurry_all(struct exec *exec)
{
    struct list *head = &exec->sliced.running;
    for (struct list *node = head->next; node != head; node = node->next) {
        sliced_hurry(LIST_OWNER(node, struct sliced, link));
    }
}

/* Whose turn it is, of those behind `from`, or NULL. In a pause readers pass by stores that have
 * not begun, and by whoever is held back by those that rest: they would wait as long as the pause.
 */
static struct sliced *next_to_begin(const struct exec *exec, const struct list *from)
{
    const struct exec_sliced *all = &exec->sliced;
    bool is_paused = exec->pause_mode != PAUSE_NONE;
    if (all->is_start_barred || (!is_paused && !list_is_empty(&all->held))) {
        return NULL;
    }
    for (struct list *node = from->next; node != &all->waiting; node = node->next) {
        struct sliced *sliced = LIST_OWNER(node, struct sliced, link);
        if (sliced_is_filled(sliced) && (!is_paused || !sliced_is_write(sliced))) {
            return sliced;
        }
    }
    return NULL;
}

/* Stacks in use, but for those that rest in a pause. */
static unsigned busy_count(const struct exec *exec)
{
    const struct list *head = &exec->sliced.running;
    unsigned count = 0;
    for (struct list *node = head->next; node != head; node = node->next) {
        struct sliced *sliced = LIST_OWNER(node, struct sliced, link);
        count += exec->pause_mode == PAUSE_NONE || !sliced_is_write(sliced);
    }
    return count;
}

/* Begins those whose turn it is. Whoever lets others wait starts this again when he is done; in a
 * pause, which may be long, those behind him do not wait for that. */
static bool start_on_step(struct work_job *job)
{
    struct exec *exec = LIST_OWNER(job, struct exec, sliced.start_job);
    const struct list *from = &exec->sliced.waiting;
    struct sliced *sliced;
    while ((sliced = next_to_begin(exec, from)) != NULL) {
        if (busy_count(exec) >= SLICED_RUNNING_MAX) {
            exec_sliced_hurry_all(exec);
            break;
        }
        bool must_rest = sliced_is_write(sliced) && must_writes_rest(exec, sliced);
        if (!must_rest && sliced_begin(sliced)) {
            continue;
        }
        if (exec->pause_mode == PAUSE_NONE) {
            break;
        }
        from = &sliced->link;
    }
    return true;
}

void exec_sliced_start_later(struct exec *exec)
{
    struct exec_sliced *all = &exec->sliced;
    if (!list_is_empty(&all->waiting) && !list_is_linked(&all->start_job.link)) {
        work_add(exec->work, &all->start_job, start_on_step);
    }
}

bool sliced_is_possible(const struct call *call)
{
    const struct session *session = call->session;
    return call->sliced == NULL && !call->is_inner && call->ready_key == 0 &&
           session->ops != NULL && (session->flags & SESSION_INTERNAL) == 0;
}

void sliced_await(struct sliced *sliced, struct call *call, enum slice_mode mode)
{
    sliced->mode = mode;
    sliced->out.is_muted |= sliced_is_primary(sliced); /* It does not read answers. */
    call->sliced = sliced;
    session_suspend(call->session, sliced_on_cancel, sliced);
    list_push_back(&call->exec->sliced.waiting, &sliced->link);
}

bool call_slice_slow(struct call *call, enum slice_mode mode)
{
    if (!sliced_is_possible(call)) {
        return false;
    }
    struct sliced *sliced = sliced_try_new(call);
    if (sliced == NULL) {
        reply_error(call->out, ERR_NO_MEMORY);
        return true;
    }
    sliced_await(sliced, call, mode);
    exec_sliced_start_later(call->exec);
    return true;
}

bool call_slice_bare_slow(struct call *call)
{
    bool is_later = call_slice_slow(call, SLICE_READS);
    if (is_later && call->sliced != NULL) {
        call->sliced->is_bare = true;
    }
    return is_later;
}

/* ---- For those who wait ---- */

bool exec_sliced_is_any(const struct exec *exec, enum slice_mode least)
{
    const struct list *head = &exec->sliced.running;
    for (const struct list *node = head->next; node != head; node = node->next) {
        if (LIST_OWNER(node, struct sliced, link)->mode >= least) {
            return true;
        }
    }
    return false;
}

/* One that is finished may end others, so the list is looked at from the start each time. */
void exec_sliced_finish_all(struct exec *exec, enum slice_mode least)
{
    struct list *head = &exec->sliced.running;
    struct list *node = head->next;
    while (node != head) {
        struct sliced *sliced = LIST_OWNER(node, struct sliced, link);
        if (sliced->is_inside || sliced->mode < least) {
            node = node->next;
        } else {
            sliced_finish(sliced);
            node = head->next;
        }
    }
}

static struct sliced *first_waiting_write(const struct exec *exec)
{
    const struct list *head = &exec->sliced.waiting;
    for (struct list *node = head->next; node != head; node = node->next) {
        struct sliced *sliced = LIST_OWNER(node, struct sliced, link);
        if (sliced_is_write(sliced)) {
            return sliced;
        }
    }
    return NULL;
}

void exec_finish_writes(struct exec *exec)
{
    struct sliced *sliced;
    block_serve_rest(exec);
    exec_sliced_finish_all(exec, SLICE_WRITES);
    while ((sliced = first_waiting_write(exec)) != NULL) {
        if (!sliced_begin(sliced)) {
            exec_sliced_finish_all(exec, SLICE_READS); /* Whoever is in its way. */
            if (!sliced_begin(sliced)) {
                return; /* It is in the caller's way: the caller is one of them. */
            }
        }
        exec_sliced_finish_all(exec, SLICE_WRITES);
    }
}

bool exec_finish_session(struct exec *exec, struct session *session)
{
    struct list *head = &exec->sliced.running;
    for (struct list *node = head->next; node != head; node = node->next) {
        struct sliced *sliced = LIST_OWNER(node, struct sliced, link);
        if (sliced->session == session && sliced_is_write(sliced)) {
            sliced_finish(sliced);
            break;
        }
    }
    return (session->flags & SESSION_SUSPENDED) == 0;
}

bool exec_is_whole(const struct exec *exec)
{
    return !aside_is_parked(exec) && !exec_sliced_is_any(exec, SLICE_EDITS) &&
           exec->sliced.teller == NULL;
}

void exec_make_whole(struct exec *exec)
{
    if (exec->sliced.teller != NULL) {
        sliced_finish(exec->sliced.teller);
    }
    exec_sliced_finish_all(exec, SLICE_EDITS);
}

/* ---- Pauses, beginning and end ---- */

void exec_sliced_on_unpause(struct exec *exec)
{
    struct list *head = &exec->sliced.running;
    for (struct list *node = head->next; node != head; node = node->next) {
        struct sliced *sliced = LIST_OWNER(node, struct sliced, link);
        /* One that runs on behalf of somebody who cannot wait goes on by itself. */
        if (sliced_is_write(sliced) && !sliced->is_resting && !sliced->is_inside) {
            sliced_go_on(sliced);
        }
    }
    exec_sliced_start_later(exec);
}

void exec_hold_slices(struct exec *exec, bool is_on)
{
    exec->sliced.is_stepping = is_on;
    if (!is_on) {
        exec_sliced_on_unpause(exec);
    }
}

void exec_sliced_init(struct exec *exec)
{
    struct exec_sliced *all = &exec->sliced;
    list_init(&all->waiting);
    list_init(&all->running);
    list_init(&all->start_job.link);
    exec_held_init(exec);
}

static void drop_waiting(struct exec *exec)
{
    struct list *head = &exec->sliced.waiting;
    while (!list_is_empty(head)) {
        sliced_free(LIST_OWNER(head->next, struct sliced, link));
    }
    work_cancel(exec->work, &exec->sliced.start_job);
}

/* Those that wait go first, or the others' ends would begin them. */
void exec_end_slices(struct exec *exec)
{
    drop_waiting(exec);
    struct list *head = &exec->sliced.running;
    while (!list_is_empty(head)) {
        struct sliced *sliced = LIST_OWNER(head->next, struct sliced, link);
        sliced->is_given_up = true;
        sliced_finish(sliced);
    }
}

void exec_sliced_deinit(struct exec *exec)
{
    exec_end_slices(exec);
    exec_held_deinit(exec);
}
