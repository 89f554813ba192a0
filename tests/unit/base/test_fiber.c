/* Functions that stop in the middle and go on later. */
#include "base/fiber.h"

#include <stdio.h>

#include "tests/unit/test.h"

struct counter {
    struct fiber *fiber, *other;
    unsigned count, rounds;
};

static void count_on(void *context)
{
    struct counter *counter = context;
    for (unsigned i = 0; i < counter->rounds; i++) {
        counter->count++;
        fiber_yield(counter->fiber);
    }
}

TEST(fiber, goes_on_where_it_stopped)
{
    struct counter counter = {.rounds = 3};
    counter.fiber = fiber_try_new(count_on, &counter);
    CHECK(counter.fiber != NULL && counter.count == 0);
    for (unsigned i = 1; i <= 3; i++) {
        CHECK(!fiber_resume(counter.fiber) && counter.count == i);
    }
    CHECK(fiber_resume(counter.fiber) && counter.count == 3);
    fiber_free(counter.fiber);
}

TEST(fiber, one_that_never_began_can_be_freed)
{
    struct counter counter = {0};
    counter.fiber = fiber_try_new(count_on, &counter);
    fiber_free(counter.fiber);
}

static void resume_other(void *context)
{
    struct counter *counter = context;
    while (!fiber_resume(counter->other)) {
        counter->count++;
        fiber_yield(counter->fiber);
    }
}

TEST(fiber, may_resume_another_from_inside)
{
    struct counter inner = {.rounds = 5};
    struct counter outer = {0};
    inner.fiber = fiber_try_new(count_on, &inner);
    outer.other = inner.fiber;
    outer.fiber = fiber_try_new(resume_other, &outer);
    while (!fiber_resume(outer.fiber)) {
    }
    CHECK(inner.count == 5 && outer.count == 5);
    fiber_free(inner.fiber);
    fiber_free(outer.fiber);
}

static void format(void *context)
{
    char text[4096];
    snprintf(text, sizeof(text), "%.300f", 1.0 / 3);
    *(char *)context = text[2];
}

TEST(fiber, has_room_for_libc)
{
    char digit = 0;
    struct fiber *fiber = fiber_try_new(format, &digit);
    CHECK(fiber_resume(fiber) && digit == '3');
    fiber_free(fiber);
}
