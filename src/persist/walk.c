/* The keyspace at one moment, written while it changes.
 *
 * Each database is a table, and gets a picture (ds/picture.h): a cursor in the order of hashes and
 * a bit per range of hashes that was told ahead. Whatever the picture tells is written:
 *
 *     db 0  |#########>......1..1.....|     told: a key and its value. A small value is written
 *     db 1  |..1......................|     at once; of a large one the head, and it gets a
 *                                           picture of its own:
 *         "big" -> table of 1,000,000 fields   |####>....1...1.....|
 *
 * So no change waits for more than the few small keys that share a range with its key, and the few
 * elements that share a range with its element.
 *
 * An RDB file is one sequence of bytes, and a collection stands in it in one piece. So there are
 * three places where bytes go:
 *
 *     out        what is written: heads, keys, and the elements of the collection that the walk is
 *                in the middle of (`current`)
 *     side       of each other collection that was met: its head and the elements that were about
 *                to change. When it becomes `current` its side moves to `out` in O(1)
 *     later      keys that were about to change while there is a `current`; they follow it
 *
 * The walk deals with collections that were met before it goes on with keys, the one with the
 * largest side first, and with what waits to be freed: so what is held in `side` and `later` is
 * bounded by what commands change during the time that the collections take that are being changed.
 *
 * A piece is what is told between two looks at the clock: so many keys or elements, or fewer when
 * they are long. In a table it ends with a bucket, so with up to a dozen long ones, and a single
 * one is always told whole.
 *
 * The order of elements is free in hashes, sets and sorted sets. Lists have one: they get a picture
 * that copies chunks (types/list/list_picture.c). Streams have nodes in order and groups in none:
 * theirs does both (types/stream/stream_picture.c).
 *
 * What may happen meanwhile, and why it is harmless:
 *   - Insertion, removal, expiry, eviction, RENAME, MOVE, COPY, RESTORE, SORT ... STORE go through
 *     the table; changes in place look their place up first. Each tells the picture before.
 *   - Tables grow, shrink, split and merge: positions in the order of hashes stay.
 *   - A large value is removed: what frees it waits, parked with the picture, until that has ended.
 *   - FLUSHALL takes a database's contents away in O(1): the picture goes with them, their freeing
 *     waits. The database is new, and has no picture.
 *   - SWAPDB exchanges contents: pictures go along, and remember which database they were begun in.
 *   - Blocks of values are moved by the defragmenter: between two calls the walk holds no pointer
 * to a value, only to tables and chunks. The handle of a large value is a block of its own.
 *   - Access times change: they are those of the moment of writing.
 *
 * Invariants:
 *   1. Every key of the beginning is told once, with its value, expiry and database as they were.
 *   2. `out` ends between two keys unless there is a `current`.
 *
 * Rejected. Writing a large collection whole before its first change, as earlier designs did: 100
 * ms for a million fields. A file of its own for each collection, to be put together later: twice
 * the writing. Copying the old value of each changed element into a map: a range's bit does the
 * same with nothing to look up. */
#include "persist/walk.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "ds/picture.h"
#include "persist/rdb_format.h"

enum {
#ifdef OURO_HOSTILE
    WHOLE_MAX = 2,
    WHOLE_BYTES_MAX = 200,
    PIECE_KEYS = 1,
    PIECE_ELEMENTS = 2,
    PIECE_BYTES = 100,
#else
    WHOLE_MAX = 32, /* Elements of a collection in a table that is written at once. */
    WHOLE_BYTES_MAX = 64 * 1024,
    PIECE_KEYS = 16,         /* Keys between two looks at the clock: about 5 us. */
    PIECE_ELEMENTS = 64,     /* Elements, */
    PIECE_BYTES = 64 * 1024, /* unless these are more bytes: then those of one bucket of a table. */
#endif
    CHOICE_MAX = 64, /* Collections among which the one with the largest side is looked for. */
};

/* Bytes, and the database that they end in. */
struct outlet {
    struct rope rope;
    int db_index; /* -1: none yet. */
};

struct walk_db {
    struct walk *walk;
    struct picture picture;
    unsigned index; /* Whose contents these were. */
};

/* A large value that was met. */
struct walk_collection {
    struct list link; /* Of walk.waiting. */
    struct walk *walk;
    unsigned db_index;
    struct codec_form form;
    union {
        struct list_picture list;     /* VALUE_LIST */
        struct stream_picture stream; /* VALUE_STREAM */
        struct picture picture;       /* All others: they are tables. */
    };
    struct rope side; /* Its head and what was told ahead. */
};

