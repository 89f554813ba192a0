/* The notation of a command's arguments (struct command.syntax) and the tree that COMMAND DOCS
 * tells of them. The grammar is in syntax.c. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum syntax_type {
    SYNTAX_STRING,
    SYNTAX_INTEGER,
    SYNTAX_DOUBLE,
    SYNTAX_KEY,
    SYNTAX_PATTERN,
    SYNTAX_UNIX_TIME,
    SYNTAX_PURE_TOKEN,
    SYNTAX_ONEOF,
    SYNTAX_BLOCK,
    SYNTAX_TYPE_COUNT,
};

enum { SYNTAX_NODES_MAX = 96, SYNTAX_TEXT_MAX = 1024, SYNTAX_NONE = UINT8_MAX };

/* One argument. Slices point into the notation or into the struct syntax that holds the node. */
struct syntax_node {
    struct slice name;
    struct slice token;      /* data NULL: none; it may be empty (MIGRATE). */
    struct slice since;      /* len 0: since the command. */
    struct slice deprecated; /* len 0: it is not. */
    enum syntax_type type;
    int key_spec; /* Index among the row's key specs; -1: none. */
    bool is_optional;
    bool is_multiple;
    bool is_multiple_token; /* The token is repeated too. */
    uint8_t first_child;    /* Of SYNTAX_ONEOF and SYNTAX_BLOCK; SYNTAX_NONE for others. */
    uint8_t next;           /* Sibling, or SYNTAX_NONE. */
};

struct syntax {
    struct syntax_node nodes[SYNTAX_NODES_MAX];
    unsigned node_count;
    uint8_t first;              /* SYNTAX_NONE: no arguments. */
    size_t error_at;            /* After a failure: offset into the text. */
    char text[SYNTAX_TEXT_MAX]; /* Names that the notation does not spell out. */
    size_t text_len;
};

/* Reads the notation; NULL and "" have no arguments. `key_spec_count` bounds the indices that keys
 * are given by their order. False: it does not follow the grammar, or is too long. O(text). */
bool syntax_parse(struct syntax *syntax, const char *text, unsigned key_spec_count);

/* "string", "pure-token", ... as COMMAND DOCS says it. */
const char *syntax_type_name(enum syntax_type type);
