"""Full synchronisations: what replicas get is the data set at one moment, in both forms; those who ask
together share one walk; slow, broken and greedy ones harm nobody else."""
import os
import random
import re
import socket
import struct
import subprocess
import threading
import time

from harness import Case, Server, main, wait_until
from dump_test import fill
from rdb_decoder import records
from snapshot_test import everything, info

IN_PROGRESS = "ERR Background save already in progress"
STARTED = b"Starting BGSAVE for SYNC with target"


class Replica:
    """A replica that does nothing by itself: it asks, and reads what it is told to read."""

    def __init__(self, server, port=0, eof=True, timeout=30):
        self.conn = server.connect(timeout=timeout)
        self.conn.call("PING")
        if port:
            self.conn.call("REPLCONF", "listening-port", port)
        capabilities = ["capa", "eof"] if eof else []
        self.conn.call("REPLCONF", *capabilities, "capa", "psync2")
        self.newlines = 0
        self.conn.send_command("PSYNC", "?", "-1")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.conn.close()

    def line(self):
        """The next line; bare newlines before it are counted."""
        while True:
            byte = self.conn.read_bytes(1)
            if byte == b"\n":
                self.newlines += 1
                continue
            line = byte
            while not line.endswith(b"\n"):
                line += self.conn.read_bytes(1)
            return line.rstrip(b"\r\n").decode()

    def begin(self):
        """Reads the answer to PSYNC."""
        match = re.fullmatch(r"\+FULLRESYNC ([0-9a-f]{40}) (\d+)", self.line())
        assert match is not None
        self.id, self.offset = match.group(1), int(match.group(2))
        return self

    def snapshot(self):
        """Reads the snapshot, in whichever form."""
        self.head = self.line()
        if not self.head.startswith("$EOF:"):
            return self.conn.read_bytes(int(self.head[1:]))
        mark = self.head[5:].encode()
        assert len(mark) == 40
        while not self.conn.pending.endswith(mark):
            self.conn._receive()
        data = bytes(self.conn.pending[:-40])
        self.conn.pending.clear()
        return data

    def ack(self, offset=None):
        self.conn.send_command("REPLCONF", "ACK", self.offset if offset is None else offset)

    def command(self):
        """The next command of the stream, PINGs left out."""
        while True:
            words = self.conn.read()
            if words != [b"PING"]:
                return words


def keys_of(snapshot):
    assert snapshot[:5] == b"REDIS"
    return {(record.db, record.key): record.value for record in records(snapshot)}


def rounds(server):
    return server.log().count(STARTED)


def fill_strings(conn, count, size=0):
    rng = random.Random(3)
    for start in range(0, count, 500):
        conn.pipeline([("SET", "key:%d" % number, rng.randbytes(size) if size else "value:%d" % number)
                       for number in range(start, min(start + 500, count))])


def replica_of(server, *args, kind="redis"):
    return Server("--replicaof", "127.0.0.1 %d" % server.port, *args, kind=kind)


def link_is_up(call):
    return info(call, "replication").get("master_link_status") == "up"


def offsets_are_equal(primary, replica):
    there = info(primary, "replication")
    here = info(replica, "replication")
    return there["master_repl_offset"] == here["slave_repl_offset"]


NOW = ("--repl-diskless-sync-delay", "0")


