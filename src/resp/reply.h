/* Replies: typed values to bytes, in RESP2 or RESP3, into a chain of parts that a connection sends.
 *
 *     first                                      last
 *     [chunk: bytes....] -> [blob reference] -> [chunk: bytes....   | free ]
 *                                                                   ^ at  ^ end
 *
 * Small replies are copied into pooled chunks; a blob is referenced. The inline functions write
 * straight at `at` when the longest form fits, so a typical reply costs a bounds check and a copy.
 * A reply that belongs to no connection (a muted one, or a script's) uses the same writer.
 *
 * Errors and statuses never contain CR or LF: the writer replaces them. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/slice.h"

/* Bytes of one chunk, its header included. */
#ifdef OURO_HOSTILE
enum { REPLY_CHUNK_LEN = 256 };
#else
enum { REPLY_CHUNK_LEN = 16 * 1024 };
#endif

enum {
    REPLY_HEAD_MAX = 32,            /* Room that any header or number takes: "$<20 digits>\r\n". */
    REPLY_ERROR_LEN_MAX = 2 * 1024, /* Longest text of reply_errorf; more is cut off. */
};

/* Free chunks, kept warm: last freed, first used. One per server; keeps at most a fixed number. */
struct reply_pool {
    struct reply_part *free;
    uint32_t free_count;
    uint32_t free_max;
    size_t used_count;     /* Chunks in replies. */
    size_t blob_count;     /* Parts of replies that refer to blobs. */
    size_t orphaned_bytes; /* Of blobs that only replies refer to. */
};

/* Bytes that the pool and all replies from it occupy, blobs that are data not counted. */
size_t reply_pool_memory(const struct reply_pool *pool);

void reply_pool_init(struct reply_pool *pool);
void reply_pool_deinit(struct reply_pool *pool);

/* One part of the chain: either a chunk's own bytes or a reference to a blob. */
struct reply_part {
    struct reply_part *next;
    struct blob *blob; /* NULL for a chunk. */
    const char *data;  /* First unsent byte. */
    size_t len;        /* Bytes to send; of the last chunk, at - data counts instead. */
    size_t cap;        /* Chunk: bytes owned after this header. Blob: bytes that limits count. */
};

struct reply {
    char *at, *end;           /* Free bytes of the last chunk; both NULL when there is none. */
    uint8_t protocol;         /* 2 or 3. */
    bool is_muted;            /* Drops everything (CLIENT REPLY OFF and SKIP). */
    uint8_t share_count;      /* Shared parts since it was empty; sticks at its limit. */
    uint32_t room_memory;     /* For the session: with no more unsent it may go on. */
    struct reply_part *first; /* Oldest unsent. */
    struct reply_part *last;
    struct reply_pool *pool;
    size_t sealed_len; /* Bytes of all parts but the last chunk's unsealed tail. */
    size_t memory;     /* Bytes of chunks and for blobs referenced: what the output limit counts. */
    uint64_t error_count; /* Errors written so far, muted ones too, for statistics. */
    char error_code[24];  /* First word of the last error, NUL-terminated; "ERR" if it is alone. */
};

/* An empty reply in RESP2; it owns no memory until something is written. */
void reply_init(struct reply *out, struct reply_pool *pool);

/* Drops everything unsent. */
void reply_deinit(struct reply *out);

/* Bytes queued. */
size_t reply_len(const struct reply *out);
static inline bool reply_is_empty(const struct reply *out)
{
    return out->first == NULL;
}

/* Walks the chain and asserts that it agrees with the counters: for tests. */
void reply_check(const struct reply *out);

/* ---- For the sender ---- */

/* Describes up to `part_max` of the oldest parts; the bytes stay put until reply_sent, and writing
 * may go on behind them (to a fresh chunk, or after the bytes described). Returns how many were
 * filled, `*total` their bytes. */
struct iovec;
unsigned reply_peek(struct reply *out, struct iovec *parts, unsigned part_max, size_t *total);

/* Appends what many replies share: the encoded bytes of a message. It is referenced, which costs a
 * part of 40 bytes; it is copied when it is short and a chunk with room is open, or many parts wait
 * already, for then copying is cheaper. A muted reply is the caller's business. */
void reply_share(struct reply *out, struct blob *blob);

/* Appends `len` bytes of a blob from `from` on by reference, whatever they are: parts of a stream
 * that many are sent. Limits count `len`, for the blob is there anyway. Costs nothing where they
 * follow those appended last. */
void reply_refer(struct reply *out, struct blob *blob, size_t from, size_t len);

/* `len` bytes were sent: frees the parts that are done. An empty reply owns no memory. */
void reply_sent(struct reply *out, size_t len);

/* Moves everything of `from` behind what `out` holds; `from` is empty then. O(1). The error counts
 * stay where they are. */
void reply_splice(struct reply *out, struct reply *from);

/* ---- For handlers ---- */

