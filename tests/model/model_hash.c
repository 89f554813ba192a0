/* Hashes against a naive twin: random fields, values and moments in every encoding, with limits of
 * nothing, of a few and without end, and every invariant checked after each step. */
#include "base/mem.h"
#include "tests/unit/test.h"
#include "types/hash/hash.h"

enum { FIELDS = 64, STEPS = 4000, ROUND_STEPS = 500, TEXT_MAX = 300 };

struct twin {
    bool is_present;
    int64_t expire_ms;
    size_t len;
    char text[TEXT_MAX];
};

struct model {
    struct rng rng;
    struct type_limits limits;
    struct hash_rules rules;
    struct place place;
    struct twin twins[FIELDS];
    size_t count;
    int64_t now_ms;
    size_t expired; /* By one call. */
};

static unsigned below(struct model *model, unsigned bound)
{
    return (unsigned)rng_below(&model->rng, bound);
}

/* Names of many forms: numbers, short and long texts. */
static struct slice name_of(unsigned index, char *room)
{
    int len = index % 3 == 0   ? sprintf(room, "%d", (int)index * 977 - 20000)
              : index % 3 == 1 ? sprintf(room, "field:%u", index)
                               : sprintf(room, "%0*u", (int)(index * 3), index);
    return slice_of(room, (size_t)len);
}

static size_t random_text(struct model *model, char *text)
{
    if (below(model, 3) == 0) {
        return num_format_i64(text, (int64_t)(rng_next(&model->rng) >> below(model, 64)));
    }
    size_t len = below(model, below(model, 10) == 0 ? TEXT_MAX : 24);
    for (size_t i = 0; i < len; i++) {
        text[i] = (char)below(model, 256);
    }
    return len;
}

/* Mostly near, sometimes over already, far, or the last there is. */
static int64_t random_moment(struct model *model)
{
    unsigned kind = below(model, 20);
    return kind == 0   ? model->now_ms + (INT64_C(1) << (33 + below(model, 13)))
           : kind == 1 ? model->now_ms - 5
                       : model->now_ms + below(model, 200);
}

static void step_put(struct model *model, struct slice field, struct twin *twin)
{
    char text[TEXT_MAX];
    size_t len = random_text(model, text);
    int64_t expire_ms = below(model, 3) == 0 ? random_moment(model) : HASH_NO_EXPIRE;
    bool is_failing = below(model, 20) == 0;
    mem_fail_after(is_failing ? 1 + below(model, 3) : 0);
    enum hash_put_result result =
        hash_try_put_until(&model->place, field, slice_of(text, len), expire_ms, &model->rules);
    mem_fail_after(0);
    CHECK(is_failing || result != HASH_NO_MEMORY);
    if (result == HASH_NO_MEMORY) {
        return;
    }
    CHECK((result == HASH_ADDED) == !twin->is_present);
    model->count += !twin->is_present;
    twin->is_present = true;
    twin->expire_ms = expire_ms;
    twin->len = len;
    memcpy(twin->text, text, len);
}

static void step_set_expire(struct model *model, struct slice field, struct twin *twin)
{
    int64_t expire_ms = below(model, 3) == 0 ? HASH_NO_EXPIRE : random_moment(model);
    if (!twin->is_present) {
        return;
    }
    bool is_failing = below(model, 20) == 0;
    mem_fail_after(is_failing ? 1 + below(model, 3) : 0);
    bool is_done = hash_try_set_expire(&model->place, field, expire_ms, &model->rules);
    mem_fail_after(0);
    CHECK(is_done || is_failing);
    twin->expire_ms = is_done ? expire_ms : twin->expire_ms;
}

static void on_expired(void *context, struct slice field)
{
    struct model *model = context;
    for (unsigned i = 0; i < FIELDS; i++) {
        char room[TEXT_MAX];
        struct twin *twin = &model->twins[i];
        if (slice_equal(name_of(i, room), field)) {
            CHECK(twin->is_present && twin->expire_ms >= 0 && twin->expire_ms < model->now_ms);
            twin->is_present = false;
            model->count--;
            model->expired++;
            return;
        }
    }
    test_fail(__FILE__, __LINE__, "a field that was never put");
}

