/* Hashes in both encodings: what they hold, when they convert, what a failure leaves, and when
 * fields expire. */
#include "types/hash/hash.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/work.h"
#include "ds/picture.h"
#include "tests/unit/test.h"

enum { SEED = 7 };

struct bed {
    struct place place;
    struct type_limits limits;
    struct hash_rules rules;
    struct rng rng;
};

static struct slice text_of(const char *text)
{
    return slice_from_text(text);
}

static void bed_open(struct bed *bed, size_t entries)
{
    *bed = (struct bed){.limits = type_limits_default()};
    bed->limits.hash_entries = entries;
    bed->rules = (struct hash_rules){.limits = &bed->limits, .seed = SEED};
    bed->place.value = hash_try_new(text_of("some:key"), false);
    rng_seed(&bed->rng, test_seed());
}

static void bed_close(struct bed *bed)
{
    hash_ops.check(bed->place.value);
    value_free(bed->place.value, NULL);
}

static enum hash_put_result put(struct bed *bed, const char *field, const char *text)
{
    enum hash_put_result result =
        hash_try_put(&bed->place, text_of(field), text_of(text), &bed->rules);
    hash_ops.check(bed->place.value);
    return result;
}

static void put_numbered(struct bed *bed, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char field[32];
        snprintf(field, sizeof(field), "field:%u", i);
        CHECK(hash_try_put(&bed->place, text_of(field), text_of("value"), &bed->rules) ==
              HASH_ADDED);
    }
    hash_ops.check(bed->place.value);
}

/* Whether the field has the value; NULL: is absent. */
static bool has(const struct bed *bed, const char *field, const char *text)
{
    struct hash_pair pair;
    char digits[PACK_DIGITS];
    if (!hash_find(bed->place.value, text_of(field), &pair)) {
        return text == NULL;
    }
    return text != NULL && slice_equal(pack_text(&pair.text, digits), text_of(text)) &&
           hash_text_len(&pair.text) == strlen(text) &&
           slice_equal(pack_text(&pair.field, digits), text_of(field));
}

static bool is_table(const struct bed *bed)
{
    return strcmp(hash_ops.encoding_name(bed->place.value), "hashtable") == 0;
}

static void check_fields(size_t entries)
{
    struct bed bed;
    bed_open(&bed, entries);
    CHECK(hash_is_empty(bed.place.value) && has(&bed, "a", NULL));
    CHECK(put(&bed, "a", "1") == HASH_ADDED && put(&bed, "12", "text") == HASH_ADDED);
    CHECK(put(&bed, "", "") == HASH_ADDED && put(&bed, "a", "-70000") == HASH_REPLACED);
    CHECK(has(&bed, "a", "-70000") && has(&bed, "12", "text") && has(&bed, "", ""));
    CHECK(put(&bed, "12", "a much longer text than before") == HASH_REPLACED);
    CHECK(put(&bed, "a", "x") == HASH_REPLACED);
    CHECK(has(&bed, "a", "x") && has(&bed, "12", "a much longer text than before"));
    CHECK(hash_count(bed.place.value) == 3 && is_table(&bed) == (entries == 0));
    CHECK(hash_remove(&bed.place, text_of("12")) && !hash_remove(&bed.place, text_of("12")));
    CHECK(has(&bed, "12", NULL) && has(&bed, "", ""));
    CHECK(hash_remove(&bed.place, text_of("a")) && hash_remove(&bed.place, text_of("")));
    CHECK(hash_is_empty(bed.place.value));
    bed_close(&bed);
}

TEST(hash, fields_come_and_go_while_packed)
{
    check_fields(512);
}

TEST(hash, fields_come_and_go_in_a_table)
{
    check_fields(0);
}

TEST(hash, one_field_too_many_converts_and_keeps_everything)
{
    struct bed bed;
    bed_open(&bed, 4);
    put_numbered(&bed, 4);
    CHECK(!is_table(&bed) && put(&bed, "field:2", "7") == HASH_REPLACED && !is_table(&bed));
    CHECK(put(&bed, "field:4", "value") == HASH_ADDED && is_table(&bed));
    CHECK(hash_count(bed.place.value) == 5);
    CHECK(has(&bed, "field:0", "value") && has(&bed, "field:2", "7") &&
          has(&bed, "field:4", "value"));
    hash_remove(&bed.place, text_of("field:4"));
    CHECK(is_table(&bed)); /* There is no way back. */
    bed_close(&bed);
}

