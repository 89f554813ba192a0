/* Hashes, as the rest of the server sees them: what is packed and what is a table is decided here.
 *
 * A hash begins packed (hash_pack.c) and becomes a table (hash_table.c) when it would have more
 * fields than hash_entries, a field or value longer than hash_value, or more bytes than a block's
 * payload holds. The conversion copies at most 64 KiB, and there is no way back: a hash that grew
 * once will grow again.
 *
 * Fields that expire. In a pack such a field's value carries its moment as a stamp of 7 bytes, and
 * the pack is walked for what is due; a table keeps moments by themselves, 11 bytes each
 * (hash_volatile.c). Other fields have nothing of the kind, nor has a hash without such fields. The
 * hash tells its owner the earliest moment, and the owner calls hash_expire.
 *
 * Random picks. A table picks by itself, again when what it picked is hidden; a pack is walked once
 * for the addresses of its pairs, and a table of which more than half is hidden. Of
 * distinct picks, few of many are drawn until they differ (a small table of those drawn tells), and
 * many of few by walking all and taking each with the chance wanted / left, which gives every
 * subset the same chance.
 *
 * Invariants (hash_check): those of the encodings, and a table's payload is one pointer. */
#include "types/hash/hash.h"

#include "base/assert.h"
#include "base/mem.h"
#include "types/hash/hash_internal.h"

static bool is_packed(const struct value *value)
{
    return value_encoding(value) != HASH_TABLE;
}

/* ---- Reading ---- */

size_t hash_count(const struct value *value)
{
    return is_packed(value) ? pack_count(hash_pack(value), 0) / HASH_STRIDE
                            : table_count(&hash_body(value)->table);
}

bool hash_is_empty(const struct value *value)
{
    return is_packed(value) ? hash_pack(value).len == 0
                            : table_count(&hash_body(value)->table) == 0;
}

bool hash_find(const struct value *value, struct slice field, struct hash_pair *pair)
{
    if (!is_packed(value)) {
        return hash_body_find(hash_body(value), field, pair);
    }
    struct slice pack = hash_pack(value);
    size_t at = pack_find(pack, 0, field, HASH_STRIDE, NULL);
    if (at == PACK_NONE) {
        return false;
    }
    hash_pack_next(pack, at, pair);
    return true;
}

bool hash_find_shown(const struct value *value, struct slice field, int64_t hidden_ms,
                     struct hash_pair *pair)
{
    if (hidden_ms == 0 && !is_packed(value)) {
        return hash_body_find_texts(hash_body(value), field, pair);
    }
    return hash_find(value, field, pair) && !hash_pair_is_hidden(pair, hidden_ms);
}

size_t hash_text_len(const struct pack_item *item)
{
    return item->data != NULL ? item->len : num_i64_text_len(item->number);
}

struct hash_walk hash_walk(const struct value *value)
{
    struct hash_walk walk = {.value = value};
    if (!is_packed(value)) {
        table_iterate(&hash_body(value)->table, &walk.iterator);
    }
    return walk;
}

/* The next pair, named by the address where it begins, or by a table's entry; NULL: the end. */
static const char *hash_walk_entry(struct hash_walk *walk, struct hash_pair *pair)
{
    if (is_packed(walk->value)) {
        struct slice pack = hash_pack(walk->value);
        size_t at = walk->at;
        if (at >= pack.len) {
            return NULL;
        }
        walk->at = hash_pack_next(pack, at, pair);
        return pack.data + at;
    }
    const char *entry = table_next(&walk->iterator);
    if (entry != NULL) {
        hash_entry_pair(hash_body(walk->value), entry, pair);
    }
    return entry;
}

static const char *hash_walk_shown(struct hash_walk *walk, struct hash_pair *pair)
{
    const char *entry = hash_walk_entry(walk, pair);
    while (entry != NULL && hash_pair_is_hidden(pair, walk->hidden_ms)) {
        entry = hash_walk_entry(walk, pair);
    }
    return entry;
}

bool hash_walk_next(struct hash_walk *walk, struct hash_pair *pair)
{
    return hash_walk_shown(walk, pair) != NULL;
}

