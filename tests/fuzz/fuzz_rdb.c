/* Fuzzes the loading of snapshots: whatever the bytes are, they are refused with a place inside of
 * the file, or they become keys whose values keep their invariants and survive every use. No single
 * allocation may exceed ALLOCATION_MAX_MB (the sanitizer watches), and nothing is left behind.
 *
 * The last eight bytes of an input are taken as the checksum: where the first byte after the magic
 * word's `RED` is lower case (which a loader would refuse), it is put right by the harness, for a
 * fuzzer would not find it. With -DFUZZ_STANDALONE the program makes its own inputs from the files
 * in tests/rdb:
 *
 *     fuzz_rdb [COUNT] [SEED]      COUNT damaged files: cuts, single bits, wild lengths
 *     fuzz_rdb all [FILE ...]      every cut and every single bit, with and without a right
 *                                  checksum: hours for each file
 *     fuzz_rdb records [FILE ...]  the same for each key or other item by itself, with the one
 *                                  behind it, as a file of its own: minutes
 *
 * What a wrong bit does it does to its item, or, when lengths are wrong, to the bytes behind it.
 * The second form leaves out only what would happen further on than the next item. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/crc.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/work.h"
#include "persist/load.h"
#include "tests/fuzz/use_value.h"

enum {
    SUM_LEN = 8,
    NOW_S = 1763735000, /* When keys of the files have not expired. */
    SEED = 7,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__asan_default_options(void);

/* The files have 55 KB. libFuzzer itself asks for a table of 20 MB. */
#ifdef FUZZ_STANDALONE
#define ALLOCATION_MAX_MB "4"
#else
#define ALLOCATION_MAX_MB "32"
#endif

const char *__asan_default_options(void)
{
    return "max_allocation_size_mb=" ALLOCATION_MAX_MB;
}

/* ---- One file ---- */

struct world {
    struct work_queue work;
    struct rng rng;
    struct keyspace *keyspace;
    struct type_limits limits;
};

static void world_init(struct world *world, bool is_tight)
{
    work_queue_init(&world->work);
    rng_seed(&world->rng, SEED);
    world->limits = type_limits_default();
    /* Longer packs are no different, but each field put into one is looked for in all of it. */
    world->limits.hash_entries = world->limits.zset_entries = 32;
    world->limits.set_listpack_entries = 32;
    if (is_tight) {
        world->limits.hash_entries = world->limits.set_listpack_entries = 2;
        world->limits.zset_entries = 2;
        world->limits.list_size = 2;
    }
    world->keyspace = keyspace_new(&(struct keyspace_options){.db_count = 16,
                                                              .hash_seed = SEED,
                                                              .rng = &world->rng,
                                                              .work = &world->work,
                                                              .now_ms = NOW_S * INT64_C(1000)});
    keyspace_set_expiry(world->keyspace, true, false);
}

static void world_deinit(struct world *world)
{
    keyspace_free(world->keyspace);
    work_drain(&world->work);
}

static void visit_key(void *context, struct slice key, const struct value *value)
{
    struct buf *keys = context;
    size_t len = key.len;
    (void)value;
    buf_append(keys, slice_of(&len, sizeof(len)));
    buf_append(keys, key);
}

/* Uses every key of a database once. */
static void use_db(struct world *world, struct db *db)
{
    struct buf keys;
    uint64_t cursor = 0;
    buf_init(&keys);
    do {
        cursor = db_scan(db, cursor, 100, 0, visit_key, &keys);
    } while (cursor != 0);
    for (size_t at = 0; at < keys.len;) {
        size_t len;
        memcpy(&len, keys.data + at, sizeof(len));
        struct slice key = slice_of(keys.data + at + sizeof(len), len);
        at += sizeof(len) + len;
        struct place place = db_find_place(db, key, db_hash(db, key), 0, FIND_EXPIRED);
        require(place.value != NULL, "a key that was seen is not found");
        struct blob *dump = codec_dump(place.value);
        require(dump != NULL, "no memory for a dump");
        blob_drop(dump);
        use_value(&place, &world->limits, &world->work);
    }
    buf_deinit(&keys);
}

