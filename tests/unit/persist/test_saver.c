/* The saver on a simulated disk: when it saves, what it says of it, and what happens to those who
 * wait or write meanwhile. What the files hold is the walk's business. */
#include "persist/saver.h"

#include "base/log.h"
#include "ring/sim.h"
#include "tests/unit/commands/family.h"
#include "tests/unit/persist/state.h"

#define PATH "./dump.rdb"
#define BUSY "-ERR Background save already in progress\r\n"
#define STARTED "+Background saving started\r\n"

enum { TURNS_MAX = 100000, LINE_LEN = 20000, START_MS = 1000000 };

struct bed {
    struct family family;
    struct sim_world *world;
    struct ring *ring;
    struct saver *saver;
    struct saver_config config;
    unsigned yields;
    struct pass *lent;
};

static void bed_init(struct bed *bed)
{
    log_configure(&(struct log_config){.level = LOG_NOTHING, .path = "", .role = 'M'});
    memset(bed, 0, sizeof(*bed));
    family_init(&bed->family);
    bed->world = sim_world_new(&(struct sim_options){.seed = test_seed()});
    bed->ring = sim_node_start(bed->world, 0);
    bed->saver = saver_new(&(struct saver_options){.exec = bed->family.fixture.exec,
                                                   .ring = bed->ring,
                                                   .speaks = slice_from_text("7.2.0"),
                                                   .pid = 7});
    saver_register(bed->saver);
    exec_set_gate(bed->family.fixture.exec, GATE_READ_ONLY, saver_gate, bed->saver);
    bed->config = (struct saver_config){
        .dir = ".", .file_name = "dump.rdb", .has_checksum = true, .share_percent = 25};
    saver_configure(bed->saver, &bed->config);
}

static void bed_deinit(struct bed *bed)
{
    saver_free(bed->saver);
    ring_close(bed->ring);
    sim_world_free(bed->world);
    family_deinit(&bed->family);
}

static struct fixture *fixture_of(struct bed *bed)
{
    return &bed->family.fixture;
}

static void set_points(struct bed *bed, int64_t seconds, int64_t changes)
{
    bed->config.points[0] = (struct save_point){.seconds = seconds, .changes = changes};
    bed->config.point_count = 1;
    bed->config.stops_writes = true;
    saver_configure(bed->saver, &bed->config);
}

static void turn(struct bed *bed)
{
    saver_step(bed->saver);
    ring_turn(bed->ring, ring_mono_us(bed->ring) + 100);
}

static void finish(struct bed *bed)
{
    for (unsigned i = 0; i < TURNS_MAX && saver_is_on(bed->saver); i++) {
        turn(bed);
    }
    CHECK(!saver_is_on(bed->saver));
}

static bool has_file(struct bed *bed)
{
    size_t len;
    return sim_file_peek(bed->world, 0, PATH, &len) != NULL;
}

static void pass_time(struct bed *bed, int64_t seconds)
{
    fixture_of(bed)->now.wall_ms += seconds * 1000;
    saver_tick(bed->saver);
}

/* ---- Commands ---- */

TEST(saver, a_save_is_begun_and_counted)
{
    struct bed bed;
    bed_init(&bed);
    const struct saver_stats *stats = saver_stats(bed.saver);
    CHECK(stats->last_duration_s == -1 && stats->begun == 0);
    CHECK_SAY(fixture_of(&bed), "SET a b", "+OK\r\n");
    CHECK_SAY(fixture_of(&bed), "LASTSAVE", ":1000\r\n");
    fixture_of(&bed)->now.wall_ms += 5000;
    CHECK_SAY(fixture_of(&bed), "BGSAVE", STARTED);
    CHECK(saver_is_on(bed.saver) && saver_is_busy(bed.saver) && stats->begun == 1);
    CHECK_SAY(fixture_of(&bed), "BGSAVE", BUSY);
    CHECK_SAY(fixture_of(&bed), "BGSAVE SCHEDULE", BUSY);
    CHECK_SAY(fixture_of(&bed), "SAVE", BUSY);
    CHECK_SAY(fixture_of(&bed), "BGSAVE NOW", "-ERR syntax error\r\n");
    finish(&bed);
    CHECK(has_file(&bed) && !stats->is_last_bad);
    CHECK(stats->file_bytes > 0 && stats->pass.walk.keys_told == 1);
    CHECK(saver_due_us(bed.saver) == INT64_MAX && saver_held(bed.saver) == 0);
    CHECK_SAY(fixture_of(&bed), "LASTSAVE", ":1005\r\n");
    bed_deinit(&bed);
}

