/* Blocking: who waits for which keys, and serving them.
 *
 *     exec.blocking.keys: table of keys that are waited for
 *
 *       key "jobs" --waiters--> [waiter 0 of session 7] -> [waiter 0 of session 9]    by arrival
 *       key "mail" --waiters--> [waiter 1 of session 7]
 *                                       |
 *                                       v
 *       block of session 7: arguments, kind, deadline, its waiters        one allocation
 *
 *     exec.blocking.ready: keys that changed so that they may serve, in order of the first change
 *     exec.blocking.heap:  blocks with a deadline, the earliest on top
 *
 * A change marks its key when somebody waits for it and it now holds a value of a kind that is
 * waited for. Nothing is served at that moment: exec_run does it when the unit has ended, so that
 * EXEC and scripts are seen as a whole, and LPUSH followed by DEL wakes nobody. Then the ready keys
 * are gone through in order, and of each its waiters in order of arrival, until the key is gone. To
 * serve is to run the handler again, so that there is one place that knows how to pop. What served
 * commands change marks keys in turn (BLMOVE), which come behind those that are there. Each served
 * command is a unit of effects of its own.
 *
 * Ten thousand waiters of one key take some 20 ms. So when SERVE_AT_ONCE of them have been served a
 * job goes on with the rest, and each ready key is held by its name (PIN_EDIT): whoever names it
 * waits, and so does whatever writes without naming keys. What others can see is as if all had been
 * served at once.
 *
 *     ready --SERVE_AT_ONCE were served--> held --the job, SERVE_STEP at a time--> free
 *                                            '--somebody cannot wait: the rest at once--'
 *
 * A key marked is looked at alone: of a client that waits for several, the first that was changed
 * serves, not the first of its arguments (Redis documents it so).
 *
 * Costs: a change of any key pays one test while nobody waits, else one lookup. A waiting session
 * costs 80 bytes, 40 per key, its arguments with 16 bytes each, and no time; a key that is waited
 * for costs 64 bytes and its name. Serving costs one run of
 * the handler for each waiter of a marked key. Deadlines cost O(log n) to set and to drop.
 *
 * Invariants:
 *   1. A session has a block (its slot) exactly while it is suspended by one.
 *   2. A key is in the table exactly while it has waiters, or is being served.
 *   3. A block with a deadline is in the heap at heap_at - 1; without one heap_at is 0.
 *   4. While blocking.is_pending all ready keys are held, except within a step of the job.
 *
 * Rejected: a timer wheel (10,000 deadlines are 14 steps of a heap, and a wheel rounds to its
 * slots); serving by special code for each kind (Redis until 7.0: each pop was written twice). */
#include "exec/block.h"

#include <limits.h>
#include <math.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/num.h"
#include "exec/aside.h"
#include "exec/exec_internal.h"
#include "keyspace/pin.h"

enum {
    TIMEOUTS_PER_TICK = 256, /* Waits that end in one turn: about 100 us. */
#ifdef OURO_HOSTILE
    SERVE_AT_ONCE = 1,
    SERVE_STEP = 1,
#else
    SERVE_AT_ONCE = 64, /* Waiters that are served where a unit ends: about 150 us. */
    SERVE_STEP = 16,    /* And in a step of the job that serves the rest. */
#endif
    HEAP_CAP_MIN = 64,
    US_PER_MS = 1000,
};

struct block_key {
    struct list waiters;    /* struct waiter.link, by arrival. */
    struct list ready_link; /* Of blocking.ready. */
    struct db *db;
    struct serving *serving; /* While it is held, else NULL. */
    uint32_t removal_count;  /* Waiters that want to know of its removal. */
    uint8_t kinds;           /* Bits of the kinds that its waiters wait for, or waited. */
    bool is_serving;
    size_t len;
    char bytes[];
};

struct waiter {
    struct list link; /* Of its key. */
    struct block_key *key;
    struct block *block;
    uint32_t index; /* Of the argument. */
};

struct block {
    struct session *session;
    struct command_entry *entry;
    block_timeout_fn on_timeout;
    int64_t deadline_us; /* Monotonic; INT64_MAX: none. */
    size_t heap_at;      /* Index in the heap and 1; 0: not in it. */
    size_t size;         /* Bytes of this allocation. */
    enum value_kind kind;
    bool wants_removal;
    bool is_blocked_again; /* Set by call_block while its command runs again. */
    struct args args;      /* Behind the waiters, and the bytes behind them. */
    uint32_t waiter_count;
    struct waiter waiters[];
};

