/* Changing a string in place, whatever its length: what APPEND, SETRANGE, SETBIT and BITFIELD
 * share.
 *
 *     struct string_edit edit = {.place = place, .len = how long it is to be at least};
 *     if (!strings_edit_begin(call, &edit, bytes that will be written)) {
 *         return;                                   later, in slices; or the error is in the reply
 *     }
 *     ... edit.bytes, up to edit.len of them; strings_edit_put for long texts; call_yield ...
 *     if (strings_edit_end(call, &edit)) {
 *         ... reply, and call_changed unless edit.is_gone ...
 *     } */
#pragma once

#include "commands/strings.h"

#ifdef OURO_HOSTILE
enum { EDIT_OF_SIZE = 8, EDIT_PIECE = 64 };
#else
enum {
    EDIT_OF_SIZE = 512,     /* Bytes that count as one element: half a MiB is done in one step. */
    EDIT_PIECE = 32 * 1024, /* Bytes between two yields: some 5 us, and 2 us if pages are new. */
};
#endif

struct string_edit {
    struct place place; /* In: where the key of argument 1 was looked up. */
    size_t len;         /* In: bytes that there must be; then the string's length. */
    bool is_grown;      /* It was created, or gets longer. */
    bool is_gone;     /* At the end: the key went with its database; there is no change to tell. */
    char *bytes;      /* Zero where there was nothing. */
    struct blob *own; /* Built apart; NULL: bytes are the value's own. */
};

/* Makes `edit->len` bytes ready to be written to, of which `count` will be. False: return; the
 * command will be run again in slices, or the error is in the reply. */
bool strings_edit_begin(struct call *call, struct string_edit *edit, size_t count);

/* Writes a text, in pieces. False: the call was given up; return. */
bool strings_edit_put(struct call *call, struct string_edit *edit, size_t offset,
                      struct slice text);

/* Puts the result in place, behind the last yield. False: return; there is no memory, nothing has
 * changed and the error is in the reply. */
bool strings_edit_end(struct call *call, struct string_edit *edit);

/* Instead of it: frees what was built. */
void strings_edit_drop(struct string_edit *edit);
