/* A slice borrows bytes: a pointer and a length, never freed, never NUL-terminated by promise.
 * Storing one means copying what it points at. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const char *data; /* Borrowed; may be NULL only when len is 0. */
    size_t len;       /* Bytes. */
};

static inline struct slice slice_of(const void *data, size_t len)
{
    return (struct slice){.data = (const char *)data, .len = len};
}

/* Borrows a C string; the length of a literal is computed by the compiler. */
static inline struct slice slice_from_text(const char *text)
{
    return slice_of(text, strlen(text));
}

/* Whether `len` bytes are the same. Short ones, as keys and names are, are compared eight at a time
 * with loads that overlap at the end, which beats a call. */
static inline bool bytes_equal(const char *a, const char *b, size_t len)
{
    uint64_t x, y;
    if (len < sizeof(x)) {
        unsigned char difference = 0;
        for (size_t i = 0; i < len; i++) {
            difference = (unsigned char)(difference | (a[i] ^ b[i]));
        }
        return difference == 0;
    }
    if (len > 4 * sizeof(x)) {
        return memcmp(a, b, len) == 0;
    }
    uint64_t differences = 0;
    for (size_t i = 0; i + sizeof(x) < len; i += sizeof(x)) {
        memcpy(&x, a + i, sizeof(x));
        memcpy(&y, b + i, sizeof(y));
        differences |= x ^ y;
    }
    memcpy(&x, a + len - sizeof(x), sizeof(x));
    memcpy(&y, b + len - sizeof(y), sizeof(y));
    return (differences | (x ^ y)) == 0;
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && bytes_equal(a.data, b.data, a.len);
}

/* Orders as memcmp does, the shorter first when one is a prefix of the other. Returns <0, 0 or >0.
 */
static inline int slice_compare(struct slice a, struct slice b)
{
    size_t shared = a.len < b.len ? a.len : b.len;
    int order = shared == 0 ? 0 : memcmp(a.data, b.data, shared);
    if (order != 0) {
        return order;
    }
    return (a.len > b.len) - (a.len < b.len);
}

/* ASCII case-insensitive comparison with a C string, as Redis compares option words. */
bool slice_is(struct slice s, const char *text);

/* The part from `from` (clamped) of at most `len` bytes. */
static inline struct slice slice_part(struct slice s, size_t from, size_t len)
{
    if (from > s.len) {
        from = s.len;
    }
    if (len > s.len - from) {
        len = s.len - from;
    }
    return slice_of(s.data + from, len);
}
