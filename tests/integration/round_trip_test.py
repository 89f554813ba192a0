"""Snapshots that go round: Ouro saves, redis-server loads and saves, Ouro loads; DEBUG RELOAD; files of
five servers that Ouro saves again."""
import os
import unittest

from harness import Server, main
from loading_test import content, fill, put, server_with
from rdb_decoder import records
from rdb_files_test import FILES, believed, found, has_streams, read, without_streams

DBS = (0, 5, 9)


def all_content(conn):
    return {db: content(conn, db) for db in DBS}


def saved(server, conn):
    """The bytes of the file that SAVE writes."""
    assert conn.call("SAVE") == "OK"
    return read(os.path.join(server.directory, "dump.rdb"))


def decoded(data):
    return {(record.db, record.key): (record.kind, record.value, record.expire_ms)
            for record in records(data) if record.kind != "stream"}


class RoundTrip(unittest.TestCase):
    def test_ouro_to_redis_to_ouro(self):
        for limits in ((), ("--hash-max-listpack-entries", "0", "--zset-max-listpack-entries", "0",
                            "--set-max-listpack-entries", "0", "--set-max-intset-entries", "0",
                            "--list-max-listpack-size", "1")):
            with self.subTest(limits), Server(*limits, "--save", "") as server, server.connect() as conn:
                fill(conn)
                wanted = all_content(conn)
                first = saved(server, conn)
            self.go_round(first, wanted)

    def go_round(self, first, wanted):
        redis = Server("--save", "", kind="redis")
        put(redis, first)
        with redis, redis.connect() as conn:
            self.assertEqual(all_content(conn), wanted)
            second = saved(redis, conn)
        with server_with(second) as server, server.connect() as conn:
            self.assertEqual(all_content(conn), wanted)
            third = saved(server, conn)
        self.assertEqual(decoded(third), decoded(first))

    def test_files_of_five_servers_are_saved_again_with_the_same_content(self):
        streams = has_streams()
        for path in FILES:
            data = read(path) if streams else without_streams(read(path))
            with self.subTest(path), server_with(data) as server, server.connect() as conn:
                again = saved(server, conn)
                self.assertEqual(believed(again), believed(data))
                self.assertEqual(again.count(b"#!lua name="), data.count(b"#!lua name="))

    def test_a_file_with_functions_is_read_by_redis_again(self):
        data = without_streams(read([path for path in FILES if "deb7.0.15-noeviction" in path][0]))
        with server_with(data) as server, server.connect() as conn:
            again = saved(server, conn)
        redis = Server("--save", "", kind="redis")
        put(redis, again)
        with redis, redis.connect() as conn:
            self.assertEqual(found(conn), believed(data))
            self.assertEqual(len(conn.call("FUNCTION", "LIST")), 1)


class Reload(unittest.TestCase):
    ARGS = ("--enable-debug-command", "yes", "--save", "")

    def test_everything_is_there_afterwards(self):
        with Server(*self.ARGS) as server, server.connect() as conn:
            fill(conn)
            before = all_content(conn)
            conn.call("SET", "gone", "x", "PX", 1)
            self.assertEqual(conn.call("DEBUG", "RELOAD"), "OK")
            self.assertEqual(all_content(conn), before)
            self.assertEqual(conn.call("DEBUG", "RELOAD", "nosave"), "OK")
            self.assertEqual(all_content(conn), before)

    def test_pipelined_commands_see_what_was_loaded(self):
        with Server(*self.ARGS) as server, server.connect() as conn:
            conn.send(b"SET a 1\r\nDEBUG RELOAD\r\nINCR a\r\n")
            self.assertEqual([conn.read() for _ in range(3)], ["OK", "OK", 2])

    def test_nosave_brings_back_the_file(self):
        with Server(*self.ARGS) as server, server.connect() as conn:
            conn.call("SET", "a", "old")
            conn.call("SAVE")
            conn.call("SET", "a", "new")
            conn.call("SET", "b", "new")
            self.assertEqual(conn.call("DEBUG", "RELOAD", "NOSAVE"), "OK")
            self.assertEqual(conn.call("KEYS", "*"), [b"a"])
            self.assertEqual(conn.call("GET", "a"), b"old")

    def test_merge_lets_the_file_win(self):
        with Server(*self.ARGS) as server, server.connect() as conn:
            conn.call("SET", "a", "old")
            conn.call("SAVE")
            conn.call("SET", "a", "new")
            conn.call("SET", "b", "new")
            self.assertEqual(conn.call("DEBUG", "RELOAD", "NOSAVE", "NOFLUSH", "MERGE"), "OK")
            self.assertEqual(conn.call("MGET", "a", "b"), [b"old", b"new"])

    def test_what_cannot_be_loaded_is_an_error(self):
        with Server(*self.ARGS) as server, server.connect() as conn:
            conn.call("SET", "a", "1")
            self.assertEqual(conn.call("DEBUG", "RELOAD", "NOSAVE"),
                             "ERR Error trying to load the RDB dump")
            self.assertEqual(conn.call("GET", "a"), b"1")
            conn.call("SAVE")
            self.assertEqual(conn.call("DEBUG", "RELOAD", "NOSAVE", "NOFLUSH"),
                             "ERR Error trying to load the RDB dump")
            self.assertIn(b"the same key twice", server.log())
            self.assertEqual(conn.call("DEBUG", "RELOAD", "LATER"),
                             "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.")


if __name__ == "__main__":
    main()
