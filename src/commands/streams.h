/* What the files of stream commands share. */
#pragma once

#include "exec/call.h"
#include "exec/exec.h"
#include "types/limits.h"
#include "types/stream/stream.h"

#define ERR_STREAM_ID "ERR Invalid stream ID specified as stream command argument"
#define ERR_NO_GROUP_OF_KEY "NOGROUP No such key '%.*s' or consumer group '%.*s'"

/* A slice for %.*s. */
#define SLICE_TEXT(slice) (int)(slice).len, (slice).data

/* The limits that nodes are kept within. */
static inline const struct type_limits *streams_limits(const struct call *call)
{
    return call->family;
}

/* What the link to the primary sends is done as it is told: limits of effort are not for it. */
static inline bool streams_must_obey(const struct call *call)
{
    return (call->session->flags & SESSION_PRIMARY) != 0;
}

/* ---- IDs ---- */

/* "ms", "ms-seq"; a missing sequence is `missing_seq`. With `has_seq` not NULL "ms-*" is good too
 * and clears it. False: not an ID; nothing is replied. */
struct stream_id_form {
    uint64_t missing_seq;
    bool allows_edges; /* "-" and "+" stand for the lowest and the highest ID. */
    bool *has_seq;
};
bool streams_parse_id(struct slice text, const struct stream_id_form *form, struct stream_id *id);

/* A plain ID, "ms" alone is "ms-0". False: the error is in the reply. */
bool streams_id(struct call *call, uint32_t index, struct stream_id *id);

/* The ends of an interval: "-", "+", "ms", and "(ms-seq" for one that is not included. False: the
 * error is in the reply. */
bool streams_start(struct call *call, uint32_t index, struct stream_id *id);
bool streams_end(struct call *call, uint32_t index, struct stream_id *id);

/* An ID as text that lives as long as this. */
struct stream_id_text {
    char bytes[STREAM_ID_TEXT_MAX];
    size_t len;
};
static inline struct slice streams_id_text(struct stream_id_text *text, struct stream_id id)
{
    text->len = stream_id_format(text->bytes, id);
    return slice_of(text->bytes, text->len);
}

/* ---- Replies ---- */

void streams_reply_id(struct reply *out, struct stream_id id);

/* [id, [field, value, ...]] */
void streams_reply_entry(struct reply *out, struct stream_entry *entry);

/* The entry with this ID; false: there is none, nothing is replied. */
bool streams_reply_entry_at(struct reply *out, const struct value *value, struct stream_id id);

/* ---- Groups ---- */

/* The stream at args.at[key] and the group named by args.at[group]. False: the error is in the
 * reply; ERR_NO_GROUP_OF_KEY when either is missing. */
bool streams_find_group(struct call *call, uint32_t key, uint32_t group, struct value **value,
                        struct stream_group **found);

/* The same when the key has been looked up already. */
bool streams_group_of(struct call *call, struct value *value, uint32_t key, uint32_t group,
                      struct stream_group **found);

/* The consumer of this name, which is made (event "xgroup-createconsumer", effect XGROUP
 * CREATECONSUMER) when it is missing, and is seen now. NULL: no memory, the error is in the reply.
 */
struct stream_consumer *streams_consumer(struct call *call, uint32_t key,
                                         struct stream_group *group, struct slice name);

/* XCLAIM as replicas must see it: the entry belongs to that consumer with these figures. */
void streams_claim_effect(struct call *call, uint32_t key, const struct stream_group *group,
                          const struct stream_pending *pending);

/* XGROUP SETID of what the group has read. */
void streams_group_effect(struct call *call, uint32_t key, const struct stream_group *group);

/* Looks up a stream whose groups are about to change, which counts as reading. False: wrong type,
 * the error is in the reply. `*value` is NULL when absent. */
bool streams_find_for_groups(struct call *call, uint32_t key, struct value **value);

/* Reports a change of a group of the stream at args.at[key] that has no event of its own. */
static inline void streams_group_changed(struct call *call, uint32_t key)
{
    call_changed_beside(call, key, NULL);
}
