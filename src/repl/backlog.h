/* The backlog: the bytes of the replication stream, held once for all who need them. Replicas are
 * cursors into it and send references; a replica that comes back finds there what it has missed.
 * The essay is in backlog.c.
 *
 *     offset:   first ................................ end | not shown yet
 *               [ span ][ span ][    span     ][  span     |     ]
 *                  ^ cursor           ^ cursor             ^ backlog_show moves it on
 *
 * Offsets are Redis's: the number of bytes that the stream had when a byte was in it, so the first
 * byte of a stream has offset 1, and an empty backlog ends at the offset that it was opened with.
 *
 * What is appended can be seen by cursors only after backlog_show: a unit of commands is shown as a
 * whole. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/list.h"
#include "base/slice.h"
#include "base/work.h"

/* Consecutive bytes of one blob. */
struct backlog_span {
    struct blob *blob; /* One reference, or a loan (is_lent). */
    int64_t first;     /* Offset of its first byte. */
    size_t from, len;  /* In the blob. */
    bool is_lent;      /* The blob belongs to somebody else: a value, an argument. */
};

struct backlog {
    struct backlog_span *spans; /* A ring: number n is at n & (cap - 1). */
    uint64_t head, tail;        /* Numbers of the oldest span, and of the one after the newest. */
    uint64_t cap;               /* A power of two, or 0. */
    uint64_t trimmed_tail;      /* Tail when spans were last forgotten. */
    int64_t shown;              /* Offset of the last byte that can be seen. */
    int64_t written;            /* Offset of the last byte. */
    int64_t size;               /* Bytes that are kept at least: repl-backlog-size. */
    struct blob *block;         /* Being filled: one reference; NULL: none yet. */
    size_t block_len;           /* Bytes of the next block. */
    size_t memory;              /* Of blocks of its own and of the ring. */
    size_t *lent_bytes;         /* Where orphans are counted; see blob.h. */
    struct list cursors;
    struct work_queue *work; /* Frees what is closed; NULL: that is freed at once. */
    struct list rests;       /* What it is freeing, */
    size_t rest_memory;      /* and the bytes of that. */
    bool is_open;
    bool is_broken; /* Memory did not suffice: bytes are missing, nothing more is taken. */
};

/* Somebody who reads the stream from some offset on. What it has not taken is not forgotten. */
struct backlog_cursor {
    struct list link;
    struct backlog *backlog; /* NULL: closed. */
    int64_t next;            /* Offset of the next byte. */
    uint64_t span;           /* Number of the span that holds it, or a lower one. */
};

/* `lent_bytes` is where the reply pool counts what only replies refer to; it is the same for all
 * who lend these blobs. */
void backlog_init(struct backlog *backlog, size_t *lent_bytes);

/* Begins an empty history that ends at `end`. */
void backlog_open(struct backlog *backlog, int64_t end);

/* From now on what is closed is freed in slices. `work` outlives the backlog. */
void backlog_set_work(struct backlog *backlog, struct work_queue *work);

/* Forgets every byte; backlog_end stays what it is. All cursors must be closed. */
void backlog_close(struct backlog *backlog);

/* The same, and all is freed when it returns. */
void backlog_deinit(struct backlog *backlog);

static inline bool backlog_is_open(const struct backlog *backlog)
{
    return backlog->is_open;
}

/* Offset of the last byte shown, and of the first kept (one more than the end: there is none). */
static inline int64_t backlog_end(const struct backlog *backlog)
{
    return backlog->shown;
}
int64_t backlog_first(const struct backlog *backlog);

/* ---- Writing ---- */

/* Bytes at the end of the stream, copied. Without memory the backlog is broken (is_broken): whoever
 * feeds it then drops all replicas and closes it. */
void backlog_append(struct backlog *backlog, struct slice bytes);

/* The same by reference, for large parts: `blob` is borrowed and lent. */
void backlog_append_blob(struct backlog *backlog, struct blob *blob, size_t from, size_t len);

/* Room for `len` bytes, at most BACKLOG_ROOM_MAX, for a writer that then tells how many it used
 * with backlog_advance. NULL: no memory, the backlog is broken. */
#ifdef OURO_HOSTILE
enum { BACKLOG_ROOM_MAX = 128 };
#else
enum { BACKLOG_ROOM_MAX = 2048 };
#endif
char *backlog_room(struct backlog *backlog, size_t len);
void backlog_advance(struct backlog *backlog, size_t len);

/* Puts bytes (at most BACKLOG_ROOM_MAX) before the one with offset `at`, which is not shown yet. */
void backlog_insert(struct backlog *backlog, int64_t at, struct slice bytes);

/* Everything appended can be seen; forgets some of what is no longer needed. */
void backlog_show(struct backlog *backlog);

/* Forgets some of what is no longer needed, a bounded amount. True: there is more. */
bool backlog_trim(struct backlog *backlog);

/* How many bytes are kept at least. */
void backlog_set_size(struct backlog *backlog, int64_t size);

/* ---- Reading ---- */

/* Opens a cursor whose next byte has offset `next`. False: it is not kept any more, or lies more
 * than one behind the end. */
bool backlog_cursor_open(struct backlog *backlog, struct backlog_cursor *cursor, int64_t next);
void backlog_cursor_close(struct backlog_cursor *cursor); /* Closed already: nothing. */

static inline bool backlog_cursor_is_open(const struct backlog_cursor *cursor)
{
    return cursor->backlog != NULL;
}

/* The next bytes, at most `max`, that lie together: `*blob` (borrowed) from `*from` on. Returns how
 * many; 0: there are none. The cursor moves on. */
size_t backlog_cursor_take(struct backlog_cursor *cursor, size_t max, struct blob **blob,
                           size_t *from);

/* Bytes shown that the cursor has not taken. */
static inline int64_t backlog_cursor_behind(const struct backlog_cursor *cursor)
{
    return cursor->backlog->shown - cursor->next + 1;
}

/* ---- Figures ---- */

/* Bytes of memory of its own, lent blobs not counted; those that are being freed included. */
static inline size_t backlog_memory(const struct backlog *backlog)
{
    return backlog->memory + backlog->rest_memory;
}

/* Walks everything and asserts the invariants. */
void backlog_check(const struct backlog *backlog);
