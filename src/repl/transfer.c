/* A snapshot comes from the primary.
 *
 *     +FULLRESYNC --> HEAD --$<len>, $EOF:<mark>--> BYTES --> SYNCING --> LOADING --> CONNECTED
 *                       ^ '\n' each second            |                      |
 *                       '-- while it is prepared      '--> DIRECT -----------'
 *
 * By default it goes to a temporary file, and only when all of it is there and on the disk are the
 * keys that we have dropped and the file loaded: until then we serve, and go on to do so when the
 * transfer fails. What was loaded then becomes the server's snapshot, as in Redis, so that
 * a restart finds data that the stream can go on from.
 *
 * Two blocks take turns: one is filled from the socket while the other is written.
 *
 *     block 0   | ################........ |   filled, straight from the socket
 *     block 1   | ######################## |   on its way to the file
 *
 * In the $EOF form the length is not told; 40 random bytes follow the snapshot. They may be cut
 * anywhere, so the last 39 bytes of a full block are not written but moved to the front of the next
 * one: then the mark lies in one block whole. What follows the mark is the stream, and goes to the
 * wire's own buffer.
 *
 * Costs: two blocks of 1 MiB; each byte is searched once (memmem) and copied once, by the kernel.
 *
 * Invariants:
 *   1. Bytes go from the wire's buffer as long as it has some; only then from the socket.
 *   2. At most one operation of the file is in flight, on a block that is not the one being filled.
 *   3. A spool lives until neither the transfer, nor its file's operation, nor the wire's receive
 *      into one of its blocks needs it. Its file is removed unless it has become the snapshot.
 *
 * Rejected: waiting for the primary's first stream byte to find the mark at the very end of what
 * was received, as Redis does: a primary that sends more at once would be waited for for ever. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "exec/aside.h"
#include "persist/rdb_file.h"
#include "repl/link.h"

enum {
    FILE_MODE = 0644,
    SPOOL_NUMBER_FIRST = 1000000, /* sync.c counts from 1 on. */
    SECOND_US = 1000 * 1000,
    END_TURN_US = 10000,
    FREEING_US_MAX = 10 * SECOND_US, /* Longest wait for the old keys' memory. */
};

enum spool_doing {
    SPOOL_RESTS,
    SPOOL_OPENS,
    SPOOL_WRITES,
    SPOOL_SYNCS,
    SPOOL_RENAMES,
    SPOOL_REMOVES
};

struct spool {
    struct link *link;
    struct ring_op op;
    enum spool_doing doing;
    unsigned refs;
    bool is_dropped; /* By the transfer. */
    bool has_file;   /* To be removed. */
    bool has_all;    /* The snapshot's last byte is in a block. */
    int fd;
    int64_t written;
    struct spool_block blocks[2];
    unsigned filling;
    char path[LINK_PATH_MAX], temp_path[LINK_PATH_MAX];
};

static void spool_go(struct spool *spool);
static void spool_on_receive(struct ring_op *op, int result);

/* ---- The life of a spool ---- */

static void spool_unref(struct spool *spool)
{
    struct link *link = spool->link;
    if (--spool->refs > 0) {
        return;
    }
    if (spool->fd >= 0) {
        ring_close_fd(link->repl->options.ring, spool->fd);
        spool->fd = -1;
    }
    if (spool->has_file) {
        spool->has_file = false;
        spool->refs = 1;
        spool->doing = SPOOL_REMOVES;
        ring_unlink(link->repl->options.ring, &spool->op, spool->temp_path);
        return;
    }
    mem_free(spool->blocks[0].bytes);
    mem_free(spool->blocks[1].bytes);
    mem_free(spool);
    link->spool_count--;
}

/* The blocks are full of a snapshot that nobody wants any more, or that is loaded. */
static void spool_drop(struct link *link)
{
    struct spool *spool = link->transfer.spool;
    if (spool != NULL) {
        link->transfer.spool = NULL;
        spool->is_dropped = true;
        spool_unref(spool);
    }
}

/* ---- Failure ---- */

static void fail(struct link *link, const char *what, int error)
{
    log_write(LOG_WARNING, "%s: %s", what, strerror(-error));
    link_drop_patiently(link);
}

/* ---- The file ---- */

static struct spool_block *block_to_write(struct spool *spool)
{
    for (unsigned i = 0; i < 2; i++) {
        if (spool->blocks[i].to_file != 0) {
            return &spool->blocks[i];
        }
    }
    return NULL;
}

