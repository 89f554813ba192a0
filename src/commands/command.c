/* COMMAND: what the server knows about its commands, told from their rows. */
#include "base/glob.h"
#include "base/mem.h"
#include "commands/commands.h"
#include "exec/exec.h"
#include "exec/sliced.h"
#include "exec/syntax.h"

/* ---- Lists of words ---- */

/* Space-separated words of `text` one by one; false at the end. */
static bool next_word(const char **text, struct slice *word)
{
    *text += strspn(*text, " ");
    size_t len = strcspn(*text, " ");
    *word = slice_of(*text, len);
    *text += len;
    return len != 0;
}

static size_t word_count(const char *text)
{
    struct slice word;
    size_t count = 0;
    while (next_word(&text, &word)) {
        count++;
    }
    return count;
}

struct bit_name {
    uint32_t bit;
    const char *name;
};

/* A set of the names of the bits that are set. */
static void reply_bits(struct reply *out, uint32_t bits, const struct bit_name *names, size_t count)
{
    size_t set = 0;
    for (size_t i = 0; i < count; i++) {
        set += (bits & names[i].bit) != 0;
    }
    reply_set(out, set);
    for (size_t i = 0; i < count; i++) {
        if ((bits & names[i].bit) != 0) {
            reply_status(out, names[i].name);
        }
    }
}

#define BIT_NAME_COUNT(names) (sizeof(names) / sizeof((names)[0]))

/* ---- INFO ---- */

static void reply_flags(struct reply *out, uint32_t flags)
{
    static const struct bit_name names[] = {
        {CMD_WRITE, "write"},
        {CMD_READONLY, "readonly"},
        {CMD_DENY_OOM, "denyoom"},
        {CMD_ADMIN, "admin"},
        {CMD_PUBSUB, "pubsub"},
        {CMD_NO_SCRIPT, "noscript"},
        {CMD_BLOCKING, "blocking"},
        {CMD_LOADING, "loading"},
        {CMD_STALE, "stale"},
        {CMD_SKIP_MONITOR, "skip_monitor"},
        {CMD_SKIP_SLOWLOG, "skip_slowlog"},
        {CMD_ASKING, "asking"},
        {CMD_FAST, "fast"},
        {CMD_NO_AUTH, "no_auth"},
        {CMD_NO_MANDATORY_KEYS, "no_mandatory_keys"},
        {CMD_NO_ASYNC_LOADING, "no_async_loading"},
        {CMD_NO_MULTI, "no_multi"},
        {CMD_MOVABLE_KEYS, "movablekeys"},
        {CMD_ALLOW_BUSY, "allow_busy"},
        {CMD_TOUCHES_ARBITRARY_KEYS, "touches_arbitrary_keys"},
    };
    reply_bits(out, flags, names, BIT_NAME_COUNT(names));
}

static void reply_categories(struct reply *out, uint32_t categories)
{
    reply_set(out, (size_t)__builtin_popcount(categories));
    for (unsigned i = 0; i < ACL_CATEGORY_COUNT; i++) {
        if ((categories & 1U << i) != 0) {
            char name[32] = "@";
            strncat(name, command_category_name(i), sizeof(name) - 2);
            reply_status(out, name);
        }
    }
}

static void reply_tips(struct reply *out, const char *tips)
{
    const char *text = tips != NULL ? tips : "";
    struct slice word;
    reply_set(out, word_count(text));
    while (next_word(&text, &word)) {
        reply_bulk(out, word);
    }
}

