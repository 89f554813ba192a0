/* A byte buffer that doubles. Appending n bytes costs O(n) amortised; the first allocation is 64
 * bytes, so that a short line costs one. A NULL `data` with cap 0 is a valid empty buffer, which
 * makes a zeroed struct ready for use. */
#include "base/buf.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum { BUF_CAP_MIN = 64 };

void buf_init(struct buf *buf)
{
    *buf = (struct buf){0};
}

void buf_deinit(struct buf *buf)
{
    mem_free(buf->data);
    buf_init(buf);
}

void buf_clear(struct buf *buf)
{
    buf->len = 0;
}

char *buf_reserve(struct buf *buf, size_t more)
{
    if (buf->cap - buf->len < more || buf->data == NULL) {
        ASSERT(more <= SIZE_MAX / 4 - buf->len);
        size_t cap = buf->cap < BUF_CAP_MIN ? BUF_CAP_MIN : buf->cap * 2;
        if (cap < buf->len + more) {
            cap = buf->len + more;
        }
        buf->data = mem_realloc(buf->data, cap);
        buf->cap = cap;
    }
    return buf->data + buf->len;
}

void buf_append(struct buf *buf, struct slice bytes)
{
    if (bytes.len > 0) {
        memcpy(buf_reserve(buf, bytes.len), bytes.data, bytes.len);
        buf->len += bytes.len;
    }
}

void buf_append_text(struct buf *buf, const char *text)
{
    buf_append(buf, slice_from_text(text));
}

void buf_append_byte(struct buf *buf, char byte)
{
    *buf_reserve(buf, 1) = byte;
    buf->len++;
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    buf_vprintf(buf, format, args);
    va_end(args);
}

/* Prints straight into the free room; only when that was too short is it printed again. */
void buf_vprintf(struct buf *buf, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    char *at = buf_reserve(buf, 1);
    size_t room = buf->cap - buf->len;
    int len = vsnprintf(at, room, format, args);
    ASSERT(len >= 0);
    if ((size_t)len >= room) {
        /* vsnprintf ends with a NUL, which needs a place though it is not counted. */
        at = buf_reserve(buf, (size_t)len + 1);
        vsnprintf(at, (size_t)len + 1, format, again);
    }
    va_end(again);
    buf->len += (size_t)len;
}

/* The letter after the backslash for bytes that have a short escape, else 0. */
static char buf_escape_letter(char byte)
{
    switch (byte) {
    case '\\':
    case '"':
        return byte;
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    case '\a':
        return 'a';
    case '\b':
        return 'b';
    default:
        return 0;
    }
}

void buf_append_quoted(struct buf *buf, struct slice bytes)
{
    static const char hex[] = "0123456789abcdef";
    buf_append_byte(buf, '"');
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned char byte = (unsigned char)bytes.data[i];
        char letter = buf_escape_letter((char)byte);
        if (letter != 0) {
            buf_append(buf, slice_of((char[]){'\\', letter}, 2));
        } else if (byte >= ' ' && byte <= '~') {
            buf_append_byte(buf, (char)byte);
        } else {
            buf_append(buf, slice_of((char[]){'\\', 'x', hex[byte >> 4], hex[byte & 15]}, 4));
        }
    }
    buf_append_byte(buf, '"');
}
