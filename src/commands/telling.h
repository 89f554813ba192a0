/* Long effects: a change of many elements told as several commands of one kind, some elements each
 * (SREM key a b c ...), as SPOP and SORT with STORE need it. */
#pragma once

#include "base/buf.h"
#include "exec/call.h"

enum { TELLING_ELEMENTS = 64 }; /* That one command names. */

struct telling {
    struct call *call;
    const char *verb;
    uint32_t key;          /* Index of the argument that is the key. */
    struct place gathered; /* A list of what is told later; value NULL: nothing is. */
    struct buf texts;      /* Of the command under way. */
    size_t lens[TELLING_ELEMENTS];
    uint32_t count;
};

/* `verb` is borrowed. Elements of a call in slices are gathered and told at its end, so that others
 * may write meanwhile; those of others, and those for which there is no memory, as they come. Costs
 * nothing while nobody listens. telling_end must follow. */
void telling_begin(struct telling *telling, struct call *call, const char *verb, uint32_t key);

/* Copies `text`. */
void telling_add(struct telling *telling, struct slice text);

/* Adds all elements of a list now. May yield. */
void telling_add_list(struct telling *telling, const struct value *list);

/* Tells what has not been told yet. May yield. */
void telling_end(struct telling *telling);
