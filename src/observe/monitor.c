/* MONITOR: sessions that are shown every command as it is executed.
 *
 *     +1339518083.107412 [0 127.0.0.1:60866] "keys" "*"
 *      seconds.micros     db client           arguments, quoted; passwords "(redacted)"
 *
 * The hook in exec is set only while somebody watches, so that nobody pays when nobody does. A line
 * is built once and copied into each watcher's replies. It is shown after the command ran: the
 * watcher's own commands get their reply first, SELECT shows the database selected.
 *
 * Memory. A watcher that does not read is cut off by the output limit of its class (normal, as in
 * Redis). That limit may be off, so there is one here too: a watcher with more than
 * MONITOR_UNREAD_MAX unread is closed. Likewise a line holds at most MONITOR_LINE_MAX bytes of
 * arguments and a remark on the rest.
 *
 * A watcher may use no keys (as Redis has it, for which it counts as a replica): GATE_MONITOR. QUIT
 * and RESET end watching, and so does the close of the session.
 *
 * Invariants:
 *   1. A session has SESSION_MONITOR and GATE_MONITOR exactly while it is in `watchers`.
 *   2. The hook is set exactly while `watchers` is not empty. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "observe/observe_internal.h"

#ifdef OURO_HOSTILE
enum { MONITOR_UNREAD_MAX = 1024 * 1024, MONITOR_LINE_MAX = 256 * 1024 };
#else
enum { MONITOR_UNREAD_MAX = 64 * 1024 * 1024, MONITOR_LINE_MAX = 16 * 1024 * 1024 };
#endif

enum { LINE_KEPT_MAX = 64 * 1024 }; /* Room for lines that is kept from one to the next. */

struct watcher {
    struct list link;
    struct session *session;
};

struct monitor {
    struct exec *exec;
    struct list watchers;
    struct buf line;
    uint64_t shown_id; /* Session whose address is in `address`: most lines repeat it. */
    char address[160];
};

/* ---- Lines ----------------------------------------------------------------------------------- */

/* "127.0.0.1:60866", "unix:/path", or "lua" for commands of scripts. */
static const char *address_of(struct monitor *monitor, struct session *session)
{
    if (session->ops == NULL) {
        return "lua";
    }
    if (monitor->shown_id == session->id) {
        return monitor->address;
    }
    struct session_view view = {.fd = -1};
    session->ops->view(session, &view);
    bool is_unix = (session->flags & SESSION_UNIX_SOCKET) != 0;
    size_t len = strlen(view.address);
    if (is_unix && len > 2 && strcmp(view.address + len - 2, ":0") == 0) {
        view.address[len - 2] = '\0';
    }
    snprintf(monitor->address, sizeof(monitor->address), "%s%s", is_unix ? "unix:" : "",
             view.address);
    monitor->shown_id = session->id;
    return monitor->address;
}

static void append_args(struct buf *line, const struct call *call)
{
    struct redaction redaction = redaction_of(call);
    size_t left = MONITOR_LINE_MAX;
    for (uint32_t i = 0; i < call->args.count; i++) {
        struct slice arg = redaction_apply(&redaction, i);
        struct slice shown = slice_part(arg, 0, left);
        left -= shown.len;
        buf_append_byte(line, ' ');
        buf_append_quoted(line, shown);
        if (shown.len < arg.len) {
            buf_printf(line, "... (%zu more bytes, %u more arguments)", arg.len - shown.len,
                       call->args.count - i - 1);
            return;
        }
    }
}

static void build_line(struct monitor *monitor, struct call *call)
{
    struct buf *line = &monitor->line;
    struct session *session = call->session;
    int64_t now_us = call->now->wall_us;
    buf_clear(line);
    buf_printf(line, "+%" PRId64 ".%06" PRId64 " [%u %s]", now_us / 1000000, now_us % 1000000,
               db_index(session->db), address_of(monitor, session));
    append_args(line, call);
    buf_append_text(line, "\r\n");
}

/* ---- Watchers -------------------------------------------------------------------------------- */