/* "RW", "access", ...: what happens to a key. */
static void reply_key_flags(struct reply *out, const struct key_spec *spec)
{
    enum {
        BIT_RO = 1 << 0,
        BIT_ACCESS = 1 << 4,
        BIT_NOT_KEY = 1 << 8,
        BIT_INCOMPLETE = 1 << 9,
        BIT_VARIABLE = 1 << 10,
    };
    static const struct bit_name names[] = {
        {BIT_RO << KEY_RO, "RO"},
        {BIT_RO << KEY_RW, "RW"},
        {BIT_RO << KEY_OW, "OW"},
        {BIT_RO << KEY_RM, "RM"},
        {BIT_ACCESS * KEY_USE_ACCESS, "access"},
        {BIT_ACCESS * KEY_USE_UPDATE, "update"},
        {BIT_ACCESS * KEY_USE_INSERT, "insert"},
        {BIT_ACCESS * KEY_USE_DELETE, "delete"},
        {BIT_NOT_KEY, "not_key"},
        {BIT_INCOMPLETE, "incomplete"},
        {BIT_VARIABLE, "variable_flags"},
    };
    uint32_t bits = BIT_NOT_KEY;
    if (!spec->is_not_key) {
        bits = (uint32_t)BIT_RO << spec->access | BIT_ACCESS * spec->use;
    }
    bits |= spec->is_incomplete ? BIT_INCOMPLETE : 0;
    bits |= spec->refine != NULL ? BIT_VARIABLE : 0;
    reply_bits(out, bits, names, BIT_NAME_COUNT(names));
}

static void reply_pair(struct reply *out, const char *name, int64_t value)
{
    reply_bulk_text(out, name);
    reply_integer(out, value);
}

/* "begin_search" or "find_keys": a type and the map of what belongs to it, which follows. */
static void reply_search(struct reply *out, const char *name, const char *type, size_t pair_count)
{
    reply_bulk_text(out, name);
    reply_map(out, 2);
    reply_bulk_text(out, "type");
    reply_bulk_text(out, type);
    reply_bulk_text(out, "spec");
    reply_map(out, pair_count);
}

static void reply_begin_search(struct reply *out, const struct key_spec *spec)
{
    if (spec->is_unknown) {
        reply_search(out, "begin_search", "unknown", 0);
    } else if (spec->word != NULL) {
        reply_search(out, "begin_search", "keyword", 2);
        reply_bulk_text(out, "keyword");
        reply_bulk_text(out, spec->word);
        reply_pair(out, "startfrom", spec->first);
    } else {
        reply_search(out, "begin_search", "index", 1);
        reply_pair(out, "index", spec->first);
    }
}

static void reply_find_keys(struct reply *out, const struct key_spec *spec)
{
    int step = spec->step > 0 ? spec->step : 1;
    int last = spec->last;
    if (last > 0 && spec->word == NULL) {
        last -= spec->first; /* Told relative to the first key. */
    }
    if (spec->is_unknown) {
        reply_search(out, "find_keys", "unknown", 0);
    } else if (spec->is_counted) {
        reply_search(out, "find_keys", "keynum", 3);
        reply_pair(out, "keynumidx", 0);
        reply_pair(out, "firstkey", 1);
        reply_pair(out, "keystep", step);
    } else {
        reply_search(out, "find_keys", "range", 3);
        reply_pair(out, "lastkey", last);
        reply_pair(out, "keystep", step);
        reply_pair(out, "limit", spec->limit);
    }
}

static void reply_key_specs(struct reply *out, const struct command *row)
{
    unsigned count = command_key_spec_count(row);
    reply_set(out, count);
    for (unsigned i = 0; i < count; i++) {
        const struct key_spec *spec = &row->keys[i];
        reply_map(out, spec->notes != NULL ? 4 : 3);
        if (spec->notes != NULL) {
            reply_bulk_text(out, "notes");
            reply_bulk_text(out, spec->notes);
        }
        reply_bulk_text(out, "flags");
        reply_key_flags(out, spec);
        reply_begin_search(out, spec);
        reply_find_keys(out, spec);
    }
}

static void reply_info(struct reply *out, const struct command_entry *entry)
{
    const struct command *row = entry->row;
    struct key_range range = command_key_range(row);
    reply_array(out, 10);
    reply_bulk_text(out, entry->full_name);
    reply_integer(out, row->arity);
    reply_flags(out, entry->flags);
    reply_integer(out, range.first);
    reply_integer(out, range.last);
    reply_integer(out, range.step);
    reply_categories(out, entry->categories);
    reply_tips(out, row->tips);
    reply_key_specs(out, row);
    if (entry->subcommand_count == 0) {
        reply_set(out, 0); /* As Redis does: an array only when there are some. */
        return;
    }
    reply_array(out, entry->subcommand_count);
    for (unsigned i = 0; i < entry->subcommand_count; i++) {
        reply_info(out, &entry->subcommands[i]);
    }
}

