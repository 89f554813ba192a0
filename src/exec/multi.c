/* Transactions: the queue, and what is watched.
 *
 *     session --slot--> multi --> queue:   [command] [command] ...      one allocation each
 *                             |               | entry, hash of the first key | slices | bytes |
 *                             |                                                 '--> blob (shared)
 *                             '-> watched: set of (watch, version when it was watched)
 *
 * Queueing copies a command out of its connection's input, but for arguments that are blobs, which
 * are shared, so that a value of a megabyte is moved once between the socket and its key. What the
 * queue occupies is the client's memory: above client-query-buffer-limit, which bounds what has
 * been received and not executed, the client is closed (net/limits.c).
 *
 * WATCH compares versions (keyspace/watch.c). A key's version moves with every change, also when an
 * expired key is removed, so the times count: a key that had expired when it was watched was absent
 * for its watcher, and its removal is no change; a key that has expired by EXEC has changed though
 * nobody removed it yet.
 *
 *     when watched    at EXEC               verdict
 *     any             same version          no change, unless it was live and has expired since
 *     absent          one version later     no change if it is absent still: what had expired was
 *                                           removed, or went with its database
 *     any             otherwise             changed
 *
 * EXEC runs the queue with the hashes that were computed when it was queued, and prefetches a few
 * commands ahead, as the drain does for a pipeline. Each command is freed when it has run. A long
 * queue that is discarded is freed in slices by the work queue.
 *
 * A long queue of a primary runs a little at a time (call_slice_unit): scripts, and commands with
 * many effects, come as thousands of small ones. Their keys are noted as they are queued, for
 * nobody may see the middle.
 *
 * Costs: queueing one allocation and one copy; 64 bytes and 16 per argument besides the bytes
 * themselves. Watching: O(1) per key, 40 bytes and the key for the first who watches it. Who
 * watches more than half of WATCHED_CAP_MAX keys has the others in a table, which grows a segment
 * at a time; such are forgotten in slices.
 *
 * Invariants:
 *   1. A session has a multi exactly while it queues or watches something.
 *   2. memory is what the multi, its queue and its watches occupy, and is part of the session's
 *      held_memory.
 *
 * Rejected: keeping the input's bytes and parsing them again at EXEC (they lie in the ring's
 * buffers, which others need). */
#include "exec/multi.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/stretch.h"
#include "base/work.h"
#include "exec/aside.h"
#include "exec/exec_internal.h"
#include "exec/key_set.h"

#ifdef OURO_HOSTILE
enum { DROP_SLICE = 2, UNIT_COMMANDS = 1, UNIT_BYTES = 1000, WATCHED_CAP_MAX = 8 };
#else
enum {
    DROP_SLICE = 256,       /* Commands freed in one step: about 30 us. */
    UNIT_COMMANDS = 32,     /* Of a primary, that EXEC runs in one step, */
    UNIT_BYTES = 64 << 10,  /* and bytes of its queue. */
    WATCHED_CAP_MAX = 1024, /* 48 KiB: growing further would be a long step. */
};
#endif

enum {
    QUEUE_CAP_MIN = 8,
    WATCHED_CAP_MIN = 8, /* A power of two. */
    BUCKET_AHEAD = 8,    /* Commands ahead whose bucket is prefetched, */
    VALUE_AHEAD = 4,     /* and whose value. */
    WATCH_COST = 40,     /* Bytes of a watch besides its key. */
};

struct watched {
    struct watch *watch; /* NULL: a free place of the set. */
    struct db *db;
    struct slice key; /* The watch's own. */
    uint64_t version;
    bool was_live;
    bool was_volatile; /* With an expiry; only a change gives it one later. */
};

struct multi {
    struct multi_command **queue; /* In `room`. */
    struct stretch room;
    uint32_t count, cap;
    uint32_t flags; /* Of all queued commands, or-ed. */
    bool is_spoiled;
    struct key_set keys;                 /* Of what a primary has queued; else empty. */
    uint32_t watched_count, watched_cap; /* The latter 0 or a power of two. */
    struct watched *watched;             /* Open addressing by the address of the watch. */
    struct table more;                   /* Of struct watched, owned: those that found it full. */
    size_t more_memory;                  /* Of these and their keys. */
    size_t memory;
    size_t queued_memory; /* The part of it that queued commands are. */
};

