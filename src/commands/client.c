/* CLIENT: who is connected, by which name, and what is to become of them. */
#include <limits.h>

#include "base/buf.h"
#include "base/num.h"
#include "commands/commands.h"
#include "exec/exec.h"
#include "exec/sliced.h"

enum {
    LINE_SIZE = 16,        /* Elements of a collection that take as long as a line: about 2 us. */
    SESSIONS_OF_SIZE = 16, /* Sessions that are passed over in the time of an element. */
};

/* ---- Texts of a session ---- */

static bool is_printable(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '!' || text.data[i] > '~') {
            return false;
        }
    }
    return true;
}

static void client_id_run(struct call *call)
{
    reply_integer(call->out, (int64_t)call->session->id);
}

static void client_getname_run(struct call *call)
{
    if (call->session->name != NULL) {
        reply_bulk_text(call->out, call->session->name);
    } else {
        reply_null(call->out);
    }
}

static void client_setname_run(struct call *call)
{
    struct slice name = call->args.at[2];
    if (!is_printable(name)) {
        reply_error(call->out,
                    "ERR Client names cannot contain spaces, newlines or special characters.");
        return;
    }
    session_set_text(&call->session->name, name);
    reply_ok(call->out);
}

/* CLIENT SETINFO LIB-NAME|LIB-VER text: what the client's library is. */
static void client_setinfo_run(struct call *call)
{
    struct slice option = slice_part(call->args.at[2], 0, INT_MAX);
    char **field = NULL;
    if (call_is(call, 2, "lib-name")) {
        field = &call->session->lib_name;
    } else if (call_is(call, 2, "lib-ver")) {
        field = &call->session->lib_version;
    } else {
        reply_errorf(call->out, "ERR Unrecognized option '%.*s'", (int)option.len, option.data);
        return;
    }
    if (!is_printable(call->args.at[3])) {
        reply_errorf(call->out, "ERR %.*s cannot contain spaces, newlines or special characters.",
                     (int)option.len, option.data);
        return;
    }
    session_set_text(field, call->args.at[3]);
    reply_ok(call->out);
}

/* ---- LIST and INFO ---- */

/* Lines about sessions. Ten thousand of them are some megabytes, so they are put where they are
 * sent from, and their length before them at the end. */
struct session_lines {
    struct reply lines;
    struct buf line; /* Of one session. */
    size_t len;
};

static void lines_init(struct call *call, struct session_lines *lines)
{
    reply_init(&lines->lines, call->out->pool);
    buf_init(&lines->line);
    lines->len = 0;
}

static void lines_deinit(struct session_lines *lines)
{
    reply_deinit(&lines->lines);
    buf_deinit(&lines->line);
}

static void lines_add(struct call *call, struct session_lines *lines, struct session *session)
{
    lines->line.len = 0;
    session_describe(session, call->now->wall_ms, &lines->line);
    buf_append_byte(&lines->line, '\n');
    reply_raw(&lines->lines, buf_slice(&lines->line));
    lines->len += lines->line.len;
}

/* All lines are the reply. */
static void lines_reply(struct call *call, struct session_lines *lines)
{
    reply_verbatim_parts(call->out, "txt", &lines->lines, lines->len);
    lines_deinit(lines);
}

static void client_info_run(struct call *call)
{
    struct session_lines lines;
    lines_init(call, &lines);
    lines_add(call, &lines, call->session);
    lines_reply(call, &lines);
}

/* "normal", "master", "replica" (or "slave"), "pubsub". */
static bool read_kind(struct call *call, uint32_t index, enum session_kind *kind)
{
    static const struct {
        const char *name;
        enum session_kind kind;
    } kinds[] = {
        {"normal", SESSION_KIND_NORMAL},   {"master", SESSION_KIND_PRIMARY},
        {"replica", SESSION_KIND_REPLICA}, {"slave", SESSION_KIND_REPLICA},
        {"pubsub", SESSION_KIND_PUBSUB},
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (call_is(call, index, kinds[i].name)) {
            *kind = kinds[i].kind;
            return true;
        }
    }
    struct slice name = slice_part(call->args.at[index], 0, INT_MAX);
    reply_errorf(call->out, "ERR Unknown client type '%.*s'", (int)name.len, name.data);
    return false;
}

