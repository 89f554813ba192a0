/* The registry: from a command's name to its entry.
 *
 * Names are looked up once per command, so the table is made for that: open addressing, at most a
 * quarter full, 32-byte slots. A name is lowered eight bytes at a time without branches, and its
 * words are mixed into the hash as they come:
 *
 *     "GeT"           -> word 0x0000000000746567, len 3 -> slot
 *     "zrangebyscore" -> two words, len 13              -> slot
 *
 *     slot   +------------+--------+---------+-------+
 *            | first word | name*  | entry*  | len   |
 *            +------------+--------+---------+-------+
 *
 * A hit of a name of up to eight bytes compares one word and the length and touches one line of the
 * table and the entry itself. Costs: about 4 ns.
 *
 * Subcommands hang on their container's entry and are searched one by one: they are few, and none
 * of them is on a hot path.
 *
 * Invariants:
 *  1. Entries never move and live as long as exec: plans, sessions and statistics point at them.
 *  2. A slot's name is owned by exec's blocks, in lower case, 1 to EXEC_NAME_LEN_MAX bytes.
 *  3. Entries below entry_count are all that were registered, removed ones included.
 *
 * Rejected: a perfect hash (renaming, and families that register at start, would need a generator);
 * strcasecmp chains and byte-wise hashing (10 to 20 ns). */
#include "exec/exec_internal.h"

#include <errno.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"
#include "exec/syntax.h"

enum { SLOTS_MIN = 1024, SLOTS_PER_NAME = 4 };

static const char *const category_names[ACL_CATEGORY_COUNT] = {
    "keyspace", "read",   "write",       "set",       "sortedset",  "list",        "hash",
    "string",   "bitmap", "hyperloglog", "geo",       "stream",     "pubsub",      "admin",
    "fast",     "slow",   "blocking",    "dangerous", "connection", "transaction", "scripting",
};

const char *command_category_name(unsigned index)
{
    ASSERT(index < ACL_CATEGORY_COUNT);
    return category_names[index];
}

uint32_t command_category_find(struct slice name)
{
    for (unsigned i = 0; i < ACL_CATEGORY_COUNT; i++) {
        if (slice_is(name, category_names[i])) {
            return 1U << i;
        }
    }
    return 0;
}

/* ---- Names ---- */

/* Sets bit 0x20 of the bytes that are 'A'..'Z'. Adding to the low seven bits of each byte carries
 * into its top bit when the byte is at least 'A', and when it is above 'Z'; no carry crosses. */
static inline uint64_t word_lower(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t low = word & (0x7f * ones);
    uint64_t from_a = low + (0x80 - 'A') * ones;
    uint64_t past_z = low + (0x7f - 'Z') * ones;
    uint64_t is_upper = (from_a ^ past_z) & ~word & (0x80 * ones);
    return word | is_upper >> 2;
}

/* The 1 to 8 bytes at `data` as one word, zero padded, without reading beyond them. */
static inline uint64_t word_load(const char *data, size_t len)
{
    uint64_t word = 0;
    if (len >= 8) {
        memcpy(&word, data, 8);
    } else if (len >= 4) {
        uint32_t low;
        uint32_t high;
        memcpy(&low, data, 4);
        memcpy(&high, data + len - 4, 4);
        word = low | (uint64_t)high << (8 * (len - 4));
    } else {
        const unsigned char *bytes = (const unsigned char *)data;
        word = bytes[0];
        word |= (uint64_t)bytes[len / 2] << (8 * (len / 2));
        word |= (uint64_t)bytes[len - 1] << (8 * (len - 1));
    }
    return word;
}

static inline uint64_t hash_step(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 32;
}

/* False when it is no name: empty or too long. */
static bool name_make(struct exec_name *name, struct slice text, uint64_t *hash)
{
    if (text.len == 0 || text.len > EXEC_NAME_LEN_MAX) {
        return false;
    }
    memset(name, 0, sizeof(*name));
    name->len = (uint32_t)text.len;
    *hash = text.len;
    for (size_t at = 0; at < text.len; at += 8) {
        uint64_t word = word_lower(word_load(text.data + at, text.len - at));
        name->words[at / 8] = word;
        *hash = hash_step(*hash, word);
    }
    return true;
}

static struct exec_slot *slot_of_long(const struct exec *exec, struct slice text)
{
    struct exec_name name;
    uint64_t hash;
    if (!name_make(&name, text, &hash)) {
        return NULL;
    }
    for (uint32_t i = (uint32_t)hash & exec->slot_mask;; i = (i + 1) & exec->slot_mask) {
        struct exec_slot *slot = &exec->slots[i];
        if (slot->name == NULL) {
            return NULL;
        }
        if (slot->len == name.len && memcmp(slot->name->words, name.words, text.len) == 0) {
            return slot;
        }
    }
}

