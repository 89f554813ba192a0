/* What a long call holds of its keys while it runs (keyspace/pin.h).
 *
 *     command reads     its keys            PIN_READ    deletions go on, the value outlives its key
 *     command writes    what it reads       PIN_KEEP    its effect, told when it is done, must meet
 *                                                       the same keys on a replica
 *                       what it overwrites  PIN_TAKE
 *                       what it changes     both
 *     command edits     what it changes     PIN_EDIT    nobody sees the value half changed
 *
 * A command that writes builds its result aside and puts it in place behind its last yield: so it
 * happens at one moment, its last. Where that would mean to copy millions of elements in order to
 * remove a few (LREM, ZREMRANGEBYSCORE, SPOP) it edits: it changes the value in steps, and others
 * wait to read it. What it tells, in reply and effects, comes at its end as well.
 *
 * A call pins all that it names at its beginning, or does not begin: so no two wait for each other.
 * One that changes its value in steps may have moved it by then: the pin follows before anybody
 * else may look. */
#include "base/assert.h"
#include "base/mem.h"
#include "exec/sliced_internal.h"
#include "keyspace/pin.h"

static struct sliced *pin_owner(struct pin *pin)
{
    return pin->context;
}

static void pin_on_hurry(struct pin *pin)
{
    sliced_hurry(pin_owner(pin));
}

static void pin_on_finish(struct pin *pin)
{
    sliced_finish(pin_owner(pin));
}

/* Modes of pins that a call takes on one of its keys. */
static unsigned wanted_modes(const struct sliced *sliced, const struct key_spec *spec)
{
    if (!sliced_is_write(sliced)) {
        return PIN_READ;
    }
    if (sliced->mode == SLICE_EDITS && (spec->access == KEY_RW || spec->is_edited)) {
        return PIN_EDIT;
    }
    switch (spec->access) {
    case KEY_RO:
        return PIN_KEEP;
    case KEY_RW:
        return PIN_KEEP | PIN_TAKE;
    default:
        return PIN_TAKE;
    }
}

/* What others may not hold where it wants these. */
static unsigned barring_modes(unsigned wanted)
{
    unsigned modes = PIN_EDIT;
    modes |= (wanted & PIN_KEEP) != 0 ? PIN_TAKE : 0;
    modes |= (wanted & PIN_TAKE) != 0 ? PIN_KEEP | PIN_TAKE : 0;
    return modes | ((wanted & PIN_EDIT) != 0 ? PIN_ANY : 0);
}

bool sliced_is_barred(const struct sliced *sliced, const struct key_position *keys, uint32_t count)
{
    const struct keyspace *keyspace = sliced->exec->keyspace;
    bool is_barred = false;
    for (uint32_t i = 0; i < count; i++) {
        unsigned modes = barring_modes(wanted_modes(sliced, keys[i].spec));
        struct slice key = sliced->call.args.at[keys[i].index];
        uint64_t hash = call_hash(&sliced->call, keys[i].index);
        is_barred |= exec_unit_bars(sliced->exec, hash);
        is_barred |= exec_crowd_bars(sliced->exec, hash, !sliced_is_write(sliced));
        if (keyspace_is_barred(keyspace, hash, key, modes)) {
            keyspace_hurry_pins(keyspace, hash, key, modes);
            is_barred = true;
        }
    }
    return is_barred;
}

static void sliced_pin(struct sliced *sliced, uint32_t index, struct value *value,
                       enum pin_mode mode)
{
    if (value == NULL && mode == PIN_READ) {
        return;
    }
    struct pin *pin = &sliced->pins[sliced->pin_count++];
    *pin = (struct pin){
        .mode = mode, .hurry = pin_on_hurry, .finish = pin_on_finish, .context = sliced};
    db_pin(sliced->call.db, call_hash(&sliced->call, index), sliced->call.args.at[index], value,
           pin);
}

void sliced_pin_all(struct sliced *sliced, const struct key_position *keys, uint32_t count)
{
    const struct call *call = &sliced->call;
    sliced->pins = mem_alloc((2 * (size_t)count + 1) * sizeof(*sliced->pins));
    for (uint32_t i = 0; i < count; i++) {
        unsigned modes = wanted_modes(sliced, keys[i].spec);
        struct value *value =
            db_find(call->db, call->args.at[keys[i].index], call_hash(call, keys[i].index),
                    call->now->wall_ms, FIND_NO_TOUCH);
        if (value == NULL && modes == PIN_EDIT) {
            modes = PIN_KEEP | PIN_TAKE;
        }
        for (unsigned mode = PIN_READ; mode <= PIN_EDIT; mode <<= 1) {
            if ((modes & mode) != 0) {
                sliced_pin(sliced, keys[i].index, value, (enum pin_mode)mode);
            }
        }
    }
}

void sliced_unpin_all(struct sliced *sliced)
{
    for (size_t i = 0; i < sliced->pin_count; i++) {
        keyspace_unpin(sliced->exec->keyspace, &sliced->pins[i]);
    }
    mem_free(sliced->pins);
    sliced->pins = NULL;
    sliced->pin_count = 0;
}

void call_release_keys(struct call *call)
{
    if (call->sliced != NULL && !sliced_is_write(call->sliced)) {
        sliced_unpin_all(call->sliced);
    }
}

/* The pin on what a call edits, when it edits one value; else NULL: it has moved none. */
static struct pin *edit_pin(struct sliced *sliced)
{
    struct pin *found = NULL;
    for (size_t i = 0; i < sliced->pin_count; i++) {
        struct pin *pin = &sliced->pins[i];
        if (pin->mode == PIN_EDIT && found != NULL) {
            return NULL;
        }
        found = pin->mode == PIN_EDIT ? pin : found;
    }
    return found;
}

/* Before anybody else may look: the value may have been moved by its change. */
static void follow_edit(struct sliced *sliced, const struct place *place)
{
    struct pin *pin = place->slot != NULL ? edit_pin(sliced) : NULL;
    if (pin != NULL && pin_value(pin) != place->value) {
        keyspace_pin_follow(pin, place->value);
    }
}

bool call_edit_yield_slow(struct call *call, uint32_t index, struct place *place)
{
    struct sliced *sliced = call->sliced;
    const struct value *value = place->value;
    if (place->slot == NULL) {
        call_yield_slow(call, false);
        return true;
    }
    follow_edit(sliced, place);
    if (!call_yield_slow(call, false)) {
        place->value = NULL;
        return false;
    }
    *place = call_peek_place(call, index, FIND_NO_TOUCH | FIND_EXPIRED);
    if (place->value != value) {
        place->value = NULL;
    }
    return place->value != NULL;
}

bool call_edit_done(struct call *call, uint32_t index, struct place *place)
{
    const struct value *value = place->value;
    if (call->sliced == NULL) {
        return true;
    }
    if (value == NULL) {
        return false; /* Gone before: see call_edit_yield. */
    }
    follow_edit(call->sliced, place);
    if (!gather_is_empty(&call->sliced->effects)) {
        sliced_become_teller(call->sliced); /* Who changes it next comes after us. */
    }
    sliced_unpin_all(call->sliced);
    *place = call_peek_place(call, index, FIND_NO_TOUCH | FIND_EXPIRED);
    return place->value == value;
}
