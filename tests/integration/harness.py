"""What an integration test needs: a server of its own, connections with exact bytes, waiting for
conditions.

A test file holds classes derived from `Case`; each class gets one server, flushed before every
test:

    class Append(Case):
        def test_append_creates_a_missing_key(self):
            self.assertEqual(self.call("APPEND", "k", "ab"), 2)

    if __name__ == "__main__":
        main()

Which server is started comes from the environment, so that one file serves every combination:

    OURO_KIND    ouro (default) or redis, the oracle of the distribution
    OURO_BINARY  path of the server; default build/asan/ouro-server, then build/ouro-server
    ENGINE       uring, epoll or auto: what is given to --io-engine

Nothing here sleeps for a fixed time in the hope that something has happened: `wait_until` polls a
condition, and `Conn` reads until the reply is complete. Every wait is bounded. A sanitizer's report
in the log, or an exit with a status other than 0, fails the test that stops the server.
"""
import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
START_SECONDS = 20
STOP_SECONDS = 30
REPLY_SECONDS = 40
PORT_ATTEMPTS = 20

ACCIDENTS = (
    b"ERROR: AddressSanitizer",
    b"ERROR: LeakSanitizer",
    b"runtime error:",
    b"UndefinedBehaviorSanitizer",
    b"=== REDIS BUG REPORT",
    b"ASSERTION FAILED",
)


def wait_until(condition, timeout=10, what="the condition"):
    """Return the first truthy value of `condition()`; fail after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    pause = 0.0005
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("%s did not hold within %s s" % (what, timeout))
        time.sleep(pause)
        pause = min(pause * 2, 0.02)


# ---------------------------------------------------------------------------------------- replies


class Error(str):
    """An error reply; equal to its text, with the code in front: `-ERR syntax error` is 'ERR syntax
    error'."""


class Push(list):
    """An out-of-band message of RESP3."""


class Set(list):
    """A RESP3 set, in the order in which it came."""


class Verbatim(bytes):
    """A RESP3 verbatim string without its three-letter format, which is in `.format`."""

    format = b""


def as_bytes(word):
    if isinstance(word, (bytes, bytearray, memoryview)):
        return bytes(word)
    return str(word).encode("utf-8", "surrogateescape")


def encode(*words):
    """One command as the RESP array that every client sends."""
    parts = [b"*%d\r\n" % len(words)]
    for word in map(as_bytes, words):
        parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(parts)


class NeedMore(Exception):
    """The bytes at hand end inside a reply."""


def reply_end(data, at=0):
    """The offset after the reply that starts at `at`. Raises NeedMore when it is not all there."""
    open_items = 1
    while open_items > 0:
        line_end = data.find(b"\r\n", at)
        if line_end < 0:
            raise NeedMore
        kind = data[at]
        if kind in b"$=!":
            length = int(data[at + 1:line_end])
            at = line_end + 2 + (length + 2 if length >= 0 else 0)
            if at > len(data):
                raise NeedMore
        else:
            if kind in b"*~>":
                open_items += max(int(data[at + 1:line_end]), 0)
            elif kind in b"%":
                open_items += 2 * int(data[at + 1:line_end])
            elif kind in b"|":
                open_items += 2 * int(data[at + 1:line_end]) + 1
            elif kind not in b"+-:_,#(":
                raise ValueError("not a reply: %r" % bytes(data[at:at + 60]))
            at = line_end + 2
        open_items -= 1
    return at


