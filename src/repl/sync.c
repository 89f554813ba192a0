/* Full synchronisations: the snapshot that a replica gets before the stream.
 *
 *     asks --> waiting --> a round begins: +FULLRESYNC id offset, cursor opened at that offset
 *                |                |
 *                | delay,         |        pass (persist/pass.c): walk, mill
 *                | back-off       |                  | blocks of 128 KiB, each a blob
 *                | "\n" per s     |        .---------+----------.
 *                                 |   $EOF: by reference     temporary file
 *                                 |   to each connection     | whole: $<len>, read back
 *             sync_admission.c    |   sync_eof_form.c        | sync_file_form.c
 *                                 '----> online <---------------'
 *
 * Sharing. All who wait when a round begins are served by its one walk, in both forms at once. A
 * round waits repl-diskless-sync-delay for more to come, or until there are
 * repl-diskless-sync-max-replicas; one who needs the file form makes it begin at once, as in Redis.
 * Such a one may even join a round that has begun: the file is complete, and the stream since its
 * beginning is still there as long as somebody else of the round needs it.
 *
 * Memory. There are at most SYNC_BLOCKS_MAX blocks, whoever sends them; a connection has about
 * SYNC_AHEAD_MAX bytes queued. When the slowest has not taken a block the mill gets none back, and
 * the walk rests; what is held meanwhile is bounded as in a save (pass.c). Who takes nothing for
 * repl-timeout is dropped, alone. The stream since the beginning is in the backlog, which has its
 * own bound (primary.c).
 *
 * One walk at a time. A save under way is waited for; while a round walks, BGSAVE and SAVE answer
 * that a save is in progress, as in Redis. A save that cannot wait (SHUTDOWN, DEBUG RELOAD) ends
 * the round: its replicas are dropped, and come again. No round begins in the middle of a script,
 * or of a unit of effects.
 *
 * Storms. A replica that left without having acknowledged what it got waits longer each time
 * (sync_admission.c).
 *
 * Invariants:
 *   1. A replica is in `waiting` (WAIT_SYNC), in `sending` (SENDING), in `served` (ONLINE, nothing
 *      acknowledged yet), or sync_state is NULL.
 *   2. Blocks first .. end - 1 are in `blocks`; those before were handed to all who want them.
 *   3. While there is a pass the saver lends it, and no save begins. */
#include <inttypes.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "repl/sync_internal.h"

enum {
    RETRY_US = 10000, /* While a round cannot begin: a save is under way, a script is parked. */
    RETRY_THREAD_US = SYNC_US_PER_S,
};

static bool is_round_over(const struct sync *sync)
{
    return sync->pass == NULL && list_is_empty(&sync->blocks);
}

/* ---- What a delivery hands to its connection ---- */

bool delivery_has_room(const struct delivery *delivery)
{
    return reply_len(delivery->replica->session->out) < SYNC_AHEAD_MAX;
}

/* A replica's reply is muted: nothing that it says is answered in the middle of the stream. */
void delivery_put_bytes(struct delivery *delivery, struct slice bytes)
{
    struct reply *out = delivery->replica->session->out;
    out->is_muted = false;
    reply_raw(out, bytes);
    out->is_muted = true;
}

void delivery_put_blob(struct delivery *delivery, struct blob *blob)
{
    struct reply *out = delivery->replica->session->out;
    out->is_muted = false;
    reply_share(out, blob);
    out->is_muted = true;
}

void delivery_wake(struct delivery *delivery)
{
    struct session *session = delivery->replica->session;
    session->ops->wake(session);
}

/* ---- The end of a delivery ---- */

/* The replica is nobody's business here any more. */
static void delivery_free(struct delivery *delivery)
{
    file_form_end_reading(delivery);
    list_remove(&delivery->replica->sync_link);
    delivery->replica->sync_state = NULL;
    mem_free_sized(delivery, sizeof(*delivery));
}

/* Closes the connection of one whose delivery cannot go on. */
static void delivery_drop(struct delivery *delivery, const char *why, bool is_excused)
{
    struct replica *replica = delivery->replica;
    delivery->is_excused = is_excused;
    file_form_end_reading(delivery);
    delivery->is_handed = true; /* Nothing more is handed to it. */
    replica_drop(replica, why);
}

