/* Reading replies: the other direction of resp/reply.h, for those who execute a command and want
 * its answer as values (scripts). A pure function of bytes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

/* What one step reads. For aggregates only the header: their elements are the next items. */
enum reply_kind {
    REPLY_STATUS = '+',
    REPLY_ERROR = '-',
    REPLY_INTEGER = ':',
    REPLY_BULK = '$',
    REPLY_ARRAY = '*',
    REPLY_NULL = '_', /* Also a bulk or an array of length -1. */
    REPLY_DOUBLE = ',',
    REPLY_BOOL = '#',
    REPLY_BIG_NUMBER = '(',
    REPLY_VERBATIM = '=',
    REPLY_MAP = '%',
    REPLY_SET = '~',
    REPLY_PUSH = '>',
    REPLY_ATTRIBUTE = '|',
};

struct reply_item {
    enum reply_kind kind;
    struct slice text; /* Of a line or a bulk; VERBATIM: behind the format; DOUBLE: its digits. */
    int64_t number; /* INTEGER; BOOL: 0 or 1; aggregates: elements, of MAP and ATTRIBUTE pairs. */
    double real;    /* DOUBLE. */
    char format[4]; /* VERBATIM: "txt", NUL-terminated. */
};

/* Reads the next item off `rest`, which then begins behind it. False: the bytes are no reply, or
 * end too early; `rest` is as it was. The texts borrow from the bytes. */
bool reply_read(struct slice *rest, struct reply_item *item);
