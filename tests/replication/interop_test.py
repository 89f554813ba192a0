"""Replication between Ouro and redis-server, in both directions, and between two of Ouro.

Each class runs the same tests with another pair: the first letter is the primary, the second its
replica; o is the server under test, r redis-server. With OURO_KIND=redis all are redis-server.

OURO_LINK_CUTS says how often the link is cut under load."""
import os
import threading
import unittest

from harness import Error, main, wait_until
from proxy import Proxy
from replication import (
    QUIET, Group, Load, load, wait_in_sync, wait_same_data, wait_up)

LINK_CUTS = int(os.environ.get("OURO_LINK_CUTS", "6"))


class Pair(unittest.TestCase):
    """The tests; the classes below say with whom."""

    letters = None

    def group(self, letters, *settings):
        group = Group(letters, *QUIET, *settings)
        group.__enter__()
        self.addCleanup(self.end, group)
        return group.nodes

    def end(self, group):
        """The nodes end with the test, in order when it went well."""
        result = self._outcome.result
        told = [test for test, _ in result.failures + result.errors]
        failed = any(getattr(test, "test_case", test) is self for test in told)
        group.__exit__(AssertionError if failed else None,
                       AssertionError() if failed else None, None)

    def proxy(self, node):
        proxy = Proxy(node.port)
        self.addCleanup(proxy.close)
        return proxy

    def pair(self, *settings, follows=True):
        primary, replica = self.group(self.letters, *settings)
        if follows:
            replica.follow(primary)
            wait_up(replica)
        return primary, replica

    def cut(self, proxy, replica):
        """Cut the link, and wait until it is there again."""
        before = proxy.connection_count
        proxy.cut()
        wait_until(lambda: proxy.connection_count > before, 30, "another connection")
        wait_up(replica)


