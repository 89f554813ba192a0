#!/usr/bin/python3
"""Sends the same random commands to redis-server and to Ouro and demands the same bytes.

usage: differential.py [--count N] [--families strings,keys,...] [--round N] [--seed N]

Commands come from generators/*.py in rounds of ROUND_COMMANDS; a round starts with a flush and a
new connection and ends by reading every key, so that a difference in state shows even if no reply
did; then all keys travel as DUMP payloads, each server's to the other, and redis-server says by
DEBUG DIGEST-VALUE whether what arrives is what it has. The digests of both servers must be equal
too, of each key and of everything.

Within a round commands go out in pipelined batches; each batch ends in a token that ECHO sends
back. Where the bytes of a whole batch are equal nothing is parsed, which is the common case and why
a million commands take minutes. Otherwise the replies are compared one by one after taking
away what may differ, which is listed below and nothing else.

A difference is shrunk: commands are left out while the servers still disagree. What is printed
replays with redis-cli, and the round replays with the seed: OURO_SEED=n differential.py --round r.

Commands that Ouro does not know by COMMAND INFO are not sent; their names are printed.
"""
import argparse
import collections
import importlib
import itertools
import os
import pkgutil
import random
import selectors
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "integration"), HERE]

import generators  # noqa: E402
from generators.words import KEYS, Words  # noqa: E402
from harness import Conn, Error, Server, as_bytes, encode, finish, parse  # noqa: E402

ROUND_COMMANDS = 5000
BATCH_COMMANDS = 500
EXCHANGE_SECONDS = 60
SHRINK_SECONDS = 15
DIFFERENCES_MAX = 10

# What may differ, by the command's name (and subcommand).
# A number that depends on when it was asked may be off by so much.
TOLERANCES = {"ttl": 5, "pttl": 5000, "expiretime": 5, "pexpiretime": 5000, "object idletime": 60}
# The order of elements is nobody's promise.
UNORDERED = {"keys", "scan", "smembers", "spop", "sinter", "sunion", "sdiff", "hkeys", "hvals"}
UNORDERED_PAIRS = {"hgetall"}
# Only the kind of the reply is compared: chance, the clock, the process or (object refcount: Redis
# shares small integers) the allocation decides its content, and each server writes its own form of the
# dump format.
KIND_ONLY = {"dump", "object refcount", "randomkey", "srandmember", "hrandfield", "zrandmember", "time",
             "client id", "client info", "client list", "command count", "info"}
# Redis 7.2 packs short lists and sets, this one may be older; and its SORT unpacks sorted sets. (Its
# name, ours.)
NEWER_ENCODINGS = {(b"quicklist", b"listpack"), (b"hashtable", b"listpack"), (b"skiplist", b"listpack")}
# Fields of XINFO that tell of clocks or of the tree inside; the last two came with Redis 7.2.
XINFO_MASKED = {b"idle", b"seen-time", b"radix-tree-keys", b"radix-tree-nodes", b"inactive", b"active-time"}
CLOCKS_FROM = 10 ** 11  # Numbers in XINFO that are times in milliseconds.
# Fields of HELLO that name the process.
HELLO_MASKED = {b"id", b"version"}


# ------------------------------------------------------------------------------------- generating


def load_families(names, left_out=()):
    """[(cumulative weight)...], [function...] of the chosen families."""
    weights, functions = [], []
    found = sorted(module.name for module in pkgutil.iter_modules(generators.__path__))
    for name in found:
        module = importlib.import_module("generators." + name)
        if hasattr(module, "COMMANDS") and (not names or name in names) and name not in left_out:
            for weight, function in module.COMMANDS:
                weights.append(weight)
                functions.append(function)
    if not functions:
        sys.exit("no such family; there are: " + ", ".join(found))
    return list(itertools.accumulate(weights)), functions


READ_BACK = [("TYPE",), ("GET",), ("PTTL",), ("OBJECT", "ENCODING"), ("LRANGE", 0, -1),
             ("SMEMBERS",),
             ("HGETALL",), ("ZRANGE", 0, -1, "WITHSCORES"), ("XRANGE", "-", "+")]


def read_back(key):
    for command in READ_BACK:
        if command[0] == "OBJECT":
            yield (*command, key)
        else:
            yield (command[0], key, *command[1:])


class Rounds:
    """The commands of round N depend on the seed, N and the families, on nothing else."""

    def __init__(self, seed, families, vocabulary, left_out=()):
        self.seed = seed
        self.weights, self.functions = load_families(families, left_out)
        self.vocabulary = vocabulary

    def commands(self, number):
        rng = random.Random("%d:%d" % (self.seed, number))
        words, commands = Words(rng), []
        for function in rng.choices(self.functions, cum_weights=self.weights, k=ROUND_COMMANDS):
            made = function(words)
            commands += made if isinstance(made, list) else [made]
        for database in range(DATABASES):
            commands.append(("SELECT", database))
            for key in KEYS:
                commands += read_back(key)
        return [command for command in commands if self.vocabulary.knows(command)]


