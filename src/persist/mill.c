/* The mill and its thread.
 *
 *     waiting -> sheet -> | runs |  plain: copied     -> block being filled -> ready -> taken
 *                                   text: LZF, or its length and itself       |
 *        spent <- sheet                                             free <----'  given back
 *
 * Texts of more than 20 bytes are packed as Redis packs them: when four bytes are saved at least.
 * That costs about 0.4 us for 64 bytes, more than all that the core thread does for such a key; so
 * it is done here. The checksum is taken of each block when it is full.
 *
 * The thread allocates blocks and scratch room for long texts; sheets go back to the core thread,
 * which alone may drop the blobs in them.
 *
 * Invariants: 1. `lock` guards the lists, fed, and the two wishes. 2. A sheet is waiting, in hand,
 * or spent; a block is free, being filled, ready, or taken. 3. At most MILL_BLOCKS_MAX blocks exist
 * while there is a thread: it waits for one to come back. */
#include "persist/mill.h"

#include <endian.h>
#include <lzf.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "base/assert.h"
#include "base/crc.h"
#include "base/mem.h"
#include "persist/rdb_format.h"

enum {
    SCRATCH_LEN = 16 * 1024,
    LZF_GAIN_MIN = 4, /* Bytes that packing must save. */
    LZF_MARK = 0xc3,
};

struct mill {
    struct mill_options options;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct list waiting, spent; /* Of sheets. */
    struct list ready, free;    /* Of blocks. */
    size_t fed;                 /* Bytes of what waits or is in hand. */
    unsigned block_count;
    bool is_finished; /* Wish: nothing follows. */
    bool is_stopping; /* Wish: end at once. */

    /* The miller's own. */
    struct mill_block *block; /* Being filled; NULL: none. */
    uint64_t crc;
    bool is_done;
    char scratch[SCRATCH_LEN];
};

/* ---- Blocks ---- */

static struct mill_block *block_new(void)
{
    struct mill_block *block = mem_alloc(sizeof(*block));
    *block = (struct mill_block){.blob = blob_try_new(MILL_BLOCK_LEN)};
    ASSERT(block->blob != NULL);
    list_init(&block->link);
    return block;
}

void mill_block_free(struct mill_block *block)
{
    blob_drop(block->blob);
    mem_free_sized(block, sizeof(*block));
}

static void block_send(struct mill *mill, bool is_last)
{
    struct mill_block *block = mill->block;
    block->is_last = is_last;
    mill->block = NULL;
    pthread_mutex_lock(&mill->lock);
    list_push_back(&mill->ready, &block->link);
    pthread_mutex_unlock(&mill->lock);
}

/* False: the mill is to stop. */
static bool block_begin(struct mill *mill)
{
    struct mill_block *block = NULL;
    bool is_limited = mill->options.is_threaded;
    pthread_mutex_lock(&mill->lock);
    while (is_limited && !mill->is_stopping && list_is_empty(&mill->free) &&
           mill->block_count >= MILL_BLOCKS_MAX) {
        pthread_cond_wait(&mill->changed, &mill->lock);
    }
    bool is_stopping = mill->is_stopping;
    if (!list_is_empty(&mill->free)) {
        block = LIST_OWNER(mill->free.next, struct mill_block, link);
        list_remove(&block->link);
    } else if (!is_stopping) {
        mill->block_count++;
    }
    pthread_mutex_unlock(&mill->lock);
    if (block == NULL && !is_stopping) {
        block = block_new();
    }
    if (block != NULL) {
        block->blob->len = 0;
        block->is_last = false;
    }
    mill->block = block;
    return block != NULL && !is_stopping;
}

static void sum_block(struct mill *mill)
{
    if (mill->options.has_checksum) {
        mill->crc = crc64(mill->crc, blob_slice(mill->block->blob));
    }
}

static void put_bytes(struct mill *mill, const char *bytes, size_t len)
{
    while (len > 0) {
        if (mill->block == NULL && !block_begin(mill)) {
            return;
        }
        struct blob *blob = mill->block->blob;
        size_t room = MILL_BLOCK_LEN - blob->len;
        size_t part = len < room ? len : room;
        memcpy(blob->bytes + blob->len, bytes, part);
        blob->len += part;
        bytes += part;
        len -= part;
        if (blob->len == MILL_BLOCK_LEN) {
            sum_block(mill);
            block_send(mill, false);
        }
    }
}