/* The address of a watch, mixed: it never changes while somebody watches. */
static uint64_t watched_hash(const struct watch *watch)
{
    uint64_t mixed = (uint64_t)(uintptr_t)watch * 0x9e3779b97f4a7c15ULL;
    mixed = (mixed ^ mixed >> 32) * 0xd6e8feb86659fd93ULL;
    return mixed ^ mixed >> 32;
}

static uint64_t watched_hash_of(const void *entry, const void *context)
{
    (void)context;
    return watched_hash(((const struct watched *)entry)->watch);
}

static const struct table_kind watched_kind = {.hash_of = watched_hash_of};

/* ---- Life ---- */

static struct multi *multi_of(const struct session *session)
{
    return session->slots[SESSION_SLOT_MULTI];
}

static void charge(struct session *session, size_t size)
{
    multi_of(session)->memory += size;
    session->held_memory += size;
}

static void discharge(struct session *session, size_t size)
{
    multi_of(session)->memory -= size;
    session->held_memory -= size;
}

static struct multi *multi_get(struct session *session)
{
    if (multi_of(session) != NULL) {
        return multi_of(session);
    }
    struct multi *multi = mem_try_alloc(sizeof(*multi));
    if (multi != NULL) {
        *multi = (struct multi){.queue = NULL};
        table_init(&multi->more, &watched_kind);
        session->slots[SESSION_SLOT_MULTI] = multi;
        charge(session, sizeof(*multi));
    }
    return multi;
}

/* Frees the multi of a session that neither queues nor watches. */
static void multi_drop_if_unused(struct session *session)
{
    struct multi *multi = multi_of(session);
    if (multi == NULL || multi_is_on(session) || multi->watched_count != 0) {
        return;
    }
    discharge(session, sizeof(*multi) + multi->watched_cap * sizeof(struct watched) +
                           stretch_memory(&multi->room));
    ASSERT(multi->memory == 0 && multi->count == 0 && table_count(&multi->more) == 0);
    table_deinit(&multi->more);
    stretch_deinit(&multi->room);
    mem_free(multi->watched);
    mem_free_sized(multi, sizeof(*multi));
    session->slots[SESSION_SLOT_MULTI] = NULL;
}

/* ---- The queue ---- */

static void command_free(struct multi_command *command)
{
    for (uint32_t i = 0; command->blobs != NULL && i < command->args.count; i++) {
        if (command->blobs[i] != NULL) {
            blob_drop(command->blobs[i]);
        }
    }
    mem_free_sized(command, command->size);
}

/* What a command occupies, its blobs included. */
static size_t command_memory(const struct multi_command *command)
{
    size_t memory = command->size;
    for (uint32_t i = 0; command->blobs != NULL && i < command->args.count; i++) {
        memory += command->blobs[i] != NULL ? command->blobs[i]->cap : 0;
    }
    return memory;
}

static void charge_command(struct session *session, const struct multi_command *command)
{
    size_t memory = command_memory(command);
    multi_of(session)->queued_memory += memory;
    charge(session, memory);
}

static void discharge_command(struct session *session, const struct multi_command *command)
{
    size_t memory = command_memory(command);
    multi_of(session)->queued_memory -= memory;
    discharge(session, memory);
}

static bool is_blob(struct call *call, uint32_t index)
{
    struct blob *blob = call_take_blob(call, index);
    if (blob != NULL) {
        blob_drop(blob);
    }
    return blob != NULL;
}

/* Bytes of the arguments that must be copied; tells whether there are others. */
static size_t copied_len(struct call *call, bool *has_blobs)
{
    size_t len = 0;
    *has_blobs = false;
    for (uint32_t i = 0; i < call->args.count; i++) {
        if (is_blob(call, i)) {
            *has_blobs = true;
        } else {
            len += call->args.at[i].len;
        }
    }
    return len;
}