class Vocabulary:
    """Which commands both servers have."""

    def __init__(self, conn, redis):
        self.conn = conn
        self.redis = redis
        self.cache = {}
        self.missing = set()

    def knows(self, command):
        name = command[0]
        if name not in self.cache:
            absent = ([None], [[]])
            lacks = self.conn.call("COMMAND", "INFO", name) in absent
            lacks = lacks and self.redis.call("COMMAND", "INFO", name) not in absent
            self.cache[name] = not lacks
            if lacks:
                self.missing.add(name.upper())
        return self.cache[name]


# ------------------------------------------------------------------------------------- exchanging


class Pair:
    """A connection to each server; both get the same bytes at the same time."""

    def __init__(self, servers):
        self.conns = [server.connect() for server in servers]
        self.tokens = itertools.count(1)
        self.exchange([("FLUSHALL",)])

    def close(self):
        for conn in self.conns:
            conn.close()

    def exchange(self, commands):
        """The bytes with which each server answers `commands`."""
        token = b"token-%d" % next(self.tokens)
        ending = b"$%d\r\n%s\r\n" % (len(token), token)
        request = b"".join([encode(*command) for command in commands])
        request += encode("DISCARD") + encode("ECHO", token)  # MULTI would queue it.
        flows = [Flow(conn, request, ending) for conn in self.conns]
        with selectors.DefaultSelector() as selector:
            for flow in flows:
                selector.register(flow.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, flow)
            deadline = time.monotonic() + EXCHANGE_SECONDS
            while any(not flow.done for flow in flows):
                for key, events in selector.select(1):
                    key.data.advance(events)
                    if key.data.done:
                        selector.unregister(key.fileobj)
                    elif key.data.sent:
                        selector.modify(key.fileobj, selectors.EVENT_READ, key.data)
                if time.monotonic() > deadline:
                    break
        return [flow.answer() for flow in flows]


class Flow:
    """One direction of an exchange: sends and receives at once, so that neither side waits for the
    other."""

    def __init__(self, conn, request, ending):
        self.socket = conn.socket
        self.socket.setblocking(False)
        self.request = memoryview(request)
        self.ending = ending
        self.received = bytearray()
        self.done = False
        self.closed = False

    @property
    def sent(self):
        return not self.request

    def advance(self, events):
        try:
            if events & selectors.EVENT_WRITE and self.request:
                self.request = self.request[self.socket.send(self.request):]
            if events & selectors.EVENT_READ:
                data = self.socket.recv(1 << 20)
                self.received += data
                self.closed = not data
        except BlockingIOError:
            return
        except OSError:
            self.closed = True
        self.done = self.closed or self.received.endswith(self.ending)

    def answer(self):
        if self.received.endswith(self.ending):
            replies = bytes(self.received[:-len(self.ending)])
            for discarded in (b"-ERR DISCARD without MULTI\r\n", b"+OK\r\n"):
                if replies.endswith(discarded):
                    return replies[:-len(discarded)]
            return replies
        return bytes(self.received) + (b"-(closed)\r\n" if self.closed else b"-(no reply)\r\n")


# -------------------------------------------------------------------------------------- comparing


def split(data):
    """The replies in `data`: [(bytes, value)...]; what is no whole reply comes last with an
    Error."""
    replies, at = [], 0
    while at < len(data):
        try:
            value, end = parse(data, at)
        except (ValueError, IndexError, KeyError):
            replies.append((data[at:], Error("not a whole reply")))
            break
        replies.append((data[at:end], value))
        at = end
    return replies


def name_of(command):
    name = as_bytes(command[0]).lower().decode("latin-1")
    if name in ("object", "client", "command") and len(command) > 1:
        name += " " + as_bytes(command[1]).lower().decode("latin-1")
    return name


