"""Commands that name thousands of keys: others come between their steps, and see all of what they
do or nothing; so do replicas, snapshots, transactions and scripts."""
import os
import random
import re
import threading
import time

from harness import Case, Server, main, wait_until
from replication import Group, assert_same_data, wait_in_sync

COUNT = 3000
KEYS = [b"key:%d" % n for n in range(COUNT)]


def pairs(value, keys=KEYS):
    return [word for key in keys for word in (key, value)]


class Other:
    """Another client's loop in a thread; what fails in it fails the test."""

    def __init__(self, server, turn):
        self.server, self.turn, self.count, self.error = server, turn, 0, None
        self.is_over = False
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            with self.server.connect(timeout=60) as conn:
                while not self.is_over:
                    self.turn(conn)
                    self.count += 1
        except Exception as error:  # pylint: disable=broad-except
            self.error = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over = True
        self.thread.join()
        if self.error is not None:
            raise self.error


class Replies(Case):
    def test_keys_are_set_read_counted_and_removed(self):
        self.assertEqual(self.call("MSET", *pairs("v")), "OK")
        self.assertEqual(self.call("MGET", *KEYS, "absent"), [b"v"] * COUNT + [None])
        self.assertEqual(self.call("EXISTS", *KEYS, "absent", KEYS[0]), COUNT + 1)
        self.assertEqual(self.call("TOUCH", *KEYS, "absent"), COUNT)
        self.assertEqual(self.call("DEL", *KEYS[:2000], KEYS[0]), 2000)
        self.assertEqual(self.call("UNLINK", *KEYS), COUNT - 2000)
        self.assertEqual(self.call("DBSIZE"), 0)
        self.assertEqual(self.call("MGET", *KEYS), [None] * COUNT)

    def test_keys_are_set_if_none_is_there(self):
        self.call("SET", KEYS[-1], "old")
        self.assertEqual(self.call("MSETNX", *pairs("new")), 0)
        self.assertEqual(self.call("DBSIZE"), 1)
        self.call("DEL", KEYS[-1])
        self.assertEqual(self.call("MSETNX", *pairs("new")), 1)
        self.assertEqual(self.call("MGET", *KEYS), [b"new"] * COUNT)

    def test_keys_are_set_with_one_expiry(self):
        self.needs_command("MSETEX")
        self.assertEqual(self.call("MSETEX", COUNT, *pairs("v"), "XX", "EX", 100), 0)
        self.assertEqual(self.call("MSETEX", COUNT, *pairs("v"), "NX", "EX", 100), 1)
        self.assertEqual(self.call("MSETEX", COUNT, *pairs("w"), "NX"), 0)
        self.assertEqual(self.call("MSETEX", COUNT, *pairs("w"), "XX", "KEEPTTL"), 1)
        self.assertEqual(self.call("MGET", *KEYS), [b"w"] * COUNT)
        self.assertIn(self.call("TTL", KEYS[1234]), range(1, 101))

    def test_values_of_all_kinds_and_lengths(self):
        long = b"x" * 100000
        self.call("MSET", *pairs("v"), "long", long, KEYS[7], long)
        self.call("RPUSH", "list", "a")
        reply = self.call("MGET", "list", "long", *KEYS)
        self.assertEqual(reply[:2], [None, long])
        self.assertEqual([n for n, value in enumerate(reply[2:]) if value != b"v"], [7])
        self.assertEqual(self.call("DEL", "list", "long", *KEYS), COUNT + 2)

    def test_a_word_too_few(self):
        for name in ("MSET", "MSETNX"):
            self.assert_error(self.call(name, *pairs("v"), "odd"), "ERR wrong number of arguments for '%s' command"
                              % name.lower())
        self.assertEqual(self.call("DBSIZE"), 0)

    def test_a_key_named_again_and_again(self):
        self.call("MSET", *pairs("v", [b"one"] * COUNT), "one", "last")
        self.assertEqual(self.call("MGET", *[b"one"] * COUNT), [b"last"] * COUNT)
        self.assertEqual(self.call("EXISTS", *[b"one"] * COUNT), COUNT)
        self.assertEqual(self.call("DEL", *[b"one"] * COUNT), 1)

    def test_a_pipeline_keeps_its_order(self):
        with self.connect(timeout=60) as conn:
            replies = conn.pipeline([("MSET", *pairs("a")), ("GET", KEYS[-1]), ("DEL", *KEYS), ("DBSIZE",),
                                     ("MSET", *pairs("b")), ("MGET", *KEYS), ("SELECT", 1), ("MGET", *KEYS),
                                     ("PING",)])
        self.assertEqual(replies, ["OK", b"a", COUNT, 0, "OK", [b"b"] * COUNT, "OK", [None] * COUNT, "PONG"])

    def test_in_a_transaction_and_in_a_script(self):
        with self.connect(timeout=60) as conn:
            replies = conn.pipeline([("MULTI",), ("MSET", *pairs("a")), ("MGET", *KEYS), ("DEL", *KEYS[1:]), ("EXEC",)])
        self.assertEqual(replies[-1], ["OK", [b"a"] * COUNT, COUNT - 1])
        script = "redis.call('MSET', unpack(ARGV)) return redis.call('DEL', unpack(KEYS))"
        self.assertEqual(self.call("EVAL", script, COUNT, *KEYS, *pairs("b")), COUNT)
        self.assertEqual(self.call("DBSIZE"), 0)

    def test_a_command_counts_once_and_its_keys_each(self):
        self.call("MSET", *pairs("v", KEYS[:2000]))
        self.call("CONFIG", "RESETSTAT")
        self.call("MGET", *KEYS)
        self.call("DEL", *KEYS)
        info = self.call("INFO", "all").decode()
        for wanted in ("keyspace_hits:2000\r", "keyspace_misses:1000\r", "cmdstat_mget:calls=1,",
                       "cmdstat_del:calls=1,"):
            self.assertIn(wanted, info)

    def test_replies_are_left_out_when_asked(self):
        with self.connect(timeout=60) as conn:
            conn.send_command("CLIENT", "REPLY", "OFF")
            conn.send_command("MSET", *pairs("v"))
            conn.send_command("MGET", *KEYS)
            self.assertEqual(conn.call("CLIENT", "REPLY", "ON"), "OK")
            conn.send_command("CLIENT", "REPLY", "SKIP")
            conn.send_command("MGET", *KEYS)
            self.assertEqual(conn.call("DEL", *KEYS), COUNT)

    def test_elements_of_many_keys_are_counted(self):
        for n in (0, 1500, COUNT - 1):
            self.call("PFADD", KEYS[n], *["%d:%d" % (n, m) for m in range(100)])
        self.assertAlmostEqual(self.call("PFCOUNT", *KEYS), 300, delta=20)
        self.assertEqual(self.call("PFMERGE", "all", *KEYS), "OK")
        self.assertAlmostEqual(self.call("PFCOUNT", "all"), 300, delta=20)
        self.call("RPUSH", KEYS[-1] + b"0", "a")
        for name in ("PFCOUNT", "PFMERGE"):
            self.assert_error(self.call(name, *KEYS, KEYS[-1] + b"0"), "WRONGTYPE")

    def test_entries_leave_a_stream(self):
        with self.connect(timeout=60) as conn:
            conn.pipeline([("XADD", "stream", "%d-1" % (n + 1), "f", "v") for n in range(COUNT)])
        ids = ["%d-1" % (n + 1) for n in range(COUNT)]
        self.assert_error(self.call("XDEL", "stream", *ids, "x"), "ERR Invalid stream ID")
        self.assertEqual(self.call("XLEN", "stream"), COUNT)
        self.assertEqual(self.call("XDEL", "stream", *ids[500:], "77777"), COUNT - 500)
        self.assertEqual(self.call("XDEL", "stream", *ids), 500)
        self.assertEqual(self.call("XLEN", "stream"), 0)
        self.assertEqual(self.call("XDEL", "absent", *ids), 0)

    def test_words_are_told_one_by_one(self):
        with self.connect(timeout=60) as listener:
            listener.call("SUBSCRIBE", KEYS[7])
            reply = self.call("PUBSUB", "NUMSUB", *KEYS)
            self.assertEqual(reply[::2], KEYS)
            self.assertEqual([n for n, count in enumerate(reply[1::2]) if count], [7])
        self.assertEqual(self.call("COMMAND", "GETKEYS", "MSET", *pairs("v")), KEYS)
        self.assertEqual([key for key, _ in self.call("COMMAND", "GETKEYSANDFLAGS", "DEL", *KEYS)], KEYS)

    def test_sets_are_combined(self):
        for n, key in enumerate(KEYS):
            if n % 3 == 0:
                self.call("SADD", key, "all", n % 10, *range(n % 7))
        third = KEYS[::3]
        union = sorted([b"all"] + [b"%d" % n for n in range(10)])
        self.assertEqual(sorted(self.call("SUNION", *KEYS)), union)
        self.assertEqual(self.call("SUNIONSTORE", "to", *KEYS), 11)
        self.assertEqual(sorted(self.call("SMEMBERS", "to")), union)
        self.assertEqual(self.call("SINTER", *third), [b"all"])
        self.assertEqual(self.call("SINTER", *KEYS), [])
        self.assertEqual(self.call("SINTERCARD", len(third), *third, "LIMIT", 5), 1)
        self.assertEqual(self.call("SINTERSTORE", "to", *third), 1)
        self.call("SADD", "first", "mine", "all", 3)
        self.assertEqual(self.call("SDIFF", "first", *KEYS), [b"mine"])
        self.assertEqual(self.call("SDIFFSTORE", KEYS[0], "first", *KEYS[1:]), 1)
        self.assertEqual(self.call("SMEMBERS", KEYS[0]), [b"mine"])
        self.call("SADD", "large", *range(5000))
        self.assertEqual(self.call("SCARD", "large") - len(self.call("SDIFF", "large", *KEYS)), 10)
        self.assertEqual(len(self.call("SUNION", *KEYS, "large")), 5002)
        self.call("SET", "text", "x")
        for name in ("SUNION", "SINTER", "SDIFF"):
            self.assert_error(self.call(name, *KEYS, "text"), "WRONGTYPE")
        self.assertEqual(self.call("SINTERSTORE", "to", *KEYS), 0)
        self.assertEqual(self.call("EXISTS", "to"), 0)

    def test_memory_that_is_short(self):
        self.call("CONFIG", "SET", "maxmemory", 1)
        self.assert_error(self.call("MSET", *pairs("v")), "OOM command not allowed")
        self.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru", "maxmemory", "100mb")
        self.assertEqual(self.call("MSET", *pairs("v" * 100)), "OK")
        self.call("CONFIG", "SET", "maxmemory", 1)
        wait_until(lambda: self.call("DBSIZE") == 0, timeout=30)
        self.call("CONFIG", "SET", "maxmemory", 0, "maxmemory-policy", "noeviction")


