"""What tests of replication need: nodes of either kind, waiting for links and offsets, comparing
whole data sets, and a load that uses everything.

    with Group("or") as group:               # o: the server under test, r: redis-server
        primary, replica = group.nodes
        replica.follow(primary)
        wait_in_sync(primary, replica)
        assert_same_data(primary, replica)

The letter `o` stands for what OURO_KIND names, so OURO_KIND=redis runs every test with redis-server
in all roles, which is how to learn whether the test or the server is wrong.

A `Node` has a configuration file of its own, because CONFIG REWRITE (which Sentinel sends) needs
one, and what was rewritten must be there after a restart. `Load` writes from a thread until it is
told to stop: the random commands of tests/compat, and with them all that a differential run cannot
have: short lives, chance, clocks, scripts, consumers that wait."""
import os
import random
import sys
import threading
import time

from harness import STOP_SECONDS, Conn, Error, Server, wait_until

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "compat"))

import differential  # noqa: E402
from generators.words import Words  # noqa: E402

SYNC_SECONDS = 60
REST_SECONDS = 60  # Shorter than the long lives that a load gives.
DATABASES = 16
# No pings in the stream and no link given up on while a test looks at offsets.
QUIET = ("repl-ping-replica-period 3600", "repl-timeout 3600")
SETTINGS = ("repl-diskless-sync yes", "repl-diskless-sync-delay 0", "repl-backlog-size 64mb",
            "client-output-buffer-limit replica 0 0 0")
KINDS = {"r": "redis", "o": None}  # None: as the environment says.


def info_of(conn, *sections):
    """INFO as a dict of texts."""
    text = conn.call("INFO", *sections)
    if isinstance(text, Error):
        raise AssertionError("INFO: " + text)
    lines = text.decode("utf-8", "replace").split("\r\n")
    return dict(line.split(":", 1) for line in lines if ":" in line)


class Node(Server):
    """A server with a connection for the test's own questions. `letter` is `o` or `r`;
    `settings` are lines of its configuration file, after those that all nodes have."""

    def __init__(self, letter, *settings, binary=None):
        lines = list(SETTINGS) + list(settings)
        super().__init__(config="\n".join(lines) + "\n", kind=KINDS[letter],
                         binary=binary if letter == "o" else None)
        self.letter = letter
        self.conn = None

    def start(self):
        super().start()
        self.reconnect()
        return self

    def reconnect(self):
        if self.conn is not None:
            self.conn.close()
        self.conn = self.connect()

    def kill(self):
        if self.conn is not None:
            self.conn.close()
            self.conn = None
        super().kill()

    def shut_down(self, *words):
        """SHUTDOWN with these words, and an end in order. Unlike on SIGTERM there is nothing in the
        stream that the file which is saved lacks."""
        with self.connect() as conn:
            conn.send_command("SHUTDOWN", *words)
            self.process.wait(STOP_SECONDS)
        self.stop()

    def call(self, *words):
        """A reply. Who is demoted, promoted or asked to kill clients closes connections: then it is
        asked anew, so `words` must be what can be said twice."""
        try:
            return self.conn.call(*words)
        except (ConnectionError, BrokenPipeError):
            self.reconnect()
            return self.conn.call(*words)

    def do(self, *words):
        """A reply that is no error."""
        reply = self.call(*words)
        if isinstance(reply, Error):
            raise AssertionError("%s: %s" % (" ".join(map(str, words)), reply))
        return reply

    def info(self, *sections):
        for _ in range(2):
            try:
                return info_of(self.conn, *(sections or ("replication",)))
            except (ConnectionError, BrokenPipeError):
                self.reconnect()
        raise ConnectionError("no INFO from the server at port %d" % self.port)

    def stat(self, name):
        return int(self.info("stats")[name])

    def follow(self, primary, port=None):
        """Become a replica; `port` may be a proxy's. Returns without waiting for the link."""
        return self.do("REPLICAOF", "127.0.0.1", port or primary.port)

    def lead(self):
        return self.do("REPLICAOF", "NO", "ONE")

    def is_up(self):
        return self.info().get("master_link_status") == "up"

    @property
    def offset(self):
        """How much of the history this node has, in bytes."""
        return offset_in(self.info())

    @property
    def full_count(self):
        """Full resynchronisations that this node gave."""
        return self.stat("sync_full")

    @property
    def partial_count(self):
        return self.stat("sync_partial_ok")


def offset_in(facts):
    name = "master_repl_offset" if facts["role"] == "master" else "slave_repl_offset"
    return int(facts[name])