/* Fills in the arguments: blobs are shared, the others copied to `bytes`. */
static void command_fill(struct multi_command *command, struct call *call, char *bytes)
{
    for (uint32_t i = 0; i < call->args.count; i++) {
        struct slice arg = call->args.at[i];
        struct blob *blob = command->blobs != NULL ? command->blobs[i] : NULL;
        if (blob != NULL) {
            command->args.at[i] = blob_slice(blob);
            continue;
        }
        command->args.at[i] = slice_of(bytes, arg.len);
        if (arg.len != 0) {
            memcpy(bytes, arg.data, arg.len);
        }
        bytes += arg.len;
    }
}

/* NULL: no memory. */
static struct multi_command *command_new(struct call *call)
{
    uint32_t count = call->args.count;
    bool has_blobs;
    size_t size = copied_len(call, &has_blobs);
    size_t head = sizeof(struct multi_command) + count * sizeof(struct slice) +
                  (has_blobs ? count * sizeof(struct blob *) : 0);
    size += head;
    struct multi_command *command = mem_try_alloc(size);
    if (command == NULL) {
        return NULL;
    }
    *command = (struct multi_command){.entry = call->entry,
                                      .first_hash = call->first_hash,
                                      .first_key = call->first_key,
                                      .size = size};
    command->args.at = (struct slice *)(void *)(command + 1);
    command->args.count = count;
    if (has_blobs) {
        command->blobs = (struct blob **)(void *)(command->args.at + count);
        for (uint32_t i = 0; i < count; i++) {
            command->blobs[i] = call_take_blob(call, i);
        }
    }
    command_fill(command, call, (char *)command + head);
    return command;
}

static bool queue_reserve(struct session *session, struct multi *multi)
{
    if (multi->count < multi->cap) {
        return true;
    }
    uint32_t cap = multi->cap == 0 ? QUEUE_CAP_MIN : multi->cap * 2;
    size_t memory = stretch_memory(&multi->room);
    if (!stretch_try_grow(&multi->room, cap * sizeof(struct multi_command *))) {
        return false;
    }
    charge(session, stretch_memory(&multi->room) - memory);
    multi->queue = multi->room.bytes;
    multi->cap = cap;
    return true;
}

/* Keys that others may not see while EXEC runs in slices. */
static void note_keys(struct multi *multi, const struct call *call)
{
    struct key_position few[EXEC_KEYS_INLINE];
    struct key_position *more;
    uint32_t count = exec_find_pins(call, few, &more);
    const struct key_position *keys = more != NULL ? more : few;
    for (uint32_t i = 0; i < count; i++) {
        key_set_add(&multi->keys, call_hash(call, keys[i].index));
    }
    mem_free(more);
    if (count == 0 && (call->entry->flags & CMD_WRITE) != 0) {
        key_set_add_all(&multi->keys); /* FLUSHALL, SWAPDB */
    }
}

enum gate_result multi_gate(void *context, struct call *call)
{
    struct session *session = call->session;
    struct multi *multi = multi_of(session);
    (void)context;
    if ((call->entry->flags & CMD_NO_MULTI) != 0) {
        reply_error(call->out, "ERR Command not allowed inside a transaction");
        return GATE_REFUSED;
    }
    struct multi_command *command = queue_reserve(session, multi) ? command_new(call) : NULL;
    if (command == NULL) {
        reply_error(call->out, ERR_NO_MEMORY);
        return GATE_REFUSED;
    }
    multi->queue[multi->count++] = command;
    multi->flags |= call->entry->flags;
    if ((session->flags & SESSION_PRIMARY) != 0) {
        note_keys(multi, call);
    }
    session->queued_count = (int32_t)multi->count;
    charge_command(session, command);
    reply_status(call->out, "QUEUED");
    return GATE_TAKEN;
}

/* A queue that is being freed. */
struct queue_drop {
    struct work_job job;
    struct multi_command **queue; /* In `room`. */
    struct stretch room;
    uint32_t at, count;
};

static bool drop_step(struct work_job *job)
{
    struct queue_drop *drop = LIST_OWNER(job, struct queue_drop, job);
    for (unsigned i = 0; i < DROP_SLICE && drop->at < drop->count; i++) {
        command_free(drop->queue[drop->at++]);
    }
    if (drop->at < drop->count) {
        return false;
    }
    stretch_deinit(&drop->room);
    mem_free_sized(drop, sizeof(*drop));
    return true;
}