class Forms(Case):
    def check_form(self, args, eof, is_eof_form):
        with Server(*NOW, *args) as server, server.connect() as conn:
            fill_strings(conn, 1000)
            with Replica(server, eof=eof) as replica:
                snapshot = replica.begin().snapshot()
                self.assertEqual(replica.head.startswith("$EOF:"), is_eof_form)
                self.assertEqual(len(keys_of(snapshot)), 1000)
                self.assertEqual(info(conn.call, "replication")["master_replid"], replica.id)
                self.assertEqual([name for name in os.listdir(server.directory) if name.endswith(".rdb")], [])

    def test_a_replica_that_can_is_sent_the_snapshot_as_it_is_made(self):
        self.check_form((), True, True)

    def test_a_replica_that_cannot_gets_it_from_a_file(self):
        self.check_form((), False, False)

    def test_without_diskless_everybody_gets_it_from_a_file(self):
        self.check_form(("--repl-diskless-sync", "no"), True, False)

    def test_the_stream_follows_the_snapshot(self):
        for eof in (True, False):
            with Server(*NOW) as server, server.connect() as conn, Replica(server, eof=eof) as replica:
                replica.begin().snapshot()
                replica.ack()
                conn.call("SET", "after", "x")
                self.assertEqual(replica.command(), [b"SELECT", b"0"])
                self.assertEqual(replica.command(), [b"SET", b"after", b"x"])

    def test_what_changes_after_the_moment_is_in_the_stream_and_not_in_the_snapshot(self):
        with Server(*NOW) as server, server.connect() as conn:
            fill_strings(conn, 2000)
            with Replica(server) as replica:
                replica.begin()
                conn.pipeline([("SET", "key:%d" % number, "new") for number in range(0, 2000, 7)])
                conn.call("FLUSHALL")
                conn.call("SET", "later", "1")
                found = keys_of(replica.snapshot())
                self.assertEqual(found, {(0, b"key:%d" % n): b"value:%d" % n for n in range(2000)})
                replica.ack()
                self.assertEqual(replica.command(), [b"SELECT", b"0"])
                for number in range(0, 2000, 7):
                    self.assertEqual(replica.command(), [b"SET", b"key:%d" % number, b"new"])
                self.assertEqual(replica.command(), [b"FLUSHALL"])
                self.assertEqual(replica.command(), [b"SET", b"later", b"1"])

    def test_newlines_come_while_a_replica_waits(self):
        with Server("--repl-diskless-sync-delay", "2") as server, Replica(server) as replica:
            replica.begin().snapshot()
            self.assertGreaterEqual(replica.newlines, 1)

    def test_libraries_of_functions_travel(self):
        code = "#!lua name=mine\nredis.register_function('twice', function(k, a) return a[1] * 2 end)"
        with Server(*NOW) as server, server.connect() as conn:
            conn.call("FUNCTION", "LOAD", code)
            with replica_of(server) as redis, redis.connect() as other:
                wait_until(lambda: link_is_up(other.call), 30, "the link")
                self.assertEqual(other.call("FUNCTION", "LIST")[0][1], b"mine")


class Sharing(Case):
    def take_all(self, replicas):
        snapshots = [keys_of(replica.begin().snapshot()) for replica in replicas]
        self.assertEqual(len({replica.offset for replica in replicas}), 1)
        for found in snapshots:
            self.assertEqual(found, snapshots[0])
        return snapshots[0]

    def test_six_who_come_together_share_one_walk(self):
        with Server("--repl-diskless-sync-delay", "3600") as server, server.connect() as conn:
            fill_strings(conn, 3000)
            # The last one needs a file, and makes the others begin at once.
            replicas = [Replica(server, port=9000 + n, eof=n != 5) for n in range(6)]
            self.assertEqual(len(self.take_all(replicas)), 3000)
            self.assertEqual(rounds(server), 1)

    def test_six_who_can_take_it_as_it_is_made_share_one_walk(self):
        with Server("--repl-diskless-sync-delay", "2") as server, server.connect() as conn:
            fill_strings(conn, 3000)
            replicas = [Replica(server, port=9000 + n) for n in range(6)]
            self.assertEqual(len(self.take_all(replicas)), 3000)
            self.assertEqual(rounds(server), 1)
            self.assertEqual(info(conn.call, "stats")["sync_full"], "6")

    def test_the_delay_ends_when_enough_have_come(self):
        args = ("--repl-diskless-sync-delay", "3600", "--repl-diskless-sync-max-replicas", "3")
        with Server(*args) as server, server.connect() as conn:
            fill_strings(conn, 100)
            replicas = [Replica(server, port=9000 + n) for n in range(3)]
            self.assertEqual(len(self.take_all(replicas)), 100)
            self.assertEqual(rounds(server), 1)

    def test_who_comes_late_joins_a_file_that_somebody_still_reads(self):
        with Server("--repl-diskless-sync", "no") as server, server.connect() as conn:
            fill_strings(conn, 100, 100000)
            first = Replica(server, port=9000).begin()  # Reads nothing so far.
            wait_until(lambda: "bgsave" in server.log().decode().lower(), 10, "the walk")
            conn.call("SET", "between", "x")
            second = Replica(server, port=9001).begin()
            self.assertEqual(second.offset, first.offset)
            found = keys_of(second.snapshot())
            self.assertEqual(len(found), 100)
            second.ack()
            self.assertEqual(second.command(), [b"SELECT", b"0"])
            self.assertEqual(second.command(), [b"SET", b"between", b"x"])
            self.assertEqual(keys_of(first.snapshot()), found)
            self.assertEqual(rounds(server), 1)


