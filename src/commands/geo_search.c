/* Searches on the globe: GEOSEARCH, GEOSEARCHSTORE, GEORADIUS, GEORADIUSBYMEMBER and their
 * read-only forms.
 *
 * A shape is covered by at most nine ranges of scores. Their members are read in order, those
 * inside the shape are kept as points with their distance, and only what is asked for is sorted:
 * with COUNT n, a heap of n holds the nearest (or farthest) so far. Points of equal distance keep
 * the order in which they were found. Members are borrowed from the set, except digits of packed
 * integers, which a point holds itself. */
#include <math.h>

#include "base/assert.h"
#include "base/num.h"
#include "base/stretch.h"
#include "commands/commands.h"
#include "commands/geo.h"

enum sort { SORT_NONE, SORT_NEAREST, SORT_FARTHEST };

enum search_form {
    FORM_RADIUS,    /* GEORADIUS: middle and radius at fixed places, options may store. */
    FORM_BY_MEMBER, /* GEORADIUSBYMEMBER: the middle is a member. */
    FORM_SEARCH,    /* GEOSEARCH: everything is an option. */
};

struct search {
    enum search_form form;
    bool may_store;    /* STORE and STOREDIST name a key. */
    bool is_store;     /* GEOSEARCHSTORE */
    uint32_t key_at;   /* Index of the set that is searched. */
    uint32_t store_at; /* Index of where the result goes; 0: nowhere. */
    bool stores_distance;
    struct geo_shape shape;
    bool has_middle, is_from_member, is_by_radius, is_by_box;
    bool with_coord, with_dist, with_hash;
    bool is_any;
    int64_t count; /* 0: all. */
    enum sort sort;
    const struct value *value; /* The set; NULL: there is none. */
};

/* ---- Arguments ---- */

/* "radius unit" */
static bool parse_circle(struct call *call, uint32_t index, struct geo_shape *shape)
{
    if (!call_double(call, index, &shape->radius, "ERR need numeric radius")) {
        return false;
    }
    if (shape->radius < 0) {
        reply_error(call->out, "ERR radius cannot be negative");
        return false;
    }
    return geo_parse_unit(call, index + 1, &shape->metres);
}

/* "width height unit" */
static bool parse_box(struct call *call, uint32_t index, struct geo_shape *shape)
{
    if (!call_double(call, index, &shape->width, "ERR need numeric width") ||
        !call_double(call, index + 1, &shape->height, "ERR need numeric height")) {
        return false;
    }
    if (shape->width < 0 || shape->height < 0) {
        reply_error(call->out, "ERR height or width cannot be negative");
        return false;
    }
    shape->is_box = true;
    return geo_parse_unit(call, index + 2, &shape->metres);
}

/* The member's place as the middle. Without a set nothing will be found, so nothing is wrong. */
static bool take_member(struct call *call, uint32_t index, struct search *search)
{
    double score;
    search->is_from_member = true;
    if (search->value == NULL) {
        return true;
    }
    if (!zset_score(search->value, call->args.at[index], &score)) {
        reply_error(call->out, "ERR could not decode requested zset member");
        return false;
    }
    search->shape.middle = geo_decode(score);
    return true;
}

static bool take_count(struct call *call, uint32_t index, struct search *search)
{
    if (!call_i64(call, index, &search->count, NULL)) {
        return false;
    }
    if (search->count <= 0) {
        reply_error(call->out, "ERR COUNT must be > 0");
        return false;
    }
    return true;
}

/* Options without a value; false: it is none of them. */
static bool take_flag(const struct call *call, uint32_t index, struct search *search)
{
    if (call_is(call, index, "WITHDIST")) {
        search->with_dist = true;
    } else if (call_is(call, index, "WITHHASH")) {
        search->with_hash = true;
    } else if (call_is(call, index, "WITHCOORD")) {
        search->with_coord = true;
    } else if (call_is(call, index, "ANY")) {
        search->is_any = true;
    } else if (call_is(call, index, "ASC")) {
        search->sort = SORT_NEAREST;
    } else if (call_is(call, index, "DESC")) {
        search->sort = SORT_FARTHEST;
    } else if (search->is_store && call_is(call, index, "STOREDIST")) {
        search->stores_distance = true;
    } else {
        return false;
    }
    return true;
}

