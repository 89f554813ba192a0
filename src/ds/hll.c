/* HyperLogLog in Redis's bytes.
 *
 *     +------+----------+--------+-------------+-----------------
 *     | HYLL | encoding | 0 0 0  | estimate u64 | registers ...
 *     +------+----------+--------+-------------+-----------------
 *       4      1          3        8, little-endian; top bit set: out of date
 *
 *     dense (0)    16,384 registers of 6 bits, low bits first: 12,288 bytes
 *     sparse (1)   runs:  00xxxxxx            x + 1 zeros
 *                         01xxxxxx yyyyyyyy   xy + 1 zeros
 *                         1vvvvvxx            x + 1 registers of value v + 1
 *
 * An element's 64-bit hash (MurmurHash64A) gives the register by its low 14 bits and the value by
 * the position of the lowest set bit of the rest, counted from 1: at most 51. A register keeps the
 * largest value that it saw. The estimate is Ertl's (2017), which needs no table of corrections.
 *
 * Setting a register of a sparse one splits the run that holds it in up to three, then joins
 * neighbouring runs of one value from the run before on, five steps at most. The same steps in the
 * same order as Redis's give the same bytes. When the split would make it longer than the limit of
 * the configuration (hll-sparse-max-bytes), or the value is above 32, it becomes dense, for good.
 *
 * Invariants: every sparse one that this code made has runs for exactly 16,384 registers. Bytes
 * that came from a client need not, so every walk checks. */
#include "ds/hll.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/assert.h"

enum {
    HASH_BITS = 50, /* Of the hash, behind the 14 that choose the register. */
    VALUE_MAX = HASH_BITS + 1,
    REGISTER_BITS = 6,
    REGISTER_MASK = 63, /* REGISTER_BITS of them. */
    ENCODING_AT = 4,
    ESTIMATE_AT = 8,
    DENSE = 0,
    SPARSE = 1,
    RUN_VALUE_MAX = 32,
    RUN_VALUES_MAX = 4,
    RUN_ZEROS_MAX = 64,
    JOIN_STEPS = 5,
};

#define HASH_SEED UINT64_C(0xadc83b19)

static_assert((int)HLL_HEAD_LEN == ESTIMATE_AT + 8, "the estimate ends the header");

/* ---- Elements ---- */

static uint64_t load_u64(const char *at)
{
    uint64_t word = 0;
    for (unsigned i = 8; i-- > 0;) {
        word = word << 8 | (unsigned char)at[i];
    }
    return word;
}

/* Austin Appleby's MurmurHash64A, in little-endian. */
static uint64_t murmur_hash(struct slice bytes)
{
    const uint64_t factor = UINT64_C(0xc6a4a7935bd1e995);
    uint64_t hash = HASH_SEED ^ (bytes.len * factor);
    size_t at = 0;
    for (; at + 8 <= bytes.len; at += 8) {
        uint64_t word = load_u64(bytes.data + at) * factor;
        word = (word ^ word >> 47) * factor;
        hash = (hash ^ word) * factor;
    }
    if (at < bytes.len) {
        for (size_t i = bytes.len; i-- > at;) {
            hash ^= (uint64_t)(unsigned char)bytes.data[i] << (8 * (i - at));
        }
        hash *= factor;
    }
    hash = (hash ^ hash >> 47) * factor;
    return hash ^ hash >> 47;
}

struct hll_rank hll_rank_of(struct slice element)
{
    uint64_t hash = murmur_hash(element);
    uint64_t rest = hash >> 14 | UINT64_C(1) << HASH_BITS;
    return (struct hll_rank){.index = (uint32_t)(hash & (HLL_REGISTERS - 1)),
                             .value = (uint8_t)(1 + __builtin_ctzll(rest))};
}

/* ---- Header ---- */

void hll_write_new(char *bytes)
{
    memset(bytes, 0, HLL_NEW_LEN);
    memcpy(bytes, "HYLL", 4);
    bytes[ENCODING_AT] = SPARSE;
    bytes[HLL_HEAD_LEN] = 0x7f;
    bytes[HLL_HEAD_LEN + 1] = (char)0xff;
}

bool hll_is_valid(struct slice bytes)
{
    if (bytes.len < HLL_HEAD_LEN || memcmp(bytes.data, "HYLL", 4) != 0) {
        return false;
    }
    return bytes.data[ENCODING_AT] == SPARSE ||
           (bytes.data[ENCODING_AT] == DENSE && bytes.len == HLL_DENSE_LEN);
}

bool hll_is_dense(struct slice bytes)
{
    return bytes.data[ENCODING_AT] == DENSE;
}

bool hll_cached(struct slice bytes, uint64_t *estimate)
{
    *estimate = load_u64(bytes.data + ESTIMATE_AT);
    return *estimate >> 63 == 0;
}

void hll_cache(char *bytes, uint64_t estimate)
{
    for (unsigned i = 0; i < 8; i++) {
        bytes[ESTIMATE_AT + i] = (char)(unsigned char)(estimate >> (8 * i));
    }
}

