/* Strings as arrays of bits: SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP.
 *
 * A bitmap is a string like any other; it is edited in place, grows with zeros, and its bits are
 * counted from the top of its first byte. Ranges are given in bytes or, with BIT, in bits, with
 * negative numbers counting from the end; inside they are half open and in bits.
 *
 * BITOP builds its result apart, a piece of all strings at a time: that of the first is copied, the
 * others are combined into it one after the other. What is shorter counts as filled with zeros. */
#include "commands/bitmaps.h"

#include "base/mem.h"
#include "base/num.h"
#include "commands/commands.h"
#include "commands/strings_edit.h"
#include "ds/bits.h"
#include "exec/sliced.h"

bool bitmap_find(struct call *call, uint32_t index, struct bitmap *bitmap)
{
    struct value *value;
    if (!call_find(call, index, VALUE_STRING, &value)) {
        return false;
    }
    bitmap->is_missing = value == NULL;
    bitmap->text = value == NULL ? slice_of("", 0) : string_get(value, &bitmap->scratch);
    return true;
}

bool bitmap_offset(struct call *call, struct slice text, unsigned width, uint64_t *offset)
{
    int64_t number;
    bool is_multiple = width > 0 && text.len > 0 && text.data[0] == '#';
    if (is_multiple) {
        text = slice_part(text, 1, text.len - 1);
    }
    if (!num_parse_i64(text, &number) ||
        (is_multiple && __builtin_mul_overflow(number, (int64_t)width, &number)) || number < 0 ||
        number / 8 >= STRING_LEN_MAX) {
        reply_error(call->out, ERR_BIT_OFFSET);
        return false;
    }
    *offset = (uint64_t)number;
    return true;
}

/* SETBIT key offset value */
static void setbit_run(struct call *call)
{
    uint64_t offset;
    int64_t bit;
    struct place place;
    if (!bitmap_offset(call, call->args.at[2], 0, &offset) ||
        !call_range_i64(call, 3, 0, 1, &bit, "ERR bit is not an integer or out of range") ||
        !call_find_place(call, 1, VALUE_STRING, &place)) {
        return;
    }
    struct string_edit edit = {.place = place, .len = offset / 8 + 1};
    if (!strings_edit_begin(call, &edit, 1)) {
        return;
    }
    bool was_set = bits_is_set(slice_of(edit.bytes, edit.len), offset);
    bits_assign(edit.bytes, offset, bit == 1);
    if (!strings_edit_end(call, &edit)) {
        return;
    }
    reply_integer(call->out, was_set);
    if (!edit.is_gone && (edit.is_grown || was_set != (bit == 1))) {
        call_changed(call, 1, "setbit");
    }
}

/* GETBIT key offset */
static void getbit_run(struct call *call)
{
    uint64_t offset;
    struct bitmap bitmap;
    if (bitmap_offset(call, call->args.at[2], 0, &offset) && bitmap_find(call, 1, &bitmap)) {
        reply_integer(call->out, bits_is_set(bitmap.text, offset));
    }
}

/* ---- Ranges ---- */

/* A range as a client gives it, both ends included. */
struct bit_range {
    int64_t start, end;
    bool has_end;
    bool is_bits;
};

/* BIT or BYTE. False: neither, the error is in the reply. */
static bool unit_parse(struct call *call, uint32_t index, struct bit_range *range)
{
    range->is_bits = call_is(call, index, "BIT");
    if (!range->is_bits && !call_is(call, index, "BYTE")) {
        reply_error(call->out, ERR_SYNTAX);
        return false;
    }
    return true;
}

/* Reads the arguments from `index` on: [start [end [BYTE | BIT]]]. */
static bool range_parse(struct call *call, uint32_t index, struct bit_range *range)
{
    uint32_t count = call->args.count;
    *range = (struct bit_range){.end = -1};
    if (count > index + 3) {
        reply_error(call->out, ERR_SYNTAX);
        return false;
    }
    if (count > index && !call_i64(call, index, &range->start, NULL)) {
        return false;
    }
    if (count == index + 3 && !unit_parse(call, index + 2, range)) {
        return false;
    }
    range->has_end = count > index + 1;
    return !range->has_end || call_i64(call, index + 1, &range->end, NULL);
}