TEST(hash, a_long_field_or_value_converts)
{
    char text[66];
    memset(text, 'x', 65);
    text[65] = '\0';
    for (unsigned round = 0; round < 2; round++) {
        struct bed bed;
        bed_open(&bed, 512);
        put(&bed, "short", "short");
        text[64] = '\0';
        CHECK(put(&bed, round == 0 ? text : "f", round == 0 ? "v" : text) == HASH_ADDED);
        CHECK(!is_table(&bed));
        text[64] = 'x';
        CHECK(put(&bed, round == 0 ? text : "f", round == 0 ? "v" : text) ==
              (round == 0 ? HASH_ADDED : HASH_REPLACED));
        CHECK(is_table(&bed) && has(&bed, "short", "short"));
        bed_close(&bed);
    }
}

TEST(hash, a_pack_never_outgrows_its_block)
{
    struct bed bed;
    bed_open(&bed, SIZE_MAX);
    bed.limits.hash_value = SIZE_MAX;
    char *text = mem_alloc(30001);
    memset(text, 'x', 30000);
    text[30000] = '\0';
    CHECK(put(&bed, "a", text) == HASH_ADDED && put(&bed, "b", text) == HASH_ADDED);
    CHECK(!is_table(&bed) && put(&bed, "c", text) == HASH_ADDED && is_table(&bed));
    CHECK(has(&bed, "a", text) && has(&bed, "c", text));
    mem_free(text);
    bed_close(&bed);
}

TEST(hash, a_small_hash_is_one_small_block)
{
    struct bed bed;
    bed_open(&bed, 512);
    value_free(bed.place.value, NULL);
    bed.place.value = hash_try_new(text_of("user:00000000001"), false);
    const char *const pairs[] = {"name", "value:01", "mail", "value:02",
                                 "city", "value:03", "year", "value:04"};
    for (unsigned i = 0; i < 8; i += 2) {
        put(&bed, pairs[i], pairs[i + 1]);
    }
    CHECK(hash_ops.memory(bed.place.value, 0) <= 96);
    bed_close(&bed);
}

TEST(hash, failures_change_nothing)
{
    struct bed bed;
    bed_open(&bed, 2);
    put(&bed, "a", "1");
    put(&bed, "b", "2");
    for (unsigned nth = 1; nth < 8; nth++) { /* Some of these fail in the conversion. */
        mem_fail_after(nth);
        enum hash_put_result result =
            hash_try_put(&bed.place, text_of("c"), text_of("3"), &bed.rules);
        mem_fail_after(0);
        hash_ops.check(bed.place.value);
        CHECK(has(&bed, "a", "1") && has(&bed, "b", "2"));
        CHECK(has(&bed, "c", result == HASH_NO_MEMORY ? NULL : "3"));
        CHECK(nth > 1 || result == HASH_NO_MEMORY);
        hash_remove(&bed.place, text_of("c"));
    }
    char text[200];
    memset(text, 'x', 199);
    text[199] = '\0';
    put(&bed, "c", "3");
    mem_fail_after(1);
    CHECK(hash_try_put(&bed.place, text_of("a"), text_of(text), &bed.rules) == HASH_NO_MEMORY);
    mem_fail_after(0);
    CHECK(has(&bed, "a", "1"));
    bed_close(&bed);
}

TEST(hash, a_copy_is_its_own)
{
    for (size_t entries = 0; entries <= 512; entries += 512) {
        struct bed bed;
        bed_open(&bed, entries);
        put_numbered(&bed, 300);
        struct bed twin = bed;
        twin.place.value = hash_ops.copy(bed.place.value, text_of("other"), true);
        twin.rules.limits = &twin.limits;
        CHECK(hash_remove(&bed.place, text_of("field:7")) && has(&twin, "field:7", "value"));
        CHECK(hash_count(twin.place.value) == 300 && hash_count(bed.place.value) == 299);
        bed_close(&bed);
        bed_close(&twin);
    }
}

TEST(hash, a_copy_without_memory_leaves_nothing)
{
    struct bed bed;
    bed_open(&bed, 0);
    put_numbered(&bed, 20);
    size_t used = mem_used();
    for (unsigned nth = 1; nth <= 21; nth++) {
        mem_fail_after(nth);
        CHECK(hash_ops.copy(bed.place.value, text_of("other"), false) == NULL);
    }
    mem_fail_after(0);
    CHECK(mem_used() == used);
    bed_close(&bed);
}