/* The checksum may need a second block; it is not part of what is summed up. */
static void put_end(struct mill *mill)
{
    if (mill->block != NULL && MILL_BLOCK_LEN - mill->block->blob->len < RDB_CRC_LEN) {
        sum_block(mill);
        block_send(mill, false);
    }
    if (mill->block == NULL && !block_begin(mill)) {
        return;
    }
    sum_block(mill);
    uint64_t word = htole64(mill->crc);
    struct blob *blob = mill->block->blob;
    memcpy(blob->bytes + blob->len, &word, sizeof(word));
    blob->len += sizeof(word);
    block_send(mill, true);
}

/* ---- Runs ---- */

static void put_len(struct mill *mill, uint64_t len)
{
    char bytes[CODEC_LEN_MAX];
    put_bytes(mill, bytes, codec_put_len(bytes, len));
}

static bool try_put_packed(struct mill *mill, struct slice text, char *room)
{
    unsigned packed_len =
        lzf_compress(text.data, (unsigned)text.len, room, (unsigned)(text.len - LZF_GAIN_MIN));
    if (packed_len == 0) {
        return false;
    }
    char mark = (char)LZF_MARK;
    put_bytes(mill, &mark, 1);
    put_len(mill, packed_len);
    put_len(mill, text.len);
    put_bytes(mill, room, packed_len);
    return true;
}

static bool try_pack(struct mill *mill, struct slice text)
{
    if (!mill->options.has_packing || text.len > UINT32_MAX) {
        return false;
    }
    if (text.len <= SCRATCH_LEN) {
        return try_put_packed(mill, text, mill->scratch);
    }
    char *room = mem_try_alloc(text.len);
    bool is_packed = room != NULL && try_put_packed(mill, text, room);
    mem_free(room);
    return is_packed;
}

static void put_text(struct mill *mill, struct slice text)
{
    if (!try_pack(mill, text)) {
        put_len(mill, text.len);
        put_bytes(mill, text.data, text.len);
    }
}

static size_t sheet_bytes(const struct rope_sheet *sheet)
{
    return sheet->blob != NULL ? sheet->blob->len : sheet->len;
}

static void mill_sheet(struct mill *mill, const struct rope_sheet *sheet)
{
    struct rope_run run;
    for (size_t at = 0; rope_sheet_next(sheet, &at, &run);) {
        if (run.is_text) {
            put_text(mill, run.bytes);
        } else {
            put_bytes(mill, run.bytes.data, run.bytes.len);
        }
    }
}

/* Deals with all that waits; with the lock held, but for the work itself. */
static void mill_all(struct mill *mill)
{
    while (!mill->is_stopping && !list_is_empty(&mill->waiting)) {
        struct rope_sheet *sheet = LIST_OWNER(mill->waiting.next, struct rope_sheet, link);
        list_remove(&sheet->link);
        pthread_mutex_unlock(&mill->lock);
        mill_sheet(mill, sheet);
        pthread_mutex_lock(&mill->lock);
        mill->fed -= sheet_bytes(sheet);
        list_push_back(&mill->spent, &sheet->link);
    }
    if (mill->is_finished && !mill->is_stopping && !mill->is_done) {
        mill->is_done = true;
        pthread_mutex_unlock(&mill->lock);
        put_end(mill);
        pthread_mutex_lock(&mill->lock);
    }
}

static void *mill_main(void *context)
{
    struct mill *mill = context;
    mem_thread_enter();
    pthread_mutex_lock(&mill->lock);
    while (!mill->is_stopping && !mill->is_done) {
        mill_all(mill);
        if (!mill->is_stopping && !mill->is_done && list_is_empty(&mill->waiting) &&
            !mill->is_finished) {
            pthread_cond_wait(&mill->changed, &mill->lock);
        }
    }
    pthread_mutex_unlock(&mill->lock);
    mem_thread_leave();
    return NULL;
}

