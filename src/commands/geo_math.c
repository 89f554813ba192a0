/* The mathematics of places on the globe.
 *
 * Geohash. Each coordinate is the share of its range that lies below it, as a binary fraction of
 * `step` bits; the bits of both are interleaved, latitude in the even places:
 *
 *     latitude   0.y25 y24 ... y0
 *     longitude  0.x25 x24 ... x0       ->     x25 y25 x24 y24 ... x0 y0        (52 bits)
 *
 * Points that share a prefix of 2s bits lie in one cell of the map that is 2^s cells wide and high,
 * so a cell is a range of scores. 52 bits are what a double holds exactly. Latitudes end at
 * +-85.05112878, where the Mercator map is a square; the standard text form divides the range up to
 * the poles instead and is therefore encoded anew.
 *
 * Covering. A shape is covered by the cell of its middle and the eight around it, at the finest
 * step whose cells are not smaller than the shape. Meridians converge, so from 66 and from 80
 * degrees on cells are taken one step larger. If a neighbour ends inside the shape's bounding box
 * all the same, the step is one too fine. Neighbours wholly beyond the box are left out. The order
 * of cells is Redis's, because it is the order in which unsorted searches answer: middle, north,
 * south, east, west, north-east, north-west, south-east, south-west.
 *
 * Distance is the haversine formula on a sphere of 6,372,797.560856 m. All of it is computed in the
 * order of operations that gives Redis's results to the last bit.
 *
 * Sources: Morton (1966) for the interleaving; Sinnott, Virtues of the Haversine (1984). */
#include "commands/geo_math.h"

#include <math.h>

#define EARTH_RADIUS 6372797.560856
#define MERCATOR_MAX 20037726.37 /* Half the width of the map, in metres. */
#define RADIANS_PER_DEGREE (M_PI / 180.0)

/* A cell of the map with 2^step cells on a side; step 0: none. */
struct cell {
    uint64_t bits;
    unsigned step;
};

struct span {
    double min, max;
};

struct area {
    struct span longitude, latitude;
};

static const struct area map_area = {{-GEO_LONGITUDE_MAX, GEO_LONGITUDE_MAX},
                                     {-GEO_LATITUDE_MAX, GEO_LATITUDE_MAX}};
static const struct area globe_area = {{-180, 180}, {-90, 90}};

static double radians(double degrees)
{
    return degrees * RADIANS_PER_DEGREE;
}

static double degrees(double angle)
{
    return angle / RADIANS_PER_DEGREE;
}

/* ---- Interleaving ---- */

/* Moves bit i to bit 2i. */
static uint64_t spread(uint32_t bits)
{
    uint64_t x = bits;
    x = (x | x << 16) & 0x0000ffff0000ffffULL;
    x = (x | x << 8) & 0x00ff00ff00ff00ffULL;
    x = (x | x << 4) & 0x0f0f0f0f0f0f0f0fULL;
    x = (x | x << 2) & 0x3333333333333333ULL;
    return (x | x << 1) & 0x5555555555555555ULL;
}

/* Moves bit 2i to bit i and drops the others. */
static uint32_t gather(uint64_t x)
{
    x &= 0x5555555555555555ULL;
    x = (x | x >> 1) & 0x3333333333333333ULL;
    x = (x | x >> 2) & 0x0f0f0f0f0f0f0f0fULL;
    x = (x | x >> 4) & 0x00ff00ff00ff00ffULL;
    x = (x | x >> 8) & 0x0000ffff0000ffffULL;
    return (uint32_t)(x | x >> 16);
}

static uint64_t interleave(uint32_t latitude, uint32_t longitude)
{
    return spread(latitude) | spread(longitude) << 1;
}

static uint32_t cell_latitude(struct cell cell)
{
    return gather(cell.bits);
}

static uint32_t cell_longitude(struct cell cell)
{
    return gather(cell.bits >> 1);
}

/* ---- Cells ---- */

static uint32_t fraction(struct span span, double value, unsigned step)
{
    double share = (value - span.min) / (span.max - span.min);
    return (uint32_t)(share * (double)(UINT64_C(1) << step));
}

static struct cell cell_of(const struct area *area, struct geo_point point, unsigned step)
{
    uint32_t latitude = fraction(area->latitude, point.latitude, step);
    uint32_t longitude = fraction(area->longitude, point.longitude, step);
    return (struct cell){interleave(latitude, longitude), step};
}

