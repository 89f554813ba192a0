/* Fuzzes the configuration: files with what they include, command lines, quoting.
 *
 * Whatever the bytes are, they are refused with a reason, or give a configuration that
 *   1. prints values which set again give the same,
 *   2. is the same after CONFIG REWRITE into an empty file, and into the file that it came from,
 *   3. is the same when it is given as a command line.
 * No file is touched: the loader reads from a disk that holds parts of the input.
 *
 * An input is a byte, which says what the parts are, and parts that end with a byte of 0xff. The
 * first is the file; then come the files that it may include, "1" to "3"; or all others are words
 * of the command line. With -DFUZZ_STANDALONE the program makes its own inputs: `fuzz_config
 * [count] [seed]`. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "server/config_internal.h"

enum { PARTS_MAX = 12, FILES_MAX = 4, FILES_READ_MAX = 1001 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct disk {
    struct slice files[FILES_MAX];
    unsigned read_count;
};

static void require(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

/* ---- The disk: files are named by their number ---- */

static int disk_expand(void *context, const char *pattern,
                       bool (*each)(void *loading, const char *path), void *loading)
{
    (void)context;
    if (strcmp(pattern, "*") != 0) {
        return each(loading, pattern) ? 0 : -ECANCELED;
    }
    for (char name[2] = "1"; name[0] < '0' + FILES_MAX; name[0]++) {
        if (!each(loading, name)) {
            return -ECANCELED;
        }
    }
    return 0;
}

static int disk_read(void *context, const char *path, struct buf *text)
{
    struct disk *disk = context;
    require(++disk->read_count <= FILES_READ_MAX, "files are read without end");
    if (path[0] < '0' || path[0] >= '0' + FILES_MAX || path[1] != '\0') {
        return -ENOENT;
    }
    buf_append(text, disk->files[path[0] - '0']);
    return 0;
}

static int disk_find_folder(void *context, const char *path)
{
    (void)context;
    return path[0] == 'x' ? -ENOENT : 0;
}

/* ---- What must hold ---- */

/* Loads a file (none: an empty one) and words. NULL when they are refused. */
static struct config *load(struct disk *disk, char **words, int word_count)
{
    const struct config_disk face = {
        .expand = disk_expand, .read = disk_read, .find_folder = disk_find_folder, .context = disk};
    struct config *config = config_new();
    struct config_source source;
    config_source_init(&source);
    source.disk = &face;
    disk->read_count = 0;
    bool is_good = config_load(config, &source, "0", words, word_count);
    require(is_good == (source.error.len == 0), "refused without a reason, or the reverse");
    config_source_deinit(&source);
    if (!is_good) {
        config_free(config);
    }
    return is_good ? config : NULL;
}

static void require_same(const struct config *config, struct config *take_other, const char *what)
{
    unsigned count;
    const struct directive *rows = config_directives(&count);
    require(take_other != NULL, what);
    for (unsigned i = 0; i < count; i++) {
        if (!config_is_same(config, take_other, &rows[i])) {
            struct buf text;
            buf_init(&text);
            buf_printf(&text, "%s: ", rows[i].name);
            config_get(config, &rows[i], &text);
            buf_append_text(&text, " | ");
            config_get(take_other, &rows[i], &text);
            fprintf(stderr, "%.*s\n", (int)text.len, text.data);
            require(false, what);
        }
    }
    config_free(take_other);
}

static void check_rewrite(const struct config *config, struct slice before, const char *what)
{
    struct buf text, again;
    buf_init(&text);
    buf_init(&again);
    config_rewrite_text(config, before, &text);
    struct disk disk = {.files = {buf_slice(&text)}};
    require_same(config, load(&disk, NULL, 0), what);
    config_rewrite_text(config, buf_slice(&text), &again);
    require(slice_equal(buf_slice(&text), buf_slice(&again)), "a second rewrite changes the file");
    buf_deinit(&again);
    buf_deinit(&text);
}

/* Each value as `--name value`: the command line says what the file said. */
static void check_command_line(const struct config *config)
{
    unsigned count;
    const struct directive *rows = config_directives(&count);
    char **words = mem_zalloc(2 * count * sizeof(*words));
    for (unsigned i = 0; i < count; i++) {
        struct buf value;
        buf_init(&value);
        config_get(config, &rows[i], &value);
        config_replace_text(&words[2 * i + 1], buf_slice(&value));
        buf_clear(&value);
        buf_printf(&value, "--%s", rows[i].name);
        config_replace_text(&words[2 * i], buf_slice(&value));
        buf_deinit(&value);
        if (strncmp(words[2 * i + 1], "--", 2) == 0) { /* Would be the next name. */
            config_replace_text(&words[2 * i + 1], slice_from_text(rows[i].preset));
        }
    }
    struct disk disk = {.read_count = 0};
    struct config *other = load(&disk, words, 2 * (int)count);
    require(other != NULL, "what CONFIG GET prints is refused on a command line");
    config_free(other);
    for (unsigned i = 0; i < 2 * count; i++) {
        mem_free(words[i]);
    }
    mem_free(words);
}

