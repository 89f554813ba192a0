/* Values that are read over several turns, and keys that must stay as they are meanwhile.
 *
 * A value's header has a bit that says whether it is pinned, so an unpinned one costs a test where
 * it is freed or moved, and nothing where it is read. What a bit cannot say stands in a table of
 * entries, by the hash of the key:
 *
 *     keyspace.pins -> | db, value | key ... | pins: [reader] <-> [reader] |      a value
 *                      | db, NULL  | key ... | pins: [writer]              |      a name alone
 *
 * The life of a pinned value:
 *
 *     stored, pinned --db_remove, db_replace, flush (pin_detach)--> kept aside --last pin--> freed
 *           |
 *           '--last pin (keyspace_unpin)--> stored, unpinned
 *
 * PIN_READ is for those who only tell what a value held: deletions need not wait for them. PIN_KEEP
 * is for those whose result, told to replicas as one command at its end, depends on the key: if it
 * went in between, the replicas would compute something else. Such a key does not expire (it is
 * hidden, and goes when the pin has gone) nor is it evicted. PIN_TAKE reserves the destination of
 * such a command, so that of two that would each change what the other reads, one waits for the
 * other before it begins. PIN_EDIT is for those who change the value itself over several turns: it
 * keeps the key as PIN_KEEP does, and others may not even read the value meanwhile. Its holder may
 * move the value, as growing does, and says so (keyspace_pin_follow).
 *
 * Costs. A pin is one allocation per pinned value and a lookup in a table that is hardly ever
 * larger than the number of clients. While nothing is pinned nothing here is called.
 *
 * Invariants:
 *   1. A value has VALUE_IS_PINNED exactly while an entry names it.
 *   2. An entry has at least one pin. Those of a value are PIN_READ, PIN_KEEP or PIN_EDIT; those
 *      of a name PIN_KEEP, on an absent key, PIN_TAKE, or PIN_EDIT.
 *   3. A value kept aside has no pin but PIN_READ, as long as callers let nobody remove what is
 *      barred.
 *
 * Rejected: a counter in each value (8 bytes for every key, for what one in a million uses);
 * copying on write (a small change would cost a copy of millions of members). */
#include "keyspace/pin.h"

#include "base/assert.h"
#include "base/mem.h"
#include "keyspace/keyspace_internal.h"

struct pin_entry {
    struct db *db; /* Where it was when it was pinned. */
    struct value *value;
    struct list pins;
    uint32_t counts[PIN_MODE_COUNT]; /* Pins by mode. */
    bool is_aside;                   /* The value is stored nowhere. */
    uint64_t hash;
    size_t key_len;
    char key[];
};

static uint64_t pin_hash_of(const void *entry, const void *context)
{
    (void)context;
    return ((const struct pin_entry *)entry)->hash;
}

void pins_init(struct keyspace *keyspace)
{
    keyspace->pin_kind = (struct table_kind){.hash_of = pin_hash_of};
    table_init(&keyspace->pins, &keyspace->pin_kind);
}

void pins_deinit(struct keyspace *keyspace)
{
    ASSERT(table_count(&keyspace->pins) == 0);
    table_deinit(&keyspace->pins);
}

static unsigned mode_index(enum pin_mode mode)
{
    return (unsigned)__builtin_ctz((unsigned)mode);
}

static unsigned entry_modes(const struct pin_entry *entry)
{
    unsigned modes = 0;
    for (unsigned i = 0; i < PIN_MODE_COUNT; i++) {
        modes |= entry->counts[i] > 0 ? 1U << i : 0;
    }
    return modes;
}

static struct slice entry_key(const struct pin_entry *entry)
{
    return slice_of(entry->key, entry->key_len);
}

/* ---- Pins come and go ---- */

/* What an entry is looked for by: its value or, without one, its name. */
struct pin_search {
    const struct db *db;
    const struct value *value;
    struct slice key;
};

