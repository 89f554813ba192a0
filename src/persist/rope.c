/* Ropes: see rope.h for their form.
 *
 * Sheets grow with the rope, from SHEET_MIN to SHEET_MAX bytes, so that the few bytes that are kept
 * ahead for one of many collections take little, and what streams past is handed over in large
 * pieces. A text lies in one sheet, so that it can be packed in one go; a long one has a sheet of
 * its own, and a blob is referred to and never copied.
 *
 * Costs: a copy of the bytes, 4 more for each run, so 8 for each text of more than 20 bytes. */
#include "persist/rope.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum {
#ifdef OURO_HOSTILE
    SHEET_MIN = 64,
    SHEET_MAX = 256,
#else
    SHEET_MIN = 1024,
    SHEET_MAX = 32 * 1024,
#endif
    HEAD_LEN = 4,
    PLAIN_MAX = 1 << 30, /* Bytes of a run. */
};

/* ---- Sheets ---- */

static size_t sheet_size(const struct rope_sheet *sheet)
{
    return sizeof(*sheet) + sheet->cap;
}

void rope_sheet_free(struct rope_sheet *sheet)
{
    if (sheet->blob != NULL) {
        blob_drop(sheet->blob);
    }
    mem_free_sized(sheet, sheet_size(sheet));
}

static struct rope_sheet *rope_last(const struct rope *rope)
{
    return rope_is_empty(rope) ? NULL : LIST_OWNER(rope->sheets.prev, struct rope_sheet, link);
}

static struct rope_sheet *sheet_add(struct rope *rope, size_t cap)
{
    struct rope_sheet *sheet = rope->is_failed ? NULL : mem_try_alloc(sizeof(*sheet) + cap);
    rope->run = NULL;
    if (sheet == NULL) {
        rope->is_failed = true;
        return NULL;
    }
    *sheet = (struct rope_sheet){.cap = cap};
    ASSERT(rope->sheets.prev != NULL);
    list_push_back(&rope->sheets, &sheet->link);
    rope->memory += sheet_size(sheet);
    return sheet;
}

/* The last sheet, with room for `more` bytes; NULL: no memory. */
static struct rope_sheet *sheet_with_room(struct rope *rope, size_t more)
{
    struct rope_sheet *sheet = rope_last(rope);
    if (sheet != NULL && sheet->blob == NULL && sheet->cap - sheet->len >= more) {
        return sheet;
    }
    size_t cap = rope->bytes < SHEET_MIN ? SHEET_MIN : rope->bytes;
    cap = cap > SHEET_MAX ? SHEET_MAX : cap;
    return sheet_add(rope, cap > more ? cap : more);
}

/* ---- Runs ---- */

static void run_set(char *head, size_t len, bool is_text)
{
    uint32_t word = (uint32_t)len << 1 | (uint32_t)is_text;
    memcpy(head, &word, sizeof(word));
}

static size_t run_len(const char *head, bool *is_text)
{
    uint32_t word;
    memcpy(&word, head, sizeof(word));
    *is_text = (word & 1) != 0;
    return word >> 1;
}

static void sheet_append(struct rope *rope, struct rope_sheet *sheet, struct slice bytes)
{
    memcpy(sheet->bytes + sheet->len, bytes.data, bytes.len);
    sheet->len += bytes.len;
    rope->bytes += bytes.len;
}

/* The last sheet with an open plain run and room for a byte at least; NULL: no memory. */
static struct rope_sheet *open_run(struct rope *rope)
{
    struct rope_sheet *sheet = rope_last(rope);
    if (rope->run != NULL && sheet->len < sheet->cap) {
        return sheet;
    }
    sheet = sheet_with_room(rope, HEAD_LEN + 1);
    if (sheet != NULL) {
        rope->run = sheet->bytes + sheet->len;
        run_set(rope->run, 0, false);
        sheet->len += HEAD_LEN;
    }
    return sheet;
}