/* Loads a file that appears in pieces of `step` bytes. */
static bool load(struct world *world, struct slice file, size_t step)
{
    struct loader loader;
    loader_init(&loader, &(struct load_options){.keyspace = world->keyspace,
                                                .limits = &world->limits,
                                                .work = &world->work,
                                                .now_ms = NOW_S * INT64_C(1000),
                                                .len = file.len,
                                                .checks_sum = true,
                                                .skips_foreign = true});
    size_t shown = 0;
    enum load_state state = LOAD_NEEDS_BYTES;
    while (state == LOAD_NEEDS_BYTES || state == LOAD_GOES_ON) {
        if (state == LOAD_NEEDS_BYTES && shown == file.len) {
            state = loader_end_early(&loader);
            break;
        }
        if (state == LOAD_NEEDS_BYTES) {
            size_t at = (size_t)rdb_reader_offset(&loader.reader);
            shown = shown + step < file.len ? shown + step : file.len;
            loader_feed(&loader, slice_of(file.data + at, shown - at));
        }
        state = loader_step(&loader);
    }
    require(state == LOAD_DONE || (loader.error[0] != '\0' && loader.error_offset <= file.len),
            "a refusal without a reason, or with a place beyond the end");
    loader_deinit(&loader);
    return state == LOAD_DONE;
}

/* Loads, uses what was loaded, and drops it. */
static bool try_file(struct slice file, size_t step, bool is_tight)
{
    struct world world;
    world_init(&world, is_tight);
    bool is_loaded = load(&world, file, step);
    for (unsigned i = 0; i < 16; i++) {
        struct db *db = keyspace_db(world.keyspace, i);
        if (db_count(db) > 0) {
            db_check(db);
            use_db(&world, db);
            db_check(db);
        }
    }
    world_deinit(&world);
    return is_loaded;
}

static void mend_sum(struct buf *file)
{
    if (file->len > SUM_LEN) {
        uint64_t sum = crc64(0, slice_of(file->data, file->len - SUM_LEN));
        memcpy(file->data + file->len - SUM_LEN, &sum, SUM_LEN);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 10) {
        return 0;
    }
    struct buf file;
    buf_init(&file);
    buf_append(&file, slice_of(data, size));
    if (file.data[3] == 'i') {
        file.data[3] = 'I';
        mend_sum(&file);
    }
    try_file(buf_slice(&file), 1 + data[size - 1] * (size_t)64, data[size - 2] % 2 != 0);
    buf_deinit(&file);
    return 0;
}

#ifdef FUZZ_STANDALONE

static const char *const paths[] = {
    "tests/rdb/redis-6.2-noeviction.rdb",   "tests/rdb/redis-6.2-allkeys-lru.rdb",
    "tests/rdb/deb7.0.15-noeviction.rdb",   "tests/rdb/deb7.0.15-allkeys-lru.rdb",
    "tests/rdb/redis-7.2.6-noeviction.rdb", "tests/rdb/redis-7.2.6-allkeys-lru.rdb",
    "tests/rdb/redis-7.4.1-noeviction.rdb", "tests/rdb/redis-7.4.1-allkeys-lru.rdb",
    "tests/rdb/valkey-noeviction.rdb",      "tests/rdb/valkey-allkeys-lru.rdb",
};

enum { PATH_COUNT = sizeof(paths) / sizeof(paths[0]) };

struct tally {
    unsigned long cuts, flips, mended, wild, loaded;
};

static bool read_file(const char *path, struct buf *file)
{
    FILE *in = fopen(path, "rb");
    buf_init(file);
    if (in == NULL) {
        return false;
    }
    size_t count;
    do {
        count = fread(buf_reserve(file, 65536), 1, 65536, in);
        file->len += count;
    } while (count > 0);
    fclose(in);
    return true;
}

