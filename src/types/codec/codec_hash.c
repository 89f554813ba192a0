/* Hashes: plain, a zipmap, a ziplist or a listpack of fields and values in turn. */
#include "types/codec/codec_internal.h"

static enum codec_result hash_open(struct reading *reading, struct source *source)
{
    switch (reading->type) {
    case TYPE_HASH_ZIPMAP:
        return source_open_packed(source, reading->reader, PACKED_ZIPMAP);
    case TYPE_HASH_ZIPLIST:
        return source_open_packed(source, reading->reader, PACKED_ZIPLIST);
    case TYPE_HASH_LISTPACK:
        return source_open_packed(source, reading->reader, PACKED_LISTPACK);
    default:
        return source_open_plain(source, reading->reader, 2);
    }
}

static enum codec_result hash_add(struct reading *reading, struct slice field, struct slice text)
{
    const struct hash_rules rules = {.limits = reading->rules->limits,
                                     .seed = reading->rules->hash_seed};
    if (reading->place.value == NULL) {
        reading->place.value = hash_try_new(reading->key, false);
        if (reading->place.value == NULL) {
            return CODEC_NO_MEMORY;
        }
    }
    switch (hash_try_put(&reading->place, field, text, &rules)) {
    case HASH_ADDED:
        return CODEC_OK;
    case HASH_REPLACED:
        return CODEC_BAD;
    case HASH_NO_MEMORY:
        break;
    }
    return CODEC_NO_MEMORY;
}

/* Reads the value that belongs to a field, and adds both. */
static enum codec_result hash_add_next(struct reading *reading, struct source *source,
                                       struct slice field)
{
    struct codec_text text;
    enum codec_result result = source_need(source, &text);
    if (result == CODEC_OK) {
        result = hash_add(reading, field, text.text);
        codec_text_deinit(&text);
    }
    return result;
}

enum codec_result read_hash(struct reading *reading)
{
    struct source source;
    enum codec_result result = hash_open(reading, &source);
    bool has_item = true;
    while (result == CODEC_OK && has_item) {
        struct codec_text field;
        result = source_next(&source, &field, &has_item);
        if (result == CODEC_OK && has_item) {
            result = hash_add_next(reading, &source, field.text);
            codec_text_deinit(&field);
        }
    }
    source_close(&source);
    return result == CODEC_OK && reading->place.value == NULL ? CODEC_BAD : result;
}

void write_hash_begin(struct codec_writer *writer)
{
    writer->left = hash_count(writer->value);
    writer->hash = hash_walk(writer->value);
}

void write_hash_step(struct codec_writer *writer, struct codec_out *out)
{
    struct hash_pair pair;
    char digits[PACK_DIGITS];
    hash_walk_next(&writer->hash, &pair);
    codec_out_text(out, pack_text(&pair.field, digits));
    codec_out_text(out, pack_text(&pair.text, digits));
}
