/* Up to which size collections stay packed: live configuration, owned by the composition root and
 * handed to the commands that may convert. Lengths are in bytes, entries are counted. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct type_limits {
    size_t hash_entries;         /* hash-max-listpack-entries */
    size_t hash_value;           /* hash-max-listpack-value: of the longest field or value. */
    size_t set_intset_entries;   /* set-max-intset-entries */
    size_t set_listpack_entries; /* set-max-listpack-entries */
    size_t set_listpack_value;   /* set-max-listpack-value */
    size_t zset_entries;         /* zset-max-listpack-entries */
    size_t zset_value;           /* zset-max-listpack-value */
    int64_t list_size;           /* list-max-listpack-size: entries of a node; -1..-5: 4..64 KiB. */
    uint64_t hll_sparse_bytes;   /* hll-sparse-max-bytes: of a sparse HyperLogLog. */
    size_t stream_node_bytes;    /* stream-node-max-bytes; 0: any number, up to 64 KiB. */
    size_t stream_node_entries;  /* stream-node-max-entries; 0: any number. */
};

/* Redis 7.2's. */
static inline struct type_limits type_limits_default(void)
{
    return (struct type_limits){
        .hash_entries = 512,
        .hash_value = 64,
        .set_intset_entries = 512,
        .set_listpack_entries = 128,
        .set_listpack_value = 64,
        .zset_entries = 128,
        .zset_value = 64,
        .list_size = -2,
        .hll_sparse_bytes = 3000,
        .stream_node_bytes = 4096,
        .stream_node_entries = 100,
    };
}
