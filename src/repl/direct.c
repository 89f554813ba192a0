/* A snapshot goes from the wire straight into the loader, without a file (repl-diskless-load).
 *
 *     socket --> wire.in: | used | rest, what the loader has not used | free | --> loader --> keys
 *
 * The loader works in steps, as a job in the server's queue, while commands are refused with
 * -LOADING. When it can do nothing with what there is, the rest moves to the front of the buffer,
 * which grows where one string needs it, and the socket is asked for more. So memory is bounded by
 * the longest string, and a primary that is faster than the loader is held back by its socket.
 *
 * The old data is gone before the first byte is loaded. When the transfer fails the server is
 * empty: what was loaded so far is dropped, for half a data set is worse than none.
 *
 * The end is where the snapshot's checksum ends; then the mark must follow in the $EOF form, and in
 * the other as many bytes as were announced must have come. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "persist/load.h"
#include "repl/link.h"

struct direct {
    struct work_job job;
    struct link *link;
    struct loader loader;
    bool is_waiting; /* For bytes; the job is in no queue. */
    bool has_loaded; /* All but the mark. */
    char error[RDB_ERROR_MAX + 100];
};

static bool direct_step(struct work_job *job);

/* Gives the loader the bytes that it has not used, in their place of now. */
static void feed(struct direct *direct)
{
    const struct link *link = direct->link;
    const struct wire *wire = link->wire;
    const struct transfer *transfer = &link->transfer;
    size_t len = wire->len - wire->at;
    if (!transfer->is_eof_form && (int64_t)len > transfer->size - transfer->got) {
        len = (size_t)(transfer->size - transfer->got); /* The stream is behind it. */
    }
    loader_feed(&direct->loader, slice_of(wire->in + wire->at, len));
}

static void end(struct direct *direct, const char *error)
{
    struct link *link = direct->link;
    const struct repl_host *host = &link->repl->options.host;
    struct load_figures figures = direct_figures(link);
    int64_t stream_db = direct->loader.facts.repl_db;
    link->transfer.direct = NULL;
    loader_deinit(&direct->loader);
    if (error == NULL) {
        host->note_loaded(host->context, &figures);
    }
    repl_on_loaded(link->repl, error, stream_db);
    mem_free(direct);
}

/* More is needed; `missing` bytes at least, behind those that are there. False: none can come. */
static bool await_bytes(struct direct *direct, size_t missing)
{
    struct link *link = direct->link;
    struct wire *wire = link->wire;
    const struct transfer *transfer = &link->transfer;
    bool is_all =
        !transfer->is_eof_form && transfer->got + (int64_t)(wire->len - wire->at) >= transfer->size;
    if (wire->has_ended || is_all) {
        return false;
    }
    feed(direct); /* What was used is summed up while it is still there. */
    wire_forget_done(wire);
    feed(direct);
    wire->wanted = wire->len + missing;
    direct->is_waiting = true;
    return wire_receive(wire);
}

/* The loader has come to the end of the snapshot: what must follow? True: the loading is over. */
static bool finish(struct direct *direct)
{
    struct link *link = direct->link;
    struct wire *wire = link->wire;
    struct transfer *transfer = &link->transfer;
    size_t held = wire->len - wire->at;
    if (!transfer->is_eof_form) {
        int64_t rest = transfer->size - transfer->got;
        bool is_exact = rest == 0;
        wire->wanted = 0;
        end(direct, is_exact ? NULL : "bytes follow the end of the snapshot");
        return true;
    }
    if (held < EOF_MARK_LEN) {
        if (!await_bytes(direct, EOF_MARK_LEN - held) && link->transfer.direct == direct) {
            end(direct, "the connection was lost at the end");
        }
        return true;
    }
    bool is_mark = memcmp(wire->in + wire->at, transfer->mark, EOF_MARK_LEN) == 0;
    wire->at += EOF_MARK_LEN;
    wire->wanted = 0;
    end(direct, is_mark ? NULL : "the snapshot's end is not marked as announced");
    return true;
}

static void note_used(struct direct *direct, uint64_t offset_before)
{
    uint64_t used = rdb_reader_offset(&direct->loader.reader) - offset_before;
    direct->link->wire->at += (size_t)used;
    direct->link->transfer.got += (int64_t)used;
}

static const char *describe(struct direct *direct)
{
    snprintf(direct->error, sizeof(direct->error), "at byte %llu: %s",
             (unsigned long long)direct->loader.error_offset, direct->loader.error);
    return direct->error;
}

/* The error outlives `direct`, in a text of the caller's. */
static void end_with_error(struct direct *direct)
{
    char error[sizeof(direct->error)];
    snprintf(error, sizeof(error), "%s", describe(direct));
    end(direct, error);
}

static bool direct_step(struct work_job *job)
{
    struct direct *direct = LIST_OWNER(job, struct direct, job);
    struct link *link = direct->link;
    if (direct->has_loaded) {
        return finish(direct);
    }
    uint64_t offset = rdb_reader_offset(&direct->loader.reader);
    enum load_state state = loader_step(&direct->loader);
    note_used(direct, offset);
    switch (state) {
    case LOAD_GOES_ON:
        return false;
    case LOAD_DONE:
        direct->has_loaded = true;
        return finish(direct);
    case LOAD_NEEDS_BYTES:
        if (!await_bytes(direct, (size_t)rdb_reader_missing(&direct->loader.reader)) &&
            link->transfer.direct == direct) {
            (void)loader_end_early(&direct->loader);
            end_with_error(direct);
        }
        return true;
    default:
        end_with_error(direct);
        return true;
    }
}

void direct_begin(struct link *link)
{
    struct load_options options = link->transfer.options;
    struct direct *direct = mem_zalloc(sizeof(*direct));
    if (link->transfer.size > 0) {
        options.len = (uint64_t)link->transfer.size;
    }
    direct->link = link;
    link->transfer.direct = direct;
    loader_init(&direct->loader, &options);
    feed(direct);
    work_add(exec_work(link->repl->exec), &direct->job, direct_step);
}

void direct_on_bytes(struct link *link)
{
    struct direct *direct = link->transfer.direct;
    if (direct != NULL && direct->is_waiting) {
        direct->is_waiting = false;
        feed(direct);
        work_add(exec_work(link->repl->exec), &direct->job, direct_step);
    }
}

void direct_stop(struct link *link)
{
    struct direct *direct = link->transfer.direct;
    if (direct == NULL) {
        return;
    }
    work_cancel(exec_work(link->repl->exec), &direct->job);
    link->transfer.direct = NULL;
    loader_deinit(&direct->loader);
    mem_free(direct);
    if (!link->is_ending) {
        transfer_forget_data(link); /* Half a data set is worse than none. */
    }
}

struct load_figures direct_figures(const struct link *link)
{
    const struct direct *direct = link->transfer.direct;
    return (struct load_figures){
        .keys_loaded = direct->loader.keys_loaded,
        .keys_expired = direct->loader.keys_expired,
        .functions = direct->loader.functions,
        .bytes = rdb_reader_offset(&direct->loader.reader),
        .total_bytes = link->transfer.size > 0 ? (uint64_t)link->transfer.size : 0,
        .facts = direct->loader.facts,
        .started_us = link->transfer.started_us,
    };
}
