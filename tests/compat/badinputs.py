#!/usr/bin/env python3
"""Replay the table of bad inputs: nearly 3,000 bytes-in, bytes-out facts taken from redis-server
7.0.15.

usage: badinputs.py [--only AREA or ID-PREFIX, comma-separated] [--verbose]

Each row of badinputs.tsv is one fresh connection to a flushed server: send the setup and drop its
replies, send the input, compare every byte that comes and whether the server then closes. The
comment lines atop the table explain its escapes. Rows of the areas `file` and `configfile` are a
file's content instead: a server is started with it, and the exit status, the message or the number
of keys loaded is compared.

How silence is seen without waiting for it: once the expected bytes are in (or at once, when none
are expected), two round trips on a second connection prove that the single-threaded server has
handled all that arrived before; then whatever it wanted to say or close has reached our socket, and
one non-blocking read shows it. Only a reply that is missing is waited for, up to `LATE_SECONDS`.

Verdicts. A row agrees, or differs and is listed with its reason in badinputs_differences.txt, or
fails the run. A listed row that agrees fails as well. Where the table's column `ours` allows a
stricter answer (a refusal in place of a stall or a crash), that answer agrees too. A row whose
command the server does not know by COMMAND INFO is skipped and counted under that command; rows
that need a snapshot or log file are skipped while SAVE is unknown.
"""
import argparse
import collections
import os
import re
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))

from harness import Conn, NeedMore, Server, encode, finish, reply_end, wait_until  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
LATE_SECONDS = 6
CLOSE_SECONDS = 2
PROTOCOL_ERROR = b"-ERR Protocol error"
OPTIONS = ("--enable-debug-command", "yes", "--slowlog-log-slower-than", "-1", "--loglevel",
           "verbose")
# What rows of CONFIG SET may have changed, back to what the table was taken with.
NEUTRAL = {"maxmemory": "0", "timeout": "0", "hz": "10", "maxmemory-policy": "noeviction",
           "requirepass": "",
           "slowlog-log-slower-than": "-1", "save": "", "maxmemory-clients": "0",
           "client-output-buffer-limit": "normal 0 0 0"}

Row = collections.namedtuple("Row",
                             "id area profile setup input match expect conn server ours note")

# Directives that belong to a part of the server, and a command that shows whether it is there.
DIRECTIVE_NEEDS = {b"user": b"acl", b"aclfile": b"acl", b"replicaof": b"replicaof",
                   b"slaveof": b"replicaof", b"loadmodule": b"module",
                   b"appendfilename": b"bgrewriteaof", b"appendonly": b"bgrewriteaof"}

SIMPLE_ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "\\": b"\\"}
TOKEN = re.compile(r"<<(\d+)\*\(|<<(\d+)\*|\\x([0-9a-fA-F]{2})|\\([rnt\\])|(.)", re.S)


def unescape(text, start=0, end=None):
    """The bytes that an escaped field stands for; <<N*x>> and <<N*(seq)>> repeat a byte or a
    sequence."""
    out, at, end = bytearray(), start, len(text) if end is None else end
    while at < end:
        token = TOKEN.match(text, at)
        group_count, byte_count, code, escape, plain = token.groups()
        at = token.end()
        if group_count:
            close = text.index(")>>", at)
            out += unescape(text, at, close) * int(group_count)
            at = close + 3
        elif byte_count:
            close = text.index(">>", at + 1)
            out += unescape(text, at, close) * int(byte_count)
            at = close + 2
        elif code:
            out.append(int(code, 16))
        else:
            out += SIMPLE_ESCAPES[escape] if escape else plain.encode("latin-1")
    return bytes(out)


def load_rows(path):
    rows = []
    with open(path, encoding="latin-1", newline="\n") as file:
        for line in file:
            if not line.startswith(("#", "id\t")):
                rows.append(Row(*line.rstrip("\n").split("\t")))
    return rows


def load_differences(path):
    """The listed rows: {id: (reason, whether it must differ)}."""
    with open(path) as file:
        lines = [line.split(None, 1) for line in file if line.strip() and not line.startswith("#")]
    return {name.rstrip("?"): (reason.strip(), not name.endswith("?")) for name, reason in lines}


