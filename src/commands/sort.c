/* SORT and SORT_RO.
 *
 *     load    copy the elements out, each with the number or text that it is compared by
 *     order   merge sort, see sort_table.c
 *     tell    reply (or the list to store), with what GET patterns find
 *
 * A small collection goes through all three at once, a large one in slices (exec/sliced.h). Its
 * elements are those of one moment: the key is pinned while they are copied, and free for others
 * afterwards. What BY and GET find is read as the job passes, so it may be of a later moment than
 * the elements.
 *
 * STORE tells the command itself, which meets the same elements on a replica, for they are pinned
 * until its end. With patterns, which name keys that cannot be pinned, it tells what it found when
 * it was done in slices: the list that it stores. Inside EXEC and scripts all is done at once. */
#include "commands/sort.h"

#include <errno.h>
#include <math.h>

#include "base/mem.h"
#include "base/num.h"
#include "commands/commands.h"
#include "commands/telling.h"
#include "exec/exec.h"
#include "exec/sliced.h"
#include "types/hash/hash.h"
#include "types/list/list.h"
#include "types/set/set.h"
#include "types/string/string.h"
#include "types/zset/zset.h"

#define ERR_NOT_SCORES "ERR One or more scores can't be converted into double"

enum {
#ifdef OURO_HOSTILE
    SORT_STEP = 2,
#else
    SORT_STEP = 128, /* Elements, or moves, between two looks at the clock. */
#endif
    SORT_FREE_STEP = 16,       /* Blocks that are freed in a slice. */
    SORT_NUMBER_LEN_MAX = 512, /* Longer texts are no numbers that a client means. */
};

enum sort_stage { SORT_LOAD, SORT_ORDER, SORT_TELL };

/* The elements of a list, set or sorted set, one by one. */
struct sort_walk {
    const struct value *value;
    union {
        struct list_iterator list;
        struct set_walk set;
        struct zset_walk zset;
    };
};

struct sort {
    struct exec *exec;
    struct db *db;
    struct slice key;
    uint64_t hash;
    struct slice by;
    const struct slice *gets;
    uint32_t get_count;
    int64_t limit_first, limit_count;
    bool is_alpha, is_descending, is_unsorted, is_stored;
    bool reads_others; /* Patterns make it read keys that it does not name. */

    enum sort_stage stage;
    struct sort_table table;
    struct sort_walk walk;
    size_t skip;        /* Elements to pass over before the first that counts. */
    size_t first, last; /* Items of the table that are told: [first, last). */
    size_t told;
    int64_t now_ms;
    const char *error;   /* Why there is no result, or NULL. */
    struct reply *out;   /* Where the result goes; unused when it is stored. */
    struct place stored; /* The list that is made of it. */
    const struct type_limits *limits;
};

/* ---- Patterns ---- */

/* Room for the text of what a pattern finds. */
struct sort_lookup {
    int64_t hidden_ms; /* Fields that expired before it tell nothing. */
    struct string_scratch scratch;
    char digits[PACK_DIGITS];
};

/* Takes "prefix*suffix->field" apart. False: no star, so no key. */
static bool pattern_split(struct slice pattern, size_t *star, size_t *suffix_end,
                          struct slice *field)
{
    const char *at = pattern.len == 0 ? NULL : memchr(pattern.data, '*', pattern.len);
    if (at == NULL) {
        return false;
    }
    *star = (size_t)(at - pattern.data);
    *suffix_end = pattern.len;
    *field = slice_of(NULL, 0);
    struct slice rest = slice_part(pattern, *star + 1, pattern.len);
    const char *arrow = rest.len == 0 ? NULL : memmem(rest.data, rest.len, "->", 2);
    if (arrow != NULL && arrow + 2 < pattern.data + pattern.len) {
        *suffix_end = (size_t)(arrow - pattern.data);
        *field = slice_of(arrow + 2, pattern.len - *suffix_end - 2);
    }
    return true;
}

