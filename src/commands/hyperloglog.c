/* HyperLogLogs, which are strings in a form of their own (ds/hll.h): PFADD, PFCOUNT, PFMERGE.
 *
 * A dense one is changed in place. A sparse one is copied, changed and stored again: it has at most
 * 3,000 bytes (hll-sparse-max-bytes), may get longer or shorter, and may become dense on the way,
 * so that a mistake in its bytes or want of memory leaves what was there.
 *
 * An estimate is kept in the bytes until registers change. PFCOUNT of one key puts it there, which
 * no replica needs to be told. */
#include "base/buf.h"
#include "base/mem.h"
#include "commands/commands.h"
#include "commands/strings.h"
#include "ds/hll.h"
#include "exec/exec.h"
#include "exec/sliced.h"
#include "types/limits.h"

#define ERR_NOT_HLL "WRONGTYPE Key is not a valid HyperLogLog string value."
#define ERR_CORRUPT "INVALIDOBJ Corrupted HLL object detected"

/* ---- Reading and storing ---- */

/* Whether the value is a HyperLogLog, whose bytes are then borrowed; else the error is in the
 * reply. */
static bool hll_of(struct call *call, const struct value *value, struct slice *bytes)
{
    struct string_scratch scratch;
    *bytes = string_get(value, &scratch);
    if (hll_is_valid(*bytes)) {
        return true;
    }
    reply_error(call->out, ERR_NOT_HLL);
    return false;
}

/* A copy to change, of what is at `place`, or an empty one. False: the error is in the reply. */
static bool edit_init(struct call *call, struct place place, struct hll_edit *edit)
{
    struct slice bytes = slice_of("", 0);
    if (place.value != NULL && !hll_of(call, place.value, &bytes)) {
        return false;
    }
    const struct type_limits *limits = call->family;
    edit->len = place.value == NULL ? HLL_NEW_LEN : bytes.len;
    edit->sparse_max = limits->hll_sparse_bytes;
    edit->cap = hll_edit_cap(edit->len, edit->sparse_max);
    edit->bytes = mem_try_alloc(edit->cap);
    if (edit->bytes == NULL) {
        reply_error(call->out, ERR_NO_MEMORY);
        return false;
    }
    if (place.value == NULL) {
        hll_write_new(edit->bytes);
    } else {
        memcpy(edit->bytes, bytes.data, bytes.len);
    }
    return true;
}

/* Stores the copy under the key at `index`; whether its estimate holds is the caller's to say.
 * False: no memory, the error is in the reply. */
static bool edit_store(struct call *call, uint32_t index, struct place place,
                       const struct hll_edit *edit)
{
    struct slice text = slice_of(edit->bytes, edit->len);
    bool is_new = place.value == NULL;
    bool is_stored = true;
    if (is_new) {
        place.value = string_try_new(call->args.at[index], text, false);
        is_stored = place.value != NULL;
    } else {
        is_stored = string_try_set(&place, text, value_has_expire(place.value));
    }
    /* Edited bytes: what a client sees of the form is that of a string that was changed. */
    if (is_stored && string_try_edit(&place, edit->len) == NULL && is_new) {
        value_free(place.value, exec_work(call->exec));
        is_stored = false;
    }
    if (!is_stored) {
        reply_error(call->out, ERR_NO_MEMORY);
    } else if (is_new) {
        call_insert(call, index, place.value);
    }
    return is_stored;
}

/* ---- PFADD ---- */

/* Counts all elements in, for the key at `place`; see call_edit_yield. HLL_CORRUPT: stopped at
 * once.
 */
static enum hll_result add_all(struct call *call, struct hll_edit *edit, struct place *place)
{
    enum hll_result result = HLL_UNCHANGED;
    for (uint32_t i = 2; i < call->args.count; i++) {
        enum hll_result one = hll_raise(edit, hll_rank_of(call->args.at[i]));
        if (one == HLL_CORRUPT) {
            return one;
        }
        result = one == HLL_CHANGED ? one : result;
        if (!call_edit_yield_at(call, 1, place, i)) {
            break;
        }
    }
    return result;
}

/* Whether the string at `place` is a dense one: that is edited where it is. */
static bool is_dense_at(struct place place)
{
    struct string_scratch scratch;
    if (place.value == NULL) {
        return false;
    }
    struct slice bytes = string_get(place.value, &scratch);
    return hll_is_valid(bytes) && hll_is_dense(bytes);
}

