#!/usr/bin/env python3
"""The replica's side of replication: a real redis-server as the primary, and a scripted one that
says what no real one would."""
import os
import random
import signal
import socket
import struct
import threading
import time
import unittest

from harness import Conn, Error, Server, encode, main, wait_until

SLOW = 60  # Seconds that a condition may take on a machine that does other things too.
ID = "0123456789abcdef0123456789abcdef01234567"
IS_REDIS = os.environ.get("OURO_KIND") == "redis"


def info(conn, section="replication"):
    text = conn.call("INFO", section)
    lines = (line.partition(b":") for line in text.split(b"\r\n"))
    return {name.decode(): value.decode() for name, colon, value in lines if colon}


def redis_primary(*args):
    return Server("--repl-diskless-sync-delay", "0", "--enable-debug-command", "yes", *args,
                  kind="redis")


def is_level(primary, replica):
    """The replica has executed all that the primary has written."""
    ours, theirs = info(replica), info(primary)
    return (ours["role"] == "slave" and ours["master_link_status"] == "up" and
            ours["slave_repl_offset"] == theirs["master_repl_offset"] and
            ours["master_replid"] == theirs["master_replid"])


def level(primary, replica, timeout=SLOW):
    wait_until(lambda: is_level(primary, replica), timeout, "the replica having everything")


def value_of(conn, key):
    kind = conn.call("TYPE", key)
    read = {
        "string": ("GET", key), "list": ("LRANGE", key, 0, -1), "set": ("SMEMBERS", key),
        "zset": ("ZRANGE", key, 0, -1, "WITHSCORES"), "hash": ("HGETALL", key),
        "stream": ("XRANGE", key, "-", "+"),
    }[kind]
    value = conn.call(*read)
    if kind == "set":
        value = sorted(value)
    if kind == "hash":
        value = sorted(zip(value[::2], value[1::2]))
    if kind == "stream":
        value = (value, conn.call("XINFO", "GROUPS", key))
    return kind, value, conn.call("PEXPIRETIME", key)


def data_of(port, databases=range(3)):
    """All that a server holds."""
    with Conn(port) as conn:
        data = {}
        for number in databases:
            conn.call("SELECT", number)
            for key in conn.call("KEYS", "*"):
                data[number, key] = value_of(conn, key)
        return data


FUNCTION = """#!lua name=%s
redis.register_function('%s', function(keys, args) return redis.call('SET', keys[1], args[1]) end)
"""


def fill(conn):
    """Every type in every form."""
    conn.pipeline([("SET", "s%d" % i, "x" * i) for i in range(100)])
    conn.pipeline([
        ("SET", "int", 12345), ("SET", "big", "0123456789" * 100000),
        ("SET", "later", "v", "PX", 86400000), ("RPUSH", "list", "a", "b", "c"),
        ("RPUSH", "long", *range(5000)), ("SADD", "ints", *range(100)),
        ("SADD", "set", "a", "b", "c"), ("SADD", "many", *("m%d" % i for i in range(3000))),
        ("ZADD", "zset", 1, "a", 2.5, "b"),
        ("ZADD", "ranks", *(w for i in range(2000) for w in (i, "z%d" % i))),
        ("HSET", "hash", "f", "v", "g", "w"),
        ("HSET", "wide", *(w for i in range(2000) for w in ("f%d" % i, i))),
        ("XADD", "stream", "1-1", "f", "v"), ("XADD", "stream", "2-1", "f", "w"),
        ("XGROUP", "CREATE", "stream", "g", "0"), ("XREADGROUP", "GROUP", "g", "c", "COUNT", "1",
                                                   "STREAMS", "stream", ">"),
        ("SELECT", 1), ("SET", "other", "db"), ("SELECT", 0),
        ("FUNCTION", "LOAD", FUNCTION % ("lib", "put")),
    ])


def write_at_random(conn, rng, count):
    """Commands of all kinds, those that fail included."""
    def key():
        return "k%d" % rng.randrange(40)

    makers = [
        lambda: ("SET", key(), rng.randrange(1000)), lambda: ("INCR", key()),
        lambda: ("APPEND", key(), "abc"), lambda: ("DEL", key(), key()),
        lambda: ("RPUSH", key(), "a", "b"), lambda: ("LPOP", key()), lambda: ("SPOP", key()),
        lambda: ("SADD", key(), rng.randrange(9), "m"), lambda: ("HSET", key(), "f", "v"),
        lambda: ("HINCRBYFLOAT", key(), "f", "1.5"), lambda: ("ZADD", key(), 3, "a", 4, "b"),
        lambda: ("ZINCRBY", key(), "1.5", "a"), lambda: ("EXPIRE", key(), 10000),
        lambda: ("PERSIST", key()), lambda: ("RENAME", key(), key()), lambda: ("MULTI",),
        lambda: ("EXEC",), lambda: ("SELECT", rng.randrange(3)), lambda: ("XADD", key(), "*", "a", "b"),
        lambda: ("EVAL", "redis.call('set', KEYS[1], 1) return redis.call('incr', KEYS[1])", 1, key()),
        lambda: ("GETSET", key(), "x"), lambda: ("SWAPDB", 0, 1), lambda: ("MOVE", key(), 1),
        lambda: ("PFADD", key(), "a", "b"), lambda: ("SETRANGE", key(), 5, "zz"),
        lambda: ("SET", key(), "v", "EX", 5000), lambda: ("GETEX", key(), "EX", 3000),
        lambda: ("COPY", key(), key(), "REPLACE"), lambda: ("SETBIT", key(), 9, 1),
    ]
    conn.pipeline([rng.choice(makers)() for _ in range(count)])
    conn.call("EXEC")
    conn.call("SELECT", 0)


class Pair(unittest.TestCase):
    """A redis-server and a replica of it, which each test makes as it wants them."""

    primary_args = ()
    replica_args = ()

    def setUp(self):
        self.servers = []
        self.conns = []
        self.primary = self.serve(redis_primary(*self.primary_args))
        self.up = self.connect(self.primary)

    def tearDown(self):
        for conn in self.conns:
            conn.close()
        failed = None
        for server in reversed(self.servers):
            if server.process is not None:
                try:
                    server.stop()
                except AssertionError as error:
                    failed = error
            server.remove()
        if failed is not None:
            raise failed

    def serve(self, server):
        self.servers.append(server)
        return server.start()

    def connect(self, server):
        conn = Conn(server.port, timeout=SLOW)
        self.conns.append(conn)
        return conn

    def follow(self, *args):
        """A replica, not waited for."""
        self.replica = self.serve(Server("--replicaof", "127.0.0.1 %d" % self.primary.port,
                                         *self.replica_args, *args))
        self.down = self.connect(self.replica)

    def level(self):
        level(self.up, self.down)

    def assert_same_data(self):
        self.level()
        self.assertEqual(data_of(self.replica.port), data_of(self.primary.port))