class Trouble(Case):
    def test_partial_readers_get_everything(self):
        with Server(*NOW) as server, server.connect() as conn:
            fill_strings(conn, 60, 50000)
            for eof in (True, False):
                with Replica(server, eof=eof) as slow:
                    slow.begin()
                    parts = []
                    rng = random.Random(5)
                    while len(parts) < 200:
                        parts.append(slow.conn.read_bytes(1 + rng.randrange(3000)))
                    slow.conn.pending[:0] = b"".join(parts)
                    self.assertEqual(len(keys_of(slow.snapshot())), 60)

    def test_who_reads_nothing_is_dropped_alone_and_memory_stays_bounded(self):
        with Server(*NOW, "--repl-timeout", "3", "--rdbcompression", "no") as server, server.connect() as conn:
            fill_strings(conn, 400, 100000)  # 40 MB
            used = int(info(conn.call, "memory")["used_memory"])
            with Replica(server, port=9000) as dead, Replica(server, port=9001, timeout=60) as good:
                dead.begin()
                good.begin()
                found = {}
                reader = threading.Thread(target=lambda: found.update(keys_of(good.snapshot())))
                reader.start()
                most = 0
                while reader.is_alive():
                    most = max(most, int(info(conn.call, "memory")["used_memory"]) - used)
                    time.sleep(0.05)
                reader.join()
                self.assertEqual(len(found), 400)
                self.assertLess(most, 16 << 20)
                self.assertTrue(dead.conn.is_closed())

    def test_one_that_leaves_in_the_middle_harms_nobody(self):
        with Server("--repl-diskless-sync-delay", "1") as server, server.connect() as conn:
            fill_strings(conn, 100, 50000)
            gone, good = Replica(server, port=9000), Replica(server, port=9001)
            gone.begin()
            gone.conn.read_bytes(100000)
            gone.close()
            self.assertEqual(len(keys_of(good.begin().snapshot())), 100)
            good.close()
            with Replica(server, port=9002) as alone:
                alone.begin()
                alone.conn.read_bytes(1000)
            wait_until(lambda: info(conn.call)["rdb_bgsave_in_progress"] == "0", 20, "the end of the walk")
            self.assertEqual(conn.call("SAVE"), "OK")

    def test_a_replica_that_cannot_use_what_it_gets_waits_longer_each_time(self):
        with Server(*NOW) as server, server.connect() as conn:
            fill_strings(conn, 10)
            times = []
            for _ in range(3):
                with Replica(server, port=9000) as replica:
                    replica.begin().snapshot()
                    times.append(time.monotonic())
                wait_until(lambda: info(conn.call, "replication")["connected_slaves"] == "0", 20, "its end")
            self.assertGreater(times[1] - times[0], 0.9)
            self.assertGreater(times[2] - times[1], 1.9)
            self.assertEqual(server.log().count(b"has left without acknowledging"), 1)
            with Replica(server, port=9001) as other:  # Nobody else waits.
                other.begin().snapshot()
            with Replica(server, port=9000) as replica:
                replica.begin().snapshot()
                replica.ack()
                wait_until(lambda: "state=online" in info(conn.call, "replication").get("slave0", ""), 20, "online")
            with Replica(server, port=9000) as replica:
                begin = time.monotonic()
                replica.begin().snapshot()
                self.assertLess(time.monotonic() - begin, 7)

    def test_it_waits_too_when_its_connection_is_reset(self):
        with Server(*NOW) as server, server.connect() as conn:
            fill_strings(conn, 10)
            times = []
            for _ in range(2):
                replica = Replica(server, port=9000)
                replica.begin().snapshot()
                times.append(time.monotonic())
                replica.conn.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                replica.close()
                wait_until(lambda: info(conn.call, "replication")["connected_slaves"] == "0", 20, "its end")
            self.assertGreater(times[1] - times[0], 0.9)
            self.assertIn(b"127.0.0.1:9000 has left without acknowledging", server.log())

    def test_a_file_that_cannot_be_made_drops_those_who_need_it(self):
        args = ("--repl-diskless-sync", "no", "--enable-protected-configs", "yes")
        with Server(*args) as server, server.connect() as conn:
            fill_strings(conn, 10)
            gone = os.path.join(server.directory, "gone")
            os.mkdir(gone)
            self.assertEqual(conn.call("CONFIG", "SET", "dir", gone), "OK")
            os.rmdir(gone)
            with Replica(server) as replica:
                replica.begin()
                self.assertTrue(replica.conn.is_closed())
            self.assertIn(b"Error writing the temporary file for replicas: No such file", server.log())
            self.assertEqual(conn.call("CONFIG", "SET", "dir", server.directory), "OK")
            with Replica(server) as replica:
                self.assertEqual(len(keys_of(replica.begin().snapshot())), 10)


