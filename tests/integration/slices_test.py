"""Long commands in slices: others go on meanwhile, replies are of one moment, writers wait only for
what they would change, and nobody waits for a client that does not read."""
import socket

from harness import Case, Error, encode, main, wait_until

COUNT = 10000


class Sliced(Case):
    """Collections large enough to be read in slices; small ones do in the hostile build."""

    def setUp(self):
        super().setUp()
        self.members = [b"member:%d" % n for n in range(COUNT)]
        for start in range(0, COUNT, 5000):
            part = self.members[start:start + 5000]
            self.call("SADD", "set", *part)
            self.call("RPUSH", "list", *part)
            self.call("HSET", "hash", *[word for m in part for word in (m, b"value of " + m)])
            self.call("ZADD", "zset", *[word for n, m in enumerate(part) for word in (start + n, m)])

    def info(self, field):
        for line in self.call("INFO").decode().splitlines():
            if line.startswith(field + ":"):
                return line.split(":", 1)[1]
        return None


class Replies(Sliced):
    def test_whole_collections_are_told(self):
        self.assertEqual(sorted(self.call("SMEMBERS", "set")), sorted(self.members))
        self.assertEqual(self.call("LRANGE", "list", 0, -1), self.members)
        self.assertEqual(self.call("LRANGE", "list", 10, -11), self.members[10:-10])
        self.assertEqual(self.call("ZRANGE", "zset", 0, -1), self.members)
        self.assertEqual(self.call("ZRANGE", "zset", 0, -1, "REV"), self.members[::-1])
        self.assertEqual(sorted(self.call("HKEYS", "hash")), sorted(self.members))
        self.assertEqual(sorted(self.call("HVALS", "hash")), sorted(b"value of " + m for m in self.members))
        flat = self.call("HGETALL", "hash")
        self.assertEqual(dict(zip(flat[::2], flat[1::2])), {m: b"value of " + m for m in self.members})

    def test_resp3_has_its_own_shapes(self):
        with self.connect() as conn:
            conn.call("HELLO", 3)
            self.assertEqual(conn.call("HGETALL", "hash"), {m: b"value of " + m for m in self.members})
            self.assertEqual(sorted(conn.call("SMEMBERS", "set")), sorted(self.members))
            self.assertEqual(conn.call("ZRANGE", "zset", 0, -1, "WITHSCORES"),
                             [[m, float(n)] for n, m in enumerate(self.members)])

    def test_sets_against_sets(self):
        self.call("SADD", "few", *self.members[:2000], "extra")
        self.assertEqual(sorted(self.call("SINTER", "set", "few")), sorted(self.members[:2000]))
        self.assertEqual(sorted(self.call("SUNION", "set", "few")), sorted(self.members + [b"extra"]))
        self.assertEqual(sorted(self.call("SDIFF", "set", "few")), sorted(self.members[2000:]))
        self.assertEqual(self.call("SINTERCARD", 2, "set", "few"), 2000)
        self.assertEqual(self.call("SINTERCARD", 2, "set", "few", "LIMIT", 1500), 1500)
        self.assertEqual(self.call("SUNIONSTORE", "to", "set", "few"), COUNT + 1)
        self.assertEqual(sorted(self.call("SMEMBERS", "to")), sorted(self.members + [b"extra"]))
        self.assertEqual(self.call("SDIFFSTORE", "to", "set", "few"), COUNT - 2000)
        self.assertEqual(self.call("SINTERSTORE", "set", "set", "few"), 2000)
        self.assertEqual(self.call("SCARD", "set"), 2000)

    def test_sorted_sets_combined(self):
        self.assertEqual(self.call("ZUNIONSTORE", "to", 2, "zset", "set", "WEIGHTS", 2, 1), COUNT)
        self.assertEqual(self.call("ZSCORE", "to", self.members[7]), b"15")
        self.assertEqual(self.call("ZINTERCARD", 2, "zset", "set"), COUNT)
        self.assertEqual(self.call("ZDIFFSTORE", "to", 2, "zset", "set"), 0)
        self.assertEqual(self.call("EXISTS", "to"), 0)
        self.assertEqual(self.call("ZRANGESTORE", "to", "zset", 10, -1), COUNT - 10)
        self.assertEqual(self.call("ZRANGE", "to", 0, 0), [self.members[10]])
        self.assertEqual(self.call("ZINTER", 2, "zset", "set", "AGGREGATE", "MIN")[:1], [self.members[0]])

    def test_scans_of_any_count(self):
        for command, key, pick in (("SSCAN", "set", lambda got: got), ("HSCAN", "hash", lambda got: got[::2]),
                                   ("ZSCAN", "zset", lambda got: got[::2])):
            for count in (COUNT * 2, 2500):
                cursor, seen = b"0", []
                while True:
                    cursor, got = self.call(command, key, cursor, "COUNT", count)
                    seen += pick(got)
                    if cursor == b"0":
                        break
                self.assertEqual(sorted(seen), sorted(self.members))
            _, got = self.call(command, key, 0, "COUNT", COUNT * 2, "MATCH", "member:1?")
            self.assertEqual(len(pick(got)), 10)

    def test_random_ones(self):
        for command, key in (("SRANDMEMBER", "set"), ("HRANDFIELD", "hash"), ("ZRANDMEMBER", "zset")):
            for count in (COUNT * 2, COUNT - 1, 2000):
                got = self.call(command, key, count)
                self.assertEqual(len(got), min(count, COUNT))
                self.assertEqual(len(set(got)), len(got))
                self.assertLessEqual(set(got), set(self.members))
            self.assertEqual(len(self.call(command, key, -5000)), 5000)

    def test_positions(self):
        self.assertEqual(self.call("LPOS", "list", self.members[-1]), COUNT - 1)
        self.assertEqual(self.call("LPOS", "list", self.members[-1], "MAXLEN", 2000), None)
        self.assertEqual(self.call("LPOS", "list", "absent"), None)
        self.call("RPUSH", "list", self.members[0])
        self.assertEqual(self.call("LPOS", "list", self.members[0], "COUNT", 0), [0, COUNT])
        self.assertEqual(self.call("LPOS", "list", self.members[0], "RANK", -2), 0)

    def test_sorted(self):
        self.assertEqual(self.call("SORT", "list", "ALPHA"), sorted(self.members))
        self.assertEqual(self.call("SORT", "zset", "BY", "nosort", "GET", "#", "LIMIT", 0, 5000), self.members[:5000])
        self.assertEqual(self.call("SORT", "set", "ALPHA", "STORE", "to"), COUNT)
        self.assertEqual(self.call("LRANGE", "to", 0, -1), sorted(self.members))
        self.assertEqual(self.call("SORT", "set"), "ERR One or more scores can't be converted into double")
        self.assertEqual(self.call("SORT", "set", "STORE", "to"),
                         "ERR One or more scores can't be converted into double")

    def test_copies_are_the_same(self):
        self.call("PEXPIRE", "hash", 10000000)
        for key in ("set", "list", "hash", "zset"):
            self.assertEqual(self.call("COPY", key, "to"), 1)
            self.assertEqual(self.call("COPY", key, "to"), 0)
            self.assertEqual(self.call("OBJECT", "ENCODING", "to"), self.call("OBJECT", "ENCODING", key))
            self.assertEqual(self.call("PTTL", "to") > 0, key == "hash")
            if key == "set":
                self.assertEqual(sorted(self.call("SMEMBERS", "to")), sorted(self.members))
            if key == "list":
                self.assertEqual(self.call("LRANGE", "to", 0, -1), self.members)
            if key == "hash":
                self.assertEqual(self.call("HGET", "to", self.members[9]), b"value of " + self.members[9])
                self.assertEqual(self.call("HLEN", "to"), COUNT)
            if key == "zset":
                self.assertEqual(self.call("ZRANGE", "to", 0, -1), self.members)
            self.assertEqual(self.call("COPY", key, "to", "REPLACE"), 1)
            self.assertEqual(self.call("COPY", key, "to", "DB", 1, "REPLACE"), 1)
            self.call("DEL", "to")

    def test_payloads_can_be_restored(self):
        for key in ("set", "list", "hash", "zset"):
            payload = self.call("DUMP", key)
            self.assertEqual(self.call("RESTORE", "to", 0, payload, "REPLACE"), "OK")
            again = self.call("DUMP", "to")
            self.assertEqual(len(again), len(payload))
            self.assertTrue(again == payload or key != "list")
            words = {"list": ("LRANGE", 0, -1), "zset": ("ZRANGE", 0, -1), "set": ("SMEMBERS",), "hash": ("HGETALL",)}
            command, *rest = words[key]
            self.assertTrue(sorted(self.call(command, "to", *rest)) == sorted(self.call(command, key, *rest)))

    def test_bits(self):
        self.call("SETBIT", "bits", 80000000, 1)
        self.call("SETBIT", "bits", 12345, 1)
        self.assertEqual(self.call("BITCOUNT", "bits"), 2)
        self.assertEqual(self.call("BITCOUNT", "bits", 12345, 80000000, "BIT"), 2)
        self.assertEqual(self.call("BITPOS", "bits", 1), 12345)
        self.assertEqual(self.call("BITPOS", "bits", 1, 2000), 80000000)
        self.assertEqual(self.call("BITPOS", "bits", 0, 0, 1000, "BIT"), 0)
        self.call("SETBIT", "bits", 80000000, 0)
        self.assertEqual(self.call("BITPOS", "bits", 1, 2000), -1)

    def test_places(self):
        words = []
        for n in range(5000):
            words += [13 + (n % 100) / 1000, 38 + (n // 100) / 1000, "place:%d" % n]
        self.call("GEOADD", "places", *words)
        where = ("FROMLONLAT", 13.05, 38.02, "BYRADIUS", 100, "km")
        got = self.call("GEOSEARCH", "places", *where, "ASC", "WITHDIST")
        distances = [float(pair[1]) for pair in got]
        self.assertEqual((len(got), distances), (5000, sorted(distances)))
        self.assertEqual(len(self.call("GEORADIUS", "places", 13.05, 38.02, 100, "km", "COUNT", 2000)), 2000)
        self.assertEqual(self.call("GEOSEARCHSTORE", "to", "places", *where), 5000)
        self.assertEqual(self.call("ZCARD", "to"), 5000)

    def test_a_pipeline_keeps_its_order(self):
        with self.connect() as conn:
            conn.send(encode("SET", "a", 1) + encode("SMEMBERS", "set") + encode("INCR", "a") +
                      encode("LRANGE", "list", 0, -1) + encode("SREM", "set", self.members[0]) +
                      encode("SCARD", "set") + encode("DEL", "list") + encode("LRANGE", "list", 0, -1))
            self.assertEqual(conn.read(), "OK")
            self.assertEqual(len(conn.read()), COUNT)
            self.assertEqual(conn.read(), 2)
            self.assertEqual(conn.read(), self.members)
            self.assertEqual([conn.read() for _ in range(4)], [1, COUNT - 1, 1, []])

    def test_inside_a_transaction_and_muted(self):
        with self.connect() as conn, self.connect() as slow:
            slow.send_command("LRANGE", "list", 0, -1)
            for words in (("MULTI",), ("SMEMBERS", "set"), ("RPUSH", "list", "x"), ("LRANGE", "list", -1, -1)):
                conn.call(*words)
            members, length, last = conn.call("EXEC")
            self.assertEqual((len(members), length, last), (COUNT, COUNT + 1, [b"x"]))
            self.assertIn(len(slow.read()), (COUNT, COUNT + 1))
            conn.send(encode("CLIENT", "REPLY", "SKIP") + encode("SMEMBERS", "set") + encode("PING"))
            self.assertEqual(conn.read(), "PONG")
            conn.send(encode("CLIENT", "REPLY", "OFF") + encode("SUNIONSTORE", "to", "set") +
                      encode("CLIENT", "REPLY", "ON"))
            self.assertEqual(conn.read(), "OK")
            self.assertEqual(conn.call("SCARD", "to"), COUNT)

    def test_a_command_counts_once(self):
        self.call("CONFIG", "RESETSTAT")
        self.call("SMEMBERS", "set")
        self.call("SUNION", "set", "absent")
        self.assertEqual(self.info("keyspace_hits"), "2")
        self.assertEqual(self.info("keyspace_misses"), "1")
        stats = self.call("INFO", "commandstats").decode()
        self.assertIn("cmdstat_smembers:calls=1,", stats)


class Others(Sliced):
    """What others may do to a key while it is being told."""

    def told(self, conn):
        return sorted(conn.read())

    def test_a_reply_is_of_one_moment_whatever_becomes_of_the_key(self):
        deeds = (("DEL", "set"), ("UNLINK", "set"), ("FLUSHALL",), ("FLUSHDB", "SYNC"), ("SET", "set", "x"),
                 ("RENAME", "set", "other"), ("PEXPIRE", "set", 1), ("SADD", "set", "one more"),
                 ("SREM", "set", "member:1"), ("SPOP", "set"), ("SWAPDB", 0, 1), ("MOVE", "set", 1),
                 ("SUNIONSTORE", "set", "list2"), ("RENAME", "list2", "set"))
        for deed in deeds:
            with self.subTest(deed=deed), self.connect() as slow, self.connect() as other:
                self.call("FLUSHALL")
                for start in range(0, COUNT, 5000):
                    self.call("SADD", "set", *self.members[start:start + 5000])
                self.call("SADD", "list2", "a", "b")
                slow.send_command("SMEMBERS", "set")
                other.call(*deed)
                reply = slow.read()
                if isinstance(reply, Error):  # The deed came first.
                    self.assertEqual(deed[0], "SET")
                    self.assert_error(reply, "WRONGTYPE")
                    continue
                got = sorted(reply)
                self.assertIn(len(got), (0, 2, COUNT, COUNT + 1, COUNT - 1))
                if len(got) == COUNT:
                    self.assertEqual(got, sorted(self.members))

    def fill_output(self, conn):
        """A reader that does not read: some of its reply is on the way, the rest is not made yet."""
        conn.send_command("LRANGE", "big", 0, -1)
        wait_until(lambda: self.resting() > 0, what="a reply that waits for its reader")

    def resting(self):
        lines = self.call("CLIENT", "LIST").decode().splitlines()
        return sum("cmd=lrange" in line and " flags=b " in line for line in lines)

    def slow_reader(self):
        conn = socket.socket()
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        conn.connect(("127.0.0.1", self.server.port))
        return conn

    def fill_big(self):
        text = b"x" * 1000
        for _ in range(40):
            self.call("RPUSH", "big", *[text] * 500)  # 20 MB, more than sockets hold.

    def stalled(self, reader):
        reader.sendall(encode("LRANGE", "big", 0, -1))
        wait_until(lambda: self.resting() == 1, what="a reply that waits for its reader")

    def memory(self):
        return int(self.info("used_memory"))

    def test_a_reader_that_does_not_read_costs_little_and_holds_up_nobody(self):
        self.fill_big()
        before = self.memory()
        with self.slow_reader() as reader:
            self.stalled(reader)
            self.assertLess(self.memory() - before, 4 << 20)
            self.assertEqual(self.call("LLEN", "big"), 20000)
            self.assertEqual(self.call("RPUSH", "big", "end"), 20001)  # Waits until the reply is made.
            self.assertEqual(self.call("DEL", "big"), 1)
            total = 0
            while total < 20000 * 1009 + len("*20000\r\n"):
                part = reader.recv(1 << 16)
                self.assertTrue(part)
                total += len(part)
        self.assertEqual(self.call("PING"), "PONG")

    def test_a_deletion_does_not_wait_and_the_reply_is_whole(self):
        self.fill_big()
        with self.slow_reader() as reader:
            self.stalled(reader)
            self.assertEqual(self.call("DEL", "big"), 1)
            total = 0
            while total < 20000 * 1009 + len("*20000\r\n"):
                total += len(reader.recv(1 << 16))

    def test_a_dead_reader_lets_go(self):
        self.fill_big()
        reader = self.slow_reader()
        self.stalled(reader)
        reader.close()
        self.assertEqual(self.call("RPUSH", "big", "end"), 20001)
        wait_until(lambda: self.resting() == 0, what="the end of the reader")

    def test_a_killed_reader_lets_go(self):
        self.fill_big()
        with self.slow_reader() as reader:
            self.stalled(reader)
            self.assertGreaterEqual(self.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"), 1)
            self.assertEqual(self.call("RPUSH", "big", "end"), 20001)

    def test_limits_of_output_bound_what_a_writer_makes_of_a_slow_reader(self):
        self.fill_big()
        self.call("CONFIG", "SET", "client-output-buffer-limit", "normal 3000000 0 0")
        try:
            with self.slow_reader() as reader:
                self.stalled(reader)
                self.assertEqual(self.call("RPUSH", "big", "end"), 20001)
                wait_until(lambda: self.resting() == 0, what="the end of the reader")
        finally:
            self.call("CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0")

    def test_more_slow_readers_than_may_run_at_a_time(self):
        self.fill_big()
        readers = [self.slow_reader() for _ in range(20)]
        for reader in readers:
            reader.sendall(encode("LRANGE", "big", 0, -1))
        wait_until(lambda: self.resting() > 1, what="readers")
        self.assertEqual(len(self.call("SMEMBERS", "set")), COUNT)
        for reader in readers:
            reader.close()
        self.assertEqual(self.call("RPUSH", "big", "end"), 20001)

    def test_clients_may_leave_in_the_middle(self):
        for command in (("SMEMBERS", "set"), ("HGETALL", "hash"), ("SUNION", "set", "set"),
                        ("SUNIONSTORE", "to", "set"), ("ZUNION", 2, "zset", "set")):
            for _ in range(5):
                with self.connect() as conn:
                    conn.send_command(*command)
                    self.call("PING")
        self.assertEqual(self.call("SADD", "set", "new"), 1)
        wait_until(lambda: self.call("SCARD", "to") >= COUNT, what="the stored union")

    def test_writers_wait_in_order(self):
        with self.connect() as slow:
            writers = [self.connect() for _ in range(10)]
            slow.send_command("LRANGE", "list", 0, -1)
            for n, writer in enumerate(writers):
                writer.send_command("RPUSH", "list", "new:%d" % n)
            answers = [writer.read() for writer in writers]
            self.assertEqual(sorted(answers), list(range(COUNT + 1, COUNT + 11)))
            self.assertIn(len(slow.read()), range(COUNT, COUNT + 11))
            for writer in writers:
                writer.close()

    def test_stores_that_would_change_what_the_other_reads(self):
        with self.connect() as a, self.connect() as b:
            for _ in range(10):
                self.call("SADD", "one", *self.members[:3000])
                self.call("SADD", "two", *self.members[2000:5000])
                a.send_command("SUNIONSTORE", "one", "one", "two")
                b.send_command("SUNIONSTORE", "two", "two", "one")
                self.assertEqual((a.read(), b.read()), (5000, 5000))
                self.call("DEL", "one", "two")

    def test_a_store_reads_its_operands_at_one_moment(self):
        with self.connect() as store:
            for _ in range(5):
                store.send_command("SUNIONSTORE", "to", "set", "absent")
                self.call("SADD", "absent", "late")
                self.call("DEL", "set")
                self.assertIn(store.read(), (COUNT, COUNT + 1, 1))
                self.call("DEL", "to", "absent")
                for start in range(0, COUNT, 5000):
                    self.call("SADD", "set", *self.members[start:start + 5000])

    def test_pauses_hold_stores_and_let_readers_go_on(self):
        with self.connect() as store, self.connect() as reader:
            store.send_command("SUNIONSTORE", "to", "set")
            self.call("CLIENT", "PAUSE", 100, "WRITE")
            self.assertEqual(len(reader.call("SMEMBERS", "set")), COUNT)
            self.assertEqual(store.read(), COUNT)


if __name__ == "__main__":
    main()