/* What a value tells: its text, or that of a field. False: nothing. */
static bool lookup_read(struct sort_lookup *lookup, const struct value *value, struct slice field,
                        struct slice *text)
{
    if (value == NULL) {
        return false;
    }
    if (field.len == 0) {
        if (value_kind(value) != VALUE_STRING) {
            return false;
        }
        *text = string_get(value, &lookup->scratch);
        return true;
    }
    struct hash_pair pair;
    if (value_kind(value) != VALUE_HASH ||
        !hash_find_shown(value, field, lookup->hidden_ms, &pair)) {
        return false;
    }
    *text = pack_text(&pair.text, lookup->digits);
    return true;
}

/* What `pattern` means for an element; borrowed until the next change or lookup. False: there is no
 * such key or field. */
static bool sort_find(struct sort *sort, struct sort_lookup *lookup, struct slice pattern,
                      struct slice element, struct slice *text)
{
    size_t star;
    size_t suffix_end;
    struct slice field;
    if (slice_equal(pattern, slice_of("#", 1))) {
        *text = element;
        return true;
    }
    if (!pattern_split(pattern, &star, &suffix_end, &field)) {
        return false;
    }
    char stack[256];
    size_t suffix_len = suffix_end - star - 1;
    size_t len = star + element.len + suffix_len;
    char *name = len <= sizeof(stack) ? stack : mem_try_alloc(len);
    if (name == NULL) {
        return false;
    }
    memcpy(name, pattern.data, star);
    memcpy(name + star, element.data, element.len);
    memcpy(name + star + element.len, pattern.data + star + 1, suffix_len);
    struct slice key = slice_of(name, len);
    const struct value *value =
        db_find(sort->db, key, db_hash(sort->db, key), sort->now_ms, FIND_READ);
    if (value == NULL) {
        exec_report_miss(sort->exec, sort->db, key);
    }
    if (name != stack) {
        mem_free(name);
    }
    lookup->hidden_ms = db_hidden_ms(sort->db, sort->now_ms);
    return lookup_read(lookup, value, field, text);
}

/* ---- Loading ---- */

static size_t sort_len(const struct value *value)
{
    switch (value_kind(value)) {
    case VALUE_LIST:
        return list_len(value);
    case VALUE_SET:
        return set_count(value);
    default:
        return zset_count(value);
    }
}

static bool is_sortable(const struct value *value)
{
    return value_kind(value) == VALUE_LIST || value_kind(value) == VALUE_SET ||
           value_kind(value) == VALUE_ZSET;
}

/* Begins at an element, in the order that the collection has, or in the opposite one. Sets have no
 * order to speak of. */
static void sort_walk_begin(struct sort_walk *walk, const struct value *value, size_t first,
                            bool is_backward)
{
    walk->value = value;
    size_t len = sort_len(value);
    switch (value_kind(value)) {
    case VALUE_LIST:
        list_iterate(value, is_backward ? len - 1 - first : first, is_backward, &walk->list);
        return;
    case VALUE_SET:
        set_walk_begin(&walk->set, value);
        return;
    default:
        zset_walk_begin(&walk->zset, value, is_backward ? len - 1 - first : first, is_backward);
        return;
    }
}

struct sort_scratch {
    struct list_scratch list;
    struct set_scratch set;
    struct zset_item zset;
};

static bool sort_walk_next(struct sort_walk *walk, struct sort_scratch *scratch, struct slice *text)
{
    struct list_item list_item;
    struct set_item set_item;
    switch (value_kind(walk->value)) {
    case VALUE_LIST:
        if (!list_next(&walk->list, &list_item)) {
            return false;
        }
        *text = list_item_text(&list_item, &scratch->list);
        return true;
    case VALUE_SET:
        if (!set_walk_next(&walk->set, &set_item)) {
            return false;
        }
        *text = set_item_text(&set_item, &scratch->set);
        return true;
    default:
        if (!zset_walk_next(&walk->zset, &scratch->zset)) {
            return false;
        }
        *text = scratch->zset.member;
        return true;
    }
}

/* The range that LIMIT leaves of `len` elements, as Redis computes it. */
static void sort_set_range(struct sort *sort, size_t len)
{
    int64_t count = (int64_t)len;
    int64_t first = sort->limit_first < 0 ? 0 : sort->limit_first;
    first = first < count ? first : count;
    int64_t end = count;
    if (sort->limit_count >= 0 && sort->limit_count < count - first) {
        end = first + sort->limit_count;
    }
    sort->first = (size_t)first;
    sort->last = (size_t)(end < first ? first : end);
}