TEST(hash, a_large_one_is_freed_in_slices)
{
    struct bed bed;
    bed_open(&bed, 0);
    put_numbered(&bed, 2000);
    CHECK(hash_ops.effort(bed.place.value) > 2000);
    size_t memory = hash_ops.memory(bed.place.value, 0);
    size_t sampled = hash_ops.memory(bed.place.value, 100);
    CHECK(sampled > memory / 2 && sampled < memory * 2);
    struct work_queue work;
    work_queue_init(&work);
    value_free(bed.place.value, &work);
    CHECK(work.job_count == 1);
    work_drain(&work);
    CHECK(work_is_idle(&work));
}

struct seen {
    unsigned counts[600];
    unsigned total;
};

static void on_pair(void *context, const struct hash_pair *pair)
{
    struct seen *seen = context;
    char digits[PACK_DIGITS];
    struct slice field = pack_text(&pair->field, digits);
    char number[16] = {0};
    memcpy(number, field.data + 6, field.len - 6);
    seen->counts[atoi(number)]++;
    seen->total++;
}

static void on_expired_field(void *context, struct slice field)
{
    struct seen *seen = context;
    (void)field;
    seen->total++;
}

static void check_picks(size_t entries)
{
    struct bed bed;
    bed_open(&bed, entries);
    put_numbered(&bed, 300);
    struct hash_picker picker = hash_picker_open(bed.place.value, &bed.rng, 0);
    static const size_t wanted[] = {1, 10, 99, 100, 150, 299, 300};
    for (unsigned i = 0; i < 7; i++) {
        struct seen seen = {.total = 0};
        hash_pick_distinct(&picker, wanted[i], on_pair, &seen);
        CHECK(seen.total == wanted[i]);
        for (unsigned k = 0; k < 300; k++) {
            CHECK(seen.counts[k] <= 1);
        }
    }
    struct seen seen = {.total = 0};
    for (unsigned i = 0; i < 300 * 40; i++) {
        struct hash_pair pair;
        hash_pick(&picker, &pair);
        on_pair(&seen, &pair);
    }
    for (unsigned k = 0; k < 300; k++) { /* 40 are expected, 6.3 is the deviation. */
        CHECK(seen.counts[k] > 8 && seen.counts[k] < 80);
    }
    hash_picker_close(&picker);
    bed_close(&bed);
}

TEST(hash, picks_from_a_pack_are_fair_and_distinct)
{
    check_picks(512);
}

TEST(hash, picks_from_a_table_are_fair_and_distinct)
{
    check_picks(0);
}

TEST(hash, what_expired_before_it_was_put_goes_at_once)
{
    for (size_t entries = 0; entries <= 512; entries += 512) {
        struct bed bed;
        bed_open(&bed, entries);
        CHECK(hash_try_put_until(&bed.place, text_of("later"), text_of("v"), 1000, &bed.rules) ==
              HASH_ADDED);
        CHECK(hash_try_put_until(&bed.place, text_of("over"), text_of("v"), 500, &bed.rules) ==
              HASH_ADDED);
        struct seen seen = {.total = 0};
        CHECK(hash_expire(&bed.place, 1000, SIZE_MAX, on_expired_field, &seen));
        CHECK(seen.total == 1 && hash_next_expiry_ms(bed.place.value) == 1000);
        CHECK(hash_count(bed.place.value) == 1);
        bed_close(&bed);
    }
}

