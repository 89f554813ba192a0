/* Commands of lists, SORT, DUMP and RESTORE: what they tell the log, and whom they tell of it. */
#include "tests/unit/commands/family.h"

FAMILY_TEST(lists, pushes_and_pops_tell_what_they_did)
{
    CHECK_DOES(family, "RPUSH l a b c", ":3\r\n", "RPUSH l a b c;", "rpush:l;");
    CHECK_ANSWERS(family, "LPUSHX none x", ":0\r\n");
    CHECK_DOES(family, "LPUSHX l z", ":4\r\n", "LPUSHX l z;", "lpush:l;");
    CHECK_DOES(family, "LPOP l", "$1\r\nz\r\n", "LPOP l;", "lpop:l;");
    CHECK_ANSWERS(family, "RPOP l 0", "*0\r\n");
    CHECK_DOES(family, "RPOP l 2", "*2\r\n$1\r\nc\r\n$1\r\nb\r\n", "RPOP l 2;", "rpop:l;");
    CHECK_DOES(family, "LPOP l", "$1\r\na\r\n", "LPOP l;", "lpop:l;del:l;");
    CHECK_ANSWERS(family, "LPOP l", "$-1\r\n");
    CHECK_ANSWERS(family, "LPOP l 1", "*-1\r\n");
}

FAMILY_TEST(lists, edits_tell_what_they_did)
{
    family_say(family, "RPUSH l a b a");
    CHECK_DOES(family, "LSET l 1 x", "+OK\r\n", "LSET l 1 x;", "lset:l;");
    CHECK_ANSWERS(family, "LSET l 3 x", "-ERR index out of range\r\n");
    CHECK_DOES(family, "LINSERT l BEFORE x w", ":4\r\n", "LINSERT l BEFORE x w;", "linsert:l;");
    CHECK_ANSWERS(family, "LINSERT l AFTER none w", ":-1\r\n");
    CHECK_ANSWERS(family, "LREM l 1 none", ":0\r\n");
    CHECK_DOES(family, "LREM l -1 a", ":1\r\n", "LREM l -1 a;", "lrem:l;");
    CHECK_DOES(family, "LTRIM l 0 -1", "+OK\r\n", "", "ltrim:l;");
    CHECK_DOES(family, "LTRIM l 1 1", "+OK\r\n", "LTRIM l 1 1;", "ltrim:l;");
    CHECK_ANSWERS(family, "LRANGE l 0 -1", "*1\r\n$1\r\nw\r\n");
    CHECK_DOES(family, "LREM l 0 w", ":1\r\n", "LREM l 0 w;", "lrem:l;del:l;");
}

FAMILY_TEST(lists, moves_tell_both_lists)
{
    family_say(family, "RPUSH l a b");
    CHECK_DOES(family, "LMOVE l m LEFT RIGHT", "$1\r\na\r\n", "LMOVE l m LEFT RIGHT;",
               "rpush:m;lpop:l;");
    CHECK_DOES(family, "RPOPLPUSH l m", "$1\r\nb\r\n", "RPOPLPUSH l m;", "lpush:m;rpop:l;del:l;");
    CHECK_DOES(family, "LMOVE m m LEFT RIGHT", "$1\r\nb\r\n", "LMOVE m m LEFT RIGHT;",
               "rpush:m;lpop:m;");
    CHECK_DOES(family, "LMPOP 2 none m LEFT COUNT 5",
               "*2\r\n$1\r\nm\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n", "LPOP m 2;", "lpop:m;del:m;");
    CHECK_ANSWERS(family, "LMPOP 1 m RIGHT", "*-1\r\n");
}

FAMILY_TEST(lists, positions_are_found_from_either_end)
{
    family_say(family, "RPUSH l a b a c a");
    CHECK_ANSWERS(family, "LPOS l a", ":0\r\n");
    CHECK_ANSWERS(family, "LPOS l a RANK -2", ":2\r\n");
    CHECK_ANSWERS(family, "LPOS l a COUNT 0", "*3\r\n:0\r\n:2\r\n:4\r\n");
    CHECK_ANSWERS(family, "LPOS l a COUNT 0 MAXLEN 3", "*2\r\n:0\r\n:2\r\n");
    CHECK_ANSWERS(family, "LPOS l none", "$-1\r\n");
    CHECK_ANSWERS(family, "LPOS l none COUNT 1", "*0\r\n");
}

FAMILY_TEST(lists, a_push_without_memory_changes_nothing)
{
    family_say(family, "RPUSH l a");
    for (unsigned failure = 1; failure < 3; failure++) {
        mem_fail_after(failure);
        const char *reply = family_say(family, "RPUSH n x");
        mem_fail_after(0);
        CHECK(reply[0] == '-' || failure > 1);
        CHECK_ANSWERS(family, "LLEN l", ":1\r\n");
        family_say(family, "DEL n");
    }
}