/* Makes the table for the elements of `value`, which may be NULL. Where nothing is to be ordered,
 * only those that are told are loaded. */
static bool sort_begin(struct sort *sort, const struct value *value)
{
    size_t len = value == NULL ? 0 : sort_len(value);
    const struct sort_order order = {.is_alpha = sort->is_alpha,
                                     .is_by = sort->by.data != NULL,
                                     .is_binary = sort->is_stored,
                                     .is_descending = sort->is_descending};
    sort->stage = SORT_LOAD;
    sort->skip = 0;
    sort->told = 0;
    sort_set_range(sort, len);
    size_t first = 0;
    if (sort->is_unsorted && value != NULL) {
        bool is_set = value_kind(value) == VALUE_SET;
        first = is_set ? 0 : sort->first;
        sort->skip = is_set ? sort->first : 0;
        len = sort->last - sort->first;
        sort->first = 0;
        sort->last = len;
    }
    if (!sort_table_try_init(&sort->table, len, &order)) {
        sort->error = ERR_NO_MEMORY;
        return false;
    }
    if (len > 0) {
        sort_walk_begin(&sort->walk, value, first, sort->is_unsorted && sort->is_descending);
    }
    return true;
}

/* A number as strtod reads it, up to a NUL; an empty text is 0. What strtod says is out of range,
 * numbers too small to be normal included, is none. */
static bool sort_parse_score(struct slice text, double *score)
{
    if (num_parse_double(text, score)) {
        return fpclassify(*score) != FP_SUBNORMAL;
    }
    char copy[SORT_NUMBER_LEN_MAX];
    if (text.len >= sizeof(copy)) {
        return false;
    }
    if (text.len > 0) {
        memcpy(copy, text.data, text.len);
    }
    copy[text.len] = '\0';
    char *end;
    errno = 0;
    *score = strtod(copy, &end);
    return *end == '\0' && errno != ERANGE && !isnan(*score);
}

/* Adds one element with what it is compared by. */
static void sort_load_item(struct sort *sort, struct slice element)
{
    struct sort_item *item = sort_table_try_add(&sort->table);
    if (item == NULL) {
        sort->error = ERR_NO_MEMORY;
        return;
    }
    item->len = (uint32_t)element.len;
    item->text = sort_table_keep(&sort->table, element);
    item->by_len = SORT_ABSENT;
    item->score = 0;
    if (item->text == NULL) {
        sort->error = ERR_NO_MEMORY;
        return;
    }
    sort->table.count++;
    if (sort->is_unsorted || (sort->is_alpha && sort->by.data == NULL)) {
        return;
    }
    struct sort_lookup lookup;
    struct slice by = element;
    if (sort->by.data != NULL && !sort_find(sort, &lookup, sort->by, element, &by)) {
        return;
    }
    if (!sort->is_alpha) {
        if (!sort_parse_score(by, &item->score)) {
            sort->error = ERR_NOT_SCORES;
        }
        return;
    }
    item->by = sort_table_keep(&sort->table, by);
    item->by_len = (uint32_t)by.len;
    if (item->by == NULL) {
        sort->error = ERR_NO_MEMORY;
    }
}

static void sort_load_step(struct sort *sort, size_t count)
{
    struct sort_scratch scratch;
    struct slice element;
    for (; count > 0 && sort->table.count < sort->table.cap; count--) {
        if (!sort_walk_next(&sort->walk, &scratch, &element)) {
            sort->last = sort->table.count; /* Cannot be: the collection has not changed. */
            break;
        }
        if (sort->skip > 0) {
            sort->skip--;
            continue;
        }
        sort_load_item(sort, element);
        if (sort->error != NULL) {
            return;
        }
    }
    if (sort->table.count == sort->table.cap) {
        sort->stage = sort->is_unsorted ? SORT_TELL : SORT_ORDER;
    }
}

/* ---- Telling ---- */