static size_t visible_count(struct exec *exec)
{
    size_t count = 0;
    for (unsigned i = 0; i < exec_command_count(exec); i++) {
        count += !exec_command_at(exec, i)->is_removed;
    }
    return count;
}

/* COMMAND, and COMMAND INFO without names. */
static void command_run(struct call *call)
{
    reply_array(call->out, visible_count(call->exec));
    for (unsigned i = 0; i < exec_command_count(call->exec); i++) {
        const struct command_entry *entry = exec_command_at(call->exec, i);
        if (!entry->is_removed) {
            reply_info(call->out, entry);
        }
    }
}

static void command_info_run(struct call *call)
{
    if (call->args.count == 2) {
        command_run(call);
        return;
    }
    reply_array(call->out, call->args.count - 2);
    for (uint32_t i = 2; i < call->args.count; i++) {
        const struct command_entry *entry = exec_lookup_name(call->exec, call->args.at[i]);
        if (entry != NULL) {
            reply_info(call->out, entry);
        } else {
            reply_null(call->out);
        }
    }
}

static void command_count_run(struct call *call)
{
    reply_count(call->out, visible_count(call->exec));
}

/* ---- DOCS ---- */

static void reply_text_pair(struct reply *out, const char *name, struct slice text)
{
    reply_bulk_text(out, name);
    reply_bulk(out, text);
}

static void reply_argument_flags(struct reply *out, const struct syntax_node *node)
{
    static const struct bit_name names[] = {
        {1, "optional"}, {2, "multiple"}, {4, "multiple_token"}};
    uint32_t bits = (node->is_optional ? 1U : 0) | (node->is_multiple ? 2U : 0) |
                    (node->is_multiple_token ? 4U : 0);
    reply_bulk_text(out, "flags");
    reply_bits(out, bits, names, BIT_NAME_COUNT(names));
}

static void reply_arguments(struct reply *out, const struct syntax *syntax, uint8_t first);

static void reply_argument(struct reply *out, const struct syntax *syntax,
                           const struct syntax_node *node)
{
    bool has_flags = node->is_optional || node->is_multiple;
    bool has_children = node->first_child != SYNTAX_NONE;
    reply_map(out, (size_t)2 + (node->key_spec >= 0) + (node->token.data != NULL) +
                       (node->since.len != 0) + (node->deprecated.len != 0) + has_flags +
                       has_children);
    reply_text_pair(out, "name", node->name);
    reply_text_pair(out, "type", slice_from_text(syntax_type_name(node->type)));
    if (node->key_spec >= 0) {
        reply_pair(out, "key_spec_index", node->key_spec);
    }
    if (node->token.data != NULL) {
        reply_text_pair(out, "token", node->token);
    }
    if (node->since.len != 0) {
        reply_text_pair(out, "since", node->since);
    }
    if (node->deprecated.len != 0) {
        reply_text_pair(out, "deprecated_since", node->deprecated);
    }
    if (has_flags) {
        reply_argument_flags(out, node);
    }
    if (has_children) {
        reply_bulk_text(out, "arguments");
        reply_arguments(out, syntax, node->first_child);
    }
}

/* Depth is bounded by the parser. */
static void reply_arguments(struct reply *out, const struct syntax *syntax, uint8_t first)
{
    size_t count = 0;
    for (uint8_t at = first; at != SYNTAX_NONE; at = syntax->nodes[at].next) {
        count++;
    }
    reply_array(out, count);
    for (uint8_t at = first; at != SYNTAX_NONE; at = syntax->nodes[at].next) {
        reply_argument(out, syntax, &syntax->nodes[at]);
    }
}

/* "6.2.0 Text.\n7.0.0 Text." as a set of [version, text]. */
static void reply_history(struct reply *out, const char *history)
{
    size_t count = 1;
    for (const char *c = history; *c != '\0'; c++) {
        count += *c == '\n';
    }
    reply_bulk_text(out, "history");
    reply_set(out, count);
    for (; count > 0; count--) {
        size_t len = strcspn(history, "\n");
        size_t version_len = strcspn(history, " \n");
        size_t text_at = version_len < len ? version_len + 1 : len;
        reply_array(out, 2);
        reply_bulk(out, slice_of(history, version_len));
        reply_bulk(out, slice_of(history + text_at, len - text_at));
        history += len + 1;
    }
}

