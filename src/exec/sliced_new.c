/* A call that is to run in slices gets a struct of its own, and arguments that outlive its input.
 *
 *     its client's parser has kept the command (a long one)    all of them are taken over
 *     an argument is a blob                                    a reference
 *     else                                                     copied behind the struct
 *
 * Nothing here grows with a value that is large, nor with arguments that are many. */
#include "base/mem.h"
#include "exec/sliced_internal.h"

/* Takes references to the arguments that are blobs; `*bytes` is what is left to be copied. */
static bool sliced_take_blobs(struct call *call, struct blob ***blobs, size_t *bytes)
{
    *blobs = NULL;
    *bytes = 0;
    for (uint32_t i = 0; i < call->args.count; i++) {
        struct blob *blob = call_take_blob(call, i);
        if (blob == NULL) {
            *bytes += call->args.at[i].len;
            continue;
        }
        if (*blobs == NULL) {
            *blobs = mem_try_alloc(call->args.count * sizeof(**blobs));
            if (*blobs == NULL) {
                blob_drop(blob);
                return false;
            }
            memset(*blobs, 0, call->args.count * sizeof(**blobs));
        }
        (*blobs)[i] = blob;
    }
    return true;
}

/* The arguments outlive the call's input, copied or as blobs. */
static void sliced_keep_args(struct sliced *sliced)
{
    struct call *call = &sliced->call;
    char *to = (char *)(sliced->args + call->args.count);
    for (uint32_t i = 0; i < call->args.count; i++) {
        struct slice arg = call->args.at[i];
        if (sliced->blobs != NULL && sliced->blobs[i] != NULL) {
            sliced->args[i] = slice_of(sliced->blobs[i]->bytes, arg.len);
            continue;
        }
        sliced->args[i] = slice_of(to, arg.len);
        if (arg.len > 0) {
            memcpy(to, arg.data, arg.len);
        }
        to += arg.len;
    }
    call->args.at = sliced->args;
    call->blobs = sliced->blobs;
    call->parser = NULL;
}

/* A call of many arguments, which its client's parser has kept: it takes all of them over as they
 * are, so that this takes no longer the more they are. */
static struct sliced *sliced_try_take(struct call *call)
{
    struct resp_parser kept;
    struct sliced *sliced = mem_try_alloc(sizeof(*sliced));
    if (sliced == NULL || !resp_parse_move(call->parser, &kept)) {
        mem_free(sliced);
        return NULL;
    }
    *sliced = (struct sliced){.call = *call, .kept = kept, .size = sizeof(*sliced)};
    sliced->call.args = (struct args){.at = kept.args, .count = kept.argc};
    sliced->call.parser = &sliced->kept;
    return sliced;
}

/* The same with copies of the arguments. */
static struct sliced *sliced_try_copy(struct call *call)
{
    struct blob **blobs;
    size_t bytes;
    bool has_blobs = sliced_take_blobs(call, &blobs, &bytes);
    size_t size = sizeof(struct sliced) + call->args.count * sizeof(struct slice) + bytes;
    struct sliced *sliced = has_blobs ? mem_try_alloc(size) : NULL;
    if (sliced == NULL) {
        for (uint32_t i = 0; blobs != NULL && i < call->args.count; i++) {
            if (blobs[i] != NULL) {
                blob_drop(blobs[i]);
            }
        }
        mem_free(blobs);
        return NULL;
    }
    *sliced = (struct sliced){.call = *call, .blobs = blobs, .size = size};
    sliced_keep_args(sliced);
    return sliced;
}

struct sliced *sliced_try_new(struct call *call)
{
    bool is_kept = call->parser != NULL && call->parser->partial != NULL;
    struct sliced *sliced = is_kept ? sliced_try_take(call) : sliced_try_copy(call);
    if (sliced == NULL) {
        return NULL;
    }
    sliced->exec = call->exec;
    sliced->session = call->session;
    sliced->is_caching = (call->session->flags & SESSION_CACHING) != 0;
    list_init(&sliced->job.link);
    list_init(&sliced->link);
    reply_init(&sliced->out, call->out->pool);
    sliced->out.protocol = call->out->protocol;
    sliced->out.is_muted = call->out->is_muted;
    reply_init(&sliced->aside, call->out->pool);
    sliced->aside.protocol = call->out->protocol;
    sliced->call.out = &sliced->out;
    sliced->call.sliced = sliced;
    return sliced;
}