/* Fields below `gone` of 100 expired at 10 and are hidden: they are neither counted nor picked. */
static void check_hiding(size_t entries, unsigned gone)
{
    struct bed bed;
    bed_open(&bed, entries);
    put_numbered(&bed, 100);
    for (unsigned i = 0; i < 100; i++) {
        char field[32];
        snprintf(field, sizeof(field), "field:%u", i);
        CHECK(hash_try_set_expire(&bed.place, text_of(field), i < gone ? 10 : 11, &bed.rules));
    }
    size_t shown = 100 - gone;
    CHECK(hash_count_shown(bed.place.value, 10) == 100);
    CHECK(hash_count_shown(bed.place.value, 11) == shown);
    struct hash_picker picker = hash_picker_open(bed.place.value, &bed.rng, 11);
    CHECK(picker.count == shown);
    for (size_t wanted = 0; wanted <= shown; wanted++) {
        struct seen seen = {.total = 0};
        hash_pick_distinct(&picker, wanted, on_pair, &seen);
        CHECK(seen.total == wanted);
        for (unsigned k = 0; k < 100; k++) {
            CHECK(seen.counts[k] <= (k >= gone));
        }
    }
    struct seen seen = {.total = 0};
    for (size_t i = 0; i < shown * 40; i++) {
        struct hash_pair pair;
        hash_pick(&picker, &pair);
        on_pair(&seen, &pair);
    }
    for (unsigned k = 0; k < 100; k++) {
        CHECK(k < gone ? seen.counts[k] == 0 : seen.counts[k] > 8 && seen.counts[k] < 80);
    }
    hash_picker_close(&picker);
    bed_close(&bed);
}

TEST(hash, hidden_fields_are_neither_counted_nor_picked)
{
    static const unsigned gone[] = {1, 30, 50, 51, 99, 100};
    for (unsigned i = 0; i < sizeof(gone) / sizeof(gone[0]); i++) {
        check_hiding(512, gone[i]);
        check_hiding(0, gone[i]);
    }
}

TEST(hash, a_scan_sees_what_stays_while_the_hash_grows_and_converts)
{
    struct bed bed;
    bed_open(&bed, 100);
    put_numbered(&bed, 90);
    struct seen seen = {.total = 0};
    const struct hash_scan scan = {.visit = on_pair, .context = &seen};
    CHECK(hash_scan(bed.place.value, 0, 5, &scan) == 0 && seen.total == 90);
    bed.limits.hash_entries = 0;
    put(&bed, "field:90", "v");
    seen = (struct seen){.total = 0};
    uint64_t cursor = 0;
    unsigned next = 91;
    do {
        cursor = hash_scan(bed.place.value, cursor, 5, &scan);
        for (unsigned i = 0; i < 20 && next < 600; i++, next++) {
            char field[32];
            snprintf(field, sizeof(field), "field:%u", next);
            put(&bed, field, "v");
        }
    } while (cursor != 0);
    for (unsigned k = 0; k <= 90; k++) {
        CHECK(seen.counts[k] == 1);
    }
    bed_close(&bed);
}

/* ---- Moments of a table's fields ---- */

enum { FAR = 1 << 30 };

static void put_until(struct bed *bed, const char *field, int64_t expire_ms)
{
    CHECK(hash_try_put_until(&bed->place, text_of(field), text_of("value"), expire_ms,
                             &bed->rules) != HASH_NO_MEMORY);
    hash_ops.check(bed->place.value);
}

static int64_t moment_of(const struct bed *bed, const char *field)
{
    struct hash_pair pair;
    return hash_find(bed->place.value, text_of(field), &pair) ? pair.expire_ms : -2;
}

/* Removes what is due, and tells how many fields that were. */
static unsigned expire(struct bed *bed, int64_t now_ms)
{
    struct seen seen = {.total = 0};
    CHECK(hash_expire(&bed->place, now_ms, SIZE_MAX, on_expired_field, &seen));
    hash_ops.check(bed->place.value);
    return seen.total;
}

struct named {
    uint32_t ref;
    unsigned number;
};

static int by_ref(const void *one, const void *other)
{
    uint32_t left = ((const struct named *)one)->ref;
    uint32_t right = ((const struct named *)other)->ref;
    return (left > right) - (left < right);
}

/* The names of two fields whose hashes have their top 32 bits in common. */
static void find_twins(char one[32], char other[32])
{
    enum { NAMES = 400000 }; /* 18 pairs are expected. */
    struct named *names = mem_alloc(NAMES * sizeof(*names));
    for (unsigned i = 0; i < NAMES; i++) {
        char name[32];
        int len = snprintf(name, sizeof(name), "twin:%u", i);
        names[i].ref = (uint32_t)(hash_bytes(SEED, slice_of(name, (size_t)len)) >> 32);
        names[i].number = i;
    }
    qsort(names, NAMES, sizeof(*names), by_ref);
    unsigned at = 1;
    while (names[at].ref != names[at - 1].ref) {
        at++;
        CHECK(at < NAMES);
    }
    snprintf(one, 32, "twin:%u", names[at - 1].number);
    snprintf(other, 32, "twin:%u", names[at].number);
    mem_free(names);
}

