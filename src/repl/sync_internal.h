/* What the files of a full synchronisation share; sync.c tells how they work together.
 *
 *     sync_admission.c    who waits, and who is taken into a round
 *     sync.c              rounds: the walk, its blocks, the end
 *     sync_eof_form.c     blocks go to a connection by reference
 *     sync_file_form.c    blocks go to a temporary file (sync_file.h), and from there to
 * connections */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/list.h"
#include "persist/pass.h"
#include "repl/backoff.h"
#include "repl/repl_internal.h"
#include "repl/sync_file.h"

enum {
    SYNC_MARK_LEN = 40,          /* Of the $EOF form. */
    SYNC_AHEAD_MAX = 256 * 1024, /* Bytes unsent at which a connection gets no further block. */
    SYNC_BLOCKS_MAX = MILL_BLOCKS_MAX,
    SYNC_US_PER_S = 1000000,
    SYNC_NEWLINE_US = SYNC_US_PER_S, /* Between signs of life to those who wait. */
};

/* A snapshot for one replica, which waits for it, gets it, or has got it. */
struct delivery {
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
    char mark[SYNC_MARK_LEN];
    struct sync_file *file; /* NULL: nobody wanted one, or it has failed. */
    int64_t offset;         /* Of the stream at its moment. */
    int64_t begun_us;       /* 0: its end was told. */
    uint64_t bytes;
    unsigned replica_count; /* That it began with. */

    struct list files; /* All that exist. */
    unsigned file_number;
};

static inline int64_t sync_now_us(const struct sync *sync)
{
    return ring_mono_us(sync->repl->options.ring);
}

/* Of a node of one of the lists. */
static inline struct replica *sync_replica_at(struct list *node)
{
    return LIST_OWNER(node, struct replica, sync_link);
}

static inline struct delivery *sync_delivery_at(struct list *node)
{
    return sync_replica_at(node)->sync_state;
}

static inline bool sync_wants_eof_form(const struct replica *replica)
{
    return replica->repl->config.is_diskless && (replica->capabilities & REPLICA_CAPA_EOF) != 0;
}

/* ---- sync.c ---- */

/* The block of that number, which must be held still. */
struct mill_block *sync_block_at(const struct sync *sync, uint64_t number);

/* What a delivery hands to its connection, and whether that has room for more. */
bool delivery_has_room(const struct delivery *delivery);
void delivery_put_bytes(struct delivery *delivery, struct slice bytes);
void delivery_put_blob(struct delivery *delivery, struct blob *blob); /* Takes a reference. */
void delivery_wake(struct delivery *delivery);                        /* After something was put. */

/* ---- sync_admission.c ---- */

/* When a round is to begin, and whose wish that is; INT64_MAX: nobody waits. */
int64_t admission_due_us(const struct sync *sync, int64_t now, struct delivery **chosen);

/* Takes everybody into the round who may come and who wants the same. */
void admission_take_all(struct sync *sync, int64_t now);

/* A delivery has ended because its replica has gone: it may have to wait longer next time. */
void admission_note_end(struct sync *sync, const struct delivery *delivery);
void admission_forgive(struct sync *sync, const struct replica *replica);

/* ---- sync_eof_form.c ---- */

void eof_form_draw_mark(struct sync *sync); /* A round begins. */
void eof_form_hand(struct sync *sync, struct delivery *delivery);

/* ---- sync_file_form.c ---- */

void file_form_open(
    struct sync *sync); /* The round's file; drop ends it without its being whole. */
void file_form_drop(struct sync *sync);

/* Lets one who asks in the middle of a round share its file. False: it must wait for the next. */
bool file_form_join(struct sync *sync, struct replica *replica);

/* Hands the file its next block; and the number of that. */
void file_form_write(struct sync *sync);
uint64_t file_form_next(const struct sync *sync);

/* Drops a file that has failed, or that nobody wants any more. */
void file_form_look_after(struct sync *sync);

void file_form_hand(struct delivery *delivery);
bool file_form_has_failed(const struct delivery *delivery);
void file_form_end_reading(struct delivery *delivery);
