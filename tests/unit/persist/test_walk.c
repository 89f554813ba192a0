/* The walk: whatever happens to the keyspace while it is told, the bytes are those of a file that
 * holds what was there when it began. What is written by whom is the pictures' business and tested
 * there; here it is databases, keys and values as a whole. */
#include "persist/walk.h"

#include "base/buf.h"
#include "persist/mill.h"
#include "tests/unit/commands/family.h"
#include "tests/unit/persist/state.h"

enum { LINE_LEN = 400, FIELDS = 600, HEAD_LEN = 9 };

struct bed {
    struct family family;
    struct walk *walk;
    struct mill *mill;
    struct buf file;
    struct state before;
    bool is_over;
    unsigned version; /* What write_more asks for. */
};

static void bed_init(struct bed *bed)
{
    memset(bed, 0, sizeof(*bed));
    family_init(&bed->family);
    buf_init(&bed->file);
}

static void bed_deinit(struct bed *bed)
{
    CHECK(bed->walk == NULL);
    buf_deinit(&bed->file);
    family_deinit(&bed->family);
}

static void tell(struct bed *bed, const char *form, unsigned number)
{
    char line[LINE_LEN];
    snprintf(line, sizeof(line), form, number, number);
    say_through(&bed->family.fixture, line);
}

/* Small keys in two databases, and a large collection of each kind. */
static void fill(struct bed *bed, unsigned keys)
{
    for (unsigned i = 0; i < keys; i++) {
        tell(bed, "SET t%u value-%u", i);
    }
    for (unsigned i = 0; i < FIELDS; i++) {
        tell(bed, "HSET h field-%u %u", i);
        tell(bed, "SADD s member-%u", i);
        tell(bed, "ZADD z %u member-%u", i);
        tell(bed, "RPUSH l element-%u-which-is-not-so-short-%u", i);
        tell(bed, "XADD x %u-1 field value-%u", i + 1);
    }
    tell(bed, "XGROUP CREATE x g 0", 0);
    tell(bed, "XREADGROUP GROUP g c COUNT 200 STREAMS x >", 0);
    tell(bed, "SELECT 1", 0);
    for (unsigned i = 0; i < keys; i++) {
        tell(bed, "SET u%u other-%u", i);
    }
    tell(bed, "SELECT 0", 0);
}

static unsigned write_more(void *context, struct codec_out *out)
{
    (void)out;
    return ((struct bed *)context)->version;
}

static struct keyspace *keyspace_of(struct bed *bed)
{
    return bed->family.fixture.keyspace;
}

static void begin(struct bed *bed)
{
    bed->before = state_of(keyspace_of(bed));
    bed->file.len = 0;
    bed->is_over = false;
    bed->mill = mill_new(&(struct mill_options){.has_checksum = true});
    bed->walk = walk_new(&(struct walk_options){.keyspace = keyspace_of(bed),
                                                .speaks = slice_from_text("7.2.0"),
                                                .now_ms = bed->family.fixture.now.wall_ms,
                                                .write_more = write_more,
                                                .more_context = bed});
}

static void take_blocks(struct bed *bed)
{
    struct mill_block *block;
    while ((block = mill_take(bed->mill)) != NULL) {
        buf_append(&bed->file, blob_slice(block->blob));
        mill_give_back(bed->mill, block);
    }
}

/* The next piece, if there is one. */
static void step(struct bed *bed)
{
    if (bed->is_over) {
        return;
    }
    bed->is_over = walk_step(bed->walk, 0, 1);
    mill_feed(bed->mill, walk_out(bed->walk));
    if (bed->is_over) {
        mill_finish(bed->mill);
    }
    take_blocks(bed);
}

static void steps(struct bed *bed, unsigned count)
{
    while (count-- > 0) {
        step(bed);
    }
}