class FullSync(Pair):
    def test_every_type_and_function_comes_with_a_streamed_snapshot(self):
        fill(self.up)
        self.follow()
        self.assert_same_data()
        self.assertEqual(self.down.call("FUNCTION", "LIST")[0][1], b"lib")
        self.assertEqual(info(self.up, "stats")["sync_full"], "1")

    def test_every_type_comes_with_a_snapshot_of_known_length(self):
        self.up.call("CONFIG", "SET", "repl-diskless-sync", "no")
        fill(self.up)
        self.follow()
        self.assert_same_data()

    def test_every_type_comes_straight_into_the_loader(self):
        fill(self.up)
        for diskless in ("yes", "no"):
            self.up.call("CONFIG", "SET", "repl-diskless-sync", diskless)
            with self.subTest(diskless=diskless):
                self.follow("--repl-diskless-load", "on-empty-db")
                self.assert_same_data()
                self.assertIn(b"to parser", self.replica.log())

    def test_old_keys_and_functions_give_way(self):
        fill(self.up)
        self.replica = self.serve(Server())
        self.down = self.connect(self.replica)
        self.down.call("SET", "mine", "1")
        self.down.call("FUNCTION", "LOAD", FUNCTION % ("mine", "f"))
        self.assertEqual(self.down.call("REPLICAOF", "127.0.0.1", self.primary.port), "OK")
        self.assert_same_data()
        self.assertEqual([row[1] for row in self.down.call("FUNCTION", "LIST")], [b"lib"])

    def test_a_snapshot_of_many_keys_comes_while_the_primary_is_written_to(self):
        self.up.call("DEBUG", "POPULATE", 200000, "key", 20)
        self.follow()
        rng = random.Random(1)
        for _ in range(20):
            write_at_random(self.up, rng, 100)
        self.level()
        self.assertEqual(self.down.call("DBSIZE"), self.up.call("DBSIZE"))

    def test_a_replica_is_told_by_its_role_and_its_information(self):
        self.follow()
        self.level()
        self.assertEqual(self.down.call("ROLE")[:4],
                         [b"slave", b"127.0.0.1", self.primary.port, b"connected"])
        facts = info(self.down)
        self.assertEqual(facts["slave_read_only"], "1")
        self.assertEqual(facts["slave_priority"], "100")
        self.assertEqual(facts["master_sync_in_progress"], "0")
        wait_until(lambda: "state=online" in info(self.up)["slave0"], SLOW)
        self.assertIn("port=%d" % self.replica.port, info(self.up)["slave0"])

    def test_information_has_the_fields_of_redis_in_its_order(self):
        self.follow()
        self.level()
        other = self.serve(Server("--replicaof", "127.0.0.1 %d" % self.primary.port, kind="redis"))
        conn = self.connect(other)
        level(self.up, conn)
        self.assertEqual(list(info(self.down)), list(info(conn)))
        for a in (self.down, conn):
            a.call("REPLICAOF", "127.0.0.1", 1)
            wait_until(lambda: info(a)["master_link_status"] == "down", SLOW)
        self.assertEqual(list(info(self.down)), list(info(conn)))


class Stream(Pair):
    def setUp(self):
        super().setUp()
        self.follow()
        self.level()

    def test_random_commands_lead_to_the_same_data_and_offset(self):
        rng = random.Random(int(os.environ.get("OURO_SEED", "1")))
        for _ in range(30):
            write_at_random(self.up, rng, 200)
        self.assert_same_data()

    def test_acknowledgements_are_asked_for_and_given(self):
        self.up.call("SET", "a", "1")
        self.assertEqual(self.up.call("WAIT", 1, 20000), 1)
        self.assertEqual(self.down.call("GET", "a"), b"1")

    def test_twenty_cuts_of_the_link_cost_no_full_synchronization(self):
        rng = random.Random(2)
        for turn in range(20):
            write_at_random(self.up, rng, 100)
            if turn % 2 == 0:
                self.up.call("CLIENT", "KILL", "TYPE", "replica")
            else:
                wait_until(lambda: self.down.call("CLIENT", "KILL", "TYPE", "master") == 1, SLOW)
            write_at_random(self.up, rng, 100)
            self.level()
        self.assert_same_data()
        stats = info(self.up, "stats")
        self.assertEqual(stats["sync_full"], "1")
        self.assertGreaterEqual(int(stats["sync_partial_ok"]), 20)

    def test_a_transaction_is_seen_whole_or_not_at_all(self):
        done = threading.Event()
        torn = []

        def watch():
            with Conn(self.replica.port, timeout=SLOW) as conn:
                while not done.is_set():
                    a, b = conn.call("MGET", "a", "b")
                    if a != b:
                        torn.append((a, b))

        watcher = threading.Thread(target=watch)
        watcher.start()
        for i in range(300):
            self.up.pipeline([("MULTI",), ("SET", "a", i), ("SET", "b", i), ("EXEC",)])
        self.level()
        done.set()
        watcher.join()
        self.assertEqual(torn, [])

    def test_large_values_come_through(self):
        value = os.urandom(1 << 20) * 20
        self.up.call("SET", "large", value)
        self.up.call("RPUSH", "list", value[:5 << 20], "small")
        self.up.call("MSET", *(w for i in range(20000) for w in ("m%d" % i, i)))
        self.level()
        self.assertEqual(self.down.call("GET", "large"), value)
        self.assertEqual(self.down.call("LINDEX", "list", 0), value[:5 << 20])
        self.assertEqual(self.down.call("DBSIZE"), 20002)

    def test_keys_expire_when_the_primary_says_so(self):
        self.up.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)
        self.up.call("SET", "k", "v", "PX", 100)
        self.up.call("HSET", "h", "f", "v")
        self.up.call("PEXPIRE", "h", 100)
        self.level()
        wait_until(lambda: self.down.call("GET", "k") is None, SLOW)
        wait_until(lambda: self.down.call("HGETALL", "h") == [], SLOW)
        self.assertEqual(self.down.call("DBSIZE"), 2)
        self.assertEqual(self.down.call("EXISTS", "k", "h"), 0)
        self.up.call("DEBUG", "SET-ACTIVE-EXPIRE", 1)
        wait_until(lambda: self.down.call("DBSIZE") == 0, SLOW)

    def test_a_primary_changes_what_has_expired_here(self):
        """Commands of the primary see a key whose time is over: it may not have seen it so."""
        self.up.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)
        self.up.call("SET", "k", "1")
        self.level()
        self.down.call("CLIENT", "PAUSE", 600000, "WRITE")
        moment = int(time.time() * 1000) + 300
        self.up.pipeline([("PEXPIREAT", "k", moment), ("INCR", "k"), ("PERSIST", "k")])
        wait_until(lambda: time.time() * 1000 > moment + 50, SLOW)
        self.down.call("CLIENT", "UNPAUSE")
        self.level()
        self.assertEqual(self.down.call("GET", "k"), b"2")

    def test_functions_are_loaded_and_dropped_with_the_stream(self):
        self.up.call("FUNCTION", "LOAD", FUNCTION % ("lib", "put"))
        self.up.call("FCALL", "put", 1, "k", "v")
        self.level()
        self.assertEqual(self.down.call("GET", "k"), b"v")
        self.assertEqual(self.down.call("FUNCTION", "LIST")[0][1], b"lib")
        self.up.call("FUNCTION", "FLUSH")
        self.level()
        self.assertEqual(self.down.call("FUNCTION", "LIST"), [])

    def test_messages_reach_subscribers_of_the_replica(self):
        with Conn(self.replica.port, timeout=SLOW) as subscriber:
            subscriber.call("SUBSCRIBE", "news")
            self.up.call("PUBLISH", "news", "hello")
            self.assertEqual(subscriber.read(), [b"message", b"news", b"hello"])

    def test_blocked_readers_are_served_by_the_stream(self):
        with Conn(self.replica.port, timeout=SLOW) as reader:
            reader.send_command("XREAD", "BLOCK", 0, "STREAMS", "s", "$")
            wait_until(lambda: info(self.down, "clients")["blocked_clients"] == "1", SLOW)
            self.up.call("XADD", "s", "1-1", "f", "v")
            self.assertEqual(reader.read(), [[b"s", [[b"1-1", [b"f", b"v"]]]]])

    def test_a_pause_holds_the_stream_back_and_loses_nothing(self):
        self.down.call("CLIENT", "PAUSE", 600000, "WRITE")
        self.up.pipeline([("SET", "a", "1"), ("MULTI",), ("SET", "b", "2"), ("SET", "c", "3"),
                          ("EXEC",)])
        behind = info(self.down)
        wait_until(lambda: int(info(self.down)["slave_read_repl_offset"]) >
                   int(behind["slave_repl_offset"]), SLOW)
        self.assertEqual(self.down.call("GET", "a"), None)
        self.down.call("CLIENT", "UNPAUSE")
        self.level()
        self.assertEqual(self.down.call("MGET", "a", "b", "c"), [b"1", b"2", b"3"])

    def test_a_long_script_holds_the_stream_back(self):
        self.down.call("CONFIG", "SET", "busy-reply-threshold", 1)
        with Conn(self.replica.port, timeout=SLOW) as busy:
            busy.send_command("EVAL", "while true do end", 0)
            wait_until(lambda: str(self.down.call("GET", "a")).startswith("BUSY"), SLOW)
            self.up.call("SET", "a", "1")
            self.down.call("SCRIPT", "KILL")
            self.assertIsInstance(busy.read(), Error)
        self.level()
        self.assertEqual(self.down.call("GET", "a"), b"1")

    def test_the_link_is_a_client_of_a_type_of_its_own(self):
        listed = self.down.call("CLIENT", "LIST", "TYPE", "master")
        self.assertIn(b" flags=M ", listed)
        self.assertIn(b"addr=127.0.0.1:%d " % self.primary.port, listed)
        self.assertEqual(self.down.call("CLIENT", "KILL", "TYPE", "normal"), 0)
        self.assertEqual(self.down.call("CLIENT", "KILL", "TYPE", "master"), 1)
        self.level()