static void sort_tell_text(struct sort *sort, struct slice text)
{
    if (!sort->is_stored) {
        reply_bulk(sort->out, text);
    } else if (!list_try_push(&sort->stored, LIST_TAIL, text, NULL, sort->limits)) {
        sort->error = ERR_NO_MEMORY;
    }
}

static void sort_tell_item(struct sort *sort, const struct sort_item *item)
{
    struct slice element = slice_of(item->text, item->len);
    if (sort->get_count == 0) {
        sort_tell_text(sort, element);
        return;
    }
    for (uint32_t i = 0; i < sort->get_count && sort->error == NULL; i++) {
        struct sort_lookup lookup;
        struct slice text = slice_of("", 0);
        bool is_found = sort_find(sort, &lookup, sort->gets[i], element, &text);
        if (!is_found && !sort->is_stored) {
            reply_null(sort->out);
        } else {
            sort_tell_text(sort, text);
        }
    }
}

static size_t sort_result_count(const struct sort *sort)
{
    return (sort->last - sort->first) * (sort->get_count == 0 ? 1 : sort->get_count);
}

/* True: all is told. */
static bool sort_tell_step(struct sort *sort, size_t count)
{
    if (sort->told == 0 && !sort->is_stored) {
        reply_array(sort->out, sort_result_count(sort));
    }
    size_t len = sort->last - sort->first;
    for (; count > 0 && sort->told < len; count--) {
        sort_tell_item(sort, sort_table_item(&sort->table, sort->first + sort->told));
        sort->told++;
        if (sort->error != NULL) {
            return true;
        }
    }
    return sort->told == len;
}

/* Does about `count` pieces of the stage at hand. True: finished, or sort->error is set. */
static bool sort_step(struct sort *sort, size_t count)
{
    switch (sort->stage) {
    case SORT_LOAD:
        sort_load_step(sort, count);
        break;
    case SORT_ORDER:
        if (sort_table_step(&sort->table, count)) {
            sort->stage = SORT_TELL;
        }
        break;
    case SORT_TELL:
        return sort_tell_step(sort, count);
    }
    return sort->error != NULL;
}

/* ---- Running ---- */

/* Tells the result in place of the command. May yield, so it comes before the change itself. */
static void sort_tell_result(struct call *call, const struct sort *sort, uint32_t index)
{
    struct slice del[] = {slice_from_text("DEL"), call->args.at[index]};
    struct telling telling;
    call_tell_begin(call);
    if (call_peek(call, index, FIND_NO_TOUCH | FIND_EXPIRED) != NULL) {
        call_effect(call, del, 2);
    }
    telling_begin(&telling, call, "RPUSH", index);
    telling_add_list(&telling, sort->stored.value);
    telling_end(&telling);
}

/* Stores the result, or removes what was there when it is empty. */
static void sort_store(struct call *call, struct sort *sort, uint32_t index)
{
    size_t count = sort_result_count(sort);
    if (call->sliced != NULL && sort->reads_others && call_wants_effects(call)) {
        sort_tell_result(call, sort, index);
    }
    if (count > 0) {
        call_insert(call, index, sort->stored.value);
        sort->stored.value = NULL;
        call_changed(call, index, "sortstore");
    } else {
        struct place place = call_peek_place(call, index, FIND_NO_TOUCH);
        if (place.value != NULL) {
            call_remove(call, index, place);
            call_changed(call, index, "del");
        }
    }
    reply_count(call->out, count);
}

/* Lets others go on; what is told may be sent. False: given up. */
static bool sort_yield(struct call *call, struct sort *sort)
{
    bool goes_on;
    if (sort->stage != SORT_LOAD && !sort->is_stored) {
        call_release_keys(call); /* The elements are copied. */
    }
    if (sort->stage == SORT_TELL && !sort->is_stored) {
        goes_on = call_yield_sending(call);
    } else {
        goes_on = call_yield(call);
    }
    sort->now_ms = call->now->wall_ms;
    return goes_on;
}

/* Goes through the stages. False: given up, or there is an error. */
static bool sort_through(struct call *call, struct sort *sort)
{
    size_t count = call->sliced != NULL ? SORT_STEP : SIZE_MAX;
    while (!sort_step(sort, count)) {
        if (!sort_yield(call, sort)) {
            return false;
        }
    }
    while (!sort_table_free_step(&sort->table, call->sliced != NULL ? SORT_FREE_STEP : SIZE_MAX) &&
           call_yield(call)) {
    }
    return sort->error == NULL;
}