static void list_ids(struct call *call)
{
    struct session_lines lines;
    lines_init(call, &lines);
    for (uint32_t at = 3; at < call->args.count; at++) {
        int64_t id;
        if (!call_i64(call, at, &id, "ERR Invalid client ID") || !call_yield(call)) {
            lines_deinit(&lines);
            return;
        }
        struct session *session = exec_session_by_id(call->exec, (uint64_t)id);
        if (session != NULL) {
            lines_add(call, &lines, session);
        }
    }
    lines_reply(call, &lines);
}

/* All sessions, or those of one kind. */
static void list_sessions(struct call *call, const enum session_kind *kind)
{
    struct session_lines lines;
    struct session_walk walk;
    struct session *session;
    bool is_wanted = true;
    lines_init(call, &lines);
    exec_walk_begin(call->exec, &walk);
    while (is_wanted && (session = exec_walk_next(call->exec, &walk)) != NULL) {
        if (kind == NULL || session_kind(session) == *kind) {
            lines_add(call, &lines, session);
        }
        is_wanted = call_yield(call);
    }
    exec_walk_end(&walk);
    if (is_wanted) {
        lines_reply(call, &lines);
    } else {
        lines_deinit(&lines);
    }
}

/* CLIENT LIST [TYPE type] [ID id ...]. */
static void client_list_run(struct call *call)
{
    enum session_kind kind;
    size_t count = exec_session_count(call->exec);
    if (call->args.count == 2) {
        if (!call_slice(call, count * LINE_SIZE)) {
            list_sessions(call, NULL);
        }
    } else if (call->args.count == 4 && call_is(call, 2, "TYPE")) {
        if (read_kind(call, 3, &kind) && !call_slice(call, count * LINE_SIZE)) {
            list_sessions(call, &kind);
        }
    } else if (call->args.count > 3 && call_is(call, 2, "ID")) {
        size_t ids = call->args.count - 3;
        if (!call_slice(call, ids * (LINE_SIZE + count / SESSIONS_OF_SIZE))) {
            list_ids(call);
        }
    } else {
        reply_error(call->out, ERR_SYNTAX);
    }
}

/* ---- KILL ---- */

struct kill_filter {
    struct slice address, local_address, user; /* data NULL: any. */
    enum session_kind kind;
    bool has_kind;
    int64_t id; /* 0: any. */
    bool skips_self;
};

static bool filter_fits(const struct kill_filter *filter, struct session *session)
{
    if (filter->has_kind && session_kind(session) != filter->kind) {
        return false;
    }
    if (filter->id != 0 && session->id != (uint64_t)filter->id) {
        return false;
    }
    if (filter->user.data != NULL &&
        !slice_equal(filter->user, slice_from_text(session_user(session)))) {
        return false;
    }
    if (filter->address.data == NULL && filter->local_address.data == NULL) {
        return true;
    }
    struct session_view view = {0};
    session->ops->view(session, &view);
    return (filter->address.data == NULL ||
            slice_equal(filter->address, slice_from_text(view.address))) &&
           (filter->local_address.data == NULL ||
            slice_equal(filter->local_address, slice_from_text(view.local_address)));
}

static bool has_user(struct call *call, struct slice user)
{
    const struct exec_auth *auth = exec_auth(call->exec);
    return slice_equal(user, slice_from_text("default")) ||
           (auth->has_user != NULL && auth->has_user(auth->context, user));
}

