/* Fields of a large hash that expire: which of them, when, and who goes when it is time.
 *
 *     table:    slot 1 -> entry "a"            moments:   ref of "a": 17:00
 *               slot 1 -> entry "b"                       ref of "b": 18:30
 *               slot 0 -> entry "c"  (stays)
 *               slot 1 -> entry "d" 19:00 stamped         ref of "d" and "e": 18:45
 *               slot 1 -> entry "e" 18:45 stamped
 *
 * The bit in the slot says that the field expires. When, the moments of the hash know
 * (hash_moments.c), by the field's ref, the top 32 bits of its hash; the table finds an entry by
 * its ref too. Two volatile fields of the same ref (of a million some hundred have such a twin)
 * both carry their moment as a stamp as well, and the ref has one that is not after any of theirs.
 * A field that keeps a stamp when its twin is gone is right as well.
 *
 * A field's moment is changed and dropped where it stands, so nothing is stale, but for the ref of
 * twins: what it has may be too early until it comes.
 *
 * Pictures (ds/picture.h) tell an entry before it changes or goes, and ask for its moment then. So
 * the table changes first, and the moments after it.
 *
 * Invariants (hash_body_check):
 *   1. A marked entry's ref is in the moments; every ref there is that of a marked entry.
 *   2. A marked entry without a stamp is the only one of its ref, and the moment there is its own.
 *   3. Else the moment there is not after any stamp of the ref's entries. An entry that is not
 *      marked has no stamp.
 *   4. volatile_count is that of marked entries. */
#include "base/assert.h"
#include "types/hash/hash_internal.h"

enum { DUE_BATCH = 32 };

int64_t hash_body_moment(const struct hash_body *body, const void *entry)
{
    int64_t stamp_ms = hash_entry_stamp(entry);
    if (stamp_ms >= 0) {
        return stamp_ms;
    }
    int64_t moment_ms =
        hash_moments_find(&body->moments, hash_ref(hash_entry_hash(entry, &body->seed)));
    ASSERT(moment_ms >= 0);
    return moment_ms;
}

/* ---- Entries of a ref ---- */

struct hash_sharers {
    const struct hash_body *body;
    uint32_t ref;
    int64_t now_ms;
    size_t count;        /* Marked entries of this ref. */
    int64_t earliest_ms; /* Their first moment; INT64_MAX: there are none. */
    void *due;           /* One whose moment is before now_ms. */
    void *unstamped;     /* The one without a stamp. */
    void *last;          /* One of them. */
};

static void sharers_on_entry(void *context, void *entry)
{
    struct hash_sharers *sharers = context;
    if (!hash_entry_is_volatile(entry) ||
        hash_ref(hash_entry_hash(entry, &sharers->body->seed)) != sharers->ref) {
        return;
    }
    int64_t moment_ms = hash_body_moment(sharers->body, entry);
    sharers->count++;
    sharers->earliest_ms = moment_ms < sharers->earliest_ms ? moment_ms : sharers->earliest_ms;
    sharers->due = moment_ms < sharers->now_ms ? entry : sharers->due;
    sharers->unstamped = hash_entry_stamp(entry) < 0 ? entry : sharers->unstamped;
    sharers->last = entry;
}

static struct hash_sharers hash_body_sharers(const struct hash_body *body, uint32_t ref,
                                             int64_t now_ms)
{
    struct hash_sharers sharers = {
        .body = body, .ref = ref, .now_ms = now_ms, .earliest_ms = INT64_MAX};
    if (HASH_REF_SPAN == 1) {
        table_find_prefix(&body->table, ref, sharers_on_entry, &sharers);
        return sharers;
    }
    struct table_walk walk = {
        .visit = sharers_on_entry, .context = &sharers, .entries_max = SIZE_MAX, .buckets_max = 1};
    uint64_t cursor = (uint64_t)ref << 16;
    uint64_t end = ((uint64_t)ref + HASH_REF_SPAN) << 16;
    do {
        cursor = table_scan(&body->table, cursor, &walk);
    } while (cursor != 0 && cursor < end);
    return sharers;
}

static bool slot_holds(const void *entry, const void *wanted)
{
    return entry == wanted;
}

/* Whether the ref has a volatile field already; that one has a stamp then. */
static bool hash_body_try_share(struct hash_body *body, uint32_t ref, bool *is_shared)
{
    *is_shared = hash_moments_find(&body->moments, ref) >= 0;
    if (!*is_shared) {
        return true;
    }
    struct hash_sharers sharers = hash_body_sharers(body, ref, 0);
    if (sharers.unstamped == NULL) {
        return true;
    }
    uint64_t hash = hash_entry_hash(sharers.unstamped, &body->seed);
    uint64_t *slot = table_find_slot(&body->table, hash, sharers.unstamped, slot_holds);
    return hash_entry_try_restamp(slot, sharers.earliest_ms);
}

