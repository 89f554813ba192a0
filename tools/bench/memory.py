"""make bench-memory: bytes per item, by growth of resident memory and by the server's own count,
and per idle connection. Every figure comes from a fresh server.

Options, as variables of make or of the environment:
    SCALE=1             multiplies the number of items (1 M); with few of them the server's
                        fixed memory shows
    CONNECTIONS=5000    idle connections
    ONLY="string"       only rows whose name holds this
    SERVERS, PEERS      as for make bench
"""
import os
import socket
import time

from page import preamble, replace_part, table, verdict, whole
from plots import bars
from servers import (CHUNK, OURO_EPOLL, OURO_URING, Failed, Link, Server, bulk, chunked,
                     contenders, encode, exit_on_signals, raise_open_files, say, scaled,
                     set_requests)

ITEMS = 1000000
TTL_S = 1000000
SETTLE_S_MAX = 12
WARM_CHUNKS = 4
IDLE = "idle connection"


def members(command, key, *rest):
    """Adds member:N, or what `rest` makes of N, to one key."""
    head = b"*%d\r\n%s%s" % (2 + len(rest), bulk(command), bulk(key))
    return lambda count: chunked(count, lambda number: head + b"".join(
        [bulk(part % number if b"%" in part else part) for part in rest]))


def small_hashes(count):
    tail = b"".join([bulk(b"f%d" % field) + bulk("12345678") for field in range(4)])
    head = b"*10\r\n%s$16\r\n" % bulk("HSET")
    return chunked(count, lambda number: head + b"key:%012d\r\n" % number + tail)


