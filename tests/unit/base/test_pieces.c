/* Tests of base/pieces.c: the same results as in one go, and breaths in between on a fiber. */
#include "base/pieces.h"

#include <stdlib.h>

#include "base/crc.h"
#include "base/fiber.h"
#include "base/hash.h"
#include "tests/unit/test.h"

enum { LONG_LEN = PIECE_LEN * 5 + 3, STACK_LEN = 256 * 1024 };

static char *new_text(void)
{
    char *text = malloc(LONG_LEN);
    CHECK(text != NULL);
    for (size_t i = 0; i < LONG_LEN; i++) {
        text[i] = (char)(i * 31 + i / 251);
    }
    return text;
}

TEST(pieces, results_are_those_of_the_whole)
{
    char *text = new_text();
    char *copy = malloc(LONG_LEN);
    size_t lens[] = {0, 1, PIECE_LEN - 1, PIECE_LEN, PIECE_LEN + 1, PIECE_LEN * 2, LONG_LEN};
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        struct slice whole = slice_of(text, lens[i]);
        memset(copy, 0, LONG_LEN);
        pieces_copy(copy, text, lens[i]);
        CHECK(memcmp(copy, text, lens[i]) == 0 && (lens[i] == LONG_LEN || copy[lens[i]] == 0));
        CHECK(pieces_crc64(7, whole) == crc64(7, whole));
        CHECK(pieces_hash(9, whole) == hash_bytes(9, whole));
        CHECK(pieces_equal(whole, slice_of(copy, lens[i])));
        if (lens[i] > 0) {
            copy[lens[i] - 1]++;
            CHECK(!pieces_equal(whole, slice_of(copy, lens[i])));
            CHECK(!pieces_equal(whole, slice_of(copy, lens[i] - 1)));
        }
    }
    free(text);
    free(copy);
}

struct trip {
    struct fiber *fiber;
    char *text, *copy;
    unsigned breaths;
};

static void breathe(void *context)
{
    struct trip *trip = context;
    trip->breaths++;
    fiber_park(trip->fiber);
}

static void travel(void *context)
{
    struct trip *trip = context;
    pieces_copy(trip->copy, trip->text, LONG_LEN);
}

TEST(pieces, a_fiber_may_stop_between_two)
{
    struct trip trip = {
        .fiber = fiber_try_new(STACK_LEN), .text = new_text(), .copy = malloc(LONG_LEN)};
    CHECK(fiber_run(trip.fiber, travel, &trip)); /* Nobody minds. */
    CHECK(memcmp(trip.text, trip.copy, LONG_LEN) == 0);
    memset(trip.copy, 0, LONG_LEN);
    fiber_set_breath(trip.fiber, breathe, &trip);
    CHECK(!fiber_run(trip.fiber, travel, &trip));
    CHECK(memcmp(trip.text, trip.copy, PIECE_LEN) == 0);
    pieces_copy(trip.copy, trip.text, LONG_LEN); /* Not on the fiber: no breath. */
    CHECK(trip.breaths == 1);
    while (!fiber_resume(trip.fiber)) {
    }
    CHECK(trip.breaths == 6);
    fiber_free(trip.fiber);
    free(trip.text);
    free(trip.copy);
}
