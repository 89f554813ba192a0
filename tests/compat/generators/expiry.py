"""Times to live. Deadlines are far away or past, so that the two servers' clocks cannot
disagree."""

PAST = [1, 1000, 946684800]
FAR_AT = 4102444800


def expire(w):
    words = [w.one_of(["EXPIRE", "PEXPIRE"]), w.key(), w.ttl_or_odd()]
    if w.chance(0.3):
        words += condition(w)
    return tuple(words)


def expire_at(w):
    unit = w.one_of([1, 1000])
    moment = FAR_AT * unit + w.below(1000) if w.chance(0.8) else w.one_of(PAST)
    words = ["EXPIREAT" if unit == 1 else "PEXPIREAT", w.key(), moment]
    if w.chance(0.3):
        words += condition(w)
    return tuple(words)


def condition(w):
    options = [w.one_of(["NX", "XX", "GT", "LT", "gt"])]
    if w.chance(0.2):
        options.append(w.one_of(["NX", "XX", "GT", "LT", "NOSUCH"]))
    return options


COMMANDS = [
    (10, expire),
    (6, expire_at),
    (6, lambda w: ("PERSIST", w.key())),
    (6, lambda w: ("TTL", w.key())),
    (6, lambda w: ("PTTL", w.key())),
    (3, lambda w: ("EXPIRETIME", w.key())),
    (3, lambda w: ("PEXPIRETIME", w.key())),
    (1, lambda w: w.one_of([("EXPIRE",), ("EXPIRE", "k1"), ("TTL",), ("PTTL", "a", "b"),
                            ("PERSIST",)])),
]
