"""make bench-turns: the longest turn of the server's loop that one command on something large causes.

A turn is what a client of the same server waits for, without what the kernel and the machine add to
it (make bench-pause has that). The server measures its turns itself, by the clock: INFO tells the
longest since CONFIG RESETSTAT as loop_longest_turn_usec. So a stall of the machine in the middle of
a turn counts; each command runs several times on data made anew, the best run is judged and the
worst is shown.

Options, as variables of make or of the environment:
    ROUNDS=3            how often each command is run
    SCALE=1             multiplies the number of elements
    ONLY="DEL"          only commands whose title holds this
    SERVERS=uring       the engine, or both: uring;epoll"""
import os
import socket
import time

from page import number, preamble, replace_part, table, verdict
from pause import fill_collections, gently, put_first
from servers import (OURO_EPOLL, OURO_URING, Failed, Link, Server, bulk, chunked, contenders,
                     encode, exit_on_signals, raise_open_files, rounds, say, scaled, short)

TURN_MS_MOST = 2
# An idle server turns ten times a second, a busy one thousands of times.
LOOK_S = 0.1
IDLE_TURNS_MOST = 20
REST_S_MAX = 120
LIVES_MS = 60 * 60 * 1000
CLIENTS = 10000
END = b"the end of it"


# ---- Data ----

def collections(*kinds):
    return lambda server, count: fill_collections(server, count, kinds)


def stream(server, count):
    """Entries that nobody has read, with a group."""
    entry = bulk("field") + bulk("value")
    server.fill((requests, 2 * replies) for requests, replies in chunked(
        count, lambda index: b"*5\r\n" + bulk("XADD") + bulk("stream") + bulk(b"%d-1" % (index + 1)) + entry))
    ask(server, "XGROUP", "CREATE", "stream", "group", "0")


def pending(server, count):
    """The same, all of them read by one consumer."""
    stream(server, count)
    asked(server, "XREADGROUP", "GROUP", "group", "consumer", "STREAMS", "stream", ">")


