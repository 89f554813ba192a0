/* FUNCTION and FCALL: the commands of libraries.
 *
 * The payload of FUNCTION DUMP is that of a snapshot's functions with DUMP's footer:
 *
 *     0xF5 | length | code ...    once per library, texts as RDB writes them
 *     version (2 bytes) | CRC-64 (8 bytes)
 *
 * FUNCTION RESTORE builds all libraries aside before it changes anything. */
#include <lzf.h>
#include <string.h>

#include "base/clock.h"
#include "base/crc.h"
#include "base/glob.h"
#include "base/mem.h"
#include "script/library.h"

enum {
    OPCODE_FUNCTION = 0xF5,
    DUMP_VERSION = 10,
    DUMP_VERSION_MAX = 12,
    FOOTER_LEN = 10,
    RESTORE_LIBRARIES_MAX = 10000,
};

/* Tells listeners the command as it came: libraries are no keys. */
static void note_change(struct call *call)
{
    exec_stats(call->exec)->dirty++;
    call_effect(call, call->args.at, call->args.count);
}

/* ---- FCALL ----------------------------------------------------------------------------------- */

static void fcall_generic(struct call *call, bool is_read_only)
{
    struct script *script = call->family;
    const struct function *function = libraries_find_function(script->libraries, call->args.at[1]);
    if (function == NULL) {
        reply_error(call->out, "ERR Function not found");
        return;
    }
    uint32_t key_count;
    if (!script_read_key_count(call, "ERR Bad number of keys provided", &key_count)) {
        return;
    }
    struct script_run run = {
        .script = script,
        .vm = &script->functions,
        .name = function->name,
        .command = call->command->name,
        .flags = function->flags,
        .function = function->reference,
        .arguments = call->args.at + 3,
        .key_count = key_count,
        .argument_count = call->args.count - 3,
        .is_function = true,
        .is_read_only = is_read_only || (function->flags & SCRIPT_NO_WRITES) != 0,
    };
    if (run_is_allowed(call, &run)) {
        run_start(call, &run);
    }
}

static void fcall_run(struct call *call)
{
    fcall_generic(call, false);
}

static void fcall_ro_run(struct call *call)
{
    fcall_generic(call, true);
}

/* ---- LOAD, DELETE, FLUSH --------------------------------------------------------------------- */

static void function_load_run(struct call *call)
{
    bool may_replace = false;
    for (uint32_t i = 2; i + 1 < call->args.count; i++) {
        struct slice option = call->args.at[i];
        if (!slice_is(option, "replace")) {
            reply_errorf(call->out, "ERR Unknown option given: %.*s", (int)option.len, option.data);
            return;
        }
        may_replace = true;
    }
    struct buf error;
    buf_init(&error);
    struct slice text = call->args.at[call->args.count - 1], name;
    if (!libraries_load(call->family, text, may_replace, &error)) {
        script_reply_error(call, &error);
    } else {
        bool is_named = library_read_name(text, &name, &error);
        reply_bulk(call->out, is_named ? name : slice_of("", 0));
        note_change(call);
    }
    buf_deinit(&error);
}

static void function_delete_run(struct call *call)
{
    struct script *script = call->family;
    struct library *library = libraries_find(script->libraries, call->args.at[2]);
    if (library == NULL) {
        reply_error(call->out, "ERR Library not found");
        return;
    }
    libraries_take(script, library);
    library_free(script, library);
    reply_ok(call->out);
    note_change(call);
}

static void function_flush_run(struct call *call)
{
    static const char error[] = "ERR FUNCTION FLUSH only supports SYNC|ASYNC option";
    bool is_patient;
    if (script_read_flush(call, error, &is_patient)) {
        libraries_flush(call->family);
        note_change(call);
        retire_reply(call, is_patient);
    }
}

static void function_kill_run(struct call *call)
{
    run_kill(call, true);
}

/* ---- LIST ------------------------------------------------------------------------------------ */

static void reply_flags(struct call *call, uint32_t flags)
{
    reply_set(call->out, (size_t)__builtin_popcount(flags));
    for (unsigned i = 0; script_flag_name(i) != NULL; i++) {
        if ((flags & 1U << i) != 0) {
            reply_status(call->out, script_flag_name(i));
        }
    }
}