class Group:
    """Nodes by their letters, all started; ended in order when the block ends well, else killed."""

    def __init__(self, letters, *settings, binary=None):
        self.nodes = [Node(letter, *settings, binary=binary) for letter in letters]

    def __enter__(self):
        try:
            for node in self.nodes:
                node.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, kind, error, _trace):
        try:
            if error is None:
                for node in reversed(self.nodes):
                    node.stop()
            else:
                for node in self.nodes:
                    print("--- log of the node at port %s (%s)\n%s" % (
                        node.port, node.kind, node.log_tail()))
        finally:
            self.kill()

    def kill(self):
        for node in self.nodes:
            node.kill()
            node.remove()


# --------------------------------------------------------------------------------------- conditions


def wait_up(*replicas, timeout=SYNC_SECONDS):
    for replica in replicas:
        wait_until(replica.is_up, timeout, "the link of the replica at port %d" % replica.port)


def are_in_sync(primary, replicas):
    """Whether all replicas are connected and have what the primary has written."""
    facts = [replica.info() for replica in replicas]
    if any(one.get("master_link_status") != "up" for one in facts):
        return False
    return {offset_in(one) for one in facts} == {primary.offset}


def wait_in_sync(primary, *replicas, timeout=SYNC_SECONDS):
    """Wait until links are up and offsets equal; nobody may be writing."""
    wait_until(lambda: are_in_sync(primary, replicas), timeout, "equal offsets")


def wait_same_data(primary, *replicas, timeout=SYNC_SECONDS):
    """The same, and then equal data sets. Keys that were about to expire go meanwhile, so it is
    tried until it is true; the last difference is told."""
    deadline = time.monotonic() + timeout
    while True:
        wait_in_sync(primary, *replicas, timeout=timeout)
        try:
            for replica in replicas:
                assert_same_data(primary, replica)
            wait_in_sync(primary, *replicas, timeout=timeout)
            return
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


# ---------------------------------------------------------------------------------------- data sets


READERS = {
    "string": ("GET",), "list": ("LRANGE", 0, -1), "set": ("SMEMBERS",), "hash": ("HGETALL",),
    "zset": ("ZRANGE", 0, -1, "WITHSCORES"), "stream": ("XINFO", "STREAM", "FULL", "COUNT", 0),
}
# What a stream tells of clocks and of the tree inside, and what redis-server 7.0 does not tell its
# own replicas: how many entries a group has read.
UNTOLD = {b"radix-tree-keys", b"radix-tree-nodes", b"seen-time", b"active-time", b"inactive",
          b"entries-read", b"lag"}


def reader(kind, key):
    words = READERS[kind]
    if kind == "stream":
        return (*words[:2], key, *words[2:])
    return (words[0], key, *words[1:])


def told(value):
    """What XINFO STREAM FULL tells, as dicts without what may differ. Of pending entries that is
    when and how often they were delivered: a consumer that reads its own again changes both, and
    neither Redis nor Ouro tells replicas of it."""
    if not isinstance(value, list):
        return value
    is_dict = len(value) % 2 == 0 and value and all(isinstance(key, bytes) for key in value[::2])
    if is_dict and isinstance(value[0], bytes) and value[0] in (b"length", b"name"):
        pairs = zip(value[::2], value[1::2])
        return {key: told(item) for key, item in pairs if key not in UNTOLD}
    if value and isinstance(value[-1], int):
        return [word for word in value if not isinstance(word, int)]
    return [told(item) for item in value]


def comparable(kind, value):
    if isinstance(value, Error):
        return value
    if kind == "set":
        return sorted(value)
    if kind == "hash":
        return dict(value) if isinstance(value, dict) else dict(zip(value[::2], value[1::2]))
    return told(value) if kind == "stream" else value


def data_of(conn):
    """{(database, key): (type, value, deadline)} of all that the server has."""
    found = {}
    keyspace = info_of(conn, "keyspace")
    for name in sorted(keyspace):
        if not name.startswith("db"):
            continue
        database = int(name[2:])
        conn.call("SELECT", database)
        keys = conn.call("KEYS", "*")
        kinds = conn.pipeline([("TYPE", key) for key in keys])
        deadlines = conn.pipeline([("PEXPIRETIME", key) for key in keys])
        present = [(key, kind, deadline) for key, kind, deadline in zip(keys, kinds, deadlines)
                   if kind != "none"]
        values = conn.pipeline([reader(kind, key) for key, kind, _ in present])
        for (key, kind, deadline), value in zip(present, values):
            found[database, key] = (kind, comparable(kind, value), deadline)
    conn.call("SELECT", 0)
    return found


def libraries_of(conn):
    """The source of each library of functions."""
    listed = conn.call("FUNCTION", "LIST", "WITHCODE")
    named = [dict(zip(one[::2], one[1::2])) for one in listed]
    return {one[b"library_name"]: one[b"library_code"] for one in named}