enum taken { TAKEN_NOTHING, TAKEN_OPTION, TAKEN_ERROR };

static enum taken taken_if(bool is_ok)
{
    return is_ok ? TAKEN_OPTION : TAKEN_ERROR;
}

/* The options that only GEOSEARCH has: middle and shape. */
static enum taken take_shape(struct call *call, uint32_t *index, struct search *search)
{
    uint32_t at = *index;
    uint32_t left = call->args.count - at - 1;
    if (left >= 1 && !search->has_middle && call_is(call, at, "FROMMEMBER")) {
        *index += 1;
        return taken_if(take_member(call, at + 1, search));
    }
    if (left >= 2 && !search->is_from_member && call_is(call, at, "FROMLONLAT")) {
        *index += 2;
        search->has_middle = true;
        return taken_if(geo_parse_point(call, at + 1, &search->shape.middle));
    }
    if (left >= 2 && !search->is_by_box && call_is(call, at, "BYRADIUS")) {
        *index += 2;
        search->is_by_radius = true;
        return taken_if(parse_circle(call, at + 1, &search->shape));
    }
    if (left >= 3 && !search->is_by_radius && call_is(call, at, "BYBOX")) {
        *index += 3;
        search->is_by_box = true;
        return taken_if(parse_box(call, at + 1, &search->shape));
    }
    return TAKEN_NOTHING;
}

/* Takes the option at `*index` and moves `*index` to its last word. */
static bool take_option(struct call *call, uint32_t *index, struct search *search)
{
    uint32_t at = *index;
    uint32_t left = call->args.count - at - 1;
    if (take_flag(call, at, search)) {
        return true;
    }
    if (left >= 1 && call_is(call, at, "COUNT")) {
        *index += 1;
        return take_count(call, at + 1, search);
    }
    bool is_dist = call_is(call, at, "STOREDIST");
    if (left >= 1 && search->may_store && (is_dist || call_is(call, at, "STORE"))) {
        *index += 1;
        search->store_at = at + 1;
        search->stores_distance = is_dist;
        return true;
    }
    enum taken taken =
        search->form == FORM_SEARCH ? take_shape(call, index, search) : TAKEN_NOTHING;
    if (taken == TAKEN_NOTHING) {
        reply_error(call->out, ERR_SYNTAX);
    }
    return taken == TAKEN_OPTION;
}

/* Whether the options make sense together; else the error is in the reply. */
static bool check_options(struct call *call, struct search *search)
{
    const char *name = call->args.at[0].data;
    int name_len = (int)call->args.at[0].len;
    bool is_search = search->form == FORM_SEARCH;
    if (search->store_at != 0 && (search->with_dist || search->with_hash || search->with_coord)) {
        reply_errorf(call->out,
                     "ERR %s is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
                     search->is_store ? "GEOSEARCHSTORE" : "STORE option in GEORADIUS");
    } else if (is_search && !search->has_middle && !search->is_from_member) {
        reply_errorf(call->out,
                     "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for %.*s",
                     name_len, name);
    } else if (is_search && !search->is_by_radius && !search->is_by_box) {
        reply_errorf(call->out, "ERR exactly one of BYRADIUS and BYBOX can be specified for %.*s",
                     name_len, name);
    } else if (search->is_any && search->count == 0) {
        reply_error(call->out, "ERR the ANY argument requires COUNT argument");
    } else {
        if (search->count > 0 && search->sort == SORT_NONE && !search->is_any) {
            search->sort = SORT_NEAREST;
        }
        return true;
    }
    return false;
}

static bool search_parse(struct call *call, struct search *search)
{
    uint32_t index = search->key_at + 1;
    if (search->form == FORM_RADIUS) {
        if (!geo_parse_point(call, 2, &search->shape.middle) ||
            !parse_circle(call, 4, &search->shape)) {
            return false;
        }
        index = 6;
    } else if (search->form == FORM_BY_MEMBER) {
        /* Redis reads member and radius only when there is a set. */
        if (search->value != NULL &&
            (!take_member(call, 2, search) || !parse_circle(call, 3, &search->shape))) {
            return false;
        }
        index = 5;
    }
    for (; index < call->args.count; index++) {
        if (!take_option(call, &index, search)) {
            return false;
        }
    }
    return check_options(call, search);
}

