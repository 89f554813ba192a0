/* Values that are read over several turns. */
#include "tests/unit/keyspace/keyspace_fixture.h"

#include "keyspace/keyspace_internal.h"
#include "types/hash/hash.h"

#define NOW FIXTURE_NOW

/* A pin that counts what it is told, and lets go when it is to finish. */
struct reader {
    struct pin pin;
    struct fixture *fixture;
    unsigned hurried, finished;
};

static void reader_on_hurry(struct pin *pin)
{
    LIST_OWNER(pin, struct reader, pin)->hurried++;
}

static void reader_on_finish(struct pin *pin)
{
    struct reader *reader = LIST_OWNER(pin, struct reader, pin);
    reader->finished++;
    keyspace_unpin(reader->fixture->keyspace, pin);
}

static void reader_pin(struct reader *reader, struct fixture *fixture, const char *key_text,
                       enum pin_mode mode)
{
    struct slice key = slice_from_text(key_text);
    uint64_t hash = db_hash(fixture->db, key);
    *reader = (struct reader){
        .fixture = fixture,
        .pin = {.mode = mode, .hurry = reader_on_hurry, .finish = reader_on_finish}};
    struct value *value = db_find(fixture->db, key, hash, NOW, FIND_NO_TOUCH);
    db_pin(fixture->db, hash, key, value, &reader->pin);
}

static void reader_unpin(struct reader *reader)
{
    keyspace_unpin(reader->fixture->keyspace, &reader->pin);
}

static bool is_barred(struct fixture *fixture, const char *key, unsigned modes)
{
    struct slice name = slice_from_text(key);
    return keyspace_is_barred(fixture->keyspace, db_hash(fixture->db, name), name, modes);
}

static bool reads(const struct reader *reader, const char *text)
{
    struct string_scratch scratch;
    return slice_equal(string_get(pin_value(&reader->pin), &scratch), slice_from_text(text));
}

TEST(pin, a_deleted_value_is_kept_until_the_last_pin_goes)
{
    struct fixture fixture;
    struct reader a, b;
    fixture_open(&fixture);
    fixture_set(fixture.db, "key", "a text of some length", NOW + 5000, NOW);
    reader_pin(&a, &fixture, "key", PIN_READ);
    reader_pin(&b, &fixture, "key", PIN_READ);
    size_t used = mem_used();
    fixture_remove(fixture.db, "key", NOW);
    CHECK(!fixture_has(fixture.db, "key", NOW));
    CHECK(a.hurried == 1 && b.hurried == 1);
    fixture_set(fixture.db, "key", "other", -1, NOW);
    CHECK(reads(&a, "a text of some length") && fixture_holds(fixture.db, "key", "other", NOW));
    CHECK(!is_barred(&fixture, "key", PIN_ANY));
    reader_unpin(&a);
    CHECK(reads(&b, "a text of some length"));
    reader_unpin(&b);
    reader_unpin(&b); /* Harmless. */
    CHECK(keyspace_pin_count(fixture.keyspace) == 0 && mem_used() < used);
    fixture_close(&fixture);
}

TEST(pin, an_overwritten_value_is_kept)
{
    struct fixture fixture;
    struct reader reader;
    fixture_open(&fixture);
    struct place place = fixture_set(fixture.db, "key", "before", -1, NOW);
    reader_pin(&reader, &fixture, "key", PIN_READ);
    struct slice key = slice_from_text("key");
    db_replace(fixture.db, &place, string_try_new(key, slice_from_text("after"), false));
    CHECK(reads(&reader, "before") && fixture_holds(fixture.db, "key", "after", NOW));
    reader_unpin(&reader);
    CHECK(fixture_holds(fixture.db, "key", "after", NOW));
    fixture_close(&fixture);
}

TEST(pin, a_flush_keeps_what_is_pinned)
{
    struct fixture fixture;
    struct reader reader, late;
    fixture_open(&fixture);
    fixture_fill(fixture.db, (struct fixture_fill){"k", 100, -1, 0}, NOW);
    reader_pin(&reader, &fixture, "k7", PIN_READ);
    reader_pin(&late, &fixture, "k8", PIN_READ);
    db_flush(fixture.db, false);
    reader_unpin(&late); /* Before its turn came to be freed. */
    work_drain(&fixture.work);
    CHECK(reads(&reader, "a value of a string"));
    reader_unpin(&reader);
    fixture_set(fixture.db, "k7", "x", -1, NOW);
    reader_pin(&reader, &fixture, "k7", PIN_READ);
    db_flush(fixture.db, true);
    CHECK(reads(&reader, "x"));
    reader_unpin(&reader);
    fixture_close(&fixture);
}

