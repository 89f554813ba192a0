"""Snapshots: what is saved is what was there at one moment, in files that redis-server loads; and a
file is there whole or not at all."""
import os
import random
import re
import resource
import shutil
import subprocess
import threading
import unittest

from harness import Case, Error, Server, main, wait_until
from dump_test import content, fill

MISCONF = ("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. "
           "Commands that may modify the data set are disabled, because this instance is configured to report "
           "errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the "
           "Redis logs for details about the RDB error.")


def info(call, section="persistence"):
    text = call("INFO", section).decode()
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def is_saved(call):
    return info(call)["rdb_bgsave_in_progress"] == "0"


def bgsave(call):
    answer = call("BGSAVE")
    wait_until(lambda: is_saved(call), 60, "the end of the save")
    return answer


def file_of(server):
    return os.path.join(server.directory, "dump.rdb")


def temp_files(server):
    return [name for name in os.listdir(server.directory) if name.startswith("temp-")]


def load_in_redis(path):
    """A redis-server that has loaded the file."""
    redis = Server(kind="redis")
    shutil.copy(path, os.path.join(redis.directory, "dump.rdb"))
    return redis


def everything(call, databases=16):
    """Contents and expiry of every key of every database."""
    found = {}
    for db in range(databases):
        call("SELECT", db)
        for key in call("KEYS", "*"):
            if call("TYPE", key) != "none":  # It may have expired just now.
                found[db, key] = content(call, key) + (call("PEXPIRETIME", key),)
    call("SELECT", 0)
    return found


class Format(Case):
    def check(self, path):
        result = subprocess.run(["redis-check-rdb", path], capture_output=True, text=True, timeout=60)
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertIn("RDB looks OK", result.stdout)
        return result.stdout

    def test_redis_loads_every_type_and_encoding(self):
        with Server() as server, server.connect() as conn:
            fill(conn.call)
            conn.call("SELECT", 3)
            fill(conn.call)
            for number in range(2000):
                conn.call("SET", "key:%d" % number, "value" * (number % 40), "PXAT", 4102444800000 + number)
            conn.call("SET", "blob", random.Random(2).randbytes(100000))
            conn.call("SET", "long", b"ab" * 200000)
            conn.call("RPUSH", "blobs", *[bytes([65 + n]) * 50000 for n in range(5)])
            conn.call("SELECT", 0)
            before = everything(conn.call)
            self.assertEqual(bgsave(conn.call), "Background saving started")
            self.check(file_of(server))
            with load_in_redis(file_of(server)) as redis, redis.connect() as other:
                self.assertEqual(everything(other.call), before)

    def test_packing_and_checksum_may_be_off(self):
        sizes = {}
        for packing in ("yes", "no"):
            with Server("--rdbcompression", packing, "--rdbchecksum", packing) as server, server.connect() as conn:
                conn.call("SET", "a", "b" * 1000)
                self.assertEqual(conn.call("SAVE"), "OK")
                with open(file_of(server), "rb") as file:
                    data = file.read()
                sizes[packing] = len(data)
                if server.kind == "ouro":
                    self.assertEqual(data[:9], b"REDIS0009")
                self.assertEqual(data.endswith(bytes(8)), packing == "no")
                self.check(file_of(server))
        self.assertLess(sizes["yes"], 300)
        self.assertGreater(sizes["no"], 1000)

    def test_functions_are_kept(self):
        with Server() as server, server.connect() as conn:
            code = "#!lua name=mine\nredis.register_function('twice', function(k, a) return a[1] * 2 end)"
            self.assertEqual(conn.call("FUNCTION", "LOAD", code), b"mine")
            self.assertEqual(conn.call("SAVE"), "OK")
            with load_in_redis(file_of(server)) as redis, redis.connect() as other:
                self.assertEqual(other.call("FCALL", "twice", 0, 21), 42)
            server.restart()
            with server.connect() as again:
                self.assertEqual(again.call("FCALL", "twice", 0, 21), 42)

    def test_use_of_keys_is_kept_when_eviction_goes_by_it(self):
        for policy, opcode in (("allkeys-lru", b"\xf8"), ("allkeys-lfu", b"\xf9"), ("noeviction", b"\x00")):
            with Server("--maxmemory-policy", policy, "--maxmemory", "100mb") as server, server.connect() as conn:
                conn.call("SET", "akey", "avalue")
                conn.call("SAVE")
                with open(file_of(server), "rb") as file:
                    data = file.read()
                at = data.index(b"\x04akey")
                self.assertEqual(data[at - 3:at - 2] == opcode, policy != "noeviction")
                with load_in_redis(file_of(server)) as redis, redis.connect() as other:
                    self.assertEqual(other.call("GET", "akey"), b"avalue")

    def test_fields_that_expire_need_a_newer_format(self):
        with Server() as server, server.connect() as conn:
            if server.kind == "redis":
                self.skipTest("no such fields in 7.0")
            for number in range(600):
                conn.call("HSET", "h", "f%d" % number, number)
            conn.call("HPEXPIREAT", "h", 4102444800000, "FIELDS", 2, "f1", "f2")
            conn.call("SAVE")
            with open(file_of(server), "rb") as file:
                self.assertEqual(file.read(9), b"REDIS0012")

    def test_streams_need_the_format_of_their_form(self):
        """Who reads nothing newer than version 9 must refuse the file at its first bytes."""
        with Server() as server, server.connect() as conn:
            if server.kind == "redis":
                self.skipTest("always writes its own version")
            steps = ((("SET", "a", "b"), b"REDIS0009"), (("XADD", "x", "*", "f", "v"), b"REDIS0010"),
                     (("RENAME", "x", "y"), b"REDIS0010"), (("MOVE", "y", 5), b"REDIS0010"),
                     (("SWAPDB", 5, 6), b"REDIS0010"), (("FLUSHALL",), b"REDIS0009"),
                     (("XGROUP", "CREATE", "x", "g", "$", "MKSTREAM"), b"REDIS0010"), (("SET", "x", "y"), b"REDIS0009"),
                     (("SORT", "none", "STORE", "x"), b"REDIS0009"))
            for command, head in steps:
                conn.call(*command)
                self.assertEqual(conn.call("SAVE"), "OK")
                with open(file_of(server), "rb") as file:
                    self.assertEqual(file.read(9), head, command)
                self.check(file_of(server))