def stream_entries(count):
    """IDs as a clock gives them, some in each millisecond. A reply has two lines."""
    def entry(number):
        entry_id = b"%d-%d" % (1700000000000 + number // 4, number % 4)
        return encode("XADD", "big", entry_id, "f", b"%08d" % number)
    return ((requests, 2 * replies) for requests, replies in chunked(count, entry))


def pending_entries(count):
    """The same, all given to one consumer of a group, who acknowledges none."""
    yield from stream_entries(count)
    yield encode("XGROUP", "CREATE", "big", "g", "0"), 1
    script = "redis.call('XREADGROUP', 'GROUP', 'g', 'c', 'COUNT', 1000, 'STREAMS', 'big', '>') return 1"
    yield from chunked(-(-count // 1000), lambda _: encode("EVAL", script, 0))
    yield encode("SCRIPT", "FLUSH"), 1


def volatile_fields(count):
    words = (b"HSETEX", b"big", b"EX", b"%d" % TTL_S, b"FIELDS", b"1")
    head = b"*8\r\n" + b"".join(map(bulk, words))
    tail = bulk("0123456789abcdef")
    return chunked(count, lambda number: head + bulk(b"field:%d" % number) + tail)


# name, a short name for the plot, the most bytes that are aimed at, what makes the requests
CASES = [
    ("string, 8-byte value", "string\n8", 48, lambda count: set_requests(count, 8)),
    ("string, 64-byte value", "string\n64", 108, lambda count: set_requests(count, 64)),
    ("string, 64-byte value, with a TTL", "string\n64, TTL", 116,
     lambda count: set_requests(count, 64, TTL_S)),
    ("sorted set member (`member:N`)", "sorted set\nmember", 56,
     members("ZADD", "big", b"%d", b"member:%d")),
    ("large hash, `field:N`, 16-byte value", "large hash\nfield", 48,
     members("HSET", "big", b"field:%d", b"0123456789abcdef")),
    ("large set member (`member:N`)", "large set\nmember", 28,
     members("SADD", "big", b"member:%d")),
    ("large set member (an integer)", "large set\ninteger", 16, members("SADD", "big", b"%d7")),
    ("large hash, the same with a TTL for each field", "large hash\nfield, TTL", 64,
     volatile_fields),
    ("list element (`element:N`)", "list\nelement", 18, members("RPUSH", "big", b"element:%d")),
    ("small hash, 4 fields", "small hash", 112, small_hashes),
    ("stream entry, one field, 8-byte value", "stream\nentry", 21, stream_entries),
    ("stream entry, the same, pending", "stream\npending", 131, pending_entries),
]
IDLE_MOST = 1000


def settled(server):
    """(resident, used_memory) once neither has fallen for two seconds: buffers go back late, and
    so do pages that were left when tables grew."""
    used, resident = server.used_memory(), server.rss()
    until = time.time() + SETTLE_S_MAX
    still_since = time.time()
    while time.time() < until and time.time() - still_since < 2:
        time.sleep(0.2)
        used_now, resident_now = server.used_memory(), server.rss()
        if used_now < used - 4096 or resident_now < resident - 65536:
            still_since = time.time()
        used, resident = min(used, used_now), min(resident, resident_now)
    return server.rss(), used


def warm_up(server):
    """Lets the server make the buffers it keeps for a connection as busy as the one that loads, and
    leaves no key."""
    link = Link(server.port)
    link.load([(encode("SET", "warm", "1" * 64) * CHUNK, CHUNK)] * WARM_CHUNKS)
    link.load([(encode("DEL", "warm"), 1)])
    link.close()


def per_item(command, name, requests):
    count = scaled(ITEMS)
    with Server(name, command) as server:
        warm_up(server)
        rss, used = settled(server)
        server.fill(requests(count))
        rss_end, used_end = settled(server)
        return (rss_end - rss) / count, (used_end - used) / count


def per_connection(command, name, count):
    """Idle connections that have been served once."""
    links = []
    with Server(name, command) as server:
        try:
            rss, used = settled(server)
            for _ in range(count):
                link = Link(server.port)
                links.append(link)
                if link.ask("PING") != "PONG":
                    raise Failed("PING got no PONG")
            rss_end, used_end = settled(server)
            return (rss_end - rss) / count, (used_end - used) / count
        finally:
            for link in links:
                link.close()


def attempt(figure, *arguments):
    try:
        return figure(*arguments)
    except (Failed, OSError, KeyError, socket.timeout) as failure:
        say("    %s" % failure)
        return None, None


def measure_all(commands, only):
    """[(row name, short name, target, {server: (by RSS, by used_memory)})]"""
    rows = []
    for name, short_name, most, requests in CASES:
        if only in name.lower():
            say("  " + name)
            rows.append((name, short_name, most, {
                server: attempt(per_item, command, server, requests)
                for server, command in commands.items()}))
    if only in IDLE:
        say("  " + IDLE)
        count = int(os.environ.get("CONNECTIONS") or 5000)
        rows.append((IDLE, "", IDLE_MOST, {server: attempt(per_connection, command, server, count)
                                           for server, command in commands.items()}))
    return rows


def page_rows(rows, names):
    for name, _, most, figures in rows:
        pairs = ["%s / %s" % tuple(map(whole, figures[server])) for server in names]
        found = [value for value in figures.get(OURO_URING, (None, None)) if value is not None]
        yield [name] + pairs + ["<= %s" % whole(most), verdict(max(found) if found else None, most)]


def versions_of(commands):
    versions = {}
    for name, command in commands.items():
        with Server(name, command) as server:
            versions[name] = server.version()
    return versions


def usable(commands):
    """Those that start, with their versions."""
    versions = {}
    for name, command in commands.items():
        try:
            versions.update(versions_of({name: command}))
        except Failed as failure:
            say("left out: %s" % failure)
    return versions


def main():
    exit_on_signals()
    raise_open_files()
    commands = contenders(with_floor=False)
    versions = usable(commands)
    commands = {name: commands[name] for name in versions}
    rows = measure_all(commands, (os.environ.get("ONLY") or "").lower())
    names = list(commands)
    lines = preamble("bench-memory", versions)
    lines += ["Bytes per item by growth of resident memory / of `used_memory`. The larger of the",
              "two of Ouro (uring) is held against the target.", ""]
    lines += table(["item"] + names + ["target", "verdict"], page_rows(rows, names))
    items = [row for row in rows if row[0] != IDLE]
    if items:
        shown = [name for name in names if name != OURO_EPOLL]
        bars("memory", "Memory per item, by growth of resident memory", "bytes",
             [row[1] for row in items],
             {name: [row[3][name][0] for row in items] for name in shown},
             [row[2] for row in items], digits=0)
        lines += ["![Memory per item](bench/memory.svg)", ""]
    replace_part("memory", lines)
    say("")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
