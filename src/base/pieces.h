/* Copying, comparing and summing up of long bytes, a piece at a time: on a fiber that is allowed to
 * (fiber_set_breath) others go on between two pieces. Elsewhere the same as memcpy and its like.
 *
 * So what calls these may find the world changed when they return, if it runs on such a fiber:
 * places in tables are invalid then (exec/sliced.h). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/slice.h"

#ifdef OURO_HOSTILE
enum { PIECE_LEN = 64 };
#else
enum { PIECE_LEN = 64 * 1024 }; /* Some 10 us, and as much if pages are new. */
#endif

void pieces_copy_long(char *to, const char *from, size_t len);

static inline void pieces_copy(void *to, const void *from, size_t len)
{
    if (__builtin_expect(len <= PIECE_LEN, 1)) {
        memcpy(to, from, len);
    } else {
        pieces_copy_long(to, from, len);
    }
}

bool pieces_equal(struct slice a, struct slice b);

/* As crc64 and hash_bytes. */
uint64_t pieces_crc64(uint64_t crc, struct slice bytes);
uint64_t pieces_hash(uint64_t seed, struct slice bytes);
