/* Replies: a chain of parts.
 *
 * A chunk is one allocation of REPLY_CHUNK_LEN bytes, from the pool:
 *
 *     +-------------------------+---------------------------------------+
 *     | struct reply_part, 40 B | sent already | unsent bytes | free    |
 *     +-------------------------+---------------------------------------+
 *                                              ^ data         ^ at      ^ end
 *
 * Only the last part can have free bytes. It is sealed (its len is set) when a part is put behind
 * it; until then its length is at - data, so that the inline writers update one pointer and nothing
 * else. A sender reads while writers append: bytes never move once written, and a chunk goes back
 * to the pool only in reply_sent, after all of it was sent.
 *
 * A large value costs a part of 40 bytes that references its blob, and the next write starts a
 * fresh chunk. A message to many (reply_share) is a part that references it too: a thousand idle
 * subscribers hold 40 bytes each and no chunk. Costs: a short reply, its bytes; a chunk, a pop from
 * the pool; sending, O(parts).
 *
 * Invariants (reply_check):
 *   1. An empty chain has first, last, at and end NULL, and sealed_len and memory 0.
 *   2. at != NULL: last is a chunk, data <= at <= end, and end is the end of that chunk.
 *   3. sealed_len is the sum of len over all parts but that chunk.
 *   4. No part is empty.
 *
 * Rejected: one growing buffer per connection (copies on growth, and a sender pins it); patching
 * the count of an aggregate in place (its digits are not known, and the bytes may already be on
 * their way); sharing the rest of a chunk after a blob between two parts (ownership of the memory
 * would need counting, to save pool memory that is short-lived). */
#include "resp/reply.h"

#include <assert.h>
#include <stdio.h>
#include <sys/uio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/num.h"

enum {
    SHARE_FIT_MAX = 2048,  /* Longest message that is copied into a chunk that is open. */
    SHARE_SHORT_MAX = 256, /* Longest message for which a chunk is opened, */
    SHARE_RUN_MAX = 8,     /* after so many shared parts. */
    POOL_FREE_MAX = 64,    /* Chunks: one MiB stays warm. */
    CHUNK_CAP = REPLY_CHUNK_LEN - sizeof(struct reply_part),
};

static_assert(CHUNK_CAP >= 4 * REPLY_HEAD_MAX, "a chunk takes any header");

/* ---- The pool ---- */

void reply_pool_init(struct reply_pool *pool)
{
    *pool = (struct reply_pool){.free_max = POOL_FREE_MAX};
}

void reply_pool_deinit(struct reply_pool *pool)
{
    while (pool->free != NULL) {
        struct reply_part *part = pool->free;
        pool->free = part->next;
        mem_free(part);
    }
    pool->free_count = 0;
}

size_t reply_pool_memory(const struct reply_pool *pool)
{
    size_t chunks = pool->used_count + pool->free_count;
    return chunks * REPLY_CHUNK_LEN + pool->blob_count * sizeof(struct reply_part) +
           pool->orphaned_bytes;
}

static struct reply_part *pool_take(struct reply_pool *pool)
{
    struct reply_part *part = pool->free;
    pool->used_count++;
    if (part == NULL) {
        return mem_alloc(REPLY_CHUNK_LEN);
    }
    pool->free = part->next;
    pool->free_count--;
    return part;
}

static void pool_give(struct reply_pool *pool, struct reply_part *part)
{
    pool->used_count--;
    if (pool->free_count == pool->free_max) {
        mem_free(part);
        return;
    }
    part->next = pool->free;
    pool->free = part;
    pool->free_count++;
}

/* ---- The chain ---- */

void reply_init(struct reply *out, struct reply_pool *pool)
{
    *out = (struct reply){.pool = pool, .protocol = 2};
}

/* Bytes that the output limit counts for a part. */
static size_t part_memory(const struct reply_part *part)
{
    return part->blob != NULL ? part->cap : REPLY_CHUNK_LEN;
}

static void part_free(struct reply *out, struct reply_part *part)
{
    out->memory -= part_memory(part);
    if (part->blob != NULL) {
        blob_return(part->blob);
        out->pool->blob_count--;
        mem_free(part);
    } else {
        pool_give(out->pool, part);
    }
}

/* Ends the writing into the last chunk. */
static void seal(struct reply *out)
{
    if (out->at != NULL) {
        out->last->len = (size_t)(out->at - out->last->data);
        out->sealed_len += out->last->len;
        out->at = out->end = NULL;
    }
}

