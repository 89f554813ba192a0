"""The snapshot that is loaded at start: its content, what clients see meanwhile, files that are refused."""
import os
import struct
import time
import unittest

from harness import Server, free_port, main, wait_until


KEYS_MANY = 1_000_000


def length(number):
    if number < 64:
        return bytes([number])
    return struct.pack(">H", 0x4000 | number) if number < 16384 else b"\x80" + struct.pack(">I", number)


def text(data):
    return length(len(data)) + data


def rdb(body, version=9):
    """A file without a checksum."""
    return b"REDIS%04d" % version + body + b"\xff" + bytes(8)


def put(server, data):
    path = os.path.join(server.directory, "dump.rdb")
    with open(path, "wb") as file:
        file.write(data)
    return path


def server_with(data, *args):
    """A server that will find `data` in its file, for a `with` block."""
    server = Server(*args)
    put(server, data)
    return server


def refusal(data, *args):
    """(status, log, the file afterwards) of a server that finds such a file."""
    server = Server(*args)
    path = put(server, data)
    try:
        status = server.launch(0).wait(20)
        with open(path, "rb") as file:
            return status, server.log().decode("utf-8", "replace"), file.read()
    finally:
        server.kill()
        server.remove()


def info(conn):
    lines = conn.call("INFO", "everything").decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def content(conn, db):
    """Everything in a database, in a form that does not depend on order: type, content, deadline."""
    readers = {
        "string": lambda key: conn.call("GET", key),
        "list": lambda key: conn.call("LRANGE", key, 0, -1),
        "set": lambda key: sorted(conn.call("SMEMBERS", key)),
        "zset": lambda key: conn.call("ZRANGE", key, 0, -1, "WITHSCORES"),
        "hash": lambda key: pairs(conn.call("HGETALL", key)),
    }
    conn.call("SELECT", db)
    found = {}
    for key in conn.call("KEYS", "*"):
        kind = conn.call("TYPE", key)
        if kind in readers:
            found[key] = (kind, readers[kind](key), conn.call("PEXPIRETIME", key))
    return found


def pairs(flat):
    return dict(zip(flat[::2], flat[1::2]))


def fill(conn):
    """Every type in every encoding that redis-server has for it, with and without deadlines."""
    for number in (0, -1, 127, -129, 32767, 70000, 2**31, 2**63 - 1):
        conn.call("SET", "number:%d" % number, number)
    conn.call("SET", "empty", "")
    conn.call("SET", "binary", bytes(range(256)))
    conn.call("SET", "packs", "abc" * 1000)
    conn.call("SET", "long", os.urandom(100_000))
    conn.call("SET", "with:deadline", "x", "PXAT", 4_000_000_000_000)
    for size, item in ((5, b"%d"), (5, b"item:%d"), (2000, b"%d"), (2000, b"item:%d"), (40, b"%d" + b"y" * 100)):
        name = "%d:%d" % (size, len(item))
        items = [item % number for number in range(size)]
        conn.call("RPUSH", "list:" + name, *items)
        conn.call("SADD", "set:" + name, *items)
        conn.call("HSET", "hash:" + name, *[word for pair in zip(items, reversed(items)) for word in pair])
        conn.call("ZADD", "zset:" + name, *[word for number, word in enumerate(items)
                                            for word in (number * 0.5 - 3, word)])
        conn.call("PEXPIREAT", "hash:" + name, 4_100_000_000_000)
    conn.call("ZADD", "infinite", "inf", "a", "-inf", "b", "1e300", "c")
    conn.call("RPUSH", "list:huge", "z" * 70_000, "small", "z" * 70_000)
    conn.call("PFADD", "counter", *range(1000))
    conn.call("SELECT", 9)
    conn.call("SET", "elsewhere", "yes")


