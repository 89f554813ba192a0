/* Groups: consumers that share a stream, and what was delivered but not acknowledged.
 *
 *     group --> pending:   [p 1-0] [p 2-0] [p 5-0] ...        by ID
 *           \                 |       |       |
 *            \-> consumers: [ann: pending [p 1-0] [p 5-0]] [bob: pending [p 2-0]]     by name
 *
 * A pending entry is one allocation that two counted trees refer to: the group's and its
 * consumer's. So an acknowledgement finds it by ID in the group, and a consumer that comes back
 * reads its own in order.
 *
 * Costs. 48 bytes and two slots (about 18 bytes) per pending entry; finding, adding, removing
 * O(log n). The trees compare IDs by hint and seldom read an entry.
 *
 * A group with many pending entries is freed in slices: entries, then the group's tree, then each
 * consumer with its tree. The trees never read entries that were freed already.
 *
 * Rejected: the consumer's entries as a list through the pending entries. It saves the second tree,
 * but reading a consumer's history from some ID on would walk over all before it. */
#include "base/fiber.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/work.h"
#include "types/stream/stream_internal.h"

enum {
    FREE_STEP = 256, /* Pending entries that one step of a job frees: about 20 us. */
#ifdef OURO_HOSTILE
    COPY_STEP = 2,
#else
    COPY_STEP = 64, /* Pending entries that are copied between two pauses: about 10 us. */
#endif
};

/* ---- Orders ---- */

/* The first eight bytes of a name as a number that rises with it. */
static uint64_t name_hint(struct slice name)
{
    unsigned char bytes[8] = {0};
    uint64_t word;
    memcpy(bytes, name.data, name.len < sizeof(bytes) ? name.len : sizeof(bytes));
    memcpy(&word, bytes, sizeof(word));
    return __builtin_bswap64(word);
}

static uint64_t group_hint(const void *entry)
{
    return name_hint(stream_group_name(entry));
}

static bool group_is_before(const void *entry, const void *key)
{
    return slice_compare(stream_group_name(entry), stream_group_name(key)) < 0;
}

static bool group_is_before_name(const void *entry, const void *key)
{
    return slice_compare(stream_group_name(entry), *(const struct slice *)key) < 0;
}

static uint64_t consumer_hint(const void *entry)
{
    return name_hint(stream_consumer_name(entry));
}

static bool consumer_is_before(const void *entry, const void *key)
{
    return slice_compare(stream_consumer_name(entry), stream_consumer_name(key)) < 0;
}

static bool consumer_is_before_name(const void *entry, const void *key)
{
    return slice_compare(stream_consumer_name(entry), *(const struct slice *)key) < 0;
}

static uint64_t pending_hint(const void *entry)
{
    return stream_id_hint(((const struct stream_pending *)entry)->id);
}

static bool pending_is_before(const void *entry, const void *key)
{
    return stream_id_compare(((const struct stream_pending *)entry)->id,
                             ((const struct stream_pending *)key)->id) < 0;
}

static bool pending_is_before_id(const void *entry, const void *key)
{
    return stream_id_compare(((const struct stream_pending *)entry)->id,
                             *(const struct stream_id *)key) < 0;
}

const struct order_kind groups_order_kind = {.hint_of = group_hint, .is_before = group_is_before};
static const struct order_kind consumers_order_kind = {.hint_of = consumer_hint,
                                                       .is_before = consumer_is_before};
static const struct order_kind pending_order_kind = {.hint_of = pending_hint,
                                                     .is_before = pending_is_before};

/* ---- Groups ---- */

static size_t group_size(const struct stream_group *group)
{
    return offsetof(struct stream_group, name) + group->name_len;
}

static size_t consumer_size(const struct stream_consumer *consumer)
{
    return offsetof(struct stream_consumer, name) + consumer->name_len;
}

struct stream_group *stream_group_find(const struct value *value, struct slice name)
{
    const struct order *groups = &stream_of(value)->groups;
    struct order_probe probe = {
        .hint = name_hint(name), .is_before = group_is_before_name, .key = &name};
    struct stream_group *group = order_at(groups, order_rank(groups, &probe));
    return group != NULL && slice_equal(stream_group_name(group), name) ? group : NULL;
}