class Slices(Pair):
    """What a primary says in one command is done in slices, seen before or after, and told with its
    end."""

    replica_args = ("--enable-debug-command", "yes")
    STORE = ("SUNIONSTORE", "stored", "source", "other")
    COUNT = 150000

    def setUp(self):
        super().setUp()
        self.follow()
        for start in range(0, self.COUNT, 5000):
            self.up.call("SADD", "source", *range(start, start + 5000))
        self.up.call("SADD", "other", "a", "b", "c")
        self.level()

    def is_at_work(self):
        """A pause was begun in the middle: it keeps what is stored from being done."""
        return self.down.call("EXISTS", "stored") == 0 and self.offset(self.down) < self.wanted \
            and b" flags=Mb " in self.down.call("CLIENT", "LIST", "TYPE", "master") \
            and int(info(self.down)["slave_read_repl_offset"]) >= self.wanted

    @staticmethod
    def offset(conn):
        return int(info(conn).get("slave_repl_offset", 0))

    def begin(self):
        """The replica is in the middle of a long command, and pauses there."""
        if IS_REDIS:
            self.skipTest("redis-server does it in one step")
        self.up.call("DEL", "stored")
        self.level()
        self.down.call("DEBUG", "PAUSE-SLICES", 1)
        self.assertEqual(self.up.call(*self.STORE), self.COUNT + 3)
        self.wanted = int(info(self.up)["master_repl_offset"])
        wait_until(lambda: b" flags=Mb " in self.down.call("CLIENT", "LIST", "TYPE", "master"), SLOW,
                   "the beginning of the command")
        self.down.call("CLIENT", "PAUSE", 10 ** 7, "WRITE")
        self.down.call("DEBUG", "PAUSE-SLICES", 0)
        self.assertTrue(self.is_at_work())

    def test_the_next_begins_when_one_has_ended(self):
        """And not at some later tick: so many of them would take two minutes."""
        elements = range(20 if self.replica.is_hostile else 1001)
        for n in range(4000):
            self.up.call("RPUSH", "list:%d" % (n % 10), *elements)
        self.level()

    def test_what_follows_waits_and_is_not_acknowledged(self):
        self.begin()
        self.up.call("SET", "behind", "1")
        self.assertEqual(self.up.call("WAIT", 1, 10), 0)
        self.assertEqual(self.down.call("MGET", "behind"), [None])
        self.assertEqual(self.down.call("SCARD", "source"), self.COUNT)
        self.assertLess(self.offset(self.down), self.wanted)
        self.down.call("CLIENT", "UNPAUSE")
        self.assertEqual(self.up.call("WAIT", 1, SLOW * 1000), 1)
        self.assertEqual(self.down.call("GET", "behind"), b"1")
        self.assertEqual(self.down.call("SCARD", "stored"), self.COUNT + 3)
        self.level()

    def test_a_promotion_in_the_middle_leaves_it_whole(self):
        self.begin()
        self.down.call("REPLICAOF", "NO", "ONE")
        self.assertEqual(self.down.call("SCARD", "stored"), self.COUNT + 3)
        self.assertGreaterEqual(int(info(self.down)["master_repl_offset"]), self.wanted)
        self.down.call("CLIENT", "UNPAUSE")
        self.up.call("REPLICAOF", "127.0.0.1", self.replica.port)
        level(self.down, self.up)
        self.assertEqual(info(self.down, "stats")["sync_full"], "0")

    def test_a_killed_link_ends_when_it_is_done_and_nothing_is_done_twice(self):
        self.begin()
        self.assertEqual(self.down.call("CLIENT", "KILL", "TYPE", "master"), 1)
        self.down.call("CLIENT", "UNPAUSE")
        self.up.call("SADD", "stored", "more")
        self.level()
        self.assertEqual(self.down.call("SCARD", "stored"), self.COUNT + 4)
        self.assertEqual(info(self.up, "stats")["sync_full"], "1")

    def test_a_primary_that_dies_in_the_middle_has_said_it_all(self):
        self.begin()
        self.primary.kill()
        self.down.call("CLIENT", "UNPAUSE")
        wait_until(lambda: self.down.call("SCARD", "stored") == self.COUNT + 3, SLOW)
        wait_until(lambda: info(self.down)["master_link_status"] == "down", SLOW)
        self.assertGreaterEqual(self.offset(self.down), self.wanted)

    def test_a_replica_of_ours_and_a_shutdown_in_the_middle(self):
        second = self.serve(Server("--replicaof", "127.0.0.1 %d" % self.replica.port))
        below = self.connect(second)
        level(self.up, below)
        self.begin()
        self.assertLess(self.offset(below), self.wanted)
        self.down.call("CLIENT", "UNPAUSE")
        level(self.up, below)
        self.assertEqual(below.call("SCARD", "stored"), self.COUNT + 3)
        self.begin()
        self.replica.stop()

    def test_a_long_transaction_is_seen_whole(self):
        self.up.call("DEL", "source")
        keys = ["k%d" % n for n in range(3000)]
        count = """for round = 1, 20 do for i = 1, #KEYS do redis.call('INCR', KEYS[i]) end end
                   return redis.call('SADD', 'rounds', ARGV[1])"""
        with Conn(self.primary.port, timeout=SLOW) as writer:
            for number in range(5):
                writer.send_command("EVAL", count, len(keys), *keys, number)
            seen = set()
            while self.offset(self.down) < int(info(self.up)["master_repl_offset"]) \
                    or self.down.call("SCARD", "rounds") < 5:
                values = self.down.call("MGET", keys[0], keys[1500], keys[-1])
                self.assertEqual(len(set(values)), 1, values)
                self.assertIn(self.down.call("DBSIZE"), (1, 3002))
                seen.add(values[0])
            self.assertTrue(seen <= {None, b"20", b"40", b"60", b"80", b"100"}, seen)
            for _ in range(5):
                writer.read()
        self.assert_same_data()

    def test_a_transaction_that_clears_all_keys_is_seen_whole(self):
        self.up.call("FLUSHALL")
        self.level()
        clear = "redis.call('FLUSHALL') for i = 1, 500 do redis.call('SET', 'c' .. i, ARGV[1]) end"
        for number in range(5):
            self.up.send_command("EVAL", clear, 0, number)
            for _ in range(200):
                self.assertIn(self.down.call("DBSIZE"), (0, 500))
            self.up.read()
        self.assert_same_data()

    def test_readers_of_its_keys_hold_the_stream_back_for_a_while_only(self):
        with Conn(self.replica.port, timeout=SLOW) as reader:
            for _ in range(20):
                reader.send_command("SMEMBERS", "source")
                self.up.call("SADD", "source", "new")
                self.up.call("SREM", "source", "new")
                self.assertIn(len(reader.read()), (self.COUNT, self.COUNT + 1))
        self.level()