/* One option of the new form, at `at`; its value follows. False: the error is in the reply. */
static bool read_kill_option(struct call *call, uint32_t at, struct kill_filter *filter)
{
    struct slice value = call->args.at[at + 1];
    if (call_is(call, at, "ID")) {
        if (num_parse_i64(value, &filter->id) && filter->id > 0) {
            return true;
        }
        reply_error(call->out, "ERR client-id should be greater than 0");
        return false;
    }
    if (call_is(call, at, "TYPE")) {
        filter->has_kind = true;
        return read_kind(call, at + 1, &filter->kind);
    }
    if (call_is(call, at, "ADDR")) {
        filter->address = value;
    } else if (call_is(call, at, "LADDR")) {
        filter->local_address = value;
    } else if (call_is(call, at, "USER")) {
        filter->user = value;
        if (!has_user(call, value)) {
            struct slice name = slice_part(value, 0, INT_MAX);
            reply_errorf(call->out, "ERR No such user '%.*s'", (int)name.len, name.data);
            return false;
        }
    } else if (call_is(call, at, "SKIPME") && (slice_is(value, "yes") || slice_is(value, "no"))) {
        filter->skips_self = slice_is(value, "yes");
    } else {
        reply_error(call->out, ERR_SYNTAX);
        return false;
    }
    return true;
}

static bool read_kill(struct call *call, struct kill_filter *filter)
{
    uint32_t count = call->args.count;
    if (count == 3) {
        filter->address = call->args.at[2]; /* The old form may hit the caller. */
        return true;
    }
    filter->skips_self = true;
    for (uint32_t at = 2; at < count; at += 2) {
        if (at + 1 >= count) {
            reply_error(call->out, ERR_SYNTAX);
            return false;
        }
        if (!read_kill_option(call, at, filter)) {
            return false;
        }
    }
    return true;
}

/* CLIENT KILL address, or by filters. The caller itself closes after it got its reply. */
static void client_kill_run(struct call *call)
{
    struct kill_filter filter = {0};
    if (!read_kill(call, &filter)) {
        return;
    }
    bool is_self_hit = false;
    int64_t killed = 0;
    struct session_walk walk;
    struct session *session;
    if (call_slice(call, exec_session_count(call->exec))) {
        return;
    }
    exec_walk_begin(call->exec, &walk);
    while ((session = exec_walk_next(call->exec, &walk)) != NULL) {
        bool is_self = session == call->session;
        if (!(is_self && filter.skips_self) && (session->flags & SESSION_CLOSE_NOW) == 0 &&
            filter_fits(&filter, session)) {
            killed++;
            is_self_hit |= is_self;
            if (!is_self) {
                session_close(session, false);
            }
        }
        (void)call_yield(call); /* Should its client leave, the others go all the same. */
    }
    exec_walk_end(&walk);
    if (call->args.count > 3) {
        reply_integer(call->out, killed);
    } else if (killed != 0) {
        reply_ok(call->out);
    } else {
        reply_error(call->out, "ERR No such client");
    }
    if (is_self_hit && call->session->ops != NULL) {
        session_close(call->session, true);
    }
}

/* ---- Modes ---- */

/* ON or OFF sets or clears a session flag. */
static void set_flag(struct call *call, uint32_t flag)
{
    if (call_is(call, 2, "on")) {
        call->session->flags |= flag;
    } else if (call_is(call, 2, "off")) {
        call->session->flags &= ~flag;
    } else {
        reply_error(call->out, ERR_SYNTAX);
        return;
    }
    reply_ok(call->out);
}

static void client_no_evict_run(struct call *call)
{
    set_flag(call, SESSION_NO_EVICT);
}

static void client_no_touch_run(struct call *call)
{
    set_flag(call, SESSION_NO_TOUCH);
}

/* CLIENT REPLY ON|OFF|SKIP: only ON is answered. exec_run moves the flags on after each command. */
static void client_reply_run(struct call *call)
{
    struct session *session = call->session;
    if (call_is(call, 2, "on")) {
        session->flags &= ~(uint32_t)(SESSION_REPLY_OFF | SESSION_REPLY_SKIP);
        call->out->is_muted = false;
        reply_ok(call->out);
    } else if (call_is(call, 2, "off")) {
        session->flags |= SESSION_REPLY_OFF;
        call->out->is_muted = true; /* At once, for it may be one of several in EXEC. */
    } else if (call_is(call, 2, "skip")) {
        session->flags |= SESSION_REPLY_SKIP_NEXT;
    } else {
        reply_error(call->out, ERR_SYNTAX);
    }
}