static void on_file_error(struct link *link, enum spool_doing doing, int error)
{
    static const char *const texts[] = {
        [SPOOL_OPENS] = "Opening the temp file needed for MASTER <-> REPLICA synchronization",
        [SPOOL_WRITES] = "Write error or short write writing to the DB dump file needed for "
                         "MASTER <-> REPLICA synchronization",
        [SPOOL_SYNCS] = "Failed trying to sync the temp DB to disk in MASTER <-> REPLICA "
                        "synchronization",
    };
    fail(link, texts[doing], error);
}

static void spool_on_file(struct ring_op *op, int result)
{
    struct spool *spool = LIST_OWNER(op, struct spool, op);
    struct link *link = spool->link;
    enum spool_doing doing = spool->doing;
    spool->doing = SPOOL_RESTS;
    if (doing == SPOOL_OPENS && result >= 0) {
        spool->fd = result;
        spool->has_file = true;
    }
    if (doing == SPOOL_RENAMES && result < 0) {
        log_write(LOG_WARNING,
                  "Failed trying to rename the temp DB into %s in MASTER <-> REPLICA "
                  "synchronization: %s",
                  spool->path, strerror(-result));
    } else if (doing == SPOOL_RENAMES) {
        spool->has_file = false;
    }
    if (spool->is_dropped || doing >= SPOOL_RENAMES) {
        spool_unref(spool);
        return;
    }
    spool->refs--; /* The transfer's is left. */
    if (result < 0) {
        on_file_error(link, doing, result);
        return;
    }
    if (doing == SPOOL_WRITES) {
        struct spool_block *block = block_to_write(spool);
        spool->written += (int64_t)block->to_file;
        block->to_file = block->len = 0;
    } else if (doing == SPOOL_SYNCS) {
        link->transfer.step = TRANSFER_LOADING; /* As soon as no command is executed. */
    }
    spool_go(spool);
}

static void spool_do(struct spool *spool, enum spool_doing doing)
{
    struct ring *ring = spool->link->repl->options.ring;
    struct spool_block *block = block_to_write(spool);
    spool->doing = doing;
    spool->refs++;
    switch (doing) {
    case SPOOL_OPENS:
        ring_open_file(ring, &spool->op, spool->temp_path, O_WRONLY | RDB_TEMP_FLAGS, FILE_MODE);
        break;
    case SPOOL_WRITES:
        ring_write(ring, &spool->op, spool->fd, block->bytes, block->to_file, spool->written);
        break;
    case SPOOL_SYNCS:
        ring_fsync(ring, &spool->op, spool->fd, true);
        break;
    default:
        ring_rename(ring, &spool->op, spool->temp_path, spool->path);
        break;
    }
}

/* ---- Blocks ---- */

/* The block that is filled goes to the file, if the other one is free. */
static bool spool_turn_over(struct spool *spool)
{
    struct spool_block *full = &spool->blocks[spool->filling];
    struct spool_block *next = &spool->blocks[spool->filling ^ 1];
    bool may_be_cut = spool->link->transfer.is_eof_form && !spool->has_all;
    size_t kept = !may_be_cut ? 0 : full->len < EOF_MARK_LEN - 1 ? full->len : EOF_MARK_LEN - 1;
    if (next->to_file != 0) {
        return false;
    }
    memcpy(next->bytes, full->bytes + full->len - kept, kept);
    next->len = kept;
    full->to_file = full->len - kept;
    spool->filling ^= 1;
    return true;
}

/* Bytes behind the mark: the stream has begun. False: no memory. */
static bool give_back(struct wire *wire, const char *bytes, size_t len, bool is_from_wire)
{
    if (is_from_wire) {
        wire->at -= len;
        return true;
    }
    wire->at = wire->len = 0;
    if (!wire_reserve(wire, len)) {
        return false;
    }
    memcpy(wire->in, bytes, len);
    wire->len = len;
    return true;
}

/* `len` more bytes stand at the end of the block that is filled. False: the link was dropped. */
static bool spool_took(struct spool *spool, size_t len, bool is_from_wire)
{
    struct link *link = spool->link;
    struct transfer *transfer = &link->transfer;
    struct spool_block *block = &spool->blocks[spool->filling];
    size_t from = block->len > EOF_MARK_LEN - 1 ? block->len - (EOF_MARK_LEN - 1) : 0;
    block->len += len;
    transfer->got += (int64_t)len;
    if (!transfer->is_eof_form) {
        spool->has_all = transfer->got == transfer->size;
        return true;
    }
    char *mark = memmem(block->bytes + from, block->len - from, transfer->mark, EOF_MARK_LEN);
    if (mark == NULL) {
        return true;
    }
    const char *rest = mark + EOF_MARK_LEN;
    size_t rest_len = (size_t)(block->bytes + block->len - rest);
    spool->has_all = true;
    block->len = (size_t)(mark - block->bytes);
    transfer->got -= (int64_t)(rest_len + EOF_MARK_LEN);
    transfer->size = transfer->got;
    if (!give_back(link->wire, rest, rest_len, is_from_wire)) {
        fail(link, "No memory for the stream", -ENOMEM);
        return false;
    }
    return true;
}

