/* A pass: the whole keyspace as the bytes of an RDB file, made between commands in slices that take
 * a bounded share of the core thread's time and hold a bounded amount of memory. Where the bytes go
 * is its owner's: a file (saver.c) or replicas.
 *
 *     pass_new ... pass_step while pass_due_us has come ... pass_take -> block -> pass_give_back
 *                                                                  until one is_last; pass_free
 *
 * One pass at a time: a table has one picture. The essay is in pass.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "exec/exec.h"
#include "persist/mill.h"
#include "persist/walk.h"
#include "ring/ring.h"

struct pass;

/* Figures of the current or last pass. Zeroed by pass_new, but for held_back. */
struct pass_stats {
    uint64_t walk_us;       /* Core thread's time: the walk. */
    uint64_t slice_count;   /* Its slices. */
    uint64_t slice_us_max;  /* The longest. */
    size_t held_peak;       /* Most bytes held in memory at a time. */
    uint64_t held_back;     /* Times that writers were held back, since the start. */
    struct walk_stats walk; /* What it has met. */
};

struct pass_options {
    struct exec *exec;   /* Its keyspace is what is walked. Borrowed, like what follows. */
    struct ring *ring;   /* For the time. */
    struct slice speaks; /* For AUX redis-ver. */
    bool is_threaded;    /* A thread packs and sums up; else the core thread does. */
    bool has_packing, has_checksum;
    unsigned share_percent; /* Of the core thread's time that the walk may take under load. */
    struct pass_stats *stats;
    bool has_no_data; /* What stands before the databases, and nothing else. */

    /* More of what stands before the databases: see walk_options. */
    unsigned (*write_more)(void *context, struct codec_out *out);
    void *more_context;
};

/* Takes the picture. NULL: no thread could be started. */
struct pass *pass_new(const struct pass_options *options);

/* Ends it, finished or not. All blocks were given back, or are dropped by whoever has them. */
void pass_free(struct pass *pass);

/* The next slice, of at most some 150 us, unless the mill has enough to do or its owner has
 * (!may_walk); and when to look again (monotonic us). */
void pass_step(struct pass *pass, bool may_walk);
int64_t pass_due_us(const struct pass *pass);

/* Nothing is walked any more, now: for an owner that gives up but cannot free it yet. */
void pass_stop(struct pass *pass);

/* True: memory did not suffice, and the rest is lost. */
bool pass_has_failed(const struct pass *pass);

/* Nothing else runs meanwhile: nobody is held back. */
void pass_set_alone(struct pass *pass, bool is_alone);

/* Whether a step would do nothing now: all is walked, or the mill lags. */
bool pass_is_waiting(struct pass *pass);

/* Where finished blocks are. */
struct mill *pass_mill(struct pass *pass);

/* Bytes held for it now: what was written ahead, and what the mill has not milled yet. Blocks that
 * wait to be taken are not counted; they are at most MILL_BLOCKS_MAX. */
size_t pass_held(struct pass *pass);
