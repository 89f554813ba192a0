/* A small language for the arguments of commands, near to what manuals print, and its parser. From
 * one line beside the handler come the trees that COMMAND DOCS tells:
 *
 *     key value [condition: NX | XX]@2.6.12 [GET]@6.2.0
 *         [expiration: EX seconds:integer | PX milliseconds:integer | KEEPTTL]
 *
 *     list        = item { item }
 *     item        = ( optional | group | argument ) { "..." | "@" since | "!" deprecated }
 *     optional    = "[" body "]"
 *     group       = "(" body ")"
 *     body        = [ heading ] list { "|" list }
 *     heading     = name ":" [ "oneof" | "block" ]
 *     argument    = TOKEN                           a token alone
 *                 | name "=" TOKEN                  the same, named (or in lower case: m=m)
 *                 | [ TOKEN ] name [ ":" type ] [ "#" key spec ]
 *                 | [ TOKEN ] [ heading ] ( group | optional )
 *     type        = string | integer | double | key | pattern | unix-time
 *
 * A TOKEN is a word without lower-case letters, and goes with the name or group that follows it.
 * "@" and "!" stand close behind what they belong to. What is not said is filled in:
 *
 *   - the type is string; but key for the name "key"
 *   - keys take the row's key specs in order (the last one for those beyond); "#n" chooses another
 *   - a token alone is named by its lower case: NX is "nx"
 *   - a body with "|" is a oneof, one with several items a block; a single item without heading is
 *     just that item. Without heading the name is made of the parts: [NX | XX] is "nx_xx"
 *   - a token before the first of several items in a body without heading belongs to their block:
 *     [LIMIT offset:integer count:integer] is an optional block "offset_count" with token LIMIT
 *   - a heading with a type close before a group is that group's; "name:" at the start of a body is
 *     always the body's
 *   - "..." inside brackets repeats the argument, behind them its token also:
 *     [KEYS key ...] is KEYS a b, [GET pattern]... is GET a GET b
 *
 * Layout: nodes in an array, linked by index in reading order; made-up names in one text. A tree
 * takes about 10 KiB on the stack of COMMAND DOCS, and nothing anywhere else: the rows keep one
 * line. Cost O(length), some 2 us for SET.
 *
 * Rejected: trees of designated initializers in each row (SORT alone takes thirty lines, which
 * nobody reads); JSON files and generated C (a second place for each command). */
#include "exec/syntax.h"

#include <ctype.h>
#include <string.h>

static const char *const type_names[SYNTAX_TYPE_COUNT] = {
    "string", "integer", "double", "key", "pattern", "unix-time", "pure-token", "oneof", "block",
};

enum { DEPTH_MAX = 8 };

struct reader {
    struct syntax *syntax;
    const char *text;
    size_t at;
    unsigned key_count; /* Keys without an explicit spec so far. */
    unsigned spec_count;
    unsigned depth;
    bool has_failed;
};

/* One word taken apart. */
struct word {
    struct slice name, type, spec, token, since, deprecated;
    bool is_token;   /* TOKEN or name=TOKEN: `token` is set. */
    bool is_named;   /* name=TOKEN: stands alone always. */
    bool is_heading; /* name: or name:oneof or name:block */
    bool is_repeated;
};

/* A chain of siblings under construction. */
struct chain {
    uint8_t first, last;
    unsigned count;
};

static uint8_t read_body(struct reader *reader, char close);

const char *syntax_type_name(enum syntax_type type)
{
    return type_names[type];
}

static uint8_t fail(struct reader *reader)
{
    if (!reader->has_failed) {
        reader->has_failed = true;
        reader->syntax->error_at = reader->at;
    }
    return SYNTAX_NONE;
}

static struct syntax_node *node_at(struct reader *reader, uint8_t index)
{
    return &reader->syntax->nodes[index];
}

static uint8_t node_new(struct reader *reader, enum syntax_type type)
{
    struct syntax *syntax = reader->syntax;
    if (syntax->node_count == SYNTAX_NODES_MAX) {
        return fail(reader);
    }
    syntax->nodes[syntax->node_count] = (struct syntax_node){
        .type = type, .key_spec = -1, .first_child = SYNTAX_NONE, .next = SYNTAX_NONE};
    return (uint8_t)syntax->node_count++;
}

static void chain_add(struct reader *reader, struct chain *chain, uint8_t node)
{
    if (chain->count++ == 0) {
        chain->first = node;
    } else {
        node_at(reader, chain->last)->next = node;
    }
    chain->last = node;
}

/* ---- Made-up names ---- */

