/* Entries of lists: one element, packed so that it can be read from either side.
 *
 *     | 5 | h e l l o | 6 |                   head: 5 bytes follow; back: 6 bytes precede
 *     | 225 | 42 | 2 |                        an integer of one byte
 *     | 240 | u16 | 300 bytes | u16 255 |     a text of 224 bytes and more
 *     | 241 | pointer | 9 |                   a blob
 *
 * Costs. Two bytes above a text of up to 223 bytes; an integer takes its own bytes and two more,
 * so five digits cost four. A step in either direction reads one byte.
 *
 * Invariants:
 *   1. What can be an integer (num_parse_i64) is one, in as few bytes as hold it; what is longer
 *      than LIST_INLINE_MAX is a blob, and nothing else is, except for texts that arrived as blobs.
 *      So elements that are not blobs are equal exactly when their entries are equal byte by byte:
 *      a search packs its text once and compares memory.
 *   2. The length behind an entry is the one that its head tells.
 *
 * Rejected: a length on one side only. It saves one byte and makes every step from the tail a walk
 * from the head. */
#include "types/list/list_internal.h"

#include <endian.h>

#include "base/pieces.h"

static_assert((int)LIST_INLINE_MAX < (int)BLOB_LEN_MIN, "a blob that arrives stays a blob");

static void entry_prepare_i64(struct list_entry *entry, int64_t number)
{
    unsigned len = 1;
    while (len < 8 &&
           (number < -(INT64_C(1) << (len * 8 - 1)) || number >= INT64_C(1) << (len * 8 - 1))) {
        len++;
    }
    uint64_t bits = htole64((uint64_t)number);
    entry->head[0] = (unsigned char)(ENTRY_INT + len);
    memcpy(entry->head + 1, &bits, len);
    entry->head_len = 1 + len;
}

static bool entry_prepare_blob(struct list_entry *entry, struct slice text, struct blob *blob)
{
    if (blob == NULL) {
        blob = blob_try_new(text.len);
        if (blob == NULL) {
            return false;
        }
        pieces_copy(blob->bytes, text.data, text.len);
        blob->len = text.len;
        entry->is_copy = true;
    }
    entry->head[0] = ENTRY_BLOB;
    memcpy(entry->head + 1, &blob, sizeof(blob));
    entry->head_len = 1 + sizeof(blob);
    entry->blob = blob;
    return true;
}

/* Texts up to LIST_INLINE_MAX. */
static void entry_prepare_text(struct list_entry *entry, struct slice text)
{
    int64_t number;
    if (text.len <= NUM_I64_TEXT_MAX && num_parse_i64(text, &number)) {
        entry_prepare_i64(entry, number);
        return;
    }
    entry->body = text;
    if (text.len <= ENTRY_SHORT_MAX) {
        entry->head[0] = (unsigned char)text.len;
        entry->head_len = 1;
    } else {
        entry->head[0] = ENTRY_LONG;
        entry->head[1] = (unsigned char)text.len;
        entry->head[2] = (unsigned char)(text.len >> 8);
        entry->head_len = 3;
    }
}

bool entry_prepare(struct list_entry *entry, struct slice text, struct blob *take_blob)
{
    entry->body = slice_of(NULL, 0);
    entry->blob = NULL;
    entry->is_copy = false;
    if (text.len > LIST_INLINE_MAX) {
        if (!entry_prepare_blob(entry, text, take_blob)) {
            return false;
        }
    } else {
        entry_prepare_text(entry, text);
    }
    uint32_t len = entry->head_len + (uint32_t)entry->body.len;
    entry->len = len + entry_back_len(len);
    return true;
}

uint32_t entry_read(const char *at, struct list_item *item)
{
    const unsigned char *head = (const unsigned char *)at;
    item->blob = NULL;
    if (head[0] <= ENTRY_SHORT_MAX) {
        item->data = at + 1;
        item->len = head[0];
        uint32_t len = 1 + (uint32_t)head[0];
        return len + 1;
    }
    if (head[0] < ENTRY_LONG) {
        unsigned len = head[0] - (unsigned)ENTRY_INT;
        uint64_t bits = 0;
        memcpy(&bits, at + 1, len);
        unsigned shift = 64 - len * 8;
        item->data = NULL;
        item->len = 0;
        item->number = (int64_t)(le64toh(bits) << shift) >> shift;
        return len + 2;
    }
    if (head[0] == ENTRY_LONG) {
        item->data = at + 3;
        item->len = entry_read_u16(head + 1);
    } else {
        item->blob = entry_blob(at);
        item->data = item->blob->bytes;
        item->len = item->blob->len;
    }
    return entry_len_at(at);
}

uint32_t entries_seek(const char *bytes, uint32_t first, uint32_t end, uint32_t count,
                      uint32_t index)
{
    if (index <= count / 2) {
        uint32_t at = first;
        for (; index > 0; index--) {
            at += entry_len_at(bytes + at);
        }
        return at;
    }
    uint32_t at = end;
    for (; index < count; index++) {
        at -= entry_len_before(bytes + at);
    }
    return at;
}

void entries_drop_blobs(const char *at, const char *end)
{
    while (at < end) {
        struct blob *blob = entry_blob(at);
        at += entry_len_at(at);
        if (blob != NULL) {
            blob_drop(blob);
        }
    }
}

uint32_t entries_check(const char *at, const char *end, uint64_t *blob_count)
{
    uint32_t count = 0;
    while (at < end) {
        uint32_t len = entry_len_at(at);
        ASSERT(len <= (size_t)(end - at));
        ASSERT(entry_len_before(at + len) == len);
        struct list_item item;
        ASSERT(entry_read(at, &item) == len);
        if (item.blob != NULL) {
            ASSERT(item.blob->refs >= 1 && item.len > LIST_INLINE_MAX);
            (*blob_count)++;
        }
        at += len;
        count++;
    }
    ASSERT(at == end);
    return count;
}

/* ---- Needles ---- */

void list_needle_init(struct list_needle *needle, struct slice text)
{
    needle->text = text;
    needle->packed_len = 0;
    if (text.len <= LIST_INLINE_MAX) {
        struct list_entry entry;
        bool is_ready = entry_prepare(&entry, text, NULL);
        ASSERT(is_ready); /* Short texts need no memory. */
        entry_write(needle->packed, &entry);
        needle->packed_len = entry.len;
    }
}

bool needle_is_at(const struct list_needle *needle, const char *at)
{
    if (needle->packed_len != 0) {
        return *at == needle->packed[0] && entry_len_at(at) == needle->packed_len &&
               memcmp(at, needle->packed, needle->packed_len) == 0;
    }
    const struct blob *blob = entry_blob(at);
    return blob != NULL && slice_equal(blob_slice(blob), needle->text);
}
