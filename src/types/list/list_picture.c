/* A list as it was at one moment, told from head to tail while it changes.
 *
 * What is remembered is the directory: the addresses of the chunks, 8 bytes for 8 KiB. A chunk that
 * has not been told is read where it lies, until somebody wants to change it: then the picture
 * keeps a copy, and the chunk is the list's alone.
 *
 *     chunks   | told | told | 0x7f10 | 0x7f18+1 | 0x7f20 | ...      +1: a copy of ours
 *                        next ^           |
 *     list     ... | 0x7f28 | 0x7f10 | 0x7f30 | 0x7f20 | ...         changed since: 0x7f28, 0x7f30
 *
 * Chunks that the list gives up are shown as well: one that goes alone is copied, and what is freed
 * as a body of its own (the whole list, or the chunks that LTRIM cuts off) waits parked until the
 * picture has ended, and is read in place.
 *
 * Costs. A copy of one chunk, about 1 us, with the first change in it. To tell whether a chunk is
 * of the picture its address is looked for near the last one that was found, else everywhere: 60 us
 * for a gigabyte of elements. Chunks that were found to be none of ours are remembered, so pushing
 * to a new chunk costs nothing.
 *
 * Invariants:
 *   1. An address without the mark is that of a chunk in the list, or in a parked body, whose
 *      entries have not changed since the beginning.
 *   2. What is in `clean` is not in `chunks`, and will not be: addresses are only taken out.
 *
 * Rejected: counting references in chunks (4 bytes in each, always), and marking chunks when the
 * picture begins (a cache miss for each, in one step). */
#include "base/mem.h"
#include "types/list/list_internal.h"

enum {
    COPY_MARK = 1,
    HINT_REACH = 8,
    BYTES_PER_ELEMENT = 1024, /* Of an element weigh as much as another one. */
};

static struct list_chunk *chunk_at(const struct list_picture *picture, uint32_t index)
{
    return (struct list_chunk *)(picture->chunks[index] & ~(uintptr_t)COPY_MARK);
}

/* ---- Copies ---- */

static size_t copy_len(const struct list_chunk *chunk)
{
    return sizeof(*chunk) + chunk_used(chunk);
}

static void copy_keep(struct list_picture *picture, uint32_t index)
{
    const struct list_chunk *chunk = chunk_at(picture, index);
    uint32_t used = chunk_used(chunk);
    struct list_chunk *copy = mem_alloc(copy_len(chunk));
    *copy = (struct list_chunk){.cap = used, .first = 0, .end = used};
    memcpy(copy->bytes, chunk->bytes + chunk->first, used);
    for (uint32_t at = 0; at < used; at += entry_len_at(copy->bytes + at)) {
        struct blob *blob = entry_blob(copy->bytes + at);
        if (blob != NULL) {
            blob_share(blob);
        }
    }
    picture->copied += copy_len(copy);
    picture->chunks[index] = (uintptr_t)copy | COPY_MARK;
}

/* The chunk at `index` has been told, or need not be. */
static void chunk_let_go(struct list_picture *picture, uint32_t index)
{
    if ((picture->chunks[index] & COPY_MARK) != 0) {
        struct list_chunk *copy = chunk_at(picture, index);
        picture->copied -= copy_len(copy);
        entries_drop_blobs(copy->bytes, copy->bytes + copy->end);
        mem_free_sized(copy, copy_len(copy));
    }
    picture->chunks[index] = 0;
}

/* ---- Whose is it ---- */

static uintptr_t *clean_slot(struct list_picture *picture, uintptr_t address)
{
    return &picture->clean[(address >> 10 ^ address >> 16) % LIST_PICTURE_CLEAN];
}

/* The index of an untold chunk that lies in the list, or chunk_count. */
static uint32_t find_chunk(const struct list_picture *picture, uintptr_t address)
{
    uint32_t from = picture->hint > HINT_REACH ? picture->hint - HINT_REACH : 0;
    from = from < picture->next ? picture->next : from;
    for (uint32_t i = from; i < picture->chunk_count && i < from + 2 * HINT_REACH; i++) {
        if (picture->chunks[i] == address) {
            return i;
        }
    }
    for (uint32_t i = picture->next; i < picture->chunk_count; i++) {
        if (picture->chunks[i] == address) {
            return i;
        }
    }
    return picture->chunk_count;
}

void list_picture_show(struct list_picture *picture, const struct list_chunk *chunk)
{
    uintptr_t address = (uintptr_t)chunk;
    uintptr_t *clean = clean_slot(picture, address);
    if (*clean == address) {
        return;
    }
    uint32_t index = find_chunk(picture, address);
    if (index < picture->chunk_count) {
        picture->hint = index;
        copy_keep(picture, index);
    }
    *clean = address;
}

void list_picture_let_go(struct list_body *body)
{
    if (body->picture == NULL) {
        return;
    }
    for (uint32_t i = 0; i < body->count; i++) {
        body_touch(body, i);
    }
    body->picture->body = NULL;
    body->picture = NULL;
}

/* ---- The picture ---- */

bool list_picture_begin(struct list_picture *picture, const struct value *value)
{
    *picture = (struct list_picture){.body = NULL};
    list_init(&picture->parked);
    if (value_encoding(value) != LIST_CHUNKED) {
        return false;
    }
    struct list_body *body = list_body(value);
    ASSERT(body->picture == NULL);
    picture->chunks = mem_alloc((size_t)body->count * sizeof(*picture->chunks));
    picture->chunk_count = body->count;
    picture->count = body->len;
    for (uint32_t i = 0; i < body->count; i++) {
        picture->chunks[i] = (uintptr_t)body_ref(body, i)->chunk;
    }
    picture->body = body;
    body->picture = picture;
    return true;
}

bool list_picture_step(struct list_picture *picture, size_t count, list_tell_fn tell, void *context)
{
    size_t weight = 0;
    while (picture->next < picture->chunk_count && weight < count) {
        const struct list_chunk *chunk = chunk_at(picture, picture->next);
        while (picture->next_at < chunk_used(chunk) && weight < count) {
            struct list_item item;
            picture->next_at += entry_read(chunk->bytes + chunk->first + picture->next_at, &item);
            picture->told_count++;
            weight += 1 + (item.data == NULL ? 0 : item.len / BYTES_PER_ELEMENT);
            tell(context, &item);
        }
        if (picture->next_at == chunk_used(chunk)) {
            chunk_let_go(picture, picture->next++);
            picture->next_at = 0;
        }
    }
    bool is_at_end = picture->next == picture->chunk_count;
    ASSERT(!is_at_end || picture->told_count == picture->count);
    return is_at_end;
}

void list_picture_end(struct list_picture *picture)
{
    if (picture->chunks == NULL) {
        return;
    }
    ASSERT(list_is_empty(&picture->parked));
    for (uint32_t i = picture->next; i < picture->chunk_count; i++) {
        chunk_let_go(picture, i);
    }
    if (picture->body != NULL) {
        picture->body->picture = NULL;
        picture->body = NULL;
    }
    mem_free_sized(picture->chunks, (size_t)picture->chunk_count * sizeof(*picture->chunks));
    picture->chunks = NULL;
}
