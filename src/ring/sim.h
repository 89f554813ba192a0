/* A simulated world under a seed: nodes that have a network between them and a disk each, and a
 * clock that only moves when nothing else can happen. Each node runs one program on one ring.
 *
 *     world --+-- node 0: ring, descriptors, disk        10.0.0.1 (and 127.0.0.1 for itself)
 *             +-- node 1: ring, descriptors, disk        10.0.0.2
 *             +-- clock, generator, partitions
 *
 * Every completion is delayed and completions of different operations change places, as the seed
 * says; sends and writes fall short inside the engine; the same seed and the same program give the
 * same run. Nothing here depends on an address or on real time. For tests only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ring/ring.h"

struct sim_world;

enum { SIM_NODES_MAX = 16 };

struct sim_options {
    uint64_t seed;
    int64_t delay_us_max;      /* Longest delay of a completion or of bytes on the way; 0 is 200. */
    uint32_t window_bytes;     /* What a socket holds for a reader that lags; 0 is 64 KiB. */
    uint32_t piece_max;        /* Most bytes that move at once; 0 is the window. */
    uint32_t cuts_per_million; /* Chance that a send breaks its connection instead. */
    /* False: ring_turn moves the clock itself, for a world with one ring. True: only sim_world_step
     * does. */
    bool is_stepped;
};

struct sim_world *sim_world_new(const struct sim_options *options);

/* Frees the world. All its rings are closed. */
void sim_world_free(struct sim_world *world);

int64_t sim_world_now_us(const struct sim_world *world);

/* Moves the clock to the next moment at which some ring has something to do, and returns that ring
 * (by lot when there are several), for which ring_turn(ring, 0) is due. Returns NULL, with the
 * clock at `until_us`, when nothing happens before. O(operations in flight). */
struct ring *sim_world_step(struct sim_world *world, int64_t until_us);

/* Starts a program on a node that has none. ring_close ends it: descriptors must be closed before,
 * or be left to sim_node_stop. */
struct ring *sim_node_start(struct sim_world *world, unsigned node);

/* Ends the node's program: closes its ring, without calling back, and its descriptors. After a
 * crash peers see a reset, and of what was not synced each file keeps only as much as the seed
 * says; otherwise peers see the end of the stream and files are whole. */
void sim_node_stop(struct sim_world *world, unsigned node, bool is_crash);

/* While two nodes are apart nothing passes between them; it is not lost. */
void sim_world_part(struct sim_world *world, unsigned node, unsigned other, bool is_apart);

/* Breaks every connection between two nodes: both ends get -ECONNRESET. */
void sim_world_cut(struct sim_world *world, unsigned node, unsigned other);

/* A disk's troubles; change them at any time. */
struct sim_disk {
    uint64_t capacity_bytes; /* Writes beyond it end with -ENOSPC; UINT64_MAX at first. */
    unsigned fsync_failures; /* This many next fsyncs end with -EIO. */
    unsigned write_failures; /* This many next writes end with -EIO. */
    int64_t fsync_us;        /* How long an fsync takes, besides the usual delay. */
};
struct sim_disk *sim_node_disk(struct sim_world *world, unsigned node);

/* A file as the program would read it: NULL when there is none. Valid until the file changes. */
const char *sim_file_peek(struct sim_world *world, unsigned node, const char *path, size_t *len);

/* Puts a file there, synced. */
void sim_file_put(struct sim_world *world, unsigned node, const char *path, const void *data,
                  size_t len);