def parse(data, at=0):
    """(value, offset after it) of the complete reply at `at`."""
    line_end = data.index(b"\r\n", at)
    kind, line, at = data[at:at + 1], bytes(data[at + 1:line_end]), line_end + 2
    if kind == b"+":
        return line.decode("utf-8", "replace"), at
    if kind == b"-":
        return Error(line.decode("utf-8", "replace")), at
    if kind in (b":", b"("):
        return int(line), at
    if kind == b",":
        return float(line), at
    if kind == b"#":
        return line == b"t", at
    if kind == b"_":
        return None, at
    length = int(line)
    if kind in (b"$", b"=", b"!"):
        if length < 0:
            return None, at
        body = bytes(data[at:at + length])
        at += length + 2
        if kind == b"!":
            return Error(body.decode("utf-8", "replace")), at
        if kind == b"=":
            text = Verbatim(body[4:])
            text.format = body[:3]
            return text, at
        return body, at
    if length < 0:
        return None, at
    if kind in (b"%", b"|"):
        pairs = []
        for _ in range(length):
            key, at = parse(data, at)
            value, at = parse(data, at)
            pairs.append((key, value))
        if kind == b"|":
            return parse(data, at)
        try:
            return dict(pairs), at
        except TypeError:
            return pairs, at
    items = []
    for _ in range(length):
        item, at = parse(data, at)
        items.append(item)
    return {b"*": list, b"~": Set, b">": Push}[kind](items), at


