"""Sets: small and large ones, of integers and of texts, and what several have in common."""


def member(w):
    draw = w.random()
    if draw < 0.4:
        return w.below(40) - 10
    if draw < 0.7:
        return b"m%d" % w.below(40)
    return w.integer_in_range() if draw < 0.85 else w.value()


def members(w, count_max=6):
    return [member(w) for _ in range(1 + w.below(count_max))]


def sadd(w):
    return ("SADD", w.key(), *(members(w, 200) if w.chance(0.05) else members(w)))


def spop(w):
    """What is popped is chance: only pops of nothing and of everything are told alike."""
    return ("SPOP", w.key(), w.one_of([0, 100000, 100000, -1, b"abc", b"", 1 << 63]))


def sintercard(w):
    keys = w.keys()
    count = len(keys) if w.chance(0.8) else w.integer()
    limit = [w.letter_case("LIMIT"), w.index()] if w.chance(0.5) else []
    return ("SINTERCARD", count, *keys, *limit)


def srandmember(w):
    return ("SRANDMEMBER", w.key(), *([w.one_of([0, 1, 3, 1000, -1, -5, b"abc", b""])] if w.chance(0.6) else []))


def sscan(w):
    """From the start to the end in one call, so that no cursor is told."""
    words = ["SSCAN", w.key(), w.one_of([0, 0, 0, b"abc", b""]), "COUNT", 100000]
    if w.chance(0.4):
        words += [w.letter_case("MATCH"), w.one_of([b"*", b"m*", b"m1?", b"[0-5]", b"nothing"])]
    if w.chance(0.05):
        words.append("COUNT")
    return tuple(words)


COMMANDS = [
    (30, sadd),
    (12, lambda w: ("SREM", w.key(), *members(w))),
    (6, lambda w: ("SISMEMBER", w.key(), member(w))),
    (6, lambda w: ("SMISMEMBER", w.key(), *members(w))),
    (6, lambda w: ("SCARD", w.key())),
    (6, lambda w: ("SMEMBERS", w.key())),
    (3, spop),
    (3, srandmember),
    (8, lambda w: ("SMOVE", w.key(), w.key(), member(w))),
    (6, lambda w: (w.one_of(["SINTER", "SUNION", "SDIFF"]), *w.keys())),
    (6, lambda w: (w.one_of(["SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"]), w.key(), *w.keys())),
    (5, sintercard),
    (5, sscan),
]
