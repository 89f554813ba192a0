/* Redis's glob, matched with one place to fall back to instead of recursion.
 *
 * A pattern is a row of elements. Every element but the star takes exactly one byte of the text, so
 * when something after a second star fails, giving more text to the first star cannot help: the
 * second one could already have taken it. It is enough to remember the last star and the place in
 * the text that it was last tried at:
 *
 *     pattern  a * b [cd]        text  a x b e b c
 *                  ^ star                    ^ retry: the star takes one byte more
 *
 * So the worst case is O(pattern x text). Rejected: recursion, which takes time exponential in the
 * number of stars and stack in proportion to it.
 *
 * The corners are Redis's: a class that is never closed ends with the pattern; "[" alone matches
 * nothing and "[^" anything; a range may be written backwards; bytes above 127 order below the
 * others in a range; an escaped byte in a class is compared with its case; a backslash at the end
 * is a backslash; and an empty text is matched only by an empty pattern, not even by "*". */
#include "base/glob.h"

#include <stdint.h>

static int fold(int c)
{
    return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

static bool byte_equal(char a, char b, bool nocase)
{
    return nocase ? fold(a) == fold(b) : a == b;
}

/* Bytes above 127 are negative, as where Redis was compiled with a signed char. */
static int signed_of(char c)
{
    int byte = (unsigned char)c;
    return byte < 128 ? byte : byte - 256;
}

/* The ends are swapped before they are folded, as Redis does. */
static bool range_has(char first, char last, char byte, bool nocase)
{
    int start = signed_of(first);
    int end = signed_of(last);
    int c = signed_of(byte);
    if (start > end) {
        int swapped = start;
        start = end;
        end = swapped;
    }
    if (nocase) {
        start = fold(start);
        end = fold(end);
        c = fold(c);
    }
    return c >= start && c <= end;
}

/* Matches one byte with the class whose first byte after '[' is at `at`. Returns the index of the
 * element after the class, or 0 when the byte is not in it. */
static size_t class_match(struct slice pattern, size_t at, char byte, bool nocase)
{
    const char *p = pattern.data;
    size_t len = pattern.len;
    bool negated = at < len && p[at] == '^';
    at += negated;
    bool found = false;
    while (at < len && p[at] != ']') {
        if (p[at] == '\\' && len - at >= 2) {
            found |= p[at + 1] == byte;
            at += 2;
        } else if (len - at >= 3 && p[at + 1] == '-') {
            found |= range_has(p[at], p[at + 2], byte, nocase);
            at += 3;
        } else {
            found |= byte_equal(p[at], byte, nocase);
            at++;
        }
    }
    if (found == negated) {
        return 0;
    }
    return at < len ? at + 1 : at;
}

/* Matches one byte with the element at `at`, which is not a star. Returns the index of the next
 * element, or 0. */
static size_t element_match(struct slice pattern, size_t at, char byte, bool nocase)
{
    const char *p = pattern.data;
    switch (p[at]) {
    case '?':
        return at + 1;
    case '[':
        return class_match(pattern, at + 1, byte, nocase);
    case '\\':
        at += pattern.len - at >= 2;
        break;
    default:
        break;
    }
    return byte_equal(p[at], byte, nocase) ? at + 1 : 0;
}

static bool match(struct slice pattern, struct slice text, bool nocase)
{
    if (text.len == 0) {
        return pattern.len == 0;
    }
    size_t at = 0;             /* Next element of the pattern. */
    size_t here = 0;           /* Next byte of the text. */
    size_t star_at = SIZE_MAX; /* Element after the last star; SIZE_MAX: none yet. */
    size_t star_here = 0;      /* Where the text after that star's part begins. */
    while (here < text.len) {
        if (at < pattern.len && pattern.data[at] == '*') {
            at++;
            if (at == pattern.len) {
                return true;
            }
            star_at = at;
            star_here = here;
            continue;
        }
        size_t next = 0;
        if (at < pattern.len) {
            next = element_match(pattern, at, text.data[here], nocase);
        }
        if (next != 0) {
            at = next;
            here++;
        } else if (star_at == SIZE_MAX) {
            return false;
        } else {
            star_here++;
            at = star_at;
            here = star_here;
        }
    }
    while (at < pattern.len && pattern.data[at] == '*') {
        at++;
    }
    return at == pattern.len;
}

bool glob_match(struct slice pattern, struct slice text)
{
    return match(pattern, text, false);
}

bool glob_match_nocase(struct slice pattern, struct slice text)
{
    return match(pattern, text, true);
}