static struct slice text_keep(struct reader *reader, struct slice part)
{
    struct syntax *syntax = reader->syntax;
    if (part.len > SYNTAX_TEXT_MAX - syntax->text_len) {
        (void)fail(reader);
        return slice_from_text("");
    }
    char *start = syntax->text + syntax->text_len;
    for (size_t i = 0; i < part.len; i++) {
        start[i] = (char)tolower((unsigned char)part.data[i]);
    }
    syntax->text_len += part.len;
    return slice_of(start, part.len);
}

/* "offset_count" from the names of a chain. */
static struct slice joined_name(struct reader *reader, const struct chain *chain)
{
    struct syntax *syntax = reader->syntax;
    size_t start = syntax->text_len;
    for (uint8_t at = chain->first; at != SYNTAX_NONE; at = node_at(reader, at)->next) {
        if (at != chain->first) {
            (void)text_keep(reader, slice_from_text("_"));
        }
        (void)text_keep(reader, node_at(reader, at)->name);
    }
    return slice_of(syntax->text + start, syntax->text_len - start);
}

/* ---- Words ---- */

static void skip_space(struct reader *reader)
{
    while (isspace((unsigned char)reader->text[reader->at])) {
        reader->at++;
    }
}

static char peek(struct reader *reader)
{
    skip_space(reader);
    return reader->text[reader->at];
}

static bool is_word_char(char c)
{
    return c != '\0' && !isspace((unsigned char)c) && strchr("[]()|", c) == NULL;
}

static bool has_lower(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (islower((unsigned char)text.data[i])) {
            return true;
        }
    }
    return false;
}

/* Cuts off what follows the last (or first) `mark` after the first byte; an empty slice if none. */
static struct slice cut(struct slice *text, char mark, bool is_last)
{
    for (size_t i = 1; i < text->len; i++) {
        size_t at = is_last ? text->len - i : i;
        if (text->data[at] == mark) {
            struct slice tail = slice_part(*text, at + 1, text->len);
            text->len = at;
            return tail;
        }
    }
    return slice_of(NULL, 0);
}

static bool find_type(struct slice text, enum syntax_type *type)
{
    for (unsigned i = 0; i < SYNTAX_TYPE_COUNT; i++) {
        if (slice_equal(text, slice_from_text(type_names[i]))) {
            *type = (enum syntax_type)i;
            return true;
        }
    }
    return false;
}

/* ":type" at the end, or a lone ":" for a heading. "ip:port" is a name, for port is no type. */
static void cut_type(struct word *word)
{
    struct slice name = word->name;
    struct slice type = cut(&name, ':', true);
    enum syntax_type ignored;
    if (type.data == NULL || (type.len != 0 && !find_type(type, &ignored))) {
        return;
    }
    word->name = name;
    word->type = type;
    word->is_heading = type.len == 0 || slice_is(type, "oneof") || slice_is(type, "block");
}

static struct slice take_word(struct reader *reader)
{
    skip_space(reader);
    size_t start = reader->at;
    while (is_word_char(reader->text[reader->at])) {
        reader->at++;
    }
    return slice_of(reader->text + start, reader->at - start);
}

static struct word read_word(struct reader *reader)
{
    struct word word = {.name = take_word(reader)};
    if (word.name.len > 3 && memcmp(word.name.data + word.name.len - 3, "...", 3) == 0) {
        word.name.len -= 3;
        word.is_repeated = true;
    }
    word.deprecated = cut(&word.name, '!', true);
    word.since = cut(&word.name, '@', true);
    if (word.name.len == 0) {
        (void)fail(reader);
        return word;
    }
    if (!has_lower(word.name)) {
        word.is_token = true;
        word.token = word.name;
        word.name = text_keep(reader, word.name);
        return word;
    }
    word.token = cut(&word.name, '=', false);
    word.is_token = word.is_named = word.token.data != NULL;
    if (!word.is_token) {
        word.spec = cut(&word.name, '#', true);
        cut_type(&word);
    }
    return word;
}

/* Looks at the next word without taking it. */
static bool next_is_heading(struct reader *reader)
{
    struct reader ahead = *reader;
    size_t text_len = reader->syntax->text_len;
    struct word word = {0};
    if (is_word_char(peek(&ahead))) {
        word = read_word(&ahead);
    }
    reader->syntax->text_len = text_len;
    return word.is_heading;
}

/* ---- Items ---- */

static void apply_word(struct reader *reader, uint8_t index, const struct word *word)
{
    struct syntax_node *node = node_at(reader, index);
    node->since = word->since.len != 0 ? word->since : node->since;
    node->deprecated = word->deprecated.len != 0 ? word->deprecated : node->deprecated;
    node->is_multiple |= word->is_repeated;
}

static int default_spec(struct reader *reader)
{
    if (reader->spec_count == 0) {
        return -1;
    }
    unsigned index = reader->key_count++;
    return (int)(index < reader->spec_count ? index : reader->spec_count - 1);
}

