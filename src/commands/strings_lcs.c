/* LCS: the longest common subsequence of two strings, by the textbook table.
 *
 *            ""  m  y                  cell(i, j) = length for the first i bytes of a and
 *        ""   0  0  0                               the first j bytes of b
 *        m    0  1  1
 *        y    0  1  2  <- walk back from here: a match goes up-left, else to the larger
 *
 * The walk back needs to know of each cell only whether the one above is larger than the one to the
 * left: one bit. So one row of lengths is kept, along the shorter string, and a bit per cell:
 *
 *     row    4 x (shorter + 1) bytes, at most 46 KB
 *     bits   (shorter / 8 + 1) x longer bytes; 16 MiB for two strings of 11 KB
 *
 * The product of the lengths is bounded as Redis bounds it, whose table has four bytes per cell.
 *
 * Costs. A nanosecond or two per cell, and as much per step of the walk: far too long for one turn.
 * So all but small tables are a job that fills some rows at a time; it holds the strings by
 * reference or copy, so that their keys may change meanwhile.
 *
 * Rejected: Redis's table of lengths, which takes up to 512 MiB; giving that much back to the
 * kernel stops the server for milliseconds. Hirschberg's method, which needs two rows: it may find
 * other, as long, matches than Redis does, and IDX tells which. */
#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/work.h"
#include "commands/commands.h"
#include "commands/later.h"
#include "commands/strings.h"

enum {
#ifdef OURO_HOSTILE
    LCS_DIRECT_MAX = 16,
    LCS_STEP = 3,
#else
    LCS_DIRECT_MAX = 16 * 1024, /* Cells that are filled at once: some 20 us. */
    LCS_STEP = 8 * 1024,        /* Cells between two looks at the clock. */
#endif
};

struct lcs_options {
    bool has_len, has_idx, has_match_len;
    int64_t match_len_min;
};

/* A string held while the job runs. */
struct lcs_text {
    struct blob *blob; /* A reference, or NULL: the bytes were copied behind the job. */
    struct slice bytes;
};

struct lcs {
    struct work_job job;
    struct session *session;
    struct exec *exec;
    struct lcs_options options;
    struct lcs_text a, b;
    bool is_swapped; /* a is the shorter string. */
    uint32_t *row;   /* Lengths along the shorter string. */
    uint8_t *bits;   /* Row by row: walk back along a rather than b? */
    size_t filled;   /* Rows done. */
    bool is_filled;
    size_t i, j;          /* Where the walk back stands, in a and b. */
    size_t run_len;       /* Matching bytes just walked over, from (i, j) on. */
    size_t text_at;       /* The text is filled from its end to its start. */
    char *text;           /* The subsequence; NULL when it is not asked for. */
    struct reply matches; /* IDX: written so far. */
    size_t match_count;
    size_t size;
    char bytes[];
};

static struct slice lcs_shorter(const struct lcs *lcs)
{
    return lcs->is_swapped ? lcs->a.bytes : lcs->b.bytes;
}

static struct slice lcs_longer(const struct lcs *lcs)
{
    return lcs->is_swapped ? lcs->b.bytes : lcs->a.bytes;
}

/* Bytes of one row of bits: one bit for each cell, that of the empty prefix included. */
static size_t lcs_stride(const struct lcs *lcs)
{
    return lcs_shorter(lcs).len / 8 + 1;
}

static size_t lcs_len(const struct lcs *lcs)
{
    return lcs->row[lcs_shorter(lcs).len];
}

/* Whether cell(i - 1, j) is larger than cell(i, j - 1). */
static bool lcs_is_along_a(const struct lcs *lcs)
{
    ASSERT(lcs->bits != NULL);
    size_t row = lcs->is_swapped ? lcs->j : lcs->i;
    size_t column = lcs->is_swapped ? lcs->i : lcs->j;
    return (lcs->bits[(row - 1) * lcs_stride(lcs) + column / 8] >> column % 8 & 1) != 0;
}

