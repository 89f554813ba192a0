/* Requests: bytes to argument slices.
 *
 * A multibulk command on the wire, and what becomes of it:
 *
 *     * 3 \r \n $ 3 \r \n S E T \r \n $ 1 \r \n k \r \n $ 2 \r \n h i \r \n
 *                         ^---^                   ^             ^-^
 *                         args[0]                 args[1]       args[2]    slices of the input
 *
 * There are two readers. `parse_whole` takes a complete command of small lengths in one pass: it
 * allocates nothing, searches nothing and gives up at anything unusual. `read_multibulk` is the
 * careful one: it finds lines of any length, words the errors, and can stop anywhere. A command
 * that stops early and is small is forgotten: its headers are read again when more bytes are there,
 * and since bulk contents are skipped rather than scanned, that costs at most RESP_ARGS_INLINE
 * headers a call. A command with more arguments, or stopped within a large bulk, is kept:
 *
 *     struct resp_partial
 *       args   [slice][slice][slice]...      grown as arguments arrive, never to the declared count
 *       copies [chunk] -> [chunk]            bytes of arguments whose input was dropped
 *       blobs  (index, blob)...              large arguments supplied by the connection
 *
 * Costs: a whole command, a few nanoseconds an argument. A kept one, O(bytes) however it is cut,
 * and no step of it grows with its arguments (base/stretch.h).
 * Lines without an end are scanned once: line_at and line_scanned say where to go on.
 *
 * Invariants:
 *   1. The outcome depends on the bytes alone, never on how they were cut into calls.
 *   2. consumed > 0 with RESP_MORE or RESP_BIG only when everything before it is kept.
 *   3. Memory kept is bounded by a constant factor of the bytes that arrived.
 *   4. blobs are in ascending order of index.
 *
 * Lines end with CR and any one byte, as in Redis. The two bytes behind a bulk are checked to be
 * CRLF, which Redis does not do: when they are not, the length was wrong, the stream has lost its
 * frames, and what follows would run as commands though a peer meant it as data. A NUL in a length
 * line is an error here; Redis waits for ever for the end of a line that it can no longer see. In
 * inline requests a NUL hides the rest of the line just as in Redis, so binary protocols that reach
 * the port by mistake get no answer.
 *
 * Rejected: a resumable state machine for every command (its state is loaded and stored for each of
 * millions of commands to serve the few that are cut), and memchr for length lines (a call costs
 * more than the two or three digits). */
#include "resp/parse.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/stretch.h"

enum {
    COPY_CHUNK_MIN = 1024,   /* First chunk of copied bytes; later ones double. */
    ARGS_CAP_MIN = 64,       /* First heap array of arguments; it doubles. */
    SHORT_LENGTH_DIGITS = 7, /* Longer ones go to the careful reader. */
    HEADER_AND_CRLF_LEN = 6, /* "$0\r\n\r\n": the shortest bulk. */
};

/* line_scanned: a NUL hides the end of the inline request; it can only grow too long. */
static const size_t LINE_IS_HIDDEN = SIZE_MAX;

static const char ERROR_MEMORY[] = "Protocol error: out of memory for the request";

/* Bytes of arguments whose input was dropped. Chunks never move, so slices into them hold. */
struct copy_chunk {
    struct copy_chunk *next; /* Older. */
    size_t len;
    size_t cap;
    char bytes[];
};

struct blob_place {
    struct blob *blob; /* One reference owned. */
    uint32_t index;    /* Of the argument. */
};

struct resp_partial {
    struct slice *args; /* In `room`. */
    struct stretch room;
    uint32_t args_cap;
    uint32_t declared;         /* From the count line. */
    uint32_t done;             /* Arguments read. */
    uint32_t kept;             /* The first `kept` of them do not point into the input. */
    int64_t bulk_len;          /* Of the argument being read; -1 before its length line. */
    struct copy_chunk *chunks; /* Newest first. */
    struct blob_place *blobs;  /* Owned. */
    uint32_t blob_count;
    uint32_t blob_cap;
    size_t memory;    /* Bytes of chunks and blobs. */
    bool awaits_crlf; /* A supplied blob's terminator comes next. */
    bool is_complete; /* The command was returned. */
};

/* A walk over one input. */
struct reader {
    struct resp_parser *parser;
    const struct resp_limits *limits;
    const char *start, *at, *end;
    struct slice *room;
    uint32_t room_count;
};

/* ---- What is kept ---- */