/* A ready key that others must leave alone until its waiters are served. */
struct serving {
    struct waiter mark; /* Of nobody: before the next waiter, in the key's list, or unlinked. */
    struct pin pin;
    struct exec *exec;
};

/* ---- Keys that are waited for ---- */

static struct slice key_slice(const struct block_key *key)
{
    return slice_of(key->bytes, key->len);
}

/* The hash is the database's; the same name in two databases is rare enough to share a bucket. */
static uint64_t key_hash(const struct db *db, struct slice key)
{
    return db_hash(db, key);
}

static uint64_t key_hash_of(const void *entry, const void *context)
{
    const struct block_key *key = entry;
    (void)context;
    return key_hash(key->db, key_slice(key));
}

struct key_name {
    const struct db *db;
    struct slice key;
};

static bool key_is(const void *entry, const void *name)
{
    const struct block_key *key = entry;
    const struct key_name *wanted = name;
    return key->db == wanted->db && slice_equal(key_slice(key), wanted->key);
}

static struct block_key *key_find(const struct exec *exec, const struct db *db, struct slice name)
{
    struct key_name wanted = {.db = db, .key = name};
    return table_find(&exec->blocking.keys, key_hash(db, name), &wanted, key_is);
}

/* NULL: no memory. */
static struct block_key *key_get(struct exec *exec, struct db *db, struct slice name)
{
    struct block_key *key = key_find(exec, db, name);
    if (key != NULL) {
        return key;
    }
    key = mem_try_alloc(sizeof(*key) + name.len);
    if (key == NULL) {
        return NULL;
    }
    *key = (struct block_key){.db = db, .len = name.len};
    list_init(&key->waiters);
    list_init(&key->ready_link);
    if (name.len != 0) {
        memcpy(key->bytes, name.data, name.len);
    }
    table_insert(&exec->blocking.keys, key_hash(db, name), key);
    return key;
}

/* One waiter more or less wants to know of the key's removal. */
static void key_want_removal(struct exec *exec, struct block_key *key, int change)
{
    exec->blocking.removal_count -= key->removal_count != 0;
    key->removal_count += (uint32_t)change;
    exec->blocking.removal_count += key->removal_count != 0;
}

static void key_drop_if_unused(struct exec *exec, struct block_key *key)
{
    if (key->is_serving || key->serving != NULL || !list_is_empty(&key->waiters)) {
        return;
    }
    list_remove(&key->ready_link);
    struct key_name name = {.db = key->db, .key = key_slice(key)};
    struct block_key *removed =
        table_remove(&exec->blocking.keys, key_hash(key->db, name.key), &name, key_is);
    ASSERT(removed == key);
    mem_free_sized(key, sizeof(*key) + key->len);
}

/* ---- Deadlines: a heap ---- */

static void heap_put(struct blocking *blocks, size_t at, struct block *block)
{
    blocks->heap[at] = block;
    block->heap_at = at + 1;
}