void hll_forget(char *bytes)
{
    bytes[HLL_HEAD_LEN - 1] = (char)((unsigned char)bytes[HLL_HEAD_LEN - 1] | 0x80);
}

/* ---- Dense ---- */

static unsigned dense_get(const char *bytes, uint32_t index)
{
    const unsigned char *at =
        (const unsigned char *)bytes + HLL_HEAD_LEN + index * REGISTER_BITS / 8;
    unsigned shift = index * REGISTER_BITS % 8;
    unsigned word = at[0];
    if (shift > 8 - REGISTER_BITS) {
        word |= (unsigned)at[1] << 8;
    }
    return word >> shift & REGISTER_MASK;
}

static void dense_set(char *bytes, uint32_t index, unsigned value)
{
    unsigned char *at = (unsigned char *)bytes + HLL_HEAD_LEN + index * REGISTER_BITS / 8;
    unsigned shift = index * REGISTER_BITS % 8;
    unsigned mask = REGISTER_MASK;
    at[0] = (unsigned char)((at[0] & ~(mask << shift)) | value << shift);
    if (shift > 8 - REGISTER_BITS) {
        at[1] = (unsigned char)((at[1] & ~(mask >> (8 - shift))) | value >> (8 - shift));
    }
}

static enum hll_result dense_raise(char *bytes, struct hll_rank rank)
{
    if (dense_get(bytes, rank.index) >= rank.value) {
        return HLL_UNCHANGED;
    }
    dense_set(bytes, rank.index, rank.value);
    return HLL_CHANGED;
}

/* ---- Sparse: runs ---- */

size_t hll_sparse_next(struct slice bytes, size_t at, struct hll_run *run)
{
    if (at >= bytes.len) {
        return 0;
    }
    unsigned code = (unsigned char)bytes.data[at];
    if ((code & 0x80) != 0) {
        *run = (struct hll_run){
            .count = (code & 3) + 1, .value = (uint8_t)((code >> 2 & 31) + 1), .kind = 'v'};
        return 1;
    }
    if ((code & 0x40) == 0) {
        *run = (struct hll_run){.count = code + 1, .kind = 'z'};
        return 1;
    }
    if (at + 1 == bytes.len) {
        return 0;
    }
    unsigned low = (unsigned char)bytes.data[at + 1];
    *run = (struct hll_run){.count = ((code & 63) << 8 | low) + 1, .kind = 'Z'};
    return 2;
}

/* Writes a run and returns its length; nothing for one of no registers. */
static size_t run_write(char *to, uint32_t count, uint8_t value)
{
    if (count == 0) {
        return 0;
    }
    if (value > 0) {
        to[0] = (char)(unsigned char)(0x80U | (value - 1U) << 2 | (count - 1));
        return 1;
    }
    if (count <= RUN_ZEROS_MAX) {
        to[0] = (char)(count - 1);
        return 1;
    }
    to[0] = (char)(0x40 | (count - 1) >> 8);
    to[1] = (char)(unsigned char)(count - 1);
    return 2;
}

/* Joins neighbouring runs of one value, in JOIN_STEPS steps from `at` on. */
static void sparse_join(struct hll_edit *edit, size_t at)
{
    for (int steps = JOIN_STEPS; steps > 0 && at < edit->len; steps--) {
        struct slice bytes = slice_of(edit->bytes, edit->len);
        struct hll_run run;
        struct hll_run next;
        size_t run_len = hll_sparse_next(bytes, at, &run);
        if (run_len == 0) {
            return;
        }
        bool can_join = run.kind == 'v' && hll_sparse_next(bytes, at + 1, &next) == 1 &&
                        next.kind == 'v' && next.value == run.value &&
                        next.count + run.count <= RUN_VALUES_MAX;
        if (can_join) {
            run_write(edit->bytes + at, run.count + next.count, run.value);
            memmove(edit->bytes + at + 1, edit->bytes + at + 2, edit->len - at - 2);
            edit->len--;
        } else {
            at += run_len;
        }
    }
}

/* Where a register's run is. */
struct spot {
    size_t at, len; /* Offset and bytes. */
    size_t before;  /* Offset of the run before, or of the first. */
    uint32_t first; /* Its first register. */
    struct hll_run run;
};

static bool sparse_find(struct slice bytes, uint32_t index, struct spot *spot)
{
    *spot = (struct spot){.at = HLL_HEAD_LEN, .before = HLL_HEAD_LEN};
    for (;;) {
        spot->len = hll_sparse_next(bytes, spot->at, &spot->run);
        if (spot->len == 0) {
            return false;
        }
        if (index < spot->first + spot->run.count) {
            return true;
        }
        spot->before = spot->at;
        spot->at += spot->len;
        spot->first += spot->run.count;
    }
}

static enum hll_result densify_and_raise(struct hll_edit *edit, struct hll_rank rank)
{
    return hll_densify(edit) ? dense_raise(edit->bytes, rank) : HLL_CORRUPT;
}