/* The replica has the snapshot. */
static void delivery_finish(struct sync *sync, struct delivery *delivery)
{
    struct replica *replica = delivery->replica;
    file_form_end_reading(delivery);
    list_remove(&replica->sync_link);
    list_push_back(&sync->served, &replica->sync_link);
    replica_online(replica);
}

/* ---- The end of a round ---- */

static void end_pass(struct sync *sync)
{
    if (sync->pass != NULL) {
        pass_free(sync->pass);
        sync->pass = NULL;
        saver_end_lease(sync->repl->options.saver);
    }
}

/* Gives up the walk and what it has made. */
static void abandon_round(struct sync *sync)
{
    end_pass(sync);
    while (!list_is_empty(&sync->blocks)) {
        struct mill_block *block = LIST_OWNER(sync->blocks.next, struct mill_block, link);
        list_remove(&block->link);
        mill_block_free(block);
    }
    sync->first = sync->end;
    sync->begun_us = 0;
    file_form_drop(sync);
}

static void note_round(struct sync *sync)
{
    log_write(LOG_NOTICE,
              "Background RDB delivery terminated with success: %" PRIu64 " keys, %" PRIu64
              " bytes, %.3f seconds",
              saver_stats(sync->repl->options.saver)->pass.walk.keys_told, sync->bytes,
              (double)(sync_now_us(sync) - sync->begun_us) / SYNC_US_PER_S);
    sync->begun_us = 0;
}

/* Whether somebody still gets something that the round makes. */
static bool is_round_wanted(const struct sync *sync)
{
    for (struct list *node = sync->sending.next; node != &sync->sending; node = node->next) {
        const struct delivery *delivery = sync_delivery_at(node);
        bool is_waiting_for_file = delivery->file != NULL && delivery->file == sync->file;
        if (!delivery->is_handed && (delivery->replica->is_eof_form || is_waiting_for_file)) {
            return true;
        }
    }
    return false;
}

static void drop_sending(struct sync *sync, const char *why)
{
    struct list *next;
    for (struct list *node = sync->sending.next; node != &sync->sending; node = next) {
        struct delivery *delivery = sync_delivery_at(node);
        next = node->next;
        if (!delivery->replica->is_cut_off) {
            delivery_drop(delivery, why, true);
        }
    }
}

void sync_abort(struct sync *sync, const char *why)
{
    for (struct list *node = sync->served.next; node != &sync->served; node = node->next) {
        sync_delivery_at(node)->is_excused = true;
    }
    drop_sending(sync, why);
    abandon_round(sync);
}

/* A save that cannot wait. */
static void on_yield(void *context)
{
    sync_abort(context, "Disconnecting replica: a save that cannot wait begins");
}

/* ---- Beginning a round ---- */

/* What stands before the databases. */
static unsigned write_more(void *context, struct codec_out *out)
{
    const struct sync *sync = context;
    const struct repl_host *host = &sync->repl->options.host;
    if (out != NULL) {
        repl_write_facts(sync->repl, out);
    }
    bool has_functions = (sync->excluded & REPLICA_NO_FUNCTIONS) == 0 && host->write_more != NULL;
    return has_functions ? host->write_more(host->context, out) : 0;
}

static bool may_begin(const struct sync *sync)
{
    struct repl *repl = sync->repl;
    return is_round_over(sync) && !saver_is_busy(repl->options.saver) &&
           exec_is_whole(repl->exec) && !repl->feed.is_in_unit;
}

/* Begins a round when it is due. */
static void begin(struct sync *sync)
{
    struct delivery *chosen;
    int64_t now = sync_now_us(sync);
    if (admission_due_us(sync, now, &chosen) > now) {
        return;
    }
    exec_settle(sync->repl->exec);
    sync->retry_us = now + RETRY_US;
    if (!may_begin(sync)) {
        return;
    }
    file_form_drop(sync);
    sync->excluded = chosen->replica->excluded;
    sync->pass = saver_lend_pass(
        sync->repl->options.saver,
        &(struct saver_lease){.on_yield = on_yield,
                              .write_more = write_more,
                              .context = sync,
                              .has_no_data = (sync->excluded & REPLICA_NO_DATA) != 0});
    if (sync->pass == NULL) {
        sync->retry_us = now + RETRY_THREAD_US;
        return;
    }
    sync->has_last = sync->file_is_ended = false;
    sync->round_first = sync->end;
    sync->offset = backlog_end(&sync->repl->backlog);
    feed_forget_db(sync->repl); /* A loaded snapshot leaves no database selected. */
    sync->begun_us = now;
    sync->bytes = 0;
    eof_form_draw_mark(sync);
    admission_take_all(sync, now);
}