static void reply_doc_flags(struct reply *out, const struct command *row)
{
    static const struct bit_name names[] = {{1, "deprecated"}, {2, "syscmd"}};
    uint32_t bits = (row->deprecated != NULL ? 1U : 0) | ((row->flags & CMD_SYSTEM) != 0 ? 2U : 0);
    reply_bulk_text(out, "doc_flags");
    reply_bits(out, bits, names, BIT_NAME_COUNT(names));
}

static void reply_deprecated(struct reply *out, const char *deprecated)
{
    size_t len = strcspn(deprecated, " ");
    const char *instead = deprecated + len + (deprecated[len] == ' ');
    reply_text_pair(out, "deprecated_since", slice_of(deprecated, len));
    reply_text_pair(out, "replaced_by", slice_from_text(instead));
}

static void reply_docs(struct reply *out, const struct command_entry *entry)
{
    const struct command *row = entry->row;
    struct syntax syntax;
    bool has_arguments = syntax_parse(&syntax, row->syntax, command_key_spec_count(row)) &&
                         syntax.first != SYNTAX_NONE;
    bool has_doc_flags = row->deprecated != NULL || (row->flags & CMD_SYSTEM) != 0;
    reply_bulk_text(out, entry->full_name);
    reply_map(out, (size_t)3 + (row->complexity != NULL) + has_doc_flags +
                       (row->deprecated != NULL ? 2 : 0) + (row->history != NULL) + has_arguments +
                       (entry->subcommand_count != 0));
    reply_text_pair(out, "summary", slice_from_text(row->summary));
    reply_text_pair(out, "since", slice_from_text(row->since));
    reply_text_pair(out, "group", slice_from_text(row->group));
    if (row->complexity != NULL) {
        reply_text_pair(out, "complexity", slice_from_text(row->complexity));
    }
    if (has_doc_flags) {
        reply_doc_flags(out, row);
    }
    if (row->deprecated != NULL) {
        reply_deprecated(out, row->deprecated);
    }
    if (row->history != NULL) {
        reply_history(out, row->history);
    }
    if (has_arguments) {
        reply_bulk_text(out, "arguments");
        reply_arguments(out, &syntax, syntax.first);
    }
    if (entry->subcommand_count != 0) {
        reply_bulk_text(out, "subcommands");
        reply_map(out, entry->subcommand_count);
        for (unsigned i = 0; i < entry->subcommand_count; i++) {
            reply_docs(out, &entry->subcommands[i]);
        }
    }
}

/* COMMAND DOCS [name ...]: names that do not exist are passed over. */
static void command_docs_run(struct call *call)
{
    struct exec *exec = call->exec;
    if (call->args.count == 2) {
        reply_map(call->out, visible_count(exec));
        for (unsigned i = 0; i < exec_command_count(exec); i++) {
            const struct command_entry *entry = exec_command_at(exec, i);
            if (!entry->is_removed) {
                reply_docs(call->out, entry);
            }
        }
        return;
    }
    size_t count = 0;
    for (uint32_t i = 2; i < call->args.count; i++) {
        count += exec_lookup_name(exec, call->args.at[i]) != NULL;
    }
    reply_map(call->out, count);
    for (uint32_t i = 2; i < call->args.count; i++) {
        const struct command_entry *entry = exec_lookup_name(exec, call->args.at[i]);
        if (entry != NULL) {
            reply_docs(call->out, entry);
        }
    }
}

/* ---- LIST ---- */

struct list_filter {
    enum { LIST_ALL, LIST_MODULE, LIST_CATEGORY, LIST_PATTERN } by;
    uint32_t category;
    struct slice pattern;
};

static bool list_fits(const struct list_filter *filter, const struct command_entry *entry)
{
    switch (filter->by) {
    case LIST_ALL:
        return true;
    case LIST_MODULE:
        return false; /* There are no modules. */
    case LIST_CATEGORY:
        return (entry->categories & filter->category) != 0;
    case LIST_PATTERN:
        return glob_match_nocase(filter->pattern, slice_from_text(entry->full_name));
    }
    return false;
}