static void show(struct session *session, struct slice line)
{
    if ((session->flags & (SESSION_CLOSE_AFTER_REPLY | SESSION_CLOSE_NOW)) != 0) {
        return;
    }
    reply_raw(session->out, line);
    if (session->out->memory > MONITOR_UNREAD_MAX) {
        log_write(LOG_WARNING, "Closing the MONITOR client with id %" PRIu64 ": it does not read",
                  session->id);
        session_close(session, false);
    } else if (session->ops != NULL) {
        session->ops->wake(session);
    }
}

static void on_command(void *context, struct call *call)
{
    struct monitor *monitor = context;
    build_line(monitor, call);
    for (struct list *node = monitor->watchers.next; node != &monitor->watchers;
         node = node->next) {
        show(LIST_OWNER(node, struct watcher, link)->session, buf_slice(&monitor->line));
    }
    if (monitor->line.cap > LINE_KEPT_MAX) {
        buf_deinit(&monitor->line);
        buf_init(&monitor->line);
    }
}

static void watch(struct monitor *monitor, struct session *session)
{
    struct watcher *watcher = mem_alloc(sizeof(*watcher));
    watcher->session = session;
    list_push_back(&monitor->watchers, &watcher->link);
    session->flags |= SESSION_MONITOR;
    session->gate_bits |= GATE_MONITOR;
    exec_set_monitor_hook(monitor->exec, on_command, monitor);
}

static void unwatch(struct monitor *monitor, struct watcher *watcher)
{
    watcher->session->flags &= ~(uint32_t)SESSION_MONITOR;
    watcher->session->gate_bits &= ~(uint32_t)GATE_MONITOR;
    list_remove(&watcher->link);
    mem_free(watcher);
    if (list_is_empty(&monitor->watchers)) {
        exec_set_monitor_hook(monitor->exec, NULL, NULL);
    }
}

/* A session closes or is reset. */
static void on_session_end(void *context, struct session *session)
{
    struct monitor *monitor = context;
    if ((session->flags & SESSION_MONITOR) == 0) {
        return;
    }
    for (struct list *node = monitor->watchers.next; node != &monitor->watchers;
         node = node->next) {
        struct watcher *watcher = LIST_OWNER(node, struct watcher, link);
        if (watcher->session == session) {
            unwatch(monitor, watcher);
            return;
        }
    }
}

static enum gate_result on_gate(void *context, struct call *call)
{
    (void)context;
    call_refuse(call, "ERR Replica can't interact with the keyspace");
    return GATE_REFUSED;
}

/* ---- Life ------------------------------------------------------------------------------------ */

struct monitor *monitor_new(struct exec *exec)
{
    struct monitor *monitor = mem_zalloc(sizeof(*monitor));
    monitor->exec = exec;
    monitor->shown_id = UINT64_MAX;
    list_init(&monitor->watchers);
    buf_init(&monitor->line);
    exec_add_close_hook(exec, on_session_end, monitor);
    exec_add_reset_hook(exec, on_session_end, monitor);
    exec_set_gate(exec, GATE_MONITOR, on_gate, monitor);
    return monitor;
}

void monitor_free(struct monitor *monitor)
{
    while (!list_is_empty(&monitor->watchers)) {
        unwatch(monitor, LIST_OWNER(monitor->watchers.next, struct watcher, link));
    }
    buf_deinit(&monitor->line);
    mem_free(monitor);
}

/* ---- MONITOR --------------------------------------------------------------------------------- */

static void monitor_run(struct call *call)
{
    struct session *session = call->session;
    if ((session->flags & (SESSION_MULTI | SESSION_INTERNAL)) != 0) {
        reply_error(call->out, "ERR MONITOR isn't allowed for DENY BLOCKING client");
        return;
    }
    if ((session->flags & (SESSION_MONITOR | SESSION_REPLICA)) != 0) {
        return; /* It watches already: like Redis, says nothing. */
    }
    watch(call->family, session);
    reply_ok(call->out);
}

static const struct command monitor_row = {
    .name = "monitor",
    .run = monitor_run,
    .arity = 1,
    .flags = CMD_ADMIN | CMD_NO_SCRIPT | CMD_LOADING | CMD_STALE,
    .since = "1.0.0",
    .group = "server",
    .summary = "Shows every command that the server executes, as it comes.",
};

void monitor_register(struct exec *exec, struct monitor *monitor)
{
    exec_register(exec, &monitor_row, 1, monitor);
}