FAMILY_TEST(sort, stores_and_tells)
{
    family_say(family, "RPUSH l 3 1 2");
    CHECK_ANSWERS(family, "SORT l", "*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n");
    CHECK_ANSWERS(family, "SORT l DESC LIMIT 0 1", "*1\r\n$1\r\n3\r\n");
    CHECK_ANSWERS(family, "SORT l BY none GET #", "*3\r\n$1\r\n3\r\n$1\r\n1\r\n$1\r\n2\r\n");
    CHECK_DOES(family, "SORT l STORE m", ":3\r\n", "SORT l STORE m;", "sortstore:m;");
    CHECK_DOES(family, "SORT none STORE m", ":0\r\n", "SORT none STORE m;", "del:m;");
    CHECK_ANSWERS(family, "SORT none STORE m", ":0\r\n");
    CHECK_ANSWERS(family, "SORT_RO l STORE m", "-ERR syntax error\r\n");
}

FAMILY_TEST(sort, long_one_answers_later_with_what_was_there_at_one_moment)
{
    char line[64];
    for (int i = 0; i < 1200; i++) {
        snprintf(line, sizeof(line), "LPUSH l %d", i);
        family_say(family, line);
    }
    struct fixture *fixture = &family->fixture;
    struct fake_client other;
    fake_open(fixture, &other, "127.0.0.1:2000");
    CHECK_SAY(fixture, "SORT l LIMIT 0 2", "");
    CHECK((fixture->client.session.flags & SESSION_SUSPENDED) != 0);
    CHECK(is_text(say_as(fixture, &other, "LPUSH l -5"), ":1201\r\n"));
    work_drain(&fixture->work);
    CHECK((fixture->client.session.flags & SESSION_SUSPENDED) == 0);
    CHECK(is_text(fixture_take_reply(fixture, &fixture->client.reply),
                  "*2\r\n$2\r\n-5\r\n$1\r\n0\r\n"));
    CHECK_SAY(fixture, "SORT l", "");
    fake_shut(&fixture->client); /* It leaves: what was begun is let go of. */
    work_drain(&fixture->work);
    fake_open(fixture, &fixture->client, "127.0.0.1:1000");
    fake_shut(&other);
}

static enum exec_result run_restore(struct family *family, const char *ttl, struct slice payload)
{
    struct slice args[] = {slice_from_text("RESTORE"), slice_from_text("new"), slice_from_text(ttl),
                           payload, slice_from_text("REPLACE")};
    buf_clear(&family->record.effects);
    buf_clear(&family->record.events);
    return fixture_run(&family->fixture, &family->fixture.client, args, 5);
}

FAMILY_TEST(dump, a_restored_key_tells_its_time_as_a_moment)
{
    static const char text[] = "\x00\x01v\x0a\x00\x01\x02\x03\x04\x05\x06\x07\x08";
    family_say(family, "SET k 12");
    const char *reply = say(&family->fixture, "DUMP k");
    CHECK(strncmp(reply, "$13\r\n", 5) == 0);
    char payload[13];
    memcpy(payload, reply + 5, sizeof(payload));
    run_restore(family, "500", slice_of(payload, sizeof(payload)));
    CHECK(is_text(fixture_take_reply(&family->fixture, &family->fixture.client.reply), "+OK\r\n"));
    buf_append_byte(&family->record.effects, '\0');
    CHECK(strncmp(family->record.effects.data, "RESTORE new 1000500 ", 20) == 0);
    CHECK(record_is(&family->record.events, "restore:new;"));
    CHECK_ANSWERS(family, "GET new", "$2\r\n12\r\n");
    CHECK_ANSWERS(family, "PTTL new", ":500\r\n");
    run_restore(family, "0", slice_of(text, sizeof(text) - 1));
    CHECK(is_text(fixture_take_reply(&family->fixture, &family->fixture.client.reply),
                  "-ERR DUMP payload version or checksum are wrong\r\n"));
    CHECK_ANSWERS(family, "DUMP none", "$-1\r\n");
}

FAMILY_TEST(lists, changes_in_slices_tell_what_they_are)
{
    for (int i = 0; i < 20000; i++) {
        char line[64];
        snprintf(line, sizeof(line), "rpush l %s%d", i % 2 == 0 ? "even:" : "odd:", i % 2 * i);
        say(&family->fixture, line);
    }
    CHECK_DOES(family, "lrem l 0 even:0", ":10000\r\n", "lrem l 0 even:0;", "lrem:l;");
    CHECK_ANSWERS(family, "lrem l 0 even:0", ":0\r\n");
    CHECK_DOES(family, "linsert l after odd:19999 x", ":10001\r\n", "linsert l after odd:19999 x;",
               "linsert:l;");
    CHECK_THROUGH(&family->fixture, "lindex l -1", "$1\r\nx\r\n");
    const char *reply = family_say(family, "lpop l 9000");
    CHECK(strncmp(reply, "*9000\r\n$5\r\nodd:1\r\n", 18) == 0);
    CHECK(record_is(&family->record.effects, "lpop l 9000;"));
    CHECK_THROUGH(&family->fixture, "llen l", ":1001\r\n");
}
