/* Conditions on what a string holds (IFEQ text, IFNE text, IFDEQ digest, IFDNE digest), and the
 * commands that are about nothing else: DIGEST, DELIFEQ, DELEX. SET has them among its options.
 *
 * A digest is sixteen lower-case hexadecimal digits of the text's XXH3, so that a client can
 * compare what it has with what is there without sending it. Texts of other lengths are not looked
 * at; what is long is compared in slices, a reference held meanwhile, for the key may expire. */
#include "base/pieces.h"
#include "commands/commands.h"
#include "commands/strings.h"
#include "commands/strings_edit.h"
#include "exec/exec.h"
#include "exec/sliced.h"

enum { STRING_DIGEST_LEN = 16 };

/* ---- Conditions ---- */

bool strings_take_condition(const struct call *call, uint32_t *index,
                            struct string_condition *condition)
{
    static const char *const names[] = {
        [CONDITION_EQ] = "IFEQ",
        [CONDITION_NE] = "IFNE",
        [CONDITION_DEQ] = "IFDEQ",
        [CONDITION_DNE] = "IFDNE",
    };
    if (condition->kind != CONDITION_NONE || *index + 1 >= call->args.count) {
        return false;
    }
    for (unsigned kind = CONDITION_EQ; kind <= CONDITION_DNE; kind++) {
        if (call_is(call, *index, names[kind])) {
            condition->kind = (enum string_condition_kind)kind;
            condition->index = ++*index;
            return true;
        }
    }
    return false;
}

bool strings_check_condition(struct call *call, const struct string_condition *condition)
{
    bool is_digest = condition->kind == CONDITION_DEQ || condition->kind == CONDITION_DNE;
    if (is_digest && call->args.at[condition->index].len != STRING_DIGEST_LEN) {
        reply_error(call->out, "ERR must be exactly 16 hexadecimal characters");
        return false;
    }
    return true;
}

static void digest_of(const struct value *value, char out[STRING_DIGEST_LEN])
{
    struct string_scratch scratch;
    uint64_t digest = pieces_hash(0, string_get(value, &scratch));
    for (unsigned i = STRING_DIGEST_LEN; i-- > 0; digest >>= 4) {
        out[i] = "0123456789abcdef"[digest & 15];
    }
}

/* Compares without case, for hexadecimal digits may come in either. */
static bool digest_is(const struct value *value, struct slice text)
{
    char digest[STRING_DIGEST_LEN + 1];
    digest_of(value, digest);
    digest[STRING_DIGEST_LEN] = '\0';
    return slice_is(text, digest);
}

/* Bytes that are to be looked at. */
static size_t condition_effort(const struct call *call, const struct string_condition *condition,
                               const struct value *value)
{
    size_t len = string_len(value);
    bool is_text = condition->kind == CONDITION_EQ || condition->kind == CONDITION_NE;
    return is_text && call->args.at[condition->index].len != len ? 0 : len;
}

bool strings_slice_condition(struct call *call, const struct string_condition *condition,
                             const struct value *value)
{
    return condition->kind != CONDITION_NONE && value != NULL &&
           call_slice(call, condition_effort(call, condition, value) / EDIT_OF_SIZE);
}

static bool condition_holds(const struct call *call, const struct string_condition *condition,
                            const struct value *value)
{
    if (condition->kind == CONDITION_NONE) {
        return true;
    }
    bool is_negated = condition->kind == CONDITION_NE || condition->kind == CONDITION_DNE;
    if (value == NULL) {
        return is_negated;
    }
    struct slice text = call->args.at[condition->index];
    if (condition->kind == CONDITION_DEQ || condition->kind == CONDITION_DNE) {
        return digest_is(value, text) != is_negated;
    }
    struct string_scratch scratch;
    return pieces_equal(string_get(value, &scratch), text) != is_negated;
}

bool strings_place_holds(struct call *call, const struct string_condition *condition,
                         struct place *place)
{
    struct blob *blob = place->value == NULL ? NULL : string_blob(place->value);
    if (call->sliced == NULL || condition->kind == CONDITION_NONE || blob == NULL) {
        return condition_holds(call, condition, place->value);
    }
    blob_share(blob); /* The key may expire meanwhile. */
    call_breathe(call, true);
    bool holds = condition_holds(call, condition, place->value);
    call_breathe(call, false);
    *place = call_peek_place(call, 1, FIND_NO_TOUCH);
    bool is_there = place->value != NULL;
    blob_drop(blob);
    return is_there ? holds : condition_holds(call, condition, NULL);
}

