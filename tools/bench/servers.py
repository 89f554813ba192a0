"""Servers under measurement: starting them, loading keys into them, reading their CPU time and
memory.

CPU time is the process's own clock (nanoseconds on a processor, all threads, also those that
ended). The kernel knows how much of it was user mode only by sampling; /proc/PID/stat gives that
split. CPU time is steadier than throughput on machines with shared cores, and it is the server's
alone: the load generator's is not in it.

Whatever is started here dies with this program, however that ends: see `child`."""
import atexit
import ctypes
import functools
import os
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KEY = b"key:%012d"  # What redis-benchmark -r makes: 16 bytes.
CHUNK = 10000  # Requests that are sent before their replies are read.
OURO_URING, OURO_EPOLL, FLOOR_NAME = "Ouro (uring)", "Ouro (epoll)", "floor"

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


class Failed(Exception):
    """A server did not start, or did not do what was asked of it."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def exit_on_signals():
    """A polite end runs the `finally` blocks that stop servers and remove their folders."""
    def leave(number, _frame):
        sys.exit(128 + number)
    signal.signal(signal.SIGINT, leave)
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)


def child(words, **options):
    """Starts a program that the kernel kills when this one dies."""
    def setup():
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return subprocess.Popen(words, preexec_fn=setup, **options)


@functools.lru_cache(maxsize=None)
def own_program(path):
    """A copy of a program of build/ that lasts as long as this run: building in the meantime must
    not change what is measured."""
    folder = tempfile.mkdtemp(prefix="bench-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        return shutil.copy(os.path.join(ROOT, "build", path), folder)
    except OSError as error:
        raise Failed("build/%s: %s" % (path, error.strerror)) from error


def raise_open_files():
    """Thousands of connections need as many descriptors, here and in the servers, which inherit
    this."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def bulk(data):
    data = data if isinstance(data, bytes) else str(data).encode()
    return b"$%d\r\n%s\r\n" % (len(data), data)


def encode(*words):
    return b"*%d\r\n%s" % (len(words), b"".join(bulk(word) for word in words))


class Link:
    """A blocking connection that knows just enough of the protocol to load and to ask."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(600)

    def receive(self):
        data = self.socket.recv(1 << 20)
        if not data:
            raise Failed("the server closed the connection")
        return data

    def ask(self, *words):
        """The reply's text: one line, or a bulk string."""
        self.socket.sendall(encode(*words))
        data = self.receive()
        while b"\r\n" not in data:
            data += self.receive()
        head, _, rest = data.partition(b"\r\n")
        if head[:1] == b"-":
            raise Failed(head[1:].decode())
        if head[:1] != b"$":
            return head[1:].decode()
        while len(rest) < int(head[1:]) + 2:
            rest += self.receive()
        return rest[:-2].decode()

    def send_load(self, requests):
        self.socket.sendall(requests)

    def await_load(self, count):
        """Reads `count` lines of replies, none of which may begin an error."""
        rest = b""
        while count > 0:
            lines = (rest + self.receive()).split(b"\n")
            rest = lines.pop()
            for line in lines:
                if line[:1] == b"-":
                    raise Failed(line[1:].strip().decode())
            count -= len(lines)

    def load(self, chunks):
        """Sends (requests, count) after (requests, count), each once the one before is answered."""
        for requests, count in chunks:
            self.send_load(requests)
            self.await_load(count)

    def close(self):
        self.socket.close()


