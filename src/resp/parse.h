/* Requests: from the bytes of a connection to argument slices. A pure function of bytes: no
 * sockets, no clock.
 *
 * Both forms that Redis takes are read: multibulk ("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n") and inline
 * ("GET k\r\n", with quotes). Limits and error texts are Redis's.
 *
 * A complete command in the given bytes costs one pass and no allocation. An incomplete one is
 * parsed again from its start when more bytes are there, unless it has many arguments or a large
 * one: then the parser keeps its place on the heap, so that no input costs more than O(bytes).
 *
 * Large bulks (>= BLOB_LEN_MIN) that are not complete yet are announced, so that the connection can
 * receive the rest straight into a blob:
 *
 *     resp_parse -> RESP_BIG (parser->big_len, big_have)
 *         the caller drops `consumed` bytes, makes a blob, moves the big_have bytes that follow
 *         into it and receives the rest
 *     resp_parse_supply(parser, blob)
 *         the blob stands for that argument; then resp_parse goes on with the bytes that follow the
 *         bulk's content (its CRLF first)
 *
 * A caller that cannot make a blob may keep the content in its buffer and call resp_parse again. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/slice.h"

enum {
    RESP_INLINE_LEN_MAX = 64 * 1024, /* Redis's PROTO_INLINE_MAX_SIZE, also for length lines. */
    RESP_ARGS_MAX = INT32_MAX,       /* As Redis; bounded also by what arrives. */
    RESP_ARGS_MAX_UNAUTHENTICATED = 10,
    RESP_BULK_MAX_UNAUTHENTICATED = 16 * 1024,
/* Incomplete commands of at most this many arguments are parsed again, not remembered. */
#ifdef OURO_HOSTILE
    RESP_ARGS_INLINE = 4,
#else
    RESP_ARGS_INLINE = 64,
#endif
};

/* The limits for unauthenticated clients are the constants above: the parser applies them itself,
 * so that a length beyond both limits gets the text that Redis gives. */
struct resp_limits {
    uint64_t bulk_len_max; /* proto-max-bulk-len, authenticated or not. */
    uint32_t args_max;     /* RESP_ARGS_MAX, or fewer. */
    bool is_authenticated;
};

enum resp_result {
    /* One command: parser->args, argc, consumed. argc 0: an empty line or "*0", skip it. */
    RESP_COMMAND,
    /* Incomplete: call again with more bytes behind these. parser->consumed bytes are to be dropped
     * first (0 unless the parser remembers them). */
    RESP_MORE,
    /* Incomplete within a large bulk: see above. parser->consumed bytes (all before the content)
     * are to be dropped. */
    RESP_BIG,
    /* parser->error is the text after "-ERR "; the connection is to be closed after it. */
    RESP_ERROR,
    /* The request looks like HTTP (a command named POST or Host:): close without a reply. */
    RESP_HTTP,
};

struct resp_partial; /* A remembered incomplete command. */

struct resp_parser {
    /* Borrowed by the caller until the next call; points into `bytes`, the parser's heap, or
     * supplied blobs. */
    struct slice *args;
    uint32_t argc;
    size_t consumed;   /* Bytes of the input that the result has used up. */
    size_t big_len;    /* RESP_BIG: bytes of the bulk's content... */
    size_t big_have;   /* ...and how many of them are already in the input, at `consumed`. */
    const char *error; /* RESP_ERROR: static or parser-owned text. */
    struct resp_partial *partial; /* NULL between commands. */

    /* Private: where in the next input an unfinished line starts, and how many of its bytes are
     * known not to end it. */
    size_t line_at;
    size_t line_scanned;
    char error_text[40];
};

void resp_parser_init(struct resp_parser *parser);
void resp_parser_deinit(struct resp_parser *parser);

/* Reads one command from `bytes`. `room` has `room_count` (>= RESP_ARGS_INLINE) slices for the
 * common case; longer commands use the parser's heap. With remembered state, args that lay in
 * earlier (dropped) bytes have been copied by the parser. Out of memory is RESP_ERROR. After
 * RESP_ERROR and RESP_HTTP only resp_parser_deinit may follow. */
enum resp_result resp_parse(struct resp_parser *parser, struct slice bytes,
                            const struct resp_limits *limits, struct slice *room,
                            uint32_t room_count);

/* After RESP_BIG: takes over one reference of the filled blob (len == big_len). */
void resp_parse_supply(struct resp_parser *parser, struct blob *take_blob);

/* The blob behind argument `index` of the command just parsed, or NULL; the caller gets its own
 * reference. */
struct blob *resp_parse_take_blob(struct resp_parser *parser, uint32_t index);

/* Moves the command that `from` has just returned and remembers, with all its bytes and blobs, to
 * `to`, whatever that held before: there it lasts until resp_parser_deinit. Costs no more than the
 * last input's length, however long the command is. What `from` said stays readable as long as
 * `to`'s does. False: it remembers none, or memory ran out; nothing has moved. */
bool resp_parse_move(struct resp_parser *from, struct resp_parser *to)
    __attribute__((warn_unused_result));

/* Frees what the parser remembers of the command just returned; called by the connection after
 * executing a command for which parser->partial is not NULL. The next resp_parse does it too. */
void resp_parse_finish(struct resp_parser *parser);

/* Heap bytes that the parser holds: part of the client's query buffer in CLIENT LIST. */
size_t resp_parser_memory(const struct resp_parser *parser);

/* Splits one line as Redis's sdssplitargs does (quotes and escapes): inline requests and
 * configuration files. Each argument is appended to `room`, its bytes unescaped into `scratch`,
 * which holds at least line.len bytes. A NUL ends the line. Returns the count, or -1 for unbalanced
 * quotes, or -2 when room_count does not suffice. */
int resp_split_line(struct slice line, char *scratch, struct slice *room, uint32_t room_count);