TEST(hash, fields_whose_hashes_begin_alike_have_moments_of_their_own)
{
    char a[32];
    char b[32];
    struct bed bed;
    find_twins(a, b);
    bed_open(&bed, 0);
    put_until(&bed, a, 5000);
    put_until(&bed, b, FAR);
    CHECK(moment_of(&bed, a) == 5000 && moment_of(&bed, b) == FAR);
    CHECK(hash_try_set_expire(&bed.place, text_of(a), 9000, &bed.rules));
    CHECK(moment_of(&bed, a) == 9000 && moment_of(&bed, b) == FAR);
    CHECK(expire(&bed, 6000) == 0);
    put_until(&bed, b, 7000);
    put_until(&bed, "other", 7500);
    CHECK(expire(&bed, 8000) == 2 && moment_of(&bed, b) == -2 && moment_of(&bed, a) == 9000);
    put_until(&bed, b, HASH_NO_EXPIRE);
    CHECK(hash_try_set_expire(&bed.place, text_of(b), 8800, &bed.rules));
    hash_ops.check(bed.place.value);
    CHECK(hash_remove(&bed.place, text_of(a)) && moment_of(&bed, b) == 8800);
    hash_ops.check(bed.place.value);
    CHECK(hash_try_set_expire(&bed.place, text_of(b), HASH_NO_EXPIRE, &bed.rules));
    CHECK(moment_of(&bed, b) == -1 && has(&bed, b, "value"));
    CHECK(!hash_has_expiring_fields(bed.place.value));
    bed_close(&bed);
}

TEST(hash, a_twin_without_memory_for_its_stamp_stays_as_it_was)
{
    char a[32];
    char b[32];
    find_twins(a, b);
    for (unsigned nth = 1; nth < 5; nth++) {
        struct bed bed;
        bed_open(&bed, 0);
        put_until(&bed, a, 5000);
        put_until(&bed, b, HASH_NO_EXPIRE);
        mem_fail_after(nth);
        bool is_done = hash_try_set_expire(&bed.place, text_of(b), 6000, &bed.rules);
        mem_fail_after(0);
        CHECK(moment_of(&bed, a) == 5000 && moment_of(&bed, b) == (is_done ? 6000 : -1));
        bed_close(&bed);
    }
}

TEST(hash, a_moment_costs_no_entry_its_size_class)
{
#ifndef OURO_HOSTILE
    for (size_t len = 1; len < 60; len++) {
        struct bed bed;
        char field[32];
        char text[64] = {0};
        bed_open(&bed, 0);
        memset(text, 'x', len);
        for (unsigned i = 0; i < 2000; i++) {
            snprintf(field, sizeof(field), "field:%u", i);
            CHECK(hash_try_put(&bed.place, text_of(field), text_of(text), &bed.rules) ==
                  HASH_ADDED);
        }
        size_t before = hash_ops.memory(bed.place.value, 0);
        for (unsigned i = 0; i < 2000; i++) {
            snprintf(field, sizeof(field), "field:%u", i);
            CHECK(hash_try_set_expire(&bed.place, text_of(field), FAR + i, &bed.rules));
        }
        size_t after = hash_ops.memory(bed.place.value, 0);
        CHECK(after - before <= 2000 * 13);
        bed_close(&bed);
    }
#endif
}

struct told {
    struct picture picture;
    struct seen seen;
    bool is_old; /* Each moment is what the field had at first. */
};

static void on_told(void *context, void *entry)
{
    struct told *told = context;
    struct hash_pair pair;
    hash_pair_of(told->picture.guard.table, entry, &pair);
    on_pair(&told->seen, &pair);
    char digits[PACK_DIGITS];
    int number = atoi(pack_text(&pair.field, digits).data + 6);
    told->is_old = told->is_old && pair.expire_ms == (number % 3 == 0 ? -1 : FAR + number);
}