def commands_in(data):
    """The commands that `data` would run, their first three words each, in small letters."""
    found = []
    while data:
        if data[:1] != b"*":
            line, _, data = data.partition(b"\n")
            words = line.split()
        else:
            words, data = array_words(data)
        if words:
            found.append([word.lower() for word in words[:3]])
    return found


def array_words(data):
    """The words of the RESP array that `data` starts with, as far as it is well formed, and the
    rest."""
    head = re.match(rb"\*(\d{1,7})\r\n", data)
    if head is None:
        return [], b""
    words, at = [], head.end()
    for _ in range(int(head.group(1))):
        length = re.compile(rb"\$(\d{1,9})\r\n").match(data, at)
        if length is None:
            return words, b""
        stop = length.end() + int(length.group(1))
        words.append(data[length.end():stop])
        at = stop + 2
    return words, data[at:]


class Vocabulary:
    """Which commands the server has, asked once each. Without COMMAND INFO every command counts as
    known.

    Only names in redis_commands.txt, all that redis-server 7.0.15 has, can be missing: garbage is
    nobody's command."""

    def __init__(self, conn):
        self.conn = conn
        self.cache = {}
        self.can_ask = isinstance(conn.call("COMMAND", "INFO", "ping"), list)
        with open(os.path.join(HERE, "redis_commands.txt"), "rb") as file:
            self.redis = frozenset(file.read().split())

    def knows(self, name):
        if name not in self.cache:
            absent = ([None], [[]])
            has = not self.can_ask or self.conn.call("COMMAND", "INFO", name) not in absent
            self.cache[name] = has
        return self.cache[name]

    def missing(self, row):
        """The command, or `container|subcommand`, that this row needs and the server lacks; else
        None."""
        for words in commands_in(unescape(row.setup)) + commands_in(unescape(row.input)):
            needs = [words[0], b"|".join(words[:2])]
            if words[:2] == [b"command", b"getkeys"]:
                needs += words[2:3]
            for needed in needs:
                if needed in self.redis and not self.knows(needed):
                    return needed.decode("latin-1")
        return None


class Wire:
    """Replays rows against one running server with one profile."""

    def __init__(self, profile):
        self.profile = profile
        self.server = Server(*OPTIONS, *(("--requirepass", "secret") if profile == "pass" else ()))
        self.server.start()
        self.control = None
        self.reconnect()
        self.vocabulary = Vocabulary(self.control)

    def reconnect(self):
        if self.control is not None:
            self.control.close()
        self.control = self.server.connect()
        if self.profile == "pass":
            self.control.call("AUTH", "secret")

    def revive(self):
        self.server.kill()
        self.server.start()
        self.reconnect()
        self.vocabulary.conn = self.control

    def barrier(self):
        for _ in range(2):
            self.control.call("PING")

    def close(self):
        self.control.close()
        self.server.stop()
        self.server.remove()

    def observe(self, row):
        """(bytes, "open" or "closed") that the server answers to this row."""
        self.control.call("FLUSHALL")
        if row.area == "acl":
            self.control.call("ACL", "DELUSER", "u")
        probe = Probe(self.server.port, self.barrier)
        try:
            if row.setup:
                probe.run_setup(unescape(row.setup))
            return probe.run(unescape(row.input), row)
        finally:
            probe.close()

    def settle(self, row):
        """Undo what the row did beyond its keys."""
        data = unescape(row.input).upper()
        if b"REPLICAOF" in data or b"SLAVEOF" in data:
            self.control.call("REPLICAOF", "NO", "ONE")
        if self.profile == "default" and (row.area == "config" or b"CONFIG" in data
                                          or b"CLIENT" in data):
            self.control.pipeline([("CONFIG", "SET", *pair) for pair in NEUTRAL.items()])

    def missing(self, row):
        return self.vocabulary.missing(row)

    def play(self, row):
        """None when the row agrees, else what differs."""
        try:
            answer, state = self.observe(row)
            self.settle(row)
            self.barrier()
        except (OSError, ValueError) as error:
            # The server is gone, or no longer to be talked to: the rows that follow get a new one.
            log = self.server.log_tail()
            self.revive()
            return "no orderly reply on the control connection: %r\n%s" % (error, log)
        return judge(row, answer, state)


