/* The feed: effects become the bytes of the stream, once for all replicas.
 *
 *     call_effect, call_changed -> exec's unit -> on_command, on_command ... on_end
 *                                                   |                          |
 *                                  SELECT? + RESP into the backlog     EXEC? + backlog_show
 *
 * The stream is what a client would send that did the same: commands in RESP, SELECT where the
 * database changes, MULTI and EXEC around a unit of several. Whether a unit has several commands
 * is known with the second of them, so that MULTI is inserted before the first then; nobody has
 * seen it, for cursors see whole units.
 *
 *     unit of one:    [SELECT] command
 *     of several:     [SELECT] MULTI command [SELECT] command ... EXEC
 *
 * What only newer servers know, the expiry of fields, stands outside of MULTI and EXEC: an older
 * replica passes over a command that it does not know, but would drop the whole transaction that
 * holds one. So a unit may have parts, each enclosed for itself:
 *
 *     MULTI HSET SET EXEC   HPEXPIREAT   MULTI ... EXEC
 *
 * It is switched on while the backlog is open and this server is a primary. Otherwise exec has no
 * sink for commands, and a write pays one test for the possibility. On a replica the stream is the
 * primary's, byte for byte, and apply.c appends it.
 *
 * Costs: a short command is encoded straight into the backlog's block, in one pass; a value that
 * lies in a blob is not copied but lent. */
#include "base/num.h"
#include "repl/repl_internal.h"

#include <string.h>

enum {
    HEAD_MAX = 24, /* "$<20 digits>\r\n" and some. */
};

#define MULTI_TEXT "*1\r\n$5\r\nMULTI\r\n"
#define EXEC_TEXT "*1\r\n$4\r\nEXEC\r\n"

/* ---- Encoding ---- */

