/* One key at a time: lookup, insertion, replacement, removal, expiry time.
 *
 * A database is a table of values and a timer wheel. The table's slot holds the value's address and
 * 16 bits of its hash, the value holds its key, so a lookup costs two dependent cache misses, and
 * both can be asked for ahead:
 *
 *     db_prefetch    1st pass: hash -> directory word -> bucket of 7 slots
 *                    2nd pass:                           bucket -> value
 * [header|expiry|key|payload] 3rd pass: the same for those that live behind their home bucket
 *     db_find                                                      key compared, payload read
 *
 * Expiry. Each key with an expiry has exactly one reference in the wheel, and the value's expiry
 * word remembers the place of that reference. So a value and a reference know each other without
 * pointers:
 *
 *     value.expire = | place : 16 | unix ms : 48 |          wheel[place] = { ..., hash >> 32, ... }
 *
 * A later expiry leaves the reference where it is: when it fires early it is filed again. An
 * earlier one files a new reference, and the old one is stale, as is that of a key that goes; the
 * wheel counts them and gets rid of them in slices (expiry.c).
 *
 * Invariants (db_check asserts them):
 *   1. A stored value with room for an expiry has one that is filed: its place is not
 *      VALUE_WHEEL_NONE. The only exception lasts from db_insert or db_replace to db_set_expire.
 *   2. volatile_count is the number of such values, and the wheel has at least as many references
 * that are not known to be stale.
 *   3. Every value is found under the hash of its key.
 *   4. A value that is stored nowhere, but has room for an expiry, is not filed.
 *
 * Rejected: a second table for expiries (Redis), which costs a slot and a miss per volatile key; a
 * heap of deadlines, which costs O(log n) misses per change and pointers back. */
#include "base/assert.h"
#include "base/mem.h"
#include "keyspace/keyspace_internal.h"

static bool db_key_is(const void *entry, const void *key)
{
    return slice_equal(value_key(entry), *(const struct slice *)key);
}

static bool db_value_is(const void *entry, const void *value)
{
    return entry == value;
}

struct place db_place_of(struct db *db, uint64_t hash, struct value *value)
{
    uint64_t *slot = table_find_slot(&db->table, hash, value, db_value_is);
    ASSERT(slot != NULL);
    return (struct place){.slot = slot, .value = value};
}

/* --- Lookup -------------------------------------------------------------------------------------
 */

uint64_t db_hash(const struct db *db, struct slice key)
{
    return hash_bytes(db->hash_seed, key);
}

void db_prefetch_bucket(const struct db *db, uint64_t hash)
{
    table_prefetch(&db->table, hash);
}

void db_prefetch_value(const struct db *db, uint64_t hash)
{
    (void)table_prefetch_entry(&db->table, hash);
}

/* Nothing but prefetches in each pass: a processor does not go beyond a prefetch of an address that
 * its translation buffer lacks before the page tables are walked, unless the next few are in sight
 * already. Then it walks for several of them at a time. */
void db_prefetch(const struct db_look *looks, unsigned count)
{
    DEBUG_ASSERT(count <= DB_LOOKS_MAX);
    for (unsigned i = 0; i < count; i++) {
        table_prefetch(&looks[i].db->table, looks[i].hash);
    }
    uint32_t beyond = 0;
    for (unsigned i = 0; i < count; i++) {
        bool is_done = table_prefetch_entry(&looks[i].db->table, looks[i].hash);
        beyond |= (uint32_t)!is_done << i;
    }
    for (; beyond != 0; beyond &= beyond - 1) {
        const struct db_look *look = &looks[__builtin_ctz(beyond)];
        table_prefetch_beyond(&look->db->table, look->hash);
    }
}

/* An expired value was found: removes it, or hides it. False: it is to be seen. */
static __attribute__((noinline)) bool db_hide_expired(struct db *db, uint64_t hash,
                                                      struct place place, unsigned flags)
{
    if ((flags & FIND_EXPIRED) != 0 || db->keyspace->shows_expired) {
        return false;
    }
    if (db->keyspace->may_remove && !pin_keeps(db->keyspace, place.value)) {
        db_remove_for(db, hash, place, KEY_EXPIRED, true);
    }
    return true;
}

