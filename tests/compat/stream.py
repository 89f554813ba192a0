#!/usr/bin/python3
"""What redis-server and Ouro write into the replication stream for the same commands: the same
commands, in the same order, with the same words.

usage: stream.py [--count N] [--families strings,keys,...] [--round N] [--seed N]

A socket that says it is a replica is attached to each server. First come the scenarios of
stream_scenarios.txt, one per rule: relative times become absolute, chance becomes its outcome, who
was blocked is told of by what it got. Then the random commands of differential.py, with scripts,
functions and messages among them. After each batch a mark is published, which ends the stream of
the batch; a difference is shrunk and printed as differential.py does it.

What may differ is listed here and nothing else:

- the server's own words on its own account: PING, and REPLCONF GETACK;
- moments that come from the clock (after PXAT, PEXPIREAT and the like), by MOMENT_TOLERANCE_MS;
- which members SPOP draws, in the scenarios: as many of them;
- the letters of words that a server puts in place of the client's own: ZADD for GEOADD, the ends of
  LMOVE for BLMOVE; Redis writes some of them small;
- what was asked for and has been seen to: Redis repeats NX, XX, GT and LT to its replicas, and the
  LIMIT of a trimming, leaves an ID that lacks its sequence as it came, and tells of entries that
  were deleted when it tells the first ID of a stream;
- BITFIELD with OVERFLOW FAIL: Redis 7.0 lengthens a value for what then fails, and does not tell;
- PFCOUNT, with which Redis writes what it has counted into the value;
- whether the removal of a key that had expired is within the unit of the write that met it;
- what later versions than 7.0 write, which 7.0 understands: one SREM for all that SPOP draws; after
  the XCLAIMs of XREADGROUP how far the group has read, and these as one unit.
"""
import os
import shlex
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "integration"), HERE]

import differential  # noqa: E402
from differential import Difference, Pair, Rounds, Vocabulary  # noqa: E402
from harness import Conn, Error, Server, finish, wait_until  # noqa: E402

BATCH_COMMANDS = 200
STREAM_SECONDS = 60
MOMENT_TOLERANCE_MS = 60000
MARK = b"\0mark"
# Words whose next word is a moment in milliseconds.
MOMENTS = {b"PXAT", b"TIME"}
CONDITIONS = {b"NX", b"XX", b"GT", b"LT"}
SETTINGS = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0",
            "--repl-timeout", "3600", "--repl-ping-replica-period", "3600",
            "--client-output-buffer-limit", "replica 0 0 0")


# ------------------------------------------------------------------------------------- the listener


class Listener:
    """A socket to a server that holds it for a replica: after the snapshot, the stream."""

    def __init__(self, server):
        self.conn = Conn(server.port, timeout=STREAM_SECONDS)
        for words in (("PING",), ("REPLCONF", "listening-port", 1),
                      ("REPLCONF", "capa", "eof", "capa", "psync2")):
            self.conn.call(*words)
        answer = self.conn.call("PSYNC", "?", -1)
        if not str(answer).startswith("FULLRESYNC "):
            raise AssertionError("PSYNC: %s" % answer)
        self.offset = int(answer.split()[2])
        self.skip_snapshot()
        self.marks = 0
        self.database = None
        self.publisher = server.connect()
        wait_until(lambda: b"state=online" in self.publisher.call("INFO", "replication"),
                   STREAM_SECONDS, "the replica's being online")

    def skip_snapshot(self):
        first = self.conn.read_bytes(1)
        while first == b"\n":  # The server still prepares it.
            first = self.conn.read_bytes(1)
        line = b""
        while not line.endswith(b"\r\n"):
            line += self.conn.read_bytes(1)
        if line.startswith(b"EOF:"):
            mark, data = line[4:44], b""
            while mark not in data:
                data = data[-40:] + self.conn.read_bytes(1)
        else:
            self.conn.read_bytes(int(line))

    def acknowledge(self):
        self.conn.send_command("REPLCONF", "ACK", self.offset)

    def read(self):
        raw = self.conn.read_raw()
        self.offset += len(raw)
        return differential.parse(raw)[0]

    def batch(self):
        """[(database, command)...] since the last call: what stands before a mark that is published
        now. Where a command is executed counts, not where a SELECT stands."""
        self.acknowledge()  # The first one counts only once the server has finished its snapshot.
        self.marks += 1
        self.publisher.call("PUBLISH", MARK, self.marks)
        placed = []
        while True:
            command = self.read()
            name = command[0].upper()
            if command[:2] == [b"PUBLISH", MARK] and command[2] == b"%d" % self.marks:
                break
            if name == b"SELECT":
                self.database = command[1]
            elif name not in (b"PING", b"REPLCONF"):
                placed.append((self.database, command))
        return placed

    def close(self):
        self.conn.close()
        self.publisher.close()


