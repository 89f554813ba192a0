/* Back-off of full synchronisations, per replica: one that takes a snapshot and comes again without
 * ever having acknowledged a byte of the stream cannot use what it gets, and would have the data
 * set walked again and again. It waits 1 s, then 2 s, and so on up to 60 s.
 *
 *     backoff_served --> gone without an acknowledgement: backoff_failed --> waits --> served ...
 *                    '-> acknowledged: backoff_forgive, as if it had never been here */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { BACKOFF_NAME_MAX = 288, BACKOFF_ENTRIES_MAX = 64 };

struct backoff_entry {
    char name[BACKOFF_NAME_MAX]; /* As replica_name tells it; "": free. */
    unsigned failures;           /* In a row. */
    int64_t due_us;              /* When it is served next; monotonic. */
};

struct backoff {
    struct backoff_entry entries[BACKOFF_ENTRIES_MAX];
};

/* When a replica may be served that asks now: `now_us` or later. O(entries), as what follows. */
int64_t backoff_due_us(const struct backoff *backoff, const char *name, int64_t now_us);

/* Its snapshot was of no use. Returns how long it has to wait now, in seconds; 1 is the first time.
 */
int64_t backoff_failed(struct backoff *backoff, const char *name, int64_t now_us);

/* It has acknowledged: all is well. */
void backoff_forgive(struct backoff *backoff, const char *name);