static enum hll_result sparse_raise(struct hll_edit *edit, struct hll_rank rank)
{
    struct spot spot;
    if (rank.value > RUN_VALUE_MAX) {
        return densify_and_raise(edit, rank);
    }
    if (!sparse_find(slice_of(edit->bytes, edit->len), rank.index, &spot)) {
        return HLL_CORRUPT;
    }
    if (spot.run.value >= rank.value) {
        return HLL_UNCHANGED;
    }
    char split[5];
    uint32_t left = rank.index - spot.first;
    size_t len = run_write(split, left, spot.run.value);
    len += run_write(split + len, 1, rank.value);
    len += run_write(split + len, spot.run.count - left - 1, spot.run.value);
    size_t new_len = edit->len + len - spot.len;
    if (len > spot.len && (new_len > edit->sparse_max || new_len > edit->cap)) {
        return densify_and_raise(edit, rank);
    }
    ASSERT(new_len <= edit->cap);
    char *at = edit->bytes + spot.at;
    memmove(at + len, at + spot.len, edit->len - spot.at - spot.len);
    memcpy(at, split, len);
    edit->len = edit->len + len - spot.len;
    sparse_join(edit, spot.before);
    return HLL_CHANGED;
}

/* ---- Public ---- */

size_t hll_edit_cap(size_t len, uint64_t sparse_max)
{
    size_t most = sparse_max <= HLL_DENSE_LEN ? HLL_DENSE_LEN : HLL_SPARSE_LEN_MAX + HLL_SPARE;
    return len + HLL_SPARE > most ? len + HLL_SPARE : most;
}

enum hll_result hll_raise(struct hll_edit *edit, struct hll_rank rank)
{
    if (edit->bytes[ENCODING_AT] == DENSE) {
        return dense_raise(edit->bytes, rank);
    }
    return sparse_raise(edit, rank);
}

bool hll_densify(struct hll_edit *edit)
{
    uint8_t registers[HLL_REGISTERS] = {0};
    ASSERT(edit->cap >= HLL_DENSE_LEN);
    if (!hll_merge(registers, slice_of(edit->bytes, edit->len))) {
        return false;
    }
    edit->bytes[ENCODING_AT] = DENSE;
    edit->len = HLL_DENSE_LEN;
    memset(edit->bytes + HLL_HEAD_LEN, 0, HLL_DENSE_LEN - HLL_HEAD_LEN);
    for (uint32_t i = 0; i < HLL_REGISTERS; i++) {
        dense_set(edit->bytes, i, registers[i]);
    }
    return true;
}

static bool sparse_merge(uint8_t registers[HLL_REGISTERS], struct slice bytes)
{
    uint32_t index = 0;
    struct hll_run run;
    size_t len;
    size_t at = HLL_HEAD_LEN;
    for (; (len = hll_sparse_next(bytes, at, &run)) > 0; at += len) {
        if (run.count > HLL_REGISTERS - index) {
            return false;
        }
        for (uint32_t end = index + run.count; index < end; index++) {
            registers[index] = registers[index] > run.value ? registers[index] : run.value;
        }
    }
    return at == bytes.len && index == HLL_REGISTERS;
}

bool hll_merge(uint8_t registers[HLL_REGISTERS], struct slice bytes)
{
    if (!hll_is_dense(bytes)) {
        return sparse_merge(registers, bytes);
    }
    for (uint32_t i = 0; i < HLL_REGISTERS; i++) {
        unsigned value = dense_get(bytes.data, i);
        registers[i] = registers[i] > value ? registers[i] : (uint8_t)value;
    }
    return true;
}

/* ---- Estimate: the names are those of the paper ---- */

static double sigma(double x)
{
    if (x == 1.0) {
        return INFINITY;
    }
    double y = 1;
    double z = x;
    double before;
    do {
        x *= x;
        before = z;
        z += x * y;
        y += y;
    } while (before != z);
    return z;
}

static double tau(double x)
{
    if (x == 0.0 || x == 1.0) {
        return 0.0;
    }
    double y = 1.0;
    double z = 1 - x;
    double before;
    do {
        x = sqrt(x);
        before = z;
        y *= 0.5;
        z -= (1 - x) * (1 - x) * y;
    } while (before != z);
    return z / 3;
}

uint64_t hll_estimate(const uint8_t registers[HLL_REGISTERS])
{
    const double alpha = 0.721347520444481703680; /* 1 / (2 ln 2) */
    const double m = HLL_REGISTERS;
    uint32_t counts[REGISTER_MASK + 1] = {0};
    for (uint32_t i = 0; i < HLL_REGISTERS; i++) {
        counts[registers[i] & REGISTER_MASK]++;
    }
    double z = m * tau((m - counts[VALUE_MAX]) / m);
    for (unsigned value = HASH_BITS; value >= 1; value--) {
        z += counts[value];
        z *= 0.5;
    }
    z += m * sigma(counts[0] / m);
    return (uint64_t)llroundl((long double)(alpha * m * m / z));
}