def first_difference(left, right, path=""):
    """Where two values differ first, and in what."""
    if isinstance(left, dict) and isinstance(right, dict) and set(left) == set(right):
        parts = [(key, left[key], right[key]) for key in left]
    elif isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)) and (
            len(left) == len(right)):
        parts = [(index, *both) for index, both in enumerate(zip(left, right))]
    else:
        return "%s: %.300r but %.300r" % (path, left, right)
    return next((first_difference(one, other, "%s[%r]" % (path, name))
                 for name, one, other in parts if one != other), "nothing")


def assert_same_data(left, right):
    """Every key of every database: type, value and deadline; and the libraries of functions."""
    with left.connect() as first, right.connect() as second:
        one, other = data_of(first), data_of(second)
        differing = [key for key in sorted(set(one) | set(other)) if one.get(key) != other.get(key)]
        if differing:
            shown = "\n".join("%r: %s" % (key, first_difference(one.get(key), other.get(key)))
                              for key in differing[:3])
            raise AssertionError("%d of %d keys differ, for example\n%s" % (
                len(differing), len(one), shown))
        if libraries_of(first) != libraries_of(second):
            raise AssertionError("the libraries of functions differ")


# --------------------------------------------------------------------------------------------- load


LIBRARY = """#!lua name=load
redis.register_function('load_add', function(keys, args)
  redis.call('rpush', keys[1], args[1])
  redis.call('ltrim', keys[1], -20, -1)
  return redis.call('incr', keys[2])
end)
redis.register_function('load_lot', function(keys, args)
  redis.call('sadd', keys[1], unpack(args))
  return redis.call('spop', keys[1], 2)
end)
"""
SCRIPT = """
local at = redis.call('time')
redis.call('set', KEYS[1], at[2], 'px', ARGV[1])
redis.call('zadd', KEYS[2], at[1], at[2])
redis.call('zremrangebyrank', KEYS[2], 0, -50)
if redis.call('exists', KEYS[3]) == 1 then return redis.call('spop', KEYS[3]) end
return redis.call('sadd', KEYS[3], ARGV[1], at[2])
"""


def own_key(words):
    return b"own:%d" % words.below(12)


def script(words):
    if words.chance(0.5):
        return [("EVAL", SCRIPT, 3, b"s:%d" % words.below(5), b"sz", b"ss",
                 words.one_of([20, 200, 100000]))]
    if words.chance(0.5):
        return [("FCALL", "load_add", 2, b"fl", b"fn", words.below(1000))]
    return [("FCALL", "load_lot", 1, b"fs", *range(words.below(9) + 1))]


def group(words):
    """A stream whose entries are added by the clock, read, claimed and confirmed."""
    name = b"own:stream"
    return words.one_of([
        lambda: [("XADD", name, "MAXLEN", "~", 60, "*", "f", words.below(1000))] * 3,
        lambda: [("XGROUP", "CREATE", name, "g", "$", "MKSTREAM")],
        lambda: [("XREADGROUP", "GROUP", "g", words.one_of(["a", "b"]), "COUNT", 2, "STREAMS", name,
                  ">")],
        lambda: [("XREADGROUP", "GROUP", "g", "n", "COUNT", 2, "NOACK", "STREAMS", name, ">")],
        lambda: [("XAUTOCLAIM", name, "g", "c", 0, "-", "COUNT", 2)],
        lambda: [("XTRIM", name, "MAXLEN", 30)],
        lambda: [("XGROUP", "DELCONSUMER", name, "g", words.one_of(["a", "b", "c"]))],
    ])()


def many(words):
    """A transaction that crosses databases."""
    inner = [("INCR", "own:total"), ("RPUSH", own_key(words), words.value()), ("SELECT", 5),
             ("SET", b"m:%d" % words.below(5), words.value(), "PX", 100000), ("SELECT", 0),
             ("HINCRBYFLOAT", "own:hash", words.below(9), "0.1"), ("SPOP", "ss")]
    chosen = [one for one in inner if words.chance(0.6)]
    return [("MULTI",), *chosen, ("SELECT", 0), ("EXEC",)]


