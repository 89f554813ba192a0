/* A graph of samples as text, each a column of GRAPH_ROWS characters:
 *
 *        #        a column is filled with '|' up to its top, which is one of three
 *        |        characters: so four rows show twelve levels
 *      o |
 *     _|o|
 *                 one empty row, then each sample's age, written downwards
 *     4321
 *     ssss
 *
 * Levels are linear between the lowest and the highest sample of the whole series, not of a block,
 * so blocks can be compared. */
#include <stdio.h>

#include "observe/observe_internal.h"

enum { LEVELS_PER_ROW = 3, LEVELS = GRAPH_ROWS * LEVELS_PER_ROW, AGE_LEN_MAX = 24 };

struct scale {
    uint32_t low, high;
};

static struct scale scale_of(const struct graph_sample *samples, size_t count)
{
    struct scale scale = {.low = UINT32_MAX};
    for (size_t i = 0; i < count; i++) {
        scale.low = samples[i].value < scale.low ? samples[i].value : scale.low;
        scale.high = samples[i].value > scale.high ? samples[i].value : scale.high;
    }
    return scale;
}

static int level_of(const struct scale *scale, uint32_t value)
{
    uint64_t span = scale->high > scale->low ? scale->high - scale->low : 1;
    uint64_t level = (uint64_t)(value - scale->low) * LEVELS / span;
    return level >= LEVELS ? LEVELS - 1 : (int)level;
}

static char character_at(int level, int row)
{
    static const char tops[] = "_o#";
    int in_row = level - (GRAPH_ROWS - 1 - row) * LEVELS_PER_ROW;
    if (in_row < 0) {
        return ' ';
    }
    return in_row < LEVELS_PER_ROW ? tops[in_row] : '|';
}

/* "45s", "3m", "2h", "1d". */
static size_t age_text(int64_t age_s, char *out)
{
    long long seconds = age_s;
    int len = 0;
    if (seconds < 60) {
        len = snprintf(out, AGE_LEN_MAX, "%llds", seconds);
    } else if (seconds < 3600) {
        len = snprintf(out, AGE_LEN_MAX, "%lldm", seconds / 60);
    } else if (seconds < 86400) {
        len = snprintf(out, AGE_LEN_MAX, "%lldh", seconds / 3600);
    } else {
        len = snprintf(out, AGE_LEN_MAX, "%lldd", seconds / 86400);
    }
    return (size_t)len;
}

/* The ages, one character of each per line, until none has more. */
static void append_ages(const struct graph_sample *samples, size_t count, struct buf *out)
{
    char texts[GRAPH_COLUMNS][AGE_LEN_MAX];
    size_t lens[GRAPH_COLUMNS], len_max = 0;
    for (size_t i = 0; i < count; i++) {
        lens[i] = age_text(samples[i].age_s, texts[i]);
        len_max = lens[i] > len_max ? lens[i] : len_max;
    }
    for (size_t line = 0; line < len_max; line++) {
        for (size_t i = 0; i < count; i++) {
            buf_append_byte(out, line < lens[i] ? texts[i][line] : ' ');
        }
        buf_append_byte(out, '\n');
    }
}

static void append_block(const struct scale *scale, const struct graph_sample *samples,
                         size_t count, struct buf *out)
{
    for (int row = 0; row <= GRAPH_ROWS; row++) {
        for (size_t i = 0; i < count; i++) {
            bool is_gap = row == GRAPH_ROWS;
            int level = level_of(scale, samples[i].value);
            buf_append_byte(out, is_gap ? ' ' : character_at(level, row));
        }
        buf_append_byte(out, '\n');
    }
    append_ages(samples, count, out);
}

void graph_append(const struct graph_sample *samples, size_t count, struct buf *out)
{
    struct scale scale = scale_of(samples, count);
    for (size_t i = 0; i < count; i += GRAPH_COLUMNS) {
        size_t part = count - i < GRAPH_COLUMNS ? count - i : GRAPH_COLUMNS;
        if (i > 0) {
            buf_append_byte(out, '\n');
        }
        append_block(&scale, samples + i, part, out);
    }
}
