"""Streams: entries, ranges, trimming, groups with several consumers, claims.

IDs are explicit and mostly rise, for each server has its own clock; * is drawn only where the last ID lies
so far ahead that the clock does not matter. Idle times are 0 or huge. redis-server 7.0 makes a consumer
when it gives it something, 7.2 and this one when it asks: consumers are made first. Nodes are of a few
entries, so that trimming by whole nodes (~) does something and stops at the same places.
"""

STREAM_KEYS = [b"st%d" % number for number in range(4)]
GROUPS = [b"g1", b"g2", b"group-three"]
CONSUMERS = [b"alice", b"bob", b"carol"]
FIELDS = [b"f", b"name", b"temperature", b"1", b""]
ODD_IDS = [b"-", b"+", b"$", b">", b"*", b"", b"abc", b"1-", b"-1", b"1-2-3", b"1--2", b"0-0", b"0", b"(5", b"(0-0", b"+1",
           b"18446744073709551615-18446744073709551615", b"18446744073709551615", b"18446744073709551616-1", b"007-01",
           b" 1-1", b"1-1 ", b"0-1", b"(-", b"(+", b"(", b"5-*", b"9" * 130]
HUGE_IDLE = 10 ** 12


def key(w):
    return w.one_of(STREAM_KEYS) if w.chance(0.9) else w.key()


def rising(w):
    """The time of the next entry; it rises over the whole round, whatever the stream."""
    w.stream_ms = getattr(w, "stream_ms", 0) + w.below(3)
    return w.stream_ms + 1


def new_id(w):
    draw = w.random()
    if draw < 0.55:
        return b"%d-*" % rising(w)
    if draw < 0.9:
        return b"%d-%d" % (rising(w), w.below(1000))
    if draw < 0.95:
        return b"%d" % rising(w)
    odd = w.one_of(ODD_IDS)
    return b"x" if odd in (b"*", b"18446744073709551615", b"18446744073709551615-18446744073709551615") else odd


def some_id(w):
    """Near what there is."""
    draw = w.random()
    around = getattr(w, "stream_ms", 0) + 1
    if draw < 0.5:
        return b"%d-%d" % (max(0, around - w.below(60)), w.below(3))
    if draw < 0.75:
        return b"%d" % max(0, around - w.below(200))
    if draw < 0.9:
        return b"%d-%d" % (w.below(around + 2), w.below(1000))
    return b"0" if w.chance(0.5) else w.one_of(ODD_IDS)


def bound(w):
    draw = w.random()
    if draw < 0.35:
        return w.one_of([b"-", b"+"])
    return (b"(" if w.chance(0.2) else b"") + some_id(w)


def fields(w):
    if w.chance(0.6):
        return [b"f", w.value() if w.chance(0.5) else w.below(100)]
    words = []
    for _ in range(1 + w.below(4)):
        words += [w.one_of(FIELDS), w.value() if w.chance(0.3) else w.one_of([b"x", b"12", b"-5", b"100000", b"v" * 30])]
    return words[:-1] if w.chance(0.02) else words


def trim(w):
    words = [w.letter_case(w.one_of(["MAXLEN", "MAXLEN", "MINID"]))]
    operator = w.one_of(["=", "~", "~", None])
    if operator:
        words.append(operator)
    if words[0].upper() == "MAXLEN":
        words.append(w.one_of([0, 1, 3, 5, 10, 20, 50]) if w.chance(0.95) else w.integer())
    else:
        words.append(some_id(w))
    if operator == "~" and w.chance(0.4) or w.chance(0.02):
        words += [w.letter_case("LIMIT"), w.one_of([0, 1, 5, 10, 100, 100000]) if w.chance(0.95) else w.integer()]
    return words


def xadd(w):
    words = ["XADD", key(w)]
    if w.chance(0.05):
        words.append(w.letter_case("NOMKSTREAM"))
    if w.chance(0.15):
        words += trim(w)
    return tuple(words + [new_id(w)] + fields(w))


