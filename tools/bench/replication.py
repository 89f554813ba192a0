"""make bench-replication: what a replica costs its primary.

The stream. Pipelined SETs, 16 at a time from 50 connections, to a primary without a replica and with
one. The figure is the primary's CPU time per SET, and the difference is the cost of replication. The
replica is a program that reads and acknowledges and does nothing else, the same for all servers, so
that what is measured is the primary's own. Both kinds of run take turns.

The full synchronisation. Keys with values of 64 bytes; the figures are the seconds from PSYNC to the
last byte of the snapshot, with the same program as replica, the primary's CPU time (a child's
included), and its extra memory. One replica, no delay, and nothing else to do.

Options, as variables of make or of the environment: ROUNDS=5, SCALE=1 multiplies writes and keys,
SERVERS and PEERS as for make bench."""
import os
import statistics
import subprocess
import threading
import time

from page import number, preamble, replace_part, table, verdict
from servers import (OURO_EPOLL, OURO_URING, Failed, Link, Server, child, contenders, encode,
                     exit_on_signals, own_program, raise_open_files, redis_name, rounds, say, scaled,
                     set_requests)

WRITES = 2000000
KEYS = 5000000
VALUE_LEN = 64
SHARE_MOST = 0.5  # Of Redis's cost of replication.
ANSWER_S = 120


