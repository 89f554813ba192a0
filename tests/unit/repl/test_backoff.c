/* Back-off of full synchronisations: who waits, how long, and who is forgiven. */
#include <stdio.h>

#include "repl/backoff.h"
#include "tests/unit/test.h"

enum { SECOND = 1000000 };

TEST(backoff, who_has_never_failed_does_not_wait)
{
    struct backoff backoff = {0};
    CHECK(backoff_due_us(&backoff, "10.0.0.1:7000", 5) == 5);
}

TEST(backoff, each_failure_doubles_the_wait_up_to_a_minute)
{
    static const int64_t expected_s[] = {1, 2, 4, 8, 16, 32, 60, 60, 60};
    struct backoff backoff = {0};
    int64_t now = 1000;
    for (unsigned i = 0; i < sizeof(expected_s) / sizeof(expected_s[0]); i++) {
        CHECK(backoff_failed(&backoff, "a:1", now) == expected_s[i]);
        CHECK(backoff_due_us(&backoff, "a:1", now) == now + expected_s[i] * SECOND);
        CHECK(backoff_due_us(&backoff, "a:2", now) == now);
        now += expected_s[i] * SECOND;
        CHECK(backoff_due_us(&backoff, "a:1", now) == now);
    }
}

TEST(backoff, an_acknowledgement_forgives_all)
{
    struct backoff backoff = {0};
    (void)backoff_failed(&backoff, "a:1", 0);
    (void)backoff_failed(&backoff, "a:1", 0);
    backoff_forgive(&backoff, "a:1");
    CHECK(backoff_due_us(&backoff, "a:1", 1) == 1);
    CHECK(backoff_failed(&backoff, "a:1", 1) == 1);
    backoff_forgive(&backoff, "a:7"); /* Never seen: nothing. */
}

TEST(backoff, who_stays_away_for_long_begins_anew)
{
    struct backoff backoff = {0};
    (void)backoff_failed(&backoff, "a:1", 0);
    CHECK(backoff_failed(&backoff, "a:1", 30 * SECOND) == 2);
    CHECK(backoff_failed(&backoff, "a:1", (int64_t)200 * SECOND) == 1);
}

TEST(backoff, the_table_is_bounded_and_the_one_due_first_gives_way)
{
    struct backoff backoff = {0};
    char name[BACKOFF_NAME_MAX];
    for (int i = 0; i < BACKOFF_ENTRIES_MAX; i++) {
        snprintf(name, sizeof(name), "a:%d", i);
        (void)backoff_failed(&backoff, name, i);
    }
    (void)backoff_failed(&backoff, "b:1", 1000);
    CHECK(backoff_due_us(&backoff, "a:0", 1000) == 1000);
    CHECK(backoff_due_us(&backoff, "a:1", 1000) == 1 + SECOND);
    CHECK(backoff_due_us(&backoff, "b:1", 1000) == 1000 + SECOND);
}
