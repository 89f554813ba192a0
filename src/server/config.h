/* The configuration: every directive with its type, bounds, default and what it takes to put it
 * into force.
 *
 * One table (config_table.c) describes all directives; parsing files and command lines, CONFIG GET,
 * SET and REWRITE, and the example file's test read it. Values live in one struct config, which is
 * copied for a CONFIG SET and swapped in only when all of it could be applied. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "net/net.h"
#include "types/limits.h"

enum { CONFIG_PERCENTILES_MAX = 8, CONFIG_ERROR_LEN = 256, CONFIG_BIND_ADDRESSES_MAX = 16 };

/* Choices of the word-valued directives. */
enum config_supervised { SUPERVISED_NO, SUPERVISED_AUTO, SUPERVISED_UPSTART, SUPERVISED_SYSTEMD };
enum config_guard { GUARD_NO, GUARD_YES, GUARD_LOCAL }; /* enable-debug-command and its kind. */

/* Where events are told, beside the classes of exec/effect.h. */
enum config_events {
    CONFIG_EVENTS_BY_KEY = 1 << 16,   /* K */
    CONFIG_EVENTS_BY_EVENT = 1 << 17, /* E */
};

struct config {
    /* Network. */
    char *bind; /* Space-separated addresses; a leading '-' tolerates absence. */
    int64_t port;
    char *unix_socket;
    int64_t unix_socket_mode;
    bool protected_mode;
    int64_t tcp_backlog;
    int64_t timeout_s;
    int64_t tcp_keepalive_s;
    int64_t clients_max;
    int64_t bulk_len_max;
    int64_t query_buffer_max;
    int64_t clients_memory_max; /* Bytes; negative: percent of maxmemory. */
    struct output_limit output[CLIENT_CLASS_COUNT];
    char *password; /* requirepass; "" for none. */
    int64_t io_engine;

    /* The process. */
    bool daemonize;
    int64_t supervised;
    char *pid_file;
    int64_t log_level;
    char *log_file;
    int64_t log_format;
    bool crash_log;
    char *dir;
    int64_t enable_debug, enable_protected, enable_module;
    int64_t shutdown_timeout_s;
    int64_t shutdown_on_sigint, shutdown_on_sigterm; /* Bit sets of SHUTDOWN's options. */

    /* Keys and memory. */
    int64_t databases;
    int64_t memory_max;
    int64_t policy;
    int64_t samples;
    int64_t tenacity;
    int64_t busy_threshold_ms; /* busy-reply-threshold */
    int64_t script_memory_max;
    bool is_defragmenting;
    int64_t lfu_log_factor, lfu_decay_minutes;
    int64_t hz;
    struct type_limits types; /* Its sizes are below 2^63, so that rows may write them. */

    /* Observation. */
    int64_t slowlog_us, slowlog_max;
    int64_t latency_threshold_ms;
    bool latency_tracking;
    int64_t tracking_keys_max; /* tracking-table-max-keys */
    double percentiles[CONFIG_PERCENTILES_MAX];
    unsigned percentile_count;

    /* Persistence. */
    char *save; /* "3600 1 300 100", or "". */
    char *db_filename;
    bool rdb_compression, rdb_checksum, rdb_incremental_fsync;
    bool stops_writes; /* After a save that failed. */
    int64_t rdb_share; /* Percent of the core thread's time. */

    /* Replication; see struct repl_config. */
    int64_t repl_backlog_size, repl_backlog_ttl_s;
    int64_t repl_ping_period_s, repl_timeout_s;
    bool repl_diskless_sync;
    int64_t repl_diskless_delay_s, repl_diskless_replicas_max;
    bool repl_nodelay_off;
    int64_t repl_diskless_load; /* enum repl_load */
    int64_t replicas_min, replica_lag_max_s;
    bool replica_serves_stale, replica_is_read_only, replica_ignores_memory, replica_is_announced;
    int64_t replica_priority;
    char *replica_announce_ip;
    int64_t replica_announce_port;
    bool rdb_removes_received;             /* rdb-del-sync-files */
    char *replicaof;                       /* "host port", or "". */
    char *primary_user, *primary_password; /* masteruser, masterauth */
    int64_t empty_guard_s;                 /* empty-primary-guard-timeout */

    int64_t oom_values[3]; /* oom-score-adj-values; the scores are left alone. */

    /* Publish and subscribe. */
    unsigned events; /* notify-keyspace-events: enum event_class and enum config_events. */

    /* Values of directives that are accepted as Redis has them and change nothing here; see their
     * rows. */
    char **inert; /* By row; owned. */

    char error_room[CONFIG_ERROR_LEN]; /* Where config_set words an error. */
};

enum config_flag {
    CONFIG_IMMUTABLE = 1 << 0, /* Only at start. */
    CONFIG_PROTECTED = 1 << 1, /* CONFIG SET needs enable-protected-configs. */
    CONFIG_MANY = 1 << 2, /* Takes several words, and repeated lines add to each other (save). */
    CONFIG_OCTAL = 1 << 3,
    CONFIG_FIXED = 1 << 4, /* Only the default is accepted: the feature behind it does not exist. */
    CONFIG_SECRET = 1 << 5,    /* Never printed in logs. */
    CONFIG_FILE_NAME = 1 << 7, /* A name within `dir`, not a path. */
    CONFIG_UNSAID = 1 << 8,    /* CONFIG REWRITE leaves it out while it is empty. */
    CONFIG_SET_ONLY = 1 << 6,  /* A line in files, not a parameter (include, rename-command). */
};

