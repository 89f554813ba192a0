/* A command's row: everything that is known about a command, in the file of its handler and nowhere
 * else. COMMAND, COMMAND DOCS, access rules, key extraction and the documentation read it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct call;

typedef void (*command_run_fn)(struct call *call);

/* Flags with Redis's meanings and names (CMD_DENY_OOM is "denyoom"). */
enum command_flag {
    CMD_WRITE = 1 << 0,
    CMD_READONLY = 1 << 1,
    CMD_DENY_OOM = 1 << 2,
    CMD_ADMIN = 1 << 3,
    CMD_PUBSUB = 1 << 4,
    CMD_NO_SCRIPT = 1 << 5,
    CMD_BLOCKING = 1 << 6,
    CMD_LOADING = 1 << 7, /* Allowed while loading. */
    CMD_STALE = 1 << 8,   /* Allowed on a stale replica. */
    CMD_SKIP_MONITOR = 1 << 9,
    CMD_SKIP_SLOWLOG = 1 << 10,
    CMD_ASKING = 1 << 11,
    CMD_FAST = 1 << 12,
    CMD_NO_AUTH = 1 << 13,
    CMD_MAY_REPLICATE = 1 << 14,
    CMD_NO_MULTI = 1 << 15,
    CMD_MOVABLE_KEYS = 1 << 16, /* Added by the registry where the key specs imply it. */
    CMD_ALLOW_BUSY = 1 << 17,
    CMD_NO_ASYNC_LOADING = 1 << 18,
    CMD_NO_MANDATORY_KEYS = 1 << 19,
    CMD_TOUCHES_ARBITRARY_KEYS = 1 << 20,
    CMD_REFUSED_WITH_WRITES = 1 << 24, /* While writes are, after a save that failed (PING). */
    /* A write whose changes are not asserted by debug builds (it may legally change nothing). */
    CMD_NOT_QUEUED = 1 << 21, /* Runs at once inside MULTI (EXEC, QUIT). COMMAND does not tell. */
    /* Runs a program that may take too long: it runs aside (exec/aside.h), and so does EXEC with
     * such a command in its queue. COMMAND does not tell. */
    CMD_MAY_PARK = 1 << 23,
    /* Needs the data to be between two commands, not in the middle of one that changes it in slices
     * (a save, CLIENT PAUSE); needs no such flag when it writes. COMMAND does not tell. */
    CMD_WHOLE = 1 << 27,
    /* Decides who may write from now on (REPLICAOF, FAILOVER): comes when what writes in slices is
     * done, that of a primary included. While writes are paused it does not wait, for it would wait
     * as long. COMMAND does not tell. */
    CMD_AFTER_WRITES = 1 << 25,
    /* Names any number of keys, and begins with call_slice_keys (exec/sliced.h) before it looks at
     * one. COMMAND does not tell. */
    CMD_SLICES_KEYS = 1 << 26,
    CMD_SYSTEM = 1 << 22, /* For the servers' own use: COMMAND DOCS says "syscmd". */
};

/* ACL categories; those that flags imply (write, read, admin, dangerous, fast, slow, ...) are added
 * by the registry. */
enum command_category {
    ACL_KEYSPACE = 1 << 0,
    ACL_READ = 1 << 1,
    ACL_WRITE = 1 << 2,
    ACL_SET = 1 << 3,
    ACL_SORTEDSET = 1 << 4,
    ACL_LIST = 1 << 5,
    ACL_HASH = 1 << 6,
    ACL_STRING = 1 << 7,
    ACL_BITMAP = 1 << 8,
    ACL_HYPERLOGLOG = 1 << 9,
    ACL_GEO = 1 << 10,
    ACL_STREAM = 1 << 11,
    ACL_PUBSUB = 1 << 12,
    ACL_ADMIN = 1 << 13,
    ACL_FAST = 1 << 14,
    ACL_SLOW = 1 << 15,
    ACL_BLOCKING = 1 << 16,
    ACL_DANGEROUS = 1 << 17,
    ACL_CONNECTION = 1 << 18,
    ACL_TRANSACTION = 1 << 19,
    ACL_SCRIPTING = 1 << 20,
    ACL_CATEGORY_COUNT = 21,
};