/* Links a part behind the others, the last of which is sealed. */
static void link_part(struct reply *out, struct reply_part *part)
{
    part->next = NULL;
    if (out->last == NULL) {
        out->first = part;
        out->share_count = 0;
    } else {
        out->last->next = part;
    }
    out->last = part;
    out->memory += part_memory(part);
}

static void start_chunk(struct reply *out)
{
    seal(out);
    struct reply_part *part = pool_take(out->pool);
    char *bytes = (char *)(part + 1);
    *part = (struct reply_part){.data = bytes, .cap = CHUNK_CAP};
    link_part(out, part);
    out->at = bytes;
    out->end = bytes + CHUNK_CAP;
}

/* Room for `len` bytes (at most CHUNK_CAP). The caller writes there and advances `at`. */
static char *reserve(struct reply *out, size_t len)
{
    if ((size_t)(out->end - out->at) < len) {
        start_chunk(out);
    }
    return out->at;
}

void reply_deinit(struct reply *out)
{
    while (out->first != NULL) {
        struct reply_part *part = out->first;
        out->first = part->next;
        part_free(out, part);
    }
    out->last = NULL;
    out->at = out->end = NULL;
    out->sealed_len = 0;
}

/* Bytes of the chunk being written. */
static size_t tail_len(const struct reply *out)
{
    return out->at == NULL ? 0 : (size_t)(out->at - out->last->data);
}

size_t reply_len(const struct reply *out)
{
    return out->sealed_len + tail_len(out);
}

void reply_check(const struct reply *out)
{
    size_t sealed_len = 0, memory = 0;
    const struct reply_part *last = NULL;
    for (const struct reply_part *part = out->first; part != NULL; part = part->next) {
        bool is_tail = part == out->last && out->at != NULL;
        sealed_len += is_tail ? 0 : part->len;
        memory += part_memory(part);
        ASSERT((is_tail ? tail_len(out) : part->len) > 0);
        last = part;
    }
    ASSERT(last == out->last && sealed_len == out->sealed_len && memory == out->memory);
    ASSERT((out->at == NULL) == (out->end == NULL));
    if (out->at != NULL) {
        ASSERT(last != NULL && last->blob == NULL && last->data <= out->at && out->at <= out->end);
        ASSERT(out->end == (const char *)(last + 1) + last->cap);
    }
}

/* ---- Sending ---- */

unsigned reply_peek(struct reply *out, struct iovec *parts, unsigned part_max, size_t *total)
{
    unsigned count = 0;
    *total = 0;
    for (struct reply_part *part = out->first; part != NULL && count < part_max;
         part = part->next) {
        bool is_tail = part == out->last && out->at != NULL;
        size_t len = is_tail ? tail_len(out) : part->len;
        parts[count++] = (struct iovec){.iov_base = (void *)(uintptr_t)part->data, .iov_len = len};
        *total += len;
    }
    return count;
}

void reply_sent(struct reply *out, size_t len)
{
    ASSERT(len <= reply_len(out));
    while (len > 0) {
        struct reply_part *part = out->first;
        ASSERT(part != NULL);
        bool is_tail = part == out->last && out->at != NULL;
        size_t part_len = is_tail ? tail_len(out) : part->len;
        size_t done = len < part_len ? len : part_len;
        len -= done;
        part->data += done;
        if (!is_tail) {
            part->len -= done;
            out->sealed_len -= done;
        }
        if (done < part_len) {
            return;
        }
        out->first = part->next;
        if (out->first == NULL) {
            out->last = NULL;
            out->at = out->end = NULL;
        }
        part_free(out, part);
    }
}

/* Forgets everything without freeing it. */
static void forget(struct reply *out)
{
    out->at = out->end = NULL;
    out->first = out->last = NULL;
    out->sealed_len = 0;
    out->memory = 0;
}

void reply_splice(struct reply *out, struct reply *from)
{
    if (from->first == NULL) {
        return;
    }
    if (out->is_muted) {
        reply_deinit(from);
        return;
    }
    size_t len = tail_len(from);
    if (from->first == from->last && len > 0 && (size_t)(out->end - out->at) >= len) {
        memcpy(out->at, from->first->data, len);
        out->at += len;
        reply_deinit(from);
        return;
    }
    seal(out);
    if (out->last == NULL) {
        out->first = from->first;
    } else {
        out->last->next = from->first;
    }
    out->last = from->last;
    out->at = from->at;
    out->end = from->end;
    out->sealed_len += from->sealed_len;
    out->memory += from->memory;
    forget(from);
}

