/* Snapshots in a simulated world: writers change everything at random while a save is under way,
 * and what is loaded from the file must be what was there when it began. Disks fill up and fail,
 * and the power goes at any moment: then the file is the old one or the new one, whole.
 *
 * States are compared by digests (tests/unit/persist/state.h). OURO_WORLDS sets the number of
 * worlds. */
#include <stdlib.h>

#include "base/log.h"
#include "persist/saver.h"
#include "ring/sim.h"
#include "tests/unit/commands/family.h"
#include "tests/unit/persist/state.h"

#define FILE_NAME "./dump.rdb"
#define TEMP_NAME "./temp-7.rdb"

enum {
    WORLDS_POINT = 40,
    WORLDS_CRASH = 60,
    WORLDS_TROUBLE = 60,
    KEYS = 60,    /* Names of keys of one kind. */
    FIELDS = 700, /* Names of elements. */
    ID_FIRST = 1000,
    LINE_LEN = 900,
    TURNS_MAX = 200000,
};

static uint64_t world_count(uint64_t standard)
{
    const char *text = getenv("OURO_WORLDS");
    return text == NULL ? standard : strtoull(text, NULL, 10);
}

/* ---- Worlds ---- */

struct bed {
    struct family family;
    struct rng rng;
    struct sim_world *world;
    struct ring *ring;
    struct saver *saver;
};

static void bed_configure(struct bed *bed)
{
    struct saver_config config = {.dir = ".",
                                  .file_name = "dump.rdb",
                                  .has_packing = rng_below(&bed->rng, 2) == 0,
                                  .has_checksum = rng_below(&bed->rng, 4) != 0,
                                  .is_syncing_along = rng_below(&bed->rng, 2) == 0,
                                  .share_percent = 50};
    saver_configure(bed->saver, &config);
}

static void bed_open(struct bed *bed, uint64_t seed)
{
    log_configure(&(struct log_config){.level = LOG_NOTHING, .path = "", .role = 'M'});
    memset(bed, 0, sizeof(*bed));
    rng_seed(&bed->rng, seed);
    family_init(&bed->family);
    rng_seed(&bed->family.fixture.rng, seed + 1);
    bed->family.limits.stream_node_entries = 1 + rng_below(&bed->rng, 20);
    bed->world = sim_world_new(
        &(struct sim_options){.seed = seed, .piece_max = 1 + (uint32_t)rng_below(&bed->rng, 3000)});
    bed->ring = sim_node_start(bed->world, 0);
    bed->saver = saver_new(&(struct saver_options){.exec = bed->family.fixture.exec,
                                                   .ring = bed->ring,
                                                   .speaks = slice_from_text("7.2.0"),
                                                   .pid = 7});
    bed_configure(bed);
}

static void bed_close(struct bed *bed)
{
    saver_free(bed->saver);
    ring_close(bed->ring);
    sim_world_free(bed->world);
    family_deinit(&bed->family);
}

static struct keyspace *keyspace_of(struct bed *bed)
{
    return bed->family.fixture.keyspace;
}

/* ---- Writers ---- */

/* A command of one line, drawn from forms: k and q stand for keys of the form's kind, f for a
 * field, n for a number, t for a text, b for a long text, i for the ID of an entry, g for a group
 * and c for a consumer. */