/* ---- Fill ---- */

/* One byte of the longer string against all of the shorter. */
static void fill_row(struct lcs *lcs, char byte, uint8_t *bits)
{
    struct slice shorter = lcs_shorter(lcs);
    uint32_t *row = lcs->row;
    uint32_t diagonal = 0;
    uint32_t left = 0;
    unsigned word = 0;
    for (size_t n = 1; n <= shorter.len; n++) {
        uint32_t above = row[n];
        bool is_along_a = lcs->is_swapped ? left > above : above > left;
        uint32_t larger = above > left ? above : left;
        left = byte == shorter.data[n - 1] ? diagonal + 1 : larger;
        row[n] = left;
        diagonal = above;
        word |= (unsigned)is_along_a << n % 8;
        if (n % 8 == 7) {
            bits[n / 8] = (uint8_t)word;
            word = 0;
        }
    }
    bits[shorter.len / 8] = shorter.len % 8 == 7 ? bits[shorter.len / 8] : (uint8_t)word;
}

/* Fills about `count` cells; true when all rows are done. */
static bool fill_step(struct lcs *lcs, size_t count)
{
    struct slice longer = lcs_longer(lcs);
    size_t width = lcs_shorter(lcs).len + 1;
    size_t row_max = count / width + 1;
    if (width == 1) {
        return true; /* An empty string has nothing in common with any. */
    }
    for (size_t i = 0; i < row_max && lcs->filled < longer.len; i++) {
        fill_row(lcs, longer.data[lcs->filled], &lcs->bits[lcs->filled * lcs_stride(lcs)]);
        lcs->filled++;
    }
    return lcs->filled == longer.len;
}

/* ---- Walk back ---- */

/* A run of matches ends: it began at (i, j) and is told if it is long enough. */
static void end_run(struct lcs *lcs)
{
    size_t len = lcs->run_len;
    lcs->run_len = 0;
    if (len == 0 || !lcs->options.has_idx || (int64_t)len < lcs->options.match_len_min) {
        return;
    }
    struct reply *out = &lcs->matches;
    reply_array(out, lcs->options.has_match_len ? 3 : 2);
    reply_array(out, 2);
    reply_count(out, lcs->i);
    reply_count(out, lcs->i + len - 1);
    reply_array(out, 2);
    reply_count(out, lcs->j);
    reply_count(out, lcs->j + len - 1);
    if (lcs->options.has_match_len) {
        reply_count(out, len);
    }
    lcs->match_count++;
}

/* Takes at most `count` steps; true at the table's edge. */
static bool walk_step(struct lcs *lcs, size_t count)
{
    const char *a = lcs->a.bytes.data;
    const char *b = lcs->b.bytes.data;
    while (lcs->i > 0 && lcs->j > 0) {
        if (count-- == 0) {
            return false;
        }
        if (a[lcs->i - 1] == b[lcs->j - 1]) {
            lcs->i--;
            lcs->j--;
            lcs->run_len++;
            if (lcs->text != NULL) {
                lcs->text[--lcs->text_at] = a[lcs->i];
            }
            continue;
        }
        end_run(lcs);
        bool is_along_a = lcs_is_along_a(lcs);
        lcs->i -= is_along_a;
        lcs->j -= !is_along_a;
    }
    end_run(lcs);
    return true;
}

/* ---- Job ---- */

static void lcs_free(struct lcs *lcs)
{
    reply_deinit(&lcs->matches);
    if (lcs->a.blob != NULL) {
        blob_drop(lcs->a.blob);
    }
    if (lcs->b.blob != NULL) {
        blob_drop(lcs->b.blob);
    }
    mem_free(lcs->row);
    mem_free(lcs->bits);
    mem_free(lcs->text);
    mem_free_sized(lcs, lcs->size);
}

