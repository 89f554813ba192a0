/* What the files of list commands share. */
#pragma once

#include "exec/call.h"
#include "exec/exec.h"
#include "exec/sliced.h"
#include "types/limits.h"
#include "types/list/list.h"

/* The limits that lists are kept within. */
static inline const struct type_limits *lists_limits(const struct call *call)
{
    return call->family;
}

/* One element as a bulk; a blob is referenced. */
static inline void lists_reply(struct reply *out, const struct list_item *item)
{
    if (item->blob != NULL) {
        reply_bulk_blob(out, item->blob, 0, item->len);
    } else if (item->data != NULL) {
        reply_bulk(out, slice_of(item->data, item->len));
    } else {
        reply_bulk_integer(out, item->number);
    }
}

/* LEFT or RIGHT; else the error is in the reply. */
bool lists_end(struct call *call, uint32_t index, enum list_end *end);

/* Adds the argument at `index` to the list at `place`. False: no memory. */
bool lists_try_push(struct call *call, struct place *place, enum list_end end, uint32_t index);

/* Replies with the element at an end as a bulk, removes it, and reports the change. */
void lists_pop_one(struct call *call, uint32_t key, struct place place, enum list_end end);

/* Whether so many elements will be popped in slices; asked before anything is replied. */
static inline bool lists_pop_later(struct call *call, struct place place, size_t count)
{
    size_t len = list_len(place.value);
    return call_slice_editing(call, count < len ? count : len);
}

/* Replies with `count` elements from an end as an array, and removes them; the key of the argument
 * at `key` too when none are left. Reports the change. */
void lists_pop_many(struct call *call, uint32_t key, struct place place, enum list_end end,
                    size_t count);

/* Elements left the list of the argument at `key`: reports it as `event`, and removes the key when
 * none are left. */
void lists_shrunk(struct call *call, uint32_t key, struct place place, const char *event);

/* Takes an element off the list of argument 1, adds it to that of argument 2 and replies with it.
 * False: the first list is missing, nothing was replied. */
struct lists_move {
    enum list_end from, to;
};
bool lists_move(struct call *call, struct lists_move move);

/* numkeys key [key ...] LEFT|RIGHT [COUNT count], from argument `at` on; else the error is in the
 * reply. */
struct lists_mpop {
    uint32_t first_key, key_count;
    int64_t count;
    enum list_end end;
};
bool lists_mpop_parse(struct call *call, uint32_t at, struct lists_mpop *mpop);

/* Pops from the first of the lists that is there. False: there is none, nothing was replied. */
bool lists_mpop(struct call *call, const struct lists_mpop *mpop);

/* The event of a push or pop at an end. */
static inline const char *lists_push_event(enum list_end end)
{
    return end == LIST_HEAD ? "lpush" : "rpush";
}

static inline const char *lists_pop_event(enum list_end end)
{
    return end == LIST_HEAD ? "lpop" : "rpop";
}

/* Indices as clients give them, negative ones from the end, clamped to a list's length: elements
 * [first, first + count). */
struct lists_range {
    size_t first, count;
};
struct lists_range lists_clamp(int64_t start, int64_t stop, size_t len);
