/* Bytes of a snapshot on their way to the mill: sheets of runs. A run is either plain bytes or one
 * text whose length is still to be written, because it may be packed first.
 *
 *     sheet  | run | ..... | run | text ........ | run | ... |       run: u32, bytes << 1 | is_text
 *     sheet  blob: one text, by reference
 *
 * Grows at the end only; whole ropes can be moved to the end of another in O(1). When memory does
 * not suffice is_failed is set and the rest is lost: its owner gives up. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/list.h"
#include "base/slice.h"
#include "types/codec/codec.h"

struct rope_sheet {
    struct list link;
    struct blob *blob; /* Not NULL: the sheet is this text. One reference. */
    size_t len, cap;   /* Of bytes. */
    char bytes[];
};

struct rope {
    struct codec_sink sink; /* What values are written to. */
    struct list sheets;
    size_t bytes;  /* In all sheets, blobs included. */
    size_t memory; /* Bytes that the sheets take, blobs not included. */
    char *run;     /* Head of the plain run that is open at the end; NULL: none. */
    bool is_failed;
};

void rope_init(struct rope *rope);
void rope_deinit(struct rope *rope);

static inline bool rope_is_empty(const struct rope *rope)
{
    return list_is_empty(&rope->sheets);
}

void rope_add_bytes(struct rope *rope, struct slice bytes);
void rope_add_text(struct rope *rope, struct slice text);

/* Moves everything from one rope to the end of another. */
void rope_move(struct rope *to, struct rope *from);

/* Takes the first sheet off; NULL: there is none. rope_sheet_free drops it. */
struct rope_sheet *rope_take(struct rope *rope);
void rope_sheet_free(struct rope_sheet *sheet);

/* One run after the other; `at` begins as 0. False: the end. */
struct rope_run {
    struct slice bytes;
    bool is_text;
};
bool rope_sheet_next(const struct rope_sheet *sheet, size_t *at, struct rope_run *run);