static void pfadd_dense(struct call *call, struct place place)
{
    struct hll_edit edit = {.len = HLL_DENSE_LEN, .cap = HLL_DENSE_LEN};
    edit.bytes = string_try_edit(&place, HLL_DENSE_LEN);
    if (edit.bytes == NULL) {
        reply_error(call->out, ERR_NO_MEMORY);
        return;
    }
    bool is_changed = add_all(call, &edit, &place) == HLL_CHANGED;
    is_changed &= call_edit_done(call, 1, &place);
    reply_integer(call->out, is_changed);
    if (is_changed) {
        hll_forget(edit.bytes);
        call_changed(call, 1, "pfadd");
    }
}

/* PFADD key [element ...] */
static void pfadd_run(struct call *call)
{
    struct place place;
    struct hll_edit edit;
    if (!call_find_place(call, 1, VALUE_STRING, &place) ||
        call_slice_editing(call, call->args.count)) {
        return;
    }
    if (is_dense_at(place)) {
        pfadd_dense(call, place);
        return;
    }
    if (!edit_init(call, place, &edit)) {
        return;
    }
    bool is_new = place.value == NULL;
    enum hll_result result = add_all(call, &edit, &place);
    bool is_there = is_new || call_edit_done(call, 1, &place);
    hll_forget(edit.bytes);
    if (!is_there) {
        reply_integer(call->out, 0); /* It went with its database. */
    } else if (result == HLL_CORRUPT) {
        reply_error(call->out, ERR_CORRUPT);
    } else if (result == HLL_UNCHANGED && place.value != NULL) {
        reply_integer(call->out, 0);
    } else if (edit_store(call, 1, place, &edit)) {
        reply_integer(call->out, 1);
        call_changed(call, 1, "pfadd");
    }
    mem_free(edit.bytes);
}

/* ---- PFCOUNT and PFMERGE ---- */

/* Merges the key at `index`, if it is there. False: the error is in the reply. */
static bool merge_key(struct call *call, uint32_t index, uint8_t registers[HLL_REGISTERS],
                      bool *has_dense)
{
    struct value *value;
    struct slice bytes;
    if (!call_find(call, index, VALUE_STRING, &value)) {
        return false;
    }
    if (value == NULL) {
        return true;
    }
    if (!hll_of(call, value, &bytes)) {
        return false;
    }
    *has_dense |= hll_is_dense(bytes);
    if (!hll_merge(registers, bytes)) {
        reply_error(call->out, ERR_CORRUPT);
        return false;
    }
    return true;
}

/* Merges the keys from `first` on. False: that will be done later, or the error is in the reply. */
static bool merge_keys(struct call *call, uint32_t first, uint8_t registers[HLL_REGISTERS],
                       bool *has_dense)
{
    uint32_t end = call->args.count;
    if (call_slice_keys(call, (struct key_row){.first = first, .step = 1, .end = end})) {
        return false;
    }
    memset(registers, 0, HLL_REGISTERS);
    *has_dense = false;
    for (uint32_t i = first; i < end; i++) {
        if (!merge_key(call, i, registers, has_dense) || !call_yield(call)) {
            return false;
        }
    }
    return true;
}

/* PFCOUNT of one key: the stored estimate, or a new one that is stored if that is possible. */
static void pfcount_one(struct call *call)
{
    struct value *value;
    struct slice bytes;
    uint64_t estimate = 0;
    if (!call_find(call, 1, VALUE_STRING, &value) ||
        (value != NULL && !hll_of(call, value, &bytes))) {
        return;
    }
    if (value == NULL || hll_cached(bytes, &estimate)) {
        reply_count(call->out, estimate);
        return;
    }
    uint8_t registers[HLL_REGISTERS] = {0};
    if (!hll_merge(registers, bytes)) {
        reply_error(call->out, ERR_CORRUPT);
        return;
    }
    estimate = hll_estimate(registers);
    struct place place = call_peek_place(call, 1, FIND_NO_TOUCH);
    char *own = place.value == NULL ? NULL : string_try_edit(&place, bytes.len);
    if (own != NULL) {
        hll_cache(own, estimate);
    }
    reply_count(call->out, estimate);
}

