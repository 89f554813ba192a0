/* Hashes: plain, a zipmap, a ziplist or a listpack of fields and values in turn; with fields that
 * expire, the moment of each besides:
 *
 *     plain      | earliest u64 | count | ttl, field, value | ...     moment = earliest + ttl - 1
 *     listpack   | earliest u64 | field, value, moment | ...
 *
 * where a ttl or moment of 0 is that of a field which stays. Release candidates of Redis 7.4 wrote
 * no earliest moment, and moments instead of ttls. */
#include "base/num.h"
#include "types/codec/codec_internal.h"

/* Pairs and their moments, from any form. */
struct hash_source {
    struct source source;
    bool has_moments;
    uint64_t base_ms; /* What a ttl counts from, in the plain form. */
};

/* One pair, as it was read. */
struct hash_member {
    struct codec_text field, text;
    int64_t expire_ms; /* HASH_NO_EXPIRE: it stays. */
};

/* Takes a moment, which is below 2^48 - 1 in a hash as in Redis. */
static enum codec_result take_moment(struct hash_member *member, uint64_t ms)
{
    if (ms >= (uint64_t)VALUE_EXPIRE_MS_MAX) {
        return CODEC_BAD;
    }
    member->expire_ms = (int64_t)ms;
    return CODEC_OK;
}

static enum codec_result hash_open(struct reading *reading, struct hash_source *from)
{
    struct codec_reader *reader = reading->reader;
    uint64_t earliest_ms = 0;
    *from = (struct hash_source){.has_moments = reading->type >= TYPE_HASH_MOMENTS_RC};
    bool has_earliest = reading->type == TYPE_HASH_MOMENTS || reading->type == TYPE_HASH_TRIPLES;
    if (has_earliest && !codec_read_u64(reader, &earliest_ms)) {
        return CODEC_BAD;
    }
    switch (reading->type) {
    case TYPE_HASH_ZIPMAP:
        return source_open_packed(&from->source, reader, PACKED_ZIPMAP);
    case TYPE_HASH_ZIPLIST:
        return source_open_packed(&from->source, reader, PACKED_ZIPLIST);
    case TYPE_HASH_LISTPACK:
    case TYPE_HASH_TRIPLES_RC:
    case TYPE_HASH_TRIPLES:
        return source_open_packed(&from->source, reader, PACKED_LISTPACK);
    case TYPE_HASH_MOMENTS:
        from->base_ms = earliest_ms - 1; /* Wraps; what it makes is checked. */
        break;
    default:
        break;
    }
    return source_open_plain(&from->source, reader, 2);
}

/* The ttl before a pair of the plain form. */
static enum codec_result read_ttl(struct hash_source *from, struct hash_member *member)
{
    uint64_t ttl;
    if (!codec_read_len(from->source.reader, &ttl) || ttl > (uint64_t)VALUE_EXPIRE_MS_MAX) {
        return CODEC_BAD;
    }
    return ttl == 0 ? CODEC_OK : take_moment(member, ttl + from->base_ms);
}

/* The moment behind a pair of a listpack. */
static enum codec_result read_moment(struct hash_source *from, struct hash_member *member)
{
    struct codec_text text;
    int64_t moment;
    enum codec_result result = source_need(&from->source, &text);
    if (result != CODEC_OK) {
        return result;
    }
    bool is_number = num_parse_i64(text.text, &moment);
    codec_text_deinit(&text);
    if (!is_number) {
        return CODEC_BAD;
    }
    return moment == 0 ? CODEC_OK : take_moment(member, (uint64_t)moment);
}

/* What follows a field. */
static enum codec_result hash_read_rest(struct hash_source *from, struct hash_member *member)
{
    enum codec_result result = source_need(&from->source, &member->text);
    if (result == CODEC_OK && from->has_moments && from->source.is_packed) {
        result = read_moment(from, member);
        if (result != CODEC_OK) {
            codec_text_deinit(&member->text);
        }
    }
    return result;
}

