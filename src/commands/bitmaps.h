/* What the files of bitmap commands share. */
#pragma once

#include "commands/strings.h"
#include "exec/exec.h"

#define ERR_BIT_OFFSET "ERR bit offset is not an integer or out of range"

/* A string that is read as bits: the text is borrowed. */
struct bitmap {
    struct slice text;
    bool is_missing;
    struct string_scratch scratch;
};

/* Looks a string up for reading; a missing one is empty. False: the error is in the reply. */
bool bitmap_find(struct call *call, uint32_t index, struct bitmap *bitmap);

/* A bit offset in text; "#" before it multiplies by `width` (0: not allowed). False: the error is
 * in the reply. */
bool bitmap_offset(struct call *call, struct slice text, unsigned width, uint64_t *offset);
