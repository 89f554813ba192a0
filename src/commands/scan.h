/* What SSCAN, HSCAN and ZSCAN have in common: key cursor [MATCH pattern] [COUNT count]. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "exec/call.h"

struct scan_options {
    uint64_t cursor;
    size_t count; /* About how many elements to visit; 10 without COUNT. */
    bool has_pattern;
    struct slice pattern; /* Borrowed. */
};

/* Reads the cursor at `index`; options as they are without any. False: the error is in the reply.
 */
bool scan_parse_cursor(struct call *call, uint32_t index, struct scan_options *options);

/* Reads the options from `index` on. A word that is none of them goes to `take_other` (NULL: there
 * are no others), which says whether it is one. False: the error is in the reply. */
typedef bool (*scan_option_fn)(struct call *call, uint32_t index, void *context);
bool scan_parse_options(struct call *call, uint32_t index, struct scan_options *options,
                        scan_option_fn take_other, void *context);

/* Whether an element is to be told. */
bool scan_matches(const struct scan_options *options, struct slice text);

/* Begins the reply: an array of the next cursor and the elements, which follow with their own
 * header. */
void scan_reply_cursor(struct reply *out, uint64_t cursor);

/* What a scan of a missing key answers. */
void scan_reply_nothing(struct reply *out);