size_t hash_count_shown(const struct value *value, int64_t hidden_ms)
{
    if (!hash_is_volatile(value) || hash_next_expiry_ms(value) >= hidden_ms) {
        return hash_count(value);
    }
    struct hash_walk walk = hash_walk(value);
    struct hash_pair pair;
    size_t count = 0;
    walk.hidden_ms = hidden_ms;
    while (hash_walk_next(&walk, &pair)) {
        count++;
    }
    return count;
}

struct table *hash_table_of(const struct value *value)
{
    return is_packed(value) ? NULL : &hash_body(value)->table;
}

/* What a reader of texts sees of an entry: its moment when fields are hidden. False: this one is.
 */
static bool hash_entry_shown(const struct hash_body *body, const void *entry, int64_t hidden_ms,
                             struct hash_pair *pair)
{
    if (hidden_ms == 0) {
        hash_entry_texts(entry, pair);
        return true;
    }
    hash_entry_pair(body, entry, pair);
    return !hash_pair_is_hidden(pair, hidden_ms);
}

struct hash_table_scan {
    const struct hash_body *body;
    const struct hash_scan *scan;
    int64_t hidden_ms; /* 0: none is hidden now. */
};

static void hash_scan_on_entry(void *context, void *entry)
{
    const struct hash_table_scan *of = context;
    struct hash_pair pair;
    if (hash_entry_shown(of->body, entry, of->hidden_ms, &pair)) {
        of->scan->visit(of->scan->context, &pair);
    }
}

uint64_t hash_scan(const struct value *value, uint64_t cursor, size_t count,
                   const struct hash_scan *scan)
{
    if (!is_packed(value)) {
        bool hides = hash_is_volatile(value) && hash_next_expiry_ms(value) < scan->hidden_ms;
        struct hash_table_scan of = {
            .body = hash_body(value), .scan = scan, .hidden_ms = hides ? scan->hidden_ms : 0};
        struct table_walk walk = {.visit = hash_scan_on_entry,
                                  .context = &of,
                                  .entries_max = count,
                                  .buckets_max = count < SIZE_MAX / 10 ? count * 10 : SIZE_MAX};
        return table_scan(&hash_body(value)->table, cursor, &walk);
    }
    struct hash_walk walk = hash_walk(value);
    struct hash_pair pair;
    walk.hidden_ms = scan->hidden_ms;
    while (hash_walk_next(&walk, &pair)) {
        scan->visit(scan->context, &pair);
    }
    return 0;
}

/* ---- Picking ---- */

struct hash_picker hash_picker_open(const struct value *value, struct rng *rng, int64_t hidden_ms)
{
    struct hash_picker picker = {.value = value,
                                 .rng = rng,
                                 .count = hash_count_shown(value, hidden_ms),
                                 .hidden_ms = hidden_ms};
    bool is_drawn_well = !is_packed(value) && picker.count >= hash_count(value) / 2;
    if (picker.count == 0 || is_drawn_well) {
        return picker;
    }
    picker.entries = mem_alloc(picker.count * sizeof(*picker.entries));
    struct hash_walk walk = hash_walk(value);
    struct hash_pair pair;
    walk.hidden_ms = hidden_ms;
    for (size_t i = 0; i < picker.count; i++) {
        picker.entries[i] = hash_walk_shown(&walk, &pair);
    }
    return picker;
}

void hash_picker_close(struct hash_picker *picker)
{
    mem_free(picker->entries);
    picker->entries = NULL;
}

/* A random pair, named as hash_walk_entry does. From a table until one is not hidden, which
 * at least every second is. */
static const char *hash_pick_entry(const struct hash_picker *picker, struct hash_pair *pair)
{
    const char *entry;
    if (picker->entries != NULL) {
        entry = picker->entries[rng_below(picker->rng, picker->count)];
        if (is_packed(picker->value)) {
            hash_pack_next(slice_of(entry, SIZE_MAX / 2), 0, pair);
        } else {
            hash_entry_pair(hash_body(picker->value), entry, pair);
        }
        return entry;
    }
    const struct hash_body *body = hash_body(picker->value);
    do {
        entry = table_random(&body->table, picker->rng);
    } while (!hash_entry_shown(body, entry, picker->hidden_ms, pair));
    return entry;
}

void hash_pick(const struct hash_picker *picker, struct hash_pair *pair)
{
    ASSERT(picker->count > 0);
    hash_pick_entry(picker, pair);
}

