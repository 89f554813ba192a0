/* Sorted integers of three widths. */
#include "ds/intset.h"

#include "base/rng.h"
#include "tests/unit/test.h"

enum { ROOM = 4096 };

/* Adds a number as an owner does: widen first, then insert. */
static bool add(struct intset *set, int64_t number)
{
    size_t index;
    if (intset_find(set, number, &index)) {
        return false;
    }
    if (intset_width_of(number) > set->width) {
        intset_widen(set, intset_width_of(number));
    }
    intset_insert(set, index, number);
    intset_check(set);
    return true;
}

TEST(intset, width_is_the_least_that_holds_a_number)
{
    CHECK(intset_width_of(0) == 2);
    CHECK(intset_width_of(INT16_MAX) == 2 && intset_width_of(INT16_MIN) == 2);
    CHECK(intset_width_of(INT16_MAX + 1) == 4 && intset_width_of(INT16_MIN - 1) == 4);
    CHECK(intset_width_of(INT32_MAX) == 4 && intset_width_of(INT32_MIN) == 4);
    CHECK(intset_width_of((int64_t)INT32_MAX + 1) == 8);
    CHECK(intset_width_of(INT64_MIN) == 8);
}

TEST(intset, numbers_stand_in_order_whatever_their_width)
{
    static const int64_t numbers[] = {5, -3, 70000, INT64_MAX, 0, INT64_MIN, -70000, 5};
    static const int64_t sorted[] = {INT64_MIN, -70000, -3, 0, 5, 70000, INT64_MAX};
    char bytes[ROOM];
    struct intset set = {.bytes = bytes, .width = 2};
    for (size_t i = 0; i < 7; i++) {
        CHECK(add(&set, numbers[i]));
    }
    CHECK(!add(&set, numbers[7]));
    CHECK(set.count == 7 && set.width == 8);
    for (size_t i = 0; i < 7; i++) {
        CHECK(intset_get(&set, i) == sorted[i]);
    }
}

TEST(intset, removal_closes_the_gap)
{
    char bytes[ROOM];
    struct intset set = {.bytes = bytes, .width = 2};
    for (int64_t i = 0; i < 10; i++) {
        add(&set, i * 10);
    }
    size_t index;
    CHECK(intset_find(&set, 30, &index) && index == 3);
    intset_remove(&set, index);
    CHECK(!intset_find(&set, 30, &index) && index == 3);
    CHECK(intset_get(&set, 3) == 40 && set.count == 9);
    intset_remove(&set, 8);
    CHECK(!intset_find(&set, 90, &index) && index == 8);
}

TEST(intset, agrees_with_a_plain_array)
{
    struct rng rng;
    rng_seed(&rng, test_seed());
    bool has[200] = {false};
    char bytes[ROOM];
    struct intset set = {.bytes = bytes, .width = 2};
    for (int step = 0; step < 20000; step++) {
        size_t which = rng_below(&rng, 200);
        int64_t number = ((int64_t)which - 100) * (which % 3 == 0 ? 1 : 1000);
        size_t index;
        CHECK(intset_find(&set, number, &index) == has[which]);
        if (has[which]) {
            intset_remove(&set, index);
        } else {
            add(&set, number);
        }
        has[which] = !has[which];
        intset_check(&set);
    }
}