class Refusals(Pair):
    def test_writes_are_refused_by_a_replica(self):
        self.follow()
        self.level()
        readonly = "READONLY You can't write against a read only replica."
        self.assertEqual(self.down.call("SET", "a", "1"), readonly)
        self.assertEqual(self.down.call("EVAL", "return redis.call('set', 'a', 1)", 0)[:8], "READONLY")
        self.assertEqual(self.down.call("EVAL", "#!lua\nreturn 1", 0),
                         "READONLY Can not run script with write flag on readonly replica.")
        self.assertEqual(self.down.call("EVAL", "#!lua flags=no-writes\nreturn 1", 0), 1)
        self.down.pipeline([("MULTI",), ("SET", "a", "1")])
        self.assertEqual(self.down.call("EXEC")[:9], "EXECABORT")
        self.down.call("CONFIG", "SET", "replica-read-only", "no")
        self.assertEqual(self.down.call("SET", "a", "1"), "OK")

    def test_old_data_is_refused_when_so_configured(self):
        self.follow("--replica-serve-stale-data", "no")
        self.level()
        self.assertEqual(self.down.call("GET", "a"), None)
        self.primary.kill()
        stale = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
        wait_until(lambda: self.down.call("GET", "a") == stale, SLOW)
        self.assertEqual(self.down.call("EVAL", "return 1", 0), stale)
        self.assertEqual(self.down.call("PING"), stale)
        self.assertEqual(self.down.call("REPLICAOF", "NO", "ONE"), "OK")
        self.assertEqual(self.down.call("GET", "a"), None)

    def test_a_replica_leaves_its_memory_to_its_primary(self):
        self.follow("--maxmemory", "1mb", "--maxmemory-policy", "allkeys-lru")
        self.up.pipeline([("SET", "key%d" % i, "x" * 1000) for i in range(5000)])
        self.level()
        self.assertEqual(self.down.call("DBSIZE"), 5000)
        self.assertEqual(info(self.down, "stats")["evicted_keys"], "0")

    def test_bad_arguments_of_replicaof(self):
        self.follow()
        self.level()
        self.assertEqual(self.down.call("REPLICAOF", "localhost", "x"), "ERR Invalid master port")
        self.assertEqual(self.down.call("SLAVEOF", "localhost", "65536"), "ERR Invalid master port")
        self.assertEqual(self.down.call("REPLICAOF", "127.0.0.1", self.primary.port),
                         "OK Already connected to specified master")
        self.assertEqual(self.down.call("FAILOVER"),
                         "ERR FAILOVER is not valid when server is a replica.")


class Roles(Pair):
    def test_a_promoted_replica_goes_on_with_its_old_primary_as_replica(self):
        fill(self.up)
        self.follow()
        self.level()
        self.assertEqual(self.down.call("REPLICAOF", "NO", "ONE"), "OK")
        facts = info(self.down)
        self.assertEqual(facts["role"], "master")
        self.assertEqual(facts["master_replid2"], info(self.up)["master_replid"])
        self.down.call("SET", "mine", "1")
        self.up.call("REPLICAOF", "127.0.0.1", self.replica.port)
        level(self.down, self.up)
        self.assertEqual(self.up.call("GET", "mine"), b"1")
        self.assertEqual(info(self.down, "stats")["sync_partial_ok"], "1")
        # And back.
        self.up.call("REPLICAOF", "NO", "ONE")
        self.up.call("SET", "theirs", "2")
        self.down.call("REPLICAOF", "127.0.0.1", self.primary.port)
        self.level()
        self.assertEqual(self.down.call("GET", "theirs"), b"2")
        self.assertEqual(info(self.up, "stats")["sync_full"], "1")
        self.assert_same_data()

    def test_blocked_clients_are_sent_away_when_the_server_becomes_a_replica(self):
        self.replica = self.serve(Server())
        self.down = self.connect(self.replica)
        with Conn(self.replica.port, timeout=SLOW) as blocked:
            blocked.send_command("BLPOP", "list", 0)
            wait_until(lambda: info(self.down, "clients")["blocked_clients"] == "1", SLOW)
            self.down.call("REPLICAOF", "127.0.0.1", self.primary.port)
            self.assertEqual(blocked.read(),
                             "UNBLOCKED force unblock from blocking operation, instance state "
                             "changed (master -> replica?)")
        self.level()

    def test_a_long_write_of_a_client_belongs_to_the_time_before_the_change(self):
        self.follow()
        self.level()
        self.down.call("REPLICAOF", "NO", "ONE")
        self.up.call("REPLICAOF", "127.0.0.1", self.replica.port)
        self.down.call("SADD", "a", *range(60000))
        self.down.call("SADD", "b", *range(30000, 90000))
        level(self.down, self.up)
        self.up.call("REPLICAOF", "NO", "ONE")
        with Conn(self.replica.port, timeout=SLOW) as writer, \
                Conn(self.replica.port, timeout=SLOW) as other:
            writer.send_command("SUNIONSTORE", "c", "a", "b")
            other.send_command("SDIFFSTORE", "d", "a", "b")
            self.assertEqual(self.down.call("REPLICAOF", "127.0.0.1", self.primary.port), "OK")
            for conn in (writer, other):
                reply = conn.read()
                self.assertTrue(reply in (90000, 30000) or reply.startswith("READONLY"), reply)
        self.level()
        self.assertEqual(self.down.call("EXISTS", "c", "d"), self.up.call("EXISTS", "c", "d"))
        self.assertEqual(self.down.call("DBSIZE"), self.up.call("DBSIZE"))

    def test_a_transaction_in_which_the_role_changes_is_split_where_it_does(self):
        self.follow()
        self.level()
        self.down.call("REPLICAOF", "NO", "ONE")
        self.up.call("REPLICAOF", "127.0.0.1", self.replica.port)
        level(self.down, self.up)
        self.up.call("REPLICAOF", "NO", "ONE")
        before = int(info(self.down)["master_repl_offset"])
        for words in (("MULTI",), ("SET", "a", "1"), ("REPLICAOF", "127.0.0.1", 1), ("SET", "b", "2")):
            self.down.call(*words)
        self.assertEqual(self.down.call("EXEC"), ["OK", "OK", "OK"])
        # What came before is of our history; what came behind is of nobody's, as in Redis.
        offset = int(info(self.down)["master_repl_offset"])
        self.assertGreater(offset, before)
        self.assertEqual(self.down.call("SET", "c", "3"), "READONLY You can't write against a read only replica.")
        self.down.call("REPLICAOF", "NO", "ONE")
        self.assertEqual(self.down.call("MGET", "a", "b", "c"), [b"1", b"2", None])
        self.assertEqual(int(info(self.down)["master_repl_offset"]), offset)

    def test_a_name_is_looked_up(self):
        self.replica = self.serve(Server("--replicaof", "localhost %d" % self.primary.port))
        self.down = self.connect(self.replica)
        self.level()

    def test_a_name_that_would_break_a_line_is_refused(self):
        self.replica = self.serve(Server())
        self.down = self.connect(self.replica)
        for bad in ("a\r\nrole:master", "a\nb", "a b", "a\tb", b"a\0b", 'a"b', "a\\b", "a,b", "", "h" * 256):
            self.assertEqual(self.down.call("REPLICAOF", bad, 1), "ERR Invalid master host")
        self.assertEqual(info(self.down)["role"], "master")

    def test_a_name_that_is_none_is_tried_again(self):
        self.replica = self.serve(Server("--replicaof", "no.such.host.invalid 1"))
        self.down = self.connect(self.replica)
        wait_until(lambda: self.replica.log().count(b"Connecting to MASTER") >= 2, SLOW)
        self.down.call("REPLICAOF", "127.0.0.1", self.primary.port)
        self.level()

    def test_the_primary_asks_for_a_password(self):
        self.up.call("SET", "k", "v")
        self.up.call("ACL", "SETUSER", "repl", "on", ">secret", "+psync", "+replconf", "+ping")
        self.up.call("CONFIG", "SET", "requirepass", "word")
        self.follow("--masteruser", "repl", "--masterauth", "secret")
        self.level()
        self.down.pipeline([("CONFIG", "SET", "masteruser", ""), ("CONFIG", "SET", "masterauth", "bad")])
        self.down.call("CLIENT", "KILL", "TYPE", "master")
        wait_until(lambda: b"Unable to AUTH to MASTER" in self.replica.log(), SLOW)
        self.down.call("CONFIG", "SET", "masterauth", "word")
        self.level()

    def test_the_configuration_says_whom_to_follow(self):
        path = os.path.join(self.primary.directory, "replica.conf")
        self.replica = self.serve(Server(config="replicaof 127.0.0.1 %d\n" % self.primary.port))
        self.down = self.connect(self.replica)
        self.level()
        del path
        self.assertEqual(self.down.call("CONFIG", "GET", "replicaof"),
                         [b"replicaof", b"127.0.0.1 %d" % self.primary.port])
        config = os.path.join(self.replica.directory, "server.conf")
        self.down.call("REPLICAOF", "NO", "ONE")
        self.assertEqual(self.down.call("CONFIG", "REWRITE"), "OK")
        with open(config, "rb") as file:
            self.assertNotIn(b"replicaof", file.read())
        self.down.call("SLAVEOF", "127.0.0.1", self.primary.port)
        self.assertEqual(self.down.call("CONFIG", "REWRITE"), "OK")
        with open(config, "rb") as file:
            self.assertIn(b"replicaof 127.0.0.1 %d\n" % self.primary.port, file.read())

    def test_a_replica_of_a_replica_gets_the_same_bytes(self):
        self.follow()
        self.level()
        second = self.serve(Server("--replicaof", "127.0.0.1 %d" % self.primary.port, kind="redis"))
        below = self.connect(second)
        level(self.up, below)
        below.call("REPLICAOF", "127.0.0.1", self.replica.port)
        write_at_random(self.up, random.Random(3), 300)
        self.level()
        level(self.down, below)
        self.assertEqual(data_of(second.port), data_of(self.primary.port))
        self.assertEqual(info(self.down, "stats")["sync_partial_ok"], "1")


