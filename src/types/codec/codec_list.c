/* Lists: plain, a ziplist, or a list of nodes that are ziplists (quicklist) or either one element
 * or a listpack (quicklist 2). */
#include "types/codec/codec_internal.h"

enum { NODE_PLAIN = 1, NODE_PACKED = 2 };

static enum codec_result list_add(struct reading *reading, struct slice text)
{
    if (reading->place.value == NULL) {
        reading->place.value = list_try_new(reading->key, false);
        if (reading->place.value == NULL) {
            return CODEC_NO_MEMORY;
        }
    }
    return list_try_push(&reading->place, LIST_TAIL, text, NULL, reading->rules->limits)
               ? CODEC_OK
               : CODEC_NO_MEMORY;
}

/* Reads one text and adds it. */
static enum codec_result list_add_text(struct reading *reading)
{
    struct codec_text text;
    enum codec_result result = codec_read_text(reading->reader, &text);
    if (result == CODEC_OK) {
        result = list_add(reading, text.text);
        codec_text_deinit(&text);
    }
    return result;
}

/* Adds all elements of a source, and closes it. */
static enum codec_result list_add_all(struct reading *reading, struct source *source)
{
    enum codec_result result = CODEC_OK;
    bool has_item = true;
    while (result == CODEC_OK && has_item) {
        struct codec_text text;
        result = source_next(source, &text, &has_item);
        if (result == CODEC_OK && has_item) {
            result = list_add(reading, text.text);
            codec_text_deinit(&text);
        }
    }
    source_close(source);
    return result;
}

static enum codec_result list_add_packed(struct reading *reading, enum packed_form form)
{
    struct source source;
    enum codec_result result = source_open_packed(&source, reading->reader, form);
    if (result != CODEC_OK) {
        source_close(&source);
        return result;
    }
    return list_add_all(reading, &source);
}

static enum codec_result list_add_node(struct reading *reading)
{
    uint64_t container;
    if (reading->type == TYPE_LIST_QUICKLIST) {
        return list_add_packed(reading, PACKED_ZIPLIST);
    }
    if (!codec_read_len(reading->reader, &container) ||
        (container != NODE_PLAIN && container != NODE_PACKED)) {
        return CODEC_BAD;
    }
    if (container == NODE_PACKED) {
        return list_add_packed(reading, PACKED_LISTPACK);
    }
    return list_add_text(reading);
}

enum codec_result read_list_element(struct reading *reading)
{
    return reading->type == TYPE_LIST ? list_add_text(reading) : list_add_node(reading);
}

static enum codec_result list_read(struct reading *reading)
{
    struct source source;
    if (reading->type == TYPE_LIST_ZIPLIST) {
        return list_add_packed(reading, PACKED_ZIPLIST);
    }
    enum codec_result result = CODEC_OK;
    if (reading->type == TYPE_LIST) {
        result = source_open_plain(&source, reading->reader, 1);
        return result == CODEC_OK ? list_add_all(reading, &source) : result;
    }
    uint64_t nodes;
    if (!codec_read_len(reading->reader, &nodes)) {
        return CODEC_BAD;
    }
    for (; nodes > 0 && result == CODEC_OK; nodes--) {
        result = list_add_node(reading);
    }
    return result;
}

enum codec_result read_list(struct reading *reading)
{
    enum codec_result result = list_read(reading);
    return result == CODEC_OK && reading->place.value == NULL ? CODEC_BAD : result;
}

void write_list_begin(struct codec_writer *writer)
{
    writer->left = list_len(writer->value);
    list_iterate(writer->value, 0, false, &writer->list);
}

void codec_form_item(const struct list_item *item, struct codec_out *out)
{
    struct list_scratch scratch;
    if (item->blob != NULL && item->blob->len == item->len) {
        codec_out_blob(out, item->blob);
    } else {
        codec_out_text(out, list_item_text(item, &scratch));
    }
}

void write_list_step(struct codec_writer *writer, struct codec_out *out)
{
    struct list_item item;
    list_next(&writer->list, &item);
    codec_form_item(&item, out);
}
