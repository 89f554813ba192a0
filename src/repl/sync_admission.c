/* Who waits for a snapshot, and who is taken into a round.
 *
 *     sync_add --> waiting: its back-off passes --> wish --> a round is due --> admission_take_all
 *                                |                 delay, so that others join
 *                                '--> an open file of a round under way (file_form_join)
 *
 * A round is due when the earliest wish is, or at once when as many wait as
 * repl-diskless-sync-max-replicas. Only those who want the same parts of a snapshot share one; the
 * others wait for the next.
 *
 * Back-off. Who leaves without having acknowledged what it got is remembered by its announced name
 * (backoff.h), and forgiven with its first acknowledgement. */
#include <inttypes.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "repl/sync_internal.h"

/* ---- Asking ---- */

/* A replica whose identity is known: Redis's tools that only want a snapshot tell none. */
static bool has_identity(const struct replica *replica)
{
    return replica->announced_port != 0 && !replica->is_rdb_only;
}

void sync_add(struct sync *sync, struct replica *replica)
{
    char name[BACKOFF_NAME_MAX];
    int64_t now = sync_now_us(sync);
    struct delivery *delivery = mem_zalloc(sizeof(*delivery));
    delivery->replica = replica;
    delivery->asked_us = now;
    if (has_identity(replica)) {
        delivery->asked_us = backoff_due_us(&sync->backoff, replica_name(replica, name), now);
    }
    replica->sync_state = delivery;
    list_push_back(&sync->waiting, &replica->sync_link);
    if (list_is_empty(&sync->sending) || sync->next_second_us < now) {
        sync->next_second_us = now + SYNC_NEWLINE_US;
    }
    if (delivery->asked_us == now) {
        (void)file_form_join(sync, replica);
    }
}

/* ---- Back-off ---- */

static void note_failure(struct sync *sync, const struct replica *replica)
{
    char name[BACKOFF_NAME_MAX];
    replica_name(replica, name);
    int64_t wait_s = backoff_failed(&sync->backoff, name, sync_now_us(sync));
    if (wait_s == 1) {
        log_write(LOG_WARNING,
                  "Replica %s has left without acknowledging the snapshot that it got. The next "
                  "one for it will wait 1 second, and twice as long each time",
                  name);
    }
}

void admission_note_end(struct sync *sync, const struct delivery *delivery)
{
    const struct replica *replica = delivery->replica;
    bool was_served = replica->state != REPLICA_WAIT_SYNC;
    if (was_served && !delivery->is_excused && has_identity(replica)) {
        note_failure(sync, replica);
    }
}

void admission_forgive(struct sync *sync, const struct replica *replica)
{
    char name[BACKOFF_NAME_MAX];
    backoff_forgive(&sync->backoff, replica_name(replica, name));
}

/* ---- Being taken in ---- */

/* When the replica would have a round begin. */
static int64_t wish_us(const struct sync *sync, const struct delivery *delivery)
{
    const struct repl_config *config = &sync->repl->config;
    bool may_wait = sync_wants_eof_form(delivery->replica);
    return delivery->asked_us + (may_wait ? config->diskless_delay_s * SYNC_US_PER_S : 0);
}

int64_t admission_due_us(const struct sync *sync, int64_t now, struct delivery **chosen)
{
    int64_t due_us = INT64_MAX;
    int64_t count = 0;
    *chosen = NULL;
    for (struct list *node = sync->waiting.next; node != &sync->waiting; node = node->next) {
        struct delivery *delivery = sync_delivery_at(node);
        int64_t wish = wish_us(sync, delivery);
        if (delivery->replica->is_cut_off) {
            continue;
        }
        if (wish < due_us) {
            due_us = wish;
            *chosen = delivery;
        }
        count += delivery->asked_us <= now;
    }
    int64_t most = sync->repl->config.diskless_replicas_max;
    bool is_full = most > 0 && count >= most;
    due_us = is_full && now < due_us ? now : due_us;
    return due_us < sync->retry_us && *chosen != NULL ? sync->retry_us : due_us;
}

/* Takes one of those who wait into the round. */
static void take_in(struct sync *sync, struct delivery *delivery)
{
    struct replica *replica = delivery->replica;
    bool is_eof_form = sync_wants_eof_form(replica);
    list_remove(&replica->sync_link);
    list_push_back(&sync->sending, &replica->sync_link);
    delivery->next = sync->end;
    delivery->moved_us = sync_now_us(sync);
    delivery->seen_out = replica->session->bytes_out;
    bool is_open = replica_snapshot_begins(replica, is_eof_form, sync->offset);
    ASSERT(is_open); /* The end of the stream is always kept. */
    if (!is_eof_form && sync->file == NULL) {
        file_form_open(sync);
    }
    if (!is_eof_form) {
        delivery->file = sync_file_share(sync->file);
    }
    sync->replica_count++;
}

void admission_take_all(struct sync *sync, int64_t now)
{
    struct list *next;
    unsigned socket_count = 0;
    sync->replica_count = 0;
    for (struct list *node = sync->waiting.next; node != &sync->waiting; node = next) {
        struct delivery *delivery = sync_delivery_at(node);
        next = node->next;
        bool is_here = delivery->asked_us <= now && !delivery->replica->is_cut_off;
        if (is_here && delivery->replica->excluded == sync->excluded) {
            take_in(sync, delivery);
            socket_count += delivery->replica->is_eof_form;
        }
    }
    log_write(LOG_NOTICE,
              "Starting BGSAVE for SYNC with target: %s (%u replicas, offset %" PRId64 ")",
              socket_count == 0                    ? "disk"
              : socket_count < sync->replica_count ? "replicas sockets and disk"
                                                   : "replicas sockets",
              sync->replica_count, sync->offset);
}