class Probe:
    """The connection of one row."""

    def __init__(self, port, barrier):
        self.conn = Conn(port, timeout=LATE_SECONDS)
        self.socket = self.conn.socket
        self.barrier = barrier
        self.closed = False

    def close(self):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            self.closed = True

    def receive(self, timeout):
        """What has arrived, waiting up to `timeout`; notes the end of the stream."""
        if self.closed:
            return b""
        self.socket.settimeout(timeout)
        try:
            data = self.socket.recv(1 << 20)
        except (BlockingIOError, socket.timeout):
            return b""
        except OSError:
            data = b""
        self.closed = not data
        return data

    def run_setup(self, data):
        """Send the setup and drop its replies: one per command, whose number is known from the
        input."""
        self.send(data)
        expected, replies = len(commands_in(data)), b""
        while not self.closed and count_replies(replies) < expected:
            more = self.receive(LATE_SECONDS)
            if not more:
                break
            replies += more
        self.barrier()
        self.receive(0)

    def run(self, data, row):
        self.send(data)
        got, expect = b"", unescape(row.expect)
        while not self.closed and self.wants_more(row, got, expect):
            more = self.receive(LATE_SECONDS)
            if not more:
                break
            got += more
        self.barrier()
        while True:
            more = self.receive(0)
            if not more:
                break
            got += more
        if row.conn == "closed" and not self.closed:
            got += self.receive(CLOSE_SECONDS)
        return got, "closed" if self.closed else "open"

    def wants_more(self, row, got, expect):
        if row.match == "exact":
            return len(got) < len(expect) and expect.startswith(got)
        if row.match == "none":
            return False
        return count_replies(got) == 0


def count_replies(data):
    count, at = 0, 0
    while at < len(data):
        try:
            at = reply_end(data, at)
        except (NeedMore, ValueError):
            break
        count += 1
    return count


def matches(row, answer):
    expect = unescape(row.expect)
    if row.match == "exact":
        return answer == expect
    if row.match == "regex":
        return re.fullmatch(expect, answer, re.S) is not None
    return (answer != b"") == (row.match == "any")


def judge(row, answer, state):
    if matches(row, answer) and state == row.conn:
        return None
    is_refusal = answer.startswith(PROTOCOL_ERROR) and state == "closed"
    if "stricter: protocol error + close" in row.ours and is_refusal:
        return None
    return "answers %.300r, %s; expected %.300r, %s (%s)" % (
        answer, state, unescape(row.expect), row.conn, row.match)


# ------------------------------------------------------------- servers that start with a given file


class Files:
    """Rows whose input is a file: each starts a server with it and watches how that goes."""

    def __init__(self, vocabulary):
        self.vocabulary = vocabulary

    def missing(self, row):
        """The command whose absence shows that the server lacks what this row is about, or None."""
        needed = b"save" if "dump.rdb" in row.profile else b"bgrewriteaof"
        if row.area == "configfile":
            words = unescape(row.input).split()
            needed = DIRECTIVE_NEEDS.get(words[0] if words else b"", b"ping")
        return None if self.vocabulary.knows(needed) else needed.decode()

    def prepare(self, row):
        content = unescape(row.input)
        if row.area == "configfile":
            return Server(config=content)
        if "dump.rdb" in row.profile:
            server = Server()
            write(server, "dump.rdb", content)
            return server
        server = Server("--appendonly", "yes")
        os.mkdir(os.path.join(server.directory, "appendonlydir"))
        write(server, "appendonlydir/a.incr", content)
        write(server, "appendonlydir/appendonly.aof.manifest", b"file a.incr seq 1 type i\n")
        return server

    def play(self, row):
        server = self.prepare(row)
        if row.area == "configfile":
            # What the file says must count, so nothing on the command line may say it again.
            server.command_line = lambda port: config_command(server, row, port)
        try:
            return judge_start(row, server)
        finally:
            server.kill()
            server.remove()


def config_command(server, row, port):
    path = os.path.join(server.directory, "server.conf")
    write(server, "server.conf", server.config)
    name = unescape(row.input).strip(b'\0" \r\n').split(b" ")[0].decode("latin-1")
    command = [server.binary, path]
    for option, value in (("port", str(port)), ("dir", server.directory), ("save", ""),
                          ("bind", "127.0.0.1")):
        if option != name:
            command += ["--" + option, value]
    return command


