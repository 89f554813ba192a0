/* Random operations on a set and on a naive twin: an array of members with a flag each. The rules
 * make the set go through its forms; set_ops.check holds after each step. */
#include "types/set/set.h"

#include "base/num.h"
#include "base/work.h"
#include "tests/unit/test.h"

enum { MEMBERS = 600, STEPS = 6000, TEXT_MAX = 300, BATCH = 40 };

struct twin {
    struct place place;
    struct rng rng;
    struct work_queue work;
    struct type_limits limits;
    struct set_rules rules;
    size_t count;
    bool has[MEMBERS];
    char texts[MEMBERS][TEXT_MAX];
    size_t lens[MEMBERS];
};

enum vocabulary { ALL_KINDS, INTEGERS };

/* Member i: an integer of growing size, a short text or a long one. */
static void twin_name_members(struct twin *twin, enum vocabulary vocabulary)
{
    for (size_t i = 0; i < MEMBERS; i++) {
        char *text = twin->texts[i];
        int64_t number = (int64_t)i - MEMBERS / 2;
        if (vocabulary == INTEGERS || i % 3 == 0) {
            number *= i % 7 == 0 ? INT64_C(20000000000000000) : i % 5 == 0 ? 70000 : 1;
            twin->lens[i] = num_format_i64(text, number);
        } else if (i % 3 == 1) {
            twin->lens[i] = (size_t)snprintf(text, TEXT_MAX, "%zx", i * 37);
            text[0] = (char)('g' + i % 19);
        } else {
            twin->lens[i] = (size_t)snprintf(text, TEXT_MAX, "member:%zu", i);
            if (i % 50 == 2) {
                memset(text + twin->lens[i], 'x', TEXT_MAX - twin->lens[i]);
                twin->lens[i] = TEXT_MAX;
            }
        }
    }
    for (size_t i = 0; i < MEMBERS; i++) { /* Two of one name would be one member. */
        for (size_t k = 0; k < i; k++) {
            if (slice_equal(slice_of(twin->texts[i], twin->lens[i]),
                            slice_of(twin->texts[k], twin->lens[k]))) {
                twin->lens[i] = (size_t)snprintf(twin->texts[i], TEXT_MAX, "other:%zu", i);
            }
        }
    }
}

static struct set_item twin_item(const struct twin *twin, size_t index)
{
    return set_item_of(slice_of(twin->texts[index], twin->lens[index]));
}

static size_t twin_index(const struct twin *twin, const struct set_item *item)
{
    struct set_scratch scratch;
    struct slice text = set_item_text(item, &scratch);
    for (size_t i = 0; i < MEMBERS; i++) {
        if (slice_equal(text, slice_of(twin->texts[i], twin->lens[i]))) {
            return i;
        }
    }
    return MEMBERS;
}

static void twin_toggle(struct twin *twin)
{
    size_t index = rng_below(&twin->rng, MEMBERS);
    struct set_item item = twin_item(twin, index);
    CHECK(set_has(twin->place.value, &item) == twin->has[index]);
    if (rng_below(&twin->rng, 2) == 0) {
        enum set_result wanted = twin->has[index] ? SET_UNCHANGED : SET_CHANGED;
        CHECK(set_try_add(&twin->place, &item, &twin->rules) == wanted);
        twin->count += !twin->has[index];
        twin->has[index] = true;
    } else {
        CHECK(set_remove(&twin->place, &item) == twin->has[index]);
        twin->count -= twin->has[index];
        twin->has[index] = false;
    }
}

static void twin_check_walk(const struct twin *twin)
{
    struct set_walk walk;
    struct set_item item;
    bool seen[MEMBERS] = {false};
    size_t count = 0;
    set_walk_begin(&walk, twin->place.value);
    while (set_walk_next(&walk, &item)) {
        size_t index = twin_index(twin, &item);
        CHECK(index < MEMBERS && twin->has[index] && !seen[index]);
        struct set_item asked = twin_item(twin, index);
        CHECK(item.is_integer == asked.is_integer && item.word == asked.word);
        CHECK(!item.is_integer || item.number == asked.number);
        seen[index] = true;
        count++;
    }
    CHECK(count == twin->count);
}

static void twin_check_keep(struct twin *twin)
{
    struct set_item items[BATCH];
    size_t indices[BATCH];
    size_t wanted = 0;
    bool is_in = rng_below(&twin->rng, 2) == 0;
    for (size_t i = 0; i < BATCH; i++) {
        size_t index = rng_below(&twin->rng, MEMBERS);
        items[i] = twin_item(twin, index);
        if (twin->has[index] == is_in) {
            indices[wanted++] = index;
        }
    }
    CHECK(set_keep(twin->place.value, items, BATCH, is_in) == wanted);
    for (size_t i = 0; i < wanted; i++) {
        CHECK(twin_index(twin, &items[i]) == indices[i]);
    }
}

static void twin_check_random(struct twin *twin)
{
    if (twin->count > 0) {
        struct set_item item = set_random(twin->place.value, &twin->rng);
        size_t index = twin_index(twin, &item);
        CHECK(index < MEMBERS && twin->has[index]);
    }
}

static void twin_check_copy(struct twin *twin)
{
    struct value *copy = set_ops.copy(twin->place.value, slice_from_text("copy"), false);
    CHECK(copy != NULL && set_count(copy) == twin->count);
    set_ops.check(copy);
    struct place original = twin->place;
    twin->place.value = copy;
    twin_check_walk(twin);
    twin->place = original;
    value_free(copy, &twin->work);
    work_drain(&twin->work);
}

static void run(struct type_limits limits, enum vocabulary vocabulary)
{
    static struct twin twin;
    memset(&twin, 0, sizeof(twin));
    rng_seed(&twin.rng, test_seed());
    work_queue_init(&twin.work);
    twin.limits = limits;
    twin.rules = (struct set_rules){.limits = &twin.limits, .hash_seed = 11};
    twin_name_members(&twin, vocabulary);
    struct set_item first = twin_item(&twin, 0);
    twin.place.value = set_try_new(slice_from_text("key"), &first, 1, &twin.rules);
    unsigned long steps = test_steps(STEPS);
    for (unsigned long step = 0; step < steps; step++) {
        twin_toggle(&twin);
        CHECK(set_count(twin.place.value) == twin.count);
        set_ops.check(twin.place.value);
        if (step % 64 == 0) {
            twin_check_walk(&twin);
            twin_check_keep(&twin);
        }
        twin_check_random(&twin);
        if (step % 1000 == 0) {
            twin_check_copy(&twin);
        }
    }
    value_free(twin.place.value, &twin.work);
    work_drain(&twin.work);
}

TEST(set, every_form_agrees_with_its_twin)
{
    run(type_limits_default(), ALL_KINDS);
}

TEST(set, a_table_from_the_first_member_on_agrees_with_its_twin)
{
    run((struct type_limits){0}, ALL_KINDS);
}

TEST(set, packs_without_limits_agree_with_their_twin)
{
    run((struct type_limits){.set_intset_entries = SIZE_MAX,
                             .set_listpack_entries = SIZE_MAX,
                             .set_listpack_value = SIZE_MAX},
        ALL_KINDS);
}

TEST(set, sorted_integers_agree_with_their_twin)
{
    run((struct type_limits){.set_intset_entries = 450}, INTEGERS);
    run((struct type_limits){.set_intset_entries = SIZE_MAX}, INTEGERS);
}