/* ---- Finding ---- */

struct found {
    double distance; /* In metres. */
    double score;
    size_t order; /* How many were found before it. */
    const char *member;
    size_t len;
    char digits[PACK_DIGITS];
};

struct finds {
    struct found *at; /* In `room`. */
    struct stretch room;
    size_t count, cap;
    size_t seen;   /* Inside the shape, kept or not. */
    size_t looked; /* Inside or not. */
};

static struct slice found_member(const struct found *found)
{
    return slice_of(found->member == NULL ? found->digits : found->member, found->len);
}

/* Whether a comes before b in the wanted order. */
static bool found_is_before(const struct found *a, const struct found *b, enum sort sort)
{
    if (sort != SORT_NONE && a->distance != b->distance) {
        return (a->distance < b->distance) == (sort == SORT_NEAREST);
    }
    return a->order < b->order;
}

/* Lets the item at `index` sink in a heap whose root is what comes last. */
static void heap_sink(struct found *at, size_t count, size_t index, enum sort sort)
{
    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= count) {
            return;
        }
        if (child + 1 < count && found_is_before(&at[child], &at[child + 1], sort)) {
            child++;
        }
        if (!found_is_before(&at[index], &at[child], sort)) {
            return;
        }
        struct found held = at[index];
        at[index] = at[child];
        at[child] = held;
        index = child;
    }
}

/* False: given up. */
static bool heap_build(struct call *call, struct finds *finds, enum sort sort)
{
    for (size_t i = finds->count / 2; i-- > 0;) {
        heap_sink(finds->at, finds->count, i, sort);
        if (i % SLICED_STEP == 0 && !call_yield(call)) {
            return false;
        }
    }
    return true;
}

/* Sorts what is a heap already. False: given up. */
static bool heap_sort(struct call *call, struct finds *finds, enum sort sort)
{
    for (size_t count = finds->count; count > 1; count--) {
        struct found last = finds->at[0];
        finds->at[0] = finds->at[count - 1];
        finds->at[count - 1] = last;
        heap_sink(finds->at, count - 1, 0, sort);
        if (count % SLICED_STEP == 0 && !call_yield(call)) {
            return false;
        }
    }
    return true;
}

/* Room for one more; false: no memory. */
static bool finds_try_grow(struct finds *finds)
{
    if (finds->count < finds->cap) {
        return true;
    }
    size_t cap = finds->cap == 0 ? 16 : 2 * finds->cap;
    if (!stretch_try_grow(&finds->room, cap * sizeof(*finds->at))) {
        return false;
    }
    finds->at = finds->room.bytes;
    finds->cap = cap;
    return true;
}

static void found_set(struct found *found, const struct zset_item *item, double distance,
                      size_t order)
{
    bool is_digits = item->member.data == item->digits;
    *found = (struct found){.distance = distance,
                            .score = item->score,
                            .order = order,
                            .member = is_digits ? NULL : item->member.data,
                            .len = item->member.len};
    if (is_digits) {
        memcpy(found->digits, item->digits, item->member.len);
    }
}

/* Keeps a member that is inside; false: no memory. */
static bool finds_add(struct call *call, struct finds *finds, const struct search *search,
                      const struct zset_item *item, double distance)
{
    size_t order = finds->seen++;
    if (search->sort == SORT_NONE || search->count == 0 || search->is_any ||
        finds->count < (size_t)search->count) {
        if (!finds_try_grow(finds)) {
            return false;
        }
        found_set(&finds->at[finds->count++], item, distance, order);
        if (search->sort != SORT_NONE && finds->count == (size_t)search->count) {
            return heap_build(call, finds, search->sort);
        }
        return true;
    }
    struct found found;
    found_set(&found, item, distance, order);
    if (found_is_before(&found, &finds->at[0], search->sort)) {
        finds->at[0] = found;
        heap_sink(finds->at, finds->count, 0, search->sort);
    }
    return true;
}