class Commands(Case):
    def test_saving(self):
        self.assertEqual(bgsave(self.call), "Background saving started")
        self.assertEqual(self.call("SAVE"), "OK")
        self.assertAlmostEqual(self.call("LASTSAVE"), int(self.call("TIME")[0]), delta=5)
        fields = info(self.call)
        self.assertEqual(fields["rdb_last_bgsave_status"], "ok")
        self.assertEqual(fields["rdb_changes_since_last_save"], "0")

    def test_errors(self):
        for words, error in ((("SAVE", "x"), "ERR wrong number of arguments for 'save' command"),
                             (("BGSAVE", "x"), "ERR syntax error"),
                             (("BGSAVE", "SCHEDULE", "x"), "ERR syntax error"),
                             (("LASTSAVE", "x"), "ERR wrong number of arguments for 'lastsave' command")):
            self.assertEqual(self.call(*words), Error(error))

    def test_changes_during_a_save_count_for_the_next(self):
        self.call("SET", "a", 1)
        self.assertEqual(self.call("SAVE"), "OK")
        self.call("SET", "a", 2)
        self.call("SET", "a", 3)
        self.assertEqual(info(self.call)["rdb_changes_since_last_save"], "2")

    def test_save_points_beyond_the_limit_are_refused_and_not_forgotten(self):
        if self.server.kind == "redis":
            self.skipTest("Redis has no limit")
        most = " ".join("%d %d" % (1000 + n, 1 + n) for n in range(64))
        self.assertEqual(self.call("CONFIG", "SET", "save", most), "OK")
        self.assertEqual(self.call("CONFIG", "SET", "save", most + " 9 9"), Error(
            "ERR CONFIG SET failed (possibly related to argument 'save') - more than 64 save points"))
        self.assertEqual(self.call("CONFIG", "GET", "save"), [b"save", most.encode()])
        self.assertEqual(self.call("CONFIG", "SET", "save", ""), "OK")

    def test_file_name_is_no_path(self):
        self.assert_error(self.call("CONFIG", "SET", "dbfilename", "a/b"), "ERR CONFIG SET failed")


