/* HyperLogLog: how many distinct elements there were, within 0.81 %, in 12 KiB or less. The bytes
 * are Redis's own, so they can be copied between servers; the layout is in hll.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum {
    HLL_REGISTERS = 16384,
    HLL_HEAD_LEN = 16,
    HLL_DENSE_LEN = HLL_HEAD_LEN + HLL_REGISTERS * 6 / 8,
    HLL_NEW_LEN = HLL_HEAD_LEN + 2,
    HLL_SPARSE_LEN_MAX = HLL_HEAD_LEN + HLL_REGISTERS, /* Each register a run of its own. */
    HLL_SPARE = 8, /* Room that an edit needs behind the bytes. */
};

/* Room that an edit of `len` bytes needs: to be dense, and to grow as far as `sparse_max` lets it.
 */
size_t hll_edit_cap(size_t len, uint64_t sparse_max);

/* Where an element counts: the register and the value that it has at least. */
struct hll_rank {
    uint32_t index;
    uint8_t value;
};
struct hll_rank hll_rank_of(struct slice element);

/* Writes an empty sparse one: HLL_NEW_LEN bytes. */
void hll_write_new(char *bytes);

/* Whether the header is one and, of a dense one, the length is right. The registers of a sparse one
 * may still be corrupt. */
bool hll_is_valid(struct slice bytes);
bool hll_is_dense(struct slice bytes);

/* An estimate that was stored and still holds; false when registers have changed since. */
bool hll_cached(struct slice bytes, uint64_t *estimate);
void hll_cache(char *bytes, uint64_t estimate);
void hll_forget(char *bytes);

/* Bytes under change. A sparse one that would grow beyond `sparse_max` bytes, or its room, becomes
 * dense. */
struct hll_edit {
    char *bytes;
    size_t len;
    size_t cap; /* hll_edit_cap; of a dense one its length. */
    uint64_t sparse_max;
};
enum hll_result { HLL_UNCHANGED, HLL_CHANGED, HLL_CORRUPT };

/* Raises a register to at least the rank's value. A sparse one may become dense. Dense: O(1);
 * sparse: O(bytes). The stored estimate is not touched. */
enum hll_result hll_raise(struct hll_edit *edit, struct hll_rank rank);

/* Makes a sparse one dense; false: it is corrupt. */
bool hll_densify(struct hll_edit *edit);

/* Raises each of the registers to what the bytes have; false: they are corrupt. */
bool hll_merge(uint8_t registers[HLL_REGISTERS], struct slice bytes);

/* How many distinct elements the registers have seen. */
uint64_t hll_estimate(const uint8_t registers[HLL_REGISTERS]);

/* One run of a sparse one, for those who want to look inside. Returns its length in bytes, 0 when
 * there is none at `at`. */
struct hll_run {
    uint32_t count; /* Registers. */
    uint8_t value;
    char kind; /* 'z' and 'Z': zeros in a short and in a long code; 'v': values. */
};
size_t hll_sparse_next(struct slice bytes, size_t at, struct hll_run *run);
