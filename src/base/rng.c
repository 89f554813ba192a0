/* xoshiro256**: 32 bytes of state, about 1 ns per number, period 2^256 - 1, passes the statistical
 * suites that matter. The seed is stretched by splitmix64, which never yields the all-zero state
 * from which the generator could not leave. Source: Blackman and Vigna, "Scrambled Linear
 * Pseudorandom Number Generators". */
#include "base/rng.h"

#include <errno.h>
#include <sys/random.h>

#include "base/assert.h"

static uint64_t splitmix_next(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15;
    uint64_t x = *state;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

void rng_seed(struct rng *rng, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        rng->state[i] = splitmix_next(&seed);
    }
}

static uint64_t rotate_left(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

uint64_t rng_next(struct rng *rng)
{
    uint64_t *s = rng->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return result;
}

/* Lemire's multiplication: the high half of a 128-bit product is the answer, and the few low halves
 * that would favour some answers are drawn again. */
uint64_t rng_below(struct rng *rng, uint64_t bound)
{
    DEBUG_ASSERT(bound > 0);
    unsigned __int128 product = (unsigned __int128)rng_next(rng) * bound;
    if ((uint64_t)product < bound) {
        uint64_t unfair = (0 - bound) % bound;
        while ((uint64_t)product < unfair) {
            product = (unsigned __int128)rng_next(rng) * bound;
        }
    }
    return (uint64_t)(product >> 64);
}

/* 53 random bits, as many as a double holds exactly. */
double rng_unit(struct rng *rng)
{
    return (double)(rng_next(rng) >> 11) * 0x1p-53;
}

int rng_system_bytes(void *out, unsigned len)
{
    unsigned done = 0;
    while (done < len) {
        ssize_t got = getrandom((char *)out + done, len - done, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return -errno;
        }
        done += (unsigned)got;
    }
    return 0;
}
