/* Editing strings: see the header.
 *
 *     string                     short                      long (more than half a MiB to write)
 *     its own, room to grow      at once, in place          in slices, in place
 *     shared, or has to move     at once, by a copy         in slices, by a copy that is built
 * apart missing                    at once, a new value       in slices, a new value
 *
 * What is long is decided by the bytes to write, not by the string: a string that is a region grows
 * where it is and with zeros that nobody writes (base/region.h), so one byte far behind its end is
 * a short edit. Only what a reply, a copy of the key or a snapshot still holds has to be copied
 * first, and what the allocator's pages held so far, once.
 *
 * In slices the key is pinned as one that is edited (exec/sliced.h): nobody reads it until the edit
 * has ended. So bytes may be written where they lie, and a value built apart is of the same moment
 * as what it replaces. */
#include "commands/strings_edit.h"

#include "base/assert.h"
#include "exec/exec.h"
#include "exec/sliced.h"

static bool edit_fail(struct call *call, struct string_edit *edit)
{
    strings_edit_drop(edit);
    reply_error(call->out, ERR_NO_MEMORY);
    return false;
}

void strings_edit_drop(struct string_edit *edit)
{
    if (edit->own != NULL) {
        blob_drop(edit->own);
        edit->own = NULL;
    }
}

/* ---- At once ---- */

static bool begin_new(struct call *call, struct string_edit *edit)
{
    edit->place.value = string_try_new(call->args.at[1], slice_of("", 0), false);
    edit->bytes = edit->place.value == NULL ? NULL : string_try_edit(&edit->place, edit->len);
    if (edit->bytes != NULL) {
        edit->place = call_insert(call, 1, edit->place.value);
        return true;
    }
    if (edit->place.value != NULL) {
        value_free(edit->place.value, exec_work(call->exec));
    }
    return edit_fail(call, edit);
}

static bool begin_at_once(struct call *call, struct string_edit *edit)
{
    if (edit->place.value == NULL) {
        return begin_new(call, edit);
    }
    edit->bytes = string_try_edit(&edit->place, edit->len);
    return edit->bytes != NULL || edit_fail(call, edit);
}

/* ---- In slices ---- */

/* Copies the old text into the blob, and fills it up with zeros. False: given up. */
static bool fill_own(struct call *call, struct string_edit *edit, struct slice old)
{
    struct blob *own = edit->own;
    while (own->len < old.len) {
        struct slice piece = slice_part(old, own->len, EDIT_PIECE);
        memcpy(own->bytes + own->len, piece.data, piece.len);
        own->len += piece.len;
        if (!call_yield(call)) {
            return false;
        }
    }
    while (own->len < edit->len) {
        size_t left = edit->len - own->len;
        bool is_whole = own->is_region || left <= EDIT_PIECE;
        blob_extend(own, is_whole ? edit->len : own->len + EDIT_PIECE);
        if (!call_yield(call)) {
            return false;
        }
    }
    return true;
}

static bool begin_apart(struct call *call, struct string_edit *edit)
{
    struct string_scratch scratch;
    const struct value *value = edit->place.value;
    struct slice old = value == NULL ? slice_of("", 0) : string_get(value, &scratch);
    edit->own = string_try_new_room(edit->len);
    if (edit->own == NULL) {
        return edit_fail(call, edit);
    }
    edit->bytes = edit->own->bytes;
    if (!fill_own(call, edit, old)) {
        strings_edit_drop(edit);
        return false;
    }
    return true;
}

bool strings_edit_begin(struct call *call, struct string_edit *edit, size_t count)
{
    struct value *value = edit->place.value;
    size_t old_len = value == NULL ? 0 : string_len(value);
    size_t cost = value == NULL ? 0 : string_edit_cost(value, edit->len);
    edit->is_grown = value == NULL || old_len < edit->len;
    edit->len = old_len > edit->len ? old_len : edit->len;
    if (call_slice_editing(call, (cost + count) / EDIT_OF_SIZE)) {
        return false;
    }
    if (call->sliced == NULL) {
        return begin_at_once(call, edit);
    }
    if (cost > 0 || value == NULL || string_blob(value) == NULL) {
        return begin_apart(call, edit);
    }
    edit->bytes = string_try_edit_in_place(value, edit->len);
    return edit->bytes != NULL || edit_fail(call, edit);
}

bool strings_edit_put(struct call *call, struct string_edit *edit, size_t offset, struct slice text)
{
    for (size_t at = 0; at < text.len; at += EDIT_PIECE) {
        struct slice piece = slice_part(text, at, EDIT_PIECE);
        memcpy(edit->bytes + offset + at, piece.data, piece.len);
        if (!call_yield(call)) {
            strings_edit_drop(edit);
            return false;
        }
    }
    return true;
}

/* ---- The end ---- */

/* The key is absent, and was kept so. */
static bool put_new(struct call *call, struct string_edit *edit)
{
    struct place place = {.value = string_try_new(call->args.at[1], slice_of("", 0), false)};
    if (place.value == NULL) {
        return edit_fail(call, edit);
    }
    if (!string_try_put_edited(&place, edit->own)) {
        value_free(place.value, exec_work(call->exec));
        return edit_fail(call, edit);
    }
    edit->own = NULL;
    call_insert(call, 1, place.value);
    return true;
}

bool strings_edit_end(struct call *call, struct string_edit *edit)
{
    if (edit->place.value == NULL) {
        return put_new(call, edit);
    }
    edit->is_gone = !call_edit_done(call, 1, &edit->place);
    if (edit->is_gone || edit->own == NULL) {
        strings_edit_drop(edit);
        return true;
    }
    if (!string_try_put_edited(&edit->place, edit->own)) {
        return edit_fail(call, edit);
    }
    edit->own = NULL;
    return true;
}