static bool is_enough(const struct finds *finds, const struct search *search)
{
    return search->is_any && finds->count >= (size_t)search->count;
}

/* How long a search is shows only while it is done. False: begun again in slices, or given up. */
static inline bool find_goes_on(struct call *call, const struct search *search, struct finds *finds)
{
    finds->looked++;
    if (finds->looked == SLICED_SIZE_MIN + 1 &&
        (search->store_at == 0 ? call_slice_reading(call, finds->looked)
                               : call_slice(call, finds->looked))) {
        return false;
    }
    return finds->looked % SLICED_STEP != 0 || call_yield(call);
}

/* Reads the members whose scores are in a range; false: no memory, the error is in the reply, or
 * the call is done in slices, or given up. */
static bool find_in(struct call *call, const struct search *search, struct geo_scores scores,
                    struct finds *finds)
{
    struct zset_score_range range = {
        .min = (double)scores.first, .max = (double)scores.end, .is_max_open = true};
    struct zset_ranks ranks = zset_ranks_of_scores(search->value, &range);
    struct zset_walk walk;
    struct zset_item item;
    zset_walk_begin(&walk, search->value, ranks.first, false);
    for (size_t rank = ranks.first; rank < ranks.end && zset_walk_next(&walk, &item); rank++) {
        double distance;
        if (!find_goes_on(call, search, finds)) {
            return false;
        }
        if (!geo_shape_has(&search->shape, geo_decode(item.score), &distance)) {
            continue;
        }
        if (!finds_add(call, finds, search, &item, distance)) {
            reply_error(call->out, ERR_NO_MEMORY);
            return false;
        }
        if (is_enough(finds, search)) {
            break;
        }
    }
    return true;
}

/* Finds and sorts; false as above. */
static bool find_all(struct call *call, const struct search *search, struct finds *finds)
{
    struct geo_scores scores[GEO_CELLS_MAX];
    unsigned count = geo_cover(&search->shape, scores);
    for (unsigned i = 0; i < count && !is_enough(finds, search); i++) {
        if (!find_in(call, search, scores[i], finds)) {
            return false;
        }
    }
    return search->sort == SORT_NONE ||
           (heap_build(call, finds, search->sort) && heap_sort(call, finds, search->sort));
}

/* ---- Answers ---- */

static void reply_finds(struct call *call, const struct search *search, const struct finds *finds)
{
    struct reply *out = call->out;
    size_t parts = (size_t)search->with_dist + search->with_hash + search->with_coord;
    reply_array(out, finds->count);
    for (size_t i = 0; i < finds->count; i++) {
        const struct found *found = &finds->at[i];
        if (parts > 0) {
            reply_array(out, parts + 1);
        }
        reply_bulk(out, found_member(found));
        if (search->with_dist) {
            geo_reply_distance(out, found->distance / search->shape.metres);
        }
        if (search->with_hash) {
            reply_integer(out, (int64_t)found->score);
        }
        if (search->with_coord) {
            geo_reply_point(out, geo_decode(found->score));
        }
        if (i % SLICED_STEP == SLICED_STEP - 1 && !call_yield_sending(call)) {
            return;
        }
    }
}

static void store_finds(struct call *call, const struct search *search, const struct finds *finds)
{
    struct zset_rules rules = zsets_rules(call);
    struct slice key = call->args.at[search->store_at];
    struct place place = {.value = zset_try_new(key, finds->count, 0, &rules)};
    if (place.value == NULL) {
        reply_error(call->out, ERR_NO_MEMORY);
        return;
    }
    for (size_t i = 0; i < finds->count; i++) {
        const struct found *found = &finds->at[i];
        double score =
            search->stores_distance ? found->distance / search->shape.metres : found->score;
        if (!zsets_collect(call, &place, found_member(found), score) ||
            (i % SLICED_STEP == SLICED_STEP - 1 && !call_yield(call))) {
            value_free(place.value, exec_work(call->exec));
            return;
        }
    }
    zsets_store(call, search->store_at, place.value,
                search->form == FORM_SEARCH ? "geosearchstore" : "georadiusstore");
}

