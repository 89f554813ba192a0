/* Feeds bytes to the parser as a connection does, cut into pieces, and writes down what comes out:
 * "[GET|k]" for a command, "!text" for an error, "!HTTP" for a request that looks like HTTP. Every
 * call gets its input in an allocation of exactly its length, so that a sanitizer sees a read
 * beyond it. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "base/blob.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/rng.h"
#include "resp/parse.h"

struct feed {
    struct resp_parser parser;
    struct resp_limits limits;
    struct slice room[RESP_ARGS_INLINE];
    struct buf pending; /* Received, not used up. */
    struct buf trace;   /* What came out. */
    struct blob *blob;  /* A large bulk being received, or NULL. */
    size_t blob_len;    /* Its length in the end. */
    unsigned big_count; /* RESP_BIG answers taken. */
    bool refuses_blobs; /* Keeps large bulks in the input. */
    bool is_closed;     /* After an error. */
};

static inline void feed_init(struct feed *feed, bool is_authenticated)
{
    *feed = (struct feed){.limits = {.bulk_len_max = 512u * 1024 * 1024,
                                     .args_max = RESP_ARGS_MAX,
                                     .is_authenticated = is_authenticated}};
    resp_parser_init(&feed->parser);
    buf_init(&feed->pending);
    buf_init(&feed->trace);
}

static inline void feed_deinit(struct feed *feed)
{
    resp_parser_deinit(&feed->parser);
    buf_deinit(&feed->pending);
    buf_deinit(&feed->trace);
    if (feed->blob != NULL) {
        blob_drop(feed->blob);
    }
}

static inline void feed_drop(struct feed *feed, size_t len)
{
    if (len > 0) {
        memmove(feed->pending.data, feed->pending.data + len, feed->pending.len - len);
        feed->pending.len -= len;
    }
}

/* Writes a command down and checks that an argument that has a blob is that blob's bytes. */
static inline void feed_trace_command(struct feed *feed)
{
    buf_append_byte(&feed->trace, '[');
    for (uint32_t i = 0; i < feed->parser.argc; i++) {
        if (i > 0) {
            buf_append_byte(&feed->trace, '|');
        }
        buf_append(&feed->trace, feed->parser.args[i]);
        struct blob *blob = resp_parse_take_blob(&feed->parser, i);
        if (blob != NULL) {
            if (blob->bytes != feed->parser.args[i].data) {
                abort();
            }
            blob_drop(blob);
        }
    }
    buf_append_byte(&feed->trace, ']');
}

/* Moves what is there of the large bulk from the input to its blob. */
static inline void feed_fill_blob(struct feed *feed)
{
    size_t want = feed->blob_len - feed->blob->len;
    size_t part = want < feed->pending.len ? want : feed->pending.len;
    if (part > 0) {
        memcpy(feed->blob->bytes + feed->blob->len, feed->pending.data, part);
    }
    feed->blob->len += part;
    feed_drop(feed, part);
    if (feed->blob->len == feed->blob_len) {
        resp_parse_supply(&feed->parser, feed->blob);
        feed->blob = NULL;
    }
}

/* One call of the parser. True when another may bring more. */
static inline bool feed_step(struct feed *feed)
{
    if (feed->blob != NULL) {
        feed_fill_blob(feed);
        return feed->blob == NULL && feed->pending.len > 0;
    }
    size_t len = feed->pending.len;
    char *input = malloc(len > 0 ? len : 1);
    if (len > 0) {
        memcpy(input, feed->pending.data, len);
    }
    enum resp_result result = resp_parse(&feed->parser, slice_of(input, len), &feed->limits,
                                         feed->room, RESP_ARGS_INLINE);
    bool goes_on = false;
    size_t consumed = feed->parser.consumed;
    if (result == RESP_COMMAND) {
        feed_trace_command(feed);
        resp_parse_finish(&feed->parser);
        feed_drop(feed, consumed);
        goes_on = feed->pending.len > 0;
    } else if (result == RESP_ERROR || result == RESP_HTTP) {
        buf_append_byte(&feed->trace, '!');
        buf_append_text(&feed->trace, result == RESP_HTTP ? "HTTP" : feed->parser.error);
        feed->is_closed = true;
    } else {
        feed_drop(feed, consumed);
        if (result == RESP_BIG && !feed->refuses_blobs) {
            feed->big_count++;
            feed->blob_len = feed->parser.big_len;
            if (feed->parser.big_have > feed->pending.len) {
                abort();
            }
            feed->blob = blob_try_new(feed->blob_len);
            goes_on = feed->blob != NULL;
        }
    }
    free(input);
    return goes_on;
}

static inline void feed_bytes(struct feed *feed, struct slice bytes)
{
    if (feed->is_closed) {
        return;
    }
    buf_append(&feed->pending, bytes);
    while (feed_step(feed) && !feed->is_closed) {
    }
}

/* Feeds `bytes` in pieces of 1 to `piece_max` bytes; `rng` NULL: all pieces of piece_max. */
static inline void feed_pieces(struct feed *feed, struct slice bytes, size_t piece_max,
                               struct rng *rng)
{
    for (size_t at = 0; at < bytes.len;) {
        size_t piece = rng == NULL ? piece_max : 1 + rng_below(rng, piece_max);
        piece = piece < bytes.len - at ? piece : bytes.len - at;
        feed_bytes(feed, slice_of(bytes.data + at, piece));
        at += piece;
    }
}