/* ---- The core thread's side ---- */

/* Signals are the core thread's. */
static bool start_thread(struct mill *mill)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = pthread_create(&mill->thread, NULL, mill_main, mill);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result == 0;
}

struct mill *mill_new(const struct mill_options *options)
{
    struct mill *mill = mem_zalloc(sizeof(*mill));
    mill->options = *options;
    pthread_mutex_init(&mill->lock, NULL);
    pthread_cond_init(&mill->changed, NULL);
    list_init(&mill->waiting);
    list_init(&mill->spent);
    list_init(&mill->ready);
    list_init(&mill->free);
    if (options->is_threaded && !start_thread(mill)) {
        mill->options.is_threaded = false;
        mill_free(mill);
        return NULL;
    }
    return mill;
}

static void free_sheets(struct list *sheets)
{
    while (!list_is_empty(sheets)) {
        struct rope_sheet *sheet = LIST_OWNER(sheets->next, struct rope_sheet, link);
        list_remove(&sheet->link);
        rope_sheet_free(sheet);
    }
}

static void free_blocks(struct list *blocks)
{
    while (!list_is_empty(blocks)) {
        struct mill_block *block = LIST_OWNER(blocks->next, struct mill_block, link);
        list_remove(&block->link);
        mill_block_free(block);
    }
}

static void wish(struct mill *mill, bool *what)
{
    pthread_mutex_lock(&mill->lock);
    *what = true;
    pthread_cond_signal(&mill->changed);
    pthread_mutex_unlock(&mill->lock);
}

void mill_free(struct mill *mill)
{
    if (mill->options.is_threaded) {
        wish(mill, &mill->is_stopping);
        pthread_join(mill->thread, NULL);
    }
    free_sheets(&mill->waiting);
    free_sheets(&mill->spent);
    free_blocks(&mill->ready);
    free_blocks(&mill->free);
    if (mill->block != NULL) {
        mill_block_free(mill->block);
    }
    pthread_cond_destroy(&mill->changed);
    pthread_mutex_destroy(&mill->lock);
    mem_free_sized(mill, sizeof(*mill));
}

static void mill_now(struct mill *mill)
{
    if (!mill->options.is_threaded) {
        pthread_mutex_lock(&mill->lock);
        mill_all(mill);
        pthread_mutex_unlock(&mill->lock);
    }
}

void mill_feed(struct mill *mill, struct rope *rope)
{
    pthread_mutex_lock(&mill->lock);
    for (struct rope_sheet *sheet = rope_take(rope); sheet != NULL; sheet = rope_take(rope)) {
        mill->fed += sheet_bytes(sheet);
        list_push_back(&mill->waiting, &sheet->link);
    }
    pthread_cond_signal(&mill->changed);
    pthread_mutex_unlock(&mill->lock);
    mill_now(mill);
}

void mill_finish(struct mill *mill)
{
    wish(mill, &mill->is_finished);
    mill_now(mill);
}

struct mill_block *mill_take(struct mill *mill)
{
    struct mill_block *block = NULL;
    pthread_mutex_lock(&mill->lock);
    if (!list_is_empty(&mill->ready)) {
        block = LIST_OWNER(mill->ready.next, struct mill_block, link);
        list_remove(&block->link);
    }
    pthread_mutex_unlock(&mill->lock);
    return block;
}

void mill_give_back(struct mill *mill, struct mill_block *block)
{
    ASSERT(block->blob->refs == 1);
    pthread_mutex_lock(&mill->lock);
    list_push_back(&mill->free, &block->link);
    pthread_cond_signal(&mill->changed);
    pthread_mutex_unlock(&mill->lock);
}

size_t mill_backlog(struct mill *mill)
{
    struct list spent;
    list_init(&spent);
    pthread_mutex_lock(&mill->lock);
    size_t fed = mill->fed;
    while (!list_is_empty(&mill->spent)) {
        struct list *node = mill->spent.next;
        list_remove(node);
        list_push_back(&spent, node);
    }
    pthread_mutex_unlock(&mill->lock);
    free_sheets(&spent);
    return fed;
}
