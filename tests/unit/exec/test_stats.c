/* Durations and error counts. */
#include "exec/exec.h"
#include "tests/unit/test.h"

TEST(stats, buckets_tile_all_durations)
{
    uint64_t bound = 0;
    for (unsigned bucket = 0; bucket < 62 * 8; bucket++) {
        uint64_t next = command_histogram_bound_ns(bucket);
        CHECK(bucket == 0 || next > bound);
        CHECK(command_histogram_bucket(next) == bucket);
        CHECK(bucket == 0 || command_histogram_bucket(bound + 1) == bucket);
        bound = next;
    }
    CHECK(bound == UINT64_MAX);
    CHECK(command_histogram_bucket(UINT64_MAX) < COMMAND_HISTOGRAM_BUCKETS);
}

TEST(stats, percentiles_are_upper_bounds_of_buckets)
{
    uint32_t histogram[COMMAND_HISTOGRAM_BUCKETS] = {0};
    struct command_stats stats = {.histogram = histogram};
    CHECK(command_stats_percentile_ns(&stats, 50) == 0);
    histogram[command_histogram_bucket(100)] = 98;
    histogram[command_histogram_bucket(5000)] = 2;
    CHECK(command_stats_percentile_ns(&stats, 50) == 103);
    CHECK(command_stats_percentile_ns(&stats, 98) == 103);
    CHECK(command_stats_percentile_ns(&stats, 99) == 5119);
    CHECK(command_stats_percentile_ns(&stats, 100) == 5119);
    stats.histogram = NULL;
    CHECK(command_stats_percentile_ns(&stats, 50) == 0);
}