class Limited(Case):
    args = ("--maxmemory", "40mb", "--maxmemory-policy", "allkeys-lru")

    def test_writers_do_not_fill_memory_while_nothing_can_be_evicted(self):
        """A command that is long whatever memory there is: one set, named very often."""
        members = [b"member:%d" % n for n in range(5000)]
        self.call("SADD", "big", *members)
        with self.connect(timeout=60) as reader, self.connect() as writer:
            reader.send_command("SINTERCARD", 1200, *["big"] * 1200)
            most = 0
            for n in range(40):
                writer.pipeline([("SET", "key:%d:%d" % (n, i), b"x" * 50000) for i in range(40)])
                info = self.call("INFO", "memory").decode()
                most = max(most, int(re.search(r"used_memory:(\d+)", info).group(1)))
            self.assertLess(most, 50 << 20)
            self.assertIn(reader.read(), (0, 5000))  # It may be evicted before all that begins.


class Between(Case):
    """Others at work meanwhile."""

    def writer(self, conn):
        """All keys hold one value, or none is there."""
        value = b"%d" % random.randrange(10 ** 6)
        self.assertEqual(conn.call("MSET", *pairs(value)), "OK")
        if random.random() < 0.3:
            self.assertEqual(conn.call("DEL", *KEYS), COUNT)
            self.assertEqual(conn.call("MSETNX", *pairs(value)), 1)

    def rounds(self, turn, count=20):
        with Other(self.server, self.writer):
            for _ in range(count):
                turn()

    def test_who_reads_sees_all_or_none(self):
        few = [KEYS[0], KEYS[COUNT // 2], KEYS[-1]]
        script = "return {redis.call('GET', '%s'), redis.call('GET', '%s')}" % (KEYS[0].decode(), KEYS[-1].decode())

        def turn():
            for reply in (self.call("MGET", *few), self.call("MGET", *KEYS), self.call("EVAL", script, 0),
                          self.call("EVAL_RO", script, 0), self.call("EVAL", script, 2, KEYS[0], KEYS[-1])):
                self.assertEqual(len(set(reply)), 1, reply[:10])
            for reply, most in ((self.call("DBSIZE"), COUNT), (self.call("EXISTS", *KEYS), COUNT),
                                (self.call("EXISTS", *few), 3)):
                self.assertIn(reply, (0, most))
            with self.connect() as conn:
                replies = conn.pipeline([("MULTI",), ("GET", KEYS[-1]), ("GET", KEYS[0]), ("DBSIZE",), ("EXEC",)])[-1]
            self.assertEqual(replies[0], replies[1])
            self.assertEqual(replies[2], 0 if replies[0] is None else COUNT)
        self.rounds(turn)

    def test_who_sorts_by_such_keys_sees_all_or_none(self):
        self.call("SADD", "members", 0, COUNT - 1)

        def writer(conn):
            self.assertEqual(conn.call("MSET", *pairs(b"%d" % random.randrange(10 ** 6))), "OK")

        with Other(self.server, writer):
            for _ in range(20):
                reply = self.call("SORT", "members", "BY", "nosort", "GET", "key:*")
                self.assertEqual(len(set(reply)), 1, reply)

    def test_sets_are_combined_while_others_change_them(self):
        for key in KEYS[::2]:
            self.call("SADD", key, "all", key)
        whole = sorted([b"all"] + KEYS[::2])

        def other(conn):
            conn.pipeline([("MULTI",), ("SMOVE", KEYS[0], KEYS[-2], KEYS[0]), ("EXEC",)])
            conn.call("SMOVE", KEYS[-2], KEYS[0], KEYS[0])
            conn.call("SADD", "apart", "a")

        def flusher(conn):
            conn.call("SELECT", 1)
            conn.pipeline([("SADD", key, "all") for key in KEYS[:1100]])
            self.assertIn(conn.call("SUNION", *KEYS), ([b"all"], []))
            conn.call("FLUSHDB")

        with Other(self.server, other), Other(self.server, flusher):
            for _ in range(20):
                self.assertEqual(sorted(self.call("SUNION", *KEYS)), whole)
                self.assertEqual(self.call("SUNIONSTORE", "to", *KEYS), len(whole))
                self.assertEqual(self.call("SINTERSTORE", "one", *KEYS[::2]), 1)

    def test_a_reader_of_all_sees_what_others_change_whole(self):
        def other(conn):
            value = b"%d" % random.randrange(10 ** 6)
            conn.pipeline([("MULTI",), ("SET", KEYS[0], value), ("SET", KEYS[-1], value), ("EXEC",)])
            conn.call("MSET", KEYS[1], value, KEYS[-2], value)

        self.call("MSET", *pairs("v"))
        with Other(self.server, other):
            for _ in range(20):
                reply = self.call("MGET", *KEYS)
                self.assertEqual((reply[0], reply[1]), (reply[-1], reply[-2]))

    def test_others_do_not_wait(self):
        """Somebody finds a command begun and not counted yet."""
        if os.environ.get("OURO_KIND") == "redis":
            self.skipTest("redis does them in one step")
        many = [b"many:%d" % n for n in range(20000)]
        words = pairs("v", many)
        for command in (("MSET", *words), ("MGET", *many), ("EXISTS", *many), ("DEL", *many), ("MSETNX", *words)):
            name = command[0].lower()

            def is_between(command=command, name=name):
                if name == "msetnx":
                    self.call("DEL", *many)
                self.call("CONFIG", "RESETSTAT")
                with self.connect(timeout=60) as doer, self.connect(timeout=60) as other:
                    doer.send_command(*command)
                    while True:
                        clients, counts = other.pipeline([("CLIENT", "LIST"), ("INFO", "commandstats")])
                        if b"cmdstat_%s:" % name.encode() in counts:
                            doer.read()
                            return False
                        if b" cmd=%s " % name.encode() in clients:
                            doer.read()
                            return True
            wait_until(is_between, timeout=60)

    def test_keys_are_flushed_or_set(self):
        for _ in range(10):
            with self.connect(timeout=60) as doer:
                doer.send_command("MSET", *pairs("v"))
                self.assertEqual(self.call(random.choice(["FLUSHALL", "FLUSHDB"])), "OK")
                self.assertEqual(doer.read(), "OK")
            self.assertIn(self.call("DBSIZE"), (0, COUNT))
            with self.connect(timeout=60) as doer:
                doer.send_command("MGET", *KEYS)
                self.assertEqual(self.call("SWAPDB", 0, 1), "OK")
                self.assertEqual(len(set(doer.read())), 1)
            self.call("FLUSHALL")

    def test_keys_expire_together(self):
        for _ in range(3):
            at_ms = int(time.time() * 1000) + 400
            commands = [("SET", key, "v", "PXAT", at_ms) for key in KEYS]
            with self.connect(timeout=60) as conn:
                conn.pipeline(commands)

            def are_gone():
                replies = self.call("MGET", *KEYS)
                self.assertEqual(len(set(replies)), 1)
                self.assertIn(self.call("EXISTS", *KEYS), (0, COUNT))
                return replies[0] is None
            wait_until(are_gone, timeout=30)
            self.assertEqual(self.call("MSETNX", *pairs("new")), 1)
            self.assertEqual(self.call("DEL", *KEYS), COUNT)

    def test_scripts_go_on_behind_calls_that_hold_no_keys(self):
        """Fields that are due and not removed yet have all commands asked whether they must wait."""
        self.needs_command("HPEXPIRE")
        many = ["k:%d" % n for n in range(20000)]
        with self.own_server("--enable-debug-command", "local") as server, \
                server.connect() as conn, server.connect() as other:
            conn.pipeline([("DEBUG", "SET-ACTIVE-EXPIRE", 0), ("HSET", "h", "f", "v", "g", "v"),
                           ("HPEXPIRE", "h", 1, "FIELDS", 1, "f")])
            for _ in range(10):
                other.send_command("WATCH", *many)
                other.send_command("UNWATCH")
                self.assertEqual(conn.pipeline([("EVAL", "return 1", 0)] * 60), [1] * 60)
                self.assertEqual([other.read(), other.read()], ["OK", "OK"])

    def test_whose_watched_key_is_named_is_told(self):
        with self.connect() as conn:
            for command in (("MSET", *pairs("v")), ("DEL", *KEYS), ("MSETNX", *pairs("v")), ("UNLINK", *KEYS)):
                conn.call("WATCH", KEYS[2222])
                conn.pipeline([("MULTI",), ("SET", "other", "x")])
                self.call(*command)
                self.assertIsNone(conn.call("EXEC"))
                conn.call("WATCH", "apart")
                conn.pipeline([("MULTI",), ("SET", "other", "x")])
                self.call(*command)
                self.assertEqual(conn.call("EXEC"), ["OK"])
                self.call("DEL", "other")
                self.call("MGET", *KEYS)

    def test_who_waits_for_a_stream_that_goes(self):
        with self.connect() as conn:
            self.call("XGROUP", "CREATE", KEYS[1500], "group", "$", "MKSTREAM")
            conn.send_command("XREADGROUP", "GROUP", "group", "me", "BLOCK", 0, "STREAMS", KEYS[1500], ">")
            wait_until(lambda: b"cmd=xreadgroup" in self.call("CLIENT", "LIST"))
            self.assertEqual(self.call("DEL", *KEYS), 1)
            self.assertEqual(conn.read(), "UNBLOCKED the stream key no longer exists")

    def test_copies_and_listeners_are_told(self):
        self.call("MSET", *pairs("v"))
        self.call("CONFIG", "SET", "notify-keyspace-events", "KA")
        with self.connect(timeout=60) as listener, self.connect(timeout=60) as keeper:
            listener.call("PSUBSCRIBE", "__keyspace@0__:*")
            keeper.call("HELLO", 3)
            keeper.call("CLIENT", "TRACKING", "ON")
            keeper.call("MGET", *KEYS[:10])
            self.assertEqual(self.call("DEL", *KEYS), COUNT)
            for key in KEYS:
                self.assertEqual(listener.read(), [b"pmessage", b"__keyspace@0__:*", b"__keyspace@0__:" + key, b"del"])
            told = [keeper.read() for _ in range(10)]
            self.assertEqual(sorted(key for push in told for key in push[1]), sorted(KEYS[:10]))
        self.call("CONFIG", "SET", "notify-keyspace-events", "")

    def test_a_client_that_leaves_has_done_it_all_or_nothing(self):
        for n in range(30):
            doer = self.connect(timeout=60)
            doer.send_command("MSET", *pairs(b"%d" % n))
            if n % 3 == 0:
                self.call("PING")
                self.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            doer.close()
            reply = self.call("MGET", *KEYS)
            self.assertEqual(len(set(reply)), 1)
        for n in range(30):
            doer = self.connect(timeout=60)
            doer.send_command("MGET" if n % 2 else "EXISTS", *KEYS)
            if n % 3 == 0:
                self.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            doer.close()
            self.call("SET", KEYS[5], "x")
        wait_until(lambda: len(self.call("CLIENT", "LIST").splitlines()) == 1)

    def test_long_commands_of_other_kinds_take_turns(self):
        self.call("SADD", KEYS[3], *range(5000))
        self.call("SADD", KEYS[4], *range(4000, 9000))
        with self.connect(timeout=60) as store, self.connect(timeout=60) as reader, self.connect(timeout=60) as doer:
            for _ in range(10):
                store.send_command("SUNIONSTORE", KEYS[5], KEYS[3], KEYS[4])
                reader.send_command("SMEMBERS", KEYS[5])
                doer.send_command("DEL", *KEYS[5:])
                self.assertIn(self.call("EXISTS", KEYS[5]), (0, 1))
                self.assertEqual(store.read(), 9000)
                self.assertIn(len(reader.read()), (0, 9000))
                self.assertIn(doer.read(), (0, 1))
                self.call("DEL", KEYS[5])

    def test_pauses_hold_writers(self):
        with self.connect(timeout=60) as doer, self.connect(timeout=60) as reader:
            self.call("CLIENT", "PAUSE", 100000, "WRITE")
            doer.send_command("MSET", *pairs("v"))
            reader.send_command("MGET", *KEYS)
            self.assertEqual(reader.read(), [None] * COUNT)
            self.call("CLIENT", "UNPAUSE")
            self.assertEqual(doer.read(), "OK")
        self.assertEqual(self.call("EXISTS", *KEYS), COUNT)

    def test_a_snapshot_holds_all_or_none(self):
        with self.own_server("--save", "") as server:
            with Other(server, self.writer), server.connect(timeout=60) as conn:
                for _ in range(3):
                    self.assertEqual(conn.call("SAVE"), "OK")
                    wait_until(lambda: "Background saving started" in str(conn.call("BGSAVE")), timeout=60)
                    wait_until(lambda: b"rdb_bgsave_in_progress:0" in conn.call("INFO", "persistence"), timeout=60)
            server.kill()
            server.start()
            with server.connect(timeout=60) as conn:
                self.assertEqual(len(set(conn.call("MGET", *KEYS))), 1)
                self.assertIn(conn.call("DBSIZE"), (0, COUNT))


class Watched(Case):
    """WATCH of thousands of keys."""

    def queue(self, conn):
        self.assertEqual(conn.pipeline([("MULTI",), ("INCR", "n")]), ["OK", "QUEUED"])

    def watched_keys(self):
        info = self.call("INFO", "clients").decode()
        return [int(line.split(":")[1]) for line in info.splitlines() if line.startswith("total_watched_keys:")]

    def test_each_of_them_counts(self):
        self.call("MSET", *pairs("v", KEYS[::2]))
        with self.connect(timeout=60) as conn:
            for key in [KEYS[0], KEYS[1], KEYS[-2], KEYS[-1]] + random.sample(KEYS, 20):
                for change in (("SET", key, "w"), ("DEL", key)):
                    self.assertEqual(conn.call("WATCH", *KEYS), "OK")
                    self.queue(conn)
                    is_change = self.call(*change) != 0
                    self.assertEqual(conn.call("EXEC") is None, is_change, change)
            self.assertEqual(conn.call("WATCH", *KEYS), "OK")
            self.call("SET", "apart", "w")
            self.queue(conn)
            self.assertNotEqual(conn.call("EXEC"), None)

    def test_each_is_watched_once_and_forgotten(self):
        with self.connect(timeout=60) as conn, self.connect(timeout=60) as other:
            for _ in range(3):
                self.assertEqual(conn.call("WATCH", *KEYS[:2000], *KEYS), "OK")
            other.call("WATCH", *KEYS[1000:])
            for n in (0, 1, 2000, COUNT - 1):
                other.call("WATCH", KEYS[n])
            if self.watched_keys():
                self.assertEqual(self.watched_keys(), [COUNT + COUNT - 1000 + 2])
            self.assertEqual(conn.call("UNWATCH"), "OK")
            self.call("SET", KEYS[5], "changed")
            self.queue(conn)
            self.assertEqual(len(conn.call("EXEC")), 1)
            self.call("SET", KEYS[2500], "changed")
            self.queue(other)
            self.assertIsNone(other.call("EXEC"))
            if self.watched_keys():
                self.assertEqual(self.watched_keys(), [0])
            other.call("WATCH", *KEYS)
            self.queue(other)
            self.assertEqual(other.call("DISCARD"), "OK")
            other.call("WATCH", *KEYS)

    def test_what_expires_has_changed(self):
        with self.connect(timeout=60) as conn:
            self.call("SET", KEYS[2900], "v", "PX", 300)
            conn.call("WATCH", *KEYS)
            self.queue(conn)
            wait_until(lambda: self.call("EXISTS", KEYS[2900]) == 0)
            self.assertIsNone(conn.call("EXEC"))
            self.call("SET", KEYS[2900], "v")
            conn.call("WATCH", *KEYS)
            self.queue(conn)
            self.call("PEXPIRE", KEYS[2900], 100000)
            self.assertIsNone(conn.call("EXEC"))

    def test_others_change_them_meanwhile(self):
        def other(conn):
            conn.call("MSET", *pairs("v", KEYS[::3]))
            conn.call("INCR", "counter")

        with Other(self.server, other), self.connect(timeout=60) as conn:
            for _ in range(20):
                conn.call("WATCH", *KEYS, "counter")
                counter = int(conn.call("GET", "counter") or 0)
                conn.pipeline([("MULTI",), ("SET", "counter", counter), ("SET", "done", counter)])
                if conn.call("EXEC") is not None:
                    self.assertGreaterEqual(int(self.call("GET", "counter")), counter)

    def test_who_leaves_in_the_middle(self):
        for n in range(20):
            doer = self.connect(timeout=60)
            doer.send_command("WATCH", *KEYS)
            if n % 2:
                self.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            doer.close()
            self.call("SET", KEYS[n], "x")
        wait_until(lambda: len(self.call("CLIENT", "LIST").splitlines()) == 1)
        if self.watched_keys():
            self.assertEqual(self.watched_keys(), [0])


class Debugged(Case):
    args = ("--enable-debug-command", "local")

    def wait_until_blocked(self, name):
        wait_until(lambda: re.search(rb" flags=b.* cmd=%s " % name, self.call("CLIENT", "LIST")), what="%r" % name)

    def test_others_begin_before_one_that_waits_for_a_store(self):
        """The store rests as long as writes are paused."""
        if os.environ.get("OURO_KIND") == "redis":
            self.skipTest("there nothing runs in slices")
        self.call("SADD", "set", *range(5000))
        with self.connect(timeout=60) as store, self.connect(timeout=60) as doer:
            self.call("DEBUG", "PAUSE-SLICES", 1)
            store.send_command("SUNIONSTORE", "to", "set")
            self.wait_until_blocked(b"sunionstore")
            self.call("CLIENT", "PAUSE", 100000, "WRITE")
            self.call("DEBUG", "PAUSE-SLICES", 0)
            doer.send_command("MGET", "to", *KEYS)
            self.wait_until_blocked(b"mget")
            self.assertEqual(len(self.call("SMEMBERS", "set")), 5000)
            self.call("CLIENT", "UNPAUSE")
            self.assertEqual(store.read(), 5000)
            self.assertEqual(doer.read(), [None] * (COUNT + 1))

    def test_sets_are_read_to_the_end_before_a_reload(self):
        with self.connect(timeout=60) as doer:
            doer.pipeline([("SADD", key, *range(n, n + 100)) for n, key in enumerate(KEYS)])
            for words in (("RELOAD",), ("RELOAD", "NOSAVE"), ("RELOAD", "MERGE", "NOFLUSH", "NOSAVE")) * 2:
                doer.send_command("SUNION", *KEYS)
                self.assertEqual(self.call("DEBUG", *words), "OK")
                self.assertEqual(len(doer.read()), COUNT + 99)


class Replicas(Case):
    def test_they_end_equal(self):
        rng = random.Random(int(os.environ.get("OURO_SEED", "1")))
        with Group("oo") as group:
            primary, replica = group.nodes
            replica.follow(primary)
            wait_in_sync(primary, replica)

            def look(conn):
                reply = conn.call("MGET", *KEYS)
                self.assertEqual(len(set(reply[:1000])), 1)

            with Other(replica, look), primary.connect(timeout=60) as conn:
                for _ in range(30):
                    value = b"%d" % rng.randrange(1000)
                    part = KEYS[:1000] + rng.sample(KEYS[1000:], rng.randrange(0, 2000))
                    conn.call(rng.choice(["MSET", "MSET", "MSETNX"]), *pairs(value, part))
                    if rng.random() < 0.5:
                        conn.call(rng.choice(["DEL", "UNLINK"]), *part)
                    conn.call("SET", "other", value)
            wait_in_sync(primary, replica)
            assert_same_data(primary, replica)

    def test_they_are_told_what_redis_is_told(self):
        with Group("or") as group:
            primary, replica = group.nodes
            replica.follow(primary)
            wait_in_sync(primary, replica)
            with primary.connect(timeout=60) as conn:
                conn.call("MSET", *pairs("v"))
                conn.call("DEL", *KEYS[:1500])
                if conn.call("COMMAND", "INFO", "MSETEX")[0] is not None:
                    conn.call("MSETEX", 1500, *pairs("w", KEYS[:1500]), "EX", 1000)
            wait_in_sync(primary, replica)
            assert_same_data(primary, replica)


class Same(Case):
    """The same random commands to both servers, while others are at work on other keys."""

    def test_replies_are_those_of_redis(self):
        rng = random.Random(int(os.environ.get("OURO_SEED", "1")))

        def some():
            return [rng.choice(KEYS) for _ in range(rng.choice([3, 1100, 2500]))]

        def command():
            name = rng.choice(["MSET", "MSET", "MSETNX", "DEL", "UNLINK", "EXISTS", "TOUCH", "MGET", "RPUSH", "WATCH",
                               "DBSIZE"])
            if name in ("MSET", "MSETNX"):
                return [name] + [word for key in some() for word in (key, b"%d" % rng.randrange(1000))]
            if name == "RPUSH":
                return [name, rng.choice(KEYS), "a"]
            return [name] if name == "DBSIZE" else [name] + some()

        def busy(conn):
            conn.call("SELECT", 1)
            conn.call("MSET", *pairs("v", KEYS[:1500]))
            conn.call("INCR", "n")
            conn.call("DEL", *KEYS[:1500])

        with Server(kind="redis") as redis, redis.connect(timeout=60) as theirs, self.connect(timeout=60) as ours:
            with Other(self.server, busy):
                for _ in range(150):
                    words = command()
                    self.assertEqual(ours.call(*words), theirs.call(*words), words[:4])
            self.assertEqual(sorted(ours.call("KEYS", "*")), sorted(theirs.call("KEYS", "*")))


class End(Case):
    def test_who_has_not_begun_is_given_up(self):
        """One is in the middle and others wait for it when the server ends."""
        if os.environ.get("OURO_KIND") == "redis":
            self.skipTest("redis does them in one step")
        if self.server.is_hostile:
            self.skipTest("CLIENT LIST would wait for the one that rests")
        with self.own_server("--enable-debug-command", "local", "--notify-keyspace-events", "KEA") as server:
            conns = [server.connect() for _ in range(6)]
            conns[0].call("DEBUG", "PAUSE-SLICES", 1)
            for conn in conns[1:]:
                conn.send_command("MSET", *pairs("v"))
            wait_until(lambda: conns[0].call("CLIENT", "LIST").count(b" cmd=mset ") == 5)
            server.stop()
            for conn in conns:
                conn.close()


if __name__ == "__main__":
    main()
