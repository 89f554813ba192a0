/* Strings, in the smallest of three forms.
 *
 *     INT      | header | [expire] | key | i64                     canonical integers
 *     INLINE   | header | [expire] | key | bytes ...               shorter than BLOB_LEN_MIN
 *     BLOB     | header | [expire] | key | pointer |  --> | refs | len | cap | bytes ... |
 *
 * Costs. Reading is O(1): an INT is printed into the caller's scratch. Overwriting a string with
 * one of the same length writes the payload and nothing else; within the block's size class it
 * writes the length too; only beyond that does it allocate. Appending is amortised O(bytes
 * appended): a block grows by size classes, which are a quarter of a power of two apart, and a blob
 * takes twice what it needs, but at most BLOB_SPARE_MAX more. From REGION_LEN_MIN on it grows where
 * it lies, with zero bytes that nobody writes: any offset is as near as the next byte.
 *
 * Sharing. A blob may be referenced by replies that are being sent and by copies of the value.
 * Whoever changes one that has several owners copies it first.
 *
 * Invariants:
 *   1. An INLINE string is shorter than BLOB_LEN_MIN.
 *   2. INT and BLOB payloads are 8 bytes long.
 *   3. A canonical integer that was set as a whole is an INT; edited bytes stay bytes, as in Redis.
 *   4. VALUE_WAS_EDITED is never set on an INT.
 *
 * Rejected: spare room inside blocks. The allocator's rounding already leaves some, and asking for
 * the block's real size costs less than the two bytes that would store it. */
#include "types/string/string.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/pieces.h"

/* A growing blob gets at most this much more than it needs: what Redis gives its strings. */
enum { BLOB_SPARE_MAX = 1024 * 1024 };

static_assert((int)BLOB_LEN_MIN <= (int)VALUE_INLINE_MAX, "what is not a blob fits into a block");

struct slice string_get(const struct value *value, struct string_scratch *scratch)
{
    switch ((enum string_encoding)value_encoding(value)) {
    case STRING_INLINE:
        return slice_of(value_payload_const(value), value->len);
    case STRING_INT:
        return slice_of(scratch->text, num_format_i64(scratch->text, (int64_t)value_word(value)));
    case STRING_BLOB:
        break;
    }
    return blob_slice(string_blob(value));
}

size_t string_len(const struct value *value)
{
    switch ((enum string_encoding)value_encoding(value)) {
    case STRING_INLINE:
        return value->len;
    case STRING_INT:
        return num_i64_text_len((int64_t)value_word(value));
    case STRING_BLOB:
        break;
    }
    return string_blob(value)->len;
}

/* Redis's strict integer, with a cheap refusal of what is too long to be one. */
static bool string_is_i64(struct slice text, int64_t *out)
{
    return text.len <= NUM_I64_TEXT_MAX && num_parse_i64(text, out);
}

bool string_get_i64(const struct value *value, int64_t *out)
{
    switch ((enum string_encoding)value_encoding(value)) {
    case STRING_INLINE:
        return string_is_i64(slice_of(value_payload_const(value), value->len), out);
    case STRING_INT:
        *out = (int64_t)value_word(value);
        return true;
    case STRING_BLOB:
        break;
    }
    return string_is_i64(blob_slice(string_blob(value)), out);
}

struct blob *string_blob(const struct value *value)
{
    if (value_encoding(value) != STRING_BLOB) {
        return NULL;
    }
    return (struct blob *)(uintptr_t)value_word(value);
}

/* --- New ----------------------------------------------------------------------------------------
 */

static struct value *string_try_block(struct slice key, enum string_encoding encoding,
                                      bool has_expire, size_t payload_len)
{
    return value_try_new(&(struct value_form){.kind = VALUE_STRING,
                                              .encoding = (uint8_t)encoding,
                                              .has_expire = has_expire,
                                              .key = key,
                                              .payload_len = payload_len});
}

static struct value *string_try_word(struct slice key, enum string_encoding encoding,
                                     bool has_expire, uint64_t word)
{
    struct value *value = string_try_block(key, encoding, has_expire, sizeof(word));
    if (value != NULL) {
        value_set_word(value, word);
    }
    return value;
}

