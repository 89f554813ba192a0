/* Inside lists: entries, chunks and the directory of chunks. See list.c for the whole picture. */
#pragma once

#include <string.h>

#include "base/assert.h"
#include "base/work.h"
#include "types/list/list.h"

enum list_encoding { LIST_PACKED, LIST_CHUNKED };

#ifdef OURO_HOSTILE
enum { LIST_EMBED_MAX = 48, CHUNK_LEN_MIN = 64, LIST_FREE_DIRECT_MAX = 2 };
#else
enum {
    LIST_EMBED_MAX = 512,     /* Bytes of entries that a block holds. */
    CHUNK_LEN_MIN = 1024,     /* Bytes of a list's first chunk, its header included. */
    LIST_FREE_DIRECT_MAX = 64 /* Chunks that are freed at once. */
};
#endif

enum { LIST_COUNT_MODE_LEN = 8 * 1024 }; /* Bytes of a chunk when its entries are limited. */

/* ---- Entries: head, bytes, and the length of both, readable from either side ----
 *
 *     0..223          that many bytes follow
 *     ENTRY_INT + n   an integer of n = 1..8 bytes, little endian, two's complement
 *     ENTRY_LONG      u16 length, then the bytes (224 and more)
 *     ENTRY_BLOB      a pointer to a struct blob
 *
 * Behind it stands the length so far: one byte below ENTRY_BACK_LONG, else a u16 and that byte. */
enum {
    ENTRY_SHORT_MAX = 223,
    ENTRY_INT = 224,
    ENTRY_LONG = 240,
    ENTRY_BLOB = 241,
    ENTRY_BACK_LONG = 255,
    ENTRY_LEN_MAX = LIST_INLINE_MAX + 8,
};

/* An element ready to be written. */
struct list_entry {
    unsigned char head[9];
    uint32_t head_len;
    struct slice body;
    struct blob *blob; /* What the head refers to. */
    bool is_copy;      /* The blob was made for this entry. */
    uint32_t len;      /* Of all. */
};

static inline uint32_t entry_read_u16(const unsigned char *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8;
}

static inline uint32_t entry_back_len(uint32_t len)
{
    return len < ENTRY_BACK_LONG ? 1 : 3;
}

/* Bytes of the whole entry that begins, or ends, at `at`. */
static inline uint32_t entry_len_at(const char *at)
{
    const unsigned char *head = (const unsigned char *)at;
    uint32_t len = 0;
    if (head[0] <= ENTRY_SHORT_MAX) {
        len = 1 + (uint32_t)head[0];
    } else if (head[0] < ENTRY_LONG) {
        len = 1 + (uint32_t)head[0] - ENTRY_INT;
    } else if (head[0] == ENTRY_LONG) {
        len = 3 + entry_read_u16(head + 1);
    } else {
        len = 1 + sizeof(struct blob *);
    }
    return len + entry_back_len(len);
}

static inline uint32_t entry_len_before(const char *end)
{
    const unsigned char *back = (const unsigned char *)end - 1;
    return *back != ENTRY_BACK_LONG ? (uint32_t)*back + 1 : entry_read_u16(back - 2) + 3;
}

static inline struct blob *entry_blob(const char *at)
{
    if ((unsigned char)*at != ENTRY_BLOB) {
        return NULL;
    }
    struct blob *blob;
    memcpy(&blob, at + 1, sizeof(blob));
    return blob;
}

/* Reads the entry at `at` and returns its length. */
uint32_t entry_read(const char *at, struct list_item *item);

/* False: no memory for the blob that a long text needs. */
bool entry_prepare(struct list_entry *entry, struct slice text, struct blob *take_blob);

/* Writes entry->len bytes. */
static inline void entry_write(char *at, const struct list_entry *entry)
{
    memcpy(at, entry->head, entry->head_len);
    at += entry->head_len;
    if (entry->body.len > 0) {
        memcpy(at, entry->body.data, entry->body.len);
        at += entry->body.len;
    }
    uint32_t len = entry->head_len + (uint32_t)entry->body.len;
    if (len < ENTRY_BACK_LONG) {
        *at = (char)len;
    } else {
        at[0] = (char)len;
        at[1] = (char)(len >> 8);
        at[2] = (char)ENTRY_BACK_LONG;
    }
}

/* The offset of the `index`-th of `count` entries in bytes[first..end); index == count: end. */
uint32_t entries_seek(const char *bytes, uint32_t first, uint32_t end, uint32_t count,
                      uint32_t index);