/* Time passes, and some or all of what is due goes. */
static void step_expire(struct model *model)
{
    model->now_ms += below(model, 50) == 0 ? INT64_C(1) << 32 : below(model, 100);
    model->expired = 0;
    if (!hash_is_volatile(model->place.value)) {
        return;
    }
    size_t max = below(model, 2) == 0 ? SIZE_MAX : below(model, 4);
    bool is_done = hash_expire(&model->place, model->now_ms, max, on_expired, model);
    CHECK(model->expired <= max && (is_done || max != SIZE_MAX));
    for (unsigned i = 0; is_done && i < FIELDS; i++) {
        const struct twin *twin = &model->twins[i];
        CHECK(!twin->is_present || twin->expire_ms < 0 || twin->expire_ms >= model->now_ms);
    }
    CHECK(!is_done || !hash_is_volatile(model->place.value) ||
          hash_next_expiry_ms(model->place.value) >= model->now_ms);
}

static void check_field(struct model *model, struct slice field, const struct twin *twin)
{
    struct hash_pair pair;
    char digits[PACK_DIGITS];
    bool is_there = hash_find(model->place.value, field, &pair);
    CHECK(is_there == twin->is_present);
    if (is_there) {
        CHECK(slice_equal(pack_text(&pair.text, digits), slice_of(twin->text, twin->len)));
        CHECK(slice_equal(pack_text(&pair.field, digits), field));
        CHECK(pair.expire_ms == twin->expire_ms);
    }
}

static void check_all(struct model *model)
{
    hash_ops.check(model->place.value);
    CHECK(hash_count(model->place.value) == model->count);
    CHECK(hash_is_empty(model->place.value) == (model->count == 0));
    for (unsigned i = 0; i < FIELDS; i++) {
        char room[TEXT_MAX];
        check_field(model, name_of(i, room), &model->twins[i]);
    }
    struct hash_walk walk = hash_walk(model->place.value);
    struct hash_pair pair;
    size_t walked = 0;
    while (hash_walk_next(&walk, &pair)) {
        walked++;
    }
    CHECK(walked == model->count);
    size_t shown = 0;
    size_t volatile_count = 0;
    for (unsigned i = 0; i < FIELDS; i++) {
        const struct twin *twin = &model->twins[i];
        shown += twin->is_present && (twin->expire_ms < 0 || twin->expire_ms >= model->now_ms);
        volatile_count += twin->is_present && twin->expire_ms >= 0;
    }
    CHECK(hash_count_shown(model->place.value, model->now_ms) == shown);
    CHECK(hash_has_expiring_fields(model->place.value) == (volatile_count > 0));
}

static void step(struct model *model)
{
    char room[TEXT_MAX];
    unsigned index = below(model, FIELDS);
    struct slice field = name_of(index, room);
    struct twin *twin = &model->twins[index];
    unsigned what = below(model, 100);
    if (what < 55) {
        step_put(model, field, twin);
    } else if (what < 63) {
        step_set_expire(model, field, twin);
    } else if (what < 67) {
        step_expire(model);
    } else if (what < 97) {
        CHECK(hash_remove(&model->place, field) == twin->is_present);
        model->count -= twin->is_present;
        twin->is_present = false;
    } else {
        struct value *copy =
            hash_ops.copy(model->place.value, slice_from_text("another key"), below(model, 2) == 0);
        value_free(model->place.value, NULL);
        model->place.value = copy;
    }
    check_all(model);
}

static void run(size_t entries, size_t value_max, uint64_t seed)
{
    struct model *model = mem_zalloc(sizeof(*model));
    rng_seed(&model->rng, seed);
    model->limits = type_limits_default();
    model->limits.hash_entries = entries;
    model->limits.hash_value = value_max;
    model->rules = (struct hash_rules){.limits = &model->limits, .seed = seed};
    unsigned long left = test_steps(STEPS);
    for (unsigned round = 0; left > 0; round++) {
        unsigned long steps = left < ROUND_STEPS ? left : ROUND_STEPS;
        left -= steps;
        model->now_ms = 1000;
        memset(model->twins, 0, sizeof(model->twins));
        model->count = 0;
        model->place.value = hash_try_new(slice_from_text("key"), round % 2 == 0);
        for (unsigned long i = 0; i < steps; i++) {
            step(model);
        }
        value_free(model->place.value, NULL);
    }
    mem_free(model);
}

TEST(model_hash, a_table_agrees_with_its_twin)
{
    run(0, 0, test_seed());
}

TEST(model_hash, a_pack_agrees_with_its_twin)
{
    run(SIZE_MAX, SIZE_MAX, test_seed() + 1);
}

TEST(model_hash, a_hash_that_converts_agrees_with_its_twin)
{
    run(20, 100, test_seed() + 2);
}
