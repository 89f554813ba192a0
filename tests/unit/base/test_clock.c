/* Tests of base/clock.c. */
#include "base/clock.h"

#include "tests/unit/test.h"

TEST(clock, its_readings_agree)
{
    struct clock_now now = clock_read();
    CHECK(now.wall_ms == now.wall_us / 1000);
    CHECK(now.wall_ms > INT64_C(1500000000000)); /* After 2017. */
    CHECK(clock_mono_us() >= now.mono_us);
}

TEST(clock, monotonic_time_does_not_go_back)
{
    int64_t last = clock_mono_us();
    for (int i = 0; i < 10000; i++) {
        int64_t now = clock_mono_us();
        CHECK(now >= last);
        last = now;
    }
}