static struct stream_group *group_try_new(struct stream *stream, struct slice name)
{
    if (name.len > UINT32_MAX) {
        return NULL;
    }
    struct stream_group *group = mem_try_alloc(offsetof(struct stream_group, name) + name.len);
    if (group == NULL) {
        return NULL;
    }
    order_init(&group->pending, &pending_order_kind);
    order_init(&group->consumers, &consumers_order_kind);
    group->stream = stream;
    group->side = NULL;
    group->picture = 0;
    group->name_len = (uint32_t)name.len;
    if (name.len > 0) {
        memcpy(group->name, name.data, name.len);
    }
    return group;
}

struct stream_group *stream_group_try_add(struct value *value, struct slice name,
                                          struct stream_id last_id, int64_t entries_read)
{
    struct stream *stream = stream_of(value);
    struct stream_group *group = group_try_new(stream, name);
    if (group != NULL) {
        group->last_id = last_id;
        group->entries_read = entries_read;
        order_insert(&stream->groups, group);
        if (stream_has_picture(stream)) {
            picture_note_new_group(group);
        }
    }
    return group;
}

int64_t stream_group_lag(const struct value *value, const struct stream_group *group)
{
    const struct stream_meta *meta = stream_meta(value);
    int64_t read = group->entries_read;
    if (meta->entries_added == 0) {
        return 0;
    }
    if (read == STREAM_COUNT_UNKNOWN || stream_has_tombstone_from(value, group->last_id)) {
        read = stream_count_until(value, group->last_id);
    }
    return read == STREAM_COUNT_UNKNOWN ? STREAM_LAG_UNKNOWN
                                        : (int64_t)(meta->entries_added - (uint64_t)read);
}

/* ---- Freeing ---- */

enum group_phase { GROUP_ENTRIES, GROUP_TREE, GROUP_CONSUMERS };

struct group_job {
    struct work_job job;
    struct stream_group *group;
    enum group_phase phase;
    struct order_cursor cursor;
    struct stream_pending *next;      /* Of the entries; NULL: all are freed. */
    struct stream_consumer *consumer; /* Whose tree is being freed, or NULL. */
    struct order_drain drain;
};

static void group_free_entries(struct group_job *job)
{
    for (unsigned i = 0; i < FREE_STEP && job->next != NULL; i++) {
        struct stream_pending *pending = job->next;
        job->next = order_next(&job->cursor);
        mem_free_sized(pending, sizeof(*pending));
    }
    if (job->next == NULL) {
        order_drain_begin(&job->drain, &job->group->pending);
        job->phase = GROUP_TREE;
    }
}

/* True when the last consumer is gone. */
static bool group_free_consumers(struct group_job *job)
{
    struct order *consumers = &job->group->consumers;
    for (unsigned i = 0; i < FREE_STEP; i++) {
        if (job->consumer != NULL) {
            if (!order_drain_step(&job->drain, FREE_STEP)) {
                return false;
            }
            consumer_free(job->consumer);
            job->consumer = NULL;
        }
        if (order_count(consumers) == 0) {
            return true;
        }
        job->consumer = order_remove_at(consumers, order_count(consumers) - 1);
        order_drain_begin(&job->drain, &job->consumer->pending);
    }
    return false;
}

static bool group_job_on_step(struct work_job *work_job)
{
    struct group_job *job = LIST_OWNER(work_job, struct group_job, job);
    switch (job->phase) {
    case GROUP_ENTRIES:
        group_free_entries(job);
        return false;
    case GROUP_TREE:
        if (order_drain_step(&job->drain, FREE_STEP)) {
            job->phase = GROUP_CONSUMERS;
        }
        return false;
    case GROUP_CONSUMERS:
        break;
    }
    if (!group_free_consumers(job)) {
        return false;
    }
    mem_free_sized(job->group, group_size(job->group));
    mem_free_sized(job, sizeof(*job));
    return true;
}

static size_t group_effort(const struct stream_group *group)
{
    return order_count(&group->pending) + order_count(&group->consumers);
}