class Failovers(Pair):
    def setUp(self):
        super().setUp()
        self.follow()
        self.level()

    def assert_handed_over(self, old, new):
        wait_until(lambda: info(new)["role"] == "master", SLOW)
        wait_until(lambda: info(old)["role"] == "slave", SLOW)
        level(new, old)
        self.assertEqual(info(old)["master_failover_state"], "no-failover")

    def test_a_redis_primary_hands_over_to_us_and_we_hand_back(self):
        self.up.call("SET", "a", "1")
        self.assertEqual(self.up.call("FAILOVER"), "OK")
        self.assert_handed_over(self.up, self.down)
        self.assertEqual(self.down.call("SET", "a", "2"), "OK")
        wait_until(lambda: "state=online" in info(self.down).get("slave0", ""), SLOW)
        self.assertEqual(self.down.call("FAILOVER", "TO", "127.0.0.1", self.primary.port,
                                        "TIMEOUT", 50000), "OK")
        self.assert_handed_over(self.down, self.up)
        self.assertEqual(self.up.call("SET", "a", "3"), "OK")
        self.level()
        self.assertEqual(self.down.call("GET", "a"), b"3")
        self.assertEqual(info(self.up, "stats")["sync_full"], "1")

    def lead(self):
        """We become the primary, with the redis-server as our replica."""
        self.down.call("REPLICAOF", "NO", "ONE")
        self.up.call("REPLICAOF", "127.0.0.1", self.replica.port)
        level(self.down, self.up)
        wait_until(lambda: "state=online" in info(self.down).get("slave0", ""), SLOW)

    def test_a_failover_that_nobody_can_take_ends_by_its_timeout_or_by_abort(self):
        self.lead()
        self.up.call("DEBUG", "SLEEP", 0)
        os.kill(self.primary.process.pid, signal.SIGSTOP)
        try:
            self.down.call("SET", "a", "1")
            self.assertEqual(self.down.call("FAILOVER", "TIMEOUT", 300), "OK")
            self.assertEqual(info(self.down)["master_failover_state"], "waiting-for-sync")
            self.assertEqual(self.down.call("REPLICAOF", "NO", "ONE"),
                             "ERR REPLICAOF not allowed while failing over.")
            self.assertEqual(self.down.call("SET", "a", "2"), "OK")  # Held back until it is over.
            self.assertEqual(info(self.down)["master_failover_state"], "no-failover")
            self.assertEqual(self.down.call("FAILOVER"), "OK")
            self.assertEqual(self.down.call("FAILOVER"), "ERR FAILOVER already in progress.")
            self.assertEqual(self.down.call("FAILOVER", "ABORT"), "OK")
            self.assertEqual(self.down.call("FAILOVER", "ABORT"), "ERR No failover in progress.")
            self.assertEqual(self.down.call("SET", "a", "3"), "OK")
        finally:
            os.kill(self.primary.process.pid, signal.SIGCONT)
        level(self.down, self.up)
        self.assertEqual(self.up.call("GET", "a"), b"3")

    def test_a_failover_by_force_that_is_refused_makes_us_primary_again(self):
        self.lead()
        os.kill(self.primary.process.pid, signal.SIGSTOP)
        self.down.call("SET", "a", "1")
        self.assertEqual(self.down.call("FAILOVER", "TO", "127.0.0.1", self.primary.port, "FORCE",
                                        "TIMEOUT", 200), "OK")
        wait_until(lambda: info(self.down)["role"] == "slave", SLOW)
        self.assertEqual(info(self.down)["master_failover_state"], "failover-in-progress")
        self.assertEqual(self.down.call("FAILOVER", "ABORT"), "OK")
        os.kill(self.primary.process.pid, signal.SIGCONT)
        self.assertEqual(info(self.down)["role"], "master")
        self.assertEqual(self.down.call("SET", "a", "2"), "OK")

    def test_bad_arguments_of_failover(self):
        self.lead()
        for words, error in (
                (("TIMEOUT", 0), "ERR FAILOVER timeout must be greater than 0"),
                (("TIMEOUT", "x"), "ERR value is not an integer or out of range"),
                (("TO", "127.0.0.1"), "ERR syntax error"),
                (("TO", "127.0.0.1", "1"), "ERR FAILOVER target HOST and PORT is not a replica."),
                (("FORCE",), "ERR FAILOVER with force option requires both a timeout and target "
                             "HOST and IP."),
                (("FORCE", "FORCE"), "ERR syntax error"),
                (("ABORT",), "ERR No failover in progress.")):
            self.assertEqual(self.down.call("FAILOVER", *words), error)
        self.up.call("REPLICAOF", "NO", "ONE")
        wait_until(lambda: info(self.down)["connected_slaves"] == "0", SLOW)
        self.assertEqual(self.down.call("FAILOVER"), "ERR FAILOVER requires connected replicas.")