struct walk {
    struct walk_options options;
    struct outlet out, later;
    struct list waiting;             /* Collections that were met. */
    struct walk_collection *current; /* NULL: `out` is between two keys. */
    size_t side_bytes;               /* Held in all sides. */
    unsigned db_at;                  /* Databases before it are told. */
    size_t piece_end;                /* Bytes in `out` with which the piece under way is enough. */
    bool is_lru, is_lfu;             /* What is told of the use of keys. */
    bool is_over;
    struct walk_stats stats;
    unsigned db_count;
    struct walk_db dbs[];
};

static struct codec_out out_of(struct rope *rope)
{
    return (struct codec_out){.sink = &rope->sink};
}

static void outlet_select(struct outlet *outlet, unsigned db_index)
{
    if (outlet->db_index != (int)db_index) {
        struct codec_out out = out_of(&outlet->rope);
        outlet->db_index = (int)db_index;
        rdb_write_select(&out, db_index);
    }
}

/* ---- Keys ---- */

static void write_use(const struct walk *walk, const struct value *value, struct codec_out *out)
{
    const struct keyspace *keyspace = walk->options.keyspace;
    int64_t now_ms = walk->options.now_ms;
    struct rdb_key key = {
        .expire_ms = value_expire_ms(value), .idle_s = RDB_NONE, .frequency = RDB_NONE};
    if (walk->is_lru) {
        key.idle_s = keyspace_idle_s(keyspace, value, now_ms);
    } else if (walk->is_lfu) {
        key.frequency = (int)keyspace_frequency(keyspace, value, now_ms);
    }
    rdb_write_key(out, &key);
}

static void write_whole(struct walk *walk, unsigned db_index, const struct value *value)
{
    struct outlet *outlet = walk->current != NULL ? &walk->later : &walk->out;
    outlet_select(outlet, db_index);
    struct codec_out out = out_of(&outlet->rope);
    struct codec_writer writer;
    write_use(walk, value, &out);
    codec_write_begin(&writer, value);
    codec_write_type(&writer, &out);
    codec_out_text(&out, value_key(value));
    codec_write_step(&writer, &out, UINT64_MAX);
}

/* ---- Large collections ---- */

static void collection_on_entry(void *context, void *entry)
{
    struct walk_collection *collection = context;
    struct walk *walk = collection->walk;
    bool is_current = walk->current == collection;
    struct rope *rope = is_current ? &walk->out.rope : &collection->side;
    size_t before = rope->bytes;
    struct codec_out out = out_of(rope);
    codec_form_entry(&collection->form, collection->picture.guard.table, entry, &out);
    walk->side_bytes += is_current ? 0 : rope->bytes - before;
    if (is_current && rope->bytes >= walk->piece_end) {
        picture_end_step(&collection->picture);
    }
}

static void collection_on_item(void *context, const struct list_item *item)
{
    struct walk_collection *collection = context;
    struct codec_out out = out_of(&collection->walk->out.rope);
    codec_form_item(item, &out);
}

static void collection_on_part(void *context, const struct stream_part *part)
{
    struct walk_collection *collection = context;
    struct codec_out out = out_of(&collection->walk->out.rope);
    codec_form_part(part, &out);
}

static void write_collection_head(struct walk_collection *collection, const struct value *value,
                                  uint64_t count)
{
    struct codec_out out = out_of(&collection->side);
    write_use(collection->walk, value, &out);
    codec_form_type(&collection->form, &out);
    codec_out_text(&out, value_key(value));
    codec_form_head(&collection->form, count, &out);
    collection->walk->side_bytes += collection->side.bytes;
}

/* Few elements, and not many bytes. */
static bool is_small(const struct value *value, size_t count)
{
    return count <= WHOLE_MAX && value_ops_of(value)->memory(value, 0) <= WHOLE_BYTES_MAX;
}

/* Whether it is to be written in pieces. */
static bool is_large(const struct value *value)
{
    const struct table *table;
    switch (value_kind(value)) {
    case VALUE_STRING:
        return false;
    case VALUE_LIST:
        return list_is_chunked(value) && !is_small(value, list_len(value));
    case VALUE_STREAM:
        return stream_is_large(value) ||
               value_ops_of(value)->memory(value, 0) > WHOLE_BYTES_MAX; /* Few parts to add up. */
    default:
        table = codec_table_of(value);
        return table != NULL && !is_small(value, table_count(table));
    }
}

/* Takes the picture; returns how many elements the format wants to know of. */
static uint64_t collection_picture(struct walk_collection *collection, const struct value *value)
{
    switch (collection->form.kind) {
    case VALUE_LIST:
        list_picture_begin(&collection->list, value);
        return collection->list.count;
    case VALUE_STREAM:
        stream_picture_begin(&collection->stream, value);
        return collection->stream.node_count;
    default:
        picture_begin(&collection->picture, codec_table_of(value), collection_on_entry, collection);
        return collection->picture.count;
    }
}

