/* The part of slices that is too long to inline. */
#include "base/slice.h"

static int fold(char c)
{
    return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

bool slice_is(struct slice s, const char *text)
{
    for (size_t i = 0; i < s.len; i++) {
        /* A NUL in the slice differs from the text's end, which is not one of its bytes. */
        if (text[i] == '\0' || fold(s.data[i]) != fold(text[i])) {
            return false;
        }
    }
    return text[s.len] == '\0';
}