TEST(saver, changes_during_a_save_count_for_the_next)
{
    struct bed bed;
    bed_init(&bed);
    const struct exec_stats *stats = exec_stats(fixture_of(&bed)->exec);
    say(fixture_of(&bed), "SET a b");
    say(fixture_of(&bed), "SET c d");
    CHECK(stats->dirty == 2);
    CHECK(saver_begin(bed.saver));
    say(fixture_of(&bed), "SET e f");
    finish(&bed);
    CHECK(stats->dirty == 1);
    bed_deinit(&bed);
}

/* Within a transaction there is no moment to save: it comes after. */
TEST(saver, a_save_in_a_transaction_waits_for_its_end)
{
    struct bed bed;
    bed_init(&bed);
    say(fixture_of(&bed), "MULTI");
    say(fixture_of(&bed), "SET a b");
    say(fixture_of(&bed), "BGSAVE");
    CHECK_SAY(fixture_of(&bed), "EXEC", "*2\r\n+OK\r\n+Background saving scheduled\r\n");
    CHECK(!saver_is_on(bed.saver));
    saver_tick(bed.saver);
    CHECK(saver_is_on(bed.saver));
    finish(&bed);
    saver_tick(bed.saver);
    CHECK(!saver_is_on(bed.saver));
    bed_deinit(&bed);
}

/* ---- Points ---- */

TEST(saver, saves_when_a_point_is_reached)
{
    struct bed bed;
    bed_init(&bed);
    set_points(&bed, 60, 2);
    say(fixture_of(&bed), "SET a b");
    pass_time(&bed, 100);
    CHECK(!saver_is_on(bed.saver)); /* One change is not enough. */
    say(fixture_of(&bed), "SET a c");
    saver_tick(bed.saver);
    CHECK(saver_is_on(bed.saver));
    finish(&bed);
    say(fixture_of(&bed), "SET a d");
    say(fixture_of(&bed), "SET a e");
    pass_time(&bed, 60);
    CHECK(!saver_is_on(bed.saver)); /* Not long enough since the last. */
    pass_time(&bed, 1);
    CHECK(saver_is_on(bed.saver));
    bed_deinit(&bed);
}

TEST(saver, a_save_that_failed_refuses_writes_and_is_tried_again)
{
    struct bed bed;
    bed_init(&bed);
    set_points(&bed, 10, 1);
    say(fixture_of(&bed), "SET a b");
    sim_node_disk(bed.world, 0)->capacity_bytes = 0;
    pass_time(&bed, 11);
    finish(&bed);
    CHECK(saver_stats(bed.saver)->is_last_bad && saver_refuses_writes(bed.saver) &&
          !has_file(&bed));
    CHECK(strncmp(say(fixture_of(&bed), "SET a c"), "-MISCONF", 8) == 0);
    CHECK_SAY(fixture_of(&bed), "GET a", "$1\r\nb\r\n");
    CHECK_SAY(fixture_of(&bed), "LASTSAVE", ":1000\r\n");
    saver_tick(bed.saver);
    CHECK(!saver_is_on(bed.saver)); /* Not at once. */
    sim_node_disk(bed.world, 0)->capacity_bytes = UINT64_MAX;
    pass_time(&bed, 6);
    CHECK(saver_is_on(bed.saver));
    finish(&bed);
    CHECK(!saver_stats(bed.saver)->is_last_bad && has_file(&bed));
    CHECK_SAY(fixture_of(&bed), "SET a c", "+OK\r\n");
    bed_deinit(&bed);
}