class Resynchronisation(Pair):
    def test_links_that_break_under_load_cost_no_full_resynchronisation(self):
        primary, replica, last = self.group(self.letters + self.letters[0])
        proxy, below = self.proxy(primary), self.proxy(replica)
        replica.follow(primary, proxy.port)
        wait_up(replica)
        last.follow(replica, below.port)
        wait_up(last)
        with Load(primary.port) as running:
            for number in range(LINK_CUTS):
                running.wait_for(150)
                self.cut(proxy, replica)
                if number % 3 == 2:
                    self.cut(below, last)
            running.wait_for(150)
        wait_same_data(primary, replica, last)
        self.assertEqual(primary.full_count, 1)
        self.assertEqual(replica.full_count, 1)
        self.assertGreaterEqual(primary.partial_count, LINK_CUTS)
        self.assertGreaterEqual(replica.partial_count, LINK_CUTS // 3)

    def test_a_whole_data_set_arrives_in_every_form_of_transfer(self):
        primary, replica = self.pair(follows=False)
        load(primary, 4000, seed=2)
        for sync, how in (("yes", "disabled"), ("no", "disabled"), ("yes", "on-empty-db"),
                          ("yes", "swapdb")):
            with self.subTest(sync=sync, load=how):
                primary.do("CONFIG", "SET", "repl-diskless-sync", sync)
                replica.do("CONFIG", "SET", "repl-diskless-load", how)
                before = primary.full_count
                replica.lead()
                replica.do("FLUSHALL")
                replica.follow(primary)
                wait_up(replica)
                wait_same_data(primary, replica)
                self.assertGreater(primary.full_count, before)
        load(primary, 2000, seed=3)
        wait_same_data(primary, replica)

    def test_a_replica_that_restarts_goes_on_where_it_was(self):
        primary, replica = self.pair()
        load(primary, 1000, seed=4)
        wait_in_sync(primary, replica)
        replica.do("CONFIG", "REWRITE")
        replica.shut_down("SAVE")
        load(primary, 500, seed=5)
        replica.start()
        wait_same_data(primary, replica)
        self.assertEqual((primary.full_count, primary.partial_count), (1, 1))

    def test_a_primary_that_restarts_with_its_data_goes_on_where_it_was(self):
        primary, replica = self.pair()
        load(primary, 1000, seed=6)
        wait_in_sync(primary, replica)
        primary.shut_down("SAVE")
        primary.start()
        wait_same_data(primary, replica)
        self.assertEqual((primary.full_count, primary.partial_count), (0, 1))
        primary.do("SET", "after", "x")
        wait_same_data(primary, replica)

    def test_what_lies_beyond_the_backlog_comes_as_a_whole(self):
        primary, replica = self.pair("repl-backlog-size 16kb", follows=False)
        proxy = self.proxy(primary)
        replica.follow(primary, proxy.port)
        wait_up(replica)
        proxy.refuses = True
        proxy.cut()
        wait_until(lambda: not replica.is_up(), 30, "the broken link")
        for number in range(300):
            primary.do("SET", "k%d" % number, "x" * 3000)
        proxy.refuses = False
        wait_same_data(primary, replica)
        self.assertEqual(primary.full_count, 2)

    def test_who_falls_too_far_behind_is_cut_off_alone(self):
        primary, replica, other = self.group(
            self.letters + "o", "client-output-buffer-limit replica 2mb 2mb 1",
            "repl-backlog-size 16kb")
        proxy = self.proxy(primary)
        replica.follow(primary, proxy.port)
        other.follow(primary)
        wait_up(replica, other)
        proxy.stalls = True
        for number in range(60):
            # No faster than the other one takes it.
            primary.do("SET", "k%d" % number, "x" * 500000)
            primary.call("WAIT", 1, 10000)
        wait_until(lambda: primary.info()["connected_slaves"] == "1", 30, "the end of the slow one")
        self.assertTrue(other.is_up())
        proxy.stalls = False
        proxy.cut()
        wait_same_data(primary, replica, other)
        self.assertEqual(primary.full_count, 3)


class Promotion(Pair):
    def test_either_side_is_promoted_and_the_other_goes_on_by_the_second_id(self):
        primary, replica, other = self.group(self.letters + self.letters[0])
        for node in (replica, other):
            node.follow(primary)
        wait_up(replica, other)
        load(primary, 500, seed=7)
        wait_in_sync(primary, replica, other)
        before = primary.info()
        replica.lead()
        for node in (primary, other):
            node.follow(replica)
        wait_up(primary, other)
        after = replica.info()
        self.assertEqual(after["master_replid2"], before["master_replid"])
        self.assertEqual(int(after["second_repl_offset"]), int(before["master_repl_offset"]) + 1)
        self.assertNotEqual(after["master_replid"], before["master_replid"])
        load(replica, 500, seed=8)
        wait_same_data(replica, primary, other)
        self.assertEqual((replica.full_count, replica.partial_count), (0, 2))
        # And back.
        primary.lead()
        for node in (replica, other):
            node.follow(primary)
        wait_up(replica, other)
        load(primary, 500, seed=9)
        wait_same_data(primary, replica, other)
        self.assertEqual(primary.partial_count, 2)
        # The two that it gave in the beginning.
        self.assertEqual(primary.full_count, 2)

    def test_a_chain_stays_whole_when_its_middle_is_promoted(self):
        primary, middle, last = self.group(self.letters + self.letters[0])
        middle.follow(primary)
        wait_up(middle)
        last.follow(middle)
        wait_up(last)
        load(primary, 300, seed=10)
        wait_same_data(primary, middle, last)
        middle.lead()
        wait_up(last)
        load(middle, 300, seed=11)
        wait_same_data(middle, last)
        self.assertEqual(middle.full_count, 1)
        primary.follow(middle)
        wait_same_data(middle, primary, last)
        self.assertEqual(middle.full_count, 1)

    def test_failover_hands_over_under_load_without_a_lost_write(self):
        primary, replica = self.pair()
        for old, new in ((primary, replica), (replica, primary)):
            with Counter(old) as writer:
                writer.wait_for(200)
                wait_until(lambda: "state=online" in old.info().get("slave0", ""), 30, "a replica")
                old.do("FAILOVER", "TO", "127.0.0.1", new.port)
                wait_until(lambda: new.info()["role"] == "master", 30, "the new primary")
                wait_up(old)
            self.assertTrue(writer.refused.startswith(("READONLY", "UNBLOCKED")), writer.refused)
            self.assertEqual(new.do("GET", "counter"), b"%d" % writer.last)
            wait_until(lambda: old.info()["master_failover_state"] == "no-failover", 30, "its end")
            wait_same_data(new, old)
        self.assertEqual((primary.full_count, replica.full_count), (1, 0))


class Counter:
    """Counts on a node until it refuses."""

    def __init__(self, node):
        self.conn = node.connect()
        self.last = 0
        self.refused = ""
        self.thread = threading.Thread(target=self._count, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.thread.join(30)
        self.conn.close()

    def wait_for(self, count):
        wanted = self.last + count
        wait_until(lambda: self.last >= wanted or self.refused, 30, "counting")

    def _count(self):
        try:
            while not self.refused:
                reply = self.conn.call("INCR", "counter")
                if isinstance(reply, Error):
                    self.refused = reply
                else:
                    self.last = reply
        except OSError as error:
            self.refused = repr(error)


class Serving(Pair):
    """What clients of either side see. One pair serves all tests."""

    def setUp(self):
        self.primary, self.replica = self.pair(follows=False)
        self.link = self.proxy(self.primary)
        self.replica.follow(self.primary, self.link.port)
        wait_up(self.replica)

    def break_link(self):
        self.link.refuses = True
        self.link.cut()
        wait_until(lambda: not self.replica.is_up(), 30, "the broken link")

    def mend_link(self):
        self.link.refuses = False
        wait_up(self.replica)

    def refusals(self):
        primary, replica = self.primary, self.replica
        self.assertEqual(replica.call("SET", "k", "v"),
                         "READONLY You can't write against a read only replica.")
        self.break_link()
        self.assertEqual(replica.call("GET", "k"), None)
        replica.do("CONFIG", "SET", "replica-serve-stale-data", "no")
        self.assertEqual(
            replica.call("GET", "k"),
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.")
        self.assertEqual(replica.call("PING"), Error(
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."))
        replica.do("CONFIG", "SET", "replica-serve-stale-data", "yes")
        primary.do("CONFIG", "SET", "min-replicas-to-write", 1)
        wait_until(lambda: primary.call("SET", "k", "v") == "NOREPLICAS Not enough good replicas to write.",
                   30, "NOREPLICAS")
        self.mend_link()
        wait_until(lambda: primary.call("SET", "k", "v") == "OK", 30, "a write")
        primary.do("CONFIG", "SET", "min-replicas-to-write", 0)

    def waiting(self):
        primary = self.primary
        primary.do("SET", "w", 1)
        self.assertEqual(primary.do("WAIT", 1, 20000), 1)
        self.link.stalls = True
        primary.do("SET", "w", 2)
        self.assertEqual(primary.do("WAIT", 1, 50), 0)
        self.link.stalls = False
        self.assertEqual(primary.do("WAIT", 1, 20000), 1)
        self.assertEqual(primary.do("WAIT", 2, 50), 1)
        self.assertEqual(self.replica.do("GET", "w"), b"2")

    def kinds_of_clients(self):
        primary, replica = self.primary, self.replica
        for node, kind in ((primary, "replica"), (primary, "slave"), (replica, "master")):
            before = self.link.connection_count
            self.assertEqual(node.do("CLIENT", "KILL", "TYPE", kind), 1, kind)
            wait_until(lambda: self.link.connection_count > before, 30, "another link")
            wait_up(replica)
        with primary.connect() as normal, primary.connect() as listener:
            normal.call("PING")
            listener.call("SUBSCRIBE", "news")
            before = self.link.connection_count
            self.assertEqual(primary.do("CLIENT", "KILL", "TYPE", "normal"), 1)
            self.assertEqual(primary.do("CLIENT", "KILL", "TYPE", "pubsub"), 1)
            self.assertTrue(normal.is_closed() and listener.is_closed())
        with replica.connect() as normal:
            normal.call("PING")
            self.assertEqual(replica.do("CLIENT", "KILL", "TYPE", "normal"), 1)
        self.assertTrue(replica.is_up())
        self.assertEqual(self.link.connection_count, before)
        self.assertIn(b"flags=S", primary.do("CLIENT", "LIST", "TYPE", "replica"))
        self.assertIn(b"flags=M", replica.do("CLIENT", "LIST", "TYPE", "master"))

    def messages(self):
        with self.replica.connect() as listener:
            listener.call("SUBSCRIBE", "news")
            self.assertEqual(self.primary.do("PUBLISH", "news", "hello"), 0)
            self.assertEqual(listener.read(), [b"message", b"news", b"hello"])

    def expiry(self):
        """The replica hides what has expired and leaves its removal to the primary."""
        primary, replica = self.primary, self.replica
        for life_ms in (300, 2000, 10000):
            primary.do("FLUSHALL")
            primary.do("SET", "stays", "x")
            primary.do("SET", "goes", "x", "PX", life_ms)
            primary.do("RPUSH", "list", "x")
            primary.do("PEXPIRE", "list", life_ms)
            self.assertEqual(primary.do("WAIT", 1, 20000), 1)
            self.link.stalls = True
            if replica.do("DBSIZE") == 3:
                break  # Else the machine was slow, and a removal came before.
            self.link.stalls = False
        wait_until(lambda: replica.do("EXISTS", "goes", "list") == 0, 30, "the deadline")
        self.assertIsNone(replica.do("GET", "goes"))
        self.assertEqual(replica.do("TTL", "goes"), -2)
        self.assertEqual(replica.do("TYPE", "list"), "none")
        self.assertEqual(replica.do("LRANGE", "list", 0, -1), [])
        self.assertEqual(replica.do("KEYS", "*"), [b"stays"])
        self.assertEqual(replica.do("DBSIZE"), 3)
        self.assertEqual(replica.info("stats")["expired_keys"], "0")
        self.link.stalls = False
        wait_until(lambda: replica.do("DBSIZE") == 1, 30, "the removals")

    def transactions(self):
        """However the stream is cut into pieces, nobody sees half of a transaction."""
        self.link.chunk_bytes = 11
        reader, writer = self.replica.connect(), self.primary.connect()
        for number in range(150):
            writer.pipeline([("MULTI",), ("SET", "left", number), ("SET", "filler", "x" * 40),
                             ("SET", "right", number), ("EXEC",)])
            left, right = reader.call("MGET", "left", "right")
            self.assertEqual(left, right)
        wait_until(lambda: reader.call("MGET", "left", "right") == [b"149", b"149"], 30, "the last")
        for conn in (reader, writer):
            conn.close()
        self.link.chunk_bytes = 0

    def roles(self):
        primary, replica, link = self.primary, self.replica, self.link
        wait_in_sync(primary, replica)
        role, offset, replicas = primary.do("ROLE")
        self.assertEqual((role, [one[:2] for one in replicas]),
                         (b"master", [[b"127.0.0.1", b"%d" % replica.port]]))
        self.assertEqual(replica.do("ROLE"),
                         [b"slave", b"127.0.0.1", link.port, b"connected", offset])
        facts = primary.info()
        self.assertRegex(facts["slave0"], r"^ip=127\.0\.0\.1,port=%d,state=online,offset=\d+,lag=[01]$"
                         % replica.port)
        other = replica.info()
        self.assertEqual((other["role"], other["master_host"], other["master_port"],
                          other["master_link_status"], other["master_sync_in_progress"]),
                         ("slave", "127.0.0.1", str(link.port), "up", "0"))
        self.assertEqual((other["slave_priority"], other["slave_read_only"],
                          other["replica_announced"]), ("100", "1", "1"))
        self.assertEqual(other["master_replid"], facts["master_replid"])

    def test_clients_of_both_sides_see_what_they_should(self):
        for part in (self.refusals, self.waiting, self.kinds_of_clients, self.messages, self.expiry,
                     self.transactions, self.roles):
            with self.subTest(part=part.__name__):
                part()
        wait_same_data(self.primary, self.replica)
        self.assertEqual(self.primary.full_count, 1)

    def test_passwords_and_announced_addresses_reach_the_primary(self):
        primary, replica = self.primary, self.replica
        primary.do("CONFIG", "SET", "requirepass", "secret")
        replica.do("CONFIG", "SET", "masterauth", "wrong")
        replica.lead()
        replica.follow(primary)
        with primary.connect() as conn:
            conn.call("AUTH", "secret")
            self.assertEqual(conn.call("SET", "k", "v"), "OK")
            self.assertFalse(replica.is_up())
            replica.do("CONFIG", "SET", "replica-announce-ip", "127.0.0.9")
            replica.do("CONFIG", "SET", "replica-announce-port", 7777)
            replica.do("CONFIG", "SET", "masterauth", "secret")
            wait_up(replica)
            wait_until(lambda: b"slave0:ip=127.0.0.9,port=7777,state=online" in
                       conn.call("INFO", "replication"), 30, "the announced address")
            self.assertEqual(replica.do("GET", "k"), b"v")


def load_tests(loader, _tests, _pattern):
    """Every class of tests with every pair."""
    suite = unittest.TestSuite()
    for letters in ("or", "ro", "oo"):
        for tests in (Resynchronisation, Promotion, Serving):
            name = "%s_%s" % (letters, tests.__name__)
            suite.addTest(loader.loadTestsFromTestCase(type(name, (tests,), {"letters": letters})))
    return suite


if __name__ == "__main__":
    main()
