/* Inside the codec: types, and elements from the packed forms. */
#pragma once

#include "types/codec/codec.h"

/* Type bytes. */
enum codec_type {
    TYPE_STRING = 0,
    TYPE_LIST = 1,
    TYPE_SET = 2,
    TYPE_ZSET = 3, /* Scores as text. */
    TYPE_HASH = 4,
    TYPE_ZSET_2 = 5, /* Scores as doubles. */
    TYPE_HASH_ZIPMAP = 9,
    TYPE_LIST_ZIPLIST = 10,
    TYPE_SET_INTSET = 11,
    TYPE_ZSET_ZIPLIST = 12,
    TYPE_HASH_ZIPLIST = 13,
    TYPE_LIST_QUICKLIST = 14,
    TYPE_STREAM = 15,
    TYPE_HASH_LISTPACK = 16,
    TYPE_ZSET_LISTPACK = 17,
    TYPE_LIST_QUICKLIST_2 = 18,
    TYPE_STREAM_2 = 19,
    TYPE_SET_LISTPACK = 20,
    TYPE_STREAM_3 = 21,
    TYPE_HASH_MOMENTS_RC = 22, /* Pairs with moments, as release candidates of 7.4 wrote them. */
    TYPE_HASH_TRIPLES_RC = 23, /* The same in a listpack. */
    TYPE_HASH_MOMENTS = 24,    /* Moments counted from the earliest. */
    TYPE_HASH_TRIPLES = 25,
};

enum packed_form { PACKED_ZIPMAP, PACKED_ZIPLIST, PACKED_INTSET, PACKED_LISTPACK };

/* Eight bytes, little endian: doubles and moments. */
void codec_out_u64(struct codec_out *out, uint64_t word);
bool codec_read_u64(struct codec_reader *reader, uint64_t *word);

/* A walk over the elements of a packed form, with every byte checked. */
struct packed {
    enum packed_form form;
    const unsigned char *at, *end;
    uint32_t entry_len;  /* ziplist: bytes of the entry before. */
    uint32_t width;      /* intset: bytes of an integer. */
    int64_t last_number; /* intset: the one before. */
    bool has_last;
    bool is_value; /* zipmap: a value comes next. */
};

/* False: not such a form. */
bool packed_open(struct packed *packed, enum packed_form form, struct slice bytes);

/* The next element; *has_item is false at the end. Nothing is allocated. */
enum codec_result packed_next(struct packed *packed, struct codec_text *text, bool *has_item);

/* Elements one by one, from a plain form or from a packed one. */
struct source {
    struct codec_reader *reader;
    bool is_packed;
    uint64_t left;            /* Plain: elements still to come. */
    struct codec_text holder; /* Packed: its bytes. */
    struct packed packed;
};
enum codec_result source_open_plain(struct source *source, struct codec_reader *reader,
                                    uint64_t per_count);
enum codec_result source_open_packed(struct source *source, struct codec_reader *reader,
                                     enum packed_form form);
void source_close(struct source *source);

/* The text is the caller's to deinit. */
enum codec_result source_next(struct source *source, struct codec_text *text, bool *has_item);

/* The same where an element must come: the end is bad. */
enum codec_result source_need(struct source *source, struct codec_text *text);

/* What a value is read with. */
struct reading {
    struct codec_reader *reader;
    enum codec_type type;
    struct slice key;
    const struct codec_rules *rules;
    struct place place; /* The value that is being built; value NULL: not begun. */
};

/* Reads a value of reading->type. */
enum codec_result read_kind(struct reading *reading);

enum codec_result read_string(struct reading *reading);
enum codec_result read_list(struct reading *reading);
enum codec_result read_set(struct reading *reading);
enum codec_result read_zset(struct reading *reading);
enum codec_result read_hash(struct reading *reading);
enum codec_result read_stream(struct reading *reading);

/* One element of a plain form, or one node of a list; `left` are still to come with it, and
 * `base_ms` is what the moments of fields count from, `fields` those that were read. What is bad
 * because bytes are missing has changed nothing. */
enum codec_result read_list_element(struct reading *reading);
enum codec_result read_set_element(struct reading *reading, uint64_t left);
enum codec_result read_zset_element(struct reading *reading);
enum codec_result read_hash_element(struct reading *reading, uint64_t base_ms,
                                    struct hash_fields *fields);

/* One part of a stream, which is whole when stream->part is STREAM_PART_END; likewise. */
enum codec_result read_stream_part(struct reading *reading, struct codec_stream_reader *stream);

/* Whether so many bytes are there; notes how many are missing. */
static inline bool reader_has(struct codec_reader *reader, uint64_t len)
{
    uint64_t left = (uint64_t)(reader->end - reader->at);
    if (len <= left) {
        return true;
    }
    reader->missing = len - left;
    return false;
}

/* Begin: the walk and the number of elements. Step: one element. */
void write_list_begin(struct codec_writer *writer);
void write_list_step(struct codec_writer *writer, struct codec_out *out);
void write_set_begin(struct codec_writer *writer);
void write_set_step(struct codec_writer *writer, struct codec_out *out);
void write_zset_begin(struct codec_writer *writer);
void write_zset_step(struct codec_writer *writer, struct codec_out *out);
void write_hash_begin(struct codec_writer *writer);
void write_hash_moment(const struct codec_writer *writer, struct codec_out *out);
void write_hash_step(struct codec_writer *writer, struct codec_out *out);
void write_stream_begin(struct codec_writer *writer);

/* Writes one part; true: it was the last. */
bool write_stream_step(struct codec_writer *writer, struct codec_out *out);

enum { STREAM_NODE_ELEMENTS = 64 }; /* A node has a hundred entries: about 80 us. */

/* Elements that a part of a stream counts as in a step. */
static inline uint64_t stream_part_elements(enum codec_stream_part part)
{
    return part == STREAM_PART_NODES ? STREAM_NODE_ELEMENTS : 1;
}

void write_set_member(const struct set_item *item, struct codec_out *out);
void write_zset_member(const struct zset_item *item, struct codec_out *out);
void write_hash_pair(const struct codec_form *form, const struct hash_pair *pair,
                     struct codec_out *out);