/* What a command does with its keys, as key specifications name it. */
enum key_access { KEY_RO, KEY_RW, KEY_OW, KEY_RM };

/* Bits: several may hold ("RW access update"). */
enum key_use {
    KEY_USE_NONE = 0,
    KEY_USE_ACCESS = 1 << 0,
    KEY_USE_UPDATE = 1 << 1,
    KEY_USE_INSERT = 1 << 2,
    KEY_USE_DELETE = 1 << 3,
};

/* One way in which keys stand among the arguments. Argument 0 is the command's name (and 1 the
 * subcommand's). Examples:
 *
 *     GET key                      {.first = 1}
 *     MSET key value ...           {.first = 1, .last = -1, .step = 2}
 *     ZUNION numkeys key ...       {.first = 1, .is_counted = true}
 *     XREAD ... STREAMS key.. id.. {.first = 1, .last = -1, .word = "STREAMS", .limit = 2}
 *     SORT ... STORE key           {.first = 2, .find = sort_find_store, .is_unknown = true} */
struct key_spec {
    int first; /* The first key; is_counted: the count; `word`: where its search starts. */
    int last;  /* The last key; 0: the first is the only one; -1: the last argument, and so on. */
    int step;  /* Distance between keys; 0 means 1. */
    bool is_counted;  /* Argument `first` holds the number of keys, which follow it. */
    const char *word; /* Keys begin after this option word. A negative `first` searches from the
                       * end; a positive `last` counts from the first key (0 is itself). */
    enum key_access access;
    unsigned use;       /* enum key_use, or-ed. */
    bool is_edited;     /* KEY_RO is what COMMAND tells, but parts of the value change (groups). */
    bool is_not_key;    /* Looks like one but is a channel or slot. */
    bool is_incomplete; /* There may be keys elsewhere. */
    int limit;          /* With a negative `last`: only the first 1/limit of the rest are keys. */
    bool is_unknown;    /* COMMAND does not tell where it is; `find`, if set, still finds it. */
    const char *notes;  /* COMMAND's remark on it, or NULL. */

    /* Not NULL: what happens to the key depends on the arguments ("variable_flags"). Returns the
     * spec that holds for them (same keys, other access or use); static. */
    const struct key_spec *(*refine)(const struct slice *args, uint32_t count);

    /* Not NULL: the argument that is the key, where options must be read to tell; 0: there is none.
     * What a handler writes to must be found, however its options are repeated: others are kept
     * away from it while it is written in slices. */
    uint32_t (*find)(const struct slice *args, uint32_t count);
};

enum { COMMAND_KEY_SPECS_MAX = 3 };

struct command {
    const char *name;   /* Lower case; of a subcommand only its own part ("id" of "client|id"). */
    command_run_fn run; /* NULL for a container of subcommands. */
    int arity;          /* Exact with the name; negative: at least. */
    uint32_t flags;
    uint32_t categories;
    /* Ends with first == 0 (and not is_unknown). */
    struct key_spec keys[COMMAND_KEY_SPECS_MAX];
    const char *since, *summary, *complexity, *group;

    /* The arguments after the name (and subcommand), in the notation of exec/syntax.h:
     *     "key value [condition: NX | XX]@2.6.12 [GET]@6.2.0 [expiration: EX seconds:integer |
     *      KEEPTTL]"
     * NULL or "": none. */
    const char *syntax;
    const char *tips; /* Space-separated: "nondeterministic_output request_policy:all_shards". */
    /* Since when, a space, and what replaces it: "6.2.0 `SET` with the `PX` argument"; or NULL. */
    const char *deprecated;
    const char *history; /* "6.2.0 Added GET.\n7.0.0 ...", or NULL. */
    const struct command *subcommands;
    unsigned subcommand_count;
};

/* Number of specs a row has, and whether it has any. */
static inline unsigned command_key_spec_count(const struct command *row)
{
    unsigned count = 0;
    while (count < COMMAND_KEY_SPECS_MAX &&
           (row->keys[count].first != 0 || row->keys[count].is_unknown)) {
        count++;
    }
    return count;
}
