/* Tests of base/fiber.c. */
#include "base/fiber.h"

#include <stdint.h>
#include <string.h>

#include "tests/unit/test.h"

enum { STACK_LEN = 256 * 1024 };

struct trip {
    struct fiber *fiber;
    char trace[64];
    int parks;
};

static void note(struct trip *trip, char what)
{
    size_t len = strlen(trip->trace);
    CHECK(len < sizeof(trip->trace) - 1);
    trip->trace[len] = what;
}

static void travel(void *context)
{
    struct trip *trip = context;
    CHECK(fiber_is_inside(trip->fiber));
    note(trip, 'a');
    for (int i = 0; i < trip->parks; i++) {
        fiber_park(trip->fiber);
        note(trip, 'b');
    }
    note(trip, 'c');
}

TEST(fiber, a_function_runs_to_its_end)
{
    struct trip trip = {.fiber = fiber_try_new(STACK_LEN)};
    CHECK(trip.fiber != NULL);
    CHECK(fiber_run(trip.fiber, travel, &trip));
    CHECK(!fiber_is_inside(trip.fiber));
    CHECK(!fiber_is_parked(trip.fiber));
    CHECK(strcmp(trip.trace, "ac") == 0);
    fiber_free(trip.fiber);
}

TEST(fiber, a_function_that_parks_goes_on_when_it_is_resumed)
{
    struct trip trip = {.fiber = fiber_try_new(STACK_LEN), .parks = 2};
    CHECK(!fiber_run(trip.fiber, travel, &trip));
    CHECK(fiber_is_parked(trip.fiber));
    CHECK(!fiber_is_inside(trip.fiber));
    note(&trip, '.');
    CHECK(!fiber_resume(trip.fiber));
    note(&trip, '.');
    CHECK(fiber_resume(trip.fiber));
    CHECK(!fiber_is_parked(trip.fiber));
    CHECK(strcmp(trip.trace, "a.b.bc") == 0);
    fiber_free(trip.fiber);
}

TEST(fiber, one_stack_serves_many_functions)
{
    struct fiber *fiber = fiber_try_new(STACK_LEN);
    for (int i = 0; i < 1000; i++) {
        struct trip trip = {.fiber = fiber, .parks = i % 3};
        bool is_finished = fiber_run(fiber, travel, &trip);
        while (!is_finished) {
            is_finished = fiber_resume(fiber);
        }
        CHECK(strlen(trip.trace) == (size_t)(2 + i % 3));
    }
    fiber_free(fiber);
}

/* Vector instructions fault where the stack is not aligned as calls promise. */
static void look_at_alignment(void *context)
{
    _Alignas(16) volatile char room[16];
    room[0] = 1;
    *(bool *)context = (uintptr_t)__builtin_frame_address(0) % 16 == 0 && room[0] == 1;
}

TEST(fiber, its_stack_is_aligned_as_calls_promise)
{
    struct fiber *fiber = fiber_try_new(STACK_LEN);
    bool is_aligned = false;
    CHECK(fiber_run(fiber, look_at_alignment, &is_aligned));
    CHECK(is_aligned);
    fiber_free(fiber);
}

struct depth {
    struct fiber *fiber;
    double sum; /* Lives in a register that a switch must keep. */
    int levels;
};

static double dig(struct depth *depth, int levels)
{
    char room[512];
    memset(room, levels, sizeof(room));
    if (levels == 0) {
        fiber_park(depth->fiber);
        return 1.0;
    }
    double below = dig(depth, levels - 1);
    return below + (room[levels % 512] == (char)levels ? 1.0 : 0.0);
}

static void dig_all(void *context)
{
    struct depth *depth = context;
    depth->sum = dig(depth, depth->levels);
}

TEST(fiber, what_lies_on_its_stack_is_there_after_a_park)
{
    struct depth depth = {.fiber = fiber_try_new(STACK_LEN), .levels = 100};
    double factor = 1.5;
    CHECK(!fiber_run(depth.fiber, dig_all, &depth));
    factor += 1.0;
    CHECK(fiber_resume(depth.fiber));
    CHECK(depth.sum == 101.0);
    CHECK(factor == 2.5);
    fiber_free(depth.fiber);
}