/* The same within a string of `len` bytes, half open and in bits; false when it is empty. */
static bool range_within(const struct bit_range *range, size_t len, size_t *from, size_t *to)
{
    int64_t total = (int64_t)(range->is_bits ? len * 8 : len);
    int64_t start = range->start < 0 ? range->start + total : range->start;
    int64_t end = range->end < 0 ? range->end + total : range->end;
    start = start < 0 ? 0 : start;
    end = end < 0 ? 0 : end;
    end = end < total ? end : total - 1; /* -1 when there is nothing. */
    if (start > end) {
        return false;
    }
    size_t unit = range->is_bits ? 1 : 8;
    *from = (size_t)start * unit;
    *to = ((size_t)end + 1) * unit;
    return true;
}

#ifdef OURO_HOSTILE
enum { BITS_STEP = 64 * 1024, BITS_OF_SIZE = 8 };
#else
enum {
    BITS_STEP = 512 * 1024, /* Bits between two yields: 64 KiB, some 5 us. */
    BITS_OF_SIZE = 4096,    /* That count as one element: 4 million are done in one step. */
};
#endif

/* The end of the next piece of [from, to). */
static size_t bits_piece(size_t from, size_t to)
{
    return to - from > BITS_STEP ? from + BITS_STEP : to;
}

static void bitcount_reply(struct call *call, struct slice text, size_t from, size_t to)
{
    size_t count = 0;
    if (call_slice(call, (to - from) / BITS_OF_SIZE)) {
        return;
    }
    while (from < to) {
        size_t end = bits_piece(from, to);
        count += bits_count(text.data, from, end);
        from = end;
        if (!call_yield(call)) {
            return;
        }
    }
    reply_count(call->out, count);
}

/* Both numbers come before the unit, and a range that ends before it begins, both counted from the
 * end, before it too: 0, whatever the unit. False: the reply is written. */
static bool bitcount_range(struct call *call, struct bit_range *range)
{
    uint32_t count = call->args.count;
    *range = (struct bit_range){.end = -1};
    if (count == 2) {
        return true;
    }
    if (count == 3 || count > 5) {
        reply_error(call->out, ERR_SYNTAX);
        return false;
    }
    if (!call_i64(call, 2, &range->start, NULL) || !call_i64(call, 3, &range->end, NULL)) {
        return false;
    }
    if (range->start < 0 && range->end < 0 && range->start > range->end) {
        reply_integer(call->out, 0);
        return false;
    }
    return count == 4 || unit_parse(call, 4, range);
}

/* BITCOUNT key [start end [BYTE | BIT]] */
static void bitcount_run(struct call *call)
{
    struct bitmap bitmap;
    struct bit_range range;
    size_t from;
    size_t to;
    if (!bitmap_find(call, 1, &bitmap)) {
        return;
    }
    if (bitmap.is_missing) {
        reply_integer(call->out, 0);
        return;
    }
    if (!bitcount_range(call, &range)) {
        return;
    }
    if (!range_within(&range, bitmap.text.len, &from, &to)) {
        reply_integer(call->out, 0);
    } else {
        bitcount_reply(call, bitmap.text, from, to);
    }
}

/* BITPOS key bit [start [end [BYTE | BIT]]]. Without an end the string goes on with zeros. */
static void bitpos_run(struct call *call)
{
    int64_t bit;
    struct bitmap bitmap;
    struct bit_range range;
    size_t from;
    size_t to;
    if (!call_i64(call, 2, &bit, NULL)) {
        return;
    }
    if (bit != 0 && bit != 1) {
        reply_error(call->out, "ERR The bit argument must be 1 or 0.");
        return;
    }
    if (!bitmap_find(call, 1, &bitmap)) {
        return;
    }
    if (bitmap.is_missing) {
        reply_integer(call->out, bit == 1 ? -1 : 0);
        return;
    }
    if (!range_parse(call, 3, &range)) {
        return;
    }
    if (!range_within(&range, bitmap.text.len, &from, &to)) {
        reply_integer(call->out, -1);
        return;
    }
    if (call_slice(call, (to - from) / BITS_OF_SIZE)) {
        return;
    }
    size_t at;
    size_t end;
    do {
        end = bits_piece(from, to);
        at = bits_find(bitmap.text.data, from, end, bit == 1);
        from = end;
    } while (at == end && end < to && call_yield(call));
    bool is_none = at == to && (bit == 1 || range.has_end);
    reply_integer(call->out, is_none ? -1 : (int64_t)at);
}

