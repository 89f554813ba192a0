/* The mechanics of the configuration: finding a directive, reading its words into struct config,
 * printing it back, copying the whole. Everything that differs from directive to directive is in
 * the table (config_table.c).
 *
 * Invariants:
 *   1. Texts in struct config are owned and never NULL.
 *   2. Printing a value and setting it again gives the same value.
 *   3. A failed set leaves the value as it was. */
#include "server/config.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/num.h"
#include "persist/rdb_file.h"
#include "resp/parse.h"
#include "server/config_internal.h"

/* Words of a preset or of a CONFIG SET value of a CONFIG_MANY directive. */
enum { CONFIG_WORDS_MAX = 64 };

void config_replace_text(char **field, struct slice text)
{
    char *copy = mem_alloc(text.len + 1);
    if (text.len > 0) {
        memcpy(copy, text.data, text.len);
    }
    copy[text.len] = '\0';
    mem_free(*field);
    *field = copy;
}

unsigned config_row_of(const struct directive *directive)
{
    unsigned count;
    return (unsigned)(directive - config_directives(&count));
}

const struct directive *config_find(struct slice name)
{
    unsigned count;
    const struct directive *rows = config_directives(&count);
    for (unsigned i = 0; i < count; i++) {
        if (slice_is(name, rows[i].name) ||
            (rows[i].alias != NULL && slice_is(name, rows[i].alias))) {
            return &rows[i];
        }
    }
    return NULL;
}

static void *field_of(const struct config *config, const struct directive *directive)
{
    return (char *)(uintptr_t)config + directive->offset;
}

static bool is_stored_text(const struct directive *directive)
{
    return directive->kind == DIRECTIVE_TEXT && directive->inert == NULL;
}

/* ---- Setting --------------------------------------------------------------------------------- */

static const char *parse_bool(struct slice word, int64_t *out)
{
    if (slice_is(word, "yes")) {
        *out = 1;
    } else if (slice_is(word, "no")) {
        *out = 0;
    } else {
        return "argument must be 'yes' or 'no'";
    }
    return NULL;
}

static const char *parse_word(const struct directive *directive, struct slice word, int64_t *out,
                              char *room)
{
    int at = snprintf(room, CONFIG_ERROR_LEN, "argument(s) must be one of the following: ");
    for (const struct config_word *choice = directive->words; choice->name != NULL; choice++) {
        if (slice_is(word, choice->name)) {
            *out = choice->value;
            return NULL;
        }
        at += snprintf(room + at, (size_t)(CONFIG_ERROR_LEN - at), "%s%s", choice->name,
                       choice[1].name == NULL ? "" : ", ");
    }
    return room;
}

static bool parse_octal(struct slice word, int64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < word.len; i++) {
        if (word.data[i] < '0' || word.data[i] > '7' || i > 6) {
            return false;
        }
        *out = *out * 8 + (word.data[i] - '0');
    }
    return word.len > 0;
}

static const char *parse_number(const struct directive *directive, struct slice word, int64_t *out,
                                char *room)
{
    bool is_octal = (directive->flags & CONFIG_OCTAL) != 0;
    bool is_beyond = false;
    if (directive->kind == DIRECTIVE_MEMORY) {
        uint64_t bytes;
        if (!num_parse_memory(word, &bytes)) {
            return "argument must be a memory value";
        }
        is_beyond = bytes > INT64_MAX;
        *out = (int64_t)bytes;
    } else if (is_octal) {
        if (!parse_octal(word, out)) {
            return "argument couldn't be parsed as an octal number";
        }
    } else if (!num_parse_i64(word, out)) {
        return "argument couldn't be parsed into an integer";
    }
    if (is_beyond || *out < directive->min || *out > directive->max) {
        snprintf(room, CONFIG_ERROR_LEN,
                 is_octal ? "argument must be between %llo and %llo inclusive"
                          : "argument must be between %lld and %lld inclusive",
                 (long long)directive->min, (long long)directive->max);
        return room;
    }
    return NULL;
}