static struct resp_partial *partial_new(uint32_t declared)
{
    struct resp_partial *partial = mem_zalloc(sizeof *partial);
    partial->declared = declared;
    partial->bulk_len = -1;
    return partial;
}

static void partial_free(struct resp_partial *partial)
{
    while (partial->chunks != NULL) {
        struct copy_chunk *chunk = partial->chunks;
        partial->chunks = chunk->next;
        mem_free(chunk);
    }
    for (uint32_t i = 0; i < partial->blob_count; i++) {
        blob_drop(partial->blobs[i].blob);
    }
    mem_free(partial->blobs);
    stretch_deinit(&partial->room);
    mem_free(partial);
}

/* Room for `len` copied bytes, or NULL. */
static char *partial_room(struct resp_partial *partial, size_t len)
{
    struct copy_chunk *chunk = partial->chunks;
    if (chunk == NULL || chunk->cap - chunk->len < len) {
        size_t cap = chunk == NULL ? COPY_CHUNK_MIN : chunk->cap * 2;
        cap = cap < len ? len : cap;
        struct copy_chunk *fresh = mem_try_alloc(sizeof *fresh + cap);
        if (fresh == NULL) {
            return NULL;
        }
        *fresh = (struct copy_chunk){.next = chunk, .cap = cap};
        partial->chunks = fresh;
        partial->memory += sizeof *fresh + cap;
        chunk = fresh;
    }
    char *place = chunk->bytes + chunk->len;
    chunk->len += len;
    return place;
}

static bool partial_make_room(struct resp_partial *partial, uint32_t cap)
{
    if (!stretch_try_grow(&partial->room, (size_t)cap * sizeof *partial->args)) {
        return false;
    }
    partial->args = partial->room.bytes;
    partial->args_cap = cap;
    return true;
}

/* Makes sure that one more argument fits. */
static bool partial_reserve(struct resp_partial *partial)
{
    return partial->done < partial->args_cap ||
           partial_make_room(partial,
                             partial->args_cap == 0 ? ARGS_CAP_MIN : partial->args_cap * 2);
}

static bool partial_append(struct resp_partial *partial, struct slice arg)
{
    if (!partial_reserve(partial)) {
        return false;
    }
    partial->args[partial->done++] = arg;
    return true;
}

/* Copies the arguments that still point into the input. */
static bool partial_keep(struct resp_partial *partial)
{
    for (; partial->kept < partial->done; partial->kept++) {
        struct slice *arg = &partial->args[partial->kept];
        if (arg->len == 0) {
            *arg = slice_of("", 0);
            continue;
        }
        char *copy = partial_room(partial, arg->len);
        if (copy == NULL) {
            return false;
        }
        memcpy(copy, arg->data, arg->len);
        arg->data = copy;
    }
    return true;
}

/* ---- Outcomes ---- */

static enum resp_result fail(struct reader *reader, const char *error)
{
    reader->parser->error = error;
    reader->parser->consumed = 0;
    return RESP_ERROR;
}

static enum resp_result fail_type(struct reader *reader, char got)
{
    struct resp_parser *parser = reader->parser;
    snprintf(parser->error_text, sizeof parser->error_text,
             "Protocol error: expected '$', got '%c'", got);
    return fail(reader, parser->error_text);
}

/* Browsers can be made to send such requests to a cache inside a network: they must not run. */
static inline bool is_http(struct slice name)
{
    if (name.len != 4 && name.len != 5) {
        return false;
    }
    uint32_t word, post, host;
    memcpy(&word, name.data, sizeof word);
    memcpy(&post, "post", sizeof post);
    memcpy(&host, "host", sizeof host);
    word |= 0x20202020; /* To lower case. */
    return name.len == 4 ? word == post : word == host && name.data[4] == ':';
}

static enum resp_result finish_command(struct reader *reader, struct slice *args, uint32_t argc)
{
    struct resp_parser *parser = reader->parser;
    parser->args = args;
    parser->argc = argc;
    parser->consumed = (size_t)(reader->at - reader->start);
    return argc > 0 && is_http(args[0]) ? RESP_HTTP : RESP_COMMAND;
}

/* ---- Whole commands ---- */

/* Reads the digits of a length and the two bytes that end its line. NULL for anything but a short,
 * plain number: the careful reader knows what it is. */
