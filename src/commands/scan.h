/* What SCAN, SSCAN, HSCAN and ZSCAN have in common: a cursor and options. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "exec/call.h"

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
