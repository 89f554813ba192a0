/* Large collections, whose elements are written one at a time and in any order.
 *
 * A snapshot tells the entries of a hash, set or sorted set as they were at one moment, some of
 * them ahead because they are about to change (ds/picture.h). The format does not mind: it has a
 * count and that many elements. So all that must be kept from the beginning is that count and the
 * form of an element. */
#include "base/assert.h"
#include "types/codec/codec_internal.h"

struct codec_form codec_form_of(const struct value *value)
{
    struct codec_form form = {.kind = value_kind(value)};
    form.has_moments = form.kind == VALUE_HASH && hash_has_expiring_fields(value);
    form.moment_ms = form.has_moments ? hash_next_expiry_ms(value) : 0;
    return form;
}

struct table *codec_table_of(const struct value *value)
{
    switch (value_kind(value)) {
    case VALUE_SET:
        return set_table_of(value);
    case VALUE_ZSET:
        return zset_table_of(value);
    case VALUE_HASH:
        return hash_table_of(value);
    default:
        return NULL;
    }
}

void codec_form_type(const struct codec_form *form, struct codec_out *out)
{
    enum codec_type type = form->kind == VALUE_LIST     ? TYPE_LIST
                           : form->kind == VALUE_SET    ? TYPE_SET
                           : form->kind == VALUE_ZSET   ? TYPE_ZSET_2
                           : form->kind == VALUE_STREAM ? TYPE_STREAM_2
                           : form->has_moments          ? TYPE_HASH_MOMENTS
                                                        : TYPE_HASH;
    char byte = (char)type;
    codec_out_bytes(out, slice_of(&byte, 1));
}

void codec_form_head(const struct codec_form *form, uint64_t count, struct codec_out *out)
{
    if (form->has_moments) {
        codec_out_u64(out, (uint64_t)form->moment_ms);
    }
    codec_out_len(out, count);
}

void codec_form_entry(const struct codec_form *form, const struct table *table, const void *entry,
                      struct codec_out *out)
{
    if (form->kind == VALUE_SET) {
        struct set_item member = set_item_of_entry(entry);
        write_set_member(&member, out);
    } else if (form->kind == VALUE_ZSET) {
        struct zset_item item;
        zset_item_of_entry(entry, &item);
        write_zset_member(&item, out);
    } else {
        struct hash_pair pair;
        ASSERT(form->kind == VALUE_HASH);
        hash_pair_of(table, entry, &pair);
        write_hash_pair(form, &pair, out);
    }
}