static void reply_function(struct call *call, const struct function *function)
{
    reply_map(call->out, 3);
    reply_bulk_text(call->out, "name");
    reply_bulk_text(call->out, function->name);
    reply_bulk_text(call->out, "description");
    if (function->description != NULL) {
        reply_bulk_text(call->out, function->description);
    } else {
        reply_null(call->out);
    }
    reply_bulk_text(call->out, "flags");
    reply_flags(call, function->flags);
}

static void reply_library(struct call *call, const struct library *library, bool has_code)
{
    reply_map(call->out, has_code ? 4 : 3);
    reply_bulk_text(call->out, "library_name");
    reply_bulk_text(call->out, library->name);
    reply_bulk_text(call->out, "engine");
    reply_bulk_text(call->out, "LUA");
    reply_bulk_text(call->out, "functions");
    reply_array(call->out, library->function_count);
    for (const struct function *at = library->functions; at != NULL; at = at->next) {
        reply_function(call, at);
    }
    if (has_code) {
        reply_bulk_text(call->out, "library_code");
        reply_bulk(call->out, slice_of(library->code, library->code_len));
    }
}

struct list_options {
    bool has_code, has_pattern;
    struct slice pattern;
};

static bool read_list_options(struct call *call, struct list_options *out)
{
    *out = (struct list_options){0};
    for (uint32_t i = 2; i < call->args.count; i++) {
        struct slice word = call->args.at[i];
        if (!out->has_code && slice_is(word, "withcode")) {
            out->has_code = true;
        } else if (!out->has_pattern && slice_is(word, "libraryname")) {
            if (++i == call->args.count) {
                reply_error(call->out, "ERR library name argument was not given");
                return false;
            }
            out->has_pattern = true;
            out->pattern = call->args.at[i];
        } else {
            reply_errorf(call->out, "ERR Unknown argument %.*s", (int)word.len, word.data);
            return false;
        }
    }
    return true;
}

static void function_list_run(struct call *call)
{
    const struct script *script = call->family;
    const struct libraries *libraries = script->libraries;
    struct list_options options;
    if (!read_list_options(call, &options)) {
        return;
    }
    struct reply_mark mark;
    size_t count = 0;
    reply_begin(call->out, &mark, '*');
    for (size_t i = 0; i < libraries->count; i++) {
        struct slice name = slice_from_text(libraries->at[i]->name);
        if (!options.has_pattern || glob_match_nocase(options.pattern, name)) {
            reply_library(call, libraries->at[i], options.has_code);
            count++;
        }
    }
    reply_end(call->out, &mark, count);
}

/* ---- STATS ----------------------------------------------------------------------------------- */

static void reply_running(struct call *call, const struct script_run *run)
{
    const struct script *script = run->script;
    reply_map(call->out, 3);
    reply_bulk_text(call->out, "name");
    reply_bulk_text(call->out, run->name);
    reply_bulk_text(call->out, "command");
    reply_array(call->out, script->slow_count);
    reply_raw(call->out, buf_slice(&script->slow_words));
    reply_bulk_text(call->out, "duration_ms");
    reply_integer(call->out, (clock_mono_us() - run->start_us) / 1000);
}

static void function_stats_run(struct call *call)
{
    const struct script *script = call->family;
    if (script->run != NULL && !script->run->is_function) {
        run_refuse_busy(call->family, call);
        return;
    }
    reply_map(call->out, 2);
    reply_bulk_text(call->out, "running_script");
    if (script->run != NULL) {
        reply_running(call, script->run);
    } else {
        reply_null(call->out);
    }
    reply_bulk_text(call->out, "engines");
    reply_map(call->out, 1);
    reply_bulk_text(call->out, "LUA");
    reply_map(call->out, 2);
    reply_bulk_text(call->out, "libraries_count");
    reply_count(call->out, script->libraries->count);
    reply_bulk_text(call->out, "functions_count");
    reply_count(call->out, script->libraries->function_count);
}