static void try_copy(struct slice file, struct tally *tally, size_t step)
{
    /* A block of its own, so that the sanitizer sees what reaches beyond the end. */
    char *copy = mem_alloc(file.len + 1);
    memcpy(copy, file.data, file.len);
    tally->loaded += try_file(slice_of(copy, file.len), step, step % 2 == 0);
    mem_free(copy);
}

static void try_cut(const struct buf *file, size_t len, struct tally *tally)
{
    tally->cuts++;
    try_copy(slice_of(file->data, len), tally, file->len);
}

/* One bit, first as it is, then with the checksum put right. */
static void try_flip(struct buf *file, size_t bit, struct tally *tally)
{
    char sum[SUM_LEN];
    memcpy(sum, file->data + file->len - SUM_LEN, SUM_LEN);
    file->data[bit / 8] = (char)(file->data[bit / 8] ^ (1 << bit % 8));
    tally->flips++;
    try_copy(buf_slice(file), tally, file->len + bit % 2);
    if (bit / 8 < file->len - SUM_LEN) {
        mend_sum(file);
        tally->mended++;
        try_copy(buf_slice(file), tally, 4096 + bit % 2);
    }
    file->data[bit / 8] = (char)(file->data[bit / 8] ^ (1 << bit % 8));
    memcpy(file->data + file->len - SUM_LEN, sum, SUM_LEN);
}

/* Overwrites a place with what announces very much, and puts the checksum right. */
static void try_wild(const struct buf *original, struct rng *rng, struct tally *tally)
{
    static const char *const lengths[] = {
        "\x81\x7f\xff\xff\xff\xff\xff\xff\xff", "\x81\xff\xff\xff\xff\xff\xff\xff\xff",
        "\x80\xff\xff\xff\xff\x01\x01\x01\x01", "\xfb\x81\x00\x00\x00\xff\xff\xff\xff",
        "\xc3\x05\x80\xff\xff\xff\xff\x01\x01", "\x80\x00\xff\xff\xff\x00\x00\x00\x00",
    };
    struct buf file;
    buf_init(&file);
    buf_append(&file, buf_slice(original));
    size_t kinds = sizeof(lengths) / sizeof(lengths[0]);
    size_t at = 9 + (size_t)rng_below(rng, file.len - 9 - SUM_LEN - 9);
    memcpy(file.data + at, lengths[rng_below(rng, kinds)], 9);
    mend_sum(&file);
    tally->wild++;
    try_copy(buf_slice(&file), tally, 1 + (size_t)rng_below(rng, file.len));
    buf_deinit(&file);
}

/* ---- Items by themselves ---- */

enum { ITEMS_MAX = 4096, MAGIC_LEN = 9 };

struct item_list {
    size_t offsets[ITEMS_MAX + 1]; /* Of items, and of what is behind the last. */
    size_t count;
};

/* Where the items of a good file begin. */
static void find_items(struct slice file, struct item_list *list)
{
    struct type_limits limits = type_limits_default();
    struct rdb_reader reader;
    struct rdb_item item;
    rdb_reader_init(&reader, &(struct rdb_reader_options){.rules = {.limits = &limits},
                                                          .len = file.len,
                                                          .skips_foreign = true});
    rdb_reader_feed(&reader, file);
    list->count = 0;
    for (enum rdb_event event = rdb_reader_next(&reader, &item); event != RDB_END;
         event = rdb_reader_next(&reader, &item)) {
        require(event != RDB_FAILED && event != RDB_NEEDS_BYTES, "a good file is refused");
        require(list->count < ITEMS_MAX, "more items than expected");
        list->offsets[list->count++] = item.offset;
        list->offsets[list->count] = item.offset + item.len;
        if (event == RDB_VALUE) {
            value_free(item.value, NULL);
        }
    }
    rdb_reader_deinit(&reader);
}

