/* Elements from list to list, and from the first list that has some: LMOVE, RPOPLPUSH, LMPOP.
 *
 * A move pushes first and pops then, so that a lack of memory changes nothing. An element that is a
 * blob changes hands without a copy. */
#include "commands/commands.h"
#include "commands/lists.h"
#include "exec/block.h"

/* ---- LMOVE ---- */

/* The element, held for the time of the move: in `bytes`, or by a reference to its blob. */
struct moved {
    struct slice text;
    struct blob *blob;
    char bytes[LIST_INLINE_MAX];
};

static void moved_take(struct moved *moved, const struct list_item *item)
{
    moved->blob = item->blob;
    if (item->blob != NULL) {
        moved->text = blob_slice(item->blob);
        blob_share(item->blob);
        return;
    }
    struct list_scratch scratch;
    struct slice text = list_item_text(item, &scratch);
    if (text.len > 0) {
        memcpy(moved->bytes, text.data, text.len);
    }
    moved->text = slice_of(moved->bytes, text.len);
}

static bool move_push(struct call *call, enum list_end end, const struct moved *moved)
{
    struct place place = call_peek_place(call, 2, 0);
    if (place.value != NULL) {
        return list_try_push(&place, end, moved->text, moved->blob, lists_limits(call));
    }
    place.value = list_try_new(call->args.at[2], false);
    if (place.value == NULL) {
        return false;
    }
    if (!list_try_push(&place, end, moved->text, moved->blob, lists_limits(call))) {
        value_free(place.value, exec_work(call->exec));
        return false;
    }
    db_insert(call->db, call_hash(call, 2), place.value);
    return true;
}

bool lists_move(struct call *call, struct lists_move move)
{
    struct place place;
    if (!call_find_place(call, 1, VALUE_LIST, &place)) {
        return true;
    }
    if (place.value == NULL) {
        return false;
    }
    const struct value *value = call_peek(call, 2, FIND_NO_TOUCH);
    if (value != NULL && value_kind(value) != VALUE_LIST) {
        reply_error(call->out, ERR_WRONG_TYPE);
        return true;
    }
    bool is_same = slice_equal(call->args.at[1], call->args.at[2]);
    struct moved moved;
    place = call_peek_place(call, 1, FIND_NO_TOUCH);
    size_t len = list_len(place.value);
    struct list_item item = list_get(place.value, move.from == LIST_HEAD ? 0 : len - 1);
    moved_take(&moved, &item);
    if (!move_push(call, move.to, &moved)) {
        if (moved.blob != NULL) {
            blob_drop(moved.blob);
        }
        reply_error(call->out, ERR_NO_MEMORY);
        return true;
    }
    place = call_peek_place(call, 1, FIND_NO_TOUCH);
    /* Within one list and at one end this takes the copy, which is as good. */
    item = list_get(place.value, move.from == LIST_HEAD ? 0 : list_len(place.value) - 1);
    lists_reply(call->out, &item);
    list_drop(&place, move.from, 1, exec_work(call->exec));
    call_changed(call, 2, lists_push_event(move.to));
    if (is_same) {
        call_event(call, call->db, call->args.at[1], lists_pop_event(move.from));
    } else {
        lists_shrunk(call, 1, place, lists_pop_event(move.from));
    }
    return true;
}

static void move_or_nothing(struct call *call, struct lists_move move)
{
    if (!lists_move(call, move)) {
        reply_null(call->out);
    }
}

/* LMOVE source destination LEFT|RIGHT LEFT|RIGHT */
static void lmove_run(struct call *call)
{
    struct lists_move move;
    if (lists_end(call, 3, &move.from) && lists_end(call, 4, &move.to)) {
        move_or_nothing(call, move);
    }
}

/* RPOPLPUSH source destination */
static void rpoplpush_run(struct call *call)
{
    move_or_nothing(call, (struct lists_move){.from = LIST_TAIL, .to = LIST_HEAD});
}

/* ---- LMPOP ---- */

