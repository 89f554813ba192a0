/* The entry of a large hash: one allocation that holds a field and its value as two items of a
 * pack.
 *
 *     | 12 field:123456 | 16 some-16-byte-val |      1 + 12 + 1 + 16 = 30 bytes, class 32
 *         field             value
 *
 * The moment of a field that expires is not here: seven bytes more would be sixteen for 7 of 16
 * entries, whose size class has no room for them. It is with those of all others
 * (hash_moments.c), and all that the table's slot knows is that there is one: the lowest bit of the
 * entry's address, which is even. Only fields whose hashes begin alike (hash_volatile.c) have a
 * stamp in front of their value. */
#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "types/hash/hash_internal.h"

size_t hash_entry_size(const void *entry)
{
    return pack_skip(hash_entry_pack(entry), 0, HASH_STRIDE);
}

static size_t hash_entry_text_at(const void *entry)
{
    return pack_skip(hash_entry_pack(entry), 0, 1);
}

uint64_t hash_entry_hash(const void *entry, const void *seed)
{
    char digits[PACK_DIGITS];
    struct pack_item field;
    pack_next(hash_entry_pack(entry), 0, &field);
    return hash_bytes(*(const uint64_t *)seed, pack_text(&field, digits));
}

int64_t hash_entry_stamp(const void *entry)
{
    return pack_stamp(hash_entry_pack(entry), hash_entry_text_at(entry));
}

void *hash_entry_try_new(struct slice field, struct slice text, int64_t stamp_ms)
{
    size_t field_len = pack_size(field);
    char *entry = mem_try_alloc(field_len + hash_text_size(text, stamp_ms));
    if (entry != NULL) {
        DEBUG_ASSERT(!hash_entry_is_volatile(entry));
        pack_write(entry, field);
        hash_write_text(entry + field_len, text, stamp_ms);
    }
    return entry;
}

void hash_entry_free(void *entry)
{
    mem_free_sized(hash_entry_marked(entry, false), hash_entry_size(entry));
}

/* Another block of `size` bytes for the entry of a slot, with the field in it; the slot's own when
 * that is of the same size class. NULL: no memory. */
static inline char *hash_entry_try_remake(const void *entry, size_t old_size, size_t size)
{
    if (size == old_size || mem_good_size(size) == mem_good_size(old_size)) {
        return hash_entry_marked(entry, false);
    }
    char *made = mem_try_alloc(size);
    if (made != NULL) {
        memcpy(made, hash_entry_bytes(entry), hash_entry_text_at(entry));
    }
    return made;
}

/* The slot's entry is `made` from now on. */
static inline void hash_slot_take(uint64_t *slot, char *made, size_t old_size)
{
    void *entry = table_slot_entry(slot);
    if (made != hash_entry_bytes(entry)) {
        table_slot_set(slot, hash_entry_marked(made, hash_entry_is_volatile(entry)));
        mem_free_sized(hash_entry_marked(entry, false), old_size);
    }
}

bool hash_entry_try_replace(uint64_t *slot, struct slice text, int64_t stamp_ms)
{
    const void *entry = table_slot_entry(slot);
    size_t text_at = hash_entry_text_at(entry);
    size_t old_size = pack_skip(hash_entry_pack(entry), text_at, 1);
    char *made = hash_entry_try_remake(entry, old_size, text_at + hash_text_size(text, stamp_ms));
    if (made == NULL) {
        return false;
    }
    hash_write_text(made + text_at, text, stamp_ms);
    hash_slot_take(slot, made, old_size);
    return true;
}

bool hash_entry_try_restamp(uint64_t *slot, int64_t stamp_ms)
{
    const void *entry = table_slot_entry(slot);
    size_t to = hash_entry_text_at(entry);
    size_t old_size = hash_entry_size(entry);
    size_t from = to + (hash_entry_stamp(entry) < 0 ? 0 : PACK_STAMP_LEN);
    size_t item_len = old_size - from;
    size_t item_at = to + (stamp_ms < 0 ? 0 : PACK_STAMP_LEN);
    char *made = hash_entry_try_remake(entry, old_size, item_at + item_len);
    if (made == NULL) {
        return false;
    }
    memmove(made + item_at, hash_entry_bytes(entry) + from, item_len);
    if (stamp_ms >= 0) {
        pack_write_stamp(made + to, stamp_ms);
    }
    hash_slot_take(slot, made, old_size);
    return true;
}
