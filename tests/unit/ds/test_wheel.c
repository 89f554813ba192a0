/* The timer wheel: order of firing, cascades, stale references and slices. */
#include "ds/wheel.h"

#include "tests/unit/test.h"

enum { START = 1700000000 };

struct seen {
    struct wheel *wheel;
    int64_t deadline; /* What to add again with while it is in the future. */
    int64_t now;
    size_t due, moved, stale_of_each;
    uint32_t last;
    uint16_t place;
};

static size_t on_refs(void *context, const uint32_t *refs, size_t count, uint16_t place)
{
    struct seen *seen = context;
    CHECK(count > 0 && count <= WHEEL_BATCH_MAX && place < WHEEL_PLACES);
    for (size_t i = 0; i < count; i++) {
        if (seen->deadline > seen->now) {
            uint16_t again = wheel_add(seen->wheel, refs[i], seen->deadline);
            CHECK(again / WHEEL_LEVEL_SLOTS < place / WHEEL_LEVEL_SLOTS);
            seen->moved++;
        } else {
            seen->due++;
        }
        seen->last = refs[i];
        seen->place = place;
    }
    return count * seen->stale_of_each;
}

static bool keep_none(void *context, uint32_t ref, uint16_t place)
{
    (void)ref;
    (void)place;
    *(size_t *)context += 1;
    return false;
}

static bool keep_odd(void *context, uint32_t ref, uint16_t place)
{
    (void)place;
    *(size_t *)context += 1;
    return ref % 2 == 1;
}

TEST(wheel, empty_wheel_is_never_due)
{
    struct wheel wheel;
    struct seen seen = {.wheel = &wheel};
    wheel_init(&wheel, START);
    CHECK(wheel_next_ms(&wheel) == INT64_MAX && wheel_memory(&wheel) == 0);
    CHECK(wheel_advance(&wheel, START + 1000000, on_refs, &seen, 100) == 0);
    CHECK(!wheel_is_behind(&wheel) && !wheel_wants_compaction(&wheel));
    wheel_check(&wheel);
    wheel_deinit(&wheel);
}

TEST(wheel, reference_is_due_at_its_millisecond)
{
    for (int64_t delay = 1; delay < INT64_C(1) << 46; delay = delay * 3 + 1) {
        struct wheel wheel;
        wheel_init(&wheel, START);
        struct seen seen = {.wheel = &wheel, .deadline = START + delay};
        uint16_t place = wheel_place_of(&wheel, START + delay);
        CHECK(wheel_add(&wheel, 7, START + delay) == place);
        int hops = 0;
        for (int64_t next; (next = wheel_next_ms(&wheel)) != INT64_MAX; hops++) {
            CHECK(next > seen.now && next <= START + delay);
            seen.now = next - 1;
            CHECK(wheel_advance(&wheel, next - 1, on_refs, &seen, 100) == 0);
            seen.now = next;
            CHECK(wheel_advance(&wheel, next, on_refs, &seen, 100) == 1);
            CHECK(hops > 0 || seen.place == place);
            wheel_check(&wheel);
        }
        CHECK(hops <= WHEEL_LEVELS && seen.due == 1 && seen.last == 7);
        CHECK(seen.now == START + delay && wheel_count(&wheel) == 0);
        wheel_deinit(&wheel);
        CHECK(wheel_memory(&wheel) == 0);
    }
}

TEST(wheel, past_deadline_is_due_with_the_next_tick)
{
    struct wheel wheel;
    struct seen seen = {.wheel = &wheel};
    wheel_init(&wheel, START);
    wheel_add(&wheel, 1, START);
    wheel_add(&wheel, 2, 0);
    wheel_add(&wheel, 3, INT64_MIN);
    CHECK(wheel_next_ms(&wheel) == START + 1);
    CHECK(wheel_advance(&wheel, START, on_refs, &seen, 100) == 0);
    CHECK(wheel_advance(&wheel, START + 1, on_refs, &seen, 100) == 3);
    wheel_deinit(&wheel);
}

TEST(wheel, farthest_deadlines_stay_until_the_end_of_time)
{
    struct wheel wheel;
    struct seen seen = {.wheel = &wheel};
    wheel_init(&wheel, START);
    CHECK(wheel_add(&wheel, 1, INT64_MAX) == WHEEL_PLACES - 1);
    CHECK(wheel_add(&wheel, 2, WHEEL_MS_MAX + 5) == WHEEL_PLACES - 1);
    wheel_check(&wheel);
    CHECK(wheel_advance(&wheel, INT64_C(1) << 47, on_refs, &seen, 100) == 0);
    seen.deadline = INT64_MAX;
    for (int i = 0; i < 20; i++) {
        wheel_advance(&wheel, INT64_MAX, on_refs, &seen, 100);
        wheel_check(&wheel);
    }
    CHECK(seen.due == 0 && wheel_count(&wheel) == 2 && !wheel_is_behind(&wheel));
    wheel_deinit(&wheel);
}

TEST(wheel, time_does_not_go_backwards)
{
    struct wheel wheel;
    struct seen seen = {.wheel = &wheel};
    wheel_init(&wheel, START);
    wheel_advance(&wheel, START + 500, on_refs, &seen, 100);
    wheel_advance(&wheel, START, on_refs, &seen, 100);
    wheel_add(&wheel, 1, START + 400);
    CHECK(wheel_next_ms(&wheel) == START + 501);
    wheel_check(&wheel);
    wheel_deinit(&wheel);
}

