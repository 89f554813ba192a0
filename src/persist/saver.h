/* The saver: when the data set is saved, how a save proceeds, and how it ended. One per server.
 *
 *     saver_begin --> walk --> mill --> file --> renamed, synced --> on_end
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
#include "persist/walk.h"
#include "ring/ring.h"

struct saver;

struct saver_options {
    struct exec *exec;   /* Its keyspace is what is saved. Borrowed. */
    struct ring *ring;   /* Borrowed. */
    struct slice speaks; /* For AUX redis-ver. */
    long pid;            /* For the temporary file's name. */
    bool is_threaded;    /* A thread packs and sums up; else the core thread does. */
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

/* For GATE_READ_ONLY, with the saver as its context, which switches that gate on and off. */
enum gate_result saver_gate(void *context, struct call *call);
bool saver_refuses_writes(const struct saver *saver);

/* ---- A save ---- */

/* Takes the picture and begins. False: one is under way, or there is no thread to be had. */
bool saver_begin(struct saver *saver);
bool saver_is_on(const struct saver *saver);

/* The save's next slice, of at most some 150 us; and when it is due (monotonic us), INT64_MAX: no
 * save is under way. */
void saver_step(struct saver *saver);
int64_t saver_due_us(const struct saver *saver);

/* A save from begin to end, while nothing else happens but the ring's completions: those of
 * SHUTDOWN and the like. One that is under way is given up. False: it failed, see the log. */
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
    uint64_t walk_us;        /* Core thread's time of the current or last save: the walk. */
    uint64_t slice_count;    /* Its slices. */
    uint64_t slice_us_max;   /* The longest. */
    size_t held_peak;        /* Most bytes held in memory at a time. */
    uint64_t held_back;      /* Times that writers were held back. */
    uint64_t file_bytes;     /* Written. */
    struct walk_stats walk;  /* Of the current or last save. */
};
const struct saver_stats *saver_stats(const struct saver *saver);

/* Bytes held for the save now: what was written ahead, and what the disk has not taken yet. */
size_t saver_held(struct saver *saver);