static const char *const forms[] = {
    "t SET k t",
    "t SET k t PX n",
    "t SET k b",
    "t APPEND k t",
    "t SETRANGE k n t",
    "t GETDEL k",
    "t INCRBYFLOAT number 1.5",
    "t SETBIT k n 1",
    "t GETEX k PERSIST",
    "t PFADD pf f",
    "t MSET k t q t",
    "l RPUSH k t f t",
    "l LPUSH k t b",
    "l LPOP k",
    "l RPOP k 3",
    "l LINSERT k BEFORE f t",
    "l LREM k 1 f",
    "l LTRIM k 1 -2",
    "l LSET k 0 t",
    "l LSET k 5 b",
    "l LMOVE k q LEFT RIGHT",
    "l LMOVE k k LEFT RIGHT",
    "h HSET k f t f t",
    "h HSET k f b",
    "h HDEL k f",
    "h HINCRBY k counter 1",
    "h HPEXPIRE k n FIELDS 1 f",
    "h HPEXPIRE k 20 FIELDS 2 f counter",
    "h HPERSIST k FIELDS 1 f",
    "h HGETDEL k FIELDS 1 f",
    "s SADD k f n t",
    "s SREM k f",
    "s SPOP k",
    "s SMOVE k q f",
    "s SUNIONSTORE k k q",
    "s SINTERSTORE k k q",
    "z ZADD k n f n t",
    "z ZREM k f",
    "z ZPOPMIN k",
    "z ZINCRBY k 1.5 f",
    "z ZREMRANGEBYRANK k 0 2",
    "z ZUNIONSTORE k 2 k q",
    "z ZREMRANGEBYSCORE k 0 n",
    "x XADD k * f t",
    "x XADD k * f t",
    "x XADD k * f b",
    "x XADD k MAXLEN ~ n * f n t f",
    "x XADD k i f t",
    "x XDEL k i i i",
    "x XDEL k i",
    "x XTRIM k MAXLEN n",
    "x XTRIM k MINID i",
    "x XTRIM k MINID ~ i",
    "x XSETID k i",
    "x XGROUP CREATE k g i MKSTREAM",
    "x XGROUP CREATE k g $",
    "x XGROUP SETID k g i",
    "x XGROUP CREATECONSUMER k g c",
    "x XGROUP DELCONSUMER k g c",
    "x XREADGROUP GROUP g c COUNT 7 STREAMS k >",
    "x XREADGROUP GROUP g c COUNT 3 NOACK STREAMS k >",
    "x XREADGROUP GROUP g c COUNT 7 STREAMS k i",
    "x XREADGROUP GROUP g c COUNT 30 STREAMS k 0",
    "x XREADGROUP GROUP g c COUNT 30 STREAMS x0 0",
    "x XAUTOCLAIM x0 g c 0 0 COUNT 20 JUSTID",
    "x XACK k g i i i i i i",
    "x XCLAIM k g c 0 i i i",
    "x XCLAIM k g c 0 i i FORCE JUSTID",
    "x XCLAIM k g c 0 i RETRYCOUNT n LASTID i",
    "x XAUTOCLAIM k g c 0 i COUNT 5",
};
/* Of streams, too, but one of them in a while is enough. */
static const char *const stream_rare_forms[] = {"XTRIM k MAXLEN 0", "XGROUP DESTROY k g",
                                                "XTRIM k MAXLEN 3"};
static const char *const general_forms[] = {
    "DEL k",    "UNLINK k", "RENAME k q",    "COPY k q REPLACE",      "PEXPIRE k n",  "PERSIST k",
    "MOVE k 1", "TOUCH k",  "PEXPIREAT k 5", "COPY k q DB 2 REPLACE", "RENAMENX k q", "GET k",
};
static const char *const rare_forms[] = {"FLUSHDB", "FLUSHALL", "SWAPDB 0 1", "SWAPDB 1 2"};

static void draw_word(struct bed *bed, char kind, char word, struct buf *line)
{
    struct rng *rng = &bed->rng;
    bool is_hot = rng_below(rng, 2) == 0;
    if (word == 'k' || word == 'q') {
        buf_printf(line, "%c%u", kind, (unsigned)rng_below(rng, is_hot ? 3 : KEYS));
    } else if (word == 'f') {
        buf_printf(line, "f%u", (unsigned)rng_below(rng, FIELDS));
    } else if (word == 'g' || word == 'c') {
        buf_printf(line, "%c%u", word, (unsigned)rng_below(rng, is_hot ? 2 : 5));
    } else if (word == 'i' && is_hot) {
        buf_printf(line, "%u-1", ID_FIRST + (unsigned)rng_below(rng, FIELDS));
    } else if (word == 'i') {
        int64_t ms = bed->family.fixture.now.wall_ms - (int64_t)rng_below(rng, 200);
        buf_printf(line, "%lld-%u", (long long)ms, (unsigned)rng_below(rng, 2));
    } else if (word == 'n') {
        buf_printf(line, "%u", 1 + (unsigned)rng_below(rng, 3000));
    } else {
        buf_printf(line, "%u-", (unsigned)rng_below(rng, 1000));
        size_t len = rng_below(rng, word == 'b' ? 600 : 30);
        memset(buf_reserve(line, len), 'x', len);
        line->len += len;
    }
}

/* One letter between spaces is replaced. */
static void say_form(struct bed *bed, char kind, const char *form)
{
    struct buf line;
    buf_init(&line);
    for (const char *at = form; *at != '\0'; at++) {
        bool is_alone = (at == form || at[-1] == ' ') && (at[1] == ' ' || at[1] == '\0');
        if (is_alone && strchr("kqfntbigc", *at) != NULL) {
            draw_word(bed, kind, *at, &line);
        } else {
            buf_append_byte(&line, *at);
        }
    }
    buf_append_byte(&line, '\0');
    struct fixture *fixture = &bed->family.fixture;
    say(fixture, line.data);
    /* A command that runs in slices: its client sends nothing more before the reply. */
    while ((fixture->client.session.flags & SESSION_SUSPENDED) != 0) {
        CHECK(!work_is_idle(&fixture->work));
        work_run(&fixture->work, 0);
    }
    buf_deinit(&line);
}

