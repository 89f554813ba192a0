/* Places on the globe, which are the scores of a sorted set: GEOADD, GEOPOS, GEODIST, GEOHASH.
 *
 * GEOADD is ZADD with scores that are computed: its arguments are rewritten to those of ZADD, which
 * then also is its effect. */
#include "commands/geo.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/num.h"
#include "commands/commands.h"

/* ---- Shared ---- */

bool geo_parse_point(struct call *call, uint32_t index, struct geo_point *point)
{
    if (!call_double(call, index, &point->longitude, NULL) ||
        !call_double(call, index + 1, &point->latitude, NULL)) {
        return false;
    }
    if (!geo_point_is_valid(*point)) {
        reply_errorf(call->out, "ERR invalid longitude,latitude pair %f,%f", point->longitude,
                     point->latitude);
        return false;
    }
    return true;
}

bool geo_parse_unit(struct call *call, uint32_t index, double *metres)
{
    static const struct {
        const char *name;
        double metres;
    } units[] = {{"m", 1}, {"km", 1000}, {"ft", 0.3048}, {"mi", 1609.34}};
    for (unsigned i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (call_is(call, index, units[i].name)) {
            *metres = units[i].metres;
            return true;
        }
    }
    reply_error(call->out, "ERR unsupported unit provided. please use M, KM, FT, MI");
    return false;
}

void geo_reply_distance(struct reply *out, double distance)
{
    char text[NUM_DOUBLE_TEXT_MAX];
    int len = snprintf(text, sizeof(text), "%.4f", distance);
    reply_bulk(out, slice_of(text, (size_t)len));
}

/* A coordinate with all its decimals, as a bulk or a double of RESP3. */
static void reply_coordinate(struct reply *out, double value)
{
    char text[NUM_LONG_DOUBLE_TEXT_MAX];
    struct slice digits = slice_of(text, num_format_long_double(text, (long double)value));
    if (out->protocol < 3) {
        reply_bulk(out, digits);
        return;
    }
    reply_raw(out, slice_of(",", 1));
    reply_raw(out, digits);
    reply_raw(out, slice_of("\r\n", 2));
}

void geo_reply_point(struct reply *out, struct geo_point point)
{
    reply_array(out, 2);
    reply_coordinate(out, point.longitude);
    reply_coordinate(out, point.latitude);
}

/* ---- GEOADD ---- */

/* Index of the first longitude. */
static uint32_t geoadd_skip_options(const struct call *call, bool *is_legal)
{
    bool has_nx = false;
    bool has_xx = false;
    uint32_t index = 2;
    for (; index < call->args.count; index++) {
        if (call_is(call, index, "NX")) {
            has_nx = true;
        } else if (call_is(call, index, "XX")) {
            has_xx = true;
        } else if (!call_is(call, index, "CH")) {
            break;
        }
    }
    *is_legal = !(has_nx && has_xx) && (call->args.count - index) % 3 == 0;
    return index;
}

/* Room for the arguments of ZADD and, behind them, the digits of its scores. */
struct geoadd_args {
    struct slice *at;
    char *digits;
};

/* Turns triples into scores and members; false: the error is in the reply. */
static bool geoadd_encode(struct call *call, uint32_t index, struct geoadd_args *made,
                          uint32_t *count)
{
    *count = index;
    for (; index < call->args.count; index += 3) {
        struct geo_point point;
        if (!geo_parse_point(call, index, &point)) {
            return false;
        }
        size_t len = num_format_u64(made->digits, geo_encode(point));
        made->at[(*count)++] = slice_of(made->digits, len);
        made->at[(*count)++] = call->args.at[index + 2];
        made->digits += len;
        if (*count % SLICED_STEP < 2) {
            call_yield(call);
        }
    }
    return true;
}

/* Runs as ZADD with other arguments. */
static void geoadd_run_as_zadd(struct call *call, struct args args)
{
    struct args given = call->args;
    uint32_t change_count = call->change_count;
    call->args = args;
    zsets_add(call);
    call->args = given;
    if (call->change_count != change_count) {
        call_effect(call, args.at, args.count);
    }
}

/* GEOADD key [NX | XX] [CH] longitude latitude member [longitude latitude member ...] */
static void geoadd_run(struct call *call)
{
    bool is_legal;
    if (call_slice_editing(call, call->args.count)) {
        return;
    }
    uint32_t index = geoadd_skip_options(call, &is_legal);
    if (!is_legal) {
        reply_error(call->out, ERR_SYNTAX);
        return;
    }
    size_t triples = (call->args.count - index) / 3;
    size_t slices_len = (index + 2 * triples) * sizeof(struct slice);
    char *block = mem_try_alloc(slices_len + triples * (NUM_I64_TEXT_MAX + 1));
    if (block == NULL) {
        reply_error(call->out, ERR_NO_MEMORY);
        return;
    }
    struct geoadd_args made = {.at = (struct slice *)(void *)block, .digits = block + slices_len};
    memcpy(made.at, call->args.at, index * sizeof(struct slice));
    made.at[0] = slice_from_text("ZADD");
    uint32_t count;
    if (geoadd_encode(call, index, &made, &count)) {
        geoadd_run_as_zadd(call, (struct args){.at = made.at, .count = count});
    }
    mem_free(block);
}

