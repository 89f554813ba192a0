/* Commands that take long and answer later: the session is suspended and a job on the work queue
 * goes on, a slice at a time. */
#pragma once

#include <stdbool.h>

#include "exec/call.h"
#include "exec/exec.h"

/* Microseconds that one slice of a command's job may take. */
enum { LATER_SLICE_US = 40 };

/* Whether the command came straight from a client's connection, so that its reply may come in a
 * later turn. What runs inside EXEC, a script, the log or the link to the primary is answered at
 * once, however long it takes. */
static inline bool call_may_answer_later(const struct call *call)
{
    const struct session *session = call->session;
    return !call->is_inner && session->ops != NULL &&
           (session->flags & (SESSION_INTERNAL | SESSION_PRIMARY)) == 0;
}