/* A table of 300 fields of which two in three expire, and a picture of it. */
static void told_open(struct bed *bed, struct told *told)
{
    bed_open(bed, 0);
    for (unsigned i = 0; i < 300; i++) {
        char field[32];
        snprintf(field, sizeof(field), "field:%u", i);
        CHECK(hash_try_put_until(&bed->place, text_of(field), text_of("value"),
                                 i % 3 == 0 ? HASH_NO_EXPIRE : FAR + (int64_t)i,
                                 &bed->rules) == HASH_ADDED);
    }
    *told = (struct told){.is_old = true};
    picture_begin(&told->picture, hash_table_of(bed->place.value), on_told, told);
}

static void told_close(struct told *told, struct work_queue *work)
{
    while (!picture_step(&told->picture, 20)) {
    }
    CHECK(told->seen.total == 300 && told->is_old);
    work_unpark(&told->picture.guard.parked, work);
    picture_end(&told->picture);
    work_drain(work);
}

TEST(hash, a_picture_has_the_moments_of_its_beginning)
{
    struct bed bed;
    struct told told;
    struct work_queue work;
    work_queue_init(&work);
    told_open(&bed, &told);
    for (unsigned i = 0; i < 300; i++) {
        char field[32];
        snprintf(field, sizeof(field), "field:%u", i);
        if (i % 5 == 0) {
            hash_remove(&bed.place, text_of(field));
        } else if (i % 5 == 1) {
            CHECK(hash_try_set_expire(&bed.place, text_of(field), 7, &bed.rules));
        } else if (i % 5 == 2) {
            CHECK(hash_try_set_expire(&bed.place, text_of(field), HASH_NO_EXPIRE, &bed.rules));
        } else if (i % 5 == 3) {
            put(&bed, field, "another value");
        }
        if (i % 40 == 0) {
            picture_step(&told.picture, 1);
        }
    }
    CHECK(expire(&bed, FAR + 300) > 60);
    told_close(&told, &work);
    bed_close(&bed);
}

TEST(hash, a_picture_outlives_the_hash_with_its_moments)
{
    struct bed bed;
    struct told told;
    struct work_queue work;
    work_queue_init(&work);
    told_open(&bed, &told);
    value_free(bed.place.value, &work);
    told_close(&told, &work);
    CHECK(work_is_idle(&work));
}

/* ---- Building ---- */

static enum hash_put_result append(struct bed *bed, struct hash_fields *fields, unsigned number,
                                   int64_t expire_ms)
{
    char field[32];
    snprintf(field, sizeof(field), "field:%u", number);
    const struct hash_pair_text pair = {
        .field = text_of(field), .text = text_of("value"), .expire_ms = expire_ms};
    return hash_try_append(&bed->place, &pair, fields, &bed->rules);
}

/* 600 fields, and each of them again after every so many. */
static void check_building(size_t entries)
{
    struct bed bed;
    struct hash_fields fields = {.hashes = NULL};
    bed_open(&bed, entries);
    for (unsigned i = 0; i < 600; i++) {
        CHECK(append(&bed, &fields, i, i % 7 == 0 ? FAR : HASH_NO_EXPIRE) == HASH_ADDED);
        if (i % 29 == 0) {
            CHECK(append(&bed, &fields, i / 2, HASH_NO_EXPIRE) == HASH_REPLACED);
            hash_ops.check(bed.place.value);
        }
    }
    for (unsigned i = 0; i < 600; i++) {
        CHECK(append(&bed, &fields, i, HASH_NO_EXPIRE) == HASH_REPLACED);
    }
    CHECK(hash_count(bed.place.value) == 600 && is_table(&bed) == (entries < 600));
    hash_fields_deinit(&fields);
    bed_close(&bed);
}

TEST(hash, a_builder_knows_which_fields_it_has_put)
{
    check_building(0);
    check_building(3);
    check_building(512);
    check_building(600);
}

TEST(hash, a_builder_without_memory_has_changed_nothing)
{
    struct bed bed;
    struct hash_fields fields = {.hashes = NULL};
    bed_open(&bed, 512);
    for (unsigned i = 0; i < 100; i++) {
        mem_fail_after(1);
        enum hash_put_result result = append(&bed, &fields, i, HASH_NO_EXPIRE);
        mem_fail_after(0);
        if (result == HASH_NO_MEMORY) {
            CHECK(append(&bed, &fields, i, HASH_NO_EXPIRE) == HASH_ADDED);
        }
        CHECK(hash_count(bed.place.value) == i + 1);
    }
    hash_fields_deinit(&fields);
    bed_close(&bed);
}