void rope_add_bytes(struct rope *rope, struct slice bytes)
{
    while (bytes.len > 0) {
        struct rope_sheet *sheet = open_run(rope);
        if (sheet == NULL) {
            return;
        }
        size_t room = sheet->cap - sheet->len;
        size_t len = bytes.len < room ? bytes.len : room;
        bool is_text;
        run_set(rope->run, run_len(rope->run, &is_text) + len, false);
        sheet_append(rope, sheet, slice_of(bytes.data, len));
        bytes = slice_of(bytes.data + len, bytes.len - len);
    }
}

void rope_add_text(struct rope *rope, struct slice text)
{
    if (text.len > PLAIN_MAX) {
        char head[CODEC_LEN_MAX];
        rope_add_bytes(rope, slice_of(head, codec_put_len(head, text.len)));
        rope_add_bytes(rope, text);
        return;
    }
    struct rope_sheet *sheet = sheet_with_room(rope, HEAD_LEN + text.len);
    if (sheet != NULL) {
        run_set(sheet->bytes + sheet->len, text.len, true);
        sheet->len += HEAD_LEN;
        sheet_append(rope, sheet, text);
        rope->run = NULL;
    }
}

static void add_blob(struct rope *rope, struct blob *blob)
{
    struct rope_sheet *sheet = sheet_add(rope, 0);
    if (sheet != NULL) {
        sheet->blob = blob_share(blob);
        rope->bytes += blob->len;
    }
}

bool rope_sheet_next(const struct rope_sheet *sheet, size_t *at, struct rope_run *run)
{
    if (sheet->blob != NULL) {
        *run = (struct rope_run){.bytes = blob_slice(sheet->blob), .is_text = true};
        return (*at)++ == 0;
    }
    if (*at == sheet->len) {
        return false;
    }
    size_t len = run_len(sheet->bytes + *at, &run->is_text);
    run->bytes = slice_of(sheet->bytes + *at + HEAD_LEN, len);
    *at += HEAD_LEN + len;
    return true;
}

/* ---- Ropes ---- */

static struct rope *rope_of(struct codec_sink *sink)
{
    return LIST_OWNER(sink, struct rope, sink);
}

static void rope_on_bytes(struct codec_sink *sink, struct slice bytes)
{
    rope_add_bytes(rope_of(sink), bytes);
}

static void rope_on_text(struct codec_sink *sink, struct slice text, struct blob *blob)
{
    if (blob != NULL && text.len >= BLOB_LEN_MIN) {
        add_blob(rope_of(sink), blob);
    } else {
        rope_add_text(rope_of(sink), text);
    }
}

void rope_init(struct rope *rope)
{
    *rope = (struct rope){.sink = {.bytes = rope_on_bytes, .text = rope_on_text}};
    list_init(&rope->sheets);
}

void rope_deinit(struct rope *rope)
{
    for (struct rope_sheet *sheet = rope_take(rope); sheet != NULL; sheet = rope_take(rope)) {
        rope_sheet_free(sheet);
    }
}

void rope_move(struct rope *to, struct rope *from)
{
    to->is_failed = to->is_failed || from->is_failed;
    if (rope_is_empty(from)) {
        return;
    }
    struct list *first = from->sheets.next;
    struct list *last = from->sheets.prev;
    first->prev = to->sheets.prev;
    to->sheets.prev->next = first;
    last->next = &to->sheets;
    to->sheets.prev = last;
    to->bytes += from->bytes;
    to->memory += from->memory;
    to->run = from->run;
    list_init(&from->sheets);
    from->bytes = from->memory = 0;
    from->run = NULL;
}

struct rope_sheet *rope_take(struct rope *rope)
{
    if (rope_is_empty(rope)) {
        return NULL;
    }
    struct rope_sheet *sheet = LIST_OWNER(rope->sheets.next, struct rope_sheet, link);
    list_remove(&sheet->link);
    rope->bytes -= sheet->blob != NULL ? sheet->blob->len : 0;
    rope->memory -= sheet_size(sheet);
    if (rope_is_empty(rope)) {
        rope->bytes = 0;
        rope->run = NULL;
    }
    return sheet;
}
