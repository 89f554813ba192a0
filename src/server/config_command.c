/* CONFIG: read, change, save the configuration of the running server.
 *
 * CONFIG SET is atomic: all values are set in a copy, the copy takes the place of the configuration
 * and is put into force; when that fails for one of them, the old configuration comes back and is
 * put into force again. */
#include <string.h>

#include "base/glob.h"
#include "base/log.h"
#include "base/mem.h"
#include "resp/parse.h"
#include "server/server.h"

enum {
    CONFIG_SET_PAIRS_MAX = 256,
    CONFIG_SET_WORDS_MAX = 256,
};

/* ---- GET ------------------------------------------------------------------------------------- */

static void reply_directive(struct call *call, const struct directive *directive, const char *name)
{
    const struct server *server = call->family;
    struct buf value;
    buf_init(&value);
    config_get(server->config, directive, &value);
    reply_bulk_text(call->out, name);
    reply_bulk(call->out, buf_slice(&value));
    buf_deinit(&value);
}

static bool is_wanted(const struct call *call, const char *name)
{
    for (uint32_t i = 2; i < call->args.count; i++) {
        if (glob_match_nocase(call->args.at[i], slice_from_text(name))) {
            return true;
        }
    }
    return false;
}

static void config_get_run(struct call *call)
{
    unsigned count;
    size_t found = 0;
    struct reply_mark mark;
    const struct directive *rows = config_directives(&count);
    reply_begin(call->out, &mark, '%');
    for (unsigned i = 0; i < count; i++) {
        const char *names[] = {rows[i].name, rows[i].alias};
        for (int j = 0; j < 2 && names[j] != NULL; j++) {
            if (is_wanted(call, names[j])) {
                reply_directive(call, &rows[i], names[j]);
                found++;
            }
        }
    }
    reply_end(call->out, &mark, found);
}

/* ---- SET ------------------------------------------------------------------------------------- */

static void set_failed(struct call *call, struct slice name, const char *why)
{
    reply_errorf(call->out, "ERR CONFIG SET failed (possibly related to argument '%.*s') - %s",
                 (int)(name.len < 128 ? name.len : 128), name.data, why);
}

/* Whether a guarded thing is allowed to this session: "local" means loopback and unix sockets. */
static bool is_guard_open(const struct session *session, int64_t guard)
{
    return guard == GUARD_YES || (guard == GUARD_LOCAL && session_is_local(session));
}

/* Why a directive may not be changed, or NULL. */
static const char *refusal_of(struct call *call, const struct directive *directive, uint32_t index)
{
    const struct server *server = call->family;
    if ((directive->flags & CONFIG_IMMUTABLE) != 0) {
        return "can't set immutable config";
    }
    if ((directive->flags & CONFIG_PROTECTED) != 0 &&
        !is_guard_open(call->session, server->config->enable_protected)) {
        return "can't set protected config";
    }
    for (uint32_t i = 2; i < index; i += 2) {
        if (config_find(call->args.at[i]) == directive) {
            return "duplicate parameter";
        }
    }
    return NULL;
}

/* Sets one value of CONFIG SET; list-valued directives get the value split into words. */
static const char *set_value(struct config *config, const struct directive *directive,
                             struct slice value)
{
    struct slice words[CONFIG_SET_WORDS_MAX];
    if ((directive->flags & CONFIG_MANY) == 0) {
        return config_set(config, directive, &value, 1);
    }
    char *scratch = mem_try_alloc(value.len + 1);
    if (scratch == NULL) {
        return "out of memory";
    }
    int count = resp_split_line(value, scratch, words, CONFIG_SET_WORDS_MAX);
    if (count == 0) {
        words[0] = slice_of("", 0);
        count = 1;
    }
    const char *error = count < 0 ? "unbalanced quotes or too many words"
                                  : config_set(config, directive, words, (unsigned)count);
    mem_free(scratch);
    return error;
}

/* Fills `next` from the arguments; false with the error replied. `effects` collects what must be
 * told. */
static bool set_all(struct call *call, struct config *next, unsigned *effects)
{
    for (uint32_t i = 2; i < call->args.count; i += 2) {
        const struct directive *directive = config_find(call->args.at[i]);
        const char *why = refusal_of(call, directive, i);
        if (why == NULL) {
            why = set_value(next, directive, call->args.at[i + 1]);
        }
        if (why != NULL) {
            set_failed(call, call->args.at[i], why);
            return false;
        }
        const struct server *server = call->family;
        if (!config_is_same(server->config, next, directive)) {
            *effects |= directive->effects;
        }
    }
    return true;
}

/* The first argument that has one of the effects, to name in an error. */
static struct slice argument_with(const struct call *call, unsigned effects)
{
    for (uint32_t i = 2; i < call->args.count; i += 2) {
        if ((config_find(call->args.at[i])->effects & effects) != 0) {
            return call->args.at[i];
        }
    }
    return call->args.at[2];
}