class Conn:
    """A client that shows every byte. `call` speaks in values, `raw` in bytes; `send` sends what it
    is given."""

    def __init__(self, port=None, host="127.0.0.1", path=None, timeout=REPLY_SECONDS):
        if path is not None:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(path)
        else:
            self.socket = socket.create_connection((host, port), timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pending = bytearray()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def send_command(self, *words):
        self.send(encode(*words))

    def read_raw(self):
        """The exact bytes of the next reply. ConnectionError when the server closes before its
        end."""
        while True:
            try:
                end = reply_end(self.pending)
            except NeedMore:
                self._receive()
                continue
            reply = bytes(self.pending[:end])
            del self.pending[:end]
            return reply

    def read(self):
        return parse(self.read_raw())[0]

    def _receive(self):
        data = self.socket.recv(1 << 20)
        if not data:
            raise ConnectionError("closed by the server after %r" % bytes(self.pending[-200:]))
        self.pending += data

    def read_bytes(self, count):
        """Exactly `count` bytes, whatever they mean."""
        while len(self.pending) < count:
            self._receive()
        data = bytes(self.pending[:count])
        del self.pending[:count]
        return data

    def read_to_end(self):
        """All bytes until the server closes."""
        try:
            while True:
                self._receive()
        except ConnectionError:
            data = bytes(self.pending)
            self.pending.clear()
            return data

    def is_closed(self):
        """Whether the server has closed, within the connection's timeout; bytes before the end are
        dropped."""
        try:
            self.read_to_end()
            return True
        except socket.timeout:
            return False

    def call(self, *words):
        """Send one command, return its parsed reply; an error reply is returned as `Error`, not
        raised."""
        self.send_command(*words)
        return self.read()

    def raw(self, *words):
        self.send_command(*words)
        return self.read_raw()

    def pipeline(self, commands):
        """Send all, then read all: the parsed replies in order."""
        self.send(b"".join(encode(*words) for words in commands))
        return [self.read() for _ in commands]


# ----------------------------------------------------------------------------------------- server


def free_port():
    """A port that nobody listens on at this moment; another process may still take it, so callers
    retry.

    It lies below those that the kernel gives to outgoing connections: one of these could take the
    port while a test's server is down."""
    for _ in range(PORT_ATTEMPTS):
        port = random.SystemRandom().randrange(10000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port was found")


def default_binary():
    for path in ("build/asan/ouro-server", "build/ouro-server"):
        if os.path.exists(os.path.join(ROOT, path)):
            return os.path.join(ROOT, path)
    raise FileNotFoundError("no server is built: run `make asan` or `make`")


LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


def die_with_parent():
    """In the child: a server never outlives the test that started it, even when the test is
    killed."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Server:
    """One server process in a directory of its own. Use it in a `with` block, or call start() and
    stop().

    `args` are directives ("--maxmemory", "10mb"); `config` is the text of a configuration file;
    `kind`, `binary` and `engine` default to the environment's choice (see the top of this file)."""

    def __init__(self, *args, config=None, kind=None, binary=None, engine=None, port=None):
        self.kind = kind or os.environ.get("OURO_KIND", "ouro")
        if self.kind == "redis":
            self.binary = binary or "/usr/bin/redis-server"
        else:
            self.binary = binary or os.environ.get("OURO_BINARY") or default_binary()
        self.engine = engine or os.environ.get("ENGINE", "auto")
        self.args = [str(arg) for arg in args]
        self.config = config
        self.fixed_port = port
        self.port = None
        self.process = None
        self.directory = tempfile.mkdtemp(prefix="ouro-test-")
        self.log_path = os.path.join(self.directory, "server.log")
        self.log_start = 0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, error, _trace):
        if error is None:
            self.stop()
        else:
            self.kill()
            sys.stderr.write(self.log_tail())
        self.remove()

    def command_line(self, port):
        command = [self.binary]
        if self.config is not None:
            path = os.path.join(self.directory, "server.conf")
            if not os.path.exists(path):
                with open(path, "wb") as file:
                    file.write(as_bytes(self.config))
            command.append(path)
        command += ["--port", str(port), "--bind", "127.0.0.1", "--dir", self.directory]
        if "--save" not in self.args:
            command += ["--save", ""]
        if self.kind == "ouro" and self.engine != "auto":
            command += ["--io-engine", self.engine]
        return command + self.args

    def launch(self, port):
        """Start the process without waiting for it: for tests of a start that fails."""
        environment = dict(os.environ)
        environment.setdefault("ASAN_OPTIONS", "detect_leaks=1:exitcode=99:abort_on_error=0")
        environment.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1:exitcode=99")
        self.log_start = os.path.getsize(self.log_path) if os.path.exists(self.log_path) else 0
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command_line(port), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.directory, env=environment, preexec_fn=die_with_parent)
        self.port = port
        return self.process

    def start(self):
        for _ in range(PORT_ATTEMPTS):
            self.launch(self.fixed_port or self.port or free_port())
            if wait_until(self._answers_or_exited, START_SECONDS, "a reply to PING") == "answers":
                return self
            if b"ddress already in use" not in self.log():
                break
            self.port = None
        status, log = self.process.returncode, self.log_tail()
        self.process = None
        raise AssertionError("%s did not start (status %s):\n%s" % (self.binary, status, log))

    def _answers_or_exited(self):
        if self.process.poll() is not None:
            return "exited"
        try:
            with Conn(self.port, timeout=2) as conn:
                conn.send(b"PING\r\n")
                answer = conn.read_raw()
        except (OSError, ValueError):
            return None
        # Only our own process may answer: a stranger on the port means that ours is about to give
        # up.
        if self.process.poll() is not None:
            return "exited"
        return "answers" if not answer.startswith(b"-LOADING") else None

    def stop(self):
        """Ask for an orderly end and insist on one: status 0 and no sanitizer report."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
        try:
            status = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("no end within %d s of SIGTERM:\n%s" % (STOP_SECONDS,
                                                                         self.log_tail()))
        self.process = None
        self.check_log()
        if status != 0:
            raise AssertionError("the server ended with status %d:\n%s" % (status, self.log_tail()))

    def kill(self):
        """End it at once, as a crash would."""
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self, crash=False):
        self.kill() if crash else self.stop()
        self.start()

    def remove(self):
        shutil.rmtree(self.directory, ignore_errors=True)

    def check_alive(self):
        if self.process is None or self.process.poll() is not None:
            status = None if self.process is None else self.process.returncode
            raise AssertionError("the server is gone (status %s):\n%s" % (status, self.log_tail()))

    def check_log(self):
        log = self.log()
        for accident in ACCIDENTS:
            if accident in log:
                raise AssertionError("the server's log holds a report:\n" + self.log_tail(200))

    def log(self, whole=False):
        """What this start of the server wrote, or all starts'."""
        try:
            with open(self.log_path, "rb") as file:
                file.seek(0 if whole else self.log_start)
                return file.read()
        except FileNotFoundError:
            return b""

    def log_tail(self, lines=40):
        return "\n".join(self.log().decode("utf-8", "replace").splitlines()[-lines:]) + "\n"

    @property
    def pid(self):
        return self.process.pid

    @property
    def is_hostile(self):
        """Whether the server is of the build with tiny limits."""
        return os.path.basename(os.path.dirname(os.path.abspath(self.binary))) == "hostile"

    def connect(self, timeout=REPLY_SECONDS):
        return Conn(self.port, timeout=timeout)

    def cpu_seconds(self):
        """User and system time that the process has used."""
        with open("/proc/%d/stat" % self.pid) as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_bytes(self):
        with open("/proc/%d/statm" % self.pid) as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def fd_count(self):
        return len(os.listdir("/proc/%d/fd" % self.pid))


