/* A growable byte buffer for text that the program builds (INFO, CONFIG REWRITE, log lines). It
 * grows by doubling through mem_alloc. */
#pragma once

#include <stdarg.h>
#include <stddef.h>

#include "base/slice.h"

struct buf {
    char *data; /* Owned; NULL when cap is 0. */
    size_t len; /* Bytes held. */
    size_t cap; /* Bytes owned. */
};

void buf_init(struct buf *buf);
void buf_deinit(struct buf *buf);
void buf_clear(struct buf *buf); /* Keeps the memory. */

/* Room for `more` bytes after len; returns where they start. */
char *buf_reserve(struct buf *buf, size_t more);
void buf_append(struct buf *buf, struct slice bytes);
void buf_append_text(struct buf *buf, const char *text);
void buf_append_byte(struct buf *buf, char byte);
void buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *buf, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

/* Appends `bytes` in double quotes with \n \r \t \a \b \\ \" and \xHH escapes, as Redis's
 * sdscatrepr. */
void buf_append_quoted(struct buf *buf, struct slice bytes);

static inline struct slice buf_slice(const struct buf *buf)
{
    return slice_of(buf->data, buf->len);
}