static void search_with(struct call *call, struct search search)
{
    struct value *value;
    if (!call_find(call, search.key_at, VALUE_ZSET, &value)) {
        return;
    }
    search.value = value;
    if (!search_parse(call, &search)) {
        return;
    }
    struct finds finds = {.at = NULL};
    if (value == NULL || find_all(call, &search, &finds)) {
        if (search.store_at != 0) {
            store_finds(call, &search, &finds);
        } else {
            reply_finds(call, &search, &finds);
        }
    }
    stretch_deinit(&finds.room);
}

/* GEORADIUS key longitude latitude radius unit [options] [STORE key | STOREDIST key] */
static void georadius_run(struct call *call)
{
    search_with(call, (struct search){.form = FORM_RADIUS, .key_at = 1, .may_store = true});
}

/* GEORADIUS_RO key longitude latitude radius unit [options] */
static void georadius_ro_run(struct call *call)
{
    search_with(call, (struct search){.form = FORM_RADIUS, .key_at = 1});
}

/* GEORADIUSBYMEMBER key member radius unit [options] [STORE key | STOREDIST key] */
static void georadiusbymember_run(struct call *call)
{
    search_with(call, (struct search){.form = FORM_BY_MEMBER, .key_at = 1, .may_store = true});
}

/* GEORADIUSBYMEMBER_RO key member radius unit [options] */
static void georadiusbymember_ro_run(struct call *call)
{
    search_with(call, (struct search){.form = FORM_BY_MEMBER, .key_at = 1});
}

/* GEOSEARCH key FROMMEMBER member | FROMLONLAT longitude latitude BYRADIUS ... | BYBOX ... */
static void geosearch_run(struct call *call)
{
    search_with(call, (struct search){.form = FORM_SEARCH, .key_at = 1});
}

/* GEOSEARCHSTORE destination source FROM... BY... [STOREDIST] */
static void geosearchstore_run(struct call *call)
{
    search_with(call,
                (struct search){.form = FORM_SEARCH, .key_at = 2, .store_at = 1, .is_store = true});
}

/* What the documentation of several rows has in common. */
#define GEO_UNIT "(unit: M | KM | FT | MI)"
#define GEO_COUNT "[count: COUNT count:integer [ANY]]"
#define GEO_ORDER "[order: ASC | DESC]"
#define GEO_WITH "[WITHCOORD] [WITHDIST] [WITHHASH]"
#define GEO_COMPLEXITY                                                                             \
    "O(N+M*log(M)) where N is the number of members in the cells around the shape and M the "      \
    "number found."
#define GEO_SHAPE                                                                                  \
    "(from: FROMMEMBER member | FROMLONLAT (longitude:double latitude:double)) (by: (circle: "     \
    "BYRADIUS radius:double " GEO_UNIT ") | (box: BYBOX width:double height:double " GEO_UNIT "))"

/* The key behind the last such word, read as take_option reads: a key may be called so too. */
static uint32_t find_last(const struct slice *args, uint32_t count, const char *word)
{
    uint32_t key = 0;
    for (uint32_t i = 5; i + 1 < count; i++) { /* Of GEORADIUS, the unit: no such word. */
        key = slice_is(args[i], word) ? i + 1 : key;
        i += slice_is(args[i], "COUNT") || slice_is(args[i], "STORE") ||
             slice_is(args[i], "STOREDIST");
    }
    return key;
}

static uint32_t find_store(const struct slice *args, uint32_t count)
{
    return find_last(args, count, "STORE");
}

static uint32_t find_store_dist(const struct slice *args, uint32_t count)
{
    return find_last(args, count, "STOREDIST");
}