/* What must be told of a change; see server_apply. */
enum config_effect {
    CONFIG_TO_NET = 1 << 0,
    CONFIG_TO_LISTEN = 1 << 1,
    CONFIG_TO_KEYSPACE = 1 << 2,
    CONFIG_TO_LOG = 1 << 3,
    CONFIG_TO_AUTH = 1 << 4,
    CONFIG_TO_OBSERVE = 1 << 5,
    CONFIG_TO_DIR = 1 << 6,
    CONFIG_TO_TYPES = 1 << 7,
    CONFIG_TO_EVENTS = 1 << 8,
    CONFIG_TO_SCRIPT = 1 << 9,
    CONFIG_TO_SAVER = 1 << 10,
    CONFIG_TO_REPL = 1 << 11,
};

enum directive_kind {
    DIRECTIVE_BOOL,
    DIRECTIVE_INTEGER,
    DIRECTIVE_MEMORY,
    DIRECTIVE_WORD,
    DIRECTIVE_TEXT,
    DIRECTIVE_SPECIAL
};

struct config_word {
    const char *name;
    int64_t value;
};

struct directive;
/* Special directives: parse words into the config, or print them. `error` is set on failure, static
 * or in error_room. */
typedef bool (*directive_set_fn)(struct config *config, const struct slice *words, unsigned count,
                                 const char **error);
typedef void (*directive_get_fn)(const struct config *config, struct buf *out);

struct directive {
    const char *name, *alias;
    enum directive_kind kind;
    unsigned flags;     /* enum config_flag */
    unsigned effects;   /* enum config_effect */
    size_t offset;      /* In struct config. */
    int64_t min, max;   /* Integers and memory. */
    const char *preset; /* The default, as it would be written. */
    const struct config_word *words;
    directive_set_fn set;
    directive_get_fn get;
    const char *inert; /* Why it changes nothing, for those that change nothing; else NULL. */
};

const struct directive *config_directives(unsigned *count);
const struct directive *config_find(struct slice name); /* By name or alias, any case; NULL. */

struct config *config_new(void); /* All defaults. */
struct config *config_copy(const struct config *config);
void config_free(struct config *config);

/* Sets one directive from its words. Returns NULL, or the error text (static, or valid until the
 * next call with this config). Does not look at CONFIG_IMMUTABLE. */
const char *config_set(struct config *config, const struct directive *directive,
                       const struct slice *words, unsigned count);

/* The value as CONFIG GET prints it. */
void config_get(const struct config *config, const struct directive *directive, struct buf *out);

/* True when both configs print the same value. */
bool config_is_same(const struct config *a, const struct config *b,
                    const struct directive *directive);

/* ---- Files and command lines ---- */

/* A rename-command line, kept until the commands exist. */
struct config_rename {
    struct config_rename *next;
    char *old_name, *new_name; /* Owned; an empty new name removes the command. */
    char *line;                /* As written, for the error. */
    unsigned line_number;
};

/* How the loader reaches files; tests have their own. Each function returns 0 or negative errno. */
struct config_disk {
    /* Calls `each` with the paths that match a pattern until it returns false; none is no error. */
    int (*expand)(void *context, const char *pattern, bool (*each)(void *loading, const char *path),
                  void *loading);
    int (*read)(void *context, const char *path, struct buf *text); /* Appends all of a file. */
    int (*find_folder)(void *context, const char *path);
    void *context;
};

/* What a start-up configuration says besides values. */
struct config_source {
    const struct config_disk *disk; /* Borrowed. */
    unsigned file_count;            /* Files read, those included among them. */
    char *file;                     /* Absolute path of the file given, or NULL. */
    struct config_rename *renames;
    struct config_rename **renames_end;
    struct buf error; /* What went wrong, as it is to be printed. */
    bool has_save;    /* A save line was read: the default points are gone. */
};

void config_source_init(struct config_source *source);
void config_source_deinit(struct config_source *source);

/* Reads `file` (NULL: none; "-": standard input), then `--directive value ...` words. False:
 * source->error says why, in Redis's words. */
bool config_load(struct config *config, struct config_source *source, const char *file,
                 char *const *words, int word_count) __attribute__((warn_unused_result));

/* Words the error of one line. */
void config_source_fail(struct config_source *source, unsigned line_number, const char *line,
                        const char *why);

/* A file's text with the values of `config` written into it; see config_rewrite. */
void config_rewrite_text(const struct config *config, struct slice text, struct buf *out);

/* CONFIG REWRITE: the file with changed values replaced in place, comments and order kept, new ones
 * at the end; written beside it and renamed over it. Returns 0 or negative errno. Blocks for one
 * fsync. */
int config_rewrite(const struct config *config, const char *file)
    __attribute__((warn_unused_result));
