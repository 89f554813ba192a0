#!/usr/bin/env python3
"""Several connections at once, to redis-server and Ouro: transactions, WATCH races, scripts,
blocking commands and consumers of streams must give the same replies to the same connections at the
same steps.

A round is a script of steps. In each, one connection sends one command or a few together; then both
servers come to rest: every connection has got all its replies, or CLIENT LIST says that it is
blocked. What each connection has received since the step before is compared. Since the script waits
for rest, nothing depends on timing; what a step may cause (one push that serves three clients, one
of which feeds a fourth) happens within it.

    step 17: conn 2 sends RPUSH k1 x        conn 2: :1     conn 0: *2 k1 x
                                            conn 4 is blocked

What is drawn next depends on who is blocked, which is the same on both as long as they agree. So a
round is determined by the seed and its number:

    OURO_SEED=1 tests/compat/crowd.py --round 12

prints the steps of that round up to the first difference.

A round is about lists and sorted sets, about streams, or about both; every other connection speaks
RESP3. IDs of entries are given, for each server has a clock of its own, and rise over the round.

Left out, because Redis 7.0 does it differently from later versions or leaves it to chance:

  - a value stored over one of another kind by SORT or ZRANGESTORE wakes nobody there, and SWAPDB
    wakes in the order of a hash table;
  - a stream whose newest entries are gone before their unit ends answers who waits with no entries
    at all there: so XDEL, XTRIM and RENAME do not come between XADD and the end of a unit;
  - a consumer is made when it is given something there, and as soon as it asks from 7.2 on: here
    they are made first;
  - who waits in XREADGROUP for a key that becomes a string is told that the key no longer exists
    there, and WRONGTYPE from 7.2 on: both are taken for the same.

The first two have integration tests.
"""
import argparse
import itertools
import json
import os
import random
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "integration"), HERE]

from harness import NeedMore, Server, encode, finish, reply_end  # noqa: E402

CONNECTIONS = 6
STEPS = 80
REST_SECONDS = 20
DIFFERENCES_MAX = 5
KEYS = ["a", "b", "c", "d"]
STREAMS = ["s", "t", "u"]
GROUPS = ["g", "h"]
CONSUMERS = ["alice", "bob", "carol"]
STREAM_SHARES = [0, 0.5, 0.9]  # Of a round's commands.
RECENT = 12  # Entries that an ID is drawn from.

