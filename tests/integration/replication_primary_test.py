#!/usr/bin/python3
"""The primary's side of replication, looked at byte by byte: the replicas here are sockets that say
what a test has them say.

Every class runs against redis-server as well (OURO_KIND=redis), but for what Redis does otherwise,
which says so. What real replicas make of it is told in replication_test.py."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import Case, Conn, Error, Server, as_bytes, encode, main, wait_until  # noqa: E402
from replication import Group, info_of, wait_in_sync, wait_same_data  # noqa: E402

SYNC_SECONDS = 60
PING = b"*1\r\n$4\r\nping\r\n"
GETACK = encode("REPLCONF", "GETACK", "*")
IS_REDIS = os.environ.get("OURO_KIND") == "redis"


class Replica(Conn):
    """A replica that keeps what it is sent. `id` and `offset` are where it stands."""

    def __init__(self, port, capabilities=("psync2",), listening_port=7777):
        super().__init__(port, timeout=SYNC_SECONDS)
        self.id, self.offset, self.stream_bytes = None, 0, b""
        self.snapshot = None
        assert self.call("PING") == "PONG"
        assert self.call("REPLCONF", "listening-port", listening_port) == "OK"
        for capability in capabilities:
            assert self.call("REPLCONF", "capa", capability) == "OK"

    def read_line(self):
        """One line that is not empty: newlines alone are signs of life."""
        while True:
            line = b""
            while not line.endswith(b"\n"):
                line += self.read_bytes(1)
            if line.strip():
                return line.strip().decode()

    def psync(self, history="?", offset=-1):
        self.send_command("PSYNC", history, offset)
        return self.read_line()

    def read_snapshot(self):
        """The snapshot, in either form; how its length was told."""
        head = self.read_line()
        if head.startswith("$EOF:"):
            mark = head[5:].encode()
            assert len(mark) == 40
            while mark not in self.pending:
                self._receive()
            self.snapshot = self.read_bytes(self.pending.index(mark))
            assert self.read_bytes(40) == mark
            return "mark"
        self.snapshot = self.read_bytes(int(head[1:]))
        return "length"

    def sync(self, acks=True):
        """Everything, from the beginning."""
        words = self.psync().split()
        assert words[0] == "+FULLRESYNC", words
        self.id, self.offset = words[1], int(words[2])
        form = self.read_snapshot()
        assert self.snapshot.startswith(b"REDIS"), self.snapshot[:20]
        if acks:
            self.ack()
        return form

    def ack(self, offset=None):
        self.send_command("REPLCONF", "ACK", self.offset if offset is None else offset)

    def command(self):
        """The next command of the stream, as a list of words."""
        raw = self.read_raw()
        self.offset += len(raw)
        self.stream_bytes += raw
        return parse_command(raw)

    def until(self, mark):
        """The commands before PUBLISH mark, without pings and database switches that it needed."""
        commands = []
        while True:
            words = self.command()
            if words[0] == b"PUBLISH" and words[1] == as_bytes(mark):
                return commands
            if words[0] != b"ping":
                commands.append(words)


def parse_command(raw):
    words = []
    at = raw.index(b"\r\n") + 2
    for _ in range(int(raw[1:at - 2])):
        end = raw.index(b"\r\n", at)
        length = int(raw[at + 1:end])
        words.append(raw[end + 2:end + 2 + length])
        at = end + 4 + length
    assert at == len(raw), raw
    return words


class Primary(Case):
    """One server for the tests of a class; snapshots begin at once."""

    args = ("--repl-diskless-sync-delay", "0")
    marks = 0

    def replica(self, **options):
        replica = Replica(self.server.port, **options)
        self.addCleanup(replica.close)
        return replica

    def synced(self, **options):
        """A replica that has everything so far, and has database 0 selected. Its snapshot may be
        one that was begun for another, so that more follows than was written since."""
        replica = self.replica(**options)
        replica.sync()
        self.stream_of(replica)
        replica.stream_bytes = b""
        return replica

    def info(self, section="replication"):
        return info_of(self.conn, section)

    def offset(self):
        return int(self.info()["master_repl_offset"])

    def stream_of(self, replica, *commands):
        """What a replica is told of commands, as texts."""
        for words in commands:
            words = words.split() if isinstance(words, str) else words
            reply = self.call(*words)
            self.assertNotIsInstance(reply, Error, words)
        Primary.marks += 1
        mark = "mark:%d" % Primary.marks
        self.call("PUBLISH", mark, "")
        return [b" ".join(words).decode("latin1") for words in replica.until(mark)]

    def gone(self, replica, timeout=SYNC_SECONDS):
        replica.socket.settimeout(timeout)
        return replica.is_closed()

    def tearDown(self):
        super().tearDown()
        self.doCleanups()
        with self.server.connect() as conn:
            wait_until(lambda: info_of(conn, "replication")["connected_slaves"] == "0",
                       SYNC_SECONDS, "the replicas of the last test are gone")


class FullSync(Primary):
    def test_a_snapshot_ends_with_a_mark_where_the_replica_understands_it(self):
        self.call("SET", "k", "v")
        self.assertEqual(self.replica(capabilities=("eof", "psync2")).sync(), "mark")

    def test_else_its_length_is_told(self):
        self.call("SET", "k", "v")
        replica = self.replica(capabilities=("psync2",))
        self.assertEqual(replica.sync(), "length")
        self.assertIn(b"\x01k\x01v", replica.snapshot)

    def test_the_stream_begins_behind_the_offset_that_was_told(self):
        replica = self.replica()
        replica.sync()
        begun = replica.offset
        told = self.stream_of(replica, "SET a 1", "SET b 2")
        self.assertEqual(told[0], "SELECT 0")
        self.assertEqual(told[-2:], ["SET a 1", "SET b 2"])
        self.assertEqual(begun + len(replica.stream_bytes), self.offset())

    def test_with_a_mark_the_stream_waits_for_the_first_acknowledgement(self):
        replica = self.replica(capabilities=("eof", "psync2"))
        replica.sync(acks=False)
        self.call("SET", "a", "1")
        # Another replica that is sent the same shows that there was time enough.
        other = self.synced()
        self.assertEqual(self.stream_of(other, "SET b 2"), ["SET b 2"])
        replica.socket.settimeout(0.2)
        with self.assertRaises(TimeoutError):
            replica.read_bytes(1)
        replica.socket.settimeout(SYNC_SECONDS)
        replica.ack()
        self.assertEqual(replica.command(), [b"SELECT", b"0"])
        while replica.command() != [b"SET", b"b", b"2"]:
            pass

    def test_several_replicas_share_an_id_and_what_follows(self):
        replicas = [self.replica() for _ in range(4)]
        for replica in replicas:
            replica.send_command("PSYNC", "?", -1)
        ids = set()
        for replica in replicas:
            words = replica.read_line().split()
            self.assertEqual(words[0], "+FULLRESYNC")
            replica.offset = int(words[2])
            ids.add(words[1])
            replica.read_snapshot()
            replica.ack()
        self.assertEqual(len(ids), 1)
        self.call("SET", "k", "v")
        self.call("PUBLISH", "end", "")
        for replica in replicas:
            self.assertEqual(replica.until("end")[-1], [b"SET", b"k", b"v"])
            self.assertEqual(replica.offset, self.offset())

    def test_what_is_written_while_a_snapshot_is_sent_follows_it(self):
        for i in range(2000):
            self.conn.send(encode("SET", "k:%d" % i, "x" * 200))
        for _ in range(2000):
            self.conn.read()
        replica = self.replica()
        replica.send_command("PSYNC", "?", -1)
        words = replica.read_line().split()
        for i in range(500):
            self.call("SET", "k:%d" % i, "new")
        replica.offset = int(words[2])
        replica.read_snapshot()
        replica.ack()
        self.call("PUBLISH", "end", "")
        told = replica.until("end")
        self.assertEqual(replica.offset, self.offset())
        self.assertEqual(told[-1], [b"SET", b"k:499", b"new"])

    def test_sync_without_a_handshake_is_what_tools_speak(self):
        self.call("SET", "k", "v")
        with Conn(self.server.port, timeout=SYNC_SECONDS) as tool:
            tool.send_command("SYNC")
            head = b""
            while not head.endswith(b"\n") or head == b"\n":
                head = head if head != b"\n" else b""
                head += tool.read_bytes(1)
            self.assertRegex(head, rb"^\$\d+\r\n$")
            self.assertIn(b"\x01k\x01v", tool.read_bytes(int(head[1:])))
            self.call("SET", "k", "w")
            self.assertEqual(tool.read_raw(), encode("SELECT", "0"))
            while tool.read_raw() != encode("SET", "k", "w"):
                pass


class Partial(Primary):
    def test_a_replica_goes_on_where_it_was(self):
        replica = self.synced()
        self.stream_of(replica, "SET a 1")
        replica.close()
        self.call("SET", "missed", "1")
        again = self.replica()
        line = again.psync(replica.id, replica.offset + 1)
        self.assertEqual(line, "+CONTINUE " + replica.id)
        self.assertEqual(again.command(), [b"SET", b"missed", b"1"])
        self.assertEqual(self.info("stats")["sync_partial_ok"], "1")

    def test_without_the_capability_no_id_is_told(self):
        replica = self.synced()
        replica.close()
        again = self.replica(capabilities=())
        self.assertEqual(again.psync(replica.id, replica.offset + 1), "+CONTINUE")

    def test_any_byte_of_the_backlog_may_be_asked_for(self):
        replica = self.synced()
        begun = replica.offset
        self.stream_of(replica, "SET a 1", ["SET", "b", "x" * 1000], "SET c 3")
        whole = replica.stream_bytes
        for skipped in (0, 1, 7, 30, 500, len(whole) - 1, len(whole)):
            again = self.replica()
            self.assertTrue(again.psync(replica.id, begun + skipped + 1).startswith("+CONTINUE"))
            rest = again.read_bytes(len(whole) - skipped)
            self.assertEqual(rest, whole[skipped:])
            again.close()

    def test_another_history_is_not_continued(self):
        replica = self.synced()
        before = int(self.info("stats")["sync_partial_err"])
        for history, offset in (("0" * 40, 1), ("1" * 40, 1), (replica.id[:-1], 1),
                                (replica.id, replica.offset + 1000)):
            stranger = self.replica()
            self.assertTrue(stranger.psync(history, offset).startswith("+FULLRESYNC"), history)
            stranger.read_snapshot()
            stranger.close()
        self.assertEqual(int(self.info("stats")["sync_partial_err"]), before + 4)

    def test_an_id_may_be_in_any_case(self):
        replica = self.synced()
        again = self.replica()
        self.assertTrue(again.psync(replica.id.upper(), replica.offset + 1)
                        .startswith("+CONTINUE"))

    def test_what_the_backlog_has_forgotten_is_not_continued(self):
        self.call("CONFIG", "SET", "repl-backlog-size", "16kb")
        self.addCleanup(self.call, "CONFIG", "SET", "repl-backlog-size", "1mb")
        replica = self.synced()
        replica.close()
        for _ in range(100):
            self.call("SET", "k", "x" * 10000)
        again = self.replica()
        self.assertTrue(again.psync(replica.id, replica.offset + 1).startswith("+FULLRESYNC"))

    def test_a_wrong_offset_is_an_error(self):
        replica = self.replica()
        replica.send_command("PSYNC", "?", "x")
        self.assertEqual(replica.read(), "ERR value is not an integer or out of range")

    def test_replconf_answers_what_it_does_not_know(self):
        self.assert_error(self.call("REPLCONF", "what", "ever"),
                          "ERR Unrecognized REPLCONF option: what")
        self.assert_error(self.call("REPLCONF", "capa"), "ERR syntax error")
        self.assertEqual(self.call("REPLCONF", "capa", "of-tomorrow"), "OK")


class Stream(Primary):
    """Section by section what goes into the stream."""

    def told(self, *commands):
        if not hasattr(self, "stream"):
            self.stream = self.synced()
            self.stream_of(self.stream, "SET warm up")
        return self.stream_of(self.stream, *commands)

    def moment(self, text):
        """Times made comparable."""
        return re.sub(r"\b\d{13}\b", "<ms>", text)

    def test_conditions_and_durations_become_results(self):
        moments = [self.moment(one) for one in self.told(
            "SET a 1 EX 100", "SET a 2 NX EX 100", "SETEX b 100 v", "EXPIRE a 50",
            "GETEX b PERSIST", "INCRBYFLOAT f 1.5", "GETDEL b", "EXPIRE a -1", "DEL a")]
        self.assertEqual(moments, ["SET a 1 PXAT <ms>", "SET b v PXAT <ms>", "PEXPIREAT a <ms>",
                                   "PERSIST b", "SET f 1.5 KEEPTTL", "DEL b", "DEL a"])

    def test_what_changes_nothing_is_not_told(self):
        self.told("SADD s a", "HSET h f v", "RPUSH l a")
        self.assertEqual(self.told("SADD s a", "SREM s x", "HDEL h x", "LTRIM l 0 -1", "DEL none",
                                   "GET s2", "LREM l 0 x", "SINTERSTORE d none s", "PERSIST s",
                                   "XTRIM none MAXLEN 0", "ZREM none a", "MSETNX l x y z"), [])

    def test_letters_are_those_of_the_client(self):
        self.assertEqual(self.told("sEt k v", "RpUsH l a b"), ["sEt k v", "RpUsH l a b"])

    def test_chance_becomes_what_was_drawn(self):
        self.told("SADD s a")
        self.assertEqual(self.told("SPOP s"), ["SREM s a"])
        self.told("SADD s a b c")
        self.assertEqual(self.told("SPOP s 5"), ["DEL s"])

    def test_a_transaction_is_wrapped_and_one_write_of_it_is_not(self):
        self.assertEqual(self.told("MULTI", "SET a 1", "GET a", "SET b 2", "EXEC"),
                         ["MULTI", "SET a 1", "SET b 2", "EXEC"])
        self.assertEqual(self.told("MULTI", "SET a 1", "EXEC"), ["SET a 1"])
        self.assertEqual(self.told("MULTI", "GET a", "EXEC"), [])

    def test_databases_are_selected(self):
        self.assertEqual(self.told("SELECT 2", "SET a 1", "SELECT 0", "SET b 1"),
                         ["SELECT 2", "SET a 1", "SELECT 0", "SET b 1"])
        self.assertEqual(
            self.told("MULTI", "SELECT 3", "SET a 1", "SELECT 0", "SET b 1", "EXEC"),
            ["SELECT 3", "MULTI", "SET a 1", "SELECT 0", "SET b 1", "EXEC"])

    def test_scripts_are_told_as_what_they_did(self):
        self.assertEqual(self.told(["EVAL", "redis.call('set','a','1') return redis.call('get','a')",
                                    "0"]), ["set a 1"])
        self.assertEqual(self.told(["EVAL", "for i=1,3 do redis.call('incr',KEYS[1]) end", "1",
                                    "n"]), ["MULTI", "incr n", "incr n", "incr n", "EXEC"])
        self.assertEqual(self.told(["SCRIPT", "LOAD", "return 1"]), [])

    def test_functions_are_told_as_they_came(self):
        code = "#!lua name=lib\nredis.register_function('f', function(k, a) end)"
        self.assertEqual(self.told(["FUNCTION", "LOAD", code]), ["FUNCTION LOAD " + code])
        dump = self.call("FUNCTION", "DUMP")
        self.assertEqual(self.told(["FUNCTION", "DELETE", "lib"]), ["FUNCTION DELETE lib"])
        self.assertEqual(self.told(["FUNCTION", "RESTORE", dump]),
                         ["FUNCTION RESTORE " + dump.decode("latin1")])
        self.assertEqual(self.told("FUNCTION FLUSH"), ["FUNCTION FLUSH"])

    def test_messages_and_whole_databases(self):
        self.assertEqual(self.told("PUBLISH ch m", "SPUBLISH ch m", "FLUSHDB", "SET a 1",
                                   "SWAPDB 1 2", "FLUSHALL ASYNC"),
                         ["PUBLISH ch m", "SPUBLISH ch m", "FLUSHDB", "SET a 1", "SWAPDB 1 2",
                          "FLUSHALL ASYNC"])

    def test_blocked_clients_are_told_behind_who_served_them(self):
        with self.server.connect() as blocked:
            self.told("SET a 1")
            blocked.send_command("BLPOP", "l", "0")
            wait_until(lambda: self.info("clients")["blocked_clients"] == "1")
            self.assertEqual(self.told("RPUSH l x"), ["RPUSH l x", "LPOP l"])
            self.assertEqual(blocked.read(), [b"l", b"x"])

    def test_keys_that_expire_are_deleted(self):
        self.told("SET a 1")
        self.call("SELECT", "4")
        self.call("SET", "gone", "1", "PX", "1")
        wait_until(lambda: self.call("EXISTS", "gone") == 0)
        self.call("SELECT", "0")
        told = [self.moment(one) for one in self.told("SET b 1")]
        self.assertEqual(told, ["SELECT 4", "SET gone 1 PXAT <ms>", "DEL gone", "SELECT 0",
                                "SET b 1"])

    def test_keys_that_are_evicted_are_deleted(self):
        self.told("SET a 1", "DEL warm")
        self.call("CONFIG", "SET", "maxmemory-policy", "allkeys-random", "maxmemory", "1")
        wait_until(lambda: self.call("DBSIZE") == 0)
        self.call("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction")
        self.assertEqual(self.told("SET b 1"), ["DEL a", "SET b 1"])

    def test_large_values_are_whole(self):
        for length in (1000, 2040, 2048, 16384, 40000, 300000, 3000000):
            value = os.urandom(length).replace(b"\r", b"x")
            told = self.told(["SET", "k", value])
            self.assertEqual(told, ["SET k " + value.decode("latin1")])
        self.assertEqual(self.told("MULTI", ["SET", "k", b"v" * 100000], "SET a 1", "EXEC"),
                         ["MULTI", "SET k " + "v" * 100000, "SET a 1", "EXEC"])

    def test_newer_commands_are_told_as_older_ones(self):
        if IS_REDIS:
            self.skipTest("redis-server 7.0 does not have them")
        told = [self.moment(one) for one in self.told(
            "SET a 1", "SET a 2 IFEQ 1", "DELIFEQ a 2", "MSETEX 1 m 1 EX 100",
            "HSETEX h EX 100 FIELDS 1 f v", "HGETDEL h FIELDS 1 f")]
        self.assertEqual(told, ["SET a 1", "SET a 2", "DEL a", "SET m 1 PXAT <ms>",
                                "HSET h f v", "HPEXPIREAT h <ms> FIELDS 1 f", "HDEL h f"])


class Reports(Primary):
    def test_information_about_replicas(self):
        replica = self.synced(listening_port=7001)
        self.stream_of(replica, "SET a 1")
        replica.ack()
        line = "ip=127.0.0.1,port=7001,state=online,offset=%d,lag=0" % replica.offset
        wait_until(lambda: self.info().get("slave0") == line, what=line)
        info = self.info()
        self.assertEqual(list(info)[:11], [
            "role", "connected_slaves", "slave0", "master_failover_state", "master_replid",
            "master_replid2", "master_repl_offset", "second_repl_offset", "repl_backlog_active",
            "repl_backlog_size", "repl_backlog_first_byte_offset"])
        self.assertEqual(info["master_replid"], replica.id)
        self.assertEqual(info["repl_backlog_active"], "1")
        self.assertEqual(int(info["repl_backlog_first_byte_offset"]) +
                         int(info["repl_backlog_histlen"]) - 1, int(info["master_repl_offset"]))

    def test_an_announced_address_is_told(self):
        replica = self.replica()
        self.assertEqual(replica.call("REPLCONF", "ip-address", "10.1.2.3"), "OK")
        replica.sync()
        wait_until(lambda: "ip=10.1.2.3,port=7777,state=online" in self.info()["slave0"])
        role = self.call("ROLE")
        self.assertEqual(role[0], b"master")
        self.assertEqual(role[2][0][:2], [b"10.1.2.3", b"7777"])

    def test_a_long_name_of_a_host_is_told_whole(self):
        replica = self.replica()
        self.assertEqual(replica.call("REPLCONF", "ip-address", "h" * 255), "OK")
        replica.sync()
        wait_until(lambda: "ip=%s,port=7777," % ("h" * 255) in self.info()["slave0"])
        self.assertEqual(self.call("ROLE")[2][0][:2], [b"h" * 255, b"7777"])

    @unittest.skipIf(IS_REDIS, "Redis prints them")
    def test_an_address_that_would_break_a_line_is_refused_and_the_seen_one_told(self):
        replica = self.replica()
        for bad in ("a\r\nmaster_replid:0", "a\nb", "a\rb", "a b", "a\tb", b"a\0b", "a,port=1", "a=b", "a\x7f", 'a"b'):
            self.assert_error(replica.call("REPLCONF", "ip-address", bad),
                              "ERR REPLCONF ip-address cannot contain spaces, newlines or special characters.")
        replica.sync()
        wait_until(lambda: "ip=127.0.0.1,port=7777,state=online" in self.info()["slave0"])

    def test_a_replica_is_a_client_of_its_own_kind(self):
        replica = self.synced()
        lines = self.call("CLIENT", "LIST", "TYPE", "replica").decode().splitlines()
        self.assertEqual(len(lines), 1)
        self.assertIn(" flags=S ", lines[0])
        self.assertEqual(self.info("clients")["connected_clients"], "1")
        self.assertEqual(self.call("CLIENT", "KILL", "TYPE", "normal"), 0)
        self.assertEqual(self.call("CLIENT", "KILL", "TYPE", "slave"), 1)
        self.assertTrue(self.gone(replica))

    def test_figures_of_synchronizations(self):
        before = self.info("stats")
        replica = self.synced()
        replica.close()
        self.replica().psync(replica.id, replica.offset + 1)
        after = self.info("stats")
        for name in ("sync_full", "sync_partial_ok"):
            self.assertEqual(int(after[name]), int(before[name]) + 1, name)
        memory = self.info("memory")
        self.assertGreater(int(memory["mem_replication_backlog"]), 0)
        self.assertGreater(int(after["total_net_repl_output_bytes"]), 0)

    def test_nothing_but_the_stream_is_written_to_a_replica(self):
        if IS_REDIS:
            self.skipTest("redis-server closes such a connection")
        replica = self.synced()
        for words in (("PING",), ("GET", "a"), ("NONSENSE",), ("RESET",), ("PSYNC", "?", "-1")):
            replica.send_command(*words)
        self.assertEqual(self.stream_of(replica, "SET a 1"), ["SET a 1"])

    def test_clients_buffers_are_no_concern_of_the_stream(self):
        replica = self.synced()
        self.call("CLIENT", "PAUSE", "20", "ALL")
        self.assertEqual(self.stream_of(replica, "SET a 1"), ["SET a 1"])


class Wait(Primary):
    def test_it_asks_and_tells_how_many_have_it(self):
        replica = self.synced()
        self.stream_of(replica, "SET a 1")
        with self.server.connect(SYNC_SECONDS) as writer:
            writer.call("SET", "b", "1")
            writer.send_command("WAIT", "1", "0")
            self.assertEqual(replica.command(), [b"SET", b"b", b"1"])
            before = replica.offset
            self.assertEqual(replica.command(), [b"REPLCONF", b"GETACK", b"*"])
            self.assertEqual(self.info("clients")["blocked_clients"], "1")
            replica.ack(before)
            self.assertEqual(writer.read(), 1)
            self.assertEqual(self.info("clients")["blocked_clients"], "0")

    def test_less_is_not_enough(self):
        replica = self.synced()
        self.stream_of(replica, "SET a 1")
        with self.server.connect(SYNC_SECONDS) as writer:
            writer.call("SET", "b", "1")
            self.assertEqual(replica.command(), [b"SET", b"b", b"1"])
            replica.ack(replica.offset - 1)
            self.assertEqual(writer.call("WAIT", "1", "50"), 0)
            replica.ack(replica.offset)
            self.assertEqual(writer.call("WAIT", "1", "0"), 1)

    def test_it_does_not_wait_for_what_others_wrote(self):
        replica = self.synced()
        self.stream_of(replica, "SET a 1")
        with self.server.connect(SYNC_SECONDS) as writer:
            writer.call("SET", "mine", "1")
            self.assertEqual(replica.command(), [b"SET", b"mine", b"1"])
            replica.ack()
            wait_until(lambda: ",offset=%d," % replica.offset in self.info()["slave0"])
            self.call("SET", "other", "1")
            self.assertEqual(writer.call("WAIT", "1", "0"), 1)

    def test_a_blocked_command_that_was_served_is_waited_for(self):
        if IS_REDIS:
            self.skipTest("redis-server waits for what the client wrote before it blocked")
        replica = self.synced()
        self.stream_of(replica, "SET a 1")
        with self.server.connect(SYNC_SECONDS) as blocked:
            blocked.send_command("BLPOP", "l", "0")
            wait_until(lambda: self.info("clients")["blocked_clients"] == "1")
            self.call("RPUSH", "l", "x")
            self.assertEqual(blocked.read(), [b"l", b"x"])
            self.assertEqual(replica.command(), [b"RPUSH", b"l", b"x"])
            replica.ack()
            wait_until(lambda: ",offset=%d," % replica.offset in self.info()["slave0"])
            self.assertEqual(blocked.call("WAIT", "1", "30"), 0)
            replica.command()
            replica.ack()
            self.assertEqual(blocked.call("WAIT", "1", "0"), 1)

    def test_one_question_serves_all_who_wait(self):
        replica = self.synced()
        self.stream_of(replica, "SET a 1")
        writers = [self.connect(SYNC_SECONDS) for _ in range(8)]
        for number, writer in enumerate(writers):
            writer.call("SET", "w:%d" % number, "1")
        for writer in writers:
            writer.send_command("WAIT", "1", "0")
        wait_until(lambda: self.info("clients")["blocked_clients"] == "8")
        while replica.command() != [b"SET", b"w:7", b"1"]:
            pass
        replica.ack()
        for writer in writers:
            self.assertEqual(writer.read(), 1)

    def test_others_may_end_it(self):
        with self.server.connect(SYNC_SECONDS) as waiting:
            number = waiting.call("CLIENT", "ID")
            waiting.send_command("WAIT", "3", "0")
            wait_until(lambda: self.call("CLIENT", "UNBLOCK", number) == 1)
            self.assertEqual(waiting.read(), 0)
            waiting.send_command("WAIT", "3", "0")
            wait_until(lambda: self.call("CLIENT", "UNBLOCK", number, "ERROR") == 1)
            self.assertEqual(waiting.read(), "UNBLOCKED client unblocked via CLIENT UNBLOCK")

    def test_inside_a_transaction_it_answers_at_once(self):
        self.call("MULTI")
        self.call("WAIT", "1", "0")
        self.assertEqual(self.call("EXEC"), [0])

    def test_its_arguments_are_looked_at(self):
        self.assert_error(self.call("WAIT", "x", "0"), "ERR value is not an integer")
        self.assert_error(self.call("WAIT", "1", "x"), "ERR timeout is not an integer")
        self.assert_error(self.call("WAIT", "1", "-1"), "ERR timeout is negative")
        self.assertEqual(self.call("WAIT", "-1", "0"), 0)


class Enough(Primary):
    """min-replicas-to-write."""

    args = ("--repl-diskless-sync-delay", "0", "--min-replicas-to-write", "1",
            "--min-replicas-max-lag", "2")

    def setUp(self):
        super().setUp()
        self.no_replicas = "NOREPLICAS Not enough good replicas to write."

    def test_writes_need_a_replica_and_reads_do_not(self):
        self.assertEqual(self.call("SET", "a", "1"), self.no_replicas)
        self.assertNotIsInstance(self.call("GET", "a"), Error)
        self.assertEqual(self.call("PUBLISH", "ch", "m"), 0)
        self.assertEqual(self.info()["min_slaves_good_slaves"], "0")
        self.call("MULTI")
        self.assertEqual(self.call("SET", "a", "1"), self.no_replicas)
        self.assert_error(self.call("EXEC"), "EXECABORT Transaction discarded because of previous")
        reply = self.call("EVAL", "return redis.call('set', 'a', '1')", 0)
        self.assert_error(reply, "NOREPLICAS Not enough good replicas to write.")
        self.synced()
        wait_until(lambda: self.call("SET", "a", "1") == "OK")
        self.assertEqual(self.info()["min_slaves_good_slaves"], "1")

    def test_a_replica_that_falls_silent_does_not_count(self):
        replica = self.synced()
        wait_until(lambda: self.call("SET", "a", "1") == "OK")
        wait_until(lambda: self.call("SET", "a", "1") == self.no_replicas, SYNC_SECONDS)
        replica.ack()
        wait_until(lambda: self.call("SET", "a", "1") == "OK")
        replica.close()
        wait_until(lambda: self.call("SET", "a", "1") == self.no_replicas)

    def test_it_can_be_switched_off_and_on(self):
        self.addCleanup(self.call, "CONFIG", "SET", "min-replicas-to-write", "1")
        self.assertEqual(self.call("SET", "a", "1"), self.no_replicas)
        self.call("CONFIG", "SET", "min-slaves-to-write", "0")
        self.assertEqual(self.call("SET", "a", "1"), "OK")
        self.assertNotIn("min_slaves_good_slaves", self.info())


class Life(Primary):
    args = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1",
            "--repl-timeout", "3")

    def test_pings_come_and_count_in_the_offset(self):
        replica = self.synced()
        begun = replica.offset
        for _ in range(2):
            self.assertEqual(replica.read_raw(), PING)
            replica.offset += len(PING)
            replica.ack()
        self.assertGreaterEqual(self.offset(), begun + 2 * len(PING))

    def test_a_silent_replica_is_let_go_and_others_stay(self):
        silent, speaking = self.synced(), self.synced()
        speaking.socket.settimeout(0.1)
        silent.socket.settimeout(0.1)
        deadline = time.monotonic() + SYNC_SECONDS
        while time.monotonic() < deadline:
            speaking.ack(1)
            if silent.is_closed():
                break
        self.assertLess(time.monotonic(), deadline)
        self.assertEqual(self.info()["connected_slaves"], "1")


class Narrow(Primary):
    args = ("--repl-diskless-sync-delay", "0", "--repl-backlog-size", "16kb",
            "--client-output-buffer-limit", "replica", "64kb", "0", "0")

    def test_a_snapshot_does_not_count_as_output(self):
        for number in range(60):
            self.call("SET", "k:%d" % number, os.urandom(100000))
        for capabilities in (("psync2",), ("eof", "psync2")):
            replica = self.replica(capabilities=capabilities)
            replica.sync()
            self.assertEqual(self.stream_of(replica, "SET a 1")[-1], "SET a 1")


class Slow(Primary):
    args = ("--repl-diskless-sync-delay", "0", "--repl-backlog-size", "16kb",
            "--client-output-buffer-limit", "replica", "4mb", "0", "0")

    def test_who_does_not_read_is_cut_off_alone(self):
        slow, quick = self.synced(), self.synced()
        value = "x" * 100000
        for number in range(1000):
            self.call("SET", "k", value)
            while quick.command()[0] != b"SET":
                pass
            quick.stream_bytes = b""
            if self.info()["connected_slaves"] == "1":
                break
        self.assertEqual(self.info()["connected_slaves"], "1")
        self.assertGreater(number, 30)
        self.assertEqual(self.stream_of(quick, "SET a 1"), ["SET a 1"])
        slow.close()
        # What only the slow one needed is forgotten.
        for _ in range(200):
            self.call("SET", "k", "small")
        self.call("PUBLISH", "end", "")
        quick.until("end")
        wait_until(lambda: int(self.info("memory")["mem_replication_backlog"]) < 2000000)


class Alone(unittest.TestCase):
    def test_small_packets_may_be_put_together_for_a_replica(self):
        with Server("--repl-disable-tcp-nodelay", "yes", "--repl-diskless-sync-delay",
                    "0") as server, server.connect() as conn:
            replica = Replica(server.port)
            replica.sync()
            conn.call("SET", "a", "1")
            conn.call("PUBLISH", "end", "")
            self.assertEqual(replica.until("end"), [[b"SELECT", b"0"], [b"SET", b"a", b"1"]])
            replica.close()

    def test_a_primary_that_nobody_follows_forgets_its_history(self):
        with Server("--repl-backlog-ttl", "1", "--repl-diskless-sync-delay", "0") as server:
            with server.connect() as conn:
                replica = Replica(server.port)
                replica.sync()
                replica.close()
                wait_until(lambda: info_of(conn, "replication")["repl_backlog_active"] == "0",
                           SYNC_SECONDS, "the backlog is freed")
                again = Replica(server.port)
                line = again.psync(replica.id, replica.offset + 1)
                self.assertTrue(line.startswith("+FULLRESYNC"))
                self.assertNotIn(replica.id, line)
                again.close()

    def test_a_server_ends_with_replicas_attached(self):
        with Server("--repl-diskless-sync-delay", "0") as server:
            replica = Replica(server.port)
            replica.sync()
            with server.connect() as conn:
                conn.call("SET", "k", "v" * 100000)
            server.stop()
            self.assertTrue(replica.is_closed())


class Tools(unittest.TestCase):
    """redis-cli as a replica."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server("--repl-diskless-sync-delay", "0")
        cls.addClassCleanup(cls.server.remove)
        cls.addClassCleanup(cls.server.kill)
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def cli(self, *words):
        return ["redis-cli", "-p", str(self.server.port), *words]

    def test_a_snapshot_is_fetched_and_can_be_loaded(self):
        folder = tempfile.mkdtemp(prefix="ouro-rdb-")
        self.addCleanup(shutil.rmtree, folder)
        with self.server.connect() as conn:
            conn.call("SET", "k", "fetched")
            conn.call("RPUSH", "l", "a", "b")
        path = os.path.join(folder, "dump.rdb")
        subprocess.run(self.cli("--rdb", path), check=True, timeout=SYNC_SECONDS,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with Server("--dir", folder, "--dbfilename", "dump.rdb", kind="redis") as oracle:
            with oracle.connect() as conn:
                self.assertEqual(conn.call("GET", "k"), b"fetched")
                self.assertEqual(conn.call("LRANGE", "l", 0, -1), [b"a", b"b"])

    def test_functions_alone_are_fetched(self):
        folder = tempfile.mkdtemp(prefix="ouro-rdb-")
        self.addCleanup(shutil.rmtree, folder)
        code = "#!lua name=lib\nredis.register_function('f', function(k, a) end)"
        with self.server.connect() as conn:
            conn.call("SET", "k", "fetched")
            self.assertEqual(conn.call("FUNCTION", "LOAD", "REPLACE", code), b"lib")
        path = os.path.join(folder, "dump.rdb")
        subprocess.run(self.cli("--functions-rdb", path), check=True, timeout=SYNC_SECONDS,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with Server("--dir", folder, "--dbfilename", "dump.rdb", kind="redis") as oracle:
            with oracle.connect() as conn:
                self.assertEqual(conn.call("DBSIZE"), 0)
                self.assertEqual(conn.call("FUNCTION", "LIST")[0][1], b"lib")

    def test_the_stream_is_shown(self):
        shown = subprocess.Popen(self.cli("--replica"), stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT)
        try:
            with self.server.connect() as conn:
                wait_until(lambda: b"state=online" in conn.call("INFO", "replication"),
                           SYNC_SECONDS, "redis-cli is online")
                conn.call("SET", "k", "shown")
                lines = b""
                while b'"k","shown"' not in lines:
                    line = shown.stdout.readline()
                    self.assertNotEqual(line, b"", lines)
                    lines += line
        finally:
            shown.kill()
            shown.wait()
            shown.stdout.close()


class LongEffects(unittest.TestCase):
    """Commands with effects by the thousand, while others write: the replica has the same at the
    end, word for word in the order in which it happened."""

    COUNT = 3000

    def test_groups_that_read_and_claim_much_beside_writers(self):
        with Group("oo") as group:
            primary, replica = group.nodes
            replica.follow(primary)
            wait_in_sync(primary, replica)
            primary.conn.pipeline([("XADD", "x", "%d-0" % (n + 1), "f", "v") for n in range(self.COUNT)])
            primary.do("XGROUP", "CREATE", "x", "g", 0)
            with primary.connect() as reader, primary.connect() as writer:
                reader.send_command("XREADGROUP", "GROUP", "g", "one", "COUNT", self.COUNT, "STREAMS", "x", ">")
                self.write_beside(writer)
                self.assertEqual(len(reader.read()[0][1]), self.COUNT)
                reader.send_command("XAUTOCLAIM", "x", "g", "two", 0, 0, "COUNT", self.COUNT)
                self.write_beside(writer)
                self.assertEqual(len(reader.read()[1]), self.COUNT)
            wait_in_sync(primary, replica)
            for question in (("XPENDING", "x", "g", "-", "+", self.COUNT), ("XINFO", "GROUPS", "x"),
                             ("GET", "n"), ("LRANGE", "l", 0, -1), ("XLEN", "x")):
                ours, theirs = primary.do(*question), replica.do(*question)
                if question[0] == "XPENDING":  # Since when is told by each one's own clock.
                    ours, theirs = ([(e[0], e[1], e[3]) for e in told] for told in (ours, theirs))
                    self.assertEqual(len(ours), self.COUNT)
                self.assertEqual(ours, theirs, question[0])

    @staticmethod
    def write_beside(writer):
        """Others' keys, and the stream itself, which waits."""
        for number in range(300):
            writer.call("INCR", "n")
            writer.call("RPUSH", "l", number)
        writer.call("XADD", "x", "*", "f", "later")


class RealReplica(unittest.TestCase):
    """redis-server 7.0 takes what Ouro alone has, as far as it can be said in its words."""

    def test_newer_commands_reach_a_replica_that_does_not_know_them(self):
        with Group("or") as group:
            primary, replica = group.nodes
            if primary.kind == "redis":
                self.skipTest("about Ouro's own commands")
            replica.follow(primary)
            wait_in_sync(primary, replica)
            for line in ("SET a 1", "SET a 2 IFEQ 1", "SET b 1", "DELEX b IFEQ 1",
                         "MSETEX 2 k 1 l 2 EX 1000", "HSETEX h EX 1000 FIELDS 2 f v g w",
                         "HSETEX h KEEPTTL FIELDS 1 f new", "HSET n f 1.5 g x",
                         "HPEXPIRE n 1 FIELDS 1 g", "HINCRBYFLOAT n f 1"):
                primary.do(*line.split())
            for line in ("MULTI", "SET t 1", "HEXPIRE h 500 FIELDS 1 g", "SET u 1", "EXEC"):
                primary.do(*line.split())
            wait_until(lambda: primary.do("HLEN", "n") == 1, 10, "a field expires")
            self.assertEqual(replica.do("GET", "a"), b"2")
            wait_same_data(primary, replica)
            self.assertEqual(replica.do("HGETALL", "h"), [b"f", b"new", b"g", b"w"])
            self.assertEqual(replica.do("HGETALL", "n"), [b"f", b"2.5"])


if __name__ == "__main__":
    main()
