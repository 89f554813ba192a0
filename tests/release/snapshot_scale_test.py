#!/usr/bin/python3
"""A snapshot of many keys, taken while writers change them, holds what a SAVE wrote just before.

OURO_KEYS sets how many keys there are (20,000 unless set; 5,000,000 take some 3 GiB and a quarter of an
hour). The writers stand still while SAVE writes the first file and BGSAVE begins, then go on until the second
file is there. Both files are loaded by redis-server, one after the other, and what Ouro loads from the second
and saves again is loaded as a third: all have the same digest. Nothing depends on time."""
import os
import random
import shutil
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))

import harness
from harness import Case, Error, Server, main, wait_until

KEYS = int(os.environ.get("OURO_KEYS", "20000"))
LARGE = max(2000, KEYS // 50)       # Elements of each of the large collections.
SMALL = max(200, KEYS // 500)       # Small collections of each kind.
BATCH = 200
WAIT_S = 60 + KEYS // 2000
FAR_MS = 4102444800000              # Keys with an expiry live until 2100.

harness.START_SECONDS = WAIT_S      # Loading counts as starting.


def fill(conn):
    """Strings, some with an expiry; small collections; one large collection of each kind."""
    def send(commands):
        batch = []
        for command in commands:
            batch.append(command)
            if len(batch) == BATCH:
                conn.pipeline(batch)
                batch = []
        conn.pipeline(batch)
    send(("MSET", *[word for n in range(number, min(number + 100, KEYS))
                    for word in ("t:%d" % n, "value-%d-" % n + "v" * (n % 50))])
         for number in range(0, KEYS, 100))
    send(("PEXPIREAT", "t:%d" % number, FAR_MS + number) for number in range(0, KEYS, 10))
    for number in range(0, SMALL, 10):
        send(small_commands(number + n for n in range(10)))
    for first in range(0, LARGE, 500):
        span = range(first, min(first + 500, LARGE))
        send([("HSET", "h:large", *[word for n in span for word in ("f%d" % n, "v%d" % n)]),
              ("SADD", "s:large", *["f%d" % n for n in span]),
              ("ZADD", "z:large", *[word for n in span for word in (n, "f%d" % n)]),
              ("RPUSH", "l:large", *["v%d" % n for n in span])])
        send(("XADD", "x:large", "%d-1" % (n + 1), "f%d" % (n % 5), "text-%d" % n) for n in span)
    conn.call("XGROUP", "CREATE", "x:large", "g", "0")
    for consumer in range(8):
        conn.call("XREADGROUP", "GROUP", "g", "c%d" % consumer, "COUNT", LARGE // 16, "STREAMS", "x:large", ">")


def small_commands(numbers):
    for n in numbers:
        yield ("HSET", "h:%d" % n, "a", n, "b", "text")
        yield ("SADD", "s:%d" % n, n, n + 1, "word")
        yield ("ZADD", "z:%d" % n, n, "one", n / 3, "two")
        yield ("RPUSH", "l:%d" % n, "a", n, "b" * (n % 70))
        yield ("XADD", "x:%d" % n, "1-1", "field", n)


def random_command(rng):
    """Nothing that expires before it is loaded."""
    kind = "tttthslzx"[rng.randrange(9)]
    is_large = kind != "t" and rng.randrange(2) == 0
    key = kind + (":large" if is_large else ":%d" % rng.randrange(KEYS if kind == "t" else SMALL))
    other = "%s:%d" % (kind, rng.randrange(SMALL))
    field, text = "f%d" % rng.randrange(LARGE), "new" * rng.randrange(20) + str(rng.randrange(1000))
    entry = "%d-1" % (1 + rng.randrange(LARGE))
    if rng.randrange(20) == 0 and not is_large:
        return rng.choice([("DEL", key), ("UNLINK", key), ("RENAME", key, other), ("COPY", key, other, "REPLACE"),
                           ("PERSIST", key), ("PEXPIREAT", key, FAR_MS + 5), ("MOVE", key, 1)])
    return rng.choice({
        "t": [("SET", key, text), ("APPEND", key, text), ("SETRANGE", key, 3, text), ("GETDEL", key)],
        "h": [("HSET", key, field, text), ("HDEL", key, field), ("HINCRBY", key, "n", 1)],
        "s": [("SADD", key, field, text), ("SREM", key, field), ("SPOP", key)],
        "l": [("RPUSH", key, text), ("LPOP", key), ("LSET", key, 0, text), ("LSET", key, -1, text), ("RPOP", key)],
        "z": [("ZADD", key, rng.random(), field), ("ZREM", key, field), ("ZINCRBY", key, 2, field)],
        "x": [("XADD", key, "*", "f1", text), ("XDEL", key, entry), ("XACK", key, "g", entry),
              ("XCLAIM", key, "g", "c%d" % rng.randrange(8), 0, entry), ("XTRIM", key, "MAXLEN", "~", LARGE),
              ("XREADGROUP", "GROUP", "g", "c1", "COUNT", 3, "STREAMS", key, ">")],
    }[kind])


class Writer(threading.Thread):
    def __init__(self, server, seed):
        super().__init__(daemon=True)
        self.conn = server.connect(timeout=WAIT_S)
        self.rng = random.Random(seed)
        self.is_stopping = False
        self.count = 0

    def run(self):
        while not self.is_stopping:
            self.conn.pipeline([random_command(self.rng) for _ in range(BATCH)])
            self.count += BATCH


def info(conn):
    lines = conn.call("INFO", "persistence").decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


class Scale(Case):
    def digest(self, path):
        """What redis-server has after loading the file."""
        redis = Server("--enable-debug-command", "yes", "--save", "", "--appendonly", "no", kind="redis")
        shutil.copy(path, os.path.join(redis.directory, "dump.rdb"))
        with redis, redis.connect(timeout=WAIT_S) as conn:
            wait_until(lambda: not isinstance(conn.call("DBSIZE"), Error), WAIT_S, "the end of loading")
            return conn.call("DBSIZE"), conn.call("DEBUG", "DIGEST")

    def save_under_writes(self, server, conn, paths):
        writers = [Writer(server, number) for number in range(2)]
        for writer in writers:
            writer.start()
        wait_until(lambda: all(writer.count > 10 * BATCH for writer in writers), WAIT_S, "some writes")
        conn.call("CLIENT", "PAUSE", 1000 * WAIT_S, "WRITE")
        self.assertEqual(conn.call("SAVE"), "OK")
        shutil.move(os.path.join(server.directory, "dump.rdb"), paths[0])
        before = sum(writer.count for writer in writers)
        self.assertEqual(conn.call("BGSAVE"), "Background saving started")
        conn.call("CLIENT", "UNPAUSE")
        wait_until(lambda: info(conn)["rdb_bgsave_in_progress"] == "0", WAIT_S, "the end of the save")
        written = sum(writer.count for writer in writers) - before
        for writer in writers:
            writer.is_stopping = True
            writer.join()
        self.assertEqual(info(conn)["rdb_last_bgsave_status"], "ok", server.log_tail())
        shutil.move(os.path.join(server.directory, "dump.rdb"), paths[1])
        return written

    def test_many_keys_under_writes(self):
        paths = [os.path.join(self.server.directory, name) for name in ("saved", "under_writes", "again")]
        args = ("--save", "", "--rdb-save-cpu-percent", "10")
        with Server(*args) as server, server.connect(timeout=WAIT_S) as conn:
            fill(conn)
            written = self.save_under_writes(server, conn, paths)
            fields = info(conn)
        second = Server(*args)
        shutil.copy(paths[1], os.path.join(second.directory, "dump.rdb"))
        with second, second.connect(timeout=WAIT_S) as conn:
            wait_until(lambda: not isinstance(conn.call("DBSIZE"), Error), WAIT_S, "the end of loading")
            self.assertEqual(conn.call("SAVE"), "OK")
            shutil.move(os.path.join(second.directory, "dump.rdb"), paths[2])
        digests = [self.digest(path) for path in paths]
        self.assertEqual(digests[1], digests[0])
        self.assertEqual(digests[2], digests[0])
        print("%d keys, %d writes during the walk, %s keys and %s elements told ahead, slice of %s us at most, "
              "%s bytes held at most" % (KEYS, written, fields["rdb_walk_keys_ahead"],
                                         fields["rdb_walk_elements_ahead"], fields["rdb_walk_slice_usec_max"],
                                         fields["rdb_walk_held_bytes_peak"]))


if __name__ == "__main__":
    main()