TEST(wheel, burst_is_handed_over_in_slices)
{
    enum { COUNT = 10000 };
    struct wheel wheel;
    struct seen seen = {.wheel = &wheel};
    wheel_init(&wheel, START);
    for (uint32_t i = 0; i < COUNT; i++) {
        wheel_add(&wheel, i, START + 10);
    }
#ifndef OURO_HOSTILE
    CHECK(wheel_memory(&wheel) < COUNT * 42 / 10 + 1024);
#endif
    size_t slices = 0;
    do {
        size_t count = wheel_advance(&wheel, START + 20, on_refs, &seen, 100);
        CHECK(count >= 1 && count < 100 + WHEEL_BATCH_MAX);
        CHECK(!wheel_is_behind(&wheel) || wheel_next_ms(&wheel) == START + 10);
        wheel_add(&wheel, 1, START + 1000000); /* Others go on meanwhile. */
        wheel_advance(&wheel, START + 15, on_refs, &seen, 0);
        wheel_check(&wheel);
        slices++;
        CHECK(seen.due + wheel_count(&wheel) == COUNT + slices);
    } while (wheel_is_behind(&wheel));
    CHECK(seen.due == COUNT && slices > 80);
    wheel_deinit(&wheel);
}

TEST(wheel, few_references_take_little_memory)
{
    struct wheel wheel;
    wheel_init(&wheel, START);
    wheel_add(&wheel, 1, START + 100000);
    CHECK(wheel_memory(&wheel) <= 512 + 32);
    wheel_deinit(&wheel);
}

TEST(wheel, compaction_drops_what_is_stale)
{
    enum { COUNT = 8000 };
    struct wheel wheel;
    wheel_init(&wheel, START);
    for (uint32_t i = 0; i < COUNT; i++) {
        wheel_add(&wheel, i, START + 1 + (i % 7 == 0 ? 5 : (int64_t)i * i));
        CHECK(!wheel_wants_compaction(&wheel));
    }
    for (uint32_t i = 0; i < COUNT; i += 2) {
        wheel_note_stale(&wheel);
    }
    CHECK(!wheel_wants_compaction(&wheel));
    for (uint32_t i = 0; i < 1024; i++) {
        wheel_note_stale(&wheel);
    }
    CHECK(wheel_wants_compaction(&wheel));
    size_t looked = 0;
    size_t steps = 0;
    while (!wheel_compact_step(&wheel, keep_odd, &looked, 100)) {
        wheel_check(&wheel);
        steps++;
    }
    wheel_check(&wheel);
    CHECK(looked == COUNT && steps >= COUNT / 116);
    CHECK(wheel_count(&wheel) == COUNT / 2 && !wheel_wants_compaction(&wheel));
    CHECK(wheel.stale == 0);
    while (!wheel_compact_step(&wheel, keep_none, &looked, 100)) {
        wheel_check(&wheel);
    }
    CHECK(wheel_count(&wheel) == 0 && wheel_next_ms(&wheel) == INT64_MAX);
    wheel_deinit(&wheel);
}

TEST(wheel, slot_that_falls_due_while_it_is_compacted_is_handed_over_whole)
{
    enum { COUNT = 3000 };
    for (size_t looks = 1; looks < COUNT; looks += 331) {
        struct wheel wheel;
        struct seen seen = {.wheel = &wheel};
        size_t looked = 0;
        wheel_init(&wheel, START);
        for (uint32_t i = 0; i < COUNT; i++) {
            wheel_add(&wheel, i, START + 5);
        }
        CHECK(!wheel_compact_step(&wheel, keep_odd, &looked, looks));
        size_t left = wheel_count(&wheel);
        CHECK(wheel_next_ms(&wheel) == START + 5);
        CHECK(wheel_advance(&wheel, START + 5, on_refs, &seen, 10) >= 10);
        wheel_check(&wheel);
        size_t before = looked;
        CHECK(wheel_compact_step(&wheel, keep_odd, &looked, 100000));
        CHECK(looked == before);
        wheel_advance(&wheel, START + 5, on_refs, &seen, COUNT);
        wheel_check(&wheel);
        CHECK(seen.due == left && wheel_count(&wheel) == 0);
        wheel_deinit(&wheel);
    }
}

TEST(wheel, stale_references_that_are_handed_over_are_no_longer_counted)
{
    struct wheel wheel;
    struct seen seen = {.wheel = &wheel, .stale_of_each = 1};
    wheel_init(&wheel, START);
    for (uint32_t i = 0; i < 5000; i++) {
        wheel_add(&wheel, i, START + 1 + i % 2 * 1000);
        wheel_note_stale(&wheel);
    }
    CHECK(wheel.stale == 5000 && wheel_wants_compaction(&wheel));
    wheel_advance(&wheel, START + 1, on_refs, &seen, 5000);
    CHECK(wheel.stale == 2500 && wheel_count(&wheel) == 2500);
    wheel_check(&wheel);
    wheel_deinit(&wheel);
}