def agree(command, theirs, ours):
    """Whether two replies to `command` are the same but for what may differ."""
    if ours[0] == theirs[0]:
        return True
    if ours[0][:1] != theirs[0][:1] or ours[0][:1] == b"-":
        return False
    name, left, right = name_of(command), theirs[1], ours[1]
    if name in KIND_ONLY:
        return True
    if name in TOLERANCES:
        return both_near(left, right, TOLERANCES[name])
    if name in ("scan", "sscan"):
        return left[0] == right[0] and sorted(left[1]) == sorted(right[1])
    if name == "hscan":
        return left[0] == right[0] and sorted(pairs(left[1])) == sorted(pairs(right[1]))
    if name in UNORDERED:
        return sorted(left) == sorted(right)
    if name in ("sort", "sort_ro") and isinstance(left, list):
        # Equal elements of a set come in any order; ALPHA compares up to a NUL byte.
        alike = "BY" in command or [until_nul(item) for item in left] == [until_nul(item) for item in right]
        is_cut = "LIMIT" in command  # Which of equal elements it cuts off is nobody's promise either.
        return alike and (is_cut or sorted(left, key=repr) == sorted(right, key=repr))
    if name.startswith(("geosearch", "georadius")) and isinstance(left, list):
        return agree_on_places(command, left, right)
    if name in UNORDERED_PAIRS:
        return sorted(pairs(left)) == sorted(pairs(right))
    if name == "hello":
        return masked(left) == masked(right)
    if name == "xinfo":
        return without_clocks(left) == without_clocks(right)
    if name == "xpending":
        return without_idle(left) == without_idle(right)
    if name == "object encoding":
        return (left, right) in NEWER_ENCODINGS
    return False


def agree_on_places(command, left, right):
    """Places that are equally far come in any order, and COUNT takes any of them."""
    if "WITHDIST" in command and [item[1] for item in left] != [item[1] for item in right]:
        return False
    is_cut = "COUNT" in command
    return len(left) == len(right) and (is_cut or sorted(left, key=repr) == sorted(right, key=repr))


def without_clocks(value):
    """XINFO's replies without what may differ."""
    if isinstance(value, dict):
        return {key: without_clocks(item) for key, item in value.items() if key not in XINFO_MASKED}
    if isinstance(value, int):
        return None if value >= CLOCKS_FROM else value
    if not isinstance(value, list):
        return value
    items = iter(value)
    kept = []
    for item in items:
        if isinstance(item, bytes) and item in XINFO_MASKED:
            next(items, None)
        else:
            kept.append(without_clocks(item))
    return kept


def without_idle(value):
    """XPENDING's replies: [id, consumer, idle time, deliveries] for each entry."""
    if not isinstance(value, list):
        return value
    return [item[:2] + item[3:] if isinstance(item, list) and len(item) == 4 else item for item in value]


def until_nul(item):
    return item.partition(b"\0")[0] if isinstance(item, bytes) else item


def both_near(left, right, tolerance):
    """Negative numbers say `no key` or `no deadline` and are exact."""
    return left >= 0 and right >= 0 and abs(left - right) <= tolerance


def pairs(value):
    return list(value.items()) if isinstance(value, dict) else list(zip(value[::2], value[1::2]))


def masked(value):
    return [(key, None if key in HELLO_MASKED else item) for key, item in pairs(value)]


def first_difference(commands, answers):
    """(index, Redis's bytes, Ouro's bytes) of the first reply that differs, or None."""
    if answers[0] == answers[1]:
        return None
    theirs, ours = split(answers[0]), split(answers[1])
    nothing = (b"(nothing)", Error("nothing"))
    for index, command in enumerate(commands):
        left = theirs[index] if index < len(theirs) else nothing
        right = ours[index] if index < len(ours) else nothing
        if not agree(command, left, right):
            return index, left[0], right[0]
    if len(theirs) != len(ours):
        return len(commands) - 1, answers[0][-200:], answers[1][-200:]
    return None


Difference = collections.namedtuple("Difference", "commands theirs ours")


# ------------------------------------------------------------------------------------- travelling


DATABASES = 3
COPY = b"\0copy"  # Where payloads are restored; no generator makes such a key.
FAR_MS = 1 << 42


def digest(conn, key):
    return conn.call("DEBUG", "DIGEST-VALUE", key)[0]


def arrives(redis, payload, is_volatile):
    """The digest of what redis-server reads from the payload, or its error."""
    answer = redis.call("RESTORE", COPY, FAR_MS if is_volatile else 0, payload, "REPLACE", "ABSTTL")
    return answer if isinstance(answer, Error) else digest(redis, COPY)


def travel(redis, ouro, key):
    """What redis-server gets when Ouro's payload of the key is restored there, and, if that is what it
    has, when its own one comes back by way of Ouro; with what it has."""
    is_volatile = ouro.call("PTTL", key) >= 0
    wanted = digest(redis, key)
    theirs = redis.call("DUMP", key)
    got = arrives(redis, ouro.call("DUMP", key), is_volatile)
    if got == wanted:
        got = ouro.call("RESTORE", COPY, 0, theirs, "REPLACE")
        if not isinstance(got, Error):
            got = arrives(redis, ouro.call("DUMP", COPY), is_volatile)
    for conn in (redis, ouro):
        conn.call("DEL", COPY)
    return wanted, got


