/* Tests of base/glob.c: the corners by name, and random patterns against a recursive twin. */
#include "base/glob.h"

#include "base/rng.h"
#include "tests/unit/test.h"

static bool is_match(const char *pattern, const char *text)
{
    return glob_match(slice_from_text(pattern), slice_from_text(text));
}

static bool is_match_nocase(const char *pattern, const char *text)
{
    return glob_match_nocase(slice_from_text(pattern), slice_from_text(text));
}

TEST(glob, stars_and_question_marks)
{
    CHECK(is_match("*", "anything") && is_match("h?llo", "hello") && is_match("h*llo", "heeello"));
    CHECK(is_match("h*llo", "hllo") && !is_match("h?llo", "hllo") && is_match("a*", "a"));
    CHECK(is_match("a**", "a") && is_match("**a", "a") && !is_match("*a", "ab"));
    CHECK(is_match("*a*b*c", "xxaxxbxxbc") && !is_match("*a*b*c", "xxbxxaxxc"));
    CHECK(!is_match("abc", "ab") && !is_match("ab", "abc") && is_match("abc", "abc"));
    CHECK(glob_match(slice_of("a?c", 3), slice_of("a\0c", 3)));
    CHECK(!glob_match(slice_of("ac", 2), slice_of("a\0c", 3)));
}

TEST(glob, an_empty_text_is_matched_by_an_empty_pattern_only)
{
    CHECK(is_match("", "") && !is_match("*", "") && !is_match("**", "") && !is_match("", "a"));
}

TEST(glob, classes)
{
    CHECK(is_match("h[ae]llo", "hallo") && !is_match("h[ae]llo", "hillo"));
    CHECK(is_match("h[^e]llo", "hallo") && !is_match("h[^e]llo", "hello"));
    CHECK(is_match("h[a-c]llo", "hbllo") && !is_match("h[a-c]llo", "hdllo"));
    CHECK(is_match("h[c-a]llo", "hbllo"));
    CHECK(is_match("[\\]]", "]") && is_match("[\\-]", "-") && is_match("[a\\^]", "^"));
    CHECK(!is_match("[]", "a") && !is_match("[]a", "a") && is_match("[^]", "a"));
}

TEST(glob, odd_classes_follow_redis)
{
    CHECK(!is_match("[", "[") && !is_match("[", "a") && is_match("[^", "a"));
    CHECK(is_match("[a", "a") && is_match("[ab", "b") && !is_match("[ab", "c"));
    CHECK(is_match("[a-", "-") && is_match("[a-]", "]") && is_match("[a-]", "_"));
    CHECK(is_match("[\\", "\\") && is_match("[a\\", "\\"));
    /* Bytes above 127 are negative in a range. */
    CHECK(is_match("[\x80-a]", "A") && is_match("[\x80-\xff]", "\x90"));
    CHECK(!is_match("[b-\x80]", "c") && is_match("[b-\x80]", "a"));
}

TEST(glob, backslashes)
{
    CHECK(is_match("\\*", "*") && !is_match("\\*", "a") && is_match("a\\", "a\\"));
    CHECK(is_match("\\\\", "\\") && is_match("\\a", "a") && is_match("*\\", "x\\"));
    CHECK(!is_match("\\", "a"));
}

TEST(glob, case_is_ignored_on_request)
{
    CHECK(is_match_nocase("HeLLo*", "hEllo world") && !is_match("HeLLo*", "hello"));
    CHECK(is_match_nocase("[A-C]", "b") && is_match_nocase("[a-c]", "B"));
    CHECK(is_match_nocase("[x]", "X") && !is_match_nocase("[\\x]", "X"));
    CHECK(is_match_nocase("\\A", "a"));
}

TEST(glob, a_hostile_pattern_takes_no_exponential_time)
{
    char pattern[2001];
    char text[5001];
    for (int i = 0; i < 2000; i += 2) {
        memcpy(pattern + i, "a*", 2);
    }
    pattern[1999] = 'b';
    pattern[2000] = '\0';
    memset(text, 'a', 5000);
    text[5000] = '\0';
    CHECK(!is_match(pattern, text));
    text[4999] = 'b';
    pattern[1998] = '*';
    CHECK(is_match(pattern, text));
}

/* The twin: a set of positions in the text is moved through the pattern, element by element. */
static bool twin_class(const char **at, const char *end, char byte)
{
    const char *p = *at + 1;
    bool negated = p < end && *p == '^';
    bool found = false;
    p += negated;
    for (;;) {
        if (end - p >= 2 && *p == '\\') {
            p++;
            found = found || *p == byte;
        } else if (p == end) {
            p--;
            break;
        } else if (*p == ']') {
            break;
        } else if (end - p >= 3 && p[1] == '-') {
            signed char low = (signed char)(p[0] < p[2] ? p[0] : p[2]);
            signed char high = (signed char)(p[0] < p[2] ? p[2] : p[0]);
            found = found || ((signed char)byte >= low && (signed char)byte <= high);
            p += 2;
        } else {
            found = found || *p == byte;
        }
        p++;
    }
    *at = p + 1;
    return found != negated;
}

static bool twin_match(const char *p, const char *p_end, const char *t, const char *t_end)
{
    while (p < p_end && t < t_end) {
        const char *next = p + 1;
        bool ok = true;
        if (*p == '*') {
            for (const char *rest = t; rest <= t_end; rest++) {
                if (twin_match(p + 1, p_end, rest, t_end)) {
                    return true;
                }
            }
            return false;
        }
        if (*p == '[') {
            next = p;
            ok = twin_class(&next, p_end, *t);
        } else if (*p == '\\' && p_end - p >= 2) {
            ok = p[1] == *t;
            next = p + 2;
        } else {
            ok = *p == '?' || *p == *t;
        }
        if (!ok) {
            return false;
        }
        p = next;
        t++;
    }
    while (t == t_end && p < p_end && *p == '*') {
        p++;
    }
    return p == p_end && t == t_end;
}

TEST(glob, agrees_with_a_recursive_twin)
{
    static const char pattern_bytes[] = "aab*?[]^-\\c";
    static const char text_bytes[] = "aab-]c^\\";
    struct rng rng;
    rng_seed(&rng, test_seed());
    int matches = 0;
    for (int round = 0; round < 200000; round++) {
        char p[8];
        char t[8];
        size_t p_len = rng_below(&rng, sizeof(p) + 1);
        size_t t_len = 1 + rng_below(&rng, sizeof(t));
        for (size_t i = 0; i < p_len; i++) {
            p[i] = pattern_bytes[rng_below(&rng, sizeof(pattern_bytes) - 1)];
        }
        for (size_t i = 0; i < t_len; i++) {
            t[i] = text_bytes[rng_below(&rng, sizeof(text_bytes) - 1)];
        }
        bool expected = twin_match(p, p + p_len, t, t + t_len);
        CHECK(glob_match(slice_of(p, p_len), slice_of(t, t_len)) == expected);
        matches += expected;
    }
    CHECK(matches > 1000);
}
