"""Throughput, latency and CPU per operation, side by side.

Every round runs the same load against every server in turn, every second round in reversed order,
so that a change of the machine's speed hits all of them. Figures are medians over rounds, and
ratios to the floor are medians of the ratios within each round.

Starting redis-benchmark, connecting and the end of the connections are not in the CPU figures: each
run is preceded by one that sends a single batch per connection, and its CPU time and operations are
subtracted."""
import csv
import statistics
import subprocess
import time

from servers import FLOOR_NAME, Failed, Fleet, Link, child, say, scaled, set_requests, short

VALUE_LEN = 64
RUN_S_MAX = 600
SETTLE_S = 0.05  # The server sees the end of the connections after redis-benchmark has ended.


class Case:
    """One load. `words` replaces redis-benchmark's own test of that name. `before` names tests that
    put in place what this one takes away; `drop` is a key that is deleted first; `fill` makes the
    requests that each server gets once before the first round, and `filled` names the keys that they
    make, deleted after the last. None of these is measured."""

    def __init__(self, test, pipeline=16, clients=50, size=1000000, transport="tcp", count=0,
                 value_len=VALUE_LEN, words=(), before=(), drop="", fill=None, filled=(),
                 rounds_max=99):
        self.test, self.pipeline, self.clients = test, pipeline, clients
        self.size, self.transport, self.value_len = size, transport, value_len
        self.words, self.before, self.drop = list(words), list(before), drop
        self.fill, self.filled = fill, filled
        self.rounds_max = rounds_max
        batch = clients * pipeline
        count = count or (600000 if pipeline > 1 else 120000)
        # At least two batches per connection, so that something is left after the subtraction.
        self.count = max(scaled(count, 1) // batch, 2) * batch
        self.start_count = batch
        self.keys = scaled(size)

    def title(self):
        return "%s, pipeline %d, %s connections, %s keys, %s" % (
            self.test.upper(), self.pipeline, short(self.clients), short(self.size), self.transport)

    def load_words(self, server, count, test=None):
        """redis-benchmark's command line. `server` may be None, for showing it."""
        words = ["redis-benchmark"]
        if server is None:
            words += ["-s", "SOCKET"] if self.transport == "unix" else ["-p", "PORT"]
        else:
            words += ["-s", server.path] if self.transport == "unix" else ["-p", str(server.port)]
        words += ["-n", str(count), "-c", str(self.clients), "-P", str(self.pipeline),
                  "-d", str(self.value_len), "-r", str(self.keys), "--csv"]
        if test is None and self.words:
            return words + self.words
        return words + ["-t", test or self.test]


def run_load(words):
    """One redis-benchmark run: operations per second and latencies (ms) as it reports them."""
    process = child(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                    text=True)
    try:
        out, err = process.communicate(timeout=RUN_S_MAX)
    except subprocess.TimeoutExpired as expired:
        raise Failed("redis-benchmark did not end in %d s" % RUN_S_MAX) from expired
    finally:
        process.kill()
        process.wait()
    rows = list(csv.reader(out.splitlines()))
    if process.returncode != 0 or not rows or len(rows[-1]) < 8:
        said = [line for line in (err + "\n" + out).splitlines()
                if line and not line.startswith('"test"')]
        raise Failed(said[-1].strip() if said else "redis-benchmark gave no figures")
    figures = [float(field) for field in rows[-1][1:8]]
    return {"rps": figures[0], "p50": figures[3], "p99": figures[5], "max": figures[6]}


def measured(server, words):
    begin, user, system = server.cpu()
    figures = run_load(words)
    time.sleep(SETTLE_S)
    end, user_end, system_end = server.cpu()
    figures.update(cpu=end - begin, user=user_end - user, system=system_end - system)
    return figures


def measure(server, case):
    if not server.is_floor:
        if case.drop:
            run_load(case.load_words(server, 1, "ping_mbulk")[:-2] + ["DEL", case.drop])
        for test in case.before:
            run_load(case.load_words(server, case.count, test))
    start = measured(server, case.load_words(server, case.start_count))
    figures = measured(server, case.load_words(server, case.count))
    # Its clock counts milliseconds: a run shorter than one is infinitely fast.
    figures["rps"] = min(figures["rps"], case.count * 1000.0)
    count = case.count - case.start_count
    figures["cpu_us"] = max(figures["cpu"] - start["cpu"], 1e-9) * 1e6 / count
    return figures


def prepare(case, server):
    if case.fill and not server.is_floor:
        link = Link(server.port)
        link.load(case.fill())
        link.close()


def clear(case, servers):
    for server in servers:
        if case.filled and not server.is_floor:
            link = Link(server.port)
            link.ask("DEL", *case.filled)
            link.close()


def able_servers(case, servers):
    """Those that take what the case puts in place."""
    able = []
    for server in servers:
        try:
            prepare(case, server)
            able.append(server)
        except Failed as failure:
            say("    %s: %s" % (server.name, failure))
    return able


def run_case(case, servers, rounds):
    """{server: [figures per round]}; a server that cannot do it has no rows."""
    table = {server.name: [] for server in servers}
    able = able_servers(case, servers)
    for number in range(min(rounds, case.rounds_max)):
        for server in list(reversed(able) if number % 2 else able):
            try:
                table[server.name].append(measure(server, case))
            except Failed as failure:
                say("    %s: %s" % (server.name, failure))
                table[server.name] = []
                able.remove(server)
    clear(case, servers)
    for name, rows in table.items():
        add_user_share(rows)
        if rows:
            say("    %-14s %10.0f op/s  %6.2f us CPU" %
                (name, median(rows, "rps"), median(rows, "cpu_us")))
    return table


def add_user_share(rows):
    """The split into user and system is sampled at the clock's ticks: all rounds together give
    enough samples, one of them does not."""
    user, system = sum(row["user"] for row in rows), sum(row["system"] for row in rows)
    for row in rows:
        row["user_us"] = row["cpu_us"] * user / max(1, user + system)


def warm_up(fleet, size):
    """Reads as many times as there are keys, so that tables that grow in steps have done so."""
    case = Case("get", size=size)
    for server in fleet.servers:
        if not server.is_floor:
            run_load(case.load_words(server, case.keys))


def run_cases(cases, commands, rounds):
    """Returns ({case: {server: [figures per round]}}, {server: version}). Servers stay up for all
    cases of the same number of keys."""
    results, versions = {}, {}
    for size in sorted({case.size for case in cases}):
        with Fleet(commands) as fleet:
            say("loading %s keys" % short(size))
            fleet.fill(set_requests(scaled(size), VALUE_LEN))
            warm_up(fleet, size)
            versions.update((server.name, server.version()) for server in fleet.servers)
            for case in [case for case in cases if case.size == size]:
                say("  " + case.title())
                results[case] = run_case(case, fleet.servers, rounds)
    return results, versions


def median(rows, field):
    return statistics.median(row[field] for row in rows) if rows else None


def paired(table, name, other, figure):
    """The median over rounds of figure(row, row of the other server), or None."""
    pairs = list(zip(table.get(name, []), table.get(other, [])))
    return statistics.median(figure(row, base) for row, base in pairs) if pairs else None


def ratio(table, name, other=FLOOR_NAME, field="cpu_us"):
    return paired(table, name, other, lambda row, base: row[field] / base[field])


def own_share(table, name):
    """User-mode CPU above the floor's own, as a multiple of the floor's whole CPU."""
    return paired(table, name, FLOOR_NAME,
                  lambda row, base: (row["user_us"] - base["user_us"]) / base["cpu_us"])


def above_floor(table, name, other):
    """CPU above the floor's, as a fraction of what another server spends above the floor's."""
    rounds = list(zip(*(table.get(each, []) for each in (name, other, FLOOR_NAME))))
    if not rounds:
        return None
    return statistics.median(
        (row["cpu_us"] - floor["cpu_us"]) / max(base["cpu_us"] - floor["cpu_us"], 1e-9)
        for row, base, floor in rounds)