/* Addresses in a table: all that matters is whether one is there. */
static uint64_t drawn_hash(const void *entry, const void *context)
{
    (void)context;
    uint64_t word = (uint64_t)(uintptr_t)entry * UINT64_C(0x9e3779b97f4a7c15);
    return (word ^ word >> 32) * UINT64_C(0xd6e8feb86659fd93);
}

static bool drawn_is(const void *entry, const void *key)
{
    return entry == key;
}

static void hash_pick_few(const struct hash_picker *picker, size_t count, hash_visit_fn visit,
                          void *context)
{
    static const struct table_kind kind = {.hash_of = drawn_hash};
    struct table drawn;
    table_init(&drawn, &kind);
    while (table_count(&drawn) < count) {
        struct hash_pair pair;
        const char *entry = hash_pick_entry(picker, &pair);
        uint64_t hash = drawn_hash(entry, NULL);
        if (table_find(&drawn, hash, entry, drawn_is) != NULL) {
            continue;
        }
        table_insert(&drawn, hash, (void *)(uintptr_t)entry);
        visit(context, &pair);
    }
    table_deinit(&drawn);
}

void hash_pick_distinct(const struct hash_picker *picker, size_t count, hash_visit_fn visit,
                        void *context)
{
    ASSERT(count <= picker->count);
    if (count < picker->count / 3) {
        hash_pick_few(picker, count, visit, context);
        return;
    }
    struct hash_walk walk = hash_walk(picker->value);
    struct hash_pair pair;
    walk.hidden_ms = picker->hidden_ms;
    for (size_t left = picker->count; count > 0 && hash_walk_next(&walk, &pair); left--) {
        if (count == left || rng_below(picker->rng, left) < count) {
            visit(context, &pair);
            count--;
        }
    }
}

/* ---- The expiry word ---- */

static uint64_t hash_get_word(const struct value *value)
{
    uint64_t word = 0;
    if (!is_packed(value)) {
        return hash_body(value)->expiry_word;
    }
    if (hash_pack_head(value) > 0) {
        memcpy(&word, value_payload_const(value), sizeof(word));
    }
    return word;
}

static void hash_set_word(struct value *value, uint64_t word)
{
    if (is_packed(value)) {
        memcpy(value_payload(value), &word, sizeof(word));
    } else {
        hash_body(value)->expiry_word = word;
    }
}

bool hash_has_expiring_fields(const struct value *value)
{
    if (!hash_is_volatile(value)) {
        return false;
    }
    return is_packed(value) ? hash_pack_earliest(hash_pack(value)) >= 0
                            : hash_body(value)->volatile_count > 0;
}

int64_t hash_next_expiry_ms(const struct value *value)
{
    return (int64_t)(hash_get_word(value) & (uint64_t)VALUE_EXPIRE_MS_MAX);
}

uint16_t hash_wheel_place(const struct value *value)
{
    return (uint16_t)(hash_get_word(value) >> 48);
}

void hash_set_wheel_place(struct value *value, uint16_t wheel_place)
{
    hash_set_word(value, hash_expiry_word(hash_next_expiry_ms(value), wheel_place));
}

bool hash_expire(struct place *place, int64_t now_ms, size_t max, hash_expire_fn on_field,
                 void *context)
{
    if (is_packed(place->value)) {
        return hash_pack_expire(place, now_ms, max, on_field, context);
    }
    struct hash_body *body = hash_body(place->value);
    bool is_done = hash_body_expire(body, now_ms, max, on_field, context);
    if (is_done) {
        int64_t next_ms = hash_moments_next_ms(&body->moments);
        if (next_ms < 0) {
            place->value->flags &= (uint8_t)~VALUE_HAS_VOLATILE_PARTS;
        } else {
            hash_set_word(place->value, hash_expiry_word(next_ms, hash_wheel_place(place->value)));
        }
    }
    return is_done;
}

/* ---- Changing ---- */

struct value *hash_try_new(struct slice key, bool has_expire)
{
    return value_try_new(&(struct value_form){
        .kind = VALUE_HASH, .encoding = HASH_PACKED, .has_expire = has_expire, .key = key});
}

