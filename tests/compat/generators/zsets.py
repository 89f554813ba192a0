"""Sorted sets: members and scores, ranges, popping, unions and the like.

Minus zero is left out: redis-server keeps its sign in large sorted sets and drops it in small ones, depending
on how a set came to be.
"""

MEMBERS = [b"m%d" % number for number in range(30)] + [b"", b"1", b"10", b"-7", b"01", b"x" * 64, b"x" * 65, b"a b"]
SCORES = [b"0", b"1", b"1.5", b"-2.25", b"3", b"10", b"1e3", b"inf", b"-inf", b"+inf", b"0x10", b"1e-5",
          b"3.3333333333333335", b"9007199254740993", b"1e300", b"-1e300", b"0.1", b"63", b"64", b"4096", b"1e17"]


def member(w):
    return w.one_of(MEMBERS) if w.chance(0.9) else w.value()


def score(w):
    draw = w.random()
    if draw < 0.5:
        return w.one_of(SCORES)
    if draw < 0.95:
        decimal = w.decimal()
        return b"0" if decimal in (b"-0", b"-0.00") else decimal
    return w.one_of([b"nan", b"abc", b"", b"1e400", b" 1"])


def weight(w):
    return w.one_of([b"1", b"2", b"0.5", b"3.7", b"1e10", b"inf", b"x"])


def zadd(w):
    words = ["ZADD", w.key()]
    for option, probability in (("NX", 0.08), ("XX", 0.08), ("GT", 0.08), ("LT", 0.08), ("CH", 0.2), ("INCR", 0.05)):
        if w.chance(probability):
            words.append(w.letter_case(option))
    for _ in range(1 + w.below(4 if w.chance(0.95) else 40)):
        words += [score(w), member(w)]
    return tuple(words[:-1] if w.chance(0.02) else words)


def zadd_equal(w):
    """Members of one score, for ranges by name; on keys of their own."""
    words = ["ZADD", lex_key(w)]
    for _ in range(1 + w.below(5)):
        words += [0, member(w)]
    return tuple(words)


def zadd_many(w):
    words = ["ZADD", w.key()]
    start = w.below(1000)
    for number in range(start, start + w.below(200)):
        words += [number * 7 % 50, b"many:%d" % number]
    return tuple(words) if len(words) > 2 else ("ZCARD", words[1])


def lex_key(w):
    return b"lex%d" % w.below(3)


def score_bound(w):
    bound = score(w) if w.chance(0.7) else w.one_of([b"-inf", b"+inf", b"inf", b"(", b"((1", b"[1", b"(inf"])
    bound = bound if isinstance(bound, bytes) else b"%d" % bound
    return b"(" + bound if w.chance(0.25) else bound


def lex_bound(w):
    if w.chance(0.35):
        return w.one_of([b"-", b"+"])
    return w.one_of([b"[", b"[", b"(", b"("]) + member(w) if w.chance(0.96) else w.one_of([b"a", b"", b"--", b"[", b"("])


def limit(w):
    if w.chance(0.6):
        return []
    return [w.letter_case("LIMIT"), w.one_of([0, 0, 1, 2, 5, -1, 100]), w.one_of([0, 1, 2, 5, -1, -2, 100])][
        :3 if w.chance(0.97) else 2]


def with_scores(w):
    return [w.letter_case("WITHSCORES")] if w.chance(0.4) else []


def zrange(w):
    draw = w.random()
    rev = ["REV"] if w.chance(0.3) else []
    if draw < 0.4:
        words = ["ZRANGE", w.key(), w.index(), w.index(), *rev, *with_scores(w)]
    elif draw < 0.7:
        words = ["ZRANGE", w.key(), score_bound(w), score_bound(w), "BYSCORE", *rev, *limit(w), *with_scores(w)]
    elif draw < 0.9:
        words = ["ZRANGE", lex_key(w), lex_bound(w), lex_bound(w), "BYLEX", *rev, *limit(w)]
    else:
        words = ["ZRANGE", w.key(), w.index(), w.index(), *[w.one_of(
            ["REV", "BYLEX", "BYSCORE", "WITHSCORES", "LIMIT", "0", "1", "x"]) for _ in range(w.below(4))]]
    return tuple(words)


def zrangestore(w):
    words = list(zrange(w))
    return ("ZRANGESTORE", w.key(), *[word for word in words[1:] if word not in ("WITHSCORES", "withscores")])