class BesideOthers(Case):
    """What else goes on while a snapshot is under way: one replica reads nothing, so that it is."""

    COUNT = 120

    def stuck(self, server, conn):
        fill_strings(conn, self.COUNT, 50000)  # More than the server's socket takes, and than this one.
        replica = Replica(server, port=9000)
        replica.conn.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        return replica.begin()

    def test_saves_are_told_that_one_is_in_progress(self):
        with Server(*NOW) as server, server.connect() as conn, self.stuck(server, conn) as replica:
            self.assertEqual(info(conn.call)["rdb_bgsave_in_progress"], "1")
            self.assertEqual(conn.call("BGSAVE"), IN_PROGRESS)
            self.assertEqual(conn.call("BGSAVE", "SCHEDULE"), IN_PROGRESS)
            self.assertEqual(conn.call("SAVE"), IN_PROGRESS)
            self.assertEqual(len(keys_of(replica.snapshot())), self.COUNT)
            wait_until(lambda: info(conn.call)["rdb_bgsave_in_progress"] == "0", 20, "the end of the walk")
            self.assertEqual(conn.call("SAVE"), "OK")

    def test_shutdown_does_not_wait_for_it(self):
        with Server(*NOW, "--save", "3600 1") as server:
            with server.connect() as conn, self.stuck(server, conn) as replica:
                server.stop()
                self.assertTrue(replica.conn.is_closed())
            server.start()
            with server.connect() as conn:
                self.assertEqual(conn.call("DBSIZE"), self.COUNT)

    def test_debug_reload_ends_it(self):
        args = ("--enable-debug-command", "yes")
        with Server(*NOW, *args) as server, server.connect(timeout=60) as conn, self.stuck(server, conn) as replica:
            self.assertEqual(conn.call("DEBUG", "RELOAD"), "OK")
            self.assertEqual(conn.call("DBSIZE"), self.COUNT)
            self.assertTrue(replica.conn.is_closed())
            with Replica(server) as again:
                self.assertEqual(len(keys_of(again.begin().snapshot())), self.COUNT)

    def test_a_save_under_way_is_waited_for(self):
        with Server(*NOW) as server, server.connect() as conn:
            fill_strings(conn, 5000)
            conn.send(b"*1\r\n$6\r\nBGSAVE\r\n")
            with Replica(server) as replica:
                self.assertEqual(len(keys_of(replica.begin().snapshot())), 5000)
            self.assertEqual(conn.read(), "Background saving started")
            log = server.log()
            self.assertLess(log.index(b"DB saved on disk"), log.index(STARTED))

    def test_no_snapshot_begins_in_the_middle_of_a_script(self):
        script = """redis.call('set', 'first', 1)
                    local sum = 0
                    for i = 1, 30000000 do sum = sum + i end
                    redis.call('set', 'second', 1)"""
        args = ("--repl-diskless-sync-delay", "1", "--busy-reply-threshold", "10")
        with Server(*args) as server, server.connect() as conn, server.connect() as writer:
            with Replica(server) as replica:
                writer.send_command("EVAL", script, 0)
                found = keys_of(replica.begin().snapshot())
                self.assertIn(len(found), (0, 2))
                if found:
                    self.assertGreaterEqual(replica.newlines, 1)
                writer.read()
                self.assertEqual(conn.call("DBSIZE"), 2)


class SavedFacts(Case):
    def facts_in(self, server):
        with open(os.path.join(server.directory, "dump.rdb"), "rb") as file:
            data = file.read()
        return {name: name in data for name in (b"repl-id", b"repl-offset", b"repl-stream-db")}, data

    def test_a_file_tells_of_the_history_if_there_is_one(self):
        with Server(*NOW) as server, server.connect() as conn:
            conn.call("SET", "a", 1)
            conn.call("SAVE")
            self.assertFalse(any(self.facts_in(server)[0].values()))
            with Replica(server) as replica:
                replica.begin().snapshot()
                replica.ack()
                conn.call("SELECT", 3)
                conn.call("SET", "b", 1)
                self.assertEqual(conn.call("SAVE"), "OK")
                found, data = self.facts_in(server)
                self.assertTrue(all(found.values()))
                self.assertIn(b"\x07repl-id" + b"\x28" + replica.id.encode(), data)
                offset = info(conn.call, "replication")["master_repl_offset"]
                self.assertGreater(int(offset), replica.offset)


