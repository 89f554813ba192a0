/* Blocking, with a clock of the test's own: deadlines, effects as units, memory that is missing. */
#include "exec/block.h"

#include "tests/unit/commands/family.h"

enum { CROWD = 300 };

struct crowd {
    struct family family;
    struct fake_client clients[CROWD];
};

static void crowd_init(struct crowd *crowd)
{
    family_init(&crowd->family);
    for (int i = 0; i < CROWD; i++) {
        fake_open(&crowd->family.fixture, &crowd->clients[i], "1.1.1.1:1");
    }
}

static void crowd_deinit(struct crowd *crowd)
{
    for (int i = 0; i < CROWD; i++) {
        fake_shut(&crowd->clients[i]);
    }
    CHECK(block_stats(crowd->family.fixture.exec).session_count == 0);
    CHECK(block_stats(crowd->family.fixture.exec).key_count == 0);
    CHECK(block_stats(crowd->family.fixture.exec).timeout_count == 0);
    family_deinit(&crowd->family);
}

static const char *crowd_say(struct crowd *crowd, int index, const char *line)
{
    return say_as(&crowd->family.fixture, &crowd->clients[index], line);
}

static const char *crowd_hear(struct crowd *crowd, int index)
{
    return fixture_take_reply(&crowd->family.fixture, &crowd->clients[index].reply);
}

static bool is_blocked(const struct crowd *crowd, int index)
{
    return (crowd->clients[index].session.flags & SESSION_SUSPENDED) != 0;
}

/* Lets time pass. */
static void crowd_wait(struct crowd *crowd, int64_t us)
{
    crowd->family.fixture.now.mono_us += us;
    exec_tick(crowd->family.fixture.exec);
}

TEST(block, deadlines_are_exact_and_come_in_order)
{
    static struct crowd crowd;
    crowd_init(&crowd);
    struct exec *exec = crowd.family.fixture.exec;
    int64_t start_us = crowd.family.fixture.now.mono_us;
    CHECK(block_due_us(exec) == INT64_MAX);
    for (int i = 0; i < CROWD; i++) {
        char line[64];
        snprintf(line, sizeof(line), "blpop k%d j 0.%03d", i, (i * 7919) % CROWD + 1);
        CHECK(is_text(crowd_say(&crowd, i, line), ""));
    }
    CHECK(block_stats(exec).timeout_count == CROWD && block_stats(exec).key_count == CROWD + 1);
    for (int ms = 1; ms <= CROWD; ms++) {
        CHECK(block_due_us(exec) == start_us + ms * 1000);
        crowd_wait(&crowd, 999);
        CHECK(block_stats(exec).timeout_count == (uint64_t)(CROWD - ms + 1));
        crowd_wait(&crowd, 1);
        CHECK(block_stats(exec).timeout_count == (uint64_t)(CROWD - ms));
    }
    for (int i = 0; i < CROWD; i++) {
        CHECK(!is_blocked(&crowd, i) && crowd.clients[i].wake_count == 1);
        CHECK(is_text(crowd_hear(&crowd, i), "*-1\r\n"));
    }
    crowd_deinit(&crowd);
}

TEST(block, many_deadlines_at_once_take_several_turns)
{
    static struct crowd crowd;
    crowd_init(&crowd);
    struct exec *exec = crowd.family.fixture.exec;
    for (int i = 0; i < CROWD; i++) {
        CHECK(is_text(crowd_say(&crowd, i, "blpop k 1"), ""));
    }
    crowd_wait(&crowd, 1000000);
    CHECK(block_stats(exec).session_count == CROWD - 256);
    CHECK(block_due_us(exec) <= crowd.family.fixture.now.mono_us);
    crowd_wait(&crowd, 0);
    CHECK(block_stats(exec).session_count == 0);
    crowd_deinit(&crowd);
}

TEST(block, a_push_runs_nobody_else)
{
    static struct crowd crowd;
    crowd_init(&crowd);
    for (int i = 0; i < CROWD; i++) {
        char line[64];
        snprintf(line, sizeof(line), "blpop k%d 0", i);
        CHECK(is_text(crowd_say(&crowd, i, line), ""));
    }
    CHECK_SAY(&crowd.family.fixture, "rpush k7 x", ":1\r\n");
    CHECK(is_text(crowd_hear(&crowd, 7), "*2\r\n$2\r\nk7\r\n$1\r\nx\r\n"));
    for (int i = 0; i < CROWD; i++) {
        CHECK(crowd.clients[i].wake_count == (i == 7) && is_blocked(&crowd, i) == (i != 7));
    }
    crowd_deinit(&crowd);
}

TEST(block, a_role_change_ends_all_waits)
{
    static struct crowd crowd;
    crowd_init(&crowd);
    CHECK(is_text(crowd_say(&crowd, 0, "blpop k 0"), ""));
    CHECK(is_text(crowd_say(&crowd, 1, "bzpopmin k 9"), ""));
    block_cancel_all(crowd.family.fixture.exec, "UNBLOCKED the role has changed");
    CHECK(is_text(crowd_hear(&crowd, 0), "-UNBLOCKED the role has changed\r\n"));
    CHECK(is_text(crowd_hear(&crowd, 1), "-UNBLOCKED the role has changed\r\n"));
    CHECK(!is_blocked(&crowd, 0) && !is_blocked(&crowd, 1));
    crowd_deinit(&crowd);
}