/* Room in the block that is filled, of which the snapshot may use as much. */
static size_t spool_room(struct spool *spool)
{
    const struct transfer *transfer = &spool->link->transfer;
    size_t room = SPOOL_BLOCK_LEN - spool->blocks[spool->filling].len;
    if (!transfer->is_eof_form && transfer->size - transfer->got < (int64_t)room) {
        room = (size_t)(transfer->size - transfer->got);
    }
    return room;
}

/* Fills the block from the wire's buffer, or begins to from the socket. False: dropped. */
static bool spool_fill(struct spool *spool)
{
    struct wire *wire = spool->link->wire;
    while (!spool->has_all) {
        struct spool_block *block = &spool->blocks[spool->filling];
        if (block->len == SPOOL_BLOCK_LEN && !spool_turn_over(spool)) {
            return true; /* The disk is slower than the network. */
        }
        block = &spool->blocks[spool->filling];
        size_t room = spool_room(spool);
        size_t held = wire->len - wire->at;
        if (held == 0) {
            if (!wire->receive.in_flight) {
                spool->refs++;
                wire->receive.done = spool_on_receive;
                wire->lent = spool;
                ring_receive_into(spool->link->repl->options.ring, &wire->receive, wire->fd,
                                  block->bytes + block->len, room);
            }
            return true;
        }
        size_t len = held < room ? held : room;
        memcpy(block->bytes + block->len, wire->in + wire->at, len);
        wire->at += len;
        if (!spool_took(spool, len, true)) {
            return false;
        }
    }
    return true;
}

/* Whatever can be done now is begun. */
static void spool_go(struct spool *spool)
{
    struct link *link = spool->link;
    if (link->transfer.step != TRANSFER_BYTES || !spool_fill(spool)) {
        return;
    }
    if (spool->has_all && spool->blocks[spool->filling].len != 0 &&
        spool->blocks[spool->filling].to_file == 0) {
        (void)spool_turn_over(spool);
    }
    if (spool->doing != SPOOL_RESTS) {
        return;
    }
    if (spool->fd < 0) {
        spool_do(spool, SPOOL_OPENS);
    } else if (block_to_write(spool) != NULL) {
        spool_do(spool, SPOOL_WRITES);
    } else if (spool->has_all) {
        link->transfer.step = TRANSFER_SYNCING;
        spool_do(spool, SPOOL_SYNCS);
    }
}

static void spool_on_receive(struct ring_op *op, int result)
{
    struct wire *wire = LIST_OWNER(op, struct wire, receive);
    struct spool *spool = wire->lent;
    struct link *link = spool->link;
    wire->lent = NULL;
    if (wire->is_closed || spool->is_dropped) {
        spool_unref(spool);
        wire_release(wire);
        return;
    }
    spool->refs--; /* The transfer's is left. */
    link->last_io_us = link->repl->now->mono_us;
    if (result <= 0) {
        wire->has_ended = true;
        wire->end_error = result;
        transfer_on_wire_end(link);
        return;
    }
    link->repl->stats.bytes_in += (uint64_t)result;
    if (spool_took(spool, (size_t)result, false)) {
        spool_go(spool);
    }
}

static bool spool_begin(struct link *link)
{
    const struct repl_config *config = &link->repl->config;
    struct spool *spool = mem_zalloc(sizeof(*spool));
    link->spool_count++;
    link->transfer.spool = spool;
    spool->link = link;
    spool->refs = 1;
    spool->fd = -1;
    spool->op.done = spool_on_file;
    snprintf(spool->path, sizeof(spool->path), "%s/%s", config->dir, config->file_name);
    snprintf(spool->temp_path, sizeof(spool->temp_path), "%s/temp-%ld-%u.rdb", config->dir,
             (long)getpid(), SPOOL_NUMBER_FIRST + link->spool_number++);
    spool->blocks[0].bytes = mem_try_alloc(SPOOL_BLOCK_LEN);
    spool->blocks[1].bytes = mem_try_alloc(SPOOL_BLOCK_LEN);
    if (spool->blocks[0].bytes == NULL || spool->blocks[1].bytes == NULL) {
        fail(link, "No memory to receive a snapshot", -ENOMEM);
        return false;
    }
    link->transfer.step = TRANSFER_BYTES;
    spool_go(spool);
    return true;
}

