/* Fields of hashes that expire: the same as keys, one level down.
 *
 * A hash with volatile fields knows the earliest moment of any and is filed for it in a wheel of
 * its own, by the top 32 bits of its key's hash. The hash remembers the place, as a volatile key
 * does:
 *
 *     db.parts -> { 0x9a3f10c2, ... } of place 131
 *                      |
 *                      v
 *           hash at "user:1":  | next moment : 48 | place 131 : 16 |  fields, some with a stamp
 *
 * When its time comes some fields are removed (PARTS_MAX in a step) and the hash is filed again for
 * what is next. A lookup that meets a hash whose time has come removes all that is due first, so an
 * expired field is never seen, counted or drawn; the key goes with its last field. Where removal is
 * not this server's to decide (a replica, a pause), the lookup leaves them and db_hidden_ms tells
 * readers to pass over them; HLEN alone counts them, in O(1), as Redis does.
 *
 * A hash that somebody reads over several turns (pin.h) keeps its fields meanwhile: lookups hide
 * them in the same way, and the reader hears that it should be quick.
 *
 * Costs. 4 bytes per hash with volatile fields, and a test of one bit per lookup. A lookup in the
 * middle of a burst pays for what the steps have not removed yet, about 1 us per field.
 *
 * Invariants (db_check asserts them): a stored hash that is volatile remembers a place of the wheel
 * in which there is a reference for it.
 *
 * Rejected: a reference per field in the keyspace's wheel. It would have to name the field as well
 * as the key, and every removal of a large hash would leave as many stale ones. */
#include "base/assert.h"
#include "keyspace/keyspace_internal.h"

enum {
#ifdef OURO_HOSTILE
    PARTS_MAX = 2,
#else
    PARTS_MAX = 32, /* Fields removed in one step: about 30 us. */
#endif
    PARTS_WAIT_MS = 10, /* Until the next look at a hash that is being read over turns. */
};

/* ---- References ---- */

void db_unfile_parts(struct db *db, struct value *value)
{
    if (hash_wheel_place(value) != VALUE_WHEEL_NONE) {
        hash_set_wheel_place(value, VALUE_WHEEL_NONE);
        wheel_note_stale(&db->parts);
    }
}

void db_file_parts(struct db *db, uint64_t hash, struct value *value)
{
    int64_t due_ms = db_due_ms(hash_next_expiry_ms(value));
    uint16_t wheel_place = hash_wheel_place(value);
    if (wheel_place != VALUE_WHEEL_NONE && wheel_place_of(&db->parts, due_ms) == wheel_place) {
        return;
    }
    db_unfile_parts(db, value);
    hash_set_wheel_place(value, wheel_add(&db->parts, db_wheel_ref(hash), due_ms));
}

void db_note_parts(struct db *db, uint64_t hash, struct place place)
{
    if (db_has_parts(place.value)) {
        db_file_parts(db, hash, place.value);
    }
}

struct part_search {
    const struct db *db;
    uint32_t ref;
    uint16_t place;
    struct value *found;
};

static void part_search_on_value(void *context, void *entry)
{
    struct part_search *search = context;
    struct value *value = entry;
    if (search->found == NULL && db_has_parts(value) && hash_wheel_place(value) == search->place &&
        db_wheel_ref(db_value_hash(search->db, value)) == search->ref) {
        search->found = value;
    }
}

struct value *db_find_parts(const struct db *db, uint32_t ref, uint16_t place)
{
    struct part_search search = {.db = db, .ref = ref, .place = place};
    table_find_prefix(&db->table, ref, part_search_on_value, &search);
    return search.found;
}

/* ---- Removal ---- */

struct part_removal {
    struct db *db;
    const struct place *place; /* The block, and the key in it, may move. */
    size_t count;
};

static void part_on_expired(void *context, struct slice field)
{
    struct part_removal *removal = context;
    struct keyspace *keyspace = removal->db->keyspace;
    removal->count++;
    if (keyspace->on_part != NULL) {
        keyspace->on_part(keyspace->part_context, removal->db, value_key(removal->place->value),
                          field, PART_EXPIRED);
    }
}

static void part_tell(struct db *db, struct slice key, enum part_news news)
{
    struct keyspace *keyspace = db->keyspace;
    if (keyspace->on_part != NULL) {
        keyspace->on_part(keyspace->part_context, db, key, slice_of(NULL, 0), news);
    }
}

bool db_expire_parts(struct db *db, uint64_t hash, struct place *place, int64_t now_ms, size_t max)
{
    struct part_removal removal = {.db = db, .place = place};
    table_will_change(&db->table, hash);
    db_unfile_parts(db, place->value);
    hash_expire(place, now_ms, max, part_on_expired, &removal);
    struct slice key = value_key(place->value);
    if (removal.count > 0) {
        db_bump(db, key);
        part_tell(db, key, PARTS_EXPIRED);
    }
    if (hash_is_empty(place->value)) {
        part_tell(db, key, PARTS_GONE);
        db_remove(db, hash, *place);
        return false;
    }
    if (db_has_parts(place->value)) {
        db_file_parts(db, hash, place->value);
    }
    return true;
}

/* ---- Steps ---- */

struct parts_step {
    struct db *db;
    int64_t now_ms;
};

/* Somebody reads the hash just now: its fields go a little later. */
static void parts_wait(struct parts_step *step, uint32_t ref, struct value *value)
{
    pin_hurry(step->db->keyspace, value);
    hash_set_wheel_place(value, wheel_add(&step->db->parts, ref, step->now_ms + PARTS_WAIT_MS));
}

static size_t parts_on_references(void *context, const uint32_t *refs, size_t count,
                                  uint16_t wheel_place)
{
    struct parts_step *step = context;
    size_t stale = 0;
    for (size_t i = 0; i < count; i++) {
        struct value *value = db_find_parts(step->db, refs[i], wheel_place);
        if (value == NULL) {
            stale++;
            continue;
        }
        uint64_t hash = db_value_hash(step->db, value);
        struct place place = db_place_of(step->db, hash, value);
        hash_set_wheel_place(value, VALUE_WHEEL_NONE); /* Its reference has left the wheel. */
        if (value_is_pinned(value)) {
            parts_wait(step, refs[i], value);
            continue;
        }
        db_expire_parts(step->db, hash, &place, step->now_ms, PARTS_MAX);
    }
    return stale;
}

void db_parts_step(struct db *db, int64_t now_ms, size_t refs_max)
{
    struct parts_step step = {.db = db, .now_ms = now_ms};
    wheel_advance(&db->parts, now_ms, parts_on_references, &step, refs_max);
}

static bool parts_keeps(void *context, uint32_t ref, uint16_t wheel_place)
{
    return db_find_parts(context, ref, wheel_place) != NULL;
}

void db_parts_compact(struct db *db, size_t refs_max)
{
    db->is_compacting_parts = !wheel_compact_step(&db->parts, parts_keeps, db, refs_max);
}

void keyspace_set_insert_hook(struct keyspace *keyspace, keyspace_insert_fn fn, void *context)
{
    keyspace->on_insert = fn;
    keyspace->insert_context = context;
}

void keyspace_set_part_hook(struct keyspace *keyspace, keyspace_part_fn fn, void *context)
{
    keyspace->on_part = fn;
    keyspace->part_context = context;
}
