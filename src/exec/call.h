/* A call is one command being executed: what a handler gets. The helpers here are how handlers
 * reach keys, write the common errors and tell what they changed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/clock.h"
#include "base/slice.h"
#include "exec/command.h"
#include "exec/session.h"
#include "keyspace/keyspace.h"
#include "resp/reply.h"
#include "types/value.h"

struct exec;
struct command_entry;
struct resp_parser;
struct sliced;

struct args {
    struct slice *at; /* at[0] is the command's name as the client wrote it. */
    uint32_t count;
};

struct call {
    struct args args;
    struct reply *out;
    struct db *db;
    struct session *session;
    const struct clock_now *now;
    const struct command *command;
    struct command_entry *entry;
    struct exec *exec;
    void *family;          /* The state given at registration of the command's family. */
    uint64_t first_hash;   /* db_hash of the first key, computed ahead; valid: first_key != 0. */
    uint32_t first_key;    /* Index of the argument that first_hash belongs to; 0: none. */
    uint32_t change_count; /* Changes reported so far. */
    uint32_t ready_key;    /* Second run of a blocked command: the key that may serve; else 0. */
    bool is_effect_set;    /* call_effect or call_no_effect replaced the verbatim effect. */
    bool is_inner;         /* Run by exec_run_inner: has to answer at once. */
    struct sliced *sliced; /* Not NULL: run in slices, now or later; see sliced.h. */
    struct resp_parser *parser; /* Owner of blobs behind arguments; NULL when there are none. */
    struct blob *const *blobs;  /* The same of a queued command: one for each argument, or NULL. */
};

/* ---- Keys ---- */

/* Hash of the key at args.at[index]; free for the first key. */
uint64_t call_hash(const struct call *call, uint32_t index);

/* Looks a key up for reading (counts a hit or miss, touches). False: wrong type, the error is in
 * the reply. `*value` is NULL when absent. */
bool call_find(struct call *call, uint32_t index, enum value_kind kind, struct value **value);

/* Looks a key up for changing it. False: wrong type, the error is in the reply. place->value is
 * NULL when absent. */
bool call_find_place(struct call *call, uint32_t index, enum value_kind kind, struct place *place);

/* The same for any type: value or NULL. */
struct value *call_peek(struct call *call, uint32_t index, unsigned find_flags);
struct place call_peek_place(struct call *call, uint32_t index, unsigned find_flags);

/* Fields of hashes that expired before this moment (unix ms) are hidden from the command. 0: there
 * are none. */
int64_t call_hidden_ms(const struct call *call);

/* Stores a value built for the key at `index`, which is absent; or replaces what is there. */
struct place call_insert(struct call *call, uint32_t index, struct value *take_value);
void call_remove(struct call *call, uint32_t index, struct place place);

/* The blob behind a large argument with a reference for the caller, or NULL: then the argument's
 * bytes must be copied. */
struct blob *call_take_blob(struct call *call, uint32_t index);

/* ---- Changes: exactly one of these per key changed, after the change ---- */

/* The key at args.at[index] changed: bumps its version, counts it, publishes the event ("set",
 * "expire"; NULL: none). The event's class follows from its name: event_class_of. */
void call_changed(struct call *call, uint32_t index, const char *event);

/* The same for a key that is not an argument as it stands, or lies in another database. */
void call_changed_key(struct call *call, struct db *db, struct slice key, const char *event);

/* Instead of these: something that belongs to the key changed, but not what it holds for who reads
 * it (the groups of a stream). Counts it and publishes the event; neither who watches the key, nor
 * who waits for it, nor whose copy it is, is told. */
void call_changed_beside(struct call *call, uint32_t index, const char *event);

/* A second event of a change already reported (SET with EX: "set", then "expire"). */
void call_event(struct call *call, struct db *db, struct slice key, const char *event);

/* What goes to the log and the replicas instead of the command as it came: the canonical form. May
 * be called several times (several effects). Only costs when somebody listens: build arguments
 * under call_wants_effects. */
bool call_wants_effects(const struct call *call);
void call_effect(struct call *call, const struct slice *args, uint32_t count);
void call_no_effect(struct call *call);

/* ---- Arguments ---- */

/* Case-insensitive option word. */
static inline bool call_is(const struct call *call, uint32_t index, const char *word)
{
    return slice_is(call->args.at[index], word);
}

/* Parse or write the error and return false. The error is `error`, or when that is NULL: "ERR value
 * is not an integer or out of range", "ERR value is not a valid float", and for a range "ERR value
 * is out of range, value must between MIN and MAX". */
bool call_i64(struct call *call, uint32_t index, int64_t *out, const char *error);
bool call_double(struct call *call, uint32_t index, double *out, const char *error);
bool call_range_i64(struct call *call, uint32_t index, int64_t min, int64_t max, int64_t *out,
                    const char *error);

/* ---- Errors: texts that live once, worded as Redis words them ---- */

#define ERR_SYNTAX "ERR syntax error"
#define ERR_WRONG_TYPE "WRONGTYPE Operation against a key holding the wrong kind of value"
#define ERR_NOT_INTEGER "ERR value is not an integer or out of range"
#define ERR_NOT_FLOAT "ERR value is not a valid float"
#define ERR_NO_KEY "ERR no such key"
#define ERR_OUT_OF_RANGE "ERR index out of range"
#define ERR_SAME_OBJECT "ERR source and destination objects are the same"
#define ERR_NO_MEMORY "ERR out of memory"
#define ERR_STRING_TOO_LONG "ERR string exceeds maximum allowed size (proto-max-bulk-len)"

/* Refuses the command before its handler ran (gates): EXEC gets "EXECABORT Transaction discarded
 * because of: ...", every other command the text itself. */
void call_refuse(struct call *call, const char *error);

/* "ERR wrong number of arguments for 'x' command". */
void call_arity_error(struct call *call);

/* "ERR unknown subcommand 'X'. Try CLIENT HELP." */
void call_unknown_subcommand(struct call *call);

/* "ERR unknown subcommand or wrong number of arguments for 'X'. Try CLIENT HELP.": what handlers of
 * subcommands answer to arguments that they do not understand. */
void call_subcommand_syntax_error(struct call *call);

/* HELP replies: an array of status lines, with Redis's first and last lines around `lines`
 * (NULL-terminated). */
void call_help(struct call *call, const char *const *lines);