/* PFCOUNT key [key ...] */
static void pfcount_run(struct call *call)
{
    uint8_t registers[HLL_REGISTERS];
    bool has_dense;
    if (call->args.count == 2) {
        pfcount_one(call);
    } else if (merge_keys(call, 1, registers, &has_dense)) {
        reply_count(call->out, hll_estimate(registers));
    }
}

/* Raises every register of the copy. False: it is corrupt. */
static bool raise_all(struct hll_edit *edit, const uint8_t registers[HLL_REGISTERS])
{
    for (uint32_t i = 0; i < HLL_REGISTERS; i++) {
        struct hll_rank rank = {.index = i, .value = registers[i]};
        if (rank.value > 0 && hll_raise(edit, rank) == HLL_CORRUPT) {
            return false;
        }
    }
    return true;
}

/* PFMERGE destination [source ...] */
static void pfmerge_run(struct call *call)
{
    uint8_t registers[HLL_REGISTERS];
    bool has_dense;
    struct place place;
    struct hll_edit edit;
    if (!merge_keys(call, 1, registers, &has_dense) ||
        !call_find_place(call, 1, VALUE_STRING, &place) || !edit_init(call, place, &edit)) {
        return;
    }
    bool is_sparse = !hll_is_dense(slice_of(edit.bytes, edit.len));
    hll_forget(edit.bytes);
    if ((has_dense && is_sparse && !hll_densify(&edit)) || !raise_all(&edit, registers)) {
        reply_error(call->out, ERR_CORRUPT);
    } else if (edit_store(call, 1, place, &edit)) {
        reply_ok(call->out);
        call_changed(call, 1, "pfadd");
    }
    mem_free(edit.bytes);
}

/* ---- PFDEBUG and PFSELFTEST ---- */

static void pfdebug_decode(struct call *call, struct slice bytes)
{
    struct buf text;
    struct hll_run run;
    size_t len;
    if (hll_is_dense(bytes)) {
        reply_error(call->out, "ERR HLL encoding is not sparse");
        return;
    }
    buf_init(&text);
    for (size_t at = HLL_HEAD_LEN; (len = hll_sparse_next(bytes, at, &run)) > 0; at += len) {
        buf_append_text(&text, at == HLL_HEAD_LEN ? "" : " ");
        if (run.kind == 'v') {
            buf_printf(&text, "v:%u,%u", run.value, run.count);
        } else {
            buf_printf(&text, "%c:%u", run.kind, run.count);
        }
    }
    reply_bulk(call->out, buf_slice(&text));
    buf_deinit(&text);
}

/* Makes the key's bytes dense. False: the error is in the reply. */
static bool pfdebug_densify(struct call *call, struct place place)
{
    struct hll_edit edit;
    if (!edit_init(call, place, &edit)) {
        return false;
    }
    bool is_done = hll_densify(&edit);
    if (!is_done) {
        reply_error(call->out, ERR_CORRUPT);
    } else {
        is_done = edit_store(call, 2, place, &edit);
    }
    mem_free(edit.bytes);
    if (is_done) {
        call_changed(call, 2, NULL);
    }
    return is_done;
}

static void pfdebug_getreg(struct call *call, struct slice bytes)
{
    uint8_t registers[HLL_REGISTERS] = {0};
    if (!hll_merge(registers, bytes)) {
        reply_error(call->out, ERR_CORRUPT);
        return;
    }
    reply_array(call->out, HLL_REGISTERS);
    for (uint32_t i = 0; i < HLL_REGISTERS; i++) {
        reply_integer(call->out, registers[i]);
    }
}

/* PFDEBUG subcommand key */
static void pfdebug_run(struct call *call)
{
    struct place place;
    struct slice bytes;
    if (!call_find_place(call, 2, VALUE_STRING, &place)) {
        return;
    }
    if (place.value == NULL) {
        reply_error(call->out, "ERR The specified key does not exist");
        return;
    }
    if (!hll_of(call, place.value, &bytes)) {
        return;
    }
    bool is_dense = hll_is_dense(bytes);
    if (call_is(call, 1, "GETREG")) {
        pfdebug_getreg(call, bytes);
    } else if (call_is(call, 1, "DECODE")) {
        pfdebug_decode(call, bytes);
    } else if (call_is(call, 1, "ENCODING")) {
        reply_status(call->out, is_dense ? "dense" : "sparse");
    } else if (!call_is(call, 1, "TODENSE")) {
        struct slice word = slice_part(call->args.at[1], 0, 128);
        reply_errorf(call->out, "ERR Unknown PFDEBUG subcommand '%.*s'", (int)word.len, word.data);
    } else if (is_dense || pfdebug_densify(call, place)) {
        reply_integer(call->out, !is_dense);
    }
}