/* CLIENT PAUSE milliseconds [WRITE|ALL]. */
static void client_pause_run(struct call *call)
{
    enum pause_mode mode = PAUSE_ALL;
    int64_t wait_ms;
    if (call->args.count > 4) {
        call_subcommand_syntax_error(call);
        return;
    }
    if (call->args.count == 4) {
        if (call_is(call, 3, "WRITE")) {
            mode = PAUSE_WRITE;
        } else if (!call_is(call, 3, "ALL")) {
            reply_error(call->out, "ERR CLIENT PAUSE mode must be WRITE or ALL");
            return;
        }
    }
    if (!call_i64(call, 2, &wait_ms, "ERR timeout is not an integer or out of range")) {
        return;
    }
    if (wait_ms < 0) {
        reply_error(call->out, "ERR timeout is negative");
        return;
    }
    if (wait_ms <= INT64_MAX - call->now->wall_ms) {
        exec_pause(call->exec, PAUSE_BY_CLIENT, mode, call->now->wall_ms + wait_ms);
    } /* Else: Redis 7.0 wraps around to the past, where no pause is. */
    reply_ok(call->out);
}

static void client_unpause_run(struct call *call)
{
    exec_unpause(call->exec, PAUSE_BY_CLIENT);
    reply_ok(call->out);
}