/* Fills a new blob, if there is one, with the text. */
static struct blob *string_fill_blob(struct blob *blob, struct slice text)
{
    if (blob != NULL) {
        pieces_copy(blob->bytes, text.data, text.len);
        blob->len = text.len;
    }
    return blob;
}

struct value *string_try_new(struct slice key, struct slice text, bool has_expire)
{
    int64_t number;
    if (string_is_i64(text, &number)) {
        return string_try_new_i64(key, number, has_expire);
    }
    return string_try_new_text(key, text, has_expire);
}

struct value *string_try_new_text(struct slice key, struct slice text, bool has_expire)
{
    if (text.len >= BLOB_LEN_MIN) {
        struct blob *blob = string_fill_blob(blob_try_new(text.len), text);
        struct value *value = blob == NULL ? NULL : string_try_new_blob(key, blob, has_expire);
        if (value == NULL && blob != NULL) {
            blob_drop(blob);
        }
        return value;
    }
    struct value *value = string_try_block(key, STRING_INLINE, has_expire, text.len);
    if (value != NULL && text.len > 0) {
        memcpy(value_payload(value), text.data, text.len);
    }
    return value;
}

struct value *string_try_new_i64(struct slice key, int64_t number, bool has_expire)
{
    return string_try_word(key, STRING_INT, has_expire, (uint64_t)number);
}

struct value *string_try_new_blob(struct slice key, struct blob *take_blob, bool has_expire)
{
    return string_try_word(key, STRING_BLOB, has_expire, (uint64_t)(uintptr_t)take_blob);
}

/* --- Set ----------------------------------------------------------------------------------------
 */

/* Gives the block the form for a payload of `len` bytes in another encoding, and lets go of the
 * blob that it may have held. */
static bool string_try_form(struct place *place, enum string_encoding encoding, size_t len,
                            bool has_expire)
{
    struct blob *old_blob = string_blob(place->value);
    if (place->value->len != len || value_has_expire(place->value) != has_expire) {
        struct value_change change = {.payload_len = len, .has_expire = has_expire};
        if (!value_try_reshape(place, change)) {
            return false;
        }
    }
    struct value *value = place->value;
    if (value_encoding(value) != encoding) {
        value_set_tag(value, VALUE_STRING, (uint8_t)encoding);
    }
    if ((value->flags & VALUE_WAS_EDITED) != 0) {
        value->flags &= (uint8_t)~VALUE_WAS_EDITED;
    }
    if (old_blob != NULL) {
        blob_drop(old_blob);
    }
    return true;
}

/* Whether the blob may be overwritten with `len` bytes: nobody else reads it, and little is wasted.
 */
static bool string_can_reuse(const struct blob *blob, size_t len)
{
    return blob != NULL && blob->refs == 1 && len <= blob->cap && len >= blob->cap / 2 &&
           (!blob->is_region || len >= blob->len);
}

static bool string_try_set_long(struct place *place, struct slice text, bool has_expire)
{
    struct blob *blob = string_blob(place->value);
    if (string_can_reuse(blob, text.len) && value_has_expire(place->value) == has_expire) {
        memcpy(blob->bytes, text.data, text.len);
        blob->len = text.len;
        return true;
    }
    blob = string_fill_blob(blob_try_new(text.len), text);
    if (blob == NULL) {
        return false;
    }
    if (!string_try_set_blob(place, blob, has_expire)) {
        blob_drop(blob);
        return false;
    }
    return true;
}

bool string_try_set(struct place *place, struct slice text, bool has_expire)
{
    int64_t number;
    if (string_is_i64(text, &number)) {
        return string_try_set_i64(place, number, has_expire);
    }
    return string_try_set_text(place, text, has_expire);
}

bool string_try_set_text(struct place *place, struct slice text, bool has_expire)
{
    if (text.len >= BLOB_LEN_MIN) {
        return string_try_set_long(place, text, has_expire);
    }
    if (!string_try_form(place, STRING_INLINE, text.len, has_expire)) {
        return false;
    }
    if (text.len > 0) {
        memcpy(value_payload(place->value), text.data, text.len);
    }
    return true;
}

