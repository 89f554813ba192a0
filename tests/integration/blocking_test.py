#!/usr/bin/env python3
"""Commands that wait: who is served, when, in which order, and how a wait ends."""
import os
import unittest

from harness import Case, encode, main, wait_until


class Blocking(Case):
    """What tests of blocking share."""

    def setUp(self):
        super().setUp()
        wait_until(lambda: self.blocked_count() == 0, what="an end of the last test's clients")

    def info(self, section):
        lines = self.call("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def blocked_count(self):
        return int(self.info("clients")["blocked_clients"])

    def waiter(self, *words):
        """A connection that waits in the given command, with certainty."""
        conn = self.connect()
        conn.id = conn.call("CLIENT", "ID")
        self.wait_with(conn, *words)
        return conn

    def wait_with(self, conn, *words):
        before = self.blocked_count()
        conn.send_command(*words)
        wait_until(lambda: self.blocked_count() == before + 1, what="one more blocked client")

    def assert_waits(self, conn):
        """It has got nothing, though everything before has been served."""
        conn.socket.setblocking(False)
        try:
            self.assertRaises(BlockingIOError, conn.socket.recv, 1)
        finally:
            conn.socket.settimeout(20)


class Lists(Blocking):
    def test_what_is_there_is_taken_without_a_wait(self):
        self.call("RPUSH", "b", "1", "2", "3", "4")
        self.assertEqual(self.call("BLPOP", "a", "b", "0"), [b"b", b"1"])
        self.assertEqual(self.call("BRPOP", "a", "b", "0"), [b"b", b"4"])
        self.assertEqual(self.call("BLMOVE", "b", "c", "LEFT", "RIGHT", "0"), b"2")
        self.assertEqual(self.call("BRPOPLPUSH", "b", "c", "0"), b"3")
        self.assertEqual(self.call("EXISTS", "b"), 0)
        self.assertEqual(self.call("BLMPOP", "0", "2", "b", "c", "LEFT", "COUNT", "10"),
                         [b"c", [b"3", b"2"]])

    def test_a_push_serves_who_waits(self):
        for command, reply in ((("BLPOP", "a", "b", "0"), [b"b", b"1"]),
                               (("BRPOP", "a", "b", "0"), [b"b", b"3"]),
                               (("BLMOVE", "b", "c", "LEFT", "LEFT", "0"), b"1"),
                               (("BRPOPLPUSH", "b", "c", "0"), b"3"),
                               (("BLMPOP", "0", "2", "a", "b", "RIGHT", "COUNT", "2"),
                                [b"b", [b"3", b"2"]])):
            with self.subTest(command[0]):
                self.call("FLUSHALL")
                conn = self.waiter(*command)
                self.assertEqual(self.call("RPUSH", "b", "1", "2", "3"), 3)
                self.assertEqual(conn.read(), reply)
                self.assertEqual(self.blocked_count(), 0)
                self.assertEqual(conn.call("PING"), "PONG")

    def test_clients_are_served_in_order_of_arrival(self):
        conns = [self.waiter("BLPOP", "k", "0") for _ in range(5)]
        self.assertEqual(self.call("RPUSH", "k", "1", "2", "3"), 3)
        for index, conn in enumerate(conns[:3]):
            self.assertEqual(conn.read(), [b"k", b"%d" % (index + 1)])
        self.assertEqual(self.call("EXISTS", "k"), 0)
        for conn in conns[3:]:
            self.assert_waits(conn)
        self.call("RPUSH", "k", "4")
        self.assertEqual(conns[3].read(), [b"k", b"4"])

    def test_one_key_named_twice_is_one_place_in_its_queue(self):
        conn = self.waiter("BLPOP", "k", "k", "0")
        self.call("RPUSH", "k", "1", "2")
        self.assertEqual(conn.read(), [b"k", b"1"])
        self.assertEqual(self.call("LRANGE", "k", "0", "-1"), [b"2"])

    def test_a_move_feeds_another_wait(self):
        last = self.waiter("BLPOP", "c", "0")
        second = self.waiter("BLMOVE", "b", "c", "LEFT", "LEFT", "0")
        first = self.waiter("BRPOPLPUSH", "a", "b", "0")
        self.call("RPUSH", "a", "x")
        self.assertEqual([first.read(), second.read(), last.read()], [b"x", b"x", [b"c", b"x"]])
        self.assertEqual(self.call("EXISTS", "a", "b", "c"), 0)

    def test_moves_in_a_circle_end(self):
        first = self.waiter("BRPOPLPUSH", "a", "b", "0")
        second = self.waiter("BRPOPLPUSH", "b", "a", "0")
        self.call("RPUSH", "a", "x")
        self.assertEqual([first.read(), second.read()], [b"x", b"x"])
        self.assertEqual(self.call("LRANGE", "a", "0", "-1"), [b"x"])

    def test_a_move_onto_itself(self):
        conn = self.waiter("BLMOVE", "k", "k", "LEFT", "RIGHT", "0")
        self.call("RPUSH", "k", "1", "2")
        self.assertEqual(conn.read(), b"1")
        self.assertEqual(self.call("LRANGE", "k", "0", "-1"), [b"2", b"1"])

    def test_a_move_to_what_is_no_list_is_an_error_when_it_is_served(self):
        conn = self.waiter("BLMOVE", "a", "s", "LEFT", "LEFT", "0")
        other = self.waiter("BLPOP", "a", "0")
        self.call("SET", "s", "text")
        self.call("RPUSH", "a", "x")
        self.assertTrue(conn.read().startswith("WRONGTYPE"))
        self.assertEqual(other.read(), [b"a", b"x"])

    def test_a_key_of_another_kind_serves_nobody(self):
        conn = self.waiter("BLPOP", "k", "0")
        self.call("ZADD", "k", "1", "m")
        self.assert_waits(conn)
        self.call("DEL", "k")
        self.call("SET", "k", "text")
        self.call("DEL", "k")
        self.call("RPUSH", "k", "1")
        self.assertEqual(conn.read(), [b"k", b"1"])

    def test_wrong_types_and_bad_arguments_are_told_at_once(self):
        self.call("SET", "s", "text")
        wrong = "WRONGTYPE Operation against a key holding the wrong kind of value"
        for command, error in (
                (("BLPOP", "k", "s", "0"), wrong),
                (("BLMOVE", "s", "k", "LEFT", "LEFT", "0"), wrong),
                (("BRPOPLPUSH", "s", "k", "0"), wrong),
                (("BLMPOP", "0", "2", "k", "s", "LEFT"), wrong),
                (("BLPOP", "s", "x"), "ERR timeout is not a float or out of range"),
                (("BLPOP", "k", "-1"), "ERR timeout is negative"),
                (("BLPOP", "k", "inf"), "ERR timeout is negative"),
                (("BLPOP", "k", "nan"), "ERR timeout is not a float or out of range"),
                (("BLMOVE", "a", "b", "UP", "LEFT", "x"), "ERR syntax error"),
                (("BLMOVE", "a", "b", "LEFT", "LEFT", "x"),
                 "ERR timeout is not a float or out of range"),
                (("BLMPOP", "x", "0", "a", "LEFT"), "ERR numkeys should be greater than 0"),
                (("BLMPOP", "x", "1", "a", "LEFT"), "ERR timeout is not a float or out of range"),
                (("BLMPOP", "1", "2", "a", "LEFT"), "ERR syntax error"),
                (("BLMPOP", "1", "1", "a", "LEFT", "COUNT", "0"),
                 "ERR count should be greater than 0"),
                (("BLMPOP", "1", "1", "a", "LEFT", "COUNT", "1", "COUNT", "1"),
                 "ERR syntax error")):
            with self.subTest(command=command):
                self.assertEqual(self.call(*command), error)


class SortedSets(Blocking):
    def test_what_is_there_is_taken_without_a_wait(self):
        self.call("ZADD", "b", "1", "one", "2", "two", "3", "three", "4", "four")
        self.assertEqual(self.call("BZPOPMIN", "a", "b", "0"), [b"b", b"one", b"1"])
        self.assertEqual(self.call("BZPOPMAX", "a", "b", "0"), [b"b", b"four", b"4"])
        self.assertEqual(self.call("BZMPOP", "0", "2", "a", "b", "MAX", "COUNT", "5"),
                         [b"b", [[b"three", b"3"], [b"two", b"2"]]])
        self.assertEqual(self.call("EXISTS", "b"), 0)

    def test_an_added_member_serves_who_waits(self):
        for command, reply in ((("BZPOPMIN", "a", "b", "0"), [b"b", b"x", b"1.5"]),
                               (("BZPOPMAX", "a", "b", "0"), [b"b", b"y", b"2.5"]),
                               (("BZMPOP", "0", "2", "a", "b", "MIN", "COUNT", "9"),
                                [b"b", [[b"x", b"1.5"], [b"y", b"2.5"]]])):
            with self.subTest(command[0]):
                self.call("FLUSHALL")
                conn = self.waiter(*command)
                self.assertEqual(self.call("ZADD", "b", "1.5", "x", "2.5", "y"), 2)
                self.assertEqual(conn.read(), reply)

    def test_scores_are_doubles_in_resp3(self):
        conn = self.connect()
        conn.call("HELLO", "3")
        self.call("ZADD", "k", "1.5", "x", "2", "y", "3", "z")
        self.assertEqual(conn.raw("BZPOPMIN", "k", "0"), b"*3\r\n$1\r\nk\r\n$1\r\nx\r\n,1.5\r\n")
        self.wait_with(conn, "BZMPOP", "0", "1", "j", "MIN")
        self.call("ZADD", "j", "7", "m")
        self.assertEqual(conn.read_raw(),
                         b"*2\r\n$1\r\nj\r\n*1\r\n*2\r\n$1\r\nm\r\n,7\r\n")
        self.assertEqual(conn.raw("BZPOPMAX", "j", "0.01"), b"_\r\n")

    def test_lists_and_sorted_sets_wait_for_one_key(self):
        first = self.waiter("BZPOPMIN", "k", "0")
        second = self.waiter("BLPOP", "k", "0")
        third = self.waiter("BZPOPMAX", "k", "0")
        self.call("RPUSH", "k", "x")
        self.assertEqual(second.read(), [b"k", b"x"])
        self.call("ZADD", "k", "1", "a", "2", "b", "3", "c")
        self.assertEqual([first.read(), third.read()], [[b"k", b"a", b"1"], [b"k", b"c", b"3"]])

    def test_other_ways_to_make_a_set(self):
        self.call("ZADD", "z", "1", "x")
        for command in (("ZUNIONSTORE", "k", "1", "z"), ("ZRANGESTORE", "k", "z", "0", "-1"),
                        ("GEOADD", "k", "0", "0", "x"), ("ZINCRBY", "k", "1", "x")):
            with self.subTest(command[0]):
                conn = self.waiter("BZPOPMIN", "k", "0")
                self.call(*command)
                self.assertEqual(conn.read()[:2], [b"k", b"x"])

    def test_bad_arguments_are_told_at_once(self):
        self.call("SET", "s", "text")
        wrong = "WRONGTYPE Operation against a key holding the wrong kind of value"
        for command, error in (
                (("BZPOPMIN", "k", "s", "0"), wrong),
                (("BZMPOP", "0", "2", "k", "s", "MIN"), wrong),
                (("BZPOPMIN", "k", "x"), "ERR timeout is not a float or out of range"),
                (("BZPOPMAX", "k", "-1"), "ERR timeout is negative"),
                (("BZMPOP", "x", "0", "k", "MIN"), "ERR numkeys should be greater than 0"),
                (("BZMPOP", "x", "1", "k", "UP"), "ERR syntax error"),
                (("BZMPOP", "x", "1", "k", "MIN"), "ERR timeout is not a float or out of range"),
                (("BZMPOP", "0", "1", "k", "MIN", "COUNT", "0"),
                 "ERR count should be greater than 0"),
                (("BZMPOP", "0", "2", "k", "MIN"), "ERR syntax error")):
            with self.subTest(command=command):
                self.assertEqual(self.call(*command), error)


class WhatMakesAKeyReady(Blocking):
    def check(self, *commands):
        """After `commands` a client that waited for the list k has got its first element, x."""
        conn = self.waiter("BLPOP", "k", "0")
        for command in commands:
            self.call(*command)
        self.assertEqual(conn.read(), [b"k", b"x"])

    def test_rename(self):
        self.call("RPUSH", "l", "x")
        self.check(("RENAME", "l", "k"))

    def test_copy(self):
        self.call("RPUSH", "l", "x")
        self.check(("COPY", "l", "k"))

    def test_sort_store(self):
        self.call("RPUSH", "l", "y", "x")
        self.check(("SORT", "l", "ALPHA", "STORE", "k"))

    def test_restore(self):
        self.call("RPUSH", "l", "x")
        self.check(("RESTORE", "k", "0", self.call("DUMP", "l")))

    def test_move(self):
        self.call("SELECT", "1")
        self.call("RPUSH", "k", "x")
        self.call("SELECT", "0")
        self.check(("SELECT", "1"), ("MOVE", "k", "0"), ("SELECT", "0"))

    def test_swapdb(self):
        self.call("SELECT", "1")
        self.call("RPUSH", "k", "x")
        self.call("SELECT", "0")
        self.check(("SWAPDB", "0", "1"))

    def test_lmove(self):
        self.call("RPUSH", "l", "x")
        self.check(("LMOVE", "l", "k", "LEFT", "LEFT"))

    def test_a_push_in_another_database_is_another_key(self):
        conn = self.waiter("BLPOP", "k", "0")
        self.call("SELECT", "1")
        self.call("RPUSH", "k", "y")
        self.call("SELECT", "0")
        self.assert_waits(conn)
        self.call("RPUSH", "k", "x")
        self.assertEqual(conn.read(), [b"k", b"x"])


class Ends(Blocking):
    def test_time_is_up(self):
        for command in (("BLPOP", "k", "0.01"), ("BRPOP", "k", "0.001"),
                        ("BLMOVE", "a", "b", "LEFT", "LEFT", "0.01"),
                        ("BRPOPLPUSH", "a", "b", "1e-2"), ("BLMPOP", "0.01", "1", "k", "LEFT")):
            with self.subTest(command[0]):
                self.assertEqual(self.raw(*command), b"*-1\r\n")
        self.call("HELLO", "3")
        self.assertEqual(self.raw("BLPOP", "k", "0.01"), b"_\r\n")
        self.assertEqual(self.blocked_count(), 0)

    def test_the_earliest_deadline_comes_first(self):
        conns = [self.waiter("BLPOP", "k", seconds) for seconds in ("0.9", "0.6", "0.7", "0")]
        self.assertEqual(conns[1].read(), None)
        self.assert_waits(conns[2])
        self.assertEqual(conns[2].read(), None)
        self.assert_waits(conns[0])
        self.assertEqual(conns[0].read(), None)
        self.assertEqual(self.blocked_count(), 1)

    def test_who_was_served_has_no_deadline_any_more(self):
        conn = self.waiter("BLPOP", "k", "0.3")
        self.call("RPUSH", "k", "1")
        self.assertEqual(conn.read(), [b"k", b"1"])
        self.assertEqual(self.info("clients")["clients_in_timeout_table"], "0")
        self.assertEqual(conn.call("BLPOP", "k", "0.5"), None)

    def test_unblock(self):
        conn = self.waiter("BLPOP", "k", "0")
        self.assertEqual(self.call("CLIENT", "UNBLOCK", conn.id), 1)
        self.assertEqual(conn.read_raw(), b"*-1\r\n")
        self.wait_with(conn, "BLMOVE", "a", "b", "LEFT", "LEFT", "100")
        self.assertEqual(self.call("CLIENT", "UNBLOCK", conn.id, "TIMEOUT"), 1)
        self.assertEqual(conn.read_raw(), b"*-1\r\n")
        self.wait_with(conn, "BLPOP", "k", "100")
        self.assertEqual(self.call("CLIENT", "UNBLOCK", conn.id, "ERROR"), 1)
        self.assertEqual(conn.read(), "UNBLOCKED client unblocked via CLIENT UNBLOCK")
        self.assertEqual(self.call("CLIENT", "UNBLOCK", conn.id), 0)

    def test_kill_and_close_leave_nothing_behind(self):
        killed = self.waiter("BLPOP", "k", "j", "0")
        closed = self.waiter("BLPOP", "k", "0")
        self.assertEqual(self.call("CLIENT", "KILL", "ID", killed.id), 1)
        self.assertTrue(killed.is_closed())
        closed.close()
        wait_until(lambda: self.blocked_count() == 0)
        self.assertEqual(self.call("RPUSH", "k", "1"), 1)
        self.assertEqual(self.call("LLEN", "k"), 1)

    def test_a_client_that_sends_its_end_while_it_waits_is_gone(self):
        conn = self.waiter("BLPOP", "k", "0")
        conn.socket.shutdown(1)
        wait_until(lambda: self.blocked_count() == 0)

    def test_a_peer_that_has_vanished_is_looked_for(self):
        def timer(conn):
            """The kernel's timer on the server's side of the connection: 2 is that of keepalive."""
            wanted = (conn.socket.getpeername()[1], conn.socket.getsockname()[1])
            with open("/proc/net/tcp", encoding="ascii") as file:
                for line in file.readlines()[1:]:
                    fields = line.split()
                    ports = tuple(int(fields[index].rsplit(":", 1)[1], 16) for index in (1, 2))
                    if ports == wanted:
                        return int(fields[5].split(":", 1)[0])
            return None

        conn = self.waiter("BLPOP", "k", "0")
        wait_until(lambda: timer(conn) == 2, what="a keepalive timer")

    def test_what_was_sent_behind_it_waits_too(self):
        conn = self.waiter("BLPOP", "k", "0")
        conn.send(b"PING\r\nBLPOP k 0\r\nECHO x\r\n")
        self.assert_waits(conn)
        self.call("RPUSH", "k", "1", "2")
        self.assertEqual([conn.read() for _ in range(4)],
                         [[b"k", b"1"], "PONG", [b"k", b"2"], b"x"])

    @unittest.skipIf(os.environ.get("OURO_KIND") == "redis", "it reads on until the limit is reached")
    def test_what_a_waiting_client_sends_is_bounded(self):
        conn = self.waiter("BLPOP", "k", "0")
        conn.socket.setblocking(False)
        one = encode("SET", "big", "x" * 100000)
        rest, sent = one * 500, 0
        try:
            while sent < len(rest):
                sent += conn.socket.send(rest[sent:])
        except BlockingIOError:
            pass
        conn.socket.settimeout(20)
        self.assertLess(sent, len(rest))
        line = self.call("CLIENT", "LIST", "ID", conn.id).decode()
        fields = dict(word.split("=", 1) for word in line.split())
        self.assertLess(int(fields["tot-mem"]), 2000000)
        self.assertEqual(self.call("PING"), "PONG")
        self.call("RPUSH", "k", "x")
        self.assertEqual(conn.read(), [b"k", b"x"])
        whole = sent // len(one)
        conn.send(one[sent - whole * len(one):] if sent % len(one) else b"")
        for _ in range(whole + (sent % len(one) != 0)):
            self.assertEqual(conn.read(), "OK")

    def test_who_has_sent_too_much_and_goes_is_gone(self):
        conn = self.waiter("BLPOP", "k", "0")
        # A little more than the server takes: what lies in the kernel, and the end behind it, has to fit there.
        conn.send(encode("SET", "big", "x" * (1000 if self.server.is_hostile else 100000)) * 3)
        conn.close()
        wait_until(lambda: self.blocked_count() == 0, what="an end of the client")
        self.assertEqual(self.call("RPUSH", "k", "x"), 1)
        self.assertEqual(self.call("LLEN", "k"), 1)

    def test_one_pipeline_of_waits(self):
        conn = self.connect()
        conn.send(b"BLPOP k 0\r\n" * 50 + b"PING\r\n")
        for index in range(50):
            self.call("RPUSH", "k", index)
            self.assertEqual(conn.read(), [b"k", b"%d" % index])
        self.assertEqual(conn.read(), "PONG")

    def test_a_pause_does_not_stop_the_clock(self):
        conn = self.waiter("BLPOP", "k", "0.2")
        self.call("CLIENT", "PAUSE", "30000", "WRITE")
        self.assertEqual(conn.read(), None)
        self.call("CLIENT", "UNPAUSE")

    def test_a_push_that_a_pause_holds_back_serves_when_it_ends(self):
        conn = self.waiter("BLPOP", "k", "0")
        pusher = self.connect()
        self.call("CLIENT", "PAUSE", "30000", "WRITE")
        pusher.send_command("RPUSH", "k", "1")
        self.assertEqual(self.call("EXISTS", "k"), 0)
        self.assert_waits(conn)
        self.call("CLIENT", "UNPAUSE")
        self.assertEqual([pusher.read(), conn.read()], [1, [b"k", b"1"]])


class Bookkeeping(Blocking):
    def test_client_list_and_info_tell_who_waits(self):
        conn = self.waiter("BLPOP", "k", "j", "100")
        line = [line for line in self.call("CLIENT", "LIST").decode().splitlines()
                if line.startswith("id=%d " % conn.id)][0]
        self.assertIn(" flags=b ", line)
        self.assertIn(" cmd=blpop ", line)
        clients = self.info("clients")
        self.assertEqual((clients["blocked_clients"], clients["clients_in_timeout_table"]),
                         ("1", "1"))
        if "total_blocking_keys" in clients:
            self.assertEqual(clients["total_blocking_keys"], "2")
        self.call("RPUSH", "j", "x")
        self.assertEqual(conn.read(), [b"j", b"x"])
        self.assertEqual(self.info("clients")["blocked_clients"], "0")

    def test_a_call_is_counted_once(self):
        self.call("CONFIG", "RESETSTAT")
        conn = self.waiter("BLPOP", "k", "0")
        self.call("RPUSH", "k", "1")
        conn.read()
        stats = self.info("commandstats")
        self.assertTrue(stats["cmdstat_blpop"].startswith("calls=1,"))
        self.assertIn("failed_calls=0", stats["cmdstat_blpop"])

    def test_a_skipped_reply_is_that_of_the_wait(self):
        conn = self.connect()
        conn.send_command("CLIENT", "REPLY", "SKIP")
        self.wait_with(conn, "BLPOP", "k", "0")
        self.call("RPUSH", "k", "1")
        self.assertEqual(conn.call("PING"), "PONG")

    def test_ten_thousand_keys_and_a_hundred_clients(self):
        names = ["k%d" % index for index in range(10000)]
        wide = self.waiter("BLPOP", *names, "0")
        conns = [self.waiter("BLPOP", "j", "0") for _ in range(100)]
        self.call("RPUSH", "k9999", "x")
        self.assertEqual(wide.read(), [b"k9999", b"x"])
        self.call("RPUSH", "j", *range(100))
        self.assertEqual([conn.read()[1] for conn in conns], [b"%d" % at for at in range(100)])


class Crowds(Blocking):
    """So many clients wait that they are served in steps, and nobody can tell."""

    COUNT = 300

    def crowd(self, *words):
        conns = [self.connect() for _ in range(self.COUNT)]
        for conn in conns:
            conn.send_command(*words)
        wait_until(lambda: self.blocked_count() == self.COUNT, what="the crowd")
        return conns

    def pipeline(self, *commands):
        with self.connect() as conn:
            conn.send(b"".join(encode(*words) for words in commands))
            return [conn.read() for _ in commands]

    def test_what_comes_behind_finds_all_of_them_served(self):
        behind = ((("LLEN", "q"), 0), (("LPOP", "q"), None), (("FLUSHALL",), "OK"), (("SWAPDB", 0, 1), "OK"),
                  (("EVAL", "return redis.call('LLEN', KEYS[1])", 1, "q"), 0),
                  (("EVAL", "return redis.call('LLEN', 'q')", 0), 0), (("RENAME", "q", "r"), "ERR no such key"),
                  (("DEL", "q"), 0), (("CLIENT", "PAUSE", 1, "WRITE"), "OK"), (("SUNION", "q", "none"), []),
                  (("BLPOP", "q", "0.01"), None), (("COPY", "q", "r"), 0))
        for words, answer in behind:
            with self.subTest(words=words):
                conns = self.crowd("BLPOP", "q", "0")
                values = [b"%d" % at for at in range(self.COUNT)]
                self.assertEqual(self.pipeline(("RPUSH", "q", *values), words), [self.COUNT, answer])
                self.assertEqual(sorted(conn.read()[1] for conn in conns), sorted(values))
                for conn in conns:
                    conn.close()

    def test_a_transaction_behind_it(self):
        conns = self.crowd("BRPOP", "q", "0")
        got = self.pipeline(("LPUSH", "q", *range(self.COUNT + 1)), ("MULTI",), ("LLEN", "q"), ("RPUSH", "p", "a"), ("EXEC",))
        self.assertEqual(got, [self.COUNT + 1, "OK", "QUEUED", "QUEUED", [1, 1]])
        self.assertEqual(sorted(int(conn.read()[1]) for conn in conns), list(range(self.COUNT)))
        self.assertEqual(self.call("LRANGE", "q", 0, -1), [b"%d" % self.COUNT])

    def test_others_go_on_and_those_who_want_the_key_wait(self):
        conns = self.crowd("BZPOPMIN", "z", "0")
        others = [self.connect() for _ in range(20)]
        pairs = [word for at in range(self.COUNT) for word in (at, b"m:%d" % at)]
        self.conn.send_command("ZADD", "z", *pairs)
        for other in others:
            other.send_command("ZADD", "z", "-1", "late")
        self.assertEqual(self.conn.read(), self.COUNT)
        got = sorted(conn.read()[1] for conn in conns)
        late = sum(other.read() for other in others)
        taken = got.count(b"late")
        self.assertEqual(len(got), self.COUNT)
        self.assertLessEqual(taken, late)
        self.assertEqual(self.call("ZCARD", "z"), late)

    def test_a_chain_of_moves(self):
        conns = self.crowd("BLMOVE", "a", "b", "LEFT", "RIGHT", "0")
        last = [self.connect() for _ in range(self.COUNT)]
        for conn in last:
            conn.send_command("BLPOP", "b", "0")
        wait_until(lambda: self.blocked_count() == 2 * self.COUNT, what="the other crowd")
        values = [b"%d" % at for at in range(self.COUNT)]
        self.assertEqual(self.pipeline(("RPUSH", "a", *values), ("LLEN", "a"), ("LLEN", "b")), [self.COUNT, 0, 0])
        self.assertEqual(sorted(conn.read() for conn in conns), sorted(values))
        self.assertEqual(sorted(conn.read()[1] for conn in last), sorted(values))

    def test_all_readers_of_a_stream(self):
        conns = self.crowd("XREAD", "BLOCK", "0", "STREAMS", "s", "$")
        self.assertEqual(self.pipeline(("XADD", "s", "5-1", "f", "v"), ("XLEN", "s"), ("DEL", "s")), [b"5-1", 1, 1])
        for conn in conns:
            self.assertEqual(conn.read(), [[b"s", [[b"5-1", [b"f", b"v"]]]]])

    def test_waiters_that_stay_and_waiters_that_go(self):
        conns = self.crowd("BLMOVE", "a", "text", "LEFT", "RIGHT", "0")
        self.call("SET", "text", "x")
        self.call("RPUSH", "a", *range(self.COUNT))
        for conn in conns:
            self.assertEqual(conn.read(), "WRONGTYPE Operation against a key holding the wrong kind of value")
        self.assertEqual(self.call("LLEN", "a"), self.COUNT)
        self.call("FLUSHALL")
        for conn in conns:
            conn.send_command("BLPOP", "q", "0")
        wait_until(lambda: self.blocked_count() == self.COUNT, what="the crowd")
        self.conn.send_command("RPUSH", "q", *range(self.COUNT))
        for conn in conns[::2]:
            conn.close()
        self.assertEqual(self.conn.read(), self.COUNT)
        for conn in conns[1::2]:
            self.assertEqual(conn.read()[0], b"q")
        wait_until(lambda: self.blocked_count() == 0, what="the end of the crowd")


if __name__ == "__main__":
    main()
