/* A sorted array of integers, as wide as the widest.
 *
 *     width 2:  | -7 | 3 | 15 | 900 |            8 bytes
 *     width 4:  | -7   | 3    | 15   | 70000 |   16 bytes, after 70000 came
 *
 * Costs. 2, 4 or 8 bytes per integer and no more. Finding is a binary search; inserting and
 * removing move the half behind on average, which for a few hundred integers is a copy of a
 * kilobyte or two.
 *
 * Invariants:
 *   1. The width is 2, 4 or 8, and every integer fits.
 *   2. Integers ascend strictly.
 *
 * A width never shrinks: the widest integer may have been removed since.
 *
 * Rejected: differences between neighbours in a variable number of bytes. Smaller by half, but then
 * finding and drawing one at random are walks. */
#include "ds/intset.h"

#include <string.h>

#include "base/assert.h"

unsigned intset_width_of(int64_t number)
{
    if (number == (int16_t)number) {
        return 2;
    }
    return number == (int32_t)number ? 4 : 8;
}

int64_t intset_get(const struct intset *set, size_t index)
{
    const char *at = set->bytes + index * set->width;
    if (set->width == 2) {
        int16_t number;
        memcpy(&number, at, sizeof(number));
        return number;
    }
    if (set->width == 4) {
        int32_t number;
        memcpy(&number, at, sizeof(number));
        return number;
    }
    int64_t number;
    memcpy(&number, at, sizeof(number));
    return number;
}

static void intset_put(struct intset *set, size_t index, int64_t number)
{
    char *at = set->bytes + index * set->width;
    if (set->width == 2) {
        int16_t narrow = (int16_t)number;
        memcpy(at, &narrow, sizeof(narrow));
    } else if (set->width == 4) {
        int32_t narrow = (int32_t)number;
        memcpy(at, &narrow, sizeof(narrow));
    } else {
        memcpy(at, &number, sizeof(number));
    }
}

bool intset_find(const struct intset *set, int64_t number, size_t *index)
{
    size_t from = 0;
    size_t to = set->count;
    /* Numbers often come in ascending order: then they belong at the end. */
    if (to > 0 && number > intset_get(set, to - 1)) {
        *index = to;
        return false;
    }
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (intset_get(set, middle) < number) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    *index = from;
    return from < set->count && intset_get(set, from) == number;
}

void intset_widen(struct intset *set, unsigned width)
{
    DEBUG_ASSERT(width >= set->width);
    struct intset wide = {.bytes = set->bytes, .count = set->count, .width = width};
    for (size_t i = set->count; i-- > 0;) {
        intset_put(&wide, i, intset_get(set, i));
    }
    set->width = width;
}

void intset_insert(struct intset *set, size_t index, int64_t number)
{
    DEBUG_ASSERT(index <= set->count && intset_width_of(number) <= set->width);
    char *at = set->bytes + index * set->width;
    memmove(at + set->width, at, (set->count - index) * set->width);
    set->count++;
    intset_put(set, index, number);
}

void intset_remove(struct intset *set, size_t index)
{
    DEBUG_ASSERT(index < set->count);
    set->count--;
    char *at = set->bytes + index * set->width;
    memmove(at, at + set->width, (set->count - index) * set->width);
}

void intset_check(const struct intset *set)
{
    ASSERT(set->width == 2 || set->width == 4 || set->width == 8);
    for (size_t i = 1; i < set->count; i++) {
        ASSERT(intset_get(set, i - 1) < intset_get(set, i));
    }
}
