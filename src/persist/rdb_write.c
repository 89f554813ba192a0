/* Writes what is not a value. Nothing is decided here but the bytes; see rdb_format.h for the
 * picture, and rdb_write.h for the order. */
#include "persist/rdb_write.h"

#include <endian.h>
#include <stdio.h>

#include "base/num.h"
#include "persist/rdb_format.h"

static void write_op(struct codec_out *out, enum rdb_opcode op)
{
    char byte = (char)op;
    codec_out_bytes(out, slice_of(&byte, 1));
}

void rdb_write_aux(struct codec_out *out, const char *name, struct slice text)
{
    write_op(out, RDB_OP_AUX);
    codec_out_text(out, slice_from_text(name));
    codec_out_text(out, text);
}

static void write_aux_number(struct codec_out *out, const char *name, int64_t number)
{
    char text[NUM_I64_TEXT_MAX + 1];
    rdb_write_aux(out, name, slice_of(text, num_format_i64(text, number)));
}

void rdb_write_head(struct codec_out *out, const struct rdb_head *head)
{
    char magic[RDB_HEAD_LEN + 1];
    snprintf(magic, sizeof(magic), RDB_MAGIC "%04u", head->version % 10000);
    codec_out_bytes(out, slice_of(magic, RDB_HEAD_LEN));
    rdb_write_aux(out, RDB_AUX_VERSION, head->ouro_speaks);
    write_aux_number(out, RDB_AUX_BITS, (int64_t)sizeof(void *) * 8);
    write_aux_number(out, RDB_AUX_TIME, head->now_s);
    write_aux_number(out, RDB_AUX_MEMORY, (int64_t)head->used_memory);
    write_aux_number(out, RDB_AUX_AOF_BASE, 0);
}

void rdb_write_function(struct codec_out *out, struct slice code)
{
    write_op(out, RDB_OP_FUNCTION);
    codec_out_text(out, code);
}

void rdb_write_select(struct codec_out *out, unsigned index)
{
    write_op(out, RDB_OP_SELECT_DB);
    codec_out_len(out, index);
}

void rdb_write_sizes(struct codec_out *out, uint64_t key_count, uint64_t volatile_count)
{
    write_op(out, RDB_OP_RESIZE_DB);
    codec_out_len(out, key_count);
    codec_out_len(out, volatile_count);
}

void rdb_write_key(struct codec_out *out, const struct rdb_key *key)
{
    if (key->expire_ms >= 0) {
        uint64_t word = htole64((uint64_t)key->expire_ms);
        write_op(out, RDB_OP_EXPIRE_MS);
        codec_out_bytes(out, slice_of(&word, sizeof(word)));
    }
    if (key->idle_s >= 0) {
        write_op(out, RDB_OP_IDLE);
        codec_out_len(out, (uint64_t)key->idle_s);
    }
    if (key->frequency >= 0) {
        char byte = (char)key->frequency;
        write_op(out, RDB_OP_FREQ);
        codec_out_bytes(out, slice_of(&byte, 1));
    }
}

void rdb_write_end(struct codec_out *out)
{
    write_op(out, RDB_OP_EOF);
}