/* ---- DUMP ------------------------------------------------------------------------------------ */

static void append_len(struct buf *out, size_t len)
{
    if (len < 1U << 6) {
        buf_append_byte(out, (char)len);
    } else if (len < 1U << 14) {
        buf_append_byte(out, (char)(0x40 | len >> 8));
        buf_append_byte(out, (char)(len & 0xFF));
    } else {
        buf_append_byte(out, (char)0x80);
        for (int shift = 24; shift >= 0; shift -= 8) {
            buf_append_byte(out, (char)(len >> shift & 0xFF));
        }
    }
}

static void function_dump_run(struct call *call)
{
    const struct script *script = call->family;
    const struct libraries *libraries = script->libraries;
    struct buf out;
    buf_init(&out);
    for (size_t i = 0; i < libraries->count; i++) {
        const struct library *library = libraries->at[i];
        buf_append_byte(&out, (char)OPCODE_FUNCTION);
        append_len(&out, library->code_len);
        buf_append(&out, slice_of(library->code, library->code_len));
    }
    buf_append_byte(&out, DUMP_VERSION);
    buf_append_byte(&out, 0);
    uint64_t crc = crc64(0, buf_slice(&out));
    for (int i = 0; i < 8; i++) {
        buf_append_byte(&out, (char)(crc >> 8 * i & 0xFF));
    }
    reply_bulk(call->out, buf_slice(&out));
    buf_deinit(&out);
}

/* ---- RESTORE --------------------------------------------------------------------------------- */

static bool payload_is_whole(struct slice payload)
{
    if (payload.len < FOOTER_LEN) {
        return false;
    }
    const unsigned char *footer = (const unsigned char *)payload.data + payload.len - FOOTER_LEN;
    unsigned version = footer[0] | (unsigned)footer[1] << 8;
    uint64_t stored = 0;
    for (int i = 0; i < 8; i++) {
        stored |= (uint64_t)footer[2 + i] << 8 * i;
    }
    return version <= DUMP_VERSION_MAX &&
           crc64(0, slice_part(payload, 0, payload.len - 8)) == stored;
}

static bool take_byte(struct slice *rest, unsigned *byte)
{
    if (rest->len == 0) {
        return false;
    }
    *byte = (unsigned char)*rest->data;
    *rest = slice_part(*rest, 1, SIZE_MAX);
    return true;
}

static bool take_number(struct slice *rest, unsigned bytes, size_t *number)
{
    for (unsigned byte; bytes > 0; bytes--) {
        if (!take_byte(rest, &byte)) {
            return false;
        }
        *number = *number << 8 | byte;
    }
    return true;
}

/* A length; `*special` holds the kind of text when it is none. */
static bool take_len(struct slice *rest, size_t *len, int *special)
{
    unsigned first;
    *special = -1;
    if (!take_byte(rest, &first)) {
        return false;
    }
    *len = first & 0x3F;
    switch (first >> 6) {
    case 0:
        return true;
    case 1:
        return take_number(rest, 1, len);
    case 2:
        *len = 0;
        return (first == 0x80 && take_number(rest, 4, len)) ||
               (first == 0x81 && take_number(rest, 8, len));
    default:
        *special = (int)*len;
        return true;
    }
}

/* Unpacks a compressed text into `out`. */
static bool take_packed(struct slice *rest, struct buf *out)
{
    enum { FACTOR_MAX = 300 }; /* More than LZF can reach. */
    size_t packed = 0, len = 0;
    int special;
    if (!take_len(rest, &packed, &special) || special >= 0 || !take_len(rest, &len, &special) ||
        special >= 0 || packed > rest->len || len > packed * FACTOR_MAX || len > UINT32_MAX) {
        return false;
    }
    char *room = buf_reserve(out, len + 1);
    unsigned got = lzf_decompress(rest->data, (unsigned)packed, room, (unsigned)len);
    out->len += got;
    *rest = slice_part(*rest, packed, SIZE_MAX);
    return got == len;
}