def xadd_many(w):
    name = w.one_of(STREAM_KEYS)
    return [("XADD", name, b"%d-*" % rising(w), *fields(w)) for _ in range(2 + w.below(12))]


def xadd_auto(w):
    """Far ahead of any clock; the stream is then made anew for the others."""
    name = w.one_of(STREAM_KEYS)
    return [("DEL", name), ("XADD", name, b"99999999999999-1", b"a", 1), ("XADD", name, b"*", b"a", 2), ("XADD", name, "MAXLEN", 2, b"*", b"b", 3),
            ("XRANGE", name, b"99999999999999", b"+"), ("DEL", name)]


def xtrim(w):
    return ("XTRIM", key(w), *trim(w)) if w.chance(0.95) else ("XTRIM", key(w), w.one_of(["MAXLEN", "LIMIT", "x"]), w.integer())


def count(w):
    if w.chance(0.6):
        return []
    return [w.letter_case("COUNT"), w.one_of([0, 1, 2, 3, 10, -1]) if w.chance(0.95) else w.integer()]


def xrange(w):
    return (w.one_of(["XRANGE", "XREVRANGE"]), key(w), bound(w), bound(w), *count(w))


def xdel(w):
    return ("XDEL", key(w), *[some_id(w) for _ in range(1 + w.below(4))])


def xdel_found(w):
    """Entries that are there most likely: in every stream the same times were used."""
    name = w.one_of(STREAM_KEYS)
    now = getattr(w, "stream_ms", 0) + 1
    return ("XDEL", name, *[b"%d-%d" % (max(1, now - w.below(40)), 0) for _ in range(8)])


def xsetid(w):
    words = ["XSETID", key(w), b"%d-1000" % (getattr(w, "stream_ms", 0) + 1) if w.chance(0.5) else some_id(w)]
    if w.chance(0.3):
        words += ["ENTRIESADDED", w.one_of([0, 5, 100, 1000, -1])]
    if w.chance(0.3):
        words += ["MAXDELETEDID", some_id(w)]
    return tuple(words)


def xread(w):
    streams = [key(w) for _ in range(1 + w.below(3))]
    block = ["BLOCK", w.one_of([-1, b"x", 1.5])] if w.chance(0.02) else []
    ids = [w.one_of([b"$", b"0", b">"]) if w.chance(0.15) else some_id(w) for _ in streams]
    ids = [b"0" if one == b"+" else one for one in ids]  # Newer than redis-server 7.0.
    words = ["XREAD", *count(w), *block, w.letter_case("STREAMS"), *streams, *ids]
    return tuple(words[:-1] if w.chance(0.02) else words)


def xgroup(w):
    name, group = key(w), w.one_of(GROUPS)
    draw = w.random()
    if draw < 0.5:
        words = ["XGROUP", w.letter_case("CREATE"), name, group, w.one_of([b"0", b"$", b"0", some_id(w)])]
        words += ["MKSTREAM"] if w.chance(0.6) else []
        words += ["ENTRIESREAD", w.one_of([0, 1, 10, -1, -2])] if w.chance(0.2) else []
    elif draw < 0.65:
        words = ["XGROUP", "SETID", name, group, w.one_of([b"0", b"$", some_id(w)])]
        words += ["ENTRIESREAD", w.one_of([0, 1, 10, -1])] if w.chance(0.3) else []
    elif draw < 0.7:
        words = ["XGROUP", "DESTROY", name, group]
    elif draw < 0.85:
        words = ["XGROUP", "CREATECONSUMER", name, group, w.one_of(CONSUMERS)]
    elif draw < 0.95:
        words = ["XGROUP", "DELCONSUMER", name, group, w.one_of(CONSUMERS)]
    else:
        words = ["XGROUP", w.one_of(["HELP", "CREATE", "x"]), name][:2 + w.below(2)]
    return tuple(words)