class Guard(Pair):
    """A primary that comes back without its data, and a redis-server that has it."""

    def begin(self, *args):
        self.follow("--empty-primary-guard-timeout", "600", *args)
        fill(self.up)
        self.level()
        self.down.call("REPLICAOF", "NO", "ONE")
        self.up.call("REPLICAOF", "127.0.0.1", self.replica.port)
        level(self.down, self.up)
        self.keys = self.up.call("DBSIZE")
        self.replica.kill()
        for name in os.listdir(self.replica.directory):
            if name.endswith(".rdb"):
                os.remove(os.path.join(self.replica.directory, name))
        at = self.replica.args.index("--replicaof")
        del self.replica.args[at:at + 2]
        self.replica.start()
        self.down = self.connect(self.replica)

    def test_it_does_not_wipe_its_replica_and_tells_sentinel_to_look_elsewhere(self):
        self.begin()
        self.assertEqual(self.down.call("PING"), "PONG")
        with Conn(self.replica.port, timeout=SLOW) as sentinel:
            sentinel.call("CLIENT", "SETNAME", "sentinel-12345678-cmd")
            wait_until(lambda: sentinel.call("PING").startswith("NOTREADY "), SLOW)
            self.assertEqual(self.down.call("PING"), "PONG")
            self.assertEqual(self.down.call("SET", "a", "1")[:9], "NOTREADY ")
            self.assertEqual(self.up.call("DBSIZE"), self.keys)
            # What Sentinel does then.
            self.up.call("REPLICAOF", "NO", "ONE")
            self.assertEqual(sentinel.call("SLAVEOF", "127.0.0.1", self.primary.port), "OK")
            self.assertEqual(sentinel.call("PING"), "PONG")
        self.level()
        self.assertEqual(self.down.call("DBSIZE"), self.keys)

    def test_it_gives_way_to_those_who_say_so(self):
        self.begin()
        wait_until(lambda: b"it is not wiped" in self.replica.log(), SLOW)
        self.assertEqual(self.down.call("REPLICAOF", "NO", "ONE"), "OK")
        self.assertEqual(self.down.call("SET", "a", "1"), "OK")

    def test_its_patience_ends(self):
        self.begin("--empty-primary-guard-timeout", "1")
        wait_until(lambda: b"it is not wiped" in self.replica.log(), SLOW)
        wait_until(lambda: self.down.call("SET", "a", "1") == "OK", SLOW)

    def test_the_first_key_disarms_it(self):
        self.begin()
        self.replica.kill()
        os.kill(self.primary.process.pid, signal.SIGSTOP)  # The redis-server cannot come yet.
        try:
            self.replica.start()
            with Conn(self.replica.port, timeout=SLOW) as conn:
                self.assertEqual(conn.call("SET", "a", "1"), "OK")
        finally:
            os.kill(self.primary.process.pid, signal.SIGCONT)
        wait_until(lambda: b"Replication ID mismatch" in self.replica.log(), SLOW)
        self.assertNotIn(b"it is not wiped", self.replica.log())


class Restarts(Pair):
    def test_a_promoted_server_that_restarts_is_recognized_by_its_replica(self):
        """What it was saved with becomes its second id."""
        fill(self.up)
        self.follow()
        self.level()
        self.down.call("REPLICAOF", "NO", "ONE")
        self.up.call("REPLICAOF", "127.0.0.1", self.replica.port)
        level(self.down, self.up)
        self.assertEqual(self.down.call("SAVE"), "OK")
        at = self.replica.args.index("--replicaof")
        del self.replica.args[at:at + 2]
        self.replica.kill()
        self.replica.start()
        self.down = self.connect(self.replica)
        level(self.down, self.up)
        self.assertEqual(info(self.down, "stats")["sync_partial_ok"], "1")
        self.assertEqual(data_of(self.replica.port), data_of(self.primary.port))

    def test_a_file_that_was_received_goes_where_nothing_is_to_be_kept(self):
        self.replica_args = ("--rdb-del-sync-files", "yes")
        fill(self.up)
        self.follow()
        self.assert_same_data()
        wait_until(lambda: not [name for name in os.listdir(self.replica.directory)
                                if name.endswith(".rdb")], SLOW)

    def test_a_replica_that_was_killed_goes_on_where_its_snapshot_ends(self):
        fill(self.up)
        self.follow()
        self.level()
        self.replica.kill()
        write_at_random(self.up, random.Random(4), 200)
        self.replica.start()
        self.down = self.connect(self.replica)
        self.assert_same_data()
        self.assertEqual(info(self.up, "stats")["sync_full"], "1")

    def test_a_replica_waits_for_its_primary_to_come_back(self):
        self.follow()
        self.level()
        self.primary.stop()
        wait_until(lambda: info(self.down)["master_link_status"] == "down", SLOW)
        self.assertGreaterEqual(int(info(self.down)["master_link_down_since_seconds"]), 0)
        self.primary.start()
        self.up = self.connect(self.primary)
        self.up.call("SET", "a", "1")
        self.level()
        self.assertEqual(self.down.call("GET", "a"), b"1")


# ------------------------------------------------------------------------------- a scripted primary