/* `kind`, the number, CRLF; at most HEAD_MAX bytes. Returns their end. */
static inline char *put_head(char *at, char kind, size_t number)
{
    *at++ = kind;
    if (number < 10) {
        *at++ = (char)('0' + number);
    } else if (number < 100) {
        *at++ = (char)('0' + number / 10);
        *at++ = (char)('0' + number % 10);
    } else {
        at += num_format_i64(at, (int64_t)number);
    }
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

/* All of a command whose longest form fits into the backlog's room. */
static void encode_short(struct backlog *backlog, const struct effect *effect, size_t len_max)
{
    char *room = backlog_room(backlog, len_max);
    if (room == NULL) {
        return;
    }
    char *at = put_head(room, '*', effect->count);
    for (uint32_t i = 0; i < effect->count; i++) {
        struct slice arg = effect->args[i];
        at = put_head(at, '$', arg.len);
        if (arg.len != 0) {
            memcpy(at, arg.data, arg.len);
            at += arg.len;
        }
        memcpy(at, "\r\n", 2);
        at += 2;
    }
    backlog_advance(backlog, (size_t)(at - room));
}

/* The blob that holds an argument of an effect, with a reference for the caller; or NULL. */
static struct blob *blob_of(const struct effect *effect, struct slice arg)
{
    struct call *call = effect->call;
    if (arg.len < BLOB_LEN_MIN || call == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < call->args.count; i++) {
        if (call->args.at[i].data == arg.data && call->args.at[i].len == arg.len) {
            return call_take_blob(call, i);
        }
    }
    return NULL;
}

static void append_arg(struct backlog *backlog, const struct effect *effect, struct slice arg)
{
    struct blob *blob = blob_of(effect, arg);
    if (blob == NULL) {
        backlog_append(backlog, arg);
        return;
    }
    backlog_append_blob(backlog, blob, (size_t)(arg.data - blob->bytes), arg.len);
    blob_drop(blob);
}

static void encode_long(struct backlog *backlog, const struct effect *effect)
{
    char head[HEAD_MAX];
    backlog_append(backlog, slice_of(head, (size_t)(put_head(head, '*', effect->count) - head)));
    for (uint32_t i = 0; i < effect->count; i++) {
        struct slice arg = effect->args[i];
        backlog_append(backlog, slice_of(head, (size_t)(put_head(head, '$', arg.len) - head)));
        append_arg(backlog, effect, arg);
        backlog_append(backlog, slice_from_text("\r\n"));
    }
}

static void encode(struct backlog *backlog, const struct effect *effect)
{
    size_t len_max = HEAD_MAX;
    for (uint32_t i = 0; i < effect->count && len_max <= BACKLOG_ROOM_MAX; i++) {
        len_max += effect->args[i].len + HEAD_MAX + 2;
    }
    if (len_max <= BACKLOG_ROOM_MAX) {
        encode_short(backlog, effect, len_max);
    } else {
        encode_long(backlog, effect);
    }
}

static void encode_select(struct backlog *backlog, int db)
{
    char digits[NUM_I64_TEXT_MAX + 1];
    struct slice args[] = {slice_from_text("SELECT"), slice_of(digits, num_format_i64(digits, db))};
    encode(backlog, &(struct effect){.args = args, .count = 2});
}

/* ---- The sink ---- */

/* The expiry of fields, which Redis has known since 7.4: HPEXPIREAT, HPERSIST. */
static bool stands_alone(const struct effect *effect)
{
    struct slice name = effect->args[0];
    return name.len >= 8 && (name.data[1] | 0x20) == 'p' &&
           (slice_is(name, "hpexpireat") || slice_is(name, "hpersist"));
}

static void part_end(struct repl *repl)
{
    if (repl->feed.part_count > 1) {
        backlog_append(&repl->backlog, slice_from_text(EXEC_TEXT));
    }
    repl->feed.part_count = 0;
}

static void on_command(void *context, const struct effect *effect)
{
    struct repl *repl = context;
    struct feed *feed = &repl->feed;
    struct backlog *backlog = &repl->backlog;
    int db = (int)db_index(effect->db);
    bool is_alone = stands_alone(effect);
    if (is_alone) {
        part_end(repl);
    } else if (feed->part_count == 1) {
        backlog_insert(backlog, feed->part_at + 1, slice_from_text(MULTI_TEXT));
    }
    if (db != feed->db) {
        encode_select(backlog, db);
        feed->db = db;
    }
    if (feed->part_count == 0) {
        feed->part_at = backlog->written;
    }
    feed->is_in_unit = true;
    feed->part_count += !is_alone;
    encode(backlog, effect);
}

static void on_end(void *context, uint64_t count)
{
    struct repl *repl = context;
    struct feed *feed = &repl->feed;
    (void)count; /* The feed may have been switched on in the middle. */
    if (!feed->is_in_unit) {
        return;
    }
    part_end(repl);
    feed->is_in_unit = false;
    backlog_show(&repl->backlog);
    struct session *session = exec_unit_client(repl->exec);
    if (session != NULL) {
        session->write_offset = backlog_end(&repl->backlog);
    }
}

/* ---- For the rest of the room ---- */

void feed_init(struct repl *repl)
{
    repl->feed.db = -1;
    exec_add_sink(
        repl->exec,
        &(struct effect_sink){.on_end = on_end, .audience = EFFECT_FOR_REPLICAS, .context = repl});
}

void feed_update(struct repl *repl)
{
    struct feed *feed = &repl->feed;
    bool is_on = backlog_is_open(&repl->backlog) && !repl->is_replica;
    if (is_on == feed->is_on) {
        return;
    }
    on_end(repl, 0); /* In the middle of a unit: what there is of it. */
    feed->is_on = is_on;
    feed_forget_db(repl);
    exec_set_command_sink(repl->exec, repl, is_on ? on_command : NULL);
}

void feed_forget_db(struct repl *repl)
{
    repl->feed.db = -1;
}

bool feed_own(struct repl *repl, struct slice encoded)
{
    if (repl->feed.is_in_unit) {
        return false;
    }
    backlog_append(&repl->backlog, encoded);
    backlog_show(&repl->backlog);
    return true;
}
