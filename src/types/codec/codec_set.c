/* Sets: plain, integers, or a listpack. */
#include "types/codec/codec_internal.h"

static enum codec_result set_add(struct reading *reading, struct slice text, uint64_t expected)
{
    const struct set_rules rules = {.limits = reading->rules->limits,
                                    .hash_seed = reading->rules->hash_seed};
    struct set_item item = set_item_of(text);
    if (reading->place.value == NULL) {
        /* What comes is not known yet to be as much as it says. */
        expected = expected < 1024 ? expected : 1024;
        reading->place.value = set_try_new(reading->key, &item, (size_t)expected, &rules);
        if (reading->place.value == NULL) {
            return CODEC_NO_MEMORY;
        }
    }
    switch (set_try_add(&reading->place, &item, &rules)) {
    case SET_CHANGED:
        return CODEC_OK;
    case SET_UNCHANGED:
        return CODEC_BAD;
    case SET_NO_MEMORY:
        break;
    }
    return CODEC_NO_MEMORY;
}

static enum codec_result set_open(struct reading *reading, struct source *source)
{
    switch (reading->type) {
    case TYPE_SET_INTSET:
        return source_open_packed(source, reading->reader, PACKED_INTSET);
    case TYPE_SET_LISTPACK:
        return source_open_packed(source, reading->reader, PACKED_LISTPACK);
    default:
        return source_open_plain(source, reading->reader, 1);
    }
}

enum codec_result read_set_element(struct reading *reading, uint64_t left)
{
    struct codec_text text;
    enum codec_result result = codec_read_text(reading->reader, &text);
    if (result == CODEC_OK) {
        result = set_add(reading, text.text, left);
        codec_text_deinit(&text);
    }
    return result;
}

enum codec_result read_set(struct reading *reading)
{
    struct source source;
    enum codec_result result = set_open(reading, &source);
    bool has_item = true;
    while (result == CODEC_OK && has_item) {
        struct codec_text text;
        uint64_t expected = source.is_packed ? 1 : source.left;
        result = source_next(&source, &text, &has_item);
        if (result == CODEC_OK && has_item) {
            result = set_add(reading, text.text, expected);
            codec_text_deinit(&text);
        }
    }
    source_close(&source);
    return result == CODEC_OK && reading->place.value == NULL ? CODEC_BAD : result;
}

void write_set_begin(struct codec_writer *writer)
{
    writer->left = set_count(writer->value);
    set_walk_begin(&writer->set, writer->value);
}

void write_set_member(const struct set_item *item, struct codec_out *out)
{
    struct set_scratch scratch;
    codec_out_text(out, set_item_text(item, &scratch));
}

void write_set_step(struct codec_writer *writer, struct codec_out *out)
{
    struct set_item item;
    set_walk_next(&writer->set, &item);
    write_set_member(&item, out);
}