static const char *short_length_loop(const char *at, const char *end, size_t *length)
{
    const char *first = at;
    const char *last = end - at > SHORT_LENGTH_DIGITS ? at + SHORT_LENGTH_DIGITS + 1 : end;
    size_t value = 0;
    while (at < last && (unsigned char)(*at - '0') <= 9) {
        value = value * 10 + (unsigned char)(*at - '0');
        at++;
    }
    size_t digits = (size_t)(at - first);
    if (digits - 1 >= SHORT_LENGTH_DIGITS || end - at < 2 || *at != '\r' ||
        (digits > 1 && *first == '0')) {
        return NULL;
    }
    *length = value;
    return at + 2;
}

/* The same; lengths of one and two digits, which are nearly all, take a few instructions. */
static inline const char *short_length(const char *at, const char *end, size_t *length)
{
    if (__builtin_expect(end - at >= 4, 1)) {
        unsigned first = (unsigned char)(at[0] - '0');
        unsigned second = (unsigned char)(at[1] - '0');
        if (first <= 9 && at[1] == '\r') {
            *length = first;
            return at + 3;
        }
        if (first - 1 <= 8 && second <= 9 && at[2] == '\r') {
            *length = first * 10 + second;
            return at + 4;
        }
    }
    return short_length_loop(at, end, length);
}

static inline bool is_crlf(const char *at)
{
    return at[0] == '\r' && at[1] == '\n';
}

/* Reads a complete multibulk command into `room`; false leaves everything to read_multibulk. */
static bool parse_whole(struct reader *reader, enum resp_result *result)
{
    const struct resp_limits *limits = reader->limits;
    const char *end = reader->end;
    size_t count = 0, len = 0;
    const char *at = short_length(reader->start + 1, end, &count);
    size_t args_max = limits->is_authenticated ? limits->args_max : RESP_ARGS_MAX_UNAUTHENTICATED;
    size_t bulk_max = limits->bulk_len_max;
    if (!limits->is_authenticated && bulk_max > RESP_BULK_MAX_UNAUTHENTICATED) {
        bulk_max = RESP_BULK_MAX_UNAUTHENTICATED;
    }
    if (at == NULL || count > reader->room_count || count > args_max) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (end - at < HEADER_AND_CRLF_LEN || *at != '$') {
            return false;
        }
        at = short_length(at + 1, end, &len);
        if (at == NULL || len > bulk_max || (size_t)(end - at) < len + 2 || !is_crlf(at + len)) {
            return false;
        }
        reader->room[i] = slice_of(at, len);
        at += len + 2;
    }
    reader->at = at;
    *result = finish_command(reader, reader->room, (uint32_t)count);
    return true;
}

/* ---- Lines ---- */

enum line_result { LINE_FOUND, LINE_MORE, LINE_TOO_BIG, LINE_HAS_NUL };

/* Where the search for the end of the line at reader->at goes on. */
static size_t line_resume(const struct reader *reader)
{
    const struct resp_parser *parser = reader->parser;
    return parser->line_at == (size_t)(reader->at - reader->start) ? parser->line_scanned : 0;
}

/* Finds the CR that ends the length line at reader->at and the byte behind it. `*scanned` is how
 * far a line that needs more was searched. */
static enum line_result find_length_line(struct reader *reader, struct slice *line, size_t *scanned)
{
    const char *at = reader->at;
    size_t have = (size_t)(reader->end - at);
    size_t limit = have <= RESP_INLINE_LEN_MAX ? have : RESP_INLINE_LEN_MAX + 1;
    size_t from = line_resume(reader);
    from = from < limit ? from : limit;
    const char *found = limit == from ? NULL : memchr(at + from, '\r', limit - from);
    size_t len = found == NULL ? limit : (size_t)(found - at);
    if (len > from && memchr(at + from, '\0', len - from) != NULL) {
        return LINE_HAS_NUL;
    }
    *line = slice_of(at, len);
    *scanned = len;
    if (found == NULL) {
        return have > RESP_INLINE_LEN_MAX ? LINE_TOO_BIG : LINE_MORE;
    }
    return len + 2 > have ? LINE_MORE : LINE_FOUND;
}

/* The number behind a line's type byte. */
static bool line_number(struct slice line, int64_t *value)
{
    return line.len > 0 && num_parse_i64(slice_of(line.data + 1, line.len - 1), value);
}

/* ---- The careful reader ---- */