/* ---- BITOP ---- */

enum bitop { BITOP_AND, BITOP_OR, BITOP_XOR, BITOP_NOT, BITOP_NONE };

static enum bitop bitop_of(const struct call *call)
{
    static const char *const names[] = {"AND", "OR", "XOR", "NOT"};
    for (unsigned i = 0; i < BITOP_NONE; i++) {
        if (call_is(call, 1, names[i])) {
            return (enum bitop)i;
        }
    }
    return BITOP_NONE;
}

/* A source: its bytes stay where they are, for its key is pinned while this goes on in slices. */
struct bitop_source {
    struct slice text;
    struct string_scratch scratch;
};

struct bitop_work {
    enum bitop bitop;
    struct bitop_source *sources; /* Owned. */
    uint32_t count;
    size_t len;   /* Of the longest source, and of the result. */
    size_t total; /* Of all sources. */
};

/* Finds the sources. False: one is no string, the error is in the reply. */
static bool bitop_find(struct call *call, struct bitop_work *work)
{
    for (uint32_t i = 0; i < work->count; i++) {
        struct bitop_source *source = &work->sources[i];
        struct value *value;
        if (!call_find(call, i + 3, VALUE_STRING, &value)) {
            return false;
        }
        source->text = value == NULL ? slice_of("", 0) : string_get(value, &source->scratch);
        work->len = source->text.len > work->len ? source->text.len : work->len;
        work->total += source->text.len;
    }
    return true;
}

/* Computes bytes [from, to) of the result. */
static void bitop_piece(const struct bitop_work *work, char *bytes, size_t from, size_t to)
{
    static const enum bits_operation operations[] = {BITS_AND, BITS_OR, BITS_XOR, BITS_OR};
    memset(bytes + from, 0, to - from);
    for (uint32_t i = 0; i < work->count; i++) {
        struct slice part = slice_part(work->sources[i].text, from, to - from);
        enum bits_operation operation = i == 0 ? BITS_OR : operations[work->bitop];
        bits_combine(bytes + from, part.data, part.len, operation);
        if (work->bitop == BITOP_AND) {
            memset(bytes + from + part.len, 0, to - from - part.len);
        }
    }
    if (work->bitop == BITOP_NOT) {
        bits_invert(bytes + from, to - from);
    }
}

/* An empty string for the result, and the bytes to write to. NULL: no memory. */
static struct value *bitop_try_new(struct slice key, size_t len, char **bytes)
{
    struct place place = {.value = NULL};
    struct blob *blob = len >= BLOB_LEN_MIN ? blob_try_new(len) : NULL;
    if (blob != NULL) {
        blob->len = len;
        *bytes = blob->bytes; /* Written piece by piece: large ones take their time. */
        place.value = string_try_new_blob(key, blob, false);
        if (place.value == NULL) {
            blob_drop(blob);
        }
        return place.value;
    }
    if (len < BLOB_LEN_MIN) {
        place.value = string_try_new(key, slice_of("", 0), false);
        *bytes = place.value == NULL ? NULL : string_try_edit(&place, len);
        if (place.value != NULL && *bytes == NULL) {
            value_free_block(place.value);
            place.value = NULL;
        }
    }
    return place.value;
}