TEST(pin, a_swap_moves_nothing)
{
    struct fixture fixture;
    struct reader reader;
    fixture_open(&fixture);
    fixture_set(fixture.db, "key", "text", -1, NOW);
    reader_pin(&reader, &fixture, "key", PIN_READ);
    keyspace_swap(fixture.keyspace, 0, 1);
    CHECK(reads(&reader, "text"));
    fixture_remove(keyspace_db(fixture.keyspace, 1), "key", NOW);
    CHECK(reads(&reader, "text"));
    reader_unpin(&reader);
    fixture_close(&fixture);
}

TEST(pin, an_expired_value_is_kept_aside_but_a_key_that_must_stay_is_only_hidden)
{
    struct fixture fixture;
    struct reader reader, keeper;
    fixture_open(&fixture);
    fixture_set(fixture.db, "read", "r", NOW + 10, NOW);
    fixture_set(fixture.db, "kept", "k", NOW + 10, NOW);
    reader_pin(&reader, &fixture, "read", PIN_READ);
    reader_pin(&keeper, &fixture, "kept", PIN_KEEP);
    keyspace_expire_step(fixture.keyspace, NOW + 20, INT64_MAX);
    CHECK(!fixture_has(fixture.db, "read", NOW + 20) && !fixture_has(fixture.db, "kept", NOW + 20));
    CHECK(fixture.expired == 1 && reads(&reader, "r") && reads(&keeper, "k"));
    fixture_check(&fixture);
    reader_unpin(&reader);
    reader_unpin(&keeper);
    keyspace_expire_step(fixture.keyspace, NOW + 40, INT64_MAX);
    CHECK(fixture.expired == 2 && db_count(fixture.db) == 0);
    fixture_close(&fixture);
}

TEST(pin, what_is_pinned_is_neither_moved_nor_evicted)
{
    struct fixture fixture;
    struct reader reader;
    fixture_open(&fixture);
    fixture_set(fixture.db, "key", "text", -1, NOW);
    reader_pin(&reader, &fixture, "key", PIN_READ);
    const struct value *value = pin_value(&reader.pin);
    keyspace_defrag_all(fixture.keyspace);
    CHECK(fixture_place(fixture.db, "key", NOW).value == value);
    for (enum eviction_policy policy = EVICT_ALL_LRU; policy <= EVICT_ALL_RANDOM; policy++) {
        struct keyspace_config config = *keyspace_config(fixture.keyspace);
        config.memory_max = 1;
        config.policy = policy;
        config.sample_count = 5;
        reader.hurried = 0;
        keyspace_configure(fixture.keyspace, &config);
        CHECK(keyspace_evict_step(fixture.keyspace, NOW, INT64_MAX) == EVICT_BUSY);
        CHECK(reader.hurried > 0 && fixture.evicted == 0);
    }
    reader_unpin(&reader);
    CHECK(keyspace_evict_step(fixture.keyspace, NOW, INT64_MAX) != EVICT_FITS);
    CHECK(fixture.evicted == 1);
    fixture_close(&fixture);
}