# Runs the commands in the JSON of its argument.
RUN_ALL = """local replies = {}
for i, words in ipairs(cjson.decode(ARGV[1])) do replies[i] = redis.pcall(unpack(words)) end
return replies"""
# What is pending, without the clock's part.
PENDING = """local found = redis.pcall('XPENDING', KEYS[1], ARGV[1], '-', '+', 100)
for _, entry in ipairs(found) do entry[3] = 0 end
return found"""
# (Redis 7.0's reply, ours.)
SAME = {(b"-UNBLOCKED the stream key no longer exists\r\n",
         b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n")}


class IdOf(int):
    """Stands for the client id of a connection, which differs between the servers."""


class MustEnd(tuple):
    """A command with a short timeout: the step waits for its end."""


# --------------------------------------------------------------------------------------- generating


class Streams:
    """Commands of streams. Those that are not for every place are said to be."""

    def __init__(self, rng):
        self.rng = rng
        self.last = 0

    def key(self):
        return self.rng.choice(STREAMS)

    def place(self):
        return self.key(), self.rng.choice(GROUPS)

    def new_id(self):
        self.last += 1
        return "%d-%s" % (self.last, self.rng.choice("111*"))

    def recent_id(self):
        return "%d-%d" % (max(0, self.last - self.rng.randrange(RECENT)), self.rng.choice([0, 1, 1]))

    def recent_ids(self):
        return [self.recent_id() for _ in range(self.rng.randint(1, 4))]

    def count(self):
        return self.rng.choice([[], [], ["COUNT", self.rng.randint(1, 3)]])

    def add(self):
        options = self.rng.choice([[], [], [], [], ["NOMKSTREAM"], ["MAXLEN", "=", 5]])
        fields = [word for _ in range(self.rng.randint(1, 2)) for word in ("f", self.rng.randint(0, 99))]
        return ("XADD", self.key(), *options, self.new_id(), *fields)

    def create(self):
        return ("XGROUP", "CREATE", *self.place(), self.rng.choice(["0", "$", "$", self.recent_id()]),
                "MKSTREAM")

    def change(self):
        """For every place."""
        return self.rng.choice([
            self.add, self.add, self.add, self.add, self.add, self.add,
            self.create, self.create, self.create,
            lambda: ("XGROUP", "DESTROY", *self.place()),
            lambda: ("XGROUP", "SETID", *self.place(), self.rng.choice(["0", "$", self.recent_id()])),
            lambda: ("XGROUP", "CREATECONSUMER", *self.place(), self.rng.choice(CONSUMERS)),
            lambda: ("XGROUP", "DELCONSUMER", *self.place(), self.rng.choice(CONSUMERS)),
            lambda: ("XACK", *self.place(), *self.recent_ids()),
            lambda: ("DEL", self.key()),
            lambda: ("PEXPIRE", self.key(), self.rng.choice([-1, 100000000])),
            lambda: ("SET", self.key(), "text"),
        ])()

    def lone_changes(self):
        """Not within EXEC and scripts. Commands to be sent together."""
        key, other = self.key(), self.key()
        return self.rng.choice([
            lambda: [("XDEL", key, *self.recent_ids())],
            lambda: [("XTRIM", key, "MAXLEN", "=", self.rng.randint(0, 5))],
            lambda: [("MULTI",), ("DEL", "new"), ("XADD", "new", self.new_id(), "f", 1),
                     ("XGROUP", "CREATE", "new", self.rng.choice(GROUPS), self.rng.choice("0$")),
                     ("RENAME", "new", key), ("EXEC",)],
            lambda: [("MULTI",), ("DEL", "new"), ("XADD", "new", self.new_id(), "f", 1),
                     ("COPY", "new", other, "REPLACE"), ("EXEC",)],
        ])()

    def made(self, streams, group, consumer, command):
        return [("XGROUP", "CREATECONSUMER", key, group, consumer) for key in streams] + [command]

    def read(self):
        """Of one connection, at once: commands to be sent together."""
        key, group = self.place()
        consumer = self.rng.choice(CONSUMERS)
        justid = self.rng.choice([[], ["JUSTID"]])
        made = lambda *words: self.made([key], group, consumer, words)  # noqa: E731
        return self.rng.choice([
            lambda: [("XRANGE", key, "-", "+")],
            lambda: [("XLEN", key)],
            lambda: [("XPENDING", key, group)],
            lambda: [("EVAL", PENDING, 1, key, group)],
            lambda: [("XINFO", "GROUPS", key)],
            lambda: [("XREAD", *self.count(), "STREAMS", key, self.recent_id())],
            lambda: made("XREADGROUP", "GROUP", group, consumer, *self.count(), "STREAMS", key,
                         self.rng.choice([">", "0", self.recent_id()])),
            lambda: made("XCLAIM", key, group, consumer, 0, *self.recent_ids(), *justid,
                         *self.rng.choice([[], ["FORCE"], ["RETRYCOUNT", 7]])),
            lambda: made("XAUTOCLAIM", key, group, consumer, 0, self.rng.choice(["-", self.recent_id()]),
                         *self.count(), *justid),
        ])()

    def wait(self, timeout=0):
        """Commands to be sent together, of which the last may wait."""
        streams = self.rng.sample(STREAMS, self.rng.choice([1, 1, 2, 3]))
        if self.rng.random() < 0.4:
            ids = [self.rng.choice(["$", "$", self.recent_id()]) for _ in streams]
            return [("XREAD", *self.count(), "BLOCK", timeout, "STREAMS", *streams, *ids)]
        streams = streams[:1] if self.rng.random() < 0.6 else streams
        group, consumer = self.rng.choice(GROUPS), self.rng.choice(CONSUMERS)
        ids = [">"] * len(streams)
        if self.rng.random() < 0.05:
            ids[-1] = "0"
        noack = self.rng.choice([[], [], [], ["NOACK"]])
        command = ("XREADGROUP", "GROUP", group, consumer, *self.count(), "BLOCK", timeout, *noack,
                   "STREAMS", *streams, *ids)
        return self.made(streams, group, consumer, command)

    def wrong(self):
        return self.rng.choice([("XREAD", "BLOCK", "x", "STREAMS", "s", "0"), ("XREAD", "STREAMS", "s", ">"),
                                ("XREADGROUP", "GROUP", "nosuch", "c", "BLOCK", 0, "STREAMS", "s", ">"),
                                ("XREADGROUP", "GROUP", "g", "c", "BLOCK", 0, "STREAMS", "s", "$"),
                                ("XREAD", "BLOCK", -1, "STREAMS", "s", "$"), ("XADD", "s", "0-0", "f", 1)])


class Draw:
    def __init__(self, rng):
        self.rng = rng
        self.number = itertools.count(1)
        self.streams = Streams(rng)
        self.stream_share = rng.choice(STREAM_SHARES)

    def is_of_streams(self):
        return self.rng.random() < self.stream_share

    def key(self):
        return self.rng.choice(KEYS)

    def keys(self):
        return [self.key() for _ in range(self.rng.randint(1, 3))]

    def end(self):
        return self.rng.choice(["LEFT", "RIGHT"])

    def values(self):
        return ["v%d" % next(self.number) for _ in range(self.rng.choice([1, 1, 1, 2, 3, 5]))]

    def scored(self):
        return [word for value in self.values() for word in (self.rng.randint(-3, 9), value)]

    def change(self):
        """A command that may make a key ready, or spoil it."""
        if self.is_of_streams():
            return self.streams.change()
        return self.rng.choice([
            lambda: (self.rng.choice(["LPUSH", "RPUSH"]), self.key(), *self.values()),
            lambda: (self.rng.choice(["LPUSH", "RPUSH"]), self.key(), *self.values()),
            lambda: ("ZADD", self.key(), *self.scored()),
            lambda: ("ZADD", self.key(), *self.scored()),
            lambda: ("LMOVE", self.key(), self.key(), self.end(), self.end()),
            lambda: ("RENAME", self.key(), self.key()),
            lambda: ("COPY", self.key(), self.key(), "REPLACE"),
            lambda: ("SET", self.key(), "text"),
            lambda: ("DEL", self.key()),
            lambda: ("DEL", self.key()),
            lambda: ("LPOP", self.key()),
            lambda: ("ZPOPMIN", self.key()),
            lambda: ("ZINCRBY", self.key(), 2, "m"),
            lambda: ("LMPOP", 2, self.key(), self.key(), self.end(), "COUNT", 2),
            lambda: ("PEXPIRE", self.key(), self.rng.choice([-1, 100000000])),
            lambda: ("FLUSHDB",),
            lambda: ("INCR", "n"),
        ])()

    def read(self):
        """Commands to be sent together."""
        if self.is_of_streams():
            return self.streams.read()
        return [self.read_one()]

    def read_one(self):
        return self.rng.choice([
            lambda: ("LRANGE", self.key(), 0, -1),
            lambda: ("ZRANGE", self.key(), 0, -1, "WITHSCORES"),
            lambda: ("TYPE", self.key()),
            lambda: ("EXISTS", *self.keys()),
            lambda: ("GET", "n"),
            lambda: ("PING",),
        ])()

    def wait(self, timeout=0):
        """Commands to be sent together, of which the last may wait."""
        if self.is_of_streams():
            return self.streams.wait(timeout and 1)
        return [self.wait_one(timeout)]

    def wait_one(self, timeout):
        keys = self.keys()
        return self.rng.choice([
            lambda: ("BLPOP", *keys, timeout),
            lambda: ("BRPOP", *keys, timeout),
            lambda: ("BLMOVE", self.key(), self.key(), self.end(), self.end(), timeout),
            lambda: ("BRPOPLPUSH", self.key(), self.key(), timeout),
            lambda: ("BLMPOP", timeout, len(keys), *keys, self.end(), "COUNT",
                     self.rng.randint(1, 3)),
            lambda: ("BZPOPMIN", *keys, timeout),
            lambda: ("BZPOPMAX", *keys, timeout),
            lambda: ("BZMPOP", timeout, len(keys), *keys, self.rng.choice(["MIN", "MAX"])),
        ])()

    def wrong(self):
        return self.rng.choice([("NOSUCH",), ("GET",), ("MULTI",), ("WATCH",), ("EXEC", "x"),
                                ("BLPOP", "a", "x"), ("BLPOP", "a", "-1"), ("INCR", "a"),
                                ("BLMPOP", 0, 0, "a", "LEFT"), ("DISCARD", "x")])

    def inner(self):
        """What stands between MULTI and EXEC."""
        draw = self.rng.random()
        if draw < 0.55:
            return [self.change()]
        if draw < 0.75:
            return self.read()
        if draw < 0.87:
            return self.wait()
        if draw < 0.92:
            return [self.script()]
        if draw < 0.95:
            return [("SELECT", self.rng.choice([0, 0, 1]))]
        return [self.mistake() if draw < 0.97 else ("UNWATCH",)]

    def mistake(self):
        return self.streams.wrong() if self.is_of_streams() else self.wrong()

    def script(self):
        commands = []
        for _ in range(self.rng.randint(1, 4)):
            draw = self.rng.random()
            if draw < 0.6:
                commands.append(self.change())
            else:
                commands += self.read() if draw < 0.8 else self.wait()
        texts = [[str(word) for word in command] for command in commands if command[0] != "EVAL"]
        return ("EVAL", RUN_ALL, 0, json.dumps(texts))

    def transaction(self):
        inner = [command for _ in range(self.rng.randint(0, 6)) for command in self.inner()]
        return [("MULTI",), *inner, (self.rng.choice(["EXEC", "EXEC", "EXEC", "DISCARD"]),)]

    def changes(self):
        if self.is_of_streams() and self.rng.random() < 0.15:
            return self.streams.lone_changes()
        return [self.change() for _ in range(self.rng.choice([1, 1, 1, 2, 4]))]

    def commands(self, others_blocked):
        """What a connection that is not blocked sends in one step."""
        draw = self.rng.random()
        if draw < 0.28:
            return self.wait()
        if draw < 0.31:
            *made, last = self.wait("0.001")
            return [*made, MustEnd(last)]
        if draw < 0.51:
            return self.changes()
        if draw < 0.55:
            return [self.script()]
        if draw < 0.70:
            return self.transaction()
        if draw < 0.76:
            return [(self.rng.choice(["MULTI", "EXEC", "EXEC", "DISCARD", "UNWATCH"]),)]
        if draw < 0.83:
            return [("WATCH", *(self.keys() if not self.is_of_streams() else [self.streams.key()]))]
        if draw < 0.86:
            return [*self.wait(), self.change(), *self.read()]
        if draw < 0.92 and others_blocked:
            return [("CLIENT", "UNBLOCK", IdOf(self.rng.choice(others_blocked)),
                     self.rng.choice(["TIMEOUT", "ERROR"]))]
        if draw < 0.94:
            return [("SELECT", self.rng.choice([0, 0, 0, 1])), *self.read()]
        if draw < 0.96:
            return [("RESET",)]
        return [self.mistake()] if draw < 0.975 else self.read()


# ---------------------------------------------------------------------------------------- exchanging


class Member:
    """One connection of a crowd."""

    def __init__(self, server, index):
        self.conn = server.connect()
        self.conn.call("HELLO", 2 + index % 2)
        self.id = self.conn.call("CLIENT", "ID")
        self.conn.socket.setblocking(False)
        self.wanted = 0  # Replies that are still to come.
        self.must_end = False

    def send(self, commands, ids):
        """In one piece: other connections must not come in between."""
        lines = [[ids[word] if isinstance(word, IdOf) else word for word in command]
                 for command in commands]
        self.conn.send(b"".join(encode(*words) for words in lines))
        self.wanted += len(commands)
        self.must_end = isinstance(commands[-1], MustEnd)

    def receive(self):
        """Whole replies that have come, as bytes."""
        try:
            while True:
                data = self.conn.socket.recv(1 << 16)
                if not data:
                    raise ConnectionError("closed by the server")
                self.conn.pending += data
        except BlockingIOError:
            pass
        replies = []
        while self.conn.pending:
            try:
                end = reply_end(self.conn.pending)
            except NeedMore:
                break
            replies.append(bytes(self.conn.pending[:end]))
            del self.conn.pending[:end]
        self.wanted -= len(replies)
        return replies


class Crowd:
    """The connections to one server, and one to look at it."""

    def __init__(self, server):
        self.server = server
        self.control = server.connect()
        self.control.call("FLUSHALL")
        self.members = [Member(server, index) for index in range(CONNECTIONS)]

    def close(self):
        for member in self.members:
            member.conn.close()
        self.control.close()

    def blocked(self):
        """Indices of the connections that the server calls blocked."""
        lines = self.control.call("CLIENT", "LIST").decode().splitlines()
        flags = {}
        for line in lines:
            fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
            flags[int(fields["id"])] = fields["flags"]
        return [index for index, member in enumerate(self.members)
                if "b" in flags.get(member.id, "")]

    def replace(self, index):
        """Closes a connection, whatever it waits for, and opens another in its place."""
        gone = self.members[index].id
        self.members[index].conn.close()
        deadline = time.monotonic() + REST_SECONDS
        while self.control.call("CLIENT", "LIST", "ID", gone) != b"":
            if time.monotonic() > deadline:
                raise TimeoutError("a closed connection stays")
        self.members[index] = Member(self.server, index)

    def rest(self):
        """Waits until all replies have come but those of blocked connections. Returns what came:
        [(index, replies)...], and who is blocked."""
        came = [[] for _ in self.members]
        deadline = time.monotonic() + REST_SECONDS
        while True:
            for index, member in enumerate(self.members):
                came[index] += member.receive()
            blocked = self.blocked()
            for index, member in enumerate(self.members):
                came[index] += member.receive()
            waiting = [index for index, member in enumerate(self.members) if member.wanted != 0]
            if all(index in blocked and not self.members[index].must_end for index in waiting):
                break
            if time.monotonic() > deadline:
                raise TimeoutError("no rest; replies are missing on %s" % waiting)
        self.control.call("PING")
        for index, member in enumerate(self.members):
            came[index] += member.receive()
            member.must_end = member.must_end and member.wanted != 0
        blocked = [index for index, member in enumerate(self.members) if member.wanted != 0]
        return [(index, replies) for index, replies in enumerate(came) if replies], blocked


# ------------------------------------------------------------------------------------------- playing


def agree(theirs, ours):
    """Whether two outcomes of Crowd.rest are the same but for what may differ."""
    if theirs[1] != ours[1] or [index for index, _ in theirs[0]] != [index for index, _ in ours[0]]:
        return False
    return all(len(left) == len(right) and all(a == b or (a, b) in SAME for a, b in zip(left, right))
               for (_, left), (_, right) in zip(theirs[0], ours[0]))


class Round:
    """One round on both servers at once; `steps` are those played so far, as text."""

    def __init__(self, servers, seed, number):
        self.rng = random.Random("%d:%d" % (seed, number))
        self.draw = Draw(self.rng)
        self.crowds = [Crowd(server) for server in servers]
        self.blocked = []
        self.steps = []
        self.sent = 0

    def close(self):
        for crowd in self.crowds:
            crowd.close()

    def step(self, index, commands):
        """False when the servers differ."""
        text = " | ".join(" ".join(map(str, command)) for command in commands)
        self.steps.append("conn %d: %s" % (index, text))
        self.sent += len(commands)
        for crowd in self.crowds:
            crowd.members[index].send(commands, [member.id for member in crowd.members])
        return self.compare()

    def compare(self):
        outcomes = [crowd.rest() for crowd in self.crowds]
        if not agree(*outcomes):
            for crowd, (came, blocked) in zip(self.crowds, outcomes):
                self.steps.append("  %s: %s" % (crowd.server.kind, "; ".join(
                    "conn %d gets %.300r" % (index, b"".join(replies)) for index, replies in came)))
                self.steps.append("  %s: blocked are %s" % (crowd.server.kind, blocked))
            return False
        self.blocked = outcomes[0][1]
        return True

    def next_step(self):
        free = [index for index in range(CONNECTIONS) if index not in self.blocked]
        draw = self.rng.random()
        if self.blocked and (draw < 0.02 or not free):
            index = self.rng.choice(self.blocked)
            self.steps.append("conn %d is closed" % index)
            for crowd in self.crowds:
                crowd.replace(index)
            return self.compare()
        if self.blocked and draw < 0.06:  # Behind what it waits for.
            return self.step(self.rng.choice(self.blocked), [self.draw.change()])
        return self.step(self.rng.choice(free), self.draw.commands(self.blocked))

    def play(self):
        """True when all agreed."""
        for _ in range(STEPS):
            if not self.next_step():
                return False
        for index in range(CONNECTIONS):
            if index in self.blocked:
                for crowd in self.crowds:
                    crowd.replace(index)
        for index in range(CONNECTIONS):
            reading = [("DISCARD",), ("SELECT", index % 2)]
            for key in KEYS:
                reading += [("TYPE", key), ("LRANGE", key, 0, -1),
                            ("ZRANGE", key, 0, -1, "WITHSCORES")]
            for key in STREAMS:
                reading += [("TYPE", key), ("XRANGE", key, "-", "+"), ("XINFO", "GROUPS", key)]
                reading += [("EVAL", PENDING, 1, key, group) for group in GROUPS]
            if not self.step(index, reading):
                return False
        return True


def play(servers, seed, number):
    """(commands sent, the steps up to a difference or None)."""
    game = Round(servers, seed, number)
    try:
        agreed = game.play()
    except (TimeoutError, ConnectionError) as error:
        agreed = False
        game.steps.append("  %s" % error)
    finally:
        game.close()
    for server in servers:
        server.check_alive()
    return game.sent, None if agreed else game.steps


def main():
    parser = argparse.ArgumentParser(description="Several connections to Redis and to Ouro.")
    parser.add_argument("--count", type=int, default=20000, help="commands to send")
    parser.add_argument("--round", type=int, help="play this round only")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("OURO_SEED", "1")))
    options = parser.parse_args()
    print("seed %d" % options.seed)
    sent = passed = failed = 0
    start = time.monotonic()
    with Server(kind="redis") as redis, Server() as ouro:
        numbers = [options.round] if options.round is not None else itertools.count()
        for number in numbers:
            commands, steps = play((redis, ouro), options.seed, number)
            sent += commands
            passed += steps is None
            if steps is not None:
                failed += 1
                print("FAILED round %d of seed %d" % (number, options.seed))
                print("\n".join("    " + step for step in steps), flush=True)
            if sent >= options.count or failed >= DIFFERENCES_MAX:
                break
    print("%d commands of %d connections in %.1f s" % (sent, CONNECTIONS,
                                                      time.monotonic() - start))
    finish(passed, failed)


if __name__ == "__main__":
    main()