# --------------------------------------------------------------------------------------- comparing


def units_of(placed):
    """[[(database, command)...]...]: each MULTI to EXEC is one."""
    units, is_open = [], False
    for database, command in placed:
        name = command[0].upper()
        if name == b"MULTI":
            units.append([])
            is_open = True
        elif name == b"EXEC":
            is_open = False
        elif is_open:
            units[-1].append((database, command))
        else:
            units.append([(database, command)])
    return units


def as_later_versions(unit):
    """The unit with one SREM for neighbours that draw from one key, and without what follows from
    the XCLAIMs before it."""
    kept = []
    for database, command in unit:
        name, last = command[0].upper(), kept[-1] if kept else (None, [b""])
        if name == b"SREM" and last[0] == database and last[1][:2] == command[:2]:
            kept[-1] = (database, last[1] + command[2:])
        elif not (name == b"XGROUP" and last[1][0] == b"XCLAIM" and last[1][1:3] == command[2:4]
                  and b"ENTRIESREAD" in command):
            kept.append((database, command))
    return kept


def is_untold(command):
    words = [word.upper() for word in command]
    return words[0] == b"PFCOUNT" or words[0] == b"BITFIELD" and b"FAIL" in words


def is_removal(command):
    return command[0] == b"DEL" and len(command) == 2


def whole_id(word):
    return word + b"-0" if word.isdigit() else word


def without_conditions(command):
    name = command[0].upper()
    if name in (b"XADD", b"XTRIM"):
        limit = next((at for at in (5, 6) if command[at - 2:at - 1] == [b"="]
                      and command[at:at + 1] and command[at].upper() == b"LIMIT"), len(command))
        return [whole_id(word) for word in command[:limit] + command[limit + 2:]]
    if name not in (b"SET", b"PEXPIREAT"):
        return command
    return command[:3] + [word for word in command[3:] if word.upper() not in CONDITIONS]


def canonical(placed):
    """The stream with its units marked, in the form of later versions."""
    flat = []
    for unit in map(as_later_versions, units_of(placed)):
        unit = [one for one in unit if not is_untold(one[1])]
        while len(unit) > 1 and is_removal(unit[0][1]):
            flat.append(unit.pop(0))
        if len(unit) == 1 or all(command[0] == b"XCLAIM" for _, command in unit):
            flat += unit
        else:
            flat += [(unit[0][0], [b"MULTI"]), *unit, (unit[-1][0], [b"EXEC"])]
    return flat


def agree(theirs, ours):
    """Whether two commands are the same but for what may differ."""
    theirs, ours = without_conditions(theirs), without_conditions(ours)
    if theirs == ours:
        return True
    if len(theirs) != len(ours):
        return False
    name = ours[0]
    if theirs[0] == b"zadd" and name == b"ZADD":  # For GEOADD.
        theirs = [b"ZADD", *theirs[1:]]
    if name.upper() in (b"XADD", b"XTRIM"):
        return agree_on_first_id(theirs, ours)
    if theirs[0] == name == b"LMOVE":
        theirs = [*theirs[:3], *map(bytes.upper, theirs[3:])]
        ours = [*ours[:3], *map(bytes.upper, ours[3:])]
    return all(left == right or are_moments(theirs, index, left, right)
               for index, (left, right) in enumerate(zip(theirs, ours)))


def agree_on_first_id(theirs, ours):
    """Where one says MINID = 5-1, the other may say 4-0 if 4-0 was deleted."""
    unlike = [at for at, (left, right) in enumerate(zip(theirs, ours)) if left != right]
    if len(unlike) != 1 or [word.upper() for word in ours[unlike[0] - 2:unlike[0]]] != [b"MINID", b"="]:
        return False
    left, right = [tuple(map(int, words[unlike[0]].split(b"-"))) for words in (theirs, ours)]
    return left < right


