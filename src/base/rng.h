/* A small seeded generator (xoshiro256**). There is one per server, owned by the composition root
 * and handed in, so a seed replays a run. Not for secrets. */
#pragma once

#include <stdint.h>

struct rng {
    uint64_t state[4];
};

void rng_seed(struct rng *rng, uint64_t seed);
uint64_t rng_next(struct rng *rng);

/* Uniform in [0, bound); bound > 0. */
uint64_t rng_below(struct rng *rng, uint64_t bound);

/* Uniform in [0, 1). */
double rng_unit(struct rng *rng);

/* Fills a buffer from the kernel's generator: for seeds, run ids and secrets. Returns 0 or negative
 * errno. */
int rng_system_bytes(void *out, unsigned len) __attribute__((warn_unused_result));
