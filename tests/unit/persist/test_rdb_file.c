/* The file of a snapshot on a simulated disk: whole under its name or not there, whatever fails. */
#include <errno.h>

#include "base/buf.h"
#include "persist/rdb_file.h"
#include "ring/sim.h"
#include "tests/unit/test.h"

#define PATH "./dump.rdb"
#define TEMP_PATH "./temp-1.rdb"
#define OLD_TEXT "the old file"

enum { TURNS_MAX = 100000 };

struct bed {
    struct sim_world *world;
    struct ring *ring;
    struct mill *mill;
    struct rdb_file file;
    struct buf wanted; /* What is to be in the file, the checksum (none: zeros) included. */
};

static void bed_init(struct bed *bed, uint64_t seed, size_t len)
{
    struct rope rope;
    char none[8] = {0};
    memset(bed, 0, sizeof(*bed));
    bed->world = sim_world_new(&(struct sim_options){.seed = seed, .piece_max = 1000});
    sim_file_put(bed->world, 0, PATH, OLD_TEXT, strlen(OLD_TEXT));
    bed->ring = sim_node_start(bed->world, 0);
    bed->mill = mill_new(&(struct mill_options){.has_packing = false});
    rope_init(&rope);
    buf_init(&bed->wanted);
    for (size_t i = 0; i < len; i++) {
        buf_append_byte(&bed->wanted, (char)(i * 7 + i / 251));
    }
    rope_add_bytes(&rope, buf_slice(&bed->wanted));
    buf_append(&bed->wanted, slice_of(none, sizeof(none)));
    mill_feed(bed->mill, &rope);
    mill_finish(bed->mill);
    bed->file.mill = bed->mill;
    bed->file.is_syncing_along = seed % 2 == 0;
}

static void bed_deinit(struct bed *bed)
{
    ring_close(bed->ring);
    if (bed->file.block != NULL) {
        mill_give_back(bed->mill, bed->file.block); /* The power went while it was written. */
    }
    mill_free(bed->mill);
    sim_world_free(bed->world);
    buf_deinit(&bed->wanted);
}

static void turn(struct bed *bed)
{
    rdb_file_pump(&bed->file);
    ring_turn(bed->ring, ring_mono_us(bed->ring) + 100);
}

static void run(struct bed *bed)
{
    for (unsigned i = 0; i < TURNS_MAX && !rdb_file_is_done(&bed->file); i++) {
        turn(bed);
    }
    CHECK(rdb_file_is_done(&bed->file));
}

static bool file_is(struct bed *bed, struct slice wanted)
{
    size_t len;
    const char *bytes = sim_file_peek(bed->world, 0, PATH, &len);
    return bytes != NULL && slice_equal(slice_of(bytes, len), wanted);
}

static bool has_temp(struct bed *bed)
{
    size_t len;
    return sim_file_peek(bed->world, 0, TEMP_PATH, &len) != NULL;
}

/* The old file is there, and nothing else. */
static void check_failed(struct bed *bed, int error, enum rdb_file_step step)
{
    CHECK(bed->file.error == error && bed->file.failed_step == step);
    CHECK(file_is(bed, slice_from_text(OLD_TEXT)));
    CHECK(!has_temp(bed));
}

TEST(rdb_file, takes_the_place_of_the_old_one_whole)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct bed bed;
        bed_init(&bed, seed, seed * seed * 3000);
        rdb_file_begin(&bed.file, bed.ring, PATH, TEMP_PATH);
        run(&bed);
        CHECK(bed.file.error == 0);
        CHECK(bed.file.written == bed.wanted.len);
        CHECK(file_is(&bed, buf_slice(&bed.wanted)));
        CHECK(!has_temp(&bed));
        bed_deinit(&bed);
    }
}

TEST(rdb_file, leaves_the_old_one_when_a_write_fails)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct bed bed;
        bed_init(&bed, seed, 400000);
        sim_node_disk(bed.world, 0)->write_failures = 1;
        rdb_file_begin(&bed.file, bed.ring, PATH, TEMP_PATH);
        run(&bed);
        check_failed(&bed, -EIO, RDB_FILE_WRITING);
        bed_deinit(&bed);
    }
}