/* Reads one word into a number whatever the kind; texts pass. */
static const char *parse_one(const struct directive *directive, struct slice word, int64_t *out,
                             char *room)
{
    switch (directive->kind) {
    case DIRECTIVE_BOOL:
        return parse_bool(word, out);
    case DIRECTIVE_WORD:
        return parse_word(directive, word, out, room);
    case DIRECTIVE_INTEGER:
    case DIRECTIVE_MEMORY:
        return parse_number(directive, word, out, room);
    case DIRECTIVE_TEXT:
    case DIRECTIVE_SPECIAL:
        break;
    }
    return NULL;
}

/* hz is the one number that Redis clamps rather than refuses. */
static void clamp_hz(struct config *config)
{
    config->hz = config->hz < 1 ? 1 : config->hz > 500 ? 500 : config->hz;
}

static void store_number(struct config *config, const struct directive *directive, int64_t number)
{
    if (directive->kind == DIRECTIVE_BOOL) {
        *(bool *)field_of(config, directive) = number != 0;
        return;
    }
    *(int64_t *)field_of(config, directive) = number;
    clamp_hz(config);
}

static void print_number(const struct directive *directive, int64_t number, struct buf *out)
{
    if (directive->kind == DIRECTIVE_BOOL) {
        buf_append_text(out, number != 0 ? "yes" : "no");
        return;
    }
    if (directive->kind == DIRECTIVE_WORD) {
        for (const struct config_word *choice = directive->words; choice->name != NULL; choice++) {
            if (choice->value == number) {
                buf_append_text(out, choice->name);
                return;
            }
        }
    }
    buf_printf(out, (directive->flags & CONFIG_OCTAL) != 0 ? "%llo" : "%lld", (long long)number);
}

/* An inert directive keeps what was said as text, in the form CONFIG GET prints. */
static void store_inert(struct config *config, const struct directive *directive, struct slice word,
                        int64_t number)
{
    char **text = &config->inert[config_row_of(directive)];
    if (directive->kind == DIRECTIVE_TEXT) {
        config_replace_text(text, word);
        return;
    }
    struct buf printed;
    buf_init(&printed);
    print_number(directive, number, &printed);
    config_replace_text(text, buf_slice(&printed));
    buf_deinit(&printed);
}

static bool is_preset(const struct directive *directive, int64_t number, struct slice word)
{
    char room[CONFIG_ERROR_LEN];
    int64_t preset = 0;
    struct slice standard = slice_from_text(directive->preset);
    if (directive->kind == DIRECTIVE_TEXT) {
        return slice_equal(word, standard);
    }
    return parse_one(directive, standard, &preset, room) == NULL && preset == number;
}

/* Why a word is no name for a file within `dir`, or NULL. The snapshot must not be called like what
 * becomes the snapshot: it would be written in place. */
static const char *refuse_file_name(struct slice word)
{
    char name[RDB_NAME_MAX];
    if (memchr(word.data, '/', word.len) != NULL || memchr(word.data, '\\', word.len) != NULL) {
        return "can't be a path, just a filename";
    }
    snprintf(name, sizeof(name), "%.*s", (int)slice_part(word, 0, sizeof(name)).len, word.data);
    return rdb_file_temp_owner(name) == (long)getpid()
               ? "can't be the name of a temporary file of this process"
               : NULL;
}

const char *config_set(struct config *config, const struct directive *directive,
                       const struct slice *words, unsigned count)
{
    const char *error = NULL;
    if (directive->kind == DIRECTIVE_SPECIAL) {
        return directive->set(config, words, count, &error) ? NULL : error;
    }
    if (count != 1) {
        return "wrong number of arguments";
    }
    int64_t number = 0;
    error = parse_one(directive, words[0], &number, config->error_room);
    if (error != NULL) {
        return error;
    }
    if (directive->kind == DIRECTIVE_TEXT && memchr(words[0].data, '\0', words[0].len) != NULL) {
        return "argument contains a NUL byte";
    }
    if ((directive->flags & CONFIG_FILE_NAME) != 0) {
        error = refuse_file_name(words[0]);
    }
    if (error != NULL) {
        snprintf(config->error_room, CONFIG_ERROR_LEN, "%s %s", directive->name, error);
        return config->error_room;
    }
    if ((directive->flags & CONFIG_FIXED) != 0 && !is_preset(directive, number, words[0])) {
        snprintf(config->error_room, CONFIG_ERROR_LEN, "not supported: %s", directive->inert);
        return config->error_room;
    }
    if (directive->inert != NULL) {
        store_inert(config, directive, words[0], number);
    } else if (directive->kind == DIRECTIVE_TEXT) {
        config_replace_text(field_of(config, directive), words[0]);
    } else {
        store_number(config, directive, number);
    }
    return NULL;
}

