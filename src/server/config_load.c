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
    CONFIG_FILE_LEN_MAX = 16 * 1024 * 1024,
};

/* One text being read. */
struct loading {
    struct config *config;
    struct config_source *source;
    unsigned depth;
    unsigned line_number;
};

void config_source_init(struct config_source *source)
{
    *source = (struct config_source){0};
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

static bool load_include(struct loading *loading, struct slice line, struct slice pattern)
{
    char *path = NULL;
    config_replace_text(&path, pattern);
    glob_t found;
    int result = glob(path, GLOB_NOMAGIC, NULL, &found);
    bool is_good = result == 0 || result == GLOB_NOMATCH;
    if (result == 0) {
        for (size_t i = 0; is_good && i < found.gl_pathc; i++) {
            struct loading inner = *loading;
            inner.depth++;
            is_good = load_file(&inner, found.gl_pathv[i]);
        }
        globfree(&found);
    } else if (!is_good) {
        is_good = fail(loading, line, "include: cannot be read");
    }
    mem_free(path);
    return is_good;
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

/* Told while the line is at hand; the folder is entered later. */
static const char *missing_folder(const char *path)
{
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return strerror(errno);
    }
    close(fd);
    return NULL;
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
    const char *error;
    if (slice_is(words[0], "save")) {
        error = load_save(loading, directive, words + 1, count - 1);
    } else {
        error = count < 2 ? "wrong number of arguments"
                          : config_set(loading->config, directive, words + 1, count - 1);
    }
    if (error == NULL && (directive->effects & CONFIG_TO_DIR) != 0) {
        error = missing_folder(loading->config->dir);
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

/* Reads a whole file, or negative errno. */
static int read_all(int fd, struct buf *text)
{
    for (;;) {
        ssize_t got = read(fd, buf_reserve(text, 65536), 65536);
        if (got < 0) {
            return -errno;
        }
        if (got == 0) {
            return 0;
        }
        text->len += (size_t)got;
        if (text->len > CONFIG_FILE_LEN_MAX) {
            return -EFBIG;
        }
    }
}

static bool load_file(struct loading *loading, const char *path)
{
    bool is_stdin = strcmp(path, "-") == 0;
    struct buf text;
    buf_init(&text);
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    int error = loading->depth > CONFIG_INCLUDE_DEPTH_MAX ? -ELOOP
                : fd < 0                                  ? -errno
                                                          : read_all(fd, &text);
    if (fd >= 0 && !is_stdin) {
        close(fd);
    }
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

/* `--port 7000 --save 60 1` becomes the lines `port "7000"` and `save "60" "1"`. A value that holds
 * a whole list ("3600 1 300 100") is split as a line is. */
static void words_to_lines(char *const *words, int count, struct buf *lines)
{
    for (int i = 0; i < count; i++) {
        if (strncmp(words[i], "--", 2) == 0) {
            buf_printf(lines, "%s%s", lines->len == 0 ? "" : "\n", words[i] + 2);
            continue;
        }
        buf_append_byte(lines, ' ');
        bool is_list = strchr(words[i], ' ') != NULL && strpbrk(words[i], "\"'\\\n") == NULL;
        if (is_list) {
            buf_append_text(lines, words[i]);
        } else {
            buf_append_quoted(lines, slice_from_text(words[i]));
        }
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