def old_ranges(w):
    return w.one_of([
        lambda: ("ZREVRANGE", w.key(), w.index(), w.index(), *with_scores(w)),
        lambda: ("ZRANGEBYSCORE", w.key(), score_bound(w), score_bound(w), *with_scores(w), *limit(w)),
        lambda: ("ZREVRANGEBYSCORE", w.key(), score_bound(w), score_bound(w), *limit(w), *with_scores(w)),
        lambda: ("ZRANGEBYLEX", lex_key(w), lex_bound(w), lex_bound(w), *limit(w)),
        lambda: ("ZREVRANGEBYLEX", lex_key(w), lex_bound(w), lex_bound(w), *limit(w)),
        lambda: ("ZCOUNT", w.key(), score_bound(w), score_bound(w)),
        lambda: ("ZLEXCOUNT", lex_key(w), lex_bound(w), lex_bound(w)),
    ])()


def removals(w):
    return w.one_of([
        lambda: ("ZREMRANGEBYRANK", w.key(), w.index(), w.index()),
        lambda: ("ZREMRANGEBYSCORE", w.key(), score_bound(w), score_bound(w)),
        lambda: ("ZREMRANGEBYLEX", lex_key(w), lex_bound(w), lex_bound(w)),
    ])()


def inputs(w):
    keys = w.keys()
    count = len(keys) if w.chance(0.95) else w.one_of([0, -1, 1, 9, b"x", 1 << 63])
    return [count, *keys]


def combined(w, store):
    name = w.one_of(["ZUNION", "ZINTER", "ZDIFF"])
    words = [name + "STORE", w.key()] if store else [name]
    given = inputs(w)
    words += given
    if name != "ZDIFF" or w.chance(0.05):
        if w.chance(0.3):
            words += ["WEIGHTS", *[weight(w) for _ in given[1:]]]
        if w.chance(0.3):
            words += ["AGGREGATE", w.one_of(["SUM", "MIN", "MAX", "min", "X"])]
    if not store or w.chance(0.03):
        words += with_scores(w)
    return tuple(words)


def zintercard(w):
    words = ["ZINTERCARD", *inputs(w)]
    if w.chance(0.5):
        words += ["LIMIT", w.one_of([0, 1, 2, 5, -1, b"x"])]
    return tuple(words)


def pops(w):
    if w.chance(0.5):
        return (w.one_of(["ZPOPMIN", "ZPOPMAX"]), w.key(), *w.one_of([(), (), (2,), (0,), (-1,), (b"x",), (100,), (1, 2)]))
    words = ["ZMPOP", *inputs(w), w.one_of(["MIN", "MAX", "min", "MID"])]
    if w.chance(0.4):
        words += ["COUNT", w.one_of([1, 2, 5, 0, -1, b"x", 100])]
    return tuple(words)


def zrandmember(w):
    words = ["ZRANDMEMBER", w.key()]
    if w.chance(0.7):
        words.append(w.one_of([0, 1, 2, -3, 5, 100, b"x", 1 << 63]))
        if w.chance(0.4):
            words.append(w.one_of(["WITHSCORES", "withscores", "X"]))
    return tuple(words)


COMMANDS = [
    (40, zadd),
    (8, zadd_equal),
    (3, zadd_many),
    (10, lambda w: ("ZINCRBY", w.key(), score(w), member(w))),
    (10, lambda w: ("ZREM", w.key(), *[member(w) for _ in range(1 + w.below(4))])),
    (8, lambda w: ("ZSCORE", w.key(), member(w))),
    (5, lambda w: ("ZMSCORE", w.key(), *[member(w) for _ in range(1 + w.below(4))])),
    (5, lambda w: ("ZCARD", w.key())),
    (10, lambda w: (w.one_of(["ZRANK", "ZREVRANK"]), w.key(), member(w))),
    (25, zrange),
    (8, zrangestore),
    (25, old_ranges),
    (8, removals),
    (12, lambda w: combined(w, False)),
    (10, lambda w: combined(w, True)),
    (4, zintercard),
    (8, pops),
    (4, zrandmember),
    (2, lambda w: ("OBJECT", "ENCODING", w.key())),
    (2, lambda w: ("SADD", w.key(), *[member(w) for _ in range(1 + w.below(4))])),
    (1, lambda w: ("DEL", w.key())),
]