bool string_try_set_i64(struct place *place, int64_t number, bool has_expire)
{
    if (!string_try_form(place, STRING_INT, sizeof(number), has_expire)) {
        return false;
    }
    value_set_word(place->value, (uint64_t)number);
    return true;
}

bool string_try_set_blob(struct place *place, struct blob *take_blob, bool has_expire)
{
    if (!string_try_form(place, STRING_BLOB, sizeof(take_blob), has_expire)) {
        return false;
    }
    value_set_word(place->value, (uint64_t)(uintptr_t)take_blob);
    return true;
}

/* --- Edit ---------------------------------------------------------------------------------------
 */

/* Room for `len` bytes and some to grow into. */
static size_t string_spare_cap(size_t len)
{
    return len < BLOB_SPARE_MAX ? len * 2 : len + BLOB_SPARE_MAX;
}

struct blob *string_try_new_room(size_t len)
{
    return blob_try_new_growing(string_spare_cap(len));
}

size_t string_edit_cost(const struct value *value, size_t len)
{
    const struct blob *blob = string_blob(value);
    if (blob == NULL) {
        return string_len(value);
    }
    return blob->refs == 1 && blob_grows_in_place(blob, len) ? 0 : blob->len;
}

/* Makes the blob of a BLOB string the value's own, with room for `len` bytes. */
static bool string_try_own_blob(struct place *place, size_t len)
{
    struct blob *blob = string_blob(place->value);
    if (blob->refs == 1 && len <= blob->cap) {
        return true;
    }
    struct blob *own = NULL;
    if (blob->refs == 1) {
        own = blob_try_resize(blob, string_spare_cap(len));
    } else {
        own = string_fill_blob(len > blob->len ? string_try_new_room(len)
                                               : blob_try_new_growing(blob->len),
                               blob_slice(blob));
        if (own != NULL) {
            blob_drop(blob);
        }
    }
    if (own == NULL) {
        return false;
    }
    value_set_word(place->value, (uint64_t)(uintptr_t)own);
    return true;
}

/* Moves the bytes of an INT or INLINE string into a blob with room for `len`. */
static bool string_try_into_blob(struct place *place, size_t len)
{
    struct string_scratch scratch;
    struct slice text = string_get(place->value, &scratch);
    struct blob *blob = string_fill_blob(string_try_new_room(len), text);
    if (blob == NULL) {
        return false;
    }
    if (!string_try_set_blob(place, blob, value_has_expire(place->value))) {
        blob_drop(blob);
        return false;
    }
    return true;
}

/* Turns an INT into its digits and as many zero bytes as `len` needs. */
static bool string_try_into_text(struct place *place, size_t len)
{
    struct string_scratch scratch;
    struct slice text = string_get(place->value, &scratch);
    size_t new_len = len > text.len ? len : text.len;
    if (!string_try_form(place, STRING_INLINE, new_len, value_has_expire(place->value))) {
        return false;
    }
    char *bytes = value_payload(place->value);
    memcpy(bytes, text.data, text.len);
    memset(bytes + text.len, 0, new_len - text.len);
    return true;
}

/* Makes an INT or INLINE string `len` bytes of INLINE, not shorter than it was. */
static char *string_try_edit_inline(struct place *place, size_t len)
{
    if (value_encoding(place->value) == STRING_INT) {
        return string_try_into_text(place, len) ? value_payload(place->value) : NULL;
    }
    size_t old_len = place->value->len;
    if (len > old_len) {
        struct value_change change = {.payload_len = len,
                                      .has_expire = value_has_expire(place->value)};
        if (!value_try_reshape(place, change)) {
            return NULL;
        }
        memset(value_payload(place->value) + old_len, 0, len - old_len);
    }
    return value_payload(place->value);
}

/* Makes any string `len` bytes of BLOB, not shorter than it was. */
static char *string_try_edit_blob(struct place *place, size_t len)
{
    bool is_blob = value_encoding(place->value) == STRING_BLOB;
    if (is_blob ? !string_try_own_blob(place, len) : !string_try_into_blob(place, len)) {
        return NULL;
    }
    struct blob *blob = string_blob(place->value);
    if (len > blob->len) {
        blob_extend(blob, len);
    }
    return blob->bytes;
}

