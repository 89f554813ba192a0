/* Sets of keys by their hashes: what was added is found, and too many are all. */
#include "exec/key_set.h"

#include "base/mem.h"
#include "tests/unit/test.h"

TEST(key_set, what_was_added_is_in_it_and_nothing_else)
{
    struct key_set set = {.hashes = NULL};
    CHECK(!key_set_has(&set, 0) && !key_set_has(&set, 7));
    for (uint64_t i = 0; i < KEY_SET_MAX; i++) {
        key_set_add(&set, i * 1024);
        key_set_add(&set, i * 1024);
    }
    CHECK(set.count <= KEY_SET_MAX && !set.is_all);
    for (uint64_t i = 0; i < KEY_SET_MAX; i++) {
        CHECK(key_set_has(&set, i * 1024));
        CHECK(!key_set_has(&set, i * 1024 + 3));
    }
    key_set_deinit(&set);
    CHECK(!key_set_has(&set, 1024));
}

TEST(key_set, too_many_are_all)
{
    struct key_set set = {.hashes = NULL};
    for (uint64_t i = 0; i <= KEY_SET_MAX; i++) {
        key_set_add(&set, i + 1);
    }
    CHECK(set.is_all && set.hashes == NULL && key_set_has(&set, 12345678));
    key_set_deinit(&set);
    CHECK(!set.is_all && !key_set_has(&set, 1));
    key_set_add_all(&set);
    CHECK(key_set_has(&set, 1));
    key_set_deinit(&set);
}

TEST(key_set, one_that_was_reserved_holds_as_many)
{
    enum { COUNT = 3 * KEY_SET_MAX + 1 };
    struct key_set set = {.hashes = NULL};
    CHECK(key_set_try_reserve(&set, COUNT));
    uint32_t cap = set.cap;
    while (!key_set_clear_some(&set)) {
        CHECK(set.unclear_count > 0);
    }
    for (uint64_t i = 0; i < COUNT; i++) {
        key_set_add(&set, i * 1024);
    }
    CHECK(set.count == COUNT && set.cap == cap && !set.is_all);
    for (uint64_t i = 0; i < COUNT; i++) {
        CHECK(key_set_has(&set, i * 1024));
        CHECK(!key_set_has(&set, i * 1024 + 3));
    }
    key_set_deinit(&set);
}

TEST(key_set, none_is_reserved_without_memory)
{
    struct key_set set = {.hashes = NULL};
    CHECK(!key_set_try_reserve(&set, UINT32_MAX));
    mem_fail_after(1);
    CHECK(!key_set_try_reserve(&set, 100));
    mem_fail_after(0);
    CHECK(set.hashes == NULL && set.cap == 0);
    CHECK(key_set_try_reserve(&set, 0));
    while (!key_set_clear_some(&set)) {
        CHECK(set.unclear_count > 0);
    }
    CHECK(!key_set_has(&set, 7));
    key_set_deinit(&set);
}