/* The table is full: what is asked for besides the length? False: no memory for the text. */
static bool lcs_begin_walk(struct lcs *lcs)
{
    lcs->is_filled = true;
    lcs->i = lcs->a.bytes.len;
    lcs->j = lcs->b.bytes.len;
    if (!lcs->options.has_len && !lcs->options.has_idx) {
        lcs->text_at = lcs_len(lcs);
        lcs->text = mem_try_alloc(lcs->text_at);
        return lcs->text != NULL;
    }
    return true;
}

static void lcs_reply(struct lcs *lcs, struct reply *out)
{
    if (lcs->options.has_idx) {
        reply_map(out, 2);
        reply_bulk_text(out, "matches");
        reply_array(out, lcs->match_count);
        reply_splice(out, &lcs->matches);
        reply_bulk_text(out, "len");
        reply_count(out, lcs_len(lcs));
    } else if (lcs->options.has_len) {
        reply_count(out, lcs_len(lcs));
    } else {
        reply_bulk(out, slice_of(lcs->text, lcs_len(lcs)));
    }
}

/* Does about `count` cells' work. True: it is over and the reply is written. */
static bool lcs_step(struct lcs *lcs, size_t count, struct reply *out)
{
    if (!lcs->is_filled) {
        if (fill_step(lcs, count) && !lcs_begin_walk(lcs)) {
            reply_error(out, ERR_NO_MEMORY);
            return true;
        }
        return false;
    }
    if (!lcs->options.has_len && !walk_step(lcs, count)) {
        return false;
    }
    lcs_reply(lcs, out);
    return true;
}

static bool lcs_on_step(struct work_job *job)
{
    struct lcs *lcs = LIST_OWNER(job, struct lcs, job);
    int64_t deadline_us = clock_mono_us() + LATER_SLICE_US;
    do {
        if (lcs_step(lcs, LCS_STEP, lcs->session->out)) {
            session_resume(lcs->session);
            lcs_free(lcs);
            return true;
        }
    } while (clock_mono_us() < deadline_us);
    return false;
}

static void lcs_on_cancel(struct session *session, void *context)
{
    struct lcs *lcs = context;
    (void)session;
    work_cancel(exec_work(lcs->exec), &lcs->job);
    lcs_free(lcs);
}

/* ---- LCS ---- */

/* Holds a string's text; bytes that must be copied go to `room`, whose end is returned. */
static char *lcs_hold(struct lcs_text *text, const struct value *value, char *room)
{
    struct blob *blob = value == NULL ? NULL : string_blob(value);
    if (blob != NULL) {
        text->blob = blob_share(blob);
        text->bytes = blob_slice(blob);
        return room;
    }
    struct string_scratch scratch;
    struct slice bytes = value == NULL ? slice_of("", 0) : string_get(value, &scratch);
    if (bytes.len > 0) {
        memcpy(room, bytes.data, bytes.len);
    }
    text->bytes = slice_of(room, bytes.len);
    return room + bytes.len;
}

static size_t lcs_room(const struct value *value)
{
    return value == NULL || string_blob(value) != NULL ? 0 : string_len(value);
}

static bool lcs_try_table(struct lcs *lcs)
{
    size_t width = lcs_shorter(lcs).len + 1;
    lcs->row = mem_try_alloc(width * sizeof(lcs->row[0]));
    lcs->bits = width == 1 ? NULL : mem_try_alloc(lcs_stride(lcs) * lcs_longer(lcs).len);
    if (lcs->row == NULL || (lcs->bits == NULL && width != 1)) {
        return false;
    }
    memset(lcs->row, 0, width * sizeof(lcs->row[0]));
    return true;
}

/* The job with its table; NULL: no memory. */
static struct lcs *lcs_try_new(struct call *call, const struct value *a, const struct value *b)
{
    size_t size = sizeof(struct lcs) + lcs_room(a) + lcs_room(b);
    struct lcs *lcs = mem_try_alloc(size);
    if (lcs == NULL) {
        return NULL;
    }
    *lcs = (struct lcs){.session = call->session, .exec = call->exec, .size = size};
    list_init(&lcs->job.link);
    reply_init(&lcs->matches, call->out->pool);
    lcs->matches.protocol = call->out->protocol;
    lcs_hold(&lcs->b, b, lcs_hold(&lcs->a, a, lcs->bytes));
    lcs->is_swapped = lcs->a.bytes.len < lcs->b.bytes.len;
    if (!lcs_try_table(lcs)) {
        lcs_free(lcs);
        return NULL;
    }
    return lcs;
}