/* ---- Printing -------------------------------------------------------------------------------- */

void config_get(const struct config *config, const struct directive *directive, struct buf *out)
{
    if (directive->kind == DIRECTIVE_SPECIAL) {
        directive->get(config, out);
    } else if (directive->inert != NULL) {
        buf_append_text(out, config->inert[config_row_of(directive)]);
    } else if (directive->kind == DIRECTIVE_TEXT) {
        buf_append_text(out, *(char *const *)field_of(config, directive));
    } else if (directive->kind == DIRECTIVE_BOOL) {
        print_number(directive, *(const bool *)field_of(config, directive), out);
    } else {
        print_number(directive, *(const int64_t *)field_of(config, directive), out);
    }
}

bool config_is_same(const struct config *a, const struct config *b,
                    const struct directive *directive)
{
    struct buf left, right;
    buf_init(&left);
    buf_init(&right);
    config_get(a, directive, &left);
    config_get(b, directive, &right);
    bool is_same = slice_equal(buf_slice(&left), buf_slice(&right));
    buf_deinit(&left);
    buf_deinit(&right);
    return is_same;
}

/* ---- Whole configurations -------------------------------------------------------------------- */

static void set_preset(struct config *config, const struct directive *directive)
{
    char scratch[256];
    struct slice words[CONFIG_WORDS_MAX];
    struct slice preset = slice_from_text(directive->preset);
    ASSERT(preset.len < sizeof(scratch));
    int count = 1;
    if (directive->kind == DIRECTIVE_SPECIAL) {
        count = resp_split_line(preset, scratch, words, CONFIG_WORDS_MAX);
    }
    if (preset.len == 0 || directive->kind != DIRECTIVE_SPECIAL) {
        words[0] = preset;
        count = 1;
    }
    ASSERT(count >= 0);
    ASSERT(config_set(config, directive, words, (unsigned)count) == NULL);
}

static void own_texts(struct config *config)
{
    unsigned count;
    const struct directive *rows = config_directives(&count);
    for (unsigned i = 0; i < count; i++) {
        if (is_stored_text(&rows[i])) {
            char **text = field_of(config, &rows[i]);
            char *borrowed = *text;
            *text = NULL;
            config_replace_text(text, slice_from_text(borrowed == NULL ? "" : borrowed));
        }
    }
    char **const special[] = {&config->bind, &config->save, &config->replicaof};
    for (size_t i = 0; i < sizeof(special) / sizeof(special[0]); i++) {
        char *borrowed = *special[i];
        *special[i] = NULL;
        config_replace_text(special[i], slice_from_text(borrowed == NULL ? "" : borrowed));
    }
}

struct config *config_new(void)
{
    unsigned count;
    const struct directive *rows = config_directives(&count);
    struct config *config = mem_zalloc(sizeof(*config));
    config->inert = mem_zalloc(count * sizeof(char *));
    own_texts(config);
    for (unsigned i = 0; i < count; i++) {
        set_preset(config, &rows[i]);
    }
    return config;
}

struct config *config_copy(const struct config *config)
{
    unsigned count;
    config_directives(&count);
    struct config *copy = mem_alloc(sizeof(*copy));
    *copy = *config;
    copy->inert = mem_zalloc(count * sizeof(char *));
    for (unsigned i = 0; i < count; i++) {
        if (config->inert[i] != NULL) {
            config_replace_text(&copy->inert[i], slice_from_text(config->inert[i]));
        }
    }
    own_texts(copy);
    return copy;
}

void config_free(struct config *config)
{
    unsigned count;
    const struct directive *rows = config_directives(&count);
    for (unsigned i = 0; i < count; i++) {
        if (is_stored_text(&rows[i])) {
            mem_free(*(char **)field_of(config, &rows[i]));
        }
        mem_free(config->inert[i]);
    }
    mem_free(config->bind);
    mem_free(config->save);
    mem_free(config->replicaof);
    mem_free(config->inert);
    mem_free(config);
}
