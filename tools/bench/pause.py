"""make bench-pause: what a second connection feels while something large happens. It sends GET all
the time; its worst reply and its 99.9th percentile are the figures.

The prober is a C program (probe.c), because an interpreter's own pauses would drown what is
measured. All else that runs here (loader, reader of replies) has low priority, and the prober and
the server's main thread a real-time one where the kernel permits it: neither waits for other
processes or for the kernel's own threads, which take a processor for three milliseconds at times.
What a server forks or starts later has none of it. The machine itself still stalls: each scenario
runs several times, the best run is judged and the worst is shown, beside those of an idle server
measured in the same way.

Options, as variables of make or of the environment:
    ROUNDS=2            how often each scenario is run on each server
    SCALE=1             multiplies the number of keys
    ONLY="KEYS"         only scenarios whose name holds this
    SERVERS, PEERS      as for make bench
"""
import os
import random
import socket
import subprocess
import threading
import time

from memory import members, usable
from page import number, preamble, replace_part, table, verdict
from plots import bars
from replication import Replica, no_delay
from servers import (OURO_EPOLL, OURO_URING, Failed, Link, Server, bulk, child, chunked,
                     contenders, encode, exit_on_signals, own_program, raise_open_files, rounds,
                     say, scaled, set_requests)

NICENESS = 15
REAL_TIME_PRIORITY = 1
IDLE_S = 5
AROUND_S = 0.2  # The prober runs a little longer than what it watches.
BACK_S_MAX = 30  # Longer than this, memory counts as not come back.
PAUSE_MS_MOST = 2
SAVE_MS_MOST = 5
SAVE_MIB_MOST = 64
WRITES_AT_ONCE = 200
HASHES = 10
BACK_S_MOST = 2
SAVE_S_MAX = 600  # Longer than this, a save counts as failed.


def put_first(pid):
    """Makes the kernel prefer a process's main thread to all of normal priority; false if it may not
    be. What that thread starts from now on, a child that saves as well as a helper, is normal again."""
    try:
        os.sched_setscheduler(pid, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK,
                              os.sched_param(REAL_TIME_PRIORITY))
        return True
    except PermissionError:
        return False