/* Ends a call in the middle of a command. `scanned` bytes of the line at reader->at are known. */
static enum resp_result stop(struct reader *reader, size_t scanned)
{
    struct resp_parser *parser = reader->parser;
    struct resp_partial *partial = parser->partial;
    size_t read = (size_t)(reader->at - reader->start);
    parser->line_scanned = scanned;
    if (partial == NULL) {
        parser->consumed = 0;
        parser->line_at = read;
        return RESP_MORE;
    }
    if (!partial_keep(partial)) {
        return fail(reader, ERROR_MEMORY);
    }
    parser->consumed = read;
    parser->line_at = 0;
    if (partial->awaits_crlf || partial->bulk_len < BLOB_LEN_MIN) {
        return RESP_MORE;
    }
    if (!partial_reserve(partial)) {
        return fail(reader, ERROR_MEMORY); /* So that resp_parse_supply cannot fail. */
    }
    size_t have = (size_t)(reader->end - reader->at);
    parser->big_len = (size_t)partial->bulk_len;
    parser->big_have = have < parser->big_len ? have : parser->big_len;
    return RESP_BIG;
}

/* Reads "*<count>\r\n". RESP_COMMAND: `*count` is set. */
static enum resp_result read_count(struct reader *reader, int64_t *count)
{
    struct slice line;
    size_t scanned;
    switch (find_length_line(reader, &line, &scanned)) {
    case LINE_FOUND:
        break;
    case LINE_MORE:
        return stop(reader, scanned);
    case LINE_TOO_BIG:
        return fail(reader, "Protocol error: too big mbulk count string");
    case LINE_HAS_NUL:
        return fail(reader, "Protocol error: invalid multibulk length");
    }
    if (!line_number(line, count) || *count > (int64_t)reader->limits->args_max) {
        return fail(reader, "Protocol error: invalid multibulk length");
    }
    if (*count > RESP_ARGS_MAX_UNAUTHENTICATED && !reader->limits->is_authenticated) {
        return fail(reader, "Protocol error: unauthenticated multibulk length");
    }
    reader->at += line.len + 2;
    return RESP_COMMAND;
}

/* Reads "$<len>\r\n". RESP_COMMAND: `*bulk_len` is set. */
static enum resp_result read_bulk_len(struct reader *reader, int64_t *bulk_len)
{
    struct slice line;
    size_t scanned;
    int64_t value;
    switch (find_length_line(reader, &line, &scanned)) {
    case LINE_FOUND:
        break;
    case LINE_MORE:
        return stop(reader, scanned);
    case LINE_TOO_BIG:
        return fail(reader, "Protocol error: too big bulk count string");
    case LINE_HAS_NUL:
        return fail(reader, "Protocol error: invalid bulk length");
    }
    if (*line.data != '$') {
        return fail_type(reader, *line.data);
    }
    if (!line_number(line, &value) || value < 0 || (uint64_t)value > reader->limits->bulk_len_max) {
        return fail(reader, "Protocol error: invalid bulk length");
    }
    if (value > RESP_BULK_MAX_UNAUTHENTICATED && !reader->limits->is_authenticated) {
        return fail(reader, "Protocol error: unauthenticated bulk length");
    }
    reader->at += line.len + 2;
    *bulk_len = value;
    return RESP_COMMAND;
}

/* Starts to keep a command: `done` of its `declared` arguments are in the room. */
static bool keep_from_room(struct reader *reader, uint32_t declared, uint32_t done)
{
    struct resp_partial *partial = partial_new(declared);
    reader->parser->partial = partial;
    for (uint32_t i = 0; i < done; i++) {
        if (!partial_append(partial, reader->room[i])) {
            return false;
        }
    }
    return true;
}

/* Goes on with a kept command. */
static enum resp_result read_kept(struct reader *reader)
{
    struct resp_partial *partial = reader->parser->partial;
    while (partial->done < partial->declared || partial->awaits_crlf) {
        if (!partial->awaits_crlf && partial->bulk_len < 0) {
            enum resp_result result = read_bulk_len(reader, &partial->bulk_len);
            if (result != RESP_COMMAND) {
                return result;
            }
        }
        size_t len = partial->awaits_crlf ? 0 : (size_t)partial->bulk_len;
        if ((size_t)(reader->end - reader->at) < len + 2) {
            return stop(reader, 0);
        }
        if (!is_crlf(reader->at + len)) {
            return fail(reader, "Protocol error: invalid bulk length");
        }
        if (!partial->awaits_crlf && !partial_append(partial, slice_of(reader->at, len))) {
            return fail(reader, ERROR_MEMORY);
        }
        partial->awaits_crlf = false;
        partial->bulk_len = -1;
        reader->at += len + 2;
    }
    partial->is_complete = true;
    return finish_command(reader, partial->args, partial->done);
}

