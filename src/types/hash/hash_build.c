/* Building a hash from bytes that hold its fields one after another.
 *
 * A put into a packed hash walks the pack for the field, which for 512 fields in a row is a walk
 * over 256 on average. One who builds expects each field once; so the builder keeps 32 bits of the
 * hash of each, in an open table, and what is not among them is appended without a look. What is
 * (a duplicate, or one in 8 million of others) is put as any field. Few fields are found faster by
 * walking, and a table finds them by itself: neither has such bits.
 *
 * Costs. 8 to 16 bytes per field until the hash is built. */
#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "types/hash/hash_internal.h"

enum {
#ifdef OURO_HOSTILE
    FEW_FIELDS = 2,
#else
    FEW_FIELDS = 24,
#endif
};

void hash_fields_deinit(struct hash_fields *fields)
{
    mem_free(fields->hashes);
    *fields = (struct hash_fields){.hashes = NULL};
}

/* Where the hash is, or would be. */
static uint32_t fields_place(const struct hash_fields *fields, uint32_t hash)
{
    uint32_t at = hash & (fields->cap - 1);
    while (fields->hashes[at] != 0 && fields->hashes[at] != hash) {
        at = (at + 1) & (fields->cap - 1);
    }
    return at;
}

static void fields_make_room(struct hash_fields *fields)
{
    struct hash_fields old = *fields;
    if (old.count * 2 < old.cap) {
        return;
    }
    fields->cap = old.cap * 2;
    fields->hashes = mem_zalloc(fields->cap * sizeof(uint32_t));
    for (uint32_t i = 0; i < old.cap; i++) {
        if (old.hashes[i] != 0) {
            fields->hashes[fields_place(fields, old.hashes[i])] = old.hashes[i];
        }
    }
    mem_free(old.hashes);
}

static uint32_t field_hash(struct slice field, const struct hash_rules *rules)
{
    return (uint32_t)hash_bytes(rules->seed, field) | 1; /* Never 0. */
}

/* Begins to keep hashes, with those of the fields that are there. */
static void fields_collect(struct hash_fields *fields, const struct value *value,
                           const struct hash_rules *rules)
{
    struct hash_walk walk = hash_walk(value);
    struct hash_pair pair;
    fields->cap = 4;
    while (fields->cap < fields->count * 4) {
        fields->cap *= 2;
    }
    fields->hashes = mem_zalloc(fields->cap * sizeof(uint32_t));
    while (hash_walk_next(&walk, &pair)) {
        char digits[PACK_DIGITS];
        uint32_t hash = field_hash(pack_text(&pair.field, digits), rules);
        fields->hashes[fields_place(fields, hash)] = hash;
    }
}

enum hash_put_result hash_try_append(struct place *place, const struct hash_pair_text *pair,
                                     struct hash_fields *fields, const struct hash_rules *rules)
{
    bool is_known = fields->count < FEW_FIELDS || hash_table_of(place->value) != NULL;
    uint32_t at = 0;
    if (!is_known) {
        if (fields->hashes == NULL) {
            fields_collect(fields, place->value, rules);
        }
        at = fields_place(fields, field_hash(pair->field, rules));
        is_known = fields->hashes[at] != 0;
    }
    if (is_known) {
        enum hash_put_result result =
            hash_try_put_until(place, pair->field, pair->text, pair->expire_ms, rules);
        fields->count += result == HASH_ADDED;
        return result;
    }
    const struct hash_put put = {.field = pair->field,
                                 .text = pair->text,
                                 .expire_ms = pair->expire_ms,
                                 .at = PACK_NONE,
                                 .index = fields->count};
    if (hash_try_put_pair(place, &put, rules) == HASH_NO_MEMORY) {
        return HASH_NO_MEMORY;
    }
    fields->hashes[at] = field_hash(pair->field, rules);
    fields->count++;
    fields_make_room(fields);
    return HASH_ADDED;
}