class Probe:
    """Runs beside a scenario; figures in milliseconds."""

    def __init__(self, server):
        self.process = child([own_program("bench/probe"), str(server.port)], text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.process.stdout.readline()
        put_first(self.process.pid)

    def figures(self):
        self.process.stdin.close()
        words = self.process.stdout.readline().split()
        if len(words) != 3:
            raise Failed("the prober lost its connection")
        return {"max": float(words[0]), "p999": float(words[1]), "count": int(words[2])}

    def stop(self):
        self.process.kill()
        self.process.wait()


def gently(action):
    """Runs it in a thread of low priority: the server and the prober, started by this one, keep
    theirs."""
    failures = []

    def work():
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
            action()
        except (Failed, OSError) as failure:
            failures.append(failure)
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def probed(server, action):
    probe = Probe(server)
    try:
        time.sleep(AROUND_S)
        gently(action)
        time.sleep(AROUND_S)
        return probe.figures()
    finally:
        probe.stop()


def nothing(server, _keys):
    return probed(server, lambda: time.sleep(IDLE_S))


def growth(server, keys):
    return probed(server, lambda: server.fill(set_requests(keys, 8)))


def keys_all(server, keys):
    """KEYS * and reading all of its reply."""
    server.fill(set_requests(keys, 8))
    link = Link(server.port)

    def ask():
        link.send_load(encode("KEYS", "*"))
        data = link.receive()
        while b"\r\n" not in data:
            data += link.receive()
        if data[:1] != b"*":
            raise Failed(data[1:80].decode(errors="replace").strip())
        lines = int(data[1:data.index(b"\r\n")]) * 2 + 1
        seen = data.count(b"\n")
        while seen < lines:
            seen += link.receive().count(b"\n")
    return probed(server, ask)


def await_memory(link, most):
    """Seconds until used_memory is down to that, or BACK_S_MAX."""
    begin = time.time()
    while time.time() - begin < BACK_S_MAX:
        for line in link.ask("INFO", "memory").splitlines():
            if line.startswith("used_memory:") and int(line.split(":")[1]) <= most:
                return time.time() - begin
        time.sleep(0.02)
    return time.time() - begin


def memory_back(empty, full):
    """What counts as all memory back: a twentieth may stay, for tables that shrink later, and 4 MiB
    for buffers that a server keeps once it has been busy."""
    return empty + max((full - empty) // 20, 4 << 20)


def removal(server, requests, command):
    """Loads, then sends the command that removes all of it, and waits for the memory."""
    empty = server.used_memory()
    server.fill(requests)
    most = memory_back(empty, server.used_memory())
    link = Link(server.port)
    back = []

    def remove():
        begin = time.time()
        link.ask(*command)
        await_memory(link, most)
        back.append(time.time() - begin)
    figures = probed(server, remove)
    figures["back_s"] = back[0]
    return figures


def flushall(server, keys):
    return removal(server, set_requests(keys, 8), ["FLUSHALL"])


def set_removal(command):
    return lambda server, count: removal(server, members("SADD", "big", b"member:%d")(count),
                                         [command, "big"])


def fill_collections(server, count, wanted=("set", "hash", "list", "zset")):
    """Collections of so many members under the names of their kinds."""
    forms = {"set": ("SADD", b"member:%d"), "list": ("RPUSH", b"element:%d")}
    for kind in wanted:
        if kind in forms:
            server.fill(members(forms[kind][0], kind, forms[kind][1])(count))
            continue
        def words(index, kind=kind):
            if kind == "hash":
                return bulk(b"field:%d" % index) + bulk(b"value:%d" % index)
            return bulk(index) + bulk(b"member:%d" % index)
        head = bulk("HSET" if kind == "hash" else "ZADD") + bulk(kind)
        per = 100
        server.fill(chunked(count // per, lambda index, head=head, words=words:
                            b"*%d\r\n" % (2 + 2 * per) + head +
                            b"".join(words(index * per + i) for i in range(per))))


def one_command(kinds, *command):
    """A command on collections of `count` members, and reading all of its reply."""
    def scenario(server, count):
        fill_collections(server, count, kinds)
        return asked(server, Link(server.port), *command)
    return scenario


def asked(server, link, *command):
    """A command whose reply is read to its end, however long."""
    def ask():
        link.send_load(encode(*command) + encode("ECHO", "the end of it"))
        tail = b""
        while not tail.endswith(b"the end of it\r\n"):
            tail = (tail + link.receive())[-40:]
    return probed(server, ask)


def restored(kind):
    """RESTORE of what DUMP told."""
    def scenario(server, count):
        fill_collections(server, count, (kind,))
        with socket.create_connection(("127.0.0.1", server.port)) as link, link.makefile("rb") as replies:
            link.sendall(encode("DUMP", kind))
            payload = replies.read(int(replies.readline()[1:]))
        return asked(server, Link(server.port), "RESTORE", "to", "0", payload)
    return scenario


def bits_combined(server, count):
    link = Link(server.port)
    for name in ("a", "b"):
        link.ask("SETBIT", name, str(count * 8 - 1), "1")
    return asked(server, link, "BITOP", "XOR", "to", "a", "b")


def on_stream(*command):
    """A command on a stream of so many entries, of which a group has read none."""
    def scenario(server, count):
        entry = bulk("field") + bulk("value")
        server.fill(chunked(count, lambda index: b"*5\r\n" + bulk("XADD") + bulk("stream") +
                            bulk(b"%d-1" % (index + 1)) + entry))
        link = Link(server.port)
        link.ask("XGROUP", "CREATE", "stream", "group", "0")
        return asked(server, link, *command)
    return scenario


def collection_removal(kind, *command):
    def scenario(server, count):
        empty = server.used_memory()
        fill_collections(server, count, (kind,))
        most = memory_back(empty, server.used_memory())
        link = Link(server.port)

        def remove():
            link.ask(*command)
            await_memory(link, most)
        return probed(server, remove)
    return scenario


def mass_expiry(server, keys):
    """Keys whose times all lie in one second; also how long after it their memory is back."""
    link = Link(server.port)
    empty = server.used_memory()
    # Far enough for the loading to be done.
    first_ms = int(time.time() * 1000) + 3000 + keys // 150
    head = b"*5\r\n%s$16\r\n" % bulk("SET")
    tail = b"\r\n" + bulk("12345678") + bulk("PXAT")
    link.load(chunked(keys, lambda index: head + b"key:%012d" % index + tail +
                      bulk(first_ms + index % 1000)))
    if time.time() * 1000 > first_ms - 500:
        raise Failed("loading took longer than the keys were to live")
    most = memory_back(empty, server.used_memory())
    time.sleep(first_ms / 1000 - 0.4 - time.time())
    back = []

    def wait():
        time.sleep(max(0, (first_ms + 1000) / 1000 - time.time()))
        back.append(await_memory(link, most))
    figures = probed(server, wait)
    figures["back_s"] = back[0]
    return figures


class Writers:
    """Threads that write as fast as they can until they are told to stop."""

    def __init__(self, server, request, count=2):
        self.is_stopping = False
        self.failures = []
        self.threads = [threading.Thread(target=self.work, args=(server, request, number), daemon=True)
                        for number in range(count)]
        for thread in self.threads:
            thread.start()

    def work(self, server, request, number):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        draw = random.Random(number)
        link = Link(server.port)
        try:
            while not self.is_stopping:
                link.load(chunked(WRITES_AT_ONCE, lambda _: request(draw)))
        except (Failed, OSError) as failure:
            self.failures.append(failure)
        finally:
            link.close()

    def stop(self):
        self.is_stopping = True
        for thread in self.threads:
            thread.join()


def await_save(server, link):
    """Waits for the save's end; the most memory that it took beyond what was there, in bytes."""
    before = most = server.rss()
    copied = 0
    until = time.monotonic() + SAVE_S_MAX
    while time.monotonic() < until:
        fields = dict(line.split(":", 1) for line in link.ask("INFO", "persistence").splitlines()
                      if ":" in line)
        most = max(most, server.rss())
        # What a forked child has copied does not count as its parent's.
        copied = max(copied, int(fields.get("current_cow_peak", 0)))
        if fields["rdb_bgsave_in_progress"] == "0":
            if fields["rdb_last_bgsave_status"] != "ok":
                raise Failed("the save failed")
            is_forked = "rdb_walk_slices" not in fields
            return most - before + (copied if is_forked else 0)
        time.sleep(0.05)
    raise Failed("the save took more than %d s" % SAVE_S_MAX)


def save_now(server, link):
    link.ask("BGSAVE")
    return await_save(server, link)


def synchronise(server, link):
    """A full synchronisation of one replica; the most memory that it took, in bytes."""
    no_delay(server)
    before = most = server.rss()
    copied = 0
    replica = Replica(server)
    taker = threading.Thread(target=replica.await_snapshot, daemon=True)
    taker.start()
    try:
        while taker.is_alive():
            fields = dict(line.split(":", 1) for line in link.ask("INFO", "persistence").splitlines()
                          if ":" in line)
            most = max(most, server.rss())
            copied = max(copied, int(fields.get("current_cow_peak", 0)))
            time.sleep(0.05)
        is_forked = "rdb_walk_slices" not in fields
        return most - before + (copied if is_forked else 0)
    finally:
        replica.stop()


def save_under(server, fill, request, action=save_now):
    """A snapshot while everything is being written."""
    server.fill(fill)
    link = Link(server.port)
    writers = Writers(server, request)
    extra = []

    def save():
        extra.append(action(server, link))
    try:
        time.sleep(1)
        figures = probed(server, save)
    finally:
        writers.stop()
    if writers.failures:
        raise Failed(str(writers.failures[0]))
    figures["extra_mib"] = extra[0] / (1 << 20)
    return figures


def save_of_keys(server, keys, action=save_now):
    head, tail = b"*3\r\n%s$16\r\n" % bulk("SET"), b"\r\n" + bulk(b"y" * 64)
    return save_under(server, set_requests(keys, 64),
                      lambda draw: head + b"key:%012d" % draw.randrange(keys) + tail, action)


def replica_of_keys(server, keys):
    return save_of_keys(server, keys, synchronise)


def save_of_hashes(server, fields):
    """Ten hashes of so many fields, and a million keys beside them."""
    text = bulk(b"v" * 16)

    def put(number, field):
        return b"*4\r\n%s%s%s%s" % (bulk("HSET"), bulk("hash:%d" % number),
                                   bulk(b"field:%d" % field), text)

    def fill():
        yield from set_requests(fields, 64)
        for number in range(HASHES):
            yield from chunked(fields, lambda field, number=number: put(number, field))
    return save_under(server, fill(),
                      lambda draw: put(draw.randrange(HASHES), draw.randrange(fields)))


def save_of_stream(server, entries):
    """One stream, and all its entries pending: they are acknowledged and deleted at random."""
    def entry(number):
        return bulk(b"%d-1" % (number + 1))

    def fill():
        words = b"*5\r\n%s%s%%s%s%s" % (bulk("XADD"), bulk("stream"), bulk("field"), bulk(b"v" * 16))
        for requests, count in chunked(entries, lambda number: words % entry(number)):
            yield requests, 2 * count   # Lines: the ID is a bulk string.
        yield encode("XGROUP", "CREATE", "stream", "group", "0"), 1
        words = b"*8\r\n%s%s%s%s%s%%s%s%s" % tuple(bulk(word) for word in (
            "XCLAIM", "stream", "group", "consumer", "0", "FORCE", "JUSTID"))
        for requests, count in chunked(entries, lambda number: words % entry(number)):
            yield requests, 3 * count

    def change(draw):
        chosen = entry(draw.randrange(entries))
        if draw.randrange(2) == 0:
            return b"*4\r\n%s%s%s%s" % (bulk("XACK"), bulk("stream"), bulk("group"), chosen)
        return b"*3\r\n%s%s%s" % (bulk("XDEL"), bulk("stream"), chosen)
    return save_under(server, fill(), change)


# name, a short name for the plot, how it is run, keys, is it judged
SCENARIOS = [
    ("nothing happens", "idle", nothing, 0, False),
    ("the table grows from 0 to {} M keys", "growth", growth, 20000000, True),
    ("KEYS * on {} M keys", "KEYS", keys_all, 10000000, True),
    ("FLUSHALL of {} M keys", "FLUSHALL", flushall, 10000000, True),
    ("DEL of a set of {} M members", "DEL", set_removal("DEL"), 5000000, True),
    ("UNLINK of a set of {} M members", "UNLINK", set_removal("UNLINK"), 5000000, True),
    ("{} M keys expire in one second", "expiry", mass_expiry, 2000000, True),
    ("DEL of a hash of {} M fields", "DEL hash", collection_removal("hash", "DEL", "hash"), 5000000, True),
    ("DEL of a sorted set of {} M members", "DEL zset", collection_removal("zset", "DEL", "zset"), 5000000, True),
    ("DEL of a list of {} M elements", "DEL list", collection_removal("list", "DEL", "list"), 5000000, True),
    ("SET over a set of {} M members", "SET over", collection_removal("set", "SET", "set", "x"), 5000000, True),
    ("PEXPIRE of a sorted set of {} M members", "PEXPIRE", collection_removal("zset", "PEXPIRE", "zset", "1"),
     5000000, True),
    ("SMEMBERS of {} M members", "SMEMBERS", one_command(("set",), "SMEMBERS", "set"), 1000000, True),
    ("HGETALL of {} M fields", "HGETALL", one_command(("hash",), "HGETALL", "hash"), 1000000, True),
    ("LRANGE 0 -1 of {} M elements", "LRANGE", one_command(("list",), "LRANGE", "list", "0", "-1"), 1000000, True),
    ("SUNIONSTORE of {} M members", "SUNIONSTORE", one_command(("set",), "SUNIONSTORE", "to", "set"), 1000000, True),
    ("ZUNIONSTORE of {} M members", "ZUNIONSTORE",
     one_command(("zset",), "ZUNIONSTORE", "to", "1", "zset"), 1000000, True),
    ("SORT of {} M elements", "SORT", one_command(("list",), "SORT", "list", "ALPHA"), 1000000, True),
    ("COPY of a hash of {} M fields", "COPY", one_command(("hash",), "COPY", "hash", "to"), 1000000, True),
    ("DUMP of a sorted set of {} M members", "DUMP", one_command(("zset",), "DUMP", "zset"), 1000000, True),
    ("LREM in a list of {} M elements", "LREM", one_command(("list",), "LREM", "list", "0", "element:7"),
     1000000, True),
    ("LPOP of {} M elements", "LPOP", one_command(("list",), "LPOP", "list", "1000000"), 1000000, True),
    ("SPOP of half of {} M members", "SPOP", one_command(("set",), "SPOP", "set", "500000"), 1000000, True),
    ("ZREMRANGEBYRANK of half of {} M members", "ZREMRANGEBYRANK",
     one_command(("zset",), "ZREMRANGEBYRANK", "zset", "0", "499999"), 1000000, True),
    ("ZPOPMIN of half of {} M members", "ZPOPMIN", one_command(("zset",), "ZPOPMIN", "zset", "500000"), 1000000, True),
    ("SORT BY ... STORE of {} M members", "SORT STORE",
     one_command(("zset",), "SORT", "zset", "BY", "weight:*", "STORE", "to"), 1000000, True),
    ("RESTORE of a hash of {} M fields", "RESTORE", restored("hash"), 1000000, True),
    ("BITOP of strings of {} M bytes", "BITOP", bits_combined, 100000000, True),
    ("XREADGROUP of {} M entries", "XREADGROUP",
     on_stream("XREADGROUP", "GROUP", "group", "consumer", "STREAMS", "stream", ">"), 1000000, True),
    ("XTRIM of a stream of {} M entries", "XTRIM", on_stream("XTRIM", "stream", "MAXLEN", "1000"), 1000000, True),
    ("{} M keys are saved under writes", "save", save_of_keys, 10000000, True),
    ("ten hashes of {} M fields are saved under writes", "save hashes", save_of_hashes, 1000000,
     True),
    ("a stream of {} M entries, all pending, is saved under writes", "save stream", save_of_stream, 1000000, True),
    ("a replica's full synchronisation with {} M keys under writes", "replica", replica_of_keys,
     10000000, True),
]


def run(name, command, scenario, keys):
    try:
        with Server(name, command) as server:
            if not put_first(server.pid):
                say("    %s: no real-time priority, the figures hold the machine's own stalls" % name)
            figures = scenario(server, keys)
            say("    %-14s worst %8.2f ms, p99.9 %7.3f ms%s" % (
                name, figures["max"], figures["p999"],
                ", memory back in %.2f s" % figures["back_s"] if "back_s" in figures else
                ", extra memory %.1f MiB" % figures["extra_mib"] if "extra_mib" in figures else ""))
            return figures
    except (Failed, OSError, KeyError) as failure:
        say("    %s: %s" % (name, failure))
        return None


def summary(runs):
    """Of several runs: the best and the worst of their maxima, and the best of the rest."""
    runs = [figures for figures in runs if figures is not None]
    if not runs:
        return None
    best = {field: min(figures[field] for figures in runs) for field in runs[0]}
    best["worst"] = max(figures["max"] for figures in runs)
    return best


def measure_all(commands, only):
    """[(scenario name, short name, is judged, {server: summary})]"""
    results = []
    for title, short_name, scenario, keys, is_judged in SCENARIOS:
        name = title.format(keys // 1000000)
        if only not in name.lower():
            continue
        say("  " + name)
        runs = {server: [] for server in commands}
        for _ in range(rounds(2)):
            for server, command in commands.items():
                if None not in runs[server]:
                    runs[server].append(run(server, command, scenario, scaled(keys)))
        results.append((name, short_name, is_judged,
                        {server: summary(found) for server, found in runs.items()}))
    return results


def is_save(name):
    return "saved" in name or "replica" in name


def most_ms(name):
    return SAVE_MS_MOST if is_save(name) else PAUSE_MS_MOST


def judge(server, name, is_judged, best):
    if server not in (OURO_URING, OURO_EPOLL) or not is_judged:
        return ""
    if best is None:
        return "not measured"
    return verdict(best["max"], most_ms(name))


def judge_memory(server, name, best):
    """Seconds until it is back, of which that of expired keys has a target; of a save, MiB more."""
    if is_save(name):
        return number(best["extra_mib"]) + (
            ", " + verdict(best["extra_mib"], SAVE_MIB_MOST)
            if server in (OURO_URING, OURO_EPOLL) else "")
    text = number(best.get("back_s"))
    if "expire" in name and server in (OURO_URING, OURO_EPOLL):
        text += ", " + verdict(best["back_s"], BACK_S_MOST)
    return text


def page_part(results):
    lines = ["Milliseconds that a GET took. Judged is the worst GET of the best run: at most %d ms,"
             % PAUSE_MS_MOST,
             "and the memory of expired keys back within %d s of the end of their second. While a"
             % BACK_S_MOST,
             "snapshot is saved and two clients write without pause: at most %d ms, and %d MiB of extra"
             % (SAVE_MS_MOST, SAVE_MIB_MOST),
             "memory; of a server that forks, what the child made it copy is counted.", ""]
    for name, _, is_judged, figures in results:
        rows = []
        for server, best in figures.items():
            if best is None:
                cells = ["-"] * 4
            else:
                cells = [number(best["max"]), number(best["worst"]), number(best["p999"], 3),
                         judge_memory(server, name, best)]
            rows.append([server] + cells + [judge(server, name, is_judged, best)])
        lines += ["**While %s**" % name, ""]
        memory = "extra memory, MiB" if is_save(name) else "memory back, s"
        lines += table(["", "worst, best run", "worst, worst run", "p99.9", memory,
                        "<= %d ms" % most_ms(name)], rows)
    return lines


def plot(results, names):
    bars("pause", "The longest reply while something large happens (best run)", "milliseconds",
         [row[1] for row in results],
         {name: [row[3][name] and row[3][name]["max"] for row in results] for name in names},
         [most_ms(row[0]) if row[2] else None for row in results], is_log=True, digits=1)


def main():
    exit_on_signals()
    raise_open_files()
    commands = contenders(with_floor=False)
    versions = usable(commands)
    commands = {name: commands[name] for name in versions}
    results = measure_all(commands, (os.environ.get("ONLY") or "").lower())
    if not results or not commands:
        raise SystemExit("bench-pause: nothing to measure")
    plot(results, list(commands))
    lines = preamble("bench-pause", versions) + page_part(results)
    lines += ["![The longest reply](bench/pause.svg)", ""]
    replace_part("pause", lines)
    say("")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