static void write_once(struct bed *bed)
{
    struct rng *rng = &bed->rng;
    size_t draw = rng_below(rng, 1000);
    if (draw == 0) {
        say_form(bed, 'x', rare_forms[rng_below(rng, sizeof(rare_forms) / sizeof(*rare_forms))]);
    } else if (draw < 5) {
        size_t index = rng_below(rng, sizeof(stream_rare_forms) / sizeof(*stream_rare_forms));
        say_form(bed, 'x', stream_rare_forms[index]);
    } else if (draw < 100) {
        size_t index = rng_below(rng, sizeof(general_forms) / sizeof(*general_forms));
        say_form(bed, "tlhszx"[rng_below(rng, 6)], general_forms[index]);
    } else {
        const char *form = forms[rng_below(rng, sizeof(forms) / sizeof(*forms))];
        say_form(bed, form[0], form + 2);
    }
}

/* What goes by itself: expiry, eviction, defragmentation, frees, the passing of time. */
static void background(struct bed *bed)
{
    struct fixture *fixture = &bed->family.fixture;
    struct keyspace *keyspace = fixture->keyspace;
    fixture->now.wall_ms += (int64_t)rng_below(&bed->rng, 12);
    switch (rng_below(&bed->rng, 12)) {
    case 0:
        keyspace_expire_step(keyspace, fixture->now.wall_ms, 0);
        return;
    case 1:
        keyspace_defrag_all(keyspace);
        return;
    case 2: {
        struct keyspace_config calm = *keyspace_config(keyspace);
        struct keyspace_config urgent = calm;
        urgent.memory_max = 1;
        urgent.policy = EVICT_ALL_RANDOM;
        keyspace_configure(keyspace, &urgent);
        if (rng_below(&bed->rng, 20) == 0) {
            keyspace_evict_step(keyspace, fixture->now.wall_ms, 0);
        }
        keyspace_configure(keyspace, &calm);
        return;
    }
    default:
        if (!work_is_idle(&fixture->work)) {
            work_run(&fixture->work, 0);
        }
    }
}

static void write_many(struct bed *bed, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        write_once(bed);
        if (rng_below(&bed->rng, 4) == 0) {
            background(bed);
        }
    }
}

/* Collections that are large in any build. */
static void fill(struct bed *bed)
{
    for (unsigned i = 0; i < FIELDS; i += 1 + (unsigned)rng_below(&bed->rng, 4)) {
        char line[LINE_LEN];
        snprintf(line, sizeof(line), "HSET h0 f%u value-%u", i, i);
        say_through(&bed->family.fixture, line);
        snprintf(line, sizeof(line), "SADD s0 f%u", i);
        say_through(&bed->family.fixture, line);
        snprintf(line, sizeof(line), "ZADD z0 %u f%u", i * 7 % 100, i);
        say_through(&bed->family.fixture, line);
        snprintf(line, sizeof(line), "RPUSH l0 f%u a-text-of-some-length-%u", i, i);
        say_through(&bed->family.fixture, line);
        snprintf(line, sizeof(line), "XADD x0 %u-1 f%u text-%u", ID_FIRST + i, i % 3, i);
        say_through(&bed->family.fixture, line);
    }
    for (unsigned i = 0; i < 3; i++) {
        char line[LINE_LEN];
        snprintf(line, sizeof(line), "XGROUP CREATE x0 g%u 0", i);
        say_through(&bed->family.fixture, line);
        for (unsigned consumer = 0; consumer < 4; consumer++) {
            snprintf(line, sizeof(line), "XREADGROUP GROUP g%u c%u COUNT %u STREAMS x0 >", i,
                     consumer, 10 + (unsigned)rng_below(&bed->rng, 50));
            say_through(&bed->family.fixture, line);
        }
    }
}

/* ---- Saving and loading ---- */

static void turn(struct bed *bed)
{
    saver_step(bed->saver);
    ring_turn(bed->ring, ring_mono_us(bed->ring) + 50);
}

static void save_while_writing(struct bed *bed, size_t busy)
{
    for (unsigned i = 0; i < TURNS_MAX && saver_is_on(bed->saver); i++) {
        turn(bed);
        write_many(bed, rng_below(&bed->rng, busy + 1));
    }
    CHECK(!saver_is_on(bed->saver));
}

/* The state that the file holds; fails the test when it is not whole. */
static struct state load(struct bed *bed)
{
    size_t len;
    const char *bytes = sim_file_peek(bed->world, 0, FILE_NAME, &len);
    CHECK(bytes != NULL);
    return state_load(slice_of(bytes, len));
}

static void check_file(struct bed *bed, const struct state *wanted)
{
    struct state loaded = load(bed);
    CHECK(state_is_same(wanted, &loaded));
    mem_free(loaded.keys);
}

/* ---- Cases ---- */

