/* Sessions: their list, their suspension, and the line that CLIENT LIST prints of each.
 *
 * States:
 *     init -> running -> (suspend -> suspended -> resume -> running)* -> close -> deinit
 *
 * Invariants:
 *  1. A session on exec's list has ops; an internal one has neither.
 *  2. on_cancel is NULL unless SESSION_SUSPENDED is set.
 *  3. The list is in order of ids, for ids only grow and sessions are added at the back. */
#include "exec/session.h"

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "exec/exec_internal.h"
#include "exec/multi.h"

static void hooks_run(const struct exec_hooks *hooks, struct session *session)
{
    for (unsigned i = 0; i < hooks->count; i++) {
        hooks->at[i].fn(hooks->at[i].context, session);
    }
}

static void require_auth(struct session *session)
{
    if (session->exec->auth.is_required && (session->flags & SESSION_INTERNAL) == 0) {
        session->flags |= SESSION_NEEDS_AUTH;
        session->gate_bits |= GATE_AUTH;
    }
}

void session_init(struct session *session, struct exec *exec, struct reply *out,
                  const struct session_ops *ops, uint32_t flags)
{
    ASSERT((ops != NULL) == ((flags & SESSION_INTERNAL) == 0));
    int64_t now_ms = exec->now->wall_ms;
    *session = (struct session){
        .out = out,
        .db = keyspace_db(exec->keyspace, 0),
        .flags = flags,
        .last_active_ms = now_ms,
        .exec = exec,
        .ops = ops,
        .created_ms = now_ms,
        .queued_count = -1,
        .redirect_id = -1,
    };
    out->protocol = 2;
    list_init(&session->link);
    if (ops != NULL) {
        session->id = exec->session_next_id++;
        list_push_back(&exec->sessions, &session->link);
        exec->session_count++;
    }
    require_auth(session);
}

static void cancel(struct session *session)
{
    void (*on_cancel)(struct session *, void *) = session->on_cancel;
    session->on_cancel = NULL;
    session->on_unblock = NULL;
    session->flags &= ~(uint32_t)(SESSION_SUSPENDED | SESSION_PAUSED | SESSION_HELD |
                                  SESSION_AWAITS_ROOM | SESSION_REPLY_DUE);
    if (on_cancel != NULL) {
        on_cancel(session, session->cancel_context);
    }
}

void session_deinit(struct session *session)
{
    cancel(session);
    multi_end(session);
    hooks_run(&session->exec->close_hooks, session);
    if (list_is_linked(&session->link)) {
        exec_forget_session(session->exec, session);
    }
    mem_free(session->name);
    mem_free(session->lib_name);
    mem_free(session->lib_version);
    mem_free(session->user);
    session->name = session->lib_name = session->lib_version = session->user = NULL;
}

void session_suspend(struct session *session, void (*on_cancel)(struct session *, void *),
                     void *context)
{
    ASSERT((session->flags & SESSION_SUSPENDED) == 0);
    session->flags |= SESSION_SUSPENDED;
    session->on_cancel = on_cancel;
    session->cancel_context = context;
}

void session_reply_moved(struct session *session)
{
    uint32_t flags = session->flags;
    flags &= ~(uint32_t)(SESSION_REPLY_SKIP | SESSION_REPLY_SKIP_NEXT | SESSION_REPLY_DUE);
    if ((session->flags & SESSION_REPLY_SKIP_NEXT) != 0) {
        flags |= SESSION_REPLY_SKIP;
    }
    session->flags = flags;
    session->out->is_muted = (flags & (SESSION_REPLY_OFF | SESSION_REPLY_SKIP)) != 0;
}

void session_resume(struct session *session)
{
    ASSERT((session->flags & SESSION_SUSPENDED) != 0);
    session->flags &= ~(uint32_t)(SESSION_SUSPENDED | SESSION_AWAITS_ROOM);
    session->on_cancel = NULL;
    session->on_unblock = NULL;
    if ((session->flags & SESSION_REPLY_DUE) != 0) {
        session_reply_moved(session);
    }
    if (session->ops != NULL) {
        session->ops->wake(session);
    }
}

struct reply *session_push_begin(struct session *session)
{
    struct exec *exec = session->exec;
    if (session->aside != NULL) {
        return session->aside;
    }
    if (exec_client(exec) != session) {
        session->out->is_muted = false;
        return session->out;
    }
    if ((session->flags & SESSION_PUSHED) == 0) {
        session->flags |= SESSION_PUSHED;
        reply_init(&exec->pushes, session->out->pool);
    }
    exec->pushes.protocol = session->out->protocol;
    return &exec->pushes;
}

static void mute_again(struct session *session)
{
    session->out->is_muted = (session->flags & (SESSION_REPLY_OFF | SESSION_REPLY_SKIP)) != 0;
}

void session_push_end(struct session *session)
{
    if (exec_client(session->exec) != session) {
        mute_again(session);
        if (session->ops != NULL) {
            session->ops->wake(session);
        }
    }
}

void session_push_flush(struct session *session)
{
    session->flags &= ~(uint32_t)SESSION_PUSHED;
    session->out->is_muted = false;
    reply_splice(session->out, &session->exec->pushes);
    mute_again(session);
}

void session_await_room(struct session *session, void (*on_room)(struct session *, void *),
                        size_t memory)
{
    ASSERT((session->flags & SESSION_SUSPENDED) != 0);
    session->flags |= SESSION_AWAITS_ROOM;
    session->on_room = on_room;
    session->out->room_memory = (uint32_t)memory;
}

void session_forget_room(struct session *session)
{
    session->flags &= ~(uint32_t)SESSION_AWAITS_ROOM;
}

