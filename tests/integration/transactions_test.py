#!/usr/bin/env python3
"""MULTI, EXEC, DISCARD, WATCH, UNWATCH: what is queued, what runs, what stops it."""
import os
import time
import unittest

from harness import Case, encode, main, wait_until

IS_REDIS = os.environ.get("OURO_KIND") == "redis"
ABORTED = "EXECABORT Transaction discarded because of previous errors."


class Transactions(Case):
    """What the tests share."""

    args = ("--enable-debug-command", "yes")

    def setUp(self):
        super().setUp()
        self.other = self.connect()

    def transaction(self, *commands, conn=None):
        """The reply of EXEC after the commands, all of which are queued."""
        conn = conn or self.conn
        replies = conn.pipeline([("MULTI",), *commands, ("EXEC",)])
        self.assertEqual(replies[:-1], ["OK"] + ["QUEUED"] * len(commands))
        return replies[-1]

    def field(self, name, conn=None):
        """A field of the connection's line in CLIENT LIST."""
        line = (conn or self.conn).call("CLIENT", "INFO").decode()
        return dict(word.split("=", 1) for word in line.split())[name]


class Queue(Transactions):
    def test_what_is_queued_runs_at_exec(self):
        self.assertEqual(self.call("MULTI"), "OK")
        self.assertEqual(self.call("SET", "k", "1"), "QUEUED")
        self.assertEqual(self.call("INCR", "k"), "QUEUED")
        self.assertEqual(self.call("GET", "k"), "QUEUED")
        self.assertEqual(self.other.call("EXISTS", "k"), 0)
        self.assertEqual(self.call("EXEC"), ["OK", 2, b"2"])
        self.assertEqual(self.call("GET", "k"), b"2")

    def test_an_empty_transaction(self):
        self.assertEqual(self.transaction(), [])

    def test_discard(self):
        self.call("MULTI")
        self.call("SET", "k", "1")
        self.assertEqual(self.call("DISCARD"), "OK")
        self.assertEqual(self.call("EXISTS", "k"), 0)
        self.assertEqual(self.call("EXEC"), "ERR EXEC without MULTI")

    def test_out_of_place(self):
        self.assertEqual(self.call("EXEC"), "ERR EXEC without MULTI")
        self.assertEqual(self.call("DISCARD"), "ERR DISCARD without MULTI")
        self.call("MULTI")
        self.assertEqual(self.call("MULTI"), "ERR MULTI calls can not be nested")
        self.assertEqual(self.call("WATCH", "k"), "ERR WATCH inside MULTI is not allowed")
        self.call("PING")
        self.assertEqual(self.call("EXEC"), ["PONG"])

    def test_a_refusal_spoils_it(self):
        for words in (("NOSUCH",), ("GET",), ("CLIENT", "NOSUCH"), ("SHUTDOWN",), ("WATCH",),
                      ("DISCARD", "x"), ("MULTI", "x")):
            with self.subTest(words):
                self.call("MULTI")
                self.call("SET", "k", "1")
                self.assertTrue(self.call(*words).startswith("ERR "))
                self.assertEqual(self.call("PING"), "QUEUED")
                self.assertEqual(self.call("EXEC"), ABORTED)
                self.assertEqual(self.call("EXISTS", "k"), 0)
                self.assertEqual(self.call("EXEC"), "ERR EXEC without MULTI")

    def test_what_may_not_be_queued(self):
        self.call("MULTI")
        self.assertEqual(self.call("SHUTDOWN"), "ERR Command not allowed inside a transaction")
        self.assertEqual(self.call("DISCARD"), "OK")

    def test_exec_with_an_argument_ends_it(self):
        self.call("MULTI")
        self.assertEqual(self.call("EXEC", "x"), "EXECABORT Transaction discarded because of: wrong "
                                                 "number of arguments for 'exec' command")
        self.assertEqual(self.call("EXEC"), "ERR EXEC without MULTI")

    def test_errors_of_commands_do_not_stop_the_others(self):
        self.assertEqual(
            self.transaction(("SET", "k", "v"), ("LPUSH", "k", "x"), ("INCR", "k"), ("GET", "k")),
            ["OK", "WRONGTYPE Operation against a key holding the wrong kind of value",
             "ERR value is not an integer or out of range", b"v"])

    def test_select_inside(self):
        self.assertEqual(self.transaction(("SET", "a", "0"), ("SELECT", "5"), ("SET", "a", "5")),
                         ["OK"] * 3)
        self.assertEqual(self.call("GET", "a"), b"5")
        self.call("SELECT", "0")
        self.assertEqual(self.call("GET", "a"), b"0")

    def test_the_protocol_may_change_inside(self):
        self.call("MULTI")
        self.call("HGETALL", "h")
        self.call("HELLO", "3")
        self.call("HGETALL", "h")
        reply = self.raw("EXEC")
        self.assertTrue(reply.startswith(b"*3\r\n*0\r\n%7\r\n"), reply)
        self.assertTrue(reply.endswith(b"%0\r\n"), reply)
        self.assertEqual(self.call("WATCH", "w"), "OK")
        self.other.call("SET", "w", "1")
        self.call("MULTI")
        self.assertEqual(self.raw("EXEC"), b"_\r\n")

    def test_nothing_waits_inside(self):
        self.assertEqual(
            self.transaction(("BLPOP", "k", "0"), ("BLMOVE", "a", "b", "LEFT", "LEFT", "0"),
                             ("BRPOPLPUSH", "a", "b", "0"), ("BLMPOP", "0", "1", "k", "LEFT"),
                             ("BZPOPMIN", "k", "0"), ("BZMPOP", "0", "1", "k", "MAX"), ("PING",)),
            [None] * 6 + ["PONG"])
        self.call("MULTI")
        self.call("BLPOP", "k", "0")
        self.call("BLMOVE", "a", "b", "LEFT", "LEFT", "0")
        self.assertEqual(self.raw("EXEC"), b"*2\r\n*-1\r\n$-1\r\n")

    def test_keys_and_sort_answer_at_once(self):
        for start in range(0, 5000, 1000):
            self.call("RPUSH", "l", *range(start, start + 1000))
            self.conn.pipeline([("SET", "k%d" % at, at) for at in range(start, start + 1000)])
        replies = self.transaction(("KEYS", "*"), ("SORT", "l", "DESC"), ("PING",))
        self.assertEqual((len(replies[0]), len(replies[1]), replies[2]), (5001, 5000, "PONG"))

    def test_quit_and_reset_are_not_queued(self):
        self.other.call("MULTI")
        self.assertEqual(self.other.call("RESET"), "RESET")
        self.assertEqual(self.other.call("PING"), "PONG")
        self.other.call("MULTI")
        self.assertEqual(self.other.call("QUIT"), "OK")
        self.assertTrue(self.other.is_closed())

    def test_reply_off_holds_from_where_it_stands(self):
        self.call("MULTI")
        self.call("PING")
        self.call("CLIENT", "REPLY", "OFF")
        self.call("PING")
        self.conn.send_command("EXEC")
        self.conn.send_command("CLIENT", "REPLY", "ON")
        self.assertEqual(self.conn.read_bytes(16), b"*3\r\n+PONG\r\n+OK\r\n")

    def test_large_values_and_many_commands(self):
        blob = os.urandom(3 << 20)
        replies = self.transaction(("SET", "a", blob), ("SET", "b", "x" * 40000), ("APPEND", "a", "y"),
                                   ("STRLEN", "a"), ("GETRANGE", "a", "0", "9"))
        self.assertEqual(replies, ["OK", "OK", len(blob) + 1, len(blob) + 1, blob[:10]])
        self.assertEqual(self.call("GET", "a"), blob + b"y")
        self.assertEqual(self.transaction(*[("INCR", "n")] * 5000), list(range(1, 5001)))
        self.conn.pipeline([("MULTI",)] + [("INCR", "n")] * 5000 + [("DISCARD",)])
        self.assertEqual(self.call("GET", "n"), b"5000")

    def test_a_queue_of_any_length(self):
        idle = self.field("tot-mem")
        requests = encode("MULTI") + encode("INCR", "n") * 150000
        for end in ("DISCARD", "EXEC"):
            self.conn.send(requests)
            self.assertEqual(self.conn.read(), "OK")
            self.assertTrue(all(self.conn.read() == "QUEUED" for _ in range(150000)))
            reply = self.call(end)
            self.assertTrue(reply == "OK" or reply == list(range(1, 150001)))
            if not IS_REDIS:
                self.assertEqual(self.field("multi-mem"), "0")
                wait_until(lambda: self.field("tot-mem") == idle, what="its memory")
        self.assertEqual(self.call("GET", "n"), b"150000")

    def test_client_list_tells_what_is_queued(self):
        self.assertEqual((self.field("multi"), self.field("multi-mem")), ("-1", "0"))
        self.other.call("MULTI")
        self.other.call("SET", "k", "x" * 100000)
        line = [line for line in self.call("CLIENT", "LIST").decode().splitlines()
                if " multi=1 " in line][0]
        fields = dict(word.split("=", 1) for word in line.split())
        self.assertEqual(fields["flags"], "x")
        self.assertGreater(int(fields["multi-mem"]), 100000)
        self.assertGreater(int(fields["tot-mem"]), 100000)
        self.other.call("DISCARD")
        self.assertEqual(self.field("multi-mem", self.other), "0")

    def test_monitor_shows_the_commands_before_exec(self):
        watcher = self.connect()
        watcher.call("MONITOR")
        self.transaction(("SET", "k", "1"), ("GET", "k"))
        lines = [watcher.read() for _ in range(4)]
        self.assertEqual([line.split('"')[1] for line in lines], ["MULTI", "SET", "GET", "EXEC"])

    def test_calls_are_counted_when_they_run(self):
        self.call("CONFIG", "RESETSTAT")
        self.call("MULTI")
        self.call("SET", "k", "1")
        self.call("GET")
        self.call("EXEC")
        self.transaction(("SET", "k", "1"), ("SET", "k", "2"))
        stats = dict(line.split(":", 1) for line in
                     self.call("INFO", "commandstats").decode().splitlines() if ":" in line)
        self.assertTrue(stats["cmdstat_set"].startswith("calls=2,"))
        self.assertIn("rejected_calls=1,", stats["cmdstat_get"])
        self.assertIn("failed_calls=1", stats["cmdstat_exec"])


