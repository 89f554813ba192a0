"""Long commands in slices: others go on meanwhile, replies are of one moment, writers wait only for
what they would change, and nobody waits for a client that does not read. What changes a collection
in slices is seen before or after, never in the middle."""
import os
import random
import select
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

    def test_memory_is_that_of_one_step(self):
        self.call("XGROUP", "CREATE", "stream", "group", "$", "MKSTREAM")
        self.conn.send(b"".join(encode("XADD", "stream", "*", "field", "x" * 400) for _ in range(COUNT)))
        [self.conn.read() for _ in range(COUNT)]
        self.assertEqual(len(self.call("XREADGROUP", "GROUP", "group", "me", "STREAMS", "stream", ">")[0][1]), COUNT)
        for key in ("set", "list", "hash", "zset", "stream"):
            for samples in (0, 31, COUNT * 2):
                words = ("MEMORY", "USAGE", key, "SAMPLES", samples)
                self.call("MULTI")
                self.call(*words)
                whole = self.call("EXEC")[0]
                self.assertGreater(whole, COUNT * 5)
                self.assertEqual(self.call(*words), whole)
            with self.connect() as other:
                other.send_command("MEMORY", "USAGE", key, "SAMPLES", 0)
                self.call("DEL", key)
                self.assertIn(other.read(), (whole, None))

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
        wait_until(lambda: self.call("CLIENT", "LIST").count(b" cmd=lrange ") == len(readers), what="readers")
        self.assertEqual(len(self.call("SMEMBERS", "set")), COUNT)
        for reader in readers:
            reader.close()
        self.assertEqual(self.call("RPUSH", "big", "end"), 20001)

    def test_clients_go_while_others_are_killed(self):
        with self.connect() as one, self.connect() as two:
            for conn in (one, two):
                conn.call("CLIENT", "SETNAME", "killer")
            victims = [self.connect() for _ in range(60)]
            one.send_command("CLIENT", "KILL", "TYPE", "normal")
            two.send_command("CLIENT", "KILL", "TYPE", "normal")
            for victim in victims[::3]:
                victim.close()
            for conn in (one, two):
                try:
                    self.assertLessEqual(conn.read(), len(victims) + 2)
                except (ConnectionError, EOFError):
                    pass  # Killed by the other.
            for victim in victims:
                victim.close()
        with self.connect() as conn:
            wait_until(lambda: conn.call("CLIENT", "LIST").count(b"\n") == 1, what="the end of the others")

    def test_a_step_of_a_dump_may_write_nothing(self):
        for _ in range(100):
            self.call("XADD", "stream", "*", "field", b"x" * 20000)
        self.call("XGROUP", "CREATE", "stream", "group", "$")
        for first in b"a", b"b":
            self.call("XGROUP", "CREATECONSUMER", "stream", "group", first + os.urandom(40000))
        payload = self.call("DUMP", "stream")
        self.call("RESTORE", "again", 0, payload)
        self.assertEqual(self.call("DUMP", "again"), payload)

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


class Turns(Sliced):
    """What a command met when it came may have changed when its turn comes."""

    def send_and_see_it_arrive(self, conns, *commands):
        """Sends each its command and waits until the server has them: as many bytes as they and the questions have."""
        asking = len(encode("INFO"))
        expected = int(self.info("total_net_input_bytes"))
        for conn, words in zip(conns, commands):
            conn.send_command(*words)
            expected += len(encode(*words))
        asked = 0

        def are_there():
            nonlocal asked
            asked += 1
            return int(self.info("total_net_input_bytes")) >= expected + asked * asking

        wait_until(are_there, 60, "the arrival of %d commands" % len(commands))
        self.assertEqual(self.call("PING"), "PONG")

    def test_copy_takes_what_is_there_when_its_turn_comes(self):
        """So many are at work that one more has to wait for its turn, and holds nothing meanwhile."""
        busy = [self.connect() for _ in range(40)]
        for words in (("SET", "hash", "text"), ("SET", "hash", "12345"), ("SADD", "hash", "a", "b"), ("RPUSH", "hash", "a"),
                      ("HSET", "hash", "f", "v")):
            self.call("HSET", "hash", *[word for m in self.members[:3000] for word in (m, "v")])
            self.call("DEBUG", "PAUSE-SLICES", 1)
            copies = [("COPY", "set", "to:%d" % n, "REPLACE") for n in range(len(busy))]
            self.send_and_see_it_arrive(busy, *copies)
            with self.connect() as last:
                self.send_and_see_it_arrive([last], ("COPY", "hash", "to"))
                self.call("UNLINK", "hash")
                self.call(*words)
                self.call("DEBUG", "PAUSE-SLICES", 0)
                self.assertEqual(last.read(), 1, words)
            self.assertEqual([conn.read() for conn in busy], [1] * len(busy))
            for question in (("TYPE",), ("OBJECT", "ENCODING"), ("DEBUG", "DIGEST-VALUE")):
                self.assertEqual(self.call(*question, "to"), self.call(*question, "hash"), words)
            self.call("DEL", "to", "hash")
        for conn in busy:
            conn.close()

    def test_what_is_written_is_among_the_keys_that_others_are_kept_from(self):
        """STORE may be said several times, and patterns may be called so: the last is meant."""
        self.call("RPUSH", "few", 3, 1, 2)
        self.call("GEOADD", "places", 1, 1, "here")
        circle = ("GEORADIUS", "places", 1, 1, 9, "km")
        round_here = ("GEORADIUSBYMEMBER", "places", "here", 9, "km")
        for words in (("SORT", "few", "STORE", "other", "STORE", "new"), ("SORT", "few", "BY", "STORE", "STORE", "new"),
                      ("SORT", "few", "STORE", "GET", "STORE", "new"), ("SORT", "few", "GET", "STORE", "STORE", "new"),
                      ("SORT", "few", "LIMIT", 0, 9, "STORE", "new", "DESC"), (*circle, "STORE", "other", "STORE", "new"),
                      (*circle, "STORE", "other", "STOREDIST", "new"), (*circle, "STOREDIST", "STORE", "STORE", "new"),
                      (*round_here, "STOREDIST", "other", "STOREDIST", "new"), (*circle, "STORE", "new", "COUNT", 1, "ANY"),
                      (*circle, "STORE", "STORE", "STORE", "new"), (*round_here, "STORE", "STOREDIST", "STOREDIST", "new")):
            self.assertIn(b"new", self.call("COMMAND", "GETKEYS", *words)[1:], words)
            self.call(*words)
            self.assertEqual((self.call("EXISTS", "new"), self.call("EXISTS", "other")), (1, 0), words)
            self.call("DEL", "new")
        self.assertEqual(self.call("COMMAND", "GETKEYS", "SORT", "few", "GET", "STORE", "GET", "STORE"), [b"few"])
        for name in (b"STORE", b"storedist"):
            words = (*circle, "COUNT", 1, "STORE", name, "ASC")
            self.assertEqual(self.call("COMMAND", "GETKEYS", *words)[1], name)
            self.assertEqual(self.call(*words), 1)
            self.assertEqual(self.call("DEL", name), 1)