/* Forgets what is queued; the session's memory shrinks at once. Looks at none of many commands. */
static void queue_clear(struct session *session, struct multi *multi)
{
    discharge(session, multi->queued_memory);
    multi->queued_memory = 0;
    if (multi->count <= DROP_SLICE) {
        for (uint32_t i = 0; i < multi->count; i++) {
            command_free(multi->queue[i]);
        }
    } else {
        struct queue_drop *drop = mem_zalloc(sizeof(*drop));
        drop->queue = multi->queue;
        drop->room = multi->room;
        drop->count = multi->count;
        discharge(session, stretch_memory(&multi->room));
        multi->room = (struct stretch){.bytes = NULL};
        multi->queue = NULL;
        multi->cap = 0;
        work_add(session->exec->work, &drop->job, drop_step);
    }
    multi->count = 0;
}

/* ---- Watching ---- */

/* The place of a watch in the set: where it is, or the free one where it would be. */
static struct watched *watched_place(struct watched *set, uint32_t cap, const struct watch *watch)
{
    uint32_t at = (uint32_t)(watched_hash(watch) >> 32) & (cap - 1);
    while (set[at].watch != NULL && set[at].watch != watch) {
        at = (at + 1) & (cap - 1);
    }
    return &set[at];
}

static bool watched_is_full(const struct multi *multi)
{
    return multi->watched_count * 2 >= WATCHED_CAP_MAX;
}

/* Keeps the set at most half full. */
static bool watched_reserve(struct session *session, struct multi *multi)
{
    if (multi->watched_count * 2 < multi->watched_cap || watched_is_full(multi)) {
        return true;
    }
    uint32_t cap = multi->watched_cap == 0 ? WATCHED_CAP_MIN : multi->watched_cap * 2;
    struct watched *set = mem_try_alloc(cap * sizeof(struct watched));
    if (set == NULL) {
        return false;
    }
    memset(set, 0, cap * sizeof(struct watched));
    for (uint32_t i = 0; i < multi->watched_cap; i++) {
        if (multi->watched[i].watch != NULL) {
            *watched_place(set, cap, multi->watched[i].watch) = multi->watched[i];
        }
    }
    mem_free(multi->watched);
    charge(session, (cap - multi->watched_cap) * sizeof(struct watched));
    multi->watched = set;
    multi->watched_cap = cap;
    return true;
}

static const struct value *peek(struct db *db, struct slice key, int64_t now_ms)
{
    return db_find(db, key, db_hash(db, key), now_ms, FIND_NO_TOUCH | FIND_EXPIRED);
}

/* The key is there and has not expired. */
static bool is_live(const struct value *value, int64_t now_ms)
{
    return value != NULL && (!value_has_expire(value) || value_expire_ms(value) >= now_ms);
}

static bool watched_is(const void *entry, const void *watch)
{
    return ((const struct watched *)entry)->watch == watch;
}

/* Where a watch is to be noted: a free place of the set, or a new entry of the table. NULL: no
 * memory. `*is_known`: it is noted already. */
static struct watched *watched_take(struct multi *multi, struct watch *watch, bool *is_known)
{
    struct watched *place = watched_place(multi->watched, multi->watched_cap, watch);
    *is_known = place->watch != NULL;
    if (*is_known || !watched_is_full(multi)) {
        multi->watched_count += !*is_known;
        return place;
    }
    uint64_t hash = watched_hash(watch);
    place = table_find(&multi->more, hash, watch, watched_is);
    *is_known = place != NULL;
    if (place == NULL && (place = mem_try_alloc(sizeof(*place))) != NULL) {
        place->watch = watch;
        table_insert(&multi->more, hash, place);
    }
    return place;
}

static uint32_t watched_total(const struct multi *multi)
{
    return multi->watched_count + (uint32_t)table_count(&multi->more);
}