def single(words):
    key = own_key(words)
    return [words.one_of([
        lambda: ("SET", b"t:%d" % words.below(50), words.value(), "PX", 1 + words.below(80)),
        lambda: ("PEXPIRE", words.key(), 1 + words.below(60)),
        lambda: ("GET", b"t:%d" % words.below(50)),
        lambda: ("GETEX", b"t:%d" % words.below(50), "PX", 100000),
        lambda: ("GETSET", b"s:%d" % words.below(5), words.value()),
        lambda: ("INCRBYFLOAT", "own:float", "0.1"),
        lambda: ("SADD", "ss", *range(words.below(30), 40)),
        lambda: ("SPOP", "ss", words.below(5)),
        lambda: ("PUBLISH", "news", words.value()),
        lambda: ("SPUBLISH", "news", words.value()),
        lambda: ("GEOADD", "own:geo", words.below(90), words.below(80), words.below(20)),
        lambda: ("BITFIELD", "own:bits", "INCRBY", "u8", words.below(200), 3),
        lambda: ("LPUSH", words.one_of(["q1", "q2"]), words.below(100)),
        lambda: ("ZADD", "qz", words.below(100), words.below(100)),
        lambda: ("COPY", key, own_key(words), "DB", words.below(3), "REPLACE"),
        lambda: ("MOVE", key, 3),
        lambda: ("SWAPDB", 1, 2),
        lambda: ("FUNCTION", "LOAD", "REPLACE", LIBRARY),
        lambda: ("SET", key, bytes([97 + words.below(26)]) * (words.below(400) * 1024)),
        lambda: ("DEL", key),
    ])()]


def command_batches(seed):
    """Endless lists of commands that belong together, the same for the same seed."""
    words = Words(random.Random(seed))
    weights, functions = differential.load_families([], {"connection"})
    while True:
        draw = words.random()
        if draw < 0.6:
            function = words.rng.choices(functions, cum_weights=weights)[0]
            made = function(words)
            yield made if isinstance(made, list) else [made]
        else:
            yield words.one_of([script, group, many, single, single])(words)


class Load:
    """Writes to a server from threads of its own until the block ends: one that sends random
    commands, one that waits for elements. `sent_count` grows; an error of the connection ends the
    load and is raised at the end, unless `may_break`."""

    def __init__(self, port, seed=1, commands_max=None, pause_s=0.0005, may_break=False):
        self.port = port
        self.seed = seed
        self.commands_max = commands_max
        self.pause_s = pause_s
        self.may_break = may_break
        self.sent_count = 0
        self.error = None
        self.is_over = threading.Event()
        self.threads = [threading.Thread(target=self._guard, args=(work,), daemon=True)
                        for work in (self._write, self._wait)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, _kind, error, _trace):
        self.stop(quietly=error is not None)

    def stop(self, quietly=False):
        self.is_over.set()
        for thread in self.threads:
            thread.join(SYNC_SECONDS)
        if self.error is not None and not self.may_break and not quietly:
            raise self.error

    def wait_for(self, count, timeout=SYNC_SECONDS):
        """Until so many more commands were sent and answered."""
        wanted = self.sent_count + count
        wait_until(lambda: self.sent_count >= wanted or self.error or self.is_finished, timeout,
                   "%d more commands" % count)
        if self.error is not None and not self.may_break:
            raise self.error

    @property
    def is_finished(self):
        return self.commands_max is not None and self.sent_count >= self.commands_max

    def _guard(self, work):
        try:
            with Conn(self.port, timeout=SYNC_SECONDS) as conn:
                work(conn)
        except (OSError, ValueError) as error:
            self.error = error

    def _write(self, conn):
        conn.call("FUNCTION", "LOAD", "REPLACE", LIBRARY)
        for batch in command_batches(self.seed):
            if self.is_over.is_set() or self.is_finished:
                return
            conn.pipeline(batch)
            self.sent_count += len(batch)
            time.sleep(self.pause_s)

    def _wait(self, conn):
        rng = random.Random(self.seed)
        while not self.is_over.is_set() and not self.is_finished:
            conn.call(*rng.choice([
                ("BLPOP", "q1", "q2", "0.05"), ("BRPOP", "q2", "0.05"),
                ("BLMOVE", "q1", "own:moved", "LEFT", "RIGHT", "0.05"),
                ("BZPOPMIN", "qz", "0.05"), ("LTRIM", "own:moved", "-10", "-1"),
                ("BLMPOP", "0.05", 2, "q1", "q2", "LEFT", "COUNT", 2)]))


def load(node, count, seed=1):
    """Send so many commands now, and wait until the clock has nothing to remove for a while: what
    it removes is written into the stream."""
    with Load(node.port, seed, commands_max=count, pause_s=0) as running:
        running.wait_for(count)
    wait_until(lambda: is_at_rest(node), SYNC_SECONDS, "no key about to expire")


def is_at_rest(node):
    soon = (time.time() + REST_SECONDS) * 1000
    with node.connect() as conn:
        for name, facts in info_of(conn, "keyspace").items():
            if not name.startswith("db"):
                continue
            conn.call("SELECT", name[2:])
            keys = conn.call("KEYS", "*")
            if len(keys) != int(facts.split("keys=")[1].split(",")[0]):
                return False
            if any(deadline == -2 or 0 <= deadline < soon
                   for deadline in conn.pipeline([("PEXPIRETIME", key) for key in keys])):
                return False
    return True