static void collection_begin(struct walk *walk, unsigned db_index, const struct value *value)
{
    struct walk_collection *collection = mem_zalloc(sizeof(*collection));
    collection->walk = walk;
    collection->db_index = db_index;
    collection->form = codec_form_of(value);
    rope_init(&collection->side);
    list_push_back(&walk->waiting, &collection->link);
    walk->stats.collection_count++;
    write_collection_head(collection, value, collection_picture(collection, value));
}

static void collection_free(struct walk_collection *collection)
{
    struct walk *walk = collection->walk;
    struct keyspace *keyspace = walk->options.keyspace;
    switch (collection->form.kind) {
    case VALUE_LIST:
        keyspace_unpark(keyspace, &collection->list.parked);
        list_picture_end(&collection->list);
        break;
    case VALUE_STREAM:
        stream_picture_end(&collection->stream);
        keyspace_unpark(keyspace, &collection->stream.frees.jobs);
        break;
    default:
        walk->stats.elements_ahead += collection->picture.ahead_count;
        keyspace_unpark(keyspace, &collection->picture.guard.parked);
        picture_end(&collection->picture);
    }
    rope_deinit(&collection->side);
    list_remove(&collection->link);
    mem_free_sized(collection, sizeof(*collection));
}

/* What its picture keeps in memory, apart from bits. */
static size_t collection_kept(const struct walk_collection *collection)
{
    return collection->form.kind == VALUE_LIST     ? collection->list.copied
           : collection->form.kind == VALUE_STREAM ? collection->stream.held
                                                   : 0;
}

static size_t collection_held(const struct walk_collection *collection)
{
    return collection->side.bytes + collection_kept(collection);
}

/* The walk is at this collection now: what was written ahead comes first. */
static void collection_open(struct walk_collection *collection)
{
    struct walk *walk = collection->walk;
    outlet_select(&walk->out, collection->db_index);
    walk->side_bytes -= collection->side.bytes;
    rope_move(&walk->out.rope, &collection->side);
    walk->current = collection;
}

static bool collection_step(struct walk_collection *collection)
{
    switch (collection->form.kind) {
    case VALUE_LIST:
        return list_picture_step(&collection->list, PIECE_ELEMENTS, collection_on_item, collection);
    case VALUE_STREAM:
        return stream_picture_step(&collection->stream, PIECE_ELEMENTS, collection_on_part,
                                   collection);
    default:
        return picture_step(&collection->picture, PIECE_ELEMENTS);
    }
}

/* Keys that had to wait for its end follow. */
static void collection_close(struct walk *walk)
{
    collection_free(walk->current);
    walk->current = NULL;
    if (!rope_is_empty(&walk->later.rope)) {
        rope_move(&walk->out.rope, &walk->later.rope);
        walk->out.db_index = walk->later.db_index;
    }
    walk->later.db_index = -1;
}

static struct walk_collection *choose_collection(const struct walk *walk)
{
    struct walk_collection *chosen = NULL;
    unsigned seen = 0;
    for (struct list *node = walk->waiting.next; node != &walk->waiting && seen < CHOICE_MAX;
         node = node->next, seen++) {
        struct walk_collection *other = LIST_OWNER(node, struct walk_collection, link);
        if (chosen == NULL || collection_held(other) > collection_held(chosen)) {
            chosen = other;
        }
    }
    return chosen;
}

/* ---- The walk ---- */

static void walk_on_value(void *context, void *entry)
{
    struct walk_db *db = context;
    struct walk *walk = db->walk;
    walk->stats.keys_told++;
    if (is_large(entry)) {
        collection_begin(walk, db->index, entry);
    } else {
        write_whole(walk, db->index, entry);
    }
    if (walk->out.rope.bytes >= walk->piece_end) {
        picture_end_step(&db->picture);
    }
}

static void db_end(struct walk_db *db)
{
    if (picture_is_on(&db->picture)) {
        db->walk->stats.keys_ahead += db->picture.ahead_count;
        keyspace_unpark(db->walk->options.keyspace, &db->picture.guard.parked);
        picture_end(&db->picture);
    }
}

static unsigned version_of(const struct walk *walk)
{
    const struct walk_options *options = &walk->options;
    unsigned version = RDB_VERSION_MIN;
    if (options->write_more != NULL) {
        unsigned needed = options->write_more(options->more_context, NULL);
        version = needed > version ? needed : version;
    }
    for (unsigned i = 0; i < walk->db_count; i++) {
        const struct db *db = keyspace_db(options->keyspace, i);
        if (db_has_volatile_fields(db)) {
            return CODEC_VERSION_MOMENTS;
        }
        if (db_stream_count(db) > 0 && version < CODEC_VERSION_STREAMS) {
            version = CODEC_VERSION_STREAMS;
        }
    }
    return version;
}