static void sort_all(struct call *call, struct sort *sort, const struct value *value,
                     uint32_t store)
{
    if (store != 0) {
        sort->stored.value = list_try_new(call->args.at[store], false);
        sort->error = sort->stored.value == NULL ? ERR_NO_MEMORY : NULL;
    }
    bool is_done = sort->error == NULL && sort_begin(sort, value) && sort_through(call, sort);
    if (sort->error != NULL) {
        reply_error(call->out, sort->error);
    } else if (is_done && store != 0) {
        sort_store(call, sort, store);
    }
    if (sort->stored.value != NULL) {
        value_free(sort->stored.value, exec_work(call->exec));
    }
    sort_table_free_step(&sort->table, SIZE_MAX);
}

/* ---- The command ---- */

/* What the command says, besides what struct sort keeps of it. */
struct sort_words {
    bool may_store;
    uint32_t store;     /* Argument with the key; 0: none. */
    struct slice *gets; /* Owned: the GET patterns, in order. */
};

/* Reads the option at `*index` and moves `*index` to its last argument. False: the error is in the
 * reply. */
static bool sort_take_option(struct call *call, uint32_t *index, struct sort *sort,
                             struct sort_words *words)
{
    uint32_t i = *index;
    uint32_t more = call->args.count - 1 - i;
    if (call_is(call, i, "ASC")) {
        sort->is_descending = false;
    } else if (call_is(call, i, "DESC")) {
        sort->is_descending = true;
    } else if (call_is(call, i, "ALPHA")) {
        sort->is_alpha = true;
    } else if (call_is(call, i, "LIMIT") && more >= 2) {
        *index = i + 2;
        return call_i64(call, i + 1, &sort->limit_first, NULL) &&
               call_i64(call, i + 2, &sort->limit_count, NULL);
    } else if (words->may_store && call_is(call, i, "STORE") && more >= 1) {
        words->store = *index = i + 1;
    } else if (call_is(call, i, "BY") && more >= 1) {
        sort->by = call->args.at[i + 1];
        *index = i + 1;
    } else if (call_is(call, i, "GET") && more >= 1) {
        words->gets[sort->get_count++] = call->args.at[i + 1];
        *index = i + 1;
    } else {
        reply_error(call->out, ERR_SYNTAX);
        return false;
    }
    return true;
}

/* BY without a star orders by nothing: the elements come as they stand. A set that is stored is
 * then ordered by its members, so that the result does not depend on chance. */
static void sort_settle_order(struct sort *sort, const struct value *value)
{
    if (sort->by.data == NULL) {
        return;
    }
    if (sort->by.len == 0 || memchr(sort->by.data, '*', sort->by.len) == NULL) {
        sort->by = slice_of(NULL, 0);
        sort->is_unsorted = true;
    }
    if (sort->is_unsorted && sort->is_stored && value != NULL && value_kind(value) == VALUE_SET) {
        sort->is_unsorted = false;
        sort->is_alpha = true;
    }
}

/* Whether patterns make it read keys that it does not name. */
static bool sort_reads_others(const struct sort *sort)
{
    bool reads = sort->by.data != NULL;
    for (uint32_t i = 0; i < sort->get_count; i++) {
        reads |= !slice_equal(sort->gets[i], slice_of("#", 1));
    }
    return reads;
}

static void sort_with_words(struct call *call, struct sort_words *words)
{
    struct sort sort = {.exec = call->exec,
                        .db = call->db,
                        .key = call->args.at[1],
                        .hash = call_hash(call, 1),
                        .gets = words->gets,
                        .limit_count = -1,
                        .now_ms = call->now->wall_ms,
                        .out = call->out,
                        .limits = call->family};
    for (uint32_t i = 2; i < call->args.count; i++) {
        if (!sort_take_option(call, &i, &sort, words)) {
            return;
        }
    }
    sort.is_stored = words->store != 0;
    const struct value *value = call_peek(call, 1, FIND_READ);
    if (value != NULL && !is_sortable(value)) {
        reply_error(call->out, ERR_WRONG_TYPE);
        return;
    }
    sort_settle_order(&sort, value);
    sort.reads_others = sort_reads_others(&sort);
    size_t len = value == NULL ? 0 : sort_len(value);
    bool is_later = sort.is_stored ? call_slice(call, len) : call_slice_reading(call, len);
    if (!is_later) {
        sort_all(call, &sort, value, words->store);
    }
}