/* PFSELFTEST: estimates of known sets, sparse and dense, stay within four standard errors. */
static void pfselftest_run(struct call *call)
{
    enum { ELEMENTS = 20000, ERROR_PER_MILLE = 33 };
    char bytes[HLL_DENSE_LEN];
    struct hll_edit edit = {
        .bytes = bytes, .len = HLL_NEW_LEN, .cap = sizeof(bytes), .sparse_max = sizeof(bytes) / 4};
    hll_write_new(bytes);
    for (uint64_t i = 1; i <= ELEMENTS; i++) {
        hll_raise(&edit, hll_rank_of(slice_of(&i, sizeof(i))));
        if ((i & (i - 1)) != 0 && i != ELEMENTS) {
            continue;
        }
        uint8_t registers[HLL_REGISTERS] = {0};
        bool is_whole = hll_merge(registers, slice_of(bytes, edit.len));
        uint64_t estimate = hll_estimate(registers);
        uint64_t off = estimate > i ? estimate - i : i - estimate;
        if (!is_whole || off * 1000 > i * ERROR_PER_MILLE + 1000) {
            reply_error(call->out, "ERR TESTFAILED the estimate is too far off");
            return;
        }
    }
    reply_ok(call->out);
}

static const struct command hyperloglog_rows[] = {
    {.name = "pfadd",
     .run = pfadd_run,
     .arity = -2,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_FAST,
     .categories = ACL_HYPERLOGLOG,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_INSERT}},
     .since = "2.8.9",
     .group = "hyperloglog",
     .complexity = "O(1) for each element.",
     .summary = "Counts elements into a HyperLogLog, which is created when the key is missing.",
     .syntax = "key [element ...]"},
    {.name = "pfcount",
     .run = pfcount_run,
     .arity = -2,
     .flags = CMD_READONLY | CMD_SLICES_KEYS,
     .categories = ACL_HYPERLOGLOG,
     .keys = {{.first = 1,
               .last = -1,
               .access = KEY_RW,
               .use = KEY_USE_ACCESS,
               .notes = "RW because it may change the internal representation of the key, and "
                        "propagate to replicas"}},
     .since = "2.8.9",
     .group = "hyperloglog",
     .complexity = "O(1) for one key with a stored estimate, else 16,384 steps for each key.",
     .summary = "Estimates how many distinct elements one or several HyperLogLogs have seen.",
     .syntax = "key ..."},
    {.name = "pfmerge",
     .run = pfmerge_run,
     .arity = -2,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_SLICES_KEYS,
     .categories = ACL_HYPERLOGLOG,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_INSERT},
              {.first = 2, .last = -1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "2.8.9",
     .group = "hyperloglog",
     .complexity = "O(N) where N is the number of keys, with a high constant.",
     .summary = "Merges HyperLogLogs into one.",
     .syntax = "destkey:key sourcekey:key ..."},
    {.name = "pfdebug",
     .run = pfdebug_run,
     .arity = 3,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_ADMIN | CMD_SYSTEM,
     .categories = ACL_HYPERLOGLOG,
     .keys = {{.first = 2, .access = KEY_RW, .use = KEY_USE_ACCESS}},
     .since = "2.8.9",
     .group = "hyperloglog",
     .complexity = "O(1), 16,384 steps.",
     .summary = "Shows the inside of a HyperLogLog.",
     .syntax = "subcommand key"},
    {.name = "pfselftest",
     .run = pfselftest_run,
     .arity = 1,
     .flags = CMD_ADMIN | CMD_SYSTEM,
     .categories = ACL_HYPERLOGLOG,
     .since = "2.8.9",
     .group = "hyperloglog",
     .complexity = "O(1), some milliseconds.",
     .summary = "Checks the arithmetic of HyperLogLogs.",
     .syntax = ""},
};

void commands_register_hyperloglog(struct exec *exec, struct type_limits *limits)
{
    exec_register(exec, hyperloglog_rows, sizeof(hyperloglog_rows) / sizeof(hyperloglog_rows[0]),
                  limits);
}
