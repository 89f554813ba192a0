/* Commands of a connection itself: PING, ECHO, SELECT, AUTH, HELLO, QUIT, RESET. */
#include "commands/commands.h"

#include <limits.h>

#include "exec/exec.h"

#define ERR_WRONG_PASSWORD "WRONGPASS invalid username-password pair or user is disabled."
#define ERR_BAD_NAME "ERR Client names cannot contain spaces, newlines or special characters."

/* PING [message]: in RESP2 subscribed mode the answer looks like a message. */
static void ping_run(struct call *call)
{
    if (call->args.count > 2) {
        call_arity_error(call);
        return;
    }
    bool has_text = call->args.count == 2;
    if ((call->session->flags & SESSION_PUBSUB) != 0 && call->out->protocol == 2) {
        reply_array(call->out, 2);
        reply_bulk_text(call->out, "pong");
        reply_bulk(call->out, has_text ? call->args.at[1] : slice_from_text(""));
    } else if (has_text) {
        reply_bulk(call->out, call->args.at[1]);
    } else {
        reply_status(call->out, "PONG");
    }
}

static void echo_run(struct call *call)
{
    struct blob *blob = call_take_blob(call, 1); /* Long ones go back as they are. */
    if (blob == NULL) {
        reply_bulk(call->out, call->args.at[1]);
        return;
    }
    reply_bulk_blob(call->out, blob, 0, blob->len);
    blob_drop(blob);
}

static void select_run(struct call *call)
{
    int64_t index;
    if (!call_range_i64(call, 1, INT_MIN, INT_MAX, &index, NULL)) {
        return;
    }
    struct keyspace *keyspace = exec_keyspace(call->exec);
    if (index < 0 || index >= (int64_t)keyspace_db_count(keyspace)) {
        reply_error(call->out, "ERR DB index is out of range");
        return;
    }
    call->session->db = keyspace_db(keyspace, (unsigned)index);
    reply_ok(call->out);
}

/* Whether the pair is right; then the session is that user's. */
static bool authenticate(struct call *call, struct slice user, struct slice password)
{
    const struct exec_auth *auth = exec_auth(call->exec);
    bool is_open = !auth->is_required && slice_equal(user, slice_from_text("default"));
    bool is_right = is_open || (auth->check != NULL && auth->check(auth->context, user, password));
    if (is_right) {
        session_authenticate(call->session, user);
    }
    return is_right;
}

/* AUTH [user] password. */
static void auth_run(struct call *call)
{
    if (call->args.count > 3) {
        reply_error(call->out, ERR_SYNTAX);
        return;
    }
    bool has_user = call->args.count == 3;
    if (!has_user && !exec_auth(call->exec)->is_required) {
        reply_error(call->out,
                    "ERR AUTH <password> called without any password configured for the default "
                    "user. Are you sure your configuration is correct?");
        return;
    }
    struct slice user = has_user ? call->args.at[1] : slice_from_text("default");
    if (authenticate(call, user, call->args.at[has_user ? 2 : 1])) {
        reply_ok(call->out);
    } else {
        reply_error(call->out, ERR_WRONG_PASSWORD);
    }
}

/* What HELLO was asked for; indices of arguments, 0 when not given. */
struct hello {
    int64_t protocol;
    uint32_t auth_at, name_at;
};

static bool is_name(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '!' || text.data[i] > '~') {
            return false;
        }
    }
    return true;
}

static bool hello_read(struct call *call, struct hello *hello)
{
    uint32_t count = call->args.count;
    if (count > 1) {
        if (!call_i64(call, 1, &hello->protocol,
                      "ERR Protocol version is not an integer or out of range")) {
            return false;
        }
        if (hello->protocol != 2 && hello->protocol != 3) {
            reply_error(call->out, "NOPROTO unsupported protocol version");
            return false;
        }
    }
    for (uint32_t at = 2; at < count; at++) {
        uint32_t more = count - 1 - at;
        if (call_is(call, at, "AUTH") && more >= 2) {
            hello->auth_at = at + 1;
            at += 2;
        } else if (call_is(call, at, "SETNAME") && more >= 1) {
            hello->name_at = ++at;
            if (!is_name(call->args.at[at])) {
                reply_error(call->out, ERR_BAD_NAME);
                return false;
            }
        } else {
            struct slice option = slice_part(call->args.at[at], 0, INT_MAX);
            reply_errorf(call->out, "ERR Syntax error in HELLO option '%.*s'", (int)option.len,
                         option.data);
            return false;
        }
    }
    return true;
}

static void hello_tell(struct call *call)
{
    const struct connection_family *family = call->family;
    struct reply *out = call->out;
    reply_map(out, 7);
    reply_bulk_text(out, "server");
    reply_bulk_text(out, "redis");
    reply_bulk_text(out, "version");
    reply_bulk_text(out, family->version);
    reply_bulk_text(out, "proto");
    reply_integer(out, out->protocol);
    reply_bulk_text(out, "id");
    reply_integer(out, (int64_t)call->session->id);
    reply_bulk_text(out, "mode");
    reply_bulk_text(out, family->mode);
    reply_bulk_text(out, "role");
    reply_bulk_text(out, family->role);
    reply_bulk_text(out, "modules");
    reply_array(out, 0);
}