def two_sets(server, count):
    """Of which the second has half of the first's members and as many others."""
    fill_collections(server, count, ("set",))
    server.fill(chunked(count, lambda index: encode("SADD", "other", b"member:%d" % (count // 2 + index))))


def places(server, count):
    """All within ten kilometres or so."""
    server.fill(chunked(count, lambda index: encode(
        "GEOADD", "geo", b"%.6f" % (13 + index % 1000 * 1e-4), b"%.6f" % (38 + index // 1000 * 1e-4),
        b"place:%d" % index)))


def bitmaps(server, count):
    for name in ("a", "b"):
        ask(server, "SETBIT", name, count * 8 - 1, "1")


def nothing(_server, _count):
    pass


def ask(server, *words):
    link = Link(server.port)
    try:
        return link.ask(*words)
    finally:
        link.close()


# ---- What is run ----

def asked(server, *requests_or_words):
    """One command, or several that were encoded already, and their replies to the end."""
    requests = (requests_or_words[0] if len(requests_or_words) == 1
                else encode(*requests_or_words))
    link = Link(server.port)
    try:
        link.send_load(requests + encode("ECHO", END))
        tail = head = link.receive()
        if head[:1] == b"-":
            raise Failed(head[1:80].decode(errors="replace").strip())
        while not tail.endswith(END + b"\r\n"):
            tail = (tail + link.receive())[-40:]
    finally:
        link.close()


def command(*words):
    """Words that hold {} get the count there, or half of it where they hold {half}."""
    def run(server, count):
        asked(server, *[word.format(count, half=count // 2) for word in words])
    return run


def naming(*head, element):
    """A command that names so many elements."""
    def run(server, count):
        words = [bulk(word) for word in head]
        parts = element(0)
        asked(server, b"*%d\r\n" % (len(head) + count * len(parts)) + b"".join(words) +
              b"".join(bulk(part) for index in range(count) for part in element(index)))
    return run


def refused(run):
    """The same where the answer is to be an error."""
    def check(server, count):
        try:
            run(server, count)
        except Failed as failure:
            if "wrong number" in str(failure):
                return
            raise
        raise Failed("it was not refused")
    return check


def queued(*last):
    """So many commands in MULTI, and what ends it."""
    def run(server, count):
        asked(server, encode("MULTI") + encode("INCR", "number") * count + encode(*last))
    return run


def in_transaction(*words):
    """One command inside EXEC, which runs as a whole."""
    def run(server, _count):
        asked(server, encode("MULTI") + encode(*words) + encode("EXEC"))
    return run


def restored(kind):
    """RESTORE of what DUMP tells."""
    payload = []

    def prepare(server, count):
        (stream if kind == "stream" else collections(kind))(server, count)
        with socket.create_connection(("127.0.0.1", server.port)) as link, link.makefile("rb") as replies:
            link.sendall(encode("DUMP", kind))
            payload[:] = [replies.read(int(replies.readline()[1:]))]

    def run(server, _count):
        asked(server, "RESTORE", "to", "0", payload[0])
    return prepare, run


def waited(*words):
    """A command whose effect comes later: all are gone once the server rests."""
    def run(server, _count):
        asked(server, *words)
        time.sleep(0.3)
    return run


def volatile_fields(server, count):
    """A hash whose fields all expire at one moment, an hour from now."""
    fill_collections(server, count, ("hash",))
    until_ms = int(time.time() * 1000) + LIVES_MS
    per = 1000
    server.fill((requests, (per + 1) * lines) for requests, lines in chunked(
        count // per, lambda index: encode("HPEXPIREAT", "hash", until_ms, "FIELDS", per, *(
            b"field:%d" % (index * per + i) for i in range(per)))))


def due_fields(act):
    """All fields of a hash become due while the server's expiry rests, so that a command is first."""
    def run(server, count):
        until_ms = int(time.time() * 1000) + 200
        ask(server, "DEBUG", "SET-ACTIVE-EXPIRE", "0")
        per = 1000
        server.fill((requests, (per + 1) * lines) for requests, lines in chunked(
            count // per, lambda index: encode("HPEXPIREAT", "hash", until_ms + count // 50, "FIELDS", per, *(
                b"field:%d" % (index * per + i) for i in range(per)))))
        time.sleep(max(0, (until_ms + count // 50) / 1000 - time.time()) + 0.05)
        ask(server, "CONFIG", "RESETSTAT")
        act(server, count)
        ask(server, "DEBUG", "SET-ACTIVE-EXPIRE", "1")
    return run


class Crowd:
    """Clients that stay connected until the server ends."""
    links = []

    @classmethod
    def gather(cls, server, count):
        cls.links = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(count)]
        for link in cls.links:
            link.sendall(encode("CLIENT", "ID"))
        cls.ids = [link.recv(64)[1:-2] for link in cls.links]

    @classmethod
    def listed(cls, server, _count):
        asked(server, "CLIENT", "LIST", "ID", *cls.ids)

    @classmethod
    def leave(cls):
        for link in cls.links:
            link.close()
        cls.links = []


def field(index):
    return (b"field:%d" % index, b"value:%d" % index)


def key(index):
    return (b"field:%d" % index,)


def member(index):
    return (b"member:%d" % index,)


def scored(index):
    return (b"%d" % index, b"member:%d" % index)


def reading(kinds, *words):
    return [(" ".join(words), 1000000, collections(*kinds), command(*words))]


def removals():
    """DEL and the like of everything."""
    rows = []
    for kind in ("set", "hash", "zset", "list", "stream"):
        prepare = stream if kind == "stream" else collections(kind)
        for words in (("DEL", kind), ("UNLINK", kind), ("FLUSHALL", "ASYNC"), ("SET", kind, "x"),
                      ("PEXPIRE", kind, "1")):
            title = "%s, %s" % (" ".join(words), kind) if words[0] == "FLUSHALL" else " ".join(words)
            rows.append((title, 5000000, prepare, waited(*words)))
    return rows


def transfers():
    rows = []
    for kind in ("set", "hash", "zset", "list", "stream"):
        prepare = stream if kind == "stream" else collections(kind)
        rows.append(("COPY %s to" % kind, 1000000, prepare, command("COPY", kind, "to")))
        rows.append(("DUMP %s" % kind, 1000000, prepare, command("DUMP", kind)))
        rows.append(("RESTORE of the dump of %s" % kind, 1000000, *restored(kind)))
        rows.append(("DEBUG OBJECT %s" % kind, 1000000, prepare, command("DEBUG", "OBJECT", kind)))
        rows.append(("MEMORY USAGE %s SAMPLES 0" % kind, 1000000, prepare,
                     command("MEMORY", "USAGE", kind, "SAMPLES", "0")))
    return rows


def cases():
    """(title, elements, what makes them, what is run)"""
    return removals() + [
        *reading(("set",), "SMEMBERS", "set"),
        *reading(("set",), "SUNIONSTORE", "to", "set"),
        *reading(("set",), "SRANDMEMBER", "set", "{}"),
        *reading(("set",), "SRANDMEMBER", "set", "-{}"),
        *reading(("set",), "SPOP", "set", "{half}"),
        *reading(("set",), "SPOP", "set", "{}"),
        *reading(("set",), "SORT", "set", "ALPHA"),
        ("SINTER set other", 1000000, two_sets, command("SINTER", "set", "other")),
        ("SINTERCARD 2 set other", 1000000, two_sets, command("SINTERCARD", "2", "set", "other")),
        ("SDIFFSTORE to set other", 1000000, two_sets, command("SDIFFSTORE", "to", "set", "other")),
        *reading(("hash",), "HGETALL", "hash"),
        *reading(("hash",), "HVALS", "hash"),
        *reading(("hash",), "HRANDFIELD", "hash", "{}", "WITHVALUES"),
        *reading(("hash",), "HSCAN", "hash", "0", "COUNT", "{}"),
        *reading(("list",), "LRANGE", "list", "0", "-1"),
        *reading(("list",), "LREM", "list", "0", "element:7"),
        *reading(("list",), "LPOS", "list", "element:no"),
        *reading(("list",), "LINSERT", "list", "BEFORE", "element:no", "x"),
        *reading(("list",), "LTRIM", "list", "{half}", "-1"),
        *reading(("list",), "LPOP", "list", "{}"),
        *reading(("list",), "SORT", "list", "ALPHA"),
        *reading(("list",), "SORT", "list", "BY", "weight:*", "STORE", "to"),
        *reading(("zset",), "ZRANGE", "zset", "0", "-1", "WITHSCORES"),
        *reading(("zset",), "ZRANGESTORE", "to", "zset", "0", "-1"),
        *reading(("zset",), "ZUNIONSTORE", "to", "1", "zset"),
        *reading(("zset",), "ZUNIONSTORE", "to", "1", "zset", "WEIGHTS", "0"),
        *reading(("zset",), "ZREMRANGEBYRANK", "zset", "0", "{half}"),
        *reading(("zset",), "ZREMRANGEBYSCORE", "zset", "-inf", "+inf"),
        *reading(("zset",), "ZPOPMIN", "zset", "{half}"),
        *reading(("zset",), "SORT", "zset", "BY", "weight:*", "STORE", "to"),
        ("GEOSEARCH of all", 1000000, places, command(
            "GEOSEARCH", "geo", "FROMLONLAT", "13", "38", "BYRADIUS", "500", "km", "ASC")),
        ("GEOSEARCHSTORE of all", 1000000, places, command(
            "GEOSEARCHSTORE", "to", "geo", "FROMLONLAT", "13", "38", "BYRADIUS", "500", "km", "ASC")),
        ("XRANGE stream - +", 1000000, stream, command("XRANGE", "stream", "-", "+")),
        ("XREADGROUP of all", 1000000, stream, command(
            "XREADGROUP", "GROUP", "group", "consumer", "STREAMS", "stream", ">")),
        ("XTRIM stream MAXLEN 1000", 1000000, stream, command("XTRIM", "stream", "MAXLEN", "1000")),
        ("XPENDING of all", 1000000, pending, command("XPENDING", "stream", "group", "-", "+", "{}")),
        ("XAUTOCLAIM of all", 1000000, pending, command(
            "XAUTOCLAIM", "stream", "group", "other", "0", "0", "COUNT", "{}", "JUSTID")),
        ("XGROUP DESTROY, all pending", 1000000, pending, command("XGROUP", "DESTROY", "stream", "group")),
        ("XGROUP DELCONSUMER, all pending", 1000000, pending, command(
            "XGROUP", "DELCONSUMER", "stream", "group", "consumer")),
        ("BITOP XOR to a b, bytes", 100000000, bitmaps, command("BITOP", "XOR", "to", "a", "b")),
    ] + transfers() + [
        ("SADD of so many members", 1000000, nothing, naming("SADD", "to", element=member)),
        ("SREM of all members", 1000000, collections("set"), naming("SREM", "set", element=member)),
        ("HSET of so many fields", 1000000, nothing, naming("HSET", "to", element=field)),
        ("ZADD of so many members", 1000000, nothing, naming("ZADD", "to", element=scored)),
        ("RPUSH of so many elements", 1000000, nothing, naming("RPUSH", "to", element=member)),
        ("MSET of so many keys", 100000, nothing, naming("MSET", element=field)),
        ("MGET of so many keys", 100000, naming("MSET", element=field), naming("MGET", element=key)),
        ("DEL of so many keys", 100000, naming("MSET", element=field), naming("DEL", element=key)),
        ("WATCH of so many keys", 100000, nothing, naming("WATCH", element=key)),
        ("SUNION of so many keys", 100000, nothing, naming("SUNION", element=key)),
        ("a wrong number of arguments", 1000000, nothing, refused(naming("PING", element=member))),
        ("MULTI, INCR so many times, DISCARD", 1000000, nothing, queued("DISCARD")),
        ("fields that expire at once", 1000000, collections("hash"), waited_fields),
        ("HLEN when all fields are due", 1000000, collections("hash"),
         due_fields(command("HLEN", "hash"))),
        ("EXEC of HLEN when all fields are due", 1000000, collections("hash"),
         due_fields(in_transaction("HLEN", "hash"))),
        ("CLIENT LIST ID of all clients", CLIENTS, Crowd.gather, Crowd.listed),
        ("CLIENT KILL TYPE normal", CLIENTS, Crowd.gather, command("CLIENT", "KILL", "TYPE", "normal")),
    ]


def waited_fields(server, count):
    """They become due at one moment that the server itself watches for."""
    due_fields(lambda server, _: (ask(server, "DEBUG", "SET-ACTIVE-EXPIRE", "1"), time.sleep(0.3)))(
        server, count)


# ---- Measuring ----

def turns(link, name):
    for line in link.ask("INFO", "server").splitlines():
        if line.startswith(name + ":"):
            return int(line.split(":")[1])
    raise Failed("INFO has no %s" % name)


def await_rest(link):
    """Until the server has nothing left to free and nothing to do."""
    until = time.monotonic() + REST_S_MAX
    before = turns(link, "loop_turns")
    while time.monotonic() < until:
        time.sleep(LOOK_S)
        now = turns(link, "loop_turns")
        if now - before <= IDLE_TURNS_MOST:
            return
        before = now
    raise Failed("the server is still busy")


def longest_turn_ms(engine, command_line, case):
    _, count, prepare, run = case
    count = scaled(count)
    with Server(engine, command_line + " --enable-debug-command yes") as server:
        put_first(server.pid)
        ask(server, "CONFIG", "SET", "maxclients", CLIENTS + 100)
        link = Link(server.port)
        figures = []

        def work():
            prepare(server, count)
            await_rest(link)
            link.ask("CONFIG", "RESETSTAT")
            run(server, count)
            # CLIENT KILL may have ended this one too.
            last = Link(server.port)
            await_rest(last)
            figures.append(turns(last, "loop_longest_turn_usec") / 1000)
        try:
            gently(work)
        finally:
            Crowd.leave()
        return figures[0]


def measure(engines, chosen):
    """[(title, elements, engine, [milliseconds of each run])]"""
    results = []
    for case in cases():
        title, count = case[0], case[1]
        if chosen not in title.lower():
            continue
        for engine, command_line in engines.items():
            figures = []
            for _ in range(rounds(3)):
                try:
                    figures.append(longest_turn_ms(engine, command_line, case))
                except (Failed, OSError) as failure:
                    say("    %s: %s" % (title, failure))
            results.append((title, count, engine, figures))
            say("  %-48s %s" % (title, "  ".join("%.2f ms" % value for value in figures)))
    return results


def main():
    exit_on_signals()
    raise_open_files()
    os.environ.setdefault("SERVERS", "uring")
    engines = {name: line for name, line in contenders(with_floor=False).items()
               if name in (OURO_URING, OURO_EPOLL)}
    results = measure(engines, (os.environ.get("ONLY") or "").lower())
    if not results:
        raise SystemExit("bench-turns: nothing to measure")
    rows = []
    for title, count, engine, figures in results:
        best = min(figures) if figures else None
        name = "`%s`" % title if title.split()[0].isupper() and "," not in title else title
        rows.append([name if len(engines) == 1 else "%s, %s" % (name, engine), short(count),
                     number(best), number(max(figures) if figures else None),
                     verdict(best, TURN_MS_MOST)])
    lines = preamble("bench-turns", {}) + [
        "Milliseconds of the longest turn of the loop, from the command to the rest that follows it:",
        "freeing what it removed counts.", ""]
    lines += table(["command", "elements", "best run", "worst run", "<= %d ms" % TURN_MS_MOST], rows)
    replace_part("turns", lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
