"""Throughput, latency and CPU per operation, side by side.

Every round runs the same load against every server in turn, so that a change of the machine's speed hits all of them;
figures are medians over rounds, and ratios to the floor are medians of the ratios within each round.
"""
import statistics
import subprocess

from servers import Server

VALUE_LEN = 64


class Case:
    def __init__(self, test, pipeline, clients, keys, transport, count):
        self.test, self.pipeline, self.clients = test, pipeline, clients
        self.keys, self.transport, self.count = keys, transport, count

    def title(self):
        return "%s, pipeline %d, %d connections, %s keys, %s" % (
            self.test.upper(), self.pipeline, self.clients, short(self.keys), self.transport)


def short(count):
    return "%d M" % (count // 1000000) if count >= 1000000 else str(count)


def run_load(server, case):
    """One redis-benchmark run: operations per second and latencies (ms) as it reports them."""
    words = ["redis-benchmark", "-t", case.test, "-n", str(case.count), "-c", str(case.clients),
             "-P", str(case.pipeline), "-d", str(VALUE_LEN), "-r", str(case.keys), "--csv"]
    words += ["-s", server.path] if case.transport == "unix" else ["-p", str(server.port)]
    lines = subprocess.run(words, capture_output=True, text=True).stdout.splitlines()
    row = [line for line in lines if line.lower().startswith('"%s' % case.test)][-1]
    fields = [field.strip('"') for field in row.split(",")]
    return {"rps": float(fields[1]), "p50": float(fields[4]), "p99": float(fields[6]),
            "max": float(fields[7])}


def measure(server, case):
    total, user, system = server.cpu()
    figures = run_load(server, case)
    total2, user2, system2 = server.cpu()
    figures["cpu_us"] = (total2 - total) * 1e6 / case.count
    ticks = max(1, (user2 - user) + (system2 - system))
    figures["user_us"] = figures["cpu_us"] * (user2 - user) / ticks
    return figures


def run_cases(cases, commands, rounds, say):
    """{case title: {server: [figures per round]}}; servers stay up for all cases with the same number of keys."""
    results = {}
    for keys in sorted({case.keys for case in cases}):
        servers = [Server(name, command, name == "floor") for name, command in commands.items()]
        try:
            for server in servers:
                if not server.is_floor:
                    server.fill(keys, VALUE_LEN)
            for case in [case for case in cases if case.keys == keys]:
                say("  " + case.title())
                table = results.setdefault(case.title(), {server.name: [] for server in servers})
                for _ in range(rounds):
                    for server in servers:
                        table[server.name].append(measure(server, case))
        finally:
            for server in servers:
                server.stop()
    return results


def median(rows, field):
    return statistics.median(row[field] for row in rows)


def ratio_to_floor(table, name, field="cpu_us"):
    pairs = zip(table[name], table["floor"])
    return statistics.median(row[field] / floor[field] for row, floor in pairs)


def own_share(table, name):
    """User-mode CPU above the floor's own, as a multiple of the floor's whole CPU."""
    pairs = zip(table[name], table["floor"])
    return statistics.median((row["user_us"] - floor["user_us"]) / floor["cpu_us"]
                             for row, floor in pairs)
