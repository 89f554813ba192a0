/* Where keys stand among the arguments. */
#include "exec/exec.h"
#include "tests/unit/test.h"

/* "2 3" for the keys of `line` under `row`, "none", or "invalid". */
static const char *keys_of(const struct command *row, const char *line, char *out)
{
    struct slice args[16];
    struct key_position keys[16];
    uint32_t count = 0;
    for (const char *at = line; *at != '\0'; count++) {
        size_t len = strcspn(at, " ");
        args[count] = slice_of(at, len);
        at += len + (at[len] == ' ');
    }
    int found = exec_find_keys(row, args, count, keys, 16);
    if (found < 0) {
        return "invalid";
    }
    if (found == 0) {
        return "none";
    }
    char *at = out;
    for (int i = 0; i < found; i++) {
        at += sprintf(at, "%s%u", i == 0 ? "" : " ", keys[i].index);
    }
    return out;
}

static void check_keys(const struct command *row, const char *line, const char *wanted)
{
    char out[64];
    const char *got = keys_of(row, line, out);
    if (strcmp(got, wanted) != 0) {
        fprintf(stderr, "%s: got %s, wanted %s\n", line, got, wanted);
        CHECK(false);
    }
}

static bool is_range(const struct command *row, int first, int last, int step, bool is_movable)
{
    struct key_range range = command_key_range(row);
    return range.first == first && range.last == last && range.step == step &&
           range.is_movable == is_movable;
}

TEST(keys, fixed_places)
{
    struct command get = {.keys = {{.first = 1}}};
    struct command mset = {.keys = {{.first = 1, .last = -1, .step = 2}}};
    struct command rename = {.keys = {{.first = 1}, {.first = 2}}};
    check_keys(&get, "get a", "1");
    check_keys(&get, "get", "invalid");
    check_keys(&mset, "mset a 1 b 2", "1 3");
    check_keys(&rename, "rename a b", "1 2");
    CHECK(is_range(&get, 1, 1, 1, false));
    CHECK(is_range(&mset, 1, -1, 2, false));
    CHECK(is_range(&rename, 1, 2, 1, false));
}

TEST(keys, counted_ones)
{
    struct command eval = {.keys = {{2, .is_counted = true}}};
    struct command store = {.keys = {{.first = 1}, {2, .is_counted = true}}};
    check_keys(&eval, "eval s 2 a b c", "3 4");
    check_keys(&eval, "eval s 0 a", "none");
    check_keys(&eval, "eval s 4 a b c", "invalid");
    check_keys(&eval, "eval s 9223372036854775807 a", "invalid");
    check_keys(&eval, "eval s -1 a", "invalid");
    check_keys(&eval, "eval s x a", "invalid");
    check_keys(&store, "zunionstore d 2 a b", "1 3 4");
    CHECK(is_range(&eval, 0, 0, 0, true));
    CHECK(is_range(&store, 1, 1, 1, true));
}

TEST(keys, behind_option_words)
{
    struct command xread = {.keys = {{1, -1, 1, .word = "STREAMS", .limit = 2}}};
    struct command migrate = {.keys = {{.first = 3}, {-2, -1, 1, .word = "KEYS"}}};
    struct command sort = {
        .keys = {{.first = 1}, {2, .word = "STORE", .is_unknown = true}, {.is_unknown = true}}};
    check_keys(&xread, "xread count 2 streams a b 0 0", "4 5");
    check_keys(&xread, "xread streams a 0", "2");
    check_keys(&xread, "xread count 2", "none");
    check_keys(&migrate, "migrate h p k 0 1 copy KEYS a b", "3 8 9");
    check_keys(&sort, "sort a by x store b", "1 5");
    check_keys(&sort, "sort a store", "1");
    CHECK(command_key_spec_count(&sort) == 3);
    CHECK(is_range(&xread, 0, 0, 0, true));
    CHECK(is_range(&sort, 1, 1, 1, true));
}

TEST(keys, channels_are_no_keys)
{
    struct command publish = {.keys = {{1, 1, 1, .is_not_key = true}}};
    check_keys(&publish, "spublish c m", "none");
    CHECK(is_range(&publish, 1, 1, 1, false));
}