/* ---- Reading ---- */

/* Where a member is; false: there is no such member. */
static bool find_point(const struct value *value, struct slice member, struct geo_point *point)
{
    double score;
    if (value == NULL || !zset_score(value, member, &score)) {
        return false;
    }
    *point = geo_decode(score);
    return true;
}

/* GEOPOS key [member ...] */
static void geopos_run(struct call *call)
{
    struct value *value;
    if (!call_find(call, 1, VALUE_ZSET, &value) || call_slice(call, call->args.count)) {
        return;
    }
    reply_array(call->out, call->args.count - 2);
    for (uint32_t i = 2; i < call->args.count && call_yield_sending_at(call, i); i++) {
        struct geo_point point;
        if (find_point(value, call->args.at[i], &point)) {
            geo_reply_point(call->out, point);
        } else {
            reply_null_array(call->out);
        }
    }
}

/* GEODIST key member1 member2 [M | KM | FT | MI] */
static void geodist_run(struct call *call)
{
    double metres = 1;
    if (call->args.count > 5) {
        reply_error(call->out, ERR_SYNTAX);
        return;
    }
    struct value *value;
    if ((call->args.count == 5 && !geo_parse_unit(call, 4, &metres)) ||
        !call_find(call, 1, VALUE_ZSET, &value)) {
        return;
    }
    struct geo_point a;
    struct geo_point b;
    if (find_point(value, call->args.at[2], &a) && find_point(value, call->args.at[3], &b)) {
        geo_reply_distance(call->out, geo_distance(a, b) / metres);
    } else {
        reply_null(call->out);
    }
}

/* GEOHASH key [member ...] */
static void geohash_run(struct call *call)
{
    struct value *value;
    if (!call_find(call, 1, VALUE_ZSET, &value) || call_slice(call, call->args.count)) {
        return;
    }
    reply_array(call->out, call->args.count - 2);
    for (uint32_t i = 2; i < call->args.count && call_yield_sending_at(call, i); i++) {
        struct geo_point point;
        char text[GEO_TEXT_LEN];
        if (find_point(value, call->args.at[i], &point)) {
            geo_text(point, text);
            reply_bulk(call->out, slice_of(text, sizeof(text)));
        } else {
            reply_null(call->out);
        }
    }
}

static const struct command geo_rows[] = {
    {.name = "geoadd",
     .run = geoadd_run,
     .arity = -5,
     .flags = CMD_WRITE | CMD_DENY_OOM,
     .categories = ACL_GEO,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_UPDATE}},
     .since = "3.2.0",
     .group = "geo",
     .complexity = "O(M*log(N)) for M of them in a set of N members.",
     .summary = "Adds members with their places on the globe to a sorted set.",
     .syntax = "key [condition: NX | XX]@6.2.0 [change=CH]@6.2.0 (longitude:double "
               "latitude:double member)...",
     .history = "6.2.0 Added the `CH`, `NX` and `XX` options."},
    {.name = "geopos",
     .run = geopos_run,
     .arity = -2,
     .flags = CMD_READONLY,
     .categories = ACL_GEO,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "3.2.0",
     .group = "geo",
     .complexity = "O(N) where N is the number of members asked for.",
     .summary = "Returns the longitude and latitude of members.",
     .syntax = "key member..."},
    {.name = "geodist",
     .run = geodist_run,
     .arity = -4,
     .flags = CMD_READONLY,
     .categories = ACL_GEO,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "3.2.0",
     .group = "geo",
     .complexity = "O(1)",
     .summary = "Returns the distance between two members.",
     .syntax = "key member1 member2 [unit: M | KM | FT | MI]"},
    {.name = "geohash",
     .run = geohash_run,
     .arity = -2,
     .flags = CMD_READONLY,
     .categories = ACL_GEO,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "3.2.0",
     .group = "geo",
     .complexity = "O(N) where N is the number of members asked for.",
     .summary = "Returns the standard geohash texts of members.",
     .syntax = "key member..."},
};

void commands_register_geo(struct exec *exec, struct type_limits *limits)
{
    exec_register(exec, geo_rows, sizeof(geo_rows) / sizeof(geo_rows[0]), limits);
}