def are_moments(command, index, left, right):
    before = [word.upper() for word in command[max(0, index - 2):index]]
    is_moment = before[-1:] and before[-1] in MOMENTS or before[:1] == [b"PEXPIREAT"]
    if not is_moment or not (left.isdigit() and right.isdigit()):
        return False
    return abs(int(left) - int(right)) <= MOMENT_TOLERANCE_MS


def first_difference(theirs, ours, agree=agree):
    """(what they have, what we have) from the first command that differs on, or None."""
    theirs, ours = canonical(theirs), canonical(ours)
    for index in range(max(len(theirs), len(ours))):
        left, right = theirs[index:index + 1], ours[index:index + 1]
        if not left or not right or left[0][0] != right[0][0] or not agree(left[0][1], right[0][1]):
            return theirs[index:index + 4], ours[index:index + 4]
    return None


# ------------------------------------------------------------------------------------------- rounds


def play(servers, listeners, commands):
    """Run one round; return the Difference, with the commands up to it, or None."""
    pair = Pair(servers)
    try:
        for listener in listeners:
            listener.batch()
        for start in range(0, len(commands), BATCH_COMMANDS):
            batch = commands[start:start + BATCH_COMMANDS]
            pair.exchange(batch)
            found = first_difference(*[listener.batch() for listener in listeners])
            if found is not None:
                return Difference(commands[:start + len(batch)], *found)
    finally:
        pair.close()
    return None


def script(w):
    """Effects are told, never the script: one stands alone, several are wrapped."""
    text = w.one_of([
        "return redis.call('set', KEYS[1], ARGV[1])",
        "redis.call('incr', KEYS[1]) redis.call('append', KEYS[2], ARGV[1])",
        "redis.pcall('rpush', KEYS[1], ARGV[1]) return redis.pcall('lpop', KEYS[2])",
        "redis.call('select', 1) redis.pcall('set', KEYS[1], 1) return redis.pcall('del', KEYS[2])",
        "return redis.call('get', KEYS[1])",
        "redis.call('publish', 'c', ARGV[1]) return redis.pcall('sadd', KEYS[1], ARGV[1])",
        "redis.call('set', KEYS[1], 'x') return redis.error_reply('no')",
        "redis.call('setex', KEYS[1], 1000, 'x') redis.call('noSuch')"])
    return ("EVAL", text, 2, w.key(), w.key(), w.value())


def function(w):
    name = "f%d" % w.below(3)
    code = """#!lua name=%s
redis.register_function('%s', function(keys, args)
  redis.call('set', keys[1], args[1])
  return redis.call('incrby', keys[2], %d)
end)""" % (name, name, w.below(3))
    return w.one_of([
        lambda: ("FUNCTION", "LOAD", *(["REPLACE"] if w.chance(0.6) else []), code),
        lambda: ("FUNCTION", "DELETE", name),
        lambda: ("FCALL", name, 2, w.key(), w.key(), w.integer()),
        lambda: ("FCALL", name, 2, w.key(), w.key(), w.integer()),
        lambda: ("FUNCTION", "FLUSH") if w.chance(0.2) else ("SCRIPT", "LOAD", "return 1"),
    ])()


def message(w):
    return (w.letter_case(w.one_of(["PUBLISH", "SPUBLISH"])), w.one_of(["news", "c"]), w.value())


def spelled(w):
    """What is told word for word keeps the letters as they came."""
    return (w.one_of(["sEt", "iNcr", "Del", "rpush", "HsEt"]), w.key(), *w.one_of([
        (), (w.value(),), (b"f", w.value())]))


EXTRA = [(60, script), (40, function), (40, message), (60, spelled)]