/* Goes on to the end, and compares. */
static void end(struct bed *bed)
{
    while (!bed->is_over) {
        step(bed);
    }
    CHECK(walk_held(bed->walk) == 0);
    CHECK(walk_stats(bed->walk)->keys_told == bed->before.count);
    walk_free(bed->walk);
    bed->walk = NULL;
    mill_free(bed->mill);
    struct state found = state_load(buf_slice(&bed->file));
    CHECK(state_is_same(&bed->before, &found));
    mem_free(found.keys);
    mem_free(bed->before.keys);
}

/* ---- Cases ---- */

TEST(walk, an_empty_keyspace_is_a_whole_file)
{
    struct bed bed;
    bed_init(&bed);
    begin(&bed);
    CHECK(bed.before.count == 0);
    end(&bed);
    bed_deinit(&bed);
}

/* Each line is what happens while the walk is somewhere: at the beginning, among the keys, inside
 * of a collection, near the end. */
static void check_meanwhile(const char *const *lines, size_t count)
{
    for (unsigned position = 0; position < 260; position += 1 + position / 3) {
        struct bed bed;
        bed_init(&bed);
        fill(&bed, 60);
        begin(&bed);
        steps(&bed, position);
        for (size_t i = 0; i < count; i++) {
            say_through(&bed.family.fixture, lines[i]);
        }
        end(&bed);
        bed_deinit(&bed);
    }
}

#define CHECK_MEANWHILE(...)                                                                       \
    do {                                                                                           \
        static const char *const lines[] = {__VA_ARGS__};                                          \
        check_meanwhile(lines, sizeof(lines) / sizeof(lines[0]));                                  \
    } while (0)

TEST(walk, flushall_takes_the_picture_along)
{
    CHECK_MEANWHILE("FLUSHALL", "SET t1 new", "HSET h a b", "RPUSH l x");
    CHECK_MEANWHILE("FLUSHALL SYNC", "SET t1 new");
}

TEST(walk, flushdb_of_one_database_leaves_the_other)
{
    CHECK_MEANWHILE("FLUSHDB", "SET t1 new", "SELECT 1", "SET u1 new", "SELECT 0");
    CHECK_MEANWHILE("SELECT 1", "FLUSHDB ASYNC", "SET u1 new", "SELECT 0", "DEL h");
}

TEST(walk, swapped_databases_keep_the_number_that_they_had)
{
    CHECK_MEANWHILE("SWAPDB 0 1", "SET t1 new", "DEL u3", "SELECT 1", "HSET h field-1 new",
                    "LPOP l", "SELECT 0", "SWAPDB 1 2", "SWAPDB 0 1");
}

TEST(walk, renamed_keys_keep_the_name_that_they_had)
{
    CHECK_MEANWHILE("RENAME h h2", "HSET h2 field-1 new field-77 new", "RENAME t1 t2",
                    "RENAME l l2", "LPOP l2", "RENAME x x2", "XTRIM x2 MAXLEN 5", "RENAME s t5");
}

TEST(walk, copies_are_not_told)
{
    CHECK_MEANWHILE("COPY h h2", "HSET h field-1 new", "COPY l t1 REPLACE", "COPY x x2",
                    "XACK x g 1-1 2-1 3-1", "COPY z t7 DB 1", "COPY s s3 DB 3", "SREM s member-9");
}

TEST(walk, moved_keys_are_told_where_they_were)
{
    CHECK_MEANWHILE("MOVE h 1", "MOVE t1 2", "MOVE x 3", "SELECT 1", "HSET h field-1 new",
                    "MOVE u1 0", "SELECT 3", "XDEL x 1-1 5-1", "SELECT 0");
}

TEST(walk, removed_keys_are_told)
{
    CHECK_MEANWHILE("DEL h", "UNLINK x", "DEL l s z", "HSET h a b", "GETDEL t1", "SET z text");
}