static inline struct exec_slot *slot_of(const struct exec *exec, struct slice text)
{
    if (text.len - 1 >= 8) {
        return slot_of_long(exec, text);
    }
    uint64_t word = word_lower(word_load(text.data, text.len));
    uint64_t hash = hash_step(text.len, word);
    for (uint32_t i = (uint32_t)hash & exec->slot_mask;; i = (i + 1) & exec->slot_mask) {
        struct exec_slot *slot = &exec->slots[i];
        if (slot->first == word && slot->len == text.len) {
            return slot;
        }
        if (slot->name == NULL) {
            return NULL;
        }
    }
}

struct command_entry *exec_registry_find(const struct exec *exec, struct slice name)
{
    if (exec->slots == NULL) {
        return NULL;
    }
    const struct exec_slot *slot = slot_of(exec, name);
    return slot != NULL ? slot->entry : NULL;
}

/* ---- Blocks ---- */

static void *block_new(struct exec *exec, size_t size)
{
    if (exec->block_count == exec->block_cap) {
        exec->block_cap = exec->block_cap == 0 ? 64 : exec->block_cap * 2;
        exec->blocks = mem_realloc(exec->blocks, exec->block_cap * sizeof(*exec->blocks));
    }
    void *block = mem_zalloc(size);
    exec->blocks[exec->block_count++] = block;
    return block;
}

static void histograms_free(struct command_entry *entry)
{
    mem_free(entry->stats.histogram);
    for (unsigned i = 0; i < entry->subcommand_count; i++) {
        histograms_free(&entry->subcommands[i]);
    }
}

void exec_registry_free(struct exec *exec)
{
    for (unsigned i = 0; i < exec->entry_count; i++) {
        histograms_free(exec->entries[i]);
    }
    for (unsigned i = 0; i < exec->block_count; i++) {
        mem_free(exec->blocks[i]);
    }
    mem_free(exec->blocks);
    mem_free(exec->entries);
    mem_free(exec->slots);
}

/* ---- Table ---- */

static void slots_place(struct exec *exec, const struct exec_slot *slot)
{
    uint64_t hash = slot->len;
    for (uint32_t at = 0; at < slot->len; at += 8) {
        hash = hash_step(hash, slot->name->words[at / 8]);
    }
    uint32_t i = (uint32_t)hash & exec->slot_mask;
    while (exec->slots[i].name != NULL) {
        i = (i + 1) & exec->slot_mask;
    }
    exec->slots[i] = *slot;
}

/* Makes the table for `count` names and places those that it had. */
static void slots_resize(struct exec *exec, unsigned count)
{
    uint32_t size = SLOTS_MIN;
    while (size < count * SLOTS_PER_NAME) {
        size *= 2;
    }
    struct exec_slot *old = exec->slots;
    uint32_t old_size = old != NULL ? exec->slot_mask + 1 : 0;
    exec->slots = mem_zalloc(size * sizeof(*exec->slots));
    exec->slot_mask = size - 1;
    for (uint32_t i = 0; i < old_size; i++) {
        if (old[i].entry != NULL) {
            slots_place(exec, &old[i]);
        }
    }
    mem_free(old);
}

static void slots_add(struct exec *exec, struct slice text, struct command_entry *entry)
{
    if (exec->slots == NULL || (exec->entry_count + 1) * SLOTS_PER_NAME > exec->slot_mask) {
        slots_resize(exec, exec->entry_count + 1);
    }
    struct exec_name *name = block_new(exec, sizeof(*name));
    uint64_t hash;
    bool is_name = name_make(name, text, &hash);
    ASSERT(is_name);
    slots_place(exec, &(struct exec_slot){
                          .first = name->words[0], .name = name, .entry = entry, .len = name->len});
}

/* ---- Entries ---- */

static uint32_t flags_of(const struct command *row)
{
    uint32_t flags = row->flags;
    if (command_key_range(row).is_movable) {
        flags |= CMD_MOVABLE_KEYS;
    }
    return flags;
}

