/* Libraries of functions, for this room's commands. Never included from outside src/script/. */
#pragma once

#include "script/script_internal.h"

struct function {
    struct function *next; /* Of its library. */
    struct library *library;
    char *name;
    char *description; /* NULL: none. */
    uint32_t flags;    /* enum script_flag */
    int reference;     /* Kept in the vm of functions. */
};

struct library {
    char *name;
    char *code; /* The whole text, first line included. */
    size_t code_len;
    struct function *functions; /* Newest first. */
    size_t function_count;
};

struct libraries {
    struct library **at; /* By name. */
    size_t count;
    struct function **functions; /* By name in lower case. */
    size_t function_count;
};

/* Runs the library's code. NULL: the whole error reply is in `error`. */
struct library *library_build(struct script *script, struct slice text, struct buf *error);
void library_free(struct script *script, struct library *library);

/* The name in the first line, checked. */
bool library_read_name(struct slice text, struct slice *name, struct buf *error);

struct library *libraries_find(const struct libraries *libraries, struct slice name);
struct function *libraries_find_function(const struct libraries *libraries, struct slice name);

/* Puts libraries in place; their names must be free. O(n log n) of all functions. */
void libraries_add(struct script *script, struct library *const *take_libraries, size_t count);

/* Takes one out, which is then the caller's. */
void libraries_take(struct script *script, struct library *library);

/* Frees all: with their state, in slices; or (others have been built in the same state) alone. */
void libraries_flush(struct script *script);
void libraries_clear(struct script *script);

/* FUNCTION LOAD: all of it or nothing. */
bool libraries_load(struct script *script, struct slice text, bool may_replace, struct buf *error);