static struct span cell_span(struct span whole, uint32_t index, unsigned step)
{
    double cells = (double)(UINT64_C(1) << step);
    double scale = whole.max - whole.min;
    return (struct span){whole.min + (double)index / cells * scale,
                         whole.min + ((double)index + 1) / cells * scale};
}

static struct area cell_area(struct cell cell)
{
    return (struct area){cell_span(map_area.longitude, cell_longitude(cell), cell.step),
                         cell_span(map_area.latitude, cell_latitude(cell), cell.step)};
}

/* The cell some cells to the east and north; the map wraps around at its edges. */
static struct cell cell_beside(struct cell cell, int east, int north)
{
    uint32_t mask = (uint32_t)((UINT64_C(1) << cell.step) - 1);
    uint32_t latitude = cell_latitude(cell);
    uint32_t longitude = cell_longitude(cell);
    if (north != 0) {
        latitude = (latitude + (uint32_t)north) & mask;
    }
    if (east != 0) {
        longitude = (longitude + (uint32_t)east) & mask;
    }
    return (struct cell){interleave(latitude, longitude), cell.step};
}

bool geo_point_is_valid(struct geo_point point)
{
    return point.longitude >= -GEO_LONGITUDE_MAX && point.longitude <= GEO_LONGITUDE_MAX &&
           point.latitude >= -GEO_LATITUDE_MAX && point.latitude <= GEO_LATITUDE_MAX;
}

uint64_t geo_encode(struct geo_point point)
{
    return cell_of(&map_area, point, GEO_STEP_MAX).bits;
}

/* A score as bits, defined also for those that no place has, as x86-64 converts them. */
static uint64_t score_bits(double score)
{
    static const double bound = 9223372036854775808.0; /* 2^63 */
    if (score >= 2 * bound) {
        return 0;
    }
    if (score >= 0) {
        return (uint64_t)score;
    }
    return score > -bound ? (uint64_t)(int64_t)score : UINT64_C(1) << 63;
}

static double clamp(double value, double bound)
{
    return value > bound ? bound : value < -bound ? -bound : value;
}

struct geo_point geo_decode(double score)
{
    struct area area = cell_area((struct cell){score_bits(score), GEO_STEP_MAX});
    return (struct geo_point){
        clamp((area.longitude.min + area.longitude.max) / 2, GEO_LONGITUDE_MAX),
        clamp((area.latitude.min + area.latitude.max) / 2, GEO_LATITUDE_MAX)};
}

void geo_text(struct geo_point point, char out[GEO_TEXT_LEN])
{
    static const char alphabet[] = "0123456789bcdefghjkmnpqrstuvwxyz";
    uint64_t bits = cell_of(&globe_area, point, GEO_STEP_MAX).bits;
    for (unsigned i = 0; i + 1 < GEO_TEXT_LEN; i++) {
        out[i] = alphabet[bits >> (52 - 5 * (i + 1)) & 31];
    }
    out[GEO_TEXT_LEN - 1] = alphabet[0]; /* Of its five bits only two exist. */
}

/* ---- Distance ---- */

/* Along a meridian. */
static double latitude_distance(double a, double b)
{
    return EARTH_RADIUS * fabs(radians(b) - radians(a));
}

double geo_distance(struct geo_point a, struct geo_point b)
{
    double v = sin((radians(b.longitude) - radians(a.longitude)) / 2);
    if (v == 0.0) {
        return latitude_distance(a.latitude, b.latitude);
    }
    double latitude_a = radians(a.latitude);
    double latitude_b = radians(b.latitude);
    double u = sin((latitude_b - latitude_a) / 2);
    double haversine = u * u + cos(latitude_a) * cos(latitude_b) * v * v;
    return 2.0 * EARTH_RADIUS * asin(sqrt(haversine));
}

bool geo_shape_has(const struct geo_shape *shape, struct geo_point point, double *distance)
{
    if (!shape->is_box) {
        *distance = geo_distance(shape->middle, point);
        return *distance <= shape->radius * shape->metres;
    }
    double height = shape->height * shape->metres;
    if (latitude_distance(point.latitude, shape->middle.latitude) > height / 2) {
        return false;
    }
    struct geo_point beside = {shape->middle.longitude, point.latitude};
    double width = shape->width * shape->metres;
    if (geo_distance(point, beside) > width / 2) {
        return false;
    }
    *distance = geo_distance(shape->middle, point);
    return true;
}

