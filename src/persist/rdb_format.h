/* The words of an RDB file, which writer and reader share.
 *
 *     REDIS0009                             magic and version, four digits
 *     FA name text            ...           what the writer tells of itself (AUX)
 *     F5 code                 ...           libraries of functions
 *     FE db  FB keys volatile               which database follows, and how large it is
 *     [FC ms u64] [F8 idle | F9 counter] type key value     ...
 *     FF crc u64                            the end; CRC-64 of all before, 0: not computed
 *
 * Numbers in capitals are bytes, u64 is little endian, db, keys, volatile and idle are lengths and
 * name, text, code and key are strings as types/codec/codec_bytes.c draws them. A type and a value
 * are the codec's (codec_write_step, codec_read_value). Every opcode lies above every type. */
#pragma once

enum {
    RDB_MAGIC_LEN = 5,   /* "REDIS" */
    RDB_VERSION_LEN = 4, /* Decimal digits. */
    RDB_HEAD_LEN = RDB_MAGIC_LEN + RDB_VERSION_LEN,
    RDB_CRC_LEN = 8,

    RDB_VERSION_MIN = 9,        /* Written unless the content needs more: every Redis since 5.0. */
    RDB_VERSION_MAX = 12,       /* The newest that is read: Redis 7.4 and 8. */
    RDB_VERSION_FUNCTIONS = 10, /* Since when there are libraries of functions. */
};

#define RDB_MAGIC "REDIS"

enum rdb_opcode {
    RDB_OP_SLOT_INFO = 0xf4,    /* slot, keys, volatile keys: lengths, all hints (7.4). */
    RDB_OP_FUNCTION = 0xf5,     /* One library: its code (7.0). */
    RDB_OP_FUNCTION_OLD = 0xf6, /* Only in release candidates of 7.0. */
    RDB_OP_MODULE_AUX = 0xf7,   /* A module's own data. */
    RDB_OP_IDLE = 0xf8,         /* Seconds since the key's last use: a length. */
    RDB_OP_FREQ = 0xf9,         /* Its counter of uses: one byte. */
    RDB_OP_AUX = 0xfa,
    RDB_OP_RESIZE_DB = 0xfb,
    RDB_OP_EXPIRE_MS = 0xfc, /* Unix ms, eight bytes. */
    RDB_OP_EXPIRE_S = 0xfd,  /* Unix seconds, four bytes: old files. */
    RDB_OP_SELECT_DB = 0xfe,
    RDB_OP_EOF = 0xff,
};

/* Names of AUX fields. */
#define RDB_AUX_VERSION "redis-ver"
#define RDB_AUX_BITS "redis-bits"
#define RDB_AUX_TIME "ctime"
#define RDB_AUX_MEMORY "used-mem"
#define RDB_AUX_AOF_BASE "aof-base"
#define RDB_AUX_REPL_DB "repl-stream-db"
#define RDB_AUX_REPL_ID "repl-id"
#define RDB_AUX_REPL_OFFSET "repl-offset"