/* ---- Changes ---- */

bool hash_change_try_begin(struct hash_body *body, struct hash_change *change)
{
    const void *entry = change->slot == NULL ? NULL : table_slot_entry(change->slot);
    change->was_volatile = hash_entry_is_volatile(entry);
    change->was_stamped = change->was_volatile && hash_entry_stamp(entry) >= 0;
    bool is_stamped = change->was_stamped;
    if (change->expire_ms >= 0 && !change->was_volatile &&
        !hash_body_try_share(body, hash_ref(change->hash), &is_stamped)) {
        return false;
    }
    change->stamp_ms = is_stamped ? change->expire_ms : HASH_NO_EXPIRE;
    return true;
}

void hash_change_end(struct hash_body *body, const struct hash_change *change)
{
    bool is_volatile = change->expire_ms >= 0;
    uint32_t ref = hash_ref(change->hash);
    if (!is_volatile && !change->was_volatile) {
        return;
    }
    table_slot_set(change->slot, hash_entry_marked(table_slot_entry(change->slot), is_volatile));
    body->volatile_count += is_volatile;
    if (!is_volatile) {
        hash_body_forget(body, change->hash, change->was_stamped);
        return;
    }
    body->volatile_count -= change->was_volatile;
    int64_t held_ms = change->stamp_ms < 0 ? -1 : hash_moments_find(&body->moments, ref);
    if (held_ms < 0 || change->expire_ms < held_ms) {
        hash_moments_set(&body->moments, ref, change->expire_ms);
    }
}

void hash_body_forget(struct hash_body *body, uint64_t hash, bool was_stamped)
{
    uint32_t ref = hash_ref(hash);
    body->volatile_count--;
    if (!was_stamped || hash_body_sharers(body, ref, 0).count == 0) {
        hash_moments_remove(&body->moments, ref);
    }
}

/* ---- When it is time ---- */

/* Removes the fields of a ref that are due, at most `max`; returns how many. */
static size_t hash_body_expire_ref(struct hash_body *body, uint32_t ref, int64_t now_ms, size_t max,
                                   hash_expire_fn on_field, void *context)
{
    size_t removed = 0;
    struct hash_sharers sharers = hash_body_sharers(body, ref, now_ms);
    while (sharers.due != NULL && removed < max) {
        char digits[PACK_DIGITS];
        struct hash_pair pair;
        hash_entry_pair(body, sharers.due, &pair);
        on_field(context, pack_text(&pair.field, digits));
        hash_body_remove_entry(body, sharers.due);
        removed++;
        if (sharers.count == 1) {
            return removed;
        }
        sharers = hash_body_sharers(body, ref, now_ms);
    }
    if (sharers.count > 0) {
        hash_moments_set(&body->moments, ref, sharers.earliest_ms);
    }
    return removed;
}

bool hash_body_expire(struct hash_body *body, int64_t now_ms, size_t max, hash_expire_fn on_field,
                      void *context)
{
    uint32_t refs[DUE_BATCH];
    while (body->moments.count > 0 && hash_moments_next_ms(&body->moments) < now_ms) {
        if (max == 0) {
            return false;
        }
        size_t count =
            hash_moments_take_due(&body->moments, now_ms, refs, max < DUE_BATCH ? max : DUE_BATCH);
        max -= count == 0; /* To have looked is a step as well. */
        for (size_t i = 0; i < count; i++) {
            size_t removed = hash_body_expire_ref(body, refs[i], now_ms, max, on_field, context);
            /* A ref of twins may have had its moment too early. */
            max -= removed > 0 ? removed : max > 0;
        }
    }
    return true;
}

/* ---- Checking ---- */

void hash_body_check_moments(const struct hash_body *body)
{
    size_t volatile_count = 0;
    size_t refs = 0;
    struct table_iterator iterator;
    hash_moments_check(&body->moments);
    table_iterate(&body->table, &iterator);
    for (void *entry = table_next(&iterator); entry != NULL; entry = table_next(&iterator)) {
        if (!hash_entry_is_volatile(entry)) {
            ASSERT(hash_entry_stamp(entry) < 0);
            continue;
        }
        uint32_t ref = hash_ref(hash_entry_hash(entry, &body->seed));
        int64_t held_ms = hash_moments_find(&body->moments, ref);
        struct hash_sharers sharers = hash_body_sharers(body, ref, 0);
        volatile_count++;
        refs += sharers.last == entry;
        ASSERT(held_ms >= 0 && held_ms <= sharers.earliest_ms);
        ASSERT(sharers.unstamped == NULL || sharers.count == 1);
    }
    ASSERT(volatile_count == body->volatile_count && refs == body->moments.count);
}