class FakePrimary:
    """Listens, and plays `script(conn, psync words)` to each replica that comes to PSYNC."""

    def __init__(self, script, handshake=None):
        self.script = script
        self.handshake = handshake or {}
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.requests = []
        self.errors = []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def close(self):
        self.listener.close()

    def run(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            conn = Conn.__new__(Conn)
            conn.socket, conn.pending = peer, bytearray()
            peer.settimeout(SLOW)
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def serve(self, conn):
        try:
            while True:
                words = [word.decode() for word in conn.read()]
                name = words[0].upper()
                if name == "PSYNC":
                    self.requests.append(words)
                    self.script(conn, words, len(self.requests))
                    return
                conn.send(self.handshake.get(name, b"+OK\r\n"))
        except (OSError, ConnectionError, ValueError):
            pass
        finally:
            conn.close()


def crc64(data, table=[]):
    if not table:
        for i in range(256):
            value = i
            for _ in range(8):
                value = value >> 1 ^ (0x95AC9329AC4BC9B5 if value & 1 else 0)
            table.append(value)
    value = 0
    for byte in data:
        value = table[(value ^ byte) & 255] ^ value >> 8
    return value


def snapshot(keys=(b"a",), value=b"v", damage=None):
    body = b"REDIS0009" + b"\xfe\x00"
    for key in keys:
        body += b"\x00" + bytes([len(key)]) + key + b"\x80" + struct.pack(">I", len(value)) + value
    body += b"\xff"
    body += struct.pack("<Q", crc64(body))
    return body if damage is None else damage(body)


MARK = b"m" * 20 + b"n" * 20


class Scripted(unittest.TestCase):
    """Against a primary that misbehaves."""

    def play(self, script, *args, handshake=None):
        self.acks = []
        self.acked = None
        self.fake = FakePrimary(script, handshake)
        self.addCleanup(self.fake.close)
        self.server = Server("--replicaof", "127.0.0.1 %d" % self.fake.port, *args)
        self.server.start()
        self.addCleanup(self.server.remove)
        self.addCleanup(self.server.stop)
        self.conn = Conn(self.server.port, timeout=SLOW)
        self.addCleanup(self.conn.close)

    def await_value(self, key, value):
        wait_until(lambda: self.conn.call("GET", key) == value, SLOW, "%s being %r" % (key, value))

    def await_log(self, text):
        wait_until(lambda: text in self.server.log(), SLOW, "%r in the log" % text)

    def hold(self, conn):
        """Reads what the replica says until it goes; its last acknowledgement."""
        last = None
        try:
            while True:
                words = conn.read() if not conn.pending.startswith(b"\n") else None
                if words is None:
                    del conn.pending[:1]
                elif words[:2] == [b"REPLCONF", b"ACK"]:
                    last = self.acked = int(words[2])
        except (ConnectionError, OSError, ValueError):
            return last

    @staticmethod
    def slowly(conn, data, step=1):
        for at in range(0, len(data), step):
            conn.send(data[at:at + step])

    def test_everything_comes_byte_by_byte(self):
        stream = encode("SELECT", 1) + encode("SET", "b", "w") + encode("MULTI") + \
            encode("SET", "c", "1") + encode("INCR", "c") + encode("EXEC")

        def script(conn, words, _count):
            self.slowly(conn, b"\n\n+FULLRESYNC %s 1000\r\n" % ID.encode())
            self.slowly(conn, b"\n$EOF:" + MARK + b"\r\n" + snapshot() + MARK)
            self.slowly(conn, stream)
            self.hold(conn)

        self.play(script)
        self.await_value("a", b"v")
        self.conn.call("SELECT", 1)
        self.await_value("c", b"2")
        self.await_value("b", b"w")
        self.assertEqual(info(self.conn)["slave_repl_offset"], str(1000 + len(stream)))
        wait_until(lambda: self.acked == 1000 + len(stream), SLOW)

    def test_the_mark_may_be_cut_anywhere_and_the_stream_follow_at_once(self):
        for cut in range(0, 41, 5):
            with self.subTest(cut=cut):
                def script(conn, words, _count, cut=cut):
                    conn.send(b"+FULLRESYNC %s 0\r\n$EOF:%s\r\n" % (ID.encode(), MARK))
                    body = snapshot(value=MARK[:39] * 5)
                    conn.send(body + MARK[:cut])
                    conn.send(MARK[cut:] + encode("SELECT", 0) + encode("SET", "b", str(cut)))
                    self.hold(conn)

                self.play(script)
                self.await_value("b", str(cut).encode())
                self.assertEqual(self.conn.call("GET", "a"), MARK[:39] * 5)

    def test_the_stream_may_follow_a_snapshot_of_known_length_at_once(self):
        for load in ("disabled", "on-empty-db"):
            with self.subTest(load=load):
                def script(conn, words, _count):
                    body = snapshot(value=b"x" * 100000)
                    conn.send(b"+FULLRESYNC %s 7\r\n$%d\r\n" % (ID.encode(), len(body)) + body +
                              encode("SELECT", 0) + encode("SET", "b", "w"))
                    self.hold(conn)

                self.play(script, "--repl-diskless-load", load)
                self.await_value("b", b"w")
                self.assertEqual(self.conn.call("STRLEN", "a"), 100000)

    def test_a_snapshot_that_is_cut_off_leaves_the_old_data(self):
        def script(conn, words, count):
            body = snapshot(keys=(b"a", b"b")) if count == 1 else snapshot(keys=(b"c",))
            conn.send(b"+FULLRESYNC %s 0\r\n$%d\r\n" % (ID.encode(), len(body)))
            if count == 1:
                conn.send(body + encode("SELECT", 0))
                conn.read()
                return
            if count == 2:
                conn.send(body[:-3])
                return
            conn.send(body)
            self.hold(conn)

        self.play(script)
        self.await_log(b"I/O error trying to sync with MASTER")
        self.await_value("c", b"v")
        self.assertEqual(self.conn.call("DBSIZE"), 1)

    def test_a_damaged_snapshot_is_said_and_nothing_of_it_is_kept(self):
        def damage(body):
            return body[:-2] + bytes([body[-2] ^ 1]) + body[-1:]

        for load in ("disabled", "on-empty-db", "flush-before-load"):
            with self.subTest(load=load):
                def script(conn, words, count):
                    body = snapshot(keys=(b"x", b"y"), damage=damage) if count == 1 else snapshot()
                    conn.send(b"+FULLRESYNC %s 0\r\n$%d\r\n" % (ID.encode(), len(body)) + body)
                    self.hold(conn)

                self.play(script, "--repl-diskless-load", load)
                self.await_log(b"Failed trying to load the MASTER synchronization DB")
                self.await_value("a", b"v")
                self.assertEqual(self.conn.call("DBSIZE"), 1)
                self.assertEqual(self.fake.requests[1][1:], ["?", "-1"])

    def test_a_command_that_is_not_known_ends_the_link_loudly(self):
        def script(conn, words, count):
            if count == 1:
                conn.send(b"+FULLRESYNC %s 0\r\n$%d\r\n" % (ID.encode(), len(snapshot())) + snapshot())
                conn.send(encode("SELECT", 0) + encode("SET", "b", "1"))
            else:
                conn.send(b"+CONTINUE\r\n")
            if count < 4:
                conn.send(encode("FROBNICATE", "a", "b") + encode("SET", "c", "never"))
            else:
                conn.send(encode("SET", "c", "at last"))
            self.hold(conn)

        self.play(script)
        self.await_value("c", b"at last")
        self.assertEqual(self.conn.call("GET", "b"), b"1")
        self.assertEqual(self.server.log().count(b'cannot execute: \\"FROBNICATE\\"') +
                         self.server.log().count(b'cannot execute: "FROBNICATE"'), 3)
        done = len(encode("SELECT", 0) + encode("SET", "b", "1"))
        self.assertEqual(self.fake.requests[1][1:], [ID, str(done + 1)])

    def test_a_database_that_is_not_there_ends_the_link(self):
        def script(conn, words, count):
            if count == 1:
                conn.send(b"+FULLRESYNC %s 0\r\n$%d\r\n" % (ID.encode(), len(snapshot())) + snapshot())
                conn.send(encode("SELECT", 99) + encode("SET", "b", "elsewhere"))
            else:
                conn.send(b"+CONTINUE\r\n" + encode("SELECT", 0) + encode("SET", "c", "1"))
            self.hold(conn)

        self.play(script)
        self.await_value("c", b"1")
        self.assertEqual(self.conn.call("GET", "b"), None)
        self.await_log(b"cannot execute")

    def test_another_primary_may_be_named_in_the_middle_of_a_transfer(self):
        def endless(conn, words, count):
            conn.send(b"+FULLRESYNC %s 0\r\n$10000000\r\nREDIS0009" % ID.encode())
            self.hold(conn)

        def good(conn, words, count):
            conn.send(b"+FULLRESYNC %s 0\r\n$%d\r\n" % (ID.encode(), len(snapshot())) + snapshot())
            self.hold(conn)

        self.play(endless)
        wait_until(lambda: info(self.conn)["master_sync_in_progress"] == "1", SLOW)
        other = FakePrimary(good)
        self.addCleanup(other.close)
        self.assertEqual(self.conn.call("REPLICAOF", "127.0.0.1", other.port), "OK")
        self.await_value("a", b"v")

    def test_an_error_is_logged_and_passed_over(self):
        def script(conn, words, count):
            conn.send(b"+FULLRESYNC %s 0\r\n$%d\r\n" % (ID.encode(), len(snapshot())) + snapshot())
            conn.send(encode("SELECT", 0) + encode("LPUSH", "a", "1") + encode("SET", "b", "1"))
            self.hold(conn)

        self.play(script)
        self.await_value("b", b"1")
        self.await_log(b"This replica is sending an error to its master: 'WRONGTYPE'")

    def test_answers_that_mean_later_are_tried_again(self):
        for answer in (b"-NOMASTERLINK no\r\n", b"-LOADING Redis is loading\r\n", b"-ERR no\r\n",
                       b"+WHAT\r\n", b"+FULLRESYNC abc\r\n", b"+CONTINUE\r\n", b"-\r\n", b"+\r\n"):
            with self.subTest(answer=answer):
                def script(conn, words, count, answer=answer):
                    if count == 1:
                        conn.send(answer)
                        conn.is_closed()
                        return
                    conn.send(b"+FULLRESYNC %s 0\r\n$%d\r\n" % (ID.encode(), len(snapshot())) +
                              snapshot())
                    self.hold(conn)

                self.play(script)
                self.await_value("a", b"v")

    def test_heads_that_make_no_sense_are_refused(self):
        for head in (b"-ERR disk full\r\n", b"hello\r\n", b"$x\r\n", b"$-5\r\n", b"$EOF:short\r\n",
                     b"$99999999999999999999\r\n"):
            with self.subTest(head=head):
                def script(conn, words, count, head=head):
                    conn.send(b"+FULLRESYNC %s 0\r\n" % ID.encode())
                    conn.send(head if count == 1 else b"$%d\r\n" % len(snapshot()) + snapshot())
                    self.hold(conn)

                self.play(script)
                self.await_value("a", b"v")

    def test_a_stream_that_is_no_protocol_ends_in_a_full_synchronization(self):
        def script(conn, words, count):
            body = snapshot(keys=(b"k%d" % count,))
            conn.send(b"+FULLRESYNC %s 0\r\n$%d\r\n" % (ID.encode(), len(body)) + body)
            if count == 1:
                conn.send(b"*1\r\n$x\r\n")
            self.hold(conn)

        self.play(script)
        self.await_value("k2", b"v")
        self.await_log(b"Protocol error from the master")
        self.assertEqual(self.fake.requests[1][1:], ["?", "-1"])

    def test_silence_is_broken_off(self):
        def script(conn, words, count):
            if count == 1:
                self.hold(conn)
                return
            conn.send(b"+FULLRESYNC %s 0\r\n" % ID.encode())
            if count == 2:
                self.hold(conn)
                return
            conn.send(b"$%d\r\n" % len(snapshot()))
            if count == 3:
                conn.send(snapshot()[:10])
                self.hold(conn)
                return
            conn.send(snapshot())
            self.hold(conn)

        self.play(script, "--repl-timeout", "1")
        wait_until(lambda: len(self.fake.requests) >= 5, SLOW)
        self.await_log(b"Timeout connecting to the MASTER")
        self.await_log(b"Timeout receiving bulk data from MASTER")
        self.await_log(b"MASTER timeout: no data nor PING received")
        self.assertEqual(self.fake.requests[4][1:], [ID, "1"])

    def test_a_primary_that_wants_acknowledgements_gets_them_at_once(self):
        ask = encode("REPLCONF", "GETACK", "*")

        def script(conn, words, count):
            conn.send(b"+FULLRESYNC %s 100\r\n$%d\r\n" % (ID.encode(), len(snapshot())) + snapshot())
            conn.send(ask + encode("PING") + ask)
            while True:
                words = conn.read()
                self.acks.append(int(words[2]))

        self.play(script)
        wait_until(lambda: 100 + len(ask) + len(encode("PING")) in self.acks, SLOW)
        self.assertEqual(self.acks[:3], [100, 100, 100 + len(ask) + len(encode("PING"))])

    def test_a_cut_in_a_transaction_asks_for_it_from_its_beginning(self):
        begin = encode("SELECT", 0) + encode("SET", "b", "1")

        def script(conn, words, count):
            if count == 1:
                conn.send(b"+FULLRESYNC %s 0\r\n$%d\r\n" % (ID.encode(), len(snapshot())) + snapshot())
                conn.send(begin + encode("MULTI") + encode("INCR", "b"))
                conn.read()
                return
            conn.send(b"+CONTINUE\r\n" + encode("MULTI") + encode("INCR", "b") + encode("INCR", "b") +
                      encode("EXEC"))
            self.hold(conn)

        self.play(script)
        self.await_value("b", b"3")
        self.assertEqual(self.fake.requests[1][1:], [ID, str(len(begin) + 1)])

    def test_a_new_id_is_taken_over_with_the_stream(self):
        other = "f" * 40

        def script(conn, words, count):
            if count == 1:
                conn.send(b"+FULLRESYNC %s 50\r\n$%d\r\n" % (ID.encode(), len(snapshot())) + snapshot())
                conn.read()
                return
            conn.send(b"+CONTINUE %s\r\n" % other.encode() + encode("SELECT", 0) +
                      encode("SET", "b", "1"))
            self.hold(conn)

        self.play(script)
        self.await_value("b", b"1")
        facts = info(self.conn)
        self.assertEqual(facts["master_replid"], other)
        self.assertEqual(facts["master_replid2"], ID)
        self.assertEqual(facts["second_repl_offset"], "51")

    def test_what_the_primary_must_not_say_is_not_done(self):
        def script(conn, words, count):
            conn.send(b"+FULLRESYNC %s 0\r\n$%d\r\n" % (ID.encode(), len(snapshot())) + snapshot())
            conn.send(encode("SELECT", 0) + encode("REPLICAOF", "NO", "ONE") + encode("BLPOP", "l", 0) +
                      encode("PSYNC", "?", "-1") + encode("CLIENT", "KILL", "TYPE", "master") +
                      encode("QUIT") + encode("MONITOR") + encode("SUBSCRIBE", "x") +
                      encode("SET", "b", "1"))
            self.hold(conn)

        self.play(script)
        wait_until(lambda: len(self.fake.requests) >= 2, SLOW)
        self.assertEqual(info(self.conn)["role"], "slave")

    def test_signals_end_a_replica_in_every_state(self):
        def script(conn, words, count):
            conn.send(b"+FULLRESYNC %s 0\r\n$1000000\r\nREDIS0009" % ID.encode())
            self.hold(conn)

        for load in ("disabled", "flush-before-load"):
            with self.subTest(load=load):
                self.play(script, "--repl-diskless-load", load, "--replicaof", "no one")
                self.conn.call("REPLICAOF", "127.0.0.1", self.fake.port)
                wait_until(lambda: info(self.conn)["master_sync_in_progress"] == "1", SLOW)
                os.kill(self.server.process.pid, signal.SIGTERM)
                self.assertEqual(self.server.process.wait(SLOW), 0)
                left = [name for name in os.listdir(self.server.directory) if name.endswith(".rdb")]
                self.assertEqual(left, [])


    def test_what_a_killed_replica_had_received_is_removed_by_its_next_start(self):
        def script(conn, words, count):
            conn.send(b"+FULLRESYNC %s 0\r\n$10000000\r\nREDIS0009" % ID.encode())
            self.hold(conn)

        def temporary():
            return [name for name in os.listdir(self.server.directory) if name.startswith("temp-")]

        self.play(script)
        wait_until(temporary, SLOW)
        self.server.kill()
        self.assertEqual(len(temporary()), 1)
        self.server.args = []
        self.server.start()
        self.assertEqual(temporary(), [])


if __name__ == "__main__":
    main()
