/* Stepping over what cannot be held: values of kinds that do not exist here, data of modules. */
#pragma once

#include <stdint.h>

#include "types/codec/codec.h"

enum { RDB_MODULE_NAME_LEN = 9 };

/* What a type of value is called; "value of an unknown type" for one that this program has never
 * heard of. */
const char *rdb_type_name(unsigned type);

/* Steps over a value of that type (not its type byte). CODEC_BAD with reader->missing: not all of
 * it is there. */
enum codec_result rdb_skip_value(struct codec_reader *reader, unsigned type)
    __attribute__((warn_unused_result));

/* The name in a module's id, terminated. */
void rdb_module_name(uint64_t id, char name[RDB_MODULE_NAME_LEN + 1]);

/* Steps over what a module wrote, its end mark included. */
enum codec_result rdb_skip_module(struct codec_reader *reader) __attribute__((warn_unused_result));