/* ---- Blocks ---- */

struct mill_block *sync_block_at(const struct sync *sync, uint64_t number)
{
    ASSERT(number >= sync->first && number < sync->end);
    struct list *node = sync->blocks.next;
    for (uint64_t i = sync->first; i < number; i++) {
        node = node->next;
    }
    return LIST_OWNER(node, struct mill_block, link);
}

static void take_blocks(struct sync *sync)
{
    while (sync->pass != NULL && sync->end - sync->first < SYNC_BLOCKS_MAX) {
        struct mill_block *block = mill_take(pass_mill(sync->pass));
        if (block == NULL) {
            return;
        }
        list_push_back(&sync->blocks, &block->link);
        sync->end++;
        sync->bytes += block->blob->len;
        sync->has_last = block->is_last;
        if (block->is_last) {
            end_pass(sync);
        }
    }
}

/* The number before which nobody wants a block. */
static uint64_t wanted_from(const struct sync *sync)
{
    uint64_t from = sync->file == NULL ? sync->end : file_form_next(sync);
    for (struct list *node = sync->sending.next; node != &sync->sending; node = node->next) {
        const struct delivery *delivery = sync_delivery_at(node);
        bool is_taking = delivery->replica->is_eof_form && !delivery->is_handed;
        from = is_taking && delivery->next < from ? delivery->next : from;
    }
    return from;
}

/* Gives blocks back that everybody has sent. */
static void release_blocks(struct sync *sync)
{
    uint64_t until = wanted_from(sync);
    while (sync->first < until) {
        struct mill_block *block = LIST_OWNER(sync->blocks.next, struct mill_block, link);
        if (sync->pass != NULL && block->blob->refs > 1) {
            return;
        }
        list_remove(&block->link);
        sync->first++;
        if (sync->pass != NULL) {
            mill_give_back(pass_mill(sync->pass), block);
        } else {
            mill_block_free(block);
        }
    }
    if (is_round_over(sync) && sync->begun_us != 0) {
        note_round(sync);
    }
}

static void hand_on(struct sync *sync)
{
    struct list *next;
    for (struct list *node = sync->sending.next; node != &sync->sending; node = next) {
        struct delivery *delivery = sync_delivery_at(node);
        next = node->next;
        if (delivery->replica->is_cut_off) {
            continue;
        }
        if (file_form_has_failed(delivery)) {
            delivery_drop(delivery,
                          "Disconnecting replica: the temporary file with its snapshot has failed",
                          true);
        } else if (!delivery->is_handed && delivery->replica->is_eof_form) {
            eof_form_hand(sync, delivery);
        } else if (!delivery->is_handed) {
            file_form_hand(delivery);
        } else if (reply_is_empty(delivery->replica->session->out)) {
            delivery_finish(sync, delivery);
        }
    }
}

/* ---- Replicas that have it, and replicas that have gone ---- */

void sync_remove(struct sync *sync, struct replica *replica)
{
    struct delivery *delivery = replica->sync_state;
    if (delivery == NULL) {
        return;
    }
    admission_note_end(sync, delivery);
    delivery_free(delivery);
    if (!is_round_over(sync) && !is_round_wanted(sync)) {
        log_write(LOG_NOTICE, "Nobody is left who wants the snapshot: it is given up");
        abandon_round(sync);
    }
}

void sync_acked(struct sync *sync, struct replica *replica)
{
    struct delivery *delivery = replica->sync_state;
    if (delivery != NULL && replica->state == REPLICA_SENDING && delivery->is_handed &&
        !replica->is_cut_off) {
        delivery_finish(sync, delivery); /* We have not heard of the end of our sending yet. */
    }
    if (delivery == NULL || replica->state != REPLICA_ONLINE) {
        return;
    }
    admission_forgive(sync, replica);
    delivery_free(replica->sync_state);
}

/* ---- Now and then ---- */

