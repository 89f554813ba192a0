"""make bench-scripts: what a script costs the server.

Three scripts that applications run: a limit of rate, and BullMQ's that add a job and take one. One
connection sends the same EVALSHA sixteen at a time; the figure is the server's CPU time per EVALSHA.
A job that is taken was added in the same turn. The servers take turns, and the ratio to Redis is the
median of the ratios of turns that follow each other.

Options, as variables of make or of the environment: ROUNDS=9 turns, SCALE=1 multiplies the runs of a
turn, SERVERS and PEERS as for make bench."""
import json
import os
import statistics
import subprocess

from page import number, table
from servers import (ROOT, Failed, Link, Server, contenders, encode, exit_on_signals, redis_name,
                     rounds, say, scaled)

BATCH = 16
RUNS = 16000
END = b"+PONG\r\n"
LIMIT = """local n = redis.call('INCR', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[1]); left = tonumber(ARGV[1]) end
return {n, left}"""


def requests_of(server):
    """name -> the bytes of one EVALSHA, in the order in which they are measured."""
    link = Link(server.port)
    sha = link.ask("SCRIPT", "LOAD", LIMIT)
    link.close()
    requests = {"limit of rate": encode("EVALSHA", sha, 1, "limit:somebody", 3600000)}
    captured = subprocess.run(["node", os.path.join(ROOT, "tools/bench/bullmq.mjs"),
                               str(server.port)], check=True, stdout=subprocess.PIPE)
    for name, text in json.loads(captured.stdout).items():
        requests["BullMQ " + name] = bytes.fromhex(text)
    return requests


def cpu_us(server, request, runs):
    """The server's CPU time per run. A PING at the end of each batch tells that all is answered."""
    link = Link(server.port)
    batch = request * BATCH + encode("PING")
    before = server.cpu()[0]
    for _ in range(runs // BATCH):
        link.send_load(batch)
        data = link.receive()
        if data[:1] == b"-":
            raise Failed("%s: %s" % (server.name, data.partition(b"\r\n")[0].decode()))
        while data[-len(END):] != END:
            data = data[-len(END):] + link.receive()
    spent = server.cpu()[0] - before
    link.close()
    return spent * 1e6 / (runs // BATCH * BATCH)


def measure(commands, turns, runs):
    """name of a request -> name of a server -> figures, one for each turn."""
    servers = {name: Server(name, command) for name, command in commands.items()}
    try:
        requests = {name: requests_of(server) for name, server in servers.items()}
        figures = {}
        for turn in range(turns + 1):
            for what in requests[next(iter(servers))]:
                for name, server in servers.items():
                    value = cpu_us(server, requests[name][what], runs)
                    if turn > 0:  # The first one warms.
                        figures.setdefault(what, {}).setdefault(name, []).append(value)
            say("turn %d of %d" % (turn, turns))
        return figures
    finally:
        for server in servers.values():
            server.stop()


def main():
    exit_on_signals()
    figures = measure(contenders(with_floor=False), rounds(9), scaled(RUNS))
    rows = []
    for what, by_server in figures.items():
        base = by_server.get(redis_name(), [])
        for name, values in by_server.items():
            ratios = [value / other for value, other in zip(values, base)]
            rows.append([what, name, number(statistics.median(values), 2, " us"),
                         number(statistics.median(ratios), 2) if ratios else ""])
    print("\n".join(table(["script", "server", "CPU per EVALSHA", "x " + redis_name()], rows)))


if __name__ == "__main__":
    main()