static bool take_text(struct slice *rest, struct buf *out)
{
    enum { PACKED = 3 };
    size_t len;
    int special;
    buf_clear(out);
    if (!take_len(rest, &len, &special)) {
        return false;
    }
    if (special == PACKED) {
        return take_packed(rest, out);
    }
    if (special >= 0 || len > rest->len) {
        return false;
    }
    buf_append(out, slice_part(*rest, 0, len));
    *rest = slice_part(*rest, len, SIZE_MAX);
    return true;
}

enum restore_policy { RESTORE_APPEND, RESTORE_REPLACE, RESTORE_FLUSH };

/* Libraries that a RESTORE has built and not yet put in place, and those that they replace. */
struct restore {
    struct script *script;
    enum restore_policy policy;
    struct library **at;
    size_t count;
};

static void restore_drop(struct restore *restore)
{
    for (size_t i = 0; i < restore->count; i++) {
        library_free(restore->script, restore->at[i]);
    }
    mem_free(restore->at);
}

/* Whether a library of that name is there, or about to be. */
static bool is_name_taken(const struct restore *restore, struct slice name)
{
    for (size_t i = 0; i < restore->count; i++) {
        if (slice_equal(slice_from_text(restore->at[i]->name), name)) {
            return true;
        }
    }
    return restore->policy == RESTORE_APPEND &&
           libraries_find(restore->script->libraries, name) != NULL;
}

static bool restore_build(struct restore *restore, struct slice text, struct buf *error)
{
    struct slice name;
    if (!library_read_name(text, &name, error)) {
        return false;
    }
    if (is_name_taken(restore, name)) {
        buf_printf(error, "ERR Library %.*s already exists", (int)name.len, name.data);
        return false;
    }
    struct library *library = library_build(restore->script, text, error);
    if (library == NULL) {
        return false;
    }
    restore->at = mem_realloc(restore->at, (restore->count + 1) * sizeof(struct library *));
    restore->at[restore->count++] = library;
    return true;
}

static bool restore_read(struct restore *restore, struct slice rest, struct buf *error)
{
    struct buf text;
    buf_init(&text);
    bool is_good = true;
    while (is_good && rest.len != 0) {
        unsigned opcode;
        if (!take_byte(&rest, &opcode) || opcode != OPCODE_FUNCTION) {
            buf_append_text(error, "ERR given type is not a function");
            is_good = false;
        } else if (!take_text(&rest, &text) || restore->count == RESTORE_LIBRARIES_MAX) {
            buf_append_text(error, "ERR Failed loading library data");
            is_good = false;
        } else {
            is_good = restore_build(restore, buf_slice(&text), error);
        }
    }
    buf_deinit(&text);
    return is_good;
}

/* Whether a library that stays, or another new one, has a function of that name. */
static bool is_function_taken(const struct restore *restore, const struct library *library,
                              const char *name)
{
    const struct function *held =
        libraries_find_function(restore->script->libraries, slice_from_text(name));
    if (held != NULL && restore->policy != RESTORE_FLUSH) {
        bool is_replaced = false;
        for (size_t i = 0; i < restore->count; i++) {
            is_replaced |= strcmp(restore->at[i]->name, held->library->name) == 0;
        }
        if (!is_replaced) {
            return true;
        }
    }
    for (size_t i = 0; i < restore->count && restore->at[i] != library; i++) {
        for (const struct function *at = restore->at[i]->functions; at != NULL; at = at->next) {
            if (strcasecmp(at->name, name) == 0) {
                return true;
            }
        }
    }
    return false;
}

static bool restore_check(const struct restore *restore, struct buf *error)
{
    for (size_t i = 0; i < restore->count; i++) {
        const struct function *at = restore->at[i]->functions;
        for (; at != NULL; at = at->next) {
            if (is_function_taken(restore, restore->at[i], at->name)) {
                buf_printf(error, "ERR Function %s already exists", at->name);
                return false;
            }
        }
    }
    return true;
}

