/* Sets: which form they take, what happens at the limits, and their failures. */
#include "types/set/set.h"

#include "base/mem.h"
#include "base/work.h"
#include "tests/unit/test.h"

static const struct type_limits limits = {
    .set_intset_entries = 512, .set_listpack_entries = 128, .set_listpack_value = 64};
static const struct set_rules rules = {.limits = &limits, .hash_seed = 3};

static struct place new_set(const char *first)
{
    struct set_item item = set_item_of(slice_from_text(first));
    struct place place = {.value = set_try_new(slice_from_text("k"), &item, 1, &rules)};
    CHECK(place.value != NULL);
    return place;
}

static enum set_result add(struct place *place, const char *text)
{
    struct set_item item = set_item_of(slice_from_text(text));
    enum set_result result = set_try_add(place, &item, &rules);
    set_ops.check(place->value);
    CHECK(mem_usable(place->value) == mem_good_size(value_block_len(place->value)));
    return result;
}

static bool has(const struct place *place, const char *text)
{
    struct set_item item = set_item_of(slice_from_text(text));
    return set_has(place->value, &item);
}

static bool is_form(const struct place *place, const char *name)
{
    return strcmp(set_ops.encoding_name(place->value), name) == 0;
}

static void add_numbers(struct place *place, int64_t from, int64_t to)
{
    for (int64_t i = from; i < to; i++) {
        struct set_item item = set_item_of_i64(i);
        CHECK(set_try_add(place, &item, &rules) == SET_CHANGED);
    }
}

TEST(set, integers_are_sorted_and_as_wide_as_the_widest)
{
    struct place place = new_set("1");
    add(&place, "1");
    add(&place, "7");
    add(&place, "-3");
    CHECK(place.value->len == 6);
    CHECK(add(&place, "7") == SET_UNCHANGED);
    add(&place, "100000");
    CHECK(place.value->len == 16 && is_form(&place, "intset"));
    add(&place, "9223372036854775807");
    CHECK(place.value->len == 40 && set_count(place.value) == 5);
    CHECK(has(&place, "-3") && has(&place, "9223372036854775807") && !has(&place, "x"));
    CHECK(!has(&place, "07"));
    value_free(place.value, NULL);
}

TEST(set, a_text_turns_integers_into_a_pack)
{
    struct place place = new_set("1");
    add(&place, "1");
    add(&place, "22222222222222");
    CHECK(add(&place, "abc") == SET_CHANGED);
    CHECK(is_form(&place, "listpack") && set_count(place.value) == 3);
    CHECK(has(&place, "1") && has(&place, "22222222222222") && has(&place, "abc"));
    value_free(place.value, NULL);
}

TEST(set, limits_count_members_and_bytes)
{
    struct place place = new_set("0");
    add_numbers(&place, 0, 512);
    CHECK(is_form(&place, "intset"));
    add_numbers(&place, 512, 513);
    CHECK(is_form(&place, "hashtable") && set_count(place.value) == 513);
    value_free(place.value, NULL);

    place = new_set("a");
    add(&place, "a");
    add_numbers(&place, 0, 127);
    CHECK(is_form(&place, "listpack"));
    add_numbers(&place, 127, 128);
    CHECK(is_form(&place, "hashtable") && has(&place, "a") && set_count(place.value) == 129);
    value_free(place.value, NULL);

    place = new_set("a");
    CHECK(add(&place, "0123456789012345678901234567890123456789012345678901234567890123") ==
          SET_CHANGED);
    CHECK(is_form(&place, "listpack"));
    CHECK(add(&place, "x0123456789012345678901234567890123456789012345678901234567890123") ==
          SET_CHANGED);
    CHECK(is_form(&place, "hashtable"));
    value_free(place.value, NULL);

    place = new_set("0");
    add_numbers(&place, 0, 128);
    add(&place, "a");
    CHECK(is_form(&place, "hashtable"));
    value_free(place.value, NULL);
}

TEST(set, expectation_chooses_the_form)
{
    struct set_item number = set_item_of_i64(5);
    struct set_item text = set_item_of(slice_from_text("text"));
    struct place place = {.value = set_try_new(slice_from_text("k"), &number, 512, &rules)};
    CHECK(is_form(&place, "intset"));
    CHECK(set_try_expect(&place, 512, &rules) && is_form(&place, "intset"));
    CHECK(set_try_expect(&place, 513, &rules) && is_form(&place, "hashtable"));
    value_free(place.value, NULL);
    place.value = set_try_new(slice_from_text("k"), &text, 129, &rules);
    CHECK(is_form(&place, "hashtable"));
    value_free(place.value, NULL);
    place.value = set_try_new(slice_from_text("k"), &text, 128, &rules);
    CHECK(is_form(&place, "listpack"));
    value_free(place.value, NULL);
}

TEST(set, members_in_slots_cost_no_allocation)
{
    struct place place = new_set("0");
    add_numbers(&place, 0, 10000);
    size_t bytes = set_ops.memory(place.value, 0);
    CHECK(bytes > 10000 * 8);
    CHECK(is_form(&place, "hashtable"));
#ifndef OURO_HOSTILE /* Its segments are tiny. */
    CHECK(bytes < 10000 * 14);
#endif
    struct place texts = new_set("member");
    for (int i = 0; i < 10000; i++) {
        char text[32];
        snprintf(text, sizeof(text), "member:%d", i);
        struct set_item item = set_item_of(slice_from_text(text));
        CHECK(set_try_add(&texts, &item, &rules) == SET_CHANGED);
    }
#ifndef OURO_LIBC_MALLOC
    CHECK(set_ops.memory(texts.value, 0) < 10000 * 30);
#endif
    value_free(texts.value, NULL);
    value_free(place.value, NULL);
}