static void swap_in(struct call *call, struct config *next, unsigned effects)
{
    struct server *server = call->family;
    struct config *old = server->config;
    static const unsigned order[] = {CONFIG_TO_DIR,   CONFIG_TO_NET,    CONFIG_TO_KEYSPACE,
                                     CONFIG_TO_LOG,   CONFIG_TO_AUTH,   CONFIG_TO_OBSERVE,
                                     CONFIG_TO_TYPES, CONFIG_TO_EVENTS, CONFIG_TO_SCRIPT,
                                     CONFIG_TO_SAVER, CONFIG_TO_REPL,   CONFIG_TO_LISTEN};
    server->config = next;
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        const char *why = (effects & order[i]) != 0 ? server_apply(server, order[i]) : NULL;
        if (why != NULL) {
            struct slice name = argument_with(call, order[i]);
            bool is_port = slice_is(name, "port");
            set_failed(call, name,
                       is_port ? "Unable to listen on this port. Check server logs." : why);
            server->config = old;
            server_apply(server, effects);
            config_free(next);
            return;
        }
    }
    config_free(old);
    reply_ok(call->out);
}

static void config_set_run(struct call *call)
{
    struct server *server = call->family;
    if (call->args.count % 2 != 0) {
        call_arity_error(call);
        return;
    }
    for (uint32_t i = 2; i < call->args.count; i += 2) {
        if (config_find(call->args.at[i]) == NULL) {
            struct slice name = slice_part(call->args.at[i], 0, 128);
            reply_errorf(call->out,
                         "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'",
                         (int)name.len, name.data);
            return;
        }
    }
    unsigned effects = 0;
    struct config *next = config_copy(server->config);
    if (set_all(call, next, &effects)) {
        swap_in(call, next, effects);
    } else {
        config_free(next);
    }
}

/* ---- REWRITE, RESETSTAT, HELP ---------------------------------------------------------------- */

static void config_rewrite_run(struct call *call)
{
    struct server *server = call->family;
    if (server->source->file == NULL) {
        reply_error(call->out, "ERR The server is running without a config file");
        return;
    }
    int result = config_rewrite(server->config, server->source->file);
    if (result < 0) {
        log_write(LOG_WARNING, "CONFIG REWRITE failed: %s", strerror(-result));
        reply_errorf(call->out, "ERR Rewriting config file: %s", strerror(-result));
        return;
    }
    log_write(LOG_NOTICE, "CONFIG REWRITE executed with success.");
    reply_ok(call->out);
}

static void config_resetstat_run(struct call *call)
{
    server_reset_stats(call->family);
    reply_ok(call->out);
}

static void config_help_run(struct call *call)
{
    static const char *const lines[] = {
        "GET <pattern>",
        "    Return parameters matching the glob-like <pattern> and their values.",
        "SET <directive> <value>",
        "    Set the configuration <directive> to <value>.",
        "RESETSTAT",
        "    Reset statistics reported by the INFO command.",
        "REWRITE",
        "    Rewrite the configuration file.",
        NULL,
    };
    call_help(call, lines);
}

static const struct command config_subcommands[] = {
    {.name = "get",
     .run = config_get_run,
     .arity = -3,
     .flags = CMD_ADMIN | CMD_NO_SCRIPT | CMD_LOADING | CMD_STALE,
     .since = "2.0.0",
     .group = "server",
     .complexity = "O(N) where N is the number of directives",
     .syntax = "(parameter)...",
     .history = "7.0.0 Several patterns in one call.",
     .summary = "Returns the values of directives that match a pattern."},
    {.name = "set",
     .run = config_set_run,
     .arity = -4,
     .flags = CMD_ADMIN | CMD_NO_SCRIPT | CMD_LOADING | CMD_STALE,
     .since = "2.0.0",
     .group = "server",
     .complexity = "O(N) where N is the number of directives given",
     .syntax = "(parameter value)...",
     .history = "7.0.0 Several directives in one call.",
     .tips = "request_policy:all_nodes response_policy:all_succeeded",
     .summary = "Changes directives of the running server, all of them or none."},
    {.name = "rewrite",
     .run = config_rewrite_run,
     .arity = 2,
     .flags = CMD_ADMIN | CMD_NO_SCRIPT | CMD_LOADING | CMD_STALE,
     .since = "2.8.0",
     .group = "server",
     .complexity = "O(1)",
     .tips = "request_policy:all_nodes response_policy:all_succeeded",
     .summary = "Writes the values in force back to the configuration file."},
    {.name = "resetstat",
     .run = config_resetstat_run,
     .arity = 2,
     .flags = CMD_ADMIN | CMD_NO_SCRIPT | CMD_LOADING | CMD_STALE,
     .since = "2.0.0",
     .group = "server",
     .complexity = "O(1)",
     .tips = "request_policy:all_nodes response_policy:all_succeeded",
     .summary = "Sets the counters that INFO reports back to zero."},
    {.name = "help",
     .run = config_help_run,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .since = "5.0.0",
     .group = "server",
     .complexity = "O(1)",
     .summary = "Describes the subcommands."},
};

static const struct command config_rows[] = {
    {.name = "config",
     .arity = -2,
     .since = "2.0.0",
     .group = "server",
     .complexity = "Depends on subcommand.",
     .subcommands = config_subcommands,
     .subcommand_count = sizeof(config_subcommands) / sizeof(config_subcommands[0]),
     .summary = "A container for configuration commands."},
};

void server_register_config(struct server *server)
{
    exec_register(server->exec, config_rows, 1, server);
}
