"""Channels, patterns, shard channels: who gets which message, what a subscriber may say, and what
becomes of one that does not read."""
import os
import resource
import signal
import subprocess
import sys

from harness import Case, Error, Push, Server, main, wait_until

DENIED = ("ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are "
          "allowed in this context")


class Subscribing(Case):
    def subscriber(self, *words):
        conn = self.connect()
        conn.send_command(*words)
        for _ in words[1:]:
            conn.read()
        return conn

    def test_each_channel_is_confirmed_with_the_count_of_all(self):
        conn = self.connect()
        conn.send_command("SUBSCRIBE", "a", "b", "a")
        self.assertEqual([conn.read() for _ in range(3)],
                         [[b"subscribe", b"a", 1], [b"subscribe", b"b", 2], [b"subscribe", b"a", 2]])
        self.assertEqual(conn.call("PSUBSCRIBE", "x*"), [b"psubscribe", b"x*", 3])
        self.assertEqual(conn.call("SSUBSCRIBE", "s"), [b"ssubscribe", b"s", 1])
        self.assertEqual(conn.call("UNSUBSCRIBE", "b"), [b"unsubscribe", b"b", 2])
        self.assertEqual(conn.call("UNSUBSCRIBE", "other"), [b"unsubscribe", b"other", 2])
        self.assertEqual(conn.call("PUNSUBSCRIBE"), [b"punsubscribe", b"x*", 1])
        self.assertEqual(conn.call("PUNSUBSCRIBE"), [b"punsubscribe", None, 1])
        self.assertEqual(conn.call("UNSUBSCRIBE"), [b"unsubscribe", b"a", 0])
        self.assertEqual(conn.call("GET", "k"), Error(DENIED % "get"))
        self.assertEqual(conn.call("SUNSUBSCRIBE", "s"), [b"sunsubscribe", b"s", 0])
        self.assertIsNone(conn.call("GET", "k"))

    def test_unsubscribe_without_a_name_ends_all_of_the_kind(self):
        conn = self.subscriber("SUBSCRIBE", *range(2000))
        conn.send_command("PSUBSCRIBE", "p*")
        conn.read()
        conn.send_command("UNSUBSCRIBE")
        answers = [conn.read() for _ in range(2000)]
        self.assertEqual(sorted(answer[1] for answer in answers), sorted(b"%d" % i for i in range(2000)))
        self.assertEqual([answer[2] for answer in answers], list(range(2000, 0, -1)))
        self.assertEqual(self.call("PUBSUB", "CHANNELS"), [])
        self.assertEqual(conn.call("PUNSUBSCRIBE", "p*"), [b"punsubscribe", b"p*", 0])

    def test_messages_come_to_channels_and_to_matching_patterns(self):
        conn = self.subscriber("SUBSCRIBE", "news")
        pattern = self.subscriber("PSUBSCRIBE", "n[aeiou]?s", "other*")
        shard = self.subscriber("SSUBSCRIBE", "news")
        self.assertEqual(self.call("PUBLISH", "news", "one"), 2)
        self.assertEqual(self.call("SPUBLISH", "news", "two"), 1)
        self.assertEqual(self.call("PUBLISH", "nobody", "three"), 0)
        self.assertEqual(self.call("PUBLISH", "nows", b"\0\r\n"), 1)
        self.assertEqual(conn.read(), [b"message", b"news", b"one"])
        self.assertEqual(pattern.read(), [b"pmessage", b"n[aeiou]?s", b"news", b"one"])
        self.assertEqual(pattern.read(), [b"pmessage", b"n[aeiou]?s", b"nows", b"\0\r\n"])
        self.assertEqual(shard.read(), [b"smessage", b"news", b"two"])
        for each in (conn, pattern, shard):
            self.assertEqual(each.call("PING"), [b"pong", b""])

    def test_one_who_matches_twice_gets_it_twice(self):
        conn = self.subscriber("PSUBSCRIBE", "a*", "*b")
        conn.send_command("SUBSCRIBE", "ab")
        conn.read()
        self.assertEqual(self.call("PUBLISH", "ab", "x"), 3)
        self.assertEqual(conn.read(), [b"message", b"ab", b"x"])
        self.assertEqual(sorted([conn.read(), conn.read()]),
                         [[b"pmessage", b"*b", b"ab", b"x"], [b"pmessage", b"a*", b"ab", b"x"]])

    def test_long_messages_arrive_whole(self):
        conn = self.subscriber("SUBSCRIBE", "c")
        for length in (0, 1, 999, 1000, 16383, 16384, 40000, 3000000):
            self.assertEqual(self.call("PUBLISH", "c", "x" * length), 1)
            self.assertEqual(conn.read(), [b"message", b"c", b"x" * length])

    def test_many_subscribers_each_get_every_message_in_order(self):
        conns = [self.subscriber("SUBSCRIBE", "c") for _ in range(60)]
        answers = self.conn.pipeline([("PUBLISH", "c", i) for i in range(50)])
        self.assertEqual(answers, [60] * 50)
        for conn in conns:
            self.assertEqual([conn.read()[2] for _ in range(50)], [b"%d" % i for i in range(50)])

    def test_subscribers_in_both_protocols_get_their_own_form(self):
        old, new = self.subscriber("SUBSCRIBE", "c"), self.connect()
        new.call("HELLO", "3")
        self.assertEqual(new.raw("SUBSCRIBE", "c"), b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n")
        self.assertEqual(self.call("PUBLISH", "c", "m"), 2)
        self.assertEqual(old.read_raw(), b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n")
        self.assertEqual(new.read_raw(), b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n")

    def test_pubsub_tells_channels_and_counts(self):
        conn = self.subscriber("SUBSCRIBE", "a1", "a2", "b")
        other = self.subscriber("SUBSCRIBE", "a1")
        shard = self.subscriber("SSUBSCRIBE", "s", "t")
        pattern = self.subscriber("PSUBSCRIBE", "p*", "q*")
        self.assertEqual(sorted(self.call("PUBSUB", "CHANNELS")), [b"a1", b"a2", b"b"])
        self.assertEqual(sorted(self.call("PUBSUB", "CHANNELS", "a*")), [b"a1", b"a2"])
        self.assertEqual(sorted(self.call("PUBSUB", "SHARDCHANNELS")), [b"s", b"t"])
        self.assertEqual(self.call("PUBSUB", "SHARDCHANNELS", "t*"), [b"t"])
        self.assertEqual(self.call("PUBSUB", "NUMSUB", "a1", "a2", "x"), [b"a1", 2, b"a2", 1, b"x", 0])
        self.assertEqual(self.call("PUBSUB", "SHARDNUMSUB", "s", "a1"), [b"s", 1, b"a1", 0])
        self.assertEqual(self.call("PUBSUB", "NUMPAT"), 2)
        self.assertEqual(self.call("PUBSUB", "NUMSUB"), [])
        self.assertEqual(self.call("PUBSUB", "CHANNELS", "a", "b"),
                         Error("ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP."))
        info = self.call("INFO", "stats")
        self.assertIn(b"pubsub_channels:3\r\n", info)
        self.assertIn(b"pubsub_patterns:2\r\n", info)
        self.assertIn(b"pubsubshard_channels:2\r\n", info)
        for each in (conn, other, shard, pattern):
            each.close()
        wait_until(lambda: self.call("PUBSUB", "CHANNELS") == [] and self.call("PUBSUB", "NUMPAT") == 0)

    def test_many_channels_are_listed_whole(self):
        conn = self.subscriber("SUBSCRIBE", *range(5000))
        self.assertEqual(sorted(self.call("PUBSUB", "CHANNELS")), sorted(b"%d" % i for i in range(5000)))
        self.assertEqual(len(self.call("PUBSUB", "CHANNELS", "1???")), 1000)
        self.assertEqual(conn.call("PING"), [b"pong", b""])


class SubscribedMode(Case):
    def test_resp2_refuses_what_does_not_concern_subscriptions(self):
        conn = self.connect()
        conn.call("SUBSCRIBE", "c")
        for words in (("GET", "k"), ("PUBLISH", "c", "x"), ("HELLO", "3"), ("SELECT", "0")):
            self.assertEqual(conn.call(*words), Error(DENIED % words[0].lower()))
        self.assertEqual(conn.call("CLIENT", "ID"), Error(DENIED % "client|id"))
        self.assertEqual(conn.call("GET"), Error("ERR wrong number of arguments for 'get' command"))
        self.assertEqual(conn.call("PING"), [b"pong", b""])
        self.assertEqual(conn.call("PING", "hello"), [b"pong", b"hello"])
        conn.send_command("QUIT")
        self.assertEqual(conn.read_to_end(), b"+OK\r\n")

    def test_reset_ends_all_subscriptions(self):
        conn = self.connect()
        for name in ("SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"):
            conn.call(name, "c")
        self.assertEqual(conn.call("RESET"), "RESET")
        self.assertIsNone(conn.call("GET", "k"))
        self.assertEqual(self.call("PUBSUB", "NUMSUB", "c"), [b"c", 0])
        self.assertEqual(self.call("PUBSUB", "NUMPAT"), 0)
        self.assertEqual(conn.call("UNSUBSCRIBE"), [b"unsubscribe", None, 0])

    def test_resp3_goes_on_with_commands_between_pushes(self):
        conn = self.connect()
        conn.call("HELLO", "3")
        self.assertIsInstance(conn.call("SUBSCRIBE", "c"), Push)
        self.assertEqual(conn.call("SET", "k", "v"), "OK")
        self.call("PUBLISH", "c", "m")
        self.assertEqual(conn.read(), [b"message", b"c", b"m"])
        self.assertEqual(conn.call("PING"), "PONG")
        self.assertEqual(conn.raw("PUNSUBSCRIBE"), b">3\r\n$12\r\npunsubscribe\r\n_\r\n:1\r\n")
        conn.call("HELLO", "2")
        self.assertEqual(conn.call("GET", "k"), Error(DENIED % "get"))
        self.assertEqual(conn.call("UNSUBSCRIBE", "c"), [b"unsubscribe", b"c", 0])
        self.assertEqual(conn.call("GET", "k"), b"v")

    def test_a_message_to_oneself_follows_the_reply(self):
        if self.server.kind == "redis":
            self.skipTest("until 7.2 Redis sends it before the reply")
        conn = self.connect()
        conn.call("HELLO", "3")
        conn.call("SUBSCRIBE", "c")
        self.assertEqual(conn.raw("PUBLISH", "c", "m"), b":1\r\n")
        self.assertEqual(conn.read(), [b"message", b"c", b"m"])

    def test_messages_and_confirmations_are_not_muted(self):
        conn = self.connect()
        conn.call("HELLO", "3")
        conn.send_command("CLIENT", "REPLY", "OFF")
        conn.send_command("SUBSCRIBE", "c")
        self.assertEqual(conn.read(), [b"subscribe", b"c", 1])
        conn.send_command("GET", "k")
        self.assertEqual(self.call("PUBLISH", "c", "m"), 1)
        self.assertEqual(conn.read(), [b"message", b"c", b"m"])
        self.assertEqual(conn.call("CLIENT", "REPLY", "ON"), "OK")

    def test_client_list_shows_what_a_client_listens_to(self):
        conn = self.connect()
        conn.call("SUBSCRIBE", "a")
        conn.call("PSUBSCRIBE", "a*")
        conn.call("SSUBSCRIBE", "s")
        line = self.call("CLIENT", "LIST", "TYPE", "pubsub")
        self.assertIn(b"flags=P ", line)
        self.assertIn(b" sub=1 psub=1 ", line)
        self.assertEqual(line.count(b"\n"), 1)
        self.assertEqual(self.call("CLIENT", "KILL", "TYPE", "pubsub"), 1)
        self.assertTrue(conn.is_closed())
        self.assertEqual(self.call("PUBSUB", "NUMSUB", "a"), [b"a", 0])


SUBSCRIBER = """
import socket, sys
conn = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
conn.sendall(sys.argv[2].encode() + b"\\r\\n")
print(conn.recv(100), flush=True)
conn.recv(100)
"""


class Lost(Case):
    def test_a_killed_subscriber_leaves_at_once(self):
        with subprocess.Popen([sys.executable, "-c", SUBSCRIBER, str(self.server.port), "SUBSCRIBE c"],
                              stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            self.assertEqual(self.call("PUBSUB", "NUMSUB", "c"), [b"c", 1])
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        wait_until(lambda: self.call("PUBSUB", "NUMSUB", "c") == [b"c", 0], 1)

    def test_one_with_many_subscriptions_leaves_at_once_too(self):
        conn = self.connect()
        count = 20000
        for start in range(0, count, 1000):
            names = ["c%d" % i for i in range(start, start + 1000)]
            conn.send_command("SUBSCRIBE", *names)
            for _ in names:
                conn.read()
        conn.close()
        wait_until(lambda: self.call("PUBSUB", "NUMSUB", "c0", "c19999") == [b"c0", 0, b"c19999", 0], 5)
        self.assertEqual(self.call("PUBLISH", "c19999", "x"), 0)
        self.assertEqual(self.call("PUBSUB", "CHANNELS"), [])
        wait_until(lambda: b"pubsub_channels:0\r\n" in self.call("INFO", "stats"))

    def slow_subscriber(self):
        """One that subscribes and then reads nothing."""
        conn = self.connect()
        conn.call("CLIENT", "SETNAME", "slow")
        conn.call("SUBSCRIBE", "c")
        return conn

    def is_slow_there(self):
        return b"name=slow" in self.call("CLIENT", "LIST")

    def test_a_subscriber_that_does_not_read_is_cut_off_by_the_hard_limit(self):
        self.call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 0 0")
        slow, quick = self.slow_subscriber(), self.connect()
        quick.call("SUBSCRIBE", "c")
        sent = 0
        while self.call("PUBLISH", "c", "x" * 50000) == 2:
            quick.read()
            sent += 1
            self.assertLess(sent, 2000)
        quick.read()
        self.assertGreater(sent, 20)
        self.assertFalse(self.is_slow_there())
        self.assertEqual(self.call("PUBLISH", "c", "last"), 1)
        self.assertEqual(quick.read(), [b"message", b"c", b"last"])
        slow.close()

    def test_the_soft_limit_waits_its_seconds(self):
        self.call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 100kb 1")
        slow = self.slow_subscriber()
        while b"omem=0 " in self.call("CLIENT", "LIST", "TYPE", "pubsub"):
            for _ in range(20):
                self.call("PUBLISH", "c", "x" * 50000)
        self.assertTrue(self.is_slow_there())

        def is_gone():
            for _ in range(10):
                self.call("PUBLISH", "c", "x" * 50000)
            return not self.is_slow_there()
        wait_until(is_gone, 15)
        slow.close()

    def test_many_who_do_not_read_share_the_memory_of_their_messages(self):
        if self.server.kind == "redis":
            self.skipTest("Redis copies")
        self.call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 0 0")
        slow = [self.slow_subscriber() for _ in range(40)]
        before = self.used_memory()
        for _ in range(100):
            self.assertEqual(self.call("PUBLISH", "c", "x" * 100000), 40)
        # 10 MB of messages, unread by 40: copies would take 400 MB, less what the kernel buffers.
        self.assertLess(self.used_memory() - before, 20 << 20)
        for conn in slow:
            conn.close()

    def used_memory(self):
        info = self.call("INFO", "memory")
        return int(info.split(b"used_memory:")[1].split(b"\r\n")[0])

    def test_the_messages_of_slow_subscribers_evict_no_keys(self):
        if self.server.kind == "redis":
            self.skipTest("there they count as data")
        with Server("--maxmemory", "20mb", "--maxmemory-policy", "allkeys-lru") as server:
            conn = server.connect()
            for i in range(1000):
                conn.call("SET", "k%d" % i, "x" * 1000)
            conn.call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 0 0")
            slow = server.connect()
            slow.call("SUBSCRIBE", "c")
            for _ in range(400):
                conn.call("PUBLISH", "c", "x" * 100000)
            conn.call("SET", "another", "x")
            self.assertEqual(conn.call("DBSIZE"), 1001)
            slow.close()
            conn.close()


class ManySubscribers(Case):
    @classmethod
    def setUpClass(cls):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        super().setUpClass()

    def test_publish_to_thousands_is_served_in_slices_and_answers_when_all_are(self):
        count = 1500
        conns = []
        for _ in range(count):
            conn = self.connect()
            conn.send_command("SUBSCRIBE", "c")
            conns.append(conn)
        for conn in conns:
            conn.read()
        other = self.connect()
        self.conn.send_command("PUBLISH", "c", "one")
        self.conn.send_command("PUBLISH", "c", "two")
        other.send_command("PUBLISH", "c", "three")
        self.assertEqual([self.conn.read(), self.conn.read(), other.read()], [count] * 3)
        orders = set()
        for conn in conns:
            orders.add(tuple(conn.read()[2] for _ in range(3)))
        self.assertEqual(len(orders), 1)
        order = orders.pop()
        self.assertLess(order.index(b"one"), order.index(b"two"))

    def test_a_subscriber_may_come_or_go_meanwhile(self):
        conns = [self.connect() for _ in range(1200)]
        for conn in conns:
            conn.send_command("SUBSCRIBE", "c")
        for conn in conns:
            conn.read()
        self.conn.send_command("PUBLISH", "c", "m")
        for conn in conns[::3]:
            conn.send_command("UNSUBSCRIBE", "c")
        for conn in conns[1::3]:
            conn.close()
        self.assertGreaterEqual(self.conn.read(), 400)
        for conn in conns[2::3]:
            self.assertEqual(conn.read(), [b"message", b"c", b"m"])
        wait_until(lambda: self.call("PUBSUB", "NUMSUB", "c") == [b"c", 400])


if __name__ == "__main__":
    main()