/* A file of this item and the next; returns where the first one ends in it. */
static size_t make_small(const struct buf *file, const struct item_list *list, size_t index,
                         struct buf *small)
{
    size_t first = list->offsets[index];
    size_t end = list->offsets[index + 2 <= list->count ? index + 2 : list->count];
    uint64_t sum = 0;
    small->len = 0;
    buf_append(small, slice_of(file->data, MAGIC_LEN));
    buf_append(small, slice_of(file->data + first, end - first));
    buf_append_byte(small, '\xff');
    buf_append(small, slice_of(&sum, sizeof(sum)));
    mend_sum(small);
    return MAGIC_LEN + list->offsets[index + 1] - first;
}

static void report(const char *what, const struct tally *tally)
{
    printf("fuzz_rdb: %s: %lu cuts, %lu single bits, %lu with a right checksum, %lu wild lengths; "
           "%lu were loaded\n",
           what, tally->cuts, tally->flips, tally->mended, tally->wild, tally->loaded);
    fflush(stdout);
}

static int try_all(const char *path)
{
    struct buf file;
    struct tally tally = {0};
    if (!read_file(path, &file)) {
        return 1;
    }
    for (size_t len = 0; len < file.len; len++) {
        try_cut(&file, len, &tally);
    }
    for (size_t bit = 0; bit < file.len * 8; bit++) {
        try_flip(&file, bit, &tally);
        if (bit % 65536 == 65535) {
            report(path, &tally);
        }
    }
    report(path, &tally);
    buf_deinit(&file);
    return 0;
}

static int try_records(const char *path)
{
    struct buf file, small;
    struct item_list list;
    struct tally tally = {0};
    if (!read_file(path, &file)) {
        return 1;
    }
    buf_init(&small);
    find_items(buf_slice(&file), &list);
    for (size_t i = 0; i < list.count; i++) {
        size_t end = make_small(&file, &list, i, &small);
        for (size_t len = i == 0 ? 0 : MAGIC_LEN; len < end; len++) {
            try_cut(&small, len, &tally);
        }
        for (size_t bit = (i == 0 ? 0 : MAGIC_LEN) * 8; bit < end * 8; bit++) {
            try_flip(&small, bit, &tally);
        }
        if (i % 32 == 31) {
            report("so far", &tally);
        }
    }
    printf("%zu items of %zu bytes; ", list.count, file.len);
    report(path, &tally);
    buf_deinit(&small);
    buf_deinit(&file);
    return 0;
}

static int try_some(unsigned long count, unsigned long seed)
{
    struct tally tally = {0};
    struct rng rng;
    rng_seed(&rng, seed);
    for (unsigned long i = 0; i < count; i++) {
        struct buf file;
        if (!read_file(paths[i % PATH_COUNT], &file)) {
            fprintf(stderr, "fuzz_rdb: no %s here\n", paths[i % PATH_COUNT]);
            return 1;
        }
        if (i < PATH_COUNT) {
            require(try_file(buf_slice(&file), file.len, false), "a good file is refused");
        }
        try_cut(&file, (size_t)rng_below(&rng, file.len), &tally);
        try_flip(&file, (size_t)rng_below(&rng, file.len * 8), &tally);
        try_wild(&file, &rng, &tally);
        buf_deinit(&file);
    }
    report("some", &tally);
    return 0;
}

int main(int argc, char **argv)
{
    bool is_all = argc >= 2 && strcmp(argv[1], "all") == 0;
    bool is_by_record = argc >= 2 && strcmp(argv[1], "records") == 0;
    if (!is_all && !is_by_record) {
        /* A file is a hundred times what other fuzzers try at once. */
        unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 10) / 10 : 50;
        return try_some(count, argc > 2 ? strtoul(argv[2], NULL, 10) : 1);
    }
    int status = 0;
    for (int i = 0; i < (argc > 2 ? argc - 2 : PATH_COUNT); i++) {
        const char *path = argc > 2 ? argv[i + 2] : paths[i];
        status |= is_all ? try_all(path) : try_records(path);
    }
    return status;
}

#endif