/* A hash with volatile fields was found: removes those that have expired. False: it has no other.
 */
static __attribute__((noinline)) bool
db_show_parts(struct db *db, uint64_t hash, struct place *place, int64_t now_ms, unsigned flags)
{
    bool is_due = hash_next_expiry_ms(place->value) < now_ms;
    if (!is_due || (flags & FIND_EXPIRED) != 0 || !db->keyspace->may_remove) {
        return true;
    }
    if (value_is_pinned(place->value)) {
        return true; /* Hidden: db_hidden_ms. */
    }
    return db_expire_parts(db, hash, place, now_ms, SIZE_MAX);
}

int64_t db_hidden_ms(const struct db *db, int64_t now_ms)
{
    const struct keyspace *keyspace = db->keyspace;
    bool hides = (!keyspace->may_remove || keyspace->pin_count != 0) && !keyspace->shows_expired;
    return hides ? now_ms : 0;
}

static inline __attribute__((always_inline)) struct place
db_look(struct db *db, struct slice key, uint64_t hash, int64_t now_ms, unsigned flags)
{
    struct keyspace *keyspace = db->keyspace;
    access_see(keyspace, now_ms);
    uint64_t *slot = table_find_slot(&db->table, hash, &key, db_key_is);
    struct place place = {.slot = slot, .value = slot == NULL ? NULL : table_slot_entry(slot)};
    if (slot == NULL || (__builtin_expect(db_is_expired(place.value, now_ms), 0) &&
                         db_hide_expired(db, hash, place, flags))) {
        keyspace->stats.misses += (flags & FIND_READ) != 0;
        return (struct place){0};
    }
    if (__builtin_expect(db_has_parts(place.value), 0) &&
        !db_show_parts(db, hash, &place, now_ms, flags)) {
        keyspace->stats.misses += (flags & FIND_READ) != 0;
        return (struct place){0};
    }
    keyspace->stats.hits += (flags & FIND_READ) != 0;
    if ((flags & FIND_NO_TOUCH) == 0) {
        access_touch(keyspace, place.value);
    }
    return place;
}

struct value *db_find(struct db *db, struct slice key, uint64_t hash, int64_t now_ms,
                      unsigned flags)
{
    return db_look(db, key, hash, now_ms, flags).value;
}

struct place db_find_place(struct db *db, struct slice key, uint64_t hash, int64_t now_ms,
                           unsigned flags)
{
    struct place place = db_look(db, key, hash, now_ms, flags);
    if (place.value != NULL) {
        table_will_change(&db->table, hash);
    }
    return place;
}

struct table *db_table(struct db *db)
{
    return &db->table;
}

bool db_has_told(const struct db *db, struct slice key)
{
    const struct table_guard *guard = db->table.guard;
    return guard == NULL || guard->has_passed(guard, db_hash(db, key));
}

/* --- Expiry time --------------------------------------------------------------------------------
 */

/* The value is about to go or to lose its expiry: its reference in the wheel becomes stale. */
static void db_unfile(struct db *db, struct value *value)
{
    if (db_has_parts(value)) {
        db_unfile_parts(db, value);
    }
    if (!value_has_expire(value) || value_wheel_place(value) == VALUE_WHEEL_NONE) {
        return;
    }
    value_set_expire(value, value_expire_ms(value), VALUE_WHEEL_NONE);
    DEBUG_ASSERT(db->volatile_count > 0);
    db->volatile_count--;
    wheel_note_stale(&db->wheel);
}

/* Whether the reference at `old_place`, filed for `old_ms` or earlier, serves for `expire_ms` too.
 */
static bool db_can_keep_reference(const struct db *db, const struct value *value, int64_t expire_ms)
{
    return expire_ms >= value_expire_ms(value) ||
           wheel_place_of(&db->wheel, db_due_ms(expire_ms)) == value_wheel_place(value);
}

