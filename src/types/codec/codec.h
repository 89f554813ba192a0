/* Values as bytes of Redis's dump format (RDB) and back: what DUMP, RESTORE, snapshots and full
 * synchronisation share. Knows the kinds by their public faces alone.
 *
 * Written are the plain forms that every Redis since 4.0 reads: a type byte, a count, the elements;
 * a stream needs the form of Redis 7.0 (version 10), a hash with fields that expire that of
 * Redis 7.4. Read are those and the packed forms that Redis up to 7.4 writes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/slice.h"
#include "types/hash/hash.h"
#include "types/limits.h"
#include "types/list/list.h"
#include "types/set/set.h"
#include "types/stream/stream.h"
#include "types/value.h"
#include "types/zset/zset.h"

struct work_queue;

enum {
    CODEC_VERSION = 10,         /* Of the format, as written into DUMP payloads. */
    CODEC_VERSION_STREAMS = 10, /* The first that has streams as they are written. */
    CODEC_VERSION_MOMENTS = 12, /* The first that has fields that expire. */
    CODEC_VERSION_MAX = 12,     /* Newest that is tried to be read. */
};

/* ---- Writing ---- */

/* Bytes that grow. Once memory did not suffice, is_failed is set and nothing more is written. */
struct codec_out {
    struct blob *blob; /* Owned: one reference; NULL while empty. */
    bool is_failed;
    struct codec_sink *sink; /* Not NULL: gets everything instead of the blob. */
};

/* Whoever wants longer texts apart from the other bytes, to pack them later. */
struct codec_sink {
    void (*bytes)(struct codec_sink *sink, struct slice bytes);
    /* A text of more than CODEC_TEXT_SHORT_MAX bytes whose length is not written yet; `blob`, when
     * not NULL, holds exactly this text. */
    void (*text)(struct codec_sink *sink, struct slice text, struct blob *blob);
};
enum { CODEC_TEXT_SHORT_MAX = 20 }; /* Shorter ones are not worth packing. */

/* Drops what is held. */
void codec_out_deinit(struct codec_out *out);
void codec_out_bytes(struct codec_out *out, struct slice bytes);

/* Lengths and strings, as they stand everywhere in the format. */
void codec_out_len(struct codec_out *out, uint64_t len);
void codec_out_text(struct codec_out *out, struct slice text);
void codec_out_blob(struct codec_out *out, struct blob *blob);

/* The bytes of a length; returns how many. */
enum { CODEC_LEN_MAX = 9 };
size_t codec_put_len(char to[CODEC_LEN_MAX], uint64_t len);

/* Where writing or reading stands in a stream: see codec_stream.c. */
enum codec_stream_part {
    STREAM_PART_NODES, /* And then what the stream knows of itself. */
    STREAM_PART_GROUP,
    STREAM_PART_PENDING, /* Entries of the group. */
    STREAM_PART_CONSUMER,
    STREAM_PART_OWNED, /* Entries of the consumer. */
    STREAM_PART_END,
};

struct codec_stream_writer {
    enum codec_stream_part part;
    struct stream_walk walk;
    struct order_cursor groups, consumers, cursor;
    const struct stream_group *group;
    const struct stream_consumer *consumer;
    const struct stream_pending *pending;
};

/* A value on its way out, which may be written in pieces as long as it does not change. */
struct codec_writer {
    const struct value *value;
    uint64_t left; /* Elements still to write. */
    uint8_t type;
    bool is_typed, is_begun; /* The type, and what stands before the elements, have been written. */
    bool has_moments;        /* Hashes: fields that expire are among them. */
    union {
        struct list_iterator list;
        struct set_walk set;
        struct zset_walk zset;
        struct hash_walk hash;
        struct codec_stream_writer stream;
    };
};
void codec_write_begin(struct codec_writer *writer, const struct value *value);

/* Writes the type alone: in a snapshot the key stands between the type and the rest. */
void codec_write_type(struct codec_writer *writer, struct codec_out *out);

/* The lowest version of the format that has what this value is written as. As hash_count. */
unsigned codec_version_of(const struct value *value);

/* Writes up to `count` elements, and before the first what has not been written yet of the type and
 * the count; a node of a stream counts as many (STREAM_NODE_ELEMENTS). True: all is
 * written, or there is no memory (out->is_failed). */
bool codec_write_step(struct codec_writer *writer, struct codec_out *out, uint64_t count);

/* ---- Writing a large collection one element at a time, while it changes ---- */

/* How its elements are written; does not refer to it. */
struct codec_form {
    enum value_kind kind;
    bool has_moments;
    int64_t moment_ms; /* Not after that of any field. */
};

