/* What the commands of scripts and of functions read and answer alike. */
#include "script/script_internal.h"

void script_reply_error(struct call *call, struct buf *error)
{
    buf_append_byte(error, '\0');
    reply_error(call->out, error->data);
}

bool script_read_key_count(struct call *call, const char *no_number, uint32_t *count)
{
    int64_t number;
    if (!call_i64(call, 2, &number, no_number)) {
        return false;
    }
    if (number > (int64_t)call->args.count - 3) {
        reply_error(call->out, "ERR Number of keys can't be greater than number of args");
        return false;
    }
    if (number < 0) {
        reply_error(call->out, "ERR Number of keys can't be negative");
        return false;
    }
    *count = (uint32_t)number;
    return true;
}

bool script_read_flush(struct call *call, const char *error, bool *is_patient)
{
    *is_patient = call->args.count == 2 || !call_is(call, 2, "async");
    if (call->args.count > 3 ||
        (call->args.count == 3 && *is_patient && !call_is(call, 2, "sync"))) {
        reply_error(call->out, error);
        return false;
    }
    return true;
}
