/* The first line of a script or a library, which says what it promises and, of a library, its name:
 *
 *     #!lua flags=no-writes,allow-oom          a script
 *     #!lua name=counters                      a library
 *
 * A script may lack it; then nothing is promised and, as ever, much is allowed. */
#include <ctype.h>
#include <string.h>

#include "script/script_internal.h"

static const char *const flag_names[] = {"no-writes", "allow-oom", "allow-stale", "no-cluster",
                                         "allow-cross-slot-keys"};
enum { FLAG_COUNT = sizeof(flag_names) / sizeof(flag_names[0]) };

uint32_t script_flag_of(struct slice name)
{
    for (unsigned i = 0; i < FLAG_COUNT; i++) {
        if (slice_equal(name, slice_from_text(flag_names[i]))) {
            return (uint32_t)1 << i;
        }
    }
    return 0;
}

const char *script_flag_name(unsigned index)
{
    return index < FLAG_COUNT ? flag_names[index] : NULL;
}

/* Takes the next word off `rest`; words are parted by spaces. */
static bool next_word(struct slice *rest, struct slice *word)
{
    size_t from = 0;
    while (from < rest->len && isspace((unsigned char)rest->data[from])) {
        from++;
    }
    size_t to = from;
    while (to < rest->len && !isspace((unsigned char)rest->data[to])) {
        to++;
    }
    *word = slice_part(*rest, from, to - from);
    *rest = slice_part(*rest, to, SIZE_MAX);
    return word->len != 0;
}

static bool starts_with(struct slice text, const char *prefix)
{
    size_t len = strlen(prefix);
    return text.len >= len && memcmp(text.data, prefix, len) == 0;
}

static bool read_flags(struct slice list, struct shebang *out, struct buf *error)
{
    for (size_t from = 0; from <= list.len;) {
        size_t to = from;
        while (to < list.len && list.data[to] != ',') {
            to++;
        }
        struct slice name = slice_part(list, from, to - from);
        uint32_t flag = script_flag_of(name);
        if (flag == 0) {
            buf_printf(error, "ERR Unexpected flag in script shebang: %.*s", (int)name.len,
                       name.data);
            return false;
        }
        out->flags |= flag;
        from = to + 1;
    }
    return true;
}

static bool read_script_word(struct slice word, struct shebang *out, struct buf *error)
{
    if (starts_with(word, "flags=")) {
        return word.len == 6 || read_flags(slice_part(word, 6, SIZE_MAX), out, error);
    }
    buf_printf(error, "ERR Unknown lua shebang option: %.*s", (int)word.len, word.data);
    return false;
}

static bool read_library_word(struct slice word, struct shebang *out, struct buf *error)
{
    if (word.len < 5 || !slice_is(slice_part(word, 0, 5), "name=")) {
        buf_printf(error, "ERR Invalid metadata value given: %.*s", (int)word.len, word.data);
        return false;
    }
    if (out->name.data != NULL) {
        buf_append_text(error,
                        "ERR Invalid metadata value, name argument was given multiple times");
        return false;
    }
    out->name = slice_part(word, 5, SIZE_MAX);
    return true;
}

/* The engine's name behind "#!". */
static bool check_engine(struct slice word, bool is_library, struct buf *error)
{
    if (!is_library && !slice_equal(word, slice_from_text("#!lua"))) {
        buf_printf(error, "ERR Unexpected engine in script shebang: %.*s", (int)word.len,
                   word.data);
        return false;
    }
    struct slice engine = slice_part(word, 2, SIZE_MAX);
    if (is_library && !slice_is(engine, "lua")) {
        buf_printf(error, "ERR Engine '%.*s' not found", (int)engine.len, engine.data);
        return false;
    }
    return true;
}

bool shebang_read(struct slice text, bool is_library, struct shebang *out, struct slice *code,
                  struct buf *error)
{
    *out = (struct shebang){.flags = SCRIPT_IS_COMPAT};
    *code = text;
    if (!starts_with(text, "#!")) {
        if (is_library) {
            buf_append_text(error, "ERR Missing library metadata");
        }
        return !is_library;
    }
    const char *end = memchr(text.data, '\n', text.len);
    if (end == NULL) {
        buf_append_text(error,
                        is_library ? "ERR Invalid library metadata" : "ERR Invalid script shebang");
        return false;
    }
    struct slice line = slice_of(text.data, (size_t)(end - text.data)), word;
    *code = slice_part(text, line.len, SIZE_MAX);
    out->flags = 0;
    next_word(&line, &word);
    bool is_good = check_engine(word, is_library, error);
    while (is_good && next_word(&line, &word)) {
        is_good =
            is_library ? read_library_word(word, out, error) : read_script_word(word, out, error);
    }
    return is_good;
}
