/* What tests of exec and of the command families share: an exec over a keyspace with four
 * databases, at a time of the test's choosing, and one session whose replies are read back as
 * bytes. */
#pragma once

#include <stdarg.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/mem.h"
#include "exec/exec.h"
#include "tests/unit/test.h"

enum { FIXTURE_ARGS_MAX = 64 };

/* A client with a connection that is not one. */
struct fake_client {
    struct session session;
    struct reply reply;
    int close_count; /* Calls of close. */
    bool is_closed_after_replies;
    int wake_count;
    const char *address;
};

struct fixture {
    struct rng rng;
    struct work_queue work;
    struct clock_now now;
    struct reply_pool pool;
    struct keyspace *keyspace;
    struct exec *exec;
    struct fake_client client; /* The one that `say` speaks for. */
    struct buf text;           /* The last reply. */
};

static inline struct fake_client *fake_of(struct session *session)
{
    return LIST_OWNER(session, struct fake_client, session);
}

static inline void fake_close(struct session *session, bool after_replies)
{
    fake_of(session)->close_count++;
    fake_of(session)->is_closed_after_replies = after_replies;
}

static inline void fake_view(struct session *session, struct session_view *view)
{
    *view = (struct session_view){.fd = 8, .events = "r", .query_len = 26, .query_free = 20448};
    snprintf(view->address, sizeof(view->address), "%s", fake_of(session)->address);
    snprintf(view->local_address, sizeof(view->local_address), "127.0.0.1:6379");
}

static inline void fake_wake(struct session *session)
{
    fake_of(session)->wake_count++;
}

static const struct session_ops fake_ops = {
    .close = fake_close, .view = fake_view, .wake = fake_wake};

static inline void fake_open(struct fixture *fixture, struct fake_client *client,
                             const char *address)
{
    memset(client, 0, sizeof(*client));
    client->address = address;
    reply_init(&client->reply, &fixture->pool);
    session_init(&client->session, fixture->exec, &client->reply, &fake_ops, 0);
}

static inline void fake_shut(struct fake_client *client)
{
    session_deinit(&client->session);
    reply_deinit(&client->reply);
}

static inline void fixture_init(struct fixture *fixture)
{
    memset(fixture, 0, sizeof(*fixture));
    rng_seed(&fixture->rng, 1);
    work_queue_init(&fixture->work);
    reply_pool_init(&fixture->pool);
    buf_init(&fixture->text);
    fixture->now = (struct clock_now){.wall_ms = 1000000, .wall_us = 1000000000, .mono_us = 5000};
    fixture->keyspace = keyspace_new(&(struct keyspace_options){
        .db_count = 4, .hash_seed = 7, .rng = &fixture->rng, .work = &fixture->work});
    fixture->exec = exec_new(&(struct exec_options){.keyspace = fixture->keyspace,
                                                    .work = &fixture->work,
                                                    .rng = &fixture->rng,
                                                    .now = &fixture->now});
    fake_open(fixture, &fixture->client, "127.0.0.1:1000");
}

static inline void fixture_deinit(struct fixture *fixture)
{
    fake_shut(&fixture->client);
    exec_free(fixture->exec);
    work_drain(&fixture->work);
    keyspace_free(fixture->keyspace);
    reply_pool_deinit(&fixture->pool);
    buf_deinit(&fixture->text);
}

/* Appends what was replied to the text. */
static inline void fixture_read_reply(struct fixture *fixture, struct reply *out)
{
    struct iovec parts[16];
    size_t total;
    while (!reply_is_empty(out)) {
        unsigned count = reply_peek(out, parts, 16, &total);
        for (unsigned i = 0; i < count; i++) {
            buf_append(&fixture->text, slice_of(parts[i].iov_base, parts[i].iov_len));
        }
        reply_sent(out, total);
    }
}

/* Takes what a client was answered, as text. */
static inline const char *fixture_take_reply(struct fixture *fixture, struct reply *out)
{
    buf_clear(&fixture->text);
    fixture_read_reply(fixture, out);
    buf_append_byte(&fixture->text, '\0');
    return fixture->text.data;
}

static inline enum exec_result fixture_run(struct fixture *fixture, struct fake_client *client,
                                           struct slice *args, uint32_t count)
{
    struct exec_plan plan;
    exec_plan(fixture->exec, &client->session, args, count, &plan);
    struct exec_ahead ahead = {.count = 0};
    exec_look_ahead(&ahead, &client->session, &plan);
    exec_prefetch(&ahead);
    return exec_run(fixture->exec, &client->session, &plan, NULL);
}

/* Runs the words of `line`, which are separated by single spaces, for a client. */
static inline const char *say_as(struct fixture *fixture, struct fake_client *client,
                                 const char *line)
{
    struct slice args[FIXTURE_ARGS_MAX];
    uint32_t count = 0;
    for (const char *at = line;; at++) {
        size_t len = strcspn(at, " ");
        CHECK(count < FIXTURE_ARGS_MAX);
        args[count++] = slice_of(at, len);
        at += len;
        if (*at == '\0') {
            break;
        }
    }
    if (fixture_run(fixture, client, args, count) == EXEC_LATER) {
        return "(later)";
    }
    return fixture_take_reply(fixture, &client->reply);
}

static inline const char *say(struct fixture *fixture, const char *line)
{
    return say_as(fixture, &fixture->client, line);
}

static inline bool is_text(const char *got, const char *wanted)
{
    if (strcmp(got, wanted) != 0) {
        fprintf(stderr, "got:    %s\nwanted: %s\n", got, wanted);
        return false;
    }
    return true;
}

#define CHECK_SAY(fixture, line, wanted) CHECK(is_text(say(fixture, line), wanted))

/* Runs a line to its end, in slices if it is long. */
static inline const char *say_through(struct fixture *fixture, const char *line)
{
    const char *text = say(fixture, line);
    if ((fixture->client.session.flags & SESSION_SUSPENDED) == 0) {
        return text;
    }
    struct session *session = &fixture->client.session;
    exec_tick(fixture->exec);
    work_drain(&fixture->work);
    buf_clear(&fixture->text);
    while (session_has_room(session) || (session->flags & SESSION_AWAITS_ROOM) != 0) {
        fixture_read_reply(fixture, &fixture->client.reply);
        session->on_room(session, session->cancel_context); /* It has read what there was. */
        work_drain(&fixture->work);
    }
    CHECK((session->flags & SESSION_SUSPENDED) == 0);
    fixture_read_reply(fixture, &fixture->client.reply);
    buf_append_byte(&fixture->text, '\0');
    return fixture->text.data;
}

#define CHECK_THROUGH(fixture, line, wanted) CHECK(is_text(say_through(fixture, line), wanted))
