/* Loading a file: reads it in blocks, a block ahead of the loader. In the background through the
 * ring while the server goes on, or at once. The essay is in load_file.c. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/work.h"
#include "persist/load.h"
#include "ring/ring.h"

struct load_file;

/* The end. `error` is NULL, or says why nothing more was loaded; what was loaded stays. The callee
 * may free the loading. */
typedef void (*load_file_done_fn)(void *context, const char *error);

struct load_file_options {
    const char *path;         /* Borrowed until the end. */
    struct load_options load; /* `len` is found out. */
    struct ring *ring;
    load_file_done_fn done;
    void *context;
};

/* Opens the file and begins. Returns NULL with *error 0: there is no such file; with a negative
 * errno: it cannot be read. */
struct load_file *load_file_begin(const struct load_file_options *options, int *error);

/* Gives up: nothing more is loaded. A read may still be under way. */
void load_file_stop(struct load_file *file);

/* Not before the loading has ended or, where it was stopped, the ring was closed. */
void load_file_free(struct load_file *file);

/* Loads in one go; only `path` and `load` of the options are looked at. True: all was loaded. Else
 * *error is the reason, owned by the caller (mem_free). `out` gets the loader's figures. */
struct load_figures {
    uint64_t keys_loaded, keys_expired, functions;
    uint64_t bytes, total_bytes; /* Used so far, and of the whole file. */
    struct load_facts facts;
    int64_t started_us; /* Monotonic. */
};
bool load_file_now(const struct load_file_options *options, struct load_figures *out, char **error);

struct load_figures load_file_figures(const struct load_file *file);
