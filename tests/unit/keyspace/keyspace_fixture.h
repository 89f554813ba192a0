/* A keyspace with its queue, its generator and a hook that counts, for the tests of this room. */
#pragma once

#include "base/mem.h"
#include "base/rng.h"
#include "base/work.h"
#include "keyspace/keyspace.h"
#include "tests/unit/test.h"
#include "types/string/string.h"

#define FIXTURE_NOW INT64_C(1700000000000)

struct fixture {
    struct keyspace *keyspace;
    struct db *db;
    struct work_queue work;
    struct rng rng;
    unsigned expired, evicted;
    char last_key[64]; /* Of the last removal. */
};

static inline void fixture_on_removal(void *context, struct db *db, struct slice key,
                                      const struct value *value, enum key_removal why)
{
    struct fixture *fixture = context;
    CHECK(db_keyspace(db) == fixture->keyspace);
    CHECK(slice_equal(value_key(value), key));
    fixture->expired += why == KEY_EXPIRED;
    fixture->evicted += why == KEY_EVICTED;
    snprintf(fixture->last_key, sizeof(fixture->last_key), "%.*s", (int)key.len, key.data);
}

static inline void fixture_open(struct fixture *fixture)
{
    *fixture = (struct fixture){0};
    mem_thread_enter();
    work_queue_init(&fixture->work);
    rng_seed(&fixture->rng, test_seed());
    struct keyspace_options options = {.db_count = 4,
                                       .hash_seed = test_seed() * 77,
                                       .rng = &fixture->rng,
                                       .work = &fixture->work,
                                       .now_ms = FIXTURE_NOW,
                                       .on_removal = fixture_on_removal,
                                       .removal_context = fixture};
    fixture->keyspace = keyspace_new(&options);
    fixture->db = keyspace_db(fixture->keyspace, 0);
}

static inline void fixture_check(struct fixture *fixture)
{
    for (unsigned i = 0; i < keyspace_db_count(fixture->keyspace); i++) {
        db_check(keyspace_db(fixture->keyspace, i));
    }
}

static inline void fixture_close(struct fixture *fixture)
{
    fixture_check(fixture);
    keyspace_free(fixture->keyspace);
    work_drain(&fixture->work);
}

/* SET key text, with an expiry when expire_ms >= 0, as a command does it. */
static inline struct place fixture_set(struct db *db, const char *key_text, const char *text,
                                       int64_t expire_ms, int64_t now_ms)
{
    struct slice key = slice_from_text(key_text);
    uint64_t hash = db_hash(db, key);
    struct place place = db_find_place(db, key, hash, now_ms, 0);
    bool has_expire = expire_ms >= 0;
    if (place.value == NULL) {
        place = db_insert(db, hash, string_try_new(key, slice_from_text(text), has_expire));
    } else {
        bool had_expire = value_has_expire(place.value);
        CHECK(string_try_set(&place, slice_from_text(text), has_expire));
        if (had_expire && !has_expire) {
            db_note_expire_lost(db, &place);
        }
    }
    if (has_expire) {
        CHECK(db_set_expire(db, hash, &place, expire_ms));
    }
    return place;
}

static inline struct place fixture_place(struct db *db, const char *key_text, int64_t now_ms)
{
    struct slice key = slice_from_text(key_text);
    return db_find_place(db, key, db_hash(db, key), now_ms, FIND_NO_TOUCH);
}

/* Whether the key is visible and holds the text. */
static inline bool fixture_holds(struct db *db, const char *key_text, const char *text,
                                 int64_t now_ms)
{
    struct slice key = slice_from_text(key_text);
    struct value *value = db_find(db, key, db_hash(db, key), now_ms, FIND_READ);
    struct string_scratch scratch;
    return value != NULL && slice_equal(string_get(value, &scratch), slice_from_text(text));
}

static inline bool fixture_has(struct db *db, const char *key_text, int64_t now_ms)
{
    return fixture_place(db, key_text, now_ms).value != NULL;
}

/* Fills with keys "<prefix><i>"; the expiry, if any, is expire_ms + i * step_ms. */
struct fixture_fill {
    const char *prefix;
    unsigned count;
    int64_t expire_ms, step_ms;
};

static inline void fixture_fill(struct db *db, struct fixture_fill fill, int64_t now_ms)
{
    for (unsigned i = 0; i < fill.count; i++) {
        char key[64];
        snprintf(key, sizeof(key), "%s%u", fill.prefix, i);
        fixture_set(db, key, "a value of a string",
                    fill.expire_ms < 0 ? -1 : fill.expire_ms + i * fill.step_ms, now_ms);
    }
}

static inline void fixture_remove(struct db *db, const char *key_text, int64_t now_ms)
{
    struct place place = fixture_place(db, key_text, now_ms);
    CHECK(place.value != NULL);
    db_remove(db, db_hash(db, slice_from_text(key_text)), place);
}