/* Reads a command that is not remembered: it is incomplete, wrong or long. */
static enum resp_result read_multibulk(struct reader *reader)
{
    int64_t count = 0, bulk_len = 0;
    enum resp_result result = read_count(reader, &count);
    if (result != RESP_COMMAND) {
        return result;
    }
    if (count <= 0) {
        return finish_command(reader, reader->room, 0);
    }
    if (count > RESP_ARGS_INLINE) {
        return keep_from_room(reader, (uint32_t)count, 0) ? read_kept(reader)
                                                          : fail(reader, ERROR_MEMORY);
    }
    for (uint32_t done = 0; done < count; done++) {
        result = read_bulk_len(reader, &bulk_len);
        if (result != RESP_COMMAND) {
            return result;
        }
        size_t len = (size_t)bulk_len;
        if ((size_t)(reader->end - reader->at) < len + 2) {
            if (len < BLOB_LEN_MIN) {
                return stop(reader, 0);
            }
            if (!keep_from_room(reader, (uint32_t)count, done)) {
                return fail(reader, ERROR_MEMORY);
            }
            reader->parser->partial->bulk_len = bulk_len;
            return stop(reader, 0);
        }
        if (!is_crlf(reader->at + len)) {
            return fail(reader, "Protocol error: invalid bulk length");
        }
        reader->room[done] = slice_of(reader->at, len);
        reader->at += len + 2;
    }
    return finish_command(reader, reader->room, (uint32_t)count);
}

/* ---- Inline requests ---- */