void group_free(struct stream_group *group, struct work_queue *work)
{
    struct group_job *job = mem_alloc(sizeof(*job));
    bool is_now = work == NULL || group_effort(group) <= STREAM_FREE_DIRECT_MAX;
    job->group = group;
    job->phase = GROUP_ENTRIES;
    job->consumer = NULL;
    job->next = order_seek(&group->pending, 0, &job->cursor);
    if (!is_now) {
        list_init(&job->job.link);
        work_add(work, &job->job, group_job_on_step);
        return;
    }
    while (!group_job_on_step(&job->job)) {
    }
}

void stream_group_remove(struct value *value, struct stream_group *group, struct work_queue *work)
{
    struct stream *stream = stream_of(value);
    bool is_taken = stream_has_picture(stream) && picture_takes_group(group);
    order_remove(&stream->groups, group);
    if (!is_taken) {
        group_free(group, work);
    }
}

void groups_free(struct order *groups, struct work_queue *work)
{
    struct order_cursor cursor;
    struct stream_group *group = order_seek(groups, 0, &cursor);
    while (group != NULL) {
        struct stream_group *next = order_next(&cursor);
        group_free(group, work);
        group = next;
    }
    order_deinit(groups);
}

/* ---- Consumers ---- */

struct stream_consumer *stream_consumer_find(const struct stream_group *group, struct slice name)
{
    struct order_probe probe = {
        .hint = name_hint(name), .is_before = consumer_is_before_name, .key = &name};
    struct stream_consumer *consumer =
        order_at(&group->consumers, order_rank(&group->consumers, &probe));
    return consumer != NULL && slice_equal(stream_consumer_name(consumer), name) ? consumer : NULL;
}

struct stream_consumer *stream_consumer_try_add(struct stream_group *group, struct slice name,
                                                int64_t now_ms)
{
    if (name.len > UINT32_MAX) {
        return NULL;
    }
    struct stream_consumer *consumer =
        mem_try_alloc(offsetof(struct stream_consumer, name) + name.len);
    if (consumer == NULL) {
        return NULL;
    }
    order_init(&consumer->pending, &pending_order_kind);
    consumer->seen_ms = now_ms;
    consumer->active_ms = -1;
    consumer->side = NULL;
    consumer->picture = 0;
    consumer->name_len = (uint32_t)name.len;
    if (name.len > 0) {
        memcpy(consumer->name, name.data, name.len);
    }
    bool has_picture = stream_has_picture(group->stream);
    if (has_picture) {
        picture_show_group(group);
    }
    order_insert(&group->consumers, consumer);
    if (has_picture) {
        picture_note_new_consumer(group, consumer);
    }
    return consumer;
}

void consumer_free(struct stream_consumer *consumer)
{
    mem_free_sized(consumer, consumer_size(consumer));
}

bool stream_consumer_clear_step(struct stream_group *group, struct stream_consumer *consumer,
                                size_t max)
{
    const struct order *own = &consumer->pending;
    for (; max > 0 && order_count(own) > 0; max--) {
        stream_pending_remove(group, order_at(own, order_count(own) - 1));
    }
    return order_count(own) == 0;
}

size_t stream_consumer_remove(struct stream_group *group, struct stream_consumer *consumer)
{
    size_t count = order_count(&consumer->pending);
    struct order_cursor cursor;
    bool has_picture = stream_has_picture(group->stream);
    struct stream_pending *pending = order_seek(&consumer->pending, 0, &cursor);
    bool is_taken = has_picture && picture_takes_consumer(group, consumer);
    while (pending != NULL) {
        struct stream_pending *next = order_next(&cursor);
        if (has_picture) {
            picture_show_pending(group, pending, true);
        }
        order_remove(&group->pending, pending);
        mem_free_sized(pending, sizeof(*pending));
        pending = next;
    }
    order_deinit(&consumer->pending);
    order_remove(&group->consumers, consumer);
    if (!is_taken) {
        consumer_free(consumer);
    }
    return count;
}

/* ---- Pending entries ---- */