static bool entry_is(const void *entry, const void *key)
{
    const struct pin_entry *pinned = entry;
    const struct pin_search *search = key;
    if (pinned->value != search->value) {
        return false;
    }
    return search->value != NULL ||
           (pinned->db == search->db && slice_equal(entry_key(pinned), search->key));
}

static struct pin_entry *entry_find_value(const struct keyspace *keyspace,
                                          const struct value *value)
{
    struct pin_search search = {.value = value};
    uint64_t hash = hash_bytes(keyspace->hash_seed, value_key(value));
    return table_find(&keyspace->pins, hash, &search, entry_is);
}

static struct pin_entry *entry_add(struct db *db, uint64_t hash, const struct pin_search *search)
{
    struct pin_entry *entry = mem_alloc(sizeof(*entry) + search->key.len);
    *entry = (struct pin_entry){.db = db,
                                .value = (struct value *)(uintptr_t)search->value,
                                .hash = hash,
                                .key_len = search->key.len};
    list_init(&entry->pins);
    if (search->key.len > 0) {
        memcpy(entry->key, search->key.data, search->key.len);
    }
    if (entry->value != NULL) {
        entry->value->flags |= VALUE_IS_PINNED;
    }
    table_insert(&db->keyspace->pins, hash, entry);
    return entry;
}

void db_pin(struct db *db, uint64_t hash, struct slice key, struct value *value, struct pin *pin)
{
    ASSERT(pin->mode != PIN_READ || value != NULL);
    struct pin_search search = {
        .db = db, .value = pin->mode == PIN_TAKE ? NULL : value, .key = key};
    struct pin_entry *entry = table_find(&db->keyspace->pins, hash, &search, entry_is);
    if (entry == NULL) {
        entry = entry_add(db, hash, &search);
    }
    pin->entry = entry;
    entry->counts[mode_index(pin->mode)]++;
    list_push_back(&entry->pins, &pin->link);
    db->keyspace->pin_count++;
    db->keyspace->edit_count += pin->mode == PIN_EDIT;
    if (db->keyspace->on_pin != NULL) {
        db->keyspace->on_pin(db->keyspace->pin_context, true);
    }
}

static void entry_free(struct keyspace *keyspace, struct pin_entry *entry)
{
    struct pin_search search = {.db = entry->db, .value = entry->value, .key = entry_key(entry)};
    struct pin_entry *removed = table_remove(&keyspace->pins, entry->hash, &search, entry_is);
    ASSERT(removed == entry);
    if (entry->value != NULL) {
        entry->value->flags &= (uint8_t)~VALUE_IS_PINNED;
    }
    if (entry->is_aside) {
        keyspace_free_value(keyspace, entry->value);
    }
    mem_free_sized(entry, sizeof(*entry) + entry->key_len);
}

void keyspace_unpin(struct keyspace *keyspace, struct pin *pin)
{
    struct pin_entry *entry = pin->entry;
    if (entry == NULL) {
        return;
    }
    pin->entry = NULL;
    list_remove(&pin->link);
    entry->counts[mode_index(pin->mode)]--;
    keyspace->pin_count--;
    keyspace->edit_count -= pin->mode == PIN_EDIT;
    if (list_is_empty(&entry->pins)) {
        entry_free(keyspace, entry);
    }
    if (keyspace->on_pin != NULL) {
        keyspace->on_pin(keyspace->pin_context, false);
    }
}

void keyspace_pin_follow(struct pin *pin, struct value *moved)
{
    struct pin_entry *entry = pin->entry;
    ASSERT(pin->mode == PIN_EDIT && entry->value != NULL && !entry->is_aside);
    ASSERT(entry->counts[mode_index(PIN_EDIT)] == 1 && entry_modes(entry) == PIN_EDIT);
    entry->value = moved;
    moved->flags |= VALUE_IS_PINNED;
}

struct value *pin_value(const struct pin *pin)
{
    return pin->entry->value;
}