TEST(block, what_it_keeps_is_the_sessions_memory)
{
    static struct crowd crowd;
    crowd_init(&crowd);
    CHECK(is_text(crowd_say(&crowd, 0, "blpop a-longer-key another-key 0"), ""));
    CHECK(crowd.clients[0].session.held_memory > 150);
    CHECK_SAY(&crowd.family.fixture, "rpush another-key x", ":1\r\n");
    CHECK(crowd.clients[0].session.held_memory == 0);
    crowd_deinit(&crowd);
}

TEST(block, without_memory_it_is_an_error)
{
    static struct crowd crowd;
    crowd_init(&crowd);
    for (unsigned i = 1; i <= 4; i++) { /* The block, two keys, the heap. */
        mem_fail_after(i);
        CHECK(is_text(crowd_say(&crowd, 0, "blpop a b 5"), "-ERR out of memory\r\n"));
        mem_fail_after(0);
        CHECK(!is_blocked(&crowd, 0) && crowd.clients[0].session.held_memory == 0);
        CHECK(block_stats(crowd.family.fixture.exec).key_count == 0);
    }
    CHECK(is_text(crowd_say(&crowd, 0, "blpop a b 5"), ""));
    crowd_deinit(&crowd);
}

TEST(block, effects_are_those_of_the_plain_forms)
{
    static const struct {
        const char *wait, *push, *effects;
    } rows[] = {
        {"blpop a b 0", "rpush b 1 2", "[rpush b 1 2]1;[LPOP b]1;"},
        {"brpop b 0", "rpush b 1 2", "[rpush b 1 2]1;[RPOP b]1;"},
        {"blmove b c left right 0", "rpush b 1", "[rpush b 1]1;[LMOVE b c left right]1;"},
        {"brpoplpush b c 0", "rpush b 1", "[rpush b 1]1;[RPOPLPUSH b c]1;"},
        {"blmpop 0 2 a b right count 5", "rpush b 1 2", "[rpush b 1 2]1;[RPOP b 2]1;"},
        {"bzpopmin a b 0", "zadd b 1 x", "[zadd b 1 x]1;[ZPOPMIN b]1;"},
        {"bzpopmax b 0", "zadd b 1 x", "[zadd b 1 x]1;[ZPOPMAX b]1;"},
        {"bzmpop 0 1 b min count 9", "zadd b 1 x", "[zadd b 1 x]1;[ZPOPMIN b 1]1;"},
    };
    static struct crowd crowd;
    crowd_init(&crowd);
    crowd.family.record.has_units = true;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        (void)family_say(&crowd.family, "flushall");
        CHECK(is_text(crowd_say(&crowd, 0, rows[i].wait), ""));
        (void)family_say(&crowd.family, rows[i].push);
        CHECK(record_is(&crowd.family.record.effects, rows[i].effects));
        (void)crowd_hear(&crowd, 0);
    }
    crowd_deinit(&crowd);
}

FAMILY_TEST(block, a_plain_form_that_need_not_wait_has_the_same_effect)
{
    (void)family_say(family, "rpush k 1 2 3 4 5");
    CHECK(family_does(family, "blpop x k 0", "*2\r\n$1\r\nk\r\n$1\r\n1\r\n", "LPOP k;", "lpop:k;"));
    CHECK_DOES(family, "blmove k j right left 0", "$1\r\n5\r\n", "LMOVE k j right left;",
               "lpush:j;rpop:k;");
    CHECK_DOES(family, "brpoplpush k j 0", "$1\r\n4\r\n", "RPOPLPUSH k j;", "lpush:j;rpop:k;");
    (void)family_say(family, "zadd z 1 a 2 b");
    CHECK_DOES(family, "bzpopmax z 0", "*3\r\n$1\r\nz\r\n$1\r\nb\r\n$1\r\n2\r\n", "ZPOPMAX z;",
               "zpopmax:z;");
}

FAMILY_TEST(block, timeouts_are_read_as_redis_reads_them)
{
    CHECK_SAY(&family->fixture, "blpop k x", "-ERR timeout is not a float or out of range\r\n");
    CHECK_SAY(&family->fixture, "blpop k -0.001", "-ERR timeout is negative\r\n");
    CHECK_SAY(&family->fixture, "blpop k 1e300", "-ERR timeout is negative\r\n");
    CHECK_SAY(&family->fixture, "blpop k 0.0001", ""); /* One millisecond. */
    family->fixture.now.mono_us += 999;
    exec_tick(family->fixture.exec);
    CHECK((family->fixture.client.session.flags & SESSION_SUSPENDED) != 0);
    family->fixture.now.mono_us += 1;
    exec_tick(family->fixture.exec);
    CHECK((family->fixture.client.session.flags & SESSION_SUSPENDED) == 0);
}