class Watch(Transactions):
    def assert_changed(self, is_changed):
        self.assertEqual(self.transaction(("PING",)), None if is_changed else ["PONG"])

    def test_a_change_by_another_client_stops_it(self):
        self.call("SET", "k", "1")
        self.assertEqual(self.call("WATCH", "j", "k"), "OK")
        self.other.call("SET", "k", "2")
        self.assertEqual(self.transaction(("SET", "k", "3")), None)
        self.assertEqual(self.call("GET", "k"), b"2")
        self.assertEqual(self.transaction(("SET", "k", "3")), ["OK"])

    def test_own_changes_count_too(self):
        self.call("WATCH", "k")
        self.call("SET", "k", "1")
        self.assert_changed(True)

    def test_what_changes_a_key_and_what_does_not(self):
        for setup, change, is_changed in (
                ((), ("SET", "k", "1"), True),
                (("SET", "k", "1"), ("GET", "k"), False),
                (("SET", "k", "1"), ("SET", "k", "1"), True),
                (("SET", "k", "1"), ("EXPIRE", "k", "100"), True),
                (("SET", "k", "1"), ("DEL", "k"), True),
                (("SET", "k", "1"), ("SETNX", "k", "2"), False),
                ((), ("DEL", "k"), False),
                (("RPUSH", "k", "b", "a"), ("SORT", "k", "ALPHA", "STORE", "k"), True),
                (("SADD", "k", "a"), ("SADD", "k", "a"), False),
                (("SET", "k", "1"), ("RENAME", "k", "j"), True),
                (("SET", "k", "1"), ("FLUSHDB",), True),
                (("SET", "k", "1"), ("FLUSHALL",), True),
                ((), ("FLUSHALL",), False),
                (("SET", "k", "1"), ("SWAPDB", "0", "1"), True),
                ((), ("SWAPDB", "0", "1"), False),
                (("SET", "k", "1"), ("SELECT", "1"), False),
                (("SET", "k", "1"), ("MOVE", "k", "3"), True)):
            with self.subTest(setup=setup, change=change):
                self.call("FLUSHALL")
                if setup:
                    self.call(*setup)
                self.call("WATCH", "k")
                self.other.call("SELECT", "0")
                self.other.call(*change)
                self.assert_changed(is_changed)

    def test_a_key_that_comes_with_a_swap(self):
        self.call("SELECT", "1")
        self.call("SET", "k", "1")
        self.call("SELECT", "0")
        self.call("WATCH", "k")
        self.other.call("SWAPDB", "0", "1")
        self.assert_changed(True)

    def test_the_same_name_in_another_database_is_another_key(self):
        self.call("WATCH", "k")
        self.other.call("SELECT", "1")
        self.other.call("SET", "k", "1")
        self.assert_changed(False)
        self.call("SELECT", "1")
        self.call("WATCH", "k")
        self.call("SELECT", "0")
        self.other.call("SET", "k", "2")
        self.assert_changed(True)

    def test_unwatch_exec_discard_and_reset_forget(self):
        for words in (("UNWATCH",), ("MULTI", "EXEC"), ("MULTI", "DISCARD"), ("RESET",)):
            with self.subTest(words):
                self.call("WATCH", "k")
                for word in words:
                    self.call(word)
                self.other.call("SET", "k", "1")
                self.assert_changed(False)

    def test_unwatch_that_is_queued_comes_too_late(self):
        self.call("WATCH", "k")
        self.other.call("SET", "k", "1")
        self.assertEqual(self.transaction(("UNWATCH",)), None)
        self.assertEqual(self.transaction(("UNWATCH",)), ["OK"])

    def test_watching_twice_is_watching_once(self):
        names = ["k%d" % index for index in range(300)]
        self.call("WATCH", *names, *names)
        self.call("WATCH", *names)
        self.assert_changed(False)
        self.call("WATCH", *names, *names)
        self.other.call("SET", "k299", "1")
        self.assert_changed(True)

    def test_watchers_that_close_leave_nothing(self):
        for _ in range(20):
            conn = self.connect()
            conn.call("WATCH", "k", "j")
            conn.close()
        self.call("WATCH", "k")
        self.other.call("SET", "k", "1")
        self.assert_changed(True)

    def test_a_key_that_expires_while_it_is_watched_has_changed(self):
        self.call("SET", "k", "1", "PX", "20")
        self.call("WATCH", "k")
        wait_until(lambda: self.other.call("EXISTS", "k") == 0)
        self.assert_changed(True)

    def test_the_same_when_nobody_removes_it(self):
        self.assertEqual(self.call("DEBUG", "SET-ACTIVE-EXPIRE", "0"), "OK")
        try:
            self.call("SET", "k", "1", "PX", "1")
            self.call("WATCH", "k")
            time.sleep(0.01)
            self.assert_changed(True)
        finally:
            self.call("DEBUG", "SET-ACTIVE-EXPIRE", "1")

    def test_a_key_that_had_expired_may_be_removed(self):
        self.assertEqual(self.call("DEBUG", "SET-ACTIVE-EXPIRE", "0"), "OK")
        try:
            for removal in (("DEL", "k"), ("EXISTS", "k"), ("FLUSHALL",), ("FLUSHDB",), ("PING",),
                            ("SWAPDB", "0", "1")):
                with self.subTest(removal):
                    self.call("FLUSHALL")
                    self.call("SET", "k", "1", "PX", "1")
                    time.sleep(0.01)
                    self.call("WATCH", "k")
                    self.other.call(*removal)
                    self.assert_changed(False)
            self.call("SET", "k", "1", "PX", "1")
            time.sleep(0.01)
            self.call("WATCH", "k")
            self.other.call("SET", "k", "2")
            self.assert_changed(True)
        finally:
            self.call("DEBUG", "SET-ACTIVE-EXPIRE", "1")