static void heap_rise(struct blocking *blocks, size_t at, struct block *block)
{
    while (at > 0 && blocks->heap[(at - 1) / 2]->deadline_us > block->deadline_us) {
        heap_put(blocks, at, blocks->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_put(blocks, at, block);
}

static void heap_sink(struct blocking *blocks, size_t at, struct block *block)
{
    for (;;) {
        size_t child = at * 2 + 1;
        if (child + 1 < blocks->heap_count &&
            blocks->heap[child + 1]->deadline_us < blocks->heap[child]->deadline_us) {
            child++;
        }
        if (child >= blocks->heap_count || blocks->heap[child]->deadline_us >= block->deadline_us) {
            break;
        }
        heap_put(blocks, at, blocks->heap[child]);
        at = child;
    }
    heap_put(blocks, at, block);
}

static bool heap_add(struct blocking *blocks, struct block *block)
{
    if (blocks->heap_count == blocks->heap_cap) {
        size_t cap = blocks->heap_cap == 0 ? HEAP_CAP_MIN : blocks->heap_cap * 2;
        struct block **heap = mem_try_realloc(blocks->heap, cap * sizeof(struct block *));
        if (heap == NULL) {
            return false;
        }
        blocks->heap = heap;
        blocks->heap_cap = cap;
    }
    heap_rise(blocks, blocks->heap_count++, block);
    return true;
}

static void heap_remove(struct blocking *blocks, struct block *block)
{
    if (block->heap_at == 0) {
        return;
    }
    size_t at = block->heap_at - 1;
    struct block *last = blocks->heap[--blocks->heap_count];
    block->heap_at = 0;
    if (last == block) {
        return;
    }
    if (at > 0 && blocks->heap[(at - 1) / 2]->deadline_us > last->deadline_us) {
        heap_rise(blocks, at, last);
    } else {
        heap_sink(blocks, at, last);
    }
}

/* ---- Blocks ---- */

static struct block *block_of(const struct session *session)
{
    return session->slots[SESSION_SLOT_BLOCK];
}

/* Forgets the wait; the session stays suspended. */
static void block_free(struct block *block)
{
    struct session *session = block->session;
    struct exec *exec = session->exec;
    for (uint32_t i = 0; i < block->waiter_count; i++) {
        struct waiter *waiter = &block->waiters[i];
        if (list_is_linked(&waiter->link)) {
            list_remove(&waiter->link);
            key_want_removal(exec, waiter->key, block->wants_removal ? -1 : 0);
            key_drop_if_unused(exec, waiter->key);
        }
    }
    heap_remove(&exec->blocking, block);
    exec->blocking.session_count--;
    session->slots[SESSION_SLOT_BLOCK] = NULL;
    session->flags &= ~(uint32_t)SESSION_CACHING; /* It held for this command. */
    session->held_memory -= block->size;
    mem_free_sized(block, block->size);
}

/* The session goes on; its reply has been written. */
static void block_end(struct block *block)
{
    struct session *session = block->session;
    block_free(block);
    session_resume(session);
}

static void block_on_cancel(struct session *session, void *context)
{
    (void)session;
    block_free(context);
}

static void end_with_timeout(struct block *block)
{
    struct session *session = block->session;
    if (block->on_timeout != NULL) {
        block->on_timeout(session, session->out);
    } else {
        reply_null_array(session->out);
    }
    block_end(block);
}

static void end_with_error(struct block *block, const char *error)
{
    struct reply *out = block->session->out;
    uint64_t errors_before = out->error_count;
    reply_error(out, error);
    block->entry->stats.failed++;
    exec_note_errors(block->session->exec, out, out->error_count - errors_before);
    block_end(block);
}

static void block_on_unblock(struct session *session, bool is_error)
{
    if (is_error) {
        end_with_error(block_of(session), "UNBLOCKED client unblocked via CLIENT UNBLOCK");
    } else {
        end_with_timeout(block_of(session));
    }
}

/* A block with copies of the arguments; NULL: no memory. */
static struct block *block_new(struct call *call, const struct block_wish *wish)
{
    const struct args *args = wish->again != NULL ? wish->again : &call->args;
    size_t head = sizeof(struct block) + wish->key_count * sizeof(struct waiter);
    size_t size = head + args->count * sizeof(struct slice);
    for (uint32_t i = 0; i < args->count; i++) {
        size += args->at[i].len;
    }
    struct block *block = mem_try_alloc(size);
    if (block == NULL) {
        return NULL;
    }
    *block = (struct block){.session = call->session,
                            .entry = call->entry,
                            .on_timeout = wish->on_timeout,
                            .deadline_us = INT64_MAX,
                            .size = size,
                            .kind = wish->kind,
                            .wants_removal = wish->wants_removal,
                            .waiter_count = wish->key_count};
    block->args.at = (struct slice *)(void *)((char *)block + head);
    block->args.count = args->count;
    char *bytes = (char *)(block->args.at + args->count);
    for (uint32_t i = 0; i < args->count; i++) {
        struct slice arg = args->at[i];
        block->args.at[i] = slice_of(bytes, arg.len);
        if (arg.len != 0) {
            memcpy(bytes, arg.data, arg.len);
        }
        bytes += arg.len;
    }
    return block;
}

/* Queues up behind each key, once however often it is named. False: no memory. */
static bool block_queue_up(struct block *block, const struct block_wish *wish)
{
    struct session *session = block->session;
    for (uint32_t i = 0; i < block->waiter_count; i++) {
        struct waiter *waiter = &block->waiters[i];
        waiter->block = block;
        waiter->index = wish->first_key + i;
        list_init(&waiter->link);
    }
    for (uint32_t i = 0; i < block->waiter_count; i++) {
        struct waiter *waiter = &block->waiters[i];
        struct block_key *key = key_get(session->exec, session->db, block->args.at[waiter->index]);
        if (key == NULL) {
            return false;
        }
        bool is_repeated = !list_is_empty(&key->waiters) &&
                           LIST_OWNER(key->waiters.prev, struct waiter, link)->block == block;
        if (!is_repeated) {
            waiter->key = key;
            list_push_back(&key->waiters, &waiter->link);
            key->kinds = (uint8_t)(key->kinds | 1U << block->kind);
            key_want_removal(session->exec, key, block->wants_removal ? 1 : 0);
        }
    }
    return true;
}

void call_block(struct call *call, const struct block_wish *wish)
{
    struct session *session = call->session;
    struct blocking *blocks = &call->exec->blocking;
    if (block_of(session) != NULL) {
        DEBUG_ASSERT(call->ready_key != 0);
        block_of(session)->is_blocked_again = true;
        return;
    }
    DEBUG_ASSERT(call_may_block(call) && wish->key_count != 0);
    if (call->sliced != NULL) {
        exec_sliced_block(call);
        return;
    }
    struct block *block = block_new(call, wish);
    if (block == NULL) {
        reply_error(call->out, ERR_NO_MEMORY);
        return;
    }
    session->slots[SESSION_SLOT_BLOCK] = block;
    session->held_memory += block->size;
    blocks->session_count++;
    if (wish->timeout_ms > 0 && wish->timeout_ms < INT64_MAX / US_PER_MS - call->now->mono_us) {
        block->deadline_us = call->now->mono_us + wish->timeout_ms * US_PER_MS;
    }
    bool has_deadline = block->deadline_us != INT64_MAX;
    if (!block_queue_up(block, wish) || (has_deadline && !heap_add(blocks, block))) {
        block_free(block);
        reply_error(call->out, ERR_NO_MEMORY);
        return;
    }
    session_suspend(session, block_on_cancel, block);
    session->on_unblock = block_on_unblock;
}

bool call_may_block(const struct call *call)
{
    const struct session *session = call->session;
    return !call->is_inner && session->ops != NULL &&
           (session->flags & (SESSION_INTERNAL | SESSION_PRIMARY)) == 0;
}

void call_block_or_null(struct call *call, const struct block_wish *wish)
{
    if (call_may_block(call)) {
        call_block(call, wish);
    } else {
        reply_null_array(call->out);
    }
}

void call_try_or_block(struct call *call, enum value_kind kind, block_try_fn try, int end)
{
    int64_t timeout_ms;
    uint32_t last = call->args.count - 1;
    if (call_timeout_s(call, last, &timeout_ms) && !try(call, end)) {
        call_block_or_null(call, &(struct block_wish){.first_key = 1,
                                                      .key_count = last - 1,
                                                      .timeout_ms = timeout_ms,
                                                      .kind = kind});
    }
}

/* ---- Keys that became ready ---- */

static void key_mark(struct exec *exec, struct block_key *key)
{
    if (!list_is_linked(&key->ready_link)) {
        list_push_back(&exec->blocking.ready, &key->ready_link);
        exec->aftermath |= AFTERMATH_READY;
    }
}

/* Marks the key if what it holds, or that it holds nothing, concerns a waiter. */
static void key_check(struct exec *exec, struct block_key *key)
{
    struct slice name = key_slice(key);
    const struct value *value = db_find(key->db, name, db_hash(key->db, name), exec->now->wall_ms,
                                        FIND_NO_TOUCH | FIND_EXPIRED);
    if (key->removal_count != 0 ||
        (value != NULL && (key->kinds & (1U << value_kind(value))) != 0)) {
        key_mark(exec, key);
    }
}

/* Changes after which nobody who waits for the key finds more than before. To mark it would change
 * the order in which keys serve, no more. */
bool block_is_woken_by(const char *event)
{
    static const char *const others[] = {"xdel", "xtrim", "expire", "persist"};
    for (size_t i = 0; event != NULL && i < sizeof(others) / sizeof(others[0]); i++) {
        if (strcmp(event, others[i]) == 0) {
            return false;
        }
    }
    return true;
}

void block_note(struct exec *exec, struct db *db, struct slice name)
{
    struct block_key *key = key_find(exec, db, name);
    if (key != NULL) {
        key_check(exec, key);
    }
}

void call_wake_waiters(struct call *call, uint32_t index)
{
    block_note(call->exec, call->db, call->args.at[index]);
}

void block_note_database(struct exec *exec, struct db *db)
{
    struct table_iterator iterator;
    table_iterate(&exec->blocking.keys, &iterator);
    for (struct block_key *key = table_next(&iterator); key != NULL; key = table_next(&iterator)) {
        if (key->db == db) {
            key_check(exec, key);
        }
    }
}

/* ---- Serving ---- */

static void serve(struct exec *exec, struct waiter *waiter)
{
    struct block *block = waiter->block;
    block->is_blocked_again = false;
    exec_run_again(exec, block->session,
                   &(struct exec_again){
                       .entry = block->entry, .args = block->args, .ready_key = waiter->index});
    if (!block->is_blocked_again) {
        block_end(block);
    }
}

/* Whether a waiter's command is worth another run. A client that was killed in this very unit gets
 * nothing, for it would be lost. */
static bool is_served_by(const struct block *block, const struct value *value)
{
    if ((block->session->flags & SESSION_CLOSE_NOW) != 0) {
        return false;
    }
    return block->wants_removal || (value != NULL && value_kind(value) == block->kind);
}

static void serving_on_finish(struct pin *pin)
{
    block_serve_rest(LIST_OWNER(pin, struct serving, pin)->exec);
}

/* Holds a key, unless it is held. */
static void serving_begin(struct exec *exec, struct block_key *key)
{
    if (key->serving != NULL) {
        return;
    }
    struct slice name = key_slice(key);
    key->serving = mem_alloc(sizeof(*key->serving));
    *key->serving =
        (struct serving){.pin = {.mode = PIN_EDIT, .finish = serving_on_finish}, .exec = exec};
    list_init(&key->serving->mark.link);
    db_pin(key->db, db_hash(key->db, name), name, NULL, &key->serving->pin);
}

static void serving_end(struct exec *exec, struct block_key *key)
{
    struct serving *serving = key->serving;
    if (serving != NULL) {
        key->serving = NULL;
        list_remove(&serving->mark.link);
        keyspace_unpin(exec->keyspace, &serving->pin);
        mem_free_sized(serving, sizeof(*serving));
    }
}

/* Serves waiters of the key, at most `*budget`. False: there may be more, before whom the mark is.
 */
static bool serve_key(struct exec *exec, struct block_key *key, unsigned *budget)
{
    struct slice name = key_slice(key);
    uint64_t hash = db_hash(key->db, name);
    struct list *node = key->waiters.next;
    bool is_done = true;
    if (key->serving != NULL && list_is_linked(&key->serving->mark.link)) {
        node = key->serving->mark.link.next;
        list_remove(&key->serving->mark.link);
    }
    key->is_serving = true;
    while (node != &key->waiters) {
        struct waiter *waiter = LIST_OWNER(node, struct waiter, link);
        const struct value *value = db_find(key->db, name, hash, exec->now->wall_ms, FIND_NO_TOUCH);
        if (value == NULL && key->removal_count == 0) {
            break;
        }
        if (*budget == 0) {
            serving_begin(exec, key);
            list_push_back(node, &key->serving->mark.link); /* Before it. */
            is_done = false;
            break;
        }
        node = node->next;
        if (is_served_by(waiter->block, value)) {
            --*budget;
            serve(exec, waiter);
        }
    }
    key->is_serving = false;
    return is_done;
}

/* Serves at most so many waiters of all ready keys. */
static void serve_some(struct exec *exec, unsigned budget)
{
    struct list *ready = &exec->blocking.ready;
    exec->blocking.is_serving = true;
    while (!list_is_empty(ready)) {
        struct block_key *key = LIST_OWNER(ready->next, struct block_key, ready_link);
        list_remove(&key->ready_link);
        if (!serve_key(exec, key, &budget)) {
            list_remove(&key->ready_link); /* It may have been marked meanwhile. */
            list_push_front(ready, &key->ready_link);
            break;
        }
        serving_end(exec, key);
        key_drop_if_unused(exec, key);
    }
    exec->blocking.is_serving = false;
    exec->aftermath &= ~(uint32_t)AFTERMATH_READY;
}

static void hold_ready(struct exec *exec)
{
    struct list *ready = &exec->blocking.ready;
    for (struct list *node = ready->next; node != ready; node = node->next) {
        serving_begin(exec, LIST_OWNER(node, struct block_key, ready_link));
    }
}

static bool serve_on_step(struct work_job *job)
{
    struct exec *exec = LIST_OWNER(job, struct exec, blocking.serve_job);
    if (aside_is_parked(exec) || exec->sliced.teller != NULL) {
        return false; /* In the middle of a unit. */
    }
    serve_some(exec, SERVE_STEP);
    hold_ready(exec);
    exec->blocking.is_pending = !list_is_empty(&exec->blocking.ready);
    return !exec->blocking.is_pending;
}

void block_serve(struct exec *exec)
{
    struct blocking *blocks = &exec->blocking;
    if (blocks->is_serving) {
        return; /* A long command was finished for one that is served: the loop goes on. */
    }
    exec->aftermath &= ~(uint32_t)AFTERMATH_READY;
    if (!blocks->is_pending) {
        serve_some(exec, SERVE_AT_ONCE);
    }
    hold_ready(exec);
    if (!blocks->is_pending && !list_is_empty(&blocks->ready)) {
        blocks->is_pending = true;
        work_add(exec->work, &blocks->serve_job, serve_on_step);
    }
}

void block_serve_rest(struct exec *exec)
{
    struct blocking *blocks = &exec->blocking;
    if (blocks->is_pending && !blocks->is_serving) {
        work_cancel(exec->work, &blocks->serve_job);
        serve_some(exec, UINT_MAX);
        blocks->is_pending = false;
    }
}

bool block_is_pending(const struct exec *exec)
{
    return exec->blocking.is_pending;
}

/* ---- Ends ---- */

void block_tick(struct exec *exec)
{
    struct blocking *blocks = &exec->blocking;
    exec_settle(exec);
    for (unsigned i = 0; i < TIMEOUTS_PER_TICK && blocks->heap_count != 0; i++) {
        if (blocks->heap[0]->deadline_us > exec->now->mono_us) {
            break;
        }
        end_with_timeout(blocks->heap[0]);
    }
}

int64_t block_due_us(const struct exec *exec)
{
    const struct blocking *blocks = &exec->blocking;
    if (exec->aftermath != 0) {
        return 0;
    }
    return blocks->heap_count != 0 ? blocks->heap[0]->deadline_us : INT64_MAX;
}

void block_cancel_all(struct exec *exec, const char *error)
{
    struct list *next;
    for (struct list *node = exec->sessions.next; node != &exec->sessions; node = next) {
        next = node->next;
        struct session *session = LIST_OWNER(node, struct session, link);
        if (block_of(session) != NULL) {
            end_with_error(block_of(session), error);
        }
    }
}

struct block_stats block_stats(const struct exec *exec)
{
    return (struct block_stats){.session_count = exec->blocking.session_count,
                                .timeout_count = exec->blocking.heap_count,
                                .key_count = table_count(&exec->blocking.keys),
                                .removal_count = exec->blocking.removal_count};
}

void blocks_init(struct exec *exec)
{
    struct blocking *blocks = &exec->blocking;
    blocks->kind = (struct table_kind){.hash_of = key_hash_of};
    table_init(&blocks->keys, &blocks->kind);
    list_init(&blocks->ready);
}

void blocks_deinit(struct exec *exec)
{
    ASSERT(exec->blocking.session_count == 0);
    block_serve_rest(exec); /* There are no waiters: lets go of the keys. */
    table_deinit(&exec->blocking.keys);
    mem_free(exec->blocking.heap);
}

/* ---- Timeouts as clients give them ---- */

static bool check_timeout(struct call *call, int64_t timeout_ms)
{
    if (timeout_ms < 0) {
        reply_error(call->out, "ERR timeout is negative");
        return false;
    }
    return true;
}

bool call_timeout_s(struct call *call, uint32_t index, int64_t *timeout_ms)
{
    long double seconds;
    if (!num_parse_long_double(call->args.at[index], &seconds)) {
        reply_error(call->out, "ERR timeout is not a float or out of range");
        return false;
    }
    /* Without the first correction 0.253 would be 254 ms; with it, the least time might be none.
     * What is too large for 64 bits is called negative: Redis's conversion makes it so. */
    long double ms = ceill(seconds * 1000.0L - 1e-9L);
    ms = seconds > 0 && ms < 1 ? 1 : ms;
    bool fits = ms >= 0 && ms < 0x1p63L;
    *timeout_ms = fits ? (int64_t)ms : -1;
    return check_timeout(call, *timeout_ms);
}

bool call_timeout_ms(struct call *call, uint32_t index, int64_t *timeout_ms)
{
    return call_i64(call, index, timeout_ms, "ERR timeout is not an integer or out of range") &&
           check_timeout(call, *timeout_ms);
}