class Reload(Case):
    args = ("--enable-debug-command", "yes")

    def test_reload_brings_everything_back(self):
        fill(self.call)
        self.call("SET", "volatile", 1, "PXAT", 4102444800000)
        before = everything(self.call)
        self.assertEqual(self.call("DEBUG", "RELOAD"), "OK")
        self.assertEqual(everything(self.call), before)
        self.assertEqual(info(self.call)["rdb_changes_since_last_save"], "0")

    def test_reload_as_it_is_told(self):
        self.call("SET", "a", 1)
        self.call("SAVE")
        self.call("SET", "a", 2)
        self.call("SET", "b", 2)
        self.assertEqual(self.call("DEBUG", "RELOAD", "NOSAVE", "NOFLUSH", "MERGE"), "OK")
        self.assertEqual(self.call("MGET", "a", "b"), [b"1", b"2"])
        self.assertEqual(self.call("DEBUG", "RELOAD", "NOSAVE"), "OK")
        self.assertEqual(self.call("MGET", "a", "b"), [b"1", None])
        self.assertEqual(self.call("DEBUG", "RELOAD", "x"), Error(
            "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options."))

    def test_a_restart_brings_everything_back(self):
        with Server("--save", "3600 1000") as server, server.connect() as conn:
            fill(conn.call)
            before = everything(conn.call)
            conn.close()
            server.restart()
            with server.connect() as again:
                self.assertEqual(everything(again.call), before)


class Points(Case):
    def test_a_save_point_saves(self):
        with Server("--save", "1 2") as server, server.connect() as conn:
            conn.call("SET", "a", 1)
            conn.call("SET", "b", 1)
            wait_until(lambda: os.path.exists(file_of(server)), 20, "the file")
            wait_until(lambda: info(conn.call)["rdb_changes_since_last_save"] == "0", 10, "the end")

    def test_the_end_saves_as_it_is_told(self):
        for words, points, is_saved_then in ((("SHUTDOWN",), "", False), (("SHUTDOWN",), "3600 1000", True),
                                             (("SHUTDOWN", "SAVE"), "", True),
                                             (("SHUTDOWN", "NOSAVE"), "3600 1000", False)):
            server = Server("--save", points)
            server.start()
            with server.connect() as conn:
                conn.call("SET", "a", 1)
                conn.send_command(*words)
                server.process.wait(30)
            self.assertEqual(os.path.exists(file_of(server)), is_saved_then, words)
            server.remove()

    def test_a_signal_saves_when_there_are_points(self):
        server = Server("--save", "3600 1000")
        server.start()
        with server.connect() as conn:
            conn.call("SET", "a", 1)
        server.stop()
        self.assertTrue(os.path.exists(file_of(server)))
        server.remove()