/* HELLO [version [AUTH user password] [SETNAME name]]: nothing is changed unless all of it can be.
 */
static void hello_run(struct call *call)
{
    struct hello hello = {0};
    struct session *session = call->session;
    if (!hello_read(call, &hello)) {
        return;
    }
    if (hello.auth_at != 0 &&
        !authenticate(call, call->args.at[hello.auth_at], call->args.at[hello.auth_at + 1])) {
        reply_error(call->out, ERR_WRONG_PASSWORD);
        return;
    }
    if ((session->flags & SESSION_NEEDS_AUTH) != 0) {
        reply_error(call->out,
                    "NOAUTH HELLO must be called with the client already authenticated, otherwise "
                    "the HELLO AUTH <user> <pass> option can be used to authenticate the client "
                    "and select the RESP protocol version at the same time");
        return;
    }
    if (hello.name_at != 0) {
        session_set_text(&session->name, call->args.at[hello.name_at]);
    }
    if (hello.protocol != 0) {
        call->out->protocol = (uint8_t)hello.protocol;
    }
    hello_tell(call);
}

static void quit_run(struct call *call)
{
    reply_ok(call->out);
    session_close(call->session, true);
}

static void reset_run(struct call *call)
{
    enum session_kind kind = session_kind(call->session);
    if (kind == SESSION_KIND_REPLICA || kind == SESSION_KIND_PRIMARY) {
        reply_error(call->out, "ERR can only reset normal connections");
        return;
    }
    session_reset(call->session);
    reply_status(call->out, "RESET");
}

enum {
    HANDSHAKE_FLAGS =
        CMD_NO_SCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST | CMD_NO_AUTH | CMD_ALLOW_BUSY,
};

static const struct command connection_rows[] = {
    {.name = "ping",
     .run = ping_run,
     .arity = -1,
     .flags = CMD_FAST | CMD_REFUSED_WITH_WRITES,
     .categories = ACL_CONNECTION,
     .since = "1.0.0",
     .group = "connection",
     .summary = "Answers, with PONG or with the given message.",
     .complexity = "O(1)",
     .syntax = "[message]",
     .tips = "request_policy:all_shards response_policy:all_succeeded"},
    {.name = "echo",
     .run = echo_run,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE | CMD_FAST,
     .categories = ACL_CONNECTION,
     .since = "1.0.0",
     .group = "connection",
     .summary = "Answers with the given message.",
     .complexity = "O(1)",
     .syntax = "message"},
    {.name = "select",
     .run = select_run,
     .arity = 2,
     .flags = CMD_LOADING | CMD_STALE | CMD_FAST,
     .categories = ACL_CONNECTION,
     .since = "1.0.0",
     .group = "connection",
     .summary = "Chooses the database that this connection works on.",
     .complexity = "O(1)",
     .syntax = "index:integer"},
    {.name = "auth",
     .run = auth_run,
     .arity = -2,
     .flags = HANDSHAKE_FLAGS,
     .categories = ACL_CONNECTION,
     .since = "1.0.0",
     .group = "connection",
     .summary = "Shows who this connection is, by a password.",
     .complexity = "O(N) where N is the number of the user's passwords",
     .syntax = "[username]@6.0.0 password",
     .history = "6.0.0 Takes a user name as well."},
    {.name = "hello",
     .run = hello_run,
     .arity = -1,
     .flags = HANDSHAKE_FLAGS,
     .categories = ACL_CONNECTION,
     .since = "6.0.0",
     .group = "connection",
     .summary = "Chooses the protocol and tells about the server.",
     .complexity = "O(1)",
     .syntax = "[arguments: protover:integer [AUTH (username password)] [SETNAME clientname]]",
     .history = "6.2.0 Without arguments it tells the state of the connection."},
    {.name = "quit",
     .run = quit_run,
     .arity = -1,
     .flags = HANDSHAKE_FLAGS | CMD_NOT_QUEUED,
     .categories = ACL_CONNECTION,
     .since = "1.0.0",
     .group = "connection",
     .summary = "Closes the connection after the replies were sent.",
     .complexity = "O(1)"},
    {.name = "reset",
     .run = reset_run,
     .arity = 1,
     .flags = HANDSHAKE_FLAGS | CMD_NOT_QUEUED,
     .categories = ACL_CONNECTION,
     .since = "6.2.0",
     .group = "connection",
     .summary = "Puts the connection back to the state it began with.",
     .complexity = "O(1)"},
};

void commands_register_connection(struct exec *exec, const struct connection_family *family)
{
    exec_register(exec, connection_rows, sizeof(connection_rows) / sizeof(connection_rows[0]),
                  (void *)(uintptr_t)family);
}
