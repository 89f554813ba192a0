/* A fuzzer without libFuzzer: it tries so many inputs of its own making.
 *
 *     fuzz_x [COUNT] [SEED] [show]      the third word prints each input before it is tried */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/rng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef void (*make_input_fn)(struct buf *out, struct rng *rng);

static inline int fuzz_standalone(int argc, char **argv, unsigned long count, make_input_fn make)
{
    unsigned long seed = argc > 2 ? strtoul(argv[2], NULL, 10) : 1;
    struct rng rng;
    struct buf input;
    count = argc > 1 ? strtoul(argv[1], NULL, 10) : count;
    rng_seed(&rng, seed);
    buf_init(&input);
    for (unsigned long i = 0; i < count; i++) {
        make(&input, &rng);
        if (argc > 3) {
            fprintf(stderr, "%.*s\n", (int)input.len, input.data);
        }
        LLVMFuzzerTestOneInput((const uint8_t *)input.data, input.len);
    }
    buf_deinit(&input);
    printf("%s: %lu inputs, seed %lu\n", argv[0], count, seed);
    return 0;
}
