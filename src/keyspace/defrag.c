/* Moving values together, so that half-empty pages can go back to the kernel.
 *
 * The allocator keeps blocks of one size in slabs of a few pages, and a slab goes when its last
 * block does. When the sizes of new values change, eviction takes old ones here and there: every
 * slab of the old sizes keeps a few, and resident memory reaches twice what is used. Moving these
 * few into other slabs of their size gives the rest back:
 *
 *     slab  [a...b..c]  [.d......]  [efg.hijk]       a value's block is referred to by its table
 *            (full soon) (emptied)   (left alone)    slot alone, so moving it is: allocate, copy,
 *           [a.d.b..c]               [efg.hijk]      free, set the slot
 *
 * Now and then the heap's pages in use are compared with its bytes in use. When too much is wasted
 * a pass begins: it walks the tables in the order of hashes, asks the allocator of each value
 * whether its slab is sparse, and moves those that are. After a pass the next one begins while that
 * still helps.
 *
 * Costs. A look costs about 10 us, four times a second. A value that stays costs about 0.1 us, one
 * that moves 0.4 us and its bytes; only slabs are ever sparse, so at most 14 KiB are copied. Slices
 * leave the loop three times their own length, or as much as their own when a lot is wasted.
 * Blobs and the like have pages of their own, which are never half empty, and stay.
 *
 * Invariants:
 *   1. Nothing but the table slot refers to a value's block between two commands: wheel, eviction
 *      pool and watches know hashes and keys, suspended commands hold copies, cursors, blobs or
 * pins.
 *   2. A move changes no byte of the value: expiry, place in the wheel and access time stay.
 *   3. The table is not touched while it is walked: what is to move is gathered first.
 *
 * With a memory limit, waste is also worked off by those who write, before it passes the limit:
 * pressure.c.
 *
 * Rejected: moving a value when it is next written (what is hardly used is what stays behind). */
#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "keyspace/keyspace_internal.h"

enum {
#ifdef OURO_HOSTILE
    DEFRAG_WASTE_MIN = 0,
    DEFRAG_WASTE_SHARE = INT32_MAX, /* Any heap is worth it. */
    DEFRAG_ENTRIES = 1,
#else
    DEFRAG_WASTE_MIN = 16 * 1024 * 1024, /* Less is not worth any work. */
    DEFRAG_WASTE_SHARE = 20,             /* One wasted byte for so many used ones: 5 %. */
    DEFRAG_ENTRIES = 24,                 /* Values between two looks at the clock. */
#endif
    DEFRAG_BATCH = 64,           /* Values that one walk can gather. */
    DEFRAG_LOOK_US = 250 * 1000, /* Between two looks at the heap. */
    DEFRAG_GAIN_SHARE = 512,     /* A pass that moves fewer of its values than 1/512 is the last. */
    DEFRAG_PUSH_GAIN_SHARE = 64, /* The same where it is pushed. */
    DEFRAG_CALM_PERCENT = 25,    /* Share of the time while little is wasted. */
    DEFRAG_URGENT_PERCENT = 50,  /* And while more than 1/DEFRAG_URGENT_SHARE is. */
    DEFRAG_URGENT_SHARE = 10,
};

/* --- Moves --------------------------------------------------------------------------------------
 */

struct defrag_batch {
    struct value *sparse[DEFRAG_BATCH];
    unsigned count;
    unsigned kept;
};

/* One that finds no room here waits for the next pass. */
static void defrag_on_value(void *context, void *entry)
{
    struct defrag_batch *batch = context;
    if (batch->count < DEFRAG_BATCH && mem_is_sparse(entry)) {
        batch->sparse[batch->count++] = entry;
    } else {
        batch->kept++;
    }
}

/* False: no memory, or somebody reads the value across turns (while the keyspace is frozen that may
 * be any). */
static bool db_move_value(struct db *db, struct value *value)
{
    if (value_is_pinned(value) || db->keyspace->is_frozen) {
        return false;
    }
    struct place place = db_place_of(db, db_value_hash(db, value), value);
    struct value *moved = mem_move(value, value_block_len(value));
    if (moved == NULL) {
        return false;
    }
    table_slot_set(place.slot, moved);
    return true;
}