static void run_point_in_time(uint64_t seed)
{
    struct bed bed;
    bed_open(&bed, seed);
    fill(&bed);
    write_many(&bed, rng_below(&bed.rng, 600));
    for (unsigned round = 0; round < 2; round++) {
        bed_configure(&bed);
        struct state before = state_of(keyspace_of(&bed));
        CHECK(saver_begin(bed.saver));
        save_while_writing(&bed, 1 + rng_below(&bed.rng, 30));
        CHECK(!saver_stats(bed.saver)->is_last_bad);
        check_file(&bed, &before);
        mem_free(before.keys);
    }
    bed_close(&bed);
}

TEST(sim_snapshot, file_is_the_state_at_the_beginning)
{
    for (uint64_t i = 0; i < world_count(WORLDS_POINT); i++) {
        uint64_t seed = test_seed() * 1000003 + i;
        fprintf(stderr, "\rworld %llu ", (unsigned long long)seed);
        run_point_in_time(seed);
    }
    fprintf(stderr, "\r");
}

/* The power goes after a number of turns: files of two generations are known. */
static void run_crash(uint64_t seed)
{
    struct bed bed;
    bed_open(&bed, seed);
    write_many(&bed, 200);
    struct state old = state_of(keyspace_of(&bed));
    CHECK(saver_save_now(bed.saver));
    write_many(&bed, 200);
    struct state new = state_of(keyspace_of(&bed));
    CHECK(saver_begin(bed.saver));
    for (size_t left = rng_below(&bed.rng, 120); left > 0 && saver_is_on(bed.saver); left--) {
        turn(&bed);
        write_many(&bed, 1);
    }
    bool is_over = !saver_is_on(bed.saver);
    saver_leave(bed.saver);
    sim_node_stop(bed.world, 0, true);
    struct state found = load(&bed);
    CHECK(state_is_same(&new, &found) || (!is_over && state_is_same(&old, &found)));
    mem_free(found.keys);
    mem_free(old.keys);
    mem_free(new.keys);
    bed.ring = sim_node_start(bed.world, 0);
    bed_close(&bed);
}

TEST(sim_snapshot, power_cut_leaves_the_old_file_or_the_new_one)
{
    for (uint64_t i = 0; i < world_count(WORLDS_CRASH); i++) {
        uint64_t seed = test_seed() * 2000003 + i;
        fprintf(stderr, "\rworld %llu ", (unsigned long long)seed);
        run_crash(seed);
    }
    fprintf(stderr, "\r");
}

static void draw_trouble(struct bed *bed, size_t used)
{
    struct sim_disk *disk = sim_node_disk(bed->world, 0);
    switch (rng_below(&bed->rng, 3)) {
    case 0:
        disk->capacity_bytes = used + rng_below(&bed->rng, 3000);
        return;
    case 1:
        disk->fsync_failures = 1 + (unsigned)rng_below(&bed->rng, 2);
        return;
    default:
        disk->write_failures = 1 + (unsigned)rng_below(&bed->rng, 2);
    }
}

static void run_trouble(uint64_t seed)
{
    struct bed bed;
    size_t len;
    bed_open(&bed, seed);
    fill(&bed);
    struct state old = state_of(keyspace_of(&bed));
    CHECK(saver_save_now(bed.saver));
    CHECK(sim_file_peek(bed.world, 0, FILE_NAME, &len) != NULL);
    write_many(&bed, 300);
    struct state new = state_of(keyspace_of(&bed));
    CHECK(saver_begin(bed.saver));
    for (size_t left = rng_below(&bed.rng, 10); left > 0 && saver_is_on(bed.saver); left--) {
        turn(&bed);
    }
    draw_trouble(&bed, len);
    save_while_writing(&bed, 3);
    bool is_bad = saver_stats(bed.saver)->is_last_bad;
    struct state found = load(&bed);
    /* When the folder cannot be synced the new file is there already. */
    CHECK(state_is_same(&new, &found) || (is_bad && state_is_same(&old, &found)));
    mem_free(found.keys);
    CHECK(sim_file_peek(bed.world, 0, TEMP_NAME, &len) == NULL);
    mem_free(old.keys);
    mem_free(new.keys);
    /* The disk recovers, and so does the saver. */
    *sim_node_disk(bed.world, 0) = (struct sim_disk){.capacity_bytes = UINT64_MAX};
    struct state last = state_of(keyspace_of(&bed));
    CHECK(saver_save_now(bed.saver));
    check_file(&bed, &last);
    mem_free(last.keys);
    bed_close(&bed);
}

TEST(sim_snapshot, trouble_with_the_disk_leaves_the_old_file)
{
    for (uint64_t i = 0; i < world_count(WORLDS_TROUBLE); i++) {
        uint64_t seed = test_seed() * 3000017 + i;
        fprintf(stderr, "\rworld %llu ", (unsigned long long)seed);
        run_trouble(seed);
    }
    fprintf(stderr, "\r");
}