/* An argument that a word describes, without a token. */
static uint8_t node_of_word(struct reader *reader, const struct word *word)
{
    enum syntax_type type = SYNTAX_STRING;
    bool is_typed = word->type.len != 0 && find_type(word->type, &type);
    if (!is_typed && slice_equal(word->name, slice_from_text("key"))) {
        type = SYNTAX_KEY;
    }
    uint8_t index = node_new(reader, type);
    if (index == SYNTAX_NONE) {
        return index;
    }
    struct syntax_node *node = node_at(reader, index);
    node->name = word->name;
    if (word->spec.len == 1 && isdigit((unsigned char)word->spec.data[0])) {
        node->key_spec = word->spec.data[0] - '0';
    } else if (type == SYNTAX_KEY) {
        node->key_spec = default_spec(reader);
    }
    apply_word(reader, index, word);
    return index;
}

static uint8_t node_of_token(struct reader *reader, const struct word *word)
{
    uint8_t index = node_new(reader, SYNTAX_PURE_TOKEN);
    if (index != SYNTAX_NONE) {
        node_at(reader, index)->name = word->name;
        node_at(reader, index)->token = word->token;
        apply_word(reader, index, word);
    }
    return index;
}

/* "[...]" or "(...)". */
static uint8_t read_group(struct reader *reader)
{
    char open = peek(reader);
    reader->at++;
    if (++reader->depth > DEPTH_MAX) {
        return fail(reader);
    }
    uint8_t index = read_body(reader, open == '[' ? ']' : ')');
    reader->depth--;
    if (index != SYNTAX_NONE && open == '[') {
        node_at(reader, index)->is_optional = true;
    }
    return index;
}

static bool is_group_next(struct reader *reader)
{
    char next = peek(reader);
    return next == '(' || next == '[';
}

/* A group whose heading stands before it: "name:block (a b)". */
static uint8_t read_headed(struct reader *reader, const struct word *word)
{
    if (!is_group_next(reader)) {
        return fail(reader);
    }
    uint8_t index = read_group(reader);
    if (index == SYNTAX_NONE) {
        return index;
    }
    if (node_at(reader, index)->first_child == SYNTAX_NONE) {
        uint8_t wrapped = node_new(reader, SYNTAX_BLOCK);
        if (wrapped == SYNTAX_NONE) {
            return wrapped;
        }
        node_at(reader, wrapped)->first_child = index;
        index = wrapped;
    }
    node_at(reader, index)->name = word->name;
    if (slice_is(word->type, "oneof")) {
        node_at(reader, index)->type = SYNTAX_ONEOF;
    }
    return index;
}

/* What follows a token and belongs to it; SYNTAX_NONE when it stands alone. */
static uint8_t read_tokened(struct reader *reader, const struct word *token)
{
    char next = peek(reader);
    if (next == '(') {
        return read_group(reader);
    }
    if (!is_word_char(next) || next == '.') {
        return SYNTAX_NONE;
    }
    size_t at = reader->at;
    size_t text_len = reader->syntax->text_len;
    struct word word = read_word(reader);
    if (word.is_token || token->is_repeated) {
        reader->at = at;
        reader->syntax->text_len = text_len;
        return SYNTAX_NONE;
    }
    return word.is_heading ? read_headed(reader, &word) : node_of_word(reader, &word);
}

static uint8_t read_argument(struct reader *reader)
{
    struct word word = read_word(reader);
    if (reader->has_failed) {
        return SYNTAX_NONE;
    }
    if (word.is_heading) {
        return read_headed(reader, &word);
    }
    if (!word.is_token) {
        return node_of_word(reader, &word);
    }
    uint8_t index = word.is_named ? SYNTAX_NONE : read_tokened(reader, &word);
    if (reader->has_failed) {
        return SYNTAX_NONE;
    }
    if (index == SYNTAX_NONE) {
        return node_of_token(reader, &word);
    }
    node_at(reader, index)->token = word.token;
    apply_word(reader, index, &word);
    return index;
}

/* "..." "@6.2.0" "!2.8.12" behind an item. */
static void read_suffixes(struct reader *reader, uint8_t index, bool is_bracket)
{
    for (;;) {
        const char *text = reader->text + reader->at;
        if (*text == '@' || *text == '!') {
            reader->at++;
            struct word word = {0};
            struct slice version = take_word(reader);
            if (version.len > 3 && memcmp(version.data + version.len - 3, "...", 3) == 0) {
                version.len -= 3;
                reader->at -= 3;
            }
            *(*text == '@' ? &word.since : &word.deprecated) = version;
            apply_word(reader, index, &word);
        } else if (strncmp(text + strspn(text, " "), "...", 3) == 0) {
            reader->at += strspn(text, " ") + 3;
            struct syntax_node *node = node_at(reader, index);
            node->is_multiple = true;
            node->is_multiple_token = is_bracket && node->token.data != NULL;
        } else {
            return;
        }
    }
}