class Failure(Case):
    def test_a_failed_save_stops_writes_and_leaves_the_old_file(self):
        with Server("--save", "3600 1000") as server, server.connect() as conn:
            conn.call("SET", "a", 1)
            os.mkdir(file_of(server))
            open(os.path.join(file_of(server), "x"), "w").close()
            bgsave(conn.call)
            self.assertEqual(info(conn.call)["rdb_last_bgsave_status"], "err")
            self.assertEqual(temp_files(server), [])
            for words in (("SET", "a", 2), ("PING",), ("DEL", "a")):
                self.assertEqual(conn.call(*words), Error(MISCONF))
            self.assertEqual(conn.call("GET", "a"), b"1")
            self.assertEqual(conn.call("SAVE").strip(), "ERR")
            self.assertEqual(conn.call("SHUTDOWN"), Error("ERR Errors trying to SHUTDOWN. Check logs."))
            conn.call("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
            self.assertEqual(conn.call("SET", "a", 2), "OK")
            conn.call("CONFIG", "SET", "stop-writes-on-bgsave-error", "yes")
            shutil.rmtree(file_of(server))
            bgsave(conn.call)
            self.assertEqual(conn.call("SET", "a", 3), "OK")

    def test_a_name_that_no_file_can_have_is_not_cut_to_one_that_is(self):
        with Server("--enable-protected-configs", "yes") as server, server.connect() as conn:
            conn.call("SET", "a", 1)
            self.assertEqual(conn.call("CONFIG", "SET", "dbfilename", "long" * 75), "OK")
            before = sorted(os.listdir(server.directory))
            self.assertEqual(conn.call("SAVE").strip(), "ERR")
            bgsave(conn.call)
            self.assertEqual(info(conn.call)["rdb_last_bgsave_status"], "err")
            self.assertEqual(sorted(os.listdir(server.directory)), before)
            self.assertEqual(conn.call("CONFIG", "SET", "dbfilename", "dump.rdb"), "OK")
            self.assertEqual(conn.call("SAVE"), "OK")

    def test_a_snapshot_is_not_called_like_a_file_of_this_process(self):
        """It would be written in place, and a save that is cut short would have destroyed it."""
        with Server("--enable-protected-configs", "yes") as server, server.connect() as conn:
            if server.kind == "redis":
                self.skipTest("Redis writes it in place")
            for name in ("temp-%d.rdb", "temp-%d-7.rdb"):
                name %= server.process.pid
                self.assertEqual(conn.call("CONFIG", "SET", "dbfilename", name), Error(
                    "ERR CONFIG SET failed (possibly related to argument 'dbfilename') - "
                    "dbfilename can't be the name of a temporary file of this process"))
            self.assertEqual(conn.call("CONFIG", "SET", "dbfilename", "temp-%d.rdb.old" % server.process.pid), "OK")

    def test_a_link_in_the_place_of_the_temporary_file_is_not_followed(self):
        with Server() as server, server.connect() as conn:
            if server.kind == "redis":
                self.skipTest("Redis writes to where it leads")
            target = os.path.join(server.directory, "precious")
            with open(target, "w", encoding="ascii") as file:
                file.write("untouched")
            link = os.path.join(server.directory, "temp-%d.rdb" % server.process.pid)
            os.symlink(target, link)
            self.assertEqual(conn.call("SAVE").strip(), "ERR")
            self.assertIn("Too many levels of symbolic links", server.log_tail())
            with open(target, encoding="ascii") as file:
                self.assertEqual(file.read(), "untouched")
            os.unlink(link)
            self.assertEqual(conn.call("SAVE"), "OK")

    def test_a_file_that_may_not_grow_is_a_failed_save(self):
        """A limit of the process is told as an error, not with a signal that ends it."""
        with Server("--save", "3600 1000") as server, server.connect() as conn:
            before_value = random.Random(1).randbytes(50000)
            conn.call("SET", "a", before_value)
            self.assertEqual(conn.call("SAVE"), "OK")
            with open(file_of(server), "rb") as file:
                before = file.read()
            conn.call("SET", "b", random.Random(2).randbytes(50000))
            limit = resource.RLIM_INFINITY
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (60000, limit))
            bgsave(conn.call)
            self.assertEqual(info(conn.call)["rdb_last_bgsave_status"], "err")
            self.assertEqual(conn.call("SET", "a", 1), Error(MISCONF))
            if server.kind == "ouro":
                self.assertEqual(conn.call("SAVE").strip(), "ERR")
                resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (10, limit))
                self.assertEqual(conn.call("SAVE").strip(), "ERR")  # Nor can the log.
                self.assertEqual(conn.call("GET", "a"), before_value)
            self.assertEqual(temp_files(server), [])
            with open(file_of(server), "rb") as file:
                self.assertEqual(file.read(), before)
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (limit, limit))
            self.assertEqual(conn.call("SAVE"), "OK")
            self.assertEqual(conn.call("SET", "a", 1), "OK")

    def test_a_folder_that_was_made_again_is_the_folder(self):
        with Server("--enable-protected-configs", "yes", "--enable-debug-command", "yes") as server, \
                server.connect() as conn:
            if server.kind == "redis":
                self.skipTest("Redis saves into the one that is gone")
            folder = os.path.join(server.directory, "data")
            os.mkdir(folder)
            self.assertEqual(conn.call("CONFIG", "SET", "dir", folder), "OK")
            conn.call("SET", "a", 1)
            os.rmdir(folder)
            self.assertEqual(conn.call("DEBUG", "RELOAD").strip(), "ERR")
            self.assertEqual(conn.call("GET", "a"), b"1")
            os.mkdir(folder)
            self.assertEqual(conn.call("DEBUG", "RELOAD"), "OK")
            self.assertEqual(conn.call("GET", "a"), b"1")
            self.assertEqual(os.listdir(folder), ["dump.rdb"])
            self.assertEqual(conn.call("CONFIG", "SET", "dir", server.directory), "OK")

    def test_scripts_that_may_write_are_refused_before_they_begin(self):
        library = """#!lua name=lib
            redis.register_function('writes', function(keys) return redis.call('set', keys[1], 1) end)
            redis.register_function{function_name='reads', callback=function() return 1 end, flags={'no-writes'}}"""
        with Server("--save", "3600 1000") as server, server.connect() as conn:
            conn.call("SET", "a", 1)
            conn.call("FUNCTION", "LOAD", library)
            os.mkdir(file_of(server))
            open(os.path.join(file_of(server), "x"), "w").close()
            bgsave(conn.call)
            for words in (("EVAL", "#!lua\nreturn 1", 0), ("FCALL", "writes", 1, "a"), ("FCALL", "writes", 0)):
                self.assertEqual(conn.call(*words), Error(MISCONF), words)
            for words in (("EVAL", "#!lua flags=no-writes\nreturn 1", 0), ("FCALL", "reads", 0), ("EVAL", "return 1", 0),
                          ("FCALL_RO", "reads", 0)):
                self.assertEqual(conn.call(*words), 1, words)
            self.assertIn(MISCONF + " script: ", conn.call("EVAL", "return redis.call('set', 'a', 1)", 0))
            shutil.rmtree(file_of(server))
            bgsave(conn.call)
            self.assertEqual(conn.call("FCALL", "writes", 1, "a"), "OK")

    def test_a_snapshot_that_is_named_like_a_stray_is_none(self):
        with Server("--dbfilename", "temp-999999999.rdb") as server:
            with server.connect() as conn:
                conn.call("SET", "a", 1)
                self.assertEqual(conn.call("SAVE"), "OK")
            server.restart()
            with server.connect() as conn:
                wait_until(lambda: info(conn.call)["loading"] == "0")
                self.assertEqual(conn.call("GET", "a"), b"1")

    def test_strays_of_a_crash_are_removed_at_start(self):
        server = Server()
        if server.kind == "redis":
            self.skipTest("Redis leaves them")
        names = ("temp-999999999.rdb", "temp-x.rdb", "temp-1234.rdbx")
        for name in names:
            open(os.path.join(server.directory, name), "w").close()
        with server:
            self.assertEqual(sorted(temp_files(server)), sorted(names[1:]))


