/* LCS against a naive table, and its life as a job. */
#include "tests/unit/commands/family.h"

enum { TEXT_MAX = 40 };

static size_t naive_len(const char *a, const char *b)
{
    static size_t table[TEXT_MAX + 1][TEXT_MAX + 1];
    for (size_t i = 0; i <= strlen(a); i++) {
        for (size_t j = 0; j <= strlen(b); j++) {
            size_t up = i > 0 ? table[i - 1][j] : 0;
            size_t left = j > 0 ? table[i][j - 1] : 0;
            bool is_match = i > 0 && j > 0 && a[i - 1] == b[j - 1];
            table[i][j] = is_match ? table[i - 1][j - 1] + 1 : up > left ? up : left;
        }
    }
    return table[strlen(a)][strlen(b)];
}

static bool is_within(const char *part, size_t len, const char *whole)
{
    size_t at = 0;
    for (; at < len && *whole != '\0'; whole++) {
        at += part[at] == *whole;
    }
    return at == len;
}

static void random_text(struct rng *rng, char *out)
{
    size_t len = rng_below(rng, TEXT_MAX) + 1;
    for (size_t i = 0; i < len; i++) {
        out[i] = (char)('a' + rng_below(rng, 3));
    }
    out[len] = '\0';
}

FAMILY_TEST(strings_lcs, agrees_with_the_naive_table)
{
    struct rng rng;
    char a[TEXT_MAX + 1];
    char b[TEXT_MAX + 1];
    char line[3 * TEXT_MAX];
    char wanted[32];
    rng_seed(&rng, test_seed());
    for (unsigned i = 0; i < 300; i++) {
        random_text(&rng, a);
        random_text(&rng, b);
        snprintf(line, sizeof(line), "mset a %s b %s", a, b);
        say_through(&family->fixture, line);
        size_t len = naive_len(a, b);
        snprintf(wanted, sizeof(wanted), ":%zu\r\n", len);
        CHECK(is_text(say_through(&family->fixture, "lcs a b len"), wanted));
        const char *text = strchr(say_through(&family->fixture, "lcs a b"), '\n') + 1;
        CHECK(strcspn(text, "\r") == len);
        CHECK(is_within(text, len, a) && is_within(text, len, b));
    }
}

FAMILY_TEST(strings_lcs, a_long_one_suspends_and_goes_with_its_session)
{
    struct fake_client other;
    for (unsigned i = 0; i < 300; i++) {
        say_through(&family->fixture, "append a abcabd");
        say_through(&family->fixture, "append b bdacca");
    }
    fake_open(&family->fixture, &other, "127.0.0.1:2000");
    say_as(&family->fixture, &other, "lcs a b idx");
    CHECK((other.session.flags & SESSION_SUSPENDED) != 0);
    say(&family->fixture, "del a b");
    work_drain(&family->fixture.work);
    CHECK((other.session.flags & SESSION_SUSPENDED) == 0 && other.wake_count == 1);
    CHECK(strncmp(fixture_take_reply(&family->fixture, &other.reply), "*4\r\n$7\r\nmatches", 15) ==
          0);
    for (unsigned i = 0; i < 300; i++) {
        say_through(&family->fixture, "append a abcabd");
    }
    say_as(&family->fixture, &other, "lcs a a");
    fake_shut(&other);
    CHECK(work_is_idle(&family->fixture.work));
}

FAMILY_TEST(strings_lcs, without_memory_says_so)
{
    say_through(&family->fixture, "mset a abc b bcd");
    for (unsigned countdown = 1; countdown <= 3; countdown++) {
        mem_fail_after(countdown);
        CHECK_SAY(&family->fixture, "lcs a b len",
                  "-ERR Insufficient memory, failed allocating transient memory for LCS\r\n");
    }
    mem_fail_after(0);
    CHECK_SAY(&family->fixture, "lcs a b len", ":2\r\n");
}