bool db_set_expire(struct db *db, uint64_t hash, struct place *place, int64_t expire_ms)
{
    DEBUG_ASSERT(db_has_told(db, value_key(place->value)));
    struct value_change change = {.payload_len = place->value->len, .has_expire = true};
    if (!value_has_expire(place->value) && !value_try_reshape(place, change)) {
        return false;
    }
    struct value *value = place->value;
    int64_t clamped_ms = expire_ms < 0                     ? 0
                         : expire_ms > VALUE_EXPIRE_MS_MAX ? VALUE_EXPIRE_MS_MAX
                                                           : expire_ms;
    uint16_t wheel_place = value_wheel_place(value);
    bool is_filed = wheel_place != VALUE_WHEEL_NONE;
    if (is_filed && db_can_keep_reference(db, value, clamped_ms)) {
        value_set_expire(value, clamped_ms, wheel_place);
        return true;
    }
    if (is_filed) {
        wheel_note_stale(&db->wheel);
    } else {
        db->volatile_count++;
    }
    wheel_place = wheel_add(&db->wheel, db_wheel_ref(hash), db_due_ms(clamped_ms));
    value_set_expire(value, clamped_ms, wheel_place);
    return true;
}

bool db_clear_expire(struct db *db, struct place *place)
{
    if (!value_has_expire(place->value)) {
        return false;
    }
    DEBUG_ASSERT(db_has_told(db, value_key(place->value)));
    db_unfile(db, place->value);
    value_drop_expire(place);
    if (db_has_parts(place->value)) { /* Its fields go on expiring. */
        db_file_parts(db, db_value_hash(db, place->value), place->value);
    }
    return true;
}

void db_note_expire_lost(struct db *db, struct place *place)
{
    DEBUG_ASSERT(!value_has_expire(place->value));
    (void)place;
    ASSERT(db->volatile_count > 0);
    db->volatile_count--;
    wheel_note_stale(&db->wheel);
}

/* --- Insertion and removal ----------------------------------------------------------------------
 */

/* A value comes from outside: whatever its expiry word says, it is not filed. */
static void db_mark_unfiled(struct value *value)
{
    if (value_has_expire(value)) {
        value_set_expire(value, value_expire_ms(value), VALUE_WHEEL_NONE);
    }
    if (db_has_parts(value)) {
        hash_set_wheel_place(value, VALUE_WHEEL_NONE);
    }
}

/* While expired keys are only hidden, the caller cannot know that one is in its way. */
static __attribute__((noinline)) void db_drop_hidden(struct db *db, uint64_t hash, struct slice key)
{
    uint64_t *slot = table_find_slot(&db->table, hash, &key, db_key_is);
    if (slot != NULL) {
        db_remove(db, hash, (struct place){.slot = slot, .value = table_slot_entry(slot)});
    }
}

/* For assertions. */
static __attribute__((unused)) bool db_has_key(struct db *db, uint64_t hash, struct slice key)
{
    return table_find_slot(&db->table, hash, &key, db_key_is) != NULL;
}

bool db_reserve_step(struct db *db, struct table_reservation *reservation)
{
    return table_reserve_step(&db->table, reservation);
}

struct place db_insert(struct db *db, uint64_t hash, struct value *take_value)
{
    if (__builtin_expect(!db->keyspace->may_remove, 0)) {
        db_drop_hidden(db, hash, value_key(take_value));
    }
    DEBUG_ASSERT(hash == db_value_hash(db, take_value));
    DEBUG_ASSERT(!db_has_key(db, hash, value_key(take_value)));
    db_mark_unfiled(take_value);
    take_value->access = access_first(db->keyspace) & 0xffffff;
    db->stream_count += value_kind(take_value) == VALUE_STREAM;
    uint64_t *slot = table_insert(&db->table, hash, take_value);
    if (db_has_parts(take_value)) {
        db_file_parts(db, hash, take_value);
    }
    if (__builtin_expect(db->keyspace->on_insert != NULL, 0)) {
        db->keyspace->on_insert(db->keyspace->insert_context, db, value_key(take_value));
    }
    return (struct place){.slot = slot, .value = take_value};
}

