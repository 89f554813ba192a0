/* Redaction: what SLOWLOG and MONITOR show in place of passwords.
 *
 *     AUTH            everything after the name
 *     HELLO           the two words after AUTH
 *     ACL SETUSER     everything after the subcommand (rules hold passwords, and rules are many)
 *     MIGRATE         the word after AUTH, the two after AUTH2
 *     CONFIG SET      the values of directives that hold a secret
 *
 * All but the last are one run of arguments, so a call's redaction is two numbers, found once per
 * line shown and never on the hot path. Commands are known by the names of their rows, so renaming
 * one does not uncover its passwords. */
#include <string.h>

#include "observe/observe_internal.h"

enum { MIGRATE_OPTIONS_AT = 6 }; /* MIGRATE host port key db timeout [options] */

static bool is_row(const struct command_entry *entry, const char *name)
{
    return strcmp(entry->row->name, name) == 0;
}

static bool is_subcommand(const struct command_entry *entry, const char *parent, const char *name)
{
    return entry->parent != NULL && is_row(entry->parent, parent) && is_row(entry, name);
}

/* HELLO [version [AUTH user password] [SETNAME name]] */
static void find_hello(struct redaction *out, const struct args *args)
{
    for (uint32_t i = 2; i + 1 < args->count; i += 2) {
        if (slice_is(args->at[i], "AUTH")) {
            out->first = i + 1;
            out->count = 2;
            return;
        }
    }
}

static void find_migrate(struct redaction *out, const struct args *args)
{
    for (uint32_t i = MIGRATE_OPTIONS_AT; i + 1 < args->count; i++) {
        bool has_user = slice_is(args->at[i], "AUTH2");
        if (has_user || slice_is(args->at[i], "AUTH")) {
            out->first = i + 1;
            out->count = has_user ? 2 : 1;
            return;
        }
    }
}

static bool is_secret_directive(struct slice name)
{
    static const char *const names[] = {"requirepass", "masterauth", "masteruser",
                                        "tls-key-file-pass", "tls-client-key-file-pass"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (slice_is(name, names[i])) {
            return true;
        }
    }
    return false;
}

struct redaction redaction_of(const struct call *call)
{
    const struct command_entry *entry = call->entry;
    struct redaction redaction = {.args = &call->args};
    if (is_subcommand(entry, "acl", "setuser")) {
        redaction.first = 2;
        redaction.count = UINT32_MAX;
    } else if (is_subcommand(entry, "config", "set")) {
        redaction.is_config = true;
    } else if (entry->parent != NULL) {
        return redaction;
    } else if (is_row(entry, "auth")) {
        redaction.first = 1;
        redaction.count = UINT32_MAX;
    } else if (is_row(entry, "hello")) {
        find_hello(&redaction, &call->args);
    } else if (is_row(entry, "migrate")) {
        find_migrate(&redaction, &call->args);
    }
    return redaction;
}

struct slice redaction_apply(const struct redaction *redaction, uint32_t index)
{
    const struct args *args = redaction->args;
    bool is_in_run = index >= redaction->first && index - redaction->first < redaction->count;
    bool is_value = redaction->is_config && index >= 3 && index % 2 == 1 &&
                    is_secret_directive(args->at[index - 1]);
    return is_in_run || is_value ? slice_from_text("(redacted)") : args->at[index];
}