bool lists_mpop_parse(struct call *call, uint32_t at, struct lists_mpop *mpop)
{
    int64_t key_count;
    mpop->count = -1;
    if (!call_range_i64(call, at, 1, INT64_MAX, &key_count,
                        "ERR numkeys should be greater than 0")) {
        return false;
    }
    if (key_count >= (int64_t)(call->args.count - at) - 1) {
        reply_error(call->out, ERR_SYNTAX);
        return false;
    }
    mpop->first_key = at + 1;
    mpop->key_count = (uint32_t)key_count;
    uint32_t where = mpop->first_key + mpop->key_count;
    if (!lists_end(call, where, &mpop->end)) {
        return false;
    }
    for (uint32_t i = where + 1; i < call->args.count; i += 2) {
        if (mpop->count != -1 || !call_is(call, i, "COUNT") || i + 1 >= call->args.count) {
            reply_error(call->out, ERR_SYNTAX);
            return false;
        }
        if (!call_range_i64(call, i + 1, 1, INT64_MAX, &mpop->count,
                            "ERR count should be greater than 0")) {
            return false;
        }
    }
    mpop->count = mpop->count == -1 ? 1 : mpop->count;
    return true;
}

/* What the log and the replicas get: a plain pop of what was there. */
static void mpop_effect(struct call *call, uint32_t key, enum list_end end, size_t count)
{
    if (!call_wants_effects(call)) {
        return;
    }
    char digits[NUM_I64_TEXT_MAX + 1];
    struct slice args[] = {slice_from_text(end == LIST_HEAD ? "LPOP" : "RPOP"), call->args.at[key],
                           slice_of(digits, num_format_i64(digits, (int64_t)count))};
    call_effect(call, args, 3);
}

bool lists_mpop(struct call *call, const struct lists_mpop *mpop)
{
    struct block_keys keys = call_keys_to_try(call, mpop->first_key, mpop->key_count);
    for (uint32_t key = keys.first; key < keys.end; key++) {
        struct place place;
        if (!call_find_place(call, key, VALUE_LIST, &place)) {
            return true;
        }
        if (place.value != NULL) {
            size_t len = list_len(place.value);
            size_t count = (size_t)mpop->count < len ? (size_t)mpop->count : len;
            if (lists_pop_later(call, place, count)) {
                return true;
            }
            reply_array(call->out, 2);
            reply_bulk(call->out, call->args.at[key]);
            lists_pop_many(call, key, place, mpop->end, count);
            mpop_effect(call, key, mpop->end, count);
            return true;
        }
    }
    return false;
}

/* LMPOP numkeys key [key ...] LEFT|RIGHT [COUNT count] */
static void lmpop_run(struct call *call)
{
    struct lists_mpop mpop;
    if (lists_mpop_parse(call, 1, &mpop) && !lists_mpop(call, &mpop)) {
        reply_null_array(call->out);
    }
}

static const struct command lists_move_rows[] = {
    {.name = "lmove",
     .run = lmove_run,
     .arity = 5,
     .flags = CMD_WRITE | CMD_DENY_OOM,
     .categories = ACL_LIST,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_DELETE},
              {.first = 2, .access = KEY_RW, .use = KEY_USE_INSERT}},
     .since = "6.2.0",
     .group = "list",
     .complexity = "O(1)",
     .summary = "Takes an element off one list, adds it to another and returns it.",
     .syntax = "source:key destination:key (wherefrom: LEFT | RIGHT) (whereto: LEFT | RIGHT)"},
    {.name = "rpoplpush",
     .run = rpoplpush_run,
     .arity = 3,
     .flags = CMD_WRITE | CMD_DENY_OOM,
     .categories = ACL_LIST,
     .keys = {{.first = 1, .access = KEY_RW, .use = KEY_USE_ACCESS | KEY_USE_DELETE},
              {.first = 2, .access = KEY_RW, .use = KEY_USE_INSERT}},
     .since = "1.2.0",
     .group = "list",
     .complexity = "O(1)",
     .summary = "Takes the last element off one list, adds it at the head of another and returns "
                "it.",
     .syntax = "source:key destination:key",
     .deprecated = "6.2.0 `LMOVE` with the `RIGHT` and `LEFT` arguments"},
    {.name = "lmpop",
     .run = lmpop_run,
     .arity = -4,
     .flags = CMD_WRITE,
     .categories = ACL_LIST,
     .keys = {{.first = 1,
               .is_counted = true,
               .access = KEY_RW,
               .use = KEY_USE_ACCESS | KEY_USE_DELETE}},
     .since = "7.0.0",
     .group = "list",
     .complexity = "O(N+M) where N is the number of keys and M that of elements returned.",
     .summary = "Takes elements off the first of several lists that has some.",
     .syntax = "numkeys:integer key ... (where: LEFT | RIGHT) [COUNT count:integer]"},
};

void commands_register_lists_move(struct exec *exec, struct type_limits *limits)
{
    exec_register(exec, lists_move_rows, sizeof(lists_move_rows) / sizeof(lists_move_rows[0]),
                  limits);
}