class Tools(Case):
    def run_cli(self, server, *args):
        return subprocess.run(["redis-cli", "-p", str(server.port), *args], capture_output=True, timeout=60)

    def test_redis_cli_takes_a_backup(self):
        for args in (NOW, ("--repl-diskless-sync", "no")):
            with Server(*args) as server, server.connect() as conn:
                fill(conn.call)
                path = os.path.join(server.directory, "backup.rdb")
                result = self.run_cli(server, "--rdb", path)
                self.assertEqual(result.returncode, 0, result)
                check = subprocess.run(["redis-check-rdb", path], capture_output=True, text=True, timeout=60)
                self.assertIn("RDB looks OK", check.stdout)
                with open(path, "rb") as file:
                    self.assertEqual(len(keys_of(file.read())), conn.call("DBSIZE"))
                wait_until(lambda: info(conn.call, "replication")["connected_slaves"] == "0", 20, "its end")

    def test_redis_cli_takes_functions_alone(self):
        with Server(*NOW) as server, server.connect() as conn:
            conn.call("SET", "a", 1)
            conn.call("FUNCTION", "LOAD", "#!lua name=mine\nredis.register_function('f', function() return 1 end)")
            path = os.path.join(server.directory, "functions.rdb")
            result = self.run_cli(server, "--functions-rdb", path)
            self.assertEqual(result.returncode, 0, result)
            with open(path, "rb") as file:
                data = file.read()
            self.assertIn(b"name=mine", data)
            self.assertEqual(keys_of(data), {})


class RedisAsReplica(Case):
    """A real redis-server is the replica."""

    kind = "redis"

    def replica_of(self, server, *args):
        return replica_of(server, *args, kind=self.kind)

    def compare(self, server, redis):
        with server.connect() as conn, redis.connect() as other:
            wait_until(lambda: link_is_up(other.call), 60, "the link")
            wait_until(lambda: offsets_are_equal(conn.call, other.call), 60, "equal offsets")
            self.assertEqual(everything(other.call), everything(conn.call))

    def test_every_type_arrives_in_both_forms(self):
        for args in (("--repl-diskless-load", "disabled"), ("--repl-diskless-load", "swapdb")):
            for diskless in ("yes", "no"):
                with Server(*NOW, "--repl-diskless-sync", diskless) as server, server.connect() as conn:
                    fill(conn.call)
                    conn.call("SELECT", 5)
                    fill(conn.call)
                    conn.call("SET", "timed", 1, "PXAT", 4102444800000)
                    with self.replica_of(server, *args) as redis:
                        self.compare(server, redis)

    def test_what_is_written_meanwhile_arrives(self):
        with Server(*NOW) as server, server.connect() as conn:
            fill_strings(conn, 20000)
            conn.call("HSET", "big", *[word for n in range(20000) for word in ("field:%d" % n, n)])
            stop = threading.Event()

            def write():
                rng = random.Random(1)
                with server.connect() as writer:
                    while not stop.is_set():
                        writer.pipeline([
                            ("SET", "key:%d" % rng.randrange(25000), rng.randrange(1000)),
                            ("DEL", "key:%d" % rng.randrange(25000)),
                            ("HINCRBY", "big", "field:%d" % rng.randrange(20000), 1),
                            ("RPUSH", "list:%d" % rng.randrange(20), "x" * rng.randrange(100)),
                            ("LPOP", "list:%d" % rng.randrange(20)),
                            ("ZADD", "zset", rng.random(), rng.randrange(5000)),
                            ("EXPIRE", "key:%d" % rng.randrange(25000), 1000)])

            writers = [threading.Thread(target=write) for _ in range(2)]
            for writer in writers:
                writer.start()
            try:
                with self.replica_of(server) as redis:
                    with redis.connect() as other:
                        wait_until(lambda: link_is_up(other.call), 120, "the link")
                    stop.set()
                    for writer in writers:
                        writer.join()
                    self.compare(server, redis)
                    self.assertEqual(info(conn.call, "stats")["sync_full"], "1")
            finally:
                stop.set()


class OuroAsReplica(RedisAsReplica):
    """Both are Ouro."""

    kind = "ouro"


if __name__ == "__main__":
    main()
