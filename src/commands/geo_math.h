/* Places on the globe as numbers of 52 bits, distances, and the cells that cover a shape. The essay
 * is in geo_math.c. Angles are in degrees, lengths in metres. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum {
    GEO_STEP_MAX = 26, /* Bits per coordinate. */
    GEO_TEXT_LEN = 11, /* Characters of a geohash text. */
    GEO_CELLS_MAX = 9, /* A cell and its neighbours. */
};

#define GEO_LONGITUDE_MAX 180.0
#define GEO_LATITUDE_MAX 85.05112878 /* Where the square Mercator map ends. */

struct geo_point {
    double longitude, latitude;
};

/* Whether both coordinates can be encoded. */
bool geo_point_is_valid(struct geo_point point);

/* The point's cell of the finest step, as the score that a sorted set keeps. */
uint64_t geo_encode(struct geo_point point);

/* The middle of the cell that a score stands for; any score gives some point on the map. */
struct geo_point geo_decode(double score);

/* The standard text, which divides latitudes up to the poles. */
void geo_text(struct geo_point point, char out[GEO_TEXT_LEN]);

/* Along the great circle. */
double geo_distance(struct geo_point a, struct geo_point b);

/* A circle, or a box whose sides follow the parallels and meridians. */
struct geo_shape {
    struct geo_point middle;
    bool is_box;
    double radius;        /* Of a circle. */
    double width, height; /* Of a box. */
    double metres;        /* In one unit of these. */
};

/* Whether a point lies inside; if so, its distance from the middle. */
bool geo_shape_has(const struct geo_shape *shape, struct geo_point point, double *distance);

/* Scores first .. end - 1. */
struct geo_scores {
    uint64_t first, end;
};

/* The ranges of scores in which everything inside the shape lies, the middle's first; returns how
 * many. */
unsigned geo_cover(const struct geo_shape *shape, struct geo_scores out[GEO_CELLS_MAX]);
