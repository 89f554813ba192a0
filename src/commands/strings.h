/* What the files of string commands share. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "commands/expiry.h"
#include "exec/call.h"
#include "types/string/string.h"

/* Longest string that a command may build: proto-max-bulk-len's default. */
enum { STRING_LEN_MAX = 512 * 1024 * 1024 };

/* The text of a string as a bulk, null for NULL. A blob is referenced, not copied. */
void strings_reply(struct call *call, const struct value *value);

/* What becomes of the key's expiry when it is set: at_ms >= 0 is the new one; else the old one is
 * kept or goes. */
struct string_ttl {
    int64_t at_ms;
    bool is_kept;
};

/* A value for the key at `key_index` with the text at `value_index`; NULL: no memory. */
struct value *strings_try_new(struct call *call, uint32_t key_index, uint32_t value_index,
                              bool has_expire);

/* Sets the key at `key_index`, looked up as `place`, to the argument at `value_index`, whatever it
 * held. Reports nothing. False: no memory, nothing changed, the error is in the reply. */
bool strings_store(struct call *call, uint32_t key_index, struct place place, uint32_t value_index,
                   struct string_ttl ttl);

/* Reports "set", and "expire" when there is a moment, for the key at `index`. */
void strings_stored(struct call *call, uint32_t index, struct string_ttl ttl);

/* SET key value [KEEPTTL | PXAT ms] as the canonical effect of the arguments at these places. */
void strings_effect(struct call *call, uint32_t key_index, uint32_t value_index,
                    struct string_ttl ttl);

/* Removes the string at the key of argument 1, and tells so as DEL. */
void strings_remove(struct call *call, struct place place);

/* ---- strings_condition.c ---- */

/* "IFEQ text", "IFNE text", "IFDEQ digest", "IFDNE digest": conditions on what a key holds. */
enum string_condition_kind {
    CONDITION_NONE,
    CONDITION_EQ,
    CONDITION_NE,
    CONDITION_DEQ,
    CONDITION_DNE
};

struct string_condition {
    enum string_condition_kind kind;
    uint32_t index; /* Argument to compare with. */
};

/* Reads the condition at `*index` and moves `*index` to its argument. False: it is none. */
bool strings_take_condition(const struct call *call, uint32_t *index,
                            struct string_condition *condition);

/* Whether a condition's arguments make sense; else the error is in the reply. */
bool strings_check_condition(struct call *call, const struct string_condition *condition);

/* True: it takes long to find out for this string, and the command will be run again in slices. */
bool strings_slice_condition(struct call *call, const struct string_condition *condition,
                             const struct value *value);

/* Whether it holds for the string at the key of argument 1, which is looked up again if this took
 * slices. */
bool strings_place_holds(struct call *call, const struct string_condition *condition,
                         struct place *place);