class StreamRounds(Rounds):
    """The commands of differential.py with those that matter to a stream more than to replies."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        for weight, made in EXTRA:
            self.weights.append(self.weights[-1] + weight)
            self.functions.append(made)


# ---------------------------------------------------------------------------------------- scenarios


class Scene:
    """One server with the connections that a scenario names."""

    def __init__(self, server):
        self.server = server
        self.conns = {}
        self.call("-", "FLUSHALL")
        self.call("-", "FUNCTION", "FLUSH")

    def conn(self, name):
        if name not in self.conns:
            self.conns[name] = self.server.connect()
        return self.conns[name]

    def call(self, name, *words):
        return self.conn(name).call(*words)

    def step(self, line):
        """`a: WORDS` sends and reads the reply; `a! WORDS` sends, and is blocked; `a?` reads what
        it was blocked for; `gone KEY` waits until the clock has removed a key."""
        name, _, rest = line.partition(" ")
        words = [word.encode("utf-8").decode("unicode_escape").encode("latin-1")
                 for word in shlex.split(rest)]
        if name == "gone":
            wait_until(lambda: self.call("-", "DBSIZE") == 0, STREAM_SECONDS, "an empty database")
        elif name.endswith(":"):
            return self.call(name[:-1], *words)
        elif name.endswith("!"):
            before = self.blocked()
            self.conn(name[:-1]).send_command(*words)
            wait_until(lambda: self.blocked() > before, STREAM_SECONDS, "being blocked")
        elif name.endswith("?"):
            return self.conn(name[:-1]).read()
        else:
            raise ValueError("what is this step: " + line)
        return None

    def blocked(self):
        text = self.call("-", "INFO", "clients")
        return int(text.split(b"blocked_clients:")[1].split(b"\r")[0])

    def close(self):
        for conn in self.conns.values():
            conn.close()


def agree_but_for_chance(theirs, ours):
    """Where chance chose members: the same command on the same key with as many of them."""
    return agree(theirs, ours) or (theirs[:2] == ours[:2] and len(theirs) == len(ours)
                                   and theirs[0] == b"SREM")


def scenarios():
    """[(name, steps)...] of the file."""
    with open(os.path.join(HERE, "stream_scenarios.txt"), encoding="utf-8") as file:
        lines = [line.rstrip("\n") for line in file]
    found = []
    for line in lines:
        if line.startswith("== "):
            found.append((line[3:], []))
        elif line and not line.startswith("#"):
            found[-1][1].append(line)
    return found


def play_scenario(servers, listeners, steps):
    scenes = [Scene(server) for server in servers]
    try:
        for listener in listeners:
            listener.batch()
        for line in steps:
            replies = [scene.step(line) for scene in scenes]
            if any(isinstance(reply, Error) for reply in replies) and replies[0] != replies[1]:
                return replies
        return first_difference(*[listener.batch() for listener in listeners],
                                agree_but_for_chance)
    finally:
        for scene in scenes:
            scene.close()


def run_scenarios(servers, listeners, only):
    passed = failed = 0
    for name, steps in scenarios():
        if only not in name:
            continue
        found = play_scenario(servers, listeners, steps)
        if found is None:
            passed += 1
            print("ok " + name)
            continue
        failed += 1
        print("FAILED %s\n    %s" % (name, "\n    ".join(steps)))
        print("  redis-server: %.900r\n  ouro:         %.900r" % found)
    return passed, failed


# --------------------------------------------------------------------------------------------- main


def main():
    parser = differential.rounds_parser("The same stream from redis-server and Ouro.", 30000)
    parser.add_argument("--scenario", default="", help="play those whose name holds this only")
    options = differential.read_options(parser)
    start = time.monotonic()
    with Server(*SETTINGS, kind="redis") as redis, Server(*SETTINGS) as ouro:
        servers = (redis, ouro)
        listeners = [Listener(server) for server in servers]
        passed = failed = sent = 0
        if options.round is None:
            passed, failed = run_scenarios(servers, listeners, options.scenario)
        if not options.scenario:
            differential.play = lambda pair, commands: play(pair, listeners, commands)
            with redis.connect() as redis_conn, ouro.connect() as conn:
                rounds = StreamRounds(options.seed, options.families, Vocabulary(conn, redis_conn),
                                      {"connection"})
                sent, right, wrong = differential.run_rounds(servers, rounds, options)
            passed, failed = passed + right, failed + wrong
        for listener in listeners:
            listener.close()
    print("%d commands in %.1f s" % (sent, time.monotonic() - start))
    finish(passed, failed)


if __name__ == "__main__":
    main()
