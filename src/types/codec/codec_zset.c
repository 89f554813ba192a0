/* Sorted sets: plain with scores as doubles (or, long ago, as text), or a ziplist or listpack of
 * members and scores in turn. Written from the highest score down, as Redis does: it reads them
 * faster so. */
#include <math.h>

#include "base/num.h"
#include "types/codec/codec_internal.h"

/* First byte of a score as text that is no length. */
enum { SCORE_NAN = 253, SCORE_INF = 254, SCORE_MINUS_INF = 255 };

static enum codec_result zset_open(struct reading *reading, struct source *source)
{
    switch (reading->type) {
    case TYPE_ZSET_ZIPLIST:
        return source_open_packed(source, reading->reader, PACKED_ZIPLIST);
    case TYPE_ZSET_LISTPACK:
        return source_open_packed(source, reading->reader, PACKED_LISTPACK);
    default:
        return source_open_plain(source, reading->reader, 1);
    }
}

static enum codec_result read_binary_score(struct codec_reader *reader, double *score)
{
    uint64_t word;
    if (!codec_read_u64(reader, &word)) {
        return CODEC_BAD;
    }
    memcpy(score, &word, sizeof(word));
    return CODEC_OK;
}

static enum codec_result read_text_score(struct codec_reader *reader, double *score)
{
    if (!reader_has(reader, 1)) {
        return CODEC_BAD;
    }
    unsigned len = (unsigned char)*reader->at++;
    if (len >= SCORE_NAN) {
        *score = len == SCORE_INF ? INFINITY : -INFINITY;
        return len == SCORE_NAN ? CODEC_BAD : CODEC_OK;
    }
    if (!reader_has(reader, len)) {
        return CODEC_BAD;
    }
    bool is_good = num_parse_double(slice_of(reader->at, len), score);
    reader->at += len;
    return is_good ? CODEC_OK : CODEC_BAD;
}

static enum codec_result read_score(struct reading *reading, struct source *source, double *score)
{
    if (reading->type == TYPE_ZSET_2) {
        return read_binary_score(reading->reader, score);
    }
    if (reading->type == TYPE_ZSET) {
        return read_text_score(reading->reader, score);
    }
    struct codec_text text;
    enum codec_result result = source_need(source, &text);
    if (result == CODEC_OK) {
        result = num_parse_double(text.text, score) ? CODEC_OK : CODEC_BAD;
        codec_text_deinit(&text);
    }
    return result;
}

static enum codec_result zset_add(struct reading *reading, struct slice member, double score)
{
    const struct zset_rules rules = {.limits = reading->rules->limits,
                                     .hash_seed = reading->rules->hash_seed};
    if (isnan(score)) {
        return CODEC_BAD;
    }
    if (reading->place.value == NULL) {
        reading->place.value = zset_try_new(reading->key, 1, member.len, &rules);
        if (reading->place.value == NULL) {
            return CODEC_NO_MEMORY;
        }
    }
    struct zset_put put = {.member = member, .score = score};
    enum zset_result result = zset_try_put(&reading->place, &put, &rules);
    return result == ZSET_ADDED ? CODEC_OK : result == ZSET_NO_MEMORY ? CODEC_NO_MEMORY : CODEC_BAD;
}

enum codec_result read_zset_element(struct reading *reading)
{
    struct codec_text member;
    double score;
    enum codec_result result = codec_read_text(reading->reader, &member);
    if (result != CODEC_OK) {
        return result;
    }
    result = read_score(reading, NULL, &score);
    if (result == CODEC_OK) {
        result = zset_add(reading, member.text, score);
    }
    codec_text_deinit(&member);
    return result;
}

enum codec_result read_zset(struct reading *reading)
{
    struct source source;
    enum codec_result result = zset_open(reading, &source);
    bool has_item = true;
    while (result == CODEC_OK && has_item) {
        struct codec_text member;
        double score;
        result = source_next(&source, &member, &has_item);
        if (result != CODEC_OK || !has_item) {
            break;
        }
        result = read_score(reading, &source, &score);
        if (result == CODEC_OK) {
            result = zset_add(reading, member.text, score);
        }
        codec_text_deinit(&member);
    }
    source_close(&source);
    return result == CODEC_OK && reading->place.value == NULL ? CODEC_BAD : result;
}

void write_zset_begin(struct codec_writer *writer)
{
    writer->left = zset_count(writer->value);
    zset_walk_begin(&writer->zset, writer->value, writer->left - 1, true);
}

void write_zset_member(const struct zset_item *item, struct codec_out *out)
{
    uint64_t word;
    memcpy(&word, &item->score, sizeof(word));
    codec_out_text(out, item->member);
    codec_out_u64(out, word);
}

void write_zset_step(struct codec_writer *writer, struct codec_out *out)
{
    struct zset_item item;
    zset_walk_next(&writer->zset, &item);
    write_zset_member(&item, out);
}
