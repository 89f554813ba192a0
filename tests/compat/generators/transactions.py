"""Transactions and the blocking forms, on one connection: what one alone can see of them. crowd.py
has several connections.

Inside MULTI stand only commands whose replies are the same bytes on both servers. Waits are short, for
nobody comes to serve them."""


def inner(w):
    return w.one_of([
        lambda: ("SET", w.key(), w.value()),
        lambda: ("GET", w.key()),
        lambda: ("INCRBY", w.key(), w.integer()),
        lambda: ("APPEND", w.key(), w.value()),
        lambda: ("STRLEN", w.key()),
        lambda: ("DEL", *w.keys()),
        lambda: ("EXISTS", *w.keys()),
        lambda: ("TYPE", w.key()),
        lambda: ("RPUSH", w.key(), w.value(), w.value()),
        lambda: ("LRANGE", w.key(), 0, -1),
        lambda: ("LLEN", w.key()),
        lambda: ("ZADD", w.key(), w.one_of([1, 2, "x"]), w.value()),
        lambda: ("ZRANGE", w.key(), 0, -1, "WITHSCORES"),
        lambda: ("SADD", w.key(), w.value()),
        lambda: ("SCARD", w.key()),
        lambda: ("HSET", w.key(), "f", w.value()),
        lambda: ("HGET", w.key(), "f"),
        lambda: ("RENAME", w.key(), w.key()),
        lambda: ("ECHO", w.value()),
        lambda: ("SELECT", 0),
        lambda: ("UNWATCH",),
        lambda: wait(w, w.one_of([0, 0, 10, "x", -1])),
        lambda: w.one_of([("NOSUCH", w.value()), ("GET",), ("MULTI",), ("WATCH", w.key()), ("WATCH",),
                          ("SHUTDOWN",), ("DISCARD", "x"), ("EXEC", "x")]) if w.chance(0.3)
        else ("PING",),
    ])()


def transaction(w):
    commands = [("WATCH", *w.keys()) for _ in range(w.below(3) if w.chance(0.3) else 0)]
    if commands and w.chance(0.3):
        commands.append(inner(w))
    commands.append(("MULTI",))
    commands += [inner(w) for _ in range(w.below(8))]
    commands.append((w.one_of(["EXEC", "EXEC", "EXEC", "EXEC", "DISCARD"]),))
    return commands


def stray(w):
    return w.one_of([("EXEC",), ("DISCARD",), ("UNWATCH",), ("WATCH", *w.keys())])


def wait(w, timeout):
    keys = w.keys()
    end = w.one_of(["LEFT", "right", "LEFT", "x" if w.chance(0.1) else "RIGHT"])
    count = len(keys) if w.chance(0.95) else w.one_of([0, -1, "x", 9])
    return w.one_of([
        lambda: (w.one_of(["BLPOP", "BRPOP", "BZPOPMIN", "BZPOPMAX"]), *keys, timeout),
        lambda: ("BLMOVE", w.key(), w.key(), end, w.one_of(["LEFT", "RIGHT"]), timeout),
        lambda: ("BRPOPLPUSH", w.key(), w.key(), timeout),
        lambda: ("BLMPOP", timeout, count, *keys, end, "COUNT", w.one_of([1, 2, 10, 0, "x"])),
        lambda: ("BZMPOP", timeout, count, *keys, w.one_of(["MIN", "max"]), "COUNT",
                 w.one_of([1, 3, 0])),
    ])()


def short_wait(w):
    return wait(w, w.one_of(["0.001", "1e-3", "x", "-1", "-0.5", "nan", ""]))


COMMANDS = [
    (1.0, transaction),
    (0.3, stray),
    (0.05, short_wait),
]
