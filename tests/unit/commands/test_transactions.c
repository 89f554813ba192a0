/* Transactions below the wire: what they keep, what they free, what sinks are told of them. */
#include "exec/multi.h"

#include "tests/unit/commands/family.h"

static const char *multi_say(struct family *family, const char *line)
{
    return say_through(&family->fixture, line);
}

FAMILY_TEST(multi, effects_of_one_exec_are_one_unit)
{
    family->record.has_units = true;
    (void)family_say(family, "multi");
    (void)multi_say(family, "set a 1");
    (void)multi_say(family, "get a");
    (void)multi_say(family, "incr a");
    (void)multi_say(family, "expire a 100");
    CHECK(record_is(&family->record.effects, ""));
    (void)multi_say(family, "exec");
    CHECK(record_is(&family->record.effects, "[set a 1;incr a;PEXPIREAT a 1100000]3;"));
    (void)family_say(family, "multi");
    (void)multi_say(family, "set a 1");
    (void)multi_say(family, "exec");
    CHECK(record_is(&family->record.effects, "[set a 1]1;"));
    (void)family_say(family, "multi");
    (void)multi_say(family, "get a");
    (void)multi_say(family, "exec");
    CHECK(record_is(&family->record.effects, ""));
}

FAMILY_TEST(multi, a_removal_outside_of_commands_is_a_unit)
{
    family->record.has_units = true;
    for (int i = 0; i < 2; i++) {
        exec_report_removal(family->fixture.exec, family->fixture.client.session.db,
                            slice_from_text("b"), "expired", EVENT_EXPIRED);
    }
    CHECK(record_is(&family->record.effects, "[DEL b]1;[DEL b]1;"));
}

FAMILY_TEST(multi, memory_is_counted_and_given_back)
{
    struct session *session = &family->fixture.client.session;
    (void)multi_say(family, "watch some key and others");
    size_t watching = session->held_memory;
    CHECK(watching > 4 * 40 && multi_memory(session) == watching);
    CHECK(multi_stats(family->fixture.exec).watched_keys == 4);
    (void)multi_say(family, "multi");
    for (int i = 0; i < 1000; i++) {
        (void)multi_say(family, "set some value-of-some-length");
    }
    CHECK(multi_count(session) == 1000 && session->queued_count == 1000);
    CHECK(slice_equal(multi_at(session, 999)->args.at[1], slice_from_text("some")));
    CHECK(session->held_memory > watching + 100000);
    (void)multi_say(family, "discard");
    CHECK(session->held_memory == 0 && session->slots[SESSION_SLOT_MULTI] == NULL);
    CHECK(!work_is_idle(&family->fixture.work)); /* Freed in slices. */
    work_drain(&family->fixture.work);
    CHECK(multi_stats(family->fixture.exec).watched_keys == 0);
    CHECK(multi_stats(family->fixture.exec).watching_sessions == 0);
}

FAMILY_TEST(multi, without_memory_it_is_an_error_and_the_transaction_is_spoiled)
{
    struct session *session = &family->fixture.client.session;
    mem_fail_after(1);
    CHECK_SAY(&family->fixture, "multi", "-ERR out of memory\r\n");
    mem_fail_after(1);
    CHECK_SAY(&family->fixture, "watch k", "-ERR out of memory\r\n");
    for (unsigned i = 2; i <= 3; i++) {
        multi_unwatch(session);
        mem_fail_after(i);
        CHECK_SAY(&family->fixture, "watch k", "-ERR out of memory\r\n");
    }
    mem_fail_after(0);
    for (unsigned i = 1; i <= 2; i++) {
        CHECK_SAY(&family->fixture, "multi", "+OK\r\n");
        mem_fail_after(i);
        CHECK_SAY(&family->fixture, "set k v", "-ERR out of memory\r\n");
        mem_fail_after(0);
        CHECK_SAY(&family->fixture, "exec",
                  "-EXECABORT Transaction discarded because of previous errors.\r\n");
    }
    multi_unwatch(session);
    CHECK(session->held_memory == 0);
}

FAMILY_TEST(multi, a_session_that_closes_in_the_middle)
{
    struct fake_client client;
    fake_open(&family->fixture, &client, "1.1.1.1:1");
    (void)say_as(&family->fixture, &client, "watch a b");
    (void)say_as(&family->fixture, &client, "multi");
    for (int i = 0; i < 300; i++) {
        (void)say_as(&family->fixture, &client, "set a 1");
    }
    fake_shut(&client);
    work_drain(&family->fixture.work);
    CHECK(multi_stats(family->fixture.exec).watched_keys == 0);
    CHECK_SAY(&family->fixture, "exists a", ":0\r\n");
}

FAMILY_TEST(multi, gates_see_what_exec_would_do)
{
    struct session *session = &family->fixture.client.session;
    struct slice word = slice_from_text("exec");
    struct call call = {.entry = exec_lookup(family->fixture.exec, &word, 1),
                        .session = session,
                        .exec = family->fixture.exec};
    CHECK((multi_call_flags(&call) & CMD_WRITE) == 0 && !multi_queues(&call));
    (void)multi_say(family, "multi");
    (void)multi_say(family, "get a");
    CHECK((multi_call_flags(&call) & (CMD_WRITE | CMD_DENY_OOM)) == 0);
    (void)multi_say(family, "del a");
    CHECK((multi_call_flags(&call) & (CMD_WRITE | CMD_DENY_OOM)) == CMD_WRITE);
    (void)multi_say(family, "set a 1");
    CHECK((multi_call_flags(&call) & CMD_DENY_OOM) != 0 && !multi_queues(&call));
    word = slice_from_text("get");
    call.entry = exec_lookup(family->fixture.exec, &word, 1);
    CHECK(multi_queues(&call));
}