/* Writes (when `out` is not NULL) and counts the names that fit, those of subcommands included. */
static size_t list_names(struct exec *exec, const struct list_filter *filter, struct reply *out)
{
    size_t count = 0;
    for (unsigned i = 0; i < exec_command_count(exec); i++) {
        const struct command_entry *entry = exec_command_at(exec, i);
        for (unsigned at = 0; at <= entry->subcommand_count && !entry->is_removed; at++) {
            const struct command_entry *one = at == 0 ? entry : &entry->subcommands[at - 1];
            if (!list_fits(filter, one)) {
                continue;
            }
            count++;
            if (out != NULL) {
                reply_bulk_text(out, one->full_name);
            }
        }
    }
    return count;
}

/* COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]. */
static void command_list_run(struct call *call)
{
    struct list_filter filter = {.by = LIST_ALL};
    if (call->args.count != 2) {
        if (call->args.count != 5 || !call_is(call, 2, "FILTERBY")) {
            reply_error(call->out, ERR_SYNTAX);
            return;
        }
        if (call_is(call, 3, "MODULE")) {
            filter.by = LIST_MODULE;
        } else if (call_is(call, 3, "ACLCAT")) {
            filter.by = LIST_CATEGORY;
            filter.category = command_category_find(call->args.at[4]);
        } else if (call_is(call, 3, "PATTERN")) {
            filter.by = LIST_PATTERN;
            filter.pattern = call->args.at[4];
        } else {
            reply_error(call->out, ERR_SYNTAX);
            return;
        }
    }
    reply_array(call->out, list_names(call->exec, &filter, NULL));
    (void)list_names(call->exec, &filter, call->out);
}

/* ---- GETKEYS ---- */

static void reply_keys(struct call *call, const struct command *row, bool has_flags)
{
    const struct slice *args = call->args.at + 2;
    uint32_t count = call->args.count - 2;
    int found = exec_find_keys(row, args, count, NULL, 0);
    if (found <= 0 && (row->flags & CMD_NO_MANDATORY_KEYS) == 0) {
        reply_error(call->out, "ERR Invalid arguments specified for command");
        return;
    }
    if (found <= 0) {
        reply_array(call->out, 0);
        return;
    }
    struct key_position *keys = mem_alloc((size_t)found * sizeof(*keys));
    (void)exec_find_keys(row, args, count, keys, (uint32_t)found);
    reply_array(call->out, (size_t)found);
    for (int i = 0; i < found; i++) {
        if (has_flags) {
            reply_array(call->out, 2);
        }
        reply_bulk(call->out, args[keys[i].index]);
        if (has_flags) {
            reply_key_flags(call->out, keys[i].spec);
        }
        if (!call_yield_sending_at(call, (size_t)i)) {
            break;
        }
    }
    mem_free(keys);
}

static bool has_keys(const struct command *row)
{
    for (unsigned i = 0; i < command_key_spec_count(row); i++) {
        if (!row->keys[i].is_not_key) {
            return true;
        }
    }
    return false;
}

static void getkeys(struct call *call, bool has_flags)
{
    uint32_t count = call->args.count - 2;
    if (call_slice_bare(call, count)) {
        return;
    }
    const struct command_entry *entry = exec_lookup(call->exec, call->args.at + 2, count);
    if (entry == NULL) {
        reply_error(call->out, "ERR Invalid command specified");
        return;
    }
    const struct command *row = entry->row;
    if (!has_keys(row)) {
        reply_error(call->out, "ERR The command has no key arguments");
    } else if (row->arity > 0 ? count != (uint32_t)row->arity : count < (uint32_t)-row->arity) {
        reply_error(call->out, "ERR Invalid number of arguments specified for command");
    } else {
        reply_keys(call, row, has_flags);
    }
}

static void command_getkeys_run(struct call *call)
{
    getkeys(call, false);
}

static void command_getkeysandflags_run(struct call *call)
{
    getkeys(call, true);
}