class Blocked(Transactions):
    def waiter(self, *words):
        conn = self.connect()
        before = self.blocked_count()
        conn.send_command(*words)
        wait_until(lambda: self.blocked_count() == before + 1)
        return conn

    def blocked_count(self):
        text = self.call("INFO", "clients").decode()
        return int(text.split("blocked_clients:")[1].split("\r\n")[0])

    def test_waiters_see_the_transaction_as_a_whole(self):
        conn = self.waiter("BLPOP", "k", "0")
        self.assertEqual(self.transaction(("RPUSH", "k", "1"), ("DEL", "k")), [1, 1])
        self.assertEqual(self.transaction(("RPUSH", "k", "1"), ("DEL", "k"), ("RPUSH", "k", "2")),
                         [1, 1, 1])
        self.assertEqual(conn.read(), [b"k", b"2"])

    def test_pushes_inside_serve_in_order_after_it(self):
        conns = [self.waiter("BLPOP", "k", "0") for _ in range(3)]
        self.assertEqual(self.transaction(("RPUSH", "k", "1"), ("RPUSH", "k", "2"), ("LLEN", "k")),
                         [1, 2, 2])
        self.assertEqual([conn.read()[1] for conn in conns[:2]], [b"1", b"2"])
        self.call("RPUSH", "k", "3")
        self.assertEqual(conns[2].read(), [b"k", b"3"])

    def test_the_first_key_that_was_written_serves(self):
        conn = self.waiter("BLPOP", "a", "b", "0")
        self.transaction(("RPUSH", "b", "1"), ("RPUSH", "a", "2"))
        self.assertEqual(conn.read(), [b"b", b"1"])

    def test_a_list_that_has_expired_serves_nobody(self):
        conn = self.waiter("BLPOP", "k", "0")
        self.transaction(("RPUSH", "k", "old"), ("PEXPIREAT", "k", "1"))
        self.call("RPUSH", "k", "x")
        self.assertEqual(conn.read(), [b"k", b"x"])

    def test_a_change_of_kind_inside(self):
        conn = self.waiter("BZPOPMIN", "k", "0")
        self.transaction(("ZADD", "k", "1", "m"), ("DEL", "k"), ("RPUSH", "k", "x"))
        self.assertEqual(self.call("LPOP", "k"), b"x")
        self.call("ZADD", "k", "2", "n")
        self.assertEqual(conn.read(), [b"k", b"n", b"2"])

    def test_a_waiter_killed_inside_takes_nothing_with_it(self):
        conn = self.connect()
        number = conn.call("CLIENT", "ID")
        conn.send_command("BLPOP", "k", "0")
        wait_until(lambda: self.blocked_count() == 1)
        self.assertEqual(self.transaction(("CLIENT", "KILL", "ID", number), ("RPUSH", "k", "1")),
                         [1, 1])
        self.assertEqual(self.call("LRANGE", "k", "0", "-1"), [b"1"])

    def test_what_a_served_client_does_changes_watched_keys(self):
        conn = self.waiter("BLPOP", "k", "0")
        self.call("WATCH", "k")
        self.other.call("RPUSH", "k", "1")
        self.assertEqual(conn.read(), [b"k", b"1"])
        self.assertEqual(self.transaction(("PING",)), None)