KINDS = 7


class Writer(threading.Thread):
    """Changes everything at random until it is told to stop. While `may_go` is clear it stands still, with
    no command under way: a pause would leave a COPY in its middle, and whoever reads its key waits with it."""

    def __init__(self, server, seed, may_go):
        super().__init__()
        self.may_go, self.is_still = may_go, False
        self.conn = server.connect()
        self.rng = random.Random(seed)
        self.is_stopping = False
        self.count = 0

    def run(self):
        while not self.is_stopping:
            if not self.may_go.is_set():
                self.is_still = True
                self.may_go.wait()
                self.is_still = False
            commands = [random_command(self.rng) for _ in range(100)]
            for command in commands:
                self.conn.send_command(*command)
            for _ in commands:
                self.conn.read()
            self.count += len(commands)
        self.conn.close()


def random_command(rng):
    key = "%s%d" % ("slhzbtx"[rng.randrange(KINDS)], rng.randrange(4 if rng.randrange(3) == 0 else 300))
    other = "%s%d" % (key[0], rng.randrange(300))
    field, text = "f%d" % rng.randrange(2000), "v" * rng.randrange(60) + str(rng.randrange(1000))
    entry = "%d-1" % rng.randrange(20000)
    by_kind = {
        "s": [("SADD", key, field, text), ("SREM", key, field), ("SPOP", key), ("SMOVE", key, other, field)],
        "l": [("RPUSH", key, text, field), ("LPUSH", key, text), ("LPOP", key), ("RPOP", key, 3),
              ("LINSERT", key, "BEFORE", text, field), ("LREM", key, 1, text), ("LTRIM", key, 1, -2),
              ("LSET", key, 0, text), ("LMOVE", key, other, "LEFT", "RIGHT")],
        "h": [("HSET", key, field, text), ("HDEL", key, field), ("HINCRBY", key, "n", 1)],
        "z": [("ZADD", key, rng.random(), field), ("ZREM", key, field), ("ZPOPMIN", key),
              ("ZINCRBY", key, 2, field), ("ZREMRANGEBYRANK", key, 0, 1)],
        "b": [("SETBIT", key, rng.randrange(4000), 1), ("APPEND", key, text), ("SETRANGE", key, 5, text)],
        "t": [("SET", key, text), ("INCR", "n"), ("GETDEL", key), ("SET", key, text, "PX", 1 + rng.randrange(300))],
        "x": [("XADD", key, "*", field, text), ("XDEL", key, entry), ("XTRIM", key, "MAXLEN", "~", 5000),
              ("XGROUP", "CREATE", key, "g%d" % rng.randrange(3), 0, "MKSTREAM"), ("XTRIM", key, "MINID", entry),
              ("XGROUP", "DELCONSUMER", key, "g1", "c%d" % rng.randrange(5)), ("XGROUP", "DESTROY", key, "g2"),
              ("XREADGROUP", "GROUP", "g1", "c%d" % rng.randrange(5), "COUNT", 5, "STREAMS", key, ">"),
              ("XACK", key, "g1", entry, "%d-1" % rng.randrange(20000)), ("XCLAIM", key, "g1", "c1", 0, entry)],
    }[key[0]]
    general = [("DEL", key), ("RENAME", key, other), ("COPY", key, other, "REPLACE"),
               ("PEXPIRE", key, rng.randrange(2000) + 1), ("PERSIST", key), ("MOVE", key, 1), ("SWAPDB", 0, 1),
               ("UNLINK", key)]
    rare = [("FLUSHDB",), ("FLUSHALL",)]
    draw = rng.randrange(1000)
    return rng.choice(rare) if draw == 0 else rng.choice(general) if draw < 80 else rng.choice(by_kind)


