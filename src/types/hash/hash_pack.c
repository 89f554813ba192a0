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
 * A hash with fields that expire has a word before the pack: the earliest moment and the place
 * where its owner has filed it. Such a field's value carries its moment as a stamp of 7 bytes.
 *
 *     | header | [expire] | key |  next : 48, place : 16  |  4 name  stamp  4 ouro  3 age  0x87  |
 *
 * Invariants (hash_check): the payload is a pack in canonical form; its items are even in number;
 * no field is there twice. */
#include "base/assert.h"
#include "types/hash/hash_internal.h"

size_t hash_pack_next(struct slice pack, size_t at, struct hash_pair *pair)
{
    size_t text_at = pack_next(pack, at, &pair->field);
    pair->expire_ms = pack_stamp(pack, text_at);
    return pack_next(pack, text_at, &pair->text);
}

/* Replaces `old_len` bytes at `at` of the pack by a gap of `new_len`. */
static bool hash_pack_try_splice(struct place *place, size_t at, size_t old_len, size_t new_len)
{
    size_t len = place->value->len;
    at += hash_pack_head(place->value);
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

/* Where the pack begins. */
static char *hash_pack_bytes(struct value *value)
{
    return value_payload(value) + hash_pack_head(value);
}

static bool hash_pack_try_append(struct place *place, struct slice field, struct slice text,
                                 int64_t expire_ms)
{
    size_t len = hash_pack(place->value).len;
    size_t more = pack_size(field) + hash_text_size(text, expire_ms);
    if (!hash_pack_try_splice(place, len, 0, more)) {
        return false;
    }
    char *to = hash_pack_bytes(place->value) + len;
    hash_write_text(to + pack_write(to, field), text, expire_ms);
    return true;
}

bool hash_pack_try_put(struct place *place, size_t at, struct slice field, struct slice text,
                       int64_t expire_ms)
{
    if (at == PACK_NONE) {
        return hash_pack_try_append(place, field, text, expire_ms);
    }
    struct slice pack = hash_pack(place->value);
    size_t text_at = pack_skip(pack, at, 1);
    size_t old_len = pack_skip(pack, text_at, 1) - text_at;
    if (!hash_pack_try_splice(place, text_at, old_len, hash_text_size(text, expire_ms))) {
        return false;
    }
    hash_write_text(hash_pack_bytes(place->value) + text_at, text, expire_ms);
    return true;
}

void hash_pack_remove(struct place *place, size_t at)
{
    size_t len = pack_skip(hash_pack(place->value), at, HASH_STRIDE) - at;
    bool is_done = hash_pack_try_splice(place, at, len, 0);
    ASSERT(is_done);
}

/* ---- Expiry ---- */

bool hash_pack_try_make_volatile(struct place *place)
{
    if (!hash_pack_try_splice(place, 0, 0, sizeof(uint64_t))) {
        return false;
    }
    value_set_tag(place->value, VALUE_HASH, HASH_PACKED_VOLATILE);
    place->value->flags |= VALUE_HAS_VOLATILE_PARTS;
    uint64_t word = hash_expiry_word(VALUE_EXPIRE_MS_MAX, VALUE_WHEEL_NONE);
    memcpy(value_payload(place->value), &word, sizeof(word));
    return true;
}

int64_t hash_pack_earliest(struct slice pack)
{
    int64_t next_ms = -1;
    struct hash_pair pair;
    for (size_t at = 0; at < pack.len;) {
        at = hash_pack_next(pack, at, &pair);
        if (pair.expire_ms >= 0 && (next_ms < 0 || pair.expire_ms < next_ms)) {
            next_ms = pair.expire_ms;
        }
    }
    return next_ms;
}

/* What is left after expiry: the word is set right, or goes. */
static void hash_pack_settle(struct place *place)
{
    int64_t next_ms = hash_pack_earliest(hash_pack(place->value));
    if (next_ms >= 0) {
        uint16_t wheel_place = hash_wheel_place(place->value);
        uint64_t word = hash_expiry_word(next_ms, wheel_place);
        memcpy(value_payload(place->value), &word, sizeof(word));
        return;
    }
    size_t len = place->value->len;
    pack_splice(value_payload(place->value), len, 0, sizeof(uint64_t), 0);
    value_set_tag(place->value, VALUE_HASH, HASH_PACKED);
    place->value->flags &= (uint8_t)~VALUE_HAS_VOLATILE_PARTS;
    value_shrink(place, len - sizeof(uint64_t));
}

bool hash_pack_expire(struct place *place, int64_t now_ms, size_t max, hash_expire_fn on_field,
                      void *context)
{
    for (size_t at = 0; at < hash_pack(place->value).len;) {
        struct hash_pair pair;
        char digits[PACK_DIGITS];
        size_t next = hash_pack_next(hash_pack(place->value), at, &pair);
        if (pair.expire_ms < 0 || pair.expire_ms >= now_ms) {
            at = next;
        } else if (max-- == 0) {
            return false;
        } else {
            on_field(context, pack_text(&pair.field, digits));
            hash_pack_remove(place, at);
        }
    }
    hash_pack_settle(place);
    return true;
}