/* ---- Commands ---- */

/* DIGEST key */
static void digest_run(struct call *call)
{
    struct value *value;
    if (!call_find(call, 1, VALUE_STRING, &value)) {
        return;
    }
    if (value == NULL) {
        reply_null(call->out);
        return;
    }
    if (call_slice(call, string_len(value) / EDIT_OF_SIZE)) {
        return;
    }
    char digest[STRING_DIGEST_LEN];
    call_breathe(call, true);
    digest_of(value, digest);
    reply_bulk(call->out, slice_of(digest, STRING_DIGEST_LEN));
}

/* DELIFEQ key value */
static void delifeq_run(struct call *call)
{
    struct place place;
    if (!call_find_place(call, 1, VALUE_STRING, &place)) {
        return;
    }
    struct string_condition condition = {.kind = CONDITION_EQ, .index = 2};
    if (strings_slice_condition(call, &condition, place.value)) {
        return;
    }
    if (!strings_place_holds(call, &condition, &place)) {
        reply_integer(call->out, 0);
        return;
    }
    strings_remove(call, place);
    reply_integer(call->out, 1);
}

/* DELEX key [IFEQ text | IFNE text | IFDEQ digest | IFDNE digest] */
static void delex_run(struct call *call)
{
    struct string_condition condition = {.kind = CONDITION_NONE};
    uint32_t index = 2;
    if (call->args.count > 2 &&
        (!strings_take_condition(call, &index, &condition) || index + 1 != call->args.count)) {
        reply_error(call->out, ERR_SYNTAX);
        return;
    }
    if (!strings_check_condition(call, &condition)) {
        return;
    }
    struct place place = call_peek_place(call, 1, 0);
    bool is_string = place.value == NULL || value_kind(place.value) == VALUE_STRING;
    if (condition.kind != CONDITION_NONE && !is_string) {
        reply_error(call->out, ERR_WRONG_TYPE);
        return;
    }
    if (strings_slice_condition(call, &condition, place.value)) {
        return;
    }
    if (place.value == NULL || !strings_place_holds(call, &condition, &place) ||
        place.value == NULL) {
        reply_integer(call->out, 0);
        return;
    }
    strings_remove(call, place);
    reply_integer(call->out, 1);
}

static const struct command strings_condition_rows[] = {
    {.name = "digest",
     .run = digest_run,
     .arity = 2,
     .flags = CMD_READONLY | CMD_FAST,
     .categories = ACL_STRING,
     .keys = {{.first = 1, .access = KEY_RO, .use = KEY_USE_ACCESS}},
     .since = "8.4.0",
     .group = "string",
     .complexity = "O(N) where N is the length of the string.",
     .summary = "Returns the XXH3 digest of a key's string as 16 hexadecimal digits.",
     .syntax = "key"},
    {.name = "delifeq",
     .run = delifeq_run,
     .arity = 3,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = ACL_STRING,
     .keys = {{.first = 1, .access = KEY_RM, .use = KEY_USE_ACCESS | KEY_USE_DELETE}},
     .since = "9.0.0",
     .group = "string",
     .complexity = "O(1)",
     .summary = "Removes a key if it holds exactly this string.",
     .syntax = "key value"},
    {.name = "delex",
     .run = delex_run,
     .arity = -2,
     .flags = CMD_WRITE | CMD_FAST,
     .categories = ACL_STRING,
     .keys = {{.first = 1, .access = KEY_RM, .use = KEY_USE_ACCESS | KEY_USE_DELETE}},
     .since = "8.4.0",
     .group = "string",
     .complexity = "O(1) for IFEQ and IFNE, O(N) for digests, where N is the string's length.",
     .summary = "Removes a key if what it holds compares as wanted.",
     .syntax = "key [condition: IFEQ ifeq-value | IFNE ifne-value | IFDEQ ifdeq-digest | "
               "IFDNE ifdne-digest]"},
};

void commands_register_strings_condition(struct exec *exec)
{
    exec_register(exec, strings_condition_rows,
                  sizeof(strings_condition_rows) / sizeof(strings_condition_rows[0]), NULL);
}