size_t keyspace_pin_count(const struct keyspace *keyspace)
{
    return keyspace->pin_count;
}

size_t keyspace_edit_count(const struct keyspace *keyspace)
{
    return keyspace->edit_count;
}

void keyspace_set_pin_hook(struct keyspace *keyspace, keyspace_pin_fn fn, void *context)
{
    keyspace->on_pin = fn;
    keyspace->pin_context = context;
}

/* ---- What is barred ---- */

struct bar_search {
    struct slice key;
    unsigned modes;
};

static bool entry_bars(const void *entry, const void *key)
{
    const struct pin_entry *pinned = entry;
    const struct bar_search *search = key;
    return !pinned->is_aside && (entry_modes(pinned) & search->modes) != 0 &&
           slice_equal(entry_key(pinned), search->key);
}

static struct pin_entry *find_bar(const struct keyspace *keyspace, uint64_t hash, struct slice key,
                                  unsigned modes)
{
    struct bar_search search = {.key = key, .modes = modes};
    return table_find(&keyspace->pins, hash, &search, entry_bars);
}

bool keyspace_is_barred(const struct keyspace *keyspace, uint64_t hash, struct slice key,
                        unsigned modes)
{
    return keyspace->pin_count > 0 && find_bar(keyspace, hash, key, modes) != NULL;
}

static void entry_hurry(const struct pin_entry *entry)
{
    for (struct list *node = entry->pins.next; node != &entry->pins; node = node->next) {
        struct pin *pin = LIST_OWNER(node, struct pin, link);
        if (pin->hurry != NULL) {
            pin->hurry(pin);
        }
    }
}

void keyspace_hurry_pins(const struct keyspace *keyspace, uint64_t hash, struct slice key,
                         unsigned modes)
{
    const struct pin_entry *entry = find_bar(keyspace, hash, key, modes);
    if (entry != NULL) {
        entry_hurry(entry);
    }
}

bool keyspace_hurry_set(const struct keyspace *keyspace, pin_set_fn is_of_set, const void *set,
                        unsigned modes)
{
    struct table_iterator iterator;
    const struct pin_entry *entry;
    bool is_any = false;
    table_iterate(&keyspace->pins, &iterator);
    while ((entry = table_next(&iterator)) != NULL) {
        if (!entry->is_aside && (entry_modes(entry) & modes) != 0 && is_of_set(set, entry->hash)) {
            entry_hurry(entry);
            is_any = true;
        }
    }
    return is_any;
}

/* Each round lets go of one holder's pins at least, or of nothing: then what is left belongs to
 * whoever runs just now. */
void keyspace_finish_pins(struct keyspace *keyspace, uint64_t hash, struct slice key,
                          unsigned modes)
{
    size_t count = SIZE_MAX;
    while (keyspace->pin_count < count) {
        struct pin_entry *entry = find_bar(keyspace, hash, key, modes);
        if (entry == NULL) {
            return;
        }
        count = keyspace->pin_count;
        struct pin *pin = LIST_OWNER(entry->pins.next, struct pin, link);
        pin->finish(pin);
    }
}

/* ---- For the rest of the room ---- */

void pin_detach(struct keyspace *keyspace, struct value *value)
{
    struct pin_entry *entry = entry_find_value(keyspace, value);
    ASSERT(entry != NULL && !entry->is_aside);
    entry->is_aside = true;
    entry_hurry(entry); /* Its memory is wanted back. */
}

bool pin_keeps(const struct keyspace *keyspace, const struct value *value)
{
    if (!value_is_pinned(value)) {
        return false;
    }
    const struct pin_entry *entry = entry_find_value(keyspace, value);
    return entry->counts[mode_index(PIN_KEEP)] + entry->counts[mode_index(PIN_EDIT)] > 0;
}

void pin_hurry(const struct keyspace *keyspace, const struct value *value)
{
    entry_hurry(entry_find_value(keyspace, value));
}