/* The pairs of a pack as a table; NULL: no memory. */
static struct hash_body *hash_try_unpack(const struct value *value, uint64_t seed)
{
    struct hash_body *body = hash_body_new(seed);
    table_reserve(&body->table, hash_count(value));
    struct hash_walk walk = hash_walk(value);
    struct hash_pair pair;
    while (hash_walk_next(&walk, &pair)) {
        char field[PACK_DIGITS];
        char text[PACK_DIGITS];
        if (hash_body_try_put(body, pack_text(&pair.field, field), pack_text(&pair.text, text),
                              pair.expire_ms) == HASH_NO_MEMORY) {
            hash_body_free(body, NULL);
            return NULL;
        }
    }
    return body;
}

static bool hash_try_convert(struct place *place, const struct hash_rules *rules)
{
    struct hash_body *body = hash_try_unpack(place->value, rules->seed);
    uint64_t expiry_word = hash_get_word(place->value);
    if (body == NULL) {
        return false;
    }
    struct value_change change = {.payload_len = sizeof(uint64_t),
                                  .has_expire = value_has_expire(place->value)};
    if (place->value->len >= sizeof(uint64_t)) {
        value_shrink(place, sizeof(uint64_t));
    } else if (!value_try_reshape(place, change)) {
        hash_body_free(body, NULL);
        return false;
    }
    body->expiry_word = expiry_word;
    value_set_tag(place->value, VALUE_HASH, HASH_TABLE);
    value_set_word(place->value, (uint64_t)(uintptr_t)body);
    return true;
}

/* Whether the pair is short enough for a pack, and the pack for the block. */
static bool hash_pair_fits(const struct value *value, struct slice field, struct slice text,
                           const struct type_limits *limits)
{
    size_t more = pack_size(field) + pack_size(text) + PACK_STAMP_LEN + sizeof(uint64_t);
    return field.len <= limits->hash_value && text.len <= limits->hash_value &&
           value->len + more <= VALUE_INLINE_MAX;
}

/* The hash will have a field that expires then. */
static bool hash_try_note_expiry(struct place *place, int64_t expire_ms)
{
    struct value *value = place->value;
    if (!hash_is_volatile(value)) {
        if (is_packed(value) && !hash_pack_try_make_volatile(place)) {
            return false;
        }
        place->value->flags |= VALUE_HAS_VOLATILE_PARTS;
        hash_set_word(place->value, hash_expiry_word(VALUE_EXPIRE_MS_MAX, VALUE_WHEEL_NONE));
    }
    if (expire_ms < hash_next_expiry_ms(place->value)) {
        uint16_t wheel_place = hash_wheel_place(place->value);
        hash_set_word(place->value, hash_expiry_word(expire_ms, wheel_place));
    }
    return true;
}

enum hash_put_result hash_try_put_pair(struct place *place, const struct hash_put *put,
                                       const struct hash_rules *rules)
{
    if (is_packed(place->value)) {
        bool is_full = put->at == PACK_NONE && put->index >= rules->limits->hash_entries;
        bool fits = hash_pair_fits(place->value, put->field, put->text, rules->limits);
        if ((is_full || !fits) && !hash_try_convert(place, rules)) {
            return HASH_NO_MEMORY;
        }
    }
    if (put->expire_ms >= 0 && !hash_try_note_expiry(place, put->expire_ms)) {
        return HASH_NO_MEMORY;
    }
    if (!is_packed(place->value)) {
        return hash_body_try_put(hash_body(place->value), put->field, put->text, put->expire_ms);
    }
    if (!hash_pack_try_put(place, put->at, put->field, put->text, put->expire_ms)) {
        return HASH_NO_MEMORY;
    }
    return put->at == PACK_NONE ? HASH_ADDED : HASH_REPLACED;
}

enum hash_put_result hash_try_put_until(struct place *place, struct slice field, struct slice text,
                                        int64_t expire_ms, const struct hash_rules *rules)
{
    struct hash_put put = {.field = field, .text = text, .expire_ms = expire_ms, .at = PACK_NONE};
    if (is_packed(place->value)) {
        put.at = pack_find(hash_pack(place->value), 0, field, HASH_STRIDE, &put.index);
    }
    return hash_try_put_pair(place, &put, rules);
}

enum hash_put_result hash_try_put(struct place *place, struct slice field, struct slice text,
                                  const struct hash_rules *rules)
{
    return hash_try_put_until(place, field, text, HASH_NO_EXPIRE, rules);
}