class Replica:
    """The program that reads the stream; it tells when the snapshot is whole, and its bytes."""

    def __init__(self, server):
        self.begun = time.time()
        self.process = child([own_program("bench/replica"), str(server.port)], text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def await_snapshot(self):
        words = self.process.stdout.readline().split()
        if len(words) != 2 or words[0] != "snapshot":
            raise Failed("the replica lost its connection")
        return time.time() - self.begun, int(words[1])

    def stop(self):
        self.process.kill()
        self.process.wait()


def no_delay(server):
    link = Link(server.port)
    for name, value in (("repl-diskless-sync", "yes"), ("repl-diskless-sync-delay", "0"),
                        ("client-output-buffer-limit", "replica 0 0 0"),
                        ("repl-backlog-size", "64mb")):
        link.ask("CONFIG", "SET", name, value)
    link.close()


def write_cpu_us(server, writes):
    """The primary's CPU time per SET."""
    before = server.cpu()[0]
    result = subprocess.run(["redis-benchmark", "-p", str(server.port), "-t", "set", "-n", str(writes),
                             "-r", "1000000", "-P", "16", "-c", "50", "-d", str(VALUE_LEN), "--csv"],
                            capture_output=True, text=True)
    if result.returncode != 0:
        raise Failed("redis-benchmark: %s" % result.stderr.strip())
    rate = float(result.stdout.splitlines()[-1].split(",")[1].strip('"'))
    return (server.cpu()[0] - before) * 1e6 / writes, rate


def await_stream(server):
    """Until the replica has acknowledged all."""
    until = time.time() + ANSWER_S
    while time.time() < until:
        fields = server.info("replication")
        if "offset=%s," % fields["master_repl_offset"] in fields.get("slave0", ""):
            return
        time.sleep(0.02)
    raise Failed("%s: the replica does not follow" % server.name)


def stream_turn(server, writes):
    """CPU per SET without a replica and with one, and operations per second with one."""
    alone, _ = write_cpu_us(server, writes)
    replica = Replica(server)
    try:
        replica.await_snapshot()
        before = server.cpu()[0]
        together, rate = write_cpu_us(server, writes)
        await_stream(server)
        together = (server.cpu()[0] - before) * 1e6 / writes
    finally:
        replica.stop()
    return {"alone": alone, "together": together, "cost": together - alone, "rate": rate}


def measure_stream(commands, turns, writes):
    servers = {name: Server(name, command) for name, command in commands.items()}
    try:
        for server in servers.values():
            no_delay(server)
            write_cpu_us(server, writes)  # The keys are there from now on.
        found = {name: [] for name in servers}
        for turn in range(turns):
            for name, server in servers.items():
                found[name].append(stream_turn(server, writes))
            say("stream: turn %d of %d" % (turn + 1, turns))
        return found
    finally:
        for server in servers.values():
            server.stop()


class Memory:
    """The most memory that a server and its children take beyond what was there: their private pages,
    those that a child shares with its parent counted once."""

    def __init__(self, server):
        self.server, self.most, self.is_stopping = server, 0, False
        self.before = self.now()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def now(self):
        total = 0
        for pid in [self.server.pid] + children_of(self.server.pid):
            try:
                with open("/proc/%d/smaps_rollup" % pid) as file:
                    fields = dict(line.split(":", 1) for line in file if ":" in line)
                total += int(fields["Pss"].split()[0]) * 1024
            except (OSError, KeyError):
                pass
        return total

    def watch(self):
        while not self.is_stopping:
            self.most = max(self.most, self.now() - self.before)
            time.sleep(0.1)

    def stop(self):
        self.is_stopping = True
        self.thread.join()
        return self.most


def children_of(pid):
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def sync_turn(name, command, keys):
    with Server(name, command) as server:
        no_delay(server)
        server.fill(set_requests(keys, VALUE_LEN))
        cpu = server.cpu()[0]
        memory = Memory(server)
        replica = Replica(server)
        try:
            seconds, size = replica.await_snapshot()
        finally:
            extra = memory.stop()
            replica.stop()
        return {"seconds": seconds, "bytes": size, "cpu": server.cpu()[0] - cpu, "extra": extra}


def measure_sync(commands, turns, keys):
    found = {name: [] for name in commands}
    for turn in range(turns):
        for name, command in commands.items():
            found[name].append(sync_turn(name, command, keys))
        say("full synchronisation: turn %d of %d" % (turn + 1, turns))
    return found


def middle(turns, field):
    return statistics.median(turn[field] for turn in turns)


def stream_rows(found):
    base = redis_name()
    rows = []
    for name, turns in found.items():
        cost = middle(turns, "cost")
        share = cost / middle(found[base], "cost") if base in found else None
        judged = verdict(share, SHARE_MOST) if name in (OURO_URING, OURO_EPOLL) else ""
        rows.append([name, number(middle(turns, "alone"), 3), number(middle(turns, "together"), 3),
                     number(cost, 3), number(share), number(middle(turns, "rate") / 1000, 0), judged])
    return rows


def sync_rows(found):
    base = redis_name()
    rows = []
    for name, turns in found.items():
        seconds = middle(turns, "seconds")
        share = seconds / middle(found[base], "seconds") if base in found else None
        judged = verdict(share, 1) if name in (OURO_URING, OURO_EPOLL) else ""
        rows.append([name, number(seconds), number(share), number(middle(turns, "cpu")),
                     number(middle(turns, "extra") / (1 << 20), 1),
                     number(middle(turns, "bytes") / (1 << 20), 0), judged])
    return rows


def page_part(stream, sync):
    lines = ["**The stream**: SETs of %d bytes, 16 in a pipeline, 50 connections." % VALUE_LEN, ""]
    lines += table(["", "CPU us per SET alone", "with a replica", "replication", "x " + redis_name(),
                    "thousand SETs per second", "<= %s" % SHARE_MOST], stream_rows(stream))
    lines += ["**A full synchronisation** of 5 M keys of %d bytes." % VALUE_LEN, ""]
    lines += table(["", "seconds", "x " + redis_name(), "CPU s of the primary, children not counted",
                    "extra memory, MiB", "snapshot, MiB", "faster"], sync_rows(sync))
    return lines


def main():
    exit_on_signals()
    raise_open_files()
    commands = contenders(with_floor=False)
    versions = {}
    for name, command in commands.items():
        with Server(name, command) as server:
            versions[name] = server.version()
    stream = measure_stream(commands, rounds(5), scaled(WRITES))
    sync = measure_sync(commands, min(rounds(3), 3), scaled(KEYS))
    lines = preamble("bench-replication", versions) + page_part(stream, sync)
    replace_part("replication", lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