void db_replace(struct db *db, struct place *place, struct value *take_value)
{
    struct value *old = place->value;
    DEBUG_ASSERT(db_has_told(db, value_key(old)));
    DEBUG_ASSERT(slice_equal(value_key(old), value_key(take_value)));
    db_unfile(db, old);
    db_mark_unfiled(take_value);
    db->stream_count -= value_kind(old) == VALUE_STREAM;
    db->stream_count += value_kind(take_value) == VALUE_STREAM;
    take_value->access = old->access;
    table_slot_set(place->slot, take_value);
    place->value = take_value;
    if (db_has_parts(take_value)) {
        db_file_parts(db, db_value_hash(db, take_value), take_value);
    }
    keyspace_free_value(db->keyspace, old);
}

struct value *db_take(struct db *db, uint64_t hash, struct place place)
{
    db_unfile(db, place.value);
    db->stream_count -= value_kind(place.value) == VALUE_STREAM;
    table_remove_slot(&db->table, hash, place.slot);
    return place.value;
}

void db_remove(struct db *db, uint64_t hash, struct place place)
{
    keyspace_free_value(db->keyspace, db_take(db, hash, place));
}

/* The hook sees the key in its place; it must leave the database as it is. */
void db_remove_for(struct db *db, uint64_t hash, struct place place, enum key_removal why,
                   bool is_filed)
{
    struct keyspace *keyspace = db->keyspace;
    if (why == KEY_EXPIRED) {
        keyspace->stats.expired++;
    } else {
        keyspace->stats.evicted++;
    }
    struct slice key = value_key(place.value);
    if (keyspace->on_removal != NULL) {
        keyspace->on_removal(keyspace->removal_context, db, key, place.value, why);
    }
    db_bump(db, key);
    if (!is_filed && value_has_expire(place.value) &&
        value_wheel_place(place.value) != VALUE_WHEEL_NONE) {
        value_set_expire(place.value, value_expire_ms(place.value), VALUE_WHEEL_NONE);
        db->volatile_count--;
    }
    db_remove(db, hash, place);
}

/* --- Check --------------------------------------------------------------------------------------
 */

static void db_check_value(struct db *db, struct value *value)
{
    uint64_t hash = db_value_hash(db, value);
    struct slice key = value_key(value);
    uint64_t *slot = table_find_slot(&db->table, hash, &key, db_key_is);
    ASSERT(slot != NULL && table_slot_entry(slot) == value);
    ASSERT(key.len <= VALUE_KEY_LEN_MAX);
    ASSERT(((value->flags & VALUE_HAS_LONG_KEY) != 0) == (key.len > VALUE_KEY_SHORT_MAX));
    ASSERT(mem_usable(value) == mem_good_size(value_block_len(value)));
    value_ops_of(value)->check(value);
    if (value_has_expire(value)) {
        uint16_t place = value_wheel_place(value);
        ASSERT(place < WHEEL_PLACES);
        ASSERT(db_find_reference(db, db_wheel_ref(hash), place) != NULL);
    }
    if (db_has_parts(value) &&
        !(value_is_pinned(value) && hash_wheel_place(value) == VALUE_WHEEL_NONE)) {
        uint16_t place = hash_wheel_place(value);
        ASSERT(place < WHEEL_PLACES);
        ASSERT(db_find_parts(db, db_wheel_ref(hash), place) != NULL);
    }
}

void db_check(struct db *db)
{
    table_check(&db->table);
    table_check(&db->watches);
    wheel_check(&db->wheel);
    wheel_check(&db->parts);
    size_t count = 0;
    size_t volatile_count = 0;
    size_t stream_count = 0;
    struct table_iterator iterator;
    table_iterate(&db->table, &iterator);
    for (struct value *value = table_next(&iterator); value != NULL;
         value = table_next(&iterator)) {
        db_check_value(db, value);
        count++;
        volatile_count += value_has_expire(value);
        stream_count += value_kind(value) == VALUE_STREAM;
    }
    ASSERT(count == table_count(&db->table));
    ASSERT(volatile_count == db->volatile_count);
    ASSERT(stream_count == db->stream_count);
    ASSERT(wheel_count(&db->wheel) >= volatile_count + db->wheel.stale);
}
