/* The saver: when the data set is saved, how a save proceeds, and how it ended. One per server.
 *
 *     saver_begin --> pass (walk, mill) --> file --> renamed, synced --> the callers' answers
 *                      ^ saver_step, from the turn of the loop, while saver_due_us has come
 *
 * At most one save is under way. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "exec/exec.h"
#include "keyspace/keyspace.h"
#include "persist/pass.h"
#include "ring/ring.h"

struct saver;

struct saver_options {
    struct exec *exec;   /* Its keyspace is what is saved. Borrowed. */
    struct ring *ring;   /* Borrowed. */
    struct slice speaks; /* For AUX redis-ver. */
    long pid;            /* For the temporary file's name. */
    /* saver_refuses_writes may have changed. NULL: the saver switches GATE_READ_ONLY itself. */
    void (*on_refusal)(void *context);
    void *context;
    bool is_threaded; /* A thread packs and sums up; else the core thread does. */
};

enum { SAVER_POINTS_MAX = 64 };

/* Save when so many seconds have passed since the last and there were so many changes. */
struct save_point {
    int64_t seconds, changes;
};

struct saver_config {
    const char *dir, *file_name; /* Where. Copied. */
    bool has_packing, has_checksum, is_syncing_along;
    bool stops_writes;      /* After a background save that failed, while there are save points. */
    unsigned share_percent; /* Of the core thread's time that a walk may take under load. */
    struct save_point points[SAVER_POINTS_MAX];
    unsigned point_count;
};

struct saver *saver_new(const struct saver_options *options);
void saver_free(struct saver *saver); /* Gives up what is under way; the ring must still turn. */
void saver_configure(struct saver *saver, const struct saver_config *config);

/* More of what stands before the databases: see walk_options. */
void saver_set_more(struct saver *saver, unsigned (*write)(void *context, struct codec_out *out),
                    void *context);

/* SAVE, BGSAVE, LASTSAVE. */
void saver_register(struct saver *saver);

/* For GATE_READ_ONLY, with the saver as its context. */
enum gate_result saver_gate(void *context, struct call *call);
bool saver_refuses_writes(const struct saver *saver);
const char *saver_refusal(const struct saver *saver); /* The error then; NULL: it refuses none. */

/* ---- A save ---- */

/* Takes the picture and begins. False: one is under way, or there is no thread to be had. */
bool saver_begin(struct saver *saver);
bool saver_is_on(const struct saver *saver);

/* The save's next slice, of at most some 150 us; and when it is due (monotonic us), INT64_MAX: no
 * save is under way. */
void saver_step(struct saver *saver);
int64_t saver_due_us(const struct saver *saver);

/* A pass for somebody else, with the saver's options: a full synchronisation. There is one pass at
 * a time, so until saver_end_lease no save begins: BGSAVE and SAVE are told that one is in
 * progress, those that are due wait. Before a save that cannot wait on_yield is called, which has
 * to end it. NULL: a save is under way, or no thread could be started. The pass is the caller's. */
struct saver_lease {
    void (*on_yield)(void *context);
    unsigned (*write_more)(void *context, struct codec_out *out);
    void *context;
    bool has_no_data; /* See pass_options. */
};
struct pass *saver_lend_pass(struct saver *saver, const struct saver_lease *lease);
void saver_end_lease(struct saver *saver); /* The pass is freed. */

/* Saving, or lending. */
bool saver_is_busy(const struct saver *saver);

/* A save from begin to end, while nothing else happens but the ring's completions: those of
 * SHUTDOWN and the like. One that is under way is given up, and a pass that is lent. False: it
 * failed, see the log. */
bool saver_save_now(struct saver *saver);

/* Gives up, and waits until what is in flight has ended. */
void saver_abort(struct saver *saver);

/* The process ends in the middle of it: lets go of all without a word to the ring, which must not
 * turn any more. For crashes in simulated worlds. */
void saver_leave(struct saver *saver);

/* Save points, and saves that wait for another to end. Called by cron. */
void saver_tick(struct saver *saver);
bool saver_has_points(const struct saver *saver);

/* Removes the temporary files of processes that are no more from the configured folder. */
void saver_remove_strays(const struct saver *saver);

/* ---- Figures ---- */

struct saver_stats {
    uint64_t begun;          /* rdb_saves */
    int64_t last_save_s;     /* Unix time of the last that succeeded, or of the start. */
    bool is_last_bad;        /* rdb_last_bgsave_status */
    int64_t last_duration_s; /* -1: there was none. */
    int64_t begun_us;        /* Monotonic: of what is under way. */
    uint64_t file_bytes;     /* Written. */
    struct pass_stats pass;  /* Of the current or last save. */
};
const struct saver_stats *saver_stats(const struct saver *saver);

/* Bytes held for the save now: what was written ahead, and what the disk has not taken yet. */
size_t saver_held(struct saver *saver);
