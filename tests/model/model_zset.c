/* Random operations on a sorted set and on a naive twin, an array of scores by member, with the
 * check operation after each step; for limits that keep it packed, make it large at once, and let
 * it grow from one to the other. */
#include "base/rng.h"
#include "base/work.h"
#include "tests/unit/test.h"
#include "types/zset/zset.h"

enum { MEMBERS = 300, STEPS = 4000 };

struct twin {
    struct place place;
    struct type_limits limits;
    double scores[MEMBERS];
    bool is_present[MEMBERS];
    size_t count;
    struct rng rng;
};

static struct slice name_of(unsigned member, char *out)
{
    /* Some are integers, some long. */
    int len = member % 3 == 0   ? sprintf(out, "%u", member)
              : member % 3 == 1 ? sprintf(out, "member:%u", member)
                                : sprintf(out, "%0*u", 20 + (int)(member % 7) * 40, member);
    return slice_of(out, (size_t)len);
}

static bool twin_is_before(const struct twin *twin, unsigned a, unsigned b)
{
    char a_text[300];
    char b_text[300];
    if (twin->scores[a] != twin->scores[b]) {
        return twin->scores[a] < twin->scores[b];
    }
    return slice_compare(name_of(a, a_text), name_of(b, b_text)) < 0;
}

static size_t twin_rank(const struct twin *twin, unsigned member)
{
    size_t rank = 0;
    for (unsigned i = 0; i < MEMBERS; i++) {
        rank += twin->is_present[i] && twin_is_before(twin, i, member);
    }
    return rank;
}

static void twin_put(struct twin *twin, unsigned member)
{
    char text[300];
    struct zset_rules rules = {.limits = &twin->limits, .hash_seed = 9};
    struct zset_put put = {.member = name_of(member, text),
                           .score = (double)rng_below(&twin->rng, 40) / 2};
    bool was_there = twin->is_present[member];
    bool is_same = was_there && twin->scores[member] == put.score;
    enum zset_result result = zset_try_put(&twin->place, &put, &rules);
    CHECK(result == (is_same ? ZSET_SAME : was_there ? ZSET_CHANGED : ZSET_ADDED));
    twin->scores[member] = put.score;
    twin->is_present[member] = true;
    twin->count += !was_there;
}

static void twin_remove(struct twin *twin, unsigned member)
{
    char text[300];
    CHECK(zset_remove(&twin->place, name_of(member, text)) == twin->is_present[member]);
    twin->count -= twin->is_present[member];
    twin->is_present[member] = false;
}

static void twin_look(struct twin *twin, unsigned member)
{
    char text[300];
    size_t rank;
    double score;
    bool is_there = zset_rank(twin->place.value, name_of(member, text), &rank, &score);
    CHECK(is_there == twin->is_present[member]);
    if (!is_there) {
        return;
    }
    CHECK(score == twin->scores[member] && rank == twin_rank(twin, member));
    struct zset_walk walk;
    struct zset_item item;
    for (int is_reverse = 0; is_reverse < 2; is_reverse++) {
        zset_walk_begin(&walk, twin->place.value, rank, is_reverse == 1);
        CHECK(zset_walk_next(&walk, &item));
        CHECK(slice_equal(item.member, name_of(member, text)));
        size_t steps = 1;
        while (zset_walk_next(&walk, &item)) {
            steps++;
        }
        CHECK(steps == (is_reverse == 1 ? rank + 1 : twin->count - rank));
    }
}

static void twin_range(struct twin *twin)
{
    struct zset_score_range range = {.min = (double)rng_below(&twin->rng, 20),
                                     .max = (double)rng_below(&twin->rng, 20),
                                     .is_min_open = rng_below(&twin->rng, 2) == 0,
                                     .is_max_open = rng_below(&twin->rng, 2) == 0};
    struct zset_ranks ranks = zset_ranks_of_scores(twin->place.value, &range);
    size_t count = 0;
    for (unsigned i = 0; i < MEMBERS; i++) {
        double score = twin->scores[i];
        bool is_in = (range.is_min_open ? score > range.min : score >= range.min) &&
                     (range.is_max_open ? score < range.max : score <= range.max);
        count += twin->is_present[i] && is_in;
    }
    CHECK((ranks.end > ranks.first ? ranks.end - ranks.first : 0) == count);
}

static void twin_run(uint64_t seed, size_t entries_max)
{
    static struct twin twin;
    memset(&twin, 0, sizeof(twin));
    rng_seed(&twin.rng, seed);
    twin.limits = (struct type_limits){.list_size = -2};
    twin.limits.zset_entries = entries_max;
    twin.limits.zset_value = entries_max == 64 ? 64 : 1000;
    struct zset_rules rules = {.limits = &twin.limits, .hash_seed = 9};
    twin.place.value = zset_try_new(slice_from_text("key"), 0, 0, &rules);
    CHECK(twin.place.value != NULL);
    unsigned long steps = test_steps(STEPS);
    for (unsigned long step = 0; step < steps; step++) {
        unsigned member = (unsigned)rng_below(&twin.rng, MEMBERS);
        if (rng_below(&twin.rng, 5) < (step / 1000 % 2 == 0 ? 3 : 1)) {
            twin_put(&twin, member);
        } else {
            twin_remove(&twin, member);
        }
        CHECK(zset_count(twin.place.value) == twin.count);
        zset_ops.check(twin.place.value);
        if (step % 16 == 0) {
            twin_look(&twin, member);
            twin_range(&twin);
        }
    }
    struct value *copy = zset_ops.copy(twin.place.value, slice_from_text("other"), false);
    zset_ops.check(copy);
    CHECK(zset_count(copy) == twin.count);
    struct work_queue work;
    work_queue_init(&work);
    zset_ops.free(copy, &work);
    zset_ops.free(twin.place.value, &work);
    work_drain(&work);
}

TEST(zset, agrees_with_a_naive_twin_in_every_form)
{
    static const size_t limits[] = {0, 64, 100000};
    for (unsigned i = 0; i < 3; i++) {
        twin_run(test_seed() + i, limits[i]);
    }
}
