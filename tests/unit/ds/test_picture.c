/* Pictures: whatever happens to the table, they tell what was there at the beginning, once. */
#include "ds/picture.h"

#include <string.h>

#include "base/rng.h"
#include "tests/unit/test.h"

enum { ITEMS = 3000 };

struct item {
    uint64_t hash;
    uint32_t text;     /* What a change in place changes. */
    uint32_t pictured; /* Its text when the picture began; 0: it was not there. */
    uint32_t told_count;
    bool is_in;
};

static uint64_t item_hash(const void *entry, const void *context)
{
    (void)context;
    return ((const struct item *)entry)->hash;
}

static bool item_is(const void *entry, const void *key)
{
    return entry == key;
}

static const struct table_kind item_kind = {.hash_of = item_hash};

static void on_tell(void *context, void *entry)
{
    struct item *item = entry;
    (void)context;
    CHECK(item->is_in);
    CHECK(item->text == item->pictured);
    item->told_count++;
}

struct bed {
    struct rng rng;
    struct table table, other;
    struct table *home; /* Where the items are. */
    struct picture picture;
    struct item items[ITEMS];
};

static void put(struct bed *bed, struct item *item)
{
    table_insert(bed->home, item->hash, item);
    item->is_in = true;
    item->text++;
}

static void drop(struct bed *bed, struct item *item)
{
    CHECK(table_remove(bed->home, item->hash, item, item_is) == item);
    item->is_in = false;
}

static void change(struct bed *bed, struct item *item)
{
    table_will_change(bed->home, item->hash);
    item->text++;
}

static void swap(struct bed *bed)
{
    table_swap(&bed->table, &bed->other);
    bed->home = bed->home == &bed->table ? &bed->other : &bed->table;
}

static void act(struct bed *bed, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct item *item = &bed->items[rng_below(&bed->rng, ITEMS)];
        if (!item->is_in) {
            put(bed, item);
        } else if (rng_below(&bed->rng, 2) == 0) {
            drop(bed, item);
        } else {
            change(bed, item);
        }
    }
    if (rng_below(&bed->rng, 16) == 0) {
        swap(bed);
    }
}

static void bed_init(struct bed *bed, uint64_t seed)
{
    memset(bed, 0, sizeof(*bed));
    rng_seed(&bed->rng, seed);
    table_init(&bed->table, &item_kind);
    table_init(&bed->other, &item_kind);
    bed->home = &bed->table;
    for (unsigned i = 0; i < ITEMS; i++) {
        bed->items[i].hash = rng_next(&bed->rng);
    }
}

static void begin(struct bed *bed)
{
    for (unsigned i = 0; i < ITEMS; i++) {
        struct item *item = &bed->items[i];
        item->pictured = item->is_in ? item->text : 0;
        item->told_count = 0;
    }
    picture_begin(&bed->picture, bed->home, on_tell, NULL);
}

static void check_all_told(struct bed *bed)
{
    for (unsigned i = 0; i < ITEMS; i++) {
        CHECK(bed->items[i].told_count == (bed->items[i].pictured != 0));
    }
}

static void empty(struct bed *bed)
{
    for (unsigned i = 0; i < ITEMS; i++) {
        if (bed->items[i].is_in) {
            drop(bed, &bed->items[i]);
        }
    }
}

TEST(picture, tells_what_was_there_at_the_beginning)
{
    static struct bed bed;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        bed_init(&bed, seed);
        act(&bed, (unsigned)rng_below(&bed.rng, 3 * ITEMS));
        for (unsigned round = 0; round < 3; round++) {
            unsigned busy = (unsigned)rng_below(&bed.rng, 60);
            begin(&bed);
            while (!picture_step(&bed.picture, 1 + rng_below(&bed.rng, 20))) {
                act(&bed, busy);
            }
            act(&bed, 100);
            picture_end(&bed.picture);
            check_all_told(&bed);
            table_check(bed.home);
        }
        empty(&bed);
    }
}

TEST(picture, of_an_empty_table_is_finished_at_once)
{
    static struct bed bed;
    bed_init(&bed, 1);
    begin(&bed);
    CHECK(picture_step(&bed.picture, 1));
    put(&bed, &bed.items[0]);
    CHECK(picture_step(&bed.picture, 1));
    picture_end(&bed.picture);
    check_all_told(&bed);
    empty(&bed);
}

TEST(picture, survives_the_removal_of_everything)
{
    static struct bed bed;
    bed_init(&bed, 2);
    act(&bed, ITEMS);
    begin(&bed);
    picture_step(&bed.picture, 10);
    empty(&bed);
    CHECK(bed.home->guard == &bed.picture.guard);
    while (!picture_step(&bed.picture, 10)) {
        act(&bed, 5);
    }
    picture_end(&bed.picture);
    check_all_told(&bed);
    empty(&bed);
}

TEST(picture, follows_contents_that_are_taken_out)
{
    static struct bed bed;
    struct table_drain drain;
    bed_init(&bed, 3);
    act(&bed, ITEMS);
    begin(&bed);
    picture_step(&bed.picture, 10);
    table_drain_begin(&drain, bed.home);
    CHECK(bed.picture.guard.table == &drain.table && bed.home->guard == NULL);
    while (!picture_step(&bed.picture, 10)) {
    }
    picture_end(&bed.picture);
    check_all_told(&bed);
    size_t visits = 0;
    while (!table_drain_step(&drain, on_tell, &visits, 100)) {
    }
}

static void on_tell_enough(void *context, void *entry)
{
    struct bed *bed = context;
    on_tell(NULL, entry);
    picture_end_step(&bed->picture);
}

TEST(picture, a_step_ends_when_its_teller_has_enough)
{
    static struct bed bed;
    unsigned steps = 1;
    bed_init(&bed, 5);
    act(&bed, ITEMS);
    begin(&bed);
    bed.picture.tell = on_tell_enough;
    bed.picture.context = &bed;
    while (!picture_step(&bed.picture, SIZE_MAX)) {
        steps++;
    }
    CHECK(steps > ITEMS / 64);
    picture_end(&bed.picture);
    check_all_told(&bed);
    empty(&bed);
}

TEST(picture, may_end_early)
{
    static struct bed bed;
    bed_init(&bed, 4);
    act(&bed, ITEMS);
    begin(&bed);
    picture_step(&bed.picture, 10);
    CHECK(picture_memory(&bed.picture) > 0);
    picture_end(&bed.picture);
    CHECK(!picture_is_on(&bed.picture) && picture_memory(&bed.picture) == 0);
    act(&bed, ITEMS);
    empty(&bed);
    picture_end(&bed.picture);
}