class Server:
    """One running server in a folder of its own. Use `with`, or call stop()."""

    def __init__(self, name, command):
        self.name, self.is_floor = name, name == FLOOR_NAME
        self.folder = tempfile.mkdtemp(prefix="bench-")
        self.port, self.path = free_port(), os.path.join(self.folder, "socket")
        self.has_path = "{path}" in command
        self.process, self.log = None, None
        try:
            self.start(command)
        except BaseException:
            self.stop()
            raise

    def start(self, command):
        words = [word.replace("{port}", str(self.port)).replace("{path}", self.path)
                 .replace("{dir}", self.folder) for word in shlex.split(command)]
        self.log = open(os.path.join(self.folder, "log"), "w+b")
        try:
            self.process = child(words, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                 cwd=self.folder)
        except OSError as error:
            raise Failed("%s did not start: %s" % (self.name, error)) from error
        self.pid = self.process.pid
        self.wait_until_ready()

    def wait_until_ready(self):
        until = time.time() + 20
        while True:
            try:
                Link(self.port).close()
                if not self.has_path or os.path.exists(self.path):
                    return
            except OSError:
                pass
            if self.process.poll() is not None or time.time() > until:
                self.log.seek(0)
                raise Failed("%s did not start: %s" %
                             (self.name, self.log.read()[-400:].decode(errors="replace").strip()))
            time.sleep(0.02)

    def cpu(self):
        """Seconds on a processor so far, and the sampled ticks of user and of system mode."""
        clock = (~self.pid << 3) | 2  # What clock_getcpuclockid(3) gives for a process.
        seconds = time.clock_gettime(clock)
        with open("/proc/%d/stat" % self.pid) as file:
            fields = file.read().rsplit(") ", 1)[1].split()
        return seconds, int(fields[11]), int(fields[12])

    def rss(self):
        with open("/proc/%d/statm" % self.pid) as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def info(self, section):
        """The fields of one section of INFO, as text."""
        link = Link(self.port)
        try:
            lines = link.ask("INFO", section).splitlines()
        finally:
            link.close()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def used_memory(self):
        return int(self.info("memory")["used_memory"])

    def version(self):
        """What the server calls itself, for the page."""
        fields = {} if self.is_floor else self.info("server")
        for field in ("ouro_version", "valkey_version", "redis_version"):
            if field in fields:
                return "%s %s" % (field.split("_", 1)[0], fields[field])
        return ""

    def fill(self, chunks):
        link = Link(self.port)
        try:
            link.load(chunks)
        finally:
            link.close()

    def stop(self):
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
        if self.log is not None:
            self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Fleet:
    """All servers of a comparison at once. A server that does not start is named and left out."""

    def __init__(self, commands):
        self.servers = []
        try:
            for name, command in commands.items():
                try:
                    self.servers.append(Server(name, command))
                except Failed as failure:
                    say("left out: %s" % failure)
        except BaseException:
            self.stop()
            raise

    def fill(self, chunks):
        """Loads the same into every server but the floor; each chunk is made once."""
        links = [(server, Link(server.port)) for server in self.servers if not server.is_floor]
        for requests, count in chunks:
            for server, link in links:
                try:
                    link.send_load(requests)
                    link.await_load(count)
                except (OSError, Failed) as failure:
                    raise Failed("%s: loading: %s" % (server.name, failure)) from failure
        for _, link in links:
            link.close()

    def stop(self):
        for server in self.servers:
            server.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def chunked(count, request):
    """(requests, count) pairs from a function that makes request number N."""
    for first in range(0, count, CHUNK):
        last = min(first + CHUNK, count)
        yield b"".join([request(number) for number in range(first, last)]), last - first


def set_requests(count, value_len, ttl_s=0):
    """SET of `count` keys named as redis-benchmark names them."""
    head = b"*%d\r\n%s$16\r\n" % (5 if ttl_s else 3, bulk("SET"))
    tail = b"\r\n" + bulk(b"x" * value_len)
    if ttl_s:
        tail += bulk("EX") + bulk(ttl_s)
    return chunked(count, lambda number: head + KEY % number + tail)


def ouro_command(engine):
    return (own_program("ouro-server") + " --port {port} --bind 127.0.0.1 --unixsocket {path}"
            " --save '' --appendonly no --io-engine " + engine)


REDIS_COMMAND = ("redis-server --port {port} --bind 127.0.0.1 --unixsocket {path} --save ''"
                 " --appendonly no")


def contenders(with_floor=True):
    """name -> command of everything that is compared. PEERS="name=command;name=command" adds more,
    whose commands may say {port}, {path} and {dir}; SERVERS="floor;uring" keeps those whose names
    hold one of these words."""
    makers = {}
    if with_floor:
        makers[FLOOR_NAME] = lambda: own_program("bench/floor") + " {port} {path}"
    makers[OURO_URING] = lambda: ouro_command("uring")
    makers[OURO_EPOLL] = lambda: ouro_command("epoll")
    commands = {}
    for name, make in makers.items():
        try:
            commands[name] = make()
        except Failed as failure:
            say("left out: %s: %s" % (name, failure))
    commands[redis_name()] = REDIS_COMMAND
    for peer in filter(str.strip, os.environ.get("PEERS", "").split(";")):
        name, command = peer.split("=", 1)
        commands[name.strip()] = command
    chosen = [word for word in os.environ.get("SERVERS", "").split(";") if word]
    return {name: command for name, command in commands.items()
            if not chosen or name == FLOOR_NAME or any(word in name for word in chosen)}


def redis_name():
    try:
        text = subprocess.run(["redis-server", "--version"], capture_output=True, text=True).stdout
        return "Redis " + text.split("v=")[1].split()[0]
    except (OSError, IndexError):
        return "Redis"


def scale():
    """SCALE=0.01 makes a quick run: it multiplies the counts of operations and of keys."""
    return float(os.environ.get("SCALE") or 1)


def scaled(count, least=1000):
    return max(least, int(count * scale()))


def rounds(default):
    return int(os.environ.get("ROUNDS") or default)


def short(count):
    """1000000 as "1 M"."""
    for unit, name in ((1000000, " M"), (1000, ",000")):
        if count >= unit and count % unit == 0:
            return "%d%s" % (count // unit, name)
    return str(count)
