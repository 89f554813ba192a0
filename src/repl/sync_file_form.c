/* The form of a snapshot for replicas that must be told its length ahead: a temporary file
 * (sync_file.c), written as the round makes blocks, and read back by each of them once it is whole.
 *
 *     first of the round who wants it --> file_form_open --> write, write ... --> whole
 *                                                                                   |
 *                 join: as long as the file is open ------> "\n" per second -----> $<len>, hand
 *
 * A file that cannot be written costs those who wait for it their connection, and nobody else. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/num.h"
#include "persist/rdb_file.h"
#include "repl/sync_internal.h"

/* ---- Writing ---- */

void file_form_open(struct sync *sync)
{
    char path[RDB_PATH_MAX];
    const char *dir = sync->repl->config.dir;
    sync->file_number++;
    snprintf(path, sizeof(path), "%s/temp-%ld-%u.rdb", dir, (long)getpid(), sync->file_number);
    sync->file = sync_file_new(sync->repl->options.ring, path, &sync->files);
}

void file_form_drop(struct sync *sync)
{
    if (sync->file != NULL) {
        sync_file_drop(sync->file);
        sync->file = NULL;
    }
}

bool file_form_join(struct sync *sync, struct replica *replica)
{
    bool is_open = sync->file != NULL && sync_file_error(sync->file) == 0;
    if (!is_open || sync_wants_eof_form(replica) || replica->excluded != sync->excluded) {
        return false;
    }
    struct delivery *delivery = replica->sync_state;
    if (!replica_snapshot_begins(replica, false, sync->offset)) {
        return false; /* The stream since then is not kept. */
    }
    delivery->file = sync_file_share(sync->file);
    delivery->moved_us = sync_now_us(sync);
    list_remove(&replica->sync_link);
    list_push_back(&sync->sending, &replica->sync_link);
    return true;
}

uint64_t file_form_next(const struct sync *sync)
{
    return sync->round_first + sync_file_blocks(sync->file);
}

void file_form_write(struct sync *sync)
{
    if (sync->file == NULL || sync->file_is_ended || !sync_file_is_ready(sync->file)) {
        return;
    }
    if (file_form_next(sync) < sync->end) {
        sync_file_write(sync->file, sync_block_at(sync, file_form_next(sync))->blob);
    }
    if (file_form_next(sync) == sync->end && sync->has_last) {
        sync->file_is_ended = true;
        sync_file_end(sync->file);
    }
}

static bool is_file_wanted(const struct sync *sync)
{
    for (struct list *node = sync->sending.next; node != &sync->sending; node = node->next) {
        if (sync_delivery_at(node)->file == sync->file) {
            return true;
        }
    }
    return false;
}

void file_form_look_after(struct sync *sync)
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
        file_form_drop(sync);
    }
}

/* ---- Handing on ---- */

void file_form_hand(struct delivery *delivery)
{
    char head[NUM_I64_TEXT_MAX + 8];
    if (!sync_file_is_whole(delivery->file)) {
        return;
    }
    if (delivery->reader == NULL) {
        delivery->reader = sync_reader_new(delivery->file);
        int len = snprintf(head, sizeof(head), "$%" PRIu64 "\r\n", sync_file_len(delivery->file));
        delivery_put_bytes(delivery, slice_of(head, (size_t)len));
        delivery_wake(delivery);
    }
    struct blob *blob;
    while (delivery_has_room(delivery) && (blob = sync_reader_take(delivery->reader)) != NULL) {
        delivery_put_blob(delivery, blob);
        blob_drop(blob);
        delivery_wake(delivery);
    }
    delivery->is_handed = sync_reader_is_over(delivery->reader);
}

bool file_form_has_failed(const struct delivery *delivery)
{
    return delivery->file != NULL &&
           (sync_file_error(delivery->file) != 0 ||
            (delivery->reader != NULL && sync_reader_error(delivery->reader) != 0));
}

void file_form_end_reading(struct delivery *delivery)
{
    if (delivery->reader != NULL) {
        sync_reader_free(delivery->reader);
        delivery->reader = NULL;
    }
    if (delivery->file != NULL) {
        sync_file_drop(delivery->file);
        delivery->file = NULL;
    }
}
