"""The files of five servers in tests/rdb: each holds what an independent decoder finds in it, and what
redis-server finds in it where that can read it. And ouro-check-rdb, which tells what is in a file."""
import glob
import os
import struct
import subprocess
import tempfile
import time
import unittest

from harness import Server, default_binary, main
from loading_test import content, pairs, put, rdb, server_with
from rdb_decoder import records

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FILES = sorted(glob.glob(os.path.join(ROOT, "tests", "rdb", "*.rdb")))


def read(path):
    with open(path, "rb") as file:
        return file.read()


def without_streams(data):
    """The same file without its streams, and without a checksum."""
    kept, at = b"", 0
    for record in records(data):
        if record.kind == "stream":
            kept, at = kept + data[at:record.start], record.end
    return kept + data[at:-8] + bytes(8)


def has_streams():
    with Server() as server, server.connect() as conn:
        return conn.call("COMMAND", "INFO", "XADD") != [None]


def believed(data):
    """What the decoder finds, by database and key, as `found` gives it; expired keys left out."""
    now_ms = time.time() * 1000
    dbs = {0: {}, 5: {}}
    for record in records(data):
        if record.kind != "stream" and (record.expire_ms is None or record.expire_ms > now_ms):
            value = record.value
            if record.kind == "expiring":
                value = {field: text for field, (text, moment) in value.items()
                         if moment == 0 or moment > now_ms}
            kind = "hash" if record.kind == "expiring" else record.kind
            dbs[record.db][record.key] = (kind, value, record.expire_ms or -1)
    return dbs


def found(conn):
    """The same of a server."""
    dbs = {}
    for db in (0, 5):
        dbs[db] = {}
        for key, (kind, value, deadline) in content(conn, db).items():
            if kind == "set":
                value = set(value)
            elif kind == "zset":
                value = {member: float(score) for member, score in pairs(value).items()}
            dbs[db][key] = (kind, value, deadline)
    return dbs