/* ---- The head ---- */

void transfer_begin(struct link *link, const char *id, int64_t offset)
{
    struct transfer *transfer = &link->transfer;
    *transfer = (struct transfer){.step = TRANSFER_HEAD, .size = -1, .offset = offset};
    memcpy(transfer->id, id, REPL_ID_LEN + 1);
    link->state = LINK_TRANSFER;
    link->next_newline_us = 0;
    transfer_on_bytes(link);
}

/* "$<len>" or "$EOF:<mark>". */
static bool read_head(struct transfer *transfer, const char *line)
{
    if (strncmp(line, "$EOF:", 5) == 0 && strlen(line) >= 5 + EOF_MARK_LEN) {
        transfer->is_eof_form = true;
        memcpy(transfer->mark, line + 5, EOF_MARK_LEN);
        return true;
    }
    return line[0] == '$' && num_parse_i64(slice_from_text(line + 1), &transfer->size) &&
           transfer->size >= 0;
}

/* Whether to load straight from the wire, as repl-diskless-load says. */
static bool loads_directly(const struct link *link)
{
    struct keyspace *keyspace = exec_keyspace(link->repl->exec);
    size_t keys = 0;
    for (unsigned i = 0; i < keyspace_db_count(keyspace); i++) {
        keys += db_count(keyspace_db(keyspace, i));
    }
    enum repl_load load = link->repl->config.load;
    return load == REPL_LOAD_FLUSH || (load == REPL_LOAD_EMPTY && keys == 0);
}

static void on_head(struct link *link, const char *line)
{
    struct transfer *transfer = &link->transfer;
    if (line[0] == '-') {
        log_write(LOG_WARNING, "MASTER aborted replication with an error: %s", line + 1);
        link_drop_patiently(link);
        return;
    }
    if (!read_head(transfer, line)) {
        log_write(LOG_WARNING,
                  "Bad protocol from MASTER, the first byte is not '$' (we received '%.100s'), are "
                  "you sure the host and port are right?",
                  line);
        link_drop_patiently(link);
        return;
    }
    bool is_direct = loads_directly(link);
    const char *where = is_direct ? "parser" : "disk";
    if (transfer->is_eof_form) {
        log_write(LOG_NOTICE,
                  "MASTER <-> REPLICA sync: receiving streamed RDB from master with EOF to %s",
                  where);
    } else {
        log_write(LOG_NOTICE, "MASTER <-> REPLICA sync: receiving %lld bytes from master to %s",
                  (long long)transfer->size, where);
    }
    transfer->started_us = link->repl->now->mono_us;
    if (is_direct) {
        transfer->step = TRANSFER_DIRECT;
    } else {
        (void)spool_begin(link);
    }
}

void transfer_on_bytes(struct link *link)
{
    struct wire *wire = link->wire;
    const char *line;
    if (link->transfer.step == TRANSFER_DIRECT) {
        direct_on_bytes(link);
        return;
    }
    while (link->wire == wire && link->transfer.step == TRANSFER_HEAD &&
           (line = wire_next_line(wire)) != NULL) {
        if (line[0] != '\0') {
            on_head(link, line);
        }
    }
    if (link->wire != wire || link->transfer.step != TRANSFER_HEAD) {
        return;
    }
    if (wire->len - wire->at > HANDSHAKE_LINE_MAX) {
        on_head(link, "(a line without an end)");
        return;
    }
    wire_forget_done(wire);
    (void)wire_receive(wire);
}

void transfer_on_wire_end(struct link *link)
{
    const struct wire *wire = link->wire;
    if (link->transfer.step > TRANSFER_DIRECT) {
        return; /* All is here; the link is made anew when it is loaded. */
    }
    if (link->transfer.step == TRANSFER_DIRECT) {
        direct_on_bytes(link);
        return;
    }
    log_write(LOG_WARNING, "I/O error trying to sync with MASTER: %s",
              wire->end_error == 0 ? "connection lost" : strerror(-wire->end_error));
    link_drop_patiently(link);
}

/* ---- Turns ---- */

/* The old keys are being freed: so long the new ones wait, so that memory need not hold both. */
static bool is_freed(const struct link *link)
{
    const struct repl *repl = link->repl;
    return work_is_idle(exec_work(repl->exec)) ||
           repl->now->mono_us - link->transfer.flushed_us > FREEING_US_MAX;
}