/* CLIENT UNBLOCK id [TIMEOUT|ERROR]: 1 when that client was blocked by a command. */
static void client_unblock_run(struct call *call)
{
    bool is_error = false;
    int64_t id;
    if (call->args.count > 4) {
        call_subcommand_syntax_error(call);
        return;
    }
    if (call->args.count == 4) {
        is_error = call_is(call, 3, "error");
        if (!is_error && !call_is(call, 3, "timeout")) {
            reply_error(call->out, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
            return;
        }
    }
    if (!call_i64(call, 2, &id, NULL)) {
        return;
    }
    struct session *session = exec_session_by_id(call->exec, (uint64_t)id);
    bool is_blocked = session != NULL && session->on_unblock != NULL;
    if (is_blocked) {
        session->on_unblock(session, is_error);
    }
    reply_integer(call->out, is_blocked);
}

static void client_help_run(struct call *call)
{
    static const char *const lines[] = {
        "CACHING (YES|NO)",
        "    Says whether what the next command reads is tracked (modes OPTIN and OPTOUT).",
        "GETNAME",
        "    Tells the name of this connection.",
        "GETREDIR",
        "    Tells which client gets this one's tracking messages.",
        "ID",
        "    Tells the id of this connection.",
        "INFO",
        "    Describes this connection in one line.",
        "KILL <ip:port>",
        "    Closes the connection from <ip:port>.",
        "KILL <option> <value> [<option> <value> [...]]",
        "    Closes the connections for which all options hold:",
        "    * ADDR (<ip:port>|<unixsocket>:0)",
        "      It comes from this address.",
        "    * ID <client-id>",
        "      It has this id.",
        "    * LADDR (<ip:port>|<unixsocket>:0)",
        "      It was made to this local address.",
        "    * SKIPME (YES|NO)",
        "      Spare the caller (default: yes).",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
        "      It is of this type.",
        "    * USER <username>",
        "      It is this user's.",
        "LIST [options ...]",
        "    Describes the connections, one to a line. Options:",
        "    * ID <client-id> [...]",
        "      Only these.",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
        "      Only those of this type.",
        "NO-EVICT (ON|OFF)",
        "    Keeps this connection when clients are evicted for their memory.",
        "NO-TOUCH (ON|OFF)",
        "    Leaves the access times of the keys that this connection reads.",
        "PAUSE <timeout> [WRITE|ALL]",
        "    Holds back all commands, or the writing ones, for <timeout> milliseconds.",
        "REPLY (ON|OFF|SKIP)",
        "    Says whether this connection gets replies.",
        "SETINFO (LIB-NAME|LIB-VER) <text>",
        "    Names the library that this connection uses, or its version.",
        "SETNAME <name>",
        "    Names this connection.",
        "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
        "         [OPTIN] [OPTOUT] [NOLOOP]",
        "    Says whether this connection is told when keys that it has read change.",
        "TRACKINGINFO",
        "    Tells the state of tracking for this connection.",
        "UNBLOCK <clientid> [TIMEOUT|ERROR]",
        "    Ends the wait of a client that is blocked by a command.",
        "UNPAUSE",
        "    Ends a pause.",
        NULL,
    };
    call_help(call, lines);
}

enum {
    OPEN_FLAGS = CMD_NO_SCRIPT | CMD_LOADING | CMD_STALE,
    ADMIN_FLAGS = CMD_ADMIN | CMD_NO_SCRIPT | CMD_LOADING | CMD_STALE,
};

#define CLIENT_SYNTAX_TYPES "NORMAL | MASTER | REPLICA | PUBSUB"

static const struct command client_subcommands[] = {
    {.name = "getname",
     .run = client_getname_run,
     .arity = 2,
     .flags = OPEN_FLAGS,
     .categories = ACL_CONNECTION,
     .since = "2.6.9",
     .group = "connection",
     .summary = "Tells the name of the connection.",
     .complexity = "O(1)"},
    {.name = "help",
     .run = client_help_run,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE,
     .categories = ACL_CONNECTION,
     .since = "5.0.0",
     .group = "connection",
     .summary = "Lists the subcommands.",
     .complexity = "O(1)"},
    {.name = "id",
     .run = client_id_run,
     .arity = 2,
     .flags = OPEN_FLAGS,
     .categories = ACL_CONNECTION,
     .since = "5.0.0",
     .group = "connection",
     .summary = "Tells the id of the connection.",
     .complexity = "O(1)"},
    {.name = "info",
     .run = client_info_run,
     .arity = 2,
     .flags = OPEN_FLAGS,
     .categories = ACL_CONNECTION,
     .since = "6.2.0",
     .group = "connection",
     .summary = "Describes the connection.",
     .complexity = "O(1)",
     .tips = "nondeterministic_output"},
    {.name = "kill",
     .run = client_kill_run,
     .arity = -3,
     .flags = ADMIN_FLAGS,
     .categories = ACL_CONNECTION,
     .since = "2.4.0",
     .group = "connection",
     .summary = "Closes connections.",
     .complexity = "O(N) where N is the number of connections",
     .syntax = "(filter: ip:port!2.8.12 | (new-format: [ID client-id:integer]@2.8.12 | "
               "[TYPE (normal_master_slave_pubsub: NORMAL | MASTER@3.2.0 | SLAVE | REPLICA@5.0.0 "
               "| PUBSUB)]@2.8.12 | [USER username] | [ADDR ip:port] | [LADDR ip:port]@6.2.0 | "
               "[SKIPME yes/no])...)",
     .history = "2.8.12 Takes filters.\n2.8.12 Filters by `ID`.\n3.2.0 `TYPE` knows `master`.\n"
                "5.0.0 `TYPE` knows `replica`, another word for `slave`.\n"
                "6.2.0 Filters by `LADDR`."},
    {.name = "list",
     .run = client_list_run,
     .arity = -2,
     .flags = ADMIN_FLAGS,
     .categories = ACL_CONNECTION,
     .since = "2.4.0",
     .group = "connection",
     .summary = "Describes the connections.",
     .complexity = "O(N) where N is the number of connections",
     .syntax = "[TYPE (normal_master_replica_pubsub: " CLIENT_SYNTAX_TYPES ")]@5.0.0 "
               "[ID (id: client-id:integer ...)]@6.2.0",
     .tips = "nondeterministic_output",
     .history = "2.8.12 Shows `id`.\n5.0.0 Filters by `TYPE`.\n6.0.0 Shows `user`.\n"
                "6.2.0 Shows `argv-mem`, `tot-mem`, `laddr` and `redir`; filters by `ID`.\n"
                "7.0.0 Shows `resp`, `multi-mem`, `rbs` and `rbp`.\n7.0.3 Shows `ssub`."},
    {.name = "no-evict",
     .run = client_no_evict_run,
     .arity = 3,
     .flags = ADMIN_FLAGS,
     .categories = ACL_CONNECTION,
     .since = "7.0.0",
     .group = "connection",
     .summary = "Says whether the connection may be evicted for its memory.",
     .complexity = "O(1)",
     .syntax = "(enabled: ON | OFF)"},
    {.name = "no-touch",
     .run = client_no_touch_run,
     .arity = 3,
     .flags = OPEN_FLAGS,
     .categories = ACL_CONNECTION,
     .since = "7.2.0",
     .group = "connection",
     .summary = "Says whether the connection's reads count as use of the keys.",
     .complexity = "O(1)",
     .syntax = "(enabled: ON | OFF)"},
    {.name = "pause",
     .run = client_pause_run,
     .arity = -3,
     .flags = ADMIN_FLAGS | CMD_WHOLE,
     .categories = ACL_CONNECTION,
     .since = "2.9.50",
     .group = "connection",
     .summary = "Holds back commands for a time.",
     .complexity = "O(1)",
     .syntax = "timeout:integer [mode: WRITE | ALL]@6.2.0",
     .history = "6.2.0 Takes a mode, of which `WRITE` is new."},
    {.name = "reply",
     .run = client_reply_run,
     .arity = 3,
     .flags = OPEN_FLAGS,
     .categories = ACL_CONNECTION,
     .since = "3.2.0",
     .group = "connection",
     .summary = "Says whether the connection gets replies.",
     .complexity = "O(1)",
     .syntax = "(ON | OFF | SKIP)"},
    {.name = "setinfo",
     .run = client_setinfo_run,
     .arity = 4,
     .flags = OPEN_FLAGS,
     .categories = ACL_CONNECTION,
     .since = "7.2.0",
     .group = "connection",
     .summary = "Names the library that the connection uses.",
     .complexity = "O(1)",
     .syntax = "(attr: LIB-NAME libname | LIB-VER libver)"},
    {.name = "setname",
     .run = client_setname_run,
     .arity = 3,
     .flags = OPEN_FLAGS,
     .categories = ACL_CONNECTION,
     .since = "2.6.9",
     .group = "connection",
     .summary = "Names the connection.",
     .complexity = "O(1)",
     .syntax = "connection-name"},
    {.name = "unblock",
     .run = client_unblock_run,
     .arity = -3,
     .flags = ADMIN_FLAGS,
     .categories = ACL_CONNECTION,
     .since = "5.0.0",
     .group = "connection",
     .summary = "Ends the wait of a client that is blocked by a command.",
     .complexity = "O(log N) where N is the number of connections",
     .syntax = "client-id:integer [TIMEOUT | ERROR]"},
    {.name = "unpause",
     .run = client_unpause_run,
     .arity = 2,
     .flags = ADMIN_FLAGS,
     .categories = ACL_CONNECTION,
     .since = "6.2.0",
     .group = "connection",
     .summary = "Ends a pause.",
     .complexity = "O(N) where N is the number of connections held back"},
};

static const struct command client_rows[] = {
    {.name = "client",
     .arity = -2,
     .since = "2.4.0",
     .group = "connection",
     .summary = "Commands about connections.",
     .complexity = "Depends on subcommand.",
     .subcommands = client_subcommands,
     .subcommand_count = sizeof(client_subcommands) / sizeof(client_subcommands[0])},
};

void commands_register_client(struct exec *exec)
{
    exec_register(exec, client_rows, sizeof(client_rows) / sizeof(client_rows[0]), NULL);
}
