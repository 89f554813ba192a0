/* Reading a start-up configuration: a file in Redis's syntax, whatever it includes, then the words
 * of the command line, which are read as lines of a last file.
 *
 *     directive value ...      quotes and escapes as in inline commands
 *     # comment                only at the start of a line
 *     include other.conf       a pattern may name several
 *
 * An error names the line and quotes it; nothing of a bad configuration is used. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "resp/parse.h"
#include "server/config_internal.h"

enum {
    CONFIG_WORDS_PER_LINE_MAX = 256,
    CONFIG_INCLUDE_DEPTH_MAX = 16,
    CONFIG_FILES_MAX = 1000, /* Two files that include each other twice would be read for ever. */
    CONFIG_FILE_LEN_MAX = 16 * 1024 * 1024,
};

/* One text being read. */
struct loading {
    struct config *config;
    struct config_source *source;
    unsigned depth;
    unsigned line_number;
};

/* ---- Files ----------------------------------------------------------------------------------- */

static int real_expand(void *context, const char *pattern,
                       bool (*each)(void *loading, const char *path), void *loading)
{
    (void)context;
    glob_t found;
    int result = glob(pattern, GLOB_NOMAGIC, NULL, &found);
    if (result != 0) {
        return result == GLOB_NOMATCH ? 0 : -EIO;
    }
    bool is_good = true;
    for (size_t i = 0; is_good && i < found.gl_pathc; i++) {
        is_good = each(loading, found.gl_pathv[i]);
    }
    globfree(&found);
    return is_good ? 0 : -ECANCELED;
}

static int read_all(int fd, struct buf *text)
{
    for (;;) {
        ssize_t got = read(fd, buf_reserve(text, 65536), 65536);
        if (got <= 0) {
            return got == 0 ? 0 : -errno;
        }
        text->len += (size_t)got;
        if (text->len > CONFIG_FILE_LEN_MAX) {
            return -EFBIG;
        }
    }
}

