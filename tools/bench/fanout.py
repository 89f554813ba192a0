"""make bench-fanout: what PUBLISH to a thousand subscribers costs the server per delivery.

An audience (fanout.c) publishes 64 bytes, waits for the answer, reads the message from all
subscribers, and does so again. The figure is the server's CPU time per delivery; the floor sends the
same bytes to the same sockets from one constant. The servers take turns, some hundred messages each,
and the ratio to the floor is the median of the ratios of turns that follow each other.

Options, as variables of make or of the environment: ROUNDS=20 turns, SCALE=1 multiplies messages,
SUBSCRIBERS=1000, SERVERS and PEERS as for make bench."""
import os
import statistics
import subprocess

from page import number, preamble, replace_part, table, verdict
from servers import (FLOOR_NAME, Failed, Server, child, contenders, exit_on_signals, own_program,
                     raise_open_files, say, scaled)

MESSAGES = 300
RATIO_MOST = 1.1


class Audience:
    def __init__(self, server, subscribers):
        self.server = server
        self.process = child([own_program("bench/fanout"), str(server.port), str(subscribers)],
                             text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.await_line("ready")

    def await_line(self, line):
        if self.process.stdout.readline().strip() != line:
            raise Failed("the audience of %s lost its connection" % self.server.name)

    def cpu_us(self, messages, subscribers):
        """The server's CPU time per delivery."""
        before = self.server.cpu()[0]
        self.process.stdin.write("%d\n" % messages)
        self.process.stdin.flush()
        self.await_line("done")
        return (self.server.cpu()[0] - before) * 1e6 / (messages * subscribers)


def measure(commands, turns, messages, subscribers):
    servers = {name: Server(name, command) for name, command in commands.items()}
    try:
        audiences = {name: Audience(server, subscribers) for name, server in servers.items()}
        for audience in audiences.values():
            audience.cpu_us(messages // 10 + 1, subscribers)  # Warm.
        figures = {name: [] for name in servers}
        for turn in range(turns):
            for name, audience in audiences.items():
                figures[name].append(audience.cpu_us(messages, subscribers))
            say("turn %d: %s" % (turn + 1, ", ".join("%s %.2f us" % (name, values[-1])
                                                     for name, values in figures.items())))
        return figures
    finally:
        for server in servers.values():
            server.stop()


def main():
    exit_on_signals()
    raise_open_files()
    turns = int(os.environ.get("ROUNDS") or 20)
    subscribers = int(os.environ.get("SUBSCRIBERS") or 1000)
    figures = measure(contenders(), turns, scaled(MESSAGES), subscribers)
    floor = figures[FLOOR_NAME]
    rows = []
    for name, values in figures.items():
        ratio = statistics.median(value / base for value, base in zip(values, floor))
        rows.append([name, number(statistics.median(values), 2, " us"), number(ratio, 2),
                     "" if not name.startswith("Ouro (uring") else
                     "at most %.1f: %s" % (RATIO_MOST, verdict(ratio, RATIO_MOST))])
    lines = preamble("bench-fanout", {}) + [
        "One message of 64 bytes to %d subscribers at a time, %d turns of %d messages each." % (
            subscribers, turns, scaled(MESSAGES)), ""]
    lines += table(["server", "CPU per delivery", "x floor", "target"], rows)
    replace_part("fanout", lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