/* ---- Covering ---- */

/* The box around a shape, by the meridians' distance at its side nearer to a pole. */
static struct area shape_bounds(const struct geo_shape *shape)
{
    struct geo_point middle = shape->middle;
    double height = shape->metres * (shape->is_box ? shape->height / 2 : shape->radius);
    double width = shape->metres * (shape->is_box ? shape->width / 2 : shape->radius);
    double up = degrees(height / EARTH_RADIUS);
    double outer = middle.latitude < 0 ? middle.latitude - up : middle.latitude + up;
    double side = degrees(width / EARTH_RADIUS / cos(radians(outer)));
    return (struct area){{middle.longitude - side, middle.longitude + side},
                         {middle.latitude - up, middle.latitude + up}};
}

/* The finest step whose cells are not smaller than the shape. */
static unsigned shape_step(const struct geo_shape *shape)
{
    double half_width = shape->width / 2;
    double half_height = shape->height / 2;
    double radius =
        shape->is_box ? sqrt(half_width * half_width + half_height * half_height) : shape->radius;
    radius *= shape->metres;
    if (radius == 0) {
        return GEO_STEP_MAX;
    }
    int step = 1;
    while (radius < MERCATOR_MAX) {
        radius *= 2;
        step++;
    }
    step -= 2; /* So that the cells around contain the shape wherever in its cell the middle is. */
    double latitude = fabs(shape->middle.latitude);
    step -= latitude > 80 ? 2 : latitude > 66 ? 1 : 0;
    return step < 1 ? 1 : step > GEO_STEP_MAX ? GEO_STEP_MAX : (unsigned)step;
}

/* Whether the cells around end inside the bounds. */
static bool is_too_fine(struct cell cell, const struct area *bounds)
{
    return cell_area(cell_beside(cell, 0, 1)).latitude.max < bounds->latitude.max ||
           cell_area(cell_beside(cell, 0, -1)).latitude.min > bounds->latitude.min ||
           cell_area(cell_beside(cell, 1, 0)).longitude.max < bounds->longitude.max ||
           cell_area(cell_beside(cell, -1, 0)).longitude.min > bounds->longitude.min;
}

/* Whether a neighbour in this direction cannot touch the bounds. */
static bool is_useless(const struct area *area, const struct area *bounds, int east, int north)
{
    return (north < 0 && area->latitude.min < bounds->latitude.min) ||
           (north > 0 && area->latitude.max > bounds->latitude.max) ||
           (east < 0 && area->longitude.min < bounds->longitude.min) ||
           (east > 0 && area->longitude.max > bounds->longitude.max);
}

static struct geo_scores cell_scores(struct cell cell)
{
    unsigned shift = 2 * (GEO_STEP_MAX - cell.step);
    return (struct geo_scores){cell.bits << shift, (cell.bits + 1) << shift};
}

unsigned geo_cover(const struct geo_shape *shape, struct geo_scores out[GEO_CELLS_MAX])
{
    static const struct {
        int east, north;
    } directions[GEO_CELLS_MAX] = {{0, 0}, {0, 1},  {0, -1}, {1, 0},  {-1, 0},
                                   {1, 1}, {-1, 1}, {1, -1}, {-1, -1}};
    struct area bounds = shape_bounds(shape);
    unsigned step = shape_step(shape);
    struct cell cell = cell_of(&map_area, shape->middle, step);
    if (step > 1 && is_too_fine(cell, &bounds)) {
        step--;
        cell = cell_of(&map_area, shape->middle, step);
    }
    struct area area = cell_area(cell);
    unsigned count = 0;
    for (unsigned i = 0; i < GEO_CELLS_MAX; i++) {
        int east = directions[i].east;
        int north = directions[i].north;
        if (step >= 2 && is_useless(&area, &bounds, east, north)) {
            continue;
        }
        /* On a small map, neighbours on both sides are the same cell. */
        struct geo_scores scores = cell_scores(cell_beside(cell, east, north));
        if (count < 2 || out[count - 1].first != scores.first) {
            out[count++] = scores;
        }
    }
    return count;
}
