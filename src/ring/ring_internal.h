/* What the engines share: the table of an engine's functions, the timer heap, the table of
 * descriptors, and the pool of receive buffers. Never included outside this folder. */
#pragma once

#include "base/assert.h"
#include "ring/ring.h"

/* What an engine provides. ring.c fills the operation in and keeps timers; the engine moves
 * bytes. */
struct ring_engine {
    const char *name;
    void (*start)(struct ring *ring, struct ring_op *op);  /* Not for timers. */
    void (*cancel)(struct ring *ring, struct ring_op *op); /* Only for an op in flight. */
    void (*release)(struct ring *ring, const struct ring_buffer *buffer);
    void (*close_fd)(struct ring *ring, int fd);
    unsigned (*turn)(struct ring *ring, int64_t until_mono_us);
    void (*close)(struct ring *ring); /* Frees the ring. */
    int64_t (*mono_us)(const struct ring *ring);

    int (*listen)(struct ring *ring, const struct ring_listen_options *options);
    int (*share_port)(struct ring *ring, int fd, bool is_shared);
    int (*socket)(struct ring *ring, int family, const char *source);
    int (*tune)(struct ring *ring, int fd, bool no_delay, int keepalive_s);
    void (*address_text)(struct ring *ring, int fd, bool is_peer, char *out);
    bool (*peer_is_local)(struct ring *ring, int fd);
    bool (*peer_has_ended)(struct ring *ring, int fd);
    void (*shutdown)(struct ring *ring, int fd);
};

/* What is in flight on one descriptor. The flags belong to the epoll engine. */
struct ring_fd {
    struct ring_op *reader; /* ACCEPT, RECEIVE, RECEIVE_INTO */
    struct ring_op *writer; /* SEND, SEND_PARTS, CONNECT */
    bool is_watched;        /* Known to epoll. */
    bool is_readable;       /* There was an edge, and no read has come back short since. */
    bool is_ended;          /* The peer has shut its side down: reads go on until they return 0. */
};

/* The part that every engine's ring starts with. */
struct ring_pool;

struct ring {
    const struct ring_engine *engine;
    const struct ring_pool *pool; /* The engine's receive buffers. */
    struct ring_op **heap;        /* Timers: a binary heap by due time. */
    uint32_t heap_count, heap_cap;
    struct ring_fd *fds; /* By descriptor; grows to the highest one used. */
    unsigned fd_count;
    int fd_base;          /* The lowest descriptor this engine gives out. */
    struct list finished; /* Operations whose result is known, to be called back this turn. */
};

void ring_init(struct ring *ring, const struct ring_engine *engine);
void ring_deinit(struct ring *ring);

/* When the earliest timer is due; INT64_MAX without one. */
int64_t ring_timer_next_us(const struct ring *ring);

struct ring_fd *ring_fd_grow(struct ring *ring, unsigned index);

/* The entry of a descriptor; made when there is none. Valid until the next call. */
static inline struct ring_fd *ring_fd_at(struct ring *ring, int fd)
{
    unsigned index = (unsigned)(fd - ring->fd_base);
    return index < ring->fd_count ? &ring->fds[index] : ring_fd_grow(ring, index);
}

/* Takes an operation off its descriptor's entry. Another one may have the number by now. */
static inline void ring_op_unbind(struct ring *ring, struct ring_op *op)
{
    unsigned index = (unsigned)(op->fd - ring->fd_base);
    if (op->kind > RING_OP_CONNECT || index >= ring->fd_count) {
        return;
    }
    struct ring_fd *entry = &ring->fds[index];
    if (entry->writer == op) {
        entry->writer = NULL;
    } else if (entry->reader == op) {
        entry->reader = NULL;
    }
}

/* The last completion of an operation, called from a turn. */
static inline void ring_op_end(struct ring *ring, struct ring_op *op, int result)
{
    ring_op_unbind(ring, op);
    op->in_flight = false;
    op->done(op, result);
}

/* The last completion of an operation, to be called back by this turn or the next. The operation is
 * on no other list. */
static inline void ring_op_finish(struct ring *ring, struct ring_op *op, int result)
{
    ring_op_unbind(ring, op);
    op->is_finished = true;
    op->result = result;
    list_push_back(&ring->finished, &op->link);
}

/* Steps over `moved` bytes of a send or write. Returns true when nothing is left. */
bool ring_op_advance(struct ring_op *op, size_t moved);

/* ---- Receive buffers (pool.c) ---- */

enum {
    RING_POOL_STEP = 64, /* Buffers are made in blocks of this many: 1 MiB at the default length. */
#ifdef OURO_HOSTILE
    RING_BUFFER_LEN = 13,
    RING_BUFFERS_MAX = 128,
#else
    RING_BUFFER_LEN = 16 * 1024,
    RING_BUFFERS_MAX = 1024,
#endif
    RING_BUFFERS_LIMIT = 32768, /* What a kernel's ring of buffers can name. */
};

struct ring_pool {
    char **blocks;
    uint16_t *free_ids; /* A stack: the buffer released last is the warmest. */
    uint32_t free_count;
    uint32_t count; /* Buffers that exist. */
    uint32_t max;
    uint32_t buffer_len; /* Bytes. */
};

void ring_pool_init(struct ring_pool *pool, const struct ring_options *options);
void ring_pool_deinit(struct ring_pool *pool);

/* Makes more buffers; returns false at the limit. */
bool ring_pool_grow(struct ring_pool *pool);

static inline char *ring_pool_data(const struct ring_pool *pool, uint32_t id)
{
    return pool->blocks[id / RING_POOL_STEP] + (size_t)(id % RING_POOL_STEP) * pool->buffer_len;
}

static inline void ring_pool_put(struct ring_pool *pool, uint32_t id)
{
    DEBUG_ASSERT(pool->free_count < pool->count);
    pool->free_ids[pool->free_count++] = (uint16_t)id;
}

/* Takes the warmest free buffer; the pool grows when it is empty. Returns false at the limit. */
static inline bool ring_pool_take(struct ring_pool *pool, uint32_t *id)
{
    if (pool->free_count == 0 && !ring_pool_grow(pool)) {
        return false;
    }
    *id = pool->free_ids[--pool->free_count];
    return true;
}

/* ---- The kernel's sockets (sockets.c), shared by uring and epoll ---- */

int ring_kernel_listen(struct ring *ring, const struct ring_listen_options *options);
int ring_kernel_share_port(struct ring *ring, int fd, bool is_shared);
int ring_kernel_socket(struct ring *ring, int family, const char *source);
int ring_kernel_tune(struct ring *ring, int fd, bool no_delay, int keepalive_s);
void ring_kernel_address_text(struct ring *ring, int fd, bool is_peer, char *out);
bool ring_kernel_peer_is_local(struct ring *ring, int fd);
bool ring_kernel_peer_has_ended(struct ring *ring, int fd);
void ring_kernel_shutdown(struct ring *ring, int fd);
int64_t ring_kernel_mono_us(const struct ring *ring);

/* Text of a socket address in the form of ring_peer_text. */
void ring_address_text(const struct sockaddr *address, socklen_t len, char *out);

/* ---- Engines ---- */

int uring_open(struct ring **out, const struct ring_options *options);
int epoll_open(struct ring **out, const struct ring_options *options);