TEST(pin, modes_bar_what_they_say)
{
    struct fixture fixture;
    struct reader reader, keeper, taker, absent, editor;
    fixture_open(&fixture);
    fixture_set(fixture.db, "edited", "e", -1, NOW);
    fixture_set(fixture.db, "read", "r", -1, NOW);
    fixture_set(fixture.db, "kept", "k", -1, NOW);
    fixture_set(fixture.db, "taken", "t", -1, NOW);
    reader_pin(&reader, &fixture, "read", PIN_READ);
    reader_pin(&keeper, &fixture, "kept", PIN_KEEP);
    reader_pin(&taker, &fixture, "taken", PIN_TAKE);
    reader_pin(&absent, &fixture, "absent", PIN_KEEP);
    CHECK(keyspace_edit_count(fixture.keyspace) == 0);
    reader_pin(&editor, &fixture, "edited", PIN_EDIT);
    CHECK(keyspace_edit_count(fixture.keyspace) == 1);
    CHECK(is_barred(&fixture, "edited", PIN_EDIT) && !is_barred(&fixture, "read", PIN_EDIT));
    CHECK(!is_barred(&fixture, "kept", PIN_EDIT) && !is_barred(&fixture, "taken", PIN_EDIT));
    reader_unpin(&editor);
    CHECK(keyspace_edit_count(fixture.keyspace) == 0 && !is_barred(&fixture, "edited", PIN_ANY));
    CHECK(is_barred(&fixture, "read", PIN_ANY));
    CHECK(!is_barred(&fixture, "read", PIN_KEEP | PIN_TAKE));
    CHECK(is_barred(&fixture, "kept", PIN_KEEP | PIN_TAKE));
    CHECK(is_barred(&fixture, "taken", PIN_KEEP | PIN_TAKE) &&
          !is_barred(&fixture, "taken", PIN_KEEP));
    CHECK(is_barred(&fixture, "absent", PIN_KEEP) && !is_barred(&fixture, "other", PIN_ANY));
    CHECK(pin_value(&taker.pin) == NULL && pin_value(&absent.pin) == NULL);
    struct slice key = slice_from_text("taken");
    keyspace_hurry_pins(fixture.keyspace, db_hash(fixture.db, key), key, PIN_ANY);
    CHECK(taker.hurried == 1 && keeper.hurried == 0);
    keyspace_finish_pins(fixture.keyspace, db_hash(fixture.db, key), key, PIN_ANY);
    CHECK(taker.finished == 1 && !is_barred(&fixture, "taken", PIN_ANY));
    reader_unpin(&reader);
    reader_unpin(&keeper);
    reader_unpin(&absent);
    fixture_close(&fixture);
}

TEST(pin, a_hash_loses_no_field_while_it_is_read_but_hides_them)
{
    struct fixture fixture;
    struct reader reader;
    struct type_limits limits = {0};
    fixture_open(&fixture);
    struct hash_rules rules = {.limits = &limits};
    struct slice key = slice_from_text("hash");
    struct slice text = slice_from_text("text");
    uint64_t hash = db_hash(fixture.db, key);
    struct place place = {.value = hash_try_new(key, false)};
    CHECK(hash_try_put(&place, slice_from_text("stays"), text, &rules) == HASH_ADDED);
    CHECK(hash_try_put_until(&place, slice_from_text("goes"), text, NOW + 10, &rules) ==
          HASH_ADDED);
    place = db_insert(fixture.db, hash, place.value);
    db_note_parts(fixture.db, hash, place);
    reader_pin(&reader, &fixture, "hash", PIN_READ);
    keyspace_expire_step(fixture.keyspace, NOW + 20, INT64_MAX);
    CHECK(reader.hurried == 1 && hash_count(pin_value(&reader.pin)) == 2);
    fixture_check(&fixture);
    place = fixture_place(fixture.db, "hash", NOW + 25);
    int64_t hidden_ms = db_hidden_ms(fixture.db, NOW + 25);
    CHECK(hash_count(place.value) == 2 && hash_count_shown(place.value, hidden_ms) == 1);
    reader_unpin(&reader);
    place = fixture_place(fixture.db, "hash", NOW + 25);
    CHECK(db_hidden_ms(fixture.db, NOW + 25) == 0 && hash_count(place.value) == 1);
    fixture_close(&fixture);
}

/* A large hash of which all fields but one expire at NOW + 10. */
static void set_volatile_hash(struct fixture *fixture, unsigned count)
{
    const struct type_limits limits = {.hash_entries = 4, .hash_value = 64};
    const struct hash_rules rules = {.limits = &limits};
    struct slice key = slice_from_text("hash");
    uint64_t hash = db_hash(fixture->db, key);
    struct place place = {.value = hash_try_new(key, false)};
    for (unsigned i = 0; i < count; i++) {
        char field[24];
        snprintf(field, sizeof(field), "field:%u", i);
        CHECK(hash_try_put_until(&place, slice_from_text(field), key, i == 0 ? -1 : NOW + 10,
                                 &rules) == HASH_ADDED);
    }
    place = db_insert(fixture->db, hash, place.value);
    db_note_parts(fixture->db, hash, place);
}

