"""Hashes: fields few enough to meet again, and many enough to leave the packed form."""


def field(w):
    draw = w.random()
    if draw < 0.6:
        return b"f%d" % w.below(12)
    if draw < 0.8:
        return b"%d" % w.integer_in_range()
    return w.value()


def fields(w, count_max=4):
    return [field(w) for _ in range(1 + w.below(count_max))]


def pairs(w, count_max=4):
    words = []
    for name in fields(w, count_max):
        words += [name, w.value()]
    return words


def hset(w):
    words = [w.one_of(["HSET", "HSET", "HMSET"]), w.key()] + pairs(w, 300 if w.chance(0.02) else 4)
    return tuple(words[:-1] if w.chance(0.03) else words)


def hrandfield(w):
    words = ["HRANDFIELD", w.key()]
    if w.chance(0.7):
        words.append(w.below(40) - 20 if w.chance(0.8) else w.one_of([0, 1 << 63, b"abc", b""]))
        if w.chance(0.5):
            words.append(w.one_of(["WITHVALUES", "withvalues", "x"]))
    return tuple(words)


def hscan(w):
    words = ["HSCAN", w.key(), w.one_of([0, 0, 0, b"abc", b""])]
    if w.chance(0.3):
        words += ["MATCH", w.one_of([b"*", b"f*", b"f1?", b"[0-9]*", b"nothing"])]
    words += ["COUNT", w.one_of([1000000, 1000000, 1000000, 0, -1, b"x"])]
    return tuple(words[:-1] if w.chance(0.03) else words)


COMMANDS = [
    (30, hset),
    (5, lambda w: ("HSETNX", w.key(), field(w), w.value())),
    (20, lambda w: ("HGET", w.key(), field(w))),
    (8, lambda w: ("HMGET", w.key(), *fields(w))),
    (12, lambda w: ("HDEL", w.key(), *fields(w))),
    (5, lambda w: ("HLEN", w.key())),
    (5, lambda w: ("HEXISTS", w.key(), field(w))),
    (5, lambda w: ("HSTRLEN", w.key(), field(w))),
    (10, lambda w: ("HINCRBY", w.key(), field(w), w.integer())),
    (8, lambda w: ("HINCRBYFLOAT", w.key(), field(w), w.decimal())),
    (6, lambda w: (w.one_of(["HGETALL", "HKEYS", "HVALS"]), w.key())),
    (4, hrandfield),
    (3, hscan),
]