/* ---- Bytes ---- */

void reply_raw(struct reply *out, struct slice bytes)
{
    if (out->is_muted) {
        return;
    }
    while (bytes.len > 0) {
        size_t room = (size_t)(out->end - out->at);
        if (room == 0) {
            start_chunk(out);
            continue;
        }
        size_t part = bytes.len < room ? bytes.len : room;
        memcpy(out->at, bytes.data, part);
        out->at += part;
        bytes = slice_of(bytes.data + part, bytes.len - part);
    }
}

void reply_number(struct reply *out, char kind, int64_t value)
{
    if (out->is_muted) {
        return;
    }
    char *at = reserve(out, REPLY_HEAD_MAX);
    *at++ = kind;
    at += num_format_i64(at, value);
    memcpy(at, "\r\n", 2);
    out->at = at + 2;
}

static void end_line(struct reply *out)
{
    reply_raw(out, slice_of("\r\n", 2));
}

static bool ends_line(char byte)
{
    return byte == '\r' || byte == '\n';
}

/* One line: CR and LF within become spaces, at its ends they are dropped. */
static void write_line(struct reply *out, char kind, struct slice text)
{
    while (text.len > 0 && ends_line(text.data[text.len - 1])) {
        text.len--;
    }
    while (text.len > 0 && ends_line(*text.data)) {
        text = slice_of(text.data + 1, text.len - 1);
    }
    reply_raw(out, slice_of(&kind, 1));
    for (size_t from = 0; from < text.len;) {
        size_t to = from;
        while (to < text.len && !ends_line(text.data[to])) {
            to++;
        }
        reply_raw(out, slice_of(text.data + from, to - from));
        if (to < text.len) {
            reply_raw(out, slice_of(" ", 1));
            to++;
        }
        from = to;
    }
    end_line(out);
}

void reply_status(struct reply *out, const char *text)
{
    write_line(out, '+', slice_from_text(text));
}

/* ---- Errors ---- */

void reply_error(struct reply *out, const char *text)
{
    const char *code = text;
    size_t code_len = strcspn(text, " \r\n");
    if (text[code_len] != ' ') { /* Redis counts what is one word as ERR. */
        code = "ERR";
        code_len = strlen(code);
    }
    if (code_len >= sizeof out->error_code) {
        code_len = sizeof out->error_code - 1;
    }
    memcpy(out->error_code, code, code_len);
    out->error_code[code_len] = '\0';
    out->error_count++;
    write_line(out, '-', slice_from_text(text));
}

void reply_errorf(struct reply *out, const char *format, ...)
{
    char text[REPLY_ERROR_LEN_MAX + 1];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    reply_error(out, text);
}

/* ---- Bulks ---- */

void reply_bulk_slow(struct reply *out, struct slice bytes)
{
    reply_number(out, '$', (int64_t)bytes.len);
    reply_raw(out, bytes);
    end_line(out);
}

void reply_bulk_text(struct reply *out, const char *text)
{
    reply_bulk(out, slice_from_text(text));
}

void reply_bulk_integer(struct reply *out, int64_t value)
{
    char digits[NUM_I64_TEXT_MAX + 1];
    reply_bulk(out, slice_of(digits, num_format_i64(digits, value)));
}

/* Puts a part of a blob behind what there is, by reference. Limits count `memory` bytes. */
static void link_blob(struct reply *out, struct blob *blob, struct slice bytes, size_t memory)
{
    seal(out);
    struct reply_part *part = mem_alloc(sizeof *part);
    out->pool->blob_count++;
    *part = (struct reply_part){.blob = blob_lend(blob, &out->pool->orphaned_bytes),
                                .data = bytes.data,
                                .len = bytes.len,
                                .cap = memory};
    link_part(out, part);
    out->sealed_len += bytes.len;
}

void reply_bulk_blob(struct reply *out, struct blob *blob, size_t from, size_t len)
{
    ASSERT(from <= blob->len && len <= blob->len - from);
    if (len < BLOB_LEN_MIN || out->is_muted) {
        reply_bulk(out, slice_of(blob->bytes + from, len));
        return;
    }
    reply_number(out, '$', (int64_t)len);
    link_blob(out, blob, slice_of(blob->bytes + from, len), blob->cap);
    end_line(out);
}

void reply_bytes_blob(struct reply *out, struct blob *blob)
{
    if (!out->is_muted) {
        link_blob(out, blob, blob_slice(blob), blob->cap);
    }
}