/* The form of a collection as it is now; and its table, NULL when it is small or has an order. */
struct codec_form codec_form_of(const struct value *value);
struct table *codec_table_of(const struct value *value);

/* The type; what stands before `count` elements; one entry of a table, in any order, and the table
 * where the contents are (a guard knows); one element of a list; one part of a stream. */
void codec_form_type(const struct codec_form *form, struct codec_out *out);
void codec_form_head(const struct codec_form *form, uint64_t count, struct codec_out *out);
void codec_form_entry(const struct codec_form *form, const struct table *table, const void *entry,
                      struct codec_out *out);
void codec_form_item(const struct list_item *item, struct codec_out *out);

/* A part of a stream, whose `count` for the head is that of its nodes. */
void codec_form_part(const struct stream_part *part, struct codec_out *out);

/* ---- Reading: bytes that nobody vouches for ---- */

struct codec_reader {
    const char *at, *end;
    uint64_t missing; /* What is bad is that so many bytes or more are not there; 0: it is not. */
    bool is_type_foreign; /* What is bad is a type that is not read. */
};

struct codec_rules {
    const struct type_limits *limits;
    uint64_t hash_seed;
    struct work_queue *work; /* Where a large value is freed that turned out to be bad, or NULL. */
    bool has_expire;         /* An expiry will be set: strings are made with room for it. */
};

enum codec_result { CODEC_OK, CODEC_BAD, CODEC_NO_MEMORY };

/* Reads a length. False: there is none. */
bool codec_read_len(struct codec_reader *reader, uint64_t *len);

/* A string, wherever its bytes are. */
struct codec_text {
    struct slice text;
    char *owned;     /* Unpacked bytes, or NULL. */
    char digits[24]; /* Of an integer. */
};
enum codec_result codec_read_text(struct codec_reader *reader, struct codec_text *text);
void codec_text_deinit(struct codec_text *text);

/* Reads a value, its type byte first, and gives it that key. What is read is a whole and legal
 * value: never an empty collection, never a duplicate. Fields whose time is over are read too, as
 * their removal must be told: whoever stores the value files it (db_insert does). */
enum codec_result codec_read_value(struct codec_reader *reader, struct slice key,
                                   const struct codec_rules *rules, struct value **value);

/* ---- Reading in pieces: a value of which not all bytes are there, or too many for one step ----
 */

struct codec_stream_reader {
    enum codec_stream_part part;
    uint64_t nodes_left, groups_left, pending_left, consumers_left, owned_left;
    uint64_t unowned; /* Entries of the group that no consumer has claimed yet. */
    struct stream_group *group;
    struct stream_consumer *consumer;
};

/* A value that is being built. Zero it and set `rules` (borrowed) and `type` before the first step;
 * codec_build_drop gives up a value that is not finished. */
struct codec_builder {
    const struct codec_rules *rules;
    uint8_t type;
    bool is_begun;    /* The count of elements is read. */
    uint64_t left;    /* Elements still to come. */
    uint64_t base_ms; /* What the moments of a hash's fields count from. */
    struct hash_fields fields;
    struct codec_stream_reader stream;
    struct place place;
};

enum codec_build { CODEC_BUILT, CODEC_GOES_ON, CODEC_SHORT, CODEC_BROKEN, CODEC_FULL };

/* Reads on, at most about `count` elements; a value whose form is not read by element is read in
 * one go. CODEC_BUILT: *value is whole and the caller's. CODEC_GOES_ON: `count` elements were read.
 * CODEC_SHORT: what comes next is not there whole (reader->missing); the reader stands before it.
 * CODEC_BROKEN, CODEC_FULL (no memory): the value is dropped. `key` may lie elsewhere at every call
 * but must stay the same; once builder->place.value is not NULL it is not looked at again. */
enum codec_build codec_build_step(struct codec_builder *builder, struct codec_reader *reader,
                                  struct slice key, uint64_t count, struct value **value);
void codec_build_drop(struct codec_builder *builder);

/* ---- Payloads of DUMP: value, version (2 bytes), CRC-64 of all before ---- */

enum { CODEC_FOOTER_LEN = 10 };

/* A value and its footer, in a blob of its own. NULL: no memory. */
struct blob *codec_dump(const struct value *value);

/* Whether version and checksum hold. */
bool codec_payload_is_whole(struct slice payload);

/* The same in steps: what the checksum is of, and the checksum. False: there is no such thing. */
bool codec_payload_open(struct slice payload, struct slice *checked, uint64_t *crc);
enum codec_result codec_restore(struct slice payload, struct slice key,
                                const struct codec_rules *rules, struct value **value);