/* Drops the blobs of a run of entries. */
void entries_drop_blobs(const char *at, const char *end);

/* Asserts that a run of entries is well formed; returns their number. */
uint32_t entries_check(const char *at, const char *end, uint64_t *blob_count);

/* ---- The packed form inside a block: count, bytes used, entries, free bytes ---- */

enum { PACKED_HEAD_LEN = 4 };

static inline uint32_t packed_count(const struct value *value)
{
    return entry_read_u16((const unsigned char *)value_payload_const(value));
}

static inline uint32_t packed_used(const struct value *value)
{
    return entry_read_u16((const unsigned char *)value_payload_const(value) + 2);
}

static inline void packed_set(struct value *value, uint32_t count, uint32_t used)
{
    char *payload = value_payload(value);
    payload[0] = (char)count;
    payload[1] = (char)(count >> 8);
    payload[2] = (char)used;
    payload[3] = (char)(used >> 8);
}

static inline char *packed_bytes(struct value *value)
{
    return value_payload(value) + PACKED_HEAD_LEN;
}

static inline const char *packed_bytes_const(const struct value *value)
{
    return value_payload_const(value) + PACKED_HEAD_LEN;
}

/* ---- Chunks ---- */

struct list_chunk {
    uint32_t cap;        /* Bytes owned. */
    uint32_t first, end; /* Entries lie in bytes[first..end). */
    char bytes[];
};

/* A chunk in the directory. The count stands here, so that finding an index reads the directory
 * alone. */
struct list_ref {
    struct list_chunk *chunk;
    uint32_t count;
    uint32_t blob_count; /* Entries that are blobs. */
};

struct list_body {
    uint64_t len;          /* Elements in all chunks. */
    uint64_t blob_count;   /* Of them, blobs. */
    struct list_ref *refs; /* refs[first .. first + count) are in use. */
    uint32_t cap, first, count;
    struct list_picture *picture; /* NULL, or who is shown a chunk before it changes. */
};

/* What a chunk may grow to. */
struct chunk_limits {
    uint32_t len_max;   /* Bytes, the header included. */
    uint32_t count_max; /* Entries. */
};

static inline struct list_body *list_body(const struct value *value)
{
    return (struct list_body *)(uintptr_t)value_word(value);
}

static inline struct list_ref *body_ref(const struct list_body *body, uint32_t index)
{
    return body->refs + body->first + index;
}

static inline uint32_t chunk_used(const struct list_chunk *chunk)
{
    return chunk->end - chunk->first;
}

struct chunk_limits chunk_limits_of(const struct type_limits *limits);

struct list_body *body_try_new(void);
void body_free_now(struct list_body *body);

/* Frees a body, in slices when it is large. */
void body_free(struct list_body *body, struct work_queue *work);

/* The slow and the general way to push; the entry's blob, if any, is then the list's. */
bool body_try_push(struct list_body *body, enum list_end end, const struct list_entry *entry,
                   const struct chunk_limits *limits);

/* A place in a body: the chunk, the entry in it, and the offset of that entry's bytes. */
struct body_spot {
    uint32_t chunk, entry, at;
};
struct body_spot body_seek(const struct list_body *body, uint64_t index);

/* Inserts before the element at `index` < length. */
bool body_try_insert(struct list_body *body, uint64_t index, const struct list_entry *entry,
                     const struct chunk_limits *limits);

/* Overwrites the element at `index` in its chunk; false: it does not fit there. */
bool body_replace(struct list_body *body, uint64_t index, const struct list_entry *entry);

void body_delete(struct list_body *body, uint64_t index);

void body_drop(struct list_body *body, enum list_end end, uint64_t count, struct work_queue *work);

/* Looks at the next chunk for entries that are to be removed. True: there is no other. */
bool body_removal_step(struct list_body *body, struct list_removal *removal);

/* A chunk that has become much too large for what it holds shrinks; neighbours that are nearly
 * empty become one. */
void body_tidy(struct list_body *body, uint32_t index);

struct list_body *body_try_copy(const struct list_body *body);

/* ---- list_picture.c ---- */

/* The chunk is about to change, or to be freed. */
void list_picture_show(struct list_picture *picture, const struct list_chunk *chunk);

/* The body is freed at once: all that it has is shown first. */
void list_picture_let_go(struct list_body *body);

static inline void body_touch(const struct list_body *body, uint32_t index)
{
    if (__builtin_expect(body->picture != NULL, 0)) {
        list_picture_show(body->picture, body_ref(body, index)->chunk);
    }
}

bool needle_is_at(const struct list_needle *needle, const char *at);
