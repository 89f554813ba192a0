/* What handlers call: keys, arguments, common errors. Thin by intent: each helper is the one place
 * where a rule of all commands lives (which lookup counts as a hit, what a wrong type answers). */
#include "exec/call.h"

#include <ctype.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/num.h"
#include "exec/exec_internal.h"
#include "resp/parse.h"

enum { QUOTED_LEN_MAX = 128 };

/* ---- Keys ---- */

uint64_t call_hash(const struct call *call, uint32_t index)
{
    DEBUG_ASSERT(index != 0 && index < call->args.count);
    if (index == call->first_key) {
        return call->first_hash;
    }
    return db_hash(call->db, call->args.at[index]);
}

static inline unsigned touch_flags(const struct call *call)
{
    return (call->session->flags & SESSION_NO_TOUCH) != 0 ? FIND_NO_TOUCH : 0;
}

struct value *call_peek(struct call *call, uint32_t index, unsigned find_flags)
{
    struct slice key = call->args.at[index];
    struct value *value = db_find(call->db, key, call_hash(call, index), call->now->wall_ms,
                                  find_flags | touch_flags(call));
    if (value == NULL && (find_flags & FIND_READ) != 0 && call->sliced == NULL) {
        exec_report_miss(call->exec, call->db, key);
    }
    return value;
}

struct place call_peek_place(struct call *call, uint32_t index, unsigned find_flags)
{
    struct slice key = call->args.at[index];
    struct place place = db_find_place(call->db, key, call_hash(call, index), call->now->wall_ms,
                                       find_flags | touch_flags(call));
    if (place.value == NULL && (find_flags & FIND_READ) != 0) {
        exec_report_miss(call->exec, call->db, key);
    }
    return place;
}

int64_t call_hidden_ms(const struct call *call)
{
    return db_hidden_ms(call->db, call->now->wall_ms);
}

static inline bool is_of_kind(struct call *call, const struct value *value, enum value_kind kind)
{
    if (value != NULL && value_kind(value) != kind) {
        reply_error(call->out, ERR_WRONG_TYPE);
        return false;
    }
    return true;
}

bool call_find(struct call *call, uint32_t index, enum value_kind kind, struct value **value)
{
    *value = call_peek(call, index, FIND_READ);
    return is_of_kind(call, *value, kind);
}

bool call_find_place(struct call *call, uint32_t index, enum value_kind kind, struct place *place)
{
    *place = call_peek_place(call, index, 0);
    return is_of_kind(call, place->value, kind);
}

struct place call_insert(struct call *call, uint32_t index, struct value *take_value)
{
    uint64_t hash = call_hash(call, index);
    struct place place = call_peek_place(call, index, FIND_NO_TOUCH);
    if (place.value == NULL) {
        return db_insert(call->db, hash, take_value);
    }
    db_replace(call->db, &place, take_value);
    return place;
}

void call_remove(struct call *call, uint32_t index, struct place place)
{
    db_remove(call->db, call_hash(call, index), place);
}

struct blob *call_take_blob(struct call *call, uint32_t index)
{
    if (call->blobs != NULL && call->blobs[index] != NULL) {
        return blob_share(call->blobs[index]);
    }
    if (call->parser == NULL || call->args.at[index].len < BLOB_LEN_MIN) {
        return NULL;
    }
    return resp_parse_take_blob(call->parser, index);
}

/* ---- Arguments ---- */

bool call_i64(struct call *call, uint32_t index, int64_t *out, const char *error)
{
    if (num_parse_i64(call->args.at[index], out)) {
        return true;
    }
    reply_error(call->out, error != NULL ? error : ERR_NOT_INTEGER);
    return false;
}

bool call_double(struct call *call, uint32_t index, double *out, const char *error)
{
    if (num_parse_double(call->args.at[index], out)) {
        return true;
    }
    reply_error(call->out, error != NULL ? error : ERR_NOT_FLOAT);
    return false;
}

bool call_range_i64(struct call *call, uint32_t index, int64_t min, int64_t max, int64_t *out,
                    const char *error)
{
    if (!call_i64(call, index, out, error)) {
        return false;
    }
    if (*out >= min && *out <= max) {
        return true;
    }
    if (error != NULL) {
        reply_error(call->out, error);
    } else {
        reply_errorf(call->out, "ERR value is out of range, value must between %lld and %lld",
                     (long long)min, (long long)max);
    }
    return false;
}

/* ---- Errors ---- */

void call_refuse(struct call *call, const char *error)
{
    if (call->entry != NULL && call->entry == call->exec->exec_entry) {
        reply_errorf(call->out, "EXECABORT Transaction discarded because of: %s", error);
    } else {
        reply_error(call->out, error);
    }
}

void call_arity_error(struct call *call)
{
    char text[EXEC_NAME_LEN_MAX * 2 + 64];
    snprintf(text, sizeof(text), "%swrong number of arguments for '%s' command",
             call->entry == call->exec->exec_entry ? "" : "ERR ", call->entry->full_name);
    call_refuse(call, text);
}

/* The container's name in capitals as HELP is asked for. */
static void upper_name(const struct call *call, char *out, size_t out_len)
{
    struct slice name = call->args.at[0];
    size_t len = name.len < out_len - 1 ? name.len : out_len - 1;
    for (size_t i = 0; i < len; i++) {
        out[i] = (char)toupper((unsigned char)name.data[i]);
    }
    out[len] = '\0';
}

static void subcommand_error(struct call *call, const char *what)
{
    char name[EXEC_NAME_LEN_MAX + 1];
    upper_name(call, name, sizeof(name));
    struct slice word = call->args.count > 1 ? call->args.at[1] : slice_from_text("");
    size_t max = word.len < QUOTED_LEN_MAX ? word.len : QUOTED_LEN_MAX;
    int len = max != 0 ? (int)strnlen(word.data, max) : 0;
    reply_errorf(call->out, "ERR %s '%.*s'. Try %s HELP.", what, len, max != 0 ? word.data : "",
                 name);
}

void call_unknown_subcommand(struct call *call)
{
    subcommand_error(call, "unknown subcommand");
}

void call_subcommand_syntax_error(struct call *call)
{
    subcommand_error(call, "unknown subcommand or wrong number of arguments for");
}

void call_help(struct call *call, const char *const *lines)
{
    char name[EXEC_NAME_LEN_MAX + 1];
    upper_name(call, name, sizeof(name));
    size_t count = 0;
    while (lines[count] != NULL) {
        count++;
    }
    char first[EXEC_NAME_LEN_MAX + 80];
    snprintf(first, sizeof(first),
             "%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", name);
    reply_array(call->out, count + 3);
    reply_status(call->out, first);
    for (size_t i = 0; i < count; i++) {
        reply_status(call->out, lines[i]);
    }
    reply_status(call->out, "HELP");
    reply_status(call->out, "    Prints this help.");
}