static void restore_commit(struct restore *restore)
{
    struct script *script = restore->script;
    if (restore->policy == RESTORE_FLUSH) {
        libraries_clear(script);
    }
    for (size_t i = 0; i < restore->count; i++) {
        struct library *old =
            libraries_find(script->libraries, slice_from_text(restore->at[i]->name));
        if (old != NULL) {
            libraries_take(script, old);
            library_free(script, old);
        }
    }
    libraries_add(script, restore->at, restore->count);
    mem_free(restore->at);
}

static bool read_policy(struct call *call, enum restore_policy *policy)
{
    *policy = RESTORE_APPEND;
    if (call->args.count == 3) {
        return true;
    }
    if (call->args.count > 4) {
        call_subcommand_syntax_error(call);
        return false;
    }
    if (call_is(call, 3, "replace")) {
        *policy = RESTORE_REPLACE;
    } else if (call_is(call, 3, "flush")) {
        *policy = RESTORE_FLUSH;
    } else if (!call_is(call, 3, "append")) {
        reply_error(call->out, "ERR Wrong restore policy given, value should be either FLUSH, "
                               "APPEND or REPLACE.");
        return false;
    }
    return true;
}

static void function_restore_run(struct call *call)
{
    struct restore restore = {.script = call->family};
    struct slice payload = call->args.at[2];
    if (!read_policy(call, &restore.policy)) {
        return;
    }
    if (!payload_is_whole(payload)) {
        reply_error(call->out, "ERR DUMP payload version or checksum are wrong");
        return;
    }
    struct buf error;
    buf_init(&error);
    if (restore_read(&restore, slice_part(payload, 0, payload.len - FOOTER_LEN), &error) &&
        restore_check(&restore, &error)) {
        restore_commit(&restore);
        reply_ok(call->out);
        note_change(call);
    } else {
        restore_drop(&restore);
        script_reply_error(call, &error);
    }
    buf_deinit(&error);
}

static void function_help_run(struct call *call)
{
    static const char *const lines[] = {
        "LOAD [REPLACE] <FUNCTION CODE>",
        "    Load a library, whose first line names it.",
        "DELETE <LIBRARY NAME>",
        "    Delete a library.",
        "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
        "    Tell of the libraries: name, engine, functions, and the code if asked for.",
        "STATS",
        "    Tell which function is being executed, since when, and of the engine.",
        "KILL",
        "    End the function that is being executed, when it has not written.",
        "FLUSH [ASYNC|SYNC]",
        "    Delete all libraries.",
        "DUMP",
        "    Return all libraries as one payload.",
        "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
        "    Bring the libraries of a payload back. What is there",
        "    * FLUSH: is deleted.",
        "    * APPEND: stays; a library of the same name is an error. The default.",
        "    * REPLACE: is replaced where the name is the same.",
        NULL,
    };
    call_help(call, lines);
}

/* ---- Rows ------------------------------------------------------------------------------------ */

static const struct command fcall_rows[] = {
    {.name = "fcall",
     .run = fcall_run,
     .arity = -3,
     .flags = SCRIPT_RUN_FLAGS,
     .categories = ACL_SCRIPTING,
     .keys = {{SCRIPT_KEYS_RW, .notes = SCRIPT_NOTES_RW}},
     .since = "7.0.0",
     .group = "scripting",
     .complexity = "Depends on the function that is executed.",
     .syntax = "function numkeys:integer [key ...] [arg ...]",
     .summary = "Calls a function."},
    {.name = "fcall_ro",
     .run = fcall_ro_run,
     .arity = -3,
     .flags = SCRIPT_RUN_FLAGS | CMD_READONLY,
     .categories = ACL_SCRIPTING,
     .keys = {{SCRIPT_KEYS_RO, .notes = SCRIPT_NOTES_RO}},
     .since = "7.0.0",
     .group = "scripting",
     .complexity = "Depends on the function that is executed.",
     .syntax = "function numkeys:integer [key ...] [arg ...]",
     .summary = "Calls a function that does not write."},
};