def compare_payloads(conns, commands):
    """Send every key in both directions; a Difference, which ends with the DUMP that is wrong, or
    None. A digest knows whether a key is volatile, not when it expires: PTTL was compared before."""
    for database in range(DATABASES):
        for conn in conns:
            conn.call("SELECT", database)
        keys = [set(conn.call("KEYS", "*")) for conn in conns]
        for key in sorted(keys[0] | keys[1]):
            wanted, got = travel(*conns, key) if key in keys[0] & keys[1] else (key in keys[0], key in keys[1])
            command = ("DUMP", key)
            if wanted == got:
                command = ("DEBUG", "DIGEST-VALUE", key)
                wanted, got = [digest(conn, key) for conn in conns]
            if wanted != got:
                return difference_at(commands, [("SELECT", database), command], wanted, got)
    wanted, got = [conn.call("DEBUG", "DIGEST") for conn in conns]
    return None if wanted == got else difference_at(commands, [("DEBUG", "DIGEST")], wanted, got)


def difference_at(commands, ending, wanted, got):
    history = commands if commands[-len(ending):] == ending else commands + ending
    return Difference(history, as_bytes(repr(wanted)), as_bytes(repr(got)))


def play(servers, commands):
    """Run one round; return the Difference, with the commands up to it, or None."""
    pair = Pair(servers)
    try:
        for start in range(0, len(commands), BATCH_COMMANDS):
            batch = commands[start:start + BATCH_COMMANDS]
            found = first_difference(batch, pair.exchange(batch))
            if found is not None:
                index, theirs, ours = found
                return Difference(commands[:start + index + 1], theirs, ours)
    finally:
        pair.close()
    conns = [server.connect() for server in servers]
    try:
        return compare_payloads(conns, commands)
    finally:
        for conn in conns:
            conn.close()


def shrink(servers, difference):
    """Leave out what is not needed: halves first, then smaller pieces, while there is time."""
    deadline = time.monotonic() + SHRINK_SECONDS
    best = difference
    size = len(best.commands) // 2
    while size >= 1 and time.monotonic() < deadline:
        start, is_smaller = 0, False
        while start < len(best.commands) - 1 and time.monotonic() < deadline:
            stop = min(start + size, len(best.commands) - 1)
            shorter = play(servers, best.commands[:start] + best.commands[stop:])
            if shorter is not None and len(shorter.commands) < len(best.commands):
                best, is_smaller = shorter, True
            else:
                start = stop
        if not is_smaller or size > 1:
            size //= 2
    return best


def quoted(word):
    text = "".join(chr(byte) if 32 < byte < 127 and byte not in b"\"\\'" else "\\x%02x" % byte
                   for byte in as_bytes(word)[:200])
    return text if text and "\\" not in text else '"%s"' % text


def show(difference, number, seed):
    print("FAILED round %d of seed %d: OURO_SEED=%d %s --round %d" % (
        number, seed, seed, "tests/compat/differential.py", number))
    for command in difference.commands[-40:]:
        print("    " + " ".join(quoted(word) for word in command))
    print("  redis-server: %.600r" % difference.theirs)
    print("  ouro:         %.600r" % difference.ours, flush=True)


# ------------------------------------------------------------------------------------------- main


def run_rounds(servers, rounds, options):
    sent = failed = played = 0
    numbers = [options.round] if options.round is not None else itertools.count()
    for number in numbers:
        commands = rounds.commands(number)
        difference = play(servers, commands)
        sent += len(commands)
        played += 1
        for server in servers:
            server.check_alive()
        if difference is not None:
            failed += 1
            show(shrink(servers, difference), number, rounds.seed)
        if sent >= options.count or failed >= DIFFERENCES_MAX:
            break
    return sent, played - failed, failed


def rounds_parser(description, count):
    """The options of a run that plays rounds of random commands."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--count", type=int, default=count, help="commands to send")
    parser.add_argument("--families", default="", help="generators to use, comma-separated")
    parser.add_argument("--round", type=int, help="play this round only")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("OURO_SEED", "1")))
    return parser


def read_options(parser):
    options = parser.parse_args()
    options.families = [name for name in options.families.split(",") if name]
    options.count = 0 if options.round is not None else options.count
    print("seed %d" % options.seed)
    return options


def main():
    options = read_options(rounds_parser("The same commands to redis-server and Ouro.", 100000))
    start = time.monotonic()
    debug = ("--enable-debug-command", "yes")
    with Server(*debug, kind="redis") as redis, Server(*debug) as ouro:
        with redis.connect() as redis_conn, ouro.connect() as conn:
            vocabulary = Vocabulary(conn, redis_conn)
            rounds = Rounds(options.seed, options.families, vocabulary)
            sent, passed, failed = run_rounds((redis, ouro), rounds, options)
    if vocabulary.missing:
        print("not sent, unknown to Ouro: " + " ".join(sorted(vocabulary.missing)))
    print("%d commands in %.1f s" % (sent, time.monotonic() - start))
    finish(passed, failed)


if __name__ == "__main__":
    main()
