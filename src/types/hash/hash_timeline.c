/* When the fields of a large hash expire: a binary heap of 8-byte elements.
 *
 *     | 1 + milliseconds after base_ms : 32 | top 32 bits of the field's hash : 32 |
 *                  0: before it
 *
 * The element names a field as the keyspace's wheel names a key: not by a pointer, so nothing has
 * to be mended when the entry moves, is changed or removed. An element whose field is gone or has
 * another moment is stale: it is dropped when it comes to the top, and when more than half of all
 * are stale each push drops some.
 *
 * Costs. 8 bytes per volatile field, at most an eighth more for growth, besides the 7 bytes of the
 * stamp in the entry. A push is O(log n), usually two comparisons. Moments more than 49 days after
 * base_ms are held as the last one; when that comes, base_ms is moved (O(n), once in 49 days).
 *
 * Rejected. A wheel per hash: its levels and chunks are 1 KB before the first field. A B+ tree or
 * pointers both ways: 8 to 16 bytes more. */
#include "base/assert.h"
#include "base/mem.h"
#include "types/hash/hash_internal.h"

static void timeline_sift_up(struct hash_timeline *timeline, uint32_t at)
{
    uint64_t item = timeline->items[at];
    for (; at > 0 && timeline->items[(at - 1) / 2] > item; at = (at - 1) / 2) {
        timeline->items[at] = timeline->items[(at - 1) / 2];
    }
    timeline->items[at] = item;
}

static void timeline_sift_down(struct hash_timeline *timeline, uint32_t at)
{
    uint64_t item = timeline->items[at];
    for (;;) {
        uint32_t child = at * 2 + 1;
        if (child + 1 < timeline->len && timeline->items[child + 1] < timeline->items[child]) {
            child++;
        }
        if (child >= timeline->len || timeline->items[child] >= item) {
            break;
        }
        timeline->items[at] = timeline->items[child];
        at = child;
    }
    timeline->items[at] = item;
}

uint64_t hash_timeline_item(const struct hash_timeline *timeline, uint32_t ref, int64_t expire_ms)
{
    int64_t delta_ms = expire_ms - timeline->base_ms;
    uint64_t held_ms = delta_ms < 0             ? 0
                       : delta_ms >= UINT32_MAX ? UINT32_MAX
                                                : (uint64_t)delta_ms + 1;
    return held_ms << 32 | ref;
}

void hash_timeline_push(struct hash_timeline *timeline, uint64_t item)
{
    if (timeline->len == timeline->cap) {
        timeline->cap += timeline->cap / 8 + 4;
        timeline->items = mem_realloc(timeline->items, timeline->cap * sizeof(uint64_t));
    }
    timeline->items[timeline->len++] = item;
    timeline_sift_up(timeline, timeline->len - 1);
}

void hash_timeline_drop(struct hash_timeline *timeline, uint32_t at)
{
    ASSERT(at < timeline->len);
    timeline->items[at] = timeline->items[--timeline->len];
    if (at < timeline->len) {
        timeline_sift_up(timeline, at);
        timeline_sift_down(timeline, at);
    }
    if (timeline->len == 0) {
        hash_timeline_deinit(timeline);
    }
}

void hash_timeline_deinit(struct hash_timeline *timeline)
{
    mem_free(timeline->items);
    *timeline = (struct hash_timeline){.items = NULL};
}

int64_t hash_timeline_next_ms(const struct hash_timeline *timeline)
{
    if (timeline->len == 0) {
        return -1;
    }
    int64_t held_ms = (int64_t)(timeline->items[0] >> 32);
    return held_ms == 0 ? 0 : timeline->base_ms + held_ms - 1;
}

void hash_timeline_check(const struct hash_timeline *timeline)
{
    ASSERT(timeline->len <= timeline->cap);
    for (uint32_t i = 1; i < timeline->len; i++) {
        ASSERT(timeline->items[(i - 1) / 2] <= timeline->items[i]);
    }
}
