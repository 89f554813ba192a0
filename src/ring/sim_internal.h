/* The parts of the simulated world: sim.c (clock, rings, operations), sim_net.c, sim_disk.c. Never
 * included outside this folder. */
#pragma once

#include "base/rng.h"
#include "ring/ring_internal.h"
#include "ring/sim.h"

enum {
    SIM_FD_BASE = 1 << 16, /* Far from real descriptors, so that a mix-up shows. */
    SIM_FDS_MAX = 4096,    /* Per node; beyond it, EMFILE. */
    SIM_PATH_MAX = 1024,
};

enum sim_handle_kind { SIM_SOCKET, SIM_LISTENER, SIM_STREAM, SIM_FILE };

/* Bytes on their way to a stream, or its end. */
struct sim_segment {
    struct list link;
    int64_t ready_us;
    uint32_t len, pos;
    bool is_end;
    char data[];
};

struct sim_file {
    struct list link; /* In the node's directory, while it has a name. */
    char path[SIM_PATH_MAX];
    char *data;
    size_t len;
    char *durable; /* What a crash leaves for sure. */
    size_t durable_len;
    bool is_rewritten; /* Bytes below durable_len changed since the last sync. */
    bool is_named;
    unsigned handle_count;
};

/* What a descriptor names. */
struct sim_handle {
    enum sim_handle_kind kind;
    unsigned node;
    char local[RING_ADDRESS_TEXT_MAX], peer_name[RING_ADDRESS_TEXT_MAX];
    /* LISTENER */
    unsigned port;
    bool is_unix;
    bool is_shared;      /* A listener: see ring_share_port. */
    struct list backlog; /* Streams, by backlog_link. */
    unsigned backlog_count, backlog_max;
    /* STREAM */
    struct list backlog_link;
    struct sim_handle *peer; /* NULL when it is gone. */
    struct list inbox;
    uint32_t inbox_bytes;
    int64_t inbox_last_us; /* Bytes arrive in order. */
    int64_t ready_us;      /* When the listener sees it. */
    bool is_reset, is_shut, is_local;
    /* FILE */
    struct sim_file *file;
    int64_t position;
    int flags;
};

struct sim_ring {
    struct ring ring; /* First: the public pointer is this one. */
    struct sim_world *world;
    unsigned node;
    struct list ops; /* In flight. */
    struct ring_pool pool;
};

struct sim_node {
    struct sim_ring *ring;
    struct sim_handle *handles[SIM_FDS_MAX];
    unsigned next_port;
    struct list files;
    struct sim_disk disk;
};

struct sim_world {
    struct sim_options options;
    struct rng rng;
    int64_t now_us;
    bool is_apart[SIM_NODES_MAX][SIM_NODES_MAX];
    struct sim_node nodes[SIM_NODES_MAX];
};

static inline struct sim_ring *sim_ring_of(struct ring *ring)
{
    return (struct sim_ring *)(void *)ring;
}

int64_t sim_delay_us(struct sim_world *world);

/* A piece of at least one of `len` bytes. */
size_t sim_piece(struct sim_world *world, size_t len);

/* A new descriptor for `handle`, or -EMFILE. */
int sim_fd_new(struct sim_world *world, unsigned node, struct sim_handle *handle);
struct sim_handle *sim_handle_at(const struct sim_ring *sim, int fd); /* NULL: EBADF. */

/* ---- sim_net.c ---- */
int sim_listen(struct ring *ring, const struct ring_listen_options *options);
int sim_share_port(struct ring *ring, int fd, bool is_shared);
int sim_socket(struct ring *ring, int family, const char *source);
int sim_tune(struct ring *ring, int fd, bool no_delay, int keepalive_s);
void sim_address_text(struct ring *ring, int fd, bool is_peer, char *out);
bool sim_peer_is_local(struct ring *ring, int fd);
bool sim_peer_has_ended(struct ring *ring, int fd);
void sim_shutdown(struct ring *ring, int fd);
void sim_socket_free(struct sim_world *world, struct sim_handle *handle, bool is_crash);

/* When a socket operation can make progress; INT64_MAX when something must happen first. */
int64_t sim_socket_next_us(struct sim_ring *sim, struct ring_op *op);

/* Makes progress; calls back. */
void sim_socket_run(struct sim_ring *sim, struct ring_op *op);

/* ---- sim_disk.c ---- */
int sim_file_op_run(struct sim_ring *sim, struct ring_op *op);
void sim_file_close(struct sim_handle *handle);
void sim_disk_crash(struct sim_world *world, struct sim_node *node);
void sim_disk_free(struct sim_node *node);
