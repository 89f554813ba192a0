/* Private to the room: the saver as its two files see it. */
#pragma once

#include "persist/mill.h"
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
    struct mill *mill; /* NULL: there is none. */
    struct walk *walk; /* NULL: all is walked. */
    struct rdb_file file;
    uint64_t dirty_before;  /* Changes that it will have saved. */
    uint64_t commands_seen; /* At the last slice. */
    int64_t due_us;
    bool is_alone;    /* Nothing else runs meanwhile. */
    bool is_given_up; /* By saver_abort. */
    bool has_no_memory;

    int64_t tried_s;          /* Unix time of the last attempt. */
    bool is_scheduled;        /* BGSAVE SCHEDULE. */
    struct list sync_callers; /* Of struct sync_caller: SAVE waits for the end. */
};

/* ---- save_commands.c ---- */

/* The save has ended: whoever waits for it gets its answer. */
void saver_answer(struct saver *saver, bool is_good);