static void command_help_run(struct call *call)
{
    static const char *const lines[] = {
        "(no subcommand)",
        "    Tells everything about all commands.",
        "COUNT",
        "    Tells how many commands there are.",
        "DOCS [<command-name> ...]",
        "    Tells the documentation of the given commands, or of all.",
        "GETKEYS <full-command>",
        "    Tells which arguments of a command are keys.",
        "GETKEYSANDFLAGS <full-command>",
        "    Tells which arguments of a command are keys, and what happens to them.",
        "INFO [<command-name> ...]",
        "    Tells everything about the given commands, or about all.",
        "LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
        "    Tells the names of the commands.",
        NULL,
    };
    call_help(call, lines);
}

enum { COMMAND_FLAGS = CMD_LOADING | CMD_STALE };

#define COMPLEXITY_ALL "O(N) where N is the number of commands"
#define COMPLEXITY_NAMED "O(N) where N is the number of commands asked for"
#define COMPLEXITY_ARGS "O(N) where N is the number of arguments"

static const struct command command_subcommands[] = {
    {.name = "count",
     .run = command_count_run,
     .arity = 2,
     .flags = COMMAND_FLAGS,
     .categories = ACL_CONNECTION,
     .since = "2.8.13",
     .group = "server",
     .summary = "Tells how many commands there are.",
     .complexity = "O(1)"},
    {.name = "docs",
     .run = command_docs_run,
     .arity = -2,
     .flags = COMMAND_FLAGS,
     .categories = ACL_CONNECTION,
     .since = "7.0.0",
     .group = "server",
     .summary = "Tells the documentation of commands.",
     .complexity = COMPLEXITY_NAMED,
     .syntax = "[command-name ...]",
     .tips = "nondeterministic_output_order"},
    {.name = "getkeys",
     .run = command_getkeys_run,
     .arity = -4,
     .flags = COMMAND_FLAGS,
     .categories = ACL_CONNECTION,
     .since = "2.8.13",
     .group = "server",
     .summary = "Tells which arguments of a command are keys.",
     .complexity = COMPLEXITY_ARGS},
    {.name = "getkeysandflags",
     .run = command_getkeysandflags_run,
     .arity = -4,
     .flags = COMMAND_FLAGS,
     .categories = ACL_CONNECTION,
     .since = "7.0.0",
     .group = "server",
     .summary = "Tells which arguments of a command are keys, and what happens to them.",
     .complexity = COMPLEXITY_ARGS},
    {.name = "help",
     .run = command_help_run,
     .arity = 2,
     .flags = COMMAND_FLAGS,
     .categories = ACL_CONNECTION,
     .since = "5.0.0",
     .group = "server",
     .summary = "Lists the subcommands.",
     .complexity = "O(1)"},
    {.name = "info",
     .run = command_info_run,
     .arity = -2,
     .flags = COMMAND_FLAGS,
     .categories = ACL_CONNECTION,
     .since = "2.8.13",
     .group = "server",
     .summary = "Tells everything about commands.",
     .complexity = COMPLEXITY_NAMED,
     .syntax = "[command-name ...]",
     .tips = "nondeterministic_output_order",
     .history = "7.0.0 Without names it tells about all commands."},
    {.name = "list",
     .run = command_list_run,
     .arity = -2,
     .flags = COMMAND_FLAGS,
     .categories = ACL_CONNECTION,
     .since = "7.0.0",
     .group = "server",
     .summary = "Tells the names of the commands.",
     .complexity = COMPLEXITY_ALL,
     .syntax = "[FILTERBY (filterby: MODULE module-name | ACLCAT category | PATTERN "
               "pattern:pattern)]",
     .tips = "nondeterministic_output_order"},
};

static const struct command command_rows[] = {
    {.name = "command",
     .run = command_run,
     .arity = -1,
     .flags = COMMAND_FLAGS,
     .categories = ACL_CONNECTION,
     .since = "2.8.13",
     .group = "server",
     .summary = "Tells everything about all commands.",
     .complexity = COMPLEXITY_ALL,
     .tips = "nondeterministic_output_order",
     .subcommands = command_subcommands,
     .subcommand_count = sizeof(command_subcommands) / sizeof(command_subcommands[0])},
};

void commands_register_command(struct exec *exec)
{
    exec_register(exec, command_rows, sizeof(command_rows) / sizeof(command_rows[0]), NULL);
}