static bool lcs_parse(struct call *call, struct lcs_options *options)
{
    for (uint32_t i = 3; i < call->args.count; i++) {
        if (call_is(call, i, "IDX")) {
            options->has_idx = true;
        } else if (call_is(call, i, "LEN")) {
            options->has_len = true;
        } else if (call_is(call, i, "WITHMATCHLEN")) {
            options->has_match_len = true;
        } else if (call_is(call, i, "MINMATCHLEN") && i + 1 < call->args.count) {
            if (!call_i64(call, ++i, &options->match_len_min, NULL)) {
                return false;
            }
        } else {
            reply_error(call->out, ERR_SYNTAX);
            return false;
        }
    }
    if (options->has_idx && options->has_len) {
        reply_error(call->out, "ERR If you want both the length and indexes, please just use IDX.");
        return false;
    }
    return true;
}

static void lcs_start(struct call *call, struct lcs *lcs, size_t cells)
{
    if (cells > LCS_DIRECT_MAX && call_may_answer_later(call)) {
        session_suspend(call->session, lcs_on_cancel, lcs);
        work_add(exec_work(call->exec), &lcs->job, lcs_on_step);
        return;
    }
    while (!lcs_step(lcs, SIZE_MAX, call->out)) {
    }
    lcs_free(lcs);
}

/* LCS key1 key2 [LEN] [IDX] [MINMATCHLEN len] [WITHMATCHLEN] */
static void lcs_run(struct call *call)
{
    const struct value *a = call_peek(call, 1, FIND_READ);
    const struct value *b = call_peek(call, 2, FIND_READ);
    a = a == NULL ? NULL : call_peek(call, 1, FIND_NO_TOUCH);
    if ((a != NULL && value_kind(a) != VALUE_STRING) ||
        (b != NULL && value_kind(b) != VALUE_STRING)) {
        reply_error(call->out, "ERR The specified keys must contain string values");
        return;
    }
    struct lcs_options options = {.match_len_min = 0};
    if (!lcs_parse(call, &options) || call->out->is_muted) {
        return;
    }
    size_t cells = ((a == NULL ? 0 : string_len(a)) + 1) * ((b == NULL ? 0 : string_len(b)) + 1);
    if (cells > STRING_LEN_MAX / sizeof(uint32_t)) {
        reply_error(call->out, "ERR Insufficient memory, transient memory for LCS exceeds "
                               "proto-max-bulk-len");
        return;
    }
    struct lcs *lcs = lcs_try_new(call, a, b);
    if (lcs == NULL) {
        reply_error(call->out,
                    "ERR Insufficient memory, failed allocating transient memory for LCS");
        return;
    }
    lcs->options = options;
    lcs_start(call, lcs, cells);
}

static const struct command strings_lcs_rows[] = {
    {.name = "lcs",
     .run = lcs_run,
     .arity = -3,
     .flags = CMD_READONLY,
     .categories = ACL_STRING,
     .keys = {{.first = 1, .last = 2, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "7.0.0",
     .group = "string",
     .complexity = "O(N*M) where N and M are the lengths of the strings.",
     .summary = "Finds the longest common subsequence of two strings.",
     .syntax = "key1:key key2:key [LEN] [IDX] [MINMATCHLEN len:integer] [WITHMATCHLEN]"},
};

void commands_register_strings_lcs(struct exec *exec)
{
    exec_register(exec, strings_lcs_rows, sizeof(strings_lcs_rows) / sizeof(strings_lcs_rows[0]),
                  NULL);
}
