/* Private to the room: the saver as its two files see it. */
#pragma once

#include "persist/pass.h"
#include "persist/rdb_file.h"
#include "persist/saver.h"

struct saver {
    struct saver_options options;
    struct saver_config config; /* Its texts are `dir` and `file_name`. */
    char dir[RDB_DIR_MAX], file_name[RDB_NAME_MAX];
    struct saver_stats stats;
    unsigned (*write_more)(void *context, struct codec_out *out);
    void *more_context;

    /* The save under way. */
    struct pass *pass; /* NULL: there is none. */
    struct rdb_file file;
    uint64_t dirty_before; /* Changes that it will have saved. */
    bool is_given_up;      /* By saver_abort. */

    /* The pass that is lent. */
    struct pass *lent; /* NULL: there is none. */
    void (*on_yield)(void *context);
    void *yield_context;

    int64_t tried_s;          /* Unix time of the last attempt. */
    bool is_scheduled;        /* BGSAVE SCHEDULE. */
    struct list sync_callers; /* Of struct sync_caller: SAVE waits for the end. */
};

/* ---- save_commands.c ---- */

/* The save has ended: whoever waits for it gets its answer. */
void saver_answer(struct saver *saver, bool is_good);
