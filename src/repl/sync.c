/* Full synchronisations: the snapshot that a replica gets before the stream.
 *
 *     asks --> waiting --> a round begins: +FULLRESYNC id offset, cursor opened at that offset
 *                |                |
 *                | delay,         |        pass (persist/pass.c): walk, mill
 *                | back-off       |                  | blocks of 128 KiB, each a blob
 *                | "\n" per s     |        .---------+----------.
 *                                 |   $EOF: by reference     temporary file
 *                                 |   to each connection     (sync_file.c)
 *                                 |        |                    | whole: $<len>, read back
 *                                 '----> online <---------------'
 *
 * Sharing. All who wait when a round begins are served by its one walk, in both forms at once. A
 * round waits repl-diskless-sync-delay for more to come, or until there are
 * repl-diskless-sync-max-replicas; one who needs the file form makes it begin at once, as in Redis.
 * Such a one may even join a round that has begun: the file is complete, and the stream since its
 * beginning is still there as long as somebody else of the round needs it.
 *
 * Memory. There are at most BLOCKS_MAX blocks, whoever sends them; a connection has about AHEAD_MAX
 * of them queued. When the slowest has not taken a block the mill gets none back, and the walk
 * rests; what is held meanwhile is bounded as in a save (pass.c). Who takes nothing for
 * repl-timeout is dropped, alone. The stream since the beginning is in the backlog, which has its
 * own bound (primary.c).
 *
 * One walk at a time. A save under way is waited for; while a round walks, BGSAVE and SAVE answer
 * that a save is in progress, as in Redis. A save that cannot wait (SHUTDOWN, DEBUG RELOAD) ends
 * the round: its replicas are dropped, and come again. No round begins in the middle of a script,
 * or of a unit of effects.
 *
 * Storms. A replica that left without having acknowledged what it got waits longer each time
 * (backoff.h).
 *
 * Invariants:
 *   1. A replica is in `waiting` (WAIT_SYNC), in `sending` (SENDING), in `served` (ONLINE, nothing
 *      acknowledged yet), or sync_state is NULL.
 *   2. Blocks first .. end - 1 are in `blocks`; those before were handed to all who want them.
 *   3. While there is a pass the saver lends it, and no save begins. */
#include "repl/repl_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "persist/pass.h"
#include "persist/rdb_file.h"
#include "persist/rdb_format.h"
#include "persist/rdb_write.h"
#include "repl/backoff.h"
#include "repl/sync_file.h"

enum {
    MARK_LEN = 40,          /* Of the $EOF form. */
    AHEAD_MAX = 256 * 1024, /* Bytes unsent at which a connection gets no further block. */
    BLOCKS_MAX = MILL_BLOCKS_MAX,
    US_PER_S = 1000000,
    NEWLINE_US = US_PER_S, /* Between signs of life to those who wait. */
    RETRY_US = 10000, /* While a round cannot begin: a save is under way, a script is parked. */
    RETRY_THREAD_US = US_PER_S,
};

/* A replica that waits for a snapshot, gets it, or has got it. */
struct transfer {
    struct replica *replica;
    int64_t asked_us;       /* Waiting: since when, or when its back-off ends. */
    uint64_t next;          /* $EOF form: number of the block that it gets next. */
    struct sync_file *file; /* $<len> form: one reference. */
    struct sync_reader *reader;
    bool has_head;     /* What stands before the snapshot was written. */
    bool is_handed;    /* All was handed to its connection. */
    bool is_excused;   /* Its end is not its fault. */
    uint64_t seen_out; /* Bytes that had gone out when something last moved, ... */
    int64_t moved_us;  /* ... and when that was. */
};

struct sync {
    struct repl *repl;
    struct list waiting, sending, served; /* Of replicas, by sync_link. */
    struct backoff backoff;
    int64_t next_second_us; /* When newlines are due, and timeouts looked at. */
    int64_t retry_us;       /* No round begins before. */