class Content(unittest.TestCase):
    def from_redis(self, *args):
        """(file, content by database) of a redis-server."""
        with Server(*args, "--save", "", kind="redis") as redis, redis.connect() as conn:
            fill(conn)
            wanted = {db: content(conn, db) for db in (0, 9)}
            conn.call("SAVE")
            with open(os.path.join(redis.directory, "dump.rdb"), "rb") as file:
                return file.read(), wanted

    def check(self, data, wanted, *args):
        with server_with(data, *args) as server, server.connect() as conn:
            for db, keys in wanted.items():
                self.assertEqual(content(conn, db), keys)
            fields = info(conn)
            self.assertEqual(int(fields["rdb_last_load_keys_loaded"]), sum(map(len, wanted.values())))
            self.assertEqual(fields["loading"], "0")

    def test_what_redis_saved_is_there(self):
        self.check(*self.from_redis())

    def test_files_without_compression_or_checksum_are_the_same(self):
        self.check(*self.from_redis("--rdbcompression", "no", "--rdbchecksum", "no"))

    def test_large_encodings_are_the_same(self):
        self.check(*self.from_redis("--hash-max-listpack-entries", "0", "--zset-max-listpack-entries", "0",
                                    "--set-max-intset-entries", "0", "--list-max-listpack-size", "1"))

    def test_uses_come_back_when_the_policy_counts_them(self):
        data = rdb(b"\xf9\x64\x00\x01a\x01x" + b"\xf8\x41\x00\x00\x01b\x01x")
        with server_with(data, "--maxmemory-policy", "allkeys-lfu") as server, server.connect() as conn:
            self.assertEqual(conn.call("OBJECT", "FREQ", "a"), 100)
        with server_with(data, "--maxmemory-policy", "allkeys-lru") as server, server.connect() as conn:
            self.assertGreaterEqual(conn.call("OBJECT", "IDLETIME", "b"), 256)
            self.assertLess(conn.call("OBJECT", "IDLETIME", "a"), 60)

    def test_what_has_expired_stays_away_and_is_counted(self):
        past = b"\xfc" + struct.pack("<Q", 1000) + b"\x00\x03old\x01x"
        seconds = b"\xfd" + struct.pack("<I", 4_000_000_000 // 2) + b"\x00\x03new\x01x"
        with server_with(rdb(past + seconds)) as server, server.connect() as conn:
            self.assertEqual(conn.call("KEYS", "*"), [b"new"])
            self.assertEqual(conn.call("EXPIRETIME", "new"), 2_000_000_000)
            self.assertEqual(info(conn)["rdb_last_load_keys_expired"], "1")
            self.assertEqual(info(conn)["rdb_last_load_keys_loaded"], "1")

    def test_dbfilename_names_the_file(self):
        server = Server("--dbfilename", "other.rdb")
        self.addCleanup(server.remove)
        with open(os.path.join(server.directory, "other.rdb"), "wb") as file:
            file.write(rdb(b"\x00\x01a\x01x"))
        put(server, b"garbage")
        server.start()
        with server.connect() as conn:
            self.assertEqual(conn.call("GET", "a"), b"x")
        server.stop()

    def test_no_file_is_an_empty_start(self):
        with Server() as server, server.connect() as conn:
            self.assertEqual(conn.call("DBSIZE"), 0)
            self.assertNotIn(b"Loading", server.log())

    def test_keys_that_were_loaded_are_like_others(self):
        body = b"\x05\x01z\x02" + b"".join(text(member) + struct.pack("<d", score)
                                           for member, score in ((b"b", 2.0), (b"a", 1.0)))
        with server_with(rdb(body)) as server, server.connect() as conn:
            conn.call("ZADD", "z", "1.5", "c")
            self.assertEqual(conn.call("ZRANGE", "z", 0, -1), [b"a", b"c", b"b"])
            self.assertEqual(conn.call("DEL", "z"), 1)


class Refusals(unittest.TestCase):
    GOOD = b"\x00\x01a\x01x"

    def check(self, data, *words, args=()):
        status, log, after = refusal(data, *args)
        self.assertEqual(status, 1, log)
        self.assertEqual(after, data)
        for word in words:
            self.assertIn(word, log)
        self.assertNotIn("Ready to accept", log)

    def test_a_file_that_ends_early(self):
        whole = rdb(self.GOOD + b"\x00\x01b\x05hello")
        for cut in (0, 3, 9, 10, 17, len(whole) - 9, len(whole) - 1):
            self.check(whole[:cut], "Fatal error loading the DB", "ends early")

    def test_a_wrong_checksum_is_told_with_its_place(self):
        data = rdb(self.GOOD)[:-8] + struct.pack("<Q", 5)
        self.check(data, "at byte 15: Wrong RDB checksum expected: (5)")
        with server_with(data, "--rdbchecksum", "no") as server, server.connect() as conn:
            self.assertEqual(conn.call("GET", "a"), b"x")

    def test_bytes_that_make_no_sense(self):
        self.check(b"garbage and more", "at byte 0: Wrong signature")
        self.check(rdb(self.GOOD, 13), "Can't handle RDB format version 13")
        self.check(b"VALKEY080" + self.GOOD, "Valkey 9")
        self.check(rdb(self.GOOD + b"\x02\x01s\x02\x01a\x01a"), "in the value of key \"s\"")

    def test_a_key_that_comes_twice(self):
        self.check(rdb(self.GOOD + self.GOOD), "at byte 14: the file has the same key twice: \"a\"")

    def test_more_databases_than_there_are(self):
        self.check(rdb(b"\xfe\x05" + self.GOOD), "database 5", args=("--databases", "4"))

    def test_a_length_that_cannot_be(self):
        self.check(rdb(b"\x00\x01a\x81" + b"\x7f" * 8), "ends early")
        self.check(rdb(b"\x01\x01l\x81" + b"\x7f" * 8 + b"\x01x"), "key \"l\"")

    def test_a_value_of_a_module(self):
        self.check(rdb(b"\x07\x01m\x81" + struct.pack(">Q", 0) + b"\x00"), "value of a module named")

    def test_a_folder_is_no_file(self):
        server = Server()
        self.addCleanup(server.remove)
        os.mkdir(os.path.join(server.directory, "dump.rdb"))
        self.assertEqual(server.launch(0).wait(20), 1)
        self.assertIn(b"Is a directory", server.log())


    def test_a_pipe_is_no_file_and_nobody_waits_for_its_writer(self):
        server = Server()
        self.addCleanup(server.remove)
        if server.kind == "redis":
            self.skipTest("Redis waits")
        os.mkfifo(os.path.join(server.directory, "dump.rdb"))
        self.assertEqual(server.launch(0).wait(20), 1)
        self.assertIn(b"Invalid argument", server.log())


class Meanwhile(unittest.TestCase):
    """A file that takes a while; clients come before it is loaded."""

    @classmethod
    def setUpClass(cls):
        count = b"\x80" + struct.pack(">I", KEYS_MANY)
        body = b"\xfe\x00\xfb" + count + b"\x00"
        cls.data = rdb(body + b"".join(b"\x00\x0akey%07d\x03abc" % number for number in range(KEYS_MANY)))

    def test_clients_are_told_to_wait_and_info_shows_how_long(self):
        server = Server("--enable-debug-command", "yes")
        self.addCleanup(server.remove)
        self.addCleanup(server.kill)
        put(server, self.data)
        server.launch(free_port())
        with wait_until(lambda: connection(server), 20, "a connection") as conn:
            fields = info(conn)
            self.assertEqual(fields["loading"], "1")
            self.assertEqual(conn.call("GET", "key0000001"),
                             "LOADING Redis is loading the dataset in memory")
            self.assertEqual(conn.call("PING"), "LOADING Redis is loading the dataset in memory")
            self.assertEqual(int(fields["loading_total_bytes"]), len(self.data))
            self.assertLess(int(fields["loading_loaded_bytes"]), len(self.data))
            self.assertLess(abs(int(fields["loading_start_time"]) - time.time()), 60)
            self.assertRegex(fields["loading_loaded_perc"], r"^\d+\.\d\d$")
            self.assertGreaterEqual(int(fields["loading_eta_seconds"]), 0)
            wait_until(lambda: info(conn)["loading"] == "0", 60, "the end of loading")
            fields = info(conn)
            self.assertNotIn("loading_total_bytes", fields)
            self.assertEqual(int(fields["rdb_last_load_keys_loaded"]), KEYS_MANY)
            self.assertEqual(conn.call("DBSIZE"), KEYS_MANY)
            self.assertEqual(conn.call("GET", "key0000001"), b"abc")
        server.stop()

    def test_a_server_that_is_stopped_meanwhile_ends_at_once(self):
        server = Server()
        self.addCleanup(server.remove)
        self.addCleanup(server.kill)
        path = put(server, self.data)
        server.launch(free_port())
        wait_until(lambda: connection(server), 20, "a connection").close()
        server.stop()
        self.assertEqual(os.path.getsize(path), len(self.data))


def connection(server):
    try:
        return server.connect()
    except OSError:
        server.check_alive()
        return None


if __name__ == "__main__":
    main()
