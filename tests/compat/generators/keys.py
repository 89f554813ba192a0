"""Commands on keys of any kind: existence, names, copies, iteration, and what kind a value is."""


def copy(w):
    words = ["COPY", w.key(), w.key()]
    if w.chance(0.3):
        words += ["DB", w.one_of([0, 1, 2, 15, 16, -1, b"x"])]
    if w.chance(0.4):
        words.append(w.letter_case("REPLACE"))
    return tuple(words)


def scan(w):
    """A whole iteration in one call: cursors of the two servers have nothing in common."""
    words = ["SCAN", 0, "COUNT", 1000000]
    if w.chance(0.5):
        words += ["MATCH", w.pattern()]
    if w.chance(0.3):
        words += ["TYPE", w.one_of(["string", "list", "set", "zset", "hash", "stream", "STRING",
                                    "nothing"])]
    return tuple(words)


def wrong(w):
    """Arguments that must be refused."""
    return w.one_of([
        ("SCAN", "abc"), ("SCAN", 0, "COUNT", 0), ("SCAN", 0, "COUNT", "x"), ("SCAN", 0, "NOSUCH"),
        ("KEYS",),
        ("DEL",), ("RENAME", "k1"), ("COPY", "k1"), ("OBJECT",), ("OBJECT", "NOSUCH", "k1"),
        ("TYPE",),
        ("EXISTS",), ("NOSUCH", "k1", "a"), ("MOVE", "k1"), ("DBSIZE", "x"), ("RANDOMKEY", "x"),
        ("COPY", "k1", "k2", "NOSUCH"), ("OBJECT", "ENCODING"), ("FLUSHDB", "NOSUCH")])


COMMANDS = [
    (12, lambda w: ("DEL", *w.keys())),
    (4, lambda w: ("UNLINK", *w.keys())),
    (10, lambda w: ("EXISTS", *w.keys())),
    (10, lambda w: ("TYPE", w.key())),
    (4, lambda w: ("TOUCH", *w.keys())),
    (6, lambda w: (w.one_of(["RENAME", "RENAMENX"]), w.key(), w.key())),
    (6, copy),
    (4, lambda w: ("DBSIZE",)),
    (3, lambda w: ("KEYS", w.pattern())),
    (3, scan),
    (2, lambda w: ("RANDOMKEY",)),
    (6, lambda w: ("OBJECT", "ENCODING", w.key())),
    (2, lambda w: ("OBJECT", "REFCOUNT", w.key())),
    (1, lambda w: ("OBJECT", "IDLETIME", w.key())),
    (1, lambda w: ("OBJECT", "FREQ", w.key())),
    (3, lambda w: ("MOVE", w.key(), w.one_of([0, 1, 2, 15, 16, -1, b"x"]))),
    (1, lambda w: (w.one_of(["FLUSHDB", "FLUSHALL"]), *w.one_of([(), ("ASYNC",), ("SYNC",)]))),
    (4, wrong),
]