/* A packed one's value is put again, from a copy of its text. */
bool hash_try_set_expire(struct place *place, struct slice field, int64_t expire_ms,
                         const struct hash_rules *rules)
{
    if (!is_packed(place->value)) {
        return (expire_ms < 0 || hash_try_note_expiry(place, expire_ms)) &&
               hash_body_try_set_expire(hash_body(place->value), field, expire_ms);
    }
    struct hash_pair pair;
    bool is_there = hash_find(place->value, field, &pair);
    ASSERT(is_there);
    char digits[PACK_DIGITS];
    struct slice text = pack_text(&pair.text, digits);
    char *copy = mem_try_alloc(text.len);
    if (copy == NULL) {
        return false;
    }
    memcpy(copy, text.data, text.len);
    bool is_done = hash_try_put_until(place, field, slice_of(copy, text.len), expire_ms, rules) !=
                   HASH_NO_MEMORY;
    mem_free(copy);
    return is_done;
}

bool hash_remove(struct place *place, struct slice field)
{
    if (!is_packed(place->value)) {
        return hash_body_remove(hash_body(place->value), field);
    }
    size_t at = pack_find(hash_pack(place->value), 0, field, HASH_STRIDE, NULL);
    if (at == PACK_NONE) {
        return false;
    }
    hash_pack_remove(place, at);
    return true;
}

/* ---- Operations ---- */

static void hash_free(struct value *value, struct work_queue *work)
{
    if (!is_packed(value)) {
        hash_body_free(hash_body(value), work);
    }
    value_free_block(value);
}

static struct value *hash_copy(const struct value *value, struct slice key, bool has_expire)
{
    struct value *copy = value_try_rekey(value, key, has_expire);
    if (copy == NULL || is_packed(value)) {
        return copy;
    }
    struct hash_body *body = hash_body_try_copy(hash_body(value));
    if (body == NULL) {
        value_free_block(copy);
        return NULL;
    }
    value_set_word(copy, (uint64_t)(uintptr_t)body);
    return copy;
}

static const char *hash_encoding_name(const struct value *value)
{
    bool is_plain = value_encoding(value) == HASH_PACKED;
    return is_plain ? "listpack" : is_packed(value) ? "listpackex" : "hashtable";
}

static size_t hash_memory(const struct value *value, size_t samples)
{
    size_t bytes = mem_good_size(value_block_len(value));
    return is_packed(value) ? bytes : bytes + hash_body_memory(hash_body(value), samples);
}

static size_t hash_effort(const struct value *value)
{
    return is_packed(value) ? 1 : 1 + table_count(&hash_body(value)->table);
}

/* Each field of a pack is the first of its name. O(fields^2). */
static void hash_check_packed(const struct value *value)
{
    struct slice pack = hash_pack(value);
    size_t items;
    ASSERT(pack_check_bytes(pack, &items) && items % HASH_STRIDE == 0);
    struct hash_pair pair;
    for (size_t at = 0; at < pack.len;) {
        char digits[PACK_DIGITS];
        size_t next = hash_pack_next(pack, at, &pair);
        ASSERT(pack_find(pack, 0, pack_text(&pair.field, digits), HASH_STRIDE, NULL) == at);
        at = next;
    }
}

/* No field expires before the word says so. */
static void hash_check_expiry(const struct value *value)
{
    struct hash_walk walk = hash_walk(value);
    struct hash_pair pair;
    while (hash_walk_next(&walk, &pair)) {
        ASSERT(pair.expire_ms < 0 ||
               (hash_is_volatile(value) && pair.expire_ms >= hash_next_expiry_ms(value)));
    }
}

static void hash_check(const struct value *value)
{
    ASSERT(value_kind(value) == VALUE_HASH);
    hash_check_expiry(value);
    if (is_packed(value)) {
        hash_check_packed(value);
        return;
    }
    ASSERT(value_encoding(value) == HASH_TABLE && value->len == sizeof(uint64_t));
    hash_body_check(hash_body(value));
}

const struct value_ops hash_ops = {
    .free = hash_free,
    .copy = hash_copy,
    .encoding_name = hash_encoding_name,
    .memory = hash_memory,
    .effort = hash_effort,
    .check = hash_check,
};
