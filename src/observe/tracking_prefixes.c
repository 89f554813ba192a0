/* Broadcasting: clients that want to hear of every change below a prefix, whether they read the key
 * or not (CLIENT TRACKING ON BCAST PREFIX user:).
 *
 *     prefixes: table --> prefix | name | clients: [tracker *] ... | changed: table of keys |
 *
 *     change of "user:7" --> prefixes of each length that occurs: "", "user:" --> noted there
 *     end of the turn    --> each prefix with noted keys: one message with all of them, sorted
 *
 * A key is noted once per turn however often it changes, with the first client that changed it: one
 * with NOLOOP gets a message of its own, without the keys that it changed itself. Everybody else
 * shares one. A change costs one look-up per length of prefix that occurs, and nothing while nobody
 * broadcasts.
 *
 * Prefixes of one client must not overlap, so a client hears of each change once. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"
#include "observe/tracking_internal.h"

/* A key that changed in this turn. */
struct changed {
    uint64_t origin_id; /* The client that changed it first; 0: none. */
    uint32_t len;
    char name[];
};

struct prefix {
    struct list dirty_link; /* It has changed keys. */
    struct table changed;
    bool is_lossy;            /* A key could not be noted: everything is invalid. */
    struct tracker **clients; /* Owned array. */
    uint32_t client_count, client_cap;
    uint32_t len;
    char name[];
};

struct slice prefix_name(const struct prefix *prefix)
{
    return slice_of(prefix->name, prefix->len);
}

static uint64_t prefix_hash(const void *entry, const void *context)
{
    return hash_bytes(((const struct tracking *)context)->seed, prefix_name(entry));
}

static bool prefix_is(const void *entry, const void *key)
{
    return slice_equal(prefix_name(entry), *(const struct slice *)key);
}

static struct slice changed_name(const struct changed *changed)
{
    return slice_of(changed->name, changed->len);
}

static uint64_t changed_hash(const void *entry, const void *context)
{
    return hash_bytes(((const struct tracking *)context)->seed, changed_name(entry));
}

static bool changed_is(const void *entry, const void *key)
{
    return slice_equal(changed_name(entry), *(const struct slice *)key);
}

/* ---- Prefixes ---- */

/* The index of the first length that is not below `len`. */
static uint32_t len_find(const struct tracking *tracking, uint32_t len)
{
    uint32_t at = 0;
    while (at < tracking->len_count && tracking->lens[at].len < len) {
        at++;
    }
    return at;
}

static void len_add(struct tracking *tracking, uint32_t len)
{
    uint32_t at = len_find(tracking, len);
    if (at < tracking->len_count && tracking->lens[at].len == len) {
        tracking->lens[at].count++;
        return;
    }
    uint32_t count = tracking->len_count++;
    tracking->lens = mem_realloc(tracking->lens, tracking->len_count * sizeof(*tracking->lens));
    memmove(&tracking->lens[at + 1], &tracking->lens[at], (count - at) * sizeof(*tracking->lens));
    tracking->lens[at] = (struct prefix_len){.len = len, .count = 1};
}

static void len_remove(struct tracking *tracking, uint32_t len)
{
    uint32_t at = len_find(tracking, len);
    if (--tracking->lens[at].count == 0) {
        uint32_t count = --tracking->len_count;
        memmove(&tracking->lens[at], &tracking->lens[at + 1],
                (count - at) * sizeof(*tracking->lens));
    }
}

static struct prefix *prefix_find(const struct tracking *tracking, struct slice name)
{
    return table_find(&tracking->prefixes, hash_bytes(tracking->seed, name), &name, prefix_is);
}

static struct prefix *prefix_new(struct tracking *tracking, struct slice name)
{
    struct prefix *prefix = mem_try_alloc(sizeof(*prefix) + name.len);
    if (prefix == NULL) {
        return NULL;
    }
    *prefix = (struct prefix){.len = (uint32_t)name.len};
    list_init(&prefix->dirty_link);
    table_init(&prefix->changed, &tracking->changed_kind);
    memcpy(prefix->name, name.data, name.len);
    table_insert(&tracking->prefixes, hash_bytes(tracking->seed, name), prefix);
    tracking->memory += mem_usable(prefix);
    len_add(tracking, prefix->len);
    return prefix;
}

static void forget_changed(struct tracking *tracking, struct prefix *prefix)
{
    struct table_iterator iterator;
    struct changed *changed;
    table_iterate(&prefix->changed, &iterator);
    while ((changed = table_next(&iterator)) != NULL) {
        tracking->memory -= mem_usable(changed);
        mem_free(changed);
    }
    table_deinit(&prefix->changed);
    list_remove(&prefix->dirty_link);
}