void reply_raw(struct reply *out, struct slice bytes);  /* Already encoded. */
void reply_status(struct reply *out, const char *text); /* +text */

/* `text` begins with its code: "ERR syntax error", "WRONGTYPE Operation ...". */
void reply_error(struct reply *out, const char *text);
void reply_errorf(struct reply *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* `kind`, the number and CRLF: ":5", "*3". The general form of the inline writers below. */
void reply_number(struct reply *out, char kind, int64_t value);

/* A bulk of any length: what reply_bulk does when the bytes do not fit or are many. */
void reply_bulk_slow(struct reply *out, struct slice bytes);

/* True when `len` more bytes may be written at `at`. */
static inline bool reply_fits(const struct reply *out, size_t len)
{
    return (size_t)(out->end - out->at) >= len && !out->is_muted;
}

static inline void reply_ok(struct reply *out) /* +OK */
{
    if (__builtin_expect(reply_fits(out, 5), 1)) {
        memcpy(out->at, "+OK\r\n", 5);
        out->at += 5;
    } else {
        reply_raw(out, slice_of("+OK\r\n", 5));
    }
}

static inline void reply_integer(struct reply *out, int64_t value)
{
    if ((uint64_t)value < 10 && reply_fits(out, 4)) {
        const char text[4] = {':', (char)('0' + value), '\r', '\n'};
        memcpy(out->at, text, 4);
        out->at += 4;
    } else {
        reply_number(out, ':', value);
    }
}

static inline void reply_count(struct reply *out, size_t count)
{
    reply_integer(out, (int64_t)count);
}

static inline void reply_bulk(struct reply *out, struct slice bytes)
{
    if (bytes.len >= 1000 || !reply_fits(out, bytes.len + REPLY_HEAD_MAX)) {
        reply_bulk_slow(out, bytes);
        return;
    }
    char *at = out->at;
    unsigned len = (unsigned)bytes.len;
    *at++ = '$';
    if (len >= 100) {
        *at++ = (char)('0' + len / 100);
        *at++ = (char)('0' + len / 10 % 10);
    } else if (len >= 10) {
        *at++ = (char)('0' + len / 10);
    }
    *at++ = (char)('0' + len % 10);
    memcpy(at, "\r\n", 2);
    if (len > 0) {
        memcpy(at + 2, bytes.data, len);
    }
    memcpy(at + 2 + len, "\r\n", 2);
    out->at = at + 4 + len;
}

void reply_bulk_text(struct reply *out, const char *text);
void reply_bulk_integer(struct reply *out, int64_t value); /* Decimal digits as a bulk. */

/* All bytes of a blob by reference, whatever they are: what the caller has made alone. Limits count
 * its room, as they do for bulks. */
void reply_bytes_blob(struct reply *out, struct blob *blob);

/* References blob (shares it), or copies when `len` is small. */
void reply_bulk_blob(struct reply *out, struct blob *blob, size_t from, size_t len);

static inline void reply_null(struct reply *out) /* $-1 or _ */
{
    struct slice text = out->protocol == 3 ? slice_of("_\r\n", 3) : slice_of("$-1\r\n", 5);
    if (__builtin_expect(reply_fits(out, 8), 1)) {
        memcpy(out->at, out->protocol == 3 ? "_\r\n\0" : "$-1\r\n", 5); /* At most 5 count. */
        out->at += text.len;
    } else {
        reply_raw(out, text);
    }
}

void reply_null_array(struct reply *out); /* *-1 or _ */
void reply_array(struct reply *out, size_t count);
void reply_map(struct reply *out, size_t pair_count);       /* RESP2: an array of twice as many. */
void reply_set(struct reply *out, size_t count);            /* RESP2: array. */
void reply_push(struct reply *out, size_t count);           /* RESP2: array. */
void reply_attribute(struct reply *out, size_t pair_count); /* RESP3 only; the caller checks. */
void reply_double(struct reply *out, double value);         /* ,1.5 or a bulk. */
void reply_bool(struct reply *out, bool value);             /* #t or :1 */
void reply_big_number(struct reply *out, struct slice digits); /* (digits or a bulk. */
void reply_verbatim(struct reply *out, const char format[3], struct slice text); /* =txt: or bulk */

/* The same for a text that lies in `text` already, `len` raw bytes; it is empty then. O(1). */
void reply_verbatim_parts(struct reply *out, const char format[3], struct reply *text, size_t len);

/* An aggregate whose count is known only at its end. Everything written between begin and end
 * becomes its content; marks nest as brackets do. `kind` is '*', '%', '~' or '>', and the count of
 * '%' is of pairs (RESP2 writes '*' with doubled count for '%'). O(1): content that fits behind the
 * header in the same chunk is copied (less than a chunk), more is linked. */
struct reply_mark {
    struct reply saved;
    char kind;
};
void reply_begin(struct reply *out, struct reply_mark *mark, char kind);
void reply_end(struct reply *out, struct reply_mark *mark, size_t count);