bool multi_watch(struct session *session, struct slice key, int64_t now_ms)
{
    struct multi *multi = multi_get(session);
    if (multi == NULL || !watched_reserve(session, multi)) {
        return false;
    }
    struct watch *watch = db_try_watch(session->db, key);
    if (watch == NULL) {
        return false;
    }
    bool is_known;
    struct watched *place = watched_take(multi, watch, &is_known);
    if (is_known || place == NULL) {
        db_unwatch(session->db, watch);
        return is_known;
    }
    const struct value *value = peek(session->db, key, now_ms);
    *place = (struct watched){.watch = watch,
                              .db = session->db,
                              .key = db_watch_key(watch),
                              .version = db_watch_version(watch),
                              .was_live = is_live(value, now_ms),
                              .was_volatile = value != NULL && value_has_expire(value)};
    session->exec->watching_sessions += watched_total(multi) == 1;
    session->exec->watched_keys++;
    charge(session, WATCH_COST + key.len);
    if (table_count(&multi->more) != 0) {
        charge(session, sizeof(*place));
        multi->more_memory += sizeof(*place) + WATCH_COST + key.len;
    }
    return true;
}

/* What is in the table, on its way to be forgotten. */
struct watched_drop {
    struct work_job job;
    struct table_drain drain;
};

static void drop_watched(void *context, void *entry)
{
    struct watched *watched = entry;
    (void)context;
    db_unwatch(watched->db, watched->watch);
    mem_free_sized(watched, sizeof(*watched));
}

static bool drop_watched_step(struct work_job *job)
{
    struct watched_drop *drop = LIST_OWNER(job, struct watched_drop, job);
    if (!table_drain_step(&drop->drain, drop_watched, NULL, DROP_SLICE)) {
        return false;
    }
    mem_free_sized(drop, sizeof(*drop));
    return true;
}

static void clear_more(struct session *session, struct multi *multi)
{
    struct watched_drop *drop = mem_zalloc(sizeof(*drop));
    discharge(session, multi->more_memory);
    multi->more_memory = 0;
    table_drain_begin(&drop->drain, &multi->more);
    work_add(session->exec->work, &drop->job, drop_watched_step);
}

static void watched_clear(struct session *session, struct multi *multi)
{
    if (multi->watched_count == 0) {
        return;
    }
    for (uint32_t i = 0; i < multi->watched_cap; i++) {
        struct watched *watched = &multi->watched[i];
        if (watched->watch != NULL) {
            discharge(session, WATCH_COST + watched->key.len);
            db_unwatch(watched->db, watched->watch);
            watched->watch = NULL;
        }
    }
    session->exec->watched_keys -= watched_total(multi);
    session->exec->watching_sessions--;
    multi->watched_count = 0;
    if (table_count(&multi->more) != 0) {
        clear_more(session, multi);
    }
}

void multi_unwatch(struct session *session)
{
    if (multi_of(session) != NULL) {
        watched_clear(session, multi_of(session));
        multi_drop_if_unused(session);
    }
}

/* See the table atop. */
static bool has_changed(const struct watched *watched, int64_t now_ms)
{
    uint64_t changes = db_watch_version(watched->watch) - watched->version;
    if (changes > 1 || (changes == 1 && watched->was_live)) {
        return true;
    }
    if (changes == 0 && !(watched->was_live && watched->was_volatile)) {
        return false;
    }
    return is_live(peek(watched->db, watched->key, now_ms), now_ms) != watched->was_live;
}

static bool have_more_changed(const struct multi *multi, int64_t now_ms)
{
    struct table_iterator iterator;
    const struct watched *watched;
    table_iterate(&multi->more, &iterator);
    while ((watched = table_next(&iterator)) != NULL) {
        if (has_changed(watched, now_ms)) {
            return true;
        }
    }
    return false;
}

/* ---- The commands' part ---- */

bool multi_begin(struct session *session)
{
    if (multi_get(session) == NULL) {
        return false;
    }
    session->flags |= SESSION_MULTI;
    session->gate_bits |= GATE_MULTI;
    session->queued_count = 0;
    return true;
}

void multi_end(struct session *session)
{
    struct multi *multi = multi_of(session);
    session->flags &= ~(uint32_t)SESSION_MULTI;
    session->gate_bits &= ~(uint32_t)GATE_MULTI;
    session->queued_count = -1;
    if (multi == NULL) {
        return;
    }
    queue_clear(session, multi);
    watched_clear(session, multi);
    key_set_deinit(&multi->keys);
    multi->flags = 0;
    multi->is_spoiled = false;
    multi_drop_if_unused(session);
}

void multi_spoil(struct session *session)
{
    if (multi_is_on(session)) {
        multi_of(session)->is_spoiled = true;
    }
}