char *string_try_edit(struct place *place, size_t len)
{
    bool is_blob = len >= BLOB_LEN_MIN || value_encoding(place->value) == STRING_BLOB;
    char *bytes = is_blob ? string_try_edit_blob(place, len) : string_try_edit_inline(place, len);
    if (bytes != NULL) {
        place->value->flags |= VALUE_WAS_EDITED;
    }
    return bytes;
}

char *string_try_edit_in_place(struct value *value, size_t len)
{
    struct place place = {.value = value};
    ASSERT(value_encoding(value) == STRING_BLOB && string_edit_cost(value, len) == 0);
    char *bytes = string_try_edit(&place, len);
    ASSERT(place.value == value);
    return bytes;
}

bool string_try_put_edited(struct place *place, struct blob *take_blob)
{
    bool has_expire = value_has_expire(place->value);
    if (take_blob->len >= BLOB_LEN_MIN) {
        if (!string_try_set_blob(place, take_blob, has_expire)) {
            return false;
        }
    } else {
        if (!string_try_set_text(place, blob_slice(take_blob), has_expire)) {
            return false;
        }
        blob_drop(take_blob);
    }
    place->value->flags |= VALUE_WAS_EDITED;
    return true;
}

bool string_try_append(struct place *place, struct slice tail)
{
    size_t old_len = string_len(place->value);
    char *bytes = string_try_edit(place, old_len + tail.len);
    if (bytes == NULL) {
        return false;
    }
    if (tail.len > 0) {
        memcpy(bytes + old_len, tail.data, tail.len);
    }
    return true;
}

bool string_try_set_range(struct place *place, size_t offset, struct slice text)
{
    if (text.len == 0) {
        return true;
    }
    size_t old_len = string_len(place->value);
    size_t end = offset + text.len;
    char *bytes = string_try_edit(place, end > old_len ? end : old_len);
    if (bytes == NULL) {
        return false;
    }
    memcpy(bytes + offset, text.data, text.len);
    return true;
}

/* --- Operations ---------------------------------------------------------------------------------
 */

static void string_free(struct value *value, struct work_queue *work)
{
    (void)work;
    struct blob *blob = string_blob(value);
    if (blob != NULL) {
        blob_drop(blob);
    }
    value_free_block(value);
}

/* A blob is shared by the copy until one of the two is changed. */
static struct value *string_copy(const struct value *value, struct slice key, bool has_expire)
{
    struct value *copy = value_try_rekey(value, key, has_expire);
    if (copy != NULL && value_encoding(value) == STRING_BLOB) {
        blob_share(string_blob(value));
    }
    return copy;
}

static const char *string_encoding_name(const struct value *value)
{
    if (value_encoding(value) == STRING_INT) {
        return "int";
    }
    bool is_edited = (value->flags & VALUE_WAS_EDITED) != 0;
    return !is_edited && string_len(value) <= STRING_EMBSTR_LEN_MAX ? "embstr" : "raw";
}

static size_t string_memory(const struct value *value, size_t samples)
{
    (void)samples;
    size_t bytes = mem_good_size(value_block_len(value));
    const struct blob *blob = string_blob(value);
    return blob == NULL ? bytes : bytes + blob_memory(blob);
}

static size_t string_effort(const struct value *value)
{
    (void)value;
    return 1;
}

static void string_check(const struct value *value)
{
    ASSERT(value_kind(value) == VALUE_STRING);
    switch ((enum string_encoding)value_encoding(value)) {
    case STRING_INLINE:
        ASSERT(value->len < BLOB_LEN_MIN);
        return;
    case STRING_INT:
        ASSERT(value->len == sizeof(int64_t));
        ASSERT((value->flags & VALUE_WAS_EDITED) == 0);
        return;
    case STRING_BLOB:
        ASSERT(value->len == sizeof(struct blob *));
        ASSERT(string_blob(value)->refs >= 1);
        ASSERT(string_blob(value)->len <= string_blob(value)->cap);
        return;
    }
    assert_failed("the encoding is one of a string's", __FILE__, __LINE__);
}

const struct value_ops string_ops = {
    .free = string_free,
    .copy = string_copy,
    .encoding_name = string_encoding_name,
    .memory = string_memory,
    .effort = string_effort,
    .check = string_check,
};