def write(server, name, content):
    with open(os.path.join(server.directory, name), "wb") as file:
        file.write(content)


def judge_start(row, server):
    try:
        server.start()
        ending = "starts"
    except AssertionError as error:
        ending = "ends"
        message = str(error)
    log = server.log().decode("latin-1")
    if "AddressSanitizer" in log or "runtime error:" in log:
        return "a sanitizer's report:\n" + log
    expect = row.expect
    if server.kind == "redis" and expect.startswith("signal "):
        return None if ending == "ends" else "starts; expected: " + expect
    refusal_allowed = "refuse" in row.ours or "exit 1" in row.ours
    if ending == "ends":
        if "status 1)" not in message:
            return message[-1500:]
        if refusal_allowed:
            return None
        if not expect.startswith("exit 1; "):
            return "refuses to start; expected: %s\n%s" % (expect, message)
        return None if row.area == "file" else missing_words(expect, log)
    if expect.startswith("loaded keys="):
        with server.connect() as conn:
            count = conn.call("DBSIZE")
        is_right = count == int(expect[len("loaded keys="):])
        return None if is_right else "loads %s keys; expected: %s" % (count, expect)
    return None if expect == "starts" else "starts; expected: " + expect


def missing_words(expect, log):
    """For a configuration file the message matters, part by part; start-up banners in the table do
    not."""
    parts = unescape(expect[len("exit 1; "):]).decode("latin-1").split(" / ")
    if not parts[0].startswith("Reading the configuration file"):
        parts = parts[-1:]
    for part in parts:
        if part.strip() not in log:
            return "the message lacks %r:\n%s" % (part, log[-1500:])
    return None


# ------------------------------------------------------------------------------------------- main


class Tally:
    def __init__(self, differences, verbose):
        self.differences = differences
        self.verbose = verbose
        self.passed = self.failed = self.known = 0
        self.areas = collections.defaultdict(lambda: [0, 0])
        self.skipped = collections.Counter()

    def skip(self, command):
        self.skipped[command] += 1

    def add(self, row, difference):
        reason, must_differ = self.differences.get(row.id, (None, False))
        area = self.areas[row.area]
        area[1] += 1
        if difference is None and not must_differ:
            self.passed += 1
            area[0] += 1
        elif difference is not None and reason is not None:
            self.known += 1
            if self.verbose:
                print("differs as listed: %s %s" % (row.id, reason))
        else:
            self.failed += 1
            print("FAILED %s (%s): %s" % (
                row.id, row.note, difference or "agrees, but is listed as different: " + reason),
                  flush=True)

    def show(self):
        for area, (agreed, count) in sorted(self.areas.items()):
            print("%-12s %d of %d agree" % (area, agreed, count))
        if self.skipped:
            print("rows skipped because the server has no such command: " + ", ".join(
                "%s %d" % pair for pair in sorted(self.skipped.items())))
        print("%d rows differ as listed in badinputs_differences.txt" % self.known)


def selected(rows, only):
    words = only.split(",") if only else [""]
    return [row for row in rows if any(row.id.startswith(word) for word in words)]


def main():
    parser = argparse.ArgumentParser(description="Replay the table of bad inputs.")
    parser.add_argument("--only", default="", help="areas or beginnings of ids, comma-separated")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    rows = selected(load_rows(os.path.join(HERE, "badinputs.tsv")), options.only)
    differences = load_differences(os.path.join(HERE, "badinputs_differences.txt"))
    if os.environ.get("OURO_KIND", "ouro") == "redis":
        differences = {row: (reason, False) for row, (reason, must) in differences.items()
                       if not must}
    tally = Tally(differences, options.verbose)
    wires = {profile: Wire(profile) for profile in ("default", "pass")}
    files = Files(wires["default"].vocabulary)
    for row in rows:
        player = wires.get(row.profile, files)
        lacking = player.missing(row)
        if lacking:
            tally.skip(lacking)
        else:
            tally.add(row, player.play(row))
    for wire in wires.values():
        wire.close()
    tally.show()
    finish(tally.passed + tally.known, tally.failed, sum(tally.skipped.values()))


if __name__ == "__main__":
    main()