static bool is_space(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* Most words that a line of `len` bytes has. */
static uint32_t words_max(size_t len)
{
    return (uint32_t)(len / 2 + 1);
}

/* Splits on the heap: the line has quotes, or more words than the room takes. */
static enum resp_result split_kept(struct reader *reader, struct slice line)
{
    struct resp_partial *partial = partial_new(0);
    reader->parser->partial = partial;
    bool has_room = partial_make_room(partial, words_max(line.len));
    char *scratch = partial_room(partial, line.len);
    if (!has_room || scratch == NULL) {
        return fail(reader, ERROR_MEMORY);
    }
    int count = resp_split_line(line, scratch, partial->args, partial->args_cap);
    if (count < 0) {
        return fail(reader, "Protocol error: unbalanced quotes in request");
    }
    partial->done = partial->kept = (uint32_t)count;
    partial->is_complete = true;
    return finish_command(reader, partial->args, partial->done);
}

/* Splits a line without quotes in place; false when the room does not suffice. */
static bool split_in_place(struct slice line, struct slice *room, uint32_t room_count,
                           uint32_t *count)
{
    const char *at = line.data;
    const char *end = at + line.len;
    *count = 0;
    for (;;) {
        while (at < end && is_space(*at)) {
            at++;
        }
        if (at == end) {
            return true;
        }
        if (*count == room_count) {
            return false;
        }
        const char *word = at;
        while (at < end && *at != ' ' && *at != '\n' && *at != '\r' && *at != '\t') {
            at++;
        }
        room[(*count)++] = slice_of(word, (size_t)(at - word));
    }
}

static bool has_quotes(struct slice line)
{
    return memchr(line.data, '"', line.len) != NULL || memchr(line.data, '\'', line.len) != NULL;
}

static enum resp_result read_inline(struct reader *reader)
{
    size_t have = (size_t)(reader->end - reader->start);
    size_t limit = have <= RESP_INLINE_LEN_MAX ? have : RESP_INLINE_LEN_MAX + 1;
    size_t from = line_resume(reader);
    const char *newline = NULL;
    if (from < limit) {
        newline = memchr(reader->start + from, '\n', limit - from);
        size_t clear = newline == NULL ? limit : (size_t)(newline - reader->start);
        bool is_hidden = clear > from && memchr(reader->start + from, '\0', clear - from) != NULL;
        newline = is_hidden ? NULL : newline;
        from = is_hidden ? LINE_IS_HIDDEN : clear;
    }
    if (newline == NULL) {
        return have > RESP_INLINE_LEN_MAX ? fail(reader, "Protocol error: too big inline request")
                                          : stop(reader, from);
    }
    struct slice line = slice_of(reader->start, (size_t)(newline - reader->start));
    reader->at = newline + 1;
    if (line.len > 0 && line.data[line.len - 1] == '\r') {
        line.len--;
    }
    uint32_t count;
    if (has_quotes(line) || !split_in_place(line, reader->room, reader->room_count, &count)) {
        return split_kept(reader, line);
    }
    return finish_command(reader, reader->room, count);
}

/* ---- The parser ---- */

void resp_parser_init(struct resp_parser *parser)
{
    *parser = (struct resp_parser){0};
}

void resp_parser_deinit(struct resp_parser *parser)
{
    resp_parse_finish(parser);
}

void resp_parse_finish(struct resp_parser *parser)
{
    if (parser->partial != NULL) {
        partial_free(parser->partial);
        parser->partial = NULL;
    }
}

/* Everything but a whole small command. */
static __attribute__((noinline)) enum resp_result parse_carefully(struct reader *reader)
{
    struct resp_parser *parser = reader->parser;
    enum resp_result result;
    if (parser->partial != NULL) {
        result = read_kept(reader);
    } else if (*reader->start == '*') {
        result = read_multibulk(reader);
    } else {
        result = read_inline(reader);
    }
    if (result != RESP_MORE) {
        parser->line_scanned = 0;
    }
    return result;
}

enum resp_result resp_parse(struct resp_parser *parser, struct slice bytes,
                            const struct resp_limits *limits, struct slice *room,
                            uint32_t room_count)
{
    DEBUG_ASSERT(room_count >= RESP_ARGS_INLINE);
    if (parser->partial != NULL && parser->partial->is_complete) {
        resp_parse_finish(parser);
    }
    if (bytes.len == 0) {
        parser->consumed = 0;
        return RESP_MORE;
    }
    struct reader reader = {.parser = parser,
                            .limits = limits,
                            .start = bytes.data,
                            .at = bytes.data,
                            .end = bytes.data + bytes.len,
                            .room = room,
                            .room_count = room_count};
    enum resp_result result;
    if (parser->partial == NULL && *bytes.data == '*' && parse_whole(&reader, &result)) {
        parser->line_scanned = 0;
        return result;
    }
    return parse_carefully(&reader);
}

void resp_parse_supply(struct resp_parser *parser, struct blob *take_blob)
{
    struct resp_partial *partial = parser->partial;
    ASSERT(partial != NULL && !partial->awaits_crlf && partial->bulk_len >= BLOB_LEN_MIN);
    ASSERT(take_blob->len == (size_t)partial->bulk_len && partial->kept == partial->done);
    if (partial->blob_count == partial->blob_cap) {
        partial->blob_cap = partial->blob_cap == 0 ? 4 : partial->blob_cap * 2;
        partial->blobs = mem_realloc(partial->blobs, partial->blob_cap * sizeof *partial->blobs);
    }
    partial->blobs[partial->blob_count++] =
        (struct blob_place){.blob = take_blob, .index = partial->done};
    partial->memory += take_blob->cap;
    DEBUG_ASSERT(partial->done < partial->args_cap);
    partial->args[partial->done++] = blob_slice(take_blob);
    partial->kept = partial->done;
    partial->bulk_len = -1;
    partial->awaits_crlf = true;
}

struct blob *resp_parse_take_blob(struct resp_parser *parser, uint32_t index)
{
    struct resp_partial *partial = parser->partial;
    uint32_t low = 0;
    uint32_t high = partial == NULL ? 0 : partial->blob_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (partial->blobs[middle].index < index) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (partial == NULL || low == partial->blob_count || partial->blobs[low].index != index) {
        return NULL;
    }
    return blob_share(partial->blobs[low].blob);
}

bool resp_parse_move(struct resp_parser *from, struct resp_parser *to)
{
    struct resp_partial *partial = from->partial;
    if (partial == NULL || !partial->is_complete || !partial_keep(partial)) {
        return false;
    }
    *to = (struct resp_parser){.args = partial->args, .argc = partial->done, .partial = partial};
    from->partial = NULL;
    return true;
}

size_t resp_parser_memory(const struct resp_parser *parser)
{
    const struct resp_partial *partial = parser->partial;
    if (partial == NULL) {
        return 0;
    }
    return sizeof *partial + stretch_memory(&partial->room) +
           partial->blob_cap * sizeof *partial->blobs + partial->memory;
}