void session_close(struct session *session, bool after_replies)
{
    uint32_t flag = after_replies ? SESSION_CLOSE_AFTER_REPLY : SESSION_CLOSE_NOW;
    if ((session->flags & (flag | SESSION_CLOSE_NOW)) != 0) {
        return;
    }
    session->flags |= flag;
    if (session->ops != NULL) {
        session->ops->close(session, after_replies);
    }
}

void session_reset(struct session *session)
{
    const uint32_t kept = SESSION_CLOSE_AFTER_REPLY | SESSION_CLOSE_NOW | SESSION_UNIX_SOCKET |
                          SESSION_LOCAL | SESSION_INTERNAL | SESSION_PRIMARY | SESSION_REPLICA |
                          SESSION_PROTECTED | SESSION_SUSPENDED | SESSION_PUSHED;
    multi_end(session);
    hooks_run(&session->exec->reset_hooks, session);
    session->flags &= kept;
    session->gate_bits &= ~(uint32_t)(GATE_AUTH | GATE_ACCESS | GATE_PUBSUB | GATE_MULTI);
    session->db = keyspace_db(session->exec->keyspace, 0);
    session->out->protocol = 2;
    session->out->is_muted = false;
    session_set_text(&session->name, slice_from_text(""));
    session_set_text(&session->user, slice_from_text(""));
    require_auth(session);
}

void session_authenticate(struct session *session, struct slice user)
{
    bool is_default = slice_equal(user, slice_from_text("default"));
    session_set_text(&session->user, is_default ? slice_from_text("") : user);
    session->flags &= ~(uint32_t)SESSION_NEEDS_AUTH;
    session->gate_bits &= ~(uint32_t)GATE_AUTH;
}

void session_set_text(char **field, struct slice text)
{
    mem_free(*field);
    *field = NULL;
    if (text.len != 0) {
        *field = mem_alloc(text.len + 1);
        memcpy(*field, text.data, text.len);
        (*field)[text.len] = '\0';
    }
}

enum session_kind session_kind(const struct session *session)
{
    if ((session->flags & SESSION_PRIMARY) != 0) {
        return SESSION_KIND_PRIMARY;
    }
    if ((session->flags & (SESSION_REPLICA | SESSION_MONITOR)) == SESSION_REPLICA) {
        return SESSION_KIND_REPLICA;
    }
    return session_is_subscribed(session) ? SESSION_KIND_PUBSUB : SESSION_KIND_NORMAL;
}

/* ---- CLIENT LIST ---- */

/* The letters of the flags field, in Redis's order. `out` holds 20 bytes. */
static void flag_letters(const struct session *session, char *out)
{
    static const struct {
        uint32_t flag;
        char letter;
    } letters[] = {
        {SESSION_MONITOR, 'O'},        {SESSION_REPLICA, 'S'},
        {SESSION_PRIMARY, 'M'},        {SESSION_PUBSUB, 'P'},
        {SESSION_MULTI, 'x'},          {SESSION_SUSPENDED, 'b'},
        {SESSION_TRACKING, 't'},       {SESSION_TRACKING_BROKEN, 'R'},
        {SESSION_TRACKING_BCAST, 'B'}, {SESSION_CLOSE_AFTER_REPLY, 'c'},
        {SESSION_CLOSE_NOW, 'A'},      {SESSION_UNIX_SOCKET, 'U'},
        {SESSION_NO_EVICT, 'e'},       {SESSION_NO_TOUCH, 'T'},
    };
    char *at = out;
    for (size_t i = 0; i < sizeof(letters) / sizeof(letters[0]); i++) {
        if ((session->flags & letters[i].flag) != 0) {
            *at++ = letters[i].letter;
        }
    }
    if (at == out) {
        *at++ = 'N';
    }
    *at = '\0';
}

static const char *text_or_empty(const char *text)
{
    return text != NULL ? text : "";
}

void session_describe(struct session *session, int64_t now_ms, struct buf *out)
{
    struct session_view view = {.fd = -1};
    if (session->ops != NULL) {
        session->ops->view(session, &view);
    }
    view.multi_memory = multi_memory(session);
    char flags[20];
    flag_letters(session, flags);
    buf_printf(out, "id=%llu addr=%s laddr=%s fd=%d name=%s age=%lld idle=%lld flags=%s db=%u",
               (unsigned long long)session->id, view.address, view.local_address, view.fd,
               text_or_empty(session->name), (long long)(now_ms - session->created_ms) / 1000,
               (long long)(now_ms - session->last_active_ms) / 1000, flags, db_index(session->db));
    buf_printf(out, " sub=%u psub=%u ssub=%u multi=%d", session->channel_count,
               session->pattern_count, session->shard_channel_count, session->queued_count);
    buf_printf(out, " qbuf=%zu qbuf-free=%zu argv-mem=%zu multi-mem=%zu rbs=%zu rbp=%zu",
               view.query_len, view.query_free, view.argv_memory, view.multi_memory,
               view.reply_buffer, view.reply_buffer_peak);
    buf_printf(out, " obl=%zu oll=%zu omem=%zu tot-mem=%zu events=%s cmd=%s user=%s redir=%lld",
               view.reply_buffer_len, view.reply_list_len, view.reply_list_memory,
               view.total_memory, view.events,
               session->last_command != NULL ? session->last_command->full_name : "NULL",
               session_user(session), (long long)session->redirect_id);
    buf_printf(out, " resp=%u lib-name=%s lib-ver=%s", session->out->protocol,
               text_or_empty(session->lib_name), text_or_empty(session->lib_version));
}