class PointInTime(Case):
    """While writers change everything, a save begins inside a transaction of sorts: the writers stand still,
    the state is read, the save begins, and they go on."""

    def large(self, conn):
        for number in range(0, 20000, 500):
            span = range(number, number + 500)
            conn.call("HSET", "h1", *[word for n in span for word in ("f%d" % n, "v%d" % n)])
            conn.call("SADD", "s1", *["f%d" % n for n in span])
            conn.call("ZADD", "z1", *[word for n in span for word in (n, "f%d" % n)])
            conn.call("RPUSH", "l1", *["v%d" % n for n in span])
            conn.pipeline([("XADD", "x1", "%d-1" % (n + 1), "f%d" % (n % 3), "v%d" % n) for n in span])
        conn.call("XGROUP", "CREATE", "x1", "g1", 0)
        for number in range(5):
            conn.call("XREADGROUP", "GROUP", "g1", "c%d" % number, "COUNT", 2000, "STREAMS", "x1", ">")

    def test_the_file_is_the_state_at_the_beginning(self):
        if self.server.kind == "redis":
            self.skipTest("there is no walk")
        for seed in range(2):
            with Server("--rdb-save-cpu-percent", "3") as server, server.connect() as conn:
                self.large(conn)
                may_go = threading.Event()
                may_go.set()
                writers = [Writer(server, seed * 10 + number, may_go) for number in range(2)]
                for writer in writers:
                    writer.start()
                wait_until(lambda: all(writer.count > 500 for writer in writers), 30, "some writes")
                may_go.clear()
                wait_until(lambda: all(writer.is_still for writer in writers), 60, "writers that stand still")
                before = everything(conn.call)
                self.assertEqual(conn.call("BGSAVE"), "Background saving started")
                may_go.set()
                wait_until(lambda: is_saved(conn.call), 60, "the end of the save")
                fields = info(conn.call)
                for writer in writers:
                    writer.is_stopping = True
                    writer.join()
                self.assertEqual(fields["rdb_last_bgsave_status"], "ok", server.log_tail())
                self.compare(server, before)

    def compare(self, server, before):
        with load_in_redis(file_of(server)) as redis, redis.connect() as other:
            after = everything(other.call)
        # What has expired since, or while it was read (-2), is not loaded.
        missing = {name: value for name, value in before.items() if after.get(name) != value}
        self.assertTrue(all(value[-1] != -1 for value in missing.values()), missing.keys())
        self.assertEqual(set(after) - set(before), set())


class Crash(Case):
    def test_a_crash_leaves_the_old_file_or_the_new_one(self):
        """OURO_CRASHES sets how often the server is killed."""
        rng = random.Random(int(os.environ.get("OURO_SEED", "4")))
        server = Server("--rdb-save-incremental-fsync", "yes")
        server.start()
        for round_number in range(int(os.environ.get("OURO_CRASHES", "6"))):
            with server.connect() as conn:
                for number in range(0, 20000, 1000):
                    conn.call("MSET", *[word for n in range(number, number + 1000)
                                        for word in ("key:%d" % n, "%d:%d" % (round_number, n))])
                conn.call("BGSAVE")
                progress = rng.randrange(20000)
                wait_until(lambda: is_saved(conn.call) or int(
                    info(conn.call)["current_save_keys_processed"]) >= progress, 30, "some progress")
            server.kill()
            if os.path.exists(file_of(server)):
                result = subprocess.run(["redis-check-rdb", file_of(server)], capture_output=True, text=True,
                                        timeout=60)
                self.assertEqual(result.returncode, 0, result.stdout)
                self.assertTrue(re.search(r"20000 keys read", result.stdout), result.stdout)
            server.start()
            if server.kind == "ouro":
                self.assertEqual(temp_files(server), [])
        server.stop()
        server.remove()


if __name__ == "__main__":
    main()
