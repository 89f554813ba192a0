/* Sessions: ids, lists, suspension, reset, and the line of CLIENT LIST. */
#include "exec/session.h"

#include "tests/unit/exec/fixture.h"

static void count_hook(void *context, struct session *session)
{
    (void)session;
    ++*(int *)context;
}

static void count_cancel(struct session *session, void *context)
{
    CHECK((session->flags & SESSION_SUSPENDED) == 0);
    ++*(int *)context;
}

TEST(session, ids_grow_and_the_list_is_in_their_order)
{
    struct fixture fixture;
    struct fake_client a;
    struct fake_client b;
    fixture_init(&fixture);
    fake_open(&fixture, &a, "1.1.1.1:1");
    fake_open(&fixture, &b, "2.2.2.2:2");
    CHECK(fixture.client.session.id == 1 && a.session.id == 2 && b.session.id == 3);
    CHECK(exec_session_count(fixture.exec) == 3);
    CHECK(exec_session_by_id(fixture.exec, 2) == &a.session);
    fake_shut(&a);
    CHECK(exec_session_by_id(fixture.exec, 2) == NULL);
    CHECK(exec_session_count(fixture.exec) == 2);
    fake_shut(&b);
    fixture_deinit(&fixture);
}

TEST(session, internal_ones_are_unlisted_and_need_no_password)
{
    struct fixture fixture;
    struct session session;
    struct reply reply;
    fixture_init(&fixture);
    exec_set_auth(fixture.exec, &(struct exec_auth){.is_required = true});
    reply_init(&reply, &fixture.pool);
    session_init(&session, fixture.exec, &reply, NULL, SESSION_INTERNAL);
    CHECK(exec_session_count(fixture.exec) == 1 && session.gate_bits == 0);
    session_deinit(&session);
    reply_deinit(&reply);
    fixture_deinit(&fixture);
}

TEST(session, closing_while_suspended_cancels_and_runs_hooks)
{
    struct fixture fixture;
    struct fake_client client;
    int closed = 0;
    int cancelled = 0;
    fixture_init(&fixture);
    exec_add_close_hook(fixture.exec, count_hook, &closed);
    fake_open(&fixture, &client, "1.1.1.1:1");
    session_suspend(&client.session, count_cancel, &cancelled);
    session_resume(&client.session);
    CHECK(client.wake_count == 1 && cancelled == 0);
    session_suspend(&client.session, count_cancel, &cancelled);
    fake_shut(&client);
    CHECK(cancelled == 1 && closed == 1);
    fixture_deinit(&fixture);
}

TEST(session, close_is_asked_for_once_but_may_become_immediate)
{
    struct fixture fixture;
    fixture_init(&fixture);
    struct session *session = &fixture.client.session;
    session_close(session, true);
    session_close(session, true);
    CHECK(fixture.client.close_count == 1 && fixture.client.is_closed_after_replies);
    session_close(session, false);
    session_close(session, true);
    CHECK(fixture.client.close_count == 2 && !fixture.client.is_closed_after_replies);
    fixture_deinit(&fixture);
}

TEST(session, reset_forgets_all_but_the_connection)
{
    struct fixture fixture;
    int hooks = 0;
    fixture_init(&fixture);
    exec_add_reset_hook(fixture.exec, count_hook, &hooks);
    struct session *session = &fixture.client.session;
    session_set_text(&session->name, slice_from_text("me"));
    session_set_text(&session->lib_name, slice_from_text("lib"));
    session->flags |= SESSION_NO_EVICT | SESSION_UNIX_SOCKET | SESSION_REPLY_OFF;
    session->db = keyspace_db(fixture.keyspace, 2);
    session->out->protocol = 3;
    session_reset(session);
    CHECK(session->name == NULL && session->lib_name != NULL && hooks == 1);
    CHECK(session->flags == SESSION_UNIX_SOCKET && db_index(session->db) == 0);
    CHECK(session->out->protocol == 2 && !session->out->is_muted);
    fixture_deinit(&fixture);
}

TEST(session, description_is_a_line_of_client_list)
{
    struct fixture fixture;
    struct buf text;
    fixture_init(&fixture);
    buf_init(&text);
    struct session *session = &fixture.client.session;
    session_set_text(&session->name, slice_from_text("me"));
    session_set_text(&session->lib_name, slice_from_text("lib"));
    session->flags |= SESSION_NO_EVICT | SESSION_MULTI;
    session->queued_count = 2;
    session_describe(session, 1000000 + 7900, &text);
    buf_append_byte(&text, '\0');
    CHECK(is_text(text.data,
                  "id=1 addr=127.0.0.1:1000 laddr=127.0.0.1:6379 fd=8 name=me age=7 idle=7 "
                  "flags=xe db=0 sub=0 psub=0 ssub=0 multi=2 qbuf=26 qbuf-free=20448 argv-mem=0 "
                  "multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd=NULL "
                  "user=default redir=-1 resp=2 lib-name=lib lib-ver="));
    buf_deinit(&text);
    fixture_deinit(&fixture);
}

TEST(session, a_walk_goes_on_when_sessions_go_and_ends_before_those_that_came)
{
    enum { COUNT = 5 };
    struct fixture fixture;
    struct fake_client clients[COUNT + 1];
    struct session_walk walk, other;
    fixture_init(&fixture);
    for (int i = 0; i < COUNT; i++) {
        fake_open(&fixture, &clients[i], "127.0.0.1:2000");
    }
    exec_walk_begin(fixture.exec, &walk);
    exec_walk_begin(fixture.exec, &other);
    CHECK(exec_walk_next(fixture.exec, &walk) == &fixture.client.session);
    CHECK(exec_walk_next(fixture.exec, &walk) == &clients[0].session);
    fake_shut(&clients[0]);
    fake_shut(&clients[1]);
    fake_shut(&clients[2]);
    CHECK(exec_walk_next(fixture.exec, &walk) == &clients[3].session);
    fake_open(&fixture, &clients[COUNT], "127.0.0.1:2000");
    fake_shut(&clients[4]);
    CHECK(exec_walk_next(fixture.exec, &walk) == NULL);
    exec_walk_end(&walk);
    CHECK(exec_walk_next(fixture.exec, &other) == &fixture.client.session);
    fake_shut(&clients[3]);
    fake_shut(&clients[COUNT]);
    CHECK(exec_walk_next(fixture.exec, &other) == NULL);
    exec_walk_end(&other);
    fixture_deinit(&fixture);
}

TEST(session, kinds)
{
    struct session session = {0};
    CHECK(session_kind(&session) == SESSION_KIND_NORMAL);
    session.pattern_count = 1;
    CHECK(session_kind(&session) == SESSION_KIND_PUBSUB);
    session.flags = SESSION_REPLICA;
    CHECK(session_kind(&session) == SESSION_KIND_REPLICA);
    session.flags = SESSION_PRIMARY;
    CHECK(session_kind(&session) == SESSION_KIND_PRIMARY);
}
