/* Reading replies.
 *
 *     kind byte, rest of the line, CRLF             all but bulks
 *     kind byte, length, CRLF, bytes, CRLF          $ and =
 *
 * One item at a time, without recursion: whoever builds values of them knows how deep it may go. */
#include "resp/reply_read.h"

#include <string.h>

#include "base/num.h"

/* Takes the line behind the kind byte off `rest`. */
static bool take_line(struct slice *rest, struct slice *line)
{
    const char *end = rest->len < 3 ? NULL : memchr(rest->data + 1, '\r', rest->len - 1);
    if (end == NULL || end + 1 == rest->data + rest->len || end[1] != '\n') {
        return false;
    }
    *line = slice_of(rest->data + 1, (size_t)(end - rest->data) - 1);
    size_t len = line->len + 3;
    *rest = slice_of(rest->data + len, rest->len - len);
    return true;
}

/* The bytes of a bulk, whose length is known. */
static bool take_bulk(struct slice *rest, int64_t len, struct slice *text)
{
    if (len < 0 || rest->len < 2 || (uint64_t)len > rest->len - 2 ||
        memcmp(rest->data + len, "\r\n", 2) != 0) {
        return false;
    }
    *text = slice_of(rest->data, (size_t)len);
    *rest = slice_of(rest->data + len + 2, rest->len - (size_t)len - 2);
    return true;
}

static bool read_double(struct slice line, double *real)
{
    if (slice_is(line, "nan") || slice_is(line, "-nan")) {
        *real = (double)__builtin_nanf("");
        return true;
    }
    return num_parse_double(line, real);
}

/* A bulk, a verbatim text, or the null of RESP2. */
static bool read_long(struct slice *rest, struct slice line, struct reply_item *item)
{
    if (!num_parse_i64(line, &item->number)) {
        return false;
    }
    if (item->number == -1) {
        item->kind = REPLY_NULL;
        return true;
    }
    if (!take_bulk(rest, item->number, &item->text)) {
        return false;
    }
    if (item->kind == REPLY_VERBATIM) {
        if (item->text.len < 4 || item->text.data[3] != ':') {
            return false;
        }
        memcpy(item->format, item->text.data, 3);
        item->text = slice_part(item->text, 4, SIZE_MAX);
    }
    return true;
}

static bool read_count(struct slice line, struct reply_item *item)
{
    if (!num_parse_i64(line, &item->number) || item->number < -1) {
        return false;
    }
    if (item->number == -1) {
        item->kind = REPLY_NULL;
    }
    return true;
}

static bool read_item(struct slice *rest, struct reply_item *item)
{
    struct slice line;
    char kind = *rest->data;
    if (!take_line(rest, &line)) {
        return false;
    }
    item->kind = (enum reply_kind)kind;
    switch (kind) {
    case '+':
    case '-':
    case '(':
        item->text = line;
        return true;
    case ':':
        return num_parse_i64(line, &item->number);
    case '#':
        item->number = line.len == 1 && *line.data == 't';
        return line.len == 1;
    case '_':
        return line.len == 0;
    case ',':
        item->text = line;
        return read_double(line, &item->real);
    case '$':
    case '=':
        return read_long(rest, line, item);
    case '*':
    case '%':
    case '~':
    case '>':
    case '|':
        return read_count(line, item);
    default:
        return false;
    }
}

bool reply_read(struct slice *rest, struct reply_item *item)
{
    struct slice at = *rest;
    *item = (struct reply_item){.kind = REPLY_NULL};
    if (at.len == 0 || !read_item(&at, item)) {
        return false;
    }
    *rest = at;
    return true;
}