void reply_share(struct reply *out, struct blob *blob)
{
    size_t len = blob->len;
    bool fits = (size_t)(out->end - out->at) >= len && len <= SHARE_FIT_MAX;
    if (fits || (len <= SHARE_SHORT_MAX && out->share_count >= SHARE_RUN_MAX)) {
        reply_raw(out, blob_slice(blob));
        return;
    }
    link_blob(out, blob, blob_slice(blob), blob->cap);
    out->share_count = (uint8_t)(out->share_count + (out->share_count < SHARE_RUN_MAX));
}

void reply_refer(struct reply *out, struct blob *blob, size_t from, size_t len)
{
    const char *data = blob->bytes + from;
    ASSERT(from <= blob->len && len <= blob->len - from);
    if (len == 0) {
        return;
    }
    struct reply_part *last = out->at == NULL ? out->last : NULL;
    if (last == NULL || last->blob != blob || last->data + last->len != data) {
        link_blob(out, blob, slice_of(data, len), len);
        return;
    }
    last->len += len;
    last->cap += len;
    out->sealed_len += len;
    out->memory += len;
}

/* ---- Other types ---- */

void reply_null_array(struct reply *out)
{
    reply_raw(out, slice_from_text(out->protocol == 3 ? "_\r\n" : "*-1\r\n"));
}

/* The header of an aggregate in the protocol spoken. */
static void write_header(struct reply *out, char kind, size_t count)
{
    if (out->protocol == 3 || kind == '*') {
        reply_number(out, kind, (int64_t)count);
    } else {
        reply_number(out, '*', (int64_t)(kind == '%' ? count * 2 : count));
    }
}

void reply_array(struct reply *out, size_t count)
{
    write_header(out, '*', count);
}

void reply_map(struct reply *out, size_t pair_count)
{
    write_header(out, '%', pair_count);
}

void reply_set(struct reply *out, size_t count)
{
    write_header(out, '~', count);
}

void reply_push(struct reply *out, size_t count)
{
    write_header(out, '>', count);
}

void reply_attribute(struct reply *out, size_t pair_count)
{
    DEBUG_ASSERT(out->protocol == 3);
    reply_number(out, '|', (int64_t)pair_count);
}

void reply_double(struct reply *out, double value)
{
    char text[NUM_DOUBLE_TEXT_MAX];
    struct slice digits = slice_of(text, num_format_double(text, value));
    if (out->protocol == 3) {
        write_line(out, ',', digits);
    } else {
        reply_bulk(out, digits);
    }
}

void reply_bool(struct reply *out, bool value)
{
    if (out->protocol == 3) {
        reply_raw(out, slice_from_text(value ? "#t\r\n" : "#f\r\n"));
    } else {
        reply_integer(out, value);
    }
}

void reply_big_number(struct reply *out, struct slice digits)
{
    if (out->protocol == 3) {
        write_line(out, '(', digits);
    } else {
        reply_bulk(out, digits);
    }
}

void reply_verbatim(struct reply *out, const char format[3], struct slice text)
{
    if (out->protocol == 2) {
        reply_bulk(out, text);
        return;
    }
    reply_number(out, '=', (int64_t)text.len + 4);
    reply_raw(out, slice_of(format, 3));
    reply_raw(out, slice_of(":", 1));
    reply_raw(out, text);
    end_line(out);
}

void reply_verbatim_parts(struct reply *out, const char format[3], struct reply *text, size_t len)
{
    if (out->protocol == 2) {
        reply_number(out, '$', (int64_t)len);
    } else {
        reply_number(out, '=', (int64_t)len + 4);
        reply_raw(out, slice_of(format, 3));
        reply_raw(out, slice_of(":", 1));
    }
    reply_splice(out, text);
    end_line(out);
}

/* ---- Aggregates of a count not yet known ---- */

void reply_begin(struct reply *out, struct reply_mark *mark, char kind)
{
    mark->saved = *out;
    mark->kind = kind;
    forget(out);
}

void reply_end(struct reply *out, struct reply_mark *mark, size_t count)
{
    struct reply content = *out;
    struct reply *saved = &mark->saved;
    out->at = saved->at;
    out->end = saved->end;
    out->first = saved->first;
    out->last = saved->last;
    out->sealed_len = saved->sealed_len;
    out->memory = saved->memory;
    write_header(out, mark->kind, count);
    reply_splice(out, &content);
}