/* Deals with a few buckets; true at the end of the last database. */
static bool defrag_walk(struct keyspace *keyspace)
{
    struct defrag *defrag = &keyspace->defrag;
    struct db *db = &keyspace->dbs[defrag->db_index];
    struct defrag_batch batch;
    batch.count = batch.kept = 0;
    struct table_walk walk = {.visit = defrag_on_value,
                              .context = &batch,
                              .entries_max = DEFRAG_ENTRIES,
                              .buckets_max = DEFRAG_ENTRIES};
    defrag->cursor = table_scan(&db->table, defrag->cursor, &walk);
    unsigned moved = 0;
    for (unsigned i = 0; i < batch.count; i++) {
        moved += db_move_value(db, batch.sparse[i]);
    }
    unsigned kept = batch.kept + batch.count - moved;
    defrag->pass_moved += moved;
    defrag->pass_kept += kept;
    keyspace->stats.defrag_moved += moved;
    keyspace->stats.defrag_kept += kept;
    if (defrag->cursor != 0) {
        return false;
    }
    defrag->db_index = (defrag->db_index + 1) % keyspace->db_count;
    return defrag->db_index == 0;
}

/* --- Passes -------------------------------------------------------------------------------------
 */

static void defrag_begin_pass(struct defrag *defrag)
{
    defrag->db_index = 0;
    defrag->cursor = 0;
    defrag->pass_moved = defrag->pass_kept = 0;
}

/* Begins or ends by what the heap wastes. What a pass could not mend is no reason to begin another
 * until it has grown by a sixteenth. */
static void defrag_look(struct defrag *defrag)
{
    struct mem_pages pages;
    mem_pages_read(&pages);
    size_t allocated = pages.allocated;
    size_t waste = pages.active > allocated ? pages.active - allocated : 0;
    size_t least = DEFRAG_WASTE_MIN;
    bool is_much = waste >= least && waste >= allocated / DEFRAG_WASTE_SHARE;
    bool is_urgent = waste > allocated / DEFRAG_URGENT_SHARE;
    defrag->share = is_urgent ? DEFRAG_URGENT_PERCENT : DEFRAG_CALM_PERCENT;
    if (defrag->is_pass_vain) {
        defrag->is_pass_vain = false;
        defrag->vain_waste = waste;
    } else if (waste < defrag->vain_waste / 2) {
        defrag->vain_waste = 0;
    }
    if (!is_much) {
        defrag->is_running = false;
    } else if (!defrag->is_running && waste >= defrag->vain_waste + defrag->vain_waste / 16) {
        defrag->is_running = true;
        defrag_begin_pass(defrag);
    }
}

static void defrag_end_pass(struct defrag *defrag)
{
    uint64_t seen = defrag->pass_moved + defrag->pass_kept;
    if (defrag->pass_moved <= seen / DEFRAG_GAIN_SHARE) {
        defrag->is_running = false;
        defrag->is_pass_vain = true;
    }
    defrag_begin_pass(defrag);
}

bool defrag_push(struct keyspace *keyspace)
{
    if (!defrag_walk(keyspace)) {
        return true;
    }
    struct defrag *defrag = &keyspace->defrag;
    bool is_useful = defrag->pass_moved > defrag->pass_kept / DEFRAG_PUSH_GAIN_SHARE;
    defrag_end_pass(defrag);
    return is_useful;
}

void keyspace_defrag_step(struct keyspace *keyspace, int64_t now_mono_us, int64_t budget_us)
{
    struct defrag *defrag = &keyspace->defrag;
    if (now_mono_us >= defrag->look_us) {
        defrag_look(defrag);
        defrag->look_us = now_mono_us + DEFRAG_LOOK_US;
    }
    if (!defrag->is_running) {
        defrag->due_us = defrag->look_us;
        return;
    }
    int64_t end_us;
    bool is_at_end;
    do {
        is_at_end = defrag_walk(keyspace);
        end_us = clock_mono_us();
    } while (!is_at_end && end_us - now_mono_us < budget_us);
    if (is_at_end) {
        defrag_end_pass(defrag);
    }
    int64_t spent_us = end_us - now_mono_us;
    keyspace->stats.defrag_us += (uint64_t)spent_us;
    defrag->due_us = end_us + spent_us * (100 - (int64_t)defrag->share) / (int64_t)defrag->share;
}

int64_t keyspace_defrag_due_us(const struct keyspace *keyspace)
{
    return keyspace->config.is_defragmenting ? keyspace->defrag.due_us : INT64_MAX;
}

unsigned keyspace_defrag_share(const struct keyspace *keyspace)
{
    const struct defrag *defrag = &keyspace->defrag;
    return keyspace->config.is_defragmenting && defrag->is_running ? defrag->share : 0;
}

void keyspace_defrag_all(struct keyspace *keyspace)
{
    defrag_begin_pass(&keyspace->defrag);
    while (!defrag_walk(keyspace)) {
    }
    defrag_end_pass(&keyspace->defrag);
}