def xreadgroup(w):
    streams = [key(w) for _ in range(1 if w.chance(0.7) else 2)]
    group, consumer = w.one_of(GROUPS), w.one_of(CONSUMERS)
    ids = [b">" if w.chance(0.7) else some_id(w) for _ in streams]
    ids = [b"0" if one == b"+" else one for one in ids]
    words = ["XREADGROUP", "GROUP", group, consumer, *count(w), *(["NOACK"] if w.chance(0.1) else []), "STREAMS", *streams, *ids]
    return [("XGROUP", "CREATECONSUMER", name, group, consumer) for name in streams] + [tuple(words)]


def xack(w):
    now = getattr(w, "stream_ms", 0) + 1
    return ("XACK", key(w), w.one_of(GROUPS), *[some_id(w) if w.chance(0.3) else b"%d-0" % max(1, now - w.below(40))
                                               for _ in range(1 + w.below(6))])


def xclaim(w):
    now = getattr(w, "stream_ms", 0) + 1
    name, group, consumer = key(w), w.one_of(GROUPS), w.one_of(CONSUMERS)
    words = ["XCLAIM", name, group, consumer, w.one_of([0, 0, 0, HUGE_IDLE, -1])]
    words += [b"%d-0" % max(1, now - w.below(40)) for _ in range(1 + w.below(5))]
    for option, probability in ((["FORCE"], 0.3), (["JUSTID"], 0.3), (["RETRYCOUNT", w.below(5)], 0.2), (["IDLE", 0], 0.1),
                                (["TIME", 1000], 0.1), (["LASTID", some_id(w)], 0.1), (["x"], 0.02)):
        words += option if w.chance(probability) else []
    return [("XGROUP", "CREATECONSUMER", name, group, consumer), tuple(words)]


def xautoclaim(w):
    name, group, consumer = key(w), w.one_of(GROUPS), w.one_of(CONSUMERS)
    words = ["XAUTOCLAIM", name, group, consumer, w.one_of([0, 0, 0, HUGE_IDLE]), w.one_of([b"-", b"0", some_id(w)])]
    words += ["COUNT", w.one_of([1, 2, 5, 100, 0, -1])] if w.chance(0.5) else []
    words += ["JUSTID"] if w.chance(0.3) else []
    return [("XGROUP", "CREATECONSUMER", name, group, consumer), tuple(words)]


def xpending(w):
    words = ["XPENDING", key(w), w.one_of(GROUPS)]
    if w.chance(0.7):
        words += ["IDLE", w.one_of([0, HUGE_IDLE])] if w.chance(0.2) else []
        words += [bound(w), bound(w), w.one_of([0, 1, 3, 10, 1000, -1])]
        words += [w.one_of(CONSUMERS)] if w.chance(0.4) else []
    return tuple(words[:-1] if w.chance(0.03) else words)


def xinfo(w):
    draw = w.random()
    if draw < 0.3:
        return ("XINFO", "STREAM", key(w))
    if draw < 0.55:
        return ("XINFO", "STREAM", key(w), "FULL", *(["COUNT", w.one_of([0, 1, 3, -1])] if w.chance(0.6) else []))
    if draw < 0.75:
        return ("XINFO", "GROUPS", key(w))
    if draw < 0.95:
        return ("XINFO", "CONSUMERS", key(w), w.one_of(GROUPS))
    return ("XINFO", w.one_of(["HELP", "STREAM", "x"]))


def small_nodes(w):
    return [("CONFIG", "SET", "stream-node-max-entries", w.one_of([3, 5, 10])), ("CONFIG", "SET", "stream-node-max-bytes", 60000)]


def fresh(w):
    return ("DEL", w.one_of(STREAM_KEYS)) if w.chance(0.2) else ("XLEN", key(w))


COMMANDS = [(20, xadd), (8, xadd_many), (1, xadd_auto), (6, xtrim), (12, xrange), (3, xdel), (6, xdel_found), (2, xsetid), (8, xread),
            (8, xgroup), (14, xreadgroup), (8, xack), (8, xclaim), (5, xautoclaim), (8, xpending), (8, xinfo), (1, small_nodes),
            (4, fresh)]
