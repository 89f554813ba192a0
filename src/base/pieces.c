/* Long bytes in pieces: see the header. What is unpacked is a piece of its own: codec_bytes.c. */
#include "base/pieces.h"

#include "base/assert.h"
#include "base/crc.h"
#include "base/fiber.h"
#include "base/hash.h"

void pieces_copy_long(char *to, const char *from, size_t len)
{
    for (size_t at = 0; at < len; at += PIECE_LEN) {
        memcpy(to + at, from + at, len - at < PIECE_LEN ? len - at : PIECE_LEN);
        fiber_breathe();
    }
}

bool pieces_equal(struct slice a, struct slice b)
{
    bool is_equal = a.len == b.len;
    for (size_t at = 0; is_equal && at < a.len; at += PIECE_LEN) {
        is_equal = slice_equal(slice_part(a, at, PIECE_LEN), slice_part(b, at, PIECE_LEN));
        fiber_breathe();
    }
    return is_equal;
}

uint64_t pieces_crc64(uint64_t crc, struct slice bytes)
{
    for (size_t at = 0; at < bytes.len; at += PIECE_LEN) {
        crc = crc64(crc, slice_part(bytes, at, PIECE_LEN));
        fiber_breathe();
    }
    return crc;
}

uint64_t pieces_hash(uint64_t seed, struct slice bytes)
{
    if (bytes.len <= PIECE_LEN) {
        return hash_bytes(seed, bytes);
    }
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    (void)XXH3_64bits_reset_withSeed(&state, seed);
    for (size_t at = 0; at < bytes.len; at += PIECE_LEN) {
        struct slice piece = slice_part(bytes, at, PIECE_LEN);
        (void)XXH3_64bits_update(&state, piece.data, piece.len);
        fiber_breathe();
    }
    return XXH3_64bits_digest(&state);
}