struct stream_pending *stream_pending_seek(const struct order *pending, struct stream_id id,
                                           struct order_cursor *cursor)
{
    struct order_probe probe = {
        .hint = stream_id_hint(id), .is_before = pending_is_before_id, .key = &id};
    return order_seek(pending, order_rank(pending, &probe), cursor);
}

struct stream_pending *stream_pending_find(const struct order *pending, struct stream_id id)
{
    struct order_probe probe = {
        .hint = stream_id_hint(id), .is_before = pending_is_before_id, .key = &id};
    struct stream_pending *found = order_at(pending, order_rank(pending, &probe));
    return found != NULL && stream_id_compare(found->id, id) == 0 ? found : NULL;
}

struct stream_pending *stream_pending_try_add(struct stream_group *group,
                                              struct stream_consumer *consumer, struct stream_id id)
{
    struct stream_pending *pending = mem_try_alloc(sizeof(*pending));
    if (pending == NULL) {
        return NULL;
    }
    bool has_picture = stream_has_picture(group->stream);
    if (has_picture) {
        picture_show_group(group);
        if (consumer != NULL) {
            picture_show_consumer(group, consumer);
        }
    }
    *pending = (struct stream_pending){.id = id, .consumer = consumer};
    order_insert(&group->pending, pending);
    if (consumer != NULL) {
        order_insert(&consumer->pending, pending);
    }
    if (has_picture) {
        picture_note_new_pending(group, pending);
    }
    return pending;
}

void stream_pending_assign(struct stream_group *group, struct stream_pending *pending,
                           struct stream_consumer *consumer)
{
    if (stream_has_picture(group->stream)) {
        picture_show_pending(group, pending, true);
        picture_show_consumer(group, consumer);
    }
    if (pending->consumer != NULL) {
        order_remove(&pending->consumer->pending, pending);
    }
    pending->consumer = consumer;
    order_insert(&consumer->pending, pending);
}

void stream_pending_remove(struct stream_group *group, struct stream_pending *pending)
{
    if (stream_has_picture(group->stream)) {
        picture_show_pending(group, pending, true);
    }
    order_remove(&group->pending, pending);
    if (pending->consumer != NULL) {
        order_remove(&pending->consumer->pending, pending);
    }
    mem_free_sized(pending, sizeof(*pending));
}

/* ---- Copies ---- */

/* The pending entries of the copy's group, still without consumers. */
static bool pending_try_copy(struct stream_group *copy, const struct stream_group *group,
                             const struct stream_pauses *pauses)
{
    struct order_cursor cursor;
    const struct stream_pending *pending = order_seek(&group->pending, 0, &cursor);
    for (; pending != NULL; pending = order_next(&cursor)) {
        struct stream_pending *twin = mem_try_alloc(sizeof(*twin));
        if (twin == NULL) {
            return false;
        }
        *twin = (struct stream_pending){.id = pending->id,
                                        .delivered_ms = pending->delivered_ms,
                                        .delivery_count = pending->delivery_count};
        order_append(&copy->pending, twin);
        if (order_count(&copy->pending) % COPY_STEP == 0 && !stream_goes_on(pauses)) {
            return false;
        }
    }
    return true;
}

static bool consumer_try_copy(struct stream_group *copy, const struct stream_consumer *consumer,
                              const struct stream_pauses *pauses)
{
    struct order_cursor cursor;
    struct stream_consumer *twin =
        stream_consumer_try_add(copy, stream_consumer_name(consumer), consumer->seen_ms);
    if (twin == NULL) {
        return false;
    }
    twin->active_ms = consumer->active_ms;
    const struct stream_pending *pending = order_seek(&consumer->pending, 0, &cursor);
    for (; pending != NULL; pending = order_next(&cursor)) {
        struct stream_pending *entry = stream_pending_find(&copy->pending, pending->id);
        entry->consumer = twin;
        order_append(&twin->pending, entry);
        if (order_count(&twin->pending) % COPY_STEP == 0 && !stream_goes_on(pauses)) {
            return false;
        }
    }
    return true;
}

