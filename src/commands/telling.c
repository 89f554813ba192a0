/* Effects of many elements, in commands of a few.
 *
 *     telling_add --gathers--> list of texts --telling_end--> call_tell_begin, VERB key e e e ...
 * (64)
 *            \___________ not in slices, or no memory __________________/
 *
 * Gathered is into a list value: chunks of 8 KiB, so no large piece of memory is moved as it grows,
 * and it is freed in slices. */
#include "commands/telling.h"

#include "exec/exec.h"
#include "exec/sliced.h"
#include "types/list/list.h"

enum { TELLING_BYTES = 64 * 1024 }; /* About as many bytes of one command. */

void telling_begin(struct telling *telling, struct call *call, const char *verb, uint32_t key)
{
    *telling = (struct telling){.call = call, .verb = verb, .key = key};
    buf_init(&telling->texts);
    if (call->sliced != NULL && call_wants_effects(call)) {
        telling->gathered.value = list_try_new(slice_of("", 0), false);
    }
}

static void tell_command(struct telling *telling)
{
    struct slice args[TELLING_ELEMENTS + 2] = {slice_from_text(telling->verb),
                                               telling->call->args.at[telling->key]};
    const char *at = telling->texts.data;
    if (telling->count == 0) {
        return;
    }
    for (uint32_t i = 0; i < telling->count; i++) {
        args[i + 2] = slice_of(at, telling->lens[i]);
        at += telling->lens[i];
    }
    call_effect(telling->call, args, telling->count + 2);
    buf_clear(&telling->texts);
    telling->count = 0;
}

static void tell_text(struct telling *telling, struct slice text)
{
    if (telling->count == TELLING_ELEMENTS || telling->texts.len >= TELLING_BYTES) {
        tell_command(telling);
    }
    buf_append(&telling->texts, text);
    telling->lens[telling->count++] = text.len;
}

void telling_add_list(struct telling *telling, const struct value *list)
{
    struct list_iterator iterator;
    struct list_item item;
    struct list_scratch scratch;
    size_t done = 0;
    if (!call_wants_effects(telling->call)) {
        return;
    }
    call_tell_begin(telling->call);
    list_iterate(list, 0, false, &iterator);
    while (list_next(&iterator, &item)) {
        tell_text(telling, list_item_text(&item, &scratch));
        if (++done % SLICED_STEP == 0) {
            (void)call_yield(telling->call);
        }
    }
}

static void tell_gathered(struct telling *telling)
{
    struct value *gathered = telling->gathered.value;
    telling->gathered.value = NULL;
    telling_add_list(telling, gathered);
    value_free(gathered, exec_work(telling->call->exec));
}

void telling_add(struct telling *telling, struct slice text)
{
    const struct type_limits any = {.list_size = -2};
    if (!call_wants_effects(telling->call)) {
        return;
    }
    if (telling->gathered.value != NULL) {
        if (list_try_push(&telling->gathered, LIST_TAIL, text, NULL, &any)) {
            return;
        }
        tell_gathered(telling);
    }
    tell_text(telling, text);
}

void telling_end(struct telling *telling)
{
    if (telling->gathered.value != NULL) {
        tell_gathered(telling);
    }
    tell_command(telling);
    buf_deinit(&telling->texts);
}
