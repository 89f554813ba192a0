/* Graphs of samples as text. */
#include "observe/observe_internal.h"
#include "tests/unit/test.h"

static bool draws(const struct graph_sample *samples, size_t count, const char *wanted)
{
    struct buf text;
    buf_init(&text);
    graph_append(samples, count, &text);
    bool is_same = slice_equal(buf_slice(&text), slice_from_text(wanted));
    if (!is_same) {
        fprintf(stderr, "%.*s", (int)text.len, text.data);
    }
    buf_deinit(&text);
    return is_same;
}

TEST(graph, columns_are_scaled_between_lowest_and_highest)
{
    static const struct graph_sample samples[] = {{4, 20}, {3, 50}, {2, 30}, {1, 100}};
    CHECK(draws(samples, 4, "   #\n   |\n o |\n_|o|\n    \n4321\nssss\n"));
}

TEST(graph, one_sample_is_the_lowest_level)
{
    static const struct graph_sample samples[] = {{12, 7}};
    CHECK(draws(samples, 1, " \n \n \n_\n \n1\n2\ns\n"));
}

TEST(graph, ages_have_the_largest_unit_that_fits)
{
    static const struct graph_sample samples[] = {{86400, 1}, {3600, 1}, {60, 1}, {59, 1}};
    CHECK(draws(samples, 4, "    \n    \n    \n____\n    \n1115\ndhm9\n   s\n"));
}

TEST(graph, more_than_a_line_is_drawn_in_blocks)
{
    struct graph_sample samples[GRAPH_COLUMNS + 1] = {{0, 0}};
    struct buf text;
    buf_init(&text);
    graph_append(samples, GRAPH_COLUMNS + 1, &text);
    size_t line_count = 0;
    for (size_t i = 0; i < text.len; i++) {
        line_count += text.data[i] == '\n';
    }
    CHECK(line_count == 7 + 1 + 7);
    buf_deinit(&text);
}
