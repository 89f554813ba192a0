/* The options that tell when something expires (EX, PX, EXAT, PXAT, KEEPTTL, PERSIST): read and
 * checked in one way for every command that takes them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "exec/call.h"

enum expiry_word {
    EXPIRY_NONE,
    EXPIRY_EX,   /* Seconds from now. */
    EXPIRY_PX,   /* Milliseconds from now. */
    EXPIRY_EXAT, /* Unix seconds. */
    EXPIRY_PXAT, /* Unix milliseconds. */
    EXPIRY_KEEPTTL,
    EXPIRY_PERSIST,
};

struct expiry {
    enum expiry_word word;
    uint32_t index; /* Argument with the time, for words that have one. */
    int64_t at_ms;  /* Unix ms, after expiry_resolve; -1: no time was given. */
};

/* Reads the option at `*index` and moves `*index` to its last argument. False: it is none of these,
 * lacks its time, is not allowed (bits: 1 << word), or contradicts the one before. */
bool expiry_take_option(const struct call *call, uint32_t *index, unsigned allowed,
                        struct expiry *expiry);

enum { EXPIRY_TIMES = 1 << EXPIRY_EX | 1 << EXPIRY_PX | 1 << EXPIRY_EXAT | 1 << EXPIRY_PXAT };

/* The moment meant by the argument at `index` in the unit of `word`. False: the error is in the
 * reply. */
bool expiry_moment(struct call *call, uint32_t index, enum expiry_word word, int64_t *at_ms);

/* Computes at_ms. False: the error is in the reply. */
bool expiry_resolve(struct call *call, struct expiry *expiry);

/* "ERR invalid expire time in 'x' command". */
void expiry_error(struct call *call);
