/* Items of an RDB file become keys.
 *
 *     rdb_reader_next --> value, hash --> [ ahead: 16 values ] --> find, insert, expiry, hints
 *                                           ^ bucket prefetched when it enters
 *
 * A value whose time is over is dropped, unless this server is a replica. A key that is there
 * already is an error: no server writes a key twice, so the file is not what it seems. (DEBUG
 * RELOAD MERGE lets the file win.)
 *
 * Room. The file says how many keys a database has, and the table is made for so many before the
 * first comes (in steps), since growing on the way reads every key again for its hash: without that
 * 3 M short strings took 1.6 to 1.8 times as long. Nobody vouches for the number, but a
 * key takes at least three bytes of the file, so the table is never prepared for more than the rest
 * of the file can hold. Where the length of the whole is not known only a little is prepared.
 *
 * Costs, over making the value: a hash, and two cache misses for the bucket. The queue lets these
 * misses overlap with the making of the next values.
 *
 * Invariant: a value in the queue is in no table; its key is in no other place of the queue's
 * database or is found there when its turn comes. */
#include "persist/load.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/num.h"
#include "persist/rdb_format.h"

enum {
    STEP_KEYS = 64,
    STEP_BYTES = 64 * 1024, /* Whichever comes first. */
    STEP_ELEMENTS = 256,
    ENTRY_LEN_MIN = 3, /* Type, length of an empty key, an empty string. */
    RESERVE_BLIND = 4096,
};

void loader_init(struct loader *loader, const struct load_options *options)
{
    *loader = (struct loader){.options = *options};
    loader->facts =
        (struct load_facts){.made_s = -1, .used_memory = -1, .repl_offset = -1, .repl_db = -1};
    loader->db = keyspace_db(options->keyspace, 0);
    rdb_reader_init(&loader->reader,
                    &(struct rdb_reader_options){
                        .rules = {.limits = options->limits,
                                  .hash_seed = keyspace_hash_seed(options->keyspace),
                                  .work = options->work},
                        .len = options->len,
                        .elements_max = STEP_ELEMENTS,
                        .is_summing = options->checks_sum,
                        .skips_foreign = options->skips_foreign,
                    });
}

static struct load_entry *take_first(struct loader *loader)
{
    struct load_entry *entry = &loader->ahead[loader->ahead_first];
    loader->ahead_first = (loader->ahead_first + 1) % LOAD_AHEAD;
    loader->ahead_count--;
    return entry;
}

void loader_deinit(struct loader *loader)
{
    while (loader->ahead_count > 0) {
        value_free(take_first(loader)->value, loader->options.work);
    }
    rdb_reader_deinit(&loader->reader);
}

/* ---- Failure ---- */

static enum load_state fail(struct loader *loader, uint64_t offset, const char *text)
{
    snprintf(loader->error, sizeof(loader->error), "%s", text);
    loader->error_offset = offset;
    return LOAD_FAILED;
}

static enum load_state fail_key(struct loader *loader, const struct load_entry *entry,
                                const char *text)
{
    struct buf line;
    buf_init(&line);
    buf_append_text(&line, text);
    buf_append_quoted(&line, slice_part(value_key(entry->value), 0, 64));
    buf_append_byte(&line, '\0');
    enum load_state state = fail(loader, entry->offset, line.data);
    buf_deinit(&line);
    value_free(entry->value, loader->options.work);
    return state;
}

enum load_state loader_end_early(struct loader *loader)
{
    rdb_reader_end_early(&loader->reader);
    return fail(loader, loader->reader.error_offset, loader->reader.error);
}

/* ---- Facts ---- */

static void note_aux(struct loader *loader, const struct rdb_item *item)
{
    struct load_facts *facts = &loader->facts;
    int64_t number = -1;
    bool is_number = num_parse_i64(item->text, &number);
    struct slice text = slice_part(item->text, 0, 40);
    if (slice_is(item->name, RDB_AUX_VERSION)) {
        snprintf(facts->producer, sizeof(facts->producer), "%.*s", (int)text.len, text.data);
    } else if (slice_is(item->name, "valkey-ver")) {
        snprintf(facts->producer, sizeof(facts->producer), "Valkey %.*s", (int)text.len, text.data);
    } else if (slice_is(item->name, RDB_AUX_REPL_ID) && item->text.len == LOAD_REPL_ID_LEN) {
        memcpy(facts->repl_id, item->text.data, LOAD_REPL_ID_LEN);
    } else if (is_number && slice_is(item->name, RDB_AUX_TIME)) {
        facts->made_s = number;
    } else if (is_number && slice_is(item->name, RDB_AUX_MEMORY)) {
        facts->used_memory = number;
    } else if (is_number && slice_is(item->name, RDB_AUX_REPL_OFFSET)) {
        facts->repl_offset = number;
    } else if (is_number && slice_is(item->name, RDB_AUX_REPL_DB)) {
        facts->repl_db = number;
    }
}

static enum load_state select_db(struct loader *loader, const struct rdb_item *item)
{
    unsigned count = keyspace_db_count(loader->options.keyspace);
    if (item->numbers[0] >= count) {
        char text[160];
        snprintf(text, sizeof(text),
                 "database %llu, but this server is configured to have %u databases",
                 (unsigned long long)item->numbers[0], count);
        return fail(loader, item->offset, text);
    }
    loader->db = keyspace_db(loader->options.keyspace, (unsigned)item->numbers[0]);
    return LOAD_GOES_ON;
}