/* The next pair; its texts are the caller's to deinit. */
static enum codec_result hash_read_member(struct hash_source *from, struct hash_member *member,
                                          bool *has_item)
{
    bool is_plain = !from->source.is_packed;
    member->expire_ms = HASH_NO_EXPIRE;
    if (from->has_moments && is_plain && from->source.left > 0) {
        enum codec_result result = read_ttl(from, member);
        if (result != CODEC_OK) {
            return result;
        }
    }
    enum codec_result result = source_next(&from->source, &member->field, has_item);
    if (result != CODEC_OK || !*has_item) {
        return result;
    }
    result = hash_read_rest(from, member);
    if (result != CODEC_OK) {
        codec_text_deinit(&member->field);
    }
    return result;
}

static enum codec_result hash_add(struct reading *reading, const struct hash_member *member,
                                  struct hash_fields *fields)
{
    const struct hash_rules rules = {.limits = reading->rules->limits,
                                     .seed = reading->rules->hash_seed};
    if (reading->place.value == NULL) {
        reading->place.value = hash_try_new(reading->key, false);
        if (reading->place.value == NULL) {
            return CODEC_NO_MEMORY;
        }
    }
    const struct hash_pair_text pair = {
        .field = member->field.text, .text = member->text.text, .expire_ms = member->expire_ms};
    switch (hash_try_append(&reading->place, &pair, fields, &rules)) {
    case HASH_ADDED:
        return CODEC_OK;
    case HASH_REPLACED:
        return CODEC_BAD;
    case HASH_NO_MEMORY:
        break;
    }
    return CODEC_NO_MEMORY;
}

/* One pair of the plain form. */
enum codec_result read_hash_element(struct reading *reading, uint64_t base_ms,
                                    struct hash_fields *fields)
{
    struct hash_source from = {.source = {.reader = reading->reader, .left = 2},
                               .has_moments = reading->type >= TYPE_HASH_MOMENTS_RC,
                               .base_ms = base_ms};
    struct hash_member member;
    bool has_item;
    enum codec_result result = hash_read_member(&from, &member, &has_item);
    if (result == CODEC_OK) {
        result = hash_add(reading, &member, fields);
        codec_text_deinit(&member.field);
        codec_text_deinit(&member.text);
    }
    return result;
}

enum codec_result read_hash(struct reading *reading)
{
    struct hash_source from;
    struct hash_fields fields = {.hashes = NULL};
    enum codec_result result = hash_open(reading, &from);
    bool has_item = true;
    while (result == CODEC_OK && has_item) {
        struct hash_member member;
        result = hash_read_member(&from, &member, &has_item);
        if (result == CODEC_OK && has_item) {
            result = hash_add(reading, &member, &fields);
            codec_text_deinit(&member.field);
            codec_text_deinit(&member.text);
        }
    }
    source_close(&from.source);
    hash_fields_deinit(&fields);
    return result == CODEC_OK && reading->place.value == NULL ? CODEC_BAD : result;
}

void write_hash_begin(struct codec_writer *writer)
{
    writer->left = hash_count(writer->value);
    writer->has_moments = hash_has_expiring_fields(writer->value);
    writer->hash = hash_walk(writer->value);
}

void write_hash_moment(const struct codec_writer *writer, struct codec_out *out)
{
    codec_out_u64(out, (uint64_t)hash_next_expiry_ms(writer->value));
}

void write_hash_pair(const struct codec_form *form, const struct hash_pair *pair,
                     struct codec_out *out)
{
    char digits[PACK_DIGITS];
    if (form->has_moments) {
        int64_t after_ms = pair->expire_ms - form->moment_ms;
        codec_out_len(out, pair->expire_ms < 0 ? 0 : (uint64_t)after_ms + 1);
    }
    codec_out_text(out, pack_text(&pair->field, digits));
    codec_out_text(out, pack_text(&pair->text, digits));
}

void write_hash_step(struct codec_writer *writer, struct codec_out *out)
{
    struct codec_form form = {.kind = VALUE_HASH, .has_moments = writer->has_moments};
    struct hash_pair pair;
    hash_walk_next(&writer->hash, &pair);
    form.moment_ms = form.has_moments ? hash_next_expiry_ms(writer->value) : 0;
    write_hash_pair(&form, &pair, out);
}
