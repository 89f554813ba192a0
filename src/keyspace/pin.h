/* Pins: who reads a value over several turns of the loop holds a pin on it meanwhile.
 *
 * A pinned value keeps its address and is not freed: defragmentation and eviction pass over it, and
 * when its key is deleted, overwritten or flushed the value is kept aside until its last pin goes.
 * A pin does not by itself stop others from changing the value in place: whoever executes commands
 * asks keyspace_is_barred first, and lets those wait that may. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/slice.h"
#include "keyspace/keyspace.h"

/* What its holder relies on. Bits, so that they can be asked for together. */
enum pin_mode {
    PIN_READ = 1 << 0, /* The value does not change. Its key may go: the value outlives it. */
    PIN_KEEP = 1 << 1, /* Nor does the key: it stays what it is, even if that is absent. */
    PIN_TAKE = 1 << 2, /* The key is about to be overwritten; until then anybody may read it. */
    PIN_EDIT = 1 << 3, /* The value is changing in steps: until that is done nobody may look. */
    PIN_ANY = PIN_READ | PIN_KEEP | PIN_TAKE | PIN_EDIT,
};

enum { PIN_MODE_COUNT = 4 };

struct pin_entry;

/* Embedded in its owner, who fills in the functions. Both are called from within the keyspace or
 * from keyspace_finish_pins, never from db_pin or keyspace_unpin. */
struct pin {
    struct list link; /* Private. */
    struct pin_entry *entry;
    enum pin_mode mode;

    void *context; /* The owner's own. */

    /* Somebody waits for it: be quick. May be NULL. */
    void (*hurry)(struct pin *pin);

    /* Somebody cannot wait: do the rest at once and let go. A holder that is itself what runs just
     * now may leave it as it is. */
    void (*finish)(struct pin *pin);
};

/* Pins `value`, stored in `db` under `key`; NULL with PIN_KEEP reserves the absence of the key,
 * with PIN_EDIT the name, whatever becomes of its value, and PIN_TAKE always the key alone. The
 * same value may be pinned any number of times. */
void db_pin(struct db *db, uint64_t hash, struct slice key, struct value *value, struct pin *pin);

/* Lets go; a value that is stored nowhere any more is freed with its last pin, in slices. Harmless
 * for a pin that is not held (zeroed, or let go of). */
void keyspace_unpin(struct keyspace *keyspace, struct pin *pin);

/* The holder of the only pin on a value, which is PIN_EDIT, has changed the value so that it lies
 * elsewhere: the pin follows. To be told before anybody else may look. */
void keyspace_pin_follow(struct pin *pin, struct value *moved);

/* The pinned value, or NULL when only a key is. */
struct value *pin_value(const struct pin *pin);

/* Whether the key of that name, in whichever database, has a pin in one of `modes` (enum pin_mode,
 * or-ed). A change in place asks for PIN_ANY, a removal or replacement for PIN_KEEP | PIN_TAKE |
 * PIN_EDIT, a read for PIN_EDIT. */
bool keyspace_is_barred(const struct keyspace *keyspace, uint64_t hash, struct slice key,
                        unsigned modes);

/* Tells the holders of such pins that somebody waits. */
void keyspace_hurry_pins(const struct keyspace *keyspace, uint64_t hash, struct slice key,
                         unsigned modes);

/* The same of all keys of a set that is given by a question; the modes are those that are asked
 * for. Returns whether there is any. O(what is pinned). */
typedef bool (*pin_set_fn)(const void *set, uint64_t hash);
bool keyspace_hurry_set(const struct keyspace *keyspace, pin_set_fn is_of_set, const void *set,
                        unsigned modes);

/* Has the holders of such pins do the rest at once. Whatever they change and free, they do so
 * before this returns: places are invalid. */
void keyspace_finish_pins(struct keyspace *keyspace, uint64_t hash, struct slice key,
                          unsigned modes);

/* Number of pins held, and how many of them are PIN_EDIT. */
size_t keyspace_pin_count(const struct keyspace *keyspace);
size_t keyspace_edit_count(const struct keyspace *keyspace);

/* Called after every pin that is taken (is_held) or let go of. */
typedef void (*keyspace_pin_fn)(void *context, bool is_held);
void keyspace_set_pin_hook(struct keyspace *keyspace, keyspace_pin_fn fn, void *context);
