/* The packed encoding of a hash: fields and values in turn, in one pack that is the payload of the
 * value's block.
 *
 *     | header | [expire] | key |  4 name  4 ouro  3 age  0x87  |
 *                                  field   value   field  value
 *
 * Costs. A hash of four fields "name:1" with values of eight bytes under a key of 16 bytes is one
 * allocation of 96 bytes. A search walks, 2 to 4 ns per field; with the default limit of 512 fields
 * it is at worst some 2 us. A change of length moves what lies behind it, and the block when its
 * size class changes.
 *
 * Invariants (hash_check): the payload is a pack in canonical form; its items are even in number;
 * no field is there twice. */
#include "base/assert.h"
#include "types/hash/hash_internal.h"

size_t hash_pack_next(struct slice pack, size_t at, struct hash_pair *pair)
{
    return pack_next(pack, pack_next(pack, at, &pair->field), &pair->text);
}

/* Replaces `old_len` bytes at `at` by a gap of `new_len`. */
static bool hash_pack_try_splice(struct place *place, size_t at, size_t old_len, size_t new_len)
{
    size_t len = place->value->len;
    if (new_len <= old_len) {
        pack_splice(value_payload(place->value), len, at, old_len, new_len);
        value_shrink(place, len - old_len + new_len);
        return true;
    }
    struct value_change change = {.payload_len = len + new_len - old_len,
                                  .has_expire = value_has_expire(place->value)};
    if (!value_try_reshape(place, change)) {
        return false;
    }
    pack_splice(value_payload(place->value), len, at, old_len, new_len);
    return true;
}

static bool hash_pack_try_append(struct place *place, struct slice field, struct slice text)
{
    size_t len = place->value->len;
    if (!hash_pack_try_splice(place, len, 0, pack_size(field) + pack_size(text))) {
        return false;
    }
    char *to = value_payload(place->value) + len;
    to += pack_write(to, field);
    pack_write(to, text);
    return true;
}

bool hash_pack_try_put(struct place *place, size_t at, struct slice field, struct slice text)
{
    if (at == PACK_NONE) {
        return hash_pack_try_append(place, field, text);
    }
    struct slice pack = hash_pack(place->value);
    size_t text_at = pack_skip(pack, at, 1);
    size_t old_len = pack_skip(pack, text_at, 1) - text_at;
    if (!hash_pack_try_splice(place, text_at, old_len, pack_size(text))) {
        return false;
    }
    pack_write(value_payload(place->value) + text_at, text);
    return true;
}

void hash_pack_remove(struct place *place, size_t at)
{
    size_t len = pack_skip(hash_pack(place->value), at, HASH_STRIDE) - at;
    bool is_done = hash_pack_try_splice(place, at, len, 0);
    ASSERT(is_done);
}
