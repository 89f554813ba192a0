/* The parts of an RDB file that are not values: what stands at its beginning, between databases,
 * before keys and at its end. The order is drawn in rdb_format.h. */
#pragma once

#include <stdint.h>

#include "base/slice.h"
#include "types/codec/codec.h"

struct rdb_head {
    unsigned version;         /* RDB_VERSION_MIN or what the content needs. */
    struct slice ouro_speaks; /* The Redis version whose commands are spoken: "7.2.0". */
    int64_t now_s;
    uint64_t used_memory;
};
void rdb_write_head(struct codec_out *out, const struct rdb_head *head);
void rdb_write_aux(struct codec_out *out, const char *name, struct slice text);

/* The code of a library of functions, as FUNCTION LOAD takes it. Needs RDB_VERSION_FUNCTIONS. */
void rdb_write_function(struct codec_out *out, struct slice code);

/* Keys that follow are of this database. */
void rdb_write_select(struct codec_out *out, unsigned index);
void rdb_write_sizes(struct codec_out *out, uint64_t key_count, uint64_t volatile_count);

/* What stands before a key's type. */
enum { RDB_NONE = -1 };
struct rdb_key {
    int64_t expire_ms; /* Unix ms or RDB_NONE. */
    int64_t idle_s;    /* Seconds since its last use, or RDB_NONE. */
    int frequency;     /* Its counter of uses, or RDB_NONE. */
};
void rdb_write_key(struct codec_out *out, const struct rdb_key *key);

/* The end; the checksum is not written here. */
void rdb_write_end(struct codec_out *out);