    /* The round under way. */
    struct pass *pass;    /* NULL: all is walked and milled. */
    struct list blocks;   /* Of struct mill_block. */
    uint64_t first, end;  /* Their numbers. */
    uint64_t round_first; /* That of the round's first. */
    bool has_last;        /* The round's last one was taken. */
    bool file_is_ended;
    unsigned excluded; /* enum replica_excluded: what its replicas do not want. */
    char mark[MARK_LEN];
    struct sync_file *file; /* NULL: nobody wanted one, or it has failed. */
    int64_t offset;         /* Of the stream at its moment. */
    int64_t begun_us;       /* 0: its end was told. */
    uint64_t bytes;
    unsigned replica_count; /* That it began with. */

    struct list files; /* All that exist. */
    unsigned file_number;
};

static int64_t now_us(const struct sync *sync)
{
    return ring_mono_us(sync->repl->options.ring);
}

static struct replica *replica_at(struct list *node)
{
    return LIST_OWNER(node, struct replica, sync_link);
}

static struct transfer *transfer_of(struct list *node)
{
    return replica_at(node)->sync_state;
}

static bool wants_eof_form(const struct replica *replica)
{
    return replica->repl->config.is_diskless && (replica->capabilities & REPLICA_CAPA_EOF) != 0;
}

static bool is_round_over(const struct sync *sync)
{
    return sync->pass == NULL && list_is_empty(&sync->blocks);
}

/* ---- The end of a transfer ---- */

static void transfer_end_reading(struct transfer *transfer)
{
    if (transfer->reader != NULL) {
        sync_reader_free(transfer->reader);
        transfer->reader = NULL;
    }
    if (transfer->file != NULL) {
        sync_file_drop(transfer->file);
        transfer->file = NULL;
    }
}

/* The replica is nobody's business here any more. */
static void transfer_free(struct transfer *transfer)
{
    transfer_end_reading(transfer);
    list_remove(&transfer->replica->sync_link);
    transfer->replica->sync_state = NULL;
    mem_free_sized(transfer, sizeof(*transfer));
}