TEST(pin, many_fields_that_are_due_go_in_steps_and_nobody_looks_meanwhile)
{
    struct fixture fixture;
    fixture_open(&fixture);
    set_volatile_hash(&fixture, 500);
    keyspace_lead_parts(fixture.keyspace, NOW + 5);
    CHECK(keyspace_edit_count(fixture.keyspace) == 0);
    keyspace_lead_parts(fixture.keyspace, NOW + 20);
    CHECK(keyspace_edit_count(fixture.keyspace) == 1 && is_barred(&fixture, "hash", PIN_EDIT));
    work_drain(&fixture.work);
    CHECK(keyspace_edit_count(fixture.keyspace) == 0 && !is_barred(&fixture, "hash", PIN_ANY));
    CHECK(hash_count(fixture_place(fixture.db, "hash", NOW + 20).value) == 1);
    fixture_close(&fixture);
}

/* The wheel rests, as if more hashes were due than are led in a turn. */
TEST(pin, due_fields_of_a_key_that_is_asked_for_go_in_steps_too)
{
    struct fixture fixture;
    struct slice key = slice_from_text("hash");
    fixture_open(&fixture);
    uint64_t hash = db_hash(fixture.db, key);
    keyspace_set_expiry(fixture.keyspace, true, false);
    CHECK(!keyspace_lead_parts(fixture.keyspace, NOW + 20));
    set_volatile_hash(&fixture, 500);
    CHECK(!keyspace_lead_parts(fixture.keyspace, NOW + 5));
    CHECK(keyspace_lead_parts(fixture.keyspace, NOW + 20));
    CHECK(keyspace_edit_count(fixture.keyspace) == 0);
    db_lead_parts(fixture.db, slice_from_text("absent"), hash, NOW + 20);
    db_lead_parts(fixture.db, key, hash, NOW + 5);
    CHECK(keyspace_edit_count(fixture.keyspace) == 0);
    db_lead_parts(fixture.db, key, hash, NOW + 20);
    db_lead_parts(fixture.db, key, hash, NOW + 20);
    CHECK(keyspace_edit_count(fixture.keyspace) == 1 && is_barred(&fixture, "hash", PIN_EDIT));
    fixture_check(&fixture);
    work_drain(&fixture.work);
    CHECK(keyspace_edit_count(fixture.keyspace) == 0 && !is_barred(&fixture, "hash", PIN_ANY));
    CHECK(hash_count(fixture_place(fixture.db, "hash", NOW + 20).value) == 1);
    fixture_check(&fixture);
    fixture_close(&fixture);
}

TEST(pin, who_cannot_wait_has_due_fields_removed_at_once_and_a_flush_ends_it)
{
    struct fixture fixture;
    struct slice key = slice_from_text("hash");
    fixture_open(&fixture);
    set_volatile_hash(&fixture, 500);
    keyspace_lead_parts(fixture.keyspace, NOW + 20);
    keyspace_finish_pins(fixture.keyspace, db_hash(fixture.db, key), key, PIN_EDIT);
    CHECK(keyspace_edit_count(fixture.keyspace) == 0);
    struct place place = fixture_place(fixture.db, "hash", NOW + 20);
    CHECK(hash_count(place.value) == 1);
    db_remove(fixture.db, db_hash(fixture.db, key), place);
    set_volatile_hash(&fixture, 500);
    keyspace_lead_parts(fixture.keyspace, NOW + 40);
    CHECK(keyspace_edit_count(fixture.keyspace) == 1);
    db_flush(fixture.db, false);
    work_drain(&fixture.work);
    CHECK(keyspace_edit_count(fixture.keyspace) == 0);
    set_volatile_hash(&fixture, 500);
    keyspace_lead_parts(fixture.keyspace, NOW + 60);
    fixture_check(&fixture);
    fixture_close(&fixture); /* One is left. */
}

static void on_pin(void *context, bool is_held)
{
    *(int *)context += is_held ? 100 : 1;
}

TEST(pin, the_hook_hears_of_each_pin_and_each_release)
{
    struct fixture fixture;
    struct reader a, b;
    int count = 0;
    fixture_open(&fixture);
    keyspace_set_pin_hook(fixture.keyspace, on_pin, &count);
    fixture_set(fixture.db, "key", "text", -1, NOW);
    reader_pin(&a, &fixture, "key", PIN_READ);
    reader_pin(&b, &fixture, "key", PIN_KEEP);
    reader_unpin(&a);
    CHECK(count == 201 && is_barred(&fixture, "key", PIN_KEEP));
    reader_unpin(&b);
    CHECK(count == 202);
    fixture_close(&fixture);
}