bool transfer_wants_turn(const struct link *link)
{
    const struct transfer *transfer = &link->transfer;
    bool is_waiting = transfer->step == TRANSFER_LOADING || transfer->step == TRANSFER_DIRECT;
    if (link->state != LINK_TRANSFER || !is_waiting || transfer->is_started) {
        return false;
    }
    return transfer->has_flushed ? is_freed(link) : !aside_is_parked(link->repl->exec);
}

void transfer_forget_data(struct link *link)
{
    struct repl *repl = link->repl;
    struct slice flush[] = {slice_from_text("FLUSHALL")};
    log_write(LOG_NOTICE, "MASTER <-> REPLICA sync: Flushing old data");
    if (repl->options.saver != NULL && saver_is_on(repl->options.saver)) {
        saver_abort(repl->options.saver); /* What it saves is no more. */
    }
    replicas_drop_all(repl, "a full synchronization with our primary begins");
    backlog_close(&repl->backlog);
    repl_draw_id(repl);
    repl_forget_id2(repl);
    link->has_history = false;
    repl->options.host.forget_functions(repl->options.host.context);
    exec_run_inner(repl->exec, &link->flusher, flush, 1, 0);
    reply_sent(&link->flusher_reply, reply_len(&link->flusher_reply));
    exec_settle(repl->exec);
}

static void flush(struct link *link)
{
    struct transfer *transfer = &link->transfer;
    const struct repl_host *host = &link->repl->options.host;
    transfer_forget_data(link);
    transfer->has_flushed = true;
    transfer->flushed_us = link->repl->now->mono_us;
    host->load_begins(host->context, &transfer->options);
}

/* Commands are executed again. */
static void end_loading(struct link *link)
{
    const struct repl_host *host = &link->repl->options.host;
    if (link->transfer.has_flushed) {
        link->transfer.has_flushed = false;
        host->load_ended(host->context);
    }
}

void transfer_turn(struct link *link)
{
    struct transfer *transfer = &link->transfer;
    const struct repl_host *host = &link->repl->options.host;
    if (!transfer->has_flushed) {
        flush(link);
        return;
    }
    transfer->is_started = true;
    log_write(LOG_NOTICE, "MASTER <-> REPLICA sync: Loading DB in memory");
    if (transfer->step == TRANSFER_DIRECT) {
        direct_begin(link);
        return;
    }
    const char *error = host->load(host->context, transfer->spool->temp_path);
    if (error != NULL) {
        repl_on_loaded(link->repl, error, -1);
    }
}

/* What was received becomes the server's snapshot, or goes. */
static void keep_or_remove(struct link *link)
{
    struct spool *spool = link->transfer.spool;
    if (spool == NULL) {
        return;
    }
    ring_close_fd(link->repl->options.ring, spool->fd);
    spool->fd = -1;
    if (!link->repl->config.removes_files) {
        spool_do(spool, SPOOL_RENAMES);
    }
    spool_drop(link);
}

void repl_on_loaded(struct repl *repl, const char *error, int64_t stream_db)
{
    struct link *link = link_of(repl);
    struct transfer *transfer = &link->transfer;
    if (link->state != LINK_TRANSFER || !transfer->is_started) {
        return; /* Given up meanwhile. */
    }
    end_loading(link);
    if (error != NULL) {
        log_write(LOG_WARNING,
                  "Failed trying to load the MASTER synchronization DB, and nothing of it is kept: "
                  "%s",
                  error);
        transfer_forget_data(link);
        link_drop_patiently(link);
        return;
    }
    keep_or_remove(link);
    memcpy(repl->id, transfer->id, sizeof(repl->id));
    repl_forget_id2(repl);
    backlog_open(&repl->backlog, transfer->offset);
    link->stream_db = stream_db < 0 ? 0 : (int)stream_db;
    transfer->step = TRANSFER_NONE;
    log_write(LOG_NOTICE, "MASTER <-> REPLICA sync: Finished with success");
    link_establish(link);
    link_acknowledge(link);
}

void transfer_abort(struct link *link)
{
    direct_stop(link);
    end_loading(link);
    spool_drop(link);
    link->transfer.step = TRANSFER_NONE;
}

void transfer_deinit(struct link *link)
{
    struct ring *ring = link->repl->options.ring;
    while (link->spool_count != 0) {
        ring_turn(ring, ring_mono_us(ring) + END_TURN_US);
    }
}

size_t transfer_memory(const struct link *link)
{
    return link->spool_count * 2 * (size_t)SPOOL_BLOCK_LEN;
}