/* Closes the connection of one whose transfer cannot go on. */
static void transfer_drop(struct transfer *transfer, const char *why, bool is_excused)
{
    struct replica *replica = transfer->replica;
    transfer->is_excused = is_excused;
    transfer_end_reading(transfer);
    transfer->is_handed = true; /* Nothing more is handed to it. */
    replica_drop(replica, why);
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

static void drop_file(struct sync *sync)
{
    if (sync->file != NULL) {
        sync_file_drop(sync->file);
        sync->file = NULL;
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
    drop_file(sync);
}

static void note_round(struct sync *sync)
{
    log_write(LOG_NOTICE,
              "Background RDB transfer terminated with success: %" PRIu64 " keys, %" PRIu64
              " bytes, %.3f seconds",
              saver_stats(sync->repl->options.saver)->pass.walk.keys_told, sync->bytes,
              (double)(now_us(sync) - sync->begun_us) / US_PER_S);
    sync->begun_us = 0;
}

/* Whether somebody still gets something that the round makes. */
static bool is_round_wanted(const struct sync *sync)
{
    for (struct list *node = sync->sending.next; node != &sync->sending; node = node->next) {
        const struct transfer *transfer = transfer_of(node);
        bool is_waiting_for_file = transfer->file != NULL && transfer->file == sync->file;
        if (!transfer->is_handed && (transfer->replica->is_eof_form || is_waiting_for_file)) {
            return true;
        }
    }
    return false;
}

static void drop_sending(struct sync *sync, const char *why)
{
    struct list *next;
    for (struct list *node = sync->sending.next; node != &sync->sending; node = next) {
        struct transfer *transfer = transfer_of(node);
        next = node->next;
        if (!transfer->replica->is_cut_off) {
            transfer_drop(transfer, why, true);
        }
    }
}

void sync_abort(struct sync *sync, const char *why)
{
    for (struct list *node = sync->served.next; node != &sync->served; node = node->next) {
        transfer_of(node)->is_excused = true;
    }
    drop_sending(sync, why);
    abandon_round(sync);
}

/* A save that cannot wait. */
static void on_yield(void *context)
{
    sync_abort(context, "Disconnecting replica: a save that cannot wait begins");
}

/* ---- Asking ---- */

/* A replica whose identity is known: Redis's tools that only want a snapshot tell none. */
static bool has_identity(const struct replica *replica)
{
    return replica->announced_port != 0 && !replica->is_rdb_only;
}

static bool try_join_file(struct sync *sync, struct replica *replica)
{
    bool is_open = sync->file != NULL && sync_file_error(sync->file) == 0;
    if (!is_open || wants_eof_form(replica) || replica->excluded != sync->excluded) {
        return false;
    }
    struct transfer *transfer = replica->sync_state;
    if (!replica_snapshot_begins(replica, false, sync->offset)) {
        return false; /* The stream since then is not kept. */
    }
    transfer->file = sync_file_share(sync->file);
    transfer->moved_us = now_us(sync);
    list_remove(&replica->sync_link);
    list_push_back(&sync->sending, &replica->sync_link);
    return true;
}

void sync_add(struct sync *sync, struct replica *replica)
{
    char name[BACKOFF_NAME_MAX];
    int64_t now = now_us(sync);
    struct transfer *transfer = mem_zalloc(sizeof(*transfer));
    transfer->replica = replica;
    transfer->asked_us = now;
    if (has_identity(replica)) {
        transfer->asked_us = backoff_due_us(&sync->backoff, replica_name(replica, name), now);
    }
    replica->sync_state = transfer;
    list_push_back(&sync->waiting, &replica->sync_link);
    if (list_is_empty(&sync->sending) || sync->next_second_us < now) {
        sync->next_second_us = now + NEWLINE_US;
    }
    if (transfer->asked_us == now) {
        (void)try_join_file(sync, replica);
    }
}

static void note_failure(struct sync *sync, const struct replica *replica)
{
    char name[BACKOFF_NAME_MAX];
    replica_name(replica, name);
    int64_t wait_s = backoff_failed(&sync->backoff, name, now_us(sync));
    if (wait_s == 1) {
        log_write(LOG_WARNING,
                  "Replica %s has left without acknowledging the snapshot that it got. The next "
                  "one for it will wait 1 second, and twice as long each time",
                  name);
    }
}

void sync_remove(struct sync *sync, struct replica *replica)
{
    struct transfer *transfer = replica->sync_state;
    if (transfer == NULL) {
        return;
    }
    bool was_served = replica->state != REPLICA_WAIT_SYNC;
    if (was_served && !transfer->is_excused && has_identity(replica)) {
        note_failure(sync, replica);
    }
    transfer_free(transfer);
    if (!is_round_over(sync) && !is_round_wanted(sync)) {
        log_write(LOG_NOTICE, "Nobody is left who wants the snapshot: it is given up");
        abandon_round(sync);
    }
}

/* ---- Beginning a round ---- */

/* When the replica would have a round begin. */
static int64_t wish_us(const struct sync *sync, const struct transfer *transfer)
{
    const struct repl_config *config = &sync->repl->config;
    bool may_wait = wants_eof_form(transfer->replica);
    return transfer->asked_us + (may_wait ? config->diskless_delay_s * US_PER_S : 0);
}

/* When a round is to begin, and whose wish that is; INT64_MAX: nobody waits. */
static int64_t round_due_us(const struct sync *sync, int64_t now, struct transfer **chosen)
{
    int64_t due_us = INT64_MAX;
    int64_t count = 0;
    *chosen = NULL;
    for (struct list *node = sync->waiting.next; node != &sync->waiting; node = node->next) {
        struct transfer *transfer = transfer_of(node);
        int64_t wish = wish_us(sync, transfer);
        if (transfer->replica->is_cut_off) {
            continue;
        }
        if (wish < due_us) {
            due_us = wish;
            *chosen = transfer;
        }
        count += transfer->asked_us <= now;
    }
    int64_t most = sync->repl->config.diskless_replicas_max;
    bool is_full = most > 0 && count >= most;
    due_us = is_full && now < due_us ? now : due_us;
    return due_us < sync->retry_us && *chosen != NULL ? sync->retry_us : due_us;
}

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

static void draw_mark(struct sync *sync)
{
    static const char digits[] = "0123456789abcdef";
    struct rng *rng = exec_rng(sync->repl->exec);
    for (unsigned i = 0; i < MARK_LEN; i++) {
        sync->mark[i] = digits[rng_below(rng, 16)];
    }
}

static void open_file(struct sync *sync)
{
    char path[RDB_PATH_MAX];
    const char *dir = sync->repl->config.dir;
    sync->file_number++;
    snprintf(path, sizeof(path), "%s/temp-%ld-%u.rdb", dir, (long)getpid(), sync->file_number);
    sync->file = sync_file_new(sync->repl->options.ring, path, &sync->files);
}

/* Takes one of those who wait into the round. */
static void take_in(struct sync *sync, struct transfer *transfer)
{
    struct replica *replica = transfer->replica;
    bool is_eof_form = wants_eof_form(replica);
    list_remove(&replica->sync_link);
    list_push_back(&sync->sending, &replica->sync_link);
    transfer->next = sync->end;
    transfer->moved_us = now_us(sync);
    transfer->seen_out = replica->session->bytes_out;
    bool is_open = replica_snapshot_begins(replica, is_eof_form, sync->offset);
    ASSERT(is_open); /* The end of the stream is always kept. */
    if (!is_eof_form && sync->file == NULL) {
        open_file(sync);
    }
    if (!is_eof_form) {
        transfer->file = sync_file_share(sync->file);
    }
    sync->replica_count++;
}

/* Everybody who may and who wants the same. */
static void take_all_in(struct sync *sync, int64_t now)
{
    struct list *next;
    unsigned socket_count = 0;
    sync->replica_count = 0;
    for (struct list *node = sync->waiting.next; node != &sync->waiting; node = next) {
        struct transfer *transfer = transfer_of(node);
        next = node->next;
        bool is_here = transfer->asked_us <= now && !transfer->replica->is_cut_off;
        if (is_here && transfer->replica->excluded == sync->excluded) {
            take_in(sync, transfer);
            socket_count += transfer->replica->is_eof_form;
        }
    }
    log_write(LOG_NOTICE,
              "Starting BGSAVE for SYNC with target: %s (%u replicas, offset %" PRId64 ")",
              socket_count == 0                    ? "disk"
              : socket_count < sync->replica_count ? "replicas sockets and disk"
                                                   : "replicas sockets",
              sync->replica_count, sync->offset);
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
    struct transfer *chosen;
    int64_t now = now_us(sync);
    if (round_due_us(sync, now, &chosen) > now) {
        return;
    }
    exec_settle(sync->repl->exec);
    sync->retry_us = now + RETRY_US;
    if (!may_begin(sync)) {
        return;
    }
    drop_file(sync);
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
    draw_mark(sync);
    take_all_in(sync, now);
}

/* ---- Handing blocks on ---- */

static struct mill_block *block_at(const struct sync *sync, uint64_t number)
{
    ASSERT(number >= sync->first && number < sync->end);
    struct list *node = sync->blocks.next;
    for (uint64_t i = sync->first; i < number; i++) {
        node = node->next;
    }
    return LIST_OWNER(node, struct mill_block, link);
}

static void wake(struct transfer *transfer)
{
    struct session *session = transfer->replica->session;
    session->ops->wake(session);
}

static bool has_room(const struct transfer *transfer)
{
    return reply_len(transfer->replica->session->out) < AHEAD_MAX;
}

/* A replica's reply is muted: nothing that it says is answered in the middle of the stream. */
static void put_bytes(struct transfer *transfer, struct slice bytes)
{
    struct reply *out = transfer->replica->session->out;
    out->is_muted = false;
    reply_raw(out, bytes);
    out->is_muted = true;
}

static void put_blob(struct transfer *transfer, struct blob *blob)
{
    struct reply *out = transfer->replica->session->out;
    out->is_muted = false;
    reply_share(out, blob);
    out->is_muted = true;
}

static void hand_to_socket(struct sync *sync, struct transfer *transfer)
{
    if (!transfer->has_head) {
        transfer->has_head = true;
        put_bytes(transfer, slice_from_text("$EOF:"));
        put_bytes(transfer, slice_of(sync->mark, MARK_LEN));
        put_bytes(transfer, slice_from_text("\r\n"));
        wake(transfer);
    }
    if (transfer->next == sync->end && !sync->has_last) {
        return;
    }
    bool has_more = false;
    while (transfer->next < sync->end && has_room(transfer)) {
        put_blob(transfer, block_at(sync, transfer->next)->blob);
        transfer->next++;
        has_more = true;
    }
    if (transfer->next == sync->end && sync->has_last) {
        put_bytes(transfer, slice_of(sync->mark, MARK_LEN));
        transfer->is_handed = true;
        has_more = true;
    }
    if (has_more) {
        wake(transfer);
    }
}

static void hand_from_file(struct transfer *transfer)
{
    char head[NUM_I64_TEXT_MAX + 8];
    if (!sync_file_is_whole(transfer->file)) {
        return;
    }
    if (transfer->reader == NULL) {
        transfer->reader = sync_reader_new(transfer->file);
        int len = snprintf(head, sizeof(head), "$%" PRIu64 "\r\n", sync_file_len(transfer->file));
        put_bytes(transfer, slice_of(head, (size_t)len));
        wake(transfer);
    }
    struct blob *blob;
    while (has_room(transfer) && (blob = sync_reader_take(transfer->reader)) != NULL) {
        put_blob(transfer, blob);
        blob_drop(blob);
        wake(transfer);
    }
    transfer->is_handed = sync_reader_is_over(transfer->reader);
}

static bool file_has_failed(const struct transfer *transfer)
{
    return transfer->file != NULL &&
           (sync_file_error(transfer->file) != 0 ||
            (transfer->reader != NULL && sync_reader_error(transfer->reader) != 0));
}

/* The replica has the snapshot. */
static void finish_transfer(struct sync *sync, struct transfer *transfer)
{
    struct replica *replica = transfer->replica;
    transfer_end_reading(transfer);
    list_remove(&replica->sync_link);
    list_push_back(&sync->served, &replica->sync_link);
    replica_online(replica);
}

void sync_acked(struct sync *sync, struct replica *replica)
{
    char name[BACKOFF_NAME_MAX];
    struct transfer *transfer = replica->sync_state;
    if (transfer != NULL && replica->state == REPLICA_SENDING && transfer->is_handed &&
        !replica->is_cut_off) {
        finish_transfer(sync, transfer); /* We have not heard of the end of our sending yet. */
    }
    if (transfer == NULL || replica->state != REPLICA_ONLINE) {
        return;
    }
    backoff_forgive(&sync->backoff, replica_name(replica, name));
    transfer_free(replica->sync_state);
}

static void hand_on(struct sync *sync)
{
    struct list *next;
    for (struct list *node = sync->sending.next; node != &sync->sending; node = next) {
        struct transfer *transfer = transfer_of(node);
        next = node->next;
        if (transfer->replica->is_cut_off) {
            continue;
        }
        if (file_has_failed(transfer)) {
            transfer_drop(transfer,
                          "Disconnecting replica: the temporary file with its snapshot has failed",
                          true);
        } else if (!transfer->is_handed && transfer->replica->is_eof_form) {
            hand_to_socket(sync, transfer);
        } else if (!transfer->is_handed) {
            hand_from_file(transfer);
        } else if (reply_is_empty(transfer->replica->session->out)) {
            finish_transfer(sync, transfer);
        }
    }
}

/* ---- Blocks ---- */

static void take_blocks(struct sync *sync)
{
    while (sync->pass != NULL && sync->end - sync->first < BLOCKS_MAX) {
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

/* The number of the block that the file takes next. */
static uint64_t file_at(const struct sync *sync)
{
    return sync->round_first + sync_file_blocks(sync->file);
}

static void write_file(struct sync *sync)
{
    if (sync->file == NULL || sync->file_is_ended || !sync_file_is_ready(sync->file)) {
        return;
    }
    if (file_at(sync) < sync->end) {
        sync_file_write(sync->file, block_at(sync, file_at(sync))->blob);
    }
    if (file_at(sync) == sync->end && sync->has_last) {
        sync->file_is_ended = true;
        sync_file_end(sync->file);
    }
}

/* The number before which nobody wants a block. */
static uint64_t wanted_from(const struct sync *sync)
{
    uint64_t from = sync->file == NULL ? sync->end : file_at(sync);
    for (struct list *node = sync->sending.next; node != &sync->sending; node = node->next) {
        const struct transfer *transfer = transfer_of(node);
        bool is_taking = transfer->replica->is_eof_form && !transfer->is_handed;
        from = is_taking && transfer->next < from ? transfer->next : from;
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

/* ---- Now and then ---- */

static bool is_file_wanted(const struct sync *sync)
{
    for (struct list *node = sync->sending.next; node != &sync->sending; node = node->next) {
        if (transfer_of(node)->file == sync->file) {
            return true;
        }
    }
    return false;
}

static void look_after_file(struct sync *sync)
{
    if (sync->file == NULL) {
        return;
    }
    int error = sync_file_error(sync->file);
    if (error != 0) {
        log_write(LOG_WARNING, "Error writing the temporary file for replicas: %s",
                  strerror(-error));
    }
    if (error != 0 || !is_file_wanted(sync)) {
        drop_file(sync);
    }
}

static void sign_of_life(struct transfer *transfer)
{
    if (reply_is_empty(transfer->replica->session->out)) {
        put_bytes(transfer, slice_from_text("\n"));
        wake(transfer);
    }
}

/* Drops one that takes nothing of what waits for it. */
static void check_progress(struct sync *sync, struct transfer *transfer, int64_t now)
{
    const struct session *session = transfer->replica->session;
    bool is_waiting = transfer->file != NULL && transfer->reader == NULL;
    if (session->bytes_out != transfer->seen_out || reply_is_empty(session->out)) {
        transfer->seen_out = session->bytes_out;
        transfer->moved_us = now;
    } else if (now - transfer->moved_us > sync->repl->config.timeout_s * US_PER_S) {
        transfer_drop(transfer, "Disconnecting timedout replica (full sync)", false);
        return;
    }
    if (is_waiting) {
        sign_of_life(transfer);
    }
}

static void step_second(struct sync *sync, int64_t now)
{
    struct list *next;
    sync->next_second_us = now + NEWLINE_US;
    for (struct list *node = sync->waiting.next; node != &sync->waiting; node = node->next) {
        sign_of_life(transfer_of(node));
    }
    for (struct list *node = sync->sending.next; node != &sync->sending; node = next) {
        next = node->next;
        if (!replica_at(node)->is_cut_off) {
            check_progress(sync, transfer_of(node), now);
        }
    }
}

static bool has_somebody(const struct sync *sync)
{
    return !list_is_empty(&sync->waiting) || !list_is_empty(&sync->sending);
}

void sync_step(struct sync *sync)
{
    int64_t now = now_us(sync);
    if (has_somebody(sync) && sync->next_second_us <= now) {
        step_second(sync, now);
    }
    if (!list_is_empty(&sync->waiting)) {
        begin(sync);
    }
    if (sync->pass != NULL && pass_due_us(sync->pass) <= now) {
        pass_step(sync->pass, sync->end - sync->first < BLOCKS_MAX);
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
    write_file(sync);
    hand_on(sync);
    look_after_file(sync);
    if (!is_round_over(sync) && !is_round_wanted(sync)) {
        abandon_round(sync);
    }
    release_blocks(sync);
}

int64_t sync_due_us(const struct sync *sync)
{
    struct transfer *chosen;
    int64_t due_us = sync->pass != NULL ? pass_due_us(sync->pass) : INT64_MAX;
    if (has_somebody(sync) && sync->next_second_us < due_us) {
        due_us = sync->next_second_us;
    }
    if (!list_is_empty(&sync->waiting) && is_round_over(sync)) {
        int64_t begin_us = round_due_us(sync, now_us(sync), &chosen);
        due_us = begin_us < due_us ? begin_us : due_us;
    }
    return due_us;
}

size_t sync_memory(const struct sync *sync)
{
    if (sync->pass == NULL) {
        return (size_t)(sync->end - sync->first) * MILL_BLOCK_LEN;
    }
    return pass_held(sync->pass) + (size_t)BLOCKS_MAX * MILL_BLOCK_LEN;
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

/* Readers and files are gone already. */
static void forget_all(struct list *replicas)
{
    while (!list_is_empty(replicas)) {
        struct transfer *transfer = transfer_of(replicas->next);
        transfer->reader = NULL;
        transfer->file = NULL;
        transfer_free(transfer);
    }
}

void sync_leave(struct sync *sync)
{
    sync_files_leave(&sync->files);
    sync->file = NULL;
    abandon_round(sync);
    forget_all(&sync->waiting);
    forget_all(&sync->sending);
    forget_all(&sync->served);
}
