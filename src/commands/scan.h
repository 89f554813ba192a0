/* What SCAN, SSCAN, HSCAN and ZSCAN have in common: a cursor and options. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "exec/call.h"
#include "exec/sliced.h"

enum { SCAN_COUNT = 10 }; /* Without COUNT. */

struct scan_options {
    size_t count;
    bool has_pattern; /* Not set for "*", which matches everything. */
    struct slice pattern;
    bool has_no_values; /* NOVALUES: HSCAN without values. */
};

/* The cursor in an argument, as Redis reads it, with strtoul: a sign is legal. False: the error is
 * in the reply. */
bool scan_cursor(struct call *call, uint32_t index, uint64_t *cursor);

/* MATCH, COUNT and, if allowed, NOVALUES, from the argument at `index` to the last. False: the
 * error is in the reply. */
bool scan_options(struct call *call, uint32_t index, bool may_omit_values,
                  struct scan_options *options);

/* Whether an element passes MATCH. */
bool scan_wants(const struct scan_options *options, struct slice element);

/* The reply of a scan: the next cursor, then an array of `count` elements that wait encoded in
 * `take_found`, which is empty afterwards (NULL when there are none). */
void scan_reply(struct reply *out, uint64_t cursor, size_t count, struct reply *take_found);

/* Elements that a scan of a collection will visit: what call_slice is asked with. */
static inline size_t scan_size(const struct scan_options *options, size_t held)
{
    return options->count < held ? options->count : held;
}

/* How many of them to visit next: all, or a few where the call may yield in between. */
static inline size_t scan_step(const struct call *call, const struct scan_options *options)
{
    return call->sliced != NULL && options->count > SLICED_STEP ? SLICED_STEP : options->count;
}

/* After such a step: lets others go on, and tells whether there is another step. */
static inline bool scan_goes_on(struct call *call, struct scan_options *options, uint64_t cursor)
{
    options->count -= scan_step(call, options);
    return cursor != 0 && options->count > 0 && call_yield(call);
}
