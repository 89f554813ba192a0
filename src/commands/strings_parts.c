/* Parts of strings: APPEND, GETRANGE (and its old name SUBSTR), SETRANGE.
 *
 * A change happens in place (strings_edit.h); what the client asks for may be large, so each can
 * fail for want of memory, and then nothing has changed. */
#include "commands/commands.h"
#include "commands/strings_edit.h"
#include "exec/exec.h"

/* Whether a string of `len` bytes with `more` behind them is legal; else the error is in the reply.
 */
static bool check_len(struct call *call, uint64_t len, uint64_t more)
{
    uint64_t total;
    if (__builtin_add_overflow(len, more, &total) || total > STRING_LEN_MAX) {
        reply_error(call->out, ERR_STRING_TOO_LONG);
        return false;
    }
    return true;
}

/* APPEND key value */
static void append_run(struct call *call)
{
    struct place place;
    if (!call_find_place(call, 1, VALUE_STRING, &place)) {
        return;
    }
    struct slice tail = call->args.at[2];
    size_t len = tail.len;
    bool is_gone = false;
    if (place.value == NULL) {
        if (!strings_store(call, 1, place, 2, (struct string_ttl){.at_ms = -1})) {
            return;
        }
    } else {
        size_t old_len = string_len(place.value);
        len += old_len;
        if (!check_len(call, len, 0)) {
            return;
        }
        struct string_edit edit = {.place = place, .len = len};
        if (!strings_edit_begin(call, &edit, tail.len) ||
            !strings_edit_put(call, &edit, old_len, tail) || !strings_edit_end(call, &edit)) {
            return;
        }
        is_gone = edit.is_gone;
    }
    reply_count(call->out, len);
    if (!is_gone) {
        call_changed(call, 1, "append");
    }
}

/* Redis's inclusive bounds, negative from the end, within `len` bytes: stores the offset and
 * returns how many bytes there are. */
static size_t range_of(int64_t start, int64_t end, size_t len, size_t *offset)
{
    int64_t signed_len = (int64_t)len;
    *offset = 0;
    if (start < 0 && end < 0 && start > end) {
        return 0;
    }
    start = start < 0 ? (start < -signed_len ? 0 : signed_len + start) : start;
    end = end < 0 ? (end < -signed_len ? 0 : signed_len + end) : end;
    end = end >= signed_len ? signed_len - 1 : end;
    if (len == 0 || start > end) {
        return 0;
    }
    *offset = (size_t)start;
    return (size_t)(end - start) + 1;
}

/* GETRANGE key start end */
static void getrange_run(struct call *call)
{
    int64_t start;
    int64_t end;
    struct value *value;
    if (!call_i64(call, 2, &start, NULL) || !call_i64(call, 3, &end, NULL) ||
        !call_find(call, 1, VALUE_STRING, &value)) {
        return;
    }
    size_t offset;
    size_t len = range_of(start, end, value == NULL ? 0 : string_len(value), &offset);
    if (len == 0) {
        reply_bulk(call->out, slice_of("", 0));
        return;
    }
    struct blob *blob = string_blob(value);
    if (blob != NULL) {
        reply_bulk_blob(call->out, blob, offset, len);
        return;
    }
    struct string_scratch scratch;
    reply_bulk(call->out, slice_part(string_get(value, &scratch), offset, len));
}

/* SETRANGE key offset value */
static void setrange_run(struct call *call)
{
    int64_t offset;
    struct slice text = call->args.at[3];
    if (!call_i64(call, 2, &offset, NULL)) {
        return;
    }
    if (offset < 0) {
        reply_error(call->out, "ERR offset is out of range");
        return;
    }
    struct place place;
    if (!call_find_place(call, 1, VALUE_STRING, &place)) {
        return;
    }
    size_t len = place.value == NULL ? 0 : string_len(place.value);
    if (text.len == 0) {
        reply_count(call->out, len);
        return;
    }
    if (!check_len(call, (uint64_t)offset, text.len)) {
        return;
    }
    struct string_edit edit = {.place = place, .len = (size_t)offset + text.len};
    if (!strings_edit_begin(call, &edit, text.len) ||
        !strings_edit_put(call, &edit, (size_t)offset, text) || !strings_edit_end(call, &edit)) {
        return;
    }
    reply_count(call->out, edit.len);
    if (!edit.is_gone) {
        call_changed(call, 1, "setrange");
    }
}

static const struct command strings_parts_rows[] = {
    {.name = "append",
     .run = append_run,
     .arity = 3,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_FAST,
     .categories = ACL_STRING,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_INSERT}},
     .since = "2.0.0",
     .group = "string",
     .complexity = "O(1) amortized, for each byte appended.",
     .summary = "Appends to a string, which is created when the key is missing.",
     .syntax = "key value"},
    {.name = "getrange",
     .run = getrange_run,
     .arity = 4,
     .flags = CMD_READONLY,
     .categories = ACL_STRING,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "2.4.0",
     .group = "string",
     .complexity = "O(N) where N is the length of the part returned.",
     .summary = "Returns the part of a string between two offsets, both included.",
     .syntax = "key start:integer end:integer"},
    {.name = "substr",
     .run = getrange_run,
     .arity = 4,
     .flags = CMD_READONLY,
     .categories = ACL_STRING,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "1.0.0",
     .group = "string",
     .complexity = "O(N) where N is the length of the part returned.",
     .summary = "The old name of GETRANGE.",
     .syntax = "key start:integer end:integer",
     .deprecated = "2.0.0 `GETRANGE`"},
    {.name = "setrange",
     .run = setrange_run,
     .arity = 4,
     .flags = CMD_WRITE | CMD_DENY_OOM,
     .categories = ACL_STRING,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_UPDATE}},
     .since = "2.2.0",
     .group = "string",
     .complexity = "O(M) where M is the length of the text and of the zero bytes before it.",
     .summary = "Overwrites a string from an offset on, zero-padded up to it.",
     .syntax = "key offset:integer value"},
};

void commands_register_strings_parts(struct exec *exec)
{
    exec_register(exec, strings_parts_rows,
                  sizeof(strings_parts_rows) / sizeof(strings_parts_rows[0]), NULL);
}