static void sort_with(struct call *call, bool may_store)
{
    struct sort_words words = {.may_store = may_store};
    words.gets = mem_alloc(call->args.count * sizeof(*words.gets));
    sort_with_words(call, &words);
    mem_free(words.gets);
}

/* SORT key [BY pattern] [LIMIT offset count] [GET pattern ...] [ASC|DESC] [ALPHA] [STORE key] */
static void sort_run(struct call *call)
{
    sort_with(call, true);
}

/* SORT_RO key [BY pattern] [LIMIT offset count] [GET pattern ...] [ASC|DESC] [ALPHA] */
static void sort_ro_run(struct call *call)
{
    sort_with(call, false);
}

#define SORT_BY_NOTES                                                                              \
    "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from "   \
    "the content of the key we sort"
#define SORT_STORE_NOTES                                                                           \
    "For the optional STORE keyword. It is marked 'unknown' because the keyword can appear "       \
    "anywhere in the argument array"

/* The key behind the last STORE, read as sort_take_option reads: patterns may be called so too. */
static uint32_t sort_find_store(const struct slice *args, uint32_t count)
{
    uint32_t store = 0;
    for (uint32_t i = 2; i < count; i++) {
        if (slice_is(args[i], "LIMIT")) {
            i += 2;
        } else if (slice_is(args[i], "BY") || slice_is(args[i], "GET")) {
            i++;
        } else if (slice_is(args[i], "STORE") && i + 1 < count) {
            store = ++i;
        }
    }
    return store;
}

static const struct command sort_rows[] = {
    {.name = "sort",
     .run = sort_run,
     .arity = -2,
     .flags = CMD_WRITE | CMD_DENY_OOM,
     .categories = ACL_SET | ACL_SORTEDSET | ACL_LIST | ACL_DANGEROUS,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS},
              {.is_unknown = true, .access = KEY_RO, .use = KEY_USE_ACCESS, .notes = SORT_BY_NOTES},
              {.first = 2,
               .find = sort_find_store,
               .is_unknown = true,
               .access = KEY_OW,
               .use = KEY_USE_UPDATE,
               .notes = SORT_STORE_NOTES}},
     .since = "1.0.0",
     .group = "generic",
     .complexity = "O(N+M*log(M)) where N is the number of elements and M that of those ordered; "
                   "other clients go on meanwhile.",
     .summary = "Returns the elements of a list, set or sorted set in order, or stores them.",
     .syntax = "key [BY pattern:pattern#1] [LIMIT (offset:integer count:integer)] "
               "[GET pattern:pattern#1]... [order: ASC | DESC] [sorting=ALPHA] "
               "[STORE destination:key#2]"},
    {.name = "sort_ro",
     .run = sort_ro_run,
     .arity = -2,
     .flags = CMD_READONLY,
     .categories = ACL_SET | ACL_SORTEDSET | ACL_LIST | ACL_DANGEROUS,
     .keys =
         {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS},
          {.is_unknown = true, .access = KEY_RO, .use = KEY_USE_ACCESS, .notes = SORT_BY_NOTES}},
     .since = "7.0.0",
     .group = "generic",
     .complexity = "O(N+M*log(M)) where N is the number of elements and M that of those ordered; "
                   "other clients go on meanwhile.",
     .summary = "Returns the elements of a list, set or sorted set in order; never writes.",
     .syntax = "key [BY pattern:pattern#1] [LIMIT (offset:integer count:integer)] "
               "[GET pattern:pattern#1]... [order: ASC | DESC] [sorting=ALPHA]"},
};

void commands_register_sort(struct exec *exec, struct type_limits *limits)
{
    exec_register(exec, sort_rows, sizeof(sort_rows) / sizeof(sort_rows[0]), limits);
}
