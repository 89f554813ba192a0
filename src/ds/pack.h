/* A pack is a sequence of byte strings in one run of memory, as small as it goes: one byte of
 * overhead for a short string, and one to nine bytes in all for an integer in canonical decimal
 * form. Small collections live in packs.
 *
 * The memory is the caller's: a pack is a struct slice, an item is named by its offset, and nothing
 * here allocates. To change a pack, the caller makes room (or gives it back) around pack_splice:
 *
 *     insert or grow:  make room for len + more, pack_splice(data, len, at, 0, more), pack_write
 *     remove or shrink: pack_splice(data, len, at, less, 0), give back len - less
 *
 * An encoding is canonical: equal strings have equal bytes, so items are compared and found without
 * decoding. Everything but pack_check_bytes trusts the bytes. Walks go forward; one costs about 2
 * ns per item. The layout is in pack.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/num.h"
#include "base/slice.h"

enum {
    PACK_DIGITS = NUM_I64_TEXT_MAX + 1, /* Bytes that the text of an integer may need. */
    PACK_HEAD_MAX = 9,                  /* Longest header: an integer of eight bytes. */
    PACK_STAMP_LEN = 7,                 /* What a stamp adds to an item. */
};

#define PACK_NONE SIZE_MAX                 /* Offset of what was not found. */
#define PACK_TEXT_MAX ((size_t)UINT32_MAX) /* Longest string that an item can hold. */

/* One item, borrowed from the pack. */
struct pack_item {
    const char *data; /* The bytes; NULL: an integer. */
    size_t len;       /* Of data; 0 for an integer. */
    int64_t number;   /* The integer; 0 for bytes. */
};

/* ---- Reading: offsets are of items or, one past the last, the pack's length ---- */

/* Reads the item at `at`, which is below the length; returns the offset of the next one. */
size_t pack_next(struct slice pack, size_t at, struct pack_item *item);

/* The offset `count` items after `at`, at most the length. */
size_t pack_skip(struct slice pack, size_t at, size_t count);

/* Items from `at` to the end. O(items). */
size_t pack_count(struct slice pack, size_t at);

/* The item's text; of an integer, written to `digits`. */
struct slice pack_text(const struct pack_item *item, char digits[PACK_DIGITS]);

/* The text as a number: free for integers, else a strict parse. */
static inline bool pack_item_i64(const struct pack_item *item, int64_t *out)
{
    if (item->data != NULL) {
        return false; /* What reads as a canonical integer is stored as one. */
    }
    *out = item->number;
    return true;
}

/* The first of the items at `at`, `at + stride`, ... whose text is `text`, or PACK_NONE. Stride 2
 * finds a field among fields and values. With `index` not NULL, the number of strides walked: of
 * what was found, or how many there are. */
size_t pack_find(struct slice pack, size_t at, struct slice text, size_t stride, size_t *index);

/* Whether the item at `at` has this text. */
bool pack_is(struct slice pack, size_t at, struct slice text);

/* A text made ready for many comparisons: its encoded header and what follows it. */
struct pack_wanted {
    char head[PACK_HEAD_MAX]; /* A whole integer, or the header of a text. */
    uint8_t head_len;
    struct slice text; /* Borrowed; empty for an integer. */
};
struct pack_wanted pack_want(struct slice text);

/* Whether the item that begins here is what is wanted. The first byte decides most comparisons;
 * when it agrees, the rest of the header is there. */
static inline bool pack_matches(const char *item, const struct pack_wanted *wanted)
{
    return item[0] == wanted->head[0] && memcmp(item, wanted->head, wanted->head_len) == 0 &&
           (wanted->text.len == 0 ||
            memcmp(item + wanted->head_len, wanted->text.data, wanted->text.len) == 0);
}

/* ---- Writing ---- */

/* Bytes that `text`, or a number, takes as an item. */
size_t pack_size(struct slice text);
size_t pack_size_i64(int64_t number);

/* Writes an item of pack_size bytes to `to` and returns how many. `text` does not overlap it. */
size_t pack_write(char *to, struct slice text);
size_t pack_write_i64(char *to, int64_t number);

/* Replaces `old_len` bytes at `at` by a gap of `new_len` bytes, for the caller to write into. `len`
 * is the length before; `data` has room for len - old_len + new_len. */
void pack_splice(char *data, size_t len, size_t at, size_t old_len, size_t new_len);

/* ---- Stamps: an item may carry a number of 48 bits in front of it, which reading steps over. The
 * text of a stamped item is not found by pack_find. ---- */

/* The stamp of the item at `at`, or -1. */
int64_t pack_stamp(struct slice pack, size_t at);

/* Writes PACK_STAMP_LEN bytes; the item follows. */
void pack_write_stamp(char *to, int64_t stamp);

/* ---- Bytes from elsewhere ---- */

/* Whether these bytes are a pack in canonical form; the number of items then goes to `count`. For
 * untrusted bytes and for checks of invariants. */
bool pack_check_bytes(struct slice pack, size_t *count);