TEST(set, extreme_members_survive_a_table)
{
    static const char *const members[] = {"",
                                          "a",
                                          "abcde",
                                          "abcdef",
                                          "35184372088831",
                                          "35184372088832",
                                          "-35184372088832",
                                          "-35184372088833",
                                          "9223372036854775807",
                                          "-9223372036854775808",
                                          "9223372036854775808",
                                          "-0",
                                          "00",
                                          "-1",
                                          "0"};
    enum { COUNT = sizeof(members) / sizeof(members[0]) };
    struct place place = new_set("x");
    CHECK(set_try_expect(&place, 1000, &rules));
    for (size_t i = 0; i < COUNT; i++) {
        CHECK(add(&place, members[i]) == SET_CHANGED);
        CHECK(add(&place, members[i]) == SET_UNCHANGED);
    }
    CHECK(set_count(place.value) == COUNT);
    struct set_walk walk;
    struct set_item item;
    set_walk_begin(&walk, place.value);
    for (size_t i = 0; i < COUNT; i++) {
        CHECK(set_walk_next(&walk, &item));
        struct set_scratch scratch;
        struct set_item again = set_item_of(set_item_text(&item, &scratch));
        CHECK(again.is_integer == item.is_integer && again.word == item.word);
        CHECK(set_has(place.value, &item));
    }
    CHECK(!set_walk_next(&walk, &item));
    for (size_t i = 0; i < COUNT; i++) {
        item = set_item_of(slice_from_text(members[i]));
        CHECK(set_remove(&place, &item) && !set_remove(&place, &item));
    }
    CHECK(set_count(place.value) == 0);
    value_free(place.value, NULL);
}

TEST(set, without_memory_nothing_changes)
{
    struct place place = new_set("0");
    add_numbers(&place, 0, 128);
    for (unsigned countdown = 1;; countdown++) {
        struct set_item item = set_item_of(slice_from_text("a longer text"));
        mem_fail_after(countdown);
        enum set_result result = set_try_add(&place, &item, &rules);
        mem_fail_after(0);
        set_ops.check(place.value);
        if (result == SET_CHANGED) {
            CHECK(countdown > 1);
            break;
        }
        CHECK(result == SET_NO_MEMORY && set_count(place.value) == 128);
    }
    CHECK(set_count(place.value) == 129);
    for (unsigned countdown = 1;; countdown++) {
        mem_fail_after(countdown);
        struct value *copy = set_ops.copy(place.value, slice_from_text("copy"), false);
        mem_fail_after(0);
        if (copy != NULL) {
            CHECK(set_count(copy) == 129 && countdown > 2);
            value_free(copy, NULL);
            break;
        }
    }
    value_free(place.value, NULL);
}

struct seen {
    size_t counts[3000];
};

static void on_item(void *context, const struct set_item *item)
{
    struct seen *seen = context;
    CHECK(item->is_integer);
    seen->counts[item->number]++;
}

TEST(set, scan_tells_what_stays_while_the_set_grows_and_shrinks)
{
    static struct seen seen;
    struct place place = new_set("0");
    add_numbers(&place, 0, 1000);
    struct set_visitor visitor = {.visit = on_item, .context = &seen};
    uint64_t cursor = 0;
    int64_t next = 1000;
    do {
        cursor = set_scan(place.value, cursor, 10, &visitor);
        if (next < 3000) {
            add_numbers(&place, next, next + 20);
            next += 20;
        }
        struct set_item item = set_item_of_i64(next - 1);
        set_remove(&place, &item);
    } while (cursor != 0);
    for (size_t i = 0; i < 1000; i++) {
        CHECK(seen.counts[i] == 1);
    }
    value_free(place.value, NULL);
}

TEST(set, random_members_are_equally_likely)
{
    struct rng rng;
    rng_seed(&rng, 5);
    static const char *const firsts[] = {"0", "x"};
    for (size_t form = 0; form < 2; form++) {
        struct place place = new_set(firsts[form]);
        add_numbers(&place, 0, 20);
        if (form == 1) {
            CHECK(set_try_expect(&place, 1000, &rules));
        }
        size_t counts[20] = {0};
        for (int i = 0; i < 20000; i++) {
            struct set_item item = set_random(place.value, &rng);
            counts[item.number]++;
        }
        for (size_t i = 0; i < 20; i++) {
            CHECK(counts[i] > 800 && counts[i] < 1200);
        }
        value_free(place.value, NULL);
    }
}

TEST(set, a_large_set_is_freed_in_slices)
{
    struct work_queue work;
    work_queue_init(&work);
    struct place place = new_set("0");
    CHECK(set_ops.effort(place.value) == 1);
    add_numbers(&place, 0, 5000);
    CHECK(set_ops.effort(place.value) == 5000);
    value_free(place.value, &work);
    CHECK(!work_is_idle(&work));
    work_drain(&work);
}