static const struct command geo_search_rows[] = {
    {.name = "geosearch",
     .run = geosearch_run,
     .arity = -7,
     .flags = CMD_READONLY,
     .categories = ACL_GEO,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "6.2.0",
     .group = "geo",
     .complexity = GEO_COMPLEXITY,
     .summary = "Returns the members inside a circle or box.",
     .syntax = "key " GEO_SHAPE " " GEO_ORDER " " GEO_COUNT " " GEO_WITH,
     .history = "7.0.0 Added support for uppercase unit names."},
    {.name = "geosearchstore",
     .run = geosearchstore_run,
     .arity = -8,
     .flags = CMD_WRITE | CMD_DENY_OOM,
     .categories = ACL_GEO,
     .keys = {{.first = 1, .access = KEY_OW, .use = KEY_USE_UPDATE},
              {.first = 2, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "6.2.0",
     .group = "geo",
     .complexity = GEO_COMPLEXITY,
     .summary = "Stores the members inside a circle or box in another key.",
     .syntax = "destination:key source:key " GEO_SHAPE " " GEO_ORDER " " GEO_COUNT " [STOREDIST]",
     .history = "7.0.0 Added support for uppercase unit names."},
    {.name = "georadius",
     .run = georadius_run,
     .arity = -6,
     .flags = CMD_WRITE | CMD_DENY_OOM,
     .categories = ACL_GEO,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS},
              {.first = 6,
               .word = "STORE",
               .find = find_store,
               .access = KEY_OW,
               .use = KEY_USE_UPDATE},
              {.first = 6,
               .word = "STOREDIST",
               .find = find_store_dist,
               .access = KEY_OW,
               .use = KEY_USE_UPDATE}},
     .since = "3.2.0",
     .group = "geo",
     .complexity = GEO_COMPLEXITY,
     .summary = "Returns the members around a point, and may store them.",
     .syntax =
         "key longitude:double latitude:double radius:double " GEO_UNIT " " GEO_WITH
         " [count: COUNT count:integer [ANY]@6.2.0] " GEO_ORDER " [STORE key] [STOREDIST key]",
     .deprecated = "6.2.0 `GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument",
     .history = "6.2.0 Added the `ANY` option for `COUNT`.\n7.0.0 Added support for uppercase "
                "unit names."},
    {.name = "georadius_ro",
     .run = georadius_ro_run,
     .arity = -6,
     .flags = CMD_READONLY,
     .categories = ACL_GEO,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "3.2.10",
     .group = "geo",
     .complexity = GEO_COMPLEXITY,
     .summary = "Returns the members around a point.",
     .syntax = "key longitude:double latitude:double radius:double " GEO_UNIT " " GEO_WITH
               " [count: COUNT count:integer [ANY]@6.2.0] " GEO_ORDER,
     .deprecated = "6.2.0 `GEOSEARCH` with the `BYRADIUS` argument",
     .history = "6.2.0 Added the `ANY` option for `COUNT`."},
    {.name = "georadiusbymember",
     .run = georadiusbymember_run,
     .arity = -5,
     .flags = CMD_WRITE | CMD_DENY_OOM,
     .categories = ACL_GEO,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS},
              {.first = 5,
               .word = "STORE",
               .find = find_store,
               .access = KEY_OW,
               .use = KEY_USE_UPDATE},
              {.first = 5,
               .word = "STOREDIST",
               .find = find_store_dist,
               .access = KEY_OW,
               .use = KEY_USE_UPDATE}},
     .since = "3.2.0",
     .group = "geo",
     .complexity = GEO_COMPLEXITY,
     .summary = "Returns the members around a member, and may store them.",
     .syntax = "key member radius:double " GEO_UNIT " " GEO_WITH " " GEO_COUNT " " GEO_ORDER
               " [STORE key] [STOREDIST key]",
     .deprecated = "6.2.0 `GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` "
                   "arguments",
     .history = "7.0.0 Added support for uppercase unit names."},
    {.name = "georadiusbymember_ro",
     .run = georadiusbymember_ro_run,
     .arity = -5,
     .flags = CMD_READONLY,
     .categories = ACL_GEO,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "3.2.10",
     .group = "geo",
     .complexity = GEO_COMPLEXITY,
     .summary = "Returns the members around a member.",
     .syntax = "key member radius:double " GEO_UNIT " " GEO_WITH " " GEO_COUNT " " GEO_ORDER,
     .deprecated = "6.2.0 `GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments"},
};

void commands_register_geo_search(struct exec *exec, struct type_limits *limits)
{
    exec_register(exec, geo_search_rows, sizeof(geo_search_rows) / sizeof(geo_search_rows[0]),
                  limits);
}