static void sign_of_life(struct delivery *delivery)
{
    if (reply_is_empty(delivery->replica->session->out)) {
        delivery_put_bytes(delivery, slice_from_text("\n"));
        delivery_wake(delivery);
    }
}

/* Drops one that takes nothing of what waits for it. */
static void check_progress(struct sync *sync, struct delivery *delivery, int64_t now)
{
    const struct session *session = delivery->replica->session;
    bool is_waiting = delivery->file != NULL && delivery->reader == NULL;
    if (session->bytes_out != delivery->seen_out || reply_is_empty(session->out)) {
        delivery->seen_out = session->bytes_out;
        delivery->moved_us = now;
    } else if (now - delivery->moved_us > sync->repl->config.timeout_s * SYNC_US_PER_S) {
        delivery_drop(delivery, "Disconnecting timedout replica (full sync)", false);
        return;
    }
    if (is_waiting) {
        sign_of_life(delivery);
    }
}

static void step_second(struct sync *sync, int64_t now)
{
    struct list *next;
    sync->next_second_us = now + SYNC_NEWLINE_US;
    for (struct list *node = sync->waiting.next; node != &sync->waiting; node = node->next) {
        sign_of_life(sync_delivery_at(node));
    }
    for (struct list *node = sync->sending.next; node != &sync->sending; node = next) {
        next = node->next;
        if (!sync_replica_at(node)->is_cut_off) {
            check_progress(sync, sync_delivery_at(node), now);
        }
    }
}

static bool has_somebody(const struct sync *sync)
{
    return !list_is_empty(&sync->waiting) || !list_is_empty(&sync->sending);
}

void sync_step(struct sync *sync)
{
    int64_t now = sync_now_us(sync);
    if (has_somebody(sync) && sync->next_second_us <= now) {
        step_second(sync, now);
    }
    if (!list_is_empty(&sync->waiting)) {
        begin(sync);
    }
    if (sync->pass != NULL && pass_due_us(sync->pass) <= now) {
        pass_step(sync->pass, sync->end - sync->first < SYNC_BLOCKS_MAX);
    }
    if (sync->pass != NULL && pass_has_failed(sync->pass)) {
        sync->retry_us = now + RETRY_THREAD_US;
        sync_abort(sync, "Disconnecting replica: memory does not suffice for its snapshot");
    }
}

void sync_pump(struct sync *sync)
{
    if (list_is_empty(&sync->sending)) {
        return;
    }
    take_blocks(sync);
    file_form_write(sync);
    hand_on(sync);
    file_form_look_after(sync);
    if (!is_round_over(sync) && !is_round_wanted(sync)) {
        abandon_round(sync);
    }
    release_blocks(sync);
}

int64_t sync_due_us(const struct sync *sync)
{
    struct delivery *chosen;
    int64_t due_us = sync->pass != NULL ? pass_due_us(sync->pass) : INT64_MAX;
    if (has_somebody(sync) && sync->next_second_us < due_us) {
        due_us = sync->next_second_us;
    }
    if (!list_is_empty(&sync->waiting) && is_round_over(sync)) {
        int64_t begin_us = admission_due_us(sync, sync_now_us(sync), &chosen);
        due_us = begin_us < due_us ? begin_us : due_us;
    }
    return due_us;
}

size_t sync_memory(const struct sync *sync)
{
    if (sync->pass == NULL) {
        return (size_t)(sync->end - sync->first) * MILL_BLOCK_LEN;
    }
    return pass_held(sync->pass) + (size_t)SYNC_BLOCKS_MAX * MILL_BLOCK_LEN;
}

/* ---- Life ---- */

struct sync *sync_new(struct repl *repl)
{
    struct sync *sync = mem_zalloc(sizeof(*sync));
    sync->repl = repl;
    list_init(&sync->waiting);
    list_init(&sync->sending);
    list_init(&sync->served);
    list_init(&sync->blocks);
    list_init(&sync->files);
    return sync;
}

void sync_free(struct sync *sync)
{
    ASSERT(!has_somebody(sync) && list_is_empty(&sync->served));
    abandon_round(sync);
    while (!list_is_empty(&sync->files)) {
        ring_turn(sync->repl->options.ring, INT64_MAX);
    }
    mem_free_sized(sync, sizeof(*sync));
}