static bool group_try_fill(struct stream_group *copy, const struct stream_group *group,
                           const struct stream_pauses *pauses)
{
    struct order_cursor cursor;
    copy->last_id = group->last_id;
    copy->entries_read = group->entries_read;
    if (!pending_try_copy(copy, group, pauses)) {
        return false;
    }
    const struct stream_consumer *consumer = order_seek(&group->consumers, 0, &cursor);
    for (; consumer != NULL; consumer = order_next(&cursor)) {
        if (!consumer_try_copy(copy, consumer, pauses)) {
            return false;
        }
    }
    return true;
}

bool groups_try_copy(struct stream *to, const struct order *from,
                     const struct stream_pauses *pauses)
{
    struct order_cursor cursor;
    const struct stream_group *group = order_seek(from, 0, &cursor);
    for (; group != NULL; group = order_next(&cursor)) {
        struct stream_group *copy = group_try_new(to, stream_group_name(group));
        if (copy == NULL) {
            return false;
        }
        order_append(&to->groups, copy);
        if (!group_try_fill(copy, group, pauses)) {
            return false;
        }
    }
    return true;
}

/* ---- Memory, check ---- */

static size_t group_memory(const struct stream_group *group, size_t samples)
{
    size_t bytes = mem_good_size(group_size(group)) + order_memory(&group->pending) +
                   order_memory(&group->consumers);
    size_t sampled = 0;
    size_t sampled_bytes = 0;
    struct order_cursor cursor;
    bytes += order_count(&group->pending) * mem_good_size(sizeof(struct stream_pending));
    const struct stream_consumer *consumer = order_seek(&group->consumers, 0, &cursor);
    for (; consumer != NULL && (samples == 0 || sampled < samples);
         consumer = order_next(&cursor)) {
        sampled_bytes += mem_good_size(consumer_size(consumer)) + order_memory(&consumer->pending);
        fiber_breathe_at(++sampled);
    }
    if (sampled > 0) {
        bytes += (size_t)((double)sampled_bytes / (double)sampled *
                          (double)order_count(&group->consumers));
    }
    return bytes;
}

size_t groups_memory(const struct order *groups, size_t samples)
{
    size_t sampled = 0;
    size_t sampled_bytes = 0;
    struct order_cursor cursor;
    const struct stream_group *group = order_seek(groups, 0, &cursor);
    for (; group != NULL && (samples == 0 || sampled < samples); group = order_next(&cursor)) {
        sampled_bytes += group_memory(group, samples);
        fiber_breathe_at(++sampled);
    }
    size_t bytes = order_memory(groups);
    if (sampled > 0) {
        bytes += (size_t)((double)sampled_bytes / (double)sampled * (double)order_count(groups));
    }
    return bytes;
}

size_t groups_effort(const struct order *groups)
{
    size_t effort = 0;
    struct order_cursor cursor;
    const struct stream_group *group = order_seek(groups, 0, &cursor);
    for (; group != NULL; group = order_next(&cursor)) {
        effort += group_effort(group) + 1;
    }
    return effort;
}

static void group_check(const struct stream_group *group)
{
    size_t count = 0;
    struct order_cursor consumers, cursor;
    order_check(&group->pending);
    order_check(&group->consumers);
    ASSERT(group->entries_read >= STREAM_COUNT_UNKNOWN);
    const struct stream_consumer *consumer = order_seek(&group->consumers, 0, &consumers);
    for (; consumer != NULL; consumer = order_next(&consumers)) {
        order_check(&consumer->pending);
        ASSERT(stream_consumer_find(group, stream_consumer_name(consumer)) == consumer);
        const struct stream_pending *pending = order_seek(&consumer->pending, 0, &cursor);
        for (; pending != NULL; pending = order_next(&cursor)) {
            ASSERT(pending->consumer == consumer);
            ASSERT(stream_pending_find(&group->pending, pending->id) == pending);
        }
        count += order_count(&consumer->pending);
    }
    ASSERT(count == order_count(&group->pending));
}

void groups_check(const struct order *groups)
{
    struct order_cursor cursor;
    order_check(groups);
    const struct stream_group *group = order_seek(groups, 0, &cursor);
    for (; group != NULL; group = order_next(&cursor)) {
        group_check(group);
    }
}