TEST(walk, keys_that_expire_meanwhile_are_told_with_their_moment)
{
    for (unsigned position = 0; position < 60; position += 7) {
        struct bed bed;
        bed_init(&bed);
        fill(&bed, 60);
        for (unsigned i = 0; i < 60; i += 2) {
            tell(&bed, "PEXPIRE t%u 50", i);
        }
        tell(&bed, "PEXPIRE h 50", 0);
        tell(&bed, "PEXPIRE x 50", 0);
        tell(&bed, "HPEXPIRE h 30 FIELDS 1 field-7", 0);
        begin(&bed);
        steps(&bed, position);
        bed.family.fixture.now.wall_ms += 100;
        for (unsigned i = 0; i < 100; i++) {
            keyspace_expire_step(keyspace_of(&bed), bed.family.fixture.now.wall_ms, 0);
        }
        CHECK_THROUGH(&bed.family.fixture, "EXISTS h x t0 t2", ":0\r\n");
        end(&bed);
        CHECK(memcmp(bed.file.data, "REDIS0012", HEAD_LEN) == 0);
        bed_deinit(&bed);
    }
}

TEST(walk, keys_that_are_evicted_meanwhile_are_told)
{
    struct bed bed;
    bed_init(&bed);
    fill(&bed, 100);
    struct keyspace_config config = *keyspace_config(keyspace_of(&bed));
    struct keyspace_config calm = config;
    config.memory_max = 1;
    config.policy = EVICT_ALL_RANDOM;
    begin(&bed);
    steps(&bed, 3);
    keyspace_configure(keyspace_of(&bed), &config);
    for (unsigned i = 0; i < 400 && db_count(keyspace_db(keyspace_of(&bed), 0)) > 0; i++) {
        keyspace_evict_step(keyspace_of(&bed), bed.family.fixture.now.wall_ms, 0);
    }
    CHECK(db_count(keyspace_db(keyspace_of(&bed), 0)) < 100);
    keyspace_configure(keyspace_of(&bed), &calm);
    end(&bed);
    bed_deinit(&bed);
}

TEST(walk, tables_may_grow_and_shrink)
{
    struct bed bed;
    bed_init(&bed);
    fill(&bed, 200);
    begin(&bed);
    steps(&bed, 2);
    for (unsigned i = 0; i < 20000; i++) {
        tell(&bed, "SET new%u x", i);
        if (i < 5000) {
            tell(&bed, "HSET h new-%u x", i);
            tell(&bed, "SADD s new-%u", i);
        }
        if (i % 500 == 0) {
            step(&bed);
        }
    }
    for (unsigned i = 0; i < 20000; i++) {
        tell(&bed, "DEL new%u t%u", i);
        if (i < FIELDS) {
            tell(&bed, "HDEL h field-%u", i);
        }
    }
    end(&bed);
    bed_deinit(&bed);
}

/* ---- What it holds and tells ---- */

TEST(walk, what_is_told_ahead_is_counted_and_given_back)
{
    struct bed bed;
    bed_init(&bed);
    fill(&bed, 10);
    begin(&bed);
    CHECK(walk_held(bed.walk) == 0);
    tell(&bed, "HSET h field-1 new", 0);
    size_t one = walk_held(bed.walk);
    CHECK(one > 0 && walk_stats(bed.walk)->collection_count >= 1);
    for (unsigned i = 0; i < FIELDS; i++) {
        tell(&bed, "HSET h field-%u new", i);
    }
    CHECK(walk_held(bed.walk) > one + FIELDS * 4);
    CHECK(walk_stats(bed.walk)->keys_ahead == 0); /* Is counted when a table is finished. */
    steps(&bed, 100000);
    CHECK(walk_stats(bed.walk)->keys_ahead >= 1);
    CHECK(walk_stats(bed.walk)->elements_ahead >= FIELDS);
    end(&bed);
    bed_deinit(&bed);
}

TEST(walk, stops_when_there_are_bytes_enough)
{
    struct bed bed;
    size_t most = 0;
    bed_init(&bed);
    fill(&bed, 3000);
    begin(&bed);
    while (!bed.is_over) {
        bed.is_over = walk_step(bed.walk, INT64_MAX, 500);
        most = walk_out(bed.walk)->bytes > most ? walk_out(bed.walk)->bytes : most;
        mill_feed(bed.mill, walk_out(bed.walk));
        take_blocks(&bed);
    }
    CHECK(most >= 500 && most < 20000);
    mill_finish(bed.mill);
    take_blocks(&bed);
    end(&bed);
    bed_deinit(&bed);
}