static const struct command function_subcommands[] = {
    {.name = "delete",
     .run = function_delete_run,
     .arity = 3,
     .flags = CMD_WRITE | CMD_NO_SCRIPT,
     .categories = ACL_SCRIPTING,
     .since = "7.0.0",
     .group = "scripting",
     .complexity = "O(1)",
     .syntax = "library-name",
     .tips = "request_policy:all_shards response_policy:all_succeeded",
     .summary = "Deletes a library and its functions."},
    {.name = "dump",
     .run = function_dump_run,
     .arity = 2,
     .flags = CMD_NO_SCRIPT,
     .categories = ACL_SCRIPTING,
     .since = "7.0.0",
     .group = "scripting",
     .complexity = "O(N) where N is the number of functions",
     .summary = "Returns all libraries as one payload."},
    {.name = "flush",
     .run = function_flush_run,
     .arity = -2,
     .flags = CMD_WRITE | CMD_NO_SCRIPT,
     .categories = ACL_SCRIPTING,
     .since = "7.0.0",
     .group = "scripting",
     .complexity = "O(N) where N is the number of functions deleted",
     .syntax = "[async: ASYNC | SYNC]",
     .tips = "request_policy:all_shards response_policy:all_succeeded",
     .summary = "Deletes all libraries."},
    {.name = "help",
     .run = function_help_run,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .categories = ACL_SCRIPTING,
     .since = "7.0.0",
     .group = "scripting",
     .complexity = "O(1)",
     .summary = "Describes the subcommands."},
    {.name = "kill",
     .run = function_kill_run,
     .arity = 2,
     .flags = CMD_NO_SCRIPT | CMD_ALLOW_BUSY,
     .categories = ACL_SCRIPTING,
     .since = "7.0.0",
     .group = "scripting",
     .complexity = "O(1)",
     .tips = "request_policy:all_shards response_policy:one_succeeded",
     .summary = "Ends the function that is being executed, when it has not written."},
    {.name = "list",
     .run = function_list_run,
     .arity = -2,
     .flags = CMD_NO_SCRIPT,
     .categories = ACL_SCRIPTING,
     .since = "7.0.0",
     .group = "scripting",
     .complexity = "O(N) where N is the number of functions",
     .syntax = "[library-name-pattern=LIBRARYNAME] [WITHCODE]",
     .tips = "nondeterministic_output_order",
     .summary = "Tells of the libraries and their functions."},
    {.name = "load",
     .run = function_load_run,
     .arity = -3,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_NO_SCRIPT,
     .categories = ACL_SCRIPTING,
     .since = "7.0.0",
     .group = "scripting",
     .complexity = "O(1), the time to compile the library aside",
     .syntax = "[REPLACE] function-code",
     .tips = "request_policy:all_shards response_policy:all_succeeded",
     .summary = "Loads a library."},
    {.name = "restore",
     .run = function_restore_run,
     .arity = -3,
     .flags = CMD_WRITE | CMD_DENY_OOM | CMD_NO_SCRIPT,
     .categories = ACL_SCRIPTING,
     .since = "7.0.0",
     .group = "scripting",
     .complexity = "O(N) where N is the number of functions in the payload",
     .syntax = "serialized-value [policy: FLUSH | APPEND | REPLACE]",
     .tips = "request_policy:all_shards response_policy:all_succeeded",
     .summary = "Brings the libraries of a payload back."},
    {.name = "stats",
     .run = function_stats_run,
     .arity = 2,
     .flags = CMD_NO_SCRIPT | CMD_ALLOW_BUSY,
     .categories = ACL_SCRIPTING,
     .since = "7.0.0",
     .group = "scripting",
     .complexity = "O(1)",
     .tips = "nondeterministic_output request_policy:all_shards response_policy:special",
     .summary = "Tells which function is being executed, and of the engine."},
};

static const struct command function_row = {
    .name = "function",
    .arity = -2,
    .since = "7.0.0",
    .group = "scripting",
    .complexity = "Depends on subcommand.",
    .subcommands = function_subcommands,
    .subcommand_count = sizeof(function_subcommands) / sizeof(function_subcommands[0]),
    .summary = "A container for commands of functions.",
};

void function_register(struct script *script)
{
    exec_register(script->exec, fcall_rows, sizeof(fcall_rows) / sizeof(fcall_rows[0]), script);
    exec_register(script->exec, &function_row, 1, script);
}