# ------------------------------------------------------------------------------------------ cases


class Case(unittest.TestCase):
    """Tests that share one server: `args` and `config` of the class start it; it is flushed before
    each test.

    A test that breaks the server must start its own: `with self.own_server("--maxclients", "3") as
    server:`."""

    args = ()
    config = None
    server = None

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.args, config=cls.config)
        cls.addClassCleanup(cls.server.remove)
        cls.addClassCleanup(cls.server.kill)
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def setUp(self):
        if self.server.process.poll() is not None:
            self.server.kill()
            self.server.start()
        self.conn = self.connect()
        self.conn.call("FLUSHALL")

    def tearDown(self):
        self.server.check_alive()

    def connect(self, timeout=REPLY_SECONDS):
        conn = self.server.connect(timeout)
        self.addCleanup(conn.close)
        return conn

    def call(self, *words):
        return self.conn.call(*words)

    def raw(self, *words):
        return self.conn.raw(*words)

    def own_server(self, *args, **options):
        return Server(*args, **options)

    def needs_command(self, name):
        """Skip where the server under test has no such command."""
        if self.call("COMMAND", "INFO", name) in ([None], [[]]):
            self.skipTest("no command " + name)

    def assert_error(self, reply, prefix):
        self.assertIsInstance(reply, Error)
        self.assertTrue(reply.startswith(prefix), "%r does not start with %r" % (reply, prefix))


class Report(unittest.TestResult):
    """One line per test, in the words of its name, and the totals in the form that tests/run.py
    reads."""

    passed = 0

    def name_of(self, test):
        if not hasattr(test, "_testMethodName"):
            return str(test)
        words = test._testMethodName.removeprefix("test_").replace("_", " ")
        return "%s: %s" % (type(test).__name__.lower(), words)

    def line(self, verdict, test, detail=""):
        print("%s %s%s" % (verdict, self.name_of(test), detail), flush=True)

    def addSuccess(self, test):
        self.passed += 1
        self.line("ok", test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.line("skipped", test, ": " + reason)

    def failed(self, test, error):
        self.line("FAILED", test)
        print(self._exc_info_to_string(error, test))
        log = getattr(getattr(test, "server", None), "log_tail", None)
        if log:
            print("--- log of the server\n" + log())

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.failed(test, error)

    def addError(self, test, error):
        super().addError(test, error)
        self.failed(test, error)

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error is not None:
            print(subtest._subDescription())
            self.failed(test, error)


def finish(passed, failed, skipped=0):
    """Print the totals and leave with the status that goes with them."""
    print("%d passed, %d failed%s" % (passed, failed, ", %d skipped" % skipped if skipped else ""))
    sys.stdout.flush()
    sys.exit(1 if failed else 0)


def main():
    """Run the tests of the calling file; an argument selects those whose name contains it."""
    words = [word.replace(" ", "_") for word in sys.argv[1:]]
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    if words:
        suite = unittest.TestSuite(
            test for group in suite for test in group if any(word in test.id() for word in words))
    report = Report()
    suite.run(report)
    finish(report.passed, len(report.failures) + len(report.errors), len(report.skipped))
