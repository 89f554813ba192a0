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
 * Many fields of one hash may be due at once, and to remove a million takes a second. So the wheel
 * is looked at before the commands of a turn too (keyspace_lead_parts), and a hash that has more
 * due than one step removes is worked off by a job that has it pinned with PIN_EDIT: commands that
 * name the key wait until it has none left, all others go on. When more hashes are due than are
 * led in a turn, commands ask about the keys that they name (db_lead_parts). A lookup that comes
 * first all the same, from a script that did not declare the key, removes them at once.
 *
 *     due, many --edit_begin--> pinned, 32 fields a step --none is due, or frozen--> unpinned
 *
 * A hash that somebody reads over several turns (pin.h) keeps its fields meanwhile: lookups hide
 * them in the same way, and the reader hears that it should be quick.
 *
 * Costs. 4 bytes per hash with volatile fields, and a test of one bit per lookup. A lookup in the
 * middle of a burst of many hashes pays for what the steps have not removed yet of its own, about
 * 1 us per field.
 *
 * Invariants (db_check asserts them): a stored hash that is volatile remembers a place of the wheel
 * in which there is a reference for it, unless a job is at it.
 *
 * Rejected: a reference per field in the keyspace's wheel. It would have to name the field as well
 * as the key, and every removal of a large hash would leave as many stale ones. */
#include "base/assert.h"
#include "base/mem.h"
#include "keyspace/keyspace_internal.h"

enum {
#ifdef OURO_HOSTILE
    PARTS_MAX = 2,
#else
    PARTS_MAX = 32, /* Fields removed in one step: about 30 us. */
#endif
    PARTS_LEAD_MAX = 4, /* Hashes that are looked at before the commands of a turn. */
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
        db->keyspace->stats.expired_fields += removal.count;
        db_bump(db, key);
        part_tell(db, key, PARTS_EXPIRED);
    }
    if (hash_is_empty(place->value)) {
        part_tell(db, key, PARTS_GONE);
        db_remove(db, hash, *place);
        return false;
    }
    if (db_has_parts(place->value) && !value_is_pinned(place->value)) {
        db_file_parts(db, hash, place->value);
    }
    return true;
}

/* ---- Hashes with many fields to remove ---- */

/* Embedded in nothing: freed at its end. */
struct parts_edit {
    struct work_job job;
    struct list link; /* Of keyspace.parts_edits. */
    struct pin pin;
    struct db *db;
    uint64_t hash;
    int64_t now_ms; /* What was due when it began. */
};

static bool is_overdue(const struct value *value, int64_t now_ms)
{
    return db_has_parts(value) && hash_next_expiry_ms(value) < now_ms;
}

static bool slot_holds(const void *entry, const void *value)
{
    return entry == value;
}

/* Files what is left for its next moment; while the job was at it, no reference was needed. SWAPDB
 * may have brought the hash into another database, and a flush into none. */
static void edit_file(struct parts_edit *edit)
{
    struct keyspace *keyspace = edit->db->keyspace;
    struct value *value = pin_value(&edit->pin);
    for (unsigned i = 0; i < keyspace->db_count; i++) {
        struct db *db = &keyspace->dbs[i];
        if (table_find_slot(&db->table, edit->hash, value, slot_holds) != NULL &&
            db_has_parts(value)) {
            db_file_parts(db, edit->hash, value);
        }
    }
}

static void edit_end(struct parts_edit *edit)
{
    struct keyspace *keyspace = edit->db->keyspace;
    edit_file(edit);
    work_cancel(keyspace->work, &edit->job);
    keyspace_unpin(keyspace, &edit->pin);
    list_remove(&edit->link);
    mem_free_sized(edit, sizeof(*edit));
}

/* Removes some. False: nothing is left to do. A hash that was flushed, or went to another database
 * with all others, is none of ours any more; the wheel knows it. */
static bool edit_some(struct parts_edit *edit)
{
    struct db *db = edit->db;
    struct value *value = pin_value(&edit->pin);
    uint64_t *slot = table_find_slot(&db->table, edit->hash, value, slot_holds);
    struct place place = {.slot = slot, .value = value};
    return slot != NULL && db->keyspace->may_remove && is_overdue(value, edit->now_ms) &&
           db_expire_parts(db, edit->hash, &place, edit->now_ms, PARTS_MAX);
}

static bool edit_on_step(struct work_job *job)
{
    struct parts_edit *edit = LIST_OWNER(job, struct parts_edit, job);
    if (edit_some(edit)) {
        return false;
    }
    edit_end(edit);
    return true;
}

static void edit_on_finish(struct pin *pin)
{
    struct parts_edit *edit = pin->context;
    while (edit_some(edit)) {
    }
    edit_end(edit);
}

/* The value is a table, so that it stays where it is whatever is removed from it. */
static void edit_begin(struct db *db, uint64_t hash, struct value *value, int64_t now_ms)
{
    struct parts_edit *edit = mem_alloc(sizeof(*edit));
    *edit = (struct parts_edit){.db = db, .hash = hash, .now_ms = now_ms};
    edit->pin = (struct pin){.mode = PIN_EDIT, .finish = edit_on_finish, .context = edit};
    list_init(&edit->job.link);
    list_init(&edit->link);
    list_push_back(&db->keyspace->parts_edits, &edit->link);
    db_pin(db, hash, value_key(value), value, &edit->pin);
    work_add(db->keyspace->work, &edit->job, edit_on_step);
}

void parts_init(struct keyspace *keyspace)
{
    list_init(&keyspace->parts_edits);
}

void parts_deinit(struct keyspace *keyspace)
{
    while (!list_is_empty(&keyspace->parts_edits)) {
        edit_end(LIST_OWNER(keyspace->parts_edits.next, struct parts_edit, link));
    }
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
        if (db_expire_parts(step->db, hash, &place, step->now_ms, PARTS_MAX) &&
            is_overdue(place.value, step->now_ms) &&
            value_ops_of(place.value)->effort(place.value) > PARTS_MAX) {
            edit_begin(step->db, hash, place.value, step->now_ms);
        }
    }
    return stale;
}

void db_parts_step(struct db *db, int64_t now_ms, size_t refs_max)
{
    struct parts_step step = {.db = db, .now_ms = now_ms};
    wheel_advance(&db->parts, now_ms, parts_on_references, &step, refs_max);
}

static bool has_due(const struct db *db, int64_t now_ms)
{
    return wheel_count(&db->parts) > 0 && wheel_next_ms(&db->parts) <= now_ms;
}

bool keyspace_lead_parts(struct keyspace *keyspace, int64_t now_ms)
{
    unsigned left = keyspace->is_active ? PARTS_LEAD_MAX : 0;
    bool is_more = false;
    if (!keyspace->may_remove) {
        return false;
    }
    for (unsigned i = 0; i < keyspace->db_count; i++) {
        struct db *db = &keyspace->dbs[i];
        for (; left > 0 && has_due(db, now_ms); left--) {
            db_parts_step(db, now_ms, 1);
        }
        is_more |= has_due(db, now_ms);
    }
    return is_more;
}

void db_lead_parts(struct db *db, struct slice key, uint64_t hash, int64_t now_ms)
{
    struct value *value = db_find(db, key, hash, now_ms, FIND_NO_TOUCH | FIND_EXPIRED);
    if (value != NULL && db->keyspace->may_remove && is_overdue(value, now_ms) &&
        !db_is_expired(value, now_ms) && !value_is_pinned(value) &&
        value_ops_of(value)->effort(value) > PARTS_MAX) {
        edit_begin(db, hash, value, now_ms);
    }
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