static int real_read(void *context, const char *path, struct buf *text)
{
    (void)context;
    bool is_stdin = strcmp(path, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int result = read_all(fd, text);
    if (!is_stdin) {
        close(fd);
    }
    return result;
}

static int real_find_folder(void *context, const char *path)
{
    (void)context;
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    close(fd);
    return 0;
}

static const struct config_disk real_disk = {
    .expand = real_expand, .read = real_read, .find_folder = real_find_folder};

/* ---- Lines ----------------------------------------------------------------------------------- */

void config_source_init(struct config_source *source)
{
    *source = (struct config_source){.disk = &real_disk};
    source->renames_end = &source->renames;
    buf_init(&source->error);
}

void config_source_deinit(struct config_source *source)
{
    while (source->renames != NULL) {
        struct config_rename *rename = source->renames;
        source->renames = rename->next;
        mem_free(rename->old_name);
        mem_free(rename->new_name);
        mem_free(rename->line);
        mem_free(rename);
    }
    mem_free(source->file);
    buf_deinit(&source->error);
}

void config_source_fail(struct config_source *source, unsigned line_number, const char *line,
                        const char *why)
{
    buf_printf(&source->error,
               "\n*** FATAL CONFIG FILE ERROR (Ouro) ***\nReading the configuration file, at line "
               "%u\n>>> '%s'\n%s\n",
               line_number, line, why);
}

static bool fail(struct loading *loading, struct slice line, const char *why)
{
    char *text = NULL;
    config_replace_text(&text, line);
    config_source_fail(loading->source, loading->line_number, text, why);
    mem_free(text);
    return false;
}

static bool load_file(struct loading *loading, const char *path);

static bool load_included(void *context, const char *path)
{
    struct loading inner = *(struct loading *)context;
    inner.depth++;
    return load_file(&inner, path);
}

static bool load_include(struct loading *loading, struct slice line, struct slice pattern)
{
    const struct config_disk *disk = loading->source->disk;
    char *path = NULL;
    config_replace_text(&path, pattern);
    int result = disk->expand(disk->context, path, load_included, loading);
    mem_free(path);
    return result == 0 || (result != -ECANCELED && fail(loading, line, "include: cannot be read"));
}

static void add_rename(struct loading *loading, struct slice line, const struct slice *words)
{
    struct config_rename *rename = mem_zalloc(sizeof(*rename));
    config_replace_text(&rename->old_name, words[1]);
    config_replace_text(&rename->new_name, words[2]);
    config_replace_text(&rename->line, line);
    rename->line_number = loading->line_number;
    *loading->source->renames_end = rename;
    loading->source->renames_end = &rename->next;
}

/* Repeated save lines add to each other; the first of a configuration replaces the default. */
static const char *load_save(struct loading *loading, const struct directive *directive,
                             const struct slice *words, unsigned count)
{
    struct config *config = loading->config;
    bool is_reset = !loading->source->has_save || (count == 1 && words[0].len == 0);
    char *before = NULL;
    config_replace_text(&before, slice_from_text(config->save));
    const char *error = config_set(config, directive, words, count);
    loading->source->has_save = true;
    if (error == NULL && !is_reset && before[0] != '\0') {
        struct buf joined;
        buf_init(&joined);
        buf_printf(&joined, "%s %s", before, config->save);
        config_replace_text(&config->save, buf_slice(&joined));
        buf_deinit(&joined);
    }
    mem_free(before);
    return error;
}

/* A list may be given as one word: save "3600 1 300 100". */
static unsigned split_list(struct slice list, struct slice *words, unsigned words_max)
{
    unsigned count = 0;
    while (list.len > 0 && count < words_max) {
        const char *blank = memchr(list.data, ' ', list.len);
        size_t len = blank == NULL ? list.len : (size_t)(blank - list.data);
        if (len > 0) {
            words[count++] = slice_part(list, 0, len);
        }
        list = slice_part(list, blank == NULL ? len : len + 1, list.len);
    }
    return count;
}

static const char *load_value(struct loading *loading, const struct directive *directive,
                              const struct slice *words, unsigned count)
{
    struct slice parts[CONFIG_WORDS_PER_LINE_MAX];
    if (count == 1 && (directive->flags & CONFIG_MANY) != 0 && words[0].len > 0) {
        count = split_list(words[0], parts, CONFIG_WORDS_PER_LINE_MAX);
        words = parts;
    }
    if (slice_is(slice_from_text(directive->name), "save")) {
        return load_save(loading, directive, words, count);
    }
    return count == 0 ? "wrong number of arguments"
                      : config_set(loading->config, directive, words, count);
}

static bool load_words(struct loading *loading, struct slice line, const struct slice *words,
                       unsigned count)
{
    if (slice_is(words[0], "include") && count == 2) {
        return load_include(loading, line, words[1]);
    }
    if (slice_is(words[0], "rename-command") && count == 3) {
        add_rename(loading, line, words);
        return true;
    }
    const struct directive *directive = config_find(words[0]);
    if (directive == NULL) {
        return fail(loading, line, "Bad directive or wrong number of arguments");
    }
    const char *error = load_value(loading, directive, words + 1, count - 1);
    if (error == NULL && (directive->effects & CONFIG_TO_DIR) != 0) {
        const struct config_disk *disk = loading->source->disk;
        int result = disk->find_folder(disk->context, loading->config->dir);
        error = result < 0 ? strerror(-result) : NULL; /* It is entered later. */
    }
    return error == NULL || fail(loading, line, error);
}

static struct slice trimmed(struct slice line)
{
    while (line.len > 0 && strchr(" \t\r", line.data[0]) != NULL) {
        line = slice_part(line, 1, line.len);
    }
    while (line.len > 0 && strchr(" \t\r", line.data[line.len - 1]) != NULL) {
        line.len--;
    }
    return line;
}

static bool load_line(struct loading *loading, struct slice line, char *scratch)
{
    struct slice words[CONFIG_WORDS_PER_LINE_MAX];
    loading->line_number++;
    if (memchr(line.data, '\0', line.len) != NULL) {
        return fail(loading, line, "the line contains a NUL byte");
    }
    line = trimmed(line);
    if (line.len == 0 || line.data[0] == '#') {
        return true;
    }
    int count = resp_split_line(line, scratch, words, CONFIG_WORDS_PER_LINE_MAX);
    if (count < 0) {
        return fail(loading, line,
                    count == -1 ? "Unbalanced quotes in configuration line" : "Too many words");
    }
    return count == 0 || load_words(loading, line, words, (unsigned)count);
}

static bool load_text(struct loading *loading, struct slice text)
{
    char *scratch = mem_alloc(text.len + 1);
    bool is_good = true;
    while (is_good && text.len > 0) {
        const char *end = memchr(text.data, '\n', text.len);
        size_t len = end == NULL ? text.len : (size_t)(end - text.data);
        is_good = load_line(loading, slice_of(text.data, len), scratch);
        text = slice_part(text, end == NULL ? len : len + 1, text.len);
    }
    mem_free(scratch);
    return is_good;
}

static bool load_file(struct loading *loading, const char *path)
{
    const struct config_disk *disk = loading->source->disk;
    struct buf text;
    buf_init(&text);
    bool is_endless = loading->depth > CONFIG_INCLUDE_DEPTH_MAX ||
                      ++loading->source->file_count > CONFIG_FILES_MAX;
    int error = is_endless ? -ELOOP : disk->read(disk->context, path, &text);
    bool is_good = error == 0;
    if (is_good) {
        loading->line_number = 0;
        is_good = load_text(loading, buf_slice(&text));
    } else {
        buf_printf(&loading->source->error, "Fatal error, can't open config file '%s': %s\n", path,
                   strerror(-error));
    }
    buf_deinit(&text);
    return is_good;
}

/* `--port 7000 --save 60 1` becomes the lines `port "7000"` and `save "60" "1"`. */
static void words_to_lines(char *const *words, int count, struct buf *lines)
{
    for (int i = 0; i < count; i++) {
        if (strncmp(words[i], "--", 2) == 0) {
            buf_printf(lines, "%s%s", lines->len == 0 ? "" : "\n", words[i] + 2);
            continue;
        }
        buf_append_byte(lines, ' ');
        buf_append_quoted(lines, slice_from_text(words[i]));
    }
}

bool config_load(struct config *config, struct config_source *source, const char *file,
                 char *const *words, int word_count)
{
    struct loading loading = {.config = config, .source = source};
    if (file != NULL && !load_file(&loading, file)) {
        return false;
    }
    if (file != NULL && strcmp(file, "-") != 0) {
        char path[PATH_MAX];
        if (realpath(file, path) != NULL) {
            config_replace_text(&source->file, slice_from_text(path));
        }
    }
    struct buf lines;
    buf_init(&lines);
    words_to_lines(words, word_count, &lines);
    loading.line_number = 0;
    bool is_good = load_text(&loading, buf_slice(&lines));
    buf_deinit(&lines);
    return is_good;
}