enum multi_verdict multi_verdict(const struct session *session, int64_t now_ms)
{
    const struct multi *multi = multi_of(session);
    if (multi->is_spoiled) {
        return MULTI_SPOILED;
    }
    for (uint32_t i = 0; multi->watched_count != 0 && i < multi->watched_cap; i++) {
        if (multi->watched[i].watch != NULL && has_changed(&multi->watched[i], now_ms)) {
            return MULTI_CHANGED;
        }
    }
    return have_more_changed(multi, now_ms) ? MULTI_CHANGED : MULTI_FREE;
}

static void prefetch_ahead(const struct session *session, const struct multi *multi, uint32_t at)
{
    if (at + BUCKET_AHEAD < multi->count && multi->queue[at + BUCKET_AHEAD]->first_key != 0) {
        db_prefetch_bucket(session->db, multi->queue[at + BUCKET_AHEAD]->first_hash);
    }
    if (at + VALUE_AHEAD < multi->count && multi->queue[at + VALUE_AHEAD]->first_key != 0) {
        db_prefetch_value(session->db, multi->queue[at + VALUE_AHEAD]->first_hash);
    }
}

static void run_queue(void *context)
{
    struct session *session = context;
    struct multi *multi = multi_of(session);
    reply_array(session->out, multi->count);
    for (uint32_t i = 0; i < multi->count; i++) {
        struct multi_command *command = multi->queue[i];
        prefetch_ahead(session, multi, i);
        exec_run_queued(session->exec, session, command);
        discharge_command(session, command);
        command_free(command);
    }
    multi->count = 0;
    multi_end(session);
}

/* The same a little at a time; nobody reads the answers. */
static void run_unit(struct call *call)
{
    struct session *session = call->session;
    struct multi *multi = multi_of(session);
    for (uint32_t i = 0; i < multi->count; i++) {
        struct multi_command *command = multi->queue[i];
        prefetch_ahead(session, multi, i);
        exec_run_queued(session->exec, session, command);
        reply_sent(session->out, reply_len(session->out));
        discharge_command(session, command);
        command_free(command);
        (void)call_yield(call);
    }
    multi->count = 0;
    multi_end(session);
}

/* Of a primary: what scripts and long commands have become. */
static bool is_long_unit(const struct session *session, const struct multi *multi)
{
    return (session->flags & SESSION_PRIMARY) != 0 && (multi->flags & CMD_MAY_PARK) == 0 &&
           (multi->count > UNIT_COMMANDS || multi->memory > UNIT_BYTES);
}

void multi_run(struct call *call)
{
    struct session *session = call->session;
    struct multi *multi = multi_of(session);
    watched_clear(session, multi); /* So that its own changes need not look for watches. */
    if (call->sliced != NULL) {
        run_unit(call);
        return;
    }
    if (is_long_unit(session, multi) && call_slice_unit(call, &multi->keys)) {
        return;
    }
    if ((multi->flags & CMD_MAY_PARK) == 0) {
        run_queue(session);
        return;
    }
    bool is_finished = aside_run(call, run_queue, session);
    (void)is_finished; /* Otherwise the session is suspended and the queue goes on later. */
}

/* ---- What others ask ---- */

uint32_t multi_count(const struct session *session)
{
    return multi_is_on(session) ? multi_of(session)->count : 0;
}

const struct multi_command *multi_at(const struct session *session, uint32_t index)
{
    DEBUG_ASSERT(index < multi_count(session));
    return multi_of(session)->queue[index];
}

uint32_t multi_call_flags(const struct call *call)
{
    bool runs_queue = call->entry == call->exec->exec_entry && multi_is_on(call->session);
    return call->entry->flags | (runs_queue ? multi_of(call->session)->flags : 0);
}

bool multi_queues(const struct call *call)
{
    return (call->entry->gate_bits & call->session->gate_bits & GATE_MULTI) != 0;
}

size_t multi_memory(const struct session *session)
{
    return multi_of(session) != NULL ? multi_of(session)->memory : 0;
}

struct multi_stats multi_stats(const struct exec *exec)
{
    return (struct multi_stats){.watching_sessions = exec->watching_sessions,
                                .watched_keys = exec->watched_keys};
}
