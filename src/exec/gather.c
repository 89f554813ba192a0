/* Commands in chunks, behind each other:
 *
 *     chunk: | next | at, len, cap | count | len len len ... | bytes ... | count | len len ...
 *                       ^ the oldest that was not told
 *
 * 4 bytes per word besides its own. A chunk is freed when its last command was told; one that is
 * larger than others holds one long command.
 *
 * Invariant: every chunk holds a command that was not told. */
#include "exec/gather.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum { FEW_WORDS = 32 };

struct gather_chunk {
    struct gather_chunk *next;
    size_t at, len, cap;
    char bytes[];
};

static bool add_chunk(struct gather *gather, size_t len)
{
    size_t cap = len > GATHER_CHUNK_LEN ? len : GATHER_CHUNK_LEN;
    struct gather_chunk *chunk =
        gather->bytes + cap <= GATHER_BYTES_MAX ? mem_try_alloc(sizeof(*chunk) + cap) : NULL;
    if (chunk == NULL) {
        return false;
    }
    *chunk = (struct gather_chunk){.cap = cap};
    if (gather->last == NULL) {
        gather->first = chunk;
    } else {
        gather->last->next = chunk;
    }
    gather->last = chunk;
    gather->bytes += cap;
    return true;
}

static void put(struct gather_chunk *chunk, const void *bytes, size_t len)
{
    if (len > 0) {
        memcpy(chunk->bytes + chunk->len, bytes, len);
        chunk->len += len;
    }
}

bool gather_try_add(struct gather *gather, const struct slice *args, uint32_t count)
{
    size_t len = sizeof(count) + count * sizeof(uint32_t);
    for (uint32_t i = 0; i < count; i++) {
        if (args[i].len > UINT32_MAX) {
            return false;
        }
        len += args[i].len;
    }
    struct gather_chunk *last = gather->last;
    if ((last == NULL || last->cap - last->len < len) && !add_chunk(gather, len)) {
        return false;
    }
    put(gather->last, &count, sizeof(count));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t word_len = (uint32_t)args[i].len;
        put(gather->last, &word_len, sizeof(word_len));
    }
    for (uint32_t i = 0; i < count; i++) {
        put(gather->last, args[i].data, args[i].len);
    }
    return true;
}

static void free_first(struct gather *gather)
{
    struct gather_chunk *chunk = gather->first;
    gather->first = chunk->next;
    gather->last = gather->first == NULL ? NULL : gather->last;
    gather->bytes -= chunk->cap;
    mem_free_sized(chunk, sizeof(*chunk) + chunk->cap);
}

void gather_tell_one(struct gather *gather, gather_tell_fn tell, void *context)
{
    struct gather_chunk *chunk = gather->first;
    ASSERT(chunk != NULL);
    uint32_t count;
    memcpy(&count, chunk->bytes + chunk->at, sizeof(count));
    struct slice few[FEW_WORDS] = {{.len = 0}};
    struct slice *args = count <= FEW_WORDS ? few : mem_alloc(count * sizeof(*args));
    const char *lens = chunk->bytes + chunk->at + sizeof(count);
    const char *bytes = lens + count * sizeof(uint32_t);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t len;
        memcpy(&len, lens + i * sizeof(len), sizeof(len));
        args[i] = slice_of(bytes, len);
        bytes += len;
    }
    tell(context, args, count);
    if (args != few) {
        mem_free(args);
    }
    chunk->at = (size_t)(bytes - chunk->bytes);
    if (chunk->at == chunk->len) {
        free_first(gather);
    }
}

void gather_deinit(struct gather *gather)
{
    while (gather->first != NULL) {
        free_first(gather);
    }
}