static void write_beginning(struct walk *walk)
{
    const struct walk_options *options = &walk->options;
    struct codec_out out = out_of(&walk->out.rope);
    struct rdb_head head = {.version = version_of(walk),
                            .ouro_speaks = options->speaks,
                            .now_s = options->now_ms / 1000,
                            .used_memory = options->used_memory};
    rdb_write_head(&out, &head);
    if (options->write_more != NULL) {
        options->write_more(options->more_context, &out);
    }
}

static void db_begin(struct walk *walk, unsigned index)
{
    struct db *db = keyspace_db(walk->options.keyspace, index);
    struct walk_db *part = &walk->dbs[index];
    part->walk = walk;
    part->index = index;
    if (db_count(db) == 0) {
        return;
    }
    struct codec_out out = out_of(&walk->out.rope);
    outlet_select(&walk->out, index);
    rdb_write_sizes(&out, db_count(db), db_volatile_count(db));
    walk->stats.key_count += db_count(db);
    picture_begin(&part->picture, db_table(db), walk_on_value, part);
}

struct walk *walk_new(const struct walk_options *options)
{
    unsigned count = keyspace_db_count(options->keyspace);
    struct walk *walk = mem_zalloc(sizeof(*walk) + count * sizeof(struct walk_db));
    walk->options = *options;
    walk->db_count = count;
    walk->out.db_index = walk->later.db_index = -1;
    rope_init(&walk->out.rope);
    rope_init(&walk->later.rope);
    list_init(&walk->waiting);
    enum eviction_policy policy = keyspace_config(options->keyspace)->policy;
    walk->is_lru = policy == EVICT_ALL_LRU || policy == EVICT_VOLATILE_LRU;
    walk->is_lfu = policy == EVICT_ALL_LFU || policy == EVICT_VOLATILE_LFU;
    write_beginning(walk);
    for (unsigned i = 0; i < count && !options->has_no_data; i++) {
        db_begin(walk, i);
    }
    return walk;
}

void walk_free(struct walk *walk)
{
    for (unsigned i = 0; i < walk->db_count; i++) {
        db_end(&walk->dbs[i]);
    }
    while (!list_is_empty(&walk->waiting)) {
        collection_free(LIST_OWNER(walk->waiting.next, struct walk_collection, link));
    }
    rope_deinit(&walk->out.rope);
    rope_deinit(&walk->later.rope);
    mem_free_sized(walk, sizeof(*walk) + walk->db_count * sizeof(struct walk_db));
}

static void step_keys(struct walk *walk)
{
    struct walk_db *db = &walk->dbs[walk->db_at];
    if (!picture_is_on(&db->picture) || picture_step(&db->picture, PIECE_KEYS)) {
        db_end(db);
        walk->db_at++;
    }
}

/* One piece; true: that was the last. */
static bool step_piece(struct walk *walk)
{
    walk->piece_end = walk->out.rope.bytes + PIECE_BYTES;
    if (walk->current != NULL) {
        if (collection_step(walk->current)) {
            collection_close(walk);
        }
        return false;
    }
    if (!list_is_empty(&walk->waiting)) {
        collection_open(choose_collection(walk));
        return false;
    }
    if (walk->db_at < walk->db_count) {
        step_keys(walk);
        return false;
    }
    struct codec_out out = out_of(&walk->out.rope);
    rdb_write_end(&out);
    return true;
}

bool walk_step(struct walk *walk, int64_t deadline_mono_us, size_t bytes_max)
{
    do {
        walk->is_over = walk->is_over || step_piece(walk);
    } while (!walk->is_over && !walk->out.rope.is_failed && walk->out.rope.bytes < bytes_max &&
             clock_mono_us() < deadline_mono_us);
    ASSERT(!walk->is_over || walk->stats.keys_told == walk->stats.key_count);
    return walk->is_over;
}

struct rope *walk_out(struct walk *walk)
{
    return &walk->out.rope;
}

size_t walk_held(const struct walk *walk)
{
    size_t copied = 0;
    unsigned seen = 0;
    for (struct list *node = walk->waiting.next; node != &walk->waiting && seen < CHOICE_MAX;
         node = node->next, seen++) {
        copied += collection_kept(LIST_OWNER(node, struct walk_collection, link));
    }
    return copied + walk->side_bytes + walk->later.rope.bytes;
}

const struct walk_stats *walk_stats(const struct walk *walk)
{
    return &walk->stats;
}