/* Stores the result under argument 2. */
static void bitop_store(struct call *call, const struct bitop_work *work)
{
    char *bytes = NULL;
    struct value *value = bitop_try_new(call->args.at[2], work->len, &bytes);
    if (value == NULL) {
        reply_error(call->out, ERR_NO_MEMORY);
        return;
    }
    bool goes_on = true;
    for (size_t from = 0; from < work->len && goes_on;) {
        size_t to = bits_piece(from * 8, work->len * 8) / 8;
        bitop_piece(work, bytes, from, to);
        from = to;
        goes_on = call_yield(call);
    }
    if (!goes_on) {
        value_free(value, exec_work(call->exec));
        return;
    }
    call_insert(call, 2, value);
    reply_count(call->out, work->len);
    call_changed(call, 2, "set");
}

static void bitop_run_with(struct call *call, struct bitop_work *work)
{
    if (!bitop_find(call, work) || call_slice(call, work->total / (BITS_OF_SIZE / 8))) {
        return;
    }
    if (work->len > 0) {
        bitop_store(call, work);
        return;
    }
    reply_integer(call->out, 0);
    struct place place = call_peek_place(call, 2, FIND_NO_TOUCH);
    if (place.value != NULL) {
        call_remove(call, 2, place);
        call_changed(call, 2, "del");
    }
}

/* BITOP operation destination key [key ...] */
static void bitop_run(struct call *call)
{
    struct bitop_work work = {.bitop = bitop_of(call), .count = call->args.count - 3};
    if (work.bitop == BITOP_NONE) {
        reply_error(call->out, ERR_SYNTAX);
        return;
    }
    if (work.bitop == BITOP_NOT && call->args.count != 4) {
        reply_error(call->out, "ERR BITOP NOT must be called with a single source key.");
        return;
    }
    work.sources = mem_alloc(work.count * sizeof(*work.sources));
    bitop_run_with(call, &work);
    mem_free(work.sources);
}

static const struct command bitmaps_rows[] = {
    {.name = "setbit",
     .run = setbit_run,
     .arity = 4,
     .flags = CMD_WRITE | CMD_DENY_OOM,
     .categories = ACL_BITMAP,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_UPDATE}},
     .since = "2.2.0",
     .group = "bitmap",
     .complexity = "O(1)",
     .summary = "Sets or clears one bit of a string, which grows as needed.",
     .syntax = "key offset:integer value:integer"},
    {.name = "getbit",
     .run = getbit_run,
     .arity = 3,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_BITMAP,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "2.2.0",
     .group = "bitmap",
     .complexity = "O(1)",
     .summary = "Returns one bit of a string.",
     .syntax = "key offset:integer"},
    {.name = "bitcount",
     .run = bitcount_run,
     .arity = -2,
     .flags = CMD_READONLY,
     .categories = ACL_BITMAP,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "2.6.0",
     .group = "bitmap",
     .complexity = "O(N)",
     .summary = "Counts the bits that are set in a string or a part of it.",
     .syntax = "key [index: start:integer end:integer [index_unit: BYTE | BIT]@7.0.0]",
     .history = "7.0.0 Added the `BYTE|BIT` option."},
    {.name = "bitpos",
     .run = bitpos_run,
     .arity = -3,
     .flags = CMD_READONLY,
     .categories = ACL_BITMAP,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "2.8.7",
     .group = "bitmap",
     .complexity = "O(N)",
     .summary = "Finds the first bit of a string that is set, or that is not.",
     .syntax = "key bit:integer [index: start:integer [end_index: end:integer [index_unit: BYTE | "
               "BIT]@7.0.0]]",
     .history = "7.0.0 Added the `BYTE|BIT` option."},
    {.name = "bitop",
     .run = bitop_run,
     .arity = -4,
     .flags = CMD_WRITE | CMD_DENY_OOM,
     .categories = ACL_BITMAP,
     .keys = {{.first = 2, .access = KEY_OW, .use = KEY_USE_UPDATE},
              {.first = 3, .last = -1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "2.6.0",
     .group = "bitmap",
     .complexity = "O(N) where N is the length of all strings.",
     .summary = "Combines strings bit by bit and stores the result.",
     .syntax = "operation destkey:key key ..."},
};

void commands_register_bitmaps(struct exec *exec)
{
    exec_register(exec, bitmaps_rows, sizeof(bitmaps_rows) / sizeof(bitmaps_rows[0]), NULL);
}
