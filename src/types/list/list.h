/* Lists: sequences of byte strings with two ends.
 *
 *     encoding   payload                                          OBJECT ENCODING
 *     PACKED     the entries, inside the block (short lists)      listpack
 *     CHUNKED    pointer to chunks of packed entries              listpack, quicklist
 *
 * Long elements are blobs that the list refers to. Names begin with list_ as those of the intrusive
 * list in base/list.h do; no name is in both. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/list.h"
#include "base/num.h"
#include "base/slice.h"
#include "types/limits.h"
#include "types/value.h"

struct work_queue;

enum list_end { LIST_HEAD, LIST_TAIL };

/* Elements longer than this are blobs. */
#ifdef OURO_HOSTILE
enum { LIST_INLINE_MAX = 40 };
#else
enum { LIST_INLINE_MAX = 1024 };
#endif

/* An element as it is held, borrowed until the list changes. */
struct list_item {
    const char *data;  /* NULL: an integer, see number. */
    size_t len;        /* Bytes at data. */
    int64_t number;    /* When data is NULL. */
    struct blob *blob; /* Not NULL: data lies in this blob. */
};

/* Room to print an integer in. */
struct list_scratch {
    char text[NUM_I64_TEXT_MAX + 1];
};

/* The bytes of an element; an integer is printed into `scratch`. */
static inline struct slice list_item_text(const struct list_item *item,
                                          struct list_scratch *scratch)
{
    if (item->data != NULL) {
        return slice_of(item->data, item->len);
    }
    return slice_of(scratch->text, num_format_i64(scratch->text, item->number));
}

/* An empty list, to be filled before it is stored: no stored list is empty. NULL: no memory. */
struct value *list_try_new(struct slice key, bool has_expire) __attribute__((warn_unused_result));

size_t list_len(const struct value *value); /* O(1). */

/* Whether it is long enough for chunks, behind a pointer. */
bool list_is_chunked(const struct value *value);

/* Adds an element at an end. `take_blob`, when not NULL, holds exactly `text`; its reference is
 * taken on success. `text` is not part of the list. Amortised O(bytes). False: no memory, nothing
 * changed. */
bool list_try_push(struct place *place, enum list_end end, struct slice text,
                   struct blob *take_blob, const struct type_limits *limits)
    __attribute__((warn_unused_result));

/* The element at `index` < length. O(1) at the ends, else O(chunks), see list.c. */
struct list_item list_get(const struct value *value, size_t index);

/* Removes `count` <= length elements at an end; much is freed in slices through `work`. The list
 * may be empty afterwards: then it must be removed. O(1) for one, else O(count). */
void list_drop(struct place *place, enum list_end end, size_t count, struct work_queue *work);

/* Replaces the element at `index`, or inserts one before it (index == length: at the tail). `text`
 * is not part of the list. False: no memory, nothing changed. */
bool list_try_set(struct place *place, size_t index, struct slice text, struct blob *take_blob,
                  const struct type_limits *limits) __attribute__((warn_unused_result));
bool list_try_insert(struct place *place, size_t index, struct slice text, struct blob *take_blob,
                     const struct type_limits *limits) __attribute__((warn_unused_result));

/* Removes up to `max` elements equal to `text`, seen from `from`; returns how many were. The list
 * may be empty afterwards. O(n). For long lists see list_removal_begin. */
size_t list_remove_equal(struct place *place, enum list_end from, struct slice text, size_t max);

/* ---- Walks: the list must not change meanwhile ---- */

struct list_iterator {
    const struct value *value;
    const char *at;    /* The next entry's first byte; backwards: the byte behind it. */
    const char *bound; /* Where the bytes at hand end in the direction of the walk. */
    uint32_t chunk;    /* Of the chunk at hand. */
    bool is_backward;
};

/* Begins at `index` <= length, towards the tail, or towards the head with is_backward. */
void list_iterate(const struct value *value, size_t index, bool is_backward,
                  struct list_iterator *iterator);

/* False at the end. */
bool list_next(struct list_iterator *iterator, struct list_item *item);

/* A text to look for: compares with elements without unpacking them. Borrows `text`. */
struct list_needle {
    struct slice text;
    size_t packed_len; /* 0: only blobs can be equal. */
    char packed[LIST_INLINE_MAX + 8];
};
void list_needle_init(struct list_needle *needle, struct slice text);

/* Moves to the next element and tells whether it is equal to the needle. False in `*is_equal` and
 * as the result at the end. */
bool list_next_equal(struct list_iterator *iterator, const struct list_needle *needle,
                     bool *is_equal);

/* ---- Removal in steps: nobody else may change the list, or read it, meanwhile ---- */

struct list_removal {
    struct list_needle needle;
    enum list_end from;
    size_t max;     /* Elements that may go. */
    size_t removed; /* Those that went. */
    uint32_t done;  /* Private: chunks at the end `from` that were looked at. */
};

/* Borrows `text`. */
void list_removal_begin(struct list_removal *removal, enum list_end from, struct slice text,
                        size_t max);

/* Looks at about 8 KiB of the list. True: all is done; list_removal_end must follow, by which the
 * list may change its form. It may be empty then. */
bool list_removal_step(struct value *value, struct list_removal *removal);
void list_removal_end(struct place *place);

/* ---- Pictures: a list as it was at one moment, told in order while it goes on changing ---- */

enum { LIST_PICTURE_CLEAN = 16 };

/* Embedded in its owner, which must not move it. */
struct list_picture {
    struct list_body *body; /* NULL: the list is gone, or there is no picture. */
    uintptr_t *chunks; /* In order; the low bit marks a copy of ours, 0 what was told. Owned. */
    uint32_t chunk_count;
    uint32_t next;                       /* Of the chunk to be told. */
    uint32_t next_at;                    /* Bytes of its entries that were told. */
    uint32_t hint;                       /* Where the last chunk was found. */
    uint64_t count;                      /* Elements at the beginning. */
    uint64_t told_count;                 /* Of them, told. */
    size_t copied;                       /* Bytes of copies. */
    uintptr_t clean[LIST_PICTURE_CLEAN]; /* Chunks that are known to be none of ours. */
    struct list parked;                  /* Jobs that free what it reads, see work_park. */
};

typedef void (*list_tell_fn)(void *context, const struct list_item *item);

/* False: the list is short and lies in its block, there is nothing to begin. One allocation of 8
 * bytes per chunk. */
bool list_picture_begin(struct list_picture *picture, const struct value *value);

/* Tells about `count` elements, of which a long one counts once more for each KiB. True: there are
 * no more. */
bool list_picture_step(struct list_picture *picture, size_t count, list_tell_fn tell,
                       void *context);

/* Ends it, early or not; harmless for a zeroed one. Parked jobs are moved to a queue before. */
void list_picture_end(struct list_picture *picture);

extern const struct value_ops list_ops;