class Edits(Sliced):
    """Commands that change a large value in place: they are done in slices, and look as if at once."""

    def test_elements_leave_a_list(self):
        odd = [m if n % 2 else b"x" for n, m in enumerate(self.members)]
        for count, left in ((0, [m for m in odd if m != b"x"]), (COUNT, [m for m in odd if m != b"x"]),
                            (10, [m for n, m in enumerate(odd) if m != b"x" or n >= 20]),
                            (-10, [m for n, m in enumerate(odd) if m != b"x" or n < COUNT - 20])):
            self.call("DEL", "list")
            self.call("RPUSH", "list", *odd)
            self.assertEqual(self.call("LREM", "list", count, "x"), COUNT - len(left))
            self.assertEqual(self.call("LRANGE", "list", 0, -1), left)
        self.assertEqual(self.call("LREM", "list", 0, "absent"), 0)
        self.call("DEL", "list")
        self.call("RPUSH", "list", *["x"] * COUNT)
        self.assertEqual(self.call("LREM", "list", 0, "x"), COUNT)
        self.assertEqual(self.call("EXISTS", "list"), 0)

    def test_an_element_enters_a_list(self):
        self.assertEqual(self.call("LINSERT", "list", "BEFORE", self.members[-2], "new"), COUNT + 1)
        self.assertEqual(self.call("LINSERT", "list", "AFTER", self.members[-1], "last"), COUNT + 2)
        self.assertEqual(self.call("LRANGE", "list", -4, -1), [b"new", self.members[-2], self.members[-1], b"last"])
        self.assertEqual(self.call("LINSERT", "list", "AFTER", "absent", "new"), -1)

    def test_a_list_is_cut_and_popped(self):
        self.assertEqual(self.call("LPOP", "list", 3000), self.members[:3000])
        self.assertEqual(self.call("RPOP", "list", 3000), self.members[:-3001:-1])
        self.assertEqual(self.call("LMPOP", 2, "absent", "list", "LEFT", "COUNT", 2000),
                         [b"list", self.members[3000:5000]])
        self.assertEqual(self.call("LTRIM", "list", 1, 1998), "OK")
        self.assertEqual(self.call("LRANGE", "list", 0, -1), self.members[5001:6999])
        self.assertEqual(self.call("LPOP", "list", COUNT), self.members[5001:6999])
        self.assertEqual(self.call("EXISTS", "list"), 0)

    def test_members_leave_a_sorted_set(self):
        self.assertEqual(self.call("ZREMRANGEBYRANK", "zset", 0, 1999), 2000)
        self.assertEqual(self.call("ZREMRANGEBYSCORE", "zset", COUNT - 2000, "+inf"), 2000)
        self.assertEqual(self.call("ZRANGE", "zset", 0, -1), self.members[2000:-2000])
        flat = self.call("ZPOPMIN", "zset", 1500)
        self.assertEqual((flat[::2], flat[1]), (self.members[2000:3500], b"2000"))
        self.assertEqual(self.call("ZPOPMAX", "zset", 1500)[::2], self.members[-2001:-3501:-1])
        self.assertEqual(self.call("ZMPOP", 1, "zset", "MIN", "COUNT", 1200)[1][-1], [self.members[4699], b"4699"])
        self.assertEqual(self.call("ZREMRANGEBYRANK", "zset", 0, -1), COUNT - 8200)
        self.assertEqual(self.call("EXISTS", "zset"), 0)
        self.call("ZADD", "lex", *[word for m in self.members for word in (0, m)])
        self.assertEqual(self.call("ZREMRANGEBYLEX", "lex", "[member:1", "(member:2"), 1111)
        self.assertEqual(self.call("ZCARD", "lex"), COUNT - 1111)

    def test_members_are_popped_off_a_set(self):
        first = self.call("SPOP", "set", 6000)
        self.assertEqual((len(first), len(set(first))), (6000, 6000))
        self.assertEqual(sorted(first + self.call("SMEMBERS", "set")), sorted(self.members))
        self.assertEqual(sorted(first + self.call("SPOP", "set", COUNT)), sorted(self.members))
        self.assertEqual(self.call("EXISTS", "set"), 0)

    def test_a_large_payload_is_restored(self):
        self.call("XGROUP", "CREATE", "stream", "g", "$", "MKSTREAM")
        for n in range(3000):
            self.call("XADD", "stream", "%d-1" % (n + 1), "field", "value:%d" % n)
        self.call("XREADGROUP", "GROUP", "g", "c", "COUNT", 10, "STREAMS", "stream", ">")
        for key in ("set", "list", "hash", "zset", "stream"):
            payload = self.call("DUMP", key)
            self.assertEqual(self.call("RESTORE", "to", 0, payload), "OK")
            self.assertEqual(self.call("RESTORE", "to", 0, payload), "BUSYKEY Target key name already exists.")
            self.assertEqual(self.call("RESTORE", "to", 100000, payload, "REPLACE"), "OK")
            self.assertEqual(len(self.call("DUMP", "to")), len(payload))
            self.assertGreater(self.call("PTTL", "to"), 0)
            flipped = bytearray(payload)
            flipped[len(payload) // 2] ^= 1
            self.assertEqual(self.call("RESTORE", "other", 0, bytes(flipped)),
                             "ERR DUMP payload version or checksum are wrong")
            self.assertEqual(self.call("EXISTS", "other"), 0)
            self.call("DEL", "to")

    def test_bits_are_combined(self):
        texts = [random.Random(n).randbytes(size) for n, size in enumerate((3000000, 2999000, 40000, 11))]
        for n, text in enumerate(texts):
            self.call("SET", "bits:%d" % n, text)
        keys = ["bits:%d" % n for n in range(4)]
        numbers = [int.from_bytes(text.ljust(3000000, b"\0"), "big") for text in texts]
        wanted = {"AND": numbers[0] & numbers[1] & numbers[2] & numbers[3],
                  "OR": numbers[0] | numbers[1] | numbers[2] | numbers[3],
                  "XOR": numbers[0] ^ numbers[1] ^ numbers[2] ^ numbers[3]}
        for operation, number in wanted.items():
            self.assertEqual(self.call("BITOP", operation, "to", *keys), 3000000)
            self.assertTrue(self.call("GET", "to") == number.to_bytes(3000000, "big"))
        self.assertEqual(self.call("BITOP", "NOT", "bits:0", "bits:0"), 3000000)
        self.assertTrue(self.call("GET", "bits:0") == bytes(255 - byte for byte in texts[0]))
        self.assertEqual(self.call("BITOP", "OR", "to", "bits:2", "absent"), 40000)
        self.assertEqual(self.call("GET", "to"), texts[2])

    def test_a_sorted_result_with_patterns_is_stored(self):
        self.call("MSET", *[word for n, m in enumerate(self.members) for word in (b"weight:" + m, COUNT - n)])
        self.assertEqual(self.call("SORT", "list", "BY", "weight:*", "GET", "#", "STORE", "to"), COUNT)
        self.assertEqual(self.call("LRANGE", "to", 0, -1), self.members[::-1])
        self.assertEqual(self.call("SORT", "list", "BY", "weight:*", "GET", "absent:*", "LIMIT", 0, 1500,
                                   "STORE", "to"), 1500)
        self.assertEqual(self.call("LRANGE", "to", 0, -1), [b""] * 1500)

    def test_who_looks_sees_it_before_or_after(self):
        deeds = ((("LREM", "list", 0, "x"), ("LLEN", "list"), (2 * COUNT, COUNT)),
                 (("SPOP", "set", 5000), ("SCARD", "set"), (COUNT, 5000)),
                 (("ZREMRANGEBYRANK", "zset", 10, 5009), ("ZCARD", "zset"), (COUNT, 5000)),
                 (("ZPOPMAX", "zset", 3000), ("ZCARD", "zset"), (5000, 2000)),
                 (("LPOP", "list", 4000), ("LLEN", "list"), (COUNT, 6000)))
        for start in range(0, COUNT, 5000):
            self.call("RPUSH", "list", *["x"] * 5000)
        for deed, look, allowed in deeds:
            with self.subTest(deed=deed), self.connect() as doer, self.connect() as watcher:
                doer.send_command(*deed)
                for _ in range(5):
                    self.assertIn(watcher.call(*look), allowed)
                self.assertIn(watcher.call("EVAL", "return redis.call(ARGV[1], KEYS[1])", 1, look[1], look[0]), allowed)
                self.assertIn(watcher.call("EVAL_RO", "return redis.call(ARGV[1], ARGV[2])", 0, *look), allowed)
                watcher.call("MULTI")
                watcher.call(*look)
                watcher.call("GET", "a")
                self.assertIn(watcher.call("EXEC")[0], allowed)
                self.assertFalse(isinstance(doer.read(), Error))
                self.assertEqual(watcher.call(*look), allowed[-1])

    def test_others_do_not_wait(self):
        with self.connect() as doer, self.connect() as other:
            doer.send_command("SPOP", "set", COUNT - 1)
            self.assertEqual(other.call("SET", "a", 1), "OK")
            self.assertEqual(other.call("GET", "a"), b"1")
            self.assertEqual(other.call("SADD", "set", "late"), 1)
            self.assertEqual(len(doer.read()), COUNT - 1)
            self.assertEqual(other.call("SCARD", "set"), 2)

    def test_a_pause_a_save_and_a_flush_come_between_commands(self):
        for words in (("CLIENT", "PAUSE", 1, "WRITE"), ("SAVE",), ("FLUSHALL",)):
            with self.subTest(words=words), self.connect() as doer, self.connect() as other:
                doer.send_command("SPOP", "set", 2000)
                self.assertFalse(isinstance(other.call(*words), Error))
                self.assertIn(len(doer.read()), (0, 2000))

    def test_clients_may_leave_in_the_middle_of_a_change(self):
        for command in (("SPOP", "set", 4000), ("ZREMRANGEBYRANK", "zset", 0, 3999), ("LPOP", "list", 4000)):
            with self.connect() as conn:
                conn.send_command(*command)
                self.call("PING")
        look = (("SCARD", "set"), ("ZCARD", "zset"), ("LLEN", "list"))
        wait_until(lambda: [self.call(*words) for words in look] == [COUNT - 4000] * 3, what="the changes")

    def test_what_waits_for_a_list_gets_it_when_the_change_is_done(self):
        with self.connect() as doer, self.connect() as waiter:
            waiter.send_command("BLMPOP", 0, 1, "queue", "LEFT", "COUNT", 5000)
            wait_until(lambda: self.info("blocked_clients") == "1", what="a client that waits")
            self.call("RPUSH", "queue", *self.members[:5000])
            self.assertEqual(waiter.read(), [b"queue", self.members[:5000]])
            doer.send_command("LREM", "list", 0, "absent")
            waiter.send_command("BLPOP", "list", 0)
            self.assertEqual((doer.read(), waiter.read()), (0, [b"list", self.members[0]]))


class Named(Sliced):
    """Commands that name thousands of elements."""

    def setUp(self):
        super().setUp()
        self.new = [b"new:%d" % n for n in range(4000)]
        self.half = self.new[:2000] + self.members[:2000]

    def test_elements_are_pushed(self):
        self.assertEqual(self.call("RPUSH", "list", *self.new), COUNT + 4000)
        self.assertEqual(self.call("LRANGE", "list", 0, -1), self.members + self.new)
        self.assertEqual(self.call("LPUSH", "other", *self.new), 4000)
        self.assertEqual(self.call("LRANGE", "other", 0, -1), self.new[::-1])
        self.assertEqual(self.call("LPUSHX", "absent", *self.new), 0)
        self.assertEqual(self.call("RPUSH", "small", "a"), 1)
        self.assertEqual(self.call("LPUSHX", "small", *self.new), 4001)
        self.assertEqual(self.call("LRANGE", "small", -2, -1), [b"new:0", b"a"])
        self.assertEqual(self.call("RPUSH", "set", *self.new),
                         "WRONGTYPE Operation against a key holding the wrong kind of value")
        large = [b"%d" % n * 20000 for n in range(10)] + self.new
        self.assertEqual(self.call("RPUSH", "large", *large), 4010)
        self.assertEqual(self.call("LRANGE", "large", 0, -1), large)

    def test_members_of_sets(self):
        self.assertEqual(self.call("SADD", "set", *self.half), 2000)
        self.assertEqual(self.call("SCARD", "set"), COUNT + 2000)
        self.assertEqual(self.call("SMISMEMBER", "set", *self.new), [1] * 2000 + [0] * 2000)
        self.assertEqual(self.call("SREM", "set", *self.new), 2000)
        self.assertEqual(sorted(self.call("SMEMBERS", "set")), sorted(self.members))
        self.assertEqual(self.call("SREM", "set", *self.members), COUNT)
        self.assertEqual(self.call("EXISTS", "set"), 0)
        self.assertEqual(self.call("SADD", "ints", 7), 1)
        self.assertEqual(self.call("SADD", "ints", *range(3000)), 2999)
        self.assertEqual(self.call("SADD", "ints", "x", *range(3000, 6000)), 3001)
        self.assertEqual(self.call("SCARD", "ints"), 6001)
        self.assertEqual(self.call("SREM", "absent", *self.new), 0)
        self.assertEqual(self.call("SMISMEMBER", "absent", *self.new), [0] * 4000)

    def test_fields_of_hashes(self):
        pairs = [word for f in self.half for word in (f, b"2")]
        self.assertEqual(self.call("HSET", "hash", *pairs), 2000)
        self.assertEqual(self.call("HMGET", "hash", *self.new), [b"2"] * 2000 + [None] * 2000)
        self.assertEqual(self.call("HDEL", "hash", *self.new), 2000)
        self.assertEqual(self.call("HLEN", "hash"), COUNT)
        self.assertEqual(self.call("HSET", "small", "a", "b"), 1)
        self.assertEqual(self.call("HMSET", "small", *pairs), "OK")
        self.assertEqual(self.call("HLEN", "small"), 4001)
        self.assertEqual(self.call("HSET", "hash", *pairs[1:]), "ERR wrong number of arguments for 'hset' command")
        self.assertEqual(self.call("HDEL", "hash", *self.members), COUNT)
        self.assertEqual(self.call("EXISTS", "hash"), 0)
        self.assertEqual(self.call("HMGET", "absent", *self.new), [None] * 4000)

    def test_members_of_sorted_sets(self):
        pairs = [word for n, m in enumerate(self.half) for word in (n + 0.5, m)]
        self.assertEqual(self.call("ZADD", "zset", "CH", *pairs), 4000)
        self.assertEqual(self.call("ZCARD", "zset"), COUNT + 2000)
        self.assertEqual(self.call("ZMSCORE", "zset", *self.new),
                         [b"%d.5" % n for n in range(2000)] + [None] * 2000)
        self.assertEqual(self.call("ZADD", "zset", *pairs[:-1], "x", "y"), "ERR syntax error")
        self.assertEqual(self.call("ZADD", "zset", *pairs[:-2], "x", "y"), "ERR value is not a valid float")
        self.assertEqual(self.call("ZREM", "zset", *self.new), 2000)
        self.assertEqual(self.call("ZADD", "new", "XX", *pairs), 0)
        self.assertEqual(self.call("ZADD", "new", *pairs), 4000)
        self.assertEqual(self.call("ZRANGE", "new", 0, -1), self.half)
        self.assertEqual(self.call("ZREM", "new", *self.half), 4000)
        self.assertEqual(self.call("EXISTS", "new"), 0)

    def test_places(self):
        triples = [word for n, m in enumerate(self.new) for word in (n / 100, n / 100, m)]
        self.assertEqual(self.call("GEOADD", "geo", *triples), 4000)
        self.assertEqual(self.call("GEOADD", "geo", "CH", *triples), 0)
        found = self.call("GEOPOS", "geo", *self.new, "absent")
        self.assertEqual((len(found), found[-1]), (4001, None))
        self.assertAlmostEqual(float(found[1234][0]), 12.34, places=4)
        self.assertEqual(self.call("GEOHASH", "geo", *self.new)[0], b"s0000000000"[:11])
        self.assertEqual(self.call("GEOADD", "geo", *triples[:-3], 300, 1, "x"),
                         "ERR invalid longitude,latitude pair 300.000000,1.000000")

    def test_elements_are_counted(self):
        self.assertEqual(self.call("PFADD", "some", *self.new), 1)
        self.assertEqual(self.call("PFADD", "some", *self.new), 0)
        self.assertAlmostEqual(self.call("PFCOUNT", "some"), 4000, delta=200)
        self.assertEqual(self.call("PFADD", "few", "a", "b"), 1)
        self.assertEqual(self.call("PFADD", "few", *self.new, *self.members), 1)
        self.assertAlmostEqual(self.call("PFCOUNT", "few"), COUNT + 4000, delta=600)
        self.assertEqual(self.call("PFADD", "set", *self.new),
                         "WRONGTYPE Operation against a key holding the wrong kind of value")
        self.call("SET", "text", "text")
        self.assertEqual(self.call("PFADD", "text", *self.new), "WRONGTYPE Key is not a valid HyperLogLog string value.")

    def test_who_looks_sees_all_or_none(self):
        new = self.new
        pairs = [word for f in new for word in (f, b"1")]
        deeds = ((("RPUSH", "list", *new), ("LLEN", "list"), COUNT), (("SADD", "set", *new), ("SCARD", "set"), COUNT),
                 (("HSET", "hash", *pairs), ("HLEN", "hash"), COUNT),
                 (("ZADD", "zset", *pairs[1:], "1"), ("ZCARD", "zset"), COUNT),
                 (("SADD", "first", *new), ("SCARD", "first"), 0), (("RPUSH", "second", *new), ("LLEN", "second"), 0))
        for deed, look, before in deeds:
            with self.subTest(deed=deed[0]), self.connect() as doer, self.connect() as watcher:
                doer.send_command(*deed)
                for _ in range(5):
                    self.assertIn(watcher.call(*look), (before, before + 4000))
                    self.assertEqual(watcher.call("SET", "a", 1), "OK")
                self.assertFalse(isinstance(doer.read(), Error))
                self.assertEqual(watcher.call(*look), before + 4000)

    def test_others_come_between(self):
        for words in (("CLIENT", "PAUSE", 1, "WRITE"), ("SAVE",), ("DEL", "small"), ("FLUSHALL",)):
            with self.subTest(words=words), self.connect() as doer, self.connect() as other:
                self.call("SADD", "small", "a")
                doer.send_command("SADD", "small", *self.new)
                self.assertFalse(isinstance(other.call(*words), Error))
                self.assertEqual(doer.read(), 4000)
                self.assertIn(self.call("SCARD", "small"), (0, 4000, 4001))
                self.call("DEL", "small")

    def test_who_waits_for_elements_gets_them(self):
        with self.connect() as waiter, self.connect() as leaver:
            waiter.send_command("BLPOP", "queue", 0)
            wait_until(lambda: self.info("blocked_clients") == "1", what="a client that waits")
            self.assertEqual(self.call("RPUSH", "queue", *self.new), 4000)
            self.assertEqual(waiter.read(), [b"queue", b"new:0"])
            leaver.send_command("RPUSH", "queue", *self.new)
            leaver.send_command("PING")
        wait_until(lambda: self.call("LLEN", "queue") in (3999, 7999), what="the elements")

    def test_a_pipeline_and_a_transaction_keep_the_order(self):
        with self.connect() as conn:
            conn.send(encode("RPUSH", "queue", *self.new) + encode("LLEN", "queue") +
                      encode("LPOP", "queue", 4000) + encode("EXISTS", "queue") + encode("MULTI") +
                      encode("SADD", "set", *self.new) + encode("SCARD", "set") + encode("EXEC"))
            self.assertEqual([conn.read() for _ in range(7)],
                             [4000, 4000, self.new, 0, "OK", "QUEUED", "QUEUED"])
            self.assertEqual(conn.read(), [4000, COUNT + 4000])


class NamedFields(Case):
    """The same for fields that expire."""

    def test_fields_get_and_lose_their_expiry(self):
        fields = [b"field:%d" % n for n in range(3000)]
        tail = ("FIELDS", len(fields), *fields)
        self.call("HSET", "h", "stays", "1", *[word for f in fields for word in (f, b"v")])
        self.assertEqual(self.call("HEXPIRE", "h", 1000, *tail), [1] * 3000)
        self.assertEqual(self.call("HEXPIRE", "absent", 1000, *tail), [-2] * 3000)
        self.assertEqual(self.call("HTTL", "h", *tail), [1000] * 3000)
        self.assertEqual(self.call("HPERSIST", "h", *tail), [1] * 3000)
        self.assertEqual(self.call("HTTL", "h", *tail), [-1] * 3000)
        self.assertEqual(self.call("HTTL", "absent", *tail), [-2] * 3000)
        self.assertEqual(self.call("HGETEX", "h", "EX", 1000, *tail), [b"v"] * 3000)
        self.assertEqual(self.call("HGETEX", "h", *tail), [b"v"] * 3000)
        self.assertEqual(self.call("HSET", "h", *[word for f in fields[:1500] for word in (f, b"w")]), 0)
        self.assertEqual(self.call("HTTL", "h", *tail), [-1] * 1500 + [1000] * 1500)
        self.assertEqual(self.call("HGETDEL", "h", *tail), [b"w"] * 1500 + [b"v"] * 1500)
        self.assertEqual(self.call("HGETALL", "h"), [b"stays", b"1"])

    def test_pairs_are_set_with_their_expiry(self):
        fields = [b"field:%d" % n for n in range(3000)]
        pairs = [word for f in fields for word in (f, b"v")]
        self.assertEqual(self.call("HSETEX", "h", "FXX", "EX", 1000, "FIELDS", 3000, *pairs), 0)
        self.assertEqual(self.call("EXISTS", "h"), 0)
        self.assertEqual(self.call("HSETEX", "h", "FNX", "EX", 1000, "FIELDS", 3000, *pairs), 1)
        self.assertEqual(self.call("HSETEX", "h", "FNX", "EX", 1000, "FIELDS", 3000, *pairs), 0)
        self.assertEqual(self.call("HSETEX", "h", "FXX", "KEEPTTL", "FIELDS", 3000, *pairs), 1)
        self.assertEqual(self.call("HTTL", "h", "FIELDS", 3000, *fields), [1000] * 3000)
        self.assertEqual(self.call("HEXPIRE", "h", 0, "FIELDS", 3000, *fields), [2] * 3000)
        self.assertEqual(self.call("EXISTS", "h"), 0)


class Clients(Case):
    """So many clients that telling of them, or closing them, takes slices."""

    def setUp(self):
        super().setUp()
        self.crowd = [self.connect() for _ in range(1200)]
        self.ids = [conn.call("CLIENT", "ID") for conn in self.crowd]

    def tearDown(self):
        for conn in self.crowd + [self.conn]:
            conn.close()
        self.conn = self.connect()
        wait_until(lambda: b"connected_clients:1\r" in self.call("INFO", "clients"), what="their end")
        super().tearDown()

    @staticmethod
    def told(text):
        return [int(dict(word.split("=", 1) for word in line.split(" "))["id"])
                for line in text.decode().splitlines()]

    def test_all_are_listed_once(self):
        told = self.told(self.call("CLIENT", "LIST"))
        self.assertEqual(len(told), 1201)
        self.assertEqual(len(set(told)), 1201)
        self.assertLessEqual(set(self.ids), set(told))
        self.assertEqual(sorted(self.told(self.call("CLIENT", "LIST", "TYPE", "normal"))), sorted(told))
        self.assertEqual(self.call("CLIENT", "LIST", "TYPE", "pubsub"), b"")
        self.assertEqual(self.told(self.call("CLIENT", "LIST", "ID", *self.ids[::-1], 123456789)), self.ids[::-1])
        self.assertEqual(self.call("CLIENT", "LIST", "ID", *self.ids, "x"), "ERR Invalid client ID")
        with self.connect() as conn:
            conn.call("HELLO", 3)
            text = conn.call("CLIENT", "LIST")
            self.assertEqual(len(self.told(text if isinstance(text, bytes) else bytes(text))), 1202)

    def test_they_may_go_and_come_meanwhile(self):
        with self.connect() as lister:
            for start in range(0, 1000, 200):
                lister.send_command("CLIENT", "LIST")
                for conn in self.crowd[start:start + 200]:
                    conn.close()
                late = self.connect()
                self.crowd.append(late)
                late.call("PING")
                told = self.told(lister.read())
                self.assertEqual(len(told), len(set(told)))
                self.assertLessEqual(set(self.ids[1000:]), set(told))

    def test_all_are_killed_and_who_ordered_it_may_leave(self):
        with self.connect() as killer:
            self.assertEqual(killer.call("CLIENT", "KILL", "ID", self.ids[5], "TYPE", "normal"), 1)
            self.assertGreaterEqual(killer.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"), 1199)
            wait_until(lambda: b"connected_clients:1\r" in killer.call("INFO", "clients"), what="their end")
            self.crowd = [self.connect() for _ in range(1200)]
            # A client that is still in the listener's queue is not there to be killed.
            self.assertEqual([conn.call("PING") for conn in self.crowd], ["PONG"] * 1200)
            killer.send_command("CLIENT", "KILL", "TYPE", "normal")
        for conn in self.crowd:
            with self.assertRaises(ConnectionError):
                conn.read()
        with self.connect() as conn:
            self.crowd = [self.connect() for _ in range(1200)]
            self.assertEqual([one.call("PING") for one in self.crowd], ["PONG"] * 1200)
            conn.send_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no")
            self.assertGreaterEqual(conn.read(), 1201)


class Streams(Case):
    """Streams with many entries and many that are pending."""

    def setUp(self):
        super().setUp()
        self.ids = [b"%d-1" % (n + 1) for n in range(5000)]
        with self.connect() as conn:
            conn.send(b"".join(encode("XADD", "s", i, "field", "value") for i in self.ids))
            self.assertEqual([conn.read() for _ in self.ids], self.ids)
        self.call("XGROUP", "CREATE", "s", "g", "0")

    def read_all(self):
        return self.call("XREADGROUP", "GROUP", "g", "ann", "STREAMS", "s", ">")

    def test_a_group_reads_all_at_once(self):
        [[_, entries]] = self.read_all()
        self.assertEqual([entry[0] for entry in entries], self.ids)
        self.assertEqual(self.read_all(), None)
        self.assertEqual(self.call("XPENDING", "s", "g")[0], 5000)
        [[_, entries]] = self.call("XREADGROUP", "GROUP", "g", "ann", "STREAMS", "s", 0)
        self.assertEqual([entry[0] for entry in entries], self.ids)

    def test_all_that_is_pending_goes_to_another(self):
        self.read_all()
        self.call("XDEL", "s", *self.ids[100:110])
        next_id, entries, deleted = self.call("XAUTOCLAIM", "s", "g", "bob", 0, 0, "COUNT", 6000)
        self.assertEqual((next_id, deleted), (b"0-0", self.ids[100:110]))
        self.assertEqual([entry[0] for entry in entries], self.ids[:100] + self.ids[110:])
        self.assertEqual(self.call("XPENDING", "s", "g")[3], [[b"bob", b"4990"]])
        self.assertEqual(self.call("XCLAIM", "s", "g", "eve", 0, *self.ids[:3000], "JUSTID"),
                         self.ids[:100] + self.ids[110:3000])

    def test_all_is_told_of_a_stream_and_of_what_is_pending(self):
        self.read_all()
        pending = self.call("XPENDING", "s", "g", "-", "+", 6000)
        self.assertEqual([entry[0] for entry in pending], self.ids)
        self.assertEqual(len(self.call("XPENDING", "s", "g", "IDLE", 0, "-", "+", 3000, "ann")), 3000)
        self.assertEqual(self.call("XPENDING", "s", "g", "-", "+", -1), [])
        flat = self.call("XINFO", "STREAM", "s", "FULL", "COUNT", 0)
        full = dict(zip(flat[::2], flat[1::2]))
        self.assertEqual([entry[0] for entry in full[b"entries"]], self.ids)
        group = dict(zip(full[b"groups"][0][::2], full[b"groups"][0][1::2]))
        self.assertEqual([entry[0] for entry in group[b"pending"]], self.ids)

    def test_a_consumer_goes_with_all_it_has(self):
        self.read_all()
        with self.connect() as doer, self.connect() as other:
            doer.send_command("XGROUP", "DELCONSUMER", "s", "g", "ann")
            self.assertIn(other.call("XPENDING", "s", "g")[0], (5000, 0))
            self.assertEqual(doer.read(), 5000)
            self.assertEqual(other.call("XPENDING", "s", "g"), [0, None, None, None])
        self.assertEqual(self.call("XGROUP", "DESTROY", "s", "g"), 1)

    def test_trimming(self):
        self.assertEqual(self.call("XTRIM", "s", "MAXLEN", 4321), 679)
        self.assertEqual(self.call("XTRIM", "s", "MINID", "2000-1"), 1320)
        self.assertEqual(self.call("XADD", "s", "MAXLEN", 10, "9000-1", "a", "b"), b"9000-1")
        self.assertEqual([entry[0] for entry in self.call("XRANGE", "s", "-", "+")], self.ids[-9:] + [b"9000-1"])

    def test_a_copy_is_the_same(self):
        self.read_all()
        self.assertEqual(self.call("COPY", "s", "to"), 1)
        self.assertEqual(self.call("DUMP", "to"), self.call("DUMP", "s"))

    def test_who_waits_for_a_stream_that_goes_meanwhile(self):
        with self.connect() as reader, self.connect() as other:
            for _ in range(5):
                reader.send_command("XREAD", "BLOCK", 0, "STREAMS", "s", 0)
                other.call("DEL", "s")
                other.call("XADD", "s", "1-1", "a", "b")
                self.assertIsInstance(reader.read(), list)
                with self.connect() as conn:
                    conn.send(b"".join(encode("XADD", "s", i, "field", "value") for i in self.ids[1:]))
                    [conn.read() for _ in self.ids[1:]]


class Fields(Case):
    """Many fields of one hash whose time comes at once."""

    COUNT = 4000

    def fill(self, rest):
        self.call("DEL", "h")
        fields = [b"field:%d" % n for n in range(self.COUNT)]
        self.call("HSET", "h", *[word for f in fields for word in (f, b"value")])
        if rest:
            self.call("HSET", "h", "stays", "value")
        self.call("HPEXPIRE", "h", 150, "FIELDS", len(fields), *fields)

    def test_they_go_together_and_nobody_sees_some_of_them(self):
        self.fill(True)
        with self.connect() as other:
            while True:
                self.assertEqual(other.call("PING"), "PONG")
                length = self.call("HLEN", "h")
                self.assertIn(length, (self.COUNT + 1, 1))
                if length == 1:
                    break
        self.assertEqual(self.call("HGETALL", "h"), [b"stays", b"value"])
        self.assertEqual(self.call("HSET", "h", "field:1", "new"), 1)
        self.assertEqual(self.call("HTTL", "h", "FIELDS", 1, "field:1"), [-1])

    def test_the_key_goes_with_the_last(self):
        for look in (("EXISTS", "h"), ("HLEN", "h"), ("EVAL", "return redis.call('HLEN', KEYS[1])", 1, "h"),
                     ("EVAL", "return redis.call('HLEN', 'h')", 0)):
            self.fill(False)
            wait_until(lambda: self.call(*look) == 0, what="the end of the key")
            self.assertEqual(self.call("DBSIZE"), 0)

    def test_a_flush_in_the_middle(self):
        for words in (("FLUSHALL",), ("SWAPDB", 0, 1)):
            self.fill(False)
            with self.connect() as other:
                wait_until(lambda: self.call("PTTL", "h") == -2 or other.call("HPTTL", "h", "FIELDS", 1, "field:1")[0] < 5,
                           what="nearly the end")
                self.call(*words)
            wait_until(lambda: self.call("EXISTS", "h") == 0, what="the end of the key")
            self.call("FLUSHALL")


class DueFields(Case):
    """The server itself looks at no hash, as if too many of them were due at once."""

    args = ("--enable-debug-command", "local")

    def setUp(self):
        super().setUp()
        self.assertEqual(self.call("DEBUG", "SET-ACTIVE-EXPIRE", 0), "OK")
        self.addCleanup(self.conn.call, "DEBUG", "SET-ACTIVE-EXPIRE", 1)

    def now_ms(self):
        seconds, micros = self.call("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    def fill_until_due(self, count):
        """So many fields and one that stays, and nobody has looked since they were due."""
        fields = [b"field:%d" % n for n in range(count)]
        lives_ms, is_set = 100, False
        while not is_set:  # On a slow machine their moment may be over before.
            lives_ms *= 2
            self.call("DEL", "h")
            self.call("HSET", "h", "stays", "value", *[word for f in fields for word in (f, b"value")])
            until_ms = self.now_ms() + lives_ms
            found = self.call("HPEXPIREAT", "h", until_ms, "FIELDS", count, *fields)
            is_set = found == [1] * count and self.now_ms() < until_ms
        wait_until(lambda: self.now_ms() > until_ms + 5, what="the moment")

    def test_who_comes_first_has_them_removed_in_steps(self):
        looks = ([("HLEN", "h")], [("HSETNX", "h", "stays", "x")], [("HGET", "h", "field:7")],
                 [("EVAL", "return redis.call('HLEN', KEYS[1])", 1, "h")],
                 [("MULTI",), ("HLEN", "h"), ("EXEC",)])
        with self.connect() as other:
            for look in looks:
                # Only a client that was asleep meanwhile sees few.
                wait_until(lambda: self.pings_during(other, look) > 2, timeout=60,
                           what="pings during %s" % look[0][0])
                self.assertEqual(self.call("HGETALL", "h"), [b"stays", b"value"])

    def pings_during(self, other, commands):
        """How many another client has answered before the last of the commands is."""
        self.fill_until_due(6000)
        for words in commands[:-1]:
            self.call(*words)
        self.conn.send_command(*commands[-1])
        count = 0
        while not select.select([self.conn.socket], [], [], 0)[0]:
            self.assertEqual(other.call("PING"), "PONG")
            count += 1
        self.assertNotIsInstance(self.conn.read(), Error)
        return count


if __name__ == "__main__":
    main()