static void prefix_free(struct tracking *tracking, struct prefix *prefix)
{
    struct slice name = prefix_name(prefix);
    table_remove(&tracking->prefixes, hash_bytes(tracking->seed, name), &name, prefix_is);
    len_remove(tracking, prefix->len);
    forget_changed(tracking, prefix);
    tracking->memory -= prefix->clients != NULL ? mem_usable(prefix->clients) : 0;
    mem_free(prefix->clients);
    tracking->memory -= mem_usable(prefix);
    mem_free(prefix);
}

/* ---- Clients ---- */

static bool has_prefix(const struct tracker *tracker, const struct prefix *prefix)
{
    for (uint32_t i = 0; i < tracker->prefix_count; i++) {
        if (tracker->prefixes[i] == prefix) {
            return true;
        }
    }
    return false;
}

static void client_add(struct tracking *tracking, struct prefix *prefix, struct tracker *tracker)
{
    if (prefix->client_count == prefix->client_cap) {
        tracking->memory -= prefix->clients != NULL ? mem_usable(prefix->clients) : 0;
        prefix->client_cap = prefix->client_cap == 0 ? 4 : prefix->client_cap * 2;
        prefix->clients =
            mem_realloc(prefix->clients, prefix->client_cap * sizeof(*prefix->clients));
        tracking->memory += mem_usable(prefix->clients);
    }
    prefix->clients[prefix->client_count++] = tracker;
}

bool prefix_add(struct tracking *tracking, struct slice name, struct tracker *tracker)
{
    struct prefix *prefix = prefix_find(tracking, name);
    if (prefix == NULL) {
        prefix = prefix_new(tracking, name);
    }
    if (prefix == NULL || has_prefix(tracker, prefix)) {
        return prefix != NULL;
    }
    client_add(tracking, prefix, tracker);
    size_t size = (tracker->prefix_count + 1) * sizeof(struct prefix *);
    tracker->prefixes = mem_realloc(tracker->prefixes, size);
    uint32_t at = tracker->prefix_count++;
    while (at > 0 && slice_compare(name, prefix_name(tracker->prefixes[at - 1])) < 0) {
        tracker->prefixes[at] = tracker->prefixes[at - 1];
        at--;
    }
    tracker->prefixes[at] = prefix;
    return true;
}

static void client_remove(struct prefix *prefix, const struct tracker *tracker)
{
    for (uint32_t i = 0; i < prefix->client_count; i++) {
        if (prefix->clients[i] == tracker) {
            prefix->clients[i] = prefix->clients[--prefix->client_count];
            return;
        }
    }
}

void prefixes_leave(struct tracking *tracking, struct tracker *tracker)
{
    for (uint32_t i = 0; i < tracker->prefix_count; i++) {
        struct prefix *prefix = tracker->prefixes[i];
        client_remove(prefix, tracker);
        if (prefix->client_count == 0) {
            prefix_free(tracking, prefix);
        }
    }
    mem_free(tracker->prefixes);
    tracker->prefixes = NULL;
    tracker->prefix_count = 0;
}

/* ---- Changes ---- */

static void note(struct tracking *tracking, struct prefix *prefix, struct slice key,
                 uint64_t origin_id)
{
    uint64_t hash = hash_bytes(tracking->seed, key);
    if (table_find(&prefix->changed, hash, &key, changed_is) != NULL) {
        return;
    }
    struct changed *changed = mem_try_alloc(sizeof(*changed) + key.len);
    if (changed != NULL) {
        *changed = (struct changed){.origin_id = origin_id, .len = (uint32_t)key.len};
        memcpy(changed->name, key.data, key.len);
        table_insert(&prefix->changed, hash, changed);
        tracking->memory += mem_usable(changed);
    } else {
        prefix->is_lossy = true;
    }
    if (!list_is_linked(&prefix->dirty_link)) {
        list_push_back(&tracking->dirty, &prefix->dirty_link);
    }
}

void prefixes_note(struct tracking *tracking, struct slice key, uint64_t origin_id)
{
    for (uint32_t i = 0; i < tracking->len_count && tracking->lens[i].len <= key.len; i++) {
        struct prefix *prefix = prefix_find(tracking, slice_of(key.data, tracking->lens[i].len));
        if (prefix != NULL) {
            note(tracking, prefix, key, origin_id);
        }
    }
}

