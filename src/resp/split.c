/* One line to words, with quotes and escapes, as Redis splits inline requests and configuration
 * files.
 *
 *     SET "a\x41\n b" 'it\'s'   x"y z"        words: SET | aA<LF> b | it's | xy z
 *
 * White space separates words: space, tab, CR and LF end one, vertical tab and form feed are only
 * skipped between them. A quote may open anywhere in a word and must close at its end. Within
 * double quotes a backslash escapes (\n \r \t \b \a \xHH, else the byte itself), within single
 * quotes only \' does, and outside quotes a backslash is a byte like others.
 *
 * Cost: O(len). A word is never longer than what it was written as, so the scratch is as long as
 * the line. */
#include "resp/parse.h"

static bool is_space(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static int hex_value(char byte)
{
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    char lower = (char)(byte | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Reads the escape behind a backslash within double quotes. Returns where it ends. */
static const char *read_escape(const char *at, const char *end, char *out)
{
    if (*at == 'x' && end - at > 2 && hex_value(at[1]) >= 0 && hex_value(at[2]) >= 0) {
        *out = (char)(hex_value(at[1]) * 16 + hex_value(at[2]));
        return at + 3;
    }
    switch (*at) {
    case 'n':
        *out = '\n';
        break;
    case 'r':
        *out = '\r';
        break;
    case 't':
        *out = '\t';
        break;
    case 'b':
        *out = '\b';
        break;
    case 'a':
        *out = '\a';
        break;
    default:
        *out = *at;
        break;
    }
    return at + 1;
}

/* Reads from behind an opening quote to behind the closing one, which must end the word. `*out`
 * advances over what was written. NULL for unbalanced quotes. */
static const char *read_quoted(const char *at, const char *end, char quote, char **out)
{
    while (at < end && *at != quote) {
        bool is_escape = *at == '\\' && end - at > 1 && (quote == '"' || at[1] == '\'');
        if (is_escape) {
            at = read_escape(at + 1, end, *out);
        } else {
            **out = *at++;
        }
        (*out)++;
    }
    if (at == end || (end - at > 1 && !is_space(at[1]))) {
        return NULL;
    }
    return at + 1;
}

/* Reads one word, the first byte of which is there, into `*out`. NULL for unbalanced quotes. */
static const char *read_word(const char *at, const char *end, char **out)
{
    while (at < end && *at != ' ' && *at != '\n' && *at != '\r' && *at != '\t') {
        if (*at == '"' || *at == '\'') {
            return read_quoted(at + 1, end, *at, out);
        }
        *(*out)++ = *at++;
    }
    return at;
}

int resp_split_line(struct slice line, char *scratch, struct slice *room, uint32_t room_count)
{
    uint32_t count = 0;
    const char *at = line.data;
    const char *nul = line.len == 0 ? NULL : memchr(at, '\0', line.len);
    const char *end = nul != NULL ? nul : at + line.len;
    for (;;) {
        while (at < end && is_space(*at)) {
            at++;
        }
        if (at == end) {
            return (int)count;
        }
        char *word = scratch;
        at = read_word(at, end, &scratch);
        if (at == NULL) {
            return -1;
        }
        if (count == room_count) {
            return -2;
        }
        room[count++] = slice_of(word, (size_t)(scratch - word));
    }
}