class Pauses(Transactions):
    def test_writes_wait_before_they_are_queued(self):
        self.call("MULTI")
        self.other.call("CLIENT", "PAUSE", "30000", "WRITE")
        self.assertEqual(self.call("GET", "k"), "QUEUED")
        self.conn.send(b"SET k 1\r\nEXEC\r\n")
        self.assertEqual(self.other.call("PING"), "PONG")
        self.other.call("CLIENT", "UNPAUSE")
        self.assertEqual([self.conn.read(), self.conn.read()], ["QUEUED", [None, "OK"]])

    def test_exec_waits_when_it_would_write(self):
        third = self.connect()
        third.call("MULTI")
        third.call("SET", "k", "1")
        self.call("MULTI")
        self.call("GET", "k")
        self.other.call("CLIENT", "PAUSE", "30000", "WRITE")
        self.assertEqual(self.call("EXEC"), [None])
        third.send_command("EXEC")
        self.assertEqual(self.call("GET", "k"), None)
        self.other.call("CLIENT", "UNPAUSE")
        self.assertEqual(third.read(), ["OK"])


class Limits(Transactions):
    @unittest.skipIf(IS_REDIS, "not before 7.2")
    def test_the_queue_is_part_of_the_query_buffer(self):
        with self.own_server("--client-query-buffer-limit", "1mb") as server:
            conn = server.connect()
            conn.call("MULTI")
            try:
                for _ in range(100):
                    self.assertEqual(conn.call("SET", "k", "x" * 20000), "QUEUED")
            except OSError:
                pass
            else:
                self.fail("two megabytes were queued")
            with server.connect() as other:
                self.assertEqual(other.call("EXISTS", "k"), 0)
                self.assertEqual(other.call("CLIENT", "LIST").count(b"multi=-1"), 1)

    def test_clients_together_are_bounded(self):
        with self.own_server("--maxmemory-clients", "4mb") as server:
            with server.connect() as other:
                conn = server.connect()
                conn.call("MULTI")
                try:
                    for _ in range(500):
                        conn.call("SET", "k", "x" * 20000)
                except OSError:
                    pass
                else:
                    self.fail("ten megabytes were queued")
                self.assertIn(b"evicted_clients:1\r\n", other.call("INFO", "stats"))

    def test_without_memory_nothing_is_queued(self):
        oom = "OOM command not allowed when used memory > 'maxmemory'."
        with self.own_server("--maxmemory-policy", "noeviction") as server:
            with server.connect() as conn, server.connect() as other:
                other.call("SET", "big", "x" * 1000000)
                conn.pipeline([("MULTI",), ("GET", "big")])
                other.call("CONFIG", "SET", "maxmemory", "1000")
                self.assertEqual(conn.call("GET", "k"), oom)
                self.assertEqual(conn.call("EXEC"), ABORTED)
                other.call("CONFIG", "SET", "maxmemory", "0")
                conn.pipeline([("MULTI",), ("SET", "k", "v")])
                other.call("CONFIG", "SET", "maxmemory", "1000")
                self.assertEqual(conn.call("EXEC"),
                                 "EXECABORT Transaction discarded because of: " + oom)
                self.assertEqual(conn.call("EXEC"), "ERR EXEC without MULTI")
                other.call("CONFIG", "SET", "maxmemory", "0")
                conn.pipeline([("MULTI",), ("STRLEN", "big")])
                other.call("CONFIG", "SET", "maxmemory", "1000")
                self.assertEqual(conn.call("EXEC"), [1000000])
                self.assertEqual(conn.pipeline([("MULTI",), ("DISCARD",)]), ["OK", "OK"])


if __name__ == "__main__":
    main()