static bool has_include(struct slice text)
{
    for (size_t i = 0; i + 7 <= text.len; i++) {
        if (slice_is(slice_part(text, i, i + 7), "include")) {
            return true;
        }
    }
    return memchr(text.data, '\\', text.len) != NULL; /* It may be written with escapes. */
}

static void check(struct disk *disk, char **words, int word_count)
{
    struct config *config = load(disk, words, word_count);
    if (config == NULL) {
        return;
    }
    require_same(config, config_copy(config), "a copy differs");
    check_rewrite(config, slice_of("", 0), "what CONFIG REWRITE writes is another configuration");
    if (disk->files[0].len > 0 && !has_include(disk->files[0])) {
        check_rewrite(config, disk->files[0], "a file rewritten is another configuration");
    }
    check_command_line(config);
    config_free(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    unsigned file_count = 1 + data[0] % FILES_MAX;
    struct disk disk = {.read_count = 0};
    char *words[PARTS_MAX];
    unsigned part_count = 0, word_count = 0;
    const char *at = (const char *)data + 1, *end = (const char *)data + size;
    for (; at < end && part_count < PARTS_MAX; part_count++) {
        const char *stop = memchr(at, 0xff, (size_t)(end - at));
        struct slice part = slice_of(at, (size_t)((stop == NULL ? end : stop) - at));
        if (part_count < file_count) {
            disk.files[part_count] = part;
        } else {
            words[word_count] = NULL;
            config_replace_text(&words[word_count++], part);
        }
        at = stop == NULL ? end : stop + 1;
    }
    check(&disk, words, (int)word_count);
    while (word_count > 0) {
        mem_free(words[--word_count]);
    }
    return 0;
}

#ifdef FUZZ_STANDALONE

#include "tests/fuzz/standalone.h"

static const char *const values[] = {
    "yes",       "no",
    "0",         "1",
    "-1",        "100",
    "6380",      "\"\"",
    "10mb",      "1gb",
    "5%",        "3600 1",
    "a b",       "\"a b\"",
    "'it\\'s'",  "\"\\x41\\n\"",
    "x",         "/tmp",
    "''",        "\"x",
    "AKE",       "noeviction",
    "it's",      "normal 1mb 2mb 60",
    "* -::*",    "::1",
    "50 99",     "debug",
    "now force", "\"3600 1 60 5\"",
    "700",       "18446744073709551615",
    "\\",        "#",
    "#x",        "\"#\"",
    "\t",        "\"\\xff\\x00\"",
    "99.9",      "default",
    "\"a b\" 1", "::1 \"\"",
    "h 6379",    "\"h\\\"\" 1",
};

static void append_word(struct buf *out, struct rng *rng)
{
    buf_append_text(out, values[rng_below(rng, sizeof(values) / sizeof(values[0]))]);
}

static void append_name(struct buf *out, struct rng *rng)
{
    unsigned count;
    const struct directive *rows = config_directives(&count);
    const struct directive *row = &rows[rng_below(rng, count)];
    buf_append_text(out, row->name);
    if (rng_below(rng, 3) == 0) {
        buf_printf(out, " %s", row->preset);
    }
}

static void append_line(struct buf *out, struct rng *rng)
{
    static const char *const lines[] = {
        "# a comment", "",   "include 1",    "include 2",         "include *",
        "include 0",   "  ", "include none", "rename-command a b"};
    if (rng_below(rng, 6) == 0) {
        buf_append_text(out, lines[rng_below(rng, sizeof(lines) / sizeof(lines[0]))]);
    } else {
        append_name(out, rng);
        for (uint64_t more = rng_below(rng, 3); more > 0; more--) {
            buf_append_byte(out, ' ');
            append_word(out, rng);
        }
    }
    buf_append_text(out, rng_below(rng, 10) == 0 ? "\r\n" : "\n");
}

static void make_input(struct buf *out, struct rng *rng)
{
    uint64_t files = rng_below(rng, FILES_MAX);
    buf_clear(out);
    buf_append_byte(out, (char)files);
    for (uint64_t i = 0; i <= files; i++) {
        for (uint64_t lines = rng_below(rng, 5); lines > 0; lines--) {
            append_line(out, rng);
        }
        buf_append_byte(out, (char)0xff);
    }
    for (uint64_t words = rng_below(rng, 3); words > 0; words--) {
        buf_append_text(out, "--");
        append_name(out, rng);
        buf_append_byte(out, (char)0xff);
        append_word(out, rng);
        buf_append_byte(out, (char)0xff);
    }
    for (uint64_t flips = rng_below(rng, 8) < 6 ? 0 : rng_below(rng, 4); flips > 0; flips--) {
        out->data[rng_below(rng, out->len)] = "\r\n\0\"'\\# "[rng_below(rng, 8)];
    }
}

int main(int argc, char **argv)
{
    return fuzz_standalone(argc, argv, 500, make_input);
}

#endif
