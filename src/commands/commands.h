/* The families of commands: one function each, called once at start. `exec` then holds the family's
 * rows until it is freed. */
#pragma once

struct exec;
struct type_limits;

/* What HELLO tells of the server. Owned by the composition root, which changes it when roles
 * change; the texts are static or outlive exec. */
struct connection_family {
    const char *version; /* "7.2.0" */
    const char *mode;    /* "standalone" or "cluster" */
    const char *role;    /* "master" or "replica" */
};

/* PING, ECHO, SELECT, AUTH, HELLO, QUIT, RESET. `family` is borrowed. */
void commands_register_connection(struct exec *exec, const struct connection_family *family);

/* CLIENT and its subcommands. */
void commands_register_client(struct exec *exec);

/* COMMAND and its subcommands. */
void commands_register_command(struct exec *exec);

/* GET, SET and what reads or replaces whole strings; conditions on them; then parts of strings,
 * numbers, several keys at once, and LCS. */
void commands_register_strings(struct exec *exec);
void commands_register_strings_condition(struct exec *exec);
void commands_register_strings_parts(struct exec *exec);
void commands_register_strings_numbers(struct exec *exec);
void commands_register_strings_many(struct exec *exec);
void commands_register_strings_lcs(struct exec *exec);

/* DEL, EXISTS, TYPE, ...; RENAME, COPY, MOVE; expiry; KEYS and SCAN. */
void commands_register_keys(struct exec *exec);
void commands_register_keys_copy(struct exec *exec, struct type_limits *limits);
void commands_register_keys_expire(struct exec *exec);
void commands_register_keys_walk(struct exec *exec);

/* MULTI, EXEC, DISCARD, WATCH, UNWATCH. */
void commands_register_transactions(struct exec *exec);

/* FLUSHDB, FLUSHALL, SWAPDB. */
void commands_register_databases(struct exec *exec);

/* OBJECT and its subcommands. */
void commands_register_object(struct exec *exec);

/* HSET, HGET and what deals with whole fields; HINCRBY and its kind; HSCAN and HRANDFIELD. `limits`
 * is borrowed. */
void commands_register_hashes(struct exec *exec, struct type_limits *limits);
void commands_register_hashes_numbers(struct exec *exec, struct type_limits *limits);
void commands_register_hashes_walk(struct exec *exec, struct type_limits *limits);
void commands_register_hashes_expire(struct exec *exec, struct type_limits *limits);

/* LPUSH, LRANGE and what works at the ends of lists; LSET, LREM and the like; LMOVE and LMPOP;
 * the forms that wait. `limits` is borrowed. */
void commands_register_lists(struct exec *exec, struct type_limits *limits);
void commands_register_lists_edit(struct exec *exec, struct type_limits *limits);
void commands_register_lists_move(struct exec *exec, struct type_limits *limits);
void commands_register_lists_block(struct exec *exec, struct type_limits *limits);

/* Sorted sets: members and scores; ranges; popping, drawing and scanning; waiting; unions and the
 * like. Then places on the globe, which are sorted sets, and searches among them. */
void commands_register_zsets(struct exec *exec, struct type_limits *limits);
void commands_register_zsets_range(struct exec *exec, struct type_limits *limits);
void commands_register_zsets_pop(struct exec *exec, struct type_limits *limits);
void commands_register_zsets_block(struct exec *exec, struct type_limits *limits);
void commands_register_zsets_combine(struct exec *exec, struct type_limits *limits);
void commands_register_geo(struct exec *exec, struct type_limits *limits);
void commands_register_geo_search(struct exec *exec, struct type_limits *limits);

/* Sets: members; chance; sets against sets; SSCAN. */
void commands_register_sets(struct exec *exec, struct type_limits *limits);
void commands_register_sets_random(struct exec *exec, struct type_limits *limits);
void commands_register_sets_algebra(struct exec *exec, struct type_limits *limits);
void commands_register_sets_scan(struct exec *exec);

/* Streams: adding and trimming; ranges; reading; groups; what is pending; XINFO. */
void commands_register_streams(struct exec *exec, struct type_limits *limits);
void commands_register_streams_range(struct exec *exec, struct type_limits *limits);
void commands_register_streams_read(struct exec *exec, struct type_limits *limits);
void commands_register_streams_group(struct exec *exec, struct type_limits *limits);
void commands_register_streams_pending(struct exec *exec, struct type_limits *limits);
void commands_register_streams_info(struct exec *exec, struct type_limits *limits);

/* SORT and SORT_RO; DUMP and RESTORE. `limits` is borrowed. */
void commands_register_sort(struct exec *exec, struct type_limits *limits);
void commands_register_dump(struct exec *exec, struct type_limits *limits);

/* Bits of strings: one, all, combinations; integers of any width. */
void commands_register_bitmaps(struct exec *exec);
void commands_register_bitmaps_field(struct exec *exec);

/* PFADD, PFCOUNT, PFMERGE and their relatives. */
void commands_register_hyperloglog(struct exec *exec, struct type_limits *limits);

/* All of the above. `family` and `limits` are borrowed for exec's life; the composition root
 * changes the limits with the configuration. */
void commands_register_all(struct exec *exec, const struct connection_family *family,
                           struct type_limits *limits);