TEST(saver, without_points_nothing_is_refused)
{
    struct bed bed;
    bed_init(&bed);
    say(fixture_of(&bed), "SET a b");
    sim_node_disk(bed.world, 0)->write_failures = 1;
    CHECK(saver_begin(bed.saver));
    finish(&bed);
    CHECK(saver_stats(bed.saver)->is_last_bad && !saver_refuses_writes(bed.saver));
    CHECK_SAY(fixture_of(&bed), "SET a c", "+OK\r\n");
    bed_deinit(&bed);
}

#ifndef OURO_HOSTILE /* There sheets have 256 bytes and blocks 300: it would take minutes. */
/* A hash whose fields are all changed while the walk is in another: each is kept as it was. */
TEST(saver, writers_are_held_back_above_the_bound_and_go_on_below_it)
{
    enum { FIELDS = 3000, TEXT_LEN = 12000 };
    struct bed bed;
    char line[LINE_LEN];
    bed_init(&bed);
    char *text = mem_zalloc(TEXT_LEN + 1);
    memset(text, 'x', TEXT_LEN);
    for (unsigned i = 0; i < FIELDS; i++) {
        snprintf(line, sizeof(line), "HSET big f%u %s", i, text);
        say(fixture_of(&bed), line);
    }
    struct state before = state_of(fixture_of(&bed)->keyspace);
    CHECK(saver_begin(bed.saver));
    struct exec *exec = fixture_of(&bed)->exec;
    for (unsigned i = 0; i < FIELDS; i++) {
        CHECK(exec_pause_mode(exec) == PAUSE_NONE);
        snprintf(line, sizeof(line), "HSET big f%u new", i);
        say(fixture_of(&bed), line);
    }
    CHECK(saver_held(bed.saver) > 32 << 20);
    turn(&bed);
    CHECK(exec_pause_mode(exec) == PAUSE_WRITE && saver_stats(bed.saver)->pass.held_back == 1);
    CHECK_SAY(fixture_of(&bed), "HGET big f1", "$3\r\nnew\r\n"); /* Readers go on. */
    CHECK_SAY(fixture_of(&bed), "HSET big f1 newer", "(later)");
    finish(&bed);
    fixture_of(&bed)->now.wall_ms += 1000;
    exec_tick(exec);
    CHECK(exec_pause_mode(exec) == PAUSE_NONE);
    CHECK(saver_stats(bed.saver)->pass.held_peak > 32 << 20 && saver_held(bed.saver) == 0);
    size_t len;
    const char *bytes = sim_file_peek(bed.world, 0, PATH, &len);
    struct state found = state_load(slice_of(bytes, len));
    CHECK(state_is_same(&before, &found));
    mem_free(before.keys);
    mem_free(found.keys);
    mem_free(text);
    bed_deinit(&bed);
}

#endif

/* ---- Others who need the pass ---- */

static void on_yield(void *context)
{
    struct bed *bed = context;
    bed->yields++;
    pass_free(bed->lent);
    bed->lent = NULL;
    saver_end_lease(bed->saver);
}

TEST(saver, a_pass_that_is_lent_keeps_saves_away_but_for_the_last)
{
    struct bed bed;
    bed_init(&bed);
    say(fixture_of(&bed), "SET a b");
    const struct saver_lease lease = {.on_yield = on_yield, .context = &bed};
    bed.lent = saver_lend_pass(bed.saver, &lease);
    CHECK(bed.lent != NULL && saver_is_busy(bed.saver) && !saver_is_on(bed.saver));
    CHECK_SAY(fixture_of(&bed), "BGSAVE", BUSY);
    CHECK(saver_lend_pass(bed.saver, &lease) == NULL);
    CHECK(saver_save_now(bed.saver));
    CHECK(bed.yields == 1 && has_file(&bed) && !saver_is_busy(bed.saver));
    bed_deinit(&bed);
}

TEST(saver, a_save_that_is_given_up_is_no_failure)
{
    struct bed bed;
    bed_init(&bed);
    say(fixture_of(&bed), "SET a b");
    CHECK(saver_begin(bed.saver));
    turn(&bed);
    saver_abort(bed.saver);
    CHECK(!saver_is_on(bed.saver) && !saver_stats(bed.saver)->is_last_bad && !has_file(&bed));
    CHECK(saver_save_now(bed.saver) && has_file(&bed));
    bed_deinit(&bed);
}