/* Says a command whose last word is `len` bytes long. */
static void tell_long(struct bed *bed, const char *form, unsigned number, size_t len)
{
    char *line = mem_alloc(LINE_LEN + len);
    int head = snprintf(line, LINE_LEN, form, number);
    memset(line + head, 'x', len);
    line[(size_t)head + len] = '\0';
    say_through(&bed->family.fixture, line);
    mem_free(line);
}

/* Between two looks at the clock there is what fits into a piece, and the rest of a bucket. */
TEST(walk, of_long_elements_few_are_told_at_a_time)
{
    static const char *const forms[] = {"HSET h %u ", "SADD s %u",      "ZADD z 1 %u",
                                        "RPUSH l %u", "XADD x %u-1 f ", "SET t%u "};
    const unsigned count = 200;
    const size_t len = 10000;
    for (size_t kind = 0; kind < sizeof(forms) / sizeof(forms[0]); kind++) {
        struct bed bed;
        size_t most = 0;
        bed_init(&bed);
        for (unsigned i = 1; i <= count; i++) {
            tell_long(&bed, forms[kind], i, len);
        }
        begin(&bed);
        while (!bed.is_over) {
            bed.is_over = walk_step(bed.walk, 0, SIZE_MAX);
            most = walk_out(bed.walk)->bytes > most ? walk_out(bed.walk)->bytes : most;
            mill_feed(bed.mill, walk_out(bed.walk));
            take_blocks(&bed);
        }
        CHECK(most >= len && most < 30 * len);
        mill_finish(bed.mill);
        take_blocks(&bed);
        end(&bed);
        bed_deinit(&bed);
    }
}

TEST(walk, can_be_given_up_at_any_moment)
{
    for (unsigned position = 0; position < 120; position += 3) {
        struct bed bed;
        bed_init(&bed);
        fill(&bed, 60);
        begin(&bed);
        for (unsigned i = 0; i < position; i++) {
            step(&bed);
            tell(&bed, "HSET h field-%u new", i);
            tell(&bed, "XDEL x %u-1", i);
            tell(&bed, "XACK x g %u-1", i + 3);
        }
        say_through(&bed.family.fixture, position % 2 == 0 ? "FLUSHALL" : "DEL h x l");
        walk_free(bed.walk);
        bed.walk = NULL;
        mill_free(bed.mill);
        mem_free(bed.before.keys);
        begin(&bed); /* And another may begin. */
        end(&bed);
        bed_deinit(&bed);
    }
}

static bool says_version(struct bed *bed, const char *wanted)
{
    begin(bed);
    end(bed);
    return memcmp(bed->file.data, wanted, HEAD_LEN) == 0;
}

TEST(walk, the_version_is_the_lowest_that_can_carry_the_content)
{
    struct bed bed;
    bed_init(&bed);
    tell(&bed, "SET t%u x", 0);
    CHECK(says_version(&bed, "REDIS0009"));
    tell(&bed, "XADD x 1-1 f v", 0);
    CHECK(says_version(&bed, "REDIS0010"));
    tell(&bed, "HSET h f v", 0);
    CHECK(says_version(&bed, "REDIS0010"));
    tell(&bed, "HPEXPIRE h 1000 FIELDS 1 f", 0);
    CHECK(says_version(&bed, "REDIS0012"));
    tell(&bed, "HPERSIST h FIELDS 1 f", 0);
    tell(&bed, "DEL h x", 0);
    for (unsigned i = 0; i < 3000; i++) { /* What had expired is forgotten by the wheel. */
        bed.family.fixture.now.wall_ms++;
        keyspace_expire_step(keyspace_of(&bed), bed.family.fixture.now.wall_ms, 0);
    }
    CHECK(says_version(&bed, "REDIS0009"));
    bed.version = 10;
    CHECK(says_version(&bed, "REDIS0010"));
    bed_deinit(&bed);
}