class Files(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.has_streams = has_streams()

    def test_there_are_ten(self):
        self.assertEqual(len(FILES), 10)

    def test_each_holds_what_the_decoder_finds(self):
        for path in FILES:
            data = read(path)
            with self.subTest(path), \
                    server_with(data if self.has_streams else without_streams(data)) as server, \
                    server.connect() as conn:
                self.assertEqual(found(conn), believed(data))

    def test_each_holds_what_redis_finds(self):
        """Where redis-server can read it: up to version 10."""
        read_by_redis = 0
        for path in FILES:
            data = read(path)
            if int(data[5:9]) > 10:
                continue
            read_by_redis += 1
            redis = Server(kind="redis")
            put(redis, data)
            with self.subTest(path), redis, redis.connect() as conn:
                self.assertEqual(found(conn), believed(data))
        self.assertEqual(read_by_redis, 4)

    def test_fields_keep_their_moments(self):
        data = read(os.path.join(ROOT, "tests", "rdb", "redis-7.4.1-noeviction.rdb"))
        hashes = [record for record in records(data) if record.kind == "expiring"]
        self.assertEqual(sorted(record.type for record in hashes), [24, 25])
        with server_with(data if self.has_streams else without_streams(data)) as server, \
                server.connect() as conn:
            for record in hashes:
                for field, (_, moment) in record.value.items():
                    if moment > time.time() * 1000 or moment == 0:
                        self.assertEqual(conn.call("HPEXPIRETIME", record.key, "FIELDS", 1, field),
                                         [moment or -1])

    def test_a_file_that_is_cut_anywhere_is_refused(self):
        data = read(FILES[0])
        for length in range(1000, len(data), 9973):
            server = Server()
            self.addCleanup(server.remove)
            put(server, data[:length])
            self.assertEqual(server.launch(0).wait(20), 1)
            self.assertIn(b"Fatal error loading the DB", server.log())


class CheckRdb(unittest.TestCase):
    @staticmethod
    def tool():
        binary = os.environ.get("OURO_BINARY") or default_binary()
        return os.path.join(os.path.dirname(binary), "ouro-check-rdb")

    def run_tool(self, data, *words):
        with tempfile.NamedTemporaryFile(suffix=".rdb") as file:
            file.write(data)
            file.flush()
            ended = subprocess.run([self.tool(), *words, file.name], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, timeout=60, check=False)
        return ended.returncode, ended.stdout.decode(), ended.stderr.decode()

    def test_every_file_is_whole(self):
        for path in FILES:
            with self.subTest(path):
                status, output, _ = self.run_tool(read(path))
                self.assertEqual(status, 0, output)
                self.assertIn("is whole: 25 keys", output)

    def test_keys_are_listed_with_their_places(self):
        data = read(FILES[0])
        status, output, _ = self.run_tool(data, "--keys")
        lines = [line.split("\t") for line in output.splitlines()[:-1]]
        self.assertEqual(status, 0)
        self.assertEqual([(int(line[0]), int(line[1]), int(line[2]), int(line[4]), line[5].strip('"'))
                          for line in lines],
                         [(record.start, record.end - record.start, record.db, record.expire_ms or -1,
                           record.key.decode()) for record in records(data)])

    def test_types_and_prefixes_are_summed(self):
        body = b"".join(b"\x00\x06user:%d\x03abc" % number for number in range(3)) + b"\x01\x01l\x01\x01a"
        status, output, _ = self.run_tool(rdb(body), "--prefixes", "1")
        self.assertEqual(status, 0)
        self.assertRegex(output, r"  string +3 +0 +36 +85.7%  largest \"user:0\", 12 bytes at 9")
        self.assertRegex(output, r"  \"user:\" +3 +0 +36 ")
        self.assertIn("and 1 more", output)

    def test_a_broken_file_is_told_with_byte_and_key(self):
        data = rdb(b"\x00\x01a\x01x" + b"\x00\x01b\x05hello")
        status, output, _ = self.run_tool(data[:-12])
        self.assertEqual(status, 1)
        self.assertIn("is broken at byte 14 (0xe) of 20: the file ends early, at least 3 bytes too soon, "
                      "inside of key \"b\"", output)
        self.assertIn("1 keys before it are whole; the last is \"a\", which ends before byte 14", output)
        status, output, _ = self.run_tool(data[:-8] + struct.pack("<Q", 1))
        self.assertEqual(status, 1)
        self.assertIn("is broken at byte 24 ", output)
        self.assertIn("Wrong RDB checksum", output)

    def test_values_of_modules_are_counted_and_stepped_over(self):
        module = b"\x07\x01m\x81" + struct.pack(">Q", 1 << 10) + b"\x02\x05\x05\x01x\x00"
        status, output, _ = self.run_tool(rdb(module + b"\x00\x01a\x01x"))
        self.assertEqual(status, 0, output)
        self.assertIn("1 keys of types that ouro-server refuses", output)

    def test_what_follows_the_end_is_told(self):
        status, output, _ = self.run_tool(rdb(b"") + b"more")
        self.assertEqual(status, 0)
        self.assertIn("4 bytes behind the end are not part of it", output)

    def test_a_missing_checksum_is_told(self):
        self.assertNotIn("no checksum", self.run_tool(read(FILES[0]))[1])
        status, output, _ = self.run_tool(rdb(b""))
        self.assertEqual(status, 0)
        self.assertIn("it has no checksum: bytes that have changed may go unseen", output)

    def test_only_a_file_that_can_be_looked_at_twice_is_taken(self):
        with tempfile.TemporaryDirectory() as folder:
            pipe = os.path.join(folder, "pipe")
            os.mkfifo(pipe)
            for path, why in ((pipe, "Not a regular file"), (folder, "Is a directory"),
                              (os.path.join(folder, "none"), "No such file or directory")):
                ended = subprocess.run([self.tool(), path], capture_output=True, timeout=60, check=False)
                self.assertEqual((ended.returncode, ended.stdout), (2, b""))
                self.assertIn(why, ended.stderr.decode())

    def test_what_cannot_be_written_is_not_told_as_whole(self):
        with open("/dev/full", "wb") as full:
            ended = subprocess.run([self.tool(), FILES[0]], stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
        self.assertEqual(ended.returncode, 2)
        self.assertIn(b"No space left on device", ended.stderr)

    def test_wrong_words_are_told(self):
        self.assertEqual(self.run_tool(b"", "--nonsense")[0], 2)
        self.assertEqual(self.run_tool(b"", "--prefixes", "x")[0], 2)
        status, output, _ = self.run_tool(b"")
        self.assertEqual(status, 1)
        self.assertIn("inside of the magic word", output)


if __name__ == "__main__":
    main()