static uint8_t read_item(struct reader *reader)
{
    bool is_bracket = peek(reader) == '[';
    uint8_t index = is_group_next(reader) ? read_group(reader) : read_argument(reader);
    if (index != SYNTAX_NONE) {
        read_suffixes(reader, index, is_bracket);
    }
    return index;
}

/* ---- Bodies ---- */

static struct chain read_list(struct reader *reader, char close)
{
    struct chain chain = {.first = SYNTAX_NONE, .last = SYNTAX_NONE};
    while (!reader->has_failed) {
        char next = peek(reader);
        if (next == '|' || next == close) {
            break;
        }
        uint8_t item =
            next == '\0' || next == ']' || next == ')' ? fail(reader) : read_item(reader);
        if (item != SYNTAX_NONE) {
            chain_add(reader, &chain, item);
        }
    }
    if (chain.count == 0) {
        (void)fail(reader);
    }
    return chain;
}

static uint8_t wrap(struct reader *reader, enum syntax_type type, const struct chain *chain,
                    struct slice name)
{
    uint8_t index = node_new(reader, type);
    if (index != SYNTAX_NONE) {
        node_at(reader, index)->first_child = chain->first;
        node_at(reader, index)->name = name;
    }
    return index;
}

/* [LIMIT offset count]: the token moves from the first item to the block. */
static void lift_token(struct reader *reader, uint8_t block, const struct chain *chain)
{
    for (uint8_t at = chain->first; at != SYNTAX_NONE; at = node_at(reader, at)->next) {
        const struct syntax_node *node = node_at(reader, at);
        bool has_token = node->token.data != NULL;
        if (node->type == SYNTAX_PURE_TOKEN || node->is_optional ||
            has_token != (at == chain->first)) {
            return;
        }
    }
    node_at(reader, block)->token = node_at(reader, chain->first)->token;
    node_at(reader, chain->first)->token = slice_of(NULL, 0);
}

/* One alternative without heading: its only item, or a block made of its items. */
static uint8_t alternative_node(struct reader *reader, const struct chain *chain)
{
    if (reader->has_failed || chain->count == 1) {
        return chain->first;
    }
    uint8_t block = wrap(reader, SYNTAX_BLOCK, chain, joined_name(reader, chain));
    if (block != SYNTAX_NONE) {
        lift_token(reader, block, chain);
    }
    return block;
}

static uint8_t read_oneof(struct reader *reader, char close, const struct chain *first,
                          const struct word *heading)
{
    struct chain choices = {.first = SYNTAX_NONE, .last = SYNTAX_NONE};
    chain_add(reader, &choices, alternative_node(reader, first));
    while (!reader->has_failed && peek(reader) == '|') {
        reader->at++;
        struct chain list = read_list(reader, close);
        uint8_t choice = alternative_node(reader, &list);
        if (!reader->has_failed) {
            chain_add(reader, &choices, choice);
        }
    }
    if (reader->has_failed || slice_is(heading->type, "block")) {
        return fail(reader);
    }
    struct slice name = heading->is_heading ? heading->name : joined_name(reader, &choices);
    return wrap(reader, SYNTAX_ONEOF, &choices, name);
}

static uint8_t read_body(struct reader *reader, char close)
{
    struct word heading = {0};
    if (next_is_heading(reader)) {
        size_t at = reader->at;
        heading = read_word(reader);
        if (heading.type.len != 0 && is_group_next(reader)) {
            reader->at = at; /* It is of that group alone, not of this body. */
            heading = (struct word){0};
        }
    }
    struct chain list = read_list(reader, close);
    uint8_t index = SYNTAX_NONE;
    if (reader->has_failed) {
        return index;
    }
    if (peek(reader) == '|') {
        index = read_oneof(reader, close, &list, &heading);
    } else if (heading.is_heading) {
        enum syntax_type type = slice_is(heading.type, "oneof") ? SYNTAX_ONEOF : SYNTAX_BLOCK;
        index = wrap(reader, type, &list, heading.name);
    } else {
        index = alternative_node(reader, &list);
    }
    if (reader->has_failed || peek(reader) != close) {
        return fail(reader);
    }
    reader->at++;
    return index;
}

bool syntax_parse(struct syntax *syntax, const char *text, unsigned key_spec_count)
{
    syntax->node_count = 0;
    syntax->text_len = 0;
    syntax->error_at = 0;
    syntax->first = SYNTAX_NONE;
    struct reader reader = {
        .syntax = syntax, .text = text != NULL ? text : "", .spec_count = key_spec_count};
    if (peek(&reader) == '\0') {
        return true;
    }
    struct chain list = read_list(&reader, '\0');
    syntax->first = list.first;
    return !reader.has_failed && reader.text[reader.at] == '\0';
}
