"""Pauses: a second connection sends GET all the time while something large happens; its worst and its 99.9th percentile
are the figures.

The prober is a small C program (probe.c), because an interpreter's own pauses would drown what is measured. The machine
itself stalls at times; so each scenario is run several times and the best run's figures are given, beside those of an idle
server measured in the same way.
"""
import os
import subprocess
import time

from servers import KEY, ROOT, Link, Server, encode

PROBE = os.path.join(ROOT, "build/bench/probe")


class Probe:
    """Runs beside a scenario; figures in milliseconds."""

    def __init__(self, port):
        self.process = subprocess.Popen([PROBE, str(port)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()

    def stop(self):
        self.process.stdin.close()
        worst, p999, count = self.process.stdout.readline().split()
        self.process.wait()
        return {"max": float(worst), "p999": float(p999), "count": int(count)}


def probed(server, action):
    probe = Probe(server.port)
    action()
    return probe.stop()


def idle(server, keys):
    return probed(server, lambda: time.sleep(3))


def growth(server, keys):
    return probed(server, lambda: server.fill(keys, 8))


def keys_all(server, keys):
    server.fill(keys, 8)
    link = Link(server.port)

    def ask():
        link.socket.sendall(encode("KEYS", "*2345*"))
        data = link.socket.recv(1 << 16)
        lines = int(data[1:data.index(b"\r\n")]) * 2 + 1
        seen = data.count(b"\n")
        while seen < lines:
            seen += link.socket.recv(1 << 20).count(b"\n")
    return probed(server, ask)


def flushall(server, keys):
    server.fill(keys, 8)
    link = Link(server.port)

    def flush():
        link.ask("FLUSHALL")
        time.sleep(3)  # The memory is freed behind the reply.
    return probed(server, flush)


def mass_expiry(server, keys):
    """Keys whose times all lie in the same second; also how long after that second the memory is back."""
    link = Link(server.port)
    empty = server.info("used_memory")
    at_ms = int(time.time() * 1000) + 8000 + keys // 200
    head = b"*5\r\n$3\r\nSET\r\n$16\r\n"
    for first in range(0, keys, 20000):
        last = min(first + 20000, keys)
        link.load(b"".join(head + KEY % i + b"\r\n$8\r\nxxxxxxxx\r\n" + encode("PXAT", str(at_ms + i % 1000))[4:]
                           for i in range(first, last)), last - first)
    back = {}

    def wait():
        while time.time() * 1000 < at_ms:
            time.sleep(0.01)
        while server.info("used_memory") > empty + (8 << 20):
            time.sleep(0.02)
            if time.time() * 1000 > at_ms + 60000:
                break
        back["back_s"] = time.time() - (at_ms + 999) / 1000
    figures = probed(server, wait)
    figures.update(back)
    return figures


SCENARIOS = [("nothing else happens", idle, 1000000, 0),
             ("the table grows to {keys} keys", growth, 20000000, 1),
             ("KEYS on {keys} keys", keys_all, 10000000, 1),
             ("FLUSHALL of {keys} keys", flushall, 10000000, 1),
             ("{keys} keys expire in one second", mass_expiry, 2000000, 1)]


def run(command, scenario, keys):
    server = Server("pause", command)
    try:
        return scenario(server, keys)
    finally:
        server.stop()