static void reserve(struct loader *loader, const struct rdb_item *item)
{
    uint64_t keys = item->numbers[0];
    uint64_t most = RESERVE_BLIND;
    if (loader->options.len != 0) {
        most = (loader->options.len - rdb_reader_offset(&loader->reader)) / ENTRY_LEN_MIN;
    }
    loader->reservation = (struct table_reservation){.count = keys < most ? keys : most};
    loader->is_reserving = true;
}

/* ---- Keys ---- */

/* Puts the oldest value of the queue into its table. */
static enum load_state insert_first(struct loader *loader)
{
    struct load_entry *entry = take_first(loader);
    struct keyspace *keyspace = loader->options.keyspace;
    int64_t now_ms = loader->options.now_ms;
    struct place old = db_find_place(entry->db, value_key(entry->value), entry->hash, now_ms,
                                     FIND_NO_TOUCH | FIND_EXPIRED);
    if (old.value != NULL && !loader->options.replaces) {
        return fail_key(loader, entry, "the file has the same key twice: ");
    }
    if (old.value != NULL) {
        db_remove(entry->db, entry->hash, old);
    }
    struct place place = db_insert(entry->db, entry->hash, entry->value);
    if (entry->expire_ms >= 0 && !db_set_expire(entry->db, entry->hash, &place, entry->expire_ms)) {
        entry->value = db_take(entry->db, entry->hash, place);
        return fail_key(loader, entry, "memory does not suffice for the expiry of key ");
    }
    if (entry->idle_s >= 0 || entry->frequency >= 0) {
        keyspace_set_access(keyspace, place.value, entry->idle_s, entry->frequency, now_ms);
    }
    loader->keys_loaded++;
    return LOAD_GOES_ON;
}

static bool keeps_expired(const struct loader *loader)
{
    bool has_history = loader->facts.repl_id[0] != '\0';
    return loader->options.keeps_expired ||
           (loader->options.keeps_expired_of_history && has_history);
}

static enum load_state add_value(struct loader *loader, const struct rdb_item *item)
{
    if (item->expire_ms >= 0 && item->expire_ms < loader->options.now_ms &&
        !keeps_expired(loader)) {
        value_free(item->value, loader->options.work);
        loader->keys_expired++;
        return LOAD_GOES_ON;
    }
    enum load_state state = LOAD_GOES_ON;
    if (loader->ahead_count == LOAD_AHEAD) {
        state = insert_first(loader);
    }
    struct load_entry *entry =
        &loader->ahead[(loader->ahead_first + loader->ahead_count) % LOAD_AHEAD];
    *entry = (struct load_entry){.value = item->value,
                                 .db = loader->db,
                                 .hash = db_hash(loader->db, item->key),
                                 .offset = item->offset,
                                 .expire_ms = item->expire_ms,
                                 .idle_s = item->idle_s,
                                 .frequency = item->frequency};
    loader->ahead_count++;
    db_prefetch_bucket(entry->db, entry->hash);
    return state;
}

static enum load_state insert_all(struct loader *loader)
{
    enum load_state state = LOAD_GOES_ON;
    while (loader->ahead_count > 0 && state == LOAD_GOES_ON) {
        state = insert_first(loader);
    }
    return state;
}

/* ---- Steps ---- */

static enum load_state take_item(struct loader *loader, enum rdb_event event,
                                 const struct rdb_item *item)
{
    switch (event) {
    case RDB_VALUE:
        return add_value(loader, item);
    case RDB_AUX:
        note_aux(loader, item);
        return LOAD_GOES_ON;
    case RDB_DB:
        return select_db(loader, item);
    case RDB_DB_SIZE:
        reserve(loader, item);
        return LOAD_GOES_ON;
    case RDB_FUNCTION:
        loader->functions++;
        if (loader->options.on_function != NULL) {
            loader->options.on_function(loader->options.context, item->text);
        }
        return LOAD_GOES_ON;
    case RDB_NEEDS_BYTES:
        return LOAD_NEEDS_BYTES;
    case RDB_FAILED:
        return fail(loader, loader->reader.error_offset, loader->reader.error);
    case RDB_END: {
        enum load_state state = insert_all(loader);
        return state == LOAD_GOES_ON ? LOAD_DONE : state;
    }
    default:
        return LOAD_GOES_ON;
    }
}

enum load_state loader_step(struct loader *loader)
{
    if (loader->is_reserving) {
        loader->is_reserving = !db_reserve_step(loader->db, &loader->reservation);
        return LOAD_GOES_ON;
    }
    uint64_t until = rdb_reader_offset(&loader->reader) + STEP_BYTES;
    for (unsigned i = 0; i < STEP_KEYS && rdb_reader_offset(&loader->reader) < until; i++) {
        struct rdb_item item;
        enum rdb_event event = rdb_reader_next(&loader->reader, &item);
        enum load_state state = take_item(loader, event, &item);
        if (state != LOAD_GOES_ON || event == RDB_PAUSED || loader->is_reserving) {
            return state;
        }
    }
    return LOAD_GOES_ON;
}