TEST(rdb_file, leaves_the_old_one_when_the_disk_is_full)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct bed bed;
        bed_init(&bed, seed, 400000);
        sim_node_disk(bed.world, 0)->capacity_bytes = seed * 20000;
        rdb_file_begin(&bed.file, bed.ring, PATH, TEMP_PATH);
        run(&bed);
        check_failed(&bed, -ENOSPC, RDB_FILE_WRITING);
        bed_deinit(&bed);
    }
}

/* Without syncs in between, which would meet the failure first, when is known. */
TEST(rdb_file, leaves_the_old_one_when_it_cannot_be_synced)
{
    struct bed bed;
    bed_init(&bed, 1, 1000);
    bed.file.is_syncing_along = false;
    sim_node_disk(bed.world, 0)->fsync_failures = 1;
    rdb_file_begin(&bed.file, bed.ring, PATH, TEMP_PATH);
    run(&bed);
    check_failed(&bed, -EIO, RDB_FILE_SYNCING);
    bed_deinit(&bed);
}

TEST(rdb_file, fails_before_it_touches_anything_where_there_is_no_folder)
{
    struct bed bed;
    bed_init(&bed, 2, 1000);
    rdb_file_begin(&bed.file, bed.ring, "missing/dump.rdb", "missing/temp-1.rdb");
    run(&bed);
    CHECK(bed.file.error == 0 || bed.file.failed_step == RDB_FILE_OPENING);
    CHECK(file_is(&bed, slice_from_text(OLD_TEXT)));
    bed_deinit(&bed);
}

/* At any moment: before the rename the old one stays, after it the new one is there. */
TEST(rdb_file, can_be_given_up_at_any_moment)
{
    unsigned old_count = 0;
    unsigned new_count = 0;
    for (uint64_t turns = 0; turns < 120; turns++) {
        struct bed bed;
        bed_init(&bed, turns, 3000);
        rdb_file_begin(&bed.file, bed.ring, PATH, TEMP_PATH);
        for (uint64_t i = 0; i < turns && !rdb_file_is_done(&bed.file); i++) {
            turn(&bed);
        }
        rdb_file_abort(&bed.file);
        run(&bed);
        bool is_new = file_is(&bed, buf_slice(&bed.wanted));
        CHECK(is_new ? bed.file.error == 0 || bed.file.failed_step >= RDB_FILE_RENAMING
                     : bed.file.error == -ECANCELED);
        CHECK(is_new || file_is(&bed, slice_from_text(OLD_TEXT)));
        CHECK(!has_temp(&bed));
        new_count += is_new;
        old_count += !is_new;
        bed_deinit(&bed);
    }
    CHECK(old_count > 0 && new_count > 0);
}

TEST(rdb_file, is_the_old_or_the_new_one_after_a_power_cut)
{
    for (uint64_t turns = 0; turns < 150; turns++) {
        struct bed bed;
        bed_init(&bed, turns, 3000);
        rdb_file_begin(&bed.file, bed.ring, PATH, TEMP_PATH);
        for (uint64_t i = 0; i < turns && !rdb_file_is_done(&bed.file); i++) {
            turn(&bed);
        }
        bool is_done = rdb_file_is_done(&bed.file);
        sim_node_stop(bed.world, 0, true);
        bool is_new = file_is(&bed, buf_slice(&bed.wanted));
        CHECK(is_new || (!is_done && file_is(&bed, slice_from_text(OLD_TEXT))));
        bed.ring = sim_node_start(bed.world, 0);
        bed_deinit(&bed);
    }
}

TEST(rdb_file, has_words_for_every_step)
{
    for (int step = RDB_FILE_OPENING; step <= RDB_FILE_DONE; step++) {
        CHECK(strlen(rdb_file_step_name((enum rdb_file_step)step)) > 3);
    }
}
