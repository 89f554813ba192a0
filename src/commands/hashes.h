/* What the files of the hash commands share. The family's state is the limits of packing. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "exec/call.h"
#include "exec/exec.h"
#include "exec/sliced.h"
#include "types/hash/hash.h"

static inline struct hash_rules hashes_rules(const struct call *call)
{
    return (struct hash_rules){.limits = call->family,
                               .seed = keyspace_hash_seed(exec_keyspace(call->exec))};
}

/* A hash that a command changes: the one that is there, or a new one that is stored at the end. */
struct hashes_edit {
    struct place place;
    struct hash_rules rules;
    bool is_new;
};

/* Looks up the first key, or begins a new hash for it. False: the error is in the reply. */
bool hashes_open(struct call *call, struct hashes_edit *edit);

/* Stores a new hash; drops it when nothing was put. Nothing else is looked up in between, but by
 * call_edit_yield. False: the hash has gone with its database, there is nothing left to do. */
bool hashes_close(struct call *call, struct hashes_edit *edit);

/* The key goes when its last field went; tells the event. Call it after call_changed. */
void hashes_remove_empty(struct call *call, struct place place);

/* The field, unless it is hidden. `value` may be NULL: false. */
static inline bool hashes_find(const struct call *call, const struct value *value,
                               struct slice field, struct hash_pair *pair)
{
    return value != NULL && hash_find(value, field, pair) &&
           (pair->expire_ms < 0 || !hash_pair_is_hidden(pair, call_hidden_ms(call)));
}

/* The same for whoever does not ask when the field expires: the pair does not tell. */
static inline bool hashes_peek(const struct call *call, const struct value *value,
                               struct slice field, struct hash_pair *pair)
{
    return value != NULL &&
           hash_find_shown(value, field, hash_is_volatile(value) ? call_hidden_ms(call) : 0, pair);
}

static inline void hashes_reply_item(struct reply *out, const struct pack_item *item)
{
    if (item->data != NULL) {
        reply_bulk(out, slice_of(item->data, item->len));
    } else {
        reply_bulk_integer(out, item->number);
    }
}
