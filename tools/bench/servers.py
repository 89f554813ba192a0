"""Servers under measurement: starting them, loading keys into them, reading their CPU time and memory.

CPU time comes from /proc/PID/task/*/schedstat (nanoseconds on a processor, all threads) and is split into
user and system in the proportion of /proc/PID/stat's ticks. It is steadier than throughput on machines with
shared cores, and it is the server's own: the load generator's CPU is not in it.
"""
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KEY = b"key:%012d"  # What redis-benchmark -r makes: 16 bytes.


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def encode(*words):
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)


class Link:
    """A blocking connection that counts replies by their line ends; enough for loading and probing."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(600)

    def ask(self, *words):
        self.socket.sendall(encode(*words))
        return self.socket.recv(1 << 20)

    def load(self, requests, count):
        """Sends requests whose replies are one line each, and reads `count` lines."""
        self.socket.sendall(requests)
        while count > 0:
            count -= self.socket.recv(1 << 20).count(b"\n")

    def close(self):
        self.socket.close()


class Server:
    def __init__(self, name, command, is_floor=False):
        self.name, self.is_floor = name, is_floor
        self.folder = tempfile.mkdtemp(prefix="bench-")
        self.port, self.path = free_port(), os.path.join(self.folder, "socket")
        words = [word.format(port=self.port, path=self.path, dir=self.folder)
                 for word in shlex.split(command)]
        self.log = open(os.path.join(self.folder, "log"), "wb")
        self.process = subprocess.Popen(words, stdout=self.log, stderr=self.log, cwd=self.folder)
        self.pid = self.process.pid
        self.wait_until_ready()

    def wait_until_ready(self):
        until = time.time() + 20
        while True:
            try:
                Link(self.port).close()
                return
            except OSError:
                if self.process.poll() is not None or time.time() > until:
                    raise SystemExit("%s did not start; see %s/log" % (self.name, self.folder))
                time.sleep(0.02)

    def cpu(self):
        """(user, system) seconds on a processor so far."""
        total = 0
        for thread in os.listdir("/proc/%d/task" % self.pid):
            with open("/proc/%d/task/%s/schedstat" % (self.pid, thread)) as file:
                total += int(file.read().split()[0])
        with open("/proc/%d/stat" % self.pid) as file:
            fields = file.read().rsplit(") ", 1)[1].split()
        return total / 1e9, int(fields[11]), int(fields[12])

    def rss(self):
        with open("/proc/%d/statm" % self.pid) as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def info(self, field):
        reply = subprocess.run(["redis-cli", "-p", str(self.port), "info", "memory"],
                               capture_output=True, text=True).stdout
        for line in reply.splitlines():
            if line.startswith(field + ":"):
                return int(line.split(":")[1])
        return None

    def fill(self, count, value_len, ttl_s=0, chunk=20000):
        """Sets `count` keys as redis-benchmark names them."""
        link, value = Link(self.port), b"x" * value_len
        tail = b"$%d\r\n%s\r\n" % (value_len, value)
        tail += encode("EX", str(ttl_s))[4:] if ttl_s else b""
        head = b"*%d\r\n$3\r\nSET\r\n$16\r\n" % (5 if ttl_s else 3)
        for first in range(0, count, chunk):
            last = min(first + chunk, count)
            link.load(b"".join(head + KEY % i + b"\r\n" + tail for i in range(first, last)), last - first)
        link.close()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


QUIET = " --save '' --appendonly no"


def ouro(engine):
    return (os.path.join(ROOT, "build/ouro-server") +
            " --port {port} --bind 127.0.0.1 --unixsocket {path} --io-engine %s --save ''" % engine)


REDIS = "redis-server --port {port} --bind 127.0.0.1 --unixsocket {path}" + QUIET
FLOOR = os.path.join(ROOT, "build/bench/floor") + " {port} {path}"


def contenders(with_floor=True):
    """name -> command of everything that is compared; PEERS="name=command;name=command" adds more, whose
    commands may say {port}, {path} and {dir}."""
    commands = {"floor": FLOOR} if with_floor else {}
    commands["Ouro (uring)"] = ouro("uring")
    commands["Ouro (epoll)"] = ouro("epoll")
    commands["Redis " + redis_version()] = REDIS
    for peer in filter(None, os.environ.get("PEERS", "").split(";")):
        name, command = peer.split("=", 1)
        commands[name] = command
    return commands


def redis_version():
    text = subprocess.run(["redis-server", "--version"], capture_output=True, text=True).stdout
    return text.split("v=")[1].split()[0]