static uint32_t categories_of(const struct command *row)
{
    uint32_t categories = row->categories;
    uint32_t flags = row->flags;
    if ((flags & CMD_WRITE) != 0) {
        categories |= ACL_WRITE;
    }
    if ((flags & CMD_READONLY) != 0 && (categories & ACL_SCRIPTING) == 0) {
        categories |= ACL_READ;
    }
    if ((flags & CMD_ADMIN) != 0) {
        categories |= ACL_ADMIN | ACL_DANGEROUS;
    }
    if ((flags & CMD_PUBSUB) != 0) {
        categories |= ACL_PUBSUB;
    }
    if ((flags & CMD_BLOCKING) != 0) {
        categories |= ACL_BLOCKING;
    }
    return categories | ((flags & CMD_FAST) != 0 ? ACL_FAST : ACL_SLOW);
}

static uint32_t gates_of(uint32_t flags)
{
    uint32_t gates = GATE_MEMORY | GATE_PUBSUB | GATE_CLUSTER | GATE_PAUSE;
    gates |= (flags & CMD_NOT_QUEUED) == 0 ? GATE_MULTI : 0;
    gates |= (flags & CMD_NO_AUTH) == 0 ? GATE_AUTH | GATE_ACCESS : 0;
    gates |= (flags & CMD_LOADING) == 0 ? GATE_LOADING : 0;
    gates |= (flags & CMD_STALE) == 0 ? GATE_STALE : 0;
    gates |= (flags & (CMD_WRITE | CMD_REFUSED_WITH_WRITES)) != 0 ? GATE_READ_ONLY : 0;
    gates |= (flags & CMD_ALLOW_BUSY) == 0 ? GATE_BUSY : 0;
    bool is_script = (flags & CMD_MAY_PARK) != 0 && (flags & CMD_READONLY) == 0;
    gates |= is_script || (flags & (CMD_WRITE | CMD_MAY_REPLICATE | CMD_AFTER_WRITES)) != 0
                 ? GATE_PINNED
                 : 0;
    gates |= (flags & (CMD_WRITE | CMD_READONLY | CMD_MAY_REPLICATE)) != 0 ? GATE_MONITOR : 0;
    gates |= (flags & (CMD_READONLY | CMD_WHOLE)) != 0 ? GATE_EDITED : 0; /* Writers: PINNED. */
    return gates;
}

static void row_check(const struct command *row)
{
    ASSERT(row->name != NULL && row->arity != 0);
    ASSERT(row->run != NULL || row->subcommand_count != 0);
    ASSERT((row->flags & CMD_WRITE) == 0 || (row->flags & CMD_READONLY) == 0);
    ASSERT(row->since != NULL && row->summary != NULL && row->group != NULL);
    for (const char *c = row->name; *c != '\0'; c++) {
        ASSERT(*c < 'A' || *c > 'Z');
    }
}

static const char *full_name_new(struct exec *exec, const struct command *container,
                                 const struct command *row)
{
    if (container == NULL) {
        return row->name;
    }
    size_t len = strlen(container->name) + 1 + strlen(row->name) + 1;
    char *name = block_new(exec, len);
    snprintf(name, len, "%s|%s", container->name, row->name);
    return name;
}

static void entry_init(struct exec *exec, struct command_entry *entry, const struct command *row,
                       struct command_entry *parent, void *family)
{
    row_check(row);
    entry->run = row->run;
    entry->family = family;
    entry->row = row;
    entry->flags = flags_of(row);
    entry->gate_bits = gates_of(row->flags);
    entry->categories = categories_of(row);
    entry->arity = row->arity;
    entry->parent = parent;
    entry->full_name = full_name_new(exec, parent != NULL ? parent->row : NULL, row);
    const struct key_spec *key = &row->keys[0];
    if (key->first > 0 && !key->is_counted && key->word == NULL && !key->is_not_key) {
        entry->first_key = (uint16_t)key->first;
    }
}

static void entry_add_subcommands(struct exec *exec, struct command_entry *entry)
{
    const struct command *row = entry->row;
    if (row->subcommand_count == 0) {
        return;
    }
    entry->subcommand_count = row->subcommand_count;
    entry->subcommands = block_new(exec, row->subcommand_count * sizeof(*entry->subcommands));
    for (unsigned i = 0; i < row->subcommand_count; i++) {
        struct command_entry *sub = &entry->subcommands[i];
        entry_init(exec, sub, &row->subcommands[i], entry, entry->family);
        sub->index = (uint16_t)i;
    }
}

static void entries_push(struct exec *exec, struct command_entry *entry)
{
    if (exec->entry_count == exec->entry_cap) {
        exec->entry_cap = exec->entry_cap == 0 ? 256 : exec->entry_cap * 2;
        exec->entries =
            mem_realloc(exec->entries, exec->entry_cap * sizeof(struct command_entry *));
    }
    entry->index = (uint16_t)exec->entry_count;
    exec->entries[exec->entry_count++] = entry;
}

