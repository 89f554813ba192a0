/* Bits in a string of bytes, the most significant bit of each byte first: bit 0 is the top bit of
 * byte 0. Ranges are half open, in bits. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* How many bits of [from, to) are set. */
size_t bits_count(const char *bytes, size_t from, size_t to);

/* The first bit of [from, to) that is `wanted`, or `to`. Eight bytes a step. */
size_t bits_find(const char *bytes, size_t from, size_t to, bool wanted);

static inline bool bits_is_set(struct slice bytes, size_t at)
{
    return at / 8 < bytes.len && ((unsigned char)bytes.data[at / 8] >> (7 - at % 8) & 1) != 0;
}

static inline void bits_assign(char *bytes, size_t at, bool is_set)
{
    unsigned bit = 1U << (7 - at % 8);
    unsigned byte = (unsigned char)bytes[at / 8];
    bytes[at / 8] = (char)(unsigned char)(is_set ? byte | bit : byte & ~bit);
}

/* The `width` (1 to 64) bits at `at` as a number, the first bit being the highest; beyond the end
 * there are zeros. */
uint64_t bits_get(struct slice bytes, size_t at, unsigned width);

/* Writes the low `width` bits of `number` there; the bytes exist. */
void bits_put(char *bytes, size_t at, unsigned width, uint64_t number);

/* result[i] = result[i] op other[i]. */
enum bits_operation { BITS_AND, BITS_OR, BITS_XOR };
void bits_combine(char *result, const char *other, size_t len, enum bits_operation operation);
void bits_invert(char *bytes, size_t len);
