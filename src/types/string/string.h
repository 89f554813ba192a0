/* Strings: integers as integers, short ones inside the block, long ones as shared blobs.
 *
 *     encoding   payload                           OBJECT ENCODING
 *     INT        i64                               int
 *     INLINE     the bytes (< BLOB_LEN_MIN)        embstr up to 44 bytes and never edited, else raw
 *     BLOB       pointer to a struct blob          raw */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/slice.h"
#include "types/value.h"

enum string_encoding { STRING_INT, STRING_INLINE, STRING_BLOB };

enum {
    STRING_EMBSTR_LEN_MAX = 44, /* Redis's limit for the name "embstr". */
    STRING_NEVER_INT_LEN = 21,  /* Texts from this length on are no integers. */
};

/* Room to print an integer in. */
struct string_scratch {
    char text[24];
};

/* The content; an INT is printed into `scratch`. Borrowed until the value changes. O(1). */
struct slice string_get(const struct value *value, struct string_scratch *scratch);
size_t string_len(const struct value *value);

/* True when the content is an integer in Redis's strict form (whatever the encoding). */
bool string_get_i64(const struct value *value, int64_t *out);

/* The blob of a BLOB string, else NULL (borrowed). */
struct blob *string_blob(const struct value *value);

/* A value that holds `text` under `key`: INT when it is a canonical integer, else INLINE or BLOB (a
 * copy). NULL: no memory. */
struct value *string_try_new(struct slice key, struct slice text, bool has_expire)
    __attribute__((warn_unused_result));

/* The same, but bytes stay bytes even when they are a canonical integer (INCRBYFLOAT's results). */
struct value *string_try_new_text(struct slice key, struct slice text, bool has_expire)
    __attribute__((warn_unused_result));
struct value *string_try_new_i64(struct slice key, int64_t number, bool has_expire)
    __attribute__((warn_unused_result));

/* Takes one reference of the blob on success. */
struct value *string_try_new_blob(struct slice key, struct blob *take_blob, bool has_expire)
    __attribute__((warn_unused_result));

/* The commonest change, without a call: true when `value` was a string of the same length without
 * an expiry, to which nothing but its bytes had to be written. False: nothing was done. */
static inline bool string_overwrite(struct value *value, struct slice text)
{
    uint8_t plain = (uint8_t)((unsigned)VALUE_STRING | (unsigned)STRING_INLINE << 4);
    if (value->tag != plain || value->flags != 0 || value->len != text.len ||
        text.len < STRING_NEVER_INT_LEN) {
        return false;
    }
    memcpy(value_payload(value), text.data, text.len);
    return true;
}

/* Overwrites the string at `place` (any encoding) with `text`, which is not part of it, in place
 * when the block's size class allows; `has_expire` adds or drops the expiry's room (a kept expiry
 * keeps its time). False: no memory, nothing changed. */
bool string_try_set(struct place *place, struct slice text, bool has_expire)
    __attribute__((warn_unused_result));
bool string_try_set_text(struct place *place, struct slice text, bool has_expire)
    __attribute__((warn_unused_result));
bool string_try_set_i64(struct place *place, int64_t number, bool has_expire)
    __attribute__((warn_unused_result));
bool string_try_set_blob(struct place *place, struct blob *take_blob, bool has_expire)
    __attribute__((warn_unused_result));

/* Appends; the string becomes (or stays) editable bytes. Amortised O(bytes appended). */
bool string_try_append(struct place *place, struct slice tail) __attribute__((warn_unused_result));

/* Writes `text` at `offset`, padding with zero bytes up to it. */
bool string_try_set_range(struct place *place, size_t offset, struct slice text)
    __attribute__((warn_unused_result));

/* The bytes for editing in place (bitmaps): at least `len` long, zero padded; converts INT and
 * un-shares a blob. NULL: no memory. */
char *string_try_edit(struct place *place, size_t len) __attribute__((warn_unused_result));

/* Bytes that string_try_edit would have to copy for that, because they are shared or have to move.
 * A string that grows where it is costs nothing, whatever its length. */
size_t string_edit_cost(const struct value *value, size_t len);

/* The same as string_try_edit where nothing has to be copied and the block must not move
 * (string_edit_cost is 0): the bytes of a BLOB. NULL: no memory. */
char *string_try_edit_in_place(struct value *value, size_t len);

/* A blob for an edited string of `len` bytes, with room to grow into; it holds nothing yet. NULL:
 * no memory. */
struct blob *string_try_new_room(size_t len) __attribute__((warn_unused_result));

/* Puts a string that was edited apart in place. Takes one reference of the blob on success. */
bool string_try_put_edited(struct place *place, struct blob *take_blob)
    __attribute__((warn_unused_result));

extern const struct value_ops string_ops;
