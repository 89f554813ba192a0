/* Loading: what becomes of keys whose time was over before the file was read. */
#include "persist/load.h"

#include "base/buf.h"
#include "base/crc.h"
#include "tests/unit/test.h"

#define BYTES(text) slice_of(text, sizeof(text) - 1)
#define HISTORY                                                                                    \
    "\xfa\x07repl-id\x28"                                                                          \
    "0123456789012345678901234567890123456789"
#define OVER "\xfc\xe8\x03\x00\x00\x00\x00\x00\x00\x00\x04over\x01x"   /* At 1000 ms. */
#define LASTS "\xfc\x70\x17\x00\x00\x00\x00\x00\x00\x00\x05lasts\x01x" /* At 6000 ms. */
#define STAYS "\x00\x05stays\x01x"
#define KEYS "\xfe\x00" OVER LASTS STAYS "\xff"

enum { NOW_MS = 5000 };

struct bed {
    struct work_queue work;
    struct rng rng;
    struct keyspace *keyspace;
    struct type_limits limits;
    struct loader loader;
};

/* Loads such a file with these rules; a checksum is added. */
static void bed_load(struct bed *bed, struct slice text, struct load_options options)
{
    struct buf file;
    work_queue_init(&bed->work);
    rng_seed(&bed->rng, 1);
    bed->limits = type_limits_default();
    bed->keyspace = keyspace_new(&(struct keyspace_options){
        .db_count = 2, .hash_seed = 7, .rng = &bed->rng, .work = &bed->work, .now_ms = NOW_MS});
    buf_init(&file);
    buf_append_text(&file, "REDIS0009");
    buf_append(&file, text);
    uint64_t sum = crc64(0, buf_slice(&file));
    buf_append(&file, slice_of(&sum, sizeof(sum)));
    options.keyspace = bed->keyspace;
    options.limits = &bed->limits;
    options.work = &bed->work;
    options.now_ms = NOW_MS;
    options.len = file.len;
    options.checks_sum = true;
    loader_init(&bed->loader, &options);
    loader_feed(&bed->loader, buf_slice(&file));
    enum load_state state;
    do {
        state = loader_step(&bed->loader);
    } while (state == LOAD_GOES_ON);
    CHECK(state == LOAD_DONE);
    buf_deinit(&file);
}

static void bed_deinit(struct bed *bed)
{
    loader_deinit(&bed->loader);
    db_check(keyspace_db(bed->keyspace, 0));
    keyspace_free(bed->keyspace);
    work_drain(&bed->work);
}

/* Whether the key is stored, whatever its moment. */
static bool holds(struct bed *bed, const char *name)
{
    struct db *db = keyspace_db(bed->keyspace, 0);
    struct slice key = slice_from_text(name);
    return db_find_place(db, key, db_hash(db, key), NOW_MS, FIND_NO_TOUCH | FIND_EXPIRED).value !=
           NULL;
}

/* Loads, and tells whether the key that is over was kept. */
static bool is_kept(struct slice text, struct load_options options)
{
    struct bed bed;
    bed_load(&bed, text, options);
    bool is_there = holds(&bed, "over");
    CHECK(holds(&bed, "lasts") && holds(&bed, "stays"));
    CHECK(bed.loader.keys_loaded == 2 + (uint64_t)is_there);
    CHECK(bed.loader.keys_expired == 1 - (uint64_t)is_there);
    CHECK(db_volatile_count(keyspace_db(bed.keyspace, 0)) == 1 + (size_t)is_there);
    bed_deinit(&bed);
    return is_there;
}

TEST(load, what_has_expired_is_left_out_and_counted)
{
    CHECK(!is_kept(BYTES(KEYS), (struct load_options){.keeps_expired = false}));
    CHECK(!is_kept(BYTES(HISTORY KEYS), (struct load_options){.keeps_expired = false}));
}

/* Its primary tells a replica what expires; until then it must hold what the primary holds. */
TEST(load, a_replica_keeps_what_has_expired)
{
    CHECK(is_kept(BYTES(KEYS), (struct load_options){.keeps_expired = true}));
}

TEST(load, who_goes_on_with_a_history_keeps_what_has_expired)
{
    const struct load_options options = {.keeps_expired_of_history = true};
    CHECK(is_kept(BYTES(HISTORY KEYS), options));
    CHECK(!is_kept(BYTES(KEYS), options));
}

/* A key that was kept is filed like any other: it goes as soon as this server may remove it. */
TEST(load, what_was_kept_goes_when_it_may)
{
    struct bed bed;
    bed_load(&bed, BYTES(KEYS), (struct load_options){.keeps_expired = true});
    struct db *db = keyspace_db(bed.keyspace, 0);
    keyspace_set_expiry(bed.keyspace, false, false);
    CHECK(db_count(db) == 3);
    keyspace_set_expiry(bed.keyspace, true, true);
    for (unsigned i = 0; i < 1000 && db_count(db) > 2; i++) {
        keyspace_expire_step(bed.keyspace, NOW_MS + i / 2, 0);
    }
    CHECK(db_count(db) == 2 && !holds(&bed, "over"));
    bed_deinit(&bed);
}

/* Where a value is given back at the end: the queue holds the last ones. */
TEST(load, a_file_that_breaks_leaves_nothing_behind)
{
    struct bed bed;
    bed_load(&bed, BYTES(KEYS), (struct load_options){.replaces = true});
    struct loader again;
    struct load_options options = bed.loader.options;
    options.replaces = false;
    loader_init(&again, &options);
    loader_feed(&again, BYTES("REDIS0009\xfe\x00" STAYS "\xff"));
    enum load_state state;
    do {
        state = loader_step(&again);
    } while (state == LOAD_GOES_ON);
    CHECK(state == LOAD_NEEDS_BYTES && loader_end_early(&again) == LOAD_FAILED);
    CHECK(again.error[0] != '\0');
    loader_deinit(&again);
    bed_deinit(&bed);
}