void exec_register(struct exec *exec, const struct command *rows, unsigned count, void *family)
{
    struct command_entry *entries = block_new(exec, count * sizeof(*entries));
    for (unsigned i = 0; i < count; i++) {
        struct slice name = slice_from_text(rows[i].name);
        ASSERT(exec_registry_find(exec, name) == NULL);
        entry_init(exec, &entries[i], &rows[i], NULL, family);
        entry_add_subcommands(exec, &entries[i]);
        slots_add(exec, name, &entries[i]);
        entries_push(exec, &entries[i]);
        if (strcmp(rows[i].name, "exec") == 0) {
            exec->exec_entry = &entries[i];
            entries[i].gate_bits |= GATE_PINNED; /* Its queue may hold writes. */
        }
    }
}

void exec_register_subcommands(struct exec *exec, const char *container, const struct command *rows,
                               unsigned count, void *family)
{
    struct command_entry *entry = exec_registry_find(exec, slice_from_text(container));
    ASSERT(entry != NULL && entry->subcommand_count != 0);
    unsigned old_count = entry->subcommand_count;
    struct command_entry *all = block_new(exec, (old_count + count) * sizeof(*all));
    memcpy(all, entry->subcommands, old_count * sizeof(*all));
    for (unsigned i = 0; i < count; i++) {
        struct command_entry *sub = &all[old_count + i];
        entry_init(exec, sub, &rows[i], entry, family);
        sub->index = (uint16_t)(old_count + i);
    }
    entry->subcommands = all;
    entry->subcommand_count = old_count + count;
}

int exec_rename(struct exec *exec, struct slice old_name, struct slice new_name)
{
    struct command_entry *entry = exec_registry_find(exec, old_name);
    if (entry == NULL) {
        return -ENOENT;
    }
    if (new_name.len > EXEC_NAME_LEN_MAX) {
        return -ENAMETOOLONG;
    }
    if (new_name.len != 0 && exec_registry_find(exec, new_name) != NULL) {
        return -EEXIST;
    }
    slot_of(exec, old_name)->entry = NULL;
    slots_resize(exec, exec->entry_count); /* Closes the gap. */
    entry->is_removed = new_name.len == 0;
    if (!entry->is_removed) {
        slots_add(exec, new_name, entry);
    }
    return 0;
}

/* ---- Lookup ---- */

static struct command_entry *find_subcommand(const struct command_entry *entry, struct slice name)
{
    for (unsigned i = 0; i < entry->subcommand_count; i++) {
        if (slice_is(name, entry->subcommands[i].row->name)) {
            return &entry->subcommands[i];
        }
    }
    return NULL;
}

struct command_entry *exec_lookup(struct exec *exec, const struct slice *args, uint32_t count)
{
    struct command_entry *entry = exec_registry_find(exec, args[0]);
    if (entry == NULL || entry->subcommand_count == 0 || count == 1) {
        return entry;
    }
    return find_subcommand(entry, args[1]);
}

struct command_entry *exec_lookup_name(struct exec *exec, struct slice name)
{
    const char *bar = name.len != 0 ? memchr(name.data, '|', name.len) : NULL;
    if (bar == NULL) {
        return exec_registry_find(exec, name);
    }
    size_t len = (size_t)(bar - name.data);
    struct command_entry *entry = exec_registry_find(exec, slice_part(name, 0, len));
    return entry != NULL ? find_subcommand(entry, slice_part(name, len + 1, name.len)) : NULL;
}

unsigned exec_command_count(const struct exec *exec)
{
    return exec->entry_count;
}

struct command_entry *exec_command_at(struct exec *exec, unsigned index)
{
    ASSERT(index < exec->entry_count);
    return exec->entries[index];
}

static void entry_check(const struct command_entry *entry)
{
    const struct command *row = entry->row;
    struct syntax syntax;
    ASSERT(syntax_parse(&syntax, row->syntax, command_key_spec_count(row)));
    ASSERT(entry->run == row->run && entry->arity == row->arity);
    for (unsigned i = 0; i < entry->subcommand_count; i++) {
        ASSERT(entry->subcommands[i].parent == entry);
        entry_check(&entry->subcommands[i]);
    }
}

void exec_check(struct exec *exec)
{
    for (unsigned i = 0; i < exec->entry_count; i++) {
        ASSERT(exec->entries[i]->index == i);
        entry_check(exec->entries[i]);
    }
}
