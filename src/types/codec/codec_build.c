/* Values from bytes that come in pieces.
 *
 * A plain form is a count and elements, and so is a list of nodes. These are read an element at a
 * time, and streams a node or a pending entry, so that a hash of ten million fields neither has to
 * lie in memory twice nor holds up the thread: the caller says how many elements it wants, and when
 * an element is not there whole, the reader is put back before it. Every other form is one string
 * (or a few) and is tried as a whole until its bytes are there; the caller that doubles what it has
 * between tries pays twice for them.
 *
 *     step:  [count] element element element ... (count of the caller, or bytes used up)
 *     step:          element element ...
 *     step:                              element   -> a value
 *
 * Invariants:
 *   1. Between steps the reader stands at the beginning of an element, or of the value.
 *   2. A value without elements has no block: place.value is NULL until the first one is in. */
#include "types/codec/codec_internal.h"

static bool is_read_by_element(uint8_t type)
{
    switch (type) {
    case TYPE_LIST:
    case TYPE_SET:
    case TYPE_ZSET:
    case TYPE_HASH:
    case TYPE_ZSET_2:
    case TYPE_LIST_QUICKLIST:
    case TYPE_LIST_QUICKLIST_2:
    case TYPE_HASH_MOMENTS_RC:
    case TYPE_HASH_MOMENTS:
        return true;
    default:
        return false;
    }
}

static enum codec_result read_element(struct codec_builder *builder, struct reading *reading)
{
    switch (reading->type) {
    case TYPE_SET:
        return read_set_element(reading, builder->left);
    case TYPE_ZSET:
    case TYPE_ZSET_2:
        return read_zset_element(reading);
    case TYPE_HASH:
    case TYPE_HASH_MOMENTS_RC:
    case TYPE_HASH_MOMENTS:
        return read_hash_element(reading, builder->base_ms, &builder->fields);
    default:
        return read_list_element(reading);
    }
}

/* What a failed read means; when bytes are missing the reader goes back to where it stood. */
static enum codec_build fail(struct codec_builder *builder, struct codec_reader *reader,
                             enum codec_result result, const char *stood_at)
{
    if (result == CODEC_BAD && reader->missing != 0) {
        reader->at = stood_at;
        return CODEC_SHORT;
    }
    codec_build_drop(builder);
    return result == CODEC_NO_MEMORY ? CODEC_FULL : CODEC_BROKEN;
}

static enum codec_build build_whole(struct codec_builder *builder, struct reading *reading,
                                    struct value **value)
{
    const char *stood_at = reading->reader->at;
    enum codec_result result = read_kind(reading);
    builder->place = reading->place;
    if (result != CODEC_OK) {
        enum codec_build built = fail(builder, reading->reader, result, stood_at);
        codec_build_drop(builder);
        return built;
    }
    *value = reading->place.value;
    builder->place.value = NULL;
    return CODEC_BUILT;
}

static bool is_stream(uint8_t type)
{
    return type == TYPE_STREAM || type == TYPE_STREAM_2 || type == TYPE_STREAM_3;
}

/* A stream is read part by part. */
static enum codec_build build_stream(struct codec_builder *builder, struct reading *reading,
                                     uint64_t count, struct value **value)
{
    while (builder->stream.part != STREAM_PART_END) {
        uint64_t elements = stream_part_elements(builder->stream.part);
        if (count == 0) {
            return CODEC_GOES_ON;
        }
        count -= count < elements ? count : elements;
        const char *stood_at = reading->reader->at;
        enum codec_result result = read_stream_part(reading, &builder->stream);
        builder->place = reading->place;
        if (result != CODEC_OK) {
            return fail(builder, reading->reader, result, stood_at);
        }
    }
    *value = builder->place.value;
    builder->place.value = NULL;
    return CODEC_BUILT;
}

/* What stands before the elements. */
static bool begin(struct codec_builder *builder, struct codec_reader *reader)
{
    uint64_t earliest_ms;
    if (builder->type == TYPE_HASH_MOMENTS) {
        if (!codec_read_u64(reader, &earliest_ms)) {
            return false;
        }
        builder->base_ms = earliest_ms - 1; /* As in codec_hash.c. */
    }
    builder->is_begun = codec_read_len(reader, &builder->left);
    return builder->is_begun;
}

/* The end of the elements; nodes may all have been empty. */
static enum codec_build finish(struct codec_builder *builder, struct value **value)
{
    hash_fields_deinit(&builder->fields);
    *value = builder->place.value;
    builder->place.value = NULL;
    return *value != NULL ? CODEC_BUILT : CODEC_BROKEN;
}

enum codec_build codec_build_step(struct codec_builder *builder, struct codec_reader *reader,
                                  struct slice key, uint64_t count, struct value **value)
{
    struct reading reading = {.reader = reader,
                              .type = (enum codec_type)builder->type,
                              .key = key,
                              .rules = builder->rules,
                              .place = builder->place};
    const char *stood_at = reader->at;
    reader->missing = 0;
    *value = NULL;
    if (is_stream(builder->type)) {
        return build_stream(builder, &reading, count, value);
    }
    if (!is_read_by_element(builder->type)) {
        return build_whole(builder, &reading, value);
    }
    if (!builder->is_begun) {
        if (!begin(builder, reader)) {
            return fail(builder, reader, CODEC_BAD, stood_at);
        }
    }
    for (; builder->left > 0; builder->left--, count--) {
        if (count == 0) {
            return CODEC_GOES_ON;
        }
        stood_at = reader->at;
        enum codec_result result = read_element(builder, &reading);
        builder->place = reading.place;
        if (result != CODEC_OK) {
            return fail(builder, reader, result, stood_at);
        }
    }
    return finish(builder, value);
}

void codec_build_drop(struct codec_builder *builder)
{
    hash_fields_deinit(&builder->fields);
    if (builder->place.value != NULL) {
        value_free(builder->place.value, builder->rules->work);
        builder->place.value = NULL;
    }
}
