/* Counting, finding and combining bits.
 *
 *     bit      0 1 2 3 4 5 6 7   8 9 ...
 *     byte     7 6 5 4 3 2 1 0 | 7 6 ...      the top bit comes first
 *
 * A range is cut into the bits of its first byte, whole bytes and the bits of its last. Whole bytes
 * are counted 32 at a time by AVX2, where the CPU has it (each half of a byte looks its count up in
 * a register, and the counts are summed every 31 steps before a byte can overflow), by NEON, by the
 * popcnt instruction, or by sums within a 64-bit word. Combining is left to the compiler, which
 * vectorises plain loops.
 *
 * Rejected: AVX-512's own instruction for it. Few machines have it, and memory is the limit before
 * that. Wider carry-save adders, for the same reason. */
#include "ds/bits.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "base/assert.h"

enum { LANE = 32, LANES_MAX = 31 };

/* ---- Count ---- */

static unsigned byte_count(unsigned byte)
{
    return (unsigned)__builtin_popcount(byte & 0xff);
}

static inline __attribute__((always_inline)) size_t words_count(const char *bytes, size_t len)
{
    size_t count = 0;
    for (; len >= 8; bytes += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        count += (size_t)__builtin_popcountll(word);
    }
    for (; len > 0; bytes++, len--) {
        count += byte_count((unsigned char)*bytes);
    }
    return count;
}

#if defined(__x86_64__)

static __attribute__((target("popcnt"))) size_t count_popcnt(const char *bytes, size_t len)
{
    return words_count(bytes, len);
}

/* Sums of bytes, 8 at a time, of the counts in up to LANES_MAX lanes. */
static inline __attribute__((target("avx2"), always_inline)) __m256i lanes_count(const char *bytes,
                                                                                 size_t lanes)
{
    const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1,
                                           2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const __m256i low = _mm256_set1_epi8(15);
    __m256i sums = _mm256_setzero_si256();
    for (size_t i = 0; i < lanes; i++) {
        __m256i lane = _mm256_loadu_si256((const __m256i *)(const void *)(bytes + i * LANE));
        __m256i high = _mm256_and_si256(_mm256_srli_epi16(lane, 4), low);
        sums = _mm256_add_epi8(sums, _mm256_shuffle_epi8(table, _mm256_and_si256(lane, low)));
        sums = _mm256_add_epi8(sums, _mm256_shuffle_epi8(table, high));
    }
    return _mm256_sad_epu8(sums, _mm256_setzero_si256());
}

static __attribute__((target("avx2,popcnt"))) size_t count_avx2(const char *bytes, size_t len)
{
    __m256i total = _mm256_setzero_si256();
    while (len >= LANE) {
        size_t lanes = len / LANE < LANES_MAX ? len / LANE : LANES_MAX;
        total = _mm256_add_epi64(total, lanes_count(bytes, lanes));
        bytes += lanes * LANE;
        len -= lanes * LANE;
    }
    uint64_t sums[4];
    _mm256_storeu_si256((__m256i *)(void *)sums, total);
    return (size_t)(sums[0] + sums[1] + sums[2] + sums[3]) + words_count(bytes, len);
}

static size_t bytes_count(const char *bytes, size_t len)
{
    if (len >= LANE && __builtin_cpu_supports("avx2")) {
        return count_avx2(bytes, len);
    }
    return __builtin_cpu_supports("popcnt") ? count_popcnt(bytes, len) : words_count(bytes, len);
}

#elif defined(__ARM_NEON) && defined(__aarch64__)

static size_t bytes_count(const char *bytes, size_t len)
{
    size_t count = 0;
    for (; len >= 16; bytes += 16, len -= 16) {
        count += vaddvq_u8(vcntq_u8(vld1q_u8((const uint8_t *)bytes)));
    }
    return count + words_count(bytes, len);
}

#else

static size_t bytes_count(const char *bytes, size_t len)
{
    return words_count(bytes, len);
}

#endif

size_t bits_count(const char *bytes, size_t from, size_t to)
{
    if (from >= to) {
        return 0;
    }
    size_t first = from / 8;
    size_t last = (to - 1) / 8;
    unsigned first_mask = 0xffU >> (from % 8);
    unsigned last_mask = (0xffU << (7 - (to - 1) % 8)) & 0xff;
    if (first == last) {
        return byte_count((unsigned char)bytes[first] & first_mask & last_mask);
    }
    return byte_count((unsigned char)bytes[first] & first_mask) +
           bytes_count(bytes + first + 1, last - first - 1) +
           byte_count((unsigned char)bytes[last] & last_mask);
}

/* ---- Find ---- */

/* The index of the first byte of [from, to) that is not `byte`, or `to`. */
static size_t skip_bytes(const char *bytes, size_t from, size_t to, unsigned char byte)
{
    uint64_t same = byte == 0 ? 0 : UINT64_MAX;
    while (to - from >= 8) {
        uint64_t word;
        memcpy(&word, bytes + from, 8);
        if (word != same) {
            break;
        }
        from += 8;
    }
    while (from < to && (unsigned char)bytes[from] == byte) {
        from++;
    }
    return from;
}

size_t bits_find(const char *bytes, size_t from, size_t to, bool wanted)
{
    unsigned char other = wanted ? 0 : 0xff;
    while (from < to) {
        if (from % 8 == 0) {
            size_t end = (to + 7) / 8;
            from = skip_bytes(bytes, from / 8, end, other) * 8;
            if (from >= to) {
                return to;
            }
        }
        unsigned byte = ((unsigned char)bytes[from / 8] ^ other) & (0xffU >> (from % 8));
        if (byte != 0) {
            size_t at = from / 8 * 8 + (size_t)__builtin_clz(byte << 24);
            return at < to ? at : to;
        }
        from = (from / 8 + 1) * 8;
    }
    return to;
}

/* ---- Numbers ---- */

uint64_t bits_get(struct slice bytes, size_t at, unsigned width)
{
    DEBUG_ASSERT(width >= 1 && width <= 64);
    size_t first = at / 8;
    size_t last = (at + width - 1) / 8;
    unsigned __int128 window = 0; /* Up to nine bytes. */
    for (size_t i = first; i <= last; i++) {
        window = window << 8 | (i < bytes.len ? (unsigned char)bytes.data[i] : 0);
    }
    uint64_t number = (uint64_t)(window >> (7 - (at + width - 1) % 8));
    return width == 64 ? number : number & ((UINT64_C(1) << width) - 1);
}

void bits_put(char *bytes, size_t at, unsigned width, uint64_t number)
{
    for (unsigned i = 0; i < width; i++) {
        bits_assign(bytes, at + i, (number >> (width - 1 - i) & 1) != 0);
    }
}

/* ---- Combine ---- */

void bits_combine(char *restrict result, const char *restrict other, size_t len,
                  enum bits_operation operation)
{
    if (operation == BITS_AND) {
        for (size_t i = 0; i < len; i++) {
            result[i] = (char)(result[i] & other[i]);
        }
    } else if (operation == BITS_OR) {
        for (size_t i = 0; i < len; i++) {
            result[i] = (char)(result[i] | other[i]);
        }
    } else {
        for (size_t i = 0; i < len; i++) {
            result[i] = (char)(result[i] ^ other[i]);
        }
    }
}

void bits_invert(char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (char)~bytes[i];
    }
}