/* ---- The end of the turn ---- */

static int compare_changed(const void *a, const void *b)
{
    const struct changed *left = *(struct changed *const *)a;
    const struct changed *right = *(struct changed *const *)b;
    return slice_compare(changed_name(left), changed_name(right));
}

/* How many keys another client than `id` changed. */
static size_t count_others(struct changed *const *keys, size_t count, uint64_t id)
{
    size_t others = 0;
    for (size_t i = 0; i < count; i++) {
        others += id == 0 || keys[i]->origin_id != id;
    }
    return others;
}

/* The array of keys, without those that `but_id` changed (0: all). False: it is empty. */
static bool list_changed(struct changed *const *keys, size_t count, uint64_t but_id,
                         struct buf *out)
{
    size_t left = count_others(keys, count, but_id);
    buf_clear(out);
    buf_printf(out, "*%zu\r\n", left);
    for (size_t i = 0; i < count; i++) {
        if (but_id == 0 || keys[i]->origin_id != but_id) {
            tracking_append_key(out, changed_name(keys[i]));
        }
    }
    return left != 0;
}

/* Tells those with NOLOOP who changed a key each for itself, and all others together. */
static void tell_clients(struct tracking *tracking, struct prefix *prefix,
                         struct changed *const *keys, size_t count)
{
    struct buf text;
    buf_init(&text);
    uint64_t *ids = mem_alloc((prefix->client_count + 1) * sizeof(*ids));
    struct audience audience = {.ids = ids, .is_everybody = true};
    for (uint32_t i = 0; i < prefix->client_count; i++) {
        struct tracker *tracker = prefix->clients[i];
        uint64_t id = tracker->session->id;
        if (!tracker->is_noloop || count_others(keys, count, id) == count) {
            ids[audience.count++] = id;
        } else if (list_changed(keys, count, id, &text)) {
            struct invalidation invalidation = {.keys = buf_slice(&text)};
            tracking_tell(tracking, tracker, &invalidation);
            invalidation_deinit(&invalidation);
        }
    }
    if (audience.count != 0) {
        list_changed(keys, count, 0, &text);
        tracking_tell_all(tracking, &audience,
                          prefix->is_lossy ? slice_of(NULL, 0) : buf_slice(&text));
    }
    mem_free(ids);
    buf_deinit(&text);
}

static void prefix_flush(struct tracking *tracking, struct prefix *prefix)
{
    size_t count = table_count(&prefix->changed), at = 0;
    struct changed **keys = mem_alloc((count + 1) * sizeof(struct changed *));
    struct table_iterator iterator;
    struct changed *changed;
    table_iterate(&prefix->changed, &iterator);
    while ((changed = table_next(&iterator)) != NULL) {
        keys[at++] = changed;
    }
    qsort(keys, count, sizeof(struct changed *), compare_changed);
    tell_clients(tracking, prefix, keys, count);
    prefix->is_lossy = false;
    mem_free(keys);
    forget_changed(tracking, prefix);
}

static int compare_prefix(const void *a, const void *b)
{
    return slice_compare(prefix_name(*(struct prefix *const *)a),
                         prefix_name(*(struct prefix *const *)b));
}

/* Prefixes in their order, as Redis tells them. */
void prefixes_flush(struct tracking *tracking)
{
    size_t count = 0, at = 0;
    for (struct list *node = tracking->dirty.next; node != &tracking->dirty; node = node->next) {
        count++;
    }
    if (count == 0) {
        return;
    }
    struct prefix **all = mem_alloc(count * sizeof(struct prefix *));
    for (struct list *node = tracking->dirty.next; node != &tracking->dirty; node = node->next) {
        all[at++] = LIST_OWNER(node, struct prefix, dirty_link);
    }
    qsort(all, count, sizeof(struct prefix *), compare_prefix);
    for (size_t i = 0; i < count; i++) {
        prefix_flush(tracking, all[i]);
    }
    mem_free(all);
}

void prefixes_init(struct tracking *tracking)
{
    tracking->prefix_kind = (struct table_kind){.hash_of = prefix_hash, .context = tracking};
    tracking->changed_kind = (struct table_kind){.hash_of = changed_hash, .context = tracking};
    table_init(&tracking->prefixes, &tracking->prefix_kind);
    list_init(&tracking->dirty);
}

void prefixes_deinit(struct tracking *tracking)
{
    ASSERT(table_count(&tracking->prefixes) == 0);
    table_deinit(&tracking->prefixes);
    mem_free(tracking->lens);
}
