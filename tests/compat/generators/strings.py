"""Strings: plain values, counters, ranges, bits."""


def set_value(w):
    words = ["SET", w.key(), w.value()]
    if w.chance(0.15):
        words.append(w.one_of(["NX", "XX", "xx"]))
    if w.chance(0.1):
        words.append(w.letter_case("GET"))
    if w.chance(0.2):
        words += set_expiry(w)
    elif w.chance(0.1):
        words.append("KEEPTTL")
    return tuple(words)


def set_expiry(w):
    unit = w.one_of(["EX", "PX", "EXAT", "PXAT", "ex"])
    if w.chance(0.1):
        return [unit, w.one_of([0, -1, b"abc", 1 << 63, b""])]
    if unit in ("EXAT", "PXAT"):
        return [unit, 4102444800 * (1000 if unit == "PXAT" else 1) + w.below(1000)]
    return [unit, w.ttl_seconds() * (1000 if unit == "PX" else 1)]


def getex(w):
    words = ["GETEX", w.key()]
    if w.chance(0.8):
        words += set_expiry(w) if w.chance(0.6) else ["PERSIST"]
    return tuple(words)


def mset(w):
    words = [w.one_of(["MSET", "MSETNX"])]
    for key in w.keys():
        words += [key, w.value()]
    return tuple(words[:-1] if w.chance(0.03) else words)


def setex(w):
    name = w.one_of(["SETEX", "PSETEX"])
    return (name, w.key(), w.ttl_seconds() * 1000 if w.chance(0.8)
            else w.one_of([0, -1, "abc", 1 << 37]),
            w.value())


def bit_offset(w):
    """A bad offset must be refused: 2^32 - 1 would be granted and take 512 MB."""
    return w.below(2000) if w.chance(0.9) else w.one_of([-1, b"abc", 1 << 32, 1 << 63, b""])


def lcs(w):
    words = ["LCS", w.key(), w.key()]
    if w.chance(0.6):
        words.append(w.one_of(["LEN", "IDX"]))
    if w.chance(0.3):
        words += ["MINMATCHLEN", w.integer()]
    if w.chance(0.3):
        words.append("WITHMATCHLEN")
    return tuple(words)


def setrange_offset(w):
    return w.below(200) if w.chance(0.9) else w.one_of([-1, b"abc", 1 << 40, (1 << 63) - 1, b""])


COMMANDS = [
    (30, set_value),
    (25, lambda w: ("GET", w.key())),
    (8, lambda w: ("APPEND", w.key(), w.value())),
    (8, lambda w: ("STRLEN", w.key())),
    (8, lambda w: ("GETRANGE", w.key(), w.index(), w.index())),
    (2, lambda w: ("SUBSTR", w.key(), w.index(), w.index())),
    (6, lambda w: ("SETRANGE", w.key(), setrange_offset(w), w.value())),
    (8, lambda w: (w.one_of(["INCR", "DECR"]), w.key())),
    (10, lambda w: (w.one_of(["INCRBY", "DECRBY"]), w.key(), w.integer())),
    (8, lambda w: ("INCRBYFLOAT", w.key(), w.decimal())),
    (5, lambda w: ("SETNX", w.key(), w.value())),
    (5, lambda w: ("GETSET", w.key(), w.value())),
    (5, lambda w: ("GETDEL", w.key())),
    (6, getex),
    (6, mset),
    (6, lambda w: ("MGET", *w.keys())),
    (5, setex),
    (2, lcs),
    (5, lambda w: ("SETBIT", w.key(), bit_offset(w), w.one_of([0, 1, 1, 2, b"x"]))),
    (5, lambda w: ("GETBIT", w.key(), bit_offset(w))),
    (3, lambda w: ("BITCOUNT", w.key(), w.index(), w.index(),
                   *w.one_of([(), (), ("BIT",), ("BYTE",)]))),
    (3, lambda w: ("BITPOS", w.key(), w.one_of([0, 1, 2]), *[w.index()
                                                             for _ in range(w.below(3))])),
    (2, lambda w: ("BITOP", w.one_of(["AND", "OR", "XOR", "NOT", "xor"]), w.key(), *w.keys(3))),
]
